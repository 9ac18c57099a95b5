//! CRC-32 as GPT and our own state area use it (ISO 3309, reflected).

/// Remainders of four bits: a table of 16 is enough for some KiB at start-up.
const TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut index = 0;
    while index < 16 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 4 {
            value = (value >> 1) ^ (0xedb8_8320 * (value & 1));
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

/// A sum in the making.
#[derive(Clone, Copy)]
pub struct Crc(u32);

impl Crc {
    /// The sum of nothing.
    pub const NEW: Self = Self(u32::MAX);

    /// Adds `bytes`.
    #[must_use]
    pub fn add(self, bytes: &[u8]) -> Self {
        let step = |crc: u32, bits: u32| (crc >> 4) ^ TABLE[((crc ^ bits) & 15) as usize];
        Self(bytes.iter().fold(self.0, |crc, &byte| {
            step(step(crc, u32::from(byte)), u32::from(byte >> 4))
        }))
    }

    /// The sum.
    pub fn sum(self) -> u32 {
        !self.0
    }
}

/// The sum of `bytes`.
pub fn of(bytes: &[u8]) -> u32 {
    Crc::NEW.add(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_comes_out() {
        assert_eq!(of(b"123456789"), 0xcbf4_3926);
        assert_eq!(Crc::NEW.add(b"1234").add(b"56789").sum(), 0xcbf4_3926);
        assert_eq!(of(b""), 0);
    }
}
