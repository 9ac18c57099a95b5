//! Disks that fail, hang and disappear, beside disks that do not.
//!
//! One machine has every controller that we drive, and on each the same disk of
//! ours. One disk after another gets each fault there is; the hosts of all others
//! must notice nothing, and its own must hear of exactly what is gone, until it
//! is repaired.

use super::disks::flow;
use super::world::{self, CLIENT, NODE, blame, must, until};
use crate::client::{AtaRequest, Client, Export, Flow, Reply, ata, command};
use crate::faulty::{Fault, FaultyDisk};
use crate::network::Fate;
use crate::pattern::{self, SECTOR_BYTES};
use crate::{Context, Disk, Failure, Mac, Machine, Nic, Recipe, Report, Switch};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SECTORS: usize = 1024;
/// What all disks are written with first, and what with later.
const BEFORE: u64 = 1;
const AFTER: u64 = 2;
/// The sector that is bad, and a place that is well.
const BAD: u64 = 100;
const WELL: u64 = 300;
/// Sectors of each request of a crowd. All of them are no more than are taken.
const CROWD_SECTORS: usize = 16;
/// A second host, for what must go on beside the first one.
const SECOND: Mac = Mac::local(0x0002);
/// How long a disk hangs: several times what a host waits until it asks again.
const HANG: Duration = Duration::from_millis(600);

/// Where a disk hangs, by QEMU's names: the controllers, the disk, and its place.
type Model = (
    &'static str,
    Option<&'static str>,
    &'static str,
    &'static str,
);

/// In the order of their exports: that of the PCI addresses.
const MODELS: [Model; 5] = [
    (
        "virtio-scsi",
        Some("virtio-scsi-pci,id=virtio"),
        "scsi-hd",
        "bus=virtio.0",
    ),
    ("ahci", Some("ich9-ahci,id=sata"), "ide-hd", "bus=sata.0"),
    (
        "pvscsi",
        Some("pvscsi,id=vmware"),
        "scsi-hd",
        "bus=vmware.0",
    ),
    ("virtio-blk", None, "virtio-blk-pci", "queue-size=256"),
    ("nvme", None, "nvme", "max_ioqpairs=8"),
];

/// Those that QEMU takes away at once. A disk on PCI it asks for, and nobody can
/// take it from a guest that does not let go; a SATA drive it never takes.
const UNPLUGGABLE: [&str; 2] = ["virtio-scsi", "pvscsi"];

/// A node with all of them, and an initiator.
struct Bench<'a> {
    context: &'a Context,
    node: Machine,
    client: Client,
    switch: Switch,
    disks: Vec<FaultyDisk>,
    exports: Vec<Export>,
}

impl<'a> Bench<'a> {
    fn start(context: &'a Context, name: &str) -> Result<Self, Failure> {
        let switch = context.switch(name)?;
        let mut recipe = world::node(context, name).nic(Nic::on(&switch, NODE[0]).mtu(9000));
        let mut disks = Vec::new();
        for (serial, controller, model, place) in MODELS {
            let disk = FaultyDisk::serve(context.folder(), serial, SECTORS * SECTOR_BYTES)?;
            recipe = with_disk(recipe, &disk, serial, controller, model, place);
            disks.push(disk);
        }
        let mut client = Client::new(&switch, CLIENT);
        let node = recipe.start(context.folder())?;
        let exports = world::exports(context, &node, &mut client, MODELS.len())?;
        let mut bench = Self {
            context,
            node,
            client,
            switch,
            disks,
            exports,
        };
        for (index, (serial, ..)) in MODELS.iter().enumerate() {
            let identity = bench
                .client
                .identify(&bench.exports[index], context.seconds(20))
                .map_err(blame(&bench.node))?;
            must(identity.serial() == *serial, &bench.node, || {
                format!("export {index} is {} and not {serial}", identity.serial())
            })?;
            bench.write(index, 0, SECTORS, BEFORE)?;
        }
        Ok(bench)
    }

    fn flow(&self) -> Flow {
        flow(self.context, u8::MAX)
    }

    fn write(&mut self, disk: usize, lba: u64, sectors: usize, seed: u64) -> Result<(), Failure> {
        let flow = self.flow();
        self.client
            .write_pattern(&self.exports[disk], lba, sectors, seed, flow)
            .map_err(blame(&self.node))
            .map(drop)
    }

