//! The node and its rival, measured beside each other.
//!
//! Two kinds of figure. How many instructions a guest spends on a request, and how
//! often it touches a device's registers for it, hardly depends on how busy the
//! machine is: a QEMU plugin (the crate `counter`) counts both while a target serves
//! our own client, and a snapshot of them is kept in the tree. Time is measured
//! beside it and means something only as a ratio to what was measured in the same
//! run, so the targets take turns.
//!
//! The disk is one that moves no data (QEMU's `null-co` behind virtio-blk), the same
//! for all: what is measured is the target alone.

mod compare;
mod copies;
mod counter;
mod counts;
mod crowd;
mod data;
mod devices;
mod latency;
mod load;
mod page;
mod report;
mod rest;
mod rival;
mod snapshot;
mod svg;
mod target;

pub use compare::{Comparison, Idle, Ours, Row, Spread, Start, Verified, compare_targets};
pub use copies::{Copies, MORE_BYTES, copies};
pub use counter::Counts;
pub use counts::{Measured, loads, loads_of_the_check, measure};
pub use crowd::Crowd;
pub use data::{csv, json};
pub use devices::{OnDevices, devices};
pub use latency::{Latencies, Percentiles};
pub use load::{Access, Contents, Load, Order, Outcome, Trouble, Until, drive};
pub use page::page;
pub use report::{comparison, table};
pub use rest::rest;
pub use snapshot::{Changes, compare, snapshot};
pub use target::{Place, Target};
