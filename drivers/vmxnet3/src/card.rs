//! The card: reset, set up, and frames in and out.
//!
//! **No frame is ever longer than its slot.** Each descriptor says how many bytes its
//! buffer has, and a frame may have one piece. What is longer comes cut off and marked,
//! and is thrown away. Such a frame has no sense in AoE: an MTU of 9000 has room for
//! seventeen sectors, and a slot too.
//!
//! **A card that stops a queue is reset**, and everything that it had is lent again: a
//! reply may be sent twice, which an initiator takes for what it is. One that stops
//! again before it has moved a frame, or returns what it was not lent, is out of
//! service until the next start.
//!
//! A message silences itself when it is sent, so there is one a sleep and waking up
//! costs no register. Where the hypervisor wants us to silence them, we do. Without
//! messages the node takes naps ([`Card::has_interrupt`]).

use crate::area::{self, Area, Messages};
use crate::error::Error;
use crate::registers::{
    ADDRESS, AREA, COMMAND, EVENTS_SEEN, Events, GONE, LINK_UP, MASK_0, MASK_1, MASK_MODE, MASKED,
    PART_REVISION, RECEIVE, REVISION, REVISION_1, Registers, SEND, command,
};
use crate::ring::{self, Answer, Ring, Way};
use core::sync::atomic::{Ordering, fence};
use io::{Frame, Instant, Nic, Text, WIRE_BYTES};
use pci::{DeviceMemory, Resources, Shared};

/// Bytes in front of an Ethernet payload.
const ETHERNET_BYTES: usize = 14;
/// What the card carries, and what it is told.
pub const MTU: u16 = 9000;

/// What the card says of a frame that was received.
struct Received {
    bytes: usize,
    is_whole: bool,
}

impl Received {
    /// First word of an answer: the frame starts and ends here.
    const WHOLE: u32 = 1 << 14 | 1 << 15;
    /// Third word: how many bytes, and that something is wrong with them.
    const BYTES: u32 = 0x3fff;
    const WRONG: u32 = 1 << 14;

    fn of(answer: Answer) -> Self {
        Self {
            bytes: (answer[2] & Self::BYTES) as usize,
            is_whole: answer[0] & Self::WHOLE == Self::WHOLE && answer[2] & Self::WRONG == 0,
        }
    }
}

/// Resets the card and returns its address. It may not touch memory yet.
#[cold]
pub fn reset(registers: &impl Registers) -> Result<[u8; 6], Error> {
    for register in [REVISION, PART_REVISION] {
        let revisions = registers.read(register);
        if revisions == GONE {
            return Err(Error::NotAnswering);
        }
        if revisions & REVISION_1 == 0 {
            return Err(Error::OtherRevision { revisions });
        }
        registers.write(register, REVISION_1);
    }
    registers.write(COMMAND, command::RESET);
    let [low, high] = ADDRESS.map(|at| registers.read(at));
    let [a, b, c, d] = low.to_le_bytes();
    let [e, f, ..] = high.to_le_bytes();
    let mac = [a, b, c, d, e, f];
    let is_ours = mac != [0; 6] && a & 1 == 0;
    is_ours.then_some(mac).ok_or(Error::NoAddress)
}

/// A card that runs.
pub struct Card<R = DeviceMemory> {
    doors: R,
    registers: R,
    area: Area,
    receive: Ring,
    transmit: Ring,
    mac: [u8; 6],
    messages: Messages,
    link_up: bool,
    is_armed: bool,
    is_gone: bool,
    /// Frames were lent or sent since the last doorbell of their direction.
    has_untold: [bool; 2],
    /// It was told of empty frames since it started.
    was_told: bool,
    /// It has moved a frame since it was reset, so that another reset may help.
    may_reset: bool,
    thrown_away: u64,
    doorbells: u64,
    name: Text<48>,
}

