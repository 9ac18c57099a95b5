//! The Linux driver `aoe`, as far as a target can feel it.
//!
//! The window of a target MAC is min(buffer count, 64), starts at half, falls
//! to one at any timeout and grows by one an answer up to half of where it was,
//! then by one a window. A timer looks every 100 ms for commands older than
//! twice the mean round trip and eight times its deviation, and sends them again
//! **under a new tag**, round robin over the paths, without back-off. AoE errors
//! are thrown away and the command asked again; ATA errors end it.

use super::{Desk, Initiator, Job, JobKind, Work};
use crate::oracle::Logical;
use crate::wire::{self, Address, Ata, Header, Mac, opcode};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// How often the driver looks for what is overdue.
const TICK_US: u64 = 100_000;
/// The driver's own limit of a window (`aoe_maxout`).
const WINDOW_MAX: u32 = 64;
/// After this long without an answer the driver gives the device up.
const DEAD_US: u64 = 180_000_000;
/// A path whose command waited this long is tainted.
const SCORN_US: u64 = 10_000_000;
/// The estimate before anything is known: 250 ms, deviation 2 s.
const MEAN_US: i64 = 250_000;
const DEVIATION_US: i64 = 2_000_000;
/// The mean moves by 1/256 of a sample's distance, the deviation by 1/8.
const MEAN_SHIFT: u32 = 8;
const DEVIATION_SHIFT: u32 = 3;

/// One MAC that answers for a device.
struct Path {
    mac: Mac,
    /// Cards that saw it, with the sectors a frame may carry there and how many
    /// frames were lost in a row.
    cards: Vec<(usize, u64, u32)>,
    card: usize,
    window_max: u32,
    window: u32,
    threshold: u32,
    until_growth: u32,
    out: u32,
    taint: u32,
}

/// A part of a job that fits in one frame.
#[derive(Clone)]
struct Part {
    io: u64,
    from: u64,
    sectors: u64,
    logical: Rc<Logical>,
}

#[derive(Clone)]
enum Command {
    Identify,
    Part(Part),
    /// A read of LBA 0 with a body, to see whether a tainted path works again.
    Probe,
}

/// A frame on its way.
struct Sent {
    tag: u32,
    path: usize,
    at_us: u64,
    waited_us: u64,
    command: Command,
}

struct Io {
    job: Job,
    parts_left: u64,
}

struct Device {
    address: Address,
    sectors: u64,
    paths: Vec<Path>,
    next_path: usize,
    sent: Vec<Sent>,
    resend: VecDeque<Sent>,
    waiting: VecDeque<Part>,
    ios: BTreeMap<u64, Io>,
    io_count: u64,
    last_tag: u32,
    mean: i64,
    deviation: i64,
    part_sectors: u64,
    wants_identify: bool,
    work: Work,
    depth: usize,
    largest: u64,
    pause_until_us: u64,
}

impl Device {
    fn new(address: Address, work: Work, depth: usize, largest: u64) -> Self {
        Self {
            address,
            sectors: 0,
            paths: Vec::new(),
            next_path: 0,
            sent: Vec::new(),
            resend: VecDeque::new(),
            waiting: VecDeque::new(),
            ios: BTreeMap::new(),
            io_count: 0,
            last_tag: 0,
            mean: MEAN_US << MEAN_SHIFT,
            deviation: DEVIATION_US << DEVIATION_SHIFT,
            part_sectors: 2,
            wants_identify: false,
            work,
            depth,
            largest,
            pause_until_us: 0,
        }
    }

    fn timeout_us(&self) -> u64 {
        let timeout = ((2 * self.mean) >> MEAN_SHIFT) + ((8 * self.deviation) >> DEVIATION_SHIFT);
        timeout.max(1) as u64
    }

    fn learn_round_trip(&mut self, path: Option<usize>, round_trip_us: u64) {
        let distance = round_trip_us as i64 - (self.mean >> MEAN_SHIFT);
        self.mean += distance;
        self.deviation += distance.abs() - (self.deviation >> DEVIATION_SHIFT);
        let Some(path) = path.and_then(|path| self.paths.get_mut(path)) else {
            return;
        };
        if path.window >= path.window_max {
            return;
        }
        if path.window < path.threshold {
            path.window += 1;
        } else if path.out == path.window {
            if path.until_growth == 0 {
                path.window += 1;
                path.until_growth = path.window;
            } else {
                path.until_growth -= 1;
            }
        }
    }

    fn new_tag(&mut self, now_us: u64) -> u32 {
        self.last_tag = (self.last_tag + 1) & 0x7fff;
        // Jiffies of 4 ms in the lower half.
        self.last_tag << 16 | (now_us / 4_000) as u32 & 0xffff
    }

