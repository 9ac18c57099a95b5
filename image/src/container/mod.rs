//! The raw disk in the wrappings of hypervisors.
//!
//! They are written here and not by a tool: the formats are small as long as nobody
//! writes to the disk, and a tool puts the time, a random number or its own version
//! into them, so that two builds of one commit would differ.
//!
//! Each leaves out what is all zeros, and takes the numbers that ought to be unique
//! from the content ([`crate::disk::Content::uuid`]).

pub mod qcow2;
pub mod vhd;
pub mod vhdx;
pub mod vmdk;

/// The pieces of `disk`, each with whether anything is in it.
fn pieces(disk: &[u8], bytes: usize) -> impl Iterator<Item = (&[u8], bool)> {
    disk.chunks(bytes)
        .map(|piece| (piece, piece.iter().any(|&byte| byte != 0)))
}

/// A file in the making: fields are put at offsets, the rest is zero.
struct Page(Vec<u8>);

impl Page {
    fn new(bytes: usize) -> Self {
        Self(vec![0; bytes])
    }

    fn put(&mut self, at: usize, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// A UUID as Microsoft stores it: three numbers in little-endian order, then bytes.
fn guid(uuid: [u8; 16]) -> [u8; 16] {
    let mut bytes = uuid;
    bytes[0..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A disk of 8 MiB with something at its start, in its middle and at its end.
    pub(crate) fn sample() -> Vec<u8> {
        let mut disk = vec![0; 8 << 20];
        let end = disk.len();
        disk[..512].fill(1);
        disk[3_000_000..3_100_000].fill(2);
        disk[end - 1] = 3;
        disk
    }

    #[test]
    fn a_guid_is_stored_as_three_numbers_and_eight_bytes() {
        let uuid = core::array::from_fn(|index| index as u8);
        let bytes = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        assert_eq!(guid(uuid), bytes);
    }
}
