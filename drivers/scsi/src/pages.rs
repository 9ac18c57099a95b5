//! What units answer about themselves: inquiry, capacity, caching, provisioning.
//!
//! Every answer is as long as the unit says it is and no longer than what came;
//! what is missing reads as zero, which is the cautious meaning of every field.

use crate::adapter::Address;
use io::{DiscardLimits, Text, world_wide_name};

fn byte(page: &[u8], at: usize) -> u8 {
    page.get(at).copied().unwrap_or(0)
}

fn u16_at(page: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([byte(page, at), byte(page, at + 1)])
}

fn u32_at(page: &[u8], at: usize) -> u32 {
    u32::from(u16_at(page, at)) << 16 | u32::from(u16_at(page, at + 2))
}

fn u64_at(page: &[u8], at: usize) -> u64 {
    u64::from(u32_at(page, at)) << 32 | u64::from(u32_at(page, at + 4))
}

/// Bytes `at` up to `end`, as far as there are.
fn part(page: &[u8], at: usize, end: usize) -> &[u8] {
    let end = end.min(page.len());
    page.get(at.min(end)..end).unwrap_or_default()
}

/// Standard inquiry data (SPC-5, 6.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// Device type; 0 is a disk, 1Fh nothing.
    pub kind: u8,
    /// Whether a unit is connected there (peripheral qualifier 0).
    pub connected: bool,
    /// Whether its medium can be taken out.
    pub removable: bool,
    /// Vendor and product.
    pub model: Text<40>,
    /// Product revision.
    pub firmware: Text<8>,
}

impl Inquiry {
    /// Reads it.
    pub fn parse(page: &[u8]) -> Self {
        let vendor = Text::<8>::from_device(part(page, 8, 16));
        let product = Text::<16>::from_device(part(page, 16, 32));
        Self {
            kind: byte(page, 0) & 0x1f,
            connected: byte(page, 0) >> 5 == 0,
            removable: byte(page, 1) & 0x80 != 0,
            model: Text::format(format_args!("{} {}", vendor.as_str(), product.as_str())),
            firmware: Text::from_device(part(page, 32, 36)),
        }
    }
}

/// Vital product data: pages that are read, by number.
pub mod vital {
    /// Which pages there are (SPC-5, 7.7.16).
    pub const LIST: u8 = 0x00;
    /// Unit serial number (SPC-5, 7.7.17).
    pub const SERIAL: u8 = 0x80;
    /// Device identification (SPC-5, 7.7.6).
    pub const NAMES: u8 = 0x83;
    /// Block limits (SBC-4, 6.6.4).
    pub const LIMITS: u8 = 0xb0;
    /// Logical block provisioning (SBC-4, 6.6.7).
    pub const PROVISIONING: u8 = 0xb2;
}

/// The body of a vital page, if it is this one: its length is its own word, and
/// checked against what came.
pub fn vital_page(answer: &[u8], page: u8) -> Option<&[u8]> {
    if byte(answer, 1) != page {
        return None;
    }
    let end = 4 + usize::from(u16_at(answer, 2));
    Some(part(answer, 4, end))
}

/// The unit's serial number: its end where it is longer than ATA's 20 characters,
/// because numbers differ at the end.
pub fn serial(body: &[u8]) -> Text<20> {
    let printable = |byte: &u8| *byte > b' ' && *byte < 0x7f;
    let start = body.iter().position(printable).unwrap_or(body.len());
    let end = body
        .iter()
        .rposition(printable)
        .map_or(start, |last| last + 1);
    let trimmed = &body[start..end.max(start)];
    Text::from_device(&trimmed[trimmed.len().saturating_sub(20)..])
}

/// The unit's world wide name: its NAA, or else its EUI-64.
pub fn name(body: &[u8]) -> Text<32> {
    const BINARY: u8 = 1;
    const EUI: u8 = 2;
    const NAA: u8 = 3;
    let mut rest = body;
    let mut name = Text::EMPTY;
    while rest.len() > 4 {
        let end = 4 + usize::from(rest[3]);
        // Association 0: it is the unit's own, and neither its port's nor its target's.
        let (kind, of) = (rest[1] & 0xf, rest[1] >> 4 & 3);
        if rest[0] & 0xf == BINARY && of == 0 && (kind == NAA || kind == EUI && name.is_empty()) {
            name = world_wide_name(part(rest, 4, end));
            if kind == NAA {
                break;
            }
        }
        rest = rest.get(end..).unwrap_or_default();
    }
    name
}

