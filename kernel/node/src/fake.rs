//! A card and a disk for tests: stricter than hardware, never kinder.
//!
//! The card shows the node nothing before a kick and loses what finds no posted
//! frame. It fails the test if a frame leaves that is shorter than 60 bytes,
//! longer than the MTU allows, not from its own address, or not one of its own.
//!
//! The disk runs nothing before a kick and ends operations in the order that the
//! test chooses. With a volatile cache only what a flush covered survives
//! [`FakeDisk::cut_power`], and a flush covers exactly what had been reported done
//! when it was submitted: a write that ended earlier but was not yet polled is
//! lost, as the contract allows. A write that was submitted and reported while the disk
//! writes through is durable, one that saw a switch is not. Operations may fail or hang. An
//! operation outside the disk, or one that does not fit its frame, fails the test.

use crate::config::{Config, Source};
use crate::media::{Blocks, Own, Sector, Unread};
use crate::plan::Origin;
use crate::state;
use crate::{Attached, Node, StateArea};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use io::{
    DiscardLimits, Disk, Done, Frame, Geometry, Identity, Instant, Nic, Op, Outcome, Request,
    SLOT_BYTES, Text, WIRE_BYTES, WriteCache, carve,
};

/// `count` frames that live as long as the test process.
pub fn frames(count: usize) -> Vec<Frame> {
    let memory = vec![0; (count + 1) * SLOT_BYTES].leak();
    carve(memory).take(count).collect()
}

/// A small generator of numbers that look random: splitmix64.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// See the module's header.
pub struct FakeNic {
    pub index: u8,
    pub mtu: u16,
    pub link: bool,
    /// Something for `tick` to report.
    pub changed: bool,
    /// Frames that were sent stay with the card.
    pub hold_sent: bool,
    /// What is sent and not wanted back it posts again itself, with a kick. Every other
    /// card does.
    pub posts_again: bool,
    /// Frames lost because nothing was posted.
    pub missed: usize,
    /// What left, oldest first.
    pub left: VecDeque<Vec<u8>>,
    name: String,
    posting: Vec<Frame>,
    posted: VecDeque<Frame>,
    arrived: VecDeque<Frame>,
    sending: Vec<Frame>,
    sent: VecDeque<Frame>,
}

impl FakeNic {
    pub fn new(index: u8) -> Self {
        Self {
            index,
            mtu: 1500,
            link: true,
            changed: false,
            hold_sent: false,
            posts_again: index % 2 == 1,
            missed: 0,
            left: VecDeque::new(),
            name: format!("00:{:02x}.0 fake-net", index + 3),
            posting: Vec::new(),
            posted: VecDeque::new(),
            arrived: VecDeque::new(),
            sending: Vec::new(),
            sent: VecDeque::new(),
        }
    }

    /// A frame comes in from the wire.
    pub fn deliver(&mut self, bytes: &[u8]) {
        match self.posted.pop_front() {
            None => self.missed += 1,
            Some(mut frame) => {
                // What a card leaves behind the frame is anything but zeros.
                let buffer = frame.buffer_mut();
                buffer[bytes.len()..].fill(0xa5);
                buffer[..bytes.len()].copy_from_slice(bytes);
                frame.set_len(bytes.len());
                self.arrived.push_back(frame);
            }
        }
    }

    /// Frames that the card holds.
    pub fn frames(&self) -> usize {
        self.posting.len()
            + self.posted.len()
            + self.arrived.len()
            + self.sending.len()
            + self.sent.len()
    }

    /// Frames it could receive into.
    pub fn room(&self) -> usize {
        self.posted.len() + self.posting.len()
    }
}

