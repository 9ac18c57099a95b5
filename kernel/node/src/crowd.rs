//! A host with a small window beside one with a large one: whose request goes to the
//! disk next.
//!
//! A host with 64 requests on their way would have every other one wait behind all of
//! them, in a queue of the disk's where nothing can be changed any more. So while a
//! host works with a smaller window beside it, a disk has no more at once than it ends
//! about as quickly as a single one; the rest waits here, a queue for each host. The
//! queues take turns, and a host that has nothing here goes past them. With that a
//! host's own window is what it waits behind, and a machine that boots with one request
//! at a time gets on beside one that copies a disk.
//!
//! All others are not held up: what is said here costs them a comparison a request.
//!
//! Requests wait *behind* the fence: a write has its place in the order when it comes
//! here, so the order among hosts and ports is that of arrival, whoever goes first.

use crate::limits::{CROWD_MIN, CROWD_SLACK_US};
use crate::mark::Mark;
use crate::waiting::{Place, Queue, Waiting};
use io::{FRAMES_MAX, Frame};

/// Queues, by a hash of the host's address. Two hosts that share one share a turn.
const QUEUES: usize = 16;

/// See the module's header.
pub struct Crowd {
    /// Operations that the disk may have at once.
    most: usize,
    /// The shortest time that one took lately, in microseconds.
    best_us: u64,
    queues: [Queue; QUEUES],
    /// Queues with somebody in them, a bit each.
    waiting: u16,
    /// Queues whose host has gone past the others since the last turn.
    passed: u16,
    /// Whose turn was last.
    last: u32,
}

impl Crowd {
    /// Nobody asks yet.
    pub fn new() -> Self {
        Self {
            most: usize::MAX,
            best_us: u64::MAX,
            queues: [const { Queue::EMPTY }; QUEUES],
            waiting: 0,
            passed: 0,
            last: 0,
        }
    }

    /// Whether the disk has enough for now, with `under_way` operations.
    #[inline(always)]
    pub fn is_enough(&self, under_way: usize) -> bool {
        under_way >= self.most
    }

    /// Whether there is anything to do in a turn.
    #[inline(always)]
    pub fn is_busy(&self) -> bool {
        self.waiting | self.passed != 0
    }

    /// A new turn: whoever has nothing here may go past the others once.
    pub fn begin_turn(&mut self) {
        self.passed = 0;
    }

    /// Whether a request goes to the disk at once, although that has enough: one in a
    /// turn of a host that has none here. Who keeps many on their way has.
    pub fn lets_pass(&mut self, frame: &Frame) -> bool {
        let host = 1 << queue_of(frame);
        let passes = (self.waiting | self.passed) & host == 0;
        self.passed |= host;
        passes
    }

    /// Whether anybody may be held up.
    pub fn is_gathered(&self) -> bool {
        self.most != usize::MAX
    }

    /// Says whether a small window was seen beside a large one lately.
    pub fn gather(&mut self, crowded: bool) {
        if !crowded {
            self.most = usize::MAX;
        } else if self.most == usize::MAX {
            self.most = CROWD_MIN;
        }
        // A disk may become slower for good.
        self.best_us = self.best_us.saturating_add(self.best_us / 8);
    }

    /// An operation took so long. A disk that does many things at once is given many;
    /// one where they wait for each other is not.
    #[inline]
    pub fn took(&mut self, us: u64) {
        self.best_us = self.best_us.min(us);
        if self.most != usize::MAX {
            if us > 2 * self.best_us + CROWD_SLACK_US {
                self.most = (self.most / 2).max(CROWD_MIN);
            } else if self.waiting != 0 {
                self.most = (self.most + 1).min(FRAMES_MAX);
            }
        }
    }

    /// Keeps a request until its host's turn.
    pub fn push(&mut self, waiting: &mut Waiting, frame: Frame, mark: Mark) -> Place {
        let queue = queue_of(&frame);
        self.waiting |= 1 << queue;
        waiting.push(&mut self.queues[usize::from(queue)], frame, mark)
    }

    /// The oldest request of the host whose turn it is.
    pub fn pop(&mut self, waiting: &mut Waiting) -> Option<(Frame, Mark)> {
        if self.waiting == 0 {
            return None;
        }
        // The next one behind the last, round and round.
        let behind = self.waiting.rotate_right(self.last + 1).trailing_zeros();
        self.last = (self.last + 1 + behind) % QUEUES as u32;
        let queue = &mut self.queues[self.last as usize];
        let popped = waiting.pop(queue);
        if queue.is_empty() {
            self.waiting &= !(1 << self.last);
        }
        popped
    }
}

/// The queue of a frame's sender.
fn queue_of(frame: &Frame) -> u8 {
    let source = frame.wire().get(9..12).unwrap_or_default();
    source.iter().fold(0, |hash, byte| hash ^ byte) % QUEUES as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::frames;
    use alloc::vec::Vec;

    #[test]
    fn the_queues_take_turns_and_each_keeps_its_order() {
        let mut waiting = Waiting::new(6);
        let mut crowd = Crowd::new();
        for (number, mut frame) in frames(6).into_iter().enumerate() {
            frame.set_len(60);
            frame.buffer_mut()[11] = [3, 3, 3, 3, 15, 1][number];
            crowd.push(&mut waiting, frame, Mark(number as u32));
        }
        let mut order = Vec::new();
        while let Some((_, mark)) = crowd.pop(&mut waiting) {
            order.push(mark.0);
        }
        assert_eq!(order, [5, 0, 4, 1, 2, 3]);
        assert!(!crowd.is_busy());
    }

    #[test]
    fn a_host_goes_past_once_a_turn_and_not_past_its_own() {
        let mut waiting = Waiting::new(2);
        let mut crowd = Crowd::new();
        let mut frames = frames(2);
        frames[1].buffer_mut()[11] = 1;
        frames.iter_mut().for_each(|frame| frame.set_len(60));
        assert!(crowd.lets_pass(&frames[0]));
        assert!(!crowd.lets_pass(&frames[0]));
        assert!(crowd.lets_pass(&frames[1]), "another host");
        crowd.begin_turn();
        crowd.push(&mut waiting, frames.remove(0), Mark(0));
        assert!(crowd.lets_pass(&frames[0]), "and another turn");
        crowd.begin_turn();
        let (first, _) = crowd.pop(&mut waiting).expect("it waits");
        crowd.push(&mut waiting, frames.remove(0), Mark(1));
        assert!(crowd.lets_pass(&first));
    }

    #[test]
    fn a_disk_that_does_many_at_once_gets_many_and_one_that_does_not_few() {
        let mut waiting = Waiting::new(1);
        let mut crowd = Crowd::new();
        crowd.push(&mut waiting, frames(1).remove(0), Mark(0));
        assert!(!crowd.is_enough(1000), "as long as there is no crowd");
        crowd.gather(true);
        assert!(crowd.is_enough(CROWD_MIN));
        for _ in 0..30 {
            crowd.took(100);
        }
        assert!(!crowd.is_enough(CROWD_MIN + 29));
        assert!(crowd.is_enough(CROWD_MIN + 30));
        for _ in 0..8 {
            crowd.took(2 * 100 + CROWD_SLACK_US + 1);
        }
        assert!(crowd.is_enough(CROWD_MIN));
        assert!(!crowd.is_enough(CROWD_MIN - 1), "and no fewer");
    }
}
