//! A card as the driver sees it, for tests.
//!
//! Stricter than what hypervisors play, never kinder. It panics with a sentence at
//! every step that they leave open: a command out of order, a door before it runs, an
//! area or a ring that is not as it must be, a frame to send that is shorter than
//! Ethernet's header, and any access to memory that was not lent. A message that comes
//! due while it is silenced is sent as soon as it is not.
//!
//! It does not care how long a slot is: it writes as many bytes as a descriptor says,
//! and that a slot is never passed is the memory's check. What is planted: see
//! [`Quirks`], and
//! - [`Model::damage`], [`Model::piece`]: frames which must not reach the node.
//! - [`Model::pass_over`]: empty frames that it does not use.
//! - [`Model::stop`]: a queue that stops with an error.
//! - [`Model::answer`]: an answer about whatever the test says.
//! - [`Model::set_link`], [`Model::vanish`]: a cable, and a card, that is pulled.

extern crate std;

use crate::area::{MAGIC, place};
use crate::card::{self, Card, MTU};
use crate::error::Error;
use crate::registers::{
    ADDRESS, AREA, COMMAND, EVENTS_SEEN, Events, GONE, LINK_UP, MASK_0, MASK_1, MASK_MODE,
    PART_REVISION, RECEIVE, REVISION, Registers, SEND, command,
};
use crate::ring::DESCRIPTOR_BYTES;
use io::Frame;
use io::model::Cable;
use pci::model::Machine;
use std::cell::RefCell;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

/// Its address.
pub const MAC: [u8; 6] = [0x02, 0, 0, 0, 0x15, 0xad];

/// What a card does wrong, or otherwise than most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quirks {
    /// It has only later revisions.
    pub is_too_new: bool,
    /// It has no address.
    pub has_no_address: bool,
    /// Its address is a group's.
    pub has_group_address: bool,
    /// It does not start, and says this.
    pub refuses: u32,
    /// It wants us to silence messages.
    pub leaves_masks_to_us: bool,
    /// It has hardware below, and wants to hear of each batch of empty frames.
    pub wants_doorbell: bool,
}

/// Directions, as indices.
pub const SENDS: usize = 0;
pub const RECEIVES: usize = 1;

/// A card.
#[derive(Clone)]
pub struct Model {
    state: Rc<RefCell<State>>,
}

struct State {
    quirks: Quirks,
    machine: Machine,
    command: u32,
    was_reset: bool,
    revisions_chosen: usize,
    area: u64,
    active: Option<Active>,
    masked: [bool; 2],
    pending: [bool; 2],
    messages: u64,
    resets: u32,
    doorbells: [u64; 2],
    mask_writes: u64,
    link: bool,
    is_gone: bool,
}

/// What it read when it was told to start.
#[derive(Clone, Copy)]
struct Active {
    queues: [Queue; 2],
    silences: bool,
    message_count: u8,
    all_off: bool,
}

#[derive(Clone, Copy)]
struct Queue {
    ring: u64,
    answers: u64,
    places: usize,
    message: usize,
    next: usize,
    /// Where the doorbell said that descriptors end.
    told: usize,
    round: bool,
    answered: usize,
    answer_round: bool,
}

impl Model {
    /// A card in a machine with `frames` frames.
    pub fn new(frames: usize, quirks: Quirks) -> Self {
        let state = State {
            quirks,
            machine: Machine::new(frames),
            command: 0,
            was_reset: false,
            revisions_chosen: 0,
            area: 0,
            active: None,
            masked: [false; 2],
            pending: [false; 2],
            messages: 0,
            resets: 0,
            doorbells: [0; 2],
            mask_writes: 0,
            link: true,
            is_gone: false,
        };
        Self {
            state: Rc::new(RefCell::new(state)),
        }
    }

    /// Resets and starts the card, as [`crate::attach`] does.
    pub fn start(&self, messages: u16) -> Result<Card<Window>, Error> {
        let mut machine = self.state.borrow().machine.clone();
        let [doors, registers] = [0, 1].map(|bar| Window(self.clone(), bar));
        let mac = card::reset(&registers)?;
        let name = "00:02.0 vmxnet3";
        Card::start(doors, registers, mac, messages, &mut machine, name)
    }

