//! Where one processor leaves a batch for the other.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use io::Frame;
use spin::Mutex;

/// Frames on their way, by what is to be done with them. Each line can hold all that
/// there are.
pub(crate) struct Batch {
    /// To the devices: operations. To the node: those that ended.
    pub disk: Line,
    /// To the devices: to be sent. To the node: received, in order over all cards.
    pub wire: Line,
    /// To the devices: to receive into. To the node: sent.
    pub empty: Line,
}

impl Batch {
    /// An empty one, for so many frames.
    pub fn new(frames: usize) -> Box<Self> {
        Box::new(Self {
            disk: Line::new(frames),
            wire: Line::new(frames),
            empty: Line::new(frames),
        })
    }

    /// Whether nothing is on its way.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.disk.is_empty() && self.wire.is_empty() && self.empty.is_empty()
    }

    /// Takes over what `other` has, behind its own.
    fn append(&mut self, other: &mut Self) {
        self.disk.append(&mut other.disk);
        self.wire.append(&mut other.wire);
        self.empty.append(&mut other.empty);
    }
}

/// Frames in a line: a ring of a power of two, as long as there are frames.
pub(crate) struct Line {
    places: Box<[Option<Frame>]>,
    /// Counts frames that left, and frames that came.
    first: usize,
    end: usize,
}

impl Line {
    fn new(frames: usize) -> Self {
        let mut places = Vec::new();
        places.resize_with(frames.next_power_of_two(), || None);
        Self {
            places: places.into_boxed_slice(),
            first: 0,
            end: 0,
        }
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first == self.end
    }

    /// Puts one at the end.
    ///
    /// # Panics
    /// If there are more frames than there can be.
    #[inline(always)]
    pub fn push(&mut self, frame: Frame) {
        let place = self.end & (self.places.len() - 1);
        if let Some(place @ None) = self.places.get_mut(place) {
            *place = Some(frame);
            self.end = self.end.wrapping_add(1);
        } else {
            too_many();
        }
    }

    /// The first, to look at.
    #[inline(always)]
    pub fn front(&self) -> Option<&Frame> {
        let place = self.first & (self.places.len() - 1);
        self.places.get(place)?.as_ref()
    }

    /// Takes the first out.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Frame> {
        let place = self.first & (self.places.len() - 1);
        let frame = self.places.get_mut(place)?.take()?;
        self.first = self.first.wrapping_add(1);
        Some(frame)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Frame> {
        self.places.iter().flatten()
    }

    #[inline(never)]
    fn append(&mut self, other: &mut Self) {
        while let Some(frame) = other.pop() {
            self.push(frame);
        }
    }
}

#[cold]
#[inline(never)]
fn too_many() -> ! {
    panic!("a line has room for every frame");
}

/// See the module's header. One side puts, the other takes.
pub(crate) struct Mailbox {
    /// A look at this costs no lock; it changes only under the lock.
    is_full: AtomicBool,
    batch: Mutex<Box<Batch>>,
}

impl Mailbox {
    /// An empty one, for so many frames.
    pub fn new(frames: usize) -> Self {
        Self {
            is_full: AtomicBool::new(false),
            batch: Mutex::new(Batch::new(frames)),
        }
    }

    /// Whether there is something to take.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Hands over what is in `mine`. False if that is nothing.
    #[inline]
    pub fn put(&self, mine: &mut Box<Batch>) -> bool {
        if mine.is_empty() {
            return false;
        }
        let mut batch = self.batch.lock();
        if batch.is_empty() {
            core::mem::swap(&mut *batch, mine);
        } else {
            batch.append(mine);
        }
        self.is_full.store(true, Ordering::Release);
        true
    }

    /// Takes what is there, behind what is in `mine`. False if that is nothing.
    #[inline]
    pub fn take(&self, mine: &mut Box<Batch>) -> bool {
        if !self.is_full() {
            return false;
        }
        let mut batch = self.batch.lock();
        if mine.is_empty() {
            core::mem::swap(&mut *batch, mine);
        } else {
            mine.append(&mut batch);
        }
        self.is_full.store(false, Ordering::Relaxed);
        true
    }

    /// Looks at the operation that `is_it` picks, if it is here.
    pub fn look(&self, is_it: impl Fn(&Frame) -> bool, look: &mut dyn FnMut(&Frame)) -> bool {
        let batch = self.batch.lock();
        let found = batch.disk.iter().find(|frame| is_it(frame));
        found.map(look).is_some()
    }
}
