//! Secure Boot: an operator signs the boot file with a key of their own.
//!
//! Signing adds to the end of the file and changes its header, so a header that
//! is not quite right shows here: bytes that belong to no section would not be
//! covered. What the signature covers is tried by changing a byte of each part.

use crate::packages::{self, Need};
use crate::{Context, Failure, OrFail, Report};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What the README tells operators to use.
const NEEDS: [Need; 3] = [
    Need {
        program: "sbsign",
        package: "sbsigntool",
    },
    Need {
        program: "sbverify",
        package: "sbsigntool",
    },
    Need {
        program: "openssl",
        package: "openssl",
    },
];

/// Installs the tools.
pub(super) fn prepare() -> Result<(), Failure> {
    packages::ensure(&NEEDS, &mut |_| {})
}

/// A copy of the boot file, signed with the key in the file `key`, which needs
/// `password`.
pub(super) fn sign(
    context: &Context,
    key: &Path,
    certificate: &Path,
    password: &str,
) -> Result<PathBuf, Failure> {
    let folder = context.folder();
    let boot_file = &context.boot().boot_file;
    for (from, to) in [
        (key, "locked.key"),
        (certificate, "db.crt"),
        (boot_file, "ublade"),
    ] {
        fs::copy(from, folder.join(to)).or_fail(from.display())?;
    }
    let unlock = format!("pkcs8 -in locked.key -passin pass:{password} -out db.key");
    succeed(folder, "openssl", &unlock)?;
    let sign = "--key db.key --cert db.crt --output ublade.signed ublade";
    succeed(folder, "sbsign", sign)?;
    Ok(folder.join("ublade.signed"))
}

pub(super) fn signed(context: &mut Context) -> Result<Report, Failure> {
    prepare()?;
    let folder = context.folder().to_path_buf();
    let boot_file = &context.boot().boot_file;
    let original = fs::read(boot_file).or_fail("the boot file cannot be read")?;
    fs::write(folder.join("ublade"), &original).or_fail("the boot file cannot be copied")?;

    let make_key = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=ublade-test -keyout db.key -out db.crt";
    succeed(&folder, "openssl", make_key)?;
    let sign = "--key db.key --cert db.crt --output ublade.signed ublade";
    let output = succeed(&folder, "sbsign", sign)?;
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    if said.contains("warning") {
        return Err(Failure::new("sbsign warns about the boot file").with(said));
    }
    succeed(&folder, "sbverify", "--cert db.crt ublade.signed")?;

    let signed = fs::read(folder.join("ublade.signed")).or_fail("there is no signed copy")?;
    if signed.len() <= original.len() {
        return Err(Failure::new("the signed copy is no longer than the file"));
    }
    let ends = [0x300, 0x1010, original.len() / 2, original.len() - 1];
    for at in ends {
        let mut broken = signed.clone();
        broken[at] ^= 1;
        fs::write(folder.join("broken"), &broken).or_fail("a copy cannot be written")?;
        if run(&folder, "sbverify", "--cert db.crt broken")?
            .status
            .success()
        {
            return Err(Failure::new(format!(
                "byte {at:#x} was changed and the signature still holds"
            )));
        }
    }
    let mut report = Report::new();
    report.note(format!(
        "{} bytes and a signature of {}; a changed byte in {} places is noticed",
        original.len(),
        signed.len() - original.len(),
        ends.len()
    ));
    Ok(report)
}

fn succeed(folder: &Path, program: &str, arguments: &str) -> Result<Output, Failure> {
    let output = run(folder, program, arguments)?;
    if output.status.success() {
        return Ok(output);
    }
    Err(
        Failure::new(format!("{program} {arguments} failed ({})", output.status))
            .with(String::from_utf8_lossy(&output.stderr)),
    )
}

fn run(folder: &Path, program: &str, arguments: &str) -> Result<Output, Failure> {
    Command::new(program)
        .args(arguments.split(' '))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .or_fail(format_args!("{program} cannot be started"))
}
