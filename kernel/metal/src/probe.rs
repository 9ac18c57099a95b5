//! Finding cards and disks.
//!
//! Before any memory is given away, everything on PCI loses its right to DMA: a
//! network boot may have left a card receiving. Then each device that has a
//! driver is started; one that can not be used costs a sentence with its name,
//! never the start. SATA controllers begin before the others and are waited for in
//! their turn: what shows that a port is empty is time.

use crate::machine::{Machine, PciConfig};
use crate::{arch, clock};
use alloc::vec::Vec;
use core::fmt;
use engine::{AnyDisk, AnyNic, Time};
use io::Text;
use log::{debug, warn};
use metal::mmio::{self, Place};
use node::{Attached, Origin};
use pci::{DeviceMemory, Function, Register};
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

/// Units that memory is set aside for on one SCSI adapter, those included that may come
/// later. More share what is left.
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
        machine: &mut Machine<'_>,
    ) {
        let name = Text::<48>::new(adapter.name());
        for unit in scsi::attach(adapter, machine, UNITS_MAX, UNITS_USUAL) {
            match unit {
                Ok(unit) => self.add(disk(unit)),
                Err(skipped) => leave_out(name, &skipped),
            }
        }
    }
}

/// Names a unit that is not served.
#[cold]
#[inline(never)]
fn leave_out(adapter: Name, skipped: &scsi::Skipped) {
    if skipped.error.is_only_a_remark() {
        debug!("{adapter}: {skipped}");
    } else {
        warn!("{adapter}: {skipped}; skipped");
    }
}

/// A device's place and kind, for messages.
type Name = Text<48>;

/// Takes from every device on PCI the right to access memory.
#[cold]
pub fn stop_dma(config: Option<&PciConfig>) {
    if let Some(config) = config {
        for function in pci::functions(config) {
            function.stop_dma(config);
        }
    }
}

/// How many devices there may be to start: what their lists and rings will take
/// has to be known before the first one starts.
#[cold]
pub fn count(config: Option<&PciConfig>, command_line: &[u8]) -> usize {
    let on_pci = config.map_or(0, |config| {
        pci::functions(config)
            .filter_map(|function| Driver::of(&function))
            .map(|driver| driver.devices())
            .sum()
    });
    let mut mapped = 0;
    for_places(config.is_some(), command_line, &mut |_| mapped += 1);
    on_pci + mapped
}

