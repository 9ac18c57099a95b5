//! One logical unit as a disk of the node.

use crate::adapter::{Adapter, Address};
use crate::bus::Bus;
use crate::pages::Capacity;
use crate::unit::Unit;
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

/// Where a unit is, for messages. Once for all adapters.
#[cold]
#[inline(never)]
fn name_of(adapter: &str, Address { target, unit }: Address) -> Text<48> {
    Text::format(format_args!("{adapter} {target}:{unit}"))
}

impl<A: Adapter> Disk<A> {
    /// The disk whose seat is number `index`.
    #[cold]
    #[inline(never)]
    pub(crate) fn new(bus: Rc<RefCell<Bus<A>>>, index: u8, unit: Unit) -> Self {
        let name = {
            let shared = bus.borrow();
            name_of(
                shared.adapter.name(),
                shared.seats[usize::from(index)].address,
            )
        };
        Self {
            bus,
            index,
            geometry: unit.geometry,
            identity: unit.identity,
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

    fn room(&self) -> usize {
        // Who is the first speaks for all of them.
        match self.index {
            0 => self.bus.borrow().room(),
            _ => 0,
        }
    }

    fn newcomer(&mut self) -> Option<Self> {
        let (index, unit) = self.bus.borrow_mut().newcomer()?;
        Some(Self::new(self.bus.clone(), index, unit))
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
