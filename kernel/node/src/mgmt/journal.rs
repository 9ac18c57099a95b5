//! The last lines of the log, with their times.
//!
//! The machine hands over what was said on its console; here it becomes lines. A
//! reader (the log server, the page) remembers how far it has come and asks for
//! what is newer; a reader that is too slow misses the oldest lines and is told
//! so by the numbers.

use alloc::boxed::Box;
use alloc::vec;
use io::{Instant, Text};

/// Lines that are kept.
pub const LINES_MAX: usize = 128;
/// Bytes of a line that are kept.
pub const LINE_BYTES: usize = 200;

/// How much a line matters, with the number of RFC 5424, 6.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something failed.
    Error = 3,
    /// A person should look.
    Warning = 4,
    /// A person wants to know.
    Info = 6,
    /// An engineer wants to know.
    Debug = 7,
}

impl Severity {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// One line.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// When it was heard.
    pub at: Instant,
    /// How much it matters.
    pub severity: Severity,
    /// What it says.
    pub text: Text<LINE_BYTES>,
}

/// See the module's header.
pub struct Journal {
    lines: Box<[Line]>,
    /// Lines ever.
    written: usize,
    /// The bytes of a line whose end has not been heard yet.
    begun: [u8; LINE_BYTES],
    begun_len: usize,
}

impl Journal {
    pub fn new() -> Self {
        let empty = Line {
            at: Instant(0),
            severity: Severity::Info,
            text: Text::EMPTY,
        };
        Self {
            lines: vec![empty; LINES_MAX].into_boxed_slice(),
            written: 0,
            begun: [0; LINE_BYTES],
            begun_len: 0,
        }
    }

    /// Takes what was said. What is longer than a line is cut. A line may quote
    /// what came from outside, and must not steer the terminal that shows it: control
    /// characters become question marks.
    pub fn hear(&mut self, now: Instant, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line(now),
                b'\r' => {}
                byte if self.begun_len < LINE_BYTES => {
                    let is_control = byte.is_ascii_control();
                    self.begun[self.begun_len] = if is_control { b'?' } else { byte };
                    self.begun_len += 1;
                }
                _ => {}
            }
        }
    }

    fn end_line(&mut self, now: Instant) {
        let bytes = &self.begun[..self.begun_len];
        self.begun_len = 0;
        // A character that was cut in two ends the line before it.
        let text = match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
        };
        let marks = [
            ("error: ", Severity::Error),
            ("warning: ", Severity::Warning),
            ("debug: ", Severity::Debug),
            ("trace: ", Severity::Debug),
        ];
        let marked = marks
            .into_iter()
            .find_map(|(mark, severity)| Some((text.strip_prefix(mark)?, severity)));
        let (text, severity) = marked.unwrap_or((text, Severity::Info));
        if text.is_empty() {
            return;
        }
        self.lines[self.written % LINES_MAX] = Line {
            at: now,
            severity,
            text: Text::new(text),
        };
        self.written += 1;
    }

    /// Lines ever heard; the number of the next one.
    pub fn written(&self) -> usize {
        self.written
    }

    /// The number of the oldest line that is still there, from `from` on.
    pub fn first_from(&self, from: usize) -> usize {
        from.max(self.written.saturating_sub(LINES_MAX))
    }

    /// The line with that number, if it is there.
    pub fn line(&self, number: usize) -> Option<&Line> {
        let kept = self.first_from(0)..self.written;
        kept.contains(&number)
            .then(|| &self.lines[number % LINES_MAX])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(journal: &Journal, number: usize) -> Option<&str> {
        journal.line(number).map(|line| line.text.as_str())
    }

    #[test]
    fn pieces_become_lines_with_their_severity() {
        let mut journal = Journal::new();
        journal.hear(Instant(5), b"warning: port 0: no li");
        assert_eq!(journal.written(), 0);
        journal.hear(Instant(6), b"nk\r\nhello\r\n\r\n");
        assert_eq!(text(&journal, 0), Some("port 0: no link"));
        assert_eq!(
            journal.line(0).map(|line| line.severity),
            Some(Severity::Warning)
        );
        assert_eq!(text(&journal, 1), Some("hello"));
        assert_eq!(journal.written(), 2);
    }

    #[test]
    fn what_would_steer_a_terminal_is_a_question_mark() {
        let mut journal = Journal::new();
        journal.hear(Instant(0), b"name \x1b[2J\x01\t\x7f \xc3\xa9\n");
        assert_eq!(text(&journal, 0), Some("name ?[2J??? \u{e9}"));
    }

    #[test]
    fn the_oldest_lines_go_first_and_numbers_say_so() {
        let mut journal = Journal::new();
        for _ in 0..LINES_MAX + 3 {
            journal.hear(Instant(0), b"x\n");
        }
        assert_eq!(journal.first_from(0), 3);
        assert_eq!(journal.first_from(7), 7);
        assert!(journal.line(2).is_none());
        assert!(journal.line(3).is_some());
        assert!(journal.line(LINES_MAX + 3).is_none());
    }

    #[test]
    fn any_bytes_at_all_are_harmless() {
        let mut journal = Journal::new();
        for byte in 0..=255 {
            journal.hear(Instant(0), &[byte; 3 * LINE_BYTES]);
            journal.hear(Instant(0), b"\xc3\n");
        }
        journal.hear(Instant(0), &[0xc3, 0xa9].repeat(LINE_BYTES));
        journal.hear(Instant(0), b"\n");
        let last = text(&journal, journal.written() - 1);
        assert_eq!(last.map(str::len), Some(LINE_BYTES));
    }
}
