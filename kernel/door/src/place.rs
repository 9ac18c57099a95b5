//! A place for the kernel in the loader's memory map.

/// Where the kernel can be: not in the first MiB, which is the firmware's, and not
/// above 4 GiB.
const FIRST: u64 = 1 << 20;
const END: u64 = 1 << 32;
const PAGE: u64 = 4096;
/// Memory that can be used; everything else can not (ACPI 6.5, table 15.3).
const USABLE: u32 = 1;

/// An entry of an E820 memory map.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Where it starts.
    pub start: u64,
    /// Its length.
    pub bytes: u64,
    /// What it is.
    pub kind: u32,
}

impl Entry {
    /// As it stands in `boot_params`.
    pub fn from_bytes(bytes: &[u8; 20]) -> Self {
        let [start, length] = [0, 8].map(|at| {
            let bytes = bytes[at..at + 8].try_into();
            u64::from_le_bytes(bytes.expect("eight bytes"))
        });
        let kind = bytes[16..].try_into().expect("four bytes");
        Self {
            start,
            bytes: length,
            kind: u32::from_le_bytes(kind),
        }
    }

    fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes)
    }
}

/// The lowest page from which on `bytes` are usable. Where entries overlap, memory
/// that can not be used wins.
pub fn below_4_gib(map: impl Iterator<Item = Entry> + Clone, bytes: u64) -> Option<u64> {
    let usable = map.clone().filter(|entry| entry.kind == USABLE);
    usable
        .filter_map(|entry| {
            let end = entry.end().min(END);
            let mut at = entry.start.max(FIRST).checked_next_multiple_of(PAGE)?;
            // Each turn goes past one entry that is in the way.
            loop {
                if at.checked_add(bytes)? > end {
                    return None;
                }
                let in_the_way = map.clone().find(|other| {
                    other.kind != USABLE && other.start < at + bytes && at < other.end()
                });
                match in_the_way {
                    Some(other) => at = other.end().checked_next_multiple_of(PAGE)?,
                    None => return Some(at),
                }
            }
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn place(map: &[(u64, u64, u32)], bytes: u64) -> Option<u64> {
        let map = map
            .iter()
            .map(|&(start, bytes, kind)| Entry { start, bytes, kind });
        below_4_gib(map, bytes)
    }

    #[test]
    fn the_first_mib_is_left_alone() {
        assert_eq!(
            place(&[(0, 640 << 10, 1), (MIB, 64 * MIB, 1)], 2 * MIB),
            Some(MIB)
        );
        assert_eq!(place(&[(0, 4 * MIB, 1)], 3 * MIB), Some(MIB));
        assert_eq!(place(&[(0, 4 * MIB, 1)], 3 * MIB + 1), None);
    }

    #[test]
    fn memory_above_4_gib_is_of_no_use() {
        assert_eq!(place(&[(1 << 32, 1 << 32, 1)], 1), None);
        let across = (1 << 32) - MIB;
        assert_eq!(place(&[(across, 2 * MIB, 1)], MIB), Some(across));
        assert_eq!(place(&[(across, 2 * MIB, 1)], MIB + 1), None);
    }

    #[test]
    fn what_can_not_be_used_wins_over_what_can() {
        let map = [(MIB, 64 * MIB, 1), (MIB, 100, 2), (8 * MIB, 1, 3)];
        assert_eq!(place(&map, MIB), Some(MIB + 4096));
        assert_eq!(place(&map, 7 * MIB), Some(8 * MIB + 4096));
        assert_eq!(place(&map, 7 * MIB - 4096), Some(MIB + 4096));
    }

    #[test]
    fn a_map_of_nonsense_gives_no_place_and_ends() {
        let all = (0, u64::MAX, 1);
        assert_eq!(place(&[all, (0, u64::MAX, 2)], MIB), None);
        assert_eq!(place(&[(u64::MAX, u64::MAX, 1)], MIB), None);
        assert_eq!(place(&[all], u64::MAX), None);
        assert_eq!(place(&[], 1), None);
    }

    #[test]
    fn the_lowest_place_is_taken_and_starts_a_page() {
        let map = [(32 * MIB, 8 * MIB, 1), (2 * MIB + 5, 8 * MIB, 1)];
        assert_eq!(place(&map, 4 * MIB), Some(2 * MIB + 4096));
    }

    #[test]
    fn an_entry_is_read_as_the_page_has_it() {
        let mut bytes = [0; 20];
        bytes[2] = 0x10;
        bytes[12] = 1;
        bytes[16] = 1;
        let entry = Entry::from_bytes(&bytes);
        assert_eq!((entry.start, entry.bytes, entry.kind), (MIB, 1 << 32, 1));
    }
}
