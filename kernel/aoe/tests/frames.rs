//! Who is heard, and what an answer looks like on the wire.

mod common;

use aoe::{Address, Drop, Mac, Port, Refusal};
use common::{Bench, Frame, Got, HOST, OWN};

fn drops(bench: &mut Bench, frame: &[u8], reason: Drop) {
    assert_eq!(bench.send(frame), Got::Dropped(reason), "{frame:02x?}");
}

#[test]
fn another_ethertype_is_not_aoe_and_a_header_cut_off_is_short() {
    // R-001 R-002
    let mut bench = Bench::new();
    let frame = Frame::command(1);
    drops(&mut bench, &frame.clone().byte(12, 8), Drop::NotAoe);
    drops(&mut bench, &frame.clone().byte(13, 0xa3), Drop::NotAoe);
    for len in 14..24 {
        drops(&mut bench, &frame.clone().cut(len), Drop::Short);
    }
    for len in 0..14 {
        assert!(matches!(
            bench.send(&frame.clone().cut(len)),
            Got::Dropped(_)
        ));
    }
}

#[test]
fn each_command_needs_its_fields_and_no_more() {
    //
    let mut bench = Bench::new();
    let frames = [
        (Frame::read(0, 1), 36),
        (Frame::config(0, b""), 32),
        (Frame::mask(0, &[]), 28),
        (Frame::reserve(0, &[]), 26),
        (Frame::command(4), 24),
    ];
    for (frame, need) in frames {
        assert_eq!(frame.len(), need);
        for len in 24..need {
            drops(&mut bench, &frame.clone().cut(len), Drop::Short);
        }
        assert!(matches!(bench.send(&frame), Got::Answer(_)), "{need}");
        let longer = bench.send(&frame.clone().and(&[0xed; 1000]));
        assert_eq!(
            longer,
            bench.send(&frame),
            "R-004: what is behind means nothing"
        );
    }
}

#[test]
fn only_frames_to_our_mac_or_to_broadcast_are_heard() {
    //
    let mut bench = Bench::new();
    let frame = Frame::config(0, b"");
    for to in [OWN, Mac::BROADCAST] {
        bench.send(&frame.clone().to(to)).answer();
    }
    for to in [
        Mac([2, 0, 0, 0, 0, 3]),
        Mac([3, 0, 0, 0, 0, 2]),
        Mac([1, 0, 0x5e, 0, 0, 1]),
        Mac([0; 6]),
    ] {
        drops(&mut bench, &frame.clone().to(to), Drop::NotForUs);
    }
}

#[test]
fn a_source_that_cannot_be_answered_is_not() {
    //
    let mut bench = Bench::new();
    for from in [Mac::BROADCAST, Mac([1, 0, 0, 0, 0, 0]), Mac([0; 6]), OWN] {
        drops(
            &mut bench,
            &Frame::config(0, b"").from(from),
            Drop::BadSource,
        );
    }
}

#[test]
fn an_answer_is_never_answered() {
    //
    let mut bench = Bench::new();
    for command in 0..=255 {
        for flags in 0..=255 {
            let frame = Frame::command(command).and(&[0; 40]).byte(14, flags | 8);
            drops(&mut bench, &frame, Drop::Response);
        }
    }
    let own = bench.announcement();
    let echoed = Frame(own).from(HOST);
    drops(&mut bench, &echoed, Drop::Response);
}

#[test]
fn error_and_reserved_flags_of_a_request_change_nothing() {
    // R-005 R-010
    let mut bench = Bench::new();
    let plain = bench.send(&Frame::read(9, 2));
    for flags in [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17] {
        assert_eq!(bench.send(&Frame::read(9, 2).byte(14, flags)), plain);
    }
    let reserved = Frame::read(9, 2)
        .byte(15, 0xff)
        .byte(34, 0xff)
        .byte(35, 0xff);
    assert_eq!(bench.send(&reserved), plain);
}

#[test]
fn the_tag_comes_back_whatever_it_is() {
    //
    let mut bench = Bench::new();
    for tag in [[0; 4], [0xff; 4], [0x80, 0, 0, 1], [0x18, 0xae, 0, 1]] {
        for mut frame in [Frame::read(1, 1), Frame::config(0, b""), Frame::command(77)] {
            frame.0[20..24].copy_from_slice(&tag);
            assert_eq!(bench.send(&frame).answer().bytes[20..24], tag);
        }
    }
}

