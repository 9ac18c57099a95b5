//! Discovery and disks against a shelf of units.

extern crate std;

use crate::adapter::{Address, Notice};
use crate::command::Opcode;
use crate::discovery::attach;
use crate::error::Error;
use crate::fake::{FakeAdapter, Machine, Shelf, Unit, frames, refuse};
use crate::sense::Key;
use crate::{Disk, End};
use io::{Disk as _, Done, Frame, Instant, Op, Outcome, Request, WriteCache};
use std::string::ToString;
use std::vec;
use std::vec::Vec;

fn disks(shelf: &Shelf) -> Vec<Disk<FakeAdapter>> {
    let found = attach(shelf.adapter(), &mut Machine::new(32), 8, 4);
    found
        .into_iter()
        .map(|disk| disk.unwrap_or_else(|skipped| panic!("{skipped}")))
        .collect()
}

fn errors(shelf: &Shelf) -> Vec<Error> {
    let found = attach(shelf.adapter(), &mut Machine::new(32), 8, 4);
    found
        .into_iter()
        .filter_map(|disk| disk.err().map(|skipped| skipped.error))
        .collect()
}

fn one() -> (Shelf, Disk<FakeAdapter>) {
    let shelf = Shelf::new();
    shelf.put(0, 0, Unit::new("S0"));
    let disk = disks(&shelf).remove(0);
    (shelf, disk)
}

fn request(op: Op, lba: u64, sectors: u32, ticket: u32) -> Request {
    Request {
        op,
        lba,
        sectors,
        data: 36,
        ticket,
    }
}

fn filled(byte: u8) -> Frame {
    let mut frame = frames(1).remove(0);
    frame.buffer_mut().fill(byte);
    frame
}

fn run(disk: &mut Disk<FakeAdapter>, request: Request, frame: Frame) -> Done {
    disk.submit(request, frame);
    assert!(
        disk.poll_done().is_none() || request.op == Op::Flush,
        "not kicked"
    );
    disk.kick();
    disk.poll_done().expect("it is answered")
}

#[test]
fn every_unit_is_found_in_the_order_of_its_address() {
    let shelf = Shelf::new();
    for (target, unit, serial) in [(7, 0, "c"), (0, 3, "b"), (0, 0, "a"), (255, 1, "d")] {
        shelf.put(target, unit, Unit::new(serial));
    }
    let found = disks(&shelf);
    let serials: Vec<&str> = found
        .iter()
        .map(|disk| disk.identity().serial.as_str())
        .collect();
    assert_eq!(serials, ["a", "b", "c", "d"]);
    assert_eq!(found[1].name(), "00:05.0 fake-scsi 0:3");
    assert_eq!(found[0].identity().model.as_str(), "MODEL DISK");
    assert_eq!(found[0].identity().wwn.as_str(), "5000c50102030405");
    let geometry = found[0].geometry();
    assert_eq!((geometry.sectors, geometry.physical_exponent), (4096, 3));
    assert_eq!(geometry.write_cache, WriteCache::Volatile);
    assert_eq!(
        geometry.discard.map(|limits| limits.sectors_max),
        Some(2048)
    );
    assert!(!geometry.read_only);
}

#[test]
fn what_is_not_a_disk_for_us_is_named_and_the_rest_is_found() {
    let shelf = Shelf::new();
    let with = |change: fn(&mut Unit)| {
        let mut unit = Unit::new("x");
        change(&mut unit);
        unit
    };
    shelf.put(0, 0, with(|unit| unit.kind = 5));
    shelf.put(1, 0, with(|unit| unit.removable = true));
    shelf.put(2, 0, with(|unit| unit.sectors = 0));
    shelf.put(3, 0, with(|unit| unit.block_bytes = 4096));
    shelf.put(4, 0, with(|unit| unit.kind = 0x1f));
    shelf.put(5, 0, Unit::new("good"));
    assert_eq!(
        errors(&shelf),
        [
            Error::NotADisk { kind: 5 },
            Error::Removable,
            Error::NoCapacity,
            Error::BlockSize { bytes: 4096 },
        ]
    );
    let found = attach(shelf.adapter(), &mut Machine::new(32), 8, 4);
    let good = found.iter().flatten().next().expect("one is good");
    assert_eq!(good.identity().serial.as_str(), "good");
    let text = found[3].as_ref().err().map(ToString::to_string);
    assert!(text.is_some_and(|text| text.starts_with("target 3 unit 0: has blocks of 4096")));
}

