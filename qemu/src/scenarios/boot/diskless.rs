//! Debian on an export, started by machines that have no disk.
//!
//! The disk is installed on the host by the very script that users are told to
//! run, `image/diskless/install-debian`, once, and kept; every scenario writes
//! to an overlay of its own. From power on to the login prompt all goes through
//! the node: iPXE finds the boot sector, the loader reads kernel and initramfs
//! through the firmware, and the initramfs brings up the card and the driver.

use super::super::world::{self, HOST, NODE, SHELF, Wire, must};
use super::Row;
use super::ovmf::{self, Ovmf};
use crate::initiator::dhcp::Dhcp;
use crate::packages::{self, Debs, Need};
use crate::{Context, Disk, Failure, Machine, Nic, OrFail, Recipe, Report};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

pub(super) const ROWS: &[Row] = &[
    Row {
        prepare: |debs| prepare(debs, Loader::Grub),
        ..Row::new(
            "diskless-grub",
            "a PC without a disk: Debian on an export, started twice, over the node's death",
            "iPXE ROM, GRUB",
            bios_grub,
        )
    }
    .within(800)
    .sample(),
    Row {
        prepare: |debs| prepare(debs, Loader::Extlinux),
        ..Row::new(
            "diskless-extlinux",
            "a PC without a disk: Debian on an export, rebooted",
            "iPXE ROM, extlinux",
            bios_extlinux,
        )
    }
    .within(500),
    Row {
        debs: &[ovmf::DEBS, IPXE],
        prepare: |debs| prepare(debs, Loader::Grub),
        ..Row::new(
            "diskless-uefi",
            "a UEFI machine without a disk: Debian on an export, started twice",
            "OVMF, iPXE, GRUB",
            uefi,
        )
    }
    .within(600),
];

/// iPXE as files.
pub(super) const IPXE: (&str, &[&str]) = ("ipxe", &["ipxe"]);
/// What the script is made of. A change of any of them is another disk.
const SCRIPT: [(&str, &str); 3] = [
    (
        "install-debian",
        include_str!("../../../../image/diskless/install-debian"),
    ),
    (
        "initramfs/hooks/aoe-root",
        include_str!("../../../../image/diskless/initramfs/hooks/aoe-root"),
    ),
    (
        "initramfs/scripts/local-top/aoe-root",
        include_str!("../../../../image/diskless/initramfs/scripts/local-top/aoe-root"),
    ),
];
/// What the script calls, and what makes an overlay.
const NEEDS: [Need; 8] = [
    need("mmdebstrap", "mmdebstrap"),
    need("losetup", "mount"),
    need("sfdisk", "fdisk"),
    need("mkfs.ext4", "e2fsprogs"),
    need("mkfs.fat", "dosfstools"),
    need("mcopy", "mtools"),
    need("extlinux", "extlinux"),
    need("qemu-img", "qemu-utils"),
];
const DISK_BYTES: u64 = 1536 << 20;
const PASSWORD: &str = "by the wire";

/// How long the dead node stays dead under its client.
const DEAD_FOR: Duration = Duration::from_secs(8);

const fn need(program: &'static str, package: &'static str) -> Need {
    Need { program, package }
}

/// What the served disk starts a BIOS client with.
#[derive(Clone, Copy)]
enum Loader {
    Grub,
    Extlinux,
}

impl Loader {
    const fn name(self) -> &'static str {
        match self {
            Self::Grub => "grub",
            Self::Extlinux => "extlinux",
        }
    }
}

/// Why no Debian can be installed here, if so.
fn not_here() -> Option<&'static str> {
    (!packages::is_root()).then_some("not run: installing Debian on a disk needs root")
}

/// Installs what rows serve, so that no row's time goes into a download.
fn prepare(debs: &Debs, loader: Loader) -> Result<(), Failure> {
    if not_here().is_some() {
        return Ok(());
    }
    packages::ensure(&NEEDS, &mut |line| eprintln!("  {line}"))?;
    installed(debs, loader).map(drop)
}

