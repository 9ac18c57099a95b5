//! The raw disk: what a BIOS, UEFI and the node itself look for, side by side.
//!
//! | sectors | what |
//! |---|---|
//! | 0 | our boot sector and the partition table |
//! | 128 on | the boot file, for the boot sector |
//! | 1536 to 2047 | partition 2, type 0xda: what the node must not forget |
//! | 2048 to 16319 | partition 1, type 0xef: FAT16 with the boot file for UEFI, and `ublade.conf` |
//!
//! The partition table is an MBR. A GPT would do for UEFI, but there are BIOSes
//! that start a disk only if its MBR has an active partition, and firmware that
//! takes the protective MBR of such a disk for damage. UEFI takes an MBR with a
//! partition of type 0xef as it is (UEFI 2.10, 5.2.2), so this is the one table that
//! all of them read.
//!
//! Sectors 64 to 127 are free: there the ISO has its own structures ([`crate::iso`]),
//! so that it and the disk are otherwise the same bytes.
//!
//! The disk is 8 MiB and its last partition ends 64 sectors earlier, where a disk
//! ends whose size is told in cylinders: old VHD readers round down to those.

use crate::fat;
use crate::layout::{BOOT_FILE_LBA, MBR_BYTES, MBR_SECTORS_AT, MBR_START_LBA_AT};
use sha2::{Digest, Sha256};

/// Bytes of a sector.
pub const SECTOR_BYTES: usize = 512;
/// Sectors of the disk: 8 MiB.
pub const SECTORS: u32 = 16_384;
/// The partition that the node keeps its state in.
pub const STATE: Partition = Partition {
    kind: 0xda,
    active: false,
    first: 1536,
    sectors: 512,
};
/// The boot partition.
pub const BOOT: Partition = Partition {
    kind: 0xef,
    active: true,
    first: 2048,
    sectors: 16_320 - 2048,
};
/// Where UEFI looks on a disk that nobody installed (UEFI 2.10, 3.5.1.1).
const UEFI_PATH: &str = "EFI/BOOT/BOOTX64.EFI";
/// The node's settings.
pub const CONF_PATH: &str = node::media::CONF_NAME;
/// The label by which the node finds the volume on another disk, too.
pub const LABEL: &str = "UBLADE";

const DISK_NUMBER: usize = 440;
const TABLE: usize = 446;
const MARK: usize = 510;

const _: () = assert!(STATE.first >= BOOT_FILE_LBA + (512 << 10) / 512);
const _: () = assert!(STATE.first + STATE.sectors <= BOOT.first);
const _: () = assert!(BOOT.first + BOOT.sectors <= SECTORS);

/// One entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its type.
    pub kind: u8,
    /// The one that is started.
    pub active: bool,
    /// Its first sector.
    pub first: u32,
    /// How many it has.
    pub sectors: u32,
}

/// What goes onto the disk.
#[derive(Clone, Copy)]
pub struct Content<'a> {
    /// The boot sector's code: it loads the boot file.
    pub boot_sector: &'a [u8],
    /// The boot file.
    pub boot_file: &'a [u8],
    /// The node's settings.
    pub conf: &'a [u8],
}

impl Content<'_> {
    /// Numbers that name this content and no other: the same for the same content,
    /// so that what is made twice is the same bytes.
    pub fn digest(&self, purpose: &str) -> [u8; 16] {
        let mut digest = Sha256::new();
        for part in [
            purpose.as_bytes(),
            self.boot_sector,
            self.boot_file,
            self.conf,
        ] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let whole = digest.finalize();
        whole[..16].try_into().expect("16 of 32 bytes")
    }

    /// A UUID made the same way (RFC 9562, version 8), as bytes of its text.
    pub fn uuid(&self, purpose: &str) -> [u8; 16] {
        let mut uuid = self.digest(purpose);
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        uuid
    }

    /// The same as a number of 32 bits.
    pub fn number(&self, purpose: &str) -> u32 {
        let digest = self.digest(purpose);
        u32::from_le_bytes(digest[..4].try_into().expect("four of 16 bytes"))
    }
}

