//! A target with a disk behind it, and what holds for every answer.
//!
//! Every frame is judged twice, in slots that were full of different rubbish and
//! by two copies of the target: if a byte of the slot that did not arrive makes
//! any difference to what comes out, the two differ. That is how R-006 is held
//! everywhere, rather than in one test.
#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses a part of this"
)]

use aoe::limits::{SECTOR_BYTES, WIRE_BYTES};
use aoe::{
    Address, Cache, Change, Drop, Errors, Io, IoOp, Mac, Medium, Outcome, Policy, Port, Refusal,
    Target, Verdict,
};
use std::collections::BTreeMap;

/// The initiator of the golden frames, and a second one.
pub const HOST: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);
/// The target's port.
pub const OWN: Mac = Mac([2, 0, 0, 0, 0, 2]);
pub const ADDRESS: Address = Address { shelf: 5, slot: 7 };
pub const SECTORS: u64 = 65_536;

/// What the slots are full of before a frame arrives.
const RUBBISH: [u8; 2] = [0xa5, 0x5a];

/// The medium of the golden frames.
pub fn medium() -> Medium {
    Medium {
        sectors: SECTORS,
        physical_exponent: 0,
        alignment_offset: 0,
        read_only: false,
        cache: Cache::WriteThrough,
        discard: false,
        health: None,
        serial: *b"e5.7:020000000002   ",
        model: *b"ublade AoE target                       ",
        firmware: *b"0.1     ",
    }
}

/// What came of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    Dropped(Drop),
    Answer(Answer),
}

/// An answer, its padding included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub refusal: Option<Refusal>,
    /// What the disk was asked for.
    pub io: Option<Io>,
    /// A jumbo frame is to follow.
    pub probe: bool,
}

impl Got {
    pub fn answer(self) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            Self::Dropped(reason) => panic!("dropped: {reason:?}"),
        }
    }
}

/// A target, its port and its disk.
pub struct Bench {
    pub target: Target,
    pub port: Port,
    /// How the disk ends what it is asked.
    pub outcome: Outcome,
    pub written: BTreeMap<u64, Vec<u8>>,
    pub flushes: usize,
    pub discarded: Vec<(u64, u32)>,
    slots: [Box<[u8]>; 2],
}

impl Bench {
    pub fn new() -> Self {
        Self::with(medium(), Policy::default())
    }

    pub fn with(medium: Medium, policy: Policy<'_>) -> Self {
        Self {
            target: Target::new(ADDRESS, medium, 64, policy),
            port: Port {
                mac: OWN,
                mtu: 1500,
            },
            outcome: Outcome::Done,
            written: BTreeMap::new(),
            flushes: 0,
            discarded: Vec::new(),
            slots: RUBBISH.map(|byte| vec![byte; WIRE_BYTES].into_boxed_slice()),
        }
    }

    pub fn silent(mut self) -> Self {
        let policy = Policy {
            errors: Errors::Silent,
            masks: &[],
        };
        self.target = Target::new(ADDRESS, self.target.medium().clone(), 64, policy);
        self
    }

    pub fn mtu(mut self, mtu: u16) -> Self {
        self.port.mtu = mtu;
        self
    }

    /// Sends a frame and has the disk do what is asked of it.
    pub fn send(&mut self, frame: &[u8]) -> Got {
        let mut twin = self.target.clone();
        let mut slots = std::mem::take(&mut self.slots);
        for (slot, rubbish) in slots.iter_mut().zip(RUBBISH) {
            slot.fill(rubbish);
            slot[..frame.len()].copy_from_slice(frame);
        }
        let [first, second] = &mut slots;
        let got = self.exchange(frame.len(), first);
        std::mem::swap(&mut self.target, &mut twin);
        let again = self.exchange(frame.len(), second);
        assert_eq!(
            got, again,
            "R-006: rubbish in the slot shows, for {frame:02x?}"
        );
        self.slots = slots;
        if let Got::Answer(answer) = &got {
            check_answer(frame, answer, &self.port);
        }
        got
    }

    fn exchange(&mut self, received: usize, slot: &mut [u8]) -> Got {
        let (len, refusal, io, probe) = match self.target.admit(&self.port, slot, received) {
            Verdict::Drop(reason) => return Got::Dropped(reason),
            Verdict::Reply { len, refusal } => (len, refusal, None, false),
            Verdict::ReplyThenProbe { len } => (len, None, None, true),
            Verdict::Submit(io) => {
                let again = aoe::io_of(&slot[..received], received);
                assert_eq!(again, Some(io), "the frame is the request");
                self.work(io, slot, received);
                match self
                    .target
                    .complete(&self.port, slot, received, self.outcome)
                {
                    0 => return Got::Dropped(Drop::Silenced),
                    len => (len, None, Some(io), false),
                }
            }
        };
        Got::Answer(Answer {
            bytes: slot[..len].to_vec(),
            refusal,
            io,
            probe,
        })
    }

