//! The power fails while hosts write: what was answered is there afterwards.
//!
//! The node's disk is a server of ours with a volatile cache that honours a flush.
//! Disk and wire write one journal, and every entry of it is taken as a cut: not
//! one of them may lose what was answered before it. Then the power does fail, at
//! once for node and disk; the disk comes back with what was durable and whatever
//! else its cache happened to have written, and a new node must serve it.

use super::world::{self, CLIENT, HOST, NODE, SHELF, blame, must, until};
use crate::client::{AtaRequest, Client, Export, Flow, ata};
use crate::initiator::Linux;
use crate::journal::{self, Entry, Walk};
use crate::network::{ETHERTYPE_AOE, Fate};
use crate::pattern::SECTOR_BYTES;
use crate::volatile::{Journal, VolatileDisk};
use crate::{Context, Disk, Failure, Machine, Nic, Recipe, Report, Switch};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const SECTORS: usize = 4096;
/// The whole disk is written so often, and then once more until the power fails.
const PASSES: u64 = 3;
/// Writes of a host that waits for each, before that, and the flushes that they cost a
/// disk that can write through: those by which the node notices.
const LONE: usize = 100;
const LONE_FLUSHES: u64 = 16;
/// Answers of the last pass before that.
const ANSWERS_BEFORE_THE_CUT: usize = 150;
/// Answers to Linux between its writers' first round and the cut.
const ANSWERS_TO_LINUX: usize = 500;
/// Linux's writers, the places that each writes in turn, and what a place holds:
/// lines that say which write they are of (`guest/power-cut.sh`).
const STREAMS: usize = 3;
const SLOTS: usize = 8;
const BLOCK_BYTES: usize = 4096;
const LINE_BYTES: usize = 32;
const LINUX_WRITES: &str = include_str!("../../guest/power-cut.sh");
/// How long a line takes from Linux to us.
const TOLD_WITHIN: Duration = Duration::from_millis(500);
/// Never reached: without a cut.
const NO_CUT: usize = usize::MAX;

/// ATA flags: a long address.
const LBA48: u8 = 0x40;
/// Where things are in a frame.
const FLAGS: usize = 14;
const RESPONSE: u8 = 0x08;
const FAILED: u8 = 0x04;
const COMMAND: usize = 19;
const TAG: usize = 20;
const COUNT: usize = 26;
const STATUS: usize = 27;
const LBA: usize = 28;
const DATA: usize = 36;

/// A switch whose traffic goes into a journal.
struct Bench<'a> {
    context: &'a Context,
    switch: Switch,
    client: Client,
    journal: Journal,
    /// Writes that are still to be answered before the power is cut.
    answers_left: Arc<AtomicUsize>,
}

impl<'a> Bench<'a> {
    fn new(context: &'a Context, name: &str) -> Result<Self, Failure> {
        let switch = context.switch(name)?;
        Ok(Self {
            context,
            client: Client::new(&switch, CLIENT),
            switch,
            journal: Journal::default(),
            answers_left: Arc::new(AtomicUsize::new(NO_CUT)),
        })
    }

    /// Writes down what passes by, and cuts the power of `disk` when it is time.
    fn watch(&self, disk: &VolatileDisk) {
        let journal = self.journal.clone();
        let left = Arc::clone(&self.answers_left);
        let power = disk.switch();
        let mut asked = HashSet::new();
        self.switch.set_fault(move |passing| {
            if left.load(Ordering::SeqCst) == 0 {
                power.cut();
                return Fate::Lose;
            }
            if let Some(entry) = entry_of(passing.frame) {
                // A good answer to a question that was no write does not count.
                if let Entry::Asked { request, .. } = &entry {
                    asked.insert(*request);
                }
                let is_done = matches!(&entry, Entry::Answered(request) if asked.remove(request));
                if is_done && left.load(Ordering::SeqCst) != NO_CUT {
                    left.fetch_sub(1, Ordering::SeqCst);
                }
                journal.add(entry);
            }
            Fate::Pass
        });
    }

