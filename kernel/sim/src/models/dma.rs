//! The memory of the simulated machine, used again after every crash.
//!
//! A frame is memory for ever, and so is a driver's ring: a real node carves once
//! and never ends. In the simulation a node dies thousands of times, and so the
//! [`Machine`] keeps its memory together with everything that was built in it, ends
//! the one before it gives out the other anew, and is the only place that can.
//!
//! A [`Lender`] is the machine as a driver's start sees it. What it lends, and the
//! frames, the model of the driver's device can reach, and nothing else.

use crate::network::POISON;
use io::{Frame, Instant, SLOT_BYTES};
use pci::{DeviceMemory, Message, Resources};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

/// What frames and rings are aligned to: where the pages lie that a device is told
/// of must not depend on where the heap put us.
const PAGE: usize = 4096;
/// Every look of a driver at the clock takes a millisecond, so every deadline comes.
const LOOK_US: u64 = 1_000;

/// Memory, and what runs in it.
pub(crate) struct Machine<T> {
    /// Declared first and dropped first: it holds the frames and the rings.
    inside: Option<T>,
    frames: usize,
    memory: Piece,
    rings: RefCell<Vec<Piece>>,
}

/// Memory of our own, freed when it is dropped.
struct Piece {
    start: NonNull<u8>,
    layout: Layout,
}

impl Piece {
    /// Zeroed memory that devices may be told of by its address.
    fn new(bytes: usize, align: usize) -> Option<Self> {
        let layout = Layout::from_size_align(bytes, align).ok()?;
        assert!(bytes > 0, "nobody asks for nothing");
        // SAFETY: the layout has a size (checked above).
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        start.as_ptr().expose_provenance();
        Some(Self { start, layout })
    }

    fn all(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.start, self.layout.size())
    }

    /// The memory, as if it were there for ever.
    ///
    /// # Safety
    /// Until this piece is dropped nobody else has it, and nobody has it then.
    unsafe fn lend(&self) -> &'static mut [u8] {
        // SAFETY: allocated with this size, zeroed once, and as good as ours by the
        // contract of this function.
        unsafe { self.all().as_mut() }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here. Nobody
        // else holds it: what was built in it lay in `Machine::inside`, which goes
        // before its pieces (in `crash`, and by the order of the fields).
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

impl<T> Machine<T> {
    /// A machine with memory for `frames` frames that runs nothing.
    pub(crate) fn new(frames: usize) -> Self {
        let memory = Piece::new(frames * SLOT_BYTES, PAGE).expect("the host has memory");
        Self {
            inside: None,
            frames,
            memory,
            rings: RefCell::default(),
        }
    }

    /// Starts `build` with all frames, full of poison. `build` must put every frame
    /// into what it returns, and so must whoever asked a [`Lender`] for memory
    /// before: that is what the simulated node, its cards and its drives do, which
    /// hold frames and rings in fields of their own.
    ///
    /// # Panics
    /// If something runs.
    pub(crate) fn boot(&mut self, build: impl FnOnce(Vec<Frame>) -> T) {
        assert!(self.inside.is_none(), "one node at a time");
        // SAFETY: no frame of an earlier start is left. They all lay in `inside`
        // (the contract of this function), which is empty, and `memory` stays until
        // `inside` is dropped again.
        let bytes = unsafe { self.memory.lend() };
        let mut frames: Vec<Frame> = io::carve(bytes).collect();
        assert_eq!(frames.len(), self.frames, "aligned slots are all used");
        for frame in &mut frames {
            frame.scratch_mut().fill(POISON);
            frame.net_header_mut().fill(POISON);
            frame.buffer_mut().fill(POISON);
        }
        self.inside = Some(build(frames));
    }

    /// Ends what runs; its frames and its rings are gone.
    pub(crate) fn crash(&mut self) {
        self.inside = None;
        self.rings.get_mut().clear();
    }

