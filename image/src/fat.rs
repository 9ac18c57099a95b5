//! The boot partition: a FAT16 volume, the same bytes every time.
//!
//! UEFI asks for FAT (UEFI 2.10, 13.3), and any machine a person has at hand can
//! open it to change `ublade.conf`. What is written here is what a fresh volume has:
//! files in one piece, folders of one cluster, no date but the first that FAT knows
//! (Microsoft, "FAT: General Overview of On-Disk Format" 1.03). So nothing in it
//! depends on when and where it was made, and no file system code is needed, which
//! would be for everything that can happen to a volume later.

/// Bytes of a sector; one sector is one cluster.
const SECTOR_BYTES: usize = 512;
const FATS: usize = 2;
const ROOT_ENTRIES: usize = 512;
const ENTRY_BYTES: usize = 32;
/// Most entries of a folder that is not the root.
const FOLDER_ENTRIES: usize = SECTOR_BYTES / ENTRY_BYTES;
const END_OF_CHAIN: u16 = 0xffff;
/// What makes it FAT16, and not FAT12 or FAT32.
const CLUSTERS: std::ops::Range<usize> = 4085..65_525;
/// 1980-01-01.
const FIRST_DAY: u16 = 1 << 5 | 1;

/// Attributes of an entry.
mod attribute {
    pub(super) const LABEL: u8 = 0x08;
    pub(super) const FOLDER: u8 = 0x10;
    pub(super) const FILE: u8 = 0x20;
    pub(super) const LONG_NAME: u8 = 0x0f;
}

/// A file of the volume, its path with `/`.
pub struct File<'a> {
    /// Where it is; folders on the way are made.
    pub path: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// The volume `label` of `sectors`, which starts at sector `first` of its disk.
pub fn volume(
    label: &str,
    number: u32,
    first: u32,
    sectors: u32,
    files: &[File<'_>],
) -> Result<Vec<u8>, String> {
    let shape = Shape::of(sectors as usize)?;
    let mut volume = Volume {
        bytes: vec![0; sectors as usize * SECTOR_BYTES],
        fat: vec![0xfff8, END_OF_CHAIN],
        root: vec![Entry::new(
            padded(label.as_bytes(), b""),
            attribute::LABEL,
            0,
            0,
        )],
        shape,
    };
    let mut tree = Folder::default();
    for file in files {
        tree.add(file.path, file.bytes);
    }
    volume.fill_root(&tree)?;
    volume.finish(label, number, first);
    Ok(volume.bytes)
}

/// Where the parts of a volume are, in sectors.
#[derive(Clone, Copy)]
struct Shape {
    sectors: usize,
    fat_sectors: usize,
    clusters: usize,
}

impl Shape {
    fn of(sectors: usize) -> Result<Self, String> {
        let root_sectors = ROOT_ENTRIES * ENTRY_BYTES / SECTOR_BYTES;
        // Enough for every sector to be a cluster: a few entries are never used.
        let fat_sectors = ((sectors + 2) * 2).div_ceil(SECTOR_BYTES);
        let clusters = sectors.saturating_sub(1 + FATS * fat_sectors + root_sectors);
        if !CLUSTERS.contains(&clusters) {
            return Err(format!(
                "a volume of {sectors} sectors cannot be FAT16 with clusters of one sector"
            ));
        }
        Ok(Self {
            sectors,
            fat_sectors,
            clusters,
        })
    }

    const fn root(self) -> usize {
        1 + FATS * self.fat_sectors
    }

    /// The sector of a cluster; the first is number 2.
    const fn sector(self, cluster: usize) -> usize {
        self.root() + ROOT_ENTRIES * ENTRY_BYTES / SECTOR_BYTES + cluster - 2
    }
}

/// What is in a folder, in the order in which it was added.
#[derive(Default)]
struct Folder<'a> {
    files: Vec<(&'a str, &'a [u8])>,
    folders: Vec<(&'a str, Folder<'a>)>,
}

impl<'a> Folder<'a> {
    fn add(&mut self, path: &'a str, bytes: &'a [u8]) {
        let Some((name, rest)) = path.split_once('/') else {
            self.files.push((path, bytes));
            return;
        };
        let known = self.folders.iter().position(|(known, _)| *known == name);
        let index = known.unwrap_or_else(|| {
            self.folders.push((name, Self::default()));
            self.folders.len() - 1
        });
        self.folders[index].1.add(rest, bytes);
    }
}

/// A volume in the making.
struct Volume {
    bytes: Vec<u8>,
    fat: Vec<u16>,
    root: Vec<Entry>,
    shape: Shape,
}

impl Volume {
    fn fill_root(&mut self, tree: &Folder<'_>) -> Result<(), String> {
        let entries = self.entries_of(tree, 0)?;
        self.root.extend(entries);
        if self.root.len() > ROOT_ENTRIES {
            return Err("the root of the boot partition is full".to_owned());
        }
        let at = self.shape.root() * SECTOR_BYTES;
        for (index, entry) in self.root.iter().enumerate() {
            let at = at + index * ENTRY_BYTES;
            self.bytes[at..at + ENTRY_BYTES].copy_from_slice(&entry.0);
        }
        Ok(())
    }

