//! What a request costs each of two processors, and one that does all.
//!
//! How many requests two processors serve can be timed only where the host has a core
//! for each and a third for the load. What can be counted anywhere is how much each has
//! to do for a request: if both run at once, the one with more to do is the limit, so
//! the instructions that one processor alone needs, divided by those, is how many times
//! the requests two of them serve. Waiting is counted as well, as sleeps and wake-ups.

use super::counter::{Counter, Watch};
use super::counts::NO_SPINNING;
use super::load::{Access, Load, Order, Until};
use super::target::{NULL, Place, Serving};
use crate::machine::{Disk, Recipe};
use crate::{Failure, OrFail};

/// What a load costs one processor that does all, and each of two.
#[derive(Clone, Copy, Debug)]
pub struct OnProcessors {
    /// The load.
    pub load: Load,
    /// Guest instructions a request on the only one.
    pub alone: f64,
    /// On the node's, and on that of the devices.
    pub each: [f64; 2],
}

impl OnProcessors {
    /// How many times the requests two serve, each on a core of the host's.
    pub fn scale(&self) -> f64 {
        self.alone / self.each[0].max(self.each[1])
    }
}

/// The setting, by the number of processors.
const SETTINGS: [&str; 2] = ["ublade.cpus=1", "ublade.cpus=2"];
const CARD: &str = "virtio-net-pci";
/// Requests of a batch, and batches at most and in vain: see `counts`.
const REQUESTS: u64 = 640;
const BATCHES_MAX: u32 = 150;
const PATIENCE: u32 = 25;

/// Counts reads and writes that an ordinary frame carries, 32 at once; `done` is called
/// after each.
pub(super) fn processors(
    place: &Place,
    mut done: impl FnMut(&OnProcessors),
) -> Result<Vec<OnProcessors>, Failure> {
    let mut one = start(place, 1)?;
    let mut two = start(place, 2)?;
    let mut all = Vec::new();
    for access in [Access::Read, Access::Write] {
        let load = Load {
            access,
            order: Order::Sequential,
            sectors: 2,
            depth: 32,
        };
        let on = OnProcessors {
            load,
            alone: cheapest(&mut one, load)?[0],
            each: cheapest(&mut two, load)?,
        };
        done(&on);
        all.push(on);
    }
    Ok(all)
}

fn start(place: &Place, cpus: u32) -> Result<Serving, Failure> {
    let name = format!("processors-{cpus}");
    let counts = place.folder.join(format!("{name}.counts"));
    let counter = Counter::new(&place.plugin, counts, Watch::Processors);
    let recipe = Recipe::node(&name, &place.boot)
        .cpus(cpus)
        .append("ublade.rw=all")
        .append(SETTINGS[cpus as usize - 1])
        .append(NO_SPINNING)
        .disk(Disk::backed_by(NULL).serial("null"));
    Serving::start_with_card(place, recipe, CARD, counter)
}

/// Of many batches, the one that cost the busier processor least.
fn cheapest(serving: &mut Serving, load: Load) -> Result<[f64; 2], Failure> {
    let until = Until::Requests(REQUESTS);
    serving.drive(load, until)?;
    let mut best: Option<[f64; 2]> = None;
    let mut in_vain = 0;
    let busier = |each: [f64; 2]| each[0].max(each[1]);
    for _ in 0..BATCHES_MAX {
        let before = serving.each()?;
        let outcome = serving.drive(load, until)?;
        let after = serving.each()?;
        if !outcome.trouble.is_none() {
            continue;
        }
        let cost = [0, 1].map(|cpu| (after[cpu] - before[cpu]) as f64 / REQUESTS as f64);
        let is_cheaper = best.is_none_or(|best| busier(cost) < busier(best));
        in_vain = if is_cheaper { 0 } else { in_vain + 1 };
        if is_cheaper {
            best = Some(cost);
        }
        if in_vain == PATIENCE {
            break;
        }
    }
    best.or_fail(format_args!("{}: every batch lost requests", load.name()))
}
