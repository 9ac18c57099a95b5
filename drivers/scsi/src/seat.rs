//! What is known of one disk on a bus: where it is, who it is, and what it may owe.
//!
//! **A unit that is gone may come back.** It is asked for its serial number now and
//! then, and when the adapter says that a unit came; what has the same number, and no
//! cache that nobody would flush, is served again. Everything else that comes to its
//! place is named, once.
//!
//! **What it answers and what the adapter says of it come on two ways**, and the word
//! that it came may be read after the answer of the one that came. So an answer is
//! believed with the next tick, and only if there was no word of the unit until then;
//! or a disk that is back already would be lost for the moment it takes to ask again.
//!
//! **A seat may be free.** Memory is set aside at the start only, so there are seats for
//! units that come later. Who comes is asked what it is (see [`newcomer`]); if that is a
//! disk, the seat is its own for ever.
//!
//! [`newcomer`]: crate::newcomer
//!
//! **It may have lost power**, and with it writes that were answered and that no flush
//! has made durable. We can not tell, so the next flush fails: that is how a host hears
//! of it.

use crate::adapter::{Address, End};
use crate::command::Cdb;
use crate::error::Skipped;
use crate::newcomer::{Newcomer, Step};
use crate::pages::{Caching, Capacity, serial, vital, vital_page};
use crate::sense::Key;
use crate::unit::Unit;
use alloc::collections::VecDeque;
use io::{Done, Frame, Instant, Op, Outcome, Request, Text, WriteCache};

/// How often a unit that is gone is asked whether it is back.
const LOOK_US: u64 = 2_000_000;

/// Where nobody is.
const NOWHERE: Address = Address {
    target: u8::MAX,
    unit: u16::MAX,
};

/// Whose a seat is.
pub(crate) enum Holder {
    Nobody,
    /// A unit that is being asked what it is.
    Newcomer(Newcomer),
    /// One that is nothing for us; it was named.
    Stranger,
    /// A disk that has not been handed out yet.
    Fresh(Unit),
    /// A disk.
    Disk,
}

/// One disk on the bus, or room for one.
pub(crate) struct Seat {
    pub holder: Holder,
    pub address: Address,
    pub ended: VecDeque<Done>,
    /// Its serial number, by which it is known again.
    serial: Text<20>,
    /// The frame of our own questions, when it is not asked with.
    pub question: Option<Frame>,
    /// What it was last asked with it.
    pub asked: Asked,
    /// Whether the size must be asked for.
    pub stale: bool,
    /// A size that nobody has taken note of yet.
    pub fresh: Option<Capacity>,
    pub cache: Cache,
    pub gone: bool,
    /// It has answered as the one that was here, and is believed with the next tick.
    is_known: bool,
    /// When a unit that is gone is asked for again.
    pub look_at: Instant,
    /// Something else is in its place, and that was said.
    has_stranger: bool,
}

/// What a unit is asked by us.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Size,
    /// Whether it is the one that was here.
    Serial,
    /// Whether it has a cache by now.
    Caching,
}

/// What follows from an answer.
pub(crate) enum Look {
    Nothing,
    /// There is one more question.
    AskMore,
    /// The unit is not there any more.
    Gone,
}

impl Asked {
    /// The command that asks, and how many bytes are answered at most.
    pub fn command(self) -> (Cdb, usize) {
        const PAGE_BYTES: u16 = 255;
        let page = usize::from(PAGE_BYTES);
        match self {
            Self::Size => {
                let bytes = Capacity::LONG_BYTES;
                (Cdb::read_capacity_16(bytes as u32), bytes)
            }
            Self::Serial => (Cdb::inquiry(Some(vital::SERIAL), PAGE_BYTES), page),
            Self::Caching => (Cdb::mode_sense(Caching::PAGE, PAGE_BYTES), page),
        }
    }
}

