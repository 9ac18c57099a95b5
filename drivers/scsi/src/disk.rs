//! One logical unit as a disk of the node.

use crate::adapter::Adapter;
use crate::bus::Bus;
use crate::pages::Capacity;
use alloc::rc::Rc;
use core::cell::RefCell;
use io::{Done, Frame, Geometry, Identity, Instant, Op, Outcome, Request, Text, WriteCache};

/// A SCSI disk. Its bus is borrowed for the length of a call and no longer, and
/// never while another call is inside: a driver does not call the node.
pub struct Disk<A> {
    bus: Rc<RefCell<Bus<A>>>,
    index: u8,
    geometry: Geometry,
    identity: Identity,
    name: Text<48>,
}

impl<A: Adapter> Disk<A> {
    pub(crate) fn new(
        bus: Rc<RefCell<Bus<A>>>,
        index: u8,
        geometry: Geometry,
        identity: Identity,
        name: Text<48>,
    ) -> Self {
        Self {
            bus,
            index,
            geometry,
            identity,
            name,
        }
    }

    /// Takes note of a new size. One that makes no sense is not believed: the
    /// unit will answer with errors, which is the truth.
    fn resize(&mut self, capacity: Capacity) -> bool {
        let usable = capacity.block_bytes == io::SECTOR_BYTES as u32 && capacity.blocks > 0;
        if !usable || capacity.blocks == self.geometry.sectors {
            return false;
        }
        self.geometry.sectors = capacity.blocks;
        true
    }
}

impl<A: Adapter> io::Disk for Disk<A> {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn submit(&mut self, request: Request, frame: Frame) {
        let mut bus = self.bus.borrow_mut();
        let outcome = match request.op {
            // Without a volatile cache every write is durable when it is reported.
            Op::Flush if self.geometry.write_cache == WriteCache::None => Some(Outcome::Done),
            Op::Discard if self.geometry.discard.is_none() => Some(Outcome::Unsupported),
            Op::Read | Op::Write | Op::Flush | Op::Discard => None,
        };
        match outcome {
            Some(outcome) => bus.end(self.index, request, outcome, frame),
            None => bus.submit(self.index, request, frame),
        }
    }

    fn poll_done(&mut self) -> Option<Done> {
        self.bus.borrow_mut().poll(self.index)
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        self.bus.borrow().lent(self.index, ticket, look)
    }

    fn kick(&mut self) {
        self.bus.borrow_mut().adapter.kick();
    }

    fn tick(&mut self, now: Instant) -> bool {
        let fresh = {
            let mut bus = self.bus.borrow_mut();
            bus.tick(now);
            bus.fresh(self.index)
        };
        fresh.is_some_and(|capacity| self.resize(capacity))
    }

    fn arm(&mut self) -> bool {
        let mut bus = self.bus.borrow_mut();
        let has_ended = !bus.seats[usize::from(self.index)].ended.is_empty();
        bus.adapter.arm() | has_ended
    }

    fn disarm(&mut self) {
        self.bus.borrow_mut().adapter.disarm();
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}
