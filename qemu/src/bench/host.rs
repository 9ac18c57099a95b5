//! The machine that measures, and how busy it was.
//!
//! Counts hardly mind company; times do. So a report says what was going on.

use crate::packages::QEMU;
use std::fs;
use std::process::Command;
use std::thread;

/// Where a run took place.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Cores that we may use.
    pub cores: usize,
    /// The processor's name.
    pub processor: String,
    /// QEMU's version.
    pub qemu: String,
    /// The most and the least that the load average of a minute was, over the run.
    pub load: Option<(f64, f64)>,
}

impl Host {
    /// The machine we are on.
    pub fn here() -> Self {
        let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = about
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map(|(_, name)| name.trim().to_owned());
        let said = Command::new(QEMU.program).arg("--version").output();
        let said = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned());
        let qemu = said.ok().and_then(|said| {
            let (_, rest) = said.lines().next()?.split_once("version ")?;
            Some(rest.split(' ').next()?.to_owned())
        });
        let mut host = Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            processor: processor.unwrap_or_default(),
            qemu: qemu.unwrap_or_default(),
            load: None,
        };
        host.look();
        host
    }

    /// Looks how busy it is.
    pub fn look(&mut self) {
        let Some(now) = load_average() else {
            return;
        };
        let (least, most) = self.load.unwrap_or((now, now));
        self.load = Some((least.min(now), most.max(now)));
    }

    /// Whether others worked here too: our own machines keep about one core more busy
    /// than there are targets asked at once, which is two.
    pub fn was_busy(&self) -> bool {
        self.load
            .is_some_and(|(_, most)| most > self.cores as f64 + 1.0)
    }
}

/// How many wanted a core, over the last minute.
fn load_average() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}
