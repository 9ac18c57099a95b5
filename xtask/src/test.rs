//! `cargo xtask test` and `check`: everything we know how to try.
//!
//! Steps first, from the quick to the slow, then the machine scenarios one
//! after another: under software emulation a node and its initiator are two
//! busy processors, which is what a small machine has. A step that fails does
//! not stop the others; one run shows everything that is wrong.

use crate::house::House;
use crate::progress::Step;
use crate::{bench, build, command, freestanding, image, scenario, tidy};
use ::image::conf::Conf;
use qemu::packages::{self, Debs};
use qemu::{Accel, BootFiles, Failure, Scenario, scenarios};
use std::path::PathBuf;
use std::time::Duration;

/// The boot file may grow to this, and no further.
const BOOT_FILE_BYTES_MAX: u64 = 320 << 10;
/// A step's time on two cores with nothing built yet.
const STEP_LIMIT: Duration = Duration::from_secs(15 * 60);
/// The step that counts what a request costs: its name, and what it says.
const COUNTS: &str = "counts";
const COUNTS_SENTENCE: &str = "a request costs the node no more than the snapshot says";

/// What to test.
#[derive(clap::Args)]
pub struct Options {
    /// Leave the machines out
    #[arg(long)]
    quick: bool,
    /// The boot matrix: every route by which the node starts, and nothing else
    #[arg(long, conflicts_with = "quick")]
    boot: bool,
    /// What takes long or measures times, and nothing else
    #[arg(long, conflicts_with_all = ["quick", "boot"])]
    long: bool,
    /// Only the steps and scenarios whose name contains NAME
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// List the steps and scenarios, and run nothing
    #[arg(long)]
    list: bool,
}

impl Options {
    /// Everything but the machines.
    pub fn quick() -> Self {
        Self {
            quick: true,
            boot: false,
            long: false,
            only: None,
            list: false,
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only))
    }

    fn checks(&self) -> Vec<&'static Check> {
        CHECKS
            .iter()
            .filter(|check| !self.boot && !self.long && self.wants(check.name))
            .collect()
    }

    /// Whether to count what a request costs.
    fn counts(&self) -> bool {
        !self.quick && !self.boot && self.wants(COUNTS)
    }

    fn machines(&self) -> Vec<&'static Scenario> {
        let usual = match (self.boot, self.long) {
            (true, _) => &[],
            (false, true) => scenarios::long(),
            (false, false) => scenarios::all(),
        };
        let rows = scenarios::boot::rows()
            .filter(|row| self.boot || row.sample && !self.long)
            .map(|row| &row.scenario);
        usual
            .iter()
            .chain(rows)
            .filter(|scenario| !self.quick && self.wants(scenario.name))
            .collect()
    }
}

/// A step that needs no machine.
struct Check {
    name: &'static str,
    sentence: &'static str,
    run: fn(&Bench<'_>, &Step) -> Result<Passed, Failure>,
}

/// What a check has to tell when it passes.
struct Passed {
    /// Tests that ran in it; a check without tests of its own is one.
    tests: u64,
    note: String,
}

const CHECKS: [Check; 7] = [
    Check {
        name: "format",
        sentence: "every file is as rustfmt writes it",
        run: format,
    },
    Check {
        name: "tidy",
        sentence: "the house rules hold",
        run: house_rules,
    },
    Check {
        name: "lint",
        sentence: "clippy has nothing to say about the host crates",
        run: lint,
    },
    Check {
        name: "lint-kernel",
        sentence: "clippy has nothing to say about the kernel, built alone",
        run: lint_kernel,
    },
    Check {
        name: "unit",
        sentence: "unit and exhaustive tests pass",
        run: unit,
    },
    Check {
        name: "freestanding",
        sentence: "the kernel links alone, needs nothing, and is small",
        run: stands_alone,
    },
    Check {
        name: "images",
        sentence: "every image is the same when made twice, and what the tools of others take \
                   it for",
        run: images,
    },
];

/// What the checks work with.
struct Bench<'a> {
    house: &'a House,
    logs: PathBuf,
}

/// How one of them ended.
struct Outcome {
    name: String,
    result: Result<Passed, Failure>,
    took: Duration,
}

