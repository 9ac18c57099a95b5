//! The kernel's relocations, laid so that they pack well.
//!
//! An ELF's table names for each address in the data where it is and what it is, from
//! the kernel's beginning (`Elf64_Rela`: offset, kind, addend), and has zeros where the
//! address goes. Most are 8 or 24 bytes behind the one before. So for packing an offset
//! is the distance from the one before, and the addend stands where it belongs, among
//! others like it; its field is zero. Each direction undoes the other for any table of
//! which no two entries name the same place, and no entry a place within the table.

use crate::parcel::FIRST;
use core::ops::Range;

/// Bytes of an entry, and where in it the addend is.
const ENTRY: usize = 24;
const ADDEND: usize = 16;

/// Before packing. `code` is the kernel from [`FIRST`] on, `table` where in it its
/// relocations are.
pub fn to_distances(code: &mut [u8], table: Range<usize>) {
    let mut last = 0;
    for entry in within(code, table) {
        let offset = number(code, entry);
        if let Some(place) = place_of(code, offset) {
            put(code, place, number(code, entry + ADDEND));
            put(code, entry + ADDEND, 0);
        }
        put(code, entry, offset.wrapping_sub(last));
        last = offset;
    }
}

/// After unpacking. What was where the addresses go stays lost: it is written over by
/// whoever relocates.
pub fn to_table(code: &mut [u8], table: Range<usize>) {
    let mut offset = 0_u64;
    for entry in within(code, table) {
        offset = offset.wrapping_add(number(code, entry));
        put(code, entry, offset);
        if let Some(place) = place_of(code, offset) {
            put(code, entry + ADDEND, number(code, place));
        }
    }
}

/// Where the entries begin that are in `code`.
fn within(code: &[u8], table: Range<usize>) -> impl Iterator<Item = usize> + use<> {
    (table.start..table.end.min(code.len())).step_by(ENTRY)
}

/// Where in `code` an offset is, if all eight bytes are there.
fn place_of(code: &[u8], offset: u64) -> Option<usize> {
    let place = usize::try_from(offset).ok()?.checked_sub(FIRST)?;
    let end = place.checked_add(8)?;
    (end <= code.len()).then_some(place)
}

fn number(code: &[u8], at: usize) -> u64 {
    let bytes = code.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn put(code: &mut [u8], at: usize, number: u64) {
    if let Some(bytes) = code.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut()) {
        *bytes = number.to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// A kernel whose table begins at byte 96.
    fn kernel(entries: &[(u64, u64)]) -> (Vec<u8>, Range<usize>) {
        let table = 96..96 + entries.len() * ENTRY;
        let mut code = vec![0; table.end + 64];
        for (index, (offset, addend)) in entries.iter().enumerate() {
            let entry = table.start + index * ENTRY;
            put(&mut code, entry, *offset);
            put(&mut code, entry + 8, 8);
            put(&mut code, entry + ADDEND, *addend);
        }
        (code, table)
    }

    #[test]
    fn the_table_comes_back_and_its_addends_stand_where_they_belong() {
        let first = FIRST as u64;
        // Neighbours, one further back, and places that are not in the file.
        let beyond = first + 96 + 6 * 24 + 60;
        let offsets = [first + 8, first + 16, first + 40, first, beyond, 16];
        let entries: Vec<(u64, u64)> = offsets.map(|offset| (offset, offset * 77)).into();
        let (before, table) = kernel(&entries);
        let mut code = before.clone();
        to_distances(&mut code, table.clone());
        assert_eq!(number(&code, 8), (first + 8) * 77);
        assert_eq!(number(&code, table.start + ENTRY), 8);
        assert_eq!(number(&code, table.start + ENTRY + ADDEND), 0);
        to_table(&mut code, table.clone());
        assert_eq!(code[table.clone()], before[table.clone()]);
        // And nothing beside the table and the places is touched.
        assert_eq!(code[48..96], before[48..96]);
        assert_eq!(code[table.end..], before[table.end..]);
    }

    #[test]
    fn a_table_that_is_not_there_harms_nothing() {
        let mut code = vec![7; 100];
        to_table(&mut code, 90..200);
        to_table(&mut code, 400..500);
        to_distances(&mut code, 96..1000);
        assert_eq!(code[..90], [7; 90]);
    }
}
