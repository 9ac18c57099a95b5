//! IDENTIFY DEVICE: what the disk says of itself (ATA8-ACS 7.16).
//!
//! 256 little-endian words, nearly all zero. Everything said here must be true:
//! a feature is claimed only if its command is served, a cache only if it is
//! switched on by the operator's choice. Texts have the first character of each
//! pair in the *upper* byte of its word, so on the wire the pairs look swapped.

use crate::ata::{LBA28_MAX, LBA48_MAX};
use crate::limits::SECTOR_BYTES;
use crate::medium::{Cache, Medium};

/// The block, as bytes of a frame.
pub(crate) type Block = [u8; SECTOR_BYTES];

/// What is in force now, beside what the medium is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    /// When a write is acknowledged.
    pub cache: Cache,
    /// SMART has not been switched off.
    pub smart: bool,
    /// Most sectors that a frame of this port carries.
    pub sectors_max: u8,
}

/// Heads and sectors per track that everybody pretends.
const HEADS: u16 = 16;
const TRACK_SECTORS: u16 = 63;
/// Most cylinders that the old geometry can say.
const CYLINDERS_MAX: u64 = 16_383;

/// Word 82 and 85.
const SMART: u16 = 1;
const WRITE_CACHE: u16 = 1 << 5;
/// Word 83 and 86.
const LBA48: u16 = 1 << 10;
const FLUSH: u16 = 1 << 12;
const FLUSH_EXT: u16 = 1 << 13;
/// In words 83, 84, 87, 106 and 209: the word is valid.
const VALID: u16 = 1 << 14;

/// Fills `block`.
pub(crate) fn write(block: &mut Block, medium: &Medium, in_force: InForce) {
    block.fill(0);
    let sectors = medium.sectors.min(LBA48_MAX);
    let cylinders = (sectors / u64::from(HEADS * TRACK_SECTORS)).min(CYLINDERS_MAX) as u16;
    let offered = |bit, is_offered: bool| if is_offered { bit } else { 0 };

    // LBA in word 49 (Plan 9 refuses a disk without it), 48-bit in 83 and
    // 86 (iPXE asks the first, Linux either), both capacities.
    set(block, 0, 0x0040); // ATA, fixed
    for (word, value) in [(1, cylinders), (3, HEADS), (6, TRACK_SECTORS)] {
        set(block, word, value);
    }
    set_text(block, 10, &medium.serial);
    set_text(block, 23, &medium.firmware);
    set_text(block, 27, &medium.model);
    set(block, 47, 0x8000);
    set(block, 49, 1 << 9); // LBA, no DMA
    set(block, 50, VALID);
    set(block, 53, 1); // words 54 to 58 count
    for (word, value) in [(54, cylinders), (55, HEADS), (56, TRACK_SECTORS)] {
        set(block, word, value);
    }
    let chs = u64::from(cylinders) * u64::from(HEADS * TRACK_SECTORS);
    set_words::<2>(block, 57, chs);
    set_words::<2>(block, 60, sectors.min(LBA28_MAX));
    set(block, 80, 0x01f0); // ATA-4 to ATA8-ACS

    // what is claimed is served, and what is said to be on is on.
    let write_back = medium.cache == Cache::WriteBack;
    let smart = medium.health.is_some();
    set(
        block,
        82,
        offered(SMART, smart) | offered(WRITE_CACHE, write_back),
    );
    set(block, 83, VALID | FLUSH_EXT | FLUSH | LBA48);
    set(block, 84, VALID);
    let cache_is_on = in_force.cache == Cache::WriteBack;
    set(
        block,
        85,
        offered(SMART, smart && in_force.smart) | offered(WRITE_CACHE, cache_is_on),
    );
    set(block, 86, FLUSH_EXT | FLUSH | LBA48);
    set(block, 87, VALID);
    set(block, 93, 0x400b); // as after a hardware reset, device 0
    set_words::<4>(block, 100, sectors);
    if medium.discard && !medium.read_only {
        // Word 69 stays 0: what is read after a discard is promised by nobody.
        set(block, 105, in_force.sectors_max.into());
        set(block, 169, 1);
    }
    if medium.physical_exponent > 0 {
        // sectors are 512 bytes whatever the medium's own blocks are.
        let several_sectors = 1 << 13;
        let exponent = u16::from(medium.physical_exponent.min(15));
        set(block, 106, VALID | several_sectors | exponent);
        set(block, 209, VALID | medium.alignment_offset & (VALID - 1));
    }
    set(block, 217, 1); // does not rotate

    // the signature, and a checksum that makes the sum of all bytes 0.
    block[510] = 0xa5;
    block[511] = checksum(block);
}

