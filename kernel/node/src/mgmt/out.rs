//! A piece of an answer in the making, and how texts stand in it.

use core::fmt::{self, Write};

/// Bytes of the largest piece. An answer is made piece by piece as the connection
/// takes it, so no answer needs memory of its own length.
pub const PIECE_BYTES: usize = 4096;
/// Bytes that must be left for one more row of a list.
pub const ROW_BYTES: usize = 900;

/// A piece. What does not fit is cut, and [`is_cut`](Self::is_cut) says so.
pub struct Out<'a> {
    bytes: &'a mut [u8],
    len: usize,
    is_cut: bool,
}

impl<'a> Out<'a> {
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self {
            bytes,
            len: 0,
            is_cut: false,
        }
    }

    /// What was written.
    pub fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether one more row surely fits.
    pub fn has_room(&self) -> bool {
        self.room() >= ROW_BYTES
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.bytes.len() - self.len
    }

    /// Whether something did not fit.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Writes `text` as it is.
    pub fn put(&mut self, text: &str) {
        self.put_bytes(text.as_bytes());
    }

    /// Writes what is no text.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        let take = bytes.len().min(self.room());
        self.bytes[self.len..self.len + take].copy_from_slice(&bytes[..take]);
        self.len += take;
        self.is_cut |= take < bytes.len();
    }
}

impl Write for Out<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text);
        Ok(())
    }
}

/// `write!` into an [`Out`], which takes everything.
macro_rules! put {
    ($out:expr, $($format:tt)*) => {{
        use core::fmt::Write as _;
        // `Out` cuts and never fails.
        let _ = write!($out, $($format)*);
    }};
}
pub(super) use put;

/// A text in HTML.
pub struct Html<T>(pub T);

impl<T: fmt::Display> fmt::Display for Html<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escape = Escape(f, |byte| match byte {
            b'&' => Some("&amp;"),
            b'<' => Some("&lt;"),
            b'>' => Some("&gt;"),
            b'"' => Some("&quot;"),
            b'\'' => Some("&#39;"),
            0..0x20 | 0x7f => Some(" "),
            _ => None,
        });
        write!(escape, "{}", self.0)
    }
}

/// A text in a JSON string or in a Prometheus label, without its quotes.
pub struct Quoted<T>(pub T);

impl<T: fmt::Display> fmt::Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escape = Escape(f, |byte| match byte {
            b'"' => Some("\\\""),
            b'\\' => Some("\\\\"),
            b'\n' => Some("\\n"),
            // Other control characters mean nothing in any of our texts.
            0..0x20 | 0x7f => Some(" "),
            _ => None,
        });
        write!(escape, "{}", self.0)
    }
}

struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>, fn(u8) -> Option<&'static str>);

impl Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut from = 0;
        for (at, byte) in text.bytes().enumerate() {
            if let Some(instead) = self.1(byte) {
                self.0.write_str(&text[from..at])?;
                self.0.write_str(instead)?;
                from = at + 1;
            }
        }
        self.0.write_str(&text[from..])
    }
}

/// A number for a person: with a comma between thousands.
pub struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut divisor = 1;
        // Ends: a number has twenty digits at most.
        while self.0 / divisor >= 1000 {
            divisor *= 1000;
        }
        write!(f, "{}", self.0 / divisor)?;
        while divisor > 1 {
            divisor /= 1000;
            write!(f, ",{:03}", self.0 / divisor % 1000)?;
        }
        Ok(())
    }
}

/// Microseconds as seconds with all their decimals: what Prometheus counts in.
pub struct Seconds(pub u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Microseconds for a person.
pub struct Short(pub u64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            us @ 0..1000 => write!(f, "{us} µs"),
            us @ 1000..10_000 => write!(f, "{}.{} ms", us / 1000, us % 1000 / 100),
            us @ 10_000..1_000_000 => write!(f, "{} ms", us / 1000),
            us => write!(f, "{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn texts_from_outside_stay_texts() {
        let nasty = "<script>\"a\" & 'b'\\\n\u{1}é";
        assert_eq!(
            Html(nasty).to_string(),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\\  é"
        );
        assert_eq!(
            Quoted(nasty).to_string(),
            "<script>\\\"a\\\" & 'b'\\\\\\n é"
        );
    }

    #[test]
    fn what_does_not_fit_is_cut_and_said_to_be() {
        let mut bytes = [0; 4];
        let mut out = Out::new(&mut bytes);
        put!(out, "{}", 1234);
        assert!(!out.is_cut());
        put!(out, "5");
        assert!(out.is_cut());
        assert_eq!(out.written(), b"1234");
    }

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_000_001, "1,000,001"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(Grouped(number).to_string(), text);
        }
    }

    #[test]
    fn times_have_a_unit_that_suits_them() {
        for (us, text) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1500, "1.5 ms"),
            (12_345, "12 ms"),
            (2_340_000, "2.3 s"),
        ] {
            assert_eq!(Short(us).to_string(), text);
        }
        assert_eq!(Seconds(1_000_020).to_string(), "1.000020");
    }
}
