//! A controller and its drives, as the driver sees them, for tests.
//!
//! Stricter than hardware, never kinder. It panics with a sentence at every
//! step that the specification forbids or leaves open: a list that is started
//! before FISes are received or while it still runs, memory named while in use,
//! a COMRESET that is too short, a slot used twice, queued and unqueued commands
//! at once, a drive that is told more after a queued error without a reset, a
//! command table with anything in it that does not belong there, and any access
//! to memory that was not handed out.
//!
//! It ends queued commands in any order, moves data only when a command ends,
//! and writes received FISes before the registers change. What is planted:
//! - in a drive: see [`DriveModel`].
//! - [`Model::unplug`], [`Model::plug`]: plugs are pulled while commands run.
//! - [`Quirks::noise`]: interrupts without a cause and FISes of garbage, because
//!   neither may be believed.
//! - [`Quirks::quiet_queue_errors`]: a failed queued command is told by a FIS
//!   that the next one's overwrites, as QEMU up to 8.0 does.
//! - [`Quirks::stuck`]: a list that does not stop until its drive is reset.
//! - [`Quirks::forgetful`]: commands outlive the stop of the list, as in QEMU up
//!   to 8.0; started again, the controller runs what lies in their slots.
//!
//! With [`Settings::by_hand`] reads, writes, flushes and discards end when somebody says
//! so ([`Model::end`]), who is then what lies behind the drive.
//!
//! Time is the model's own: it passes with every register access and every look
//! at the clock, and by [`Model::elapse`].

mod commands;
mod drive;
mod hand;
mod host;
mod port;

pub use drive::{DriveModel, Refusal, Sector};
pub use hand::Asked;

use self::port::PortState;
use crate::error::Error;
use crate::hba::Surroundings;
use crate::registers::{
    Command, Control, Handoff, LinkError, PORT_BYTES, PORTS_AT, Registers, TaskFile,
};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use io::{Clock, Frame, Instant, SLOT_BYTES};
use pci::shared::device::Memory;

/// What the controller is like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many ports it has.
    pub ports: u8,
    /// Commands in a list.
    pub slots: u8,
    /// Whether it queues.
    pub ncq: bool,
    /// Whether drives wait to be told to spin up.
    pub staggered: bool,
    /// How long the firmware holds on to it after being asked.
    pub firmware_us: Option<u64>,
    /// Whether interrupts reach the node.
    pub has_interrupt: bool,
    /// What it does beside the specification.
    pub quirks: Quirks,
    /// Commands for sectors end when somebody says so.
    pub by_hand: bool,
    /// Where the random numbers start.
    pub seed: u64,
    /// Time that a look at the clock takes.
    pub clock_us: u64,
}

/// See the module's header.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quirks {
    /// Interrupts and FISes without a cause.
    pub noise: bool,
    /// Queued errors are told once and softly.
    pub quiet_queue_errors: bool,
    /// The list stops only when the drive is reset.
    pub stuck: bool,
    /// Commands outlive the stop.
    pub forgetful: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ports: 2,
            slots: 32,
            ncq: true,
            staggered: false,
            firmware_us: None,
            has_interrupt: true,
            quirks: Quirks::default(),
            by_hand: false,
            seed: 1,
            clock_us: 3,
        }
    }
}

/// The handle to a controller: its registers, its clock, its memory.
#[derive(Clone)]
pub struct Model(Rc<RefCell<State>>);

struct State {
    settings: Settings,
    now_us: u64,
    random: u64,
    memory: Memory,
    control: u32,
    interrupts: u32,
    handoff: u32,
    asked_at: Option<u64>,
    reset_until: Option<u64>,
    ports: Vec<PortState>,
    messages: u64,
    register_reads: u64,
    most_spinning_up: usize,
    /// The number of the next command.
    next: u32,
    /// It hears nobody issue a command.
    is_deaf: bool,
}

