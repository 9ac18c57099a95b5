//! One network port: its card, its frames, and who may hold how many of them.
//!
//! A frame belongs to one port for ever: it receives there, and the answer leaves
//! there. So a port's frames are all at its card, among its spares, or lent to a
//! disk or a queue, and three small numbers say how many are where.

use crate::announce::Announcer;
use crate::limits::{RX_RESERVE, SHARE};
use crate::tally::Traffic;
use crate::waiting::Queue;
use alloc::vec::Vec;
use io::{Frame, Instant, Nic, Text};

/// See the module's header.
pub struct Port<N> {
    /// The card.
    pub nic: N,
    /// What the protocol must know of it.
    pub wire: aoe::Port,
    /// The most of its MTU that is used.
    pub mtu_max: u16,
    /// Whether AoE is spoken here; else only management may be.
    pub serves: bool,
    /// Whether it had a link when it was last looked at.
    pub link: bool,
    /// Frames it owns.
    pub frames: usize,
    /// Of these, how many disks and queues hold.
    pub lent: usize,
    /// Of these, how many are on their way out and come back here; see
    /// [`leaving`](Self::leaving).
    pub sending: usize,
    /// Frames kept back for answers that nobody lent us a frame for.
    pub spares: Vec<Frame>,
    /// How many it keeps back.
    pub spares_wanted: usize,
    /// Requests that name several exports or ask about one.
    pub queries: Queue,
    /// How many there are.
    pub queries_len: usize,
    /// When its ring was last seen empty.
    pub seen_empty: Instant,
    /// What it has to announce.
    pub announcer: Announcer,
    /// What has passed through it.
    pub traffic: Traffic,
}

/// The card that a setting names: by number (`0`, or as pages call it, `eth0`), by its
/// place on the bus, by its address.
#[cold]
pub fn named<'a, N: Nic + 'a>(name: &str, nics: impl IntoIterator<Item = &'a N>) -> Option<usize> {
    let number = name.strip_prefix("eth").unwrap_or(name).parse();
    nics.into_iter().enumerate().position(|(index, nic)| {
        let address = Text::<17>::format(format_args!("{}", aoe::Mac(nic.mac())));
        number == Ok(index)
            || nic.name().split_whitespace().next() == Some(name)
            || name.eq_ignore_ascii_case(address.as_str())
    })
}

impl<N: Nic> Port<N> {
    /// Takes an idle frame back: to the spares if some are out, else to receive.
    #[inline(always)]
    pub fn release(&mut self, now: Instant, mut frame: Frame) {
        if self.spares.len() < self.spares_wanted {
            self.spares.push(frame);
        } else {
            frame.set_posted_at(now);
            self.nic.post(frame);
        }
    }

    /// As [`release`](Self::release), off the way of every frame: not in line.
    #[inline(never)]
    pub fn release_aside(&mut self, now: Instant, frame: Frame) {
        self.release(now, frame);
    }

    /// As [`send`](Self::send), likewise.
    #[inline(never)]
    pub fn send_aside(&mut self, frame: Frame) {
        self.send(frame);
    }

    /// Sends a frame. It comes back if the spares want one: as many as are out of them
    /// are always here, or on a way that ends here.
    #[inline(always)]
    pub fn send(&mut self, frame: Frame) {
        self.traffic.sent += 1;
        self.traffic.sent_bytes += frame.len() as u64;
        let is_wanted = || self.spares.len() < self.spares_wanted;
        if self.nic.send_off(frame, is_wanted) {
            self.sending += 1;
        }
    }

    /// How many frames are on their way out, whoever posts them afterwards.
    pub fn leaving(&self) -> usize {
        self.sending + self.nic.leaving()
    }

    /// Whether somebody who holds `held` frames of this port may have one more.
    /// A share of what is left free rather than a fixed number: a lone disk may
    /// have nearly all, and many hung disks still leave something to receive into.
    pub fn may_lend(&self, held: usize) -> bool {
        let free = self.frames.saturating_sub(self.lent + self.spares_wanted);
        free > RX_RESERVE && held < SHARE * (free - RX_RESERVE)
    }

    /// Whether one more query may wait: they get a quarter of the frames at most,
    /// and a flood of them is dropped as a full ring would drop it.
    pub fn may_queue(&self) -> bool {
        self.queries_len < self.frames / 4
    }

    /// The earliest time that a frame just received can have arrived.
    pub fn arrived_after(&self, frame: &Frame) -> Instant {
        frame.posted_at().max(self.seen_empty)
    }

    /// Whether so much is on its way out that reception may stand still, or
    /// something waits for a spare: worth a look before the next interrupt.
    pub fn is_short(&self) -> bool {
        self.leaving() > self.frames / 2 || !self.queries.is_empty() || self.announcer.is_due()
    }

    /// Whether there is somebody to speak AoE to.
    pub fn speaks(&self) -> bool {
        self.serves && self.link
    }

    /// Reads link and MTU from the card. True if the link has just come up or the
    /// MTU has changed under it.
    pub fn refresh(&mut self) {
        self.link = self.nic.link_up();
        self.wire.mtu = self.nic.mtu().min(self.mtu_max);
    }
}
