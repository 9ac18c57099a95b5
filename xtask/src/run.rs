//! `cargo xtask run`: the node, seen working from outside.
//!
//! Everything that is printed was measured from outside the machine, through
//! frames: what the node says of itself is on its console, below.

use crate::house::House;
use crate::progress::Step;
use crate::{build, interrupt, tap};
use qemu::client::{Export, Flow, Identity};
use qemu::machine::scratch_disk;
use qemu::pattern::{self, SECTOR_BYTES};
use qemu::{Accel, Client, Disk, Failure, Mac, Machine, Nic, OrFail, Recipe, Switch, packages};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long the node may take to its first answer. It takes a tenth of a
/// second; the rest is for a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Sectors written and read back at each end of an export: 2 MiB.
const PATTERN_SECTORS: u64 = 4096;
/// The largest frame the network of the demonstration carries.
const MTU: u16 = 9000;
/// The node's address on the switch, and ours.
const NODE_MAC: Mac = Mac::local(1);
const OUR_MAC: Mac = Mac::local(0xfffe);
/// The serial number of the scratch disk.
const SERIAL: &str = "scratch";
/// How often we look for a Ctrl-C and for a node that ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How to run it.
#[derive(clap::Args)]
pub struct Options {
    /// End after the verification, with exit status 0 or 1
    #[arg(long)]
    check: bool,
    /// Also put the node on a bridge in a network namespace, for Linux tools (root)
    #[arg(long)]
    tap: bool,
    /// Memory of the node
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    memory: String,
    /// Size of the scratch disk
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = parse_size)]
    disk_size: u64,
    /// More settings for the node's command line
    #[arg(long, value_name = "WORDS", default_value = "")]
    append: String,
}

/// Runs the node.
pub fn verb(house: &House, options: &Options) -> Result<(), Failure> {
    let mut needs = vec![packages::QEMU];
    if options.tap {
        if !packages::is_root() {
            return Err(Failure::new(
                "--tap makes a network namespace, which takes root: sudo -E cargo xtask run --tap",
            ));
        }
        needs.push(packages::IP);
    }
    packages::ensure(&needs, &mut |line| eprintln!("{line}"))?;
    let built = build::build(house)?;
    let boot = build::files(&built);
    let _alone = house.alone_in("run")?;
    let folder = house.fresh_folder("run")?;
    let disk = folder.join("disk.img");
    scratch_disk(&disk, options.disk_size)?;
    if options.tap {
        tap::set_up(MTU)?;
    }

    let accel = Accel::choose(&boot, &folder);
    let switch = Switch::with_capture(&folder.join("frames.pcap"))?;
    let mut nic = Nic::on(&switch, NODE_MAC).mtu(MTU);
    let mut recipe = Recipe::node("node", &boot)
        .accel(accel)
        .memory(&options.memory)
        .append("ublade.rw=all")
        .append(&options.append)
        .disk(Disk::file(&disk).serial(SERIAL));
    if options.tap {
        nic = nic.with_tap(tap::TAP);
        recipe = recipe.namespace(tap::NAMESPACE);
    }

    let step = Step::begin("boot the node, write and read back through AoE");
    let mut client = Client::new(&switch, OUR_MAC);
    let mut machine = recipe.nic(nic).start(&folder)?;
    let seen = look(&mut machine, &mut client, &disk);
    step.end(if seen.is_ok() { "ok" } else { "FAIL" });
    let seen = seen?;

    println!();
    for line in build::describe(house, &built) {
        println!("{line}");
    }
    for line in seen.lines(accel, &options.memory) {
        println!("{line}");
    }
    println!(
        "files      {}: console, disk, every frame (frames.pcap)",
        house.short(&folder)
    );
    println!();
    if options.check {
        return machine.quit();
    }
    stay(machine, options.tap, &seen)
}

/// What was seen of the node.
struct Seen {
    first_frame: Duration,
    first_answer: Duration,
    exports: Vec<SeenExport>,
}

struct SeenExport {
    export: Export,
    identity: Identity,
    result: String,
}

fn look(machine: &mut Machine, client: &mut Client, disk: &Path) -> Result<Seen, Failure> {
    let first_frame = machine.wait_for_first_aoe(ANSWER_WITHIN)?;
    let started = machine.started();
    ask(client, disk, started, first_frame).map_err(|failure| machine.failure(failure.to_string()))
}

/// What the client alone can see.
fn ask(
    client: &mut Client,
    disk: &Path,
    started: Instant,
    first_frame: Duration,
) -> Result<Seen, Failure> {
    client.wait_for_one(ANSWER_WITHIN)?;
    let first_answer = started.elapsed();
    let mut exports = Vec::new();
    for export in client.wait_for_exports(1, ANSWER_WITHIN)? {
        let identity = client.identify(&export, ANSWER_WITHIN)?;
        // Other exports (`ram.N=`) have no file to look into.
        let file = (identity.serial() == SERIAL).then_some(disk);
        let result = try_out(client, &export, identity.sectors(), file)?;
        exports.push(SeenExport {
            export,
            identity,
            result,
        });
    }
    Ok(Seen {
        first_frame,
        first_answer,
        exports,
    })
}