/// The most that one UNMAP of one range may forget.
pub fn unmap_limit(limits: &[u8], provisioning: &[u8]) -> Option<DiscardLimits> {
    const UNMAP: u8 = 1 << 7;
    // Offsets of SBC-4 count from the page's first byte, four before its body.
    let sectors_max = u32_at(limits, 20 - 4);
    let ranges_max = u32_at(limits, 24 - 4);
    (byte(provisioning, 5 - 4) & UNMAP != 0 && sectors_max > 0 && ranges_max > 0)
        .then_some(DiscardLimits { sectors_max })
}

/// A disk's size and blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Blocks.
    pub blocks: u64,
    /// Bytes of one.
    pub block_bytes: u32,
    /// Blocks in a physical one, as a power of two.
    pub physical_exponent: u8,
    /// The first block that starts a physical one.
    pub first_aligned: u16,
    /// Whether blocks may be forgotten at all.
    pub provisioned: bool,
}

impl Capacity {
    /// Bytes of the long answer.
    pub const LONG_BYTES: usize = 32;
    /// Bytes of the short one.
    pub const SHORT_BYTES: usize = 8;

    /// Reads the long answer (SBC-4, 5.21.2).
    pub fn parse_long(answer: &[u8]) -> Option<Self> {
        if answer.len() < 12 {
            return None;
        }
        Some(Self {
            blocks: u64_at(answer, 0).checked_add(1)?,
            block_bytes: u32_at(answer, 8),
            physical_exponent: byte(answer, 13) & 0xf,
            first_aligned: u16_at(answer, 14) & 0x3fff,
            provisioned: byte(answer, 14) & 0x80 != 0,
        })
    }

    /// Reads the short answer; `None` also where it says that the long one must be
    /// asked for (SBC-4, 5.20.2).
    pub fn parse_short(answer: &[u8]) -> Option<Self> {
        if answer.len() < Self::SHORT_BYTES || u32_at(answer, 0) == u32::MAX {
            return None;
        }
        Some(Self {
            blocks: u64::from(u32_at(answer, 0)) + 1,
            block_bytes: u32_at(answer, 4),
            physical_exponent: 0,
            first_aligned: 0,
            provisioned: false,
        })
    }

    /// How far block 0 lies behind the start of its physical block, in blocks:
    /// ATA's way to say it.
    pub fn alignment_offset(&self) -> u16 {
        let block = 1_u32 << self.physical_exponent;
        match u32::from(self.first_aligned) {
            0 => 0,
            first if first >= block => 0,
            first => (block - first) as u16,
        }
    }
}

/// What a unit's caching page and its header say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caching {
    /// A write that was answered may be lost in a power cut.
    pub volatile: bool,
    /// Writes are refused.
    pub read_only: bool,
}

impl Caching {
    /// The page's number (SBC-4, 6.4.5).
    pub const PAGE: u8 = 0x08;

    /// Reads the answer to MODE SENSE(10) (SPC-5, 7.5.4).
    pub fn parse(answer: &[u8]) -> Self {
        const WRITE_PROTECT: u8 = 1 << 7;
        const WRITE_CACHE: u8 = 1 << 2;
        let descriptors = usize::from(u16_at(answer, 6));
        let page = answer.get(8 + descriptors..).unwrap_or_default();
        // A unit that does not have the page says nothing about a cache; then it
        // is taken for volatile.
        let has_page = byte(page, 0) & 0x3f == Self::PAGE;
        Self {
            volatile: !has_page || byte(page, 2) & WRITE_CACHE != 0,
            read_only: byte(answer, 3) & WRITE_PROTECT != 0,
        }
    }
}

