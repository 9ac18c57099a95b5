//! A controller and its namespaces, as the driver sees them, for tests.
//!
//! Stricter than hardware, never kinder. It panics with a sentence at every step
//! that the specification forbids or leaves open: a choice that changes while the
//! controller runs, a ring that is not aligned, a doorbell without news or past
//! what there is, a command number used twice at a time, a word of a command that
//! should be zero and is not, pages that a command may not name so, a completion
//! ring that it finds full (which this driver promises never to happen), and any
//! access to memory that was not handed out.
//!
//! Admin commands run at once; I/O commands are taken ([`Model::fetch`]) and
//! answered ([`Model::serve`], [`Model::answer`]) when the test says so, in any
//! order. What is planted: see [`Quirks`], and
//! - [`Model::forge`]: answers that belong to no command, because a controller
//!   that lost count must not make us give a frame away.
//! - [`Model::fail`]: it says that it can not go on.
//! - [`Model::vanish`]: it is pulled out.
//! - [`Model::warn`]: it says that it will fail, because nobody replaces a drive
//!   that is silent about it.
//! - [`Model::plant`]: it begins to do something wrong.
//!
//! Time is the model's own: it passes with every look at the clock.

mod command;
mod hand;

pub use self::command::Taken;

use crate::command::{Opcode, PAGE_BYTES};
use crate::controller::Surroundings;
use crate::disk::Disk;
use crate::error::Error;
use crate::identify::kind;
use crate::queue::{ANSWER_BYTES, COMMAND_BYTES};
use crate::registers::{
    ADMIN_SIZES, CAPABILITIES, CONFIGURATION, Configuration, ControllerStatus, Doorbells, GONE,
    Registers, STATUS, VERSION,
};
use crate::status::Status;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use io::{Frame, Instant, SECTOR_BYTES, SLOT_BYTES};
use pci::shared::device::Memory;

/// Time that a look at the clock takes.
const CLOCK_US: u64 = 100;
/// How long the controller takes to start and to stop.
const READY_US: u64 = 20_000;

/// A namespace.
#[derive(Clone, Copy, Debug)]
pub struct Namespace {
    /// Its number.
    pub number: u32,
    /// Its size.
    pub sectors: u64,
    /// Bytes of a sector, as a power of two.
    pub exponent: u8,
    /// Bytes of metadata of a sector.
    pub metadata: u8,
}

impl Namespace {
    /// An ordinary one.
    pub const fn new(number: u32, sectors: u64) -> Self {
        Self {
            number,
            sectors,
            exponent: 9,
            metadata: 0,
        }
    }
}

/// What the controller is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// VS.
    pub version: u32,
    /// CAP.MQES + 1.
    pub queue_entries: u32,
    /// CAP.DSTRD.
    pub stride_exponent: u8,
    /// CAP.MPSMIN.
    pub page_exponent: u8,
    /// Queue pairs that it grants.
    pub queues: u32,
    /// MDTS.
    pub transfer_exponent: u8,
    /// VWC.
    pub write_cache: bool,
    /// ONCS: DATASET MANAGEMENT.
    pub discards: bool,
    /// DMRSL.
    pub discard_sectors_max: u32,
    /// Whether messages reach the node.
    pub has_interrupt: bool,
    /// Frames of the machine.
    pub frames: usize,
    /// Its serial number, of up to 20 characters.
    pub serial: String,
    /// What it has.
    pub namespaces: Vec<Namespace>,
    /// What it does wrong.
    pub quirks: Quirks,
}

