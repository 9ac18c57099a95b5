//! One QEMU: what to start, and the running thing.
//!
//! A [`Recipe`] is a description that can be started again and again: killing
//! the machine and starting the same recipe is how a node comes back from the
//! dead. A [`Machine`] is killed when it is dropped, so nothing outlives the
//! scenario that started it.

use crate::accel::Accel;
use crate::gdb::Debugger;
use crate::network::{Cable, Mac, Switch};
use crate::packages::{Debs, QEMU, newer_qemu};
use crate::{Console, Failure, OrFail, Qmp};
use command_fds::{CommandFdExt, FdMapping};
use serde_json::json;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// The first descriptor that is handed to QEMU; 0 to 2 are the standard ones.
const FIRST_FD: i32 = 3;
/// How often we look whether a machine has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Bytes of QEMU's own messages that a failure shows.
const COMPLAINT_BYTES: usize = 2000;

/// What `cargo xtask build` leaves behind.
#[derive(Clone, Debug)]
pub struct BootFiles {
    /// The boot file: for anything that loads a Linux kernel.
    pub boot_file: PathBuf,
    /// The ELF with the PVH entry.
    pub elf: PathBuf,
    /// The folder with the images that `cargo xtask image` makes of it.
    pub images: PathBuf,
}

/// The machine that QEMU plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// PCI Express, the modern PC.
    Q35,
    /// PCI, the old PC.
    Pc,
    /// No PCI at all: virtio over MMIO.
    Microvm,
    /// No machine at all. Its cards are cables alone: with
    /// [`Nic::with_tap`] they join a switch to an interface of the host.
    Cables,
}

impl Board {
    const fn name(self) -> &'static str {
        match self {
            Self::Q35 => "q35",
            Self::Pc => "pc",
            Self::Microvm => "microvm",
            Self::Cables => "none",
        }
    }

    /// The bus that virtio devices sit on.
    const fn bus(self) -> &'static str {
        match self {
            Self::Q35 | Self::Pc | Self::Cables => "pci",
            Self::Microvm => "device",
        }
    }
}

/// One disk of a machine.
#[derive(Clone, Debug)]
pub struct Disk {
    backing: String,
    cache: &'static str,
    read_only: bool,
    model: Option<&'static str>,
    properties: String,
}

impl Disk {
    /// A raw disk in the file at `path`.
    pub fn file(path: &Path) -> Self {
        // A comma ends an option of QEMU's; two are one in a value.
        let path = path.display().to_string().replace(',', ",,");
        Self::backed_by(&format!("format=raw,file={path}"))
    }

    /// A disk with any backing that `-drive` knows: `driver=null-co,size=…`.
    pub fn backed_by(backing: &str) -> Self {
        Self {
            backing: backing.to_owned(),
            cache: "writeback",
            read_only: false,
            model: None,
            properties: String::new(),
        }
    }

    /// The serial number the guest sees.
    #[must_use]
    pub fn serial(self, serial: &str) -> Self {
        self.property(&format!("serial={serial}"))
    }

    /// QEMU's cache mode. The default, `writeback`, is a disk with a volatile
    /// cache that honours a flush; `writethrough` is one without.
    #[must_use]
    pub fn cache(mut self, mode: &'static str) -> Self {
        self.cache = mode;
        self
    }

    /// A disk that refuses writes and says so.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Another disk than virtio-blk: `nvme`.
    #[must_use]
    pub fn model(mut self, model: &'static str) -> Self {
        self.model = Some(model);
        self
    }

    /// Any other property of the disk's device: `num-queues=1`.
    #[must_use]
    pub fn property(mut self, property: &str) -> Self {
        self.properties.push(',');
        self.properties.push_str(property);
        self
    }
}

/// One network card of a machine.
#[derive(Clone)]
pub struct Nic {
    switch: Switch,
    mac: Mac,
    mtu: Option<u16>,
    model: Option<&'static str>,
    rom: bool,
    tap: Option<String>,
    properties: String,
}

impl Nic {
    /// A virtio card with address `mac` on `switch`.
    pub fn on(switch: &Switch, mac: Mac) -> Self {
        Self {
            switch: switch.clone(),
            mac,
            mtu: None,
            model: None,
            rom: false,
            tap: None,
            properties: String::new(),
        }
    }

