//! The other side of shared memory: what a model of a device may reach.
//!
//! Memory is handed out here, so that every access of the model is checked
//! against what was: a pointer to anywhere else is a fault of the
//! driver and ends the test.

extern crate alloc;

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

/// Memory handed out. A clone is the same memory.
#[derive(Clone, Default)]
pub struct Memory {
    pieces: Rc<RefCell<Vec<NonNull<[u8]>>>>,
}

impl Memory {
    /// Hands out `bytes` bytes, zeroed, for ever, `offset` bytes behind a multiple
    /// of `align`.
    pub fn hand_out(&mut self, bytes: usize, align: usize, offset: usize) -> &'static mut [u8] {
        let room = vec![0u8; bytes + align + offset].leak();
        let start = room.as_ptr().align_offset(align) + offset;
        let piece = NonNull::from(&mut room[start..start + bytes]);
        self.pieces.borrow_mut().push(piece);
        // SAFETY: the memory was just leaked and is handed out once. The model
        // keeps a pointer as a device does, and uses it only while the driver has
        // lent it what lies there.
        unsafe { &mut *piece.as_ptr() }
    }

    /// Lets the device reach memory that somebody else lent.
    ///
    /// # Safety
    /// The memory must stay for as long as a device that has this memory, or a clone, is
    /// moved, and belong to whoever moves the driver and the device, one after the other.
    pub unsafe fn share(&self, memory: NonNull<[u8]>) {
        self.pieces.borrow_mut().push(memory);
    }

    /// Whether all of it was handed out.
    pub fn has(&self, address: u64, bytes: usize) -> bool {
        self.find(address, bytes).is_some()
    }

    /// Where `bytes` bytes at `address` lie.
    ///
    /// # Panics
    /// If they were not handed out.
    fn place(&self, address: u64, bytes: usize) -> NonNull<u8> {
        self.find(address, bytes).unwrap_or_else(|| {
            panic!("the device was sent to {bytes} bytes at {address:#x}, which are not its")
        })
    }

    fn find(&self, address: u64, bytes: usize) -> Option<NonNull<u8>> {
        for piece in self.pieces.borrow().iter() {
            let (start, length) = (piece.cast::<u8>(), piece.len());
            let offset = address.wrapping_sub(start.as_ptr().addr() as u64) as usize;
            if offset.checked_add(bytes).is_some_and(|end| end <= length) {
                // SAFETY: `offset` lies inside of the piece, which stays as long as it is
                // reached (`hand_out`, `share`).
                return Some(unsafe { start.byte_add(offset) });
            }
        }
        None
    }

    /// Reads as a device does.
    pub fn read(&self, address: u64, into: &mut [u8]) {
        let place = self.place(address, into.len());
        let bytes = into.len();
        // SAFETY: `place` checked that all of it was handed out; the driver does not
        // write what it has lent, and one thread moves both.
        unsafe { place.copy_to_nonoverlapping(NonNull::from(into).cast(), bytes) };
    }

    /// Reads a word as a device does.
    pub fn read_u32(&self, address: u64) -> u32 {
        let mut word = [0; 4];
        self.read(address, &mut word);
        u32::from_le_bytes(word)
    }

    /// Writes as a device does.
    pub fn write(&self, address: u64, from: &[u8]) {
        let place = self.place(address, from.len());
        // SAFETY: as above; the driver holds no reference to what it has lent for
        // writing.
        unsafe { place.copy_from_nonoverlapping(NonNull::from(from).cast(), from.len()) };
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