    /// The disk. It trusts nobody: what it is asked for must be there.
    fn work(&mut self, io: Io, slot: &mut [u8], received: usize) {
        let sectors = self.target.medium().sectors;
        let data = usize::from(io.data);
        match io.op {
            IoOp::Read | IoOp::Verify | IoOp::Write => {
                assert!(io.sectors > 0 && io.lba + u64::from(io.sectors) <= sectors);
            }
            IoOp::Flush | IoOp::Discard => {}
        }
        if self.outcome != Outcome::Done {
            return;
        }
        match io.op {
            IoOp::Read => {
                for (index, lba) in (io.lba..io.lba + u64::from(io.sectors)).enumerate() {
                    let at = data + index * SECTOR_BYTES;
                    slot[at..at + SECTOR_BYTES].copy_from_slice(&self.sector(lba));
                }
            }
            IoOp::Verify => {}
            IoOp::Write => {
                let carried = io.carried(&slot[..received]);
                assert_eq!(carried.len(), io.sectors as usize * SECTOR_BYTES);
                for (lba, sector) in (io.lba..).zip(carried.chunks(SECTOR_BYTES)) {
                    self.written.insert(lba, sector.to_vec());
                }
            }
            IoOp::Flush => self.flushes += 1,
            IoOp::Discard => {
                let ranges: Vec<_> = aoe::discard_ranges(io.carried(&slot[..received])).collect();
                for &(lba, count) in &ranges {
                    assert!(lba + u64::from(count) <= sectors);
                }
                self.discarded = ranges;
            }
        }
    }

    pub fn sector(&self, lba: u64) -> Vec<u8> {
        self.written
            .get(&lba)
            .cloned()
            .unwrap_or_else(|| pattern(lba))
    }

    /// The jumbo frame that follows an answer.
    pub fn probe_of(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let probe = |rubbish| {
            let mut slot = vec![rubbish; WIRE_BYTES];
            let len = self.target.probe(&self.port, answer, &mut slot)?;
            slot.truncate(len);
            Some(slot)
        };
        let [first, second] = RUBBISH.map(probe);
        assert_eq!(first, second, "R-006");
        first
    }

    pub fn announcement(&self) -> Vec<u8> {
        let announce = |rubbish| {
            let mut slot = vec![rubbish; WIRE_BYTES];
            let len = self.target.announce(&self.port, &mut slot);
            slot.truncate(len);
            slot
        };
        let [first, second] = RUBBISH.map(announce);
        assert_eq!(first, second, "R-006");
        first
    }

    pub fn changes(&mut self) -> Vec<Change> {
        std::iter::from_fn(|| self.target.take_change()).collect()
    }
}

/// What holds for every answer, whatever was asked.
pub fn check_answer(frame: &[u8], answer: &Answer, port: &Port) {
    let bytes = &answer.bytes;
    let is_tagged = [[0x81, 0x00], [0x88, 0xa8]]
        .iter()
        .any(|tag| frame[12..14] == *tag);
    let shift = if is_tagged { 4 } else { 0 };
    let body = &bytes[shift..];
    let asked = &frame[shift..];
    assert!(bytes.len() >= 60 + shift, "R-003");
    assert!(
        bytes.len() <= (usize::from(port.mtu) + 14).max(60 + shift),
        "R-103"
    );
    assert_eq!(bytes[..6], frame[6..12], "R-007");
    assert_eq!(bytes[6..12], port.mac.0, "R-007");
    assert_eq!(bytes[12..14 + shift], frame[12..14 + shift], "R-001 R-110");
    assert_eq!(asked[14] & 8, 0, "R-011");
    let error = body[15];
    assert_eq!(body[14], if error == 0 { 0x18 } else { 0x1c }, "R-010");
    assert_eq!(body[16..19], [0, 5, 7], "R-021");
    assert_eq!(body[19..24], asked[19..24], "R-012: tag, and command");
    let code = match answer.refusal {
        Some(Refusal::UnknownCommand) => 1,
        Some(
            Refusal::UnknownConfigCommand
            | Refusal::ConfigLength
            | Refusal::UnknownMaskCommand
            | Refusal::MaskCount
            | Refusal::UnknownReserveCommand
            | Refusal::ReserveCount,
        ) => 2,
        Some(Refusal::ConfigPresent) => 4,
        Some(Refusal::Version) => 5,
        Some(Refusal::Reserved) => 6,
        _ => 0,
    };
    assert_eq!(error, code, "R-031");
    if body[19] == 0 && error == 0 {
        check_ata_answer(asked, body, answer);
    }
}

