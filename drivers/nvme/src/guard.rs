//! What the disks of one controller share: its admin queue, and its way back.
//!
//! The data path never comes here; the ticks of the disks do. Nothing waits: each
//! [`Watch::look`] looks once, does what is due, and says what the disk shall do.
//!
//! ```text
//! Running ─► Stopping ─► Stopped ─► Starting ─► Queues ─► Running
//!    │          │ told to reset   │ all disks have taken back their frames
//!    └──────────┴─► Over
//! ```
//! A controller that reports a fatal error, stops by itself, or does not even
//! answer an admin command any more is reset, and comes back with the same queues;
//! what its disks had lent runs again. One that broke its queue stays out of
//! service: what it got wrong once it may get wrong again, and the next thing it
//! writes could be somebody's data. So does one that is off the bus, and one that
//! needs a reset again and again.
//!
//! **A command that is not answered is not a reason for a reset.** Its medium may
//! hang behind a hypervisor, or be a slow one, and a reset takes every other
//! namespace with it. The controller is asked to abort it: one that answers that,
//! with whatever, is alive, and the command is its own business.

#[cfg(test)]
mod tests;

use crate::command::{Command, Opcode};
use crate::controller::{enable, number_of_queues, queue_half};
use crate::identify::{self, kind};
use crate::queue::Queue;
use crate::registers::{Capabilities, ControllerStatus, Registers, stop};
use crate::service::{Broken, Reason};
use alloc::vec::Vec;
use io::{Instant, Text};
use pci::Shared;

/// How long an admin command may take while the controller runs. Fifteen times
/// what a slow one takes.
const ADMIN_WAIT_US: u64 = 5_000_000;
/// How often the controller is asked how it feels.
const HEALTH_US: u64 = 5_000_000;
/// How often the sizes of all namespaces are asked for. A message about a change would
/// come at once, but lies in wait in a queue that only we look at.
const SIZE_US: u64 = 5_000_000;
/// After so long without a reset the earlier ones are forgotten.
const CALM_US: u64 = 60_000_000;
/// From the second reset in a row on, what was under way is not tried again: it
/// may be what the controller fails at.
const TRIES_MAX: u32 = 1;
/// So many resets in a row, and the controller is given up.
const RESETS_MAX: u32 = 4;

/// GET LOG PAGE: SMART and health (NVMe 1.4, 5.14.1.2), of the whole controller.
const LOG_HEALTH: u32 = 0x02;
const LOG_BYTES: u32 = 512;
const EVERY_NAMESPACE: u32 = 0xffff_ffff;
/// The log's first byte, but for the temperature, which is no reason to replace a
/// drive: spare blocks run out, it is not reliable any more, it has become
/// read-only, its cache has lost its backup.
const FAILS_SOON: u32 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4;

/// A disk's queue pair, as it has to be made again.
pub struct Member {
    /// Its number.
    pub number: u16,
    /// The namespace that its commands are for, and how large that is.
    pub namespace: u32,
    pub sectors: u64,
    /// Where the rings lie, commands first.
    pub addresses: [u64; 2],
    /// How many places they have.
    pub places: [usize; 2],
    /// The message that it sends.
    pub vector: Option<u16>,
    /// Its disk has taken back all frames, or is not there any more.
    pub has_let_go: bool,
    /// Its disk is not there any more.
    pub is_dropped: bool,
}

/// What a disk shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Go on.
    Serve,
    /// Wait: the controller may still touch its frames.
    Wait,
    /// The controller has stopped: take everything back. What was under way may
    /// run again, or must fail.
    TakeBack {
        /// It may run again.
        again: bool,
    },
    /// The controller has stopped for good: take everything back, and fail it.
    Over,
}

/// A guard as its disks see it, whatever the way to its registers is: called from
/// ticks only, and so built once and small, and not beside each disk's fast path.
pub trait Watch {
    /// Looks after the controller at the time `now`, as a disk whose queue is
    /// `broken` or not, and says what that disk shall do.
    fn look(&mut self, now: Instant, member: usize, broken: Option<Broken>) -> View;

    /// Whether the controller says of itself that it will fail.
    fn fails_soon(&self) -> bool;

    /// How large the namespace of queue `member` is.
    fn sectors(&self, member: usize) -> u64;

    /// Asks the controller to give up command `id` of queue `member`. False if it
    /// is busy with another question.
    fn abort(&mut self, member: usize, id: u16) -> bool;

    /// The disk of queue `member` has taken back its frames.
    fn let_go(&mut self, member: usize);

    /// The disk of queue `member` is no more.
    fn drop_member(&mut self, member: usize);
}

/// What the controller was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    Abort,
    Health,
    /// How large the namespace of this member is.
    Size(usize),
    /// The number of queues; the same as at the start.
    Queues,
    Create,
}

#[derive(Clone, Copy)]
enum Phase {
    Running,
    /// Told to stop. `for_good`: it will not be started again.
    Stopping {
        until: Instant,
        for_good: bool,
    },
    Stopped,
    Starting {
        until: Instant,
    },
    /// Its queues are made: so many halves are done.
    Queues {
        done: usize,
    },
    Over,
}

