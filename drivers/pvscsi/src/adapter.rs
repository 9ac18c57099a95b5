//! The adapter: commands go in, answers come out, by number.
//!
//! A command under way has a seat; its number is the context that comes back with
//! the answer. An adapter that returns a number which is not taken, or more answers
//! than it was given commands, is reset and stays out of service: after the reset it
//! touches nothing, and every command ends as failed.

use crate::error::Error;
use crate::registers::{self as register, Interrupts, Registers, command};
use crate::ring::{
    ANSWER_BYTES, Answer as Raw, PAGE_BYTES, PLACES_MAX, REQUEST_BYTES, Rings, request,
};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use io::{Frame, Instant, Text};
use pci::{Resources, Shared};
use scsi::{Adapter, Address, Answer, Data, End, Mark, Notice, SENSE_BYTES, Sense, command as cdb};

/// Where the unit writes its sense data in the frame's scratch.
const SENSE: usize = 128;
const _: () = assert!(SENSE + SENSE_BYTES <= cdb::PARAMETERS);
/// Targets of the adapter; its own number is among them and answers nothing.
const TARGETS: u16 = 65;
/// Simple queuing.
const SIMPLE_TAG: u8 = 0x20;
/// Units whose questions may wait beside the node's frames.
const UNITS_MAX: usize = 256;
/// After this time a person should know that the adapter does not answer.
const SILENCE_MAX_US: u64 = 30_000_000;

/// How a command went on its way. Others exist.
mod host {
    pub const DONE: u16 = 0x00;
    pub const LINKED_DONE: u16 = 0x0a;
    pub const LINKED_DONE_FLAG: u16 = 0x0b;
    /// Less data was moved than there was room for.
    pub const UNDERRUN: u16 = 0x0c;
    pub const NO_TARGET: u16 = 0x11;
    pub const OTHER_LENGTH: u16 = 0x12;
    pub const UNIT_MISMATCH: u16 = 0x17;
    pub const BUS_FREE: u16 = 0x13;
    pub const SENT_RESET: u16 = 0x22;
    pub const SAW_RESET: u16 = 0x23;
    pub const BUS_RESET: u16 = 0x25;
    pub const QUEUE_ABORTED: u16 = 0x26;
}

/// How the unit answered (SAM-5, 5.3).
mod status {
    pub const GOOD: u16 = 0x00;
    pub const CHECK_CONDITION: u16 = 0x02;
    pub const BUSY: u16 = 0x08;
    pub const TASK_SET_FULL: u16 = 0x28;
}

/// A PVSCSI adapter.
pub struct Pvscsi<R> {
    registers: R,
    rings: Rings,
    seats: Box<[Option<Seat>]>,
    free: Vec<u16>,
    /// Commands that wait for a seat, in order.
    backlog: VecDeque<Waiting>,
    /// Whether what was put and not told has a read or write in it, and anything
    /// else.
    untold: (bool, bool),
    is_running: bool,
    interrupts: bool,
    is_armed: bool,
    name: Text<48>,
    doorbells: u64,
    now: Instant,
    is_silent: bool,
}

struct Seat {
    mark: Mark,
    frame: Frame,
    bytes: usize,
}

struct Waiting {
    to: Address,
    cdb: cdb::Cdb,
    data: Data,
    mark: Mark,
    frame: Frame,
}

impl<R: Registers> Pvscsi<R> {
    /// Starts the adapter behind `registers`.
    #[cold]
    pub(crate) fn start(
        registers: R,
        interrupts: bool,
        resources: &mut impl Resources,
        name: &str,
    ) -> Result<Self, Error> {
        if registers.read(register::COMMAND_STATUS) == register::GONE
            && registers.read(register::INTERRUPT_STATUS) == register::GONE
        {
            return Err(Error::NotAnswering);
        }
        registers.write(register::COMMAND, command::RESET);
        registers.write(register::INTERRUPT_MASK, 0);
        let frames = resources.frames();
        let places = frames
            .next_power_of_two()
            .clamp(PAGE_BYTES / REQUEST_BYTES, PLACES_MAX);
        let rings = Rings::new(
            memory(resources, PAGE_BYTES)?,
            memory(resources, places * REQUEST_BYTES)?,
            memory(resources, (places * ANSWER_BYTES).max(PAGE_BYTES))?,
        );
        registers.write(register::COMMAND, command::SET_UP_RINGS);
        for word in rings.set_up_words() {
            registers.write(register::COMMAND_DATA, word);
        }
        let status = registers.read(register::COMMAND_STATUS);
        // There is no word for "done" that all of them agree on; a failure is -1.
        if status == register::UNKNOWN {
            return Err(Error::RingsRefused { status });
        }
        Ok(Self {
            registers,
            seats: (0..places).map(|_| None).collect(),
            free: (0..places as u16).rev().collect(),
            rings,
            backlog: VecDeque::with_capacity(frames + UNITS_MAX),
            untold: (false, false),
            is_running: true,
            interrupts,
            is_armed: false,
            name: Text::new(name),
            doorbells: 0,
            now: resources.now(),
            is_silent: false,
        })
    }