    fn check(&mut self, disk: usize, lba: u64, sectors: usize, seed: u64) -> Result<(), Failure> {
        let flow = self.flow();
        self.client
            .check_pattern(&self.exports[disk], lba, sectors, seed, flow)
            .map_err(blame(&self.node))
            .map(drop)
    }

    /// What one request for sectors ends with: whether it failed.
    fn fails(&mut self, disk: usize, opcode: u8, lba: u64) -> Result<bool, Failure> {
        let request = AtaRequest {
            flags: 0x40 | u8::from(opcode == ata::WRITE_EXT),
            count: u8::from(opcode != ata::FLUSH_EXT),
            opcode,
            lba,
            ..AtaRequest::default()
        };
        let mut data = Vec::new();
        if opcode == ata::WRITE_EXT {
            data.resize(SECTOR_BYTES, 0);
            pattern::fill(&mut data, lba, AFTER);
        }
        let expected = if opcode == ata::READ_EXT {
            SECTOR_BYTES
        } else {
            0
        };
        self.client
            .ata(
                &self.exports[disk],
                request,
                &data,
                expected,
                self.context.seconds(30),
            )
            .map_err(blame(&self.node))
            .map(|reply| reply.ata_failed())
    }

    /// All sectors are asked for at once. The frame with [`BAD`] in it must fail,
    /// and no other of the crowd, whatever a controller gives up for one error.
    fn only_one_fails(&mut self, disk: usize, opcode: u8) -> Result<(), Failure> {
        let export = &self.exports[disk];
        let mut asked = BTreeMap::new();
        for lba in (0..SECTORS as u64).step_by(CROWD_SECTORS) {
            let request = AtaRequest {
                flags: 0x40 | u8::from(opcode == ata::WRITE_EXT),
                count: CROWD_SECTORS as u8,
                opcode,
                lba,
                ..AtaRequest::default()
            };
            let mut argument = request.bytes().to_vec();
            if opcode == ata::WRITE_EXT {
                let mut data = [0; CROWD_SECTORS * SECTOR_BYTES];
                pattern::fill(&mut data, lba, BEFORE);
                argument.extend(data);
            }
            let tag = self.client.new_tag();
            let frame =
                self.client
                    .request(export.mac, export.address, command::ATA, tag, &argument);
            self.client.send(&frame);
            asked.insert(tag, lba);
        }
        let mut failed = Vec::new();
        while !asked.is_empty() {
            let within = self.context.seconds(20);
            let Some(reply) = self.client.receive(within) else {
                let sentence = format!("{} requests of a crowd are unanswered", asked.len());
                return Err(self.node.failure(sentence));
            };
            if let Some(lba) = asked.remove(&reply.tag())
                && reply.ata_failed()
            {
                failed.push(lba);
            }
        }
        let bad = BAD - BAD % CROWD_SECTORS as u64;
        must(failed == [bad], &self.node, || {
            let name = MODELS[disk].0;
            format!(
                "{name}: of a crowd with command {opcode:#x} those at {failed:?} failed, not {bad}"
            )
        })
    }

    /// The requests of a `fault` on `disk` must end as they say: `true` for those
    /// that fail.
    fn under(
        &mut self,
        disk: usize,
        fault: Fault,
        requests: &[(u8, u64, bool)],
    ) -> Result<(), Failure> {
        self.disks[disk].break_with(fault.clone());
        for &(opcode, lba, should_fail) in requests {
            let failed = self.fails(disk, opcode, lba)?;
            must(failed == should_fail, &self.node, || {
                format!(
                    "{} with {fault:?}: command {opcode:#x} at sector {lba} failed: {failed}",
                    MODELS[disk].0
                )
            })?;
        }
        must(self.disks[disk].hits() > 0, &self.node, || {
            format!("{fault:?} has hit nothing, so nothing was tried")
        })?;
        for other in (0..MODELS.len()).filter(|&other| other != disk) {
            self.check(other, BAD, 32, BEFORE)?;
            self.write(other, BAD, 32, BEFORE)?;
        }
        self.disks[disk].repair();
        // And each request that failed is well again.
        for &(opcode, lba, _) in requests {
            let failed = self.fails(disk, opcode, lba)?;
            must(!failed, &self.node, || {
                format!("{fault:?} was repaired, and command {opcode:#x} still fails")
            })?;
        }
        Ok(())
    }
}

