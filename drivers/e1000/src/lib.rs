//! Intel's network cards of one to ten gigabits: 8254x, 8257x, I217 to I219, 82576, I350,
//! I210, I225; 82599, X540, X550.
//!
//! ```text
//! attach ─► family: which chip, by its PCI id ─► card: reset, rings, frames
//! ```
//! Twenty-five years of chips are one driver, because what a frame passes through
//! hardly changed: a ring of 16-byte descriptors a direction, a tail register that
//! is the doorbell, a bit in memory that says "done". Two layouts of a descriptor
//! and two places for the ring's registers are all the difference ([`Kind`]). The ones of
//! ten gigabits kept the later layout and moved nearly every register of the card.
//!
//! A frame is lent as it is, one descriptor each; nothing is copied or allocated.
//! Offloads, several queues and VLAN filters stay off: the node has one loop, and
//! an AoE frame has no checksum to compute.
//!
//! Section numbers are those of Intel's manual for the 8254x (317453, revision 4.0)
//! and, for what came later, of the I210's (333016, revision 3.7) and the 82599's (331520,
//! revision 3.4).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod card;
mod error;
mod family;
mod registers;
mod ring;

#[cfg(any(test, feature = "model"))]
pub mod model;
#[cfg(test)]
mod tests;

pub use card::Card;
pub use error::Error;
pub use family::{Chip, DEVICES, Kind};
pub use registers::Registers;

use io::Text;
use pci::{Bar, ConfigSpace, Function, Msi, Resources};

/// The BAR with the registers.
const REGISTERS_BAR: u8 = 0;

/// Starts the card `function`, which is a `chip`. An [`Error`] ends the sentence
/// `00:02.0 e1000: ...`.
pub fn attach(
    function: &Function,
    chip: Chip,
    config: &impl ConfigSpace,
    resources: &mut impl Resources,
) -> Result<Card, Error> {
    let bar = Bar::of(function, config, REGISTERS_BAR)?.placed(function, config, resources)?;
    let registers = bar.map(0, registers::BYTES, resources)?;
    // An earlier boot stage may have left the card receiving. It is reset while it
    // may not touch memory yet.
    function.decode_memory(config);
    let mac = card::reset(&registers, chip.kind, resources)?;
    let has_interrupt = match Msi::find(function, config) {
        // The first ones with messages lose some (82545 and 82546, specification
        // update), so a chip before PCI Express has none.
        Some(msi) if chip.kind != Kind::E1000 => resources
            .message()
            .is_some_and(|message| msi.enable(config, message)),
        _ => false,
    };
    function.enable(config);
    let name = Text::<48>::format(format_args!("{} {}", function.address, chip.kind));
    Card::start(
        registers,
        chip,
        mac,
        has_interrupt,
        resources,
        name.as_str(),
    )
}
