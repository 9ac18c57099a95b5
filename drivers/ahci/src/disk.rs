//! One drive as an [`io::Disk`]: up to 32 commands at a time, and none lost.
//!
//! A command's table lies in its frame's scratch, so a slot of the list is all
//! that a command needs. What finds no free slot waits in a list as long as the
//! machine has frames. Reads and writes go queued where drive and controller
//! can; a flush or a discard goes alone, when all before it have ended, and
//! nothing overtakes it: it waits, but for a bounded number of commands.
//!
//! **Looking costs memory, not registers.** A register read takes as long as a
//! thousand instructions. The drive's last FIS lies in memory, so a poll looks
//! there; only when something came it reads the register, which alone is
//! believed. What that could miss (a FIS that was written before its register
//! changed, or while we made room for it) is found at the next wake or tick.
//!
//! **An error blames nobody in the crowd.** When a queued command fails, the
//! drive gives up all of them. They become suspects: the drive is reset and they
//! run again one by one, unqueued, so that exactly the one that fails, fails.
//! A command that was alone and that the drive refused needs no second try; one
//! that the link garbled or the drive never answered gets a few.
//!
//! **Now and then the drive is asked whether it will fail.** The question goes alone,
//! as a flush does, and a drive that does not know it or never answers is not asked
//! again.
//!
//! **A link that was lost may mean power that was lost.** We can not tell a
//! loose data plug from a loose power plug, and with the second one the drive's
//! cache is gone. Writes that were done but not flushed at that moment may be
//! gone too, so the flushes that would have vouched for them fail.

pub(crate) mod recovery;

use crate::command::{self, Header, TABLE_BYTES};
use crate::identify::{Drive, Rotation};
use crate::order::{Needless, Order, may_be_queued};
use crate::registers::{Interrupts, LinkError, Port, Registers, port};
use crate::revival::Revival;
use crate::table::{Hint, Table};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::sync::atomic::{Ordering, fence};
use io::{Clock, Done, Frame, Geometry, Identity, Instant, Op, Outcome, Request, Text, WriteCache};

/// How often a drive is asked whether it will fail: a busy one has to end all that
/// it was told before.
const HEALTH_US: u64 = 60_000_000;
/// Register reads that a received FIS is worth while nothing has ended yet.
const LOOKS: u8 = 16;

/// What the controller sets as limits to all its disks.
pub(crate) struct Limits {
    /// Commands in a list.
    pub slots: u8,
    /// Whether it can queue.
    pub ncq: bool,
    /// Whether it reaches memory above 4 GiB.
    pub wide_addresses: bool,
    /// How many frames the machine has.
    pub frames: usize,
    /// Where it sits.
    pub place: pci::Address,
    /// Whether an interrupt reaches the node.
    pub has_interrupt: bool,
}

/// A request in a slot of the command list.
struct Lent {
    request: Request,
    frame: Frame,
    issued_at: Instant,
    strikes: u8,
    outcome: Outcome,
}

/// What the port is doing.
enum Phase {
    /// Running commands.
    Running,
    /// On the way back from an error.
    Reviving(Revival),
    /// Back with another geometry; runs when the node was told.
    Settling,
    /// Without its drive: everything fails. It is looked for again from
    /// `retry_at` on.
    Lost {
        retry_at: Instant,
        revival: Option<Revival>,
    },
}

/// A drive. See the module's header.
pub struct Disk<R, C> {
    port: Port<R>,
    table: Table,
    clock: C,
    name: Text<24>,
    drive: Drive,
    /// What the node knows, which may lag behind `drive`.
    geometry: Geometry,
    phase: Phase,

    /// 32 of them. Not in here, so that a disk is moved cheaply at the start.
    slots: Box<[Option<Lent>]>,
    /// Slots the controller has.
    running: u32,
    /// Slots that ended and were not asked for yet.
    ended: u32,
    /// Slots that failed with others and run again, alone.
    suspects: u32,
    /// What runs is one command and not queued.
    alone: bool,
    backlog: VecDeque<(Request, Frame)>,
    /// Register reads that are still worth it.
    looks: u8,
    armed: bool,

    hba_slots: u8,
    queue_allowed: bool,
    has_interrupt: bool,
    /// Address bits that the controller does not have.
    out_of_reach: u64,

    resets: u8,
    queue_failures: u8,
    /// Writes were done that no flush followed.
    unflushed: bool,
    /// Flushes that have to fail.
    doomed_flushes: usize,
    quiet_until: Instant,
    doorbells: u64,
    /// When the drive is asked how it feels, and that nothing new begins until then.
    health_at: Instant,
    asks_health: bool,
    /// What the node knows of its answer, and what it was.
    fails_soon: bool,
    said_fails_soon: bool,
}

