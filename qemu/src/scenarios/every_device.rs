//! One machine with everything in it that QEMU plays and we drive.
//!
//! What a driver does to its neighbours shows only beside them: memory that one
//! set aside too much of, an interrupt that two share, a port that answers for
//! another. So each card serves every disk here, and every disk takes a part of
//! its content from each card.

use super::disks::flow;
use super::world::{self, CLIENT, NODE, blame, must};
use crate::client::{Client, Export};
use crate::pattern::{self, SECTOR_BYTES};
use crate::{
    Board, Context, Disk, Emulator, Failure, Mac, Machine, Nic, OrFail, Recipe, Report, Switch,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Sectors of a disk that come from one card.
const PART: usize = 64;
/// Of a disk.
const DISK_BYTES: u64 = 1 << 20;

/// Word 106 of IDENTIFY: a physical sector is 2^3 logical ones.
const EIGHT_SECTORS: u16 = 0x6003;

/// A disk that QEMU plays: its serial number here, QEMU's name of it, and what
/// it hangs on.
struct Model {
    serial: &'static str,
    device: &'static str,
    /// A controller of its own, named as the bus says.
    controller: Option<&'static str>,
    bus: Option<&'static str>,
}

impl Model {
    /// A disk that is its own controller.
    const fn alone(serial: &'static str, device: &'static str) -> Self {
        Self {
            serial,
            device,
            controller: None,
            bus: None,
        }
    }

    const fn behind(self, controller: &'static str, bus: &'static str) -> Self {
        Self {
            controller: Some(controller),
            bus: Some(bus),
            ..self
        }
    }
}

/// Every kind of disk on PCI, and one of them behind a bridge.
const ON_PCI: &[Model] = &[
    Model::alone("virtio-blk", "virtio-blk-pci"),
    Model::alone("virtio-scsi", "scsi-hd").behind("virtio-scsi-pci,id=virtio", "virtio.0"),
    Model::alone("ahci", "ide-hd").behind("ich9-ahci,id=sata", "sata.0"),
    Model::alone("nvme", "nvme"),
    Model::alone("pvscsi", "scsi-hd").behind("pvscsi,id=vmware", "vmware.0"),
    Model::alone("bridged", "nvme").behind("pcie-root-port,id=bridge", "bridge"),
];

/// Every card on PCI. The node serves eight at most.
const CARDS: &[&str] = &[
    "virtio-net-pci",
    "e1000",
    "e1000-82544gc",
    "e1000-82545em",
    "e1000e",
    "igb",
    "rtl8139",
    "vmxnet3",
];

/// Those that interrupt by messages, which a second processor can take.
const MESSAGING: &[&str] = &["virtio-net-pci", "e1000e", "igb", "vmxnet3"];

/// The same without PCI.
const MAPPED: &[Model] = &[
    Model::alone("virtio-blk", "virtio-blk-device"),
    Model::alone("virtio-scsi", "scsi-hd").behind("virtio-scsi-device,id=virtio", "virtio.0"),
];

/// What the drivers find on PCI in this machine, by QEMU's names: each card, and of a
/// disk what it hangs on, if that is not a bridge.
pub fn on_pci() -> impl Iterator<Item = &'static str> {
    let disks = ON_PCI.iter().map(|model| match model.controller {
        Some(controller) if !controller.starts_with("pcie-root-port") => controller
            .split(',')
            .next()
            .expect("a name comes before its properties"),
        _ => model.device,
    });
    CARDS.iter().copied().chain(disks)
}

pub(super) fn every_device(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    // The table of this board is right, so bridges and all behind them are found there.
    let by_table = "configuration space is reached by memory";
    let plain = |recipe: Recipe| recipe;
    serves_all(context, &mut report, "pci", plain, by_table, ON_PCI, CARDS)?;
    let two = |recipe: Recipe| recipe.cpus(2).append("ublade.cpus=2");
    let said = world::TWO;
    serves_all(context, &mut report, "two", two, said, ON_PCI, MESSAGING)?;
    named(context, &mut report)?;
    let mapped = |recipe: Recipe| recipe.board(Board::Microvm);
    let (card, said) = (&["virtio-net-device"], "virtio-blk");
    serves_all(context, &mut report, "mmio", mapped, said, MAPPED, card)?;
    Ok(report)
}

/// Slots that are pinned to world wide names, as disks of each kind tell them.
fn named(context: &Context, report: &mut Report) -> Result<(), Failure> {
    const NAMED: [(&str, &str, &str, &str, &str); 3] = [
        (
            "scsi",
            "virtio-scsi-pci,id=bus0",
            "scsi-hd",
            "wwn=0x5000c500a1b2c301,serial=scsi",
            "0x5000C500A1B2C301",
        ),
        (
            "ahci",
            "ich9-ahci,id=bus1",
            "ide-hd",
            "wwn=0x5000c500a1b2c302,serial=ahci",
            "naa.5000c500a1b2c302",
        ),
        (
            "nvme",
            "nvme,id=bus2,serial=nvme",
            "nvme-ns",
            "eui64=0x0025385b00000003",
            "eui.0025385b00000003",
        ),
    ];
    let switch = context.switch("named")?;
    let mut recipe = world::node(context, "named").nic(Nic::on(&switch, NODE[0]));
    for (index, (serial, controller, device, name, wwn)) in NAMED.into_iter().enumerate() {
        let file = context.disk(serial, DISK_BYTES)?;
        let bus = if device == "nvme-ns" { "" } else { ".0" };
        let disk = Disk::file(&file)
            .model(device)
            .property(&format!("bus=bus{index}{bus},{name}"));
        // The other way round than they come.
        let slot = 9 - index;
        recipe = recipe
            .controller(controller)
            .disk(disk)
            .append(&format!("ublade.slot.{slot}=wwn:{wwn}"));
    }
    let node = recipe.start(context.folder())?;
    let mut client = Client::new(&switch, CLIENT);
    let exports = world::exports(context, &node, &mut client, NAMED.len())?;
    for (export, (serial, ..)) in exports.iter().zip(NAMED.iter().rev()) {
        let identity = client
            .identify(export, context.seconds(20))
            .map_err(blame(&node))?;
        must(identity.serial() == *serial, &node, || {
            format!(
                "{} is {} and not {serial}",
                export.address,
                identity.serial()
            )
        })?;
    }
    let slots: Vec<u8> = exports.iter().map(|export| export.address.slot).collect();
    must(slots == [7, 8, 9], &node, || {
        format!("the slots are {slots:?}")
    })?;
    report.note("slots 7, 8, 9 by world wide name");
    node.quit()
}

