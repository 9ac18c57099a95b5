//! The state area: what hosts have set and what the operator has saved, kept across
//! restarts of the node.
//!
//! Two copies lie in one partition of the boot disk. A change writes the whole
//! state over the older copy, with a generation one higher, and the newer one
//! stays as it is; so whatever a power cut leaves of the one being written, the
//! other is whole. A copy counts only if the sums of its header and of its records
//! are right, hence the order in which its sectors reach the medium is no matter.
//!
//! ```text
//! sector 0          256                 512
//! | header, records | header, records |
//! header: magic 16, generation 8, bytes of the records 4, their sum 4, ... sum 4
//! record: its bytes 2, slot 1, 0, first sector 8, key, config string, masks, members
//! settings: its bytes 2, 255, which 1, sum of `ublade.conf` 4, lines
//! ```
//! A record belongs to a disk by the disk's own name (its serial number, or where
//! it sits if it has none), not by its slot: so the record is where the slot of a
//! disk is remembered, too. A record whose disk is away is carried on as it is.
//!
//! Saved settings stand on the `ublade.conf` that was there when they were saved:
//! they come right after it and win. Whoever edits that file afterwards wants what
//! it says, so settings saved over another file do not hold any more.

use crate::crc;
use crate::media::{Blocks, Sector, Unread, number};
use alloc::vec;
use alloc::vec::Vec;
use aoe::Mac;
use io::SECTOR_BYTES;

/// Sectors of the area; a partition may be longer.
pub const AREA_SECTORS: u64 = 512;
/// Where the second copy begins.
const SECOND: u64 = AREA_SECTORS / 2;
/// Most sectors of one copy, header and all. 255 exports with a string of 200
/// bytes each, and settings; what is longer does not fit and is said.
pub const COPY_SECTORS: usize = 144;
const _: () = assert!(COPY_SECTORS as u64 <= SECOND, "copies do not overlap");
/// Most bytes of all records together.
pub const RECORDS_BYTES_MAX: usize = (COPY_SECTORS - 1) * SECTOR_BYTES;
/// Where records of exports end at the latest, counted with the header.
const RECORDS_END: usize = COPY_SECTORS * SECTOR_BYTES - SETTINGS_ROOM;

/// Most bytes of saved settings: a request over HTTP carries them.
pub const SETTINGS_BYTES_MAX: usize = 3072;
/// Bytes in front of the lines of settings.
const SETTINGS_HEAD: usize = 8;
/// What of a copy is for settings, those of now and those before.
const SETTINGS_ROOM: usize = 2 * (SETTINGS_HEAD + SETTINGS_BYTES_MAX);

const MAGIC: &[u8; 16] = b"ublade state v1\n";
/// Where in the header what is.
const GENERATION: usize = 16;
const BYTES: usize = 24;
const RECORDS_SUM: usize = 28;
const HEADER_SUM: usize = 508;

/// Whether a sector is the header of a copy, whole or not.
pub fn is_marked(sector: &Sector) -> bool {
    sector.starts_with(MAGIC)
}

/// What was in the area when the node started.
pub struct Loaded {
    /// The generation; 0 if there was nothing.
    pub generation: u64,
    /// All records, one behind the other.
    pub records: Vec<u8>,
}

/// What the operator has saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saved<'a> {
    /// Lines of settings.
    pub lines: &'a [u8],
    /// The lines that these took the place of.
    pub previous: &'a [u8],
    /// The sum of the `ublade.conf` that they were saved over.
    pub conf_sum: u32,
}

/// Which lines a record of settings holds.
const LINES_NOW: u8 = 1;
const LINES_PREVIOUS: u8 = 2;

/// The sum by which one `ublade.conf` is told from another.
pub fn sum_of(conf: &[u8]) -> u32 {
    crc::of(conf)
}

