//! A disk that is stricter than hardware.
//!
//! Operations take time and end in any order; a write may land in two pieces
//! with a read in between; a failing write leaves any part of itself behind.
//! With a volatile cache, what counts as durable is exactly what the contract
//! says (`io::Op::Flush`): writes that had been *reported done* before the flush
//! was submitted. A power cut keeps, sector by sector, any version that was
//! under way since, in any combination.
//!
//! What a real disk would swallow is a finding here: a request past the end, a
//! write to a read-only disk, data outside the frame, two overlapping writes
//! under way at once, a discard larger than the disk allows.
//!
//! The disk has two halves. [`Spindle`] is the thing itself; it outlives the
//! node. [`Drive`] is the node's end of the cable; it holds the frames, and a
//! crash takes it away. What was submitted but never kicked has not happened.

use crate::content::{self, Sector, Value};
use crate::ledger::{Fault, Ledger};
use crate::random::Random;
use io::{
    DiscardLimits, Done, Frame, Geometry, Identity, Instant, Op, Outcome, Request, SECTOR_BYTES,
    Text, WIRE_BYTES, WriteCache,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// What a read's frame holds until the disk has filled it: if a reply shows it,
/// the node answered too early.
const UNREAD: u8 = 0xdb;

/// Versions of one sector that a power cut chooses from.
const VERSIONS_MAX: usize = 8;

/// What a disk is like.
#[derive(Clone, Debug)]
pub struct DiskPlan {
    /// Capacity.
    pub sectors: u64,
    /// A physical block is `1 << physical_exponent` sectors.
    pub physical_exponent: u8,
    /// Refuses writes.
    pub read_only: bool,
    /// Whether a reported write may be lost.
    pub cache: WriteCache,
    /// Largest discard, if it can.
    pub discard: Option<u32>,
    /// Shortest and longest time of an operation.
    pub latency_us: (u64, u64),
    /// Operations in a million that end with a device fault.
    pub fault_ppm: u32,
    /// Operations in a million that find an unreadable sector.
    pub medium_ppm: u32,
    /// Flushes in a million that fail.
    pub flush_fails_ppm: u32,
    /// Whether a flush that fails throws away what it should have kept.
    pub failed_flush_drops: bool,
    /// Whether a power cut may leave a sector half old, half new.
    pub tears: bool,
}

/// One version of a sector that is in the volatile cache.
struct Version {
    bytes: Box<Sector>,
    /// The job that wrote it.
    job: u64,
    /// When it was reported done, as a number of the disk's own count.
    reported: Option<u64>,
}

/// One operation under way.
struct Job {
    key: u64,
    op: Op,
    lba: u64,
    sectors: u64,
    /// What is written, or what was read.
    data: Vec<u8>,
    /// When the two pieces take effect.
    pieces_at: [u64; 2],
    /// Sectors in the first piece.
    split: u64,
    /// How much of it took effect: 0, 1 or both pieces.
    stage: u8,
    ends_at: u64,
    outcome: Outcome,
    /// For a flush: writes reported up to here are to become durable.
    mark: u64,
}

impl Job {
    fn next_at(&self) -> u64 {
        match self.stage {
            0 => self.pieces_at[0],
            1 => self.pieces_at[1],
            _ => self.ends_at,
        }
    }

    /// Sectors of piece `stage`, counted from the start of the operation.
    fn piece(&self, stage: u8) -> std::ops::Range<u64> {
        let (from, to) = if stage == 0 {
            (0, self.split)
        } else {
            (self.split, self.sectors)
        };
        match self.outcome {
            Outcome::Done => from..to,
            // An operation that fails was cut short somewhere.
            _ => from..to.min(self.split / 2).max(from),
        }
    }

    fn changes(&self) -> bool {
        matches!(self.op, Op::Write | Op::Discard)
    }
}

/// An operation that ended and was not fetched yet.
struct Ended {
    key: u64,
    outcome: Outcome,
    data: Vec<u8>,
    is_write: bool,
    lba: u64,
    sectors: u64,
}

/// The disk itself. See the module's header.
pub struct Spindle {
    number: usize,
    plan: DiskPlan,
    ledger: Rc<Ledger>,
    random: Random,
    /// Sectors on the medium that were ever written.
    medium: BTreeMap<u64, Box<Sector>>,
    /// Versions since the last flush, oldest first.
    cache: BTreeMap<u64, Vec<Version>>,
    /// Sectors that can not be read until they are written.
    unreadable: BTreeSet<u64>,
    jobs: Vec<Job>,
    ended: VecDeque<Ended>,
    /// The soonest moment at which a job moves on.
    next_at: u64,
    keys: u64,
    reports: u64,
    hung_until_us: u64,
    /// Whether errors happen now (they cease at the end of a run).
    pub faulty: bool,
    /// Whether any operation ever ended with an error.
    pub had_errors: bool,
    /// Submitted by the node, not published with a kick.
    pub unpublished: usize,
    /// The capacity changed and nobody has looked yet.
    resized: bool,
    /// The node wants to be woken.
    pub armed: bool,
    /// How often the cache lost something without a power cut.
    pub losses: u64,
    /// Flushes that took effect.
    pub flushes: u64,
    /// Flushes that failed.
    pub flushes_refused: u64,
    /// Writes that took effect.
    pub writes: u64,
}

impl Spindle {
    /// A disk that holds nothing but its pristine patterns.
    pub fn new(number: usize, plan: DiskPlan, ledger: Rc<Ledger>, random: Random) -> Self {
        Self {
            number,
            plan,
            ledger,
            random,
            medium: BTreeMap::new(),
            cache: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            jobs: Vec::new(),
            ended: VecDeque::new(),
            next_at: u64::MAX,
            keys: 0,
            reports: 0,
            hung_until_us: 0,
            faulty: true,
            had_errors: false,
            unpublished: 0,
            resized: false,
            armed: false,
            losses: 0,
            flushes: 0,
            flushes_refused: 0,
            writes: 0,
        }
    }

    /// What the disk is like.
    pub fn plan(&self) -> &DiskPlan {
        &self.plan
    }

    /// A flush that fails drops nothing.
    pub fn keep_all(&mut self) {
        self.plan.failed_flush_drops = false;
    }

    /// Puts a new capacity into force.
    pub fn resize(&mut self, sectors: u64) {
        self.plan.sectors = sectors;
        self.resized = true;
    }

    /// Answers nothing until `until_us`.
    pub fn hang(&mut self, until_us: u64) {
        let now_us = self.ledger.now_us();
        self.advance(now_us);
        self.hung_until_us = until_us;
        for job in &mut self.jobs {
            for at in job.pieces_at.iter_mut().chain([&mut job.ends_at]) {
                if *at > now_us && *at < until_us {
                    *at = until_us + self.random.below(500);
                }
            }
            job.pieces_at[1] = job.pieces_at[1].max(job.pieces_at[0]);
            job.ends_at = job.ends_at.max(job.pieces_at[1]);
        }
        self.set_next_at();
    }

    /// When something ends next, or never.
    pub fn next_end_at(&self) -> u64 {
        if self.ended.is_empty() {
            self.jobs
                .iter()
                .map(|job| job.ends_at)
                .min()
                .unwrap_or(u64::MAX)
        } else {
            0
        }
    }

    /// Sectors written with success that a power cut could take away.
    pub fn in_cache(&self) -> usize {
        let is_reported = |version: &Version| version.reported.is_some();
        let versions = self.cache.values();
        versions.filter(|all| all.iter().any(is_reported)).count()
    }

    /// Operations under way.
    pub fn busy(&self) -> usize {
        self.jobs.len() + self.ended.len()
    }

    /// The value of a sector as a read would see it now.
    pub fn value(&self, lba: u64) -> Value {
        content::value(&self.read(lba))
    }

    /// Every sector that was ever written, in order.
    pub fn written(&self) -> Vec<u64> {
        let mut lbas: BTreeSet<u64> = self.medium.keys().copied().collect();
        lbas.extend(self.cache.keys());
        lbas.into_iter().collect()
    }

    /// A reader who asks the disk itself, as the machine does before the node runs.
    pub fn blocks(&self) -> Blocks<'_> {
        Blocks(self)
    }

    /// A disk that was never used, in the place of this one. Nothing may be under way.
    pub fn replace(&mut self) {
        self.medium.clear();
        self.cache.clear();
        self.unreadable.clear();
    }

    /// Writes behind everybody's back: a planted fault's way to the medium.
    pub fn poke(&mut self, lba: u64, bytes: &[u8]) {
        for (i, sector) in content::sectors(bytes).iter().enumerate() {
            let job = self.keys;
            self.write(lba + i as u64, sector, job);
        }
    }

    fn read(&self, lba: u64) -> Sector {
        if let Some(version) = self.cache.get(&lba).and_then(|versions| versions.last()) {
            *version.bytes
        } else if let Some(sector) = self.medium.get(&lba) {
            **sector
        } else {
            content::pristine(self.number, lba)
        }
    }

    fn write(&mut self, lba: u64, sector: &Sector, job: u64) {
        self.unreadable.remove(&lba);
        match self.plan.cache {
            WriteCache::None => {
                self.medium.insert(lba, Box::new(*sector));
            }
            WriteCache::Volatile => {
                let versions = self.cache.entry(lba).or_default();
                // A cache overwrites in place sooner or later; what a later one
                // that was reported covers need not be kept.
                if versions.len() >= VERSIONS_MAX
                    && versions[1..]
                        .iter()
                        .any(|version| version.reported.is_some())
                {
                    versions.remove(0);
                }
                versions.push(Version {
                    bytes: Box::new(*sector),
                    job,
                    reported: None,
                });
            }
        }
    }

    fn check(&self, request: &Request) {
        let Request {
            op, lba, sectors, ..
        } = *request;
        let find = |what: &str| {
            self.ledger
                .find(format!("disk {}: {what}: {request:?}", self.number));
        };
        let sectors = u64::from(sectors);
        let past_end = lba
            .checked_add(sectors)
            .is_none_or(|end| end > self.plan.sectors);
        match op {
            Op::Flush if sectors != 0 => find("a flush names sectors"),
            Op::Flush => {}
            _ if sectors == 0 => find("an operation on no sectors"),
            // A disk that just shrank may see requests checked before.
            _ if past_end && !self.resized => find("a request past the end"),
            _ => {}
        }
        let data_end = usize::from(request.data) + sectors as usize * SECTOR_BYTES;
        if matches!(op, Op::Read | Op::Write) && data_end > WIRE_BYTES {
            find("data outside the frame");
        }
        if matches!(op, Op::Write | Op::Discard) {
            if self.plan.read_only {
                find("a change of a read-only disk");
            }
            let overlaps = |job: &&Job| {
                job.changes() && job.lba < lba + sectors && lba < job.lba + job.sectors
            };
            if let Some(job) = self.jobs.iter().find(overlaps) {
                find(&format!(
                    "overlaps a {:?} of {} sectors at {} that is under way",
                    job.op, job.sectors, job.lba
                ));
            }
        }
        if op == Op::Discard {
            match self.plan.discard {
                None => find("a discard that was never offered"),
                Some(most) if sectors > most.into() => find("a discard larger than allowed"),
                Some(_) => {}
            }
        }
    }

    /// Begins an operation. Returns its key.
    fn begin(&mut self, request: &Request, data: Vec<u8>) -> u64 {
        self.check(request);
        let now_us = self.ledger.now_us();
        let key = self.keys;
        self.keys += 1;
        let sectors = u64::from(request.sectors);
        let (shortest, longest) = self.plan.latency_us;
        // One operation in sixteen is a straggler.
        let latency = if self.random.one_in(16) {
            self.random.between(longest, longest * 8)
        } else {
            self.random.between(shortest, longest)
        };
        let starts_at = now_us.max(self.hung_until_us);
        let ends_at = starts_at + latency.max(1);
        let first_at = self.random.between(starts_at, ends_at);
        let outcome = self.outcome_of(request);
        self.jobs.push(Job {
            key,
            op: request.op,
            lba: request.lba,
            sectors,
            data,
            pieces_at: [first_at, self.random.between(first_at, ends_at)],
            split: self.random.below(sectors + 1),
            stage: 0,
            ends_at,
            outcome,
            mark: self.reports,
        });
        self.set_next_at();
        self.ledger.say(|| {
            let name = self.jobs.last().and_then(|job| job.data.first_chunk::<8>());
            let name = name.map_or(0, |name| u64::from_le_bytes(*name));
            format!(
                "disk {} begins {:?} of {sectors} at {}, job {key}, {name:x}",
                self.number, request.op, request.lba
            )
        });
        self.ledger
            .note(0xd0 + request.op as u64, request.lba << 8 | sectors);
        key
    }

    fn outcome_of(&mut self, request: &Request) -> Outcome {
        let range = request.lba..request.lba + u64::from(request.sectors);
        if request.op == Op::Read && self.unreadable.range(range.clone()).next().is_some() {
            return Outcome::Medium;
        }
        if range.end > self.plan.sectors {
            return Outcome::Fault;
        }
        if !self.faulty {
            return Outcome::Done;
        }
        let plan = &self.plan;
        if request.op == Op::Flush {
            if self.random.chance(plan.flush_fails_ppm) {
                self.ledger.count(Fault::FlushFailed);
                self.flushes_refused += 1;
                self.had_errors = true;
                return Outcome::Fault;
            }
        } else if self.random.chance(plan.fault_ppm) {
            self.ledger.count(Fault::DiskFault);
            self.had_errors = true;
            return Outcome::Fault;
        } else if request.op != Op::Discard && self.random.chance(plan.medium_ppm) {
            self.ledger.count(Fault::MediumError);
            self.had_errors = true;
            let bad = self.random.below(request.sectors.into());
            self.unreadable.insert(request.lba + bad);
            return Outcome::Medium;
        }
        Outcome::Done
    }

    fn set_next_at(&mut self) {
        self.next_at = self.jobs.iter().map(Job::next_at).min().unwrap_or(u64::MAX);
    }

    /// Lets everything happen that is due.
    fn advance(&mut self, now_us: u64) {
        while self.next_at <= now_us {
            let index = (0..self.jobs.len())
                .min_by_key(|&i| (self.jobs[i].next_at(), self.jobs[i].key))
                .expect("something is due");
            if self.jobs[index].stage < 2 {
                let stage = self.jobs[index].stage;
                self.jobs[index].stage += 1;
                self.take_effect(index, stage);
            } else {
                let job = self.jobs.remove(index);
                self.ledger.say(|| {
                    format!(
                        "disk {} ends job {}: {:?}",
                        self.number, job.key, job.outcome
                    )
                });
                if self.jobs.iter().any(|other| other.key < job.key) {
                    self.ledger.count(Fault::OutOfOrder);
                }
                self.ended.push_back(Ended {
                    key: job.key,
                    outcome: job.outcome,
                    is_write: job.op == Op::Write,
                    lba: job.lba,
                    sectors: job.sectors,
                    data: job.data,
                });
            }
            self.set_next_at();
        }
    }

    fn take_effect(&mut self, index: usize, stage: u8) {
        let job = &self.jobs[index];
        let (op, key, lba, mark) = (job.op, job.key, job.lba, job.mark);
        let piece = job.piece(stage);
        match op {
            Op::Read => {
                for i in piece {
                    let sector = self.read(lba + i);
                    let at = i as usize * SECTOR_BYTES;
                    self.jobs[index].data[at..at + SECTOR_BYTES].copy_from_slice(&sector);
                }
            }
            Op::Write => {
                let data = std::mem::take(&mut self.jobs[index].data);
                for i in piece {
                    let sector = content::sectors(&data)[i as usize];
                    self.write(lba + i, &sector, key);
                }
                self.jobs[index].data = data;
                self.writes += u64::from(stage);
            }
            Op::Flush if stage == 0 && self.jobs[index].outcome == Outcome::Done => {
                self.commit(mark);
                self.flushes += 1;
            }
            Op::Flush if stage == 0 && self.plan.failed_flush_drops => self.drop_cache(),
            Op::Flush => {}
            Op::Discard => {
                let zeros = [0; SECTOR_BYTES];
                for i in piece {
                    // Advice: the disk may do nothing about a sector.
                    if !self.random.one_in(4) {
                        self.write(lba + i, &zeros, key);
                    }
                }
            }
        }
    }

    /// Makes durable what was reported up to `mark`, and nothing else.
    fn commit(&mut self, mark: u64) {
        let medium = &mut self.medium;
        self.cache.retain(|&lba, versions| {
            let last = versions
                .iter()
                .rposition(|version| version.reported.is_some_and(|at| at <= mark));
            if let Some(last) = last {
                let durable = versions.drain(..=last).next_back();
                medium.insert(lba, durable.expect("the range is not empty").bytes);
            }
            !versions.is_empty()
        });
    }

    /// Throws away everything, as a host does whose page cache could not be written:
    /// also what is still under way and has reached the cache. None of it was ever
    /// acknowledged; a node that takes the failure for a success, or lets the next
    /// flush stand for this one, loses it.
    fn drop_cache(&mut self) {
        self.losses += 1;
        self.cache.clear();
    }

    /// Whether the node was told of everything that ended.
    pub fn is_fetched(&self) -> bool {
        self.ended.is_empty()
    }

    /// The next operation that ended.
    fn fetch(&mut self) -> Option<Ended> {
        self.advance(self.ledger.now_us());
        let ended = self.ended.pop_front()?;
        if ended.is_write && ended.outcome == Outcome::Done {
            self.reports += 1;
            let reported = self.reports;
            for lba in ended.lba..ended.lba + ended.sectors {
                let mut versions = self.cache.get_mut(&lba).into_iter().flatten().rev();
                if let Some(version) = versions.find(|version| version.job == ended.key) {
                    version.reported = Some(reported);
                }
            }
        }
        Some(ended)
    }

    /// The node died: of what is under way any part happens, then silence.
    pub fn lose_the_node(&mut self) {
        self.advance(self.ledger.now_us());
        for job in std::mem::take(&mut self.jobs) {
            if job.op != Op::Write || job.outcome != Outcome::Done {
                continue;
            }
            for (i, sector) in content::sectors(&job.data).iter().enumerate() {
                let landed = match job.stage {
                    0 => 0..0,
                    1 => 0..job.split,
                    _ => 0..job.sectors,
                };
                if !landed.contains(&(i as u64)) && self.random.one_in(2) {
                    self.write(job.lba + i as u64, sector, job.key);
                }
            }
        }
        self.ended.clear();
        self.unpublished = 0;
        self.armed = false;
        self.set_next_at();
    }

    /// The power fails: of what is not durable any combination stays. Returns
    /// the sectors that were torn, with the value they have now.
    pub fn lose_the_power(&mut self) -> Vec<(u64, Value)> {
        self.lose_the_node();
        let mut torn = Vec::new();
        for (lba, versions) in std::mem::take(&mut self.cache) {
            let kept = self.random.below(versions.len() as u64 + 1) as usize;
            let old = self
                .medium
                .get(&lba)
                .map_or_else(|| content::pristine(self.number, lba), |sector| **sector);
            if kept < versions.len() {
                self.ledger.count(Fault::CacheLost);
            }
            // Sector by sector the medium is atomic, but for one that was being
            // written at that very moment.
            if self.plan.tears && torn.is_empty() && self.random.one_in(8) {
                let new = &versions[kept.saturating_sub(1)].bytes;
                let cut = self.random.between(1, 63) as usize * 8;
                let mut sector = old;
                sector[..cut].copy_from_slice(&new[..cut]);
                self.ledger.say(|| {
                    let name = |s: &Sector| u64::from_le_bytes(*s.first_chunk().expect("long"));
                    let (old, new) = (name(&old), name(new));
                    format!(
                        "disk {}: sector {lba} torn, {old:x} and {new:x}",
                        self.number
                    )
                });
                torn.push((lba, content::value(&sector)));
                self.ledger.count(Fault::TornSector);
                self.medium.insert(lba, Box::new(sector));
            } else if let Some(index) = kept.checked_sub(1) {
                self.medium.insert(lba, versions[index].bytes.clone());
            }
        }
        self.hung_until_us = 0;
        torn
    }

    /// Ends the faults of a run: nothing fails, hangs or is unreadable any more.
    pub fn heal(&mut self) {
        self.faulty = false;
        self.unreadable.clear();
        self.hung_until_us = 0;
        let now_us = self.ledger.now_us();
        for job in &mut self.jobs {
            let latest = now_us + 2_000;
            for at in job.pieces_at.iter_mut().chain([&mut job.ends_at]) {
                *at = (*at).min(latest);
            }
        }
        self.set_next_at();
    }
}

