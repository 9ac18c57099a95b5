//! What the controller says about itself and its namespaces.
//!
//! Pages of 4 KiB, filled by the controller, read once into our own memory and
//! checked here. What only advises and makes no sense is left out.

use crate::command::PAGE_BYTES;
use core::fmt;
use io::{DiscardLimits, Geometry, Identity, Text, WriteCache, world_wide_name};

/// A page that IDENTIFY fills.
pub type Page = [u8; PAGE_BYTES];

/// Which page IDENTIFY fills (NVMe 1.4, 5.15.1).
pub mod kind {
    /// A namespace.
    pub const NAMESPACE: u32 = 0x00;
    /// The controller.
    pub const CONTROLLER: u32 = 0x01;
    /// Active namespaces, in order.
    pub const ACTIVE_NAMESPACES: u32 = 0x02;
    /// The controller's limits for the NVM command set (NVMe 2.0).
    pub const COMMAND_LIMITS: u32 = 0x06;
}

/// Why a namespace is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It has no sectors.
    NoCapacity,
    /// Its sectors have another size than AoE's.
    SectorBytes {
        /// The size, as a power of two.
        exponent: u8,
    },
    /// Each sector carries more bytes than its data.
    Metadata {
        /// How many.
        bytes: u16,
    },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoCapacity => f.write_str("capacity is 0 sectors"),
            Self::SectorBytes { exponent } => match 1u32.checked_shl(exponent.into()) {
                Some(bytes) => write!(
                    f,
                    "has sectors of {bytes} bytes, AoE has 512; a format with 512 may be chosen with `nvme format`, which erases it"
                ),
                None => write!(f, "has sectors of 2^{exponent} bytes, AoE has 512"),
            },
            Self::Metadata { bytes } => write!(
                f,
                "each sector has {bytes} bytes of metadata; a format without may be chosen with `nvme format`, which erases it"
            ),
        }
    }
}

/// The controller, as far as we care (NVMe 1.4, figure 247).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Who it is.
    pub identity: Identity,
    /// Most bytes of a command, if there is a limit.
    pub transfer_bytes_max: Option<u32>,
    /// Namespaces have numbers up to this one.
    pub namespaces: u32,
    /// It has DATASET MANAGEMENT.
    pub discards: bool,
    /// It has a volatile cache.
    pub write_cache: WriteCache,
}

/// ONCS: DATASET MANAGEMENT.
const DATASET: u16 = 1 << 2;
/// VWC: there is one.
const VOLATILE_CACHE: u8 = 1 << 0;

impl Controller {
    /// Reads the page.
    pub fn parse(page: &Page) -> Self {
        let transfer = page[77];
        Self {
            identity: Identity {
                serial: Text::from_device(&page[4..24]),
                model: Text::from_device(&page[24..64]),
                firmware: Text::from_device(&page[64..72]),
                wwn: Text::EMPTY,
            },
            // In units of the smallest page, which is ours; 0 is no limit.
            transfer_bytes_max: (1..20)
                .contains(&transfer)
                .then(|| (PAGE_BYTES as u32) << transfer),
            namespaces: u32_at(page, 516),
            discards: u16_at(page, 520) & DATASET != 0,
            write_cache: if page[525] & VOLATILE_CACHE != 0 {
                WriteCache::Volatile
            } else {
                WriteCache::None
            },
        }
    }
}

/// Who a namespace is. A serial number is what an operator pins a disk by, so two
/// disks of one controller have two: the first namespace has the controller's, as
/// nearly all have only that; another has its number behind it. Where that gets
/// too long the front is cut, because serial numbers differ at their ends.
pub fn identity_of(controller: &Identity, namespace: u32, wwn: Text<32>) -> Identity {
    let serial = controller.serial.as_str();
    let controller = Identity { wwn, ..*controller };
    if namespace == 1 || serial.is_empty() {
        return controller;
    }
    let number = Text::<11>::format(format_args!("-{namespace}"));
    let room = SERIAL_BYTES - number.as_str().len();
    let tail = &serial[serial.len().saturating_sub(room)..];
    Identity {
        serial: Text::format(format_args!("{tail}{}", number.as_str())),
        ..controller
    }
}

/// The world wide name on a namespace's page: its NGUID, or else its EUI-64.
pub fn name(page: &Page) -> Text<32> {
    let long = world_wide_name(&page[104..120]);
    if long.is_empty() {
        world_wide_name(&page[120..128])
    } else {
        long
    }
}

/// Characters of a serial number.
const SERIAL_BYTES: usize = 20;

/// Most sectors that one discard names where the controller sets no limit. A
/// range has 32 bits for them; 1 GiB is enough for a request and short enough to
/// end soon.
const DISCARD_SECTORS_MAX: u32 = 1 << 21;