#[test]
fn a_unit_that_was_just_powered_on_is_asked_again() {
    let shelf = Shelf::new();
    let mut unit = Unit::new("S0");
    unit.attentions
        .extend(vec![refuse(Key::UNIT_ATTENTION, 0x29, 0); 3]);
    unit.attentions
        .extend(vec![refuse(Key::NOT_READY, 0x04, 0x01); 5]);
    unit.attentions.extend(vec![End::Busy; 5]);
    shelf.put(0, 0, unit);
    assert_eq!(disks(&shelf).len(), 1);
}

#[test]
fn a_unit_that_never_gets_ready_is_refused_and_a_silent_one_ends_the_search() {
    let shelf = Shelf::new();
    let mut unit = Unit::new("S0");
    unit.attentions
        .extend(vec![refuse(Key::UNIT_ATTENTION, 0x29, 0); 100]);
    shelf.put(0, 0, unit);
    assert!(matches!(errors(&shelf)[..], [Error::Refused { .. }]));

    let mut unit = Unit::new("S0");
    unit.silent = true;
    shelf.put(0, 0, unit);
    shelf.put(1, 0, Unit::new("S1"));
    let expected = Error::Silent {
        command: Opcode::REPORT_LUNS,
        waited_ms: 5000,
    };
    assert_eq!(errors(&shelf), [expected]);
}

#[test]
fn an_old_disk_without_the_long_answers_is_served() {
    let shelf = Shelf::new();
    let mut unit = Unit::new("");
    unit.unknown = vec![
        Opcode::READ_CAPACITY_16,
        Opcode::MODE_SENSE_10,
        Opcode::SYNCHRONIZE_CACHE_10,
    ];
    shelf.put(0, 0, unit);
    let disk = disks(&shelf).remove(0);
    assert_eq!(disk.geometry().sectors, 4096);
    assert_eq!(disk.geometry().write_cache, WriteCache::None);
    assert_eq!(disk.geometry().discard, None);
}

#[test]
fn a_disk_that_does_not_tell_of_its_cache_is_flushed() {
    let shelf = Shelf::new();
    let mut unit = Unit::new("S0");
    unit.unknown = vec![Opcode::MODE_SENSE_10];
    shelf.put(0, 0, unit);
    let disk = disks(&shelf).remove(0);
    assert_eq!(disk.geometry().write_cache, WriteCache::Volatile);
}

#[test]
fn an_adapter_that_moves_less_than_a_frame_is_refused() {
    let shelf = Shelf::new();
    shelf.put(0, 0, Unit::new("S0"));
    shelf.move_at_most(8704);
    assert_eq!(errors(&shelf), []);
    shelf.move_at_most(8703);
    assert_eq!(errors(&shelf), [Error::TransferSize { bytes: 8703 }]);
}

#[test]
fn more_disks_than_are_served_are_named() {
    let shelf = Shelf::new();
    for target in 0..10 {
        shelf.put(target, 0, Unit::new("S"));
    }
    assert_eq!(errors(&shelf), [Error::TooMany { units_max: 8 }; 2]);
}

#[test]
fn what_was_written_is_read_back_and_flushed_and_forgotten() {
    let (shelf, mut disk) = one();
    let done = run(&mut disk, request(Op::Write, 100, 17, 1), filled(7));
    assert_eq!((done.outcome, done.ticket), (Outcome::Done, 1));
    let mut done = run(&mut disk, request(Op::Read, 100, 17, 2), filled(0));
    assert_eq!(done.outcome, Outcome::Done);
    assert_eq!(done.frame.buffer_mut()[36..36 + 17 * 512], [7; 17 * 512]);
    let before = shelf.change(0, 0, |unit| unit.flushes);
    let done = run(&mut disk, request(Op::Flush, 0, 0, 3), filled(0));
    assert_eq!(done.outcome, Outcome::Done);
    assert_eq!(shelf.change(0, 0, |unit| unit.flushes), before + 1);
    run(&mut disk, request(Op::Discard, 100, 16, 4), filled(0));
    assert_eq!(shelf.change(0, 0, |unit| unit.medium.len()), 1);
}

