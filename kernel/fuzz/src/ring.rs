//! Ring operations: the disk driver on its virtqueue, and a device that may lie.
//!
//! The input is a list of moves of both sides: requests, looks, ticks; chains
//! returned in any order, elements that were never lent, any used index, wrong
//! lengths, a plea for a reset. The model refuses any access outside of what the
//! driver lent. Whatever the device did: every frame comes back exactly once with
//! the request it went with, and a device that lied is out of service, not in use.

use io::{Disk, Frame, Instant, Op, Outcome, Request};
use sim::random::Random;
use std::collections::BTreeMap;
use virtio::model::{Device, Machine, Profile, Registers};
use virtio::{Blk, DeviceId, Status};

/// The disk's queue.
const QUEUE: u16 = 0;
/// More than the ring holds, so that requests wait behind it.
const FRAMES: usize = 6;
const SECTORS: u64 = 4_096;
const FLUSH: u64 = 1 << 9;
const DISCARD: u64 = 1 << 13;
const EVENT_IDX: u64 = 1 << 29;
const INDIRECT: u64 = 1 << 28;
/// Where a request's data begins in its frame.
const DATA: u16 = 36;

struct Bench {
    device: Device,
    disk: Blk<Registers>,
    idle: Vec<Frame>,
    /// What is under way, by ticket, with where its frame lies.
    asked: BTreeMap<u32, u64>,
    tickets: u32,
    now: u64,
    /// The device has broken a rule that the driver can not overlook.
    has_lied: bool,
}

impl Bench {
    fn new(settings: u8) -> Self {
        let mut config = vec![0; 60];
        config[..8].copy_from_slice(&SECTORS.to_le_bytes());
        config[20..24].copy_from_slice(&512u32.to_le_bytes());
        config[36..40].copy_from_slice(&1_000u32.to_le_bytes());
        let mut profile = Profile::new(DeviceId::BLOCK, config);
        profile.queue_max = [4, 8][usize::from(settings & 1)];
        profile.features |= FLUSH | DISCARD;
        if settings & 2 != 0 {
            profile.features &= !EVENT_IDX;
        }
        if settings & 4 != 0 {
            profile.features &= !INDIRECT;
        }
        let mut machine = Machine::new(FRAMES);
        let idle = machine.carve(FRAMES);
        let (device, registers) = machine.device(profile);
        let disk = Blk::new(registers, &mut machine, "fuzzed").expect("it starts in good order");
        Self {
            device,
            disk,
            idle,
            asked: BTreeMap::new(),
            tickets: 0,
            now: 0,
            has_lied: false,
        }
    }

    fn submit(&mut self, choice: u8) {
        let Some(mut frame) = self.idle.pop() else {
            return;
        };
        let op = [Op::Read, Op::Write, Op::Flush, Op::Discard][usize::from(choice & 3)];
        let sectors = if op == Op::Flush {
            0
        } else {
            u32::from(choice >> 6) + 1
        };
        let request = Request {
            op,
            lba: if op == Op::Flush { 0 } else { choice.into() },
            sectors,
            data: DATA,
            ticket: self.tickets,
        };
        self.tickets += 1;
        // What is asked twice is told apart by where it lies.
        frame.set_len(60);
        self.asked.insert(request.ticket, frame.bus_address());
        self.disk.submit(request, frame);
    }

    fn look(&mut self) {
        while let Some(done) = self.disk.poll_done() {
            let asked = self.asked.remove(&done.ticket);
            let address = asked.expect("what ends was asked for, and once");
            assert_eq!(done.frame.bus_address(), address, "with its own frame");
            self.idle.push(done.frame);
        }
        assert_eq!(self.idle.len() + self.asked.len(), FRAMES);
    }

    /// The device ends what it has at `number` as it should, but for its status
    /// and the length that it tells.
    fn complete(&mut self, number: u8, status: u8, short: bool) {
        if self.has_lied {
            // What it believes to have is no longer what it has.
            return self.device.put_used(QUEUE, number.into(), 1);
        }
        let held = self.device.fetch(QUEUE, usize::MAX);
        if held == 0 {
            return;
        }
        let number = usize::from(number) % held;
        let room = self.device.room(QUEUE, number);
        let written = if short { room / 2 } else { room };
        self.device.write(QUEUE, number, room - 1, &[status]);
        self.device.complete(QUEUE, number, written as u32);
    }

    fn act(&mut self, act: u8, detail: u8) {
        // A device that was reset has no ring to lie in.
        let runs = self.device.status().contains(Status::DRIVER_OK);
        match act % 12 {
            4..=6 | 10 | 11 if !runs => {}
            0..=2 => self.submit(detail),
            3 => {
                self.disk.kick();
                if runs && !self.has_lied {
                    self.device.check_kick(QUEUE);
                }
            }
            4 | 5 => self.complete(detail, 0, false),
            6 => self.complete(detail, detail, detail & 8 != 0),
            7 => self.look(),
            8 => {
                self.now += u64::from(detail) * 250_000;
                self.disk.tick(Instant(self.now));
            }
            9 if detail & 1 == 0 => {
                self.disk.arm();
            }
            9 => self.disk.disarm(),
            // A lie: something is returned that the device may not have.
            10 => {
                self.has_lied = true;
                self.device.put_used(QUEUE, detail.into(), detail.into());
            }
            _ => match detail & 3 {
                0 => self.device.need_reset(),
                1 => {
                    let sectors = u64::from(detail) << 3;
                    self.device.set_config(0, &sectors.to_le_bytes());
                }
                _ => {
                    self.has_lied = true;
                    self.device.set_used_index(QUEUE, detail.into());
                }
            },
        }
    }

    /// The device is reset in the end: everything comes back, asked or not.
    fn end(mut self) {
        if self.device.status().contains(Status::DRIVER_OK) {
            self.device.need_reset();
        }
        for _ in 0..4 {
            self.now += 1_000_000;
            self.disk.tick(Instant(self.now));
            self.look();
        }
        assert!(self.asked.is_empty(), "kept for ever: {:?}", self.asked);
        // And it takes nothing more: what is asked now is a fault.
        self.submit(1);
        self.disk.kick();
        let done = self.disk.poll_done().expect("it ends at once");
        assert_eq!(done.outcome, Outcome::Fault);
    }
}

/// Moves of a driver and of its device, two bytes each.
pub fn run(data: &[u8]) {
    let Some((&settings, moves)) = data.split_first() else {
        return;
    };
    let mut bench = Bench::new(settings);
    for &[act, detail] in moves.as_chunks::<2>().0.iter().take(256) {
        bench.act(act, detail);
    }
    bench.end();
}

/// Moves, most of them honest.
pub fn generate(random: &mut Random, input: &mut Vec<u8>) {
    input.push(random.next() as u8);
    for _ in 0..random.between(1, 60) {
        let honest = random.below(10) as u8;
        let act = if random.one_in(24) { 10 } else { honest };
        input.extend([act, random.next() as u8]);
    }
}
