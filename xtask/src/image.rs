//! `cargo xtask image`: everything a machine can be started from.

use crate::house::House;
use crate::{build, command};
use ::image::Artifacts;
use ::image::conf::Conf;
use ::image::disk::{self, Content};
use ::image::images::{self, BOOT_FILES, KINDS};
use qemu::packages::{self, Need};
use qemu::{Failure, OrFail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The raw image may have this many bytes.
const RAW_BYTES_MAX: u64 = 8 << 20;

/// What to make.
#[derive(clap::Args)]
pub struct Options {
    /// Settings to put into every image, instead of the ready-made ublade.conf
    #[arg(long, value_name = "FILE")]
    conf: Option<PathBuf>,
    /// Where the images go, instead of target/image
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Say which file is for which machine, and make nothing
    #[arg(long)]
    list: bool,
}

/// Builds the boot file and makes every image of it.
pub fn verb(house: &House, options: &Options) -> Result<(), Failure> {
    if options.list {
        for (name, machine) in table() {
            println!("{name:<13} {machine}");
        }
        return Ok(());
    }
    // Before the build: what is wrong with it can be said at once.
    let conf = match &options.conf {
        None => Conf::ready_made(),
        Some(path) => Conf::read(path).map_err(Failure::new)?,
    };
    for warning in &conf.warnings {
        eprintln!("warning: the node will say: {warning}");
    }
    let built = build::build(house)?;
    let folder = match &options.out {
        Some(folder) => folder.clone(),
        None => build::files(&built).images,
    };
    fs::create_dir_all(&folder).or_fail(format_args!("cannot make {}", folder.display()))?;
    for (path, bytes) in make(&built, &conf, &folder)? {
        println!("{:>6} KiB  {}", bytes.div_ceil(1024), house.short(&path));
    }
    Ok(())
}

/// Each file and what it is for.
fn table() -> impl Iterator<Item = (&'static str, &'static str)> {
    let kinds = KINDS.iter().map(|kind| (kind.name, kind.machine));
    kinds.chain(BOOT_FILES.iter().copied())
}

/// Makes every image in `folder`, and returns their paths and sizes.
pub fn make(built: &Artifacts, conf: &Conf, folder: &Path) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let read = |path: &Path| fs::read(path).or_fail(path.display());
    let (boot_sector, boot_file) = (read(&built.mbr)?, read(&built.boot_file)?);
    let content = Content {
        boot_sector: &boot_sector,
        boot_file: &boot_file,
        conf: &conf.bytes,
    };
    let mut made = Vec::new();
    for image in images::all(&content).map_err(Failure::new)? {
        let (kind, bytes) = image.map_err(Failure::new)?;
        let path = folder.join(kind.name);
        // Beside it first: a machine that runs from the old one goes on reading it.
        let new = folder.join(format!("{}.{}.new", kind.name, std::process::id()));
        fs::write(&new, &bytes)
            .and_then(|()| fs::rename(&new, &path))
            .or_fail(format_args!("cannot write {}", path.display()))?;
        made.push((path, bytes.len() as u64));
    }
    Ok(made)
}

/// The tools of others that look into the images.
const TOOLS: &[Need] = &[
    need("qemu-img", "qemu-utils"),
    need("fsck.fat", "dosfstools"),
    need("sfdisk", "fdisk"),
    need("xorriso", "xorriso"),
    need("tar", "tar"),
    need("sha256sum", "coreutils"),
];

const fn need(program: &'static str, package: &'static str) -> Need {
    Need { program, package }
}

