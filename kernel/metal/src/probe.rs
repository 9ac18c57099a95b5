//! Finding cards and disks.
//!
//! Before any memory is given away, everything on PCI loses its right to DMA: a
//! network boot may have left a card receiving. Then each device that has a
//! driver is started; one that can not be used costs a sentence with its name,
//! never the start.

use crate::machine::{Machine, PortConfig};
use crate::{arch, clock};
use alloc::vec::Vec;
use engine::{AnyDisk, AnyNic, Time};
use io::Text;
use log::{debug, warn};
use metal::mmio::{self, Place};
use node::{Attached, Origin};
use pci::{Function, Register};
use virtio::{Blk, Bus, DeviceId, Error, MmioTransport, Net, PciTransport, Scsi, Transport};

/// What was found, in order of address.
#[derive(Default)]
pub struct Found {
    /// Cards that run.
    pub nics: Vec<AnyNic>,
    /// Disks that run.
    pub disks: Vec<Attached<AnyDisk>>,
}

/// Most namespaces that are served of one NVMe controller. Nearly all have one,
/// and what each takes is set aside before it is known how many there are.
const NAMESPACES_MAX: usize = 4;

/// Drives that memory is set aside for on one SATA controller: the ports of the
/// usual one (ICH9). More drives share what is left.
const DRIVES_USUAL: usize = 6;

/// Units that memory is set aside for on one SCSI adapter. More share what is left.
const UNITS_USUAL: usize = 4;

/// Most units that are served of one SCSI adapter.
const UNITS_MAX: usize = 64;

impl Found {
    /// One more disk, that the machine's bus has.
    fn add(&mut self, disk: AnyDisk) {
        self.disks.push(Attached {
            disk,
            origin: Origin::Bus,
        });
    }

    /// The disks behind a SCSI adapter.
    fn add_units<A: scsi::Adapter>(
        &mut self,
        adapter: A,
        disk: fn(scsi::Disk<A>) -> AnyDisk,
        machine: &mut Machine,
    ) {
        let name = Text::<48>::new(adapter.name());
        for unit in scsi::attach(adapter, machine, UNITS_MAX) {
            match unit {
                Ok(unit) => self.add(disk(unit)),
                Err(skipped) if skipped.error.is_only_a_remark() => debug!("{name}: {skipped}"),
                Err(skipped) => warn!("{name}: {skipped}; skipped"),
            }
        }
    }
}

/// A device's place and kind, for messages.
type Name = Text<48>;

/// Takes from every device on PCI the right to access memory.
#[cold]
pub fn stop_dma() {
    if let Some(config) = PortConfig::find() {
        for function in pci::functions(&config) {
            function.stop_dma(&config);
        }
    }
}

/// How many devices there may be to start: what their lists and rings will take
/// has to be known before the first one starts.
#[cold]
pub fn count(command_line: &[u8]) -> usize {
    let on_pci = PortConfig::find().map_or(0, |config| {
        pci::functions(&config)
            .map(|function| {
                if ahci::is_ahci(&function) {
                    DRIVES_USUAL
                } else if nvme::is_nvme(&function) {
                    NAMESPACES_MAX
                } else if pvscsi::is_pvscsi(&function) {
                    UNITS_USUAL
                } else if e1000::Chip::of(&function).is_some()
                    || realtek::Kind::of(&function).is_some()
                    || vmxnet3::is_vmxnet3(&function)
                {
                    1
                } else {
                    match PciTransport::recognize(&function) {
                        Some(DeviceId::SCSI) => UNITS_USUAL,
                        other => usize::from(other.is_some()),
                    }
                }
            })
            .sum()
    });
    on_pci + places(command_line).count()
}

/// Where virtio devices without PCI are.
fn places(command_line: &[u8]) -> impl Iterator<Item = Place> {
    let named = mmio::named(command_line);
    // Where no PCI is and nothing is named, this is QEMU's microvm or nothing.
    let is_known = PortConfig::find().is_none() && mmio::named(command_line).next().is_none();
    let window = is_known.then(|| mmio::window(arch::second_controller()));
    named.chain(window.into_iter().flatten().filter(is_taken))
}

/// Whether a place of the window has a device: most of them have none.
fn is_taken(place: &Place) -> bool {
    /// virtio 1.2, 4.2.2.
    const MAGIC_VALUE: Register<u32> = Register::at(0);
    const KIND: Register<u32> = Register::at(8);
    const MAGIC: u32 = u32::from_le_bytes(*b"virt");
    let bytes = place.bytes as usize;
    arch::map_device(place.address, bytes)
        .is_some_and(|registers| registers.read(MAGIC_VALUE) == MAGIC && registers.read(KIND) != 0)
}

