//! Frames that nobody should send: valid ones bent a little, and noise.

use super::super::world::{CLIENT, NODE, SHELF};
use super::model::{SECTORS, View};
use crate::Mac;
use crate::client::{AtaRequest, ata, command};
use crate::pattern::scrambled;

/// Longest frame at an MTU of 1500.
const FRAME_BYTES: usize = 1514;
/// Longest frame that is sent now and then all the same.
const GIANT_BYTES: usize = 9014;

/// Numbers that follow from a seed.
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        // The remainder favours small numbers by less than one in 2^40.
        (scrambled(&mut self.state) % end as u64) as usize
    }

    fn one_in(&mut self, end: usize) -> bool {
        self.below(end) == 0
    }

    fn byte(&mut self) -> u8 {
        scrambled(&mut self.state).to_le_bytes()[0]
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn noise(&mut self, bytes: usize) -> Vec<u8> {
        (0..bytes).map(|_| self.byte()).collect()
    }
}

/// The next hostile frame, tagged `tag` where it is long enough for one.
pub(super) fn frame(dice: &mut Dice, tag: u32) -> Vec<u8> {
    let mut frame = if dice.one_in(20) {
        noise(dice)
    } else {
        let mut frame = valid(dice);
        for _ in 0..dice.pick(&[0, 1, 1, 1, 2, 3, 6]) {
            bend(dice, &mut frame);
        }
        frame
    };
    // A frame that says it comes from the node turns the switch against us.
    if frame.len() >= 12 && frame[6..12] == NODE[0].0 {
        frame[11] ^= 0x80;
    }
    if let Some(view) = View::of(&frame) {
        // Slot 0 must stay open, or nothing could be tried any more. Slot 1 is
        // there to be locked; by wildcard neither may be.
        let locks = matches!(view.command(), command::MASK | command::RESERVE);
        let slot_place = view.place(18);
        let tag_place = view.place(20);
        if locks && view.exact_slot() == Some(0) {
            frame[slot_place] = 1;
        }
        frame[tag_place..tag_place + 4].copy_from_slice(&tag.to_be_bytes());
    }
    frame
}

/// Bytes without any sense, most of them behind the right ethertype.
fn noise(dice: &mut Dice) -> Vec<u8> {
    let bytes = if dice.one_in(50) {
        dice.below(GIANT_BYTES)
    } else {
        dice.below(FRAME_BYTES)
    };
    let mut frame = dice.noise(bytes.max(1));
    if !dice.one_in(4) && frame.len() > 14 {
        frame[..6].copy_from_slice(&NODE[0].0);
        frame[6..12].copy_from_slice(&CLIENT.0);
        frame[12..14].copy_from_slice(&[0x88, 0xa2]);
    }
    frame
}

/// A frame that some initiator might send.
fn valid(dice: &mut Dice) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_BYTES);
    frame.extend(dice.pick(&[NODE[0], NODE[0], NODE[0], Mac::BROADCAST]).0);
    frame.extend(CLIENT.0);
    if dice.one_in(20) {
        frame.extend([0x81, 0x00, 0x00, 0x00]);
    }
    frame.extend([0x88, 0xa2, 0x10, 0]);
    frame.extend(
        dice.pick(&[SHELF, SHELF, SHELF, SHELF, 0xffff])
            .to_be_bytes(),
    );
    frame.push(dice.pick(&[0, 0, 0, 1, 0xff]));
    let kind = dice.pick(&[0, 0, 0, 0, 0, 1, 1, 2, 3]);
    frame.push(kind);
    frame.extend([0; 4]);
    match kind {
        command::ATA => ata_argument(dice, &mut frame),
        command::CONFIG => {
            let length = dice.pick(&[0, 1, 7, 64, 1024]);
            let ccmd = dice.pick(&[0, 0, 1, 2, 3, 4, 4]);
            frame.extend([0, 0, 0, 0, 0, ccmd]);
            frame.extend(u16::try_from(length).unwrap_or(0).to_be_bytes());
            frame.extend(dice.noise(length));
        }
        command::MASK => {
            let count = dice.below(6);
            frame.extend([0, dice.pick(&[0, 1, 1]), 0, count as u8]);
            for _ in 0..count {
                frame.extend([0, dice.pick(&[0, 1, 2, 2])]);
                frame.extend(someone(dice).0);
            }
        }
        _ => {
            let count = dice.below(4);
            frame.extend([dice.pick(&[0, 1, 2, 2]), count as u8]);
            for _ in 0..count {
                frame.extend(someone(dice).0);
            }
        }
    }
    if dice.one_in(10) {
        // What may follow an argument must never come back.
        let room = FRAME_BYTES.saturating_sub(frame.len());
        frame.resize(frame.len() + dice.below(room.max(1)), 0xed);
    }
    frame
}

fn ata_argument(dice: &mut Dice, frame: &mut Vec<u8>) {
    let opcode = dice.pick(&[
        ata::READ,
        ata::READ_EXT,
        ata::READ_EXT,
        ata::WRITE,
        ata::WRITE_EXT,
        ata::VERIFY_EXT,
        ata::IDENTIFY,
        ata::FLUSH_EXT,
        ata::CHECK_POWER_MODE,
        ata::SET_FEATURES,
        ata::SMART,
        ata::DATA_SET_MANAGEMENT,
    ]);
    let writes = matches!(
        opcode,
        ata::WRITE | ata::WRITE_EXT | ata::DATA_SET_MANAGEMENT
    );
    let border = SECTORS - 2 + dice.below(4) as u64;
    let inside = dice.below(SECTORS as usize) as u64;
    let request = AtaRequest {
        flags: dice.pick(&[0x40, 0x40, 0x00]) | u8::from(writes),
        feature: dice.pick(&[0, 0, 1, 0x02, 0x82, 0xda]),
        count: dice.pick(&[1, 1, 2, 2, 3, 0]),
        opcode,
        lba: dice.pick(&[inside, inside, inside, border]),
    };
    frame.extend(request.bytes());
    if writes {
        frame.extend(dice.noise(usize::from(request.count.min(2)) * 512));
    }
}

fn someone(dice: &mut Dice) -> Mac {
    let number = dice.below(4) as u16;
    dice.pick(&[CLIENT, CLIENT, Mac::local(0x0700 + number)])
}

/// Bends a frame in one way.
fn bend(dice: &mut Dice, frame: &mut Vec<u8>) {
    const BORDERS: [u8; 9] = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff, 0x10, 0x40];
    if frame.is_empty() {
        return;
    }
    let header = frame.len().min(44);
    match dice.below(8) {
        0 => {
            let at = dice.below(header);
            frame[at] ^= 1 << dice.below(8);
        }
        1 => {
            let at = dice.below(header);
            frame[at] = dice.byte();
        }
        // The fields that matter most, at their borders.
        2 | 3 => {
            let at = 14 + dice.below(22);
            if at < frame.len() {
                frame[at] = dice.pick(&BORDERS);
            }
        }
        4 => frame.truncate(dice.below(frame.len()).max(1)),
        5 => {
            let room = FRAME_BYTES.saturating_sub(frame.len());
            let more = dice.below(room.max(1));
            let noise = dice.noise(more);
            frame.extend(noise);
        }
        6 => {
            // One byte or one sector less than it says.
            let less = dice.pick(&[1, 4, 512]).min(frame.len() - 1);
            frame.truncate(frame.len() - less);
        }
        _ => {
            if frame.len() > 14 {
                let tag = [0x81, 0x00, dice.byte(), dice.byte()];
                frame.splice(12..12, tag);
            }
        }
    }
    frame.truncate(GIANT_BYTES);
}