impl Nic for FakeNic {
    fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 1, self.index]
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
        assert_eq!(frame.home(), self.index, "a frame receives at home");
        self.posting.push(frame);
    }

    fn poll_rx(&mut self) -> Option<Frame> {
        self.arrived.pop_front()
    }

    fn send(&mut self, frame: Frame) {
        self.send_off(frame, || true);
    }

    fn leaving(&self) -> usize {
        let all = self.sending.iter().chain(&self.sent);
        all.filter(|frame| frame.receives_again()).count()
    }

    fn send_off(&mut self, mut frame: Frame, is_wanted: impl FnOnce() -> bool) -> bool {
        let comes_back = !self.posts_again || is_wanted();
        frame.set_receives_again(!comes_back);
        let wire = frame.wire();
        assert_eq!(
            frame.home(),
            self.index,
            "an answer leaves where it came in"
        );
        assert!(wire.len() >= 60, "an answer is padded to 60 bytes");
        assert!(
            wire.len() <= usize::from(self.mtu) + 14,
            "an answer fits the MTU"
        );
        assert_eq!(wire[6..12], self.mac(), "an answer has our address");
        self.sending.push(frame);
        comes_back
    }

    fn poll_sent(&mut self) -> Option<Frame> {
        if self.hold_sent {
            return None;
        }
        let wanted = |frame: &Frame| !frame.receives_again();
        let index = self.sent.iter().position(wanted)?;
        self.sent.remove(index)
    }

    fn kick(&mut self) {
        if !self.hold_sent {
            let all = self.sent.drain(..);
            let (again, sent): (Vec<Frame>, Vec<Frame>) = all.partition(Frame::receives_again);
            self.posting.extend(again);
            self.sent.extend(sent);
        }
        self.posted.extend(self.posting.drain(..));
        for frame in self.sending.drain(..) {
            self.left.push_back(frame.wire().to_vec());
            self.sent.push_back(frame);
        }
    }

    fn tick(&mut self, _: Instant) -> bool {
        core::mem::take(&mut self.changed)
    }

    fn is_quiet(&self) -> bool {
        let wanted = |frame: &Frame| !frame.receives_again();
        self.arrived.is_empty() && (self.hold_sent || !self.sent.iter().any(wanted))
    }

    fn arm(&mut self) -> bool {
        !self.arrived.is_empty()
    }

    fn disarm(&mut self) {}

    fn name(&self) -> &str {
        &self.name
    }
}

/// When operations end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// With the kick, in order.
    AtOnce,
    /// When the test says.
    Manual,
}

/// A write in the volatile cache.
struct Cached {
    lba: u64,
    data: Vec<u8>,
    reported: bool,
    id: u64,
}

/// See the module's header.
pub struct FakeDisk {
    pub geometry: Geometry,
    pub identity: Identity,
    pub pace: Pace,
    pub fails_soon: bool,
    /// Something for `tick` to report.
    pub changed: bool,
    /// Disks that come behind its adapter, and how many may.
    pub coming: VecDeque<FakeDisk>,
    pub room: usize,
    /// Whether it can write through, and does.
    pub can_write_through: bool,
    pub writes_through: bool,
    /// How often it was switched.
    pub switched: usize,
    /// What the disk has been asked, by operation.
    pub asked: BTreeMap<&'static str, usize>,
    name: String,
    medium: Vec<u8>,
    cache: Vec<Cached>,
    ids: u64,
    submitted: VecDeque<Operation>,
    under_way: Vec<Operation>,
    done: VecDeque<(Done, u64, bool)>,
}

struct Operation {
    request: Request,
    frame: Frame,
    /// It is a write, and the disk has written through since it was submitted.
    is_through: bool,
    /// For a flush: the writes it covers.
    covers: Vec<u64>,
}

impl FakeDisk {
    pub fn new(index: usize, sectors: u64) -> Self {
        Self {
            geometry: Geometry {
                sectors,
                physical_exponent: 0,
                alignment_offset: 0,
                read_only: false,
                write_cache: WriteCache::Volatile,
                discard: Some(DiscardLimits { sectors_max: 2048 }),
            },
            identity: Identity {
                serial: Text::new(&format!("S{index}")),
                ..Identity::default()
            },
            pace: Pace::AtOnce,
            fails_soon: false,
            changed: false,
            coming: VecDeque::new(),
            room: 0,
            can_write_through: true,
            writes_through: false,
            switched: 0,
            asked: BTreeMap::new(),
            name: format!("00:{:02x}.0 fake-blk", index + 16),
            medium: vec![0; sectors as usize * 512],
            cache: Vec::new(),
            ids: 0,
            submitted: VecDeque::new(),
            under_way: Vec::new(),
            done: VecDeque::new(),
        }
    }

