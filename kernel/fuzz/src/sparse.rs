//! A disk that is all zeros, but for what an input says.
//!
//! It fails the run if a sector is asked for that is not there or not the reader's
//! business, or if more are read than a start-up can wait for.

use node::media::{Blocks, Sector, Unread};
use std::collections::BTreeMap;
use std::ops::Range;

pub const SECTOR_BYTES: usize = 512;

/// See the module's header.
#[derive(Clone)]
pub struct Sparse {
    sectors: u64,
    written: BTreeMap<u64, Box<Sector>>,
    /// What may be read, and how often.
    within: Range<u64>,
    reads_left: usize,
    /// The sector that can not be read.
    pub bad: Option<u64>,
    /// Whether it was asked for.
    pub has_failed: bool,
}

impl Sparse {
    pub fn new(sectors: u64) -> Self {
        Self {
            sectors,
            written: BTreeMap::new(),
            within: 0..sectors,
            reads_left: 0,
            bad: None,
            has_failed: false,
        }
    }

    /// From now on a reader may look at these sectors, so many times in all.
    pub fn allow(&mut self, within: Range<u64>, reads: usize) -> &mut Self {
        self.within = within;
        self.reads_left = reads;
        self.has_failed = false;
        self
    }

    /// Writes `bytes` from byte `at` of sector `lba` on; what would lie outside of
    /// the disk is forgotten.
    pub fn put(&mut self, lba: u64, at: usize, bytes: &[u8]) {
        let mut lba = lba.saturating_add((at / SECTOR_BYTES) as u64);
        let mut at = at % SECTOR_BYTES;
        let mut rest = bytes;
        while !rest.is_empty() && lba < self.sectors {
            let here = rest.len().min(SECTOR_BYTES - at);
            let sector = self.written.entry(lba);
            let sector = sector.or_insert_with(|| Box::new([0; SECTOR_BYTES]));
            sector[at..at + here].copy_from_slice(&rest[..here]);
            rest = &rest[here..];
            (lba, at) = (lba + 1, 0);
        }
    }

    /// The bytes of a sector, budget or not.
    pub fn look(&self, lba: u64) -> Sector {
        self.written
            .get(&lba)
            .map_or([0; SECTOR_BYTES], |sector| **sector)
    }

    /// The input as a list of changes: where (16 bits, of which `place` makes a
    /// sector), from which byte on (16), how many (8), and these.
    pub fn change(&mut self, mut changes: &[u8], place: impl Fn(u16) -> u64) {
        while let Some((head, rest)) = changes.split_first_chunk::<5>() {
            let [a, b, c, d, len] = *head;
            let at = usize::from(u16::from_le_bytes([c, d])) % SECTOR_BYTES;
            let (bytes, rest) = rest.split_at(usize::from(len).min(rest.len()));
            self.put(place(u16::from_le_bytes([a, b])), at, bytes);
            changes = rest;
        }
    }
}

impl Blocks for Sparse {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&mut self, lba: u64, sector: &mut Sector) -> Result<(), Unread> {
        let within = &self.within;
        assert!(within.contains(&lba), "sector {lba} is not in {within:?}");
        let left = self.reads_left.checked_sub(1);
        self.reads_left = left.expect("there is no end to reading");
        if self.bad == Some(lba) {
            self.has_failed = true;
            return Err(Unread);
        }
        *sector = self.look(lba);
        Ok(())
    }
}

/// One change, for a generator.
pub fn change(input: &mut Vec<u8>, place: u16, at: usize, bytes: &[u8]) {
    for (index, part) in bytes.chunks(255).enumerate() {
        let at = at + index * 255;
        let sectors = (at / SECTOR_BYTES) as u16;
        input.extend(place.wrapping_add(sectors).to_le_bytes());
        input.extend(((at % SECTOR_BYTES) as u16).to_le_bytes());
        input.push(part.len() as u8);
        input.extend(part);
    }
}

/// CRC-32 (ISO 3309): the remainders of a byte.
const REMAINDERS: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = (remainder >> 1) ^ (0xedb8_8320 * (remainder & 1));
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
};

/// CRC-32: an oracle does not ask the code that it watches.
pub fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (crc >> 8) ^ REMAINDERS[usize::from(crc as u8 ^ byte)]
    })
}

/// The little-endian number of `N` bytes at `at`.
pub fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_comes_out() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    }
}
