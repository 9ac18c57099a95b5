//! A card as the driver sees it, for tests and for a simulated world.
//!
//! Stricter than hardware, never kinder. It panics with a sentence at every step
//! that the manuals forbid or leave open: a register that this driver has no use
//! for, an access while the card resets, a ring that is not aligned or changes while it
//! runs, a tail outside of its ring or behind what was told, a tail before its ring runs,
//! a descriptor to receive whose words are not zero, one to send that is shorter than
//! Ethernet's header or lacks a flag, and any access to memory that was not lent.
//!
//! It writes to a descriptor as many bytes as the registers say a buffer has, and goes
//! on in the next, as cards do: that a slot is never passed is the memory's check, not
//! the model's kindness. What is planted: see [`Quirks`], and
//! - [`Model::damage`]: a frame with an error, which must not reach the node.
//! - [`Model::set_link`]: a cable that is pulled.
//! - [`Model::vanish`]: a card that is.
//!
//! Time is the model's own: it passes with every look at the clock.

extern crate std;

use crate::card::{self, Card};
use crate::error::Error;
use crate::family::{Chip, Kind};
use crate::registers::{
    ADDRESS_VALID, ADDRESSES_COUNT, BUFFERS_OF_8192, CAUSES_OF_RINGS, CONTROL, CONTROL_MORE,
    Causes, Control, GAP, GONE, GROUPS, GROUPS_WORDS, LONGEST, PHY, PHY_READY, Places, Receive,
    Registers, RingControl, RingPlace, Transmit, ten,
};
use crate::ring::DESCRIPTOR_BYTES;
use io::model::Cable;
use io::{Frame, Text};
use pci::Resources;
use pci::model::{Interrupt, Machine};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

/// The address in its EEPROM.
pub const MAC: [u8; 6] = [0x02, 0, 0, 0, 0x0e, 0x10];
/// How long the card takes to reset.
const RESET_US: u64 = 15_000;
/// How long a chip of ten gigabits is not ready after that.
const READY_US: u64 = 10_000;
/// How long a later ring takes to run.
const RING_US: u64 = 500;
/// Bytes of the longest ordinary frame, without its FCS.
const ORDINARY_BYTES: usize = 1514;

/// What a card does wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quirks {
    /// Told to reset, it does not.
    pub never_resets: bool,
    /// Its rings do not start.
    pub never_runs: bool,
    /// Its EEPROM is empty, and only the firmware gave it an address.
    pub forgets_its_address: bool,
    /// Nobody gave it an address.
    pub has_no_address: bool,
    /// Its address is a group's.
    pub has_group_address: bool,
    /// Its PHY sleeps until it is told to agree on a speed.
    pub sleeps: bool,
    /// Its PHY never answers.
    pub has_dead_phy: bool,
}

/// A card.
#[derive(Clone)]
pub struct Model {
    state: Rc<RefCell<State>>,
}

struct State {
    chip: Chip,
    quirks: Quirks,
    mac: [u8; 6],
    machine: Machine,
    words: BTreeMap<usize, u32>,
    resets_until_us: u64,
    was_reset: bool,
    rings_run_at_us: u64,
    interrupt: Interrupt,
    link: bool,
    is_gone: bool,
    /// It hears no doorbell.
    is_deaf: bool,
    /// Frames that are on the wire and not let go of.
    on_the_wire: usize,
}

impl Model {
    /// A `chip` in a machine with `frames` frames, left receiving by somebody.
    pub fn new(chip: Chip, frames: usize, quirks: Quirks) -> Self {
        Self::in_machine(chip, MAC, Machine::new(frames), quirks)
    }

    /// The same with address `mac`, in `machine`.
    pub fn in_machine(chip: Chip, mac: [u8; 6], machine: Machine, quirks: Quirks) -> Self {
        let mut state = State {
            chip,
            quirks,
            mac,
            machine,
            words: BTreeMap::new(),
            resets_until_us: 0,
            was_reset: false,
            rings_run_at_us: 0,
            interrupt: Interrupt::new(0, u32::MAX),
            link: !quirks.sleeps,
            is_gone: false,
            is_deaf: false,
            on_the_wire: 0,
        };
        state.load_address();
        let receive = Places::of(chip.kind).receive;
        state.words.insert(receive, Receive::all().bits());
        Self {
            state: Rc::new(RefCell::new(state)),
        }
    }

    /// Resets and starts the card, as [`crate::attach`] does.
    pub fn start(&self, has_interrupt: bool) -> Result<Card<Window>, Error> {
        let machine = self.state.borrow().machine.clone();
        self.start_in(has_interrupt, &mut machine.clone())
    }

