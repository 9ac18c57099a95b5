//! A node whose disks are namespaces of NVMe controllers.

use super::disks::{self, LONG, SHORT, flow};
use super::world::{self, CLIENT, blame, must, until};
use crate::client::{AtaRequest, Client, Export, ata};
use crate::pattern::SECTOR_BYTES;
use crate::{Context, Disk, Failure, Machine, Report};

const MIB: u64 = 1 << 20;
/// SMART: will the disk fail? The key, which is also the answer "no", and "yes".
const RETURN_STATUS: u8 = 0xda;
const WELL: u64 = 0xc2_4f00;
const FAILING: u64 = 0x2c_f400;

/// Disks on NVMe controllers, one that is well and several that are not plain.
pub(super) fn nvme(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    // A second controller, whose sectors are too long for AoE, costs a sentence.
    let coarse = context.disk("coarse", 4 * MIB)?;
    let beside = |recipe: crate::Recipe| {
        let coarse = Disk::file(&coarse)
            .model("nvme")
            .serial("coarse")
            .property("logical_block_size=4096,physical_block_size=4096");
        recipe.disk(coarse)
    };
    let sentence = "nvme: namespace 1: has sectors of 4096 bytes";
    disks::keeps_what_is_written(context, &mut report, "nvme", beside, sentence)?;
    errors_and_namespaces(context)?;
    Ok(report)
}

/// A disk with a sector that can not be read. Beside it a controller with two
/// namespaces, which never mix.
fn errors_and_namespaces(context: &Context) -> Result<(), Failure> {
    let switch = context.switch("errors")?;
    let mut client = Client::new(&switch, CLIENT);
    let mut recipe = disks::with_a_bad_sector(context, &switch, "nvme")?
        .arguments(&["-device", "nvme,id=pair,serial=pair"]);
    for number in [1, 2] {
        let file = context.disk(&format!("namespace{number}"), MIB)?;
        let drive = format!(
            "if=none,id=namespace{number},format=raw,discard=unmap,file={}",
            file.display()
        );
        let device = format!("nvme-ns,bus=pair,drive=namespace{number},nsid={number}");
        recipe = recipe.arguments(&["-drive", &drive, "-device", &device]);
    }
    let mut node = recipe.start(context.folder())?;
    let exports = world::exports(context, &node, &mut client, 3)?;
    disks::only_the_bad_sector_fails(context, &node, &mut client, &exports[0])?;

    let sectors = MIB as usize / SECTOR_BYTES;
    for (export, seed) in exports[1..].iter().zip([LONG, SHORT]) {
        client
            .write_pattern(export, 0, sectors, seed, flow(context, u8::MAX))
            .map_err(blame(&node))?;
    }
    for ((export, seed), serial) in exports[1..]
        .iter()
        .zip([LONG, SHORT])
        .zip(["pair", "pair-2"])
    {
        client
            .check_pattern(export, 0, sectors, seed, flow(context, u8::MAX))
            .map_err(blame(&node))?;
        let identity = client
            .identify(export, context.seconds(20))
            .map_err(blame(&node))?;
        must(identity.serial() == serial, &node, || {
            format!("serial number {serial} is {:?}", identity.serial())
        })?;
    }

    // The first namespace forgets its first half and keeps the second.
    let half = sectors as u64 / 2;
    let mut ranges = [0; SECTOR_BYTES];
    ranges[..8].copy_from_slice(&(half << 48).to_le_bytes());
    let discard = AtaRequest {
        flags: 0x41,
        feature: 0x01,
        count: 1,
        opcode: ata::DATA_SET_MANAGEMENT,
        ..AtaRequest::default()
    };
    let reply = client
        .ata(&exports[1], discard, &ranges, 0, context.seconds(20))
        .map_err(blame(&node))?;
    must(!reply.ata_failed(), &node, || {
        format!("a discard is answered by {reply:?}")
    })?;
    client
        .check_pattern(
            &exports[1],
            half,
            sectors - half as usize,
            LONG,
            flow(context, u8::MAX),
        )
        .map_err(blame(&node))?;
    a_warning_is_told(context, &mut node, &mut client, &exports)
}

/// The pair's controller runs out of spare blocks: both its namespaces say so.
fn a_warning_is_told(
    context: &Context,
    node: &mut Machine,
    client: &mut Client,
    exports: &[Export],
) -> Result<(), Failure> {
    let smart = AtaRequest {
        feature: RETURN_STATUS,
        opcode: ata::SMART,
        lba: WELL,
        ..AtaRequest::default()
    };
    let mut says = |export: &Export, node: &Machine| {
        client
            .ata(export, smart, &[], 0, context.seconds(20))
            .map(|reply| reply.ata_lba() & 0xff_ff00)
            .map_err(blame(node))
    };
    must(says(&exports[2], node)? == WELL, node, || {
        "a disk that is well says that it fails".to_owned()
    })?;
    let spare_is_low = serde_json::json!({
        "path": "/machine/peripheral/pair",
        "property": "smart_critical_warning",
        "value": 1,
    });
    node.qmp().run("qom-set", spare_is_low)?;
    let within = context.seconds(30);
    for export in &exports[1..] {
        until(
            within,
            node,
            || "the controller warns, and SMART says nothing of it".to_owned(),
            || says(export, node).is_ok_and(|status| status == FAILING),
        )?;
    }
    node.wait_for("it says that it will fail", within).map(drop)
}
