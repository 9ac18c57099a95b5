//! Bad settings and broken devices: a sentence each, and the node goes on.

use super::world::{self, CLIENT, NODE, blame, must};
use crate::client::{Client, Flow};
use crate::{Accel, Context, Disk, Failure, Machine, Nic, Report};
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// A sentence on the console may take this long.
const SENTENCE_WITHIN: Duration = Duration::from_secs(5);

/// Waits for a line of the console in which all of `words` stand.
fn says(context: &Context, node: &Machine, words: &[&str]) -> Result<String, Failure> {
    let mut found = None;
    world::until(
        context.within(SENTENCE_WITHIN),
        node,
        || format!("the console has no line with {words:?}"),
        || {
            let text = node.console().text();
            found = text
                .lines()
                .find(|line| words.iter().all(|word| line.contains(word)))
                .map(str::to_owned);
            found.is_some()
        },
    )?;
    Ok(found.unwrap_or_default())
}

/// Writes and reads back a little, so that "it serves" is more than an answer.
fn serves(
    context: &Context,
    node: &Machine,
    client: &mut Client,
    count: usize,
) -> Result<(), Failure> {
    for export in world::exports(context, node, client, count)? {
        let flow = Flow {
            within: context.seconds(5),
            ..Flow::default()
        };
        client
            .write_pattern(&export, 8, 32, 3, flow)
            .and_then(|_| client.check_pattern(&export, 8, 32, 3, flow))
            .map_err(blame(node))?;
    }
    Ok(())
}

pub(super) fn bad_settings(context: &mut Context) -> Result<Report, Failure> {
    // Key, text, and the place in the command line are for us to find.
    let bad = [
        ("shelf", "banana"),
        ("cache", "sometimes"),
        ("mtu", "70000"),
        ("buffers", "1"),
        ("nonsense", "42"),
        ("ram.3", "lots"),
    ];
    let settings: Vec<String> = bad
        .iter()
        .map(|(key, value)| format!("ublade.{key}={value}"))
        .collect();
    let switch = context.switch("net")?;
    let disk = context.disk("disk", MIB)?;
    let mut client = Client::new(&switch, CLIENT);
    let node = context
        .node("node")
        .append("ublade.rw=all")
        .append(&settings.join(" "))
        .disk(Disk::file(&disk).serial("bad0"))
        .nic(Nic::on(&switch, NODE[0]))
        .start(context.folder())?;
    let mut report = Report::new();
    for (key, value) in bad {
        let setting = format!("{key}={value}");
        report.note(says(context, &node, &[&setting, "command line"])?);
    }
    // The default shelf holds: from the first MAC, and never 4095 or 65535.
    serves(context, &node, &mut client, 1)?;
    let export = world::one_export(context, &node, &mut client)?;
    must(
        export.address.slot == 0 && ![4095, 65535].contains(&export.address.shelf),
        &node,
        || format!("{} is no default address", export.address),
    )?;
    must(export.buffers >= 2, &node, || {
        format!("buffers=1 is in force: {} are offered", export.buffers)
    })?;
    Ok(report)
}

pub(super) fn bad_devices(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    report.note(no_disk(context)?);
    report.note(no_card(context)?);
    report.note(empty_disk(context)?);
    report.note(dead_link(context)?);
    report.note(read_only_disk(context)?);
    report.note(old_processor(context)?);
    Ok(report)
}

/// Nothing to serve is said, and the node is still there a while later.
fn no_disk(context: &Context) -> Result<String, Failure> {
    let switch = context.switch("no-disk")?;
    let mut client = Client::new(&switch, CLIENT);
    let node = world::node(context, "no-disk")
        .nic(Nic::on(&switch, NODE[0]))
        .start(context.folder())?;
    let line = says(context, &node, &["no disk"])?;
    let exports = client.discover(Duration::from_millis(300));
    must(exports.is_empty(), &node, || {
        format!("a node without a disk serves {}", exports[0].address)
    })?;
    must(node.is_running(), &node, || "the node ended".to_owned())?;
    Ok(line)
}

fn no_card(context: &Context) -> Result<String, Failure> {
    let disk = context.disk("no-card", MIB)?;
    let node = world::node(context, "no-card")
        .disk(Disk::file(&disk).serial("lonely"))
        .start(context.folder())?;
    let line = says(context, &node, &["no network"])?;
    std::thread::sleep(Duration::from_millis(300));
    must(node.is_running(), &node, || "the node ended".to_owned())?;
    Ok(line)
}

