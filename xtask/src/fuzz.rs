//! `cargo xtask fuzz`: every harness, guided by coverage.
//!
//! libFuzzer is linked into one program with all harnesses, and rustc's own
//! instrumentation tells it where the code went: the stable toolchain can do all
//! of that, and a C++ compiler. Bounds, overflows and debug assertions are checked;
//! there is next to no `unsafe` for a sanitizer to look at.
//!
//! The corpus in the tree is one text file a harness, an input a line. A run works
//! on a copy that grows in the target folder; `--keep` brings back what a merge
//! leaves of it, the smallest inputs that reach everything that was reached.

use crate::command;
use crate::house::House;
use qemu::{Failure, OrFail};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What tells libFuzzer where the code went, and what a debug build checks.
const RUSTFLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks --cfg fuzzing";
/// Longest input; the frame harness takes jumbo frames.
const INPUT_BYTES_MAX: usize = 12_288;
/// Longest input that is brought back to the tree, and most of a harness.
const KEPT_BYTES_MAX: usize = 1_200;
const KEPT_MAX: usize = 160;
/// What the generator gives a fuzzer to begin with: to find out by trying what a
/// frame looks like takes it hours.
const MADE: &str = "400";
/// A process ends after so long, to give back what it could not free.
const ROUND: Duration = Duration::from_secs(300);

/// How long, and what.
#[derive(clap::Args)]
pub struct Options {
    /// Minutes for all harnesses together
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// One harness only
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Inputs a harness runs at most
    #[arg(long, value_name = "COUNT")]
    runs: Option<u64>,
    /// Bring what was found worth keeping back to the corpus in the tree
    #[arg(long)]
    keep: bool,
    /// No C++ compiler: the seeded generators instead
    #[arg(long)]
    seeded: bool,
}

/// A harness as `fuzz --list` tells it.
struct Harness {
    name: String,
    runs_max: u64,
}

/// Fuzzes, and fails with the input that broke a promise.
pub fn verb(house: &House, options: &Options) -> Result<(), Failure> {
    let harnesses = harnesses(house, options.only.as_deref())?;
    let each = Duration::from_secs_f64(options.minutes * 60.0 / harnesses.len() as f64);
    if options.seeded {
        for harness in &harnesses {
            let seconds = each.as_secs().max(1).to_string();
            let mut cargo = seeded(house);
            run(cargo.args([&harness.name, &seconds]))?;
        }
        return Ok(());
    }
    let program = build(house)?;
    for harness in &harnesses {
        let bench = Bench::new(house, &program, harness)?;
        bench.fuzz(each, options.runs.unwrap_or(u64::MAX))?;
        if options.keep {
            bench.keep()?;
        }
    }
    Ok(())
}

fn seeded(house: &House) -> Command {
    let words = ["run", "--quiet", "--release", "--package", "fuzz", "--"];
    command::cargo(house.root(), &words)
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().or_fail("cannot start a harness")?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("a harness ended with {status}")))
}

fn harnesses(house: &House, only: Option<&str>) -> Result<Vec<Harness>, Failure> {
    let list = command::output(seeded(house).arg("--list"))?;
    let harnesses: Vec<Harness> = list
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
        .map(|(name, runs)| Harness {
            name: name.to_string(),
            runs_max: runs.parse().unwrap_or(u64::MAX),
        })
        .collect();
    if harnesses.is_empty() {
        let names: Vec<&str> = list.lines().filter_map(|l| l.split(' ').next()).collect();
        return Err(Failure::new("there is no such harness").with(names.join("\n")));
    }
    Ok(harnesses)
}

/// The program with all harnesses, instrumented. A target is named so that build
/// scripts are left as they are.
fn build(house: &House) -> Result<PathBuf, Failure> {
    let version = command::output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.or_fail("rustc does not say what it runs on")?;
    let room = house.root().join("target").join("fuzz");
    let words = ["build", "--release", "--package", "fuzz"];
    let mut cargo = command::cargo(house.root(), &words);
    cargo
        .args(["--features", "guided", "--bin", "guided"])
        .args(["--target", host, "--target-dir"])
        .arg(&room)
        .env("RUSTFLAGS", RUSTFLAGS);
    let status = cargo.status().or_fail("cannot start cargo")?;
    if !status.success() {
        let advice = "libFuzzer needs a C++ compiler; `--seeded` does without";
        return Err(Failure::new("the harnesses do not build").with(advice));
    }
    Ok(room.join(host).join("release").join("guided"))
}

/// A harness and its places.
struct Bench<'a> {
    program: &'a Path,
    harness: &'a Harness,
    /// The corpus in the tree.
    kept: PathBuf,
    /// The corpus at work.
    corpus: PathBuf,
    findings: PathBuf,
}

