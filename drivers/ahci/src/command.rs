//! What a port is told to do: command FIS, command table, command header.
//!
//! Everything here computes bytes; who puts them where is decided elsewhere.

/// Bytes of a command table with one region (AHCI 1.3.1, 4.2.3).
pub const TABLE_BYTES: usize = 0x80 + 16;
/// Where the region list starts in a command table.
const REGIONS: usize = 0x80;
/// Bytes of a register FIS to the drive (Serial ATA 3.2, 10.5.5).
const FIS_BYTES: usize = 20;

const _: () = assert!(
    TABLE_BYTES <= io::SCRATCH_BYTES,
    "a command table fits the frame's scratch"
);

/// An ATA command code. The set is open, so a newtype and not an enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtaCommand(pub u8);

impl AtaCommand {
    /// DATA SET MANAGEMENT (ATA8-ACS 7.10): discards.
    pub const DATA_SET_MANAGEMENT: Self = Self(0x06);
    /// READ DMA EXT.
    pub const READ_DMA_EXT: Self = Self(0x25);
    /// WRITE DMA EXT.
    pub const WRITE_DMA_EXT: Self = Self(0x35);
    /// SMART: what a drive says of its health.
    pub const SMART: Self = Self(0xb0);
    /// READ FPDMA QUEUED.
    pub const READ_QUEUED: Self = Self(0x60);
    /// WRITE FPDMA QUEUED.
    pub const WRITE_QUEUED: Self = Self(0x61);
    /// READ DMA, with 28 bits of address.
    pub const READ_DMA: Self = Self(0xc8);
    /// WRITE DMA, with 28 bits of address.
    pub const WRITE_DMA: Self = Self(0xca);
    /// FLUSH CACHE.
    pub const FLUSH: Self = Self(0xe7);
    /// FLUSH CACHE EXT.
    pub const FLUSH_EXT: Self = Self(0xea);
    /// IDENTIFY DEVICE.
    pub const IDENTIFY: Self = Self(0xec);
}

/// Device register: the address is an LBA.
const DEVICE_LBA: u8 = 1 << 6;

/// The registers of one command, as the drive gets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// What to do.
    pub command: AtaCommand,
    /// Feature, 16 bits.
    pub feature: u16,
    /// Count, 16 bits.
    pub count: u16,
    /// Address, 48 bits.
    pub lba: u64,
    /// Device.
    pub device: u8,
}

impl Registers {
    /// A command without data.
    pub const fn plain(command: AtaCommand) -> Self {
        Self {
            command,
            feature: 0,
            count: 0,
            lba: 0,
            device: DEVICE_LBA,
        }
    }

    /// A queued read or write: the count moves to the feature, the tag into the
    /// count (Serial ATA 3.2, 13.6.4).
    pub const fn queued(command: AtaCommand, lba: u64, sectors: u16, tag: u8) -> Self {
        Self {
            command,
            feature: sectors,
            count: (tag as u16) << 3,
            lba,
            device: DEVICE_LBA,
        }
    }

    /// A read or write with 48 bits of address.
    pub const fn wide(command: AtaCommand, lba: u64, sectors: u16) -> Self {
        Self {
            command,
            feature: 0,
            count: sectors,
            lba,
            device: DEVICE_LBA,
        }
    }

    /// A read or write with 28 bits of address, the upper four in the device
    /// register.
    pub const fn narrow(command: AtaCommand, lba: u64, sectors: u16) -> Self {
        Self {
            command,
            feature: 0,
            count: sectors,
            lba: lba & 0xff_ffff,
            device: DEVICE_LBA | (lba >> 24 & 0xf) as u8,
        }
    }

    /// A discard, whose ranges are one block of data (ATA8-ACS 7.10).
    pub const fn discard() -> Self {
        Self {
            command: AtaCommand::DATA_SET_MANAGEMENT,
            feature: 1,
            count: 1,
            lba: 0,
            device: DEVICE_LBA,
        }
    }

    /// SMART RETURN STATUS (ATA8-ACS 7.52.8): will the drive fail soon? The address
    /// is the key that every SMART command needs.
    pub const fn health() -> Self {
        Self {
            feature: 0xda,
            lba: 0xc2_4f00,
            ..Self::plain(AtaCommand::SMART)
        }
    }

    /// The FIS that carries them.
    #[inline]
    const fn fis(&self) -> [u8; FIS_BYTES] {
        let lba = self.lba.to_le_bytes();
        let feature = self.feature.to_le_bytes();
        let count = self.count.to_le_bytes();
        [
            0x27, // a register FIS to the drive
            0x80, // the command register changed
            self.command.0,
            feature[0],
            lba[0],
            lba[1],
            lba[2],
            self.device,
            lba[3],
            lba[4],
            lba[5],
            feature[1],
            count[0],
            count[1],
            0,
            0,
            0,
            0,
            0,
            0,
        ]
    }
}

