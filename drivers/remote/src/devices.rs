//! The devices' side: one turn of it, and its sleep.

use crate::handle::Side;
use crate::mailbox::{Answer, In, Order, Out, way};
use crate::queue::Item;
use crate::sleeper::Sleeper;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use io::{Disk, Frame, Instant, Nic};
use spin::Mutex;

/// What both processors share: the drivers, and the two ways between them.
pub struct Link<N, D> {
    devices: Mutex<Devices<N, D>>,
    /// The node's ends of the two ways, until it has taken them.
    side: Mutex<Option<Side>>,
    pub(crate) node: Sleeper,
    pub(crate) mover: Sleeper,
    /// Turns that have ended.
    turns: AtomicU64,
    /// A device has woken its processor, for what the node has to look at if there is
    /// no frame of it.
    called: AtomicBool,
}

/// The drivers, and what is on its way at their side.
pub(crate) struct Devices<N, D> {
    cards: Vec<Lane<N>>,
    disks: Vec<Spindle<D>>,
    inn: In<Order>,
    out: Out<Answer>,
}

/// A card.
struct Lane<N> {
    nic: N,
    /// Frames that it is to send and has not let go of.
    sending: usize,
    /// When its ring was last seen empty.
    seen_empty: Instant,
    /// Counts frames that were sent and posted again here. The node reads it.
    posted_again: &'static AtomicUsize,
}

/// A disk.
struct Spindle<D> {
    disk: D,
    under_way: usize,
}

impl<N: Nic, D: Disk> Link<N, D> {
    /// A link for `frames` frames, with what interrupts the node's processor and that of
    /// the devices. It has no devices yet: [`Way`](crate::Way) adds them.
    pub fn new(frames: usize, wake_node: fn(), wake_devices: fn()) -> Self {
        let (to_devices, orders) = way(frames);
        let (to_node, answers) = way(frames);
        Self {
            devices: Mutex::new(Devices {
                cards: Vec::new(),
                disks: Vec::new(),
                inn: orders,
                out: to_node,
            }),
            side: Mutex::new(Some(Side {
                out: to_devices,
                inn: answers,
            })),
            node: Sleeper::new(wake_node),
            mover: Sleeper::new(wake_devices),
            turns: AtomicU64::new(0),
            called: AtomicBool::new(false),
        }
    }

    /// The node's ends.
    ///
    /// # Panics
    /// If they were taken before: a link has one node.
    pub(crate) fn take_side(&self) -> Side {
        self.side.lock().take().expect("a link has one node")
    }

    /// One more card, with the count of what it posts again; its number.
    pub(crate) fn add_card(&self, nic: N, posted_again: &'static AtomicUsize) -> u8 {
        let cards = &mut self.devices.lock().cards;
        cards.push(Lane {
            nic,
            sending: 0,
            seen_empty: Instant(0),
            posted_again,
        });
        (cards.len() - 1) as u8
    }

    /// One more disk, with so many operations under way; its number.
    pub(crate) fn add_disk(&self, disk: D, under_way: usize) -> u8 {
        let disks = &mut self.devices.lock().disks;
        disks.push(Spindle { disk, under_way });
        (disks.len() - 1) as u8
    }

    /// One turn at `now`: the devices get what the node has for them, and the node what
    /// they are done with. True if anything moved: then there may be more.
    pub fn turn(&self, now: Instant) -> bool {
        let devices = &mut *self.devices.lock();
        // What there is is given whole, so that nothing is left but what is new.
        let taken = devices.inn.look();
        if taken {
            devices.give();
        }
        devices.collect(now);
        // Before any answer is shown to a card: see the crate's header.
        let handed_over = devices.out.show();
        if handed_over || self.called.load(Ordering::Relaxed) && !taken {
            self.node.wake();
        }
        self.called.store(false, Ordering::Relaxed);
        devices.kick();
        // Nobody else counts them.
        let turns = self.turns.load(Ordering::Relaxed);
        self.turns.store(turns.wrapping_add(1), Ordering::Relaxed);
        taken | handed_over
    }

    /// Before a sleep of the devices' processor: asks every device to wake it. True if
    /// something is there already; then it must not sleep.
    pub fn arm(&self) -> bool {
        self.mover.lie_down();
        let mut devices = self.devices.lock();
        let mut is_there = devices.inn.has_news();
        // All of them, whatever the first says: it is one wish.
        for card in &mut devices.cards {
            is_there |= card.nic.arm();
        }
        for spindle in &mut devices.disks {
            is_there |= spindle.disk.arm();
        }
        if is_there {
            devices.disarm();
            self.mover.get_up();
        }
        is_there
    }

