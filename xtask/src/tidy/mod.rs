//! `cargo xtask tidy`: the house rules, checked.
//!
//! Each rule is a function from what is in the checkout to the places that
//! break it, and each has a test that plants a violation: a check that cannot
//! fail is no check. What a rule allows is data at the top of its file, so that
//! a change of the rules is a line that a reviewer sees.

mod arrows;
mod paths;
mod rules;
mod source;
mod unsafety;

use crate::command;
use crate::house::House;
use qemu::{Failure, OrFail};
use std::fmt;

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    path: String,
    /// Counted from 1; 0 is the file as a whole.
    line: usize,
    what: String,
}

impl Violation {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// What was found.
pub struct Report {
    /// Worth a look, and no failure.
    pub hints: Vec<String>,
    violations: Vec<Violation>,
    files: usize,
    cited: usize,
}

impl Report {
    /// What to say of a tidy house, or the failure.
    pub fn verdict(&self) -> Result<String, Failure> {
        if self.violations.is_empty() {
            return Ok(format!(
                "{} files, {} protocol rules cited in code and test",
                self.files, self.cited
            ));
        }
        let lines: Vec<String> = self.violations.iter().map(ToString::to_string).collect();
        Err(
            Failure::new(format!("{} places break a house rule", lines.len()))
                .with(lines.join("\n")),
        )
    }
}

/// Prints hints and the verdict.
pub fn verb(house: &House) -> Result<(), Failure> {
    let report = inspect(house)?;
    for hint in &report.hints {
        println!("hint: {hint}");
    }
    println!("{}", report.verdict()?);
    Ok(())
}

/// Looks at the whole checkout.
pub fn inspect(house: &House) -> Result<Report, Failure> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1"];
    let metadata = command::output(&mut command::cargo(house.root(), &arguments))?;
    let metadata = serde_json::from_str(&metadata).or_fail("cargo metadata prints no JSON")?;
    let sources = source::collect(house.root())?;

    let mut violations = arrows::check(&metadata);
    violations.extend(unsafety::check(&sources));
    violations.extend(paths::check(&sources));
    let (citations, cited) = rules::check(&sources);
    violations.extend(citations);
    violations.sort();
    Ok(Report {
        hints: source::long_files(&sources),
        violations,
        files: sources.len(),
        cited,
    })
}

/// A source for a planted violation.
#[cfg(test)]
fn planted(path: &str, text: &str) -> source::Source {
    source::Source::new(path, text)
}
