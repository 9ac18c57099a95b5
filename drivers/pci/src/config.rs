//! Configuration space: who answers where, and the registers all share.
//!
//! Only whole, aligned 32-bit accesses are asked of the machine: both access
//! mechanisms (ports 0xcf8/0xcfc, and memory-mapped) have them.

use bitflags::bitflags;
use core::fmt;

/// Where a function sits. Orders as messages list it: bus, device, function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Bus number.
    pub bus: u8,
    /// Device number, 0 to 31.
    pub device: u8,
    /// Function number, 0 to 7.
    pub function: u8,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:02x}:{:02x}.{:x}",
            self.bus, self.device, self.function
        )
    }
}

/// Access to configuration space, lent by the machine.
pub trait ConfigSpace {
    /// The aligned 32-bit register at byte `register`; all ones where nobody
    /// answers.
    fn read(&self, at: Address, register: u16) -> u32;

    /// Writes the aligned 32-bit register at byte `register`.
    fn write(&self, at: Address, register: u16, value: u32);
}

bitflags! {
    /// The command register (PCI 3.0, 6.2.2). Only what we use has a name.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Command: u16 {
        /// Answers port accesses.
        const IO = 1 << 0;
        /// Answers memory accesses.
        const MEMORY = 1 << 1;
        /// May start accesses of its own: DMA, and message interrupts.
        const BUS_MASTER = 1 << 2;
        /// Its interrupt line stays silent.
        const NO_LINE = 1 << 10;
        /// The bits without a name are the firmware's and are kept.
        const _ = !0;
    }
}

/// Vendor and device.
pub(crate) const ID: u16 = 0x00;
/// Command, and status in the upper half.
pub(crate) const COMMAND: u16 = 0x04;
/// Revision and class.
pub(crate) const CLASS: u16 = 0x08;
/// Header type in byte 2.
pub(crate) const HEADER: u16 = 0x0c;
/// First base address register.
pub(crate) const BARS: u16 = 0x10;
/// Bus numbers of a bridge: above, below, last below.
pub(crate) const BRIDGE_BUSES: u16 = 0x18;
/// Subsystem vendor and subsystem.
pub(crate) const SUBSYSTEM: u16 = 0x2c;
/// Start of the capability list.
pub(crate) const CAPABILITIES: u16 = 0x34;

/// The 16-bit register at byte `register`.
pub(crate) fn read_u16(config: &impl ConfigSpace, at: Address, register: u16) -> u16 {
    let word = config.read(at, register & !3);
    (word >> (u32::from(register & 2) * 8)) as u16
}

/// The 8-bit register at byte `register`.
pub(crate) fn read_u8(config: &impl ConfigSpace, at: Address, register: u16) -> u8 {
    let word = config.read(at, register & !3);
    (word >> (u32::from(register & 3) * 8)) as u8
}

/// Changes the command register. The status half is written as zeros: its bits
/// are cleared by ones, and they are not ours to clear.
pub(crate) fn change_command(
    config: &impl ConfigSpace,
    at: Address,
    change: impl FnOnce(Command) -> Command,
) -> Command {
    let before = Command::from_bits_retain(read_u16(config, at, COMMAND));
    let after = change(before);
    if after != before {
        config.write(at, COMMAND, u32::from(after.bits()));
    }
    before
}
