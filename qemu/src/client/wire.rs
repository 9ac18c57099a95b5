//! AoE frames as an initiator writes and reads them.
//!
//! Written from the offsets of the protocol, and from nothing of the node's.

use crate::Failure;
use crate::network::{ETHERTYPE_AOE, Mac};
use std::fmt;

/// Where each part of a frame begins.
pub(super) mod at {
    pub const DESTINATION: usize = 0;
    pub const SOURCE: usize = 6;
    pub const ETHERTYPE: usize = 12;
    pub const FLAGS: usize = 14;
    pub const ERROR: usize = 15;
    pub const SHELF: usize = 16;
    pub const SLOT: usize = 18;
    pub const COMMAND: usize = 19;
    pub const TAG: usize = 20;
    pub const ARGUMENT: usize = 24;
    pub const CONFIG_STRING: usize = 32;
    pub const ATA_DATA: usize = 36;
}

/// The shortest reply that every initiator accepts.
const REPLY_BYTES_MIN: usize = 60;
/// Version 1, a request.
pub(super) const REQUEST: u8 = 0x10;
/// The bit that says "this is a response".
const RESPONSE: u8 = 0x08;
/// The bit that says "the AoE part failed".
const FAILED: u8 = 0x04;
/// Bits of the status register that mean failure: BSY, DF, DRQ, ERR.
const STATUS_BAD: u8 = 0xa9;

/// AoE commands.
pub mod command {
    /// Issue an ATA command.
    pub const ATA: u8 = 0;
    /// Query or set the config string.
    pub const CONFIG: u8 = 1;
    /// Read or edit the list of MACs that may talk.
    pub const MASK: u8 = 2;
    /// Reserve or release.
    pub const RESERVE: u8 = 3;
}

/// ATA opcodes.
pub mod ata {
    /// READ SECTORS, 28-bit.
    pub const READ: u8 = 0x20;
    /// READ SECTORS EXT.
    pub const READ_EXT: u8 = 0x24;
    /// WRITE SECTORS, 28-bit.
    pub const WRITE: u8 = 0x30;
    /// WRITE SECTORS EXT.
    pub const WRITE_EXT: u8 = 0x34;
    /// READ VERIFY SECTORS EXT.
    pub const VERIFY_EXT: u8 = 0x42;
    /// DATA SET MANAGEMENT.
    pub const DATA_SET_MANAGEMENT: u8 = 0x06;
    /// SMART.
    pub const SMART: u8 = 0xb0;
    /// CHECK POWER MODE.
    pub const CHECK_POWER_MODE: u8 = 0xe5;
    /// FLUSH CACHE EXT.
    pub const FLUSH_EXT: u8 = 0xea;
    /// IDENTIFY DEVICE.
    pub const IDENTIFY: u8 = 0xec;
    /// SET FEATURES.
    pub const SET_FEATURES: u8 = 0xef;
}

/// The name of an export on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Major.
    pub shelf: u16,
    /// Minor.
    pub slot: u8,
}

impl Address {
    /// Every export there is.
    pub const EVERYONE: Self = Self {
        shelf: 0xffff,
        slot: 0xff,
    };
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}.{}", self.shelf, self.slot)
    }
}

/// An export as its config answers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub address: Address,
    /// The port of the node that answered.
    pub mac: Mac,
    /// Requests it takes at once.
    pub buffers: u16,
    /// Its firmware version.
    pub firmware: u16,
    /// Sectors per frame: the most that any answer which reached us offered.
    pub sectors_max: u8,
    /// Its config string.
    pub config: Vec<u8>,
}

/// What IDENTIFY DEVICE says.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// All 256 words.
    pub words: [u16; 256],
}

impl Identity {
    /// Capacity in sectors (words 100 to 103).
    pub fn sectors(&self) -> u64 {
        (100..104)
            .rev()
            .fold(0, |sum, word| sum << 16 | u64::from(self.words[word]))
    }

    /// Capacity for 28-bit commands (words 60 and 61).
    pub fn sectors_28(&self) -> u32 {
        u32::from(self.words[61]) << 16 | u32::from(self.words[60])
    }

    /// The serial number.
    pub fn serial(&self) -> String {
        self.text(10, 20)
    }

    /// The firmware revision.
    pub fn firmware(&self) -> String {
        self.text(23, 27)
    }

    /// The model.
    pub fn model(&self) -> String {
        self.text(27, 47)
    }

    fn text(&self, from: usize, to: usize) -> String {
        // Two characters a word, the first in the high byte.
        let bytes: Vec<u8> = self.words[from..to]
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("model", &self.model())
            .field("serial", &self.serial())
            .field("firmware", &self.firmware())
            .field("sectors", &self.sectors())
            .finish()
    }
}

/// The argument of an ATA request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AtaRequest {
    /// E 0x40, D 0x10, A 0x02, W 0x01.
    pub flags: u8,
    /// Feature register.
    pub feature: u8,
    /// Sector count register.
    pub count: u8,
    /// The opcode.
    pub opcode: u8,
    /// The address, 48 bits of it.
    pub lba: u64,
}

