//! The tools of other people that we need: installed, or fetched aside.
//!
//! On Debian and Ubuntu a missing program is installed when we may do that, and
//! when we may not, the one line to type is the error. What only a guest needs
//! (a kernel, busybox, fio) is never installed on the host: its package is
//! downloaded and unpacked into `target/cache`, once.

pub mod newer_qemu;

use crate::{Failure, OrFail};
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where programs are found even when the caller's `PATH` forgets them.
const SYSTEM_PATHS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// A program, and the Debian package that has it.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// The program's name, or the absolute path of a file.
    pub program: &'static str,
    /// The package to install for it.
    pub package: &'static str,
}

/// QEMU itself.
pub const QEMU: Need = Need {
    program: "qemu-system-x86_64",
    package: "qemu-system-x86",
};
/// `ip`, for network namespaces.
pub const IP: Need = Need {
    program: "ip",
    package: "iproute2",
};

/// Makes sure that every program of `needs` can be started.
///
/// Installs what is missing when we are root or may be without a password, and
/// tells `say` about each step. Otherwise the failure is the line to type.
pub fn ensure(needs: &[Need], say: &mut dyn FnMut(&str)) -> Result<(), Failure> {
    let missing: Vec<Need> = needs
        .iter()
        .copied()
        .filter(|need| find_program(need.program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: BTreeSet<&str> = missing.iter().map(|need| need.package).collect();
    let packages: Vec<&str> = packages.into_iter().collect();
    let list = packages.join(" ");
    let to_type = format!("sudo apt-get update && sudo apt-get install -y {list}");
    if find_program("apt-get").is_none() {
        let programs: Vec<&str> = missing.iter().map(|need| need.program).collect();
        return Err(Failure::new(format!(
            "{} is missing, and this is neither Debian nor Ubuntu: install what Debian calls {list}",
            programs.join(", ")
        )));
    }
    let Some(prefix) = root_prefix() else {
        return Err(Failure::new(format!("{list} is missing. Type: {to_type}")));
    };
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(&packages);
    say(&format!("installing {list}"));
    let mut outcome = apt_get(prefix, &install)?;
    if !outcome.status.success() {
        // Lists that were never fetched, or that name files long replaced.
        say("updating the package lists");
        let update = apt_get(prefix, &["update"])?;
        if !update.status.success() {
            return Err(refused("apt-get update", &update).with(format!("Type: {to_type}")));
        }
        say(&format!("installing {list}"));
        outcome = apt_get(prefix, &install)?;
    }
    if !outcome.status.success() {
        return Err(refused("apt-get install", &outcome).with(format!("Type: {to_type}")));
    }
    match missing
        .iter()
        .find(|need| find_program(need.program).is_none())
    {
        None => Ok(()),
        Some(need) => Err(Failure::new(format!(
            "package {} is installed and {} is still missing",
            need.package, need.program
        ))),
    }
}

/// Where `program` is: on the `PATH`, in the system's folders, or, if it is an
/// absolute path, there.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_PATHS.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Whether we are the superuser.
pub fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// What to put before a command to run it as root, if we may.
fn root_prefix() -> Option<&'static [&'static str]> {
    if is_root() {
        return Some(&[]);
    }
    let allowed = Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    allowed.then_some(&["sudo", "-n", "--preserve-env=DEBIAN_FRONTEND"])
}

fn apt_get(prefix: &[&str], arguments: &[&str]) -> Result<Output, Failure> {
    let words: Vec<&str> = prefix
        .iter()
        .copied()
        .chain(["apt-get", "-q"])
        .chain(arguments.iter().copied())
        .collect();
    let (program, rest) = words.split_first().expect("apt-get is always there");
    Command::new(program)
        .args(rest)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .or_fail(format_args!("cannot start {program}"))
}

fn refused(what: &str, output: &Output) -> Failure {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    let from = lines.len().saturating_sub(5);
    Failure::new(format!("{what} failed ({})", output.status)).with(lines[from..].join("\n"))
}

/// Packages fetched and unpacked for guests, in a folder of their own.
#[derive(Clone, Debug)]
pub struct Debs {
    cache: PathBuf,
    /// What apt is told besides, if it is not to use the system's own archives.
    options: Vec<String>,
}

impl Debs {
    /// Keeps everything under `cache`.
    pub fn new(cache: &Path) -> Self {
        Self {
            cache: cache.to_path_buf(),
            options: Vec::new(),
        }
    }

    /// The folder in which everything is kept. Scenarios may keep what they
    /// build from packages (an initramfs) here too.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The folder `set` with all of `packages` unpacked into it, fetched now if
    /// it is not there yet. A set whose list changed is fetched anew.
    pub fn unpacked(&self, set: &str, packages: &[impl AsRef<str>]) -> Result<PathBuf, Failure> {
        let root = self.cache.join(set);
        let stamp = self.cache.join(format!("{set}.stamp"));
        let packages: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
        let list = packages.join("\n");
        if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == list) {
            return Ok(root);
        }
        let downloads = self.cache.join("debs");
        // What a run that was interrupted left is of no use.
        let _ = fs::remove_file(&stamp);
        let _ = fs::remove_dir_all(&root);
        for folder in [&root, &downloads] {
            fs::create_dir_all(folder)
                .or_fail(format_args!("cannot create {}", folder.display()))?;
        }
        self.download(&packages, &downloads)?;
        for package in &packages {
            let deb = find_deb(package, &downloads).expect("downloaded, so it is there");
            let output = Command::new("dpkg-deb")
                .arg("-x")
                .arg(&deb)
                .arg(&root)
                .output()
                .or_fail("cannot start dpkg-deb")?;
            if !output.status.success() {
                // A broken download must not stay in the cache.
                let _ = fs::remove_file(&deb);
                return Err(refused(&format!("unpacking {}", deb.display()), &output));
            }
        }
        fs::write(&stamp, list).or_fail(format_args!("cannot write {}", stamp.display()))?;
        Ok(root)
    }

    /// `packages` and all that they depend on, by name, sorted. Where one of
    /// several packages would do, apt's first choice is taken.
    pub fn with_dependencies(&self, packages: &[&str]) -> Result<Vec<String>, Failure> {
        let mut arguments = vec![
            "depends",
            "--recurse",
            "--no-recommends",
            "--no-suggests",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
            "--no-enhances",
        ];
        arguments.extend(packages);
        let said = self.ask_apt_cache(&arguments)?;
        // A package's own line stands at the margin; <virtual> ones have no file.
        let names: BTreeSet<String> = said
            .lines()
            .filter(|line| !line.starts_with([' ', '|', '<']) && !line.is_empty())
            .map(|line| line.split(':').next().unwrap_or(line).to_owned())
            .collect();
        Ok(names.into_iter().collect())
    }

    /// The packages `tools` and every library that one of them may load. fio is
    /// built with half a dozen cluster file systems whose packages bring whole
    /// languages along; a library is all we want of them.
    pub fn with_libraries(&self, tools: &[&str]) -> Result<Vec<String>, Failure> {
        let mut all = self.with_dependencies(tools)?;
        all.retain(|name| {
            let library = name.starts_with("lib") || name.starts_with("zlib");
            let language = ["perl", "python", "debian-installer", "libjs-", "llvm"]
                .iter()
                .any(|word| name.contains(word));
            tools.contains(&name.as_str()) || library && !language
        });
        Ok(all)
    }

    /// What `package` itself depends on: for a metapackage, the real thing
    /// (`linux-image-cloud-amd64` names the newest kernel).
    pub fn depends(&self, package: &str) -> Result<Vec<String>, Failure> {
        let said = self.ask_apt_cache(&["depends", "--important", package])?;
        Ok(said
            .lines()
            .filter_map(|line| {
                line.trim_start_matches([' ', '|'])
                    .strip_prefix("Depends: ")
            })
            .filter(|name| !name.starts_with('<'))
            .map(|name| name.split(':').next().unwrap_or(name).to_owned())
            .collect())
    }

    /// Makes sure that the files of `packages` are in the folder `into`. One call
    /// fetches all of them: apt needs a second to start, and there are many.
    fn download(&self, packages: &[&str], into: &Path) -> Result<(), Failure> {
        let missing = || -> Vec<&str> {
            let all = packages.iter().copied();
            all.filter(|package| find_deb(package, into).is_none())
                .collect()
        };
        let fetch = |packages: &[&str]| {
            Command::new("apt-get")
                .args(&self.options)
                .args(["-q", "download"])
                .args(packages)
                .current_dir(into)
                .stdin(Stdio::null())
                .output()
                .or_fail("cannot start apt-get")
        };
        let mut wanted = missing();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut output = fetch(&wanted)?;
        wanted = missing();
        if !wanted.is_empty()
            && let Some(prefix) = root_prefix()
        {
            apt_get(prefix, &["update"])?;
            output = fetch(&wanted)?;
            wanted = missing();
        }
        // Apt may warn (its sandbox user cannot see the folder): the files count.
        if wanted.is_empty() {
            return Ok(());
        }
        let list = wanted.join(" ");
        Err(refused(&format!("apt-get download {list}"), &output)
            .with("The package lists may be old. Type: sudo apt-get update"))
    }

    fn ask_apt_cache(&self, arguments: &[&str]) -> Result<String, Failure> {
        let ask = || {
            Command::new("apt-cache")
                .args(arguments)
                .stdin(Stdio::null())
                .output()
                .or_fail("cannot start apt-cache")
        };
        let mut output = ask()?;
        if !output.status.success()
            && let Some(prefix) = root_prefix()
        {
            apt_get(prefix, &["update"])?;
            output = ask()?;
        }
        if !output.status.success() {
            return Err(refused("apt-cache", &output)
                .with("The package lists may be missing. Type: sudo apt-get update"));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The file `package_VERSION_ARCH.deb` in `folder`.
fn find_deb(package: &str, folder: &Path) -> Option<PathBuf> {
    let start = format!("{package}_");
    fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(&start) && name.ends_with(".deb")
        })
        .map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_name_and_by_path() {
        let by_name = find_program("sh").expect("every system has a shell");
        assert_eq!(find_program(by_name.to_str().unwrap()), Some(by_name));
        assert_eq!(find_program("no-such-program-anywhere"), None);
    }

    #[test]
    fn a_package_is_found_by_its_whole_name_only() {
        let folder = env::temp_dir().join(format!("ublade-debs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("fio-tools_3_amd64.deb"), []).unwrap();
        assert_eq!(find_deb("fio", &folder), None);
        let deb = folder.join("fio_3.33-3_amd64.deb");
        fs::write(&deb, []).unwrap();
        assert_eq!(find_deb("fio", &folder), Some(deb));
        fs::remove_dir_all(&folder).unwrap();
    }
}
