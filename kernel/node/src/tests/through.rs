//! Disks that make each write durable by itself.

use super::*;

/// Lone flushes that turn it on at first.
const LONE: u32 = 16;

/// Writes one sector after the other until the disk writes through; the last tag.
fn write_alone(world: &mut World, count: u32) {
    for number in 0..count {
        let lba = u64::from(number % 64);
        let write = Ask::slot(0, 1000 + number).write(lba, &sector(number as u8 | 1));
        let answers = ask(world, &write);
        assert_eq!(tags(&answers), [1000 + number]);
        assert_eq!(registers(&answers[0]), (0, 0x40));
        assert_eq!(world.disk(0).durable(lba, 1), sector(number as u8 | 1));
    }
}

/// A disk that writes through, and does what the test says from now on.
fn through() -> World {
    let mut world = one_disk();
    write_alone(&mut world, LONE);
    assert!(world.disk(0).writes_through);
    world.disk(0).pace = Pace::Manual;
    world
}

fn deliver(world: &mut World, frame: &[u8]) {
    world.nic(0).deliver(frame);
    world.settle();
}

fn end(world: &mut World, index: usize, outcome: Outcome) -> Vec<Vec<u8>> {
    world.disk(0).end(index, outcome);
    world.settle();
    world.assert_all_frames_are_there();
    world.left(0)
}

#[test]
fn after_sixteen_lone_writes_a_write_costs_one_operation_and_is_durable() {
    let mut world = one_disk();
    write_alone(&mut world, LONE);
    assert_eq!(world.disk(0).count("flush"), LONE as usize);
    assert_eq!(count(&world, Event::WriteThrough), 1);
    write_alone(&mut world, 100);
    assert_eq!(world.disk(0).count("flush"), LONE as usize);
    assert_eq!(world.disk(0).switched, 1);
}

#[test]
fn a_disk_that_cannot_write_through_is_asked_once_and_flushed_for_ever() {
    let world = World::build("shelf=5\nrw=all");
    let world = world.each_disk(|disk| disk.can_write_through = false);
    let mut world = quiet(world.start());
    write_alone(&mut world, 200);
    assert_eq!(world.disk(0).count("flush"), 200);
    assert_eq!(world.disk(0).switched, 1);
    assert_eq!(count(&world, Event::WriteThrough), 0);
}

#[test]
fn it_is_not_turned_on_while_anything_is_under_way_or_waits_for_a_flush() {
    let mut world = one_disk();
    write_alone(&mut world, LONE - 1);
    world.disk(0).pace = Pace::Manual;
    deliver(&mut world, &Ask::slot(0, 1).write(8, &sector(1)));
    assert!(end(&mut world, 0, Outcome::Done).is_empty());
    assert_eq!(world.disk(0).operation(0).op, Op::Flush);
    // The flush is for one write alone, and when it ends another one is under way.
    deliver(&mut world, &Ask::slot(0, 2).write(9, &sector(2)));
    assert_eq!(tags(&end(&mut world, 0, Outcome::Done)), [1]);
    assert!(!world.disk(0).writes_through);
    assert!(end(&mut world, 0, Outcome::Done).is_empty());
    assert_eq!(world.disk(0).operation(0).op, Op::Flush);
    assert_eq!(tags(&end(&mut world, 0, Outcome::Done)), [2]);
    assert_eq!(world.disk(0).durable(9, 1), sector(2));
    assert!(world.disk(0).writes_through, "now nothing is");
}

#[test]
fn writes_beside_reads_and_flushes_of_hosts_do_not_turn_it_on() {
    let mut world = one_disk();
    for tag in 1..100 {
        world
            .nic(0)
            .deliver(&Ask::slot(0, tag).write(8, &sector(1)));
        world.turn();
        // It is at the disk when the flush for the write begins.
        world.nic(0).deliver(&Ask::slot(0, 500 + tag).flush());
        world.settle();
    }
    for tag in 100..200 {
        ask(&mut world, &Ask::slot(0, tag).flush());
        ask(&mut world, &Ask::slot(0, 500 + tag).discard(&[(0, 8)]));
    }
    assert!(world.disk(0).count("flush") > 100);
    assert_eq!(world.disk(0).switched, 0);
}

