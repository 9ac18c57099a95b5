//! virtio-blk (virtio 1.2, 5.2): one queue, one descriptor a request.
//!
//! A request is the frame's data between two small pieces: a header that says
//! what to do, and a byte in which the disk says how it went. Both lie in the
//! frame's scratch, and so does the table that ties the three together, so a
//! request needs no memory beside its frame and one descriptor of the ring. A
//! disk that knows no tables gets three descriptors.
//!
//! What the disk was asked stands in our own memory, never in the frame: the
//! disk may write there.
//!
//! **An error blames nobody in the crowd.** A hypervisor makes one request of
//! several that lie side by side (QEMU: up to 32), and when that one fails, it
//! says so of each. So a request that failed beside others is a suspect: it runs
//! once more with nobody beside it, and what it then says is believed.

use crate::ring::{DESCRIPTOR_BYTES, Piece, Returned, Ring};
use crate::service::Service;
use crate::transport::{feature, negotiate, ring, run};
use crate::{Bus, DeviceId, Error, Resources, Transport};
use alloc::collections::VecDeque;
use core::hint::spin_loop;
use io::{
    DiscardLimits, Disk, Done, Frame, Geometry, Identity, Instant, Op, Outcome, Request,
    SCRATCH_BYTES, SECTOR_BYTES, SLOT_BYTES, Text, WIRE, WIRE_BYTES, WriteCache, carve,
};

/// The only queue we use. A disk with several serves each on its own.
const QUEUE: u16 = 0;

/// Features of a disk (virtio 1.2, 5.2.3).
const SIZE_MAX: u64 = 1 << 1;
const READ_ONLY: u64 = 1 << 5;
const BLK_SIZE: u64 = 1 << 6;
const FLUSH: u64 = 1 << 9;
const TOPOLOGY: u64 = 1 << 10;
const CONFIG_WCE: u64 = 1 << 11;
const DISCARD: u64 = 1 << 13;

/// Its configuration (virtio 1.2, 5.2.4).
mod config {
    pub const CAPACITY: [u16; 2] = [0, 4];
    pub const SIZE_MAX: u16 = 8;
    pub const BLK_SIZE: u16 = 20;
    pub const PHYSICAL_EXPONENT: u16 = 24;
    pub const ALIGNMENT_OFFSET: u16 = 25;
    pub const WRITEBACK: u16 = 32;
    pub const DISCARD_SECTORS_MAX: u16 = 36;
}

/// Kinds of requests (virtio 1.2, 5.2.6).
const READ: u32 = 0;
const WRITE: u32 = 1;
const DO_FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DO_DISCARD: u32 = 11;

/// How a request went. Others may exist.
const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;
/// Ours: the disk has said nothing.
const UNANSWERED: u8 = 0xff;

/// Where things lie in the frame's scratch. What the disk reads and what it
/// writes are on different cache lines.
const TABLE: usize = 0;
const TABLE_ENTRIES: usize = 3;
const HEADER: usize = TABLE + TABLE_ENTRIES * DESCRIPTOR_BYTES;
const HEADER_BYTES: usize = 16;
const RANGE: usize = HEADER + HEADER_BYTES;
const RANGE_BYTES: usize = 16;
const STATUS: usize = 128;
const ID: usize = STATUS + 1;
const ID_BYTES: usize = 20;
/// What every chain begins and ends with.
const HEAD: Piece = Piece {
    at: HEADER,
    bytes: HEADER_BYTES,
    device_writes: false,
};
const TAIL: Piece = Piece {
    at: STATUS,
    bytes: 1,
    device_writes: true,
};
const _: () = assert!(RANGE + RANGE_BYTES <= STATUS && ID + ID_BYTES <= SCRATCH_BYTES);

/// How long the disk may take to say who it is.
const ID_WAIT_MS: u64 = 2000;
/// After this time a person should know that a disk does not answer.
const SILENCE_MAX_US: u64 = 30_000_000;
/// How often we look for that.
const SILENCE_LOOK_US: u64 = 1_000_000;
/// So many suspects in a row that fail alone as well, and it is the disk that
/// fails: the others are not made to wait for their turn.
const GUILTY_MAX: u8 = 8;
/// How often the capacity is read again when it changes under our eyes.
const CONFIG_READS_MAX: u32 = 4;

/// A virtio disk.
pub struct Blk<T = Bus> {
    transport: T,
    ring: Ring<Mark>,
    /// Requests that wait for room in the ring, in order; suspects before them.
    backlog: VecDeque<(Request, Frame)>,
    /// How many suspects there are in front of the backlog.
    suspects: usize,
    /// A suspect is at the disk, and nobody beside it.
    alone: bool,
    /// Suspects that have failed alone, in a row.
    guilty: u8,
    /// What ended without the disk, or was given back by it when it stopped.
    ended: VecDeque<Done>,
    /// A chain is a table in the frame and takes one descriptor of the ring.
    indirect: bool,
    /// How many descriptors of the ring a request takes beside its first.
    more: u16,
    /// The disk says truly how much it wrote (virtio 1.2, 2.7.8.3: those before
    /// 1.0 often do not).
    honest_lengths: bool,
    features: u64,
    geometry: Geometry,
    identity: Identity,
    service: Service,
    name: Text<48>,
    doorbells: u64,
    now: Instant,
    looked_at: Instant,
    silent: bool,
}

/// What we want to know when a frame comes back.
struct Mark {
    /// `None` for our own question at the start.
    request: Option<Request>,
    since: Instant,
}

