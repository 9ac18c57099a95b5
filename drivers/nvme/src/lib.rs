//! NVMe disks (NVM Express 1.4), each active namespace an [`io::Disk`].
//!
//! ```text
//! attach ─► controller: reset, enable, identify ─► disk (one queue pair each)
//!                                                   └─ guard (one for all of them)
//! ```
//! A namespace has a queue pair of its own, so two disks share nothing but the
//! controller's fate, and neither asks the other before it rings its doorbell. That
//! fate is the guard's business: it brings a controller back that failed.
//!
//! Several pairs for one namespace would bring nothing here: they keep processors from
//! waiting for each other, and one processor does all the work. What does not fit the
//! pair's places waits in the disk's backlog, in order, and is told as places come
//! free.
//!
//! A frame is lent to the controller as it is: its data is named page by page,
//! the list of pages lies in its scratch, nothing is copied or allocated.
//!
//! A namespace that grows is noticed within seconds; one that is added is seen at the
//! next start. WRITE ZEROES is not used: no request of AoE asks for it, and a discard
//! promises nothing about what is read afterwards.
//!
//! Registers are reached through the [`Registers`] trait, behind which the tests
//! put a model of the controller that is stricter than hardware (`model`).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod command;
mod controller;
mod disk;
mod error;
mod guard;
mod identify;
mod queue;
mod registers;
mod service;
mod status;

#[cfg(any(test, feature = "model"))]
pub mod model;
#[cfg(test)]
mod tests;

pub use command::Opcode;
pub use controller::{Surroundings, bring_up};
pub use disk::Disk;
pub use error::Error;
pub use identify::Unusable;
pub use registers::Registers;
pub use status::Status;

use alloc::vec::Vec;
use io::Instant;
use pci::{Bar, ConfigSpace, DeviceMemory, Function, Ids, Known, MsiX, Resources};

/// The BAR with the registers (NVMe over PCIe 1.0, 2.1.10).
const REGISTERS_BAR: u8 = 0;

/// Mass storage, non-volatile memory, NVM Express with I/O queues.
const CLASS: [u8; 3] = [0x01, 0x08, 0x02];

/// What this driver knows.
pub const DEVICES: &[Known] = &[Known::emulated("NVMe", Ids::Class(CLASS), "nvme")];

/// Whether `function` is a controller for this driver.
pub fn is_nvme(function: &Function) -> bool {
    [function.class, function.subclass, function.interface] == CLASS
}

/// Starts the controller and returns what its namespaces give, in their order,
/// at most `namespaces_max` disks. An [`Error`] ends the sentence
/// `00:04.0 nvme: ...`.
pub fn attach(
    function: &Function,
    config: &impl ConfigSpace,
    resources: &mut impl Resources,
    namespaces_max: usize,
) -> Vec<Result<Disk, Error>> {
    match Machine::new(function, config, resources, namespaces_max) {
        Ok(mut machine) => bring_up(&mut machine, namespaces_max),
        Err(error) => Vec::from([Err(error)]),
    }
}

/// A controller on the PCI bus.
struct Machine<'a, M> {
    bar: Bar,
    resources: &'a mut M,
    place: pci::Address,
    /// Entries of the table of messages that are open.
    messages: u16,
}

impl<'a, M: Resources> Machine<'a, M> {
    fn new(
        function: &Function,
        config: &impl ConfigSpace,
        resources: &'a mut M,
        namespaces_max: usize,
    ) -> Result<Self, Error> {
        let bar = Bar::of(function, config, REGISTERS_BAR)?.placed(function, config, resources)?;
        function.enable(config);
        let mut messages = 0;
        if let Some(msix) = MsiX::find(function, config, resources)?
            && let Some(message) = resources.message()
        {
            // Entry 0 is the admin queue's, which is polled; with one entry
            // only, it is everybody's.
            let wanted = u16::try_from(namespaces_max + 1).unwrap_or(u16::MAX);
            messages = msix.entries().min(wanted);
            for entry in 0..messages {
                msix.set(entry, message);
            }
            msix.enable(config);
        }
        Ok(Self {
            bar,
            resources,
            place: function.address,
            messages,
        })
    }
}

impl<M: Resources> Surroundings for Machine<'_, M> {
    type Registers = DeviceMemory;

    fn registers(&mut self, bytes: usize) -> Result<DeviceMemory, Error> {
        Ok(self.bar.map(0, bytes, self.resources)?)
    }

    fn now(&self) -> Instant {
        self.resources.now()
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

    fn vector(&self, queue: u16) -> Option<u16> {
        let last = self.messages.checked_sub(1)?;
        Some(queue.min(last))
    }
}