/// See [`Spindle::blocks`].
pub struct Blocks<'a>(&'a Spindle);

impl node::media::Blocks for Blocks<'_> {
    fn sectors(&self) -> u64 {
        self.0.plan.sectors
    }

    fn read(&mut self, lba: u64, sector: &mut Sector) -> Result<(), node::media::Unread> {
        *sector = self.0.read(lba);
        Ok(())
    }
}

/// The node's end of the cable to a [`Spindle`].
pub struct Drive {
    spindle: Rc<RefCell<Spindle>>,
    geometry: Geometry,
    identity: Identity,
    backlog: Vec<(Request, Frame)>,
    lent: Vec<(u64, Request, Frame)>,
    name: String,
}

impl Drive {
    /// Plugs the node in; to the node it is disk `number`.
    pub fn new(number: usize, spindle: &Rc<RefCell<Spindle>>) -> Self {
        let geometry = {
            let mut inner = spindle.borrow_mut();
            inner.resized = false;
            geometry_of(&inner.plan)
        };
        Self {
            spindle: spindle.clone(),
            geometry,
            identity: Identity {
                serial: Text::format(format_args!("SIM{number:04}")),
                model: Text::new("simulated disk"),
                firmware: Text::new("1"),
            },
            backlog: Vec::new(),
            lent: Vec::new(),
            name: format!("00:{:02x}.0 sim-disk", 0x10 + number),
        }
    }

