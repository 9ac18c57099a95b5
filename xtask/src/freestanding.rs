//! The kernel stands alone: nothing below it, nothing dragged in.
//!
//! That a crate compiles says nothing, because the host's target has `std` for
//! the asking. What counts is the linked kernel: it must need no library, no
//! interpreter, no symbol that somebody else brings, and no relocation but the
//! one kind that its own start code applies. And since host tools and kernel
//! share one target, its features are looked at too: `std` is in none of them.

use crate::command;
use crate::house::House;
use qemu::{Failure, OrFail};
use std::path::Path;

/// Program header types (System V ABI, chapter 5).
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
/// Section header types that hold symbols and relocations.
const SHT_SYMTAB: u32 = 2;
const SHT_RELA: u32 = 4;
const SHT_DYNSYM: u32 = 11;
/// The end of the dynamic table, and an entry that names a library.
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
/// The one relocation that the start code knows: base plus addend.
const R_X86_64_RELATIVE: u32 = 8;
/// Features that mean an operating system.
const HOSTED_FEATURES: [&str; 1] = ["std"];
/// What names of the standard library look like, in both ways of mangling.
const STD_NAMES: [&str; 2] = ["_ZN3std", "_3std"];

/// Needs that a failure lists.
const NEEDS_SHOWN: usize = 20;

/// Fails if a crate of the kernel is built with a feature that needs an
/// operating system.
pub fn check_features(house: &House) -> Result<(), Failure> {
    let arguments = [
        "tree",
        "--package",
        "ublade",
        "--package",
        "door",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}|{f}",
    ];
    let tree = command::output(&mut command::cargo(house.root(), &arguments))?;
    match hosted(&tree) {
        hosted if hosted.is_empty() => Ok(()),
        hosted => Err(Failure::new(format!(
            "crates of the kernel have features that need an operating system: {}",
            hosted.join(", ")
        ))),
    }
}

fn hosted(tree: &str) -> Vec<String> {
    let mut found: Vec<String> = tree
        .lines()
        .filter_map(|line| line.split_once('|'))
        .filter(|(_, features)| {
            features
                .trim_end_matches(" (*)")
                .split(',')
                .any(|feature| HOSTED_FEATURES.contains(&feature))
        })
        .map(|(package, _)| package.split(' ').next().unwrap_or(package).to_owned())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Fails if the ELF at `path` needs anything.
pub fn check_elf(path: &Path) -> Result<(), Failure> {
    let bytes = std::fs::read(path).or_fail(format_args!("cannot read {}", path.display()))?;
    let mut needs = needs(&bytes).or_fail(format_args!("{} is no whole ELF", path.display()))?;
    needs.sort();
    needs.dedup();
    needs.truncate(NEEDS_SHOWN);
    if needs.is_empty() {
        return Ok(());
    }
    Err(
        Failure::new(format!("the kernel does not stand alone: {}", needs[0]))
            .with(needs.join("\n")),
    )
}

/// Everything the ELF wants from outside; `None` if it is cut off somewhere.
fn needs(elf: &[u8]) -> Option<Vec<String>> {
    let mut needs = Vec::new();
    // 64-bit, little-endian.
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let program_headers = Table {
        at: word(elf, 0x20)?,
        entry: half(elf, 0x36)?.into(),
        count: half(elf, 0x38)?.into(),
    };
    for header in program_headers.entries() {
        match long(elf, header)? {
            PT_INTERP => needs.push("it asks for an interpreter".to_owned()),
            PT_DYNAMIC => {
                let dynamic = Table {
                    at: word(elf, header + 0x08)?,
                    entry: 16,
                    count: word(elf, header + 0x20)? / 16,
                };
                for entry in dynamic.entries() {
                    match word(elf, entry)? {
                        DT_NULL => break,
                        DT_NEEDED => needs.push("it asks for a library".to_owned()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let sections = Table {
        at: word(elf, 0x28)?,
        entry: half(elf, 0x3a)?.into(),
        count: half(elf, 0x3c)?.into(),
    };
    for section in sections.entries() {
        let contents = |entry: u64| {
            Some(Table {
                at: word(elf, section + 0x18)?,
                entry,
                count: word(elf, section + 0x20)? / entry,
            })
        };
        match long(elf, section + 0x04)? {
            SHT_SYMTAB | SHT_DYNSYM => {
                // The first symbol is the null one, of no name and no section.
                for symbol in contents(24)?.entries().skip(1) {
                    let strings =
                        sections.at + sections.entry * u64::from(long(elf, section + 0x28)?);
                    let names = word(elf, strings + 0x18)?;
                    let name = name(elf, names + u64::from(long(elf, symbol)?))?;
                    if half(elf, symbol + 6)? == 0 && !name.is_empty() {
                        needs.push(format!("symbol {name} is nowhere defined"));
                    }
                    if STD_NAMES.iter().any(|mark| name.contains(mark)) {
                        needs.push(format!("symbol {name} is of the standard library"));
                    }
                }
            }
            SHT_RELA => {
                for relocation in contents(24)?.entries() {
                    let kind = long(elf, relocation + 8)?;
                    if kind != R_X86_64_RELATIVE {
                        needs.push(format!("a relocation of type {kind}"));
                    }
                }
            }
            _ => {}
        }
    }
    Some(needs)
}

/// A table in a file: where, and how much.
struct Table {
    at: u64,
    entry: u64,
    count: u64,
}

impl Table {
    /// Where each entry begins.
    fn entries(&self) -> impl Iterator<Item = u64> + use<> {
        let (at, entry) = (self.at, self.entry);
        // A table that runs past the end is noticed when it is read.
        (0..self.count).map(move |index| at.saturating_add(index.saturating_mul(entry)))
    }
}

fn array<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    let at = usize::try_from(at).ok()?;
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn half(bytes: &[u8], at: u64) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn long(bytes: &[u8], at: u64) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn word(bytes: &[u8], at: u64) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

fn name(bytes: &[u8], at: u64) -> Option<String> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    let length = rest.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(&rest[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_program_does_not_stand_alone() {
        // This very test program needs a C library and is full of `std`.
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = needs(&program).expect("a test is an ELF");
        for expected in [
            "interpreter",
            "library",
            "nowhere defined",
            "standard library",
        ] {
            assert!(
                needs.iter().any(|need| need.contains(expected)),
                "{expected} was not found"
            );
        }
    }

    #[test]
    fn a_file_that_is_cut_off_is_not_taken_for_a_kernel() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in [0, 5, 63, 64, 200, program.len() / 2] {
            assert_eq!(needs(&program[..length]), None, "{length} bytes");
        }
        assert_eq!(needs(b"MZ not an ELF at all"), None);
    }

    #[test]
    fn the_std_feature_is_found_wherever_it_stands() {
        let tree = "ublade v0.1.0 (/x)|\n\
                    log v0.4.1|max_level_info,std\n\
                    spin v0.12.0|mutex (*)\n\
                    zerocopy v0.8.1|std (*)\n";
        assert_eq!(hosted(tree), ["log", "zerocopy"]);
    }
}
