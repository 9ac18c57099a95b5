//! What the hosts want of the disks.
//!
//! Each host has windows of sectors. A private window is its own: it never asks
//! twice at once for a sector there if one of the two is a write, as a file
//! system would not, and its writes can be strict. In the shared window everybody
//! does as he likes, and only the order of arrival counts.

use crate::content;
use crate::random::Random;

/// A run of sectors.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// First sector.
    pub first: u64,
    /// How many.
    pub sectors: u64,
    /// Whether others write here too.
    pub shared: bool,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Sectors from the disk.
    Read,
    /// Sectors to the disk, each filled with a pattern of this name and up.
    Write {
        /// The first sector's name.
        name: u64,
    },
}

/// One wish.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// What.
    pub kind: JobKind,
    /// First sector.
    pub lba: u64,
    /// How many.
    pub sectors: u64,
    /// Whether the writes of this job can be strict.
    pub private: bool,
}

impl Job {
    /// The bytes of `sectors` sectors of a write, from sector `from` on.
    pub fn data(&self, from: u64, sectors: u64) -> Vec<u8> {
        let JobKind::Write { name } = self.kind else {
            return Vec::new();
        };
        (from..from + sectors)
            .flat_map(|i| content::pattern(name + i))
            .collect()
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.lba < other.lba + other.sectors && other.lba < self.lba + self.sectors
    }
}

/// A source of jobs.
#[derive(Clone, Debug)]
pub struct Work {
    windows: Vec<Window>,
    /// Writes in a million jobs.
    write_ppm: u32,
    /// A number no other host's writes use.
    names: u64,
    busy: Vec<Job>,
}

impl Work {
    /// Work on `windows`; `host` must be unique to keep the patterns apart.
    pub fn new(host: u64, windows: Vec<Window>, write_ppm: u32) -> Self {
        Self {
            windows,
            write_ppm,
            names: (host + 1) << 40,
            busy: Vec::new(),
        }
    }

    /// The next job, of at most `sectors_max` sectors.
    pub fn next(&mut self, random: &mut Random, sectors_max: u64) -> Option<Job> {
        if self.windows.is_empty() {
            return None;
        }
        // A window can be full of busy sectors: give up after a few tries.
        for _ in 0..4 {
            let window = *random.pick(&self.windows);
            let sectors = random.between(1, sectors_max.min(window.sectors));
            let lba = window.first + random.below(window.sectors - sectors + 1);
            let kind = if random.chance(self.write_ppm) {
                let name = self.names;
                self.names += sectors;
                JobKind::Write { name }
            } else {
                JobKind::Read
            };
            let job = Job {
                kind,
                lba,
                sectors,
                private: !window.shared,
            };
            let clashes = |other: &Job| {
                job.overlaps(other) && (job.kind != JobKind::Read || other.kind != JobKind::Read)
            };
            if window.shared || !self.busy.iter().any(clashes) {
                if job.private {
                    self.busy.push(job);
                }
                return Some(job);
            }
        }
        None
    }

    /// A job of this work ended.
    pub fn done(&mut self, job: &Job) {
        let same = |other: &Job| {
            (other.lba, other.sectors, other.kind) == (job.lba, job.sectors, job.kind)
        };
        if let Some(index) = self.busy.iter().position(same) {
            self.busy.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_jobs_never_clash_and_names_never_repeat() {
        let window = Window {
            first: 100,
            sectors: 32,
            shared: false,
        };
        let mut work = Work::new(3, vec![window], 500_000);
        let mut random = Random::new(1);
        let mut running: Vec<Job> = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            if running.len() > 6 || random.one_in(3) {
                if !running.is_empty() {
                    let job = running.swap_remove(random.below(running.len() as u64) as usize);
                    work.done(&job);
                }
            } else if let Some(job) = work.next(&mut random, 5) {
                assert!(job.lba >= 100 && job.lba + job.sectors <= 132);
                if let JobKind::Write { name } = job.kind {
                    assert!((name..name + job.sectors).all(|name| names.insert(name)));
                    assert!(!running.iter().any(|other| other.overlaps(&job)));
                }
                running.push(job);
            }
        }
    }
}
