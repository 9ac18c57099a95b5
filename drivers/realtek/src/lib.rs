//! Realtek's network cards: 8139C+, 8169, 8168.
//!
//! ```text
//! attach ─► family: which chip, by its PCI id ─► card: reset, rings, frames
//! ```
//! One ring of 16-byte descriptors a direction, a bit in each that says whose it is,
//! and a register that is the doorbell for sending. The 8139C+ sits in virtual machines,
//! the 8168 and its relatives on most cheap boards; they differ in where a few registers
//! are.
//!
//! **The 8168 can not receive into frames.** It wants a buffer's address to be a multiple
//! of eight, so that sectors would lie four bytes behind where disks want them. It is
//! given the next multiple, and what it has received is moved down by four bytes: the one
//! place in the house where a driver touches the data, and it is counted
//! ([`Card::moved_bytes`]). Sending takes any address.
//!
//! Ordinary frames only: long ones need settings that differ from chip to chip and are
//! not in any manual. The 8139 of before the C+ receives into one ring of bytes; it has
//! no driver here.
//!
//! Section numbers are those of Realtek's manual for the RTL8169 (revision 1.21), whose
//! registers the later chips kept.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod card;
mod error;
mod family;
mod registers;
mod ring;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use card::Card;
pub use error::Error;
pub use family::{DEVICES, Kind};
pub use registers::Registers;

use io::Text;
use pci::{Bar, ConfigSpace, Function, Msi, Resources};

/// The BARs that may have the registers: the other one is ports, or nothing.
const REGISTERS_BARS: [u8; 2] = [1, 2];

/// Starts the card `function`, which is a `kind`. An [`Error`] ends the sentence
/// `00:02.0 rtl8139: ...`.
pub fn attach(
    function: &Function,
    kind: Kind,
    config: &impl ConfigSpace,
    resources: &mut impl Resources,
) -> Result<Card, Error> {
    let [first, second] = REGISTERS_BARS.map(|index| Bar::of(function, config, index));
    let bar = first.or(second)?.placed(function, config, resources)?;
    let registers = bar.map(0, registers::BYTES, resources)?;
    // An earlier boot stage may have left the card receiving. It is reset while it
    // may not touch memory yet.
    function.decode_memory(config);
    let mac = card::reset(&registers, resources)?;
    // Chips on PCI have no message, and it is not theirs if they say so.
    let has_interrupt = match Msi::find(function, config) {
        Some(msi) if kind == Kind::R8168 => resources
            .message()
            .is_some_and(|message| msi.enable(config, message)),
        _ => false,
    };
    function.enable(config);
    let name = Text::<48>::format(format_args!("{} {kind}", function.address));
    Card::start(
        registers,
        kind,
        mac,
        has_interrupt,
        resources,
        name.as_str(),
    )
}
