//! The figures for programs: JSON with everything, CSV with the comparison.

use super::compare::Comparison;
use super::load::{Load, Trouble};
use serde_json::{Value, json};
use std::fmt::Write;

/// Everything that was measured.
pub fn json(all: &Comparison) -> String {
    let load = |load: &Load| {
        json!({
            "name": load.name(),
            "access": load.access.word(),
            "bytes": load.bytes(),
            "depth": load.depth,
        })
    };
    let trouble = |trouble: &Trouble| {
        json!({
            "lost": trouble.lost,
            "late": trouble.late,
            "duplicate": trouble.duplicate,
            "corrupt": trouble.corrupt,
        })
    };
    let copies = all.ours.copies;
    let devices: Vec<Value> = all
        .ours
        .devices
        .iter()
        .map(|on| {
            json!({
                "devices": on.name,
                "instructions_per_read_of_1024": on.instructions,
                "register_accesses": on.accesses,
            })
        })
        .collect();
    let node: Vec<Value> = all
        .ours
        .measured
        .iter()
        .map(|measured| {
            json!({
                "load": load(&measured.load),
                "instructions_per_request": measured.instructions,
                "register_accesses_per_request": measured.accesses,
            })
        })
        .collect();
    let rows: Vec<Value> = all
        .rows
        .iter()
        .map(|row| {
            json!({
                "target": row.target.name(),
                "load": load(&row.load),
                "instructions_per_request": row.instructions,
                "requests_per_second": row.per_second,
                "ublade_is_times": {
                    "low": row.ublade_is.low,
                    "median": row.ublade_is.median,
                    "high": row.ublade_is.high,
                },
                "latency_us": {
                    "p50": row.latency.p50,
                    "p99": row.latency.p99,
                    "p99.9": row.latency.p999,
                    "max": row.latency.max,
                },
                "trouble": trouble(&row.trouble),
            })
        })
        .collect();
    let idle: Vec<Value> = all
        .idle
        .iter()
        .map(|idle| {
            json!({
                "target": idle.target.name(),
                "instructions_per_second": idle.instructions_per_second,
            })
        })
        .collect();
    let crowds: Vec<Value> = all
        .crowds
        .iter()
        .map(|(target, crowd)| {
            json!({
                "target": target.name(),
                "peak_per_second": crowd.peak,
                "overload_per_second": crowd.overload,
                "window_1_beside_window_1_per_second": crowd.beside_its_like,
                "window_1_beside_window_64_per_second": crowd.beside_greedy,
            })
        })
        .collect();
    let starts: Vec<Value> = all
        .starts
        .iter()
        .map(|start| {
            json!({
                "target": start.target.name(),
                "first_answer_ms": {
                    "low": start.milliseconds.low,
                    "median": start.milliseconds.median,
                    "high": start.milliseconds.high,
                },
            })
        })
        .collect();
    let verified: Vec<Value> = all
        .verified
        .iter()
        .map(|row| {
            json!({
                "target": row.target.name(),
                "load": load(&row.load),
                "requests": row.requests,
                "trouble": trouble(&row.trouble),
            })
        })
        .collect();
    let whole = json!({
        "command": "cargo xtask bench",
        "node": node,
        "bytes_copied_of_8192": {
            "read": copies.read,
            "write": copies.write,
            "read_of_a_ram_disk": copies.read_of_memory,
        },
        "devices": devices,
        "comparison": rows,
        "idle": idle,
        "crowds": crowds,
        "starts": starts,
        "verified": verified,
    });
    format!("{whole:#}\n")
}

/// One line a target and load.
pub fn csv(all: &Comparison) -> String {
    let mut text = String::from(
        "target,access,bytes,depth,instructions_per_request,\
         requests_per_second_low,requests_per_second_median,requests_per_second_high,\
         ublade_is_low,ublade_is_median,ublade_is_high,\
         p50_us,p99_us,p99.9_us,max_us,lost,late,duplicate,corrupt\n",
    );
    for row in &all.rows {
        let rate = super::Spread::of(&row.per_second);
        let _ = writeln!(
            text,
            "{},{},{},{},{:.0},{:.0},{:.0},{:.0},{:.2},{:.2},{:.2},{:.1},{:.1},{:.1},{:.1},{},{},{},{}",
            row.target.name(),
            row.load.access.word(),
            row.load.bytes(),
            row.load.depth,
            row.instructions,
            rate.low,
            rate.median,
            rate.high,
            row.ublade_is.low,
            row.ublade_is.median,
            row.ublade_is.high,
            row.latency.p50,
            row.latency.p99,
            row.latency.p999,
            row.latency.max,
            row.trouble.lost,
            row.trouble.late,
            row.trouble.duplicate,
            row.trouble.corrupt,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::page::tests::example;
    use super::*;

    #[test]
    fn every_line_has_a_value_for_every_column() {
        let text = csv(&example());
        let columns: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(columns, [19; 4]);
    }

    #[test]
    fn the_json_can_be_read_back() {
        let value: Value = serde_json::from_str(&json(&example())).unwrap();
        assert_eq!(value["comparison"][0]["target"], "ublade");
        assert_eq!(value["comparison"][1]["latency_us"]["p99.9"], 300.0);
    }
}
