//! Random frames in random states. A failing case is shrunk and printed with the
//! seed that makes it again; it is kept in `proptest-regressions` by the commit
//! that cures it.

mod common;

use aoe::{Cache, Errors, Health, Mac, Medium, Outcome, Policy};
use common::{Bench, Frame, Got, HOST, OTHER, OWN};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn macs() -> impl Strategy<Value = Mac> {
    select(vec![
        HOST,
        OTHER,
        OWN,
        Mac::BROADCAST,
        Mac([2, 9, 9, 9, 9, 9]),
    ])
}

/// Frames that are nearly right: each field is plausible more often than not.
fn plausible() -> impl Strategy<Value = Frame> {
    let addressed = prop_oneof![
        8 => Just((5, 7)),
        1 => Just((0xffff, 0xff)),
        1 => (any::<u16>(), any::<u8>()),
    ];
    let flags = prop_oneof![12 => Just(0x10_u8), 1 => any::<u8>()];
    let command = prop_oneof![6 => Just(0_u8), 6 => 1..4_u8, 1 => any::<u8>()];
    let opcode = prop_oneof![
        6 => select(vec![
            0x20, 0x24, 0x30, 0x34, 0x40, 0x42, 0xe7, 0xea, 0xec, 0xe5, 0xb0, 0x06, 0xef,
        ]),
        1 => any::<u8>(),
    ];
    let lba = prop_oneof![0..40_u64, Just(0xc2_4f00), any::<u64>()];
    let argument = prop_oneof![
        (
            any::<u8>(),
            any::<u8>(),
            0..20_u8,
            opcode,
            lba,
            vec(any::<u8>(), 0..2100)
        )
            .prop_map(|(flags, feature, count, opcode, lba, data)| {
                Frame::ata(opcode, flags, count, lba)
                    .feature(feature)
                    .and(&data)
                    .0[24..]
                    .to_vec()
            }),
        (any::<u8>(), vec(any::<u8>(), 0..40)).prop_map(|(command, string)| Frame::config(
            command, &string
        )
        .0[24..]
            .to_vec()),
        (0..3_u8, vec((0..4_u8, macs()), 0..4)).prop_map(|(command, edits)| Frame::mask(
            command, &edits
        )
        .0[24..]
            .to_vec()),
        (0..4_u8, vec(macs(), 0..4))
            .prop_map(|(command, list)| Frame::reserve(command, &list).0[24..].to_vec()),
        vec(any::<u8>(), 0..80),
    ];
    let tag = prop_oneof![
        6 => Just(None),
        1 => select(vec![[0x81, 0, 0, 1], [0x88, 0xa8, 0xff, 0xff]]).prop_map(Some),
    ];
    let ends = (macs(), macs());
    (ends, addressed, flags, command, argument, tag, 0..200_usize).prop_map(
        |((to, from), (shelf, slot), flags, command, argument, tag, cut)| {
            let frame = Frame::command(command).to(to).from(from).at(shelf, slot);
            let frame = frame.byte(14, flags).and(&argument);
            let frame = tag.map_or(frame.clone(), |tag| frame.tagged(tag));
            // One in eight is cut short.
            let len = frame.len();
            frame.cut(if cut < 25 {
                len.saturating_sub(cut)
            } else {
                len
            })
        },
    )
}

/// A target in one of its moods, with 32 sectors so that borders are near.
fn bench() -> impl Strategy<Value = Bench> {
    let media = (any::<[bool; 4]>(), 0..5_u8);
    let outcomes = select(vec![
        Outcome::Done,
        Outcome::Medium,
        Outcome::Fault,
        Outcome::Unsupported,
    ]);
    let mtu = select(vec![1500, 9000, 4132, 600, 1042, 100]);
    (media, outcomes, mtu, any::<[bool; 2]>()).prop_map(
        |(([read_only, discard, back, smart], exponent), outcome, mtu, [silent, masked])| {
            let medium = Medium {
                sectors: 32,
                physical_exponent: exponent,
                read_only,
                discard,
                cache: if back {
                    Cache::WriteBack
                } else {
                    Cache::WriteThrough
                },
                health: smart.then_some(Health { failing: silent }),
                ..common::medium()
            };
            let policy = Policy {
                errors: if silent { Errors::Silent } else { Errors::Ata },
                masks: if masked { &[HOST, OTHER] } else { &[] },
            };
            let mut bench = Bench::with(medium, policy).mtu(mtu);
            bench.outcome = outcome;
            bench
        },
    )
}

impl std::fmt::Debug for Bench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} {:?} {:?}",
            self.target.medium(),
            self.port,
            self.outcome
        )
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_frames_in_random_states_get_lawful_answers_or_none(
        mut bench in bench(),
        frames in vec(plausible(), 1..60),
    ) {
        // R-003 R-006 R-007 R-010 R-021 R-031 R-103: see the bench.
        let read_only = bench.target.medium().read_only;
        for frame in frames {
            let before = bench.written.clone();
            let got = bench.send(&frame);
            if read_only || got == Got::Dropped(aoe::Drop::WildcardWrite) {
                prop_assert_eq!(&bench.written, &before);
            }
            if let Got::Answer(answer) = got {
                let probe = bench.probe_of(&answer.bytes);
                prop_assert!(!answer.probe || probe.is_some());
            }
        }
        prop_assert!(bench.target.masks().len() <= aoe::limits::MASKS_MAX);
    }

    #[test]
    fn random_bytes_are_survived(mut bench in bench(), frame in vec(any::<u8>(), 0..200)) {
        let _ = aoe::peek(&frame);
        let _ = aoe::io_of(&frame, frame.len());
        let _ = bench.probe_of(&frame);
        let got = bench.send(&frame);
        prop_assert!(matches!(got, Got::Dropped(_)), "nobody guesses a MAC");
    }

    #[test]
    fn a_tag_makes_no_difference_but_its_four_bytes(
        frame in plausible(),
        tag in any::<[u8; 2]>(),
    ) {
        // At the MTU of 1,500 both carry two sectors.
        prop_assume!(frame.get(12..14) == Some(&[0x88, 0xa2][..]));
        let (mut plain, mut tagged) = (Bench::new(), Bench::new());
        let there = tagged.send(&frame.clone().tagged([0x81, 0, tag[0], tag[1]]));
        match (plain.send(&frame), there) {
            (Got::Answer(here), Got::Answer(there)) => {
                prop_assert_eq!(&there.bytes[16..], &here.bytes[12..]);
            }
            (here, there) => prop_assert_eq!(here, there),
        }
    }
}
