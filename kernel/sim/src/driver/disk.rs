//! A real disk driver between the node and a simulated disk.
//!
//! The driver talks to the model of its device by registers and rings, as it does on
//! a real machine. What the device is asked, the [`Spindle`] behind it does, with its
//! latency, its errors, its hangs and its volatile cache, as for a disk without a
//! driver; the oracle knows nothing of the difference.
//!
//! Beside that the driver must not keep what it was given to itself: when the node
//! goes to sleep while the driver holds requests, the device must have one of them
//! and must have been told to interrupt when it ends.

use super::{Slip, Trip};
use crate::disk::{DiskPlan, Spindle};
use crate::ledger::Ledger;
use io::{Disk, Done, Frame, Geometry, Identity, Instant, Op, Outcome, Request};
use std::cell::RefCell;
use std::rc::Rc;

/// One doorbell in so many is lost, where that is the planted fault.
const LOST_BELLS: u64 = 64;
/// One pair of answers in so many is swapped, likewise.
const SWAPPED_PAIRS: u64 = 16;

/// A device that carries out nothing by itself: what it is asked, somebody else does.
pub trait DiskDevice {
    /// Takes what its driver published, and says under which numbers it knows all
    /// commands that it has. A number comes again only after a reset.
    fn take(&mut self, numbers: &mut Vec<u32>);

    /// What a command asks, and what it writes.
    fn asked(&self, number: u32) -> (Request, Vec<u8>);

    /// Ends a command. `data` is what was read.
    fn answer(&mut self, number: u32, outcome: Outcome, data: &[u8]);

    /// Whether it takes commands: neither reset nor out of service.
    fn is_running(&self) -> bool;

    /// Whether its driver gave it up until the next start.
    fn is_out(&self) -> bool;

    /// Whether it will interrupt when a command ends.
    fn will_interrupt(&self) -> bool;

    /// Its disk has this size.
    fn set_sectors(&mut self, sectors: u64);

    /// Does what it must not. True if what it had in a volatile cache may be gone.
    fn trip(&mut self, trip: Trip) -> bool;

    /// Hears no doorbell, or does again.
    fn set_deaf(&mut self, is_deaf: bool);

    /// Whether its driver has told it to write through.
    fn writes_through(&self) -> bool {
        false
    }

    /// What the world's clock shows, where a device has its own time.
    fn set_now_us(&mut self, _: u64) {}
}

/// See the module's header.
pub struct Driven<D, V> {
    disk: D,
    device: V,
    spindle: Rc<RefCell<Spindle>>,
    ledger: Rc<Ledger>,
    slip: Option<Slip>,
    /// What the device has: its number for it, and the spindle's.
    jobs: Vec<(u32, u64)>,
    numbers: Vec<u32>,
    /// Requests that the driver was given and has not given back.
    held: usize,
    /// Which of them are flushes.
    flushes: Vec<u32>,
    bells: u64,
    has_tripped: bool,
}

impl<D: Disk, V: DiskDevice> Driven<D, V> {
    /// `disk` is the driver of `device`, and behind that is `spindle`.
    pub fn new(
        disk: D,
        device: V,
        spindle: &Rc<RefCell<Spindle>>,
        ledger: Rc<Ledger>,
        slip: Option<Slip>,
    ) -> Self {
        spindle.borrow_mut().look_at_size();
        Self {
            disk,
            device,
            spindle: spindle.clone(),
            ledger,
            slip,
            jobs: Vec::new(),
            numbers: Vec::new(),
            held: 0,
            flushes: Vec::new(),
            bells: 0,
            has_tripped: false,
        }
    }

    /// The disk at the other end.
    pub fn spindle(&self) -> &Rc<RefCell<Spindle>> {
        &self.spindle
    }

    /// The device takes what was published, and forgets what it was told to forget.
    fn take(&mut self) {
        self.numbers.clear();
        if self.device.is_running() {
            self.device.take(&mut self.numbers);
        }
        let mut spindle = self.spindle.borrow_mut();
        if self
            .jobs
            .iter()
            .any(|(number, _)| !self.numbers.contains(number))
        {
            let numbers = &self.numbers;
            self.jobs.retain(|&(number, key)| {
                let is_there = numbers.contains(&number);
                if !is_there {
                    spindle.abandon(key);
                }
                is_there
            });
        }
        if self.jobs.len() == self.numbers.len() {
            return;
        }
        for &number in &self.numbers {
            if self.jobs.iter().all(|&(known, _)| known != number) {
                let (request, data) = self.device.asked(number);
                self.jobs.push((number, spindle.begin(&request, data)));
            }
        }
    }