/// See the module's header.
pub struct Guard<R> {
    queue: Queue<R>,
    /// What a log is written to.
    page: Shared,
    capabilities: Capabilities,
    name: Text<24>,
    members: Vec<Member>,
    phase: Phase,
    asked: Option<(Question, u16, Instant)>,
    next_id: u16,
    now: Instant,
    /// Resets in a row, and when the last one began.
    resets: u32,
    reset_at: Instant,
    /// When it is asked how it feels; never if it has no answer to that.
    health_at: Option<Instant>,
    fails_soon: bool,
    /// When the next namespace is asked how large it is, and whose that is.
    size_at: Instant,
    next_size: usize,
}

impl<R: Registers> Guard<R> {
    /// Of a controller that runs with these queues.
    pub fn new(
        queue: Queue<R>,
        page: Shared,
        capabilities: Capabilities,
        place: pci::Address,
        members: Vec<Member>,
        now: Instant,
    ) -> Self {
        Self {
            queue,
            page,
            capabilities,
            name: Text::format(format_args!("{place} nvme")),
            members,
            phase: Phase::Running,
            asked: None,
            next_id: 0,
            now,
            resets: 0,
            reset_at: now,
            health_at: Some(now),
            fails_soon: false,
            size_at: now + SIZE_US,
            next_size: 0,
        }
    }
}

impl<R: Registers> Watch for Guard<R> {
    fn fails_soon(&self) -> bool {
        self.fails_soon
    }

    fn sectors(&self, member: usize) -> u64 {
        self.members[member].sectors
    }

    fn let_go(&mut self, member: usize) {
        self.members[member].has_let_go = true;
    }

    fn drop_member(&mut self, member: usize) {
        self.members[member].is_dropped = true;
        self.members[member].has_let_go = true;
    }

    fn abort(&mut self, member: usize, id: u16) -> bool {
        if !matches!(self.phase, Phase::Running) || self.asked.is_some() {
            return false;
        }
        let mut command = Command::plain(Opcode::ABORT, 0);
        command.arguments[0] = u32::from(id) << 16 | u32::from(self.members[member].number);
        self.ask(Question::Abort, &command);
        true
    }

    fn look(&mut self, now: Instant, member: usize, broken: Option<Broken>) -> View {
        self.now = now;
        let status = ControllerStatus::read(self.queue.registers());
        match (self.phase, status) {
            (Phase::Over, _) => {}
            // What reads as all ones is off the bus or comes back from a reset,
            // and has lost the right to access memory with it.
            (_, None) => {
                log::error!(
                    "{}: {}; out of service until the next start",
                    self.name,
                    Reason::Gone
                );
                self.phase = Phase::Over;
            }
            (Phase::Running, Some(status)) => self.watch(status, broken),
            (Phase::Stopping { until, for_good }, Some(status)) => {
                if !status.contains(ControllerStatus::READY) {
                    self.phase = if for_good {
                        Phase::Over
                    } else {
                        Phase::Stopped
                    };
                    self.take_stock();
                } else if self.now > until && !for_good {
                    let name = &self.name;
                    log::error!("{name}: it does not stop; out of service until the next start");
                    self.phase = Phase::Stopping {
                        until,
                        for_good: true,
                    };
                }
            }
            (Phase::Stopped, Some(_)) => {
                if self.members.iter().all(|member| member.has_let_go) {
                    self.restart();
                }
            }
            (Phase::Starting { until }, Some(status)) => {
                if status.contains(ControllerStatus::FATAL) || self.now > until {
                    self.reset(Reason::Fatal);
                } else if status.contains(ControllerStatus::READY) {
                    self.ask_for_queues();
                }
            }
            (Phase::Queues { done }, Some(status)) => {
                if status.contains(ControllerStatus::FATAL) {
                    self.reset(Reason::Fatal);
                } else {
                    self.make_queues(done);
                }
            }
        }
        match self.phase {
            Phase::Running => View::Serve,
            Phase::Stopping { .. } => View::Wait,
            Phase::Stopped if !self.members[member].has_let_go => View::TakeBack {
                again: self.resets <= TRIES_MAX,
            },
            Phase::Stopped | Phase::Starting { .. } | Phase::Queues { .. } => View::Wait,
            Phase::Over => View::Over,
        }
    }
}

impl<R: Registers> Guard<R> {
    /// Looks after a controller that runs.
    fn watch(&mut self, status: ControllerStatus, broken: Option<Broken>) {
        if let Some(broken) = broken {
            return self.give_up(Reason::Broken(broken));
        }
        if status.contains(ControllerStatus::FATAL) {
            return self.reset(Reason::Fatal);
        }
        if !status.contains(ControllerStatus::READY) {
            return self.reset(Reason::NotReady);
        }
        if self.resets > 0 && self.now.since_us(self.reset_at) > CALM_US {
            self.resets = 0;
        }
        match self.answer() {
            Answered::Not => {}
            Answered::Late => return self.reset(Reason::Deaf),
            Answered::Wrong => return self.give_up(Reason::Broken(Broken::WrongAnswer)),
            Answered::By(Question::Health, is_well) => self.take_health(is_well),
            Answered::By(Question::Size(member), true) => self.take_size(member),
            Answered::By(..) => {}
        }
        if self.asked.is_none() && self.now >= self.size_at {
            self.ask_for_size();
        }
        if self.asked.is_none() && self.health_at.is_some_and(|at| self.now >= at) {
            self.health_at = Some(self.now + HEALTH_US);
            let mut command = Command::plain(Opcode::GET_LOG_PAGE, EVERY_NAMESPACE);
            command.data[0] = self.page.address();
            command.arguments[0] = (LOG_BYTES / 4 - 1) << 16 | LOG_HEALTH;
            self.ask(Question::Health, &command);
        }
    }