    /// The next path with room, round robin.
    fn choose_path(&mut self) -> Option<usize> {
        let all_tainted = self.paths.iter().all(|path| path.taint > 0);
        for _ in 0..self.paths.len() {
            self.next_path = (self.next_path + 1) % self.paths.len();
            let path = &self.paths[self.next_path];
            let usable = path.taint == 0 || all_tainted;
            if usable && path.out < path.window && !path.cards.is_empty() {
                return Some(self.next_path);
            }
        }
        None
    }

    fn frame(&self, path: usize, card_mac: Mac, tag: u32, command: &Command) -> Vec<u8> {
        let header = Header::request(self.paths[path].mac, card_mac, self.address, wire::ATA, tag);
        match command {
            Command::Identify => {
                let mut identify = Ata::extended(opcode::IDENTIFY, 0, 1);
                identify.flags = 0;
                identify.lba[3] = 0xa0;
                wire::ata(header, identify, &[])
            }
            Command::Probe => {
                let sectors = self.part_sectors;
                let read = Ata::extended(opcode::READ_EXT, 0, sectors as u8);
                wire::ata(header, read, &vec![0; sectors as usize * 512])
            }
            Command::Part(part) => {
                let job = &self.ios[&part.io].job;
                let code = match job.kind {
                    JobKind::Read => opcode::READ_EXT,
                    JobKind::Write { .. } => opcode::WRITE_EXT,
                };
                let lba = job.lba + part.from;
                let ata = Ata::extended(code, lba, part.sectors as u8);
                wire::ata(header, ata, &job.data(part.from, part.sectors))
            }
        }
    }
}

/// A host with the Linux driver. See the module's header.
pub struct Linux {
    host: usize,
    cards: Vec<(Mac, u16)>,
    devices: Vec<Device>,
    tick_us: u64,
    query_us: u64,
    strict: bool,
    stopped: bool,
    completed: u64,
    failed: u64,
}

impl Linux {
    /// A host with these cards (address, MTU) and work on these exports.
    /// `depth` jobs of up to `largest` sectors are kept under way on each.
    pub fn new(
        host: usize,
        cards: Vec<(Mac, u16)>,
        exports: Vec<(Address, Work)>,
        depth: usize,
        largest: u64,
        strict: bool,
    ) -> Self {
        Self {
            host,
            cards,
            devices: exports
                .into_iter()
                .map(|(address, work)| Device::new(address, work, depth, largest))
                .collect(),
            tick_us: TICK_US + 1_000 * host as u64,
            query_us: 500,
            strict,
            stopped: false,
            completed: 0,
            failed: 0,
        }
    }

    fn query(&self, desk: &mut Desk<'_>, address: Address) {
        for (card, (mac, _)) in self.cards.iter().enumerate() {
            let header = Header::request(wire::BROADCAST, *mac, address, wire::CONFIG, 0);
            desk.out.push((card, wire::config(header, 0, &[])));
        }
    }

    fn take_config(&mut self, desk: &mut Desk<'_>, card: usize, header: &Header, frame: &[u8]) {
        let Some(fixed) = frame.get(wire::HEADER..wire::CONFIG_HEADER) else {
            return;
        };
        let buffers = u32::from(u16::from_be_bytes([fixed[0], fixed[1]]));
        let window_max = buffers.min(WINDOW_MAX);
        let own = (u64::from(self.cards[card].1) - 36) / 512;
        let told = u64::from(fixed[4]);
        let sectors = if told == 0 { 2 } else { own.min(told) }.max(1);
        let Some(device) = self
            .devices
            .iter_mut()
            .find(|device| device.address == header.address)
        else {
            return;
        };
        let index = match device.paths.iter().position(|path| path.mac == header.from) {
            Some(index) => {
                let path = &mut device.paths[index];
                path.window_max = window_max;
                if window_max < path.window {
                    path.window = 1;
                    path.threshold = window_max / 2;
                    path.until_growth = window_max;
                }
                index
            }
            None => {
                device.paths.push(Path {
                    mac: header.from,
                    cards: Vec::new(),
                    card: 0,
                    window_max,
                    window: window_max / 2,
                    threshold: window_max / 2,
                    until_growth: window_max / 2,
                    out: 0,
                    taint: 0,
                });
                device.paths.len() - 1
            }
        };
        let path = &mut device.paths[index];
        match path.cards.iter_mut().find(|(other, ..)| *other == card) {
            Some(known) => known.1 = sectors,
            None => path.cards.push((card, sectors, 0)),
        }
        device.part_sectors = device
            .paths
            .iter()
            .flat_map(|path| path.cards.iter().map(|(_, sectors, _)| *sectors))
            .min()
            .unwrap_or(2);
        if device.ios.is_empty() && device.sectors == 0 {
            device.wants_identify = true;
        }
        self.work(desk);
    }

