//! Time, in microseconds since the node started.

use core::ops::{Add, Sub};

/// A point in time: microseconds since start. Never runs backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub u64);

impl Instant {
    /// Microseconds from `earlier` to here, 0 if `earlier` is later.
    #[inline]
    pub const fn since_us(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Instant {
    type Output = Self;
    /// The instant `us` microseconds later.
    #[inline]
    fn add(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }
}

impl Sub for Instant {
    type Output = u64;
    /// Microseconds between two instants, 0 if `earlier` is later.
    #[inline]
    fn sub(self, earlier: Self) -> u64 {
        self.since_us(earlier)
    }
}

/// Where time comes from: the processor's counter, or a simulation.
pub trait Clock {
    /// The time now.
    fn now(&self) -> Instant;
}
