//! Controllers that fail, and how their disks come back.

extern crate std;

use crate::Disk;
use crate::command::Opcode;
use crate::model::{Model, Namespace, Quirks, Settings, Window};
use crate::tests::{disks, one, plain, request, start};
use io::{Disk as _, Frame, Instant, Op, Outcome};
use std::vec;
use std::vec::Vec;

/// How often the node looks.
const TICK_US: u64 = 250_000;

/// Ticks of all `disks` for `us` microseconds of the model's time.
fn pass(model: &Model, disks: &mut [Disk<Window>], now: &mut u64, us: u64) {
    for _ in 0..us / TICK_US {
        model.elapse(TICK_US);
        *now += TICK_US;
        for disk in &mut *disks {
            disk.tick(Instant(*now));
        }
    }
}

/// What has ended: tickets and outcomes.
fn ended(disk: &mut Disk<Window>) -> Vec<(u32, Outcome)> {
    let mut ended = vec![];
    while let Some(done) = disk.poll_done() {
        ended.push((done.ticket, done.outcome));
    }
    ended.sort_unstable_by_key(|&(ticket, _)| ticket);
    ended
}

fn submit(model: &Model, disk: &mut Disk<Window>, op: Op, tickets: core::ops::Range<u32>) {
    let frames = model.frames(tickets.len(), 0);
    for (ticket, frame) in tickets.zip(frames) {
        let sectors = u32::from(op != Op::Flush);
        disk.submit(request(op, u64::from(ticket), sectors, ticket), frame);
    }
    disk.kick();
}

fn all(tickets: core::ops::Range<u32>, outcome: Outcome) -> Vec<(u32, Outcome)> {
    tickets.map(|ticket| (ticket, outcome)).collect()
}

/// Nine requests are under way or wait, then something `happens`.
fn in_the_middle(happens: impl FnOnce(&Model, &mut Disk<Window>)) -> (Model, Disk<Window>) {
    let (model, mut disk) = start(Settings {
        queue_entries: 8,
        ..Settings::default()
    });
    submit(&model, &mut disk, Op::Read, 0..9);
    model.fetch(1, 2);
    happens(&model, &mut disk);
    assert_eq!(ended(&mut disk), []);
    (model, disk)
}

#[test]
fn a_controller_that_fails_comes_back_and_what_was_under_way_runs_again() {
    let (model, disk) = in_the_middle(|model, _| model.fail());
    let mut disks = [disk];
    let mut now = 0;
    disks[0].tick(Instant(now));
    assert!(!model.is_enabled(), "it is told to stop");
    assert!(disks[0].arm(), "somebody has to look after it");
    submit(&model, &mut disks[0], Op::Write, 9..10);
    pass(&model, &mut disks, &mut now, 3_000_000);
    assert_eq!(model.starts(), 2);
    let [disk] = &mut disks;
    let mut back = vec![];
    for _ in 0..10 {
        disk.kick();
        model.serve_all(1);
        back.extend(ended(disk));
    }
    back.sort_unstable_by_key(|&(ticket, _)| ticket);
    assert_eq!(back, all(0..10, Outcome::Done));
    assert!(!disk.arm());
}

#[test]
fn a_busy_node_does_not_wait_for_ticks_on_the_way_back() {
    let (model, mut disk) = in_the_middle(|model, _| model.fail());
    disk.tick(Instant(0));
    model.elapse(TICK_US);
    for _ in 0..20 {
        assert!(disk.poll_done().is_none());
        model.elapse(10_000);
    }
    disk.kick();
    assert!(model.fetch(1, usize::MAX) > 0, "it is back");
}

#[test]
fn a_controller_that_does_not_stop_keeps_its_frames_until_it_does() {
    let (model, mut disk) = plain();
    submit(&model, &mut disk, Op::Read, 0..1);
    model.fail();
    model.set_never_stops(true);
    let (mut now, mut disks) = (0, [disk]);
    pass(&model, &mut disks, &mut now, 60_000_000);
    assert_eq!(ended(&mut disks[0]), []);
    assert!(!disks[0].arm(), "the node is not kept awake for ever");
    model.set_never_stops(false);
    pass(&model, &mut disks, &mut now, TICK_US);
    assert_eq!(ended(&mut disks[0]), all(0..1, Outcome::Fault));
    assert_eq!(model.starts(), 1, "it is not trusted any more");
}

#[test]
fn a_controller_that_is_pulled_out_gives_everything_back_at_once() {
    let (_, mut disk) = in_the_middle(|model, _| model.vanish());
    disk.tick(Instant(1));
    assert_eq!(ended(&mut disk), all(0..9, Outcome::Fault));
}

