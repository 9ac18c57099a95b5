//! One turn of the loop: all control flow of the data path.
//!
//! ```text
//! finish    what disks are done with is answered, or waits for a flush
//! admit     what arrived goes to a disk, is answered, or is dropped and counted
//! recycle   what cards have sent receives again: where what arrived made room
//! converse  questions to several exports at once, as far as there are frames
//! manage    links, sizes, announcements, when they are due
//! ring      flushes begin; at most one doorbell a device
//! ```
//! Nothing here waits, allocates or looks at more than a fixed number of things.
//! A frame is moved by value all the way; every path through this file ends with
//! it at a card, at a disk, among the spares, or in [`Waiting`].
//!
//! A frame's `posted_at` says when its present duty began: until a request is
//! taken over, when it was posted (which bounds how long the request lay in the
//! ring); from then on when it was taken over (which is what the latency counts).
//!
//! [`Waiting`]: crate::waiting::Waiting

use crate::Node;
use crate::capture::Way;
use crate::events::{Event, Events, Noted};
use crate::limits;
use crate::mark::{Mark, Work};
use crate::node::{At, Export};
use crate::port::Port;
use crate::shelf::Found;
use crate::station::Station;
use crate::tally;
use crate::waiting::Queue;
use aoe::fence::{Next, Passage, Ticket, Write};
use aoe::{Io, IoOp, Verdict};
use core::mem;
use io::{Disk, Done, Frame, Instant, Nic, Op, Outcome, Request, WIRE_BYTES};

impl<N: Nic, D: Disk> Node<N, D> {
    /// One turn. True if anything moved: then there may be more.
    pub fn step(&mut self, now: Instant) -> bool {
        self.now = now;
        let finished = self.finish(now);
        let admitted = self.admit(now);
        let recycled = self.recycle(now);
        let answered = self.converse(now);
        let announced = self.manage(now);
        let kept = self.keep(now);
        let closing = self.close(now);
        self.ring();
        self.woken = false;
        finished | recycled | admitted | answered | announced | kept | closing
    }

    /// Takes back what disks are done with.
    fn finish(&mut self, now: Instant) -> bool {
        let mut moved = false;
        for index in 0..self.stations.len() {
            for _ in 0..limits::FINISH_PER_TURN {
                let Some(done) = self.stations[index].take_done(now) else {
                    break;
                };
                self.finish_one(now, index, done);
                moved = true;
            }
        }
        moved | self.let_through(now)
    }

    #[inline(always)]
    fn finish_one(&mut self, now: Instant, index: usize, done: Done) {
        let Done {
            request,
            outcome,
            frame,
        } = done;
        let mark = Mark(request.ticket);
        if outcome == Outcome::Done {
            if mark.is_read() {
                // No place in the fence, no copies: what `settle` would come to.
                return self.answer(now, frame, mark.export(), Outcome::Done);
            }
            if mark.is_write() {
                return self.written(now, frame, mark);
            }
        }
        self.finish_other(
            now,
            index,
            mark,
            Done {
                request,
                outcome,
                frame,
            }
            .apart(),
        );
    }

