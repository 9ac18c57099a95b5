//! Writes that need no flush, on a disk whose power is cut.

use super::*;

/// A disk with a cache that forgets: what the driver wrote, and what is durable of it.
struct Platter {
    device: Device,
    /// For each request that it has, whether its write was through at the beginning.
    began: Vec<bool>,
    medium: BTreeMap<u64, u8>,
    cache: BTreeMap<u64, u8>,
}

impl Platter {
    /// Takes what was published.
    fn take(&mut self) {
        self.device.check_kick(QUEUE);
        let held = self.device.fetch(QUEUE, usize::MAX);
        self.began.resize(held, self.device.writes_through());
    }

    /// The mode was changed: what it has is not through from beginning to end.
    fn interrupted(&mut self) {
        self.began.fill(false);
    }

    fn end(&mut self, number: usize, status: u8) {
        let (kind, sector, data) = asked(&self.device, number);
        let is_through = self.began.remove(number) && self.device.writes_through();
        match kind {
            WRITE if status == OK && is_through => drop(self.medium.insert(sector, data[0])),
            WRITE if status == OK => drop(self.cache.insert(sector, data[0])),
            DO_FLUSH => self.medium.append(&mut self.cache),
            _ => {}
        }
        let room = self.device.room(QUEUE, number);
        self.device.write(QUEUE, number, room - 1, &[status]);
        self.device.complete(QUEUE, number, room as u32);
    }
}

struct Bench {
    disk: Blk<Registers>,
    platter: Platter,
    machine: Machine,
}

const CHOICE: u64 = FLUSH | CONFIG_WCE;

fn bench(profile: Profile) -> Bench {
    let (machine, device, disk) = start(profile, 8);
    let platter = Platter {
        device,
        began: vec![],
        medium: BTreeMap::new(),
        cache: BTreeMap::new(),
    };
    Bench {
        disk,
        platter,
        machine,
    }
}

impl Bench {
    /// Lends a write of a sector of its own number.
    fn write(&mut self, lba: u8) {
        let mut frame = self.machine.carve(1).remove(0);
        frame.buffer_mut()[36..548].fill(lba);
        let write = request(Op::Write, lba.into(), 1, lba.into());
        self.disk.submit(write, frame);
        self.disk.kick();
        self.platter.take();
    }

    fn switch(&mut self, on: bool) -> bool {
        let is_on = self.disk.set_write_through(on);
        self.platter.interrupted();
        is_on
    }

    fn done(&mut self) -> Option<(u32, Outcome)> {
        let done = self.disk.poll_done()?;
        Some((done.ticket, done.outcome))
    }

    fn durable(&self) -> Vec<u64> {
        self.platter.medium.keys().copied().collect()
    }
}

#[test]
fn what_was_submitted_and_ended_while_it_is_on_survives_a_power_cut_and_nothing_else() {
    let mut bench = bench(profile(CHOICE));
    bench.write(1);
    bench.platter.end(0, OK);
    bench.write(2);
    assert!(bench.switch(true));
    bench.platter.end(0, OK);
    bench.write(3);
    bench.platter.end(0, OK);
    bench.write(4);
    assert!(!bench.switch(false));
    bench.platter.end(0, OK);
    bench.write(5);
    bench.platter.end(0, OK);
    for ticket in 1..=5 {
        assert_eq!(bench.done(), Some((ticket, Outcome::Done)));
    }
    assert_eq!(bench.durable(), [3]);
    assert_eq!(bench.platter.device.config_writes(), 2);
}

#[test]
fn a_disk_whose_cache_can_not_be_chosen_does_not_write_through() {
    let is_on = |profile: Profile| {
        let mut bench = bench(profile);
        let is_on = bench.switch(true);
        assert_eq!(is_on, bench.platter.device.writes_through());
        is_on
    };
    assert!(is_on(profile(CHOICE)));
    assert!(!is_on(profile(FLUSH)));
    assert!(!is_on(profile(0)));
    let mut stubborn = profile(CHOICE);
    stubborn.keeps_writeback = true;
    assert!(!is_on(stubborn), "what is read back is what counts");
}

#[test]
fn a_disk_that_writes_through_by_itself_is_left_alone() {
    let mut without_cache = profile(CHOICE);
    without_cache.config[32] = 0;
    let mut bench = bench(without_cache);
    assert!(!bench.switch(true));
    assert!(!bench.switch(false));
    assert_eq!(bench.platter.device.config_writes(), 0);
    assert!(!bench.disk.tick(Instant(1)));
    assert_eq!(bench.disk.geometry().write_cache, WriteCache::None);
}

#[test]
fn a_mode_that_we_chose_is_not_taken_for_the_disks_own() {
    let mut bench = bench(profile(CHOICE));
    assert!(bench.switch(true));
    assert!(!bench.disk.tick(Instant(1)));
    assert_eq!(bench.disk.geometry().write_cache, WriteCache::Volatile);
    // A flush still goes to the disk: what came before is in its cache.
    let flush = request(Op::Flush, 0, 0, 9);
    bench.disk.submit(flush, bench.machine.carve(1).remove(0));
    bench.disk.kick();
    bench.platter.take();
    assert_eq!(asked(&bench.platter.device, 0).0, DO_FLUSH);
    bench.switch(false);
    assert!(!bench.disk.tick(Instant(2)));
    assert_eq!(bench.disk.geometry().write_cache, WriteCache::Volatile);
}

#[test]
fn a_mode_that_the_disk_loses_is_told_and_off() {
    let mut bench = bench(profile(CHOICE));
    assert!(bench.switch(true));
    bench.platter.device.set_config(32, &[1]);
    assert!(bench.disk.tick(Instant(1)));
    assert!(!bench.disk.through.is_on());
    assert!(!bench.disk.tick(Instant(2)));
    assert_eq!(bench.disk.geometry().write_cache, WriteCache::Volatile);
}

#[test]
fn a_write_that_fails_is_not_tried_again_where_its_failure_may_have_cost_others() {
    let mut bench = bench(profile(CHOICE));
    bench.disk.tick(Instant(10));
    assert!(bench.switch(true));
    bench.write(1);
    bench.platter.end(0, IO_ERROR);
    assert_eq!(bench.done(), Some((1, Outcome::Medium)));
    // Also one that was under way when it was switched off.
    bench.write(2);
    bench.switch(false);
    bench.platter.end(0, IO_ERROR);
    assert_eq!(bench.done(), Some((2, Outcome::Medium)));
    // From the next tick on they are suspects again.
    bench.disk.tick(Instant(20));
    bench.write(3);
    bench.platter.end(0, IO_ERROR);
    assert_eq!(bench.done(), None);
    bench.disk.kick();
    bench.platter.take();
    bench.platter.end(0, OK);
    assert_eq!(bench.done(), Some((3, Outcome::Done)));
}

#[test]
fn a_disk_out_of_service_is_not_switched() {
    let mut bench = bench(profile(CHOICE));
    assert!(bench.switch(true));
    bench.platter.device.need_reset();
    bench.disk.tick(Instant(1));
    assert!(!bench.switch(false));
    assert!(!bench.switch(true));
    assert_eq!(bench.platter.device.config_writes(), 1);
    assert!(!bench.platter.device.writes_through());
}
