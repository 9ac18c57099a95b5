//! Things that break while Linux writes: a path, a disk, and the node itself.

use super::world::{self, HOST, NODE, SHELF, Wire, must, until};
use crate::faulty::{Fault, FaultyDisk};
use crate::initiator::Linux;
use crate::{Context, Disk, Failure, Nic, Report};
use std::thread;
use std::time::Duration;

const VERIFY: &str = include_str!("../../guest/verify.sh");
const FAULTS: &str = include_str!("../../guest/faults.sh");

const MIB: u64 = 1 << 20;
/// Requests that must have been answered before something breaks, so that it
/// breaks in the middle of them.
const IN_THE_MIDDLE: u64 = 1000;
/// How long the dead node stays dead. Linux must take up to 20 s as a pause.
const DEAD_FOR: Duration = Duration::from_secs(8);

/// The link goes down and comes up so often. It stays down until for this long there
/// were questions and no answer.
const FLAPS: u32 = 3;
const FLAP: Duration = Duration::from_millis(300);

/// Two switches, a card of the node and one of Linux on each. One cable is
/// pulled in the middle and put back later.
pub(super) fn two_paths(context: &mut Context) -> Result<Report, Failure> {
    let switches = [context.switch("net0")?, context.switch("net1")?];
    let wires = [Wire::watch(&switches[0]), Wire::watch(&switches[1])];
    let disk = context.disk("disk", 64 * MIB)?;
    let mut recipe = world::node(context, "node").disk(Disk::file(&disk).serial("path0"));
    for (switch, mac) in switches.iter().zip(NODE) {
        recipe = recipe.nic(Nic::on(switch, mac).mtu(9000));
    }
    let mut node = recipe.start(context.folder())?;
    node.wait_for_first_aoe(context.seconds(30))?;
    let cards = switches
        .iter()
        .zip(HOST)
        .map(|(switch, mac)| Nic::on(switch, mac).mtu(9000));
    let guest = Linux::prepare(context.debs())?.start(
        context,
        "linux",
        cards,
        &format!("EXPORT=e{SHELF}.0 SIZE=32M RATE=1500 PATHS=eth0,eth1\n{VERIFY}"),
    )?;
    guest.ok("running", context.seconds(120))?;
    for (path, wire) in wires.iter().enumerate() {
        until(
            context.seconds(30),
            &node,
            || format!("path {path} carries no writes"),
            || wire.replies() >= IN_THE_MIDDLE,
        )?;
    }
    node.cable(1).pull();
    let before = wires[0].replies();
    let took = guest.ok("verified", context.seconds(120))?;
    let alone = wires[0].replies() - before;
    must(alone > IN_THE_MIDDLE, &node, || {
        format!("fio was nearly done when the cable was pulled ({alone} requests after it)")
    })?;

    node.cable(1).restore();
    guest.tell("again")?;
    guest.ok("read-back", context.seconds(120))?;
    guest.end(context.seconds(20))?;
    let mut report = Report::new();
    report.note(format!(
        "written and verified in {took} s, {alone} answers over the path that was left"
    ));
    Ok(report)
}

/// The node is killed in the middle and started anew seconds later.
pub(super) fn node_killed(context: &mut Context) -> Result<Report, Failure> {
    let switch = context.switch("net")?;
    let wire = Wire::watch(&switch);
    let disk = context.disk("disk", 64 * MIB)?;
    let recipe = |name| {
        world::node(context, name)
            .disk(Disk::file(&disk).serial("kill0"))
            .nic(Nic::on(&switch, NODE[0]).mtu(9000))
    };
    let mut node = recipe("node").start(context.folder())?;
    node.wait_for_first_aoe(context.seconds(30))?;
    let guest = Linux::prepare(context.debs())?.start(
        context,
        "linux",
        [Nic::on(&switch, HOST[0]).mtu(9000)],
        &format!("EXPORT=e{SHELF}.0 SIZE=32M RATE=1500 PATHS=eth0\n{VERIFY}"),
    )?;
    guest.ok("running", context.seconds(120))?;
    until(
        context.seconds(30),
        &node,
        || "Linux does not write".to_owned(),
        || wire.replies() >= IN_THE_MIDDLE,
    )?;
    node.kill();
    let at_the_kill = wire.replies();
    thread::sleep(DEAD_FOR);

    let mut node = recipe("node-again").start(context.folder())?;
    let back_after = node.wait_for_first_aoe(context.seconds(30))?;
    let took = guest.ok("verified", context.seconds(120))?;
    let after = wire.replies() - at_the_kill;
    must(after > IN_THE_MIDDLE, &node, || {
        format!("fio was nearly done when the node was killed ({after} requests after it)")
    })?;
    guest.tell("again")?;
    guest.ok("read-back", context.seconds(120))?;
    guest.end(context.seconds(20))?;
    let mut report = Report::new();
    report.note(format!(
        "dead for {:.0} s, back {:.2} s after its start; fio took {took} s in all",
        DEAD_FOR.as_secs_f64(),
        back_after.as_secs_f64(),
    ));
    Ok(report)
}