    /// What is not simply a read or a write that went well.
    #[inline(never)]
    fn finish_other(&mut self, now: Instant, index: usize, mark: Mark, done: Done) {
        let Done {
            request,
            outcome,
            frame,
        } = done;
        match mark {
            Mark::EARLY => return drop(frame),
            Mark::STATE => return self.kept(now, frame, outcome),
            _ => {}
        }
        if outcome != Outcome::Done {
            self.disk_failed(now, index, mark, outcome);
        }
        match mark.work() {
            Work::Read => self.settle(now, frame, mark, outcome),
            // Or it would have been simple.
            Work::Write => self.settle(now, frame, mark, outcome),
            Work::Verify if outcome == Outcome::Done => {
                self.verify(now, frame, mark, Some(request.apart()))
            }
            Work::Verify => self.settle(now, frame, mark, outcome),
            Work::Discard if outcome == Outcome::Done => {
                self.discard(now, frame, mark, Some(request.apart()));
            }
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

    /// Gives frames that have been sent back to their work.
    fn recycle(&mut self, now: Instant) -> bool {
        let mut moved = false;
        for port in &mut self.ports {
            // Ends: only what is on its way out can come back.
            while port.sending > 0
                && let Some(frame) = port.nic.poll_sent()
            {
                port.sending -= 1;
                port.release(now, frame);
                moved = true;
            }
        }
        moved
    }

    /// Takes in what has arrived.
    fn admit(&mut self, now: Instant) -> bool {
        if self.closing.is_some() {
            return self.turn_away(now);
        }
        let mut moved = false;
        for index in 0..self.ports.len() {
            // With one port the ring keeps the order. With several, a copy of a
            // write may lie behind a full ring while the host that sent it again
            // through a shorter one is answered and writes the next: any stall
            // of some milliseconds does it. Taking in all that is there before
            // an answer leaves makes the order harmless: no host has seen an
            // answer that a frame in a ring could undo. Ends: what is dropped
            // here receives again only after the next kick.
            let budget = if self.woken || self.aged {
                self.ports[index].frames
            } else {
                limits::ADMIT_PER_TURN
            };
            for _ in 0..budget {
                let port = &mut self.ports[index];
                let Some(frame) = port.nic.poll_rx() else {
                    port.seen_empty = now;
                    break;
                };
                port.traffic.received += 1;
                port.traffic.received_bytes += frame.len() as u64;
                self.events.count(Event::Received.into());
                self.take_in(now, frame);
                moved = true;
            }
        }
        moved
    }

    /// One received frame: to its export, to the queries, or back to the ring.
    #[inline(always)]
    fn take_in(&mut self, now: Instant, mut frame: Frame) {
        if self.capture.is_on {
            self.capture.take(now, Way::In, frame.home(), frame.wire());
        }
        // Nearly every frame is a usual request, and says here whose.
        let received = frame.len();
        let buffer = frame.buffer_mut();
        let export = self.shelf.at(buffer[USUAL_SLOT]);
        if let Some(serving) = self.exports.get_mut(usize::from(export))
            && let Some(port) = self.ports.get_mut(usize::from(frame.home()))
            && let Some(station) = self.stations.get_mut(usize::from(serving.volume.disk))
            && let Some(io) = serving
                .target
                .usual(&port.wire, frame.buffer_mut(), received)
        {
            self.clients.note(now, frame.wire(), frame.home(), export);
            let taking = Taking {
                serving,
                port,
                station,
                events: &mut self.events,
                aged: self.aged,
            };
            if !taking.take_over(now, &mut frame, export, &io) {
                return self.release(now, frame);
            }
            // Nearly all are a read, or a write where nobody else writes, and are on
            // their way from here.
            let Some(lba) = serving.volume.locate(io.lba, io.sectors) else {
                return self.start_other(now, frame, export, io);
            };
            let (op, mark) = if io.op == IoOp::Read {
                (Op::Read, Mark::new(export, Work::Read))
            } else {
                let write = Write {
                    slot: serving.target.address().slot,
                    first: io.lba,
                    sectors: io.sectors.into(),
                };
                let passed = if io.op == IoOp::Write {
                    self.fence.pass(write)
                } else {
                    None
                };
                let Some(ticket) = passed else {
                    return self.start_other(now, frame, export, io);
                };
                let mark = Mark::fenced(export, Work::Write, ticket);
                self.whereabouts[usize::from(ticket.0)] = At::Disk(mark);
                (Op::Write, mark)
            };
            let request = Request {
                op,
                lba,
                sectors: io.sectors,
                data: io.data,
                ticket: mark.0,
            };
            station.submit(now, request, frame);
        } else {
            self.take_aside(now, frame);
        }
    }

    /// As [`take_in`](Self::take_in), for any frame.
    #[inline(never)]
    fn take_aside(&mut self, now: Instant, frame: Frame) {
        let Some(peek) = aoe::peek(frame.wire()) else {
            if self.take_for_management(&frame) {
                return self.release(now, frame);
            }
            return self.drop_frame(now, frame, aoe::Drop::NotAoe);
        };
        if peek.response {
            self.heard_answer(now, &frame, peek.source, peek.addressed);
            return self.drop_frame(now, frame, aoe::Drop::Response);
        }
        match self.shelf.find(peek.addressed) {
            Found::Nobody => self.drop_frame(now, frame, aoe::Drop::NotForUs),
            Found::One(export) if peek.command == COMMAND_ATA => self.judge(now, frame, export),
            // Our own question, heard on another port: it is for everybody else.
            _ if self.is_own(peek.source) => self.drop_frame(now, frame, aoe::Drop::NotForUs),
            Found::One(_) | Found::Several => self.queue_query(now, frame),
        }
    }

    /// Lets one export judge a frame that is for it, and does what it says.
    #[inline(never)]
    fn judge(&mut self, now: Instant, mut frame: Frame, export: u8) {
        let port = &self.ports[usize::from(frame.home())];
        let target = &mut self.exports[usize::from(export)].target;
        let received = frame.len();
        self.clients.note(now, frame.wire(), frame.home(), export);
        match target.admit(&port.wire, frame.buffer_mut(), received) {
            Verdict::Drop(reason) => self.drop_frame(now, frame, reason),
            Verdict::Reply { len, refusal } => {
                if let Some(refusal) = refusal {
                    self.events
                        .note(now, Noted::Refused(refusal), export.into());
                }
                frame.set_len(len);
                self.reply(now, frame, export.into(), false);
            }
            Verdict::ReplyThenProbe { len } => {
                frame.set_len(len);
                self.reply(now, frame, export.into(), true);
            }
            Verdict::Submit(io) => self.start_aside(now, frame, export, io),
        }
    }

    /// Sends an answer, unless it tells what is not durable yet.
    #[inline(never)]
    fn reply(&mut self, now: Instant, frame: Frame, export: usize, probe: bool) {
        self.take_changes(now, export);
        if self.keeper.is_pending(export) && !is_ata(&frame) {
            self.hold(now, frame, export, probe);
        } else {
            self.send_answer(frame, export, probe);
        }
    }

    /// Sends an answer, and the jumbo frame that follows some.
    #[inline(never)]
    pub(crate) fn send_answer(&mut self, frame: Frame, export: usize, probe: bool) {
        let probe = if probe {
            self.probe(export, &frame)
        } else {
            None
        };
        self.send(frame);
        if let Some(probe) = probe {
            self.send(probe);
        }
    }

    /// Starts a request for sectors that came the long way.
    #[inline(never)]
    fn start_aside(&mut self, now: Instant, mut frame: Frame, export: u8, io: Io) {
        let serving = &mut self.exports[usize::from(export)];
        let taking = Taking {
            port: &mut self.ports[usize::from(frame.home())],
            station: &mut self.stations[usize::from(serving.volume.disk)],
            serving,
            events: &mut self.events,
            aged: self.aged,
        };
        if taking.take_over(now, &mut frame, export, &io) {
            self.start_other(now, frame, export, io);
        } else {
            self.release(now, frame);
        }
    }

    /// Starts any request for sectors that was taken over.
    #[inline(never)]
    fn start_other(&mut self, now: Instant, frame: Frame, export: u8, io: Io) {
        let disk = usize::from(self.exports[usize::from(export)].volume.disk);
        match io.op {
            IoOp::Read => {
                let mark = Mark::new(export, Work::Read);
                self.submit(now, frame, mark, Op::Read, io.lba, io.sectors, io.data);
            }
            IoOp::Verify => self.verify(now, frame, Mark::new(export, Work::Verify), None),
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
                    _ => self.discard(now, frame, mark, None),
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
    fn start_change(&mut self, now: Instant, frame: Frame, mark: Mark) {
        if mark.work() == Work::Discard {
            return self.discard(now, frame, mark, None);
        }
        let io = aoe::io_of(frame.wire(), frame.len()).expect("admitted, so it parses");
        self.write(now, frame, mark, &io);
    }

    #[inline]
    fn write(&mut self, now: Instant, frame: Frame, mark: Mark, io: &Io) {
        self.submit(now, frame, mark, Op::Write, io.lba, io.sectors, io.data);
    }

    /// Reads the next part of a verify into the frame, where nobody looks at it.
    #[inline(never)]
    fn verify(&mut self, now: Instant, frame: Frame, mark: Mark, last: Option<Request>) {
        let io = aoe::io_of(frame.wire(), frame.len()).expect("admitted, so it parses");
        let first = self.exports[mark.export()].volume.first;
        let done = last.map_or(0, |last| {
            last.lba + u64::from(last.sectors) - first - io.lba
        });
        let left = u64::from(io.sectors).saturating_sub(done);
        if left == 0 {
            return self.settle(now, frame, mark, Outcome::Done);
        }
        let room = (WIRE_BYTES - usize::from(io.data)) / io::SECTOR_BYTES;
        let sectors = left.min(room as u64) as u32;
        self.submit(now, frame, mark, Op::Read, io.lba + done, sectors, io.data);
    }

    /// Discards the next piece of the frame's ranges.
    #[inline(never)]
    fn discard(&mut self, now: Instant, frame: Frame, mark: Mark, last: Option<Request>) {
        let volume = &self.exports[mark.export()].volume;
        let geometry = self.stations[usize::from(volume.disk)].disk.geometry();
        let io = aoe::io_of(frame.wire(), frame.len()).expect("admitted, so it parses");
        let end = last.map(|last| last.lba + u64::from(last.sectors) - volume.first);
        match (
            next_piece(io.carried(frame.wire()), mark.range(), end),
            geometry.discard,
        ) {
            (None, _) => self.written_aside(now, frame, mark),
            // It could when the request was admitted; it has changed since.
            (Some(_), None) => self.settle(now, frame, mark, Outcome::Unsupported),
            (Some((range, lba, sectors)), Some(limits)) => {
                let sectors = sectors.min(limits.sectors_max.max(1));
                let mark = mark.at_range(range);
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
    fn submit(
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

    /// A write or discard has ended well in the disk: answered now if that is
    /// enough, else when a flush has made it durable.
    #[inline(always)]
    fn written(&mut self, now: Instant, frame: Frame, mark: Mark) {
        let export = &self.exports[mark.export()];
        let disk = usize::from(export.volume.disk);
        let station = &self.stations[disk];
        if station.volatile && export.target.cache() == aoe::Cache::WriteThrough {
            if station.may_have_lost(&frame) {
                return self.settle(now, frame, mark, Outcome::Fault);
            }
            self.wait_for_flush(disk, frame, mark);
        } else {
            self.settle(now, frame, mark, Outcome::Done);
        }
    }

    /// As [`written`](Self::written), for a discard.
    #[inline(never)]
    fn written_aside(&mut self, now: Instant, frame: Frame, mark: Mark) {
        self.written(now, frame, mark);
    }

    #[inline(always)]
    fn wait_for_flush(&mut self, disk: usize, frame: Frame, mark: Mark) {
        let queue = &mut self.stations[disk].unflushed;
        let place = self.waiting.push(queue, frame, mark);
        if let Some(ticket) = mark.ticket() {
            self.whereabouts[usize::from(ticket.0)] = At::Waiting(place);
        }
    }

    /// Begins the flush for everything that waits for one.
    #[inline(never)]
    fn flush(&mut self, disk: usize) {
        let station = &mut self.stations[disk];
        let mut batch = mem::replace(&mut station.unflushed, Queue::EMPTY);
        let Some((frame, mark)) = self.waiting.pop(&mut batch) else {
            return;
        };
        station.batch = batch;
        station.flushing = true;
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
    fn flushed(&mut self, now: Instant, disk: usize, frame: Frame, mark: Mark, outcome: Outcome) {
        // A disk that cannot flush has lost what it reported, whatever it calls it.
        let outcome = match outcome {
            Outcome::Done => Outcome::Done,
            Outcome::Medium | Outcome::Fault | Outcome::Unsupported => Outcome::Fault,
        };
        let station = &mut self.stations[disk];
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
                mem::replace(&mut station.unflushed, Queue::EMPTY)
            }
        };
        self.settle_all(now, frame, mark, batch, outcome);
        let mut late = late;
        if let Some((frame, mark)) = self.waiting.pop(&mut late) {
            self.settle_all(now, frame, mark, late, outcome);
        }
    }

    /// Settles one, as [`settle_one`](Self::settle_one) does.
    fn settle(&mut self, now: Instant, frame: Frame, mark: Mark, outcome: Outcome) {
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
    fn answer(&mut self, now: Instant, mut frame: Frame, export: usize, outcome: Outcome) {
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
        self.send(frame);
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

    fn take_held(&mut self, ticket: Ticket) -> (Frame, Mark) {
        let At::Waiting(place) = self.whereabouts[usize::from(ticket.0)] else {
            unreachable!("the fence starts and expires only what it told us to keep");
        };
        self.waiting.take(place)
    }

    /// Keeps a question for [`converse`](Self::converse).
    #[inline(never)]
    fn queue_query(&mut self, now: Instant, frame: Frame) {
        let port = &mut self.ports[usize::from(frame.home())];
        if port.may_queue() {
            port.lent += 1;
            port.queries_len += 1;
            self.waiting.push(&mut port.queries, frame, Mark(0));
        } else {
            self.events.note(now, Event::QueriesFull.into(), 0);
            self.release(now, frame);
        }
    }

    /// Answers questions: one that names several exports is answered by each of
    /// them. Every answer but the last needs a frame, and every answer may need
    /// one for its jumbo probe; what finds none waits, and goes on another turn.
    fn converse(&mut self, now: Instant) -> bool {
        let mut moved = false;
        for index in 0..self.ports.len() {
            for _ in 0..limits::ANSWERS_PER_TURN {
                if !self.converse_once(now, index) {
                    break;
                }
                moved = true;
            }
        }
        moved
    }

    fn converse_once(&mut self, now: Instant, index: usize) -> bool {
        let port = &mut self.ports[index];
        let Some((request, next)) = self.waiting.front(&port.queries) else {
            return false;
        };
        let peek = aoe::peek(request.wire()).expect("it was queued as a query");
        let covered = |export: &usize| {
            let export = &self.exports[*export];
            export.online && peek.addressed.covers(export.target.address())
        };
        let mut exports = (next.0 as usize..self.exports.len()).filter(covered);
        let (this, following) = (exports.next(), exports.next());
        let frame = match (this, following) {
            (Some(_), Some(following)) => {
                if port.spares.len() < 2 {
                    return false;
                }
                *next = Mark(following as u32);
                let mut copy = port.spares.pop().expect("there are two");
                let len = request.len().min(limits::QUERY_BYTES_MAX);
                copy.buffer_mut()[..len].copy_from_slice(&request.wire()[..len]);
                copy.set_len(len);
                copy.set_posted_at(request.posted_at());
                copy
            }
            (this, _) => {
                if this.is_some() && port.spares.is_empty() {
                    return false;
                }
                port.lent -= 1;
                port.queries_len -= 1;
                let (frame, _) = self.waiting.pop(&mut port.queries).expect("it is in front");
                frame
            }
        };
        let Some(export) = this else {
            self.drop_frame(now, frame, aoe::Drop::NotForUs);
            return true;
        };
        self.judge(now, frame, export as u8);
        self.take_changes(now, export);
        true
    }

    /// Asks an export what was changed about it.
    pub(crate) fn take_changes(&mut self, now: Instant, export: usize) {
        // Ends: a target forgets a change when it has told it.
        while let Some(change) = self.exports[export].target.take_change() {
            self.changed(now, export, change);
        }
    }

    /// An initiator has changed something about an export.
    fn changed(&mut self, now: Instant, export: usize, change: aoe::Change) {
        self.events.note(now, Event::Changed.into(), export as u32);
        let announce = change == aoe::Change::Config;
        let is_kept = self.keeper.change(export, announce);
        if announce && !is_kept {
            self.announce_everywhere(export);
        }
    }

    pub(crate) fn announce_everywhere(&mut self, export: usize) {
        for port in self.ports.iter_mut().filter(|port| port.link) {
            port.announcer.add(export);
        }
    }

    /// The jumbo frame that follows a small answer, if the port can carry one and
    /// has a frame for it.
    fn probe(&mut self, export: usize, answer: &Frame) -> Option<Frame> {
        let port = &mut self.ports[usize::from(answer.home())];
        let mut frame = port.spares.pop()?;
        let target = &self.exports[export].target;
        match target.probe(&port.wire, answer.wire(), frame.buffer_mut()) {
            Some(len) => {
                frame.set_len(len);
                Some(frame)
            }
            None => {
                port.spares.push(frame);
                None
            }
        }
    }

    /// Begins flushes and publishes to every device what it was given.
    fn ring(&mut self) {
        for disk in 0..self.stations.len() {
            if self.stations[disk].wants_flush() {
                self.flush(disk);
            }
            if self.stations[disk].under_way > 0 {
                self.stations[disk].disk.kick();
            }
        }
        for port in &mut self.ports {
            port.nic.kick();
        }
    }

    #[inline(never)]
    pub(crate) fn send(&mut self, frame: Frame) {
        self.events.count(Event::Sent.into());
        if self.capture.is_on {
            let now = self.now;
            self.capture.take(now, Way::Out, frame.home(), frame.wire());
        }
        self.ports[usize::from(frame.home())].send(frame);
    }

    #[inline(never)]
    pub(crate) fn release(&mut self, now: Instant, frame: Frame) {
        self.ports[usize::from(frame.home())].release_aside(now, frame);
    }

    #[inline(never)]
    fn drop_frame(&mut self, now: Instant, frame: Frame, reason: aoe::Drop) {
        let port = frame.home().into();
        match reason {
            // A busy segment is full of these; the ring is for what is of note.
            aoe::Drop::NotAoe | aoe::Drop::NotForUs | aoe::Drop::Response => {
                self.events.count(Noted::Dropped(reason));
            }
            _ => self.events.note(now, Noted::Dropped(reason), port),
        }
        self.release(now, frame);
    }

    /// What changes rarely, and what is announced.
    fn manage(&mut self, now: Instant) -> bool {
        if now >= self.next_tick || self.woken && now - self.last_tick >= limits::TICK_WOKEN_US {
            self.last_tick = now;
            self.next_tick = now + limits::TICK_US;
            (self.rarely.tick)(self, now);
        }
        if self.history.is_due(now) {
            let total = self.total_work();
            self.history.look(now, total);
        }
        if now >= self.claims.due() {
            (self.rarely.claim)(self, now);
        }
        let mut moved = match &self.management {
            Some(management) if management.is_due(now) => (self.rarely.manage)(self, now),
            _ => false,
        };
        for index in 0..self.ports.len() {
            self.ports[index].announcer.look(now, self.exports.len());
            for _ in 0..limits::ANNOUNCE_PER_TURN {
                if !self.announce_once(index) {
                    break;
                }
                moved = true;
            }
        }
        moved
    }

    /// What all exports have done together.
    pub(crate) fn total_work(&self) -> tally::Work {
        let mut total = tally::Work::default();
        for export in &self.exports {
            total.add(&export.work);
        }
        total
    }

    /// Sends one announcement that is due, if there are frames for it: the small
    /// form, and the jumbo one made from it.
    fn announce_once(&mut self, index: usize) -> bool {
        let port = &mut self.ports[index];
        if port.spares.len() < 2 {
            return false;
        }
        let Some(export) = port.announcer.take() else {
            return false;
        };
        if !self.exports[export].online {
            return true;
        }
        let mut frame = port.spares.pop().expect("there are two");
        let target = &self.exports[export].target;
        let len = target.announce(&port.wire, frame.buffer_mut());
        frame.set_len(len);
        let probe = self.probe(export, &frame);
        self.events.count(Event::Announced.into());
        self.send(frame);
        if let Some(probe) = probe {
            self.send(probe);
        }
        true
    }

    /// Looks at links, MTUs and sizes.
    #[cold]
    #[inline(never)]
    pub(crate) fn tick(&mut self, now: Instant) {
        for index in 0..self.ports.len() {
            if self.ports[index].nic.tick(now) {
                self.port_changed(now, index);
            }
        }
        for index in 0..self.stations.len() {
            if self.stations[index].disk.tick(now) {
                self.disk_changed(now, index);
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn port_changed(&mut self, now: Instant, index: usize) {
        let exports = self.exports.len();
        let port = &mut self.ports[index];
        let (link, mtu) = (port.link, port.wire.mtu);
        port.refresh();
        match (link, port.link) {
            (false, true) => {
                log::info!(
                    "port {index} ({}): link is up, MTU {}",
                    port.nic.name(),
                    port.wire.mtu
                );
                self.events.note(now, Event::LinkUp.into(), index as u32);
                port.announcer.begin(now);
                self.ask_on(1 << index);
            }
            (true, false) => {
                log::warn!("port {index} ({}): link is down", port.nic.name());
                self.events.note(now, Event::LinkDown.into(), index as u32);
                port.announcer.stop();
            }
            (true, true) if mtu != port.wire.mtu => {
                log::info!(
                    "port {index} ({}): MTU is {} now",
                    port.nic.name(),
                    port.wire.mtu
                );
                self.events
                    .note(now, Event::MtuChanged.into(), index as u32);
                port.announcer.add_all(exports);
            }
            _ => {}
        }
    }

    #[cold]
    #[inline(never)]
    fn disk_changed(&mut self, now: Instant, index: usize) {
        self.stations[index].refresh();
        self.events
            .note(now, Event::DiskChanged.into(), index as u32);
        for export in 0..self.exports.len() {
            if usize::from(self.exports[export].volume.disk) != index {
                continue;
            }
            let (before, after) = self.remeasure(export);
            if before != after {
                let address = self.exports[export].target.address();
                log::info!(
                    "{address} ({}): {before} sectors before, {after} now",
                    self.stations[index].disk.name()
                );
                self.announce_everywhere(export);
            }
        }
    }
}

/// Who is concerned when a request is taken over: each looked up once.
struct Taking<'a, N, D> {
    serving: &'a mut Export,
    port: &'a mut Port<N>,
    station: &'a mut Station<D>,
    events: &'a mut Events,
    aged: bool,
}

impl<N: Nic, D: Disk> Taking<'_, N, D> {
    /// Takes a request for sectors over: from here on it is answered, unless it
    /// waits too long in the fence. False if it is not.
    #[inline(always)]
    fn take_over(self, now: Instant, frame: &mut Frame, export: u8, io: &Io) -> bool {
        let Self { port, station, .. } = self;
        let changes = matches!(io.op, IoOp::Write | IoOp::Discard);
        // Several ports have no common order, so age must bound how far a copy
        // can lag behind the one that was answered. One port keeps it by itself.
        if changes && self.aged && now - port.arrived_after(frame) > limits::RING_AGE_MAX_US {
            self.events.note(now, Event::TooOld.into(), export.into());
            return false;
        }
        let held = &mut station.held[usize::from(frame.home())];
        if !port.may_lend(*held) {
            self.events
                .note(now, Event::OverShare.into(), export.into());
            return false;
        }
        port.lent += 1;
        *held += 1;
        frame.set_posted_at(now);
        self.serving.work.note(io.op, io.sectors);
        true
    }
}

/// Where a request without a tag names its slot.
const USUAL_SLOT: usize = 18;

/// AoE's command 0.
const COMMAND_ATA: u8 = 0;

/// Whether an answer is one to command 0.
fn is_ata(answer: &Frame) -> bool {
    aoe::peek(answer.wire()).is_some_and(|peek| peek.command == COMMAND_ATA)
}

const fn outcome_of(outcome: Outcome) -> aoe::Outcome {
    match outcome {
        Outcome::Done => aoe::Outcome::Done,
        Outcome::Medium => aoe::Outcome::Medium,
        Outcome::Fault => aoe::Outcome::Fault,
        Outcome::Unsupported => aoe::Outcome::Unsupported,
    }
}

/// The next piece of a discard: the number of its range, where it begins, and how
/// much of the range is left. `end` is how far the range with number `range` has
/// come, if it has begun.
fn next_piece(data: &[u8], range: usize, end: Option<u64>) -> Option<(usize, u64, u32)> {
    let mut ranges = aoe::discard_ranges(data).enumerate().skip(range);
    let (number, (lba, sectors)) = ranges.next()?;
    let done = end.map_or(0, |end| end.saturating_sub(lba));
    match u32::try_from(done) {
        Ok(done) if done < sectors => Some((number, lba + u64::from(done), sectors - done)),
        _ => ranges
            .next()
            .map(|(number, (lba, sectors))| (number, lba, sectors)),
    }
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
