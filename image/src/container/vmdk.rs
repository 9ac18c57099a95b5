//! VMDK, in two forms (VMware, "Virtual Disk Format 5.0").
//!
//! The sparse form is a disk that can be used as it is. The stream form is for
//! carrying disks about, and what an OVA holds: its pieces are compressed, in order,
//! each behind its address, and the directory comes last, where a writer that never
//! seeks knows it.

use super::{Page, pieces};
use miniz_oxide::deflate::{CompressionLevel, compress_to_vec_zlib};

const SECTOR: usize = 512;
/// Bytes of a grain, the unit of this format.
const GRAIN: usize = 64 << 10;
/// Entries of a grain table.
const TABLE_ENTRIES: usize = 512;
/// Sectors for the text that describes the disk.
const TEXT_SECTORS: usize = 20;
/// Flags: line ends can be checked; a second directory; compressed; addresses.
const CHECKED: u32 = 1;
const SECOND_DIRECTORY: u32 = 1 << 1;
const COMPRESSED: u32 = 1 << 16;
const MARKERS: u32 = 1 << 17;
/// What a marker announces.
const END: u32 = 0;
const GRAIN_TABLE: u32 = 1;
const GRAIN_DIRECTORY: u32 = 2;
const FOOTER: u32 = 3;

/// Where the directory of a stream is: in the footer.
const AT_END: u64 = u64::MAX;

/// `disk` as the VMDK file `name` that is used as it is.
pub fn sparse(disk: &[u8], name: &str, number: u32) -> Vec<u8> {
    assert!(
        disk.len() / GRAIN <= TABLE_ENTRIES,
        "one table is for 32 MiB"
    );
    // Header, text, second directory and its table, directory and its table.
    let table_sectors = TABLE_ENTRIES * 4 / SECTOR;
    let second = 1 + TEXT_SECTORS;
    let first = second + 1 + table_sectors;
    let overhead = (first + 1 + table_sectors).next_multiple_of(GRAIN / SECTOR);
    let header = Header {
        version: 1,
        flags: CHECKED | SECOND_DIRECTORY,
        second_directory: second as u64,
        directory: first as u64,
        overhead: overhead as u64,
    };
    let mut file = Page::new(overhead * SECTOR);
    file.put(0, header.bytes(disk.len()));
    file.put(SECTOR, text("monolithicSparse", disk.len(), name, number));
    for directory in [second, first] {
        let table = directory + 1;
        file.put(directory * SECTOR, (table as u32).to_le_bytes());
    }
    let mut data = Vec::new();
    for (index, (piece, is_used)) in pieces(disk, GRAIN).enumerate() {
        if is_used {
            let sector = overhead + data.len() / SECTOR;
            for directory in [second, first] {
                let entry = (directory + 1) * SECTOR + 4 * index;
                file.put(entry, (sector as u32).to_le_bytes());
            }
            data.extend_from_slice(piece);
            data.resize(data.len().next_multiple_of(GRAIN), 0);
        }
    }
    let mut file = file.0;
    file.extend(data);
    file
}

/// `disk` as the VMDK file `name` to carry about.
pub fn stream(disk: &[u8], name: &str, number: u32) -> Vec<u8> {
    assert!(
        disk.len() / GRAIN <= TABLE_ENTRIES,
        "one table is for 32 MiB"
    );
    let overhead = GRAIN / SECTOR;
    let mut header = Header {
        version: 3,
        flags: CHECKED | COMPRESSED | MARKERS,
        second_directory: 0,
        directory: AT_END,
        overhead: overhead as u64,
    };
    let mut start = Page::new(overhead * SECTOR);
    start.put(0, header.bytes(disk.len()));
    start.put(SECTOR, text("streamOptimized", disk.len(), name, number));
    let mut file = start.0;

    let mut table = vec![0_u8; TABLE_ENTRIES * 4];
    for (index, (piece, is_used)) in pieces(disk, GRAIN).enumerate() {
        if !is_used {
            continue;
        }
        let sector = (file.len() / SECTOR) as u32;
        table[4 * index..4 * index + 4].copy_from_slice(&sector.to_le_bytes());
        let packed = compress_to_vec_zlib(piece, CompressionLevel::BestCompression as u8);
        file.extend(((index * GRAIN / SECTOR) as u64).to_le_bytes());
        file.extend((packed.len() as u32).to_le_bytes());
        file.extend(packed);
        file.resize(file.len().next_multiple_of(SECTOR), 0);
    }
    // What follows is announced by markers: the table, the directory, a copy of
    // the header that knows where the directory is, and the end.
    marker(&mut file, table.len() / SECTOR, GRAIN_TABLE);
    let table_at = file.len() / SECTOR;
    file.extend(table);
    marker(&mut file, 1, GRAIN_DIRECTORY);
    header.directory = (file.len() / SECTOR) as u64;
    file.extend((table_at as u32).to_le_bytes());
    file.resize(file.len().next_multiple_of(SECTOR), 0);
    marker(&mut file, 1, FOOTER);
    file.extend(header.bytes(disk.len()));
    marker(&mut file, 0, END);
    file
}

