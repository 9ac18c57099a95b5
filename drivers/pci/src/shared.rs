//! Memory that a device and we use at the same time: rings, pages of settings.
//!
//! A device may touch it at any time, so all that leads into it are atomic words, each
//! read and written as a whole; what makes other words known is said to.

#[cfg(any(test, feature = "model"))]
pub mod device;

use core::array;
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
        Self::aligned_to(ALIGN, memory)
    }

    /// As [`new`](Self::new), for a device that is content with another alignment, of
    /// words at least.
    pub fn aligned_to(align: usize, memory: &'static mut [u8]) -> Self {
        assert!(
            align >= 4 && memory.as_ptr().addr().is_multiple_of(align),
            "memory for a device is aligned to {align}"
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
    #[inline]
    pub fn read(&self, at: usize) -> u32 {
        let [word] = self.read_words(at);
        word
    }

    /// Reads the words from byte `at` on.
    #[inline]
    pub fn read_words<const N: usize>(&self, at: usize) -> [u32; N] {
        let words = self.words::<N>(at);
        array::from_fn(|index| u32::from_le(words[index].load(Ordering::Relaxed)))
    }

    /// Reads the word at byte `at`, and whatever the device wrote before it is there
    /// for the reads that follow.
    #[inline]
    pub fn read_acquire(&self, at: usize) -> u32 {
        let [word] = self.words(at);
        u32::from_le(word.load(Ordering::Acquire))
    }

    /// Writes the word at byte `at`.
    #[inline]
    pub fn write(&self, at: usize, value: u32) {
        self.write_words(at, [value]);
    }

    /// Writes the words from byte `at` on, in any order.
    #[inline]
    pub fn write_words<const N: usize>(&self, at: usize, values: [u32; N]) {
        for (word, value) in self.words::<N>(at).iter().zip(values) {
            word.store(value.to_le(), Ordering::Relaxed);
        }
    }

    /// Writes the word at byte `at` after everything that was written before.
    #[inline]
    pub fn write_release(&self, at: usize, value: u32) {
        let [word] = self.words(at);
        word.store(value.to_le(), Ordering::Release);
    }

    /// The words from byte `at` on. One check for all of them: rings are written by the
    /// descriptor.
    #[inline(always)]
    fn words<const N: usize>(&self, at: usize) -> &[AtomicU32; N] {
        let fits = self.bytes.checked_sub(4 * N);
        if !at.is_multiple_of(4) || fits.is_none_or(|last| at > last) {
            outside(at, N, self.bytes);
        }
        // SAFETY: `new` took `bytes` bytes for ever, and `at` was just checked to
        // lie inside with all the words behind it.
        let words = unsafe { self.base.byte_add(at) }.cast();
        // SAFETY: `words` lies in memory that stays for ever, is aligned because
        // `base` and `at` are, and whoever else touches it is the device,
        // which writes whole words.
        unsafe { words.as_ref() }
    }
}

#[cold]
#[inline(never)]
fn outside(at: usize, words: usize, bytes: usize) -> ! {
    panic!("{words} words from byte {at} of {bytes} shared bytes");
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::boxed::Box;

    const BYTES: usize = 64;

    /// Only as long as it says, in a page that is longer.
    fn shared() -> Shared {
        #[repr(align(4096))]
        struct Page([u8; ALIGN]);
        let page = Box::leak(Box::new(Page([0xff; ALIGN])));
        Shared::new(&mut page.0[..BYTES])
    }

    #[test]
    fn words_lie_one_behind_the_other_up_to_the_last() {
        let shared = shared();
        shared.write_words(BYTES - 8, [1, 2]);
        shared.write(BYTES - 12, 3);
        assert_eq!(shared.read_words(BYTES - 16), [0, 3, 1, 2]);
        assert_eq!(shared.read_acquire(BYTES - 4), 2);
    }

    #[test]
    #[should_panic(expected = "2 words from byte 60 of 64 shared bytes")]
    fn words_that_end_outside_are_refused() {
        shared().write_words(BYTES - 4, [1, 2]);
    }

    #[test]
    #[should_panic(expected = "1 words from byte 64 of 64 shared bytes")]
    fn a_word_outside_is_refused() {
        shared().read(BYTES);
    }

    #[test]
    #[should_panic(expected = "17 words from byte 0 of 64 shared bytes")]
    fn more_words_than_there_are_are_refused() {
        shared().read_words::<17>(0);
    }

    #[test]
    #[should_panic(expected = "1 words from byte 6 of 64 shared bytes")]
    fn a_word_between_two_is_refused() {
        shared().write_release(6, 1);
    }
}