/// The units that a target has, in the order it lists them (SPC-5, 6.36). Those in
/// other address forms than the two simple ones are left out.
pub fn units(answer: &[u8], target: u8) -> impl Iterator<Item = Address> + '_ {
    let end = 8 + u32_at(answer, 0) as usize;
    part(answer, 8, end)
        .chunks_exact(8)
        .filter_map(move |unit| {
            let number = u16_at(unit, 0);
            // Peripheral form on bus 0, or flat space (SAM-5, 4.7.7).
            let is_simple = matches!(number >> 14, 0b01) || number < 0x100;
            let rest_is_zero = unit[2..].iter().all(|byte| *byte == 0);
            (is_simple && rest_is_zero).then_some(Address {
                target,
                unit: number & 0x3fff,
            })
        })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn who_a_unit_is_stands_in_its_inquiry() {
        let mut page = vec![0; 36];
        page[8..16].copy_from_slice(b"QEMU    ");
        page[16..32].copy_from_slice(b"QEMU HARDDISK   ");
        page[32..].copy_from_slice(b"2.5+");
        let inquiry = Inquiry::parse(&page);
        assert_eq!(inquiry.model.as_str(), "QEMU QEMU HARDDISK");
        assert_eq!(inquiry.firmware.as_str(), "2.5+");
        assert!(inquiry.connected && !inquiry.removable && inquiry.kind == 0);
        assert_eq!(Inquiry::parse(&[0x7f]).kind, 0x1f);
        assert!(!Inquiry::parse(&[0x7f]).connected);
        assert!(Inquiry::parse(&[0x05, 0x80]).removable);
    }

    #[test]
    fn a_long_serial_number_keeps_its_end() {
        assert_eq!(serial(b"  disk7 \0").as_str(), "disk7");
        assert_eq!(
            serial(b"0123456789abcdefghijXYZ").as_str(),
            "3456789abcdefghijXYZ"
        );
        assert_eq!(serial(b"    ").as_str(), "");
        assert_eq!(serial(b"").as_str(), "");
    }

    #[test]
    fn a_vital_page_is_as_long_as_it_says_and_no_longer_than_what_came() {
        let answer = [0, 0x80, 0, 3, b'a', b'b', b'c', b'd'];
        assert_eq!(vital_page(&answer, 0x80), Some(&b"abc"[..]));
        assert_eq!(vital_page(&answer, 0x83), None);
        assert_eq!(vital_page(&answer[..6], 0x80), Some(&b"ab"[..]));
        assert_eq!(vital_page(&[], 0x80), None);
    }

    #[test]
    fn capacity_has_two_forms() {
        let mut long = vec![0; 32];
        long[..8].copy_from_slice(&0xffff_ffff_u64.to_be_bytes());
        long[8..12].copy_from_slice(&512_u32.to_be_bytes());
        long[13] = 3;
        long[14..16].copy_from_slice(&0x8001_u16.to_be_bytes());
        let capacity = Capacity::parse_long(&long).unwrap();
        assert_eq!(capacity.blocks, 1 << 32);
        assert!(capacity.provisioned);
        assert_eq!((capacity.physical_exponent, capacity.first_aligned), (3, 1));
        assert_eq!(capacity.alignment_offset(), 7);
        assert_eq!(
            Capacity::parse_long(&[0xff; 32]),
            None,
            "one more than there can be"
        );
        let short = [0, 0, 0x1f, 0xff, 0, 0, 2, 0];
        assert_eq!(Capacity::parse_short(&short).unwrap().blocks, 8192);
        assert_eq!(Capacity::parse_short(&[0xff; 8]), None);
        assert_eq!(Capacity::parse_short(&short[..7]), None);
    }

    #[test]
    fn a_cache_is_volatile_unless_the_page_says_otherwise() {
        let answer = |first: u8, cache: u8, parameter: u8| {
            Caching::parse(&[0, 0, 0, parameter, 0, 0, 0, 0, first, 18, cache, 0])
        };
        assert!(answer(0x08, 0x04, 0).volatile);
        assert!(!answer(0x08, 0, 0).volatile);
        assert!(answer(0x88, 0x04, 0).volatile, "may be saved");
        assert!(answer(0, 0, 0).volatile, "another page");
        assert!(answer(0x08, 0, 0x90).read_only);
        assert!(Caching::parse(&[]).volatile);
        let with_descriptor = [0, 0, 0, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 18, 0];
        assert!(!Caching::parse(&with_descriptor).volatile);
    }

    #[test]
    fn units_are_listed_in_two_forms() {
        let mut answer = vec![0, 0, 0, 32, 0, 0, 0, 0];
        for unit in [[0, 0], [0, 5], [0x41, 0], [0xc1, 1]] {
            answer.extend(unit);
            answer.extend([0; 6]);
        }
        let found: Vec<u16> = units(&answer, 3).map(|address| address.unit).collect();
        assert_eq!(found, [0, 5, 256]);
        assert_eq!(units(&answer[..23], 3).count(), 1, "half an entry is none");
        assert_eq!(units(&[], 0).count(), 0);
    }

    #[test]
    fn forgetting_needs_both_pages() {
        let mut limits = vec![0; 60];
        limits[16..20].copy_from_slice(&1000_u32.to_be_bytes());
        limits[20..24].copy_from_slice(&1_u32.to_be_bytes());
        let expected = Some(DiscardLimits { sectors_max: 1000 });
        assert_eq!(unmap_limit(&limits, &[0, 0x80]), expected);
        assert_eq!(unmap_limit(&limits, &[0, 0x40]), None);
        assert_eq!(unmap_limit(&[], &[0, 0x80]), None);
        assert_eq!(unmap_limit(&limits, &[]), None);
    }
}
