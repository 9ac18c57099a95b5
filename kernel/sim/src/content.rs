//! What is in a sector, and how to tell it in eight bytes.
//!
//! Every write in the world fills each of its sectors with a pattern that no
//! other write uses, and every sector that was never written has a pattern of
//! its own too. So a sector that turns up at another address, an old one that
//! comes back, or a torn one can not be taken for anything else. The oracle
//! keeps the digest of a sector, not its bytes.

/// One sector.
pub type Sector = [u8; io::SECTOR_BYTES];

/// The digest of a sector's bytes. Two sectors of one run with equal digests
/// are taken for equal; with 64 bits and some ten thousand sectors that is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub u64);

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX: u64 = 0xd6e8_feb8_6659_fd93;

/// The pattern called `name`. The first eight bytes are the name itself, so that
/// a dump tells where a sector came from.
pub fn pattern(name: u64) -> Sector {
    let mut sector = [0; io::SECTOR_BYTES];
    let seed = (name ^ MIX).wrapping_mul(ODD) | 1;
    for (i, word) in sector.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let mixed = seed.wrapping_mul((i as u64).wrapping_mul(MIX) | 1);
        *word = (mixed ^ (mixed >> 29)).to_le_bytes();
    }
    sector[..8].copy_from_slice(&name.to_le_bytes());
    sector
}

/// What lies in a sector of a disk before anybody writes it.
pub fn pristine(disk: usize, lba: u64) -> Sector {
    pattern(0xd15c_0000_0000_0000 | (disk as u64) << 40 | lba)
}

/// The digest of `sector`.
pub fn value(sector: &Sector) -> Value {
    // Four lanes: the multiplications of one do not wait for the others.
    let mut lanes = [MIX, ODD, !MIX, !ODD];
    for quad in sector.as_chunks::<32>().0 {
        for (lane, word) in lanes.iter_mut().zip(quad.as_chunks::<8>().0) {
            *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(ODD);
            *lane ^= *lane >> 32;
        }
    }
    let mut folded = 0u64;
    for lane in lanes {
        folded = (folded.rotate_left(17) ^ lane).wrapping_mul(MIX);
    }
    Value(folded ^ (folded >> 31))
}

/// The sectors of `bytes`, what is left over at the end ignored.
pub fn sectors(bytes: &[u8]) -> &[Sector] {
    bytes.as_chunks::<{ io::SECTOR_BYTES }>().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_differ_by_name_and_a_changed_byte_changes_the_value() {
        assert_ne!(value(&pattern(1)), value(&pattern(2)));
        assert_ne!(value(&pristine(0, 5)), value(&pristine(1, 5)));
        assert_ne!(value(&pristine(0, 5)), value(&pristine(0, 6)));
        for at in 0..512 {
            let mut changed = pattern(1);
            changed[at] ^= 1;
            assert_ne!(value(&changed), value(&pattern(1)), "byte {at}");
        }
    }
}
