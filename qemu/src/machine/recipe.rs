//! What to start, word by word.

use super::{Board, BootFiles, Disk, Emulator, Nic};
use crate::accel::Accel;
use std::path::{Path, PathBuf};

/// What to start.
#[derive(Clone)]
pub struct Recipe {
    pub(super) name: String,
    pub(super) board: Board,
    pub(super) memory: String,
    pub(super) cpus: u32,
    pub(super) accel: Option<Accel>,
    pub(super) emulator: Emulator,
    pub(super) kernel: Option<PathBuf>,
    pub(super) initrd: Option<PathBuf>,
    pub(super) append: String,
    pub(super) controllers: Vec<String>,
    pub(super) disks: Vec<Disk>,
    pub(super) nics: Vec<Nic>,
    pub(super) extra: Vec<String>,
    pub(super) reboots: bool,
    pub(super) debugged: bool,
    pub(super) echo: bool,
    pub(super) namespace: Option<String>,
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

    /// What `-kernel` is to load.
    pub fn kernel_path(&self) -> Option<&Path> {
        self.kernel.as_deref()
    }

    /// The initial file system.
    pub fn initrd_path(&self) -> Option<&Path> {
        self.initrd.as_deref()
    }
}
