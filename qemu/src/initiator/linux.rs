//! Linux with its own `aoe` driver, in a machine of its own.
//!
//! The kernel is the newest one of Debian's cloud flavour, unchanged. Its root
//! is an archive in memory with bash, busybox, e2fsprogs, fio and aoetools, and
//! just the libraries that these load. It is built once and kept; a scenario's
//! script is a second archive behind a copy of it.
//!
//! Script and scenario talk over the serial port, one step a line
//! ([`Guest::ok`]), and the scenario can answer ([`Guest::tell`]), so that a
//! cable is pulled while fio runs and not a second before or after.

use super::cpio::Cpio;
use super::elf;
use crate::machine::Nic;
use crate::packages::Debs;
use crate::{Context, Failure, Machine, OrFail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

/// The package that depends on the newest kernel.
const KERNEL: &str = "linux-image-cloud-amd64";
/// What a guest has, by package.
const TOOLS: [&str; 5] = ["aoetools", "bash", "busybox-static", "e2fsprogs", "fio"];
/// The programs of those packages, wherever they lie.
const PROGRAMS: [&str; 14] = [
    "aoe-discover",
    "aoe-flush",
    "aoe-interfaces",
    "aoe-revalidate",
    "aoe-sancheck",
    "aoe-stat",
    "aoe-version",
    "aoecfg",
    "aoeping",
    "bash",
    "dumpe2fs",
    "e2fsck",
    "fio",
    "mke2fs",
];
/// Other names under which they are called.
const ALIASES: [(&str, &str); 3] = [
    ("sh", "bash"),
    ("mkfs.ext4", "mke2fs"),
    ("fsck.ext4", "e2fsck"),
];
/// Drivers that are loaded at start, with all that they depend on.
const DRIVERS: [&str; 2] = ["virtio_pci", "virtio_net"];
/// The driver that a scenario loads itself.
const AOE: &str = "aoe";
/// Where every program finds its libraries without being told.
const LIBRARIES: &str = "lib/x86_64-linux-gnu";
/// The loader's fixed place.
const LOADER: &str = "ld-linux-x86-64.so.2";
/// A change of the archive's layout that its inputs do not show.
const LAYOUT: u32 = 1;

const INIT: &str = include_str!("../../guest/init");
const WORDS: &str = include_str!("../../guest/words.sh");

/// How long Linux may take from QEMU's start to the first line of a script.
const UP_WITHIN: Duration = Duration::from_secs(90);

/// What is in the root of a guest.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The first process, a script.
    pub init: &'static str,
    /// What scripts are written in; a guest without it runs `init` alone.
    pub words: &'static str,
    /// Programs, by name, with the libraries that they load.
    pub programs: &'static [&'static str],
    /// Other names of theirs.
    pub aliases: &'static [(&'static str, &'static str)],
    /// Drivers that `init` loads in the order of `modules/order`.
    pub drivers: &'static [&'static str],
    /// Drivers that are there, and loaded by whoever wants them.
    pub drivers_aside: &'static [&'static str],
}

const INITIATOR: Parts = Parts {
    init: INIT,
    words: WORDS,
    programs: &PROGRAMS,
    aliases: &ALIASES,
    drivers: &DRIVERS,
    drivers_aside: &[AOE],
};

/// Debian's cloud kernel and its drivers, unpacked.
pub(crate) struct Kernel {
    package: String,
    folder: PathBuf,
    /// What `-kernel` loads.
    pub image: PathBuf,
}

impl Kernel {
    /// Fetches the newest one.
    pub(crate) fn fetch(debs: &Debs) -> Result<Self, Failure> {
        let package = debs
            .depends(KERNEL)?
            .into_iter()
            .find(|name| name.starts_with("linux-image-"))
            .or_fail(format_args!("{KERNEL} names no kernel"))?;
        let folder = debs.unpacked("linux", &[&package])?;
        let release = package.trim_start_matches("linux-image-");
        let image = folder.join(format!("boot/vmlinuz-{release}"));
        if !image.is_file() {
            return Err(Failure::new(format!("no kernel at {}", image.display())));
        }
        Ok(Self {
            package,
            folder,
            image,
        })
    }

    /// The archive `NAME.cpio` of `parts`, programs from `tools`, built if it is
    /// not there yet.
    pub(crate) fn root(
        &self,
        debs: &Debs,
        name: &str,
        tools: &Path,
        parts: &Parts,
    ) -> Result<PathBuf, Failure> {
        let root = debs.cache().join(format!("{name}.cpio"));
        let stamp = debs.cache().join(format!("{name}.stamp"));
        let inputs = format!("{LAYOUT} {} {parts:?}", self.package);
        if !fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == inputs) {
            // Half an archive must never look like a whole one.
            let _ = fs::remove_file(&stamp);
            let release = self.package.trim_start_matches("linux-image-");
            build_root(&self.folder, release, tools, parts, &root)?;
            fs::write(&stamp, inputs).or_fail(format_args!("cannot write {}", stamp.display()))?;
        }
        Ok(root)
    }
}