    /// How often a doorbell was rung.
    pub fn doorbells(&self) -> u64 {
        self.doorbells
    }

    /// What its lists have room for.
    #[cfg(test)]
    pub(crate) fn lists(&self) -> [usize; 2] {
        [self.free.capacity(), self.backlog.capacity()]
    }

    fn under_way(&self) -> usize {
        self.seats.len() - self.free.len()
    }

    fn seat_waiting(&mut self) {
        while let Some(seat) = self.free.last().copied()
            && let Some(waiting) = self.backlog.pop_front()
        {
            self.free.pop();
            self.seat(seat, waiting);
        }
    }

    /// Puts a command into the ring.
    fn seat(&mut self, seat: u16, waiting: Waiting) {
        let Waiting {
            to,
            cdb,
            data,
            mark,
            mut frame,
        } = waiting;
        let slot = frame.bus_address();
        let (at, bytes, flag) = match data {
            Data::None => (0, 0, request::NO_DATA),
            Data::In { at, bytes } => (at, bytes, request::TO_HOST),
            Data::Out { at, bytes } => (at, bytes, request::TO_DEVICE),
        };
        assert!(
            at.checked_add(bytes)
                .is_some_and(|end| end <= io::SLOT_BYTES),
            "{bytes} bytes at {at} do not lie in a slot"
        );
        frame.scratch_mut()[SENSE..SENSE + SENSE_BYTES].fill(0);
        let mut words = [0; REQUEST_BYTES];
        let mut put = |at: usize, value: &[u8]| {
            words[at..at + value.len()].copy_from_slice(value);
        };
        put(request::CONTEXT, &u64::from(seat).to_le_bytes());
        if bytes > 0 {
            put(request::DATA, &(slot + at as u64).to_le_bytes());
            put(request::DATA_BYTES, &(bytes as u64).to_le_bytes());
        }
        put(request::SENSE, &(slot + SENSE as u64).to_le_bytes());
        put(request::SENSE_BYTES, &(SENSE_BYTES as u32).to_le_bytes());
        put(request::FLAGS, &flag.to_le_bytes());
        put(request::COMMAND, cdb.bytes());
        put(request::COMMAND_BYTES, &[cdb.bytes().len() as u8]);
        // One level of units, in the form of SAM-5, 4.7.
        let form = if to.unit < 256 { 0 } else { 1 << 14 };
        put(request::UNIT, &(to.unit | form).to_be_bytes());
        put(request::TAG, &[SIMPLE_TAG]);
        put(request::TARGET, &[to.target]);
        self.rings.push(&words);
        let is_data = data != Data::None;
        self.untold.0 |= is_data;
        self.untold.1 |= !is_data;
        self.seats[usize::from(seat)] = Some(Seat { mark, frame, bytes });
    }

    /// Takes the adapter out of service. The reset is done when the write returns:
    /// from then on every frame is ours.
    fn stop(&mut self, reason: &str) {
        log::error!(
            "{}: {reason}; out of service until the next start",
            self.name
        );
        self.registers.write(register::COMMAND, command::RESET);
        self.is_running = false;
    }

    /// Says once that the adapter is silent, and once that it is not any more.
    fn look_for_silence(&mut self) {
        let now = self.now;
        let waits = |seat: &Seat| now.since_us(seat.mark.since) > SILENCE_MAX_US;
        let is_silent = self.seats.iter().flatten().any(waits);
        if is_silent == self.is_silent {
            return;
        }
        self.is_silent = is_silent;
        if is_silent {
            let seconds = SILENCE_MAX_US / 1_000_000;
            log::error!("{}: has not answered a command for {seconds} s", self.name);
        } else {
            log::info!("{}: answers again", self.name);
        }
    }
}

fn memory(resources: &mut impl Resources, bytes: usize) -> Result<Shared, Error> {
    let memory = resources.dma(bytes, PAGE_BYTES);
    memory.map(Shared::new).ok_or(Error::NoMemory { bytes })
}

