//! Why something did not work, and where the evidence lies.

use std::fmt;

/// A sentence saying what was expected and what came instead, and under it the
/// lines and paths a person needs to go on: console tails, captures, logs.
#[derive(Clone, Debug)]
pub struct Failure {
    sentence: String,
    evidence: Vec<String>,
}

impl Failure {
    /// A failure that says `sentence`.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            evidence: Vec::new(),
        }
    }

    /// The same failure, with one more piece of evidence under it.
    #[must_use]
    pub fn with(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    /// What went wrong, without the evidence.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        for piece in &self.evidence {
            for line in piece.lines() {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self::new(sentence)
    }
}

impl From<&str> for Failure {
    fn from(sentence: &str) -> Self {
        Self::new(sentence)
    }
}

/// Gives an error or a missing value the sentence that says what was tried.
pub trait OrFail<T> {
    /// The value, or a failure that says `sentence` and why.
    fn or_fail(self, sentence: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, sentence: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{sentence}: {error}")))
    }
}

impl<T> OrFail<T> for Option<T> {
    fn or_fail(self, sentence: impl fmt::Display) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::new(sentence.to_string()))
    }
}
