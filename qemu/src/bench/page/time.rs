//! Requests a second and answer times, beside the rival.

use super::super::compare::Row;
use super::super::latency::{PARTS, PARTS_OF};
use super::super::load::{Access, Load};
use super::super::matrix::{Cell, Mode, Storage};
use super::super::parts::{Findings, Part};
use super::super::report::grouped;
use super::super::spread::Spread;
use super::super::svg::{self, Axis, Bar, Group, Line, Times, microseconds};
use super::super::target::Target;
use super::{Page, series, title};

pub(super) fn add(page: &mut Page<'_>, found: &Findings) {
    if !found.rows.is_empty() {
        compared(page, found);
    }
    ladder(page, found);
    fio(page, found);
    matrix(page, found);
}

/// The windows that are written at their points; all would not fit.
const TOLD: [usize; 4] = [1, 8, 32, 128];

/// A time at a round mark of an axis.
fn round(us: f64) -> String {
    microseconds(us)
        .replacen(".0 ", " ", 1)
        .replacen(".00 ", " ", 1)
}

/// The loads that were compared, in their order.
fn loads(found: &Findings) -> Vec<Load> {
    let rows = found.rows.iter();
    let ours = rows.filter(|row| row.target == Target::Ublade);
    ours.map(|row| row.load).collect()
}

/// A bar for every target at every load.
pub(super) fn by_load(
    found: &Findings,
    label: &str,
    figure: impl Fn(&Row) -> (Spread, String),
) -> String {
    let groups = loads(found).into_iter().map(|load| {
        let rows = found.rows.iter().filter(|row| row.load == load);
        let bars = rows.map(|row| {
            let (value, text) = figure(row);
            Bar {
                series: series(row.target),
                name: row.target.name().to_owned(),
                value,
                text,
            }
        });
        let group = Group {
            name: title(load),
            bars: bars.collect(),
        };
        (load.depth == 1, group)
    });
    // A window of one and one of 32 differ too much for one axis.
    let (alone, many): (Vec<_>, Vec<_>) = groups.partition(|(is_alone, _)| *is_alone);
    [alone, many]
        .map(|groups| {
            let groups: Vec<Group> = groups.into_iter().map(|(_, group)| group).collect();
            svg::bars(label, &groups)
        })
        .concat()
}

fn compared(page: &mut Page<'_>, found: &Findings) {
    let plot = by_load(found, "requests a second", |row| {
        let value = Spread::of(&row.per_second);
        let text = if row.target == Target::Ublade {
            grouped(value.median)
        } else {
            let times = row.ublade_is.median;
            format!("{} (ublade is {times:.1} ×)", grouped(value.median))
        };
        (value, text)
    });
    page.figure(
        "Requests a second",
        Part::Compare,
        "Median of the rounds, the line from the slowest to the fastest. What counts is the \
         ratio, taken within each round: times are those of this host on that day.",
        &plot,
    );
    let groups: Vec<(String, Vec<Times>)> = loads(found)
        .into_iter()
        .map(|load| {
            let rows = found.rows.iter().filter(|row| row.load == load);
            let times = rows.map(|row| Times {
                series: series(row.target),
                name: row.target.name().to_owned(),
                value: row.latency,
            });
            (title(load), times.collect())
        })
        .collect();
    page.figure(
        "Answer times",
        Part::Compare,
        "From the largest dot to the smallest: p50 (written out), p99, p99.9 and the slowest, \
         over all rounds, from sending to having the answer.",
        &svg::times("answer times", &groups),
    );
    for depth in [1, 32] {
        let load = Load {
            access: Access::Read,
            order: super::super::load::Order::Sequential,
            sectors: 2,
            depth,
        };
        distribution(page, found, load);
    }
    table(page, found);
}

/// How many of a hundred are still waiting: each grid line is ten times fewer.
fn distribution(page: &mut Page<'_>, found: &Findings, load: Load) {
    let rows: Vec<&Row> = found.rows.iter().filter(|row| row.load == load).collect();
    if rows.is_empty() {
        return;
    }
    let nines = |part: usize| -((PARTS_OF - part) as f64 / PARTS_OF as f64).log10();
    let x = Axis {
        name: "of all answers".to_owned(),
        range: (0.0, nines(PARTS[PARTS.len() - 1])),
        marks: [
            (5_000, "50 %"),
            (9_000, "90 %"),
            (9_900, "99 %"),
            (9_990, "99.9 %"),
        ]
        .map(|(part, mark)| (nines(part), mark.to_owned()))
        .to_vec(),
    };
    let values = rows.iter().flat_map(|row| row.distribution.iter().copied());
    let y = Axis::decades("answered within", values, round);
    let lines: Vec<Line> = rows
        .iter()
        .map(|row| Line {
            series: series(row.target),
            name: row.target.name().to_owned(),
            points: PARTS
                .iter()
                .zip(&row.distribution)
                .map(|(&part, us)| (nines(part), us.max(f64::MIN_POSITIVE).log10()))
                .collect(),
            notes: Vec::new(),
        })
        .collect();
    page.figure(
        &format!("How answer times are spread: {}", title(load)),
        Part::Compare,
        "So many of all answers came within that time, over all rounds. To the right each line \
         of the grid leaves ten times fewer.",
        &svg::chart("latency distribution", &x, &y, &lines),
    );
}