/// Does it for each place where a virtio device without PCI is.
fn for_places(has_pci: bool, command_line: &[u8], run: &mut dyn FnMut(Place)) {
    let named = mmio::named(command_line);
    // Where no PCI is and nothing is named, this is QEMU's microvm or nothing.
    let is_known = !has_pci && mmio::named(command_line).next().is_none();
    let window = is_known.then(|| mmio::window(arch::second_controller()));
    named
        .chain(window.into_iter().flatten().filter(is_taken))
        .for_each(run);
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
pub fn devices(machine: &mut Machine<'_>, command_line: &[u8]) -> Found {
    let mut found = Found::default();
    if let Some(config) = machine.config {
        let place = if config.is_mapped() {
            "memory"
        } else {
            "ports"
        };
        debug!("PCI's configuration space is reached by {place}");
        let sata: Vec<_> = pci::functions(config)
            .filter(ahci::is_ahci)
            .map(|function| ahci::begin(&function, config, machine, &CLOCK))
            .collect();
        let mut sata = sata.into_iter();
        for function in pci::functions(config) {
            on_pci(&mut found, &function, config, machine, &mut sata);
        }
    }
    for_places(machine.config.is_some(), command_line, &mut |place| {
        if let Err(error) = at_place(&mut found, place, machine) {
            warn!("{:#x} virtio: {error}; skipped", place.address);
        }
    });
    found
}

/// The clock of the SATA disks.
const CLOCK: Time = Time(clock::now);

/// A SATA controller that has begun.
type Sata = Result<ahci::Start<DeviceMemory>, ahci::Error>;

/// Who drives a function.
enum Driver {
    Ahci,
    Nvme,
    Pvscsi,
    E1000(e1000::Chip),
    Realtek(realtek::Kind),
    Vmxnet3,
    /// With its name.
    Virtio(DeviceId, &'static str),
}

impl Driver {
    #[inline(never)]
    fn of(function: &Function) -> Option<Self> {
        if ahci::is_ahci(function) {
            return Some(Self::Ahci);
        }
        if nvme::is_nvme(function) {
            return Some(Self::Nvme);
        }
        if pvscsi::is_pvscsi(function) {
            return Some(Self::Pvscsi);
        }
        if let Some(chip) = e1000::Chip::of(function) {
            return Some(Self::E1000(chip));
        }
        if let Some(kind) = realtek::Kind::of(function) {
            return Some(Self::Realtek(kind));
        }
        if vmxnet3::is_vmxnet3(function) {
            return Some(Self::Vmxnet3);
        }
        let device = PciTransport::recognize(function)?;
        Some(Self::Virtio(device, kind_of(device)?))
    }

    /// How many devices there may be behind one function.
    fn devices(&self) -> usize {
        match *self {
            Self::Ahci => DRIVES_USUAL,
            Self::Nvme => NAMESPACES_MAX,
            Self::Pvscsi | Self::Virtio(DeviceId::SCSI, _) => UNITS_USUAL,
            Self::E1000(_) | Self::Realtek(_) | Self::Vmxnet3 | Self::Virtio(..) => 1,
        }
    }
}

/// Starts the device behind a function. The next of `sata` is its controller if it is one.
#[cold]
fn on_pci(
    found: &mut Found,
    function: &Function,
    config: &PciConfig,
    machine: &mut Machine<'_>,
    sata: &mut dyn Iterator<Item = Sata>,
) {
    let Some(driver) = Driver::of(function) else {
        if matches!(function.class, 1 | 2) {
            debug!(
                "{} {:04x}:{:04x}: no driver for it; skipped",
                function.address, function.vendor, function.device
            );
        }
        return;
    };
    match driver {
        Driver::Ahci => {
            let results = match sata.next() {
                Some(Ok(start)) => start.finish(&CLOCK),
                Some(Err(error)) => Vec::from([Err(error)]),
                None => Vec::new(),
            };
            for result in results {
                match result {
                    Ok(disk) => found.add(AnyDisk::Ahci(disk)),
                    Err(error) if error.is_only_a_remark() => {
                        debug!("{} ahci: {error}", function.address);
                    }
                    Err(error) => warn!("{} ahci: {error}; skipped", function.address),
                }
            }
        }
        Driver::Nvme => {
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
        }
        Driver::Pvscsi => match pvscsi::attach(function, config, machine) {
            Ok(adapter) => found.add_units(adapter, AnyDisk::Pvscsi, machine),
            Err(error) => skip(function, config, format_args!("pvscsi: {error}")),
        },
        Driver::E1000(chip) => match e1000::attach(function, chip, config, machine) {
            Ok(card) => found.nics.push(AnyNic::E1000(card)),
            Err(error) => skip(function, config, format_args!("{}: {error}", chip.kind)),
        },
        Driver::Realtek(kind) => match realtek::attach(function, kind, config, machine) {
            Ok(card) => found.nics.push(AnyNic::Realtek(card)),
            Err(error) => skip(function, config, format_args!("{kind}: {error}")),
        },
        Driver::Vmxnet3 => match vmxnet3::attach(function, config, machine) {
            Ok(card) => found.nics.push(AnyNic::Vmxnet3(card)),
            Err(error) => skip(function, config, format_args!("vmxnet3: {error}")),
        },
        Driver::Virtio(_, kind) => {
            let name = Name::format(format_args!("{} {kind}", function.address));
            let started = PciTransport::new(function, config, machine)
                .and_then(|transport| start(found, Bus::Pci(transport), machine, name.as_str()));
            if let Err(error) = started {
                skip(function, config, format_args!("{kind}: {error}"));
            }
        }
    }
}

/// A device that can not be used loses its right to memory again, and is named.
#[cold]
#[inline(never)]
fn skip(function: &Function, config: &PciConfig, why: fmt::Arguments<'_>) {
    function.stop_dma(config);
    warn!("{} {why}; skipped", function.address);
}

/// What a virtio device of ours is called.
fn kind_of(device: DeviceId) -> Option<&'static str> {
    match device {
        DeviceId::NET => Some("virtio-net"),
        DeviceId::BLOCK => Some("virtio-blk"),
        DeviceId::SCSI => Some("virtio-scsi"),
        _ => None,
    }
}

#[cold]
fn at_place(found: &mut Found, place: Place, machine: &mut Machine<'_>) -> Result<(), Error> {
    let bytes = place.bytes as usize;
    let mut transport = MmioTransport::new(place.address, bytes, machine)?;
    let Some(kind) = kind_of(transport.device()) else {
        return Ok(());
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
    machine: &mut Machine<'_>,
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
