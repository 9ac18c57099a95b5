//! The machine around the requests: starts, sizes, rest, crowds, and right answers.

use super::super::parts::{Findings, Part};
use super::super::report::grouped;
use super::super::spread::Spread;
use super::super::start::Whose;
use super::super::svg::{self, Bar, Group, microseconds};
use super::{Page, per_target, series};

pub(super) fn add(page: &mut Page<'_>, found: &Findings) {
    for start in &found.starts {
        let steps: Vec<svg::Step> = start
            .steps
            .iter()
            .map(|step| svg::Step {
                name: step.name.to_owned(),
                took: step.milliseconds.median,
                series: match step.whose {
                    Whose::Monitor | Whose::Firmware => 2,
                    Whose::Guest => series(start.target),
                    Whose::Wait => 3,
                },
                text: microseconds(step.milliseconds.median * 1000.0),
            })
            .collect();
        let Spread { low, median, high } = start.whole;
        let [low, median, high] = [low, median, high].map(|ms| microseconds(ms * 1000.0));
        let caption = format!(
            "From the start of QEMU to the first answer: {median} ({low} to {high}), each \
             step the median of the starts; {} guest instructions, firmware and all. What is grey is QEMU's and the firmware's, not the target's.",
            grouped(start.instructions as f64)
        );
        page.figure(
            &format!("Start: {} on {}", start.target.name(), start.on.name()),
            Part::Start,
            &caption,
            &svg::waterfall("start", &steps),
        );
    }
    sizes(page, found);
    if !found.idle.is_empty() {
        let plot = per_target(
            "instructions a second at rest",
            found.idle.iter().map(|idle| {
                let value = idle.instructions_per_second;
                (idle.target, Spread::of(&[value]), grouped(value))
            }),
        );
        page.figure(
            "Nothing to do",
            Part::Rest,
            "Guest instructions a second of a target that nobody asks, ublade with its management \
             on.",
            &plot,
        );
    }
    crowds(page, found);
    verified(page, found);
}

fn sizes(page: &mut Page<'_>, found: &Findings) {
    if found.sizes.is_empty() {
        return;
    }
    let group = |name: &str, bar: &dyn Fn(&super::super::size::Size) -> (f64, String)| {
        let bars = found.sizes.iter().map(|size| {
            let (value, text) = bar(size);
            Bar {
                series: series(size.target),
                name: size.target.name().to_owned(),
                value: Spread::of(&[value]),
                text,
            }
        });
        [Group {
            name: name.to_owned(),
            bars: bars.collect(),
        }]
    };
    let files = group("files that it boots from", &|size| {
        let parts: Vec<String> = size
            .files
            .iter()
            .map(|file| format!("{} {} KiB", file.name, grouped(file.bytes as f64 / 1024.0)))
            .collect();
        (size.bytes() as f64, parts.join(", "))
    });
    let memory = group("smallest machine that serves", &|size| {
        (
            f64::from(size.memory_mib),
            format!("{} MiB", size.memory_mib),
        )
    });
    let plot = svg::bars("files", &files) + &svg::bars("memory", &memory);
    page.figure(
        "Size",
        Part::Size,
        "Bytes of the files that QEMU is given, and the least memory with which a machine answers \
         and reads.",
        &plot,
    );
}

fn crowds(page: &mut Page<'_>, found: &Findings) {
    if found.crowds.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = found
        .crowds
        .iter()
        .map(|(target, crowd)| {
            vec![
                target.name().to_owned(),
                grouped(crowd.peak),
                grouped(crowd.overload),
                format!("{:.0} %", crowd.goodput() * 100.0),
                grouped(crowd.beside_its_like),
                grouped(crowd.beside_greedy),
                format!("{:.0} %", crowd.fairness() * 100.0),
            ]
        })
        .collect();
    page.table(
        "In a crowd",
        Part::Crowd,
        "Reads of 1 KiB a second. <em>Overload</em>: 640 requests on their way at once, ten times \
         what reaches the most, and what is left of it. <em>Beside</em>: what a host with one \
         request at a time gets while another one has 1 or 64 on their way.",
        &[
            "target",
            "most",
            "under overload",
            "left",
            "beside 1",
            "beside 64",
            "left",
        ],
        &rows,
    );
}

fn verified(page: &mut Page<'_>, found: &Findings) {
    if found.verified.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = found
        .verified
        .iter()
        .map(|row| {
            let trouble = row.trouble;
            let mut cells = vec![row.target.name().to_owned(), grouped(row.requests as f64)];
            let counts = [
                trouble.lost,
                trouble.late,
                trouble.duplicate,
                trouble.corrupt,
            ];
            cells.extend(counts.map(|count| count.to_string()));
            cells
        })
        .collect();
    page.table(
        "Right answers",
        Part::Verify,
        "Reads and writes of 4 KiB at random places of a disk that keeps them, 32 at once; every \
         read is compared with what was written last.",
        &["target", "requests", "lost", "late", "duplicate", "corrupt"],
        &rows,
    );
}