    /// The same, with what `resources` lend. Their clock must be that of the card's
    /// machine.
    pub fn start_in(
        &self,
        has_interrupt: bool,
        resources: &mut impl Resources,
    ) -> Result<Card<Window>, Error> {
        let window = Window(self.clone());
        let chip = self.state.borrow().chip;
        let mac = card::reset(&window, chip.kind, resources)?;
        let name = Text::<48>::format(format_args!("00:02.0 {}", chip.kind));
        let name = name.as_str();
        Card::start(window, chip, mac, has_interrupt, resources, name)
    }

    /// How many frames it could receive now, each in one buffer.
    pub fn room(&self) -> usize {
        let state = self.state.borrow();
        if !state.receives() {
            return 0;
        }
        let (head, tail, places) = state.ring(RingPlace::receive(state.chip.kind));
        (tail + places - head) % places
    }

    /// Receives a frame that arrived before its link may have gone, and tells of as many
    /// bytes too many. False if it drops it.
    pub fn take(&self, wire: &[u8], told_too_many: usize) -> bool {
        let mut state = self.state.borrow_mut();
        state.receives() && state.store(wire, 0, told_too_many)
    }

    /// The next frame that it sends. It keeps it until [`Model::let_go`].
    pub fn transmit(&self) -> Option<Vec<u8>> {
        self.state.borrow_mut().transmit()
    }

    /// Lets go of the oldest frame that it has sent.
    pub fn let_go(&self) {
        self.state.borrow_mut().let_go();
    }

    /// Whether it receives.
    pub fn is_running(&self) -> bool {
        self.state.borrow().receives()
    }

    /// Whether a message will be sent when the next frame arrives.
    pub fn will_interrupt(&self) -> bool {
        let state = self.state.borrow();
        let (causes, mask) = (state.interrupt.causes(), state.interrupt.mask());
        causes & mask == 0 && mask & state.received() != 0
    }

    /// Hears no doorbell, or does again.
    pub fn set_deaf(&self, is_deaf: bool) {
        self.state.borrow_mut().is_deaf = is_deaf;
    }

    /// The machine has no memory for rings.
    pub fn shorten_memory(&self) {
        self.state.borrow().machine.shorten_memory();
    }

    /// A frame arrives damaged, and the card passes it on with the error bits `errors`.
    pub fn damage(&self, wire: &[u8], errors: u8) -> bool {
        self.state.borrow_mut().receive(wire, errors)
    }

    /// A register as it stands.
    pub fn word(&self, offset: usize) -> u32 {
        self.state.borrow().word(offset)
    }
}

impl Cable for Model {
    fn frames(&self, count: usize) -> Vec<Frame> {
        self.state.borrow().machine.carve(count)
    }

    fn receive(&self, wire: &[u8]) -> bool {
        self.state.borrow_mut().receive(wire, 0)
    }

    fn send(&self, count: usize) -> Vec<Vec<u8>> {
        let mut state = self.state.borrow_mut();
        let mut sent = Vec::new();
        while sent.len() < count
            && let Some(wire) = state.send_one()
        {
            sent.push(wire);
        }
        sent
    }

    fn set_link(&self, up: bool) {
        let mut state = self.state.borrow_mut();
        state.link = up;
        let cause = match state.chip.kind {
            Kind::Ixgbe => ten::LINK_CHANGED,
            _ => Causes::LINK.bits(),
        };
        state.interrupt.raise(cause);
    }

    fn vanish(&self) {
        self.state.borrow_mut().is_gone = true;
    }

    fn messages(&self) -> u64 {
        self.state.borrow().interrupt.messages()
    }
}

impl State {
    fn word(&self, offset: usize) -> u32 {
        self.words.get(&offset).copied().unwrap_or(0)
    }

    fn load_address(&mut self) {
        let mut mac = self.mac;
        if self.quirks.has_group_address {
            mac[0] |= 1;
        }
        let [a, b, c, d, e, f] = mac;
        let has_one =
            !(self.quirks.has_no_address || self.quirks.forgets_its_address && self.was_reset);
        if has_one {
            let high = u32::from_le_bytes([e, f, 0, 0]) | ADDRESS_VALID;
            let at = Places::of(self.chip.kind).addresses;
            self.words.insert(at, u32::from_le_bytes([a, b, c, d]));
            self.words.insert(at + 4, high);
        }
    }

    /// First descriptor that is the card's, end of them, places.
    fn ring(&self, place: RingPlace) -> (usize, usize, usize) {
        let places = self.word(place.bytes()) as usize / DESCRIPTOR_BYTES;
        let head = self.word(place.head()) as usize;
        (head, self.word(place.tail()) as usize, places)
    }

