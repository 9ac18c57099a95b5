//! What disks are done with, and what may go on because of it.

use crate::Node;
use crate::events::Event;
use crate::limits;
use crate::mark::{Mark, Work};
use crate::node::At;
use crate::waiting::Queue;
use aoe::fence::{Next, Ticket};
use core::mem;
use io::{Disk, Done, Frame, Instant, Nic, Outcome};

impl<N: Nic, D: Disk> Node<N, D> {
    /// Takes back what disks are done with.
    pub(super) fn finish(&mut self, now: Instant) -> bool {
        let mut moved = false;
        for index in 0..self.stations.len() {
            for _ in 0..limits::FINISH_PER_TURN {
                let Some(done) = self.stations[index].take_done(now) else {
                    break;
                };
                self.finish_one(now, index, done);
                moved = true;
            }
            if self.stations[index].crowd.is_busy() {
                self.call_up(now, index);
            }
        }
        moved | self.let_through(now)
    }

    #[inline(always)]
    fn finish_one(&mut self, now: Instant, index: usize, done: Done) {
        let Done {
            ticket,
            outcome,
            frame,
        } = done;
        let mark = Mark(ticket);
        if outcome == Outcome::Done {
            if mark.is_read() {
                // No place in the fence, no copies: what `settle` would come to.
                return self.answer(now, frame, mark.export(), Outcome::Done);
            }
            if mark.is_write() {
                return self.written(now, frame, mark);
            }
        }
        self.finish_other(now, index, mark, outcome, frame);
    }

    /// What is not simply a read or a write that went well.
    #[inline(never)]
    fn finish_other(
        &mut self,
        now: Instant,
        index: usize,
        mark: Mark,
        outcome: Outcome,
        frame: Frame,
    ) {
        match mark {
            Mark::EARLY => return drop(frame),
            Mark::STATE => return self.kept(now, frame, outcome),
            Mark::MEASURE => return self.measured(now, frame, outcome),
            _ => {}
        }
        if outcome != Outcome::Done {
            self.disk_failed(now, index, mark, outcome);
            if mark.is_write() {
                self.write_failed(now, index, &frame);
            }
        }
        match mark.work() {
            Work::Read => self.settle(now, frame, mark, outcome),
            // Or it would have been simple.
            Work::Write => self.settle(now, frame, mark, outcome),
            Work::Verify if outcome == Outcome::Done => self.verify(now, frame, mark),
            Work::Verify => self.settle(now, frame, mark, outcome),
            Work::Discard if outcome == Outcome::Done => self.discard(now, frame, mark),
            Work::Discard => self.settle(now, frame, mark, outcome),
            Work::Flush | Work::Carry => self.flushed(now, index, frame, mark, outcome),
            Work::Farewell => self.release(now, frame),
        }
    }

    /// Counts a failure, and lets SMART say so from now on.
    #[cold]
    fn disk_failed(&mut self, now: Instant, index: usize, mark: Mark, outcome: Outcome) {
        self.events
            .note(now, Event::DiskError.into(), mark.export() as u32);
        let station = &mut self.stations[index];
        if outcome == Outcome::Unsupported || station.failing {
            return;
        }
        station.failing = true;
        log::warn!(
            "disk {index} ({}): first {outcome:?} error",
            station.disk.name()
        );
        for export in 0..self.exports.len() {
            if usize::from(self.exports[export].volume.disk) == index {
                self.remeasure(export);
            }
        }
    }

    /// Lets writes through that waited for older ones, and drops those that have
    /// waited too long.
    fn let_through(&mut self, now: Instant) -> bool {
        let mut moved = false;
        // Ends: every round takes one frame out of those that wait.
        while let Some(next) = self.fence.next(now.0) {
            moved = true;
            match next {
                Next::Start(ticket) => {
                    let (frame, mark) = self.take_held(ticket);
                    self.start_change(now, frame, mark);
                }
                Next::Expired(ticket) => {
                    let (frame, mark) = self.take_held(ticket);
                    self.abandon(now, frame, mark);
                    let mut copies =
                        mem::replace(&mut self.copies[usize::from(ticket.0)], Queue::EMPTY);
                    while let Some((copy, mark)) = self.waiting.pop(&mut copies) {
                        self.abandon(now, copy, mark);
                    }
                }
            }
        }
        moved
    }

    fn take_held(&mut self, ticket: Ticket) -> (Frame, Mark) {
        let At::Waiting(place) = self.whereabouts[usize::from(ticket.0)] else {
            unreachable!("the fence starts and expires only what it told us to keep");
        };
        self.waiting.take(place)
    }

    /// Gives up a request that has waited too long: its host resends it.
    #[cold]
    fn abandon(&mut self, now: Instant, frame: Frame, mark: Mark) {
        let home = usize::from(frame.home());
        let disk = usize::from(self.exports[mark.export()].volume.disk);
        self.ports[home].lent -= 1;
        self.stations[disk].held[home] -= 1;
        self.events
            .note(now, Event::Expired.into(), mark.export() as u32);
        self.release(now, frame);
    }
}
