//! What a target does while nobody asks.
//!
//! Counted in guest instructions a second, so a busy host makes it no worse. The node is
//! counted with its management plane on, as people run it: an address, HTTP, and the
//! looks at disks, links, power button and watchdog.

use super::counter::{Counter, Watch};
use super::counts::counted;
use super::target::{Place, Serving, Target};
use crate::Failure;
use std::thread;
use std::time::{Duration, Instant};

/// How long a machine has after its start until it is called idle.
const SETTLE: Duration = Duration::from_secs(5);
/// How long nothing is asked of machines that are to be idle. The node wakes once a
/// second: one time more or less must not matter.
const IDLE: Duration = Duration::from_secs(10);
/// The most that the node may do: at a billion instructions a second, one part in two
/// hundred thousand.
const INSTRUCTIONS_MAX: f64 = 5000.0;
/// How often it is counted before it is believed to do more: somebody may have asked.
const TRIES: u32 = 3;

/// Instructions a second of a node at rest, with an address; a failure if they are too
/// many.
pub fn rest(place: &Place) -> Result<f64, Failure> {
    let file = place.folder.join("at-rest.counts");
    let counter = Counter::new(&place.plugin, file, Watch::Instructions);
    let settings = "ublade.ip=10.0.0.5/24";
    let serving = Serving::start(place, Target::Ublade, settings, Some(counter))?;
    let mut least = f64::INFINITY;
    for _ in 0..TRIES {
        least = least.min(at_rest(&serving)?);
        if least <= INSTRUCTIONS_MAX {
            return Ok(least);
        }
    }
    Err(Failure::new(format!(
        "at rest the node runs {least:.0} instructions a second; {INSTRUCTIONS_MAX} are allowed"
    )))
}

/// What a target does when nothing is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// Who.
    pub target: Target,
    /// Guest instructions a second.
    pub instructions_per_second: f64,
}

/// Any target at rest, before it has served: what a load leaves in a page cache is
/// written back for half a minute, and that is work. The node has an address.
pub(super) fn idle(place: &Place, target: Target) -> Result<Idle, Failure> {
    let instructions_per_second = match target {
        Target::Ublade => rest(place)?,
        _ => at_rest(&counted(place, target, Watch::Instructions)?)?,
    };
    Ok(Idle {
        target,
        instructions_per_second,
    })
}

/// Guest instructions a second while nothing is asked.
fn at_rest(serving: &Serving) -> Result<f64, Failure> {
    thread::sleep(SETTLE);
    let (before, began) = (serving.counts()?, Instant::now());
    thread::sleep(IDLE);
    let counts = serving.counts()?.since(before);
    Ok(counts.instructions as f64 / began.elapsed().as_secs_f64())
}
