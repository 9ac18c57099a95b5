//! VHD, fixed: the raw disk and a footer (Microsoft, "Virtual Hard Disk Image
//! Format Specification" 1.0).

use super::Page;

const FOOTER_BYTES: usize = 512;
const CHECKSUM: usize = 64;
/// Type of disk: fixed.
const FIXED: u32 = 2;

/// `disk` as a VHD file.
pub fn vhd(disk: &[u8], uuid: [u8; 16]) -> Vec<u8> {
    let bytes = (disk.len() as u64).to_be_bytes();
    let mut footer = Page::new(FOOTER_BYTES);
    footer.put(0, b"conectix");
    // Features: none but the bit that is always set. Version 1.0.
    footer.put(8, 2_u32.to_be_bytes());
    footer.put(12, 0x1_0000_u32.to_be_bytes());
    // No further header. No date. Created by us, on whatever system.
    footer.put(16, u64::MAX.to_be_bytes());
    footer.put(28, b"ubld");
    footer.put(32, 0x1_0000_u32.to_be_bytes());
    footer.put(40, bytes);
    footer.put(48, bytes);
    footer.put(56, geometry(disk.len() / 512));
    footer.put(60, FIXED.to_be_bytes());
    footer.put(68, uuid);
    let checksum = checksum(&footer.0);
    footer.put(CHECKSUM, checksum.to_be_bytes());
    let mut file = disk.to_vec();
    file.extend(footer.0);
    file
}

/// The sum of all bytes but those of the sum, inverted.
fn checksum(footer: &[u8]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    !(sum(&footer[..CHECKSUM]) + sum(&footer[CHECKSUM + 4..]))
}

/// Cylinders, heads and sectors of a small disk (the specification's appendix).
fn geometry(sectors: usize) -> [u8; 4] {
    const PER_TRACK: usize = 17;
    const HEADS: usize = 4;
    let cylinders = sectors / PER_TRACK / HEADS;
    assert!(cylinders <= 1024, "larger disks are counted otherwise");
    let [high, low] = (cylinders as u16).to_be_bytes();
    [high, low, HEADS as u8, PER_TRACK as u8]
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;
    use crate::disk;

    #[test]
    fn the_disk_comes_first_and_the_footer_sums_up() {
        let disk = sample();
        let file = vhd(&disk, [5; 16]);
        assert_eq!(file[..disk.len()], disk);
        let footer = &file[disk.len()..];
        let stored = u32::from_be_bytes(footer[64..68].try_into().unwrap());
        let all: u32 = footer.iter().map(|&byte| u32::from(byte)).sum();
        let own: u32 = footer[64..68].iter().map(|&byte| u32::from(byte)).sum();
        assert_eq!(stored, !(all - own));
    }

    #[test]
    fn a_reader_that_counts_cylinders_still_sees_all_partitions() {
        let [high, low, heads, per_track] = geometry(disk::SECTORS as usize);
        let cylinders = u32::from(u16::from_be_bytes([high, low]));
        let seen = cylinders * u32::from(heads) * u32::from(per_track);
        assert!(seen <= disk::SECTORS);
        assert!(disk::BOOT.first + disk::BOOT.sectors <= seen);
    }
}
