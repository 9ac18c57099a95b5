//! The page for people: no script, nothing loaded from elsewhere, under 40 KB.
//!
//! The order is the order of questions: is it well, what does it do now, who gets
//! what, what should I look at, what do I type. A browser without style sheets or
//! pictures shows the same words in the same order.

use super::{Standing, State, Step, View};
use crate::banner::Bytes;
use crate::config::Selector;
use crate::mgmt::journal::Severity;
use crate::mgmt::out::{Grouped, Html, Out, Short, put};
use crate::plan::Access;
use crate::tally::{Client, Second};
use core::fmt;
use io::{Disk, Nic, WriteCache};

/// Points of a curve: each stands for this many seconds.
const POINT_SECONDS: usize = 3;
const POINTS: usize = crate::tally::HISTORY_SECONDS / POINT_SECONDS;
/// Height of a curve's picture.
const HEIGHT: u64 = 90;
/// Rows of a list that are shown; the API has all of them.
const ROWS_MAX: usize = 32;
/// Lines of the log that are shown.
const LOG_LINES: usize = 20;

const STYLE: &str = include_str!("page.css");

/// What a curve shows.
#[derive(Clone, Copy)]
struct Curve {
    title: &'static str,
    read: fn(&Second) -> u64,
    write: fn(&Second) -> u64,
    show: fn(u64, &mut fmt::Formatter<'_>) -> fmt::Result,
}

const CURVES: [Curve; 2] = [
    Curve {
        title: "Requests per second",
        read: |second| second.reads.into(),
        write: |second| second.writes.into(),
        show: |value, f| write!(f, "{}", Grouped(value)),
    },
    Curve {
        title: "Throughput",
        read: |second| u64::from(second.sectors_read) * 512,
        write: |second| u64::from(second.sectors_written) * 512,
        show: |value, f| write!(f, "{}", Rate(value)),
    },
];

/// Bytes a second in the units of disk makers.
pub(super) struct Rate(pub u64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000_000 => write!(f, "{} kB/s", self.0 / 1000),
            rate => write!(f, "{}.{} MB/s", rate / 1_000_000, rate / 100_000 % 10),
        }
    }
}

/// A value as its curve shows it.
struct Shown(Curve, u64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0.show)(self.1, f)
    }
}