#[test]
fn a_controller_that_answers_what_it_was_not_given_is_stopped_for_good() {
    for id in [4, 0x00ff, 0x0100, 0xffff] {
        let (model, mut disk) = in_the_middle(|model, _| model.forge(1, id));
        assert!(!disk.arm(), "the next tick looks after it");
        let (mut now, mut disks) = (0, [disk]);
        pass(&model, &mut disks, &mut now, 3_000_000);
        assert_eq!(ended(&mut disks[0]), all(0..9, Outcome::Fault));
        submit(&model, &mut disks[0], Op::Read, 9..10);
        assert_eq!(ended(&mut disks[0]), all(9..10, Outcome::Fault));
        assert!(!model.is_enabled());
        assert_eq!(model.starts(), 1);
    }
}

#[test]
fn an_answer_that_comes_twice_is_not_taken_for_the_next_request_in_its_slot() {
    let (model, mut disk) = plain();
    submit(&model, &mut disk, Op::Write, 0..1);
    model.fetch(1, 1);
    let id = model.taken(1, 0).id;
    model.serve(1, 0);
    assert!(disk.poll_done().is_some());
    submit(&model, &mut disk, Op::Write, 1..2);
    model.forge(1, id);
    assert!(disk.poll_done().is_none());
    assert!(disk.lent(1, |_| ()).is_some());
    disk.tick(Instant(1));
    assert!(!model.is_enabled());
}

#[test]
fn all_disks_of_a_controller_come_back_with_it_and_none_of_them_alone() {
    let model = Model::new(Settings {
        namespaces: vec![Namespace::new(1, 64), Namespace::new(2, 64)],
        ..Settings::default()
    });
    let mut disks = disks(&model);
    for disk in &mut disks {
        submit(&model, disk, Op::Write, 0..1);
    }
    model.fail();
    disks[0].tick(Instant(0));
    assert!(!model.is_enabled());
    // The other one does not know yet.
    submit(&model, &mut disks[1], Op::Write, 1..2);
    let mut now = 0;
    for _ in 0..20 {
        pass(&model, &mut disks[..1], &mut now, TICK_US);
    }
    assert_eq!(model.starts(), 1, "the other one has not let go");
    pass(&model, &mut disks, &mut now, 3_000_000);
    for (queue, disk) in (1..).zip(&mut disks) {
        disk.kick();
        model.serve_all(queue);
        let count = u32::from(queue);
        assert_eq!(ended(disk), all(0..count, Outcome::Done));
    }
}

#[test]
fn a_disk_that_nobody_serves_does_not_hold_up_the_others() {
    let model = Model::new(Settings {
        namespaces: vec![Namespace::new(1, 64), Namespace::new(2, 64)],
        ..Settings::default()
    });
    let mut disks = disks(&model);
    drop(disks.remove(0));
    submit(&model, &mut disks[0], Op::Write, 0..1);
    model.fail();
    pass(&model, &mut disks, &mut 0, 3_000_000);
    disks[0].kick();
    model.serve_all(2);
    assert_eq!(ended(&mut disks[0]), all(0..1, Outcome::Done));
}

#[test]
fn what_a_controller_fails_at_again_and_again_is_not_tried_for_ever() {
    let (model, disk) = plain();
    let (mut now, mut disks) = (0, [disk]);
    submit(&model, &mut disks[0], Op::Write, 0..1);
    let mut ends = vec![];
    for _ in 0..8 {
        model.fail();
        pass(&model, &mut disks, &mut now, 3_000_000);
        disks[0].kick();
        ends.extend(ended(&mut disks[0]));
    }
    assert_eq!(ends, all(0..1, Outcome::Fault), "after its second try");
    assert_eq!(model.starts(), 1 + super::RESETS_MAX, "then it is given up");
    submit(&model, &mut disks[0], Op::Write, 1..2);
    assert_eq!(ended(&mut disks[0]), all(1..2, Outcome::Fault));
}

#[test]
fn after_a_calm_time_earlier_resets_are_forgotten() {
    let (model, disk) = plain();
    let (mut now, mut disks) = (0, [disk]);
    for resets in 1..20 {
        model.fail();
        pass(&model, &mut disks, &mut now, super::CALM_US + 5_000_000);
        assert_eq!(model.starts(), 1 + resets);
    }
    let frame = model.frames(1, 0).remove(0);
    let write = request(Op::Write, 0, 1, 0);
    assert_eq!(one(&model, &mut disks[0], write, frame).0, Outcome::Done);
}

