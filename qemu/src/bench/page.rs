//! The report: one page that needs nothing else.
//!
//! What was wanted and what was found comes first, then a plot or a table for each part
//! of the run. A part that did not run has no place on the page.

mod cost;
mod machine;
mod time;

use super::goals::goals;
use super::load::Load;
use super::parts::{Findings, Part};
use super::report::grouped;
use super::svg::{self, Bar, Group, escaped};
use super::target::{MEMORY, Target};
use std::fmt::Write;

/// Colours that people tell apart who do not see all of them (Okabe and Ito's), a little
/// lighter in the dark; shapes and names tell the same.
const STYLE: &str = "
:root { color-scheme: light dark; --back: #fff; --text: #1d2733; --soft: #5a6672; --grid: #dde2e8;
  --s0: #0072b2; --s1: #d55e00; --s2: #8d99a6; --s3: #56b4e9; --good: #00664a; --bad: #a33c00; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14181d; --text: #e4e9ee; --soft: #a3aeb9; --grid: #2d343c;
    --s0: #4db2ee; --s1: #f08a3c; --s2: #7d8995; --s3: #2f7fb0; --good: #4fd1a5; --bad: #ffa366; } }
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif;
  max-width: 58rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .4rem; } h2 { font-size: 1.2rem; margin: 2.6rem 0 .3rem; }
p, figcaption { max-width: 46rem; } figure { margin: .5rem 0; }
figcaption, .note { color: var(--soft); font-size: .92em; } figcaption { margin-top: .4rem; }
.lead { font-size: 1.08rem; } .busy { border-left: 4px solid var(--s1); padding-left: .8rem; }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: var(--text); }
svg .name { font-weight: 600; } svg .who, svg .figure { fill: var(--soft); }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; }
.s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); } .s3 { fill: var(--s3); }
.line { fill: none; stroke-width: 1.6; } .l0 { stroke: var(--s0); } .l1 { stroke: var(--s1); }
.l2 { stroke: var(--s2); } .l3 { stroke: var(--s3); }
.spread { stroke: var(--text); stroke-width: 1.2; fill: none; opacity: .75; }
.grid { stroke: var(--grid); fill: none; }
code { background: var(--grid); padding: .1em .35em; border-radius: 3px; font-size: .9em; }
div.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .87rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--grid); }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, .goals td, .goals th { text-align: left; }
.yes { color: var(--good); } .no { color: var(--bad); font-weight: 600; }
";

/// The page.
pub fn page(found: &Findings) -> String {
    let mut page = Page {
        body: String::new(),
        command: &found.command,
    };
    intro(&mut page, found);
    wanted(&mut page, found);
    cost::add(&mut page, found);
    time::add(&mut page, found);
    machine::add(&mut page, found);
    let _ = writeln!(
        page.body,
        "<p class=\"note\"><code>{}</code> made this page, <code>report.json</code> and \
         <code>report.csv</code> beside it.</p>",
        escaped(page.command)
    );
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>ublade: what a request costs</title>\n<style>{STYLE}</style>\n{}</html>\n",
        page.body
    )
}

/// A page in the making.
struct Page<'a> {
    body: String,
    command: &'a str,
}

impl Page<'_> {
    /// A plot, what it shows, and the command that makes it alone.
    fn figure(&mut self, title: &str, part: Part, caption: &str, plot: &str) {
        let command = self.of(part);
        let _ = write!(
            self.body,
            "<h2>{title}</h2>\n<figure>\n{plot}<figcaption>{caption} <code>{command}</code>\
             </figcaption>\n</figure>\n"
        );
    }

    /// The same with a table: its head and its lines, whose cells are HTML.
    fn table(
        &mut self,
        title: &str,
        part: Part,
        caption: &str,
        head: &[&str],
        rows: &[Vec<String>],
    ) {
        let mut table = String::from("<div class=\"wide\"><table>\n<tr>");
        for cell in head {
            let _ = write!(table, "<th>{cell}");
        }
        table.push_str("</tr>\n");
        for row in rows {
            table.push_str("<tr>");
            for cell in row {
                let _ = write!(table, "<td>{cell}");
            }
            table.push_str("</tr>\n");
        }
        table.push_str("</table></div>\n");
        self.figure(title, part, caption, &table);
    }

    fn of(&self, part: Part) -> String {
        let quick = if self.command.contains("--quick") {
            " --quick"
        } else {
            ""
        };
        format!("cargo xtask bench --only {}{quick}", part.name())
    }
}