impl<R: Registers, C: Clock> Disk<R, C> {
    /// The drive behind `port`, which runs its command list, empty.
    pub(crate) fn new(
        port: Port<R>,
        table: Table,
        clock: C,
        drive: Drive,
        limits: &Limits,
    ) -> Self {
        let clock_now = clock.now();
        Self {
            name: Text::format(format_args!("{} ahci port {}", limits.place, port.number())),
            quiet_until: clock_now,
            port,
            table,
            clock,
            drive,
            geometry: drive.geometry,
            phase: Phase::Running,
            slots: (0..32).map(|_| None).collect(),
            running: 0,
            ended: 0,
            suspects: 0,
            alone: false,
            backlog: VecDeque::with_capacity(limits.frames),
            looks: 0,
            armed: false,
            hba_slots: limits.slots,
            queue_allowed: limits.ncq,
            has_interrupt: limits.has_interrupt,
            out_of_reach: if limits.wide_addresses { 0 } else { !0 << 32 },
            resets: 0,
            queue_failures: 0,
            unflushed: false,
            doomed_flushes: 0,
            doorbells: 0,
            health_at: clock_now,
            asks_health: false,
            fails_soon: false,
            said_fails_soon: false,
        }
    }

    /// Which port of its controller, from 0 on.
    pub fn port_number(&self) -> u8 {
        self.port.number()
    }

    /// How fast the platters turn.
    pub fn rotation(&self) -> Rotation {
        self.drive.rotation
    }

    /// Commands that run at a time.
    pub fn depth(&self) -> u8 {
        if self.queues() {
            self.drive.queue_depth.min(self.hba_slots)
        } else {
            1
        }
    }

    /// How often the doorbell was rung.
    pub fn doorbells(&self) -> u64 {
        self.doorbells
    }

    fn queues(&self) -> bool {
        self.queue_allowed && self.drive.queue_depth.min(self.hba_slots) > 1
    }

    /// A slot that nobody has, of those that `depth` allows.
    fn free_slot(&self, batch: u32) -> Option<u8> {
        let taken = self.running | self.ended | self.suspects | batch;
        let slot = (!taken).trailing_zeros() as u8;
        (slot < self.depth()).then_some(slot)
    }

    fn lent_in(&mut self, slot: u8) -> &mut Lent {
        self.slots[usize::from(slot)]
            .as_mut()
            .expect("a slot that is running, ended or suspect holds a request")
    }

    /// Fills free slots from the backlog. Returns those to ring for.
    fn fill(&mut self, now: Instant) -> u32 {
        let mut batch = 0;
        while let Some(slot) = self.free_slot(batch) {
            let Some((request, _)) = self.backlog.front() else {
                break;
            };
            let queued = self.queues() && may_be_queued(request);
            let others = self.running | batch != 0;
            if others && (!queued || self.alone) {
                break;
            }
            let (request, frame) = self.backlog.pop_front().expect("the front was there");
            self.slots[usize::from(slot)] = Some(Lent {
                request,
                frame,
                issued_at: now,
                strikes: 0,
                outcome: Outcome::Fault,
            });
            if self.prepare(slot, queued, now) {
                self.alone = !queued;
                batch |= 1 << slot;
            }
        }
        batch
    }

    /// Makes the request in `slot` ready for the controller. False if there is
    /// nothing to tell it: then the request has ended.
    fn prepare(&mut self, slot: u8, queued: bool, now: Instant) -> bool {
        let lent = self.slots[usize::from(slot)]
            .as_mut()
            .expect("only a filled slot is prepared");
        let request = lent.request;
        if request.op == Op::Flush && self.doomed_flushes > 0 {
            self.doomed_flushes -= 1;
            return self.end(slot, Outcome::Fault);
        }
        // The table lies at the start of the slot: aligned to 512, of 128.
        let table = lent.frame.bus_address();
        if table & self.out_of_reach != 0 {
            return self.end(slot, Outcome::Fault);
        }
        let (tag, page) = (queued.then_some(slot), self.table.page_address());
        let order = match Order::new(&self.drive, &request, &lent.frame, tag, page) {
            Ok(order) => order,
            Err(Needless::Already) => return self.end(slot, Outcome::Done),
            Err(Needless::Unknown) => return self.end(slot, Outcome::Unsupported),
        };
        let scratch = &mut lent.frame.scratch_mut()[..TABLE_BYTES];
        command::write_table(scratch, &order.registers, order.region);
        lent.issued_at = now;
        if request.op == Op::Discard {
            // Nobody else uses the page: a discard is alone.
            let ranges = command::discard_block(request.lba, request.sectors);
            self.table.set_page(&ranges);
        }
        let header = Header::new(table, order.direction, order.region.is_some());
        self.table.set_header(slot, header);
        true
    }