/// The settings among `records`.
#[cold]
pub fn saved(records: &[u8]) -> Saved<'_> {
    let mut saved = Saved::default();
    for raw in raw_records(records) {
        let Some(([_, _, NODE, which, sum @ ..], lines)) = raw.split_first_chunk::<SETTINGS_HEAD>()
        else {
            continue;
        };
        if lines.len() > SETTINGS_BYTES_MAX {
            // Never written by us: half of a text is nobody's wish.
            continue;
        }
        match *which {
            LINES_NOW => {
                saved.lines = lines;
                saved.conf_sum = u32::from_le_bytes(*sum);
            }
            LINES_PREVIOUS => saved.previous = lines,
            _ => {}
        }
    }
    saved
}

/// Reads the newer of the two copies that is whole; no records if neither is.
#[cold]
pub fn load(blocks: &mut impl Blocks, first: u64) -> Result<Loaded, Unread> {
    let mut newest = Loaded {
        generation: 0,
        records: Vec::new(),
    };
    for at in [first, first + SECOND] {
        let mut header = [0; SECTOR_BYTES];
        blocks.read(at, &mut header)?;
        let bytes = number::<4>(&header, BYTES) as usize;
        let generation = number::<8>(&header, GENERATION);
        let sum = crc::of(&header[..HEADER_SUM]);
        let is_whole = is_marked(&header)
            && number::<4>(&header, HEADER_SUM) == u64::from(sum)
            && bytes <= RECORDS_BYTES_MAX
            && generation > newest.generation;
        if !is_whole {
            continue;
        }
        let mut records = vec![0; bytes.next_multiple_of(SECTOR_BYTES)];
        for (lba, sector) in (at + 1..).zip(records.as_chunks_mut::<SECTOR_BYTES>().0) {
            blocks.read(lba, sector)?;
        }
        records.truncate(bytes);
        if number::<4>(&header, RECORDS_SUM) == u64::from(crc::of(&records)) {
            newest = Loaded {
                generation,
                records,
            };
        }
    }
    Ok(newest)
}

/// Where the copy of a generation lies, counted from the area's first sector.
pub const fn place_of(generation: u64) -> u64 {
    if generation & 1 == 0 { 0 } else { SECOND }
}

/// One copy in the making: room for a header and records behind it.
pub struct Copy {
    bytes: Vec<u8>,
}

impl Default for Copy {
    fn default() -> Self {
        Self::new()
    }
}

impl Copy {
    /// Room for one copy, for ever.
    pub fn new() -> Self {
        let mut bytes = Vec::with_capacity(COPY_SECTORS * SECTOR_BYTES);
        bytes.resize(SECTOR_BYTES, 0);
        Self { bytes }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(SECTOR_BYTES, 0);
    }

    /// Adds bytes that are whole records already; false if there is no room.
    #[must_use]
    #[cold]
    pub fn add_raw(&mut self, records: &[u8]) -> bool {
        let fits = self.bytes.len() + records.len() <= RECORDS_END;
        if fits {
            self.bytes.extend_from_slice(records);
        }
        fits
    }

    /// Adds a record; false if there is no room.
    #[must_use]
    #[cold]
    pub fn add(&mut self, record: &Record<'_>) -> bool {
        let bytes = record.bytes();
        if self.bytes.len() + bytes > RECORDS_END {
            return false;
        }
        let mut push = |part: &[u8]| self.bytes.extend_from_slice(part);
        push(&(bytes as u16).to_le_bytes());
        push(&[record.slot, 0]);
        push(&record.first.to_le_bytes());
        push(&[record.key.len() as u8]);
        push(record.key);
        push(&(record.config.len() as u16).to_le_bytes());
        push(record.config);
        for list in [record.masks, record.members] {
            push(&(list.len() as u16).to_le_bytes());
            for mac in list {
                push(&mac.0);
            }
        }
        true
    }

