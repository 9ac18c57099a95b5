//! The disk keeps its contract, and finds who breaks it.

use super::{DiskPlan, Drive, Spindle};
use crate::content;
use crate::ledger::Ledger;
use crate::random::Random;
use io::{Disk, Done, Frame, Op, Outcome, Request, WriteCache};
use std::cell::RefCell;
use std::rc::Rc;

struct Bench {
    ledger: Rc<Ledger>,
    spindle: Rc<RefCell<Spindle>>,
    drive: Drive,
    frames: Vec<Frame>,
}

fn plan() -> DiskPlan {
    DiskPlan {
        sectors: 64,
        physical_exponent: 0,
        read_only: false,
        cache: WriteCache::Volatile,
        can_write_through: true,
        discard: Some(8),
        latency_us: (1, 50),
        fault_ppm: 0,
        medium_ppm: 0,
        flush_fails_ppm: 0,
        failed_flush_drops: false,
        tears: false,
    }
}

fn bench(plan: DiskPlan, seed: u64) -> Bench {
    let ledger = Rc::new(Ledger::new(false));
    let spindle = Spindle::new(0, plan, ledger.clone(), Random::new(seed));
    let spindle = Rc::new(RefCell::new(spindle));
    let memory = vec![0; 9 * io::SLOT_BYTES].leak();
    Bench {
        drive: Drive::new(0, &spindle),
        ledger,
        spindle,
        frames: io::carve(memory).collect(),
    }
}

impl Bench {
    fn submit(&mut self, op: Op, lba: u64, sectors: u32, name: u64) {
        let mut frame = self.frames.pop().expect("eight are enough");
        for i in 0..u64::from(sectors) {
            let at = 36 + i as usize * 512;
            frame.buffer_mut()[at..at + 512].copy_from_slice(&content::pattern(name + i));
        }
        frame.set_len(36 + sectors as usize * 512);
        let ticket = lba as u32 | name as u32;
        let data = 36;
        let request = Request {
            op,
            lba,
            sectors,
            data,
            ticket,
        };
        self.drive.submit(request, frame);
    }

    fn finish(&mut self) -> Vec<Done> {
        self.drive.kick();
        let mut all = Vec::new();
        for _ in 0..2_000 {
            self.ledger.set_now_us(self.ledger.now_us() + 1);
            while let Some(done) = self.drive.poll_done() {
                all.push(done);
            }
        }
        all
    }

    fn write(&mut self, lba: u64, name: u64) {
        self.submit(Op::Write, lba, 1, name);
        for done in self.finish() {
            self.frames.push(done.frame);
        }
    }

    fn holds(&self, lba: u64, name: u64) -> bool {
        self.spindle.borrow().value(lba) == content::value(&content::pattern(name))
    }
}

#[test]
fn a_write_that_was_not_flushed_survives_some_power_cuts_and_not_others() {
    let survived = (0..64)
        .filter(|&seed| {
            let mut bench = bench(plan(), seed);
            bench.write(5, 0x100);
            assert!(bench.holds(5, 0x100));
            bench.spindle.borrow_mut().lose_the_power();
            bench.holds(5, 0x100)
        })
        .count();
    assert!((1..64).contains(&survived), "{survived} of 64");
}

#[test]
fn a_write_reported_before_the_flush_survives_every_power_cut() {
    for seed in 0..64 {
        let mut bench = bench(plan(), seed);
        bench.write(5, 0x100);
        bench.submit(Op::Flush, 0, 0, 0x200);
        assert_eq!(bench.finish().len(), 1);
        bench.spindle.borrow_mut().lose_the_power();
        assert!(bench.holds(5, 0x100), "seed {seed}");
    }
}

#[test]
fn a_write_under_way_at_the_flush_is_not_covered_by_it() {
    let lost = (0..256).any(|seed| {
        let mut bench = bench(plan(), seed);
        bench.submit(Op::Write, 5, 1, 0x100);
        bench.submit(Op::Flush, 0, 0, 0x200);
        assert_eq!(bench.finish().len(), 2);
        bench.spindle.borrow_mut().lose_the_power();
        !bench.holds(5, 0x100)
    });
    assert!(lost);
}