/// The limits of a discard, from the page of command limits (NVM command set
/// 1.0, 4.1.5.4); a controller without that page sets none.
pub fn discard_limits(page: Option<&Page>) -> DiscardLimits {
    let mut sectors_max = DISCARD_SECTORS_MAX;
    if let Some(page) = page {
        // DMRSL of a range, DMSL of a command; 0 is no limit.
        let in_range = u64::from(u32_at(page, 4));
        let in_command = u64_at(page, 8);
        for limit in [in_range, in_command] {
            if limit != 0 {
                sectors_max = sectors_max.min(u32::try_from(limit).unwrap_or(u32::MAX));
            }
        }
    }
    DiscardLimits { sectors_max }
}

/// The active namespaces that a page lists: from low to high, ended by 0. What
/// is out of order ends the list too.
pub fn active_namespaces(page: &Page) -> impl Iterator<Item = u32> {
    let mut last = 0;
    let words = page.as_chunks::<4>().0.iter();
    words
        .map(|&word| u32::from_le_bytes(word))
        .take_while(move |&number| {
            let rises = number > last && number <= NAMESPACE_LAST;
            last = number;
            rises
        })
}

/// The highest number of a namespace; those above have other meanings.
pub const NAMESPACE_LAST: u32 = 0xffff_fffd;

/// NSFEAT: preferred sizes are told.
const PREFERENCES: u8 = 1 << 4;
/// NSATTR: write protected.
const WRITE_PROTECTED: u8 = 1 << 0;
/// Sectors of AoE.
const SECTOR_EXPONENT: u8 = 9;
/// The largest physical block that is passed on: 4 KiB. Hosts lay out file
/// systems by it, and what a drive prefers beyond is a matter of speed only.
const PHYSICAL_EXPONENT_MAX: u8 = 3;

/// How many sectors a namespace has, if they are sectors of AoE. `word` reads a word of
/// its page.
pub fn sectors(word: impl Fn(usize) -> u32) -> Result<u64, Unusable> {
    let sectors = u64::from(word(0)) | u64::from(word(4)) << 32;
    if sectors == 0 {
        return Err(Unusable::NoCapacity);
    }
    let [_, formats, chosen, _] = word(24).to_le_bytes();
    let mut format = usize::from(chosen & 0xf);
    if formats >= 16 {
        // NVMe 2.0: two more bits where there are more formats.
        format |= usize::from(chosen >> 5 & 0b11) << 4;
    }
    let format = word(128 + format * 4);
    let (metadata, exponent) = (format as u16, (format >> 16) as u8);
    if exponent != SECTOR_EXPONENT {
        return Err(Unusable::SectorBytes { exponent });
    }
    if metadata != 0 {
        return Err(Unusable::Metadata { bytes: metadata });
    }
    Ok(sectors)
}

/// Reads a namespace's page (NVMe 1.4, figure 245).
pub fn namespace(
    page: &Page,
    write_cache: WriteCache,
    discard: Option<DiscardLimits>,
) -> Result<Geometry, Unusable> {
    let sectors = sectors(|at| u32_at(page, at))?;
    let preferred = u32::from(u16_at(page, 64)) + 1;
    let physical_exponent = if page[24] & PREFERENCES != 0 && preferred.is_power_of_two() {
        (preferred.trailing_zeros() as u8).min(PHYSICAL_EXPONENT_MAX)
    } else {
        0
    };
    Ok(Geometry {
        sectors,
        physical_exponent,
        alignment_offset: 0,
        read_only: page[99] & WRITE_PROTECTED != 0,
        write_cache,
        discard,
    })
}

fn u16_at(page: &Page, at: usize) -> u16 {
    u16::from_le_bytes([page[at], page[at + 1]])
}

fn u32_at(page: &Page, at: usize) -> u32 {
    u32::from(u16_at(page, at)) | u32::from(u16_at(page, at + 2)) << 16
}

