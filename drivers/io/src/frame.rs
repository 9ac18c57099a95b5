//! A frame: one slot of memory that is a request from the wire to the disk and back.
//!
//! ```text
//! slot, 9,216 bytes = 18 sectors, 512-aligned
//! 0         448     464        476                        512                 9216
//! | scratch | notes | network  | Ethernet 14 · AoE 10 ·   | data: up to 17    |
//! |         |       | header 12| ATA 12                   | aligned sectors   |
//! ```
//! The wire headers end where the first sector begins, and share one 64-byte
//! cache line with the header that a network device wants in front and with what
//! we note about the frame. So a `Frame` is one pointer: it moves through rings
//! and lists in a register, and its notes come with the line that is read anyway.
//!
//! A `Frame` is the only handle to its slot and is moved, never copied. A device
//! that may still touch the slot holds the `Frame`, so holding it is the right
//! to look and to change. A frame that is dropped is memory lost until the next
//! start; nothing on the data path drops one.

use crate::Instant;
use core::fmt;
use core::mem::offset_of;
use core::ptr::NonNull;

/// Bytes of a slot: 18 sectors.
pub const SLOT_BYTES: usize = 9216;
/// Bytes at the start of a slot for the driver that holds the frame: request
/// headers, status bytes, descriptor tables.
pub const SCRATCH_BYTES: usize = 448;
/// Where the network header starts in the slot.
pub const NET_HEADER: usize = 464;
/// Bytes of the network header (virtio 1.2, 5.1.6: 12 bytes).
pub const NET_HEADER_BYTES: usize = 12;
/// Where the wire bytes start in the slot.
pub const WIRE: usize = NET_HEADER + NET_HEADER_BYTES;
/// Most wire bytes a slot holds: 36 bytes of headers and 17 sectors.
pub const WIRE_BYTES: usize = SLOT_BYTES - WIRE;
/// Where the data of an untagged ATA request starts in the slot.
pub const DATA: usize = 512;
/// Most frames a machine has: every ring and list can hold this many.
pub const FRAMES_MAX: usize = 1024;

const _: () = assert!(
    WIRE + 14 + 10 + 12 == DATA,
    "wire headers end where sectors begin"
);
const _: () = assert!(
    WIRE_BYTES == 36 + 17 * 512,
    "a 9,000-byte MTU carries 17 sectors"
);
const _: () = assert!(
    SLOT_BYTES.is_multiple_of(512),
    "slots stay sector-aligned side by side"
);
const _: () = assert!(
    SCRATCH_BYTES.is_multiple_of(64) && DATA - SCRATCH_BYTES == 64,
    "notes and headers are one cache line"
);

/// What a slot holds. No device is given a piece that touches the notes.
#[repr(C, align(512))]
struct Slot {
    scratch: [u8; SCRATCH_BYTES],
    posted_at: Instant,
    len: u16,
    home: u8,
    receives_again: u8,
    progress: u32,
    net_header: [u8; NET_HEADER_BYTES],
    wire: [u8; WIRE_BYTES],
}
const _: () = assert!(size_of::<Slot>() == SLOT_BYTES);
const _: () = assert!(offset_of!(Slot, net_header) == NET_HEADER);
const _: () = assert!(offset_of!(Slot, wire) == WIRE);

/// The only handle to one slot. See the module's header.
#[must_use = "a frame that is dropped is lost"]
pub struct Frame(NonNull<Slot>);

// SAFETY: a `Frame` is the only handle to its slot (not `Clone`, made only by
// `carve`), so moving it to another core moves all access to the slot.
unsafe impl Send for Frame {}

/// Bytes of a slot that are zeroed when it becomes a frame: all but the room for
/// sectors, and of that as much as the shortest frame on a wire is padded with.
const CLEARED: usize = DATA + 64;

/// Cuts `memory` into frames; what is left at both ends stays unused. The
/// memory is theirs for ever.
///
/// Where sectors go, what lay there before stays until some are received or read into
/// it: a frame is never longer than what was put into it. That is no weaker than what
/// holds later, when the last request of somebody else lies there, and clearing nine
/// megabytes was a third of the node's start under software emulation.
pub fn carve(memory: &'static mut [u8]) -> impl Iterator<Item = Frame> {
    let offset = memory.as_ptr().align_offset(512).min(memory.len());
    memory[offset..]
        .as_chunks_mut::<SLOT_BYTES>()
        .0
        .iter_mut()
        .map(|slot| {
            slot[..CLEARED].fill(0);
            Frame(NonNull::from(slot).cast())
        })
}

impl Frame {
    /// The wire bytes: what was received, or what is to be sent.
    #[inline]
    pub fn wire(&self) -> &[u8] {
        &self.slot().wire[..self.len()]
    }

