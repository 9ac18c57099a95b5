//! What was wanted, beside what was measured: the table that the page begins with and
//! that README.md keeps.

use super::compare::Row;
use super::latency::Percentiles;
use super::load::{Access, Load};
use super::parts::Findings;
use super::report::grouped;
use super::spread::Spread;
use super::start::On;
use super::target::Target;
use std::fmt::Write;

/// The sizes that the goals name: what fits an ordinary and a jumbo frame.
const SECTORS: [u8; 2] = [2, 17];

/// A goal that was measured.
#[derive(Clone, Debug)]
pub struct Goal {
    /// Of what.
    pub what: String,
    /// What was wanted.
    pub wanted: String,
    /// What was found.
    pub measured: String,
    /// Whether that is reached.
    pub holds: bool,
    /// Whether it is a time or a ratio of times, which a busy host makes worse.
    pub timed: bool,
}

/// Every goal for which there is a figure.
pub fn goals(found: &Findings) -> Vec<Goal> {
    let mut all = Vec::new();
    counts(found, &mut all);
    times(found, &mut all);
    limits(found, &mut all);
    if let Some(copies) = &found.copies {
        let most = copies.read.max(copies.write);
        all.push(Goal {
            what: "bytes copied, of 8,192 in a request".to_owned(),
            wanted: "none".to_owned(),
            measured: format!("{most:.0} (turns of the loop)"),
            holds: copies.check().is_ok(),
            timed: false,
        });
    }
    for idle in found.idle.iter().filter(|one| one.target == Target::Ublade) {
        let value = idle.instructions_per_second;
        all.push(below("instructions a second at rest", value, 5_000.0));
    }
    for on in &found.processors {
        let scale = on.scale();
        all.push(Goal {
            what: format!(
                "requests of one processor that two serve, {}",
                words(on.load)
            ),
            wanted: "at least 1.6 ×".to_owned(),
            measured: format!("{scale:.2} ×"),
            holds: scale >= 1.6,
            timed: false,
        });
    }
    starts(found, &mut all);
    for (_, crowd) in found.crowds.iter().filter(|one| one.0 == Target::Ublade) {
        let what = "left of the peak at 10 times overload";
        all.push(percent(what, crowd.goodput(), 0.9));
        let what = "left to a window of 1 beside one of 64";
        all.push(percent(what, crowd.fairness(), 0.5));
    }
    all
}

/// As Markdown, for README.md; with a star where a busy host had its part in the figure.
pub fn goals_table(found: &Findings) -> String {
    let mut text = String::from("| | goal | measured | |\n|---|---|---|---|\n");
    for goal in goals(found) {
        let Goal {
            what,
            wanted,
            measured,
            holds,
            timed,
        } = goal;
        let holds = if holds { "reached" } else { "not reached" };
        let star = if timed && found.host.was_busy() {
            " *"
        } else {
            ""
        };
        let _ = writeln!(text, "| {what} | {wanted} | {measured}{star} | {holds} |");
    }
    text
}

fn counts(found: &Findings, all: &mut Vec<Goal>) {
    let goal = |load: &Load| load.depth == 32 && SECTORS.contains(&load.sectors);
    for one in found.measured.iter().filter(|one| goal(&one.load)) {
        let what = format!("instructions, {}", words(one.load));
        all.push(below(&what, one.instructions, 700.0));
    }
    for (depth, most) in [(1, 2.2), (32, 0.3)] {
        for access in [Access::Read, Access::Write] {
            let worst = found
                .measured
                .iter()
                .filter(|one| one.load.depth == depth && one.load.access == access)
                .map(|one| one.accesses)
                .reduce(f64::max);
            if let Some(worst) = worst {
                all.push(Goal {
                    what: format!(
                        "register accesses, {}s of any size, depth {depth}",
                        access.word()
                    ),
                    wanted: format!("at most {most}"),
                    measured: format!("at most {worst:.2}"),
                    holds: worst <= most,
                    timed: false,
                });
            }
        }
    }
}