    fn start(
        &mut self,
        name: &str,
        recipe: &dyn Fn(Recipe) -> Recipe,
        disk: &VolatileDisk,
        model: &'static str,
    ) -> Result<(Machine, Export), Failure> {
        let mut backing = Disk::backed_by(&disk.backing()).serial("cut");
        if model != "virtio-blk" {
            backing = backing.model(model);
        }
        let node = world::node(self.context, name)
            .disk(backing)
            .nic(Nic::on(&self.switch, NODE[0]).mtu(9000));
        let node = recipe(node).start(self.context.folder())?;
        let export = world::one_export(self.context, &node, &mut self.client)?;
        Ok((node, export))
    }

    /// Everything that a new node serves from what a power cut left of `disk`: what
    /// was durable, and of the cache what it had written by chance, the same in
    /// every run. Every sector holds what it may.
    fn come_back(
        &mut self,
        model: &'static str,
        disk: &VolatileDisk,
        walk: &mut Walk,
    ) -> Result<Vec<u8>, Failure> {
        let mut state = 1u64;
        let left = disk.left(|versions| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % versions
        });
        let again = format!("{model}-again");
        let folder = self.context.folder();
        let disk = VolatileDisk::serve(folder, &again, left, &Journal::default())?;
        self.switch.clear_fault();
        let (node, export) = self.start(&again, &|recipe| recipe, &disk, model)?;
        let mut content = Vec::with_capacity(SECTORS * SECTOR_BYTES);
        for lba in (0..SECTORS as u64).step_by(8) {
            let read = AtaRequest {
                flags: LBA48,
                feature: 0,
                count: 8,
                opcode: ata::READ_EXT,
                lba,
            };
            let within = self.context.seconds(20);
            let reply = self
                .client
                .ata(&export, read, &[], 8 * SECTOR_BYTES, within)
                .map_err(blame(&node))?;
            content.extend(&reply.frame[DATA..DATA + 8 * SECTOR_BYTES]);
        }
        for (lba, sector) in (0..).zip(content.chunks(SECTOR_BYTES)) {
            must(walk.allows(lba, sector), &node, || {
                format!("after the power cut sector {lba} holds what it may not")
            })?;
        }
        Ok(content)
    }

    /// Every cut of the journal, judged.
    fn judge(&self) -> Result<Walk, String> {
        journal::walk(&self.journal.entries())
    }
}

/// The journal's view of a frame: a write, or a good answer to one.
fn entry_of(frame: &[u8]) -> Option<Entry> {
    let is_ata = frame.len() >= DATA
        && frame[12..14] == ETHERTYPE_AOE.to_be_bytes()
        && frame[COMMAND] == crate::client::command::ATA;
    if !is_ata {
        return None;
    }
    let mac = |at: usize| -> Option<[u8; 6]> { frame.get(at..at + 6)?.try_into().ok() };
    let tag = u32::from_be_bytes(frame[TAG..TAG + 4].try_into().ok()?);
    if frame[FLAGS] & RESPONSE != 0 {
        let is_good = frame[FLAGS] & FAILED == 0 && frame[STATUS] & 1 == 0;
        return is_good.then_some(Entry::Answered((mac(0)?, tag)));
    }
    if frame[STATUS] != ata::WRITE_EXT {
        return None;
    }
    let mut lba = [0; 8];
    lba[..6].copy_from_slice(&frame[LBA..LBA + 6]);
    let bytes = usize::from(frame[COUNT]) * SECTOR_BYTES;
    Some(Entry::Asked {
        request: (mac(6)?, tag),
        lba: u64::from_le_bytes(lba),
        sectors: journal::digests(frame.get(DATA..DATA + bytes)?),
    })
}

/// On virtio, AHCI and NVMe, with default settings.
pub(super) fn power_cut(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    for model in ["virtio-blk", "ide-hd", "nvme"] {
        let told = survives(context, model)?;
        report.note(format!("{model}: {told}"));
    }
    the_judge_can_say_no(context)?;
    Ok(report)
}