#[test]
fn a_disk_without_a_volatile_cache_needs_no_flush() {
    let shelf = Shelf::new();
    let mut unit = Unit::new("S0");
    unit.write_cache = false;
    shelf.put(0, 0, unit);
    let mut disk = disks(&shelf).remove(0);
    disk.submit(request(Op::Flush, 0, 0, 1), filled(0));
    assert_eq!(
        disk.poll_done().map(|done| done.outcome),
        Some(Outcome::Done)
    );
    assert_eq!(shelf.change(0, 0, |unit| unit.flushes), 0);
}

#[test]
fn each_disk_gets_its_own_answers_whoever_asks_first() {
    let shelf = Shelf::new();
    shelf.put(0, 0, Unit::new("S0"));
    shelf.put(0, 1, Unit::new("S1"));
    shelf.answer_backwards();
    let mut both = disks(&shelf);
    for ticket in 0..10 {
        let disk = &mut both[ticket as usize % 2];
        disk.submit(
            request(Op::Write, ticket.into(), 1, ticket),
            filled(ticket as u8),
        );
    }
    let seen = both[1].lent(3, |frame| frame.bus_address() % 512);
    assert_eq!(seen, Some(0));
    assert_eq!(both[0].lent(3, |_| ()), None, "it is the other's");
    both[0].kick();
    for (index, disk) in both.iter_mut().enumerate() {
        let mut tickets = vec![];
        while let Some(done) = disk.poll_done() {
            assert_eq!(done.outcome, Outcome::Done);
            tickets.push(done.ticket);
        }
        tickets.sort_unstable();
        let expected: Vec<u32> = (0..10)
            .filter(|ticket| ticket % 2 == index as u32)
            .collect();
        assert_eq!(tickets, expected);
    }
    assert_eq!(shelf.change(0, 1, |unit| unit.medium[&3][0]), 3);
}

/// The outcome of a read after the unit said `end` as often as is said here.
fn read_after(ends: Vec<End>) -> Outcome {
    let (shelf, mut disk) = one();
    shelf.change(0, 0, |unit| unit.attentions.extend(ends));
    disk.submit(request(Op::Read, 0, 1, 1), filled(0));
    disk.kick();
    for second in 1..100 {
        if let Some(done) = disk.poll_done() {
            return done.outcome;
        }
        disk.tick(Instant(second * 1_000_000));
    }
    panic!("it is never answered");
}

#[test]
fn what_was_not_done_is_done_again_a_few_times_or_for_a_while() {
    let attention = refuse(Key::UNIT_ATTENTION, 0x29, 0);
    assert_eq!(read_after(vec![attention; 5]), Outcome::Done);
    assert_eq!(read_after(vec![attention; 6]), Outcome::Fault);
    let aborted = refuse(Key::ABORTED, 0, 6);
    assert_eq!(read_after(vec![aborted; 5]), Outcome::Done);
    assert_eq!(read_after(vec![aborted; 6]), Outcome::Medium);
    assert_eq!(read_after(vec![End::Busy; 20]), Outcome::Done);
    assert_eq!(read_after(vec![End::Busy; 50]), Outcome::Fault);
    let wait = refuse(Key::NOT_READY, 4, 1);
    assert_eq!(read_after(vec![wait; 20]), Outcome::Done);
}

#[test]
fn every_other_answer_has_its_meaning() {
    let cases = [
        (refuse(Key::RECOVERED, 0x17, 0), Outcome::Done),
        (refuse(Key::MEDIUM, 0x11, 0), Outcome::Medium),
        (refuse(Key::HARDWARE, 0x44, 0), Outcome::Fault),
        (refuse(Key::DATA_PROTECT, 0x27, 0), Outcome::Fault),
        (refuse(Key::ILLEGAL_REQUEST, 0x20, 0), Outcome::Unsupported),
        (refuse(Key::ILLEGAL_REQUEST, 0x21, 0), Outcome::Fault),
        (refuse(Key::NOT_READY, 0x3a, 0), Outcome::Fault),
        (refuse(Key(0xd), 0, 0), Outcome::Fault),
        (End::Failed, Outcome::Fault),
        (End::Good { missing: 512 }, Outcome::Fault),
        (End::Good { missing: 1 }, Outcome::Fault),
    ];
    for (end, outcome) in cases {
        assert_eq!(read_after(vec![end]), outcome, "{end:?}");
    }
}

