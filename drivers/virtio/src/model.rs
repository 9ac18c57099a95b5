//! The device's half of a virtqueue, and a machine to put it in: for tests.
//!
//! Stricter than hardware, never kinder. It panics where a device would quietly
//! do something else: when a chain breaks a rule, lies outside of what was lent,
//! overlaps another that the device has, or changes while the device has it; when
//! a register is used out of order. It sleeps as soon as it has nothing to do and
//! then moves for a doorbell only, so a kick that is lost stays lost and is found
//! by [`Device::check_kick`].
//!
//! Faults it can be told to commit, because a broken or hostile hypervisor can:
//! any used element, any used index, any length, any status byte, silence, a
//! reset that takes for ever, a request for a reset.
//!
//! The device reaches memory by address, as a real one does. Only memory that
//! its [`Machine`] lent can be reached, so no test can make it touch another's.

extern crate std;

mod device;
mod registers;

use crate::transport::{QueuePlace, Status, feature};
use crate::{DeviceId, Error, Resources, Transport};
use ::pci::{DeviceMemory, Message};
use core::cell::{Cell, RefCell};
use core::ops::Range;
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, fence};
use io::{Frame, Instant, SLOT_BYTES, carve};
use std::alloc::{Layout, alloc_zeroed};
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

const QUIET: u16 = 1;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// Of a disk: its driver may choose the cache's mode, and the byte by which it does
/// (virtio 1.2, 5.2.3 and 5.2.4).
const CONFIG_WCE: u64 = 1 << 11;
const WRITEBACK: u16 = 32;

/// Memory that was lent, and nothing else.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Vec<Range<u64>>>>);

impl Memory {
    /// Zeroed memory for ever. It never belonged to a Rust object, so that the
    /// device's accesses by address are as good as the driver's.
    fn lend(&self, bytes: usize, align: usize) -> Option<&'static mut [u8]> {
        let layout = Layout::from_size_align(bytes, align).ok()?;
        assert!(bytes > 0, "nobody asks for nothing");
        // SAFETY: the layout has a size (checked above).
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            return None;
        }
        let address = start.expose_provenance() as u64;
        self.0.borrow_mut().push(address..address + bytes as u64);
        // SAFETY: freshly allocated, zeroed, `bytes` long, never freed, and no
        // other reference to it exists.
        Some(unsafe { core::slice::from_raw_parts_mut(start, bytes) })
    }

    fn check(&self, address: u64, bytes: u64) {
        let inside = |range: &Range<u64>| {
            range.start <= address
                && address
                    .checked_add(bytes)
                    .is_some_and(|end| end <= range.end)
        };
        assert!(
            self.0.borrow().iter().any(inside),
            "{bytes} bytes at {address:#x} were not lent"
        );
    }

    fn word<W>(&self, address: u64) -> &'static W {
        self.check(address, size_of::<W>() as u64);
        let word = ptr::with_exposed_provenance::<W>(address as usize);
        assert!(word.is_aligned(), "a word at {address:#x}");
        // SAFETY: `check` found it in memory that `lend` lent for ever, and it is
        // aligned. `W` is an atomic word (only the three functions below), so any
        // bytes are a value and the driver may change it.
        unsafe { &*word }
    }

    fn u16(&self, address: u64) -> &'static AtomicU16 {
        self.word(address)
    }

    fn u32(&self, address: u64) -> &'static AtomicU32 {
        self.word(address)
    }

    fn u64(&self, address: u64) -> &'static AtomicU64 {
        self.word(address)
    }

    fn read(&self, address: u64, bytes: usize) -> Vec<u8> {
        self.check(address, bytes as u64);
        let mut copy = vec![0; bytes];
        let from = ptr::with_exposed_provenance::<u8>(address as usize);
        // SAFETY: `check` found it in lent memory; the copy is new. The driver
        // holds the frame and borrows none of it: a test runs one at a time.
        unsafe { ptr::copy_nonoverlapping(from, copy.as_mut_ptr(), bytes) };
        copy
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        self.check(address, bytes.len() as u64);
        let to = ptr::with_exposed_provenance_mut::<u8>(address as usize);
        // SAFETY: as in `read`.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }
}

/// The test's own randomness: the same from the same seed, everywhere.
pub struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed % end as u64) as usize
    }
}

