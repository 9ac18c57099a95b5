//! Plots, drawn as SVG: bars with a spread, and answer times on one line; in rooms of
//! their own lines in a frame, and what follows what.
//!
//! Colours are classes (`s0`, `s1`, …) and belong to the page, so that a plot is
//! right in the light and in the dark.

mod chart;
mod waterfall;

pub(super) use chart::{Axis, Line, chart};
pub(super) use waterfall::{Step, waterfall};

use super::latency::Percentiles;
use super::spread::Spread;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
/// Where the axis begins, behind the names.
const LEFT: f64 = 190.0;
/// What is left for figures behind the longest bar.
const RIGHT: f64 = 170.0;
const LINE: f64 = 18.0;
const BAR: f64 = 12.0;
/// Between groups.
const GAP: f64 = 12.0;
const TOP: f64 = 8.0;

/// One bar: who (a colour), what, and what is written behind it.
pub(super) struct Bar {
    pub series: usize,
    pub name: String,
    pub value: Spread,
    pub text: String,
}

/// Bars that belong together.
pub(super) struct Group {
    pub name: String,
    pub bars: Vec<Bar>,
}

/// Horizontal bars from zero; a line over each shows least and most.
pub(super) fn bars(label: &str, groups: &[Group]) -> String {
    let most = groups
        .iter()
        .flat_map(|group| &group.bars)
        .map(|bar| bar.value.high)
        .fold(f64::MIN_POSITIVE, f64::max);
    let at = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * (value / most).clamp(0.0, 1.0);
    let mut body = String::new();
    let mut y = TOP;
    for group in groups {
        if !group.name.is_empty() {
            text(&mut body, 0.0, y + BAR, "name", &group.name);
            y += LINE;
        }
        for bar in &group.bars {
            let Spread { low, median, high } = bar.value;
            let middle = y + BAR / 2.0;
            text(&mut body, 12.0, y + BAR - 2.0, "who", &bar.name);
            // A bar that is too short to be seen is still there.
            let length = (at(median) - LEFT).max(1.5);
            let _ = writeln!(
                body,
                r#"<rect class="s{}" x="{LEFT}" y="{y:.1}" width="{length:.1}" height="{BAR}" rx="2"/>"#,
                bar.series
            );
            if high > low {
                let (from, to) = (at(low), at(high));
                let _ = writeln!(
                    body,
                    r#"<path class="spread" d="M{from:.1} {middle:.1}H{to:.1}M{from:.1} {:.1}v6M{to:.1} {:.1}v6"/>"#,
                    middle - 3.0,
                    middle - 3.0
                );
            }
            text(
                &mut body,
                at(high).max(LEFT + length) + 6.0,
                y + BAR - 2.0,
                "figure",
                &bar.text,
            );
            y += LINE;
        }
        y += GAP;
    }
    whole(label, y, &body)
}

/// One target's answer times at one load.
pub(super) struct Times {
    pub series: usize,
    pub name: String,
    pub value: Percentiles,
}

/// Answer times on a logarithmic axis: a filled dot is the median, then p99, p99.9
/// and the slowest, ever smaller.
pub(super) fn times(label: &str, groups: &[(String, Vec<Times>)]) -> String {
    let all = || groups.iter().flat_map(|(_, times)| times);
    let least = all().map(|one| one.value.p50).fold(f64::MAX, f64::min);
    let most = all().map(|one| one.value.max).fold(1.0, f64::max);
    let (first, last) = (least.max(1.0).log10().floor(), most.log10().ceil());
    let span = (last - first).max(1.0);
    let at = |us: f64| {
        LEFT + (WIDTH - LEFT - RIGHT) * ((us.max(1.0).log10() - first) / span).clamp(0.0, 1.0)
    };
    let lines: usize = groups.iter().map(|(_, times)| times.len() + 1).sum();
    let bottom = TOP + lines as f64 * LINE + groups.len() as f64 * GAP;
    let mut body = String::new();
    for decade in 0..=(span as i32) {
        let us = 10_f64.powf(first + f64::from(decade));
        let x = at(us);
        let _ = writeln!(
            body,
            r#"<path class="grid" d="M{x:.1} {TOP}V{bottom:.1}"/>"#
        );
        text(
            &mut body,
            x + 3.0,
            bottom + 12.0,
            "figure",
            &microseconds(us),
        );
    }
    let mut y = TOP;
    for (name, times) in groups {
        text(&mut body, 0.0, y + BAR, "name", name);
        y += LINE;
        for one in times {
            let middle = y + BAR / 2.0;
            let Percentiles {
                p50,
                p99,
                p999,
                max,
            } = one.value;
            text(&mut body, 12.0, y + BAR - 2.0, "who", &one.name);
            let _ = writeln!(
                body,
                r#"<path class="spread" d="M{:.1} {middle:.1}H{:.1}"/>"#,
                at(p50),
                at(max)
            );
            for (value, radius, what) in [
                (max, 2.0, "max"),
                (p999, 3.0, "p99.9"),
                (p99, 4.0, "p99"),
                (p50, 5.5, "p50"),
            ] {
                let _ = writeln!(
                    body,
                    r#"<circle class="s{}" cx="{:.1}" cy="{middle:.1}" r="{radius}"><title>{} {what} {}</title></circle>"#,
                    one.series,
                    at(value),
                    escaped(&one.name),
                    microseconds(value)
                );
            }
            text(
                &mut body,
                at(max) + 8.0,
                y + BAR - 2.0,
                "figure",
                &microseconds(p50),
            );
            y += LINE;
        }
        y += GAP;
    }
    whole(label, bottom + 20.0, &body)
}

/// A time as a person writes it.
pub(super) fn microseconds(us: f64) -> String {
    if us < 1_000.0 {
        format!("{us:.0} µs")
    } else if us < 10_000.0 {
        format!("{:.1} ms", us / 1_000.0)
    } else if us < 1_000_000.0 {
        format!("{:.0} ms", us / 1_000.0)
    } else {
        format!("{:.2} s", us / 1_000_000.0)
    }
}

/// Text that means itself in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn text(out: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let text = escaped(text);
    let _ = writeln!(
        out,
        r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#
    );
}

fn whole(label: &str, height: f64, body: &str) -> String {
    let label = escaped(label);
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{label}\">\n{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_the_unit_that_keeps_it_short() {
        assert_eq!(microseconds(999.0), "999 µs");
        assert_eq!(microseconds(1_000.0), "1.0 ms");
        assert_eq!(microseconds(250_000.0), "250 ms");
        assert_eq!(microseconds(2_500_000.0), "2.50 s");
    }

    #[test]
    fn plots_of_nothing_and_of_zeros_are_still_plots() {
        assert!(bars("none", &[]).ends_with("</svg>\n"));
        let zero = Times {
            series: 0,
            name: "a < b".to_owned(),
            value: Percentiles::default(),
        };
        let plot = times("zero", &[("load".to_owned(), vec![zero])]);
        assert!(plot.contains("a &lt; b"));
        assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
    }
}
