//! From whatever state a port is in to a drive that told its name.
//!
//! The same steps serve at the start, after an error and after a cable was
//! plugged in again. Nothing here waits: [`Revival::advance`] looks at the
//! registers once, does what is due, and returns. Each step has a limit and an
//! error of its own, so a revival always ends.
//!
//! ```text
//! stop ──► hold ──► link ──► wake ──► identify ──► Same, New or an error
//!   └───────────── (restart) ───────────────────►
//! ```
//! A question about the drive's health is no revival but goes the same way: alone,
//! on an empty list, step by step and with a limit.

use crate::command::{self, AtaCommand, Direction, Header, Region, Registers as AtaRegisters};
use crate::identify::{Drive, Unusable};
use crate::registers::{
    Command, Interrupts, LinkControl, LinkStatus, Port, Registers, Signature, TaskFile, port,
};
use crate::table::{PAGE_BYTES, Table};
use core::fmt;
use core::sync::atomic::{Ordering, fence};
use io::Instant;

/// For the list to stop (AHCI 1.3.1, 10.3.2 gives 500 ms).
const STOP_WAIT_US: u64 = 500_000;
/// COMRESET stands this long. AHCI 1.3.1, 10.4.2 asks for 1 ms; ours begins with a look
/// at the clock that comes before the write.
const HOLD_US: u64 = 1_100;
/// For a sign of a drive at the start: twice the time in which Serial ATA has a
/// drive answer COMRESET. Every empty port costs it, all at once.
pub const SIGN_WAIT_US: u64 = 20_000;
/// For the link when somebody is or was there.
const LINK_WAIT_US: u64 = 1_000_000;
/// For a drive to be ready after its link came up: platters start turning.
const WAKE_WAIT_US: u64 = 15_000_000;
/// For IDENTIFY, and SMART RETURN STATUS, which need no platter.
const IDENTIFY_WAIT_US: u64 = 5_000_000;
/// What a drive that expects to fail answers to SMART RETURN STATUS.
const FAILS: [u8; 2] = [0xf4, 0x2c];

/// Why there is no drive to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoDrive {
    /// Nobody is there.
    Absent,
    /// Somebody is there, but the link does not come up.
    NoLink,
    /// The link is up and the drive stays busy.
    NotReady,
    /// The controller does not stop running the port's commands.
    NotStopping,
    /// Something else than a disk.
    Kind(Signature),
    /// IDENTIFY was refused.
    IdentifyFailed,
    /// IDENTIFY was never answered.
    IdentifySilent,
    /// What it says about itself does not serve us.
    Unusable(Unusable),
}

impl fmt::Display for NoDrive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Absent => f.write_str("no drive"),
            Self::NoLink => write!(
                f,
                "a drive is there, but the link did not come up within {} ms; check the cable",
                LINK_WAIT_US / 1000
            ),
            Self::NotReady => write!(
                f,
                "the drive was not ready within {} s",
                WAKE_WAIT_US / 1_000_000
            ),
            Self::NotStopping => write!(
                f,
                "the controller did not stop the port within {} ms",
                STOP_WAIT_US / 1000
            ),
            Self::Kind(Signature::PACKET) => f.write_str("an optical drive, not a disk; ignored"),
            Self::Kind(Signature::MULTIPLIER) => {
                f.write_str("a port multiplier, which is not supported; ignored")
            }
            Self::Kind(Signature::ENCLOSURE) => f.write_str("an enclosure, not a disk; ignored"),
            Self::Kind(Signature(signature)) => {
                write!(f, "not a disk (signature {signature:#010x}); ignored")
            }
            Self::IdentifyFailed => f.write_str("the drive refused to say what it is"),
            Self::IdentifySilent => write!(
                f,
                "the drive did not say what it is within {} s",
                IDENTIFY_WAIT_US / 1_000_000
            ),
            Self::Unusable(reason) => reason.fmt(f),
        }
    }
}

/// How a revival ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revived {
    /// The port runs again and the drive was not reset.
    Same,
    /// The drive was reset and told who it is.
    New(Drive),
    /// It was asked how it feels.
    Asked(Health),
}

/// What became of that question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Whether it will fail soon.
    Told {
        /// It will.
        fails_soon: bool,
    },
    /// It does not know the question. The list has stopped at it.
    Refused,
    /// It did not answer.
    Silent,
    /// It was pulled out meanwhile.
    LinkLost,
}