/// Starts every device that has a driver.
#[cold]
pub fn devices(machine: &mut Machine, command_line: &[u8]) -> Found {
    let mut found = Found::default();
    if let Some(config) = PortConfig::find() {
        for function in pci::functions(&config) {
            on_pci(&mut found, &function, &config, machine);
        }
    }
    for place in places(command_line) {
        if let Err(error) = at_place(&mut found, place, machine) {
            warn!("{:#x} virtio: {error}; skipped", place.address);
        }
    }
    found
}

#[cold]
fn on_pci(found: &mut Found, function: &Function, config: &PortConfig, machine: &mut Machine) {
    if ahci::is_ahci(function) {
        for result in ahci::attach(function, config, machine, &Time(clock::now)) {
            match result {
                Ok(disk) => found.add(AnyDisk::Ahci(disk)),
                Err(error) if error.is_only_a_remark() => {
                    debug!("{} ahci: {error}", function.address);
                }
                Err(error) => warn!("{} ahci: {error}; skipped", function.address),
            }
        }
        return;
    }
    if nvme::is_nvme(function) {
        let before = found.disks.len();
        for result in nvme::attach(function, config, machine, NAMESPACES_MAX) {
            match result {
                Ok(disk) => found.add(AnyDisk::Nvme(disk)),
                Err(error) => warn!("{} nvme: {error}; skipped", function.address),
            }
        }
        if found.disks.len() == before {
            function.stop_dma(config);
        }
        return;
    }
    if pvscsi::is_pvscsi(function) {
        match pvscsi::attach(function, config, machine) {
            Ok(adapter) => found.add_units(adapter, AnyDisk::Pvscsi, machine),
            Err(error) => {
                function.stop_dma(config);
                warn!("{} pvscsi: {error}; skipped", function.address);
            }
        }
        return;
    }
    if let Some(chip) = e1000::Chip::of(function) {
        match e1000::attach(function, chip, config, machine) {
            Ok(card) => found.nics.push(AnyNic::E1000(card)),
            Err(error) => {
                function.stop_dma(config);
                warn!("{} {}: {error}; skipped", function.address, chip.kind);
            }
        }
        return;
    }
    if let Some(kind) = realtek::Kind::of(function) {
        match realtek::attach(function, kind, config, machine) {
            Ok(card) => found.nics.push(AnyNic::Realtek(card)),
            Err(error) => {
                function.stop_dma(config);
                warn!("{} {kind}: {error}; skipped", function.address);
            }
        }
        return;
    }
    if vmxnet3::is_vmxnet3(function) {
        match vmxnet3::attach(function, config, machine) {
            Ok(card) => found.nics.push(AnyNic::Vmxnet3(card)),
            Err(error) => {
                function.stop_dma(config);
                warn!("{} vmxnet3: {error}; skipped", function.address);
            }
        }
        return;
    }
    let Some(id) = PciTransport::recognize(function) else {
        if matches!(function.class, 1 | 2) {
            debug!(
                "{} {:04x}:{:04x}: no driver for it; skipped",
                function.address, function.vendor, function.device
            );
        }
        return;
    };
    let name = match id {
        DeviceId::NET => Name::format(format_args!("{} virtio-net", function.address)),
        DeviceId::BLOCK => Name::format(format_args!("{} virtio-blk", function.address)),
        DeviceId::SCSI => Name::format(format_args!("{} virtio-scsi", function.address)),
        _ => return,
    };
    let started = PciTransport::new(function, config, machine)
        .and_then(|transport| start(found, Bus::Pci(transport), machine, name.as_str()));
    if let Err(error) = started {
        function.stop_dma(config);
        warn!("{name}: {error}; skipped");
    }
}

#[cold]
fn at_place(found: &mut Found, place: Place, machine: &mut Machine) -> Result<(), Error> {
    let bytes = place.bytes as usize;
    let mut transport = MmioTransport::new(place.address, bytes, machine)?;
    let kind = match transport.device() {
        DeviceId::NET => "virtio-net",
        DeviceId::BLOCK => "virtio-blk",
        DeviceId::SCSI => "virtio-scsi",
        _ => return Ok(()),
    };
    // Only a line with a device behind it is opened.
    transport.set_interrupts(arch::open_line(place.line));
    let name = Name::format(format_args!("{:#x} {kind}", place.address));
    start(found, Bus::Mmio(transport), machine, name.as_str())
}

/// Starts the driver of what is behind `transport`.
#[cold]
fn start(
    found: &mut Found,
    transport: Bus,
    machine: &mut Machine,
    name: &str,
) -> Result<(), Error> {
    match transport.device() {
        DeviceId::NET => found
            .nics
            .push(AnyNic::Virtio(Net::new(transport, machine, name)?)),
        DeviceId::SCSI => {
            let adapter = Scsi::new(transport, machine, name)?;
            found.add_units(adapter, AnyDisk::VirtioScsi, machine);
        }
        _ => found.add(AnyDisk::Virtio(Blk::new(transport, machine, name)?)),
    }
    Ok(())
}
