//! The node's own disk: settings come from it, state survives on it, nobody gets it.
//!
//! The disk is laid out as our image is: an MBR, a FAT volume labelled UBLADE, and
//! a state partition of type 0xDA that has never been written. It is sparse, and
//! the boot file comes by another way: what is tested here is what lies on it.

use super::world::{self, CLIENT, NODE, blame, must};
use crate::client::{Address, Client, Export};
use crate::{Context, Disk, Failure, Machine, Nic, OrFail, Report};
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const SECTOR: usize = 512;
/// First sector and sectors of the two partitions.
const STATE: (usize, usize) = (1536, 512);
const VOLUME: (usize, usize) = (2048, 4096);
/// Shelf that only `ublade.conf` names.
const SHELF: u16 = 77;
/// How often the node is killed while it writes its state: always, and when there is
/// time.
const KILLS: u64 = 10;
const MANY_KILLS: u64 = 200;

/// Puts a volume with `ublade.conf` into `disk`.
fn put_volume(disk: &mut [u8], label: &str, conf: &str) -> Result<(), Failure> {
    let mut padded = [b' '; 11];
    padded[..label.len()].copy_from_slice(label.as_bytes());
    let options = fatfs::FormatVolumeOptions::new().volume_label(padded);
    fatfs::format_volume(Cursor::new(&mut *disk), options).or_fail("a volume can be made")?;
    let system = fatfs::FileSystem::new(Cursor::new(disk), fatfs::FsOptions::new())
        .or_fail("the volume can be opened")?;
    let mut file = system
        .root_dir()
        .create_file("ublade.conf")
        .or_fail("a file can be made")?;
    file.write_all(conf.as_bytes())
        .or_fail("the file can be written")
}

/// A disk as our image lays it out.
pub(super) fn boot_disk(folder: &Path, conf: &str) -> Result<PathBuf, Failure> {
    let mut disk = vec![0; (VOLUME.0 + VOLUME.1) * SECTOR];
    for (index, (kind, (first, sectors))) in [(0x0e, VOLUME), (0xda, STATE)].iter().enumerate() {
        let entry = &mut disk[446 + index * 16..][..16];
        entry[4] = *kind;
        entry[8..12].copy_from_slice(&(*first as u32).to_le_bytes());
        entry[12..].copy_from_slice(&(*sectors as u32).to_le_bytes());
    }
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    put_volume(&mut disk[VOLUME.0 * SECTOR..], "UBLADE", conf)?;
    let path = folder.join("boot.img");
    fs::write(&path, disk).or_fail("the boot disk can be written")?;
    Ok(path)
}

/// The one export, and that it is not the node's own disk.
fn the_export(context: &Context, node: &Machine, client: &mut Client) -> Result<Export, Failure> {
    let exports = world::exports(context, node, client, 1)?;
    must(exports.len() == 1, node, || {
        format!("{} exports answer, and one is to be there", exports.len())
    })?;
    let export = exports.into_iter().next().or_fail("there is one")?;
    must(
        export.address
            == Address {
                shelf: SHELF,
                slot: 0,
            },
        node,
        || format!("{} answers, not e{SHELF}.0 of ublade.conf", export.address),
    )?;
    let within = context.seconds(5);
    let serial = client
        .identify(&export, within)
        .map_err(blame(node))?
        .serial();
    must(serial == "data", node, || {
        format!("the export is disk {serial:?}, not the data disk")
    })?;
    Ok(export)
}