    /// Hands the slots in `batch` to the controller.
    fn ring(&mut self, batch: u32) {
        self.running |= batch;
        self.doorbells += 1;
        if self.alone {
            // A command that is alone ends with a register FIS; an older one
            // only said that a queued command was accepted.
            self.table.forget_received();
        }
        // The lists and tables before the registers that make them the
        // controller's.
        fence(Ordering::SeqCst);
        if !self.alone {
            self.port.write(port::QUEUED, batch);
        }
        self.port.write(port::ISSUED, batch);
    }

    /// Notes how the request in `slot` ended. Always false: it does not run.
    fn end(&mut self, slot: u8, outcome: Outcome) -> bool {
        let volatile = self.drive.geometry.write_cache == WriteCache::Volatile;
        let lent = self.lent_in(slot);
        lent.outcome = outcome;
        match (lent.request.op, outcome) {
            (Op::Write, Outcome::Done) => self.unflushed |= volatile,
            (Op::Flush, Outcome::Done) => self.unflushed = false,
            _ => {}
        }
        let bit = 1 << slot;
        self.running &= !bit;
        self.suspects &= !bit;
        self.ended |= bit;
        false
    }

    /// Looks at what changed, the cheap way.
    fn look(&mut self) {
        match self.phase {
            Phase::Running if self.running != 0 => {
                if self.looks > 0 || self.table.hint(self.alone) != Hint::Nothing {
                    self.harvest();
                }
            }
            Phase::Running | Phase::Settling | Phase::Lost { revival: None, .. } => {}
            Phase::Reviving(_)
            | Phase::Lost {
                revival: Some(_), ..
            } => self.revive(),
        }
    }

    /// Takes what the registers say has ended.
    fn harvest(&mut self) {
        let hint = self.table.hint(self.alone);
        let told = self.table.ended_tags() & self.running;
        self.table.forget_received();
        // Room for the next FIS before the read that makes this one known.
        fence(Ordering::SeqCst);
        let finished = self.finished();
        self.looks = match hint {
            // FISes are handled one after another, so when the last one's tags
            // are free, those of all before it are.
            _ if finished != 0 && (self.alone || told & !finished == 0) => 0,
            Hint::Nothing => self.looks.saturating_sub(1),
            _ => LOOKS,
        };
        if self.alone {
            if (finished != 0 || hint != Hint::Nothing) && self.fail_if_failed(true) {
                return;
            }
            self.end_all(finished);
        } else {
            self.end_all(finished);
            if finished == 0 || hint == Hint::Failed {
                self.fail_if_failed(hint == Hint::Failed);
            }
        }
        // What the data's reader sees is not older than the register.
        fence(Ordering::SeqCst);
    }

    /// Slots the controller has and says it is done with.
    fn finished(&self) -> u32 {
        let register = if self.alone {
            port::ISSUED
        } else {
            port::QUEUED
        };
        self.running & !self.port.read(register)
    }

    fn end_all(&mut self, finished: u32) {
        for slot in bits(finished) {
            self.end(slot, Outcome::Done);
        }
    }
}

impl<R: Registers, C: Clock> io::Disk for Disk<R, C> {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn identity(&self) -> &Identity {
        &self.drive.identity
    }

    fn submit(&mut self, request: Request, frame: Frame) {
        self.backlog.push_back((request, frame));
    }

    fn poll_done(&mut self) -> Option<Done> {
        if self.ended == 0 {
            self.look();
        }
        if let Some(slot) = bits(self.ended).next() {
            self.ended &= !(1 << slot);
            let lent = self.slots[usize::from(slot)]
                .take()
                .expect("an ended slot holds its request");
            return Some(Done {
                ticket: lent.request.ticket,
                outcome: lent.outcome,
                frame: lent.frame,
            });
        }
        if matches!(self.phase, Phase::Lost { .. }) {
            let (request, frame) = self.backlog.pop_front()?;
            if request.op == Op::Flush {
                self.doomed_flushes = 0;
            }
            return Some(Done {
                ticket: request.ticket,
                outcome: Outcome::Fault,
                frame,
            });
        }
        None
    }

