//! The two rings of one direction: descriptors lent, answers returned.
//!
//! ```text
//!         head ─► answered next             tail ─► lent next
//!  |  free  |  lent, so the card may have it  |  free  |
//! ```
//! A descriptor is the card's when its bit is as ours is in this round, so writing
//! that word lends the frame; it is the last that is written. An answer is new when
//! its bit is; it names the last of the descriptors that it is about, for the card
//! may pass some over. Whatever it names must be lent, or the ring is broken for good.
//!
//! A ring has more places than the machine has frames, so lending never fails.

use alloc::boxed::Box;
use core::sync::atomic::{Ordering, fence};
use io::{Frame, WIRE, WIRE_BYTES};
use pci::Shared;

/// Bytes of a descriptor, and of an answer.
pub const DESCRIPTOR_BYTES: usize = 16;
/// A ring's length is a multiple of this.
const PLACES_STEP: usize = 32;

/// Places of a ring for `frames` frames. One always stays free.
pub const fn places(frames: usize) -> usize {
    (frames + 1).next_multiple_of(PLACES_STEP)
}

const _: () = assert!(places(io::FRAMES_MAX) <= 4096, "the longest ring");
const _: () = assert!(
    (PLACES_STEP * DESCRIPTOR_BYTES).is_multiple_of(512),
    "answers, which lie behind the descriptors, are aligned as a ring must be"
);

/// Bytes of both rings for `frames` frames.
pub const fn bytes(frames: usize) -> usize {
    2 * places(frames) * DESCRIPTOR_BYTES
}

/// Third word of a descriptor: how many bytes.
const BYTES: u32 = 0x3fff;
const _: () = assert!(WIRE_BYTES <= BYTES as usize, "a slot's length has room");
/// Third word of one to send, and of one to receive: the round's bit.
const SEND_ROUND: u32 = 1 << 14;
const RECEIVE_ROUND: u32 = 1 << 31;
/// Fourth word of one to send: the frame ends here, answer when it is gone.
const SEND_WHOLE: u32 = 1 << 12 | 1 << 13;

/// First word of an answer: the descriptor.
pub const INDEX: u32 = 0xfff;
/// Fourth word of an answer: the round's bit.
const ANSWER_ROUND: u32 = 1 << 31;

/// Which way frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the card to us.
    Receive,
    /// From us to the card.
    Send,
}

/// What the card says of a frame.
pub type Answer = [u32; 4];

/// Descriptors, answers, and the frames that the card has.
pub struct Ring {
    memory: Shared,
    way: Way,
    lent: Box<[Option<Frame>]>,
    head: usize,
    tail: usize,
    /// The bit of descriptors in the round that `tail` is in.
    round: bool,
    answered: usize,
    /// The same of answers.
    answer_round: bool,
    /// An answer that is about frames from `head` up to this one.
    in_hand: Option<(usize, Answer)>,
    is_broken: bool,
}

impl Ring {
    /// Rings in `memory`, which is all of it.
    pub fn new(memory: Shared, way: Way) -> Self {
        let places = memory.bytes() / DESCRIPTOR_BYTES / 2;
        Self {
            memory,
            way,
            lent: (0..places).map(|_| None).collect(),
            head: 0,
            tail: 0,
            round: true,
            answered: 0,
            answer_round: true,
            in_hand: None,
            is_broken: false,
        }
    }

    /// Places of either ring.
    #[inline]
    pub fn places(&self) -> usize {
        self.lent.len()
    }

    /// Where the descriptors are.
    pub fn address(&self) -> u64 {
        self.memory.address()
    }

    /// Where the answers are.
    pub fn answers_address(&self) -> u64 {
        self.address() + self.answers() as u64
    }

    /// Where the next frame goes.
    pub fn tail(&self) -> usize {
        self.tail
    }

    /// Frames that it holds.
    pub fn frames(&self) -> usize {
        self.places() - 1
    }

    /// Whether the card returned what it was not lent.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Lends a frame.
    ///
    /// # Panics
    /// If there are more frames than the machine has.
    #[inline]
    pub fn push(&mut self, frame: Frame) {
        let next = self.after(self.tail);
        assert!(next != self.head, "a ring holds every frame of the machine");
        self.describe(self.tail, &frame);
        self.lent[self.tail] = Some(frame);
        self.tail = next;
        self.round ^= next == 0;
    }

