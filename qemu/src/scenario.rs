//! What a scenario is, and what it is given to work with.

use crate::machine::{BootFiles, Recipe, scratch_disk};
use crate::packages::Debs;
use crate::tools::Tool;
use crate::{Accel, Failure, Switch};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One claim about the node, tried with real machines.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// A short name: `linux-mtu9000`.
    pub name: &'static str,
    /// What it shows, as a sentence that can be false.
    pub sentence: &'static str,
    /// How long it may take on two slow cores.
    pub limit: Duration,
    /// Whether it starts Linux, whose packages are fetched before its time begins.
    pub linux: bool,
    /// If it runs in a network of its own with programs of this machine as the
    /// node's neighbours ([`Neighbour`](crate::neighbour::Neighbour)): which, so
    /// that they are fetched before its time begins too.
    pub neighbours: Option<&'static [Tool]>,
    /// The scenario itself.
    pub run: fn(&mut Context) -> Result<Report, Failure>,
}

/// What a scenario works with: a folder of its own, the boot files, packages
/// for guests, and the time it has left.
pub struct Context {
    folder: PathBuf,
    boot: BootFiles,
    debs: Debs,
    accel: Accel,
    deadline: Instant,
}

impl Context {
    /// A context whose files are in `folder`.
    pub fn new(
        folder: &Path,
        boot: &BootFiles,
        debs: &Debs,
        accel: Accel,
        limit: Duration,
    ) -> Self {
        Self {
            folder: folder.to_path_buf(),
            boot: boot.clone(),
            debs: debs.clone(),
            accel,
            deadline: Instant::now() + limit,
        }
    }

    /// The scenario's own folder. It is empty at the start and kept at the end.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The node's boot files.
    pub fn boot(&self) -> &BootFiles {
        &self.boot
    }

    /// Packages for guests.
    pub fn debs(&self) -> &Debs {
        &self.debs
    }

    /// The accelerator that works here.
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// `wish`, or what is left of the scenario's time if that is less.
    pub fn within(&self, wish: Duration) -> Duration {
        wish.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    /// `seconds`, or what is left of the scenario's time if that is less.
    pub fn seconds(&self, seconds: u64) -> Duration {
        self.within(Duration::from_secs(seconds))
    }

    /// A switch whose capture is `NAME.pcap` in the scenario's folder.
    pub fn switch(&self, name: &str) -> Result<Switch, Failure> {
        Switch::with_capture(&self.folder.join(format!("{name}.pcap")))
    }

    /// A new empty disk `NAME.img` in the scenario's folder.
    pub fn disk(&self, name: &str, bytes: u64) -> Result<PathBuf, Failure> {
        let path = self.folder.join(format!("{name}.img"));
        scratch_disk(&path, bytes)?;
        Ok(path)
    }

    /// The recipe of a node: the boot file on q35, 64 MiB, no disk, no card.
    pub fn node(&self, name: &str) -> Recipe {
        Recipe::node(name, &self.boot).accel(self.accel)
    }

    /// The recipe of any other guest.
    pub fn guest(&self, name: &str) -> Recipe {
        Recipe::new(name).accel(self.accel)
    }
}

/// What a scenario that passed has to tell: figures, mostly.
#[derive(Clone, Debug, Default)]
pub struct Report {
    lines: Vec<String>,
}

impl Report {
    /// Nothing to tell.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line: "first AoE frame after 0.12 s".
    pub fn note(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// The lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}