    /// The MTU that the host offers the guest.
    #[must_use]
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Another card than virtio: `e1000`. It has no MTU to offer.
    #[must_use]
    pub fn model(mut self, model: &'static str) -> Self {
        self.model = Some(model);
        self
    }

    /// Keeps the card's boot ROM, which is iPXE. Without it a guest's firmware
    /// does not spend seconds on network boot.
    #[must_use]
    pub fn boot_rom(mut self) -> Self {
        self.rom = true;
        self
    }

    /// Joins the host's tap interface `name` to the same cable.
    #[must_use]
    pub fn with_tap(mut self, name: &str) -> Self {
        self.tap = Some(name.to_owned());
        self
    }

    /// Any other property of the device: `rx_queue_size=1024`.
    #[must_use]
    pub fn property(mut self, property: &str) -> Self {
        self.properties.push(',');
        self.properties.push_str(property);
        self
    }
}

/// A QEMU: the system's own, or one that lies elsewhere.
#[derive(Clone, Debug)]
pub struct Emulator {
    /// The program.
    pub program: PathBuf,
    /// Where its firmware is, if it would not find it itself.
    pub firmware: Vec<PathBuf>,
}

impl Default for Emulator {
    fn default() -> Self {
        Self {
            program: PathBuf::from(QEMU.program),
            firmware: Vec::new(),
        }
    }
}

impl Emulator {
    /// The system's own if it has the device `name`, or else the newer one, if it was
    /// fetched and has it.
    pub fn with_device(name: &str, debs: &Debs) -> Result<Option<Self>, Failure> {
        let own = Self::default();
        if own.has_device(name)? {
            return Ok(Some(own));
        }
        match newer_qemu::fetched(debs) {
            Some(newer) if newer.has_device(name)? => Ok(Some(newer)),
            _ => Ok(None),
        }
    }

    /// Whether it has a device called `name`.
    pub fn has_device(&self, name: &str) -> Result<bool, Failure> {
        // The list of all devices would need every module, and those that are installed
        // may belong to another QEMU.
        let asked = Command::new(&self.program)
            .args(["-device", &format!("{name},help")])
            .output()
            .or_fail(format_args!("cannot start {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&asked.stdout);
        Ok(said.starts_with(&format!("{name} options")))
    }
}

/// What to start.
#[derive(Clone)]
pub struct Recipe {
    name: String,
    board: Board,
    memory: String,
    cpus: u32,
    accel: Option<Accel>,
    emulator: Emulator,
    kernel: Option<PathBuf>,
    initrd: Option<PathBuf>,
    append: String,
    controllers: Vec<String>,
    disks: Vec<Disk>,
    nics: Vec<Nic>,
    extra: Vec<String>,
    reboots: bool,
    debugged: bool,
    echo: bool,
    namespace: Option<String>,
}

impl Recipe {
    /// A machine with nothing in it: q35, 256 MiB, one processor.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            board: Board::Q35,
            memory: "256M".to_owned(),
            cpus: 1,
            accel: None,
            emulator: Emulator::default(),
            kernel: None,
            initrd: None,
            append: String::new(),
            controllers: Vec::new(),
            disks: Vec::new(),
            nics: Vec::new(),
            extra: Vec::new(),
            reboots: false,
            debugged: false,
            echo: false,
            namespace: None,
        }
    }

    /// A node that boots the boot file: q35, 64 MiB, no disk and no card yet.
    pub fn node(name: &str, boot: &BootFiles) -> Self {
        Self::new(name).memory("64M").kernel(&boot.boot_file)
    }

    /// The machine that QEMU plays.
    #[must_use]
    pub fn board(mut self, board: Board) -> Self {
        self.board = board;
        self
    }

    /// Memory, as QEMU spells it: `64M`.
    #[must_use]
    pub fn memory(mut self, memory: &str) -> Self {
        memory.clone_into(&mut self.memory);
        self
    }

