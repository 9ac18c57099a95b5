//! What a request costs, in counts; and the limits that it is held against.

use super::super::copies::MORE_BYTES;
use super::super::limits::Echoed;
use super::super::line::{INSTRUCTIONS_PER_SECOND, line_rates};
use super::super::load::Access;
use super::super::parts::{Findings, Part};
use super::super::spread::Spread;
use super::super::svg::{self, Bar, Group, microseconds};
use super::super::target::Target;
use super::{Page, grouped, time, title};

pub(super) fn add(page: &mut Page<'_>, found: &Findings) {
    if !found.rows.is_empty() {
        let plot = time::by_load(found, "instructions a request", |row| {
            let value = Spread::of(&[row.instructions]);
            (value, grouped(row.instructions))
        });
        page.figure(
            "Guest instructions a request",
            Part::Compare,
            "Counted by a plugin in QEMU, the cheapest of several batches. It hardly depends on \
             how busy the host is.",
            &plot,
        );
    }
    accesses(page, found);
    if let Some(copies) = found.copies {
        let rows = [
            ("a read", copies.read),
            ("a write", copies.write),
            (
                "a read from a RAM disk, which has to copy",
                copies.read_of_memory,
            ),
        ];
        let rows = rows.map(|(what, bytes)| vec![what.to_owned(), grouped(bytes)]);
        let caption = format!(
            "What ublade's processor stores to memory for a request of 17 sectors beyond what it \
             stores for one of a single sector: {} more bytes of data. The last line shows that a \
             copy would be seen.",
            grouped(MORE_BYTES)
        );
        let head = ["request", "bytes"];
        page.table(
            "Bytes copied by the processor",
            Part::Copies,
            &caption,
            &head,
            &rows,
        );
    }
    if !found.devices.is_empty() {
        let rows: Vec<Vec<String>> = found
            .devices
            .iter()
            .map(|on| {
                vec![
                    on.name.to_owned(),
                    grouped(on.instructions),
                    format!("{:.2}", on.accesses),
                ]
            })
            .collect();
        page.table(
            "Other disks and cards",
            Part::Devices,
            "What a read of 1 KiB costs ublade at depth 32, where one device is another.",
            &["disk, card", "guest instructions", "register accesses"],
            &rows,
        );
    }
    processors(page, found);
    limits(page, found);
    paper(page, found);
}

fn accesses(page: &mut Page<'_>, found: &Findings) {
    if found.measured.is_empty() {
        return;
    }
    let groups: Vec<Group> = [1, 32]
        .into_iter()
        .map(|depth| Group {
            name: format!("depth {depth}"),
            bars: found
                .measured
                .iter()
                .filter(|one| one.load.depth == depth)
                .map(|one| Bar {
                    series: if one.load.access == Access::Read {
                        0
                    } else {
                        3
                    },
                    name: format!("{} {}", one.load.access.word(), one.load.size()),
                    value: Spread::of(&[one.accesses]),
                    text: format!("{:.2}", one.accesses),
                })
                .collect(),
        })
        .collect();
    page.figure(
        "Device-register accesses a request",
        Part::Counts,
        "ublade: doorbells and interrupts, reads and writes of any register. Each one is a way \
         out of the guest. Alone, a request rings at the disk and at the card; many at once share \
         one doorbell a turn.",
        &svg::bars("register accesses", &groups),
    );
}

fn processors(page: &mut Page<'_>, found: &Findings) {
    if found.processors.is_empty() {
        return;
    }
    let groups: Vec<Group> = found
        .processors
        .iter()
        .map(|on| {
            let bar = |series, name: &str, value: f64, text| Bar {
                series,
                name: name.to_owned(),
                value: Spread::of(&[value]),
                text,
            };
            let [node, devices] = on.each;
            Group {
                name: format!("{}: {:.2} times the requests", title(on.load), on.scale()),
                bars: vec![
                    bar(2, "one processor", on.alone, grouped(on.alone)),
                    bar(0, "two: the node's", node, grouped(node)),
                    bar(3, "two: the devices'", devices, grouped(devices)),
                ],
            }
        })
        .collect();
    page.figure(
        "Scaling by core",
        Part::Processors,
        "Guest instructions a request on each processor. Where both run at once, each on a core \
         of the host's, the one with more to do is the limit: what one alone needs, divided by \
         that, is how many times the requests two of them serve.",
        &svg::bars("instructions on each processor", &groups),
    );
}

