//! Split virtqueue: the driver's half (virtio 1.2, 2.7).
//!
//! A ring owns the frames that the device may touch: they go in by value and
//! come out when the device returns them, so nobody else can look at one in
//! between. All addresses a device is given are computed here, from a frame that
//! is held here and pieces that are checked to lie inside of it.
//!
//! We publish a whole batch, then decide once whether to ring. Two things are
//! easy to get wrong and are the first tests: the decision compares indices that
//! wrap, so it compares distances; and the device's wish must not be read before
//! our index is visible, so a full fence stands between.
//!
//! What the device may write is read once, checked, and never trusted again. Our
//! own copy of every chain is in `ours`; what stands in shared memory is never
//! read back. A device that returns what it was not given has broken the ring:
//! it returns nothing more until the device is reset, because from then on
//! nobody knows which frames it still touches.

mod circle;

use self::circle::Circle;
use crate::transport::{QueuePlace, Silent};
use core::slice;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, fence};
use io::{Frame, NET_HEADER, SCRATCH_BYTES, SLOT_BYTES};

/// Most entries we use: as many as there can be frames.
pub(crate) const SIZE_MAX: u16 = io::FRAMES_MAX as u16;
const _: () = assert!(SIZE_MAX.is_power_of_two() && SIZE_MAX as usize == io::FRAMES_MAX);

/// Alignment of a ring, and of its used part: what the interface before 1.0
/// asks for (virtio 1.2, 2.7.2), which is enough for all others.
pub(crate) const ALIGN: usize = 4096;

/// Bytes of a descriptor.
pub(crate) const DESCRIPTOR_BYTES: usize = 16;

/// Descriptor flag: the chain goes on.
const NEXT: u16 = 1;
/// Descriptor flag: the device writes here.
const WRITE: u16 = 2;
/// Descriptor flag: here lies a table of descriptors.
const INDIRECT: u16 = 4;

/// Available and used ring: the flags' only bit says "do not disturb".
const QUIET: u16 = 1;

/// Words 0 and 1 of the available and of the used ring; what follows is the list.
const FLAGS: usize = 0;
const INDEX: usize = 1;
const HEAD_WORDS: usize = 2;

#[cfg(not(target_endian = "little"))]
compile_error!("virtio 1.x is little-endian, and words here are the processor's");

/// Where the parts of a ring lie in its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    size: u16,
    available: usize,
    available_end: usize,
    used: usize,
    /// All of it.
    pub bytes: usize,
}

impl Layout {
    /// For a ring of `size` entries.
    pub const fn of(size: u16) -> Self {
        let entries = size as usize;
        let available = entries * DESCRIPTOR_BYTES;
        let available_end = available + 2 * (2 + entries + 1);
        let used = available_end.next_multiple_of(ALIGN);
        Self {
            size,
            available,
            available_end,
            used,
            bytes: used + 2 * 2 + entries * 8 + 2,
        }
    }
}

/// A part of a frame's slot that the device reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// First byte in the slot.
    pub at: usize,
    /// How many.
    pub bytes: usize,
    /// Whether the device writes it. Those it reads come first in a chain.
    pub device_writes: bool,
}

/// A frame that the device returned.
pub(crate) struct Returned {
    /// The frame.
    pub frame: Frame,
    /// How many bytes the device says it wrote. Its word only.
    pub written: u32,
    /// Where it was noted what it is, until the next is lent ([`Ring::mark`]).
    chain: u16,
}

/// How a device broke the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It says that it used more than it was given.
    Index,
    /// It returned what it does not have.
    Id,
}

