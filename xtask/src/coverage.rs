//! `cargo xtask coverage`: which lines of the protocol and of the node no test runs.
//!
//! The tests of `aoe` and `node` run with rustc's own instrumentation, and with them
//! what else runs the real crates on the host: a sample of the simulated world and
//! the fuzz harnesses. Lines of tests and of fakes do not count. The profiles are
//! read by LLVM's tools, of a version at least that of the compiler's profiles, which
//! Debian has beside its usual one.

use crate::command;
use crate::house::House;
use qemu::packages::{self, Need};
use qemu::{Failure, OrFail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian puts the tools.
const MERGE: &str = "/usr/lib/llvm-19/bin/llvm-profdata";
const EXPORT: &str = "/usr/lib/llvm-19/bin/llvm-cov";
const TOOLS: [Need; 2] = [
    Need {
        program: MERGE,
        package: "llvm-19",
    },
    Need {
        program: EXPORT,
        package: "llvm-19",
    },
];
/// The rooms that count, and the least of each that must be run, in per cent.
const ROOMS: [(&str, f64); 2] = [("kernel/aoe/src/", 95.0), ("kernel/node/src/", 95.0)];
/// Whose tests are run.
const PACKAGES: [&str; 4] = ["aoe", "node", "sim", "fuzz"];
/// Files of a room that are tests or stand in for a device.
const TESTS: [&str; 2] = ["tests.rs", "fake.rs"];

/// Lines of a file that are code, and those among them that were never run.
#[derive(Default)]
struct Lines {
    all: Vec<u32>,
    missed: Vec<u32>,
}

impl Lines {
    /// Leaves out what comes from line `first` on.
    fn cut(&mut self, first: u32) {
        self.all.retain(|line| *line < first);
        self.missed.retain(|line| *line < first);
    }
}

/// The line at which a file's own tests begin; they stand at its end.
fn first_of_tests(text: &str) -> u32 {
    let mut lines = (1..).zip(text.lines());
    lines
        .find(|(_, line)| *line == "#[cfg(test)]")
        .filter(|_| text.contains("#[cfg(test)]\nmod tests {"))
        .map_or(u32::MAX, |(number, _)| number)
}

/// Runs the tests, prints what they leave out, and fails where it is too much.
pub fn verb(house: &House) -> Result<(), Failure> {
    packages::ensure(&TOOLS, &mut |line| eprintln!("  {line}"))?;
    let target = house.root().join("target/coverage");
    let profiles = target.join("profiles");
    let _ = fs::remove_dir_all(&profiles);
    fs::create_dir_all(&profiles).or_fail(format_args!("cannot make {}", profiles.display()))?;
    let programs = run_tests(house, &target, &profiles)?;
    let merged = target.join("merged.profdata");
    let mut merge = Command::new(MERGE);
    merge.args(["merge", "-sparse", "-o"]).arg(&merged);
    merge.args(files(&profiles)?);
    command::output(&mut merge)?;
    let mut export = Command::new(EXPORT);
    export.args(["export", "-format=lcov", "-instr-profile"]);
    export.arg(&merged);
    for (index, program) in programs.iter().enumerate() {
        if index > 0 {
            export.arg("-object");
        }
        export.arg(program);
    }
    let mut table = read_lcov(&command::output(&mut export)?, house.root());
    for (path, lines) in &mut table {
        let text = fs::read_to_string(house.root().join(path)).or_fail(path)?;
        lines.cut(first_of_tests(&text));
    }
    report(&table)
}

/// Builds and runs the tests with instrumentation. Returns the programs.
fn run_tests(house: &House, target: &Path, profiles: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut words = vec!["test"];
    for package in PACKAGES {
        words.extend(["--package", package]);
    }
    let prepare = |more: &[&str]| {
        let mut all = words.clone();
        all.extend(more);
        let mut cargo = command::cargo(house.root(), &all);
        cargo
            .env("CARGO_TARGET_DIR", target)
            .env("RUSTFLAGS", "-Cinstrument-coverage")
            .env("LLVM_PROFILE_FILE", profiles.join("%p-%m.profraw"));
        cargo
    };
    let list = command::output(&mut prepare(&["--no-run", "--message-format=json"]))?;
    let programs = list
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .collect();
    let status = prepare(&["--quiet"])
        .status()
        .or_fail("cannot start the tests")?;
    if status.success() {
        return Ok(programs);
    }
    Err(Failure::new(format!("the tests ended with {status}")))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(folder).or_fail(format_args!("cannot read {}", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Reads the exported table: for each file of ours, its lines (lcov's geninfo
/// format: `SF:` names a file, `DA:` a line and how often it ran).
fn read_lcov(text: &str, root: &Path) -> BTreeMap<String, Lines> {
    let mut table: BTreeMap<String, Lines> = BTreeMap::new();
    let mut file = None;
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            let path = Path::new(path)
                .strip_prefix(root)
                .unwrap_or(Path::new(path));
            file = counts(&path.to_string_lossy()).then(|| path.to_string_lossy().into_owned());
        } else if let Some(counted) = line.strip_prefix("DA:")
            && let Some(file) = &file
            && let Some((number, times)) = counted.split_once(',')
            && let Ok(number) = number.parse()
        {
            let lines = table.entry(file.clone()).or_default();
            lines.all.push(number);
            if times == "0" {
                lines.missed.push(number);
            }
        }
    }
    table
}

/// Whether a file is one of those that tests should run.
fn counts(path: &str) -> bool {
    let is_ours = ROOMS.iter().any(|(room, _)| path.starts_with(room));
    is_ours && !TESTS.iter().any(|name| path.ends_with(name))
}

fn report(table: &BTreeMap<String, Lines>) -> Result<(), Failure> {
    let mut short = Vec::new();
    for (room, least) in ROOMS {
        let files = table.iter().filter(|(path, _)| path.starts_with(room));
        let (mut all, mut missed) = (0, 0);
        for (path, lines) in files {
            all += lines.all.len() as u64;
            missed += lines.missed.len() as u64;
            if !lines.missed.is_empty() {
                println!("{path}: {}", ranges(&lines.missed));
            }
        }
        let share = 100.0 * (all - missed) as f64 / (all as f64).max(1.0);
        println!("{room} {share:.1} % of {all} lines are run\n");
        if all == 0 || share < least {
            short.push(format!("{room} {share:.1} %, {least} % are wanted"));
        }
    }
    if short.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "too little is run: {}",
        short.join("; ")
    )))
}

