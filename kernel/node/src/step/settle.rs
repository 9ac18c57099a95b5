//! A request has ended in its disk: it waits for a flush, or is answered.

use crate::Node;
use crate::events::{Event, Noted};
use crate::mark::Mark;
use crate::node::At;
use crate::waiting::Queue;
use core::mem;
use io::{Disk, Frame, Instant, Nic, Op, Outcome, Request};

impl<N: Nic, D: Disk> Node<N, D> {
    /// A write or discard has ended well in the disk: answered now if that is
    /// enough, else when a flush has made it durable.
    #[inline(always)]
    pub(super) fn written(&mut self, now: Instant, frame: Frame, mark: Mark) {
        let export = &self.exports[mark.export()];
        let disk = usize::from(export.volume.disk);
        let station = &mut self.stations[disk];
        if station.volatile && export.target.cache() == aoe::Cache::WriteThrough {
            if station.may_have_lost(&frame) {
                return self.settle(now, frame, mark, Outcome::Fault);
            }
            // A flush under way may have failed already and taken it along.
            if !station.through.is_on() || station.flushing {
                return self.wait_for_flush(disk, frame, mark);
            }
            if station.through.ended_beside(station.under_way) {
                self.write_back(now, disk);
            }
        }
        self.settle(now, frame, mark, Outcome::Done);
    }

    /// As [`written`](Self::written), for a discard, which no disk writes through.
    #[inline(never)]
    pub(super) fn discarded(&mut self, now: Instant, frame: Frame, mark: Mark) {
        let export = &self.exports[mark.export()];
        let disk = usize::from(export.volume.disk);
        let station = &self.stations[disk];
        if !station.volatile || export.target.cache() != aoe::Cache::WriteThrough {
            self.settle(now, frame, mark, Outcome::Done);
        } else if station.may_have_lost(&frame) {
            self.settle(now, frame, mark, Outcome::Fault);
        } else {
            self.wait_for_flush(disk, frame, mark);
        }
    }

    #[inline(always)]
    pub(super) fn wait_for_flush(&mut self, disk: usize, frame: Frame, mark: Mark) {
        let queue = &mut self.stations[disk].unflushed;
        let place = self.waiting.push(queue, frame, mark);
        if let Some(ticket) = mark.ticket() {
            self.whereabouts[usize::from(ticket.0)] = At::Waiting(place);
        }
    }

    /// Begins the flush for everything that waits for one.
    #[inline(never)]
    pub(super) fn flush(&mut self, disk: usize) {
        let station = &mut self.stations[disk];
        let mut batch = mem::replace(&mut station.unflushed, Queue::EMPTY);
        let Some((frame, mark)) = self.waiting.pop(&mut batch) else {
            return;
        };
        let alone = mark.is_write() && batch.is_empty() && station.under_way == 0;
        station.through.flushes(alone);
        station.batch = batch;
        (station.flushing, station.flush_is_void) = (true, false);
        station.flushing_since = self.now;
        self.events.count(Event::Flush.into());
        let request = Request {
            op: Op::Flush,
            lba: 0,
            sectors: 0,
            data: 0,
            ticket: mark.carrying().0,
        };
        self.give(disk, request, frame);
    }

    /// A flush has ended, and with it everything that waited for it.
    pub(super) fn flushed(
        &mut self,
        now: Instant,
        disk: usize,
        frame: Frame,
        mark: Mark,
        outcome: Outcome,
    ) {
        // A disk that cannot flush has lost what it reported, whatever it calls it.
        let station = &mut self.stations[disk];
        let outcome = match outcome {
            Outcome::Done if !station.flush_is_void => Outcome::Done,
            _ => Outcome::Fault,
        };
        station.flushing = false;
        station.flushes.note(now - station.flushing_since);
        let batch = mem::replace(&mut station.batch, Queue::EMPTY);
        // What ended meanwhile may be gone with the cache that failed: to a disk that
        // began late it was part of this flush, and the next one, which knows nothing
        // of it, would work.
        let late = match outcome {
            Outcome::Done => Queue::EMPTY,
            _ => {
                station.flush_failed_at = Some(now);
                station.through.flushes(false);
                mem::replace(&mut station.unflushed, Queue::EMPTY)
            }
        };
        self.settle_all(now, frame, mark, batch, outcome);
        self.settle_late(now, late, outcome);
        if self.stations[disk].through.is_due() {
            self.write_through(now, disk);
        }
    }

    fn settle_late(&mut self, now: Instant, mut late: Queue, outcome: Outcome) {
        if let Some((frame, mark)) = self.waiting.pop(&mut late) {
            self.settle_all(now, frame, mark, late, outcome);
        }
    }

