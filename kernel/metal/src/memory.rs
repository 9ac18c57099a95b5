//! Memory that is given out once and never comes back.
//!
//! During start-up everyone who needs memory of any size takes it here: the
//! heap, the rings, the frames, RAM disks. The list of what is left is plain
//! arithmetic (`metal::map`); this file is where a range becomes a slice.

use crate::{arch, boot};
use core::ptr;
use metal::acpi;
use metal::map::{From, Map, Range};

/// Below this everything is mapped from the start, and every device reaches it.
const LOW: u64 = 1 << 32;

/// The machine's free memory.
pub struct Memory {
    map: Map,
    low_page: Option<Range>,
}

impl Memory {
    /// All that `map` says is free.
    ///
    /// # Safety
    /// What `map` lists is memory that nobody else uses, now or ever: no device,
    /// no part of this kernel. So is `low_page`, which `map` does not list. Called once.
    pub unsafe fn new(map: Map, low_page: Option<Range>) -> Self {
        Self { map, low_page }
    }

    /// A page below 1 MiB, where the first code of another processor has to lie.
    pub fn take_low_page(&mut self) -> Option<&'static mut [u8]> {
        self.low_page.take().map(as_slice)
    }

    /// Memory below 4 GiB, with whatever it holds.
    pub fn take(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]> {
        let range = self
            .map
            .take(bytes as u64, align as u64, LOW, From::Bottom)?;
        Some(&mut as_slice(range)[..bytes])
    }

    /// Memory at an address below 4 GiB, with whatever it holds, if it is free.
    pub fn take_at(&mut self, address: u64, bytes: usize) -> Option<&'static mut [u8]> {
        let range = Range::of(address, bytes as u64);
        let is_taken = range.end <= LOW && self.map.take_at(range);
        is_taken.then(|| as_slice(range))
    }

    /// Memory below 4 GiB: `bytes`, or as much as lies in one piece.
    pub fn take_most(&mut self, bytes: usize) -> Option<&'static mut [u8]> {
        let range = self.map.take_most(bytes as u64, LOW)?;
        let len = bytes.min(range.bytes() as usize);
        Some(&mut as_slice(range)[..len])
    }

    /// Memory below 4 GiB, zeroed.
    pub fn take_zeroed(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]> {
        let memory = self.take(bytes, align)?;
        memory.fill(0);
        Some(memory)
    }

    /// Memory from anywhere, zeroed: for large things that need not lie low. At
    /// least `reserve` bytes below 4 GiB stay free.
    pub fn take_large(&mut self, bytes: u64, reserve: u64) -> Option<&'static mut [u8]> {
        let mut rest = self.map.clone();
        let range = rest
            .take(bytes, 4096, u64::MAX, From::Top)
            .filter(|_| low_bytes(&rest) >= reserve)
            .filter(|range| arch::map_memory(range.start, range.bytes()))?;
        self.map = rest;
        let memory = &mut as_slice(range)[..bytes as usize];
        memory.fill(0);
        Some(memory)
    }

    /// Bytes that are free below 4 GiB.
    pub fn free_low(&self) -> u64 {
        low_bytes(&self.map)
    }

    /// Bytes the machine has.
    pub fn total(&self) -> u64 {
        self.map.total()
    }
}

/// What the firmware left, to look at. While somebody looks, `self` is borrowed,
/// so nothing is given out.
impl acpi::Memory for Memory {
    fn bytes(&self, address: u64, bytes: usize) -> Option<&[u8]> {
        let range = Range::of(address, bytes as u64);
        let image = boot::image();
        let is_ours = range.start < image.end && image.start < range.end;
        // Page 0 is not mapped.
        if range.start < 4096 || range.end == u64::MAX || is_ours {
            return None;
        }
        if range.end > LOW && !arch::map_memory(range.start, range.bytes()) {
            return None;
        }
        let start = ptr::with_exposed_provenance(range.start as usize);
        // SAFETY: it is mapped, and not part of this kernel. Memory of `map` is
        // given out only by `&mut self`; what is not in `map` is the firmware's,
        // which does not run while we do.
        Some(unsafe { core::slice::from_raw_parts(start, bytes) })
    }
}

fn low_bytes(map: &Map) -> u64 {
    let below = |range: &Range| range.end.min(LOW).saturating_sub(range.start);
    map.ranges().iter().map(below).sum()
}

/// The bytes of a range that `Map::take` gave out.
fn as_slice(range: Range) -> &'static mut [u8] {
    let start = ptr::with_exposed_provenance_mut(range.start as usize);
    // SAFETY: `Memory::new`'s caller vouches that this is memory which nobody
    // else uses; the map gives out no byte twice; it is mapped, below 4 GiB from
    // the start and above it by `take_large`. Any byte is a `u8`.
    unsafe { core::slice::from_raw_parts_mut(start, range.bytes() as usize) }
}