/// A disk with Debian on it, installed now if it is not there yet.
fn installed(debs: &Debs, loader: Loader) -> Result<PathBuf, Failure> {
    let name = loader.name();
    let folder = debs.cache().join(format!("diskless-{name}"));
    let disk = folder.join("disk.img");
    let stamp = folder.join("stamp");
    let inputs = format!("{PASSWORD} {DISK_BYTES} {SCRIPT:?}");
    if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == inputs) {
        return Ok(disk);
    }
    let _ = fs::remove_dir_all(&folder);
    for (path, text) in SCRIPT {
        let path = folder.join(path);
        let parent = path.parent().expect("it is in the folder");
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .or_fail(format_args!("cannot write {}", path.display()))?;
        make_executable(&path)?;
    }
    crate::machine::scratch_disk(&disk, DISK_BYTES)?;
    eprintln!("  installing Debian ({name}) on {}", disk.display());
    let output = Command::new(folder.join("install-debian"))
        .args(["--kernel", "linux-image-cloud-amd64", "--serial"])
        // The words that make a guest quick here; they change no route.
        .args(["--append", "mitigations=off loglevel=4"])
        .args(["--loader", name])
        .arg(&disk)
        .arg(format!("e{SHELF}.0"))
        .env("ROOT_PASSWORD", PASSWORD)
        .stdin(Stdio::null())
        .output()
        .or_fail("cannot start install-debian")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(15)..].join("\n");
        return Err(Failure::new(format!("install-debian failed ({})", output.status)).with(last));
    }
    fs::write(&stamp, inputs).or_fail(format_args!("cannot write {}", stamp.display()))?;
    Ok(disk)
}

fn make_executable(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .or_fail(format_args!("cannot make {} executable", path.display()))
}

/// A disk `NAME.qcow2` of the scenario's own, with `base` under it.
fn overlay(context: &Context, name: &str, base: &Path) -> Result<Disk, Failure> {
    let path = context.folder().join(format!("{name}.qcow2"));
    let output = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .args([base, &path])
        .output()
        .or_fail("cannot start qemu-img")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new("qemu-img made no overlay").with(said));
    }
    Ok(Disk::backed_by(&format!(
        "format=qcow2,file={}",
        path.display()
    )))
}

fn bios_grub(context: &mut Context) -> Result<Report, Failure> {
    if let Some(why) = not_here() {
        return Ok(said(why));
    }
    let client = context.guest("client");
    let mut room = Room::open(context, Loader::Grub)?;
    let debian = room.start(context, client, true)?;
    let mut report = Report::new();
    debian.log_in(context)?;
    report.note(format!(
        "{:.0} s from power on to the login prompt, {} requests",
        debian.machine.started().elapsed().as_secs_f64(),
        room.wire.requests()
    ));
    let sum = debian.write_files(context)?;

    // A writer that the node's death catches in the middle.
    let before = room.wire.requests();
    debian.say(
        "dd if=/dev/zero of=/srv/long bs=64k count=512 oflag=dsync 2>/tmp/dd; echo dd-$((500+$?))",
    )?;
    world::until(
        context.seconds(30),
        &debian.machine,
        || "the client does not write".to_owned(),
        || room.wire.requests() > before + 200,
    )?;
    room.kill_node();
    must(
        !debian.machine.console().has_said("dd-50"),
        &debian.machine,
        || "the writer was through before the node was killed".to_owned(),
    )?;
    thread::sleep(DEAD_FOR);
    room.start_node(context, "node-again")?;
    debian.machine.wait_for("dd-500", context.seconds(200))?;

    // What a kernel update of the client does to its loader's configuration.
    debian.run(context, "update-grub >/tmp/grub 2>&1", 240)?;
    // Turned off and on: where much has run before, a warm start is a matter of
    // minutes under software emulation, probably because QEMU still has
    // translations of the code in every page that the loader writes to. The
    // row with extlinux reboots.
    debian.power_off(context)?;
    let client = context.guest("client-again");
    let debian = room.start(context, client, true)?;
    debian.log_in(context)?;
    debian.find_files(context, &sum)?;
    debian.power_off(context)?;
    report.note(format!(
        "the node was dead for {:.0} s under a writer; the files were there after a new start",
        DEAD_FOR.as_secs_f64()
    ));
    Ok(report)
}