    /// The machine has no memory for rings.
    pub fn shorten_memory(&self) {
        self.state.borrow().machine.shorten_memory();
    }

    /// A frame arrives damaged, and the card passes it on.
    pub fn damage(&self, wire: &[u8]) -> bool {
        self.state.borrow_mut().receive(wire, 1 << 14)
    }

    /// The start of a frame comes without its end.
    pub fn piece(&self, wire: &[u8]) {
        let mut state = self.state.borrow_mut();
        let (index, _) = state.take(RECEIVES).expect("an empty frame");
        state.write_answer(RECEIVES, index as u32 | 1 << 15, wire.len() as u32);
    }

    /// Takes an empty frame and does not use it.
    pub fn pass_over(&self) {
        let taken = self.state.borrow_mut().take(RECEIVES);
        taken.expect("an empty frame");
    }

    /// An answer as the test says: whole, of 60 bytes, about descriptor `index`.
    pub fn answer(&self, way: usize, index: u32) {
        let mut state = self.state.borrow_mut();
        state.write_answer(way, index | 3 << 14, 60);
    }

    /// A queue stops.
    pub fn stop(&self, way: usize, error: u32) {
        let mut state = self.state.borrow_mut();
        let at = state.area + place::STOPPED[way] as u64;
        state.machine.release(at + 4, error);
        state.machine.release(at, 1);
        state.raise(if way == SENDS {
            Events::TRANSMIT_STOPPED
        } else {
            Events::RECEIVE_STOPPED
        });
    }

    /// Resets so far.
    pub fn resets(&self) -> u32 {
        self.state.borrow().resets
    }

    /// Whether it runs.
    pub fn is_active(&self) -> bool {
        self.state.borrow().active.is_some()
    }

    /// How often the doorbell of either direction was rung.
    pub fn doorbells(&self) -> [u64; 2] {
        self.state.borrow().doorbells
    }

    /// How often a message was silenced or opened.
    pub fn mask_writes(&self) -> u64 {
        self.state.borrow().mask_writes
    }

    /// Events that nobody has taken back.
    pub fn events(&self) -> u32 {
        let state = self.state.borrow();
        state.word(state.area + place::EVENTS as u64)
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
            && let Some((index, descriptor)) = state.take(SENDS)
        {
            let bytes = (descriptor[2] & 0x3fff) as usize;
            assert!(bytes >= 14, "a frame of {bytes} bytes to send");
            assert_eq!(descriptor[2] >> 15, 0, "no offload, no second kind");
            assert_eq!(descriptor[3], 3 << 12, "it ends here, and is answered");
            let address = u64::from(descriptor[1]) << 32 | u64::from(descriptor[0]);
            let mut wire = vec![0; bytes];
            state.machine.read(address, &mut wire);
            sent.push(wire);
            state.write_answer(SENDS, index as u32, 0);
        }
        sent
    }

    fn set_link(&self, up: bool) {
        let mut state = self.state.borrow_mut();
        state.link = up;
        state.raise(Events::LINK);
    }

    fn vanish(&self) {
        self.state.borrow_mut().is_gone = true;
    }

    fn messages(&self) -> u64 {
        self.state.borrow().messages
    }
}

impl State {
    fn word(&self, address: u64) -> u32 {
        let [word] = self.machine.words(address);
        word
    }

    fn long(&self, address: u64) -> u64 {
        u64::from(self.word(address)) | u64::from(self.word(address + 4)) << 32
    }

    fn active(&mut self) -> &mut Active {
        self.active.as_mut().expect("it runs")
    }

    /// The next descriptor that is lent.
    fn take(&mut self, way: usize) -> Option<(usize, [u32; 4])> {
        let queue = self.active?.queues[way];
        let needs_doorbell = way == SENDS || self.quirks.wants_doorbell;
        if needs_doorbell && queue.next == queue.told {
            return None;
        }
        let at = queue.ring + (queue.next * DESCRIPTOR_BYTES) as u64;
        let words: [u32; 4] = self.machine.words(at);
        let bit = if way == SENDS { 14 } else { 31 };
        if (words[2] >> bit & 1 != 0) != queue.round {
            return None;
        }
        let next = (queue.next + 1) % queue.places;
        let ours = &mut self.active().queues[way];
        ours.next = next;
        ours.round ^= next == 0;
        Some((queue.next, words))
    }

