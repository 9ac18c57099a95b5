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

mod geometry;
mod through;

use self::geometry::{BLK_SIZE, CONFIG_WCE, DISCARD, FLUSH, READ_ONLY, SIZE_MAX, TOPOLOGY, config};
use self::through::Through;
use crate::ring::{DESCRIPTOR_BYTES, Piece, Returned, Ring};
use crate::service::Service;
use crate::transport::{feature, negotiate, ring, run};
use crate::{Bus, DeviceId, Error, Resources, Transport};
use alloc::collections::VecDeque;
use core::hint::spin_loop;
use io::{
    Disk, Done, Frame, Geometry, Identity, Instant, Op, Outcome, Request, SCRATCH_BYTES,
    SECTOR_BYTES, SLOT_BYTES, Text, WIRE, WIRE_BYTES, carve,
};

/// The only queue we use. A disk with several serves each on its own.
const QUEUE: u16 = 0;

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
    /// The disk has our own question.
    asked: bool,
    /// One of the two, so that nothing which comes back is simply done.
    odd: bool,
    /// Suspects that have failed alone, in a row.
    guilty: u8,
    /// What ended without the disk, or was given back by it when it stopped.
    ended: VecDeque<Done>,
    /// A chain is a table in the frame and takes one descriptor of the ring.
    indirect: bool,
    /// It is, in a disk in service that has no suspect alone: reads and writes are
    /// simply lent.
    plain: bool,
    /// The disk says truly how much it wrote (virtio 1.2, 2.7.8.3: those before
    /// 1.0 often do not).
    honest_lengths: bool,
    features: u64,
    through: Through,
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
#[derive(Clone, Copy)]
struct Mark {
    request: Request,
    since: Instant,
}

/// Our own question at the start: a request for nothing, as there is no other.
const QUESTION: Request = Request {
    op: Op::Read,
    lba: 0,
    sectors: 0,
    data: 0,
    ticket: 0,
};

impl Default for Mark {
    fn default() -> Self {
        Self {
            request: QUESTION,
            since: Instant(0),
        }
    }
}