fn ladder(page: &mut Page<'_>, found: &Findings) {
    if found.ladder.is_empty() {
        return;
    }
    let rates = found.ladder.iter().map(|rung| rung.per_second.median);
    let x = Axis::decades("requests a second", rates, grouped);
    let times = found.ladder.iter().map(|rung| rung.latency.p50);
    let y = Axis::decades("answer time, p50", times, round);
    let lines: Vec<Line> = Target::ALL
        .into_iter()
        .map(|target| {
            let rungs = found.ladder.iter().filter(|rung| rung.target == target);
            let rungs: Vec<_> = rungs.collect();
            let told = rungs.iter().enumerate();
            let told = told.filter(|(_, rung)| TOLD.contains(&rung.depth));
            let notes = told.map(|(index, rung)| (index, rung.depth.to_string()));
            Line {
                series: series(target),
                name: target.name().to_owned(),
                notes: notes.collect(),
                points: rungs
                    .iter()
                    .map(|rung| {
                        let log = |value: f64| value.max(f64::MIN_POSITIVE).log10();
                        (log(rung.per_second.median), log(rung.latency.p50))
                    })
                    .collect(),
            }
        })
        .collect();
    page.figure(
        "Latency against load",
        Part::Ladder,
        "Reads of 1 KiB; each point is a window, and some say how many requests it keeps on their \
         way. Right and low is good; where a line turns upwards, more requests only wait longer.",
        &svg::chart("latency against load", &x, &y, &lines),
    );
}

fn fio(page: &mut Page<'_>, found: &Findings) {
    let Some(fio) = &found.fio else {
        return;
    };
    let groups = |depth: u32| -> Vec<Group> {
        let rows = fio.rows.iter().filter(|row| row.depth == depth);
        let mut groups: Vec<Group> = Vec::new();
        for row in rows {
            let name = format!("{}, depth {depth}", row.mix);
            let value = Spread::of(&row.per_second);
            let ratio = match row.target {
                Target::Ublade => String::new(),
                _ => format!(" (ublade is {:.1} ×)", row.ublade_is.median),
            };
            let bar = Bar {
                series: series(row.target),
                name: row.target.name().to_owned(),
                value,
                text: format!(
                    "{}, p50 {}{ratio}",
                    grouped(value.median),
                    microseconds(row.p50)
                ),
            };
            match groups.last_mut().filter(|group| group.name == name) {
                Some(group) => group.bars.push(bar),
                None => groups.push(Group {
                    name,
                    bars: vec![bar],
                }),
            }
        }
        groups
    };
    let plot = [1, 32]
        .map(|depth| svg::bars("fio", &groups(depth)))
        .concat();
    let caption = format!(
        "Requests of 4 KiB a second that a user of Linux sees: {}, its own aoe driver, one \
         machine with both exports, which take turns. The initiator is emulated too and works \
         more for a request than the targets do, so it is part of every figure. randrw has 70 % \
         reads.",
        svg::escaped(&fio.initiator)
    );
    page.figure("fio in a Linux initiator", Part::Fio, &caption, &plot);
}

fn matrix(page: &mut Page<'_>, found: &Findings) {
    for storage in Storage::ALL {
        let cells: Vec<&Cell> = found
            .cells
            .iter()
            .filter(|cell| cell.storage == storage)
            .collect();
        let ours = cells.iter().filter(|cell| cell.mode == Mode::Durable);
        let rows: Vec<Vec<String>> = ours
            .map(|ours| {
                let mut row = vec![title(ours.load)];
                for mode in Mode::ALL {
                    let cell = cells
                        .iter()
                        .find(|cell| cell.mode == mode && cell.load == ours.load);
                    row.push(cell.map_or("–".to_owned(), |cell| {
                        let (rate, p50) = (cell.per_second.median, microseconds(cell.p50));
                        format!("{} <span class=\"note\">{p50}</span>", grouped(rate))
                    }));
                }
                row
            })
            .collect();
        if rows.is_empty() {
            continue;
        }
        let what = match storage {
            Storage::Null => "The disk that moves no data.",
            Storage::Memory => "The guest's own memory: ublade's RAM disk, Linux's /dev/ram0.",
            Storage::Tmpfs => "A file on the host's tmpfs behind virtio-blk.",
        };
        let head: Vec<&str> = ["load"]
            .into_iter()
            .chain(Mode::ALL.map(Mode::name))
            .collect();
        page.table(
            &format!("Every size and depth: {}", storage.name()),
            Part::Matrix,
            &format!("{what} Requests a second, median of the rounds, and the median answer time."),
            &head,
            &rows,
        );
    }
}

fn table(page: &mut Page<'_>, found: &Findings) {
    let rows: Vec<Vec<String>> = found
        .rows
        .iter()
        .map(|row| {
            let Spread { low, median, high } = row.ublade_is;
            let (times, trouble) = (row.latency, row.trouble);
            vec![
                title(row.load),
                row.target.name().to_owned(),
                grouped(row.instructions),
                grouped(Spread::of(&row.per_second).median),
                match row.target {
                    Target::Ublade => String::new(),
                    _ => format!("{median:.1} × ({low:.1} to {high:.1})"),
                },
                microseconds(times.p50),
                microseconds(times.p99),
                microseconds(times.p999),
                microseconds(times.max),
                format!(
                    "{} / {} / {}",
                    trouble.lost, trouble.late, trouble.duplicate
                ),
            ]
        })
        .collect();
    page.table(
        "All figures of the comparison",
        Part::Compare,
        "The last column counts requests that got lost, answers that came too late, and answers \
         that came twice.",
        &[
            "load",
            "target",
            "instructions",
            "requests/s",
            "ublade is",
            "p50",
            "p99",
            "p99.9",
            "max",
            "trouble",
        ],
        &rows,
    );
}