/// Line numbers, neighbours together: `3-5 9`.
fn ranges(lines: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &line in lines {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == line => *end = line,
            _ => ranges.push((line, line)),
        }
    }
    let texts: Vec<String> = ranges
        .iter()
        .map(|(start, end)| match start == end {
            true => start.to_string(),
            false => format!("{start}-{end}"),
        })
        .collect();
    texts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_rooms_count_and_those_of_tests_and_others_do_not() {
        let text = "SF:/r/kernel/node/src/step.rs\nDA:1,5\nDA:2,0\nDA:3,0\nDA:7,0\nend_of_record\n\
                    SF:/r/kernel/node/src/tests.rs\nDA:1,0\nend_of_record\n\
                    SF:/r/drivers/io/src/lib.rs\nDA:1,0\nend_of_record\n";
        let table = read_lcov(text, Path::new("/r"));
        assert_eq!(table.len(), 1);
        let lines = &table["kernel/node/src/step.rs"];
        assert_eq!(
            (lines.all.len(), ranges(&lines.missed).as_str()),
            (4, "2-3 7")
        );
        let mut lines = Lines {
            all: vec![1, 2, 3],
            missed: vec![2, 3],
        };
        lines.cut(first_of_tests(
            "fn a() {}\nfn b() {}\n#[cfg(test)]\nmod tests {\n}",
        ));
        assert_eq!((lines.all, lines.missed), (vec![1, 2], vec![2]));
    }

    #[test]
    fn a_room_without_a_line_is_too_little() {
        assert!(report(&BTreeMap::new()).is_err());
    }
}