    /// Writes what is below `folder`, and returns its entries. `cluster` is its own.
    fn entries_of(&mut self, folder: &Folder<'_>, cluster: u16) -> Result<Vec<Entry>, String> {
        let mut entries = Vec::new();
        for (name, below) in &folder.folders {
            let own = self.allocate(name, 1)?;
            let mut inside = vec![
                Entry::new(padded(b".", b""), attribute::FOLDER, own, 0),
                Entry::new(padded(b"..", b""), attribute::FOLDER, cluster, 0),
            ];
            inside.extend(self.entries_of(below, own)?);
            if inside.len() > FOLDER_ENTRIES {
                return Err(format!("the folder {name} of the boot partition is full"));
            }
            let bytes: Vec<u8> = inside.iter().flat_map(|entry| entry.0).collect();
            self.put(own, &bytes);
            entries.extend(named(name, &entries, attribute::FOLDER, own, 0));
        }
        for (name, bytes) in &folder.files {
            let first = match bytes.len().div_ceil(SECTOR_BYTES) {
                0 => 0,
                clusters => self.allocate(name, clusters)?,
            };
            if first != 0 {
                self.put(first, bytes);
            }
            let size = u32::try_from(bytes.len()).expect("it fitted the volume");
            entries.extend(named(name, &entries, attribute::FILE, first, size));
        }
        Ok(entries)
    }

    /// Takes `clusters` in one piece, and returns the first.
    fn allocate(&mut self, name: &str, clusters: usize) -> Result<u16, String> {
        let first = self.fat.len();
        let free = self.shape.clusters + 2 - first;
        if clusters > free {
            return Err(format!(
                "{name} needs {} KiB in the boot partition and {} are free",
                clusters * SECTOR_BYTES / 1024,
                free * SECTOR_BYTES / 1024
            ));
        }
        let next = first + 1..first + clusters;
        self.fat.extend(next.map(|cluster| cluster as u16));
        self.fat.push(END_OF_CHAIN);
        Ok(first as u16)
    }

    fn put(&mut self, cluster: u16, bytes: &[u8]) {
        let at = self.shape.sector(usize::from(cluster)) * SECTOR_BYTES;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Writes the boot sector and the tables.
    fn finish(&mut self, label: &str, number: u32, first: u32) {
        let fat: Vec<u8> = self
            .fat
            .iter()
            .flat_map(|entry| entry.to_le_bytes())
            .collect();
        for copy in 0..FATS {
            let at = (1 + copy * self.shape.fat_sectors) * SECTOR_BYTES;
            self.bytes[at..at + fat.len()].copy_from_slice(&fat);
        }
        let small = u16::try_from(self.shape.sectors).unwrap_or(0);
        let large = if small == 0 {
            self.shape.sectors as u32
        } else {
            0
        };
        let mut put = |at: usize, bytes: &[u8]| {
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        };
        // A jump to a halt: nobody starts this sector, our own boot sector does not.
        put(0, &[0xeb, 0x3c, 0x90]);
        put(3, b"ublade  ");
        put(11, &(SECTOR_BYTES as u16).to_le_bytes());
        put(13, &[1]);
        put(14, &1_u16.to_le_bytes());
        put(16, &[FATS as u8]);
        put(17, &(ROOT_ENTRIES as u16).to_le_bytes());
        put(19, &small.to_le_bytes());
        put(21, &[0xf8]);
        put(22, &(self.shape.fat_sectors as u16).to_le_bytes());
        put(24, &63_u16.to_le_bytes());
        put(26, &255_u16.to_le_bytes());
        put(28, &first.to_le_bytes());
        put(32, &large.to_le_bytes());
        put(36, &[0x80, 0, 0x29]);
        put(39, &number.to_le_bytes());
        put(43, &padded(label.as_bytes(), b""));
        put(54, b"FAT16   ");
        // cli, hlt, and again.
        put(62, &[0xfa, 0xf4, 0xeb, 0xfc]);
        put(510, &[0x55, 0xaa]);
    }
}

/// One entry of a folder.
struct Entry([u8; ENTRY_BYTES]);

impl Entry {
    fn new(name: [u8; 11], attributes: u8, cluster: u16, size: u32) -> Self {
        let mut entry = [0; ENTRY_BYTES];
        entry[..11].copy_from_slice(&name);
        entry[11] = attributes;
        for date in [16, 18, 24] {
            entry[date..date + 2].copy_from_slice(&FIRST_DAY.to_le_bytes());
        }
        entry[26..28].copy_from_slice(&cluster.to_le_bytes());
        entry[28..].copy_from_slice(&size.to_le_bytes());
        Self(entry)
    }

    /// The first entry of a long name, which is the last part of it.
    fn is_long_and_last(&self) -> bool {
        self.0[11] == attribute::LONG_NAME && self.0[0] & 0x40 != 0
    }

