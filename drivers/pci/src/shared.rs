//! Memory that a device and we use at the same time: rings, pages of settings.
//!
//! A device may touch it at any time, so there are no references into it, only
//! accesses to single words, and what makes other words known is said to.

#[cfg(any(test, feature = "model"))]
pub mod device;

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

/// Alignment of shared memory: a page, which is what devices want for their rings.
pub const ALIGN: usize = 4096;

/// Memory that a device may touch at any time, word by word.
pub struct Shared {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: `base` is the only pointer to the memory on our side, and the
// device does not care which core accesses it.
unsafe impl Send for Shared {}

impl Shared {
    /// Takes the memory for ever, and zeroes it.
    ///
    /// # Panics
    /// If it is not aligned: the machine gave what was not asked for.
    pub fn new(memory: &'static mut [u8]) -> Self {
        assert!(
            memory.as_ptr().addr().is_multiple_of(ALIGN),
            "memory for a device is aligned to {ALIGN}"
        );
        memory.fill(0);
        let bytes = memory.len();
        let base = NonNull::from(memory).cast::<u8>();
        // The device writes by this number.
        base.as_ptr().expose_provenance();
        Self { base, bytes }
    }

    /// Where the device finds it.
    pub fn address(&self) -> u64 {
        self.base.as_ptr().addr() as u64
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads the word at byte `at`.
    ///
    /// # Panics
    /// If it does not lie inside or is not aligned, as all of these do.
    pub fn read(&self, at: usize) -> u32 {
        u32::from_le(self.word(at).load(Ordering::Relaxed))
    }

    /// Reads the word at byte `at`, and whatever the device wrote before it is there
    /// for the reads that follow.
    pub fn read_acquire(&self, at: usize) -> u32 {
        u32::from_le(self.word(at).load(Ordering::Acquire))
    }

    /// Writes the word at byte `at`.
    pub fn write(&self, at: usize, value: u32) {
        self.word(at).store(value.to_le(), Ordering::Relaxed);
    }

    /// Writes the word at byte `at` after everything that was written before.
    pub fn write_release(&self, at: usize, value: u32) {
        self.word(at).store(value.to_le(), Ordering::Release);
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        assert!(
            at.is_multiple_of(4) && at + 4 <= self.bytes,
            "word {at} of {} shared bytes",
            self.bytes
        );
        // SAFETY: `new` took `bytes` bytes for ever, and `at` was just checked to
        // lie inside.
        let word = unsafe { self.base.byte_add(at) }.cast();
        // SAFETY: `word` lies in memory that stays for ever, is aligned because
        // `base` and `at` are, and whoever else touches it is the device,
        // which writes whole words.
        unsafe { AtomicU32::from_ptr(word.as_ptr()) }
    }
}