#[test]
fn a_frame_that_waits_to_be_sent_again_can_be_looked_at() {
    let (shelf, mut disk) = one();
    shelf.change(0, 0, |unit| unit.attentions.push_back(End::Busy));
    disk.submit(request(Op::Write, 0, 1, 9), filled(5));
    disk.kick();
    assert!(disk.poll_done().is_none());
    assert_eq!(disk.lent(9, |frame| frame.bus_address() % 512), Some(0));
    disk.tick(Instant(1_000_000));
    assert_eq!(
        disk.poll_done().map(|done| done.outcome),
        Some(Outcome::Done)
    );
}

#[test]
fn a_disk_that_grows_is_noticed_by_its_attention_and_by_the_adapters_notice() {
    let (shelf, mut disk) = one();
    shelf.change(0, 0, |unit| {
        unit.sectors = 8192;
        unit.attentions
            .push_back(refuse(Key::UNIT_ATTENTION, 0x2a, 9));
    });
    run(&mut disk, request(Op::Read, 0, 1, 1), filled(0));
    let mut changes = 0;
    for second in 1..5 {
        changes += u32::from(disk.tick(Instant(second * 1_000_000)));
    }
    assert_eq!((changes, disk.geometry().sectors), (1, 8192));

    shelf.change(0, 0, |unit| unit.sectors = 16384);
    let address = Address { target: 0, unit: 0 };
    shelf.notice(Notice::Changed(address));
    for second in 5..9 {
        disk.tick(Instant(second * 1_000_000));
    }
    assert_eq!(disk.geometry().sectors, 16384);
    shelf.change(0, 0, |unit| unit.sectors = 0);
    shelf.notice(Notice::Changed(address));
    for second in 9..13 {
        disk.tick(Instant(second * 1_000_000));
    }
    assert_eq!(disk.geometry().sectors, 16384, "nothing is no size");
}

#[test]
fn a_unit_that_is_taken_away_fails_and_its_neighbour_does_not_notice() {
    let shelf = Shelf::new();
    shelf.put(0, 0, Unit::new("S0"));
    shelf.put(1, 0, Unit::new("S1"));
    let mut both = disks(&shelf);
    shelf.take_away(0, 0);
    let done = run(&mut both[0], request(Op::Read, 0, 1, 1), filled(0));
    assert_eq!(done.outcome, Outcome::Fault);
    both[0].submit(request(Op::Read, 0, 1, 2), filled(0));
    let done = both[0].poll_done().expect("it is not even sent");
    assert_eq!(done.outcome, Outcome::Fault);
    let done = run(&mut both[1], request(Op::Read, 0, 1, 3), filled(0));
    assert_eq!(done.outcome, Outcome::Done);
}

/// The outcome of one request in the time of the disk's ticks.
fn outcome(disk: &mut Disk<FakeAdapter>, op: Op) -> Outcome {
    let sectors = u32::from(op != Op::Flush);
    disk.submit(request(op, 0, sectors, 1), filled(0));
    disk.kick();
    disk.poll_done().expect("it is answered").outcome
}

/// Ticks until `seconds`, from `from`.
fn ticks(disk: &mut Disk<FakeAdapter>, seconds: core::ops::Range<u64>) {
    for second in seconds {
        disk.tick(Instant(second * 1_000_000));
    }
}

#[test]
fn a_unit_that_comes_back_is_known_by_its_serial_number_and_served_again() {
    for is_noticed in [false, true] {
        let (shelf, mut disk) = one();
        let address = Address { target: 0, unit: 0 };
        shelf.take_away(0, 0);
        if is_noticed {
            shelf.notice(Notice::Removed(address));
        }
        assert_eq!(outcome(&mut disk, Op::Read), Outcome::Fault);
        ticks(&mut disk, 1..9);
        assert_eq!(outcome(&mut disk, Op::Read), Outcome::Fault, "it is away");
        let mut unit = Unit::new("S0");
        unit.sectors = 8192;
        unit.attentions
            .push_back(refuse(Key::UNIT_ATTENTION, 0x29, 0));
        shelf.put(0, 0, unit);
        if is_noticed {
            shelf.notice(Notice::Added(address));
            ticks(&mut disk, 9..12);
        } else {
            ticks(&mut disk, 9..14);
        }
        assert_eq!(outcome(&mut disk, Op::Read), Outcome::Done);
        ticks(&mut disk, 14..18);
        assert_eq!(disk.geometry().sectors, 8192, "it has grown meanwhile");
    }
}