    /// Processors.
    #[must_use]
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    /// The accelerator. Without this call it is software emulation: the safe
    /// choice, and the one that times are compared under.
    #[must_use]
    pub fn accel(mut self, accel: Accel) -> Self {
        self.accel = Some(accel);
        self
    }

    /// Another QEMU than the system's own.
    #[must_use]
    pub fn emulator(mut self, emulator: Emulator) -> Self {
        self.emulator = emulator;
        self
    }

    /// What `-kernel` loads.
    #[must_use]
    pub fn kernel(mut self, path: &Path) -> Self {
        self.kernel = Some(path.to_path_buf());
        self
    }

    /// The initial file system.
    #[must_use]
    pub fn initrd(mut self, path: &Path) -> Self {
        self.initrd = Some(path.to_path_buf());
        self
    }

    /// Adds words to the kernel's command line.
    #[must_use]
    pub fn append(mut self, words: &str) -> Self {
        if !self.append.is_empty() {
            self.append.push(' ');
        }
        self.append.push_str(words);
        self
    }

    /// Adds a disk.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// A controller, which disks of a model of its own hang on:
    /// `virtio-scsi-pci`.
    #[must_use]
    pub fn controller(mut self, device: &str) -> Self {
        self.controllers.push(device.to_owned());
        self
    }

    /// Adds a network card.
    #[must_use]
    pub fn nic(mut self, nic: Nic) -> Self {
        self.nics.push(nic);
        self
    }