/// What a controller does wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quirks {
    /// Told to stop, it does not.
    pub never_stops: bool,
    /// Told to start, it does not.
    pub never_starts: bool,
    /// Told to start, it fails.
    pub fails_at_start: bool,
    /// Told to abort a command, it says that it can not.
    pub never_aborts: bool,
    /// It has admin commands only.
    pub admin_only: bool,
    /// An admin command that it never answers.
    pub silent: Option<Opcode>,
    /// An admin command that it refuses.
    pub refuses: Option<Opcode>,
    /// It answers admin commands under a wrong number.
    pub wrong_numbers: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: 0x0001_0400,
            queue_entries: 2048,
            stride_exponent: 0,
            page_exponent: 0,
            queues: 64,
            transfer_exponent: 7,
            write_cache: true,
            discards: true,
            discard_sectors_max: 0,
            has_interrupt: true,
            frames: 1024,
            serial: "SERIAL 1".to_string(),
            namespaces: vec![Namespace::new(1, 4096)],
            quirks: Quirks::default(),
        }
    }
}

/// The handle to a controller: its surroundings and what it does.
#[derive(Clone)]
pub struct Model(Rc<RefCell<State>>);

/// A way to its registers, as long as was asked for.
pub struct Window {
    model: Model,
    bytes: usize,
}

struct State {
    settings: Settings,
    now_us: u64,
    memory: Memory,
    configuration: u32,
    /// Whether it is ready, and when that changes.
    ready: bool,
    changes_at: Option<u64>,
    fatal: bool,
    gone: bool,
    warning: u8,
    /// How often it was started.
    starts: u32,
    admin: [u32; 5],
    queues: BTreeMap<u16, Pair>,
    /// Completion queues without their submission queue: places, address, message.
    halves: BTreeMap<u16, (u16, u64, Option<u16>)>,
    media: BTreeMap<(u32, u64), [u8; SECTOR_BYTES]>,
    messages: u64,
    heads_told: u64,
    /// It hears no doorbell of commands.
    is_deaf: bool,
}

/// A queue pair from the other side.
struct Pair {
    commands: u64,
    places: u16,
    answers: u64,
    answer_places: u16,
    vector: Option<u16>,
    /// Where the driver is, as it told, and where we are, in the commands.
    tail: u16,
    fetched: u16,
    /// The same in the answers.
    head: u16,
    posted: u16,
    phase: u32,
    in_hand: Vec<Taken>,
}

const ENABLE: u32 = Configuration::ENABLE.bits();

impl Model {
    /// A controller that an earlier boot stage left running.
    pub fn new(settings: Settings) -> Self {
        Self::with_memory(settings, Memory::default())
    }

    /// The same, and it reaches `memory`.
    pub fn with_memory(settings: Settings, memory: Memory) -> Self {
        Self(Rc::new(RefCell::new(State {
            settings,
            now_us: 0,
            memory,
            configuration: ENABLE | 6 << 16 | 4 << 20,
            ready: true,
            changes_at: None,
            fatal: false,
            gone: false,
            warning: 0,
            starts: 0,
            admin: [0; 5],
            queues: BTreeMap::new(),
            halves: BTreeMap::new(),
            media: BTreeMap::new(),
            messages: 0,
            heads_told: 0,
            is_deaf: false,
        })))
    }

    /// Brings it up with the driver.
    pub fn bring_up(&self, namespaces_max: usize) -> Vec<Result<Disk<Window>, Error>> {
        crate::bring_up(&mut self.clone(), namespaces_max)
    }

    /// Time that passes.
    pub fn elapse(&self, us: u64) {
        self.with(|state| state.now_us += us);
    }

    /// The time is what somebody else says it is.
    pub fn set_now_us(&self, now_us: u64) {
        self.with(|state| state.now_us = now_us);
    }

    /// Frames in memory that the controller may reach, the first one `offset`
    /// bytes behind the start of a page.
    pub fn frames(&self, count: usize, offset: usize) -> Vec<Frame> {
        let memory = self.with(|state| {
            state
                .memory
                .hand_out(count * SLOT_BYTES, PAGE_BYTES, offset)
        });
        io::carve(memory).collect()
    }

    /// Says that it can not go on.
    pub fn fail(&self) {
        self.with(|state| state.fatal = true);
    }

    /// Its namespace number `number` has `sectors` sectors of two to the `exponent` bytes.
    pub fn resize(&self, number: u32, sectors: u64, exponent: u8) {
        self.with(|state| {
            let mut all = state.settings.namespaces.iter_mut();
            let one = all.find(|one| one.number == number).expect("it has that");
            (one.sectors, one.exponent) = (sectors, exponent);
        });
    }

