//! What a run consists of.
//!
//! Each part starts its own machines and stands alone, so that a person who works at one
//! figure waits for that one only; the report has what was measured.

use super::compare::{Row, compare_targets};
use super::copies::{Copies, copies};
use super::counts::{Measured, measure};
use super::crowd::{Crowd, crowd};
use super::devices::{OnDevices, devices};
use super::fio::{FioRun, fio};
use super::host::Host;
use super::ladder::{Rung, ladder};
use super::limits::{Limits, limits};
use super::matrix::{Cell, matrix};
use super::processors::{OnProcessors, processors};
use super::rest::{Idle, idle};
use super::size::{Size, size};
use super::start::{On, Start, start};
use super::target::{Place, Target};
use super::verify::{Verified, verify};
use crate::Failure;
use std::time::Duration;

/// How often a count of copies that shows some is made again.
const COPIES_AGAIN: usize = 3;

/// A part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Instructions and register accesses.
    Counts,
    /// Bytes copied.
    Copies,
    /// Other disks and cards.
    Devices,
    /// Two processors.
    Processors,
    /// Beside vblade.
    Compare,
    /// Latency against load.
    Ladder,
    /// The limits.
    Limits,
    /// fio in Linux.
    Fio,
    /// Every size, depth and disk.
    Matrix,
    /// From start to first answer.
    Start,
    /// Files and memory.
    Size,
    /// Nothing to do.
    Rest,
    /// Too much to do.
    Crowd,
    /// Right answers.
    Verify,
}

impl Part {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 14] = [
        Self::Counts,
        Self::Copies,
        Self::Devices,
        Self::Processors,
        Self::Compare,
        Self::Ladder,
        Self::Limits,
        Self::Fio,
        Self::Matrix,
        Self::Start,
        Self::Size,
        Self::Rest,
        Self::Crowd,
        Self::Verify,
    ];

    /// Its word on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Copies => "copies",
            Self::Devices => "devices",
            Self::Processors => "processors",
            Self::Compare => "compare",
            Self::Ladder => "ladder",
            Self::Limits => "limits",
            Self::Fio => "fio",
            Self::Matrix => "matrix",
            Self::Start => "start",
            Self::Size => "size",
            Self::Rest => "rest",
            Self::Crowd => "crowd",
            Self::Verify => "verify",
        }
    }

    /// What it measures.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Counts => "count instructions and register accesses a request",
            Self::Copies => "count bytes that the processor copies",
            Self::Devices => "count with other disks and cards",
            Self::Processors => "count on one processor, and on each of two",
            Self::Compare => "requests a second and answer times beside vblade",
            Self::Ladder => "latency against load, windows from 1 to 128",
            Self::Limits => "what an echo of frames and a loop of disk reads reach",
            Self::Fio => "fio in Linux, on ublade and vblade -d in turns",
            Self::Matrix => "every size and depth on null, RAM and tmpfs, durable and write-back",
            Self::Start => "from the start of QEMU to the first answer",
            Self::Size => "files, and the smallest memory that serves",
            Self::Rest => "instructions a second with nothing to do",
            Self::Crowd => "ten times too much, and one host beside another",
            Self::Verify => "right answers from a disk that keeps data",
        }
    }

    /// About how many seconds it takes on two idle cores.
    pub const fn seconds(self, pace: Pace) -> u64 {
        let [full, quick] = match self {
            Self::Counts => [90, 90],
            Self::Copies => [30, 30],
            Self::Devices => [60, 60],
            Self::Processors => [40, 40],
            Self::Compare => [200, 110],
            Self::Ladder => [105, 45],
            Self::Limits => [75, 50],
            Self::Fio => [240, 70],
            Self::Matrix => [290, 140],
            Self::Start => [45, 25],
            Self::Size => [60, 60],
            Self::Rest => [75, 75],
            Self::Crowd => [30, 30],
            Self::Verify => [32, 32],
        };
        if pace.is_quick { quick } else { full }
    }
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Turns of every target at every load.
    pub rounds: usize,
    /// How long a turn is. Many short ones say more than a few long ones: what else the
    /// machine does comes and goes within seconds.
    pub turn: Duration,
    /// Starts of every target.
    pub starts: usize,
    /// Rounds of fio, which takes seconds for a turn.
    pub fio_rounds: usize,
    /// Seconds of a turn of fio.
    pub fio_seconds: u64,
    /// Whether spreads are of too few rounds to be trusted.
    pub is_quick: bool,
}

