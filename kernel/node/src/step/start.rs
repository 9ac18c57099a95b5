//! A request that was taken over goes to its disk, one piece at a time, and what
//! changes the disk goes through the fence first.

use crate::Node;
use crate::events::Event;
use crate::mark::{Mark, Work};
use crate::node::At;
use aoe::fence::{Passage, Ticket, Write};
use aoe::{Io, IoOp};
use io::{Disk, Frame, Instant, Nic, Op, Outcome, Request, WIRE_BYTES};

impl<N: Nic, D: Disk> Node<N, D> {
    /// Starts any request for sectors that was taken over.
    #[inline(never)]
    pub(super) fn start_other(&mut self, now: Instant, mut frame: Frame, export: u8, io: Io) {
        // What is done in parts has not begun.
        frame.set_progress(0);
        let disk = usize::from(self.exports[usize::from(export)].volume.disk);
        match io.op {
            IoOp::Read => {
                let mark = Mark::new(export, Work::Read);
                self.submit(now, frame, mark, Op::Read, io.lba, io.sectors, io.data);
            }
            IoOp::Verify => self.verify(now, frame, Mark::new(export, Work::Verify)),
            IoOp::Flush => {
                let mark = Mark::new(export, Work::Flush);
                if self.stations[disk].volatile {
                    self.wait_for_flush(disk, frame, mark);
                } else {
                    self.settle(now, frame, mark, Outcome::Done);
                }
            }
            IoOp::Write => self.pass_fence(now, frame, export, Work::Write, &io),
            IoOp::Discard => self.pass_fence(now, frame, export, Work::Discard, &io),
        }
    }

    /// Brings what changes the disk into its order: it goes on, waits for an older
    /// one, or is a copy of one that is still unanswered.
    fn pass_fence(&mut self, now: Instant, frame: Frame, export: u8, work: Work, io: &Io) {
        // A discard is a barrier: its ranges are many and lie anywhere.
        let (first, sectors) = match work {
            Work::Write => (io.lba, io.sectors.into()),
            _ => (0, u64::MAX),
        };
        let write = Write {
            slot: self.exports[usize::from(export)].target.address().slot,
            first,
            sectors,
        };
        let (whereabouts, waiting, stations) = (&self.whereabouts, &self.waiting, &self.stations);
        let disk = usize::from(self.exports[usize::from(export)].volume.disk);
        let same_bytes = |ticket: Ticket| {
            let is_same = |other: &Frame| is_same_change(other.wire(), frame.wire());
            let same = match whereabouts[usize::from(ticket.0)] {
                At::Waiting(place) => waiting.look(place).map(is_same),
                At::Disk(mark) => stations[disk].disk.lent(mark.0, is_same),
            };
            same == Some(true)
        };
        match self.fence.arrive(now.0, write, same_bytes) {
            Passage::Go(ticket) => {
                let mark = Mark::fenced(export, work, ticket);
                match work {
                    Work::Write => self.write(now, frame, mark, io),
                    _ => self.discard(now, frame, mark),
                }
            }
            Passage::Wait(ticket) => {
                self.events.note(now, Event::HeldBack.into(), export.into());
                let place = self.waiting.put(frame, Mark::fenced(export, work, ticket));
                self.whereabouts[usize::from(ticket.0)] = At::Waiting(place);
            }
            Passage::Copy(ticket) => {
                self.events
                    .note(now, Event::CopyMerged.into(), export.into());
                let copies = &mut self.copies[usize::from(ticket.0)];
                self.waiting
                    .push(copies, frame, Mark::new(export, Work::Read));
            }
        }
    }

    /// Runs what changes the disk, now that every older one in its way is answered.
    pub(super) fn start_change(&mut self, now: Instant, frame: Frame, mark: Mark) {
        if mark.work() == Work::Discard {
            return self.discard(now, frame, mark);
        }
        let io = aoe::io_of(frame.wire(), frame.len()).expect("admitted, so it parses");
        self.write(now, frame, mark, &io);
    }

    #[inline]
    pub(super) fn write(&mut self, now: Instant, frame: Frame, mark: Mark, io: &Io) {
        self.submit(now, frame, mark, Op::Write, io.lba, io.sectors, io.data);
    }

    /// Reads the next part of a verify into the frame, where nobody looks at it.
    #[inline(never)]
    pub(super) fn verify(&mut self, now: Instant, mut frame: Frame, mark: Mark) {
        let io = aoe::io_of(frame.wire(), frame.len()).expect("admitted, so it parses");
        let done = frame.progress();
        let left = io.sectors.saturating_sub(done);
        if left == 0 {
            return self.settle(now, frame, mark, Outcome::Done);
        }
        let room = (WIRE_BYTES - usize::from(io.data)) / io::SECTOR_BYTES;
        let sectors = left.min(room as u32);
        frame.set_progress(done + sectors);
        let lba = io.lba + u64::from(done);
        self.submit(now, frame, mark, Op::Read, lba, sectors, io.data);
    }

