//! What the disks behind one adapter share: its queue, and what to do about an
//! answer that is not a plain yes.
//!
//! Some answers mean "again": a unit has something to tell first, it is busy, it
//! was reset under the command. Those are not for the node to see. Such a command
//! is sent again at once or with the next tick, a few times or for a while; what is
//! still not done then is an error. Sending a write again is harmless however far it
//! had come: it is not answered yet, and until it is the node holds every newer
//! write of the same sectors back.

use crate::adapter::{Adapter, Address, Answer, Data, End, Mark, Notice};
use crate::command::{Cdb, PARAMETERS};
use crate::pages::Capacity;
use crate::seat::{Holder, Look, Seat};
use crate::sense::Key;
use crate::unit::Unit;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use io::{Done, Frame, Instant, Op, Outcome, Request, SECTOR_BYTES, WIRE};

/// How often a command is sent again at once.
const TRIES_MAX: u8 = 5;
/// How long a command may be put off by a busy unit. Initiators give up later.
const PATIENCE_US: u64 = 30_000_000;
/// How often some targets are looked at for somebody new, and how many: all of the 64
/// that QEMU's PVSCSI has take half a minute.
const SEARCH_US: u64 = 1_000_000;
const SEARCHED_AT_ONCE: usize = 4;

/// See the module's header.
pub(crate) struct Bus<A> {
    pub adapter: A,
    pub seats: Vec<Seat>,
    /// What is sent again with the next tick.
    waiting: VecDeque<(Mark, Frame)>,
    now: Instant,
    /// Which target is looked at next for somebody new, and when.
    searched: u8,
    search_at: Instant,
}

/// What becomes of a command that ended.
enum Verdict {
    Done(Outcome),
    /// It is sent again at once.
    Again,
    /// It is sent again with the next tick.
    Later,
}

impl<A: Adapter> Bus<A> {
    /// A bus for `frames` frames in all.
    pub fn new(adapter: A, frames: usize, now: Instant) -> Self {
        Self {
            adapter,
            seats: Vec::new(),
            waiting: VecDeque::with_capacity(frames),
            now,
            searched: 0,
            search_at: now,
        }
    }

    /// Takes a request for a disk.
    pub fn submit(&mut self, disk: u8, request: Request, frame: Frame) {
        if request.op == Op::Flush {
            let seat = &mut self.seats[usize::from(disk)];
            if seat.cache.begin_flush(request.ticket, seat.gone).is_err() {
                return self.end(disk, request, Outcome::Fault, frame);
            }
        }
        let mark = Mark {
            disk,
            request: Some(request),
            since: self.now,
            tries: 0,
        };
        self.send(mark, frame);
    }

    /// Notes how a request ended.
    pub fn end(&mut self, disk: u8, request: Request, outcome: Outcome, frame: Frame) {
        self.seats[usize::from(disk)].ended.push_back(Done {
            ticket: request.ticket,
            outcome,
            frame,
        });
    }

    /// The next request of a disk that ended. Answers for others are put where
    /// they will look.
    pub fn poll(&mut self, disk: u8) -> Option<Done> {
        loop {
            if let Some(done) = self.seats[usize::from(disk)].ended.pop_front() {
                return Some(done);
            }
            // Ends: the adapter has no more than it was given, and what is sent
            // again is only seen after a kick.
            let answer = self.adapter.poll()?;
            self.sort(answer);
        }
    }

    /// Looks at a frame of a disk, wherever it is.
    pub fn lent<R>(&self, disk: u8, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let is_it = |mark: &Mark| {
            mark.disk == disk && mark.request.is_some_and(|request| request.ticket == ticket)
        };
        if let Some((_, frame)) = self.waiting.iter().find(|(mark, _)| is_it(mark)) {
            return Some(look(frame));
        }
        let mut ended = self.seats[usize::from(disk)].ended.iter();
        if let Some(done) = ended.find(|done| done.ticket == ticket) {
            return Some(look(&done.frame));
        }
        self.adapter.lent(is_it, look)
    }

    /// Looks after the adapter, once for all disks at the same time.
    pub fn tick(&mut self, now: Instant) {
        if now == self.now {
            return;
        }
        self.now = now;
        self.adapter.tick(now);
        // Ends: each notice is given once. They come before the answers, see `seat`.
        while let Some(notice) = self.adapter.notice() {
            self.take_notice(notice);
        }
        for seat in &mut self.seats {
            seat.believe(self.adapter.name());
        }
        while let Some(answer) = self.adapter.poll() {
            self.sort(answer);
        }
        for _ in 0..self.waiting.len() {
            let Some((mark, frame)) = self.waiting.pop_front() else {
                break;
            };
            self.send(mark, frame);
        }
        if !self.adapter.tells_of_units() && now >= self.search_at {
            self.search();
        }
        for disk in 0..self.seats.len() {
            self.ask(disk);
        }
        self.adapter.kick();
    }

