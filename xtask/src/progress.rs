//! What a person sees while something takes long.
//!
//! On a terminal a step is a line that moves; elsewhere (the log of an automatic
//! run) it is one plain line when it begins and one when it ends.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// How often the line moves.
const TICK: Duration = Duration::from_millis(120);
/// Columns of a detail that are shown.
const DETAIL_COLUMNS: usize = 70;

/// One step under way.
pub struct Step {
    name: String,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Step {
    /// Begins a step.
    pub fn begin(name: &str) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}")
                .expect("the template is a constant");
            let bar = ProgressBar::new_spinner()
                .with_style(style)
                .with_prefix(name.to_owned());
            bar.enable_steady_tick(TICK);
            bar
        });
        if bar.is_none() {
            eprintln!("  ....           {name}");
        }
        Self {
            name: name.to_owned(),
            started: Instant::now(),
            bar,
        }
    }

    /// Shows what the step is at, where lines can move.
    pub fn detail(&self, text: &str) {
        if let Some(bar) = &self.bar {
            let text: String = text
                .trim()
                .chars()
                .filter(|character| !character.is_control())
                .take(DETAIL_COLUMNS)
                .collect();
            bar.set_message(text);
        }
    }

    /// Shows a line that stays.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// Ends the step and leaves one line that says how.
    pub fn end(self, result: &str) -> Duration {
        let took = self.started.elapsed();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("  {result:<4} {:>7.1} s  {}", took.as_secs_f64(), self.name);
        took
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar
            && !bar.is_finished()
        {
            bar.finish_and_clear();
        }
    }
}