const START: u32 = Command::START.bits();
const RUNNING: u32 = Command::LIST_RUNNING.bits();
const RECEIVE: u32 = Command::RECEIVE.bits();
const RECEIVING: u32 = Command::RECEIVE_RUNNING.bits();
const SPIN_UP: u32 = Command::SPIN_UP.bits();
const BUSY: u32 = TaskFile::BUSY.bits();
const DATA_REQUEST: u32 = TaskFile::DATA_REQUEST.bits();
/// What a port without a ready drive shows.
const NOBODY: u32 = 0x7f;

impl Model {
    /// A controller without drives.
    pub fn new(settings: Settings) -> Self {
        Self::with_memory(settings, Memory::default())
    }

    /// The same, and it reaches `memory`.
    pub fn with_memory(settings: Settings, memory: Memory) -> Self {
        let ports = (0..settings.ports)
            .map(|number| PortState {
                number,
                task_file: NOBODY,
                signature: u32::MAX,
                command: if settings.staggered { 0 } else { SPIN_UP },
                ..PortState::default()
            })
            .collect();
        Self(Rc::new(RefCell::new(State {
            settings,
            now_us: 0,
            random: settings.seed | 1,
            memory,
            control: 0,
            interrupts: 0,
            handoff: settings.firmware_us.map_or(0, |_| 1),
            asked_at: None,
            reset_until: None,
            ports,
            messages: 0,
            register_reads: 0,
            most_spinning_up: 0,
            next: 0,
            is_deaf: false,
        })))
    }

    /// Puts a drive into an empty port.
    pub fn plug(&self, port: u8, drive: DriveModel) {
        self.with(|state| {
            let now_us = state.now_us;
            let port = &mut state.ports[usize::from(port)];
            assert!(port.drive.is_none(), "port {} is empty", port.number);
            port.drive = Some(drive);
            port.rise(now_us);
        });
    }

    /// Pulls the drive out of a port. Its cache is not lost by that alone.
    pub fn unplug(&self, port: u8) -> DriveModel {
        self.with(|state| {
            let port = &mut state.ports[usize::from(port)];
            port.fall();
            port.link_error |= LinkError::PHY_CHANGE.bits();
            port.drive.take().expect("a drive is in the port")
        })
    }

    /// Looks at a drive, or changes it.
    pub fn drive<T>(&self, port: u8, look: impl FnOnce(&mut DriveModel) -> T) -> T {
        self.with(|state| {
            let drive = state.ports[usize::from(port)].drive.as_mut();
            look(drive.expect("a drive is in the port"))
        })
    }

    /// Time that passes without anybody looking.
    pub fn elapse(&self, us: u64) {
        // In steps, so that what follows from something has its time.
        for _ in 0..4 {
            self.with(|state| state.now_us += us.div_ceil(4));
        }
    }

    /// Frames in memory that the controller may reach.
    pub fn frames(&self, count: usize) -> Vec<Frame> {
        let memory = self.with(|state| state.memory.hand_out(count * SLOT_BYTES, 512, 0));
        io::carve(memory).collect()
    }

    /// Interrupts that reached the node.
    pub fn messages(&self) -> u64 {
        self.with(|state| state.messages)
    }

    /// Registers read so far.
    pub fn register_reads(&self) -> u64 {
        self.with(|state| state.register_reads)
    }

    /// Most drives that were getting ready at one moment.
    pub fn most_spinning_up(&self) -> usize {
        self.with(|state| state.most_spinning_up)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.borrow_mut();
        let result = act(&mut state);
        state.step();
        result
    }
}

impl Clock for Model {
    fn now(&self) -> Instant {
        self.with(|state| {
            state.now_us += state.settings.clock_us;
            Instant(state.now_us)
        })
    }
}

impl Registers for Model {
    fn read(&self, offset: usize) -> u32 {
        self.with(|state| {
            state.now_us += 1;
            state.register_reads += 1;
            state.read(offset)
        })
    }