fn with_disk(
    mut recipe: Recipe,
    disk: &FaultyDisk,
    serial: &str,
    controller: Option<&str>,
    model: &'static str,
    place: &str,
) -> Recipe {
    if let Some(controller) = controller {
        recipe = recipe.controller(controller);
    }
    let disk = Disk::backed_by(&disk.backing()).model(model);
    recipe.disk(disk.serial(serial).property(place))
}

/// Sectors that can not be read or written, and flushes that fail.
pub(super) fn failing_disks(context: &mut Context) -> Result<Report, Failure> {
    let mut bench = Bench::start(context, "errors")?;
    let (read, write, flush) = (ata::READ_EXT, ata::WRITE_EXT, ata::FLUSH_EXT);
    for disk in 0..MODELS.len() {
        let bad = BAD..BAD + 1;
        let around = [
            (read, BAD - 1, false),
            (read, BAD, true),
            (read, BAD + 1, false),
        ];
        bench.under(disk, Fault::Read(bad.clone()), &around)?;
        bench.disks[disk].break_with(Fault::Read(bad.clone()));
        bench.only_one_fails(disk, read)?;
        bench.disks[disk].repair();
        bench.check(disk, 0, SECTORS, BEFORE)?;

        let around = [
            (write, BAD - 1, false),
            (write, BAD, true),
            (read, BAD, false),
        ];
        bench.under(disk, Fault::Write(bad.clone()), &around)?;
        bench.check(disk, BAD - 1, 2, AFTER)?;
        bench.disks[disk].break_with(Fault::Write(bad));
        bench.only_one_fails(disk, write)?;
        bench.disks[disk].repair();
        // A write that can not be made durable is no write that may be answered.
        let durable = [(read, WELL, false), (write, WELL, true), (flush, 0, true)];
        bench.under(disk, Fault::Flush, &durable)?;
        bench.check(disk, WELL, 1, AFTER)?;
        bench.write(disk, 0, SECTORS, BEFORE)?;
    }
    for disk in 0..MODELS.len() {
        bench.check(disk, 0, SECTORS, BEFORE)?;
    }
    Ok(Report::new())
}

/// Disks that do not answer for a while.
pub(super) fn hanging_disks(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let mut bench = Bench::start(context, "hangs")?;
    for (disk, (serial, ..)) in MODELS.iter().enumerate() {
        let slowest = hangs(&mut bench, disk)?;
        report.note(format!(
            "{serial} hangs: a request elsewhere takes {:.0} ms at most",
            slowest.as_secs_f64() * 1e3
        ));
    }
    for disk in 0..MODELS.len() {
        bench.check(disk, 0, SECTORS, AFTER)?;
    }
    Ok(report)
}

/// One disk hangs under a host that writes all of it and asks again and again,
/// while another host uses all others. Returns how long one of its rounds took.
fn hangs(bench: &mut Bench<'_>, disk: usize) -> Result<Duration, Failure> {
    let seed = AFTER;
    let mut second = Client::new(&bench.switch, SECOND);
    let hung = bench.exports[disk].clone();
    bench.disks[disk].break_with(Fault::Hang);
    let flow = Flow {
        sectors_per_frame: 4,
        outstanding: 128,
        resend_after: HANG / 4,
        within: bench.context.seconds(40),
    };
    // None is answered while the disk hangs: more than it has on its way at once are
    // the same ones again.
    let at_once = flow.outstanding.min(usize::from(hung.buffers));
    let asked = Arc::new(AtomicUsize::new(0));
    bench.switch.set_fault({
        let asked = Arc::clone(&asked);
        move |passing| {
            if passing.frame.get(6..12) == Some(&SECOND.0) {
                asked.fetch_add(1, Ordering::SeqCst);
            }
            Fate::Pass
        }
    });
    let ended = thread::scope(|scope| {
        let writer = scope.spawn(move || second.write_pattern(&hung, 0, SECTORS, seed, flow));
        let (disks, node) = (&bench.disks, &bench.node);
        let held = until(
            bench.context.seconds(20),
            node,
            || format!("nothing was asked of {}", MODELS[disk].0),
            || disks[disk].hits() > 0,
        );
        let outcome = held
            .and_then(|()| others_go_on(bench, disk))
            .and_then(|slowest| {
                until(
                    bench.context.seconds(20),
                    &bench.node,
                    || "the disk hangs, and its host does not ask again".to_owned(),
                    || asked.load(Ordering::SeqCst) > at_once,
                )?;
                Ok(slowest)
            });
        bench.disks[disk].repair();
        let written = writer.join().expect("a writer does not panic");
        let slowest = outcome?;
        let written = written.map_err(blame(&bench.node))?;
        must(written.resends > 0, &bench.node, || {
            "the disk hung, and its host never asked again".to_owned()
        })?;
        bench.check(disk, 0, SECTORS, AFTER)?;
        Ok(slowest)
    });
    bench.switch.clear_fault();
    ended
}

