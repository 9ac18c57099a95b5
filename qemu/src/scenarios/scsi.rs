//! A node whose disks are units of a SCSI adapter.

use super::disks::{self, LONG, flow};
use super::world::{self, CLIENT, blame, must, until};
use crate::client::{AtaRequest, Client, ata};
use crate::pattern::SECTOR_BYTES;
use crate::{Context, Disk, Failure, Recipe, Report};

const MIB: u64 = 1 << 20;
const SECTORS: usize = MIB as usize / SECTOR_BYTES;

/// virtio-scsi, the usual adapter of Proxmox and of clouds.
pub(super) fn virtio_scsi(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    // A CD-ROM on the same adapter is none of ours, and a disk whose sectors are
    // too long for AoE costs a sentence.
    let coarse = context.disk("coarse", 4 * MIB)?;
    let beside = |recipe: Recipe| {
        recipe
            .controller("virtio-scsi-pci")
            .disk(
                Disk::file(&coarse)
                    .model("scsi-hd")
                    .serial("coarse")
                    .property("logical_block_size=4096,physical_block_size=4096"),
            )
            .arguments(&["-device", "scsi-cd"])
    };
    let sentence = "has blocks of 4096 bytes";
    disks::keeps_what_is_written(context, &mut report, "scsi-hd", beside, sentence)?;
    neighbours(context)?;
    Ok(report)
}

/// Three units of one target. One has a bad sector; one grows, and is then taken
/// away while it is used; one stays as it is all the time.
fn neighbours(context: &Context) -> Result<(), Failure> {
    let switch = context.switch("neighbours")?;
    let mut client = Client::new(&switch, CLIENT);
    let unit = |name: &str, number: u8| -> Result<Disk, Failure> {
        let place = format!("scsi-id=1,lun={number}");
        let disk = Disk::file(&context.disk(name, MIB)?);
        Ok(disk.model("scsi-hd").serial(name).property(&place))
    };
    let mut node = disks::with_a_bad_sector(context, &switch, "scsi-hd")?
        .controller("virtio-scsi-pci")
        .disk(unit("changes", 1)?)
        .disk(unit("stays", 2)?)
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

    node.qmp().resize(1, 2 * MIB)?;
    let within = context.seconds(10);
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
    let console = node.wait_for("target 1 unit 1 is gone", within)?;
    must(!console.contains("panicked"), &node, || {
        "the node did not bear it".to_owned()
    })
}
