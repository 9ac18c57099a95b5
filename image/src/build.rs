//! Making it: cargo for the kernel alone, then the boot file.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The profile the kernel is built with.
const PROFILE: &str = "kernel";
/// The kernel's package, and what comes out.
const PACKAGE: &str = "ublade";

/// What to build.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder with the workspace's `Cargo.toml`.
    pub workspace: PathBuf,
    /// Where cargo builds; the files go into `image` below it.
    pub target: PathBuf,
    /// Whether cargo may not ask the network.
    pub offline: bool,
}

impl Default for Options {
    /// This workspace, and its own target folder or `CARGO_TARGET_DIR`.
    fn default() -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("this crate is a folder of the workspace")
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => workspace.join(folder),
            None => workspace.join("target"),
        };
        Self {
            workspace,
            target,
            offline: false,
        }
    }
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// For everything that can load a Linux kernel.
    pub boot_file: PathBuf,
    /// Its bytes.
    pub boot_file_bytes: u64,
    /// The ELF: PVH, the Hermit loader, and names for addresses.
    pub elf: PathBuf,
    /// Its bytes, most of them names and line numbers.
    pub elf_bytes: u64,
    /// The boot sector's code, without its two fields (`layout`).
    pub mbr: PathBuf,
    /// Memory that the kernel takes before it gives any out.
    pub memory_bytes: u64,
}

/// Builds the kernel and makes the boot file. The error is what cargo said, or a
/// sentence.
///
/// The kernel is built in a cargo call of its own: host tools share its target,
/// and in one call it would get the features that they ask of common crates.
pub fn build(options: &Options) -> Result<Artifacts, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(&options.workspace)
        .args(["build", "--package", PACKAGE, "--bin", PACKAGE])
        .args(["--profile", PROFILE, "--target-dir"])
        .arg(&options.target);
    if options.offline {
        command.arg("--offline");
    }
    let output = command
        .output()
        .map_err(|error| format!("cargo can not be started: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "the kernel can not be built:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }

    let linked = options.target.join(PROFILE).join(PACKAGE);
    let bytes = fs::read(&linked).map_err(|error| format!("{}: {error}", linked.display()))?;
    let boot_file = crate::boot_file(&bytes, env!("CARGO_PKG_VERSION"))?;
    let mbr = crate::mbr(&bytes)?;
    let memory_bytes = crate::elf::Elf::parse(&bytes)?.memory_end();

    let folder = options.target.join("image");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let artifacts = Artifacts {
        boot_file: folder.join(PACKAGE),
        boot_file_bytes: boot_file.len() as u64,
        elf: folder.join(PACKAGE).with_extension("elf"),
        elf_bytes: bytes.len() as u64,
        mbr: folder.join(PACKAGE).with_extension("mbr"),
        memory_bytes,
    };
    replace(&artifacts.boot_file, &boot_file)?;
    replace(&artifacts.elf, &bytes)?;
    replace(&artifacts.mbr, &mbr)?;
    Ok(artifacts)
}

/// Puts a whole file in place of the old one: a machine that was started from
/// the old one goes on reading it.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let new = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&new, bytes)
        .and_then(|()| fs::rename(&new, path))
        .map_err(|error| format!("{}: {error}", path.display()))
}
