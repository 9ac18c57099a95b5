//! virtio-blk and virtio-net, over the device's half of their rings.
//!
//! Small rings and large ones, with and without event indices and tables of
//! descriptors, the network card also as it was before virtio 1.0.

use super::Trip;
use super::card::CardDevice;
use super::disk::{DiskDevice, forgets, request, serial};
use crate::disk::DiskPlan;
use crate::random::Random;
use crate::wire::Mac;
use io::{NET_HEADER_BYTES, Op, Outcome, Request, SECTOR_BYTES};
use virtio::model::{Device, Profile};
use virtio::{DeviceId, Status};

/// Features of a disk (virtio 1.2, 5.2.3).
const READ_ONLY: u64 = 1 << 5;
const BLK_SIZE: u64 = 1 << 6;
const FLUSH: u64 = 1 << 9;
const TOPOLOGY: u64 = 1 << 10;
const CONFIG_WCE: u64 = 1 << 11;
const DISCARD: u64 = 1 << 13;
/// Features of a card (virtio 1.2, 5.1.3).
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
const STATUS: u64 = 1 << 16;
/// Features of a ring (virtio 1.2, 6), and where those of virtio 1.0 begin.
const ANY_LAYOUT: u64 = 1 << 27;
const INDIRECT: u64 = 1 << 28;
const EVENT_IDX: u64 = 1 << 29;
const LEGACY: u64 = u32::MAX as u64;
/// Kinds of requests, and how they went (virtio 1.2, 5.2.6).
const READ: u32 = 0;
const WRITE: u32 = 1;
const DO_FLUSH: u32 = 4;
const DO_DISCARD: u32 = 11;
const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const HEADER_BYTES: usize = 16;
/// Bytes of a card's header before virtio 1.0.
const LEGACY_HEADER_BYTES: usize = 10;
/// The queues.
const QUEUE: u16 = 0;
const RX: u16 = 0;
const TX: u16 = 1;
/// No ring has such an entry, and none moves so far at once.
const STRANGER: u32 = 0x7777;
const FAR: u16 = 0x4000;

fn trip(device: &Device, trip: Trip) {
    match trip {
        Trip::GivesUp => device.need_reset(),
        Trip::ReturnsAStranger => device.put_used(QUEUE, STRANGER, 0),
        Trip::RunsAhead => {
            device.set_used_index(QUEUE, device.used_index(QUEUE).wrapping_add(FAR));
        }
    }
}

/// Leaves out some of what a ring may offer.
fn thin_out(profile: &mut Profile, random: &mut Random) {
    for feature in [INDIRECT, EVENT_IDX] {
        if random.one_in(3) {
            profile.features &= !feature;
        }
    }
}

/// What a virtio disk with this plan is like.
pub fn disk_profile(plan: &DiskPlan, number: usize, random: &mut Random) -> Profile {
    let mut config = vec![0; 60];
    config[..8].copy_from_slice(&plan.sectors.to_le_bytes());
    config[20..24].copy_from_slice(&(SECTOR_BYTES as u32).to_le_bytes());
    config[24] = plan.physical_exponent;
    config[32] = u8::from(forgets(plan));
    config[36..40].copy_from_slice(&plan.discard.unwrap_or(0).to_le_bytes());
    let mut profile = Profile::new(DeviceId::BLOCK, config);
    profile.features |= BLK_SIZE | TOPOLOGY;
    let offered = [
        (READ_ONLY, plan.read_only),
        (FLUSH, forgets(plan)),
        (CONFIG_WCE, plan.can_write_through),
        (DISCARD, plan.discard.is_some()),
    ];
    for (feature, _) in offered.into_iter().filter(|(_, is_offered)| *is_offered) {
        profile.features |= feature;
    }
    thin_out(&mut profile, random);
    profile.queue_max = *random.pick(&[4, 16, 128, 256]);
    let mut name = [0; 20];
    let serial = serial(number);
    name[..serial.len()].copy_from_slice(serial.as_bytes());
    profile.serial = Some(name);
    profile
}

/// What a virtio card with this address is like.
pub fn card_profile(mac: Mac, random: &mut Random) -> Profile {
    let mut config = vec![0; 12];
    config[..6].copy_from_slice(&mac);
    let mut profile = Profile::new(DeviceId::NET, config);
    profile.features |= MAC | STATUS | MTU;
    thin_out(&mut profile, random);
    if random.one_in(4) {
        profile.legacy = true;
        profile.features &= LEGACY;
        if random.one_in(2) {
            profile.features |= ANY_LAYOUT;
        }
    }
    profile.queue_max = *random.pick(&[16, 64, 256]);
    profile
}

/// The device that the driver of a disk sees.
pub struct VirtioDisk {
    device: Device,
    /// Our numbers of the chains that it has, in their order.
    numbers: Vec<u32>,
    next: u32,
}

impl VirtioDisk {
    /// A device that runs.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            numbers: Vec::new(),
            next: 0,
        }
    }

    fn at(&self, number: u32) -> usize {
        let is_it = |other: &u32| *other == number;
        self.numbers.iter().position(is_it).expect("a chain it has")
    }
}

