//! Configuration space in memory, as PCI Express has it (PCI Express 4.0, 7.2.2): 4 KiB
//! for each function, in the order of their addresses. One access is one access, where
//! the two ports take two and, in a guest, two exits.

use crate::bar::{DeviceMemory, Register};
use crate::config::{Address, ConfigSpace, ID};

/// Bytes of a bus: 32 devices with 8 functions each.
const BUS_BYTES: usize = 1 << 20;

/// Configuration space of the buses from 0 on.
#[derive(Debug)]
pub struct MappedConfig {
    memory: DeviceMemory,
}

impl MappedConfig {
    /// How much of memory is mapped for the buses up to `last`.
    pub const fn bytes(last: u8) -> usize {
        (last as usize + 1) * BUS_BYTES
    }

    /// The buses that lie in `memory`, of which the first is bus 0.
    pub fn new(memory: DeviceMemory) -> Self {
        Self { memory }
    }

    /// Whether `bus` lies in it.
    pub fn has(&self, bus: u8) -> bool {
        Self::bytes(bus) <= self.memory.len()
    }

    /// Whether it shows on bus 0 who `other` shows there, and anybody at all. A table
    /// of the firmware may be wrong about where it is.
    pub fn agrees(&self, other: Option<&impl ConfigSpace>) -> bool {
        let mut is_anybody = false;
        for device in 0..32 {
            let at = Address {
                bus: 0,
                device,
                function: 0,
            };
            let id = self.read(at, ID);
            is_anybody |= id != u32::MAX;
            if other.is_some_and(|other| other.read(at, ID) != id) {
                return false;
            }
        }
        is_anybody
    }

    fn register(&self, at: Address, register: u16) -> Option<Register<u32>> {
        let inside = self.has(at.bus) && register < 0x1000;
        let offset = usize::from(at.bus) << 20
            | usize::from(at.device & 31) << 15
            | usize::from(at.function & 7) << 12
            | usize::from(register & !3);
        inside.then(|| Register::at(offset))
    }
}

impl ConfigSpace for MappedConfig {
    fn read(&self, at: Address, register: u16) -> u32 {
        self.register(at, register)
            .map_or(u32::MAX, |register| self.memory.read(register))
    }

    fn write(&self, at: Address, register: u16, value: u32) {
        if let Some(register) = self.register(at, register) {
            self.memory.write(register, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bar::pretend;
    use crate::fake::Fake;

    const AT: Address = Address {
        bus: 1,
        device: 3,
        function: 2,
    };

    /// Two buses where nobody answers.
    fn empty() -> MappedConfig {
        let mapped = MappedConfig::new(pretend(MappedConfig::bytes(1)));
        for device in 0..32 {
            mapped.write(on_bus_0(device), ID, u32::MAX);
        }
        mapped
    }

    fn on_bus_0(device: u8) -> Address {
        Address {
            bus: 0,
            device,
            function: 0,
        }
    }

    #[test]
    fn each_function_has_its_4_kib_and_what_lies_outside_is_nobody() {
        let mapped = empty();
        mapped.write(AT, 0x10, 0x1234_5678);
        mapped.write(AT, 0xffc, 0x9abc_def0);
        let place = 1 << 20 | 3 << 15 | 2 << 12;
        assert_eq!(
            mapped.memory.read(Register::<u32>::at(place + 0x10)),
            0x1234_5678
        );
        assert_eq!(
            mapped.memory.read(Register::<u32>::at(place + 0xffc)),
            0x9abc_def0
        );
        assert_eq!(mapped.read(AT, 0x12), 0x1234_5678, "the word it lies in");
        assert!(mapped.has(1) && !mapped.has(2));
        let outside = Address { bus: 2, ..AT };
        mapped.write(outside, 0x10, 1);
        assert_eq!(mapped.read(outside, 0x10), u32::MAX);
        assert_eq!(mapped.read(AT, 0x1000), u32::MAX);
    }

    #[test]
    fn it_is_believed_when_it_shows_whom_the_ports_show() {
        let (mapped, ports) = (empty(), Fake::default());
        assert!(!mapped.agrees(Some(&ports)), "nobody is there at all");
        assert!(!mapped.agrees(None::<&Fake>));
        mapped.write(on_bus_0(0), ID, 0x29c0_8086);
        assert!(!mapped.agrees(Some(&ports)));
        assert!(mapped.agrees(None::<&Fake>), "nobody contradicts");
        ports.add(on_bus_0(0), 0x29c0_8086);
        assert!(mapped.agrees(Some(&ports)));
        ports.add(on_bus_0(31), 0x2922_8086);
        assert!(!mapped.agrees(Some(&ports)), "memory has one less");
    }
}