impl<'a> Bench<'a> {
    fn new(house: &House, program: &'a Path, harness: &'a Harness) -> Result<Self, Failure> {
        let name = &harness.name;
        let room = house.root().join("target").join("fuzz");
        let bench = Self {
            program,
            harness,
            kept: house
                .root()
                .join("kernel/fuzz/corpus")
                .join(format!("{name}.txt")),
            corpus: room.join("corpus").join(name),
            findings: room.join("findings").join(name),
        };
        for folder in [&bench.corpus, &bench.findings] {
            fs::create_dir_all(folder).or_fail(format_args!("cannot make {}", folder.display()))?;
        }
        run(seeded(house).args([name.as_str(), MADE]).arg(&bench.corpus))?;
        // A harness that is new has none yet.
        let lines = fs::read_to_string(&bench.kept).unwrap_or_default();
        for (number, line) in lines.lines().enumerate() {
            let input = bytes_of(line).or_fail(format_args!(
                "{}:{} is not hexadecimal",
                bench.kept.display(),
                number + 1
            ))?;
            let path = bench.corpus.join(format!("kept-{number}"));
            fs::write(&path, input).or_fail(format_args!("cannot write {}", path.display()))?;
        }
        Ok(bench)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .env("UBLADE_HARNESS", &self.harness.name)
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            // Memory of simulated machines is lent for ever: see `runs_max`.
            .args(["-rss_limit_mb=6000", "-detect_leaks=0"])
            .arg(format!("-artifact_prefix={}/", self.findings.display()));
        command
    }

    /// Runs for `time` or `runs` inputs, in rounds.
    fn fuzz(&self, time: Duration, runs: u64) -> Result<(), Failure> {
        let name = &self.harness.name;
        let start = Instant::now();
        let (mut executions, mut covered) = (0, 0);
        while executions < runs && start.elapsed() < time {
            let left = (time - start.elapsed()).min(ROUND);
            let now = (runs - executions).min(self.harness.runs_max);
            let output = self
                .command()
                .arg(format!("-max_total_time={}", left.as_secs().max(1)))
                .arg(format!("-runs={}", i64::try_from(now).unwrap_or(-1)))
                .args(["-print_final_stats=1", "-verbosity=1"])
                .arg(&self.corpus)
                .output()
                .or_fail("cannot start the fuzzer")?;
            let told = String::from_utf8_lossy(&output.stderr);
            if !output.status.success() {
                return Err(Failure::new(format!("{name}: a promise is broken"))
                    .with(command::tail(&told))
                    .with("put the input, in hexadecimal, into the corpus to replay it"));
            }
            executions += number_after(&told, "stat::number_of_executed_units:").unwrap_or(0);
            covered = covered.max(number_after(&told, " cov: ").unwrap_or(0));
        }
        println!(
            "{name}: {executions} executions in {:.0} s, {covered} edges reached, no finding",
            start.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Merges the corpus and writes what is left to the tree.
    fn keep(&self) -> Result<(), Failure> {
        let merged = self.corpus.with_extension("merged");
        // One from an earlier run would take part.
        let _ = fs::remove_dir_all(&merged);
        fs::create_dir_all(&merged).or_fail("cannot make a folder for the merge")?;
        let output = self
            .command()
            .arg("-merge=1")
            .args([&merged, &self.corpus])
            .output()
            .or_fail("cannot start the merge")?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new("the merge failed").with(command::tail(&told)));
        }
        let mut inputs = Vec::new();
        for entry in fs::read_dir(&merged).or_fail("cannot list the merge")? {
            let path = entry.or_fail("cannot list the merge")?.path();
            inputs.push(fs::read(&path).or_fail("cannot read an input")?);
        }
        inputs.retain(|input| !input.is_empty() && input.len() <= KEPT_BYTES_MAX);
        inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        // Not only the shortest: some of every length.
        let step = inputs.len().div_ceil(KEPT_MAX).max(1);
        let text: String = inputs
            .iter()
            .step_by(step)
            .map(|input| line_of(input))
            .collect();
        fs::write(&self.kept, text)
            .or_fail(format_args!("cannot write {}", self.kept.display()))?;
        println!(
            "{}: kept {} inputs",
            self.harness.name,
            inputs.len().div_ceil(step)
        );
        Ok(())
    }
}

fn line_of(input: &[u8]) -> String {
    let mut line = String::with_capacity(2 * input.len() + 1);
    for byte in input {
        write!(line, "{byte:02x}").expect("a string takes everything");
    }
    line.push('\n');
    line
}

fn bytes_of(line: &str) -> Option<Vec<u8>> {
    line.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// The last number that stands behind `word`.
fn number_after(text: &str, word: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(word)?;
    let digits = rest.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_survives_the_way_to_the_tree_and_back() {
        let input = [0, 0x7f, 0xff, b'\n'];
        let line = line_of(&input);
        assert_eq!(bytes_of(line.trim_end()).as_deref(), Some(&input[..]));
        assert_eq!(bytes_of("0x"), None);
    }

    #[test]
    fn the_last_number_counts() {
        let text = "#2 INITED cov: 17 ft: 3\n#9 NEW cov: 214 ft: 5\nstat::x:   12\n";
        assert_eq!(number_after(text, " cov: "), Some(214));
        assert_eq!(number_after(text, "stat::x:"), Some(12));
        assert_eq!(number_after(text, "stat::y:"), None);
    }
}