/// For as long as the disk hangs, every other one is used, and the hung export
/// itself still says who it is.
fn others_go_on(bench: &mut Bench<'_>, disk: usize) -> Result<Duration, Failure> {
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut rounds = 0;
    while began.elapsed() < HANG || rounds < 2 {
        for other in (0..MODELS.len()).filter(|&other| other != disk) {
            let asked = Instant::now();
            let seed = if other < disk { AFTER } else { BEFORE };
            bench.check(other, WELL, 16, seed)?;
            bench.write(other, WELL, 16, seed)?;
            slowest = slowest.max(asked.elapsed());
        }
        rounds += 1;
    }
    let identity = bench
        .client
        .identify(&bench.exports[disk], bench.context.seconds(20))
        .map_err(blame(&bench.node))?;
    must(identity.serial() == MODELS[disk].0, &bench.node, || {
        format!("a hung disk is called {:?}", identity.serial())
    })?;
    Ok(slowest)
}

/// Disks that are taken away while they are written.
pub(super) fn unplugged_disks(context: &mut Context) -> Result<Report, Failure> {
    let mut bench = Bench::start(context, "unplugged")?;
    for (disk, (serial, ..)) in MODELS.iter().enumerate() {
        if UNPLUGGABLE.contains(serial) {
            unplug(&mut bench, disk)?;
        }
    }
    for (disk, (serial, ..)) in MODELS.iter().enumerate() {
        if UNPLUGGABLE.contains(serial) {
            bring_back(&mut bench, disk)?;
        }
    }
    plug_in(&mut bench)?;
    Ok(Report::new())
}

/// A disk that comes while the node runs, behind an adapter that tells of it and behind
/// one that does not, is announced, is who it is and keeps what is written, and nobody
/// else notices.
fn plug_in(bench: &mut Bench<'_>) -> Result<(), Failure> {
    for (serial, bus, target) in [("told", "virtio.0", 3), ("found", "vmware.0", 5)] {
        let slot = bench.exports.len() as u8;
        let disk = FaultyDisk::serve(bench.context.folder(), serial, SECTORS * SECTOR_BYTES)?;
        bench.client.forget();
        bench
            .node
            .qmp()
            .run("blockdev-add", disk.block_node(serial))?;
        bench.node.qmp().device_add(json!({
            "driver": "scsi-hd", "id": serial, "bus": bus, "drive": serial, "serial": serial,
            "scsi-id": target, "lun": 0, "write-cache": "on",
        }))?;
        bench.disks.push(disk);
        let is_told = |reply: &Reply| reply.tag() == 0 && reply.address().slot == slot;
        let told = bench.client.expect(bench.context.seconds(60), is_told);
        must(told.is_some(), &bench.node, || {
            format!("{serial} was plugged in and not announced as slot {slot}")
        })?;
        let exports = world::exports(
            bench.context,
            &bench.node,
            &mut bench.client,
            usize::from(slot) + 1,
        )?;
        bench.exports = exports;
        let export = usize::from(slot);
        let identity = bench
            .client
            .identify(&bench.exports[export], bench.context.seconds(20))
            .map_err(blame(&bench.node))?;
        must(identity.serial() == serial, &bench.node, || {
            format!("slot {slot} is {} and not {serial}", identity.serial())
        })?;
        bench.write(export, 0, SECTORS, AFTER)?;
        bench.check(export, 0, SECTORS, AFTER)?;
        bench.check(MODELS.len() - 1, 0, SECTORS, BEFORE)?;
    }
    Ok(())
}

