//! Figures for Prometheus (text format 0.0.4): names that dashboards for Linux
//! machines know where they mean the same, and our own beside them.

use super::{State, Step, View};
use crate::events::{Event, Noted};
use crate::histogram::{BUCKETS, Histogram};
use crate::mgmt::out::{Out, Quoted, Seconds, put};
use crate::node::Export;
use crate::port::Port;
use crate::tally::KINDS;
use core::fmt;
use io::{Disk, Nic};

/// A figure: a count, or a time in microseconds that is told in seconds.
enum Value {
    Count(u64),
    Micros(u64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Micros(us) => write!(f, "{}", Seconds(*us)),
        }
    }
}

/// Name, type and help of a family.
type Family = (&'static str, &'static str, &'static str);

fn head(out: &mut Out<'_>, (name, kind, help): Family) {
    put!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn single(out: &mut Out<'_>, family: Family, value: Value) {
    head(out, family);
    put!(out, "{} {value}\n", family.0);
}

/// The next rows of a family, as many as fit.
#[inline(never)]
fn rows(
    item: &mut usize,
    len: usize,
    out: &mut Out<'_>,
    family: Family,
    row: &mut dyn FnMut(usize, &mut Out<'_>),
) -> Step {
    if *item == 0 {
        if !out.has_room() {
            return Step::Again;
        }
        head(out, family);
    }
    while *item < len && out.has_room() {
        row(*item, out);
        *item += 1;
    }
    if *item < len { Step::Again } else { Step::Next }
}

type OfExport = (Family, fn(&Export) -> Value);
type OfPort<N> = (Family, fn(&Port<N>) -> Value);

/// What is told of every export.
const OF_EXPORTS: [OfExport; 10] = [
    (
        (
            "node_disk_reads_completed_total",
            "counter",
            "Reads taken over, by export.",
        ),
        |export| Value::Count(export.work.requests[0]),
    ),
    (
        (
            "node_disk_read_bytes_total",
            "counter",
            "Bytes of these reads.",
        ),
        |export| Value::Count(export.work.sectors_read * 512),
    ),
    (
        (
            "node_disk_writes_completed_total",
            "counter",
            "Writes taken over, by export.",
        ),
        |export| Value::Count(export.work.requests[1]),
    ),
    (
        (
            "node_disk_written_bytes_total",
            "counter",
            "Bytes of these writes.",
        ),
        |export| Value::Count(export.work.sectors_written * 512),
    ),
    (
        (
            "node_disk_flush_requests_total",
            "counter",
            "Flushes that hosts asked for.",
        ),
        |export| Value::Count(export.work.requests[3]),
    ),
    (
        (
            "node_disk_discards_completed_total",
            "counter",
            "Discards taken over.",
        ),
        |export| Value::Count(export.work.requests[4]),
    ),
    (
        (
            "node_disk_io_time_weighted_seconds_total",
            "counter",
            "Time of all requests, each for itself.",
        ),
        |export| Value::Micros(export.latency.sum_us()),
    ),
    (
        ("ublade_export_bytes", "gauge", "Size of an export."),
        |export| Value::Count(export.volume.sectors * 512),
    ),
    (
        (
            "ublade_export_writable",
            "gauge",
            "Whether an export may be written.",
        ),
        |export| Value::Count(u64::from(!export.target.medium().read_only)),
    ),
    (
        (
            "ublade_export_online",
            "gauge",
            "Whether an export answers to hosts.",
        ),
        |export| Value::Count(export.online.into()),
    ),
];

impl<N: Nic, D: Disk> View<'_, N, D> {
    /// What is told of every port.
    const OF_PORTS: [OfPort<N>; 9] = [
        (
            (
                "node_network_receive_packets_total",
                "counter",
                "Frames received.",
            ),
            |port| Value::Count(port.traffic.received),
        ),
        (
            (
                "node_network_receive_bytes_total",
                "counter",
                "Their bytes.",
            ),
            |port| Value::Count(port.traffic.received_bytes),
        ),
        (
            (
                "node_network_transmit_packets_total",
                "counter",
                "Frames sent.",
            ),
            |port| Value::Count(port.traffic.sent),
        ),
        (
            (
                "node_network_transmit_bytes_total",
                "counter",
                "Their bytes.",
            ),
            |port| Value::Count(port.traffic.sent_bytes),
        ),
        (
            ("node_network_up", "gauge", "Whether the port has a link."),
            |port| Value::Count(u64::from(port.link)),
        ),
        (
            (
                "node_network_mtu_bytes",
                "gauge",
                "Largest payload that is used.",
            ),
            |port| Value::Count(port.wire.mtu.into()),
        ),
        (
            ("ublade_frames", "gauge", "Frames that the port owns."),
            |port| Value::Count(port.frames as u64),
        ),
        (
            (
                "ublade_frames_lent",
                "gauge",
                "Of these, at disks or waiting.",
            ),
            |port| Value::Count(port.lent as u64),
        ),
        (
            (
                "ublade_frames_sending",
                "gauge",
                "Of these, on their way out.",
            ),
            |port| Value::Count(port.leaving() as u64),
        ),
    ];

    pub(super) fn metrics(&self, section: u16, item: &mut usize, out: &mut Out<'_>) -> Step {
        let node = self.node;
        let events = &node.events;
        let section = usize::from(section);
        if let Some((family, value)) = OF_EXPORTS.get(section) {
            return rows(item, node.exports.len(), out, *family, &mut |at, out| {
                let export = &node.exports[at];
                put!(
                    out,
                    "{}{{device=\"{}\"}} {}\n",
                    family.0,
                    export.target.address(),
                    value(export)
                );
            });
        }
        let section = section - OF_EXPORTS.len();
        if let Some((family, value)) = Self::OF_PORTS.get(section) {
            return rows(item, node.ports.len(), out, *family, &mut |at, out| {
                put!(
                    out,
                    "{}{{device=\"eth{at}\"}} {}\n",
                    family.0,
                    value(&node.ports[at])
                );
            });
        }
        let work = self.work();
        match section - Self::OF_PORTS.len() {
            0 => {
                self.machine_metrics(out);
                Step::Next
            }
            1 => {
                let family = (
                    "ublade_requests_total",
                    "counter",
                    "Requests taken over, by kind.",
                );
                rows(item, KINDS.len(), out, family, &mut |at, out| {
                    put!(
                        out,
                        "ublade_requests_total{{op=\"{}\"}} {}\n",
                        KINDS[at],
                        work.requests[at]
                    );
                })
            }
            2 => {
                let family = (
                    "ublade_requests_failed_total",
                    "counter",
                    "Of these, not done.",
                );
                rows(item, KINDS.len(), out, family, &mut |at, out| {
                    put!(
                        out,
                        "{}{{op=\"{}\"}} {}\n",
                        family.0,
                        KINDS[at],
                        work.failed[at]
                    );
                })
            }
            3 => {
                let family = ("node_disk_info", "gauge", "The disk behind an export.");
                rows(item, node.exports.len(), out, family, &mut |at, out| {
                    let export = &node.exports[at];
                    put!(
                        out,
                        "{}{{device=\"{}\",model=\"{}\",serial=\"{}\"}} 1\n",
                        family.0,
                        export.target.address(),
                        Quoted(self.disk_of(export).disk.identity().model),
                        Quoted(export.serial)
                    );
                })
            }
            4 => {
                let family = (
                    "ublade_request_failures_total",
                    "counter",
                    "Requests not done, by export.",
                );
                rows(item, node.exports.len(), out, family, &mut |at, out| {
                    let export = &node.exports[at];
                    put!(
                        out,
                        "{}{{device=\"{}\"}} {}\n",
                        family.0,
                        export.target.address(),
                        export.work.all_failed()
                    );
                })
            }
            5 => {
                let family = (
                    "ublade_export_claimed",
                    "gauge",
                    "Whether another node answers for an export's address.",
                );
                rows(item, node.exports.len(), out, family, &mut |at, out| {
                    put!(
                        out,
                        "{}{{device=\"{}\"}} {}\n",
                        family.0,
                        node.exports[at].target.address(),
                        u8::from(node.claims.other(at).is_some())
                    );
                })
            }
            6 => {
                let family = (
                    "ublade_events_total",
                    "counter",
                    "What the node counts, by name.",
                );
                rows(item, Event::ALL.len(), out, family, &mut |at, out| {
                    let event = Event::ALL[at];
                    put!(
                        out,
                        "ublade_events_total{{event=\"{}\"}} {}\n",
                        event.name(),
                        events.count_of(event.into())
                    );
                })
            }
            7 => {
                let family = (
                    "ublade_dropped_total",
                    "counter",
                    "Frames not answered, by reason.",
                );
                rows(item, aoe::Drop::COUNT, out, family, &mut |at, out| {
                    let reason = aoe::Drop::ALL[at];
                    put!(
                        out,
                        "ublade_dropped_total{{reason=\"{}\"}} {}\n",
                        reason.name(),
                        events.count_of(Noted::Dropped(reason))
                    );
                })
            }
            8 => {
                let family = (
                    "ublade_denied_total",
                    "counter",
                    "Requests refused, by reason.",
                );
                rows(item, aoe::Refusal::COUNT, out, family, &mut |at, out| {
                    let refusal = aoe::Refusal::ALL[at];
                    put!(
                        out,
                        "ublade_denied_total{{reason=\"{}\"}} {}\n",
                        refusal.name(),
                        events.count_of(Noted::Refused(refusal))
                    );
                })
            }
            9 => {
                let family = (
                    "ublade_request_duration_seconds",
                    "histogram",
                    "From taking a request over to answering it.",
                );
                rows(item, 1, out, family, &mut |_, out| {
                    let [(_, total), _, _] = self.stages();
                    histogram(out, family.0, "", &total);
                })
            }
            10 => {
                let family = (
                    "ublade_stage_duration_seconds",
                    "histogram",
                    "Time at a disk (sampled) and time of a flush.",
                );
                if *item == 0 {
                    head(out, family);
                }
                // One a piece: they are long.
                let Some((stage, times)) = self.stages().into_iter().nth(*item + 1) else {
                    return Step::Next;
                };
                let label = io::Text::<32>::format(format_args!("stage=\"{stage}\","));
                histogram(out, family.0, label.as_str(), &times);
                *item += 1;
                Step::Again
            }
            _ => Step::End,
        }
    }

    fn machine_metrics(&self, out: &mut Out<'_>) {
        let node = self.node;
        let events = &node.events;
        head(
            out,
            ("ublade_build_info", "gauge", "Which version this is."),
        );
        put!(
            out,
            "ublade_build_info{{version=\"{}\"}} 1\n",
            env!("CARGO_PKG_VERSION")
        );
        head(
            out,
            ("node_uname_info", "gauge", "What the node is called."),
        );
        put!(
            out,
            "node_uname_info{{sysname=\"ublade\",nodename=\"{}\",release=\"{}\",machine=\"x86_64\"}} 1\n",
            Quoted(self.name()),
            env!("CARGO_PKG_VERSION")
        );
        single(
            out,
            ("ublade_uptime_seconds", "gauge", "Since the node started."),
            Value::Micros(self.now.0),
        );
        if let (Some(now), Some(start)) =
            (self.wall.unix_us(self.now), self.wall.unix_us(node.began))
        {
            single(
                out,
                ("node_time_seconds", "gauge", "The time."),
                Value::Micros(now),
            );
            single(
                out,
                ("node_boot_time_seconds", "gauge", "When the node started."),
                Value::Micros(start),
            );
        }
        single(
            out,
            ("ublade_memory_bytes", "gauge", "Memory of the machine."),
            Value::Count(self.facts.memory_bytes),
        );
        single(
            out,
            ("ublade_inflight", "gauge", "Requests at disks or waiting."),
            Value::Count(self.inflight() as u64),
        );
        single(
            out,
            (
                "ublade_clients",
                "gauge",
                "Hosts that asked in the last minute.",
            ),
            Value::Count(self.clients().count() as u64),
        );
        single(
            out,
            (
                "ublade_duplicates_total",
                "counter",
                "Copies of a write under way, run once.",
            ),
            Value::Count(events.count_of(Event::CopyMerged.into())),
        );
        single(
            out,
            (
                "ublade_conflicts_total",
                "counter",
                "Writes that waited for an older one of the same sectors.",
            ),
            Value::Count(events.count_of(Event::HeldBack.into())),
        );
        // A thousandth is a millisecond of a second: the same digits.
        single(
            out,
            (
                "ublade_poll_busy_ratio",
                "gauge",
                "Part of the time since start that the node was awake.",
            ),
            Value::Micros(self.busy_permille() * 1000),
        );
        single(
            out,
            (
                "ublade_http_requests_total",
                "counter",
                "Requests to this server.",
            ),
            Value::Count(self.served.0),
        );
        single(
            out,
            (
                "ublade_http_cut_off_total",
                "counter",
                "Clients of this server that were too slow.",
            ),
            Value::Count(self.served.1),
        );
        head(
            out,
            (
                "ublade_state",
                "gauge",
                "1 for the state that the node is in.",
            ),
        );
        let (state, _) = self.state();
        for one in State::ALL {
            put!(
                out,
                "ublade_state{{state=\"{}\"}} {}\n",
                one.name(),
                u8::from(one == state)
            );
        }
    }
}

/// A histogram's rows; `labels` ends with a comma or is empty.
fn histogram(out: &mut Out<'_>, name: &str, labels: &str, times: &Histogram) {
    let mut so_far = 0_u64;
    for (bucket, count) in times.counts().iter().enumerate() {
        so_far += *count;
        // The last bucket has no border: everything is below infinity.
        if bucket + 1 < BUCKETS {
            put!(
                out,
                "{name}_bucket{{{labels}le=\"{}\"}} {so_far}\n",
                Seconds(1 << bucket)
            );
        }
    }
    put!(out, "{name}_bucket{{{labels}le=\"+Inf\"}} {so_far}\n");
    let labels = labels.trim_end_matches(',');
    let (open, close) = if labels.is_empty() {
        ("", "")
    } else {
        ("{", "}")
    };
    put!(
        out,
        "{name}_sum{open}{labels}{close} {}\n",
        Seconds(times.sum_us())
    );
    put!(out, "{name}_count{open}{labels}{close} {so_far}\n");
}
