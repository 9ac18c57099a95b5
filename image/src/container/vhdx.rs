//! VHDX, dynamic: Hyper-V's own ([MS-VHDX] 2.1 to 2.6).
//!
//! Everything is aligned to a MiB: the header section (two headers, two region
//! tables), a log that is empty, the metadata, the block table, and the blocks that
//! are not zero. There are two headers so that one can be written while the other
//! holds; the one with the higher number counts.

use super::{Page, guid, pieces};

const MIB: usize = 1 << 20;
const KIB: usize = 1 << 10;
const LOG: usize = MIB;
const METADATA: usize = 2 * MIB;
const TABLE: usize = 3 * MIB;
const BLOCKS: usize = 4 * MIB;
/// The smallest that is allowed.
const BLOCK_BYTES: usize = MIB;
const SECTOR_BYTES: u32 = 512;
/// State of a block that is all there.
const PRESENT: u64 = 6;

const BAT_REGION: u128 = 0x2dc27766_f623_4200_9d64_115e9bfd4a08;
const METADATA_REGION: u128 = 0x8b7ca206_4790_4b9a_b8fe_575f050f886e;
const FILE_PARAMETERS: u128 = 0xcaa16737_fa36_4d43_b3b6_33f0aa44e76b;
const DISK_BYTES: u128 = 0x2fa54224_cd1b_4876_b211_5dbed83bf4b8;
const DISK_ID: u128 = 0xbeca12ab_b2e6_4523_93ef_c309e000c746;
const LOGICAL_SECTOR: u128 = 0x8141bf1d_a96f_4709_ba47_f233a8faab5f;
const PHYSICAL_SECTOR: u128 = 0xcda348c7_445d_4471_9cc9_e9885251c556;

/// Three numbers that no other disk has.
#[derive(Clone, Copy)]
pub struct Names {
    /// Changes when the file is written.
    pub file_write: [u8; 16],
    /// Changes when the disk's content is.
    pub data_write: [u8; 16],
    /// The disk's own.
    pub disk: [u8; 16],
}

/// `disk` as a VHDX file.
pub fn vhdx(disk: &[u8], names: Names) -> Vec<u8> {
    let mut file = Page::new(BLOCKS);
    file.put(0, b"vhdxfile");
    let creator: Vec<u8> = "ublade".encode_utf16().flat_map(u16::to_le_bytes).collect();
    file.put(8, creator);
    for (sequence, at) in [(1_u64, 64 * KIB), (2, 128 * KIB)] {
        file.put(at, header(sequence, names));
    }
    for at in [192 * KIB, 256 * KIB] {
        file.put(at, region_table());
    }
    file.put(METADATA, metadata(disk.len() as u64, names.disk));
    let mut data = Vec::new();
    for (index, (piece, is_used)) in pieces(disk, BLOCK_BYTES).enumerate() {
        if is_used {
            // An offset in MiB from bit 20 on is the offset itself.
            let entry = (BLOCKS + data.len()) as u64 | PRESENT;
            file.put(TABLE + 8 * index, entry.to_le_bytes());
            data.extend_from_slice(piece);
            data.resize(data.len().next_multiple_of(BLOCK_BYTES), 0);
        }
    }
    let mut file = file.0;
    file.extend(data);
    file
}

/// A header (2.2.2); a log of zero name is no log to replay.
fn header(sequence: u64, names: Names) -> Vec<u8> {
    let mut page = Page::new(4 * KIB);
    page.put(0, b"head");
    page.put(8, sequence.to_le_bytes());
    page.put(16, guid(names.file_write));
    page.put(32, guid(names.data_write));
    page.put(66, 1_u16.to_le_bytes());
    page.put(68, (MIB as u32).to_le_bytes());
    page.put(72, (LOG as u64).to_le_bytes());
    with_checksum(page)
}

/// A region table (2.2.3): where the block table and the metadata are.
fn region_table() -> Vec<u8> {
    let mut page = Page::new(64 * KIB);
    page.put(0, b"regi");
    page.put(8, 2_u32.to_le_bytes());
    for (index, (name, at)) in [(BAT_REGION, TABLE), (METADATA_REGION, METADATA)]
        .into_iter()
        .enumerate()
    {
        let entry = 16 + 32 * index;
        page.put(entry, guid(name.to_be_bytes()));
        page.put(entry + 16, (at as u64).to_le_bytes());
        page.put(entry + 24, (MIB as u32).to_le_bytes());
        page.put(entry + 28, 1_u32.to_le_bytes());
    }
    with_checksum(page)
}

/// The metadata (2.6): a table, and from 64 KiB on the items.
fn metadata(disk_bytes: u64, disk: [u8; 16]) -> Vec<u8> {
    const IS_DISK: u32 = 2;
    const REQUIRED: u32 = 4;
    let mut parameters = vec![0; 8];
    parameters[..4].copy_from_slice(&(BLOCK_BYTES as u32).to_le_bytes());
    let items = [
        (FILE_PARAMETERS, parameters, REQUIRED),
        (
            DISK_BYTES,
            disk_bytes.to_le_bytes().to_vec(),
            REQUIRED | IS_DISK,
        ),
        (DISK_ID, guid(disk).to_vec(), REQUIRED | IS_DISK),
        (
            LOGICAL_SECTOR,
            SECTOR_BYTES.to_le_bytes().to_vec(),
            REQUIRED | IS_DISK,
        ),
        (
            PHYSICAL_SECTOR,
            SECTOR_BYTES.to_le_bytes().to_vec(),
            REQUIRED | IS_DISK,
        ),
    ];
    let mut page = Page::new(128 * KIB);
    page.put(0, b"metadata");
    page.put(10, (items.len() as u16).to_le_bytes());
    let mut at = 64 * KIB;
    for (index, (name, value, flags)) in items.into_iter().enumerate() {
        let entry = 32 + 32 * index;
        page.put(entry, guid(name.to_be_bytes()));
        page.put(entry + 16, (at as u32).to_le_bytes());
        page.put(entry + 20, (value.len() as u32).to_le_bytes());
        page.put(entry + 24, flags.to_le_bytes());
        page.put(at, &value);
        at += value.len();
    }
    page.0
}

fn with_checksum(mut page: Page) -> Vec<u8> {
    let checksum = crc32c(&page.0);
    page.put(4, checksum.to_le_bytes());
    page.0
}

/// CRC-32C (Castagnoli), bit by bit: it runs over a few pages.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            let carry = crc & 1 != 0;
            crc >>= 1;
            if carry {
                crc ^= 0x82f6_3b78;
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    const NAMES: Names = Names {
        file_write: [1; 16],
        data_write: [2; 16],
        disk: [3; 16],
    };

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value that every table of checksums gives.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn the_block_table_leads_to_every_byte() {
        let disk = sample();
        let file = vhdx(&disk, NAMES);
        for (index, piece) in disk.chunks(BLOCK_BYTES).enumerate() {
            let entry = TABLE + 8 * index;
            let entry = u64::from_le_bytes(file[entry..entry + 8].try_into().unwrap());
            if entry == 0 {
                assert!(piece.iter().all(|&byte| byte == 0));
            } else {
                assert_eq!(entry & 7, PRESENT);
                let at = (entry >> 20 << 20) as usize;
                assert_eq!(&file[at..at + BLOCK_BYTES], piece);
            }
        }
    }
}
