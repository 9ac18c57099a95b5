//! The disk itself: what is on it, what is in its cache, what is under way.

use super::DiskPlan;
use super::job::{Ended, Job, Version};
use crate::content::{self, Sector, Value};
use crate::driver::Trip;
use crate::ledger::{Fault, Ledger};
use crate::random::Random;
use io::{Op, Outcome, Request, SECTOR_BYTES, WIRE_BYTES, WriteCache};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// Versions of one sector that a power cut chooses from.
const VERSIONS_MAX: usize = 8;

/// The disk itself. See the module's header.
pub struct Spindle {
    number: usize,
    pub(super) plan: DiskPlan,
    pub(super) ledger: Rc<Ledger>,
    random: Random,
    /// Sectors on the medium that were ever written.
    medium: BTreeMap<u64, Box<Sector>>,
    /// Versions since the last flush, oldest first.
    cache: BTreeMap<u64, Vec<Version>>,
    /// Sectors that can not be read until they are written.
    unreadable: BTreeSet<u64>,
    jobs: Vec<Job>,
    pub(super) ended: VecDeque<Ended>,
    /// The soonest moment at which a job moves on.
    next_at: u64,
    keys: u64,
    reports: u64,
    hung_until_us: u64,
    /// Whether errors happen now (they cease at the end of a run).
    pub faulty: bool,
    /// Whether any operation ever ended with an error.
    pub had_errors: bool,
    /// Its device will do what it must not as soon as it is moved.
    pub trip: Option<Trip>,
    /// Its device is out of service until the next start.
    pub is_out: bool,
    /// Requests that a driver was given and has not given back.
    pub with_driver: usize,
    /// Submitted by the node, not published with a kick.
    pub unpublished: usize,
    /// The capacity changed and nobody has looked yet.
    pub(super) resized: bool,
    /// The node wants to be woken.
    pub armed: bool,
    /// How often the cache lost something without a power cut.
    pub losses: u64,
    /// It writes through now.
    writes_through: bool,
    /// Writes that became durable by that.
    pub through: u64,
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
            trip: None,
            is_out: false,
            with_driver: 0,
            unpublished: 0,
            resized: false,
            armed: false,
            losses: 0,
            writes_through: false,
            through: 0,
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

    /// Begins or ceases to write through. What is under way sees it. False if it does
    /// not write through now.
    pub fn set_write_through(&mut self, on: bool) -> bool {
        let now_us = self.ledger.now_us();
        self.advance(now_us);
        let is_on = on && self.plan.can_write_through && self.plan.cache == WriteCache::Volatile;
        if is_on != self.writes_through {
            self.ledger
                .say(|| format!("disk {}: writes through: {is_on}", self.number));
        }
        self.jobs.iter_mut().for_each(|job| job.is_through = false);
        self.ended
            .iter_mut()
            .for_each(|ended| ended.is_through = false);
        self.writes_through = is_on;
        is_on
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
        self.jobs.len() + self.ended.len() + self.with_driver
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
    pub fn begin(&mut self, request: &Request, data: Vec<u8>) -> u64 {
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
            is_through: request.op == Op::Write && self.writes_through,
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
    pub(super) fn advance(&mut self, now_us: u64) {
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
                // It is a flush that failed as well.
                if job.is_through && job.outcome != Outcome::Done && self.plan.failed_flush_drops {
                    self.drop_cache();
                }
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
                    is_through: job.is_through,
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
        // What has ended by itself is in stable storage, whoever knows of it.
        let through = self.ended.iter().filter(|ended| ended.is_through);
        let through: BTreeSet<u64> = through.map(|ended| ended.key).collect();
        self.cache.retain(|_, versions| {
            versions.retain(|version| through.contains(&version.job));
            !versions.is_empty()
        });
    }

    /// The device lost what it had in its cache, if it is one that does.
    pub fn lose_the_cache(&mut self) {
        self.advance(self.ledger.now_us());
        if self.plan.failed_flush_drops {
            self.drop_cache();
        }
    }

    /// Whether the node was told of everything that ended.
    pub fn is_fetched(&self) -> bool {
        self.ended.is_empty()
    }

    /// The next operation that ended.
    pub(super) fn fetch(&mut self) -> Option<Ended> {
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
            if ended.is_through {
                self.commit_one(&ended);
            }
        }
        Some(ended)
    }

    /// Makes one write durable, as far as it is still in the cache, and no other.
    fn commit_one(&mut self, ended: &Ended) {
        self.through += 1;
        for lba in ended.lba..ended.lba + ended.sectors {
            let Some(versions) = self.cache.get_mut(&lba) else {
                continue;
            };
            let is_it = |version: &Version| version.job == ended.key;
            if let Some(at) = versions.iter().rposition(is_it) {
                let durable = versions.drain(..=at).next_back();
                let durable = durable.expect("the range is not empty");
                self.medium.insert(lba, durable.bytes);
            }
            if versions.is_empty() {
                self.cache.remove(&lba);
            }
        }
    }

    /// Whether something has ended or moves on by now.
    pub fn has_news(&self) -> bool {
        !self.ended.is_empty() || self.next_at <= self.ledger.now_us()
    }

    /// The next operation that ended, for a device: its key, how it went, and what
    /// was read.
    pub fn end_one(&mut self) -> Option<(u64, Outcome, Vec<u8>)> {
        let ended = self.fetch()?;
        Some((ended.key, ended.outcome, ended.data))
    }

    /// The device forgets one operation: any part of it happens, and nobody asks.
    pub fn abandon(&mut self, key: u64) {
        self.advance(self.ledger.now_us());
        self.ended.retain(|ended| ended.key != key);
        if let Some(at) = self.jobs.iter().position(|job| job.key == key) {
            let job = self.jobs.remove(at);
            self.cut_short(&job);
        }
        self.set_next_at();
    }

    /// The device is out of service until the next start.
    pub fn stop(&mut self) {
        self.lose_the_node();
        self.had_errors = true;
        self.flushes_refused += 1;
        self.is_out = true;
    }

    /// Somebody looks at the capacity.
    pub fn look_at_size(&mut self) -> u64 {
        self.resized = false;
        self.plan.sectors
    }

    fn cut_short(&mut self, job: &Job) {
        if job.op != Op::Write || job.outcome != Outcome::Done {
            return;
        }
        let landed = match job.stage {
            0 => 0..0,
            1 => 0..job.split,
            _ => 0..job.sectors,
        };
        for (i, sector) in content::sectors(&job.data).iter().enumerate() {
            if !landed.contains(&(i as u64)) && self.random.one_in(2) {
                self.write(job.lba + i as u64, sector, job.key);
            }
        }
    }

    /// The node died: of what is under way any part happens, then silence.
    pub fn lose_the_node(&mut self) {
        self.advance(self.ledger.now_us());
        for job in std::mem::take(&mut self.jobs) {
            self.cut_short(&job);
        }
        self.ended.clear();
        (self.trip, self.is_out) = (None, false);
        self.writes_through = false;
        (self.unpublished, self.with_driver) = (0, 0);
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
