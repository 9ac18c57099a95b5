//! QEMU's control channel: one JSON object a line, a question and an answer.
//!
//! The channel is a socket pair too, so there is no path to collide on and no
//! moment at which the socket does not exist yet. The greeting is read at the
//! first command, never at start, so that a machine's start time is its own.

use crate::{Failure, OrFail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest wait for an answer. QEMU answers from its main loop, which a guest's
/// full disk or a busy host may hold up.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Events between a command and its answer that are skipped at most.
const EVENTS_MAX: usize = 10_000;

/// A machine's control channel.
pub struct Qmp {
    link: BufReader<UnixStream>,
    ready: bool,
}

impl Qmp {
    pub(crate) fn new(link: UnixStream) -> Result<Self, Failure> {
        link.set_read_timeout(Some(ANSWER_WITHIN))
            .and_then(|()| link.set_write_timeout(Some(ANSWER_WITHIN)))
            .or_fail("cannot limit the waits of the control channel")?;
        Ok(Self {
            link: BufReader::new(link),
            ready: false,
        })
    }

    /// Runs `command` with `arguments` and returns what QEMU returns.
    pub fn run(&mut self, command: &str, arguments: Value) -> Result<Value, Failure> {
        if !self.ready {
            let greeting = self.line()?;
            if greeting.get("QMP").is_none() {
                return Err(Failure::new(format!("QEMU greets with {greeting}")));
            }
            self.ready = true;
            self.ask("qmp_capabilities", &json!({}))?;
        }
        self.ask(command, &arguments)
    }

    /// Whether the processor runs: "running", "paused", "shutdown" …
    pub fn status(&mut self) -> Result<String, Failure> {
        let answer = self.run("query-status", json!({}))?;
        let status = answer["status"].as_str();
        Ok(status.or_fail("QEMU reports no status")?.to_owned())
    }

    /// Ends QEMU, disks flushed.
    pub fn quit(&mut self) -> Result<(), Failure> {
        self.run("quit", json!({})).map(drop)
    }

    /// Presses the reset button.
    pub fn system_reset(&mut self) -> Result<(), Failure> {
        self.run("system_reset", json!({})).map(drop)
    }

    /// Raises the interrupt that nothing masks.
    pub fn inject_nmi(&mut self) -> Result<(), Failure> {
        self.run("inject-nmi", json!({})).map(drop)
    }

    /// Presses the power button.
    pub fn system_powerdown(&mut self) -> Result<(), Failure> {
        self.run("system_powerdown", json!({})).map(drop)
    }

    /// Stops the processors; the guest loses no state, only time.
    pub fn stop(&mut self) -> Result<(), Failure> {
        self.run("stop", json!({})).map(drop)
    }

    /// Lets the processors run.
    pub fn cont(&mut self) -> Result<(), Failure> {
        self.run("cont", json!({})).map(drop)
    }

    /// Takes the link of network card `nic` (in order of the recipe, from 0) up
    /// or down, as the guest sees it.
    pub fn set_link(&mut self, nic: usize, up: bool) -> Result<(), Failure> {
        self.run("set_link", json!({"name": format!("nic{nic}"), "up": up}))
            .map(drop)
    }

    /// Plugs in a device: `driver` and its properties.
    pub fn device_add(&mut self, properties: Value) -> Result<(), Failure> {
        self.run("device_add", properties).map(drop)
    }

    /// Asks the guest to let go of the device `id`.
    pub fn device_del(&mut self, id: &str) -> Result<(), Failure> {
        self.run("device_del", json!({"id": id})).map(drop)
    }

    /// Changes the size of disk `disk` (in order of the recipe, from 0).
    pub fn resize(&mut self, disk: usize, bytes: u64) -> Result<(), Failure> {
        self.run(
            "block_resize",
            json!({"device": format!("drive{disk}"), "size": bytes}),
        )
        .map(drop)
    }

    /// The counters of disk `disk`: `rd_operations`, `wr_operations`,
    /// `flush_operations`, `wr_bytes` …
    pub fn disk_counters(&mut self, disk: usize) -> Result<Value, Failure> {
        let answer = self.run("query-blockstats", json!({}))?;
        let name = format!("drive{disk}");
        answer
            .as_array()
            .into_iter()
            .flatten()
            .find(|entry| entry["device"] == name.as_str())
            .map(|entry| entry["stats"].clone())
            .or_fail(format_args!("QEMU has no counters for {name}"))
    }

    /// Whether QEMU writes disk `disk` through its cache, by its settings or because the
    /// guest asked for it.
    pub fn disk_writes_through(&mut self, disk: usize) -> Result<bool, Failure> {
        let answer = self.run("query-block", json!({}))?;
        let name = format!("drive{disk}");
        let mut disks = answer.as_array().into_iter().flatten();
        let disk = disks.find(|entry| entry["device"] == name.as_str());
        let writeback = disk.and_then(|disk| disk["inserted"]["cache"]["writeback"].as_bool());
        let writeback = writeback.or_fail(format_args!("QEMU tells no cache of {name}"))?;
        Ok(!writeback)
    }

    fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value, Failure> {
        let mut question = json!({"execute": command, "arguments": arguments}).to_string();
        question.push('\n');
        self.link
            .get_mut()
            .write_all(question.as_bytes())
            .or_fail(format_args!("cannot ask QEMU for {command}"))?;
        for _ in 0..EVENTS_MAX {
            let mut answer = self.line()?;
            if let Some(error) = answer.get("error") {
                let text = error["desc"].as_str().unwrap_or("no reason given");
                return Err(Failure::new(format!("QEMU refuses {command}: {text}")));
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
        Err(Failure::new(format!("QEMU never answers {command}")))
    }

    fn line(&mut self) -> Result<Value, Failure> {
        let mut line = String::new();
        let count = self
            .link
            .read_line(&mut line)
            .or_fail("QEMU's control channel is silent")?;
        if count == 0 {
            return Err(Failure::new("QEMU has ended"));
        }
        serde_json::from_str(&line).or_fail("QEMU sends no JSON")
    }
}