#[test]
fn a_crowd_turns_it_off_and_what_is_under_way_then_waits_for_a_flush() {
    let mut world = through();
    let flushes = world.disk(0).count("flush");
    for tag in 0..12 {
        deliver(&mut world, &Ask::slot(0, tag).write(tag.into(), &sector(7)));
    }
    for tag in 0..8 {
        assert!(world.disk(0).writes_through, "before write {tag}");
        assert_eq!(tags(&end(&mut world, 0, Outcome::Done)), [tag]);
        assert_eq!(world.disk(0).durable(tag.into(), 1), sector(7));
    }
    assert!(!world.disk(0).writes_through);
    assert_eq!(count(&world, Event::WriteBack), 1);
    assert_eq!(world.disk(0).count("flush"), flushes);
    // Four began while it was on, and end now.
    for _ in 8..12 {
        assert!(end(&mut world, 0, Outcome::Done).is_empty());
    }
    let mut answers = Vec::new();
    while world.disk(0).under_way() > 0 {
        assert_eq!(world.disk(0).operation(0).op, Op::Flush);
        answers.extend(tags(&end(&mut world, 0, Outcome::Done)));
    }
    assert_eq!(answers, [8, 9, 10, 11]);
    for lba in 8..12 {
        assert_eq!(world.disk(0).durable(lba, 1), sector(7));
    }
    // And it takes twice as many to turn it on again.
    world.disk(0).pace = Pace::AtOnce;
    write_alone(&mut world, 2 * LONE - 1);
    assert!(!world.disk(0).writes_through);
    write_alone(&mut world, 1);
    assert!(world.disk(0).writes_through);
    assert_eq!(world.disk(0).switched, 3);
}

#[test]
fn a_flush_of_a_host_and_one_behind_a_discard_still_go_to_the_disk() {
    let mut world = through();
    let flushes = world.disk(0).count("flush");
    deliver(&mut world, &Ask::slot(0, 1).flush());
    assert_eq!(world.disk(0).operation(0).op, Op::Flush);
    assert_eq!(tags(&end(&mut world, 0, Outcome::Done)), [1]);
    deliver(&mut world, &Ask::slot(0, 2).discard(&[(0, 8)]));
    assert!(end(&mut world, 0, Outcome::Done).is_empty());
    assert_ne!(world.disk(0).durable(0, 1), sector(0));
    assert_eq!(world.disk(0).operation(0).op, Op::Flush);
    assert_eq!(tags(&end(&mut world, 0, Outcome::Done)), [2]);
    assert_eq!(world.disk(0).durable(0, 1), sector(0));
    assert_eq!(world.disk(0).count("flush"), flushes + 2);
    assert!(world.disk(0).writes_through);
}

#[test]
fn a_write_that_fails_in_it_takes_the_others_with_it_and_the_flush_under_way() {
    let mut world = through();
    deliver(&mut world, &Ask::slot(0, 1).flush());
    deliver(&mut world, &Ask::slot(0, 2).write(100, &sector(2)));
    deliver(&mut world, &Ask::slot(0, 3).write(101, &sector(3)));
    let operations = [0, 1, 2].map(|index: usize| world.disk(0).operation(index).op);
    assert_eq!(operations, [Op::Flush, Op::Write, Op::Write]);
    // The host kernel below tells one of them that its cache could not be written.
    let answers = end(&mut world, 1, Outcome::Fault);
    assert_eq!(tags(&answers), [2]);
    world.disk(0).lose_cache();
    assert!(!world.disk(0).writes_through);
    for tag in [1, 3] {
        let answers = end(&mut world, 0, Outcome::Done);
        assert_eq!(tags(&answers), [tag]);
        assert_eq!(registers(&answers[0]), (0x04, 0x61), "device fault");
    }
    // What comes now is as good as any.
    world.pass(10);
    deliver(&mut world, &Ask::slot(0, 4).write(101, &sector(3)));
    assert!(end(&mut world, 0, Outcome::Done).is_empty());
    let answers = end(&mut world, 0, Outcome::Done);
    assert_eq!(registers(&answers[0]), (0, 0x40));
    assert_eq!(world.disk(0).durable(101, 1), sector(3));
}

