//! FAT volumes: any change of a volume that was right.
//!
//! The input chooses a volume (of 12, 16 or 32 bits, alone or in a partition) and
//! changes its first sector, its table, its root directory or its files. Nothing
//! outside of the volume is read, everything read has an end, a name that is listed
//! is found, and a file that is read again in a shorter buffer begins the same. An
//! unchanged volume gives the settings that were written to it.

use crate::sparse::{SECTOR_BYTES, Sparse, change};
use node::media::fat::{Entry, Trouble, Volume};
use node::media::{CONF_BYTES_MAX, CONF_NAME, survey};
use sim::random::Random;

/// A directory: its sectors and, for each, the table's entry in two of them.
const LIST_READS_MAX: usize = 128 * 3;
/// A file of the longest that is read: as above.
const FILE_READS_MAX: usize = CONF_BYTES_MAX / SECTOR_BYTES * 3;
/// A whole survey: tables, and for each partition a volume with label and settings.
const SURVEY_READS_MAX: usize = 1_024 + 33 * (1 + 2 * LIST_READS_MAX);
/// Where the partition begins, if there is one.
const PARTITION: u64 = 64;
/// Entries of a root directory that does not grow.
const ROOT_ENTRIES: u64 = 64;
/// The clusters of the settings, in their order.
const CHAIN: [u32; 4] = [9, 5, 6, 17];
/// Listed files that are looked for by name.
const NAMES_MAX: usize = 8;

/// A volume of the choice of an input.
struct Made {
    disk: Sparse,
    first: u64,
    sectors: u64,
    /// Where its table, its root directory and its files begin.
    table: u64,
    root: u64,
    data: u64,
}