    fn lent<T>(&self, ticket: u32, look: impl FnOnce(&Frame) -> T) -> Option<T> {
        let in_slots = self
            .slots
            .iter()
            .flatten()
            .map(|lent| (&lent.request, &lent.frame));
        let waiting = self.backlog.iter().map(|(request, frame)| (request, frame));
        in_slots
            .chain(waiting)
            .find(|(request, _)| request.ticket == ticket)
            .map(|(_, frame)| look(frame))
    }

    fn kick(&mut self) {
        if self.backlog.is_empty() && self.suspects == 0 || !matches!(self.phase, Phase::Running) {
            return;
        }
        if self.asks_health {
            return self.ask_health(self.clock.now());
        }
        let mut batch = 0;
        if let Some(slot) = bits(self.suspects).next() {
            // One by one, and nothing else until all are through.
            if self.running == 0 && self.prepare(slot, false, self.clock.now()) {
                self.suspects &= !(1 << slot);
                self.alone = true;
                batch = 1 << slot;
            }
        } else {
            batch = self.fill(self.clock.now());
        }
        if batch != 0 {
            self.ring(batch);
        }
    }

    fn tick(&mut self, now: Instant) -> bool {
        if self.fails_soon != self.said_fails_soon {
            self.fails_soon = self.said_fails_soon;
            return true;
        }
        match &self.phase {
            Phase::Running => {
                self.inspect(now);
                if self.drive.tells_health && now >= self.health_at {
                    self.ask_health(now);
                }
            }
            Phase::Settling => {
                self.geometry = self.drive.geometry;
                self.phase = Phase::Running;
                return true;
            }
            Phase::Reviving(_)
            | Phase::Lost {
                revival: Some(_), ..
            } => self.revive(),
            &Phase::Lost {
                retry_at,
                revival: None,
            } => {
                // A drive that was not there is tried as soon as it is.
                let plugged = self
                    .port
                    .read(port::LINK_ERROR)
                    .intersects(LinkError::EXCHANGED | LinkError::PHY_CHANGE);
                if self.is_linked() && (plugged || now >= retry_at) {
                    self.phase = Phase::Lost {
                        retry_at,
                        revival: Some(Revival::reset(&self.port, now)),
                    };
                }
            }
        }
        false
    }

    fn fails_soon(&self) -> bool {
        self.fails_soon
    }

    fn arm(&mut self) -> bool {
        let answers_wait =
            self.ended != 0 || matches!(self.phase, Phase::Lost { .. }) && !self.backlog.is_empty();
        let polls_needed = matches!(
            self.phase,
            Phase::Reviving(_)
                | Phase::Lost {
                    revival: Some(_),
                    ..
                }
        );
        let kick_needed = matches!(self.phase, Phase::Running)
            && self.running == 0
            && (self.suspects != 0 || !self.backlog.is_empty());
        if answers_wait || polls_needed || kick_needed {
            return true;
        }
        if !matches!(self.phase, Phase::Running) || self.running == 0 {
            // Nothing is under way; what may still happen is a tick's business.
            return false;
        }
        if !self.has_interrupt {
            return true;
        }
        let interrupts = self.port.read(port::INTERRUPTS);
        if interrupts.intersects(Interrupts::FAILURES) {
            self.looks = LOOKS;
            return true;
        }
        // The old ones go before the wish, the wish before the last look: what
        // ends later than that look interrupts. A FIS that came before may be ahead
        // of its register, and its interrupt is gone now.
        self.port.clear_interrupts(interrupts);
        self.port
            .write(port::INTERRUPTS_ENABLED, Interrupts::WAKERS);
        self.armed = true;
        let is_ended = self.finished() != 0 || self.table.hint(self.alone) != Hint::Nothing;
        if is_ended {
            self.looks = LOOKS;
        }
        is_ended
    }

    fn disarm(&mut self) {
        if self.armed {
            self.armed = false;
            self.port
                .write(port::INTERRUPTS_ENABLED, Interrupts::empty());
            // Perhaps it was us who woke the node, by a failure that left no
            // FIS.
            self.looks = self.looks.max(1);
        }
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// The numbers of the bits that are set, from low to high.
fn bits(mut set: u32) -> impl Iterator<Item = u8> {
    core::iter::from_fn(move || {
        let bit = (set != 0).then(|| set.trailing_zeros() as u8)?;
        set &= set - 1;
        Some(bit)
    })
}
