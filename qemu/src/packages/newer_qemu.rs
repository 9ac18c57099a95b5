//! A QEMU with devices that the system's own has not, from the same archive's backports.
//!
//! It is fetched and unpacked aside, as what guests need is, and never installed. Apt
//! does it with lists of its own, so that the system's settings stay as they are. What
//! QEMU is linked with is the system's: where that is too old the program does not
//! start, and a scenario says that it was skipped, as it does where there are no
//! backports.

use super::{Debs, apt_get};
use crate::machine::Emulator;
use crate::{Failure, OrFail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Name of the folder in the cache, and of the set in it.
const SET: &str = "newer-qemu";
/// The program and what it starts guests with.
const PACKAGES: [&str; 3] = ["qemu-system-x86", "qemu-system-data", "seabios"];
/// What of it is firmware.
const FIRMWARE: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];

/// Fetches it.
pub fn fetch(debs: &Debs) -> Result<(), Failure> {
    if fetched(debs).is_some() {
        return Ok(());
    }
    let folder = debs.cache().join(SET);
    for inner in ["lists/partial", "archives/partial"] {
        let inner = folder.join(inner);
        fs::create_dir_all(&inner).or_fail(format_args!("cannot make {}", inner.display()))?;
    }
    let (archive, release) = archive()?;
    let sources = folder.join("sources.list");
    let line = format!("deb {archive} {release}-backports main\n");
    fs::write(&sources, line).or_fail(format_args!("cannot write {}", sources.display()))?;
    let folder = folder.canonicalize().or_fail("a folder just made")?;
    let option = |name: &str, path: &Path| format!("-o{name}={}", path.display());
    let debs = Debs {
        options: vec![
            option("Dir::Etc::SourceList", &folder.join("sources.list")),
            "-oDir::Etc::SourceParts=-".to_owned(),
            option("Dir::State::Lists", &folder.join("lists")),
            option("Dir::Cache", &folder),
            format!("-oAPT::Default-Release={release}-backports"),
        ],
        cache: folder,
    };
    let mut update: Vec<&str> = debs.options.iter().map(String::as_str).collect();
    update.push("update");
    let updated = apt_get(&[], &update)?;
    if !updated.status.success() {
        return Err(super::refused("apt-get update", &updated));
    }
    debs.unpacked("root", &PACKAGES).map(drop)
}

/// It, if it was fetched and starts.
pub fn fetched(debs: &Debs) -> Option<Emulator> {
    let folder = debs.cache().join(SET);
    let root = folder.join("root");
    let emulator = Emulator {
        program: root.join("usr/bin/qemu-system-x86_64"),
        firmware: FIRMWARE.iter().map(|inner| root.join(inner)).collect(),
    };
    let starts = folder.join("root.stamp").is_file()
        && Command::new(&emulator.program)
            .arg("-version")
            .output()
            .is_ok_and(|output| output.status.success());
    starts.then_some(emulator)
}

/// Where the system's own packages come from, and its release.
fn archive() -> Result<(String, String), Failure> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"])
        .arg("Identifier: Packages")
        .output()
        .or_fail("cannot start apt-get")?;
    main_archive(&String::from_utf8_lossy(&output.stdout))
        .or_fail("apt names no archive of this system")
}

/// The first archive that is no part of another: `bookworm`, not `bookworm-updates`.
fn main_archive(lines: &str) -> Option<(String, String)> {
    lines
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, release)| release.chars().all(|letter| letter.is_ascii_lowercase()))
        .map(|(archive, release)| (archive.to_owned(), release.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_of_the_release_itself_is_the_one_that_has_backports() {
        let lines = "http://a/security/ bookworm-security\nhttp://a/debian/ bookworm-updates\n\
                     http://a/debian/ bookworm\nhttp://b/debian/ bookworm\n";
        let (archive, release) = main_archive(lines).expect("there is one");
        assert_eq!(
            (archive.as_str(), release.as_str()),
            ("http://a/debian/", "bookworm")
        );
        assert_eq!(main_archive("http://a/ bookworm-updates\n"), None);
        assert_eq!(main_archive(""), None);
    }
}
