//! A unit that came while the node runs: what it is, by one question after the other.
//!
//! The same as at the start (see `discovery`), but nobody waits for the answers, and
//! what a unit can forget is not asked: that takes two more pages, and a restart finds
//! it.

use crate::adapter::End;
use crate::command::{Cdb, Opcode};
use crate::error::Error;
use crate::pages::{Caching, Capacity, Inquiry, name, serial, vital, vital_page};
use crate::sense::Key;
use crate::unit::{Unit, is_disk, is_usable};
use io::Text;

/// How often a unit may have something else to say before it answers: it is asked
/// again with the next tick.
const TRIES_MAX: u8 = 32;
/// Bytes of any page.
const PAGE_BYTES: u16 = 255;

/// What it is asked next.
#[derive(Clone, Copy)]
enum Question {
    What,
    Serial,
    Name,
    Size,
    Caching,
    /// One that has a cache and can not flush it has none that matters.
    Flush,
}

/// See the module's header.
pub(crate) struct Newcomer {
    question: Question,
    /// Somebody else may have come since it was asked: it begins anew.
    pub is_doubtful: bool,
    tries: u8,
    inquiry: Inquiry,
    serial: Text<20>,
    wwn: Text<32>,
    capacity: Option<Capacity>,
    caching: Caching,
}

/// What follows from an answer.
pub(crate) enum Step {
    /// There is one more question.
    AskMore,
    /// The same one again, later.
    Again,
    /// There is nobody.
    Nobody,
    /// It is nothing that we serve.
    Refused(Error),
    /// It is a disk.
    Is(Unit),
}

impl Newcomer {
    pub fn new() -> Self {
        Self {
            question: Question::What,
            is_doubtful: false,
            tries: 0,
            inquiry: Inquiry::parse(&[]),
            serial: Text::EMPTY,
            wwn: Text::EMPTY,
            capacity: None,
            caching: Caching {
                volatile: true,
                read_only: false,
            },
        }
    }

    /// The command that asks, and how many bytes are answered at most.
    pub fn command(&self) -> (Cdb, usize) {
        let page = usize::from(PAGE_BYTES);
        match self.question {
            Question::What => (Cdb::inquiry(None, PAGE_BYTES), page),
            Question::Serial => (Cdb::inquiry(Some(vital::SERIAL), PAGE_BYTES), page),
            Question::Name => (Cdb::inquiry(Some(vital::NAMES), PAGE_BYTES), page),
            Question::Size => {
                let bytes = Capacity::LONG_BYTES;
                (Cdb::read_capacity_16(bytes as u32), bytes)
            }
            Question::Caching => (Cdb::mode_sense(Caching::PAGE, PAGE_BYTES), page),
            Question::Flush => (Cdb::synchronize_cache(), 0),
        }
    }

    /// Takes note of an answer, or of how there was none.
    #[cold]
    pub fn answered(&mut self, answer: Option<&[u8]>, end: End) -> Step {
        if self.is_doubtful {
            *self = Self::new();
            return Step::Again;
        }
        let is_later = match end {
            End::Check(sense) => sense.key == Key::UNIT_ATTENTION || sense.says_wait(),
            other => matches!(other, End::Busy),
        };
        if is_later {
            self.tries += 1;
            return if self.tries < TRIES_MAX {
                Step::Again
            } else {
                Step::Refused(self.refused(end))
            };
        }
        if matches!(end, End::Gone) {
            return Step::Nobody;
        }
        match self.take(answer, end) {
            Ok(step) => step,
            Err(error) => Step::Refused(error),
        }
    }

    fn take(&mut self, answer: Option<&[u8]>, end: End) -> Result<Step, Error> {
        match self.question {
            Question::What => {
                self.inquiry = Inquiry::parse(answer.ok_or(self.refused(end))?);
                if !is_disk(&self.inquiry)? {
                    return Ok(Step::Nobody);
                }
                self.question = Question::Serial;
            }
            Question::Serial => {
                let page = answer.and_then(|page| vital_page(page, vital::SERIAL));
                self.serial = serial(page.unwrap_or_default());
                self.question = Question::Name;
            }
            Question::Name => {
                let page = answer.and_then(|page| vital_page(page, vital::NAMES));
                self.wwn = name(page.unwrap_or_default());
                self.question = Question::Size;
            }
            Question::Size => {
                let answer = answer.ok_or(self.refused(end))?;
                let capacity = Capacity::parse_long(answer).ok_or(Error::NoCapacity)?;
                self.capacity = Some(is_usable(capacity)?);
                self.question = Question::Caching;
            }
            Question::Caching => {
                if let Some(page) = answer {
                    self.caching = Caching::parse(page);
                }
                if self.caching.volatile {
                    self.question = Question::Flush;
                } else {
                    return self.is();
                }
            }
            Question::Flush => {
                if let End::Check(sense) = end {
                    self.caching.volatile = !sense.says_unknown_operation();
                }
                return self.is();
            }
        }
        Ok(Step::AskMore)
    }

    fn is(&self) -> Result<Step, Error> {
        let capacity = self.capacity.ok_or(Error::NoCapacity)?;
        let (serial, wwn) = (self.serial, self.wwn);
        let unit = Unit::new(self.inquiry, serial, wwn, capacity, self.caching, None);
        Ok(Step::Is(unit))
    }

    fn refused(&self, end: End) -> Error {
        let command: Opcode = self.command().0.opcode();
        match end {
            End::Check(sense) => Error::Refused { command, sense },
            _ => Error::NotCarried { command },
        }
    }
}
