//! Boot loaders of others, from a CD-ROM that is made here of their packages.
//!
//! They leave memory as they found it, full of themselves, which QEMU's own loader
//! does not; and each hands over the command line in its own way.

use super::{Row, row, started};
use crate::initiator::kexec;
use crate::packages::{Need, find_program};
use crate::{Context, Disk, Failure, Machine, OrFail, Recipe, Report};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A shelf that only the loader's command line can have brought.
pub(super) const SHELF: u16 = 5;

pub(super) const XORRISO: Need = Need {
    program: "xorriso",
    package: "xorriso",
};
pub(super) const MKRESCUE: Need = Need {
    program: "grub-mkrescue",
    package: "grub-common",
};
pub(super) const MFORMAT: Need = Need {
    program: "mformat",
    package: "mtools",
};
const ISOLINUX: &str = "/usr/lib/ISOLINUX/isolinux.bin";
const LDLINUX: &str = "/usr/lib/syslinux/modules/bios/ldlinux.c32";

pub(super) const ROWS: &[Row] = &[
    Row {
        needs: &[
            XORRISO,
            MKRESCUE,
            MFORMAT,
            Need {
                program: "/usr/lib/grub/i386-pc/cdboot.img",
                package: "grub-pc-bin",
            },
        ],
        ..Row::new(
            "grub-bios",
            "GRUB's linux command",
            "SeaBIOS, GRUB",
            |context| {
                let disc = grub(context, "/usr/lib/grub/i386-pc")?;
                row(context, from(context, &disc), Some(SHELF))
            },
        )
    },
    Row {
        needs: &[
            XORRISO,
            Need {
                program: ISOLINUX,
                package: "isolinux",
            },
            Need {
                program: LDLINUX,
                package: "syslinux-common",
            },
        ],
        ..Row::new(
            "syslinux",
            "syslinux from a CD-ROM",
            "SeaBIOS, syslinux",
            |context| {
                let disc = syslinux(context)?;
                row(context, from(context, &disc), Some(SHELF))
            },
        )
    },
    Row {
        prepare: kexec::prepare,
        ..Row::new(
            "kexec",
            "kexec, by the 64-bit entry",
            "QEMU, Linux",
            |context| by_kexec(context, "512M"),
        )
    }
    .within(180),
    Row {
        prepare: kexec::prepare,
        ..Row::new(
            "kexec-5g",
            "kexec to above 4 GiB",
            "QEMU, Linux",
            |context| by_kexec(context, "5G"),
        )
    }
    .within(180),
];

/// Linux's own way to start another kernel: the 64-bit entry, from `memory`.
fn by_kexec(context: &Context, memory: &str) -> Result<Report, Failure> {
    let recipe = kexec::machine(context, &format!("ublade.shelf={SHELF}"))?;
    let by = "booted by Linux protocol, 64-bit";
    let ask = |node: &mut Machine| node.wait_for(by, context.seconds(5)).map(drop);
    started(context, recipe.memory(memory), Some(SHELF), ask).map(|(report, _)| report)
}

/// A machine that starts from the CD-ROM at `disc`.
fn from(context: &Context, disc: &Path) -> Recipe {
    context
        .guest("node")
        .memory("128M")
        .disk(Disk::file(disc).model("ide-cd").property("bootindex=0"))
}

/// GRUB's rescue disc, of the `modules` of a platform, with our boot file on it.
pub(super) fn grub(context: &Context, modules: &str) -> Result<PathBuf, Failure> {
    let tree = tree(context, &["boot/grub"])?;
    let menu = format!("set timeout=0\nlinux /ublade ublade.shelf={SHELF}\nboot\n");
    put(&tree.join("boot/grub/grub.cfg"), menu.as_bytes())?;
    let disc = context.folder().join("grub.iso");
    let arguments = [
        "-d".as_ref(),
        modules.as_ref(),
        "-o".as_ref(),
        disc.as_os_str(),
        tree.as_os_str(),
    ];
    tool("grub-mkrescue", &arguments)?;
    Ok(disc)
}

/// A CD-ROM with syslinux, in its form for CD-ROMs, and our boot file.
fn syslinux(context: &Context) -> Result<PathBuf, Failure> {
    let tree = tree(context, &["isolinux"])?;
    for file in [ISOLINUX, LDLINUX] {
        let name = Path::new(file).file_name().expect("it is a file");
        let bytes = fs::read(file).or_fail(file)?;
        put(&tree.join("isolinux").join(name), &bytes)?;
    }
    let menu = format!(
        "serial 0 115200\ndefault ublade\nlabel ublade\n  linux /ublade\n  append ublade.shelf={SHELF}\n"
    );
    put(&tree.join("isolinux/isolinux.cfg"), menu.as_bytes())?;
    let disc = context.folder().join("syslinux.iso");
    let words = "-as mkisofs -quiet -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
                 -boot-load-size 4 -boot-info-table -o";
    let mut arguments: Vec<&std::ffi::OsStr> =
        words.split_whitespace().map(AsRef::as_ref).collect();
    arguments.extend([disc.as_os_str(), tree.as_os_str()]);
    tool("xorriso", &arguments)?;
    Ok(disc)
}

/// A folder with our boot file and with `folders`.
fn tree(context: &Context, folders: &[&str]) -> Result<PathBuf, Failure> {
    let tree = context.folder().join("tree");
    for folder in folders {
        let folder = tree.join(folder);
        fs::create_dir_all(&folder).or_fail(format_args!("cannot make {}", folder.display()))?;
    }
    let boot_file = &context.boot().boot_file;
    fs::copy(boot_file, tree.join("ublade")).or_fail(boot_file.display())?;
    Ok(tree)
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).or_fail(format_args!("cannot write {}", path.display()))
}

fn tool(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<(), Failure> {
    let output = Command::new(find_program(program).or_fail(program)?)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .or_fail(format_args!("cannot start {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(
        Failure::new(format!("{program} failed ({})", output.status))
            .with(String::from_utf8_lossy(&output.stderr)),
    )
}
