//! The node beside vblade: the same loads, in turns, in one run.
//!
//! All targets are up all the time and idle but for one. A round asks each load of
//! each target, one right after the other, so that a quarter of an hour in which the
//! machine was busy is everybody's; a ratio is taken within a round, and its spread
//! over the rounds says what it is worth.

use super::copies::Copies;
use super::counter::Watch;
use super::counts::{Effort, Measured, cheapest, counted};
use super::crowd::{Crowd, crowd};
use super::devices::OnDevices;
use super::latency::{Latencies, Percentiles};
use super::load::{Access, Contents, Load, Order, Trouble, Until};
use super::rest::at_rest;
use super::target::{Place, Serving, Target, WINDOW_SECTORS};
use crate::Failure;
use crate::machine::{Disk, scratch_disk};
use std::time::Duration;

/// How often every target has its turn at every load.
const ROUNDS: usize = 7;
/// How long a turn is. Many short ones say more than a few long ones: what else
/// the machine does comes and goes within seconds.
const TURN: Duration = Duration::from_millis(350);
/// How long the disk that keeps data is written and read.
const VERIFY: Duration = Duration::from_millis(2_500);

/// Least, median and most of several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least.
    pub low: f64,
    /// The one in the middle.
    pub median: f64,
    /// The most.
    pub high: f64,
}

impl Spread {
    /// Of these values; all zero of none.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Self {
            low: at(0),
            median: at(sorted.len() / 2),
            high: at(sorted.len().saturating_sub(1)),
        }
    }
}

/// One target at one load.
#[derive(Clone, Debug)]
pub struct Row {
    /// Who.
    pub target: Target,
    /// What.
    pub load: Load,
    /// Guest instructions a request.
    pub instructions: f64,
    /// Requests a second, by round.
    pub per_second: Vec<f64>,
    /// How often the node's requests a second are this target's.
    pub ublade_is: Spread,
    /// Answer times of all rounds.
    pub latency: Percentiles,
    /// What went wrong with answers.
    pub trouble: Trouble,
}

/// What a target does when nothing is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// Who.
    pub target: Target,
    /// Guest instructions a second.
    pub instructions_per_second: f64,
}

/// From the start of QEMU to the first answer.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Who.
    pub target: Target,
    /// Milliseconds.
    pub milliseconds: Spread,
}

/// A mixed load on a disk that keeps what is written, every read verified.
#[derive(Clone, Copy, Debug)]
pub struct Verified {
    /// Who.
    pub target: Target,
    /// The load.
    pub load: Load,
    /// Requests answered.
    pub requests: u64,
    /// What went wrong with answers.
    pub trouble: Trouble,
}

/// What was counted of the node alone.
#[derive(Clone, Debug)]
pub struct Ours {
    /// What a request costs it, for every load of the snapshot.
    pub measured: Vec<Measured>,
    /// How much of a request's data its processor copies.
    pub copies: Copies,
    /// What a read costs it with other devices.
    pub devices: Vec<OnDevices>,
}

/// All that one run has shown.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What is known of the node alone.
    pub ours: Ours,
    /// Every target at every load.
    pub rows: Vec<Row>,
    /// At rest.
    pub idle: Vec<Idle>,
    /// Too much at once, and one host beside another.
    pub crowds: Vec<(Target, Crowd)>,
    /// To the first answer.
    pub starts: Vec<Start>,
    /// With data.
    pub verified: Vec<Verified>,
}

/// The loads that are compared: what fits an ordinary and a jumbo frame, alone and
/// many at once, both ways.
fn loads() -> Vec<Load> {
    let mut loads = super::loads();
    loads.retain(|load| matches!(load.sectors, 2 | 17));
    loads
}