    fn take_answer(&mut self, desk: &mut Desk<'_>, header: &Header, frame: &[u8]) {
        let Some(device) = self
            .devices
            .iter_mut()
            .find(|device| device.address == header.address)
        else {
            return;
        };
        if header.failed {
            // Logged and thrown away; the command is asked again.
            return;
        }
        let known = device.sent.iter().position(|sent| sent.tag == header.tag);
        let deferred = || device.resend.iter().position(|s| s.tag == header.tag);
        let sent = match known {
            Some(index) => {
                let sent = device.sent.remove(index);
                device.paths[sent.path].out -= 1;
                sent
            }
            None => match deferred() {
                Some(index) => device.resend.remove(index).expect("just found"),
                None => return,
            },
        };
        let round_trip_us = desk.now_us - sent.at_us;
        device.learn_round_trip(Some(sent.path), round_trip_us);
        let Some(ata) = Ata::parse(header, frame) else {
            return;
        };
        let failed = ata.command & 0xa9 != 0;
        match sent.command {
            Command::Identify => {
                let block = frame.get(wire::ATA_HEADER..wire::ATA_HEADER + 512);
                if let Some(block) = block.filter(|_| !failed) {
                    device.sectors = u64::from_le_bytes(
                        *block[200..].first_chunk().expect("the block is longer"),
                    );
                }
            }
            Command::Probe => {
                let path = &mut device.paths[sent.path];
                path.taint = path.taint.saturating_sub(1);
            }
            Command::Part(part) => {
                let path = &mut device.paths[sent.path];
                for (.., lost) in &mut path.cards {
                    *lost = 0;
                }
                if failed {
                    self.failed += 1;
                } else {
                    desk.oracle.write_received(&part.logical);
                }
                let io = device.ios.get_mut(&part.io).expect("its parts are out");
                io.parts_left -= 1;
                if io.parts_left == 0 {
                    let io = device.ios.remove(&part.io).expect("just seen");
                    device.work.done(&io.job);
                    self.completed += 1;
                }
            }
        }
        self.work(desk);
    }

    /// Sends what the windows allow.
    fn work(&mut self, desk: &mut Desk<'_>) {
        for index in 0..self.devices.len() {
            self.send_again(desk, index);
            self.begin_jobs(desk, index);
            loop {
                let device = &mut self.devices[index];
                let command = if device.wants_identify {
                    Command::Identify
                } else if let Some(part) = device.waiting.front() {
                    Command::Part(part.clone())
                } else {
                    break;
                };
                let Some(path) = device.choose_path() else {
                    break;
                };
                if let Command::Identify = command {
                    device.wants_identify = false;
                } else {
                    device.waiting.pop_front();
                }
                self.send(desk, index, path, command, 0);
            }
        }
    }

    fn begin_jobs(&mut self, desk: &mut Desk<'_>, index: usize) {
        let device = &mut self.devices[index];
        if self.stopped || device.sectors == 0 || device.pause_until_us > desk.now_us {
            return;
        }
        device.pause_until_us = 0;
        while device.ios.len() < device.depth {
            let Some(job) = device.work.next(desk.random, device.largest) else {
                break;
            };
            let io = device.io_count;
            device.io_count += 1;
            let mut from = 0;
            let mut parts = 0;
            while from < job.sectors {
                let sectors = device.part_sectors.min(job.sectors - from);
                let strict = self.strict && job.private;
                device.waiting.push_back(Part {
                    io,
                    from,
                    sectors,
                    logical: desk.oracle.new_write(strict),
                });
                from += sectors;
                parts += 1;
            }
            device.ios.insert(
                io,
                Io {
                    job,
                    parts_left: parts,
                },
            );
        }
        // Load comes in waves, or the estimate never sees a quiet path.
        if desk.random.one_in(64) {
            device.pause_until_us = desk.now_us + desk.random.between(1_000, 30_000);
        }
    }

    fn send(
        &mut self,
        desk: &mut Desk<'_>,
        index: usize,
        path: usize,
        command: Command,
        waited_us: u64,
    ) {
        let device = &mut self.devices[index];
        let tag = device.new_tag(desk.now_us);
        let target = &mut device.paths[path];
        target.out += 1;
        target.card = (target.card + 1) % target.cards.len();
        let card = target.cards[target.card].0;
        let mac = self.cards[card].0;
        if let Command::Part(part) = &command {
            desk.oracle
                .write_sent(mac, device.address, tag, &part.logical);
        }
        let frame = device.frame(path, mac, tag, &command);
        desk.out.push((card, frame));
        device.sent.push(Sent {
            tag,
            path,
            at_us: desk.now_us,
            waited_us,
            command,
        });
    }

