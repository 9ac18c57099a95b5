//! The real drivers, between the node and the simulated world.
//!
//! In a share of the worlds the node's disks and cards are served by the drivers
//! that run on real machines, each over the model of its device that its own crate
//! tests it with, stricter than hardware. What the device is asked to do, the world
//! does; how it is asked and told (rings, descriptors, doorbells, interrupts) is
//! between driver and model. One adapter for disks ([`disk`]) and one for cards
//! ([`card`]); a room for each family of devices.
//!
//! Devices also fail, as a hypervisor that is broken or lies would let them: they
//! ask for a reset, or return what they were not given ([`Trip`]).

pub mod ahci;
pub mod card;
pub mod disk;
pub mod e1000;
pub mod nvme;
pub mod virtio;

use self::ahci::AhciDisk;
use self::e1000::E1000Card;
use self::nvme::NvmeDisk;
use self::virtio::{VirtioCard, VirtioDisk};
use crate::disk::{DiskPlan, Drive, Spindle};
use crate::network::Card;
use ::virtio::model::Registers;
use ::virtio::{Blk, Net};
use io::{Disk, Done, Frame, Geometry, Identity, Instant, Nic, Request};
use std::cell::RefCell;
use std::rc::Rc;

/// What a device does that it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trip {
    /// It says that it can not go on.
    GivesUp,
    /// It returns something that it was not given.
    ReturnsAStranger,
    /// It says that it returned more than it was given.
    RunsAhead,
}

impl Trip {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::GivesUp, Self::ReturnsAStranger, Self::RunsAhead];
}

/// What a driver does that it must not: a planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// It does not ring now and then.
    Unrung,
    /// It takes an answer for another's, or more bytes for received than were.
    Swapped,
    /// It passes a flush for done that it has to fail, since its device was reset.
    Vouched,
}

/// Which driver serves the disks of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskDriver {
    /// None: the simulated disk is the node's.
    None,
    /// virtio-blk.
    Virtio,
    /// NVMe, a controller a disk.
    Nvme,
    /// AHCI, likewise.
    Ahci,
}

impl DiskDriver {
    /// Every driver.
    pub const ALL: [Self; 3] = [Self::Virtio, Self::Nvme, Self::Ahci];

    /// Makes `plan` one that the device behind this driver can tell of.
    pub fn fit(self, plan: &mut DiskPlan) {
        if matches!(self, Self::Nvme | Self::Ahci) {
            plan.read_only = false;
        }
        if self == Self::Ahci {
            plan.discard = plan.discard.map(|_| ahci::DISCARD_SECTORS);
        }
    }

    /// Whether a disk may change its size while the node runs.
    pub fn sees_new_sizes(self) -> bool {
        matches!(self, Self::None | Self::Virtio)
    }
}

/// Which driver serves its cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardDriver {
    /// None: the simulated card is the node's.
    None,
    /// virtio-net.
    Virtio,
    /// Intel's: e1000e, igb, igc or ixgbe.
    E1000,
}

impl CardDriver {
    /// Every driver.
    pub const ALL: [Self; 2] = [Self::Virtio, Self::E1000];

    /// Whether a link may change the size of its frames.
    pub fn sees_new_sizes(self) -> bool {
        self != Self::E1000
    }
}

/// What the node's disk is.
pub enum AnyDrive {
    /// No driver.
    Plain(Box<Drive>),
    /// virtio-blk.
    Virtio(Box<disk::Driven<Blk<Registers>, VirtioDisk>>),
    /// AHCI.
    Ahci(Box<disk::Driven<::ahci::Disk<::ahci::model::Model, ::ahci::model::Model>, AhciDisk>>),
    /// NVMe.
    Nvme(Box<disk::Driven<::nvme::Disk<::nvme::model::Window>, NvmeDisk>>),
}

/// What the node's card is.
pub enum AnyCard {
    /// No driver.
    Plain(Box<Card>),
    /// virtio-net.
    Virtio(Box<card::Driven<Net<Registers>, VirtioCard>>),
    /// Intel's.
    E1000(Box<card::Driven<::e1000::Card<::e1000::model::Window>, E1000Card>>),
}

