//! The two ways between the processors, and what crosses.

use crate::queue::{Item, Receiver, Sender, queue};
use io::{Done, Frame, Op, Request};

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

/// One that is done.
pub(crate) struct Answer {
    /// The disk's number.
    pub disk: u8,
    /// How it ended.
    pub done: Done,
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
    /// To the devices: operations. To the node: those that ended.
    pub disk: Sender<T>,
    /// To the devices: to be sent. To the node: received, in order over all cards.
    pub wire: Sender<Frame>,
    /// To the devices: to receive into. To the node: sent.
    pub empty: Sender<Frame>,
}

/// Its receiving ends.
pub(crate) struct In<T: 'static> {
    pub disk: Receiver<T>,
    pub wire: Receiver<Frame>,
    pub empty: Receiver<Frame>,
}

/// A way for so many frames.
pub(crate) fn way<T: Item>(frames: usize) -> (Out<T>, In<T>) {
    let disk = queue(frames);
    let wire = queue(frames);
    let empty = queue(frames);
    let out = Out {
        disk: disk.0,
        wire: wire.0,
        empty: empty.0,
    };
    let inn = In {
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
        self.disk.show() | self.wire.show() | self.empty.show()
    }

    /// Whether something was put in that was not handed over.
    pub fn is_waiting(&self) -> bool {
        self.disk.is_waiting() || self.wire.is_waiting() || self.empty.is_waiting()
    }
}

impl<T: Item> In<T> {
    /// Looks for what was handed over. False if there is nothing to take.
    #[inline(always)]
    pub fn look(&self) -> bool {
        self.disk.look() | self.wire.look() | self.empty.look()
    }
}
