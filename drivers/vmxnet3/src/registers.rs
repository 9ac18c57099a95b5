//! The card's registers, in two BARs.
//!
//! The first has what is touched while frames move, so that a hypervisor may lend it
//! from a real card; the second has what starts the card and asks it.

use bitflags::bitflags;
pub use pci::{GONE, Registers};

/// Bytes of either BAR.
pub const BYTES: usize = 0x1000;

/// First BAR: what silences message 0. Ours, and where a message silences itself also
/// the card's.
pub const MASK_0: usize = 0x000;
/// First BAR: what silences message 1.
pub const MASK_1: usize = 0x008;
/// First BAR: the doorbell for frames to send. Takes the next free place.
pub const SEND: usize = 0x600;
/// First BAR: the doorbell for empty frames, where the card wants it rung.
pub const RECEIVE: usize = 0x800;

/// Second BAR: revisions that the card has, one bit each; written, the one we choose.
pub const REVISION: usize = 0x00;
/// Second BAR: the same for the part of it that real cards may have.
pub const PART_REVISION: usize = 0x08;
/// Second BAR: where the area is, lower half and upper.
pub const AREA: [usize; 2] = [0x10, 0x18];
/// Second BAR: written, a command; read, the answer to the last one.
pub const COMMAND: usize = 0x20;
/// Second BAR: the Ethernet address, four bytes and two.
pub const ADDRESS: [usize; 2] = [0x28, 0x30];
/// Second BAR: written, events of the area that were seen.
pub const EVENTS_SEEN: usize = 0x40;

/// The revision that every card has. Later ones add what we have no use for.
pub const REVISION_1: u32 = 1;

/// A message is silenced.
pub const MASKED: u32 = 1;

/// Commands. Others exist; we give none of them.
pub mod command {
    /// Starts with what the area says. Answers 0, or why not.
    pub const ACTIVATE: u32 = 0xcafe_0000;
    /// Stops everything: nothing that was lent is touched afterwards.
    pub const RESET: u32 = 0xcafe_0002;
    /// Takes over what the area says on who is heard.
    pub const HEAR: u32 = 0xcafe_0003;
    /// Writes into the area whether queues stopped, and why.
    pub const QUEUES: u32 = 0xf00d_0000;
    /// Answers whether there is a link, and how fast it is.
    pub const LINK: u32 = 0xf00d_0002;
    /// Answers how messages are silenced.
    pub const INTERRUPTS: u32 = 0xf00d_0008;
}

/// Answer to [`command::LINK`]: there is a link.
pub const LINK_UP: u32 = 1 << 0;

/// Answer to [`command::INTERRUPTS`]: these bits are 0 where a message silences itself.
pub const MASK_MODE: u32 = 0b11 << 2;

bitflags! {
    /// Events, in the area. The card's; taken back by [`EVENTS_SEEN`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Events: u32 {
        /// A receive queue stopped.
        const RECEIVE_STOPPED = 1 << 0;
        /// A transmit queue stopped.
        const TRANSMIT_STOPPED = 1 << 1;
        /// The link changed.
        const LINK = 1 << 2;
        /// What we do not name is taken back too.
        const _ = !0;
    }
}
