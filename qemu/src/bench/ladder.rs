//! Latency against load: one window after the other, each twice the last.
//!
//! A closed window is a load that a target itself slows down: with ever more requests on
//! their way throughput rises until something is busy all the time, and from there on only
//! the wait grows. A plot of one against the other shows both ends at once.

use super::latency::{Latencies, Percentiles};
use super::load::{Access, Load, Order, Until};
use super::parts::Pace;
use super::spread::Spread;
use super::target::{Place, Serving, Target};
use crate::Failure;

/// The windows.
const DEPTHS: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// One window of one target.
#[derive(Clone, Debug)]
pub struct Rung {
    /// Who.
    pub target: Target,
    /// Requests on their way.
    pub depth: usize,
    /// Requests a second.
    pub per_second: Spread,
    /// Answer times of all rounds.
    pub latency: Percentiles,
}

/// Reads of 1 KiB from the null disk, all targets in turns.
pub(super) fn ladder(
    place: &Place,
    pace: Pace,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Rung>, Failure> {
    let mut serving = Vec::new();
    for target in Target::ALL {
        say(&format!("{}: start", target.name()));
        serving.push((target, Serving::start(place, target, "", None)?));
    }
    let mut all = Vec::new();
    for depth in DEPTHS {
        for target in Target::ALL {
            all.push((target, depth, Vec::new(), Latencies::default()));
        }
    }
    for round in 1..=pace.rounds {
        say(&format!("round {round} of {}", pace.rounds));
        for (target, depth, per_second, latencies) in &mut all {
            let load = Load {
                access: Access::Read,
                order: Order::Sequential,
                sectors: 2,
                depth: *depth,
            };
            let (_, serving) = serving
                .iter_mut()
                .find(|(who, _)| who == target)
                .expect("each of them was started");
            let outcome = serving.drive(load, Until::Time(pace.turn))?;
            per_second.push(outcome.per_second());
            latencies.append(&outcome.latencies);
        }
    }
    Ok(all
        .into_iter()
        .map(|(target, depth, per_second, latencies)| Rung {
            target,
            depth,
            per_second: Spread::of(&per_second),
            latency: latencies.percentiles(),
        })
        .collect())
}
