//! Two processors: one has the node, the other runs the devices.
//!
//! What crosses between them must arrive once, whole and in order, whatever is on its
//! way: so two disks are written and read through two cards, one request at a time and
//! many at once, and what one card wrote the other reads.

use super::world::{self, CLIENT, NODE, TWO, blame, must};
use crate::client::{Client, Export, Flow};
use crate::machine::Machine;
use crate::{Context, Disk, Failure, Mac, Nic, OrFail, Report};
use std::time::Instant;

const MIB: u64 = 1 << 20;
/// Sectors of each pattern, and where the two of a disk begin.
const SECTORS: usize = 1500;
const ALONE_AT: u64 = 7;
const MANY_AT: u64 = 4001;
const ONE: &str = "the firmware names no other processor; one serves";

pub(super) fn processors(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    two(context, &mut report)?;
    others(context)?;
    Ok(report)
}

/// One request at a time, and many.
fn flow(context: &Context, outstanding: usize) -> Flow {
    Flow {
        // Odd, so that frames of both sizes cross.
        sectors_per_frame: if outstanding == 1 { 3 } else { u8::MAX },
        outstanding,
        within: context.seconds(40),
        ..Flow::default()
    }
}

fn two(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let switch = context.switch("two")?;
    let mut client = Client::new(&switch, CLIENT);
    let disks = [
        context.disk("first", 16 * MIB)?,
        context.disk("second", 16 * MIB)?,
    ];
    let recipe = |name: &str, cpus: u32| {
        let mut recipe = world::node(context, name)
            .cpus(cpus)
            .append(&format!("ublade.log=debug ublade.cpus={cpus}"))
            .arguments(&["-no-shutdown"]);
        for (disk, serial) in disks.iter().zip(["first", "second"]) {
            recipe = recipe.disk(Disk::file(disk).serial(serial).cache("writeback"));
        }
        for card in NODE {
            recipe = recipe.nic(Nic::on(&switch, card).mtu(9000));
        }
        recipe
    };
    let mut node = recipe("two", 2).start(context.folder())?;
    let exports = world::exports(context, &node, &mut client, 4)?;
    node.wait_for(TWO, context.seconds(20))?;
    let at = |slot: u8, card: Mac| -> Result<&Export, Failure> {
        exports
            .iter()
            .find(|export| export.address == world::address(slot) && export.mac == card)
            .or_fail(format_args!("e{}.{slot} is not at {card}", world::SHELF))
    };
    for slot in [0, 1] {
        let (one, other) = (at(slot, NODE[0])?, at(slot, NODE[1])?);
        let seed = u64::from(slot) + 1;
        for (first, outstanding) in [(ALONE_AT, 1), (MANY_AT, 32)] {
            let flow = flow(context, outstanding);
            let written = client
                .write_pattern(one, first, SECTORS, seed, flow)
                .map_err(blame(&node))?;
            for export in [other, one] {
                client
                    .check_pattern(export, first, SECTORS, seed, flow)
                    .map_err(blame(&node))?;
            }
            report.note(format!(
                "{outstanding} at once: {} writes in {:.2} s",
                written.requests,
                written.elapsed.as_secs_f64()
            ));
        }
        let flushes = node.qmp().disk_counters(usize::from(slot))?["flush_operations"]
            .as_u64()
            .or_fail("QEMU does not count flushes")?;
        must(flushes > 0, &node, || {
            format!("disk {slot} has a volatile cache, and was never flushed for a write")
        })?;
    }
    masks(context, &node, &mut client, at(0, NODE[0])?)?;
    press(context, &mut node)?;
    node.kill();

    // What two processors wrote one reads.
    let node = recipe("one", 1).start(context.folder())?;
    world::exports(context, &node, &mut client, 4)?;
    for slot in [0, 1] {
        for first in [ALONE_AT, MANY_AT] {
            let flow = flow(context, 32);
            let seed = u64::from(slot) + 1;
            client
                .check_pattern(at(slot, NODE[1])?, first, SECTORS, seed, flow)
                .map_err(blame(&node))?;
        }
    }
    node.kill();
    Ok(())
}

/// What hosts set about an export is answered by both cards alike.
fn masks(
    context: &Context,
    node: &Machine,
    client: &mut Client,
    export: &Export,
) -> Result<(), Failure> {
    let within = context.seconds(20);
    for (directive, count) in [(1, 1), (2, 0)] {
        let reply = client
            .mask(export, 1, &[(directive, client.mac())], within)
            .or_fail("the mask list is not answered")
            .map_err(blame(node))?;
        let listed = reply.argument().get(3).copied();
        must(listed == Some(count), node, || {
            format!("the mask list has {count} and says {listed:?}")
        })?;
    }
    Ok(())
}

/// The power button ends it.
fn press(context: &Context, node: &mut Machine) -> Result<(), Failure> {
    let within = context.seconds(30);
    node.qmp().system_powerdown()?;
    node.wait_for("power off: everything is answered and flushed", within)?;
    let deadline = Instant::now() + within;
    while node.qmp().status()? != "shutdown" {
        if Instant::now() >= deadline {
            return Err(node.failure("the button was pressed and the machine is still on"));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Ok(())
}

/// More processors than are used, and fewer than are wanted.
fn others(context: &Context) -> Result<(), Failure> {
    for (name, cpus, setting, says) in [
        ("four", 4, "ublade.cpus=2", TWO),
        ("all", 3, "ublade.cpus=all", TWO),
        ("only-one", 1, "ublade.cpus=2", ONE),
    ] {
        let switch = context.switch(name)?;
        let mut client = Client::new(&switch, CLIENT);
        let disk = context.disk(name, MIB)?;
        let node = world::node(context, name)
            .cpus(cpus)
            .append("ublade.log=debug")
            .append(setting)
            .disk(Disk::file(&disk).serial(name))
            .nic(Nic::on(&switch, NODE[0]).mtu(9000))
            .start(context.folder())?;
        let export = world::one_export(context, &node, &mut client)?;
        node.wait_for(says, context.seconds(20))?;
        let flow = flow(context, 32);
        client
            .write_pattern(&export, 0, 500, 3, flow)
            .and_then(|_| client.check_pattern(&export, 0, 500, 3, flow))
            .map_err(blame(&node))?;
        node.kill();
    }
    Ok(())
}
