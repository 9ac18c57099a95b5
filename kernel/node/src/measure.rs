//! The limits: how fast it could be at most.
//!
//! A figure of the node says little without the one that it could reach. Two loops
//! find it, with the same cards, disks and drivers and nothing between them:
//! `measure=echo` sends every request for sectors back as it came, which no target
//! behind the same card can beat; `measure=disk` keeps so many reads of so many
//! sectors under way at the first export's disk, one behind the other. What either
//! has done is counted ([`Event::Measured`]).
//!
//! **Nothing is served meanwhile.** Questions are answered and management goes on, so
//! that the figures can be fetched; no request for sectors is executed.

use crate::Node;
use crate::config::{Config, Measure};
use crate::events::Event;
use crate::limits::SPARES_MIN;
use crate::mark::Mark;
use io::{DATA, Disk, Frame, Instant, Nic, Op, Outcome, Request, WIRE};

/// What is measured, and how far it has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measuring {
    what: Measure,
    /// Reads that have not begun yet.
    unbegun: u8,
    /// The sector of the export that is read next.
    next: u64,
}

impl Measuring {
    pub(crate) fn new(what: Measure) -> Self {
        let unbegun = match what {
            Measure::Echo => 0,
            Measure::Disk { depth, .. } => depth,
        };
        Self {
            what,
            unbegun,
            next: 0,
        }
    }

    /// What a person should know.
    pub(crate) fn warning(&self) -> &'static str {
        match self.what {
            Measure::Echo => {
                "measure=echo: nothing is served; requests for sectors are sent back as they came"
            }
            Measure::Disk { .. } => {
                "measure=disk: nothing is served; the first export's disk is read all the time"
            }
        }
    }
}

/// Frames that a port keeps back for reads: a part of them, or nobody could ask for
/// the figures.
pub(crate) fn frames_of(config: &Config, frames: usize) -> usize {
    match config.measure.value {
        Some(Measure::Disk { depth, .. }) => usize::from(depth).min(frames / 4),
        _ => 0,
    }
}

impl<N: Nic, D: Disk> Node<N, D> {
    /// Sends a request for sectors back, or drops it: it is not served. Gives back
    /// every other frame.
    #[inline]
    pub(crate) fn measure(&mut self, now: Instant, mut frame: Frame) -> Option<Frame> {
        let port = &mut self.ports[usize::from(frame.home())];
        let received = frame.len();
        port.traffic.received += 1;
        port.traffic.received_bytes += received as u64;
        self.events.count(Event::Received.into());
        let Some(len) = aoe::echo(&port.wire, frame.buffer_mut(), received) else {
            return Some(frame);
        };
        let echoes = |measuring: Measuring| measuring.what == Measure::Echo;
        if self.measuring.is_some_and(echoes) {
            self.events.count(Event::Measured.into());
            frame.set_len(len);
            self.send(frame);
        } else {
            self.events.count(Event::TurnedAway.into());
            self.release(now, frame);
        }
        None
    }

    /// Begins one more of the reads that are to be under way, if there is a frame for
    /// it. True if it did.
    #[cold]
    pub(crate) fn begin_reads(&mut self, now: Instant) -> bool {
        if let Some(port) = self.ports.first_mut()
            && let Some(measuring) = &mut self.measuring
            && measuring.unbegun > 0
            && port.spares.len() > SPARES_MIN
            && let Some(frame) = port.spares.pop()
        {
            measuring.unbegun -= 1;
            // It is the disk's from here on.
            port.spares_wanted -= 1;
            port.frames -= 1;
            self.read_on(now, frame);
            return true;
        }
        false
    }

    /// A read has ended, and the next one begins.
    pub(crate) fn measured(&mut self, now: Instant, frame: Frame, outcome: Outcome) {
        let counted = match outcome {
            Outcome::Done => Event::Measured,
            _ => Event::DiskError,
        };
        self.events.count(counted.into());
        self.read_on(now, frame);
    }

    /// Reads the next sectors, from the start again behind the last ones.
    #[inline(never)]
    fn read_on(&mut self, now: Instant, frame: Frame) {
        if self.closing.is_none()
            && let Some(measuring) = &mut self.measuring
            && let Measure::Disk { sectors, .. } = measuring.what
            && let Some(export) = self.exports.first()
        {
            let volume = &export.volume;
            let sectors = u32::from(sectors);
            if volume.locate(measuring.next, sectors).is_none() {
                measuring.next = 0;
            }
            if let Some(lba) = volume.locate(measuring.next, sectors) {
                measuring.next += u64::from(sectors);
                let request = Request {
                    op: Op::Read,
                    lba,
                    sectors,
                    data: (DATA - WIRE) as u16,
                    ticket: Mark::MEASURE.0,
                };
                return self.give(volume.disk.into(), request, frame);
            }
        }
        self.ports[usize::from(frame.home())].frames += 1;
        self.release(now, frame);
    }
}
