//! Finding functions: all buses behind all bridges, in address order.
//!
//! A bus is looked at when a bridge that was found leads to it. Which buses are
//! still to be looked at is one bit each, so whatever the bridges say, no bus is
//! visited twice and the walk ends after 256. Buses that no bridge leads to
//! (several roots, which only ACPI tells) are not found.

use crate::config::{self, Address, Command, ConfigSpace, change_command, read_u8};

/// One function that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it sits.
    pub address: Address,
    /// Who made it.
    pub vendor: u16,
    /// What its maker calls it.
    pub device: u16,
    /// Its revision.
    pub revision: u8,
    /// Base class: 1 storage, 2 network, 6 bridge.
    pub class: u8,
    /// Subclass.
    pub subclass: u8,
    /// Programming interface.
    pub interface: u8,
    /// The subsystem, 0 for a bridge.
    pub subsystem: u16,
    /// The buses behind it, first and last, if it is a bridge to other buses.
    pub buses_below: Option<(u8, u8)>,
}

impl Function {
    /// A function that nobody made, for tests to start from.
    #[cfg(any(test, feature = "model"))]
    pub const NOBODY: Self = Self {
        address: Address {
            bus: 0,
            device: 0,
            function: 0,
        },
        vendor: 0,
        device: 0,
        revision: 0,
        class: 0,
        subclass: 0,
        interface: 0,
        subsystem: 0,
        buses_below: None,
    };

    fn at(config: &impl ConfigSpace, address: Address) -> Option<Self> {
        let id = config.read(address, config::ID);
        let vendor = id as u16;
        if matches!(vendor, 0 | 0xffff) {
            return None;
        }
        let [revision, interface, subclass, class] =
            config.read(address, config::CLASS).to_le_bytes();
        let header = read_u8(config, address, config::HEADER + 2) & 0x7f;
        let buses_below = (header == 1).then(|| {
            let [_, first, last, _] = config.read(address, config::BRIDGE_BUSES).to_le_bytes();
            (first, last)
        });
        let subsystem = match header {
            0 => (config.read(address, config::SUBSYSTEM) >> 16) as u16,
            _ => 0,
        };
        Some(Self {
            address,
            vendor,
            device: (id >> 16) as u16,
            revision,
            class,
            subclass,
            interface,
            subsystem,
            buses_below,
        })
    }

    /// Base address registers of this kind of header.
    pub(crate) fn bars(&self) -> u8 {
        if self.buses_below.is_some() { 2 } else { 6 }
    }

    /// Stops the function's DMA. A device that an earlier boot stage left
    /// running may write anywhere until then. Bridges are left alone: they start
    /// nothing themselves, and everything behind them goes through them.
    pub fn stop_dma(&self, config: &impl ConfigSpace) {
        if self.buses_below.is_none() && self.class != CLASS_BRIDGE {
            change_command(config, self.address, |command| {
                command - Command::BUS_MASTER
            });
        }
    }

    /// Lets the function answer memory accesses, and nothing else yet.
    pub fn decode_memory(&self, config: &impl ConfigSpace) {
        change_command(config, self.address, |command| command | Command::MEMORY);
    }

    /// Lets the function answer memory accesses, do DMA and send messages. Its
    /// interrupt line is silenced: we use messages.
    pub fn enable(&self, config: &impl ConfigSpace) {
        change_command(config, self.address, |command| {
            command | Command::MEMORY | Command::BUS_MASTER | Command::NO_LINE
        });
    }
}

const CLASS_BRIDGE: u8 = 6;

/// All functions, in address order.
pub fn functions<C: ConfigSpace>(config: &C) -> Functions<'_, C> {
    Functions {
        config,
        buses: Buses::with(0),
        bus: None,
        device: 0,
        function: 0,
    }
}

/// Lets the bridges above `address` pass its accesses on. A firmware does this
/// for what it found itself; what was left closed answers nobody.
pub fn open_bridges(config: &impl ConfigSpace, address: Address) {
    for bridge in functions(config) {
        let above = |(first, last)| first <= address.bus && address.bus <= last;
        if bridge.address.bus < address.bus && bridge.buses_below.is_some_and(above) {
            change_command(config, bridge.address, |command| {
                command | Command::MEMORY | Command::BUS_MASTER
            });
        }
    }
}

/// See [`functions`].
pub struct Functions<'a, C> {
    config: &'a C,
    buses: Buses,
    bus: Option<u8>,
    device: u8,
    function: u8,
}

