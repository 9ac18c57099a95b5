//! What a node that may fall at any moment leaves to its next start.
//!
//! The machine keeps it where a reset does not reach; which words and figures are worth
//! keeping is known here, and so is where they are shown afterwards.

use crate::Node;
use crate::events::Event;
use crate::tally;
use core::fmt::{self, Write};
use io::{Disk, Nic, Text};

/// Most bytes of what is told about how the node ended before this start.
pub const EPITAPH_BYTES: usize = 1536;
/// Most bytes of figures in it.
pub const FIGURES_BYTES: usize = 512;
/// How many things of note are told.
const EVENTS: usize = 8;

impl<N: Nic, D: Disk> Node<N, D> {
    /// A number that changes when the figures of
    /// [`write_figures`](Self::write_figures) may have: without a frame and without
    /// anything of note they have not. It is asked for every second of a node at rest.
    pub fn happened(&self) -> u64 {
        self.events.count_of(Event::Received.into()) + self.events.noted()
    }

    /// Writes what is worth knowing of a node that may end at any moment: what it did,
    /// and the last things of note, by the milliseconds since its start.
    #[cold]
    #[inline(never)]
    pub fn write_figures(&self, out: &mut Text<FIGURES_BYTES>) -> fmt::Result {
        let work = self.total_work();
        write!(out, "requests:")?;
        for (kind, count) in tally::KINDS.iter().zip(work.requests) {
            write!(out, " {count} {kind},")?;
        }
        write!(out, " {} failed", work.all_failed())?;
        for trace in self.events.last(EVENTS) {
            let (at_ms, what) = (trace.at.0 / 1000, trace.what);
            write!(out, "\nat {at_ms} ms: {what} {}", trace.about)?;
        }
        writeln!(out)
    }

    /// Keeps how the node ended before this start, to be shown.
    #[cold]
    pub fn remember(&mut self, epitaph: Text<EPITAPH_BYTES>) {
        if let Some(management) = &mut self.management {
            management.remember(epitaph);
        }
    }
}
