//! One namespace as an [`io::Disk`]: a queue pair, and a table of what is lent.
//!
//! A command's number names a slot of our own table and says how often that slot
//! was used, so an answer that comes twice, or late, or from nowhere is not
//! mistaken for one. What finds no free slot waits in a list as long as the
//! machine has frames.
//!
//! A command that is not answered is named, and the controller is asked to abort it;
//! it is never given up by us alone, since the controller may still write into its
//! frame. A host has its own time limit.
//!
//! **A reset may cost what is in the cache.** A controller whose firmware fails does
//! not say what it had not written yet, so the flushes that would have vouched for
//! such writes fail. What it had not answered runs again.
//!
//! **No write goes through the cache.** A write can ask for it with FUA (NVMe 1.4, 6.15),
//! and nothing tells a controller that does as asked from one that takes no notice, as
//! QEMU's does. So it is left to flushes, which both honour.

use crate::command::Command;
use crate::guard::{View, Watch};
use crate::queue::Queue;
use crate::registers::Registers;
use crate::service::{Broken, Service};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use io::{Done, Frame, Geometry, Identity, Instant, Op, Outcome, Request, Text, WriteCache};
use pci::DeviceMemory;

/// Most slots: a slot's number has 8 bits, and a command's number is never all
/// ones, which has a meaning in error logs (NVMe 2.0, 4.1.2).
const SLOTS_MAX: usize = 255;
/// After this time a person should know that a disk does not answer.
const SILENCE_MAX_US: u64 = 30_000_000;
/// How often we look for that.
const SILENCE_LOOK_US: u64 = 1_000_000;
/// The node stays awake for a controller's way back for so long.
const AWAKE_US: u64 = 5_000_000;

/// What a disk starts with.
pub(crate) struct Start<R> {
    pub queue: Queue<R>,
    pub namespace: u32,
    pub geometry: Geometry,
    pub identity: Identity,
    pub place: pci::Address,
    pub frames: usize,
    pub has_interrupt: bool,
    pub now: Instant,
}

/// A request that the controller has.
struct Lent {
    request: Request,
    frame: Frame,
    since: Instant,
    /// Of a flush: how many writes it vouches for.
    writes: u32,
    /// The controller was asked to abort it.
    aborted: bool,
}

/// A place for a request.
#[derive(Default)]
struct Slot {
    lent: Option<Lent>,
    /// How often it was used.
    uses: u8,
}

/// A namespace. See the module's header.
pub struct Disk<R = DeviceMemory> {
    queue: Queue<R>,
    namespace: u32,
    geometry: Geometry,
    identity: Identity,
    name: Text<40>,
    slots: Box<[Slot]>,
    /// Slots that nobody has.
    free: Vec<u8>,
    /// Requests that wait for a slot, in order.
    backlog: VecDeque<(Request, Frame)>,
    /// What ended without the controller, or was given back when it stopped.
    ended: VecDeque<Done>,
    has_interrupt: bool,
    guard: Rc<RefCell<dyn Watch>>,
    /// Which one of the guard's.
    member: usize,
    service: Service,
    /// When it began to wait for its controller.
    waiting_since: Instant,
    fails_soon: bool,
    /// Writes that were done; how many of them a flush was asked for, and vouched
    /// for.
    writes: u32,
    writes_asked: u32,
    writes_vouched: u32,
    /// Flushes that have to fail.
    doomed_flushes: usize,
    broken: Option<Broken>,
    doorbells: u64,
    now: Instant,
    looked_at: Instant,
    silent: bool,
}

impl<R: Registers> Disk<R> {
    pub(crate) fn new(start: Start<R>, member: usize, guard: Rc<RefCell<dyn Watch>>) -> Self {
        let depth = start.queue.depth().min(SLOTS_MAX);
        Self {
            queue: start.queue,
            namespace: start.namespace,
            geometry: start.geometry,
            identity: start.identity,
            name: Text::format(format_args!(
                "{} nvme namespace {}",
                start.place, start.namespace
            )),
            slots: (0..depth).map(|_| Slot::default()).collect(),
            // The lowest is taken first: a quiet disk uses few cache lines.
            free: (0..depth as u8).rev().collect(),
            // While the controller is reset, everything waits.
            backlog: VecDeque::with_capacity(start.frames),
            ended: VecDeque::with_capacity(start.frames),
            has_interrupt: start.has_interrupt,
            guard,
            member,
            service: Service::Running,
            waiting_since: start.now,
            fails_soon: false,
            writes: 0,
            writes_asked: 0,
            writes_vouched: 0,
            doomed_flushes: 0,
            broken: None,
            doorbells: 0,
            now: start.now,
            looked_at: start.now,
            silent: false,
        }
    }

    /// Its number at its controller, from 1 on.
    pub fn namespace(&self) -> u32 {
        self.namespace
    }

