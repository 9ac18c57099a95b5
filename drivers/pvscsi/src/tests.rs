//! The adapter against its model.

extern crate std;

use crate::adapter::Pvscsi;
use crate::error::Error;
use crate::model::{Model, Window};
use crate::ring::request;
use io::{Frame, Instant, Op, Request, WIRE};
use scsi::command::Cdb;
use scsi::{Adapter, Address, Data, End, Key, Mark, Sense};
use std::vec;
use std::vec::Vec;

const UNIT: Address = Address { target: 3, unit: 5 };

fn start(frames: usize) -> (Model, Pvscsi<Window>) {
    let model = Model::new(frames);
    let adapter = Pvscsi::start(model.window(), true, &mut model.clone(), "00:05.0 pvscsi");
    (model, adapter.expect("it starts"))
}

fn mark(ticket: u32) -> Mark {
    Mark {
        disk: 0,
        request: Some(Request {
            op: Op::Read,
            lba: 0,
            sectors: 1,
            data: 36,
            ticket,
        }),
        since: Instant(0),
        tries: 0,
    }
}

fn read(adapter: &mut Pvscsi<Window>, ticket: u32, frame: Frame) {
    let data = Data::In {
        at: WIRE + 36,
        bytes: 512,
    };
    adapter.send(UNIT, &Cdb::read(7, 1), data, mark(ticket), frame);
}

#[test]
fn a_command_is_carried_and_its_data_comes_back() {
    let (model, mut adapter) = start(8);
    let frame = model.frames(1).remove(0);
    let address = frame.bus_address();
    read(&mut adapter, 1, frame);
    assert!(model.fetch().is_empty(), "not told yet");
    adapter.kick();
    assert_eq!(model.kicks(), [1, 0]);
    let seen = model.fetch().remove(0);
    assert_eq!(seen.cdb, Cdb::read(7, 1).bytes());
    assert_eq!((seen.target, seen.unit), (3, [0, 5, 0, 0, 0, 0, 0, 0]));
    assert_eq!(seen.data, address + (WIRE + 36) as u64);
    assert_eq!((seen.data_bytes, seen.flags), (512, request::TO_HOST));
    model.fill(&seen, &[9; 512]);
    model.answer(seen.context, 512, 0, 0, 0);
    let mut answer = adapter.poll().expect("answered");
    assert_eq!(
        (answer.end, answer.mark),
        (End::Good { missing: 0 }, mark(1))
    );
    assert_eq!(answer.frame.buffer_mut()[36..548], [9; 512]);
    adapter.kick();
    assert_eq!(model.kicks(), [1, 0], "nothing to tell");
}

#[test]
fn what_moves_no_data_rings_the_other_doorbell() {
    let (model, mut adapter) = start(8);
    let mut frames = model.frames(2);
    let flush = Cdb::synchronize_cache();
    adapter.send(UNIT, &flush, Data::None, mark(1), frames.remove(0));
    adapter.kick();
    assert_eq!(model.kicks(), [0, 1]);
    adapter.send(UNIT, &flush, Data::None, mark(2), frames.remove(0));
    read(&mut adapter, 3, model.frames(1).remove(0));
    adapter.kick();
    assert_eq!(model.kicks(), [1, 1], "one for both");
    assert_eq!(model.fetch().len(), 3);
}

/// How a read of 512 bytes ends by this answer.
fn end_of(moved: u64, sense: &[u8], host: u16, unit: u16) -> End {
    let (model, mut adapter) = start(8);
    read(&mut adapter, 1, model.frames(1).remove(0));
    adapter.kick();
    let seen = model.fetch().remove(0);
    model.sense(&seen, sense);
    model.answer(seen.context, moved, sense.len() as u32, host, unit);
    adapter.poll().expect("answered").end
}

#[test]
fn every_answer_has_its_meaning() {
    let sense = [0x70, 0, 3, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0];
    let medium = Sense {
        key: Key::MEDIUM,
        code: 0x11,
        qualifier: 0,
    };
    assert_eq!(end_of(512, &[], 0, 0), End::Good { missing: 0 });
    assert_eq!(end_of(0, &[], 0, 0), End::Good { missing: 0 });
    assert_eq!(end_of(100, &[], 0, 0), End::Good { missing: 412 });
    assert_eq!(end_of(100, &[], 0x0c, 0), End::Good { missing: 412 });
    assert_eq!(end_of(0, &[], 0x12, 0), End::Good { missing: 512 });
    assert_eq!(end_of(u64::MAX, &[], 0x12, 0), End::Good { missing: 0 });
    assert_eq!(end_of(0, &sense, 0, 2), End::Check(medium));
    assert_eq!(end_of(0, &[], 0, 2), End::Check(Sense::NOTHING));
    assert_eq!(end_of(0, &[], 0, 8), End::Busy);
    assert_eq!(end_of(0, &[], 0, 0x28), End::Busy);
    assert_eq!(end_of(0, &[], 0x11, 0), End::Gone);
    assert_eq!(end_of(0, &[], 0x25, 0), End::Busy);
    assert_eq!(end_of(0, &[], 0x20, 0), End::Failed);
    assert_eq!(end_of(0, &[], 0x7f, 0x7f), End::Failed);
}

