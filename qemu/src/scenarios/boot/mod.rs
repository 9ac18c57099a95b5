//! The boot matrix: every route by which the node starts, one row each.
//!
//! A row ends when sectors that were put on a disk before the start have come back
//! over the wire; those of `failures`, when the node has said why it can not start.
//! The node is given no setting but those that the route itself
//! brings: with none at all it must serve every disk, read-only, at an address
//! that it makes from its card.
//!
//! `cargo xtask test --boot` runs all rows and prints the table; those marked as a
//! sample are part of every `cargo xtask test`. What can not be run here is in the
//! table, too, with the reason and with what was checked instead ([`ABSENT`]).
//!
//! One file, one group of rows.

mod direct;
mod diskless;
mod failures;
mod loaders;
mod media;
mod network;
mod ovmf;
mod secure;
mod uefi;

use super::world::{self, CLIENT, NODE, blame, must};
use crate::client::{Client, Flow};
use crate::packages::{self, Debs, Need};
use crate::pattern::{self, SECTOR_BYTES};
use crate::{Context, Disk, Failure, Machine, Nic, OrFail, Recipe, Report, Scenario, Switch};
use std::fs;
use std::time::Duration;

/// One route.
pub struct Row {
    /// Its name, and the route in words as its sentence.
    pub scenario: Scenario,
    /// What runs before the node, for the table.
    pub firmware: &'static str,
    /// It is run by every test.
    pub sample: bool,
    /// What must be installed to run it.
    pub needs: &'static [Need],
    /// What is unpacked for its guest: a set's name and its packages.
    pub debs: &'static [(&'static str, &'static [&'static str])],
    /// What else takes time and is done before its own begins.
    pub prepare: fn(&Debs) -> Result<(), Failure>,
}

impl Row {
    /// A row that needs nothing but QEMU, and is no sample.
    const fn new(
        name: &'static str,
        route: &'static str,
        firmware: &'static str,
        run: fn(&mut Context) -> Result<Report, Failure>,
    ) -> Self {
        Self {
            scenario: Scenario {
                name,
                sentence: route,
                limit: Duration::from_secs(90),
                linux: false,
                neighbours: None,
                run,
            },
            firmware,
            sample: false,
            needs: &[],
            debs: &[],
            prepare: |_| Ok(()),
        }
    }

    /// The row with another limit than 90 s.
    const fn within(mut self, seconds: u64) -> Self {
        self.scenario.limit = Duration::from_secs(seconds);
        self
    }

    /// The row as a sample.
    const fn sample(mut self) -> Self {
        self.sample = true;
        self
    }
}

/// A route that can not be run here.
pub struct Absent {
    /// The machine.
    pub route: &'static str,
    /// Why it is not run, and what was checked instead.
    pub why: &'static str,
}

/// Routes whose machine is not to be had here.
pub const ABSENT: &[Absent] = &[
    Absent {
        route: "Firecracker",
        why: "needs KVM; takes the ELF by PVH or the Linux protocol and virtio over MMIO, which \
              the row pvh-microvm runs",
    },
    Absent {
        route: "Cloud Hypervisor",
        why: "needs KVM; takes the ELF by PVH, which the rows pvh-* run",
    },
    Absent {
        route: "Hyper-V",
        why: "not to be had here; ublade.vhdx and ublade.vhd are checked by qemu-img and booted by \
              the rows vhdx and vhd",
    },
    Absent {
        route: "ESXi, VirtualBox",
        why: "not to be had here; the disk in ublade.ova is checked by qemu-img, the manifest by \
              sha256sum; ublade.vmdk is booted by the row vmdk",
    },
    Absent {
        route: "the Hermit loader",
        why: "needs KVM (uhyve) or its own build; image/tests/boot_file.rs parses and relocates \
              the ELF with hermit-entry's loader",
    },
];

/// All rows, in the order in which they are run.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [
        direct::ROWS,
        media::ROWS,
        loaders::ROWS,
        uefi::ROWS,
        secure::ROWS,
        network::ROWS,
        diskless::ROWS,
        failures::ROWS,
    ]
    .into_iter()
    .flatten()
}