#[test]
fn another_version_is_refused_alone_and_ignored_in_a_crowd() {
    //
    let mut bench = Bench::new();
    for version in (0..16).filter(|&version| version != 1) {
        for command in [0, 1, 2, 3, 4, 0xf0] {
            let frame = Frame::command(command).and(&[0; 40]).byte(14, version << 4);
            let answer = bench.send(&frame).answer();
            assert_eq!(answer.refusal, Some(Refusal::Version));
            assert_eq!(answer.bytes[14..16], [0x1c, 5]);
            assert!(answer.bytes[24..].iter().all(|&byte| byte == 0));
            drops(&mut bench, &frame.to(Mac::BROADCAST), Drop::WrongVersion);
        }
    }
}

#[test]
fn shelf_and_slot_are_wildcards_each_for_itself_in_every_command() {
    // R-020 R-021 R-022
    let mut bench = Bench::new();
    let frames = [
        Frame::read(0, 1),
        Frame::ata(0xec, 0, 1, 0),
        Frame::ata(0xea, 0, 0, 0),
        Frame::config(0, b""),
        Frame::mask(0, &[]),
        Frame::reserve(0, &[]),
        Frame::command(200),
    ];
    for frame in frames {
        let exact = bench.send(&frame);
        for (shelf, slot) in [(0xffff, 7), (5, 0xff), (0xffff, 0xff)] {
            let got = bench.send(&frame.clone().at(shelf, slot));
            assert_eq!(got, exact, "the answer has the real address");
        }
        for (shelf, slot) in [
            (5, 8),
            (6, 7),
            (0xffff, 8),
            (6, 0xff),
            (0xfffe, 7),
            (5, 0xfe),
        ] {
            drops(&mut bench, &frame.clone().at(shelf, slot), Drop::NotForUs);
        }
    }
}

#[test]
fn changes_by_wildcard_are_dropped_and_change_nothing() {
    //
    let mut medium = common::medium();
    medium.discard = true;
    medium.health = Some(aoe::Health { failing: false });
    let mut bench = Bench::with(medium, aoe::Policy::default());
    let smart_key = 0xc2_4f00;
    let frames = [
        Frame::write(0, &[1; 512]),
        Frame::ata(0x30, 1, 1, 0).and(&[1; 512]),
        Frame::ata(0x06, 0, 1, 0).feature(1).and(&[0; 512]),
        Frame::ata(0xef, 0, 0, 0).feature(0x82),
        Frame::ata(0xb0, 0, 0, smart_key).feature(0xd8),
        Frame::ata(0xb0, 0, 0, smart_key).feature(0xd9),
        Frame::mask(1, &[(1, HOST)]),
        Frame::reserve(1, &[HOST]),
        Frame::reserve(2, &[HOST]),
    ];
    for frame in frames {
        for (shelf, slot) in [(0xffff, 7), (5, 0xff), (0xffff, 0xff)] {
            drops(
                &mut bench,
                &frame.clone().at(shelf, slot),
                Drop::WildcardWrite,
            );
        }
    }
    assert!(bench.written.is_empty() && bench.discarded.is_empty());
    assert!(bench.target.masks().is_empty() && bench.target.reservation().is_empty());
    let status = Frame::ata(0xb0, 0, 0, smart_key)
        .feature(0xda)
        .at(0xffff, 0xff);
    bench.send(&status).answer();
}

#[test]
fn every_command_from_4_on_is_refused_with_error_1() {
    // R-031 R-032
    let mut bench = Bench::new();
    for command in 4..=255 {
        let answer = bench.send(&Frame::command(command)).answer();
        assert_eq!(answer.refusal, Some(Refusal::UnknownCommand));
        assert_eq!(answer.bytes[14..16], [0x1c, 1]);
        assert!(answer.bytes[24..].iter().all(|&byte| byte == 0), "R-033");
    }
}

