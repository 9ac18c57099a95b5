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
    /// Only the firmware may change its variables, which takes a mode of the
    /// processor of its own.
    is_guarded: bool,
}

impl Ovmf {
    /// Fetches it, and gives the scenario variables of its own.
    pub(super) fn prepare(context: &Context) -> Result<Self, Failure> {
        Self::of(context, "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd", false)
    }

    /// The same with Secure Boot on, and keys in it that everybody knows.
    pub(super) fn secure(context: &Context) -> Result<Self, Failure> {
        let variables = "OVMF_VARS_4M.snakeoil.fd";
        Self::of(context, "OVMF_CODE_4M.secboot.fd", variables, true)
    }

    fn of(
        context: &Context,
        code: &str,
        variables_of: &str,
        is_guarded: bool,
    ) -> Result<Self, Failure> {
        let folder = context.debs().unpacked(DEBS.0, DEBS.1)?;
        let folder = folder.join("usr/share/OVMF");
        let variables = context.folder().join("uefi-variables.fd");
        fs::copy(folder.join(variables_of), &variables)
            .or_fail(format_args!("cannot write {}", variables.display()))?;
        let code = folder.join(code);
        Ok(Self {
            code,
            variables,
            is_guarded,
        })
    }

    /// `recipe` with this firmware.
    pub(super) fn firmware_of(&self, recipe: Recipe) -> Recipe {
        let flash = |unit: u32, file: &Path, more: &str| {
            let file = file.display();
            format!("if=pflash,unit={unit},format=raw,file={file}{more}")
        };
        let recipe = if self.is_guarded {
            let only_in_smm = "driver=cfi.pflash01,property=secure,value=on";
            recipe.arguments(&["-machine", "smm=on", "-global", only_in_smm])
        } else {
            recipe
        };
        recipe.arguments(&[
            "-drive",
            &flash(0, &self.code, ",readonly=on"),
            "-drive",
            &flash(1, &self.variables, ""),
        ])
    }
}
