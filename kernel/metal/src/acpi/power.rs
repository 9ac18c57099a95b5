//! The power button, the reset and power off (FADT; ACPI 6.5, 5.2.9 and 4.8.3).

use super::fields::{is_sum_right, number};
use super::{HEADER_BYTES, Memory, TABLE_BYTES_MAX};

/// A register of the machine (ACPI 6.5, 5.2.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// In memory.
    Memory(u64),
    /// At a port.
    Port(u16),
}

impl Space {
    const IN_MEMORY: u8 = 0;
    const AT_A_PORT: u8 = 1;

    /// The register that 12 bytes at `at` describe; `None` for one that is not
    /// there or lies in a space we do not reach.
    pub fn read(table: &[u8], at: usize) -> Option<Self> {
        let address = number(table, at + 4, 8).filter(|address| *address != 0)?;
        match *table.get(at)? {
            Self::IN_MEMORY => Some(Self::Memory(address)),
            Self::AT_A_PORT => Some(Self::Port(u16::try_from(address).ok()?)),
            _ => None,
        }
    }

    /// The port, if it is one.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Port(port) => Some(port),
            Self::Memory(_) => None,
        }
    }

    /// The address in memory, if it is one.
    pub fn address(self) -> Option<u64> {
        match self {
            Self::Memory(address) => Some(address),
            Self::Port(_) => None,
        }
    }
}

/// A write that resets the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Where.
    pub register: Space,
    /// What.
    pub value: u8,
}

/// What the FADT says. Ports only: registers in memory are those of machines
/// without ports, which are not PCs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Power {
    /// PM1 status of block a: bit 8 is the power button. Written with the bit to
    /// clear it.
    pub status: Option<u16>,
    /// PM1 enable of block a: which bits of the status are ever set.
    pub status_enable: Option<u16>,
    /// PM1 control of block a.
    pub control: Option<u16>,
    /// PM1 control of block b, where there is one.
    pub control_b: Option<u16>,
    /// The values for SLP_TYP of both that mean "off".
    pub off: Option<(u8, u8)>,
    /// Where and what to write so that the firmware gives these registers to us,
    /// if it has them yet.
    pub enable: Option<(u16, u8)>,
    /// How to reset.
    pub reset: Option<Reset>,
    /// The counter of 3,579,545 Hz.
    pub timer: Option<u16>,
}

/// Where the fields are (ACPI 6.5, table 5.9).
mod field {
    pub const DSDT: usize = 40;
    pub const COMMAND_PORT: usize = 48;
    pub const ENABLE_VALUE: usize = 52;
    pub const EVENT_A: usize = 56;
    pub const CONTROL_A: usize = 64;
    pub const CONTROL_B: usize = 68;
    pub const TIMER: usize = 76;
    pub const EVENT_BYTES: usize = 88;
    pub const FLAGS: usize = 112;
    pub const RESET_REGISTER: usize = 116;
    pub const RESET_VALUE: usize = 128;
    pub const DSDT_LONG: usize = 140;
}

impl Power {
    /// Flag: the button is a device of the firmware's language, not a bit.
    const BUTTON_IS_A_DEVICE: u64 = 1 << 4;
    /// Flag: there is a reset register.
    const HAS_RESET: u64 = 1 << 10;
    /// Flag: none of these registers is there.
    const HARDWARE_REDUCED: u64 = 1 << 20;

    /// Reads a FADT, and of the program that it names the one value we need.
    pub(super) fn read<M: Memory>(memory: &M, table: &[u8]) -> Option<Self> {
        let flags = number(table, field::FLAGS, 4)?;
        let port = |at| {
            let port = number(table, at, 4).and_then(|port| u16::try_from(port).ok());
            port.filter(|port| *port != 0 && flags & Self::HARDWARE_REDUCED == 0)
        };
        let reset = (flags & Self::HAS_RESET != 0)
            .then(|| {
                Some(Reset {
                    register: Space::read(table, field::RESET_REGISTER)?,
                    value: *table.get(field::RESET_VALUE)?,
                })
            })
            .flatten();
        // The long address counts where there is one.
        let program = number(table, field::DSDT_LONG, 8)
            .filter(|address| *address != 0)
            .or(number(table, field::DSDT, 4));
        // The first half of the block is the status, the second says what it shows.
        let half = u16::from(*table.get(field::EVENT_BYTES)?) / 2;
        let has_button = flags & Self::BUTTON_IS_A_DEVICE == 0 && half >= 2;
        let status = port(field::EVENT_A).filter(|_| has_button);
        Some(Self {
            status,
            status_enable: status.and_then(|status| status.checked_add(half)),
            control: port(field::CONTROL_A),
            control_b: port(field::CONTROL_B),
            off: program.and_then(|address| off(program_at(memory, address)?)),
            enable: port(field::COMMAND_PORT)
                .zip(table.get(field::ENABLE_VALUE).copied())
                .filter(|(_, value)| *value != 0),
            reset,
            timer: port(field::TIMER),
        })
    }
}

/// The DSDT at `address`.
fn program_at<M: Memory>(memory: &M, address: u64) -> Option<&[u8]> {
    let header = memory.bytes(address, HEADER_BYTES)?;
    let bytes = u32::try_from(number(header, 4, 4)?).ok()?;
    if !header.starts_with(b"DSDT") || bytes > TABLE_BYTES_MAX {
        return None;
    }
    memory
        .bytes(address, bytes as usize)
        .filter(|table| is_sum_right(table))
}

/// The two numbers of the package named `_S5_`, which are written to switch off
/// (ACPI 6.5, 7.4.2). The package is data, `Name (_S5, Package () {a, b, …})`:
/// name, package, its length, its count, and numbers in one of four forms
/// (20.2.3, 20.2.5.4).
pub(super) fn off(program: &[u8]) -> Option<(u8, u8)> {
    const NAME: u8 = 0x08;
    const PACKAGE: u8 = 0x12;
    // What follows a name may come with a backslash before the four letters.
    let named = |at: usize| matches!(program.get(..at), Some([.., NAME] | [.., NAME, b'\\']));
    let body = program
        .windows(4)
        .enumerate()
        .filter(|(at, window)| *window == b"_S5_" && named(*at))
        .find_map(|(at, _)| program.get(at + 4..)?.strip_prefix(&[PACKAGE]))?;
    // The upper bits of the first byte of a length say how many bytes follow.
    let more = usize::from(*body.first()? >> 6);
    let elements = body.get(2 + more..)?;
    let (a, used) = small_number(elements)?;
    let (b, _) = small_number(elements.get(used..)?)?;
    // The field has three bits.
    (a < 8 && b < 8).then_some((a, b))
}

/// A number below 256 and how many bytes it takes.
fn small_number(bytes: &[u8]) -> Option<(u8, usize)> {
    match *bytes {
        // Zero and one have forms of their own.
        [value @ (0 | 1), ..] => Some((value, 1)),
        // One byte; a word or a double word, of which the upper part is 0.
        [0x0a, value, ..] => Some((value, 2)),
        [0x0b, value, 0, ..] => Some((value, 3)),
        [0x0c, value, 0, 0, 0, ..] => Some((value, 5)),
        _ => None,
    }
}
