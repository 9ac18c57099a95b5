//! Keeps what hosts have set and the operator has saved: writes the state area, and
//! holds answers until then.
//!
//! A host is told that its config string, mask list or reservation is set when
//! that would survive a power cut, as with a write of sectors. So while something
//! of an export is not durable, no answer about it leaves, not even to a question:
//! what could be lost is not told. ATA requests are not touched by this.
//!
//! All state is written at once, a frame's worth at a time and one frame only,
//! through the same loop as everything else. What changes meanwhile goes with the
//! next copy. A boot disk that fails or hangs must not make exports undiscoverable:
//! then the state is volatile from there on, which is said and counted, and the
//! node serves as one without a boot disk does.

use crate::events::Event;
use crate::mark::Mark;
use crate::state::{self, Copy, Record, Saved};
use crate::waiting::Queue;
use crate::{Node, StateArea};
use alloc::vec::Vec;
use aoe::Target;
use io::{DATA, Disk, Frame, Instant, Nic, Op, Outcome, Request, SECTOR_BYTES, Text, WIRE};

/// How long the boot disk may take for one copy.
const PATIENCE_US: u64 = 2_000_000;
/// Bytes that one frame takes to the disk.
const PART_BYTES: usize = 17 * SECTOR_BYTES;
const _: () = assert!(DATA + PART_BYTES <= io::SLOT_BYTES, "a frame holds a part");

/// The name of a disk in the state area.
pub type Key = Text<64>;

/// What stands beside the exports in a [`Set`]: the operator's settings.
pub const SETTINGS: usize = u8::MAX as usize;
const _: () = assert!(crate::plan::DISKS_MAX <= SETTINGS, "it is no export");

/// A set of exports, and of the settings.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Set([u64; 4]);

impl Set {
    fn add(&mut self, export: usize) {
        self.0[export / 64] |= 1 << (export % 64);
    }

    fn has(&self, export: usize) -> bool {
        self.0[export / 64] & 1 << (export % 64) != 0
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    /// What the start has read is made durable.
    Settle,
    /// Writing; so many bytes of the copy have been given to the disk.
    Write(usize),
    Flush,
}

/// Where the state is kept.
#[derive(Clone, Copy)]
struct Place {
    disk: usize,
    first: u64,
}

/// What the operator has saved, with room for as much as may be saved.
#[derive(Default)]
struct Settings {
    lines: Vec<u8>,
    previous: Vec<u8>,
    conf_sum: u32,
}

impl Settings {
    /// What was in `area`. What does not hold any more has become the previous.
    fn new(area: &StateArea) -> Self {
        let room = |lines: &[u8]| {
            let mut text = Vec::with_capacity(state::SETTINGS_BYTES_MAX);
            text.extend_from_slice(&lines[..lines.len().min(state::SETTINGS_BYTES_MAX)]);
            text
        };
        let saved = state::saved(&area.loaded.records);
        let previous = if area.is_overruled() {
            saved.lines
        } else {
            saved.previous
        };
        Self {
            lines: room(area.saved()),
            previous: room(previous),
            conf_sum: area.conf_sum,
        }
    }
}

/// See the module's header.
pub struct Keeper {
    place: Option<Place>,
    generation: u64,
    copy: Copy,
    /// The name of each export's disk, by export.
    keys: Vec<Key>,
    /// Records of disks that are away.
    away: Vec<u8>,
    /// What the operator has saved.
    settings: Settings,
    /// What the start has read would survive a power cut.
    is_settled: bool,
    /// Something is to be written, though perhaps nobody waits for it.
    is_dirty: bool,
    /// Exports with changes that are in no copy yet.
    changed: Set,
    /// Exports whose changes are in the copy under way.
    writing: Set,
    /// Exports whose config string is to be announced when it is durable.
    announce: Set,
    phase: Phase,
    /// When the copy under way began.
    began: Instant,
    /// Answers that wait.
    held: Queue,
    held_len: usize,
    /// The records did not all fit, and that has been said.
    is_full: bool,
}

impl Keeper {
    /// A node that keeps nothing.
    pub fn none() -> Self {
        Self {
            place: None,
            generation: 0,
            copy: Copy::default(),
            keys: Vec::new(),
            away: Vec::new(),
            settings: Settings::default(),
            is_settled: false,
            is_dirty: false,
            changed: Set::default(),
            writing: Set::default(),
            announce: Set::default(),
            phase: Phase::Idle,
            began: Instant(0),
            held: Queue::EMPTY,
            held_len: 0,
            is_full: false,
        }
    }

