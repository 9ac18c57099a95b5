//! Frames: a whole target with its state, and any bytes for it.
//!
//! One thing is asked that no look at a single answer can tell: **does the answer
//! depend on a byte that did not arrive?** Every input is run twice with different
//! poison behind the received bytes; verdicts, answers and state must be the same.

use aoe::{Cache, Medium, Outcome, Policy, Port, Target, Verdict};
use io::{SECTOR_BYTES, WIRE_BYTES};
use sim::random::Random;
use sim::wire::{self, Address, Ata, Header};

const ADDRESS: Address = Address { shelf: 5, slot: 7 };
const OURS: wire::Mac = [2, 0, 0, 0, 0, 2];
const SECTORS: u64 = 65_536;
/// What the harness's disk reads: neither poison.
const READ: u8 = 0x77;
const POISONS: [u8; 2] = [0xa5, 0x5a];

fn target(settings: u8) -> Target {
    let medium = Medium {
        sectors: if settings & 1 == 0 { SECTORS } else { 1 << 40 },
        physical_exponent: 3,
        alignment_offset: 0,
        read_only: settings & 2 != 0,
        cache: if settings & 4 == 0 {
            Cache::WriteThrough
        } else {
            Cache::WriteBack
        },
        discard: settings & 8 == 0,
        health: (settings & 16 == 0).then_some(aoe::Health { failing: false }),
        serial: *b"SIM0000             ",
        model: [b'm'; 40],
        firmware: *b"1       ",
    };
    let address = aoe::Address {
        shelf: ADDRESS.shelf,
        slot: ADDRESS.slot,
    };
    Target::new(address, medium, 64, Policy::default())
}

fn port(settings: u8) -> Port {
    Port {
        mac: aoe::Mac(OURS),
        mtu: [1_500, 9_000, 4_132, 600][usize::from(settings >> 5 & 3)],
    }
}

/// The input as a list of frames: each a length in two bytes and its bytes.
fn frames(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes(*length)) % (WIRE_BYTES + 1);
        let (frame, rest) = rest.split_at(length.min(rest.len()));
        data = rest;
        Some(frame)
    })
    .take(64)
}

/// One target and its frame buffer.
struct Bench {
    target: Target,
    port: Port,
    buffer: Vec<u8>,
    poison: u8,
}

/// What came of a frame.
#[derive(Debug, PartialEq)]
enum Came {
    Dropped(aoe::Drop),
    Answers(Vec<Vec<u8>>),
}

impl Bench {
    fn new(settings: u8, poison: u8) -> Self {
        Self {
            target: target(settings),
            port: port(settings),
            buffer: vec![poison; WIRE_BYTES],
            poison,
        }
    }

    fn feed(&mut self, frame: &[u8], outcome: Outcome) -> Came {
        self.buffer[..frame.len()].copy_from_slice(frame);
        self.buffer[frame.len()..].fill(self.poison);
        let received = frame.len();
        match self.target.admit(&self.port, &mut self.buffer, received) {
            Verdict::Drop(reason) => Came::Dropped(reason),
            Verdict::Reply { len, .. } => Came::Answers(vec![self.answer(frame, len)]),
            Verdict::ReplyThenProbe { len } => {
                let first = self.answer(frame, len);
                let mut second = vec![self.poison; WIRE_BYTES];
                let len = self.target.probe(&self.port, &first, &mut second);
                let mut answers = vec![first];
                if let Some(len) = len {
                    second.truncate(len);
                    answers.push(second);
                }
                Came::Answers(answers)
            }
            Verdict::Submit(io) => {
                self.check_io(frame, &io);
                if io.op == aoe::IoOp::Read {
                    let from = usize::from(io.data);
                    let to = from + io.sectors as usize * SECTOR_BYTES;
                    self.buffer[from..to].fill(READ);
                }
                let len = self
                    .target
                    .complete(&self.port, &mut self.buffer, received, outcome);
                if len == 0 {
                    return Came::Answers(Vec::new());
                }
                Came::Answers(vec![self.answer(frame, len)])
            }
        }
    }

