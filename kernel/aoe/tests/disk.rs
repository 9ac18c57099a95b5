//! Command 0: what the disk does and says.

mod common;

use aoe::{Cache, Drop, Health, IoOp, Medium, Outcome, Policy, Refusal};
use common::{Answer, Bench, Frame, Got, SECTORS, medium, pattern};

const ABORTED: [u8; 2] = [0x04, 0x41];
const NOT_FOUND: [u8; 2] = [0x10, 0x41];
const FINE: [u8; 2] = [0, 0x40];

/// Error and status register.
fn registers(answer: &Answer) -> [u8; 2] {
    assert_eq!(answer.bytes[14..16], [0x18, 0], "R-030: no AoE error");
    [answer.bytes[25], answer.bytes[27]]
}

fn sent(bench: &mut Bench, frame: &[u8]) -> [u8; 2] {
    registers(&bench.send(frame).answer())
}

#[test]
fn read_that_ends_on_the_last_sector_is_served() {
    // R-054 R-053
    let mut bench = Bench::new();
    for opcode in [0x20, 0x24] {
        let answer = bench.send(&Frame::ata(opcode, 0, 2, SECTORS - 2)).answer();
        assert_eq!(registers(&answer), FINE);
        assert_eq!(answer.bytes[36..548], pattern(SECTORS - 2));
        assert_eq!(answer.bytes[548..], pattern(SECTORS - 1));
    }
}

#[test]
fn read_one_past_the_last_sector_is_refused_with_idnf_and_carries_no_data() {
    // R-054 R-053 R-030
    let mut bench = Bench::new();
    for opcode in [0x20, 0x24, 0x40, 0x42] {
        for (lba, count) in [(SECTORS - 1, 2), (SECTORS, 1), (SECTORS + 9, 1)] {
            let answer = bench.send(&Frame::ata(opcode, 0, count, lba)).answer();
            assert_eq!(registers(&answer), NOT_FOUND);
            assert_eq!((answer.io, answer.bytes.len()), (None, 60));
            assert_eq!(answer.refusal, Some(Refusal::PastEnd));
        }
    }
}

#[test]
fn the_highest_addresses_do_not_wrap() {
    //
    let mut bench = Bench::new();
    for lba in [(1 << 48) - 1, 1 << 47, (1 << 48) - 2] {
        assert_eq!(sent(&mut bench, &Frame::read(lba, 2)), NOT_FOUND);
    }
    let huge = Medium {
        sectors: u64::MAX,
        ..medium()
    };
    let mut bench = Bench::with(huge, Policy::default());
    assert_eq!(sent(&mut bench, &Frame::read((1 << 48) - 1, 2)), FINE);
}

#[test]
fn the_opcode_decides_direction_whatever_the_flags_say() {
    // R-040 R-057
    for flags in 0..=255 {
        let mut bench = Bench::new();
        let read = bench.send(&Frame::ata(0x24, flags, 1, 7)).answer();
        assert_eq!(read.bytes[36..], pattern(7));
        let write = bench
            .send(&Frame::ata(0x34, flags, 1, 7).and(&[9; 512]))
            .answer();
        assert_eq!(write.io.map(|io| io.op), Some(IoOp::Write));
        assert_eq!(write.bytes.len(), 60);
        assert_eq!(bench.sector(7), [9; 512]);
        let narrow = bench
            .send(&Frame::ata(0x20, flags & !0x40, 1, 7 | 0xe000_0000))
            .answer();
        assert_eq!(narrow.bytes[36..], [9; 512], "R-042");
    }
}

