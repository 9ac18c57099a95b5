//! Which sectors of which disk an export is: the whole disk, or a slice of it.
//!
//! An export counts its sectors from 0; the disk counts its own. The node asks
//! here last before a disk is touched, and again for a request that has waited:
//! a disk may have shrunk meanwhile, and a sector outside is never touched,
//! whoever let the request in.

/// An unbroken run of a disk's sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Index of the disk.
    pub disk: u8,
    /// The disk's sector that is our sector 0.
    pub first: u64,
    /// How many sectors are ours.
    pub sectors: u64,
}

/// Exports end on a multiple of this. A capacity that is odd makes Linux read and
/// write single sectors, and most file systems want 4 KiB anyway.
pub const GRAIN_SECTORS: u64 = 8;

impl Volume {
    /// The disk's own address of `sectors` sectors from `lba` on, if all of them
    /// are ours.
    #[inline]
    pub fn locate(&self, lba: u64, sectors: u32) -> Option<u64> {
        let end = lba.checked_add(sectors.into());
        if end.is_some_and(|end| end <= self.sectors) {
            self.first.checked_add(lba)
        } else {
            None
        }
    }

    /// Whether the two have a sector in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.disk == other.disk
            && self.first < other.first.saturating_add(other.sectors)
            && other.first < self.first.saturating_add(self.sectors)
    }

    /// What is left of `self` on a disk of `disk_sectors`, and how many sectors
    /// the rounding to [`GRAIN_SECTORS`] leaves unused.
    pub fn within(&self, disk_sectors: u64) -> (Self, u64) {
        let room = disk_sectors.saturating_sub(self.first).min(self.sectors);
        let sectors = room - room % GRAIN_SECTORS;
        (Self { sectors, ..*self }, room - sectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: Volume = Volume {
        disk: 0,
        first: 100,
        sectors: 16,
    };

    #[test]
    fn the_last_sector_is_ours_and_the_next_is_not() {
        assert_eq!(SLICE.locate(0, 16), Some(100));
        assert_eq!(SLICE.locate(15, 1), Some(115));
        assert_eq!(SLICE.locate(15, 2), None);
        assert_eq!(SLICE.locate(16, 1), None);
        assert_eq!(SLICE.locate(u64::MAX, 1), None);
        assert_eq!(SLICE.locate(u64::MAX, u32::MAX), None);
    }

    #[test]
    fn slices_that_touch_do_not_overlap() {
        let at = |first, sectors| Volume {
            disk: 0,
            first,
            sectors,
        };
        assert!(!SLICE.overlaps(&at(116, 8)));
        assert!(SLICE.overlaps(&at(115, 8)));
        assert!(!SLICE.overlaps(&at(92, 8)));
        assert!(SLICE.overlaps(&at(92, 9)));
        assert!(!SLICE.overlaps(&Volume { disk: 1, ..SLICE }));
    }

    #[test]
    fn a_volume_is_cut_to_the_disk_and_to_whole_blocks() {
        assert_eq!(SLICE.within(200), (SLICE, 0));
        assert_eq!(SLICE.within(115).0.sectors, 8);
        assert_eq!(SLICE.within(115).1, 7);
        assert_eq!(SLICE.within(100).0.sectors, 0);
        assert_eq!(SLICE.within(0).0.sectors, 0);
    }
}