/// What the machine lends: memory, frames, time that passes when it is asked for,
/// and a range of the bus where plain memory answers instead of registers.
pub struct Machine {
    memory: Memory,
    now: Cell<u64>,
    frames: usize,
    message: Option<Message>,
    plain: Option<(Range<u64>, core::ptr::NonNull<u8>)>,
}

impl Machine {
    /// A machine that says it has `frames` frames.
    pub fn new(frames: usize) -> Self {
        Self {
            memory: Memory::default(),
            now: Cell::new(0),
            frames,
            message: None,
            plain: None,
        }
    }

    /// Lends this message to whoever asks.
    pub fn set_message(&mut self, message: Message) {
        self.message = Some(message);
    }

    /// Puts `bytes` of plain memory on the bus: registers that keep what is
    /// written to them.
    pub fn put_plain(&mut self, bus_address: u64, bytes: usize) {
        let memory = self.memory.lend(bytes, 4096).expect("the host has memory");
        let range = bus_address..bus_address + bytes as u64;
        self.plain = Some((range, core::ptr::NonNull::from(memory).cast()));
    }

    /// Lets its devices reach memory that somebody else lent.
    ///
    /// # Safety
    /// The memory must stay for as long as a device of this machine is moved, be
    /// exposed by address, and belong to whoever moves the driver and the device.
    pub unsafe fn share(&self, memory: Range<u64>) {
        self.memory.0.borrow_mut().push(memory);
    }

    /// `count` frames.
    pub fn carve(&self, count: usize) -> Vec<Frame> {
        let memory = self
            .memory
            .lend(count * SLOT_BYTES, 512)
            .expect("the host has memory");
        let frames: Vec<Frame> = carve(memory).collect();
        assert_eq!(frames.len(), count, "aligned slots are all used");
        frames
    }

    /// A device in this machine, and the registers that a driver finds.
    pub fn device(&self, profile: Profile) -> (Device, Registers) {
        let device = Rc::new(RefCell::new(Inner {
            memory: self.memory.clone(),
            writeback: profile.config.get(usize::from(WRITEBACK)).copied(),
            profile,
            status: Status::empty(),
            accepted: 0,
            generation: 0,
            queues: Default::default(),
            doorbells: 0,
            quieted: 0,
            config_writes: 0,
            is_deaf: false,
        }));
        (Device(device.clone()), Registers(device))
    }
}

impl Resources for Machine {
    /// Every look at the clock takes a millisecond, so every deadline comes.
    fn now(&self) -> Instant {
        self.now.set(self.now.get() + 1000);
        Instant(self.now.get())
    }

    fn frames(&self) -> usize {
        self.frames
    }

    fn dma(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]> {
        self.memory.lend(bytes, align)
    }

    fn map(&mut self, bus_address: u64, bytes: usize) -> Option<DeviceMemory> {
        let (range, start) = self.plain.as_ref()?;
        let end = bus_address.checked_add(bytes as u64)?;
        if bus_address < range.start || range.end < end {
            return None;
        }
        let offset = (bus_address - range.start) as usize;
        // SAFETY: `offset` lies inside of the memory that `put_plain` took.
        let base = unsafe { start.byte_add(offset) };
        // SAFETY: `put_plain` took this memory for ever and made its only
        // reference into a pointer; `bytes` of it lie behind `base` (checked).
        Some(unsafe { DeviceMemory::new(base, bytes) })
    }

    fn message(&mut self) -> Option<Message> {
        self.message
    }

    fn bus_range(&mut self, _bytes: u64) -> Option<u64> {
        None
    }
}

/// What a device is, and which faults it commits.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What it is.
    pub device: DeviceId,
    /// Before virtio 1.0.
    pub legacy: bool,
    /// What it offers.
    pub features: u64,
    /// Entries of each queue.
    pub queue_max: u16,
    /// Its configuration.
    pub config: Vec<u8>,
    /// Whether it can interrupt.
    pub interrupts: bool,
    /// What a disk answers when asked who it is; silence if `None`.
    pub serial: Option<[u8; 20]>,
    /// It refuses the features it is asked for.
    pub refuses_features: bool,
    /// It never confirms a reset.
    pub never_resets: bool,
    /// It takes no notice of the cache's mode that its driver chooses.
    pub keeps_writeback: bool,
}

