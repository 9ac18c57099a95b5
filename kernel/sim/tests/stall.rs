//! A stall, a full ring, and a copy at its end.
//!
//! The processor is taken away for 20 ms while frames arrive. Port 0's ring fills
//! with reads and, last, with the first copy of write A. Its host hears nothing
//! and sends A again through port 1, whose ring is short. When the node goes on it
//! runs the second copy; the host is answered and writes B to the same sector.
//! The first copy is still in its ring, far too young for any age limit. It must
//! not run after B.

use io::{Instant, SECTOR_BYTES};
use node::config::{Config, Source};
use node::{Attached, Node, Origin};
use sim::agenda::Agenda;
use sim::content::{pattern, value};
use sim::disk::{DiskPlan, Drive, Spindle};
use sim::history::Acknowledged;
use sim::ledger::Ledger;
use sim::network::{Card, Network, Weather};
use sim::oracle::{Oracle, Served};
use sim::random::Random;
use sim::wire::{self, Address, Ata, Header, Mac, opcode};
use std::cell::RefCell;
use std::rc::Rc;

const ADDRESS: Address = Address { shelf: 5, slot: 0 };
const PORTS: [Mac; 2] = [[2, 0xfe, 0, 0, 0, 0], [2, 0xfe, 0, 0, 0, 1]];
const HOST: [Mac; 2] = [[2, 1, 0, 0, 0, 0], [2, 1, 0, 0, 0, 1]];
const FRAMES_PER_PORT: usize = 240;
const A: u64 = 0xa;
const B: u64 = 0xb;

struct Bench {
    ledger: Rc<Ledger>,
    network: Rc<RefCell<Network>>,
    spindle: Rc<RefCell<Spindle>>,
    node: Node<Card, Drive>,
}

fn bench() -> Bench {
    let ledger = Rc::new(Ledger::new(false));
    let agenda = Rc::new(RefCell::new(Agenda::default()));
    let plan = DiskPlan {
        sectors: 1_024,
        physical_exponent: 0,
        read_only: false,
        cache: io::WriteCache::None,
        can_write_through: false,
        discard: None,
        latency_us: (1, 2),
        fault_ppm: 0,
        medium_ppm: 0,
        flush_fails_ppm: 0,
        failed_flush_drops: false,
        tears: false,
    };
    let spindle = Spindle::new(0, plan, ledger.clone(), Random::new(1));
    let spindle = Rc::new(RefCell::new(spindle));
    let served = Served {
        address: ADDRESS,
        disk: 0,
        first: 0,
        sectors: None,
        writable: true,
        how: Acknowledged::Durable,
        masks: Vec::new(),
    };
    let views = PORTS.map(|mac| (mac, 1_500)).to_vec();
    let oracle = Oracle::new(ledger.clone(), vec![spindle.clone()], vec![served], views);
    let oracle = Rc::new(RefCell::new(oracle));
    let mut network = Network::new(ledger.clone(), agenda, Random::new(2), Weather::CALM);
    for (segment, mac) in PORTS.into_iter().enumerate() {
        network.add_port(segment, mac, 1_500);
        network.add_plug(segment, 0, segment, HOST[segment], None);
    }
    let network = Rc::new(RefCell::new(network));
    let cards = (0..2)
        .map(|port| Card::new(port, &network, &oracle, Random::new(3)))
        .collect();
    let disk = Attached {
        disk: Drive::new(0, &spindle),
        origin: Origin::Bus,
    };
    let memory = vec![0; (2 * FRAMES_PER_PORT + 1) * io::SLOT_BYTES].leak();
    let mut config = Box::new(Config::new());
    config.parse(Source::CommandLine, b"ublade.shelf=5 ublade.rw=all");
    let frames = io::carve(memory).take(2 * FRAMES_PER_PORT);
    Bench {
        node: Node::new(cards, vec![disk], frames, &config, Instant(0)),
        ledger,
        network,
        spindle,
    }
}

fn request(port: usize, tag: u32, command: u8, lba: u64, data: &[u8]) -> Vec<u8> {
    let header = Header::request(PORTS[port], HOST[port], ADDRESS, wire::ATA, tag);
    wire::ata(header, Ata::extended(command, lba, 1), data)
}

impl Bench {
    fn step(&mut self, after_us: u64) {
        self.ledger.set_now_us(self.ledger.now_us() + after_us);
        self.node.step(Instant(self.ledger.now_us()));
    }

    fn arrive(&mut self, port: usize, frame: Vec<u8>) {
        self.network.borrow_mut().arrive(port, frame);
    }

    fn holds(&self, name: u64) -> bool {
        self.spindle.borrow().value(7) == value(&pattern(name))
    }

    fn sent_by(&self, port: usize) -> u64 {
        self.network.borrow().ports[port].frames.1
    }
}

#[test]
fn a_copy_that_lay_behind_a_full_ring_through_a_stall_never_undoes_a_newer_write() {
    let mut bench = bench();
    for _ in 0..2_000 {
        bench.step(1_000);
    }
    // The stall: nobody takes a turn for 20 ms, and this comes in.
    for tag in 0..200 {
        bench.arrive(0, request(0, 0x100 + tag, opcode::READ_EXT, 100, &[]));
    }
    let a = pattern(A);
    let b = pattern(B);
    assert_eq!(a.len(), SECTOR_BYTES);
    bench.arrive(0, request(0, 1, opcode::WRITE_EXT, 7, &a));
    bench.arrive(1, request(1, 2, opcode::WRITE_EXT, 7, &a));
    let before = bench.sent_by(1);
    bench.step(20_000);
    // It goes on. A turn with 32 frames takes it 100 us; the network takes ten.
    let mut has_sent_b = false;
    for _ in 0..50 {
        bench.step(100);
        if bench.sent_by(1) > before && !has_sent_b {
            has_sent_b = true;
            bench.arrive(1, request(1, 3, opcode::WRITE_EXT, 7, &b));
        }
    }
    assert!(has_sent_b, "the second copy was answered");
    assert_eq!(bench.ledger.finding(), None);
    assert!(!bench.holds(A), "the first copy of A undid B");
    assert!(bench.holds(B));
}
