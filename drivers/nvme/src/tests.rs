//! The driver against the model: starts, requests, and what goes wrong.

extern crate std;

use crate::Disk;
use crate::command::Opcode;
use crate::error::Error;
use crate::identify::Unusable;
use crate::model::{Model, Namespace, Quirks, Settings, Window};
use crate::status::Status;
use io::{Disk as _, Frame, Op, Outcome, Request, SLOT_BYTES, WriteCache};
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

pub(crate) fn disks(model: &Model) -> Vec<Disk<Window>> {
    let results = model.bring_up(16).into_iter();
    results
        .map(|result| result.expect("it is a disk"))
        .collect()
}

pub(crate) fn start(settings: Settings) -> (Model, Disk<Window>) {
    let model = Model::new(settings);
    let mut disks = disks(&model);
    assert_eq!(disks.len(), 1);
    (model, disks.remove(0))
}

pub(crate) fn plain() -> (Model, Disk<Window>) {
    start(Settings::default())
}

/// What a controller gives that gives no disk.
fn refused(settings: Settings) -> Error {
    let model = Model::new(settings);
    let mut results = model.bring_up(16);
    assert_eq!(results.len(), 1);
    assert!(!model.is_enabled(), "what is not used does not run");
    results.remove(0).err().expect("it gives no disk")
}

fn quirk(change: impl FnOnce(&mut Quirks)) -> Error {
    let mut settings = Settings::default();
    change(&mut settings.quirks);
    refused(settings)
}

pub(crate) fn request(op: Op, lba: u64, sectors: u32, ticket: u32) -> Request {
    Request {
        op,
        lba,
        sectors,
        data: 36,
        ticket,
    }
}

/// A sector that is like no other.
fn pattern(seed: u64) -> [u8; 512] {
    let mut sector = [0; 512];
    for (index, byte) in sector.iter_mut().enumerate() {
        *byte = (seed
            .wrapping_mul(0x9e37_79b9)
            .wrapping_add(index as u64 * 7)
            >> 3) as u8;
    }
    sector
}