    /// Adds any other argument of QEMU's, as it stands.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.extra
            .extend(arguments.iter().map(|&word| word.to_owned()));
        self
    }

    /// A reset starts the guest again. Without this call it ends the machine,
    /// so that a guest that resets itself is noticed.
    #[must_use]
    pub fn reboots(mut self) -> Self {
        self.reboots = true;
        self
    }

    /// The machine can be stopped and its code broken ([`Machine::debug`]).
    #[must_use]
    pub fn debugged(mut self) -> Self {
        self.debugged = true;
        self
    }

    /// Shows the console on our standard output too.
    #[must_use]
    pub fn echo(mut self) -> Self {
        self.echo = true;
        self
    }

    /// Runs QEMU in the network namespace `name` (root only).
    #[must_use]
    pub fn namespace(mut self, name: &str) -> Self {
        self.namespace = Some(name.to_owned());
        self
    }

    /// Starts the machine. Its console and QEMU's messages go to `folder`.
    pub fn start(&self, folder: &Path) -> Result<Machine, Failure> {
        fs::create_dir_all(folder).or_fail(format_args!("cannot create {}", folder.display()))?;
        let complaints = folder.join(format!("{}.qemu.log", self.name));
        let complaints_file = File::create(&complaints)
            .or_fail(format_args!("cannot create {}", complaints.display()))?;

        let (control, control_end) = UnixStream::pair().or_fail("no socket pair for QMP")?;
        let qmp = Qmp::new(control)?;
        let mut ends: Vec<OwnedFd> = vec![control_end.into()];
        let mut cables = Vec::new();
        for (index, nic) in self.nics.iter().enumerate() {
            let (cable, end) = nic.switch.plug(&format!("{}/{index}", self.name))?;
            cables.push(cable);
            ends.push(end);
        }

        let mut debugger = None;
        if self.debugged {
            let (link, end) = UnixStream::pair().or_fail("no socket pair for the debugger")?;
            debugger = Some(link);
            ends.push(end.into());
        }

        let mut command = match &self.namespace {
            None => Command::new(&self.emulator.program),
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]);
                command.arg(&self.emulator.program);
                command
            }
        };
        command
            .args(self.command_line())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints_file)
            // Ctrl-C is for us: we end our machines in order.
            .process_group(0)
            .fd_mappings(
                (FIRST_FD..)
                    .zip(ends)
                    .map(|(child_fd, parent_fd)| FdMapping {
                        parent_fd,
                        child_fd,
                    })
                    .collect(),
            )
            .or_fail("two descriptors for QEMU have one number")?;
        let started = Instant::now();
        let mut child = command
            .spawn()
            .or_fail("cannot start qemu-system-x86_64 (package qemu-system-x86)")?;
        // The ends now live in the command; QEMU must hold the only ones.
        drop(command);
        let output = child.stdout.take().expect("standard output is a pipe");
        let log = folder.join(format!("{}.console.log", self.name));
        let console = match Console::listen(output, &log, started, self.echo) {
            Ok(console) => console,
            Err(error) => {
                end(&mut child);
                return Err(Failure::new(format!(
                    "cannot keep the console in {}: {error}",
                    log.display()
                )));
            }
        };
        let child = Arc::new(Mutex::new(child));
        register(&child);
        Ok(Machine {
            name: self.name.clone(),
            child,
            started,
            console,
            qmp,
            debugger,
            cables,
            complaints,
        })
    }

    /// The whole command line, for a person to try.
    pub fn command_line(&self) -> Vec<String> {
        let accel = self.accel.unwrap_or(Accel::Tcg);
        let mut line: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| line.extend(words.iter().map(|&word| word.to_owned()));
        for folder in &self.emulator.firmware {
            add(&["-L", &folder.to_string_lossy()]);
        }
        add(&["-name", &self.name, "-machine", self.board.name()]);
        if self.board != Board::Cables {
            add(&accel.arguments());
        }
        add(&["-m", &self.memory, "-smp", &self.cpus.to_string()]);
        add(&["-nodefaults", "-no-user-config", "-display", "none"]);
        add(&["-chardev", "stdio,id=console,signal=off"]);
        add(&["-serial", "chardev:console"]);
        add(&["-chardev", &format!("socket,id=qmp,fd={FIRST_FD}")]);
        add(&["-mon", "chardev=qmp,mode=control"]);
        if self.debugged {
            let fd = FIRST_FD as usize + 1 + self.nics.len();
            add(&["-chardev", &format!("socket,id=gdb,fd={fd}")]);
        }
        if !self.reboots {
            add(&["-no-reboot"]);
        }
        if let Some(kernel) = &self.kernel {
            add(&["-kernel", &kernel.to_string_lossy()]);
            if !self.append.is_empty() {
                add(&["-append", &self.append]);
            }
        }
        if let Some(initrd) = &self.initrd {
            add(&["-initrd", &initrd.to_string_lossy()]);
        }
        for controller in &self.controllers {
            add(&["-device", controller]);
        }
        for (index, disk) in self.disks.iter().enumerate() {
            let Disk {
                backing,
                cache,
                properties,
                ..
            } = disk;
            let device = match disk.model {
                Some(model) => model.to_owned(),
                None => format!("virtio-blk-{}", self.board.bus()),
            };
            let read_only = if disk.read_only { ",read-only=on" } else { "" };
            add(&[
                "-drive",
                &format!(
                    "if=none,id=drive{index},cache={cache},discard=unmap{read_only},{backing}"
                ),
                "-device",
                &format!("{device},id=disk{index},drive=drive{index}{properties}"),
            ]);
        }
        for (index, nic) in self.nics.iter().enumerate() {
            for words in nic.words(index, self.board) {
                add(&[&words.0, &words.1]);
            }
        }
        line.extend(self.extra.iter().cloned());
        line
    }
}

impl Nic {
    /// The options of card `index`.
    fn words(&self, index: usize, board: Board) -> Vec<(String, String)> {
        let fd = FIRST_FD + 1 + i32::try_from(index).expect("a handful of cards");
        let netdev = |value: String| ("-netdev".to_owned(), value);
        let mut words = Vec::new();
        match &self.tap {
            None => words.push(netdev(format!("socket,id=nic{index},fd={fd}"))),
            Some(tap) => {
                // A hub inside QEMU joins our socket, the tap and the card.
                words.push(netdev(format!("socket,id=link{index},fd={fd}")));
                words.push(netdev(format!(
                    "tap,id=tap{index},ifname={tap},script=no,downscript=no"
                )));
                for end in ["link", "tap"] {
                    words.push(netdev(format!(
                        "hubport,id={end}-port{index},hubid={index},netdev={end}{index}"
                    )));
                }
                if board == Board::Cables {
                    return words;
                }
                words.push(netdev(format!("hubport,id=nic{index},hubid={index}")));
            }
        }
        let mut device = match self.model {
            Some(model) => model.to_owned(),
            None => format!("virtio-net-{}", board.bus()),
        };
        write!(device, ",id=card{index},netdev=nic{index},mac={}", self.mac)
            .expect("a string takes everything");
        if let Some(mtu) = self.mtu {
            write!(device, ",host_mtu={mtu}").expect("a string takes everything");
        }
        if !self.rom && board != Board::Microvm {
            device.push_str(",romfile=");
        }
        device.push_str(&self.properties);
        words.push(("-device".to_owned(), device));
        words
    }
}