#[test]
fn a_28_bit_opcode_with_a_wider_address_is_refused_not_wrapped() {
    // R-042 R-043
    let mut bench = Bench::new();
    for opcode in [0x20, 0x30, 0x40] {
        for bit in 28..48 {
            let frame = |flags| Frame::ata(opcode, flags, 1, 1 << bit | 5).and(&[1; 512]);
            let wide = bench.send(&frame(0x40)).answer();
            assert_eq!(registers(&wide), NOT_FOUND);
            assert_eq!(wide.refusal, Some(Refusal::WideAddress));
            let io = bench.send(&frame(0)).answer().io;
            assert_eq!(
                io.map(|io| io.lba),
                Some(5),
                "without E they are not loaded"
            );
        }
        let highest = Frame::ata(opcode, 0x40, 1, 0x0fff_ffff).and(&[1; 512]);
        assert_eq!(
            bench.send(&highest).answer().refusal,
            Some(Refusal::PastEnd)
        );
    }
}

#[test]
fn a_48_bit_opcode_uses_all_six_bytes_without_the_flag_too() {
    //
    let large = Medium {
        sectors: 1 << 48,
        ..medium()
    };
    let mut bench = Bench::with(large, Policy::default());
    for flags in [0, 0x40] {
        let io = bench
            .send(&Frame::ata(0x24, flags, 1, 0xabcd_e123_4567))
            .answer()
            .io;
        assert_eq!(io.map(|io| io.lba), Some(0xabcd_e123_4567));
    }
}

#[test]
fn a_count_of_0_or_above_what_the_port_carries_is_aborted() {
    //
    for (mtu, most) in [(1500, 2), (4132, 8), (9000, 17), (500, 0)] {
        let mut bench = Bench::new().mtu(mtu);
        for opcode in [0x20, 0x24, 0x30, 0x34, 0x40, 0x42] {
            for count in 0..=255_u8 {
                let data = vec![3; usize::from(count.min(17)) * 512];
                let got = bench
                    .send(&Frame::ata(opcode, 0, count, 0).and(&data))
                    .answer();
                let is_good = count > 0 && count <= most;
                assert_eq!(registers(&got), if is_good { FINE } else { ABORTED });
                assert_eq!(got.io.is_some(), is_good);
            }
        }
    }
}

#[test]
fn write_with_less_data_than_sectors_never_reaches_the_disk() {
    // R-051 R-004: every length, with and without a tag.
    for (tag, most) in [(None, 17), (Some([0x81, 0, 0, 1]), 16)] {
        let mut bench = Bench::new().mtu(9000);
        for count in [1, 2, 3, 16, 17].into_iter().filter(|&count| count <= most) {
            let data: Vec<u8> = (0..512 * 17_usize)
                .map(|byte| (byte * 31 + byte / 256) as u8)
                .collect();
            let whole = Frame::ata(0x34, 0x41, count, 100).and(&data);
            let whole = tag.map_or(whole.clone(), |tag| whole.tagged(tag));
            let need = whole.len() - 512 * (17 - usize::from(count));
            let lengths = (need - 520..need + 3).chain([whole.len().min(8740)]);
            for len in lengths.filter(|&len| len <= 8740) {
                bench.written.clear();
                let got = bench.send(&whole.clone().cut(len));
                if len < need {
                    let is_header = len >= 36 + tag.map_or(0, |_| 4);
                    match got {
                        Got::Answer(answer) => {
                            assert_eq!(answer.refusal, Some(Refusal::ShortData));
                            assert_eq!(answer.bytes[27 + tag.map_or(0, |_| 4)], 0x41);
                        }
                        Got::Dropped(_) => assert!(!is_header),
                    }
                    assert!(bench.written.is_empty(), "{len} of {need}");
                } else {
                    got.answer();
                    let written: Vec<u8> = bench.written.values().flatten().copied().collect();
                    assert_eq!(written, data[..usize::from(count) * 512]);
                }
            }
        }
    }
}

