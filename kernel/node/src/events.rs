//! Everything worth counting, in one list.
//!
//! A variant is a counter. What happens for every frame is only counted; what
//! happens now and then is also written into a ring with the time and whom it was
//! about, so that the last thousand things before a question are still there when
//! it is asked. Both cost a few instructions and are always on.
//!
//! Why the protocol dropped or refused a frame is its own list ([`aoe::Drop`],
//! [`aoe::Refusal`]); their counters lie behind ours in the same array.

use alloc::boxed::Box;
use alloc::vec;
use core::fmt;
use io::Instant;

/// Declares the events with their names.
macro_rules! events {
    ($( $(#[$doc:meta])* $variant:ident => $name:literal, )*) => {
        /// What the node itself counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event {
            $( $(#[$doc])* $variant, )*
        }

        impl Event {
            /// All of them, in the order of their counters.
            pub const ALL: [Self; EVENTS] = [ $( Self::$variant, )* ];

            /// Its name as a counter.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $name, )*
                }
            }
        }

        /// How many there are.
        const EVENTS: usize = [ $( Event::$variant, )* ].len();
    };
}

events! {
    /// A frame was received.
    Received => "received",
    /// A frame was sent.
    Sent => "sent",
    /// A flush was begun.
    Flush => "flush",
    /// An announcement was sent.
    Announced => "announced",
    /// A disk ended an operation badly.
    DiskError => "disk_error",
    /// A write waits for an older one of the same sectors.
    HeldBack => "held_back",
    /// A copy of an unanswered write was joined to it.
    CopyMerged => "copy_merged",
    /// A write waited too long for others and was dropped unrun.
    Expired => "expired",
    /// A write may have lain in a ring too long and was dropped unrun.
    TooOld => "too_old",
    /// A request was dropped because its disk holds its share of frames.
    OverShare => "over_share",
    /// A request waits for the turn of a host with a smaller window.
    LinedUp => "lined_up",
    /// A query was dropped because too many wait.
    QueriesFull => "queries_full",
    /// An initiator changed config string, mask list or reservation.
    Changed => "changed",
    /// A port got a link.
    LinkUp => "link_up",
    /// A port lost its link.
    LinkDown => "link_down",
    /// A port's MTU changed.
    MtuChanged => "mtu_changed",
    /// A disk makes every write durable by itself from now on.
    WriteThrough => "write_through",
    /// A disk makes writes durable by flushes again.
    WriteBack => "write_back",
    /// A disk's size or habits changed.
    DiskChanged => "disk_changed",
    /// A frame arrived while the node was stopping.
    TurnedAway => "turned_away",
    /// A frame was copied for the management plane.
    ManagementReceived => "management_received",
    /// A frame for the management plane found no room.
    ManagementDropped => "management_dropped",
    /// The management plane sent a frame.
    ManagementSent => "management_sent",
    /// A request was sent back, or a read ended, to measure how fast that can be.
    Measured => "measured",
    /// Somebody else answered under an address of ours.
    Conflict => "conflict",
    /// An export went offline, or stayed so, for somebody else has its address.
    Yielded => "yielded",
    /// What hosts have set is durable on the boot disk.
    StateKept => "state_kept",
    /// The boot disk failed: what hosts set is volatile from then on.
    StateLost => "state_lost",
}

/// Counters of all three lists.
const COUNTERS: usize = EVENTS + aoe::Drop::COUNT + aoe::Refusal::COUNT;
/// Things of note that are remembered: a second of a node in serious trouble.
pub const TRACE_MAX: usize = 1024;

/// Something of note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// One of ours.
    Event(Event),
    /// The protocol dropped a frame.
    Dropped(aoe::Drop),
    /// The protocol refused a request.
    Refused(aoe::Refusal),
}

impl Noted {
    #[inline]
    fn counter(self) -> usize {
        match self {
            Self::Event(event) => event as usize,
            Self::Dropped(reason) => EVENTS + reason.index(),
            Self::Refused(refusal) => EVENTS + aoe::Drop::COUNT + refusal.index(),
        }
    }
}

/// One entry of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// When.
    pub at: Instant,
    /// What.
    pub what: Noted,
    /// Which export, port or disk, whichever `what` is about.
    pub about: u32,
}

/// The counters and the ring.
pub struct Events {
    counts: [u64; COUNTERS],
    trace: Box<[Trace]>,
    traced: usize,
}

impl Events {
    /// Nothing has happened.
    pub(crate) fn new() -> Self {
        let nothing = Trace {
            at: Instant(0),
            what: Noted::Event(Event::Received),
            about: 0,
        };
        Self {
            counts: [0; COUNTERS],
            trace: vec![nothing; TRACE_MAX].into_boxed_slice(),
            traced: 0,
        }
    }

    /// Counts what happens all the time.
    #[inline]
    pub(crate) fn count(&mut self, what: Noted) {
        self.counts[what.counter()] += 1;
    }

    /// Counts and remembers.
    #[inline]
    pub(crate) fn note(&mut self, at: Instant, what: Noted, about: u32) {
        self.counts[what.counter()] += 1;
        self.trace[self.traced % TRACE_MAX] = Trace { at, what, about };
        self.traced = self.traced.wrapping_add(1);
    }

    /// How often something has happened.
    pub fn count_of(&self, what: Noted) -> u64 {
        self.counts[what.counter()]
    }

    /// How many things of note there were.
    pub fn noted(&self) -> u64 {
        self.traced as u64
    }

    /// The last things of note, oldest first.
    pub fn trace(&self) -> impl Iterator<Item = &Trace> {
        self.last(TRACE_MAX)
    }

    /// The last things of note, `count` at most, oldest first.
    pub(crate) fn last(&self, count: usize) -> impl Iterator<Item = &Trace> {
        let first = self.traced.saturating_sub(count);
        (first..self.traced).map(|index| &self.trace[index % TRACE_MAX])
    }
}

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => f.write_str(event.name()),
            Self::Dropped(reason) => write!(f, "dropped:{}", reason.name()),
            Self::Refused(refusal) => write!(f, "refused:{}", refusal.name()),
        }
    }
}

impl From<Event> for Noted {
    #[inline]
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_remembers_the_last_and_forgets_the_first() {
        let mut events = Events::new();
        assert_eq!(events.trace().count(), 0);
        for about in 0..TRACE_MAX as u32 + 3 {
            events.note(Instant(about.into()), Event::HeldBack.into(), about);
        }
        assert_eq!(events.trace().count(), TRACE_MAX);
        assert_eq!(events.trace().next().map(|trace| trace.about), Some(3));
        assert_eq!(
            events.count_of(Event::HeldBack.into()),
            TRACE_MAX as u64 + 3
        );
        assert_eq!(events.count_of(Event::Expired.into()), 0);
    }
}
