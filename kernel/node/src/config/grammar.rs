//! From bytes to `key=value`: the one grammar of every channel.
//!
//! On the kernel command line a setting is a word with the prefix `ublade.`, or
//! one of four words that keep their Linux spelling; every other word is for
//! somebody else and is passed over in silence. Elsewhere a setting is a line,
//! the prefix may be left out, and `#` starts a comment.
//!
//! The input is bytes from outside. Nothing here allocates, and no input panics:
//! a setting that is not UTF-8 or has no `=` is an [`Entry`] like any other, with
//! what is wrong said in its value.

/// Words of the kernel command line that need no prefix.
const LINUX_KEYS: [&str; 4] = ["ip", "console", "panic", "hostname"];
/// What marks a word of the kernel command line as ours.
const PREFIX: &str = "ublade.";

/// How settings stand in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Words between spaces; double quotes keep spaces in a word.
    Words,
    /// One a line.
    Lines,
}

/// One setting as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Byte of a word, number of a line; both counted from 1.
    pub(super) at: u32,
    /// The key, without prefix.
    pub(super) key: &'a str,
    /// The value, or what is wrong with the writing.
    pub(super) value: Result<&'a str, &'static str>,
}

/// All settings of `text`, in order.
pub(super) fn entries(form: Form, text: &[u8]) -> Entries<'_> {
    Entries {
        form,
        rest: text,
        at: 1,
    }
}

/// See [`entries`].
pub(super) struct Entries<'a> {
    form: Form,
    rest: &'a [u8],
    /// Byte or line at which `rest` starts.
    at: u32,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        // Ends: every round takes at least one byte off `rest`.
        while !self.rest.is_empty() {
            let found = match self.form {
                Form::Words => {
                    let (at, word) = self.take_word();
                    entry_of_word(at, word)
                }
                Form::Lines => {
                    let (at, line) = self.take_line();
                    entry_of_line(at, line)
                }
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

impl<'a> Entries<'a> {
    /// The next word (empty at a run of spaces' end) and the byte it starts at.
    fn take_word(&mut self) -> (u32, &'a [u8]) {
        let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
        let skip = self
            .rest
            .iter()
            .position(|byte| !is_space(byte))
            .unwrap_or(self.rest.len());
        let mut quoted = false;
        let len = self.rest[skip..]
            .iter()
            .position(|byte| {
                quoted ^= *byte == b'"';
                is_space(byte) && !quoted
            })
            .unwrap_or(self.rest.len() - skip);
        let word = &self.rest[skip..skip + len];
        let at = self.at.saturating_add(skip as u32);
        self.at = at.saturating_add(len as u32);
        self.rest = &self.rest[skip + len..];
        (at, word)
    }

    /// The next line without its end, and its number.
    fn take_line(&mut self) -> (u32, &'a [u8]) {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        let at = self.at;
        self.at = self.at.saturating_add(1);
        self.rest = rest;
        (at, line)
    }
}

fn entry_of_word(at: u32, word: &[u8]) -> Option<Entry<'_>> {
    // Like Linux: quotes around the whole word, or around the value.
    let word = unquoted(word);
    let end = word.iter().position(|byte| *byte == b'=');
    let key = core::str::from_utf8(&word[..end.unwrap_or(word.len())]).ok()?;
    let key = match key.strip_prefix(PREFIX) {
        Some(key) => key,
        None if LINUX_KEYS.contains(&key) => key,
        None => return None,
    };
    let value = end.map(|end| unquoted(&word[end + 1..]));
    Some(Entry {
        at,
        key,
        value: readable(value),
    })
}

fn entry_of_line(at: u32, line: &[u8]) -> Option<Entry<'_>> {
    let line = without_comment(line).trim_ascii();
    let line = line.trim_ascii_end().strip_suffix(b"\0").unwrap_or(line);
    if line.is_empty() {
        return None;
    }
    let end = line.iter().position(|byte| *byte == b'=');
    let key = line[..end.unwrap_or(line.len())].trim_ascii();
    let key = key.strip_prefix(PREFIX.as_bytes()).unwrap_or(key);
    let value = end.map(|end| unquoted(line[end + 1..].trim_ascii()));
    Some(match core::str::from_utf8(key) {
        Ok(key) => Entry {
            at,
            key,
            value: readable(value),
        },
        Err(_) => Entry {
            at,
            key: "?",
            value: Err("the key is not UTF-8"),
        },
    })
}

fn readable(value: Option<&[u8]>) -> Result<&str, &'static str> {
    let value = value.ok_or("a setting is key=value, and the = is missing")?;
    core::str::from_utf8(value).map_err(|_| "the value is not UTF-8")
}

/// A `#` starts a comment at the start of a line and after a space; elsewhere it
/// may be part of a value.
fn without_comment(line: &[u8]) -> &[u8] {
    let start = line.iter().enumerate().position(|(index, byte)| {
        *byte == b'#' && (index == 0 || line[index - 1].is_ascii_whitespace())
    });
    &line[..start.unwrap_or(line.len())]
}

fn unquoted(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"")
        .and_then(|text| text.strip_suffix(b"\""))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn words(text: &str) -> Vec<Entry<'_>> {
        entries(Form::Words, text.as_bytes()).collect()
    }

    fn lines(text: &str) -> Vec<Entry<'_>> {
        entries(Form::Lines, text.as_bytes()).collect()
    }

    fn entry(at: u32, key: &'static str, value: &'static str) -> Entry<'static> {
        Entry {
            at,
            key,
            value: Ok(value),
        }
    }

    #[test]
    fn only_our_words_and_four_of_linux_are_read_from_the_command_line() {
        assert_eq!(
            words(
                "root=/dev/sda ublade.shelf=7  virtio_mmio.device=512@0xfeb00000:5 panic=3 quiet shelf=9"
            ),
            [entry(15, "shelf", "7"), entry(67, "panic", "3")]
        );
    }

    #[test]
    fn quotes_keep_spaces_in_a_word() {
        assert_eq!(
            words(r#"ublade.slot.0="serial:A B,ro" "ublade.slot.1=serial:C D""#),
            [
                entry(1, "slot.0", "serial:A B,ro"),
                entry(31, "slot.1", "serial:C D")
            ]
        );
    }

    #[test]
    fn a_word_of_ours_without_a_value_is_not_passed_over() {
        assert_eq!(words("ublade.rw")[0].key, "rw");
        assert!(words("ublade.rw")[0].value.is_err());
        assert_eq!(words("ublade.rw=")[0].value, Ok(""));
    }

    #[test]
    fn lines_have_comments_and_an_optional_prefix() {
        assert_eq!(
            lines("# node 7\n\nshelf = 7 # the cellar\r\nublade.token=a#b\n  rw=all"),
            [
                entry(3, "shelf", "7"),
                entry(4, "token", "a#b"),
                entry(5, "rw", "all")
            ]
        );
    }

    #[test]
    fn a_line_without_a_value_is_named() {
        assert_eq!(lines("shelf")[0].key, "shelf");
        assert!(lines("shelf")[0].value.is_err());
    }

    #[test]
    fn bytes_that_are_no_text_are_an_entry_or_nothing() {
        assert_eq!(entries(Form::Words, b"\xff=1 ublade.rw=\xff").count(), 1);
        assert_eq!(entries(Form::Lines, b"\xff=1\nrw=\xff\n\0").count(), 2);
    }

    #[test]
    fn an_unclosed_quote_ends_with_the_text() {
        assert_eq!(words("ublade.rw=\"a b")[0].value, Ok("\"a b"));
    }
}
