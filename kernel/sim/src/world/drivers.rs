//! Which of the real drivers serve a world, and what their devices are like.

use super::Running;
use crate::disk::{Drive, Spindle};
use crate::driver::virtio::{VirtioCard, VirtioDisk, card_profile, disk_profile};
use crate::driver::{AnyCard, AnyDrive, CardDriver, DiskDriver, Slip, Trip, card, disk};
use crate::driver::{ahci, e1000, nvme};
use crate::ledger::Ledger;
use crate::models::dma::Machine;
use crate::mutants::Mutant;
use crate::network::{Card, Network};
use crate::oracle::Oracle;
use crate::random::Random;
use ::e1000::Chip;
use std::cell::RefCell;
use std::rc::Rc;
use virtio::{Blk, Net};

/// The drivers of a world.
pub(super) struct Drivers {
    pub(super) disks: DiskDriver,
    pub(super) cards: CardDriver,
    disk_slip: Option<Slip>,
    card_slip: Option<Slip>,
    /// Which of Intel's chips the cards are.
    chip: Chip,
    /// Random of its own: with and without drivers a world is the same.
    random: Random,
}

impl Drivers {
    /// Most worlds have none: what a driver decides, the simulated disk and card leave
    /// to chance, and that is more. A wrong driver is everywhere.
    pub(super) fn choose(seed: u64, storm: bool, mutant: Option<Mutant>) -> Self {
        let mut random = Random::new(seed ^ 0xd41e);
        let (mut disks, mut cards) = (DiskDriver::None, CardDriver::None);
        if !storm {
            if random.one_in(2) {
                disks = *random.pick(&DiskDriver::ALL);
            }
            if random.one_in(2) {
                cards = *random.pick(&CardDriver::ALL);
            }
        }
        let disk = mutant.and_then(Mutant::of_disk_driver);
        let card = mutant.and_then(Mutant::of_card_driver);
        Self {
            disks: disk.map_or(disks, |(driver, _)| driver),
            cards: card.map_or(cards, |(driver, _)| driver),
            disk_slip: disk.map(|(_, slip)| slip),
            card_slip: card.map(|(_, slip)| slip),
            chip: *random.pick(&e1000::CHIPS),
            random,
        }
    }

    /// Makes what links carry what the cards say.
    pub(super) fn fit_links(&self, mtus: &mut [u16]) {
        if self.cards == CardDriver::E1000 {
            mtus.fill(e1000::mtu(self.chip));
        }
    }

    /// Whether a device of the disks does now what it must not, and what.
    pub(super) fn disk_trip(&mut self) -> Option<Trip> {
        let is_there = self.disks != DiskDriver::None;
        (is_there && self.random.one_in(4)).then(|| *self.random.pick(&Trip::ALL))
    }

    /// The same of a card.
    pub(super) fn card_trip(&mut self) -> Option<Trip> {
        let is_there = self.cards != CardDriver::None;
        (is_there && self.random.one_in(4)).then(|| *self.random.pick(&Trip::ALL))
    }

    /// The node's disk `number`, with `spindle` at its other end.
    pub(super) fn drive(
        &mut self,
        number: usize,
        spindle: &Rc<RefCell<Spindle>>,
        machine: &Machine<Running>,
        ledger: &Rc<Ledger>,
    ) -> AnyDrive {
        match self.disks {
            DiskDriver::None => AnyDrive::Plain(Box::new(Drive::new(number, spindle))),
            DiskDriver::Virtio => {
                let profile = disk_profile(spindle.borrow().plan(), number, &mut self.random);
                let devices = virtio::model::Machine::new(machine.frames());
                let (device, registers) = devices.device(profile);
                let name = format!("00:{:02x}.0 virtio-blk", 0x10 + number);
                let mut lender = machine.lender(&devices, ledger.now_us());
                let blk = Blk::new(registers, &mut lender, &name).expect("a good device starts");
                let device = VirtioDisk::new(device);
                let driven =
                    disk::Driven::new(blk, device, spindle, ledger.clone(), self.disk_slip);
                AnyDrive::Virtio(Box::new(driven))
            }
            DiskDriver::Ahci => {
                let slip = self.disk_slip;
                let driven = ahci::plug(number, spindle, machine, ledger, slip, &mut self.random);
                AnyDrive::Ahci(Box::new(driven))
            }
            DiskDriver::Nvme => {
                let slip = self.disk_slip;
                let driven = nvme::plug(number, spindle, machine, ledger, slip, &mut self.random);
                AnyDrive::Nvme(Box::new(driven))
            }
        }
    }

    /// The node's card at `port`.
    pub(super) fn card(
        &mut self,
        port: usize,
        network: &Rc<RefCell<Network>>,
        oracle: &Rc<RefCell<Oracle>>,
        machine: &Machine<Running>,
        random: Random,
    ) -> AnyCard {
        match self.cards {
            CardDriver::None => AnyCard::Plain(Box::new(Card::new(port, network, oracle, random))),
            CardDriver::Virtio => {
                let (mac, link, mtu, now_us) = {
                    let network = network.borrow();
                    let port = &network.ports[port];
                    (port.mac, port.link, port.mtu, network.ledger().now_us())
                };
                let profile = card_profile(mac, &mut self.random);
                let is_legacy = profile.legacy;
                let devices = virtio::model::Machine::new(machine.frames());
                let (device, registers) = devices.device(profile);
                let mut device = VirtioCard::new(device, is_legacy);
                card::CardDevice::set_link(&mut device, link, mtu);
                let name = format!("00:{:02x}.0 virtio-net", 3 + port);
                let mut lender = machine.lender(&devices, now_us);
                let net = Net::new(registers, &mut lender, &name).expect("a good device starts");
                let driven =
                    card::Driven::new(net, device, port, network, oracle, self.card_slip, random);
                AnyCard::Virtio(Box::new(driven))
            }
            CardDriver::E1000 => {
                let (chip, slip) = (self.chip, self.card_slip);
                let driven = e1000::plug(chip, port, network, oracle, machine, slip, random);
                AnyCard::E1000(Box::new(driven))
            }
        }
    }
}
