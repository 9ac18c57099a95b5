//! Nothing to do: spin a little, then sleep until a device or the clock calls.
//!
//! The order is what makes it safe: devices are asked for an interrupt first,
//! then looked at a last time, and interrupts open only together with the halt.
//! What arrives in between wakes us at once.

use crate::arch::{self, Timer};
use crate::clock::Clock;
use crate::console;
use engine::Node;
use io::{Clock as _, Instant};
use metal::patience::Patience;

/// Longest sleep, whatever the node says. One missed interrupt of a device that
/// breaks its rules costs no more than this.
const SLEEP_MAX_US: u64 = 1_000_000;

/// The shortest and the longest nap while a card is there that can not wake us. The
/// first is what a busy host may wait between two requests; the last is a delay
/// that nobody notices in a first request, at a thousand looks a second.
const NAP_MIN_US: u64 = 50;
const NAP_MAX_US: u64 = 1_000;
/// How early the timer may be, by its clock and by ours: one part in a hundred.
const EARLY_MAX_US: u64 = SLEEP_MAX_US / 100;

/// What is needed to sleep.
pub struct Idle {
    clock: Clock,
    timer: Timer,
    patience: Patience,
    /// Since when nothing has moved, and when we last looked.
    since: Option<(Instant, Instant)>,
    /// The next sleep, where one card or more can not wake us.
    nap_us: Option<u64>,
    /// When the timer fires, if it is set.
    fires: Option<Instant>,
}

impl Idle {
    /// Spins as `patience` says, sleeps by `timer`. Unless `woken_by_cards`, sleeps
    /// are naps that grow while nothing comes.
    pub fn new(clock: Clock, timer: Timer, patience: Patience, woken_by_cards: bool) -> Self {
        Self {
            clock,
            timer,
            patience,
            since: None,
            nap_us: (!woken_by_cards).then_some(NAP_MIN_US),
            fires: None,
        }
    }

    /// Something moved.
    pub fn busy(&mut self) {
        self.since = None;
        self.nap_us = self.nap_us.map(|_| NAP_MIN_US);
    }

    /// Whether the end of work is followed by sleep, and not by a spin.
    pub fn is_hasty(&self) -> bool {
        self.patience.spin_us() == 0
    }

    /// Nothing moved in a turn at `now`, or nothing will in the next: returns at once while
    /// it is worth spinning, and after a sleep until `latest` at most otherwise.
    pub fn rest(&mut self, node: &mut Node, now: Instant, latest: Option<Instant>) {
        let (since, last) = *self.since.get_or_insert((now, now));
        self.since = Some((since, now));
        self.patience.spun(now.since_us(last));
        // A line that is still being sent goes out a little at a time.
        if console::pump() || now.since_us(since) < self.patience.spin_us() {
            core::hint::spin_loop();
            return;
        }
        let deadline = engine::next_deadline(node);
        let deadline = latest.map_or(deadline, |latest| deadline.min(latest));
        let longest_us = self.nap_us.unwrap_or(SLEEP_MAX_US);
        let us = deadline.since_us(now).min(longest_us);
        if us == 0 || engine::arm(node) {
            return;
        }
        self.wake_within(now, us);
        arch::sleep();
        let woken = self.clock.now();
        // Its ticks and ours differ a little, and a timer that was taken for set
        // would let us sleep on: one that is nearly due counts as spent.
        self.fires = self
            .fires
            .filter(|fires| fires.since_us(woken) > EARLY_MAX_US);
        engine::disarm(node, woken);
        match &mut self.nap_us {
            // The end of a nap says nothing about when work comes.
            Some(nap_us) => *nap_us = (*nap_us * 2).min(NAP_MAX_US),
            None => self.patience.slept(woken.since_us(now)),
        }
        self.since = None;
    }

    /// Sees to it that the timer fires in `us` at the latest. Setting it and taking
    /// it back are register accesses, each an exit in a guest, and most sleeps are
    /// ended by a device: so it stays set, and one that fires too early costs a
    /// turn of the loop once in a while.
    fn wake_within(&mut self, now: Instant, us: u64) {
        let latest = now + us;
        if self.fires.is_none_or(|fires| fires > latest) {
            self.timer.set(arch::tsc(), self.clock.ticks(us));
            self.fires = Some(latest);
        }
    }
}