fn times(found: &Findings, all: &mut Vec<Goal>) {
    let rival = |row: &&Row| row.target == Target::VbladeDirect;
    for row in found.rows.iter().filter(rival) {
        let echo = found
            .limits
            .as_ref()
            .and_then(|limits| limits.echo(row.load));
        if row.load.depth > 1 {
            let Spread { low, median, high } = row.ublade_is;
            let theirs = Spread::of(&row.per_second).median;
            let echo = echo.map_or(String::new(), |echo| {
                format!("; the echo {:.0} ×", echo.echoed.median / theirs)
            });
            all.push(Goal {
                what: format!("requests a second, {}, of vblade -d's", words(row.load)),
                wanted: "at least 20 ×".to_owned(),
                measured: format!("{median:.1} × ({low:.1} to {high:.1}){echo}"),
                holds: median >= 20.0,
                timed: true,
            });
            continue;
        }
        let ours = found
            .rows
            .iter()
            .find(|ours| ours.target == Target::Ublade && ours.load == row.load);
        let Some(ours) = ours else { continue };
        let (our, their) = (ours.latency, row.latency);
        let of_echo = |time: fn(&Percentiles) -> f64| echo.map(|echo| time(&echo.echo_times));
        for (name, our, their, echo, most) in [
            ("p50", our.p50, their.p50, of_echo(|times| times.p50), 0.3),
            ("p99", our.p99, their.p99, of_echo(|times| times.p99), 0.4),
        ] {
            let part = our / their;
            let echo = echo.map_or(String::new(), |echo| {
                format!("; the echo {:.2} ×", echo / their)
            });
            all.push(Goal {
                what: format!("{name}, {}, of vblade -d's", words(row.load)),
                wanted: format!("at most {most} ×"),
                measured: format!("{part:.2} ×{echo}"),
                holds: part <= most,
                timed: true,
            });
        }
    }
}

fn limits(found: &Findings, all: &mut Vec<Goal>) {
    let Some(limits) = &found.limits else {
        return;
    };
    for one in limits.echoed.iter().filter(|one| one.load.depth > 1) {
        let what = format!("requests a second, {}, of the echo's", words(one.load));
        all.push(percent(&what, one.part.median, 0.75));
    }
}

fn starts(found: &Findings, all: &mut Vec<Goal>) {
    for start in &found.starts {
        if start.target != Target::Ublade {
            continue;
        }
        let on = start.on.name();
        if start.on == On::Microvm {
            let what = format!("start on {on}, the guest's own part");
            all.push(milliseconds(&what, start.guest(), 20.0));
        }
        let what = format!("start to first answer on {on}");
        all.push(milliseconds(&what, start.whole.median, 120.0));
    }
    for size in found
        .sizes
        .iter()
        .filter(|size| size.target == Target::Ublade)
    {
        all.push(Goal {
            what: "smallest memory".to_owned(),
            wanted: "at most 8 MiB".to_owned(),
            measured: format!("{} MiB", size.memory_mib),
            holds: size.memory_mib <= 8,
            timed: false,
        });
    }
}

/// `read 1 KiB, depth 32`.
fn words(load: Load) -> String {
    let (word, depth) = (load.access.word(), load.depth);
    format!("{word} {}, depth {depth}", load.size())
}

fn below(what: &str, value: f64, most: f64) -> Goal {
    Goal {
        what: what.to_owned(),
        wanted: format!("at most {}", grouped(most)),
        measured: grouped(value),
        holds: value <= most,
        timed: false,
    }
}

fn milliseconds(what: &str, value: f64, most: f64) -> Goal {
    Goal {
        what: what.to_owned(),
        wanted: format!("at most {most:.0} ms"),
        measured: format!("{value:.0} ms"),
        holds: value <= most,
        timed: true,
    }
}

fn percent(what: &str, part: f64, least: f64) -> Goal {
    Goal {
        what: what.to_owned(),
        wanted: format!("at least {:.0} %", least * 100.0),
        measured: format!("{:.0} %", part * 100.0),
        holds: part >= least,
        timed: true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::tests::example;
    use super::*;

    #[test]
    fn what_a_busy_host_makes_worse_has_a_star_and_what_is_counted_has_none() {
        let mut found = example();
        assert!(!goals_table(&found).contains('*'));
        found.host.cores = 2;
        found.host.load = Some((1.0, 9.0));
        let table = goals_table(&found);
        let line = |what: &str| table.lines().find(|line| line.contains(what)).unwrap();
        assert!(line("start to first answer").contains("95 ms *"), "{table}");
        assert!(!line("at rest").contains('*'), "{table}");
        assert!(line("smallest memory").ends_with("| reached |"), "{table}");
    }

    #[test]
    fn a_goal_is_reached_at_its_border_and_not_beyond() {
        assert!(below("x", 700.0, 700.0).holds && !below("x", 700.1, 700.0).holds);
        assert!(percent("x", 0.75, 0.75).holds && !percent("x", 0.749, 0.75).holds);
        assert!(!milliseconds("x", 20.1, 20.0).holds);
    }
}
