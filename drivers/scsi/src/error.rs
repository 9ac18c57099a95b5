//! Why an adapter or one of its units gives no disk. Each ends the sentence
//! `00:04.0 virtio-scsi: ...`.

use crate::adapter::Address;
use crate::command::Opcode;
use crate::sense::Sense;
use core::fmt;

/// A unit that gives no disk, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Which.
    pub address: Address,
    /// Why.
    pub error: Error,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { target, unit } = self.address;
        write!(f, "target {target} unit {unit}: {}", self.error)
    }
}

/// Why there is no disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A command of the start was not answered, for this long.
    Silent {
        /// The command.
        command: Opcode,
        /// Milliseconds waited.
        waited_ms: u64,
    },
    /// A command of the start was refused.
    Refused {
        /// The command.
        command: Opcode,
        /// What the unit says.
        sense: Sense,
    },
    /// A command of the start failed on its way.
    NotCarried {
        /// The command.
        command: Opcode,
    },
    /// Another kind of device: tape, CD-ROM, enclosure.
    NotADisk {
        /// Peripheral device type (SPC-5, table 151).
        kind: u8,
    },
    /// Its medium can be taken out.
    Removable,
    /// There is no medium in it, or no sectors.
    NoCapacity,
    /// Its blocks are not sectors of 512 bytes.
    BlockSize {
        /// Bytes of a block.
        bytes: u32,
    },
    /// The adapter moves less in one command than a frame carries.
    TransferSize {
        /// Most bytes of a command.
        bytes: u32,
    },
    /// More units than are served of one adapter.
    TooMany {
        /// How many are.
        units_max: usize,
    },
    /// The machine has no more memory.
    NoMemory {
        /// How much was asked for.
        bytes: usize,
    },
}

impl Error {
    /// Whether nobody expected a disk there, so that a warning would only puzzle.
    pub fn is_only_a_remark(self) -> bool {
        matches!(self, Self::NotADisk { .. } | Self::Removable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Silent { command, waited_ms } => {
                write!(
                    f,
                    "did not answer command {:02x}h within {waited_ms} ms",
                    command.0
                )
            }
            Self::Refused { command, sense } => write!(
                f,
                "refuses command {:02x}h (sense {:x}h, {:02x}h/{:02x}h)",
                command.0, sense.key.0, sense.code, sense.qualifier
            ),
            Self::NotCarried { command } => write!(f, "command {:02x}h failed", command.0),
            Self::NotADisk { kind } => write!(f, "is not a disk (device type {kind:02x}h)"),
            Self::Removable => f.write_str("its medium can be taken out; not exported"),
            Self::NoCapacity => f.write_str("capacity is 0 sectors"),
            Self::BlockSize { bytes } => write!(
                f,
                "has blocks of {bytes} bytes, AoE has sectors of 512; give it logical_block_size=512"
            ),
            Self::TransferSize { bytes } => {
                write!(
                    f,
                    "moves at most {bytes} bytes at once, a frame carries 8704"
                )
            }
            Self::TooMany { units_max } => {
                write!(f, "{units_max} disks of one adapter are served")
            }
            Self::NoMemory { bytes } => write!(f, "no memory left ({bytes} bytes)"),
        }
    }
}

impl core::error::Error for Error {}