impl Seat {
    /// A disk that takes `frames` frames at most; `question` is for itself.
    pub fn new(
        address: Address,
        serial: Text<20>,
        cache: WriteCache,
        frames: usize,
        question: Frame,
    ) -> Self {
        Self {
            holder: Holder::Disk,
            address,
            ended: VecDeque::with_capacity(frames),
            serial,
            question: Some(question),
            asked: Asked::Size,
            stale: false,
            fresh: None,
            cache: Cache {
                volatile: cache == WriteCache::Volatile,
                unflushed: false,
                covering: None,
                lost: false,
            },
            gone: false,
            is_known: false,
            look_at: Instant(0),
            has_stranger: false,
        }
    }

    /// A seat that is free.
    #[cold]
    #[inline(never)]
    pub fn free(frames: usize, question: Frame) -> Self {
        let cache = WriteCache::None;
        Self {
            holder: Holder::Nobody,
            ..Self::new(NOWHERE, Text::EMPTY, cache, frames, question)
        }
    }

    /// Whether another unit could have it.
    pub fn is_free(&self) -> bool {
        matches!(self.holder, Holder::Nobody) && self.question.is_some()
    }

    /// Asks the unit at `address` what it is, from now on.
    #[cold]
    pub fn meet(&mut self, address: Address, now: Instant) {
        self.address = address;
        let mut newcomer = Newcomer::new();
        // What is answered now was asked before.
        newcomer.is_doubtful = self.question.is_none();
        self.holder = Holder::Newcomer(newcomer);
        self.look_at = now;
    }

    /// Nobody has it any more, and it was no disk.
    #[cold]
    pub fn leave(&mut self) {
        self.address = NOWHERE;
        self.holder = Holder::Nobody;
    }

    /// The disk that came, once.
    pub fn take_fresh(&mut self) -> Option<Unit> {
        if !matches!(self.holder, Holder::Fresh(_)) {
            return None;
        }
        match core::mem::replace(&mut self.holder, Holder::Disk) {
            Holder::Fresh(unit) => {
                self.serial = unit.identity.serial;
                self.cache.volatile = unit.geometry.write_cache == WriteCache::Volatile;
                Some(unit)
            }
            _ => None,
        }
    }

    /// The command of its question, and how many bytes are answered at most.
    pub fn command(&self) -> (Cdb, usize) {
        match &self.holder {
            Holder::Newcomer(newcomer) => newcomer.command(),
            _ => self.asked.command(),
        }
    }

    /// Says once that the unit of adapter `name` is not there any more.
    #[cold]
    pub fn lose(&mut self, name: &str, now: Instant) {
        self.is_known = false;
        if self.gone {
            return;
        }
        self.gone = true;
        self.look_at = now + LOOK_US;
        let Address { target, unit } = self.address;
        let told = if self.cache.lose() {
            ", and with it perhaps writes in its cache; the next flush fails"
        } else {
            ""
        };
        log::error!("{name}: target {target} unit {unit} is gone{told}");
    }

    /// The frame to ask with, if there is something to ask.
    pub fn question(&mut self, now: Instant) -> Option<Frame> {
        let is_due = match self.holder {
            Holder::Newcomer(_) => now >= self.look_at,
            Holder::Disk if self.gone => now >= self.look_at,
            Holder::Disk => self.stale,
            _ => false,
        };
        let frame = self.question.take_if(|_| is_due)?;
        if self.gone {
            self.look_at = now + LOOK_US;
            self.asked = Asked::Serial;
        } else {
            self.stale = false;
            self.asked = Asked::Size;
        }
        Some(frame)
    }

