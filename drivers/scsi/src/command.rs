//! Commands, as the bytes that carry them (SPC-5, SBC-4).
//!
//! The shortest form that reaches the sector is used: every disk has it. A field
//! the command has no use for is zero.

use io::{Frame, SCRATCH_BYTES};

/// A command descriptor block: sixteen bytes are enough for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cdb {
    bytes: [u8; 16],
    len: u8,
}

/// Operation codes. Others exist; we send none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opcode(pub u8);

impl Opcode {
    /// SPC-5, 6.47.
    pub const TEST_UNIT_READY: Self = Self(0x00);
    /// SPC-5, 6.7.
    pub const INQUIRY: Self = Self(0x12);
    /// SPC-5, 6.14.
    pub const MODE_SENSE_10: Self = Self(0x5a);
    /// SPC-5, 6.36.
    pub const REPORT_LUNS: Self = Self(0xa0);
    /// SBC-4, 5.20.
    pub const READ_CAPACITY_10: Self = Self(0x25);
    /// SBC-4, 5.21, a service action of 9Eh.
    pub const READ_CAPACITY_16: Self = Self(0x9e);
    /// SBC-4, 5.16.
    pub const READ_10: Self = Self(0x28);
    /// SBC-4, 5.18.
    pub const READ_16: Self = Self(0x88);
    /// SBC-4, 5.40.
    pub const WRITE_10: Self = Self(0x2a);
    /// SBC-4, 5.42.
    pub const WRITE_16: Self = Self(0x8a);
    /// SBC-4, 5.35.
    pub const SYNCHRONIZE_CACHE_10: Self = Self(0x35);
    /// SBC-4, 5.37.
    pub const UNMAP: Self = Self(0x42);
}

/// Where a frame's scratch is free for a command's parameters; what lies before
/// belongs to the adapter.
pub const PARAMETERS: usize = 256;
/// Bytes of UNMAP's parameters for one range (SBC-4, table 110).
const UNMAP_BYTES: usize = 24;
const _: () = assert!(PARAMETERS + UNMAP_BYTES <= SCRATCH_BYTES);

impl Cdb {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Which command.
    pub fn opcode(&self) -> Opcode {
        Opcode(self.bytes[0])
    }

    fn new<const N: usize>(command: [u8; N]) -> Self {
        let mut bytes = [0; 16];
        bytes[..N].copy_from_slice(&command);
        Self {
            bytes,
            len: N as u8,
        }
    }

    /// Whether the unit can be used now.
    pub fn test_unit_ready() -> Self {
        Self::new([Opcode::TEST_UNIT_READY.0, 0, 0, 0, 0, 0])
    }

    /// Who the unit is; with `page`, one page of its vital product data.
    pub fn inquiry(page: Option<u8>, bytes: u16) -> Self {
        let [high, low] = bytes.to_be_bytes();
        let vital = u8::from(page.is_some());
        Self::new([Opcode::INQUIRY.0, vital, page.unwrap_or(0), high, low, 0])
    }

    /// Which units a target has.
    pub fn report_units(bytes: u32) -> Self {
        let [a, b, c, d] = bytes.to_be_bytes();
        Self::new([Opcode::REPORT_LUNS.0, 0, 0, 0, 0, 0, a, b, c, d, 0, 0])
    }

    /// The page `page` of the unit's settings as they are, without descriptors.
    pub fn mode_sense(page: u8, bytes: u16) -> Self {
        const NO_DESCRIPTORS: u8 = 1 << 3;
        let [high, low] = bytes.to_be_bytes();
        Self::new([
            Opcode::MODE_SENSE_10.0,
            NO_DESCRIPTORS,
            page,
            0,
            0,
            0,
            0,
            high,
            low,
            0,
        ])
    }

