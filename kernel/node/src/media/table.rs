//! Partition tables: MBR with its chain of logical partitions, and GPT.
//!
//! A GPT is believed only if the sums of its header and of its list are right
//! (UEFI 2.10, 5.3.2); else its copy at the disk's end is, by the same rule. A
//! disk that says it has a GPT and has no good one has no partitions: the MBR
//! beside it is there to keep others off.

use super::{Blocks, Sector, Unread, number};
use crate::config::List;
use crate::crc::Crc;
use io::{SECTOR_BYTES, Text};

/// Most partitions that are looked at: more than people make, few enough for
/// start-up.
pub const PARTITIONS_MAX: usize = 32;
/// Most logical partitions of an MBR that are followed.
const LOGICAL_MAX: usize = 24;
/// Most sectors of a GPT's list: 1,024 entries of the usual size.
const LIST_SECTORS_MAX: u64 = 256;

/// MBR: where the four entries are, and how long one is.
const ENTRIES: usize = 446;
const ENTRY_BYTES: usize = 16;
/// MBR: types of partitions that hold further ones.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// MBR: the whole disk is a GPT's.
const PROTECTIVE: u8 = 0xee;

/// What a partition is for, as its table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An MBR's type.
    Mbr(u8),
    /// A GPT's type, as it stands on the disk.
    Gpt([u8; 16]),
}

/// One partition. It lies within its disk and has at least one sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number, as Linux counts: from 1, logical ones from 5.
    pub number: u16,
    /// Its first sector.
    pub first: u64,
    /// How many.
    pub sectors: u64,
    /// What it is for.
    pub kind: Kind,
    /// GPT: its own identity, as it stands on the disk; else zeros.
    pub id: [u8; 16],
    /// GPT: its name; else nothing.
    pub name: Text<40>,
}

impl Partition {
    const NONE: Self = Self {
        number: 0,
        first: 0,
        sectors: 0,
        kind: Kind::Mbr(0),
        id: [0; 16],
        name: Text::EMPTY,
    };

    /// The identity as people write it; nothing if there is none.
    pub fn id_text(&self) -> Text<36> {
        let id = &self.id;
        if *id == [0; 16] {
            return Text::EMPTY;
        }
        // The first three groups stand little-endian (UEFI 2.10, appendix A).
        Text::format(format_args!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            number::<4>(id, 0),
            number::<2>(id, 4),
            number::<2>(id, 6),
            u16::from_be_bytes([id[8], id[9]]),
            id[10..]
                .iter()
                .fold(0_u64, |value, byte| value << 8 | u64::from(*byte)),
        ))
    }

    /// Whether `text` is this partition's name, or its identity in either case.
    pub fn is_called(&self, text: &str) -> bool {
        let id = self.id_text();
        !text.is_empty() && (self.name.as_str() == text || id.as_str().eq_ignore_ascii_case(text))
    }
}

/// The partitions of one disk.
pub type Partitions = List<Partition, PARTITIONS_MAX>;

/// Reads the partitions of a disk. None is an ordinary answer.
#[cold]
pub fn partitions(blocks: &mut impl Blocks) -> Result<Partitions, Unread> {
    let mut sector = [0; SECTOR_BYTES];
    let mut found = List::new(Partition::NONE);
    if blocks.sectors() == 0 {
        return Ok(found);
    }
    blocks.read(0, &mut sector)?;
    if !is_signed(&sector) {
        return Ok(found);
    }
    let entries = entries(&sector);
    if entries.iter().any(|entry| entry.kind == PROTECTIVE) {
        let end = blocks.sectors() - 1;
        for header in [1, end] {
            if let Some(list) = gpt(blocks, header)? {
                return Ok(list);
            }
        }
        return Ok(found);
    }
    let mut extended = None;
    for (index, entry) in entries.iter().enumerate() {
        if EXTENDED.contains(&entry.kind) {
            extended = extended.or(Some(*entry));
        } else {
            push(&mut found, blocks, index as u16 + 1, entry);
        }
    }
    if let Some(extended) = extended {
        logical(blocks, &mut found, extended)?;
    }
    Ok(found)
}

/// One entry of an MBR.
#[derive(Clone, Copy)]
struct Entry {
    kind: u8,
    first: u64,
    sectors: u64,
}

fn is_signed(sector: &Sector) -> bool {
    sector[510..] == [0x55, 0xaa]
}

fn entries(sector: &Sector) -> [Entry; 4] {
    core::array::from_fn(|index| {
        let entry = &sector[ENTRIES + index * ENTRY_BYTES..][..ENTRY_BYTES];
        Entry {
            kind: entry[4],
            first: number::<4>(entry, 8),
            sectors: number::<4>(entry, 12),
        }
    })
}

/// Adds a partition, if it is one.
#[cold]
fn push(found: &mut Partitions, blocks: &impl Blocks, at: u16, entry: &Entry) {
    let end = entry.first.checked_add(entry.sectors);
    let is_within = end.is_some_and(|end| end <= blocks.sectors());
    if entry.kind != 0 && entry.first > 0 && entry.sectors > 0 && is_within {
        // A list that is full has enough.
        let _ = found.push(Partition {
            number: at,
            first: entry.first,
            sectors: entry.sectors,
            kind: Kind::Mbr(entry.kind),
            ..Partition::NONE
        });
    }
}

