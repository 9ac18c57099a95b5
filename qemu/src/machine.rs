//! One QEMU: what to start, and the running thing.
//!
//! A [`Recipe`] is a description that can be started again and again: killing
//! the machine and starting the same recipe is how a node comes back from the
//! dead. A [`Machine`] is killed when it is dropped, so nothing outlives the
//! scenario that started it.

mod command_line;
mod disk;
mod emulator;
mod nic;
mod recipe;
mod running;

pub use disk::{Disk, scratch_disk};
pub use emulator::Emulator;
pub use nic::Nic;
pub use recipe::Recipe;
pub use running::{Machine, kill_all};

use std::path::PathBuf;

/// The first descriptor that is handed to QEMU; 0 to 2 are the standard ones.
const FIRST_FD: i32 = 3;

/// What `cargo xtask build` leaves behind.
#[derive(Clone, Debug)]
pub struct BootFiles {
    /// The boot file: for anything that loads a Linux kernel.
    pub boot_file: PathBuf,
    /// The ELF with the PVH entry.
    pub elf: PathBuf,
    /// The folder with the images that `cargo xtask image` makes of it.
    pub images: PathBuf,
}

/// The machine that QEMU plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// PCI Express, the modern PC.
    Q35,
    /// PCI, the old PC.
    Pc,
    /// No PCI at all: virtio over MMIO.
    Microvm,
    /// No machine at all. Its cards are cables alone: with
    /// [`Nic::with_tap`] they join a switch to an interface of the host.
    Cables,
}

impl Board {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Q35 => "q35",
            Self::Pc => "pc",
            Self::Microvm => "microvm",
            Self::Cables => "none",
        }
    }

    /// The bus that virtio devices sit on.
    pub(super) const fn bus(self) -> &'static str {
        match self {
            Self::Q35 | Self::Pc | Self::Cables => "pci",
            Self::Microvm => "device",
        }
    }
}