    /// Writes the descriptor of a frame in this round, the word that lends it last.
    #[inline]
    fn describe(&self, place: usize, frame: &Frame) {
        let at = place * DESCRIPTOR_BYTES;
        let (bytes, round, flags) = match self.way {
            Way::Receive => (WIRE_BYTES, RECEIVE_ROUND, 0),
            Way::Send => (frame.len(), SEND_ROUND, SEND_WHOLE),
        };
        let round = if self.round { round } else { 0 };
        let address = frame.bus_address() + WIRE as u64;
        let [low, high] = [address as u32, (address >> 32) as u32];
        self.memory.write_words(at, [low, high]);
        self.memory.write(at + 12, flags);
        self.memory.write_release(at + 8, bytes as u32 | round);
    }

    /// Whether the card has returned a frame.
    pub fn has_returned(&self) -> bool {
        !self.is_broken && (self.in_hand.is_some() || self.answer_is_new().is_some())
    }

    /// The oldest frame that the card has returned, with what it says of it; nothing
    /// for one that it passed over.
    #[inline]
    pub fn pop(&mut self) -> Option<(Frame, Option<Answer>)> {
        let (last, answer) = match self.in_hand {
            // Nearly always: an answer is about one frame.
            None => self.next_answer()?,
            Some(in_hand) => in_hand,
        };
        let frame = self.lent[self.head].take();
        let is_last = self.head == last;
        self.head = self.after(self.head);
        if !is_last {
            self.in_hand = Some((last, answer));
        } else if self.in_hand.is_some() {
            self.in_hand = None;
        }
        frame.map(|frame| (frame, is_last.then_some(answer)))
    }

    /// Takes back the oldest frame from a card that touches memory no more.
    pub fn reclaim(&mut self) -> Option<Frame> {
        let frame = self.lent[self.head].take()?;
        self.head = self.after(self.head);
        Some(frame)
    }

    /// Lends all frames that are not back once more, in the same order, from the
    /// start: the card was reset.
    #[cold]
    pub fn restart(&mut self) {
        let known = self.distance(self.head, self.tail);
        for at in (0..self.memory.bytes()).step_by(4) {
            self.memory.write(at, 0);
        }
        self.lent.rotate_left(self.head);
        (self.head, self.tail, self.answered) = (0, known, 0);
        (self.round, self.answer_round) = (true, true);
        self.in_hand = None;
        for (place, frame) in self.lent.iter().enumerate() {
            if let Some(frame) = frame {
                self.describe(place, frame);
            }
        }
        // Descriptors before the command that starts the card again.
        fence(Ordering::SeqCst);
    }

    #[inline]
    fn answers(&self) -> usize {
        self.places() * DESCRIPTOR_BYTES
    }

    /// The last word of the next answer, if there is one.
    #[inline]
    fn answer_is_new(&self) -> Option<u32> {
        let at = self.answers() + self.answered * DESCRIPTOR_BYTES;
        let word = self.memory.read_acquire(at + 12);
        ((word & ANSWER_ROUND != 0) == self.answer_round).then_some(word)
    }

    /// Takes the next answer. It is about a frame that is lent.
    #[inline]
    fn next_answer(&mut self) -> Option<(usize, Answer)> {
        if self.is_broken {
            return None;
        }
        let last_word = self.answer_is_new()?;
        let at = self.answers() + self.answered * DESCRIPTOR_BYTES;
        let [first, second, third] = self.memory.read_words(at);
        let answer = [first, second, third, last_word];
        let index = (answer[0] & INDEX) as usize;
        let known = self.distance(self.head, self.tail);
        if index >= self.places() || self.distance(self.head, index) >= known {
            self.is_broken = true;
            return None;
        }
        self.answered = self.after(self.answered);
        self.answer_round ^= self.answered == 0;
        Some((index, answer))
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        if place + 1 == self.places() {
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
            to + self.places() - from
        }
    }
}
