//! How a device's registers are reached, and the handshake all of them share.

#[allow(unsafe_code)]
mod mmio;
mod pci;

pub use mmio::MmioTransport;
pub use pci::{DEVICES, PciTransport};

use crate::Error;
use crate::ring::{self, Layout, Ring};
use ::pci::Resources;
use bitflags::bitflags;
use core::hint::spin_loop;
use io::Instant;

/// What a device is (virtio 1.2, 5). Others exist; we drive none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceId(pub u16);

impl DeviceId {
    /// A network card.
    pub const NET: Self = Self(1);
    /// A disk.
    pub const BLOCK: Self = Self(2);
    /// A SCSI adapter.
    pub const SCSI: Self = Self(8);
}

bitflags! {
    /// Device status (virtio 1.2, 2.1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status: u8 {
        /// We noticed the device.
        const ACKNOWLEDGE = 1;
        /// We can drive it.
        const DRIVER = 2;
        /// It may run. Ours; only after the queues are set up.
        const DRIVER_OK = 4;
        /// Feature negotiation is over. Ours to set, the device's to refuse.
        const FEATURES_OK = 8;
        /// The device gave up. Only a reset helps.
        const NEEDS_RESET = 64;
        /// We gave up.
        const FAILED = 128;
        /// The device may have others.
        const _ = !0;
    }
}

/// Features that are not one device's (virtio 1.2, 6).
pub(crate) mod feature {
    /// Any split of headers and data into descriptors (only before 1.0).
    pub const ANY_LAYOUT: u64 = 1 << 27;
    /// A descriptor may name a table of descriptors.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Both sides say up to where they want to hear nothing.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// virtio 1.0 or later.
    pub const VERSION_1: u64 = 1 << 32;
    /// DMA goes the way the platform translates it.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
    /// Memory order as for real hardware. Our fences are real ones.
    pub const ORDER_PLATFORM: u64 = 1 << 36;
}

/// Where the three parts of a queue lie on the bus.
#[derive(Clone, Copy, Debug)]
pub struct QueuePlace {
    /// Entries.
    pub size: u16,
    /// The descriptor table.
    pub descriptors: u64,
    /// What we make available.
    pub available: u64,
    /// What the device has used.
    pub used: u64,
}

/// A device's registers, whatever they are reached by.
///
/// Of these only [`Transport::notify`] and [`Transport::quiet`] are used while
/// frames move; both are single register accesses or less.
pub trait Transport {
    /// What the device is.
    fn device(&self) -> DeviceId;

    /// Whether it speaks the interface before virtio 1.0.
    fn legacy(&self) -> bool;

    /// Whether the device can wake the node. If not, the node must not sleep.
    fn interrupts(&self) -> bool;

    /// The device status.
    fn status(&self) -> Status;

    /// Sets the device status; empty resets.
    fn set_status(&mut self, status: Status);

    /// What the device can do.
    fn features(&mut self) -> u64;

    /// What of it we want.
    fn accept(&mut self, features: u64);

    /// Entries the queue can have at most, 0 if there is no such queue.
    fn queue_max(&mut self, queue: u16) -> u16;

    /// Gives the device a queue and lets it interrupt for it.
    fn set_queue(&mut self, queue: u16, place: &QueuePlace) -> Result<(), Error>;

    /// Rings the queue's doorbell.
    fn notify(&mut self, queue: u16);

    /// Takes note of a pending interrupt, so that the next one is seen. Called
    /// before the node looks for work a last time and sleeps.
    fn quiet(&mut self);

    /// Changes when the device's configuration changes.
    fn generation(&self) -> u32;

    /// A byte of the device's configuration, if it reaches that far.
    fn config_u8(&self, offset: u16) -> Option<u8>;

    /// An aligned word of the device's configuration.
    fn config_u16(&self, offset: u16) -> Option<u16>;

    /// An aligned double word of the device's configuration.
    fn config_u32(&self, offset: u16) -> Option<u32>;

    /// Writes a byte of the device's configuration, if it reaches that far.
    fn set_config_u8(&mut self, offset: u16, value: u8);
}

/// How long a device may take to reset. Real ones need less than a millisecond.
const RESET_MAX_MS: u64 = 1000;

/// Proof that a device was reset and confirmed it: it touches no memory that it
/// was lent before.
pub(crate) struct Silent(());

/// Tells the device to reset.
pub(crate) fn ask_reset(transport: &mut impl Transport) {
    transport.set_status(Status::empty());
}

/// Whether the device that was told to reset has done so (virtio 1.2, 4.1.4.3.2).
pub(crate) fn has_reset(transport: &impl Transport) -> Option<Silent> {
    (transport.status() == Status::empty()).then_some(Silent(()))
}

/// Resets the device: an earlier boot stage may have left it running.
fn reset(transport: &mut impl Transport, resources: &impl Resources) -> Result<Silent, Error> {
    let deadline: Instant = resources.now() + RESET_MAX_MS * 1000;
    ask_reset(transport);
    loop {
        if let Some(silent) = has_reset(transport) {
            return Ok(silent);
        }
        if resources.now() > deadline {
            return Err(Error::NoReset {
                waited_ms: RESET_MAX_MS,
            });
        }
        spin_loop();
    }
}

/// Features that every driver here takes where they are offered.
const COMMON_FEATURES: u64 =
    feature::EVENT_IDX | feature::VERSION_1 | feature::ACCESS_PLATFORM | feature::ORDER_PLATFORM;