    /// A size of a disk that has not been taken note of.
    pub fn fresh(&mut self, disk: u8) -> Option<Capacity> {
        self.seats[usize::from(disk)].fresh.take()
    }

    fn take_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Changed(address) => {
                let seat = self.seats.iter_mut().find(|seat| seat.address == address);
                if let Some(seat) = seat {
                    seat.stale = true;
                }
            }
            Notice::Removed(address) => self.lose(address),
            Notice::Added(address) => {
                // One that we had: that it was away may not have been said.
                self.lose(address);
                let seat = self.seats.iter_mut().find(|seat| seat.address == address);
                match seat {
                    Some(seat) if matches!(seat.holder, Holder::Disk) => seat.look_at = self.now,
                    Some(seat) => seat.meet(address, self.now),
                    None => {
                        if !self.meet(address) {
                            let Address { target, unit } = address;
                            log::warn!(
                                "{}: a unit was plugged in at target {target} unit {unit}, and there is no room for one more; restart the node to serve it",
                                self.adapter.name()
                            );
                        }
                    }
                }
            }
        }
    }

    /// Says once that a disk is not there any more.
    fn lose(&mut self, address: Address) {
        let name = self.adapter.name();
        let Some(seat) = self.seats.iter_mut().find(|seat| seat.address == address) else {
            return;
        };
        match seat.holder {
            Holder::Disk => seat.lose(name, self.now),
            // Its question may be under way, and its answer is for nobody then.
            _ => seat.leave(),
        }
    }

    /// Gives the unit at `address` a seat and asks it what it is. False if there is none.
    #[cold]
    fn meet(&mut self, address: Address) -> bool {
        let Some(seat) = self.seats.iter_mut().find(|seat| seat.is_free()) else {
            return false;
        };
        seat.meet(address, self.now);
        true
    }

    /// Where an adapter does not tell of units that come: looks at one target after the
    /// other, a few at once.
    #[cold]
    fn search(&mut self) {
        self.search_at = self.now + SEARCH_US;
        for _ in 0..SEARCHED_AT_ONCE {
            let target = self.searched;
            let address = Address { target, unit: 0 };
            let is_known = self.seats.iter().any(|seat| seat.address == address);
            if !is_known && !self.meet(address) {
                return;
            }
            self.searched = match target.checked_add(1) {
                Some(next) if u16::from(next) < self.adapter.targets() => next,
                _ => 0,
            };
        }
    }

    /// How many more disks there may be.
    pub fn room(&self) -> usize {
        let is_disk = |seat: &&Seat| matches!(seat.holder, Holder::Disk);
        self.seats.len() - self.seats.iter().filter(is_disk).count()
    }

    /// A disk that has come, with its place.
    #[cold]
    pub fn newcomer(&mut self) -> Option<(u8, Unit)> {
        let mut seats = (0..).zip(&mut self.seats);
        seats.find_map(|(index, seat)| Some((index, seat.take_fresh()?)))
    }

    /// Asks a unit what there is to ask it.
    fn ask(&mut self, disk: usize) {
        if self.adapter.is_running()
            && let Some(frame) = self.seats[disk].question(self.now)
        {
            self.send_question(disk, frame);
        }
    }

    fn send_question(&mut self, disk: usize, frame: Frame) {
        let mark = Mark {
            disk: disk as u8,
            request: None,
            since: self.now,
            tries: 0,
        };
        self.send(mark, frame);
    }

    /// Sends what `mark` says, or ends it if there is nowhere to send it to.
    fn send(&mut self, mark: Mark, mut frame: Frame) {
        let seat = &mut self.seats[usize::from(mark.disk)];
        let address = seat.address;
        let is_running = self.adapter.is_running();
        let (cdb, data) = match &mark.request {
            Some(request) if !is_running || seat.gone => {
                return self.end(mark.disk, *request, Outcome::Fault, frame);
            }
            None if !is_running => {
                seat.question = Some(frame);
                return;
            }
            Some(request) => command_of(request, &mut frame),
            None => {
                let (cdb, bytes) = seat.command();
                frame.buffer_mut()[..bytes].fill(0);
                match bytes {
                    0 => (cdb, Data::None),
                    bytes => (cdb, Data::In { at: WIRE, bytes }),
                }
            }
        };
        self.adapter.send(address, &cdb, data, mark, frame);
    }

    fn sort(&mut self, answer: Answer) {
        let Answer {
            frame,
            mut mark,
            end,
        } = answer;
        let Some(request) = mark.request else {
            return self.answered(mark, frame, end);
        };
        match self.judge(&mark, &request, end) {
            Verdict::Done(outcome) => {
                let seat = &mut self.seats[usize::from(mark.disk)];
                seat.cache.ended(&request, outcome);
                self.end(mark.disk, request, outcome, frame);
            }
            Verdict::Again => {
                mark.tries += 1;
                self.send(mark, frame);
                self.adapter.kick();
            }
            Verdict::Later => self.waiting.push_back((mark, frame)),
        }
    }

    /// Our own question came back.
    fn answered(&mut self, mark: Mark, mut frame: Frame, end: End) {
        let Some(seat) = self.seats.get_mut(usize::from(mark.disk)) else {
            // From before there was a disk: its asker has given up.
            return;
        };
        let look = seat.answered(self.adapter.name(), self.now, &mut frame, end);
        if matches!(look, Look::AskMore) {
            return self.send_question(mark.disk.into(), frame);
        }
        seat.question = Some(frame);
        if matches!(look, Look::Gone) {
            let address = seat.address;
            self.lose(address);
        }
    }

    fn judge(&mut self, mark: &Mark, request: &Request, end: End) -> Verdict {
        let is_patient = self.now.since_us(mark.since) < PATIENCE_US;
        let has_tries = mark.tries < TRIES_MAX;
        let moves_data = matches!(request.op, Op::Read | Op::Write);
        let address = self.seats[usize::from(mark.disk)].address;
        let sense = match end {
            // Bytes that were not moved would be somebody else's.
            End::Good { missing } if missing > 0 && moves_data => {
                return Verdict::Done(Outcome::Fault);
            }
            End::Good { .. } => return Verdict::Done(Outcome::Done),
            End::Busy if is_patient => return Verdict::Later,
            End::Busy | End::Failed => return Verdict::Done(Outcome::Fault),
            End::Gone => {
                self.lose(address);
                return Verdict::Done(Outcome::Fault);
            }
            End::Check(sense) => sense,
        };
        let seat = &mut self.seats[usize::from(mark.disk)];
        match sense.key {
            Key::NONE | Key::RECOVERED => Verdict::Done(Outcome::Done),
            Key::UNIT_ATTENTION => {
                seat.stale |= sense.says_changed();
                if has_tries {
                    Verdict::Again
                } else {
                    Verdict::Done(Outcome::Fault)
                }
            }
            Key::ABORTED if has_tries => Verdict::Again,
            Key::ABORTED | Key::MEDIUM if moves_data => Verdict::Done(Outcome::Medium),
            Key::NOT_READY if sense.says_wait() && is_patient => Verdict::Later,
            Key::ILLEGAL_REQUEST if sense.says_unknown_operation() => {
                Verdict::Done(Outcome::Unsupported)
            }
            Key::ILLEGAL_REQUEST if sense.says_no_unit() => {
                self.lose(address);
                Verdict::Done(Outcome::Fault)
            }
            Key::ILLEGAL_REQUEST => {
                // Past the end, perhaps: the unit may have shrunk.
                seat.stale = true;
                Verdict::Done(Outcome::Fault)
            }
            _ => Verdict::Done(Outcome::Fault),
        }
    }
}

/// The command for a request, and what of the frame goes with it.
fn command_of(request: &Request, frame: &mut Frame) -> (Cdb, Data) {
    let at = WIRE + usize::from(request.data);
    let bytes = (request.sectors as usize).saturating_mul(SECTOR_BYTES);
    match request.op {
        Op::Read => (
            Cdb::read(request.lba, request.sectors),
            Data::In { at, bytes },
        ),
        Op::Write => (
            Cdb::write(request.lba, request.sectors),
            Data::Out { at, bytes },
        ),
        Op::Flush => (Cdb::synchronize_cache(), Data::None),
        Op::Discard => {
            let (cdb, bytes) = Cdb::unmap(request.lba, request.sectors, frame);
            let at = PARAMETERS;
            (cdb, Data::Out { at, bytes })
        }
    }
}
