//! What the disk says of itself: its features, its size, and its habits.

use crate::Transport;
use io::{DiscardLimits, Geometry, WriteCache};

/// Features of a disk (virtio 1.2, 5.2.3).
pub(super) const SIZE_MAX: u64 = 1 << 1;
pub(super) const READ_ONLY: u64 = 1 << 5;
pub(super) const BLK_SIZE: u64 = 1 << 6;
pub(super) const FLUSH: u64 = 1 << 9;
pub(super) const TOPOLOGY: u64 = 1 << 10;
pub(super) const CONFIG_WCE: u64 = 1 << 11;
pub(super) const DISCARD: u64 = 1 << 13;

/// Its configuration (virtio 1.2, 5.2.4).
pub(super) mod config {
    pub const CAPACITY: [u16; 2] = [0, 4];
    pub const SIZE_MAX: u16 = 8;
    pub const BLK_SIZE: u16 = 20;
    pub const PHYSICAL_EXPONENT: u16 = 24;
    pub const ALIGNMENT_OFFSET: u16 = 25;
    pub const WRITEBACK: u16 = 32;
    pub const DISCARD_SECTORS_MAX: u16 = 36;
}

/// How often the capacity is read again when it changes under our eyes.
const CONFIG_READS_MAX: u32 = 4;

/// Size and habits as the disk tells them now. `None` if it tells no size, or
/// changes it faster than we read.
#[cold]
pub(super) fn read(transport: &impl Transport, features: u64) -> Option<Geometry> {
    let has = |feature| features & feature != 0;
    for _ in 0..CONFIG_READS_MAX {
        let generation = transport.generation();
        let [low, high] = config::CAPACITY.map(|offset| transport.config_u32(offset));
        let sectors = u64::from(low?) | u64::from(high?) << 32;
        let (mut physical_exponent, mut alignment_offset) = (0, 0);
        if has(TOPOLOGY) {
            let exponent = transport.config_u8(config::PHYSICAL_EXPONENT)?;
            let aligned = transport.config_u8(config::ALIGNMENT_OFFSET)?;
            (physical_exponent, alignment_offset) = topology(exponent, aligned);
        }
        // Whoever can flush and does not say otherwise has a volatile cache
        // (virtio 1.2, 5.2.5.2).
        let writeback =
            !has(CONFIG_WCE) || transport.config_u8(config::WRITEBACK).unwrap_or(1) != 0;
        let write_cache = if has(FLUSH) && writeback {
            WriteCache::Volatile
        } else {
            WriteCache::None
        };
        let discard = has(DISCARD)
            .then(|| transport.config_u32(config::DISCARD_SECTORS_MAX))
            .flatten()
            .filter(|&sectors_max| sectors_max > 0)
            .map(|sectors_max| DiscardLimits { sectors_max });
        if transport.generation() == generation {
            return Some(Geometry {
                sectors,
                physical_exponent,
                alignment_offset,
                read_only: has(READ_ONLY),
                write_cache,
                discard,
            });
        }
    }
    None
}

/// Physical blocks, from what the disk says: how large they are, as a power of
/// two of sectors, and where the first one starts. ATA counts the other way: from
/// sector 0 back to the start of the block that it lies in. What makes no sense
/// is left out: it is only advice.
pub(super) fn topology(exponent: u8, first_aligned: u8) -> (u8, u16) {
    // ATA has four bits for the exponent.
    if exponent > 15 {
        return (0, 0);
    }
    let block = 1u32 << exponent;
    let first_aligned = u32::from(first_aligned);
    if first_aligned == 0 || first_aligned >= block {
        return (exponent, 0);
    }
    (exponent, (block - first_aligned) as u16)
}