    /// The device answers what has ended.
    fn answer(&mut self) {
        if !self.device.is_running() {
            self.take();
        }
        let mut spindle = self.spindle.borrow_mut();
        while let Some((key, outcome, data)) = spindle.end_one() {
            let is_it = |job: &(u32, u64)| job.1 == key;
            // What the device was told to forget ends for nobody.
            let Some(mut at) = self.jobs.iter().position(is_it) else {
                continue;
            };
            if self.slip == Some(Slip::Swapped) && key.is_multiple_of(SWAPPED_PAIRS) {
                // The driver takes the answer for another's of the same kind.
                let asked = |at: usize| self.device.asked(self.jobs[at].0).0;
                let it = asked(at);
                let is_like = |other: &usize| {
                    let request = asked(*other);
                    *other != at && (request.op, request.sectors) == (it.op, it.sectors)
                };
                if let Some(other) = (0..self.jobs.len()).find(is_like) {
                    (self.jobs[at].1, self.jobs[other].1) = (self.jobs[other].1, key);
                    at = other;
                }
            }
            let (number, _) = self.jobs.swap_remove(at);
            self.device.answer(number, outcome, &data);
        }
        // One that is out of service already can do nothing more.
        if let Some(trip) = spindle.trip.take()
            && self.device.is_running()
        {
            spindle.had_errors = true;
            self.has_tripped = true;
            if self.device.trip(trip) {
                spindle.lose_the_cache();
            }
        }
        if self.device.is_out() && !spindle.is_out {
            spindle.stop();
            spindle.with_driver = self.held;
        }
    }

    fn work(&mut self) {
        self.take();
        self.answer();
    }
}

impl<D: Disk, V: DiskDevice> Disk for Driven<D, V> {
    fn geometry(&self) -> &Geometry {
        self.disk.geometry()
    }

    fn identity(&self) -> &Identity {
        self.disk.identity()
    }

    fn submit(&mut self, request: Request, mut frame: Frame) {
        crate::disk::blank(&request, &mut frame);
        self.held += 1;
        if request.op == Op::Flush {
            self.flushes.push(request.ticket);
        }
        let mut spindle = self.spindle.borrow_mut();
        spindle.unpublished += 1;
        spindle.with_driver = self.held;
        drop(spindle);
        self.disk.submit(request, frame);
    }

    fn poll_done(&mut self) -> Option<Done> {
        self.device.set_now_us(self.ledger.now_us());
        if self.spindle.borrow_mut().has_news() {
            self.answer();
        }
        let mut done = self.disk.poll_done()?;
        let flush = self.flushes.iter().position(|flush| *flush == done.ticket);
        if let Some(flush) = flush {
            self.flushes.swap_remove(flush);
            if self.slip == Some(Slip::Vouched) && self.has_tripped {
                done.outcome = Outcome::Done;
            }
        }
        self.held -= 1;
        self.spindle.borrow_mut().with_driver = self.held;
        Some(done)
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        self.disk.lent(ticket, look)
    }

    fn kick(&mut self) {
        self.bells += 1;
        let is_lost = self.slip == Some(Slip::Unrung) && self.bells.is_multiple_of(LOST_BELLS);
        self.device.set_now_us(self.ledger.now_us());
        self.device.set_deaf(is_lost);
        self.disk.kick();
        self.device.set_deaf(false);
        self.spindle.borrow_mut().unpublished = 0;
        self.work();
    }

    fn tick(&mut self, now: Instant) -> bool {
        let sectors = self.spindle.borrow_mut().look_at_size();
        if self.disk.geometry().sectors != sectors {
            self.device.set_sectors(sectors);
        }
        self.device.set_now_us(self.ledger.now_us());
        let changed = self.disk.tick(now);
        self.work();
        changed
    }

    fn fails_soon(&self) -> bool {
        self.disk.fails_soon()
    }

    fn set_write_through(&mut self, on: bool) -> bool {
        // What was published before it, the device has in the old mode.
        self.work();
        let is_on = self.disk.set_write_through(on);
        let writes_through = self.device.writes_through();
        self.spindle.borrow_mut().set_write_through(writes_through);
        is_on
    }

    fn arm(&mut self) -> bool {
        self.spindle.borrow_mut().armed = true;
        self.work();
        if self.disk.arm() {
            return true;
        }
        // A driver that has seen its device break a rule waits to take it out of service.
        if self.has_tripped || !self.device.is_running() {
            return false;
        }
        if self.held > 0 && self.jobs.is_empty() {
            self.ledger.find(format!(
                "the node sleeps, the driver of {} holds {} requests and its device none",
                self.disk.name(),
                self.held
            ));
        }
        if !self.jobs.is_empty() && !self.device.will_interrupt() {
            self.ledger.find(format!(
                "the node sleeps and the driver of {} does not want to be woken",
                self.disk.name()
            ));
        }
        false
    }

    fn disarm(&mut self) {
        self.spindle.borrow_mut().armed = false;
        self.disk.disarm();
    }

    fn name(&self) -> &str {
        self.disk.name()
    }
}

/// The serial number of a disk by which the settings name it.
pub fn serial(number: usize) -> String {
    format!("SIM{number:04}")
}

/// Whether a device with this plan forgets.
pub fn forgets(plan: &DiskPlan) -> bool {
    plan.cache == io::WriteCache::Volatile
}

/// A request as a device understood it.
pub fn request(op: Op, lba: u64, sectors: u64) -> Request {
    Request {
        op,
        lba,
        sectors: u32::try_from(sectors).expect("no command moves more"),
        data: (io::DATA - io::WIRE) as u16,
        ticket: 0,
    }
}
