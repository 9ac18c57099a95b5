//! The counting plugin, seen from outside the guest.

use crate::{Failure, OrFail};
use std::path::{Path, PathBuf};

/// What the plugin counted, or a difference of two readings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Instructions that the guest ran.
    pub instructions: u64,
    /// Reads of device registers.
    pub device_reads: u64,
    /// Writes to device registers.
    pub device_writes: u64,
    /// Bytes stored to memory.
    pub bytes_stored: u64,
}

impl Counts {
    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            instructions: self.instructions - earlier.instructions,
            device_reads: self.device_reads - earlier.device_reads,
            device_writes: self.device_writes - earlier.device_writes,
            bytes_stored: self.bytes_stored - earlier.bytes_stored,
        }
    }

    /// Accesses to device registers, either way.
    pub fn accesses(self) -> u64 {
        self.device_reads + self.device_writes
    }
}

/// What to count. Watching registers and stores slows the guest's every access to
/// memory down, so the kinds of figure come from machines of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    Instructions,
    Registers,
    Memory,
    /// The instructions of each processor apart.
    Processors,
}

impl Watch {
    /// A name for files and machines.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Registers => "registers",
            Self::Memory => "memory",
            Self::Processors => "processors",
        }
    }
}

/// A counter in one machine.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    plugin: PathBuf,
    file: PathBuf,
    watch: Watch,
}

impl Counter {
    /// A counter that keeps its figures in `file`.
    pub(super) fn new(plugin: &Path, file: PathBuf, watch: Watch) -> Self {
        Self {
            plugin: plugin.to_path_buf(),
            file,
            watch,
        }
    }

    /// What it watches.
    pub(super) const fn watch(&self) -> Watch {
        self.watch
    }

    /// QEMU's argument behind `-plugin`.
    pub(super) fn argument(&self) -> String {
        let what = match self.watch {
            Watch::Instructions => "io=off",
            Watch::Registers | Watch::Memory => "io=on",
            Watch::Processors => "each=on",
        };
        let (plugin, file) = (self.plugin.display(), self.file.display());
        format!("{plugin},counts={file},{what}")
    }

    /// What has been counted so far.
    pub(super) fn read(&self) -> Result<Counts, Failure> {
        let [instructions, device_reads, device_writes, bytes_stored] = self.words(0)?;
        Ok(Counts {
            instructions,
            device_reads,
            device_writes,
            bytes_stored,
        })
    }

    /// The instructions of the first processors, where they are counted apart.
    pub(super) fn each(&self) -> Result<[u64; 2], Failure> {
        self.words(4)
    }

    fn words<const N: usize>(&self, from: usize) -> Result<[u64; N], Failure> {
        let file = self.file.display();
        let bytes = std::fs::read(&self.file).or_fail(format_args!("no counts in {file}"))?;
        let (words, _) = bytes.as_chunks::<8>();
        let words = words.get(from..).and_then(|words| words.first_chunk());
        let words: &[[u8; 8]; N] = words.or_fail(format_args!("{file} is too short"))?;
        Ok(words.map(u64::from_ne_bytes))
    }
}