    /// After it, at `now`.
    pub fn disarm(&self, now: Instant) {
        let called = self.mover.get_up();
        self.called.store(called, Ordering::Relaxed);
        let mut devices = self.devices.lock();
        devices.disarm();
        // Every ring was empty when it fell asleep, and what came first woke it.
        for card in &mut devices.cards {
            card.seen_empty = now;
        }
    }

    /// A number that stands still only while the devices' processor sleeps or hangs;
    /// `None` while it sleeps.
    pub fn pulse(&self) -> Option<u64> {
        (!self.mover.is_asleep()).then(|| self.turns.load(Ordering::Relaxed))
    }

    /// Does something rare with a card's driver. Its processor looks afterwards at what
    /// came of it.
    pub(crate) fn with_nic<R>(&self, index: u8, run: impl FnOnce(&mut N) -> R) -> R {
        run(&mut self.devices.lock().cards[usize::from(index)].nic)
    }

    /// As [`with_nic`](Self::with_nic), with a disk's.
    pub(crate) fn with_disk<R>(&self, index: u8, run: impl FnOnce(&mut D) -> R) -> R {
        run(&mut self.devices.lock().disks[usize::from(index)].disk)
    }
}

impl<N: Nic, D: Disk> Devices<N, D> {
    /// Gives the devices what the node has for them.
    fn give(&mut self) {
        while let Some(order) = self.inn.disk.pop() {
            let spindle = &mut self.disks[usize::from(order.device())];
            spindle.under_way += 1;
            let (request, frame) = order.into_request();
            spindle.disk.submit(request, frame);
        }
        while let Some(frame) = self.inn.wire.pop() {
            let card = &mut self.cards[usize::from(frame.home())];
            card.sending += 1;
            card.nic.send(frame);
        }
        while let Some(frame) = self.inn.empty.pop() {
            self.cards[usize::from(frame.home())].nic.post(frame);
        }
    }

    /// Takes what they are done with.
    fn collect(&mut self, now: Instant) {
        for (index, spindle) in self.disks.iter_mut().enumerate() {
            if spindle.under_way == 0 {
                continue;
            }
            // Ends: only what is under way can end.
            while let Some(done) = spindle.disk.poll_done() {
                spindle.under_way -= 1;
                self.out.disk.push(Answer::new(index as u8, done));
            }
        }
        let is_aged = self.cards.len() > 1;
        for card in &mut self.cards {
            // Ends: the rings get no empty frame before the next kick.
            while let Some(mut frame) = card.nic.poll_rx() {
                if is_aged {
                    frame.set_posted_at(frame.posted_at().max(card.seen_empty));
                }
                self.out.wire.push(frame);
            }
            card.seen_empty = now;
            if card.sending == 0 {
                continue;
            }
            let mut posted_again = 0;
            // Ends: only what is on its way out can come back.
            while let Some(mut frame) = card.nic.poll_sent() {
                card.sending -= 1;
                if frame.receives_again() {
                    frame.set_posted_at(now);
                    card.nic.post(frame);
                    posted_again += 1;
                } else {
                    self.out.empty.push(frame);
                }
            }
            if posted_again > 0 {
                // Nobody else writes it.
                let count = card.posted_again.load(Ordering::Relaxed);
                card.posted_again
                    .store(count.wrapping_add(posted_again), Ordering::Relaxed);
            }
        }
    }

    /// Shows the devices what they were given: at most one doorbell each.
    fn kick(&mut self) {
        for spindle in self.disks.iter_mut().filter(|disk| disk.under_way > 0) {
            spindle.disk.kick();
        }
        for card in &mut self.cards {
            card.nic.kick();
        }
    }

    fn disarm(&mut self) {
        for card in &mut self.cards {
            card.nic.disarm();
        }
        for spindle in &mut self.disks {
            spindle.disk.disarm();
        }
    }
}

/// For [`Disk::lent`]: looks at an operation wherever it is. Between two turns it is in
/// the queue of orders, at its driver, or in the queue of answers, and with the lock of a
/// turn we have the devices' ends of both. The closure has no type of its own here,
/// because a driver might be remote as well, as far as the compiler knows.
impl<N: Nic, D: Disk> Link<N, D> {
    #[cold]
    pub(crate) fn look(
        &self,
        side: &Side,
        disk: u8,
        ticket: u32,
        look: &mut dyn FnMut(&Frame),
    ) -> bool {
        let devices = self.devices.lock();
        let driver = &devices.disks[usize::from(disk)].disk;
        devices.inn.disk.visit(&side.out.disk, &mut |order| {
            let is_it = (order.device(), order.ticket) == (disk, ticket);
            if is_it {
                look(&order.frame);
            }
            is_it
        }) || driver.lent(ticket, |frame| look(frame)).is_some()
            || side.inn.disk.visit(&devices.out.disk, &mut |answer| {
                let is_it = (answer.device(), answer.ticket) == (disk, ticket);
                if is_it {
                    look(&answer.frame);
                }
                is_it
            })
    }
}
