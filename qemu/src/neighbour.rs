//! Programs of this machine as the node's neighbours, in a network of their own.
//!
//! What a node must get on with (dnsmasq, chronyd, rsyslogd, curl, a browser) runs
//! here as it would on a host beside it. For that the scenario's whole process is
//! [put apart](apart): it sees no interface of the machine, nobody else sees its
//! ports, and it is the first process of its world, so whatever it started ends
//! with it, however it ends. No name is taken, and there is nothing to clear away.
//!
//! Inside, a [`Neighbour`] is a tap interface that is one more port of a [`Switch`].
//! A QEMU without a machine in it holds the two ends together.

use crate::machine::{Board, Machine};
use crate::{Context, Failure, Mac, Nic, OrFail, Recipe, Switch};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{process, thread};

/// How long an interface or a server may take to come up on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(15);
/// How often we look whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Files and connections that a scenario may have open: a thousand clients, and what
/// is usual.
const FILES: u32 = 4096;
/// Bytes of a server's log that a failure shows.
const TAIL_BYTES: usize = 1500;

/// A command that runs `program` in a network and among processes of its own.
/// Root may always do that, others where the kernel lets them.
pub fn apart(program: &Path) -> Result<Command, Failure> {
    let mut words = vec!["--net", "--pid", "--fork", "--kill-child"];
    if !crate::packages::is_root() {
        words.extend(["--user", "--map-root-user"]);
    }
    let tried = Command::new("unshare")
        .args(&words)
        .arg("true")
        .output()
        .or_fail("cannot start unshare (package util-linux)")?;
    if !tried.status.success() {
        let said = String::from_utf8_lossy(&tried.stderr);
        return Err(Failure::new(format!(
            "no network of its own can be made here: {}",
            said.trim()
        ))
        .with("it takes root, or user namespaces: sysctl kernel.unprivileged_userns_clone=1"));
    }
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={FILES}:")).arg("unshare");
    command.args(&words).arg("--").arg(program);
    Ok(command)
}

/// An interface of our own network, on a switch like every guest.
pub struct Neighbour {
    interface: String,
    // Dropping it pulls the cable.
    _cable: Machine,
}

impl Neighbour {
    /// Makes the interface `interface` with `addresses` (`10.9.0.1/24`) and plugs
    /// it into `switch`. Jumbo frames pass.
    pub fn join(
        context: &Context,
        switch: &Switch,
        interface: &str,
        addresses: &[&str],
    ) -> Result<Self, Failure> {
        ip(&["tuntap", "add", "dev", interface, "mode", "tap"]).map_err(|failure| {
            failure.with("it takes root, or a /dev/net/tun that everybody may open")
        })?;
        for address in addresses {
            ip(&["address", "add", address, "dev", interface])?;
        }
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "set", interface, "mtu", "9000", "up"])?;
        // The card's address is never used: there is no card.
        let cable = Recipe::new(&format!("cable-{interface}"))
            .board(Board::Cables)
            .memory("1M")
            .nic(Nic::on(switch, Mac([0; 6])).with_tap(interface))
            .start(context.folder())?;
        let neighbour = Self {
            interface: interface.to_owned(),
            _cable: cable,
        };
        let deadline = Instant::now() + context.within(UP_WITHIN);
        while !ip(&["-o", "link", "show", interface])?.contains("LOWER_UP") {
            if Instant::now() >= deadline {
                return Err(neighbour
                    ._cable
                    .failure(format!("{interface} never gets a carrier")));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(neighbour)
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }
}

fn ip(words: &[&str]) -> Result<String, Failure> {
    output(Command::new("ip").args(words))
}

/// Runs a short command, which must succeed, and returns what it says.
pub fn output(command: &mut Command) -> Result<String, Failure> {
    let ran = command
        .stdin(Stdio::null())
        .output()
        .or_fail(format_args!("cannot start {command:?}"))?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    Err(Failure::new(format!("{command:?} failed ({})", ran.status))
        .with(String::from_utf8_lossy(&ran.stdout))
        .with(String::from_utf8_lossy(&ran.stderr)))
}

/// A server among our own programs. Dropping it kills it.
pub struct Server {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command`; what it says goes to `NAME.log` in the scenario's folder.
    pub fn start(context: &Context, name: &str, command: &mut Command) -> Result<Self, Failure> {
        let log = context.folder().join(format!("{name}.log"));
        let file = File::create(&log).or_fail(format_args!("cannot write {}", log.display()))?;
        let errors = file
            .try_clone()
            .or_fail(format_args!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .or_fail(format_args!("cannot start {command:?}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `holds` of what it has said.
    pub fn wait(
        &mut self,
        what: &str,
        within: Duration,
        mut holds: impl FnMut(&str) -> bool,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + within;
        loop {
            let has_ended = !matches!(self.child.try_wait(), Ok(None));
            if holds(&self.said()) {
                return Ok(());
            }
            if has_ended {
                return Err(self.failure(format!("it ended before {what}")));
            }
            if Instant::now() >= deadline {
                let waited = within.as_secs_f64();
                return Err(self.failure(format!("no {what} within {waited:.1} s")));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// A failure of this server: the sentence, and the end of what it said.
    pub fn failure(&self, sentence: impl AsRef<str>) -> Failure {
        let said = self.said();
        let from = said.ceil_char_boundary(said.len().saturating_sub(TAIL_BYTES));
        Failure::new(format!("{}: {}", self.name, sentence.as_ref()))
            .with(&said[from..])
            .with(format!("all of it: {}", self.log.display()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a child that has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program, from inside another process that we start: `/proc/self` is that
/// process there, and a build may have replaced our file.
pub fn this_program() -> PathBuf {
    PathBuf::from(format!("/proc/{}/exe", process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_apart_sees_no_interface_but_its_own_loopback() {
        // Where nobody may make a network, the sentence says what it takes.
        let mut command = match apart(Path::new("/bin/sh")) {
            Ok(command) => command,
            Err(failure) => {
                assert!(failure.to_string().contains("takes root"), "{failure}");
                return;
            }
        };
        let said = output(command.args(["-c", "echo $$; cat /proc/net/dev"])).unwrap();
        let interfaces = said.lines().filter(|line| line.contains(':'));
        assert_eq!(interfaces.count(), 1, "{said}");
        assert!(said.starts_with("1\n"), "{said}");
    }

    #[test]
    fn a_command_that_fails_says_why() {
        let failure = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        assert!(failure.to_string().contains("why"), "{failure}");
    }
}