/// Runs one request whole.
pub(crate) fn one(
    model: &Model,
    disk: &mut Disk<Window>,
    request: Request,
    frame: Frame,
) -> (Outcome, Frame) {
    disk.submit(request, frame);
    disk.kick();
    model.serve_all(1);
    let done = disk.poll_done().expect("it was served");
    assert_eq!(done.ticket, request.ticket);
    (done.outcome, done.frame)
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

#[test]
fn a_controller_that_was_left_running_is_reset_and_says_who_it_is() {
    let (_, disk) = plain();
    assert_eq!(disk.identity().serial.as_str(), "SERIAL 1");
    assert_eq!(disk.identity().model.as_str(), "Model of a controller");
    assert_eq!(disk.identity().firmware.as_str(), "FW 1.0");
    assert_eq!(disk.name(), "00:04.0 nvme namespace 1");
    assert_eq!(disk.geometry().sectors, 4096);
    assert_eq!(disk.geometry().write_cache, WriteCache::Volatile);
    assert!(disk.geometry().discard.is_some());
    assert_eq!(disk.depth(), 255);
}

#[test]
fn every_way_that_data_can_lie_in_pages_moves_every_byte_to_its_place() {
    let (model, mut disk) = plain();
    // A slot starts at any sector of a page; its data at 512, or 516 behind a tag.
    for offset in (0..4096).step_by(512) {
        for (data, sectors_max) in [(36, 17), (40, 16)] {
            for sectors in 1..=sectors_max {
                let mut frame = model.frames(1, offset).remove(0);
                assert_eq!(frame.bus_address() % 4096, offset as u64);
                let at = usize::from(data);
                let bytes = sectors as usize * 512;
                let lba = u64::from(sectors) * 3;
                for sector in 0..sectors as usize {
                    let from = at + sector * 512;
                    let seed = (offset + sectors as usize * 100 + sector) as u64;
                    frame.buffer_mut()[from..from + 512].copy_from_slice(&pattern(seed));
                }
                let written = frame.buffer_mut()[at..at + bytes].to_vec();
                let mut write = request(Op::Write, lba, sectors, 1);
                write.data = data;
                let (outcome, mut frame) = one(&model, &mut disk, write, frame);
                assert_eq!(outcome, Outcome::Done);
                assert!(frame.buffer_mut()[at..at + bytes] == written, "left alone");

                frame.buffer_mut().fill(0xee);
                let read = Request {
                    op: Op::Read,
                    ..write
                };
                let (outcome, mut frame) = one(&model, &mut disk, read, frame);
                assert_eq!(outcome, Outcome::Done);
                let buffer = frame.buffer_mut();
                assert!(buffer[at..at + bytes] == written);
                let others = buffer[..at].iter().chain(&buffer[at + bytes..]);
                assert!(others.copied().all(|byte| byte == 0xee), "nothing beside");
            }
        }
    }
}

#[test]
fn a_flush_and_a_discard_are_asked_for_by_their_own_commands() {
    let (model, mut disk) = plain();
    let frame = model.frames(1, 0).remove(0);
    disk.submit(request(Op::Flush, 0, 0, 1), frame);
    disk.kick();
    assert_eq!(model.fetch(1, 1), 1);
    assert_eq!(model.taken(1, 0).opcode, Opcode::FLUSH);
    model.serve(1, 0);
    assert!(disk.poll_done().is_some());

    let frame = model.frames(1, 512).remove(0);
    let (_, frame) = one(&model, &mut disk, request(Op::Write, 10, 4, 2), frame);
    assert!(model.sector(1, 11).is_some());
    let (outcome, _) = one(&model, &mut disk, request(Op::Discard, 11, 2, 3), frame);
    assert_eq!(outcome, Outcome::Done);
    let left = (10..14).map(|lba| model.sector(1, lba).is_some());
    assert_eq!(left.collect::<Vec<bool>>(), [true, false, false, true]);
}

#[test]
fn what_the_disk_does_not_need_or_know_ends_without_it() {
    let (model, mut disk) = start(Settings {
        write_cache: false,
        discards: false,
        ..Settings::default()
    });
    assert_eq!(disk.geometry().write_cache, WriteCache::None);
    for (op, outcome) in [
        (Op::Flush, Outcome::Done),
        (Op::Discard, Outcome::Unsupported),
    ] {
        disk.submit(request(op, 0, 1, 4), model.frames(1, 0).remove(0));
        assert!(disk.lent(4, |_| ()).is_some());
        assert!(disk.arm(), "it waits to be polled");
        assert_eq!(disk.poll_done().map(|done| done.outcome), Some(outcome));
    }
    disk.kick();
    assert_eq!(model.fetch(1, usize::MAX), 0);
}

#[test]
fn a_discard_names_no_more_sectors_than_the_controller_takes() {
    let (_, disk) = start(Settings {
        version: 0x0002_0000,
        discard_sectors_max: 1000,
        ..Settings::default()
    });
    let limits = disk.geometry().discard.expect("it can discard");
    assert_eq!(limits.sectors_max, 1000);
}

#[test]
fn every_error_ends_its_own_request_and_no_other() {
    let (model, mut disk) = plain();
    for (op, status, outcome) in [
        (Op::Read, Status::UNRECOVERED_READ, Outcome::Medium),
        (Op::Write, Status::WRITE_FAULT, Outcome::Medium),
        (Op::Read, Status::OUT_OF_RANGE, Outcome::Fault),
        (Op::Discard, Status::INVALID_OPCODE, Outcome::Unsupported),
        (Op::Flush, Status(0x4006), Outcome::Fault),
    ] {
        let mut frames = model.frames(3, 0);
        for (ticket, op) in [(0, Op::Read), (1, op), (2, Op::Write)] {
            disk.submit(request(op, 8, 1, ticket), frames.remove(0));
        }
        disk.kick();
        assert_eq!(model.fetch(1, usize::MAX), 3);
        model.answer(1, 1, status);
        model.serve_all(1);
        let ends = [1, 2, 0].map(|ticket| {
            let done = disk.poll_done().expect("three were answered");
            assert_eq!(done.ticket, ticket, "in the order of the answers");
            done.outcome
        });
        assert_eq!(ends, [outcome, Outcome::Done, Outcome::Done], "{op:?}");
    }
}

#[test]
fn a_thousand_requests_wait_for_a_short_queue_and_come_back_whole_in_any_order() {
    for (entries, depth, seed) in [
        (2, 1, 1),
        (5, 2, 2),
        (16, 8, 3),
        (511, 255, 4),
        (2048, 255, 5),
    ] {
        let (model, mut disk) = start(Settings {
            queue_entries: entries,
            ..Settings::default()
        });
        assert_eq!(disk.depth(), depth);
        let mut random = Random(seed * 0x1234_5678_9abc);
        let mut ours = model.frames(1024, 512);
        let mut medium: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut next, mut back) = (0u32, 0);
        // Enough for both rings to go round, so that phases turn.
        while back < 4000 {
            for _ in 0..random.below(1500) {
                let Some(mut frame) = ours.pop() else { break };
                let lba = u64::from(next) % 4096;
                let op = if medium.contains_key(&lba) {
                    Op::Read
                } else {
                    Op::Write
                };
                frame.buffer_mut()[36..548].copy_from_slice(&pattern(lba));
                if op == Op::Read {
                    frame.buffer_mut()[36..548].fill(0);
                }
                disk.submit(request(op, lba, 1, next), frame);
                next += 1;
            }
            let doorbells = disk.doorbells();
            disk.kick();
            assert!(disk.doorbells() <= doorbells + 1, "one doorbell a kick");
            let in_hand = model.fetch(1, random.below(300));
            for left in (1..=in_hand).rev().take(random.below(300)) {
                model.serve(1, random.below(left));
            }
            while let Some(mut done) = disk.poll_done() {
                assert_eq!(done.outcome, Outcome::Done);
                let lba = u64::from(done.ticket) % 4096;
                assert!(done.frame.buffer_mut()[36..548] == pattern(lba));
                medium.insert(lba, lba);
                ours.push(done.frame);
                back += 1;
            }
        }
    }
}