/// The driver's half of a queue. `M` is what the caller wants to know again when
/// a frame comes back.
///
/// Every chain has room for as many descriptors as the longest that is ever pushed, side
/// by side. So the chains that are free are all there is to keep in order, by the number
/// of their first descriptor.
///
/// `IN_TURN`, nothing is kept: chain follows chain as index follows index, for a device
/// that returns them mostly in the order in which it got them, as cards do. One that does
/// not may (nobody has promised it), but until the next in turn is back there is no room.
pub(crate) struct Ring<M: 'static, const IN_TURN: bool = false> {
    /// Address; length, flags, next.
    descriptors: Circle<[AtomicU64; 2]>,
    /// Flags, index.
    available: &'static [AtomicU16; HEAD_WORDS],
    heads: Circle<AtomicU16>,
    /// The used index we want to be told of.
    used_event: &'static AtomicU16,
    /// Flags, index.
    used: &'static [AtomicU16; HEAD_WORDS],
    /// Head, bytes written.
    used_elements: Circle<[AtomicU32; 2]>,
    /// The available index the device wants to be told of.
    available_event: &'static AtomicU16,
    place: QueuePlace,
    event_idx: bool,

    /// What we know of each chain, where its first descriptor is.
    ours: Circle<Ours<M>>,
    /// Descriptors of a chain.
    pieces: u16,
    /// How many chains there are.
    chains: u16,
    /// Unless they go in turn: how many of them are free, and the first of these. What
    /// was returned last is lent first: it is still in the cache.
    free: u16,
    free_head: u16,
    /// How many chains came back by [`Ring::reclaim`].
    reclaimed: u16,

    /// Available index with everything that was pushed.
    pushed: u16,
    /// Available index as the device sees it.
    published: u16,
    /// Counts publications: what was pushed since the last one is not yet the
    /// device's to return. It wraps: only what a device returns after exactly so many
    /// would be taken for that, and the device for broken.
    batch: u32,
    /// Used index up to which elements were taken.
    taken: u16,
    /// Used index as it was last read, and found possible.
    known: u16,
    armed: bool,
    broken: Option<Broken>,
}

/// What we know of a chain.
struct Ours<M> {
    /// What is lent.
    frame: Option<Frame>,
    batch: u32,
    /// The next free chain.
    next: u16,
    mark: M,
}

impl<M: Copy + Default, const IN_TURN: bool> Ring<M, IN_TURN> {
    /// A ring of `size` entries (a power of two) for chains of up to `pieces` in
    /// `memory`, which is zeroed, aligned to [`ALIGN`] and as large as [`Layout`] says.
    ///
    /// # Panics
    /// If it is not: the machine lends what it was asked for.
    pub fn new(memory: &'static mut [u8], size: u16, pieces: u16, event_idx: bool) -> Self {
        let layout = Layout::of(size);
        assert!(
            size.is_power_of_two() && size <= SIZE_MAX && (1..=size).contains(&pieces),
            "a ring of {size} entries, {pieces} a chain"
        );
        assert!(
            memory.len() >= layout.bytes && memory.as_ptr().addr().is_multiple_of(ALIGN),
            "ring memory is too small or not aligned"
        );
        let start = memory.as_mut_ptr().expose_provenance() as u64;
        let (rest, used) = memory.split_at_mut(layout.used);
        let (descriptors, rest) = rest.split_at_mut(layout.available);
        let (available, _gap) = rest.split_at_mut(layout.available_end - layout.available);
        let (available, rest) = available.split_at_mut(2 * HEAD_WORDS);
        let (heads, used_event) = rest.split_at_mut(usize::from(size) * 2);
        let (used, rest) = used.split_at_mut(2 * HEAD_WORDS);
        let (used_elements, rest) = rest.split_at_mut(usize::from(size) * 8);
        let (available_event, _) = rest.split_at_mut(2);
        assert!(
            !IN_TURN || pieces.is_power_of_two(),
            "chains of {pieces} do not go in turn"
        );
        let ring = Self {
            descriptors: Circle::new(words(descriptors)),
            available: one(available),
            heads: Circle::new(words(heads)),
            used_event: one(used_event),
            used: one(used),
            used_elements: Circle::new(words(used_elements)),
            available_event: one(available_event),
            place: QueuePlace {
                size,
                descriptors: start,
                available: start + layout.available as u64,
                used: start + layout.used as u64,
            },
            event_idx,
            ours: Circle::fill(size, |chain| Ours {
                frame: None,
                batch: 0,
                next: chain.wrapping_add(pieces),
                mark: M::default(),
            }),
            pieces,
            chains: size / pieces,
            free: size / pieces,
            free_head: 0,
            reclaimed: 0,
            pushed: 0,
            published: 0,
            batch: 0,
            taken: 0,
            known: 0,
            armed: false,
            broken: None,
        };
        if IN_TURN {
            // What is made available at each index, for ever.
            for index in 0..size {
                let chain = ring.turn(index) & (size - 1);
                ring.heads.at(index).store(chain, Relaxed);
            }
        }
        ring.be_quiet();
        ring
    }

    /// The chain that goes with an available index, if they go in turn: a number that
    /// goes round, too.
    #[inline(always)]
    fn turn(&self, index: u16) -> u16 {
        index.wrapping_mul(self.pieces)
    }

    /// Where the device finds it.
    pub fn place(&self) -> &QueuePlace {
        &self.place
    }