impl<T: Transport> Blk<T> {
    /// Starts the disk. `name` is for messages: `00:04.0 virtio-blk`.
    #[cold]
    pub fn new(
        mut transport: T,
        resources: &mut impl Resources,
        name: &str,
    ) -> Result<Self, Error> {
        if transport.device() != DeviceId::BLOCK {
            return Err(Error::OtherKind);
        }
        let mut offered = 0;
        let wanted = |all: u64| {
            offered = all;
            READ_ONLY | BLK_SIZE | FLUSH | TOPOLOGY | CONFIG_WCE | DISCARD | feature::INDIRECT_DESC
        };
        let features = negotiate(&mut transport, wanted, resources)?;
        if offered & SIZE_MAX != 0 {
            let bytes = transport.config_u32(config::SIZE_MAX).unwrap_or(0);
            if (bytes as usize) < WIRE_BYTES - 36 {
                return Err(Error::SegmentSize { bytes });
            }
        }
        let geometry = read_geometry(&transport, features).ok_or(Error::NoCapacity)?;
        if geometry.sectors == 0 {
            return Err(Error::NoCapacity);
        }
        if features & BLK_SIZE != 0 {
            let bytes = transport.config_u32(config::BLK_SIZE).unwrap_or(0);
            if bytes as usize > SECTOR_BYTES {
                return Err(Error::BlockSize { bytes });
            }
        }
        let frames = resources.frames();
        let event_idx = features & feature::EVENT_IDX != 0;
        let indirect = features & feature::INDIRECT_DESC != 0;
        let descriptors = if indirect { 1 } else { TABLE_ENTRIES };
        // A chain may not be longer than the ring, in a table neither (virtio
        // 1.2, 2.7.5.3.1).
        let entries = (frames * descriptors).max(TABLE_ENTRIES);
        let ring: Ring<Mark> = ring(&mut transport, QUEUE, entries, event_idx, resources)?;
        if usize::from(ring.size()) < TABLE_ENTRIES {
            return Err(Error::NoQueue { queue: QUEUE });
        }
        run(&mut transport);
        let now = resources.now();
        let mut disk = Self {
            transport,
            ring,
            // While a suspect is alone, all others wait.
            backlog: VecDeque::with_capacity(frames),
            suspects: 0,
            alone: false,
            guilty: 0,
            ended: VecDeque::with_capacity(frames),
            indirect,
            more: descriptors as u16 - 1,
            honest_lengths: features & feature::VERSION_1 != 0,
            features,
            geometry,
            identity: Identity {
                serial: Text::EMPTY,
                model: Text::new("virtio disk"),
                firmware: Text::EMPTY,
            },
            service: Service::Running,
            name: Text::new(name),
            doorbells: 0,
            now,
            looked_at: now,
            silent: false,
        };
        disk.ask_serial(resources)?;
        Ok(disk)
    }

    /// How often the doorbell was rung.
    pub fn doorbells(&self) -> u64 {
        self.doorbells
    }

    /// Asks the disk for its serial number, with a frame of our own. A disk that
    /// does not answer in time keeps the frame, and has no serial number.
    fn ask_serial(&mut self, resources: &mut impl Resources) -> Result<(), Error> {
        let memory = resources
            .dma(SLOT_BYTES, 512)
            .ok_or(Error::NoMemory { bytes: SLOT_BYTES })?;
        let Some(frame) = carve(memory).next() else {
            return Err(Error::NoMemory { bytes: SLOT_BYTES });
        };
        let id = Piece {
            at: ID,
            bytes: ID_BYTES,
            device_writes: true,
        };
        self.push(None, frame, GET_ID, 0, &[HEAD, id, TAIL]);
        self.kick();
        let deadline = resources.now() + ID_WAIT_MS * 1000;
        loop {
            if let Some(returned) = self.ring.pop() {
                if returned.frame.scratch()[STATUS] == OK {
                    let id = &returned.frame.scratch()[ID..ID + ID_BYTES];
                    self.identity.serial = Text::from_device(id);
                }
                return Ok(());
            }
            if resources.now() > deadline {
                let name = self.name();
                log::warn!("{name}: says nothing about its serial number in {ID_WAIT_MS} ms");
                return Ok(());
            }
            spin_loop();
        }
    }

    #[inline(always)]
    fn fits(&self) -> bool {
        !self.alone && self.ring.room() > self.more
    }

    #[cold]
    #[inline(never)]
    fn pop_ended(&mut self) -> Option<Done> {
        self.ended.pop_front()
    }

    /// Takes what moves no sectors, or cannot go on at once.
    #[cold]
    #[inline(never)]
    fn submit_rare(&mut self, request: Request, frame: Frame) {
        let outcome = match request.op {
            _ if !self.service.is_running() => Some(Outcome::Fault),
            // Without the feature every write is durable when it is reported.
            Op::Flush if self.features & FLUSH == 0 => Some(Outcome::Done),
            Op::Discard if self.geometry.discard.is_none() => Some(Outcome::Unsupported),
            Op::Read | Op::Write | Op::Flush | Op::Discard => None,
        };
        if let Some(outcome) = outcome {
            return self.end(request, outcome, frame);
        }
        self.wait(request, frame);
    }

    /// Puts a request behind those that wait. The backlog holds something only
    /// while the ring is full or there are suspects.
    #[cold]
    fn wait(&mut self, request: Request, frame: Frame) {
        self.backlog.push_back((request, frame));
        self.lend_waiting();
    }

    /// Lends the requests that wait, as far as there is room in the ring.
    #[inline(never)]
    fn lend_waiting(&mut self) {
        if self.suspects > 0 {
            return self.lend_suspect();
        }
        while self.fits()
            && let Some((request, frame)) = self.backlog.pop_front()
        {
            self.lend(request, frame);
        }
    }

    /// Lends the next suspect if the disk has nothing else.
    #[cold]
    fn lend_suspect(&mut self) {
        // Our own question at the start may stay there for ever.
        if self.ring.iter().any(|(_, mark)| mark.request.is_some()) {
            return;
        }
        if let Some((request, frame)) = self.backlog.pop_front() {
            self.suspects -= 1;
            self.alone = true;
            self.lend(request, frame);
        }
    }

    /// What becomes of a request that failed, or that ran alone: `None` if it will
    /// run once more.
    #[cold]
    fn sift(&mut self, done: Done) -> Option<Done> {
        let failed = done.outcome == Outcome::Medium;
        if !self.alone {
            self.backlog.push_front((done.request, done.frame));
            self.suspects += 1;
            return None;
        }
        self.alone = false;
        self.guilty = if failed { self.guilty + 1 } else { 0 };
        if self.guilty >= GUILTY_MAX {
            for (request, frame) in self.backlog.drain(..self.suspects) {
                self.ended.push_back(Done {
                    request,
                    outcome: Outcome::Medium,
                    frame,
                });
            }
            self.suspects = 0;
        }
        if self.suspects == 0 {
            self.guilty = 0;
        }
        Some(done)
    }

