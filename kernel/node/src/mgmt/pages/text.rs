//! What a terminal shows: the same facts as the page, in lines.

use super::html::{Age, Rate};
use super::{Cursor, View};
use crate::banner::Bytes;
use crate::mgmt::out::{Out, Short, put};
use core::fmt;
use io::{Disk, Nic, Text};

/// What can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Every command.
    Help,
    /// The node as a whole.
    Status,
    /// Each export.
    Exports,
    /// Each disk.
    Disks,
    /// Each port.
    Ports,
    /// Who asked in the last minute.
    Clients,
    /// Latency by stage.
    Hist,
    /// The last lines of the log.
    Log,
    /// The last events of note.
    Trace,
    /// Every setting, and who said it.
    Settings,
}

const HELP: &str = "\
status, exports, disks, ports, clients   what there is, and how it is
hist      latency by stage          log, trace   what happened
set       every setting, and who said it
set KEY=VALUE, unset KEY            change one; most take effect at the next start
save      keep what was set on the boot disk, beside what was saved before
restore   save again what was saved before; twice, and all is as it was
online N, offline N                 slot N answers, or is silent
token TOKEN                         for a console that needs it before changes
reboot, poweroff                    finish what is under way, flush, go
";

impl<N: Nic, D: Disk> View<'_, N, D> {
    /// The next piece of what is to be shown. True if there is more.
    pub fn text(&self, show: Show, cursor: &mut Cursor, out: &mut Out<'_>) -> bool {
        let node = self.node;
        let at = &mut cursor.item;
        match show {
            Show::Help => {
                out.put(HELP);
                false
            }
            Show::Status => {
                self.text_status(out);
                false
            }
            Show::Exports => rows(at, out, &mut |at, out| {
                let export = node.exports.get(at)?;
                let (target, work) = (&export.target, &export.work);
                put!(
                    out,
                    "{}  {}  {}, {}",
                    target.address(),
                    Bytes(export.volume.sectors.saturating_mul(512)),
                    self.standing(at),
                    export.planned.access
                );
                put!(
                    out,
                    "  {} {}  {} masks, {} members",
                    self.disk_of(export).disk.name(),
                    export.serial,
                    target.masks().len(),
                    target.reservation().len()
                );
                put!(
                    out,
                    "  {} reads, {} writes, {} failed",
                    work.requests[0],
                    work.requests[1],
                    work.all_failed()
                );
                Some(())
            }),
            Show::Disks => rows(at, out, &mut |at, out| {
                let station = node.stations.get(at)?;
                let (disk, identity) = (&station.disk, station.disk.identity());
                put!(
                    out,
                    "{}  {} {}  {}",
                    disk.name(),
                    identity.model,
                    identity.serial,
                    Bytes(disk.geometry().sectors.saturating_mul(512))
                );
                let failing = if station.failing { ", FAILING" } else { "" };
                put!(out, "  {} under way{failing}", station.under_way);
                Some(())
            }),
            Show::Ports => rows(at, out, &mut |at, out| {
                let port = node.ports.get(at)?;
                let traffic = &port.traffic;
                let link = if port.link { "up" } else { "NO LINK" };
                put!(
                    out,
                    "eth{at}  {}  {}  {link}, MTU {}",
                    port.wire.mac,
                    port.nic.name(),
                    port.wire.mtu
                );
                put!(
                    out,
                    "  in {}, out {}",
                    Bytes(traffic.received_bytes),
                    Bytes(traffic.sent_bytes)
                );
                out.put(if port.serves { "" } else { ", no AoE" });
                Some(())
            }),
            Show::Clients => rows(at, out, &mut |at, out| {
                let client = self.clients().nth(at)?;
                put!(out, "{}  eth{}", client.mac(), client.port);
                if let Some(export) = node.exports.get(usize::from(client.export)) {
                    put!(out, "  {}", export.target.address());
                }
                put!(
                    out,
                    "  {} requests, {} ago",
                    client.requests,
                    Short(self.now - client.last)
                );
                Some(())
            }),
            Show::Hist => {
                self.text_hist(out);
                false
            }
            Show::Log => {
                let journal = &self.facts.journal;
                let first = journal.first_from(0);
                rows(at, out, &mut |at, out| {
                    let line = journal.line(first + at)?;
                    put!(out, "{} {}", self.wall.show(line.at), line.text);
                    Some(())
                })
            }
            Show::Trace => rows(at, out, &mut |at, out| {
                let trace = node.events().trace().nth(at)?;
                put!(
                    out,
                    "{} {} {}",
                    self.wall.show(trace.at),
                    trace.what,
                    trace.about
                );
                Some(())
            }),
            Show::Settings => rows(at, out, &mut |at, out| {
                let row = self.settings().nth(at)?;
                let later = match row.in_force {
                    true => "",
                    false => ", for the next start",
                };
                let value = Text::<256>::new(row.value);
                put!(out, "{}={value}  ({}{later})", row.key, row.source);
                Some(())
            }),
        }
    }

    fn text_status(&self, out: &mut Out<'_>) {
        let node = self.node;
        let (state, reason) = self.state();
        let work = self.work();
        put!(out, "{}: {reason}\n", state.name());
        put!(
            out,
            "ublade {} shelf {}, up {}, booted by {} in {} ms\n",
            env!("CARGO_PKG_VERSION"),
            node.shelf.number(),
            Age(self.now.0),
            self.facts.route,
            self.facts.boot_us / 1000
        );
        match self.lease.cidr {
            Some(cidr) => put!(out, "http://{}:{}/\n", cidr.address(), self.facts.http_port),
            None => out.put("no address\n"),
        }
        put!(
            out,
            "{} exports, {} disks, {} ports, {} clients\n",
            node.exports.len(),
            node.stations.len(),
            node.ports.len(),
            self.clients().count()
        );
        put!(
            out,
            "{} requests, {} failed, {} under way",
            work.all(),
            work.all_failed(),
            self.inflight()
        );
        let last = node.history.seconds().last().copied().unwrap_or_default();
        put!(
            out,
            "; in the last second {} reads, {} writes, {}\n",
            last.reads,
            last.writes,
            Rate((u64::from(last.sectors_read) + u64::from(last.sectors_written)) * 512)
        );
        for warning in self.told_at_start().take(8) {
            put!(out, "- {}\n", Text::<120>::new(warning));
        }
        let epitaph = &self.facts.epitaph;
        if !epitaph.is_empty() {
            // What does not fit is figures.
            put!(out, "before this start:\n{epitaph}");
        }
    }

    fn text_hist(&self, out: &mut Out<'_>) {
        const BARS: u64 = 24;
        for (name, times) in self.stages() {
            put!(out, "{name}: {} times", times.count());
            for (label, permille) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
                if let Some(us) = times.percentile_us(permille) {
                    put!(out, ", {label} < {}", Short(us));
                }
            }
            out.put("\n");
            let counts = times.counts();
            let top = counts.iter().copied().max().unwrap_or(0).max(1);
            for (bucket, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let bar = (count * BARS / top).max(1) as usize;
                let bar = &"########################"[..bar];
                put!(out, "{:>9} {count:>10} {bar}\n", Below(1 << bucket));
            }
        }
    }
}

/// The border of a bucket.
struct Below(u64);

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Text::<16>::format(format_args!("< {}", Short(self.0))).as_str())
    }
}

/// The next rows of a list, one a line, as many as fit: `row` writes one of them, if
/// there is one. True if there may be more.
#[inline(never)]
fn rows(
    at: &mut usize,
    out: &mut Out<'_>,
    row: &mut dyn FnMut(usize, &mut Out<'_>) -> Option<()>,
) -> bool {
    while out.has_room() {
        if row(*at, out).is_none() {
            if *at == 0 {
                out.put("none\n");
            }
            return false;
        }
        out.put("\n");
        *at += 1;
    }
    true
}
