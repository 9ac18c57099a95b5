//! What the loop itself costs: nanoseconds a request, with a card and a disk that
//! move no data.
//!
//! ```text
//! cargo run --release -p node --example turn [REQUESTS [read|write|shared]]
//! ```
//! The card hands out one-sector requests that are always there and takes every
//! answer at once; the disk ends everything at the next look. What is left is
//! parsing, accounting, the fence, the answer, and the moves of the frame.

use io::{
    Disk, Done, Frame, Geometry, Identity, Instant, Nic, Outcome, Request, SLOT_BYTES, WriteCache,
    carve,
};
use node::config::{Config, Source};
use node::{Attached, Node, Origin};
use std::collections::VecDeque;

const FRAMES: usize = 256;

/// A card on which the same kind of request is always waiting.
struct Card {
    opcode: u8,
    lba: u64,
    idle: VecDeque<Frame>,
    sent: VecDeque<Frame>,
}

impl Nic for Card {
    fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 1]
    }
    fn mtu(&self) -> u16 {
        1500
    }
    fn link_up(&self) -> bool {
        true
    }
    fn ring_frames(&self) -> usize {
        FRAMES
    }
    fn post(&mut self, frame: Frame) {
        self.idle.push_back(frame);
    }
    fn poll_rx(&mut self) -> Option<Frame> {
        let mut frame = self.idle.pop_front()?;
        self.lba = (self.lba + 8) % 4096;
        let [low, high, ..] = self.lba.to_le_bytes();
        let header = [
            2,
            0,
            0,
            0,
            0,
            1,
            2,
            0,
            0,
            0,
            0,
            2,
            0x88,
            0xa2,
            0x10,
            0,
            0,
            5,
            0,
            0,
            0,
            0,
            0,
            1,
            0x40,
            0,
            1,
            self.opcode,
            low,
            high,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        frame.buffer_mut()[..36].copy_from_slice(&header);
        frame.set_len(36 + 512);
        Some(frame)
    }
    fn send(&mut self, frame: Frame) {
        self.sent.push_back(frame);
    }
    fn poll_sent(&mut self) -> Option<Frame> {
        self.sent.pop_front()
    }
    fn kick(&mut self) {}
    fn tick(&mut self, _: Instant) -> bool {
        false
    }
    fn arm(&mut self) -> bool {
        true
    }
    fn disarm(&mut self) {}
    fn name(&self) -> &str {
        "nowhere card"
    }
}

/// A disk that is done with everything.
struct Platter {
    geometry: Geometry,
    identity: Identity,
    done: VecDeque<Done>,
    flushes: u64,
}

impl Disk for Platter {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }
    fn identity(&self) -> &Identity {
        &self.identity
    }
    fn submit(&mut self, request: Request, frame: Frame) {
        self.flushes += u64::from(request.sectors == 0);
        self.done.push_back(Done {
            ticket: request.ticket,
            outcome: Outcome::Done,
            frame,
        });
    }
    fn poll_done(&mut self) -> Option<Done> {
        self.done.pop_front()
    }
    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let found = self.done.iter().find(|done| done.ticket == ticket);
        found.map(|done| look(&done.frame))
    }
    fn kick(&mut self) {}
    fn tick(&mut self, _: Instant) -> bool {
        false
    }
    fn arm(&mut self) -> bool {
        true
    }
    fn disarm(&mut self) {}
    fn name(&self) -> &str {
        "nowhere disk"
    }
}

fn measure(wanted: u64, what: &str, opcode: u8, write_cache: WriteCache) {
    let card = Card {
        opcode,
        lba: 0,
        idle: VecDeque::with_capacity(FRAMES),
        sent: VecDeque::with_capacity(FRAMES),
    };
    let platter = Platter {
        geometry: Geometry {
            sectors: 1 << 20,
            physical_exponent: 3,
            alignment_offset: 0,
            read_only: false,
            write_cache,
            discard: None,
        },
        identity: Identity::default(),
        done: VecDeque::with_capacity(FRAMES),
        flushes: 0,
    };
    let disk = Attached {
        disk: platter,
        origin: Origin::Bus,
    };
    let mut config = Box::new(Config::new());
    config.parse(Source::File, b"shelf=5\nrw=all");
    let memory = vec![0; (FRAMES + 1) * SLOT_BYTES].leak();
    let frames = carve(memory).take(FRAMES);
    let mut node = Node::new(vec![card], vec![disk], frames, &config, Instant(0));
    let (mut now, mut turns) = (Instant(0), 0_u64);
    let begin = std::time::Instant::now();
    while turns * 32 < wanted {
        now = now + 1;
        turns += 1;
        node.step(now);
    }
    let took = begin.elapsed();
    let requests: u64 = node.exports().iter().map(requests_of).sum();
    println!(
        "{what:30} {:6.1} ns a request, {:4.1} requests a turn",
        took.as_nanos() as f64 / requests as f64,
        requests as f64 / turns as f64
    );
}

fn requests_of(export: &node::Export) -> u64 {
    export.latency.counts().iter().copied().sum()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments.next().and_then(|text| text.parse().ok());
    let only = arguments.next().unwrap_or_default();
    for (what, opcode, cache) in [
        ("read", 0x24, WriteCache::None),
        ("write, no volatile cache", 0x34, WriteCache::None),
        ("shared flushes, write", 0x34, WriteCache::Volatile),
    ] {
        if what.starts_with(&only) {
            measure(wanted.unwrap_or(20_000_000), what, opcode, cache);
        }
    }
}