    /// Lets a disk that does one write at a time write through, if it does nothing now.
    #[cold]
    #[inline(never)]
    fn write_through(&mut self, now: Instant, disk: usize) {
        let station = &mut self.stations[disk];
        // What is under way would have begun before it, and what waits for a flush would
        // still need one.
        if station.under_way > 0 || station.flushing || !station.unflushed.is_empty() {
            return;
        }
        let is_on = station.disk.set_write_through(true);
        station.through.tried(is_on);
        if is_on {
            self.events
                .note(now, Event::WriteThrough.into(), disk as u32);
        }
    }

    /// Goes back to flushes. What is under way waits for one, whenever it began.
    #[cold]
    #[inline(never)]
    pub(super) fn write_back(&mut self, now: Instant, disk: usize) {
        let station = &mut self.stations[disk];
        station.disk.set_write_through(false);
        station.through.left(now);
        self.events.note(now, Event::WriteBack.into(), disk as u32);
    }

    /// A write has failed. One that was written through is a flush that failed as well:
    /// whatever the disk has may be gone, and its next flush knows nothing of it.
    #[cold]
    pub(super) fn write_failed(&mut self, now: Instant, disk: usize, frame: &Frame) {
        let station = &mut self.stations[disk];
        if !station.through.covers(frame.posted_at()) {
            return;
        }
        station.flush_failed_at = Some(now);
        station.flush_is_void = true;
        let late = mem::replace(&mut station.unflushed, Queue::EMPTY);
        if station.through.is_on() {
            self.write_back(now, disk);
        }
        self.settle_late(now, late, Outcome::Fault);
    }

    /// Settles one, as [`settle_one`](Self::settle_one) does.
    pub(super) fn settle(&mut self, now: Instant, frame: Frame, mark: Mark, outcome: Outcome) {
        self.settle_all(now, frame, mark, Queue::EMPTY, outcome);
    }

    /// Settles one, and those that waited with it.
    #[inline(never)]
    fn settle_all(
        &mut self,
        now: Instant,
        frame: Frame,
        mark: Mark,
        mut others: Queue,
        outcome: Outcome,
    ) {
        let mut next = Some((frame, mark));
        while let Some((frame, mark)) = next {
            self.settle_one(now, frame, mark, outcome);
            next = self.waiting.pop(&mut others);
        }
    }

    #[cold]
    fn note_failure(&mut self, frame: &Frame, export: usize) {
        let io = aoe::io_of(frame.wire(), frame.len()).expect("admitted, so it parses");
        self.exports[export].work.note_failure(io.op);
    }

    /// Answers a request, and every copy of it, and lets the fence go on.
    #[inline(always)]
    fn settle_one(&mut self, now: Instant, frame: Frame, mark: Mark, outcome: Outcome) {
        if outcome != Outcome::Done {
            self.note_failure(&frame, mark.export());
        }
        self.answer(now, frame, mark.export(), outcome);
        let Some(ticket) = mark.ticket() else {
            return;
        };
        self.fence.finish(ticket);
        let place = usize::from(ticket.0);
        if !self.copies[place].is_empty() {
            self.settle_copies(now, place, mark, outcome);
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_copies(&mut self, now: Instant, place: usize, mark: Mark, outcome: Outcome) {
        let mut copies = mem::replace(&mut self.copies[place], Queue::EMPTY);
        while let Some((copy, _)) = self.waiting.pop(&mut copies) {
            // Only the one that they are copies of has a place in the fence.
            self.settle(now, copy, mark.without_place(), outcome);
        }
    }

    /// Edits the request in the frame into its answer and sends it.
    #[inline(always)]
    pub(super) fn answer(
        &mut self,
        now: Instant,
        mut frame: Frame,
        export: usize,
        outcome: Outcome,
    ) {
        let home = usize::from(frame.home());
        let export = &mut self.exports[export];
        let port = &mut self.ports[home];
        export.latency.note(now - frame.posted_at());
        port.lent -= 1;
        self.stations[usize::from(export.volume.disk)].held[home] -= 1;
        let received = frame.len();
        let wire = &port.wire;
        let len = export
            .target
            .complete(wire, frame.buffer_mut(), received, outcome_of(outcome));
        if len == 0 {
            // An initiator that takes every answer for success gets none.
            let silenced = Noted::Dropped(aoe::Drop::Silenced);
            self.events.note(now, silenced, home as u32);
            return self.release(now, frame);
        }
        frame.set_len(len);
        if self.capture.is_on {
            return self.send(frame);
        }
        // As `send`, for nearly every frame: its port is at hand.
        self.events.count(Event::Sent.into());
        port.send(frame);
    }
}

const fn outcome_of(outcome: Outcome) -> aoe::Outcome {
    match outcome {
        Outcome::Done => aoe::Outcome::Done,
        Outcome::Medium => aoe::Outcome::Medium,
        Outcome::Fault => aoe::Outcome::Fault,
        Outcome::Unsupported => aoe::Outcome::Unsupported,
    }
}