    /// Lends a request to the disk. There is room in the ring.
    #[inline(always)]
    fn lend(&mut self, request: Request, frame: Frame) {
        let data = |device_writes| Piece {
            at: WIRE + usize::from(request.data),
            bytes: (request.sectors as usize).saturating_mul(SECTOR_BYTES),
            device_writes,
        };
        let (kind, data) = match request.op {
            Op::Read => (READ, data(true)),
            Op::Write => (WRITE, data(false)),
            Op::Flush | Op::Discard => return self.lend_rare(request, frame),
        };
        let (mark, frame) = self.prepare(Some(request), frame, kind, request.lba);
        let pieces = [HEAD, data, TAIL];
        if self.indirect {
            self.ring.push_table(frame, mark, pieces, TABLE);
        } else {
            self.ring.push(frame, mark, &pieces);
        }
    }

    /// As [`Self::lend`], what moves no sectors.
    #[cold]
    fn lend_rare(&mut self, request: Request, mut frame: Frame) {
        if request.op == Op::Flush {
            return self.push(Some(request), frame, DO_FLUSH, 0, &[HEAD, TAIL]);
        }
        // virtio 1.2, 5.2.6: sector, count, flags; the header's own sector is not
        // used.
        let range = &mut frame.scratch_mut()[RANGE..RANGE + RANGE_BYTES];
        range[..8].copy_from_slice(&request.lba.to_le_bytes());
        range[8..12].copy_from_slice(&request.sectors.to_le_bytes());
        range[12..].fill(0);
        let range = Piece {
            at: RANGE,
            bytes: RANGE_BYTES,
            device_writes: false,
        };
        self.push(Some(request), frame, DO_DISCARD, 0, &[HEAD, range, TAIL]);
    }

    /// Lends the chain of what is neither read nor written.
    #[cold]
    fn push(
        &mut self,
        request: Option<Request>,
        frame: Frame,
        kind: u32,
        sector: u64,
        pieces: &[Piece],
    ) {
        let (mark, frame) = self.prepare(request, frame, kind, sector);
        if self.indirect {
            self.ring.push_indirect(frame, mark, pieces, TABLE);
        } else {
            self.ring.push(frame, mark, pieces);
        }
    }

    /// Writes the request's header into its frame.
    #[inline(always)]
    fn prepare(
        &self,
        request: Option<Request>,
        mut frame: Frame,
        kind: u32,
        sector: u64,
    ) -> (Mark, Frame) {
        let scratch = frame.scratch_mut();
        scratch[STATUS] = UNANSWERED;
        let header = &mut scratch[HEADER..HEADER + HEADER_BYTES];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        header[4..8].fill(0);
        header[8..].copy_from_slice(&sector.to_le_bytes());
        let mark = Mark {
            request,
            since: self.now,
        };
        (mark, frame)
    }

    /// What the disk's answer means.
    #[inline(always)]
    fn outcome(&self, request: &Request, returned: &Returned<Mark>) -> Outcome {
        let status = returned.frame.scratch()[STATUS];
        // Sectors of a read that were not written would be somebody else's bytes.
        let whole = u64::from(request.sectors) * SECTOR_BYTES as u64 + 1;
        let is_short =
            self.honest_lengths && request.op == Op::Read && u64::from(returned.written) < whole;
        if status == OK && !is_short {
            Outcome::Done
        } else {
            failure(status, request.op)
        }
    }

    /// Notes how a request ended that the disk is not asked about.
    fn end(&mut self, request: Request, outcome: Outcome, frame: Frame) {
        self.ended.push_back(Done {
            request,
            outcome,
            frame,
        });
    }

    /// Says once that the disk is silent, and once that it is not any more.
    fn look_for_silence(&mut self) {
        if self.now.since_us(self.looked_at) < SILENCE_LOOK_US {
            return;
        }
        self.looked_at = self.now;
        let waits = |(_, mark): (&Frame, &Mark)| self.now.since_us(mark.since) > SILENCE_MAX_US;
        // A disk at rest is asked for nothing, and its whole ring would be walked.
        let silent = self.ring.lent() > 0 && self.ring.iter().any(waits);
        if silent != self.silent {
            self.silent = silent;
            let name = self.name();
            let seconds = SILENCE_MAX_US / 1_000_000;
            if silent {
                log::error!("{name}: has not answered a request for {seconds} s");
            } else {
                log::info!("{name}: answers again");
            }
        }
    }
}

impl<T: Transport> Disk for Blk<T> {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    #[inline(always)]
    fn submit(&mut self, request: Request, frame: Frame) {
        let moves = matches!(request.op, Op::Read | Op::Write);
        if moves && self.service.is_running() && self.backlog.is_empty() && self.fits() {
            self.lend(request, frame);
        } else {
            self.submit_rare(request.apart(), frame);
        }
    }

    #[inline(always)]
    fn poll_done(&mut self) -> Option<Done> {
        if !self.ended.is_empty() {
            return self.pop_ended().map(Done::apart);
        }
        loop {
            let returned = self.ring.pop()?;
            // Our own question has none; it was asked once.
            let Some(request) = returned.mark.request else {
                continue;
            };
            let request = request.apart();
            let done = Done {
                request,
                outcome: self.outcome(&request, &returned),
                frame: returned.frame,
            };
            if done.outcome != Outcome::Medium && !self.alone {
                return Some(done.apart());
            }
            // Ends: each request is a suspect once.
            if let Some(done) = self.sift(done.apart()) {
                return Some(done.apart());
            }
        }
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let is_it = |request: &Request| request.ticket == ticket;
        let lent = self.ring.iter().map(|(frame, mark)| (mark.request, frame));
        let waiting = self
            .backlog
            .iter()
            .map(|(request, frame)| (Some(*request), frame));
        let ended = self
            .ended
            .iter()
            .map(|done| (Some(done.request), &done.frame));
        lent.chain(waiting)
            .chain(ended)
            .find(|(request, _)| request.as_ref().is_some_and(is_it))
            .map(|(_, frame)| look(frame))
    }