    /// What is asked of the disk must lie on it and in the frame.
    fn check_io(&self, frame: &[u8], io: &aoe::Io) {
        let medium = self.target.medium();
        let end = io.lba.checked_add(io.sectors.into()).expect("no overflow");
        assert!(end <= medium.sectors, "past the end: {io:?}");
        let data_end = usize::from(io.data) + io.sectors as usize * SECTOR_BYTES;
        match io.op {
            aoe::IoOp::Write => {
                assert!(!medium.read_only, "a write to a read-only disk: {io:?}");
                assert!(data_end <= frame.len(), "data that never arrived: {io:?}");
            }
            aoe::IoOp::Read => assert!(data_end <= WIRE_BYTES, "past the slot: {io:?}"),
            aoe::IoOp::Discard => {
                assert!(!medium.read_only && medium.discard, "not offered: {io:?}");
                let data = &frame[usize::from(io.data)..];
                for (lba, sectors) in aoe::discard_ranges(data).take(64 * 17) {
                    // Only what the count covers is ours to check.
                    let _ = (lba, sectors);
                }
            }
            aoe::IoOp::Flush | aoe::IoOp::Verify => {}
        }
        assert_eq!(
            aoe::io_of(&self.buffer, frame.len()),
            Some(*io),
            "the frame is the request"
        );
    }

    fn answer(&self, request: &[u8], len: usize) -> Vec<u8> {
        let answer = self.buffer[..len].to_vec();
        let asked = Header::parse(request).expect("it was answered, so it is AoE");
        let header = Header::parse(&answer).expect("an answer is AoE");
        assert!(len >= wire::SHORTEST, "an answer of {len} bytes");
        assert!(
            len <= usize::from(self.port.mtu) + 14 + 4,
            "longer than the link: {len}"
        );
        assert!(!asked.response, "an answer to an answer");
        assert!(header.response && header.version == 1 && header.reserved_bits == 0);
        assert_eq!(header.address, ADDRESS);
        assert_eq!((header.to, header.from), (asked.from, OURS));
        assert_eq!((header.tag, header.command), (asked.tag, asked.command));
        assert_eq!(header.vlan, asked.vlan);
        answer
    }
}

fn outcome(choice: u8) -> Outcome {
    match choice % 8 {
        0 => Outcome::Medium,
        1 => Outcome::Fault,
        2 => Outcome::Unsupported,
        _ => Outcome::Done,
    }
}

/// Any frames to one target, which keeps its state from one to the next.
pub fn run(data: &[u8]) {
    let Some((&settings, data)) = data.split_first() else {
        return;
    };
    let mut benches = POISONS.map(|poison| Bench::new(settings, poison));
    for (index, frame) in frames(data).enumerate() {
        let outcome = outcome(frame.len() as u8 ^ index as u8);
        let [one, other] = &mut benches;
        let came = one.feed(frame, outcome);
        assert_eq!(
            came,
            other.feed(frame, outcome),
            "the answer depends on bytes that never arrived"
        );
        assert_eq!(one.target.take_change(), other.target.take_change());
    }
    let [one, other] = &mut benches;
    let mut shown = POISONS.map(|poison| vec![poison; WIRE_BYTES]);
    let [first, second] = &mut shown;
    let len = one.target.announce(&one.port, first);
    assert_eq!(len, other.target.announce(&other.port, second));
    assert_eq!(first[..len], second[..len], "an announcement shows poison");
}

/// A frame with and without a VLAN tag is the same request.
pub fn run_tag(data: &[u8]) {
    let Some((&settings, frame)) = data.split_first() else {
        return;
    };
    let frame = &frame[..frame.len().min(1_400)];
    if frame.len() < 14 || frame[12..14] != [0x88, 0xa2] {
        return;
    }
    let tag = [0x81, 0x00, 0x60, settings];
    // The tag costs a long frame its last sector, and such a request is refused.
    if frame.get(26).is_some_and(|&count| count >= 8) {
        return;
    }
    let plain = Bench::new(settings, POISONS[0]).feed(frame, Outcome::Done);
    let tagged = wire::tagged(frame, tag);
    let behind = Bench::new(settings, POISONS[0]).feed(&tagged, Outcome::Done);
    match (plain, behind) {
        (Came::Dropped(one), Came::Dropped(other)) => assert_eq!(one, other),
        (Came::Answers(plain), Came::Answers(behind)) => {
            for (one, other) in plain.iter().zip(&behind) {
                assert_eq!(other[12..16], tag, "the tag comes back");
                let other = wire::untagged(other);
                let shared = one.len().min(other.len());
                // What a frame carries is smaller by the tag: a config answer may
                // say a sector less, IDENTIFY a sector of ranges less (word 105, and
                // its check sum).
                let is_config = one.get(19) == Some(&wire::CONFIG);
                let is_identify = frame.get(27) == Some(&0xec);
                let may_differ =
                    |at: usize| (is_config && at == 28) || (is_identify && matches!(at, 246 | 547));
                let differs = |at: &usize| one[*at] != other[*at] && !may_differ(*at);
                assert_eq!((0..shared).find(differs), None, "{one:02x?} {other:02x?}");
            }
        }
        (plain, behind) => panic!("{plain:?} without, {behind:?} with a tag"),
    }
}