#[test]
fn a_busy_disk_tells_its_place_in_the_answers_once_in_half_a_ring() {
    let (model, mut disk) = plain();
    let mut frames = model.frames(1, 0);
    for ticket in 0..2560 {
        let frame = frames.remove(0);
        let (_, frame) = one(&model, &mut disk, request(Op::Read, 0, 1, ticket), frame);
        frames.push(frame);
    }
    assert_eq!(
        model.heads_told(),
        2560 / 256 - 1,
        "the last half is untold yet"
    );
}

#[test]
fn a_frame_can_be_looked_at_while_it_waits_and_while_it_is_written() {
    let (model, mut disk) = start(Settings {
        queue_entries: 8,
        ..Settings::default()
    });
    for (ticket, mut frame) in (0..).zip(model.frames(6, 0)) {
        frame.buffer_mut()[36] = ticket as u8;
        frame.set_len(548);
        disk.submit(request(Op::Write, 0, 1, ticket), frame);
    }
    disk.kick();
    assert_eq!(model.fetch(1, usize::MAX), 4);
    for ticket in 0..6 {
        let byte = disk.lent(ticket, |frame| frame.wire()[36]);
        assert_eq!(byte, Some(ticket as u8));
    }
    assert!(disk.lent(6, |_| ()).is_none());
}

