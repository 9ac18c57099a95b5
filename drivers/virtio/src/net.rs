//! virtio-net (virtio 1.2, 5.1): one pair of queues, one descriptor a frame.
//!
//! The card's header lies just in front of the wire bytes, so header and frame
//! are one piece of memory and one descriptor. Before virtio 1.0 the header is
//! two bytes shorter, and a card that does not promise to take any layout gets
//! it as a descriptor of its own.
//!
//! No offloads, no merged buffers, no control queue: an AoE frame has no
//! checksum to compute, is never longer than a slot, and a card that starts is
//! open for its own address and broadcasts, which is all we want to hear.

use crate::ring::{Piece, Ring};
use crate::service::Service;
use crate::transport::{feature, negotiate, ring, run};
use crate::{Bus, DeviceId, Error, Resources, Transport};
use alloc::collections::VecDeque;
use io::{Frame, Instant, NET_HEADER, NET_HEADER_BYTES, Nic, Text, WIRE, WIRE_BYTES};

const RX: u16 = 0;
const TX: u16 = 1;

/// Features of a network card (virtio 1.2, 5.1.3).
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
const STATUS: u64 = 1 << 16;

/// Its configuration (virtio 1.2, 5.1.4).
const CONFIG_MAC: u16 = 0;
const CONFIG_STATUS: u16 = 6;
const CONFIG_MTU: u16 = 10;

/// In the status: there is a link.
const LINK_UP: u16 = 1;

/// Bytes in front of an Ethernet payload.
const ETHERNET_BYTES: usize = 14;
/// What a link carries if the card does not say.
const MTU_DEFAULT: u16 = 1500;
/// Least that a card may say (virtio 1.2, 5.1.4.1).
const MTU_MIN: u16 = 68;

/// Bytes of the card's header before virtio 1.0: no count of merged buffers.
const LEGACY_HEADER_BYTES: usize = 10;

/// A card returns frames mostly in the order in which it got them.
type Lane = Ring<(), true>;

/// One part in so many of the receive ring may stay empty while frames wait.
const RX_ROOM: u16 = 4;

/// A virtio network card.
pub struct Net<T = Bus> {
    transport: T,
    rx: Lane,
    tx: Lane,
    /// Frames that wait for room in their ring. Out of service: for their owner.
    rx_backlog: VecDeque<Frame>,
    tx_backlog: VecDeque<Frame>,
    header: Header,
    /// Bytes of it.
    header_bytes: usize,
    has_mtu: bool,
    has_status: bool,
    mac: [u8; 6],
    mtu: u16,
    link_up: bool,
    service: Service,
    /// The card is in service and takes header and frame in one piece: every card of
    /// today, and one comparison instead of two for each of its frames.
    plain: bool,
    name: Text<48>,
    doorbells: u64,
    bad_lengths: u64,
}

/// How the card wants its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// virtio 1.0: in one piece with the frame.
    Modern,
    /// Before: shorter, in one piece with the frame.
    Short,
    /// Before, and without a promise to take any layout: alone.
    ShortAlone,
}

impl Header {
    #[inline]
    const fn bytes(self) -> usize {
        match self {
            Self::Modern => NET_HEADER_BYTES,
            Self::Short | Self::ShortAlone => LEGACY_HEADER_BYTES,
        }
    }

    #[inline]
    const fn descriptors(self) -> u16 {
        match self {
            Self::Modern | Self::Short => 1,
            Self::ShortAlone => 2,
        }
    }

    /// Lends a frame with `bytes` wire bytes to the card.
    fn push(self, ring: &mut Lane, frame: Frame, bytes: usize, device_writes: bool) {
        let header = self.bytes();
        let piece = |at, bytes| Piece {
            at,
            bytes,
            device_writes,
        };
        let whole = [piece(WIRE - header, header + bytes)];
        let apart = [piece(WIRE - header, header), piece(WIRE, bytes)];
        let is_apart = self == Self::ShortAlone;
        ring.push(frame, (), if is_apart { &apart } else { &whole });
    }
}

/// Lends a frame with `bytes` wire bytes to a plain card.
#[inline(always)]
fn lend(ring: &mut Lane, frame: Frame, bytes: usize, device_writes: bool) {
    let piece = Piece {
        at: NET_HEADER,
        bytes: NET_HEADER_BYTES + bytes,
        device_writes,
    };
    ring.push_one(frame, (), piece);
}

