//! A card as the driver sees it, for tests.
//!
//! Stricter than hardware, never kinder. It panics with a sentence at every step that
//! the manuals forbid or leave open: a register of the other chip, one touched in
//! another width or while the card resets, rings before the 8139 has any, a buffer
//! that is not where or as long as the chip wants, and any access to memory that was
//! not lent.
//!
//! It sends only what a doorbell told it of, forgets doorbells when it is told to, and
//! messages come when the first cause does. What is planted: see [`Quirks`], and
//! - [`Model::damage`]: a frame with an error, which must not reach the node.
//! - [`Model::set_link`], [`Model::vanish`]: a cable, and a card, that is pulled.
//!
//! Time is the model's own: it passes with every look at the clock.

extern crate std;

use crate::card::{self, BUFFER_BYTES, Card};
use crate::error::Error;
use crate::family::Kind;
use crate::registers::{
    ADDRESS, CAUSES, COMMAND, Causes, Command, DOORBELL, DOORBELL_8139, GROUPS, LONGEST, LOOK,
    MASK, MEDIA, MEDIA_NO_LINK, PHY, PHY_AGREE, PHY_BUSY, PHY_LINK, PHY_STATUS, PLUS, Plus,
    RECEIVE, RECEIVE_RING, Receive, Registers, TRANSMIT, TRANSMIT_RING,
};
use crate::ring::{DESCRIPTOR_BYTES, OWN};
use io::model::Cable;
use io::{Frame, Text};
use pci::model::{Interrupt, Machine};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

/// The address in its EEPROM.
pub const MAC: [u8; 6] = [0x02, 0, 0, 0, 0x10, 0xec];
/// How long the card takes to reset.
const RESET_US: u64 = 5_000;
/// What a frame that was received has behind it.
const FCS: [u8; 4] = [0xfc; 4];

/// What a card does wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quirks {
    /// Told to reset, it does not.
    pub never_resets: bool,
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
    kind: Kind,
    quirks: Quirks,
    machine: Machine,
    words: BTreeMap<usize, u32>,
    resets_until_us: u64,
    was_reset: bool,
    interrupt: Interrupt,
    /// Descriptors that it takes next: to send, to receive.
    next: [usize; 2],
    was_told: bool,
    loses_doorbells: bool,
    link: bool,
    is_gone: bool,
}

impl Model {
    /// A card in a machine with `frames` frames, left receiving by somebody.
    pub fn new(kind: Kind, frames: usize, quirks: Quirks) -> Self {
        let state = State {
            kind,
            quirks,
            machine: Machine::new(frames),
            words: BTreeMap::from([(RECEIVE, Receive::all().bits())]),
            resets_until_us: 0,
            was_reset: false,
            interrupt: Interrupt::new(Causes::RECEIVED.bits().into(), u32::MAX),
            next: [0; 2],
            was_told: false,
            loses_doorbells: false,
            link: !quirks.sleeps,
            is_gone: false,
        };
        Self {
            state: Rc::new(RefCell::new(state)),
        }
    }

    /// Resets and starts the card, as [`crate::attach`] does.
    pub fn start(&self, has_interrupt: bool) -> Result<Card<Window>, Error> {
        let mut machine = self.state.borrow().machine.clone();
        let window = Window(self.clone());
        let mac = card::reset(&window, &machine)?;
        let kind = self.state.borrow().kind;
        let name = Text::<48>::format(format_args!("00:02.0 {kind}"));
        let name = name.as_str();
        Card::start(window, kind, mac, has_interrupt, &mut machine, name)
    }

    /// The machine has no memory for rings.
    pub fn shorten_memory(&self) {
        self.state.borrow().machine.shorten_memory();
    }

    /// A frame arrives damaged, and the card passes it on.
    pub fn damage(&self, wire: &[u8]) -> bool {
        let summary = match self.state.borrow().kind {
            Kind::R8139 => 1 << 20,
            Kind::R8168 => 1 << 21,
        };
        self.state.borrow_mut().receive(wire, summary)
    }

    /// Does not hear doorbells for some time, or hears them again.
    pub fn lose_doorbells(&self, loses: bool) {
        self.state.borrow_mut().loses_doorbells = loses;
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
            && state.was_told
            && let Some(wire) = state.send_one()
        {
            sent.push(wire);
        }
        // It looks until it finds one that is not its own.
        if sent.len() < count {
            state.was_told = false;
        }
        sent
    }

