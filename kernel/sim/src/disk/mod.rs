//! A disk that is stricter than hardware.
//!
//! Operations take time and end in any order; a write may land in two pieces
//! with a read in between; a failing write leaves any part of itself behind.
//! With a volatile cache, what counts as durable is exactly what the contract
//! says (`io::Op::Flush`): writes that had been *reported done* before the flush
//! was submitted. A power cut keeps, sector by sector, any version that was
//! under way since, in any combination. While it writes through, a write that was
//! begun and reported in the mode is durable by itself, and makes no other so.
//!
//! What a real disk would swallow is a finding here: a request past the end, a
//! write to a read-only disk, data outside the frame, two overlapping writes
//! under way at once, a discard larger than the disk allows.
//!
//! The disk has two halves. [`Spindle`] is the thing itself; it outlives the
//! node. [`Drive`] is the node's end of the cable; it holds the frames, and a
//! crash takes it away. What was submitted but never kicked has not happened.

mod drive;
mod job;
mod spindle;
#[cfg(test)]
mod tests;

pub use drive::{Drive, blank};
pub use spindle::{Blocks, Spindle};

use io::WriteCache;

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
    /// Whether it can be told to write through.
    pub can_write_through: bool,
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
