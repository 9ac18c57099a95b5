//! Debian's programs that scenarios run beside the node: dnsmasq, curl, a browser.
//!
//! One that is installed is used. One that is not is never installed for a test
//! (chrony would take the place of the machine's own time service): its package is
//! unpacked into the cache with the libraries it needs, and runs from there. The C
//! library is the machine's own, since the loader that starts the program is.

use crate::packages::{Debs, find_program};
use crate::{Failure, OrFail};
use std::env;
use std::path::PathBuf;
use std::process::Command;

/// A program and the package that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// The program's name.
    pub program: &'static str,
    /// Where it is in the package.
    path: &'static str,
    /// The package, and others that it needs beside libraries.
    packages: &'static [&'static str],
}

impl Tool {
    const fn new(
        program: &'static str,
        path: &'static str,
        packages: &'static [&'static str],
    ) -> Self {
        Self {
            program,
            path,
            packages,
        }
    }
}

/// DHCP and DNS server.
pub const DNSMASQ: Tool = Tool::new("dnsmasq", "usr/sbin/dnsmasq", &["dnsmasq-base"]);
/// Time server.
pub const CHRONYD: Tool = Tool::new("chronyd", "usr/sbin/chronyd", &["chrony"]);
/// Log server.
pub const RSYSLOGD: Tool = Tool::new("rsyslogd", "usr/sbin/rsyslogd", &["rsyslog"]);
/// HTTP client.
pub const CURL: Tool = Tool::new("curl", "usr/bin/curl", &["curl"]);
/// ICMP echo.
pub const PING: Tool = Tool::new("ping", "bin/ping", &["iputils-ping"]);

/// Takes frames apart.
pub const TCPDUMP: Tool = Tool::new("tcpdump", "usr/bin/tcpdump", &["tcpdump"]);
/// A browser for a terminal.
pub const W3M: Tool = Tool::new("w3m", "usr/bin/w3m", &["w3m"]);

/// Another AoE target.
pub const VBLADE: Tool = Tool::new("vblade", "usr/sbin/vblade", &["vblade"]);
/// Collects figures.
pub const PROMETHEUS: Tool = Tool::new("prometheus", "usr/bin/prometheus", &["prometheus"]);
/// Reads figures and rules.
pub const PROMTOOL: Tool = Tool::new("promtool", "usr/bin/promtool", &["prometheus"]);

/// A browser. Where none is installed it is the one without a window, which is
/// smaller by half.
pub const CHROMIUM: Tool = Tool::new(
    "chromium",
    "usr/lib/chromium/chromium-headless-shell",
    &["chromium-headless-shell", "chromium-common"],
);
/// What a browser writes with. No program has this name, so they are always those of
/// the package, and pictures are the same everywhere.
pub const FONTS: Tool = Tool::new("fonts-liberation", "", &["fonts-liberation"]);

/// Parts of the C library and the compiler, which every machine has: they belong
/// to its loader.
const OF_THE_MACHINE: [&str; 4] = ["libc6", "libgcc-s1", "libstdc++6", "libcrypt1"];
/// Where a package has its libraries.
const LIBRARIES: [&str; 3] = [
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/pulseaudio",
];

impl Tool {
    /// Fetches it if it is neither installed nor in the cache.
    pub fn prepare(&self, debs: &Debs) -> Result<(), Failure> {
        match find_program(self.program) {
            Some(_) => Ok(()),
            None => self.unpacked(debs).map(drop),
        }
    }

    /// A command that runs it.
    pub fn command(&self, debs: &Debs) -> Result<Command, Failure> {
        if let Some(installed) = find_program(self.program) {
            return Ok(Command::new(installed));
        }
        let root = self.unpacked(debs)?;
        let mut command = Command::new(root.join(self.path));
        let libraries = env::join_paths(LIBRARIES.map(|folder| root.join(folder)))
            .or_fail(format_args!("{} is no folder of a path", root.display()))?;
        command.env("LD_LIBRARY_PATH", libraries);
        Ok(command)
    }

    /// The folder below which its package's files are: the machine's root, or one
    /// in the cache.
    pub fn root(&self, debs: &Debs) -> Result<PathBuf, Failure> {
        match find_program(self.program) {
            Some(_) => Ok(PathBuf::from("/")),
            None => self.unpacked(debs),
        }
    }

    fn unpacked(&self, debs: &Debs) -> Result<PathBuf, Failure> {
        let mut packages = debs.with_libraries(self.packages)?;
        packages.retain(|name| !OF_THE_MACHINE.contains(&name.as_str()));
        debs.unpacked(&format!("{}-tools", self.packages[0]), &packages)
    }
}
