//! What is said beside requests for sectors: answers to questions, which may be to
//! several exports at once, and announcements.

use crate::Node;
use crate::events::Event;
use crate::limits;
use crate::mark::Mark;
use crate::step::COMMAND_ATA;
use io::{Disk, Frame, Instant, Nic};

impl<N: Nic, D: Disk> Node<N, D> {
    /// Sends an answer, unless it tells what is not durable yet.
    #[inline(never)]
    pub(super) fn reply(&mut self, now: Instant, frame: Frame, export: usize, probe: bool) {
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

    /// Keeps a question for [`converse`](Self::converse).
    #[inline(never)]
    pub(super) fn queue_query(&mut self, now: Instant, frame: Frame) {
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
    pub(super) fn converse(&mut self, now: Instant) -> bool {
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
    pub(super) fn changed(&mut self, now: Instant, export: usize, change: aoe::Change) {
        self.events.note(now, Event::Changed.into(), export as u32);
        let announce = change == aoe::Change::Config;
        let is_kept = self.keeper.change(export, announce);
        if announce && !is_kept {
            self.announce_everywhere(export);
        }
    }

    pub(crate) fn announce_everywhere(&mut self, export: usize) {
        for port in self.ports.iter_mut().filter(|port| port.speaks()) {
            port.announcer.add(export);
        }
    }

    /// Sends one announcement that is due, if there are frames for it: the small
    /// form, and the jumbo one made from it.
    pub(super) fn announce_once(&mut self, index: usize) -> bool {
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
}

/// Whether an answer is one to command 0.
fn is_ata(answer: &Frame) -> bool {
    aoe::peek(answer.wire()).is_some_and(|peek| peek.command == COMMAND_ATA)
}
