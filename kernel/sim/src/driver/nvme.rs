//! NVMe, over the controller's half of its queues. Each disk has a controller of its own.
//!
//! Small queues and large ones. A controller that fails is reset by its driver and comes
//! back, without what its volatile cache held; one that answers what it was not asked, or
//! is pulled out, stays out of service until the next start.

use super::disk::{DiskDevice, Driven, forgets, request, serial};
use super::{Slip, Trip};
use crate::disk::Spindle;
use crate::ledger::Ledger;
use crate::models::dma::{Lender, Machine};
use crate::random::Random;
use io::{Instant, Op, Outcome, Request};
use nvme::model::{Model, Namespace, Settings, Window};
use nvme::{Disk, Error, Opcode, Status, Surroundings};
use pci::shared::device::Memory;
use std::cell::RefCell;
use std::rc::Rc;

/// The version that tells how much a discard may name.
const VERSION_2_0: u32 = 0x0002_0000;
/// The queue of its only namespace.
const QUEUE: u16 = 1;
const NAMESPACE: u32 = 1;
/// No command has this number: all ones has a meaning of its own (NVMe 2.0, 4.1.2).
const STRANGER: u16 = 0xffff;

/// The node's disk `number` behind a controller, with `spindle` at its other end.
pub(crate) fn plug<T>(
    number: usize,
    spindle: &Rc<RefCell<Spindle>>,
    machine: &Machine<T>,
    ledger: &Rc<Ledger>,
    slip: Option<Slip>,
    random: &mut Random,
) -> Driven<Disk<Window>, NvmeDisk> {
    let plan = spindle.borrow().plan().clone();
    let settings = Settings {
        version: VERSION_2_0,
        queue_entries: *random.pick(&[4, 16, 64, 2048]),
        stride_exponent: *random.pick(&[0, 0, 2]),
        write_cache: forgets(&plan),
        discards: plan.discard.is_some(),
        discard_sectors_max: plan.discard.unwrap_or(0),
        frames: machine.frames(),
        serial: serial(number),
        namespaces: vec![Namespace::new(NAMESPACE, plan.sectors)],
        ..Settings::default()
    };
    let memory = Memory::default();
    let model = Model::with_memory(settings, memory.clone());
    model.set_now_us(ledger.now_us());
    let mut host = Host {
        model: model.clone(),
        lender: machine.lender(&memory, ledger.now_us()),
        place: pci::Address {
            bus: 0,
            device: 0x10 + number as u8,
            function: 0,
        },
    };
    let disk = nvme::bring_up(&mut host, 1)
        .pop()
        .expect("it has a namespace")
        .expect("a good controller starts");
    let device = NvmeDisk {
        model,
        is_spoilt: false,
    };
    Driven::new(disk, device, spindle, ledger.clone(), slip)
}

/// The machine as the driver's start sees it. Time is the model's: it passes there.
struct Host<'a> {
    model: Model,
    lender: Lender<'a, Memory>,
    place: pci::Address,
}

impl Surroundings for Host<'_> {
    type Registers = Window;

    fn registers(&mut self, bytes: usize) -> Result<Window, Error> {
        self.model.registers(bytes)
    }

    fn now(&self) -> Instant {
        self.model.now()
    }

    fn dma(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]> {
        pci::Resources::dma(&mut self.lender, bytes, align)
    }

    fn frames(&self) -> usize {
        pci::Resources::frames(&self.lender)
    }

    fn place(&self) -> pci::Address {
        self.place
    }

    fn vector(&self, queue: u16) -> Option<u16> {
        self.model.vector(queue)
    }
}

/// The controller that the driver sees.
pub struct NvmeDisk {
    model: Model,
    /// It broke its queue, or is gone: the driver does not start it again.
    is_spoilt: bool,
}

impl NvmeDisk {
    fn at(&self, number: u32) -> usize {
        let held = self.model.fetch(QUEUE, 0);
        (0..held)
            .find(|&at| u32::from(self.model.taken(QUEUE, at).id) == number)
            .expect("a command it has")
    }
}

impl DiskDevice for NvmeDisk {
    fn take(&mut self, numbers: &mut Vec<u32>) {
        let held = self.model.fetch(QUEUE, usize::MAX);
        numbers.extend((0..held).map(|at| u32::from(self.model.taken(QUEUE, at).id)));
    }

    fn asked(&self, number: u32) -> (Request, Vec<u8>) {
        let at = self.at(number);
        let taken = self.model.taken(QUEUE, at);
        match taken.opcode {
            Opcode::READ => {
                let read = request(Op::Read, taken.lba(), taken.sectors());
                (read, vec![0; read.sectors as usize * io::SECTOR_BYTES])
            }
            Opcode::WRITE => {
                let data = self.model.written(QUEUE, at);
                (request(Op::Write, taken.lba(), taken.sectors()), data)
            }
            Opcode::FLUSH => (request(Op::Flush, 0, 0), Vec::new()),
            Opcode::DATASET => {
                let (lba, sectors) = self.model.range(QUEUE, at);
                (request(Op::Discard, lba, sectors), Vec::new())
            }
            other => panic!("an I/O command {other:?}"),
        }
    }

    fn answer(&mut self, number: u32, outcome: Outcome, data: &[u8]) {
        let at = self.at(number);
        let opcode = self.model.taken(QUEUE, at).opcode;
        let status = match (outcome, opcode) {
            (Outcome::Done, Opcode::READ) => {
                self.model.fill(QUEUE, at, data);
                Status::SUCCESS
            }
            (Outcome::Done, _) => Status::SUCCESS,
            (Outcome::Medium, Opcode::READ) => Status::UNRECOVERED_READ,
            (Outcome::Medium, _) => Status::WRITE_FAULT,
            _ => Status::ACCESS_DENIED,
        };
        self.model.answer(QUEUE, at, status);
    }

    fn is_running(&self) -> bool {
        self.model.is_running(QUEUE)
    }

    fn is_out(&self) -> bool {
        self.is_spoilt && !self.is_running()
    }

    fn will_interrupt(&self) -> bool {
        self.model.will_interrupt(QUEUE)
    }

    fn set_sectors(&mut self, _: u64) {
        // Told at the next start only (`DiskDriver::sees_new_sizes`).
    }

    fn trip(&mut self, trip: Trip) -> bool {
        match trip {
            Trip::GivesUp => self.model.fail(),
            Trip::ReturnsAStranger => self.model.forge(QUEUE, STRANGER),
            Trip::RunsAhead => self.model.vanish(),
        }
        self.is_spoilt |= trip != Trip::GivesUp;
        trip == Trip::GivesUp
    }

    fn set_deaf(&mut self, is_deaf: bool) {
        self.model.set_deaf(is_deaf);
    }

    fn set_now_us(&mut self, now_us: u64) {
        self.model.set_now_us(now_us);
    }
}
