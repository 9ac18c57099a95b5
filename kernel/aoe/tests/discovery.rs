//! Command 1: the config string, the window, and the frame size.

mod common;

use aoe::{Change, Drop, Mac, Policy, Refusal, Target};
use common::{ADDRESS, Bench, Frame, Got, OTHER, OWN, medium};

const READ: u8 = 0;
const TEST: u8 = 1;
const PREFIX: u8 = 2;
const SET: u8 = 3;
const FORCE: u8 = 4;

fn string_of(answer: &[u8]) -> &[u8] {
    let len = usize::from(u16::from_be_bytes([answer[30], answer[31]]));
    &answer[32..32 + len]
}

fn set_to(bench: &mut Bench, string: &[u8]) {
    let answer = bench.send(&Frame::config(FORCE, string)).answer();
    assert_eq!(string_of(&answer.bytes), string);
}

#[test]
fn a_read_looks_at_nothing_that_it_carries() {
    // aoeping's, with a length that the frame may not even hold.
    let mut bench = Bench::new();
    set_to(&mut bench, b"mine");
    let plain = bench.send(&Frame::config(READ, b""));
    assert_eq!(plain, bench.send(&Frame::config(READ, &[0xed; 1024])));
    let lying = Frame::config(READ, b"").byte(30, 0xff).byte(31, 0xff);
    assert_eq!(plain, bench.send(&lying));
}

#[test]
fn the_version_nibble_of_a_request_is_not_looked_at_and_that_of_an_answer_is_1() {
    //
    let mut bench = Bench::new();
    set_to(&mut bench, b"s");
    for command in [READ, TEST, PREFIX, SET, FORCE] {
        for version in 0..16 {
            let frame = Frame::config(version << 4 | command, b"s");
            assert_eq!(bench.send(&frame).answer().bytes[29], 0x10 | command);
        }
    }
}

#[test]
fn an_exact_test_is_answered_on_equality_only() {
    //
    let mut bench = Bench::new();
    for (own, asked, is_equal) in [
        (&b""[..], &b""[..], true),
        (b"", b"a", false),
        (b"boot", b"boot", true),
        (b"boot", b"boo", false),
        (b"boot", b"boots", false),
        (b"boot", b"", false),
        (b"boot", b"bOot", false),
    ] {
        set_to(&mut bench, own);
        let got = bench.send(&Frame::config(TEST, asked));
        assert_eq!(matches!(got, Got::Answer(_)), is_equal, "{own:?} {asked:?}");
        if !is_equal {
            assert_eq!(got, Got::Dropped(Drop::TestMismatch));
        }
    }
}

#[test]
fn a_prefix_test_is_answered_with_the_whole_string() {
    //
    let mut bench = Bench::new();
    set_to(&mut bench, b"boot=1");
    for prefix in [&b""[..], b"b", b"boot", b"boot=1"] {
        let answer = bench.send(&Frame::config(PREFIX, prefix)).answer();
        assert_eq!(string_of(&answer.bytes), b"boot=1");
    }
    for other in [&b"oot"[..], b"boot=12", b"boot=2"] {
        let got = bench.send(&Frame::config(PREFIX, other));
        assert_eq!(got, Got::Dropped(Drop::TestMismatch));
    }
}

#[test]
fn set_if_empty_succeeds_again_and_refuses_another() {
    // R-074 R-078
    let mut bench = Bench::new();
    let set = |bench: &mut Bench, string: &[u8]| bench.send(&Frame::config(SET, string)).answer();
    assert_eq!(set(&mut bench, b"one").refusal, None);
    assert_eq!(bench.changes(), [Change::Config]);
    assert_eq!(set(&mut bench, b"one").refusal, None, "the answer was lost");
    assert_eq!(bench.changes(), []);
    let refused = set(&mut bench, b"two");
    assert_eq!(refused.refusal, Some(Refusal::ConfigPresent));
    assert_eq!(refused.bytes[14..16], [0x1c, 4]);
    assert_eq!(string_of(&refused.bytes), b"one");
    assert_eq!(set(&mut bench, b"").refusal, Some(Refusal::ConfigPresent));
    assert_eq!(bench.target.config_string(), b"one");
    assert_eq!(bench.changes(), []);
}

#[test]
fn a_forced_set_replaces_and_a_set_of_nothing_clears() {
    // R-077 R-078
    let mut bench = Bench::new();
    set_to(&mut bench, b"a long one");
    set_to(&mut bench, b"short");
    assert_eq!(bench.changes(), [Change::Config], "once for both");
    set_to(&mut bench, b"");
    assert_eq!(bench.target.config_string(), b"");
    assert_eq!(bench.changes(), [Change::Config]);
    set_to(&mut bench, b"");
    assert_eq!(bench.changes(), []);
    assert_eq!(bench.send(&Frame::config(SET, b"")).answer().refusal, None);
}

#[test]
fn a_string_of_1024_bytes_is_set_and_one_more_is_refused() {
    //
    let mut bench = Bench::new();
    set_to(&mut bench, &[b'x'; 1024]);
    for command in [SET, FORCE] {
        let answer = bench.send(&Frame::config(command, &[b'y'; 1025])).answer();
        assert_eq!(answer.refusal, Some(Refusal::ConfigLength));
        assert_eq!(answer.bytes[14..16], [0x1c, 2]);
    }
    for command in [TEST, PREFIX] {
        let got = bench.send(&Frame::config(command, &[b'x'; 1025]));
        assert_eq!(got, Got::Dropped(Drop::TestMismatch));
    }
    assert_eq!(bench.target.config_string(), [b'x'; 1024]);
}