    /// Keeps state in an area. `keys` are the names of the exports' disks, `away`
    /// the records of disks that are not there.
    #[cold]
    pub fn new(area: &StateArea, keys: Vec<Key>, away: Vec<u8>) -> Self {
        Self {
            place: Some(Place {
                disk: area.disk,
                first: area.first,
            }),
            generation: area.loaded.generation,
            copy: Copy::new(),
            keys,
            away,
            settings: Settings::new(area),
            // The slots of this start are worth keeping.
            is_dirty: true,
            // And nothing is told of what was read before it is settled.
            writing: Set([u64::MAX; 4]),
            ..Self::none()
        }
    }

    /// Whether state is kept at all.
    pub fn is_kept(&self) -> bool {
        self.place.is_some()
    }

    /// Whether something is still to be written.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.place.is_some() && (self.is_dirty || self.phase != Phase::Idle)
    }

    /// When somebody must look although no device asks for it.
    #[inline]
    pub fn deadline(&self, soon: Instant) -> Option<Instant> {
        match self.phase {
            _ if self.place.is_none() => None,
            Phase::Idle => self.is_dirty.then_some(soon),
            Phase::Settle | Phase::Write(_) | Phase::Flush => Some(self.began + PATIENCE_US),
        }
    }

    /// Records of disks that are away.
    pub fn away(&self) -> &[u8] {
        &self.away
    }

    /// Makes room for the names of `more` disks.
    pub fn make_room(&mut self, more: usize) {
        self.keys.reserve_exact(more);
    }

    /// A disk has come and is the next export, from sector `first` on: what was kept
    /// of it is its target's again.
    #[cold]
    pub fn welcome(&mut self, key: Key, first: u64, target: &mut Target) {
        if !self.is_kept() {
            return;
        }
        let name = key.as_str().as_bytes();
        let mut at = 0;
        let mut found = None;
        for kept in state::records(&self.away) {
            let end = at + kept.raw.len();
            if kept.key == name && kept.first == first {
                target.restore(kept.config, kept.masks(), kept.members());
                found = Some(at..end);
            }
            at = end;
        }
        if let Some(found) = found {
            let len = self.away.len() - found.len();
            self.away.copy_within(found.end.., found.start);
            self.away.truncate(len);
        }
        self.keys.push(key);
        // Its slot is worth keeping.
        self.is_dirty = true;
    }

    /// Notes a change; false if it is kept nowhere.
    pub fn change(&mut self, export: usize, announce: bool) -> bool {
        if self.is_kept() {
            self.is_dirty = true;
            self.changed.add(export);
            if announce {
                self.announce.add(export);
            }
        }
        self.is_kept()
    }

    /// The settings that the next start will read.
    pub fn saved(&self) -> &[u8] {
        &self.settings.lines
    }

    /// The settings that those took the place of.
    pub fn previously_saved(&self) -> &[u8] {
        &self.settings.previous
    }

    /// Saves other settings, and keeps those of now as the previous ones.
    #[cold]
    pub fn save(&mut self, lines: &[u8]) {
        let Settings {
            lines: now,
            previous,
            ..
        } = &mut self.settings;
        if now != lines {
            core::mem::swap(now, previous);
            now.clear();
            // There is room for the longest that is let in.
            now.extend_from_slice(lines);
        }
        self.change(SETTINGS, false);
    }

    /// Whether something of an export, or of the [`SETTINGS`], is not durable yet.
    #[inline]
    pub fn is_pending(&self, export: usize) -> bool {
        self.changed.has(export) || self.writing.has(export)
    }
}

impl<N: Nic, D: Disk> Node<N, D> {
    /// Whether state survives a restart.
    pub fn keeps_state(&self) -> bool {
        self.keeper.is_kept()
    }

    /// Keeps an answer back until what it tells is durable.
    #[cold]
    pub(crate) fn hold(&mut self, now: Instant, frame: Frame, export: usize, probe: bool) {
        let port = &mut self.ports[usize::from(frame.home())];
        if !port.may_lend(self.keeper.held_len) {
            self.events
                .note(now, Event::QueriesFull.into(), export as u32);
            return port.release_aside(now, frame);
        }
        port.lent += 1;
        self.keeper.held_len += 1;
        let mark = Mark(export as u32 | u32::from(probe) << 8);
        self.waiting.push(&mut self.keeper.held, frame, mark);
    }