impl Mark {
    /// The request; `None` if it is our own question.
    fn request(&self) -> Option<Request> {
        Some(self.request).filter(|request| *request != QUESTION)
    }
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
        let geometry = geometry::read(&transport, features).ok_or(Error::NoCapacity)?;
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
        let pieces = if indirect { 1 } else { TABLE_ENTRIES as u16 };
        // A chain may not be longer than the ring, in a table neither (virtio
        // 1.2, 2.7.5.3.1).
        let chains = frames.max(TABLE_ENTRIES);
        let ring: Ring<Mark> = ring(&mut transport, QUEUE, chains, pieces, event_idx, resources)?;
        if usize::from(ring.place().size) < TABLE_ENTRIES {
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
            asked: false,
            odd: false,
            guilty: 0,
            ended: VecDeque::with_capacity(frames),
            indirect,
            plain: indirect,
            honest_lengths: features & feature::VERSION_1 != 0,
            features,
            through: Through::NEVER,
            geometry,
            identity: Identity {
                model: Text::new("virtio disk"),
                ..Identity::default()
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
        self.push(QUESTION, frame, GET_ID, 0, &[HEAD, id, TAIL]);
        (self.asked, self.odd) = (true, true);
        self.kick();
        let deadline = resources.now() + ID_WAIT_MS * 1000;
        loop {
            if let Some(returned) = self.ring.pop() {
                (self.asked, self.odd) = (false, false);
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
        !self.alone && self.ring.has_room()
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
        if self.ring.iter().any(|(_, mark)| mark.request().is_some()) {
            return;
        }
        if let Some((request, frame)) = self.backlog.pop_front() {
            self.suspects -= 1;
            (self.alone, self.odd, self.plain) = (true, true, false);
            self.lend(request, frame);
        }
    }

    /// What becomes of a request that failed, or that ran alone: `None` if it will
    /// run once more.
    #[cold]
    fn sift(&mut self, request: Request, done: Done) -> Option<Done> {
        let failed = done.outcome == Outcome::Medium;
        if !self.alone {
            self.backlog.push_front((request, done.frame));
            self.suspects += 1;
            return None;
        }
        (self.alone, self.odd) = (false, self.asked);
        self.plain = self.indirect && self.service.is_running();
        self.guilty = if failed { self.guilty + 1 } else { 0 };
        if self.guilty >= GUILTY_MAX {
            for (request, frame) in self.backlog.drain(..self.suspects) {
                self.ended.push_back(Done {
                    ticket: request.ticket,
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
    fn lend(&mut self, request: Request, frame: Frame) {
        let moves = matches!(request.op, Op::Read | Op::Write);
        if moves && self.indirect {
            self.lend_plain(request, frame);
        } else {
            self.lend_rare(request, frame);
        }
    }

    /// As [`Self::lend`], a read or a write as a table.
    #[inline(always)]
    fn lend_plain(&mut self, request: Request, frame: Frame) {
        let (kind, data) = data(&request);
        let (mark, frame) = self.prepare(request, frame, kind, request.lba);
        self.ring.push_table(frame, mark, [HEAD, data, TAIL], TABLE);
    }

    /// As [`Self::lend`], what moves no sectors, or goes to a disk that knows no tables.
    #[cold]
    #[inline(never)]
    fn lend_rare(&mut self, request: Request, mut frame: Frame) {
        match request.op {
            Op::Flush => return self.push(request, frame, DO_FLUSH, 0, &[HEAD, TAIL]),
            Op::Read | Op::Write => {
                let (kind, data) = data(&request);
                return self.push(request, frame, kind, request.lba, &[HEAD, data, TAIL]);
            }
            Op::Discard => {}
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
        self.push(request, frame, DO_DISCARD, 0, &[HEAD, range, TAIL]);
    }

    /// Lends a chain of whatever pieces.
    #[cold]
    fn push(&mut self, request: Request, frame: Frame, kind: u32, sector: u64, pieces: &[Piece]) {
        let (mark, frame) = self.prepare(request, frame, kind, sector);
        if self.indirect {
            self.ring.push_indirect(frame, mark, pieces, TABLE);
        } else {
            self.ring.push(frame, mark, pieces);
        }
    }

    /// Writes the request's header into its frame.
    #[inline(always)]
    fn prepare(&self, request: Request, mut frame: Frame, kind: u32, sector: u64) -> (Mark, Frame) {
        let scratch = frame.scratch_mut();
        scratch[STATUS] = UNANSWERED;
        let header = &mut scratch[HEADER..HEADER + HEADER_BYTES];
        // And four bytes that are not used.
        header[..8].copy_from_slice(&u64::from(kind).to_le_bytes());
        header[8..].copy_from_slice(&sector.to_le_bytes());
        let mark = Mark {
            request,
            since: self.now,
        };
        (mark, frame)
    }

    /// Whether the disk did what it was asked.
    #[inline(always)]
    fn has_done(&self, returned: &Returned) -> bool {
        let request = &self.ring.mark(returned).request;
        // Sectors of a read that were not written would be somebody else's bytes; behind
        // them it writes how it went.
        let bytes = u64::from(request.sectors) * SECTOR_BYTES as u64;
        let is_short =
            self.honest_lengths && request.op == Op::Read && u64::from(returned.written) <= bytes;
        returned.frame.scratch()[STATUS] == OK && !is_short
    }

    /// What else may come back: our own question, what failed, what ran alone. `None` if
    /// it is nobody's, or will run once more.
    #[cold]
    #[inline(never)]
    fn judge(&mut self, returned: Returned) -> Option<Done> {
        let mark = *self.ring.mark(&returned);
        let Some(request) = mark.request() else {
            (self.asked, self.odd) = (false, self.alone);
            return None;
        };
        let status = returned.frame.scratch()[STATUS];
        let done = Done {
            ticket: request.ticket,
            outcome: match self.has_done(&returned) {
                true => Outcome::Done,
                false => failure(status, request.op),
            },
            frame: returned.frame,
        };
        let blames_others = request.op == Op::Write && self.through.covers(mark.since);
        if (done.outcome != Outcome::Medium || blames_others) && !self.alone {
            return Some(done);
        }
        self.sift(request, done)
    }

    /// Notes how a request ended that the disk is not asked about.
    fn end(&mut self, request: Request, outcome: Outcome, frame: Frame) {
        self.ended.push_back(Done {
            ticket: request.ticket,
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
        if moves && self.plain && self.backlog.is_empty() && self.ring.has_room() {
            self.lend_plain(request, frame);
        } else {
            self.submit_rare(request.apart(), frame);
        }
    }

    #[inline(always)]
    fn poll_done(&mut self) -> Option<Done> {
        if !self.ended.is_empty() {
            return self.pop_ended();
        }
        loop {
            let returned = self.ring.pop()?;
            if self.has_done(&returned) && !self.odd {
                return Some(Done {
                    ticket: self.ring.mark(&returned).request.ticket,
                    outcome: Outcome::Done,
                    frame: returned.frame,
                });
            }
            // Ends: each request is a suspect once, and our own question was asked once.
            if let Some(done) = self.judge(returned) {
                return Some(done);
            }
        }
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let lent = self.ring.iter().filter_map(|(frame, mark)| {
            let request = mark.request()?;
            Some((request.ticket, frame))
        });
        let waiting = self.backlog.iter();
        let waiting = waiting.map(|(request, frame)| (request.ticket, frame));
        let ended = self.ended.iter().map(|done| (done.ticket, &done.frame));
        lent.chain(waiting)
            .chain(ended)
            .find(|(lent, _)| *lent == ticket)
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
                if let Some(request) = mark.request() {
                    self.end(request, Outcome::Fault, frame);
                }
            }
            while let Some((request, frame)) = self.backlog.pop_front() {
                self.end(request, Outcome::Fault, frame);
            }
            (self.suspects, self.alone, self.odd) = (0, false, self.asked);
        }
        if !self.service.is_running() {
            self.plain = false;
            return false;
        }
        self.look_for_silence();
        // A disk that shrinks to nothing keeps its size: it will answer with
        // errors, which is the truth.
        let mut geometry = geometry::read(&self.transport, self.features)
            .filter(|geometry| geometry.sectors > 0)
            .unwrap_or(self.geometry);
        let is_lost = self.through.is_on() && !self.keep_through(&mut geometry);
        let changed = geometry != self.geometry;
        self.geometry = geometry;
        changed | is_lost
    }

    #[cold]
    fn set_write_through(&mut self, on: bool) -> bool {
        self.switch_through(on)
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

/// What moves the sectors of a read or a write, and where they lie.
#[inline(always)]
fn data(request: &Request) -> (u32, Piece) {
    let reads = request.op == Op::Read;
    let piece = Piece {
        at: WIRE + usize::from(request.data),
        bytes: (request.sectors as usize).saturating_mul(SECTOR_BYTES),
        device_writes: reads,
    };
    (if reads { READ } else { WRITE }, piece)
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

#[cfg(test)]
mod tests;
