//! vmxnet3: the network card of ESXi, Workstation and QEMU's `vmxnet3`.
//!
//! ```text
//! descriptors  | frame 16 | ...   we write; a bit in each says whose it is
//! answers      | index 16 | ...   it writes; a bit in each says that it is new
//! area         settings, and what it tells on errors
//! ```
//! A direction has two rings. Neither side publishes an index: each descriptor and
//! each answer has a bit that turns over with every round ([`ring`]), so a frame is
//! lent by one write, and one doorbell a batch tells of those to send.
//!
//! A frame is lent as it is, one descriptor each; nothing is copied or allocated.
//! Offloads, several queues, data rings and VLAN filters stay off.
//!
//! There is no public specification. Names and numbers are those of the drivers that
//! VMware gave to the free systems.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod area;
mod card;
mod error;
mod registers;
mod ring;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use card::Card;
pub use error::Error;

use io::Text;
use pci::{Bar, ConfigSpace, Function, Ids, Known, Resources, open_message};

/// VMware, and the card.
const ID: (u16, u16) = (0x15ad, 0x07b0);

/// What this driver knows.
pub const DEVICES: &[Known] = &[Known::emulated(
    "vmxnet3",
    Ids::Devices(ID.0, &[ID.1]),
    "vmxnet3",
)];

/// The BAR with masks and doorbells, and that with everything else.
const DOORS_BAR: u8 = 0;
const REGISTERS_BAR: u8 = 1;

/// Whether `function` is a card for this driver.
pub fn is_vmxnet3(function: &Function) -> bool {
    (function.vendor, function.device) == ID
}

/// Starts the card. An [`Error`] ends the sentence `00:02.0 vmxnet3: ...`.
pub fn attach(
    function: &Function,
    config: &impl ConfigSpace,
    resources: &mut impl Resources,
) -> Result<Card, Error> {
    let mut map = |bar| {
        Bar::of(function, config, bar)?
            .placed(function, config, resources)?
            .map(0, registers::BYTES, resources)
    };
    let (doors, registers) = (map(DOORS_BAR)?, map(REGISTERS_BAR)?);
    // An earlier boot stage may have left the card receiving. It is reset while it
    // may not touch memory yet.
    function.decode_memory(config);
    let mac = card::reset(&registers)?;
    let messages = open_message(function, config, resources)?;
    function.enable(config);
    let name = Text::<48>::format(format_args!("{} vmxnet3", function.address));
    Card::start(doors, registers, mac, messages, resources, name.as_str())
}
