//! The controller as a whole: reset, started, asked, and its queues created.
//!
//! Everything here happens once, one command at a time, and each wait has its
//! end. A controller that fails at it gives no disk; a namespace that can not be
//! used costs a sentence and no other namespace. The steps that a controller's way
//! back repeats are functions of their own.

use crate::command::{Command, Opcode, PAGE_BYTES};
use crate::disk::{Disk, Start};
use crate::error::Error;
use crate::guard::{Guard, Member, Watch};
use crate::identify::{self, Controller, NAMESPACE_LAST, Page, kind};
use crate::queue::{ALIGN, ANSWER_BYTES, COMMAND_BYTES, Queue};
use crate::registers::{
    ADMIN_COMPLETION, ADMIN_SIZES, ADMIN_SUBMISSION, CONFIGURATION, Capabilities, Configuration,
    ControllerStatus, Doorbells, FIXED_BYTES, Registers, VERSION, stop,
};
use crate::status::Status;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::hint::spin_loop;
use io::{DATA, Instant, SLOT_BYTES};
use pci::Shared;

/// Places of the admin queue's rings. One command at a time needs two.
pub const ADMIN_PLACES: usize = 8;
/// Most places for the commands of a disk. More do not make a disk faster, and
/// what finds none waits in the disk's own list.
const COMMANDS_MAX: usize = 256;
/// How long the controller may take to answer a command of the start.
const ADMIN_WAIT_US: u64 = 5_000_000;
/// SET FEATURES: how many I/O queues there shall be.
const FEATURE_QUEUES: u32 = 0x07;
/// The version that has the list of active namespaces.
const VERSION_1_1: u32 = 0x0001_0100;
/// The version that has the page of command limits.
const VERSION_2_0: u32 = 0x0002_0000;
/// Creating a queue: it lies in one piece.
const CONTIGUOUS: u32 = 1 << 0;
/// Creating a completion queue: it interrupts.
const INTERRUPTS: u32 = 1 << 1;

/// What a controller needs of its surroundings to come up.
pub trait Surroundings {
    /// How its registers are reached.
    type Registers: Registers + 'static;

    /// The first `bytes` bytes of the registers once more; every queue has its
    /// own way to them.
    fn registers(&mut self, bytes: usize) -> Result<Self::Registers, Error>;

    /// The time now.
    fn now(&self) -> Instant;

    /// Zeroed memory, for ever.
    fn dma(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]>;

    /// How many frames a list must hold.
    fn frames(&self) -> usize;

    /// Where the controller sits.
    fn place(&self) -> pci::Address;

    /// Which message queue `queue` sends, if messages reach the node.
    fn vector(&self, queue: u16) -> Option<u16>;
}

/// Brings up the controller and its namespaces, at most `namespaces_max`.
pub fn bring_up<S: Surroundings>(
    surroundings: &mut S,
    namespaces_max: usize,
) -> Vec<Result<Disk<S::Registers>, Error>> {
    let mut admin = match Admin::start(surroundings) {
        Ok(admin) => admin,
        Err(error) => return Vec::from([Err(error)]),
    };
    let (mut results, mut members) = (Vec::new(), Vec::new());
    let ended = admin.namespaces(surroundings, namespaces_max, &mut results, &mut members);
    if let Err(error) = ended {
        results.push(Err(error));
    }
    if members.is_empty() {
        stop(admin.queue.registers());
    }
    let guard: Rc<RefCell<dyn Watch>> = Rc::new(RefCell::new(Guard::new(
        admin.queue,
        admin.page,
        admin.capabilities,
        surroundings.place(),
        members,
        surroundings.now(),
    )));
    let mut member = 0..;
    results
        .into_iter()
        .map(|result| {
            result.map(|start| {
                let member = member.next().expect("there is no end");
                Disk::new(start, member, Rc::clone(&guard))
            })
        })
        .collect()
}

