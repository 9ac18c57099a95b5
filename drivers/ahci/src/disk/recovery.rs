//! What a disk does when something goes wrong, and until it is well again.
//!
//! The rules are in the parent's header. Nothing here waits either: each
//! function looks, decides, and leaves the rest to the next poll or tick.

use super::{Disk, HEALTH_US, Phase, bits};
use crate::registers::{Interrupts, LinkError, LinkStatus, Registers, TaskFile, port};
use crate::revival::{Health, NoDrive, Revival, Revived};
use core::fmt;
use io::{Clock, Identity, Instant, Op, Outcome, Request};

/// For a read or write. Drives try hard on a weak sector for seven seconds and
/// more; an initiator gives up after some minutes.
pub(crate) const TRANSFER_WAIT_US: u64 = 15_000_000;
/// For a flush or a discard, which may have a whole cache behind them.
pub(crate) const LONG_WAIT_US: u64 = 60_000_000;
/// A queued command this old on a link that reported errors is not waited for:
/// some controllers (QEMU's, up to 8.0) report a failed one in no other way once
/// another one succeeded.
const SUSPICIOUS_US: u64 = 2_000_000;
/// Between attempts to bring back a drive that is linked and useless.
const RETRY_US: u64 = 10_000_000;
/// Between two messages of the same disk about failed commands.
const QUIET_US: u64 = 10_000_000;

/// Strikes that end a command's tries.
const STRIKES_MAX: u8 = 4;
/// The link failed while it was alone.
const STRIKE_LINK: u8 = 1;
/// It was not answered.
const STRIKE_SILENCE: u8 = 2;
/// Resets in a row that lead to no drive.
const RESETS_MAX: u8 = 3;
/// Failures in the queue in a row for which no single command was guilty. After
/// so many the queue itself is.
const QUEUE_FAILURES_MAX: u8 = 3;

impl<R: Registers, C: Clock> Disk<R, C> {
    /// Reads the registers that tell of errors and acts on them. The task file
    /// keeps the last command's error until the next FIS, so it counts only
    /// where one came.
    pub(super) fn fail_if_failed(&mut self, fis_came: bool) -> bool {
        let interrupts = self.port.read(port::INTERRUPTS);
        let task_file = self.port.read(port::TASK_FILE);
        // Some drives leave the fault bit standing after a reset, until their
        // first unqueued command ends.
        let bad = match self.alone {
            true => TaskFile::ERROR | TaskFile::DEVICE_FAULT,
            false => TaskFile::ERROR,
        };
        let refused = self.running != 0
            && (fis_came || interrupts.contains(Interrupts::TASK_FILE_ERROR))
            && !task_file.contains(TaskFile::BUSY)
            && task_file.intersects(bad);
        if !refused && !interrupts.intersects(Interrupts::FAILURES) {
            return false;
        }
        let now = self.clock.now();
        if interrupts.contains(Interrupts::PHY_CHANGE) {
            self.lose_link(now);
            return true;
        }
        let drive_said_it = refused
            && !task_file.contains(TaskFile::LINK_CRC)
            && !interrupts.intersects(
                Interrupts::FAILURES - Interrupts::TASK_FILE_ERROR - Interrupts::PHY_CHANGE,
            );
        match (self.alone, drive_said_it) {
            (true, true) => {
                self.queue_failures = 0;
                for slot in bits(self.running) {
                    let request = self.lent_in(slot).request;
                    self.end(slot, outcome_of(request.op, task_file));
                    self.say(
                        now,
                        format_args!(
                            "{:?} of {} sectors at {} failed, status and error {:#06x}",
                            request.op,
                            request.sectors,
                            request.lba,
                            task_file.bits() & 0xffff
                        ),
                    );
                }
                self.phase = Phase::Reviving(Revival::restart(&self.port, now));
            }
            (alone, _) => {
                self.say(
                    now,
                    format_args!(
                        "{}, interrupt status {:#010x}; the port is reset, commands to run again: {}",
                        if drive_said_it {
                            "a queued command failed"
                        } else {
                            "the link failed"
                        },
                        interrupts.bits(),
                        self.running.count_ones()
                    ),
                );
                self.suspect_all(if alone { STRIKE_LINK } else { 0 });
                self.phase = Phase::Reviving(Revival::reset(&self.port, now));
            }
        }
        true
    }