/// What the settings hold: enough for every cluster of their chain.
fn content(cluster_bytes: usize) -> Vec<u8> {
    let bytes = cluster_bytes * (CHAIN.len() - 1) + 300;
    (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect()
}

impl Made {
    fn new(settings: u8) -> Self {
        let bits = [12, 16, 32, 32][usize::from(settings & 3)];
        let cluster_sectors = 1 << (settings >> 2 & 3);
        let clusters: u64 = [200, 5_000, 66_000, 66_000][usize::from(settings & 3)];
        let is_32 = bits == 32;
        let reserved: u64 = if is_32 { 32 } else { 1 };
        let table_sectors = ((clusters + 2) * bits).div_ceil(8 * SECTOR_BYTES as u64);
        let root = reserved + 2 * table_sectors;
        let root_entries = if is_32 { 0 } else { ROOT_ENTRIES };
        let data = root + root_entries / 16;
        let sectors = data + clusters * cluster_sectors;
        let first = if settings & 16 == 0 { 0 } else { PARTITION };
        let mut disk = Sparse::new(first + sectors + 3);

        let mut boot = vec![0; SECTOR_BYTES];
        let mut put = |at: usize, bytes: &[u8]| boot[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[0xeb, 0x3c, 0x90]);
        put(11, &512u16.to_le_bytes());
        put(13, &[cluster_sectors as u8]);
        put(14, &(reserved as u16).to_le_bytes());
        put(16, &[2]);
        put(17, &(root_entries as u16).to_le_bytes());
        put(32, &(sectors as u32).to_le_bytes());
        if is_32 {
            put(36, &(table_sectors as u32).to_le_bytes());
            put(44, &2u32.to_le_bytes());
        } else {
            put(22, &(table_sectors as u16).to_le_bytes());
        }
        put(if is_32 { 71 } else { 43 }, b"NO NAME    ");
        put(510, &[0x55, 0xaa]);
        disk.put(first, 0, &boot);
        if first > 0 {
            let mut entry = vec![0, 0, 0, 0, 0x0c, 0, 0, 0];
            entry.extend((first as u32).to_le_bytes());
            entry.extend((sectors as u32).to_le_bytes());
            disk.put(0, 446, &entry);
            disk.put(0, 510, &[0x55, 0xaa]);
        }
        let mut made = Self {
            disk,
            first,
            sectors,
            table: first + reserved,
            root: first + if is_32 { data } else { root },
            data: first + data,
        };
        // The root directory of 32 bits has clusters 2 and 3.
        let root_chain: &[u32] = if is_32 { &[2, 3] } else { &[] };
        for chain in [&CHAIN[..], root_chain] {
            for (index, &cluster) in chain.iter().enumerate() {
                let next = chain.get(index + 1).copied().unwrap_or(0x0fff_ffff);
                made.link(bits, cluster, next);
            }
        }
        let label = if settings & 32 == 0 {
            b"UBLADE     "
        } else {
            b"CIDATA     "
        };
        let content = content(cluster_sectors as usize * SECTOR_BYTES);
        made.disk
            .put(made.root, 0, &directory(label, content.len()));
        let cluster_bytes = cluster_sectors as usize * SECTOR_BYTES;
        for (cluster, part) in CHAIN.iter().zip(content.chunks(cluster_bytes)) {
            let at = made.data + u64::from(cluster - 2) * cluster_sectors;
            made.disk.put(at, 0, part);
        }
        made
    }

    /// The table's entry of a cluster.
    fn link(&mut self, bits: u64, cluster: u32, next: u32) {
        let at = (u64::from(cluster) * bits / 8) as usize;
        let sector = |at: usize| self.table + (at / SECTOR_BYTES) as u64;
        let byte = |at: usize| self.disk.look(sector(at))[at % SECTOR_BYTES];
        let bytes = match (bits, cluster & 1) {
            (12, 0) => vec![next as u8, byte(at + 1) & 0xf0 | (next >> 8) as u8 & 15],
            (12, _) => vec![byte(at) & 15 | (next << 4) as u8, (next >> 4) as u8],
            (16, _) => (next as u16).to_le_bytes().to_vec(),
            _ => next.to_le_bytes().to_vec(),
        };
        self.disk.put(self.table, at, &bytes);
    }

    /// A sector near one of the places where something is to be read.
    fn place(&self) -> impl Fn(u16) -> u64 + use<> {
        let bases = [self.first, self.table, self.root, self.data];
        move |place| bases[usize::from(place >> 14)] + u64::from(place & 0x3fff)
    }
}

/// A root directory: the label, a file that was removed, a directory, and the
/// settings under a long name.
fn directory(label: &[u8; 11], bytes: usize) -> Vec<u8> {
    let entry = |name: &[u8; 11], attributes: u8, cluster: u16, bytes: usize| {
        let mut entry = vec![0; 32];
        entry[..11].copy_from_slice(name);
        entry[11] = attributes;
        entry[26..28].copy_from_slice(&cluster.to_le_bytes());
        entry[28..].copy_from_slice(&(bytes as u32).to_le_bytes());
        entry
    };
    let short = b"UBLADE~1CON";
    let sum = short
        .iter()
        .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let mut long = entry(b"           ", 0x0f, 0, 0);
    (long[0], long[13]) = (0x41, sum);
    let places = (1..11)
        .step_by(2)
        .chain((14..26).step_by(2))
        .chain([28, 30]);
    let units = CONF_NAME.encode_utf16().chain([0]);
    for (at, unit) in places.zip(units.chain(std::iter::repeat(0xffff))) {
        long[at..at + 2].copy_from_slice(&unit.to_le_bytes());
    }
    [
        entry(label, 0x08, 0, 0),
        entry(b"\xe5LDFILE TXT", 0x20, 17, 9),
        entry(b"FOLDER     ", 0x10, 17, 0),
        long,
        entry(short, 0x20, CHAIN[0] as u16, bytes),
        entry(b"EMPTY   TXT", 0x20, 0, 0),
    ]
    .concat()
}

/// Any change of a volume.
pub fn run(data: &[u8]) {
    let Some((&[settings, bad], changes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let mut made = Made::new(settings);
    made.disk.change(changes, made.place());
    if settings & 64 != 0 {
        made.disk.bad = Some(made.place()(u16::from(bad & 3) << 14 | u16::from(bad >> 2)));
    }
    look_at_all(&mut made.disk, changes.is_empty());
    let (first, sectors) = (made.first, made.sectors);
    let within = first..first + sectors;
    let disk = &mut made.disk;
    let opened = Volume::open(disk.allow(within.clone(), 1), first, sectors);
    assert_eq!(opened.is_err(), disk.has_failed);
    let Ok(Some(volume)) = opened else {
        return;
    };
    let label = volume.label(disk.allow(within.clone(), LIST_READS_MAX));
    tells_of_failure(disk, &label);
    let mut entries = Vec::new();
    let listed = volume.list(disk.allow(within.clone(), LIST_READS_MAX), &mut |entry| {
        entries.push(*entry);
        true
    });
    tells_of_failure(disk, &listed);
    for entry in entries.iter().take(NAMES_MAX) {
        let name = entry.name.as_str();
        let found = volume.find(disk.allow(within.clone(), LIST_READS_MAX), name);
        let is_it =
            |one: &&Entry| !one.is_directory && one.name.as_str().eq_ignore_ascii_case(name);
        let first = entries.iter().find(is_it).copied();
        assert!(
            found == Ok(first) || listed.is_err(),
            "{found:?} for {name}"
        );
        read_twice(disk, &volume, entry, within.clone());
    }
}

/// The survey of the whole disk, and the settings if there are any.
fn look_at_all(disk: &mut Sparse, is_unchanged: bool) {
    let whole = 0..node::media::Blocks::sectors(disk);
    let found = survey(disk.allow(whole.clone(), SURVEY_READS_MAX));
    assert_eq!(found.is_err(), disk.has_failed, "a failure is told as one");
    let Ok(found) = found else {
        return;
    };
    assert!(
        found.conf.is_none() || found.own.is_some(),
        "settings of nobody"
    );
    let Some(conf) = found.conf else {
        assert!(!is_unchanged, "the settings are there and not found");
        return;
    };
    let mut text = vec![0; CONF_BYTES_MAX];
    let read = conf.read(disk.allow(whole, FILE_READS_MAX), &mut text);
    tells_of_failure(disk, &read);
    if is_unchanged && !disk.has_failed {
        let len = read.expect("nothing is broken");
        assert_eq!(len, conf.bytes().min(CONF_BYTES_MAX));
        let cluster_bytes = (conf.bytes() - 300) / (CHAIN.len() - 1);
        assert_eq!(text[..len], content(cluster_bytes)[..len]);
    }
}

/// A file, and the same again in a shorter buffer.
fn read_twice(disk: &mut Sparse, volume: &Volume, entry: &Entry, within: std::ops::Range<u64>) {
    let mut long = vec![0xa5; CONF_BYTES_MAX];
    let read = volume.read(disk.allow(within.clone(), FILE_READS_MAX), entry, &mut long);
    tells_of_failure(disk, &read);
    let Ok(len) = read else {
        return;
    };
    assert_eq!(len, CONF_BYTES_MAX.min(entry.bytes as usize));
    assert!(
        long[len..].iter().all(|byte| *byte == 0xa5),
        "past the file's end"
    );
    let mut short = vec![0; len / 2];
    let again = volume.read(disk.allow(within, FILE_READS_MAX), entry, &mut short);
    assert_eq!(again, Ok(len / 2));
    assert_eq!(short, long[..len / 2], "a file begins as it begins");
}

fn tells_of_failure<T>(disk: &Sparse, result: &Result<T, Trouble>) {
    let is_told = matches!(result, Err(Trouble::Unread));
    assert_eq!(is_told, disk.has_failed, "a failure is told as one");
}

/// A volume with a few changes where they matter.
pub fn generate(random: &mut Random, input: &mut Vec<u8>) {
    input.push(random.next() as u8 & if random.one_in(6) { 0xff } else { 0xbf });
    input.push(random.next() as u8);
    for _ in 0..random.below(5) {
        let mut noise = [0; 6];
        random.fill(&mut noise);
        let noise = &noise[..random.between(1, 6) as usize];
        let (base, at) = match random.below(4) {
            0 => (0, *random.pick(&[11, 13, 14, 16, 17, 19, 22, 32, 36, 44])),
            1 => (1, random.below(80) as usize),
            2 => (2, random.below(32 * 8) as usize),
            _ => (random.below(4) as u16, random.below(512) as usize),
        };
        let sector = if random.one_in(8) {
            random.below(9) as u16
        } else {
            0
        };
        change(input, base << 14 | sector, at, noise);
    }
}