fn u64_at(page: &Page, at: usize) -> u64 {
    u64::from(u32_at(page, at)) | u64::from(u32_at(page, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn page(change: impl FnOnce(&mut Page)) -> Page {
        let mut page = [0; PAGE_BYTES];
        page[..8].copy_from_slice(&4096u64.to_le_bytes());
        page[130] = 9;
        change(&mut page);
        page
    }

    fn read(change: impl FnOnce(&mut Page)) -> Result<Geometry, Unusable> {
        namespace(&page(change), WriteCache::None, None)
    }

    #[test]
    fn a_plain_namespace_is_read_whole() {
        let geometry = read(|_| {}).expect("it is a disk");
        assert_eq!(geometry.sectors, 4096);
        assert_eq!(geometry.physical_exponent, 0);
        assert!(!geometry.read_only);
        assert!(read(|page| page[99] = 1).expect("it is a disk").read_only);
    }

    #[test]
    fn other_sectors_and_metadata_are_refused_with_their_sizes() {
        let coarse = Unusable::SectorBytes { exponent: 12 };
        assert_eq!(read(|page| page[130] = 12), Err(coarse));
        let odd = Unusable::SectorBytes { exponent: 255 };
        assert_eq!(read(|page| page[130] = 255), Err(odd));
        let mixed = Unusable::Metadata { bytes: 8 };
        assert_eq!(read(|page| page[128] = 8), Err(mixed));
        assert_eq!(read(|page| page[0..8].fill(0)), Err(Unusable::NoCapacity));
    }

    #[test]
    fn the_chosen_format_counts_and_its_upper_bits_only_where_there_are_so_many() {
        let few = |page: &mut Page| {
            (page[25], page[26]) = (15, 0x22);
            page[128 + 2 * 4 + 2] = 9;
            page[128 + 18 * 4 + 2] = 12;
        };
        assert!(read(few).is_ok());
        let many = |page: &mut Page| {
            few(page);
            page[25] = 18;
        };
        assert_eq!(read(many), Err(Unusable::SectorBytes { exponent: 12 }));
        // Whatever is chosen lies in the page.
        for chosen in 0..=255 {
            let _ = read(|page| (page[25], page[26]) = (255, chosen));
        }
    }

    #[test]
    fn a_preferred_size_is_a_physical_block_of_at_most_4_kib_where_it_is_told() {
        let exponent = |feature: u8, sectors: u16| {
            read(|page| {
                page[24] = feature;
                page[64..66].copy_from_slice(&(sectors - 1).to_le_bytes());
            })
            .expect("it is a disk")
            .physical_exponent
        };
        assert_eq!(exponent(PREFERENCES, 8), 3);
        assert_eq!(exponent(PREFERENCES, 2), 1);
        assert_eq!(exponent(PREFERENCES, 256), 3);
        assert_eq!(exponent(PREFERENCES, 24), 0);
        assert_eq!(exponent(0, 8), 0);
    }

    #[test]
    fn the_longer_name_of_a_namespace_is_its_name() {
        assert!(name(&page(|_| {})).is_empty());
        let short = page(|page| page[120..128].copy_from_slice(b"\x00\x25\x38\x5b\0\0\0\x01"));
        assert_eq!(name(&short).as_str(), "0025385b00000001");
        let both = page(|page| page[104..128].fill(0xab));
        assert_eq!(name(&both).as_str(), "ab".repeat(16));
    }

    #[test]
    fn two_namespaces_never_have_one_serial_number() {
        let serial = |controller: &str, namespace| {
            let controller = Identity {
                serial: Text::new(controller),
                ..Identity::default()
            };
            identity_of(&controller, namespace, Text::EMPTY).serial
        };
        assert_eq!(serial("S1", 1).as_str(), "S1");
        assert_eq!(serial("S1", 2).as_str(), "S1-2");
        let long = "ABCDEFGHIJ0123456789";
        assert_eq!(serial(long, 1).as_str(), long);
        assert_eq!(serial(long, 12).as_str(), "DEFGHIJ0123456789-12");
        assert_eq!(
            serial(long, NAMESPACE_LAST).as_str(),
            "123456789-4294967293"
        );
        assert!(serial("", 2).is_empty());
    }

    #[test]
    fn the_list_of_namespaces_ends_where_it_stops_to_rise() {
        let list = |numbers: &[u32]| {
            let mut page = [0; PAGE_BYTES];
            for (place, number) in page.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
                *place = number.to_le_bytes();
            }
            active_namespaces(&page).collect::<Vec<u32>>()
        };
        assert_eq!(list(&[1, 7, 9]), [1, 7, 9]);
        assert_eq!(list(&[1, 1, 9]), [1]);
        assert_eq!(list(&[5, 4]), [5]);
        assert_eq!(list(&[u32::MAX]), []);
        assert_eq!(list(&(1..=2000).collect::<Vec<u32>>()).len(), 1024);
    }

    #[test]
    fn the_smallest_limit_of_a_discard_counts_and_zero_is_none() {
        let limits = |range: u32, command: u64| {
            let mut page = [0; PAGE_BYTES];
            page[4..8].copy_from_slice(&range.to_le_bytes());
            page[8..16].copy_from_slice(&command.to_le_bytes());
            discard_limits(Some(&page)).sectors_max
        };
        assert_eq!(limits(0, 0), DISCARD_SECTORS_MAX);
        assert_eq!(limits(100, 0), 100);
        assert_eq!(limits(0, 99), 99);
        assert_eq!(limits(100, u64::MAX), 100);
        assert_eq!(discard_limits(None).sectors_max, DISCARD_SECTORS_MAX);
    }
}