    /// Begins a copy if there is something to keep, and loses patience with a disk
    /// that does not take one.
    pub(crate) fn keep(&mut self, now: Instant) -> bool {
        self.keeper.is_busy() && self.keep_now(now)
    }

    #[cold]
    fn keep_now(&mut self, now: Instant) -> bool {
        if self.keeper.phase != Phase::Idle {
            let is_late = now.since_us(self.keeper.began) >= PATIENCE_US;
            if is_late {
                self.lose_state(now, "does not answer");
            }
            return is_late;
        }
        let mut spares = self.ports.iter_mut().filter_map(|port| port.spares.pop());
        let Some(frame) = spares.next() else {
            return false;
        };
        if !self.keeper.is_settled {
            self.settle_state(now, frame);
            return true;
        }
        self.fill_copy();
        let keeper = &mut self.keeper;
        keeper.is_dirty = false;
        keeper.writing = core::mem::take(&mut keeper.changed);
        keeper.generation += 1;
        keeper.copy.seal(keeper.generation);
        keeper.phase = Phase::Write(0);
        keeper.began = now;
        self.write_part(frame);
        true
    }

    /// Makes durable what the start has read: a node that was killed between writing
    /// a copy and flushing it may have left it in the disk's cache only. Whoever then
    /// wrote over the other copy and lost the power could lose both.
    #[cold]
    fn settle_state(&mut self, now: Instant, frame: Frame) {
        self.keeper.phase = Phase::Settle;
        self.keeper.began = now;
        match self.keeper.place {
            Some(place) if self.stations[place.disk].volatile => self.flush_state(place, frame),
            _ => self.kept(now, frame, Outcome::Done),
        }
    }

    #[cold]
    fn flush_state(&mut self, place: Place, frame: Frame) {
        self.events.count(Event::Flush.into());
        let request = Request {
            op: Op::Flush,
            lba: 0,
            sectors: 0,
            data: 0,
            ticket: Mark::STATE.0,
        };
        self.give(place.disk, request, frame);
    }

    #[cold]
    fn fill_copy(&mut self) {
        let keeper = &mut self.keeper;
        keeper.copy.clear();
        let mut fits = true;
        for (export, key) in self.exports.iter().zip(&keeper.keys) {
            fits &= keeper.copy.add(&Record {
                slot: export.target.address().slot,
                first: export.planned.wanted.first,
                key: key.as_str().as_bytes(),
                config: export.target.config_string(),
                masks: export.target.edited_masks(),
                members: export.target.reservation(),
            });
        }
        for kept in state::records(&keeper.away) {
            // Who is away comes last: first those that somebody uses.
            fits &= keeper.copy.add_raw(kept.raw);
        }
        keeper.copy.add_saved(&Saved {
            lines: &keeper.settings.lines,
            previous: &keeper.settings.previous,
            conf_sum: keeper.settings.conf_sum,
        });
        if !fits && !keeper.is_full {
            log::warn!(
                "state area: {} bytes are too few for all that is set; the rest is lost at a restart",
                state::RECORDS_BYTES_MAX
            );
        }
        keeper.is_full = !fits;
    }

    /// Gives the disk the next part of the copy, the flush behind it, or nothing
    /// more.
    #[cold]
    fn write_part(&mut self, mut frame: Frame) {
        let keeper = &mut self.keeper;
        let (Some(place), Phase::Write(at)) = (keeper.place, keeper.phase) else {
            unreachable!("a part is written only while a copy is");
        };
        let left = &keeper.copy.sectors()[at..];
        let part = &left[..left.len().min(PART_BYTES)];
        frame.buffer_mut()[DATA - WIRE..][..part.len()].copy_from_slice(part);
        let sectors = part.len() / SECTOR_BYTES;
        let lba = place.first + state::place_of(keeper.generation) + (at / SECTOR_BYTES) as u64;
        keeper.phase = Phase::Write(at + part.len());
        let request = Request {
            op: Op::Write,
            lba,
            sectors: sectors as u32,
            data: (DATA - WIRE) as u16,
            ticket: Mark::STATE.0,
        };
        self.give(place.disk, request, frame);
    }

