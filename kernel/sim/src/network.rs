//! Cables, switches and cards.
//!
//! Every port of the node hangs on one segment, a switch with hosts at it. The
//! switch floods what it does not know, and the [`Weather`] between a host and
//! the switch loses, delays, doubles, swaps and damages frames. Damage that the
//! check sum shows makes the receiving card drop the frame; damage that it does
//! not show reaches the node only in runs that expect nothing but that the node
//! survives it and stays true to the bytes that arrived.
//!
//! [`Card`] is the node's end: rings with the semantics of real ones. What was
//! not kicked is not seen; a frame that finds no posted buffer is lost; sent
//! frames come back late and only if the card is not stuck. On arrival the whole
//! room behind the received bytes is poisoned: a reply that shows poison shows
//! bytes nobody wrote for it.

use crate::agenda::Agenda;
use crate::driver::Trip;
use crate::ledger::{Fault, Ledger};
use crate::oracle::Oracle;
use crate::random::Random;
use crate::wire::{self, Mac};
use crate::world::Event;
use io::{Frame, Instant, WIRE_BYTES};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// What lies behind the received bytes of a frame.
pub const POISON: u8 = 0xa5;

/// How a network treats what it carries. Chances are in a million.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// One way, at least.
    pub latency_us: u64,
    /// Added to it, at most.
    pub jitter_us: u64,
    /// A frame vanishes.
    pub loss_ppm: u32,
    /// A frame comes twice, the second time up to `late_us` later.
    pub double_ppm: u32,
    /// A frame is held back up to `late_us` and overtaken.
    pub swap_ppm: u32,
    /// How late a doubled or held frame may be.
    pub late_us: u64,
    /// A frame is damaged and the check sum shows it.
    pub flip_ppm: u32,
    /// A frame is damaged and the check sum is right by chance.
    pub unseen_flip_ppm: u32,
}

impl Weather {
    /// A quiet day.
    pub const CALM: Self = Self {
        latency_us: 20,
        jitter_us: 10,
        loss_ppm: 0,
        double_ppm: 0,
        swap_ppm: 0,
        late_us: 0,
        flip_ppm: 0,
        unseen_flip_ppm: 0,
    };
}

/// A port of the node, as the network sees it.
pub struct Port {
    /// Its address.
    pub mac: Mac,
    /// Payload bytes that its link carries now.
    pub mtu: u16,
    /// Whether the cable is in.
    pub link: bool,
    segment: usize,
    /// Frames that the node has lent and published.
    lent: usize,
    /// The same, and those that a driver keeps until there is room in its ring.
    held: usize,
    inbox: VecDeque<Vec<u8>>,
    /// The node wants to be woken by the next frame.
    pub armed: bool,
    /// Posted or sent by the node, not published with a kick.
    pub unpublished: usize,
    /// Frames the card has not let go of yet.
    pub in_transmit: usize,
    /// Until when the card keeps what it sent.
    pub stuck_until_us: u64,
    /// When a driver is to be woken for what was sent, or never.
    pub wakes_at_us: u64,
    /// The card will do what it must not as soon as it is looked after.
    pub trip: Option<Trip>,
    /// Frames received, frames sent.
    pub frames: (u64, u64),
}

impl Port {
    /// Frames that the card has to receive into, filled or not.
    pub fn held(&self) -> usize {
        self.held
    }

    /// The node lends a frame to receive into.
    pub fn post(&mut self) {
        self.unpublished += 1;
        self.held += 1;
    }

    /// The node fetches the frame that arrived first.
    pub fn fetch(&mut self) -> Option<Vec<u8>> {
        let bytes = self.inbox.pop_front()?;
        self.lent = self.lent.saturating_sub(1);
        self.held -= 1;
        Some(bytes)
    }

    /// The frame that arrived first is none.
    pub fn skip(&mut self) {
        self.inbox.pop_front();
    }

    /// The card drops the frame that arrived `later` frames after the one to fetch.
    pub fn drop_arrived(&mut self, later: usize) {
        self.inbox.remove(later);
    }

    /// The frame that arrived `later` frames after the one to fetch.
    pub fn arrived(&self, later: usize) -> Option<&[u8]> {
        self.inbox.get(later).map(Vec::as_slice)
    }

    /// A driver's card can receive `lent` frames, with those that it has, and has
    /// `sending` to send or sent.
    pub fn set_lent(&mut self, lent: usize, sending: usize) {
        (self.lent, self.in_transmit) = (lent, sending);
    }

    /// What has arrived is lost with the card.
    pub fn lose(&mut self) {
        self.inbox.clear();
    }