    /// Frames that the disk holds.
    pub fn frames(&self) -> usize {
        self.submitted.len() + self.under_way.len() + self.done.len()
    }

    /// Operations that the test may end.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// What the operation is.
    pub fn operation(&self, index: usize) -> Request {
        self.under_way[index].request
    }

    /// How often the disk was asked for an operation.
    pub fn count(&self, op: &str) -> usize {
        self.asked.get(op).copied().unwrap_or(0)
    }

    /// Ends an operation.
    pub fn end(&mut self, index: usize, outcome: Outcome) {
        let Operation {
            request,
            mut frame,
            is_through,
            covers,
        } = self.under_way.remove(index);
        let mut id = 0;
        if outcome == Outcome::Done {
            let bytes = request.sectors as usize * 512;
            let at = usize::from(request.data);
            match request.op {
                Op::Read => {
                    let data = self.content(request.lba, request.sectors);
                    frame.buffer_mut()[at..at + bytes].copy_from_slice(&data);
                }
                Op::Write => {
                    let data = frame.buffer_mut()[at..at + bytes].to_vec();
                    id = self.keep(request.lba, data);
                }
                Op::Discard => id = self.keep(request.lba, vec![0; bytes]),
                Op::Flush => self.make_durable(&covers),
            }
        }
        let done = Done {
            ticket: request.ticket,
            outcome,
            frame,
        };
        self.done.push_back((done, id, is_through));
    }

    /// Ends everything that is under way, in order, well.
    pub fn end_all(&mut self) {
        while !self.under_way.is_empty() {
            self.end(0, Outcome::Done);
        }
    }

    /// What a reader would see.
    pub fn content(&self, lba: u64, sectors: u32) -> Vec<u8> {
        let (from, bytes) = (lba as usize * 512, sectors as usize * 512);
        let mut content = self.medium[from..from + bytes].to_vec();
        for write in &self.cache {
            for (index, sector) in write.data.chunks(512).enumerate() {
                let at = write.lba + index as u64;
                if (lba..lba + u64::from(sectors)).contains(&at) {
                    let start = (at - lba) as usize * 512;
                    content[start..start + 512].copy_from_slice(sector);
                }
            }
        }
        content
    }

    /// What would be left after a power cut.
    pub fn durable(&self, lba: u64, sectors: u32) -> &[u8] {
        &self.medium[lba as usize * 512..][..sectors as usize * 512]
    }

    /// Forgets everything that is not durable, as a host does whose page cache could
    /// not be written. What is under way goes on, and ends well.
    pub fn lose_cache(&mut self) {
        self.cache.clear();
    }

    /// Forgets everything that is not durable, and what is under way.
    pub fn cut_power(&mut self) {
        self.cache.clear();
        self.submitted.clear();
        self.under_way.clear();
        self.done.clear();
        self.pace = Pace::AtOnce;
    }

    /// Every byte of it is this one.
    pub fn fill(&mut self, byte: u8) {
        self.medium.fill(byte);
    }

    /// Grows or shrinks the disk; `tick` reports it.
    pub fn resize(&mut self, sectors: u64) {
        self.medium.resize(sectors as usize * 512, 0);
        self.geometry.sectors = sectors;
        self.changed = true;
    }

    fn keep(&mut self, lba: u64, data: Vec<u8>) -> u64 {
        self.ids += 1;
        let id = self.ids;
        self.cache.push(Cached {
            lba,
            data,
            reported: false,
            id,
        });
        if self.geometry.write_cache == WriteCache::None {
            self.make_durable(&[id]);
        }
        id
    }

    fn make_durable(&mut self, ids: &[u64]) {
        let (durable, cached) = core::mem::take(&mut self.cache)
            .into_iter()
            .partition(|write| ids.contains(&write.id));
        self.cache = cached;
        for write in Vec::<Cached>::into_iter(durable) {
            let from = write.lba as usize * 512;
            self.medium[from..from + write.data.len()].copy_from_slice(&write.data);
        }
    }
}

