//! Runs a command with a time limit, its output in a log.
//!
//! The command gets a process group of its own, and the group is what a time
//! limit or a Ctrl-C ends: a test that hangs is a grandchild of ours.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use qemu::{Failure, OrFail};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Lines of the output that a failure shows.
const TAIL_LINES: usize = 60;
/// How long a group that is asked to end may take.
const END_WITHIN: Duration = Duration::from_millis(700);

/// Process groups that we started and that have not ended.
static GROUPS: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// How a command ended.
pub struct Ended {
    /// Its whole output, both streams.
    pub output: String,
    /// Its exit status; `None` when its time was over.
    pub status: Option<ExitStatus>,
}

/// Runs `command` for at most `limit`; it must succeed. Every line of its output
/// goes to the file `log` and to `line`. A failure shows the output's end.
pub fn run(
    command: Command,
    log: &Path,
    limit: Duration,
    line: impl FnMut(&str),
) -> Result<String, Failure> {
    let what = words(&command);
    let Ended { output, status } = run_to_end(command, log, limit, line)?;
    let why = match status {
        Some(status) if status.success() => return Ok(output),
        Some(status) => format!("`{what}` failed ({status})"),
        None => format!("`{what}` took longer than {} s", limit.as_secs()),
    };
    Err(Failure::new(why)
        .with(tail(&output))
        .with(format!("whole output: {}", log.display())))
}

/// Runs `command` for at most `limit`, however it ends.
pub fn run_to_end(
    mut command: Command,
    log: &Path,
    limit: Duration,
    mut line: impl FnMut(&str),
) -> Result<Ended, Failure> {
    let what = words(&command);
    let mut file = File::create(log).or_fail(format_args!("cannot write {}", log.display()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .or_fail(format_args!("cannot start `{what}`"))?;
    let group = Group::of(&child);
    let (sender, lines) = mpsc::channel();
    forward(child.stdout.take(), sender.clone());
    forward(child.stderr.take(), sender);

    let deadline = Instant::now() + limit;
    let mut output = String::new();
    let in_time = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(text) => {
                // The output is in our hands even if the log is not.
                let _ = file.write_all(text.as_bytes());
                line(&text);
                output.push_str(&text);
            }
            Err(RecvTimeoutError::Disconnected) => break true,
            Err(RecvTimeoutError::Timeout) => break false,
        }
    };
    if !in_time {
        end_groups(&[group.0]);
    }
    let status = child
        .wait()
        .or_fail(format_args!("cannot wait for `{what}`"))?;
    Ok(Ended {
        output,
        status: in_time.then_some(status),
    })
}

/// The last lines of `output`.
pub fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Runs a short command and returns its standard output.
pub fn output(command: &mut Command) -> Result<String, Failure> {
    let what = words(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .or_fail(format_args!("cannot start `{what}`"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Failure::new(format!("`{what}` failed ({})", output.status))
        .with(String::from_utf8_lossy(&output.stderr)))
}

/// The cargo that runs us, in the checkout at `root`.
pub fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root);
    command
}

/// Ends every command that is under way.
pub fn kill_all() {
    let groups = GROUPS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    end_groups(&groups);
}

/// Asks the groups to end, gives them a moment to end what they started, and
/// kills what is left.
fn end_groups(groups: &[i32]) {
    let signal = |signal| {
        for &group in groups {
            // A group that has already ended is what we want.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    };
    if !groups.is_empty() {
        signal(Signal::SIGTERM);
        thread::sleep(END_WITHIN);
        signal(Signal::SIGKILL);
    }
}

/// A process group of ours, on the list until it is dropped.
struct Group(i32);

impl Group {
    fn of(child: &Child) -> Self {
        // `process_group(0)` names the group after its first process.
        let id = i32::try_from(child.id()).expect("process numbers are positive");
        GROUPS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(id);
        Self(id)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|&id| id != self.0);
    }
}

fn forward(source: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let Some(source) = source else {
        return;
    };
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut bytes = Vec::new();
        while source
            .read_until(b'\n', &mut bytes)
            .is_ok_and(|count| count > 0)
        {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if lines.send(text).is_err() {
                return;
            }
            bytes.clear();
        }
    });
}

fn words(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![
        program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    ];
    words.extend(
        command
            .get_args()
            .map(|argument| argument.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<String, Failure> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let log = std::env::temp_dir().join(format!(
            "ublade-command-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let outcome = run(command, &log, limit, |_| ());
        std::fs::remove_file(log).unwrap();
        outcome
    }

    #[test]
    fn output_and_errors_are_both_kept() {
        let output = shell("echo one; echo two >&2", Duration::from_secs(10)).unwrap();
        let mut lines: Vec<&str> = output.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn a_command_that_fails_shows_its_last_lines() {
        let failure = shell("echo why; exit 3", Duration::from_secs(10)).unwrap_err();
        assert!(failure.sentence().contains("exit status: 3"));
        assert!(failure.to_string().contains("why"));
    }

    #[test]
    fn a_grandchild_that_hangs_is_ended_with_its_group() {
        let started = Instant::now();
        let failure = shell(
            "echo begun; sleep 60 & sleep 60",
            Duration::from_millis(200),
        )
        .unwrap_err();
        assert!(failure.sentence().contains("took longer"));
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