/// A kernel and the root that goes with it.
#[derive(Clone, Debug)]
pub struct Linux {
    kernel: PathBuf,
    root: PathBuf,
}

impl Linux {
    /// Fetches and builds what is not there yet.
    pub fn prepare(debs: &Debs) -> Result<Self, Failure> {
        // Two scenarios at once must not both write the same files.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);

        let kernel = Kernel::fetch(debs)?;
        let tools = debs.unpacked("guest-tools", &debs.with_libraries(&TOOLS)?)?;
        let root = kernel.root(debs, "linux-root", &tools, &INITIATOR)?;
        let kernel = kernel.image;
        Ok(Self { kernel, root })
    }

    /// Starts a guest with the cards `nics` (they are `eth0`, `eth1` … in it)
    /// and waits until it is about to run `script`.
    pub fn start(
        &self,
        context: &Context,
        name: &str,
        nics: impl IntoIterator<Item = Nic>,
        script: &str,
    ) -> Result<Guest, Failure> {
        let root = context.folder().join(format!("{name}.cpio"));
        self.root_with(script, &root)
            .or_fail(format_args!("cannot build {}", root.display()))?;
        let mut recipe = context
            .guest(name)
            .memory("640M")
            .kernel(&self.kernel)
            .initrd(&root)
            .append("console=ttyS0 loglevel=2 panic=-1 mitigations=off net.ifnames=0")
            .append("rdinit=/init");
        for nic in nics {
            recipe = recipe.nic(nic);
        }
        let guest = Guest {
            machine: recipe.start(context.folder())?,
        };
        guest.ok("up", context.within(UP_WITHIN))?;
        // Large, and read by QEMU long since.
        let _ = fs::remove_file(&root);
        Ok(guest)
    }

    fn root_with(&self, script: &str, path: &Path) -> std::io::Result<()> {
        fs::copy(&self.root, path)?;
        let file = File::options().append(true).open(path)?;
        let mut cpio = Cpio::new(BufWriter::new(file));
        cpio.program("guest/scenario.sh", format!("ok up\n{script}").as_bytes())?;
        cpio.finish().map(drop)
    }
}

/// A running Linux.
pub struct Guest {
    machine: Machine,
}

impl Guest {
    /// Waits until the script says that `step` worked, and returns what it
    /// says with it. Any other step, and any failure, is a failure.
    pub fn ok(&self, step: &str, within: Duration) -> Result<String, Failure> {
        let line = self
            .machine
            .wait_for(" :end", within)
            .map_err(|failure| failure.with(format!("The step waited for is \"{step}\".")))?;
        let said = line
            .rsplit_once("UBLADE: ")
            .and_then(|(_, said)| said.strip_suffix(" :end"))
            .unwrap_or(&line);
        if let Some(rest) = said.strip_prefix("ok ")
            && let Some(value) = rest.strip_prefix(step)
            && (value.is_empty() || value.starts_with(' '))
        {
            return Ok(value.trim_start().to_owned());
        }
        Err(self
            .machine
            .failure(format!("at step \"{step}\" the guest says: {said}")))
    }

    /// Tells the script, which waits for it, to go on.
    pub fn tell(&self, word: &str) -> Result<(), Failure> {
        self.machine.type_in(&format!("{word}\n"))
    }

    /// Waits for the end of the script and of the machine.
    pub fn end(self, within: Duration) -> Result<(), Failure> {
        self.ok("end", within)?;
        self.machine.wait_for_end(within).map(drop)
    }