    fn descriptor(&self, place: RingPlace, index: usize) -> (u64, [u32; 4]) {
        let [low, high] = place.base().map(|at| u64::from(self.word(at)));
        let at = (high << 32 | low) + (index * DESCRIPTOR_BYTES) as u64;
        (at, self.machine.words(at))
    }

    fn buffer_bytes(&self) -> usize {
        if self.chip.kind.is_later() {
            let place = RingPlace::receive(self.chip.kind);
            let buffers = self.word(place.buffers(self.chip.kind));
            assert_eq!(buffers >> 25 & 7, 1, "the later layout");
            return (buffers & 0x7f) as usize * 1024;
        }
        let receive = Receive::from_bits_retain(self.word(Places::of(self.chip.kind).receive));
        match (receive.bits() >> 16 & 3, receive.bits() >> 25 & 1) {
            (0, 0) => 2048,
            (1, 1) => 16384,
            (2, 1) => 8192,
            (3, 1) => 4096,
            other => panic!("a buffer size {other:?} that is not chosen"),
        }
    }

    fn receive(&mut self, wire: &[u8], errors: u8) -> bool {
        self.link && self.receives() && self.store(wire, errors, 0)
    }

    /// Whether it was told to receive.
    fn receives(&self) -> bool {
        let receive = Receive::from_bits_retain(self.word(Places::of(self.chip.kind).receive));
        let is_enabled = match self.chip.kind {
            Kind::Ixgbe => receive.bits() & ten::ENABLE != 0,
            _ => receive.contains(Receive::ENABLE),
        };
        is_enabled && !self.is_gone
    }

    /// The cause that says that a frame was received.
    fn received(&self) -> u32 {
        match self.chip.kind {
            Kind::Ixgbe => ten::RECEIVED,
            _ => Causes::RECEIVED.bits(),
        }
    }

    /// Puts a frame into the next buffers, if it is not too long and there are some.
    fn store(&mut self, wire: &[u8], errors: u8, told_too_many: usize) -> bool {
        let receive = self.word(Places::of(self.chip.kind).receive);
        let receive = Receive::from_bits_retain(receive);
        let takes_long = receive.contains(Receive::LONG);
        let is_ten = self.chip.kind == Kind::Ixgbe;
        let longest = match self.chip.kind.is_later() {
            true if is_ten => (self.word(ten::LONGEST) >> 16) as usize - 4,
            true if takes_long => self.word(LONGEST) as usize - 4,
            false if takes_long => 16_384 - 4,
            _ => ORDINARY_BYTES,
        };
        if wire.len() > longest {
            return false;
        }
        if is_ten {
            self.ten_is_set_up();
        } else {
            assert!(receive.contains(Receive::STRIP_FCS), "the FCS is no data");
        }
        let place = RingPlace::receive(self.chip.kind);
        let buffer = self.buffer_bytes();
        let (mut head, tail, places) = self.ring(place);
        let free = (tail + places - head) % places;
        if wire.len().div_ceil(buffer) > free {
            return false;
        }
        let mut pieces = wire.chunks(buffer).peekable();
        while let Some(piece) = pieces.next() {
            let (at, words) = self.descriptor(place, head);
            assert_eq!(words[2..], [0, 0], "what was lent to receive is clear");
            let buffer = u64::from(words[1]) << 32 | u64::from(words[0]);
            self.machine.write(buffer, piece);
            let is_last = pieces.peek().is_none();
            let status = 1 | u32::from(is_last) << 1;
            let bytes = (piece.len() + told_too_many) as u32;
            let errors = u32::from(errors);
            if self.chip.kind.is_later() {
                self.machine.write(at + 12, &bytes.to_le_bytes());
                self.machine.release(at + 8, status | errors << 24);
            } else {
                self.machine.write(at + 8, &bytes.to_le_bytes());
                self.machine.release(at + 12, status | errors << 8);
            }
            head = (head + 1) % places;
        }
        self.words.insert(place.head(), head as u32);
        self.interrupt.raise(self.received());
        true
    }

    fn send_one(&mut self) -> Option<Vec<u8>> {
        let wire = self.transmit()?;
        self.let_go();
        Some(wire)
    }