    /// How many frames it can hold.
    #[inline]
    pub fn chains(&self) -> u16 {
        self.chains
    }

    /// How many frames it holds less than it can.
    #[inline]
    pub fn room(&self) -> u16 {
        self.chains - self.lent()
    }

    /// Whether it can take one more.
    #[inline(always)]
    pub fn has_room(&self) -> bool {
        if IN_TURN {
            self.ours.at(self.turn(self.pushed)).frame.is_none()
        } else {
            self.free > 0
        }
    }

    /// How many frames the device has, or will have with the next publication.
    #[inline]
    pub fn lent(&self) -> u16 {
        let returned = self.taken.wrapping_add(self.reclaimed);
        self.pushed.wrapping_sub(returned)
    }

    /// How the device broke the ring, if it did.
    pub fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// What is lent, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Frame, &M)> {
        let ours = self.ours.all().iter();
        ours.filter_map(|ours| Some((ours.frame.as_ref()?, &ours.mark)))
    }

    /// Lends a frame to the device: `pieces` of it, as one chain. The device
    /// sees it with the next [`Ring::publish`].
    ///
    /// # Panics
    /// If there is no room, or a chain has not so many pieces, or one does not lie in
    /// the slot: the caller has looked.
    #[inline]
    pub fn push(&mut self, frame: Frame, mark: M, pieces: &[Piece]) {
        let count = pieces.len() as u16;
        let most = self.pieces;
        assert!(
            0 < count && count <= most,
            "{count} pieces, where a chain has {most}"
        );
        let head = self.head();
        let first = head & (self.place.size - 1);
        for (piece, next) in pieces.iter().zip(first + 1..) {
            let chained = if next < first + count { NEXT } else { 0 };
            let words = encode(&frame, piece, chained, next);
            self.write_descriptor(next - 1, words);
        }
        self.lend(head, frame, mark);
    }

    /// As [`Ring::push`] of one piece: what a card's every frame is, twice.
    ///
    /// # Panics
    /// As there.
    #[inline(always)]
    pub fn push_one(&mut self, frame: Frame, mark: M, piece: Piece) {
        let head = self.head();
        self.write_descriptor(head, encode(&frame, &piece, 0, 0));
        self.lend(head, frame, mark);
    }

    /// As [`Ring::push`], but with the chain in a table in the frame's own
    /// scratch, at byte `table`: it takes one descriptor of the ring.
    ///
    /// # Panics
    /// If there is no room, or a piece does not lie in the slot, or the table not in
    /// the scratch.
    pub fn push_indirect(&mut self, mut frame: Frame, mark: M, pieces: &[Piece], table: usize) {
        assert!(!pieces.is_empty(), "a chain of nothing");
        for (number, piece) in (0u16..).zip(pieces) {
            let is_last = usize::from(number) + 1 == pieces.len();
            write_entry(&mut frame, piece, table, number, is_last);
        }
        self.lend_table(frame, mark, table, pieces.len());
    }

    /// As [`Ring::push_indirect`], of the three pieces that every read and write has:
    /// in line and one by one, so that only what differs is computed.
    ///
    /// # Panics
    /// As there.
    #[inline(always)]
    pub fn push_table(&mut self, mut frame: Frame, mark: M, pieces: [Piece; 3], table: usize) {
        let [first, second, third] = pieces;
        write_entry(&mut frame, &first, table, 0, false);
        write_entry(&mut frame, &second, table, 1, false);
        write_entry(&mut frame, &third, table, 2, true);
        self.lend_table(frame, mark, table, 3);
    }

    /// Lends a table of `entries` descriptors, which lies in the frame's scratch.
    #[inline(always)]
    fn lend_table(&mut self, frame: Frame, mark: M, table: usize, entries: usize) {
        let bytes = entries * DESCRIPTOR_BYTES;
        assert!(
            table + bytes <= SCRATCH_BYTES,
            "the table lies in the scratch"
        );
        let piece = Piece {
            at: table,
            bytes,
            device_writes: false,
        };
        let head = self.head();
        self.write_descriptor(head, encode(&frame, &piece, INDIRECT, 0));
        self.lend(head, frame, mark);
    }

    /// The chain that is lent next.
    #[inline(always)]
    fn head(&self) -> u16 {
        assert!(self.has_room(), "a frame for a ring without room");
        if IN_TURN {
            self.turn(self.pushed)
        } else {
            self.free_head
        }
    }

    /// Lends it: its descriptors are written.
    #[inline(always)]
    fn lend(&mut self, head: u16, frame: Frame, mark: M) {
        let ours = self.ours.at_mut(head);
        ours.frame = Some(frame);
        ours.batch = self.batch;
        ours.mark = mark;
        if !IN_TURN {
            self.free_head = ours.next;
            self.free -= 1;
            // The device looks here only after the index below says so.
            self.heads.at(self.pushed).store(head, Relaxed);
        }
        self.pushed = self.pushed.wrapping_add(1);
    }

    #[inline(always)]
    fn write_descriptor(&mut self, descriptor: u16, words: [u64; 2]) {
        let place = self.descriptors.at(descriptor);
        place[0].store(words[0], Relaxed);
        place[1].store(words[1], Relaxed);
    }

    /// Shows the device everything that was pushed. True if it must be told.
    #[inline]
    #[must_use = "a device that is not told sleeps on"]
    pub fn publish(&mut self) -> bool {
        let before = self.published;
        if self.pushed == before || self.broken.is_some() {
            return false;
        }
        // Release: descriptors, heads and the frames' bytes are visible before
        // the index that names them (virtio 1.2, 2.7.13.3.1).
        self.available[INDEX].store(self.pushed, Release);
        self.published = self.pushed;
        self.batch = self.batch.wrapping_add(1);
        // The device stores its wish, then looks at our index; we store the
        // index, then look at its wish. Without a full fence both could look
        // first, and neither would act (virtio 1.2, 2.7.13.4.1).
        fence(SeqCst);
        if self.event_idx {
            passes(self.available_event.load(Relaxed), before, self.pushed)
        } else {
            self.used[FLAGS].load(Relaxed) & QUIET == 0
        }
    }

    /// The next frame that the device returned.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Returned> {
        if self.taken == self.known {
            self.look()?;
        }
        let element = self.used_elements.at(self.taken);
        let (id, written) = (element[0].load(Relaxed), element[1].load(Relaxed));
        if self.ours.has(id) {
            let ours = self.ours.at_mut(id as u16);
            // What is no chain's first descriptor lends nothing, as one that is free.
            if ours.batch != self.batch
                && let Some(frame) = ours.frame.take()
            {
                self.taken = self.taken.wrapping_add(1);
                if !IN_TURN {
                    ours.next = self.free_head;
                    self.free_head = id as u16;
                    self.free += 1;
                }
                return Some(Returned {
                    frame,
                    written,
                    chain: id as u16,
                });
            }
        }
        self.fail(Broken::Id);
        None
    }

    /// What the caller noted about a frame that was returned, and nothing was lent since.
    #[inline(always)]
    pub fn mark(&self, returned: &Returned) -> &M {
        &self.ours.at(returned.chain).mark
    }

    /// Reads the used index. `None` if nothing new is there.
    #[inline(always)]
    fn look(&mut self) -> Option<()> {
        if self.broken.is_some() {
            return None;
        }
        // Acquire: what the device wrote before the index is visible after it.
        let index = self.used[INDEX].load(Acquire);
        if index == self.taken {
            return None;
        }
        // The device can return what it was given and has not returned, no more.
        let returned = index.wrapping_sub(self.taken);
        if returned > self.published.wrapping_sub(self.taken) {
            self.fail(Broken::Index);
            return None;
        }
        self.known = index;
        Some(())
    }

    #[cold]
    fn fail(&mut self, how: Broken) {
        self.broken = Some(how);
        // What is not taken any more stays lent.
        let untaken = self.known.wrapping_sub(self.taken);
        self.reclaimed = self.reclaimed.wrapping_sub(untaken);
        self.taken = self.known;
    }

    /// Asks for an interrupt at the next return. True if something is there
    /// already, for which none will come.
    pub fn arm(&mut self) -> bool {
        self.armed = true;
        if self.event_idx {
            self.used_event.store(self.taken, Relaxed);
        } else {
            self.available[FLAGS].store(0, Relaxed);
        }
        // As in `publish`, from the other side: our wish is visible before we
        // look whether it comes too late (virtio 1.2, 2.7.14).
        fence(SeqCst);
        self.taken != self.known || self.look().is_some()
    }

    /// Takes the wish back.
    pub fn disarm(&mut self) {
        if self.armed {
            self.armed = false;
            self.be_quiet();
        }
    }

    /// Wants no interrupts. With event indices that can only be said by naming
    /// an index that was just passed: one interrupt comes after 65,535 returns.
    fn be_quiet(&self) {
        if self.event_idx {
            self.used_event.store(self.taken.wrapping_sub(1), Relaxed);
        } else {
            self.available[FLAGS].store(QUIET, Relaxed);
        }
    }

    /// A frame that the device had when it was reset; then the next one. The
    /// token says that the device touches nothing more.
    pub fn reclaim(&mut self, _: &Silent) -> Option<(Frame, M)> {
        // From here on it lends nothing: the device is out of service.
        let size = self.place.size;
        let mut ours = (0..size).filter(|chain| self.ours.at(*chain).frame.is_some());
        let chain = ours.next()?;
        let ours = self.ours.at_mut(chain);
        self.reclaimed = self.reclaimed.wrapping_add(1);
        Some((ours.frame.take()?, ours.mark))
    }
}

