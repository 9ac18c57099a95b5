//! What hosts asked, what a disk stored and flushed, and what was answered, in the
//! order in which it happened; and whether a power cut could ever have shown.
//!
//! Every entry is a cut point. After each, a sector holds what was last made
//! durable or anything stored since, for a volatile cache may lose or keep what it
//! likes. All of that must be allowed: what the last answered write of the sector
//! put there, or a write asked for after it.

use crate::pattern::SECTOR_BYTES;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hasher};

/// What a sector's bytes come down to.
pub type Digest = u64;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A write passed by on its way to the node, perhaps not for the first time.
    Asked {
        /// Whose, and its tag.
        request: Request,
        /// First sector.
        lba: u64,
        /// Each sector's digest.
        sectors: Vec<Digest>,
    },
    /// The disk has taken a write into its cache.
    Stored {
        /// First sector.
        lba: u64,
        /// Each sector's digest.
        sectors: Vec<Digest>,
    },
    /// A flush has begun: it covers what was stored by now.
    FlushBegun(u64),
    /// It has ended, well.
    FlushDone(u64),
    /// A good answer passed by on its way to the host.
    Answered(Request),
}

/// A request: its host's address and its tag.
pub type Request = ([u8; 6], u32);

/// Digests of whole sectors.
pub fn digests(bytes: &[u8]) -> Vec<Digest> {
    bytes.chunks(SECTOR_BYTES).map(digest).collect()
}

/// The digest of a sector.
pub fn digest(sector: &[u8]) -> Digest {
    let mut hasher = DefaultHasher::new();
    hasher.write(sector);
    hasher.finish()
}

/// What may be there, and what could be.
struct Sector {
    /// Writes that may be seen, by when they were first asked for.
    allowed: Vec<(usize, Digest)>,
    durable: Digest,
    /// In the cache, by when it was stored.
    cached: Vec<(usize, Digest)>,
}

/// What a walk through the journal has found.
pub struct Walk {
    sectors: BTreeMap<u64, Sector>,
    /// Cut points at which nothing was wrong.
    pub cuts: usize,
    /// Writes that were answered.
    pub answered: usize,
}

/// Walks through `journal` of a disk that was empty. The error is a sentence about
/// the first cut that would have shown something it may not.
pub fn walk(journal: &[Entry]) -> Result<Walk, String> {
    let mut walk = Walk {
        sectors: BTreeMap::new(),
        cuts: 0,
        answered: 0,
    };
    let mut asked: HashMap<Request, (usize, u64, Vec<Digest>)> = HashMap::new();
    let mut flushes: HashMap<u64, usize> = HashMap::new();
    // What was there before is older than the first entry.
    for (now, entry) in (1..).zip(journal) {
        match entry {
            Entry::Asked {
                request,
                lba,
                sectors,
            } => {
                // A request that is sent again is no new one.
                if asked.contains_key(request) {
                    continue;
                }
                asked.insert(*request, (now, *lba, sectors.clone()));
                for (lba, digest) in (*lba..).zip(sectors) {
                    walk.sector(lba).allowed.push((now, *digest));
                }
            }
            Entry::Stored { lba, sectors } => {
                for (lba, digest) in (*lba..).zip(sectors) {
                    let sector = walk.sector(lba);
                    sector.cached.push((now, *digest));
                    sector.check(lba, now)?;
                }
            }
            Entry::FlushBegun(flush) => {
                flushes.insert(*flush, now);
            }
            Entry::FlushDone(flush) => {
                let begun = flushes.remove(flush).unwrap_or(0);
                for sector in walk.sectors.values_mut() {
                    sector.flush(begun);
                }
            }
            Entry::Answered(request) => {
                let Some((since, lba, sectors)) = asked.remove(request) else {
                    continue;
                };
                walk.answered += 1;
                for lba in lba..lba + sectors.len() as u64 {
                    let sector = walk.sector(lba);
                    sector.allowed.retain(|(at, _)| *at >= since);
                    sector.check(lba, now)?;
                }
            }
        }
        walk.cuts += 1;
    }
    Ok(walk)
}

impl Walk {
    fn sector(&mut self, lba: u64) -> &mut Sector {
        let empty = digest(&[0; SECTOR_BYTES]);
        self.sectors.entry(lba).or_insert(Sector {
            allowed: vec![(0, empty)],
            durable: empty,
            cached: Vec::new(),
        })
    }

    /// Whether the sector may hold this now.
    pub fn allows(&mut self, lba: u64, bytes: &[u8]) -> bool {
        let digest = digest(bytes);
        let allowed = &self.sector(lba).allowed;
        allowed.iter().any(|(_, other)| *other == digest)
    }
}

impl Sector {
    fn flush(&mut self, begun: usize) {
        let covered = self.cached.iter().take_while(|(at, _)| *at < begun).count();
        if let Some((_, last)) = self.cached.drain(..covered).next_back() {
            self.durable = last;
        }
    }

    /// Is everything that a power cut could leave here allowed?
    fn check(&self, lba: u64, now: usize) -> Result<(), String> {
        let allows = |digest: Digest| self.allowed.iter().any(|(_, other)| *other == digest);
        if !allows(self.durable) {
            return Err(format!(
                "a power cut after entry {now} loses what was answered for sector {lba}: \
                 {} newer versions are in the cache and none is durable",
                self.cached.len()
            ));
        }
        match self.cached.iter().find(|(_, digest)| !allows(*digest)) {
            None => Ok(()),
            Some((at, _)) => Err(format!(
                "after entry {now} the cache holds, from entry {at}, an old copy of sector {lba} \
                 that a newer answered write had overwritten"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn asked(tag: u32, digest: Digest) -> Entry {
        Entry::Asked {
            request: (HOST, tag),
            lba: 7,
            sectors: vec![digest],
        }
    }

    fn stored(digest: Digest) -> Entry {
        Entry::Stored {
            lba: 7,
            sectors: vec![digest],
        }
    }

    fn answered(tag: u32) -> Entry {
        Entry::Answered((HOST, tag))
    }

    #[test]
    fn an_answer_after_a_flush_that_covers_the_write_is_fine() {
        let journal = [
            asked(1, 10),
            stored(10),
            Entry::FlushBegun(1),
            Entry::FlushDone(1),
            answered(1),
        ];
        let walk = walk(&journal).expect("nothing is lost");
        assert_eq!((walk.cuts, walk.answered), (5, 1));
    }

    #[test]
    fn an_answer_before_its_flush_is_found() {
        let mut journal = vec![asked(1, 10), stored(10), answered(1)];
        assert!(walk(&journal).is_err());
        // A flush that began before the write does not cover it.
        journal.splice(1..1, [Entry::FlushBegun(1)]);
        journal.insert(3, Entry::FlushDone(1));
        assert!(walk(&journal).is_err());
    }

    #[test]
    fn an_old_copy_that_comes_back_after_a_newer_answer_is_found() {
        let mut journal = vec![asked(1, 10), stored(10), asked(2, 20), stored(20)];
        journal.extend([Entry::FlushBegun(1), Entry::FlushDone(1)]);
        journal.extend([answered(1), answered(2)]);
        assert!(walk(&journal).is_ok());
        journal.push(stored(10));
        assert!(walk(&journal).is_err());
    }

    #[test]
    fn a_write_that_was_never_answered_may_be_there_or_not() {
        let journal = [asked(1, 10), stored(10), asked(1, 10)];
        assert!(walk(&journal).is_ok());
    }
}
