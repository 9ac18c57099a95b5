//! MSI-X: an interrupt is a write of a number to an address.
//!
//! The table lies in the device's memory, behind a BAR; each entry has its own
//! mask. The function's own mask stays off, so that a masked entry is the only
//! reason for silence.

use crate::capability::CapabilityId;
use crate::config::{self, Address, ConfigSpace};
use crate::function::Function;
use crate::{Bar, DeviceMemory, Error, Message, Register, Resources};

/// Message control: entries less one.
const CONTROL_ENTRIES: u16 = 0x7ff;
/// Message control: all entries masked.
const CONTROL_MASK_ALL: u16 = 1 << 14;
/// Message control: on.
const CONTROL_ENABLE: u16 = 1 << 15;
/// Bytes of an entry of the table (PCI 3.0, 6.8.2.6).
const ENTRY_BYTES: usize = 16;
/// Entry, word 3: masked.
const ENTRY_MASKED: u32 = 1;

/// One entry's registers.
struct Entry {
    address_low: Register<u32>,
    address_high: Register<u32>,
    data: Register<u32>,
    control: Register<u32>,
}

impl Entry {
    const fn at(number: u16) -> Self {
        let start = number as usize * ENTRY_BYTES;
        Self {
            address_low: Register::at(start),
            address_high: Register::at(start + 4),
            data: Register::at(start + 8),
            control: Register::at(start + 12),
        }
    }
}

/// A function's table of messages.
pub struct MsiX {
    table: DeviceMemory,
    entries: u16,
    address: Address,
    offset: u16,
}

impl MsiX {
    /// The function's table with all its entries masked, messages still off.
    /// `None` if it has no such capability.
    pub fn find(
        function: &Function,
        config: &impl ConfigSpace,
        resources: &mut impl Resources,
    ) -> Result<Option<Self>, Error> {
        let address = function.address;
        let Some(capability) = function
            .capabilities(config)
            .find(|capability| capability.id == CapabilityId::MSI_X)
        else {
            return Ok(None);
        };
        let control = (capability.read(config, address, 0) >> 16) as u16;
        let entries = (control & CONTROL_ENTRIES) + 1;
        let place = capability.read(config, address, 4);
        let (bar, offset) = ((place & 7) as u8, u64::from(place & !7));
        let bytes = usize::from(entries) * ENTRY_BYTES;
        let table = Bar::of(function, config, bar)?
            .placed(function, config, resources)?
            .map(offset, bytes, resources)?;
        let msix = Self {
            table,
            entries,
            address,
            offset: capability.offset,
        };
        // An earlier boot stage may have left entries open; they go before the
        // function is told to use the table again.
        for entry in 0..entries {
            msix.mask(entry);
        }
        Ok(Some(msix))
    }

    /// How many entries there are, at least 1.
    pub fn entries(&self) -> u16 {
        self.entries
    }

    /// Sets an entry and opens it.
    ///
    /// # Panics
    /// If there is no such entry.
    pub fn set(&self, entry: u16, message: Message) {
        assert!(entry < self.entries, "entry {entry} of {}", self.entries);
        let entry = Entry::at(entry);
        // An entry is changed only while it is masked (PCI 3.0, 6.8.2).
        self.table.write(entry.control, ENTRY_MASKED);
        self.table.write(entry.address_low, message.address as u32);
        let high = (message.address >> 32) as u32;
        self.table.write(entry.address_high, high);
        self.table.write(entry.data, message.data);
        self.table.write(entry.control, 0);
    }

    /// Silences an entry.
    ///
    /// # Panics
    /// If there is no such entry.
    pub fn mask(&self, entry: u16) {
        assert!(entry < self.entries, "entry {entry} of {}", self.entries);
        self.table.write(Entry::at(entry).control, ENTRY_MASKED);
    }

    /// Makes the function interrupt by messages.
    pub fn enable(&self, config: &impl ConfigSpace) {
        self.change_control(config, |control| {
            control & !CONTROL_MASK_ALL | CONTROL_ENABLE
        });
    }

    /// Stops the function's messages.
    pub fn disable(&self, config: &impl ConfigSpace) {
        self.change_control(config, |control| control & !CONTROL_ENABLE);
    }

    fn change_control(&self, config: &impl ConfigSpace, change: impl FnOnce(u16) -> u16) {
        let control = config::read_u16(config, self.address, self.offset + 2);
        // The lower half of the word (id, next) can not be written.
        config.write(self.address, self.offset, u32::from(change(control)) << 16);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::fake::{Fake, FakeMachine};
    use crate::functions;

    const AT: Address = Address {
        bus: 0,
        device: 3,
        function: 0,
    };

    fn fake(place: u32, entries: u16) -> Fake {
        let fake = Fake::default();
        fake.add(AT, 0x1041_1af4);
        fake.add_bar(AT, 1, 0x1000, false);
        fake.poke_u32(AT, 0x14, 0xfebd_0000);
        fake.add_capability(AT, 0x98, CapabilityId::MSI_X.0);
        fake.poke(AT, 0x9a, (entries - 1) as u8);
        fake.poke(AT, 0x9b, ((entries - 1) >> 8) as u8);
        fake.poke_u32(AT, 0x9c, place);
        fake
    }

    #[test]
    fn an_entry_is_written_whole_and_opened() {
        let fake = fake(0x801, 3);
        let mut machine = FakeMachine::default();
        let function = functions(&fake).next().expect("one was added");
        let msix = MsiX::find(&function, &fake, &mut machine)
            .expect("well formed")
            .expect("present");
        assert_eq!(msix.entries(), 3);
        assert_eq!(msix.table.read(Entry::at(2).control), ENTRY_MASKED);
        msix.set(
            2,
            Message {
                address: 0x1_fee0_0000,
                data: 0x41,
            },
        );
        let words: [u32; 4] = [0, 4, 8, 12].map(|at| msix.table.read(Register::at(2 * 16 + at)));
        assert_eq!(words, [0xfee0_0000, 1, 0x41, 0]);
        assert_eq!(machine.mapped, [(0xfebd_0800, 48)]);
        msix.enable(&fake);
        assert_eq!(fake.peek(AT, 0x9b), 0x80);
        msix.disable(&fake);
        assert_eq!(fake.peek(AT, 0x9b), 0x00);
        msix.mask(2);
        assert_eq!(msix.table.read(Entry::at(2).control), ENTRY_MASKED);
    }

    #[test]
    fn a_table_that_ends_outside_its_bar_is_refused() {
        let fake = fake(0xff1, 2);
        let function = functions(&fake).next().expect("one was added");
        let found = MsiX::find(&function, &fake, &mut FakeMachine::default());
        assert_eq!(found.err(), Some(Error::OutsideBar { bar: 1 }));
    }

    #[test]
    fn a_table_in_a_bar_that_does_not_exist_is_refused() {
        let fake = fake(0x007, 2);
        let function = functions(&fake).next().expect("one was added");
        let found = MsiX::find(&function, &fake, &mut FakeMachine::default());
        assert_eq!(found.err(), Some(Error::NotMemory { bar: 7 }));
    }
}
