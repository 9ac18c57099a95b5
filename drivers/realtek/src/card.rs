//! The card: reset, set up, and frames in and out.
//!
//! **No frame is ever longer than its buffer**, which each descriptor names; one that
//! is goes on in the next, and is thrown away when its end has come.
//!
//! **A doorbell may be lost**: while the card ends a batch it does not hear of the next
//! (Linux found that). So it is rung again for what is still there whenever a frame
//! came back, and a node that goes to sleep over frames to send is woken when they are
//! sent.
//!
//! A card on PCI Express interrupts by a message, while the node sleeps. One on PCI
//! has none; the node takes naps instead ([`Card::has_interrupt`]).

use crate::error::Error;
use crate::family::Kind;
use crate::registers::{
    ADDRESS, CAUSES, COMMAND, Causes, Command, DOORBELL, DOORBELL_8139, GONE, GROUPS, LONGEST,
    LOOK, MASK, MEDIA, MEDIA_NO_LINK, PHY, PHY_AGREE, PHY_BUSY, PHY_LINK, PHY_STATUS, PLUS, Plus,
    RECEIVE, RECEIVE_RING, Receive, Registers, TRANSMIT, TRANSMIT_RING, Transmit,
};
use crate::ring::{DESCRIPTOR_BYTES, Ring};
use core::hint::spin_loop;
use core::sync::atomic::{Ordering, fence};
use io::{Frame, Instant, Nic, Text, WIRE};
use pci::{DeviceMemory, Resources, Shared};

/// Bytes that a card may write to one frame: an ordinary one with VLAN tag and FCS, in
/// eights.
pub const BUFFER_BYTES: usize = 1528;
const _: () = assert!(BUFFER_BYTES >= ETHERNET_BYTES + MTU as usize + 4 + FCS_BYTES);
const _: () = assert!(BUFFER_BYTES.is_multiple_of(8));

const ETHERNET_BYTES: usize = 14;
const FCS_BYTES: usize = 4;
const MTU: u16 = 1500;

/// How long a card may take to say that it has reset.
const RESET_MAX_US: u64 = 100_000;
/// How long the PHY may take to answer; it takes 64 bits at 2.5 MHz.
const PHY_MAX_US: u64 = 2_000;

/// FS and LS: the frame starts and ends in this descriptor.
const WHOLE: u32 = 1 << 29 | 1 << 28;
/// LS alone.
const END: u32 = 1 << 28;

/// What the card says of a descriptor that received.
struct Received {
    bytes: usize,
    is_whole: bool,
    is_end: bool,
}

impl Received {
    fn of(word: u32, kind: Kind) -> Self {
        // RES, and bits of the length (8139C+, 9.2; RTL8169, 9.3).
        let (wrong, bytes) = match kind {
            Kind::R8139 => (1 << 20, 0x1fff),
            Kind::R8168 => (1 << 21, 0x3fff),
        };
        Self {
            // The FCS is among them.
            bytes: ((word & bytes) as usize).saturating_sub(FCS_BYTES),
            is_whole: word & WHOLE == WHOLE && word & wrong == 0,
            is_end: word & END != 0,
        }
    }
}

/// Resets the card and returns its address. It may not touch memory yet.
#[cold]
pub fn reset(registers: &impl Registers, resources: &impl Resources) -> Result<[u8; 6], Error> {
    if registers.read16(CAUSES) == GONE {
        return Err(Error::NotAnswering);
    }
    registers.write16(MASK, 0);
    registers.write8(COMMAND, Command::RESET.bits());
    let start = resources.now();
    loop {
        let command = Command::from_bits_retain(registers.read8(COMMAND));
        if !command.contains(Command::RESET) {
            break;
        }
        if resources.now().since_us(start) > RESET_MAX_US {
            return Err(Error::NoReset {
                waited_ms: RESET_MAX_US / 1000,
            });
        }
        spin_loop();
    }
    registers.write16(MASK, 0);
    registers.write16(CAUSES, Causes::all().bits());
    let [low, high] = [0, 4].map(|at| registers.read32(ADDRESS + at));
    let [a, b, c, d] = low.to_le_bytes();
    let [e, f, ..] = high.to_le_bytes();
    let mac = [a, b, c, d, e, f];
    let is_ours = mac != [0; 6] && a & 1 == 0;
    is_ours.then_some(mac).ok_or(Error::NoAddress)
}

