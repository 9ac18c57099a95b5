//! The report: one page that needs nothing else.

use super::compare::{Comparison, Row, Spread};
use super::copies::{Copies, MORE_BYTES};
use super::devices::OnDevices;
use super::load::Load;
use super::svg::{self, Bar, Group, Times, escaped};
use super::target::{MEMORY, Target};
use std::fmt::Write;

const STYLE: &str = "
:root { color-scheme: light dark; --back: #fff; --text: #1d2733; --soft: #66727f; --grid: #dfe4ea;
  --s0: #0b6e99; --s1: #d9730d; --s2: #9aa5b1; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14181d; --text: #e4e9ee; --soft: #97a3af; --grid: #2b323a;
    --s0: #4cb4e0; --s1: #f2a35c; --s2: #6b7783; } }
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; }
p, figcaption { max-width: 46rem; } figure { margin: .5rem 0; } figcaption { color: var(--soft); }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: var(--text); }
svg .name { font-weight: 600; } svg .who, svg .figure { fill: var(--soft); }
.s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); }
.spread { stroke: var(--text); stroke-width: 1.2; fill: none; opacity: .75; }
.grid { stroke: var(--grid); fill: none; }
code { background: var(--grid); padding: .1em .35em; border-radius: 3px; font-size: .9em; }
div.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--grid); }
th:first-child, td:first-child { text-align: left; }
";
const COMMAND: &str = "cargo xtask bench";

/// The page.
pub fn page(all: &Comparison) -> String {
    let mut body = String::new();
    let _ = write!(
        body,
        "<h1>What a request costs</h1>\n<p>ublade beside Debian's vblade on Debian's cloud \
         kernel: the same machine (q35, one processor, {MEMORY}, software emulation), the same \
         card (virtio, MTU 9000), the same disk (null-co behind virtio-blk), the same client. \
         The targets take turns in one run. <em>vblade -d</em> goes past the page cache and is \
         the fair rival; <em>vblade</em> answers from it.</p>\n"
    );
    figure(
        &mut body,
        "Guest instructions a request",
        "Counted by a plugin in QEMU, the cheapest of several batches. It hardly depends on how \
         busy the machine is.",
        &by_load(all, "instructions a request", |row| {
            let value = Spread::of(&[row.instructions]);
            (value, grouped(row.instructions))
        }),
    );
    figure(
        &mut body,
        "Requests a second",
        "Median of the rounds, the line from the slowest to the fastest. What counts is the \
         ratio: times are those of this machine on that day.",
        &by_load(all, "requests a second", |row| {
            let value = Spread::of(&row.per_second);
            let text = if row.target == Target::Ublade {
                grouped(value.median)
            } else {
                let times = row.ublade_is.median;
                format!("{} (ublade is {times:.1} ×)", grouped(value.median))
            };
            (value, text)
        }),
    );
    figure(
        &mut body,
        "Answer times",
        "From the largest dot to the smallest: p50 (written out), p99, p99.9 and the slowest, \
         over all rounds, from sending to having the answer.",
        &times(all),
    );
    figure(
        &mut body,
        "Nothing to do",
        "Guest instructions a second of an idle target.",
        &per_target(all.idle.iter().map(|idle| {
            let value = idle.instructions_per_second;
            (idle.target, Spread::of(&[value]), grouped(value))
        })),
    );
    figure(
        &mut body,
        "From the start of QEMU to the first answer",
        "Median of the starts, the line from the fastest to the slowest.",
        &per_target(all.starts.iter().map(|start| {
            let text = format!("{:.0} ms", start.milliseconds.median);
            (start.target, start.milliseconds, text)
        })),
    );
    body.push_str(&copied(all.ours.copies));
    body.push_str(&on_devices(&all.ours.devices));
    body.push_str(&crowds(all));
    body.push_str(&verified(all));
    body.push_str(&table(all));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>ublade: what a request costs</title>\n<style>{STYLE}</style>\n{body}</html>\n"
    )
}

fn figure(out: &mut String, title: &str, caption: &str, plot: &str) {
    let _ = write!(
        out,
        "<h2>{title}</h2>\n<figure>\n{plot}<figcaption>{caption} <code>{COMMAND}</code>\
         </figcaption>\n</figure>\n"
    );
}

fn series(target: Target) -> usize {
    Target::ALL
        .iter()
        .position(|&other| other == target)
        .unwrap_or_default()
}

/// The loads that were compared, in their order.
fn loads(all: &Comparison) -> Vec<Load> {
    let ours = all.rows.iter().filter(|row| row.target == Target::Ublade);
    ours.map(|row| row.load).collect()
}

