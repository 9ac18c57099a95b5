//! How the memory is shared out.
//!
//! A frame costs its slot and, in every device, a place in a ring and in the
//! lists of the driver: every place can hold every frame. So the number of
//! devices comes first, then the number of frames, then the heap for their lists.
//! What is left is for the rings. A small machine gets fewer frames; one that is
//! too small to serve is told so.

use io::{FRAMES_MAX, SLOT_BYTES};

/// Heap for what does not depend on frames or devices: settings, the fence, the
/// node's own lists, and the management plane with its connections, its capture and
/// a second set of settings (280 KiB).
const HEAP_BASE: u64 = 800 << 10;
/// Heap for one device, apart from its lists.
const HEAP_PER_DEVICE: u64 = 16 << 10;
/// Heap for one frame in the lists of one device.
const HEAP_PER_PLACE: u64 = 224;
/// Ring and table memory for one frame at one device: descriptors, both indices,
/// twice for a card.
const RING_PER_PLACE: u64 = 64;
/// Ring memory for one device, apart from frames: pages that are not filled, and
/// a frame for its own questions.
const RING_PER_DEVICE: u64 = 32 << 10;
/// Fewest frames that are worth starting with: eight cards of sixteen.
pub const FRAMES_MIN: usize = 128;
/// Frames that RAM disks must leave: two initiators with the usual window each.
const FRAMES_BESIDE_RAM: usize = 256;

/// Who gets how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Bytes of heap.
    pub heap: usize,
    /// How many frames.
    pub frames: usize,
}

impl Shares {
    /// The shares of `free` bytes with so many devices; `None` if it is too
    /// little to serve with.
    pub fn of(free: u64, devices: usize) -> Option<Self> {
        let (fixed, per_frame) = costs(devices);
        let devices = devices as u64;
        let room = free.checked_sub(fixed)? / per_frame;
        let frames = room.min(FRAMES_MAX as u64);
        let heap = HEAP_BASE + devices * (HEAP_PER_DEVICE + frames * HEAP_PER_PLACE);
        (frames >= FRAMES_MIN as u64).then_some(Self {
            heap: heap as usize,
            frames: frames as usize,
        })
    }
}

/// What RAM disks must leave below 4 GiB: the operator asked for them, so they
/// come before all frames but these.
pub const fn reserve(devices: usize) -> u64 {
    let (fixed, per_frame) = costs(devices);
    fixed + FRAMES_BESIDE_RAM as u64 * per_frame
}

/// How many further devices `free` bytes of heap are enough for, beside what does
/// not depend on them.
pub fn devices_in(free: u64, frames: usize) -> u64 {
    free.saturating_sub(HEAP_BASE) / (HEAP_PER_DEVICE + frames as u64 * HEAP_PER_PLACE)
}

/// Bytes for so many devices, apart from frames, and bytes for each frame.
const fn costs(devices: usize) -> (u64, u64) {
    let devices = devices as u64;
    let fixed = HEAP_BASE + devices * (HEAP_PER_DEVICE + RING_PER_DEVICE);
    let per_frame = SLOT_BYTES as u64 + devices * (HEAP_PER_PLACE + RING_PER_PLACE);
    (fixed, per_frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_large_machine_has_all_frames_and_no_larger_heap_than_it_needs() {
        let small = Shares::of(64 * MIB, 2).unwrap();
        assert_eq!(small.frames, FRAMES_MAX);
        assert_eq!(Shares::of(1 << 40, 2), Some(small));
        assert!((small.heap as u64) < 2 * MIB);
    }

    #[test]
    fn a_machine_of_8_mib_with_a_card_and_a_disk_has_hundreds_of_frames() {
        let shares = Shares::of(6 * MIB, 2).unwrap();
        assert!((400..FRAMES_MAX).contains(&shares.frames));
    }

    #[test]
    fn what_is_given_out_is_never_more_than_there_is() {
        for free in (0..40 * MIB).step_by(99_991) {
            for devices in [0, 1, 2, 18, 255] {
                let Some(shares) = Shares::of(free, devices) else {
                    continue;
                };
                let devices = devices as u64;
                let rings = devices * (RING_PER_DEVICE + shares.frames as u64 * RING_PER_PLACE);
                let slots = shares.frames as u64 * SLOT_BYTES as u64;
                assert!(shares.heap as u64 + slots + rings <= free);
            }
        }
    }

    #[test]
    fn what_ram_disks_leave_is_enough_to_serve_them() {
        for devices in 0..255 {
            let shares = Shares::of(reserve(devices), devices).unwrap();
            assert_eq!(shares.frames, FRAMES_BESIDE_RAM);
        }
    }

    #[test]
    fn too_little_memory_is_said_to_be_too_little() {
        assert_eq!(Shares::of(0, 0), None);
        assert_eq!(Shares::of(MIB, 2), None);
        let least = HEAP_BASE + (FRAMES_MIN * SLOT_BYTES) as u64;
        assert_eq!(Shares::of(least - 1, 0), None);
        assert_eq!(Shares::of(least, 0).unwrap().frames, FRAMES_MIN);
    }
}
