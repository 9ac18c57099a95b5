//! Readers against volumes and tables that other people's code has written, and
//! against the same with anything broken.

use super::fat::{Trouble, Volume};
use super::*;
use crate::fake::Random;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use std::io::{Cursor, Write};

/// Sectors in memory. It fails the test if a sector is asked for that there is
/// not, or if more are read than a start-up can wait for.
struct Array {
    bytes: Vec<u8>,
    reads: usize,
    /// The sector that can not be read.
    bad: Option<u64>,
}

const READS_MAX: usize = 4000;

impl Array {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            reads: 0,
            bad: None,
        }
    }
}

impl Blocks for Array {
    fn sectors(&self) -> u64 {
        (self.bytes.len() / 512) as u64
    }

    fn read(&mut self, lba: u64, sector: &mut Sector) -> Result<(), Unread> {
        assert!(lba < self.sectors(), "sector {lba} of {}", self.sectors());
        self.reads += 1;
        assert!(self.reads <= READS_MAX, "there is no end to it");
        if self.bad == Some(lba) {
            return Err(Unread);
        }
        sector.copy_from_slice(&self.bytes[lba as usize * 512..][..512]);
        Ok(())
    }
}

/// A volume as `fatfs` makes it.
fn volume(kib: usize, label: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; kib << 10];
    let mut padded = [b' '; 11];
    padded[..label.len()].copy_from_slice(label.as_bytes());
    let options = fatfs::FormatVolumeOptions::new()
        .volume_label(padded)
        .bytes_per_cluster(512);
    fatfs::format_volume(Cursor::new(&mut bytes[..]), options).expect("it formats");
    let image = Cursor::new(&mut bytes[..]);
    let system = fatfs::FileSystem::new(image, fatfs::FsOptions::new()).expect("it opens");
    for (name, content) in files {
        let mut file = system.root_dir().create_file(name).expect("it makes");
        file.write_all(content).expect("it writes");
    }
    drop(system);
    bytes
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|index| (index * 7 + index / 251) as u8)
        .collect()
}

/// Sizes that make a FAT12, a FAT16 and a FAT32 of 512-byte clusters.
const KIB: [usize; 3] = [720, 8 << 10, 40 << 10];

#[test]
fn a_file_of_every_kind_of_volume_is_read_as_it_was_written() {
    for kib in KIB {
        let text = content(13_337);
        let long = "a name that is much longer than eight letters and three.text";
        let files: [(&str, &[u8]); 4] = [
            ("OTHER.TXT", b"other"),
            (long, b"long"),
            ("ublade.conf", &text),
            ("empty", b""),
        ];
        let mut array = Array::new(volume(kib, "UBLADE", &files));
        let sectors = array.sectors();
        let volume = Volume::open(&mut array, 0, sectors)
            .expect("it reads")
            .expect("it is a volume");
        assert_eq!(
            volume.label(&mut array).expect("a label").as_str(),
            "UBLADE"
        );
        for (name, bytes) in files {
            let name = name.to_uppercase();
            let entry = volume.find(&mut array, &name).expect("it reads");
            let entry = entry.expect("it is there");
            let mut read = vec![0; 20_000];
            let len = volume.read(&mut array, &entry, &mut read);
            assert_eq!(len, Ok(bytes.len()));
            assert_eq!(read[..bytes.len()], *bytes);
        }
        assert_eq!(volume.find(&mut array, "none"), Ok(None));
    }
}

#[test]
fn a_directory_and_a_removed_file_are_not_the_settings() {
    let mut bytes = volume(720, "UBLADE", &[("ublade.conf", b"shelf=1")]);
    {
        let image = Cursor::new(&mut bytes[..]);
        let system = fatfs::FileSystem::new(image, fatfs::FsOptions::new()).expect("it opens");
        system.root_dir().remove("ublade.conf").expect("it goes");
        system
            .root_dir()
            .create_dir("ublade.conf")
            .expect("it comes");
    }
    let found = survey(&mut Array::new(bytes)).expect("it reads");
    assert_eq!(found.own, Some(Own::Ublade));
    assert!(found.conf.is_none());
}

/// An MBR with these entries: type, first sector, sectors.
fn mbr(sectors: usize, entries: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut bytes = vec![0; sectors * 512];
    sign(&mut bytes, 0, entries);
    bytes
}

