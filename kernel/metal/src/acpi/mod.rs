//! ACPI tables: what the firmware says of the machine, without its language.
//!
//! We want to know five things: where the PCI configuration space is mapped
//! (MCFG), how the power button, the reset and power off work (FADT), where a
//! serial console is (SPCR), where the processors are (MADT) and whether there is
//! a clock (HPET). All of it stands in tables of fixed shape. Programs in the
//! firmware's language are not run; the one value needed of them, the number that
//! means "off", is found by its name.
//!
//! A table is believed only if it is whole and its sum is right. What it says is
//! still an outside number: every walk has a budget, every field is bounds-checked,
//! and a table that lies about its length is no table.

mod fields;
mod power;
mod processors;
#[cfg(test)]
mod tests;

pub(crate) use fields::{is_sum_right, number};
pub use power::{Power, Reset, Space};
pub use processors::{Processors, processors};

/// Physical memory, lent by the machine.
pub trait Memory {
    /// The bytes at `address`; `None` where there is no memory to read.
    fn bytes(&self, address: u64, bytes: usize) -> Option<&[u8]>;
}

/// Where a PC's firmware without UEFI leaves the root pointer (ACPI 6.5, 5.2.5.1).
pub const ROOT_AREA: core::ops::Range<u64> = 0xe_0000..0x10_0000;
/// Where the segment of the extended BIOS data area stands, which is the other
/// place to look. In page 0, which is read before page 0 goes.
pub const EXTENDED_DATA_SEGMENT: u64 = 0x40e;

/// Tables that are looked at. Firmwares have ten to forty.
const TABLES_MAX: usize = 128;
/// Longest table that is read. The largest there are, of large servers, have some
/// hundred KiB.
const TABLE_BYTES_MAX: u32 = 4 << 20;
/// Bytes of the header that all tables share (ACPI 6.5, 5.2.6).
const HEADER_BYTES: usize = 36;

/// The tables of one machine.
pub struct Tables<'a, M> {
    memory: &'a M,
    list: &'a [u8],
    /// Bytes of an address in `list`: 4 in an RSDT, 8 in an XSDT.
    width: usize,
}

impl<'a, M: Memory> Tables<'a, M> {
    /// The tables that the root pointer at `root` leads to; `None` if it does not.
    pub fn at(memory: &'a M, root: u64) -> Option<Self> {
        let first = memory.bytes(root, 20)?;
        if !first.starts_with(b"RSD PTR ") || !is_sum_right(first) {
            return None;
        }
        let extended = (first[15] >= 2)
            .then(|| memory.bytes(root, 36))
            .flatten()
            .filter(|bytes| is_sum_right(bytes))
            .map(|bytes| number(bytes, 24, 8))
            .and_then(|address| Some((table(memory, address?, *b"XSDT")?, 8)));
        let plain = || {
            let address = number(first, 16, 4)?;
            Some((table(memory, address, *b"RSDT")?, 4))
        };
        let (list, width) = extended.or_else(plain)?;
        Some(Self {
            memory,
            list: &list[HEADER_BYTES..],
            width,
        })
    }

    /// Those at `root`, where the loader says that they are; else as [`Tables::find`].
    pub fn of(memory: &'a M, root: Option<u64>, segment: u16) -> Option<Self> {
        root.and_then(|root| Self::at(memory, root))
            .or_else(|| Self::find(memory, segment))
    }

    /// Searches the areas in which a BIOS leaves the root pointer; `segment` is
    /// what stands at [`EXTENDED_DATA_SEGMENT`].
    pub fn find(memory: &'a M, segment: u16) -> Option<Self> {
        // The first KiB of it, if it lies where such an area can lie.
        let extended = match u64::from(segment) << 4 {
            start @ 0x8_0000..0xa_0000 => start..start + 1024,
            _ => 0..0,
        };
        extended
            .chain(ROOT_AREA)
            .step_by(16)
            .find_map(|root| Self::at(memory, root))
    }

    /// The first table with this signature that is whole.
    pub fn table(&self, signature: [u8; 4]) -> Option<&'a [u8]> {
        self.list
            .chunks_exact(self.width)
            .take(TABLES_MAX)
            .filter_map(|entry| number(entry, 0, self.width))
            .find_map(|address| table(self.memory, address, signature))
    }

    /// Where the configuration space of PCI is mapped.
    pub fn configuration_windows(&self) -> impl Iterator<Item = ConfigurationWindow> + use<'a, M> {
        let entries = self.table(*b"MCFG").and_then(|table| table.get(44..));
        entries
            .unwrap_or_default()
            .chunks_exact(16)
            .take(SEGMENTS_MAX)
            .filter_map(ConfigurationWindow::read)
    }

    /// How the machine is reset and switched off.
    pub fn power(&self) -> Option<Power> {
        Power::read(self.memory, self.table(*b"FACP")?)
    }

    /// The port of the serial console that the firmware uses, if it is one of a
    /// PC (SPCR, interface types 0 and 1 at an I/O address).
    pub fn console_port(&self) -> Option<u16> {
        let table = self.table(*b"SPCR")?;
        let is_16550 = matches!(table.get(36)?, 0 | 1);
        let port = Space::read(table, 40)?.port()?;
        is_16550.then_some(port)
    }

    /// Where the registers of the high precision timer are.
    pub fn precision_timer(&self) -> Option<u64> {
        Space::read(self.table(*b"HPET")?, 40)?.address()
    }

    /// The processors that can be started.
    pub fn processors(&self) -> Option<Processors> {
        Some(processors(self.table(*b"APIC")?))
    }
}

/// PCI segment groups that are looked at; nearly all machines have one.
const SEGMENTS_MAX: usize = 64;

/// One window of memory-mapped configuration space (PCI firmware 3.3, 4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigurationWindow {
    /// Address of bus 0, whether the window has that bus or not.
    pub base: u64,
    /// Segment group.
    pub segment: u16,
    /// First bus in the window.
    pub first_bus: u8,
    /// Last bus in the window.
    pub last_bus: u8,
}

impl ConfigurationWindow {
    fn read(entry: &[u8]) -> Option<Self> {
        let window = Self {
            base: number(entry, 0, 8)?,
            segment: number(entry, 8, 2)? as u16,
            first_bus: *entry.get(10)?,
            last_bus: *entry.get(11)?,
        };
        let is_aligned = window.base != 0 && window.base.is_multiple_of(1 << 20);
        let fits = window.base.checked_add(256 << 20).is_some();
        (is_aligned && fits && window.first_bus <= window.last_bus).then_some(window)
    }
}

/// The table at `address`, header and all, if it is this one and whole.
fn table<M: Memory>(memory: &M, address: u64, signature: [u8; 4]) -> Option<&[u8]> {
    let header = memory.bytes(address, HEADER_BYTES)?;
    let bytes = u32::try_from(number(header, 4, 4)?).ok()?;
    if !header.starts_with(&signature) || !(HEADER_BYTES as u32..=TABLE_BYTES_MAX).contains(&bytes)
    {
        return None;
    }
    memory
        .bytes(address, bytes as usize)
        .filter(|table| is_sum_right(table))
}