    fn transmit(&mut self) -> Option<Vec<u8>> {
        if self.is_gone || !self.sends() {
            return None;
        }
        let place = RingPlace::transmit(self.chip.kind);
        let (head, tail, places) = self.ring(place);
        let next = (head + self.on_the_wire) % places;
        if next == tail {
            return None;
        }
        let (_, words) = self.descriptor(place, next);
        let bytes = (words[2] & 0xffff) as usize;
        assert!(bytes >= 14, "a frame of {bytes} bytes to send");
        assert_eq!(words[2] >> 24 & 0b1011, 0b1011, "end, FCS, say when done");
        if self.chip.kind.is_later() {
            assert_eq!(words[2] & (1 << 29 | 0xf << 20), 1 << 29 | 3 << 20);
            assert_eq!(words[3], (bytes as u32) << 14, "its whole length");
        } else {
            assert_eq!(words[2] & (1 << 29 | 0xff << 16), 0, "the first layout");
            assert_eq!(words[3], 0);
        }
        let mut wire = vec![0; bytes];
        let buffer = u64::from(words[1]) << 32 | u64::from(words[0]);
        self.machine.read(buffer, &mut wire);
        self.on_the_wire += 1;
        Some(wire)
    }

    fn let_go(&mut self) {
        assert_ne!(self.on_the_wire, 0, "something is on the wire");
        self.on_the_wire -= 1;
        let place = RingPlace::transmit(self.chip.kind);
        let (head, _, places) = self.ring(place);
        let (at, words) = self.descriptor(place, head);
        self.machine.release(at + 12, words[3] | 1);
        self.words
            .insert(place.head(), ((head + 1) % places) as u32);
    }

    fn read(&mut self, offset: usize) -> u32 {
        if self.is_gone {
            return GONE;
        }
        self.must_not_reset();
        let kind = self.chip.kind;
        let places = Places::of(kind);
        match offset {
            _ if offset == places.link.0 => u32::from(self.link) * places.link.1,
            ten::RECEIVE_DMA if kind == Kind::Ixgbe => {
                let ready = self.machine.now_us() >= self.resets_until_us + READY_US;
                self.word(offset) | (u32::from(ready) * ten::READY)
            }
            ten::MAC | ten::LONGEST if kind == Kind::Ixgbe => self.word(offset),
            _ if kind == Kind::Ixgbe && offset == RingPlace::receive(kind).cache_hints() => {
                self.word(offset)
            }
            CONTROL if self.quirks.never_resets && self.was_reset => Control::RESET.bits(),
            _ if offset == places.causes => {
                let causes = self.interrupt.causes();
                self.interrupt.clear(causes);
                causes
            }
            CONTROL | CONTROL_MORE | PHY => self.word(offset),
            _ if offset == places.addresses || offset == places.addresses + 4 => self.word(offset),
            _ if [RingPlace::receive(kind), RingPlace::transmit(kind)]
                .iter()
                .any(|place| kind.is_later() && place.control() == offset) =>
            {
                let runs = self.machine.now_us() >= self.rings_run_at_us && !self.quirks.never_runs;
                let hidden = if runs { 0 } else { RingControl::ENABLE.bits() };
                self.word(offset) & !hidden
            }
            _ => panic!("register {offset:#x} is read, for which there is no reason"),
        }
    }

    fn write(&mut self, offset: usize, value: u32) {
        if self.is_gone {
            return;
        }
        self.must_not_reset();
        let kind = self.chip.kind;
        let places = Places::of(kind);
        let addresses = places.addresses..places.addresses + ADDRESSES_COUNT * 8;
        match offset {
            CONTROL if value & Control::RESET.bits() != 0 => return self.reset(),
            _ if offset == places.mask_clear => {
                self.interrupt.set_mask(self.interrupt.mask() & !value);
                return;
            }
            _ if offset == places.mask_set => {
                self.interrupt.set_mask(self.interrupt.mask() | value);
                return;
            }
            PHY => {
                assert_eq!(value >> 16, 1 << 10 | 1 << 5, "PHY 1, register 0");
                if !self.quirks.has_dead_phy {
                    self.link = true;
                    self.words.insert(PHY, value | PHY_READY);
                }
                return;
            }
            _ if offset == places.receive && value != 0 => {
                assert!(self.was_reset, "it starts from a reset");
                let place = RingPlace::receive(kind);
                assert_ne!(self.word(place.bytes()), 0, "a ring before it receives");
            }
            GAP => assert_eq!(kind, Kind::E1000),
            LONGEST | CAUSES_OF_RINGS => assert!(matches!(kind, Kind::Igb | Kind::Igc)),
            CONTROL => assert_ne!(kind, Kind::Ixgbe, "it does well as it is"),
            CONTROL_MORE => {}
            _ if offset == places.receive || offset == places.transmit => {}
            _ if addresses.contains(&offset) => {}
            ten::MAC | ten::LONGEST | ten::RECEIVE_DMA | ten::HEARD | ten::CAUSES_OF_RINGS
                if kind == Kind::Ixgbe => {}
            _ if kind == Kind::Ixgbe && offset == RingPlace::receive(kind).cache_hints() => {}
            _ if (GROUPS..GROUPS + GROUPS_WORDS * 4).contains(&offset) => {
                assert_eq!(value, 0, "no group is heard");
            }
            _ if !self.write_ring(offset, value) => return,
            _ => {}
        }
        self.words.insert(offset, value);
    }