    /// Its health log has this critical warning.
    pub fn warn(&self, warning: u8) {
        self.with(|state| state.warning = warning);
    }

    /// What it does wrong from now on.
    pub fn plant(&self, quirks: Quirks) {
        self.with(|state| state.settings.quirks = quirks);
    }

    /// How often it was started.
    pub fn starts(&self) -> u32 {
        self.with(|state| state.starts)
    }

    /// Is pulled out.
    pub fn vanish(&self) {
        self.with(|state| state.gone = true);
    }

    /// From now on it does not stop when told so, or it does again.
    pub fn set_never_stops(&self, never_stops: bool) {
        self.with(|state| {
            state.settings.quirks.never_stops = never_stops;
            if !never_stops && state.configuration & ENABLE == 0 {
                state.changes_at = Some(state.now_us);
            }
        });
    }

    /// Whether it was told to run.
    pub fn is_enabled(&self) -> bool {
        self.with(|state| state.configuration & ENABLE != 0)
    }

    /// Messages that reached the node.
    pub fn messages(&self) -> u64 {
        self.with(|state| state.messages)
    }

    /// How often it was told where the driver is in the answers, I/O only.
    pub fn heads_told(&self) -> u64 {
        self.with(|state| state.heads_told)
    }

    /// A sector of its medium.
    pub fn sector(&self, namespace: u32, lba: u64) -> Option<[u8; SECTOR_BYTES]> {
        self.with(|state| state.media.get(&(namespace, lba)).copied())
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let state = &mut *self.0.borrow_mut();
        state.catch_up();
        look(state)
    }
}

impl Surroundings for Model {
    type Registers = Window;

    fn registers(&mut self, bytes: usize) -> Result<Window, Error> {
        Ok(Window {
            model: self.clone(),
            bytes,
        })
    }

    fn now(&self) -> Instant {
        self.with(|state| {
            state.now_us += CLOCK_US;
            Instant(state.now_us)
        })
    }

    fn dma(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]> {
        Some(self.with(|state| state.memory.hand_out(bytes, align, 0)))
    }

    fn frames(&self) -> usize {
        self.with(|state| state.settings.frames)
    }

    fn place(&self) -> pci::Address {
        pci::Address {
            bus: 0,
            device: 4,
            function: 0,
        }
    }

    fn vector(&self, queue: u16) -> Option<u16> {
        self.with(|state| state.settings.has_interrupt.then_some(queue))
    }
}

impl Registers for Window {
    fn read(&self, offset: usize) -> u32 {
        assert!(
            offset + 4 <= self.bytes,
            "register {offset:#x} is not mapped"
        );
        self.model.with(|state| state.read(offset))
    }

    fn write(&self, offset: usize, value: u32) {
        assert!(
            offset + 4 <= self.bytes,
            "register {offset:#x} is not mapped"
        );
        self.model.with(|state| {
            if !state.gone {
                state.write(offset, value);
            }
        });
    }
}

impl State {
    /// Becomes ready, or stops being it, when it is time.
    fn catch_up(&mut self) {
        if self.changes_at.is_some_and(|at| self.now_us >= at) {
            self.changes_at = None;
            self.ready = self.configuration & ENABLE != 0;
        }
    }

    fn pair(&mut self, queue: u16) -> &mut Pair {
        self.queues
            .get_mut(&queue)
            .unwrap_or_else(|| panic!("there is no queue {queue}"))
    }

    fn read(&self, offset: usize) -> u32 {
        if self.gone {
            return GONE;
        }
        let settings = &self.settings;
        match offset {
            CAPABILITIES => (settings.queue_entries - 1) | 1 << 16 | 1 << 24,
            4 => {
                let sets = if settings.quirks.admin_only {
                    1 << 7
                } else {
                    1
                };
                u32::from(settings.stride_exponent)
                    | sets << 5
                    | u32::from(settings.page_exponent) << 16
                    | 0xf << 20
            }
            VERSION => settings.version,
            CONFIGURATION => self.configuration,
            STATUS => {
                let mut status = ControllerStatus::empty();
                status.set(ControllerStatus::READY, self.ready);
                status.set(ControllerStatus::FATAL, self.fatal);
                status.bits()
            }
            _ => panic!("register {offset:#x} is read"),
        }
    }