pub(super) fn settings(context: &mut Context) -> Result<Report, Failure> {
    let switch = context.switch("net")?;
    let mut client = Client::new(&switch, CLIENT);
    let conf = format!(
        "# cellar\nshelf={SHELF}\nrw=all\nbuffers=4\nmtu=1400\nbogus=1\nslot.3=serial:own\n"
    );
    let boot = boot_disk(context.folder(), &conf)?;
    let data = context.disk("data", MIB)?;
    let mut report = Report::new();
    for model in [None, Some("nvme")] {
        let name = model.unwrap_or("virtio");
        let mut own = Disk::file(&boot).serial("own");
        if let Some(model) = model {
            own = own.model(model);
        }
        let node = context
            .node(name)
            .append("ublade.buffers=6")
            .disk(own)
            .disk(Disk::file(&data).serial("data"))
            .arguments(&[
                "-fw_cfg",
                "name=opt/org.ublade/config,string=buffers=5",
                "-smbios",
                "type=11,value=org.ublade.config:mtu=1300,value=org.ublade.config:buffers=3",
            ])
            .nic(Nic::on(&switch, NODE[0]))
            .start(context.folder())?;
        let export = the_export(context, &node, &mut client)?;
        must(export.buffers == 6, &node, || {
            format!(
                "{} buffers are offered, 6 is the command line's word",
                export.buffers
            )
        })?;
        // In the order in which they are said.
        for line in [
            "ublade.conf, line 6: bogus=1: no such setting",
            "slot.3=serial:own: this is the node's own boot disk and is never exported",
            "it is a boot disk of ublade: not exported",
            "setting rw=all (ublade.conf)",
            "setting mtu=1300 (SMBIOS)",
            "setting buffers=6 (command line)",
        ] {
            report.note(node.wait_for(line, context.seconds(5))?);
        }
        node.quit()?;
    }
    Ok(report)
}

/// The config string of the export, with as much patience as a start needs.
fn string(context: &Context, client: &mut Client, export: &Export) -> Result<Vec<u8>, Failure> {
    let deadline = Instant::now() + context.seconds(5);
    while Instant::now() < deadline {
        let wait = Duration::from_millis(100);
        let reply = client.config(export.mac, export.address, 0, b"", wait);
        if let Some(argument) = reply.as_ref().map(|reply| reply.argument()) {
            let len = usize::from(u16::from_be_bytes([argument[6], argument[7]]));
            return Ok(argument[8..8 + len].to_vec());
        }
    }
    Err(Failure::new("the config string is not told"))
}

pub(super) fn state(context: &mut Context) -> Result<Report, Failure> {
    killed(context, KILLS)
}

pub(super) fn state_long(context: &mut Context) -> Result<Report, Failure> {
    killed(context, MANY_KILLS)
}

fn killed(context: &Context, kills: u64) -> Result<Report, Failure> {
    let switch = context.switch("net")?;
    let mut client = Client::new(&switch, CLIENT);
    let boot = boot_disk(context.folder(), &format!("shelf={SHELF}\nrw=all\n"))?;
    let data = context.disk("data", MIB)?;
    // What the host was told last, and what it has asked for since.
    let (mut told, mut asked) = (Vec::new(), Vec::new());
    let mut random: u64 = 0x5eed;
    let (mut old, mut new, mut acknowledged) = (0, 0, 0);
    for round in 0..=kills {
        let node = context
            .node(&format!("node-{round}"))
            .disk(Disk::file(&boot).serial("own"))
            .disk(Disk::file(&data).serial("data"))
            .nic(Nic::on(&switch, NODE[0]))
            .start(context.folder())?;
        let export = the_export(context, &node, &mut client)?;
        let found = string(context, &mut client, &export).map_err(blame(&node))?;
        must(found == told || found == asked, &node, || {
            format!(
                "after kill {round} the string is {:?}; told was {:?}, asked for {:?}",
                String::from_utf8_lossy(&found),
                String::from_utf8_lossy(&told),
                String::from_utf8_lossy(&asked),
            )
        })?;
        if round > 0 && told != asked {
            old += u64::from(found == told);
            new += u64::from(found == asked);
        }
        told = found;
        if round == kills {
            break;
        }
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let until = Instant::now() + Duration::from_micros((random >> 33) % 40_000);
        for count in 0.. {
            asked = format!("round {round} set {count} {}", "x".repeat(count % 900)).into_bytes();
            let mut argument = vec![0, 0, 0, 0, 0, 4];
            argument.extend((asked.len() as u16).to_be_bytes());
            argument.extend(&asked);
            let left = until.saturating_duration_since(Instant::now());
            let reply = client.exchange(export.mac, export.address, 1, &argument, left);
            match reply {
                Some(_) => {
                    told.clone_from(&asked);
                    acknowledged += 1;
                }
                None => break,
            }
        }
        node.kill();
        client.forget();
    }
    let mut report = Report::new();
    report.note(format!(
        "{kills} kills behind {acknowledged} sets that were told: of those under way {old} were lost, {new} kept, none was half"
    ));
    Ok(report)
}
