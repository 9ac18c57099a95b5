//! What one sector may hold now: the heart of the oracle.
//!
//! A sector has a set of candidates. Every write that the node has taken off a
//! ring adds its value. Three things take candidates away:
//!
//! - **An acknowledged write** ends every candidate whose last copy was taken
//!   before the first live copy of that write: overlapping writes run in order
//!   of arrival, so nothing older can come after it. In write-through it is
//!   durable too, and the older ones are dead for ever; in write-back they are
//!   only gone until the next power cut, and dead after the next flush.
//! - **A read** that returned a value proves that candidates whose writes had all
//!   ended before the read came are gone. They may come back in a power cut: what
//!   was read need not have been durable.
//! - **A crash** ends all writes under way; they stay candidates, for each may or
//!   may not have reached the medium. A power cut also brings back what was gone
//!   and not dead.
//!
//! A read may return any candidate that was not yet gone when the read was taken
//! off its ring. Time here is a count of the oracle's own observations.

use crate::content::Value;

const NEVER: u64 = u64::MAX;

/// A value that the sector may hold, or held a moment ago.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    value: Value,
    /// When the first and the last of its copies were taken off a ring.
    first: u64,
    last: u64,
    /// Copies that the node is holding now.
    live: u32,
    /// When the last copy went back.
    ended: u64,
    /// Since when it can not be seen any more.
    gone: u64,
    /// A power cut does not bring it back.
    dead: bool,
}

/// How an acknowledgement is to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// It survives a power cut.
    Durable,
    /// It survives anything but a power cut before the next flush.
    Volatile,
}

/// See the module's header.
#[derive(Clone, Debug)]
pub struct History {
    /// What the sector may hold now.
    present: Vec<Candidate>,
    /// What it may have held until lately, or may hold again after a power cut;
    /// the latest to go last.
    past: Vec<Candidate>,
    /// How long `past` may grow before it is looked through again.
    past_max: usize,
}

/// A few are not worth looking through.
const PAST_MAX: usize = 4;

impl History {
    /// A sector that holds `value` for certain.
    pub fn new(value: Value) -> Self {
        Self {
            present: vec![Candidate {
                value,
                first: 0,
                last: 0,
                live: 0,
                ended: 0,
                gone: NEVER,
                dead: false,
            }],
            past: Vec::new(),
            past_max: PAST_MAX,
        }
    }

    /// A write of `value` was taken off a ring at `now`. Returns since when an
    /// execution of the same bytes may have been under way.
    pub fn open(&mut self, value: Value, now: u64) -> u64 {
        let same = |candidate: &&mut Candidate| candidate.value == value;
        if let Some(candidate) = self.present.iter_mut().find(same) {
            if candidate.live == 0 {
                candidate.first = now;
            }
            candidate.live += 1;
            candidate.last = now;
            return candidate.first;
        }
        self.present.push(Candidate {
            value,
            first: now,
            last: now,
            live: 1,
            ended: 0,
            gone: NEVER,
            dead: false,
        });
        now
    }

    /// A copy of the write of `value` will have no effect any more.
    pub fn close(&mut self, value: Value, now: u64) {
        let live = |candidate: &&mut Candidate| candidate.value == value && candidate.live > 0;
        let mut all = self.present.iter_mut().chain(self.past.iter_mut().rev());
        if let Some(candidate) = all.find(live) {
            candidate.live -= 1;
            candidate.ended = now;
        }
    }

    /// The write of `value`, under way since `first`, was acknowledged.
    pub fn acknowledge(&mut self, value: Value, first: u64, how: Acknowledged, now: u64) {
        let durable = how == Acknowledged::Durable;
        let over = |candidate: &Candidate| candidate.value != value && candidate.last < first;
        if durable {
            for candidate in &mut self.past {
                candidate.dead |= over(candidate);
            }
        }
        self.leave(over, durable, now);
    }

    /// A flush made durable what was acknowledged and under way since `first`.
    pub fn harden(&mut self, value: Value, first: u64, now: u64) {
        self.acknowledge(value, first, Acknowledged::Durable, now);
    }

    /// What is over can not be seen any more.
    fn leave(&mut self, over: impl Fn(&Candidate) -> bool, dead: bool, now: u64) {
        let past = &mut self.past;
        self.present.retain(|candidate| {
            let over = over(candidate);
            if over {
                past.push(Candidate {
                    gone: now,
                    dead,
                    ..*candidate
                });
            }
            !over
        });
    }

    /// A read that was taken off its ring at `since` returned `value`. False if
    /// that was never possible.
    pub fn read(&mut self, value: Value, since: u64, now: u64) -> bool {
        let legal = self.could_read(value, since);
        if legal {
            let over = |candidate: &Candidate| {
                candidate.value != value && candidate.live == 0 && candidate.ended < since
            };
            self.leave(over, false, now);
        }
        legal
    }

    /// Whether a read that was taken off its ring at `since` may return `value`.
    pub fn could_read(&self, value: Value, since: u64) -> bool {
        let lately = |candidate: &&Candidate| candidate.gone > since;
        let mut past = self.past.iter().rev().take_while(lately);
        self.may_hold(value) || past.any(|candidate| candidate.value == value)
    }

    /// Whether the sector may hold `value` now.
    pub fn may_hold(&self, value: Value) -> bool {
        self.present
            .iter()
            .any(|candidate| candidate.value == value)
    }

