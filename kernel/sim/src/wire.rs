//! AoE frames as the initiators and the oracle see them.
//!
//! Written from the protocol, not from the `aoe` crate: an oracle that shared
//! the node's parser would share its mistakes. Slow and plain on purpose.

/// An Ethernet address.
pub type Mac = [u8; 6];
/// Everybody.
pub const BROADCAST: Mac = [0xff; 6];
/// AoE's Ethertype.
pub const ETHERTYPE: u16 = 0x88a2;
/// Bytes of Ethernet and AoE header.
pub const HEADER: usize = 24;
/// Bytes up to the data of an ATA command.
pub const ATA_HEADER: usize = 36;
/// Bytes up to the text of a config command.
pub const CONFIG_HEADER: usize = 32;
/// Shortest frame on a real wire.
pub const SHORTEST: usize = 60;

/// The command byte: ATA.
pub const ATA: u8 = 0;
/// The command byte: config.
pub const CONFIG: u8 = 1;
/// The command byte: MAC mask list.
pub const MASK: u8 = 2;
/// The command byte: reserve and release.
pub const RESERVE: u8 = 3;

/// ATA opcodes that the initiators send.
pub mod opcode {
    /// READ SECTORS.
    pub const READ: u8 = 0x20;
    /// READ SECTORS EXT.
    pub const READ_EXT: u8 = 0x24;
    /// WRITE SECTORS.
    pub const WRITE: u8 = 0x30;
    /// WRITE SECTORS EXT.
    pub const WRITE_EXT: u8 = 0x34;
    /// READ VERIFY SECTORS.
    pub const VERIFY: u8 = 0x40;
    /// READ VERIFY SECTORS EXT.
    pub const VERIFY_EXT: u8 = 0x42;
    /// DATA SET MANAGEMENT.
    pub const DATA_SET: u8 = 0x06;
    /// FLUSH CACHE.
    pub const FLUSH: u8 = 0xe7;
    /// FLUSH CACHE EXT.
    pub const FLUSH_EXT: u8 = 0xea;
    /// CHECK POWER MODE.
    pub const POWER: u8 = 0xe5;
    /// IDENTIFY DEVICE.
    pub const IDENTIFY: u8 = 0xec;
    /// SET FEATURES.
    pub const FEATURES: u8 = 0xef;
    /// SMART.
    pub const SMART: u8 = 0xb0;
}

/// The address of an export, or of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// AoE major.
    pub shelf: u16,
    /// AoE minor.
    pub slot: u8,
}

impl Address {
    /// Every export of everybody.
    pub const EVERYONE: Self = Self {
        shelf: 0xffff,
        slot: 0xff,
    };

    /// Whether a request to this address reaches the export at `target`.
    pub fn covers(self, target: Self) -> bool {
        (self.shelf == 0xffff || self.shelf == target.shelf)
            && (self.slot == 0xff || self.slot == target.slot)
    }

    /// Whether a half of it is a wildcard.
    pub fn is_wild(self) -> bool {
        self.shelf == 0xffff || self.slot == 0xff
    }
}

/// The 24 bytes that every AoE frame starts with, behind a tag if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Destination.
    pub to: Mac,
    /// Source.
    pub from: Mac,
    /// The four bytes of a VLAN tag.
    pub vlan: Option<[u8; 4]>,
    /// Version nibble.
    pub version: u8,
    /// R.
    pub response: bool,
    /// E.
    pub failed: bool,
    /// The two reserved bits.
    pub reserved_bits: u8,
    /// Error code.
    pub error: u8,
    /// Whom it is for, or who answers.
    pub address: Address,
    /// Command byte.
    pub command: u8,
    /// Tag.
    pub tag: u32,
}

impl Header {
    /// Where the argument starts in the frame.
    pub fn argument_at(&self) -> usize {
        HEADER + self.shift()
    }

    /// How many bytes the VLAN tag moves everything.
    pub fn shift(&self) -> usize {
        if self.vlan.is_some() { 4 } else { 0 }
    }

    /// Reads the header of `bytes`, if it is AoE and whole.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let be16 = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let vlan = match be16(12)? {
            0x8100 | 0x88a8 => Some(*bytes.get(12..)?.first_chunk::<4>()?),
            _ => None,
        };
        let shift = if vlan.is_some() { 4 } else { 0 };
        if be16(12 + shift)? != ETHERTYPE || bytes.len() < HEADER + shift {
            return None;
        }
        let aoe = &bytes[14 + shift..];
        Some(Self {
            to: *bytes.first_chunk()?,
            from: *bytes[6..].first_chunk()?,
            vlan,
            version: aoe[0] >> 4,
            response: aoe[0] & 8 != 0,
            failed: aoe[0] & 4 != 0,
            reserved_bits: aoe[0] & 3,
            error: aoe[1],
            address: Address {
                shelf: u16::from_be_bytes([aoe[2], aoe[3]]),
                slot: aoe[4],
            },
            command: aoe[5],
            tag: u32::from_be_bytes([aoe[6], aoe[7], aoe[8], aoe[9]]),
        })
    }

    /// A request's header.
    pub fn request(to: Mac, from: Mac, address: Address, command: u8, tag: u32) -> Self {
        Self {
            to,
            from,
            vlan: None,
            version: 1,
            response: false,
            failed: false,
            reserved_bits: 0,
            error: 0,
            address,
            command,
            tag,
        }
    }

    /// The bytes of the header.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + 4 + 1100);
        bytes.extend(self.to);
        bytes.extend(self.from);
        bytes.extend(self.vlan.iter().flatten());
        bytes.extend(ETHERTYPE.to_be_bytes());
        let flags = u8::from(self.response) << 3 | u8::from(self.failed) << 2 | self.reserved_bits;
        bytes.push(self.version << 4 | flags);
        bytes.push(self.error);
        bytes.extend(self.address.shelf.to_be_bytes());
        bytes.push(self.address.slot);
        bytes.push(self.command);
        bytes.extend(self.tag.to_be_bytes());
        bytes
    }
}