    #[inline]
    fn kick(&mut self) {
        if !self.service.is_running() {
            return;
        }
        if !self.backlog.is_empty() {
            self.lend_waiting();
        }
        if self.ring.publish() {
            self.transport.notify(QUEUE);
            self.doorbells += 1;
        }
    }

    fn tick(&mut self, now: Instant) -> bool {
        self.now = now;
        let broken = self.ring.broken();
        let silent = self
            .service
            .watch(&mut self.transport, broken, self.name.as_str());
        if let Some(silent) = silent {
            while let Some((frame, mark)) = self.ring.reclaim(&silent) {
                if let Some(request) = mark.request {
                    self.end(request, Outcome::Fault, frame);
                }
            }
            while let Some((request, frame)) = self.backlog.pop_front() {
                self.end(request, Outcome::Fault, frame);
            }
            (self.suspects, self.alone) = (0, false);
        }
        if !self.service.is_running() {
            return false;
        }
        self.look_for_silence();
        // A disk that shrinks to nothing keeps its size: it will answer with
        // errors, which is the truth.
        let geometry = read_geometry(&self.transport, self.features)
            .filter(|geometry| geometry.sectors > 0)
            .unwrap_or(self.geometry);
        let changed = geometry != self.geometry;
        self.geometry = geometry;
        changed
    }

    fn arm(&mut self) -> bool {
        if !self.ended.is_empty() {
            return true;
        }
        if !self.service.is_running() {
            return false;
        }
        if !self.transport.interrupts() {
            // A disk that holds nothing has nothing to say.
            return self.ring.lent() > 0;
        }
        self.transport.quiet();
        self.ring.arm()
    }

