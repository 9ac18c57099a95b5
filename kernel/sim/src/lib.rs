//! The world around the node: seeded, single-threaded, in virtual time.
//!
//! The node's own crates run unchanged; networks, disks, hosts and time are
//! models that do what real ones do on their worst days. An [`oracle`] stands at
//! the node's cards and knows for each sector what it may hold and for each
//! request what may be answered. README.md says what is promised and what is not.
//!
//! ```no_run
//! let report = sim::run(42, &sim::Options::default());
//! assert!(report.finding.is_none(), "{report}");
//! ```

#![deny(unsafe_code)]

pub mod agenda;
pub mod content;
pub mod disk;
pub mod driver;
pub mod history;
pub mod initiator;
pub mod ledger;
#[expect(
    unsafe_code,
    reason = "memory that dies with the node and is used again"
)]
pub mod models;
pub mod mutants;
pub mod network;
pub mod oracle;
pub mod plain;
pub mod random;
pub mod wire;
pub mod world;

pub use ledger::{FAULTS, Fault, Finding};
pub use mutants::Mutant;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How a seed is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Virtual microseconds of trouble, on average.
    pub trouble_us: u64,
    /// A planted fault.
    pub mutant: Option<Mutant>,
    /// Tells on standard output what happens.
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trouble_us: 2_000_000,
            mutant: None,
            verbose: false,
        }
    }
}

/// What came of a run, or of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The broken promise, if one was.
    pub finding: Option<Finding>,
    /// The digest of everything that happened, in order.
    pub trace_hash: u64,
    /// Virtual time that passed.
    pub virtual_us: u64,
    /// How often the node started.
    pub boots: u64,
    /// Frames that the node took.
    pub requests: u64,
    /// Frames that the node sent.
    pub replies: u64,
    /// Sectors read and checked.
    pub sectors_read: u64,
    /// Sectors whose write was acknowledged.
    pub sectors_written: u64,
    /// Flushes that took effect at a disk.
    pub flushes: u64,
    /// Writes that took effect at a disk.
    pub writes: u64,
    /// Those of them that were durable when they ended, by the node's choice.
    pub through: u64,
    /// Commands that ended for their host.
    pub completed: u64,
    /// Copies of writes that came after their host had its answer.
    pub late_copies: u64,
    /// Faults, by [`Fault`].
    pub faults: [u64; FAULTS],
    /// What the node counted, by name.
    pub events: BTreeMap<String, u64>,
}

impl Report {
    /// Adds the figures of another run.
    pub fn add(&mut self, other: &Self) {
        self.virtual_us += other.virtual_us;
        self.boots += other.boots;
        self.requests += other.requests;
        self.replies += other.replies;
        self.sectors_read += other.sectors_read;
        self.sectors_written += other.sectors_written;
        self.flushes += other.flushes;
        self.writes += other.writes;
        self.through += other.through;
        self.completed += other.completed;
        self.late_copies += other.late_copies;
        for (sum, count) in self.faults.iter_mut().zip(other.faults) {
            *sum += count;
        }
        for (name, count) in &other.events {
            *self.events.entry(name.clone()).or_default() += count;
        }
        if self.finding.is_none() && other.finding.is_some() {
            self.finding.clone_from(&other.finding);
            self.seed = other.seed;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(finding) = &self.finding {
            writeln!(f, "seed {}: {finding}", self.seed)?;
            writeln!(f, "replay it with: sim {}", self.seed)?;
        }
        writeln!(
            f,
            "{} requests, {} replies, {} commands of hosts ended",
            self.requests, self.replies, self.completed
        )?;
        writeln!(
            f,
            "{} sectors read and checked, {} sectors written; {} disk writes, {} of them written \
             through, {} flushes",
            self.sectors_read, self.sectors_written, self.writes, self.through, self.flushes
        )?;
        writeln!(
            f,
            "{} starts of the node, {} s of virtual time",
            self.boots,
            self.virtual_us / 1_000_000
        )?;
        writeln!(
            f,
            "{} copies of writes came after their host had its answer",
            self.late_copies
        )?;
        writeln!(f, "faults:")?;
        for (fault, count) in Fault::ALL.iter().zip(self.faults) {
            writeln!(f, "  {count:>10}  {fault:?}")?;
        }
        writeln!(f, "events of the node:")?;
        for (name, count) in &self.events {
            writeln!(f, "  {count:>10}  {name}")?;
        }
        Ok(())
    }
}

thread_local! {
    /// The seed that this thread runs.
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Lets a panic say which seed it happened in and how to replay it: a node that
/// panics is a finding too, and the process ends with it.
pub fn name_the_seed_in_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if let Some(seed) = SEED.get() {
            eprintln!("seed {seed} panicked, replay it with: sim {seed}");
        }
        before(info);
    }));
}

/// Runs one seed.
pub fn run(seed: u64, options: &Options) -> Report {
    SEED.set(Some(seed));
    world::World::new(seed, options).run(seed)
}

/// Runs seeds on `threads` threads until one fails or all are done. The sum is
/// the same whatever the threads did, as long as none fails.
pub fn sweep(seeds: std::ops::Range<u64>, threads: usize, options: &Options) -> Report {
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let sum: Mutex<Option<Report>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let report = run(seed, options);
                    if report.finding.is_some() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    let mut sum = sum.lock().expect("no thread panics with it");
                    match &mut *sum {
                        Some(sum) => sum.add(&report),
                        None => *sum = Some(report),
                    }
                }
            });
        }
    });
    sum.into_inner()
        .expect("no thread panics with it")
        .expect("there was a seed")
}

/// How many seeds it took to catch a mutant; `None` if `seeds_max` did not.
pub fn hunt(mutant: Mutant, seeds_max: u64) -> Option<(u64, Finding)> {
    let options = Options {
        mutant: Some(mutant),
        ..Options::default()
    };
    (0..seeds_max).find_map(|seed| run(seed, &options).finding.map(|found| (seed + 1, found)))
}
