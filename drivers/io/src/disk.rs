//! What the node asks of a disk.

use crate::{Frame, Instant, Text};
use core::fmt::Write;

/// What a disk is told to do. Sectors are 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Fill the frame's data with `sectors` sectors from `lba` on.
    Read,
    /// Write `sectors` sectors of the frame's data to `lba` on.
    Write,
    /// Make every write that was reported done before this submit durable.
    Flush,
    /// The sectors' content is no longer wanted. Advice, ordered by nothing.
    Discard,
}

/// One operation on one disk. The frame that goes with it carries the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub op: Op,
    /// First sector. The caller has checked it against [`Geometry::sectors`].
    pub lba: u64,
    /// How many sectors, at least 1; 0 for a flush.
    pub sectors: u32,
    /// Where the data lies: bytes from the start of the frame's wire bytes.
    /// 36 normally (which is sector-aligned in the slot), 40 behind a VLAN tag.
    pub data: u16,
    /// The caller's own mark, given back in [`Done`].
    pub ticket: u32,
}

impl Request {
    /// The same, put together anew. What is passed to a function that is not in line
    /// lies in memory from its beginning on; a copy made on that way alone leaves the
    /// original in registers.
    #[inline(always)]
    #[must_use]
    pub fn apart(self) -> Self {
        let Self {
            op,
            lba,
            sectors,
            data,
            ticket,
        } = self;
        Self {
            op,
            lba,
            sectors,
            data,
            ticket,
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Whole and well. For a write: in the disk, durable only if the disk has
    /// no volatile cache, after a flush, or by [`Disk::set_write_through`].
    Done,
    /// The medium could not be read or written there (ATA: UNC).
    Medium,
    /// The disk or the way to it is broken (ATA: device fault).
    Fault,
    /// The disk does not know this operation (ATA: ABRT).
    Unsupported,
}

/// An operation that ended, with its frame. Two registers: what was asked is known to
/// whoever asked, by the mark and by what the frame holds.
#[derive(Debug)]
pub struct Done {
    /// The mark of the [`Request`].
    pub ticket: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// The frame that was lent.
    pub frame: Frame,
}

const _: () = assert!(size_of::<Option<Done>>() == 16);

/// Whether the disk may lose an acknowledged write in a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteCache {
    /// A write reported done is durable.
    None,
    /// A write reported done is durable after the next flush.
    Volatile,
}

/// What the disk can forget on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiscardLimits {
    /// Most sectors one [`Op::Discard`] may name, at least 1.
    pub sectors_max: u32,
}

/// Size and habits of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Capacity in sectors of 512 bytes.
    pub sectors: u64,
    /// A physical block is `1 << physical_exponent` sectors (3 for 4 KiB).
    pub physical_exponent: u8,
    /// Sectors from LBA 0 back to the start of the physical block it lies in.
    pub alignment_offset: u16,
    /// Writes are refused by the disk or by the hypervisor.
    pub read_only: bool,
    /// What a reported write is worth.
    pub write_cache: WriteCache,
    /// Present if the disk can discard.
    pub discard: Option<DiscardLimits>,
}

/// Who a disk is. Empty texts where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Serial number, at most 20 characters (ATA IDENTIFY words 10-19).
    pub serial: Text<20>,
    /// Model, at most 40 characters (words 27-46).
    pub model: Text<40>,
    /// Firmware revision, at most 8 characters (words 23-26).
    pub firmware: Text<8>,
    /// World wide name: an NAA, EUI-64 or NGUID, in hexadecimal digits.
    pub wwn: Text<32>,
}

/// The eight or sixteen bytes of a world wide name in digits; a name of zeros is none.
#[cold]
#[inline(never)]
pub fn world_wide_name(bytes: &[u8]) -> Text<32> {
    let mut name = Text::EMPTY;
    if bytes.iter().any(|byte| *byte != 0) {
        for byte in bytes {
            // What is too long for one is cut.
            let _ = write!(name, "{byte:02x}");
        }
    }
    name
}

/// A disk. Frames move by value; only [`Disk::kick`] may touch a doorbell.
/// Operations may end in any order.
pub trait Disk {
    /// Size and habits. May change in [`Disk::tick`] (a disk that grows).
    fn geometry(&self) -> &Geometry;

    /// Who this disk is.
    fn identity(&self) -> &Identity;

    /// Takes the operation and its frame. Seen by the device after the next kick.
    fn submit(&mut self, request: Request, frame: Frame);

    /// The next operation that ended.
    fn poll_done(&mut self) -> Option<Done>;

    /// Looks at the frame of an operation under way: at its wire bytes, which
    /// nobody writes while a write is under way. `None` if there is no such
    /// operation. By a closure, because the frames of several disks may lie in one
    /// queue that they share.
    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R>;

    /// Publishes what was submitted; rings at most one doorbell.
    fn kick(&mut self);

    /// Looks at what changes rarely (capacity, health) and at time limits.
    /// True if the geometry or [`Disk::fails_soon`] changed.
    fn tick(&mut self, now: Instant) -> bool;

    /// Whether the disk says of itself that it will fail soon.
    fn fails_soon(&self) -> bool {
        false
    }

    /// Switches write-through on or off; false if it is off afterwards, as it is at the
    /// start and in a disk that cannot.
    ///
    /// A write that was submitted and reported done while it was on, all the time in
    /// between as well, is durable. What is left out: writes under way when it is
    /// switched, either way, and discards. They need a flush as ever, and
    /// [`Geometry::write_cache`] goes on telling what a write is worth without it.
    /// One that fails may have cost others that were under way, as a failed flush does.
    ///
    /// Costs register accesses. A disk that loses it (its device was moved to another
    /// machine) says so by [`Disk::tick`], and it is off.
    fn set_write_through(&mut self, _on: bool) -> bool {
        false
    }

    /// How many disks may still come behind the same adapter: their lists are made at
    /// the start. One disk of an adapter speaks for all.
    fn room(&self) -> usize {
        0
    }

    /// A disk that has come behind the same adapter, each once. Asked after
    /// [`Disk::tick`].
    fn newcomer(&mut self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// As [`Nic::is_quiet`](crate::Nic::is_quiet).
    fn is_quiet(&self) -> bool {
        false
    }

    /// Asks for an interrupt at the next end of an operation. True if something
    /// is already there, in which case the caller must not sleep.
    fn arm(&mut self) -> bool;

    /// Takes the wish back: the node is awake and polls.
    fn disarm(&mut self);

    /// Where the disk sits, for messages: `00:04.0 virtio-blk`.
    fn name(&self) -> &str;
}