impl<C: ConfigSpace> Iterator for Functions<'_, C> {
    type Item = Function;

    fn next(&mut self) -> Option<Function> {
        loop {
            let bus = match self.bus {
                Some(bus) => bus,
                None => {
                    let bus = self.buses.take_lowest()?;
                    self.bus = Some(bus);
                    (self.device, self.function) = (0, 0);
                    bus
                }
            };
            let address = Address {
                bus,
                device: self.device,
                function: self.function,
            };
            let found = Function::at(self.config, address);
            // Functions 1 to 7 exist only where function 0 says so; asking for
            // them anyway would find function 0 again on some devices.
            let more_functions = self.function > 0
                || found.is_some() && read_u8(self.config, address, config::HEADER + 2) & 0x80 != 0;
            if more_functions && self.function < 7 {
                self.function += 1;
            } else if self.device < 31 {
                self.device += 1;
                self.function = 0;
            } else {
                self.bus = None;
            }
            if let Some(found) = found {
                if let Some((first, _)) = found.buses_below {
                    self.buses.add(first);
                }
                return Some(found);
            }
        }
    }
}

/// Which buses are still to be visited, and which ever were.
struct Buses {
    waiting: [u64; 4],
    known: [u64; 4],
}

impl Buses {
    fn with(bus: u8) -> Self {
        let mut buses = Self {
            waiting: [0; 4],
            known: [0; 4],
        };
        buses.add(bus);
        buses
    }

    fn add(&mut self, bus: u8) {
        let (word, bit) = (usize::from(bus / 64), 1 << (bus % 64));
        if self.known[word] & bit == 0 {
            self.known[word] |= bit;
            self.waiting[word] |= bit;
        }
    }

    fn take_lowest(&mut self) -> Option<u8> {
        let word = self.waiting.iter().position(|&word| word != 0)?;
        let bit = self.waiting[word].trailing_zeros();
        self.waiting[word] &= self.waiting[word] - 1;
        Some(word as u8 * 64 + bit as u8)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::fake::Fake;
    use std::string::ToString;
    use std::vec::Vec;

    const fn at(bus: u8, device: u8, function: u8) -> Address {
        Address {
            bus,
            device,
            function,
        }
    }

    fn found(fake: &Fake) -> Vec<std::string::String> {
        functions(fake)
            .map(|function| function.address.to_string())
            .collect()
    }

    #[test]
    fn functions_behind_bridges_are_found_in_address_order() {
        let fake = Fake::default();
        fake.add(at(0, 0, 0), 0x8086_29c0);
        fake.add_bridge(at(0, 31, 0), 2, 2);
        fake.add_bridge(at(0, 1, 0), 5, 5);
        fake.add(at(5, 0, 0), 0x1041_1af4);
        fake.add(at(2, 31, 0), 0x1042_1af4);
        assert_eq!(
            found(&fake),
            ["00:00.0", "00:01.0", "00:1f.0", "02:1f.0", "05:00.0"]
        );
    }

    #[test]
    fn functions_one_to_seven_are_asked_only_where_function_zero_says_so() {
        let fake = Fake::default();
        fake.add(at(0, 2, 0), 0x1111_1af4);
        fake.add(at(0, 2, 7), 0x1111_1af4);
        assert_eq!(found(&fake), ["00:02.0"]);
        fake.poke(at(0, 2, 0), 0x0e, 0x80);
        assert_eq!(found(&fake), ["00:02.0", "00:02.7"]);
    }

    #[test]
    fn bridges_that_lead_in_a_circle_end_the_walk() {
        let fake = Fake::default();
        fake.add_bridge(at(0, 1, 0), 1, 1);
        fake.add_bridge(at(1, 1, 0), 0, 255);
        fake.add_bridge(at(1, 2, 0), 1, 1);
        assert_eq!(found(&fake), ["00:01.0", "01:01.0", "01:02.0"]);
    }

    #[test]
    fn an_empty_bus_has_no_functions() {
        assert!(found(&Fake::default()).is_empty());
    }

    #[test]
    fn stopping_dma_spares_bridges_and_opening_them_reaches_only_the_path() {
        let fake = Fake::default();
        fake.add_bridge(at(0, 1, 0), 1, 3);
        fake.add_bridge(at(0, 2, 0), 4, 4);
        fake.add(at(1, 0, 0), 0x1041_1af4);
        fake.poke(at(1, 0, 0), 0x04, 0x07);
        fake.poke(at(0, 2, 0), 0x04, 0x00);
        open_bridges(&fake, at(1, 0, 0));
        for function in functions(&fake) {
            function.stop_dma(&fake);
        }
        assert_eq!(fake.peek(at(1, 0, 0), 0x04), 0x03);
        assert_eq!(fake.peek(at(0, 1, 0), 0x04), 0x06);
        assert_eq!(fake.peek(at(0, 2, 0), 0x04), 0x00);
    }
}