#[test]
fn a_unit_that_is_back_is_not_lost_by_a_word_of_its_coming_that_is_read_late() {
    for late in 0..4 {
        let (shelf, mut disk) = one();
        let address = Address { target: 0, unit: 0 };
        let notice_late = || shelf.notice(Notice::Added(address));
        shelf.take_away(0, 0);
        shelf.notice(Notice::Removed(address));
        ticks(&mut disk, 1..2);
        // It comes, and is asked in turn before there is a word of it.
        shelf.put(0, 0, Unit::new("S0"));
        ticks(&mut disk, 2..4);
        for tick in 4..8 {
            if tick == 4 + late {
                notice_late();
            }
            let was_served = outcome(&mut disk, Op::Read) == Outcome::Done;
            ticks(&mut disk, tick..tick + 1);
            let is_served = outcome(&mut disk, Op::Read) == Outcome::Done;
            // Later than the tick after the answer no adapter is.
            assert!(!was_served || is_served || late > 1, "{late}: at {tick} s");
        }
        ticks(&mut disk, 8..16);
        assert_eq!(outcome(&mut disk, Op::Read), Outcome::Done);
    }
}

#[test]
fn a_flush_of_a_unit_that_is_gone_tells_of_every_write_that_was_answered_before() {
    let address = Address { target: 0, unit: 0 };
    for is_flushed in [true, false] {
        let (shelf, mut disk) = one();
        // It is answered in the ring when the adapter says that the unit went.
        disk.submit(request(Op::Write, 0, 1, 7), filled(1));
        disk.kick();
        shelf.notice(Notice::Removed(address));
        ticks(&mut disk, 1..2);
        let done = disk.poll_done().expect("it was answered");
        assert_eq!(done.outcome, Outcome::Done);
        if is_flushed {
            assert_eq!(outcome(&mut disk, Op::Flush), Outcome::Fault);
        }
        shelf.notice(Notice::Added(address));
        ticks(&mut disk, 2..6);
        let next = outcome(&mut disk, Op::Flush);
        assert_eq!(next == Outcome::Done, is_flushed);
        assert_eq!(outcome(&mut disk, Op::Flush), Outcome::Done);
    }
}

#[test]
fn what_comes_to_the_place_of_another_is_not_served() {
    let (shelf, mut disk) = one();
    shelf.change(0, 0, |unit| unit.serial = "S1");
    let address = Address { target: 0, unit: 0 };
    // That the first one went was never said.
    shelf.notice(Notice::Added(address));
    ticks(&mut disk, 1..20);
    assert_eq!(outcome(&mut disk, Op::Write), Outcome::Fault);
    shelf.change(0, 0, |unit| unit.serial = "");
    ticks(&mut disk, 20..30);
    assert_eq!(outcome(&mut disk, Op::Write), Outcome::Fault);
    assert!(shelf.change(0, 0, |unit| unit.medium.is_empty()));
    shelf.change(0, 0, |unit| unit.serial = "S0");
    ticks(&mut disk, 30..34);
    assert_eq!(outcome(&mut disk, Op::Write), Outcome::Done);
}

#[test]
fn units_without_a_serial_number_are_never_taken_for_each_other() {
    let shelf = Shelf::new();
    shelf.put(0, 0, Unit::new(""));
    let mut disk = disks(&shelf).remove(0);
    shelf.notice(Notice::Added(Address { target: 0, unit: 0 }));
    ticks(&mut disk, 1..20);
    assert_eq!(outcome(&mut disk, Op::Read), Outcome::Fault);
}

#[test]
fn a_unit_that_had_no_cache_is_not_served_when_it_comes_back_with_one() {
    let shelf = Shelf::new();
    let mut unit = Unit::new("S0");
    unit.write_cache = false;
    shelf.put(0, 0, unit.clone());
    let mut disk = disks(&shelf).remove(0);
    let address = Address { target: 0, unit: 0 };
    for (seconds, write_cache, knows_modes, expected) in [
        (1..9, true, true, Outcome::Fault),
        (9..18, false, false, Outcome::Fault),
        (18..27, false, true, Outcome::Done),
    ] {
        shelf.change(0, 0, |unit| {
            unit.write_cache = write_cache;
            unit.unknown.clear();
            if !knows_modes {
                unit.unknown.push(Opcode::MODE_SENSE_10);
            }
        });
        shelf.notice(Notice::Added(address));
        ticks(&mut disk, seconds);
        assert_eq!(outcome(&mut disk, Op::Read), expected);
    }
}