fn title(load: Load) -> String {
    let (word, bytes, depth) = (load.access.word(), load.bytes(), load.depth);
    format!("{word} {bytes} bytes, depth {depth}")
}

fn by_load(all: &Comparison, label: &str, figure: impl Fn(&Row) -> (Spread, String)) -> String {
    let groups: Vec<Group> = loads(all)
        .into_iter()
        .map(|load| {
            let rows = all.rows.iter().filter(|row| row.load == load);
            let bars = rows.map(|row| {
                let (value, text) = figure(row);
                Bar {
                    series: series(row.target),
                    name: row.target.name().to_owned(),
                    value,
                    text,
                }
            });
            Group {
                name: title(load),
                bars: bars.collect(),
            }
        })
        .collect();
    // A window of one and one of 32 differ too much for one axis.
    let (alone, many): (Vec<_>, Vec<_>) = groups
        .into_iter()
        .partition(|group| group.name.ends_with("depth 1"));
    svg::bars(label, &alone) + &svg::bars(label, &many)
}

fn times(all: &Comparison) -> String {
    let groups: Vec<(String, Vec<Times>)> = loads(all)
        .into_iter()
        .map(|load| {
            let rows = all.rows.iter().filter(|row| row.load == load);
            let times = rows.map(|row| Times {
                series: series(row.target),
                name: row.target.name().to_owned(),
                value: row.latency,
            });
            (title(load), times.collect())
        })
        .collect();
    svg::times("answer times", &groups)
}

fn per_target(values: impl Iterator<Item = (Target, Spread, String)>) -> String {
    let bars = values.map(|(target, value, text)| Bar {
        series: series(target),
        name: target.name().to_owned(),
        value,
        text,
    });
    let group = Group {
        name: String::new(),
        bars: bars.collect(),
    };
    svg::bars("by target", &[group])
}

fn copied(copies: Copies) -> String {
    let rows = [
        ("a read", copies.read),
        ("a write", copies.write),
        (
            "a read from a RAM disk, which has to copy",
            copies.read_of_memory,
        ),
    ];
    let rows: String = rows
        .map(|(what, bytes)| format!("<tr><td>{what}<td>{}</tr>\n", grouped(bytes)))
        .concat();
    format!(
        "<h2>Bytes copied by the processor</h2>\n<p>What ublade's processor stores to memory \
         for a request of 17 sectors beyond what it stores for one of a single sector: {} more \
         bytes of data. The last line shows that a copy would be seen. \
         <code>{COMMAND}</code></p>\n<div class=\"wide\"><table><tr><th>request<th>bytes\
         </tr>\n{rows}</table></div>\n",
        grouped(MORE_BYTES)
    )
}

fn on_devices(all: &[OnDevices]) -> String {
    let rows: String = all
        .iter()
        .map(|on| {
            format!(
                "<tr><td>{}<td>{}<td>{:.2}</tr>\n",
                on.name,
                grouped(on.instructions),
                on.accesses
            )
        })
        .collect();
    format!(
        "<h2>Other disks and cards</h2>\n<p>What a read of 1,024 bytes costs ublade at depth 32, \
         where one device is another. <code>{COMMAND}</code></p>\n<div class=\"wide\"><table>\
         <tr><th>disk, card<th>guest instructions<th>register accesses</tr>\n{rows}</table></div>\n"
    )
}

fn crowds(all: &Comparison) -> String {
    let mut text = String::from(
        "<h2>In a crowd</h2>\n<p>Reads of 1,024 bytes. <em>Overload</em>: 640 requests on \
         their way at once, ten times what reaches the most, and what is left of it. \
         <em>Beside</em>: what a host with one request at a time gets while another one has 1 or \
         64 on their way.</p>\n<div class=\"wide\"><table><tr><th>target<th>most, requests/s\
         <th>under overload<th>left<th>beside 1<th>beside 64<th>left</tr>\n",
    );
    for (target, crowd) in &all.crowds {
        let _ = writeln!(
            text,
            "<tr><td>{}<td>{}<td>{}<td>{:.0} %<td>{}<td>{}<td>{:.0} %</tr>",
            target.name(),
            grouped(crowd.peak),
            grouped(crowd.overload),
            crowd.goodput() * 100.0,
            grouped(crowd.beside_its_like),
            grouped(crowd.beside_greedy),
            crowd.fairness() * 100.0,
        );
    }
    let _ = writeln!(text, "</table></div>\n<p><code>{COMMAND}</code></p>");
    text
}