fn limits(page: &mut Page<'_>, found: &Findings) {
    let Some(limits) = &found.limits else {
        return;
    };
    let group = |one: &Echoed| {
        let part = one.part;
        let served = format!(
            "{} ({:.0} %, {:.0} to {:.0})",
            grouped(one.served.median),
            part.median * 100.0,
            part.low * 100.0,
            part.high * 100.0
        );
        let bar = |series, name: &str, value: Spread, text| Bar {
            series,
            name: name.to_owned(),
            value,
            text,
        };
        Group {
            name: title(one.load),
            bars: vec![
                bar(0, "served", one.served, served),
                bar(2, "echoed", one.echoed, grouped(one.echoed.median)),
            ],
        }
    };
    // A window of one and one of 32 differ too much for one axis.
    let plot = [true, false].map(|is_alone| {
        let echoed = limits.echoed.iter();
        let echoed = echoed.filter(|one| (one.load.depth == 1) == is_alone);
        let groups: Vec<Group> = echoed.map(group).collect();
        svg::bars("served and echoed", &groups)
    });
    page.figure(
        "Against the echo",
        Part::Limits,
        "Requests served a second, and the same requests sent back as they came by a node that \
         does nothing else: card, driver and client alone, a bound for any target. The \
         echo of a read carries no data.",
        &plot.concat(),
    );
    let mut rows: Vec<Vec<String>> = limits
        .echoed
        .iter()
        .map(|one| {
            let beyond = one.instructions - one.echo_instructions;
            let times = [one.served_times.p50, one.echo_times.p50].map(microseconds);
            let [served, echoed] = times;
            vec![
                title(one.load),
                grouped(one.instructions),
                grouped(one.echo_instructions),
                grouped(beyond),
                served,
                echoed,
            ]
        })
        .collect();
    rows.push(vec![
        "disk loop, read 1 KiB".to_owned(),
        "–".to_owned(),
        grouped(limits.disk_instructions),
        "–".to_owned(),
        "–".to_owned(),
        "–".to_owned(),
    ]);
    let caption = format!(
        "Guest instructions of a served request, of the echo of its frame, and the difference: \
         disk and protocol. Last, a read of the disk alone inside the node, of which there are {} \
         a second; served over the network are {:.0} % of that. Where one thread of QEMU's does \
         both, a frame's way there and back and the disk's read, one after the other, {} of the \
         echo's rate is left. The answer times are p50.",
        grouped(limits.disk_reads.median),
        limits.served_of_disk.median * 100.0,
        limits
            .in_a_row()
            .map_or("–".to_owned(), |part| format!("{:.0} %", part * 100.0))
    );
    page.table(
        "At the limits",
        Part::Limits,
        &caption,
        &["", "served", "limit", "beyond it", "answered", "echoed"],
        &rows,
    );
}

fn paper(page: &mut Page<'_>, found: &Findings) {
    let cost = |sectors: u64| {
        let of_rows = found.rows.iter().find(|row| {
            let load = row.load;
            row.target == Target::Ublade
                && load.access == Access::Read
                && load.depth == 32
                && u64::from(load.sectors) == sectors
        });
        of_rows.map(|row| row.instructions)
    };
    if found.rows.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = line_rates()
        .iter()
        .map(|wire| {
            let ours = cost(wire.sectors);
            vec![
                format!("{} GbE, MTU {}", wire.gigabits, wire.mtu),
                grouped(wire.frames_per_second),
                grouped(wire.mebibytes_per_second()),
                if wire.nanoseconds() < 1000.0 {
                    format!("{:.0} ns", wire.nanoseconds())
                } else {
                    format!("{:.1} µs", wire.nanoseconds() / 1000.0)
                },
                grouped(wire.instructions()),
                ours.map_or("–".to_owned(), grouped),
                ours.map_or("–".to_owned(), |ours| {
                    match ours / wire.instructions() * 100.0 {
                        part if part < 10.0 => format!("{part:.1} %"),
                        part => format!("{part:.0} %"),
                    }
                }),
            ]
        })
        .collect();
    let caption = format!(
        "Frames of as many sectors as fit, with all that Ethernet adds. What one core may spend \
         on a frame if it is to fill the wire, in time and in instructions at {} GHz and one a \
         cycle, and what ublade spends on a read of that size: more than 100 % would need more \
         than one core.",
        INSTRUCTIONS_PER_SECOND / 1e9
    );
    page.table(
        "Line rate on paper",
        Part::Compare,
        &caption,
        &[
            "wire",
            "frames/s",
            "MiB/s",
            "time a frame",
            "instructions a frame",
            "ublade's",
            "of a core",
        ],
        &rows,
    );
}
