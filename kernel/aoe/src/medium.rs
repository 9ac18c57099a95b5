//! What a target must know of the disk behind it, and of its operator's wishes.
//!
//! Plain values, set by whoever owns the disk. What IDENTIFY says is made from
//! them, and so they must be true.

use crate::Mac;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// When it would survive a power cut.
    WriteThrough,
    /// When the disk has taken it; FLUSH CACHE makes it durable.
    WriteBack,
}

/// What the disk says of its own health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// It expects to fail soon.
    pub failing: bool,
}

/// Size and habits of the sectors behind a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Medium {
    /// Capacity in sectors of 512 bytes. IDENTIFY can say up to 2^48 - 1.
    pub sectors: u64,
    /// A physical block is `1 << physical_exponent` sectors (3 for 4 KiB).
    pub physical_exponent: u8,
    /// Sectors from LBA 0 back to the start of the physical block it lies in.
    pub alignment_offset: u16,
    /// Writes and discards are refused.
    pub read_only: bool,
    /// What the operator chose. SET FEATURES may choose the safer one for a while.
    pub cache: Cache,
    /// The disk can discard, so DATA SET MANAGEMENT is offered.
    pub discard: bool,
    /// `None` if the disk does not say: then SMART is not claimed.
    pub health: Option<Health>,
    /// Serial number: ASCII padded with spaces (ATA8-ACS 7.16, words 10-19).
    pub serial: [u8; 20],
    /// Model (words 27-46).
    pub model: [u8; 40],
    /// Firmware revision (words 23-26).
    pub firmware: [u8; 8],
}

/// How failures of a command are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Errors {
    /// In the ATA registers of an answer.
    #[default]
    Ata,
    /// By silence, for initiators that take every answer for a success.
    Silent,
}

/// The operator's wishes for one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy<'a> {
    /// How failures are told.
    pub errors: Errors,
    /// The part of the mask list that no initiator can take away. What is beyond
    /// [`MASKS_MAX`](crate::limits::MASKS_MAX) finds no room and stays outside.
    pub masks: &'a [Mac],
}