    /// False if it does not hear of it.
    fn write_ring(&mut self, offset: usize, value: u32) -> bool {
        let kind = self.chip.kind;
        let is_receive = offset & !0xff == RingPlace::receive(kind).base()[0];
        let place = if is_receive {
            RingPlace::receive(kind)
        } else {
            RingPlace::transmit(kind)
        };
        let enabled = match is_receive {
            true => self.word(Places::of(kind).receive) != 0,
            false => self.sends(),
        };
        if place.base().contains(&offset) {
            assert!(!enabled, "a ring stays where it is");
            assert!(offset != place.base()[0] || value.is_multiple_of(128));
        } else if offset == place.bytes() {
            assert!(!enabled && value.is_multiple_of(128) && value != 0);
        } else if offset == place.head() {
            assert!(!enabled && value == 0);
        } else if offset == place.tail() {
            if self.is_deaf {
                return false;
            }
            let (head, tail, places) = self.ring(place);
            let value = value as usize;
            assert!(value < places, "tail {value} of {places}");
            let distance = |to: usize| (to + places - head) % places;
            assert!(distance(value) >= distance(tail), "a tail goes on");
            if kind.is_later() && enabled {
                assert!(
                    self.machine.now_us() >= self.rings_run_at_us,
                    "the ring runs first"
                );
            }
        } else if offset == place.buffers(kind) {
            assert!(is_receive && kind.is_later() && value == BUFFERS_OF_8192);
        } else if offset == place.control() {
            assert_ne!(kind, Kind::E1000, "it does well as it is");
            self.rings_run_at_us = self.machine.now_us() + RING_US;
        } else {
            panic!("register {offset:#x} is written, for which there is no reason");
        }
        true
    }

    fn reset(&mut self) {
        assert_eq!(self.interrupt.mask(), 0, "silent before it is reset");
        self.was_reset = true;
        self.words.clear();
        if self.chip.kind == Kind::Ixgbe {
            // As the manual says that they are.
            let hints = RingPlace::receive(self.chip.kind).cache_hints();
            self.words.insert(hints, ten::NOT_THIS);
            self.words.insert(ten::RECEIVE_DMA, ten::MERGED);
            self.words.insert(ten::LONGEST, 1518 << 16);
        }
        // Some chips come out of it with their mask open.
        self.interrupt.reset(Causes::LINK.bits(), u32::MAX);
        self.resets_until_us = self.machine.now_us() + RESET_US;
        self.load_address();
    }

    fn sends(&self) -> bool {
        let transmit = self.word(Places::of(self.chip.kind).transmit);
        match self.chip.kind {
            Kind::Ixgbe => transmit & ten::ENABLE != 0,
            _ => Transmit::from_bits_retain(transmit).contains(Transmit::ENABLE),
        }
    }

    /// What a chip of ten gigabits must have been told before it receives.
    fn ten_is_set_up(&self) {
        let hints = RingPlace::receive(Kind::Ixgbe).cache_hints();
        assert_eq!(self.word(hints) & ten::NOT_THIS, 0, "or it writes garbage");
        assert_eq!(self.word(ten::MAC) & ten::MAC_FLAGS, ten::MAC_FLAGS);
        let dma = self.word(ten::RECEIVE_DMA);
        assert_eq!(dma & ten::MERGED, 0);
        let ones = ten::ONES | ten::STRIP_FCS_TOO;
        assert_eq!(dma & ones, ones, "the FCS is no data");
        assert_eq!(self.word(ten::HEARD), ten::BROADCASTS);
        assert_eq!(self.word(ten::CAUSES_OF_RINGS), ten::RECEIVED_RAISES_0);
    }

    fn must_not_reset(&self) {
        assert!(
            self.machine.now_us() >= self.resets_until_us,
            "an access while the card resets"
        );
    }
}

/// The card's registers.
pub struct Window(Model);

impl Registers for Window {
    fn read(&self, offset: usize) -> u32 {
        self.0.state.borrow_mut().read(offset)
    }

    fn write(&self, offset: usize, value: u32) {
        self.0.state.borrow_mut().write(offset, value);
    }
}
