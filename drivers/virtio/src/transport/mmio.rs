//! Memory-mapped registers (virtio 1.2, 4.2), by `virtio-drivers`.
//!
//! Both versions: QEMU's microvm has version 1, the one before virtio 1.0,
//! unless it is told otherwise. Here that transport is all we need: a doorbell
//! is one write, and there is one interrupt line with nothing to set up.
//!
//! The line stays raised until its reason is acknowledged. We do that before the
//! node looks for work a last time and sleeps, not in the interrupt handler. So
//! the machine takes the line as edge triggered, or returns from the handler with
//! interrupts closed; else a raised line would keep it in the handler for ever.

use super::{DeviceId, QueuePlace, Status, Transport};
use crate::Error;
use ::pci::Resources;
use virtio_drivers::transport::mmio::{self, MmioError, MmioVersion, VirtIOHeader};
use virtio_drivers::transport::{
    DeviceStatus, DeviceType, DeviceTypeError, Transport as Registers,
};

/// Registers in front of the device's own configuration.
const REGISTERS_BYTES: usize = 0x100;
const _: () = assert!(size_of::<VirtIOHeader>() == REGISTERS_BYTES);

/// A page, as the interface before 1.0 counts addresses in.
const PAGE_BYTES: u32 = 4096;

/// A virtio device behind memory-mapped registers, of either version.
pub struct MmioTransport {
    registers: mmio::MmioTransport<'static>,
    device: DeviceId,
    interrupts: bool,
}

impl MmioTransport {
    /// Takes the device whose `bytes` of registers start at `address`.
    /// [`Error::Empty`] if the place is there and nothing is in it. A place is
    /// taken once: whoever lets go of a device resets it.
    pub fn new(address: u64, bytes: usize, resources: &mut impl Resources) -> Result<Self, Error> {
        let memory = resources
            .map(address, bytes)
            .ok_or(Error::Pci(::pci::Error::NotMapped { address }))?;
        let header = memory
            .pointer::<VirtIOHeader>(0)
            .ok_or(Error::MissingRegisters)?;
        // SAFETY: `memory` vouches that `len` bytes from its start are mapped
        // for ever and are a device's; `pointer` checked that the header lies
        // inside, aligned.
        let opened = unsafe { mmio::MmioTransport::new(header, memory.len()) };
        let registers = opened.map_err(|error| match error {
            MmioError::InvalidDeviceID(DeviceTypeError::InvalidDeviceType(0)) => Error::Empty,
            MmioError::InvalidDeviceID(_) => Error::OtherKind,
            MmioError::MmioRegionTooSmall => Error::MissingRegisters,
            MmioError::BadMagic(_) | MmioError::UnsupportedVersion(_) => Error::NotVirtio,
        })?;
        let device = match registers.device_type() {
            DeviceType::Network => DeviceId::NET,
            DeviceType::Block => DeviceId::BLOCK,
            other => DeviceId(other as u16),
        };
        Ok(Self {
            registers,
            device,
            interrupts: false,
        })
    }

    /// Says whether the machine has routed the device's line (see the module's
    /// header). Without it the node never sleeps.
    pub fn set_interrupts(&mut self, routed: bool) {
        self.interrupts = routed;
    }
}

impl Transport for MmioTransport {
    fn device(&self) -> DeviceId {
        self.device
    }

    fn legacy(&self) -> bool {
        self.registers.version() == MmioVersion::Legacy
    }

    fn interrupts(&self) -> bool {
        self.interrupts
    }

    fn status(&self) -> Status {
        Status::from_bits_retain(self.registers.get_status().bits() as u8)
    }

    fn set_status(&mut self, status: Status) {
        let status = DeviceStatus::from_bits_retain(status.bits().into());
        self.registers.set_status(status);
    }

    fn features(&mut self) -> u64 {
        self.registers.read_device_features()
    }

    fn accept(&mut self, features: u64) {
        self.registers.write_driver_features(features);
        // Needed before a queue is set, by the interface before 1.0; the other
        // takes no notice.
        self.registers.set_guest_page_size(PAGE_BYTES);
    }

    fn queue_max(&mut self, queue: u16) -> u16 {
        let max = self.registers.max_queue_size(queue);
        max.min(0x8000) as u16
    }

    fn set_queue(&mut self, queue: u16, place: &QueuePlace) -> Result<(), Error> {
        if self.legacy() && place.descriptors >> 32 >= u64::from(PAGE_BYTES) {
            // Before 1.0 a queue is named by a 32-bit page number, and there is
            // no memory for it below that.
            let bytes = (place.used - place.descriptors) as usize;
            return Err(Error::NoMemory { bytes });
        }
        self.registers.queue_set(
            queue,
            place.size.into(),
            place.descriptors,
            place.available,
            place.used,
        );
        Ok(())
    }

    fn notify(&mut self, queue: u16) {
        self.registers.notify(queue);
    }

    fn quiet(&mut self) {
        self.registers.ack_interrupt();
    }

    fn generation(&self) -> u32 {
        // The interface before 1.0 has no such register.
        if self.legacy() {
            0
        } else {
            self.registers.read_config_generation()
        }
    }

    fn config_u8(&self, offset: u16) -> Option<u8> {
        self.registers.read_config_space(offset.into()).ok()
    }

    fn config_u16(&self, offset: u16) -> Option<u16> {
        self.registers.read_config_space(offset.into()).ok()
    }

    fn config_u32(&self, offset: u16) -> Option<u32> {
        self.registers.read_config_space(offset.into()).ok()
    }

    fn set_config_u8(&mut self, offset: u16, value: u8) {
        // Whoever depends on it reads it back.
        let _ = self.registers.write_config_space(offset.into(), value);
    }
}