    /// The boot disk is done with a part of the copy, or with its flush.
    #[cold]
    pub(crate) fn kept(&mut self, now: Instant, frame: Frame, outcome: Outcome) {
        let Some(place) = self
            .keeper
            .place
            .filter(|_| self.keeper.phase != Phase::Idle)
        else {
            // It comes too late: nobody waits any more.
            return self.release(now, frame);
        };
        if outcome != Outcome::Done {
            self.release(now, frame);
            return self.lose_state(now, "fails to write");
        }
        let volatile = self.stations[place.disk].volatile;
        match self.keeper.phase {
            Phase::Write(at) if at < self.keeper.copy.sectors().len() => self.write_part(frame),
            Phase::Write(_) if volatile => {
                self.keeper.phase = Phase::Flush;
                self.flush_state(place, frame);
            }
            Phase::Settle | Phase::Write(_) | Phase::Flush | Phase::Idle => {
                self.release(now, frame);
                if core::mem::replace(&mut self.keeper.is_settled, true) {
                    self.events.count(Event::StateKept.into());
                }
                self.keeper.phase = Phase::Idle;
                self.keeper.writing = Set::default();
                self.let_out(now);
            }
        }
    }

    /// Goes on without keeping anything.
    #[cold]
    fn lose_state(&mut self, now: Instant, why: &str) {
        let Some(place) = self.keeper.place.take() else {
            return;
        };
        let name = self.stations[place.disk].disk.name();
        log::error!(
            "disk {} ({name}): {why}; what hosts set is volatile from now on",
            place.disk
        );
        self.events
            .note(now, Event::StateLost.into(), place.disk as u32);
        self.keeper.phase = Phase::Idle;
        self.keeper.changed = Set::default();
        self.keeper.writing = Set::default();
        self.let_out(now);
    }

    /// Sends the answers that need not wait any longer.
    #[cold]
    fn let_out(&mut self, now: Instant) {
        if let Some(management) = &mut self.management {
            management.wake(now);
        }
        for export in 0..self.exports.len() {
            if self.keeper.announce.has(export) && !self.keeper.is_pending(export) {
                self.keeper.announce.0[export / 64] &= !(1 << (export % 64));
                self.announce_everywhere(export);
            }
        }
        // Each of them once; those that wait on go behind.
        for _ in 0..self.keeper.held_len {
            let Some((frame, mark)) = self.waiting.pop(&mut self.keeper.held) else {
                break;
            };
            if self.keeper.is_pending(mark.export()) {
                self.waiting.push(&mut self.keeper.held, frame, mark);
                continue;
            }
            self.keeper.held_len -= 1;
            self.ports[usize::from(frame.home())].lent -= 1;
            self.send_answer(frame, mark.export(), mark.0 & 1 << 8 != 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeDisk, Pace, World};
    use alloc::vec;
    use core::mem;

    const HOST: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const READ: u8 = 0;
    const FORCE: u8 = 4;

    /// A config request to slot 0 of shelf 5.
    fn config(tag: u32, command: u8, text: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend([2, 0, 0, 0, 1, 0]);
        frame.extend(HOST);
        frame.extend([0x88, 0xa2, 0x10, 0, 0, 5, 0, 1]);
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 0, 0, 0, 0, command]);
        frame.extend((text.len() as u16).to_be_bytes());
        frame.extend(text);
        frame
    }

    /// A mask edit that adds `mac`, and a reservation for it.
    fn access(tag: u32, command: u8, mac: [u8; 6]) -> Vec<u8> {
        let mut frame = config(tag, 0, &[]);
        frame.truncate(24);
        frame[19] = command;
        match command {
            2 => frame.extend([0, 1, 0, 1, 0, 1]),
            _ => frame.extend([1, 1]),
        }
        frame.extend(mac);
        frame
    }

    fn answers(world: &mut World) -> Vec<u32> {
        let tags = world.left(0).into_iter().filter(|frame| frame[..6] == HOST);
        tags.map(|frame| u32::from_be_bytes([frame[20], frame[21], frame[22], frame[23]]))
            .collect()
    }

    /// A boot disk and a data disk behind it.
    fn disks() -> Vec<FakeDisk> {
        vec![FakeDisk::new(7, 512), FakeDisk::new(0, 4096)]
    }

    fn start(disks: Vec<FakeDisk>) -> World {
        let mut world = World::build("shelf=5").with_disks(disks).state(0).start();
        world.settle();
        world.left(0);
        world
    }

    fn disks_of(mut world: World) -> Vec<FakeDisk> {
        let stations = world.node.stations.drain(..);
        let disks = stations.map(|station| station.disk).collect();
        mem::forget(world);
        disks
    }

    fn cut_power(world: World) -> World {
        let mut disks = disks_of(world);
        for disk in &mut disks {
            disk.cut_power();
        }
        start(disks)
    }