    /// The disk at the other end.
    pub fn spindle(&self) -> &Rc<RefCell<Spindle>> {
        &self.spindle
    }
}

fn geometry_of(plan: &DiskPlan) -> Geometry {
    Geometry {
        sectors: plan.sectors,
        physical_exponent: plan.physical_exponent,
        alignment_offset: 0,
        read_only: plan.read_only,
        write_cache: plan.cache,
        discard: plan
            .discard
            .map(|sectors_max| DiscardLimits { sectors_max }),
    }
}

impl io::Disk for Drive {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn submit(&mut self, request: Request, mut frame: Frame) {
        if request.op == Op::Read {
            let from = usize::from(request.data).min(WIRE_BYTES);
            let to = (from + request.sectors as usize * SECTOR_BYTES).min(WIRE_BYTES);
            frame.buffer_mut()[from..to].fill(UNREAD);
        }
        // Writes are looked up by their ticket; other marks may be shared.
        let same = |other: &Request| {
            request.op == Op::Write && other.op == Op::Write && other.ticket == request.ticket
        };
        if self.lent.iter().any(|(_, other, _)| same(other))
            || self.backlog.iter().any(|(other, _)| same(other))
        {
            let ledger = self.spindle.borrow().ledger.clone();
            ledger.find(format!("a ticket is used twice at once: {request:?}"));
        }
        self.backlog.push((request, frame));
        self.spindle.borrow_mut().unpublished += 1;
    }

