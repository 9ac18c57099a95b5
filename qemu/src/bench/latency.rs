//! How long answers took: every one of them, not a guess from buckets.
//!
//! A run has some ten thousand answers, so keeping each costs less than explaining
//! the error of a histogram.

use std::time::Duration;

/// Answer times.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    nanoseconds: Vec<u64>,
}

/// What is told of them, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Percentiles {
    /// Half of the answers were faster.
    pub p50: f64,
    /// 99 of 100 were.
    pub p99: f64,
    /// 999 of 1000 were.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Latencies {
    /// One more answer.
    pub fn add(&mut self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.push(nanoseconds);
    }

    /// Those of another run as well.
    pub fn append(&mut self, other: &Self) {
        self.nanoseconds.extend(&other.nanoseconds);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nanoseconds.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nanoseconds.is_empty()
    }

    /// The percentiles; all zero of nothing.
    pub fn percentiles(&self) -> Percentiles {
        let sorted = self.sorted();
        let at = |thousandths: usize| at(&sorted, thousandths, 1000);
        Percentiles {
            p50: at(500),
            p99: at(990),
            p999: at(999),
            max: at(1000),
        }
    }

    /// The times in microseconds that the parts of [`PARTS`] do not exceed.
    pub fn distribution(&self) -> Vec<f64> {
        let sorted = self.sorted();
        PARTS
            .iter()
            .map(|&part| at(&sorted, part, PARTS_OF))
            .collect()
    }

    fn sorted(&self) -> Vec<u64> {
        let mut sorted = self.nanoseconds.clone();
        sorted.sort_unstable();
        sorted
    }
}

/// The parts of a distribution, of [`PARTS_OF`]: ever finer towards the slowest.
pub const PARTS: [usize; 16] = [
    1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000, 9_500, 9_800, 9_900, 9_950,
    9_980, 9_990, 9_999,
];
/// All of them.
pub const PARTS_OF: usize = 10_000;

/// The smallest value, in microseconds, that at least `part` of `all` do not exceed.
fn at(sorted: &[u64], part: usize, all: usize) -> f64 {
    let rank = (sorted.len() * part).div_ceil(all).max(1);
    sorted
        .get(rank - 1)
        .map_or(0.0, |&nanoseconds| nanoseconds as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let mut all = Latencies::default();
        assert_eq!(all.percentiles(), Percentiles::default());
        for microseconds in (1..=1000).rev() {
            all.add(Duration::from_micros(microseconds));
        }
        let Percentiles {
            p50,
            p99,
            p999,
            max,
        } = all.percentiles();
        assert_eq!((p50, p99, p999, max), (500.0, 990.0, 999.0, 1000.0));
    }

    #[test]
    fn of_a_single_answer_every_percentile_is_that_answer() {
        let mut one = Latencies::default();
        one.add(Duration::from_micros(7));
        let found = one.percentiles();
        assert_eq!((found.p50, found.max), (7.0, 7.0));
    }
}
