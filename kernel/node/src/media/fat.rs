//! FAT volumes, to read: the root directory and whole files (FAT12, 16 and 32,
//! with long names).
//!
//! Which of the three a volume is follows from its number of clusters alone (the
//! FAT specification 1.03, section 3.5). A volume is opened only if everything
//! its first sector says lies within the partition and its table has an entry for
//! every cluster; after that a sector number can not be outside. A chain is
//! followed for as many clusters as the file's size asks for and no further, so a
//! chain that bites its own tail ends.

use super::{Blocks, Sector, Unread, number};
use io::{SECTOR_BYTES, Text};

/// Most sectors of a root directory that are searched: 2,048 entries.
const ROOT_SECTORS_MAX: u32 = 128;
/// Bytes of a directory entry.
const ENTRY_BYTES: usize = 32;
/// Longest name, in units of UTF-16: 20 parts of 13.
const NAME_UNITS_MAX: usize = 260;
/// Units that one part of a long name has, and where.
const PART_UNITS: usize = 13;
const PART_AT: [usize; PART_UNITS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// Attributes of a directory entry.
const VOLUME: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const LONG_NAME: u8 = 0x0f;

/// Why something could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The disk did not give a sector.
    Unread,
    /// The volume contradicts itself.
    Broken,
}

impl From<Unread> for Trouble {
    fn from(_: Unread) -> Self {
        Self::Unread
    }
}

/// How wide an entry of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Bits12,
    Bits16,
    Bits32,
}

/// A file or a directory in the root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, the long one if it has one; cut where it is longer.
    pub name: Text<64>,
    /// Its size.
    pub bytes: u32,
    /// It is a directory.
    pub is_directory: bool,
    /// Its first cluster; 0 if it is empty.
    cluster: u32,
}

/// One volume.
#[derive(Clone, Copy, Debug)]
pub struct Volume {
    width: Width,
    /// First sector of the table, on the disk.
    table: u64,
    /// First sector of the root directory (FAT12 and 16), on the disk.
    root: u64,
    root_sectors: u32,
    /// First cluster of the root directory (FAT32).
    root_cluster: u32,
    /// First sector of cluster 2, on the disk.
    data: u64,
    cluster_sectors: u32,
    clusters: u32,
    /// The label in the first sector.
    label: [u8; 11],
}

impl Volume {
    /// The volume in `sectors` sectors from `first` on, which lie within the
    /// disk; `None` if there is none.
    pub fn open(
        blocks: &mut impl Blocks,
        first: u64,
        sectors: u64,
    ) -> Result<Option<Self>, Unread> {
        let mut sector = [0; SECTOR_BYTES];
        if sectors == 0 {
            return Ok(None);
        }
        blocks.read(first, &mut sector)?;
        Ok(Self::parse(&sector, first, sectors))
    }

    #[cold]
    fn parse(sector: &Sector, first: u64, sectors: u64) -> Option<Self> {
        let is_boot_sector = matches!(sector[0], 0xeb | 0xe9) && sector[510..] == [0x55, 0xaa];
        let sector_bytes = number::<2>(sector, 11);
        let cluster_sectors = u64::from(sector[13]);
        if !is_boot_sector || sector_bytes != 512 || !cluster_sectors.is_power_of_two() {
            return None;
        }
        let either = |short: u64, long: u64| if short != 0 { short } else { long };
        let reserved = number::<2>(sector, 14);
        let tables = u64::from(sector[16]);
        let root_entries = number::<2>(sector, 17);
        let total = either(number::<2>(sector, 19), number::<4>(sector, 32));
        let table_sectors = either(number::<2>(sector, 22), number::<4>(sector, 36));
        // No wrap: all of these have at most 32 bits.
        let root_sectors = (root_entries * ENTRY_BYTES as u64).div_ceil(512);
        let root = reserved + tables * table_sectors;
        let data = root + root_sectors;
        if reserved == 0 || !matches!(tables, 1 | 2) || total > sectors || data >= total {
            return None;
        }
        let clusters = (total - data) / cluster_sectors;
        let width = match clusters {
            0 => return None,
            1..4085 => Width::Bits12,
            4085..65525 => Width::Bits16,
            65525..0x0fff_fff5 => Width::Bits32,
            _ => return None,
        };
        let bits = match width {
            Width::Bits12 => 12,
            Width::Bits16 => 16,
            Width::Bits32 => 32,
        };
        let is_32 = width == Width::Bits32;
        let has_table = table_sectors * 512 * 8 >= (clusters + 2) * bits;
        if !has_table || is_32 != (root_entries == 0) {
            return None;
        }
        let label_at = if is_32 { 71 } else { 43 };
        let mut label = [0; 11];
        label.copy_from_slice(&sector[label_at..label_at + 11]);
        Some(Self {
            width,
            table: first + reserved,
            root: first + root,
            root_sectors: root_sectors as u32,
            root_cluster: if is_32 {
                number::<4>(sector, 44) as u32
            } else {
                0
            },
            data: first + data,
            cluster_sectors: cluster_sectors as u32,
            clusters: clusters as u32,
            label,
        })
    }

