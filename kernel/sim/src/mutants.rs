//! Planted faults, to check the checker.
//!
//! Each mutant is a node that is wrong in one way. The wrongness sits in a shim
//! at the node's doors, between it and its card or its disk, and never in the
//! product: a flush that the disk never sees is, from outside, a node that forgot
//! to flush. A driver that is wrong is planted in its device: a doorbell that the
//! device does not hear is, from outside, one that was not rung. A mutant that
//! survives is a hole in the oracle.

use crate::driver::{AnyCard, AnyDrive, CardDriver, DiskDriver, Slip};
use crate::ledger::Ledger;
use crate::random::Random;
use io::{
    Disk, Done, Frame, Geometry, Identity, Instant, Nic, Op, Outcome, Request, SECTOR_BYTES,
    WriteCache,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// A way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Flushes are answered and never reach the disk.
    FlushSwallowed,
    /// The volatile cache is not noticed: no flush is ever asked for.
    CacheDenied,
    /// A flush that failed passes for one that worked.
    FlushErrorSwallowed,
    /// A disk is told to write through while a write is under way, and that one is
    /// believed to be durable too.
    ThroughEarly,
    /// It ceases to, and what is under way then is believed to be durable.
    ThroughKept,
    /// A write that fails in it is tried again, and others that were under way are not
    /// suspected.
    ThroughRetried,
    /// Reads come from one sector further on.
    ReadShifted,
    /// Writes of several sectors leave the last one out.
    WriteShort,
    /// A discard takes one sector too many.
    DiscardWide,
    /// Two exports have each other's disks.
    ExportsSwapped,
    /// The last block of the disk is 8 sectors late.
    CapacityLie,
    /// An old copy of a write runs again later: no fence.
    UnfencedCopy,
    /// A write is answered before the disk has it.
    EarlyAnswer,
    /// A read is answered before the disk has filled it.
    ReadUnfilled,
    /// What the disk could not do passes for done.
    ErrorSwallowed,
    /// A disk is not kicked now and then.
    DiskKickLost,
    /// A card is not kicked now and then.
    CardKickLost,
    /// The node goes to sleep although a frame is there.
    WakeupLost,
    /// A byte of the padding was not cleared.
    StalePadding,
    /// Now and then an answer carries another tag.
    TagChanged,
    /// Now and then an answer is sent twice.
    AnsweredTwice,
    /// An answer goes to another host.
    WrongHost,
    /// Now and then a frame is lost for good.
    FrameLeaked,
    /// Answers are larger than the link.
    MtuLie,
    /// A write waits in a queue of its own, past all order.
    WriteOvertaken,
    /// With several ports, a long ring is not emptied before an answer leaves.
    RingLeft,
    /// A reservation is answered and not kept.
    ReservationForgotten,
    /// What hosts set is answered before the boot disk has flushed it.
    StateUnflushed,
    /// What hosts set is answered and never written.
    StateUnwritten,
    /// The driver of virtio-blk does not ring now and then.
    VirtioDiskUnrung,
    /// The driver of virtio-blk takes an answer for another's now and then.
    VirtioDiskSwapped,
    /// The driver of virtio-net does not ring now and then.
    VirtioCardUnrung,
    /// The driver of virtio-net takes more bytes for received than were, now and then.
    VirtioCardTooLong,
    /// The driver of NVMe does not ring now and then.
    NvmeUnrung,
    /// The driver of NVMe takes an answer for another's now and then.
    NvmeSwapped,
    /// The driver of NVMe vouches for writes that a reset of its controller cost.
    NvmeVouched,
    /// The driver of AHCI does not ring now and then.
    AhciUnrung,
    /// The driver of AHCI takes an answer for another's now and then.
    AhciSwapped,
    /// The driver of AHCI vouches for writes that a lost link cost.
    AhciVouched,
    /// The driver of Intel's cards does not ring now and then.
    E1000Unrung,
    /// The driver of Intel's cards takes more bytes for received than were, now and then.
    E1000TooLong,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: [Self; 41] = [
        Self::FlushSwallowed,
        Self::CacheDenied,
        Self::FlushErrorSwallowed,
        Self::ThroughEarly,
        Self::ThroughKept,
        Self::ThroughRetried,
        Self::ReadShifted,
        Self::WriteShort,
        Self::DiscardWide,
        Self::ExportsSwapped,
        Self::CapacityLie,
        Self::UnfencedCopy,
        Self::EarlyAnswer,
        Self::ReadUnfilled,
        Self::ErrorSwallowed,
        Self::DiskKickLost,
        Self::CardKickLost,
        Self::WakeupLost,
        Self::StalePadding,
        Self::TagChanged,
        Self::AnsweredTwice,
        Self::WrongHost,
        Self::FrameLeaked,
        Self::MtuLie,
        Self::WriteOvertaken,
        Self::RingLeft,
        Self::ReservationForgotten,
        Self::StateUnflushed,
        Self::StateUnwritten,
        Self::VirtioDiskUnrung,
        Self::VirtioDiskSwapped,
        Self::VirtioCardUnrung,
        Self::VirtioCardTooLong,
        Self::NvmeUnrung,
        Self::NvmeSwapped,
        Self::NvmeVouched,
        Self::AhciUnrung,
        Self::AhciSwapped,
        Self::AhciVouched,
        Self::E1000Unrung,
        Self::E1000TooLong,
    ];

    /// Of a wrong driver of a disk: which one, and what it does.
    pub fn of_disk_driver(self) -> Option<(DiskDriver, Slip)> {
        match self {
            Self::VirtioDiskUnrung => Some((DiskDriver::Virtio, Slip::Unrung)),
            Self::VirtioDiskSwapped => Some((DiskDriver::Virtio, Slip::Swapped)),
            Self::NvmeUnrung => Some((DiskDriver::Nvme, Slip::Unrung)),
            Self::NvmeSwapped => Some((DiskDriver::Nvme, Slip::Swapped)),
            Self::NvmeVouched => Some((DiskDriver::Nvme, Slip::Vouched)),
            Self::AhciUnrung => Some((DiskDriver::Ahci, Slip::Unrung)),
            Self::AhciSwapped => Some((DiskDriver::Ahci, Slip::Swapped)),
            Self::AhciVouched => Some((DiskDriver::Ahci, Slip::Vouched)),
            _ => None,
        }
    }

    /// Of a wrong driver of a card, likewise.
    pub fn of_card_driver(self) -> Option<(CardDriver, Slip)> {
        match self {
            Self::VirtioCardUnrung => Some((CardDriver::Virtio, Slip::Unrung)),
            Self::VirtioCardTooLong => Some((CardDriver::Virtio, Slip::Swapped)),
            Self::E1000Unrung => Some((CardDriver::E1000, Slip::Unrung)),
            Self::E1000TooLong => Some((CardDriver::E1000, Slip::Swapped)),
            _ => None,
        }
    }
}

