//! The adapter's side: stricter than hardware, never kinder.
//!
//! It reads the rings by address as a device does, and panics where a driver lends
//! what was not handed out, overtakes the ring, or rings for nothing. It moves only
//! when the test says so, returns in any order, and can be told to return numbers
//! that it does not have, to count wrongly, and to vanish.

extern crate std;

use crate::registers::{self as register, Registers, command};
use crate::ring::{ANSWER_BYTES, PAGES_MAX, REQUEST_BYTES, request, state};
use io::{Frame, Instant, SLOT_BYTES, carve};
use pci::shared::device::Memory;
use pci::{DeviceMemory, Message, Resources};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::vec::Vec;

const PAGE: u64 = 4096;

/// A request as the adapter read it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub context: u64,
    pub data: u64,
    pub data_bytes: u64,
    pub sense: u64,
    pub flags: u32,
    pub cdb: Vec<u8>,
    pub unit: [u8; 8],
    pub target: u8,
}

#[derive(Default)]
struct Inner {
    memory: Memory,
    words: Vec<u32>,
    command: u32,
    set_up: Option<SetUp>,
    taken: u32,
    put: u32,
    pub kicks: [u32; 2],
    mask: u32,
    resets: u32,
    refuses: bool,
    is_gone: bool,
    now: Cell<u64>,
    frames: usize,
}

#[derive(Clone)]
struct SetUp {
    state: u64,
    requests: Vec<u64>,
    answers: Vec<u64>,
}

/// The adapter, as a test moves it, and the machine that it is in.
#[derive(Clone, Default)]
pub struct Model(Rc<RefCell<Inner>>);

/// The adapter, as its driver sees it.
pub struct Window(Rc<RefCell<Inner>>);

impl Model {
    pub fn new(frames: usize) -> Self {
        let model = Self::default();
        model.0.borrow_mut().frames = frames;
        model
    }

    pub fn window(&self) -> Window {
        Window(self.0.clone())
    }

    pub fn refuse_rings(&self) {
        self.0.borrow_mut().refuses = true;
    }

    pub fn vanish(&self) {
        self.0.borrow_mut().is_gone = true;
    }

    pub fn resets(&self) -> u32 {
        self.0.borrow().resets
    }

    /// How often each doorbell was rung: for data, and for the rest.
    pub fn kicks(&self) -> [u32; 2] {
        self.0.borrow().kicks
    }

    pub fn mask(&self) -> u32 {
        self.0.borrow().mask
    }

    pub fn frames(&self, count: usize) -> Vec<Frame> {
        let memory = self
            .0
            .borrow_mut()
            .memory
            .hand_out(count * SLOT_BYTES, 512, 0);
        carve(memory).collect()
    }

    /// Takes every request that was told.
    pub fn fetch(&self) -> Vec<Seen> {
        self.0.borrow_mut().fetch()
    }

    /// Puts sense data where the request wants it.
    pub fn sense(&self, seen: &Seen, bytes: &[u8]) {
        self.0.borrow().memory.write(seen.sense, bytes);
    }

    /// Writes the data of a read.
    pub fn fill(&self, seen: &Seen, bytes: &[u8]) {
        assert_eq!(seen.flags, request::TO_HOST);
        assert!(bytes.len() as u64 <= seen.data_bytes);
        self.0.borrow().memory.write(seen.data, bytes);
    }

    /// Answers.
    pub fn answer(&self, context: u64, moved: u64, sense_bytes: u32, host: u16, unit: u16) {
        let mut inner = self.0.borrow_mut();
        let set_up = inner.set_up.clone().expect("rings before answers");
        let places = set_up.answers.len() as u64 * (PAGE / ANSWER_BYTES as u64);
        let at = u64::from(inner.put) % places * ANSWER_BYTES as u64;
        let address = set_up.answers[(at / PAGE) as usize] + at % PAGE;
        let mut answer = [0; ANSWER_BYTES];
        answer[..8].copy_from_slice(&context.to_le_bytes());
        answer[8..16].copy_from_slice(&moved.to_le_bytes());
        answer[16..20].copy_from_slice(&sense_bytes.to_le_bytes());
        answer[20..22].copy_from_slice(&host.to_le_bytes());
        answer[22..24].copy_from_slice(&unit.to_le_bytes());
        inner.memory.write(address, &answer);
        inner.put = inner.put.wrapping_add(1);
        let at = set_up.state + state::ANSWERS_PUT as u64;
        inner.memory.release(at, inner.put);
    }

    /// Fault: says that it answered this much.
    pub fn claim(&self, put: u32) {
        let inner = self.0.borrow();
        let set_up = inner.set_up.as_ref().expect("rings before answers");
        let at = set_up.state + state::ANSWERS_PUT as u64;
        inner.memory.release(at, put);
    }
}