    /// Its label: the one in the root directory, else the one in its first sector.
    #[cold]
    pub fn label(&self, blocks: &mut impl Blocks) -> Result<Text<11>, Trouble> {
        let mut label = None;
        self.walk_root(blocks, &mut |raw| {
            if raw[11] & !0x20 == VOLUME {
                label = Some(Text::from_device(&raw[..11]));
            }
            label.is_none()
        })?;
        Ok(label.unwrap_or_else(|| Text::from_device(&self.label)))
    }

    /// The file with this name in the root directory, in whatever case.
    #[cold]
    pub fn find(&self, blocks: &mut impl Blocks, name: &str) -> Result<Option<Entry>, Trouble> {
        let mut found = None;
        self.list(blocks, &mut |entry| {
            if !entry.is_directory && entry.name.as_str().eq_ignore_ascii_case(name) {
                found = Some(*entry);
            }
            found.is_none()
        })?;
        Ok(found)
    }

    /// Shows every file and directory of the root directory until `show` says
    /// false.
    #[cold]
    pub fn list(
        &self,
        blocks: &mut impl Blocks,
        show: &mut dyn FnMut(&Entry) -> bool,
    ) -> Result<(), Trouble> {
        let mut long = LongName::new();
        self.walk_root(blocks, &mut |raw| {
            if raw[0] == 0xe5 {
                long.forget();
            } else if raw[11] & 0x3f == LONG_NAME {
                long.take(raw);
            } else if raw[11] & VOLUME != 0 {
                long.forget();
            } else {
                let cluster_high = match self.width {
                    Width::Bits32 => number::<2>(raw, 20) as u32,
                    Width::Bits12 | Width::Bits16 => 0,
                };
                let entry = Entry {
                    name: long.name(raw).unwrap_or_else(|| short_name(raw)),
                    bytes: number::<4>(raw, 28) as u32,
                    is_directory: raw[11] & DIRECTORY != 0,
                    cluster: cluster_high << 16 | number::<2>(raw, 26) as u32,
                };
                long.forget();
                return show(&entry);
            }
            true
        })
    }

    /// Reads a file from its beginning, as much of it as `bytes` has room for;
    /// returns how much that was.
    #[cold]
    pub fn read(
        &self,
        blocks: &mut impl Blocks,
        entry: &Entry,
        bytes: &mut [u8],
    ) -> Result<usize, Trouble> {
        let len = bytes.len().min(entry.bytes as usize);
        let mut cluster = entry.cluster;
        let mut sector = [0; SECTOR_BYTES];
        let in_cluster = SECTOR_BYTES * self.cluster_sectors as usize;
        for (index, part) in bytes[..len].chunks_mut(in_cluster).enumerate() {
            if index > 0 {
                cluster = self.next(blocks, cluster)?.ok_or(Trouble::Broken)?;
            }
            let first = self.place(cluster).ok_or(Trouble::Broken)?;
            for (lba, part) in (first..).zip(part.chunks_mut(SECTOR_BYTES)) {
                blocks.read(lba, &mut sector)?;
                part.copy_from_slice(&sector[..part.len()]);
            }
        }
        Ok(len)
    }

    /// The first sector of a cluster, if there is such a cluster.
    fn place(&self, cluster: u32) -> Option<u64> {
        let index = cluster.checked_sub(2)?;
        let is_there = index < self.clusters;
        is_there.then(|| self.data + u64::from(index) * u64::from(self.cluster_sectors))
    }