#[test]
fn a_flush_after_a_unit_came_back_fails_once_if_writes_may_be_lost_and_only_then() {
    let address = Address { target: 0, unit: 0 };
    for (before, expected) in [
        (vec![Op::Write], Outcome::Fault),
        (vec![Op::Flush, Op::Write], Outcome::Fault),
        (vec![Op::Write, Op::Flush], Outcome::Done),
        (vec![Op::Read, Op::Discard], Outcome::Done),
    ] {
        let (shelf, mut disk) = one();
        for &op in &before {
            assert_eq!(outcome(&mut disk, op), Outcome::Done);
        }
        shelf.notice(Notice::Added(address));
        ticks(&mut disk, 1..4);
        assert_eq!(outcome(&mut disk, Op::Read), Outcome::Done, "{before:?}");
        assert_eq!(outcome(&mut disk, Op::Flush), expected, "{before:?}");
        assert_eq!(outcome(&mut disk, Op::Flush), Outcome::Done, "{before:?}");
    }
}

#[test]
fn a_flush_vouches_for_no_write_that_ended_after_it_was_asked_for() {
    let (shelf, mut disk) = one();
    shelf.answer_backwards();
    disk.submit(request(Op::Flush, 0, 0, 1), filled(0));
    disk.submit(request(Op::Write, 0, 1, 2), filled(1));
    disk.kick();
    for ticket in [2, 1] {
        let done = disk.poll_done().expect("both are answered");
        assert_eq!((done.ticket, done.outcome), (ticket, Outcome::Done));
    }
    shelf.notice(Notice::Added(Address { target: 0, unit: 0 }));
    ticks(&mut disk, 1..4);
    assert_eq!(outcome(&mut disk, Op::Flush), Outcome::Fault);
}

#[test]
fn an_adapter_that_stops_gives_everything_back_as_a_fault() {
    let (shelf, mut disk) = one();
    for ticket in 0..5 {
        disk.submit(request(Op::Write, 0, 1, ticket), filled(0));
    }
    disk.kick();
    shelf.stop();
    disk.submit(request(Op::Write, 0, 1, 5), filled(0));
    let mut tickets = vec![];
    while let Some(done) = disk.poll_done() {
        assert_eq!(done.outcome, Outcome::Fault);
        tickets.push(done.ticket);
    }
    tickets.sort_unstable();
    assert_eq!(tickets, [0, 1, 2, 3, 4, 5]);
    assert!(!disk.tick(Instant(9_000_000)));
}

// --- units that come later ---------------------------------------------------------------

/// The serial numbers of those that have come.
fn come(disk: &mut Disk<FakeAdapter>) -> Vec<Disk<FakeAdapter>> {
    core::iter::from_fn(|| disk.newcomer()).collect()
}

#[test]
fn a_unit_that_comes_later_is_a_disk_like_those_of_the_start() {
    for is_told in [true, false] {
        let (shelf, mut disk) = one();
        if !is_told {
            shelf.keep_quiet();
        }
        assert_eq!(disk.room(), 3);
        ticks(&mut disk, 1..4);
        assert!(come(&mut disk).is_empty());
        let mut unit = Unit::new("late");
        unit.attentions
            .push_back(refuse(Key::UNIT_ATTENTION, 0x29, 0));
        unit.attentions.push_back(refuse(Key::NOT_READY, 0x04, 1));
        shelf.put(3, 0, unit);
        if is_told {
            shelf.notice(Notice::Added(Address { target: 3, unit: 0 }));
            ticks(&mut disk, 4..14);
        } else {
            // Every target is looked at, a few at a time.
            ticks(&mut disk, 4..300);
        }
        let mut newcomers = come(&mut disk);
        assert_eq!(newcomers.len(), 1, "told: {is_told}");
        let late = &mut newcomers[0];
        assert_eq!(late.name(), "00:05.0 fake-scsi 3:0");
        assert_eq!(late.identity().serial.as_str(), "late");
        assert_eq!(late.identity().model.as_str(), "MODEL DISK");
        assert_eq!(late.identity().wwn.as_str(), "5000c50102030405");
        let geometry = late.geometry();
        assert_eq!((geometry.sectors, geometry.physical_exponent), (4096, 3));
        assert_eq!(geometry.write_cache, WriteCache::Volatile);
        assert_eq!(outcome(late, Op::Write), Outcome::Done);
        assert_eq!(outcome(late, Op::Flush), Outcome::Done);
        assert_eq!(disk.room(), 2);
        assert!(come(&mut disk).is_empty(), "each comes once");
        // Its place is its own: gone, and known again.
        shelf.take_away(3, 0);
        assert_eq!(outcome(late, Op::Read), Outcome::Fault);
        shelf.put(3, 0, Unit::new("late"));
        ticks(late, 300..310);
        assert_eq!(outcome(late, Op::Read), Outcome::Done);
        assert!(come(&mut disk).is_empty());
    }
}

