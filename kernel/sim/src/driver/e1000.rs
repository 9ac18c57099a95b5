//! Intel's cards, over the device's half of their rings: e1000e, igb, igc and ixgbe, with
//! long frames and without.
//!
//! A card may be pulled out, which its driver sees by what its registers read as, and
//! stays out until the next start; frames arrive damaged, or shorter than a header, and
//! must not reach the node. The 8254x has no messages to wake a node with, so it is not
//! in this world.

use super::card::{CardDevice, Driven};
use super::{Slip, Trip};
use crate::models::dma::{Lender, Machine};
use crate::network::Network;
use crate::oracle::Oracle;
use crate::random::Random;
use e1000::model::{Model, Quirks, Window};
use e1000::{Card, Chip, Kind};
use io::Instant;
use io::model::Cable;
use pci::model::Machine as Clock;
use pci::shared::device::Memory;
use pci::{DeviceMemory, Message, Resources};
use std::cell::RefCell;
use std::rc::Rc;

/// Chips that a world's cards are.
pub const CHIPS: [Chip; 5] = [
    chip(Kind::E1000e, true),
    chip(Kind::E1000e, false),
    chip(Kind::Igb, true),
    chip(Kind::Igc, true),
    chip(Kind::Ixgbe, true),
];

const fn chip(kind: Kind, jumbo: bool) -> Chip {
    Chip { kind, jumbo }
}

/// Bytes of a link's payload with such a card: it has buffers of 8 KiB.
pub fn mtu(chip: Chip) -> u16 {
    if chip.jumbo { 8178 } else { 1500 }
}

/// Bytes of the longest frame that goes into one buffer.
const BUFFER_BYTES: usize = 8192;
/// A frame whose check sequence is wrong, by all chips alike (CE).
const DAMAGED: u8 = 1;

/// The node's card at `port`.
pub(crate) fn plug<T>(
    chip: Chip,
    port: usize,
    network: &Rc<RefCell<Network>>,
    oracle: &Rc<RefCell<Oracle>>,
    machine: &Machine<T>,
    slip: Option<Slip>,
    random: Random,
) -> Driven<Card<Window>, E1000Card> {
    let (mac, link, now_us) = {
        let network = network.borrow();
        let port = &network.ports[port];
        (port.mac, port.link, network.ledger().now_us())
    };
    let memory = Memory::default();
    let clock = Clock::with_memory(machine.frames(), memory.clone());
    let model = Model::in_machine(chip, mac, clock.clone(), Quirks::default());
    model.set_link(link);
    let mut host = Host {
        clock,
        lender: machine.lender(&memory, now_us),
    };
    let card = model.start_in(true, &mut host).expect("a good card starts");
    let device = E1000Card {
        model,
        link,
        is_out: false,
    };
    Driven::new(card, device, port, network, oracle, slip, random)
}

/// The machine as the driver's start sees it. Time is the model's: it passes there.
struct Host<'a> {
    clock: Clock,
    lender: Lender<'a, Memory>,
}

impl Resources for Host<'_> {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn frames(&self) -> usize {
        self.lender.frames()
    }

    fn dma(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]> {
        self.lender.dma(bytes, align)
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

/// The card that the driver sees.
pub struct E1000Card {
    model: Model,
    link: bool,
    is_out: bool,
}

impl CardDevice for E1000Card {
    fn room(&mut self) -> usize {
        self.model.room()
    }

    fn receive(&mut self, wire: &[u8], told_too_many: usize) -> bool {
        wire.len() <= BUFFER_BYTES && self.model.take(wire, told_too_many)
    }

    fn transmit(&mut self) -> Option<Vec<u8>> {
        self.model.transmit()
    }

    fn let_go(&mut self) {
        self.model.let_go();
    }

    fn is_running(&self) -> bool {
        self.model.is_running()
    }

    fn is_out(&self) -> bool {
        self.is_out
    }

    fn will_interrupt_for_received(&self) -> bool {
        self.model.will_interrupt()
    }

    fn will_interrupt_for_sent(&self) -> bool {
        // Its driver looks for what was sent when it is awake.
        false
    }

    fn set_link(&mut self, is_up: bool, _: u16) {
        if self.link != is_up {
            self.link = is_up;
            self.model.set_link(is_up);
        }
    }

    fn trip(&mut self, trip: Trip) {
        match trip {
            Trip::GivesUp => {
                self.model.vanish();
                self.is_out = true;
            }
            Trip::ReturnsAStranger => {
                self.model.damage(&[0x55; 60], DAMAGED);
            }
            Trip::RunsAhead => {
                self.model.damage(&[0x55; 8], 0);
            }
        }
    }

    fn set_deaf(&mut self, is_deaf: bool) {
        self.model.set_deaf(is_deaf);
    }
}