    fn write_answer(&mut self, way: usize, first: u32, bytes: u32) {
        let queue = self.active.expect("it runs").queues[way];
        let at = queue.answers + (queue.answered * DESCRIPTOR_BYTES) as u64;
        self.machine.write(at, &first.to_le_bytes());
        self.machine.write(at + 8, &bytes.to_le_bytes());
        self.machine
            .release(at + 12, u32::from(queue.answer_round) << 31);
        let next = (queue.answered + 1) % queue.places;
        let ours = &mut self.active().queues[way];
        ours.answered = next;
        ours.answer_round ^= next == 0;
        self.due(queue.message);
    }

    fn receive(&mut self, wire: &[u8], error: u32) -> bool {
        if !self.link || self.is_gone {
            return false;
        }
        let Some((index, descriptor)) = self.take(RECEIVES) else {
            return false;
        };
        assert_eq!(descriptor[2] >> 14 & 0x1_ffff, 0, "a buffer for heads");
        assert_eq!(descriptor[3], 0);
        let room = (descriptor[2] & 0x3fff) as usize;
        assert!(room >= 128, "less is none");
        let address = u64::from(descriptor[1]) << 32 | u64::from(descriptor[0]);
        let bytes = wire.len().min(room);
        self.machine.write(address, &wire[..bytes]);
        let cut = if bytes < wire.len() { 1 << 14 } else { 0 };
        self.write_answer(RECEIVES, index as u32 | 3 << 14, bytes as u32 | cut | error);
        true
    }

    fn raise(&mut self, event: Events) {
        let at = self.area + place::EVENTS as u64;
        let events = self.word(at) | event.bits();
        self.machine.release(at, events);
        self.due(0);
    }

    /// A message is due: it is sent now, or when it may be.
    fn due(&mut self, message: usize) {
        self.pending[message] = true;
        self.send_message(message);
    }

    fn send_message(&mut self, message: usize) {
        let Some(active) = self.active else {
            return;
        };
        if active.all_off || self.masked[message] || !self.pending[message] {
            return;
        }
        assert_eq!(message, 0, "the second message stays silent");
        assert!(active.message_count > 0, "a message that nobody hears");
        self.pending[message] = false;
        self.messages += 1;
        self.masked[message] = active.silences;
    }

    fn activate(&mut self) {
        assert!(self.was_reset, "it starts from a reset");
        assert!(self.active.is_none(), "once");
        assert_eq!(self.revisions_chosen, 2, "a revision of both kinds");
        assert!(self.area.is_multiple_of(8));
        let word = |at: usize| self.word(self.area + at as u64);
        assert_eq!(word(0), MAGIC);
        assert_eq!(word(place::MTU), MTU.into());
        assert_eq!(word(place::PIECES_AND_QUEUES), 0x0101_0001);
        assert_eq!(word(place::HEARD), 0b101, "ours and everybody's");
        let [silences, message_count, of_events, _] = word(place::MESSAGES).to_le_bytes();
        assert_eq!(of_events, 0);
        assert_eq!(silences != 0, !self.quirks.leaves_masks_to_us);
        let table = self.long(self.area + place::QUEUES as u64);
        assert!(table.is_multiple_of(128));
        let queues = [SENDS, RECEIVES].map(|way| {
            let at = table + way as u64 * 256;
            let [ring, places, answers, answer_places, message] =
                place::IN_QUEUE.map(|offset| self.long(at + offset as u64));
            assert!(ring.is_multiple_of(512) && answers.is_multiple_of(512));
            let places = places as u32 as usize;
            assert!(places.is_multiple_of(32) && (1..=4096).contains(&places));
            assert_eq!(answer_places as u32 as usize, places, "an answer each");
            let mut all = vec![0; places * DESCRIPTOR_BYTES];
            self.machine.read(answers, &mut all);
            assert!(all.iter().all(|byte| *byte == 0), "answers start empty");
            Queue {
                ring,
                answers,
                places,
                message: usize::from(message as u8),
                next: 0,
                told: 0,
                round: true,
                answered: 0,
                answer_round: true,
            }
        });
        assert!(
            queues
                .iter()
                .all(|queue| queue.message < message_count.into())
        );
        let all_off = word(place::MESSAGES_OFF) & 1 != 0;
        if self.quirks.refuses == 0 {
            self.active = Some(Active {
                queues,
                silences: silences != 0,
                message_count,
                all_off,
            });
        }
        let wants = u32::from(self.quirks.wants_doorbell);
        let at = self.area + place::WANTS_DOORBELL as u64;
        self.machine.release(at, wants);
    }