fn check_ata_answer(asked: &[u8], body: &[u8], answer: &Answer) {
    assert_eq!(
        body[24],
        asked[24] & 0x53,
        "the flags that have a name are echoed"
    );
    assert_eq!(body[34..36], [0, 0], "R-005");
    let data = match asked[27] {
        0x20 | 0x24 => usize::from(asked[26]) * 512,
        0xec => 512,
        0xb0 if asked[25] == 0xd0 => 512,
        _ => 0,
    };
    let is_failure = body[27] & 0xa9 != 0;
    let expected = if is_failure { 36 } else { 36 + data };
    assert_eq!(body.len(), expected.max(60), "R-053");
    if is_failure {
        assert!(answer.refusal.is_some() || answer.io.is_some());
        assert_eq!(body[26], asked[26], "R-044: the count is echoed");
    } else {
        assert_eq!((body[27], body[25]), (0x40, 0), "R-044");
    }
    if asked[27] != 0xb0 {
        assert_eq!(body[28..34], asked[28..34], "R-044: the LBA is echoed");
    }
    if expected < 60 {
        assert!(body[expected..].iter().all(|&byte| byte == 0), "R-003");
    }
}

/// Byte j of sector n is (7n + j) mod 256.
pub fn pattern(lba: u64) -> Vec<u8> {
    (0..512).map(|byte| (7 * lba + byte) as u8).collect()
}

/// A request under construction. Fields that are not named are what a Linux host
/// would put there.
#[derive(Clone, Debug)]
pub struct Frame(pub Vec<u8>);

impl Frame {
    fn new(command: u8) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend(OWN.0);
        bytes.extend(HOST.0);
        bytes.extend([
            0x88, 0xa2, 0x10, 0, 0, 5, 7, command, 0x11, 0x22, 0x33, 0x44,
        ]);
        Self(bytes)
    }

    pub fn command(command: u8) -> Self {
        Self::new(command)
    }

    pub fn ata(opcode: u8, flags: u8, count: u8, lba: u64) -> Self {
        let mut frame = Self::new(0);
        frame.0.extend([flags, 0, count, opcode]);
        frame.0.extend(&lba.to_le_bytes()[..6]);
        frame.0.extend([0, 0]);
        frame
    }

    pub fn read(lba: u64, count: u8) -> Self {
        Self::ata(0x24, 0x40, count, lba)
    }

    pub fn write(lba: u64, data: &[u8]) -> Self {
        Self::ata(0x34, 0x41, (data.len() / 512) as u8, lba).and(data)
    }

    pub fn config(command: u8, string: &[u8]) -> Self {
        let mut frame = Self::new(1);
        frame.0.extend([0, 0, 0, 0, 0, command]);
        frame.0.extend((string.len() as u16).to_be_bytes());
        frame.and(string)
    }

    pub fn mask(command: u8, directives: &[(u8, Mac)]) -> Self {
        let mut frame = Self::new(2);
        frame.0.extend([0, command, 0, directives.len() as u8]);
        for (directive, mac) in directives {
            frame.0.extend([0, *directive]);
            frame.0.extend(mac.0);
        }
        frame
    }

    pub fn reserve(command: u8, members: &[Mac]) -> Self {
        let mut frame = Self::new(3);
        frame.0.extend([command, members.len() as u8]);
        for member in members {
            frame.0.extend(member.0);
        }
        frame
    }

    pub fn and(mut self, data: &[u8]) -> Self {
        self.0.extend(data);
        self
    }

    pub fn feature(self, feature: u8) -> Self {
        self.byte(25, feature)
    }

    pub fn byte(mut self, at: usize, byte: u8) -> Self {
        self.0[at] = byte;
        self
    }

    pub fn to(mut self, mac: Mac) -> Self {
        self.0[..6].copy_from_slice(&mac.0);
        self
    }

    pub fn from(mut self, mac: Mac) -> Self {
        self.0[6..12].copy_from_slice(&mac.0);
        self
    }

    pub fn at(mut self, shelf: u16, slot: u8) -> Self {
        self.0[16..18].copy_from_slice(&shelf.to_be_bytes());
        self.0[18] = slot;
        self
    }

    pub fn tagged(mut self, tag: [u8; 4]) -> Self {
        self.0.splice(12..12, tag);
        self
    }

    pub fn cut(mut self, len: usize) -> Self {
        self.0.truncate(len);
        self
    }
}

impl std::ops::Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