impl AtaRequest {
    /// The twelve bytes of the argument.
    pub fn bytes(self) -> [u8; 12] {
        let [a, b, c, d, e, f, _, _] = self.lba.to_le_bytes();
        let Self {
            flags,
            feature,
            count,
            opcode,
            ..
        } = self;
        [flags, feature, count, opcode, a, b, c, d, e, f, 0, 0]
    }
}

/// A reply, still in its frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// The whole frame.
    pub frame: Vec<u8>,
}

impl Reply {
    /// The frame as a reply, if it is an AoE response with a whole header.
    pub fn parse(frame: Vec<u8>) -> Option<Self> {
        let ethertype = frame.get(at::ETHERTYPE..at::FLAGS)?;
        let whole = frame.len() >= at::ARGUMENT
            && ethertype == ETHERTYPE_AOE.to_be_bytes()
            && frame[at::FLAGS] & RESPONSE != 0;
        whole.then_some(Self { frame })
    }

    /// Who sent it.
    pub fn source(&self) -> Mac {
        Mac(self.array(at::SOURCE))
    }

    /// Whom it was sent to.
    pub fn destination(&self) -> Mac {
        Mac(self.array(at::DESTINATION))
    }

    /// Version and flags.
    pub fn flags(&self) -> u8 {
        self.frame[at::FLAGS]
    }

    /// The AoE error code, if the AoE part failed.
    pub fn aoe_error(&self) -> Option<u8> {
        (self.flags() & FAILED != 0).then_some(self.frame[at::ERROR])
    }

    /// The export that answers.
    pub fn address(&self) -> Address {
        Address {
            shelf: u16::from_be_bytes(self.array(at::SHELF)),
            slot: self.frame[at::SLOT],
        }
    }

    /// The AoE command it answers.
    pub fn command(&self) -> u8 {
        self.frame[at::COMMAND]
    }

    /// The tag it carries.
    pub fn tag(&self) -> u32 {
        u32::from_be_bytes(self.array(at::TAG))
    }

    /// Everything behind the header.
    pub fn argument(&self) -> &[u8] {
        &self.frame[at::ARGUMENT..]
    }

    /// Error register of an ATA reply.
    pub fn ata_error(&self) -> u8 {
        self.register(1)
    }

    /// Count register of an ATA reply.
    pub fn ata_count(&self) -> u8 {
        self.register(2)
    }

    /// Status register of an ATA reply.
    pub fn ata_status(&self) -> u8 {
        self.register(3)
    }

    /// Whether the status register says that the ATA command failed.
    pub fn ata_failed(&self) -> bool {
        self.ata_status() & STATUS_BAD != 0
    }

    /// Address registers of an ATA reply.
    pub fn ata_lba(&self) -> u64 {
        (0..6)
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(self.register(4 + byte)))
    }

    /// What follows an ATA reply's registers.
    pub fn ata_data(&self) -> &[u8] {
        self.frame.get(at::ATA_DATA..).unwrap_or_default()
    }

    /// What a config reply says of its export.
    pub fn export(&self) -> Option<Export> {
        let argument = self.argument();
        if self.command() != command::CONFIG || argument.len() < 8 {
            return None;
        }
        let word = |at: usize| u16::from_be_bytes([argument[at], argument[at + 1]]);
        let length = usize::from(word(6));
        Some(Export {
            address: self.address(),
            mac: self.source(),
            buffers: word(0),
            firmware: word(2),
            sectors_max: argument[4],
            config: self
                .frame
                .get(at::CONFIG_STRING..at::CONFIG_STRING + length)?
                .to_vec(),
        })
    }

    /// The frame must be `bytes` long, or 60 bytes with zeros behind them.
    pub fn check_length(&self, bytes: usize) -> Result<(), Failure> {
        let length = self.frame.len();
        if length != bytes.max(REPLY_BYTES_MIN) {
            return Err(Failure::new(format!(
                "a reply of {length} bytes where {} are right: {self:?}",
                bytes.max(REPLY_BYTES_MIN)
            )));
        }
        match self.frame[bytes..].iter().position(|&byte| byte != 0) {
            None => Ok(()),
            Some(offset) => Err(Failure::new(format!(
                "the padding of a reply is not zero at byte {}: {self:?}",
                bytes + offset
            ))),
        }
    }

    fn register(&self, index: usize) -> u8 {
        self.argument().get(index).copied().unwrap_or_default()
    }

    fn array<const N: usize>(&self, from: usize) -> [u8; N] {
        self.frame[from..from + N]
            .try_into()
            .expect("the header is whole")
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.frame))
    }
}

/// The first bytes of a frame, two by two, as the protocol's vectors are written.
pub fn hex(frame: &[u8]) -> String {
    let shown = &frame[..frame.len().min(96)];
    let mut text: Vec<String> = shown
        .chunks(2)
        .map(|pair| pair.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    if shown.len() < frame.len() {
        text.push(format!("… {} bytes", frame.len()));
    }
    text.join(" ")
}

/// The ATA command that `reply` answers, named `what`, must have succeeded.
pub(super) fn succeeded(reply: &Reply, what: &str) -> Result<(), Failure> {
    if !reply.ata_failed() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{what} fails with status {:#04x}, error {:#04x}",
        reply.ata_status(),
        reply.ata_error()
    )))
}
