//! A real card's driver between the node and its network.
//!
//! What arrives is written into the memory that the driver lent, and what the driver
//! gave to send is read from there; both by the model of the device. A frame that the
//! driver hands to the node must be, byte for byte, the next one that arrived.
//!
//! Beside that the driver must not keep frames to itself: when the node goes to
//! sleep, the device must have one to receive into and must have been told to
//! interrupt, and nothing that was given to send may lie in the driver alone.

use super::{Slip, Trip};
use crate::ledger::Ledger;
use crate::network::{Network, POISON};
use crate::oracle::Oracle;
use crate::random::Random;
use io::{Frame, Instant, Nic};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// One doorbell in so many is lost, where that is the planted fault.
const LOST_BELLS: u64 = 64;
/// One frame in so many is told to be longer than it is, likewise, by as much.
const LONG_FRAMES: u64 = 64;
const TOO_MANY: usize = 4;
/// Bytes of Ethernet's header.
const HEADER_BYTES: usize = 14;

/// A device that receives and sends what it is told to, when it is told to.
pub trait CardDevice {
    /// How many frames it could receive now.
    fn room(&mut self) -> usize;

    /// Receives a frame; there is room. It tells its driver of as many bytes too many.
    /// False if it drops it.
    fn receive(&mut self, wire: &[u8], told_too_many: usize) -> bool;

    /// The next frame that its driver gave it to send.
    fn transmit(&mut self) -> Option<Vec<u8>>;

    /// Lets go of the oldest frame that was sent.
    fn let_go(&mut self);

    /// Whether it receives and sends: neither reset nor out of service.
    fn is_running(&self) -> bool;

    /// Whether its driver gave it up until the next start.
    fn is_out(&self) -> bool;

    /// Whether it will interrupt at the next frame that arrives.
    fn will_interrupt_for_received(&self) -> bool;

    /// Whether it will interrupt when it lets go of the next frame.
    fn will_interrupt_for_sent(&self) -> bool;

    /// Its link is like this.
    fn set_link(&mut self, is_up: bool, mtu: u16);

    /// Does what it must not.
    fn trip(&mut self, trip: Trip);

    /// Hears no doorbell, or does again.
    fn set_deaf(&mut self, is_deaf: bool);
}

/// See the module's header.
pub struct Driven<N, V> {
    nic: N,
    device: V,
    port: usize,
    network: Rc<RefCell<Network>>,
    oracle: Rc<RefCell<Oracle>>,
    ledger: Rc<Ledger>,
    slip: Option<Slip>,
    random: Random,
    /// Posted since the last kick.
    fresh: Vec<u64>,
    /// Given to the driver to send, and not on the wire.
    sending: VecDeque<u64>,
    /// On the wire, and when the device lets go.
    sent: VecDeque<u64>,
    /// Frames that the driver has to send, or has sent and not given back.
    out: usize,
    /// Frames of the port's that were written into the driver's memory.
    pulled: usize,
    bells: u64,
    arrived: u64,
    has_tripped: bool,
}

impl<N: Nic, V: CardDevice> Driven<N, V> {
    /// `nic` is the driver of `device`, which is the node's `port`.
    pub fn new(
        nic: N,
        device: V,
        port: usize,
        network: &Rc<RefCell<Network>>,
        oracle: &Rc<RefCell<Oracle>>,
        slip: Option<Slip>,
        random: Random,
    ) -> Self {
        let ledger = network.borrow().ledger().clone();
        Self {
            nic,
            device,
            port,
            network: network.clone(),
            oracle: oracle.clone(),
            ledger,
            slip,
            random,
            fresh: Vec::new(),
            sending: VecDeque::new(),
            sent: VecDeque::new(),
            out: 0,
            pulled: 0,
            bells: 0,
            arrived: 0,
            has_tripped: false,
        }
    }

    /// Puts bytes on the wire that no frame carries: a planted fault's way out.
    pub fn inject(&mut self, bytes: &[u8]) {
        self.oracle.borrow_mut().sent(self.port, None, bytes);
        self.network.borrow_mut().leave_port(self.port, bytes);
    }

    /// The device receives what has arrived.
    fn pull(&mut self) {
        if !self.device.is_running() {
            return;
        }
        let mut network = self.network.borrow_mut();
        let port = &mut network.ports[self.port];
        let mut room = self.device.room();
        while room > 0
            && let Some(bytes) = port.arrived(self.pulled)
        {
            self.arrived += 1;
            let is_long =
                self.slip == Some(Slip::Swapped) && self.arrived.is_multiple_of(LONG_FRAMES);
            let told_too_many = if is_long { TOO_MANY } else { 0 };
            if self.device.receive(bytes, told_too_many) {
                self.pulled += 1;
                room -= 1;
            } else {
                port.drop_arrived(self.pulled);
            }
        }
    }

    /// Forgets what is shorter than Ethernet's header: a driver hands over none of it,
    /// and lends its frame anew.
    fn skip_runts(&mut self) {
        let port = &mut self.network.borrow_mut().ports[self.port];
        while self.pulled > 0
            && port
                .arrived(0)
                .is_some_and(|frame| frame.len() < HEADER_BYTES)
        {
            port.skip();
            self.pulled -= 1;
        }
    }

    /// The device sends what it was given.
    fn push(&mut self) {
        let now_us = self.ledger.now_us();
        while self.device.is_running()
            && let Some(wire) = self.device.transmit()
        {
            let address = self.sending.pop_front();
            self.ledger.note_bytes(2, &wire);
            self.oracle.borrow_mut().sent(self.port, address, &wire);
            self.network.borrow_mut().leave_port(self.port, &wire);
            let gone_us = now_us + self.random.between(1, 40);
            let after = self.sent.back().copied().unwrap_or(0);
            self.sent.push_back(gone_us.max(after));
        }
    }

