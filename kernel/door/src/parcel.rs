//! The packed kernel: its label, and how it is unpacked.
//!
//! Label and contents stand at the end of the boot file, from the address
//! `parcel` on. The contents are a zlib stream (RFC 1950) of the kernel's bytes
//! from [`FIRST`] on, with its distances as [`distances`] has them and its relocations
//! as [`relocations`] has; the checksum is the reason for that format, as a file that came over TFTP or off an old stick may
//! not be what was made.
//!
//! The kernel goes to the next page behind the parcel, or, under UEFI, to memory
//! that the firmware gives. Stack and page tables that the doors need before are
//! the kernel's own, in the room that it has behind what is unpacked.

use crate::{distances, relocations};
use core::mem::size_of;
use core::ops::Range;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

/// Where in the kernel the first packed byte belongs: the page before it holds
/// the ELF's headers.
pub const FIRST: usize = 0x1000;
const PAGE: u64 = 4096;

/// What stands before the contents: numbers of 32 bits, little-endian. Places
/// are distances from the kernel's address 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Bytes of the contents.
    pub packed_bytes: u32,
    /// Bytes of them when unpacked.
    pub kernel_bytes: u32,
    /// How much memory the kernel takes, its page of headers included.
    pub memory_bytes: u32,
    /// Where it is entered: 64-bit, edi = door, rsi = what the loader left.
    pub entry: u32,
    /// Where it has room for [`steps::BRIDGE_TABLES`](crate::steps::BRIDGE_TABLES)
    /// page tables.
    pub tables: u32,
    /// Where its stack starts, downwards.
    pub stack_top: u32,
    /// Where its relocations begin.
    pub relocations: u32,
    /// Where they end.
    pub relocations_end: u32,
}

/// Bytes of the label.
pub const LABEL_BYTES: usize = size_of::<Label>();

impl Label {
    /// As it stands in the file.
    pub fn to_bytes(self) -> [u8; LABEL_BYTES] {
        let mut bytes = [0; LABEL_BYTES];
        let fields = [
            self.packed_bytes,
            self.kernel_bytes,
            self.memory_bytes,
            self.entry,
            self.tables,
            self.stack_top,
            self.relocations,
            self.relocations_end,
        ];
        for (place, field) in bytes.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// Where in the contents the relocations are.
    pub fn table(&self) -> Range<usize> {
        let [start, end] = [self.relocations, self.relocations_end]
            .map(|place| (place as usize).saturating_sub(FIRST));
        start..end
    }

    /// Where the kernel's address 0 goes if the parcel is at `parcel`. The doors
    /// in `head` have the same in assembly.
    pub const fn kernel_at(&self, parcel: u64) -> u64 {
        (parcel + LABEL_BYTES as u64 + self.packed_bytes as u64).next_multiple_of(PAGE)
    }
}

/// The contents are not what was packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// Unpacks `contents` into `room`, which they fill. `table` is where in it the
/// relocations are.
pub fn unpack(contents: &[u8], room: &mut [u8], table: Range<usize>) -> Result<(), Damaged> {
    let flags = inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER
        | inflate_flags::TINFL_FLAG_COMPUTE_ADLER32
        | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = DecompressorOxide::new();
    let (status, _, written) = decompress(&mut state, contents, room, 0, flags);
    if status == TINFLStatus::Done && written == room.len() {
        distances::to_distances(room);
        relocations::to_table(room, table);
        Ok(())
    } else {
        Err(Damaged)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use miniz_oxide::deflate::compress_to_vec_zlib;
    use std::vec;
    use std::vec::Vec;

    /// Neither all the same nor without any order, as code is.
    fn kernel() -> Vec<u8> {
        (0..40_000_u32)
            .map(|at| (at.wrapping_mul(at / 7) >> 3) as u8)
            .collect()
    }

    #[test]
    fn what_was_packed_comes_out() {
        let kernel = kernel();
        let mut places = kernel.clone();
        distances::to_places(&mut places);
        let mut room = vec![0; kernel.len()];
        unpack(&compress_to_vec_zlib(&places, 9), &mut room, 0..0).unwrap();
        assert!(room == kernel);
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let kernel = kernel();
        let packed = compress_to_vec_zlib(&kernel, 9);
        let mut room = vec![0; kernel.len()];
        for at in (0..packed.len()).step_by(97).chain([packed.len() - 1]) {
            let mut broken = packed.clone();
            broken[at] ^= 0x10;
            assert_eq!(unpack(&broken, &mut room, 0..0), Err(Damaged), "byte {at}");
        }
    }

    #[test]
    fn a_parcel_cut_anywhere_is_noticed() {
        let kernel = kernel();
        let packed = compress_to_vec_zlib(&kernel, 9);
        let mut room = vec![0; kernel.len()];
        for end in (0..packed.len()).step_by(89).chain([packed.len() - 1]) {
            assert_eq!(
                unpack(&packed[..end], &mut room, 0..0),
                Err(Damaged),
                "{end}"
            );
        }
    }

    #[test]
    fn a_room_of_another_size_is_refused() {
        let packed = compress_to_vec_zlib(&kernel(), 9);
        for bytes in [0, 39_999, 40_001] {
            assert_eq!(unpack(&packed, &mut vec![0; bytes], 0..0), Err(Damaged));
        }
    }

    #[test]
    fn the_kernel_starts_on_the_first_page_behind_its_parcel() {
        let label = |packed_bytes| Label {
            packed_bytes,
            kernel_bytes: 0,
            memory_bytes: 0,
            entry: 0,
            tables: 0,
            stack_top: 0,
            relocations: 0,
            relocations_end: 0,
        };
        let label_bytes = LABEL_BYTES as u32;
        assert_eq!(label(4096 - label_bytes).kernel_at(0x10_5000), 0x10_6000);
        assert_eq!(label(4097 - label_bytes).kernel_at(0x10_5000), 0x10_7000);
    }

    #[test]
    fn the_label_stands_in_the_file_as_in_memory() {
        let label = Label {
            packed_bytes: 1,
            kernel_bytes: 2,
            memory_bytes: 3,
            entry: 4,
            tables: 5,
            stack_top: 6,
            relocations: 7,
            relocations_end: 0x0102_0308,
        };
        let bytes = label.to_bytes();
        for (place, value) in [
            (core::mem::offset_of!(Label, packed_bytes), 1),
            (core::mem::offset_of!(Label, kernel_bytes), 2),
            (core::mem::offset_of!(Label, memory_bytes), 3),
            (core::mem::offset_of!(Label, entry), 4),
            (core::mem::offset_of!(Label, tables), 5),
            (core::mem::offset_of!(Label, stack_top), 6),
            (core::mem::offset_of!(Label, relocations), 7),
            (core::mem::offset_of!(Label, relocations_end), 8),
        ] {
            assert_eq!(bytes[place], value);
        }
        assert_eq!(bytes[28..], [8, 3, 2, 1]);
    }
}