#[test]
fn a_controller_that_does_not_come_back_is_given_up_in_bounded_time() {
    for quirks in [
        Quirks {
            never_starts: true,
            ..Quirks::default()
        },
        Quirks {
            fails_at_start: true,
            ..Quirks::default()
        },
        Quirks {
            refuses: Some(Opcode::CREATE_SUBMISSION),
            ..Quirks::default()
        },
        Quirks {
            silent: Some(Opcode::SET_FEATURES),
            ..Quirks::default()
        },
    ] {
        let (model, mut disk) = in_the_middle(|model, _| model.fail());
        model.plant(quirks);
        disk.tick(Instant(0));
        let (mut now, mut disks) = (0, [disk]);
        pass(&model, &mut disks, &mut now, 40_000_000);
        assert_eq!(
            ended(&mut disks[0]),
            all(0..9, Outcome::Fault),
            "{quirks:?}"
        );
        assert!(!model.is_enabled());
    }
}

#[test]
fn writes_that_a_reset_may_have_cost_fail_with_the_flush_that_would_vouch() {
    // What is asked before the reset, and how the flushes end: of those before
    // it, and of three after it.
    for (name, before, ends) in [
        ("no write", "", [Outcome::Done; 3]),
        (
            "a write",
            "w",
            [Outcome::Fault, Outcome::Done, Outcome::Done],
        ),
        ("a write that is vouched for", "wf", [Outcome::Done; 3]),
        (
            "a write after the flush",
            "wfw",
            [Outcome::Fault, Outcome::Done, Outcome::Done],
        ),
    ] {
        let (model, mut disk) = plain();
        for op in before.chars() {
            let op = if op == 'w' { Op::Write } else { Op::Flush };
            let frame = model.frames(1, 0).remove(0);
            let request = request(op, 0, u32::from(op == Op::Write), 0);
            assert_eq!(one(&model, &mut disk, request, frame).0, Outcome::Done);
        }
        model.fail();
        let (mut now, mut disks) = (0, [disk]);
        pass(&model, &mut disks, &mut now, 3_000_000);
        for end in ends {
            submit(&model, &mut disks[0], Op::Flush, 0..1);
            model.serve_all(1);
            assert_eq!(ended(&mut disks[0]), all(0..1, end), "{name}");
        }
    }
}

#[test]
fn a_flush_under_way_at_a_reset_fails_and_so_does_the_one_for_later_writes() {
    let (model, mut disk) = plain();
    let write = |disk: &mut Disk<Window>| {
        let frame = model.frames(1, 0).remove(0);
        one(&model, disk, request(Op::Write, 0, 1, 0), frame)
    };
    assert_eq!(write(&mut disk).0, Outcome::Done);
    submit(&model, &mut disk, Op::Flush, 1..2);
    // This one ends while the flush is under way, which does not cover it.
    submit(&model, &mut disk, Op::Write, 2..3);
    assert_eq!(model.fetch(1, usize::MAX), 2);
    model.serve(1, 1);
    assert_eq!(ended(&mut disk), all(2..3, Outcome::Done));
    model.fail();
    let (mut now, mut disks) = (0, [disk]);
    pass(&model, &mut disks, &mut now, 3_000_000);
    let [disk] = &mut disks;
    disk.kick();
    assert_eq!(ended(disk), all(1..2, Outcome::Fault));
    for (ticket, end) in [(3, Outcome::Fault), (4, Outcome::Done)] {
        submit(&model, disk, Op::Flush, ticket..ticket + 1);
        model.serve_all(1);
        assert_eq!(ended(disk), all(ticket..ticket + 1, end));
    }
}

#[test]
fn a_command_that_is_not_answered_is_aborted_after_30_seconds() {
    let (model, disk) = plain();
    let (mut now, mut disks) = (0, [disk]);
    pass(&model, &mut disks, &mut now, 1_000_000);
    submit(&model, &mut disks[0], Op::Write, 0..2);
    model.fetch(1, usize::MAX);
    pass(&model, &mut disks, &mut now, 30_000_000);
    assert!(!disks[0].is_silent());
    assert_eq!(ended(&mut disks[0]), []);
    pass(&model, &mut disks, &mut now, 5_000_000);
    assert_eq!(ended(&mut disks[0]), all(0..2, Outcome::Fault));
    assert_eq!(model.starts(), 1, "it is no reason for a reset");
    pass(&model, &mut disks, &mut now, 1_000_000);
    assert!(!disks[0].is_silent());
}

