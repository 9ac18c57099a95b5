//! What the protocol costs, as a number to look at:
//! `cargo test --release -p aoe --test speed -- --ignored --nocapture`

mod common;

use aoe::fence::{Fence, Passage, Write};
use aoe::{Outcome, Verdict};
use common::{Bench, Frame};
use std::hint::black_box;
use std::time::Instant;

const TURNS: u32 = 20_000_000;

fn report(what: &str, start: Instant) {
    let each_ns = start.elapsed().as_nanos() as f64 / f64::from(TURNS);
    println!("{what}: {each_ns:.1} ns each");
}

#[test]
#[ignore = "measures, and has no opinion"]
fn a_read_of_1_kib_from_frame_to_answer() {
    let Bench {
        mut target, port, ..
    } = Bench::new();
    let mut slot = vec![0; aoe::limits::WIRE_BYTES];
    let frame = Frame::read(0x1234, 2);
    let start = Instant::now();
    for _ in 0..TURNS {
        slot[..36].copy_from_slice(black_box(&frame));
        let verdict = target.admit(black_box(&port), black_box(&mut slot), 36);
        assert!(matches!(verdict, Verdict::Submit(_)));
        let len = target.complete(black_box(&port), black_box(&mut slot), 36, Outcome::Done);
        assert_eq!(len, 1060);
    }
    report("admit and complete a read", start);
}

#[test]
#[ignore = "measures, and has no opinion"]
fn a_sequential_stream_of_writes_through_the_fence() {
    const DEPTH: u64 = 64;
    let mut fence = Box::new(Fence::<1024>::new());
    let mut under_way = std::collections::VecDeque::new();
    let start = Instant::now();
    for turn in 0..u64::from(TURNS) {
        let write = Write {
            slot: 7,
            first: black_box(turn * 2 % 1_000_000),
            sectors: 2,
        };
        match fence.arrive(turn, write, |_| false) {
            Passage::Go(ticket) => under_way.push_back(ticket),
            other => panic!("nothing overlaps: {other:?}"),
        }
        if under_way.len() as u64 > DEPTH {
            fence.finish(under_way.pop_front().expect("there are many"));
        }
    }
    report("arrive and finish a write", start);
}
