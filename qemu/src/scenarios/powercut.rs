//! The power fails while hosts write: what was answered is there afterwards.
//!
//! The node's disk is a server of ours with a volatile cache that honours a flush.
//! Disk and wire write one journal, and every entry of it is taken as a cut: not
//! one of them may lose what was answered before it. Then the power does fail, at
//! once for node and disk; the disk comes back with what was durable and whatever
//! else its cache happened to have written, and a new node must serve it.

use super::world::{self, CLIENT, NODE, blame, must};
use crate::client::{AtaRequest, Client, Export, Flow, ata};
use crate::journal::{self, Entry, Walk};
use crate::network::{ETHERTYPE_AOE, Fate};
use crate::pattern::SECTOR_BYTES;
use crate::volatile::{Journal, VolatileDisk};
use crate::{Context, Disk, Failure, Machine, Nic, Recipe, Report, Switch};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SECTORS: usize = 4096;
/// The whole disk is written so often, and then once more until the power fails.
const PASSES: u64 = 3;
/// Answers of the last pass before that.
const ANSWERS_BEFORE_THE_CUT: usize = 150;
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
    /// Good answers after which the power is cut.
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
        self.switch.set_fault(move |passing| {
            if left.load(Ordering::SeqCst) == 0 {
                power.cut();
                return Fate::Lose;
            }
            if let Some(entry) = entry_of(passing.frame) {
                if matches!(entry, Entry::Answered(_)) && left.load(Ordering::SeqCst) != NO_CUT {
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
    let (node, export) = bench.start(model, &|recipe| recipe, &disk, model)?;
    let flow = |seconds| Flow {
        sectors_per_frame: 8,
        outstanding: 32,
        within: context.seconds(seconds),
        ..Flow::default()
    };
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

    // What the cache had written by chance: the same in every run.
    let mut state = 1u64;
    let left = disk.left(|versions| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % versions
    });
    drop(disk);
    let again = format!("{model}-again");
    let disk = VolatileDisk::serve(context.folder(), &again, left, &Journal::default())?;
    bench.switch.clear_fault();
    let (node, export) = bench.start(&again, &|recipe| recipe, &disk, model)?;
    for lba in (0..SECTORS as u64).step_by(8) {
        let read = AtaRequest {
            flags: LBA48,
            feature: 0,
            count: 8,
            opcode: ata::READ_EXT,
            lba,
        };
        let reply = bench
            .client
            .ata(&export, read, &[], 8 * SECTOR_BYTES, context.seconds(5))
            .map_err(blame(&node))?;
        for (lba, sector) in (lba..).zip(reply.frame[DATA..].chunks(SECTOR_BYTES)) {
            must(walk.allows(lba, sector), &node, || {
                format!("after the power cut sector {lba} holds what it may not")
            })?;
        }
    }
    Ok(format!(
        "{} answered writes, {} cuts, {SECTORS} sectors read after the last",
        walk.answered, walk.cuts
    ))
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
