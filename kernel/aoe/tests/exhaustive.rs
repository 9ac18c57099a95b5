//! Small spaces, all of them, against tables written from the protocol and not
//! from the code.

mod common;

use aoe::limits::WIRE_BYTES;
use aoe::{Drop, IoOp, Medium, Policy, Port, Target, Verdict};
use common::{ADDRESS, Bench, Frame, Got, HOST, OWN, SECTORS, medium};

/// Fields that a command needs, counted from the start of the frame.
const fn need(command: u8) -> usize {
    match command {
        0 => 36,
        1 => 32,
        2 => 28,
        3 => 26,
        _ => 24,
    }
}

/// Every command, every flags byte, every length that matters up to 80, in a slot that is full
/// of rubbish where the frame ends. The argument is all zeros: it is valid for
/// commands 1 to 3 and aborted for 0.
fn commands_flags_and_lengths(commands: std::ops::RangeInclusive<u8>) {
    let port = Port {
        mac: OWN,
        mtu: 1500,
    };
    let mut target = Target::new(ADDRESS, medium(), 64, Policy::default());
    let mut slot = vec![0; WIRE_BYTES];
    for command in commands {
        let frame = Frame::command(command).and(&[0; 56]);
        for flags in 0..=255 {
            // Beyond the longest argument only the borders of the padding are left.
            for len in (0..=37).chain(59..=61).chain([80]) {
                slot[..96].fill(0xa5);
                slot[..len].copy_from_slice(&frame[..len]);
                if len > 14 {
                    slot[14] = flags;
                }
                let verdict = target.admit(&port, &mut slot, len);
                check(verdict, &slot, command, flags, len);
            }
        }
    }
}

fn check(verdict: Verdict, slot: &[u8], command: u8, flags: u8, len: usize) {
    let what = (command, flags, len);
    let error = match (flags >> 4, command) {
        (1, 0..=3) => 0,
        (1, _) => 1,
        _ => 5,
    };
    let need = if error == 5 { 24 } else { need(command) };
    match verdict {
        Verdict::Drop(reason) if len < 24 => {
            assert!(matches!(reason, Drop::Short | Drop::NotAoe), "{what:?}");
        }
        Verdict::Drop(reason) if flags & 8 != 0 => assert_eq!(reason, Drop::Response),
        Verdict::Drop(reason) => {
            assert_eq!(reason, Drop::Short, "{what:?}");
            assert!(len < need, "{what:?}");
        }
        Verdict::Reply { len: answered, .. } => {
            assert!(len >= need && flags & 8 == 0, "{what:?}");
            assert_eq!(answered, 60);
            assert_eq!(slot[..6], HOST.0);
            assert_eq!(slot[6..14], [2, 0, 0, 0, 0, 2, 0x88, 0xa2]);
            let expected_flags = if error == 0 { 0x18 } else { 0x1c };
            assert_eq!(slot[14..20], [expected_flags, error, 0, 5, 7, command]);
            assert_eq!(slot[20..24], [0x11, 0x22, 0x33, 0x44]);
            let argument: &[u8] = match (error, command) {
                // Opcode 0 is NOP, which always aborts.
                (0, 0) => &[0, 4, 0, 0x41],
                (0, 1) => &[0, 64, 1, 0, 2, 0x10],
                _ => &[],
            };
            assert_eq!(slot[24..24 + argument.len()], *argument, "{what:?}");
            let rest = &slot[24 + argument.len()..60];
            assert!(rest.iter().all(|&byte| byte == 0), "R-003 R-006: {what:?}");
        }
        other => panic!("{what:?}: {other:?}"),
    }
}

#[test]
fn every_command_flag_and_length_is_answered_as_it_should_be_or_not_at_all() {
    // R-002 R-003 R-006 R-010 R-011 R-013 R-032
    std::thread::scope(|scope| {
        scope.spawn(|| commands_flags_and_lengths(0..=127));
        scope.spawn(|| commands_flags_and_lengths(128..=255));
    });
}

/// What ATA commands do, as the standard and our rules have it.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    Read,
    Write,
    Verify,
    Flush,
    Identify,
    Power,
    Nothing,
    Features,
}

/// Opcode, what it does, whether its address has 48 bits.
const OPCODES: [(u8, Does, bool); 15] = [
    (0x20, Does::Read, false),
    (0x24, Does::Read, true),
    (0x30, Does::Write, false),
    (0x34, Does::Write, true),
    (0x40, Does::Verify, false),
    (0x42, Does::Verify, true),
    (0xe0, Does::Nothing, false),
    (0xe1, Does::Nothing, false),
    (0xe2, Does::Nothing, false),
    (0xe3, Does::Nothing, false),
    (0xe5, Does::Power, false),
    (0xe7, Does::Flush, false),
    (0xea, Does::Flush, false),
    (0xec, Does::Identify, false),
    (0xef, Does::Features, false),
];

/// Status, error and count of the answer, and what the disk was asked for.
type Expected = (u8, u8, u8, Option<(IoOp, u64, u32)>);