/// Plugs a disk in again, in the middle of writes elsewhere: it is known by its serial
/// number, has what it had, and takes writes.
fn bring_back(bench: &mut Bench<'_>, disk: usize) -> Result<(), Failure> {
    let (serial, _, model, place) = MODELS[disk];
    let bus = place.strip_prefix("bus=").expect("it hangs on a bus");
    let node = format!("back{disk}");
    let device = json!({
        "driver": model, "id": format!("disk{disk}"), "bus": bus, "drive": node,
        "serial": serial, "scsi-id": 0, "lun": 0, "write-cache": "on",
    });
    bench
        .node
        .qmp()
        .run("blockdev-add", bench.disks[disk].block_node(&node))?;
    let mut second = Client::new(&bench.switch, SECOND);
    let busy = MODELS
        .iter()
        .position(|(serial, ..)| !UNPLUGGABLE.contains(serial));
    let busy = bench.exports[busy.expect("one stays")].clone();
    let (flow, within) = (bench.flow(), bench.context.seconds(30));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let is_over = &is_over;
        let writer = scope.spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                second.write_pattern(&busy, 0, SECTORS, BEFORE, flow)?;
            }
            Ok(())
        });
        let back = bench.node.qmp().device_add(device);
        let sentence = format!("({serial}) is back");
        let back = back.and_then(|()| bench.node.wait_for(&sentence, within));
        is_over.store(true, Ordering::SeqCst);
        let written = writer.join().expect("a writer does not panic");
        back?;
        written.map_err(blame(&bench.node))
    })?;
    must(
        !bench.fails(disk, ata::READ_EXT, WELL)?,
        &bench.node,
        || format!("{serial} is back, and what it had is not read"),
    )?;
    must(!bench.fails(disk, ata::FLUSH_EXT, 0)?, &bench.node, || {
        format!("{serial} is back, its host has heard of it, and a flush fails")
    })?;
    bench.write(disk, 0, SECTORS, BEFORE)?;
    for (other, (serial, ..)) in MODELS.iter().enumerate() {
        if !UNPLUGGABLE.contains(serial) || other <= disk {
            bench.check(other, 0, SECTORS, BEFORE)?;
        }
    }
    Ok(())
}

/// Takes a disk away in the middle of writes: they fail, the console has a word
/// for it, and nobody else notices.
fn unplug(bench: &mut Bench<'_>, disk: usize) -> Result<(), Failure> {
    let mut second = Client::new(&bench.switch, SECOND);
    let gone = bench.exports[disk].clone();
    let flow = bench.flow();
    let is_written = AtomicBool::new(false);
    let failure = thread::scope(|scope| {
        let (gone, is_written) = (&gone, &is_written);
        let writer = scope.spawn(move || {
            loop {
                let pass = second.write_pattern(gone, 0, SECTORS, AFTER, flow);
                is_written.store(true, Ordering::SeqCst);
                if let Err(failure) = pass {
                    return failure;
                }
            }
        });
        let written = until(
            bench.context.seconds(20),
            &bench.node,
            || "nothing was written".to_owned(),
            || is_written.load(Ordering::SeqCst),
        );
        // In any case, or the writer never ends.
        let unplugged = bench.node.qmp().device_del(&format!("disk{disk}"));
        let unplugged = written.and(unplugged);
        let failure = writer.join().expect("a writer does not panic");
        unplugged.map(|()| failure)
    })?;
    must(
        failure.sentence().contains("fails with status"),
        &bench.node,
        || {
            format!(
                "the disk is gone, and its writer says: {}",
                failure.sentence()
            )
        },
    )?;
    for opcode in [ata::READ_EXT, ata::WRITE_EXT, ata::FLUSH_EXT] {
        must(bench.fails(disk, opcode, WELL)?, &bench.node, || {
            format!("the disk is gone, and command {opcode:#x} is served")
        })?;
    }
    let within = bench.context.seconds(20);
    bench.node.wait_for("is gone", within)?;
    for (other, (serial, ..)) in MODELS.iter().enumerate() {
        if !UNPLUGGABLE.contains(serial) {
            bench.check(other, 0, SECTORS, BEFORE)?;
            bench.write(other, 0, SECTORS, BEFORE)?;
        }
    }
    Ok(())
}
