//! When a write is answered, seen from the disk's side.
//!
//! The disk has a volatile cache that honours a flush (QEMU's `writeback`), and
//! QEMU counts both. That cannot show a power cut, but it shows the two ways to
//! get it wrong: an answer without a flush, and a flush for every answer. A host that
//! waits for each answer is served without flushes soon, by a disk that QEMU then says
//! it writes through.

use super::world::{self, CLIENT, NODE, blame, must};
use crate::client::{Client, Export, Flow};
use crate::{Context, Disk, Failure, Machine, Nic, OrFail, Report};

const MIB: u64 = 1 << 20;
/// Requests one after the other, each answered before the next.
const SINGLE: usize = 50;
/// The flushes of those by which the node notices.
const SINGLE_FLUSHES: u64 = 16;
/// Requests of the run with many on their way at once.
const MANY: usize = 2000;
const AT_ONCE: usize = 32;
/// Sharing must save at least this share of the flushes at that depth.
const WRITES_PER_FLUSH_MIN: u64 = 4;

/// A node, its export, and what the disk has counted so far.
struct Bench<'a> {
    context: &'a Context,
    node: Machine,
    client: Client,
    export: Export,
}

#[derive(Clone, Copy)]
struct Counted {
    writes: u64,
    flushes: u64,
}

impl<'a> Bench<'a> {
    fn new(
        context: &'a Context,
        name: &str,
        cache: &'static str,
        setting: &str,
    ) -> Result<Self, Failure> {
        let switch = context.switch(name)?;
        let disk = context.disk(name, 16 * MIB)?;
        let mut client = Client::new(&switch, CLIENT);
        let node = world::node(context, name)
            .append(setting)
            .disk(Disk::file(&disk).serial("durable").cache(cache))
            .nic(Nic::on(&switch, NODE[0]).mtu(9000))
            .start(context.folder())?;
        let export = world::one_export(context, &node, &mut client)?;
        Ok(Self {
            context,
            node,
            client,
            export,
        })
    }

    fn counted(&mut self) -> Result<Counted, Failure> {
        let counters = self.node.qmp().disk_counters(0)?;
        let number = |name: &str| {
            counters[name]
                .as_u64()
                .or_fail(format_args!("QEMU does not count {name}"))
        };
        Ok(Counted {
            writes: number("wr_operations")?,
            flushes: number("flush_operations")?,
        })
    }

    /// What the disk counts while `requests` writes are made, `at_once` on
    /// their way.
    fn write(&mut self, requests: usize, at_once: usize) -> Result<Counted, Failure> {
        let before = self.counted()?;
        let flow = Flow {
            sectors_per_frame: 8,
            outstanding: at_once,
            within: self.context.seconds(20),
            ..Flow::default()
        };
        self.client
            .write_pattern(&self.export, 0, requests * 8, requests as u64, flow)
            .map_err(blame(&self.node))?;
        let after = self.counted()?;
        Ok(Counted {
            writes: after.writes - before.writes,
            flushes: after.flushes - before.flushes,
        })
    }
}

pub(super) fn durable(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();

    let mut bench = Bench::new(context, "by-default", "writeback", "")?;
    let Counted { writes, flushes } = bench.write(SINGLE, 1)?;
    let is_through = bench.node.qmp().disk_writes_through(0)?;
    must(flushes == SINGLE_FLUSHES && is_through, &bench.node, || {
        format!(
            "{writes} writes, one after the other, were answered after {flushes} flushes; \
                 the disk writes through: {is_through}"
        )
    })?;
    let Counted { writes, flushes } = bench.write(MANY, AT_ONCE)?;
    let is_through = bench.node.qmp().disk_writes_through(0)?;
    must(!is_through, &bench.node, || {
        format!("{AT_ONCE} at once, and the disk is still made to write each one through")
    })?;
    must(
        flushes > 0 && flushes * WRITES_PER_FLUSH_MIN <= writes,
        &bench.node,
        || format!("{writes} writes, {AT_ONCE} at once, took {flushes} flushes"),
    )?;
    report.note(format!(
        "{AT_ONCE} at once: {:.1} writes share a flush",
        writes as f64 / flushes as f64
    ));

    // The operator's choice: answered at once, and FLUSH CACHE means it.
    let mut bench = Bench::new(context, "by-choice", "writeback", "ublade.cache=writeback")?;
    let Counted { writes, flushes } = bench.write(MANY, AT_ONCE)?;
    must(flushes == 0, &bench.node, || {
        format!("cache=writeback, and {writes} writes took {flushes} flushes")
    })?;
    let before = bench.counted()?;
    bench
        .client
        .flush(&bench.export, context.seconds(5))
        .map_err(blame(&bench.node))?;
    let after = bench.counted()?;
    must(after.flushes > before.flushes, &bench.node, || {
        "FLUSH CACHE EXT was answered and the disk saw no flush".to_owned()
    })?;

    // A disk without a volatile cache needs no flush.
    let mut bench = Bench::new(context, "no-cache", "writethrough", "")?;
    let Counted { writes, flushes } = bench.write(MANY, AT_ONCE)?;
    report.note(format!(
        "a disk without a cache: {writes} writes, {flushes} flushes"
    ));
    must(flushes == 0, &bench.node, || {
        format!("the disk has no cache to flush, and {writes} writes took {flushes} flushes")
    })?;
    Ok(report)
}
