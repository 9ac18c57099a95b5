//! The node's end of the cable to a [`Spindle`], without a driver.

use super::{DiskPlan, Spindle};
use io::{
    DiscardLimits, Done, Frame, Geometry, Identity, Instant, Op, Outcome, Request, SECTOR_BYTES,
    Text, WIRE_BYTES,
};
use std::cell::RefCell;
use std::rc::Rc;

/// What a read's frame holds until the disk has filled it: if a reply shows it,
/// the node answered too early.
const UNREAD: u8 = 0xdb;

/// The node's end of the cable to a [`Spindle`].
pub struct Drive {
    spindle: Rc<RefCell<Spindle>>,
    geometry: Geometry,
    identity: Identity,
    backlog: Vec<(Request, Frame)>,
    lent: Vec<(u64, Request, Frame)>,
    name: String,
}

impl Drive {
    /// Plugs the node in; to the node it is disk `number`.
    pub fn new(number: usize, spindle: &Rc<RefCell<Spindle>>) -> Self {
        let geometry = {
            let mut inner = spindle.borrow_mut();
            inner.resized = false;
            geometry_of(&inner.plan)
        };
        Self {
            spindle: spindle.clone(),
            geometry,
            identity: Identity {
                serial: Text::format(format_args!("SIM{number:04}")),
                model: Text::new("simulated disk"),
                firmware: Text::new("1"),
                ..Identity::default()
            },
            backlog: Vec::new(),
            lent: Vec::new(),
            name: format!("00:{:02x}.0 sim-disk", 0x10 + number),
        }
    }

    /// The disk at the other end.
    pub fn spindle(&self) -> &Rc<RefCell<Spindle>> {
        &self.spindle
    }
}

fn geometry_of(plan: &DiskPlan) -> Geometry {
    Geometry {
        sectors: plan.sectors,
        physical_exponent: plan.physical_exponent,
        alignment_offset: 0,
        read_only: plan.read_only,
        write_cache: plan.cache,
        discard: plan
            .discard
            .map(|sectors_max| DiscardLimits { sectors_max }),
    }
}

/// Marks what a read has to fill.
pub fn blank(request: &Request, frame: &mut Frame) {
    if request.op == Op::Read {
        let from = usize::from(request.data).min(WIRE_BYTES);
        let to = (from + request.sectors as usize * SECTOR_BYTES).min(WIRE_BYTES);
        frame.buffer_mut()[from..to].fill(UNREAD);
    }
}

impl io::Disk for Drive {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn submit(&mut self, request: Request, mut frame: Frame) {
        blank(&request, &mut frame);
        // Writes are looked up by their ticket; other marks may be shared.
        let same = |other: &Request| {
            request.op == Op::Write && other.op == Op::Write && other.ticket == request.ticket
        };
        if self.lent.iter().any(|(_, other, _)| same(other))
            || self.backlog.iter().any(|(other, _)| same(other))
        {
            let ledger = self.spindle.borrow().ledger.clone();
            ledger.find(format!("a ticket is used twice at once: {request:?}"));
        }
        self.backlog.push((request, frame));
        self.spindle.borrow_mut().unpublished += 1;
    }

    fn poll_done(&mut self) -> Option<Done> {
        let ended = self.spindle.borrow_mut().fetch()?;
        let index = self
            .lent
            .iter()
            .position(|(key, ..)| *key == ended.key)
            .expect("a job of this drive");
        let (_, request, mut frame) = self.lent.swap_remove(index);
        if request.op == Op::Read && ended.outcome == Outcome::Done {
            let from = usize::from(request.data);
            frame.buffer_mut()[from..from + ended.data.len()].copy_from_slice(&ended.data);
        }
        Some(Done {
            ticket: request.ticket,
            outcome: ended.outcome,
            frame,
        })
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let lent = self.lent.iter().map(|(_, request, frame)| (request, frame));
        let backlog = self.backlog.iter().map(|(request, frame)| (request, frame));
        lent.chain(backlog)
            .find(|(request, _)| request.ticket == ticket)
            .map(|(_, frame)| look(frame))
    }

    fn kick(&mut self) {
        for (request, mut frame) in self.backlog.drain(..) {
            let bytes = request.sectors as usize * SECTOR_BYTES;
            let data = match request.op {
                Op::Write => {
                    let from = usize::from(request.data).min(WIRE_BYTES);
                    let to = (from + bytes).min(WIRE_BYTES);
                    let mut data = frame.buffer_mut()[from..to].to_vec();
                    data.resize(bytes, UNREAD);
                    data
                }
                Op::Read => vec![UNREAD; bytes],
                Op::Flush | Op::Discard => Vec::new(),
            };
            let key = self.spindle.borrow_mut().begin(&request, data);
            self.lent.push((key, request, frame));
        }
        self.spindle.borrow_mut().unpublished = 0;
    }

    fn tick(&mut self, _now: Instant) -> bool {
        let mut spindle = self.spindle.borrow_mut();
        let geometry = geometry_of(&spindle.plan);
        spindle.resized = false;
        std::mem::replace(&mut self.geometry, geometry) != geometry
    }

    fn set_write_through(&mut self, on: bool) -> bool {
        self.spindle.borrow_mut().set_write_through(on)
    }

    fn arm(&mut self) -> bool {
        let mut spindle = self.spindle.borrow_mut();
        spindle.armed = true;
        let now_us = spindle.ledger.now_us();
        spindle.advance(now_us);
        !spindle.ended.is_empty()
    }

    fn disarm(&mut self) {
        self.spindle.borrow_mut().armed = false;
    }

    fn name(&self) -> &str {
        &self.name
    }
}
