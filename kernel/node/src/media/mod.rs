//! What lies on a disk that is meant for the node itself: partitions, FAT files.
//!
//! Read once, before anything is served, to find `ublade.conf`, the state area
//! and the partitions that pins name. Pure: sectors come in through [`Blocks`],
//! so the same code reads a disk and a test's array.
//!
//! A disk holds whatever somebody wrote there, by mistake or to do harm. Every
//! number is checked before it is used, every chain and every list has a budget,
//! and what does not add up is an ordinary answer: there is nothing here for us.

pub mod fat;
mod survey;
mod table;

pub use survey::{CONF_BYTES_MAX, CONF_NAME, Conf, Own, Survey, survey};
pub use table::{Kind, PARTITIONS_MAX, Partition, Partitions, partitions};

/// One sector.
pub type Sector = [u8; io::SECTOR_BYTES];

/// A sector that could not be read: the disk failed, or time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread;

/// Sectors to read.
pub trait Blocks {
    /// How many there are.
    fn sectors(&self) -> u64;

    /// Reads one. The caller asks only for sectors that there are.
    fn read(&mut self, lba: u64, sector: &mut Sector) -> Result<(), Unread>;
}

/// The little-endian number of `N` bytes at `at`; `at` is a constant of a format
/// and lies within.
pub(crate) fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests;
