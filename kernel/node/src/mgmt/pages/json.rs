//! The API: what the page shows, for programs.

use super::{Step, Topic, View};
use crate::epitaph::EPITAPH_BYTES;
use crate::events::Event;
use crate::mgmt::out::{Out, PIECE_BYTES, Quoted, Seconds, put};
use crate::mgmt::time::Utc;
use crate::plan::Access;
use crate::tally::CLIENTS_MAX;
use io::{Disk, Nic, WriteCache};

// How the node ended is told in one piece, where a letter may take two bytes.
const _: () = assert!(2 * EPITAPH_BYTES < PIECE_BYTES - 64);

impl<N: Nic, D: Disk> View<'_, N, D> {
    pub(super) fn json(
        &self,
        topic: Topic,
        section: u16,
        item: &mut usize,
        out: &mut Out<'_>,
    ) -> Step {
        let node = self.node;
        match topic {
            Topic::Status => match section {
                0 => self.json_status(out),
                _ => {
                    put!(out, ",\"epitaph\":\"{}\"}}\n", Quoted(self.facts.epitaph));
                    Step::End
                }
            },
            Topic::Exports => list(item, node.exports.len(), out, &mut |at, out| {
                let export = &node.exports[at];
                let target = &export.target;
                let disk = &self.disk_of(export).disk;
                let work = &export.work;
                put!(
                    out,
                    "{{\"address\":\"{}\",\"slot\":{},\"online\":{},\"disk\":\"{}\"",
                    target.address(),
                    export.planned.slot,
                    export.online,
                    Quoted(disk.name())
                );
                put!(out, ",\"standing\":\"{}\"", self.standing(at));
                if let Some(other) = node.claims.other(at) {
                    put!(out, ",\"claimed_by\":\"{other}\"");
                }
                put!(out, ",\"serial\":\"{}\"", Quoted(export.serial));
                put!(
                    out,
                    ",\"first_sector\":{},\"sectors\":{}",
                    export.volume.first,
                    export.volume.sectors
                );
                put!(
                    out,
                    ",\"writable\":{},\"mode\":\"{}\"",
                    export.planned.access == Access::ReadWrite,
                    export.planned.access
                );
                let cache = if target.cache() == aoe::Cache::WriteBack {
                    "writeback"
                } else {
                    "writethrough"
                };
                put!(
                    out,
                    ",\"cache\":\"{cache}\",\"masks\":{},\"reserved_by\":{}",
                    target.masks().len(),
                    target.reservation().len()
                );
                put!(
                    out,
                    ",\"reads\":{},\"writes\":{},\"flushes\":{},\"discards\":{},\"verifies\":{}",
                    work.requests[0],
                    work.requests[1],
                    work.requests[3],
                    work.requests[4],
                    work.requests[2]
                );
                put!(
                    out,
                    ",\"read_bytes\":{},\"written_bytes\":{},\"failed\":{}}}",
                    work.sectors_read * 512,
                    work.sectors_written * 512,
                    work.all_failed()
                );
            }),
            Topic::Disks => list(item, node.stations.len(), out, &mut |at, out| {
                let station = &node.stations[at];
                let disk = &station.disk;
                let (geometry, identity) = (disk.geometry(), disk.identity());
                put!(
                    out,
                    "{{\"name\":\"{}\",\"model\":\"{}\"",
                    Quoted(disk.name()),
                    Quoted(identity.model)
                );
                put!(
                    out,
                    ",\"serial\":\"{}\",\"wwn\":\"{}\",\"firmware\":\"{}\"",
                    Quoted(identity.serial),
                    identity.wwn,
                    Quoted(identity.firmware)
                );
                put!(
                    out,
                    ",\"sectors\":{},\"read_only\":{}",
                    geometry.sectors,
                    geometry.read_only
                );
                put!(
                    out,
                    ",\"volatile_cache\":{},\"discards\":{}",
                    geometry.write_cache == WriteCache::Volatile,
                    geometry.discard.is_some()
                );
                put!(
                    out,
                    ",\"failing\":{},\"under_way\":{}}}",
                    station.failing,
                    station.under_way
                );
            }),
            Topic::Ports => list(item, node.ports.len(), out, &mut |at, out| {
                let port = &node.ports[at];
                let traffic = &port.traffic;
                put!(
                    out,
                    "{{\"name\":\"eth{at}\",\"device\":\"{}\",\"mac\":\"{}\"",
                    Quoted(port.nic.name()),
                    port.wire.mac
                );
                put!(
                    out,
                    ",\"link\":{},\"mtu\":{},\"aoe\":{},\"management\":{}",
                    port.link,
                    port.wire.mtu,
                    port.serves,
                    self.facts.port == Some(at)
                );
                put!(
                    out,
                    ",\"frames\":{},\"lent\":{},\"sending\":{},\"spare\":{}",
                    port.frames,
                    port.lent,
                    port.leaving(),
                    port.spares.len()
                );
                put!(
                    out,
                    ",\"received_frames\":{},\"received_bytes\":{}",
                    traffic.received,
                    traffic.received_bytes
                );
                put!(
                    out,
                    ",\"sent_frames\":{},\"sent_bytes\":{}}}",
                    traffic.sent,
                    traffic.sent_bytes
                );
            }),
            Topic::Clients => {
                // The table has gaps, so a comma belongs to what was found before.
                let since = self.clients_since();
                let is_there = |at: usize| {
                    let client = node.clients.at(at)?;
                    (client.last >= since).then_some(client)
                };
                if *item == 0 {
                    out.put("[");
                }
                while *item < CLIENTS_MAX && out.has_room() {
                    let at = *item;
                    *item += 1;
                    let Some(client) = is_there(at) else {
                        continue;
                    };
                    let comma = if (0..at).any(|at| is_there(at).is_some()) {
                        ","
                    } else {
                        ""
                    };
                    put!(
                        out,
                        "{comma}\n{{\"mac\":\"{}\",\"port\":\"eth{}\"",
                        client.mac(),
                        client.port
                    );
                    if let Some(export) = node.exports.get(usize::from(client.export)) {
                        put!(out, ",\"export\":\"{}\"", export.target.address());
                    }
                    put!(
                        out,
                        ",\"requests\":{},\"silent_seconds\":{}}}",
                        client.requests,
                        Seconds(self.now - client.last)
                    );
                }
                if *item < CLIENTS_MAX {
                    return Step::Again;
                }
                out.put("]\n");
                Step::End
            }
            Topic::Masks(slot) => self.json_macs(slot, aoe::Target::masks, item, out),
            Topic::Members(slot) => self.json_macs(slot, aoe::Target::reservation, item, out),
            Topic::Config => self.json_config(item, out),
            Topic::Log => {
                let journal = &self.facts.journal;
                let first = journal.first_from(0);
                list(item, journal.written() - first, out, &mut |at, out| {
                    if let Some(line) = journal.line(first + at) {
                        put!(
                            out,
                            "{{\"at\":{},\"severity\":\"{}\"",
                            Seconds(line.at.0),
                            line.severity.name()
                        );
                        if let Some(us) = self.wall.unix_us(line.at) {
                            put!(out, ",\"time\":\"{}\"", Utc(us));
                        }
                        put!(out, ",\"text\":\"{}\"}}", Quoted(line.text));
                    }
                })
            }
            Topic::Trace => {
                // By number, so that what is added meanwhile does not shift it.
                let events = node.events();
                list(item, events.trace().count(), out, &mut |at, out| {
                    if let Some(trace) = events.trace().nth(at) {
                        put!(
                            out,
                            "{{\"at\":{},\"what\":\"{}\",\"about\":{}}}",
                            Seconds(trace.at.0),
                            trace.what,
                            trace.about
                        );
                    }
                })
            }
        }
    }

    /// A list of addresses of one export; none if there is no such export.
    fn json_macs(
        &self,
        slot: u8,
        of: fn(&aoe::Target) -> &[aoe::Mac],
        item: &mut usize,
        out: &mut Out<'_>,
    ) -> Step {
        let is_it = |export: &&crate::Export| export.planned.slot == slot;
        let export = self.node.exports.iter().find(is_it);
        let macs = export.map_or(&[][..], |export| of(&export.target));
        list(item, macs.len(), out, &mut |at, out| {
            put!(out, "\"{}\"", macs[at]);
        })
    }

    fn json_config(&self, item: &mut usize, out: &mut Out<'_>) -> Step {
        list(item, self.settings().count(), out, &mut |at, out| {
            let Some(row) = self.settings().nth(at) else {
                return;
            };
            put!(
                out,
                "{{\"key\":\"{}\",\"value\":\"{}\"",
                Quoted(row.key),
                Quoted(io::Text::<256>::new(row.value))
            );
            put!(
                out,
                ",\"source\":\"{}\",\"in_force\":{}}}",
                row.source,
                row.in_force
            );
        })
    }

    fn json_status(&self, out: &mut Out<'_>) -> Step {
        let node = self.node;
        let (state, reason) = self.state();
        let work = self.work();
        put!(
            out,
            "{{\"name\":\"ublade\",\"version\":\"{}\"",
            env!("CARGO_PKG_VERSION")
        );
        put!(
            out,
            ",\"hostname\":\"{}\",\"shelf\":{}",
            Quoted(node.hostname),
            node.shelf.number()
        );
        put!(
            out,
            ",\"state\":\"{}\",\"reason\":\"{}\"",
            state.name(),
            Quoted(reason)
        );
        put!(out, ",\"uptime_seconds\":{}", Seconds(self.now.0));
        if let Some(us) = self.wall.unix_us(self.now) {
            put!(out, ",\"time\":\"{}\"", Utc(us));
        }
        put!(
            out,
            ",\"boot\":{{\"route\":\"{}\",\"microseconds\":{},\"memory_bytes\":{}}}",
            Quoted(self.facts.route),
            self.facts.boot_us,
            self.facts.memory_bytes
        );
        put!(
            out,
            ",\"exports\":{},\"disks\":{},\"ports\":{}",
            node.exports.len(),
            node.stations.len(),
            node.ports.len()
        );
        put!(
            out,
            ",\"clients\":{},\"inflight\":{}",
            self.clients().count(),
            self.inflight()
        );
        put!(
            out,
            ",\"requests\":{},\"reads\":{},\"writes\":{},\"failed\":{}",
            work.all(),
            work.requests[0],
            work.requests[1],
            work.all_failed()
        );
        put!(
            out,
            ",\"read_bytes\":{},\"written_bytes\":{}",
            work.sectors_read * 512,
            work.sectors_written * 512
        );
        put!(
            out,
            ",\"frames_received\":{},\"frames_sent\":{}",
            node.events.count_of(Event::Received.into()),
            node.events.count_of(Event::Sent.into())
        );
        let busy = self.busy_permille();
        put!(out, ",\"busy_ratio\":{}.{:03}", busy / 1000, busy % 1000);
        if let Some(last) = node.history.seconds().last() {
            put!(
                out,
                ",\"last_second\":{{\"reads\":{},\"writes\":{}",
                last.reads,
                last.writes
            );
            put!(
                out,
                ",\"read_bytes\":{},\"written_bytes\":{}}}",
                u64::from(last.sectors_read) * 512,
                u64::from(last.sectors_written) * 512
            );
        }
        out.put(",\"latency_us\":{");
        for (index, (name, histogram)) in self.stages().iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            put!(out, "{comma}\"{name}\":{{\"count\":{}", histogram.count());
            for (label, permille) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
                if let Some(us) = histogram.percentile_us(permille) {
                    put!(out, ",\"{label}\":{us}");
                }
            }
            out.put("}");
        }
        out.put("},\"management\":{");
        match self.lease.cidr {
            Some(cidr) => put!(
                out,
                "\"address\":\"{cidr}\",\"dhcp\":{}",
                self.lease.by_dhcp
            ),
            None => out.put("\"address\":null"),
        }
        put!(out, ",\"read_only\":{}", self.token().is_empty());
        put!(
            out,
            ",\"answered\":{},\"cut_off\":{}}}",
            self.served.0,
            self.served.1
        );
        put!(out, ",\"warnings\":{}", self.told_at_start().count());
        Step::Next
    }
}

/// The next rows of a JSON list, as many as fit into this piece.
#[inline(never)]
fn list(
    item: &mut usize,
    len: usize,
    out: &mut Out<'_>,
    row: &mut dyn FnMut(usize, &mut Out<'_>),
) -> Step {
    if *item == 0 {
        out.put("[");
    }
    while *item < len && out.has_room() {
        out.put(if *item == 0 { "\n" } else { ",\n" });
        row(*item, out);
        *item += 1;
    }
    if *item < len {
        return Step::Again;
    }
    out.put("]\n");
    Step::End
}
