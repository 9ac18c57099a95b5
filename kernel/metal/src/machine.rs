//! What the machine lends its drivers: memory, mappings, messages, addresses.

use crate::arch::{self, Port};
use crate::clock::Clock;
use crate::memory::Memory;
use io::{Clock as _, Instant};
use metal::acpi::Tables;
use pci::{Address, Bar, BusWindow, ConfigSpace, DeviceMemory, MappedConfig, Message, Resources};

/// Interrupt controllers and firmware are from here on, on every PC.
const DEVICES_END: u64 = 0xfec0_0000;
/// Devices below this belong to nobody we know.
const DEVICES_START: u64 = 0x8000_0000;

/// Configuration space by its two ports. 256 bytes of each function, which is
/// where everything is that we use.
#[derive(Clone, Copy, Debug)]
pub struct PortConfig(());

impl PortConfig {
    const ADDRESS: Port = Port(0xcf8);
    const DATA: Port = Port(0xcfc);
    const ENABLE: u32 = 1 << 31;

    /// The ports, if there is a PCI bus behind them: the address port then keeps
    /// what is written.
    pub fn find() -> Option<Self> {
        Self::ADDRESS.write_u32(Self::ENABLE);
        (Self::ADDRESS.read_u32() == Self::ENABLE).then_some(Self(()))
    }

    fn select(at: Address, register: u16) -> bool {
        if register >= 0x100 {
            return false;
        }
        Self::ADDRESS.write_u32(
            Self::ENABLE
                | u32::from(at.bus) << 16
                | u32::from(at.device & 31) << 11
                | u32::from(at.function & 7) << 8
                | u32::from(register & !3),
        );
        true
    }
}

impl ConfigSpace for PortConfig {
    fn read(&self, at: Address, register: u16) -> u32 {
        if Self::select(at, register) {
            Self::DATA.read_u32()
        } else {
            u32::MAX
        }
    }

    fn write(&self, at: Address, register: u16, value: u32) {
        if Self::select(at, register) {
            Self::DATA.write_u32(value);
        }
    }
}

/// Configuration space as this machine has it. In memory where the firmware says so
/// and the ports do not contradict: what stands there is the same, and a guest leaves
/// its hypervisor alone half as often. Else, and for buses that are not there, by ports.
pub struct PciConfig {
    ports: Option<PortConfig>,
    mapped: Option<MappedConfig>,
}

impl PciConfig {
    /// Finds it with the firmware's tables. `None` if there is no PCI.
    #[cold]
    pub fn find(tables: Option<&Tables<'_, Memory>>) -> Option<Self> {
        let ports = PortConfig::find();
        let windows = tables.map(Tables::configuration_windows);
        // The first segment group is the only one that ports and bridges lead to.
        let mapped = windows
            .into_iter()
            .flatten()
            .find(|window| window.segment == 0 && window.first_bus == 0)
            .and_then(|window| arch::map_device(window.base, MappedConfig::bytes(window.last_bus)))
            .map(MappedConfig::new)
            .filter(|mapped| mapped.agrees(ports.as_ref()));
        (ports.is_some() || mapped.is_some()).then_some(Self { ports, mapped })
    }

    /// Whether it is in memory.
    pub fn is_mapped(&self) -> bool {
        self.mapped.is_some()
    }

    fn mapped(&self, at: Address) -> Option<&MappedConfig> {
        self.mapped.as_ref().filter(|mapped| mapped.has(at.bus))
    }
}

impl ConfigSpace for PciConfig {
    fn read(&self, at: Address, register: u16) -> u32 {
        match (self.mapped(at), self.ports) {
            (Some(mapped), _) => mapped.read(at, register),
            (None, Some(ports)) => ports.read(at, register),
            (None, None) => u32::MAX,
        }
    }

    fn write(&self, at: Address, register: u16, value: u32) {
        match (self.mapped(at), self.ports) {
            (Some(mapped), _) => mapped.write(at, register, value),
            (None, Some(ports)) => ports.write(at, register, value),
            (None, None) => {}
        }
    }
}

/// The machine while drivers start.
pub struct Machine<'a> {
    /// Its configuration space, if it has PCI.
    pub config: Option<&'a PciConfig>,
    /// Memory that is left.
    pub memory: Memory,
    pub clock: Clock,
    frames: usize,
    /// Where memory below 4 GiB ends.
    memory_end: u64,
    window: Option<BusWindow>,
}

impl<'a> Machine<'a> {
    /// A machine with `frames` frames and with memory up to `memory_end`.
    pub fn new(
        config: Option<&'a PciConfig>,
        memory: Memory,
        clock: Clock,
        frames: usize,
        memory_end: u64,
    ) -> Self {
        Self {
            config,
            memory,
            clock,
            frames,
            memory_end,
            window: None,
        }
    }
}

impl Resources for Machine<'_> {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn frames(&self) -> usize {
        self.frames
    }

    fn dma(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]> {
        self.memory.take_zeroed(bytes, align)
    }

    fn map(&mut self, bus_address: u64, bytes: usize) -> Option<DeviceMemory> {
        arch::map_device(bus_address, bytes)
    }

    fn message(&mut self) -> Option<Message> {
        Some(arch::message())
    }

    fn bus_range(&mut self, bytes: u64) -> Option<u64> {
        let window = self.window.get_or_insert_with(|| {
            BusWindow::new(first_free(self.config, self.memory_end), DEVICES_END)
        });
        window.take(bytes)
    }
}

/// The first bus address behind memory and behind every device below 4 GiB that
/// the firmware placed.
fn first_free(config: Option<&PciConfig>, memory_end: u64) -> u64 {
    let Some(config) = config else {
        return DEVICES_END;
    };
    pci::functions(config)
        .flat_map(|function| (0..6).filter_map(move |index| Bar::of(&function, config, index).ok()))
        .filter(|bar| bar.address < DEVICES_END)
        .map(|bar| bar.address + bar.bytes)
        .fold(memory_end.max(DEVICES_START), u64::max)
}
