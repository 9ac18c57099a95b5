//! The end of a node that is told to stop: nothing new, everything old, then flushes.
//!
//! A host does not notice more than a pause: what had been taken over is answered,
//! what comes now is left to its retries, which the next start answers. A write
//! that was acknowledged is durable already unless the operator chose write-back;
//! for those, and for disks that end their days without a word, every volatile
//! cache is flushed last.
//!
//! A disk that hangs does not keep the machine on: after [`CLOSE_MAX_US`] the
//! order is carried out as things are, and the console says what was left.
//!
//! [`CLOSE_MAX_US`]: limits::CLOSE_MAX_US

use crate::Node;
use crate::events::Event;
use crate::limits;
use crate::mark::{Mark, Work};
use core::fmt;
use io::{Disk, Instant, Nic, Op, Request};

/// What is to become of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start again.
    Restart,
    /// Switch off.
    PowerOff,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restart => "restart",
            Self::PowerOff => "power off",
        })
    }
}

/// How far an order has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    order: Order,
    /// When patience ends.
    until: Instant,
    /// Disks that have been told to flush, or need not be.
    flushed: usize,
    is_done: bool,
}

impl<N: Nic, D: Disk> Node<N, D> {
    /// Finishes what is under way, takes in nothing new, and flushes every disk.
    /// Keep calling [`step`](Self::step) until [`closed`](Self::closed) says so. A
    /// second order changes the first one's end, not its beginning.
    pub fn order(&mut self, order: Order) {
        let until = self.now + limits::CLOSE_MAX_US;
        let closing = self.closing.get_or_insert(Closing {
            order,
            until,
            flushed: 0,
            is_done: false,
        });
        closing.order = order;
    }

    /// What the machine is to do now, when there is an order and all is done.
    pub fn closed(&self) -> Option<Order> {
        self.closing
            .filter(|closing| closing.is_done)
            .map(|closing| closing.order)
    }

    /// The next thing to do for the order. True if something was done.
    pub(crate) fn close(&mut self, now: Instant) -> bool {
        let Some(closing) = self.closing.as_mut().filter(|closing| !closing.is_done) else {
            return false;
        };
        if now >= closing.until {
            closing.is_done = true;
            let lent: usize = self.ports.iter().map(|port| port.lent).sum();
            log::warn!("stopping with {lent} requests unanswered: a disk does not end its work");
            return true;
        }
        let is_busy = self.ports.iter().any(|port| port.lent > 0)
            || self.stations.iter().any(|station| station.under_way > 0)
            || self.keeper.is_busy();
        if is_busy {
            return false;
        }
        let Some(station) = self.stations.get(closing.flushed) else {
            closing.is_done = self.ports.iter().all(|port| port.leaving() == 0);
            return closing.is_done;
        };
        if !station.volatile {
            closing.flushed += 1;
            return true;
        }
        // A flush needs a frame to go with it. Without a port there is none, and
        // nobody who could have written.
        let disk = closing.flushed;
        let mut spares = self.ports.iter_mut().filter_map(|port| port.spares.pop());
        let Some(frame) = spares.next() else {
            closing.flushed += usize::from(self.ports.is_empty());
            return self.ports.is_empty();
        };
        closing.flushed += 1;
        let request = Request {
            op: Op::Flush,
            lba: 0,
            sectors: 0,
            data: 0,
            ticket: Mark::new(0, Work::Farewell).0,
        };
        self.events.count(Event::Flush.into());
        self.give(disk, request, frame);
        true
    }
}
