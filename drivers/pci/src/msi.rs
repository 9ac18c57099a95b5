//! MSI: one interrupt, its message in configuration space.
//!
//! Older than MSI-X and without a table; AHCI controllers and early network
//! cards have nothing else. A function may be given several messages; we give
//! it one, and it merges what it has to say.

use crate::Message;
use crate::capability::CapabilityId;
use crate::config::{Address, ConfigSpace};
use crate::function::Function;

/// Message control (in the upper half of the first word): on.
const CONTROL_ENABLE: u32 = 1 << 16;
/// Message control: how many messages, as a power of two.
const CONTROL_MESSAGES: u32 = 0b111 << 20;
/// Message control: the address has 64 bits.
const CONTROL_WIDE: u32 = 1 << 23;
/// Message control: each message can be masked.
const CONTROL_MASKS: u32 = 1 << 24;

/// A function's one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msi {
    address: Address,
    offset: u16,
    control: u32,
}

impl Msi {
    /// The function's message, off. `None` if it has no such capability.
    pub fn find(function: &Function, config: &impl ConfigSpace) -> Option<Self> {
        let capability = function
            .capabilities(config)
            .find(|capability| capability.id == CapabilityId::MSI)?;
        let address = function.address;
        let control = capability.read(config, address, 0) & !(CONTROL_ENABLE | CONTROL_MESSAGES);
        // A proper capability ends inside of the 256 bytes they live in.
        let bytes = match (control & CONTROL_WIDE, control & CONTROL_MASKS) {
            (0, 0) => 12,
            (_, 0) => 16,
            (0, _) => 20,
            _ => 24,
        };
        let msi = Self {
            address,
            offset: capability.offset,
            control,
        };
        (msi.offset + bytes <= 0x100).then(|| {
            msi.disable(config);
            msi
        })
    }

    /// Makes the function interrupt by this message. False if it can not reach
    /// the message's address.
    #[must_use]
    pub fn enable(&self, config: &impl ConfigSpace, message: Message) -> bool {
        let high = (message.address >> 32) as u32;
        let wide = self.control & CONTROL_WIDE != 0;
        if high != 0 && !wide {
            return false;
        }
        self.write(config, 4, message.address as u32);
        let data = if wide {
            self.write(config, 8, high);
            12
        } else {
            8
        };
        self.write(config, data, message.data & 0xffff);
        if self.control & CONTROL_MASKS != 0 {
            self.write(config, data + 4, 0);
        }
        self.write(config, 0, self.control | CONTROL_ENABLE);
        true
    }

    /// Stops the function's message.
    pub fn disable(&self, config: &impl ConfigSpace) {
        self.write(config, 0, self.control);
    }

    fn write(&self, config: &impl ConfigSpace, at: u16, value: u32) {
        config.write(self.address, self.offset + at, value);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::functions;
    use std::cell::RefCell;
    use std::vec::Vec;

    const AT: Address = Address {
        bus: 0,
        device: 31,
        function: 2,
    };
    const MESSAGE: Message = Message {
        address: 0xfee0_0000,
        data: 0x41,
    };

    /// One function with one capability at 0x80; remembers what is written.
    struct Space {
        control: u16,
        offset: u8,
        written: RefCell<Vec<(u16, u32)>>,
    }

    impl Space {
        fn new(control: u16, offset: u8) -> Self {
            Self {
                control,
                offset,
                written: RefCell::default(),
            }
        }
    }

    impl ConfigSpace for Space {
        fn read(&self, at: Address, register: u16) -> u32 {
            match register {
                _ if at != AT && at != (Address { function: 0, ..AT }) => u32::MAX,
                0x00 => 0x2922_8086,
                0x04 => 1 << 20,
                0x0c => 0x0080_0000,
                0x34 => self.offset.into(),
                _ if register == u16::from(self.offset) => u32::from(self.control) << 16 | 0x05,
                _ => 0,
            }
        }

        fn write(&self, _: Address, register: u16, value: u32) {
            self.written.borrow_mut().push((register, value));
        }
    }

    fn found(space: &Space) -> Option<Msi> {
        let function = functions(space).find(|function| function.address == AT);
        let msi = Msi::find(&function.expect("it answers"), space);
        space.written.borrow_mut().clear();
        msi
    }

    #[test]
    fn a_wide_message_is_written_before_it_is_switched_on() {
        let space = Space::new(0x0181, 0x80);
        let msi = found(&space).expect("it has the capability");
        assert!(msi.enable(&space, MESSAGE));
        assert_eq!(
            *space.written.borrow(),
            [
                (0x84, 0xfee0_0000),
                (0x88, 0),
                (0x8c, 0x41),
                (0x90, 0),
                (0x80, 0x0181_0005),
            ]
        );
    }

    #[test]
    fn a_narrow_message_has_its_data_where_a_wide_one_has_its_upper_half() {
        let space = Space::new(0x0000, 0x80);
        let msi = found(&space).expect("it has the capability");
        assert!(msi.enable(&space, MESSAGE));
        assert_eq!(
            *space.written.borrow(),
            [(0x84, 0xfee0_0000), (0x88, 0x41), (0x80, 0x0001_0005)]
        );
    }

    #[test]
    fn a_narrow_message_to_an_address_above_4_gib_is_refused() {
        let space = Space::new(0x0000, 0x80);
        let msi = found(&space).expect("it has the capability");
        let far = Message {
            address: 1 << 32,
            data: 0,
        };
        assert!(!msi.enable(&space, far));
        assert!(space.written.borrow().is_empty());
    }

    #[test]
    fn a_capability_that_ends_outside_is_none() {
        assert!(found(&Space::new(0x0080, 0xf0)).is_some());
        assert!(found(&Space::new(0x0080, 0xf4)).is_none());
        assert!(found(&Space::new(0x0180, 0xec)).is_none());
    }
}
