//! The model's drive: sectors, a cache that a power cut empties, and faults.
//!
//! Faults are planted on sectors, so that a test can say which request must
//! fail and that all others must not:
//! - `bad`: the drive refuses; found with every disk that ages.
//! - `silent`: it never answers, so many times; firmware that hangs.
//! - `garbled`: the link spoils it, so many times; a bad cable.

use crate::command::AtaCommand;
use crate::registers::Signature;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use io::SECTOR_BYTES;

/// One sector.
pub type Sector = [u8; SECTOR_BYTES];

/// How a drive ends a command with an error: its error and status bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error register.
    pub error: u8,
    /// The status register.
    pub status: u8,
}

impl Refusal {
    /// The data is gone (UNC).
    pub const UNCORRECTABLE: Self = Self::with_error(0x40);
    /// The drive does not want to (ABRT).
    pub const ABORTED: Self = Self::with_error(0x04);
    /// The drive is broken (DF).
    pub const BROKEN: Self = Self {
        error: 0x04,
        status: 0x61,
    };

    const fn with_error(error: u8) -> Self {
        Self {
            error,
            status: 0x51,
        }
    }
}

/// A drive.
#[derive(Clone, Debug)]
pub struct DriveModel {
    /// Serial number.
    pub serial: String,
    /// Capacity.
    pub sectors: u64,
    /// Queued commands it takes, 0 for none.
    pub queue_depth: u8,
    /// Whether its cache is on.
    pub write_cache: bool,
    /// Whether it can discard.
    pub trim: bool,
    /// What it says it is after a reset.
    pub kind: u32,
    /// From COMRESET to a link.
    pub link_us: u64,
    /// From a link to being ready.
    pub spin_up_us: u64,
    /// Sectors it refuses.
    pub bad: BTreeMap<u64, Refusal>,
    /// Sectors it does not answer for, so many times.
    pub silent: BTreeMap<u64, u32>,
    /// Sectors that the link garbles, so many times.
    pub garbled: BTreeMap<u64, u32>,
    /// Flushes it refuses from now on.
    pub refused_flushes: u32,
    /// It refuses everything that is queued.
    pub queue_is_broken: bool,
    /// IDENTIFY is not answered.
    pub mute: bool,
    /// Whether SMART is on, and says that the drive will fail.
    pub smart: Option<bool>,
    /// SMART is refused, or not answered.
    pub smart_is_refused: bool,
    /// See above.
    pub smart_is_silent: bool,
    /// Resets it lived through.
    pub resets: u32,
    /// Commands it ran, by code.
    pub ran: BTreeMap<u8, u32>,

    medium: BTreeMap<u64, Sector>,
    cache: BTreeMap<u64, Sector>,
}

impl DriveModel {
    /// A drive with a queue, a cache and TRIM.
    pub fn new(serial: &str, sectors: u64) -> Self {
        Self {
            serial: serial.to_string(),
            sectors,
            queue_depth: 32,
            write_cache: true,
            trim: true,
            kind: Signature::DISK.0,
            link_us: 300,
            spin_up_us: 500,
            bad: BTreeMap::new(),
            silent: BTreeMap::new(),
            garbled: BTreeMap::new(),
            refused_flushes: 0,
            queue_is_broken: false,
            mute: false,
            smart: None,
            smart_is_refused: false,
            smart_is_silent: false,
            resets: 0,
            ran: BTreeMap::new(),
            medium: BTreeMap::new(),
            cache: BTreeMap::new(),
        }
    }

    /// The 256 words.
    pub fn identify(&self) -> [u8; 512] {
        let mut page = [0; 512];
        let mut put = |word: usize, value: u16| {
            page[2 * word..2 * word + 2].copy_from_slice(&value.to_le_bytes());
        };
        put(49, 1 << 8 | 1 << 9);
        let small = self.sectors.min(0x0fff_ffff);
        put(60, small as u16);
        put(61, (small >> 16) as u16);
        put(75, u16::from(self.queue_depth.max(1) - 1));
        put(76, if self.queue_depth > 0 { 1 << 8 | 6 } else { 6 });
        put(82, 1 << 5);
        put(83, 0x4000 | 1 << 10 | 1 << 12 | 1 << 13);
        let smart = u16::from(self.smart.is_some());
        put(85, if self.write_cache { 1 << 5 } else { 0 } | smart);
        for part in 0..4 {
            put(100 + part, (self.sectors >> (16 * part)) as u16);
        }
        put(106, 0x4000);
        put(169, self.trim.into());
        put(217, 1);
        for (word, length, text) in [
            (10, 20, self.serial.as_str()),
            (23, 8, "FW 1.0"),
            (27, 40, "Model of a drive"),
        ] {
            let mut bytes = [b' '; 40];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            for (pair, chars) in bytes[..length].as_chunks::<2>().0.iter().enumerate() {
                put(word + pair, u16::from_be_bytes(*chars));
            }
        }
        page[510] = 0xa5;
        page[511] = page.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
        page
    }