/// Resets the device and agrees on features (virtio 1.2, 3.1.1). The device may
/// not run yet: queues come first, then [`run`].
pub(crate) fn negotiate(
    transport: &mut impl Transport,
    wanted: impl FnOnce(u64) -> u64,
    resources: &impl Resources,
) -> Result<u64, Error> {
    reset(transport, resources)?;
    let mut status = Status::ACKNOWLEDGE;
    transport.set_status(status);
    status |= Status::DRIVER;
    transport.set_status(status);
    let offered = transport.features();
    let features = offered & (wanted(offered) | COMMON_FEATURES);
    if transport.legacy() {
        // Before 1.0 there were 32 features, and no agreement on them.
        let features = features & 0xffff_ffff;
        transport.accept(features);
        return Ok(features);
    }
    if features & feature::VERSION_1 == 0 {
        transport.set_status(status | Status::FAILED);
        return Err(Error::FeaturesRefused);
    }
    transport.accept(features);
    status |= Status::FEATURES_OK;
    transport.set_status(status);
    if !transport.status().contains(Status::FEATURES_OK) {
        transport.set_status(status | Status::FAILED);
        return Err(Error::FeaturesRefused);
    }
    Ok(features)
}

/// Lets the device run.
pub(crate) fn run(transport: &mut impl Transport) {
    let status = transport.status();
    transport.set_status(status | Status::DRIVER_OK);
}

/// Makes the ring for a queue: as large as the device allows, at most `chains` chains
/// of up to `pieces` descriptors, and at least one.
pub(crate) fn ring<M: Copy + Default, const IN_TURN: bool>(
    transport: &mut impl Transport,
    queue: u16,
    chains: usize,
    pieces: u16,
    event_idx: bool,
    resources: &mut impl Resources,
) -> Result<Ring<M, IN_TURN>, Error> {
    let entries = chains * usize::from(pieces);
    let size = ring_size(transport.queue_max(queue), entries)
        .filter(|size| *size >= pieces)
        .ok_or(Error::NoQueue { queue })?;
    let bytes = Layout::of(size).bytes;
    let memory = resources
        .dma(bytes, ring::ALIGN)
        .ok_or(Error::NoMemory { bytes })?;
    let ring = Ring::new(memory, size, pieces, event_idx);
    transport.set_queue(queue, ring.place())?;
    Ok(ring)
}

/// Entries of a ring: a power of two, no more than the device has, no more than
/// are ever used.
fn ring_size(device_max: u16, useful: usize) -> Option<u16> {
    let useful = useful.clamp(1, ring::SIZE_MAX.into()).next_power_of_two() as u16;
    let largest = 1 << device_max.checked_ilog2()?;
    Some(useful.min(largest))
}

/// A device on either bus, so that a machine has one type for both.
pub enum Bus {
    /// A PCI function.
    Pci(PciTransport),
    /// Memory-mapped registers.
    Mmio(MmioTransport),
}

/// Passes each call on to the transport that is there.
macro_rules! forward {
    ($self:ident, $transport:ident => $call:expr) => {
        match $self {
            Bus::Pci($transport) => $call,
            Bus::Mmio($transport) => $call,
        }
    };
}

impl Transport for Bus {
    fn device(&self) -> DeviceId {
        forward!(self, transport => transport.device())
    }

    fn legacy(&self) -> bool {
        forward!(self, transport => transport.legacy())
    }

    fn interrupts(&self) -> bool {
        forward!(self, transport => transport.interrupts())
    }

    fn status(&self) -> Status {
        forward!(self, transport => transport.status())
    }

    fn set_status(&mut self, status: Status) {
        forward!(self, transport => transport.set_status(status))
    }

    fn features(&mut self) -> u64 {
        forward!(self, transport => transport.features())
    }

    fn accept(&mut self, features: u64) {
        forward!(self, transport => transport.accept(features))
    }

    fn queue_max(&mut self, queue: u16) -> u16 {
        forward!(self, transport => transport.queue_max(queue))
    }

    fn set_queue(&mut self, queue: u16, place: &QueuePlace) -> Result<(), Error> {
        forward!(self, transport => transport.set_queue(queue, place))
    }

    fn notify(&mut self, queue: u16) {
        forward!(self, transport => transport.notify(queue))
    }

    fn quiet(&mut self) {
        forward!(self, transport => transport.quiet())
    }

    fn generation(&self) -> u32 {
        forward!(self, transport => transport.generation())
    }

    fn config_u8(&self, offset: u16) -> Option<u8> {
        forward!(self, transport => transport.config_u8(offset))
    }

    fn config_u16(&self, offset: u16) -> Option<u16> {
        forward!(self, transport => transport.config_u16(offset))
    }

    fn config_u32(&self, offset: u16) -> Option<u32> {
        forward!(self, transport => transport.config_u32(offset))
    }

    fn set_config_u8(&mut self, offset: u16, value: u8) {
        forward!(self, transport => transport.set_config_u8(offset, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_a_power_of_two_that_the_device_has_and_we_need() {
        assert_eq!(ring_size(256, 1024), Some(256));
        assert_eq!(ring_size(1024, 300), Some(512));
        assert_eq!(ring_size(0x8000, 5000), Some(1024));
        assert_eq!(ring_size(300, 1024), Some(256));
        assert_eq!(ring_size(1, 1024), Some(1));
        assert_eq!(ring_size(256, 0), Some(1));
        assert_eq!(ring_size(0, 1024), None);
    }
}
