//! A queue pair: commands go out in one ring, answers come back in another.
//!
//! ```text
//! submission   | command 64 | command 64 | ...   we write, then tell the tail
//! completion   | answer 16 | answer 16 | ...     it writes; we tell the head
//! ```
//! An answer is new when its phase bit is the one of this round; the bit is read
//! with acquire, and after it the rest, once. Answers are told back rarely: the
//! completion ring has twice as many places as there are commands under way, so
//! while at most half of it is untold the controller never finds it full, and a
//! kick costs one doorbell and not two.
//!
//! The rings are [`Shared`]. Where the controller has read to is not
//! even looked at: a command that was answered was read, and those before it too.

use crate::command::{Command, PAGE_BYTES, WORDS};
use crate::registers::{Doorbells, Registers};
use crate::status::Status;
use core::sync::atomic::{Ordering, fence};
use pci::Shared;

/// Alignment of a ring (NVMe 1.4, 5.3 and 5.4).
pub const ALIGN: usize = PAGE_BYTES;
/// Bytes of a command.
pub const COMMAND_BYTES: usize = WORDS * 4;
/// Bytes of an answer (NVMe 1.4, 4.6).
pub const ANSWER_BYTES: usize = 16;
/// The answer's word with the command's number, the phase and the status.
const ANSWER_LAST: usize = 12;
/// The phase in that word.
const PHASE: u32 = 1 << 16;

/// What the controller says about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number of the command, as the controller says.
    pub id: u16,
    /// How it ended.
    pub status: Status,
    /// The command's own result.
    pub result: u32,
}

/// A queue pair and its doorbells.
pub struct Queue<R> {
    registers: R,
    doorbells: Doorbells,
    commands: Shared,
    answers: Shared,
    /// The next free place for a command, and what the controller was told.
    tail: u16,
    told_tail: u16,
    /// The next answer, and its phase.
    head: u16,
    phase: u32,
    /// Answers taken that the controller was not told about.
    untold: u16,
}

impl<R: Registers> Queue<R> {
    /// A pair in zeroed memory, before the controller knows of it.
    ///
    /// # Panics
    /// If a ring has fewer than two places or more than an index reaches.
    pub fn new(registers: R, doorbells: Doorbells, commands: Shared, answers: Shared) -> Self {
        let queue = Self {
            registers,
            doorbells,
            commands,
            answers,
            tail: 0,
            told_tail: 0,
            head: 0,
            phase: PHASE,
            untold: 0,
        };
        for places in [queue.command_places(), queue.answer_places()] {
            assert!((2..=1 << 15).contains(&places), "a ring of {places} places");
        }
        queue
    }

    /// Forgets all that is in the rings. The controller has stopped.
    pub fn begin_anew(&mut self) {
        // Phases of the last round would pass for answers.
        for place in 0..self.answer_places() {
            self.answers.write(place * ANSWER_BYTES + ANSWER_LAST, 0);
        }
        (self.tail, self.told_tail, self.head, self.untold) = (0, 0, 0, 0);
        self.phase = PHASE;
    }

    /// The registers, for what is not a doorbell.
    pub fn registers(&self) -> &R {
        &self.registers
    }

    /// Places for commands. One always stays free.
    pub fn command_places(&self) -> usize {
        self.commands.bytes() / COMMAND_BYTES
    }

    /// Places for answers.
    pub fn answer_places(&self) -> usize {
        self.answers.bytes() / ANSWER_BYTES
    }

    /// Where both rings lie, commands first.
    pub fn addresses(&self) -> [u64; 2] {
        [self.commands.address(), self.answers.address()]
    }

    /// How many commands may be under way, so that neither ring is ever full.
    pub fn depth(&self) -> usize {
        (self.command_places() - 1).min(self.answer_places() / 2)
    }

    /// Puts a command into the ring. Fewer than [`Queue::depth`] are under way.
    pub fn push(&mut self, command: &Command, id: u16) {
        let at = usize::from(self.tail) * COMMAND_BYTES;
        self.commands.write_words(at, command.words(id));
        self.tail += 1;
        if usize::from(self.tail) == self.command_places() {
            self.tail = 0;
        }
    }

    /// Tells the controller about new commands; true if there were some.
    pub fn ring(&mut self) -> bool {
        if self.tail == self.told_tail {
            return false;
        }
        self.told_tail = self.tail;
        // The commands and what they name before the doorbell.
        fence(Ordering::SeqCst);
        self.registers
            .write(self.doorbells.submission, self.tail.into());
        true
    }

    /// Whether there is an answer.
    pub fn has_answer(&self) -> bool {
        self.answers.read_acquire(self.head_at() + ANSWER_LAST) & PHASE == self.phase
    }

    /// The next answer.
    pub fn pop(&mut self) -> Option<Answer> {
        let at = self.head_at();
        let last = self.answers.read_acquire(at + ANSWER_LAST);
        if last & PHASE != self.phase {
            return None;
        }
        let answer = Answer {
            id: last as u16,
            status: Status::of_answer(last),
            result: self.answers.read(at),
        };
        self.head += 1;
        if usize::from(self.head) == self.answer_places() {
            self.head = 0;
            self.phase ^= PHASE;
        }
        self.untold += 1;
        Some(answer)
    }

    /// Tells the controller where we are if it would find its ring full soon.
    pub fn make_room(&mut self) {
        if usize::from(self.untold) >= self.answer_places() / 2 {
            self.tell_head();
        }
    }

    /// Tells the controller about every answer that was taken, if there are some.
    pub fn tell_head(&mut self) {
        if self.untold != 0 {
            self.untold = 0;
            // Our reads of those places before they are the controller's again.
            fence(Ordering::SeqCst);
            self.registers
                .write(self.doorbells.completion, self.head.into());
        }
    }

    fn head_at(&self) -> usize {
        usize::from(self.head) * ANSWER_BYTES
    }
}
