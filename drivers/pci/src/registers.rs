//! The door to a device's 32-bit registers.
//!
//! A driver is written against [`Registers`], behind which stands the device or, in
//! its tests, the device's model.

use crate::{DeviceMemory, Register};

/// What every register of a device that is gone reads as.
pub const GONE: u32 = u32::MAX;

/// Where 32-bit registers are read and written.
pub trait Registers {
    /// Reads the register at byte `offset`.
    fn read(&self, offset: usize) -> u32;

    /// Writes the register at byte `offset`.
    fn write(&self, offset: usize, value: u32);
}

impl Registers for DeviceMemory {
    fn read(&self, offset: usize) -> u32 {
        self.read(Register::<u32>::at(offset))
    }

    fn write(&self, offset: usize, value: u32) {
        self.write(Register::<u32>::at(offset), value);
    }
}
