use super::super::compare::Row;
use super::super::copies::Copies;
use super::super::crowd::Crowd;
use super::super::devices::OnDevices;
use super::super::fio::{Fio, FioRun};
use super::super::host::Host;
use super::super::ladder::Rung;
use super::super::latency::{PARTS, Percentiles};
use super::super::limits::{Echoed, Limits};
use super::super::load::{Access, Order, Trouble};
use super::super::matrix::{Cell, Mode, Storage};
use super::super::processors::OnProcessors;
use super::super::rest::Idle;
use super::super::size::{File, Size};
use super::super::spread::Spread;
use super::super::start::{On, Start, Step, Whose};
use super::super::verify::Verified;
use super::*;

const LOAD: Load = Load {
    access: Access::Read,
    order: Order::Sequential,
    sectors: 2,
    depth: 32,
};
const TIMES: Percentiles = Percentiles {
    p50: 100.0,
    p99: 200.0,
    p999: 300.0,
    max: 4_000.0,
};

fn row(target: Target) -> Row {
    Row {
        target,
        load: LOAD,
        instructions: 30_800.0,
        per_second: vec![1000.0, 1100.0, 900.0],
        ublade_is: Spread::of(&[20.0]),
        latency: TIMES,
        distribution: PARTS.iter().map(|&part| part as f64).collect(),
        trouble: Trouble::default(),
    }
}

fn start() -> Start {
    Start {
        target: Target::Ublade,
        on: On::Q35,
        steps: vec![
            Step {
                name: "QEMU makes the machine",
                whose: Whose::Monitor,
                milliseconds: Spread::of(&[60.0]),
            },
            Step {
                name: "kernel",
                whose: Whose::Guest,
                milliseconds: Spread::of(&[12.0]),
            },
        ],
        whole: Spread::of(&[90.0, 95.0, 110.0]),
        instructions: 5_000_000,
    }
}

/// Findings of every part, each with a line.
pub(in super::super) fn example() -> Findings {
    let spread = Spread::of(&[900.0, 1000.0]);
    Findings {
        command: "cargo xtask bench".to_owned(),
        host: Host::default(),
        measured: Vec::new(),
        devices: vec![OnDevices {
            name: "NVMe, virtio-net",
            instructions: 1234.0,
            accesses: 0.25,
        }],
        processors: vec![OnProcessors {
            load: LOAD,
            alone: 800.0,
            each: [500.0, 450.0],
        }],
        copies: Some(Copies {
            read: 0.0,
            write: 3.0,
            read_of_memory: 8_200.0,
        }),
        rows: Target::ALL.map(row).to_vec(),
        ladder: [1, 32]
            .map(|depth| Rung {
                target: Target::Ublade,
                depth,
                per_second: spread,
                latency: TIMES,
            })
            .to_vec(),
        limits: Some(Limits {
            echoed: vec![Echoed {
                load: LOAD,
                served: spread,
                echoed: spread,
                part: Spread::of(&[0.8]),
                served_times: TIMES,
                echo_times: TIMES,
                instructions: 750.0,
                echo_instructions: 400.0,
            }],
            disk_reads: spread,
            disk_instructions: 300.0,
            served_of_disk: Spread::of(&[0.5]),
        }),
        fio: Some(FioRun {
            initiator: "fio 3.33".to_owned(),
            rows: vec![Fio {
                target: Target::Ublade,
                mix: "randread",
                depth: 32,
                per_second: vec![1000.0],
                ublade_is: Spread::of(&[1.0]),
                p50: 10.0,
                p99: 20.0,
                p999: 30.0,
            }],
        }),
        cells: vec![Cell {
            storage: Storage::Null,
            mode: Mode::Durable,
            load: LOAD,
            per_second: spread,
            p50: 100.0,
        }],
        crowds: vec![(
            Target::Ublade,
            Crowd {
                peak: 50_000.0,
                overload: 48_000.0,
                beside_its_like: 4_000.0,
                beside_greedy: 1_000.0,
            },
        )],
        idle: vec![Idle {
            target: Target::Ublade,
            instructions_per_second: 1234.0,
        }],
        starts: vec![start()],
        sizes: vec![Size {
            target: Target::Ublade,
            files: vec![File {
                name: "boot file",
                bytes: 317_952,
            }],
            memory_mib: 4,
        }],
        verified: vec![Verified {
            target: Target::Ublade,
            load: LOAD,
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
    let figures: Vec<&str> = page.split("<figure>").skip(1).collect();
    // Every part but the one that has no example here.
    assert!(figures.len() > Part::ALL.len(), "{}", figures.len());
    for figure in figures {
        let (figure, _) = figure.split_once("</figure>").unwrap();
        assert!(
            figure.contains("<code>cargo xtask bench --only "),
            "{figure}"
        );
    }
}

#[test]
fn a_part_that_did_not_run_is_not_on_the_page() {
    let nothing = Findings {
        command: "cargo xtask bench --only rest".to_owned(),
        ..Findings::default()
    };
    let page = page(&nothing);
    assert!(!page.contains("<h2>") && !page.contains("NaN"), "{page}");
}
