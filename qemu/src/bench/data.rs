//! The figures for programs: JSON with everything, CSV with the comparison.

use super::goals::goals;
use super::line::line_rates;
use super::load::{Load, Trouble};
use super::parts::Findings;
use super::spread::Spread;
use serde_json::{Value, json};
use std::fmt::Write;

/// Everything that was measured.
pub fn json(all: &Findings) -> String {
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
    let devices: Vec<Value> = all
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
                "ublade_is_times": spread(row.ublade_is),
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
            let steps = start
                .steps
                .iter()
                .map(|step| json!({"step": step.name, "ms": spread(step.milliseconds)}));
            json!({
                "target": start.target.name(),
                "machine": start.on.name(),
                "first_answer_ms": spread(start.whole),
                "guest_instructions": start.instructions,
                "steps": steps.collect::<Vec<Value>>(),
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
    let copies = all.copies.map(|copies| {
        json!({
            "read": copies.read,
            "write": copies.write,
            "read_of_a_ram_disk": copies.read_of_memory,
        })
    });
    let whole = json!({
        "command": all.command,
        "host": {
            "cores": all.host.cores,
            "processor": all.host.processor,
            "qemu": all.host.qemu,
            "load_average": all.host.load.map(|(low, high)| json!({"low": low, "high": high})),
            "was_busy": all.host.was_busy(),
        },
        "goals": goals(all).iter().map(|goal| json!({
            "what": goal.what,
            "wanted": goal.wanted,
            "measured": goal.measured,
            "holds": goal.holds,
        })).collect::<Vec<Value>>(),
        "node": node,
        "bytes_copied_of_8192": copies,
        "devices": devices,
        "processors": processors(all),
        "comparison": rows,
        "latency_against_load": ladder(all),
        "limits": limits(all),
        "line_rates": wires(),
        "fio": fio(all),
        "matrix": matrix(all),
        "idle": idle,
        "crowds": crowds,
        "starts": starts,
        "sizes": sizes(all),
        "verified": verified,
    });
    format!("{whole:#}\n")
}

fn spread(of: Spread) -> Value {
    json!({"low": of.low, "median": of.median, "high": of.high})
}

fn ladder(all: &Findings) -> Vec<Value> {
    let rungs = all.ladder.iter().map(|rung| {
        json!({
            "target": rung.target.name(),
            "depth": rung.depth,
            "requests_per_second": spread(rung.per_second),
            "p50_us": rung.latency.p50,
            "p99_us": rung.latency.p99,
        })
    });
    rungs.collect()
}

fn processors(all: &Findings) -> Vec<Value> {
    let processors = all.processors.iter().map(|on| {
        json!({
            "load": on.load.name(),
            "instructions_on_one": on.alone,
            "instructions_on_each_of_two": on.each,
            "times_the_requests": on.scale(),
        })
    });
    processors.collect()
}

fn limits(all: &Findings) -> Option<Value> {
    let limits = all.limits.as_ref()?;
    let echoed = limits.echoed.iter().map(|one| {
        json!({
            "load": one.load.name(),
            "served_per_second": spread(one.served),
            "echoed_per_second": spread(one.echoed),
            "part_of_the_echo": spread(one.part),
            "latency_us": json!({ "p50": one.served_times.p50, "p99": one.served_times.p99 }),
            "latency_us_of_the_echo": json!({ "p50": one.echo_times.p50, "p99": one.echo_times.p99 }),
            "instructions": one.instructions,
            "instructions_of_the_echo": one.echo_instructions,
        })
    });
    Some(json!({
        "echo": echoed.collect::<Vec<Value>>(),
        "disk_reads_per_second": spread(limits.disk_reads),
        "instructions_per_disk_read": limits.disk_instructions,
        "served_part_of_disk_reads": spread(limits.served_of_disk),
    }))
}

fn wires() -> Vec<Value> {
    let wires = line_rates().into_iter().map(|wire| {
        json!({
            "gigabits": wire.gigabits,
            "mtu": wire.mtu,
            "sectors": wire.sectors,
            "frames_per_second": wire.frames_per_second,
            "nanoseconds_per_frame": wire.nanoseconds(),
            "instructions_per_frame_at_3_ghz": wire.instructions(),
        })
    });
    wires.collect()
}

fn fio(all: &Findings) -> Option<Value> {
    let fio = all.fio.as_ref()?;
    let rows = fio.rows.iter().map(|row| {
        json!({
            "target": row.target.name(),
            "mix": row.mix,
            "depth": row.depth,
            "requests_per_second": row.per_second,
            "ublade_is_times": spread(row.ublade_is),
            "p50_us": row.p50,
            "p99_us": row.p99,
            "p99.9_us": row.p999,
        })
    });
    Some(json!({"initiator": fio.initiator, "rows": rows.collect::<Vec<Value>>()}))
}

fn matrix(all: &Findings) -> Vec<Value> {
    let cells = all.cells.iter().map(|cell| {
        json!({
            "disk": cell.storage.name(),
            "target": cell.mode.name(),
            "load": cell.load.name(),
            "requests_per_second": spread(cell.per_second),
            "p50_us": cell.p50,
        })
    });
    cells.collect()
}

fn sizes(all: &Findings) -> Vec<Value> {
    let sizes = all.sizes.iter().map(|size| {
        let files = size.files.iter();
        let files = files.map(|file| json!({"name": file.name, "bytes": file.bytes}));
        json!({
            "target": size.target.name(),
            "files": files.collect::<Vec<Value>>(),
            "smallest_memory_mib": size.memory_mib,
        })
    });
    sizes.collect()
}

/// One line a target and load.
pub fn csv(all: &Findings) -> String {
    let mut text = String::from(
        "target,access,bytes,depth,instructions_per_request,\
         requests_per_second_low,requests_per_second_median,requests_per_second_high,\
         ublade_is_low,ublade_is_median,ublade_is_high,\
         p50_us,p99_us,p99.9_us,max_us,lost,late,duplicate,corrupt\n",
    );
    for row in &all.rows {
        let rate = Spread::of(&row.per_second);
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
    use super::super::target::Target;
    use super::*;

    #[test]
    fn every_line_has_a_value_for_every_column() {
        let text = csv(&example());
        let columns: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(columns, [19; 1 + Target::ALL.len()]);
    }

    #[test]
    fn the_json_can_be_read_back() {
        let value: Value = serde_json::from_str(&json(&example())).unwrap();
        assert_eq!(value["comparison"][0]["target"], "ublade");
        assert_eq!(value["comparison"][1]["latency_us"]["p99.9"], 300.0);
    }
}
