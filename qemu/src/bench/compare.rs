//! The node beside vblade: the same loads, in turns, in one run.
//!
//! All targets are up all the time and idle but for one. A round asks each load of
//! each target, one right after the other, so that a quarter of an hour in which the
//! machine was busy is everybody's; a ratio is taken within a round, and its spread
//! over the rounds says what it is worth.

use super::counter::Watch;
use super::counts::{Effort, Measured, cheapest, counted};
use super::latency::{Latencies, Percentiles};
use super::load::{Access, Load, Order, Trouble, Until};
use super::parts::Pace;
use super::spread::Spread;
use super::target::{Place, Serving, Target, WINDOW_SECTORS};
use crate::Failure;

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
    /// The same, finer: see [`Latencies::distribution`].
    pub distribution: Vec<f64>,
    /// What went wrong with answers.
    pub trouble: Trouble,
}

/// The loads that are compared: what fits an ordinary and a jumbo frame, alone and
/// many at once, both ways.
fn loads() -> Vec<Load> {
    let mut loads = super::loads();
    loads.retain(|load| matches!(load.sectors, 2 | 17));
    loads
}

/// Measures every target. What is `known` of the node's instructions is not counted again.
pub(super) fn compare_targets(
    place: &Place,
    pace: Pace,
    known: &[Measured],
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Row>, Failure> {
    let mut timed = Vec::new();
    for target in Target::ALL {
        say(&format!("{}: start", target.name()));
        timed.push((target, Serving::start(place, target, "", None)?));
    }
    let mut rows = time(&mut timed, pace, say)?;
    drop(timed);
    for target in Target::ALL {
        say(&format!("{}: instructions", target.name()));
        let mut serving = counted(place, target, Watch::Instructions)?;
        for row in rows.iter_mut().filter(|row| row.target == target) {
            let known = known.iter().find(|known| known.load == row.load);
            row.instructions = match (target, known) {
                (Target::Ublade, Some(known)) => known.instructions,
                (Target::Ublade, None) => {
                    let effort = Effort::for_node(row.load.depth);
                    cheapest(&mut serving, row.load, effort)?.instructions
                }
                _ => {
                    let effort = Effort::for_rival(row.load.depth);
                    cheapest(&mut serving, row.load, effort)?.instructions
                }
            };
        }
    }
    Ok(rows)
}

/// Every load in turns.
fn time(
    timed: &mut [(Target, Serving)],
    pace: Pace,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Row>, Failure> {
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
    for round in 1..=pace.rounds {
        say(&format!("round {round} of {}", pace.rounds));
        for (target, load, per_second, latencies, trouble) in &mut all {
            let (_, serving) = timed
                .iter_mut()
                .find(|(who, _)| who == target)
                .expect("the rows were made from these");
            let outcome = serving.drive(*load, Until::Time(pace.turn))?;
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
                distribution: latencies.distribution(),
                trouble,
            }
        })
        .collect())
}