    /// Adds settings, for which there is always room. Once, and behind all else.
    ///
    /// # Panics
    /// If either text is longer than [`SETTINGS_BYTES_MAX`].
    #[cold]
    pub fn add_saved(&mut self, saved: &Saved<'_>) {
        for (which, lines) in [(LINES_NOW, saved.lines), (LINES_PREVIOUS, saved.previous)] {
            assert!(
                lines.len() <= SETTINGS_BYTES_MAX,
                "checked where they came in"
            );
            let bytes = (SETTINGS_HEAD + lines.len()) as u16;
            self.bytes.extend_from_slice(&bytes.to_le_bytes());
            self.bytes.extend_from_slice(&[NODE, which]);
            self.bytes.extend_from_slice(&saved.conf_sum.to_le_bytes());
            self.bytes.extend_from_slice(lines);
        }
    }

    /// Ends it: from now on [`sectors`](Self::sectors) are what is to be written.
    #[cold]
    pub fn seal(&mut self, generation: u64) {
        let bytes = self.bytes.len() - SECTOR_BYTES;
        let sum = crc::of(&self.bytes[SECTOR_BYTES..]);
        self.bytes
            .resize(self.bytes.len().next_multiple_of(SECTOR_BYTES), 0);
        let header = &mut self.bytes[..SECTOR_BYTES];
        header.fill(0);
        header[..16].copy_from_slice(MAGIC);
        header[GENERATION..][..8].copy_from_slice(&generation.to_le_bytes());
        header[BYTES..][..4].copy_from_slice(&(bytes as u32).to_le_bytes());
        header[RECORDS_SUM..][..4].copy_from_slice(&sum.to_le_bytes());
        let sum = crc::of(&header[..HEADER_SUM]);
        header[HEADER_SUM..].copy_from_slice(&sum.to_le_bytes());
    }

    /// What is to be written.
    pub fn sectors(&self) -> &[u8] {
        &self.bytes
    }
}

/// What is kept of one export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its slot.
    pub slot: u8,
    /// The first sector of its slice; 0 for a whole disk.
    pub first: u64,
    /// The name of its disk, at most 255 bytes.
    pub key: &'a [u8],
    /// Its config string.
    pub config: &'a [u8],
    /// What initiators have added to its mask list.
    pub masks: &'a [Mac],
    /// Who has reserved it.
    pub members: &'a [Mac],
}

impl Record<'_> {
    fn bytes(&self) -> usize {
        let macs = self.masks.len() + self.members.len();
        2 + 2 + 8 + 1 + self.key.len() + 2 + self.config.len() + 2 + 2 + 6 * macs
    }
}

/// A record as it was read. What it says was summed, so it is ours; it is read
/// with care all the same.
#[derive(Clone, Copy)]
pub struct Kept<'a> {
    /// The record's own bytes, to be carried on.
    pub raw: &'a [u8],
    /// Its slot.
    pub slot: u8,
    /// First sector of its slice.
    pub first: u64,
    /// The name of its disk.
    pub key: &'a [u8],
    /// Its config string.
    pub config: &'a [u8],
    masks: &'a [u8],
    members: &'a [u8],
}

impl<'a> Kept<'a> {
    /// What initiators had added to its mask list.
    pub fn masks(&self) -> impl Iterator<Item = Mac> + use<'a> {
        macs(self.masks)
    }

    /// Who had reserved it.
    pub fn members(&self) -> impl Iterator<Item = Mac> + use<'a> {
        macs(self.members)
    }
}

fn macs(bytes: &[u8]) -> impl Iterator<Item = Mac> + use<'_> {
    bytes.as_chunks::<6>().0.iter().map(|mac| Mac(*mac))
}

/// The records of exports in `bytes`, up to the first that makes no sense.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Kept<'_>> {
    raw_records(bytes)
        .filter(|raw| raw[2] != NODE)
        .map_while(record)
}

/// The slot of a record that belongs to no export.
const NODE: u8 = u8::MAX;

/// All records, each with its length, its slot and a byte at least.
fn raw_records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    // Ends: every record has at least the bytes of its own length.
    core::iter::from_fn(move || {
        let len = usize::from(u16::from_le_bytes(*bytes.first_chunk()?));
        let (raw, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        (len >= 4).then_some(raw)
    })
}

