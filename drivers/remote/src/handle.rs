//! The node's side: what it has in place of a card and of a disk.
//!
//! All of them share one batch for each way. The last card hands over and takes: the
//! node kicks its cards last, once a turn, and every card before a sleep.

use crate::devices::Link;
use crate::mailbox::{Batch, Line};
use crate::parcel::{self, Answer, Parcel};
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::sync::atomic::{AtomicUsize, Ordering};
use io::{Done, Frame, Geometry, Identity, Instant, Nic, Request, Text};

/// What is on its way at the node's side.
struct Side {
    out: Box<Batch>,
    inn: Box<Batch>,
}

/// A card whose driver runs on another processor.
pub struct Card<N: 'static, D: 'static> {
    link: &'static Link<N, D>,
    side: Rc<RefCell<Side>>,
    index: u8,
    /// Whether it is the last, which hands over for all.
    is_last: bool,
    /// Counts frames that were sent and will not come back here, and of these those
    /// that the other side has posted.
    sent_off: usize,
    posted_again: &'static AtomicUsize,
    mac: [u8; 6],
    mtu: u16,
    link_up: bool,
    ring_frames: usize,
    name: Text<48>,
}

/// A disk whose driver runs on another processor.
pub struct Disk<N: 'static, D: 'static> {
    link: &'static Link<N, D>,
    side: Rc<RefCell<Side>>,
    index: u8,
    geometry: Geometry,
    identity: Identity,
    fails_soon: bool,
    name: Text<48>,
}

/// The node's end of a link: puts something in place of each device.
pub struct Way<N: 'static, D: 'static> {
    link: &'static Link<N, D>,
    side: Rc<RefCell<Side>>,
}

impl<N: Nic, D: io::Disk> Way<N, D> {
    /// The end of `link`, which has one.
    #[cold]
    pub fn new(link: &'static Link<N, D>) -> Self {
        let side = Side {
            out: Batch::new(link.frames()),
            inn: Batch::new(link.frames()),
        };
        Self {
            link,
            side: Rc::new(RefCell::new(side)),
        }
    }

    /// What the node gets in place of `nic`. Cards are added in the order that the node
    /// has them in.
    #[cold]
    pub fn card(&self, nic: N, is_last: bool) -> Card<N, D> {
        let posted_again = Box::leak(Box::new(AtomicUsize::new(0)));
        Card {
            link: self.link,
            side: Rc::clone(&self.side),
            is_last,
            mac: nic.mac(),
            mtu: nic.mtu(),
            link_up: nic.link_up(),
            ring_frames: nic.ring_frames(),
            name: Text::new(nic.name()),
            sent_off: 0,
            posted_again,
            index: self.link.add_card(nic, posted_again),
        }
    }

    /// What it gets in place of `disk`, which has so many operations under way that the
    /// node expects.
    #[cold]
    pub fn disk(&self, disk: D, under_way: usize) -> Disk<N, D> {
        Disk {
            link: self.link,
            side: Rc::clone(&self.side),
            geometry: *disk.geometry(),
            identity: *disk.identity(),
            fails_soon: disk.fails_soon(),
            name: Text::new(disk.name()),
            index: self.link.add_disk(disk, under_way),
        }
    }
}

impl<N: Nic, D: io::Disk> Card<N, D> {
    /// Sends a frame, which comes back if it is wanted.
    #[inline(never)]
    fn hand_over(&mut self, mut frame: Frame, is_wanted: bool) {
        self.sent_off = self.sent_off.wrapping_add(usize::from(!is_wanted));
        frame.set_receives_again(!is_wanted);
        self.side.borrow_mut().out.wire.push(frame);
    }
}

/// The first of a line, if it is of this card.
#[inline(always)]
fn take(line: &mut Line, card: u8) -> Option<Frame> {
    if line.front()?.home() == card {
        line.pop()
    } else {
        None
    }
}

impl<N: Nic, D: io::Disk> Nic for Card<N, D> {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn link_up(&self) -> bool {
        self.link_up
    }

    fn ring_frames(&self) -> usize {
        self.ring_frames
    }

    fn seen_empty(&self, _: Instant) -> Instant {
        // How long a frame may have lain in the ring is noted on the frame.
        Instant(0)
    }

