//! A target of a few lines, with a fault for every count that there is.

use super::*;
use crate::client::Address;
use crate::network::{Fate, Mac, Switch};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

const SECTORS: u64 = 256;
const HERE: Address = Address { shelf: 7, slot: 0 };

/// What the target does wrong, each of a kind once in so many answers.
#[derive(Clone, Copy, Default)]
struct Faults {
    twice_every: u64,
    stale_every: u64,
}

struct Fake {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Serves a disk in memory on `switch`.
fn serve(switch: &Switch, faults: Faults) -> Fake {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let tap = switch.tap("fake");
    let thread = thread::spawn(move || {
        let mut disk = vec![0; SECTORS as usize * SECTOR_BYTES];
        let mut answers = 0;
        let every = |answers: u64, n: u64| n != 0 && answers.is_multiple_of(n);
        while !stopped.load(Ordering::Relaxed) {
            let Some(mut frame) = tap.receive(Duration::from_millis(20)) else {
                continue;
            };
            answers += 1;
            let lba = u32::from_le_bytes(frame[28..32].try_into().unwrap()) as usize;
            let bytes = usize::from(frame[26]) * SECTOR_BYTES;
            let at = lba * SECTOR_BYTES;
            if frame[27] == ata::WRITE_EXT {
                disk[at..at + bytes].copy_from_slice(&frame[36..36 + bytes]);
                frame.truncate(36);
                frame.resize(60, 0);
            } else {
                frame.truncate(36);
                frame.extend(&disk[at..at + bytes]);
                if every(answers, faults.stale_every) {
                    frame[36 + 100] ^= 1;
                }
            }
            frame.copy_within(6..12, 0);
            frame[6..12].copy_from_slice(&Mac::local(2).0);
            frame[14] |= 0x08;
            frame[27] = 0x40;
            tap.send(&frame);
            if every(answers, faults.twice_every) {
                tap.send(&frame);
            }
        }
    });
    Fake {
        stop,
        thread: Some(thread),
    }
}

fn run(switch: &Switch, access: Access, order: Order, requests: u64) -> Outcome {
    let mut client = Client::new(switch, Mac::local(1));
    let load = Load {
        access,
        order,
        sectors: 2,
        depth: 8,
    };
    let export = Export {
        address: HERE,
        mac: Mac::local(2),
        buffers: 16,
        firmware: 0,
        sectors_max: 2,
        config: Vec::new(),
    };
    let mut contents = Contents::kept(load, SECTORS);
    let until = Until::Requests(requests);
    drive(&mut client, &export, load, SECTORS, &mut contents, 1, until).unwrap()
}

#[test]
fn a_target_that_keeps_what_is_written_has_no_trouble() {
    for order in [Order::Sequential, Order::Random] {
        let switch = Switch::new();
        let _fake = serve(&switch, Faults::default());
        let outcome = run(&switch, Access::Mixed, order, 500);
        assert_eq!(outcome.requests, 500);
        assert_eq!(outcome.latencies.len(), 500);
        assert!(outcome.trouble.is_none(), "{:?}", outcome.trouble);
    }
}

#[test]
fn one_wrong_bit_in_a_read_is_corrupt() {
    let switch = Switch::new();
    let faults = Faults {
        stale_every: 10,
        ..Faults::default()
    };
    let _fake = serve(&switch, faults);
    let outcome = run(&switch, Access::Read, Order::Random, 100);
    assert_eq!(outcome.trouble.corrupt, 10);
}

#[test]
fn an_answer_that_comes_twice_is_counted_and_not_taken_for_another() {
    let switch = Switch::new();
    let faults = Faults {
        twice_every: 10,
        ..Faults::default()
    };
    let _fake = serve(&switch, faults);
    let outcome = run(&switch, Access::Write, Order::Sequential, 105);
    assert_eq!((outcome.requests, outcome.trouble.duplicate), (105, 10));
}

#[test]
fn a_lost_request_is_sent_again_and_a_held_back_answer_is_late() {
    let switch = Switch::new();
    let _fake = serve(&switch, Faults::default());
    let mut answers = 0;
    switch.set_fault(move |passing| {
        if passing.from != "fake" {
            return Fate::Pass;
        }
        answers += 1;
        match answers {
            // Of 40 answers two do not come in time, and of the two to the
            // resends one is lost again: the run waits for it while the answer
            // that was held back arrives.
            5 | 41 => Fate::Lose,
            9 => Fate::Delay(RESEND_AFTER + Duration::from_millis(150)),
            _ => Fate::Pass,
        }
    });
    let outcome = run(&switch, Access::Read, Order::Sequential, 40);
    assert_eq!(outcome.requests, 40);
    let expected = Trouble {
        lost: 3,
        late: 1,
        ..Trouble::default()
    };
    assert_eq!(outcome.trouble, expected);
}