    /// The power fails: what was in the cache only is gone.
    pub fn lose_power(&mut self) {
        self.cache.clear();
    }

    /// The sector as a reader gets it.
    pub fn sector(&self, lba: u64) -> Sector {
        let sector = self.cache.get(&lba).or_else(|| self.medium.get(&lba));
        sector.copied().unwrap_or([0; SECTOR_BYTES])
    }

    /// Puts a sector onto the medium.
    pub fn put(&mut self, lba: u64, sector: Sector) {
        self.medium.insert(lba, sector);
    }

    /// How often it ran the command of this code.
    pub fn times(&self, command: u8) -> u32 {
        self.ran.get(&command).copied().unwrap_or(0)
    }

    /// Whether a fault planted in `sectors` strikes once more.
    pub(crate) fn strikes(faults: &mut BTreeMap<u64, u32>, sectors: core::ops::Range<u64>) -> bool {
        match faults.range_mut(sectors).find(|(_, times)| **times > 0) {
            Some((_, times)) => {
                *times -= 1;
                true
            }
            None => false,
        }
    }

    /// Runs a command. `data` is what came, or what goes.
    pub(crate) fn run(
        &mut self,
        command: AtaCommand,
        lba: u64,
        data: &mut [u8],
    ) -> Result<(), Refusal> {
        *self.ran.entry(command.0).or_default() += 1;
        let sectors = (data.len() / SECTOR_BYTES) as u64;
        match command {
            AtaCommand::IDENTIFY => data.copy_from_slice(&self.identify()),
            AtaCommand::READ_QUEUED | AtaCommand::READ_DMA_EXT | AtaCommand::READ_DMA => {
                self.check(lba, sectors)?;
                for (lba, sector) in (lba..).zip(data.as_chunks_mut::<SECTOR_BYTES>().0) {
                    *sector = self.sector(lba);
                }
            }
            AtaCommand::WRITE_QUEUED | AtaCommand::WRITE_DMA_EXT | AtaCommand::WRITE_DMA => {
                self.check(lba, sectors)?;
                for (lba, sector) in (lba..).zip(data.as_chunks::<SECTOR_BYTES>().0) {
                    if self.write_cache {
                        self.cache.insert(lba, *sector);
                    } else {
                        self.medium.insert(lba, *sector);
                    }
                }
            }
            AtaCommand::FLUSH | AtaCommand::FLUSH_EXT => {
                if self.refused_flushes > 0 {
                    self.refused_flushes -= 1;
                    return Err(Refusal::ABORTED);
                }
                self.medium.append(&mut self.cache);
            }
            AtaCommand::DATA_SET_MANAGEMENT if self.trim => {
                for entry in data.as_chunks::<8>().0 {
                    let entry = u64::from_le_bytes(*entry);
                    let (lba, sectors) = (entry & 0xffff_ffff_ffff, entry >> 48);
                    if sectors > 0 {
                        self.check(lba, sectors)?;
                        self.cache
                            .retain(|at, _| !(lba..lba + sectors).contains(at));
                        self.medium
                            .retain(|at, _| !(lba..lba + sectors).contains(at));
                    }
                }
            }
            AtaCommand::SMART if self.smart.is_some() && !self.smart_is_refused => {
                assert_eq!(lba, 0xc2_4f00, "the key of SMART");
            }
            _ => return Err(Refusal::ABORTED),
        }
        Ok(())
    }

    fn check(&self, lba: u64, sectors: u64) -> Result<(), Refusal> {
        assert!(
            lba + sectors <= self.sectors,
            "sectors {lba} to {} of {} were asked for",
            lba + sectors,
            self.sectors
        );
        match self.bad.range(lba..lba + sectors).next() {
            Some((_, refusal)) => Err(*refusal),
            None => Ok(()),
        }
    }
}
