//! A terminal: bytes that somebody types in, lines of text out.
//!
//! Nothing here knows a serial port or a network. A line is edited, becomes a
//! command, and a command either shows something, piece by piece as the text is
//! taken away, or brings a wish, whose outcome is shown. While a command runs, what
//! is typed waits; Ctrl-C ends what is being shown.

use super::operate::{Told, Wish};
use super::out::Out;
use super::pages::{Cursor, Show, View};
use super::request::is_same_secret;
use crate::closing::Order;
use alloc::boxed::Box;
use alloc::vec;
use io::{Disk, Nic, Text};

/// Bytes of a line.
pub const LINE_BYTES: usize = 240;
/// Bytes that may be typed ahead.
const TYPED_BYTES: usize = 256;
/// Bytes of a piece of text, with room for one more row behind it.
const PIECE_BYTES: usize = 2048;

const PROMPT: &str = "ublade> ";
const BELL: u8 = 0x07;
const INTERRUPT: u8 = 0x03;
const ERASE_LINE: u8 = 0x15;
const ESCAPE: u8 = 0x1b;

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Nothing.
    Nothing,
    /// To see something.
    Show(Show),
    /// To have something done; the text goes with it.
    Do(Wish, &'a str),
    /// To be somebody who may change things.
    Token(&'a str),
    /// What nobody understands.
    Unknown,
}

impl<'a> Command<'a> {
    /// Reads a line.
    #[cold]
    pub fn parse(line: &'a str) -> Self {
        let line = line.trim();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        let online = |online| match rest.parse() {
            Ok(slot) => Self::Do(Wish::Online { slot, online }, ""),
            Err(_) => Self::Unknown,
        };
        match (word, rest) {
            ("", _) => Self::Nothing,
            ("set", setting) if !setting.is_empty() => Self::Do(Wish::Set, setting),
            ("unset", key) if !key.is_empty() => Self::Do(Wish::Unset, key),
            ("token", token) if !token.is_empty() => Self::Token(token),
            ("online", _) => online(true),
            ("offline", _) => online(false),
            (_, rest) if !rest.is_empty() => Self::Unknown,
            ("help" | "?", _) => Self::Show(Show::Help),
            ("status", _) => Self::Show(Show::Status),
            ("exports", _) => Self::Show(Show::Exports),
            ("disks", _) => Self::Show(Show::Disks),
            ("ports", _) => Self::Show(Show::Ports),
            ("clients", _) => Self::Show(Show::Clients),
            ("hist", _) => Self::Show(Show::Hist),
            ("log", _) => Self::Show(Show::Log),
            ("trace", _) => Self::Show(Show::Trace),
            ("set", _) => Self::Show(Show::Settings),
            ("save", _) => Self::Do(Wish::SaveSet, ""),
            ("restore", _) => Self::Do(Wish::SavePrevious, ""),
            ("reboot", _) => Self::Do(Wish::Stop(Order::Restart), ""),
            ("poweroff", _) => Self::Do(Wish::Stop(Order::PowerOff), ""),
            _ => Self::Unknown,
        }
    }
}

#[derive(Clone, Copy)]
enum State {
    /// A line is being typed.
    Reading,
    /// Something is being shown.
    Showing(Show, Cursor),
    /// A wish is being carried out; its text is in the line.
    Wishing(Wish, usize),
    /// It is done, and perhaps this has to become durable.
    Settling(Option<usize>),
}

/// See the module's header.
pub struct Terminal {
    line: [u8; LINE_BYTES],
    len: usize,
    /// How far into an escape sequence we are.
    escape: u8,
    /// The last byte was a carriage return.
    after_return: bool,
    state: State,
    /// What became of the last wish.
    words: Text<240>,
    typed: [u8; TYPED_BYTES],
    typed_len: usize,
    piece: Box<[u8]>,
    piece_len: usize,
    taken: usize,
    /// The return before a line feed has been given out.
    returned: bool,
    /// Whether whoever is here may change things.
    may_change: bool,
}

impl Terminal {
    /// A terminal at which somebody may change things or not.
    pub fn new(may_change: bool) -> Self {
        Self {
            line: [0; LINE_BYTES],
            len: 0,
            escape: 0,
            after_return: false,
            state: State::Reading,
            words: Text::EMPTY,
            typed: [0; TYPED_BYTES],
            typed_len: 0,
            piece: vec![0; PIECE_BYTES].into_boxed_slice(),
            piece_len: 0,
            taken: 0,
            returned: false,
            may_change,
        }
    }

    /// Somebody else is here now, or nobody.
    #[cold]
    pub fn clear(&mut self) {
        (self.len, self.typed_len) = (0, 0);
        (self.piece_len, self.taken) = (0, 0);
        self.escape = 0;
        self.state = State::Reading;
        self.may_change = false;
    }

    /// Takes what was typed. What there is no room for is lost, as on any line.
    #[cold]
    pub fn type_in(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == INTERRUPT {
                self.typed_len = 0;
                self.len = 0;
                self.escape = 0;
                if matches!(self.state, State::Reading | State::Showing(..)) {
                    self.state = State::Reading;
                    self.piece_len = 0;
                    self.taken = 0;
                    self.say("^C\n");
                    self.say(PROMPT);
                }
            } else if self.typed_len < TYPED_BYTES {
                self.typed[self.typed_len] = byte;
                self.typed_len += 1;
            }
        }
    }

    /// The next bytes to show, as many as `bytes` holds.
    #[cold]
    pub fn take(&mut self, bytes: &mut [u8]) -> usize {
        let mut len = 0;
        for place in bytes {
            let Some(&next) = self.piece[..self.piece_len].get(self.taken) else {
                break;
            };
            let is_return = next == b'\n' && !self.returned;
            self.returned = is_return;
            *place = if is_return { b'\r' } else { next };
            self.taken += usize::from(!is_return);
            len += 1;
        }
        if self.taken == self.piece_len {
            (self.taken, self.piece_len) = (0, 0);
        }
        len
    }

    /// Whether there is something to show.
    pub fn has_words(&self) -> bool {
        self.piece_len > 0
    }

    /// Whether a turn would go on with something. What waits until it is durable is
    /// woken by that.
    pub fn is_due(&self) -> bool {
        let goes_on = match self.state {
            State::Reading => self.typed_len > 0,
            State::Settling(pending) => pending.is_none(),
            State::Showing(..) | State::Wishing(..) => true,
        };
        goes_on && !self.has_words()
    }

    /// Whether nobody has typed anything and nothing is shown: nearly always.
    pub fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Reading) && self.typed_len == 0
    }

    /// Goes on: with what is typed, or with what is shown.
    #[cold]
    #[inline(never)]
    pub fn turn<N: Nic, D: Disk>(&mut self, view: &View<'_, N, D>) {
        if self.has_words() {
            return;
        }
        match self.state {
            State::Reading => self.read(view.token()),
            State::Showing(show, mut cursor) => {
                let mut out = Out::new(&mut self.piece);
                let is_more = view.text(show, &mut cursor, &mut out);
                if !is_more {
                    out.put(PROMPT);
                }
                self.piece_len = out.written().len();
                self.state = if is_more {
                    State::Showing(show, cursor)
                } else {
                    State::Reading
                };
            }
            State::Settling(pending) if pending.is_some_and(|what| view.is_pending(what)) => {}
            State::Settling(_) => {
                self.state = State::Reading;
                let words = self.words;
                self.say(words.as_str());
                self.say("\n");
                self.say(PROMPT);
            }
            State::Wishing(..) => {}
        }
    }

    /// What is to be done, and the text that goes with it.
    pub fn wish(&self) -> Option<(Wish, &[u8])> {
        match self.state {
            State::Wishing(wish, from) => Some((wish, &self.line[from..self.len])),
            _ => None,
        }
    }

    /// What became of it.
    #[cold]
    pub fn tell(&mut self, told: Told) {
        self.len = 0;
        self.words = told.words;
        self.state = State::Settling(told.pending);
    }

    fn say(&mut self, text: &str) {
        let mut out = Out::new(&mut self.piece[self.piece_len..]);
        out.put(text);
        self.piece_len += out.written().len();
    }

    /// Edits the line with what was typed, up to the end of a line.
    fn read(&mut self, token: &str) {
        let mut used = 0;
        while used < self.typed_len && matches!(self.state, State::Reading) {
            let byte = self.typed[used];
            used += 1;
            let was_return = core::mem::replace(&mut self.after_return, byte == b'\r');
            // What a line broke off is over with the next control character.
            if byte.is_ascii_control() {
                self.escape = 0;
            }
            match (self.escape, byte) {
                (1, b'[' | b'O') => self.escape = 2,
                (1, _) | (2, 0x40..=0x7e) => self.escape = 0,
                (2, _) => {}
                (_, ESCAPE) => self.escape = 1,
                (_, b'\n') if was_return => {}
                (_, b'\r' | b'\n') => {
                    self.say("\n");
                    self.obey(token);
                }
                (_, 0x08 | 0x7f) if self.len > 0 => {
                    self.len -= 1;
                    self.say("\x08 \x08");
                }
                (_, ERASE_LINE) => {
                    self.len = 0;
                    self.say("\r\x1b[K");
                    self.say(PROMPT);
                }
                (_, 0x20..=0x7e) if self.len < LINE_BYTES => {
                    self.line[self.len] = byte;
                    self.len += 1;
                    let mut out = Out::new(&mut self.piece[self.piece_len..]);
                    out.put_bytes(&[byte]);
                    self.piece_len += out.written().len();
                }
                _ => self.say("\x07"),
            }
        }
        const _: () = assert!(BELL == b"\x07"[0]);
        self.typed.copy_within(used..self.typed_len, 0);
        self.typed_len -= used;
    }

    /// Does what the line says.
    fn obey(&mut self, token: &str) {
        let line = &self.line[..self.len];
        // Only letters of ASCII get into it.
        let line = str::from_utf8(line).unwrap_or("");
        let answer = match Command::parse(line) {
            Command::Nothing => "",
            Command::Show(show) => {
                self.state = State::Showing(show, Cursor::default());
                self.len = 0;
                return;
            }
            Command::Do(wish, text) if self.may_change => {
                // The text is the end of the line.
                let text_len = text.len();
                self.len = line.trim_end().len();
                self.state = State::Wishing(wish, self.len - text_len);
                return;
            }
            Command::Do(..) if token.is_empty() => "read-only: the setting token= opens changes\n",
            Command::Do(..) => "say token and the token first\n",
            Command::Token(given) => {
                let is_it = !token.is_empty() && is_same_secret(token.as_bytes(), given.as_bytes());
                self.may_change |= is_it;
                if is_it {
                    "changes are open to you\n"
                } else {
                    "that is not it\n"
                }
            }
            Command::Unknown => "no such command; help lists them\n",
        };
        self.len = 0;
        self.say(answer);
        self.say(PROMPT);
    }
}
