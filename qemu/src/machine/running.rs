//! A running QEMU, and how it comes to run.

use super::{FIRST_FD, Recipe};
use crate::gdb::Debugger;
use crate::network::Cable;
use crate::{Console, Failure, OrFail, Qmp};
use command_fds::{CommandFdExt, FdMapping};
use serde_json::json;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// How often we look whether a machine has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Bytes of QEMU's own messages that a failure shows.
const COMPLAINT_BYTES: usize = 2000;

impl Recipe {
    /// Starts the machine. Its console and QEMU's messages go to `folder`.
    pub fn start(&self, folder: &Path) -> Result<Machine, Failure> {
        fs::create_dir_all(folder).or_fail(format_args!("cannot create {}", folder.display()))?;
        let complaints = folder.join(format!("{}.qemu.log", self.name));
        let complaints_file = File::create(&complaints)
            .or_fail(format_args!("cannot create {}", complaints.display()))?;

        let (control, control_end) = UnixStream::pair().or_fail("no socket pair for QMP")?;
        let qmp = Qmp::new(control)?;
        let mut ends: Vec<OwnedFd> = vec![control_end.into()];
        let mut cables = Vec::new();
        for (index, nic) in self.nics.iter().enumerate() {
            let (cable, end) = nic.plug(&format!("{}/{index}", self.name))?;
            cables.push(cable);
            ends.push(end);
        }

        let mut debugger = None;
        if self.debugged {
            let (link, end) = UnixStream::pair().or_fail("no socket pair for the debugger")?;
            debugger = Some(link);
            ends.push(end.into());
        }

        let mut command = match &self.namespace {
            None => Command::new(&self.emulator.program),
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]);
                command.arg(&self.emulator.program);
                command
            }
        };
        command
            .args(self.command_line())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints_file)
            // Ctrl-C is for us: we end our machines in order.
            .process_group(0)
            .fd_mappings(
                (FIRST_FD..)
                    .zip(ends)
                    .map(|(child_fd, parent_fd)| FdMapping {
                        parent_fd,
                        child_fd,
                    })
                    .collect(),
            )
            .or_fail("two descriptors for QEMU have one number")?;
        let started = Instant::now();
        let mut child = command
            .spawn()
            .or_fail("cannot start qemu-system-x86_64 (package qemu-system-x86)")?;
        // The ends now live in the command; QEMU must hold the only ones.
        drop(command);
        let output = child.stdout.take().expect("standard output is a pipe");
        let log = folder.join(format!("{}.console.log", self.name));
        let console = match Console::listen(output, &log, started, self.echo) {
            Ok(console) => console,
            Err(error) => {
                end(&mut child);
                return Err(Failure::new(format!(
                    "cannot keep the console in {}: {error}",
                    log.display()
                )));
            }
        };
        let child = Arc::new(Mutex::new(child));
        register(&child);
        Ok(Machine {
            name: self.name.clone(),
            child,
            started,
            console,
            qmp,
            debugger,
            cables,
            complaints,
        })
    }
}

/// A running machine. Dropping it kills it.
pub struct Machine {
    name: String,
    child: Arc<Mutex<Child>>,
    started: Instant,
    console: Console,
    qmp: Qmp,
    debugger: Option<UnixStream>,
    cables: Vec<Option<Cable>>,
    complaints: PathBuf,
}

impl Machine {
    /// What it says on its serial port.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Its control channel.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// Stops it, until the debugger detaches. Once in its life, and only if it was
    /// started to be [`debugged`](Recipe::debugged).
    pub fn debug(&mut self) -> Result<Debugger, Failure> {
        let link = self.debugger.take();
        let link = link.or_fail("there is no debugger at this machine")?;
        let command = json!({"command-line": "gdbserver chardev:gdb"});
        self.qmp.run("human-monitor-command", command)?;
        Debugger::new(link)
    }

    /// The cable of network card `nic`, from 0.
    ///
    /// # Panics
    /// If the card is at a line, which nobody can pull.
    pub fn cable(&self, nic: usize) -> &Cable {
        self.cables[nic].as_ref().expect("the card is on a switch")
    }

    /// The cables that go to a switch.
    fn cables(&self) -> impl Iterator<Item = &Cable> {
        self.cables.iter().flatten()
    }

    /// When QEMU was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The time from QEMU's start to the first AoE frame on any of its cables.
    pub fn first_aoe_after(&self) -> Option<Duration> {
        let first = self
            .cables()
            .filter_map(|cable| cable.counters().first_aoe)
            .min()?;
        Some(first.saturating_duration_since(self.started))
    }

