//! What arrives: which frame is a request, whose, and whether it is taken over.
//!
//! Nearly every frame is a usual read or write and runs through `take_in`
//! alone, from the card's ring to the disk's. Everything else is taken aside.

use crate::Node;
use crate::capture::Way;
use crate::events::{Event, Events, Noted};
use crate::limits;
use crate::mark::{Mark, Work};
use crate::node::{At, Export};
use crate::port::Port;
use crate::shelf::Found;
use crate::station::Station;
use crate::step::COMMAND_ATA;
use aoe::fence::Write;
use aoe::{Io, IoOp, Verdict};
use io::{Disk, Frame, Instant, Nic, Op, Request};

impl<N: Nic, D: Disk> Node<N, D> {
    /// Takes in what has arrived.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        if self.closing.is_some() || self.measuring.is_some() {
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
            if !self.ports[index].serves {
                moved |= self.admit_aside(now, index);
                continue;
            }
            let budget = if self.woken || self.aged {
                self.ports[index].frames
            } else {
                limits::ADMIT_PER_TURN
            };
            for _ in 0..budget {
                let port = &mut self.ports[index];
                let Some(frame) = port.nic.poll_rx() else {
                    port.seen_empty = port.nic.seen_empty(now);
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

    /// Takes in what has arrived at a port that carries no AoE.
    #[cold]
    #[inline(never)]
    fn admit_aside(&mut self, now: Instant, index: usize) -> bool {
        let mut moved = false;
        for _ in 0..limits::ADMIT_PER_TURN {
            let port = &mut self.ports[index];
            let Some(frame) = port.nic.poll_rx() else {
                break;
            };
            port.traffic.received += 1;
            port.traffic.received_bytes += frame.len() as u64;
            self.events.count(Event::Received.into());
            moved = true;
            if self.capture.is_on {
                self.capture.take(now, Way::In, frame.home(), frame.wire());
            }
            if self.take_for_management(&frame) {
                self.release(now, frame);
            } else {
                self.drop_frame(now, frame, aoe::Drop::NotForUs);
            }
        }
        moved
    }

    /// Takes in what arrives at a node that does not serve. One that stops drops it:
    /// there is no time left to answer.
    #[cold]
    #[inline(never)]
    fn turn_away(&mut self, now: Instant) -> bool {
        let mut moved = self.begin_reads(now);
        for index in 0..self.ports.len() {
            if self.closing.is_none() && !self.ports[index].serves {
                moved |= self.admit_aside(now, index);
                continue;
            }
            for _ in 0..limits::ADMIT_PER_TURN {
                let Some(frame) = self.ports[index].nic.poll_rx() else {
                    break;
                };
                moved = true;
                if self.closing.is_some() {
                    self.events.count(Event::TurnedAway.into());
                    self.release(now, frame);
                } else if let Some(frame) = self.measure(now, frame) {
                    self.take_aside(now, frame);
                }
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
            if station.is_full() {
                return self.line_up(now, frame, mark);
            }
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
    pub(super) fn judge(&mut self, now: Instant, mut frame: Frame, export: u8) {
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