#[cold]
fn record(raw: &[u8]) -> Option<Kept<'_>> {
    let mut rest = raw.get(2..)?;
    let mut take = |len: usize| -> Option<&[u8]> {
        let (part, left) = rest.split_at_checked(len)?;
        rest = left;
        Some(part)
    };
    let slot = take(2)?[0];
    let first = number::<8>(take(8)?, 0);
    let key_len = usize::from(take(1)?[0]);
    let key = take(key_len)?;
    let config_len = number::<2>(take(2)?, 0) as usize;
    let config = take(config_len)?;
    let masks_len = number::<2>(take(2)?, 0) as usize;
    let masks = take(masks_len * 6)?;
    let members_len = number::<2>(take(2)?, 0) as usize;
    let members = take(members_len * 6)?;
    Some(Kept {
        raw,
        slot,
        first,
        key,
        config,
        masks,
        members,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Random;
    use alloc::format;

    /// A disk in memory that holds one area from its sector 3 on.
    struct Medium(Vec<u8>);

    const FIRST: u64 = 3;

    impl Medium {
        fn new() -> Self {
            Self(vec![0; (FIRST + AREA_SECTORS) as usize * SECTOR_BYTES])
        }

        fn put(&mut self, at: u64, bytes: &[u8]) {
            let at = (FIRST + at) as usize * SECTOR_BYTES;
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    impl Blocks for Medium {
        fn sectors(&self) -> u64 {
            (self.0.len() / SECTOR_BYTES) as u64
        }

        fn read(&mut self, lba: u64, sector: &mut Sector) -> Result<(), Unread> {
            let at = lba as usize * SECTOR_BYTES;
            sector.copy_from_slice(&self.0[at..at + SECTOR_BYTES]);
            Ok(())
        }
    }

    const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];

    /// A copy whose records all say which generation they are of.
    fn copy(generation: u64, exports: u8) -> Copy {
        let config = format!("generation {generation}").repeat(9);
        let mut copy = Copy::new();
        for slot in 0..exports {
            let added = copy.add(&Record {
                slot,
                first: u64::from(slot) * 8,
                key: format!("serial:{slot}").as_bytes(),
                config: config.as_bytes(),
                masks: &MACS,
                members: &MACS[..1],
            });
            assert!(added);
        }
        copy.seal(generation);
        copy
    }

    #[test]
    fn what_is_written_is_read() {
        let mut medium = Medium::new();
        assert_eq!(
            load(&mut medium, FIRST).map(|found| found.generation),
            Ok(0)
        );
        for generation in 1..5 {
            let copy = copy(generation, 3);
            medium.put(place_of(generation), copy.sectors());
            let loaded = load(&mut medium, FIRST).expect("it reads");
            assert_eq!(loaded.generation, generation);
            let list: Vec<_> = records(&loaded.records).collect();
            assert_eq!(list.len(), 3);
            assert_eq!((list[2].slot, list[2].first), (2, 16));
            assert_eq!(list[2].key, b"serial:2");
            assert!(list[2].masks().eq(MACS));
            assert!(list[2].members().eq([MACS[0]]));
        }
    }

    /// Everything a power cut can leave of a copy under way, sector after sector
    /// and every sector torn at every byte.
    #[test]
    fn a_write_cut_at_any_byte_leaves_the_old_state_or_the_new() {
        for old in [0, 1, 2] {
            let mut before = Medium::new();
            for generation in 1..=old {
                before.put(place_of(generation), copy(generation, 4).sectors());
            }
            let new = old + 1;
            let copy = copy(new, 4);
            let mut seen = [false; 2];
            for cut in 0..=copy.sectors().len() {
                let mut medium = Medium(before.0.clone());
                medium.put(place_of(new), &copy.sectors()[..cut]);
                let found = load(&mut medium, FIRST).expect("it reads");
                assert!(
                    found.generation == old || found.generation == new,
                    "cut at {cut}"
                );
                seen[usize::from(found.generation == new)] = true;
                let expected = if found.generation == 0 { 0 } else { 4 };
                assert_eq!(records(&found.records).count(), expected);
            }
            assert_eq!(seen, [true; 2]);
        }
    }

    /// A disk with a cache writes sectors in whatever order: any of them may be
    /// there and any not, and one may be torn.
    #[test]
    fn sectors_that_arrive_in_any_order_leave_the_old_state_or_the_new() {
        let mut random = Random(1);
        let mut before = Medium::new();
        before.put(place_of(1), copy(1, 9).sectors());
        before.put(place_of(2), copy(2, 9).sectors());
        let copy = copy(3, 9);
        for _ in 0..1000 {
            let mut medium = Medium(before.0.clone());
            let mut is_whole = true;
            for (at, sector) in (place_of(3)..).zip(copy.sectors().chunks(SECTOR_BYTES)) {
                let bytes = match random.below(8) {
                    0 => 0,
                    1 => random.below(512) as usize,
                    _ => 512,
                };
                is_whole &= bytes == 512;
                medium.put(at, &sector[..bytes]);
            }
            let found = load(&mut medium, FIRST).expect("it reads");
            assert!(found.generation == 2 || found.generation == 3);
            assert!(!is_whole || found.generation == 3);
            assert_eq!(records(&found.records).count(), 9);
        }
    }

    #[test]
    fn settings_stand_beside_a_full_list_and_are_read_again() {
        let mut copy = Copy::new();
        let record = Record {
            slot: 1,
            first: 0,
            key: b"k",
            config: &[b'c'; 64],
            masks: &MACS,
            members: &[],
        };
        let mut count = 0;
        while copy.add(&record) {
            count += 1;
        }
        let long = [b'x'; SETTINGS_BYTES_MAX];
        let told = Saved {
            lines: b"rw=all\nshelf=7\n",
            previous: &long,
            conf_sum: sum_of(b"rw=none"),
        };
        copy.add_saved(&told);
        copy.seal(1);
        assert!(copy.sectors().len() <= COPY_SECTORS * SECTOR_BYTES);
        let mut medium = Medium::new();
        medium.put(place_of(1), copy.sectors());
        let loaded = load(&mut medium, FIRST).expect("it reads");
        assert_eq!(saved(&loaded.records), told);
        assert_eq!(records(&loaded.records).count(), count);
        assert_eq!(saved(&[]), Saved::default());

        let mut longer = vec![0; SETTINGS_HEAD + SETTINGS_BYTES_MAX + 1];
        longer[..2]
            .copy_from_slice(&((SETTINGS_HEAD + SETTINGS_BYTES_MAX + 1) as u16).to_le_bytes());
        (longer[2], longer[3]) = (NODE, LINES_NOW);
        assert_eq!(saved(&longer), Saved::default());
    }

    #[test]
    fn records_that_make_no_sense_end_the_list() {
        let mut random = Random(2);
        let good = copy(1, 3);
        for _ in 0..20_000 {
            let mut bytes = good.sectors()[SECTOR_BYTES..].to_vec();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.next() as u8;
            }
            bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
            for kept in records(&bytes) {
                assert!(kept.masks().count() <= bytes.len());
            }
            assert!(saved(&bytes).lines.len() <= bytes.len());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_the_rest_stays() {
        let mut copy = Copy::new();
        let record = Record {
            slot: 1,
            first: 0,
            key: b"k",
            config: &[b'c'; 1024],
            masks: &[],
            members: &[],
        };
        let mut fitted = 0;
        while copy.add(&record) {
            fitted += 1;
        }
        assert!(fitted > 60);
        assert!(!copy.add_raw(&[0; 2048]));
        copy.seal(1);
        assert!(copy.sectors().len() <= COPY_SECTORS * SECTOR_BYTES);
        assert_eq!(records(&copy.sectors()[SECTOR_BYTES..]).count(), fitted);
    }
}