/// Makes every image twice in `folder` and lets others look at them.
pub fn check(
    built: &Artifacts,
    folder: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<String, Failure> {
    packages::ensure(TOOLS, say)?;
    let again = folder.join("again");
    fs::create_dir_all(&again).or_fail(format_args!("cannot make {}", again.display()))?;
    let conf = Conf::ready_made();
    let made = make(built, &conf, folder)?;
    for ((first, bytes), (second, _)) in made.iter().zip(make(built, &conf, &again)?) {
        let same = fs::read(first).or_fail(first.display())?
            == fs::read(&second).or_fail(second.display())?;
        if !same {
            return Err(Failure::new(format!(
                "{} is not the same when made twice",
                first.display()
            )));
        }
        if first.ends_with("ublade.img") && *bytes > RAW_BYTES_MAX {
            return Err(Failure::new(format!(
                "the raw image has {bytes} bytes, more than {RAW_BYTES_MAX}"
            )));
        }
    }
    let tool = Tool { folder };

    // The same disk in every wrapping.
    tool.says("tar", &["-xf", "ublade.ova"], &[])?;
    tool.says(
        "sha256sum",
        &["--check", "--quiet", "--strict", "ublade.mf"],
        &[],
    )
    .map_err(|failure| failure.with("the manifest in the OVA"))?;
    for (name, format) in [
        ("ublade.qcow2", "qcow2"),
        ("ublade.vmdk", "vmdk"),
        ("ublade-disk.vmdk", "vmdk"),
        ("ublade.vhdx", "vhdx"),
    ] {
        let no_errors = &["No errors were found"];
        tool.says("qemu-img", &["check", "-f", format, name], no_errors)?;
        // A comparison takes a shorter disk for one that ends in zeros.
        let whole = format!("({} bytes)", disk::SECTORS as usize * disk::SECTOR_BYTES);
        tool.says("qemu-img", &["info", "-f", format, name], &[&whole])?;
        tool.compare(format, name)?;
    }
    // By cylinders the VHD is a little shorter; all partitions are in it.
    tool.compare("vpc", "ublade.vhd")?;

    // Partitions, and the file system in the first.
    let no_errors = &["No errors detected"];
    for name in ["ublade.img", "ublade.iso"] {
        tool.says("sfdisk", &["--verify", name], no_errors)?;
    }
    let raw = fs::read(folder.join("ublade.img")).or_fail("ublade.img")?;
    let first = disk::BOOT.first as usize * disk::SECTOR_BYTES;
    let bytes = disk::BOOT.sectors as usize * disk::SECTOR_BYTES;
    let volume = folder.join("boot-partition.img");
    fs::write(&volume, &raw[first..first + bytes]).or_fail(volume.display())?;
    // Its exit status is 1 when there is anything to mend.
    tool.says("fsck.fat", &["-n", "boot-partition.img"], &[])?;

    // The CD-ROM.
    let arguments = [
        "-indev",
        "ublade.iso",
        "-pvd_info",
        "-report_el_torito",
        "plain",
        "-report_system_area",
        "plain",
    ];
    let expected = [
        "Volume Id    : UBLADE",
        "El Torito img path :   1  /UBLADE",
        "El Torito img path :   2  /EFI.IMG",
        "0x80  0xef         2048",
    ];
    tool.says("xorriso", &arguments, &expected)?;
    let kib = made.iter().map(|(_, bytes)| bytes).sum::<u64>() / 1024;
    Ok(format!("{} images, {kib} KiB together", made.len()))
}

/// Runs tools in the folder of the images.
struct Tool<'a> {
    folder: &'a Path,
}

impl Tool<'_> {
    /// `program` succeeds, and what it says contains all of `expected`.
    fn says(&self, program: &str, arguments: &[&str], expected: &[&str]) -> Result<(), Failure> {
        let path = packages::find_program(program).or_fail(program)?;
        let mut line = Command::new(path);
        line.args(arguments)
            .current_dir(self.folder)
            .env("LC_ALL", "C");
        let said = command::output(&mut line)?;
        match expected.iter().find(|expected| !said.contains(**expected)) {
            None => Ok(()),
            Some(expected) => Err(Failure::new(format!(
                "{program} {} does not say {expected:?}",
                arguments.join(" ")
            ))
            .with(said)),
        }
    }

    /// The disk in `name` is the raw one.
    fn compare(&self, format: &str, name: &str) -> Result<(), Failure> {
        let arguments = ["compare", "-f", "raw", "-F", format, "ublade.img", name];
        self.says("qemu-img", &arguments, &["Images are identical"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_a_line_for_every_image() {
        let readme = include_str!("../../README.md");
        for (name, machine) in table() {
            let line = format!("| `{name}` | {machine} |");
            assert!(readme.contains(&line), "the README lacks:\n{line}");
        }
    }
}
