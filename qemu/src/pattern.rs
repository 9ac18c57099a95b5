//! Sectors that say which sector they are.
//!
//! Each sector's bytes follow from its number and a seed, so a sector that is
//! stale, misplaced or half written is not just wrong: it says what it is.

use std::fmt;

/// Bytes of a sector.
pub const SECTOR_BYTES: usize = 512;
/// What a patterned sector begins with.
const MARK: &[u8; 8] = b"ublade#\0";

/// Fills `bytes`, whole sectors from `lba` on, with the pattern of `seed`.
pub fn fill(bytes: &mut [u8], lba: u64, seed: u64) {
    for (number, sector) in (lba..).zip(bytes.chunks_exact_mut(SECTOR_BYTES)) {
        let mut state = number ^ seed.rotate_left(32);
        for (index, word) in sector.chunks_exact_mut(8).enumerate() {
            let value = match index {
                0 => *MARK,
                1 => number.to_le_bytes(),
                2 => seed.to_le_bytes(),
                _ => scrambled(&mut state).to_le_bytes(),
            };
            word.copy_from_slice(&value);
        }
    }
}

/// Compares `bytes`, whole sectors from `lba` on, with the pattern of `seed`.
pub fn check(bytes: &[u8], lba: u64, seed: u64) -> Result<(), Mismatch> {
    let mut expected = [0; SECTOR_BYTES];
    for (number, sector) in (lba..).zip(bytes.chunks_exact(SECTOR_BYTES)) {
        fill(&mut expected, number, seed);
        if let Some(offset) = (0..SECTOR_BYTES).find(|&at| sector[at] != expected[at]) {
            return Err(Mismatch {
                lba: number,
                seed,
                offset,
                found: Found::look(sector),
            });
        }
    }
    Ok(())
}

/// The first sector that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which sector.
    pub lba: u64,
    /// The seed that was expected.
    pub seed: u64,
    /// The first byte that differs.
    pub offset: usize,
    /// What it is instead.
    pub found: Found,
}

/// What a wrong sector turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing was ever written here.
    Zeros,
    /// It says that it is this sector, of this seed.
    Pattern {
        /// The sector it says it is.
        lba: u64,
        /// The seed it says it is of.
        seed: u64,
    },
    /// Nothing of ours.
    Unknown,
}

impl Found {
    fn look(sector: &[u8]) -> Self {
        let word = |at: usize| {
            let bytes = sector[at..at + 8].try_into().expect("eight bytes");
            u64::from_le_bytes(bytes)
        };
        if sector.iter().all(|&byte| byte == 0) {
            Self::Zeros
        } else if sector.starts_with(MARK) {
            Self::Pattern {
                lba: word(8),
                seed: word(16),
            }
        } else {
            Self::Unknown
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lba, seed, offset, ..
        } = self;
        write!(
            f,
            "sector {lba} is not that of seed {seed:#x} from byte {offset} on: "
        )?;
        match self.found {
            Found::Zeros => f.write_str("it is all zeros"),
            Found::Pattern { lba, seed } => {
                write!(f, "it begins as sector {lba} of seed {seed:#x}")
            }
            Found::Unknown => f.write_str("it is nothing of ours"),
        }
    }
}

impl std::error::Error for Mismatch {}

/// The next word of a sequence that no two states share (SplitMix64).
pub fn scrambled(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_checks_and_every_changed_byte_is_found() {
        let mut bytes = [0; 3 * SECTOR_BYTES];
        fill(&mut bytes, 40, 7);
        assert_eq!(check(&bytes, 40, 7), Ok(()));
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            let mismatch = check(&bytes, 40, 7).unwrap_err();
            assert_eq!(mismatch.lba, 40 + (at / SECTOR_BYTES) as u64);
            assert_eq!(mismatch.offset, at % SECTOR_BYTES);
            bytes[at] ^= 1;
        }
    }

    #[test]
    fn a_misplaced_sector_says_which_one_it_is() {
        let mut bytes = [0; SECTOR_BYTES];
        assert_eq!(check(&bytes, 5, 7).unwrap_err().found, Found::Zeros);
        fill(&mut bytes, 6, 7);
        let mismatch = check(&bytes, 5, 7).unwrap_err();
        assert_eq!(mismatch.found, Found::Pattern { lba: 6, seed: 7 });
        assert!(mismatch.to_string().contains("begins as sector 6"));
        bytes.fill(0xee);
        assert_eq!(check(&bytes, 5, 7).unwrap_err().found, Found::Unknown);
    }
}