impl<R: Registers> Card<R> {
    /// Starts a card that was reset and has address `mac`. `messages`: how many it
    /// can tell apart, of which the first reaches the node. `name` is for messages:
    /// `00:02.0 vmxnet3`.
    #[cold]
    pub fn start(
        doors: R,
        registers: R,
        mac: [u8; 6],
        messages: u16,
        resources: &mut impl Resources,
        name: &str,
    ) -> Result<Self, Error> {
        let bytes = ring::bytes(resources.frames());
        let mut memory = |bytes| {
            let memory = resources.dma(bytes, pci::shared::ALIGN);
            memory.map(Shared::new).ok_or(Error::NoMemory { bytes })
        };
        let area = Area::new(memory(area::BYTES)?);
        let receive = Ring::new(memory(bytes)?, Way::Receive);
        let transmit = Ring::new(memory(bytes)?, Way::Send);
        registers.write(COMMAND, command::INTERRUPTS);
        let messages = Messages {
            count: messages.min(2) as u8,
            silence_themselves: registers.read(COMMAND) & MASK_MODE == 0,
        };
        let mut card = Self {
            doors,
            registers,
            area,
            receive,
            transmit,
            mac,
            messages,
            link_up: false,
            is_armed: false,
            is_gone: false,
            has_untold: [false; 2],
            was_told: false,
            may_reset: true,
            thrown_away: 0,
            doorbells: 0,
            name: Text::new(name),
        };
        card.activate()?;
        card.look_at_link();
        Ok(card)
    }

    /// Whether the card wakes the node. If not, the machine looks at it every now
    /// and then.
    pub fn has_interrupt(&self) -> bool {
        self.messages.count > 0
    }

    /// How often the doorbells were rung.
    pub fn doorbells(&self) -> u64 {
        self.doorbells
    }

    /// Received frames that were longer than a slot, or damaged.
    pub fn thrown_away(&self) -> u64 {
        self.thrown_away
    }

    /// Starts the card, which was reset, with the rings as they are.
    #[cold]
    fn activate(&mut self) -> Result<(), Error> {
        let registers = &self.registers;
        self.area
            .fill(MTU, self.messages, &self.transmit, &self.receive);
        // All of it before the card is told where it is.
        fence(Ordering::SeqCst);
        let address = self.area.address();
        registers.write(AREA[0], address as u32);
        registers.write(AREA[1], (address >> 32) as u32);
        registers.write(COMMAND, command::ACTIVATE);
        let status = registers.read(COMMAND);
        if status != 0 {
            return Err(Error::Refused { status });
        }
        let [a, b, c, d, e, f] = self.mac;
        registers.write(ADDRESS[0], u32::from_le_bytes([a, b, c, d]));
        registers.write(ADDRESS[1], u32::from_le_bytes([e, f, 0, 0]));
        registers.write(COMMAND, command::HEAR);
        // A card that does not run takes no masks.
        self.doors.write(MASK_0, MASKED);
        self.doors.write(MASK_1, MASKED);
        self.is_armed = false;
        self.was_told = false;
        Ok(())
    }

    /// A queue stopped: the card starts anew with all that it had.
    #[cold]
    fn recover(&mut self) {
        self.registers.write(COMMAND, command::QUEUES);
        let [transmit, receive] = self.area.errors();
        if !self.may_reset {
            return self.retire("stopped again without having moved a frame");
        }
        log::error!(
            "{}: stopped (error {transmit:#x} in sending, {receive:#x} in receiving); reset",
            self.name
        );
        self.may_reset = false;
        self.registers.write(COMMAND, command::RESET);
        self.receive.restart();
        self.transmit.restart();
        self.has_untold = [true; 2];
        match self.activate() {
            Ok(()) => self.kick(),
            Err(_) => self.retire("did not start again"),
        }
    }