/// A running machine. Dropping it kills it.
pub struct Machine {
    name: String,
    child: Arc<Mutex<Child>>,
    started: Instant,
    console: Console,
    qmp: Qmp,
    debugger: Option<UnixStream>,
    cables: Vec<Cable>,
    complaints: PathBuf,
}

impl Machine {
    /// What it says on its serial port.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Its control channel.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// Stops it, until the debugger detaches. Once in its life, and only if it was
    /// started to be [`debugged`](Recipe::debugged).
    pub fn debug(&mut self) -> Result<Debugger, Failure> {
        let link = self.debugger.take();
        let link = link.or_fail("there is no debugger at this machine")?;
        let command = json!({"command-line": "gdbserver chardev:gdb"});
        self.qmp.run("human-monitor-command", command)?;
        Debugger::new(link)
    }

    /// The cable of network card `nic`, from 0.
    pub fn cable(&self, nic: usize) -> &Cable {
        &self.cables[nic]
    }

    /// When QEMU was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The time from QEMU's start to the first AoE frame on any of its cables.
    pub fn first_aoe_after(&self) -> Option<Duration> {
        let first = self
            .cables
            .iter()
            .filter_map(|cable| cable.counters().first_aoe)
            .min()?;
        Some(first.saturating_duration_since(self.started))
    }

    /// The time from QEMU's start to the first AoE answer, an announcement being one.
    pub fn first_answer_after(&self) -> Option<Duration> {
        let first = self
            .cables
            .iter()
            .filter_map(|cable| cable.counters().first_answer)
            .min()?;
        Some(first.saturating_duration_since(self.started))
    }