    /// What was running runs again alone, unless it had its tries.
    fn suspect_all(&mut self, strike: u8) {
        if !self.alone && self.running != 0 {
            self.queue_failures += 1;
        }
        for slot in bits(self.running) {
            self.suspect(slot, strike);
        }
        if self.queue_failures >= QUEUE_FAILURES_MAX && self.queue_allowed {
            self.queue_allowed = false;
            log::warn!(
                "{}: its command queue keeps failing; from now on one command at a time",
                self.name
            );
        }
    }

    fn suspect(&mut self, slot: u8, strike: u8) {
        let lent = self.lent_in(slot);
        lent.strikes += strike;
        if lent.strikes >= STRIKES_MAX {
            self.queue_failures = 0;
            self.end(slot, Outcome::Fault);
        } else {
            self.running &= !(1 << slot);
            self.suspects |= 1 << slot;
        }
    }

    fn lose_link(&mut self, now: Instant) {
        self.say(
            now,
            format_args!("the link was lost; waiting for it to come back"),
        );
        let failures = self.queue_failures;
        self.suspect_all(if self.alone { STRIKE_LINK } else { 0 });
        // A plug that was pulled is not the queue's fault.
        self.queue_failures = failures.min(self.queue_failures);
        self.doubt_cache();
        self.phase = Phase::Reviving(Revival::reset(&self.port, now));
    }

    /// The drive may have been without power: see the module's header.
    fn doubt_cache(&mut self) {
        if !self.unflushed {
            return;
        }
        self.unflushed = false;
        let is_flush = |request: &Request| request.op == Op::Flush;
        let in_slots = bits(self.running | self.suspects)
            .filter(|&slot| is_flush(&self.lent_in(slot).request))
            .count();
        let waiting = self
            .backlog
            .iter()
            .filter(|(request, _)| is_flush(request))
            .count();
        // Where no flush is under way, the next one is the one to vouch.
        self.doomed_flushes = (in_slots + waiting).max(1);
        log::warn!(
            "{}: it may have lost power and with it writes in its cache; the next flush fails",
            self.name
        );
    }

    /// Gives up commands that were not answered in time.
    fn give_up_silent(&mut self, now: Instant) {
        let mut silent: u32 = 0;
        let mut oldest_us = 0;
        for slot in bits(self.running) {
            let lent = self.lent_in(slot);
            let age_us = now.since_us(lent.issued_at);
            let wait_us = match lent.request.op {
                Op::Read | Op::Write => TRANSFER_WAIT_US,
                Op::Flush | Op::Discard => LONG_WAIT_US,
            };
            oldest_us = age_us.max(oldest_us);
            if age_us >= wait_us {
                silent |= 1 << slot;
            }
        }
        let errors = !self.alone
            && oldest_us >= SUSPICIOUS_US
            && self.port.read(port::LINK_ERROR) != LinkError::empty();
        if silent == 0 && !errors {
            return;
        }
        self.say(
            now,
            format_args!(
                "no answer for {} s{}; the port is reset",
                oldest_us / 1_000_000,
                if silent == 0 {
                    " on a link with errors"
                } else {
                    ""
                }
            ),
        );
        for slot in bits(silent) {
            self.suspect(slot, STRIKE_SILENCE);
        }
        self.suspect_all(0);
        self.phase = Phase::Reviving(Revival::reset(&self.port, now));
    }

    /// Goes on with the way back.
    pub(super) fn revive(&mut self) {
        let (revival, lost) = match &mut self.phase {
            Phase::Reviving(revival) => (revival, false),
            Phase::Lost {
                revival: Some(revival),
                ..
            } => (revival, true),
            _ => return,
        };
        let now = self.clock.now();
        let Some(ended) = revival.advance(&self.port, &self.table, now) else {
            return;
        };
        match ended {
            Ok(Revived::Same) => self.phase = Phase::Running,
            Ok(Revived::Asked(health)) => self.take_health(now, health),
            Ok(Revived::New(drive)) if drive.is_the_one(&self.drive.identity) => {
                if lost {
                    log::info!("{}: {} is back", self.name, drive.identity.serial);
                }
                self.resets = 0;
                let is_asked = self.drive.tells_health;
                self.drive = drive;
                self.drive.tells_health &= is_asked;
                self.phase = if drive.geometry == self.geometry {
                    Phase::Running
                } else {
                    Phase::Settling
                };
            }
            Ok(Revived::New(stranger)) => {
                let Identity { model, serial, .. } = stranger.identity;
                self.lose(
                    now,
                    lost,
                    format_args!("another drive ({model} {serial}) is in its place"),
                );
            }
            Err(reason) if !lost && reason != NoDrive::Absent && self.resets < RESETS_MAX => {
                self.resets += 1;
                self.say(now, format_args!("{reason}; trying again"));
                self.phase = Phase::Reviving(Revival::reset(&self.port, now));
            }
            Err(reason) => self.lose(now, lost, format_args!("{reason}")),
        }
    }

