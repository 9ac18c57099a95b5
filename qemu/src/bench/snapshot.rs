//! The figures that are kept in the tree, and what has become of them.
//!
//! Only those that repeat. Many requests at once keep the guest busy, and what it
//! does is the same every time; a request that is alone is a race, each time, of the
//! disk's answer with the guest's falling asleep, and its figure moves by a tenth
//! from run to run. Register accesses repeat less well than instructions: what they
//! must show is one more of them for every frame, and not a wake-up more or less.

use super::{Load, Measured};
use crate::{Failure, OrFail};
use std::fmt::Write;

/// How much worse a figure may be before it must be explained.
const WORSE_BY: f64 = 1.05;
/// How many more register accesses a request may have. A bell for every frame
/// would be one more.
const ACCESSES_MORE: f64 = 0.3;

/// Whether the figures of a load repeat.
fn repeats(load: Load) -> bool {
    load.depth > 1
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// A table for a person.
    pub text: String,
    /// Names of the figures that are worse by more than 5 %.
    pub worse: Vec<String>,
}

/// The snapshot of these figures: one load a line.
pub fn snapshot(all: &[Measured]) -> String {
    let mut text = String::from(
        "# What a request costs the node, made by `cargo xtask bench --update`.\n\
         # load, guest instructions, device-register accesses\n",
    );
    for measured in all.iter().filter(|one| repeats(one.load)) {
        let _ = writeln!(
            text,
            "{} {:.0} {:.2}",
            measured.load.name(),
            measured.instructions,
            measured.accesses
        );
    }
    text
}

/// Holds `now` against a snapshot. A load that the snapshot does not know is a
/// failure: a figure that nobody compares is no figure.
pub fn compare(kept: &str, now: &[Measured]) -> Result<Changes, Failure> {
    let mut changes = Changes::default();
    for measured in now.iter().filter(|one| repeats(one.load)) {
        let name = measured.load.name();
        let (instructions, accesses) =
            find(kept, &name).or_fail(format_args!("the snapshot has no line for {name}"))?;
        let slower = measured.instructions > instructions * WORSE_BY;
        let chattier = measured.accesses > accesses + ACCESSES_MORE;
        if slower || chattier {
            changes.worse.push(name.clone());
        }
        let _ = writeln!(
            changes.text,
            "{name:<18} {:>7.0} instructions, was {instructions:>7.0} ({:+.1} %)   {:.2} accesses, was {accesses:.2}{}",
            measured.instructions,
            (measured.instructions / instructions - 1.0) * 100.0,
            measured.accesses,
            if slower || chattier { "   WORSE" } else { "" },
        );
    }
    Ok(changes)
}

fn find(kept: &str, name: &str) -> Option<(f64, f64)> {
    kept.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let known = words.next()? == name;
        let instructions = words.next()?.parse().ok()?;
        let accesses = words.next()?.parse().ok()?;
        known.then_some((instructions, accesses))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Access, Order};
    use super::*;

    fn measured(instructions: f64, accesses: f64) -> Measured {
        Measured {
            load: Load {
                access: Access::Read,
                order: Order::Sequential,
                sectors: 2,
                depth: 32,
            },
            instructions,
            accesses,
            per_second: 1.0,
        }
    }

    #[test]
    fn five_percent_more_instructions_pass_and_one_above_that_does_not() {
        let kept = snapshot(&[measured(1000.0, 2.0)]);
        for (instructions, accesses, worse) in [
            (1000.0, 2.0, false),
            (1050.0, 2.3, false),
            (1051.0, 2.0, true),
            (1000.0, 2.31, true),
            (10.0, 0.0, false),
        ] {
            let changes = compare(&kept, &[measured(instructions, accesses)]).unwrap();
            assert_eq!(
                !changes.worse.is_empty(),
                worse,
                "{instructions} {accesses}"
            );
        }
    }

    #[test]
    fn a_load_that_was_never_kept_is_a_failure() {
        assert!(compare("# nothing\n", &[measured(1.0, 1.0)]).is_err());
    }
}
