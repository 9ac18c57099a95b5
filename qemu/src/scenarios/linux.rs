//! Linux with its own driver: file systems, tools, and many exports.

use super::world::{self, HOST, NODE, SHELF, Wire, must};
use crate::initiator::Linux;
use crate::{Context, Disk, Failure, Nic, OrFail, Recipe, Report};

const FILE_SYSTEM: &str = include_str!("../../guest/file-system.sh");
const TOOLS: &str = include_str!("../../guest/aoetools.sh");
const EXPORTS: &str = include_str!("../../guest/exports.sh");
const SMALL_PATH: &str = include_str!("../../guest/small-path.sh");

const MIB: u64 = 1 << 20;

pub(super) fn mtu_1500(context: &mut Context) -> Result<Report, Failure> {
    on_virtio(context, 1500, 1024)
}

pub(super) fn mtu_9000(context: &mut Context) -> Result<Report, Failure> {
    on_virtio(context, 9000, 8704)
}

fn on_virtio(context: &Context, mtu: u16, payload: usize) -> Result<Report, Failure> {
    file_system(context, mtu, payload, |recipe, disk, card| {
        recipe.disk(disk).nic(card.mtu(mtu))
    })
}

/// A file system with files in it survives a restart of the node, and every
/// frame is as long as the path allows: `payload` bytes of sectors. `with` builds
/// the disk and the card into the node's machine.
pub(super) fn file_system(
    context: &Context,
    mtu: u16,
    payload: usize,
    with: impl Fn(Recipe, Disk, Nic) -> Recipe,
) -> Result<Report, Failure> {
    const DISK_BYTES: u64 = 256 * MIB;
    let switch = context.switch("net")?;
    let wire = Wire::watch(&switch);
    let disk = context.disk("disk", DISK_BYTES)?;
    let recipe = |name| {
        let disk = Disk::file(&disk).serial("fs0");
        let card = Nic::on(&switch, NODE[0]);
        with(world::node(context, name), disk, card)
    };
    let mut node = recipe("node").start(context.folder())?;
    let first_frame = node.wait_for_first_aoe(context.seconds(30))?;

    let linux = Linux::prepare(context.debs())?;
    let guest = linux.start(
        context,
        "linux",
        [Nic::on(&switch, HOST[0]).mtu(mtu)],
        &format!("EXPORT=e{SHELF}.0 PAYLOAD={payload}\n{FILE_SYSTEM}"),
    )?;
    guest.ok("payload", context.seconds(120))?;
    let sectors = guest.ok("sectors", context.seconds(30))?;
    must(sectors == (DISK_BYTES / 512).to_string(), &node, || {
        format!("Linux sees {sectors} sectors")
    })?;
    let tree = guest.ok("tree", context.seconds(120))?;
    guest.ok("fio", context.seconds(120))?;
    guest.ok("clean", context.seconds(120))?;

    node.kill();
    let mut node = recipe("node-again").start(context.folder())?;
    node.wait_for_first_aoe(context.seconds(30))?;
    guest.tell("again")?;
    guest.ok("read-back", context.seconds(90))?;
    guest.end(context.seconds(20))?;

    let (largest_write, largest_read) = wire.largest();
    must(
        (largest_write, largest_read) == (payload, payload),
        &node,
        || format!("writes of up to {largest_write} and reads of up to {largest_read} bytes"),
    )?;
    let mut report = Report::new();
    report.note(format!(
        "first frame after {:.2} s; {tree}; {} requests of up to {payload} bytes",
        first_frame.as_secs_f64(),
        wire.requests(),
    ));
    Ok(report)
}