fn intro(page: &mut Page<'_>, found: &Findings) {
    let host = &found.host;
    let mib = MEMORY.trim_end_matches('M');
    let _ = write!(
        page.body,
        "<h1>What a request costs</h1>\n<p class=\"lead\">ublade, a storage node that is its own \
         operating system, measured beside Debian's vblade on Debian's cloud kernel, in the same \
         virtual machine (q35, one processor, {mib} MiB of memory, virtio network card with MTU 9000, a disk \
         that moves no data), asked by the same client, in turns.{}</p>\n",
        result(found)
    );
    let _ = writeln!(
        page.body,
        "<p class=\"note\"><em>vblade -d</em> goes past the page cache: it is durable as ublade \
         is, and the fair rival. <em>vblade</em> answers writes from the page cache and loses \
         them with the machine; <em>vblade -s</em> waits for each of them and reads from the page \
         cache. Host: {} cores, {}; QEMU {}, software emulation.</p>",
        host.cores,
        escaped(&host.processor),
        escaped(&host.qemu)
    );
    if let Some((least, most)) = host.load {
        let _ = writeln!(
            page.body,
            "<p class=\"{}\">The host's load was {least:.1} to {most:.1} on {} cores{}.</p>",
            if host.was_busy() { "busy" } else { "note" },
            host.cores,
            if host.was_busy() {
                ": <strong>others worked here too</strong>. Counts hardly mind; requests a second, \
                 answer times and starts are worse than those of a host at rest, and ratios \
                 are worth what their spread says"
            } else {
                ""
            }
        );
    }
}

/// The result in a sentence, of what was measured.
fn result(found: &Findings) -> String {
    let rival = found
        .rows
        .iter()
        .filter(|row| row.target == Target::VbladeDirect && row.load.depth > 1);
    let (mut least, mut most) = (f64::MAX, 0.0_f64);
    let (mut cheap, mut dear) = (f64::MAX, 0.0_f64);
    for row in rival {
        least = least.min(row.ublade_is.median);
        most = most.max(row.ublade_is.median);
        let ours = found
            .rows
            .iter()
            .find(|ours| ours.target == Target::Ublade && ours.load == row.load);
        if let Some(ours) = ours {
            let times = row.instructions / ours.instructions;
            (cheap, dear) = (cheap.min(times), dear.max(times));
        }
    }
    let mut text = String::new();
    if most > 0.0 {
        let _ = write!(
            text,
            " With 32 requests on their way ublade serves <strong>{least:.0} to {most:.0} times \
             as many a second</strong> as vblade -d, for {cheap:.0} to {dear:.0} times fewer \
             instructions each."
        );
    }
    let start = |target| found.starts.iter().find(|start| start.target == target);
    if let (Some(ours), Some(theirs)) = (start(Target::Ublade), start(Target::VbladeDirect)) {
        let _ = write!(
            text,
            " It answers {} after QEMU starts, vblade after {}.",
            svg::microseconds(ours.whole.median * 1000.0),
            svg::microseconds(theirs.whole.median * 1000.0)
        );
    }
    text
}

fn wanted(page: &mut Page<'_>, found: &Findings) {
    let goals = goals(found);
    if goals.is_empty() {
        return;
    }
    let star = if found.host.was_busy() {
        "; a star is at figures that the busy host has made worse"
    } else {
        ""
    };
    let reached = goals.iter().filter(|goal| goal.holds).count();
    let _ = write!(
        page.body,
        "<h2>Goals</h2>\n<p>{reached} of {} are reached in this run{star}.</p>\n<div class=\"wide\">\
         <table class=\"goals\"><tr><th>what<th>wanted<th>measured<th>reached</tr>\n",
        goals.len()
    );
    for goal in goals {
        let (class, word) = if goal.holds {
            ("yes", "✓ yes")
        } else {
            ("no", "✗ no")
        };
        let _ = writeln!(
            page.body,
            "<tr><td>{}<td>{}<td>{}<td class=\"{class}\">{word}</tr>",
            escaped(&goal.what),
            escaped(&goal.wanted),
            escaped(&goal.measured)
                + if goal.timed && found.host.was_busy() {
                    " *"
                } else {
                    ""
                }
        );
    }
    page.body.push_str("</table></div>\n");
}

fn series(target: Target) -> usize {
    Target::ALL
        .iter()
        .position(|&other| other == target)
        .unwrap_or_default()
}

fn title(load: Load) -> String {
    let (word, depth) = (load.access.word(), load.depth);
    format!("{word} {}, depth {depth}", load.size())
}

/// One bar for each target.
fn per_target(
    label: &str,
    values: impl Iterator<Item = (Target, super::Spread, String)>,
) -> String {
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
    svg::bars(label, &[group])
}

#[cfg(test)]
pub(super) mod tests;