impl Inner {
    fn word(&self, address: u64) -> u32 {
        let mut bytes = [0; 4];
        self.memory.read(address, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn set_up(&mut self) {
        let words = core::mem::take(&mut self.words);
        assert_eq!(words.len(), 2 + 2 + 4 * PAGES_MAX, "the whole of it, once");
        let long = |at: usize| u64::from(words[at]) | u64::from(words[at + 1]) << 32;
        let list = |first: usize, count: u32| -> Vec<u64> {
            (0..count as usize)
                .map(|index| long(first + 2 * index) * PAGE)
                .collect()
        };
        let set_up = SetUp {
            state: long(2) * PAGE,
            requests: list(4, words[0]),
            answers: list(4 + 2 * PAGES_MAX, words[1]),
        };
        for &page in set_up.requests.iter().chain(&set_up.answers) {
            let mut bytes = [0; PAGE as usize];
            self.memory.read(page, &mut bytes);
            assert!(bytes.iter().all(|byte| *byte == 0), "rings start empty");
        }
        self.set_up = Some(set_up);
    }

    fn fetch(&mut self) -> Vec<Seen> {
        let set_up = self.set_up.clone().expect("rings before requests");
        let places = set_up.requests.len() as u32 * (PAGE as usize / REQUEST_BYTES) as u32;
        let put = self.word(set_up.state + state::REQUESTS_PUT as u64);
        assert!(
            put.wrapping_sub(self.taken) <= places,
            "the ring was overtaken"
        );
        let mut seen = Vec::new();
        while self.taken != put {
            let at = u64::from(self.taken % places) * REQUEST_BYTES as u64;
            let mut bytes = [0; REQUEST_BYTES];
            let address = set_up.requests[(at / PAGE) as usize] + at % PAGE;
            self.memory.read(address, &mut bytes);
            seen.push(self.look(&bytes));
            self.taken = self.taken.wrapping_add(1);
        }
        seen
    }

    fn look(&self, bytes: &[u8; REQUEST_BYTES]) -> Seen {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
        let cdb_bytes = usize::from(bytes[request::COMMAND_BYTES]);
        assert!(matches!(cdb_bytes, 6 | 10 | 12 | 16));
        assert_eq!(
            bytes[request::TAG..request::TARGET],
            [0x20, 0],
            "simple, bus 0"
        );
        assert!(bytes[request::TARGET + 1..].iter().all(|byte| *byte == 0));
        let seen = Seen {
            context: long(request::CONTEXT),
            data: long(request::DATA),
            data_bytes: long(request::DATA_BYTES),
            sense: long(request::SENSE),
            flags: word(request::FLAGS),
            cdb: bytes[request::COMMAND..request::COMMAND + cdb_bytes].to_vec(),
            unit: bytes[request::UNIT..request::UNIT + 8]
                .try_into()
                .expect("eight"),
            target: bytes[request::TARGET],
        };
        // Whatever it names was handed out: reading it panics otherwise.
        let mut all = std::vec![0; seen.data_bytes as usize];
        if seen.data_bytes > 0 {
            self.memory.read(seen.data, &mut all);
        }
        let mut all = std::vec![0; word(request::SENSE_BYTES) as usize];
        self.memory.read(seen.sense, &mut all);
        assert_eq!(
            seen.data_bytes == 0,
            seen.flags == request::NO_DATA,
            "{seen:?}"
        );
        seen
    }
}

impl Registers for Window {
    fn read(&self, offset: usize) -> u32 {
        let inner = self.0.borrow();
        if inner.is_gone {
            return register::GONE;
        }
        match offset {
            register::COMMAND_STATUS if inner.refuses => register::UNKNOWN,
            register::COMMAND_STATUS | register::INTERRUPT_STATUS => 0,
            other => panic!("read of register {other:#x}"),
        }
    }

    fn write(&self, offset: usize, value: u32) {
        let mut inner = self.0.borrow_mut();
        match offset {
            register::COMMAND => {
                inner.command = value;
                if value == command::RESET {
                    inner.resets += 1;
                    inner.set_up = None;
                }
            }
            register::COMMAND_DATA => {
                assert_eq!(inner.command, command::SET_UP_RINGS);
                inner.words.push(value);
                if inner.words.len() == 4 + 4 * PAGES_MAX {
                    inner.set_up();
                }
            }
            register::KICK_READ_WRITE | register::KICK_OTHER => {
                let set_up = inner.set_up.as_ref().expect("rings before doorbells");
                let put = inner.word(set_up.state + state::REQUESTS_PUT as u64);
                assert_ne!(put, inner.taken, "rung for nothing");
                inner.kicks[usize::from(offset == register::KICK_OTHER)] += 1;
            }
            register::INTERRUPT_MASK => inner.mask = value,
            register::INTERRUPT_STATUS => {}
            other => panic!("write of register {other:#x}"),
        }
    }
}

impl Resources for Model {
    /// Every look at the clock takes a millisecond, so every deadline comes.
    fn now(&self) -> Instant {
        let inner = self.0.borrow();
        inner.now.set(inner.now.get() + 1000);
        Instant(inner.now.get())
    }

    fn frames(&self) -> usize {
        self.0.borrow().frames
    }

    fn dma(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]> {
        Some(self.0.borrow_mut().memory.hand_out(bytes, align, 0))
    }

    fn map(&mut self, _: u64, _: usize) -> Option<DeviceMemory> {
        None
    }

    fn message(&mut self) -> Option<Message> {
        None
    }

    fn bus_range(&mut self, _: u64) -> Option<u64> {
        None
    }
}
