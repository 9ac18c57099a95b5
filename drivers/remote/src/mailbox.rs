//! The two ways between the processors, and what crosses.

use crate::queue::{Apart, Item, Receiver, Sender, queue};
use alloc::boxed::Box;
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};
use io::{Done, Frame, Op, Outcome, Request};

/// An operation that is to be done. As much as half a cache line.
pub(crate) struct Order {
    lba: u64,
    sectors: u32,
    pub ticket: u32,
    data: u16,
    op: Op,
    disk: u8,
    pub frame: Frame,
}

const _: () = assert!(size_of::<Order>() == 32);

impl Order {
    /// What `disk` is to do.
    #[inline(always)]
    pub fn new(disk: u8, request: Request, frame: Frame) -> Self {
        let Request {
            op,
            lba,
            sectors,
            data,
            ticket,
        } = request;
        Self {
            lba,
            sectors,
            ticket,
            data,
            op,
            disk,
            frame,
        }
    }

    /// The same, as its driver gets it.
    #[inline(always)]
    pub fn into_request(self) -> (Request, Frame) {
        let Self {
            lba,
            sectors,
            ticket,
            data,
            op,
            disk: _,
            frame,
        } = self;
        let request = Request {
            op,
            lba,
            sectors,
            data,
            ticket,
        };
        (request, frame)
    }
}

impl Item for Order {
    #[inline(always)]
    fn device(&self) -> u8 {
        self.disk
    }
}

/// One that is done: a quarter of a line.
pub(crate) struct Answer {
    pub ticket: u32,
    outcome: Outcome,
    disk: u8,
    pub frame: Frame,
}

const _: () = assert!(size_of::<Answer>() == 16);

impl Answer {
    /// What `disk` has done.
    #[inline(always)]
    pub fn new(disk: u8, done: Done) -> Self {
        let Done {
            ticket,
            outcome,
            frame,
        } = done;
        Self {
            ticket,
            outcome,
            disk,
            frame,
        }
    }

    /// The same, as the node gets it.
    #[inline(always)]
    pub fn into_done(self) -> Done {
        Done {
            ticket: self.ticket,
            outcome: self.outcome,
            frame: self.frame,
        }
    }
}

impl Item for Answer {
    #[inline(always)]
    fn device(&self) -> u8 {
        self.disk
    }
}

impl Item for Frame {
    /// Its card: a frame is of one card for ever.
    #[inline(always)]
    fn device(&self) -> u8 {
        self.home()
    }
}

/// The sending ends of a way.
pub(crate) struct Out<T: 'static> {
    /// Counts how often something was handed over.
    handed_over: Cell<u32>,
    news: &'static Apart<AtomicU32>,
    /// To the devices: operations. To the node: those that ended.
    pub disk: Sender<T>,
    /// To the devices: to be sent. To the node: received, in order over all cards.
    pub wire: Sender<Frame>,
    /// To the devices: to receive into. To the node: sent.
    pub empty: Sender<Frame>,
}

/// Its receiving ends.
pub(crate) struct In<T: 'static> {
    /// What that count was when it was last looked at.
    seen: Cell<u32>,
    news: &'static Apart<AtomicU32>,
    pub disk: Receiver<T>,
    pub wire: Receiver<Frame>,
    pub empty: Receiver<Frame>,
}

/// A way for so many frames.
pub(crate) fn way<T: Item>(frames: usize) -> (Out<T>, In<T>) {
    let disk = queue(frames);
    let wire = queue(frames);
    let empty = queue(frames);
    let news: &'static Apart<AtomicU32> = Box::leak(Box::new(Apart(AtomicU32::new(0))));
    let out = Out {
        handed_over: Cell::new(0),
        news,
        disk: disk.0,
        wire: wire.0,
        empty: empty.0,
    };
    let inn = In {
        seen: Cell::new(0),
        news,
        disk: disk.1,
        wire: wire.1,
        empty: empty.1,
    };
    (out, inn)
}

impl<T: Item> Out<T> {
    /// Hands over what was put in. False if that is nothing.
    #[inline(always)]
    pub fn show(&self) -> bool {
        // All of them, whatever the first says.
        let is_some = self.disk.show() | self.wire.show() | self.empty.show();
        if is_some {
            let count = self.handed_over.get().wrapping_add(1);
            self.handed_over.set(count);
            // Release: who sees this sees what was shown before it.
            self.news.0.store(count, Ordering::Release);
        }
        is_some
    }

    /// Whether something was put in that was not handed over.
    pub fn is_waiting(&self) -> bool {
        self.disk.is_waiting() || self.wire.is_waiting() || self.empty.is_waiting()
    }
}

impl<T: Item> In<T> {
    /// Whether everything that was found was taken.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.disk.is_empty() && self.wire.is_empty() && self.empty.is_empty()
    }

    /// Whether something was handed over since the last look. It finds it only then.
    #[inline(always)]
    pub fn has_news(&self) -> bool {
        self.news.0.load(Ordering::Acquire) != self.seen.get()
    }

    /// Looks for what was handed over: nearly always nothing, and then it is one load.
    /// False if there is nothing new.
    #[inline(always)]
    pub fn look(&self) -> bool {
        let count = self.news.0.load(Ordering::Acquire);
        if count == self.seen.get() {
            return false;
        }
        self.seen.set(count);
        self.disk.look();
        self.wire.look();
        self.empty.look();
        true
    }
}