/// The twelve bytes of an ATA argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ata {
    /// E 0x40, D 0x10, A 0x02, W 0x01.
    pub flags: u8,
    /// Feature, or error in an answer.
    pub feature: u8,
    /// Sector count.
    pub count: u8,
    /// Opcode, or status in an answer.
    pub command: u8,
    /// LBA bytes, least significant first.
    pub lba: [u8; 6],
}

impl Ata {
    /// A command as Linux sends it.
    pub fn extended(command: u8, lba: u64, count: u8) -> Self {
        let write = matches!(command, opcode::WRITE_EXT | opcode::DATA_SET);
        Self {
            flags: 0x40 | u8::from(write),
            feature: 0,
            count,
            command,
            lba: lba.to_le_bytes()[..6].try_into().expect("six of eight"),
        }
    }

    /// Reads the argument behind `header`, if the frame reaches that far.
    pub fn parse(header: &Header, bytes: &[u8]) -> Option<Self> {
        let argument: &[u8; 12] = bytes.get(header.argument_at()..)?.first_chunk()?;
        Some(Self {
            flags: argument[0],
            feature: argument[1],
            count: argument[2],
            command: argument[3],
            lba: *argument[4..].first_chunk().expect("six bytes follow"),
        })
    }

    /// All 48 bits.
    pub fn lba48(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes[..6].copy_from_slice(&self.lba);
        u64::from_le_bytes(bytes)
    }

    /// The bytes of the argument.
    pub fn bytes(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&[self.flags, self.feature, self.count, self.command]);
        bytes[4..10].copy_from_slice(&self.lba);
        bytes
    }
}

/// An ATA request with its data.
pub fn ata(header: Header, ata: Ata, data: &[u8]) -> Vec<u8> {
    let mut bytes = header.bytes();
    bytes.extend(ata.bytes());
    bytes.extend(data);
    bytes
}

/// A config request: sub-command and text.
pub fn config(header: Header, ccmd: u8, text: &[u8]) -> Vec<u8> {
    let mut bytes = header.bytes();
    bytes.extend([0, 0, 0, 0, 0, ccmd]);
    bytes.extend((text.len() as u16).to_be_bytes());
    bytes.extend(text);
    bytes
}

/// A mask list request: sub-command and directives.
pub fn mask(header: Header, mcmd: u8, directives: &[(u8, Mac)]) -> Vec<u8> {
    let mut bytes = header.bytes();
    bytes.extend([0, mcmd, 0, directives.len() as u8]);
    for (directive, mac) in directives {
        bytes.extend([0, *directive]);
        bytes.extend(mac);
    }
    bytes
}

/// A reserve request: sub-command and list.
pub fn reserve(header: Header, rcmd: u8, macs: &[Mac]) -> Vec<u8> {
    let mut bytes = header.bytes();
    bytes.extend([rcmd, macs.len() as u8]);
    for mac in macs {
        bytes.extend(mac);
    }
    bytes
}

/// The frame with a VLAN tag put in.
pub fn tagged(bytes: &[u8], tag: [u8; 4]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 4);
    out.extend(&bytes[..12]);
    out.extend(tag);
    out.extend(&bytes[12..]);
    out
}

/// The frame with its VLAN tag, if it has one, taken out.
pub fn untagged(bytes: &[u8]) -> Vec<u8> {
    match bytes.get(12..14) {
        Some([0x81, 0x00] | [0x88, 0xa8]) if bytes.len() >= 16 => {
            let mut out = bytes[..12].to_vec();
            out.extend(&bytes[16..]);
            out
        }
        _ => bytes.to_vec(),
    }
}

/// Most sectors of one command on a link of `mtu`.
pub fn sectors_max(mtu: u16, vlan: bool) -> u8 {
    let header = ATA_HEADER + if vlan { 4 } else { 0 };
    let by_mtu = usize::from(mtu).saturating_sub(header) / io::SECTOR_BYTES;
    let by_slot = (io::WIRE_BYTES - header) / io::SECTOR_BYTES;
    by_mtu.min(by_slot) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        let mut header = Header::request(
            BROADCAST,
            [2, 0, 0, 0, 0, 1],
            Address::EVERYONE,
            CONFIG,
            0x1234_5678,
        );
        for vlan in [None, Some([0x81, 0, 0x20, 0x05])] {
            header.vlan = vlan;
            assert_eq!(Header::parse(&header.bytes()), Some(header));
        }
    }

    #[test]
    fn a_query_is_the_reference_vector_q1() {
        let header = Header::request(BROADCAST, [2, 0, 0, 0, 0, 1], Address::EVERYONE, CONFIG, 0);
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 0x01, 0x88, 0xa2, 0x10, 0, 0xff,
            0xff, 0xff, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(config(header, 0, &[]), expected);
    }

    #[test]
    fn a_tag_costs_a_sector_only_where_the_slot_is_full() {
        assert_eq!((sectors_max(1500, false), sectors_max(1500, true)), (2, 2));
        assert_eq!(
            (sectors_max(9000, false), sectors_max(9000, true)),
            (17, 16)
        );
        assert_eq!(sectors_max(500, false), 0);
    }
}
