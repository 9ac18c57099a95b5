//! UEFI for virtual machines: Debian's OVMF, unpacked and never installed.

use crate::{Context, Failure, OrFail, Recipe};
use std::fs;
use std::path::{Path, PathBuf};

/// For a row's `debs`.
pub(super) const DEBS: (&str, &[&str]) = ("ovmf", &["ovmf"]);

/// The free UEFI firmware for virtual machines.
pub(super) struct Ovmf {
    code: PathBuf,
    variables: PathBuf,
}

impl Ovmf {
    /// Fetches it, and gives the scenario variables of its own.
    pub(super) fn prepare(context: &Context) -> Result<Self, Failure> {
        let folder = context.debs().unpacked(DEBS.0, DEBS.1)?;
        let folder = folder.join("usr/share/OVMF");
        let variables = context.folder().join("uefi-variables.fd");
        fs::copy(folder.join("OVMF_VARS_4M.fd"), &variables)
            .or_fail(format_args!("cannot write {}", variables.display()))?;
        let code = folder.join("OVMF_CODE_4M.fd");
        Ok(Self { code, variables })
    }

    /// `recipe` with this firmware.
    pub(super) fn firmware_of(&self, recipe: Recipe) -> Recipe {
        let flash = |unit: u32, file: &Path, more: &str| {
            let file = file.display();
            format!("if=pflash,unit={unit},format=raw,file={file}{more}")
        };
        recipe.arguments(&[
            "-drive",
            &flash(0, &self.code, ",readonly=on"),
            "-drive",
            &flash(1, &self.variables, ""),
        ])
    }
}