    /// The cluster behind `cluster`, which is one of ours; `None` at the end.
    #[cold]
    fn next(&self, blocks: &mut impl Blocks, cluster: u32) -> Result<Option<u32>, Trouble> {
        let mut sector = [0; SECTOR_BYTES];
        let at = u64::from(cluster);
        let (at, bytes) = match self.width {
            Width::Bits12 => (at + at / 2, 2),
            Width::Bits16 => (at * 2, 2),
            Width::Bits32 => (at * 4, 4),
        };
        let mut value = 0;
        // Byte by byte: an entry of 12 bits may lie in two sectors.
        let mut read = None;
        for index in 0..bytes {
            let (lba, offset) = ((at + index) / 512, ((at + index) % 512) as usize);
            if read != Some(lba) {
                blocks.read(self.table + lba, &mut sector)?;
                read = Some(lba);
            }
            value |= u32::from(sector[offset]) << (8 * index);
        }
        let (value, end) = match self.width {
            Width::Bits12 if cluster & 1 == 1 => (value >> 4, 0xff8),
            Width::Bits12 => (value & 0xfff, 0xff8),
            Width::Bits16 => (value, 0xfff8),
            Width::Bits32 => (value & 0x0fff_ffff, 0x0fff_fff8),
        };
        match value {
            value if value >= end => Ok(None),
            value if self.place(value).is_some() => Ok(Some(value)),
            _ => Err(Trouble::Broken),
        }
    }

    /// Shows the entries of the root directory, up to the one that ends it or
    /// until `show` says false.
    #[cold]
    fn walk_root(
        &self,
        blocks: &mut impl Blocks,
        show: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), Trouble> {
        let mut sector = [0; SECTOR_BYTES];
        let mut cluster = self.root_cluster;
        for index in 0..ROOT_SECTORS_MAX {
            let lba = if self.width == Width::Bits32 {
                let within = index % self.cluster_sectors;
                if index > 0 && within == 0 {
                    match self.next(blocks, cluster)? {
                        Some(next) => cluster = next,
                        None => return Ok(()),
                    }
                }
                self.place(cluster).ok_or(Trouble::Broken)? + u64::from(within)
            } else if index < self.root_sectors {
                self.root + u64::from(index)
            } else {
                return Ok(());
            };
            blocks.read(lba, &mut sector)?;
            for raw in sector.chunks_exact(ENTRY_BYTES) {
                if raw[0] == 0 || !show(raw) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// A name of eight and three letters.
fn short_name(raw: &[u8]) -> Text<64> {
    let base = Text::<8>::from_device(&raw[..8]);
    let extension = Text::<3>::from_device(&raw[8..11]);
    if extension.is_empty() {
        Text::new(base.as_str())
    } else {
        Text::format(format_args!("{base}.{extension}"))
    }
}

/// A long name in the making. Its parts come last one first, and each names its
/// number and the sum of the short name that they belong to.
struct LongName {
    units: [u16; NAME_UNITS_MAX],
    /// Units that there are when it is whole.
    len: usize,
    /// The number of the part that came last; 0 is none.
    part: u8,
    sum: u8,
}

impl LongName {
    const fn new() -> Self {
        Self {
            units: [0; NAME_UNITS_MAX],
            len: 0,
            part: 0,
            sum: 0,
        }
    }

    fn forget(&mut self) {
        self.len = 0;
        self.part = 0;
    }

    /// Takes one part in.
    #[cold]
    fn take(&mut self, raw: &[u8]) {
        const LAST: u8 = 0x40;
        let part = raw[0] & 0x3f;
        if raw[0] & LAST != 0 {
            self.len = usize::from(part) * PART_UNITS;
            self.sum = raw[13];
        } else if self.len == 0 || part.checked_add(1) != Some(self.part) || raw[13] != self.sum {
            return self.forget();
        }
        self.part = part;
        let place = part
            .checked_sub(1)
            .map(|index| usize::from(index) * PART_UNITS);
        match place.and_then(|at| self.units.get_mut(at..at + PART_UNITS)) {
            None => self.forget(),
            Some(units) => {
                for (unit, at) in units.iter_mut().zip(PART_AT) {
                    *unit = number::<2>(raw, at) as u16;
                }
            }
        }
    }

    /// The name, if it is whole and belongs to the short name in `raw`.
    #[cold]
    fn name(&self, raw: &[u8]) -> Option<Text<64>> {
        let sum = raw[..11]
            .iter()
            .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        if self.len == 0 || self.part != 1 || sum != self.sum {
            return None;
        }
        let units = self.units[..self.len].iter().copied();
        let mut name = Text::EMPTY;
        for letter in char::decode_utf16(units.take_while(|unit| *unit != 0)) {
            let letter = letter.unwrap_or(char::REPLACEMENT_CHARACTER);
            let _ = core::fmt::Write::write_char(&mut name, letter);
        }
        Some(name)
    }
}
