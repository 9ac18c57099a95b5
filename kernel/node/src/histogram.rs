//! How long requests took, in powers of two of a microsecond.
//!
//! A turn has one time, so what begins and ends within a turn took 0 us here;
//! what a histogram is for is the tail.

/// Buckets: below 1 us, below 2, below 4, ... ; the last holds everything from
/// about 4 s on.
pub const BUCKETS: usize = 24;

/// From here on everything is in the last bucket.
const LAST_US: u64 = 1 << (BUCKETS - 2);

/// Counts by duration. A count that is full stays full.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            sum_us: 0,
        }
    }
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub fn note(&mut self, us: u64) {
        // The number of bits; one more bit behind them, and it is a logarithm.
        let bucket = (us.min(LAST_US) << 1 | 1).ilog2() as usize;
        let count = &mut self.counts[bucket];
        // 64 bits are enough for a request a nanosecond, for centuries.
        *count += 1;
        self.sum_us = self.sum_us.wrapping_add(us);
    }

    /// All durations together.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Takes over what another one has counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// A time that `permille` of a thousand did not exceed, as the upper border of
    /// its bucket; `None` if nothing was counted.
    pub fn percentile_us(&self, permille: u64) -> Option<u64> {
        let count = self.count();
        let wanted = (count * permille).div_ceil(1000).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|&here| {
            seen += here;
            seen >= wanted
        })?;
        Some(1 << bucket)
    }

    /// The counts. Bucket 0 is 0 us, bucket n is below 2^n us and at least half
    /// of that.
    pub fn counts(&self) -> &[u64; BUCKETS] {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_border_that_so_many_did_not_pass() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile_us(500), None);
        for _ in 0..990 {
            histogram.note(3);
        }
        for _ in 0..10 {
            histogram.note(1000);
        }
        assert_eq!(histogram.percentile_us(500), Some(4));
        assert_eq!(histogram.percentile_us(990), Some(4));
        assert_eq!(histogram.percentile_us(991), Some(1024));
        assert_eq!(histogram.percentile_us(1000), Some(1024));
        assert_eq!((histogram.count(), histogram.sum_us()), (1000, 12_970));
    }

    #[test]
    fn both_sides_of_every_border_have_their_bucket() {
        for bit in 1..BUCKETS as u32 - 1 {
            let mut histogram = Histogram::default();
            histogram.note((1 << bit) - 1);
            histogram.note(1 << bit);
            assert_eq!(histogram.counts()[bit as usize], 1);
            assert_eq!(histogram.counts()[bit as usize + 1], 1);
        }
        let mut histogram = Histogram::default();
        histogram.note(0);
        histogram.note(u64::MAX);
        assert_eq!(histogram.counts()[0], 1);
        assert_eq!(histogram.counts()[BUCKETS - 1], 1);
    }
}
