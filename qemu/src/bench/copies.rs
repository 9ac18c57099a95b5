//! How many bytes of a request's data the processor copies.
//!
//! Counted, not claimed: the plugin adds up the bytes of every store to memory,
//! wherever it goes and whatever instruction made it. Headers, rings and lists are
//! stored to for every request, and for a large one no more often than for a small
//! one. So what is stored for a request of 17 sectors beyond what is stored for one of a
//! single sector is data, and data that the processor stores is a copy: the devices'
//! own writes are not the processor's.
//!
//! That the counter would see a copy is shown beside it: a RAM disk has nothing else
//! than the processor to move its sectors.

use super::counter::Watch;
use super::counts::{Effort, cheapest, counted, counted_on_memory};
use super::load::{Access, Load, Order};
use super::target::{Place, Serving, Target};
use crate::Failure;
use crate::pattern::SECTOR_BYTES;
use std::fmt;

/// The small and the large request.
const SECTORS: [u8; 2] = [1, 17];
/// How much more data the large one has.
pub const MORE_BYTES: f64 = (SECTOR_BYTES * 16) as f64;

/// What is no copy yet. A copy is all of the data; a busy host brings large requests in
/// smaller drips than small ones, and each drip is a turn of the loop, which stores some
/// hundred bytes of its own.
const COPIED_MAX: f64 = MORE_BYTES / 4.0;

/// Bytes of data that the processor stored for a request, of [`MORE_BYTES`].
#[derive(Clone, Copy, Debug)]
pub struct Copies {
    /// Reading from a disk that is a device.
    pub read: f64,
    /// Writing to it.
    pub write: f64,
    /// Reading from a RAM disk: what a copy looks like.
    pub read_of_memory: f64,
}

impl Copies {
    /// Fails if the node copies, or if the counter would not have seen it.
    pub fn check(self) -> Result<Self, Failure> {
        let Self {
            read,
            write,
            read_of_memory,
        } = self;
        if read_of_memory < 0.9 * MORE_BYTES {
            return Err(Failure::new(format!(
                "a RAM disk copies {MORE_BYTES} bytes, of which {read_of_memory:.0} were seen"
            )));
        }
        if read.max(write) > COPIED_MAX {
            return Err(Failure::new(format!(
                "the processor copies data: {read:.0} bytes of a read and {write:.0} of a write, of {MORE_BYTES}"
            )));
        }
        Ok(self)
    }
}

impl Copies {
    /// The fewer of two counts: a busy host only adds.
    #[must_use]
    pub fn or(self, again: Self) -> Self {
        Self {
            read: self.read.min(again.read),
            write: self.write.min(again.write),
            read_of_memory: self.read_of_memory.max(again.read_of_memory),
        }
    }
}

impl fmt::Display for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bytes that the processor copies, of {MORE_BYTES} more in a request: {:.0} of a read, {:.0} of a write; {:.0} where a RAM disk is read, which has to",
            self.read, self.write, self.read_of_memory
        )
    }
}

/// Counts, in two machines.
pub fn copies(place: &Place) -> Result<Copies, Failure> {
    let mut device = counted(place, Target::Ublade, Watch::Memory)?;
    let read = more_stored(&mut device, Access::Read)?;
    let write = more_stored(&mut device, Access::Write)?;
    drop(device);
    let mut memory = counted_on_memory(place)?;
    Ok(Copies {
        read,
        write,
        read_of_memory: more_stored(&mut memory, Access::Read)?,
    })
}

/// What is stored for a large request beyond what is stored for a small one.
fn more_stored(serving: &mut Serving, access: Access) -> Result<f64, Failure> {
    let mut stored = [0.0; SECTORS.len()];
    for (stored, sectors) in stored.iter_mut().zip(SECTORS) {
        let load = Load {
            access,
            order: Order::Sequential,
            sectors,
            depth: 32,
        };
        *stored = cheapest(serving, load, Effort::for_copies())?.stored;
    }
    // What is left of the turns may differ a little, either way.
    Ok((stored[1] - stored[0]).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_a_failure_and_a_blind_counter_proves_nothing() {
        let check = |read, write, read_of_memory| {
            let copies = Copies {
                read,
                write,
                read_of_memory,
            };
            copies.check().is_ok()
        };
        assert!(check(0.0, COPIED_MAX, MORE_BYTES));
        assert!(!check(COPIED_MAX + 1.0, 0.0, MORE_BYTES));
        assert!(!check(0.0, MORE_BYTES, MORE_BYTES));
        assert!(!check(0.0, 0.0, 0.0));
    }
}
