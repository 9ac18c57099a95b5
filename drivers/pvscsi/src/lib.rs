//! PVSCSI: the SCSI adapter of ESXi, Workstation and QEMU's `pvscsi`.
//!
//! ```text
//! requests   | request 128 | ...   we write, then tell (one write, whatever the count)
//! answers    | answer 32   | ...   it writes
//! state      where each side has come in both
//! ```
//! What commands mean is the business of `scsi`; this is an [`Adapter`]: it carries
//! them. A frame is lent as it is, its data in one piece, its sense data in its own
//! scratch.
//!
//! There is no public specification. Names and numbers are those of the drivers that
//! VMware gave to the free systems.
//!
//! [`Adapter`]: scsi::Adapter

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod adapter;
mod error;
#[cfg(test)]
mod model;
mod registers;
mod ring;
#[cfg(test)]
mod tests;

pub use adapter::Pvscsi;
pub use error::Error;
pub use registers::Registers;

use io::Text;
use pci::{Bar, ConfigSpace, DeviceMemory, Function, Ids, Known, Resources, open_message};

/// VMware, and the adapter.
const ID: (u16, u16) = (0x15ad, 0x07c0);

/// What this driver knows.
pub const DEVICES: &[Known] = &[Known::emulated(
    "PVSCSI",
    Ids::Devices(ID.0, &[ID.1]),
    "pvscsi",
)];

/// The BAR with the registers.
const REGISTERS_BAR: u8 = 0;

/// Whether `function` is an adapter for this driver.
pub fn is_pvscsi(function: &Function) -> bool {
    (function.vendor, function.device) == ID
}

/// Starts the adapter. An [`Error`] ends the sentence `00:04.0 pvscsi: ...`.
pub fn attach(
    function: &Function,
    config: &impl ConfigSpace,
    resources: &mut impl Resources,
) -> Result<Pvscsi<DeviceMemory>, Error> {
    let bar = Bar::of(function, config, REGISTERS_BAR)?.placed(function, config, resources)?;
    let registers = bar.map(0, registers::BYTES, resources)?;
    function.enable(config);
    let interrupts = open_message(function, config, resources)? > 0;
    let name = Text::<48>::format(format_args!("{} pvscsi", function.address));
    Pvscsi::start(registers, interrupts, resources, name.as_str())
}
