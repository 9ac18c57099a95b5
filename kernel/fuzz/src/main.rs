//! `fuzz --list`, `fuzz NAME SECONDS`, `fuzz NAME COUNT FOLDER`: the harnesses, one
//! of them from its seeded generator (for machines without a C++ compiler), and
//! what the generator makes, as files for a fuzzer to begin with.

#![forbid(unsafe_code)]

use sim::random::Random;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = arguments.get(1).and_then(|text| text.parse().ok());
    let folder = arguments.get(2);
    match (arguments.first().map(String::as_str), number) {
        (Some("--list"), _) => {
            for harness in fuzz::HARNESSES {
                println!("{} {}", harness.name, harness.runs_max);
            }
            ExitCode::SUCCESS
        }
        (Some(name), Some(number)) => match fuzz::named(name) {
            Some(harness) => match folder {
                Some(folder) => write(harness, number, folder),
                None => run(harness, number),
            },
            None => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("fuzz --list\nfuzz NAME SECONDS\nfuzz NAME COUNT FOLDER");
    ExitCode::from(2)
}

fn write(harness: &fuzz::Harness, count: u64, folder: &str) -> ExitCode {
    let mut random = Random::new(1);
    for number in 0..count {
        let mut input = Vec::new();
        (harness.generate)(&mut random, &mut input);
        let path = Path::new(folder).join(format!("made-{number}"));
        if let Err(error) = std::fs::write(&path, input) {
            eprintln!("cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(harness: &fuzz::Harness, seconds: u64) -> ExitCode {
    const ROUND: u64 = 1_000;
    let start = Instant::now();
    let mut executions = 0;
    while start.elapsed().as_secs() < seconds && executions < harness.runs_max {
        harness.run_seeded(executions, ROUND);
        executions += ROUND;
    }
    println!("{}: {executions} executions, no finding", harness.name);
    ExitCode::SUCCESS
}