#[test]
fn a_question_that_was_answered_shortly_is_answered() {
    let (model, mut adapter) = start(8);
    let question = Mark {
        request: None,
        ..mark(0)
    };
    let data = Data::In {
        at: WIRE,
        bytes: 255,
    };
    let frame = model.frames(1).remove(0);
    adapter.send(UNIT, &Cdb::inquiry(None, 255), data, question, frame);
    adapter.kick();
    let seen = model.fetch().remove(0);
    model.answer(seen.context, 0, 0, 0x12, 0);
    let end = adapter.poll().expect("answered").end;
    assert_eq!(end, End::Good { missing: 0 });
}

#[test]
fn a_thousand_commands_go_around_a_ring_of_32_in_any_order() {
    let (model, mut adapter) = start(16);
    let capacity = adapter.lists();
    let mut frames = model.frames(100);
    let (mut sent, mut back) = (0, vec![]);
    let mut held: Vec<u64> = vec![];
    while back.len() < 1000 {
        while let Some(frame) = frames.pop() {
            read(&mut adapter, sent, frame);
            sent += 1;
        }
        adapter.kick();
        held.extend(model.fetch().iter().map(|seen| seen.context));
        assert!(held.len() <= 32, "as many as there are places");
        let turn = back.len() % held.len();
        held.rotate_left(turn);
        for context in held.split_off(held.len() / 2) {
            model.answer(context, 512, 0, 0, 0);
        }
        while let Some(answer) = adapter.poll() {
            assert_eq!(answer.end, End::Good { missing: 0 });
            back.push(answer.mark.request.expect("ours").ticket);
            frames.push(answer.frame);
        }
    }
    back.sort_unstable();
    back.dedup();
    assert!(back.len() >= 1000, "each once");
    assert_eq!(adapter.lists(), capacity, "lists never grow");
}

#[test]
fn an_adapter_that_returns_what_it_does_not_have_is_stopped_with_all_it_held() {
    let faults: [fn(&Model, u64); 4] = [
        |model, _| model.answer(31, 0, 0, 0, 0),
        |model, _| model.answer(u64::MAX, 0, 0, 0, 0),
        |model, context| {
            model.answer(context, 0, 0, 0, 0);
            model.answer(context, 0, 0, 0, 0);
        },
        |model, _| model.claim(5),
    ];
    for fault in faults {
        let (model, mut adapter) = start(8);
        for ticket in 0..3 {
            read(&mut adapter, ticket, model.frames(1).remove(0));
        }
        adapter.kick();
        let context = model.fetch()[0].context;
        fault(&model, context);
        let mut ended = 0;
        while adapter.poll().is_some() {
            ended += 1;
        }
        let before = model.resets();
        adapter.tick(Instant(1));
        assert_eq!(model.resets(), before + 1);
        assert!(!adapter.is_running());
        while let Some(answer) = adapter.poll() {
            assert_eq!(answer.end, End::Failed);
            ended += 1;
        }
        assert_eq!(ended, 3, "every frame comes back, once");
    }
}

#[test]
fn an_adapter_that_is_not_there_any_more_is_noticed() {
    let (model, mut adapter) = start(8);
    read(&mut adapter, 1, model.frames(1).remove(0));
    adapter.kick();
    model.vanish();
    adapter.tick(Instant(1));
    assert_eq!(adapter.poll().map(|answer| answer.end), Some(End::Failed));
}

#[test]
fn an_adapter_that_can_not_be_used_is_refused_by_name_of_the_fault() {
    let refused = |model: &Model| {
        Pvscsi::start(model.window(), false, &mut model.clone(), "x")
            .err()
            .expect("refused")
    };
    let model = Model::new(8);
    model.vanish();
    assert_eq!(refused(&model), Error::NotAnswering);
    let model = Model::new(8);
    model.refuse_rings();
    assert_eq!(refused(&model), Error::RingsRefused { status: u32::MAX });
}

#[test]
fn a_sleeping_node_is_woken_and_an_answer_that_is_there_keeps_it_awake() {
    let (model, mut adapter) = start(8);
    read(&mut adapter, 1, model.frames(1).remove(0));
    adapter.kick();
    assert!(!adapter.arm());
    assert_eq!(model.mask(), 3);
    adapter.disarm();
    assert_eq!(model.mask(), 0);
    let context = model.fetch()[0].context;
    model.answer(context, 512, 0, 0, 0);
    assert!(adapter.arm());
}

#[test]
fn a_frame_that_is_lent_or_waits_can_be_looked_at() {
    let (model, mut adapter) = start(1);
    for ticket in 0..40 {
        read(&mut adapter, ticket, model.frames(1).remove(0));
    }
    let look = |wanted: u32| {
        let is_it = |mark: &Mark| mark.request.is_some_and(|request| request.ticket == wanted);
        adapter.lent(is_it, |frame| frame.bus_address() % 512)
    };
    assert_eq!((look(0), look(39), look(40)), (Some(0), Some(0), None));
}

#[test]
fn what_is_told_of_the_adapter_is_what_is_driven() {
    let said = crate::DEVICES;
    assert_eq!(pci::known::disagreements(said, 0x15ad, crate::is_pvscsi), 0);
}