    /// The time from QEMU's start to the first AoE answer, an announcement being one.
    pub fn first_answer_after(&self) -> Option<Duration> {
        let first = self
            .cables()
            .filter_map(|cable| cable.counters().first_answer)
            .min()?;
        Some(first.saturating_duration_since(self.started))
    }

    /// Waits for that first frame.
    pub fn wait_for_first_aoe(&mut self, within: Duration) -> Result<Duration, Failure> {
        self.wait_for_first("AoE frame", Self::first_aoe_after, within)
    }

    /// Waits for that first answer.
    pub fn wait_for_first_answer(&mut self, within: Duration) -> Result<Duration, Failure> {
        self.wait_for_first("AoE answer", Self::first_answer_after, within)
    }

    fn wait_for_first(
        &self,
        what: &str,
        after: impl Fn(&Self) -> Option<Duration>,
        within: Duration,
    ) -> Result<Duration, Failure> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(after) = after(self) {
                return Ok(after);
            }
            if !self.is_running() {
                return Err(self.failure(format!("the machine ended before its first {what}")));
            }
            if Instant::now() >= deadline {
                let seconds = within.as_secs_f64();
                return Err(self.failure(format!("no {what} within {seconds:.1} s")));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits for `needle` on the console, as [`Console::wait_for`] does, with
    /// all the evidence in the failure.
    pub fn wait_for(&self, needle: &str, within: Duration) -> Result<String, Failure> {
        self.console()
            .wait_for(needle, within)
            .map_err(|failure| self.failure(failure.sentence()))
    }

    /// Whether QEMU still runs.
    pub fn is_running(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// Waits until QEMU ends by itself.
    pub fn wait_for_end(&self, within: Duration) -> Result<ExitStatus, Failure> {
        let deadline = Instant::now() + within;
        loop {
            let ended = self
                .child()
                .try_wait()
                .or_fail(format_args!("cannot look after {}", self.name))?;
            if let Some(status) = ended {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(
                    self.failure(format!("it still runs after {:.1} s", within.as_secs_f64()))
                );
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Types `text` on the serial port.
    pub fn type_in(&self, text: &str) -> Result<(), Failure> {
        use std::io::Write;
        let mut child = self.child();
        let input = child.stdin.as_mut().or_fail("the console is closed")?;
        input
            .write_all(text.as_bytes())
            .and_then(|()| input.flush())
            .or_fail(format_args!("cannot type at {}", self.name))
    }

    /// Ends QEMU in order, its disks flushed.
    pub fn quit(mut self) -> Result<(), Failure> {
        if self.is_running() {
            self.qmp.quit()?;
        }
        self.wait_for_end(Duration::from_secs(10)).map(drop)
    }

    /// Ends QEMU at once, as a power cut of the guest does. What QEMU already
    /// gave the host stays written.
    pub fn kill(self) {}

    /// A failure of this machine: the sentence, the console's last lines,
    /// QEMU's complaints, and the captures.
    pub fn failure(&self, sentence: impl AsRef<str>) -> Failure {
        let mut failure = Failure::new(format!("{}: {}", self.name, sentence.as_ref()))
            .with(self.console().tail());
        let complaints = fs::read(&self.complaints).unwrap_or_default();
        let complaints = String::from_utf8_lossy(&complaints);
        let complaints: String = complaints.trim().chars().take(COMPLAINT_BYTES).collect();
        if !complaints.is_empty() {
            failure = failure.with(format!("QEMU: {complaints}"));
        }
        let mut captures: Vec<PathBuf> = self
            .cables()
            .filter_map(|cable| cable.switch().capture().map(Path::to_path_buf))
            .collect();
        captures.dedup();
        for capture in captures {
            failure = failure.with(format!("frames: {}", capture.display()));
        }
        failure
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        end(&mut self.child());
    }
}

/// Every machine of this process that has not ended.
static RUNNING: Mutex<Vec<Weak<Mutex<Child>>>> = Mutex::new(Vec::new());

/// Kills every machine of this process: for a signal, and for a scenario that
/// ran out of time. Their owners see machines that ended.
pub fn kill_all() {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    for child in running.drain(..).filter_map(|child| child.upgrade()) {
        end(&mut child.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn register(child: &Arc<Mutex<Child>>) {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.retain(|child| child.strong_count() > 0);
    running.push(Arc::downgrade(child));
}

fn end(child: &mut Child) {
    // Both fail only for a child that has already ended.
    let _ = child.kill();
    let _ = child.wait();
}