#[test]
fn a_tag_is_kept_and_moves_everything_by_four() {
    //
    let frames = [
        Frame::read(0x1234, 2),
        Frame::read(65_536, 1),
        Frame::write(3, &[7; 1024]),
        Frame::write(3, &[7; 512]).cut(547),
        Frame::ata(0xec, 0, 1, 0),
        Frame::ata(0xe7, 0, 0, 0),
        Frame::ata(0xe5, 0, 0, 0),
        Frame::config(0, b""),
        Frame::config(4, b"a string that is longer than the padding is"),
        Frame::config(5, b""),
        Frame::mask(1, &[(1, HOST), (1, common::OTHER)]),
        Frame::mask(1, &[(2, HOST), (2, common::OTHER), (3, HOST)]),
        Frame::reserve(2, &[common::OTHER]),
        Frame::reserve(1, &[HOST]),
        Frame::read(1, 1),
        Frame::command(99),
        Frame::command(0).byte(14, 0x20),
    ];
    for tag in [
        [0x81, 0, 0, 5],
        [0x81, 0, 0xef, 0xff],
        [0x88, 0xa8, 0x20, 1],
    ] {
        let (mut plain, mut tagged) = (Bench::new(), Bench::new());
        for frame in frames.clone() {
            let here = plain.send(&frame).answer();
            let there = tagged.send(&frame.clone().tagged(tag)).answer();
            assert_eq!(there.bytes[12..16], tag);
            assert_eq!(there.bytes[16..], here.bytes[12..], "{frame:02x?}");
            assert_eq!(there.bytes[..12], here.bytes[..12]);
            assert_eq!(there.refusal, here.refusal);
            assert_eq!(there.io.map(|io| io.data), here.io.map(|io| io.data + 4));
        }
        assert_eq!(plain.written, tagged.written);
    }
}

#[test]
fn two_tags_or_a_tag_before_something_else_are_not_aoe() {
    //
    let mut bench = Bench::new();
    let frame = Frame::config(0, b"");
    let twice = frame
        .clone()
        .tagged([0x81, 0, 0, 5])
        .tagged([0x88, 0xa8, 0, 5]);
    drops(&mut bench, &twice, Drop::NotAoe);
    let other = frame.clone().byte(13, 0).tagged([0x81, 0, 0, 5]);
    drops(&mut bench, &other, Drop::NotAoe);
    for len in 18..28 {
        let short = frame.clone().tagged([0x81, 0, 0, 5]).cut(len);
        drops(&mut bench, &short, Drop::Short);
    }
}

#[test]
fn a_port_carries_what_its_mtu_leaves_and_a_slot_holds() {
    // R-100 R-111
    let sectors = |mtu, tagged| Port { mac: OWN, mtu }.sectors_max(tagged);
    let untagged = [
        (0, 0),
        (547, 0),
        (548, 1),
        (1059, 1),
        (1060, 2),
        (1500, 2),
        (4131, 7),
        (4132, 8),
        (8739, 16),
        (8740, 17),
        (9000, 17),
        (9216, 17),
        (65_535, 17),
    ];
    for (mtu, expected) in untagged {
        assert_eq!(sectors(mtu, false), expected, "MTU {mtu}");
    }
    for (mtu, expected) in [
        (551, 0),
        (552, 1),
        (1500, 2),
        (4135, 7),
        (4136, 8),
        (9000, 16),
    ] {
        assert_eq!(sectors(mtu, true), expected, "MTU {mtu}, tagged");
    }
}

#[test]
fn nothing_longer_than_the_mtu_leaves() {
    // a list made at a larger MTU, an answer that cannot be cut.
    let mut bench = Bench::new();
    bench.send(&Frame::config(4, &[b'x'; 1024])).answer();
    let read = Frame::config(0, b"");
    for (mtu, is_answered) in [(1042, true), (1041, false), (46, false)] {
        bench.port.mtu = mtu;
        if is_answered {
            assert_eq!(bench.send(&read).answer().bytes.len(), 32 + 1024);
        } else {
            drops(&mut bench, &read, Drop::PastMtu);
        }
    }
}

#[test]
fn a_tag_counts_against_the_mtu_of_an_answer() {
    // R-103 R-111
    let mut bench = Bench::new();
    bench.send(&Frame::config(4, &[b'x'; 1024])).answer();
    let read = Frame::config(0, b"").tagged([0x81, 0, 0, 5]);
    bench.port.mtu = 1046;
    assert_eq!(bench.send(&read).answer().bytes.len(), 36 + 1024);
    bench.port.mtu = 1045;
    drops(&mut bench, &read, Drop::PastMtu);
}

