//! `unsafe` lives in named places only, and everything else forbids it.

use super::Violation;
use super::source::Source;

/// Where `unsafe` may stand: a module is its file and the folder beside it.
const PLACES: &[&str] = &[
    "drivers/ahci/src/table",
    "drivers/io/src/frame",
    "drivers/pci/src/config",
    "drivers/pci/src/bar",
    "drivers/pci/src/shared",
    "drivers/remote/src/queue",
    "drivers/virtio/src/ring",
    "drivers/virtio/src/transport",
    "drivers/virtio/src/model",
    "kernel/door/src/above",
    "kernel/door/src/bridge",
    "kernel/door/src/main",
    "kernel/door/src/say",
    "kernel/door/src/uefi",
    "kernel/metal/src/arch",
    "kernel/metal/src/boot",
    "kernel/metal/src/memory",
    "kernel/metal/src/heap",
    "kernel/metal/src/memcpy",
    "kernel/metal/src/clock",
    "kernel/metal/src/epitaph",
    "kernel/metal/src/mover",
    "kernel/sim/src/models/dma",
    // A plugin is called by QEMU through C and shares its counters with us.
    "qemu/counter/src/lib",
];
/// Rooms whose crates run without an operating system.
const FREESTANDING: [&str; 2] = ["kernel/", "drivers/"];
/// Rooms in `kernel/` that run on the host.
const HOSTED: [&str; 2] = ["kernel/fuzz/", "kernel/sim/"];

/// Every `unsafe` outside its places, and every crate that should forbid it or
/// do without `std` and does not say so.
pub fn check(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        if !PLACES.iter().any(|place| is_in(&source.path, place)) {
            for at in words(&source.code, "unsafe") {
                violations.push(Violation::new(
                    &source.path,
                    source.line_of(at),
                    "`unsafe` outside the places for it (the list is in xtask/src/tidy/unsafety.rs)",
                ));
            }
        }
        if let Some(room) = room_of_root(&source.path) {
            violations.extend(check_root(source, room));
        }
    }
    violations
}

/// What the root file of the crate in `room` must say.
fn check_root(source: &Source, room: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let has_places = PLACES.iter().any(|place| place.starts_with(room));
    if !has_places && !source.code.contains("#![forbid(unsafe_code)]") {
        violations.push(Violation::new(
            &source.path,
            0,
            "no `#![forbid(unsafe_code)]`, and the crate has no place for `unsafe`",
        ));
    }
    let freestanding = FREESTANDING.iter().any(|start| room.starts_with(start))
        && !HOSTED.iter().any(|start| room.starts_with(start));
    let alone = ["#![no_std]", "#![cfg_attr(not(test), no_std)]"];
    if freestanding && !alone.iter().any(|says| source.code.contains(says)) {
        violations.push(Violation::new(
            &source.path,
            0,
            "no `#![no_std]`, and the crate is the kernel's",
        ));
    }
    violations
}

/// The room (`kernel/aoe/`) whose crate has this file as its root.
fn room_of_root(path: &str) -> Option<&str> {
    path.strip_suffix("src/lib.rs")
        .or_else(|| path.strip_suffix("src/main.rs"))
        .filter(|room| !room.is_empty())
}

fn is_in(path: &str, place: &str) -> bool {
    path.strip_prefix(place)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Where `word` stands as a whole word.
fn words(code: &str, word: &str) -> Vec<usize> {
    let is_name =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bytes = code.as_bytes();
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|&at| {
            let before = at.checked_sub(1).and_then(|before| bytes.get(before));
            !is_name(before) && !is_name(bytes.get(at + word.len()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::planted;
    use super::*;

    const FORBIDS: &str = "#![no_std]\n#![forbid(unsafe_code)]\n";

    #[test]
    fn unsafe_outside_its_places_is_found_with_its_line() {
        let planted = [
            planted(
                "kernel/node/src/step.rs",
                "fn f() {\n    unsafe { g() }\n}\n",
            ),
            planted(
                "kernel/metal/src/probe.rs",
                "#[unsafe(no_mangle)]\nfn f() {}\n",
            ),
            planted("kernel/metal/src/archive.rs", "unsafe fn f() {}\n"),
        ];
        let found: Vec<(String, usize)> = check(&planted)
            .into_iter()
            .map(|violation| (violation.path, violation.line))
            .collect();
        let expected = [
            ("kernel/node/src/step.rs".to_owned(), 2),
            ("kernel/metal/src/probe.rs".to_owned(), 1),
            ("kernel/metal/src/archive.rs".to_owned(), 1),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn unsafe_in_its_places_and_in_words_is_nothing() {
        let planted = [
            planted("drivers/io/src/frame.rs", "unsafe { g() }"),
            planted("kernel/metal/src/arch/gdt.rs", "unsafe { g() }"),
            planted(
                "kernel/node/src/step.rs",
                "// unsafe\nlet unsafely = \"unsafe\";",
            ),
            planted("kernel/node/src/lib.rs", FORBIDS),
        ];
        assert_eq!(check(&planted), []);
    }

    #[test]
    fn a_crate_without_a_place_must_forbid_unsafe() {
        let found = check(&[planted("kernel/node/src/lib.rs", "#![no_std]\n")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("forbid"));
        assert_eq!(
            check(&[planted("drivers/io/src/lib.rs", "#![no_std]\n")]),
            []
        );
    }

    #[test]
    fn a_crate_of_the_kernel_must_do_without_std_and_a_tool_need_not() {
        let forbids = "#![forbid(unsafe_code)]\n";
        let found = check(&[planted("drivers/ram/src/lib.rs", forbids)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("no_std"));
        assert_eq!(check(&[planted("qemu/src/lib.rs", forbids)]), []);
        assert_eq!(check(&[planted("kernel/sim/src/lib.rs", "")]), []);
    }
}