    /// Looks for what is overdue.
    fn tick(&mut self, desk: &mut Desk<'_>) {
        for device in &mut self.devices {
            let timeout_us = device.timeout_us();
            let mut kept = Vec::with_capacity(device.sent.len());
            for mut sent in std::mem::take(&mut device.sent) {
                let age_us = desk.now_us - sent.at_us;
                if age_us < timeout_us {
                    kept.push(sent);
                    continue;
                }
                sent.waited_us += age_us;
                if sent.waited_us > DEAD_US {
                    desk.ledger.find(format!(
                        "host {}: Linux gave {:?} up: no answer for 180 s",
                        self.host, device.address
                    ));
                }
                let several = device.paths.len() > 1;
                let path = &mut device.paths[sent.path];
                path.out -= 1;
                if path.window != 1 {
                    path.threshold = (path.window / 2).max(1);
                    path.window = 1;
                }
                let card = path.card;
                if let Some((.., lost)) = path.cards.get_mut(card) {
                    *lost += 1;
                    if *lost > 2 * path.window_max && path.cards.len() > 1 {
                        path.cards.remove(card);
                        path.card = 0;
                    }
                }
                if several && sent.waited_us > SCORN_US {
                    path.taint += 1;
                }
                device.resend.push_back(sent);
            }
            device.sent = kept;
        }
        for index in 0..self.devices.len() {
            self.send_again(desk, index);
            self.probe(desk, index);
        }
    }

    fn send_again(&mut self, desk: &mut Desk<'_>, index: usize) {
        for _ in 0..self.devices[index].resend.len() {
            let device = &mut self.devices[index];
            let Some(path) = device.choose_path() else {
                return;
            };
            let Some(sent) = device.resend.pop_front() else {
                return;
            };
            // A probe is not worth a second try.
            if matches!(sent.command, Command::Probe) {
                continue;
            }
            self.send(desk, index, path, sent.command, sent.waited_us);
        }
    }

    fn probe(&mut self, desk: &mut Desk<'_>, index: usize) {
        let device = &self.devices[index];
        let probing = |path: usize| {
            device
                .sent
                .iter()
                .any(|sent| sent.path == path && matches!(sent.command, Command::Probe))
        };
        let tainted =
            (0..device.paths.len()).find(|&path| device.paths[path].taint > 0 && !probing(path));
        if let Some(path) = tainted
            && !device.paths[path].cards.is_empty()
        {
            self.send(desk, index, path, Command::Probe, 0);
        }
    }
}

impl Initiator for Linux {
    fn name(&self) -> String {
        format!("Linux host {}", self.host)
    }

    fn receive(&mut self, desk: &mut Desk<'_>, card: usize, frame: &[u8]) {
        let Some(header) = Header::parse(frame) else {
            return;
        };
        // Bit 31 of a tag belongs to programs. The version is not looked at.
        if !header.response || header.tag >> 31 != 0 {
            return;
        }
        match header.command {
            wire::CONFIG => self.take_config(desk, card, &header, frame),
            wire::ATA => self.take_answer(desk, &header, frame),
            _ => {}
        }
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        if desk.now_us >= self.query_us {
            self.query(desk, Address::EVERYONE);
            // The driver asks every 60 s; somebody who waits for a device types
            // `aoe-discover` more often.
            let known = self.devices.iter().all(|device| device.sectors > 0);
            self.query_us = desk.now_us + if known { 60_000_000 } else { 700_000 };
        }
        if desk.now_us >= self.tick_us {
            self.tick_us = desk.now_us + TICK_US;
            self.tick(desk);
        }
        self.work(desk);
    }

    fn fair_weather(&mut self, desk: &mut Desk<'_>) {
        // Somebody types `aoe-discover`: a damaged answer may have told the
        // driver a window of nothing, and only another answer tells it better.
        self.query(desk, Address::EVERYONE);
    }

    fn deadline_us(&self) -> u64 {
        let resumes = |device: &Device| match device.pause_until_us {
            0 => u64::MAX,
            _ if self.stopped => u64::MAX,
            pause_until_us => pause_until_us,
        };
        let resume_us = self.devices.iter().map(resumes).min();
        self.tick_us
            .min(self.query_us)
            .min(resume_us.unwrap_or(u64::MAX))
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn is_idle(&self) -> bool {
        self.devices
            .iter()
            .all(|device| device.ios.is_empty() && device.waiting.is_empty())
    }

    fn completed(&self) -> u64 {
        self.completed
    }
}