/// Where it stands. `until` is the step's limit.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The list was told to stop.
    Stop { until: Instant, reset: bool },
    /// COMRESET stands.
    Hold { until: Instant },
    /// The link is coming up. Where nobody shows, `sign_until` ends it.
    Link { sign_until: Instant, until: Instant },
    /// The drive is getting ready.
    Wake { until: Instant },
    /// IDENTIFY is under way.
    Identify { until: Instant },
    /// SMART RETURN STATUS is under way.
    Health { until: Instant },
}

/// A port on its way. See the module's header.
#[derive(Clone, Copy, Debug)]
pub struct Revival {
    step: Step,
}

impl Revival {
    /// Of a port that the controller's reset left empty: names our memory, turns
    /// on power and the link.
    pub fn first<R: Registers>(
        port: &Port<R>,
        table: &Table,
        drive_seen: bool,
        now: Instant,
    ) -> Self {
        let (list, received) = (table.list_address(), table.received_address());
        port.write(port::COMMAND_LIST, list as u32);
        port.write(port::COMMAND_LIST_HIGH, (list >> 32) as u32);
        port.write(port::RECEIVED_FIS, received as u32);
        port.write(port::RECEIVED_FIS_HIGH, (received >> 32) as u32);
        port.write(port::INTERRUPTS_ENABLED, Interrupts::empty());
        table.blank_list();
        port.clear_link_errors();
        port.write(port::LINK_CONTROL, LinkControl::NORMAL);
        // Receiving goes first: the drive's first FIS says what it is.
        port.change_command(|command| command | Command::RECEIVE);
        port.change_command(|command| {
            command | Command::POWER | Command::SPIN_UP | Command::LINK_ACTIVE
        });
        Self {
            step: Step::Link {
                sign_until: now
                    + if drive_seen {
                        LINK_WAIT_US
                    } else {
                        SIGN_WAIT_US
                    },
                until: now + LINK_WAIT_US,
            },
        }
    }

    /// Of a port whose drive is well and ended a command with an error.
    pub fn restart<R: Registers>(port: &Port<R>, now: Instant) -> Self {
        Self::stop(port, now, false)
    }

    /// Of a port that has to begin anew. Also after a queued command failed: the
    /// drive then refuses everything until it is asked for a log or reset, and
    /// the reset needs nothing of a drive that just failed.
    pub fn reset<R: Registers>(port: &Port<R>, now: Instant) -> Self {
        Self::stop(port, now, true)
    }

    /// Asks the drive on a port that runs, with an empty list, how it feels.
    pub fn health<R: Registers>(port: &Port<R>, table: &Table, now: Instant) -> Self {
        let mut own = [0; command::TABLE_BYTES];
        command::write_table(&mut own, &AtaRegisters::health(), None);
        table.set_own_table(&own);
        table.set_header(
            0,
            Header::new(table.own_table_address(), Direction::In, false),
        );
        table.forget_received();
        fence(Ordering::SeqCst);
        port.write(port::ISSUED, 1);
        Self {
            step: Step::Health {
                until: now + IDENTIFY_WAIT_US,
            },
        }
    }

    fn stop<R: Registers>(port: &Port<R>, now: Instant, reset: bool) -> Self {
        port.change_command(|command| command - Command::START);
        Self {
            step: Step::Stop {
                until: now + STOP_WAIT_US,
                reset,
            },
        }
    }

