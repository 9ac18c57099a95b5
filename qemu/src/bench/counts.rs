//! What a request costs, in counts.
//!
//! Whatever a machine does between requests (a tick, a sleep, a wake-up because
//! the host was slow to bring the next frame) is counted with them, and it only
//! ever adds. A window of 32 that the host brings in drips costs more than one
//! that comes at once, too. So a load runs in many short batches, until they do not
//! get cheaper, and the cheapest counts: it is the one that the host disturbed
//! least, and nearly the same on a busy machine as on an idle one; a mean is not.

use super::counter::{Counter, Watch};
use super::load::{Access, Load, Order, Until};
use super::target::{Place, Serving, Target};
use crate::{Failure, OrFail};

/// What one load costs a node.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// The load.
    pub load: Load,
    /// Guest instructions a request.
    pub instructions: f64,
    /// Device-register accesses a request, reads and writes.
    pub accesses: f64,
    /// Requests a second, of the run that counts only instructions.
    pub per_second: f64,
}

impl Measured {
    /// The cheaper of two measurements of one load, each figure on its own.
    #[must_use]
    pub fn or(self, again: Self) -> Self {
        Self {
            load: self.load,
            instructions: self.instructions.min(again.instructions),
            accesses: self.accesses.min(again.accesses),
            per_second: self.per_second.max(again.per_second),
        }
    }
}

/// How long the cheapest batch is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Requests of a batch.
    requests: u64,
    /// Batches in a row that were no cheaper: then the cheapest is found.
    patience: u32,
    /// Batches at most.
    batches_max: u32,
}

impl Effort {
    /// For the node. A batch is short, so that on a busy machine some find the
    /// host at rest, and long enough that the odd wake-up at its ends is nothing.
    pub(super) const fn for_node(depth: usize) -> Self {
        Self {
            requests: if depth == 1 { 100 } else { 640 },
            patience: 25,
            batches_max: 150,
        }
    }

    /// For [`copies`](super::copies()), where what is looked for is larger than
    /// what a busy host adds.
    pub(super) const fn for_copies() -> Self {
        Self {
            requests: 320,
            patience: 6,
            batches_max: 30,
        }
    }

    /// For a rival, which takes twenty times as long: its figures are not kept.
    pub(super) const fn for_rival(depth: usize) -> Self {
        Self {
            requests: if depth == 1 { 100 } else { 400 },
            patience: 2,
            batches_max: 4,
        }
    }
}

/// A batch that is cheaper by less than this is no cheaper.
const CHEAPER: f64 = 0.995;

/// The loads that are counted: 512 bytes, what fits an ordinary frame, 4 KiB and
/// what fits a jumbo frame; alone and many at once; both ways.
pub fn loads() -> Vec<Load> {
    [1, 32]
        .iter()
        .flat_map(|&depth| {
            [1, 2, 8, 17].iter().flat_map(move |&sectors| {
                [Access::Read, Access::Write].map(|access| Load {
                    access,
                    order: Order::Sequential,
                    sectors,
                    depth,
                })
            })
        })
        .collect()
}

/// The loads that are counted by every run of the tests: the smallest and the largest
/// frame of many at once, both ways. Alone, a request's count does not repeat.
pub fn loads_of_the_check() -> Vec<Load> {
    let mut loads = loads();
    loads.retain(|load| load.depth > 1 && matches!(load.sectors, 2 | 17));
    loads
}

/// Measures `loads` against a node; `done` is called after each.
pub fn measure(
    place: &Place,
    loads: &[Load],
    mut done: impl FnMut(&Measured),
) -> Result<Vec<Measured>, Failure> {
    let mut plain = counted(place, Target::Ublade, Watch::Instructions)?;
    let mut watched = counted(place, Target::Ublade, Watch::Registers)?;
    let mut all = Vec::new();
    for &load in loads {
        let effort = Effort::for_node(load.depth);
        let plain = cheapest(&mut plain, load, effort)?;
        let watched = cheapest(&mut watched, load, effort)?;
        let measured = Measured {
            load,
            instructions: plain.instructions,
            accesses: watched.accesses,
            per_second: plain.per_second,
        };
        done(&measured);
        all.push(measured);
    }
    Ok(all)
}

/// `target` with a counter in it. Where instructions are counted the node does not
/// spin: what it does while it waits is no part of a request. Spinning touches no
/// register, so these are counted as the node comes.
pub(super) fn counted(place: &Place, target: Target, watch: Watch) -> Result<Serving, Failure> {
    let file = format!("{}-{}.counts", target.file_name(), watch.name());
    let file = place.folder.join(file);
    let counter = Counter::new(&place.plugin, file, watch);
    let settings = match watch {
        Watch::Instructions | Watch::Memory => NO_SPINNING,
        Watch::Registers | Watch::Processors => "",
    };
    Serving::start(place, target, settings, Some(counter))
}

/// The node over a RAM disk, its stores counted.
pub(super) fn counted_on_memory(place: &Place) -> Result<Serving, Failure> {
    let file = place.folder.join("ram-disk.counts");
    let counter = Counter::new(&place.plugin, file, Watch::Memory);
    Serving::start_on_memory(place, NO_SPINNING, counter)
}

/// The setting of a node that does not spin before it sleeps.
pub(super) const NO_SPINNING: &str = "ublade.poll=0";

/// What a load costs at its cheapest, each figure on its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub instructions: f64,
    pub accesses: f64,
    pub stored: f64,
    pub per_second: f64,
}

/// Runs batches of `load` until they do not get cheaper.
pub(super) fn cheapest(serving: &mut Serving, load: Load, effort: Effort) -> Result<Cost, Failure> {
    let until = Until::Requests(effort.requests);
    // The first one fills the caches of translated code and is not looked at.
    serving.drive(load, until)?;
    let mut best: Option<Cost> = None;
    let mut in_vain = 0;
    for _ in 0..effort.batches_max {
        let before = serving.counts()?;
        let outcome = serving.drive(load, until)?;
        let counts = serving.counts()?.since(before);
        // A batch with a resend in it has one request more than was counted.
        if !outcome.trouble.is_none() {
            continue;
        }
        let a_request = |count: u64| count as f64 / effort.requests as f64;
        let cost = Cost {
            instructions: a_request(counts.instructions),
            accesses: a_request(counts.accesses()),
            stored: a_request(counts.bytes_stored),
            per_second: outcome.per_second(),
        };
        let is_cheaper = best.is_none_or(|best| {
            cost.instructions < best.instructions * CHEAPER
                || cost.accesses < best.accesses * CHEAPER
        });
        in_vain = if is_cheaper { 0 } else { in_vain + 1 };
        best = Some(best.map_or(cost, |best| Cost {
            instructions: best.instructions.min(cost.instructions),
            accesses: best.accesses.min(cost.accesses),
            stored: best.stored.min(cost.stored),
            per_second: best.per_second.max(cost.per_second),
        }));
        if in_vain == effort.patience {
            break;
        }
    }
    best.or_fail(format_args!("{}: every batch lost requests", load.name()))
}
