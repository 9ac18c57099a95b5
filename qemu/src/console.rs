//! What a machine says on its serial port: kept, stamped, waited for.

use crate::Failure;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Most bytes kept in memory; the file has everything.
const KEPT_BYTES_MAX: usize = 8 << 20;
/// Lines shown when something went wrong.
const TAIL_LINES: usize = 30;

/// The console of one machine. Clones are handles to the same one.
#[derive(Clone)]
pub struct Console {
    shared: Arc<Shared>,
    path: PathBuf,
}

struct Shared {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Default)]
struct Said {
    text: String,
    /// What `wait_for` has already matched ends here.
    read_to: usize,
    /// The machine has closed its end: nothing more will come.
    closed: bool,
    /// What is said is shown on our standard output too.
    echo: bool,
}

impl Console {
    /// Listens to `source` until it ends; every line goes to the file at `path`
    /// with the seconds since `started`, and to standard output too with `echo`
    /// (see also [`follow`](Self::follow)).
    pub(crate) fn listen(
        source: impl Read + Send + 'static,
        path: &Path,
        started: Instant,
        echo: bool,
    ) -> std::io::Result<Self> {
        let log = BufWriter::new(File::create(path)?);
        let console = Self {
            shared: Arc::new(Shared {
                said: Mutex::new(Said {
                    echo,
                    ..Said::default()
                }),
                changed: Condvar::new(),
            }),
            path: path.to_path_buf(),
        };
        let heard = console.clone();
        thread::spawn(move || heard.collect(source, log, started));
        Ok(console)
    }

    /// Waits until `needle` is said after the last match, and returns the whole
    /// line it is in (as far as it has been said).
    pub fn wait_for(&self, needle: &str, within: Duration) -> Result<String, Failure> {
        let deadline = Instant::now() + within;
        let mut said = self.lock();
        loop {
            if let Some(at) = said.text[said.read_to..].find(needle) {
                let at = said.read_to + at;
                let line_from = said.text[..at].rfind('\n').map_or(0, |end| end + 1);
                let rest = &said.text[line_from..];
                let line = rest.lines().next().unwrap_or_default().to_owned();
                said.read_to = at + needle.len();
                return Ok(line);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if said.closed || left.is_zero() {
                let why = if said.closed {
                    "the machine ended".to_owned()
                } else {
                    format!("not within {:.1} s", within.as_secs_f64())
                };
                drop(said);
                return Err(
                    Failure::new(format!("the console never said \"{needle}\": {why}"))
                        .with(self.tail()),
                );
            }
            said = self
                .shared
                .changed
                .wait_timeout(said, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Whether `needle` has been said at any time so far.
    pub fn has_said(&self, needle: &str) -> bool {
        self.lock().text.contains(needle)
    }

    /// Shows all that was said on our standard output, with times, and goes on
    /// showing what will be.
    pub fn follow(&self) {
        // Under the lock the file and what is still to come have one border.
        let mut said = self.lock();
        let so_far = std::fs::read_to_string(&self.path).unwrap_or_default();
        show(&so_far);
        said.echo = true;
    }

    /// Everything said so far (the newest 8 MiB).
    pub fn text(&self) -> String {
        self.lock().text.clone()
    }

    /// The last lines and where the whole is.
    pub fn tail(&self) -> String {
        let said = self.lock();
        let lines: Vec<&str> = said.text.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        let mut tail = format!("console ({}):", self.path.display());
        for line in &lines[from..] {
            tail.push_str("\n  | ");
            // Firmware draws on its terminal; a report is no terminal.
            tail.extend(line.chars().filter(|character| !character.is_control()));
        }
        if lines.is_empty() {
            tail.push_str(" nothing was said");
        }
        tail
    }

    /// The file that has everything, with times.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.shared
            .said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(&self, mut source: impl Read, mut log: impl Write, started: Instant) {
        let mut line_begins = true;
        let mut buffer = [0; 4096];
        // A read that fails says the same as one that ends: nothing more.
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            let heard = String::from_utf8_lossy(&buffer[..count]).replace('\r', "");
            let stamp = format!("[{:9.3}] ", started.elapsed().as_secs_f64());
            let mut stamped = String::with_capacity(heard.len() + 2 * stamp.len());
            for piece in heard.split_inclusive('\n') {
                if line_begins {
                    stamped.push_str(&stamp);
                }
                stamped.push_str(piece);
                line_begins = piece.ends_with('\n');
            }
            let mut said = self.lock();
            // A log that cannot be written is no reason to stop listening.
            let _ = log.write_all(stamped.as_bytes()).and_then(|()| log.flush());
            if said.echo {
                show(&stamped);
            }
            said.text.push_str(&heard);
            said.forget_the_oldest();
            drop(said);
            self.shared.changed.notify_all();
        }
        self.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

/// Writes to standard output; one that is closed must not end a machine.
fn show(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

impl Said {
    fn forget_the_oldest(&mut self) {
        if self.text.len() <= KEPT_BYTES_MAX {
            return;
        }
        let mut cut = self.text.len() - KEPT_BYTES_MAX / 2;
        while !self.text.is_char_boundary(cut) {
            cut += 1;
        }
        self.text.drain(..cut);
        self.read_to = self.read_to.saturating_sub(cut);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn console() -> (Console, UnixStream) {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let path = std::env::temp_dir().join(format!(
            "ublade-console-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        let console = Console::listen(ours, &path, Instant::now(), false).unwrap();
        (console, theirs)
    }

    #[test]
    fn a_wait_goes_on_behind_the_last_match() {
        let (console, mut guest) = console();
        guest.write_all(b"one ok\r\ntwo ok\n").unwrap();
        let soon = Duration::from_secs(5);
        assert_eq!(console.wait_for("ok", soon).unwrap(), "one ok");
        assert_eq!(console.wait_for("ok", soon).unwrap(), "two ok");
        let failure = console
            .wait_for("ok", Duration::from_millis(20))
            .unwrap_err();
        assert!(failure.sentence().contains("not within"));
        assert!(failure.to_string().contains("| two ok"));
        std::fs::remove_file(console.path()).unwrap();
    }

    #[test]
    fn a_wait_ends_at_once_when_the_machine_ends() {
        let (console, mut guest) = console();
        guest.write_all(b"dying").unwrap();
        drop(guest);
        let failure = console
            .wait_for("alive", Duration::from_secs(60))
            .unwrap_err();
        assert!(failure.sentence().contains("the machine ended"));
        std::fs::remove_file(console.path()).unwrap();
    }

    #[test]
    fn every_line_of_the_log_carries_its_time_once() {
        let (console, mut guest) = console();
        guest.write_all(b"hal").unwrap();
        console.wait_for("hal", Duration::from_secs(5)).unwrap();
        guest.write_all(b"lo\nworld\n").unwrap();
        console.wait_for("world\n", Duration::from_secs(5)).unwrap();
        let log = std::fs::read_to_string(console.path()).unwrap();
        std::fs::remove_file(console.path()).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with('[') && lines[0].ends_with("] hallo"));
        assert!(lines[1].ends_with("] world"));
    }
}