/// Names the admin queue and starts the controller, which has stopped.
pub fn enable<R: Registers>(registers: &R, queue: &Queue<R>) {
    let places = ADMIN_PLACES as u32 - 1;
    registers.write(ADMIN_SIZES, places << 16 | places);
    let [commands, answers] = queue.addresses();
    for (register, address) in [(ADMIN_SUBMISSION, commands), (ADMIN_COMPLETION, answers)] {
        registers.write(register, address as u32);
        registers.write(register + 4, (address >> 32) as u32);
    }
    // The choices first, then the start: a controller may take them as it sees
    // ENABLE rise.
    let chosen = Configuration::COMMANDS_OF_64 | Configuration::ANSWERS_OF_16;
    registers.write(CONFIGURATION, chosen.bits());
    registers.write(CONFIGURATION, (chosen | Configuration::ENABLE).bits());
}

/// Asks for `wanted` queue pairs.
pub fn number_of_queues(wanted: usize) -> Command {
    let wanted = wanted.clamp(1, usize::from(u16::MAX) - 1);
    let mut command = Command::plain(Opcode::SET_FEATURES, 0);
    command.arguments[0] = FEATURE_QUEUES;
    // Both counted from 0.
    command.arguments[1] = (wanted as u32 - 1) << 16 | (wanted as u32 - 1);
    command
}

/// Makes the first half of a queue pair, for answers, or the second.
pub fn queue_half(member: &Member, is_second: bool) -> Command {
    let ([at_commands, at_answers], [commands, answers]) = (member.addresses, member.places);
    let number = u32::from(member.number);
    let size = |places: usize| (places as u32 - 1) << 16 | number;
    if is_second {
        let mut create = Command::plain(Opcode::CREATE_SUBMISSION, 0);
        create.data[0] = at_commands;
        create.arguments[0] = size(commands);
        // Its answers go to the completion queue of the same number.
        create.arguments[1] = CONTIGUOUS | number << 16;
        return create;
    }
    let mut create = Command::plain(Opcode::CREATE_COMPLETION, 0);
    create.data[0] = at_answers;
    create.arguments[0] = size(answers);
    let vector = member.vector;
    create.arguments[1] =
        CONTIGUOUS | vector.map_or(0, |vector| u32::from(vector) << 16 | INTERRUPTS);
    create
}

/// A controller that runs, and its admin queue.
struct Admin<R> {
    queue: Queue<R>,
    capabilities: Capabilities,
    version: u32,
    /// What IDENTIFY fills.
    page: Shared,
    next_id: u16,
}

/// How an admin command that was answered ended: its result, or why not.
type Answered = Result<u32, Status>;

impl<R: Registers> Admin<R> {
    fn start<S: Surroundings<Registers = R>>(surroundings: &mut S) -> Result<Self, Error> {
        let registers = surroundings.registers(FIXED_BYTES)?;
        let capabilities = Capabilities::read(&registers);
        if ControllerStatus::read(&registers).is_none() || capabilities.0 == u64::MAX {
            return Err(Error::NotAnswering);
        }
        // An earlier boot stage may have left it running, with rings of its own.
        stop(&registers);
        if !capabilities.reads_and_writes() {
            return Err(Error::NotForDisks);
        }
        let exponent = capabilities.page_exponent_min();
        if 1 << exponent > PAGE_BYTES {
            return Err(Error::PageBytes { exponent });
        }
        let version = registers.read(VERSION);
        let wait_us = capabilities.ready_wait_us();

        let is_stopped = |status: ControllerStatus| !status.contains(ControllerStatus::READY);
        let waited_ms = wait_us / 1000;
        wait(surroundings, &registers, wait_us, is_stopped)?
            .then_some(())
            .ok_or(Error::NoReset { waited_ms })?;

        let doorbells = Doorbells::of(0, capabilities.doorbell_stride());
        let queue = Queue::new(
            surroundings.registers(doorbells.end())?,
            doorbells,
            memory(surroundings, ADMIN_PLACES * COMMAND_BYTES)?,
            memory(surroundings, ADMIN_PLACES * ANSWER_BYTES)?,
        );
        let page = memory(surroundings, PAGE_BYTES)?;
        enable(&registers, &queue);
        let is_over = |status: ControllerStatus| {
            status.intersects(ControllerStatus::READY | ControllerStatus::FATAL)
        };
        let is_up = wait(surroundings, &registers, wait_us, is_over)?;
        let is_fatal = ControllerStatus::read(&registers)
            .is_some_and(|status| status.contains(ControllerStatus::FATAL));
        if !is_up || is_fatal {
            stop(&registers);
            return Err(if is_fatal {
                Error::Fatal
            } else {
                Error::NoStart { waited_ms }
            });
        }
        Ok(Self {
            queue,
            capabilities,
            version,
            page,
            next_id: 0,
        })
    }

