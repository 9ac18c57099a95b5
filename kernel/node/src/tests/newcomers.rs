//! Disks that come while the node runs.

use super::*;
use crate::fake::FakeDisk;
use crate::plan::Access;

/// A disk of 64 sectors more for each number, that is filled with it.
fn late(number: u8) -> FakeDisk {
    let mut disk = FakeDisk::new(number.into(), 4096 + 64 * u64::from(number));
    disk.fill(number);
    disk
}

/// A world with one disk, behind whose adapter two more may come.
fn world(settings: &str) -> World {
    let world = World::build(&format!("shelf=5\n{settings}")).each_disk(|disk| disk.room = 2);
    quiet(world.ports(2).start())
}

/// Lets a disk come, and gives what left the first port.
fn plug_in(world: &mut World, disk: FakeDisk) -> Vec<Vec<u8>> {
    world.disk(0).coming.push_back(disk);
    world.pass(300_000);
    world.settle();
    world.left(0)
}

/// The slots of all exports, in order of their coming, and whether they are online.
fn slots(world: &World) -> Vec<(u8, bool)> {
    let exports = world.node.exports().iter();
    exports
        .map(|export| (export.planned.slot, export.online))
        .collect()
}

#[test]
fn it_is_announced_on_every_port_and_served_and_nobody_moves() {
    let mut world = world("rw=serial:S7");
    let announced = plug_in(&mut world, late(7));
    assert_eq!(announced.len(), 1);
    assert_eq!((&announced[0][..6], announced[0][18]), (&EVERYONE[..], 1));
    assert_eq!(world.left(1).len(), 1);
    assert_eq!(slots(&world), [(0, true), (1, true)]);
    let answer = ask(&mut world, &Ask::slot(1, 9).read(3, 1)).remove(0);
    assert_eq!(answer[36..], sector(7));
    let answer = ask(&mut world, &Ask::slot(1, 9).write(3, &sector(8))).remove(0);
    assert_eq!(registers(&answer), (0, 0x40));
    assert_eq!(world.disk(1).durable(3, 1), sector(8));
    let exports = world.node.exports();
    assert_eq!(exports[0].planned.access, Access::ReadOnlyByDefault);
    assert_eq!(exports[1].planned.access, Access::ReadWrite);
    // And it is a disk as any other: one that grows is noticed.
    world.disk(1).resize(8192);
    world.pass(300_000);
    assert_eq!(world.node.exports()[1].volume.sectors, 8192);
}

#[test]
fn it_goes_online_only_when_nobody_else_answers_for_its_address() {
    let mut world = world("");
    world.node.ask_before_going_online(3);
    world.pass(3_000_000);
    world.left(0);
    let asked = plug_in(&mut world, late(7));
    assert!(asked.iter().any(|frame| frame[19] == 1), "it was asked");
    world.pass(1_000_000);
    assert_eq!(slots(&world), [(0, true), (1, true)]);
}

#[test]
fn a_pin_keeps_its_slot_and_others_go_round_it() {
    let mut world = world("slot.1=serial:S7,ro\nrw=all");
    assert!(
        world
            .node
            .warnings()
            .any(|warning| warning.contains("no such disk"))
    );
    plug_in(&mut world, late(3));
    plug_in(&mut world, late(7));
    assert_eq!(slots(&world), [(0, true), (2, true), (1, true)]);
    let pinned = &world.node.exports()[2];
    assert_eq!(pinned.planned.access, Access::ReadOnlyByPin);
    let answer = ask(&mut world, &Ask::slot(1, 9).read(0, 1)).remove(0);
    assert_eq!(answer[36..], sector(7));
}

#[test]
fn with_export_none_it_waits_for_the_operator() {
    let mut world = world("export=none");
    assert_eq!(plug_in(&mut world, late(7)).len(), 0);
    assert_eq!(slots(&world), [(0, false), (1, false)]);
    assert_eq!(ask(&mut world, &Ask::slot(1, 9).read(0, 1)).len(), 0);
    assert!(world.node.set_online(1, true));
    assert_eq!(ask(&mut world, &Ask::slot(1, 9).read(0, 1)).len(), 2);
}

#[test]
fn what_is_not_for_export_is_a_disk_and_no_export() {
    let mut too_small = late(7);
    too_small.geometry.sectors = 7;
    let mut twin = late(7);
    twin.identity.serial = io::Text::new("S0");
    for (settings, disk) in [
        ("", too_small),
        ("export=0", late(7)),
        ("export=serial:S0", late(7)),
        ("slot.9=serial:S0\nslot.8=serial:S7,offset=4G", late(7)),
        ("slot.9=serial:S0", twin),
    ] {
        let mut world = world(settings);
        assert_eq!(plug_in(&mut world, disk).len(), 0, "{settings}");
        assert_eq!(world.node.exports().len(), 1, "{settings}");
        assert_eq!(world.node.stations.len(), 2, "{settings}");
        world.assert_all_frames_are_there();
    }
}

#[test]
fn more_than_there_is_room_for_are_left_alone() {
    let mut world = world("");
    for number in [5, 6, 7, 8] {
        plug_in(&mut world, late(number));
    }
    assert_eq!(slots(&world), [(0, true), (1, true), (2, true)]);
    assert_eq!(world.node.stations.len(), 3);
}

#[test]
fn a_node_that_stops_takes_nobody_in() {
    let mut world = world("");
    world.disk(0).pace = Pace::Manual;
    world.nic(0).deliver(&Ask::slot(0, 1).read(0, 1));
    world.settle();
    world.node.order(Order::PowerOff);
    plug_in(&mut world, late(7));
    assert_eq!(world.node.stations.len(), 1);
}
