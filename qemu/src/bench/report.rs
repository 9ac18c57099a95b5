//! The figures as a person reads them.

use super::compare::{Comparison, Spread};
use super::counts::Measured;
use super::svg::microseconds;
use std::fmt::Write;

/// A table, one row a load.
pub fn table(all: &[Measured]) -> String {
    let mut text = String::from(
        "request           depth   instructions   register accesses   requests/s (this machine)\n",
    );
    for measured in all {
        let load = measured.load;
        let (kind, bytes) = (load.access.word(), load.bytes());
        let _ = writeln!(
            text,
            "{kind:<5} {bytes:>6} bytes {:>7} {:>14.0} {:>19.2} {:>12.0}",
            load.depth, measured.instructions, measured.accesses, measured.per_second
        );
    }
    text
}

/// The comparison, one row a target and load.
pub fn comparison(all: &Comparison) -> String {
    let mut text = String::from(
        "request           depth  target     instructions  requests/s  ublade is (spread)        p50      p99    p99.9      max\n",
    );
    for row in &all.rows {
        let (load, ratio, latency) = (row.load, row.ublade_is, row.latency);
        let ratio = format!(
            "{:.1} ({:.1} to {:.1})",
            ratio.median, ratio.low, ratio.high
        );
        let _ = write!(
            text,
            "{:<5} {:>6} bytes {:>6}  {:<9} {:>13.0} {:>11.0}  {ratio:<20} {:>8} {:>8} {:>8} {:>8}",
            load.access.word(),
            load.bytes(),
            load.depth,
            row.target.name(),
            row.instructions,
            Spread::of(&row.per_second).median,
            microseconds(latency.p50),
            microseconds(latency.p99),
            microseconds(latency.p999),
            microseconds(latency.max),
        );
        if !row.trouble.is_none() {
            let _ = write!(text, "  {:?}", row.trouble);
        }
        text.push('\n');
    }
    text.push('\n');
    for on in &all.ours.devices {
        let _ = writeln!(
            text,
            "{:<24} {:>6.0} instructions, {:.2} register accesses a read of 1024 bytes at depth 32",
            on.name, on.instructions, on.accesses
        );
    }
    for (idle, start) in all.idle.iter().zip(&all.starts) {
        let _ = writeln!(
            text,
            "{:<9}  idle: {:>9.0} instructions/s   start to first answer: {:>6.0} ms ({:.0} to {:.0})",
            idle.target.name(),
            idle.instructions_per_second,
            start.milliseconds.median,
            start.milliseconds.low,
            start.milliseconds.high
        );
    }
    for (target, crowd) in &all.crowds {
        let _ = writeln!(
            text,
            "{:<9}  at most {:.0} requests/s, {:.0} % of it with 640 on their way; a window of 1 beside one of 1: {:.0}, beside one of 64: {:.0} ({:.0} %)",
            target.name(),
            crowd.peak,
            crowd.goodput() * 100.0,
            crowd.beside_its_like,
            crowd.beside_greedy,
            crowd.fairness() * 100.0,
        );
    }
    for row in &all.verified {
        let _ = writeln!(
            text,
            "{:<9}  {} requests of {} verified: {:?}",
            row.target.name(),
            row.requests,
            row.load.name(),
            row.trouble
        );
    }
    text
}