fn verified(all: &Comparison) -> String {
    let mut text = String::from(
        "<h2>Right answers</h2>\n<p>Reads and writes at random places of a disk that keeps \
         them, 32 at once; every read is compared with what was written last.</p>\n\
         <div class=\"wide\"><table><tr><th>target<th>requests<th>lost<th>late<th>duplicate\
         <th>corrupt</tr>\n",
    );
    for row in &all.verified {
        let trouble = row.trouble;
        let _ = writeln!(
            text,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            row.target.name(),
            grouped(row.requests as f64),
            trouble.lost,
            trouble.late,
            trouble.duplicate,
            trouble.corrupt
        );
    }
    text.push_str("</table></div>\n");
    text
}

fn table(all: &Comparison) -> String {
    let mut text = String::from(
        "<h2>All figures</h2>\n<div class=\"wide\"><table><tr><th>load<th>target\
         <th>instructions<th>requests/s<th>ublade is<th>p50<th>p99<th>p99.9<th>max\
         <th>lost<th>late<th>duplicate</tr>\n",
    );
    for row in &all.rows {
        let ratio = row.ublade_is;
        let _ = writeln!(
            text,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{:.1} × ({:.1} to {:.1})<td>{}<td>{}<td>{}<td>{}\
             <td>{}<td>{}<td>{}</tr>",
            escaped(&title(row.load)),
            row.target.name(),
            grouped(row.instructions),
            grouped(Spread::of(&row.per_second).median),
            ratio.median,
            ratio.low,
            ratio.high,
            svg::microseconds(row.latency.p50),
            svg::microseconds(row.latency.p99),
            svg::microseconds(row.latency.p999),
            svg::microseconds(row.latency.max),
            row.trouble.lost,
            row.trouble.late,
            row.trouble.duplicate,
        );
    }
    let _ = write!(
        text,
        "</table></div>\n<p><code>{COMMAND}</code> makes this page, <code>report.json</code> \
         and <code>report.csv</code> beside it.</p>\n"
    );
    text
}

/// A number with a comma after every three digits.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::compare::{Idle, Ours, Start, Verified};
    use super::super::crowd::Crowd;
    use super::super::latency::Percentiles;
    use super::super::load::{Access, Order, Trouble};
    use super::*;

    /// A comparison with one load.
    pub(in super::super) fn example() -> Comparison {
        let load = Load {
            access: Access::Read,
            order: Order::Sequential,
            sectors: 2,
            depth: 32,
        };
        let row = |target, rate: f64| Row {
            target,
            load,
            instructions: 30_800.0,
            per_second: vec![rate, rate * 1.1, rate * 0.9],
            ublade_is: Spread::of(&[20.0]),
            latency: Percentiles {
                p50: 100.0,
                p99: 200.0,
                p999: 300.0,
                max: 4_000.0,
            },
            trouble: Trouble::default(),
        };
        let milliseconds = Spread::of(&[90.0, 95.0, 110.0]);
        Comparison {
            ours: Ours {
                measured: Vec::new(),
                devices: vec![OnDevices {
                    name: "NVMe, virtio-net",
                    instructions: 1234.0,
                    accesses: 0.25,
                }],
                copies: Copies {
                    read: 0.0,
                    write: 3.0,
                    read_of_memory: 8_200.0,
                },
            },
            rows: Target::ALL.map(|target| row(target, 1000.0)).to_vec(),
            crowds: vec![(
                Target::Ublade,
                Crowd {
                    peak: 50_000.0,
                    overload: 48_000.0,
                    beside_its_like: 4_000.0,
                    beside_greedy: 1_000.0,
                },
            )],
            idle: Target::ALL
                .map(|target| Idle {
                    target,
                    instructions_per_second: 1234.0,
                })
                .to_vec(),
            starts: Target::ALL
                .map(|target| Start {
                    target,
                    milliseconds,
                })
                .to_vec(),
            verified: vec![Verified {
                target: Target::Ublade,
                load,
                requests: 10,
                trouble: Trouble::default(),
            }],
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = page(&example());
        for outside in ["http:", "https:", "<script", "<link", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn every_plot_carries_the_command_that_made_it() {
        let page = page(&example());
        let commands = page.matches("<code>cargo xtask bench</code></figcaption>");
        assert_eq!(commands.count(), page.matches("<figure>").count());
    }

    #[test]
    fn digits_stand_in_threes() {
        assert_eq!(grouped(7.0), "7");
        assert_eq!(grouped(999.6), "1,000");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }
}