/// Two disks, the first of them empty: the second is served.
fn empty_disk(context: &Context) -> Result<String, Failure> {
    let switch = context.switch("empty-disk")?;
    let mut client = Client::new(&switch, CLIENT);
    let (empty, whole) = (context.disk("empty", 0)?, context.disk("whole", MIB)?);
    let node = world::node(context, "empty-disk")
        .disk(Disk::file(&empty).serial("empty"))
        .disk(Disk::file(&whole).serial("whole"))
        .nic(Nic::on(&switch, NODE[0]))
        .start(context.folder())?;
    let line = says(context, &node, &["virtio-blk", "capacity is 0 sectors"])?;
    serves(context, &node, &mut client, 1)?;
    let export = world::one_export(context, &node, &mut client)?;
    let identity = client
        .identify(&export, context.seconds(5))
        .map_err(blame(&node))?;
    must(identity.serial() == "whole", &node, || {
        format!("disk \"{}\" is served", identity.serial())
    })?;
    Ok(line)
}

/// Two cards, the first without link: the second serves; when the first gets
/// its link the exports are announced there and served too.
fn dead_link(context: &Context) -> Result<String, Failure> {
    let switches = [context.switch("dead-link")?, context.switch("live-link")?];
    let mut clients = [
        Client::new(&switches[0], CLIENT),
        Client::new(&switches[1], CLIENT),
    ];
    let disk = context.disk("link", MIB)?;
    let mut node = world::node(context, "dead-link")
        .disk(Disk::file(&disk).serial("link"))
        .nic(Nic::on(&switches[0], NODE[0]))
        .nic(Nic::on(&switches[1], NODE[1]))
        // Stopped at the first instruction, so that the link is down from the start.
        .arguments(&["-S"])
        .start(context.folder())?;
    node.qmp().set_link(0, false)?;
    node.qmp().cont()?;
    let line = says(context, &node, &["port 0", "link"])?;
    serves(context, &node, &mut clients[1], 1)?;
    let early = clients[0].discover(Duration::from_millis(200));
    must(early.is_empty(), &node, || {
        "a card without link answers".to_owned()
    })?;

    clients[0].forget();
    node.qmp().set_link(0, true)?;
    let announced = clients[0].expect(context.seconds(5), |reply| {
        reply.tag() == 0 && reply.destination().is_group() && reply.address() == world::address(0)
    });
    must(announced.is_some(), &node, || {
        "nothing is announced when the link comes up".to_owned()
    })?;
    serves(context, &node, &mut clients[0], 1)?;
    Ok(line)
}

/// `rw=all` does not override the hypervisor's own flag.
fn read_only_disk(context: &Context) -> Result<String, Failure> {
    let switch = context.switch("read-only")?;
    let mut client = Client::new(&switch, CLIENT);
    let disk = context.disk("read-only", MIB)?;
    let node = world::node(context, "read-only")
        .disk(Disk::file(&disk).serial("sealed").read_only())
        .nic(Nic::on(&switch, NODE[0]))
        .start(context.folder())?;
    let line = says(context, &node, &["read-only"])?;
    let export = world::one_export(context, &node, &mut client)?;
    let refused = client.write(&export, 0, &[1; 512], Flow::default());
    must(
        refused
            .as_ref()
            .is_err_and(|failure| failure.sentence().contains("error 0x04")),
        &node,
        || format!("a write to a sealed disk gives {refused:?}"),
    )?;
    let mut sector = [1; 512];
    client
        .read(&export, 0, &mut sector, Flow::default())
        .map_err(blame(&node))?;
    must(sector == [0; 512], &node, || {
        "the sealed disk was written".to_owned()
    })?;
    Ok(line)
}

/// A processor that can not run the node is told apart by the first code there is.
fn old_processor(context: &Context) -> Result<String, Failure> {
    let node = world::node(context, "old-processor")
        .accel(Accel::Tcg)
        .arguments(&["-cpu", "qemu32"])
        .start(context.folder())?;
    let line = says(context, &node, &["processor", "64-bit", "Halted."])?;
    must(node.is_running(), &node, || {
        "it reset itself and did not halt".to_owned()
    })?;
    Ok(line)
}