    /// Waits for that first frame.
    pub fn wait_for_first_aoe(&mut self, within: Duration) -> Result<Duration, Failure> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(after) = self.first_aoe_after() {
                return Ok(after);
            }
            if !self.is_running() {
                return Err(self.failure("the machine ended before its first AoE frame"));
            }
            if Instant::now() >= deadline {
                return Err(
                    self.failure(format!("no AoE frame within {:.1} s", within.as_secs_f64()))
                );
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits for `needle` on the console, as [`Console::wait_for`] does, with
    /// all the evidence in the failure.
    pub fn wait_for(&self, needle: &str, within: Duration) -> Result<String, Failure> {
        self.console()
            .wait_for(needle, within)
            .map_err(|failure| self.failure(failure.sentence()))
    }

    /// Whether QEMU still runs.
    pub fn is_running(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// Waits until QEMU ends by itself.
    pub fn wait_for_end(&self, within: Duration) -> Result<ExitStatus, Failure> {
        let deadline = Instant::now() + within;
        loop {
            let ended = self
                .child()
                .try_wait()
                .or_fail(format_args!("cannot look after {}", self.name))?;
            if let Some(status) = ended {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(
                    self.failure(format!("it still runs after {:.1} s", within.as_secs_f64()))
                );
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Types `text` on the serial port.
    pub fn type_in(&self, text: &str) -> Result<(), Failure> {
        use std::io::Write;
        let mut child = self.child();
        let input = child.stdin.as_mut().or_fail("the console is closed")?;
        input
            .write_all(text.as_bytes())
            .and_then(|()| input.flush())
            .or_fail(format_args!("cannot type at {}", self.name))
    }

    /// Ends QEMU in order, its disks flushed.
    pub fn quit(mut self) -> Result<(), Failure> {
        if self.is_running() {
            self.qmp.quit()?;
        }
        self.wait_for_end(Duration::from_secs(10)).map(drop)
    }

    /// Ends QEMU at once, as a power cut of the guest does. What QEMU already
    /// gave the host stays written.
    pub fn kill(self) {}

    /// A failure of this machine: the sentence, the console's last lines,
    /// QEMU's complaints, and the captures.
    pub fn failure(&self, sentence: impl AsRef<str>) -> Failure {
        let mut failure = Failure::new(format!("{}: {}", self.name, sentence.as_ref()))
            .with(self.console().tail());
        let complaints = fs::read(&self.complaints).unwrap_or_default();
        let complaints = String::from_utf8_lossy(&complaints);
        let complaints: String = complaints.trim().chars().take(COMPLAINT_BYTES).collect();
        if !complaints.is_empty() {
            failure = failure.with(format!("QEMU: {complaints}"));
        }
        let mut captures: Vec<PathBuf> = self
            .cables
            .iter()
            .filter_map(|cable| cable.switch().capture().map(Path::to_path_buf))
            .collect();
        captures.dedup();
        for capture in captures {
            failure = failure.with(format!("frames: {}", capture.display()));
        }
        failure
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        end(&mut self.child());
    }
}

/// Every machine of this process that has not ended.
static RUNNING: Mutex<Vec<Weak<Mutex<Child>>>> = Mutex::new(Vec::new());

/// Kills every machine of this process: for a signal, and for a scenario that
/// ran out of time. Their owners see machines that ended.
pub fn kill_all() {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    for child in running.drain(..).filter_map(|child| child.upgrade()) {
        end(&mut child.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn register(child: &Arc<Mutex<Child>>) {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.retain(|child| child.strong_count() > 0);
    running.push(Arc::downgrade(child));
}

fn end(child: &mut Child) {
    // Both fail only for a child that has already ended.
    let _ = child.kill();
    let _ = child.wait();
}

/// A new disk of `bytes` zero bytes at `path` that takes no room until written.
pub fn scratch_disk(path: &Path, bytes: u64) -> Result<(), Failure> {
    File::create(path)
        .and_then(|file| file.set_len(bytes))
        .or_fail(format_args!("cannot make the disk {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_microvm_gets_virtio_over_mmio_and_no_rom() {
        let switch = Switch::new();
        let line = Recipe::new("m")
            .board(Board::Microvm)
            .disk(Disk::file(Path::new("/tmp/a,b.img")).serial("s0"))
            .nic(Nic::on(&switch, Mac::local(1)).mtu(9000))
            .command_line()
            .join(" ");
        assert!(line.contains("-machine microvm"), "{line}");
        assert!(line.contains("virtio-blk-device,id=disk0,drive=drive0,serial=s0"));
        assert!(line.contains("file=/tmp/a,,b.img"), "{line}");
        assert!(line.contains(
            "virtio-net-device,id=card0,netdev=nic0,mac=02:00:00:00:00:01,host_mtu=9000"
        ));
        assert!(!line.contains("romfile"), "{line}");
    }

    #[test]
    fn cables_without_a_machine_have_no_card_in_them() {
        let switch = Switch::new();
        let line = Recipe::new("m")
            .board(Board::Cables)
            .nic(Nic::on(&switch, Mac::local(1)).with_tap("tap0"))
            .command_line()
            .join(" ");
        assert!(line.contains("-machine none"), "{line}");
        assert!(
            line.contains("hubport,id=tap-port0,hubid=0,netdev=tap0"),
            "{line}"
        );
        assert!(!line.contains("-device"), "{line}");
        assert!(!line.contains("-cpu"), "{line}");
    }

    #[test]
    fn every_card_gets_a_descriptor_of_its_own() {
        let switch = Switch::new();
        let line = Recipe::new("m")
            .nic(Nic::on(&switch, Mac::local(1)))
            .nic(Nic::on(&switch, Mac::local(2)).with_tap("tap0"))
            .command_line()
            .join(" ");
        assert!(line.contains("socket,id=qmp,fd=3"), "{line}");
        assert!(line.contains("socket,id=nic0,fd=4"), "{line}");
        assert!(line.contains("socket,id=link1,fd=5"), "{line}");
        assert!(line.contains("hubport,id=nic1,hubid=1"), "{line}");
    }
}