    fn write(&mut self, offset: usize, value: u32) {
        match offset {
            CONFIGURATION => self.configure(value),
            ADMIN_SIZES..=0x34 => {
                assert!(
                    self.configuration & ENABLE == 0 && !self.ready,
                    "the admin queue is moved while the controller runs"
                );
                self.admin[(offset - ADMIN_SIZES) / 4] = value;
            }
            0x1000.. => self.doorbell(offset - 0x1000, value),
            _ => panic!("register {offset:#x} is written"),
        }
    }

    fn configure(&mut self, value: u32) {
        let (was_on, is_on) = (self.configuration & ENABLE, value & ENABLE);
        if was_on != 0 {
            let changed = (self.configuration ^ value) & !ENABLE;
            assert_eq!(changed, 0, "a choice changes while the controller runs");
        }
        self.configuration = value;
        if is_on == was_on {
            return;
        }
        // Both ways the queues are none; what was in hand is forgotten.
        self.queues.clear();
        self.halves.clear();
        let quirks = self.settings.quirks;
        if is_on == 0 {
            self.fatal = false;
            self.changes_at = (!quirks.never_stops).then_some(self.now_us + READY_US);
            return;
        }
        assert!(!self.ready, "started before it has stopped");
        assert_eq!(value, ENABLE | 6 << 16 | 4 << 20, "an odd configuration");
        let [sizes, commands, commands_high, answers, answers_high] = self.admin;
        let address = |low: u32, high: u32| {
            assert_eq!(low & 0xfff, 0, "a ring is aligned to a page");
            u64::from(low) | u64::from(high) << 32
        };
        let pair = Pair::new(
            address(commands, commands_high),
            (sizes & 0xfff) as u16 + 1,
            (
                (sizes >> 16 & 0xfff) as u16 + 1,
                address(answers, answers_high),
                None,
            ),
        );
        self.queues.insert(0, pair);
        self.starts += 1;
        self.fatal = quirks.fails_at_start;
        let starts = !quirks.never_starts && !quirks.fails_at_start;
        self.changes_at = starts.then_some(self.now_us + READY_US);
    }

    fn doorbell(&mut self, offset: usize, value: u32) {
        // A disk may not know yet that another one stopped the controller.
        if self.configuration & ENABLE == 0 {
            return;
        }
        assert!(self.ready, "a doorbell before the controller is ready");
        let stride = 4 << self.settings.stride_exponent;
        let queue = (offset / stride / 2) as u16;
        let doorbells = Doorbells::of(queue, stride);
        let is_deaf = self.is_deaf && queue != 0;
        let pair = self.pair(queue);
        if offset + 0x1000 == doorbells.submission {
            if is_deaf {
                return;
            }
            pair.tell_tail(value);
            if queue == 0 {
                while self.take(0) {
                    let taken = self.pair(0).in_hand.remove(0);
                    self.administer(&taken);
                }
            }
        } else {
            assert_eq!(offset + 0x1000, doorbells.completion, "no doorbell there");
            pair.tell_head(value);
            self.heads_told += u64::from(queue != 0);
        }
    }

    /// Takes the next command of a queue; false if there is none.
    fn take(&mut self, queue: u16) -> bool {
        let pair = self.pair(queue);
        if pair.fetched == pair.tail {
            return false;
        }
        let at = pair.commands + u64::from(pair.fetched) * COMMAND_BYTES as u64;
        pair.fetched = (pair.fetched + 1) % pair.places;
        let mut bytes = [0; COMMAND_BYTES];
        self.memory.read(at, &mut bytes);
        let taken = Taken::read(&bytes);
        if queue != 0 {
            self.check(&taken);
        }
        let in_hand = &mut self.pair(queue).in_hand;
        let is_new = in_hand.iter().all(|other| other.id != taken.id);
        assert!(is_new, "two commands under number {:#x}", taken.id);
        in_hand.push(taken);
        true
    }

