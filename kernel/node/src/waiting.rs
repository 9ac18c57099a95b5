//! Frames that wait for something: for an older write, for a flush, for a spare.
//!
//! All lists share one array that is as long as there are frames, so whatever the
//! lists are, each of them can hold every frame and putting one in never fails.
//! A [`Queue`] is two indices; a frame's [`Place`] stays good until it is taken.

use crate::mark::Mark;
use alloc::boxed::Box;
use alloc::vec::Vec;
use io::Frame;

const NONE: u16 = u16::MAX;

/// The array. See the module's header.
pub struct Waiting {
    entries: Box<[Entry]>,
    free: u16,
}

struct Entry {
    frame: Option<Frame>,
    mark: Mark,
    next: u16,
}

/// Where one frame waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u16);

/// Frames in order of arrival.
#[derive(Debug)]
pub struct Queue {
    head: u16,
    tail: u16,
}

impl Queue {
    /// Nobody waits.
    pub const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
    };

    /// Whether nobody waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head == NONE
    }
}

impl Waiting {
    /// Room for `frames` frames.
    pub fn new(frames: usize) -> Self {
        assert!(frames < usize::from(NONE), "a place is 16 bits");
        let entries: Vec<Entry> = (0..frames)
            .map(|index| Entry {
                frame: None,
                mark: Mark(0),
                next: if index + 1 < frames {
                    index as u16 + 1
                } else {
                    NONE
                },
            })
            .collect();
        Self {
            entries: entries.into_boxed_slice(),
            free: if frames == 0 { NONE } else { 0 },
        }
    }

    /// Keeps a frame that is in no queue.
    #[inline]
    pub fn put(&mut self, frame: Frame, mark: Mark) -> Place {
        let place = self.free;
        let entry = self
            .entries
            .get_mut(usize::from(place))
            .expect("there is a place for every frame");
        self.free = entry.next;
        *entry = Entry {
            frame: Some(frame),
            mark,
            next: NONE,
        };
        Place(place)
    }

    /// Gives back a frame that was [`put`](Self::put).
    #[inline]
    pub fn take(&mut self, place: Place) -> (Frame, Mark) {
        let entry = &mut self.entries[usize::from(place.0)];
        let frame = entry.frame.take().expect("a place is taken once");
        entry.next = self.free;
        self.free = place.0;
        (frame, entry.mark)
    }

    /// The frame at a place, to look at.
    #[inline]
    pub fn look(&self, place: Place) -> Option<&Frame> {
        self.entries[usize::from(place.0)].frame.as_ref()
    }

    /// Puts a frame at the end of a queue.
    #[inline]
    pub fn push(&mut self, queue: &mut Queue, frame: Frame, mark: Mark) -> Place {
        let place = self.put(frame, mark);
        if queue.is_empty() {
            queue.head = place.0;
        } else {
            self.entries[usize::from(queue.tail)].next = place.0;
        }
        queue.tail = place.0;
        place
    }

    /// Takes the frame that has waited longest.
    #[inline]
    pub fn pop(&mut self, queue: &mut Queue) -> Option<(Frame, Mark)> {
        if queue.is_empty() {
            return None;
        }
        let head = queue.head;
        queue.head = self.entries[usize::from(head)].next;
        if queue.head == NONE {
            queue.tail = NONE;
        }
        Some(self.take(Place(head)))
    }

    /// How many frames wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| entry.frame.is_some())
            .count()
    }

    /// The frame that has waited longest, and its mark to change.
    #[inline]
    pub fn front(&mut self, queue: &Queue) -> Option<(&Frame, &mut Mark)> {
        let entry = self.entries.get_mut(usize::from(queue.head))?;
        Some((entry.frame.as_ref()?, &mut entry.mark))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::frames;

    #[test]
    fn queues_keep_their_order_and_share_all_places() {
        let mut waiting = Waiting::new(4);
        let mut frames = frames(4);
        let mut queues = [Queue::EMPTY, Queue::EMPTY];
        for (number, frame) in frames.drain(..).enumerate() {
            waiting.push(&mut queues[number % 2], frame, Mark(number as u32));
        }
        let mut order = Vec::new();
        for queue in &mut queues {
            while let Some((frame, mark)) = waiting.pop(queue) {
                order.push(mark.0);
                frames.push(frame);
            }
        }
        assert_eq!(order, [0, 2, 1, 3]);
        let mut one = Queue::EMPTY;
        for frame in frames {
            waiting.push(&mut one, frame, Mark(9));
        }
        assert_eq!(waiting.front(&one).map(|(_, mark)| mark.0), Some(9));
    }

    #[test]
    fn a_frame_that_was_put_is_seen_until_it_is_taken() {
        let mut waiting = Waiting::new(1);
        let place = waiting.put(frames(1).remove(0), Mark(7));
        assert!(waiting.look(place).is_some());
        let (frame, mark) = waiting.take(place);
        assert_eq!(mark, Mark(7));
        assert!(waiting.look(place).is_none());
        waiting.put(frame, mark);
    }

    #[test]
    #[should_panic(expected = "a place for every frame")]
    fn more_frames_than_there_are_is_a_broken_invariant() {
        let mut waiting = Waiting::new(1);
        for frame in frames(2) {
            waiting.put(frame, Mark(0));
        }
    }
}