    /// Part `number` (from 1) of a long name, which belongs to a short one.
    fn long(number: u8, is_last: bool, part: &[u16], short: [u8; 11]) -> Self {
        const PLACES: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
        let mut entry = [0; ENTRY_BYTES];
        entry[0] = number | if is_last { 0x40 } else { 0 };
        entry[11] = attribute::LONG_NAME;
        entry[13] = short
            .iter()
            .fold(0_u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte));
        // The name, an end, and then no characters at all.
        let text = part.iter().copied().chain([0]);
        let text = text.chain(std::iter::repeat(0xffff));
        for (at, unit) in PLACES.into_iter().zip(text) {
            entry[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        Self(entry)
    }
}

/// The entries of a name: one if it is a short name as it stands, otherwise its long
/// name in front, and a short one that no name `before` it in the folder has.
fn named(name: &str, before: &[Entry], attributes: u8, cluster: u16, size: u32) -> Vec<Entry> {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let is_short = base.len() <= 8
        && extension.len() <= 3
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'.');
    if is_short {
        let short = padded(base.as_bytes(), extension.as_bytes());
        return vec![Entry::new(short, attributes, cluster, size)];
    }
    let upper = |text: &str, most: usize| text[..text.len().min(most)].to_ascii_uppercase();
    let made_up = before.iter().filter(|entry| entry.is_long_and_last());
    let base = format!("{}~{}", upper(base, 6), made_up.count() + 1);
    let short = padded(base.as_bytes(), upper(extension, 3).as_bytes());
    let units: Vec<u16> = name.encode_utf16().collect();
    let parts = units.chunks(13).count();
    let mut entries: Vec<Entry> = units
        .chunks(13)
        .enumerate()
        .map(|(index, part)| Entry::long(index as u8 + 1, index + 1 == parts, part, short))
        .rev()
        .collect();
    entries.push(Entry::new(short, attributes, cluster, size));
    entries
}

/// Eight characters and three, filled up with blanks.
fn padded(base: &[u8], extension: &[u8]) -> [u8; 11] {
    let mut name = [b' '; 11];
    name[..base.len()].copy_from_slice(base);
    name[8..8 + extension.len()].copy_from_slice(extension);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use fatfs::{FatType, FileSystem, FsOptions};
    use std::io::{Cursor, Read};

    const SECTORS: u32 = 14_272;

    fn sample() -> Vec<u8> {
        let boot = vec![7; 300_000];
        let files = [
            File {
                path: "EFI/BOOT/BOOTX64.EFI",
                bytes: &boot,
            },
            File {
                path: "ublade.conf",
                bytes: b"rw=all\n",
            },
            File {
                path: "EFI/a name of more than thirteen letters.text",
                bytes: b"",
            },
        ];
        volume("UBLADE", 0x1234_5678, 2048, SECTORS, &files).unwrap()
    }

    #[test]
    fn another_reader_finds_every_file_by_its_path() {
        let mut bytes = sample();
        assert_eq!(bytes.len(), SECTORS as usize * 512);
        let volume = FileSystem::new(Cursor::new(&mut bytes), FsOptions::new()).unwrap();
        assert_eq!(volume.fat_type(), FatType::Fat16);
        assert_eq!(volume.volume_id(), 0x1234_5678);
        let label = volume.read_volume_label_from_root_dir().unwrap();
        assert_eq!(label.as_deref(), Some("UBLADE"));
        for (path, wanted) in [
            ("EFI/BOOT/BOOTX64.EFI", vec![7; 300_000]),
            ("ublade.conf", b"rw=all\n".to_vec()),
            ("EFI/a name of more than thirteen letters.text", Vec::new()),
        ] {
            let mut found = Vec::new();
            let mut file = volume.root_dir().open_file(path).unwrap();
            file.read_to_end(&mut found).unwrap();
            assert_eq!(found, wanted, "{path}");
        }
        let used = 300_000_usize.div_ceil(512) + 3;
        let free = volume.stats().unwrap().free_clusters();
        let all = volume.stats().unwrap().total_clusters();
        assert_eq!((all - free) as usize, used);
    }

    #[test]
    fn the_same_files_make_the_same_bytes() {
        assert_eq!(sample(), sample());
    }

    #[test]
    fn a_second_version_of_the_boot_file_has_room() {
        let largest = vec![1; 512 << 10];
        let file = |path| File {
            path,
            bytes: &largest,
        };
        let files = [file("EFI/BOOT/BOOTX64.EFI"), file("EFI/BOOT/OLD.EFI")];
        assert!(volume("UBLADE", 0, 0, SECTORS, &files).is_ok());
    }

    #[test]
    fn a_file_that_is_too_large_is_named() {
        let large = vec![0; SECTORS as usize * 512];
        let file = File {
            path: "ublade.conf",
            bytes: &large,
        };
        let error = volume("UBLADE", 0, 0, SECTORS, &[file]).unwrap_err();
        assert!(error.contains("ublade.conf"), "{error}");
    }

    #[test]
    fn a_volume_that_would_not_be_fat16_is_refused() {
        assert!(volume("UBLADE", 0, 0, 4000, &[]).is_err());
        assert!(volume("UBLADE", 0, 0, 70_000, &[]).is_err());
    }
}