    #[test]
    fn what_a_host_has_set_is_there_after_a_power_cut() {
        let mut world = start(disks());
        for frame in [
            config(1, FORCE, b"mine"),
            access(2, 2, HOST),
            access(3, 3, HOST),
        ] {
            world.nic(0).deliver(&frame);
        }
        world.settle();
        assert_eq!(answers(&mut world), [1, 2, 3]);
        world.assert_all_frames_are_there();
        let world = cut_power(world);
        let target = &world.node.exports[0].target;
        assert_eq!(target.config_string(), b"mine");
        assert_eq!(target.masks(), [aoe::Mac(HOST)]);
        assert_eq!(target.reservation(), [aoe::Mac(HOST)]);
    }

    #[test]
    fn what_a_killed_node_left_unflushed_is_durable_before_it_is_told_or_written_over() {
        let mut world = World::build("shelf=5")
            .with_disks(disks())
            .state(0)
            .each_disk(|disk| disk.pace = Pace::Manual)
            .start();
        world.nic(0).deliver(&config(1, READ, b""));
        world.settle();
        assert_eq!(world.disk(0).operation(0).op, Op::Flush);
        assert_eq!(answers(&mut world).len(), 0, "it may not last");
        world.disk(0).end_all();
        world.settle();
        assert!(answers(&mut world).contains(&1));
        assert_eq!(world.disk(0).operation(0).op, Op::Write);
    }

    #[test]
    fn no_answer_leaves_before_its_state_is_durable_and_no_question_tells_of_it() {
        let mut world = start(disks());
        world.disk(0).pace = Pace::Manual;
        world.nic(0).deliver(&config(1, FORCE, b"mine"));
        world.settle();
        // The host asks again, and somebody else asks what there is.
        world.nic(0).deliver(&config(2, FORCE, b"mine"));
        world.nic(0).deliver(&config(3, READ, b""));
        world.settle();
        assert_eq!(world.left(0).len(), 0, "not written");
        world.disk(0).end_all();
        world.settle();
        assert_eq!(world.left(0).len(), 0, "not flushed");
        assert_eq!(world.disk(0).operation(0).op, Op::Flush);
        world.disk(0).end_all();
        world.settle();
        assert_eq!(answers(&mut world), [1, 2, 3]);
        world.assert_all_frames_are_there();
    }

    #[test]
    fn what_comes_while_a_copy_is_written_goes_with_the_next() {
        let mut world = start(disks());
        world.disk(0).pace = Pace::Manual;
        world.nic(0).deliver(&config(1, FORCE, b"one"));
        world.settle();
        world.nic(0).deliver(&config(2, FORCE, b"two"));
        world.settle();
        let mut steps = 0;
        while world.disk(0).under_way() > 0 {
            world.disk(0).end_all();
            world.settle();
            steps += 1;
        }
        assert_eq!(steps, 4, "two copies, each with a flush");
        assert_eq!(answers(&mut world), [1, 2]);
        let world = cut_power(world);
        assert_eq!(world.node.exports[0].target.config_string(), b"two");
    }

    #[test]
    fn a_cut_at_any_step_leaves_what_was_answered() {
        for steps in 0..6 {
            let mut world = start(disks());
            world.disk(0).pace = Pace::Manual;
            let mut last = 0;
            for (tag, text) in [(1, b"one"), (2, b"two"), (3, b"tri")] {
                world.nic(0).deliver(&config(tag, FORCE, text));
                world.settle();
            }
            for _ in 0..steps {
                world.disk(0).end_all();
                world.settle();
                last = answers(&mut world).last().copied().unwrap_or(last);
            }
            let world = cut_power(world);
            let found = world.node.exports[0].target.config_string();
            let at_least: &[&[u8]] = match last {
                0 => &[b"", b"one", b"tri"],
                1 => &[b"one", b"tri"],
                _ => &[b"tri"],
            };
            assert!(
                at_least.contains(&found),
                "{steps} steps: {found:?} after answer {last}"
            );
        }
    }