    /// Answers a command.
    fn post(&mut self, queue: u16, id: u16, status: Status, result: u32) {
        let pair = self.pair(queue);
        let at = pair.answers + u64::from(pair.posted) * ANSWER_BYTES as u64;
        let (fetched, phase, vector) = (pair.fetched, pair.phase, pair.vector);
        pair.posted += 1;
        if pair.posted == pair.answer_places {
            pair.posted = 0;
            pair.phase ^= 1;
        }
        assert_ne!(pair.posted, pair.head, "the ring of answers is full");
        let last = u32::from(id) | phase << 16 | u32::from(status.0) << 17;
        self.memory.write(at, &result.to_le_bytes());
        let middle = u32::from(fetched) | u32::from(queue) << 16;
        self.memory.write(at + 8, &middle.to_le_bytes());
        self.memory.release(at + 12, last);
        self.messages += u64::from(vector.is_some());
    }

    fn administer(&mut self, taken: &Taken) {
        let quirks = self.settings.quirks;
        if quirks.silent == Some(taken.opcode) {
            return;
        }
        let (status, result) = if quirks.refuses == Some(taken.opcode) {
            (Status::INVALID_OPCODE, 0)
        } else {
            match taken.opcode {
                Opcode::IDENTIFY => (self.identify(taken), 0),
                Opcode::SET_FEATURES => {
                    assert_eq!(taken.arguments[0], 7, "the number of queues");
                    assert!(self.halves.is_empty(), "before there are queues");
                    let granted = self.settings.queues - 1;
                    (Status::SUCCESS, granted << 16 | granted)
                }
                Opcode::GET_LOG_PAGE => (self.log(taken), 0),
                Opcode::ABORT => (Status::SUCCESS, self.abort(taken)),
                Opcode::CREATE_COMPLETION => (self.create_completion(taken), 0),
                Opcode::CREATE_SUBMISSION => (self.create_submission(taken), 0),
                other => panic!("admin command {:#x}", other.0),
            }
        };
        let id = taken.id ^ u16::from(quirks.wrong_numbers);
        self.post(0, id, status, result);
    }

    /// The log of its health, 512 bytes.
    fn log(&mut self, taken: &Taken) -> Status {
        assert_eq!(taken.namespace, u32::MAX, "the log is the controller's");
        assert_eq!(
            taken.arguments[0],
            127 << 16 | 2,
            "512 bytes of the health log"
        );
        assert_eq!(taken.arguments[1..], [0; 5]);
        let mut log = [0; 512];
        log[0] = self.warning;
        self.memory.write(taken.data[0], &log);
        Status::SUCCESS
    }

    /// Gives a command up if it can; 1 if not.
    fn abort(&mut self, taken: &Taken) -> u32 {
        let [queue, id] = [taken.arguments[0] as u16, (taken.arguments[0] >> 16) as u16];
        assert!(queue != 0, "admin commands are not aborted");
        // What it was not told to fetch yet it would have to look for.
        let never = self.settings.quirks.never_aborts;
        let in_hand = &mut self.pair(queue).in_hand;
        match in_hand.iter().position(|command| command.id == id) {
            Some(index) if !never => {
                in_hand.remove(index);
                self.post(queue, id, Status::ABORTED, 0);
                0
            }
            _ => 1,
        }
    }

    fn places(&self, taken: &Taken) -> (u16, u16) {
        let [number, places] = [taken.arguments[0] & 0xffff, (taken.arguments[0] >> 16) + 1];
        assert!(
            (2..=self.settings.queue_entries).contains(&places),
            "a ring of {places} places"
        );
        assert!(
            (1..=self.settings.queues).contains(&number),
            "queue {number}"
        );
        assert_eq!(taken.data[0] % PAGE_BYTES as u64, 0, "a ring is aligned");
        (number as u16, places as u16)
    }

