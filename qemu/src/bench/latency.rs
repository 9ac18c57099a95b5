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
        let mut sorted = self.nanoseconds.clone();
        sorted.sort_unstable();
        // The smallest value that at least `thousandths` of all do not exceed.
        let at = |thousandths: usize| {
            let rank = (sorted.len() * thousandths).div_ceil(1000).max(1);
            sorted
                .get(rank - 1)
                .map_or(0.0, |&nanoseconds| nanoseconds as f64 / 1000.0)
        };
        Percentiles {
            p50: at(500),
            p99: at(990),
            p999: at(999),
            max: at(1000),
        }
    }
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
