//! One message that wakes the node, by whichever mechanism the function has.

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