impl Pace {
    /// For figures that are told.
    pub const FULL: Self = Self {
        rounds: 7,
        turn: Duration::from_millis(350),
        starts: 5,
        fio_rounds: 3,
        fio_seconds: 2,
        is_quick: false,
    };
    /// For work at the node: an idea of each figure.
    pub const QUICK: Self = Self {
        rounds: 3,
        turn: Duration::from_millis(150),
        starts: 2,
        fio_rounds: 1,
        fio_seconds: 1,
        is_quick: true,
    };
}

/// All that one run has shown. A part that did not run is empty.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The command that was given.
    pub command: String,
    /// Where it ran.
    pub host: Host,
    /// What a request costs the node, for every load of the snapshot.
    pub measured: Vec<Measured>,
    /// How much of a request's data the node's processor copies.
    pub copies: Option<Copies>,
    /// What a read costs the node with other devices.
    pub devices: Vec<OnDevices>,
    /// What a request costs each of two processors.
    pub processors: Vec<OnProcessors>,
    /// Every target at every load.
    pub rows: Vec<Row>,
    /// Latency against load.
    pub ladder: Vec<Rung>,
    /// The limits.
    pub limits: Option<Limits>,
    /// fio in Linux.
    pub fio: Option<FioRun>,
    /// Every size, depth and disk.
    pub cells: Vec<Cell>,
    /// To the first answer.
    pub starts: Vec<Start>,
    /// Files and memory.
    pub sizes: Vec<Size>,
    /// At rest.
    pub idle: Vec<Idle>,
    /// Too much at once, and one host beside another.
    pub crowds: Vec<(Target, Crowd)>,
    /// With data.
    pub verified: Vec<Verified>,
}

/// Runs `part` and adds what it finds; its steps are told to `say`.
pub fn run(
    place: &Place,
    part: Part,
    pace: Pace,
    found: &mut Findings,
    say: &mut dyn FnMut(&str),
) -> Result<(), Failure> {
    match part {
        Part::Counts => {
            let loads = super::loads();
            found.measured = measure(place, &loads, |one| say(&one.load.name()))?;
        }
        Part::Copies => found.copies = Some(fewest_copies(place)?),
        Part::Devices => found.devices = devices(place, |on| say(on.name))?,
        Part::Processors => found.processors = processors(place, |on| say(&on.load.name()))?,
        Part::Compare => found.rows = compare_targets(place, pace, &found.measured, say)?,
        Part::Ladder => found.ladder = ladder(place, pace, say)?,
        Part::Limits => found.limits = Some(limits(place, pace, say)?),
        Part::Fio => found.fio = Some(fio(place, pace, say)?),
        Part::Matrix => found.cells = matrix(place, pace, say)?,
        Part::Start => {
            for (target, on) in [
                (Target::Ublade, On::Q35),
                (Target::Ublade, On::Microvm),
                (Target::VbladeDirect, On::Q35),
            ] {
                say(&format!("{} on {}", target.name(), on.name()));
                found.starts.push(start(place, target, on, pace.starts)?);
            }
        }
        Part::Size => {
            for target in [Target::Ublade, Target::VbladeDirect] {
                found.sizes.push(size(place, target, say)?);
            }
        }
        Part::Rest => {
            for target in Target::ALL {
                say(target.name());
                found.idle.push(idle(place, target)?);
            }
        }
        Part::Crowd => {
            for target in [Target::Ublade, Target::VbladeDirect] {
                say(target.name());
                found.crowds.push((target, crowd(place, target)?));
            }
        }
        Part::Verify => {
            for target in Target::ALL {
                say(target.name());
                found.verified.push(verify(place, target)?);
            }
        }
    }
    found.host.look();
    Ok(())
}

/// How much is copied, counted again while it seems to be something: a busy host only adds.
fn fewest_copies(place: &Place) -> Result<Copies, Failure> {
    let mut fewest = copies(place)?;
    for _ in 0..COPIES_AGAIN {
        if fewest.check().is_ok() {
            break;
        }
        fewest = fewest.or(copies(place)?);
    }
    Ok(fewest)
}