#[test]
fn a_write_that_began_in_it_and_fails_behind_it_takes_what_waits_for_a_flush() {
    let mut world = through();
    for tag in 0..12 {
        deliver(&mut world, &Ask::slot(0, tag).write(tag.into(), &sector(7)));
    }
    for tag in 0..8 {
        assert_eq!(tags(&end(&mut world, 0, Outcome::Done)), [tag]);
    }
    assert!(!world.disk(0).writes_through);
    // One carries a flush, one waits for the next, then one fails.
    assert!(end(&mut world, 0, Outcome::Done).is_empty());
    assert!(end(&mut world, 0, Outcome::Done).is_empty());
    let operations = [0, 1, 2].map(|index: usize| world.disk(0).operation(index).op);
    assert_eq!(operations, [Op::Write, Op::Write, Op::Flush]);
    let answers = end(&mut world, 0, Outcome::Fault);
    assert_eq!(tags(&answers), [9, 10], "also the one that waited");
    world.disk(0).lose_cache();
    for tag in [11, 8] {
        let answers = end(&mut world, 0, Outcome::Done);
        assert_eq!(tags(&answers), [tag]);
        assert_eq!(registers(&answers[0]), (0x04, 0x61), "device fault");
    }
}

#[test]
fn a_flush_that_fails_takes_what_was_written_through_beside_it() {
    let mut world = through();
    deliver(&mut world, &Ask::slot(0, 1).flush());
    deliver(&mut world, &Ask::slot(0, 2).write(8, &sector(2)));
    assert_eq!(tags(&end(&mut world, 0, Outcome::Fault)), [1]);
    let answers = end(&mut world, 0, Outcome::Done);
    assert_eq!(registers(&answers[0]), (0x04, 0x61), "device fault");
    // Also if that is told only behind it.
    world.pass(10);
    deliver(&mut world, &Ask::slot(0, 3).flush());
    deliver(&mut world, &Ask::slot(0, 4).write(8, &sector(2)));
    assert!(end(&mut world, 1, Outcome::Done).is_empty());
    let answers = end(&mut world, 0, Outcome::Fault);
    assert_eq!(tags(&answers), [3, 4]);
    assert_eq!(registers(&answers[1]), (0x04, 0x61), "device fault");
}

#[test]
fn a_disk_that_has_changed_is_flushed_until_it_has_shown_itself_again() {
    let mut world = one_disk();
    write_alone(&mut world, LONE);
    world.disk(0).resize(8192);
    world.pass(2_000_000);
    world.left(0);
    assert!(!world.disk(0).writes_through);
    write_alone(&mut world, 1);
    assert_eq!(world.disk(0).count("flush"), LONE as usize + 1);
}

#[test]
fn what_an_export_with_write_back_was_told_is_durable_after_its_flush() {
    let settings = "shelf=5\nrw=all\nslot.0=serial:S0,length=1M\n\
        slot.1=serial:S0,offset=1M\ncache.1=writeback";
    let mut world = quiet(World::build(settings).start());
    let at = 2048;
    ask(&mut world, &Ask::slot(1, 1).write(8, &sector(9)));
    assert_eq!(world.disk(0).durable(at + 8, 1), sector(0));
    // The other export turns it on; what this one is told is as volatile as before.
    world.disk(0).can_write_through = true;
    write_alone(&mut world, LONE);
    assert!(world.disk(0).writes_through);
    let flushes = world.disk(0).count("flush");
    ask(&mut world, &Ask::slot(1, 2).write(9, &sector(9)));
    assert_eq!(tags(&ask(&mut world, &Ask::slot(1, 3).flush())), [3]);
    assert_eq!(world.disk(0).count("flush"), flushes + 1);
    for lba in [8, 9] {
        assert_eq!(world.disk(0).durable(at + lba, 1), sector(9));
    }
}

#[test]
fn a_power_cut_at_any_step_loses_no_acknowledged_write_however_it_is_switched() {
    let mut switched = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut world = one_disk();
        write_alone(&mut world, LONE);
        let mut most = 1;
        write_by_chance(
            &mut world,
            &mut random,
            (100, 400),
            |random, asked, waiting| {
                // Now a host with one write at a time, now one with many.
                if asked.is_multiple_of(80) {
                    most = [1, 12][random.below(2) as usize];
                }
                waiting < most
            },
        );
        world.settle();
        world.assert_all_frames_are_there();
        switched += world.disk(0).switched;
    }
    assert!(
        switched > 2 * 60,
        "on, off, and on again in some: {switched}"
    );
}