fn sign(bytes: &mut [u8], lba: usize, entries: &[(u8, u32, u32)]) {
    let sector = &mut bytes[lba * 512..][..512];
    for (index, (kind, first, sectors)) in entries.iter().enumerate() {
        let entry = &mut sector[446 + index * 16..][..16];
        entry[4] = *kind;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..].copy_from_slice(&sectors.to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
}

fn numbers(bytes: Vec<u8>) -> Vec<(u16, u64, u64)> {
    let found = partitions(&mut Array::new(bytes)).expect("it reads");
    let row = |one: &Partition| (one.number, one.first, one.sectors);
    found.iter().map(row).collect()
}

#[test]
fn logical_partitions_are_counted_from_five() {
    let mut bytes = mbr(
        1000,
        &[(0x83, 10, 20), (0x05, 100, 500), (0, 0, 0), (0x0c, 40, 10)],
    );
    sign(&mut bytes, 100, &[(0x83, 1, 50), (0x05, 100, 100)]);
    sign(&mut bytes, 200, &[(0x83, 2, 30)]);
    assert_eq!(
        numbers(bytes),
        [(1, 10, 20), (4, 40, 10), (5, 101, 50), (6, 202, 30)]
    );
}

#[test]
fn a_chain_of_logical_partitions_that_bites_its_tail_ends() {
    let mut bytes = mbr(1000, &[(0x05, 100, 500)]);
    sign(&mut bytes, 100, &[(0x83, 1, 50), (0x05, 100, 100)]);
    sign(&mut bytes, 200, &[(0x83, 1, 30), (0x05, 100, 100)]);
    assert_eq!(numbers(bytes).len(), 24);
}

#[test]
fn a_partition_that_leaves_its_disk_is_none() {
    assert_eq!(
        numbers(mbr(100, &[(0x83, 50, 50), (0x83, 50, 51)])).len(),
        1
    );
    assert_eq!(numbers(mbr(100, &[(0x83, u32::MAX, u32::MAX)])).len(), 0);
    assert_eq!(numbers(vec![0; 512 * 9]).len(), 0);
    assert_eq!(numbers(vec![]).len(), 0);
}

/// A disk with a GPT of two partitions, as the crate `gpt` makes it.
fn gpt_disk() -> Vec<u8> {
    let mut image = Cursor::new(vec![0; 4 << 20]);
    gpt::mbr::ProtectiveMBR::with_lb_size(8191)
        .overwrite_lba0(&mut image)
        .expect("it writes");
    let mut disk = gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(gpt::disk::LogicalBlockSize::Lb512)
        .create_from_device(image, None)
        .expect("it makes");
    disk.add_partition("boot", 1 << 20, gpt::partition_types::EFI, 0, None)
        .expect("there is room");
    disk.add_partition("Döner 2", 64 << 10, gpt::partition_types::LINUX_FS, 0, None)
        .expect("there is room");
    disk.write().expect("it writes").into_inner()
}

#[test]
fn names_and_identities_of_a_gpt_are_read_from_either_copy() {
    let bytes = gpt_disk();
    let oracle = gpt::GptConfig::new()
        .logical_block_size(gpt::disk::LogicalBlockSize::Lb512)
        .open_from_device(Cursor::new(bytes.clone()))
        .expect("it opens");
    for broken in [None, Some(512 + 60), Some(1024 + 130)] {
        let mut bytes = bytes.clone();
        if let Some(at) = broken {
            bytes[at] ^= 1;
        }
        let found = partitions(&mut Array::new(bytes)).expect("it reads");
        assert_eq!(found.len(), 2, "broken at {broken:?}");
        for partition in found.iter() {
            let theirs = &oracle.partitions()[&u32::from(partition.number)];
            assert_eq!(partition.first, theirs.first_lba);
            assert_eq!(partition.first + partition.sectors - 1, theirs.last_lba);
            assert_eq!(partition.name.as_str(), theirs.name);
            assert!(partition.is_called(&theirs.name));
            assert!(partition.is_called(&theirs.part_guid.to_string()));
            assert!(partition.is_called(&theirs.part_guid.to_string().to_uppercase()));
        }
    }
    let mut bytes = bytes;
    let end = bytes.len() - 512;
    bytes[520] ^= 1;
    bytes[end + 20] ^= 1;
    assert_eq!(numbers(bytes), [], "no good copy, no partitions");
}

/// A disk as our own image is laid out: a volume and a state partition.
fn own_disk(label: &str) -> Vec<u8> {
    let mut bytes = mbr(2048 + 1024, &[(0x01, 2048, 1024), (0xda, 1024, 512)]);
    let conf: &[u8] = b"shelf=7\nrw=all\n";
    let volume = volume(512, label, &[("ublade.conf", conf)]);
    bytes[2048 * 512..][..volume.len()].copy_from_slice(&volume);
    bytes
}

fn conf_of(bytes: Vec<u8>) -> (Survey, Option<String>) {
    let mut array = Array::new(bytes);
    let found = survey(&mut array).expect("it reads");
    let text = found.conf.map(|conf| {
        let mut text = vec![0; CONF_BYTES_MAX];
        let len = conf.read(&mut array, &mut text).expect("it reads");
        text.truncate(len);
        String::from_utf8(text).expect("it is a text")
    });
    (found, text)
}

#[test]
fn settings_are_found_by_label_with_and_without_partitions() {
    for (label, own) in [("UBLADE", Own::Boot), ("cidata", Own::Cidata)] {
        let (found, text) = conf_of(own_disk(label));
        assert_eq!(found.own, Some(own));
        assert_eq!(text.as_deref(), Some("shelf=7\nrw=all\n"));
        // Zeros count as a state area only beside our own volume.
        assert_eq!(found.state.is_some(), own == Own::Boot);
    }
    let bare = volume(720, "CIDATA", &[("UBLADE.CONF", b"rw=all")]);
    let (found, text) = conf_of(bare);
    assert_eq!(found.own, Some(Own::Cidata));
    assert_eq!(text.as_deref(), Some("rw=all"));
    let (found, text) = conf_of(own_disk("DATA"));
    assert_eq!((found.own, text), (None, None), "somebody else's volume");
}

#[test]
fn a_state_area_in_use_makes_the_disk_ours_without_any_label() {
    let mut bytes = own_disk("DATA");
    let mut copy = crate::state::Copy::new();
    copy.seal(1);
    bytes[1024 * 512..][..512].copy_from_slice(&copy.sectors()[..512]);
    let (found, _) = conf_of(bytes);
    assert_eq!(found.own, Some(Own::Boot));
    assert_eq!(found.state, Some((1024, 512)));
}

#[test]
fn a_sector_that_can_not_be_read_is_said() {
    let mut array = Array::new(own_disk("UBLADE"));
    array.bad = Some(2048);
    assert!(survey(&mut array).is_err());
    array.bad = Some(0);
    assert!(survey(&mut array).is_err());
}

/// Every byte of the sectors that are looked at, with every value that borders
/// are made of: no panic, no sector outside, an end.
#[test]
fn whatever_one_byte_says_there_is_an_end() {
    let disks = [
        own_disk("UBLADE"),
        gpt_disk(),
        volume(720, "CIDATA", &[("ublade.conf", b"x")]),
    ];
    for disk in disks {
        let mut looked: Vec<usize> = vec![0, 1, 2, 1024, 2048, 2049, 2050];
        looked.push(disk.len() / 512 - 1);
        for sector in looked.into_iter().filter(|at| at * 512 < disk.len()) {
            let mut bytes = disk.clone();
            for at in sector * 512..sector * 512 + 512 {
                let good = bytes[at];
                for value in [0, 1, 0x7f, 0x80, 0xff, good.wrapping_add(1)] {
                    bytes[at] = value;
                    let mut array = Array::new(core::mem::take(&mut bytes));
                    if let Ok(found) = survey(&mut array)
                        && let Some(conf) = found.conf
                    {
                        let mut text = [0; 4096];
                        let read = conf.read(&mut array, &mut text);
                        assert_ne!(read, Err(Trouble::Unread));
                    }
                    bytes = array.bytes;
                }
                bytes[at] = good;
            }
        }
    }
}

#[test]
fn whatever_many_bytes_say_there_is_an_end() {
    let disks = [
        own_disk("UBLADE"),
        gpt_disk(),
        volume(KIB[1], "CIDATA", &[("ublade.conf", &content(9000))]),
    ];
    for seed in 0..600_u64 {
        let mut random = Random(seed);
        let mut disk = disks[(seed % 3) as usize].clone();
        let base = if random.below(2) == 0 { 0 } else { 2048 * 512 };
        for _ in 0..=random.below(12) {
            let at = base + random.below(16 * 512) as usize;
            if let Some(byte) = disk.get_mut(at) {
                *byte = random.next() as u8;
            }
        }
        let mut array = Array::new(disk);
        if let Ok(found) = survey(&mut array)
            && let Some(conf) = found.conf
        {
            let mut text = vec![0; CONF_BYTES_MAX];
            assert_ne!(
                conf.read(&mut array, &mut text),
                Err(Trouble::Unread),
                "seed {seed}"
            );
        }
        assert!(format!("{:?}", found_any(&mut array)).len() > 1);
    }
}

fn found_any(array: &mut Array) -> Vec<Partition> {
    array.reads = 0;
    partitions(array)
        .map(|list| list.to_vec())
        .unwrap_or_default()
}