fn survives(context: &Context, model: &'static str) -> Result<String, Failure> {
    let mut bench = Bench::new(context, model)?;
    let content = vec![0; SECTORS * SECTOR_BYTES];
    let disk = VolatileDisk::serve(context.folder(), model, content, &bench.journal)?;
    bench.watch(&disk);
    let (mut node, export) = bench.start(model, &|recipe| recipe, &disk, model)?;
    let flow = |seconds| Flow {
        sectors_per_frame: 8,
        outstanding: 32,
        within: context.seconds(seconds),
        ..Flow::default()
    };
    let alone = Flow {
        outstanding: 1,
        ..flow(40)
    };
    let lone = bench
        .client
        .write_pattern(&export, 0, 8 * LONE, PASSES + 1, alone)
        .map_err(blame(&node))?;
    let flushes = node.qmp().disk_counters(0)?["flush_operations"].as_u64();
    must(
        model != "virtio-blk" || flushes == Some(LONE_FLUSHES),
        &node,
        || format!("{} lone writes cost {flushes:?} flushes", lone.requests),
    )?;
    for seed in 0..PASSES {
        bench
            .client
            .write_pattern(&export, 0, SECTORS, seed, flow(40))
            .map_err(blame(&node))?;
    }
    bench
        .answers_left
        .store(ANSWERS_BEFORE_THE_CUT, Ordering::SeqCst);
    let ended = bench
        .client
        .write_pattern(&export, 0, SECTORS, PASSES, flow(8));
    must(ended.is_err(), &node, || {
        "the power failed, and all writes were answered".to_owned()
    })?;
    let mut walk = bench.judge().map_err(|sentence| node.failure(sentence))?;
    node.kill();

    bench.come_back(model, &disk, &mut walk)?;
    Ok(format!(
        "{} answered writes, {} cuts, {SECTORS} sectors read after the last",
        walk.answered, walk.cuts
    ))
}

/// Linux writes, with its own driver, and reports every write that it was told is
/// done. Power fails for all three at once: the host, the node and its disk.
pub(super) fn power_cut_linux(context: &mut Context) -> Result<Report, Failure> {
    const MODEL: &str = "virtio-blk";
    let mut bench = Bench::new(context, "net")?;
    let content = vec![0; SECTORS * SECTOR_BYTES];
    let disk = VolatileDisk::serve(context.folder(), "disk", content, &bench.journal)?;
    bench.watch(&disk);
    let (node, _) = bench.start("node", &|recipe| recipe, &disk, MODEL)?;
    let guest = Linux::prepare(context.debs())?.start(
        context,
        "linux",
        [Nic::on(&bench.switch, HOST[0]).mtu(9000)],
        &format!("EXPORT=e{SHELF}.0 STREAMS={STREAMS} SLOTS={SLOTS}\n{LINUX_WRITES}"),
    )?;
    guest.ok("writing", context.seconds(60))?;
    // Every place of every writer has been written, and then once more.
    let is_under_way = |console: &str| {
        let told = acknowledged(console);
        told.len() == STREAMS * SLOTS && told.values().all(|write| *write >= SLOTS)
    };
    until(
        context.seconds(60),
        &node,
        || "Linux does not get on with its writes".to_owned(),
        || is_under_way(&guest.machine().console().text()),
    )?;
    bench.answers_left.store(ANSWERS_TO_LINUX, Ordering::SeqCst);
    until(
        context.seconds(40),
        &node,
        || "Linux does not write on".to_owned(),
        || bench.answers_left.load(Ordering::SeqCst) == 0,
    )?;
    disk.switch().cut();
    // What was answered last is still on its way to the console.
    thread::sleep(TOLD_WITHIN);
    let told = acknowledged(&guest.machine().console().text());
    drop(guest);
    let mut walk = bench.judge().map_err(|sentence| node.failure(sentence))?;
    must(walk.answered > ANSWERS_TO_LINUX, &node, || {
        format!("{} writes of Linux were answered", walk.answered)
    })?;
    node.kill();

    let after = bench.come_back(MODEL, &disk, &mut walk)?;
    for (&(stream, slot), &write) in &told {
        let block = &after[(stream * SLOTS + slot) * BLOCK_BYTES..][..BLOCK_BYTES];
        for line in block.chunks(LINE_BYTES) {
            let found = writes_in(&String::from_utf8_lossy(line));
            // The next write to the same place may have come through unanswered.
            let is_there = found.is_some_and(|(of, found)| of == stream && found >= write);
            if !is_there {
                return Err(Failure::new(format!(
                    "Linux was told that write {write} of stream {stream} is done; after the \
                     power cut {found:?} is there"
                )));
            }
        }
    }
    let reported = told.values().max().copied().unwrap_or(0);
    let mut report = Report::new();
    report.note(format!(
        "{} answered writes of Linux, {} cuts, streams of up to {reported} reported writes, \
         {SECTORS} sectors read after the last",
        walk.answered, walk.cuts
    ));
    Ok(report)
}