    #[test]
    fn a_boot_disk_that_fails_or_hangs_keeps_nobody_waiting() {
        for hangs in [false, true] {
            let mut world = start(disks());
            world.disk(0).pace = Pace::Manual;
            world.nic(0).deliver(&config(1, FORCE, b"mine"));
            world.settle();
            if hangs {
                world.pass(PATIENCE_US + 1000);
            } else {
                world.disk(0).end(0, Outcome::Medium);
                world.settle();
            }
            assert_eq!(answers(&mut world), [1]);
            assert!(!world.node.keeps_state());
            world.nic(0).deliver(&config(2, FORCE, b"other"));
            world.settle();
            assert_eq!(answers(&mut world), [2]);
            // What comes late is only a frame.
            world.disk(0).end_all();
            world.settle();
            world.assert_all_frames_are_there();
        }
    }

    #[test]
    fn what_was_set_on_a_disk_that_is_away_is_there_when_it_comes_back() {
        let string_of = |world: &World, slot: usize| {
            let target = &world.node.exports[slot].target;
            target.config_string().to_vec()
        };
        let mut three = disks();
        three.push(FakeDisk::new(1, 4096));
        let mut world = start(three);
        let mut theirs = config(1, FORCE, b"theirs");
        theirs[18] = 1;
        world.nic(0).deliver(&theirs);
        world.settle();
        assert_eq!(string_of(&world, 1), b"theirs");
        let mut disks = disks_of(world);
        let away = disks.pop().expect("it is the last");
        // Without it two more copies are written, over both that know of it.
        let mut world = start(disks);
        for (tag, text) in [(2, b"one"), (3, b"two")] {
            world.nic(0).deliver(&config(tag, FORCE, text));
            world.settle();
        }
        assert_eq!(answers(&mut world), [2, 3]);
        let mut disks = disks_of(world);
        disks.push(away);
        let world = start(disks);
        assert_eq!(string_of(&world, 0), b"two");
        assert_eq!(string_of(&world, 1), b"theirs");
    }

    #[test]
    fn a_boot_disk_that_can_not_be_written_keeps_nothing_and_a_warning_says_so() {
        let mut disks = disks();
        disks[0].geometry.read_only = true;
        let mut world = start(disks);
        assert!(!world.node.keeps_state());
        let mut warnings = world.node.warnings();
        assert!(warnings.any(|line| line.contains("lasts until the next restart")));
        drop(warnings);
        world.nic(0).deliver(&config(1, FORCE, b"mine"));
        world.settle();
        assert_eq!(answers(&mut world), [1]);
        assert_eq!(world.disk(0).count("write"), 0);
    }

    #[test]
    fn a_disk_that_comes_while_the_node_runs_has_what_was_set_on_it_and_its_slot() {
        let mut three = disks();
        three.push(FakeDisk::new(1, 4096));
        three.push(FakeDisk::new(2, 4096));
        let mut world = start(three);
        let mut theirs = config(1, FORCE, b"theirs");
        theirs[18] = 2;
        world.nic(0).deliver(&theirs);
        world.settle();
        let mut disks = disks_of(world);
        let [second, first] = [(); 2].map(|()| disks.pop().expect("it was there"));
        disks[0].room = 3;
        let mut world = start(disks);
        let slot_of = |world: &World, export: usize| world.node.exports[export].planned.slot;
        // A stranger gets none of the slots that are kept.
        for disk in [FakeDisk::new(9, 4096), second, first] {
            world.disk(0).coming.push_back(disk);
            world.pass(300_000);
            world.settle();
        }
        assert_eq!([1, 2, 3].map(|export| slot_of(&world, export)), [3, 2, 1]);
        assert_eq!(world.node.exports[2].target.config_string(), b"theirs");
        assert!(world.node.keeper.away().is_empty());
        // And all of it is kept again.
        let world = start(disks_of(world));
        let slots: Vec<u8> = (0..4).map(|export| slot_of(&world, export)).collect();
        assert_eq!(slots, [0, 1, 2, 3]);
        assert_eq!(world.node.exports[2].target.config_string(), b"theirs");
    }

    #[test]
    fn a_disk_that_joins_moves_no_other() {
        let world = start(disks());
        let slot_of = |world: &World, serial: &str| {
            let exports = &mut world.node.exports.iter();
            let is_it = |export: &&crate::Export| {
                let station = &world.node.stations[usize::from(export.volume.disk)];
                station.disk.identity.serial.as_str() == serial
            };
            exports.find(is_it).map(|export| export.planned.slot)
        };
        assert_eq!(slot_of(&world, "S0"), Some(0));
        let mut disks = disks_of(world);
        disks.insert(1, FakeDisk::new(3, 4096));
        let world = start(disks);
        assert_eq!(slot_of(&world, "S0"), Some(0));
        assert_eq!(slot_of(&world, "S3"), Some(1));
    }
}