/// Follows the chain of logical partitions: each link names its partition,
/// counted from itself, and the next link, counted from the extended partition.
#[cold]
fn logical(
    blocks: &mut impl Blocks,
    found: &mut Partitions,
    extended: Entry,
) -> Result<(), Unread> {
    let mut sector = [0; SECTOR_BYTES];
    let mut link = extended.first;
    for number in 0..LOGICAL_MAX {
        let is_within = link < blocks.sectors() && link - extended.first < extended.sectors;
        if !is_within {
            return Ok(());
        }
        blocks.read(link, &mut sector)?;
        if !is_signed(&sector) {
            return Ok(());
        }
        let [mut own, next, ..] = entries(&sector);
        own.first = match own.first {
            0 => 0,
            first => first.saturating_add(link),
        };
        push(found, blocks, number as u16 + 5, &own);
        if !EXTENDED.contains(&next.kind) || next.first == 0 {
            return Ok(());
        }
        link = extended.first.saturating_add(next.first);
    }
    Ok(())
}

/// Reads the GPT whose header is at `at`; `None` if there is no good one.
#[cold]
fn gpt(blocks: &mut impl Blocks, at: u64) -> Result<Option<Partitions>, Unread> {
    let mut sector = [0; SECTOR_BYTES];
    if at >= blocks.sectors() {
        return Ok(None);
    }
    blocks.read(at, &mut sector)?;
    let Some(header) = Header::read(&sector, at, blocks.sectors()) else {
        return Ok(None);
    };
    let bytes = header.entry_bytes * header.entries;
    let sectors = bytes.div_ceil(SECTOR_BYTES as u64);
    let end = header.list.checked_add(sectors);
    if sectors > LIST_SECTORS_MAX || end.is_none_or(|end| end > blocks.sectors()) {
        return Ok(None);
    }
    let mut found = List::new(Partition::NONE);
    let mut crc = Crc::NEW;
    let per_sector = SECTOR_BYTES as u64 / header.entry_bytes;
    for index in 0..sectors {
        blocks.read(header.list + index, &mut sector)?;
        let left = bytes - index * SECTOR_BYTES as u64;
        let here = &sector[..left.min(SECTOR_BYTES as u64) as usize];
        crc = crc.add(here);
        let entries = here.chunks_exact(header.entry_bytes as usize);
        for (number, entry) in (index * per_sector + 1..).zip(entries) {
            push_gpt(&mut found, &header, number as u16, entry);
        }
    }
    Ok((crc.sum() == header.list_crc).then_some(found))
}

/// What is used of a GPT's header (UEFI 2.10, table 5.5).
struct Header {
    first_usable: u64,
    last_usable: u64,
    list: u64,
    entries: u64,
    entry_bytes: u64,
    list_crc: u32,
}

impl Header {
    /// The header at `at`, if its sum is right and its numbers make sense.
    fn read(sector: &Sector, at: u64, sectors: u64) -> Option<Self> {
        let bytes = number::<4>(sector, 12) as usize;
        if !sector.starts_with(b"EFI PART") || !(92..=SECTOR_BYTES).contains(&bytes) {
            return None;
        }
        let sum = Crc::NEW
            .add(&sector[..16])
            .add(&[0; 4])
            .add(&sector[20..bytes]);
        let header = Self {
            first_usable: number::<8>(sector, 40),
            last_usable: number::<8>(sector, 48).min(sectors - 1),
            list: number::<8>(sector, 72),
            entries: number::<4>(sector, 80),
            entry_bytes: number::<4>(sector, 84),
            list_crc: number::<4>(sector, 88) as u32,
        };
        let is_good = u64::from(sum.sum()) == number::<4>(sector, 16)
            && number::<8>(sector, 24) == at
            && matches!(header.entry_bytes, 128 | 256 | 512)
            && header.entries > 0;
        is_good.then_some(header)
    }
}

/// Adds an entry that is in use (UEFI 2.10, table 5.6).
#[cold]
fn push_gpt(found: &mut Partitions, header: &Header, at: u16, entry: &[u8]) {
    let id = |at: usize| -> [u8; 16] { core::array::from_fn(|index| entry[at + index]) };
    let (first, last) = (number::<8>(entry, 32), number::<8>(entry, 40));
    let is_within = first >= header.first_usable && first <= last && last <= header.last_usable;
    if id(0) == [0; 16] || !is_within {
        return;
    }
    let units = entry[56..128]
        .as_chunks::<2>()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit))
        .take_while(|unit| *unit != 0);
    let mut name = Text::EMPTY;
    for letter in char::decode_utf16(units) {
        let letter = letter.unwrap_or(char::REPLACEMENT_CHARACTER);
        // Cut where it is too long, as all texts for people are.
        let _ = core::fmt::Write::write_char(&mut name, letter);
    }
    let _ = found.push(Partition {
        number: at,
        first,
        // No wrap: `last` is a sector of the disk.
        sectors: last - first + 1,
        kind: Kind::Gpt(id(0)),
        id: id(16),
        name,
    });
}