#[test]
fn a_read_only_medium_takes_no_write_and_no_discard() {
    //
    let medium = Medium {
        read_only: true,
        discard: true,
        ..medium()
    };
    let mut bench = Bench::with(medium, Policy::default());
    let data = [0; 512];
    for frame in [
        Frame::write(0, &data),
        Frame::ata(0x30, 1, 1, 0).and(&data),
        Frame::ata(0x06, 0, 1, 0).feature(1).and(&data),
    ] {
        let answer = bench.send(&frame).answer();
        assert_eq!(registers(&answer), ABORTED);
        assert_eq!(answer.refusal, Some(Refusal::ReadOnly));
    }
    assert_eq!(sent(&mut bench, &Frame::read(0, 1)), FINE);
    assert_eq!(sent(&mut bench, &Frame::ata(0xea, 0, 0, 0)), FINE);
}

#[test]
fn each_ending_has_its_registers() {
    // R-046 R-053 R-044
    let frames = [
        Frame::read(1, 2),
        Frame::write(1, &[5; 1024]),
        Frame::ata(0x42, 0x40, 2, 1),
        Frame::ata(0xea, 0x40, 0, 0),
    ];
    let endings = [
        (Outcome::Done, FINE),
        (Outcome::Medium, [0x40, 0x41]),
        (Outcome::Fault, [0x04, 0x61]),
        (Outcome::Unsupported, ABORTED),
    ];
    for frame in frames {
        for (outcome, expected) in endings {
            let mut bench = Bench::new();
            bench.outcome = outcome;
            let answer = bench.send(&frame).answer();
            assert_eq!(registers(&answer), expected);
            assert!(answer.io.is_some() && answer.refusal.is_none());
        }
    }
}

#[test]
fn a_verify_reads_and_carries_nothing() {
    //
    let mut bench = Bench::new();
    for opcode in [0x40, 0x42] {
        let answer = bench.send(&Frame::ata(opcode, 0, 2, 5)).answer();
        assert_eq!(registers(&answer), FINE);
        let io = answer.io.expect("the disk reads");
        assert_eq!((io.op, io.lba, io.sectors), (IoOp::Verify, 5, 2));
        assert_eq!(answer.bytes.len(), 60);
    }
}

#[test]
fn both_flushes_go_to_the_disk_with_whatever_registers() {
    //
    let mut bench = Bench::new();
    for (times, opcode) in [0xe7, 0xea].into_iter().enumerate() {
        let answer = bench.send(&Frame::ata(opcode, 0x41, 77, 1 << 40)).answer();
        assert_eq!(registers(&answer), FINE);
        let io = answer.io.expect("the disk flushes");
        assert_eq!((io.op, io.lba, io.sectors), (IoOp::Flush, 0, 0));
        assert_eq!(bench.flushes, 2 * (times + 1), "and the twin");
    }
}

#[test]
fn the_disk_is_always_awake() {
    //
    let mut bench = Bench::new();
    for opcode in [0xe0, 0xe1, 0xe2, 0xe3] {
        assert_eq!(sent(&mut bench, &Frame::ata(opcode, 0, 200, 0)), FINE);
        let power = bench.send(&Frame::ata(0xe5, 0, 0, 0)).answer();
        assert_eq!((registers(&power), power.bytes[26]), (FINE, 0xff));
    }
    assert_eq!(sent(&mut bench, &Frame::ata(0xe6, 0, 0, 0)), ABORTED);
}

#[test]
fn opcodes_that_are_not_served_are_aborted_in_registers() {
    // R-041 R-030
    let served = [
        0x20, 0x24, 0x30, 0x34, 0x40, 0x42, 0xe7, 0xea, 0xec, 0xe5, 0xe0, 0xe1, 0xe2, 0xe3, 0xef,
    ];
    let mut bench = Bench::new();
    for opcode in (0..=255).filter(|opcode| !served.contains(opcode)) {
        let answer = bench
            .send(&Frame::ata(opcode, 0x41, 1, 0).and(&[0; 512]))
            .answer();
        assert_eq!(registers(&answer), ABORTED, "opcode {opcode:02x}");
        assert_eq!(answer.refusal, Some(Refusal::UnknownOpcode));
    }
}

