//! Too much at once, and one host beside another.
//!
//! Two questions that a single window does not answer. What is left of the
//! throughput when ten times as many requests are on their way as are needed to reach it:
//! a target that drops what it cannot hold and works on is fine, one that works at
//! what nobody waits for any more is not. And what a host with one request at a time
//! gets beside a host that keeps 64 on their way: that one is a machine that boots.
//!
//! Reads of 1 KiB from the disk that moves no data. Each figure is the best of some
//! short runs, since all that a busy machine does is to make it worse.

use super::load::{Access, Load, Order, Until};
use super::target::{Place, Serving, Target};
use crate::Failure;
use std::time::Duration;

/// The windows at which the most is looked for, and ten times as much.
const WINDOWS: [usize; 2] = [32, 64];
const OVERLOAD: usize = 640;
/// The window of the host that asks for much.
const GREEDY: usize = 64;
/// How often and how long.
const RUNS: usize = 5;
const TURN: Duration = Duration::from_millis(400);

/// Requests a second.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// The most that one host gets.
    pub peak: f64,
    /// With ten times as many on their way.
    pub overload: f64,
    /// What one with a window of 1 gets beside another one like it.
    pub beside_its_like: f64,
    /// What it gets beside one with a window of 64.
    pub beside_greedy: f64,
}

impl Crowd {
    /// The part of the peak that is left under overload.
    pub fn goodput(&self) -> f64 {
        self.overload / self.peak
    }

    /// The part that is left to the modest one.
    pub fn fairness(&self) -> f64 {
        self.beside_greedy / self.beside_its_like
    }
}

fn load(depth: usize) -> Load {
    Load {
        access: Access::Read,
        order: Order::Sequential,
        sectors: 2,
        depth,
    }
}

/// Measures `target`.
pub(super) fn crowd(place: &Place, target: Target) -> Result<Crowd, Failure> {
    let mut serving = Serving::start_for_two(place, target)?;
    let mut most = Crowd {
        peak: 0.0,
        overload: 0.0,
        beside_its_like: 0.0,
        beside_greedy: 0.0,
    };
    let in_a_second = |requests: u64| requests as f64 / TURN.as_secs_f64();
    for _ in 0..RUNS {
        for depth in WINDOWS {
            let outcome = serving.drive(load(depth), Until::Time(TURN))?;
            most.peak = most.peak.max(in_a_second(outcome.in_time));
        }
        let outcome = serving.drive(load(OVERLOAD), Until::Time(TURN))?;
        most.overload = most.overload.max(in_a_second(outcome.in_time));
        for (other, rate) in [
            (1, &mut most.beside_its_like),
            (GREEDY, &mut most.beside_greedy),
        ] {
            let [modest, _] = serving.drive_both([load(1), load(other)], Until::Time(TURN))?;
            *rate = rate.max(in_a_second(modest.in_time));
        }
    }
    Ok(most)
}