#[test]
fn what_was_never_kicked_has_never_happened() {
    let mut bench = bench(plan(), 1);
    bench.submit(Op::Write, 5, 1, 0x100);
    bench.ledger.set_now_us(1_000_000);
    assert!(bench.drive.poll_done().is_none());
    assert_eq!(bench.spindle.borrow().unpublished, 1);
    assert!(!bench.holds(5, 0x100));
}

#[test]
fn a_read_fills_the_frame_and_a_read_that_fails_does_not() {
    for (ppm, outcome) in [(0, Outcome::Done), (1_000_000, Outcome::Fault)] {
        let mut bench = bench(
            DiskPlan {
                fault_ppm: ppm,
                ..plan()
            },
            1,
        );
        bench.submit(Op::Read, 5, 2, 0x100);
        let mut done = bench.finish();
        let done = done.first_mut().expect("it ended");
        assert_eq!(done.outcome, outcome);
        let data = &done.frame.buffer_mut()[36..36 + 1_024];
        let pristine = [content::pristine(0, 5), content::pristine(0, 6)].concat();
        assert_eq!(data == pristine, outcome == Outcome::Done);
    }
}

#[test]
fn what_a_real_disk_would_swallow_is_found() {
    type Wrong = fn(&mut Bench);
    let wrong: [Wrong; 5] = [
        |bench| bench.submit(Op::Read, 63, 2, 1),
        |bench| bench.submit(Op::Write, 64, 1, 1),
        |bench| bench.submit(Op::Discard, 0, 9, 1),
        |bench| bench.submit(Op::Read, 0, 0, 1),
        |bench| {
            bench.submit(Op::Write, 4, 4, 0x100);
            bench.submit(Op::Write, 7, 1, 0x200);
        },
    ];
    for (index, wrong) in wrong.into_iter().enumerate() {
        let mut bench = bench(plan(), 1);
        wrong(&mut bench);
        bench.drive.kick();
        assert!(bench.ledger.is_broken(), "case {index}");
    }
}

#[test]
fn a_torn_sector_is_part_old_and_part_new() {
    let torn = (0..256).find_map(|seed| {
        let mut bench = bench(
            DiskPlan {
                tears: true,
                ..plan()
            },
            seed,
        );
        bench.write(5, 0x100);
        let torn = bench.spindle.borrow_mut().lose_the_power();
        torn.first().copied().map(|torn| (torn, bench))
    });
    let ((lba, value), bench) = torn.expect("one seed in eight tears");
    assert_eq!(lba, 5);
    assert_eq!(bench.spindle.borrow().value(5), value);
    assert!(!bench.holds(5, 0x100));
}

#[test]
fn a_write_begun_and_reported_in_the_mode_survives_every_power_cut() {
    for seed in 0..64 {
        let mut bench = bench(plan(), seed);
        assert!(bench.drive.set_write_through(true));
        bench.write(5, 0x100);
        bench.drive.set_write_through(false);
        bench.spindle.borrow_mut().lose_the_power();
        assert!(bench.holds(5, 0x100), "seed {seed}");
    }
}

#[test]
fn a_write_that_saw_a_switch_does_not() {
    for on in [false, true] {
        let lost = (0..64).any(|seed| {
            let mut bench = bench(plan(), seed);
            bench.drive.set_write_through(!on);
            bench.submit(Op::Write, 5, 1, 0x100);
            bench.drive.kick();
            bench.drive.set_write_through(on);
            assert_eq!(bench.finish().len(), 1);
            bench.spindle.borrow_mut().lose_the_power();
            !bench.holds(5, 0x100)
        });
        assert!(lost, "switched to {on}");
    }
}

#[test]
fn a_write_in_the_mode_covers_no_other() {
    let lost = (0..64).any(|seed| {
        let mut bench = bench(plan(), seed);
        bench.write(5, 0x100);
        assert!(bench.drive.set_write_through(true));
        bench.write(6, 0x200);
        bench.spindle.borrow_mut().lose_the_power();
        assert!(bench.holds(6, 0x200), "seed {seed}");
        !bench.holds(5, 0x100)
    });
    assert!(lost);
}