/// A card that runs.
pub struct Card<R = DeviceMemory> {
    registers: R,
    kind: Kind,
    receive: Ring,
    transmit: Ring,
    mac: [u8; 6],
    link_up: bool,
    has_interrupt: bool,
    is_armed: bool,
    is_gone: bool,
    /// The frame whose next piece comes is longer than a buffer.
    in_long_frame: bool,
    /// There may be frames to send that the card does not know of.
    has_untold: bool,
    moved_bytes: u64,
    thrown_away: u64,
    doorbells: u64,
    name: Text<48>,
}

impl<R: Registers> Card<R> {
    /// Starts a card that was reset and has address `mac`. `has_interrupt`: its
    /// messages reach the node. `name` is for messages: `00:02.0 rtl8139`.
    #[cold]
    pub fn start(
        registers: R,
        kind: Kind,
        mac: [u8; 6],
        has_interrupt: bool,
        resources: &mut impl Resources,
        name: &str,
    ) -> Result<Self, Error> {
        let frames = resources.frames();
        let bytes = frames.min(kind.places_max()) * DESCRIPTOR_BYTES;
        let mut ring = |start| {
            let memory = resources.dma(bytes, pci::shared::ALIGN);
            let memory = memory.ok_or(Error::NoMemory { bytes })?;
            Ok::<_, Error>(Ring::new(Shared::new(memory), start, frames))
        };
        let receive = ring(WIRE + kind.shift())?;
        let transmit = ring(WIRE)?;
        let mut card = Self {
            registers,
            kind,
            receive,
            transmit,
            mac,
            link_up: false,
            has_interrupt,
            is_armed: false,
            is_gone: false,
            in_long_frame: false,
            has_untold: false,
            moved_bytes: 0,
            thrown_away: 0,
            doorbells: 0,
            name: Text::new(name),
        };
        card.set_up();
        card.link_up = card.has_link();
        if !card.link_up && kind == Kind::R8168 {
            card.agree_on_speed(resources);
        }
        Ok(card)
    }

    /// Whether the card wakes the node. If not, the machine looks at it every now
    /// and then.
    pub fn has_interrupt(&self) -> bool {
        self.has_interrupt
    }

    /// How often the doorbell was rung.
    pub fn doorbells(&self) -> u64 {
        self.doorbells
    }

    /// Received frames that were longer than a buffer, or damaged.
    pub fn thrown_away(&self) -> u64 {
        self.thrown_away
    }

