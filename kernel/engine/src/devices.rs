//! One type for all cards, one for all disks.
//!
//! The node is built for one type of each, so the choice is a match on a tag, not
//! a call through a pointer. A new driver is one more variant here.

use io::{Clock, Disk, Done, Frame, Geometry, Identity, Instant, Nic, Request};
use pci::DeviceMemory;
use ram::RamDisk;
use virtio::{Blk, Net};

/// The machine's clock, for the drivers that look at it between two turns: once for a
/// batch of commands. Metal gives it; the pointer is why nothing else uses it.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub fn() -> Instant);

impl Clock for Time {
    fn now(&self) -> Instant {
        (self.0)()
    }
}

/// Any network card. The variants differ in size, but there are few cards, and a box
/// would put a pointer into the data path.
#[allow(clippy::large_enum_variant)]
pub enum AnyNic {
    /// virtio-net, on PCI or memory-mapped.
    Virtio(Net),
    /// A card of Intel's.
    E1000(e1000::Card),
    /// A card of Realtek's.
    Realtek(realtek::Card),
    /// A card of VMware's.
    Vmxnet3(vmxnet3::Card),
    /// Any of these, with its driver on another processor.
    Remote(remote::Card<AnyNic, AnyDisk>),
}

impl AnyNic {
    /// Whether the card wakes the node when a frame arrives.
    pub fn has_interrupt(&self) -> bool {
        match self {
            // One that can not keeps the node awake itself.
            Self::Virtio(_) => true,
            Self::E1000(card) => card.has_interrupt(),
            Self::Realtek(card) => card.has_interrupt(),
            Self::Vmxnet3(card) => card.has_interrupt(),
            // Its processor calls ours.
            Self::Remote(_) => true,
        }
    }
}

/// Any disk. The variants differ in size, but there are few disks, they lie in one
/// list, and a box would put a pointer into the data path.
#[allow(clippy::large_enum_variant)]
pub enum AnyDisk {
    /// virtio-blk, on PCI or memory-mapped.
    Virtio(Blk),
    /// A SATA drive.
    Ahci(ahci::Disk<DeviceMemory, Time>),
    /// A namespace of an NVMe controller.
    Nvme(nvme::Disk),
    /// A unit of a virtio SCSI adapter.
    VirtioScsi(scsi::Disk<virtio::Scsi>),
    /// A unit of a VMware SCSI adapter.
    Pvscsi(scsi::Disk<pvscsi::Pvscsi<DeviceMemory>>),
    /// Memory.
    Ram(RamDisk),
    /// Any of these, with its driver on another processor.
    Remote(remote::Disk<AnyNic, AnyDisk>),
}

/// Passes each call on to the driver that is there.
macro_rules! forward {
    ($self:ident, $type:ident { $($variant:ident),+ }, $driver:ident => $call:expr) => {
        match $self {
            $($type::$variant($driver) => $call,)+
        }
    };
}

/// As `forward`, for what every frame passes: virtio's code stands in the loop itself,
/// and that of the other drivers beside it, where it does not take its registers.
macro_rules! forward_hot {
    ($self:ident, $type:ident { $($variant:ident),+ }, $driver:ident => $call:expr) => {
        // Two comparisons, and not yet a jump by a table.
        if let $type::Virtio($driver) = $self {
            $call
        } else if let $type::Remote($driver) = $self {
            $call
        } else {
            beside(|| match $self {
                $type::Virtio(_) | $type::Remote(_) => unreachable!("they were looked for"),
                $($type::$variant($driver) => $call,)+
            })
        }
    };
}

/// Does it in a function of its own.
#[inline(never)]
fn beside<R>(call: impl FnOnce() -> R) -> R {
    call()
}

macro_rules! hot_nic {
    ($self:ident, $driver:ident => $call:expr) => {
        forward_hot!($self, AnyNic { E1000, Realtek, Vmxnet3 }, $driver => $call)
    };
}

macro_rules! hot_disk {
    ($self:ident, $driver:ident => $call:expr) => {
        forward_hot!($self, AnyDisk { Ahci, Nvme, VirtioScsi, Pvscsi, Ram }, $driver => $call)
    };
}

macro_rules! nic {
    ($self:ident, $driver:ident => $call:expr) => {
        forward!($self, AnyNic { Virtio, E1000, Realtek, Vmxnet3, Remote }, $driver => $call)
    };
}

macro_rules! disk {
    ($self:ident, $driver:ident => $call:expr) => {
        forward!($self, AnyDisk { Virtio, Ahci, Nvme, VirtioScsi, Pvscsi, Ram, Remote }, $driver => $call)
    };
}

impl AnyDisk {
    /// [`Disk::lent`], once for whatever is looked for.
    #[cold]
    fn look(&self, ticket: u32, look: &mut dyn FnMut(&Frame)) {
        disk!(self, disk => disk.lent(ticket, |frame| look(frame)));
    }
}

impl Nic for AnyNic {
    fn mac(&self) -> [u8; 6] {
        nic!(self, nic => nic.mac())
    }

    fn mtu(&self) -> u16 {
        nic!(self, nic => nic.mtu())
    }

