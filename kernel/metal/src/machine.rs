//! What the machine lends its drivers: memory, mappings, messages, addresses.

use crate::arch::{self, Port};
use crate::clock::Clock;
use crate::memory::Memory;
use io::{Clock as _, Instant};
use pci::{Address, Bar, BusWindow, ConfigSpace, DeviceMemory, Message, Resources};

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

/// The machine while drivers start.
pub struct Machine {
    /// Memory that is left.
    pub memory: Memory,
    pub clock: Clock,
    frames: usize,
    /// Where memory below 4 GiB ends.
    memory_end: u64,
    window: Option<BusWindow>,
}

impl Machine {
    /// A machine with `frames` frames and with memory up to `memory_end`.
    pub fn new(memory: Memory, clock: Clock, frames: usize, memory_end: u64) -> Self {
        Self {
            memory,
            clock,
            frames,
            memory_end,
            window: None,
        }
    }
}

impl Resources for Machine {
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
        let window = self
            .window
            .get_or_insert_with(|| BusWindow::new(first_free(self.memory_end), DEVICES_END));
        window.take(bytes)
    }
}

/// The first bus address behind memory and behind every device below 4 GiB that
/// the firmware placed.
fn first_free(memory_end: u64) -> u64 {
    let Some(config) = PortConfig::find() else {
        return DEVICES_END;
    };
    pci::functions(&config)
        .flat_map(|function| {
            (0..6).filter_map(move |index| Bar::of(&function, &PortConfig(()), index).ok())
        })
        .filter(|bar| bar.address < DEVICES_END)
        .map(|bar| bar.address + bar.bytes)
        .fold(memory_end.max(DEVICES_START), u64::max)
}