impl<N: Nic, D: Disk> View<'_, N, D> {
    pub(super) fn page(&self, section: u16, item: &mut usize, out: &mut Out<'_>) -> Step {
        match section {
            0 => self.page_head(out),
            1 => self.page_state(out),
            2 => self.page_tiles(out),
            3 => self.page_curve(&CURVES[0], out),
            4 => self.page_curve(&CURVES[1], out),
            5 => self.page_warnings(out),
            6 => self.page_epitaph(out),
            7 => return self.page_exports(item, out),
            8 => self.page_latency(out),
            9 => return self.page_disks(item, out),
            10 => return self.page_ports(item, out),
            11 => return self.page_clients(item, out),
            12 => self.page_lines(out),
            13 => return self.page_log(item, out),
            _ => {
                out.put(
                    "</main><footer>This page refreshes itself every five seconds. For programs: ",
                );
                for (at, path) in [
                    "/metrics",
                    "/api/v1/status",
                    "/api/v1/exports",
                    "/api/v1/disks",
                    "/api/v1/ports",
                    "/api/v1/clients",
                    "/api/v1/config",
                    "/api/v1/log",
                    "/api/v1/trace",
                    "/healthz",
                    "/readyz",
                ]
                .into_iter()
                .enumerate()
                {
                    let between = if at == 0 { "" } else { " · " };
                    put!(out, "{between}<a href=\"{path}\">{path}</a>");
                }
                out.put("</footer></body></html>\n");
                return Step::End;
            }
        }
        Step::Next
    }

    fn page_head(&self, out: &mut Out<'_>) {
        out.put(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta http-equiv=\"refresh\" content=\"5\">\
             <meta name=\"color-scheme\" content=\"light dark\">",
        );
        out.put(
            "<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' \
             viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%232563eb'/%3E%3Cpath \
             d='M4 5h8M4 8h8M4 11h5' stroke='white' stroke-width='1.6'/%3E%3C/svg%3E\">",
        );
        put!(
            out,
            "<title>{} - ublade {}</title><style>",
            self.state().0.name(),
            Html(self.name())
        );
        out.put(STYLE);
        out.put("</style></head>\n");
    }

    /// What the node is called: its name, or its shelf.
    pub(super) fn name(&self) -> io::Text<64> {
        match self.node.hostname.is_empty() {
            false => self.node.hostname,
            true => io::Text::format(format_args!("shelf {}", self.node.shelf.number())),
        }
    }

    fn page_state(&self, out: &mut Out<'_>) {
        let (state, reason) = self.state();
        let mood = match state {
            State::Serving => "good",
            State::Degraded | State::Idle | State::Stopping => "fair",
            State::Down => "poor",
        };
        put!(
            out,
            "<body><header><h1>ublade <b>{}</b></h1>",
            Html(self.name())
        );
        put!(
            out,
            "<p class=\"state {mood}\"><strong>{}</strong> <span>{}</span></p>",
            state.name(),
            Html(reason)
        );
        put!(
            out,
            "<p class=\"dim\">version {} · up {}",
            env!("CARGO_PKG_VERSION"),
            Age(self.now.0)
        );
        put!(
            out,
            " · booted by {} in {} ms · {} memory",
            Html(self.facts.route),
            self.facts.boot_us / 1000,
            Bytes(self.facts.memory_bytes)
        );
        if let Some(cidr) = self.lease.cidr {
            let from = if self.lease.by_dhcp {
                "from DHCP"
            } else {
                "fixed"
            };
            put!(out, " · {cidr} {from}");
        }
        if let Some(us) = self.wall.unix_us(self.now) {
            put!(out, " · {}", crate::mgmt::time::Utc(us));
        }
        if !self.node.keeps_state() {
            out.put(" · no boot disk, so what is set here lasts until the next start");
        }
        out.put("</p></header><main>\n");
    }

    fn page_tiles(&self, out: &mut Out<'_>) {
        let work = self.work();
        let last = self
            .node
            .history
            .seconds()
            .last()
            .copied()
            .unwrap_or_default();
        let [(_, total), _, _] = self.stages();
        out.put("<section class=\"tiles\">");
        put!(
            out,
            "<div><b>{}</b> <span>requests in the last second</span></div>",
            Grouped(u64::from(last.reads) + u64::from(last.writes))
        );
        put!(
            out,
            "<div><b>{}</b> <span>in the last second</span></div>",
            Rate((u64::from(last.sectors_read) + u64::from(last.sectors_written)) * 512)
        );
        match total.percentile_us(990) {
            Some(us) => put!(
                out,
                "<div><b>&lt; {}</b> <span>99 % of all requests</span></div>",
                Short(us)
            ),
            None => out.put("<div><b>-</b> <span>no request yet</span></div>"),
        }
        put!(
            out,
            "<div><b>{}</b> <span>clients in the last minute</span></div>",
            self.clients().count()
        );
        put!(
            out,
            "<div><b>{}</b> <span>requests since the start, {} failed</span></div>",
            Grouped(work.all()),
            Grouped(work.all_failed())
        );
        let busy = self.busy_permille();
        put!(
            out,
            "<div><b>{}.{} %</b> <span>of the time awake</span></div></section>\n",
            busy / 10,
            busy % 10
        );
    }

    fn page_curve(&self, curve: &Curve, out: &mut Out<'_>) {
        let mut reads = [0_u64; POINTS];
        let mut writes = [0_u64; POINTS];
        // Aligned at the right: the newest point is complete, the oldest may not be.
        let len = self.node.history.seconds().count();
        for (at, second) in self.node.history.seconds().enumerate() {
            let point = POINTS - 1 - (len - 1 - at) / POINT_SECONDS;
            reads[point] += (curve.read)(second);
            writes[point] += (curve.write)(second);
        }
        for value in reads.iter_mut().chain(&mut writes) {
            *value /= POINT_SECONDS as u64;
        }
        let top = reads
            .iter()
            .chain(&writes)
            .copied()
            .max()
            .unwrap_or(0)
            .max(1);
        let peak = |values: &[u64]| values.iter().copied().max().unwrap_or(0);
        put!(
            out,
            "<figure class=\"curve\"><figcaption><h2>{}</h2>",
            curve.title
        );
        put!(
            out,
            "<span class=\"r\">reads, at most {}</span> ",
            Shown(*curve, peak(&reads))
        );
        put!(
            out,
            "<span class=\"w\">writes, at most {}</span></figcaption>",
            Shown(*curve, peak(&writes))
        );
        put!(
            out,
            "<svg viewBox=\"0 0 {} {}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}, five minutes\">",
            (POINTS - 1) * 6,
            HEIGHT + 2,
            curve.title
        );
        for line in 0..=2 {
            let y = 1 + HEIGHT / 2 * line;
            put!(
                out,
                "<path class=\"grid\" d=\"M0 {y}H{}\"/>",
                (POINTS - 1) * 6
            );
        }
        for (class, values) in [("r", &reads), ("w", &writes)] {
            for fill in [true, false] {
                put!(
                    out,
                    "<path class=\"{class}{}\" d=\"M",
                    if fill { " fill" } else { "" }
                );
                for (at, value) in values.iter().enumerate() {
                    // A straight stretch is one line: its inner points say nothing.
                    let is_inner = at > 0
                        && at + 1 < POINTS
                        && values[at - 1] == *value
                        && values[at + 1] == *value;
                    if !is_inner {
                        put!(out, "{} {} ", at * 6, HEIGHT + 1 - value * HEIGHT / top);
                    }
                }
                if fill {
                    put!(out, "V{}H0Z", HEIGHT + 1);
                }
                out.put("\"/>");
            }
        }
        put!(
            out,
            "</svg><div class=\"axis\"><span>5 min ago</span> <span>highest line {}</span> <span>now</span></div></figure>\n",
            Shown(*curve, top)
        );
    }

    fn page_warnings(&self, out: &mut Out<'_>) {
        let node = self.node;
        let mut shown = 0;
        let mut begin = |out: &mut Out<'_>| {
            if shown == 0 {
                out.put("<section><h2>Worth a look</h2><ul class=\"warn\">");
            }
            shown += 1;
        };
        for (index, port) in node.ports.iter().enumerate() {
            if !port.link {
                begin(out);
                put!(
                    out,
                    "<li>eth{index} ({}) has no link.</li>",
                    Html(port.nic.name())
                );
            } else if self.could_carry_more(index) {
                begin(out);
                put!(
                    out,
                    "<li>eth{index} has MTU {}, so a request carries {} bytes; with 9000 on every card and switch of the way it is 8,704.</li>",
                    port.wire.mtu,
                    Grouped(u64::from(port.wire.sectors_max(false)) * 512)
                );
            }
        }
        for (index, export) in node.exports.iter().enumerate() {
            let standing = self.standing(index);
            let what = match standing {
                Standing::Taken(_) => {
                    "It comes by itself when nobody else does; or give one of the two nodes another shelf=."
                }
                Standing::Shared(_) => {
                    "Two disks under one name destroy each other: take one of them offline now."
                }
                _ => continue,
            };
            if out.has_room() {
                begin(out);
                put!(
                    out,
                    "<li>{} is {standing}. {what}</li>",
                    export.target.address()
                );
            }
        }
        for station in node.stations.iter().filter(|station| station.failing) {
            begin(out);
            put!(
                out,
                "<li>{} has reported errors; its exports say so to SMART.</li>",
                Html(station.disk.name())
            );
        }
        for warning in self.told_at_start() {
            if !out.has_room() {
                break;
            }
            begin(out);
            put!(out, "<li>{}</li>", Html(warning));
        }
        if shown > 0 {
            out.put("</ul></section>\n");
        }
    }

    /// Whether hosts at a port would gain from a larger MTU. Where `mtu=` limits it, the
    /// operator knows; and a port that only carries this page may be as it is.
    fn could_carry_more(&self, index: usize) -> bool {
        let port = &self.node.ports[index];
        let is_here = |client: &Client| usize::from(client.port) == index;
        let is_for_people = self.facts.port == Some(index)
            && self.node.ports.iter().filter(|port| port.link).count() > 1
            && !self.clients().any(is_here);
        let (used, offered) = (port.wire.mtu, port.nic.mtu());
        port.serves && used < 1600 && used == offered && !is_for_people
    }

    fn page_epitaph(&self, out: &mut Out<'_>) {
        if self.facts.epitaph.is_empty() {
            return;
        }
        out.put("<section><h2>Before this start it did not end in order</h2><pre>");
        for line in self.facts.epitaph.as_str().split('\n') {
            // A letter takes six bytes at most.
            if out.room() > 6 * line.len() + END.len() {
                put!(out, "{}\n", Html(line));
            }
        }
        const END: &str = "</pre></section>\n";
        out.put(END);
    }

    fn page_exports(&self, item: &mut usize, out: &mut Out<'_>) -> Step {
        let exports = &self.node.exports;
        table(
            item,
            exports.len(),
            out,
            "Exports",
            "<th>Address<th>Size<th>Mode<th>Disk<th>Serial<th class=\"n\">Reads<th class=\"n\">Writes<th class=\"n\">Failed",
            &mut |at, out| {
                let export = &exports[at];
                let target = &export.target;
                put!(
                    out,
                    "<tr><td><b>{}</b><td>{}<td>{}",
                    target.address(),
                    Bytes(export.volume.sectors.saturating_mul(512)),
                    export.planned.access
                );
                if self.standing(at) != Standing::Online {
                    put!(out, ", <b>{}</b>", self.standing(at));
                }
                if target.cache() == aoe::Cache::WriteBack {
                    out.put(", write-back");
                }
                if !target.masks().is_empty() {
                    put!(out, ", {} hosts may see it", target.masks().len());
                }
                if !target.reservation().is_empty() {
                    put!(out, ", reserved by {}", target.reservation().len());
                }
                put!(
                    out,
                    "<td>{}<td>{}",
                    Html(self.disk_of(export).disk.name()),
                    Html(export.serial)
                );
                let work = &export.work;
                put!(
                    out,
                    "<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}\n",
                    Grouped(work.requests[0]),
                    Grouped(work.requests[1]),
                    Grouped(work.all_failed())
                );
            },
        )
    }

    fn page_latency(&self, out: &mut Out<'_>) {
        out.put("<section><h2>Latency</h2><div class=\"scroll\"><table><thead><tr><th>Stage<th class=\"n\">p50<th class=\"n\">p99<th class=\"n\">p99.9<th>1 µs to 4 s</thead><tbody>");
        let stages = self.stages();
        let words = [
            "request, from taking over to answer",
            "at the disk (sampled)",
            "flush, shared by a batch",
        ];
        for ((_, times), words) in stages.iter().zip(words) {
            put!(out, "<tr><td>{words}");
            for permille in [500, 990, 999] {
                match times.percentile_us(permille) {
                    Some(us) => put!(out, "<td class=\"n\">&lt; {}", Short(us)),
                    None => out.put("<td class=\"n\">-"),
                }
            }
            let counts = times.counts();
            let top = counts.iter().copied().max().unwrap_or(0).max(1);
            put!(
                out,
                "<td><svg class=\"bars\" viewBox=\"0 0 {} 24\" role=\"img\" aria-label=\"distribution\">",
                counts.len() * 7
            );
            for (bucket, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                // Whatever was counted is seen.
                let height = (*count * 24 / top).max(1);
                put!(
                    out,
                    "<rect x=\"{}\" y=\"{}\" width=\"6\" height=\"{height}\"/>",
                    bucket * 7,
                    24 - height
                );
            }
            out.put("</svg>");
        }
        out.put("</table></div></section>\n");
    }

    fn page_disks(&self, item: &mut usize, out: &mut Out<'_>) -> Step {
        let stations = &self.node.stations;
        table(
            item,
            stations.len(),
            out,
            "Disks",
            "<th>Where<th>Model<th>Serial<th>WWN<th>Size<th>Habits<th class=\"n\">Under way",
            &mut |at, out| {
                let station = &stations[at];
                let (geometry, identity) = (station.disk.geometry(), station.disk.identity());
                put!(
                    out,
                    "<tr><td>{}<td>{}<td>{}<td>{}",
                    Html(station.disk.name()),
                    Html(identity.model),
                    Html(identity.serial),
                    identity.wwn
                );
                put!(
                    out,
                    "<td>{}<td>",
                    Bytes(geometry.sectors.saturating_mul(512))
                );
                out.put(match geometry.write_cache {
                    WriteCache::None => "durable when written",
                    WriteCache::Volatile => "needs flushes",
                });
                if geometry.read_only {
                    out.put(", read-only");
                }
                if geometry.discard.is_some() {
                    out.put(", discards");
                }
                if station.failing {
                    out.put(", <b>failing</b>");
                }
                put!(out, "<td class=\"n\">{}\n", station.under_way);
            },
        )
    }

    fn page_ports(&self, item: &mut usize, out: &mut Out<'_>) -> Step {
        let ports = &self.node.ports;
        let all: u64 = ports
            .iter()
            .map(|port| port.traffic.received_bytes + port.traffic.sent_bytes)
            .sum();
        table(
            item,
            ports.len(),
            out,
            "Ports",
            "<th>Port<th>Address<th>Card<th>Link<th class=\"n\">MTU<th class=\"n\">In<th class=\"n\">Out<th>Share",
            &mut |at, out| {
                let port = &ports[at];
                let traffic = &port.traffic;
                put!(out, "<tr><td><b>eth{at}</b>");
                if self.facts.port == Some(at) {
                    out.put(" <span class=\"dim\">and this page</span>");
                }
                if !port.serves {
                    out.put(" <span class=\"dim\">no AoE</span>");
                }
                put!(
                    out,
                    "<td>{}<td>{}<td>{}",
                    port.wire.mac,
                    Html(port.nic.name()),
                    if port.link { "up" } else { "<b>none</b>" }
                );
                put!(
                    out,
                    "<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}",
                    port.wire.mtu,
                    Bytes(traffic.received_bytes),
                    Bytes(traffic.sent_bytes)
                );
                let share = (traffic.received_bytes + traffic.sent_bytes) * 100 / all.max(1);
                put!(
                    out,
                    "<td><svg class=\"share\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{share} percent\"><rect class=\"back\" width=\"100\" height=\"8\"/><rect width=\"{share}\" height=\"8\"/></svg> {share} %\n"
                );
            },
        )
    }

    fn page_clients(&self, item: &mut usize, out: &mut Out<'_>) -> Step {
        let count = self.clients().count();
        table(
            item,
            count,
            out,
            "Clients of the last minute",
            "<th>Address<th>Port<th>Export<th class=\"n\">Requests<th class=\"n\">Last",
            &mut |at, out| {
                // One may have been forgotten since they were counted.
                let Some(client) = self.clients().nth(at) else {
                    return;
                };
                put!(out, "<tr><td>{}<td>eth{}<td>", client.mac(), client.port);
                if let Some(export) = self.node.exports.get(usize::from(client.export)) {
                    put!(out, "{}", export.target.address());
                }
                put!(
                    out,
                    "<td class=\"n\">{}<td class=\"n\">{} ago\n",
                    Grouped(client.requests),
                    Short(self.now - client.last)
                );
            },
        )
    }

    fn page_lines(&self, out: &mut Out<'_>) {
        let node = self.node;
        out.put("<section><h2>To copy</h2><dl><dt>On a Linux client<dd><pre>modprobe aoe &amp;&amp; aoe-discover");
        if let Some(export) = node.exports.first() {
            put!(
                out,
                " &amp;&amp; ls /dev/etherd/{}",
                export.target.address()
            );
        }
        out.put("</pre></dd>");
        let pins = || {
            let loose = node.exports.iter().filter(|one| one.planned.by_order);
            loose.filter_map(|export| {
                let disk = Selector::of(self.disk_of(export).disk.identity())?;
                Some((export.target.address().slot, disk))
            })
        };
        if pins().next().is_some() {
            out.put("<dt>To keep the slots where they are, in the node's settings<dd><pre>");
            for (slot, disk) in pins().take(ROWS_MAX) {
                if !out.has_room() {
                    break;
                }
                put!(out, "ublade.slot.{slot}={}\n", Html(disk));
            }
            out.put("</pre></dd>");
        }
        if node
            .exports
            .iter()
            .any(|export| export.planned.access == Access::ReadOnlyByDefault)
        {
            out.put("<dt>To let hosts write<dd><pre>ublade.rw=all</pre></dd>");
        }
        if let Some(cidr) = self.lease.cidr {
            let port = self.facts.http_port;
            let (colon, number) = if port == 80 {
                ("", io::Text::<8>::EMPTY)
            } else {
                (":", io::Text::format(format_args!("{port}")))
            };
            put!(
                out,
                "<dt>The figures of this page, and what passes the ports, for Wireshark<dd><pre>curl http://{}{colon}{number}/api/v1/status",
                cidr.address()
            );
            let token = match self.token().is_empty() {
                true => "",
                false => " -H \"Authorization: Bearer $TOKEN\"",
            };
            put!(
                out,
                "\ncurl{token} -o frames.pcapng 'http://{}{colon}{number}/debug/pcap?seconds=10'",
                cidr.address()
            );
            if !self.token().is_empty() {
                put!(
                    out,
                    "\ncurl{token} -X POST http://{}{colon}{number}/api/v1/reboot",
                    cidr.address()
                );
            }
            out.put("</pre></dd>");
        }
        out.put("</dl></section>\n");
    }

    fn page_log(&self, item: &mut usize, out: &mut Out<'_>) -> Step {
        let journal = &self.facts.journal;
        let first = journal.first_from(journal.written().saturating_sub(LOG_LINES));
        if *item == 0 {
            *item = first;
            out.put("<section><h2>Log</h2><pre class=\"log\">");
        }
        while *item < journal.written() && out.has_room() {
            if let Some(line) = journal.line(*item) {
                let class = match line.severity {
                    Severity::Error => "poor",
                    Severity::Warning => "fair",
                    Severity::Info | Severity::Debug => "",
                };
                put!(
                    out,
                    "<span class=\"dim\">{}</span> <span class=\"{class}\">{}</span>\n",
                    self.wall.show(line.at),
                    Html(line.text)
                );
            }
            *item += 1;
        }
        if *item < journal.written() {
            return Step::Again;
        }
        out.put("</pre></section>\n");
        Step::Next
    }
}

