//! Reading numbers out of tables: little-endian, of any width, within bounds.

/// The number of `bytes` bytes (at most 8) at `at`; `None` past the end.
pub fn number(table: &[u8], at: usize, bytes: usize) -> Option<u64> {
    let field = table.get(at..at.checked_add(bytes)?)?;
    let mut value = [0; 8];
    value.get_mut(..bytes)?.copy_from_slice(field);
    Some(u64::from_le_bytes(value))
}

/// Whether all bytes together are 0, as every table is made to be.
pub fn is_sum_right(table: &[u8]) -> bool {
    table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}
