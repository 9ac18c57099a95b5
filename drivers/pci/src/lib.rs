//! PCI: finding functions, their registers, their interrupts.
//!
//! Configuration access is lent by the machine ([`ConfigSpace`]), and so is
//! everything a driver needs from the machine around its device
//! ([`Resources`]): this crate knows the layout of PCI and nothing about the
//! processor it runs on.
//!
//! What a device says about itself is outside input: the walk over buses and
//! the walk over a capability list both end, whatever they read.

#![no_std]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod bar;
mod capability;
mod config;
mod function;
pub mod known;
mod mapped;
mod message;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod msi;
mod msix;
mod registers;
mod resources;
#[allow(unsafe_code)]
pub mod shared;

#[cfg(test)]
mod fake;

pub use bar::{Bar, DeviceMemory, Register, Width};
pub use capability::{Capabilities, Capability, CapabilityId};
pub use config::{Address, Command, ConfigSpace};
pub use function::{Function, Functions, functions, open_bridges};
pub use known::{Ids, Known, Tried};
pub use mapped::MappedConfig;
pub use message::{Message, open_message};
pub use msi::Msi;
pub use msix::MsiX;
pub use registers::{GONE, Registers};
pub use resources::{BusWindow, Resources};
pub use shared::Shared;

use core::fmt;

/// Why a function can not be driven. The caller says which function it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The base address register does not exist or names no memory.
    NotMemory {
        /// Which register, 0 to 5.
        bar: u8,
    },
    /// The firmware placed the memory nowhere, and the machine has no room.
    NotPlaced {
        /// Which register, 0 to 5.
        bar: u8,
        /// How much room it wants.
        bytes: u64,
    },
    /// A structure is said to lie outside the memory it is in.
    OutsideBar {
        /// Which register, 0 to 5.
        bar: u8,
    },
    /// The machine can not map the device's memory.
    NotMapped {
        /// Where it lies on the bus.
        address: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMemory { bar } => write!(f, "BAR {bar} is not memory"),
            Self::NotPlaced { bar, bytes } => write!(
                f,
                "the firmware gave BAR {bar} ({bytes} bytes) no address and there is no free range for it"
            ),
            Self::OutsideBar { bar } => {
                write!(f, "a register block lies outside of BAR {bar}")
            }
            Self::NotMapped { address } => {
                write!(f, "its memory at {address:#x} can not be mapped")
            }
        }
    }
}

impl core::error::Error for Error {}
