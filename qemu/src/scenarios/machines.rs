//! Machines that lack what others have, or have more of it than most.

use super::disks::flow;
use super::world::{self, CLIENT, NODE, blame, must};
use crate::client::Client;
use crate::{Accel, Board, Context, Disk, Emulator, Failure, Machine, Nic, OrFail, Recipe, Report};
use std::fs;

const SECTORS: usize = 256;
/// Nobody whose local timer has a known clock.
const A_STRANGER: [&str; 2] = ["-cpu", "max,-hypervisor,tcg-cpuid=off"];
/// By how many percent two clocks may differ: what they are measured by is read
/// beside other work of the host.
const PERCENT: u64 = 5;

/// The first QEMU that emulates x2APIC in software.
const X2APIC_SINCE: u32 = 9;

/// A machine by what the counter's rate is known by there.
const CLOCKS: [(&str, &[&str]); 4] = [
    ("LocalTimer", &["-cpu", "max"]),
    ("IntervalTimer", &[]),
    ("PrecisionTimer", &["-machine", "pit=off"]),
    ("PowerTimer", &["-machine", "pit=off,hpet=off"]),
];

pub(super) fn machines(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    clocks(context, &mut report)?;
    much_memory(context, &mut report)?;
    mute(context)?;
    many_processors(context, &mut report)?;
    Ok(report)
}

/// The counter's rate is the same, whatever it is measured by.
fn clocks(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let mut first = None;
    for (clock, arguments) in CLOCKS {
        let node = serves(context, clock, 1, |recipe| {
            let recipe = recipe.append("ublade.log=debug").accel(Accel::Tcg);
            // The last of several names for the processor counts.
            recipe.arguments(&A_STRANGER).arguments(arguments)
        })?;
        let line = node.wait_for(&format!("kHz ({clock})"), context.seconds(10))?;
        let khz: u64 = line
            .split_once("counter ")
            .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok())
            .or_fail(format_args!("no rate in {line:?}"))?;
        let other = *first.get_or_insert(khz);
        must(khz.abs_diff(other) * 100 <= other * PERCENT, &node, || {
            format!("by its {clock} the counter has {khz} kHz, and {other} by another")
        })?;
        report.note(format!("{clock}: {khz} kHz"));
    }
    Ok(())
}

/// More than 256 GiB, of which the host gives what is touched; a RAM disk is at the end
/// of it.
fn much_memory(context: &Context, report: &mut Report) -> Result<(), Failure> {
    const NEVER: &str = "2";
    let habit = fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap_or_default();
    if habit.trim() == NEVER {
        report.note("300 GiB: skipped, this host gives no memory that it does not have");
        return Ok(());
    }
    let node = serves(context, "300g", 2, |recipe| {
        let sparse = "memory-backend-ram,id=sparse,size=300G,reserve=off";
        let memory = ["-object", sparse, "-machine", "memory-backend=sparse"];
        recipe
            .append("ublade.ram.9=1M")
            .memory("300G")
            .arguments(&memory)
    })?;
    node.wait_for("299.9 GiB memory", context.seconds(10))?;
    report.note("300 GiB of memory");
    Ok(())
}

/// Neither a serial port nor a screen: nothing to say a word on.
fn mute(context: &Context) -> Result<(), Failure> {
    let node = serves(context, "mute", 1, |recipe| {
        let recipe = recipe.board(Board::Microvm);
        recipe.arguments(&["-machine", "isa-serial=off"])
    })?;
    let said = node.console().text();
    must(said.is_empty(), &node, || {
        "this machine was to have no serial port".to_owned()
    })
}

/// Room for so many processors that the firmware turns on the controllers that can count
/// them, x2APIC, and an IOMMU, which it leaves off. A second processor is started and
/// interrupted by them as well.
fn many_processors(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let Some(emulator) = Emulator::since(X2APIC_SINCE, context.debs())? else {
        report.note(format!("x2APIC: skipped, it takes QEMU {X2APIC_SINCE}"));
        return Ok(());
    };
    let node = serves(context, "x2apic", 1, |recipe| {
        let recipe = recipe.emulator(emulator.clone()).accel(Accel::Tcg);
        let recipe = recipe.append("ublade.log=debug ublade.cpus=2");
        recipe.arguments(&[
            "-cpu",
            "max,+x2apic",
            "-smp",
            "2,maxcpus=300",
            "-device",
            "intel-iommu,intremap=on,eim=on",
        ])
    })?;
    node.wait_for(world::TWO, context.seconds(10))?;
    node.wait_for(" KiB, x2APIC,", context.seconds(10))?;
    report.note("x2APIC, and a second processor");
    Ok(())
}

/// A node in the machine `with` a disk and a card, of which all `count` exports keep what
/// is written to them.
fn serves(
    context: &Context,
    name: &str,
    count: usize,
    with: impl Fn(Recipe) -> Recipe,
) -> Result<Machine, Failure> {
    let switch = context.switch(name)?;
    let disk = context.disk(name, 1 << 20)?;
    let recipe = world::node(context, name)
        .disk(Disk::file(&disk).serial("there"))
        .nic(Nic::on(&switch, NODE[0]).mtu(9000));
    let mut client = Client::new(&switch, CLIENT);
    let node = with(recipe).start(context.folder())?;
    let flow = flow(context, u8::MAX);
    let exports = world::exports(context, &node, &mut client, count)?;
    for (export, seed) in exports.iter().zip(1..) {
        client
            .write_pattern(export, 0, SECTORS, seed, flow)
            .map_err(blame(&node))?;
    }
    for (export, seed) in exports.iter().zip(1..) {
        client
            .check_pattern(export, 0, SECTORS, seed, flow)
            .map_err(blame(&node))?;
    }
    Ok(node)
}
