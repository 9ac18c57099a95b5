//! The other side of shared memory: what a model of a device may reach.
//!
//! Memory is handed out here, so that every access of the model is checked
//! against what was: a pointer to anywhere else is a fault of the
//! driver and ends the test.

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

/// Memory handed out.
#[derive(Default)]
pub struct Memory {
    pieces: Vec<(NonNull<u8>, usize)>,
}

impl Memory {
    /// Hands out `bytes` bytes, zeroed, for ever, `offset` bytes behind a multiple
    /// of `align`.
    pub fn hand_out(&mut self, bytes: usize, align: usize, offset: usize) -> &'static mut [u8] {
        let room = vec![0u8; bytes + align + offset].leak();
        let start = room.as_ptr().align_offset(align) + offset;
        let piece = NonNull::from(&mut room[start..start + bytes]);
        self.pieces.push((piece.cast(), bytes));
        // SAFETY: the memory was just leaked and is handed out once. The model
        // keeps a pointer as a device does, and uses it only while the driver has
        // lent it what lies there.
        unsafe { &mut *piece.as_ptr() }
    }

    /// Where `bytes` bytes at `address` lie.
    ///
    /// # Panics
    /// If they were not handed out.
    fn place(&self, address: u64, bytes: usize) -> NonNull<u8> {
        for &(start, length) in &self.pieces {
            let offset = address.wrapping_sub(start.as_ptr().addr() as u64) as usize;
            if offset.checked_add(bytes).is_some_and(|end| end <= length) {
                // SAFETY: `offset` lies inside of the piece, which stays for ever.
                return unsafe { start.byte_add(offset) };
            }
        }
        panic!("the device was sent to {bytes} bytes at {address:#x}, which are not its");
    }

    /// Reads as a device does.
    pub fn read(&self, address: u64, into: &mut [u8]) {
        let place = self.place(address, into.len());
        for (offset, byte) in into.iter_mut().enumerate() {
            // SAFETY: `place` checked that all of it was handed out.
            let at = unsafe { place.byte_add(offset) };
            // SAFETY: as above; the driver does not write what it has lent.
            *byte = unsafe { at.read_volatile() };
        }
    }

    /// Writes as a device does.
    pub fn write(&self, address: u64, from: &[u8]) {
        let place = self.place(address, from.len());
        for (offset, &byte) in from.iter().enumerate() {
            // SAFETY: `place` checked that all of it was handed out.
            let at = unsafe { place.byte_add(offset) };
            // SAFETY: as above; the driver holds no reference to what it has
            // lent for writing.
            unsafe { at.write_volatile(byte) };
        }
    }

    /// Writes a word that makes others known.
    pub fn release(&self, address: u64, value: u32) {
        assert!(address.is_multiple_of(4), "a word at {address:#x}");
        let place = self.place(address, 4).cast::<u32>();
        // SAFETY: `place` checked that it was handed out, for ever; it is aligned,
        // and the driver reads it as an atomic word.
        let word = unsafe { AtomicU32::from_ptr(place.as_ptr()) };
        word.store(value.to_le(), Ordering::Release);
    }
}
