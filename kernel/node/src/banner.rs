//! What the console says once the node serves: under ten lines, for a person.
//!
//! Version and how it booted, the ports, the exports with their mode and the
//! reason for it, how to keep the slots where they are, and the one command to
//! type on a Linux client. Many exports become a few lines and a count; nothing
//! here is ever longer than a screen.

use crate::Node;
use crate::config::Selector;
use crate::plan::Access;
use core::fmt;
use io::{Disk, Nic};

/// What the machine knows about this start.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// By which door it came in: `PVH`, `Linux boot protocol`.
    pub route: &'a str,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// From entry to now.
    pub boot_us: u64,
}

/// Most lines.
pub const LINES_MAX: usize = 9;
/// Lines for ports, and lines for exports; one more each says how many follow.
const PORTS_SHOWN: usize = 2;
const EXPORTS_SHOWN: usize = 2;
const LINES: usize = 1 + (PORTS_SHOWN + 1) + (EXPORTS_SHOWN + 1) + 2;
const _: () = assert!(LINES <= LINES_MAX, "under ten lines");

/// The lines. `Display` shows them all; [`lines`](Self::lines) one by one.
pub struct Banner<'a, N, D> {
    node: &'a Node<N, D>,
    boot: &'a Boot<'a>,
}

/// One line of a [`Banner`].
pub struct Line<'a, N, D> {
    banner: &'a Banner<'a, N, D>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Head,
    Port(usize),
    MorePorts,
    Export(usize),
    MoreExports,
    Pins,
    Client,
}

impl<'a, N: Nic, D: Disk> Banner<'a, N, D> {
    pub(crate) fn new(node: &'a Node<N, D>, boot: &'a Boot<'a>) -> Self {
        Self { node, boot }
    }

    /// One after the other, for a log that writes lines.
    pub fn lines(&'a self) -> impl Iterator<Item = Line<'a, N, D>> {
        let (ports, exports) = (self.node.ports.len(), self.node.exports.len());
        let one = |kind, wanted: bool| wanted.then_some(kind);
        core::iter::once(Kind::Head)
            .chain((0..ports.min(PORTS_SHOWN)).map(Kind::Port))
            .chain(one(Kind::MorePorts, ports > PORTS_SHOWN))
            .chain((0..exports.min(EXPORTS_SHOWN)).map(Kind::Export))
            .chain(one(Kind::MoreExports, exports > EXPORTS_SHOWN))
            .chain(one(Kind::Pins, self.unpinned().next().is_some()))
            .chain(one(Kind::Client, true))
            .map(|kind| Line { banner: self, kind })
    }

    /// Exports that are where they are by order alone and could be pinned.
    fn unpinned(&self) -> impl Iterator<Item = (u8, Selector)> {
        let exports = self.node.exports.iter();
        let loose = exports.filter(|export| export.planned.by_order);
        loose.filter_map(|export| {
            let disk = &self.node.stations[usize::from(export.volume.disk)].disk;
            Some((export.planned.slot, Selector::of(disk.identity())?))
        })
    }
}

impl<N: Nic, D: Disk> fmt::Display for Banner<'_, N, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl<N: Nic, D: Disk> fmt::Display for Line<'_, N, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Banner { node, boot } = self.banner;
        match self.kind {
            Kind::Head => {
                write!(f, "ublade {}", env!("CARGO_PKG_VERSION"))?;
                if !node.hostname.is_empty() {
                    write!(f, " on {}", node.hostname)?;
                }
                write!(
                    f,
                    ": booted by {} in {} ms",
                    boot.route,
                    boot.boot_us / 1000
                )?;
                write!(f, ", {} memory", Bytes(boot.memory_bytes))
            }
            Kind::Port(index) => {
                let port = &node.ports[index];
                write!(f, "port {index}: {} {}", port.wire.mac, port.nic.name())?;
                match port.link {
                    true => write!(f, ", link up, MTU {}", port.wire.mtu)?,
                    false => f.write_str(", no link")?,
                }
                f.write_str(if port.serves { "" } else { ", no AoE" })
            }
            Kind::MorePorts => write!(f, "and {} more ports", node.ports.len() - PORTS_SHOWN),
            Kind::Export(index) => {
                let export = &node.exports[index];
                let disk = &node.stations[usize::from(export.volume.disk)].disk;
                let size = Bytes(export.volume.sectors.saturating_mul(512));
                write!(f, "export {}: ", export.target.address())?;
                write!(f, "{size}, {}, {}", export.planned.access, disk.name())?;
                f.write_str(if node.is_on_its_way(index) {
                    ""
                } else {
                    ", offline"
                })
            }
            Kind::MoreExports => {
                let rest = &node.exports[EXPORTS_SHOWN..];
                let writable = rest
                    .iter()
                    .filter(|export| export.planned.access == Access::ReadWrite);
                let last = rest.last().map(|export| export.target.address());
                write!(f, "and {} more exports", rest.len())?;
                if let Some(last) = last {
                    write!(f, " up to {last}")?;
                }
                write!(f, ", {} of them read-write", writable.count())
            }
            Kind::Pins => {
                f.write_str("slots follow the bus; to keep them:")?;
                for (slot, disk) in self.banner.unpinned().take(EXPORTS_SHOWN) {
                    write!(f, " ublade.slot.{slot}={disk}")?;
                }
                if self.banner.unpinned().count() > EXPORTS_SHOWN {
                    f.write_str(" ...")?;
                }
                Ok(())
            }
            Kind::Client => {
                match (0..node.exports.len()).find(|index| node.is_on_its_way(*index)) {
                    None if !node.exports.is_empty() => {
                        f.write_str("every export is offline, as export=none says")
                    }
                    None => {
                        f.write_str("nothing is exported; ublade.ram.0=64M makes a disk in memory")
                    }
                    Some(index) => write!(
                        f,
                        "on a Linux client: modprobe aoe && aoe-discover && ls /dev/etherd/{}",
                        node.exports[index].target.address()
                    ),
                }
            }
        }
    }
}