#[test]
fn a_string_longer_than_its_frame_is_not_read() {
    //
    let mut bench = Bench::new();
    for len in 0..16 {
        let cut = |command| Frame::config(command, &[b'z'; 16]).cut(32 + len);
        for command in [SET, FORCE] {
            let refusal = bench.send(&cut(command)).answer().refusal;
            assert_eq!(refusal, Some(Refusal::ConfigLength));
        }
        for command in [TEST, PREFIX] {
            assert_eq!(bench.send(&cut(command)), Got::Dropped(Drop::TestMismatch));
        }
    }
    assert_eq!(bench.target.config_string(), b"");
}

#[test]
fn undefined_sub_commands_are_refused_with_the_string_in_force() {
    // R-033 R-076
    let mut bench = Bench::new();
    set_to(&mut bench, b"here");
    for command in 5..16 {
        let answer = bench.send(&Frame::config(command, b"")).answer();
        assert_eq!(answer.refusal, Some(Refusal::UnknownConfigCommand));
        assert_eq!(answer.bytes[14..16], [0x1c, 2]);
        assert_eq!(string_of(&answer.bytes), b"here");
    }
}

#[test]
fn a_set_by_wildcard_is_served() {
    //
    let mut bench = Bench::new();
    let frame = Frame::config(FORCE, b"all")
        .at(0xffff, 0xff)
        .to(Mac::BROADCAST);
    bench.send(&frame).answer();
    assert_eq!(bench.target.config_string(), b"all");
}

#[test]
fn config_is_answered_while_reserved() {
    //
    let mut bench = Bench::new();
    bench.send(&Frame::reserve(1, &[OTHER])).answer();
    assert_eq!(bench.send(&Frame::config(READ, b"")).answer().refusal, None);
    assert_eq!(
        bench.send(&Frame::config(FORCE, b"s")).answer().refusal,
        None
    );
}

#[test]
fn never_fewer_than_2_buffers_are_offered() {
    //
    for (given, said) in [(0, 2), (1, 2), (2, 2), (3, 3), (u16::MAX, u16::MAX)] {
        let mut bench = Bench::new();
        bench.target = Target::new(ADDRESS, medium(), given, Policy::default());
        let answer = bench.send(&Frame::config(READ, b"")).answer();
        assert_eq!(answer.bytes[24..26], u16::to_be_bytes(said));
    }
}

#[test]
fn a_short_answer_never_says_more_than_2_sectors() {
    //
    for (mtu, said) in [
        (400, 1),
        (548, 1),
        (1060, 2),
        (1500, 2),
        (4132, 2),
        (9000, 2),
    ] {
        let mut bench = Bench::new().mtu(mtu);
        assert_eq!(bench.announcement()[28], said);
        for command in [READ, TEST, PREFIX, SET, FORCE, 9] {
            let answer = bench.send(&Frame::config(command, b"")).answer();
            assert_eq!(answer.bytes[28], said, "MTU {mtu}");
        }
    }
}

#[test]
fn a_read_is_answered_a_second_time_where_there_is_more_to_say() {
    //
    for (mtu, sectors) in [
        (1500, 2),
        (1571, 2),
        (1572, 3),
        (4132, 8),
        (9000, 17),
        (65_535, 17),
    ] {
        let mut bench = Bench::new().mtu(mtu);
        set_to(&mut bench, b"a string");
        let first = bench.send(&Frame::config(READ, b"")).answer();
        let second = bench.probe_of(&first.bytes);
        assert_eq!(first.probe, sectors > 2, "MTU {mtu}");
        assert_eq!(second.is_some(), sectors > 2);
        if let Some(second) = second {
            assert_eq!(second.len(), 36 + 512 * usize::from(sectors));
            assert_eq!(second[28], sectors);
            assert_eq!(second[..28], first.bytes[..28]);
            assert_eq!(second[29..40], first.bytes[29..40]);
            assert!(second[40..].iter().all(|&byte| byte == 0));
        }
        for command in [TEST, PREFIX, SET, FORCE] {
            let got = bench.send(&Frame::config(command, b"a string"));
            assert!(!got.answer().probe, "nobody learns a size from these");
        }
    }
}

#[test]
fn the_second_answer_behind_a_tag_counts_the_tag() {
    // R-102 R-111
    let mut bench = Bench::new().mtu(9000);
    let read = Frame::config(READ, b"").tagged([0x81, 0, 0, 5]);
    let first = bench.send(&read).answer();
    let second = bench.probe_of(&first.bytes).expect("16 is more than 2");
    assert_eq!(second.len(), 40 + 512 * 16);
    assert_eq!(second[32], 16);
    assert_eq!(second[12..16], [0x81, 0, 0, 5]);
}

#[test]
fn no_second_answer_is_made_of_what_is_no_answer() {
    let bench = Bench::new().mtu(9000);
    assert_eq!(bench.probe_of(&[]), None);
    assert_eq!(bench.probe_of(&Frame::config(READ, b"").cut(31)), None);
}

#[test]
fn an_announcement_is_an_answer_to_everyone_that_nobody_asked_for() {
    // R-120 R-101
    let mut bench = Bench::new().mtu(9000);
    set_to(&mut bench, b"note");
    let answer = bench.send(&Frame::config(READ, b"")).answer().bytes;
    let announced = bench.announcement();
    assert_eq!(announced[..6], Mac::BROADCAST.0);
    assert_eq!(announced[6..12], OWN.0);
    assert_eq!(announced[20..24], [0; 4]);
    assert_eq!(announced[12..20], answer[12..20]);
    assert_eq!(announced[24..], answer[24..]);
    let probe = bench.probe_of(&announced).expect("17 is more than 2");
    assert_eq!((probe.len(), probe[28]), (8740, 17));
    assert_eq!(probe[..6], Mac::BROADCAST.0);
}