impl DiskDevice for VirtioDisk {
    fn take(&mut self, numbers: &mut Vec<u32>) {
        let held = self.device.fetch(QUEUE, usize::MAX);
        while self.numbers.len() < held {
            self.numbers.push(self.next);
            self.next += 1;
        }
        numbers.extend(&self.numbers);
    }

    fn asked(&self, number: u32) -> (Request, Vec<u8>) {
        let at = self.at(number);
        let bytes = self.device.read(QUEUE, at);
        let word = |at: usize| {
            let word = bytes[at..].first_chunk().expect("it is whole");
            u32::from_le_bytes(*word)
        };
        let wide = |at: usize| {
            let wide = bytes[at..].first_chunk().expect("it is whole");
            u64::from_le_bytes(*wide)
        };
        let sectors_of = |bytes: usize| (bytes / SECTOR_BYTES) as u64;
        let room = self.device.room(QUEUE, at) - 1;
        match word(0) {
            READ => (request(Op::Read, wide(8), sectors_of(room)), vec![0; room]),
            WRITE => {
                let data = bytes[HEADER_BYTES..].to_vec();
                (request(Op::Write, wide(8), sectors_of(data.len())), data)
            }
            DO_FLUSH => (request(Op::Flush, 0, 0), Vec::new()),
            DO_DISCARD => {
                let range = HEADER_BYTES;
                let sectors = word(range + 8).into();
                (request(Op::Discard, wide(range), sectors), Vec::new())
            }
            other => panic!("a request of kind {other}"),
        }
    }

    fn answer(&mut self, number: u32, outcome: Outcome, data: &[u8]) {
        let at = self.at(number);
        self.numbers.remove(at);
        let room = self.device.room(QUEUE, at);
        let (status, written) = match outcome {
            Outcome::Done => (OK, room),
            _ => (IO_ERROR, 1),
        };
        if written > 1 {
            self.device.write(QUEUE, at, 0, data);
        }
        self.device.write(QUEUE, at, room - 1, &[status]);
        self.device.complete(QUEUE, at, written as u32);
    }

    fn is_running(&self) -> bool {
        self.device.status().contains(Status::DRIVER_OK)
    }

    fn is_out(&self) -> bool {
        !self.is_running()
    }

    fn will_interrupt(&self) -> bool {
        self.device.will_interrupt(QUEUE)
    }

    fn set_sectors(&mut self, sectors: u64) {
        self.device.set_config(0, &sectors.to_le_bytes());
    }

    fn trip(&mut self, how: Trip) -> bool {
        trip(&self.device, how);
        false
    }

    fn set_deaf(&mut self, is_deaf: bool) {
        self.device.set_deaf(is_deaf);
    }

    fn writes_through(&self) -> bool {
        self.device.writes_through()
    }
}

/// The device that the driver of a card sees.
pub struct VirtioCard {
    device: Device,
    header_bytes: usize,
    /// Chains to send whose frames are on the wire.
    on_the_wire: usize,
}

impl VirtioCard {
    /// A device that runs; `is_legacy` if it is older than virtio 1.0.
    pub fn new(device: Device, is_legacy: bool) -> Self {
        let header_bytes = if is_legacy {
            LEGACY_HEADER_BYTES
        } else {
            NET_HEADER_BYTES
        };
        Self {
            device,
            header_bytes,
            on_the_wire: 0,
        }
    }
}

impl CardDevice for VirtioCard {
    fn room(&mut self) -> usize {
        self.device.fetch(RX, usize::MAX)
    }

    fn receive(&mut self, wire: &[u8], told_too_many: usize) -> bool {
        self.device.write(RX, 0, 0, &vec![0; self.header_bytes]);
        self.device.write(RX, 0, self.header_bytes, wire);
        let written = self.header_bytes + wire.len() + told_too_many;
        self.device.complete(RX, 0, written as u32);
        true
    }

    fn transmit(&mut self) -> Option<Vec<u8>> {
        if self.device.fetch(TX, usize::MAX) == self.on_the_wire {
            return None;
        }
        let bytes = self.device.read(TX, self.on_the_wire);
        self.on_the_wire += 1;
        Some(bytes[self.header_bytes..].to_vec())
    }

    fn let_go(&mut self) {
        self.device.complete(TX, 0, 0);
        self.on_the_wire -= 1;
    }

    fn is_running(&self) -> bool {
        self.device.status().contains(Status::DRIVER_OK)
    }

    fn is_out(&self) -> bool {
        !self.is_running()
    }

    fn will_interrupt_for_received(&self) -> bool {
        self.device.will_interrupt(RX)
    }

    fn will_interrupt_for_sent(&self) -> bool {
        self.device.will_interrupt(TX)
    }

    fn set_link(&mut self, is_up: bool, mtu: u16) {
        self.device.set_config(6, &u16::from(is_up).to_le_bytes());
        self.device.set_config(10, &mtu.to_le_bytes());
    }

    fn trip(&mut self, how: Trip) {
        trip(&self.device, how);
    }

    fn set_deaf(&mut self, is_deaf: bool) {
        self.device.set_deaf(is_deaf);
    }
}