#[test]
fn nothing_reaches_the_disk_before_the_kick() {
    let (model, mut disk) = plain();
    disk.submit(request(Op::Read, 0, 1, 0), model.frames(1, 0).remove(0));
    assert_eq!(model.fetch(1, usize::MAX), 0);
    disk.kick();
    disk.kick();
    assert_eq!(model.fetch(1, usize::MAX), 1);
    assert_eq!(disk.doorbells(), 1);
}

#[test]
fn a_sleeping_node_is_woken_by_a_message_and_tells_its_place_before_it_sleeps() {
    let (model, mut disk) = plain();
    disk.submit(request(Op::Write, 0, 1, 0), model.frames(1, 0).remove(0));
    disk.kick();
    assert!(!disk.arm());
    model.serve_all(1);
    assert_eq!(model.messages(), 1);
    assert!(disk.arm());
    disk.disarm();
    assert!(disk.poll_done().is_some());
    assert_eq!(model.heads_told(), 0);
    assert!(!disk.arm());
    assert_eq!(model.heads_told(), 1);
}

#[test]
fn a_disk_without_messages_keeps_the_node_awake_only_while_it_works() {
    let (model, mut disk) = start(Settings {
        has_interrupt: false,
        ..Settings::default()
    });
    assert!(!disk.arm());
    disk.submit(request(Op::Write, 0, 1, 0), model.frames(1, 0).remove(0));
    disk.kick();
    assert!(disk.arm());
    model.serve_all(1);
    assert!(disk.poll_done().is_some());
    assert!(!disk.arm());
    assert_eq!(model.messages(), 0);
}

#[test]
fn two_namespaces_are_two_disks_that_never_mix() {
    let (model, mut disks) = {
        let model = Model::new(Settings {
            namespaces: vec![Namespace::new(2, 64), Namespace::new(7, 4096)],
            stride_exponent: 2,
            ..Settings::default()
        });
        let disks = disks(&model);
        (model, disks)
    };
    assert_eq!(disks[1].name(), "00:04.0 nvme namespace 7");
    assert_eq!(disks[1].namespace(), 7);
    let mut frames = model.frames(2, 0);
    for (disk, seed) in disks.iter_mut().zip(1..) {
        let mut frame = frames.remove(0);
        frame.buffer_mut()[36..548].copy_from_slice(&pattern(seed));
        disk.submit(request(Op::Write, 5, 1, 0), frame);
        disk.kick();
    }
    model.serve_all(1);
    assert!(disks[1].poll_done().is_none());
    model.serve_all(2);
    assert!(disks.iter_mut().all(|disk| disk.poll_done().is_some()));
    assert_eq!(model.sector(2, 5), Some(pattern(1)));
    assert_eq!(model.sector(7, 5), Some(pattern(2)));
}

#[test]
fn a_namespace_that_can_not_be_used_costs_a_sentence_and_no_other_namespace() {
    let coarse = Namespace {
        exponent: 12,
        ..Namespace::new(1, 4096)
    };
    let mixed = Namespace {
        metadata: 8,
        ..Namespace::new(2, 4096)
    };
    let model = Model::new(Settings {
        namespaces: vec![coarse, mixed, Namespace::new(3, 0), Namespace::new(4, 100)],
        ..Settings::default()
    });
    let mut results = model.bring_up(16);
    let disk = results.pop().expect("four").expect("it is a disk");
    assert_eq!(disk.geometry().sectors, 100);
    let reasons = [
        Unusable::SectorBytes { exponent: 12 },
        Unusable::Metadata { bytes: 8 },
        Unusable::NoCapacity,
    ];
    for ((namespace, reason), result) in (1..).zip(reasons).zip(results) {
        assert_eq!(result.err(), Some(Error::Namespace { namespace, reason }));
    }
}