/// Measures every target; `ours` is what [`super::measure`] and [`super::copies()`]
/// found. Each step is told to `say` as it begins.
pub fn compare_targets(
    place: &Place,
    ours: Ours,
    say: &mut dyn FnMut(&str),
) -> Result<Comparison, Failure> {
    let mut starts: Vec<(Target, Duration)> = Vec::new();
    let mut verified = Vec::new();
    for target in Target::ALL {
        say(&format!("{}: a disk that keeps data", target.name()));
        let (row, start) = verify(place, target)?;
        verified.push(row);
        starts.push((target, start));
    }

    let mut timed = Vec::new();
    for target in Target::ALL {
        say(&format!("{}: start", target.name()));
        let serving = Serving::start(place, target, "", None)?;
        starts.push((target, serving.first_answer()));
        timed.push((target, serving));
    }
    let mut rows = time(&mut timed, say)?;
    drop(timed);

    let mut idle = Vec::new();
    for target in Target::ALL {
        say(&format!("{}: at rest", target.name()));
        let mut serving = counted(place, target, Watch::Instructions)?;
        // Before the loads: what they left in a page cache is written back for
        // half a minute, and that is work.
        idle.push(Idle {
            target,
            instructions_per_second: at_rest(&serving)?,
        });
        say(&format!("{}: instructions", target.name()));
        for row in rows.iter_mut().filter(|row| row.target == target) {
            let known = ours.measured.iter().find(|known| known.load == row.load);
            row.instructions = match (target, known) {
                (Target::Ublade, Some(known)) => known.instructions,
                _ => {
                    let effort = Effort::for_rival(row.load.depth);
                    cheapest(&mut serving, row.load, effort)?.instructions
                }
            };
        }
    }

    let mut crowds = Vec::new();
    for target in [Target::Ublade, Target::VbladeDirect] {
        say(&format!("{}: a crowd", target.name()));
        crowds.push((target, crowd(place, target)?));
    }

    let starts = Target::ALL.map(|target| {
        let milliseconds: Vec<f64> = starts
            .iter()
            .filter(|(who, _)| *who == target)
            .map(|(_, after)| after.as_secs_f64() * 1000.0)
            .collect();
        Start {
            target,
            milliseconds: Spread::of(&milliseconds),
        }
    });
    Ok(Comparison {
        ours,
        rows,
        idle,
        crowds,
        starts: starts.to_vec(),
        verified,
    })
}

/// A mixed load at random places of a file, and the time to the first answer.
fn verify(place: &Place, target: Target) -> Result<(Verified, Duration), Failure> {
    let load = Load {
        access: Access::Mixed,
        order: Order::Random,
        sectors: 8,
        depth: 32,
    };
    let path = place.folder.join(format!("{}.img", target.file_name()));
    scratch_disk(&path, WINDOW_SECTORS * 512)?;
    let disk = Disk::file(&path).serial("file");
    let contents = Contents::kept(load, WINDOW_SECTORS);
    let mut serving = Serving::start_over(place, target, "", None, disk, contents)?;
    let outcome = serving.drive(load, Until::Time(VERIFY))?;
    let row = Verified {
        target,
        load,
        requests: outcome.requests,
        trouble: outcome.trouble,
    };
    Ok((row, serving.first_answer()))
}

/// Every load in turns, [`ROUNDS`] times.
fn time(timed: &mut [(Target, Serving)], say: &mut dyn FnMut(&str)) -> Result<Vec<Row>, Failure> {
    // Once over the window: translated code, page caches, sleep habits.
    for (_, serving) in timed.iter_mut() {
        let warm = Load {
            access: Access::Read,
            order: Order::Sequential,
            sectors: 17,
            depth: 32,
        };
        serving.drive(warm, Until::Requests(WINDOW_SECTORS / 17))?;
    }
    let mut all = Vec::new();
    for load in loads() {
        for (target, _) in timed.iter() {
            all.push((
                *target,
                load,
                Vec::new(),
                Latencies::default(),
                Trouble::default(),
            ));
        }
    }
    for round in 1..=ROUNDS {
        say(&format!("round {round} of {ROUNDS}"));
        for (target, load, per_second, latencies, trouble) in &mut all {
            let (_, serving) = timed
                .iter_mut()
                .find(|(who, _)| who == target)
                .expect("the rows were made from these");
            let outcome = serving.drive(*load, Until::Time(TURN))?;
            per_second.push(outcome.per_second());
            latencies.append(&outcome.latencies);
            *trouble = trouble.and(outcome.trouble);
        }
    }
    let ours: Vec<(Load, Vec<f64>)> = all
        .iter()
        .filter(|row| row.0 == Target::Ublade)
        .map(|row| (row.1, row.2.clone()))
        .collect();
    Ok(all
        .into_iter()
        .map(|(target, load, per_second, latencies, trouble)| {
            let ours = ours.iter().find(|(other, _)| *other == load);
            let ratios: Vec<f64> = ours
                .map_or(&[][..], |(_, ours)| ours)
                .iter()
                .zip(&per_second)
                .map(|(ours, theirs)| ours / theirs)
                .collect();
            Row {
                target,
                load,
                instructions: 0.0,
                per_second,
                ublade_is: Spread::of(&ratios),
                latency: latencies.percentiles(),
                trouble,
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_one_of_the_values_and_none_is_zero() {
        let of = |values: &[f64]| {
            let Spread { low, median, high } = Spread::of(values);
            (low, median, high)
        };
        assert_eq!(of(&[3.0, 1.0, 2.0]), (1.0, 2.0, 3.0));
        assert_eq!(of(&[5.0]), (5.0, 5.0, 5.0));
        assert_eq!(of(&[]), (0.0, 0.0, 0.0));
    }
}