/// Does the same with whichever it is.
macro_rules! with {
    (AnyDrive, $self:expr, $it:ident => $act:expr) => {
        match $self {
            AnyDrive::Plain($it) => $act,
            AnyDrive::Virtio($it) => $act,
            AnyDrive::Nvme($it) => $act,
            AnyDrive::Ahci($it) => $act,
        }
    };
    (AnyCard, $self:expr, $it:ident => $act:expr) => {
        match $self {
            AnyCard::Plain($it) => $act,
            AnyCard::Virtio($it) => $act,
            AnyCard::E1000($it) => $act,
        }
    };
}

impl AnyDrive {
    /// The disk at the other end.
    pub fn spindle(&self) -> &Rc<RefCell<Spindle>> {
        with!(AnyDrive, self, it => it.spindle())
    }
}

impl AnyCard {
    /// Puts bytes on the wire that no frame carries: a planted fault's way out.
    pub fn inject(&mut self, bytes: &[u8]) {
        with!(AnyCard, self, it => it.inject(bytes));
    }
}

impl Disk for AnyDrive {
    fn geometry(&self) -> &Geometry {
        with!(AnyDrive, self, it => it.geometry())
    }

    fn identity(&self) -> &Identity {
        with!(AnyDrive, self, it => it.identity())
    }

    fn submit(&mut self, request: Request, frame: Frame) {
        with!(AnyDrive, self, it => it.submit(request, frame));
    }

    fn poll_done(&mut self) -> Option<Done> {
        with!(AnyDrive, self, it => it.poll_done())
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        with!(AnyDrive, self, it => it.lent(ticket, look))
    }

    fn kick(&mut self) {
        with!(AnyDrive, self, it => it.kick());
    }

    fn tick(&mut self, now: Instant) -> bool {
        with!(AnyDrive, self, it => it.tick(now))
    }

    fn fails_soon(&self) -> bool {
        with!(AnyDrive, self, it => it.fails_soon())
    }

    fn set_write_through(&mut self, on: bool) -> bool {
        with!(AnyDrive, self, it => it.set_write_through(on))
    }

    fn arm(&mut self) -> bool {
        with!(AnyDrive, self, it => it.arm())
    }

    fn disarm(&mut self) {
        with!(AnyDrive, self, it => it.disarm());
    }

    fn name(&self) -> &str {
        with!(AnyDrive, self, it => it.name())
    }
}

impl Nic for AnyCard {
    fn mac(&self) -> [u8; 6] {
        with!(AnyCard, self, it => it.mac())
    }

    fn mtu(&self) -> u16 {
        with!(AnyCard, self, it => it.mtu())
    }

    fn link_up(&self) -> bool {
        with!(AnyCard, self, it => it.link_up())
    }

    fn ring_frames(&self) -> usize {
        with!(AnyCard, self, it => it.ring_frames())
    }

    fn post(&mut self, frame: Frame) {
        with!(AnyCard, self, it => it.post(frame));
    }

    fn poll_rx(&mut self) -> Option<Frame> {
        with!(AnyCard, self, it => it.poll_rx())
    }

    fn send(&mut self, frame: Frame) {
        with!(AnyCard, self, it => it.send(frame));
    }

    fn poll_sent(&mut self) -> Option<Frame> {
        with!(AnyCard, self, it => it.poll_sent())
    }

    fn kick(&mut self) {
        with!(AnyCard, self, it => it.kick());
    }

    fn tick(&mut self, now: Instant) -> bool {
        with!(AnyCard, self, it => it.tick(now))
    }

    fn arm(&mut self) -> bool {
        with!(AnyCard, self, it => it.arm())
    }

    fn disarm(&mut self) {
        with!(AnyCard, self, it => it.disarm());
    }

    fn name(&self) -> &str {
        with!(AnyCard, self, it => it.name())
    }
}