/// Memory that a command moves data to or from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where it lies, even.
    pub address: u64,
    /// How long it is: even, at least 2, at most 4 MiB.
    pub bytes: u32,
}

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// None goes, or from the drive to us.
    In,
    /// From us to the drive.
    Out,
}

/// Writes a command table: the FIS, and the one region if there is data. What
/// lies between is for ATAPI and is not looked at.
#[inline]
pub fn write_table(table: &mut [u8], registers: &Registers, region: Option<Region>) {
    table[..FIS_BYTES].copy_from_slice(&registers.fis());
    if let Some(Region { address, bytes }) = region {
        let entry = &mut table[REGIONS..TABLE_BYTES];
        entry[..8].copy_from_slice(&address.to_le_bytes());
        entry[8..12].fill(0);
        entry[12..].copy_from_slice(&(bytes - 1).to_le_bytes());
    }
}

/// The header of a command in the list (AHCI 1.3.1, 4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    options: u32,
    table: u64,
}

impl Header {
    /// CFL: words of the FIS.
    const FIS_WORDS: u32 = (FIS_BYTES / 4) as u32;
    /// W: data goes to the drive.
    const WRITE: u32 = 1 << 6;
    /// PRDTL starts here.
    const REGIONS_SHIFT: u32 = 16;

    /// The header of a command whose table lies at `table`.
    pub const fn new(table: u64, direction: Direction, has_data: bool) -> Self {
        let write = match direction {
            Direction::In => 0,
            Direction::Out => Self::WRITE,
        };
        Self {
            options: Self::FIS_WORDS | write | (has_data as u32) << Self::REGIONS_SHIFT,
            table,
        }
    }

    /// The header of no command: its table is zeros.
    pub const fn blank(table: u64) -> Self {
        Self { options: 0, table }
    }

    /// As the controller reads it. The second word counts bytes moved and
    /// starts at zero.
    #[inline]
    pub const fn words(self) -> [u32; 8] {
        [
            self.options,
            0,
            self.table as u32,
            (self.table >> 32) as u32,
            0,
            0,
            0,
            0,
        ]
    }
}

/// Sectors of one range of a discard.
const RANGE_SECTORS: u32 = 0xffff;
/// Ranges of one block.
const RANGES: u32 = (crate::table::PAGE_BYTES / 8) as u32;
/// Most sectors that one block of ranges names.
pub const DISCARD_SECTORS_MAX: u32 = RANGES * RANGE_SECTORS;

/// The block of ranges that names `sectors` from `lba` on, at most
/// [`DISCARD_SECTORS_MAX`]. Ranges of no sectors fill it up (ATA8-ACS 7.10.3).
pub fn discard_block(lba: u64, sectors: u32) -> [u8; crate::table::PAGE_BYTES] {
    let mut block = [0; crate::table::PAGE_BYTES];
    let (mut lba, mut left) = (lba, sectors);
    for entry in block.as_chunks_mut::<8>().0 {
        let part = left.min(RANGE_SECTORS);
        if part == 0 {
            break;
        }
        *entry = (lba | u64::from(part) << 48).to_le_bytes();
        lba += u64::from(part);
        left -= part;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_command_carries_count_as_feature_and_tag_as_count() {
        let fis = Registers::queued(AtaCommand::READ_QUEUED, 0x1122_3344_5566, 0x0011, 31).fis();
        assert_eq!(
            fis,
            [
                0x27, 0x80, 0x60, 0x11, 0x66, 0x55, 0x44, 0x40, 0x33, 0x22, 0x11, 0x00, 0xf8, 0, 0,
                0, 0, 0, 0, 0
            ]
        );
    }

    #[test]
    fn a_narrow_command_carries_the_upper_four_bits_in_the_device() {
        let fis = Registers::narrow(AtaCommand::READ_DMA, 0x0fed_cba9, 256).fis();
        assert_eq!(fis[4..8], [0xa9, 0xcb, 0xed, 0x4f]);
        assert_eq!(fis[12..14], [0, 1]);
    }

    #[test]
    fn a_discard_block_covers_each_sector_once_and_ends() {
        for sectors in [1, 65_535, 65_536, 131_071, DISCARD_SECTORS_MAX] {
            let block = discard_block(7, sectors);
            let mut next = 7;
            for entry in block.as_chunks::<8>().0 {
                let entry = u64::from_le_bytes(*entry);
                let (lba, part) = (entry & 0xffff_ffff_ffff, entry >> 48);
                if part > 0 {
                    assert_eq!(lba, next);
                    next += part;
                }
            }
            assert_eq!(next, 7 + u64::from(sectors));
        }
    }

    #[test]
    fn a_region_is_counted_from_zero() {
        let mut table = [0xee; TABLE_BYTES];
        let region = Region {
            address: 0x1_2345_6788,
            bytes: 512,
        };
        write_table(&mut table, &Registers::discard(), Some(region));
        assert_eq!(table[0x80..0x88], 0x1_2345_6788u64.to_le_bytes());
        assert_eq!(table[0x88..], [0, 0, 0, 0, 0xff, 1, 0, 0]);
    }
}
