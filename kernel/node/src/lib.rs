//! The data path: from the wire to the disk and back, one turn at a time.
//!
//! A [`Node`] owns network cards, disks and frames, and moves frames between them:
//! [`Node::step`] is one turn of that, written so that it reads straight down. What
//! a frame means is the business of `aoe`; what a device does with one is behind
//! [`io::Nic`] and [`io::Disk`]. The node adds what neither of them can know:
//!
//! - **the order of writes** across all ports (`pass_fence` in `step/start`);
//! - **durability**: a write is answered when it would survive a power cut, and
//!   writes that end together share a flush (`station`);
//! - **fairness with frames**: a disk that hangs keeps its share of them and no
//!   more (`port`), so everything else is still served;
//! - **which disk is which export** ([`plan`]), from settings ([`config`]) that no
//!   mistake in them can stop.
//!
//! After [`Node::new`] nothing allocates, nothing waits, and every loop over what
//! comes from outside has a budget ([`limits`]).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod announce;
mod banner;
mod capture;
mod claim;
mod closing;
pub mod config;
mod crc;
mod crowd;
mod epitaph;
mod events;
#[cfg(test)]
mod fake;
mod histogram;
mod keeper;
pub mod limits;
mod mark;
mod measure;
pub mod media;
mod mgmt;
mod newcomer;
mod node;
pub mod plan;
mod port;
mod shelf;
pub mod state;
mod station;
mod step;
pub mod tally;
#[cfg(test)]
mod tests;
mod through;
pub mod volume;
mod waiting;

pub use banner::{Banner, Boot, Line};
pub use closing::Order;
pub use epitaph::{EPITAPH_BYTES, FIGURES_BYTES};
pub use events::{Event, Events, Noted, TRACE_MAX, Trace};
pub use histogram::{BUCKETS, Histogram};
pub use node::{Attached, EARLY, Export, Node, StateArea};
pub use plan::Origin;