/// The last write that Linux reports for each place: by stream and slot.
fn acknowledged(console: &str) -> BTreeMap<(usize, usize), usize> {
    let mut last = BTreeMap::new();
    for line in console.lines() {
        let words = line
            .split_once("UBLADE: ok acknowledged ")
            .and_then(|(_, rest)| rest.strip_suffix(" :end"))
            .and_then(|words| words.split_once(' '));
        if let Some((stream, write)) = words
            && let (Ok(stream), Ok(write)) = (stream.parse(), write.parse::<usize>())
        {
            last.insert((stream, write % SLOTS), write);
        }
    }
    last
}

/// Stream and number of the write that a line of a block names.
fn writes_in(line: &str) -> Option<(usize, usize)> {
    let words = line.strip_prefix("stream ")?.strip_suffix('|')?.trim_end();
    let (stream, write) = words.split_once(" write ")?;
    Some((stream.parse().ok()?, write.parse().ok()?))
}

/// With `cache=writeback` the operator has given the promise away; if the judge
/// does not notice, it is blind.
fn the_judge_can_say_no(context: &Context) -> Result<(), Failure> {
    let mut bench = Bench::new(context, "blind")?;
    let content = vec![0; SECTORS * SECTOR_BYTES];
    let disk = VolatileDisk::serve(context.folder(), "blind", content, &bench.journal)?;
    bench.watch(&disk);
    let promise_less = |recipe: Recipe| recipe.append("ublade.cache=writeback");
    let (node, export) = bench.start("blind", &promise_less, &disk, "virtio-blk")?;
    let flow = Flow {
        within: context.seconds(20),
        ..Flow::default()
    };
    bench
        .client
        .write_pattern(&export, 0, 256, 1, flow)
        .map_err(blame(&node))?;
    must(bench.judge().is_err(), &node, || {
        "nothing was flushed, and the judge finds nothing to lose".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_report_of_a_place_counts_and_a_line_cut_off_does_not() {
        let console = "UBLADE: ok acknowledged 1 3 :end\nx\nUBLADE: ok acknowledged 1 11 :end\n\
                       UBLADE: ok acknowledged 2 5 :end\nUBLADE: ok acknowledged 2 13";
        let told = acknowledged(console);
        assert_eq!(told, BTreeMap::from([((1, 3), 11), ((2, 5), 5)]));
    }

    #[test]
    fn a_line_of_a_block_names_its_write_and_half_a_line_does_not() {
        let line = format!("{:<31}|", "stream 2 write 17");
        assert_eq!(line.len(), LINE_BYTES);
        assert_eq!(writes_in(&line), Some((2, 17)));
        assert_eq!(writes_in(&line[..31]), None);
        assert_eq!(writes_in(&"\0".repeat(LINE_BYTES)), None);
    }
}