    fn disarm(&mut self) {
        self.ring.disarm();
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// What a status means that is not a good one, or came with too few bytes.
#[cold]
fn failure(status: u8, op: Op) -> Outcome {
    match (status, op) {
        (IO_ERROR, Op::Read | Op::Write) => Outcome::Medium,
        (UNSUPPORTED, _) => Outcome::Unsupported,
        _ => Outcome::Fault,
    }
}

/// Size and habits as the disk tells them now. `None` if it tells no size, or
/// changes it faster than we read.
#[cold]
fn read_geometry(transport: &impl Transport, features: u64) -> Option<Geometry> {
    let has = |feature| features & feature != 0;
    for _ in 0..CONFIG_READS_MAX {
        let generation = transport.generation();
        let [low, high] = config::CAPACITY.map(|offset| transport.config_u32(offset));
        let sectors = u64::from(low?) | u64::from(high?) << 32;
        let (mut physical_exponent, mut alignment_offset) = (0, 0);
        if has(TOPOLOGY) {
            let exponent = transport.config_u8(config::PHYSICAL_EXPONENT)?;
            let aligned = transport.config_u8(config::ALIGNMENT_OFFSET)?;
            (physical_exponent, alignment_offset) = topology(exponent, aligned);
        }
        // Whoever can flush and does not say otherwise has a volatile cache
        // (virtio 1.2, 5.2.5.2).
        let writeback =
            !has(CONFIG_WCE) || transport.config_u8(config::WRITEBACK).unwrap_or(1) != 0;
        let write_cache = if has(FLUSH) && writeback {
            WriteCache::Volatile
        } else {
            WriteCache::None
        };
        let discard = has(DISCARD)
            .then(|| transport.config_u32(config::DISCARD_SECTORS_MAX))
            .flatten()
            .filter(|&sectors_max| sectors_max > 0)
            .map(|sectors_max| DiscardLimits { sectors_max });
        if transport.generation() == generation {
            return Some(Geometry {
                sectors,
                physical_exponent,
                alignment_offset,
                read_only: has(READ_ONLY),
                write_cache,
                discard,
            });
        }
    }
    None
}

/// Physical blocks, from what the disk says: how large they are, as a power of
/// two of sectors, and where the first one starts. ATA counts the other way: from
/// sector 0 back to the start of the block that it lies in. What makes no sense
/// is left out: it is only advice.
fn topology(exponent: u8, first_aligned: u8) -> (u8, u16) {
    // ATA has four bits for the exponent.
    if exponent > 15 {
        return (0, 0);
    }
    let block = 1u32 << exponent;
    let first_aligned = u32::from(first_aligned);
    if first_aligned == 0 || first_aligned >= block {
        return (exponent, 0);
    }
    (exponent, (block - first_aligned) as u16)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::model::{Device, Machine, Profile, Random, Registers};
    use std::collections::BTreeMap;
    use std::vec;
    use std::vec::Vec;

    const SECTORS: u64 = 4096;

    fn profile(features: u64) -> Profile {
        let mut config = vec![0; 60];
        config[..8].copy_from_slice(&SECTORS.to_le_bytes());
        config[20..24].copy_from_slice(&512u32.to_le_bytes());
        config[24] = 3;
        config[32] = 1;
        config[36..40].copy_from_slice(&1000u32.to_le_bytes());
        let mut profile = Profile::new(DeviceId::BLOCK, config);
        profile.features |= features;
        profile
    }

    fn start(profile: Profile, frames: usize) -> (Machine, Device, Blk<Registers>) {
        let mut machine = Machine::new(frames);
        let (device, registers) = machine.device(profile);
        let disk = Blk::new(registers, &mut machine, "00:04.0 virtio-blk").expect("it starts");
        (machine, device, disk)
    }

    fn refused(profile: Profile) -> Error {
        let mut machine = Machine::new(4);
        let (device, registers) = machine.device(profile);
        let error = Blk::new(registers, &mut machine, "x").err();
        assert!(
            !device
                .status()
                .contains(crate::transport::Status::DRIVER_OK)
        );
        error.expect("it does not start")
    }

    fn request(op: Op, lba: u64, sectors: u32, ticket: u32) -> Request {
        Request {
            op,
            lba,
            sectors,
            data: 36,
            ticket,
        }
    }

    /// What the disk was asked: kind, sector, and what comes with it.
    fn asked(device: &Device, number: usize) -> (u32, u64, Vec<u8>) {
        let bytes = device.read(QUEUE, number);
        let kind = u32::from_le_bytes(bytes[..4].try_into().expect("four"));
        assert_eq!(bytes[4..8], [0; 4]);
        let sector = u64::from_le_bytes(bytes[8..16].try_into().expect("eight"));
        (kind, sector, bytes[16..].to_vec())
    }

    /// The disk answers request `number` as it should.
    fn serve(device: &Device, number: usize, medium: &mut BTreeMap<u64, [u8; 512]>) {
        let (kind, sector, data) = asked(device, number);
        let mut written = 1;
        match kind {
            READ => {
                let room = device.room(QUEUE, number) - 1;
                assert_eq!(room % 512, 0);
                for (at, sector) in (0..room).step_by(512).zip(sector..) {
                    let bytes = medium.get(&sector).copied().unwrap_or([0; 512]);
                    device.write(QUEUE, number, at, &bytes);
                }
                written += room;
            }
            WRITE => {
                for (sector, bytes) in (sector..).zip(data.chunks(512)) {
                    medium.insert(sector, bytes.try_into().expect("whole sectors"));
                }
            }
            DO_FLUSH => assert!(data.is_empty() && sector == 0),
            DO_DISCARD => {
                assert_eq!(data.len(), 16);
                let first = u64::from_le_bytes(data[..8].try_into().expect("eight"));
                let count = u32::from_le_bytes(data[8..12].try_into().expect("four"));
                assert_eq!(data[12..], [0; 4]);
                for sector in first..first + u64::from(count) {
                    medium.remove(&sector);
                }
            }
            other => panic!("request of kind {other}"),
        }
        device.write(QUEUE, number, written - 1, &[OK]);
        device.complete(QUEUE, number, written as u32);
    }

    fn one(disk: &mut Blk<Registers>, device: &Device, request: Request, frame: Frame) {
        disk.submit(request, frame);
        disk.kick();
        device.check_kick(QUEUE);
        assert_eq!(device.fetch(QUEUE, usize::MAX), 1);
    }

    const ALL: u64 = READ_ONLY | BLK_SIZE | FLUSH | TOPOLOGY | CONFIG_WCE | DISCARD;

    #[test]
    fn a_disk_says_what_it_is() {
        let (_, device, disk) = start(profile(ALL | 1 << 12), 8);
        let geometry = Geometry {
            sectors: SECTORS,
            physical_exponent: 3,
            alignment_offset: 0,
            read_only: true,
            write_cache: WriteCache::Volatile,
            discard: Some(DiscardLimits { sectors_max: 1000 }),
        };
        assert_eq!(disk.geometry(), &geometry);
        assert_eq!(disk.identity().serial.as_str(), "MODEL-SERIAL");
        assert_eq!(disk.name(), "00:04.0 virtio-blk");
        assert_eq!(device.accepted() & (1 << 12), 0, "one queue is enough");
        let (_, _, plain) = start(profile(0), 8);
        let geometry = Geometry {
            sectors: SECTORS,
            physical_exponent: 0,
            alignment_offset: 0,
            read_only: false,
            write_cache: WriteCache::None,
            discard: None,
        };
        assert_eq!(plain.geometry(), &geometry);
    }

    #[test]
    fn a_cache_is_volatile_unless_the_disk_says_writethrough() {
        let cache = |features, writeback| {
            let mut profile = profile(features);
            profile.config[32] = writeback;
            start(profile, 4).2.geometry().write_cache
        };
        assert_eq!(cache(FLUSH, 0), WriteCache::Volatile);
        assert_eq!(cache(FLUSH | CONFIG_WCE, 1), WriteCache::Volatile);
        assert_eq!(cache(FLUSH | CONFIG_WCE, 0), WriteCache::None);
        assert_eq!(cache(0, 1), WriteCache::None);
    }

    #[test]
    fn alignment_is_turned_into_atas_way_of_counting() {
        assert_eq!(topology(3, 0), (3, 0));
        assert_eq!(topology(3, 1), (3, 7), "sector 0 is the last of a block");
        assert_eq!(topology(3, 7), (3, 1));
        assert_eq!(topology(3, 8), (3, 0), "advice without sense");
        assert_eq!(topology(0, 0), (0, 0));
        assert_eq!(topology(15, 1), (15, 32767));
        assert_eq!(topology(16, 1), (0, 0));
        assert_eq!(topology(255, 255), (0, 0));
    }

    #[test]
    fn a_disk_that_does_not_say_who_it_is_is_served_without_a_serial_number() {
        let mut mute = profile(0);
        mute.serial = None;
        let (machine, device, mut disk) = start(mute, 8);
        assert!(disk.identity().serial.is_empty());
        // The question is still there and is answered late: nobody sees it.
        assert_eq!(device.fetch(QUEUE, usize::MAX), 1);
        device.write(QUEUE, 0, 20, &[OK]);
        device.complete(QUEUE, 0, 21);
        assert!(disk.poll_done().is_none());
        let frame = machine.carve(1).remove(0);
        one(&mut disk, &device, request(Op::Read, 0, 1, 1), frame);
    }

    #[test]
    fn what_is_written_is_what_the_disk_gets_and_what_it_reads_is_what_we_get() {
        for indirect in [true, false] {
            let mut profile = profile(ALL & !READ_ONLY);
            if !indirect {
                profile.features &= !feature::INDIRECT_DESC;
            }
            let (machine, device, mut disk) = start(profile, 8);
            let mut medium = BTreeMap::new();
            for (data, sectors) in [(36, 1), (40, 2), (36, 17)] {
                let bytes = sectors as usize * 512;
                let pattern: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
                let write = Request {
                    data,
                    ..request(Op::Write, 100, sectors, 9)
                };
                let mut frame = machine.carve(1).remove(0);
                let data = usize::from(data);
                frame.buffer_mut()[data..data + bytes].copy_from_slice(&pattern);
                one(&mut disk, &device, write, frame);
                assert_eq!(asked(&device, 0), (WRITE, 100, pattern.clone()));
                let address = disk.lent(9, Frame::bus_address);
                assert_eq!(address.map(|address| address % 512), Some(0));
                serve(&device, 0, &mut medium);
                let mut done = disk.poll_done().expect("done");
                assert_eq!((done.request, done.outcome), (write, Outcome::Done));
                assert!(disk.lent(9, |_| ()).is_none());
                done.frame.buffer_mut().fill(0);
                let read = Request {
                    op: Op::Read,
                    ..write
                };
                one(&mut disk, &device, read, done.frame);
                serve(&device, 0, &mut medium);
                let mut done = disk.poll_done().expect("done");
                assert_eq!((done.request, done.outcome), (read, Outcome::Done));
                assert_eq!(done.frame.buffer_mut()[data..data + bytes], pattern);
                assert!(
                    done.frame.buffer_mut()[..data]
                        .iter()
                        .all(|&byte| byte == 0)
                );
                assert!(
                    done.frame.buffer_mut()[data + bytes..]
                        .iter()
                        .all(|&byte| byte == 0)
                );
            }
        }
    }

    #[test]
    fn a_request_takes_one_descriptor_with_tables_and_three_without() {
        let pieces = |features, op| {
            let mut profile = profile(FLUSH | DISCARD);
            profile.features &= !feature::INDIRECT_DESC;
            profile.features |= features;
            let (machine, device, mut disk) = start(profile, 8);
            let before = disk.ring.room();
            let frame = machine.carve(1).remove(0);
            one(&mut disk, &device, request(op, 5, 1, 0), frame);
            (
                before - disk.ring.room(),
                device.in_hand(QUEUE)[0].pieces.len(),
            )
        };
        assert_eq!(pieces(feature::INDIRECT_DESC, Op::Read), (1, 3));
        assert_eq!(pieces(0, Op::Read), (3, 3));
        assert_eq!(pieces(feature::INDIRECT_DESC, Op::Flush), (1, 2));
        assert_eq!(pieces(0, Op::Flush), (2, 2));
        assert_eq!(pieces(0, Op::Discard), (3, 3));
    }

    #[test]
    fn a_discard_names_its_range_and_needs_no_data() {
        let (machine, device, mut disk) = start(profile(DISCARD), 8);
        let frame = machine.carve(1).remove(0);
        let discard = request(Op::Discard, 1 << 40, 999, 3);
        one(&mut disk, &device, discard, frame);
        let (kind, sector, range) = asked(&device, 0);
        assert_eq!((kind, sector), (DO_DISCARD, 0));
        assert_eq!(range[..8], (1u64 << 40).to_le_bytes());
        assert_eq!(range[8..], [0xe7, 3, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_flush_ends_at_once_where_nothing_is_volatile_and_a_discard_where_it_is_unknown() {
        let (machine, device, mut disk) = start(profile(0), 8);
        for (op, outcome) in [
            (Op::Flush, Outcome::Done),
            (Op::Discard, Outcome::Unsupported),
        ] {
            disk.submit(request(op, 0, 1, 4), machine.carve(1).remove(0));
            assert!(disk.lent(4, |_| ()).is_some());
            assert!(disk.arm(), "it waits to be polled");
            assert_eq!(disk.poll_done().map(|done| done.outcome), Some(outcome));
        }
        disk.kick();
        assert_eq!(device.fetch(QUEUE, usize::MAX), 0);
    }

    #[test]
    fn every_status_has_its_outcome() {
        let (machine, device, mut disk) = start(profile(FLUSH | DISCARD), 8);
        let mut outcome = |op, status: u8| {
            let frame = machine.carve(1).remove(0);
            one(&mut disk, &device, request(op, 0, 1, 0), frame);
            loop {
                let room = device.room(QUEUE, 0);
                device.write(QUEUE, 0, room - 1, &[status]);
                device.complete(QUEUE, 0, room as u32);
                if let Some(done) = disk.poll_done() {
                    return done.outcome;
                }
                // It is tried once more.
                disk.kick();
                assert_eq!(device.fetch(QUEUE, usize::MAX), 1);
            }
        };
        for op in [Op::Read, Op::Write, Op::Flush, Op::Discard] {
            assert_eq!(outcome(op, 0), Outcome::Done);
            assert_eq!(outcome(op, 2), Outcome::Unsupported);
            for status in 3..=255 {
                assert_eq!(outcome(op, status), Outcome::Fault, "{op:?} {status}");
            }
        }
        assert_eq!(outcome(Op::Read, 1), Outcome::Medium);
        assert_eq!(outcome(Op::Write, 1), Outcome::Medium);
        assert_eq!(outcome(Op::Flush, 1), Outcome::Fault);
        assert_eq!(outcome(Op::Discard, 1), Outcome::Fault);
    }

    /// Every request that the disk has goes wrong if `is_bad` says so of its sector,
    /// and with it all others that the disk has at the time.
    fn serve_merged(device: &Device, is_bad: impl Fn(u64) -> bool) -> usize {
        let count = device.fetch(QUEUE, usize::MAX);
        let bad = (0..count).any(|number| is_bad(asked(device, number).1));
        for _ in 0..count {
            let room = device.room(QUEUE, 0);
            let status = if bad { IO_ERROR } else { OK };
            device.write(QUEUE, 0, room - 1, &[status]);
            device.complete(QUEUE, 0, room as u32);
        }
        count
    }

    /// 40 writes, and the disk makes one of all that it finds. Returns the sectors
    /// whose writes failed, and how many requests the disk has seen.
    fn merged(is_bad: impl Fn(u64) -> bool) -> (Vec<u64>, usize) {
        const COUNT: usize = 40;
        let (machine, device, mut disk) = start(profile(0), 64);
        let capacity = disk.backlog.capacity();
        for (number, frame) in (0..).zip(machine.carve(COUNT)) {
            disk.submit(request(Op::Write, number, 1, number as u32), frame);
        }
        let (mut seen, mut back, mut failed) = (0, 0, vec![]);
        while back < COUNT {
            disk.kick();
            device.check_kick(QUEUE);
            let count = serve_merged(&device, &is_bad);
            assert!(count > 0, "somebody waits, and the disk has nothing");
            seen += count;
            while let Some(done) = disk.poll_done() {
                back += 1;
                if done.outcome == Outcome::Medium {
                    failed.push(done.request.lba);
                }
            }
        }
        assert_eq!(disk.backlog.capacity(), capacity, "lists never grow");
        assert_eq!((disk.suspects, disk.alone, disk.ring.lent()), (0, false, 0));
        failed.sort_unstable();
        (failed, seen)
    }

    #[test]
    fn of_requests_that_a_hypervisor_made_one_only_the_bad_one_fails() {
        for bad in [0, 17, 39] {
            assert_eq!(merged(|sector| sector == bad), (vec![bad], 80));
        }
        assert_eq!(merged(|_| false), (vec![], 40));
    }

    #[test]
    fn a_disk_on_which_everything_fails_is_not_asked_for_each_request_again() {
        let (failed, seen) = merged(|_| true);
        assert_eq!(failed.len(), 40);
        assert_eq!(seen, 40 + usize::from(GUILTY_MAX));
    }

    #[test]
    fn requests_that_come_while_a_suspect_is_alone_wait_for_it() {
        let (machine, device, mut disk) = start(profile(0), 8);
        let mut frames = machine.carve(3);
        one(
            &mut disk,
            &device,
            request(Op::Write, 5, 1, 0),
            frames.remove(0),
        );
        device.write(QUEUE, 0, 0, &[IO_ERROR]);
        device.complete(QUEUE, 0, 1);
        assert!(disk.poll_done().is_none());
        disk.submit(request(Op::Write, 6, 1, 1), frames.remove(0));
        disk.kick();
        disk.submit(request(Op::Write, 7, 1, 2), frames.remove(0));
        disk.kick();
        assert_eq!(device.fetch(QUEUE, usize::MAX), 1);
        assert_eq!(asked(&device, 0).1, 5);
        serve(&device, 0, &mut BTreeMap::new());
        let done = disk
            .poll_done()
            .map(|done| (done.request.ticket, done.outcome));
        assert_eq!(done, Some((0, Outcome::Done)));
        disk.kick();
        assert_eq!(device.fetch(QUEUE, usize::MAX), 2);
    }

    #[test]
    fn a_disk_that_gives_up_lets_go_of_suspects() {
        let (machine, device, mut disk) = start(profile(0), 8);
        for (ticket, frame) in (0..3).zip(machine.carve(3)) {
            disk.submit(request(Op::Write, ticket.into(), 1, ticket), frame);
        }
        disk.kick();
        serve_merged(&device, |_| true);
        assert!(disk.poll_done().is_none());
        disk.kick();
        device.need_reset();
        disk.tick(Instant(1));
        disk.tick(Instant(2));
        for _ in 0..3 {
            assert_eq!(
                disk.poll_done().map(|done| done.outcome),
                Some(Outcome::Fault)
            );
        }
        assert!(disk.poll_done().is_none());
    }

    #[test]
    fn a_request_that_comes_back_without_an_answer_is_a_fault() {
        let (machine, device, mut disk) = start(profile(0), 8);
        for op in [Op::Read, Op::Write] {
            let mut frame = machine.carve(1).remove(0);
            frame.scratch_mut().fill(0);
            one(&mut disk, &device, request(op, 0, 1, 0), frame);
            device.complete(QUEUE, 0, 513);
            let done = disk.poll_done().expect("done");
            assert_eq!(done.outcome, Outcome::Fault);
        }
    }

    #[test]
    fn a_read_that_wrote_too_little_is_a_fault_unless_the_disk_is_too_old_to_say() {
        for (legacy, written, outcome) in [
            (false, 513, Outcome::Done),
            (false, 512, Outcome::Fault),
            (false, 0, Outcome::Fault),
            (true, 0, Outcome::Done),
        ] {
            let mut profile = profile(0);
            profile.legacy = legacy;
            if legacy {
                profile.features &= 0xffff_ffff;
            }
            let (machine, device, mut disk) = start(profile, 8);
            let frame = machine.carve(1).remove(0);
            one(&mut disk, &device, request(Op::Read, 0, 1, 0), frame);
            device.write(QUEUE, 0, 512, &[OK]);
            device.complete(QUEUE, 0, written);
            let done = disk.poll_done().expect("done");
            assert_eq!(done.outcome, outcome, "{written} bytes, legacy {legacy}");
        }
    }

    #[test]
    fn a_thousand_requests_wait_for_a_ring_of_4_and_reach_the_disk_in_order() {
        for (indirect, event_idx, seed) in [
            (true, true, 1),
            (true, false, 2),
            (false, true, 3),
            (false, false, 4),
        ] {
            let mut small = profile(FLUSH | DISCARD);
            small.queue_max = 4;
            if !indirect {
                small.features &= !feature::INDIRECT_DESC;
            }
            if !event_idx {
                small.features &= !feature::EVENT_IDX;
            }
            let mut random = Random(seed);
            let (machine, device, mut disk) = start(small, 1024);
            let (backlog, ended) = (disk.backlog.capacity(), disk.ended.capacity());
            let mut medium = BTreeMap::new();
            let mut ours = machine.carve(1024);
            let (mut next, mut reached, mut back) = (0u32, 0, 0);
            while back < 3000 {
                for _ in 0..random.below(2000) {
                    let Some(mut frame) = ours.pop() else { break };
                    frame.buffer_mut()[36..548].fill(next as u8);
                    let lba = u64::from(next % SECTORS as u32);
                    disk.submit(request(Op::Write, lba, 1, next), frame);
                    next += 1;
                }
                disk.kick();
                device.check_kick(QUEUE);
                let before = device.in_hand(QUEUE).len();
                let in_hand = device.fetch(QUEUE, random.below(5));
                for number in before..in_hand {
                    assert_eq!(asked(&device, number).1, reached % SECTORS, "in order");
                    reached += 1;
                }
                for left in (1..=in_hand).rev().take(random.below(5)) {
                    serve(&device, random.below(left), &mut medium);
                }
                while let Some(done) = disk.poll_done() {
                    assert_eq!(done.outcome, Outcome::Done);
                    let lba = done.request.lba;
                    assert_eq!(medium[&lba], [done.request.ticket as u8; 512]);
                    ours.push(done.frame);
                    back += 1;
                }
            }
            assert_eq!(disk.backlog.capacity(), backlog, "lists never grow");
            assert_eq!(disk.ended.capacity(), ended, "lists never grow");
        }
    }

    #[test]
    fn a_frame_can_be_looked_at_while_it_waits_and_while_it_is_written() {
        let mut small = profile(0);
        small.queue_max = 4;
        let (machine, device, mut disk) = start(small, 8);
        for (ticket, mut frame) in (0..).zip(machine.carve(6)) {
            frame.buffer_mut()[36] = ticket as u8;
            frame.set_len(548);
            disk.submit(request(Op::Write, 0, 1, ticket), frame);
        }
        disk.kick();
        device.fetch(QUEUE, usize::MAX);
        assert_eq!(device.in_hand(QUEUE).len(), 4);
        for ticket in 0..6 {
            let byte = disk.lent(ticket, |frame| frame.wire()[36]);
            assert_eq!(byte, Some(ticket as u8));
        }
        assert!(disk.lent(6, |_| ()).is_none());
    }

    #[test]
    fn a_sleeping_node_is_woken_by_the_end_of_a_request() {
        let (machine, device, mut disk) = start(profile(0), 8);
        let frame = machine.carve(1).remove(0);
        one(&mut disk, &device, request(Op::Write, 0, 1, 0), frame);
        assert!(!disk.arm());
        assert_eq!(device.quieted(), 1);
        serve(&device, 0, &mut BTreeMap::new());
        assert_eq!(device.interrupts(QUEUE), 1);
        assert!(disk.arm());
        disk.disarm();
    }

    #[test]
    fn a_disk_without_interrupts_keeps_the_node_awake_only_while_it_works() {
        let mut polled = profile(0);
        polled.interrupts = false;
        let (machine, device, mut disk) = start(polled, 8);
        assert!(!disk.arm());
        let frame = machine.carve(1).remove(0);
        one(&mut disk, &device, request(Op::Write, 0, 1, 0), frame);
        assert!(disk.arm());
    }

    #[test]
    fn growth_is_noticed_and_shrinking_to_nothing_is_not_believed() {
        let (_, device, mut disk) = start(profile(FLUSH | CONFIG_WCE), 8);
        assert!(!disk.tick(Instant(0)));
        device.set_config(0, &(1u64 << 33).to_le_bytes());
        assert!(disk.tick(Instant(1)));
        assert_eq!(disk.geometry().sectors, 1 << 33);
        assert!(!disk.tick(Instant(2)));
        device.set_config(32, &[0]);
        assert!(disk.tick(Instant(3)));
        assert_eq!(disk.geometry().write_cache, WriteCache::None);
        device.set_config(0, &[0; 8]);
        assert!(!disk.tick(Instant(4)));
        assert_eq!(disk.geometry().sectors, 1 << 33);
    }

    #[test]
    fn silence_is_noticed_after_30_seconds_and_its_end_too() {
        let (machine, device, mut disk) = start(profile(0), 8);
        disk.tick(Instant(10_000_000));
        let frame = machine.carve(1).remove(0);
        one(&mut disk, &device, request(Op::Write, 0, 1, 0), frame);
        disk.tick(Instant(39_999_999));
        assert!(!disk.silent);
        disk.tick(Instant(41_000_000));
        assert!(disk.silent);
        serve(&device, 0, &mut BTreeMap::new());
        assert!(disk.poll_done().is_some());
        disk.tick(Instant(42_000_000));
        assert!(!disk.silent);
    }

    #[test]
    fn a_disk_that_gives_up_returns_everything_as_a_fault_and_takes_nothing_more() {
        let mut small = profile(0);
        small.queue_max = 4;
        let (machine, device, mut disk) = start(small, 8);
        let mut frames = machine.carve(8);
        for ticket in 0..6 {
            disk.submit(request(Op::Write, 0, 1, ticket), frames.remove(0));
        }
        disk.kick();
        device.fetch(QUEUE, usize::MAX);
        device.need_reset();
        disk.tick(Instant(1));
        assert!(disk.poll_done().is_none(), "it may still read its frames");
        disk.submit(request(Op::Read, 0, 1, 6), frames.remove(0));
        disk.tick(Instant(2));
        disk.submit(request(Op::Read, 0, 1, 7), frames.remove(0));
        disk.kick();
        let mut tickets = vec![];
        while let Some(done) = disk.poll_done() {
            assert_eq!(done.outcome, Outcome::Fault);
            tickets.push(done.request.ticket);
        }
        tickets.sort_unstable();
        assert_eq!(tickets, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(!disk.arm());
        assert!(!disk.tick(Instant(3)));
    }

    #[test]
    fn a_disk_that_can_not_be_used_is_refused_by_name_of_the_fault() {
        let mut other = profile(0);
        other.device = DeviceId::NET;
        assert_eq!(refused(other), Error::OtherKind);
        let mut empty = profile(0);
        empty.config[..8].fill(0);
        assert_eq!(refused(empty), Error::NoCapacity);
        let mut coarse = profile(BLK_SIZE);
        coarse.config[20..24].copy_from_slice(&4096u32.to_le_bytes());
        assert_eq!(refused(coarse), Error::BlockSize { bytes: 4096 });
        let mut narrow = profile(SIZE_MAX);
        narrow.config[8..12].copy_from_slice(&8703u32.to_le_bytes());
        assert_eq!(refused(narrow), Error::SegmentSize { bytes: 8703 });
        let mut tiny = profile(0);
        tiny.queue_max = 2;
        assert_eq!(refused(tiny), Error::NoQueue { queue: QUEUE });
    }

    #[test]
    #[should_panic(expected = "do not lie in a slot")]
    fn more_sectors_than_a_frame_holds_are_a_broken_invariant() {
        let (machine, _, mut disk) = start(profile(0), 8);
        disk.submit(request(Op::Read, 0, 18, 0), machine.carve(1).remove(0));
    }
}
