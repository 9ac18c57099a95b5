//! Command 1, query config information: who is there, and a text to find it by.
//!
//! The string is the initiators' and means nothing to us. A test that fails is
//! *silent*: a question sent to everybody is answered by those it fits.
//!
//! The figure for sectors is how Linux learns its frame size, and Linux never
//! falls back. So a small answer says only what every path carries; what is more
//! is said by a second answer that is itself as long as the frames it allows.

use crate::limits::{CONFIG_BYTES_MAX, SECTORS_SURE};
use crate::verdict::{Drop, Refusal};
use crate::wire::{self, Body, Port, VERSION};

/// AoE's command 1.
pub(crate) const COMMAND: u8 = 1;

/// Sub-command 0, read.
pub(crate) const READ: u8 = 0;
const TEST: u8 = 1;
const TEST_PREFIX: u8 = 2;
const SET: u8 = 3;
const FORCE_SET: u8 = 4;

/// The lower half of byte 29; the upper half is a version that initiators leave
/// zero and nobody may check.
const COMMAND_MASK: u8 = 0x0f;

/// Shown by Linux as `firmware-version`: one hexadecimal digit each for major
/// and minor, two for the patch, behind a zero.
const FIRMWARE: u16 = 0x0100;

/// The config string of one target.
#[derive(Clone, Debug)]
pub(crate) struct ConfigString {
    len: u16,
    bytes: [u8; CONFIG_BYTES_MAX],
}

impl ConfigString {
    pub const EMPTY: Self = Self {
        len: 0,
        bytes: [0; CONFIG_BYTES_MAX],
    };

    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Takes back the string from before a restart; one that is too long is none.
    pub fn restore(&mut self, string: &[u8]) {
        if string.len() <= CONFIG_BYTES_MAX {
            self.set(string);
        }
    }

    /// Replaces the string. True if it is another one now.
    fn set(&mut self, string: &[u8]) -> bool {
        let is_new = self.as_bytes() != string;
        self.bytes[..string.len()].copy_from_slice(string);
        self.len = string.len() as u16;
        is_new
    }

    /// Does what a request asks. True if the string is another one now.
    pub fn serve(&mut self, body: &Body, len: usize) -> Result<bool, Unserved> {
        let command = body[wire::config::COMMAND] & COMMAND_MASK;
        if command == READ {
            // what a read carries is not looked at, its length neither.
            return Ok(false);
        }
        let argument = argument(body, len);
        match (command, argument) {
            (TEST, Some(argument)) if argument == self.as_bytes() => Ok(false),
            (TEST_PREFIX, Some(argument)) if self.as_bytes().starts_with(argument) => Ok(false),
            // silence, also for what is too long to be right.
            (TEST | TEST_PREFIX, _) => Err(Unserved::Drop(Drop::TestMismatch)),
            //
            (SET | FORCE_SET, None) => Err(Unserved::Refuse(Refusal::ConfigLength)),
            // a set of an equal string succeeds, so that a resend does.
            (SET, Some(argument)) if self.len > 0 && argument != self.as_bytes() => {
                Err(Unserved::Refuse(Refusal::ConfigPresent))
            }
            // of nothing, too.
            (SET | FORCE_SET, Some(argument)) => Ok(self.set(argument)),
            //
            _ => Err(Unserved::Refuse(Refusal::UnknownConfigCommand)),
        }
    }

    /// Writes the argument of an answer and returns where it ends.
    pub fn write(&self, body: &mut Body, command: u8, buffers: u16, sectors: u8) -> usize {
        use wire::config;
        let string = self.as_bytes();
        body[config::BUFFERS..config::FIRMWARE].copy_from_slice(&buffers.to_be_bytes());
        body[config::FIRMWARE..config::SECTORS].copy_from_slice(&FIRMWARE.to_be_bytes());
        body[config::SECTORS] = sectors;
        body[config::COMMAND] = VERSION | command & COMMAND_MASK;
        body[config::LENGTH..config::STRING].copy_from_slice(&self.len.to_be_bytes());
        let end = config::STRING + string.len();
        body[config::STRING..end].copy_from_slice(string);
        end
    }
}

/// Why a config request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unserved {
    Drop(Drop),
    Refuse(Refusal),
}

/// Whether a sub-command, as it stands in a request, is a plain read.
pub(crate) const fn is_read(command: u8) -> bool {
    command & COMMAND_MASK == READ
}

/// What a small answer may say.
pub(crate) fn sectors_small(port: &Port, tagged: bool) -> u8 {
    // A 0 would be taken as 2.
    port.sectors_max(tagged).clamp(1, SECTORS_SURE)
}

/// What a jumbo answer may say, if there is more to say than in a small one.
pub(crate) fn sectors_jumbo(port: &Port, tagged: bool) -> Option<u8> {
    let sectors = port.sectors_max(tagged);
    (sectors > SECTORS_SURE).then_some(sectors)
}

/// The string of a request, if it is all there and not too long.
fn argument(body: &Body, len: usize) -> Option<&[u8]> {
    use wire::config;
    let length = u16::from_be_bytes([body[config::LENGTH], body[config::LENGTH + 1]]);
    let end = config::STRING + usize::from(length);
    let is_good = usize::from(length) <= CONFIG_BYTES_MAX && end <= len;
    is_good.then(|| &body[config::STRING..end])
}
