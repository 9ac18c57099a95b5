//! A short text with no heap behind it: names, serial numbers, models.

use core::fmt;

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
    #[inline(never)]
    pub fn format(args: fmt::Arguments<'_>) -> Self {
        let mut text = Self::EMPTY;
        // `write_str` below cuts and never fails.
        let _ = fmt::Write::write_fmt(&mut text, args);
        text
    }

    /// The printable ASCII of a device's string field: other bytes become
    /// spaces, and spaces and zeros at both ends are left out.
    #[cold]
    #[inline(never)]
    pub fn from_device(bytes: &[u8]) -> Self {
        let is_filler = |byte: &u8| matches!(byte, 0 | b' ');
        let from = bytes
            .iter()
            .position(|byte| !is_filler(byte))
            .unwrap_or(bytes.len());
        let to = bytes
            .iter()
            .rposition(|byte| !is_filler(byte))
            .map_or(from, |last| last + 1);
        let mut text = Self::EMPTY;
        for &byte in bytes[from..to].iter().take(N) {
            text.bytes[text.len] = if (0x20..0x7f).contains(&byte) {
                byte
            } else {
                b' '
            };
            text.len += 1;
        }
        text
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).expect("only whole characters are pushed")
    }

    /// Whether there is no text.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[cold]
    #[inline(never)]
    fn push_str(&mut self, value: &str) {
        let room = N - self.len;
        let mut cut = value.len().min(room);
        while !value.is_char_boundary(cut) {
            cut -= 1;
        }
        self.bytes[self.len..self.len + cut].copy_from_slice(&value.as_bytes()[..cut]);
        self.len += cut;
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    #[inline(never)]
    fn write_str(&mut self, value: &str) -> fmt::Result {
        self.push_str(value);
        Ok(())
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
    fn a_device_string_loses_its_padding_and_its_control_characters() {
        assert_eq!(
            Text::<20>::from_device(b"  WD-\x01 42 \0\0").as_str(),
            "WD-  42"
        );
        assert_eq!(Text::<20>::from_device(b"\0\0").as_str(), "");
        assert_eq!(Text::<20>::from_device(&[0xff; 30]).as_str().len(), 20);
    }
}