#[test]
fn identify_wants_a_count_of_1() {
    //
    for (mtu, most) in [(1500, 1), (548, 1), (547, 0)] {
        let mut bench = Bench::new().mtu(mtu);
        for count in 0..=255 {
            let expected = if count == 1 && most == 1 {
                FINE
            } else {
                ABORTED
            };
            let answer = bench.send(&Frame::ata(0xec, 0, count, 0)).answer();
            assert_eq!(registers(&answer), expected, "MTU {mtu}, count {count}");
        }
    }
}

/// A word of the IDENTIFY block.
fn word(bench: &mut Bench, word: usize) -> u16 {
    let answer = bench.send(&Frame::ata(0xec, 0, 1, 0)).answer();
    let at = 36 + 2 * word;
    u16::from_le_bytes([answer.bytes[at], answer.bytes[at + 1]])
}

fn features(bench: &mut Bench, feature: u8) -> Answer {
    bench
        .send(&Frame::ata(0xef, 0, 0, 0).feature(feature))
        .answer()
}

#[test]
fn the_write_cache_can_be_switched_off_and_on_again_where_it_was_chosen() {
    // R-056 R-061
    let chosen = Medium {
        cache: Cache::WriteBack,
        ..medium()
    };
    let mut bench = Bench::with(chosen, Policy::default());
    assert_eq!(
        (bench.target.cache(), word(&mut bench, 85) & 0x20),
        (Cache::WriteBack, 0x20)
    );
    let off = features(&mut bench, 0x82);
    assert_eq!(registers(&off), FINE);
    assert_eq!(
        off.io.map(|io| io.op),
        Some(IoOp::Flush),
        "durable when answered"
    );
    assert_eq!(
        (bench.target.cache(), word(&mut bench, 85) & 0x20),
        (Cache::WriteThrough, 0)
    );
    assert_eq!(word(&mut bench, 82) & 0x20, 0x20, "still on offer");
    assert_eq!(registers(&features(&mut bench, 0x02)), FINE);
    assert_eq!(bench.target.cache(), Cache::WriteBack);
}

#[test]
fn the_write_cache_cannot_be_switched_on_where_it_was_not_chosen() {
    //
    let mut bench = Bench::new();
    let on = features(&mut bench, 0x02);
    assert_eq!(
        (registers(&on), on.refusal),
        (ABORTED, Some(Refusal::UnknownFeature))
    );
    assert_eq!(bench.target.cache(), Cache::WriteThrough);
    assert_eq!(registers(&features(&mut bench, 0x82)), FINE);
}

#[test]
fn features_without_effect_succeed_and_all_others_are_aborted() {
    //
    let mut bench = Bench::new();
    for feature in 0..=255 {
        let expected = match feature {
            0x03 | 0x55 | 0x82 | 0xaa => FINE,
            _ => ABORTED,
        };
        assert_eq!(
            registers(&features(&mut bench, feature)),
            expected,
            "{feature:02x}"
        );
    }
}

const KEY: u64 = 0xc2_4f00;

fn smart(bench: &mut Bench, feature: u8) -> Answer {
    bench
        .send(&Frame::ata(0xb0, 0, 1, KEY).feature(feature))
        .answer()
}

fn with_health(failing: bool) -> Bench {
    let medium = Medium {
        health: Some(Health { failing }),
        ..medium()
    };
    Bench::with(medium, Policy::default())
}

#[test]
fn smart_tells_whether_the_disk_expects_to_fail() {
    //
    for (failing, expected) in [(false, [0x4f, 0xc2]), (true, [0xf4, 0x2c])] {
        let answer = smart(&mut with_health(failing), 0xda);
        assert_eq!(registers(&answer), FINE);
        assert_eq!(answer.bytes[28..34], [0, expected[0], expected[1], 0, 0, 0]);
    }
}

