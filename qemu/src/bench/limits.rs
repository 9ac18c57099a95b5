//! The limits that no target behind the same card and disk can beat.
//!
//! Two loops of the node's own (`ublade.measure=`) stand beside the node that serves. One
//! sends every frame back as it came: card and driver alone. The other reads the disk in
//! a row: disk and driver alone. The serving node and the echo take turns within each
//! round; what a request costs beyond the two limits is the protocol.

use super::counter::{Counter, Watch};
use super::counts::{Effort, NO_SPINNING, cheapest};
use super::latency::{Latencies, Percentiles};
use super::load::{Access, Contents, Load, Order, Until};
use super::parts::Pace;
use super::spread::Spread;
use super::target::{NULL, Place, Serving, Target, recipe};
use crate::machine::Disk;
use crate::{Failure, Recipe};
use std::thread;
use std::time::Duration;

/// Reads that the disk loop keeps under way, and their sectors.
const DISK_DEPTH: usize = 32;
const DISK_SECTORS: u8 = 2;
/// How long the disk loop has to get going.
const DISK_SETTLE: Duration = Duration::from_millis(500);

/// A load, and the echo of its requests.
#[derive(Clone, Debug)]
pub struct Echoed {
    /// The load. Its requests come back as they are: those of reads without data, those of
    /// writes with theirs.
    pub load: Load,
    /// Requests a second that the node serves, by round.
    pub served: Spread,
    /// Frames a second that come back.
    pub echoed: Spread,
    /// What is served of what is echoed, round by round.
    pub part: Spread,
    /// Answer times of what is served, over all rounds.
    pub served_times: Percentiles,
    /// And of what comes back: who waits for one at a time waits for this at least.
    pub echo_times: Percentiles,
    /// Guest instructions a served request.
    pub instructions: f64,
    /// Guest instructions an echoed frame.
    pub echo_instructions: f64,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Against the echo.
    pub echoed: Vec<Echoed>,
    /// Reads of 1 KiB a second inside the node, 32 under way.
    pub disk_reads: Spread,
    /// Guest instructions each.
    pub disk_instructions: f64,
    /// What the node serves of them over the wire.
    pub served_of_disk: Spread,
}

impl Limits {
    /// What is left of the echo's rate of reads of 1 KiB for who lets one thread of the
    /// monitor do both, one after the other: the echo of a frame and a read of the disk.
    pub fn in_a_row(&self) -> Option<f64> {
        let is_it = |one: &&Echoed| one.load == read();
        let echo = self.echoed.iter().find(is_it)?.echoed.median;
        let disk = self.disk_reads.median;
        Some(disk / (disk + echo))
    }

    /// The echo of a load's requests.
    pub fn echo(&self, load: Load) -> Option<&Echoed> {
        self.echoed.iter().find(|one| one.load == load)
    }
}

/// Those of the goals.
fn loads() -> Vec<Load> {
    let mut loads = super::loads();
    loads.retain(|load| matches!(load.depth, 1 | 32) && matches!(load.sectors, 2 | 17));
    loads
}

/// What the disk loop does as well.
const fn read() -> Load {
    Load {
        access: Access::Read,
        order: Order::Sequential,
        sectors: DISK_SECTORS,
        depth: DISK_DEPTH,
    }
}