    /// The node died. What it held may or may not have happened.
    pub fn lose_the_node(&mut self, now: u64) {
        for candidate in self.present.iter_mut().chain(&mut self.past) {
            if candidate.live > 0 {
                candidate.live = 0;
                candidate.ended = now;
            }
        }
    }

    /// The power failed. What was gone but not durably so may be back.
    pub fn lose_the_power(&mut self, now: u64) {
        self.lose_the_node(now);
        self.come_back();
        self.past.clear();
    }

    /// A cache was lost without a power cut. What was gone but not durably so may
    /// be back.
    pub fn come_back(&mut self) {
        for candidate in std::mem::take(&mut self.past) {
            if candidate.dead {
                self.past.push(candidate);
            } else if !self.may_hold(candidate.value) {
                self.present.push(Candidate {
                    gone: NEVER,
                    ..candidate
                });
            }
        }
    }

    /// The sector was being written when the power failed and holds a mixture.
    /// False if nothing was being written, so that it had no right to tear.
    pub fn tear(&mut self, value: Value, now: u64) -> bool {
        // A copy of what is there already tears into itself.
        let had_right = self.present.len() > 1 || self.may_hold(value);
        self.open(value, now);
        self.close(value, now);
        had_right
    }

    /// Forgets what can neither be read nor come back. `oldest` is when the
    /// oldest read under way was taken off its ring.
    pub fn forget(&mut self, oldest: u64) {
        if self.past.len() > self.past_max {
            self.past.retain(|candidate| {
                !candidate.dead || candidate.gone > oldest || candidate.live > 0
            });
            self.past_max = PAST_MAX.max(2 * self.past.len());
        }
    }

    /// The values that are possible now, for messages.
    pub fn possible(&self) -> Vec<Value> {
        self.present
            .iter()
            .map(|candidate| candidate.value)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Value = Value(0);
    const A: Value = Value(1);
    const B: Value = Value(2);

    #[test]
    fn a_write_under_way_may_be_seen_or_not() {
        let mut sector = History::new(OLD);
        sector.open(A, 1);
        assert!(sector.read(OLD, 2, 3));
        assert!(sector.read(A, 4, 5));
        assert!(!sector.read(OLD, 6, 7), "what was overtaken came back");
    }

    #[test]
    fn an_acknowledged_write_is_never_lost() {
        let mut sector = History::new(OLD);
        let first = sector.open(A, 1);
        sector.acknowledge(A, first, Acknowledged::Durable, 2);
        sector.close(A, 2);
        assert!(!sector.read(OLD, 3, 4));
        sector.lose_the_power(5);
        assert!(!sector.may_hold(OLD));
        assert!(sector.may_hold(A));
    }

    #[test]
    fn a_read_from_before_the_acknowledgement_may_return_the_old_value_late() {
        let mut sector = History::new(OLD);
        let first = sector.open(A, 1);
        sector.acknowledge(A, first, Acknowledged::Durable, 5);
        assert!(sector.read(OLD, 3, 9));
        assert!(!sector.read(OLD, 6, 10));
    }

    #[test]
    fn what_was_read_but_not_acknowledged_may_be_lost_with_the_power_only() {
        let mut sector = History::new(OLD);
        sector.open(A, 1);
        assert!(sector.read(A, 2, 3));
        let mut killed = sector.clone();
        killed.lose_the_node(4);
        assert!(!killed.may_hold(OLD));
        sector.lose_the_power(4);
        assert!(sector.may_hold(OLD) && sector.may_hold(A));
    }

    #[test]
    fn an_older_copy_that_runs_late_is_found() {
        let mut sector = History::new(OLD);
        let a = sector.open(A, 1);
        sector.acknowledge(A, a, Acknowledged::Durable, 2);
        sector.close(A, 2);
        let b = sector.open(B, 3);
        sector.acknowledge(B, b, Acknowledged::Durable, 4);
        sector.close(B, 4);
        assert!(!sector.read(A, 5, 6));
    }

    #[test]
    fn a_copy_that_arrives_after_a_newer_write_counts_as_newer() {
        let mut sector = History::new(OLD);
        sector.open(A, 1);
        let b = sector.open(B, 2);
        sector.open(A, 3);
        sector.acknowledge(B, b, Acknowledged::Durable, 4);
        assert!(sector.may_hold(A) && sector.may_hold(B));
        assert!(!sector.may_hold(OLD));
    }

    #[test]
    fn a_volatile_acknowledgement_may_be_lost_until_it_is_flushed() {
        let mut sector = History::new(OLD);
        let first = sector.open(A, 1);
        sector.acknowledge(A, first, Acknowledged::Volatile, 2);
        sector.close(A, 2);
        assert!(!sector.may_hold(OLD));
        let mut cut = sector.clone();
        cut.lose_the_power(3);
        assert!(cut.may_hold(OLD));
        sector.harden(A, first, 3);
        sector.lose_the_power(4);
        assert!(!sector.may_hold(OLD));
    }

    #[test]
    fn a_quiet_sector_has_no_right_to_tear() {
        let mut sector = History::new(OLD);
        assert!(!sector.clone().tear(Value(9), 1));
        sector.open(A, 1);
        sector.lose_the_power(2);
        assert!(sector.tear(Value(9), 3));
    }
}
