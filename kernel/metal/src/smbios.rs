//! SMBIOS: the strings that an operator gave the machine for us.
//!
//! Structures of type 11 hold free texts (SMBIOS 3.7, 7.12). QEMU fills them with
//! `-smbios type=11,value=…`, other hypervisors and some firmwares from their
//! own settings; ours begin with `org.ublade.config:`. The entry point is looked
//! for where a BIOS leaves it, or is told by UEFI. As with ACPI, sums must be
//! right and every walk has a budget.

use crate::acpi::{Memory, is_sum_right, number};

/// Where a BIOS leaves the entry point (SMBIOS 3.7, 5.2).
const ENTRY_AREA: core::ops::Range<u64> = 0xf_0000..0x10_0000;
/// Most bytes of the structures.
const TABLE_BYTES_MAX: u64 = 1 << 20;
/// Most structures that are walked.
const STRUCTURES_MAX: usize = 4096;
/// Free texts.
const TEXTS: u8 = 11;
/// The end of all structures.
const END: u8 = 127;
/// What ours begin with.
const PREFIX: &[u8] = b"org.ublade.config:";

/// Our settings among the machine's texts, one line each, into `text`; how many
/// bytes that was. `root` is where UEFI says that the entry point is.
pub fn settings(memory: &impl Memory, root: Option<u64>, text: &mut [u8]) -> usize {
    let at_root = root.and_then(|root| table_at(memory, root));
    let table = at_root.or_else(|| {
        let mut places = ENTRY_AREA.step_by(16);
        places.find_map(|place| table_at(memory, place))
    });
    let mut len = 0;
    for line in table.into_iter().flat_map(texts) {
        let Some(line) = line.strip_prefix(PREFIX) else {
            continue;
        };
        // A line that does not fit is left out whole: half a setting is another.
        if let Some(room) = text.get_mut(len..len + line.len() + 1) {
            let (setting, end) = room.split_at_mut(line.len());
            setting.copy_from_slice(line);
            end.fill(b'\n');
            len += line.len() + 1;
        }
    }
    len
}

/// The structures that the entry point at `place` leads to, if there is one.
fn table_at(memory: &impl Memory, place: u64) -> Option<&[u8]> {
    let head = memory.bytes(place, 8)?;
    let (address, bytes) = if head.starts_with(b"_SM3_") {
        let entry = memory.bytes(place, usize::from(head[6]))?;
        let is_good = entry.len() >= 24 && is_sum_right(entry);
        is_good.then_some((number(entry, 16, 8)?, number(entry, 12, 4)?))?
    } else if head.starts_with(b"_SM_") {
        let entry = memory.bytes(place, usize::from(head[5]))?;
        let is_good = entry.len() >= 0x1e && is_sum_right(entry);
        is_good.then_some((number(entry, 0x18, 4)?, number(entry, 0x16, 2)?))?
    } else {
        return None;
    };
    memory.bytes(address, bytes.min(TABLE_BYTES_MAX) as usize)
}

/// All free texts. A structure is a fixed part of the length it says, and behind
/// it texts that each end with a zero, the last with two.
fn texts(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = table;
    let structures = core::iter::from_fn(move || {
        let (kind, fixed) = (*rest.first()?, usize::from(*rest.get(1)?));
        let behind = rest.get(fixed.max(4)..)?;
        let end = behind.windows(2).position(|two| two == [0, 0])?;
        rest = &behind[end + 2..];
        (kind != END).then_some((kind, &behind[..end]))
    });
    structures
        .take(STRUCTURES_MAX)
        .filter(|(kind, _)| *kind == TEXTS)
        .flat_map(|(_, texts)| texts.split(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// The upper part of the first MiB, as a BIOS leaves it.
    struct Firmware(Vec<u8>);

    const TABLE: u64 = 0xf_8000;

    impl Memory for Firmware {
        fn bytes(&self, address: u64, bytes: usize) -> Option<&[u8]> {
            let at = address.checked_sub(ENTRY_AREA.start)? as usize;
            self.0.get(at..at.checked_add(bytes)?)
        }
    }

    fn table() -> Vec<u8> {
        let mut table = vec![1, 8, 0, 0, 9, 9, 9, 9];
        table.extend(b"QEMU\0Standard PC\0\0");
        table.extend([11, 5, 1, 0, 3]);
        table.extend(b"org.ublade.config:shelf=7\0for others\0org.ublade.config:rw=all\0\0");
        table.extend([127, 4, 2, 0, 0, 0]);
        table.extend(b"\x0b\x05\x00\x00\x01org.ublade.config:after=end\0\0");
        table
    }

    fn sum(entry: &mut [u8], at: usize) {
        entry[at] = 0;
        let sum = entry.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        entry[at] = sum.wrapping_neg();
    }

    fn firmware(modern: bool) -> Firmware {
        let mut area = vec![0; 1 << 16];
        let table = table();
        area[0x8000..][..table.len()].copy_from_slice(&table);
        let entry = &mut area[0x1230..];
        if modern {
            entry[..7].copy_from_slice(b"_SM3_\0\x18");
            entry[12..16].copy_from_slice(&(table.len() as u32).to_le_bytes());
            entry[16..24].copy_from_slice(&TABLE.to_le_bytes());
            sum(&mut entry[..0x18], 5);
        } else {
            entry[..6].copy_from_slice(b"_SM_\0\x1f");
            entry[0x16..0x18].copy_from_slice(&(table.len() as u16).to_le_bytes());
            entry[0x18..0x1c].copy_from_slice(&(TABLE as u32).to_le_bytes());
            sum(&mut entry[..0x1f], 4);
        }
        Firmware(area)
    }

    fn read(firmware: &Firmware, root: Option<u64>, room: usize) -> Vec<u8> {
        let mut text = vec![0; room];
        let len = settings(firmware, root, &mut text);
        text.truncate(len);
        text
    }

    #[test]
    fn our_texts_are_lines_and_those_of_others_are_left() {
        for modern in [false, true] {
            let firmware = firmware(modern);
            assert_eq!(read(&firmware, None, 100), b"shelf=7\nrw=all\n");
            assert_eq!(read(&firmware, Some(0xf_1230), 100), b"shelf=7\nrw=all\n");
        }
    }

    #[test]
    fn a_text_that_does_not_fit_is_left_out_whole() {
        assert_eq!(read(&firmware(true), None, 9), b"shelf=7\n");
        assert_eq!(read(&firmware(true), None, 7), b"rw=all\n");
        assert_eq!(read(&firmware(true), None, 0), b"");
    }

    #[test]
    fn whatever_one_byte_says_there_is_an_end() {
        for modern in [false, true] {
            let good = firmware(modern);
            let len = table().len();
            for at in (0x1230..0x1250).chain(0x8000..0x8000 + len) {
                for value in [0, 1, 4, 11, 0x7f, 0xff] {
                    let mut bad = Firmware(good.0.clone());
                    bad.0[at] = value;
                    assert!(read(&bad, None, 64).len() <= 64);
                }
            }
        }
    }
}