    fn set_link(&self, up: bool) {
        let mut state = self.state.borrow_mut();
        state.link = up;
        state.raise(Causes::LINK);
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

    fn raise(&mut self, causes: Causes) {
        self.interrupt.raise(causes.bits().into());
    }

    fn descriptor(&self, ring: usize, index: usize) -> (u64, [u32; 4]) {
        let base = u64::from(self.word(ring)) | u64::from(self.word(ring + 4)) << 32;
        assert!(base.is_multiple_of(256) && base != 0, "a ring at {base:#x}");
        let at = base + (index * DESCRIPTOR_BYTES) as u64;
        (at, self.machine.words(at))
    }

    fn after(&self, index: usize, word: u32) -> usize {
        let next = if word & 1 << 30 != 0 { 0 } else { index + 1 };
        assert!(next < self.kind.places_max(), "a ring without an end");
        next
    }

    fn receive(&mut self, wire: &[u8], errors: u32) -> bool {
        let command = Command::from_bits_retain(self.word(COMMAND) as u8);
        if !self.link || self.is_gone || !command.contains(Command::RECEIVE) {
            return false;
        }
        let wire = [wire, &FCS].concat();
        let mut pieces = wire.chunks(BUFFER_BYTES).enumerate().peekable();
        let mut index = self.next[1];
        let mut written = Vec::new();
        while let Some((number, piece)) = pieces.next() {
            let (at, words) = self.descriptor(RECEIVE_RING, index);
            if words[0] & OWN == 0 {
                self.raise(Causes::NO_EMPTY);
                return false;
            }
            assert_eq!(words[0] & 0x3fff, BUFFER_BYTES as u32);
            assert_eq!(words[1], 0, "no tags of VLANs");
            let buffer = u64::from(words[3]) << 32 | u64::from(words[2]);
            let step = if self.kind == Kind::R8168 { 8 } else { 2 };
            assert!(buffer.is_multiple_of(step), "a buffer at {buffer:#x}");
            self.machine.write(buffer, piece);
            let first = u32::from(number == 0) << 29;
            let last = u32::from(pieces.peek().is_none()) << 28;
            let kept = words[0] & 1 << 30;
            // The last piece has the length of the whole.
            let bytes = if last != 0 { wire.len() } else { piece.len() } as u32;
            written.push((at, kept | first | last | errors | bytes & 0x3fff));
            index = self.after(index, words[0]);
        }
        for (at, word) in written {
            self.machine.release(at, word);
        }
        self.next[1] = index;
        self.raise(if errors == 0 {
            Causes::RECEIVED
        } else {
            Causes::RECEIVED_WRONG
        });
        true
    }

    fn send_one(&mut self) -> Option<Vec<u8>> {
        let command = Command::from_bits_retain(self.word(COMMAND) as u8);
        if self.is_gone || !command.contains(Command::SEND) {
            return None;
        }
        let (at, words) = self.descriptor(TRANSMIT_RING, self.next[0]);
        if words[0] & OWN == 0 {
            return None;
        }
        let bytes = (words[0] & 0xffff) as usize;
        assert!(
            (14..=1514).contains(&bytes),
            "a frame of {bytes} bytes to send"
        );
        assert_eq!(words[0] >> 16 & 0x3fff, 0x3000, "whole, and no offload");
        assert_eq!(words[1], 0, "no tags of VLANs");
        let mut wire = vec![0; bytes];
        let buffer = u64::from(words[3]) << 32 | u64::from(words[2]);
        self.machine.read(buffer, &mut wire);
        self.machine.release(at, words[0] & !OWN);
        self.next[0] = self.after(self.next[0], words[0]);
        self.raise(Causes::SENT);
        Some(wire)
    }

    fn read(&mut self, offset: usize, width: usize) -> u32 {
        if self.is_gone {
            return u32::MAX >> (32 - 8 * width);
        }
        let [a, b, c, d, e, f] = if self.quirks.has_no_address {
            [0; 6]
        } else {
            MAC
        };
        let a = a | u8::from(self.quirks.has_group_address);
        let resets = self.was_reset
            && (self.machine.now_us() < self.resets_until_us || self.quirks.never_resets);
        assert!(!resets || offset == COMMAND, "an access while it resets");
        match (offset, width) {
            (COMMAND, 1) if resets => Command::RESET.bits().into(),
            (COMMAND, 1) => self.word(COMMAND),
            (CAUSES, 2) => self.interrupt.causes(),
            (ADDRESS, 4) => u32::from_le_bytes([a, b, c, d]),
            (_, 4) if offset == ADDRESS + 4 => u32::from_le_bytes([e, f, 0xaa, 0xaa]),
            (MEDIA, 1) if self.kind == Kind::R8139 => {
                if self.link {
                    0
                } else {
                    MEDIA_NO_LINK.into()
                }
            }
            (PHY_STATUS, 1) if self.kind == Kind::R8168 => {
                u32::from(self.link) * u32::from(PHY_LINK)
            }
            (PHY, 4) if self.kind == Kind::R8168 => self.word(PHY),
            (PLUS, 2) | (TRANSMIT | RECEIVE, 4) => self.word(offset),
            _ => panic!(
                "{width} bytes of register {offset:#x} are read, for which there is no reason"
            ),
        }
    }

    fn write(&mut self, offset: usize, width: usize, value: u32) {
        if self.is_gone {
            return;
        }
        assert!(
            self.machine.now_us() >= self.resets_until_us,
            "an access while it resets"
        );
        let is_8168 = self.kind == Kind::R8168;
        let has_rings = self.word(PLUS) & Plus::RECEIVE.bits() as u32 != 0;
        let ring_words = [
            TRANSMIT_RING,
            TRANSMIT_RING + 4,
            RECEIVE_RING,
            RECEIVE_RING + 4,
        ];
        match (offset, width) {
            (COMMAND, 1) if value == Command::RESET.bits().into() => return self.reset(),
            (COMMAND, 1) => {
                assert!(self.was_reset, "it starts from a reset");
                assert_ne!(self.word(RECEIVE_RING), 0, "a ring before it receives");
            }
            (MASK, 2) => {
                self.interrupt.set_mask(value);
                return;
            }
            (CAUSES, 2) => {
                self.interrupt.clear(value);
                return;
            }
            (PLUS, 2) => assert_eq!(value & Plus::VLAN_TAGS.bits() as u32, 0),
            (LONGEST, 2) => assert!(is_8168 && value == BUFFER_BYTES as u32),
            (PHY, 4) if is_8168 => {
                assert_eq!(value, PHY_BUSY | PHY_AGREE);
                if self.quirks.has_dead_phy {
                    self.words.insert(PHY, PHY_BUSY);
                } else {
                    self.link = true;
                }
                return;
            }
            (DOORBELL, 1) | (DOORBELL_8139, 1) => {
                assert_eq!(offset == DOORBELL, is_8168, "the other chip's doorbell");
                assert_eq!(value, LOOK.into());
                self.was_told |= !self.loses_doorbells;
                return;
            }
            (TRANSMIT | RECEIVE, 4) => {
                assert_ne!(self.word(COMMAND), 0, "kept only by a card that runs");
            }
            (_, 4) if offset == GROUPS || offset == GROUPS + 4 => assert_eq!(value, 0),
            (_, 4) if ring_words.contains(&offset) => {
                assert!(has_rings, "the rings are there first");
                assert_eq!(self.word(COMMAND), 0, "a ring stays where it is");
            }
            _ => panic!(
                "{width} bytes of register {offset:#x} are written, for which there is no reason"
            ),
        }
        self.words.insert(offset, value);
    }

    fn reset(&mut self) {
        assert_eq!(self.interrupt.mask(), 0, "silent before it is reset");
        self.was_reset = true;
        self.words.clear();
        // Some chips come out of it deaf.
        self.words
            .insert(RECEIVE, Receive::STUCK.bits() | Receive::HEARD.bits());
        let link = Causes::LINK.bits().into();
        self.interrupt.reset(link, u32::MAX);
        self.resets_until_us = self.machine.now_us() + RESET_US;
    }
}

/// The card's registers.
pub struct Window(Model);

impl Registers for Window {
    fn read8(&self, offset: usize) -> u8 {
        self.0.state.borrow_mut().read(offset, 1) as u8
    }

    fn read16(&self, offset: usize) -> u16 {
        self.0.state.borrow_mut().read(offset, 2) as u16
    }

    fn read32(&self, offset: usize) -> u32 {
        self.0.state.borrow_mut().read(offset, 4)
    }

    fn write8(&self, offset: usize, value: u8) {
        self.0.state.borrow_mut().write(offset, 1, value.into());
    }

    fn write16(&self, offset: usize, value: u16) {
        self.0.state.borrow_mut().write(offset, 2, value.into());
    }

    fn write32(&self, offset: usize, value: u32) {
        self.0.state.borrow_mut().write(offset, 4, value);
    }
}
