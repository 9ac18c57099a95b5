//! One ring of descriptors: lent in order, back in order.
//!
//! A descriptor is a word of flags and length, one for VLANs, and an address (RTL8169,
//! 9.2 and 9.3). The first word has the bit that says whose it is, and is written last
//! and read first. The last descriptor says that it is. As order is all that counts, a
//! card can not return what it was not lent.
//!
//! The ring of the 8139 is shorter than the machine has frames: what finds no place
//! waits, and is lent when one is free.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use io::Frame;
use pci::Shared;

/// Bytes of a descriptor.
pub const DESCRIPTOR_BYTES: usize = 16;

/// OWN: the card's.
pub const OWN: u32 = 1 << 31;
/// EOR: the last of the ring.
const LAST_PLACE: u32 = 1 << 30;

/// A ring, and the frames that the card has.
pub struct Ring {
    memory: Shared,
    /// Where in a frame's slot the card starts.
    start: usize,
    lent: Box<[Option<Frame>]>,
    head: usize,
    known: usize,
    waiting: VecDeque<(Frame, u32)>,
}

impl Ring {
    /// A ring in `memory`, which is all of it, for a machine with `frames` frames. The
    /// card reads and writes `start` bytes from where a slot starts.
    pub fn new(memory: Shared, start: usize, frames: usize) -> Self {
        let places = memory.bytes() / DESCRIPTOR_BYTES;
        Self {
            memory,
            start,
            lent: (0..places).map(|_| None).collect(),
            head: 0,
            known: 0,
            waiting: VecDeque::with_capacity(frames),
        }
    }

    /// Where it is.
    pub fn address(&self) -> u64 {
        self.memory.address()
    }

    /// Frames that it holds.
    pub fn places(&self) -> usize {
        self.lent.len()
    }

    /// Whether the card has frames.
    pub fn has_lent(&self) -> bool {
        self.known > 0
    }

    /// Lends a frame, or puts it behind those that wait. `word` is its length, with
    /// flags.
    #[inline]
    pub fn push(&mut self, frame: Frame, word: u32) {
        if self.known < self.places() {
            self.lend(frame, word);
        } else {
            self.waiting.push_back((frame, word));
        }
    }

    #[inline]
    fn lend(&mut self, frame: Frame, word: u32) {
        let place = self.behind(self.known);
        let at = place * DESCRIPTOR_BYTES;
        let address = frame.bus_address() + self.start as u64;
        let [low, high] = [address as u32, (address >> 32) as u32];
        self.memory.write_words(at + 4, [0, low, high]);
        let last = if place + 1 == self.places() {
            LAST_PLACE
        } else {
            0
        };
        self.memory.write_release(at, word | OWN | last);
        self.lent[place] = Some(frame);
        self.known += 1;
    }

    /// Whether the card has returned a frame.
    pub fn has_returned(&self) -> bool {
        self.known > 0 && self.head_word() & OWN == 0
    }

    /// The next frame that the card has returned, with what it says of it. The first
    /// that waits takes its place.
    #[inline]
    pub fn pop(&mut self) -> Option<(Frame, u32)> {
        if self.known == 0 {
            return None;
        }
        let word = self.head_word();
        if word & OWN != 0 {
            return None;
        }
        let frame = self.take_head()?;
        if let Some((frame, word)) = self.waiting.pop_front() {
            self.lend(frame, word);
        }
        Some((frame, word))
    }

    /// Takes back the oldest frame from a card that touches memory no more.
    pub fn reclaim(&mut self) -> Option<Frame> {
        if self.known > 0 {
            return self.take_head();
        }
        self.waiting.pop_front().map(|(frame, _)| frame)
    }

    #[inline]
    fn take_head(&mut self) -> Option<Frame> {
        let frame = self.lent[self.head].take()?;
        self.head = self.behind(1);
        self.known -= 1;
        Some(frame)
    }

    /// The place that is `places` behind the head. Not by a division, which takes as
    /// long as all the rest.
    #[inline]
    fn behind(&self, places: usize) -> usize {
        let place = self.head + places;
        if place < self.places() {
            place
        } else {
            place - self.places()
        }
    }

    #[inline]
    fn head_word(&self) -> u32 {
        self.memory.read_acquire(self.head * DESCRIPTOR_BYTES)
    }
}