    /// The last sector and the size of one.
    pub fn read_capacity_10() -> Self {
        Self::new([Opcode::READ_CAPACITY_10.0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// The same for disks of any size, with physical blocks and provisioning.
    pub fn read_capacity_16(bytes: u32) -> Self {
        const SERVICE_ACTION: u8 = 0x10;
        let mut command = [0; 16];
        command[0] = Opcode::READ_CAPACITY_16.0;
        command[1] = SERVICE_ACTION;
        command[10..14].copy_from_slice(&bytes.to_be_bytes());
        Self::new(command)
    }

    /// Reads sectors.
    pub fn read(lba: u64, sectors: u32) -> Self {
        Self::transfer(Opcode::READ_10, Opcode::READ_16, lba, sectors)
    }

    /// Writes sectors.
    pub fn write(lba: u64, sectors: u32) -> Self {
        Self::transfer(Opcode::WRITE_10, Opcode::WRITE_16, lba, sectors)
    }

    fn transfer(short: Opcode, long: Opcode, lba: u64, sectors: u32) -> Self {
        match (u32::try_from(lba), u16::try_from(sectors)) {
            (Ok(lba), Ok(sectors)) => {
                let [a, b, c, d] = lba.to_be_bytes();
                let [high, low] = sectors.to_be_bytes();
                Self::new([short.0, 0, a, b, c, d, 0, high, low, 0])
            }
            _ => {
                let mut command = [0; 16];
                command[0] = long.0;
                command[2..10].copy_from_slice(&lba.to_be_bytes());
                command[10..14].copy_from_slice(&sectors.to_be_bytes());
                Self::new(command)
            }
        }
    }

    /// Makes all of the unit's cache durable.
    pub fn synchronize_cache() -> Self {
        Self::new([Opcode::SYNCHRONIZE_CACHE_10.0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// Forgets one range, which is put into the frame's scratch. Returns the
    /// command and how many bytes at [`PARAMETERS`] go with it.
    pub fn unmap(lba: u64, sectors: u32, frame: &mut Frame) -> (Self, usize) {
        let parameters = &mut frame.scratch_mut()[PARAMETERS..PARAMETERS + UNMAP_BYTES];
        // Lengths do not count themselves: 24 - 2, and one descriptor of 16.
        parameters[..2].copy_from_slice(&22_u16.to_be_bytes());
        parameters[2..4].copy_from_slice(&16_u16.to_be_bytes());
        parameters[4..8].fill(0);
        parameters[8..16].copy_from_slice(&lba.to_be_bytes());
        parameters[16..20].copy_from_slice(&sectors.to_be_bytes());
        parameters[20..].fill(0);
        let [high, low] = (UNMAP_BYTES as u16).to_be_bytes();
        let command = Self::new([Opcode::UNMAP.0, 0, 0, 0, 0, 0, 0, high, low, 0]);
        (command, UNMAP_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_ends_where_its_fields_do() {
        assert_eq!(
            Cdb::read(0x0102_0304, 17).bytes(),
            [0x28, 0, 1, 2, 3, 4, 0, 0, 17, 0]
        );
        assert_eq!(Cdb::write(u32::MAX.into(), 0xffff).bytes().len(), 10);
        for (lba, sectors) in [(1 << 32, 1), (0, 0x1_0000)] {
            let command = Cdb::write(lba, sectors);
            assert_eq!(command.opcode(), Opcode::WRITE_16);
            assert_eq!(command.bytes()[2..10], lba.to_be_bytes());
            assert_eq!(command.bytes()[10..14], sectors.to_be_bytes());
        }
    }

    #[test]
    fn commands_are_as_long_as_their_group_says() {
        // SPC-5, 4.3.3: the upper three bits of the code.
        let all = [
            Cdb::test_unit_ready(),
            Cdb::inquiry(Some(0x80), 255),
            Cdb::report_units(256),
            Cdb::mode_sense(8, 64),
            Cdb::read_capacity_10(),
            Cdb::read_capacity_16(32),
            Cdb::read(1 << 40, 8),
            Cdb::synchronize_cache(),
        ];
        for command in all {
            let bytes = match command.opcode().0 >> 5 {
                0 => 6,
                1 | 2 => 10,
                4 => 16,
                5 => 12,
                other => panic!("group {other}"),
            };
            assert_eq!(command.bytes().len(), bytes, "{command:?}");
        }
    }
}