    /// All the room for wire bytes, whatever the length is now.
    #[inline]
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        &mut self.slot_mut().wire
    }

    /// Bytes that are set as the wire length.
    #[inline]
    pub fn len(&self) -> usize {
        self.slot().len.into()
    }

    /// Whether there are no wire bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.slot().len == 0
    }

    /// Sets the wire length, at most [`WIRE_BYTES`].
    ///
    /// # Panics
    /// If `len` is larger: whoever computed it computed wrongly.
    #[inline]
    pub fn set_len(&mut self, len: usize) {
        if len > WIRE_BYTES {
            too_long(len);
        }
        self.slot_mut().len = len as u16;
    }

    /// The driver's own bytes at the start of the slot.
    #[inline]
    pub fn scratch_mut(&mut self) -> &mut [u8; SCRATCH_BYTES] {
        &mut self.slot_mut().scratch
    }

    /// The driver's own bytes, to read.
    #[inline]
    pub fn scratch(&self) -> &[u8; SCRATCH_BYTES] {
        &self.slot().scratch
    }

    /// The network header in front of the wire bytes.
    #[inline]
    pub fn net_header_mut(&mut self) -> &mut [u8; NET_HEADER_BYTES] {
        &mut self.slot_mut().net_header
    }

    /// Where a device finds the slot's first byte. Memory is mapped one to one,
    /// so a pointer is a bus address; an IOMMU is left as the firmware left it. The
    /// provenance is exposed, because the device writes by this number.
    #[inline]
    pub fn bus_address(&self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// The port that this frame receives for.
    #[inline]
    pub fn home(&self) -> u8 {
        self.slot().home
    }

    /// Gives the frame to a port, for ever.
    pub fn set_home(&mut self, port: u8) {
        self.slot_mut().home = port;
    }

    /// When the frame's present duty began. Lent to a NIC, it says that what the
    /// frame holds can not have arrived earlier; once the request is taken over,
    /// the node notes that moment here instead, and counts its latency from it.
    #[inline]
    pub fn posted_at(&self) -> Instant {
        self.slot().posted_at
    }

    /// Notes when a new duty begins.
    #[inline]
    pub fn set_posted_at(&mut self, now: Instant) {
        self.slot_mut().posted_at = now;
    }

    /// How far a request has come that is done in several parts: sectors of it that a
    /// disk has done or is doing.
    pub fn progress(&self) -> u32 {
        self.slot().progress
    }

    /// Notes how far it is.
    pub fn set_progress(&mut self, sectors: u32) {
        self.slot_mut().progress = sectors;
    }

    /// Whether the frame is to receive again when it has been sent, without being
    /// handed back first. Means nothing unless whoever sends it has just said so.
    #[inline]
    pub fn receives_again(&self) -> bool {
        self.slot().receives_again != 0
    }

    /// Says so, or that it is to be handed back.
    #[inline]
    pub fn set_receives_again(&mut self, receives_again: bool) {
        self.slot_mut().receives_again = receives_again.into();
    }

    #[inline]
    fn slot(&self) -> &Slot {
        // SAFETY: the pointer is to memory that `carve` took for ever, as long and
        // as aligned as a `Slot`, which any bytes are one of. This `Frame` is its
        // only handle and is borrowed, so nobody writes until the borrow ends; a
        // device that writes holds the `Frame`.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn slot_mut(&mut self) -> &mut Slot {
        // SAFETY: as in `slot`, and the `Frame` is borrowed exclusively.
        unsafe { self.0.as_mut() }
    }
}

/// Panics. Its argument is a value, so that that of the good case needs no memory.
#[cold]
#[inline(never)]
fn too_long(len: usize) -> ! {
    panic!("a slot holds {WIRE_BYTES} wire bytes, not {len}");
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Frame({:#x}, {} bytes, port {})",
            self.bus_address(),
            self.len(),
            self.home()
        )
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn frames(bytes: usize) -> Vec<Frame> {
        carve(vec![0xaa; bytes].leak()).collect()
    }

    #[test]
    fn frames_are_aligned_disjoint_and_zeroed_up_to_their_sectors() {
        let mut frames = frames(10 * SLOT_BYTES);
        assert!(frames.len() >= 9, "at most one slot is lost to alignment");
        for frame in &mut frames {
            assert_eq!(frame.bus_address() % 512, 0);
            let (head, sectors) = frame.buffer_mut().split_at(CLEARED - WIRE);
            assert!(head.iter().all(|&byte| byte == 0));
            assert!(head.len() >= 64, "what the shortest frame is padded with");
            assert!(sectors.iter().all(|&byte| byte == 0xaa), "not touched");
            assert!(frame.scratch().iter().all(|&byte| byte == 0));
            assert_eq!((frame.len(), frame.posted_at()), (0, Instant(0)));
        }
        for pair in frames.windows(2) {
            assert!(pair[0].bus_address() + SLOT_BYTES as u64 <= pair[1].bus_address());
        }
    }

    #[test]
    fn memory_too_small_for_a_slot_gives_no_frame() {
        assert!(frames(0).is_empty());
        assert!(frames(SLOT_BYTES - 1).is_empty());
    }

    #[test]
    fn wire_is_as_long_as_it_was_set() {
        let mut frame = frames(2 * SLOT_BYTES).remove(0);
        frame.buffer_mut()[..3].copy_from_slice(&[1, 2, 3]);
        frame.set_len(3);
        assert_eq!(frame.wire(), [1, 2, 3]);
        frame.set_len(WIRE_BYTES);
        assert_eq!(frame.wire().len(), WIRE_BYTES);
    }

    #[test]
    #[should_panic(expected = "wire bytes")]
    fn wire_longer_than_the_slot_is_a_broken_invariant() {
        frames(2 * SLOT_BYTES).remove(0).set_len(WIRE_BYTES + 1);
    }
}
