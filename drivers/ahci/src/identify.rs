//! What a drive says about itself: IDENTIFY DEVICE, 256 words.
//!
//! All of it is outside input. Where a word carries a validity mark we look for
//! the mark; where the drive contradicts itself we believe the smaller promise.

use crate::command::DISCARD_SECTORS_MAX;
use crate::table::PAGE_BYTES;
use core::fmt;
use io::{DiscardLimits, Geometry, Identity, Text, WriteCache, world_wide_name};

/// Why a drive can not be an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unusable {
    /// The words are no IDENTIFY data: wrong checksum, or not of an ATA disk.
    Garbled,
    /// It has no DMA or no logical addresses.
    TooOld,
    /// Its logical sectors have another size than AoE's.
    SectorBytes(u32),
    /// It has no sectors.
    NoCapacity,
    /// It is locked by a password (ATA8-ACS 4.18).
    Locked,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Garbled => f.write_str("what the drive says about itself is garbled"),
            Self::TooOld => f.write_str("the drive is too old: it has no DMA or no LBA"),
            Self::SectorBytes(bytes) => write!(
                f,
                "the drive has logical sectors of {bytes} bytes, AoE has 512; formatting it to 512 may help"
            ),
            Self::NoCapacity => f.write_str("capacity is 0 sectors"),
            Self::Locked => f.write_str("the drive is locked by its ATA password"),
        }
    }
}

/// How a drive is told an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// READ DMA and its kind: up to 128 GiB.
    Narrow,
    /// READ DMA EXT and its kind.
    Wide,
}

/// How fast the platters turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The drive does not say.
    Unknown,
    /// There are none.
    SolidState,
    /// Turns a minute.
    PerMinute(u16),
}

impl fmt::Display for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("rotation unknown"),
            Self::SolidState => f.write_str("solid state"),
            Self::PerMinute(turns) => write!(f, "{turns} rpm"),
        }
    }
}

/// A drive, as far as we care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drive {
    /// Who it is.
    pub identity: Identity,
    /// Size and habits.
    pub geometry: Geometry,
    /// How it is told an address.
    pub addressing: Addressing,
    /// Queued commands it takes at a time, 0 if none.
    pub queue_depth: u8,
    /// Whether it has a flush command. A drive without a cache may have none.
    pub has_flush: bool,
    /// Whether it can be asked if it will fail.
    pub tells_health: bool,
    /// How fast it turns.
    pub rotation: Rotation,
}

/// Word 0: not an ATA disk.
const NOT_ATA: u16 = 1 << 15;
/// Word 49: DMA, and LBA.
const DMA_AND_LBA: u16 = 1 << 8 | 1 << 9;
/// Word 76: takes queued commands.
const NCQ: u16 = 1 << 8;
/// Words 83 and 86: 48-bit addresses.
const WIDE: u16 = 1 << 10;
/// Word 83: FLUSH CACHE, FLUSH CACHE EXT.
const FLUSH: u16 = 1 << 12;
const FLUSH_EXT: u16 = 1 << 13;
/// Words 82 and 85: the write cache, there and on.
const WRITE_CACHE: u16 = 1 << 5;
/// Word 85: SMART is on.
const SMART: u16 = 1 << 0;
/// Word 87: there is a world wide name.
const NAMED: u16 = 1 << 8;
/// Word 106: logical sectors longer than 512 bytes; several in a physical one.
const LONG_SECTORS: u16 = 1 << 12;
const SEVERAL_SECTORS: u16 = 1 << 13;
/// Word 128: locked.
const LOCKED: u16 = 1 << 2;
/// Word 169: TRIM.
const TRIM: u16 = 1 << 0;
/// Word 255, low byte: the high byte is a checksum.
const CHECKED: u8 = 0xa5;

/// A word whose upper two bits must be 01 to count.
fn marked(word: u16) -> Option<u16> {
    (word & 0xc000 == 0x4000).then_some(word)
}

