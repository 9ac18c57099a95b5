//! Which libraries a program asks for: the NEEDED entries of a 64-bit ELF file.
//!
//! A package's list of dependencies is far longer than what one of its programs
//! loads, so a guest gets what the programs themselves name and no more.

/// PT_LOAD: a piece of the file that is mapped.
const LOAD: u32 = 1;
/// PT_DYNAMIC: where the dynamic section is.
const DYNAMIC: u32 = 2;
/// DT_NEEDED, DT_STRTAB: a library's name, and the table it is in.
const NEEDED: u64 = 1;
const STRING_TABLE: u64 = 5;

/// The names of the libraries that `file` needs. Empty for a static program
/// and for whatever is no 64-bit little-endian ELF file, such as a script.
pub(super) fn needed(file: &[u8]) -> Vec<String> {
    parse(file).unwrap_or_default()
}

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    bytes: u64,
}

/// `None` where the file ends before something that it names.
fn parse(file: &[u8]) -> Option<Vec<String>> {
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = u64_at(file, 32)?;
    let entry_bytes = u64::from(u16_at(file, 54)?);
    let segments: Vec<Segment> = (0..u64::from(u16_at(file, 56)?))
        .map_while(|index| {
            let at = table.checked_add(index * entry_bytes)?;
            Some(Segment {
                kind: u32_at(file, at)?,
                offset: u64_at(file, at + 8)?,
                address: u64_at(file, at + 16)?,
                bytes: u64_at(file, at + 32)?,
            })
        })
        .collect();
    let dynamic = segments.iter().find(|segment| segment.kind == DYNAMIC)?;
    let entries: Vec<(u64, u64)> = (0..dynamic.bytes / 16)
        .map_while(|index| {
            let at = dynamic.offset.checked_add(index * 16)?;
            Some((u64_at(file, at)?, u64_at(file, at + 8)?))
        })
        .take_while(|&(tag, _)| tag != 0)
        .collect();
    let &(_, strings) = entries.iter().find(|&&(tag, _)| tag == STRING_TABLE)?;
    let home = segments.iter().find(|segment| {
        segment.kind == LOAD
            && strings
                .checked_sub(segment.address)
                .is_some_and(|within| within < segment.bytes)
    })?;
    let strings = home.offset + (strings - home.address);
    entries
        .iter()
        .filter(|&&(tag, _)| tag == NEEDED)
        .map(|&(_, name)| {
            let from = usize::try_from(strings.checked_add(name)?).ok()?;
            let rest = file.get(from..)?;
            let end = rest.iter().position(|&byte| byte == 0)?;
            Some(String::from_utf8_lossy(&rest[..end]).into_owned())
        })
        .collect()
}

fn bytes_at<const N: usize>(file: &[u8], at: u64) -> Option<[u8; N]> {
    let at = usize::try_from(at).ok()?;
    file.get(at..)?.first_chunk().copied()
}

fn u16_at(file: &[u8], at: u64) -> Option<u16> {
    bytes_at(file, at).map(u16::from_le_bytes)
}

fn u32_at(file: &[u8], at: u64) -> Option<u32> {
    bytes_at(file, at).map(u32::from_le_bytes)
}

fn u64_at(file: &[u8], at: u64) -> Option<u64> {
    bytes_at(file, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_needs_the_c_library() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needed = needed(&file);
        assert!(needed.iter().any(|name| name == "libc.so.6"), "{needed:?}");
    }

    #[test]
    fn a_script_and_a_file_cut_anywhere_need_nothing_and_do_no_harm() {
        assert_eq!(needed(b"#!/bin/sh\n"), [""; 0]);
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in 0..4096 {
            needed(&file[..length]);
        }
    }
}
