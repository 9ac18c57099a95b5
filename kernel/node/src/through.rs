//! Whether a disk makes each write durable by itself, or many by one flush.
//!
//! A flush is a second trip to the disk. Writes that end together share it, and then it
//! costs next to nothing; a host that waits for each write before it sends the next one
//! pays for it every time. So a disk that does one write at a time is asked to write
//! through (`io::Disk::set_write_through`), until it does several at a time again.
//!
//! **Durable is what ended in the mode.** It is switched on only while the disk has
//! nothing to do and nothing waits for a flush, and off at any time: what is under way
//! then waits for a flush as if the mode had never been. Flushes that hosts ask for, and
//! those behind discards, go to the disk in either mode.
//!
//! **A write that fails in the mode is a flush that failed.** Others that were under way
//! are suspected with it (`Station::may_have_lost`), and so are those whose flush is. A
//! write that ends beside a flush waits for the next one: what the first comes to is not
//! known yet. Beside another write it does not; a disk tells failures in their order.
//!
//! Switching costs register accesses. Each time that it turns out to have been a mistake,
//! it takes twice as many lone writes to try it again.

use io::Instant;

/// So many flushes in a row for one write alone, with nothing else at the disk, turn it
/// on at first, and at most.
const LONE_MIN: u16 = 16;
const LONE_MAX: u16 = 1024;
/// So many more writes that ended among others than alone turn it off.
const CROWDED_MAX: u8 = 8;
/// With so many others at the disk, a flush would have been shared.
const OTHERS_MIN: usize = 2;

/// See the module's header.
pub struct Through {
    is_on: bool,
    /// The disk can not.
    refused: bool,
    crowded: u8,
    lone: u16,
    lone_wanted: u16,
    /// When it was last turned off.
    left_at: Option<Instant>,
}

impl Through {
    /// Off.
    pub const fn new() -> Self {
        Self {
            is_on: false,
            refused: false,
            crowded: 0,
            lone: 0,
            lone_wanted: LONE_MIN,
            left_at: None,
        }
    }

    /// Whether a write that ends now is durable.
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// A flush begins, for one write with nothing else at the disk or for more.
    pub fn flushes(&mut self, alone: bool) {
        self.lone = if alone {
            self.lone.saturating_add(1)
        } else {
            0
        };
    }

    /// Whether it should be turned on as soon as the disk has nothing to do.
    pub fn is_due(&self) -> bool {
        self.lone >= self.lone_wanted && !self.is_on && !self.refused
    }

    /// The disk was asked to turn it on, and is as it says.
    pub fn tried(&mut self, is_on: bool) {
        (self.is_on, self.refused) = (is_on, !is_on);
        (self.lone, self.crowded) = (0, 0);
    }

    /// A write has ended in the mode, and the disk has so many others. True if it is to be
    /// turned off.
    #[inline(always)]
    pub fn ended_beside(&mut self, others: usize) -> bool {
        if others < OTHERS_MIN {
            self.crowded = self.crowded.saturating_sub(1);
            return false;
        }
        self.crowded += 1;
        self.crowded >= CROWDED_MAX
    }

    /// It was turned off.
    pub fn left(&mut self, now: Instant) {
        (self.is_on, self.lone) = (false, 0);
        self.lone_wanted = (self.lone_wanted * 2).min(LONE_MAX);
        self.left_at = Some(now);
    }

    /// Whether a request that was taken over `since` then may have been at the disk in
    /// the mode.
    pub fn covers(&self, since: Instant) -> bool {
        self.is_on || self.left_at.is_some_and(|left_at| since <= left_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned_on() -> Through {
        let mut through = Through::new();
        through.tried(true);
        through
    }

    fn lone_until_due(through: &mut Through) -> u16 {
        for lone in 0..=LONE_MAX {
            if through.is_due() {
                return lone;
            }
            through.flushes(true);
        }
        panic!("it is never due");
    }

    #[test]
    fn lone_flushes_in_a_row_turn_it_on_and_one_that_is_shared_begins_anew() {
        let mut through = Through::new();
        (1..LONE_MIN).for_each(|_| through.flushes(true));
        assert!(!through.is_due());
        through.flushes(false);
        assert_eq!(lone_until_due(&mut through), LONE_MIN);
    }

    #[test]
    fn a_disk_that_cannot_is_asked_once() {
        let mut through = Through::new();
        lone_until_due(&mut through);
        through.tried(false);
        (0..2 * LONE_MAX).for_each(|_| through.flushes(true));
        assert!(!through.is_due() && !through.is_on());
        // However long it goes on: nothing begins the count anew there.
        (0..=u16::MAX).for_each(|_| through.flushes(true));
        assert!(!through.is_due() && !through.is_on());
    }

    #[test]
    fn every_mistake_makes_the_next_one_harder_up_to_a_bound() {
        let mut through = Through::new();
        let wanted: [u16; 8] = core::array::from_fn(|_| {
            let wanted = lone_until_due(&mut through);
            through.tried(true);
            through.left(Instant(5));
            wanted
        });
        assert_eq!(wanted, [16, 32, 64, 128, 256, 512, 1024, 1024]);
    }

    #[test]
    fn writes_among_others_turn_it_off_and_a_crowd_now_and_then_does_not() {
        let mut through = turned_on();
        (1..CROWDED_MAX).for_each(|_| assert!(!through.ended_beside(OTHERS_MIN)));
        assert!(through.ended_beside(OTHERS_MIN));
        let mut through = turned_on();
        for others in [3, 2, 1, 0].into_iter().cycle().take(400) {
            assert!(!through.ended_beside(others));
        }
    }

    #[test]
    fn what_was_taken_over_before_it_was_left_may_have_been_written_in_it() {
        let mut through = Through::new();
        assert!(!through.covers(Instant(5)));
        through.tried(true);
        assert!(through.covers(Instant(500)));
        through.left(Instant(500));
        assert!(through.covers(Instant(500)) && !through.covers(Instant(501)));
    }
}