fn marker(file: &mut Vec<u8>, sectors: usize, kind: u32) {
    let mut sector = Page::new(SECTOR);
    sector.put(0, (sectors as u64).to_le_bytes());
    sector.put(12, kind.to_le_bytes());
    file.extend(sector.0);
}

/// The header of either form.
struct Header {
    version: u32,
    flags: u32,
    second_directory: u64,
    directory: u64,
    overhead: u64,
}

impl Header {
    fn bytes(&self, disk_bytes: usize) -> Vec<u8> {
        let mut page = Page::new(SECTOR);
        page.put(0, b"KDMV");
        page.put(4, self.version.to_le_bytes());
        page.put(8, self.flags.to_le_bytes());
        page.put(12, ((disk_bytes / SECTOR) as u64).to_le_bytes());
        page.put(20, ((GRAIN / SECTOR) as u64).to_le_bytes());
        page.put(28, 1_u64.to_le_bytes());
        page.put(36, (TEXT_SECTORS as u64).to_le_bytes());
        page.put(44, (TABLE_ENTRIES as u32).to_le_bytes());
        page.put(48, self.second_directory.to_le_bytes());
        page.put(56, self.directory.to_le_bytes());
        page.put(64, self.overhead.to_le_bytes());
        // A file that went through a text-mode transfer has lost one of these.
        page.put(73, b"\n \r\n");
        let method: u16 = if self.flags & COMPRESSED == 0 { 0 } else { 1 };
        page.put(77, method.to_le_bytes());
        page.0
    }
}

/// The text that describes the disk. It is of ESX's controller for disks that are
/// not old ones: the machine around it decides what it really hangs on.
fn text(kind: &str, disk_bytes: usize, name: &str, number: u32) -> Vec<u8> {
    let sectors = disk_bytes / SECTOR;
    let (heads, per_track) = (16, 63);
    let cylinders = sectors / heads / per_track;
    let text = format!(
        "# Disk DescriptorFile\n\
         version=1\n\
         CID={number:08x}\n\
         parentCID=ffffffff\n\
         createType=\"{kind}\"\n\
         \n\
         # Extent description\n\
         RW {sectors} SPARSE \"{name}\"\n\
         \n\
         # The Disk Data Base\n\
         #DDB\n\
         \n\
         ddb.virtualHWVersion = \"10\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"{heads}\"\n\
         ddb.geometry.sectors = \"{per_track}\"\n\
         ddb.adapterType = \"lsilogic\"\n"
    );
    assert!(text.len() <= TEXT_SECTORS * SECTOR);
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;
    use miniz_oxide::inflate::decompress_to_vec_zlib;

    fn long(file: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
    }

    fn word(file: &[u8], at: usize) -> usize {
        u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize
    }

    #[test]
    fn both_directories_of_the_sparse_form_lead_to_every_byte() {
        let disk = sample();
        let file = sparse(&disk, "a.vmdk", 7);
        for directory in [48, 56].map(|field| long(&file, field) as usize * SECTOR) {
            let table = word(&file, directory) * SECTOR;
            for (index, piece) in disk.chunks(GRAIN).enumerate() {
                match word(&file, table + 4 * index) * SECTOR {
                    0 => assert!(piece.iter().all(|&byte| byte == 0)),
                    at => assert_eq!(&file[at..at + GRAIN], piece),
                }
            }
        }
    }

    #[test]
    fn a_stream_unpacks_to_the_disk_by_its_footer() {
        let disk = sample();
        let file = stream(&disk, "a.vmdk", 7);
        assert!(file.len() < disk.len() / 8, "it is compressed");
        let footer = file.len() - 2 * SECTOR;
        assert_eq!(&file[footer..footer + 4], b"KDMV");
        let table = word(&file, long(&file, footer + 56) as usize * SECTOR) * SECTOR;
        for (index, piece) in disk.chunks(GRAIN).enumerate() {
            match word(&file, table + 4 * index) * SECTOR {
                0 => assert!(piece.iter().all(|&byte| byte == 0)),
                at => {
                    assert_eq!(long(&file, at) as usize, index * GRAIN / SECTOR);
                    let packed = &file[at + 12..at + 12 + word(&file, at + 8)];
                    assert_eq!(decompress_to_vec_zlib(packed).unwrap(), piece);
                }
            }
        }
    }
}