/// How a command ended, of which `bytes` bytes of data were to be moved.
///
/// QEMU says that less was moved and not how much. For a read or write that is
/// everything that can be missing; a question is asked with zeroed bytes, and its
/// answer says itself how long it is.
fn end(raw: &Raw, bytes: usize, mark: &Mark, frame: &Frame) -> End {
    let moved = usize::try_from(raw.data_bytes).unwrap_or(usize::MAX);
    let missing = match moved {
        0 if mark.request.is_none() => 0,
        moved => bytes.saturating_sub(moved) as u32,
    };
    match (raw.host_status, raw.unit_status) {
        (_, status::CHECK_CONDITION) => {
            let said = (raw.sense_bytes as usize).min(SENSE_BYTES);
            End::Check(Sense::parse(&frame.scratch()[SENSE..SENSE + said]))
        }
        (_, status::BUSY | status::TASK_SET_FULL) => End::Busy,
        (host::DONE | host::LINKED_DONE | host::LINKED_DONE_FLAG, status::GOOD) => {
            // ESXi counts what it moved only where that is not everything.
            let missing = if moved == 0 { 0 } else { missing };
            End::Good { missing }
        }
        (host::UNDERRUN | host::OTHER_LENGTH, status::GOOD) => End::Good { missing },
        (host::NO_TARGET | host::UNIT_MISMATCH, _) => End::Gone,
        (
            host::BUS_FREE
            | host::SENT_RESET
            | host::SAW_RESET
            | host::BUS_RESET
            | host::QUEUE_ABORTED,
            _,
        ) => End::Busy,
        _ => End::Failed,
    }
}

impl<R: Registers> Adapter for Pvscsi<R> {
    fn targets(&self) -> u16 {
        TARGETS
    }

    fn transfer_bytes_max(&self) -> u32 {
        u32::MAX
    }

    fn is_running(&self) -> bool {
        self.is_running
    }

    fn send(&mut self, to: Address, cdb: &cdb::Cdb, data: Data, mark: Mark, frame: Frame) {
        let waiting = Waiting {
            to,
            cdb: *cdb,
            data,
            mark,
            frame,
        };
        // First those that wait, so that the order stays.
        self.seat_waiting();
        match self.free.last().copied() {
            Some(seat) if self.backlog.is_empty() => {
                self.free.pop();
                self.seat(seat, waiting);
            }
            _ => self.backlog.push_back(waiting),
        }
    }

    fn poll(&mut self) -> Option<Answer> {
        if !self.is_running {
            let end = End::Failed;
            if let Some(Waiting { mark, frame, .. }) = self.backlog.pop_front() {
                return Some(Answer { frame, mark, end });
            }
            let Seat { mark, frame, .. } = self.seats.iter_mut().find_map(Option::take)?;
            return Some(Answer { frame, mark, end });
        }
        let raw = self.rings.pop(self.under_way())?;
        let seat = usize::try_from(raw.context)
            .ok()
            .and_then(|seat| self.seats.get_mut(seat)?.take());
        let Some(Seat { mark, frame, bytes }) = seat else {
            self.rings.break_off();
            return None;
        };
        self.free.push(raw.context as u16);
        let end = end(&raw, bytes, &mark, &frame);
        Some(Answer { frame, mark, end })
    }

    fn lent<T>(&self, wanted: impl Fn(&Mark) -> bool, look: impl FnOnce(&Frame) -> T) -> Option<T> {
        let seated = self.seats.iter().flatten();
        let seated = seated.map(|seat| (&seat.mark, &seat.frame));
        let waiting = self.backlog.iter();
        let waiting = waiting.map(|waiting| (&waiting.mark, &waiting.frame));
        let mut all = seated.chain(waiting);
        all.find(|(mark, _)| wanted(mark))
            .map(|(_, frame)| look(frame))
    }

    fn kick(&mut self) {
        if !self.is_running {
            return;
        }
        self.seat_waiting();
        let (data, other) = core::mem::take(&mut self.untold);
        if self.rings.tell() {
            // Either doorbell makes the adapter look at the whole ring; which one it
            // is only tells it how urgent we are.
            let doorbell = if data || !other {
                register::KICK_READ_WRITE
            } else {
                register::KICK_OTHER
            };
            self.registers.write(doorbell, 0);
            self.doorbells += 1;
        }
    }

    fn tick(&mut self, now: Instant) {
        self.now = now;
        if !self.is_running {
            return;
        }
        if self.rings.is_broken() {
            return self.stop("returned what it was not given");
        }
        let is_gone = self.registers.read(register::INTERRUPT_STATUS) == register::GONE;
        if is_gone {
            return self.stop("is not there any more");
        }
        self.look_for_silence();
    }

    fn tells_of_units(&self) -> bool {
        // It could, by a ring of its own; a look at a target a second does the same.
        false
    }

    fn notice(&mut self) -> Option<Notice> {
        None
    }

    fn arm(&mut self) -> bool {
        if !self.is_running {
            return self.under_way() > 0 || !self.backlog.is_empty();
        }
        if !self.interrupts {
            return self.under_way() > 0;
        }
        if !self.is_armed {
            self.is_armed = true;
            let all = Interrupts::ANSWERS.bits();
            // What was noted before is seen by the look below.
            self.registers.write(register::INTERRUPT_STATUS, all);
            self.registers.write(register::INTERRUPT_MASK, all);
        }
        self.rings.has_answer()
    }

    fn disarm(&mut self) {
        if self.is_armed {
            self.is_armed = false;
            self.registers.write(register::INTERRUPT_MASK, 0);
        }
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}
