//! The end of a run: everything is answered, and everything is where it belongs.

use super::{CALM_US, PATIENCE_US, World, countable};
use crate::Report;

impl World {
    pub(super) fn look_for_the_end(&mut self) {
        if self.stopped && self.hosts.iter().all(|host| host.is_idle()) {
            self.audit();
        }
    }

    pub(super) fn last(&mut self) {
        for host in &self.hosts {
            if !host.is_idle() {
                self.ledger.find(format!(
                    "{} waits and waits, {} s after the last fault",
                    host.name(),
                    (CALM_US + PATIENCE_US) / 1_000_000
                ));
            }
        }
        self.audit();
    }

    pub(super) fn audit(&mut self) {
        self.ended = true;
        if self.ledger.is_broken() {
            return;
        }
        if !self.plan.served.is_empty() {
            for host in &self.hosts {
                if host.must_progress() && host.completed() == 0 {
                    self.ledger
                        .find(format!("{} never got an answer", host.name()));
                }
            }
        }
        self.oracle.borrow_mut().audit("at the end");
        self.crash(true);
        self.oracle.borrow_mut().audit("after the last power cut");
        if self.own.is_some() {
            // What was set is told by the next start.
            self.boot();
        }
    }

    pub(super) fn count_events(&mut self) {
        let Some(node) = self.machine.inside() else {
            return;
        };
        for (name, what) in countable() {
            let count = node.events().count_of(what);
            *self.events.entry(name).or_default() += count;
        }
    }

    pub(super) fn report(mut self, seed: u64) -> Report {
        self.count_events();
        let tally = self.oracle.borrow().tally;
        let spindles = self.spindles.iter().map(|spindle| spindle.borrow());
        let (mut flushes, mut writes, mut through) = (0, 0, 0);
        for spindle in spindles {
            flushes += spindle.flushes;
            writes += spindle.writes;
            through += spindle.through;
        }
        Report {
            seed,
            finding: self.ledger.finding(),
            trace_hash: self.ledger.trace(),
            virtual_us: self.ledger.now_us(),
            boots: self.boots,
            requests: tally.requests,
            replies: tally.replies,
            sectors_read: tally.sectors_read,
            sectors_written: tally.sectors_written,
            flushes,
            writes,
            through,
            completed: self.hosts.iter().map(|host| host.completed()).sum(),
            late_copies: tally.late_copies,
            faults: self.ledger.faults(),
            events: std::mem::take(&mut self.events),
        }
    }
}