    /// The node is awake.
    pub fn disarm(&mut self) {
        (self.armed, self.wakes_at_us) = (false, u64::MAX);
    }

    /// Frames that arrived and that the node has not fetched.
    pub fn waiting(&self) -> usize {
        self.inbox.len()
    }
}

/// A host's plug in a segment.
pub struct Plug {
    /// Whose it is.
    pub host: usize,
    /// Which of the host's cards.
    pub card: usize,
    /// Its address.
    pub mac: Mac,
    /// Its VLAN tag: put on what it sends, taken off what it receives.
    pub vlan: Option<[u8; 4]>,
    segment: usize,
    /// The last delivery in each direction: order is kept where nothing swaps.
    last_us: [u64; 2],
    cut_until_us: u64,
}

/// All cables and switches.
pub struct Network {
    /// The node's ports.
    pub ports: Vec<Port>,
    /// The hosts' plugs.
    pub plugs: Vec<Plug>,
    /// How it treats frames now.
    pub weather: Weather,
    /// Real cards pad to 60 bytes on the wire, virtual ones do not.
    pub pads: bool,
    paused_until_us: u64,
    ledger: Rc<Ledger>,
    agenda: Rc<RefCell<Agenda<Event>>>,
    random: Random,
}

impl Network {
    /// A network without anything at it.
    pub fn new(
        ledger: Rc<Ledger>,
        agenda: Rc<RefCell<Agenda<Event>>>,
        random: Random,
        weather: Weather,
    ) -> Self {
        Self {
            ports: Vec::new(),
            plugs: Vec::new(),
            weather,
            pads: false,
            paused_until_us: 0,
            ledger,
            agenda,
            random,
        }
    }

    /// Where it tells what happens.
    pub fn ledger(&self) -> &Rc<Ledger> {
        &self.ledger
    }

    /// Puts a port of the node on a segment.
    pub fn add_port(&mut self, segment: usize, mac: Mac, mtu: u16) {
        self.ports.push(Port {
            mac,
            mtu,
            link: true,
            segment,
            lent: 0,
            held: 0,
            inbox: VecDeque::new(),
            armed: false,
            unpublished: 0,
            in_transmit: 0,
            stuck_until_us: 0,
            wakes_at_us: u64::MAX,
            trip: None,
            frames: (0, 0),
        });
    }

    /// Puts a host's card on a segment.
    pub fn add_plug(
        &mut self,
        segment: usize,
        host: usize,
        card: usize,
        mac: Mac,
        vlan: Option<[u8; 4]>,
    ) {
        self.plugs.push(Plug {
            host,
            card,
            mac,
            vlan,
            segment,
            last_us: [0; 2],
            cut_until_us: 0,
        });
    }

    /// Forgets what the node's cards held: the node died.
    pub fn reset_ports(&mut self) {
        for port in &mut self.ports {
            (port.lent, port.held) = (0, 0);
            port.inbox.clear();
            port.disarm();
            port.trip = None;
            port.unpublished = 0;
            port.in_transmit = 0;
        }
    }

    /// When a card is to wake the node for what it has sent, or never.
    pub fn wakes_at_us(&self) -> u64 {
        let ports = self.ports.iter().map(|port| port.wakes_at_us);
        ports.min().unwrap_or(u64::MAX)
    }

    /// Takes a host's cable out for a while.
    pub fn cut(&mut self, plug: usize, until_us: u64) {
        self.plugs[plug].cut_until_us = until_us;
    }

    /// Holds everything back for a while.
    pub fn pause(&mut self, until_us: u64) {
        self.paused_until_us = until_us;
    }

    /// Fair weather and whole cables from now on.
    pub fn heal(&mut self) {
        self.weather = Weather::CALM;
        self.paused_until_us = 0;
        for plug in &mut self.plugs {
            plug.cut_until_us = 0;
        }
        for port in &mut self.ports {
            port.link = true;
            port.stuck_until_us = 0;
        }
    }

    /// A host sends.
    pub fn leave_host(&mut self, plug: usize, frame: &[u8]) {
        let mut bytes = match self.plugs[plug].vlan {
            Some(tag) if frame.len() >= 12 => wire::tagged(frame, tag),
            _ => frame.to_vec(),
        };
        if self.pads && bytes.len() < wire::SHORTEST {
            bytes.resize(wire::SHORTEST, 0);
        }
        let Some(to) = bytes.first_chunk::<6>().copied() else {
            return;
        };
        let segment = self.plugs[plug].segment;
        // A switch knows the addresses at its plugs and floods the others.
        let is_host = self.plugs.iter().any(|other| other.mac == to);
        let known = self.ports.iter().any(|port| port.mac == to);
        for index in 0..self.ports.len() {
            let port = &self.ports[index];
            let reached = port.mac == to || (!known && !is_host);
            if port.segment == segment && reached {
                self.carry(plug, 0, bytes.clone(), |bytes| Event::ToPort {
                    port: index,
                    bytes,
                });
            }
        }
    }