impl Disk for FakeDisk {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn submit(&mut self, request: Request, frame: Frame) {
        let end = request.lba + u64::from(request.sectors);
        assert!(end <= self.geometry.sectors, "nothing outside is touched");
        let has_data = matches!(request.op, Op::Read | Op::Write);
        let bytes = usize::from(request.data) + request.sectors as usize * 512;
        assert!(!has_data || bytes <= WIRE_BYTES, "data fits its frame");
        assert!(!has_data || request.data >= 36, "headers are not data");
        assert_eq!(request.op == Op::Flush, request.sectors == 0);
        let limit = self.geometry.discard.map_or(0, |limits| limits.sectors_max);
        assert!(request.op != Op::Discard || request.sectors <= limit);
        let name = match request.op {
            Op::Read => "read",
            Op::Write => "write",
            Op::Flush => "flush",
            Op::Discard => "discard",
        };
        *self.asked.entry(name).or_default() += 1;
        let reported = self.cache.iter().filter(|write| write.reported);
        let covers = reported.map(|write| write.id).collect();
        self.submitted.push_back(Operation {
            request,
            frame,
            is_through: request.op == Op::Write && self.writes_through,
            covers,
        });
    }

    fn poll_done(&mut self) -> Option<Done> {
        let (done, id, is_through) = self.done.pop_front()?;
        if is_through {
            self.make_durable(&[id]);
        }
        for write in self.cache.iter_mut().filter(|write| write.id == id) {
            write.reported = true;
        }
        Some(done)
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let mut operations = self.submitted.iter().chain(&self.under_way);
        operations
            .find(|operation| operation.request.ticket == ticket)
            .map(|operation| look(&operation.frame))
    }

    fn kick(&mut self) {
        self.under_way.extend(self.submitted.drain(..));
        if self.pace == Pace::AtOnce {
            self.end_all();
        }
    }

    fn tick(&mut self, _: Instant) -> bool {
        core::mem::take(&mut self.changed)
    }

    fn fails_soon(&self) -> bool {
        self.fails_soon
    }

    fn set_write_through(&mut self, on: bool) -> bool {
        let operations = self.submitted.iter_mut().chain(&mut self.under_way);
        operations.for_each(|operation| operation.is_through = false);
        self.done.iter_mut().for_each(|done| done.2 = false);
        self.writes_through = on && self.can_write_through;
        self.switched += 1;
        self.writes_through
    }

    fn room(&self) -> usize {
        self.room
    }

    fn newcomer(&mut self) -> Option<Self> {
        self.coming.pop_front()
    }

    fn is_quiet(&self) -> bool {
        self.done.is_empty()
    }

    fn arm(&mut self) -> bool {
        !self.done.is_empty()
    }

    fn disarm(&mut self) {}

    fn name(&self) -> &str {
        &self.name
    }
}

/// What a power cut leaves of a disk.
struct Durable<'a>(&'a FakeDisk);

impl Blocks for Durable<'_> {
    fn sectors(&self) -> u64 {
        self.0.geometry.sectors
    }

    fn read(&mut self, lba: u64, sector: &mut Sector) -> Result<(), Unread> {
        sector.copy_from_slice(self.0.durable(lba, 1));
        Ok(())
    }
}

/// A node with fakes around it, and a clock.
pub struct World {
    pub node: Node<FakeNic, FakeDisk>,
    pub now: Instant,
    frames: usize,
}

/// What a [`World`] is made of.
pub struct Builder {
    settings: String,
    nics: Vec<FakeNic>,
    disks: Vec<FakeDisk>,
    frames_per_port: usize,
    state: Option<usize>,
}

impl Builder {
    /// This disk is the boot disk, with a state area from sector 0 on.
    pub fn state(mut self, disk: usize) -> Self {
        self.state = Some(disk);
        self
    }

    /// These disks, in this order.
    pub fn with_disks(mut self, disks: Vec<FakeDisk>) -> Self {
        self.disks = disks;
        self
    }

    pub fn ports(mut self, count: u8) -> Self {
        self.nics = (0..count).map(FakeNic::new).collect();
        self
    }

    pub fn disks(mut self, count: usize) -> Self {
        self.disks = (0..count).map(|index| FakeDisk::new(index, 4096)).collect();
        self
    }

