//! A configuration space and a machine for tests.
//!
//! Stricter than hardware in one thing: it remembers if a BAR was sized while
//! the device would have answered at the wrong address.

extern crate std;

use crate::config::{Address, ConfigSpace};
use crate::{DeviceMemory, Message, Resources};
use io::Instant;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::vec::Vec;

#[derive(Default)]
pub(crate) struct Fake {
    functions: RefCell<BTreeMap<Address, Space>>,
    sized_while_decoding: Cell<bool>,
}

struct Space {
    bytes: [u8; 256],
    /// Bits of each BAR that can be written.
    bar_masks: [u32; 6],
}

impl Fake {
    pub(crate) fn add(&self, at: Address, id: u32) {
        let mut bytes = [0; 256];
        bytes[..4].copy_from_slice(&id.to_le_bytes());
        let space = Space {
            bytes,
            bar_masks: [0; 6],
        };
        self.functions.borrow_mut().insert(at, space);
    }

    pub(crate) fn add_bridge(&self, at: Address, first: u8, last: u8) {
        self.add(at, 0x000c_1b36);
        self.poke(at, 0x0b, 6);
        self.poke(at, 0x0a, 4);
        self.poke(at, 0x0e, 1);
        self.poke(at, 0x19, first);
        self.poke(at, 0x1a, last);
    }

    pub(crate) fn add_bar(&self, at: Address, index: usize, bytes: u64, wide: bool) {
        let mask = !(bytes - 1);
        let mut functions = self.functions.borrow_mut();
        let space = functions.get_mut(&at).expect("added");
        space.bar_masks[index] = mask as u32;
        if wide {
            space.bytes[0x10 + index * 4] |= 4;
            if index < 5 {
                space.bar_masks[index + 1] = (mask >> 32) as u32;
            }
        }
    }

    /// Puts a capability in front of those that are there.
    pub(crate) fn add_capability(&self, at: Address, offset: u8, id: u8) {
        let next = self.peek(at, 0x34);
        self.poke(at, 0x06, self.peek(at, 0x06) | 0x10);
        self.poke(at, 0x34, offset);
        self.poke(at, offset, id);
        self.poke(at, offset + 1, next);
    }

    pub(crate) fn poke(&self, at: Address, register: u8, value: u8) {
        self.functions
            .borrow_mut()
            .get_mut(&at)
            .expect("added")
            .bytes[usize::from(register)] = value;
    }

    pub(crate) fn poke_u32(&self, at: Address, register: u8, value: u32) {
        for (register, byte) in (register..).zip(value.to_le_bytes()) {
            self.poke(at, register, byte);
        }
    }

    pub(crate) fn peek(&self, at: Address, register: u8) -> u8 {
        self.functions.borrow()[&at].bytes[usize::from(register)]
    }

    pub(crate) fn was_sized_while_decoding(&self) -> bool {
        self.sized_while_decoding.get()
    }
}

impl ConfigSpace for Fake {
    fn read(&self, at: Address, register: u16) -> u32 {
        assert!(register.is_multiple_of(4) && register < 256);
        let functions = self.functions.borrow();
        let Some(space) = functions.get(&at) else {
            return u32::MAX;
        };
        let bytes = &space.bytes[usize::from(register)..][..4];
        u32::from_le_bytes(bytes.try_into().expect("four"))
    }

    fn write(&self, at: Address, register: u16, value: u32) {
        assert!(register.is_multiple_of(4) && register < 256);
        let mut functions = self.functions.borrow_mut();
        let Some(space) = functions.get_mut(&at) else {
            return;
        };
        let decoding = space.bytes[4] & 2 != 0;
        let register = usize::from(register);
        let before = u32::from_le_bytes(space.bytes[register..][..4].try_into().expect("four"));
        let mask = match register {
            0x04 => 0x0000_0507,
            0x10..0x28 => {
                if decoding && value == u32::MAX {
                    self.sized_while_decoding.set(true);
                }
                space.bar_masks[(register - 0x10) / 4]
            }
            // Message control of the tests' MSI-X capability.
            0x98 => 0xc000_0000,
            _ => 0,
        };
        let after = before & !mask | value & mask;
        space.bytes[register..][..4].copy_from_slice(&after.to_le_bytes());
    }
}

#[derive(Default)]
pub(crate) struct FakeMachine {
    pub(crate) mapped: Vec<(u64, usize)>,
}

impl Resources for FakeMachine {
    fn now(&self) -> Instant {
        Instant(0)
    }

    fn frames(&self) -> usize {
        io::FRAMES_MAX
    }

    fn dma(&mut self, _bytes: usize, _align: usize) -> Option<&'static mut [u8]> {
        None
    }

    fn map(&mut self, bus_address: u64, bytes: usize) -> Option<DeviceMemory> {
        self.mapped.push((bus_address, bytes));
        Some(crate::bar::pretend(bytes))
    }

    fn message(&mut self) -> Option<Message> {
        None
    }

    fn bus_range(&mut self, bytes: u64) -> Option<u64> {
        Some(bytes * 3)
    }
}