/// A doorbell that is rung only for something new, as a real driver's is, and
/// that is not heard one time in 64: what was published then stays unseen until
/// something new is.
#[derive(Default)]
struct Bell {
    fresh: bool,
    rung: u64,
}

impl Bell {
    fn rings(&mut self) -> bool {
        let fresh = std::mem::take(&mut self.fresh);
        self.rung += u64::from(fresh);
        fresh && !self.rung.is_multiple_of(64)
    }
}

/// A disk with a fault between it and the node, or none.
pub struct BentDrive {
    inner: AnyDrive,
    bend: Option<Mutant>,
    /// It is the disk that the node keeps its state on.
    is_own: bool,
    geometry: Geometry,
    random: Random,
    ledger: Rc<Ledger>,
    /// Answers that are ready although the disk knows nothing of them.
    early: VecDeque<Done>,
    /// What will be written behind everybody's back: when, where, what.
    late: VecDeque<(u64, u64, Vec<u8>)>,
    /// The bytes of the writes under way, by ticket.
    copies: BTreeMap<u32, (u64, Vec<u8>)>,
    /// Flushes that are under way, by their marks.
    flushes: BTreeSet<u32>,
    /// Writes that are under way, likewise.
    writes: BTreeSet<u32>,
    /// What the node has told it about writing through, and whether that is still to be
    /// told to the disk.
    is_through: bool,
    is_due: bool,
    bell: Bell,
}

impl BentDrive {
    /// The disk, bent.
    pub fn new(
        inner: AnyDrive,
        bend: Option<Mutant>,
        is_own: bool,
        random: Random,
        ledger: Rc<Ledger>,
    ) -> Self {
        let mut drive = Self {
            is_own,
            geometry: *inner.geometry(),
            inner,
            bend,
            random,
            ledger,
            early: VecDeque::new(),
            late: VecDeque::new(),
            copies: BTreeMap::new(),
            flushes: BTreeSet::new(),
            writes: BTreeSet::new(),
            is_through: false,
            is_due: false,
            bell: Bell::default(),
        };
        drive.refresh();
        drive
    }

    fn refresh(&mut self) {
        self.geometry = *self.inner.geometry();
        match self.bend {
            Some(Mutant::CacheDenied) => self.geometry.write_cache = WriteCache::None,
            Some(Mutant::CapacityLie) => self.geometry.sectors += 8,
            _ => {}
        }
    }