/// Runs what `options` ask for.
pub fn verb(house: &House, options: &Options) -> Result<(), Failure> {
    if options.list {
        for check in options.checks() {
            println!("{:<24} {}", check.name, check.sentence);
        }
        for scenario in options.machines() {
            println!("{:<24} {}", scenario.name, scenario.sentence);
        }
        if options.counts() {
            println!("{COUNTS:<24} {COUNTS_SENTENCE}");
        }
        return Ok(());
    }
    let (checks, machines) = (options.checks(), options.machines());
    if checks.is_empty() && machines.is_empty() && !options.counts() {
        return Err(Failure::new(format!(
            "nothing is called {}: see cargo xtask test --list",
            options.only.as_deref().unwrap_or("that")
        )));
    }
    let _alone = house.alone_in("test")?;
    let bench = Bench {
        house,
        logs: house.fresh_folder("test")?,
    };
    let mut results: Vec<Outcome> = checks.into_iter().map(|check| bench.check(check)).collect();
    if !machines.is_empty() || options.counts() {
        match bench.prepare_machines(&machines) {
            Ok((boot, accel)) => {
                eprintln!("  machines on {accel}");
                for scenario in machines {
                    results.push(bench.scenario(scenario, &boot, accel));
                }
                if options.counts() {
                    results.push(bench.counts(&boot));
                }
            }
            Err(failure) => results.push(Outcome {
                name: "machines".to_owned(),
                result: Err(failure),
                took: Duration::ZERO,
            }),
        }
    }
    if options.boot {
        matrix(&results);
    }
    summary(&results)
}

/// Prints the boot matrix: a line for each route, run or not.
fn matrix(results: &[Outcome]) {
    println!();
    println!(
        "{:<42} {:<22} from power on to",
        "route", "firmware, loader"
    );
    for row in scenarios::boot::rows() {
        let run = results.iter().find(|one| one.name == row.scenario.name);
        let how = match run.map(|outcome| &outcome.result) {
            Some(Ok(passed)) => passed.note.as_str(),
            Some(Err(_)) => "FAIL",
            None => "left out",
        };
        println!("{:<42} {:<22} {how}", row.scenario.sentence, row.firmware);
    }
    for absent in scenarios::boot::ABSENT {
        println!("{:<42} not run: {}", absent.route, absent.why);
    }
}

/// Prints the table and the closing line.
fn summary(results: &[Outcome]) -> Result<(), Failure> {
    println!();
    for result in results {
        let (word, note) = match &result.result {
            Ok(passed) => ("ok", passed.note.as_str()),
            Err(failure) => ("FAIL", failure.sentence()),
        };
        println!(
            "{word:<4}  {:<24} {:>7.1} s  {}",
            result.name,
            result.took.as_secs_f64(),
            note.lines().next().unwrap_or_default()
        );
    }
    let passed: u64 = results
        .iter()
        .filter_map(|result| result.result.as_ref().ok())
        .map(|passed| passed.tests)
        .sum();
    let failed: Vec<&str> = results
        .iter()
        .filter(|result| result.result.is_err())
        .map(|result| result.name.as_str())
        .collect();
    println!();
    println!("{passed} passed, {} failed", failed.len());
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("failed: {}", failed.join(", "))))
}

impl Bench<'_> {
    fn check(&self, check: &Check) -> Outcome {
        let step = Step::begin(check.name);
        let outcome = (check.run)(self, &step);
        finish(check.name, step, outcome)
    }

    /// Tools, what guests are made of, boot files and the accelerator.
    fn prepare_machines(&self, wanted: &[&Scenario]) -> Result<(BootFiles, Accel), Failure> {
        let mut needs = vec![packages::QEMU];
        if wanted.iter().any(|scenario| scenario.neighbours.is_some()) {
            needs.push(packages::IP);
        }
        packages::ensure(&needs, &mut |line| eprintln!("  {line}"))?;
        eprintln!("  packages for guests");
        scenarios::prepare(wanted, &Debs::new(&self.house.cache()))?;
        let built = build::build(self.house)?;
        let boot = build::files(&built);
        image::make(&built, &Conf::ready_made(), &boot.images)?;
        let accel = Accel::choose(&boot, &self.logs);
        Ok((boot, accel))
    }

    fn scenario(&self, scenario: &Scenario, boot: &BootFiles, accel: Accel) -> Outcome {
        let step = Step::begin(&format!("{}: {}", scenario.name, scenario.sentence));
        let outcome = scenario::run_apart(self.house, scenario, boot, accel, &step);
        let outcome = outcome.map(|notes| {
            for line in &notes {
                step.say(&format!("                 {line}"));
            }
            Passed {
                tests: 1,
                note: notes.join("; "),
            }
        });
        finish(scenario.name, step, outcome)
    }

    /// Counts what a request costs, under software emulation whatever there is.
    fn counts(&self, boot: &BootFiles) -> Outcome {
        let step = Step::begin(&format!("{COUNTS}: {COUNTS_SENTENCE}"));
        let outcome = bench::check(self.house, boot).map(one);
        finish(COUNTS, step, outcome)
    }

    /// Runs cargo, its output in a log.
    fn cargo(&self, log: &str, step: &Step, arguments: &[&str]) -> Result<String, Failure> {
        let command = command::cargo(self.house.root(), arguments);
        let log = self.logs.join(format!("{log}.log"));
        command::run(command, &log, STEP_LIMIT, |line| step.detail(line))
    }
}