    #[inline(never)]
    fn post(&mut self, frame: Frame) {
        self.side.borrow_mut().out.empty.push(frame);
    }

    /// The first of the line, if it is this card's: the line has one order for all.
    #[inline(never)]
    fn poll_rx(&mut self) -> Option<Frame> {
        take(&mut self.side.borrow_mut().inn.wire, self.index)
    }

    fn send(&mut self, frame: Frame) {
        self.send_off(frame, || true);
    }

    /// What is not wanted is posted again where it was sent.
    #[inline(always)]
    fn send_off(&mut self, frame: Frame, is_wanted: impl FnOnce() -> bool) -> bool {
        let is_wanted = is_wanted();
        self.hand_over(frame, is_wanted);
        is_wanted
    }

    fn leaving(&self) -> usize {
        let posted = self.posted_again.load(Ordering::Relaxed);
        self.sent_off.wrapping_sub(posted)
    }

    #[inline(never)]
    fn poll_sent(&mut self) -> Option<Frame> {
        take(&mut self.side.borrow_mut().inn.empty, self.index)
    }

    fn kick(&mut self) {
        if !self.is_last {
            return;
        }
        let side = &mut *self.side.borrow_mut();
        if self.link.to_devices.put(&mut side.out) {
            self.link.mover.wake();
        }
        self.link.to_node.take(&mut side.inn);
    }

    fn tick(&mut self, now: Instant) -> bool {
        let Self { mtu, link_up, .. } = self;
        let changed = self.link.with_nic(self.index, |nic| {
            let changed = nic.tick(now);
            (*mtu, *link_up) = (nic.mtu(), nic.link_up());
            changed
        });
        self.link.mover.wake();
        changed
    }

    fn arm(&mut self) -> bool {
        if !self.is_last {
            return false;
        }
        self.link.node.lie_down();
        let side = self.side.borrow();
        !side.inn.is_empty() || !side.out.is_empty() || self.link.to_node.is_full()
    }

    fn disarm(&mut self) {
        if self.is_last {
            self.link.node.get_up();
            self.link.to_node.take(&mut self.side.borrow_mut().inn);
        }
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl<N: Nic, D: io::Disk> io::Disk for Disk<N, D> {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    #[inline(never)]
    fn submit(&mut self, request: Request, mut frame: Frame) {
        let parcel = Parcel {
            disk: self.index,
            request,
        };
        parcel.put(&mut frame);
        self.side.borrow_mut().out.disk.push(frame);
    }

    /// The first of the line, if it is this disk's.
    #[inline(never)]
    fn poll_done(&mut self) -> Option<Done> {
        let line = &mut self.side.borrow_mut().inn.disk;
        let answer = Answer::of(line.front()?);
        if answer.disk != self.index {
            return None;
        }
        Some(Done {
            ticket: answer.ticket,
            outcome: answer.outcome,
            frame: line.pop()?,
        })
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let side = self.side.borrow();
        let is_it = |frame: &&Frame| parcel::is(frame, self.index, ticket);
        // At our side of the way there and of the way back, or in between.
        let mut ours = side.out.disk.iter().chain(side.inn.disk.iter());
        match ours.find(is_it) {
            Some(frame) => Some(look(frame)),
            None => {
                let (mut look, mut seen) = (Some(look), None);
                self.link.look(self.index, ticket, &mut |frame| {
                    seen = look.take().map(|look| look(frame));
                });
                seen
            }
        }
    }

    /// Nothing: the last card hands over for all.
    fn kick(&mut self) {}

    fn tick(&mut self, now: Instant) -> bool {
        let Self {
            geometry,
            fails_soon,
            ..
        } = self;
        let changed = self.link.with_disk(self.index, |disk| {
            let changed = disk.tick(now);
            (*geometry, *fails_soon) = (*disk.geometry(), disk.fails_soon());
            changed
        });
        self.link.mover.wake();
        changed
    }

    fn fails_soon(&self) -> bool {
        self.fails_soon
    }

    /// It cannot: what was handed over may be at the disk already or not, and nobody here
    /// knows which.
    fn set_write_through(&mut self, _: bool) -> bool {
        false
    }

    fn arm(&mut self) -> bool {
        false
    }

    fn disarm(&mut self) {}

    fn name(&self) -> &str {
        self.name.as_str()
    }
}
