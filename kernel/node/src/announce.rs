//! When which export is announced on a port. Pure: it says what is due, the node
//! sends it when it has frames to spare, and asks again when it has not.

use crate::limits::ANNOUNCE_AT_US;
use io::Instant;

/// What one port still has to announce.
pub struct Announcer {
    /// One bit an export.
    due: [u64; 4],
    /// When the last series began.
    from: Instant,
    /// Rounds of the series that have begun; all of them: no series runs.
    rounds: usize,
}

impl Announcer {
    /// Nothing to announce.
    pub fn new() -> Self {
        Self {
            due: [0; 4],
            from: Instant(0),
            rounds: ANNOUNCE_AT_US.len(),
        }
    }

    /// Announces everything, several times: the port has just come up.
    pub fn begin(&mut self, now: Instant) {
        self.from = now;
        self.rounds = 0;
    }

    /// Announces one export once: something about it changed.
    pub fn add(&mut self, export: usize) {
        self.due[export / 64] |= 1 << (export % 64);
    }

    /// Announces everything once: something about the port changed.
    pub fn add_all(&mut self, exports: usize) {
        for export in 0..exports {
            self.add(export);
        }
    }

    /// Forgets everything: the port is down.
    pub fn stop(&mut self) {
        *self = Self::new();
    }

    /// Lets a round begin if it is time.
    #[inline]
    pub fn look(&mut self, now: Instant, exports: usize) {
        if self.next_round().is_some_and(|at| at <= now) {
            self.rounds += 1;
            self.add_all(exports);
        }
    }

    /// When the next round begins.
    #[inline]
    pub fn next_round(&self) -> Option<Instant> {
        ANNOUNCE_AT_US.get(self.rounds).map(|&us| self.from + us)
    }

    /// Whether something is due now.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.due.iter().any(|word| *word != 0)
    }

    /// The next export to announce; from now on it counts as announced.
    #[inline]
    pub fn take(&mut self) -> Option<usize> {
        let (index, word) = self
            .due
            .iter_mut()
            .enumerate()
            .find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros() as usize;
        *word &= *word - 1;
        Some(index * 64 + bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn drain(announcer: &mut Announcer) -> Vec<usize> {
        core::iter::from_fn(|| announcer.take()).collect()
    }

    #[test]
    fn a_port_that_comes_up_announces_three_times() {
        let mut announcer = Announcer::new();
        announcer.look(Instant(0), 2);
        assert!(!announcer.is_due());
        announcer.begin(Instant(50));
        for at in [50, 300_050, 1_000_050] {
            announcer.look(Instant(at - 1), 2);
            assert!(!announcer.is_due(), "not before {at}");
            assert_eq!(announcer.next_round(), Some(Instant(at)));
            announcer.look(Instant(at), 2);
            assert_eq!(drain(&mut announcer), [0, 1]);
        }
        assert_eq!(announcer.next_round(), None);
    }

    #[test]
    fn every_export_up_to_the_last_has_its_bit() {
        let mut announcer = Announcer::new();
        announcer.add_all(255);
        assert_eq!(drain(&mut announcer), (0..255).collect::<Vec<_>>());
        announcer.add(254);
        announcer.add(63);
        announcer.add(64);
        announcer.add(64);
        assert_eq!(drain(&mut announcer), [63, 64, 254]);
    }

    #[test]
    fn a_port_that_goes_down_announces_nothing_more() {
        let mut announcer = Announcer::new();
        announcer.begin(Instant(0));
        announcer.look(Instant(0), 3);
        announcer.stop();
        assert!(!announcer.is_due());
        assert_eq!(announcer.next_round(), None);
    }
}