    /// Takes the card out of service. The reset is done when the write returns: from
    /// then on every frame is ours.
    #[cold]
    fn retire(&mut self, reason: &str) {
        log::error!(
            "{}: {reason}; out of service until the next start",
            self.name
        );
        self.registers.write(COMMAND, command::RESET);
        self.is_gone = true;
    }

    fn look_at_link(&mut self) {
        self.registers.write(COMMAND, command::LINK);
        let link = self.registers.read(COMMAND);
        if link == GONE {
            self.retire("the card does not answer any more");
        }
        self.link_up = !self.is_gone && link & LINK_UP != 0;
    }

    fn ring_doorbell(&mut self, doorbell: usize, tail: usize) {
        // What the descriptors name before the doorbell.
        fence(Ordering::SeqCst);
        self.doors.write(doorbell, tail as u32);
        self.doorbells += 1;
    }
}

impl<R: Registers> Nic for Card<R> {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn mtu(&self) -> u16 {
        MTU
    }

    fn link_up(&self) -> bool {
        self.link_up
    }

    fn ring_frames(&self) -> usize {
        self.receive.frames()
    }

    fn post(&mut self, frame: Frame) {
        self.receive.push(frame);
        self.has_untold[0] = true;
    }

    fn poll_rx(&mut self) -> Option<Frame> {
        if self.is_gone {
            return None;
        }
        // What is posted again below may come back at once: one ring is enough.
        for _ in 0..self.receive.places() {
            let (mut frame, answer) = self.receive.pop()?;
            self.may_reset = true;
            if let Some(answer) = answer {
                let received = Received::of(answer);
                let fits = (ETHERNET_BYTES..=WIRE_BYTES).contains(&received.bytes);
                if received.is_whole && fits {
                    frame.set_len(received.bytes);
                    return Some(frame);
                }
                self.thrown_away += 1;
            }
            self.post(frame);
        }
        None
    }

    fn send(&mut self, frame: Frame) {
        self.transmit.push(frame);
        self.has_untold[1] = true;
    }

    fn poll_sent(&mut self) -> Option<Frame> {
        if self.is_gone {
            return self.transmit.reclaim();
        }
        let (frame, _) = self.transmit.pop()?;
        self.may_reset = true;
        Some(frame)
    }

    fn kick(&mut self) {
        if self.is_gone {
            return;
        }
        let [receive, transmit] = core::mem::take(&mut self.has_untold);
        // A card that is all software finds empty frames by itself, and its doorbell
        // would cost an exit; one that has hardware below says that it can not.
        if receive && (!self.was_told || self.area.wants_doorbell()) {
            self.was_told = true;
            self.ring_doorbell(RECEIVE, self.receive.tail());
        }
        if transmit {
            self.ring_doorbell(SEND, self.transmit.tail());
        }
    }

    fn tick(&mut self, _now: Instant) -> bool {
        if self.is_gone {
            return false;
        }
        let before = self.link_up;
        if self.receive.is_broken() || self.transmit.is_broken() {
            self.retire("the card returned what it was not lent");
        } else {
            let events = self.area.events();
            if !events.is_empty() {
                self.registers.write(EVENTS_SEEN, events.bits());
            }
            if events.intersects(Events::RECEIVE_STOPPED | Events::TRANSMIT_STOPPED) {
                self.recover();
            }
        }
        if !self.is_gone {
            self.look_at_link();
        }
        self.link_up &= !self.is_gone;
        before != self.link_up
    }

    fn arm(&mut self) -> bool {
        if self.is_gone {
            // No interrupt will come, and nothing else either.
            return false;
        }
        if self.has_interrupt() {
            self.doors.write(MASK_0, 0);
            self.is_armed = true;
            // The look below must not come before the card knows.
            fence(Ordering::SeqCst);
        }
        self.receive.has_returned()
    }

    fn disarm(&mut self) {
        if self.is_armed && !self.is_gone && !self.messages.silence_themselves {
            self.doors.write(MASK_0, MASKED);
        }
        self.is_armed = false;
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}
