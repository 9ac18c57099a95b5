//! The ISO: a CD-ROM that is a disk as well.
//!
//! A CD-ROM keeps its first 32 KiB free, and a disk of ours keeps sectors 64 to 127
//! free, which is right behind them. So the ISO is the raw disk with the volume
//! descriptors of ISO 9660 (ECMA-119) in that gap. As a CD-ROM it boots by El Torito,
//! a BIOS from the boot file itself and UEFI from the boot partition; written to a
//! USB stick it is the disk that it is made of.
//!
//! There is one folder with three files, which are the parts of the disk under
//! names, for those who look into it.

use crate::disk::{self, Content, SECTOR_BYTES};
use crate::layout;

/// Bytes of a block, and sectors of a disk in it.
const BLOCK_BYTES: usize = 2048;
const PER_BLOCK: u32 = (BLOCK_BYTES / SECTOR_BYTES) as u32;
/// Blocks of the gap: descriptors (ECMA-119 6.2.1 and El Torito 1.0, 2.0 give the
/// first two their places), then what they point to.
const PRIMARY: u32 = 16;
const BOOT_RECORD: u32 = 17;
const TERMINATOR: u32 = 18;
const PATHS_LITTLE: u32 = 19;
const PATHS_BIG: u32 = 20;
const ROOT: u32 = 21;
const CATALOG: u32 = 22;
const _: () = assert!(CATALOG < layout::BOOT_FILE_LBA / PER_BLOCK);
const _: () = assert!(layout::BOOT_FILE_LBA.is_multiple_of(PER_BLOCK));
const _: () = assert!(disk::BOOT.first.is_multiple_of(PER_BLOCK));
const _: () = assert!(disk::SECTORS.is_multiple_of(PER_BLOCK));

/// A path table of the root alone.
const PATH_TABLE_BYTES: u32 = 10;

/// The whole ISO.
pub fn iso(content: &Content<'_>) -> Result<Vec<u8>, String> {
    let mut image = disk::raw(content)?;
    let boot_file = Extent {
        block: layout::BOOT_FILE_LBA / PER_BLOCK,
        bytes: u32::try_from(content.boot_file.len()).expect("it fitted the disk"),
    };
    let boot_partition = Extent {
        block: disk::BOOT.first / PER_BLOCK,
        bytes: disk::BOOT.sectors * SECTOR_BYTES as u32,
    };
    let catalog = Extent {
        block: CATALOG,
        bytes: BLOCK_BYTES as u32,
    };
    // In the order of their names, as the standard wants (9.3).
    let files = [
        ("BOOT.CAT;1", catalog),
        ("EFI.IMG;1", boot_partition),
        ("UBLADE.;1", boot_file),
    ];
    for (block, bytes) in [
        (PRIMARY, primary()),
        (BOOT_RECORD, boot_record()),
        (TERMINATOR, descriptor(255).to_vec()),
        (PATHS_LITTLE, path_table(ROOT.to_le_bytes(), [1, 0])),
        (PATHS_BIG, path_table(ROOT.to_be_bytes(), [0, 1])),
        (ROOT, root(&files)),
        (CATALOG, catalog_of(boot_file, boot_partition)),
    ] {
        assert!(bytes.len() <= BLOCK_BYTES);
        let at = block as usize * BLOCK_BYTES;
        image[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    Ok(image)
}

/// Where a file is.
#[derive(Clone, Copy)]
struct Extent {
    block: u32,
    bytes: u32,
}

/// An empty volume descriptor of `kind`.
fn descriptor(kind: u8) -> [u8; 7] {
    [kind, b'C', b'D', b'0', b'0', b'1', 1]
}

/// Numbers are there twice, once for each order of bytes.
fn both_32(value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn both_16(value: u16) -> [u8; 4] {
    let [low, high] = value.to_le_bytes();
    [low, high, high, low]
}

/// The primary volume descriptor (ECMA-119 8.4).
fn primary() -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &descriptor(1));
    put(8, &[b' '; 64]);
    put(40, disk::LABEL.as_bytes());
    put(80, &both_32(disk::SECTORS / PER_BLOCK));
    put(120, &both_16(1));
    put(124, &both_16(1));
    put(128, &both_16(BLOCK_BYTES as u16));
    put(132, &both_32(PATH_TABLE_BYTES));
    put(140, &PATHS_LITTLE.to_le_bytes());
    put(148, &PATHS_BIG.to_be_bytes());
    put(156, &record(&[0], ROOT_EXTENT, true));
    // Sets, publishers and files that nobody names are blank; dates that are not
    // given are the digit 0 and a zone of 0 (8.4.26.1).
    put(190, &[b' '; 623]);
    for date in 0..4 {
        put(813 + 17 * date, &[b'0'; 16]);
    }
    put(881, &[1]);
    block
}

/// The descriptor that says where the boot catalog is (El Torito 1.0, 2.0).
fn boot_record() -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES];
    block[..7].copy_from_slice(&descriptor(0));
    block[7..30].copy_from_slice(b"EL TORITO SPECIFICATION");
    block[71..75].copy_from_slice(&CATALOG.to_le_bytes());
    block
}

