//! Ports: the processor's second address space.

use core::arch::asm;

/// One port. Reading or writing one touches no memory of ours: a device that a
/// port could make write to memory is stopped before (`probe`).
#[derive(Clone, Copy, Debug)]
pub struct Port(pub u16);

impl Port {
    /// Reads a byte.
    pub fn read(self) -> u8 {
        let value;
        // SAFETY: a port read changes no memory and no state of the processor.
        unsafe {
            asm!("in al, dx", in("dx") self.0, out("al") value, options(nomem, nostack, preserves_flags));
        }
        value
    }

    /// Writes a byte.
    pub fn write(self, value: u8) {
        // SAFETY: as the type says, no port we write makes a device touch memory.
        unsafe {
            asm!("out dx, al", in("dx") self.0, in("al") value, options(nomem, nostack, preserves_flags));
        }
    }

    /// Reads two bytes.
    pub fn read_u16(self) -> u16 {
        let value;
        // SAFETY: as in `read`.
        unsafe {
            asm!("in ax, dx", in("dx") self.0, out("ax") value, options(nomem, nostack, preserves_flags));
        }
        value
    }

    /// Writes two bytes.
    pub fn write_u16(self, value: u16) {
        // SAFETY: as in `write`.
        unsafe {
            asm!("out dx, ax", in("dx") self.0, in("ax") value, options(nomem, nostack, preserves_flags));
        }
    }

    /// Reads four bytes.
    pub fn read_u32(self) -> u32 {
        let value;
        // SAFETY: as in `read`.
        unsafe {
            asm!("in eax, dx", in("dx") self.0, out("eax") value, options(nomem, nostack, preserves_flags));
        }
        value
    }

    /// Writes four bytes.
    pub fn write_u32(self, value: u32) {
        // SAFETY: as in `write`; configuration space is written only through
        // `pci`, which turns DMA on for devices that have a driver.
        unsafe {
            asm!("out dx, eax", in("dx") self.0, in("eax") value, options(nomem, nostack, preserves_flags));
        }
    }
}