#[test]
fn smart_data_is_a_block_with_a_checksum() {
    //
    let mut bench = with_health(false);
    let answer = smart(&mut bench, 0xd0);
    assert_eq!(registers(&answer), FINE);
    let sum = answer.bytes[36..]
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    assert_eq!((answer.bytes.len(), sum), (548, 0));
    bench.port.mtu = 547;
    assert_eq!(registers(&smart(&mut bench, 0xd0)), ABORTED);
}

#[test]
fn smart_switched_off_says_nothing_until_it_is_switched_on() {
    // R-048 R-061
    let mut bench = with_health(false);
    assert_eq!(word(&mut bench, 85) & 1, 1);
    assert_eq!(registers(&smart(&mut bench, 0xd9)), FINE);
    assert_eq!(word(&mut bench, 85) & 1, 0);
    assert_eq!(registers(&smart(&mut bench, 0xd0)), ABORTED);
    assert_eq!(registers(&smart(&mut bench, 0xda)), ABORTED);
    assert_eq!(registers(&smart(&mut bench, 0xd8)), FINE);
    assert_eq!(registers(&smart(&mut bench, 0xda)), FINE);
}

#[test]
fn smart_without_its_key_its_feature_or_a_disk_that_has_it_is_aborted() {
    //
    let mut bench = with_health(false);
    for key in [0, 0x4fc200, KEY ^ 0x100, KEY ^ 0x10000] {
        let frame = Frame::ata(0xb0, 0, 1, key).feature(0xda);
        assert_eq!(sent(&mut bench, &frame), ABORTED);
    }
    let around = Frame::ata(0xb0, 0, 1, KEY | 0xff00_0000_00ff).feature(0xda);
    assert_eq!(
        sent(&mut bench, &around),
        FINE,
        "the other bytes do not count"
    );
    for feature in 0..=255 {
        let is_known = matches!(feature, 0xd0 | 0xd8 | 0xd9 | 0xda);
        if !is_known {
            assert_eq!(registers(&smart(&mut bench, feature)), ABORTED);
        }
        assert_eq!(registers(&smart(&mut Bench::new(), feature)), ABORTED);
    }
}

fn discarding() -> Bench {
    let medium = Medium {
        discard: true,
        ..medium()
    };
    Bench::with(medium, Policy::default())
}

/// A discard of these ranges, in one sector of data.
fn discard(ranges: &[(u64, u16)]) -> Frame {
    let mut data = [0; 512];
    for (entry, &(lba, sectors)) in data.chunks_mut(8).zip(ranges) {
        entry.copy_from_slice(&(lba | u64::from(sectors) << 48).to_le_bytes());
    }
    Frame::ata(0x06, 0, 1, 0).feature(1).and(&data)
}

#[test]
fn a_discard_names_its_ranges_and_nothing_behind_them_counts() {
    // R-047 R-004
    let mut bench = discarding();
    let ranges = [(0, 8), (5, 0), (SECTORS - 3, 3), (1, 0xffff)];
    let frame = discard(&ranges).and(&[0x11; 64]);
    let answer = bench.send(&frame).answer();
    assert_eq!(registers(&answer), FINE);
    let io = answer.io.expect("the disk discards");
    assert_eq!((io.op, io.lba, io.sectors), (IoOp::Discard, 0, 1));
    assert_eq!(bench.discarded, [(0, 8), (SECTORS - 3, 3), (1, 0xffff)]);
}

#[test]
fn a_discard_with_one_range_past_the_end_discards_nothing() {
    // R-047 R-054
    let mut bench = discarding();
    for bad in [(SECTORS - 1, 2), (SECTORS, 1), ((1 << 48) - 1, 0xffff)] {
        let answer = bench.send(&discard(&[(0, 8), bad])).answer();
        assert_eq!(registers(&answer), NOT_FOUND);
        assert_eq!(answer.io, None);
    }
    assert!(bench.discarded.is_empty());
}