/// Measures, in turns.
pub(super) fn limits(
    place: &Place,
    pace: Pace,
    say: &mut dyn FnMut(&str),
) -> Result<Limits, Failure> {
    say("instructions");
    let mut counted = Counted {
        serving: counting(place, "limit-none", "", Contents::Zeros)?,
        echo: counting(place, "limit-echo", ECHO, Contents::Echo)?,
    };
    let instructions = loads()
        .into_iter()
        .map(|load| counted.instructions(load))
        .collect::<Result<Vec<_>, _>>()?;
    drop(counted);
    let disk_instructions = disk_instructions(place, pace)?;

    let mut serving = timed(place, "limit-none", "", Contents::Zeros)?;
    let mut echo = timed(place, "limit-echo", ECHO, Contents::Echo)?;
    let mut rounds = vec![[Rounds::default(), Rounds::default()]; loads().len()];
    for round in 1..=pace.rounds {
        say(&format!("echo, round {round} of {}", pace.rounds));
        for (load, of_load) in loads().into_iter().zip(&mut rounds) {
            for (machine, rounds) in [&mut serving, &mut echo].into_iter().zip(of_load) {
                let outcome = machine.drive(load, Until::Time(pace.turn))?;
                rounds.rates.push(outcome.per_second());
                rounds.times.append(&outcome.latencies);
            }
        }
    }
    drop(echo);
    // The loop never rests, so it is up only while nobody else is measured.
    let mut disk = Vec::new();
    let mut of_disk = Vec::new();
    for round in 1..=pace.rounds.div_ceil(2) {
        say(&format!("disk, round {round}"));
        let served = serving.drive(read(), Until::Time(pace.turn))?.per_second();
        let mut machine = timed(place, "limit-disk", &disk_loop(), Contents::Unknown)?;
        thread::sleep(DISK_SETTLE);
        let (reads, _) = over(&mut machine, pace.turn)?;
        let rate = reads as f64 / pace.turn.as_secs_f64();
        disk.push(rate);
        of_disk.push(served / rate);
    }
    let echoed = loads()
        .into_iter()
        .zip(rounds)
        .zip(instructions)
        .map(
            |((load, [served, echoed]), (instructions, echo_instructions))| {
                let parts: Vec<f64> = served
                    .rates
                    .iter()
                    .zip(&echoed.rates)
                    .map(|(served, echoed)| served / echoed)
                    .collect();
                Echoed {
                    load,
                    served: Spread::of(&served.rates),
                    echoed: Spread::of(&echoed.rates),
                    part: Spread::of(&parts),
                    served_times: served.times.percentiles(),
                    echo_times: echoed.times.percentiles(),
                    instructions,
                    echo_instructions,
                }
            },
        )
        .collect();
    Ok(Limits {
        echoed,
        disk_reads: Spread::of(&disk),
        disk_instructions,
        served_of_disk: Spread::of(&of_disk),
    })
}

/// What one machine did at one load.
#[derive(Clone, Default)]
struct Rounds {
    rates: Vec<f64>,
    times: Latencies,
}

const ECHO: &str = "ublade.measure=echo";

fn disk_loop() -> String {
    format!("ublade.measure=disk,{DISK_DEPTH},{DISK_SECTORS}")
}

struct Counted {
    serving: Serving,
    echo: Serving,
}

impl Counted {
    fn instructions(&mut self, load: Load) -> Result<(f64, f64), Failure> {
        let effort = Effort::for_node(load.depth);
        Ok((
            cheapest(&mut self.serving, load, effort)?.instructions,
            cheapest(&mut self.echo, load, effort)?.instructions,
        ))
    }
}

/// The node over the null disk.
fn machine(place: &Place, name: &str, settings: &str) -> Result<Recipe, Failure> {
    let disk = Disk::backed_by(NULL).serial("null");
    Ok(recipe(place, Target::Ublade, name, settings)?.disk(disk))
}

fn timed(place: &Place, name: &str, words: &str, holds: Contents) -> Result<Serving, Failure> {
    Serving::start_machine(place, machine(place, name, words)?, None, holds)
}

fn counting(place: &Place, name: &str, words: &str, holds: Contents) -> Result<Serving, Failure> {
    let name = format!("{name}-instructions");
    let file = place.folder.join(format!("{name}.counts"));
    let counter = Counter::new(&place.plugin, file, Watch::Instructions);
    let recipe = machine(place, &name, words)?.append(NO_SPINNING);
    Serving::start_machine(place, recipe, Some(counter), holds)
}

/// What a read of the disk loop costs, at its cheapest.
fn disk_instructions(place: &Place, pace: Pace) -> Result<f64, Failure> {
    let mut machine = counting(place, "limit-disk", &disk_loop(), Contents::Unknown)?;
    thread::sleep(DISK_SETTLE);
    let mut least = f64::INFINITY;
    for _ in 0..pace.rounds {
        let (reads, instructions) = over(&mut machine, pace.turn)?;
        least = least.min(instructions as f64 / reads as f64);
    }
    Ok(least)
}

/// The disk's reads and the guest's instructions in so much time.
fn over(machine: &mut Serving, time: Duration) -> Result<(u64, u64), Failure> {
    let (reads, counts) = (machine.disk_reads()?, machine.counts()?);
    thread::sleep(time);
    let (reads_now, counts_now) = (machine.disk_reads()?, machine.counts()?);
    if reads_now == reads {
        return Err(Failure::new("the disk loop of the node does not read"));
    }
    let instructions = counts_now.since(counts).instructions;
    Ok((reads_now - reads, instructions))
}
