//! SATA disks behind an AHCI controller (AHCI 1.3.1), each port an [`io::Disk`].
//!
//! ```text
//! begin ─► hba: take over, reset ─► revival (every port) ─► disk
//!                                      ▲ after an error, a plug │
//!                                      └────────────────────────┘
//! ```
//! A frame is lent to the drive as it is: its command table lies in its scratch
//! and its data is one region, so nothing is copied or allocated. Whatever goes
//! wrong with a drive, each frame comes back, with the truth about it; waits
//! have limits and hold up nobody else.
//!
//! Registers are reached through the `Registers` trait, behind which the tests
//! put a model of controller and drives that is stricter than hardware
//! (`model`). Unsafe is only the memory that a port shares with us (`table`),
//! from both sides.

#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod command;
mod disk;
mod error;
mod hba;
mod identify;
mod order;
mod registers;
mod revival;
#[allow(unsafe_code)]
mod table;

#[cfg(any(test, feature = "model"))]
pub mod model;
#[cfg(test)]
mod tests;

pub use disk::Disk;
pub use error::Error;
pub use hba::{Start, Surroundings, bring_up};
pub use identify::{Rotation, Unusable};
pub use registers::{Registers, Signature};
pub use revival::NoDrive;

use io::Clock;
use pci::{Bar, ConfigSpace, DeviceMemory, Function, Ids, Known, Msi, Resources};

/// The BAR with the registers, which the specification calls ABAR.
const REGISTERS_BAR: u8 = 5;

/// Mass storage, SATA, AHCI.
const CLASS: [u8; 3] = [0x01, 0x06, 0x01];

/// What this driver knows.
pub const DEVICES: &[Known] = &[Known::emulated("AHCI", Ids::Class(CLASS), "ich9-ahci")];

/// Whether `function` is a controller for this driver.
pub fn is_ahci(function: &Function) -> bool {
    [function.class, function.subclass, function.interface] == CLASS
}

/// Takes the controller over and lets its drives start. What its ports hold, in order
/// of the ports, comes from [`Start::finish`], which waits for the slowest drive; an
/// empty port gives nothing, after some milliseconds. An [`Error`] ends the sentence
/// `00:1f.2 ahci: ...`.
#[cold]
pub fn begin(
    function: &Function,
    config: &impl ConfigSpace,
    resources: &mut impl Resources,
    clock: &impl Clock,
) -> Result<Start<DeviceMemory>, Error> {
    hba::begin(&mut Machine::new(function, config, resources)?, clock)
}

/// A controller on the PCI bus.
struct Machine<'a, M> {
    bar: Bar,
    resources: &'a mut M,
    place: pci::Address,
    has_interrupt: bool,
}

impl<'a, M: Resources> Machine<'a, M> {
    fn new(
        function: &Function,
        config: &impl ConfigSpace,
        resources: &'a mut M,
    ) -> Result<Self, Error> {
        let bar = Bar::of(function, config, REGISTERS_BAR)?.placed(function, config, resources)?;
        function.enable(config);
        let msi = Msi::find(function, config);
        // Without, the node does not sleep while a command is under way.
        let has_interrupt = msi
            .and_then(|msi| Some(msi.enable(config, resources.message()?)))
            .unwrap_or(false);
        Ok(Self {
            bar,
            resources,
            place: function.address,
            has_interrupt,
        })
    }
}

impl<M: Resources> Surroundings for Machine<'_, M> {
    type Registers = DeviceMemory;

    fn registers(&mut self) -> Result<DeviceMemory, Error> {
        let bytes = self.bar.bytes.min(registers::BYTES_MAX as u64) as usize;
        Ok(self.bar.map(0, bytes, self.resources)?)
    }

    fn dma(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]> {
        self.resources.dma(bytes, align)
    }

    fn frames(&self) -> usize {
        self.resources.frames()
    }

    fn place(&self) -> pci::Address {
        self.place
    }

    fn has_interrupt(&self) -> bool {
        self.has_interrupt
    }
}