/// Whether an index that went from `before` to `after` passed `event`, so that
/// the other side wants to be told (virtio 1.2, 2.7.10). All three wrap, so what
/// is compared is how far each lies behind `after`.
#[inline]
fn passes(event: u16, before: u16, after: u16) -> bool {
    after.wrapping_sub(event).wrapping_sub(1) < after.wrapping_sub(before)
}

/// Panics. Its arguments are values, so that those of the good case need no memory.
#[cold]
#[inline(never)]
fn outside(at: usize, bytes: usize) -> ! {
    panic!("{bytes} bytes at {at} do not lie in a slot, clear of its notes");
}

/// The two words of a descriptor for `piece` of `frame`.
#[inline(always)]
fn encode(frame: &Frame, piece: &Piece, flags: u16, next: u16) -> [u64; 2] {
    let &Piece {
        at,
        bytes,
        device_writes,
    } = piece;
    let room = if at < SCRATCH_BYTES {
        SCRATCH_BYTES - at
    } else if at >= NET_HEADER {
        SLOT_BYTES.saturating_sub(at)
    } else {
        0
    };
    // One comparison: nothing at all wraps to more than there ever is.
    if bytes.wrapping_sub(1) >= room {
        outside(at, bytes);
    }
    let flags = flags | if device_writes { WRITE } else { 0 };
    [
        frame.bus_address() + at as u64,
        bytes as u64 | u64::from(flags) << 32 | u64::from(next) << 48,
    ]
}