    /// Discards the next piece of the frame's ranges.
    #[inline(never)]
    pub(super) fn discard(&mut self, now: Instant, mut frame: Frame, mark: Mark) {
        let volume = &self.exports[mark.export()].volume;
        let geometry = self.stations[usize::from(volume.disk)].disk.geometry();
        let io = aoe::io_of(frame.wire(), frame.len()).expect("admitted, so it parses");
        let piece = next_piece(io.carried(frame.wire()), mark.range(), frame.progress());
        match (piece, geometry.discard) {
            (None, _) => self.discarded(now, frame, mark),
            // It could when the request was admitted; it has changed since.
            (Some(_), None) => self.settle(now, frame, mark, Outcome::Unsupported),
            (Some((range, lba, done, left)), Some(limits)) => {
                let sectors = left.min(limits.sectors_max.max(1));
                let mark = mark.at_range(range);
                frame.set_progress(done + sectors);
                let lba = lba + u64::from(done);
                self.submit(now, frame, mark, Op::Discard, lba, sectors, 0);
            }
        }
    }

    /// Gives a frame to its disk.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the fields of one request"
    )]
    #[inline(never)]
    pub(super) fn submit(
        &mut self,
        now: Instant,
        frame: Frame,
        mark: Mark,
        op: Op,
        lba: u64,
        sectors: u32,
        data: u16,
    ) {
        let volume = &self.exports[mark.export()].volume;
        let disk = usize::from(volume.disk);
        // The parts of a verify or of a discard have had their turn.
        if (mark.is_read() || mark.is_write()) && self.stations[disk].is_full() {
            return self.line_up(now, frame, mark);
        }
        self.submit_now(now, frame, mark, op, lba, sectors, data);
    }

    /// Lets a read or write wait until its host has a turn.
    #[inline(never)]
    pub(super) fn line_up(&mut self, now: Instant, frame: Frame, mark: Mark) {
        let disk = usize::from(self.exports[mark.export()].volume.disk);
        let crowd = &mut self.stations[disk].crowd;
        if crowd.lets_pass(&frame) {
            return self.start_now(now, frame, mark);
        }
        self.events.count(Event::LinedUp.into());
        let place = crowd.push(&mut self.waiting, frame, mark);
        if let Some(ticket) = mark.ticket() {
            self.whereabouts[usize::from(ticket.0)] = At::Waiting(place);
        }
    }

    /// Gives a disk what waits for it, host by host, until it has enough.
    #[inline(never)]
    pub(super) fn call_up(&mut self, now: Instant, disk: usize) {
        self.stations[disk].crowd.begin_turn();
        // Ends: each round takes one out of those that wait.
        while !self.stations[disk].is_full()
            && let Some((frame, mark)) = self.stations[disk].crowd.pop(&mut self.waiting)
        {
            self.start_now(now, frame, mark);
        }
    }

    /// Gives its disk a read or write that has its turn.
    #[inline(never)]
    fn start_now(&mut self, now: Instant, frame: Frame, mark: Mark) {
        let io = aoe::io_of(frame.wire(), frame.len()).expect("admitted, so it parses");
        let op = if mark.is_write() { Op::Write } else { Op::Read };
        self.submit_now(now, frame, mark, op, io.lba, io.sectors, io.data);
    }

    /// As [`submit`](Self::submit), whoever else waits.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the fields of one request"
    )]
    #[inline(never)]
    fn submit_now(
        &mut self,
        now: Instant,
        frame: Frame,
        mark: Mark,
        op: Op,
        lba: u64,
        sectors: u32,
        data: u16,
    ) {
        let volume = &self.exports[mark.export()].volume;
        let disk = usize::from(volume.disk);
        let Some(lba) = volume.locate(lba, sectors) else {
            // The disk has shrunk since the request was admitted.
            return self.settle(now, frame, mark, Outcome::Fault);
        };
        let request = Request {
            op,
            lba,
            sectors,
            data,
            ticket: mark.0,
        };
        self.give(disk, request, frame);
    }

    #[inline(never)]
    pub(crate) fn give(&mut self, disk: usize, request: Request, frame: Frame) {
        let mark = Mark(request.ticket);
        if let Some(ticket) = mark.ticket() {
            self.whereabouts[usize::from(ticket.0)] = At::Disk(mark);
        }
        self.stations[disk].submit(self.now, request, frame);
    }
}

/// The next piece of a discard: the number of its range, where that begins, how much of
/// it is done and how much is left. `done` is that of the range with number `range`.
fn next_piece(data: &[u8], range: usize, done: u32) -> Option<(usize, u64, u32, u32)> {
    let mut ranges = aoe::discard_ranges(data).enumerate().skip(range);
    let (number, (lba, sectors)) = ranges.next()?;
    if done < sectors {
        return Some((number, lba, done, sectors - done));
    }
    let (number, (lba, sectors)) = ranges.next()?;
    Some((number, lba, 0, sectors))
}

/// Whether two admitted requests would change the disk in the same way. The fence
/// has found the same export and range; what is left are the bytes. The tag does
/// not count, since Linux resends under a new one, nor does the source, since a
/// host may resend through its other port.
fn is_same_change(one: &[u8], other: &[u8]) -> bool {
    let (Some(a), Some(b)) = (aoe::io_of(one, one.len()), aoe::io_of(other, other.len())) else {
        return false;
    };
    a.op == b.op && a.lba == b.lba && a.carried(one) == b.carried(other)
}