    fn read(&self, bar: usize, offset: usize) -> u32 {
        if self.is_gone {
            return GONE;
        }
        assert_eq!(bar, 1, "the doors are not read");
        let mut mac = if self.quirks.has_no_address {
            [0; 6]
        } else {
            MAC
        };
        mac[0] |= u8::from(self.quirks.has_group_address);
        let [a, b, c, d, e, f] = mac;
        match offset {
            REVISION | PART_REVISION if self.quirks.is_too_new => 0b110,
            REVISION | PART_REVISION => 0b111,
            _ if offset == ADDRESS[0] => u32::from_le_bytes([a, b, c, d]),
            _ if offset == ADDRESS[1] => u32::from_le_bytes([e, f, 0, 0]),
            COMMAND => match self.command {
                command::ACTIVATE => self.quirks.refuses,
                command::LINK if self.link => 10_000 << 16 | LINK_UP,
                command::LINK => 0,
                command::INTERRUPTS if self.quirks.leaves_masks_to_us => MASK_MODE & 0b0100,
                command::INTERRUPTS => 0b11,
                other => panic!("command {other:#x} has no answer"),
            },
            other => panic!("register {other:#x} is read, for which there is no reason"),
        }
    }

    fn write(&mut self, bar: usize, offset: usize, value: u32) {
        if self.is_gone {
            return;
        }
        if bar == 0 {
            return self.write_door(offset, value);
        }
        match offset {
            REVISION | PART_REVISION => {
                assert_eq!(value, 1);
                self.revisions_chosen += 1;
            }
            _ if offset == AREA[0] => self.area = value.into(),
            _ if offset == AREA[1] => self.area |= u64::from(value) << 32,
            COMMAND => self.run(value),
            _ if offset == ADDRESS[0] => assert_eq!(value.to_le_bytes(), MAC[..4]),
            _ if offset == ADDRESS[1] => assert_eq!(value.to_le_bytes()[..2], MAC[4..]),
            EVENTS_SEEN => {
                let at = self.area + place::EVENTS as u64;
                let events = self.word(at) & !value;
                self.machine.release(at, events);
            }
            other => panic!("register {other:#x} is written, for which there is no reason"),
        }
    }

    fn run(&mut self, command: u32) {
        self.command = command;
        match command {
            command::RESET => {
                self.was_reset = true;
                self.active = None;
                // Nothing is promised about masks.
                self.masked = [false; 2];
                self.pending = [false; 2];
                self.resets += 1;
            }
            command::ACTIVATE => self.activate(),
            command::HEAR => assert!(self.active.is_some(), "it runs first"),
            command::QUEUES | command::LINK | command::INTERRUPTS => {}
            other => panic!("command {other:#x}, for which there is no reason"),
        }
    }

    fn write_door(&mut self, offset: usize, value: u32) {
        assert!(self.active.is_some(), "a door of a card that does not run");
        match offset {
            MASK_0 | MASK_1 => {
                let message = usize::from(offset == MASK_1);
                self.masked[message] = value != 0;
                self.mask_writes += 1;
                self.send_message(message);
            }
            SEND | RECEIVE => {
                let way = usize::from(offset == RECEIVE);
                let queue = &mut self.active().queues[way];
                let (value, places) = (value as usize, queue.places);
                assert!(value < places, "place {value} of {places}");
                queue.told = value;
                self.doorbells[way] += 1;
            }
            other => panic!("door {other:#x}, for which there is no reason"),
        }
    }
}

/// One of the card's BARs.
pub struct Window(Model, usize);

impl Registers for Window {
    fn read(&self, offset: usize) -> u32 {
        self.0.state.borrow().read(self.1, offset)
    }

    fn write(&self, offset: usize, value: u32) {
        self.0.state.borrow_mut().write(self.1, offset, value);
    }
}