/// Installs and unpacks what the rows of `wanted` scenarios need.
pub(super) fn prepare(wanted: &[&Scenario], debs: &Debs) -> Result<(), Failure> {
    let is_wanted = |row: &&Row| wanted.iter().any(|one| one.name == row.scenario.name);
    for row in rows().filter(is_wanted) {
        packages::ensure(row.needs, &mut |line| eprintln!("  {line}"))?;
        for (set, packages) in row.debs {
            debs.unpacked(set, packages)?;
        }
        (row.prepare)(debs)?;
    }
    Ok(())
}

/// The serial number of the disk that is read, and how much of it.
const SERIAL: &str = "data";
const SECTORS: usize = 256;
/// What it is filled with.
const SEED: u64 = 3;

/// A node beside whose boot medium is a disk with known sectors, on `switch`.
fn with_data(context: &Context, recipe: Recipe, switch: &Switch) -> Result<Recipe, Failure> {
    let disk = data(context)?;
    Ok(recipe.disk(disk).nic(Nic::on(switch, NODE[0]).mtu(9000)))
}

/// The disk with known sectors.
fn data(context: &Context) -> Result<Disk, Failure> {
    let path = context.disk("data", (SECTORS * SECTOR_BYTES) as u64)?;
    let mut bytes = vec![0; SECTORS * SECTOR_BYTES];
    pattern::fill(&mut bytes, 0, SEED);
    fs::write(&path, bytes).or_fail(format_args!("cannot fill {}", path.display()))?;
    Ok(Disk::file(&path).serial(SERIAL))
}

/// Starts `recipe` with a disk of known sectors, and waits until they have been
/// read over the wire. `shelf` is what the route's own settings ask for.
fn row(context: &Context, recipe: Recipe, shelf: Option<u16>) -> Result<Report, Failure> {
    started(context, recipe, shelf, |_| Ok(())).map(|(report, _)| report)
}

/// The same, with one more question to the node; and the time to its first frame.
fn started(
    context: &Context,
    recipe: Recipe,
    shelf: Option<u16>,
    ask: impl FnOnce(&mut Machine) -> Result<(), Failure>,
) -> Result<(Report, Duration), Failure> {
    let switch = context.switch("net")?;
    let mut client = Client::new(&switch, CLIENT);
    let mut node = with_data(context, recipe, &switch)?.start(context.folder())?;
    let told = answers(context, &mut node, &mut client, shelf)?;
    ask(&mut node)?;
    Ok(told)
}

/// Waits until `node` answers and has given its disk; and the time to its first frame.
fn answers(
    context: &Context,
    node: &mut Machine,
    client: &mut Client,
    shelf: Option<u16>,
) -> Result<(Report, Duration), Failure> {
    // Network boots take their time; the row's limit holds in any case.
    let first_frame = node.wait_for_first_aoe(context.seconds(150))?;
    client
        .wait_for_one(context.seconds(10))
        .map_err(blame(node))?;
    let first_answer = node.started().elapsed();
    serves(context, node, client, shelf)?;
    let mut report = Report::new();
    report.note(format!(
        "first frame after {:.3} s, first answer after {:.3} s",
        first_frame.as_secs_f64(),
        first_answer.as_secs_f64()
    ));
    Ok((report, first_frame))
}

/// `node` serves the disk of [`with_data`], whole, and no other: not the disk that
/// it was started from.
fn serves(
    context: &Context,
    node: &Machine,
    client: &mut Client,
    shelf: Option<u16>,
) -> Result<(), Failure> {
    let data = world::one_export(context, node, client)?;
    let identity = client
        .identify(&data, context.seconds(5))
        .map_err(blame(node))?;
    must(identity.serial() == SERIAL, node, || {
        format!(
            "the disk {SERIAL:?} is expected, {:?} is exported",
            identity.serial()
        )
    })?;
    must(
        shelf.is_none_or(|shelf| data.address.shelf == shelf),
        node,
        || {
            format!(
                "the settings ask for shelf {shelf:?}, the disk is {}",
                data.address
            )
        },
    )?;
    let flow = Flow {
        within: context.seconds(10),
        ..Flow::default()
    };
    client
        .check_pattern(&data, 0, SECTORS, SEED, flow)
        .map(drop)
        .map_err(blame(node))
}