    fn poll_done(&mut self) -> Option<Done> {
        let ended = self.spindle.borrow_mut().fetch()?;
        let index = self
            .lent
            .iter()
            .position(|(key, ..)| *key == ended.key)
            .expect("a job of this drive");
        let (_, request, mut frame) = self.lent.swap_remove(index);
        if request.op == Op::Read && ended.outcome == Outcome::Done {
            let from = usize::from(request.data);
            frame.buffer_mut()[from..from + ended.data.len()].copy_from_slice(&ended.data);
        }
        Some(Done {
            request,
            outcome: ended.outcome,
            frame,
        })
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let lent = self.lent.iter().map(|(_, request, frame)| (request, frame));
        let backlog = self.backlog.iter().map(|(request, frame)| (request, frame));
        lent.chain(backlog)
            .find(|(request, _)| request.ticket == ticket)
            .map(|(_, frame)| look(frame))
    }

    fn kick(&mut self) {
        for (request, mut frame) in self.backlog.drain(..) {
            let bytes = request.sectors as usize * SECTOR_BYTES;
            let data = match request.op {
                Op::Write => {
                    let from = usize::from(request.data).min(WIRE_BYTES);
                    let to = (from + bytes).min(WIRE_BYTES);
                    let mut data = frame.buffer_mut()[from..to].to_vec();
                    data.resize(bytes, UNREAD);
                    data
                }
                Op::Read => vec![UNREAD; bytes],
                Op::Flush | Op::Discard => Vec::new(),
            };
            let key = self.spindle.borrow_mut().begin(&request, data);
            self.lent.push((key, request, frame));
        }
        self.spindle.borrow_mut().unpublished = 0;
    }

    fn tick(&mut self, _now: Instant) -> bool {
        let mut spindle = self.spindle.borrow_mut();
        let geometry = geometry_of(&spindle.plan);
        spindle.resized = false;
        std::mem::replace(&mut self.geometry, geometry) != geometry
    }

    fn arm(&mut self) -> bool {
        let mut spindle = self.spindle.borrow_mut();
        spindle.armed = true;
        let now_us = spindle.ledger.now_us();
        spindle.advance(now_us);
        !spindle.ended.is_empty()
    }

    fn disarm(&mut self) {
        self.spindle.borrow_mut().armed = false;
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io::Disk;

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
}
