//! A scenario, in a process of its own.
//!
//! A scenario is a test with machines, threads and waits in it. One that panics
//! or hangs must not take the others with it, nor leave its machines behind, so
//! `test` starts this program again for each. Inside, the time limit first kills
//! the machines, which ends every wait for them with its evidence; only a
//! scenario that still does not end is ended from outside.

use crate::command::{self, Ended};
use crate::house::House;
use crate::interrupt;
use crate::progress::Step;
use qemu::packages::Debs;
use qemu::{
    Accel, BootFiles, Context, Failure, OrFail, Report, Scenario, machine, neighbour, scenarios,
};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{panic, process, thread};

/// How long a scenario whose time is over, and whose machines are gone, may
/// still take to say what it saw.
const GRACE: Duration = Duration::from_secs(20);
/// What begins a line that reports a figure.
const NOTE: &str = "note: ";
/// What begins the line that says why it failed; the evidence follows.
const FAILED: &str = "failed: ";

/// Which scenario, and with what.
#[derive(clap::Args)]
pub struct Options {
    name: String,
    #[arg(long)]
    boot_file: PathBuf,
    #[arg(long)]
    elf: PathBuf,
    #[arg(long)]
    images: PathBuf,
    #[arg(long)]
    kvm: bool,
}

/// Runs `scenario` in a process of its own and returns what it reports.
pub fn run_apart(
    house: &House,
    scenario: &Scenario,
    boot: &BootFiles,
    accel: Accel,
    step: &Step,
) -> Result<Vec<String>, Failure> {
    let folder = house.fresh_folder(&format!("test/{}", scenario.name))?;
    let program = neighbour::this_program();
    let mut command = if scenario.neighbours.is_some() {
        neighbour::apart(&program)?
    } else {
        process::Command::new(program)
    };
    command.args(["scenario", scenario.name, "--boot-file"]);
    command.arg(&boot.boot_file).arg("--elf").arg(&boot.elf);
    command.arg("--images").arg(&boot.images);
    if accel == Accel::Kvm {
        command.arg("--kvm");
    }
    let log = folder.join("scenario.log");
    // Inside, the limit and the grace come first.
    let limit = scenario.limit + 2 * GRACE;
    let Ended { output, status } =
        command::run_to_end(command, &log, limit, |line| step.detail(line))?;
    if status.is_some_and(|status| status.success()) {
        let notes = output.lines().filter_map(|line| line.strip_prefix(NOTE));
        return Ok(notes.map(str::to_owned).collect());
    }
    let failure = match (output.split_once(FAILED), status) {
        (Some((_, said)), _) => {
            let (sentence, evidence) = said.split_once('\n').unwrap_or((said, ""));
            Failure::new(sentence).with(evidence)
        }
        (None, Some(status)) => {
            Failure::new(format!("it broke off ({status})")).with(command::tail(&output))
        }
        (None, None) => {
            Failure::new("it hung and was ended from outside").with(command::tail(&output))
        }
    };
    Err(failure.with(format!("files: {}", folder.display())))
}

/// The inside: runs one scenario here and prints what it reports.
pub fn verb(house: &House, options: &Options) -> Result<(), Failure> {
    let scenario = scenarios::find(&options.name)
        .or_fail(format_args!("no scenario is called {}", options.name))?;
    // A panic aborts this program; its machines must not stay.
    let report_panic = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report_panic(panic);
        machine::kill_all();
        interrupt::clean_up();
    }));
    let folder = house.root().join("target/test").join(scenario.name);
    let boot = BootFiles {
        boot_file: options.boot_file.clone(),
        elf: options.elf.clone(),
        images: options.images.clone(),
    };
    let accel = if options.kvm { Accel::Kvm } else { Accel::Tcg };
    let debs = Debs::new(&house.cache());
    let context = Context::new(&folder, &boot, &debs, accel, scenario.limit);
    let outcome = within_limit(scenario, context);
    machine::kill_all();
    match outcome {
        Ok(report) => {
            for line in report.lines() {
                println!("{NOTE}{line}");
            }
            Ok(())
        }
        Err(failure) => {
            println!("{FAILED}{failure}");
            // All is said; the caller's own report would only repeat it.
            interrupt::clean_up();
            process::exit(1);
        }
    }
}

/// Runs a scenario and ends its machines when its time is over.
fn within_limit(scenario: &Scenario, mut context: Context) -> Result<Report, Failure> {
    let (sender, result) = mpsc::channel();
    let run = scenario.run;
    thread::spawn(move || {
        // Nobody listens any more once time and grace are over.
        let _ = sender.send(run(&mut context));
    });
    match result.recv_timeout(scenario.limit) {
        Ok(outcome) => return outcome,
        Err(RecvTimeoutError::Disconnected) => {
            return Err(Failure::new("the scenario ended without a result"));
        }
        Err(RecvTimeoutError::Timeout) => {}
    }
    machine::kill_all();
    let late = Failure::new(format!(
        "it took longer than {} s",
        scenario.limit.as_secs()
    ));
    Err(match result.recv_timeout(GRACE) {
        Ok(Ok(_)) => late,
        Ok(Err(failure)) => late.with(failure.to_string()),
        Err(_) => late.with("and it did not end when its machines were killed"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn outcome_of(
        limit: Duration,
        run: fn(&mut Context) -> Result<Report, Failure>,
    ) -> Result<Report, Failure> {
        let scenario = Scenario {
            name: "planted",
            sentence: "it is planted",
            limit,
            linux: false,
            neighbours: None,
            run,
        };
        let boot = BootFiles {
            boot_file: PathBuf::new(),
            elf: PathBuf::new(),
            images: PathBuf::new(),
        };
        let here = Path::new(".");
        let context = Context::new(here, &boot, &Debs::new(here), Accel::Tcg, limit);
        within_limit(&scenario, context)
    }

    #[test]
    fn a_scenario_that_ends_in_time_gives_its_own_result() {
        let limit = Duration::from_secs(20);
        assert!(outcome_of(limit, |_| Ok(Report::new())).is_ok());
        let failure = outcome_of(limit, |_| Err("not so".into())).unwrap_err();
        assert_eq!(failure.sentence(), "not so");
    }

    #[test]
    fn a_scenario_that_is_too_slow_fails_and_says_what_it_saw() {
        let failure = outcome_of(Duration::from_millis(20), |_| {
            thread::sleep(Duration::from_millis(200));
            Err("the machine ended".into())
        })
        .unwrap_err();
        assert!(failure.sentence().contains("longer than"));
        assert!(failure.to_string().contains("the machine ended"));
    }
}
