//! Which QEMU it is.

use crate::packages::{Debs, QEMU, newer_qemu};
use crate::{Failure, OrFail};
use std::path::PathBuf;
use std::process::Command;

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

    /// The system's own if it is of version `major` or later, or else the newer one, if
    /// it was fetched and is.
    pub fn since(major: u32, debs: &Debs) -> Result<Option<Self>, Failure> {
        let own = Self::default();
        if own.major()? >= major {
            return Ok(Some(own));
        }
        match newer_qemu::fetched(debs) {
            Some(newer) if newer.major()? >= major => Ok(Some(newer)),
            _ => Ok(None),
        }
    }

    /// The first number of its version.
    fn major(&self) -> Result<u32, Failure> {
        let asked = Command::new(&self.program)
            .arg("-version")
            .output()
            .or_fail(format_args!("cannot start {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&asked.stdout);
        said.split_once("version ")
            .and_then(|(_, rest)| rest.split('.').next()?.parse().ok())
            .or_fail(format_args!("{} has no version", self.program.display()))
    }
}