fn oracle(opcode: u8, flags: u8, count: u8, lba: u64, sectors: u64) -> Expected {
    const MOST: u8 = 2;
    let aborted = (0x41, 0x04, count, None);
    let not_found = (0x41, 0x10, count, None);
    let Some((_, does, is_wide)) = OPCODES.into_iter().find(|entry| entry.0 == opcode) else {
        return aborted;
    };
    let op = match does {
        Does::Nothing => return (0x40, 0, 0, None),
        Does::Power => return (0x40, 0, 0xff, None),
        Does::Flush => return (0x40, 0, 0, Some((IoOp::Flush, 0, 0))),
        Does::Identify if count == 1 => return (0x40, 0, 0, None),
        // The feature register is 0 in all of these.
        Does::Identify | Does::Features => return aborted,
        Does::Read => IoOp::Read,
        Does::Write => IoOp::Write,
        Does::Verify => IoOp::Verify,
    };
    if count == 0 || count > MOST {
        return aborted;
    }
    let lba = match (is_wide, flags & 0x40 != 0) {
        (true, _) => lba,
        (false, false) => lba % (1 << 28),
        (false, true) if lba >= 1 << 28 => return not_found,
        (false, true) => lba,
    };
    if u128::from(lba) + u128::from(count) > u128::from(sectors) {
        return not_found;
    }
    (0x40, 0, 0, Some((op, lba, count.into())))
}

fn borders(sectors: u64) -> Vec<u64> {
    let around = |at: u64| {
        [
            at.wrapping_sub(2),
            at.wrapping_sub(1),
            at,
            at.wrapping_add(1),
        ]
    };
    let device = 0xe000_0000;
    let mut lbas: Vec<u64> = [0, 1 << 28, 1 << 32, 1 << 47, sectors, sectors | device]
        .into_iter()
        .flat_map(around)
        .map(|lba| lba % (1 << 48))
        .collect();
    lbas.sort_unstable();
    lbas.dedup();
    lbas
}

fn compare(bench: &mut Bench, opcode: u8, flags: u8, count: u8, lba: u64) {
    let frame = Frame::ata(opcode, flags, count, lba).and(&[0x77; 1024]);
    let sectors = bench.target.medium().sectors;
    let (status, error, left, io) = oracle(opcode, flags, count, lba, sectors);
    let answer = bench.send(&frame).answer();
    let got = (
        answer.bytes[27],
        answer.bytes[25],
        answer.bytes[26],
        answer.io.map(|io| (io.op, io.lba, io.sectors)),
    );
    assert_eq!(
        got,
        (status, error, left, io),
        "opcode {opcode:02x} flags {flags:02x} count {count} LBA {lba:x} of {sectors:x}"
    );
    bench.written.clear();
}

const FLAGS: [u8; 4] = [0, 0x01, 0x40, 0x41];

#[test]
fn every_opcode_at_every_border_does_what_the_table_says() {
    // R-040 R-041 R-042 R-043 R-044 R-050 R-054
    let mut bench = Bench::new();
    for opcode in 0..=255 {
        for flags in FLAGS {
            for count in [0, 1, 2, 3, 17, 255] {
                for &lba in &borders(SECTORS) {
                    compare(&mut bench, opcode, flags, count, lba);
                }
            }
        }
    }
}

#[test]
fn every_count_at_every_border_does_what_the_table_says() {
    // R-050 R-054
    for sectors in [0, 1, 2, 1 << 28, (1 << 48) - 1] {
        let medium = Medium {
            sectors,
            ..medium()
        };
        let mut bench = Bench::with(medium, Policy::default());
        for opcode in [0x20, 0x24, 0x34] {
            for flags in [0, 0x40] {
                for count in 0..=255 {
                    for &lba in &borders(sectors) {
                        compare(&mut bench, opcode, flags, count, lba);
                    }
                }
            }
        }
    }
}

#[test]
fn every_flags_byte_of_an_ata_command_does_what_the_table_says() {
    // R-005 R-040 R-057
    let mut bench = Bench::new();
    for (opcode, _, _) in OPCODES {
        for flags in 0..=255 {
            for lba in [0, SECTORS - 1, SECTORS, 1 << 28] {
                compare(&mut bench, opcode, flags, 1, lba);
            }
        }
    }
}

#[test]
fn every_length_of_every_kind_of_frame_is_survived() {
    // R-002 R-006: the twin of the bench would see any byte that did not arrive.
    let frames = [
        Frame::write(3, &[1; 512]),
        Frame::config(3, &[b'c'; 400]),
        Frame::config(0, &[0xed; 400]),
        Frame::mask(1, &[(1, HOST); 30]),
        Frame::reserve(1, &[HOST; 60]),
        Frame::command(0xf0).and(&[0xee; 400]),
    ];
    for frame in frames {
        for tagged in [false, true] {
            let mut bench = Bench::new();
            let tagged = if tagged {
                frame.clone().tagged([0x81, 0, 0x20, 9])
            } else {
                frame.clone()
            };
            for len in 0..=tagged.len() {
                if let Got::Answer(answer) = bench.send(&tagged.clone().cut(len)) {
                    assert!(len >= 24 && answer.bytes.len() >= 60);
                }
            }
        }
    }
}
