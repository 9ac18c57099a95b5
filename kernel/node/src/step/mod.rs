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
//! Most of these have a file of their own name. Between `admit` and `finish` a
//! request goes to its disk (`start`); after it, it waits for a flush and is
//! answered (`settle`).
//!
//! Nothing here waits, allocates or looks at more than a fixed number of things.
//! A frame is moved by value all the way; every path through these files ends with
//! it at a card, at a disk, among the spares, or in [`Waiting`].
//!
//! A frame's `posted_at` says when its present duty began: until a request is
//! taken over, when it was posted (which bounds how long the request lay in the
//! ring); from then on when it was taken over (which is what the latency counts).
//!
//! [`Waiting`]: crate::waiting::Waiting

mod admit;
mod converse;
mod finish;
mod manage;
mod settle;
mod start;

use crate::Node;
use crate::capture::Way;
use crate::events::{Event, Noted};
use io::{Disk, Frame, Instant, Nic};

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
}

/// AoE's command 0.
const COMMAND_ATA: u8 = 0;
