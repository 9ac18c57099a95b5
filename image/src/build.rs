//! Making it: cargo for the kernel alone, then the boot file.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The profile the kernel is built with.
const PROFILE: &str = "kernel";
/// The package of the kernel, and that of the boot file's own code.
const KERNEL: &str = "ublade";
const DOOR: &str = "door";

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
    /// The ELF of the boot file's own code.
    pub door: PathBuf,
    /// Bytes of the kernel before it is packed.
    pub kernel_bytes: u64,
    /// Memory that the kernel takes before it gives any out.
    pub memory_bytes: u64,
}

/// Builds the kernel and makes the boot file. The error is what cargo said, or a
/// sentence.
///
/// Both programs are built in a cargo call of their own: host tools share their
/// target, and in one call they would get the features that those ask of common
/// crates.
pub fn build(options: &Options) -> Result<Artifacts, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(&options.workspace)
        .args(["build", "--package", KERNEL, "--package", DOOR, "--bins"])
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

    let program = |name: &str| {
        let path = options.target.join(PROFILE).join(name);
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<_, String>((path, bytes))
    };
    let ((door, door_bytes), (_, bytes)) = (program(DOOR)?, program(KERNEL)?);
    let boot_file = crate::boot_file(&door_bytes, &bytes, env!("CARGO_PKG_VERSION"))?;
    let mbr = crate::mbr(&door_bytes)?;
    let elf = crate::elf::Elf::parse(&bytes)?;
    let (kernel_bytes, memory_bytes) = (elf.file_end(), elf.memory_end());

    let folder = options.target.join("image");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let artifacts = Artifacts {
        boot_file: folder.join(KERNEL),
        boot_file_bytes: boot_file.len() as u64,
        elf: folder.join(KERNEL).with_extension("elf"),
        elf_bytes: bytes.len() as u64,
        mbr: folder.join(KERNEL).with_extension("mbr"),
        door,
        kernel_bytes,
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
