//! Cards that are not virtio: what QEMU plays of what people own.

use super::disks::{LONG, SHORT, flow};
use super::linux;
use super::world::{self, CLIENT, NODE, Wire, blame, must};
use crate::client::Client;
use crate::pattern::SECTOR_BYTES;
use crate::{Board, Context, Disk, Emulator, Failure, Nic, Report};

const MIB: u64 = 1 << 20;
const SECTORS: usize = (4 * MIB) as usize / SECTOR_BYTES;

/// A card, and the disk that the machines have which come with it.
struct Pair {
    /// QEMU's name of the card, and the driver's on the console.
    card: &'static str,
    board: Board,
    disk: &'static str,
    /// What the disk hangs on, if the board has nothing for it.
    controller: Option<&'static str>,
    /// Sector bytes in the longest frame of an MTU of 9000.
    payload: usize,
}

/// Frames of Intel's cards are at most 8,192 bytes, which are fifteen sectors.
const INTEL: [Pair; 3] = [
    Pair {
        card: "e1000",
        board: Board::Pc,
        disk: "virtio-blk-pci",
        controller: None,
        payload: 15 * SECTOR_BYTES,
    },
    Pair {
        card: "e1000e",
        board: Board::Q35,
        disk: "ide-hd",
        controller: None,
        payload: 15 * SECTOR_BYTES,
    },
    Pair {
        card: "igb",
        board: Board::Q35,
        disk: "nvme",
        controller: None,
        payload: 15 * SECTOR_BYTES,
    },
];

/// What ESXi gives its guests. A frame fills a slot.
const VMWARE: Pair = Pair {
    card: "vmxnet3",
    board: Board::Pc,
    disk: "scsi-hd",
    controller: Some("pvscsi"),
    payload: 17 * SECTOR_BYTES,
};

/// Each of Intel's cards that this QEMU has serves, and lives through a link that
/// comes and goes.
pub(super) fn intel(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    for pair in &INTEL {
        serves(context, &mut report, pair)?;
    }
    Ok(report)
}

/// What old emulators and cheap boards have. Ordinary frames only.
const REALTEK: Pair = Pair {
    card: "rtl8139",
    board: Board::Pc,
    disk: "virtio-blk-pci",
    controller: None,
    payload: 2 * SECTOR_BYTES,
};

/// Realtek's card does the same.
pub(super) fn realtek(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    serves(context, &mut report, &REALTEK)?;
    Ok(report)
}

/// VMware's card does the same.
pub(super) fn vmware(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    serves(context, &mut report, &VMWARE)?;
    Ok(report)
}

fn serves(context: &Context, report: &mut Report, pair: &Pair) -> Result<(), Failure> {
    let card = pair.card;
    let Some(emulator) = Emulator::with_device(card, context.debs())? else {
        report.note(format!("{card}: skipped, no QEMU here has such a card"));
        return Ok(());
    };
    let switch = context.switch(card)?;
    let wire = Wire::watch(&switch);
    let disk = context.disk(card, 4 * MIB)?;
    let mut client = Client::new(&switch, CLIENT);
    let mut recipe = world::node(context, card)
        .board(pair.board)
        .emulator(emulator);
    if let Some(controller) = pair.controller {
        recipe = recipe.controller(controller);
    }
    let mut node = recipe
        .disk(Disk::file(&disk).model(pair.disk).serial("kept"))
        .nic(Nic::on(&switch, NODE[0]).model(card))
        .start(context.folder())?;
    let export = world::one_export(context, &node, &mut client)?;
    let export = world::offering(context, &node, &mut client, export, pair.payload)?;
    must(export.mac == NODE[0], &node, || {
        format!("it answers from {}", export.mac)
    })?;
    node.wait_for(&format!(" {card}"), context.seconds(20))?;

    let long = flow(context, u8::MAX);
    let written = client
        .write_pattern(&export, 0, SECTORS, LONG, long)
        .map_err(blame(&node))?;
    client
        .check_pattern(&export, 0, SECTORS, LONG, long)
        .map_err(blame(&node))?;
    must(
        wire.largest() == (pair.payload, pair.payload),
        &node,
        || format!("its frames carry {:?} bytes", wire.largest()),
    )?;
    // One frame at a time: each comes to a node that sleeps.
    let mut single = flow(context, 1);
    single.outstanding = 1;
    let slow = client
        .write_pattern(&export, 0, 256, SHORT, single)
        .map_err(blame(&node))?;

    node.qmp().set_link(0, false)?;
    node.wait_for("link is down", context.seconds(20))?;
    node.qmp().set_link(0, true)?;
    node.wait_for("link is up", context.seconds(20))?;
    client
        .check_pattern(&export, 0, 256, SHORT, long)
        .map_err(blame(&node))?;
    client
        .check_pattern(&export, 256, SECTORS - 256, LONG, long)
        .map_err(blame(&node))?;
    report.note(format!(
        "{card}: {SECTORS} sectors written in {} frames, {:.2} s, {} resends; one by one {:.0} µs each",
        written.requests,
        written.elapsed.as_secs_f64(),
        written.resends,
        slow.elapsed.as_secs_f64() * 1e6 / slow.requests as f64,
    ));
    Ok(())
}

pub(super) fn linux_q35(context: &mut Context) -> Result<Report, Failure> {
    on_sata(context, Board::Q35, "e1000e")
}

pub(super) fn linux_virtualbox(context: &mut Context) -> Result<Report, Failure> {
    on_sata(context, Board::Pc, "e1000")
}

pub(super) fn linux_vmware(context: &mut Context) -> Result<Report, Failure> {
    linux::file_system(context, 9000, VMWARE.payload, |recipe, disk, nic| {
        recipe
            .board(VMWARE.board)
            .controller("pvscsi")
            .disk(disk.model(VMWARE.disk))
            .nic(nic.model(VMWARE.card))
    })
}

/// What Proxmox gives a machine by itself.
pub(super) fn linux_proxmox(context: &mut Context) -> Result<Report, Failure> {
    linux::file_system(context, 9000, 17 * SECTOR_BYTES, |recipe, disk, nic| {
        recipe
            .controller("virtio-scsi-pci")
            .disk(disk.model("scsi-hd"))
            .nic(nic.mtu(9000))
    })
}

/// What a new machine has: NVMe and a card of the I350's family.
pub(super) fn linux_nvme(context: &mut Context) -> Result<Report, Failure> {
    let newer = Emulator::with_device("igb", context.debs())?;
    let payload = if newer.is_some() { 15 } else { 17 } * SECTOR_BYTES;
    let mut report = linux::file_system(context, 9000, payload, |recipe, disk, nic| {
        let recipe = recipe.disk(disk.model("nvme"));
        match &newer {
            Some(newer) => recipe.emulator(newer.clone()).nic(nic.model("igb")),
            None => recipe.nic(nic.mtu(9000)),
        }
    })?;
    if newer.is_none() {
        report.note("over virtio-net: no QEMU here has igb");
    }
    Ok(report)
}

/// Linux keeps a file system on a SATA drive that is reached through `card`.
fn on_sata(context: &Context, board: Board, card: &'static str) -> Result<Report, Failure> {
    linux::file_system(context, 9000, 15 * SECTOR_BYTES, |recipe, disk, nic| {
        // The old PC has no AHCI controller of its own, VirtualBox gives it one.
        let (recipe, bus) = match board {
            Board::Q35 => (recipe, "bus=ide.0"),
            _ => (recipe.controller("ahci,id=sata"), "bus=sata.0"),
        };
        recipe
            .board(board)
            .disk(disk.model("ide-hd").property(bus))
            .nic(nic.model(card))
    })
}
