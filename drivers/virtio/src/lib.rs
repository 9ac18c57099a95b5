//! virtio-net, virtio-blk and virtio-scsi, for one frame at a time and many in flight.
//!
//! A driver here owns the frames it was given: they sit in its ring
//! (`ring`) until the device returns them, and a list as long as the machine
//! has frames waits behind it, so taking a frame never fails. The ring is our
//! own, because a storage node lives from what a general one leaves out: batches
//! that cost one decision and at most one doorbell, an indirect table that lies
//! in the frame itself, and indices that are right across 65,535.
//!
//! Over memory-mapped registers the transport is `virtio-drivers`'; over PCI it
//! is ours, see [`PciTransport`]. Whatever the device writes is read once and
//! checked; a device that breaks the rules is taken out of service with a
//! sentence, and never makes us read or write outside of what it was lent.

#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod blk;
mod error;
mod net;
#[allow(unsafe_code)]
mod ring;
mod scsi;
mod service;
mod transport;

#[cfg(any(test, feature = "model"))]
#[allow(unsafe_code)]
pub mod model;

pub use blk::Blk;
pub use error::Error;
pub use net::Net;
pub use scsi::Scsi;
pub use transport::{
    Bus, DEVICES, DeviceId, MmioTransport, PciTransport, QueuePlace, Status, Transport,
};

/// What the machine lends a driver.
pub use pci::Resources;
