//! One message that wakes the node, by whichever mechanism the function has.
//!
//! There is no third one. A function without messages has a line, but at which pin of
//! an interrupt controller the line of a slot ends stands in `_PRT`, in the firmware's
//! own language (ACPI 6.5, 6.2.13), which is not read here. The register that seems to
//! say it (PCI 3.0, 6.2.4) is a note of the BIOS for the controllers before that. Lines
//! are shared, and one that is opened by a guess may be held up by somebody else for
//! ever: then the machine stands. So a node does not wait for such a card. It takes
//! naps, short ones while frames come and longer ones while none do. Of the cards that
//! are driven the 8254x and the 8139C+ are of that kind, both of plain PCI.

use crate::{ConfigSpace, Error, Function, Msi, MsiX, Resources};

/// What a device writes, and where, to interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The address.
    pub address: u64,
    /// The number.
    pub data: u32,
}

/// Lets the function interrupt by one message: entry 0 of its table, whose other
/// entries stay masked, or else its only one. Returns how many it has, the silent ones
/// too; 0 if it has none, or the machine lends none.
pub fn open_message(
    function: &Function,
    config: &impl ConfigSpace,
    resources: &mut impl Resources,
) -> Result<u16, Error> {
    let Some(message) = resources.message() else {
        return Ok(0);
    };
    if let Some(msix) = MsiX::find(function, config, resources)? {
        msix.set(0, message);
        msix.enable(config);
        return Ok(msix.entries());
    }
    let msi = Msi::find(function, config);
    Ok(msi.is_some_and(|msi| msi.enable(config, message)).into())
}
