//! `cargo xtask mutants`: every small change of the protocol that its tests do not see.
//!
//! cargo-mutants changes one place of `aoe` after the other (a comparison, a sum, a
//! whole function) and runs the crate's own tests each time. A change that no test
//! minds is a test that is missing, or makes no difference: those are listed in
//! `kernel/aoe/mutants.txt`, each with its reason. Anything else that survives fails
//! this verb, and so does a line of the list that has nothing to excuse any more.
//!
//! The tool comes by cargo's own means, into the target folder.

use crate::command;
use crate::house::House;
use qemu::{Failure, OrFail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The tool, of the version whose output is read here.
const TOOL: &str = "cargo-mutants";
const VERSION: &str = "27.1.0";
/// Whose tests are tested.
const PACKAGE: &str = "aoe";
/// Changes that make no difference: `# reason`, then the changes it is good for,
/// without the numbers of their lines.
const LIST: &str = "kernel/aoe/mutants.txt";
/// A change that makes a loop endless is found out by waiting. The tests take one
/// second where nothing else runs.
const PATIENCE_S: &str = "60";

/// How.
#[derive(clap::Args)]
pub struct Options {
    /// Changes tried at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Only those that were not caught the last time
    #[arg(long)]
    again: bool,
}

/// Runs the tool, prints the score, and fails if a change survives unexcused.
pub fn verb(house: &House, options: &Options) -> Result<(), Failure> {
    let target = house.root().join("target");
    let tool = install(house, &target.join("tools"))?;
    let jobs = options.jobs.to_string();
    let mut mutants = command::cargo(house.root(), &[]);
    // As a cargo command it is told its own name first.
    mutants.args(["mutants", "--package", PACKAGE, "--jobs", &jobs]);
    mutants.args(["--timeout", PATIENCE_S, "--colors", "never", "--output"]);
    mutants.arg(&target);
    if options.again {
        mutants.arg("--iterate");
    }
    // Unoptimised, the tests that try everything take four times as long as the
    // compiler needs for this. Assertions stay.
    mutants.args(["--cargo-arg", "--tests"]);
    mutants
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("PATH", path(&tool)?);
    // It ends with a failure when something survives; that is for us to judge.
    mutants.status().or_fail("cannot start cargo-mutants")?;
    let room = target.join("mutants.out");
    let list = fs::read_to_string(house.root().join(LIST)).or_fail(LIST)?;
    let report = Report::read(&room, &list)?;
    println!("{report}");
    report.verdict()
}

/// The tool, fetched and built if it is not there yet.
fn install(house: &House, room: &Path) -> Result<PathBuf, Failure> {
    let tool = room.join("bin").join(TOOL);
    if !tool.is_file() {
        let mut cargo = command::cargo(house.root(), &["install", "--locked", TOOL]);
        cargo.args(["--version", VERSION, "--root"]).arg(room);
        let status = cargo.status().or_fail("cannot start cargo")?;
        if !status.success() {
            return Err(Failure::new(format!("{TOOL} can not be installed")));
        }
    }
    Ok(tool)
}

/// The search path, with the folder of `tool` in front.
fn path(tool: &Path) -> Result<std::ffi::OsString, Failure> {
    let own = tool.parent().map(Path::to_path_buf);
    let others = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(own.into_iter().chain(std::env::split_paths(&others)))
        .or_fail("the search path can not be written")
}

/// What became of the changes.
#[derive(Debug, Default)]
struct Report {
    caught: usize,
    timed_out: usize,
    unviable: usize,
    /// Not tried again: caught the last time, or not compiling.
    before: usize,
    /// Survivors that the list excuses, and those that it does not.
    excused: usize,
    survived: Vec<String>,
    /// Lines of the list that excuse nothing.
    idle: Vec<String>,
}

impl Report {
    fn read(room: &Path, list: &str) -> Result<Self, Failure> {
        let lines = |name: &str| -> Result<Vec<String>, Failure> {
            let path = room.join(name).with_extension("txt");
            let text = fs::read_to_string(&path).or_fail(path.display().to_string())?;
            Ok(text.lines().map(str::to_owned).collect())
        };
        let report = Self {
            caught: lines("caught")?.len(),
            // Only with `--again` the tool writes this list.
            before: lines("previously_caught").unwrap_or_default().len(),
            timed_out: lines("timeout")?.len(),
            unviable: lines("unviable")?.len(),
            ..Self::default()
        };
        Ok(report.judge(lines("missed")?, list))
    }

    /// Holds the survivors against the list.
    fn judge(mut self, missed: Vec<String>, list: &str) -> Self {
        let mut used: BTreeMap<&str, bool> = list
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| (line, false))
            .collect();
        for change in missed {
            match used.get_mut(without_place(&change).as_str()) {
                Some(used) => {
                    *used = true;
                    self.excused += 1;
                }
                None => self.survived.push(change),
            }
        }
        let idle = used.iter().filter(|(_, used)| !**used);
        self.idle = idle.map(|(line, _)| (*line).to_owned()).collect();
        self
    }

    fn verdict(&self) -> Result<(), Failure> {
        if self.caught + self.before == 0 {
            return Err(Failure::new("nothing was tried"));
        }
        if self.survived.is_empty() && self.idle.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{} changes survive, {} lines of {LIST} excuse nothing",
            self.survived.len(),
            self.idle.len()
        )))
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for change in &self.survived {
            writeln!(f, "survives: {change}")?;
        }
        for line in &self.idle {
            writeln!(f, "excuses nothing: {line}")?;
        }
        let seen = self.caught + self.timed_out;
        let all = seen + self.excused + self.survived.len();
        write!(
            f,
            "{PACKAGE}: {all} changes, {seen} caught ({} of them by never ending), {} make no \
             difference, {} survive; {} more do not compile",
            self.timed_out,
            self.excused,
            self.survived.len(),
            self.unviable
        )?;
        if self.before > 0 {
            let before = self.before;
            write!(f, "; {before} others were caught or did not compile before")?;
        }
        Ok(())
    }
}

/// A change without its line and column, which move: `FILE: what`.
fn without_place(change: &str) -> String {
    let mut parts = change.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(_), Some(_), Some(what)) => format!("{file}:{what}"),
        _ => change.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: &str = "kernel/aoe/src/ata.rs:104:47: replace | with ^";

    #[test]
    fn a_survivor_on_the_list_is_excused_wherever_it_stands() {
        let list = "# bits that never meet\nkernel/aoe/src/ata.rs: replace | with ^\n";
        let report = Report {
            caught: 1,
            ..Report::default()
        };
        let report = report.judge(vec![CHANGE.to_owned()], list);
        assert_eq!((report.excused, report.survived.len()), (1, 0));
        assert!(report.verdict().is_ok());
    }

    #[test]
    fn a_survivor_that_is_not_listed_and_a_line_without_a_survivor_are_failures() {
        let ran = || Report {
            caught: 1,
            ..Report::default()
        };
        assert!(ran().judge(vec![CHANGE.to_owned()], "").verdict().is_err());
        let list = "kernel/aoe/src/fence.rs: replace < with <=\n";
        assert!(ran().judge(Vec::new(), list).verdict().is_err());
        assert!(Report::default().judge(Vec::new(), "").verdict().is_err());
        assert!(ran().judge(Vec::new(), "").verdict().is_ok());
    }
}