    /// The machine, for its cables and its failures.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

fn build_root(
    system: &Path,
    release: &str,
    tools: &Path,
    parts: &Parts,
    root: &Path,
) -> Result<(), Failure> {
    let sentence = format!("cannot build {}", root.display());
    let (order, modules) = modules_in_order(&system.join("lib/modules").join(release), parts)?;
    let files = index(tools);
    let out = File::create(root).or_fail(&sentence)?;
    let write = || -> std::io::Result<()> {
        let mut cpio = Cpio::new(BufWriter::new(out));
        for folder in [
            "busybox", "dev", "guest", "lib", "lib64", LIBRARIES, "mnt", "modules", "proc", "sys",
            "tmp", "usr", "usr/bin",
        ] {
            cpio.folder(folder)?;
        }
        for link in ["bin", "sbin", "usr/sbin"] {
            cpio.link(link, "/usr/bin")?;
        }
        cpio.program("init", parts.init.as_bytes())?;
        cpio.program("guest/words.sh", parts.words.as_bytes())?;
        cpio.program("modules/order", order.as_bytes())?;
        for (name, bytes) in &modules {
            cpio.program(&format!("modules/{name}.ko"), bytes)?;
        }
        let mut wanted = BTreeSet::new();
        for program in parts.programs {
            let bytes = fs::read(find(&files, program)?)?;
            wanted.extend(elf::needed(&bytes));
            cpio.program(&format!("usr/bin/{program}"), &bytes)?;
        }
        for (alias, program) in parts.aliases {
            cpio.link(&format!("usr/bin/{alias}"), program)?;
        }
        cpio.program("busybox/busybox", &fs::read(find(&files, "busybox")?)?)?;
        let mut done = BTreeSet::new();
        while let Some(name) = wanted.pop_first() {
            let bytes = fs::read(find(&files, &name)?)?;
            wanted.extend(elf::needed(&bytes));
            done.insert(name.clone());
            wanted.retain(|name| !done.contains(name));
            let folder = if name == LOADER { "lib64" } else { LIBRARIES };
            cpio.program(&format!("{folder}/{name}"), &bytes)?;
        }
        cpio.finish().map(drop)
    };
    write().or_fail(sentence)
}

/// Every program and library under `root` by its name.
fn index(root: &Path) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let in_bin = folder.ends_with("bin") || folder.ends_with("sbin");
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if path.is_file() && (in_bin || name.contains(".so")) {
                files.entry(name).or_insert(path);
            }
        }
    }
    files
}

fn find<'a>(files: &'a BTreeMap<String, PathBuf>, name: &str) -> std::io::Result<&'a Path> {
    files
        .get(name)
        .map(PathBuf::as_path)
        .ok_or_else(|| std::io::Error::other(format!("{name} is in none of the unpacked packages")))
}

/// The modules a guest needs, and the names of those to load at start, in an
/// order in which each comes after what it depends on.
fn modules_in_order(
    folder: &Path,
    parts: &Parts,
) -> Result<(String, BTreeMap<String, Vec<u8>>), Failure> {
    let mut paths = BTreeMap::new();
    let mut folders = vec![folder.join("kernel")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if let Some((stem, _)) = name.split_once(".ko") {
                // The kernel writes a name either way.
                paths.insert(stem.replace('-', "_"), path);
            }
        }
    }
    let mut loaded = BTreeMap::new();
    let mut order = Vec::new();
    for driver in parts.drivers.iter().chain(parts.drivers_aside) {
        load(driver, &paths, &mut loaded, &mut order)?;
    }
    order.retain(|name| !parts.drivers_aside.contains(&name.as_str()));
    Ok((order.join("\n") + "\n", loaded))
}

fn load(
    name: &str,
    paths: &BTreeMap<String, PathBuf>,
    loaded: &mut BTreeMap<String, Vec<u8>>,
    order: &mut Vec<String>,
) -> Result<(), Failure> {
    if loaded.contains_key(name) {
        return Ok(());
    }
    // A driver that has no file is built into the kernel.
    let Some(path) = paths.get(name) else {
        return Ok(());
    };
    let bytes = module_bytes(path)?;
    let dependencies = depends_on(&bytes);
    loaded.insert(name.to_owned(), bytes);
    for dependency in dependencies {
        load(&dependency, paths, loaded, order)?;
    }
    order.push(name.to_owned());
    Ok(())
}

/// A module's bytes; Debian compresses them from version 13 on.
fn module_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let sentence = format!("cannot read {}", path.display());
    if path.extension().is_none_or(|end| end != "xz") {
        return fs::read(path).or_fail(sentence);
    }
    let output = Command::new("xz")
        .arg("-dc")
        .arg(path)
        .output()
        .or_fail("cannot start xz (package xz-utils)")?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Failure::new(format!(
            "{sentence}: xz ends with {}",
            output.status
        )))
    }
}

/// What a module says it depends on: a zero-terminated `depends=a,b`.
fn depends_on(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let rest = &module[at + KEY.len()..];
    let end = rest.iter().position(|&byte| byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&rest[..end])
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_depends_on() {
        let module = b"junk\0license=GPL\0depends=virtio,virtio-ring\0retpoline=Y\0";
        assert_eq!(depends_on(module), ["virtio", "virtio_ring"]);
        assert_eq!(depends_on(b"\0depends=\0"), [""; 0]);
        assert_eq!(depends_on(b"nothing"), [""; 0]);
    }
}
