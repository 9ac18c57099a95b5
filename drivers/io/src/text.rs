//! A short text with no heap behind it: names, serial numbers, models.
//!
//! There are some twenty lengths of it, and what is done to a text does not depend on
//! its length: [`Cut`] has the one body of it all, for any room.

use core::fmt::{self, Write};

/// Up to `N` bytes of UTF-8. What does not fit is cut off, never an error:
/// these texts are for people.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// No text.
    pub const EMPTY: Self = Self {
        bytes: [0; N],
        len: 0,
    };

    /// The text of `value`, cut at a character border where it is too long.
    pub fn new(value: &str) -> Self {
        let mut text = Self::EMPTY;
        text.push_str(value);
        text
    }

    /// The text that `args` formats to.
    #[cold]
    pub fn format(args: fmt::Arguments<'_>) -> Self {
        let mut text = Self::EMPTY;
        // A text cuts and never fails.
        let _ = text.cut().format(args);
        text
    }

    /// The printable ASCII of a device's string field: other bytes become
    /// spaces, and spaces and zeros at both ends are left out.
    #[cold]
    pub fn from_device(bytes: &[u8]) -> Self {
        let mut text = Self::EMPTY;
        text.cut().push_from_device(bytes);
        text
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        whole(&self.bytes[..self.len])
    }

    /// Whether there is no text.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn push_str(&mut self, value: &str) {
        self.cut().push_str(value);
    }

    fn cut(&mut self) -> Cut<'_> {
        Cut {
            bytes: &mut self.bytes,
            len: &mut self.len,
        }
    }
}

#[cold]
#[inline(never)]
fn whole(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).expect("only whole characters are pushed")
}

/// A text of any length, to be written to.
struct Cut<'a> {
    bytes: &'a mut [u8],
    len: &'a mut usize,
}

impl Cut<'_> {
    #[cold]
    #[inline(never)]
    fn push_str(&mut self, value: &str) {
        let room = self.bytes.len() - *self.len;
        let mut cut = value.len().min(room);
        while !value.is_char_boundary(cut) {
            cut -= 1;
        }
        self.bytes[*self.len..][..cut].copy_from_slice(&value.as_bytes()[..cut]);
        *self.len += cut;
    }

    #[cold]
    #[inline(never)]
    fn format(mut self, args: fmt::Arguments<'_>) -> fmt::Result {
        self.write_fmt(args)
    }

    #[cold]
    #[inline(never)]
    fn push_from_device(&mut self, bytes: &[u8]) {
        let is_filler = |byte: &u8| matches!(byte, 0 | b' ');
        let from = bytes
            .iter()
            .position(|byte| !is_filler(byte))
            .unwrap_or(bytes.len());
        let to = bytes
            .iter()
            .rposition(|byte| !is_filler(byte))
            .map_or(from, |last| last + 1);
        for &byte in bytes[from..to].iter().take(self.bytes.len()) {
            self.bytes[*self.len] = if (0x20..0x7f).contains(&byte) {
                byte
            } else {
                b' '
            };
            *self.len += 1;
        }
    }
}

impl Write for Cut<'_> {
    fn write_str(&mut self, value: &str) -> fmt::Result {
        self.push_str(value);
        Ok(())
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

// Whatever is written goes to `Cut`, so that nothing is compiled once for each length.
impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, value: &str) -> fmt::Result {
        self.cut().write_str(value)
    }

    fn write_char(&mut self, letter: char) -> fmt::Result {
        self.cut().write_char(letter)
    }

    fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> fmt::Result {
        self.cut().format(args)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_long_a_text_is_cut_between_characters() {
        assert_eq!(Text::<4>::new("abcdef").as_str(), "abcd");
        assert_eq!(Text::<4>::new("abcé").as_str(), "abc");
        assert_eq!(Text::<5>::new("abcé").as_str(), "abcé");
    }

    #[test]
    fn what_is_written_in_pieces_is_one_text_and_the_last_piece_is_cut() {
        let mut text = Text::<8>::new("a");
        assert_eq!(write!(text, "{}-{:?}", 12, 'b'), Ok(()));
        assert_eq!(text.as_str(), "a12-'b'");
        assert_eq!(text.write_char('\u{e9}'), Ok(()));
        assert_eq!(text.as_str(), "a12-'b'", "half of it would fit");
        assert_eq!(text.write_str("xy"), Ok(()));
        assert_eq!(text.as_str(), "a12-'b'x");
        assert_eq!(Text::<3>::format(format_args!("{:>5}", 7)).as_str(), "   ");
    }

    #[test]
    fn a_device_string_loses_its_padding_and_its_control_characters() {
        assert_eq!(
            Text::<20>::from_device(b"  WD-\x01 42 \0\0").as_str(),
            "WD-  42"
        );
        assert_eq!(Text::<20>::from_device(b"\0\0").as_str(), "");
        assert_eq!(Text::<20>::from_device(&[0xff; 30]).as_str().len(), 20);
    }
}
