//! An operation under way, and what it leaves in a volatile cache.

use crate::content::Sector;
use io::{Op, Outcome};

/// One version of a sector that is in the volatile cache.
pub(super) struct Version {
    pub(super) bytes: Box<Sector>,
    /// The job that wrote it.
    pub(super) job: u64,
    /// When it was reported done, as a number of the disk's own count.
    pub(super) reported: Option<u64>,
}

/// One operation under way.
pub(super) struct Job {
    pub(super) key: u64,
    pub(super) op: Op,
    pub(super) lba: u64,
    pub(super) sectors: u64,
    /// What is written, or what was read.
    pub(super) data: Vec<u8>,
    /// When the two pieces take effect.
    pub(super) pieces_at: [u64; 2],
    /// Sectors in the first piece.
    pub(super) split: u64,
    /// How much of it took effect: 0, 1 or both pieces.
    pub(super) stage: u8,
    pub(super) ends_at: u64,
    pub(super) outcome: Outcome,
    /// A write that began in the mode that writes through, and has seen no switch.
    pub(super) is_through: bool,
    /// For a flush: writes reported up to here are to become durable.
    pub(super) mark: u64,
}

impl Job {
    pub(super) fn next_at(&self) -> u64 {
        match self.stage {
            0 => self.pieces_at[0],
            1 => self.pieces_at[1],
            _ => self.ends_at,
        }
    }

    /// Sectors of piece `stage`, counted from the start of the operation.
    pub(super) fn piece(&self, stage: u8) -> std::ops::Range<u64> {
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

    pub(super) fn changes(&self) -> bool {
        matches!(self.op, Op::Write | Op::Discard)
    }
}

/// An operation that ended and was not fetched yet.
pub(super) struct Ended {
    pub(super) key: u64,
    pub(super) outcome: Outcome,
    pub(super) data: Vec<u8>,
    pub(super) is_write: bool,
    pub(super) is_through: bool,
    pub(super) lba: u64,
    pub(super) sectors: u64,
}
