//! How long to spin before sleeping.
//!
//! Waking costs a few microseconds on hardware and some ten in a guest; spinning
//! costs a core that others may need. So we learn: a sleep that ended soon would
//! have been cheaper as a spin, and the spin grows; a sleep that lasted shows
//! that spinning was for nothing, and it shrinks to nothing. An idle node uses
//! no processor, a busy one never sleeps.
//!
//! A guest does not see who else needs its core, but it sees that its time jumps: a turn
//! of the loop takes microseconds, and one that took hundreds was taken from us in
//! between. Whoever spins there takes the core from those that bring the next
//! request, so nothing is learned for a while, and every wait is a sleep.

/// Longest spin that is learned. About ten times what a sleep costs in a guest.
pub const SPIN_MAX_US: u32 = 100;
/// The first spin that is tried once sleeps turn out short.
pub const SPIN_FIRST_US: u32 = 10;

/// A turn without work that took longer than this was interrupted by the host.
const TAKEN_US: u64 = 300;
/// Sleeps until a spin is tried again on a host that takes our core.
const SLEEPS_AFTER: u32 = 2_000;

/// What has been learned.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    fixed_us: Option<u32>,
    learned_us: u32,
    /// Sleeps from which nothing is learned.
    wary: u32,
}

impl Patience {
    /// As the operator wants it: microseconds, or learn.
    pub const fn new(fixed_us: Option<u32>) -> Self {
        Self {
            fixed_us,
            learned_us: 0,
            wary: 0,
        }
    }

    /// How long to spin, from the moment that nothing moved any more.
    pub const fn spin_us(&self) -> u64 {
        match self.fixed_us {
            Some(us) => us as u64,
            None => self.learned_us as u64,
        }
    }

    /// A turn of a spin took `us`.
    pub const fn spun(&mut self, us: u64) {
        if us > TAKEN_US {
            self.learned_us = 0;
            self.wary = SLEEPS_AFTER;
        }
    }

    /// A sleep lasted `us`, until work came.
    pub const fn slept(&mut self, us: u64) {
        if self.wary > 0 {
            self.wary -= 1;
            return;
        }
        self.learned_us = if us > SPIN_MAX_US as u64 {
            self.learned_us / 2
        } else if self.learned_us == 0 {
            SPIN_FIRST_US
        } else if self.learned_us >= SPIN_MAX_US / 2 {
            SPIN_MAX_US
        } else {
            self.learned_us * 2
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_sleeps_teach_to_spin_up_to_the_limit() {
        let mut patience = Patience::new(None);
        assert_eq!(patience.spin_us(), 0);
        for _ in 0..10 {
            patience.slept(5);
            assert!(patience.spin_us() <= u64::from(SPIN_MAX_US));
        }
        assert_eq!(patience.spin_us(), u64::from(SPIN_MAX_US));
    }

    #[test]
    fn who_is_interrupted_while_spinning_sleeps_for_a_while_and_tries_again() {
        let mut patience = Patience::new(None);
        for _ in 0..10 {
            patience.slept(5);
        }
        patience.spun(TAKEN_US);
        assert_eq!(patience.spin_us(), u64::from(SPIN_MAX_US));
        patience.spun(TAKEN_US + 1);
        for _ in 0..SLEEPS_AFTER {
            assert_eq!(patience.spin_us(), 0);
            patience.slept(5);
        }
        patience.slept(5);
        assert_eq!(patience.spin_us(), u64::from(SPIN_FIRST_US));
    }

    #[test]
    fn long_sleeps_teach_not_to_spin_at_all() {
        let mut patience = Patience::new(None);
        for _ in 0..10 {
            patience.slept(1);
        }
        for _ in 0..10 {
            patience.slept(u64::from(SPIN_MAX_US) + 1);
        }
        assert_eq!(patience.spin_us(), 0);
    }

    #[test]
    fn the_operators_word_is_not_unlearned() {
        let mut patience = Patience::new(Some(7));
        patience.slept(1);
        patience.slept(1_000_000);
        assert_eq!(patience.spin_us(), 7);
    }
}