impl Profile {
    /// A modern device with event indices and indirect tables.
    pub fn new(device: DeviceId, config: Vec<u8>) -> Self {
        Self {
            device,
            legacy: false,
            features: feature::VERSION_1 | feature::EVENT_IDX | feature::INDIRECT_DESC,
            queue_max: 256,
            config,
            interrupts: true,
            serial: Some(*b"MODEL-SERIAL\0\0\0\0\0\0\0\0"),
            refuses_features: false,
            never_resets: false,
            keeps_writeback: false,
        }
    }
}

#[derive(Default)]
struct Queue {
    place: Option<QueuePlace>,
    /// Available index up to which chains were fetched.
    seen: u16,
    used: u16,
    awake: bool,
    in_hand: Vec<Chain>,
    interrupts: u64,
}

/// A chain that the device has.
#[derive(Clone, Debug)]
pub struct Chain {
    head: u16,
    /// Its pieces: address, length, whether the device writes.
    pub pieces: Vec<(u64, u32, bool)>,
    /// The descriptors as they were when they were fetched.
    fetched: Vec<(u64, [u64; 2])>,
}

struct Inner {
    memory: Memory,
    profile: Profile,
    /// The cache's mode before a driver chose one; it is back with a reset.
    writeback: Option<u8>,
    status: Status,
    accepted: u64,
    generation: u32,
    queues: [Queue; 3],
    doorbells: u64,
    quieted: u64,
    config_writes: u64,
    is_deaf: bool,
}

/// The device, as a test moves it.
pub struct Device(Rc<RefCell<Inner>>);

/// The device, as its driver sees it.
pub struct Registers(Rc<RefCell<Inner>>);

impl Inner {
    fn event_idx(&self) -> bool {
        self.accepted & feature::EVENT_IDX != 0
    }

    fn place(&self, queue: u16) -> QueuePlace {
        self.queues[usize::from(queue)]
            .place
            .expect("the queue is set up")
    }

    fn available_index(&self, queue: u16) -> u16 {
        let place = self.place(queue);
        let index = self.memory.u16(place.available + 2).load(Acquire);
        let new = index.wrapping_sub(self.queues[usize::from(queue)].seen);
        assert!(
            new <= place.size,
            "{new} chains in a ring of {}",
            place.size
        );
        index
    }

    /// Takes up to `most` chains; sleeps when there are no more.
    fn fetch(&mut self, queue: u16, most: usize) {
        if !self.queues[usize::from(queue)].awake {
            return;
        }
        let place = self.place(queue);
        let event = place.used + 4 + u64::from(place.size) * 8;
        if !self.event_idx() {
            self.memory.u16(place.used).store(QUIET, Relaxed);
        }
        for _ in 0..most {
            if self.available_index(queue) == self.queues[usize::from(queue)].seen {
                let seen = self.queues[usize::from(queue)].seen;
                if self.event_idx() {
                    self.memory.u16(event).store(seen, Relaxed);
                } else {
                    self.memory.u16(place.used).store(0, Relaxed);
                }
                fence(SeqCst);
                if self.available_index(queue) == seen {
                    self.queues[usize::from(queue)].awake = false;
                    return;
                }
            }
            let seen = self.queues[usize::from(queue)].seen;
            let slot = u64::from(seen % place.size);
            let head = self
                .memory
                .u16(place.available + 4 + slot * 2)
                .load(Relaxed);
            let chain = self.read_chain(&place, head);
            let queue = &mut self.queues[usize::from(queue)];
            for other in &queue.in_hand {
                assert_ne!(other.head, head, "the device has this chain already");
                assert!(!overlap(other, &chain), "two chains share memory");
            }
            queue.in_hand.push(chain);
            queue.seen = seen.wrapping_add(1);
        }
    }

    fn descriptor(&self, address: u64) -> [u64; 2] {
        [0, 8].map(|word| self.memory.u64(address + word).load(Relaxed))
    }