    /// After the node has submitted a write that it believes to be written through.
    fn bend_through(&mut self, request: Request) {
        match self.bend {
            Some(Mutant::ThroughEarly) if std::mem::take(&mut self.is_due) => {
                self.inner.kick();
                self.inner.set_write_through(true);
            }
            Some(Mutant::ThroughKept) if self.is_through && self.random.one_in(8) => {
                self.inner.kick();
                self.inner.set_write_through(false);
                self.inner.set_write_through(true);
            }
            Some(Mutant::ThroughRetried) if self.is_through => {
                self.writes.insert(request.ticket);
            }
            _ => {}
        }
    }

    fn write_late(&mut self) {
        while let Some((at_us, ..)) = self.late.front()
            && *at_us <= self.ledger.now_us()
        {
            let (_, lba, bytes) = self.late.pop_front().expect("just seen");
            self.inner.spindle().borrow_mut().poke(lba, &bytes);
        }
    }
}

fn data_of(request: &Request, frame: &Frame) -> Vec<u8> {
    let from = usize::from(request.data);
    let to = from + request.sectors as usize * SECTOR_BYTES;
    frame.wire().get(from..to).unwrap_or_default().to_vec()
}

impl Disk for BentDrive {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn identity(&self) -> &Identity {
        self.inner.identity()
    }

    fn submit(&mut self, mut request: Request, frame: Frame) {
        let done = |request: Request, frame| Done {
            ticket: request.ticket,
            outcome: Outcome::Done,
            frame,
        };
        let sectors = self.inner.geometry().sectors;
        match (self.bend, request.op) {
            (Some(Mutant::FlushSwallowed), Op::Flush) => {
                return self.early.push_back(done(request, frame));
            }
            (Some(Mutant::StateUnflushed), Op::Flush)
            | (Some(Mutant::StateUnwritten), Op::Flush | Op::Write)
                if self.is_own =>
            {
                return self.early.push_back(done(request, frame));
            }
            (Some(Mutant::ReadUnfilled), Op::Read) if self.random.one_in(16) => {
                return self.early.push_back(done(request, frame));
            }
            (Some(Mutant::EarlyAnswer), Op::Write) => {
                let at_us = self.ledger.now_us() + self.random.between(100, 2_000);
                let bytes = data_of(&request, &frame);
                self.late.push_back((at_us, request.lba, bytes));
                return self.early.push_back(done(request, frame));
            }
            (Some(Mutant::FlushErrorSwallowed), Op::Flush) => {
                self.flushes.insert(request.ticket);
            }
            (Some(Mutant::UnfencedCopy), Op::Write) => {
                let copy = (request.lba, data_of(&request, &frame));
                self.copies.insert(request.ticket, copy);
            }
            (Some(Mutant::ReadShifted), Op::Read)
                if request.lba + u64::from(request.sectors) < sectors =>
            {
                request.lba += 1;
            }
            (Some(Mutant::WriteShort), Op::Write) if request.sectors > 1 => request.sectors -= 1,
            (Some(Mutant::DiscardWide), Op::Discard)
                if request.lba + u64::from(request.sectors) < sectors =>
            {
                request.sectors += 1;
            }
            _ => {}
        }
        self.bell.fresh = true;
        self.inner.submit(request, frame);
        if request.op == Op::Write {
            self.bend_through(request);
        }
    }

    fn poll_done(&mut self) -> Option<Done> {
        self.write_late();
        if let Some(done) = self.early.pop_front() {
            return Some(done);
        }
        let mut done = self.inner.poll_done()?;
        if self.writes.remove(&done.ticket) && self.is_through && self.random.one_in(4) {
            // It had failed before.
            self.inner.spindle().borrow_mut().lose_the_cache();
        }
        match self.bend {
            Some(Mutant::ErrorSwallowed) => done.outcome = Outcome::Done,
            Some(Mutant::FlushErrorSwallowed) if self.flushes.remove(&done.ticket) => {
                done.outcome = Outcome::Done;
            }
            Some(Mutant::UnfencedCopy) => {
                let copy = self.copies.remove(&done.ticket);
                if let Some((lba, bytes)) = copy.filter(|_| self.random.one_in(4)) {
                    let at_us = self.ledger.now_us() + self.random.between(5_000, 50_000);
                    self.late.push_back((at_us, lba, bytes));
                }
            }
            _ => {}
        }
        Some(done)
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        self.inner.lent(ticket, look)
    }

    fn kick(&mut self) {
        if self.bend != Some(Mutant::DiskKickLost) || self.bell.rings() {
            self.inner.kick();
        }
    }

    fn tick(&mut self, now: Instant) -> bool {
        let changed = self.inner.tick(now);
        self.refresh();
        changed
    }