/// The whole disk.
pub fn raw(content: &Content<'_>) -> Result<Vec<u8>, String> {
    let mut disk = vec![0; SECTORS as usize * SECTOR_BYTES];
    let mut put = |lba: u32, bytes: &[u8]| {
        let at = lba as usize * SECTOR_BYTES;
        disk[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(0, &first_sector(content)?);
    let room = (STATE.first - BOOT_FILE_LBA) as usize * SECTOR_BYTES;
    if content.boot_file.len() > room {
        return Err(format!(
            "the boot file has {} bytes; before the first partition there is room for {room}",
            content.boot_file.len()
        ));
    }
    put(BOOT_FILE_LBA, content.boot_file);
    let files = [
        fat::File {
            path: UEFI_PATH,
            bytes: content.boot_file,
        },
        fat::File {
            path: CONF_PATH,
            bytes: content.conf,
        },
    ];
    let number = content.number("volume");
    let volume = fat::volume(LABEL, number, BOOT.first, BOOT.sectors, &files)?;
    put(BOOT.first, &volume);
    Ok(disk)
}

/// The boot sector: code, number and partition table.
fn first_sector(content: &Content<'_>) -> Result<[u8; SECTOR_BYTES], String> {
    let mut sector = [0; SECTOR_BYTES];
    let code = content.boot_sector;
    if code.len() != MBR_BYTES {
        return Err(format!(
            "the boot sector's code has {} bytes and not {MBR_BYTES}",
            code.len()
        ));
    }
    let sectors = content.boot_file.len().div_ceil(SECTOR_BYTES) as u32;
    sector[..MBR_BYTES].copy_from_slice(code);
    sector[MBR_START_LBA_AT..MBR_START_LBA_AT + 4].copy_from_slice(&BOOT_FILE_LBA.to_le_bytes());
    sector[MBR_SECTORS_AT..MBR_SECTORS_AT + 4].copy_from_slice(&sectors.to_le_bytes());
    sector[DISK_NUMBER..DISK_NUMBER + 4].copy_from_slice(&content.number("disk").to_le_bytes());
    for (index, partition) in [BOOT, STATE].iter().enumerate() {
        let at = TABLE + 16 * index;
        sector[at..at + 16].copy_from_slice(&partition.entry());
    }
    sector[MARK..].copy_from_slice(&[0x55, 0xaa]);
    Ok(sector)
}

impl Partition {
    fn entry(&self) -> [u8; 16] {
        let mut entry = [0; 16];
        entry[0] = if self.active { 0x80 } else { 0 };
        entry[1..4].copy_from_slice(&cylinder_head_sector(self.first));
        entry[4] = self.kind;
        let last = self.first + self.sectors - 1;
        entry[5..8].copy_from_slice(&cylinder_head_sector(last));
        entry[8..12].copy_from_slice(&self.first.to_le_bytes());
        entry[12..].copy_from_slice(&self.sectors.to_le_bytes());
        entry
    }
}

/// The address of a sector as old BIOSes count, on a disk of 255 heads and 63
/// sectors, as everybody has agreed to assume.
fn cylinder_head_sector(lba: u32) -> [u8; 3] {
    let (track, sector) = (lba / 63, lba % 63 + 1);
    let (cylinder, head) = (track / 255, track % 255);
    debug_assert!(cylinder < 1024, "8 MiB are one cylinder and a bit");
    [
        head as u8,
        sector as u8 | ((cylinder >> 2) & 0xc0) as u8,
        cylinder as u8,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::media::{self, Blocks, Own, Sector, Unread};

    /// A disk in memory, for the node's readers.
    struct Memory(Vec<u8>);

    impl Blocks for Memory {
        fn sectors(&self) -> u64 {
            (self.0.len() / SECTOR_BYTES) as u64
        }

        fn read(&mut self, lba: u64, sector: &mut Sector) -> Result<(), Unread> {
            let at = lba as usize * SECTOR_BYTES;
            sector.copy_from_slice(&self.0[at..at + SECTOR_BYTES]);
            Ok(())
        }
    }

    #[test]
    fn the_node_knows_disk_and_iso_for_its_own_and_finds_settings_and_state() {
        for image in [raw(&CONTENT), crate::iso::iso(&CONTENT)] {
            let mut disk = Memory(image.unwrap());
            let found = media::survey(&mut disk).unwrap();
            assert_eq!(found.own, Some(Own::Boot));
            assert_eq!(found.state, Some((1536, 512)));
            let mut text = vec![0; media::CONF_BYTES_MAX];
            let bytes = found.conf.unwrap().read(&mut disk, &mut text).unwrap();
            assert_eq!(&text[..bytes], CONTENT.conf);
        }
    }

    const CONTENT: Content<'_> = Content {
        boot_sector: &[0xfa; 440],
        boot_file: &[0x4d; 1000],
        conf: b"rw=all\n",
    };

    #[test]
    fn the_disk_is_eight_mebibytes_and_everything_is_in_its_place() {
        let disk = raw(&CONTENT).unwrap();
        assert_eq!(disk.len(), 8 << 20);
        assert_eq!(disk[..432], [0xfa; 432]);
        // The boot sector is told where the boot file is: 1000 bytes, 2 sectors.
        assert_eq!(disk[432..440], [128, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(disk[510..512], [0x55, 0xaa]);
        assert_eq!(disk[BOOT_FILE_LBA as usize * 512..][..1000], [0x4d; 1000]);
        let state = &disk[STATE.first as usize * 512..][..STATE.sectors as usize * 512];
        assert!(
            state.iter().all(|&byte| byte == 0),
            "the state is the node's"
        );
        let volume = &disk[BOOT.first as usize * 512..];
        assert_eq!(&volume[54..59], b"FAT16");
    }

    #[test]
    fn the_table_has_two_partitions_and_the_first_is_active() {
        let disk = raw(&CONTENT).unwrap();
        let entry = |index: usize| &disk[446 + 16 * index..][..16];
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        assert_eq!((entry(0)[0], entry(0)[4]), (0x80, 0xef));
        assert_eq!((entry(1)[0], entry(1)[4]), (0, 0xda));
        assert_eq!(number(&entry(0)[8..12]), 2048);
        assert_eq!(number(&entry(0)[12..16]), 14_272);
        assert_eq!(number(&entry(1)[8..12]), 1536);
        assert_eq!(number(&entry(1)[12..16]), 512);
        assert_eq!((entry(2), entry(3)), (&[0; 16][..], &[0; 16][..]));
    }

    #[test]
    fn another_setting_is_another_disk_number() {
        let other = Content {
            conf: b"rw=none\n",
            ..CONTENT
        };
        let number = |content| raw(content).unwrap()[440..444].to_vec();
        assert_eq!(number(&CONTENT), number(&CONTENT));
        assert_ne!(number(&CONTENT), number(&other));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let code = Content {
            boot_sector: &[0; 439],
            ..CONTENT
        };
        assert!(raw(&code).unwrap_err().contains("440"));
        let room = (STATE.first - BOOT_FILE_LBA) as usize * 512;
        let fits = vec![1; room];
        let file = |boot_file| Content {
            boot_file,
            ..CONTENT
        };
        assert!(raw(&file(&fits)).is_ok());
        let large = vec![1; room + 1];
        assert!(raw(&file(&large)).unwrap_err().contains("boot file"));
    }

    #[test]
    fn old_addresses_count_cylinders_heads_and_sectors() {
        assert_eq!(cylinder_head_sector(0), [0, 1, 0]);
        assert_eq!(cylinder_head_sector(62), [0, 63, 0]);
        assert_eq!(cylinder_head_sector(63), [1, 1, 0]);
        assert_eq!(cylinder_head_sector(255 * 63), [0, 1, 1]);
        assert_eq!(cylinder_head_sector(256 * 255 * 63), [0, 0x41, 0]);
    }
}
