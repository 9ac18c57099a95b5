//! An I/O command from the controller's side: checked word by word, then done.

use super::State;
use crate::command::{DEALLOCATE, Opcode, PAGE_BYTES};
use crate::queue::COMMAND_BYTES;
use alloc::vec;
use alloc::vec::Vec;
use io::SECTOR_BYTES;

const PAGE: u64 = PAGE_BYTES as u64;

/// A command that the controller has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which command.
    pub opcode: Opcode,
    /// Its number.
    pub id: u16,
    /// Which namespace.
    pub namespace: u32,
    /// PRP 1 and PRP 2.
    pub data: [u64; 2],
    /// Words 10 and on.
    pub arguments: [u32; 6],
}

impl Taken {
    pub(super) fn read(bytes: &[u8; COMMAND_BYTES]) -> Self {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        assert_eq!(bytes[1], 0, "neither fused nor with scatter lists");
        assert_eq!(bytes[8..24], [0; 16], "what is reserved is zero");
        Self {
            opcode: Opcode(bytes[0]),
            id: word(0).to_le_bytes()[2..]
                .try_into()
                .map(u16::from_le_bytes)
                .expect("two bytes"),
            namespace: word(4),
            data: [long(24), long(32)],
            arguments: [40, 44, 48, 52, 56, 60].map(word),
        }
    }

    /// The first sector of a read or write.
    pub fn lba(&self) -> u64 {
        u64::from(self.arguments[0]) | u64::from(self.arguments[1]) << 32
    }

    /// How many sectors a read or write moves.
    pub fn sectors(&self) -> u64 {
        u64::from(self.arguments[2] & 0xffff) + 1
    }
}

impl State {
    /// Panics unless the command is one that the specification describes and the
    /// namespace can do.
    pub(super) fn check(&self, taken: &Taken) {
        assert_ne!(taken.id, 0xffff, "a number with a meaning");
        let mut all = self.settings.namespaces.iter();
        let namespace = all
            .find(|namespace| namespace.number == taken.namespace)
            .unwrap_or_else(|| panic!("there is no namespace {}", taken.namespace));
        match taken.opcode {
            Opcode::READ | Opcode::WRITE => {
                assert_eq!(taken.arguments[2] >> 16, 0, "no options");
                assert_eq!(taken.arguments[3..], [0; 3], "no options");
                let end = taken.lba().checked_add(taken.sectors());
                assert!(
                    end.is_some_and(|end| end <= namespace.sectors),
                    "past the end of namespace {}",
                    taken.namespace
                );
                assert!(!self.pieces(taken).is_empty());
            }
            Opcode::FLUSH => {
                assert!(self.settings.write_cache, "nothing to flush");
                assert_eq!(taken.data, [0; 2], "a flush has no data");
                assert_eq!(taken.arguments, [0; 6], "a flush has no arguments");
            }
            Opcode::DATASET => {
                assert!(self.settings.discards, "it can not discard");
                assert_eq!(taken.arguments, [0, DEALLOCATE, 0, 0, 0, 0], "one range");
                assert_eq!((taken.data[0] % 4, taken.data[1]), (0, 0), "in one page");
                let (lba, sectors) = self.range(taken);
                assert!(lba + sectors <= namespace.sectors, "past the end");
            }
            other => panic!("I/O command {:#x}", other.0),
        }
    }

    /// The range of a discard: first sector and how many.
    pub(super) fn range(&self, taken: &Taken) -> (u64, u64) {
        let mut range = [0; 16];
        self.memory.read(taken.data[0], &mut range);
        let [attributes, sectors, low, high] = [0, 4, 8, 12]
            .map(|at| u32::from_le_bytes([range[at], range[at + 1], range[at + 2], range[at + 3]]));
        assert_eq!(attributes, 0, "no advice beside");
        (u64::from(low) | u64::from(high) << 32, sectors.into())
    }

    /// The memory that a read or write names, piece by piece (NVMe 1.4, 4.3).
    fn pieces(&self, taken: &Taken) -> Vec<(u64, usize)> {
        let [first, second] = taken.data;
        let mut left = taken.sectors() * SECTOR_BYTES as u64;
        assert_eq!(first % 4, 0, "PRP 1 is aligned to 4");
        let bytes = left.min(PAGE - first % PAGE);
        let mut pieces = vec![(first, bytes as usize)];
        left -= bytes;
        if left == 0 {
            assert_eq!(second, 0, "PRP 2 names nothing");
        } else if left <= PAGE {
            assert_eq!(second % PAGE, 0, "PRP 2 is a page");
            pieces.push((second, left as usize));
        } else {
            let entries = left.div_ceil(PAGE);
            assert_eq!(second % 8, 0, "a list is aligned to 8");
            assert!(second % PAGE + entries * 8 <= PAGE, "a list in one page");
            for entry in 0..entries {
                let mut page = [0; 8];
                self.memory.read(second + entry * 8, &mut page);
                let page = u64::from_le_bytes(page);
                assert_eq!(page % PAGE, 0, "a list names pages");
                let bytes = left.min(PAGE);
                pieces.push((page, bytes as usize));
                left -= bytes;
            }
        }
        pieces
    }

    /// The bytes that a command names.
    pub(super) fn gather(&self, taken: &Taken) -> Vec<u8> {
        let mut data = Vec::new();
        for (address, bytes) in self.pieces(taken) {
            let start = data.len();
            data.resize(start + bytes, 0);
            self.memory.read(address, &mut data[start..]);
        }
        data
    }

    /// Puts `data` where a command says.
    pub(super) fn scatter(&self, taken: &Taken, data: &[u8]) {
        let mut rest = data;
        for (address, bytes) in self.pieces(taken) {
            let (piece, after) = rest.split_at(bytes);
            self.memory.write(address, piece);
            rest = after;
        }
    }

    /// Does what a checked command asks.
    pub(super) fn execute(&mut self, taken: &Taken) {
        match taken.opcode {
            Opcode::READ => {
                let mut data = Vec::new();
                for lba in taken.lba()..taken.lba() + taken.sectors() {
                    let sector = self.media.get(&(taken.namespace, lba));
                    data.extend_from_slice(sector.unwrap_or(&[0; SECTOR_BYTES]));
                }
                self.scatter(taken, &data);
            }
            Opcode::WRITE => {
                let data = self.gather(taken);
                let sectors = data.as_chunks::<SECTOR_BYTES>().0;
                for (lba, sector) in (taken.lba()..).zip(sectors) {
                    self.media.insert((taken.namespace, lba), *sector);
                }
            }
            Opcode::DATASET => {
                let (lba, sectors) = self.range(taken);
                let namespace = taken.namespace;
                self.media
                    .retain(|&(n, at), _| n != namespace || at < lba || at >= lba + sectors);
            }
            _ => {}
        }
    }
}