    fn link_up(&self) -> bool {
        nic!(self, nic => nic.link_up())
    }

    fn ring_frames(&self) -> usize {
        nic!(self, nic => nic.ring_frames())
    }

    #[inline(always)]
    fn post(&mut self, frame: Frame) {
        hot_nic!(self, nic => nic.post(frame))
    }

    #[inline(always)]
    fn poll_rx(&mut self) -> Option<Frame> {
        hot_nic!(self, nic => nic.poll_rx())
    }

    #[inline]
    fn seen_empty(&self, now: Instant) -> Instant {
        match self {
            Self::Remote(card) => card.seen_empty(now),
            _ => now,
        }
    }

    #[inline(always)]
    fn send(&mut self, frame: Frame) {
        hot_nic!(self, nic => nic.send(frame))
    }

    #[inline(always)]
    fn send_off(&mut self, frame: Frame, is_wanted: impl FnOnce() -> bool) -> bool {
        if let Self::Virtio(nic) = self {
            nic.send_off(frame, is_wanted)
        } else if let Self::Remote(card) = self {
            card.send_off(frame, is_wanted)
        } else {
            self.send(frame);
            true
        }
    }

    fn leaving(&self) -> usize {
        match self {
            Self::Remote(card) => card.leaving(),
            _ => 0,
        }
    }

    #[inline(always)]
    fn poll_sent(&mut self) -> Option<Frame> {
        hot_nic!(self, nic => nic.poll_sent())
    }

    #[inline]
    fn kick(&mut self) {
        hot_nic!(self, nic => nic.kick())
    }

    #[cold]
    fn tick(&mut self, now: Instant) -> bool {
        nic!(self, nic => nic.tick(now))
    }

    #[inline]
    fn is_quiet(&self) -> bool {
        match self {
            Self::Remote(card) => card.is_quiet(),
            _ => false,
        }
    }

    #[cold]
    fn arm(&mut self) -> bool {
        nic!(self, nic => nic.arm())
    }

    fn disarm(&mut self) {
        nic!(self, nic => nic.disarm())
    }

    fn name(&self) -> &str {
        nic!(self, nic => nic.name())
    }
}

impl Disk for AnyDisk {
    fn geometry(&self) -> &Geometry {
        disk!(self, disk => disk.geometry())
    }

    fn identity(&self) -> &Identity {
        disk!(self, disk => disk.identity())
    }

    #[inline(always)]
    fn submit(&mut self, request: Request, frame: Frame) {
        if let Self::Virtio(disk) = self {
            disk.submit(request, frame);
        } else if let Self::Remote(disk) = self {
            disk.submit(request, frame);
        } else {
            let request = request.apart();
            beside(move || disk!(self, disk => disk.submit(request, frame)));
        }
    }

    #[inline(always)]
    fn poll_done(&mut self) -> Option<Done> {
        if let Self::Virtio(disk) = self {
            return disk.poll_done();
        }
        if let Self::Remote(disk) = self {
            return disk.poll_done();
        }
        // Taken apart, or the others' would lie in memory as well.
        let Done {
            ticket,
            outcome,
            frame,
        } = beside(|| disk!(self, disk => disk.poll_done()))?;
        Some(Done {
            ticket,
            outcome,
            frame,
        })
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let (mut look, mut seen) = (Some(look), None);
        self.look(ticket, &mut |frame| {
            seen = look.take().map(|look| look(frame))
        });
        seen
    }

    #[inline]
    fn kick(&mut self) {
        hot_disk!(self, disk => disk.kick())
    }

    // What is inline here and not on the way of a frame is compiled where it is
    // called, for size.
    #[cold]
    fn tick(&mut self, now: Instant) -> bool {
        disk!(self, disk => disk.tick(now))
    }

    fn fails_soon(&self) -> bool {
        disk!(self, disk => disk.fails_soon())
    }

    #[cold]
    fn set_write_through(&mut self, on: bool) -> bool {
        match self {
            Self::Virtio(disk) => disk.set_write_through(on),
            // The others cannot. A remote one would have to be asked behind what is in
            // the letters to it.
            _ => false,
        }
    }

    fn room(&self) -> usize {
        disk!(self, disk => disk.room())
    }

    fn newcomer(&mut self) -> Option<Self> {
        match self {
            Self::VirtioScsi(disk) => disk.newcomer().map(Self::VirtioScsi),
            Self::Pvscsi(disk) => disk.newcomer().map(Self::Pvscsi),
            // Nobody comes behind the others; and behind a remote one nobody is taken in.
            Self::Virtio(_) | Self::Ahci(_) | Self::Nvme(_) | Self::Ram(_) | Self::Remote(_) => {
                None
            }
        }
    }

    #[inline]
    fn is_quiet(&self) -> bool {
        match self {
            Self::Remote(disk) => disk.is_quiet(),
            _ => false,
        }
    }

    #[cold]
    fn arm(&mut self) -> bool {
        disk!(self, disk => disk.arm())
    }

    fn disarm(&mut self) {
        disk!(self, disk => disk.disarm())
    }

    fn name(&self) -> &str {
        disk!(self, disk => disk.name())
    }
}
