//! A side that may sleep, and how the other wakes it without losing a frame.
//!
//! Who wants to sleep says so first and looks into the mailbox afterwards; who puts
//! something there looks afterwards whether the other said so. Between saying and looking
//! stands a full fence on both sides, so that of two that do it at once at least one sees
//! what the other did: the sleeper stays awake, or it is rung. Its interrupts are closed
//! from before it says so, and open only together with the halt: a ring that comes in
//! between is pending then, and ends the halt at once.
//!
//! Who rings takes the word back in the sleeper's name, so a sleeper is rung once. What
//! woke it can be told by that: a device leaves the word where it is.

use core::sync::atomic::{AtomicBool, Ordering, fence};

/// One side.
pub(crate) struct Sleeper {
    asleep: AtomicBool,
    /// Interrupts its processor.
    ring: fn(),
}

impl Sleeper {
    /// One that is awake, and is woken by `ring`.
    pub const fn new(ring: fn()) -> Self {
        Self {
            asleep: AtomicBool::new(false),
            ring,
        }
    }

    /// Says that it is going to sleep. It has to look once more before it does.
    pub fn lie_down(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// It is awake. True if nobody had rung: a device or the clock woke it, or it never
    /// slept.
    pub fn get_up(&self) -> bool {
        self.asleep.swap(false, Ordering::Relaxed)
    }

    /// Whether it sleeps, or is about to.
    pub fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }

    /// Wakes it, if it sleeps. What it shall find is there already.
    #[inline]
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.is_asleep() && self.asleep.swap(false, Ordering::Relaxed) {
            (self.ring)();
        }
    }
}