/// Some frames to a target of some kind.
pub fn generate(random: &mut Random, input: &mut Vec<u8>) {
    input.push(random.next() as u8);
    for _ in 0..random.between(1, 4) {
        let frame = frame(random);
        input.extend((frame.len() as u16).to_le_bytes());
        input.extend(frame);
    }
}

/// One frame, for [`run_tag`].
pub fn generate_tag(random: &mut Random, input: &mut Vec<u8>) {
    input.push(random.next() as u8);
    input.extend(frame(random));
}

/// A frame that is nearly right.
fn frame(random: &mut Random) -> Vec<u8> {
    let from = [2, 0, 0, 0, 0, *random.pick(&[1, 1, 1, 9])];
    let to = *random.pick(&[OURS, OURS, OURS, wire::BROADCAST, [2, 0, 0, 0, 0, 3]]);
    let mut address = ADDRESS;
    match random.below(16) {
        0 => address.slot = 0xff,
        1 => address.shelf = 0xffff,
        2 => address = Address::EVERYONE,
        3 => address.slot = 8,
        _ => {}
    }
    let command = *random.pick(&[0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 0xf0]);
    let mut header = Header::request(to, from, address, command, random.next() as u32);
    if random.one_in(24) {
        header.version = random.below(16) as u8;
        header.response = random.one_in(2);
        header.failed = random.one_in(2);
        header.reserved_bits = random.below(4) as u8;
    }
    let mut bytes = match command {
        wire::ATA => {
            let code = *random.pick(&[
                0x20, 0x24, 0x30, 0x34, 0x40, 0x42, 0x06, 0xe7, 0xea, 0xec, 0xe5, 0xef, 0xb0, 0xe0,
                0xc8, 0x25,
            ]);
            let lba = *random.pick(&[0, 1, SECTORS - 1, SECTORS, 0x0fff_ffff, (1 << 40) - 1]);
            let mut ata = Ata::extended(code, lba, random.below(4) as u8);
            if random.one_in(3) {
                ata.flags = random.next() as u8;
                ata.feature = *random.pick(&[0, 1, 2, 0x82, 0xd0, 0xda, 0xaa]);
                ata.count = random.next() as u8;
                random.fill(&mut ata.lba);
            }
            let mut data = vec![0; *random.pick(&[0, 0, 511, 512, 1_024])];
            random.fill(&mut data);
            wire::ata(header, ata, &data)
        }
        wire::CONFIG => {
            let mut text = vec![b'a'; random.below(8) as usize];
            if random.one_in(8) {
                text.resize(random.below(1_100) as usize, b'b');
            }
            wire::config(header, random.below(7) as u8, &text)
        }
        wire::MASK => {
            let count = *random.pick(&[0u64, 1, 2, 5, 185]);
            let directives: Vec<(u8, wire::Mac)> = (0..count)
                .map(|_| {
                    let who = [2, 0, 0, 0, 0, random.next() as u8];
                    (random.below(4) as u8, who)
                })
                .collect();
            wire::mask(header, random.below(3) as u8, &directives)
        }
        wire::RESERVE => {
            let macs: Vec<wire::Mac> = (0..random.below(4))
                .map(|_| [2, 0, 0, 0, 0, random.below(10) as u8])
                .collect();
            wire::reserve(header, random.below(4) as u8, &macs)
        }
        _ => header.bytes(),
    };
    match random.below(6) {
        0 => bytes.truncate(random.below(bytes.len() as u64 + 1) as usize),
        1 => {
            for _ in 0..random.between(1, 4) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.next() as u8;
            }
        }
        2 => bytes.resize(bytes.len() + random.below(600) as usize, 0xed),
        3 => {
            let tag = [0x81, 0, random.next() as u8, random.next() as u8];
            bytes = wire::tagged(&bytes, tag);
        }
        _ => {}
    }
    bytes
}
