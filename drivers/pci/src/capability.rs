//! The capability list: a chain of offsets that the device gives us.
//!
//! The list lies in bytes 0x40 to 0xff and its members are 4-byte aligned, so a
//! proper one has at most 48. We stop after that many: a list that runs in a
//! circle ends too.

use crate::config::{self, Address, ConfigSpace, read_u8, read_u16};
use crate::function::Function;

/// Most members a list can have (PCI 3.0, 6.7).
const MEMBERS_MAX: u8 = ((0x100 - 0x40) / 4) as u8;
/// Status bit: there is a list.
const STATUS_LIST: u16 = 1 << 4;

/// What a capability is. Others exist; we have no use for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapabilityId(pub u8);

impl CapabilityId {
    /// One message interrupt.
    pub const MSI: Self = Self(0x05);
    /// The vendor's own.
    pub const VENDOR: Self = Self(0x09);
    /// Message interrupts with a table.
    pub const MSI_X: Self = Self(0x11);
}

/// One member of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// What it is.
    pub id: CapabilityId,
    /// Where it starts in configuration space.
    pub offset: u16,
}

impl Capability {
    /// The aligned 32-bit word `at` bytes into the capability. All ones outside
    /// of the 256 bytes that capabilities live in.
    pub fn read(&self, config: &impl ConfigSpace, address: Address, at: u16) -> u32 {
        let register = self.offset + at;
        if register < 0x100 {
            config.read(address, register)
        } else {
            u32::MAX
        }
    }
}

impl Function {
    /// The function's capabilities, in the list's order.
    pub fn capabilities<'a, C: ConfigSpace>(&self, config: &'a C) -> Capabilities<'a, C> {
        let has_list = read_u16(config, self.address, config::COMMAND + 2) & STATUS_LIST != 0;
        Capabilities {
            config,
            address: self.address,
            next: if has_list {
                read_u8(config, self.address, config::CAPABILITIES)
            } else {
                0
            },
            budget: MEMBERS_MAX,
        }
    }
}

/// See [`Function::capabilities`].
pub struct Capabilities<'a, C> {
    config: &'a C,
    address: Address,
    next: u8,
    budget: u8,
}

impl<C: ConfigSpace> Iterator for Capabilities<'_, C> {
    type Item = Capability;

    fn next(&mut self) -> Option<Capability> {
        let offset = u16::from(self.next & !3);
        if offset < 0x40 || self.budget == 0 {
            return None;
        }
        self.budget -= 1;
        let [id, next, ..] = self.config.read(self.address, offset).to_le_bytes();
        self.next = next;
        Some(Capability {
            id: CapabilityId(id),
            offset,
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use crate::config::Address;
    use crate::fake::Fake;
    use crate::{CapabilityId, functions};
    use std::vec::Vec;

    const AT: Address = Address {
        bus: 0,
        device: 3,
        function: 0,
    };

    fn list(fake: &Fake) -> Vec<(u8, u16)> {
        let function = functions(fake).next().expect("one was added");
        function
            .capabilities(fake)
            .map(|capability| (capability.id.0, capability.offset))
            .collect()
    }

    #[test]
    fn capabilities_come_in_the_order_of_the_list() {
        let fake = Fake::default();
        fake.add(AT, 0x1041_1af4);
        fake.add_capability(AT, 0x98, CapabilityId::MSI_X.0);
        fake.add_capability(AT, 0x40, CapabilityId::VENDOR.0);
        assert_eq!(list(&fake), [(0x09, 0x40), (0x11, 0x98)]);
    }

    #[test]
    fn no_list_is_read_where_the_status_says_there_is_none() {
        let fake = Fake::default();
        fake.add(AT, 0x1041_1af4);
        fake.poke(AT, 0x34, 0x40);
        assert!(list(&fake).is_empty());
    }

    #[test]
    fn a_list_that_runs_in_a_circle_ends() {
        let fake = Fake::default();
        fake.add(AT, 0x1041_1af4);
        fake.add_capability(AT, 0x40, 9);
        fake.poke(AT, 0x41, 0x40);
        assert_eq!(list(&fake).len(), 48);
    }

    #[test]
    fn a_list_that_points_into_the_header_ends() {
        let fake = Fake::default();
        fake.add(AT, 0x1041_1af4);
        fake.add_capability(AT, 0xfc, 9);
        fake.poke(AT, 0xfd, 0x3c);
        assert_eq!(list(&fake), [(9, 0xfc)]);
    }

    #[test]
    fn a_capability_at_the_end_is_not_read_past_the_end() {
        let fake = Fake::default();
        fake.add(AT, 0x1041_1af4);
        fake.add_capability(AT, 0xfc, 9);
        let function = functions(&fake).next().expect("one was added");
        let capability = function.capabilities(&fake).next().expect("one was added");
        assert_eq!(capability.read(&fake, AT, 4), u32::MAX);
    }
}
