//! A node whose disks are units of a SCSI adapter.

use super::disks::{self, LONG, flow};
use super::world::{self, CLIENT, blame, until};
use crate::client::{AtaRequest, Client, ata};
use crate::pattern::SECTOR_BYTES;
use crate::{Context, Disk, Failure, Recipe, Report};

const MIB: u64 = 1 << 20;
const SECTORS: usize = MIB as usize / SECTOR_BYTES;

/// virtio-scsi, the usual adapter of Proxmox and of clouds.
pub(super) fn virtio_scsi(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    keeps(context, &mut report, "virtio-scsi-pci")?;
    neighbours(context, "virtio-scsi-pci", [(1, 1), (1, 2)], Tells::Yes)?;
    Ok(report)
}

/// PVSCSI, the adapter of ESXi. QEMU's model of it has a ring for messages that no
/// driver but Linux' uses: nothing is told of a unit that grows.
pub(super) fn pvscsi(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    keeps(context, &mut report, "pvscsi")?;
    neighbours(context, "pvscsi", [(1, 0), (2, 0)], Tells::No)?;
    Ok(report)
}

/// Whether an adapter tells by itself that a unit has changed or is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tells {
    Yes,
    /// It shows when the unit is used next.
    No,
}

/// A disk on `adapter` beside a CD-ROM, which is none of ours, and a disk whose
/// sectors are too long for AoE, which costs a sentence.
fn keeps(context: &Context, report: &mut Report, adapter: &'static str) -> Result<(), Failure> {
    let coarse = context.disk("coarse", 4 * MIB)?;
    let beside = |recipe: Recipe| {
        recipe
            .controller(adapter)
            .disk(
                Disk::file(&coarse)
                    .model("scsi-hd")
                    .serial("coarse")
                    .property("logical_block_size=4096,physical_block_size=4096"),
            )
            .arguments(&["-device", "scsi-cd"])
    };
    let sentence = "has blocks of 4096 bytes";
    disks::keeps_what_is_written(context, report, "scsi-hd", beside, sentence)
}

/// Three units. One has a bad sector; one grows, and is then taken away while it is
/// used; one stays as it is all the time. The last two are at these `places`, target
/// and unit.
fn neighbours(
    context: &Context,
    adapter: &'static str,
    places: [(u8, u8); 2],
    tells: Tells,
) -> Result<(), Failure> {
    let switch = context.switch("neighbours")?;
    let mut client = Client::new(&switch, CLIENT);
    let unit = |name: &str, (target, unit): (u8, u8)| -> Result<Disk, Failure> {
        let place = format!("scsi-id={target},lun={unit}");
        let disk = Disk::file(&context.disk(name, MIB)?);
        Ok(disk.model("scsi-hd").serial(name).property(&place))
    };
    let mut node = disks::with_a_bad_sector(context, &switch, "scsi-hd")?
        .controller(adapter)
        .disk(unit("changes", places[0])?)
        .disk(unit("stays", places[1])?)
        .start(context.folder())?;
    let exports = world::exports(context, &node, &mut client, 3)?;
    let [bad, changes, stays] = [&exports[0], &exports[1], &exports[2]];
    let long = flow(context, u8::MAX);
    for export in [changes, stays] {
        client
            .write_pattern(export, 0, SECTORS, LONG, long)
            .map_err(blame(&node))?;
    }
    disks::only_the_bad_sector_fails(context, &node, &mut client, bad)?;

    let within = context.seconds(30);
    node.qmp().resize(1, 2 * MIB)?;
    if tells == Tells::No {
        // The unit has something to say to the next command.
        client
            .check_pattern(changes, 0, 1, LONG, long)
            .map_err(blame(&node))?;
    }
    until(
        within,
        &node,
        || "the unit grew, and its export did not".to_owned(),
        || {
            client
                .identify(changes, within)
                .is_ok_and(|identity| identity.sectors() == 2 * SECTORS as u64)
        },
    )?;
    client
        .write_pattern(changes, SECTORS as u64, SECTORS, LONG, long)
        .map_err(blame(&node))?;
    client
        .check_pattern(changes, 0, 2 * SECTORS, LONG, long)
        .map_err(blame(&node))?;

    node.qmp().device_del("disk1")?;
    let read = AtaRequest {
        flags: 0x40,
        count: 1,
        opcode: ata::READ_EXT,
        ..AtaRequest::default()
    };
    until(
        within,
        &node,
        || "the unit was taken away, and its export still reads".to_owned(),
        || {
            client
                .ata(changes, read, &[], SECTOR_BYTES, within)
                .is_ok_and(|reply| reply.ata_failed())
        },
    )?;
    client
        .check_pattern(stays, 0, SECTORS, LONG, long)
        .map_err(blame(&node))?;
    let (target, unit) = places[0];
    node.wait_for(&format!("target {target} unit {unit} is gone"), within)
        .map(drop)
}