impl Drive {
    /// Reads the words.
    pub fn parse(page: &[u8; PAGE_BYTES]) -> Result<Self, Unusable> {
        let word = |index: usize| u16::from_le_bytes([page[2 * index], page[2 * index + 1]]);
        let long = |index: usize| u64::from(word(index)) | u64::from(word(index + 1)) << 16;

        let sum = page.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
        let blank = |filler: u8| page.iter().all(|&byte| byte == filler);
        if blank(0) || blank(0xff) || page[510] == CHECKED && sum != 0 || word(0) & NOT_ATA != 0 {
            return Err(Unusable::Garbled);
        }
        if word(49) & DMA_AND_LBA != DMA_AND_LBA {
            return Err(Unusable::TooOld);
        }
        if word(128) & LOCKED != 0 {
            return Err(Unusable::Locked);
        }
        let layout = marked(word(106)).unwrap_or(0);
        if layout & LONG_SECTORS != 0 {
            let words = long(117).min(u64::from(u32::MAX / 2)) as u32;
            return Err(Unusable::SectorBytes(words * 2));
        }

        let commands = marked(word(83)).unwrap_or(0);
        let addressing = if commands & WIDE != 0 {
            Addressing::Wide
        } else {
            Addressing::Narrow
        };
        let sectors = match addressing {
            Addressing::Wide => long(100) | long(102) << 32,
            Addressing::Narrow => long(60),
        };
        // An address has 48 or 28 bits; what lies beyond can not be named.
        let sectors = sectors.min(match addressing {
            Addressing::Wide => 1 << 48,
            Addressing::Narrow => 1 << 28,
        });
        if sectors == 0 {
            return Err(Unusable::NoCapacity);
        }

        let physical_exponent = if layout & SEVERAL_SECTORS != 0 {
            (layout & 0xf) as u8
        } else {
            0
        };
        let queue_depth = match word(76) {
            0 | 0xffff => 0,
            features if features & NCQ != 0 && addressing == Addressing::Wide => {
                (word(75) & 0x1f) as u8 + 1
            }
            _ => 0,
        };
        // A drive that does not say whether it has a cache may have one.
        let cache_known = marked(word(83)).is_some();
        let cached = !cache_known || word(85) & WRITE_CACHE != 0;
        let flush = match addressing {
            Addressing::Wide => FLUSH_EXT,
            Addressing::Narrow => FLUSH,
        };
        Ok(Self {
            identity: Identity {
                serial: text(page, 10, 20),
                model: text(page, 27, 47),
                firmware: text(page, 23, 27),
                wwn: match marked(word(87)) {
                    Some(features) if features & NAMED != 0 => name(page),
                    _ => Text::EMPTY,
                },
            },
            geometry: Geometry {
                sectors,
                physical_exponent,
                alignment_offset: marked(word(209)).map_or(0, |word| word & 0x3fff),
                read_only: false,
                write_cache: if cached {
                    WriteCache::Volatile
                } else {
                    WriteCache::None
                },
                discard: (word(169) & TRIM != 0 && addressing == Addressing::Wide).then_some(
                    DiscardLimits {
                        sectors_max: DISCARD_SECTORS_MAX,
                    },
                ),
            },
            addressing,
            queue_depth,
            has_flush: commands & flush != 0,
            tells_health: cache_known && word(85) & SMART != 0,
            rotation: match word(217) {
                1 => Rotation::SolidState,
                turns @ 0x0401..=0xfffe => Rotation::PerMinute(turns),
                _ => Rotation::Unknown,
            },
        })
    }

    /// Whether this is the same drive as `other`, whatever its settings are.
    pub fn is_the_one(&self, other: &Identity) -> bool {
        self.identity.serial == other.serial && self.identity.model == other.model
    }
}

/// The name in words 108 up to 112, each with its higher half first.
fn name(page: &[u8; PAGE_BYTES]) -> Text<32> {
    let mut bytes = [0; 8];
    for (place, word) in bytes.chunks_exact_mut(2).zip(108..) {
        place.copy_from_slice(&[page[2 * word + 1], page[2 * word]]);
    }
    world_wide_name(&bytes)
}

