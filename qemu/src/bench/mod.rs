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
//! for all, unless a part says otherwise: what is measured is the target alone. What
//! the parts are, and all that they find, is in `parts`.

mod compare;
mod copies;
mod counter;
mod counts;
mod crowd;
mod data;
mod devices;
mod fio;
mod goals;
mod host;
mod ladder;
mod latency;
mod limits;
mod line;
mod load;
mod matrix;
mod page;
mod parts;
mod processors;
mod report;
mod rest;
mod rival;
mod size;
mod snapshot;
mod spread;
mod start;
mod svg;
mod target;
mod verify;

pub use compare::Row;
pub use copies::{Copies, MORE_BYTES, copies};
pub use counter::Counts;
pub use counts::{Measured, loads, loads_of_the_check, measure};
pub use crowd::Crowd;
pub use data::{csv, json};
pub use devices::OnDevices;
pub use fio::{Fio, FioRun};
pub use goals::{Goal, goals, goals_table};
pub use host::Host;
pub use ladder::Rung;
pub use latency::{Latencies, PARTS, PARTS_OF, Percentiles};
pub use limits::{Echoed, Limits};
pub use line::{INSTRUCTIONS_PER_SECOND, LineRate, line_rates};
pub use load::{Access, Contents, Load, Order, Outcome, Trouble, Until, drive};
pub use matrix::{Cell, Mode, Storage};
pub use page::page;
pub use parts::{Findings, Pace, Part, run};
pub use processors::OnProcessors;
pub use report::{comparison, lines, table};
pub use rest::{Idle, rest};
pub use size::{File, Size};
pub use snapshot::{Changes, compare, snapshot};
pub use spread::Spread;
pub use start::{Start, Step, Whose};
pub use target::{Place, Target};
pub use verify::Verified;