    fn create_completion(&mut self, taken: &Taken) -> Status {
        let (number, places) = self.places(taken);
        let [_, how, ..] = taken.arguments;
        assert_eq!(how & 1, 1, "a ring lies in one piece");
        let vector = (how & 2 != 0).then_some((how >> 16) as u16);
        let half = (places, taken.data[0], vector);
        assert!(self.halves.insert(number, half).is_none(), "created twice");
        Status::SUCCESS
    }

    fn create_submission(&mut self, taken: &Taken) -> Status {
        let (number, places) = self.places(taken);
        let [_, how, ..] = taken.arguments;
        assert_eq!(how & 0xffff, 1, "a ring lies in one piece");
        let half = self.halves[&((how >> 16) as u16)];
        let pair = Pair::new(taken.data[0], places, half);
        assert!(self.queues.insert(number, pair).is_none(), "created twice");
        Status::SUCCESS
    }

    fn identify(&mut self, taken: &Taken) -> Status {
        let settings = &self.settings;
        let mut page = [0; PAGE_BYTES];
        let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
        match taken.arguments[0] {
            kind::CONTROLLER => {
                put(4, format!("{:20}", settings.serial).as_bytes());
                put(24, b"Model of a controller                   ");
                put(64, b"FW 1.0  ");
                put(77, &[settings.transfer_exponent]);
                let last = settings.namespaces.iter().map(|namespace| namespace.number);
                put(516, &last.max().unwrap_or(0).to_le_bytes());
                put(520, &[u8::from(settings.discards) << 2]);
                put(525, &[u8::from(settings.write_cache)]);
            }
            kind::ACTIVE_NAMESPACES if settings.version >= 0x0001_0100 => {
                for (index, namespace) in settings.namespaces.iter().enumerate() {
                    put(index * 4, &namespace.number.to_le_bytes());
                }
            }
            kind::COMMAND_LIMITS if settings.version >= 0x0002_0000 => {
                put(4, &settings.discard_sectors_max.to_le_bytes());
            }
            kind::NAMESPACE => {
                let mut all = settings.namespaces.iter();
                if let Some(namespace) = all.find(|one| one.number == taken.namespace) {
                    put(0, &namespace.sectors.to_le_bytes());
                    put(128, &[namespace.metadata, 0, namespace.exponent]);
                }
            }
            _ => return Status::INVALID_FIELD,
        }
        assert_eq!(taken.data[0] % PAGE_BYTES as u64, 0, "a page is aligned");
        self.memory.write(taken.data[0], &page);
        Status::SUCCESS
    }
}

impl Pair {
    fn new(commands: u64, places: u16, half: (u16, u64, Option<u16>)) -> Self {
        let (answer_places, answers, vector) = half;
        Self {
            commands,
            places,
            answers,
            answer_places,
            vector,
            tail: 0,
            fetched: 0,
            head: 0,
            posted: 0,
            phase: 1,
            in_hand: Vec::new(),
        }
    }

    fn tell_tail(&mut self, value: u32) {
        assert!(value < self.places.into(), "a tail of {value}");
        let value = value as u16;
        assert_ne!(value, self.tail, "a doorbell without news");
        let way = |from: u16, to: u16| (to + self.places - from) % self.places;
        // The tail may not pass what was not fetched yet.
        let before = way(self.fetched, self.tail);
        let news = way(self.tail, value);
        assert!(
            before + news < self.places,
            "the ring of commands overflows"
        );
        self.tail = value;
    }

    fn tell_head(&mut self, value: u32) {
        assert!(value < self.answer_places.into(), "a head of {value}");
        let value = value as u16;
        assert_ne!(value, self.head, "a doorbell without news");
        let places = self.answer_places;
        let way = |from: u16, to: u16| (to + places - from) % places;
        assert!(
            way(self.head, value) <= way(self.head, self.posted),
            "answers are told back that were not given"
        );
        self.head = value;
    }
}