/// Bytes in the largest unit that leaves no rest, or one decimal.
pub(crate) struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let (shift, unit) = units
            .into_iter()
            .find(|(shift, _)| self.0 >> shift != 0)
            .unwrap_or((0, "bytes"));
        let whole = self.0 >> shift;
        let tenth = ((self.0 >> u32::saturating_sub(shift, 10)) & 0x3ff) * 10 / 1024;
        match (shift, tenth) {
            (0, _) | (_, 0) => write!(f, "{whole} {unit}"),
            (_, tenth) => write!(f, "{whole}.{tenth} {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::World;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    const BOOT: Boot<'static> = Boot {
        route: "PVH",
        memory_bytes: 64 << 20,
        boot_us: 12_345,
    };

    fn lines(world: &World) -> Vec<String> {
        let banner = world.node.banner(&BOOT);
        banner.lines().map(|line| line.to_string()).collect()
    }

    #[test]
    fn a_person_learns_what_is_served_and_what_to_type() {
        let world = World::build("shelf=5\nrw=0").disks(1).start();
        let lines = lines(&world);
        assert!(lines[0].starts_with("ublade "));
        assert!(lines[0].ends_with("booted by PVH in 12 ms, 64 MiB memory"));
        assert_eq!(
            lines[1],
            "port 0: 02:00:00:00:01:00 00:03.0 fake-net, link up, MTU 1500"
        );
        assert_eq!(lines[2], "export e5.0: 2 MiB, read-write, 00:10.0 fake-blk");
        assert_eq!(
            lines[3],
            "slots follow the bus; to keep them: ublade.slot.0=serial:S0"
        );
        assert_eq!(
            lines[4],
            "on a Linux client: modprobe aoe && aoe-discover && ls /dev/etherd/e5.0"
        );
    }

    #[test]
    fn however_much_there_is_it_stays_under_ten_lines() {
        let world = World::build("shelf=5").ports(8).disks(64).start();
        let lines = lines(&world);
        assert!(lines.len() <= LINES_MAX);
        assert!(
            lines.contains(&"and 62 more exports up to e5.63, 0 of them read-write".to_string())
        );
        assert!(lines.contains(&"and 6 more ports".to_string()));
    }

    #[test]
    fn a_name_and_a_missing_link_are_told_and_the_whole_is_its_lines() {
        let world = World::build("shelf=5\nhostname=rack7")
            .each_nic(|nic| nic.link = false)
            .start();
        let told = lines(&world);
        assert!(told[0].contains(" on rack7: booted by"), "{told:?}");
        assert!(
            told.iter().any(|line| line.ends_with(", no link")),
            "{told:?}"
        );
        let whole = world.node.banner(&BOOT).to_string();
        assert_eq!(whole.lines().count(), told.len());
    }

    #[test]
    fn a_node_without_disks_says_how_to_get_one() {
        let world = World::build("shelf=5").disks(0).start();
        assert!(
            lines(&world)
                .last()
                .is_some_and(|line| line.contains("ublade.ram.0=64M"))
        );
    }

    #[test]
    fn sizes_are_short() {
        let text = |bytes| Bytes(bytes).to_string();
        assert_eq!(text(0), "0 bytes");
        assert_eq!(text(1023), "1023 bytes");
        assert_eq!(text(1024), "1 KiB");
        assert_eq!(text(1536 << 20), "1.5 GiB");
        assert_eq!(text(u64::MAX), "16777215.9 TiB");
    }
}