impl<T: Transport> Net<T> {
    /// Starts the card. `name` is for messages: `00:03.0 virtio-net`.
    #[cold]
    pub fn new(
        mut transport: T,
        resources: &mut impl Resources,
        name: &str,
    ) -> Result<Self, Error> {
        if transport.device() != DeviceId::NET {
            return Err(Error::OtherKind);
        }
        let largest = transport.config_u16(CONFIG_MTU);
        let mut has_mtu = false;
        let wanted = |offered: u64| {
            has_mtu = offered & MTU != 0;
            // Taking the feature would be a promise to take frames of that size
            // (virtio 1.2, 5.1.4.2), and a slot ends a little earlier, where AoE
            // has its largest frame. To know the number is all we need.
            let fits = |mtu: u16| usize::from(mtu) + ETHERNET_BYTES <= WIRE_BYTES;
            let mtu = if largest.is_some_and(fits) { MTU } else { 0 };
            MAC | STATUS | feature::ANY_LAYOUT | mtu
        };
        let features = negotiate(&mut transport, wanted, resources)?;
        if features & MAC == 0 {
            return Err(Error::NoAddress);
        }
        let mut mac = [0; 6];
        for (offset, byte) in (CONFIG_MAC..).zip(&mut mac) {
            *byte = transport.config_u8(offset).ok_or(Error::NoAddress)?;
        }
        let header = if features & feature::VERSION_1 != 0 {
            Header::Modern
        } else if features & feature::ANY_LAYOUT != 0 {
            Header::Short
        } else {
            Header::ShortAlone
        };
        let frames = resources.frames();
        let pieces = header.descriptors();
        let event_idx = features & feature::EVENT_IDX != 0;
        let rx = ring(&mut transport, RX, frames, pieces, event_idx, resources)?;
        let tx = ring(&mut transport, TX, frames, pieces, event_idx, resources)?;
        run(&mut transport);
        let mut net = Self {
            transport,
            rx,
            tx,
            rx_backlog: VecDeque::with_capacity(frames),
            tx_backlog: VecDeque::with_capacity(frames),
            header,
            header_bytes: header.bytes(),
            has_mtu,
            has_status: features & STATUS != 0,
            mac,
            mtu: MTU_DEFAULT,
            link_up: true,
            service: Service::Running,
            plain: header == Header::Modern,
            name: Text::new(name),
            doorbells: 0,
            bad_lengths: 0,
        };
        net.read_config();
        Ok(net)
    }

    /// How often the doorbells were rung.
    pub fn doorbells(&self) -> u64 {
        self.doorbells
    }

    /// How many received frames were thrown away because the card gave them an
    /// impossible length.
    pub fn bad_lengths(&self) -> u64 {
        self.bad_lengths
    }

    /// Both are one access wide, so they need no check for a change in between.
    fn read_config(&mut self) {
        if self.has_mtu
            && let Some(mtu) = self.transport.config_u16(CONFIG_MTU)
        {
            self.mtu = if mtu < MTU_MIN { MTU_DEFAULT } else { mtu };
        }
        if self.has_status
            && let Some(status) = self.transport.config_u16(CONFIG_STATUS)
        {
            self.link_up = status & LINK_UP != 0;
        }
    }

    /// Lends empty frames that wait, as many as there is room for.
    #[inline(never)]
    fn fill_up(&mut self) {
        while self.fits(&self.rx)
            && let Some(frame) = self.rx_backlog.pop_front()
        {
            self.lend_empty(frame);
        }
    }

    /// Takes an empty frame that is not simply lent.
    #[cold]
    #[inline(never)]
    fn post_aside(&mut self, frame: Frame) {
        // Empty frames are all alike, so they need not wait in a line.
        if self.fits(&self.rx) {
            self.lend_empty(frame);
        } else {
            self.rx_backlog.push_back(frame);
        }
    }

    /// Takes a full frame that is not simply lent.
    #[cold]
    #[inline(never)]
    fn send_aside(&mut self, frame: Frame) {
        if self.tx_backlog.is_empty() && self.fits(&self.tx) {
            self.lend_full(frame);
        } else {
            self.tx_backlog.push_back(frame);
        }
    }

    fn lend_empty(&mut self, frame: Frame) {
        self.header.push(&mut self.rx, frame, WIRE_BYTES, true);
    }

    fn lend_full(&mut self, frame: Frame) {
        let bytes = frame.len();
        self.header.push(&mut self.tx, frame, bytes, false);
    }