    /// Commands that run at a time.
    pub fn depth(&self) -> usize {
        self.slots.len()
    }

    /// Whether a request has waited for so long that it was named.
    pub fn is_silent(&self) -> bool {
        self.silent
    }

    /// How often the doorbell was rung for commands.
    pub fn doorbells(&self) -> u64 {
        self.doorbells
    }

    /// Lends the requests that wait, as far as there are slots.
    fn lend_waiting(&mut self) {
        while self.service == Service::Running
            && !self.free.is_empty()
            && let Some((request, frame)) = self.backlog.pop_front()
        {
            self.lend(request, frame);
        }
    }

    /// Lends a request to the controller. There is a free slot.
    fn lend(&mut self, request: Request, mut frame: Frame) {
        if request.op == Op::Flush && self.doomed_flushes > 0 {
            self.doomed_flushes -= 1;
            return self.end(request, Outcome::Fault, frame);
        }
        let command = Command::of(&request, &mut frame, self.namespace);
        let number = self.free.pop().expect("there is a free slot");
        let slot = &mut self.slots[usize::from(number)];
        slot.lent = Some(Lent {
            request,
            frame,
            since: self.now,
            writes: self.writes,
            aborted: false,
        });
        self.queue
            .push(&command, u16::from_le_bytes([number, slot.uses]));
    }

    /// The request that a command's number names, if the controller has it.
    fn take(&mut self, id: u16) -> Option<Lent> {
        let [number, uses] = id.to_le_bytes();
        let slot = self.slots.get_mut(usize::from(number))?;
        if slot.uses != uses {
            return None;
        }
        let lent = slot.lent.take()?;
        slot.uses = slot.uses.wrapping_add(1);
        self.free.push(number);
        Some(lent)
    }

    /// Notes how a request ended that the controller is not asked about.
    fn end(&mut self, request: Request, outcome: Outcome, frame: Frame) {
        self.ended.push_back(Done {
            ticket: request.ticket,
            outcome,
            frame,
        });
    }

    /// Does what the controller's guard says.
    #[cold]
    fn follow(&mut self) {
        let mut guard = self.guard.borrow_mut();
        let view = guard.look(self.now, self.member, self.broken);
        self.fails_soon = guard.fails_soon();
        drop(guard);
        match (view, self.service) {
            (View::Serve, Service::Waiting) => self.service = Service::Running,
            (View::Wait, Service::Running) => self.wait(),
            (View::TakeBack { again }, _) => {
                self.wait();
                self.take_back(again);
                self.guard.borrow_mut().let_go(self.member);
            }
            (View::Over, Service::Running | Service::Waiting) => {
                self.service = Service::Stopped;
                self.take_back(false);
                while let Some((request, frame)) = self.backlog.pop_front() {
                    self.end(request, Outcome::Fault, frame);
                }
            }
            (View::Serve, _) | (View::Wait, _) | (View::Over, Service::Stopped) => {}
        }
    }

    fn wait(&mut self) {
        self.service = Service::Waiting;
        self.waiting_since = self.now;
    }

    /// Takes everything back: the controller has let go of it. It waits to run
    /// `again`, but for what was silent for too long already.
    fn take_back(&mut self, again: bool) {
        for number in 0..self.slots.len() {
            let slot = &mut self.slots[number];
            let Some(lent) = slot.lent.take() else {
                continue;
            };
            slot.uses = slot.uses.wrapping_add(1);
            self.free.push(number as u8);
            if again && self.now.since_us(lent.since) <= SILENCE_MAX_US {
                self.backlog.push_front((lent.request, lent.frame));
            } else {
                self.end(lent.request, Outcome::Fault, lent.frame);
            }
        }
        self.queue.begin_anew();
        self.doubt_cache();
    }

    /// See the module's header.
    fn doubt_cache(&mut self) {
        let is_volatile = self.geometry.write_cache == WriteCache::Volatile;
        if !is_volatile || self.writes == self.writes_vouched {
            return;
        }
        self.writes_vouched = self.writes;
        let flushes = self.backlog.iter();
        let flushes = flushes
            .filter(|(request, _)| request.op == Op::Flush)
            .count();
        // Writes that no flush was asked for yet: the next one would vouch.
        let unasked = usize::from(self.writes != self.writes_asked);
        self.doomed_flushes = flushes + unasked;
        log::warn!(
            "{}: the reset may have cost writes in its cache; their flush fails",
            self.name
        );
    }

