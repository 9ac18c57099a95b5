//! The contract between the node and its devices.
//!
//! A [`Frame`] is the request: one fixed slot of memory that goes from the wire
//! to the disk and back, owned by exactly one place at a time. [`Nic`] and
//! [`Disk`] take frames by value and give them back by value; nothing here
//! knows AoE, and nothing here knows a register.
//!
//! The one invariant every implementation keeps: **every place can hold every
//! frame.** A queue, a ring with its backlog, a free list each hold as many
//! frames as the machine has ([`FRAMES_MAX`] at most), so handing a frame on
//! never fails and the data path has no branch for "full".

#![no_std]

mod clock;
mod disk;
mod frame;
#[cfg(feature = "model")]
pub mod model;
mod nic;
mod text;

pub use clock::{Clock, Instant};
pub use disk::{
    DiscardLimits, Disk, Done, Geometry, Identity, Op, Outcome, Request, WriteCache,
    world_wide_name,
};
pub use frame::{
    DATA, FRAMES_MAX, Frame, NET_HEADER, NET_HEADER_BYTES, SCRATCH_BYTES, SLOT_BYTES, WIRE,
    WIRE_BYTES, carve,
};
pub use nic::Nic;
pub use text::Text;

/// One sector, in bytes. AoE knows no other size.
pub const SECTOR_BYTES: usize = 512;