    /// Looks once and does what is due. `None` while it goes on.
    pub fn advance<R: Registers>(
        &mut self,
        port: &Port<R>,
        table: &Table,
        now: Instant,
    ) -> Option<Result<Revived, NoDrive>> {
        match self.step {
            Step::Stop { until, reset } => {
                let running = port.read(port::COMMAND).contains(Command::LIST_RUNNING);
                // A list that does not stop may still stop by a reset of the drive.
                if running && now < until {
                    return None;
                }
                if running || reset || !is_ready(port.read(port::TASK_FILE)) {
                    port.write(port::LINK_CONTROL, LinkControl::RESET);
                    self.step = Step::Hold {
                        until: now + HOLD_US,
                    };
                    return None;
                }
                port.clear_link_errors();
                port.clear_interrupts(Interrupts::all());
                start(port, table);
                Some(Ok(Revived::Same))
            }
            Step::Hold { until } => {
                if now >= until {
                    port.write(port::LINK_CONTROL, LinkControl::NORMAL);
                    self.step = Step::Link {
                        sign_until: now + LINK_WAIT_US,
                        until: now + LINK_WAIT_US,
                    };
                }
                None
            }
            Step::Link { sign_until, until } => match port.read(port::LINK_STATUS).detection() {
                LinkStatus::UP => {
                    // Until `EXCHANGED` is cleared, no signature is taken.
                    port.clear_link_errors();
                    self.step = Step::Wake {
                        until: now + WAKE_WAIT_US,
                    };
                    None
                }
                LinkStatus::ABSENT if now >= sign_until => Some(Err(NoDrive::Absent)),
                LinkStatus::ABSENT => None,
                _ if now >= until => Some(Err(NoDrive::NoLink)),
                _ => None,
            },
            Step::Wake { until } => {
                if !is_ready(port.read(port::TASK_FILE)) {
                    return match port.read(port::LINK_STATUS).detection() {
                        LinkStatus::ABSENT => Some(Err(NoDrive::Absent)),
                        _ if now >= until => Some(Err(NoDrive::NotReady)),
                        _ => None,
                    };
                }
                let signature = port.read(port::SIGNATURE);
                if signature != Signature::DISK {
                    return Some(Err(NoDrive::Kind(signature)));
                }
                if port.read(port::COMMAND).contains(Command::LIST_RUNNING) {
                    return Some(Err(NoDrive::NotStopping));
                }
                port.clear_link_errors();
                port.clear_interrupts(Interrupts::all());
                start(port, table);
                identify(port, table);
                self.step = Step::Identify {
                    until: now + IDENTIFY_WAIT_US,
                };
                None
            }
            Step::Health { until } => {
                let interrupts = port.read(port::INTERRUPTS);
                let task_file = port.read(port::TASK_FILE);
                let refused =
                    !task_file.contains(TaskFile::BUSY) && task_file.contains(TaskFile::ERROR);
                let health = if interrupts.contains(Interrupts::PHY_CHANGE) {
                    Health::LinkLost
                } else if refused || interrupts.intersects(Interrupts::FAILURES) {
                    Health::Refused
                } else if port.read(port::ISSUED) & 1 == 0 {
                    // The FIS is read after the register that says it is there.
                    fence(Ordering::SeqCst);
                    let fails_soon = table.answered_address() == FAILS;
                    table.forget_received();
                    Health::Told { fails_soon }
                } else if now >= until {
                    Health::Silent
                } else {
                    return None;
                };
                Some(Ok(Revived::Asked(health)))
            }
            Step::Identify { until } => {
                let task_file = port.read(port::TASK_FILE);
                // While the drive is busy, the other bits mean nothing.
                let failed = !task_file.contains(TaskFile::BUSY)
                    && task_file.contains(TaskFile::ERROR)
                    || port.read(port::INTERRUPTS).intersects(Interrupts::FAILURES);
                if failed {
                    return Some(Err(NoDrive::IdentifyFailed));
                }
                if port.read(port::ISSUED) & 1 != 0 {
                    return (now >= until).then_some(Err(NoDrive::IdentifySilent));
                }
                // The page is read after the register that says it is there.
                fence(Ordering::SeqCst);
                table.forget_received();
                Some(match Drive::parse(&table.page()) {
                    Ok(drive) => Ok(Revived::New(drive)),
                    Err(reason) => Err(NoDrive::Unusable(reason)),
                })
            }
        }
    }
}

fn is_ready(task_file: TaskFile) -> bool {
    !task_file.intersects(TaskFile::BUSY | TaskFile::DATA_REQUEST)
}

/// Runs the command list, empty.
fn start<R: Registers>(port: &Port<R>, table: &Table) {
    table.blank_list();
    table.forget_received();
    fence(Ordering::SeqCst);
    port.change_command(|command| command | Command::START);
}

/// Issues IDENTIFY in slot 0, its answer into the page.
fn identify<R: Registers>(port: &Port<R>, table: &Table) {
    let mut own = [0; command::TABLE_BYTES];
    let page = Region {
        address: table.page_address(),
        bytes: PAGE_BYTES as u32,
    };
    let registers = AtaRegisters::plain(AtaCommand::IDENTIFY);
    command::write_table(&mut own, &registers, Some(page));
    // What a drive leaves out stays zero, never what was there before.
    table.set_page(&[0; PAGE_BYTES]);
    table.set_own_table(&own);
    let header = Header::new(table.own_table_address(), Direction::In, true);
    table.set_header(0, header);
    fence(Ordering::SeqCst);
    port.write(port::ISSUED, 1);
}