    /// Says once that the disk is silent, and once that it is not any more.
    fn look_for_silence(&mut self) {
        if self.now.since_us(self.looked_at) < SILENCE_LOOK_US {
            return;
        }
        self.looked_at = self.now;
        let mut silent = false;
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let Some(lent) = &mut slot.lent else {
                continue;
            };
            if self.now.since_us(lent.since) <= SILENCE_MAX_US {
                continue;
            }
            silent = true;
            if !lent.aborted {
                let id = u16::from_le_bytes([number as u8, slot.uses]);
                lent.aborted = self.guard.borrow_mut().abort(self.member, id);
            }
        }
        if silent != self.silent {
            self.silent = silent;
            let name = self.name.as_str();
            let seconds = SILENCE_MAX_US / 1_000_000;
            if silent {
                log::error!("{name}: has not answered a request for {seconds} s");
            } else {
                log::info!("{name}: answers again");
            }
        }
    }

    fn is_running(&self) -> bool {
        self.service == Service::Running && self.broken.is_none()
    }
}

impl<R: Registers> io::Disk for Disk<R> {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn submit(&mut self, request: Request, frame: Frame) {
        let outcome = match request.op {
            _ if self.service == Service::Stopped => Some(Outcome::Fault),
            // What has no volatile cache is durable when it is reported.
            Op::Flush if self.geometry.write_cache == WriteCache::None => Some(Outcome::Done),
            Op::Discard if self.geometry.discard.is_none() => Some(Outcome::Unsupported),
            Op::Read | Op::Write | Op::Flush | Op::Discard => None,
        };
        if let Some(outcome) = outcome {
            return self.end(request, outcome, frame);
        }
        if request.op == Op::Flush {
            self.writes_asked = self.writes;
        }
        // First those that wait: so the list holds something only while every
        // slot is taken, and both together hold every frame.
        self.lend_waiting();
        let is_running = self.service == Service::Running;
        if is_running && self.backlog.is_empty() && !self.free.is_empty() {
            self.lend(request, frame);
        } else {
            self.backlog.push_back((request, frame));
        }
    }

    fn poll_done(&mut self) -> Option<Done> {
        if let Some(done) = self.ended.pop_front() {
            return Some(done);
        }
        if !self.is_running() {
            if self.service == Service::Waiting {
                self.follow();
            }
            return self.ended.pop_front();
        }
        let answer = self.queue.pop()?;
        let Some(lent) = self.take(answer.id) else {
            // The next tick takes it out of service.
            self.broken = Some(Broken::WrongAnswer);
            return None;
        };
        let outcome = answer.status.outcome(lent.request.op);
        match (lent.request.op, outcome) {
            (Op::Write, Outcome::Done) => self.writes = self.writes.wrapping_add(1),
            (Op::Flush, Outcome::Done) => self.writes_vouched = lent.writes,
            _ => {}
        }
        Some(Done {
            ticket: lent.request.ticket,
            outcome,
            frame: lent.frame,
        })
    }

    fn lent<T>(&self, ticket: u32, look: impl FnOnce(&Frame) -> T) -> Option<T> {
        let lent = self.slots.iter().filter_map(|slot| slot.lent.as_ref());
        let lent = lent.map(|lent| (lent.request.ticket, &lent.frame));
        let waiting = self.backlog.iter();
        let waiting = waiting.map(|(request, frame)| (request.ticket, frame));
        let ended = self.ended.iter().map(|done| (done.ticket, &done.frame));
        lent.chain(waiting)
            .chain(ended)
            .find(|(lent, _)| *lent == ticket)
            .map(|(_, frame)| look(frame))
    }

    fn kick(&mut self) {
        if !self.is_running() {
            return;
        }
        self.lend_waiting();
        // Room for the answers before the commands that will have them.
        self.queue.make_room();
        if self.queue.ring() {
            self.doorbells += 1;
        }
    }

    fn tick(&mut self, now: Instant) -> bool {
        self.now = now;
        let before = (self.fails_soon, self.geometry.sectors);
        self.follow();
        self.geometry.sectors = self.guard.borrow().sectors(self.member);
        if self.service == Service::Running {
            self.look_for_silence();
        }
        (self.fails_soon, self.geometry.sectors) != before
    }

    fn fails_soon(&self) -> bool {
        self.fails_soon
    }

    fn arm(&mut self) -> bool {
        if !self.ended.is_empty() {
            return true;
        }
        if self.service == Service::Waiting {
            let is_idle = self.backlog.is_empty() && self.free.len() == self.slots.len();
            return !is_idle && self.now.since_us(self.waiting_since) < AWAKE_US;
        }
        if !self.is_running() {
            return false;
        }
        if !self.has_interrupt {
            // A disk that holds nothing has nothing to say.
            return self.free.len() < self.slots.len();
        }
        // A controller may hold back its message while answers are untold.
        self.queue.tell_head();
        self.queue.has_answer()
    }

    fn disarm(&mut self) {
        // Messages stay on: to close and open the entry of the table would cost
        // two register accesses a sleep, and a message that finds the node awake
        // costs a few hundred instructions and no access.
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl<R> Drop for Disk<R> {
    fn drop(&mut self) {
        self.guard.borrow_mut().drop_member(self.member);
    }
}