    /// The device lets go of what it has sent.
    fn let_go(&mut self) {
        let now_us = self.ledger.now_us();
        let is_stuck = self.network.borrow().ports[self.port].stuck_until_us > now_us;
        while !is_stuck
            && self.device.is_running()
            && self.sent.front().is_some_and(|at_us| *at_us <= now_us)
        {
            self.sent.pop_front();
            self.device.let_go();
        }
    }

    /// What the network can see of us.
    fn tell_network(&mut self) {
        let lent = if self.device.is_running() {
            self.device.room() + self.pulled
        } else {
            0
        };
        self.network.borrow_mut().ports[self.port].set_lent(lent, self.out);
    }

    /// The driver has taken the device out of service.
    fn stop(&mut self) {
        self.sending.clear();
        self.sent.clear();
        self.pulled = 0;
        self.network.borrow_mut().ports[self.port].lose();
        self.tell_network();
    }
}

impl<N: Nic, V: CardDevice> Nic for Driven<N, V> {
    fn mac(&self) -> [u8; 6] {
        self.nic.mac()
    }

    fn mtu(&self) -> u16 {
        self.nic.mtu()
    }

    fn link_up(&self) -> bool {
        self.nic.link_up()
    }

    fn ring_frames(&self) -> usize {
        self.nic.ring_frames()
    }

    fn post(&mut self, mut frame: Frame) {
        frame.buffer_mut().fill(POISON);
        self.fresh.push(frame.bus_address());
        self.network.borrow_mut().ports[self.port].post();
        self.nic.post(frame);
    }

    fn poll_rx(&mut self) -> Option<Frame> {
        self.pull();
        let frame = self.nic.poll_rx();
        self.skip_runts();
        let frame = frame?;
        let arrived = self.network.borrow_mut().ports[self.port].fetch();
        self.pulled = self.pulled.saturating_sub(1);
        if arrived.as_deref() != Some(frame.wire()) {
            self.ledger.find(format!(
                "{} hands over {} bytes, and {:?} arrived",
                self.nic.name(),
                frame.len(),
                arrived.as_ref().map(Vec::len)
            ));
        }
        let bytes = arrived.unwrap_or_default();
        self.oracle
            .borrow_mut()
            .polled(self.port, frame.bus_address(), &bytes);
        Some(frame)
    }

    fn send(&mut self, frame: Frame) {
        self.sending.push_back(frame.bus_address());
        self.out += 1;
        self.network.borrow_mut().ports[self.port].unpublished += 1;
        self.nic.send(frame);
    }

    fn poll_sent(&mut self) -> Option<Frame> {
        self.let_go();
        let frame = self.nic.poll_sent()?;
        self.out -= 1;
        self.network.borrow_mut().ports[self.port].in_transmit = self.out;
        Some(frame)
    }

    fn kick(&mut self) {
        self.bells += 1;
        let is_lost = self.slip == Some(Slip::Unrung) && self.bells.is_multiple_of(LOST_BELLS);
        self.device.set_deaf(is_lost);
        self.nic.kick();
        self.device.set_deaf(false);
        self.push();
        for address in self.fresh.drain(..) {
            self.oracle.borrow_mut().returned(address);
        }
        self.network.borrow_mut().ports[self.port].unpublished = 0;
        self.pull();
        self.tell_network();
    }

    fn tick(&mut self, now: Instant) -> bool {
        let (is_up, mtu, trip) = {
            let port = &mut self.network.borrow_mut().ports[self.port];
            (port.link, port.mtu, port.trip.take())
        };
        self.device.set_link(is_up, mtu);
        // One that is out of service already can do nothing more.
        if let Some(trip) = trip
            && self.device.is_running()
        {
            self.has_tripped = true;
            self.device.trip(trip);
        }
        let changed = self.nic.tick(now);
        if self.has_tripped && self.device.is_out() {
            self.stop();
        }
        changed
    }

    fn arm(&mut self) -> bool {
        self.pull();
        if self.nic.arm() {
            return true;
        }
        // A driver that has seen its device break a rule waits to take it out of service;
        // what the device has by then is lost with it.
        if self.has_tripped || !self.device.is_running() {
            self.pulled = 0;
            self.network.borrow_mut().ports[self.port].lose();
            return false;
        }
        let name = self.nic.name();
        let lent = self.network.borrow().ports[self.port].held();
        if lent > 0 && self.device.room() == 0 {
            self.ledger.find(format!(
                "the node sleeps, the driver of {name} has {lent} frames to receive into and its device none"
            ));
        }
        if !self.device.will_interrupt_for_received() {
            self.ledger.find(format!(
                "the node sleeps and the driver of {name} does not want to be woken"
            ));
        }
        if !self.sending.is_empty() && self.sent.is_empty() {
            self.ledger.find(format!(
                "the node sleeps and the driver of {name} keeps {} frames to send",
                self.sending.len()
            ));
        }
        let mut network = self.network.borrow_mut();
        let port = &mut network.ports[self.port];
        port.armed = true;
        if self.device.will_interrupt_for_sent()
            && let Some(gone_us) = self.sent.front()
        {
            port.wakes_at_us = port.stuck_until_us.max(*gone_us);
        }
        false
    }

    fn disarm(&mut self) {
        self.network.borrow_mut().ports[self.port].disarm();
        self.nic.disarm();
    }

    fn name(&self) -> &str {
        self.nic.name()
    }
}
