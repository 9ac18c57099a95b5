//! What a node that may fall at any moment leaves to its next start.
//!
//! The machine keeps it where a reset does not reach; which words and figures are worth
//! keeping is known here, and so is where they are shown afterwards.

use crate::Node;
use crate::events::TRACE_MAX;
use crate::tally;
use core::fmt;
use io::{Disk, Nic, Text};

/// Most bytes of what is told about how the node ended before this start.
pub const EPITAPH_BYTES: usize = 2304;
/// Most lines that are shown of it, and most bytes of a line.
pub const EPITAPH_LINES: usize = 24;
pub const EPITAPH_LINE: usize = 240;
/// How many things of note are told, and how many of them in one line.
const EVENTS: usize = 12;
const A_LINE: usize = 3;

impl<N: Nic, D: Disk> Node<N, D> {
    /// A number that changes when the figures of
    /// [`write_figures`](Self::write_figures) do.
    pub fn happened(&self) -> u64 {
        self.total_work().all() + self.events.noted()
    }

    /// Writes what is worth knowing of a node that may end at any moment: what it did,
    /// and the last things of note, by the milliseconds since its start.
    #[cold]
    #[inline(never)]
    pub fn write_figures(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let work = self.total_work();
        write!(out, "requests:")?;
        for (kind, count) in tally::KINDS.iter().zip(work.requests) {
            write!(out, " {count} {kind},")?;
        }
        write!(out, " {} failed", work.failed)?;
        let kept = self.events.noted().min(TRACE_MAX as u64) as usize;
        let skip = kept.saturating_sub(EVENTS);
        for (index, trace) in self.events.trace().skip(skip).enumerate() {
            let before = if index % A_LINE == 0 {
                "\nevents:"
            } else {
                ","
            };
            let (what, about) = (trace.what, trace.about);
            write!(out, "{before} {what} {about} at {} ms", trace.at.0 / 1000)?;
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
