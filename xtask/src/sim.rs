//! `cargo xtask sim`: the node in a simulated world.
//!
//! The simulator is a program of its own, built with optimisation: a seed that takes
//! a second in it takes a minute without. What it prints goes to the terminal as it
//! comes.

use crate::command;
use crate::house::House;
use qemu::{Failure, OrFail};

/// What to simulate; the simulator explains its own words.
#[derive(clap::Args)]
pub struct Options {
    /// A seed to replay, or --seeds N, --mutants
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Builds the simulator and runs it.
pub fn verb(house: &House, options: &Options) -> Result<(), Failure> {
    let mut cargo = command::cargo(
        house.root(),
        &["run", "--quiet", "--release", "--package", "sim", "--"],
    );
    let status = cargo
        .args(&options.words)
        .status()
        .or_fail("cannot start the simulator")?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("the simulator ended with {status}")))
}