fn finish(name: &str, step: Step, outcome: Result<Passed, Failure>) -> Outcome {
    if let Err(failure) = &outcome {
        step.say(&failure.to_string());
    }
    let took = step.end(if outcome.is_ok() { "ok" } else { "FAIL" });
    Outcome {
        name: name.to_owned(),
        result: outcome,
        took,
    }
}

fn one(note: impl Into<String>) -> Passed {
    Passed {
        tests: 1,
        note: note.into(),
    }
}

fn format(bench: &Bench<'_>, step: &Step) -> Result<Passed, Failure> {
    bench.cargo("format", step, &["fmt", "--all", "--check"])?;
    Ok(one(""))
}

fn house_rules(bench: &Bench<'_>, step: &Step) -> Result<Passed, Failure> {
    let report = tidy::inspect(bench.house)?;
    for hint in &report.hints {
        step.say(&format!("  hint: {hint}"));
    }
    report.verdict().map(one)
}

fn lint(bench: &Bench<'_>, step: &Step) -> Result<Passed, Failure> {
    let arguments = ["clippy", "--all-targets", "--", "-D", "warnings"];
    bench.cargo("lint", step, &arguments)?;
    Ok(one(""))
}

fn lint_kernel(bench: &Bench<'_>, step: &Step) -> Result<Passed, Failure> {
    let arguments = [
        "clippy",
        "--package",
        "ublade",
        "--package",
        "engine",
        "--package",
        "door",
        "--",
        "-D",
        "warnings",
    ];
    bench.cargo("lint-kernel", step, &arguments)?;
    Ok(one(""))
}

fn unit(bench: &Bench<'_>, step: &Step) -> Result<Passed, Failure> {
    let output = bench.cargo("unit", step, &["test", "--no-fail-fast"])?;
    // Of the kernel, which is built alone, what is plain arithmetic runs here too.
    let kernel = [
        "test",
        "--package",
        "ublade",
        "--package",
        "door",
        "--lib",
        "--no-fail-fast",
    ];
    let kernel = bench.cargo("unit-kernel", step, &kernel)?;
    let [host, kernel] = [&output, &kernel].map(|output| count_tests(output));
    if host == 0 || kernel == 0 {
        return Err(Failure::new(format!(
            "cargo test ran {host} tests, and {kernel} of the kernel: both must be above 0"
        )));
    }
    let tests = host + kernel;
    Ok(Passed {
        tests,
        note: format!("{tests} tests"),
    })
}

fn stands_alone(bench: &Bench<'_>, _step: &Step) -> Result<Passed, Failure> {
    let built = build::build(bench.house)?;
    freestanding::check_features(bench.house)?;
    freestanding::check_elf(&built.elf)?;
    freestanding::check_elf(&built.door)?;
    if built.boot_file_bytes > BOOT_FILE_BYTES_MAX {
        return Err(Failure::new(format!(
            "the boot file has {} bytes, more than {BOOT_FILE_BYTES_MAX}",
            built.boot_file_bytes
        )));
    }
    Ok(one(format!(
        "boot file {} KiB",
        built.boot_file_bytes.div_ceil(1024)
    )))
}

fn images(bench: &Bench<'_>, step: &Step) -> Result<Passed, Failure> {
    let folder = bench.house.fresh_folder("test/images")?;
    let built = build::build(bench.house)?;
    image::check(&built, &folder, &mut |line| step.say(line)).map(one)
}

/// The sum of "N passed" over the closing lines of cargo test.
fn count_tests(output: &str) -> u64 {
    output
        .lines()
        .filter_map(|line| line.trim().strip_prefix("test result: ok. "))
        .filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_of_every_crate_counts() {
        let output = "test result: ok. 12 passed; 0 failed; 0 ignored\n\
                      noise\n\
                      test result: ok. 30 passed; 0 failed; 1 ignored\n";
        assert_eq!(count_tests(output), 42);
    }

    #[test]
    fn only_selects_by_part_of_the_name() {
        let options = Options {
            quick: false,
            boot: false,
            long: false,
            only: Some("linux".to_owned()),
            list: false,
        };
        assert!(options.wants("linux-mtu9000"));
        assert!(!options.wants("ipxe"));
    }

    #[test]
    fn boot_is_the_whole_matrix_and_nothing_else() {
        let all = Options {
            quick: false,
            boot: true,
            long: false,
            only: None,
            list: false,
        };
        assert!(all.checks().is_empty());
        assert_eq!(all.machines().len(), scenarios::boot::rows().count());
    }

    #[test]
    fn no_two_scenarios_share_a_name_or_a_folder() {
        let rows = scenarios::boot::rows().map(|row| row.scenario.name);
        let all = scenarios::all().iter().chain(scenarios::long());
        let all = all.map(|scenario| scenario.name);
        let mut names: Vec<&str> = all.chain(rows).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
    }
}
