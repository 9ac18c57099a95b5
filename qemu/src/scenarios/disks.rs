//! What every disk must keep, whatever controller it hangs on.

use super::world::{self, CLIENT, NODE, blame, must};
use crate::client::{AtaRequest, Client, Export, Flow, ata};
use crate::pattern::{self, SECTOR_BYTES};
use crate::{Context, Disk, Failure, Machine, Nic, OrFail, Recipe, Report, Switch};
use std::fs;

const MIB: u64 = 1 << 20;
const SECTORS: usize = (16 * MIB) as usize / SECTOR_BYTES;
/// What the whole disk is written with, in long frames, and what a part of it is
/// then written with, sector by sector.
pub(super) const LONG: u64 = 1;
pub(super) const SHORT: u64 = 2;
/// That part. It starts at a sector where no long frame starts.
const PART: (u64, usize) = (1001, 1500);
/// The sector that a bad disk can not read.
const BAD: u64 = 100;
/// ATA error register: UNC.
const UNCORRECTABLE: u8 = 0x40;

/// Written and read over the wire, found in the file behind the disk, and there
/// again after the node was killed and started anew. `model` is QEMU's name of the
/// disk; `beside` adds what else the machine has, and its console says `sentence`.
pub(super) fn keeps_what_is_written(
    context: &Context,
    report: &mut Report,
    model: &'static str,
    beside: impl Fn(Recipe) -> Recipe,
    sentence: &str,
) -> Result<(), Failure> {
    let switch = context.switch("net")?;
    let disk = context.disk("disk", 16 * MIB)?;
    let mut client = Client::new(&switch, CLIENT);
    let recipe = |name: &str| {
        let recipe = world::node(context, name)
            .append("ublade.log=debug")
            .disk(Disk::file(&disk).model(model).serial("kept"))
            .nic(Nic::on(&switch, NODE[0]).mtu(9000));
        beside(recipe)
    };

    let node = recipe("node").start(context.folder())?;
    let export = world::one_export(context, &node, &mut client)?;
    must_say(context, &node, sentence)?;
    let identity = client
        .identify(&export, context.seconds(20))
        .map_err(blame(&node))?;
    must(identity.serial() == "kept", &node, || {
        format!("its serial number is kept and not {:?}", identity.serial())
    })?;
    let written = client
        .write_pattern(&export, 0, SECTORS, LONG, flow(context, u8::MAX))
        .map_err(blame(&node))?;
    report.note(format!(
        "{SECTORS} sectors written in {} frames, {:.1} s",
        written.requests,
        written.elapsed.as_secs_f64()
    ));
    client
        .write_pattern(&export, PART.0, PART.1, SHORT, flow(context, 1))
        .map_err(blame(&node))?;
    check(context, &node, &mut client, &export)?;
    client
        .flush(&export, context.seconds(20))
        .map_err(blame(&node))?;
    node.kill();

    let node = recipe("node-again").start(context.folder())?;
    let export = world::one_export(context, &node, &mut client)?;
    check(context, &node, &mut client, &export)?;
    node.kill();

    let bytes = fs::read(&disk).or_fail(format_args!("cannot read {}", disk.display()))?;
    for (lba, sectors, seed) in parts() {
        let from = lba as usize * SECTOR_BYTES;
        pattern::check(&bytes[from..from + sectors * SECTOR_BYTES], lba, seed)
            .or_fail(disk.display())?;
    }
    Ok(())
}

fn must_say(context: &Context, node: &Machine, sentence: &str) -> Result<(), Failure> {
    node.wait_for(sentence, context.seconds(20)).map(drop)
}

/// A disk of `model` on `switch`'s node whose sector [`BAD`] can not be read.
pub(super) fn with_a_bad_sector(
    context: &Context,
    switch: &Switch,
    model: &'static str,
) -> Result<Recipe, Failure> {
    let file = context.disk("bad", MIB)?;
    let backing = format!(
        "driver=raw,file.driver=blkdebug,file.inject-error.0.event=read_aio,\
         file.inject-error.0.sector={BAD},file.image.driver=file,file.image.filename={}",
        file.display()
    );
    Ok(world::node(context, "errors")
        .disk(Disk::backed_by(&backing).model(model).serial("bad"))
        .nic(Nic::on(switch, NODE[0]).mtu(9000)))
}

/// The host hears of the bad sector, and of no other.
pub(super) fn only_the_bad_sector_fails(
    context: &Context,
    node: &Machine,
    client: &mut Client,
    export: &Export,
) -> Result<(), Failure> {
    for (lba, is_bad) in [(BAD - 1, false), (BAD, true), (BAD + 1, false)] {
        let read = AtaRequest {
            flags: 0x40,
            count: 1,
            opcode: ata::READ_EXT,
            lba,
            ..AtaRequest::default()
        };
        let reply = client
            .ata(export, read, &[], SECTOR_BYTES, context.seconds(20))
            .map_err(blame(node))?;
        let says_bad = reply.ata_failed() && reply.ata_error() & UNCORRECTABLE != 0;
        must(
            says_bad == is_bad && reply.ata_failed() == is_bad,
            node,
            || format!("sector {lba} is bad: {is_bad}, and the answer is {reply:?}"),
        )?;
    }
    Ok(())
}

pub(super) fn flow(context: &Context, sectors_per_frame: u8) -> Flow {
    Flow {
        sectors_per_frame,
        within: context.seconds(30),
        ..Flow::default()
    }
}

/// What the disk holds: first sector, how many, and of which pattern.
fn parts() -> [(u64, usize, u64); 3] {
    let (first, sectors) = PART;
    let end = first as usize + sectors;
    [
        (0, first as usize, LONG),
        (first, sectors, SHORT),
        (end as u64, SECTORS - end, LONG),
    ]
}

fn check(
    context: &Context,
    node: &Machine,
    client: &mut Client,
    export: &Export,
) -> Result<(), Failure> {
    for (lba, sectors, seed) in parts() {
        client
            .check_pattern(export, lba, sectors, seed, flow(context, u8::MAX))
            .map_err(blame(node))?;
    }
    Ok(())
}
