//! Every size at every depth on every disk, durable and not.
//!
//! Too many figures to look at one by one: they are a table, and they show that no corner
//! was left out. Each disk has its turn, and on it all targets take turns at every load.

use super::load::{Access, Contents, Load, Order, Until};
use super::parts::Pace;
use super::spread::Spread;
use super::target::{NULL, Place, Serving, Target, WINDOW_SECTORS, recipe};
use crate::machine::{Disk, scratch_disk};
use crate::{Failure, OrFail};
use std::fs;
use std::path::Path;
use std::time::Duration;

const SECTORS: [u8; 4] = [1, 2, 8, 17];
const DEPTHS: [usize; 4] = [1, 8, 32, 64];
/// How often and how long each figure is taken: there are 480 of them.
const ROUNDS: [usize; 2] = [3, 1];
const TURN: Duration = Duration::from_millis(150);
/// Where a host has files in memory.
const TMPFS: &str = "/dev/shm";

/// What is below a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Moves no data: QEMU's null-co behind virtio-blk.
    Null,
    /// The guest's own memory: the node's RAM disk, Linux's /dev/ram0.
    Memory,
    /// A file on the host's tmpfs behind virtio-blk.
    Tmpfs,
}

impl Storage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Null, Self::Memory, Self::Tmpfs];

    /// What a person calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Memory => "RAM disk",
            Self::Tmpfs => "file on tmpfs",
        }
    }
}

/// A target, and when it acknowledges a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The node as it comes: durable when acknowledged.
    Durable,
    /// The node with `cache=writeback`.
    WriteBack,
    /// vblade past the page cache.
    VbladeDirect,
    /// vblade as it comes: from the page cache.
    Vblade,
    /// vblade that waits for every write.
    VbladeSync,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Durable,
        Self::WriteBack,
        Self::VbladeDirect,
        Self::Vblade,
        Self::VbladeSync,
    ];

    /// What a person calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Durable => "ublade",
            Self::WriteBack => "ublade, write-back",
            Self::VbladeDirect => "vblade -d",
            Self::Vblade => "vblade, write-back",
            Self::VbladeSync => "vblade -s",
        }
    }

    const fn target(self) -> Target {
        match self {
            Self::Durable | Self::WriteBack => Target::Ublade,
            Self::VbladeDirect => Target::VbladeDirect,
            Self::Vblade => Target::Vblade,
            Self::VbladeSync => Target::VbladeSync,
        }
    }
}

/// One figure of the table.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What is below.
    pub storage: Storage,
    /// Who, and how.
    pub mode: Mode,
    /// The load.
    pub load: Load,
    /// Requests a second.
    pub per_second: Spread,
    /// Median answer time in microseconds, over all rounds.
    pub p50: f64,
}

fn loads() -> Vec<Load> {
    let mut loads = Vec::new();
    for sectors in SECTORS {
        for access in [Access::Read, Access::Write] {
            for depth in DEPTHS {
                loads.push(Load {
                    access,
                    order: Order::Sequential,
                    sectors,
                    depth,
                });
            }
        }
    }
    loads
}

/// Measures all of it.
pub(super) fn matrix(
    place: &Place,
    pace: Pace,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Cell>, Failure> {
    let folder = Path::new(TMPFS).join(format!("ublade-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).or_fail(format_args!("cannot create {}", folder.display()))?;
    let cells = Storage::ALL
        .into_iter()
        .map(|storage| on(place, storage, &folder, pace, say))
        .collect::<Result<Vec<_>, _>>();
    // Memory that nobody would miss until there is none.
    let _ = fs::remove_dir_all(&folder);
    Ok(cells?.concat())
}

fn on(
    place: &Place,
    storage: Storage,
    folder: &Path,
    pace: Pace,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Cell>, Failure> {
    let mut serving = Vec::new();
    for mode in Mode::ALL {
        say(&format!("{}: start {}", storage.name(), mode.name()));
        serving.push(start(place, storage, mode, folder)?);
    }
    let mut all = Vec::new();
    for load in loads() {
        for mode in Mode::ALL {
            all.push((mode, load, Vec::new(), super::Latencies::default()));
        }
    }
    for round in 1..=ROUNDS[usize::from(pace.is_quick)] {
        say(&format!("{}: round {round}", storage.name()));
        for (index, (_, load, per_second, latencies)) in all.iter_mut().enumerate() {
            let serving = &mut serving[index % Mode::ALL.len()];
            let outcome = serving.drive(*load, Until::Time(TURN))?;
            per_second.push(outcome.per_second());
            latencies.append(&outcome.latencies);
        }
    }
    Ok(all
        .into_iter()
        .map(|(mode, load, per_second, latencies)| Cell {
            storage,
            mode,
            load,
            per_second: Spread::of(&per_second),
            p50: latencies.percentiles().p50,
        })
        .collect())
}

fn start(place: &Place, storage: Storage, mode: Mode, folder: &Path) -> Result<Serving, Failure> {
    let target = mode.target();
    let index = Mode::ALL.iter().position(|&one| one == mode);
    let name = format!("matrix-{}", index.unwrap_or_default());
    let mut words = Vec::new();
    if mode == Mode::WriteBack {
        words.push("ublade.cache=writeback");
    }
    if storage == Storage::Memory {
        words.push(match target {
            Target::Ublade => "ublade.ram.1=16M",
            _ => "DEVICE=/dev/ram0",
        });
    }
    let recipe = recipe(place, target, &name, &words.join(" "))?;
    let recipe = match storage {
        Storage::Null => recipe.disk(Disk::backed_by(NULL).serial("null")),
        Storage::Memory => recipe,
        Storage::Tmpfs => {
            let path = folder.join(format!("{name}.img"));
            scratch_disk(&path, WINDOW_SECTORS * 512)?;
            recipe.disk(Disk::file(&path).serial("tmpfs"))
        }
    };
    // Sizes follow each other on the same sectors; what is right is shown elsewhere.
    Serving::start_machine(place, recipe, None, Contents::Unknown)
}