#[test]
fn a_controller_that_lives_and_can_not_abort_is_waited_for() {
    let (model, disk) = plain();
    model.plant(Quirks {
        never_aborts: true,
        ..Quirks::default()
    });
    let (mut now, mut disks) = (0, [disk]);
    submit(&model, &mut disks[0], Op::Write, 0..1);
    pass(&model, &mut disks, &mut now, 600_000_000);
    assert!(disks[0].is_silent());
    assert!(disks[0].lent(0, |_: &Frame| ()).is_some());
    model.serve_all(1);
    assert_eq!(ended(&mut disks[0]), all(0..1, Outcome::Done));
    pass(&model, &mut disks, &mut now, 1_000_000);
    assert!(!disks[0].is_silent());
    assert_eq!(model.starts(), 1);
}

#[test]
fn a_controller_that_answers_nothing_is_reset_and_what_was_silent_fails() {
    let (model, disk) = plain();
    let (mut now, mut disks) = (0, [disk]);
    pass(&model, &mut disks, &mut now, 1_000_000);
    submit(&model, &mut disks[0], Op::Write, 0..1);
    model.plant(Quirks {
        silent: Some(Opcode::ABORT),
        ..Quirks::default()
    });
    pass(&model, &mut disks, &mut now, 33_000_000);
    submit(&model, &mut disks[0], Op::Write, 1..2);
    pass(&model, &mut disks, &mut now, 10_000_000);
    assert_eq!(model.starts(), 2);
    disks[0].kick();
    model.serve_all(1);
    let ends = [(0, Outcome::Fault), (1, Outcome::Done)];
    assert_eq!(ended(&mut disks[0]), ends);
}

#[test]
fn a_controller_that_says_that_it_will_fail_is_believed_but_not_about_heat() {
    let (model, disk) = plain();
    let (mut now, mut disks) = (0, [disk]);
    for (warning, fails_soon) in [(0, false), (2, false), (1, true), (0, false), (8, true)] {
        model.warn(warning);
        pass(&model, &mut disks, &mut now, 2 * super::HEALTH_US);
        assert_eq!(disks[0].fails_soon(), fails_soon, "warning {warning}");
    }
    assert!(!disks[0].tick(Instant(now)), "and the node is told once");
}

#[test]
fn a_controller_without_that_log_is_asked_once() {
    let (model, disk) = plain();
    model.plant(Quirks {
        refuses: Some(Opcode::GET_LOG_PAGE),
        ..Quirks::default()
    });
    let (mut now, mut disks) = (0, [disk]);
    pass(&model, &mut disks, &mut now, TICK_US * 2);
    model.plant(Quirks {
        silent: Some(Opcode::GET_LOG_PAGE),
        ..Quirks::default()
    });
    pass(&model, &mut disks, &mut now, 5 * super::HEALTH_US);
    assert_eq!(model.starts(), 1);
    assert!(!disks[0].fails_soon());
}

#[test]
fn a_namespace_that_grows_is_noticed_once_and_its_neighbour_keeps_its_size() {
    let model = Model::new(Settings {
        namespaces: vec![Namespace::new(1, 4096), Namespace::new(7, 64)],
        ..Settings::default()
    });
    let (mut now, mut disks) = (0, disks(&model));
    let mut sizes = |disks: &mut [Disk<Window>]| {
        let mut changes = [0; 2];
        for _ in 0..3 * super::SIZE_US / TICK_US {
            model.elapse(TICK_US);
            now += TICK_US;
            for (disk, changes) in disks.iter_mut().zip(&mut changes) {
                *changes += u32::from(disk.tick(Instant(now)));
            }
        }
        let sectors: Vec<u64> = disks.iter().map(|disk| disk.geometry().sectors).collect();
        (sectors, changes)
    };
    assert_eq!(sizes(&mut disks), (vec![4096, 64], [0, 0]));
    model.resize(7, 1 << 33, 9);
    assert_eq!(sizes(&mut disks), (vec![4096, 1 << 33], [0, 1]));
    model.resize(1, 2048, 9);
    assert_eq!(sizes(&mut disks), (vec![2048, 1 << 33], [1, 0]));
    // Gone, and formatted to other sectors.
    model.resize(1, 0, 9);
    model.resize(7, 1 << 30, 12);
    assert_eq!(sizes(&mut disks), (vec![2048, 1 << 33], [0, 0]));
    assert_eq!(model.starts(), 1);
}