/// The text in words `from` up to `to`, each with its first character above.
fn text<const N: usize>(page: &[u8; PAGE_BYTES], from: usize, to: usize) -> Text<N> {
    let mut bytes = [0; N];
    let words = page[2 * from..2 * to].as_chunks::<2>().0;
    for (&[low, high], pair) in words.iter().zip(bytes.as_chunks_mut::<2>().0) {
        *pair = [high, low];
    }
    Text::from_device(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DriveModel;

    fn with(change: impl FnOnce(&mut [u8; PAGE_BYTES])) -> Result<Drive, Unusable> {
        let mut page = DriveModel::new("S1", 1 << 21).identify();
        change(&mut page);
        page[511] = 0;
        page[511] = page.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
        Drive::parse(&page)
    }

    fn put(page: &mut [u8; PAGE_BYTES], word: usize, value: u16) {
        page[2 * word..2 * word + 2].copy_from_slice(&value.to_le_bytes());
    }

    #[test]
    fn a_plain_drive_is_read_whole() {
        let drive = with(|_| {}).expect("it is a disk");
        assert_eq!(drive.identity.serial.as_str(), "S1");
        assert_eq!(drive.identity.model.as_str(), "Model of a drive");
        assert_eq!(drive.identity.firmware.as_str(), "FW 1.0");
        assert_eq!(drive.geometry.sectors, 1 << 21);
        assert_eq!(drive.geometry.write_cache, WriteCache::Volatile);
        assert_eq!(drive.queue_depth, 32);
        assert_eq!(drive.rotation, Rotation::SolidState);
    }

    #[test]
    fn a_world_wide_name_is_read_where_the_drive_says_that_it_has_one() {
        let named = |feature: u16| {
            let drive = with(|page| {
                for (word, value) in (108..).zip([0x5000, 0xc500, 0xa1b2, 0xc3d4]) {
                    put(page, word, value);
                }
                put(page, 87, feature);
            });
            drive.expect("it is a disk").identity.wwn
        };
        assert_eq!(named(0x4100).as_str(), "5000c500a1b2c3d4");
        assert!(named(0x4000).is_empty());
        assert!(named(0xffff).is_empty(), "the word is not there");
    }

    #[test]
    fn a_wrong_checksum_is_garbled_and_a_missing_one_is_not() {
        let mut page = DriveModel::new("S1", 2048).identify();
        page[40] ^= 1;
        assert_eq!(Drive::parse(&page), Err(Unusable::Garbled));
        page[510] = 0;
        page[511] = 0;
        assert!(Drive::parse(&page).is_ok());
        assert_eq!(Drive::parse(&[0; 512]), Err(Unusable::Garbled));
        assert_eq!(Drive::parse(&[0xff; 512]), Err(Unusable::Garbled));
    }

    #[test]
    fn a_4_kib_physical_drive_tells_its_blocks_and_where_they_start() {
        let drive = with(|page| {
            put(page, 106, 0x6003);
            put(page, 209, 0x4001);
        })
        .expect("it is a disk");
        assert_eq!(drive.geometry.physical_exponent, 3);
        assert_eq!(drive.geometry.alignment_offset, 1);
    }

    #[test]
    fn words_without_their_mark_do_not_count() {
        let drive = with(|page| {
            put(page, 106, 0xe003);
            put(page, 209, 0x0007);
        })
        .expect("it is a disk");
        assert_eq!(drive.geometry.physical_exponent, 0);
        assert_eq!(drive.geometry.alignment_offset, 0);
    }

    #[test]
    fn logical_sectors_of_4_kib_are_refused_with_their_size() {
        let drive = with(|page| {
            put(page, 106, 0x5000);
            put(page, 117, 2048);
        });
        assert_eq!(drive, Err(Unusable::SectorBytes(4096)));
    }

    #[test]
    fn locked_empty_and_ancient_drives_are_refused_by_name() {
        assert_eq!(with(|page| put(page, 128, 7)), Err(Unusable::Locked));
        assert_eq!(with(|page| put(page, 49, 1 << 9)), Err(Unusable::TooOld));
        assert_eq!(with(|page| put(page, 0, 0x8580)), Err(Unusable::Garbled));
        let empty = with(|page| {
            for word in 100..104 {
                put(page, word, 0);
            }
        });
        assert_eq!(empty, Err(Unusable::NoCapacity));
    }

    #[test]
    fn a_drive_without_48_bits_is_sized_by_28_and_has_no_queue() {
        let drive = with(|page| {
            put(page, 83, 0x4000 | FLUSH);
            put(page, 60, 0xffff);
            put(page, 61, 0x0fff);
        })
        .expect("it is a disk");
        assert_eq!(drive.addressing, Addressing::Narrow);
        assert_eq!(drive.geometry.sectors, 0x0fff_ffff);
        assert_eq!(drive.queue_depth, 0);
        assert!(drive.has_flush);
        assert_eq!(drive.geometry.discard, None);
    }

    #[test]
    fn a_cache_that_is_switched_off_is_none() {
        let drive = with(|page| put(page, 85, 0)).expect("it is a disk");
        assert_eq!(drive.geometry.write_cache, WriteCache::None);
    }
}
