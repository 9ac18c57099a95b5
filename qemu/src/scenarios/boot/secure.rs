//! Secure Boot, switched on: a signed boot file starts, another is refused.
//!
//! Debian's OVMF comes with a set of variables in which keys are enrolled whose
//! private half is in the package as well: made to be known, and good for a test.

use super::super::signed;
use super::failures::with_stick;
use super::ovmf::{self, Ovmf};
use super::{Row, row};
use crate::{Context, Failure, Report};
use std::path::PathBuf;

pub(super) const ROWS: &[Row] = &[
    Row {
        debs: &[ovmf::DEBS],
        prepare: |_| signed::prepare(),
        ..Row::new(
            "secure-signed",
            "a signed copy, Secure Boot on",
            "OVMF",
            starts,
        )
    }
    .within(240),
    Row {
        debs: &[ovmf::DEBS],
        ..Row::new(
            "secure-unsigned",
            "the file as it is, Secure Boot on: refused",
            "OVMF",
            refused,
        )
    }
    .within(240),
];

fn starts(context: &mut Context) -> Result<Report, Failure> {
    let firmware = Ovmf::secure(context)?;
    let signed = signed_copy(context)?;
    let recipe = firmware.firmware_of(with_stick(context, &signed)?);
    row(context, recipe, None)
}

fn refused(context: &mut Context) -> Result<Report, Failure> {
    let firmware = Ovmf::secure(context)?;
    let boot_file = context.boot().boot_file.clone();
    let recipe = firmware.firmware_of(with_stick(context, &boot_file)?);
    let node = recipe.start(context.folder())?;
    let said = node.wait_for("Access Denied", context.seconds(200))?;
    let mut report = Report::new();
    report.note(format!("the firmware says: {}", said.trim()));
    Ok(report)
}

/// The boot file, signed with the key that the firmware knows.
fn signed_copy(context: &Context) -> Result<PathBuf, Failure> {
    let keys = context.debs().unpacked(ovmf::DEBS.0, ovmf::DEBS.1)?;
    let keys = keys.join("usr/share/ovmf");
    signed::sign(
        context,
        &keys.join("PkKek-1-snakeoil.key"),
        &keys.join("PkKek-1-snakeoil.pem"),
        "snakeoil",
    )
}
