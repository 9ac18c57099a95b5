//! The node's side: what it has in place of a card and of a disk.
//!
//! All of them share the ends of both ways. The last card hands over and looks for more:
//! the node kicks its cards last, once a turn, and every card before a sleep.

use crate::devices::Link;
use crate::mailbox::{Answer, In, Order, Out};
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::sync::atomic::{AtomicUsize, Ordering};
use io::{Done, Frame, Geometry, Identity, Instant, Nic, Request, Text};

/// The node's ends of both ways.
pub(crate) struct Side {
    pub out: Out<Order>,
    pub inn: In<Answer>,
}

/// A card whose driver runs on another processor.
pub struct Card<N: 'static, D: 'static> {
    link: &'static Link<N, D>,
    side: Rc<Side>,
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
    side: Rc<Side>,
    index: u8,
    geometry: Geometry,
    identity: Identity,
    fails_soon: bool,
    name: Text<48>,
}

/// The node's end of a link: puts something in place of each device.
pub struct Way<N: 'static, D: 'static> {
    link: &'static Link<N, D>,
    side: Rc<Side>,
}

impl<N: Nic, D: io::Disk> Way<N, D> {
    /// The end of `link`, which has one.
    #[cold]
    pub fn new(link: &'static Link<N, D>) -> Self {
        Self {
            link,
            side: Rc::new(link.take_side()),
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

    #[inline]
    fn post(&mut self, frame: Frame) {
        self.side.out.empty.push(frame);
    }

    /// The first of the line, if it is this card's: the line has one order for all.
    #[inline(always)]
    fn poll_rx(&mut self) -> Option<Frame> {
        self.side.inn.wire.pop_of(self.index)
    }

    fn send(&mut self, frame: Frame) {
        self.send_off(frame, || true);
    }

    /// What is not wanted is posted again where it was sent.
    #[inline(always)]
    fn send_off(&mut self, mut frame: Frame, is_wanted: impl FnOnce() -> bool) -> bool {
        let is_wanted = is_wanted();
        self.sent_off = self.sent_off.wrapping_add(usize::from(!is_wanted));
        frame.set_receives_again(!is_wanted);
        self.side.out.wire.push(frame);
        is_wanted
    }

    fn leaving(&self) -> usize {
        let posted = self.posted_again.load(Ordering::Relaxed);
        self.sent_off.wrapping_sub(posted)
    }

    #[inline]
    fn poll_sent(&mut self) -> Option<Frame> {
        self.side.inn.empty.pop_of(self.index)
    }

    fn kick(&mut self) {
        if !self.is_last {
            return;
        }
        if self.side.out.show() {
            self.link.mover.wake();
        }
        self.side.inn.look();
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

    /// Whether there was nothing more for any card or disk when they were last kicked.
    fn is_quiet(&self) -> bool {
        self.side.inn.is_empty()
    }

    fn arm(&mut self) -> bool {
        if !self.is_last {
            return false;
        }
        self.link.node.lie_down();
        self.side.inn.has_news() || !self.side.inn.is_empty() || self.side.out.is_waiting()
    }

    fn disarm(&mut self) {
        if self.is_last {
            self.link.node.get_up();
            self.side.inn.look();
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

    #[inline(always)]
    fn submit(&mut self, request: Request, frame: Frame) {
        self.side
            .out
            .disk
            .push(Order::new(self.index, request, frame));
    }

    /// The first of the line, if it is this disk's.
    #[inline(always)]
    fn poll_done(&mut self) -> Option<Done> {
        let answer = self.side.inn.disk.pop_of(self.index)?;
        Some(answer.into_done())
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let (mut look, mut seen) = (Some(look), None);
        self.link
            .look(&self.side, self.index, ticket, &mut |frame| {
                seen = look.take().map(|look| look(frame));
            });
        seen
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

    /// The cards say it.
    fn is_quiet(&self) -> bool {
        true
    }

    fn arm(&mut self) -> bool {
        false
    }

    fn disarm(&mut self) {}

    fn name(&self) -> &str {
        self.name.as_str()
    }
}