    #[cold]
    fn refuse(&mut self, frame: Frame) {
        self.bad_lengths += 1;
        self.post(frame);
    }

    #[inline(always)]
    fn fits(&self, ring: &Lane) -> bool {
        self.service.is_running() && ring.has_room()
    }
}

impl<T: Transport> Nic for Net<T> {
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
        usize::from(self.rx.chains().min(self.tx.chains()))
    }

    #[inline]
    fn post(&mut self, frame: Frame) {
        if self.plain && self.rx.has_room() {
            lend(&mut self.rx, frame, WIRE_BYTES, true);
        } else {
            self.post_aside(frame);
        }
    }

    #[inline(always)]
    fn poll_rx(&mut self) -> Option<Frame> {
        // What is posted again below is published with the next kick, so this
        // ends when the card's returns end, after at most one ring.
        while let Some(returned) = self.rx.pop() {
            let mut frame = returned.frame;
            let received = (returned.written as usize)
                .checked_sub(self.header_bytes)
                .filter(|bytes| (ETHERNET_BYTES..=WIRE_BYTES).contains(bytes));
            if let Some(bytes) = received {
                frame.set_len(bytes);
                return Some(frame);
            }
            self.refuse(frame);
        }
        None
    }

    #[inline(always)]
    fn send(&mut self, mut frame: Frame) {
        // No checksum to fill in, nothing to cut up (virtio 1.2, 5.1.6.2.1).
        *frame.net_header_mut() = [0; NET_HEADER_BYTES];
        if self.plain && self.tx_backlog.is_empty() && self.tx.has_room() {
            let bytes = frame.len();
            lend(&mut self.tx, frame, bytes, false);
        } else {
            self.send_aside(frame);
        }
    }

    #[inline]
    fn poll_sent(&mut self) -> Option<Frame> {
        match self.service {
            Service::Running | Service::Resetting => self.tx.pop().map(|returned| returned.frame),
            Service::Stopped => self.tx_backlog.pop_front(),
        }
    }

    #[inline]
    fn kick(&mut self) {
        // Not for every frame that was taken out: those that come back from sending
        // find their room then, and do not go through the backlog.
        if self.rx.room() > self.rx.chains() / RX_ROOM && !self.rx_backlog.is_empty() {
            self.fill_up();
        }
        while self.fits(&self.tx)
            && let Some(frame) = self.tx_backlog.pop_front()
        {
            self.lend_full(frame);
        }
        if !self.service.is_running() {
            return;
        }
        if self.rx.publish() {
            self.transport.notify(RX);
            self.doorbells += 1;
        }
        if self.tx.publish() {
            self.transport.notify(TX);
            self.doorbells += 1;
        }
    }

    fn tick(&mut self, _now: Instant) -> bool {
        let before = (self.mtu, self.link_up);
        let broken = self.rx.broken().or(self.tx.broken());
        let silent = self
            .service
            .watch(&mut self.transport, broken, self.name.as_str());
        if let Some(silent) = silent {
            while let Some((frame, ())) = self.rx.reclaim(&silent) {
                self.rx_backlog.push_back(frame);
            }
            while let Some((frame, ())) = self.tx.reclaim(&silent) {
                self.tx_backlog.push_back(frame);
            }
        }
        if self.service.is_running() {
            self.read_config();
        } else {
            (self.plain, self.link_up) = (false, false);
        }
        before != (self.mtu, self.link_up)
    }

    fn arm(&mut self) -> bool {
        if !self.service.is_running() {
            // No interrupt will come, and nothing else either.
            return false;
        }
        if !self.transport.interrupts() {
            return true;
        }
        self.transport.quiet();
        // Frames that were sent are not urgent, unless most of what the card
        // could receive into is among them, or others wait behind them.
        let urgent = self.rx.lent() < self.tx.lent() || !self.tx_backlog.is_empty();
        let sent = urgent && self.tx.arm();
        let received = self.rx.arm();
        sent || received
    }

    fn disarm(&mut self) {
        self.rx.disarm();
        self.tx.disarm();
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

const _: () = assert!(NET_HEADER + NET_HEADER_BYTES == WIRE);

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::model::{Device, Machine, Profile, Registers};
    use std::vec;
    use std::vec::Vec;

    const OUR_MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    fn profile(mtu: u16) -> Profile {
        let mut config = vec![0; 12];
        config[..6].copy_from_slice(&OUR_MAC);
        config[6] = 1;
        config[10..].copy_from_slice(&mtu.to_le_bytes());
        let mut profile = Profile::new(DeviceId::NET, config);
        // And offloads that nobody wants.
        profile.features |= MAC | STATUS | MTU | 0b11 | 1 << 15 | 1 << 22;
        profile
    }

    fn start(profile: Profile, frames: usize) -> (Machine, Device, Net<Registers>) {
        let mut machine = Machine::new(frames);
        let (device, registers) = machine.device(profile);
        let net = Net::new(registers, &mut machine, "00:03.0 virtio-net").expect("it starts");
        (machine, device, net)
    }

    fn refused(profile: Profile) -> Error {
        let mut machine = Machine::new(4);
        let (device, registers) = machine.device(profile);
        let error = Net::new(registers, &mut machine, "x").err();
        assert!(
            !device
                .status()
                .contains(crate::transport::Status::DRIVER_OK)
        );
        error.expect("it does not start")
    }

    /// The card receives `wire`, with its header of `header` bytes.
    fn receive(device: &Device, header: usize, wire: &[u8]) {
        device.write(RX, 0, header, wire);
        device.complete(RX, 0, (header + wire.len()) as u32);
    }

    fn filled(mut frame: Frame, bytes: &[u8]) -> Frame {
        frame.buffer_mut()[..bytes.len()].copy_from_slice(bytes);
        frame.set_len(bytes.len());
        frame
    }

    #[test]
    fn a_card_says_who_it_is_and_takes_no_offload() {
        let (_, device, net) = start(profile(1500), 64);
        assert_eq!(net.mac(), OUR_MAC);
        assert_eq!(net.mtu(), 1500);
        assert!(net.link_up());
        assert_eq!(net.ring_frames(), 64);
        assert_eq!(net.name(), "00:03.0 virtio-net");
        let common = feature::VERSION_1 | feature::EVENT_IDX;
        assert_eq!(device.accepted(), MAC | STATUS | MTU | common);
    }

    #[test]
    fn a_jumbo_mtu_is_known_without_a_promise_to_take_frames_that_large() {
        let (_, device, net) = start(profile(9000), 4);
        assert_eq!(net.mtu(), 9000);
        assert_eq!(device.accepted() & MTU, 0);
        let (_, device, net) = start(profile(8726), 4);
        assert_eq!(net.mtu(), 8726, "exactly a slot");
        assert_ne!(device.accepted() & MTU, 0);
    }

    #[test]
    fn an_mtu_that_is_not_offered_or_makes_no_sense_is_1500() {
        let mut silent = profile(9000);
        silent.features &= !MTU;
        assert_eq!(start(silent, 4).2.mtu(), 1500);
        assert_eq!(start(profile(67), 4).2.mtu(), 1500);
        assert_eq!(start(profile(68), 4).2.mtu(), 68);
    }

    #[test]
    fn frames_are_received_in_order_with_their_length() {
        let (machine, device, mut net) = start(profile(1500), 8);
        for frame in machine.carve(8) {
            net.post(frame);
        }
        net.kick();
        assert_eq!(net.doorbells(), 1);
        assert_eq!(device.fetch(RX, usize::MAX), 8);
        assert_eq!(device.room(RX, 0), NET_HEADER_BYTES + WIRE_BYTES);
        for bytes in [14, 60, 1514, WIRE_BYTES] {
            receive(&device, NET_HEADER_BYTES, &vec![bytes as u8; bytes]);
        }
        for bytes in [14, 60, 1514, WIRE_BYTES] {
            let frame = net.poll_rx().expect("received");
            assert_eq!(frame.wire(), vec![bytes as u8; bytes]);
        }
        assert!(net.poll_rx().is_none());
        assert_eq!(net.bad_lengths(), 0);
    }

    #[test]
    fn a_received_length_outside_of_the_slot_is_counted_and_its_frame_posted_again() {
        let (machine, device, mut net) = start(profile(1500), 4);
        for frame in machine.carve(4) {
            net.post(frame);
        }
        net.kick();
        device.fetch(RX, usize::MAX);
        let longest = (NET_HEADER_BYTES + WIRE_BYTES) as u32;
        for written in [0, 11, 12 + 13, longest + 1] {
            device.complete(RX, 0, written);
        }
        assert!(net.poll_rx().is_none());
        assert_eq!(net.bad_lengths(), 4);
        net.kick();
        device.check_kick(RX);
        assert_eq!(device.fetch(RX, usize::MAX), 4, "none is lost");
        device.complete(RX, 0, u32::MAX);
        assert!(net.poll_rx().is_none());
        assert_eq!(net.bad_lengths(), 5);
    }

    #[test]
    fn frames_are_sent_with_an_empty_header_in_front() {
        let (machine, device, mut net) = start(profile(1500), 4);
        for (number, mut frame) in (1u8..).zip(machine.carve(2)) {
            frame.net_header_mut().fill(0xee);
            net.send(filled(frame, &[number; 60]));
        }
        net.kick();
        device.check_kick(TX);
        assert_eq!(net.doorbells(), 1, "one for both");
        assert_eq!(device.fetch(TX, usize::MAX), 2);
        for number in 1..=2 {
            let sent = device.read(TX, 0);
            assert_eq!(sent[..12], [0; 12]);
            assert_eq!(sent[12..], [number; 60]);
            assert!(net.poll_sent().is_none());
            device.complete(TX, 0, 0);
            assert!(net.poll_sent().is_some());
        }
    }

    #[test]
    fn a_thousand_frames_pass_through_a_ring_of_4() {
        for features in [feature::EVENT_IDX, 0] {
            let mut small = profile(1500);
            small.queue_max = 4;
            small.features &= !feature::EVENT_IDX;
            small.features |= features;
            let (machine, device, mut net) = start(small, 1024);
            assert_eq!(net.ring_frames(), 4);
            let mut frames = machine.carve(1024);
            for frame in frames.drain(512..) {
                net.post(frame);
            }
            for (number, frame) in (0u16..).zip(frames) {
                let mut wire = [0; 60];
                wire[..2].copy_from_slice(&number.to_le_bytes());
                net.send(filled(frame, &wire));
            }
            let (mut sent, mut received) = (0u16, 0u16);
            while sent < 512 || received < 512 {
                net.kick();
                device.check_kick(RX);
                device.check_kick(TX);
                for _ in 0..device.fetch(RX, 3) {
                    receive(&device, NET_HEADER_BYTES, &[7; 60]);
                }
                for _ in 0..device.fetch(TX, 3) {
                    assert_eq!(device.read(TX, 0)[12..14], sent.to_le_bytes(), "in order");
                    device.complete(TX, 0, 0);
                    sent += 1;
                }
                let mut moved = 0;
                while net.poll_rx().is_some() {
                    received += 1;
                    moved += 1;
                }
                while net.poll_sent().is_some() {
                    moved += 1;
                }
                assert!(moved > 0, "it stalls at {sent} sent, {received} received");
            }
        }
    }

    fn legacy(any_layout: bool) -> Profile {
        let mut profile = profile(1500);
        profile.legacy = true;
        profile.features &= 0xffff_ffff;
        if any_layout {
            profile.features |= feature::ANY_LAYOUT;
        }
        profile
    }

    #[test]
    fn before_1_0_the_header_is_short_and_alone_unless_any_layout_is_taken() {
        for (any_layout, pieces, per_ring) in [(true, 1, 256), (false, 2, 128)] {
            let (machine, device, mut net) = start(legacy(any_layout), 256);
            assert_eq!(net.ring_frames(), per_ring);
            let mut frames = machine.carve(2);
            net.post(frames.remove(0));
            net.send(filled(frames.remove(0), &[9; 60]));
            net.kick();
            assert_eq!(device.fetch(RX, 9), 1);
            assert_eq!(device.fetch(TX, 9), 1);
            for queue in [RX, TX] {
                let chain = &device.in_hand(queue)[0];
                assert_eq!(chain.pieces.len(), pieces);
                assert_eq!(chain.pieces[0].1 == 10, pieces == 2);
            }
            assert_eq!(device.read(TX, 0)[..10], [0; 10]);
            assert_eq!(device.read(TX, 0)[10..], [9; 60]);
            receive(&device, 10, &[5; 60]);
            assert_eq!(net.poll_rx().expect("received").wire(), [5; 60]);
        }
    }

    #[test]
    fn link_and_mtu_are_noticed_when_they_change() {
        let (_, device, mut net) = start(profile(1500), 4);
        assert!(!net.tick(Instant(0)));
        device.set_config(6, &[0]);
        assert!(net.tick(Instant(1)));
        assert!(!net.link_up());
        device.set_config(6, &[1]);
        device.set_config(10, &9000u16.to_le_bytes());
        assert!(net.tick(Instant(2)));
        assert!(net.link_up());
        assert_eq!(net.mtu(), 9000);
        assert!(!net.tick(Instant(3)));
    }

    #[test]
    fn a_sleeping_node_is_woken_by_a_frame_and_not_by_what_was_sent() {
        let (machine, device, mut net) = start(profile(1500), 8);
        let mut frames = machine.carve(8);
        net.send(filled(frames.remove(0), &[1; 60]));
        for frame in frames {
            net.post(frame);
        }
        net.kick();
        device.fetch(RX, usize::MAX);
        device.fetch(TX, usize::MAX);
        assert!(!net.arm());
        assert_eq!(device.quieted(), 1);
        device.complete(TX, 0, 0);
        assert_eq!(device.interrupts(TX), 0);
        receive(&device, NET_HEADER_BYTES, &[1; 60]);
        assert_eq!(device.interrupts(RX), 1);
        assert!(net.arm(), "it would sleep over a frame");
        net.disarm();
        receive(&device, NET_HEADER_BYTES, &[1; 60]);
        assert_eq!(device.interrupts(RX), 1);
    }

    #[test]
    fn a_sleeping_node_is_woken_by_what_was_sent_when_others_wait_behind_it() {
        let mut small = profile(1500);
        small.queue_max = 2;
        let (machine, device, mut net) = start(small, 8);
        for frame in machine.carve(3) {
            net.send(filled(frame, &[1; 60]));
        }
        net.kick();
        device.fetch(TX, usize::MAX);
        assert!(!net.arm());
        device.complete(TX, 0, 0);
        assert_eq!(device.interrupts(TX), 1);
        assert!(net.arm());
    }

    #[test]
    fn a_card_without_interrupts_never_lets_the_node_sleep() {
        let mut polled = profile(1500);
        polled.interrupts = false;
        assert!(start(polled, 4).2.arm());
    }

    #[test]
    fn a_broken_card_loses_its_link_and_gives_back_what_was_sent_after_its_reset() {
        let (machine, device, mut net) = start(profile(1500), 8);
        let mut frames: Vec<Frame> = machine.carve(8);
        for _ in 0..3 {
            net.post(frames.remove(0));
            net.send(filled(frames.remove(0), &[1; 60]));
        }
        net.kick();
        device.set_never_resets(true);
        device.put_used(RX, 77, 60);
        assert!(net.poll_rx().is_none());
        assert!(net.tick(Instant(0)), "the link is gone");
        assert!(!net.link_up());
        net.send(frames.remove(0));
        assert!(!net.tick(Instant(1)));
        assert!(net.poll_sent().is_none(), "it may still read them");
        device.set_never_resets(false);
        device.need_reset();
        net.transport.set_status(crate::transport::Status::empty());
        net.tick(Instant(2));
        let mut back = 0;
        while let Some(frame) = net.poll_sent() {
            net.post(frame);
            back += 1;
        }
        assert_eq!(back, 4);
        net.kick();
        assert!(!net.arm());
        assert!(!net.link_up());
    }

    #[test]
    fn a_card_that_can_not_be_used_is_refused_by_name_of_the_fault() {
        let mut other = profile(1500);
        other.device = DeviceId::BLOCK;
        assert_eq!(refused(other), Error::OtherKind);
        let mut nameless = profile(1500);
        nameless.features &= !MAC;
        assert_eq!(refused(nameless), Error::NoAddress);
        let mut stubborn = profile(1500);
        stubborn.refuses_features = true;
        assert_eq!(refused(stubborn), Error::FeaturesRefused);
        let mut old = profile(1500);
        old.features &= !feature::VERSION_1;
        assert_eq!(refused(old), Error::FeaturesRefused);
        let mut empty = profile(1500);
        empty.queue_max = 0;
        assert_eq!(refused(empty), Error::NoQueue { queue: RX });
        let mut narrow = legacy(false);
        narrow.queue_max = 1;
        assert_eq!(refused(narrow), Error::NoQueue { queue: RX });
    }

    #[test]
    fn a_card_that_was_left_running_is_reset_first_and_one_that_can_not_be_is_refused() {
        let mut machine = Machine::new(4);
        let mut hung = profile(1500);
        hung.never_resets = true;
        let (device, mut registers) = machine.device(hung);
        registers.set_status(crate::transport::Status::ACKNOWLEDGE);
        let error = Net::new(registers, &mut machine, "x").err();
        assert_eq!(error, Some(Error::NoReset { waited_ms: 1000 }));
        device.set_never_resets(false);
    }
}