    pub fn frames(mut self, per_port: usize) -> Self {
        self.frames_per_port = per_port;
        self
    }

    pub fn each_nic(mut self, change: impl Fn(&mut FakeNic)) -> Self {
        self.nics.iter_mut().for_each(change);
        self
    }

    pub fn each_disk(mut self, change: impl Fn(&mut FakeDisk)) -> Self {
        self.disks.iter_mut().for_each(change);
        self
    }

    pub fn start(self) -> World {
        let mut config = Box::new(Config::new());
        let now = Instant(1_000_000);
        let count = self.frames_per_port * self.nics.len();
        let area = self.state.map(|disk| StateArea {
            disk,
            first: 0,
            loaded: state::load(&mut Durable(&self.disks[disk]), 0).expect("it reads"),
            conf_sum: state::sum_of(self.settings.as_bytes()),
        });
        config.parse(Source::File, self.settings.as_bytes());
        config.parse(Source::Saved, area.as_ref().map_or(&[], StateArea::saved));
        let attach = |(index, disk)| Attached {
            disk,
            origin: match self.state {
                Some(own) if own == index => Origin::Own(Own::Boot),
                _ => Origin::Bus,
            },
        };
        let disks = self.disks.into_iter().enumerate().map(attach).collect();
        let frames = frames(count).into_iter();
        let node = Node::with_state(self.nics, disks, frames, &config, now, area);
        World {
            node,
            now,
            frames: count,
        }
    }
}

impl World {
    /// One port and one disk of 4,096 sectors, everything writable.
    pub fn build(settings: &str) -> Builder {
        Builder {
            settings: settings.to_string(),
            nics: vec![FakeNic::new(0)],
            disks: vec![FakeDisk::new(0, 4096)],
            frames_per_port: 64,
            state: None,
        }
    }

    pub fn nic(&mut self, index: usize) -> &mut FakeNic {
        &mut self.node.ports[index].nic
    }

    pub fn disk(&mut self, index: usize) -> &mut FakeDisk {
        &mut self.node.stations[index].disk
    }

    /// One turn, a microsecond after the last.
    ///
    /// # Panics
    /// If the node said after the last that this one would be in vain, and something
    /// moves all the same: whoever believes it sleeps over that.
    pub fn turn(&mut self) -> bool {
        self.now = self.now + 1;
        let is_over = self.node.next_deadline() > self.now && self.node.is_quiet();
        let moved = self.node.step(self.now);
        assert!(!(is_over && moved), "the node said that nothing would move");
        moved
    }

    /// Turns until nothing moves.
    pub fn settle(&mut self) {
        let mut turns = 0;
        while self.turn() {
            turns += 1;
            assert!(turns < 100_000, "the node comes to rest");
        }
    }

    /// Lets time pass in steps, with a turn after each.
    pub fn pass(&mut self, us: u64) {
        let end = self.now + us;
        while self.now < end {
            self.now = end.min(self.now + 10_000);
            self.node.step(self.now);
        }
    }

    /// Everything that has left a port, forgotten there.
    pub fn left(&mut self, port: usize) -> Vec<Vec<u8>> {
        self.nic(port).left.drain(..).collect()
    }

    /// Frames wherever they are: all of them, always.
    pub fn assert_all_frames_are_there(&self) {
        let node = &self.node;
        let at_ports: usize = node
            .ports
            .iter()
            .map(|port| port.nic.frames() + port.spares.len())
            .sum();
        let at_disks: usize = node
            .stations
            .iter()
            .map(|station| station.disk.frames())
            .sum();
        let total = at_ports + at_disks + node.waiting.len();
        assert_eq!(total, self.frames, "no frame is lost, none is made");
        if at_disks + node.waiting.len() == 0 {
            assert!(
                node.fence.is_empty(),
                "every place in the fence is given back"
            );
        }
        for (index, port) in node.ports.iter().enumerate() {
            let held: usize = node
                .stations
                .iter()
                .map(|station| station.held[index])
                .sum();
            assert_eq!(port.lent, held + port.queries_len, "the books agree");
            assert_eq!(
                port.frames,
                port.lent + port.spares.len() + port.nic.frames(),
                "a port's frames are its own"
            );
        }
    }
}
