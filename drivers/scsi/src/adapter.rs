//! What carries commands to logical units: the contract of an adapter's driver.

use crate::command::Cdb;
use crate::sense::Sense;
use io::{Frame, Instant, Request};

/// Bytes of sense data that are worth reading: those of fixed format.
pub const SENSE_BYTES: usize = 32;

/// Which logical unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The target on the adapter's bus.
    pub target: u8,
    /// The unit of the target, below 16,384 (SAM-5, 4.7: flat space).
    pub unit: u16,
}

/// The part of a frame that a command reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// There is none.
    None,
    /// The unit writes `bytes` bytes from byte `at` of the slot on.
    In {
        /// First byte in the slot.
        at: usize,
        /// How many.
        bytes: usize,
    },
    /// The unit reads them.
    Out {
        /// First byte in the slot.
        at: usize,
        /// How many.
        bytes: usize,
    },
}

/// What is to be known again when a frame comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Which disk of the bus.
    pub disk: u8,
    /// The request; `None` for a question of our own.
    pub request: Option<Request>,
    /// When it was submitted first.
    pub since: Instant,
    /// How often it was sent before.
    pub tries: u8,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The unit answered GOOD; `missing` bytes of the data were not moved. Of a
    /// question, the adapter may not know it: its bytes were zeros before.
    Good {
        /// Bytes.
        missing: u32,
    },
    /// The unit answered CHECK CONDITION.
    Check(Sense),
    /// The unit or the way to it is busy, or was reset: nothing was done, and it
    /// can be asked again later.
    Busy,
    /// There is no such unit (any more).
    Gone,
    /// Anything else: it is not known what was done.
    Failed,
}

/// A command that ended, with its frame.
#[derive(Debug)]
pub struct Answer {
    /// The frame that was lent.
    pub frame: Frame,
    /// What was noted about it.
    pub mark: Mark,
    /// How it ended.
    pub end: End,
}

/// What an adapter notices by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A unit's size or habits changed.
    Changed(Address),
    /// A unit was taken away.
    Removed(Address),
    /// A unit was plugged in.
    Added(Address),
}

/// An adapter's driver. It takes every command at once, whatever its queue holds;
/// what it may use of a frame's scratch ends before [`PARAMETERS`].
///
/// [`PARAMETERS`]: crate::command::PARAMETERS
pub trait Adapter {
    /// Targets that there may be: numbers below this.
    fn targets(&self) -> u16;

    /// Most bytes that one command may move.
    fn transfer_bytes_max(&self) -> u32;

    /// Whether it takes and returns commands.
    fn is_running(&self) -> bool;

    /// Takes a command and its frame. Seen by the device after the next kick. Only
    /// while it runs.
    fn send(&mut self, to: Address, cdb: &Cdb, data: Data, mark: Mark, frame: Frame);

    /// The next command that ended. When the adapter has stopped, all of them end
    /// as [`End::Failed`].
    fn poll(&mut self) -> Option<Answer>;

    /// Looks at a frame that it has.
    fn lent<R>(&self, wanted: impl Fn(&Mark) -> bool, look: impl FnOnce(&Frame) -> R) -> Option<R>;

    /// Publishes what was sent; rings at most one doorbell.
    fn kick(&mut self);

    /// Looks at what changes rarely.
    fn tick(&mut self, now: Instant);

    /// Whether it notices by itself that a unit came.
    fn tells_of_units(&self) -> bool;

    /// What it noticed since it was last asked.
    fn notice(&mut self) -> Option<Notice>;

    /// Asks for an interrupt at the next end of a command. True if something is
    /// there already.
    fn arm(&mut self) -> bool;

    /// Takes the wish back.
    fn disarm(&mut self);

    /// Where it sits, for messages: `00:04.0 virtio-scsi`.
    fn name(&self) -> &str;
}