    fn write(&self, offset: usize, value: u32) {
        self.with(|state| {
            state.now_us += 1;
            state.write(offset, value);
        });
    }

    fn bytes(&self) -> usize {
        self.with(|state| PORTS_AT + state.ports.len() * PORT_BYTES)
    }
}

impl Surroundings for Model {
    type Registers = Self;

    fn registers(&mut self) -> Result<Self, Error> {
        Ok(self.clone())
    }

    fn dma(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]> {
        Some(self.with(|state| state.memory.hand_out(bytes, align, 0)))
    }

    fn frames(&self) -> usize {
        io::FRAMES_MAX
    }

    fn place(&self) -> pci::Address {
        pci::Address {
            bus: 0,
            device: 0x1f,
            function: 2,
        }
    }

    fn has_interrupt(&self) -> bool {
        self.with(|state| state.settings.has_interrupt)
    }
}

impl State {
    /// A random number below `end`.
    fn random(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end
    }

    /// Everything that is due.
    fn step(&mut self) {
        let now_us = self.now_us;
        if let (Some(asked), Some(firmware_us)) = (self.asked_at, self.settings.firmware_us)
            && now_us >= asked + firmware_us
        {
            self.handoff &= !Handoff::FIRMWARE_OWNS.bits();
        }
        if self.reset_until.is_some_and(|until| now_us >= until) {
            self.reset_until = None;
            self.come_out_of_reset();
        }
        for index in 0..self.ports.len() {
            self.step_port(index);
        }
        let spinning_up = |port: &&PortState| port.ready_at.is_some();
        let spinning_up = self.ports.iter().filter(spinning_up).count();
        self.most_spinning_up = self.most_spinning_up.max(spinning_up);
        self.raise();
    }

    fn step_port(&mut self, index: usize) {
        let now_us = self.now_us;
        let port = &mut self.ports[index];
        if port.stops_at.is_some_and(|at| now_us >= at) {
            port.stops_at = None;
            port.command &= !RUNNING;
            port.commands.clear();
        }
        if port.link_at.is_some_and(|at| now_us >= at) {
            port.link_at = None;
            port.detection = 3;
            port.task_file = BUSY | 0x7f;
            port.link_error |= LinkError::PHY_CHANGE.bits() | LinkError::EXCHANGED.bits();
            let spin_up_us = port.drive.as_ref().map_or(0, |drive| drive.spin_up_us);
            port.ready_at = Some(now_us + spin_up_us);
        }
        // The drive's first FIS waits until it may be received.
        let may_receive =
            port.command & RECEIVE != 0 && port.link_error & LinkError::EXCHANGED.bits() == 0;
        if may_receive && port.ready_at.is_some_and(|at| now_us >= at) {
            port.ready_at = None;
            port.signature = port.drive.as_ref().map_or(u32::MAX, |drive| drive.kind);
            // With the fault bit, as QEMU's drives have it after a reset.
            port.task_file = 0x0170;
            self.post_register_fis(index, 0x70, 1, true);
        }
        if self.settings.quirks.noise && self.random(40) == 0 {
            self.make_noise(index);
        }
        // One at a time and not in order.
        let port = &self.ports[index];
        if port.halted || port.command & START == 0 {
            return;
        }
        let due: Vec<usize> = (0..port.commands.len())
            .filter(|&at| port.commands[at].due <= now_us)
            .collect();
        if !due.is_empty() {
            let pick = due[self.random(due.len() as u64) as usize];
            let issued = self.ports[index].commands.remove(pick);
            self.finish(index, issued);
        }
    }

    /// Ports interrupt; a message goes out when a port's bit rises.
    fn raise(&mut self) {
        for port in &self.ports {
            let bit = 1 << port.number;
            if port.all_interrupts() & port.enabled != 0 && self.interrupts & bit == 0 {
                self.interrupts |= bit;
                if self.control & Control::INTERRUPTS.bits() != 0 {
                    self.messages += 1;
                }
            }
        }
    }
}