    /// How many frames it has.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// What runs.
    pub(crate) fn inside(&mut self) -> Option<&mut T> {
        self.inside.as_mut()
    }

    /// The machine as the driver of `device` finds it at its start, at `now_us`.
    pub(crate) fn lender<'a, D: Reach>(&'a self, device: &'a D, now_us: u64) -> Lender<'a, D> {
        // SAFETY: the frames stay until what holds the device's model is dropped with
        // `inside`, and one thread moves the node and its devices.
        unsafe { device.reach(self.memory.all()) };
        Lender {
            rings: &self.rings,
            frames: self.frames,
            device,
            now_us: Cell::new(now_us),
        }
    }
}

/// A model of a device, which reaches by address what its driver was lent.
pub(crate) trait Reach {
    /// Lets it reach `memory`.
    ///
    /// # Safety
    /// The memory stays for as long as the model is moved, its address is exposed,
    /// and whoever moves the driver moves the model too, one after the other.
    unsafe fn reach(&self, memory: NonNull<[u8]>);
}

impl Reach for virtio::model::Machine {
    unsafe fn reach(&self, memory: NonNull<[u8]>) {
        let start = memory.as_ptr().addr() as u64;
        // SAFETY: by the contract of this function.
        unsafe { self.share(start..start + memory.len() as u64) };
    }
}

impl Reach for pci::shared::device::Memory {
    unsafe fn reach(&self, memory: NonNull<[u8]>) {
        // SAFETY: by the contract of this function.
        unsafe { self.share(memory) };
    }
}

/// See [`Machine::lender`].
pub(crate) struct Lender<'a, D> {
    rings: &'a RefCell<Vec<Piece>>,
    frames: usize,
    device: &'a D,
    now_us: Cell<u64>,
}

impl<D: Reach> Resources for Lender<'_, D> {
    fn now(&self) -> Instant {
        self.now_us.set(self.now_us.get() + LOOK_US);
        Instant(self.now_us.get())
    }

    fn frames(&self) -> usize {
        self.frames
    }

    fn dma(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]> {
        let piece = Piece::new(bytes, align.max(PAGE))?;
        // SAFETY: the piece is new, and it goes when what was built in it has gone
        // (`Machine::crash`), which is the contract of `Machine::boot`.
        let memory = unsafe { piece.lend() };
        // SAFETY: as for the frames in `Machine::lender`.
        unsafe { self.device.reach(piece.all()) };
        self.rings.borrow_mut().push(piece);
        Some(memory)
    }

    fn map(&mut self, _: u64, _: usize) -> Option<DeviceMemory> {
        None
    }

    fn message(&mut self) -> Option<Message> {
        None
    }

    fn bus_range(&mut self, _: u64) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_crash_the_same_memory_is_frames_again() {
        let mut machine: Machine<Vec<Frame>> = Machine::new(4);
        let mut addresses = Vec::new();
        for _ in 0..3 {
            machine.boot(|frames| frames);
            let frames = machine.inside().expect("it was booted");
            assert_eq!(frames.len(), 4, "wherever the memory lies");
            assert!(frames[0].buffer_mut().iter().all(|&byte| byte == POISON));
            frames[0].buffer_mut().fill(1);
            addresses.push(frames[0].bus_address());
            machine.crash();
        }
        assert!(addresses.iter().all(|&address| address == addresses[0]));
        assert!(machine.inside().is_none());
    }

    #[test]
    fn what_was_lent_for_rings_is_zero_and_goes_with_a_crash() {
        let mut machine: Machine<&mut [u8]> = Machine::new(1);
        let device = virtio::model::Machine::new(1);
        for _ in 0..3 {
            let ring = machine.lender(&device, 0).dma(100, 64).expect("memory");
            assert!(ring.iter().all(|&byte| byte == 0));
            ring.fill(1);
            machine.boot(|_| ring);
            assert_eq!(machine.rings.borrow().len(), 1);
            machine.crash();
            assert!(machine.rings.borrow().is_empty());
        }
    }
}