    /// The chain at `head`, after a look at every rule (virtio 1.2, 2.7.5).
    fn read_chain(&self, place: &QueuePlace, head: u16) -> Chain {
        let mut chain = Chain {
            head,
            pieces: Vec::new(),
            fetched: Vec::new(),
        };
        let (mut table, mut entries, mut at) = (place.descriptors, u64::from(place.size), head);
        let mut indirect = false;
        loop {
            assert!(u64::from(at) < entries, "descriptor {at} of {entries}");
            assert!(
                chain.pieces.len() < usize::from(place.size),
                "a chain longer than the ring"
            );
            let address = table + u64::from(at) * 16;
            let words = self.descriptor(address);
            chain.fetched.push((address, words));
            let (buffer, bytes) = (words[0], words[1] as u32);
            let (flags, next) = ((words[1] >> 32) as u16, (words[1] >> 48) as u16);
            assert_eq!(flags & !(NEXT | WRITE | INDIRECT), 0, "unknown flags");
            assert!(bytes > 0, "an empty piece");
            self.memory.check(buffer, bytes.into());
            if flags & INDIRECT != 0 {
                assert!(
                    self.accepted & feature::INDIRECT_DESC != 0,
                    "tables were not agreed on"
                );
                assert!(!indirect, "a table in a table");
                assert_eq!(flags, INDIRECT, "a table goes alone");
                assert!(chain.pieces.is_empty(), "a table in a chain");
                assert_eq!(bytes % 16, 0, "half a descriptor");
                (table, entries, at, indirect) = (buffer, u64::from(bytes / 16), 0, true);
                continue;
            }
            let writes = flags & WRITE != 0;
            let after_written = chain.pieces.last().is_some_and(|&(_, _, writes)| writes);
            assert!(writes || !after_written, "what is read comes first");
            chain.pieces.push((buffer, bytes, writes));
            if flags & NEXT == 0 {
                return chain;
            }
            at = next;
        }
    }

    fn put_used(&mut self, queue: u16, id: u32, written: u32) {
        let place = self.place(queue);
        let number = usize::from(queue);
        let before = self.queues[number].used;
        let used = before.wrapping_add(1);
        self.queues[number].used = used;
        let element = place.used + 4 + u64::from(before % place.size) * 8;
        self.memory.u32(element).store(id, Relaxed);
        self.memory.u32(element + 4).store(written, Relaxed);
        self.memory.u16(place.used + 2).store(used, Release);
        fence(SeqCst);
        if self.wants_interrupt(queue, before) {
            self.queues[number].interrupts += 1;
        }
    }

    /// Whether the driver wants to be told of what is returned at `index`.
    fn wants_interrupt(&self, queue: u16, index: u16) -> bool {
        let place = self.place(queue);
        if self.event_idx() {
            let event = place.available + 4 + u64::from(place.size) * 2;
            // By hand, not as the driver does it: one index is added, so it is
            // passed only if it is the one that is waited for.
            self.memory.u16(event).load(Relaxed) == index
        } else {
            self.memory.u16(place.available).load(Relaxed) & QUIET == 0
        }
    }

    fn answer_identity(&mut self) {
        let Some(serial) = self.profile.serial else {
            return;
        };
        self.fetch(0, usize::MAX);
        let asked = |chain: &Chain| {
            let (address, _, _) = chain.pieces[0];
            self.memory.read(address, 4) == 8u32.to_le_bytes()
        };
        let Some(number) = self.queues[0].in_hand.iter().position(asked) else {
            return;
        };
        let chain = self.queues[0].in_hand.remove(number);
        let memory = self.memory.clone();
        chain.fill(&memory, 0, &serial);
        chain.fill(&memory, 20, &[0]);
        self.put_used(0, chain.head.into(), 21);
        // A driver asks once; from then on a doorbell moves nothing by itself.
        self.profile.serial = None;
    }
}

fn overlap(one: &Chain, other: &Chain) -> bool {
    one.pieces.iter().any(|&(a, a_bytes, a_writes)| {
        other.pieces.iter().any(|&(b, b_bytes, b_writes)| {
            (a_writes || b_writes) && a < b + u64::from(b_bytes) && b < a + u64::from(a_bytes)
        })
    })
}

impl Chain {
    fn fill(&self, memory: &Memory, from: usize, bytes: &[u8]) {
        let mut skip = from;
        let mut left = bytes;
        for &(address, room, writes) in &self.pieces {
            let room = room as usize;
            if !writes {
                continue;
            }
            if skip >= room {
                skip -= room;
                continue;
            }
            let now = left.len().min(room - skip);
            memory.write(address + skip as u64, &left[..now]);
            left = &left[now..];
            skip = 0;
        }
        assert!(left.is_empty(), "{} bytes found no room", left.len());
    }
}