/// Both ends have an MTU of 9000 and the switch between them has not.
pub(super) fn small_path(context: &mut Context) -> Result<Report, Failure> {
    let switch = context.switch("net")?;
    let wire = Wire::watch(&switch);
    let disk = context.disk("disk", 32 * MIB)?;
    let mut node = world::node(context, "node")
        .disk(Disk::file(&disk).serial("sp0"))
        .nic(Nic::on(&switch, NODE[0]).mtu(9000))
        .start(context.folder())?;
    node.cable(0).limit_mtu(1500);
    node.wait_for_first_aoe(context.seconds(30))?;

    let guest = Linux::prepare(context.debs())?.start(
        context,
        "linux",
        [Nic::on(&switch, HOST[0]).mtu(9000)],
        &format!("EXPORT=e{SHELF}.0\n{SMALL_PATH}"),
    )?;
    guest.ok("written", context.seconds(120))?;
    guest.end(context.seconds(30))?;
    let (write, read) = wire.largest();
    must((write, read) == (1024, 1024), &node, || {
        format!("writes of up to {write} and reads of up to {read} bytes")
    })?;
    Ok(Report::new())
}

/// Every tool of the package shows what it should.
pub(super) fn aoetools(context: &mut Context) -> Result<Report, Failure> {
    let switch = context.switch("net")?;
    let disk = context.disk("disk", 64 * MIB)?;
    let mut node = world::node(context, "node")
        .disk(Disk::file(&disk).serial("serial-of-tools"))
        .nic(Nic::on(&switch, NODE[0]).mtu(9000))
        .start(context.folder())?;
    node.wait_for_first_aoe(context.seconds(30))?;
    let guest = Linux::prepare(context.debs())?.start(
        context,
        "linux",
        [Nic::on(&switch, HOST[0]).mtu(9000)],
        &format!("SHELF={SHELF} SLOT=0 SERIAL=serial-of-tools PAYLOAD=8704\n{TOOLS}"),
    )?;
    guest.ok("aoe-sancheck", context.seconds(40))?;
    let model = guest.ok("aoeping", context.seconds(30))?;
    guest.ok("smart", context.seconds(30))?;
    guest.ok("aoecfg", context.seconds(120))?;
    let shown = guest.ok("driver", context.seconds(40))?;
    guest.end(context.seconds(20))?;
    let mut report = Report::new();
    report.note(format!("aoeping -I: {model}"));
    report.note(format!("aoe-stat: {shown}"));
    Ok(report)
}

/// Sixteen disks, sixteen texts, all written at the same time.
pub(super) fn sixteen_exports(context: &mut Context) -> Result<Report, Failure> {
    const COUNT: usize = 16;
    const DISK_BYTES: u64 = 8 * MIB;
    let switch = context.switch("net")?;
    let wire = Wire::watch(&switch);
    let mut recipe = world::node(context, "node").nic(Nic::on(&switch, NODE[0]).mtu(9000));
    let mut disks = Vec::new();
    for slot in 0..COUNT {
        let disk = context.disk(&format!("disk{slot}"), DISK_BYTES)?;
        recipe = recipe.disk(Disk::file(&disk).serial(&format!("many-{slot}")));
        disks.push(disk);
    }
    let mut node = recipe.start(context.folder())?;
    node.wait_for_first_aoe(context.seconds(30))?;
    let guest = Linux::prepare(context.debs())?.start(
        context,
        "linux",
        [Nic::on(&switch, HOST[0]).mtu(9000)],
        &format!("SHELF={SHELF} COUNT={COUNT}\n{EXPORTS}"),
    )?;
    let seen = guest.ok("discovered", context.seconds(120))?;
    must(seen == COUNT.to_string(), &node, || {
        format!("Linux sees {seen} exports")
    })?;
    guest.ok("written", context.seconds(100))?;
    guest.end(context.seconds(20))?;
    node.quit()?;

    // Slots follow the order of the PCI addresses: slot n is disk n.
    for (slot, disk) in disks.iter().enumerate() {
        let bytes = std::fs::read(disk).or_fail(format_args!("cannot read {}", disk.display()))?;
        let text = format!("this is the text of export {slot}\n");
        let expected = text.bytes().cycle().take(4 << 20);
        let rest_is_empty = bytes[4 << 20..].iter().all(|&byte| byte == 0);
        if !bytes[..4 << 20].iter().copied().eq(expected) || !rest_is_empty {
            return Err(Failure::new(format!(
                "disk {slot} does not hold the text of export {slot}"
            ))
            .with(disk.display().to_string()));
        }
    }
    let mut report = Report::new();
    report.note(format!("{} requests", wire.requests()));
    Ok(report)
}