    fn set_write_through(&mut self, on: bool) -> bool {
        let is_early = on && self.bend == Some(Mutant::ThroughEarly);
        // Whether the disk can is found out at once.
        self.is_through = self.inner.set_write_through(on);
        self.is_due = is_early && self.is_through;
        if self.is_due {
            self.inner.set_write_through(false);
        }
        self.is_through
    }

    fn arm(&mut self) -> bool {
        self.write_late();
        self.inner.arm() || !self.early.is_empty() || !self.late.is_empty()
    }

    fn disarm(&mut self) {
        self.inner.disarm();
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
}

/// A card with a fault between it and the node, or none.
pub struct BentCard {
    inner: AnyCard,
    bend: Option<Mutant>,
    random: Random,
    ledger: Rc<Ledger>,
    bell: Bell,
    /// A received frame that waits past all order, and until when.
    held: Option<(u64, Frame)>,
    leaked: u32,
    /// Frames asked for since the last kick.
    polls: u32,
}

impl BentCard {
    /// The card, bent.
    pub fn new(inner: AnyCard, bend: Option<Mutant>, random: Random, ledger: Rc<Ledger>) -> Self {
        Self {
            inner,
            bend,
            random,
            ledger,
            bell: Bell::default(),
            held: None,
            leaked: 0,
            polls: 0,
        }
    }
}

/// Where a frame's AoE header says write.
fn is_write(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x88, 0xa2])
        && frame.get(19) == Some(&0)
        && matches!(frame.get(27), Some(0x30 | 0x34))
}

impl Nic for BentCard {
    fn mac(&self) -> [u8; 6] {
        self.inner.mac()
    }

    fn mtu(&self) -> u16 {
        match self.bend {
            Some(Mutant::MtuLie) => 9000,
            _ => self.inner.mtu(),
        }
    }

    fn link_up(&self) -> bool {
        self.inner.link_up()
    }

    fn ring_frames(&self) -> usize {
        self.inner.ring_frames()
    }

    fn post(&mut self, frame: Frame) {
        self.bell.fresh = true;
        self.inner.post(frame);
    }

    fn poll_rx(&mut self) -> Option<Frame> {
        if let Some((until_us, _)) = &self.held
            && *until_us <= self.ledger.now_us()
        {
            return self.held.take().map(|(_, frame)| frame);
        }
        self.polls += 1;
        if self.bend == Some(Mutant::RingLeft) && self.polls > 32 {
            return None;
        }
        let mut frame = self.inner.poll_rx()?;
        match self.bend {
            Some(Mutant::WriteOvertaken)
                if self.held.is_none() && is_write(frame.wire()) && self.random.one_in(8) =>
            {
                self.held = Some((
                    self.ledger.now_us() + self.random.between(500, 20_000),
                    frame,
                ));
                self.inner.poll_rx()
            }
            Some(Mutant::ReservationForgotten) if frame.wire().get(19) == Some(&3) => {
                if let Some(byte) = frame.buffer_mut().get_mut(24)
                    && *byte != 0
                {
                    // The request to reserve is answered as a read would be.
                    *byte = 0;
                }
                Some(frame)
            }
            _ => Some(frame),
        }
    }

    fn send(&mut self, mut frame: Frame) {
        let len = frame.len();
        match self.bend {
            Some(Mutant::StalePadding) if len == 60 && self.random.one_in(16) => {
                frame.buffer_mut()[58] = crate::network::POISON;
            }
            Some(Mutant::TagChanged) if self.random.one_in(200) => frame.buffer_mut()[23] ^= 1,
            Some(Mutant::WrongHost) if self.random.one_in(200) => frame.buffer_mut()[5] ^= 3,
            Some(Mutant::AnsweredTwice) if self.random.one_in(200) => {
                let copy = frame.wire().to_vec();
                self.inner.send(frame);
                self.inner.kick();
                return self.inner.inject(&copy);
            }
            _ => {}
        }
        self.bell.fresh = true;
        self.inner.send(frame);
    }

    fn poll_sent(&mut self) -> Option<Frame> {
        let frame = self.inner.poll_sent()?;
        if self.bend == Some(Mutant::FrameLeaked) && self.random.one_in(300) && self.leaked < 8 {
            self.leaked += 1;
            drop(frame);
            return None;
        }
        Some(frame)
    }

    fn kick(&mut self) {
        self.polls = 0;
        if self.bend != Some(Mutant::CardKickLost) || self.bell.rings() {
            self.inner.kick();
        }
    }

    fn tick(&mut self, now: Instant) -> bool {
        self.inner.tick(now)
    }

    fn arm(&mut self) -> bool {
        let there = self.inner.arm();
        if self.bend == Some(Mutant::WakeupLost) {
            return false;
        }
        there || self.held.is_some()
    }

    fn disarm(&mut self) {
        self.inner.disarm();
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
}