/// The next rows of a table, as many as fit into this piece.
#[inline(never)]
fn table(
    item: &mut usize,
    len: usize,
    out: &mut Out<'_>,
    title: &str,
    columns: &str,
    row: &mut dyn FnMut(usize, &mut Out<'_>),
) -> Step {
    let shown = len.min(ROWS_MAX);
    if *item == 0 {
        put!(
            out,
            "<section><h2>{title} <span class=\"dim\">{len}</span></h2>"
        );
        if len == 0 {
            out.put("<p class=\"dim\">None.</p></section>\n");
            return Step::Next;
        }
        put!(
            out,
            "<div class=\"scroll\"><table><thead><tr>{columns}</thead><tbody>\n"
        );
    }
    while *item < shown && out.has_room() {
        row(*item, out);
        *item += 1;
    }
    if *item < shown {
        return Step::Again;
    }
    out.put("</table></div>");
    if shown < len {
        put!(out, "<p class=\"dim\">and {} more</p>", len - shown);
    }
    out.put("</section>\n");
    Step::Next
}

/// A time since the start, for a person.
pub(super) struct Age(pub u64);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000;
        match seconds {
            0..60 => write!(f, "{seconds} s"),
            60..3600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{} h {} min", seconds / 3600, seconds / 60 % 60),
            _ => write!(f, "{} d {} h", seconds / 86_400, seconds / 3600 % 24),
        }
    }
}
