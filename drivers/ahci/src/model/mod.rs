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
//! Time is the model's own: it passes with every register access and every look
//! at the clock, and by [`Model::elapse`].

mod drive;
mod port;

pub use drive::{DriveModel, Refusal, Sector};

use self::port::{Issued, PortState};
use crate::command::AtaCommand;
use crate::error::Error;
use crate::hba::Surroundings;
use crate::registers::{
    Capabilities, Command, Control, Handoff, Interrupts, LinkError, PORT_BYTES, PORTS_AT,
    Registers, TaskFile, hba, port as register,
};
use crate::table::device::Memory;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use io::{Clock, Frame, Instant, SLOT_BYTES};

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
            memory: Memory::default(),
            control: 0,
            interrupts: 0,
            handoff: settings.firmware_us.map_or(0, |_| 1),
            asked_at: None,
            reset_until: None,
            ports,
            messages: 0,
            register_reads: 0,
            most_spinning_up: 0,
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
        let memory = self.with(|state| state.memory.hand_out(count * SLOT_BYTES, 512));
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
        Some(self.with(|state| state.memory.hand_out(bytes, align)))
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

    fn read(&mut self, offset: usize) -> u32 {
        if offset >= PORTS_AT {
            let index = (offset - PORTS_AT) / PORT_BYTES;
            return self.ports[index].read((offset - PORTS_AT) % PORT_BYTES);
        }
        let settings = &self.settings;
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        match offset {
            _ if offset == hba::CAPABILITIES.offset() => {
                u32::from(settings.ports - 1)
                    | u32::from(settings.slots - 1) << 8
                    | flag(settings.ncq, Capabilities::NCQ)
                    | flag(settings.staggered, Capabilities::STAGGERED_SPIN_UP)
                    | Capabilities::WIDE_ADDRESSES
            }
            _ if offset == hba::CONTROL.offset() => self.control,
            _ if offset == hba::INTERRUPTS.offset() => self.interrupts,
            _ if offset == hba::PORTS.offset() => ((1u64 << self.ports.len()) - 1) as u32,
            _ if offset == hba::CAPABILITIES_MORE.offset() => settings.firmware_us.is_some().into(),
            _ if offset == hba::HANDOFF.offset() => self.handoff,
            _ => panic!("the driver read {offset:#x}, which it has no use for"),
        }
    }

    fn write(&mut self, offset: usize, value: u32) {
        if offset == hba::CONTROL.offset() {
            self.write_control(value);
            return;
        }
        assert!(
            self.control & Control::AHCI.bits() != 0,
            "{offset:#x} was written while AHCI is off (3.1.2)"
        );
        assert!(
            self.reset_until.is_none(),
            "{offset:#x} was written during a reset"
        );
        if offset >= PORTS_AT {
            let index = (offset - PORTS_AT) / PORT_BYTES;
            self.write_port(index, (offset - PORTS_AT) % PORT_BYTES, value);
        } else if offset == hba::INTERRUPTS.offset() {
            self.interrupts &= !value;
        } else if offset == hba::HANDOFF.offset() {
            assert!(self.settings.firmware_us.is_some());
            if value & Handoff::WE_OWN.bits() != 0 {
                self.handoff |= Handoff::WE_OWN.bits();
                self.asked_at.get_or_insert(self.now_us);
            }
        } else {
            panic!("the driver wrote {offset:#x}, which it has no use for");
        }
    }

    fn write_control(&mut self, value: u32) {
        let reset = Control::RESET.bits();
        if value & reset != 0 {
            let firmware_owns = self.handoff & Handoff::FIRMWARE_OWNS.bits() != 0;
            let waited_us = self.asked_at.map_or(0, |asked| self.now_us - asked);
            assert!(
                !firmware_owns || waited_us >= 25_000,
                "the controller was reset under the firmware (10.6.3)"
            );
            self.reset_until = Some(self.now_us + 120);
            self.control = reset;
            self.interrupts = 0;
        } else if self.reset_until.is_none() {
            self.control = value;
        }
    }

    /// What a reset leaves.
    fn come_out_of_reset(&mut self) {
        self.control = 0;
        let (now_us, staggered) = (self.now_us, self.settings.staggered);
        for port in &mut self.ports {
            let drive = port.drive.take();
            *port = PortState {
                number: port.number,
                task_file: NOBODY,
                signature: u32::MAX,
                command: if staggered { 0 } else { SPIN_UP },
                drive,
                ..PortState::default()
            };
            port.rise(now_us);
        }
    }

    fn write_port(&mut self, index: usize, offset: usize, value: u32) {
        let low = u64::from(value);
        let now_us = self.now_us;
        let port = &mut self.ports[index];
        let number = port.number;
        let list_idle = port.command & (START | RUNNING) == 0;
        let receive_idle = port.command & (RECEIVE | RECEIVING) == 0;
        if offset == register::COMMAND_LIST.offset() {
            assert!(list_idle, "port {number}: the list moved while it ran");
            assert!(
                value.is_multiple_of(1024),
                "port {number}: list at {value:#x}"
            );
            port.list = port.list >> 32 << 32 | low;
        } else if offset == register::COMMAND_LIST_HIGH.offset() {
            assert!(list_idle, "port {number}: the list moved while it ran");
            port.list = low << 32 | port.list as u32 as u64;
        } else if offset == register::RECEIVED_FIS.offset() {
            assert!(receive_idle, "port {number}: FISes moved while received");
            assert!(
                value.is_multiple_of(256),
                "port {number}: FISes at {value:#x}"
            );
            port.received = port.received >> 32 << 32 | low;
        } else if offset == register::RECEIVED_FIS_HIGH.offset() {
            assert!(receive_idle, "port {number}: FISes moved while received");
            port.received = low << 32 | port.received as u32 as u64;
        } else if offset == register::INTERRUPTS.offset() {
            port.interrupts &= !value;
        } else if offset == register::INTERRUPTS_ENABLED.offset() {
            port.enabled = value;
        } else if offset == register::COMMAND.offset() {
            self.write_command(index, value);
        } else if offset == register::LINK_CONTROL.offset() {
            port.write_link_control(value, now_us);
        } else if offset == register::LINK_ERROR.offset() {
            port.link_error &= !value;
        } else if offset == register::QUEUED.offset() {
            assert!(
                port.command & (START | RUNNING) == START | RUNNING,
                "port {number}: queued bits on a list that does not run"
            );
            assert_eq!(
                port.queued & value,
                0,
                "port {number}: a tag was used twice"
            );
            port.queued |= value;
        } else if offset == register::ISSUED.offset() {
            self.issue(index, value);
        } else {
            panic!("the driver wrote {offset:#x} of a port, which it has no use for");
        }
    }

    fn write_command(&mut self, index: usize, value: u32) {
        let staggered = self.settings.staggered;
        let (stop_us, forgetful, stuck) = (
            5 + self.random(60),
            self.settings.quirks.forgetful,
            self.settings.quirks.stuck,
        );
        let now_us = self.now_us;
        let port = &mut self.ports[index];
        let number = port.number;
        let (before, rises) = (port.command, value & !port.command);
        if rises & RECEIVE != 0 {
            assert!(
                self.memory.has(port.received, 256),
                "port {number}: FISes are received nowhere"
            );
            port.command |= RECEIVE | RECEIVING;
        }
        assert!(
            before & RECEIVE == 0 || value & RECEIVE != 0,
            "port {number}: this driver never stops receiving"
        );
        if rises & START != 0 {
            assert!(
                before & RECEIVE != 0,
                "port {number}: started before it receives (10.3.1)"
            );
            assert!(
                before & RUNNING == 0,
                "port {number}: started while it runs (10.3.1)"
            );
            assert!(
                port.detection == 3 && port.task_file & (BUSY | DATA_REQUEST) == 0,
                "port {number}: started without a ready drive (10.3.1)"
            );
            assert!(
                self.memory.has(port.list, 1024),
                "port {number}: the list is nowhere"
            );
            port.command |= START | RUNNING;
            port.halted = false;
            port.stops_at = None;
        }
        if before & !value & START != 0 {
            port.command &= !START;
            if !port.commands.is_empty() {
                port.needs_reset = true;
            }
            if !stuck {
                port.stops_at = Some(now_us + stop_us);
            }
            if !forgetful {
                port.issued = 0;
            }
            port.queued = 0;
            port.falling = 0;
        }
        if rises & SPIN_UP != 0 && staggered {
            port.command |= SPIN_UP;
            port.rise(now_us);
        }
        if rises & START != 0 && port.issued != 0 {
            let issued = core::mem::take(&mut port.issued);
            self.issue(index, issued);
        }
    }

    /// Fetches commands, as hardware may at once.
    fn issue(&mut self, index: usize, slots: u32) {
        let port = &mut self.ports[index];
        let number = port.number;
        assert!(
            port.command & (START | RUNNING) == START | RUNNING,
            "port {number}: commands for a list that does not run"
        );
        assert_eq!(
            port.issued & slots,
            0,
            "port {number}: a slot was used twice"
        );
        assert!(
            slots.leading_zeros() >= 32 - u32::from(self.settings.slots),
            "port {number}: it has only {} slots",
            self.settings.slots
        );
        port.issued |= slots;
        // Nobody can know yet that the list came to a halt; it takes no more.
        if port.halted {
            return;
        }
        for slot in (0..32).filter(|slot| slots & 1 << slot != 0) {
            self.fetch(index, slot);
        }
    }

    fn fetch(&mut self, index: usize, slot: u8) {
        let header: Vec<u32> = (0..8)
            .map(|word| {
                let at = self.ports[index].list + u64::from(slot) * 32 + word * 4;
                self.memory.read_u32(at)
            })
            .collect();
        let table = u64::from(header[2]) | u64::from(header[3]) << 32;
        assert!(table.is_multiple_of(128), "a table at {table:#x}");
        let mut fis = [0; 64];
        self.memory.read(table, &mut fis);
        if self.settings.quirks.forgetful && fis == [0; 64] {
            self.ports[index].issued &= !(1 << slot);
            return;
        }
        assert_eq!(header[0] & 0xffbf, 5, "options {:#x}", header[0]);
        assert_eq!(header[1], 0, "bytes moved before it began");
        assert!(header[4..].iter().all(|&word| word == 0));
        assert_eq!(fis[..2], [0x27, 0x80], "no command FIS");
        assert_eq!(fis[14..20], [0; 6], "reserved bytes of a FIS");
        let command = AtaCommand(fis[2]);
        let queued = matches!(command, AtaCommand::READ_QUEUED | AtaCommand::WRITE_QUEUED);
        let narrow = matches!(command, AtaCommand::READ_DMA | AtaCommand::WRITE_DMA);
        let lba_bytes = [fis[4], fis[5], fis[6], fis[8], fis[9], fis[10], 0, 0];
        let mut lba = u64::from_le_bytes(lba_bytes);
        if narrow {
            assert_eq!(fis[8..12], [0; 4], "28 bits of address");
            lba |= u64::from(fis[7] & 0xf) << 24;
            assert_eq!(fis[7] & 0xf0, 0x40, "device register");
        } else {
            assert_eq!(fis[7], 0x40, "device register");
        }
        let feature = u16::from_le_bytes([fis[3], fis[11]]);
        let count = u16::from_le_bytes([fis[12], fis[13]]);
        let sectors = match command {
            _ if queued => {
                assert_eq!(count, u16::from(slot) << 3, "the tag is the slot");
                feature
            }
            AtaCommand::FLUSH | AtaCommand::FLUSH_EXT => 0,
            AtaCommand::IDENTIFY => 1,
            _ => count,
        };
        let to_drive = matches!(
            command,
            AtaCommand::WRITE_QUEUED
                | AtaCommand::WRITE_DMA
                | AtaCommand::WRITE_DMA_EXT
                | AtaCommand::DATA_SET_MANAGEMENT
        );
        assert_eq!(header[0] >> 6 & 1, u32::from(to_drive), "direction");
        let bytes = usize::from(sectors) * 512;
        assert_eq!(header[0] >> 16, u32::from(bytes > 0), "regions");
        let data = (bytes > 0).then(|| {
            let region: Vec<u32> = (0..4)
                .map(|word| self.memory.read_u32(table + 0x80 + word * 4))
                .collect();
            let address = u64::from(region[0]) | u64::from(region[1]) << 32;
            assert!(address.is_multiple_of(2), "data at {address:#x}");
            assert_eq!(region[2], 0, "reserved word of a region");
            assert_eq!(region[3] as usize + 1, bytes, "bytes of a region");
            assert!(self.memory.has(address, bytes), "data at {address:#x}");
            (address, bytes)
        });
        let due = self.now_us + 20 + self.random(200);
        self.accept(
            index,
            Issued {
                slot,
                command,
                lba,
                data,
                to_drive,
                queued,
                due,
            },
        );
    }

    /// The command arrives at the drive.
    fn accept(&mut self, index: usize, mut issued: Issued) {
        let port = &mut self.ports[index];
        let (number, bit) = (port.number, 1 << issued.slot);
        assert_eq!(
            port.queued & bit != 0,
            issued.queued,
            "port {number}: the queued bit is for queued commands"
        );
        assert!(
            port.commands
                .iter()
                .all(|other| other.queued && issued.queued),
            "port {number}: queued and unqueued commands at once, or two unqueued"
        );
        assert!(
            !port.needs_reset,
            "port {number}: a command for a drive that has to be reset"
        );
        let Some(drive) = &mut port.drive else {
            return;
        };
        let sectors =
            issued.lba..issued.lba + issued.data.map_or(0, |(_, bytes)| bytes as u64 / 512);
        if issued.queued {
            assert!(
                self.settings.ncq && issued.slot < drive.queue_depth,
                "port {number}: tag {} of {}",
                issued.slot,
                drive.queue_depth
            );
            port.issued &= !bit;
            port.task_file = 0x40;
            if DriveModel::strikes(&mut drive.silent, sectors) {
                issued.due = u64::MAX;
            }
            port.commands.push(issued);
            self.post_register_fis(index, 0x40, 0, false);
        } else {
            // While it is busy, the other bits mean nothing, and here they lie.
            port.task_file = BUSY | 0xff7f;
            let silent = issued.command == AtaCommand::IDENTIFY && drive.mute
                || issued.command == AtaCommand::SMART && drive.smart_is_silent
                || DriveModel::strikes(&mut drive.silent, sectors);
            if silent {
                issued.due = u64::MAX;
            }
            port.commands.push(issued);
        }
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

    fn make_noise(&mut self, index: usize) {
        let garbage: Vec<u8> = (0..20).map(|_| self.random(256) as u8).collect();
        let which = self.random(3);
        let port = &mut self.ports[index];
        if port.command & RECEIVE == 0 {
            return;
        }
        match which {
            0 => self.memory.write(port.received + 0x40, &garbage),
            1 => self.memory.write(port.received + 0x58, &garbage[..8]),
            _ => {
                port.interrupts |= (Interrupts::DEVICE_BITS_FIS | Interrupts::REGISTER_FIS).bits();
            }
        }
    }

    /// A command ends, well or not.
    fn finish(&mut self, index: usize, issued: Issued) {
        let port = &mut self.ports[index];
        let drive = port.drive.as_mut().expect("a drive has the command");
        let bytes = issued.data.map_or(0, |(_, bytes)| bytes);
        let sectors = issued.lba..issued.lba + bytes as u64 / 512;
        if DriveModel::strikes(&mut drive.garbled, sectors) {
            port.interrupts |= Interrupts::INTERFACE_FATAL.bits();
            port.link_error |= 1 << 8;
            port.halted = true;
            port.needs_reset = true;
            return;
        }
        let mut data = vec![0; bytes];
        if let (Some((address, _)), true) = (issued.data, issued.to_drive) {
            self.memory.read(address, &mut data);
        }
        let result = if issued.queued && drive.queue_is_broken {
            Err(Refusal::ABORTED)
        } else {
            drive.run(issued.command, issued.lba, &mut data)
        };
        match (result, issued.queued) {
            (Ok(()), queued) => {
                if let (Some((address, _)), false) = (issued.data, issued.to_drive) {
                    self.memory.write(address, &data);
                }
                if queued {
                    self.finish_queued(index, 1 << issued.slot);
                } else {
                    self.ports[index].task_file = 0x50;
                    self.ports[index].issued &= !(1 << issued.slot);
                    self.post_register_fis(index, 0x50, 0, true);
                    self.tell_health(index, issued.command);
                }
            }
            (Err(refusal), false) => {
                let port = &mut self.ports[index];
                port.task_file = u32::from(refusal.error) << 8 | u32::from(refusal.status);
                port.interrupts |= Interrupts::TASK_FILE_ERROR.bits();
                port.halted = true;
                self.post_register_fis(index, refusal.status, refusal.error, true);
            }
            (Err(refusal), true) => self.fail_queued(index, issued.slot, refusal),
        }
    }

    /// SMART answers in the address of its register FIS.
    fn tell_health(&mut self, index: usize, command: AtaCommand) {
        let port = &self.ports[index];
        if command == AtaCommand::SMART
            && let Some(drive) = &port.drive
        {
            let fails = drive.smart == Some(true);
            let answer = if fails { [0xf4, 0x2c] } else { [0x4f, 0xc2] };
            self.memory.write(port.received + 0x45, &answer);
        }
    }

    fn finish_queued(&mut self, index: usize, bits: u32) {
        // The FIS is seen before the register falls.
        self.post_device_bits_fis(index, 0x40, 0, bits);
        let port = &mut self.ports[index];
        port.falling |= bits;
        if self.settings.quirks.quiet_queue_errors {
            port.task_file = 0x50;
        }
    }

    fn fail_queued(&mut self, index: usize, slot: u8, refusal: Refusal) {
        let quiet = self.settings.quirks.quiet_queue_errors;
        let port = &mut self.ports[index];
        port.task_file = u32::from(refusal.error) << 8 | 0x41;
        if quiet {
            port.link_error |= 1 << slot;
        } else {
            port.interrupts |= Interrupts::TASK_FILE_ERROR.bits();
            port.halted = true;
            port.needs_reset = true;
        }
        self.post_device_bits_fis(index, 0x41, refusal.error, 0);
    }

    fn post_register_fis(&mut self, index: usize, status: u8, error: u8, interrupt: bool) {
        let port = &mut self.ports[index];
        let mut fis = [0; 20];
        fis[..4].copy_from_slice(&[0x34, u8::from(interrupt) << 6, status, error]);
        self.memory.write(port.received + 0x40, &fis);
        if interrupt {
            port.interrupts |= Interrupts::REGISTER_FIS.bits();
        }
    }

    fn post_device_bits_fis(&mut self, index: usize, status: u8, error: u8, bits: u32) {
        let port = &mut self.ports[index];
        let mut fis = [0xa1, 1 << 6, status, error, 0, 0, 0, 0];
        fis[4..].copy_from_slice(&bits.to_le_bytes());
        self.memory.write(port.received + 0x58, &fis);
        port.interrupts |= Interrupts::DEVICE_BITS_FIS.bits();
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