/// Writes a pattern at both ends of the export, reads it back through AoE, and
/// then looks for it in the disk's file, if there is one: no frame can pretend
/// anything there.
fn try_out(
    client: &mut Client,
    export: &Export,
    sectors: u64,
    disk: Option<&Path>,
) -> Result<String, Failure> {
    let count = PATTERN_SECTORS.min(sectors / 2);
    let piece = usize::try_from(count).or_fail("the pattern is too long")?;
    let count_bytes = piece * SECTOR_BYTES;
    let ends = [(0, 0xb1ade), (sectors - count, 0xe2d)];
    let flow = Flow::default();
    let started = Instant::now();
    let mut resends = 0;
    for (lba, seed) in ends {
        let transfer = client.write_pattern(export, lba, piece, seed, flow)?;
        resends += transfer.resends;
    }
    for (lba, seed) in ends {
        let transfer = client.check_pattern(export, lba, piece, seed, flow)?;
        resends += transfer.resends;
    }
    let took = started.elapsed();
    if let Some(disk) = disk {
        let file = File::open(disk).or_fail(format_args!("cannot open {}", disk.display()))?;
        for (lba, seed) in ends {
            let mut bytes = vec![0; count_bytes];
            file.read_exact_at(&mut bytes, lba * SECTOR_BYTES as u64)
                .or_fail("cannot read the disk's file")?;
            pattern::check(&bytes, lba, seed).or_fail("the disk's file")?;
        }
    }
    Ok(format!(
        "{} written, read back{} in {:.2} s, {resends} resends",
        human(2 * count * SECTOR_BYTES as u64),
        if disk.is_some() {
            " and found on the disk"
        } else {
            ""
        },
        took.as_secs_f64()
    ))
}

impl Seen {
    fn lines(&self, accel: Accel, memory: &str) -> Vec<String> {
        let mut lines = vec![format!(
            "node       first AoE frame {:.2} s and first answer {:.2} s after QEMU's start; \
             {memory} memory; {accel}",
            self.first_frame.as_secs_f64(),
            self.first_answer.as_secs_f64()
        )];
        for SeenExport {
            export,
            identity,
            result,
        } in &self.exports
        {
            lines.push(format!(
                "export     {}  {}  read-write  \"{}\" serial {}  at {}, {} sectors a frame, window {}",
                export.address,
                human(identity.sectors() * SECTOR_BYTES as u64),
                identity.model(),
                identity.serial(),
                export.mac,
                export.sectors_max,
                export.buffers
            ));
            lines.push(format!("           {result}"));
        }
        lines
    }
}

/// Stays with the node's console until Ctrl-C.
fn stay(machine: Machine, with_tap: bool, seen: &Seen) -> Result<(), Failure> {
    if with_tap {
        let enter = format!("ip netns exec {}", tap::NAMESPACE);
        println!("From another root shell (packages aoetools, tcpdump):");
        if let Some(SeenExport { export, .. }) = seen.exports.first() {
            let (shelf, slot) = (export.address.shelf, export.address.slot);
            let bridge = tap::BRIDGE;
            println!("    {enter} aoeping -I -s 5 {shelf} {slot} {bridge}");
            println!("    {enter} aoecfg -t 5 {shelf} {slot} {bridge}");
        }
        println!(
            "    {enter} tcpdump -eni {} ether proto 0x88a2",
            tap::BRIDGE
        );
        println!();
    }
    println!("The node's console, until Ctrl-C:");
    interrupt::expect();
    machine.console().follow();
    while !interrupt::came() {
        if !machine.is_running() {
            return Err(machine.failure("the node ended by itself"));
        }
        thread::sleep(LOOK_EVERY);
    }
    println!();
    machine.quit()
}

/// Bytes, for a person.
pub fn human(bytes: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} bytes")
}

/// A size as QEMU spells it: `64M`.
fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("{text} is no size: 64M and 2G are"))?;
    number
        .checked_mul(1 << shift)
        .filter(|&bytes| bytes >= 2 * SECTOR_BYTES as u64)
        .ok_or_else(|| format!("{text} is no size a disk can have"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_and_fits() {
        assert_eq!(parse_size("64M"), Ok(64 << 20));
        assert_eq!(parse_size("2g"), Ok(2 << 30));
        assert_eq!(parse_size("8192"), Ok(8192));
        for wrong in ["", "M", "64X", "-1", "0", "99999999999G"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_is_exact() {
        assert_eq!(human(64 << 20), "64 MiB");
        assert_eq!(human(1536 << 10), "1536 KiB");
        assert_eq!(human(513), "513 bytes");
    }
}