    /// Takes note of an answer that came in `frame`.
    #[cold]
    pub fn answered(&mut self, name: &str, now: Instant, frame: &mut Frame, end: End) -> Look {
        let bytes = self.command().1;
        let answer = match end {
            End::Good { missing } => {
                let came = bytes.saturating_sub(missing as usize);
                Some(&frame.buffer_mut()[..came])
            }
            _ => None,
        };
        if let Holder::Newcomer(newcomer) = &mut self.holder {
            let step = newcomer.answered(answer, end);
            return self.step(name, now, step);
        }
        // It had something to say first, or no time: it is asked again.
        let again = match end {
            End::Check(sense) => sense.key == Key::UNIT_ATTENTION,
            other => matches!(other, End::Busy),
        };
        if !self.gone {
            self.stale |= again;
            if let (Some(answer), Asked::Size) = (answer, self.asked) {
                self.fresh = Capacity::parse_long(answer);
            }
            let is_gone = matches!(end, End::Gone);
            return if is_gone { Look::Gone } else { Look::Nothing };
        }
        if again {
            self.look_at = now;
            return Look::Nothing;
        }
        let is_it = match (self.asked, answer) {
            // It was asked before the unit went.
            (Asked::Size, _) => return Look::Nothing,
            (Asked::Serial, None) => {
                self.has_stranger = false;
                return Look::Nothing;
            }
            (Asked::Serial, Some(answer)) => {
                let number = serial(vital_page(answer, vital::SERIAL).unwrap_or_default());
                number != Text::EMPTY && number == self.serial
            }
            // One that does not say is taken to have a cache, as at the start.
            (Asked::Caching, answer) => answer.is_some_and(|page| !Caching::parse(page).volatile),
        };
        if is_it && self.asked == Asked::Serial && !self.cache.volatile {
            self.asked = Asked::Caching;
            return Look::AskMore;
        }
        let Address { target, unit } = self.address;
        if is_it {
            self.is_known = true;
            self.has_stranger = false;
        } else if !core::mem::replace(&mut self.has_stranger, true) {
            log::warn!(
                "{name}: what came to target {target} unit {unit} is not what was there; restart the node to serve it"
            );
        }
        Look::Nothing
    }
}

impl Seat {
    /// Serves a unit again that was known before everything the adapter had to say.
    #[inline]
    pub fn believe(&mut self, name: &str) {
        if self.is_known {
            self.take_back(name);
        }
    }

    #[cold]
    #[inline(never)]
    fn take_back(&mut self, name: &str) {
        self.is_known = false;
        self.gone = false;
        // It may have another size by now.
        self.stale = true;
        // Writes may have been answered after the word that it went.
        self.cache.lose();
        let Address { target, unit } = self.address;
        let serial = self.serial.as_str();
        log::warn!("{name}: target {target} unit {unit} ({serial}) is back");
    }

    /// What a newcomer's answer leads to.
    fn step(&mut self, name: &str, now: Instant, step: Step) -> Look {
        let address = self.address;
        match step {
            Step::AskMore => return Look::AskMore,
            // With the next tick.
            Step::Again => self.look_at = now,
            Step::Nobody => self.leave(),
            Step::Refused(error) => {
                self.holder = Holder::Stranger;
                log::warn!("{name}: {}; skipped", Skipped { address, error });
            }
            Step::Is(unit) => self.holder = Holder::Fresh(unit),
        }
        Look::Nothing
    }
}

/// What a unit holds that a cut of power takes.
pub(crate) struct Cache {
    volatile: bool,
    /// Writes were answered that no flush has made durable.
    unflushed: bool,
    /// The flush that would, if no write was answered since it was asked for.
    covering: Option<u32>,
    /// They may be lost, and nobody has heard of it.
    lost: bool,
}

/// Writes were lost: the flush fails.
pub(crate) struct Lost;

impl Cache {
    /// A flush is asked for, of a unit that is gone or not.
    pub fn begin_flush(&mut self, ticket: u32, is_gone: bool) -> Result<(), Lost> {
        self.covering = Some(ticket);
        if is_gone {
            // Its failure tells of every write that was answered before.
            self.unflushed = false;
            self.lost = false;
            return Err(Lost);
        }
        match core::mem::take(&mut self.lost) {
            true => Err(Lost),
            false => Ok(()),
        }
    }

    /// A request was answered.
    pub fn ended(&mut self, request: &Request, outcome: Outcome) {
        match (request.op, outcome) {
            (Op::Write, Outcome::Done) => {
                self.unflushed |= self.volatile;
                self.covering = None;
            }
            (Op::Flush, Outcome::Done) if self.covering == Some(request.ticket) => {
                self.unflushed = false;
            }
            _ => {}
        }
    }

    /// Power may be gone. True if that matters.
    fn lose(&mut self) -> bool {
        self.lost |= core::mem::take(&mut self.unflushed);
        self.lost
    }
}