/// A machine made by `with`, which says `said`, with all `models` and those of `cards` that
/// this QEMU has.
fn serves_all(
    context: &Context,
    report: &mut Report,
    name: &str,
    with: impl Fn(Recipe) -> Recipe,
    said: &str,
    models: &[Model],
    cards: &[&'static str],
) -> Result<(), Failure> {
    // The system's own QEMU for all but cards that only a newer one has.
    let emulator = match Emulator::with_device("igb", context.debs())? {
        Some(emulator) if cards.contains(&"igb") => emulator,
        _ => Emulator::default(),
    };
    let recipe = world::node(context, name)
        .append("ublade.log=debug")
        .emulator(emulator.clone());
    let mut recipe = with(recipe);
    let mut files: BTreeMap<&str, PathBuf> = BTreeMap::new();
    for model in models {
        let file = context.disk(&format!("{name}-{}", model.serial), DISK_BYTES)?;
        recipe = with_disk(recipe, model, Disk::file(&file));
        files.insert(model.serial, file);
    }
    let mut paths: Vec<(Switch, Mac)> = Vec::new();
    for &card in cards {
        if !emulator.has_device(card)? {
            report.note(format!("{card}: skipped, no QEMU here has such a card"));
            continue;
        }
        let switch = context.switch(&format!("{name}-{card}"))?;
        let mac = Mac::local(0x0500 + paths.len() as u16);
        recipe = recipe.nic(Nic::on(&switch, mac).model(card));
        paths.push((switch, mac));
    }
    let node = recipe.start(context.folder())?;
    node.wait_for(said, context.seconds(5))?;

    let mut clients: Vec<Client> = paths
        .iter()
        .map(|(switch, _)| Client::new(switch, CLIENT))
        .collect();
    let mut seen = Vec::new();
    for ((_, mac), client) in paths.iter().zip(&mut clients) {
        let exports = by_serial(context, &node, client, models.len())?;
        must(
            exports.keys().map(String::as_str).eq(files.keys().copied())
                && exports.values().all(|export| export.mac == *mac),
            &node,
            || format!("behind {mac} there are {exports:?}"),
        )?;
        seen.push(exports);
    }

    let long = flow(context, u8::MAX);
    for (index, client) in clients.iter_mut().enumerate() {
        for export in seen[index].values() {
            client
                .write_pattern(export, first(index), PART, seed(export, index), long)
                .map_err(blame(&node))?;
        }
    }
    // Each card reads what all of them wrote.
    for (index, client) in clients.iter_mut().enumerate() {
        for export in seen[index].values() {
            for part in 0..paths.len() {
                client
                    .check_pattern(export, first(part), PART, seed(export, part), long)
                    .map_err(blame(&node))?;
            }
        }
    }
    node.quit()?;
    for (serial, file) in &files {
        let bytes = fs::read(file).or_fail(format_args!("cannot read {}", file.display()))?;
        for part in 0..paths.len() {
            let from = first(part) as usize * SECTOR_BYTES;
            let sectors = &bytes[from..from + PART * SECTOR_BYTES];
            pattern::check(sectors, first(part), seed(&seen[0][*serial], part))
                .or_fail(file.display())?;
        }
    }
    report.note(format!(
        "{name}: {} disks, cards: {}",
        models.len(),
        paths.len()
    ));
    Ok(())
}

fn with_disk(mut recipe: Recipe, model: &Model, disk: Disk) -> Recipe {
    let mut disk = disk
        .model(model.device)
        .serial(model.serial)
        .property("physical_block_size=4096");
    if let Some(controller) = model.controller {
        recipe = recipe.controller(controller);
    }
    if let Some(bus) = model.bus {
        disk = disk.property(&format!("bus={bus}"));
    }
    recipe.disk(disk)
}

/// The `count` exports that `client` sees, by the serial numbers they tell.
fn by_serial(
    context: &Context,
    node: &Machine,
    client: &mut Client,
    count: usize,
) -> Result<BTreeMap<String, Export>, Failure> {
    let mut exports = BTreeMap::new();
    for export in world::exports(context, node, client, count)? {
        let identity = client
            .identify(&export, context.seconds(20))
            .map_err(blame(node))?;
        // QEMU's NVMe keeps it to itself.
        let is_told = !identity.model().contains("NVMe");
        must(
            !is_told || identity.words[106] == EIGHT_SECTORS,
            node,
            || {
                format!(
                    "{} has physical sectors of 4 KiB and says {:#06x} of them",
                    identity.serial(),
                    identity.words[106]
                )
            },
        )?;
        exports.insert(identity.serial().to_owned(), export);
    }
    Ok(exports)
}

/// The first sector of the part that card `index` writes.
const fn first(index: usize) -> u64 {
    (index * PART) as u64
}

/// What it is written with: another pattern for each disk.
fn seed(export: &Export, index: usize) -> u64 {
    u64::from(export.address.slot) << 8 | index as u64
}
