//! The judge itself: what is right passes, and every kind of wrong is found.

use super::super::world::{CLIENT, NODE, SHELF};
use super::forge::{self, Dice};
use super::model::{Model, SECTORS, SLOTS, View, Write};
use crate::client::{AtaRequest, ata, command};
use crate::pattern;

const CONFIG: [u8; 5] = [0, 64, 1, 0, 2];

fn model() -> Model {
    let mut content = vec![0; SECTORS as usize * 512];
    pattern::fill(&mut content, 0, 1);
    let identities: [Vec<u8>; SLOTS] = [vec![7; 512], vec![8; 512]];
    Model::new(&content, identities, CONFIG)
}

fn request(slot: u8, command: u8, argument: &[u8]) -> Vec<u8> {
    let mut frame = NODE[0].0.to_vec();
    frame.extend(CLIENT.0);
    frame.extend([0x88, 0xa2, 0x10, 0]);
    frame.extend(SHELF.to_be_bytes());
    frame.extend([slot, command, 0x80, 0, 0, 9]);
    frame.extend(argument);
    frame
}

fn transfer(opcode: u8, count: u8, lba: u64, data: usize) -> Vec<u8> {
    let argument = AtaRequest {
        flags: 0x40,
        count,
        opcode,
        lba,
        ..AtaRequest::default()
    };
    let mut argument = argument.bytes().to_vec();
    argument.resize(12 + data, 0xbd);
    request(0, command::ATA, &argument)
}

/// The answer to `frame` with `body` behind the header, padded.
fn answer(frame: &[u8], body: &[u8]) -> Vec<u8> {
    let mut reply = frame[..24].to_vec();
    reply[..6].copy_from_slice(&CLIENT.0);
    reply[6..12].copy_from_slice(&NODE[0].0);
    reply[14] = 0x18;
    reply.extend(body);
    reply.resize(reply.len().max(60), 0);
    reply
}

fn registers(frame: &[u8], status: u8, error: u8) -> Vec<u8> {
    let mut registers = frame[24..36].to_vec();
    registers[1] = error;
    registers[3] = status;
    registers
}

#[test]
fn a_write_is_legal_up_to_the_last_sector_and_no_further() {
    let model = model();
    let legal = |count, lba| Write::Legal {
        slot: 0,
        lba,
        count,
    };
    let write = |count, lba, data| model.write(&transfer(ata::WRITE_EXT, count, lba, data));
    assert_eq!(write(2, SECTORS - 2, 1024), legal(2, SECTORS - 2));
    assert_eq!(write(1, SECTORS - 1, 512), legal(1, SECTORS - 1));
    assert_eq!(write(1, 0, 900), legal(1, 0));
    assert_eq!(write(2, SECTORS - 1, 1024), Write::Illegal);
    assert_eq!(write(1, SECTORS, 512), Write::Illegal);
    assert_eq!(write(1, 0, 511), Write::Illegal);
    assert_eq!(write(0, 0, 512), Write::Illegal);
    assert_eq!(write(3, 0, 1536), Write::Illegal);
    assert_eq!(write(1, (1 << 48) - 1, 512), Write::Illegal);
}

#[test]
fn a_write_by_wildcard_or_under_another_flag_is_never_legal() {
    let model = model();
    let bent = |at: usize, byte: u8| {
        let mut frame = transfer(ata::WRITE_EXT, 1, 0, 512);
        frame[at] = byte;
        model.write(&frame)
    };
    assert_eq!(bent(18, 0xff), Write::Illegal);
    assert_eq!(bent(16, 0xff), Write::Illegal);
    assert_eq!(bent(14, 0x18), Write::Illegal);
    assert_eq!(bent(14, 0x20), Write::Illegal);
    assert_eq!(bent(19, 1), Write::No);
    assert_eq!(bent(27, ata::READ_EXT), Write::No);
    assert!(matches!(bent(14, 0x17), Write::Legal { .. }));
    assert!(matches!(bent(6, 0x03), Write::Open { .. }));
    assert!(matches!(bent(18, 1), Write::Open { slot: 1, .. }));
}

#[test]
fn a_narrow_write_with_high_bits_is_illegal_where_they_would_be_loaded() {
    let model = model();
    let mut frame = transfer(ata::WRITE, 1, 3 | 1 << 28, 512);
    assert_eq!(model.write(&frame), Write::Illegal);
    // Without E the upper half of that byte is the device register.
    frame[24] = 0;
    let legal = Write::Legal {
        slot: 0,
        lba: 3,
        count: 1,
    };
    assert_eq!(model.write(&frame), legal);
}

