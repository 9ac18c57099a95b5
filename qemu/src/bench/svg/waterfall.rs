//! What follows what: each step begins where the last one ends.

use super::{BAR, LINE, TOP, text, whole};
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 90.0;

/// One step, in milliseconds.
pub(in super::super) struct Step {
    pub name: String,
    pub took: f64,
    /// Its colour.
    pub series: usize,
    /// What is written behind it.
    pub text: String,
}

/// Steps, one a line.
pub(in super::super) fn waterfall(label: &str, steps: &[Step]) -> String {
    let whole_ms: f64 = steps.iter().map(|step| step.took).sum();
    let scale = (WIDTH - LEFT - RIGHT) / whole_ms.max(f64::MIN_POSITIVE);
    let mut body = String::new();
    let mut y = TOP;
    let mut x = LEFT;
    for step in steps {
        let length = step.took * scale;
        let end = x + length;
        text(&mut body, LEFT - 10.0, y + BAR - 2.0, "who end", &step.name);
        let _ = writeln!(
            body,
            r#"<rect class="s{}" x="{x:.1}" y="{y:.1}" width="{:.1}" height="{BAR}" rx="1"/>"#,
            step.series,
            length.max(1.5)
        );
        let down = y + LINE + 4.0;
        let _ = writeln!(
            body,
            r#"<path class="grid" d="M{end:.1} {y:.1}V{down:.1}"/>"#
        );
        text(&mut body, end + 7.0, y + BAR - 2.0, "figure", &step.text);
        x = end;
        y += LINE + 4.0;
    }
    whole(label, y + 4.0, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_begins_where_the_last_one_ends() {
        let step = |took| Step {
            name: String::new(),
            took,
            series: 0,
            text: String::new(),
        };
        let plot = waterfall("w", &[step(10.0), step(30.0)]);
        assert!(
            plot.contains(r#"x="250.0" y="8.0" width="105.0""#),
            "{plot}"
        );
        assert!(
            plot.contains(r#"x="355.0" y="30.0" width="315.0""#),
            "{plot}"
        );
        assert!(!waterfall("none", &[]).contains("NaN"));
    }
}