#[test]
fn what_comes_and_is_no_disk_for_us_keeps_its_seat_until_it_goes() {
    let (shelf, mut disk) = one();
    let with = |change: fn(&mut Unit)| {
        let mut unit = Unit::new("x");
        change(&mut unit);
        unit
    };
    let changes: [fn(&mut Unit); 3] = [
        |unit| unit.kind = 5,
        |unit| unit.removable = true,
        |unit| unit.block_bytes = 4096,
    ];
    for (target, change) in (1..).zip(changes) {
        shelf.put(target, 0, with(change));
        shelf.notice(Notice::Added(Address { target, unit: 0 }));
    }
    ticks(&mut disk, 1..20);
    assert!(come(&mut disk).is_empty());
    // There is no room for a fourth, until one goes or is another.
    let fourth = Address { target: 9, unit: 0 };
    shelf.put(9, 0, Unit::new("fourth"));
    shelf.notice(Notice::Added(fourth));
    ticks(&mut disk, 20..30);
    assert!(come(&mut disk).is_empty());
    shelf.notice(Notice::Removed(Address { target: 1, unit: 0 }));
    shelf.notice(Notice::Added(fourth));
    shelf.put(2, 0, Unit::new("second"));
    shelf.notice(Notice::Added(Address { target: 2, unit: 0 }));
    ticks(&mut disk, 30..50);
    let serials: Vec<_> = come(&mut disk)
        .iter()
        .map(|disk| disk.identity().serial)
        .collect();
    assert_eq!(serials, [io::Text::new("fourth"), io::Text::new("second")]);
    assert_eq!(disk.room(), 1);
}

#[test]
fn a_unit_that_goes_while_it_is_asked_is_forgotten_and_another_is_not_taken_for_it() {
    let (shelf, mut disk) = one();
    let address = Address { target: 1, unit: 0 };
    shelf.put(1, 0, Unit::new("first"));
    shelf.notice(Notice::Added(address));
    ticks(&mut disk, 1..2);
    shelf.take_away(1, 0);
    ticks(&mut disk, 2..9);
    assert!(come(&mut disk).is_empty());
    for halfway in 1..10 {
        let seconds = halfway * 100;
        shelf.put(1, 0, Unit::new("first"));
        shelf.notice(Notice::Added(address));
        ticks(&mut disk, seconds..seconds + halfway);
        shelf.take_away(1, 0);
        shelf.notice(Notice::Removed(address));
        ticks(&mut disk, seconds + halfway..seconds + 10);
        assert!(come(&mut disk).is_empty());
        // The next one comes while the last question is still under way.
        shelf.put(1, 0, Unit::new("second"));
        shelf.notice(Notice::Added(address));
        ticks(&mut disk, seconds + 10..seconds + 10 + halfway);
        shelf.change(1, 0, |unit| unit.serial = "third");
        shelf.notice(Notice::Added(address));
        let number = halfway;
        ticks(&mut disk, seconds + 50..seconds + 60);
        if let Some(late) = come(&mut disk).pop() {
            assert_eq!(late.identity().serial.as_str(), "third", "{number}");
            return;
        }
    }
    panic!("nobody came");
}

#[test]
fn a_unit_that_is_never_ready_is_given_up() {
    let (shelf, mut disk) = one();
    let mut unit = Unit::new("slow");
    for _ in 0..100 {
        unit.attentions.push_back(refuse(Key::NOT_READY, 0x04, 1));
    }
    shelf.put(1, 0, unit);
    shelf.notice(Notice::Added(Address { target: 1, unit: 0 }));
    ticks(&mut disk, 1..60);
    assert!(come(&mut disk).is_empty());
    assert!(shelf.change(1, 0, |unit| unit.attentions.len() > 60));
}