#[test]
fn a_discard_has_as_many_sectors_of_ranges_as_the_port_carries_and_no_more() {
    // R-047 R-050
    let mut bench = discarding();
    let of = |count: u8| {
        let data = vec![0; usize::from(count) * 512];
        Frame::ata(0x06, 0, count, 0).feature(1).and(&data)
    };
    let refused = |bench: &mut Bench, count| bench.send(&of(count)).answer().refusal;
    assert_eq!(refused(&mut bench, 0), Some(Refusal::BadCount));
    assert_eq!(refused(&mut bench, 1), None);
    assert_eq!(refused(&mut bench, 2), None);
    assert_eq!(refused(&mut bench, 3), Some(Refusal::BadCount));
    assert_eq!(refused(&mut bench, 4), Some(Refusal::BadCount));
}

#[test]
fn a_discard_needs_its_feature_its_count_and_its_data() {
    // R-047 R-050 R-051
    let mut bench = discarding();
    let good = discard(&[(0, 8)]);
    for feature in (0..=255).filter(|&feature| feature != 1) {
        assert_eq!(sent(&mut bench, &good.clone().feature(feature)), ABORTED);
    }
    for count in [0, 2, 3, 255] {
        assert_eq!(sent(&mut bench, &good.clone().byte(26, count)), ABORTED);
    }
    assert_eq!(sent(&mut bench, &good.clone().cut(547)), ABORTED);
    assert_eq!(sent(&mut bench, &good), FINE);
    let refusal = Bench::new().send(&good).answer().refusal;
    assert_eq!(
        refusal,
        Some(Refusal::UnknownOpcode),
        "not offered, not served"
    );
}

#[test]
fn silence_takes_the_place_of_every_ata_error_where_the_operator_says_so() {
    //
    let mut bench = Bench::new().silent();
    for frame in [
        Frame::read(SECTORS, 1),
        Frame::read(0, 3),
        Frame::ata(0xc8, 0, 1, 0),
        Frame::ata(0xec, 0, 2, 0),
        Frame::write(0, &[0; 512]).cut(547),
        Frame::ata(0xef, 0, 0, 0).feature(0x02),
        Frame::ata(0xb0, 0, 0, 0),
    ] {
        assert_eq!(bench.send(&frame), Got::Dropped(Drop::Silenced));
    }
    assert_eq!(sent(&mut bench, &Frame::read(0, 2)), FINE);
    assert_eq!(
        bench.send(&Frame::command(9)).answer().refusal,
        Some(Refusal::UnknownCommand)
    );
    for outcome in [Outcome::Medium, Outcome::Fault, Outcome::Unsupported] {
        bench.outcome = outcome;
        assert_eq!(bench.send(&Frame::read(0, 2)), Got::Dropped(Drop::Silenced));
    }
}

#[test]
fn a_disk_that_grows_is_served_to_its_new_end() {
    let mut bench = Bench::new();
    assert_eq!(sent(&mut bench, &Frame::read(SECTORS, 1)), NOT_FOUND);
    bench.target.set_medium(Medium {
        sectors: 2 * SECTORS,
        ..medium()
    });
    assert_eq!(sent(&mut bench, &Frame::read(SECTORS, 1)), FINE);
    assert_eq!(word(&mut bench, 101), 2);
    assert_eq!(bench.target.medium().sectors, 2 * SECTORS);
    assert_eq!(bench.target.address(), common::ADDRESS);
}

#[test]
#[should_panic(expected = "admitted, so it parses")]
fn completing_what_was_not_admitted_is_a_broken_invariant() {
    let bench = Bench::new();
    let mut slot = vec![0; aoe::limits::WIRE_BYTES];
    bench
        .target
        .complete(&bench.port, &mut slot, 60, Outcome::Done);
}
