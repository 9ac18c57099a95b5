//! SCSI disks (SPC-5, SBC-4), whatever carries the commands.
//!
//! ```text
//! Adapter (virtio-scsi, PVSCSI)  one queue for all units: takes commands, gives answers
//!    ▲
//! Bus                            shared by the units: sorts answers, tries again
//!    ▲
//! Disk                           one logical unit as an io::Disk
//! ```
//! An adapter moves commands and knows nothing of what they mean; all that a disk
//! may answer, and what to do about it, is here, once. The units behind one adapter
//! share its queue, so they share the [`Bus`](bus) too; one that is slow or broken
//! costs the others nothing but its place in the queue.
//!
//! A command that must be sent again is made anew from the request: nothing of it
//! is kept in the frame, where the device may write.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod adapter;
mod bus;
pub mod command;
mod discovery;
mod disk;
mod error;
#[cfg(test)]
mod fake;
mod newcomer;
mod pages;
mod seat;
mod sense;
#[cfg(test)]
mod tests;
mod unit;

pub use adapter::{Adapter, Address, Answer, Data, End, Mark, Notice, SENSE_BYTES};
pub use discovery::attach;
pub use disk::Disk;
pub use error::{Error, Skipped};
pub use sense::{Key, Sense};