    /// A port of the node sends.
    pub fn leave_port(&mut self, port: usize, bytes: &[u8]) {
        if !self.ports[port].link {
            return;
        }
        self.ports[port].frames.1 += 1;
        let Some(to) = bytes.first_chunk::<6>().copied() else {
            return;
        };
        let segment = self.ports[port].segment;
        for index in 0..self.plugs.len() {
            let plug = &self.plugs[index];
            if plug.segment != segment || (to != wire::BROADCAST && to != plug.mac) {
                continue;
            }
            // A tagged frame reaches only those who speak that VLAN.
            let vlan = matches!(bytes.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]));
            if vlan != plug.vlan.is_some() {
                continue;
            }
            let (host, card) = (plug.host, plug.card);
            let bytes = wire::untagged(bytes);
            self.carry(index, 1, bytes, |bytes| Event::ToHost { host, card, bytes });
        }
    }

    /// Carries a frame between a plug and its switch, weather permitting.
    fn carry(
        &mut self,
        plug: usize,
        direction: usize,
        mut bytes: Vec<u8>,
        event: impl Fn(Vec<u8>) -> Event,
    ) {
        let now_us = self.ledger.now_us();
        let weather = self.weather;
        if self.plugs[plug].cut_until_us > now_us {
            return;
        }
        if self.random.chance(weather.loss_ppm) {
            self.ledger.count(Fault::Lost);
            return;
        }
        if self.random.chance(weather.flip_ppm) {
            self.ledger.count(Fault::Flipped);
            return;
        }
        if self.random.chance(weather.unseen_flip_ppm) && may_be_damaged(&bytes) {
            self.ledger.count(Fault::FlippedUnseen);
            for _ in 0..self.random.between(1, 4) {
                let at = self.random.below(bytes.len().min(80) as u64) as usize;
                bytes[at] ^= 1 << self.random.below(8);
            }
            if !may_be_damaged(&bytes) {
                return;
            }
        }
        let start_us = now_us.max(self.paused_until_us);
        let jitter = self.random.between(0, weather.jitter_us);
        let mut at_us = start_us + weather.latency_us + jitter;
        let copies = 1 + usize::from(self.random.chance(weather.double_ppm));
        for copy in 0..copies {
            if copy > 0 {
                self.ledger.count(Fault::Duplicated);
                at_us += self.random.between(0, weather.late_us);
            }
            if self.random.chance(weather.swap_ppm) {
                self.ledger.count(Fault::Reordered);
                at_us += self.random.between(0, weather.late_us);
            } else {
                let last_us = &mut self.plugs[plug].last_us[direction];
                at_us = at_us.max(*last_us);
                if copy == 0 {
                    *last_us = at_us;
                }
            }
            self.agenda.borrow_mut().enter(at_us, event(bytes.clone()));
        }
    }

    /// A frame arrives at a port of the node. True if the node is to be woken.
    pub fn arrive(&mut self, port: usize, bytes: Vec<u8>) -> bool {
        let ledger = &self.ledger;
        let port = &mut self.ports[port];
        // A card takes no frame larger than its link's.
        if !port.link || bytes.len() > usize::from(port.mtu) + 18 || bytes.len() > WIRE_BYTES {
            return false;
        }
        if port.inbox.len() >= port.lent {
            ledger.count(Fault::RingFull);
            return false;
        }
        ledger.note_bytes(1, &bytes);
        port.frames.0 += 1;
        port.inbox.push_back(bytes);
        std::mem::take(&mut port.armed)
    }
}

/// Frames that shut out or let in are left whole: one flipped bit there and a
/// host waits for ever, by the protocol's own rules.
fn may_be_damaged(bytes: &[u8]) -> bool {
    wire::Header::parse(bytes)
        .is_none_or(|header| !matches!(header.command, wire::MASK | wire::RESERVE))
}

/// The node's end of a cable.
pub struct Card {
    port: usize,
    network: Rc<RefCell<Network>>,
    oracle: Rc<RefCell<Oracle>>,
    ledger: Rc<Ledger>,
    mac: Mac,
    mtu: u16,
    link: bool,
    name: String,
    /// Posted and published.
    posted: VecDeque<Frame>,
    unposted: Vec<Frame>,
    unsent: Vec<Frame>,
    /// Sent, with the moment the card lets go.
    sent: VecDeque<(u64, Frame)>,
    random: Random,
}