#[test]
fn only_the_two_ethertypes_of_a_vlan_tag_are_taken_for_one() {
    //
    let mut bench = Bench::new();
    let tagged = |high, low| Frame::config(0, b"").tagged([high, low, 0, 5]);
    for (high, low) in [(0x81, 0x00), (0x88, 0xa8)] {
        bench.send(&tagged(high, low)).answer();
        drops(&mut bench, &tagged(high, low ^ 1), Drop::NotAoe);
        drops(&mut bench, &tagged(high ^ 1, low), Drop::NotAoe);
    }
    drops(&mut bench, &tagged(0x08, 0x00), Drop::NotAoe);
}

#[test]
fn the_question_who_has_a_shelf_is_a_read_of_the_config_string_by_everybody() {
    let port = Port {
        mac: OWN,
        mtu: 1500,
    };
    let mut buffer = vec![0xa5; aoe::limits::WIRE_BYTES];
    let len = aoe::ask(&port, 0x1234, 0x5566_7788, &mut buffer);
    let mut expected = vec![0xff; 6];
    expected.extend(OWN.0);
    expected.extend([0x88, 0xa2, 0x10, 0, 0x12, 0x34, 0xff, 1]);
    expected.extend([0x55, 0x66, 0x77, 0x88]);
    expected.resize(60, 0);
    assert_eq!(buffer[..len], expected);
}

#[test]
fn the_tag_of_a_frame_is_found_with_and_without_a_vlan() {
    // R-012 R-110
    let frame = Frame::command(1);
    assert_eq!(aoe::tag_of(&frame), Some(0x1122_3344));
    let tagged = frame.clone().tagged([0x81, 0, 0, 5]);
    assert_eq!(aoe::tag_of(&tagged), Some(0x1122_3344));
    assert_eq!(aoe::tag_of(&tagged.clone().cut(27)), None);
    assert_eq!(aoe::tag_of(&frame.clone().cut(23)), None);
    assert_eq!(aoe::tag_of(&frame.byte(12, 8)), None);
}

#[test]
fn a_glance_tells_what_a_frame_is() {
    // R-001 R-002 R-110
    let frame = Frame::config(0, b"").at(0xffff, 3).to(Mac::BROADCAST);
    let peek = aoe::peek(&frame).expect("it is AoE");
    let expected = aoe::Peek {
        addressed: Address {
            shelf: 0xffff,
            slot: 3,
        },
        response: false,
        broadcast: true,
        tagged: false,
        source: HOST,
        command: 1,
    };
    assert_eq!(peek, expected);
    let tagged = aoe::peek(&frame.clone().tagged([0x88, 0xa8, 0, 1]));
    assert_eq!(
        tagged,
        Some(aoe::Peek {
            tagged: true,
            ..expected
        })
    );
    let answer = aoe::peek(&Frame::command(0).byte(14, 0x18)).expect("it is AoE");
    assert!(answer.response && !answer.broadcast);
    for len in 0..24 {
        assert_eq!(aoe::peek(&frame.clone().cut(len)), None);
    }
    for len in 0..28 {
        assert_eq!(
            aoe::peek(&frame.clone().tagged([0x81, 0, 0, 1]).cut(len)),
            None
        );
    }
    assert_eq!(aoe::peek(&frame.byte(12, 0)), None);
}

#[test]
fn addresses_read_as_people_write_them() {
    assert_eq!(Address { shelf: 5, slot: 7 }.to_string(), "e5.7");
    assert_eq!(Address::EVERYONE.to_string(), "e65535.255");
    assert_eq!(
        Mac([2, 0, 0xab, 0, 0x10, 9]).to_string(),
        "02:00:ab:00:10:09"
    );
    assert!(Address::EVERYONE.is_wildcard() && Mac::BROADCAST.is_multicast());
    assert!(!Address { shelf: 5, slot: 7 }.is_wildcard() && !OWN.is_multicast());
}

#[test]
fn every_reason_has_a_name_and_a_counter_of_its_own() {
    let names: std::collections::BTreeSet<_> = Drop::ALL
        .iter()
        .map(|reason| reason.name())
        .chain(Refusal::ALL.iter().map(|refusal| refusal.name()))
        .collect();
    assert_eq!(names.len(), Drop::COUNT + Refusal::COUNT);
    for (index, reason) in Drop::ALL.iter().enumerate() {
        assert_eq!(reason.index(), index);
    }
    for (index, refusal) in Refusal::ALL.iter().enumerate() {
        assert_eq!(refusal.index(), index);
    }
}
