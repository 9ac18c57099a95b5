//! Sense data: what a unit says when it does not say GOOD (SPC-5, 4.5).

/// The kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub u8);

impl Key {
    /// None to speak of.
    pub const NONE: Self = Self(0x0);
    /// Done, after some trouble.
    pub const RECOVERED: Self = Self(0x1);
    /// Can not be used now.
    pub const NOT_READY: Self = Self(0x2);
    /// The medium there is bad.
    pub const MEDIUM: Self = Self(0x3);
    /// The unit is broken.
    pub const HARDWARE: Self = Self(0x4);
    /// It does not understand or does not want to.
    pub const ILLEGAL_REQUEST: Self = Self(0x5);
    /// Something changed that we should know first; nothing was done.
    pub const UNIT_ATTENTION: Self = Self(0x6);
    /// It may not be written.
    pub const DATA_PROTECT: Self = Self(0x7);
    /// It gave the command up; it can be sent again.
    pub const ABORTED: Self = Self(0xb);
}

/// Key, code and qualifier: all that decisions need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    /// The kind of trouble.
    pub key: Key,
    /// Additional sense code.
    pub code: u8,
    /// Its qualifier.
    pub qualifier: u8,
}

impl Sense {
    /// Nothing was said.
    pub const NOTHING: Self = Self {
        key: Key::NONE,
        code: 0,
        qualifier: 0,
    };

    /// Reads sense data of either format; what can not be read says nothing.
    pub fn parse(bytes: &[u8]) -> Self {
        let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
        match at(0) & 0x7f {
            // Fixed format; the length says whether the codes are there.
            0x70 | 0x71 => {
                let has_codes = at(7) >= 6;
                Self {
                    key: Key(at(2) & 0xf),
                    code: if has_codes { at(12) } else { 0 },
                    qualifier: if has_codes { at(13) } else { 0 },
                }
            }
            // Descriptor format.
            0x72 | 0x73 => Self {
                key: Key(at(1) & 0xf),
                code: at(2),
                qualifier: at(3),
            },
            _ => Self::NOTHING,
        }
    }

    /// The capacity has changed (2Ah/09h).
    pub fn says_resized(self) -> bool {
        self.key == Key::UNIT_ATTENTION && (self.code, self.qualifier) == (0x2a, 0x09)
    }

    /// The unit's settings have changed (2Ah).
    pub fn says_changed(self) -> bool {
        self.key == Key::UNIT_ATTENTION && self.code == 0x2a
    }

    /// It is getting ready (04h/01h), and says so.
    pub fn says_wait(self) -> bool {
        self.key == Key::NOT_READY && (self.code, self.qualifier) == (0x04, 0x01)
    }

    /// It does not know the operation (20h/00h).
    pub fn says_unknown_operation(self) -> bool {
        self.key == Key::ILLEGAL_REQUEST && self.code == 0x20
    }

    /// There is no such unit (25h).
    pub fn says_no_unit(self) -> bool {
        self.key == Key::ILLEGAL_REQUEST && self.code == 0x25
    }

    /// There is no medium in it (3Ah).
    pub fn says_no_medium(self) -> bool {
        self.key == Key::NOT_READY && self.code == 0x3a
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_say_the_same() {
        let sense = Sense {
            key: Key::UNIT_ATTENTION,
            code: 0x2a,
            qualifier: 9,
        };
        let fixed = [
            0xf0, 0, 0x06, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 9, 0, 0, 0, 0,
        ];
        assert_eq!(Sense::parse(&fixed), sense);
        assert_eq!(Sense::parse(&[0x72, 0x06, 0x2a, 9, 0, 0, 0, 0]), sense);
        assert!(sense.says_resized() && sense.says_changed());
    }

    #[test]
    fn what_is_cut_short_says_less_and_nothing_falls() {
        let fixed = [0x70, 0, 0x03, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x11, 0];
        for end in 0..=fixed.len() {
            let sense = Sense::parse(&fixed[..end]);
            assert!(sense.key == Key::MEDIUM || end < 3);
        }
        let mut short = fixed;
        short[7] = 5;
        assert_eq!(
            Sense::parse(&short).code,
            0,
            "the length says it ends before"
        );
        assert_eq!(Sense::parse(&[0x7f; 18]), Sense::NOTHING);
        assert_eq!(Sense::parse(&[]), Sense::NOTHING);
    }
}
