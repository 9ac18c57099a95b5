//! One ring of descriptors: lent in order, back in order.
//!
//! ```text
//!         head ─► back from the card          told ─► what the card knows
//!  | free |  lent, known to the card  | lent, not yet told |  free |
//!                                                      tail ─►
//! ```
//! A descriptor is a bus address and two words (8254x, 3.2.3 and 3.3.3; I210, 7.1.4
//! and 7.2.2). The card says "done" in one of the two; it is read with acquire, and
//! after it the other, once each. A ring has more places than the machine has frames,
//! so lending never fails. As order is all that counts, a card can not return what
//! it was not lent: a "done" is looked for only where a frame is and was told.

use crate::registers::{Registers, RingPlace};
use alloc::boxed::Box;
use core::sync::atomic::{Ordering, fence};
use io::{Frame, WIRE};
use pci::Shared;

/// Bytes of a descriptor.
pub const DESCRIPTOR_BYTES: usize = 16;
/// A ring's length is a multiple of this (128 bytes).
const PLACES_STEP: usize = 8;
/// Done, in the word that has it.
pub const DONE: u32 = 1 << 0;

/// The word of a descriptor that says "done".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoneIn {
    /// Byte 8: received, in the later layout.
    First,
    /// Byte 12: sent, and received in the first layout.
    Second,
}

/// Places of a ring for `frames` frames. One always stays free, or full would look
/// like empty.
pub const fn places(frames: usize) -> usize {
    (frames + 1).next_multiple_of(PLACES_STEP)
}

const _: () = assert!(
    places(io::FRAMES_MAX) <= 4096,
    "the longest ring of every chip from the 82544 on"
);

/// A ring, and the frames that the card has.
pub struct Ring {
    memory: Shared,
    place: RingPlace,
    done_in: DoneIn,
    lent: Box<[Option<Frame>]>,
    head: usize,
    told: usize,
    tail: usize,
}

impl Ring {
    /// A ring in `memory`, which is all of it.
    pub fn new(memory: Shared, place: RingPlace, done_in: DoneIn) -> Self {
        let places = memory.bytes() / DESCRIPTOR_BYTES;
        Self {
            memory,
            place,
            done_in,
            lent: (0..places).map(|_| None).collect(),
            head: 0,
            told: 0,
            tail: 0,
        }
    }

    /// Where it is told to the card.
    pub fn place(&self) -> RingPlace {
        self.place
    }

    /// Frames that it holds.
    pub fn frames(&self) -> usize {
        self.lent.len() - 1
    }

    /// Tells the card where the ring is. It is empty, and the card does not run.
    pub fn tell_place(&self, registers: &impl Registers) {
        let address = self.memory.address();
        let [low, high] = self.place.base();
        registers.write(low, address as u32);
        registers.write(high, (address >> 32) as u32);
        registers.write(self.place.bytes(), self.memory.bytes() as u32);
        registers.write(self.place.head(), 0);
        registers.write(self.place.tail(), 0);
    }

    /// Lends a frame with the descriptor's two words.
    ///
    /// # Panics
    /// If there are more frames than the machine has.
    #[inline]
    pub fn push(&mut self, frame: Frame, words: [u32; 2]) {
        let next = self.after(self.tail);
        assert!(next != self.head, "a ring holds every frame of the machine");
        let at = self.tail * DESCRIPTOR_BYTES;
        let address = frame.bus_address() + WIRE as u64;
        let [low, high] = [address as u32, (address >> 32) as u32];
        self.memory.write_words(at, [low, high, words[0], words[1]]);
        self.lent[self.tail] = Some(frame);
        self.tail = next;
    }

    /// Frames that the card knows of and has not returned.
    #[inline]
    pub fn known(&self) -> usize {
        self.distance(self.head, self.told)
    }

    /// Frames that the card does not know of yet.
    #[inline]
    pub fn untold(&self) -> usize {
        self.distance(self.told, self.tail)
    }

    /// Tells the card about every frame.
    pub fn tell(&mut self, registers: &impl Registers) {
        self.told = self.tail;
        // The descriptors and what they name before the doorbell.
        fence(Ordering::SeqCst);
        registers.write(self.place.tail(), self.tail as u32);
    }

    /// Whether the card has returned a frame.
    pub fn has_returned(&self) -> bool {
        self.head != self.told && self.done_word() & DONE != 0
    }

    /// The next frame that the card has returned, with its descriptor's words.
    #[inline]
    pub fn pop(&mut self) -> Option<(Frame, [u32; 2])> {
        if self.head == self.told {
            return None;
        }
        let done = self.done_word();
        if done & DONE == 0 {
            return None;
        }
        let at = self.head * DESCRIPTOR_BYTES;
        let words = match self.done_in {
            DoneIn::First => [done, self.memory.read(at + 12)],
            DoneIn::Second => [self.memory.read(at + 8), done],
        };
        self.take_head().map(|frame| (frame, words))
    }

    /// Takes back the oldest frame from a card that touches memory no more.
    pub fn reclaim(&mut self) -> Option<Frame> {
        if self.head == self.told {
            self.told = self.tail;
        }
        if self.head == self.tail {
            return None;
        }
        self.take_head()
    }

    #[inline]
    fn take_head(&mut self) -> Option<Frame> {
        let frame = self.lent[self.head].take();
        self.head = self.after(self.head);
        frame
    }

    #[inline]
    fn done_word(&self) -> u32 {
        let word = match self.done_in {
            DoneIn::First => 8,
            DoneIn::Second => 12,
        };
        self.memory
            .read_acquire(self.head * DESCRIPTOR_BYTES + word)
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        if place + 1 == self.lent.len() {
            0
        } else {
            place + 1
        }
    }

    #[inline]
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from {
            to - from
        } else {
            to + self.lent.len() - from
        }
    }
}
