//! Every verb of the project: `cargo xtask VERB`.
//!
//! Automation is Rust so that it is read, tested and debugged like the rest;
//! a shell script here only ever calls one of these verbs. One verb, one module.

#![forbid(unsafe_code)]

mod bench;
mod build;
mod command;
mod coverage;
mod discover;
mod drivers;
mod freestanding;
mod fuzz;
mod house;
mod image;
mod interrupt;
mod mutants;
mod progress;
mod run;
mod scenario;
mod sim;
mod tap;
mod test;
mod tidy;

use clap::{CommandFactory, Parser, Subcommand};
use house::House;
use std::process::ExitCode;

/// ublade: a storage node that is its own operating system
#[derive(Parser)]
#[command(bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the kernel and its boot file, and print their sizes
    Build,
    /// Disk, ISO and hypervisor images, with --conf FILE in them; --list says which is for what
    Image(image::Options),
    /// Build, boot in QEMU, write and read back through AoE, then the node's console
    Run(run::Options),
    /// Everything: format, lints, unit and exhaustive tests, house rules, real machines
    Test(test::Options),
    /// What a request costs the node and vblade: counts, times, and a report
    Bench(bench::Options),
    /// Every AoE target on a network interface, and what it says of itself (root)
    Discover(discover::Options),
    /// The node in a simulated world: --seeds N, SEED, --mutants
    Sim(sim::Options),
    /// Any bytes for frames, settings, rings, tables: coverage-guided, or --seeded
    Fuzz(fuzz::Options),
    /// Lines of the protocol and the node that no test runs
    Coverage,
    /// The devices that have a driver: their PCI ids, and how each was tried
    Drivers(drivers::Options),
    /// Small changes of the protocol, one after the other, that its tests must see
    Mutants(mutants::Options),
    /// Everything but the machines: what to run before a push
    Check,
    /// The house rules: crate arrows, places of unsafe, rule citations, paths
    Tidy,
    /// One scenario in this process; `test` runs each in a process of its own
    #[command(hide = true)]
    Scenario(scenario::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(verb) = arguments.verb else {
        // Without a verb the list of verbs is what was asked for.
        return match Arguments::command().print_help() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    };
    interrupt::install();
    let house = House::here();
    let outcome = match verb {
        Verb::Build => build::verb(&house),
        Verb::Image(options) => image::verb(&house, &options),
        Verb::Run(options) => run::verb(&house, &options),
        Verb::Test(options) => test::verb(&house, &options),
        Verb::Bench(options) => bench::verb(&house, &options),
        Verb::Discover(options) => discover::verb(&options),
        Verb::Sim(options) => sim::verb(&house, &options),
        Verb::Fuzz(options) => fuzz::verb(&house, &options),
        Verb::Coverage => coverage::verb(&house),
        Verb::Drivers(options) => drivers::verb(&house, &options),
        Verb::Mutants(options) => mutants::verb(&house, &options),
        Verb::Check => test::verb(&house, &test::Options::quick()),
        Verb::Tidy => tidy::verb(&house),
        Verb::Scenario(options) => scenario::verb(&house, &options),
    };
    interrupt::clean_up();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // What broke off because we ended it is no failure to explain.
        Err(_) if interrupt::came() => ExitCode::from(interrupt::EXIT_INTERRUPTED),
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