/// What the last byte must be so that the sum of all bytes is 0.
pub(crate) fn checksum(block: &Block) -> u8 {
    let sum = block[..511]
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    sum.wrapping_neg()
}

fn set(block: &mut Block, word: usize, value: u16) {
    block[2 * word..2 * word + 2].copy_from_slice(&value.to_le_bytes());
}

/// The lower `N` words of `value`.
fn set_words<const N: usize>(block: &mut Block, word: usize, value: u64) {
    for index in 0..N {
        set(block, word + index, (value >> (16 * index)) as u16);
    }
}

/// what is not printable ASCII becomes a space, since hosts show it.
fn set_text(block: &mut Block, word: usize, text: &[u8]) {
    let shown = |byte: u8| {
        if matches!(byte, b' '..=b'~') {
            byte
        } else {
            b' '
        }
    };
    for (index, pair) in text.as_chunks::<2>().0.iter().enumerate() {
        set(block, word + index, u16::from_be_bytes(pair.map(shown)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::Health;
    use sha2::{Digest, Sha256};

    fn medium() -> Medium {
        Medium {
            sectors: 65_536,
            physical_exponent: 0,
            alignment_offset: 0,
            read_only: false,
            cache: Cache::WriteThrough,
            discard: false,
            health: None,
            serial: *b"e5.7:020000000002   ",
            model: *b"ublade AoE target                       ",
            firmware: *b"0.1     ",
        }
    }

    const PLAIN: InForce = InForce {
        cache: Cache::WriteThrough,
        smart: true,
        sectors_max: 2,
    };

    fn block(medium: &Medium, in_force: InForce) -> Block {
        let mut block = [0xee; SECTOR_BYTES];
        write(&mut block, medium, in_force);
        let sum = block.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!((block[510], sum), (0xa5, 0), "R-062 holds for every block");
        block
    }

    fn word(block: &Block, word: usize) -> u16 {
        u16::from_le_bytes([block[2 * word], block[2 * word + 1]])
    }

    fn capacity(block: &Block) -> (u32, u64) {
        let short = u32::from_le_bytes(block[120..].first_chunk().copied().unwrap());
        let long = u64::from_le_bytes(block[200..].first_chunk().copied().unwrap());
        (short, long)
    }

    #[test]
    fn the_reference_block_is_made_bit_by_bit() {
        // R-060 R-062 R-064: the hash of a block that a Linux 6.1 initiator took.
        let block = block(&medium(), PLAIN);
        assert_eq!(word(&block, 255), 0xcda5);
        let hash = Sha256::digest(block);
        let expected = [
            0x8f, 0x91, 0xd8, 0xe5, 0x52, 0x45, 0xb8, 0xf0, 0x3b, 0x1a, 0x8d, 0xc2, 0x05, 0x9e,
            0x58, 0x09, 0xfa, 0x2d, 0xd1, 0xfb, 0x13, 0xbd, 0x0f, 0xae, 0xf9, 0x3d, 0x26, 0x77,
            0x22, 0xbb, 0xc8, 0x9a,
        ];
        assert_eq!(hash[..], expected);
    }

    #[test]
    fn capacities_are_capped_at_what_their_words_can_say() {
        //
        let of = |sectors| {
            capacity(&block(
                &Medium {
                    sectors,
                    ..medium()
                },
                PLAIN,
            ))
        };
        assert_eq!(of(0), (0, 0));
        assert_eq!(of(LBA28_MAX), (0x0fff_ffff, LBA28_MAX));
        assert_eq!(of(LBA28_MAX + 1), (0x0fff_ffff, LBA28_MAX + 1));
        assert_eq!(of(LBA48_MAX), (0x0fff_ffff, LBA48_MAX));
        assert_eq!(of(u64::MAX), (0x0fff_ffff, LBA48_MAX));
    }

    #[test]
    fn the_old_geometry_is_capped_and_agrees_with_itself() {
        let large = block(
            &Medium {
                sectors: 1 << 40,
                ..medium()
            },
            PLAIN,
        );
        assert_eq!((word(&large, 1), word(&large, 54)), (16_383, 16_383));
        let chs = 16_383 * 16 * 63_u32;
        assert_eq!(
            (word(&large, 57), word(&large, 58)),
            (chs as u16, (chs >> 16) as u16)
        );
    }

    #[test]
    fn a_write_cache_is_claimed_by_choice_and_said_to_be_on_while_it_is() {
        //
        let chosen = Medium {
            cache: Cache::WriteBack,
            ..medium()
        };
        let off = block(&chosen, PLAIN);
        assert_eq!((word(&off, 82), word(&off, 85)), (WRITE_CACHE, 0));
        let on = InForce {
            cache: Cache::WriteBack,
            ..PLAIN
        };
        let on = block(&chosen, on);
        assert_eq!((word(&on, 82), word(&on, 85)), (WRITE_CACHE, WRITE_CACHE));
        let never = block(&medium(), PLAIN);
        assert_eq!((word(&never, 82), word(&never, 85)), (0, 0));
    }

    #[test]
    fn smart_is_claimed_if_the_disk_speaks_of_its_health() {
        //
        let healthy = Medium {
            health: Some(Health { failing: false }),
            ..medium()
        };
        let on = block(&healthy, PLAIN);
        assert_eq!((word(&on, 82), word(&on, 85)), (SMART, SMART));
        let off = block(
            &healthy,
            InForce {
                smart: false,
                ..PLAIN
            },
        );
        assert_eq!((word(&off, 82), word(&off, 85)), (SMART, 0));
    }

    #[test]
    fn smart_and_the_write_cache_have_the_bits_that_the_standard_gives_them() {
        // ATA8-ACS 7.16, words 82 and 85: bit 0 and bit 5.
        let both = Medium {
            cache: Cache::WriteBack,
            health: Some(Health { failing: false }),
            ..medium()
        };
        let on = InForce {
            cache: Cache::WriteBack,
            ..PLAIN
        };
        let block = block(&both, on);
        assert_eq!((word(&block, 82), word(&block, 85)), (0x21, 0x21));
    }

    #[test]
    fn discard_is_claimed_if_the_disk_can_and_may() {
        //
        let words = |discard, read_only| {
            let medium = Medium {
                discard,
                read_only,
                ..medium()
            };
            let block = block(&medium, PLAIN);
            (word(&block, 69), word(&block, 105), word(&block, 169))
        };
        assert_eq!(words(true, false), (0, 2, 1));
        assert_eq!(words(true, true), (0, 0, 0));
        assert_eq!(words(false, false), (0, 0, 0));
    }

    #[test]
    fn large_physical_blocks_are_told_with_their_alignment() {
        //
        let words = |physical_exponent, alignment_offset| {
            let medium = Medium {
                physical_exponent,
                alignment_offset,
                ..medium()
            };
            let block = block(&medium, PLAIN);
            (word(&block, 106), word(&block, 209))
        };
        assert_eq!(words(0, 0), (0, 0));
        assert_eq!(words(3, 0), (0x6003, 0x4000));
        assert_eq!(words(3, 7), (0x6003, 0x4007));
        assert_eq!(words(200, 0xffff), (0x600f, 0x7fff));
    }

    #[test]
    fn a_serial_number_with_control_characters_shows_spaces() {
        //
        let medium = Medium {
            serial: *b"a\0b\nc\xffd\x1be             ".first_chunk().unwrap(),
            ..medium()
        };
        let block = block(&medium, PLAIN);
        assert_eq!(&block[20..30], b" a b c d e");
    }
}
