//! SMART, as much as there is to say: will the disk fail soon (ATA8-ACS 7.52).
//!
//! A disk that does not speak of its health has no SMART, and IDENTIFY says so.
//! One that does has RETURN STATUS, and READ DATA with an empty attribute table
//! for tools that will not ask for the one without the other.

use crate::ata::feature;
use crate::identify::{Block, checksum};
use crate::medium::Health;
use crate::verdict::Refusal;

/// What a SMART command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Smart {
    ReadData,
    Enable,
    Disable,
    ReturnStatus,
}

/// Key of every SMART command, and the answer of a disk that is well.
const WELL: u64 = 0xc2_4f00;
/// The answer of a disk that expects to fail.
const FAILING: u64 = 0x2c_f400;
/// The two bytes of the LBA that carry them.
const KEY: u64 = 0xff_ff00;

impl Smart {
    /// key and feature must be right.
    pub fn parse(feature: u8, lba: u64) -> Result<Self, Refusal> {
        if lba & KEY != WELL {
            return Err(Refusal::UnknownFeature);
        }
        match feature {
            feature::SMART_READ_DATA => Ok(Self::ReadData),
            feature::SMART_ON => Ok(Self::Enable),
            feature::SMART_OFF => Ok(Self::Disable),
            feature::SMART_STATUS => Ok(Self::ReturnStatus),
            _ => Err(Refusal::UnknownFeature),
        }
    }
}

/// What RETURN STATUS puts into the second and third byte of the LBA.
pub(crate) const fn status(health: Health) -> [u8; 2] {
    let lba = if health.failing { FAILING } else { WELL };
    [(lba >> 8) as u8, (lba >> 16) as u8]
}

/// The data structure of READ DATA: revision 1, no attributes, nothing offered.
pub(crate) fn write_data(block: &mut Block) {
    block.fill(0);
    block[0] = 1;
    block[511] = checksum(block);
}