    /// Every namespace that gives a disk, and why the others do not.
    fn namespaces<S: Surroundings<Registers = R>>(
        &mut self,
        surroundings: &mut S,
        namespaces_max: usize,
        results: &mut Vec<Result<Start<R>, Error>>,
        members: &mut Vec<Member>,
    ) -> Result<(), Error> {
        let page = self.identify(surroundings, kind::CONTROLLER, 0)?;
        let controller = Controller::parse(&page);
        let frame_bytes = (SLOT_BYTES - DATA) as u32;
        if let Some(bytes) = controller.transfer_bytes_max
            && bytes < frame_bytes
        {
            return Err(Error::TransferBytes { bytes });
        }
        let discard = if controller.discards {
            let limits = self.command_limits(surroundings)?;
            Some(identify::discard_limits(limits.as_deref()))
        } else {
            None
        };
        let list = self.active(surroundings, &controller)?;
        if list.is_empty() {
            return Err(Error::NoNamespace);
        }
        let queues = self.ask_for_queues(surroundings, list.len().min(namespaces_max))?;

        for namespace in list {
            let page = self.identify(surroundings, kind::NAMESPACE, namespace)?;
            let geometry = match identify::namespace(&page, controller.write_cache, discard) {
                Ok(geometry) => geometry,
                Err(reason) => {
                    results.push(Err(Error::Namespace { namespace, reason }));
                    continue;
                }
            };
            let wwn = identify::name(&page);
            let served = members.len();
            if served == namespaces_max {
                return Err(Error::TooManyNamespaces { served });
            }
            if served == queues {
                results.push(Err(Error::NoQueue { namespace }));
                continue;
            }
            let number = served as u16 + 1;
            let vector = surroundings.vector(number);
            let (queue, mut member) = self.create_queue(surroundings, number, vector)?;
            (member.namespace, member.sectors) = (namespace, geometry.sectors);
            members.push(member);
            results.push(Ok(Start {
                queue,
                namespace,
                geometry,
                identity: identify::identity_of(&controller.identity, namespace, wwn),
                place: surroundings.place(),
                frames: surroundings.frames(),
                has_interrupt: vector.is_some(),
                now: surroundings.now(),
            }));
        }
        Ok(())
    }

    /// The active namespaces, from low to high.
    fn active<S: Surroundings>(
        &mut self,
        surroundings: &S,
        controller: &Controller,
    ) -> Result<Vec<u32>, Error> {
        // As many as a page lists; more are nobody's.
        const LISTED_MAX: usize = PAGE_BYTES / 4;
        if self.version >= VERSION_1_1
            && let Ok(page) = self.try_identify(surroundings, kind::ACTIVE_NAMESPACES, 0)?
        {
            return Ok(identify::active_namespaces(&page).collect());
        }
        // Before, a namespace was there or had no sectors.
        let last = controller.namespaces.min(NAMESPACE_LAST);
        let mut list = Vec::new();
        for namespace in (1..=last).take(LISTED_MAX) {
            let page = self.try_identify(surroundings, kind::NAMESPACE, namespace)?;
            if page.is_ok_and(|page| page[..8] != [0; 8]) {
                list.push(namespace);
            }
        }
        Ok(list)
    }

    /// The page of command limits; none from a controller that is older than it.
    fn command_limits(
        &mut self,
        surroundings: &impl Surroundings,
    ) -> Result<Option<Box<Page>>, Error> {
        if self.version < VERSION_2_0 {
            return Ok(None);
        }
        let page = self.try_identify(surroundings, kind::COMMAND_LIMITS, 0)?;
        Ok(page.ok())
    }

    /// Asks for `wanted` queue pairs; returns how many of them there are.
    fn ask_for_queues(
        &mut self,
        surroundings: &impl Surroundings,
        wanted: usize,
    ) -> Result<usize, Error> {
        let result = self.run(surroundings, &number_of_queues(wanted))?;
        let [submission, completion] = [result & 0xffff, result >> 16];
        Ok(wanted.min(submission.min(completion) as usize + 1))
    }