/// Two drives of one AHCI controller. One fails reads, writes and flushes, and is
/// repaired each time; then the link of the node's card comes and goes.
pub(super) fn linux_faults(context: &mut Context) -> Result<Report, Failure> {
    const PAGES: usize = 96;
    const PAGE: u64 = 40;
    let lost = PAGE * 8..(PAGE + 1) * 8;
    let switch = context.switch("net")?;
    let wire = Wire::watch(&switch);
    let bad = FaultyDisk::serve(context.folder(), "bad", PAGES * 4096)?;
    let well = context.disk("well", 8 * MIB)?;
    let drive = |disk: Disk, serial: &str, bus| disk.model("ide-hd").serial(serial).property(bus);
    let mut node = world::node(context, "node")
        .disk(drive(Disk::backed_by(&bad.backing()), "bad", "bus=ide.0"))
        .disk(drive(Disk::file(&well), "well", "bus=ide.1"))
        .nic(Nic::on(&switch, NODE[0]).model("e1000e"))
        .start(context.folder())?;
    node.wait_for_first_aoe(context.seconds(30))?;
    let guest = Linux::prepare(context.debs())?.start(
        context,
        "linux",
        [Nic::on(&switch, HOST[0]).mtu(9000)],
        &format!("BAD=e{SHELF}.0 WELL=e{SHELF}.1 PAGES={PAGES} PAGE={PAGE} RATE=1000\n{FAULTS}"),
    )?;
    guest.ok("written", context.seconds(120))?;
    for (name, fault) in [
        ("read", Fault::Read(lost.clone())),
        ("write", Fault::Write(lost)),
        ("flush", Fault::Flush),
    ] {
        bad.break_with(fault);
        guest.tell(name)?;
        guest.ok(&format!("{name}-failed"), context.seconds(30))?;
        must(bad.hits() > 0, &node, || format!("no {name} was hit"))?;
        bad.repair();
        guest.tell("repaired")?;
        guest.ok(&format!("{name}-works"), context.seconds(30))?;
    }

    guest.ok("writing", context.seconds(30))?;
    let mut held_up = 0;
    for _ in 0..FLAPS {
        let before = wire.replies();
        until(
            context.seconds(20),
            &node,
            || "Linux does not write".to_owned(),
            || wire.replies() > before + IN_THE_MIDDLE / 10,
        )?;
        node.qmp().set_link(0, false)?;
        node.wait_for("link is down", context.seconds(20))?;
        // What left before may still be on its way to us; then all are questions.
        let down = wire.requests();
        until(
            context.seconds(20),
            &node,
            || "answers leave over a link that is down".to_owned(),
            || {
                let before = (wire.requests(), wire.replies());
                thread::sleep(FLAP);
                wire.requests() > before.0 && wire.replies() == before.1
            },
        )?;
        held_up += wire.requests() - down;
        node.qmp().set_link(0, true)?;
        node.wait_for("link is up", context.seconds(20))?;
    }
    guest.tell("enough")?;
    guest.ok("verified", context.seconds(120))?;
    guest.end(context.seconds(20))?;
    let mut report = Report::new();
    report.note(format!(
        "EIO for reads, writes and flushes; {held_up} requests sent while the link was down"
    ));
    Ok(report)
}
