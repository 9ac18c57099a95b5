//! `sim --seeds N`, `sim SEED`, `sim --mutants`.

use sim::{Mutant, Options};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
sim --seeds N [--from SEED]   run N seeds on two threads
sim SEED [--mutant NAME]      replay one seed, twice, and tell what happens
sim --mutants                 every planted fault must be caught";

/// From so many seeds on, an event of the node that never occurred is a failure.
const COVERING: u64 = 1_000;
/// Seeds a mutant may survive before it counts as not caught.
const HUNT_MAX: u64 = 400;

fn main() -> ExitCode {
    sim::name_the_seed_in_panics();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    match (arguments.first().map(String::as_str), number(0), number(1)) {
        (Some("--seeds"), _, Some(seeds)) => {
            let from = match arguments.get(2).map(String::as_str) {
                Some("--from") => number(3).unwrap_or(0),
                _ => 0,
            };
            sweep(from, seeds)
        }
        (Some("--mutants"), ..) => hunt_all(),
        (Some("--mutant"), ..) => hunt(arguments.get(1).map_or("", String::as_str)),
        (Some(_), Some(seed), _) => {
            let name = arguments.get(2).filter(|_| arguments[1] == "--mutant");
            replay(seed, name.and_then(|name| mutant_of(name)))
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Events that can not happen in this world, and why. One that does is not of it.
const OUTSIDE: [(&str, &str); 6] = [
    (
        "Event(Conflict)",
        "the node here does not ask for its addresses",
    ),
    ("Event(ManagementDropped)", "no management is opened here"),
    ("Event(ManagementReceived)", "no management is opened here"),
    ("Event(ManagementSent)", "no management is opened here"),
    ("Event(Measured)", "the node here serves"),
    (
        "Event(Yielded)",
        "the node here does not ask for its addresses",
    ),
];

fn sweep(from: u64, seeds: u64) -> ExitCode {
    let start = Instant::now();
    let report = sim::sweep(from..from + seeds, 2, &Options::default());
    println!("{report}");
    let unseen: Vec<&String> = report
        .events
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(name, _)| name)
        .filter(|name| OUTSIDE.iter().all(|(outside, _)| outside != name))
        .collect();
    for (event, why) in OUTSIDE {
        println!("not of this world: {event}: {why}");
    }
    println!("events never seen: {unseen:?}");
    println!("{seeds} seeds in {:.1} s", start.elapsed().as_secs_f64());
    // What so many seeds never bring about, nobody checks.
    let is_blind = seeds >= COVERING && !unseen.is_empty();
    if report.finding.is_some() || is_blind {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn replay(seed: u64, mutant: Option<Mutant>) -> ExitCode {
    let first = sim::run(
        seed,
        &Options {
            verbose: true,
            mutant,
            ..Options::default()
        },
    );
    println!("{first}");
    let second = sim::run(
        seed,
        &Options {
            mutant,
            ..Options::default()
        },
    );
    println!(
        "trace {:016x}, again {:016x}",
        first.trace_hash, second.trace_hash
    );
    if first.trace_hash != second.trace_hash {
        println!("the two runs differ: the world is not deterministic");
    }
    if first.finding.is_some() || first.trace_hash != second.trace_hash {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn mutant_of(name: &str) -> Option<Mutant> {
    Mutant::ALL
        .into_iter()
        .find(|mutant| format!("{mutant:?}") == name)
}

/// Hunts one mutant. A mutant may break the node so thoroughly that it panics,
/// which ends the process: each is hunted in a process of its own.
fn hunt(name: &str) -> ExitCode {
    let Some(mutant) = mutant_of(name) else {
        eprintln!("there is no mutant {name}");
        return ExitCode::from(2);
    };
    match sim::hunt(mutant, HUNT_MAX) {
        Some((seeds, finding)) => {
            let text: String = finding.text.chars().take(120).collect();
            println!("{seeds} seeds: {text}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn hunt_all() -> ExitCode {
    let program = std::env::current_exe().expect("a running program has a path");
    let hunters: Vec<_> = Mutant::ALL
        .chunks(2)
        .flat_map(|pair| {
            let children: Vec<_> = pair
                .iter()
                .map(|mutant| {
                    let name = format!("{mutant:?}");
                    let child = std::process::Command::new(&program)
                        .args(["--mutant", &name])
                        .stdout(std::process::Stdio::piped())
                        .stderr(std::process::Stdio::piped())
                        .spawn()
                        .expect("the same program starts again");
                    (name, child)
                })
                .collect();
            children.into_iter().map(|(name, child)| {
                let output = child.wait_with_output().expect("it was started");
                (name, output)
            })
        })
        .collect();
    let mut survivors = 0;
    for (name, output) in hunters {
        let told = String::from_utf8_lossy(&output.stdout).trim().to_string();
        let panicked = String::from_utf8_lossy(&output.stderr).trim().to_string();
        match output.status.code() {
            Some(0) => {
                survivors += 1;
                println!("{name:<22} SURVIVED {HUNT_MAX} seeds");
            }
            Some(1) => println!("{name:<22} caught after {told}"),
            _ => {
                let first: String = panicked.lines().take(3).collect::<Vec<_>>().join(" ");
                println!("{name:<22} caught, the node panicked: {first}");
            }
        }
    }
    println!("{} planted faults, {survivors} survived", Mutant::ALL.len());
    if survivors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