#[test]
fn an_answer_in_which_every_byte_has_a_source_passes() {
    let mut model = model();
    let read = transfer(ata::READ_EXT, 2, 5, 0);
    model.ask(&read);
    let mut body = registers(&read, 0x40, 0);
    body.extend(&model.disks[0][5 * 512..7 * 512]);
    assert_eq!(model.judge(&answer(&read, &body)), Ok(Some(0x8000_0009)));
    let refused = answer(&read, &registers(&read, 0x41, 0x10));
    assert_eq!(model.judge(&refused), Ok(Some(0x8000_0009)));
}

#[test]
fn one_byte_of_an_answer_that_nobody_wrote_is_found_wherever_it_is() {
    let mut model = model();
    let write = transfer(ata::WRITE_EXT, 1, 5, 512);
    model.ask(&write);
    let right = answer(&write, &registers(&write, 0x40, 0));
    model.judge(&right).unwrap();
    for at in 36..60 {
        let mut leaking = right.clone();
        leaking[at] = 1;
        let complaint = model.judge(&leaking).unwrap_err();
        assert!(
            complaint.contains("not written for it"),
            "{at}: {complaint}"
        );
    }
    let mut longer = right.clone();
    longer.push(0);
    model.judge(&longer).unwrap_err();
    model.judge(&right[..59]).unwrap_err();
}

#[test]
fn wrong_data_wrong_sender_and_a_success_that_must_not_be_are_found() {
    let mut model = model();
    let read = transfer(ata::READ_EXT, 1, 5, 0);
    model.ask(&read);
    let mut body = registers(&read, 0x40, 0);
    body.extend(&model.disks[0][6 * 512..7 * 512]);
    assert!(model.judge(&answer(&read, &body)).is_err());
    let mut elsewhere = answer(&read, &registers(&read, 0x41, 0x10));
    elsewhere[11] ^= 1;
    assert!(model.judge(&elsewhere).unwrap_err().contains("comes from"));
    let mut unasked = answer(&read, &registers(&read, 0x41, 0x10));
    unasked[23] ^= 1;
    assert!(model.judge(&unasked).unwrap_err().contains("nobody asked"));

    let short = transfer(ata::WRITE_EXT, 1, 5, 511);
    model.ask(&short);
    let success = answer(&short, &registers(&short, 0x40, 0));
    assert!(model.judge(&success).unwrap_err().contains("illegal write"));
}

#[test]
fn a_config_string_must_be_the_one_that_was_set() {
    let mut model = model();
    let mut argument = vec![0, 0, 0, 0, 0, 4, 0, 3];
    argument.extend(b"abc");
    let set = request(0, command::CONFIG, &argument);
    model.ask(&set);
    let reply = |string: &[u8]| {
        let mut body = CONFIG.to_vec();
        body.extend([0x14, 0, u8::try_from(string.len()).unwrap()]);
        body.extend(string);
        answer(&set, &body)
    };
    model.judge(&reply(b"abc")).unwrap();
    assert!(model.judge(&reply(b"abd")).is_err());
    assert!(model.judge(&reply(b"ab")).is_err());
}

#[test]
fn frames_follow_from_the_seed_and_never_lock_slot_0_or_turn_the_switch() {
    let frames = |seed| {
        let mut dice = Dice::new(seed);
        (0..20_000)
            .map(|tag| forge::frame(&mut dice, 1 + tag))
            .collect::<Vec<_>>()
    };
    let first = frames(1);
    assert_eq!(first, frames(1));
    assert_ne!(first, frames(2));
    let model = model();
    let mut legal = 0;
    for frame in &first {
        assert!(frame.len() < 6 || frame.get(6..12) != Some(&NODE[0].0[..]));
        legal += u32::from(matches!(model.write(frame), Write::Legal { .. }));
        if let Some(view) = View::of(frame) {
            let locks = matches!(view.command(), command::MASK | command::RESERVE);
            assert!(!locks || view.exact_slot() != Some(0));
        }
    }
    assert!(legal > 200, "only {legal} legal writes among 20,000 frames");
    assert!(legal < 5000, "{legal} legal writes among 20,000 frames");
}
