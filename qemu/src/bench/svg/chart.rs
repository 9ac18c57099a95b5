//! Lines in a frame with two axes.
//!
//! Axes are straight: who draws on a logarithmic one takes logarithms first and says
//! where the marks belong ([`Axis::decades`]).

use super::{GAP, text, whole};
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 28.0;
const HEIGHT: f64 = 260.0;
/// Room for the marks of the axis below, and for its name.
const BELOW: f64 = 40.0;
/// Room for an entry of the legend.
const ENTRY: f64 = 130.0;

/// One axis.
pub(in super::super) struct Axis {
    /// What it shows, with the unit.
    pub name: String,
    /// Where it begins and ends.
    pub range: (f64, f64),
    /// Marks.
    pub marks: Vec<(f64, String)>,
}

impl Axis {
    /// A logarithmic axis around `values`: marks at powers of ten, and at twos and fives
    /// where there are few of those.
    pub fn decades(
        name: &str,
        values: impl Iterator<Item = f64>,
        say: impl Fn(f64) -> String,
    ) -> Self {
        let (mut least, mut most) = (f64::MAX, f64::MIN);
        for value in values.filter(|value| *value > 0.0) {
            (least, most) = (least.min(value), most.max(value));
        }
        if least > most {
            (least, most) = (1.0, 10.0);
        }
        // A little air around what is drawn.
        let range = (least.log10() - 0.05, most.log10() + 0.08);
        let few = range.1 - range.0 < 3.2;
        let mut marks = Vec::new();
        for decade in range.0.floor() as i32..=range.1.ceil() as i32 {
            for step in [1.0_f64, 2.0, 5.0] {
                let value = step * 10_f64.powi(decade);
                let at = value.log10();
                if (step == 1.0 || few) && at >= range.0 && at <= range.1 {
                    marks.push((at, say(value)));
                }
            }
        }
        Self {
            name: name.to_owned(),
            range,
            marks,
        }
    }
}

/// One line.
pub(in super::super) struct Line {
    /// Its colour, and the shape of its points.
    pub series: usize,
    /// Its name in the legend.
    pub name: String,
    /// Where it goes.
    pub points: Vec<(f64, f64)>,
    /// What is written at some points.
    pub notes: Vec<(usize, String)>,
}

/// Draws them.
pub(in super::super) fn chart(label: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let across = |value: f64| along(value, x.range, LEFT, WIDTH - RIGHT);
    let up = |value: f64| along(value, y.range, TOP + HEIGHT, TOP);
    let mut body = String::new();
    for (value, mark) in &x.marks {
        let at = across(*value);
        let bottom = TOP + HEIGHT;
        let _ = writeln!(
            body,
            r#"<path class="grid" d="M{at:.1} {TOP}V{bottom:.1}"/>"#
        );
        text(&mut body, at, bottom + 15.0, "figure middle", mark);
    }
    for (value, mark) in &y.marks {
        let at = up(*value);
        let right = WIDTH - RIGHT;
        let _ = writeln!(
            body,
            r#"<path class="grid" d="M{LEFT} {at:.1}H{right:.1}"/>"#
        );
        text(&mut body, LEFT - 6.0, at + 4.0, "figure end", mark);
    }
    text(&mut body, 0.0, 12.0, "who", &y.name);
    let bottom = TOP + HEIGHT + 33.0;
    text(&mut body, WIDTH - RIGHT, bottom, "who end", &x.name);
    for line in lines {
        let series = line.series;
        let mut path = String::new();
        for (index, (from, to)) in line.points.iter().enumerate() {
            let pen = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{pen}{:.1} {:.1}", across(*from), up(*to));
        }
        let _ = writeln!(body, r#"<path class="line l{series}" d="{path}"/>"#);
        for (from, to) in &line.points {
            point(&mut body, series, across(*from), up(*to));
        }
        for (index, note) in &line.notes {
            if let Some((from, to)) = line.points.get(*index) {
                text(
                    &mut body,
                    across(*from) + 7.0,
                    up(*to) - 6.0,
                    "figure",
                    note,
                );
            }
        }
    }
    let entries = lines.len() as f64;
    for (index, line) in lines.iter().enumerate() {
        let at = WIDTH - RIGHT - ENTRY * (entries - index as f64);
        point(&mut body, line.series, at, 9.0);
        text(&mut body, at + 10.0, 13.0, "who", &line.name);
    }
    whole(label, TOP + HEIGHT + BELOW + GAP, &body)
}

/// A point whose shape tells the series where colours do not.
fn point(body: &mut String, series: usize, x: f64, y: f64) {
    let _ = match series {
        0 => writeln!(
            body,
            r#"<circle class="s0" cx="{x:.1}" cy="{y:.1}" r="4"/>"#
        ),
        1 => writeln!(
            body,
            r#"<path class="s1" d="M{x:.1} {:.1}l4.5 8h-9z"/>"#,
            y - 5.0
        ),
        3 => writeln!(
            body,
            r#"<path class="s3" d="M{x:.1} {:.1}l5 5l-5 5l-5 -5z"/>"#,
            y - 5.0
        ),
        _ => writeln!(
            body,
            r#"<rect class="s{series}" x="{:.1}" y="{:.1}" width="7" height="7"/>"#,
            x - 3.5,
            y - 3.5
        ),
    };
}

fn along(value: f64, (from, to): (f64, f64), first: f64, last: f64) -> f64 {
    let part = ((value - from) / (to - from)).clamp(0.0, 1.0);
    first + (last - first) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis_is_marked_at_round_values_within_it() {
        let axis = Axis::decades("x", [30.0, 700.0].into_iter(), |value| format!("{value}"));
        let marks: Vec<&str> = axis.marks.iter().map(|(_, mark)| mark.as_str()).collect();
        assert_eq!(marks, ["50", "100", "200", "500"]);
        let none = Axis::decades("x", std::iter::empty(), |value| format!("{value}"));
        assert!(none.range.0 < none.range.1);
    }

    #[test]
    fn a_line_stays_in_its_frame() {
        let axis = |from, to| Axis {
            name: String::new(),
            range: (from, to),
            marks: Vec::new(),
        };
        let line = Line {
            series: 0,
            name: "a".to_owned(),
            points: vec![(-5.0, -5.0), (5.0, 5.0)],
            notes: Vec::new(),
        };
        let plot = chart("c", &axis(0.0, 1.0), &axis(0.0, 1.0), &[line]);
        assert!(plot.contains("M70.0 288.0L740.0 28.0"), "{plot}");
    }
}