/// The same disk with extlinux on it, as far as the login prompt and back.
fn bios_extlinux(context: &mut Context) -> Result<Report, Failure> {
    if let Some(why) = not_here() {
        return Ok(said(why));
    }
    let client = context.guest("client");
    let mut room = Room::open(context, Loader::Extlinux)?;
    let debian = room.start(context, client, true)?;
    let (sum, report) = once(context, &room, &debian)?;
    debian.say("reboot")?;
    again(context, &debian, &sum)?;
    Ok(report)
}

/// A UEFI machine, its iPXE on a stick: a volume with nothing else on it.
fn uefi(context: &mut Context) -> Result<Report, Failure> {
    if let Some(why) = not_here() {
        return Ok(said(why));
    }
    let ovmf = Ovmf::prepare(context)?;
    let stick = context.folder().join("stick");
    let boot = stick.join("EFI/BOOT");
    let ipxe = context.debs().unpacked(IPXE.0, IPXE.1)?;
    fs::create_dir_all(&boot)
        .and_then(|()| fs::copy(ipxe.join("boot/ipxe.efi"), boot.join("BOOTX64.EFI")))
        .or_fail(format_args!("cannot fill {}", stick.display()))?;
    let client = |name: &str| {
        let stick = Disk::backed_by(&format!("format=raw,file=fat:rw:{}", stick.display()));
        ovmf.firmware_of(context.guest(name)).disk(stick)
    };
    let mut room = Room::open(context, Loader::Grub)?;
    let debian = room.start(context, client("client"), false)?;
    let (sum, report) = once(context, &room, &debian)?;
    // Turned off and on: one warm start in three ends in a firmware that says nothing
    // and sends nothing for minutes, before anything of ours was asked for.
    debian.power_off(context)?;
    let debian = room.start(context, client("client-again"), false)?;
    again(context, &debian, &sum)?;
    Ok(report)
}

/// Login and files; what their sum is.
fn once(context: &Context, room: &Room, debian: &Debian) -> Result<(String, Report), Failure> {
    debian.log_in(context)?;
    let report = said(&format!(
        "{:.0} s from power on to the login prompt, {} requests",
        debian.machine.started().elapsed().as_secs_f64(),
        room.wire.requests()
    ));
    Ok((debian.write_files(context)?, report))
}

/// Login, the same files, power off.
fn again(context: &Context, debian: &Debian, sum: &str) -> Result<(), Failure> {
    debian.log_in(context)?;
    debian.find_files(context, sum)?;
    debian.power_off(context)
}

fn said(line: &str) -> Report {
    let mut report = Report::new();
    report.note(line);
    report
}

/// A node that serves an installed disk, and the wire to it.
struct Room {
    wire: Wire,
    switch: crate::Switch,
    disk: Disk,
    node: Option<Machine>,
    dhcp: Option<Dhcp>,
}

impl Room {
    fn open(context: &Context, loader: Loader) -> Result<Self, Failure> {
        let base = installed(context.debs(), loader)?;
        let switch = context.switch("net")?;
        let wire = Wire::watch(&switch);
        let disk = overlay(context, "disk", &base)?.serial("debian0");
        let mut room = Self {
            wire,
            switch,
            disk,
            node: None,
            dhcp: None,
        };
        room.start_node(context, "node")?;
        Ok(room)
    }

    fn start_node(&mut self, context: &Context, name: &str) -> Result<(), Failure> {
        let mut node = world::node(context, name)
            .disk(self.disk.clone())
            .nic(Nic::on(&self.switch, NODE[0]).mtu(9000))
            .start(context.folder())?;
        node.wait_for_first_aoe(context.seconds(10))?;
        self.node = Some(node);
        Ok(())
    }