#[test]
fn more_namespaces_than_queues_or_places_are_named_and_the_first_are_served() {
    let namespaces: Vec<Namespace> = (1..=4).map(|number| Namespace::new(number, 64)).collect();
    let few = Model::new(Settings {
        queues: 2,
        namespaces: namespaces.clone(),
        ..Settings::default()
    });
    let ends = few.bring_up(16).into_iter().map(Result::err);
    assert_eq!(
        ends.collect::<Vec<Option<Error>>>(),
        [
            None,
            None,
            Some(Error::NoQueue { namespace: 3 }),
            Some(Error::NoQueue { namespace: 4 })
        ]
    );
    let many = Model::new(Settings {
        namespaces,
        ..Settings::default()
    });
    let ends = many.bring_up(3).into_iter().map(Result::err);
    assert_eq!(
        ends.collect::<Vec<Option<Error>>>(),
        [
            None,
            None,
            None,
            Some(Error::TooManyNamespaces { served: 3 })
        ]
    );
}

#[test]
fn a_controller_older_than_the_list_of_namespaces_is_asked_for_each() {
    let model = Model::new(Settings {
        version: 0x0001_0000,
        namespaces: vec![Namespace::new(2, 64), Namespace::new(5, 128)],
        ..Settings::default()
    });
    let sizes = disks(&model)
        .into_iter()
        .map(|disk| disk.geometry().sectors);
    assert_eq!(sizes.collect::<Vec<u64>>(), [64, 128]);
}

#[test]
fn a_controller_that_can_not_be_used_is_refused_by_name_of_the_fault() {
    let with = |change: fn(&mut Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        refused(settings)
    };
    assert_eq!(
        with(|settings| settings.page_exponent = 1),
        Error::PageBytes { exponent: 13 }
    );
    assert_eq!(
        with(|settings| settings.transfer_exponent = 1),
        Error::TransferBytes { bytes: 8192 }
    );
    assert_eq!(
        with(|settings| settings.namespaces.clear()),
        Error::NoNamespace
    );
    assert_eq!(quirk(|quirks| quirks.admin_only = true), Error::NotForDisks);
    assert_eq!(quirk(|quirks| quirks.fails_at_start = true), Error::Fatal);
    let waited_ms = 500;
    assert_eq!(
        quirk(|quirks| quirks.never_stops = true),
        Error::NoReset { waited_ms }
    );
    assert_eq!(
        quirk(|quirks| quirks.never_starts = true),
        Error::NoStart { waited_ms }
    );
    assert_eq!(
        quirk(|quirks| quirks.wrong_numbers = true),
        Error::WrongAnswer {
            command: Opcode::IDENTIFY
        }
    );
}

#[test]
fn a_controller_that_is_not_there_does_not_answer() {
    let model = Model::new(Settings::default());
    model.vanish();
    let ends = model.bring_up(16).into_iter().map(Result::err);
    assert_eq!(
        ends.collect::<Vec<Option<Error>>>(),
        [Some(Error::NotAnswering)]
    );
}

#[test]
fn silence_and_refusal_at_the_start_are_named_with_their_command() {
    for command in [
        Opcode::IDENTIFY,
        Opcode::SET_FEATURES,
        Opcode::CREATE_COMPLETION,
        Opcode::CREATE_SUBMISSION,
    ] {
        let silent = Error::Silent {
            command,
            waited_ms: 5000,
        };
        assert_eq!(quirk(|quirks| quirks.silent = Some(command)), silent);
        let status = Status::INVALID_OPCODE;
        let refused = Error::Refused { command, status };
        assert_eq!(quirk(|quirks| quirks.refuses = Some(command)), refused);
    }
}

#[test]
#[should_panic(expected = "do not lie in a slot")]
fn more_sectors_than_a_frame_holds_are_a_broken_invariant() {
    let (model, mut disk) = plain();
    let sectors = (SLOT_BYTES / 512) as u32;
    disk.submit(
        request(Op::Read, 0, sectors, 0),
        model.frames(1, 0).remove(0),
    );
}