    /// Bytes that were moved to where frames start, because the card can not write
    /// there.
    pub fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }

    #[cold]
    fn set_up(&self) {
        let registers = &self.registers;
        // The 8139's rings exist only once this says so.
        let plus = Plus::from_bits_retain(registers.read16(PLUS));
        let plus = plus | Plus::SEND | Plus::RECEIVE | Plus::BURSTS;
        let plus = plus - Plus::CHECKSUMS - Plus::VLAN_TAGS;
        registers.write16(PLUS, plus.bits());
        if self.kind == Kind::R8168 {
            registers.write16(LONGEST, BUFFER_BYTES as u16);
        }
        for (at, ring) in [
            (TRANSMIT_RING, &self.transmit),
            (RECEIVE_RING, &self.receive),
        ] {
            let address = ring.address();
            registers.write32(at + 4, (address >> 32) as u32);
            registers.write32(at, address as u32);
        }
        for at in [0, 4] {
            registers.write32(GROUPS + at, 0);
        }
        // What follows is kept only by a card that runs; its rings are empty.
        let run = Command::SEND | Command::RECEIVE;
        registers.write8(COMMAND, run.bits());
        let transmit = Transmit::from_bits_retain(registers.read32(TRANSMIT));
        registers.write32(TRANSMIT, (transmit | Transmit::BURSTS).bits());
        let receive = Receive::from_bits_retain(registers.read32(RECEIVE));
        let receive = receive - Receive::HEARD - Receive::RING_BYTES - Receive::STUCK;
        let receive = receive | Receive::BURSTS | Receive::WHOLE;
        let receive = receive | Receive::OURS | Receive::BROADCASTS;
        registers.write32(RECEIVE, receive.bits());
    }

    /// Wakes the PHY and has it look for a partner: an operating system may have put
    /// it to sleep.
    #[cold]
    fn agree_on_speed(&self, resources: &impl Resources) {
        let start = resources.now();
        self.registers.write32(PHY, PHY_BUSY | PHY_AGREE);
        while self.registers.read32(PHY) & PHY_BUSY != 0 {
            if resources.now().since_us(start) > PHY_MAX_US {
                // Without an answer there is no link, which is said elsewhere.
                return;
            }
            spin_loop();
        }
    }

    fn has_link(&self) -> bool {
        match self.kind {
            Kind::R8139 => self.registers.read8(MEDIA) & MEDIA_NO_LINK == 0,
            Kind::R8168 => self.registers.read8(PHY_STATUS) & PHY_LINK != 0,
        }
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
        self.receive.places()
    }

    fn post(&mut self, frame: Frame) {
        self.receive.push(frame, BUFFER_BYTES as u32);
    }

    fn poll_rx(&mut self) -> Option<Frame> {
        if self.is_gone {
            return None;
        }
        // What is posted again below may come back at once: one ring is enough.
        for _ in 0..self.receive.places() {
            let (mut frame, word) = self.receive.pop()?;
            let received = Received::of(word, self.kind);
            let was_in_long_frame = self.in_long_frame;
            self.in_long_frame = !received.is_end;
            let fits = (ETHERNET_BYTES..=BUFFER_BYTES - FCS_BYTES).contains(&received.bytes);
            if received.is_whole && !was_in_long_frame && fits {
                let shift = self.kind.shift();
                if shift > 0 {
                    let end = shift + received.bytes;
                    frame.buffer_mut().copy_within(shift..end, 0);
                    self.moved_bytes += received.bytes as u64;
                }
                frame.set_len(received.bytes);
                return Some(frame);
            }
            if received.is_end {
                self.thrown_away += 1;
            }
            self.post(frame);
        }
        None
    }

    fn send(&mut self, frame: Frame) {
        let word = WHOLE | frame.len() as u32;
        self.transmit.push(frame, word);
        self.has_untold = true;
    }

    fn poll_sent(&mut self) -> Option<Frame> {
        if self.is_gone {
            return self.transmit.reclaim();
        }
        let (frame, _) = self.transmit.pop()?;
        self.has_untold = self.transmit.has_lent();
        Some(frame)
    }

    fn kick(&mut self) {
        if self.is_gone || !core::mem::take(&mut self.has_untold) {
            return;
        }
        let doorbell = match self.kind {
            Kind::R8139 => DOORBELL_8139,
            Kind::R8168 => DOORBELL,
        };
        // The descriptors and what they name before the doorbell.
        fence(Ordering::SeqCst);
        self.registers.write8(doorbell, LOOK);
        self.doorbells += 1;
    }

    fn tick(&mut self, _now: Instant) -> bool {
        if self.is_gone {
            return false;
        }
        let before = self.link_up;
        if self.registers.read16(CAUSES) == GONE {
            // It is off the bus and touches no memory any more.
            log::error!(
                "{}: the card does not answer any more; out of service until the next start",
                self.name
            );
            self.is_gone = true;
        }
        self.link_up = !self.is_gone && self.has_link();
        before != self.link_up
    }

    fn arm(&mut self) -> bool {
        if self.is_gone {
            // No interrupt will come, and nothing else either.
            return false;
        }
        if self.has_interrupt {
            let mut causes =
                Causes::RECEIVED | Causes::RECEIVED_WRONG | Causes::NO_EMPTY | Causes::LINK;
            if self.transmit.has_lent() {
                causes |= Causes::SENT | Causes::NOT_SENT;
            }
            // A message is sent when the first cause comes, so there may be none. What
            // they were about is seen below, for the read waits until the card knows.
            self.registers.write16(CAUSES, Causes::all().bits());
            self.registers.write16(MASK, causes.bits());
            self.registers.read16(CAUSES);
            self.is_armed = true;
        }
        self.receive.has_returned() || self.transmit.has_returned()
    }

    fn disarm(&mut self) {
        if self.is_armed && !self.is_gone {
            self.registers.write16(MASK, 0);
        }
        self.is_armed = false;
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}
