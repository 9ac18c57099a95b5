//! `net.data=`: ports that carry AoE, and ports that do not.

use super::*;

/// A world of two ports.
fn two(settings: &str) -> World {
    World::build(settings).ports(2).frames(256).start()
}

#[test]
fn a_port_that_is_not_named_announces_and_answers_nothing() {
    let mut world = two("shelf=5\nrw=all\nnet.data=1");
    world.pass(2_000_000);
    assert_eq!(world.left(0), Vec::<Vec<u8>>::new());
    assert_eq!(world.left(1).len(), 3);
    world.nic(0).mtu = 9000;
    world.nic(0).changed = true;
    world.pass(300_000);
    assert_eq!(count(&world, Event::MtuChanged), 1);
    let request = Ask::slot(0, 1);
    let frames = [
        Ask::everyone(2).config(0, b""),
        request.config(0, b""),
        request.read(0, 1),
        request.write(0, &sector(7)),
    ];
    for frame in &frames {
        world.nic(0).deliver(frame);
        world.settle();
    }
    assert_eq!(world.left(0), Vec::<Vec<u8>>::new());
    assert_eq!(count(&world, Noted::Dropped(aoe::Drop::NotForUs)), 4);
    assert_eq!(world.disk(0).content(0, 1), sector(0));
    world.nic(1).deliver(&request.port(1).write(0, &sector(8)));
    world.settle();
    assert_eq!(world.left(1).len(), 1);
    assert_eq!(world.disk(0).content(0, 1), sector(8));
    world.assert_all_frames_are_there();
}

#[test]
fn a_link_that_comes_up_there_is_announced_and_asked_about_by_nobody() {
    let world = World::build("shelf=5\nnet.data=eth0").ports(2);
    let world = world.each_nic(|nic| nic.link = nic.index == 0);
    let mut world = world.start();
    world.node.ask_before_going_online(1);
    world.pass(3_000_000);
    assert!(!world.left(0).is_empty());
    world.nic(1).link = true;
    world.nic(1).changed = true;
    world.pass(3_000_000);
    assert_eq!(count(&world, Event::LinkUp), 1);
    assert_eq!(world.left(1), Vec::<Vec<u8>>::new());
    assert!(world.node.exports()[0].online);
}

#[test]
fn a_port_is_named_by_number_place_or_address() {
    for name in ["1", "eth1", "00:04.0", "02:00:00:00:01:01"] {
        let world = two(&format!("shelf=5\nnet.data={name}"));
        let serves = [0, 1].map(|port: usize| world.node.ports[port].serves);
        assert_eq!(serves, [false, true], "{name}");
    }
    let world = two("shelf=5\nnet.data=eth1, 0");
    assert!(world.node.ports.iter().all(|port| port.serves));
    let world = two("shelf=5\nnet.data=all");
    assert!(world.node.ports.iter().all(|port| port.serves));
}

#[test]
fn a_name_that_no_port_has_is_told_and_opens_no_other() {
    let world = two("shelf=5\nnet.data=eth7,eth1");
    let serves = [0, 1].map(|port: usize| world.node.ports[port].serves);
    assert_eq!(serves, [false, true]);
    let is_it = |warning: &str| warning.contains("eth7 is no port");
    assert!(world.node.warnings().any(is_it));
    let mut world = quiet(two("shelf=5\nnet.data=eth7"));
    assert_eq!(ask(&mut world, &Ask::everyone(1).config(0, b"")).len(), 0);
}

#[test]
fn the_frames_are_for_the_ports_that_need_them() {
    let world = two("shelf=5\nnet.data=1");
    let frames = [0, 1].map(|port: usize| world.node.ports[port].frames);
    assert_eq!(frames, [limits::QUIET_FRAMES, 512 - limits::QUIET_FRAMES]);
    // One port keeps its order by itself.
    assert!(!world.node.aged);
    assert!(two("shelf=5").node.aged);
}