    /// Asks the drive how it feels, as soon as it has nothing else to do.
    #[cold]
    pub(super) fn ask_health(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        self.asks_health = self.running != 0 || self.suspects != 0;
        if !self.asks_health {
            self.health_at = now + HEALTH_US;
            self.phase = Phase::Reviving(Revival::health(&self.port, &self.table, now));
        }
    }

    fn take_health(&mut self, now: Instant, health: Health) {
        self.phase = Phase::Running;
        match health {
            Health::Told { fails_soon } => {
                if fails_soon && !self.said_fails_soon {
                    log::warn!(
                        "{}: {} says that it will fail; replace it",
                        self.name,
                        self.drive.identity.serial
                    );
                }
                self.said_fails_soon = fails_soon;
            }
            Health::Refused => {
                self.drive.tells_health = false;
                self.phase = Phase::Reviving(Revival::restart(&self.port, now));
            }
            Health::Silent => {
                self.drive.tells_health = false;
                self.say(
                    now,
                    format_args!("no answer about its health; the port is reset"),
                );
                self.phase = Phase::Reviving(Revival::reset(&self.port, now));
            }
            Health::LinkLost => self.lose_link(now),
        }
    }

    /// Gives the drive up until it comes back.
    fn lose(&mut self, now: Instant, already: bool, why: fmt::Arguments<'_>) {
        if !already {
            log::warn!(
                "{}: {why}; its requests fail until {} is back",
                self.name,
                self.drive.identity.serial
            );
            self.doubt_cache();
            for slot in bits(self.running | self.suspects) {
                self.end(slot, Outcome::Fault);
            }
            // All flushes that were under way have failed or will; only a later
            // one could still vouch for what is gone.
            self.doomed_flushes = self.doomed_flushes.min(1);
        }
        self.resets = 0;
        self.phase = Phase::Lost {
            retry_at: now + RETRY_US,
            revival: None,
        };
    }

    pub(super) fn is_linked(&self) -> bool {
        self.port.read(port::LINK_STATUS).detection() == LinkStatus::UP
    }

    /// Looks at a running port more closely than a poll does.
    pub(super) fn inspect(&mut self, now: Instant) {
        let interrupts = self.port.read(port::INTERRUPTS);
        if interrupts.contains(Interrupts::PHY_CHANGE) || !self.is_linked() {
            let finished = self.finished();
            self.end_all(finished);
            self.lose_link(now);
            return;
        }
        if self.running != 0 {
            self.harvest();
        }
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        if self.running != 0 {
            self.give_up_silent(now);
        } else if interrupts.intersects(Interrupts::FAILURES) {
            self.fail_if_failed(false);
        } else if self.port.read(port::LINK_ERROR) != LinkError::empty() {
            // What the link recovered from by itself is not held against the
            // commands to come.
            self.port.clear_link_errors();
        }
    }

    /// A message about one of many events: not more than one in a while.
    fn say(&mut self, now: Instant, what: fmt::Arguments<'_>) {
        if now >= self.quiet_until {
            self.quiet_until = now + QUIET_US;
            log::warn!("{}: {what}", self.name);
        }
    }
}

/// What the drive's refusal of a command that was alone means.
fn outcome_of(op: Op, task_file: TaskFile) -> Outcome {
    match op {
        _ if task_file.contains(TaskFile::DEVICE_FAULT) => Outcome::Fault,
        // The drive is well enough to refuse: it is about this place.
        Op::Read | Op::Write => Outcome::Medium,
        // No place is named, so everything in the cache is in doubt.
        Op::Flush => Outcome::Fault,
        Op::Discard if task_file.contains(TaskFile::ABORTED) => Outcome::Unsupported,
        Op::Discard => Outcome::Fault,
    }
}