    fn kill_node(&mut self) {
        self.node = None;
    }

    /// Starts `client` with a card in it, whose own ROM boots if `rom`.
    fn start(&mut self, context: &Context, client: Recipe, rom: bool) -> Result<Debian, Failure> {
        // The one before it, if any, must not answer too.
        self.dhcp = None;
        self.dhcp = Some(Dhcp::serve(&self.switch, &format!("aoe:e{SHELF}.0")));
        let mut card = Nic::on(&self.switch, HOST[0]).mtu(9000);
        if rom {
            card = card.boot_rom();
        }
        let machine = client
            .memory("512M")
            .nic(card)
            .reboots()
            .start(context.folder())?;
        Ok(Debian { machine })
    }
}

/// The client, seen from its serial port as a person sees it.
struct Debian {
    machine: Machine,
}

impl Debian {
    fn say(&self, line: &str) -> Result<(), Failure> {
        self.machine.type_in(&format!("{line}\n"))
    }

    /// Waits for the prompt and logs in as root.
    fn log_in(&self, context: &Context) -> Result<(), Failure> {
        self.machine
            .wait_for(&format!("e{SHELF}-0 login:"), context.seconds(300))?;
        self.say("root")?;
        self.machine.wait_for("Password:", context.seconds(60))?;
        self.say(PASSWORD)?;
        self.machine.wait_for("root@", context.seconds(90))?;
        // Long lines would be broken, and echoes mistaken for answers.
        self.run(context, "stty -echo cols 200; PS1=", 20)?;
        let root = format!("/dev/etherd/e{SHELF}.0p2");
        self.ask(context, "findmnt -no SOURCE /", &root, 20)
    }

    /// Runs `command` and waits until it ends well.
    fn run(&self, context: &Context, command: &str, within_seconds: u64) -> Result<(), Failure> {
        self.ask(context, command, "", within_seconds)
    }

    /// Runs `command` and waits until it says `answer` and ends well.
    fn ask(
        &self,
        context: &Context,
        command: &str,
        answer: &str,
        within_seconds: u64,
    ) -> Result<(), Failure> {
        // The shell adds, so that what is typed is never what is waited for.
        self.say(&format!("{command}; echo status-$((7000+$?))"))?;
        let within = context.seconds(within_seconds);
        if !answer.is_empty() {
            self.machine.wait_for(answer, within)?;
        }
        self.machine
            .wait_for("status-7000", within)
            .map(drop)
            .map_err(|failure| failure.with(format!("The command was \"{command}\".")))
    }

    /// Writes two files, and returns the checksum of the large one.
    fn write_files(&self, context: &Context) -> Result<String, Failure> {
        self.run(context, "echo written before >/srv/text", 20)?;
        self.run(
            context,
            "head -c 8388608 /dev/urandom >/srv/noise && sync /srv/noise /srv/text",
            60,
        )?;
        self.say("sha256sum /srv/noise | sed s/^/sum=/")?;
        let line = self.machine.wait_for("/srv/noise", context.seconds(30))?;
        let sum = line
            .split_once("sum=")
            .map(|(_, sum)| sum.chars().take(64).collect::<String>())
            .filter(|sum| sum.len() == 64);
        sum.or_fail(format_args!("no checksum in \"{line}\""))
    }

    /// Finds them again, and a kernel with nothing to complain about.
    fn find_files(&self, context: &Context, sum: &str) -> Result<(), Failure> {
        self.ask(context, "cat /srv/text", "written before", 20)?;
        self.ask(context, "sha256sum /srv/noise", sum, 40)?;
        self.run(
            context,
            "! dmesg | grep -E 'I/O error|EXT4-fs (error|warning)|remounting|blocked for more'",
            20,
        )
    }

    /// Turns the machine off, which must work with the disk at the far end.
    fn power_off(&self, context: &Context) -> Result<(), Failure> {
        self.say("poweroff")?;
        self.machine.wait_for_end(context.seconds(60)).map(drop)
    }
}
