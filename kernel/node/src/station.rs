//! One disk as the node sees it: who holds frames for it, and what still has to
//! become durable.
//!
//! **One flush at a time, shared.** A write that ended in a volatile cache joins
//! `unflushed`. When no flush is under way, everything there becomes the batch:
//! its first frame carries the flush (its data is written, its scratch is free)
//! and the rest waits in `batch`. What ends meanwhile joins the next one. A flush
//! covers exactly the writes that were reported done before it was submitted, and
//! the batch was closed then. One that fails takes more with it: everything that the
//! disk had until then, also what was still under way. A disk that does one write at a
//! time may need none (see `through`).

use crate::crowd::Crowd;
use crate::histogram::Histogram;
use crate::limits::PORTS_MAX;
use crate::through::Through;
use crate::waiting::Queue;
use io::{Disk, Done, Frame, Instant, Request, WriteCache};

/// See the module's header.
pub struct Station<D> {
    /// The disk.
    pub disk: D,
    /// Frames of each port that are here: at the disk, in the fence before it,
    /// or waiting for its flush.
    pub held: [usize; PORTS_MAX],
    /// Operations at the disk.
    pub under_way: usize,
    /// What waits for a place at the disk while several hosts ask.
    pub crowd: Crowd,
    /// Whether it has a cache that forgets what it reported done, unless that was
    /// written through.
    pub volatile: bool,
    /// Whether it writes through now.
    pub through: Through,
    /// Whether it has ever failed to read or write, or has said that it will: what
    /// SMART tells.
    pub failing: bool,
    /// Whether a flush is under way.
    pub flushing: bool,
    /// Whether it proves nothing: a write that was written through has failed since, and
    /// with it what a flush has to tell.
    pub flush_is_void: bool,
    /// What the next flush is for.
    pub unflushed: Queue,
    /// What the flush under way is for, but for the frame that carries it.
    pub batch: Queue,
    /// When that flush began.
    pub flushing_since: Instant,
    /// When one last failed, or a write that was written through.
    pub flush_failed_at: Option<Instant>,
    /// How long flushes took.
    pub flushes: Histogram,
    /// The operation that is being timed, by its frame's address, and since when.
    /// One at a time: a sample costs two comparisons an operation, a time for each
    /// would need a place.
    pub watched: Option<(u64, Instant)>,
    /// How long the timed ones were at the disk.
    pub operations: Histogram,
}

impl<D: Disk> Station<D> {
    /// A disk with nothing to do.
    pub fn new(disk: D) -> Self {
        let mut station = Self {
            disk,
            held: [0; PORTS_MAX],
            under_way: 0,
            crowd: Crowd::new(),
            volatile: false,
            through: Through::new(),
            failing: false,
            flushing: false,
            flush_is_void: false,
            unflushed: Queue::EMPTY,
            batch: Queue::EMPTY,
            flushing_since: Instant(0),
            flush_failed_at: None,
            flushes: Histogram::default(),
            watched: None,
            operations: Histogram::default(),
        };
        station.refresh();
        station
    }

    /// Gives it something to do.
    #[inline(always)]
    pub fn submit(&mut self, now: Instant, request: Request, frame: Frame) {
        self.under_way += 1;
        if self.watched.is_none() {
            self.watched = Some((frame.bus_address(), now));
        }
        self.disk.submit(request, frame);
    }

    /// Whether it has enough to do for now.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.crowd.is_enough(self.under_way)
    }

    /// Something that it is done with.
    #[inline(always)]
    pub fn take_done(&mut self, now: Instant) -> Option<Done> {
        if self.under_way == 0 {
            return None;
        }
        let done = self.disk.poll_done()?;
        self.under_way -= 1;
        if let Some((address, since)) = self.watched
            && address == done.frame.bus_address()
        {
            self.operations.note(now - since);
            self.crowd.took(now - since);
            self.watched = None;
        }
        Some(done)
    }

    /// Reads what the disk says of itself now.
    pub fn refresh(&mut self) {
        self.volatile = self.disk.geometry().write_cache == WriteCache::Volatile;
        self.failing |= self.disk.fails_soon();
    }

    /// Whether a write that has just ended may be gone already: a flush failed since
    /// it came. A host that keeps a disk's cache in its own memory throws out what it
    /// could not write, whether we were told that it was done or not, and its next
    /// flush works. One that was held back and went to the disk only afterwards is
    /// suspected with the others: its host is told, and writes it again.
    #[inline(always)]
    pub fn may_have_lost(&self, frame: &Frame) -> bool {
        self.flush_failed_at
            .is_some_and(|failed_at| frame.posted_at() <= failed_at)
    }

    /// Whether a flush should begin.
    pub fn wants_flush(&self) -> bool {
        !self.flushing && !self.unflushed.is_empty()
    }
}