impl Card {
    /// Plugs the node in.
    pub fn new(
        port: usize,
        network: &Rc<RefCell<Network>>,
        oracle: &Rc<RefCell<Oracle>>,
        random: Random,
    ) -> Self {
        let inner = network.borrow();
        let state = &inner.ports[port];
        Self {
            port,
            network: network.clone(),
            oracle: oracle.clone(),
            ledger: inner.ledger.clone(),
            mac: state.mac,
            mtu: state.mtu,
            link: state.link,
            name: format!("00:{:02x}.0 sim-net", 3 + port),
            posted: VecDeque::new(),
            unposted: Vec::new(),
            unsent: Vec::new(),
            sent: VecDeque::new(),
            random,
        }
    }

    /// Puts bytes on the wire that no frame carries: a planted fault's way out.
    pub fn inject(&mut self, bytes: &[u8]) {
        self.oracle.borrow_mut().sent(self.port, None, bytes);
        self.network.borrow_mut().leave_port(self.port, bytes);
    }

    /// How often the card was kicked is nobody's business; what it still holds is.
    pub fn frames_held(&self) -> usize {
        self.posted.len() + self.unposted.len() + self.unsent.len() + self.sent.len()
    }

    fn set_unpublished(&self) {
        let mut network = self.network.borrow_mut();
        let port = &mut network.ports[self.port];
        port.unpublished = self.unposted.len() + self.unsent.len();
        port.in_transmit = self.sent.len();
    }
}

impl io::Nic for Card {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn link_up(&self) -> bool {
        self.link
    }

    fn ring_frames(&self) -> usize {
        256
    }

    fn post(&mut self, frame: Frame) {
        self.unposted.push(frame);
        self.network.borrow_mut().ports[self.port].post();
        self.set_unpublished();
    }

    fn poll_rx(&mut self) -> Option<Frame> {
        let mut network = self.network.borrow_mut();
        let bytes = network.ports[self.port].fetch()?;
        drop(network);
        let mut frame = self.posted.pop_front().expect("as many as were lent");
        let room = frame.buffer_mut();
        room[..bytes.len()].copy_from_slice(&bytes);
        room[bytes.len()..].fill(POISON);
        frame.set_len(bytes.len());
        self.oracle
            .borrow_mut()
            .polled(self.port, frame.bus_address(), &bytes);
        Some(frame)
    }

    fn send(&mut self, frame: Frame) {
        self.unsent.push(frame);
        self.set_unpublished();
    }

    fn poll_sent(&mut self) -> Option<Frame> {
        let now_us = self.ledger.now_us();
        if self.network.borrow().ports[self.port].stuck_until_us > now_us {
            return None;
        }
        match self.sent.front() {
            Some((at_us, _)) if *at_us <= now_us => {
                let frame = self.sent.pop_front().map(|(_, frame)| frame);
                self.set_unpublished();
                frame
            }
            _ => None,
        }
    }

    fn kick(&mut self) {
        if self.unposted.is_empty() && self.unsent.is_empty() {
            return;
        }
        let now_us = self.ledger.now_us();
        for frame in self.unsent.drain(..) {
            self.ledger.note_bytes(2, frame.wire());
            self.oracle
                .borrow_mut()
                .sent(self.port, Some(frame.bus_address()), frame.wire());
            self.network
                .borrow_mut()
                .leave_port(self.port, frame.wire());
            let gone_us = now_us + self.random.between(1, 40);
            let after = self.sent.back().map_or(0, |(at_us, _)| *at_us);
            self.sent.push_back((gone_us.max(after), frame));
        }
        let posted = self.unposted.len();
        for frame in self.unposted.drain(..) {
            self.oracle.borrow_mut().returned(frame.bus_address());
            self.posted.push_back(frame);
        }
        self.network.borrow_mut().ports[self.port].lent += posted;
        self.set_unpublished();
    }

    fn tick(&mut self, _now: Instant) -> bool {
        let network = self.network.borrow();
        let port = &network.ports[self.port];
        let changed = (self.mtu, self.link) != (port.mtu, port.link);
        (self.mtu, self.link) = (port.mtu, port.link);
        changed
    }

    fn arm(&mut self) -> bool {
        let mut network = self.network.borrow_mut();
        let port = &mut network.ports[self.port];
        port.armed = port.inbox.is_empty();
        !port.armed
    }

    fn disarm(&mut self) {
        self.network.borrow_mut().ports[self.port].disarm();
    }

    fn name(&self) -> &str {
        &self.name
    }
}
