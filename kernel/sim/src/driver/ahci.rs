//! AHCI, over the controller's half of its lists. Each disk has a controller of its own.
//!
//! Lists with few slots and with all, with a queue and without, controllers that keep
//! commands over a stop, or stop only when the drive is reset. Plugs are pulled, with which
//! a volatile cache may be gone; links spoil commands; FISes of garbage arrive.

use super::disk::{DiskDevice, Driven, forgets, request, serial};
use super::{Slip, Trip};
use crate::disk::Spindle;
use crate::ledger::Ledger;
use crate::models::dma::{Lender, Machine};
use crate::random::Random;
use ahci::model::{Asked, DriveModel, Model, Quirks, Refusal, Settings};
use ahci::{Disk, Error, Surroundings};
use io::{Op, Outcome, Request};
use pci::shared::device::Memory;
use std::cell::RefCell;
use std::rc::Rc;

/// Most sectors of a discard: as many ranges as a block of 512 bytes holds, each of as
/// many sectors as 16 bits say (ATA8-ACS, 7.10).
pub const DISCARD_SECTORS: u32 = 64 * 0xffff;
/// The only port.
const PORT: u8 = 0;

/// The node's disk `number` behind a controller, with `spindle` at its other end.
pub(crate) fn plug<T>(
    number: usize,
    spindle: &Rc<RefCell<Spindle>>,
    machine: &Machine<T>,
    ledger: &Rc<Ledger>,
    slip: Option<Slip>,
    random: &mut Random,
) -> Driven<Disk<Model, Model>, AhciDisk> {
    let plan = spindle.borrow().plan().clone();
    let settings = Settings {
        ports: 1,
        slots: *random.pick(&[1, 4, 32, 32]),
        ncq: !random.one_in(4),
        staggered: random.one_in(4),
        quirks: Quirks {
            stuck: random.one_in(4),
            forgetful: random.one_in(4),
            ..Quirks::default()
        },
        by_hand: true,
        seed: random.below(u64::MAX),
        ..Settings::default()
    };
    let memory = Memory::default();
    let model = Model::with_memory(settings, memory.clone());
    let mut drive = DriveModel::new(&serial(number), plan.sectors);
    drive.queue_depth = *random.pick(&[0, 8, 32, 32]);
    drive.write_cache = forgets(&plan);
    drive.trim = plan.discard.is_some();
    model.set_now_us(ledger.now_us());
    model.plug(PORT, drive);
    let mut host = Host {
        model: model.clone(),
        lender: machine.lender(&memory, ledger.now_us()),
        place: pci::Address {
            bus: 0,
            device: 0x10 + number as u8,
            function: 0,
        },
    };
    let disk = ahci::bring_up(&mut host, &model)
        .pop()
        .expect("its port has a drive")
        .expect("a good drive starts");
    Driven::new(disk, AhciDisk { model }, spindle, ledger.clone(), slip)
}

/// The machine as the driver's start sees it. Time is the model's: it passes there.
struct Host<'a> {
    model: Model,
    lender: Lender<'a, Memory>,
    place: pci::Address,
}

impl Surroundings for Host<'_> {
    type Registers = Model;

    fn registers(&mut self) -> Result<Model, Error> {
        self.model.registers()
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

    fn has_interrupt(&self) -> bool {
        true
    }
}

/// The controller that the driver sees.
pub struct AhciDisk {
    model: Model,
}

impl DiskDevice for AhciDisk {
    fn take(&mut self, numbers: &mut Vec<u32>) {
        self.model.commands(PORT, numbers);
    }

    fn asked(&self, number: u32) -> (Request, Vec<u8>) {
        match self.model.asked(PORT, number) {
            Asked::Read(lba, sectors) => {
                let room = sectors as usize * io::SECTOR_BYTES;
                (request(Op::Read, lba, sectors), vec![0; room])
            }
            Asked::Write(lba, data) => {
                let sectors = (data.len() / io::SECTOR_BYTES) as u64;
                (request(Op::Write, lba, sectors), data)
            }
            Asked::Flush => (request(Op::Flush, 0, 0), Vec::new()),
            Asked::Discard(lba, sectors) => (request(Op::Discard, lba, sectors), Vec::new()),
        }
    }

    fn answer(&mut self, number: u32, outcome: Outcome, data: &[u8]) {
        let result = match outcome {
            Outcome::Done => Ok(()),
            Outcome::Medium => Err(Refusal::UNCORRECTABLE),
            _ => Err(Refusal::BROKEN),
        };
        self.model.end(PORT, number, result, data);
    }

    fn is_running(&self) -> bool {
        self.model.is_running(PORT)
    }

    fn is_out(&self) -> bool {
        // Whatever happens to it, its driver brings it back.
        false
    }

    fn will_interrupt(&self) -> bool {
        self.model.will_interrupt(PORT)
    }

    fn set_sectors(&mut self, _: u64) {
        // Told at the next start only (`DiskDriver::sees_new_sizes`).
    }

    fn trip(&mut self, trip: Trip) -> bool {
        match trip {
            Trip::GivesUp => self.model.replug(PORT),
            Trip::ReturnsAStranger => self.model.garble(PORT),
            Trip::RunsAhead => self.model.make_noise(PORT),
        }
        trip == Trip::GivesUp
    }

    fn set_deaf(&mut self, is_deaf: bool) {
        self.model.set_deaf(is_deaf);
    }

    fn set_now_us(&mut self, now_us: u64) {
        self.model.set_now_us(now_us);
    }
}