    fn create_queue<S: Surroundings<Registers = R>>(
        &mut self,
        surroundings: &mut S,
        number: u16,
        vector: Option<u16>,
    ) -> Result<(Queue<R>, Member), Error> {
        let entries = self.capabilities.queue_entries() as usize;
        let answers = (2 * COMMANDS_MAX).min(entries).max(2);
        // Half as many commands, and one place that stays free.
        let commands = COMMANDS_MAX.min(answers / 2 + 1);
        let doorbells = Doorbells::of(number, self.capabilities.doorbell_stride());
        let queue = Queue::new(
            surroundings.registers(doorbells.end())?,
            doorbells,
            memory(surroundings, commands * COMMAND_BYTES)?,
            memory(surroundings, answers * ANSWER_BYTES)?,
        );
        let member = Member {
            number,
            namespace: 0,
            sectors: 0,
            addresses: queue.addresses(),
            places: [commands, answers],
            vector,
            has_let_go: false,
            is_dropped: false,
        };
        for is_second in [false, true] {
            self.run(surroundings, &queue_half(&member, is_second))?;
        }
        Ok((queue, member))
    }

    /// A page that the controller must have.
    fn identify(
        &mut self,
        surroundings: &impl Surroundings,
        kind: u32,
        namespace: u32,
    ) -> Result<Box<Page>, Error> {
        let command = Opcode::IDENTIFY;
        self.try_identify(surroundings, kind, namespace)?
            .map_err(|status| Error::Refused { command, status })
    }

    /// A page, or why the controller does not have it.
    fn try_identify(
        &mut self,
        surroundings: &impl Surroundings,
        kind: u32,
        namespace: u32,
    ) -> Result<Result<Box<Page>, Status>, Error> {
        let mut command = Command::plain(Opcode::IDENTIFY, namespace);
        command.data[0] = self.page.address();
        command.arguments[0] = kind;
        if let Err(status) = self.ask(surroundings, &command)? {
            return Ok(Err(status));
        }
        let mut page = Box::new([0; PAGE_BYTES]);
        for (index, bytes) in page.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *bytes = self.page.read(index * 4).to_le_bytes();
        }
        Ok(Ok(page))
    }

    /// Runs a command that must succeed; returns its result.
    fn run(&mut self, surroundings: &impl Surroundings, command: &Command) -> Result<u32, Error> {
        let opcode = command.opcode;
        self.ask(surroundings, command)?
            .map_err(|status| Error::Refused {
                command: opcode,
                status,
            })
    }

    /// Runs a command and waits for its answer.
    fn ask(
        &mut self,
        surroundings: &impl Surroundings,
        command: &Command,
    ) -> Result<Answered, Error> {
        let id = self.next_id;
        // Never all ones, which has a meaning in error logs.
        self.next_id = (self.next_id + 1) % 0xffff;
        self.queue.push(command, id);
        self.queue.ring();
        let opcode = command.opcode;
        let deadline = surroundings.now() + ADMIN_WAIT_US;
        let answer = loop {
            if let Some(answer) = self.queue.pop() {
                break answer;
            }
            if surroundings.now() > deadline {
                return Err(Error::Silent {
                    command: opcode,
                    waited_ms: ADMIN_WAIT_US / 1000,
                });
            }
            spin_loop();
        };
        self.queue.tell_head();
        if answer.id != id {
            return Err(Error::WrongAnswer { command: opcode });
        }
        let is_well = answer.status.is_success();
        Ok(is_well.then_some(answer.result).ok_or(answer.status))
    }
}

/// Waits until the controller's status is as wanted; false after `wait_us`.
fn wait<S: Surroundings>(
    surroundings: &S,
    registers: &S::Registers,
    wait_us: u64,
    is_wanted: impl Fn(ControllerStatus) -> bool,
) -> Result<bool, Error> {
    let deadline = surroundings.now() + wait_us;
    loop {
        let status = ControllerStatus::read(registers).ok_or(Error::NotAnswering)?;
        if is_wanted(status) {
            return Ok(true);
        }
        if surroundings.now() > deadline {
            return Ok(false);
        }
        spin_loop();
    }
}

fn memory(surroundings: &mut impl Surroundings, bytes: usize) -> Result<Shared, Error> {
    let memory = surroundings
        .dma(bytes, ALIGN)
        .ok_or(Error::NoMemory { bytes })?;
    Ok(Shared::new(memory))
}