const ROOT_EXTENT: Extent = Extent {
    block: ROOT,
    bytes: BLOCK_BYTES as u32,
};

/// The root in a path table (ECMA-119 9.4): a name of one byte and a pad.
fn path_table(block: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    let mut entry = vec![1, 0];
    entry.extend(block);
    entry.extend(parent);
    entry.extend([0, 0]);
    entry
}

/// A directory record (ECMA-119 9.1). Seven bytes of zero are no date.
fn record(name: &[u8], extent: Extent, is_folder: bool) -> Vec<u8> {
    let mut record = vec![0, 0];
    record.extend(both_32(extent.block));
    record.extend(both_32(extent.bytes));
    record.extend([0; 7]);
    record.push(if is_folder { 2 } else { 0 });
    record.extend([0, 0]);
    record.extend(both_16(1));
    record.push(name.len() as u8);
    record.extend(name);
    if record.len() % 2 == 1 {
        record.push(0);
    }
    record[0] = record.len() as u8;
    record
}

/// The one folder: itself, its parent (which it is), the files.
fn root(files: &[(&str, Extent)]) -> Vec<u8> {
    let mut folder = record(&[0], ROOT_EXTENT, true);
    folder.extend(record(&[1], ROOT_EXTENT, true));
    for (name, extent) in files {
        folder.extend(record(name.as_bytes(), *extent, false));
    }
    folder
}

/// What can be booted (El Torito 1.0, 2.1 to 2.4): the boot file as it is by a
/// BIOS, the boot partition by UEFI (UEFI 2.10, 13.3.2.1).
fn catalog_of(boot_file: Extent, boot_partition: Extent) -> Vec<u8> {
    const PC: u8 = 0;
    const UEFI: u8 = 0xef;
    const BOOTABLE: u8 = 0x88;
    const LAST_SECTION: u8 = 0x91;
    let mut catalog = vec![0; 128];
    catalog[0] = 1;
    catalog[1] = PC;
    catalog[4..10].copy_from_slice(b"ublade");
    catalog[30..32].copy_from_slice(&[0x55, 0xaa]);
    // All words of the first entry add up to 0.
    let words = catalog[..32].chunks_exact(2);
    let sum = words.fold(0_u16, |sum, word| {
        sum.wrapping_add(u16::from_le_bytes([word[0], word[1]]))
    });
    catalog[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    let mut put = |at: usize, extent: Extent| {
        let sectors = extent.bytes.div_ceil(SECTOR_BYTES as u32);
        let sectors = u16::try_from(sectors).expect("at most 8 MiB");
        catalog[at] = BOOTABLE;
        catalog[at + 6..at + 8].copy_from_slice(&sectors.to_le_bytes());
        catalog[at + 8..at + 12].copy_from_slice(&extent.block.to_le_bytes());
    };
    put(32, boot_file);
    put(96, boot_partition);
    catalog[64] = LAST_SECTION;
    catalog[65] = UEFI;
    catalog[66] = 1;
    catalog
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: Content<'_> = Content {
        boot_sector: &[0xfa; 440],
        boot_file: &[0x4d; 1001],
        conf: b"rw=all\n",
    };

    fn at(image: &[u8], block: u32) -> &[u8] {
        &image[block as usize * BLOCK_BYTES..][..BLOCK_BYTES]
    }

    #[test]
    fn outside_the_gap_it_is_the_raw_disk() {
        let (iso, raw) = (iso(&CONTENT).unwrap(), disk::raw(&CONTENT).unwrap());
        let gap = 64 * 512..128 * 512;
        assert_eq!(iso[..gap.start], raw[..gap.start]);
        assert_eq!(iso[gap.end..], raw[gap.end..]);
        assert!(raw[gap].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn the_catalog_leads_to_the_boot_file_and_to_the_boot_partition() {
        let iso = iso(&CONTENT).unwrap();
        let record = at(&iso, BOOT_RECORD);
        assert_eq!(&record[1..6], b"CD001");
        let catalog = u32::from_le_bytes(record[71..75].try_into().unwrap());
        let catalog = at(&iso, catalog);
        let sum = catalog[..32].chunks_exact(2).fold(0_u16, |sum, word| {
            sum.wrapping_add(u16::from_le_bytes(word.try_into().unwrap()))
        });
        assert_eq!(sum, 0, "the first entry's words add up to 0");
        let entry = |from: usize| {
            let entry = &catalog[from..from + 32];
            let sectors = u16::from_le_bytes(entry[6..8].try_into().unwrap());
            let block = u32::from_le_bytes(entry[8..12].try_into().unwrap());
            assert_eq!(entry[0], 0x88);
            (sectors, at(&iso, block))
        };
        let (sectors, start) = entry(32);
        assert_eq!((sectors, &start[..1001]), (2, &[0x4d; 1001][..]));
        let (sectors, start) = entry(96);
        assert_eq!((sectors, &start[54..59]), (14_272, &b"FAT16"[..]));
        assert_eq!(catalog[64..67], [0x91, 0xef, 1]);
    }
}
