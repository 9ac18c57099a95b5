//! A running Linux that starts another kernel in its own place: kexec.
//!
//! It enters by the 64-bit entry of the boot protocol, and puts the file and what it
//! leaves as high in memory as it can.

use super::cpio::Cpio;
use super::linux::{Kernel, Parts};
use crate::packages::Debs;
use crate::{Context, Failure, OrFail, Recipe};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;

const TOOLS: [&str; 2] = ["busybox-static", "kexec-tools"];

const PARTS: Parts = Parts {
    init: include_str!("../../guest/kexec"),
    words: "",
    programs: &["kexec"],
    aliases: &[],
    drivers: &[],
    drivers_aside: &[],
};

/// Fetches and builds what is not there yet.
pub(crate) fn prepare(debs: &Debs) -> Result<(), Failure> {
    root(debs).map(drop)
}

fn root(debs: &Debs) -> Result<(Kernel, PathBuf), Failure> {
    let kernel = Kernel::fetch(debs)?;
    let tools = debs.unpacked("kexec-tools", &debs.with_libraries(&TOOLS)?)?;
    let root = kernel.root(debs, "kexec-root", &tools, &PARTS)?;
    Ok((kernel, root))
}

/// A machine whose Linux starts our boot file with `command_line`.
pub(crate) fn machine(context: &Context, command_line: &str) -> Result<Recipe, Failure> {
    let (kernel, root) = root(context.debs())?;
    let boot_file = &context.boot().boot_file;
    let boot_file = fs::read(boot_file).or_fail(boot_file.display())?;
    let archive = context.folder().join("kexec.cpio");
    let add = || -> std::io::Result<()> {
        fs::copy(&root, &archive)?;
        let mut cpio = Cpio::new(BufWriter::new(File::options().append(true).open(&archive)?));
        cpio.folder("srv")?;
        cpio.program("srv/command-line", command_line.as_bytes())?;
        cpio.program("srv/ublade", &boot_file)?;
        cpio.finish().map(drop)
    };
    add().or_fail(format_args!("cannot build {}", archive.display()))?;
    Ok(context
        .guest("node")
        .kernel(&kernel.image)
        .initrd(&archive)
        .append("console=ttyS0 loglevel=2 panic=-1 mitigations=off rdinit=/init"))
}
