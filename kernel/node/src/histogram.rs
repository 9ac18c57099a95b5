//! How long requests took, in powers of two of a microsecond.
//!
//! A turn has one time, so what begins and ends within a turn took 0 us here;
//! what a histogram is for is the tail.

/// Buckets: below 1 us, below 2, below 4, ... ; the last holds everything from
/// about 4 s on.
pub const BUCKETS: usize = 24;

/// Counts by duration. A count that is full stays full.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u32; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn note(&mut self, us: u64) {
        let bucket = (u64::BITS - us.leading_zeros()) as usize;
        let count = &mut self.counts[bucket.min(BUCKETS - 1)];
        *count = count.saturating_add(1);
    }

    /// The counts. Bucket 0 is 0 us, bucket n is below 2^n us and at least half
    /// of that.
    pub fn counts(&self) -> &[u32; BUCKETS] {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
