//! Values of one word or number, from text to what they mean.

use super::Complaint;
use super::value::{number, text};
use crate::mgmt::address::{self, Wanted};
use aoe::{Cache, Errors};
use io::Text;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What a person should look at.
    Warn,
    /// What a person wants to know.
    Info,
    /// What an engineer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl From<LogLevel> for log::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::Off,
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

/// What a node measures of its machine instead of serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Cards: every request for sectors is sent back as it came.
    Echo,
    /// The first export's disk: it reads all the time, and nobody is answered.
    Disk {
        /// Reads under way at once.
        depth: u8,
        /// Sectors of each.
        sectors: u8,
    },
}

pub fn cache(value: &str) -> Result<Cache, Complaint> {
    match value {
        "writethrough" => Ok(Cache::WriteThrough),
        "writeback" => Ok(Cache::WriteBack),
        _ => Err(Complaint::Bad("a cache is writethrough or writeback")),
    }
}

pub fn errors(value: &str) -> Result<Errors, Complaint> {
    match value {
        "ata" => Ok(Errors::Ata),
        "silent" => Ok(Errors::Silent),
        _ => Err(Complaint::Bad("errors are ata or silent")),
    }
}

pub fn ip(value: &str) -> Result<Text<64>, Complaint> {
    match Wanted::parse(value) {
        Some(_) => text(value),
        None => Err(Complaint::Bad(address::WHAT)),
    }
}

pub fn mtu(value: &str) -> Result<Option<u16>, Complaint> {
    const WHAT: &str = "an MTU is auto or a number from 576 to 9216";
    if value == "auto" {
        return Ok(None);
    }
    match number(value, 9216, WHAT)? {
        0..576 => Err(Complaint::Bad(WHAT)),
        mtu => Ok(Some(mtu as u16)),
    }
}

pub fn buffers(value: &str) -> Result<Option<u16>, Complaint> {
    // R-072 of the protocol: with 0 or 1 the Linux driver makes a disk it can never send to.
    const WHAT: &str = "buffers are a number from 2 to 1024; Linux stands still with fewer";
    match number(value, 1024, WHAT)? {
        0 | 1 => Err(Complaint::Bad(WHAT)),
        buffers => Ok(Some(buffers as u16)),
    }
}

pub fn http(value: &str) -> Result<Option<u16>, Complaint> {
    const WHAT: &str = "http is off or a port from 1 to 65535";
    match value {
        "off" => Ok(None),
        _ => match number(value, 65535, WHAT)? {
            0 => Err(Complaint::Bad(WHAT)),
            port => Ok(Some(port as u16)),
        },
    }
}

pub fn on_or_off(value: &str) -> Result<bool, Complaint> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Complaint::Bad("it is on or off")),
    }
}

pub fn log_level(value: &str) -> Result<LogLevel, Complaint> {
    match value {
        "off" => Ok(LogLevel::Off),
        "error" => Ok(LogLevel::Error),
        "warn" => Ok(LogLevel::Warn),
        "info" => Ok(LogLevel::Info),
        "debug" => Ok(LogLevel::Debug),
        "trace" => Ok(LogLevel::Trace),
        _ => Err(Complaint::Bad(
            "a log level is off, error, warn, info, debug or trace",
        )),
    }
}

/// As in Linux: positive waits, 0 halts for good, negative restarts at once.
pub fn panic(value: &str) -> Result<Option<u32>, Complaint> {
    const WHAT: &str = "panic is a number of seconds, 0 to halt, or -1 to restart at once";
    match value.strip_prefix('-') {
        Some(seconds) => number(seconds, 86_400, WHAT).map(|_| Some(0)),
        None => match number(value, 86_400, WHAT)? {
            0 => Ok(None),
            seconds => Ok(Some(seconds as u32)),
        },
    }
}

pub fn watchdog(value: &str) -> Result<Option<u32>, Complaint> {
    const WHAT: &str = "watchdog is off or a number of seconds from 5 to 600";
    match value {
        "off" => Ok(None),
        _ => match number(value, 600, WHAT)? {
            0..5 => Err(Complaint::Bad(WHAT)),
            seconds => Ok(Some(seconds as u32)),
        },
    }
}

pub fn cpus(value: &str) -> Result<Option<u16>, Complaint> {
    const WHAT: &str = "cpus is all or a number from 1 to 1024";
    match value {
        "all" => Ok(None),
        _ => match number(value, 1024, WHAT)? {
            0 => Err(Complaint::Bad(WHAT)),
            cpus => Ok(Some(cpus as u16)),
        },
    }
}

pub fn poll(value: &str) -> Result<Option<u32>, Complaint> {
    match value {
        "adaptive" => Ok(None),
        _ => number(
            value,
            1_000_000,
            "poll is adaptive or microseconds up to 1000000",
        )
        .map(|us| Some(us as u32)),
    }
}

pub fn measure(value: &str) -> Result<Option<Measure>, Complaint> {
    const WHAT: &str =
        "measure is off, echo, or disk, reads at once up to 64, sectors of each up to 17";
    let mut words = value.split(',');
    let what = words.next();
    let mut or_default = |default: u32, max: u32| match words.next() {
        None => Ok(default as u8),
        Some(text) => match number(text, max.into(), WHAT)? {
            0 => Err(Complaint::Bad(WHAT)),
            number => Ok(number as u8),
        },
    };
    let measure = match what {
        Some("off") => None,
        Some("echo") => Some(Measure::Echo),
        Some("disk") => Some(Measure::Disk {
            depth: or_default(32, 64)?,
            sectors: or_default(2, 17)?,
        }),
        _ => return Err(Complaint::Bad(WHAT)),
    };
    match words.next() {
        None => Ok(measure),
        Some(_) => Err(Complaint::Bad(WHAT)),
    }
}
