//! The figures as a person reads them.

use super::counts::Measured;
use super::parts::Findings;
use super::spread::Spread;
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

/// The comparison, one row a target and load; nothing if it was not made.
pub fn comparison(all: &Findings) -> String {
    let mut text = String::new();
    if !all.rows.is_empty() {
        text.push_str(
            "request           depth  target     instructions  requests/s  ublade is (spread)        p50      p99    p99.9      max\n",
        );
    }
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
    text
}

/// What else was found, a line each.
pub fn lines(all: &Findings) -> Vec<String> {
    let mut lines = Vec::new();
    for on in &all.devices {
        lines.push(format!(
            "{:<24} {:>6.0} instructions, {:.2} register accesses a read of 1 KiB at depth 32",
            on.name, on.instructions, on.accesses
        ));
    }
    for on in &all.processors {
        let [node, devices] = on.each;
        lines.push(format!(
            "{:<18} {:.0} instructions on one processor; on two, {node:.0} the node's and {devices:.0} the devices': {:.2} times the requests",
            on.load.name(),
            on.alone,
            on.scale()
        ));
    }
    if let Some(limits) = &all.limits {
        for one in &limits.echoed {
            lines.push(format!(
                "{:<18} {:.0} % of the echo's {:.0} a second; p50 {}, the echo's {}; {:.0} instructions, the echo's {:.0}",
                one.load.name(),
                one.part.median * 100.0,
                one.echoed.median,
                microseconds(one.served_times.p50),
                microseconds(one.echo_times.p50),
                one.instructions,
                one.echo_instructions
            ));
        }
        lines.push(format!(
            "disk loop          {:.0} reads a second, {:.0} instructions each; {:.0} % of them are served",
            limits.disk_reads.median,
            limits.disk_instructions,
            limits.served_of_disk.median * 100.0
        ));
    }
    for row in all.fio.iter().flat_map(|fio| &fio.rows) {
        lines.push(format!(
            "fio {:<9} depth {:>2}  {:<9} {:>7.0} a second, p50 {}, ublade is {:.1} x ({:.1} to {:.1})",
            row.mix,
            row.depth,
            row.target.name(),
            Spread::of(&row.per_second).median,
            microseconds(row.p50),
            row.ublade_is.median,
            row.ublade_is.low,
            row.ublade_is.high
        ));
    }
    for start in &all.starts {
        let Spread { low, median, high } = start.whole;
        let steps: Vec<String> = start
            .steps
            .iter()
            .map(|step| format!("{} {:.1}", step.name, step.milliseconds.median))
            .collect();
        lines.push(format!(
            "{:<9} on {}: first answer after {median:.0} ms ({low:.0} to {high:.0}): {}",
            start.target.name(),
            start.on.name(),
            steps.join(", ")
        ));
    }
    for size in &all.sizes {
        lines.push(format!(
            "{:<9} boots from {:.0} KiB, serves from {} MiB",
            size.target.name(),
            size.bytes() as f64 / 1024.0,
            size.memory_mib
        ));
    }
    for idle in &all.idle {
        lines.push(format!(
            "{:<9} at rest: {:.0} instructions a second",
            idle.target.name(),
            idle.instructions_per_second
        ));
    }
    for (target, crowd) in &all.crowds {
        lines.push(format!(
            "{:<9} at most {:.0} requests/s, {:.0} % of it with 640 on their way; a window of 1 beside one of 1: {:.0}, beside one of 64: {:.0} ({:.0} %)",
            target.name(),
            crowd.peak,
            crowd.goodput() * 100.0,
            crowd.beside_its_like,
            crowd.beside_greedy,
            crowd.fairness() * 100.0,
        ));
    }
    for row in &all.verified {
        lines.push(format!(
            "{:<9} {} requests of {} verified: {:?}",
            row.target.name(),
            row.requests,
            row.load.name(),
            row.trouble
        ));
    }
    lines
}

/// A number with a comma after every three digits.
pub(super) fn grouped(value: f64) -> String {
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
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_threes() {
        assert_eq!(grouped(7.0), "7");
        assert_eq!(grouped(999.6), "1,000");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }
}