    /// Asks how large the next namespace is, one after the other.
    fn ask_for_size(&mut self) {
        let Some(member) = self.members.get(self.next_size) else {
            self.next_size = 0;
            self.size_at = self.now + SIZE_US;
            return;
        };
        let mut command = Command::plain(Opcode::IDENTIFY, member.namespace);
        command.data[0] = self.page.address();
        command.arguments[0] = kind::NAMESPACE;
        self.ask(Question::Size(self.next_size), &command);
        self.next_size += 1;
    }

    /// Takes note of a size. One that makes no sense, as that of a namespace that was
    /// formatted anew, is not believed: the controller will answer with errors.
    fn take_size(&mut self, member: usize) {
        if let Ok(sectors) = identify::sectors(|at| self.page.read(at)) {
            self.members[member].sectors = sectors;
        }
    }

    fn take_health(&mut self, is_well: bool) {
        if !is_well {
            // One without this log has nothing to say, now or later.
            self.health_at = None;
            return;
        }
        let warning = self.page.read(0) & 0xff;
        let fails_soon = warning & FAILS_SOON != 0;
        if fails_soon && !self.fails_soon {
            log::warn!(
                "{}: it says that it will fail (critical warning {warning:#04x}); replace it",
                self.name
            );
        }
        self.fails_soon = fails_soon;
    }

    /// Tells the controller to stop, and to come back.
    fn reset(&mut self, reason: Reason) {
        self.resets += 1;
        self.reset_at = self.now;
        if self.resets > RESETS_MAX {
            return self.give_up(reason);
        }
        log::error!("{}: {reason}; it is reset", self.name);
        self.end(false);
    }

    /// Tells the controller to stop, for good.
    fn give_up(&mut self, reason: Reason) {
        log::error!(
            "{}: {reason}; out of service until the next start",
            self.name
        );
        self.end(true);
    }

    fn end(&mut self, for_good: bool) {
        self.asked = None;
        stop(self.queue.registers());
        self.phase = Phase::Stopping {
            until: self.now + self.capabilities.ready_wait_us(),
            for_good,
        };
    }

    /// Who is still to take back frames.
    fn take_stock(&mut self) {
        for member in &mut self.members {
            member.has_let_go = member.is_dropped;
        }
    }

    /// Starts the controller anew. Nobody has anything in a queue.
    fn restart(&mut self) {
        self.queue.begin_anew();
        enable(self.queue.registers(), &self.queue);
        self.phase = Phase::Starting {
            until: self.now + self.capabilities.ready_wait_us(),
        };
    }

    fn ask_for_queues(&mut self) {
        self.ask(Question::Queues, &number_of_queues(self.members.len()));
        self.phase = Phase::Queues { done: 0 };
    }

    /// Makes the next half of a queue pair when the one before is there.
    fn make_queues(&mut self, mut done: usize) {
        match self.answer() {
            Answered::Not => return,
            Answered::By(Question::Queues, true) => {}
            Answered::By(Question::Create, true) => done += 1,
            Answered::By(..) | Answered::Late | Answered::Wrong => {
                return self.reset(Reason::Deaf);
            }
        }
        self.phase = Phase::Queues { done };
        let Some(member) = self.members.get(done / 2) else {
            log::warn!("{}: it is back; what was under way runs again", self.name);
            self.phase = Phase::Running;
            return;
        };
        let command = queue_half(member, done % 2 == 1);
        self.ask(Question::Create, &command);
    }

    fn ask(&mut self, question: Question, command: &Command) {
        let id = self.next_id;
        // Never all ones, which has a meaning in error logs.
        self.next_id = (self.next_id + 1) % 0xffff;
        self.queue.push(command, id);
        self.queue.ring();
        self.asked = Some((question, id, self.now + ADMIN_WAIT_US));
    }

    fn answer(&mut self) -> Answered {
        let Some(answer) = self.queue.pop() else {
            return match self.asked {
                Some((.., until)) if self.now > until => Answered::Late,
                _ => Answered::Not,
            };
        };
        self.queue.tell_head();
        match self.asked.take() {
            Some((question, id, _)) if id == answer.id => {
                Answered::By(question, answer.status.is_success())
            }
            _ => Answered::Wrong,
        }
    }
}

/// What became of a question.
enum Answered {
    Not,
    /// It should have been answered by now.
    Late,
    /// Something was answered that was not asked.
    Wrong,
    /// It was answered, well or not.
    By(Question, bool),
}