/// Writes entry `number` of a table that begins at byte `table` of the scratch.
#[inline(always)]
fn write_entry(frame: &mut Frame, piece: &Piece, table: usize, number: u16, is_last: bool) {
    let (chained, next) = if is_last { (0, 0) } else { (NEXT, number + 1) };
    let [address, rest] = encode(frame, piece, chained, next);
    let at = table + usize::from(number) * DESCRIPTOR_BYTES;
    let entry = &mut frame.scratch_mut()[at..at + DESCRIPTOR_BYTES];
    entry[..8].copy_from_slice(&address.to_le_bytes());
    entry[8..].copy_from_slice(&rest.to_le_bytes());
}

/// A word that two sides may read and write at any time.
///
/// # Safety
/// Every pattern of bytes is a value, and a shared reference allows writing.
unsafe trait Word {}

// SAFETY: an atomic integer has no forbidden pattern and interior mutability.
unsafe impl Word for AtomicU16 {}
// SAFETY: an atomic integer has no forbidden pattern and interior mutability.
unsafe impl Word for AtomicU32 {}
// SAFETY: an atomic integer has no forbidden pattern and interior mutability.
unsafe impl Word for AtomicU64 {}

// SAFETY: an array of words is words.
unsafe impl<W: Word, const N: usize> Word for [W; N] {}

/// The one thing that `memory` is, shared as below.
fn one<W: Word>(memory: &'static mut [u8]) -> &'static W {
    words(memory)
        .first()
        .expect("the ring's layout has room for its words")
}

/// Makes memory into words that we and the device share from now on.
fn words<W: Word>(memory: &'static mut [u8]) -> &'static mut [W] {
    let words = memory.as_mut_ptr().cast::<W>();
    assert!(words.is_aligned(), "ring parts are aligned to their words");
    // SAFETY: the memory is ours for ever and no other reference to it exists,
    // as it was given by `&'static mut`; it is aligned (checked) and `len` words
    // fit; any bytes are words (`Word`), and the device that writes them too
    // finds atomic words, which the compiler expects to change.
    unsafe { slice::from_raw_parts_mut(words, memory.len() / size_of::<W>()) }
}

#[cfg(test)]
mod tests;
