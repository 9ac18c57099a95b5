//! The adapter's registers.
//!
//! They lie far apart, one to a page, so that a hypervisor can watch some and not
//! others; a struct of them would be all gaps.

use bitflags::bitflags;
pub use pci::{GONE, Registers};

/// Which command. Ours.
pub const COMMAND: usize = 0x0000;
/// What goes with it, word by word. Ours.
pub const COMMAND_DATA: usize = 0x0004;
/// How it ended. The adapter's.
pub const COMMAND_STATUS: usize = 0x0008;
/// What it interrupted for. The adapter's; written with what was seen.
pub const INTERRUPT_STATUS: usize = 0x100c;
/// What it may interrupt for. Ours.
pub const INTERRUPT_MASK: usize = 0x2010;
/// Doorbell for what is neither read nor write.
pub const KICK_OTHER: usize = 0x3014;
/// Doorbell for reads and writes.
pub const KICK_READ_WRITE: usize = 0x4018;
/// All of them.
pub const BYTES: usize = 0x8000;

/// Commands. Others exist; we give none of them.
pub mod command {
    /// Stops everything: nothing that was lent is touched afterwards.
    pub const RESET: u32 = 1;
    /// Where the rings are.
    pub const SET_UP_RINGS: u32 = 3;
}

/// What the status reads after a command that the adapter does not know.
pub const UNKNOWN: u32 = u32::MAX;

bitflags! {
    /// What it interrupts for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Interrupts: u32 {
        /// A command ended.
        const ANSWER_0 = 1 << 0;
        /// The same, of another kind.
        const ANSWER_1 = 1 << 1;
        /// What we do not name is kept.
        const _ = !0;
    }
}

impl Interrupts {
    /// Some command ended.
    pub const ANSWERS: Self = Self::ANSWER_0.union(Self::ANSWER_1);
}
