//! Cards and disks whose drivers run on another processor.
//!
//! AoE has no IP header, so no card spreads it over queues and no hash finds a second
//! queue for it; and what the node promises (the fence, one keeper, one management) is
//! simple because one processor keeps it. So the work is cut across, not along: one
//! processor has the node, the other the drivers with their rings, and frames cross
//! between them in batches. The node sees a [`Card`] and a [`Disk`] as always.
//!
//! ```text
//! node's processor                                devices' processor
//! Card, Disk ─ push ─► to the devices ─ pop ─► Link::turn: submit, send, post
//!            ◄─ pop ── to the node   ◄─ push ─ poll_done, poll_rx, poll_sent; kick
//! ```
//! Each way is three [`queue`]s: operations, wire, empty frames. A side puts frames in as
//! they come and shows them once a turn, so no frame costs a lock or an atomic operation.
//! Every queue can hold every frame, so handing over never fails and allocates nothing.
//!
//! **Order.** What cards received crosses in one line for all of them, in the order in
//! which it was taken out of the rings. Before answers are shown to a card, everything
//! that lay in the rings is in that line; what a host sends after it has seen an answer
//! stands behind it. So the node's fence holds as it does on one processor, where the
//! rings are emptied before answers leave. How long a frame may have lain in a ring is
//! noted on it here, where the ring is seen.
//!
//! **What was sent** receives again at its card without crossing twice: the node says at
//! each frame that it sends whether it wants it back, and counts those it does not.
//!
//! **Rare calls** (links, sizes, a look at a write under way) go to the driver itself,
//! under the lock that a turn holds, so they wait for the rest of a turn at most.
//!
//! How either side sleeps without losing a frame is in [`sleeper`].

#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod devices;
mod handle;
mod mailbox;
#[allow(unsafe_code)]
mod queue;
mod sleeper;
#[cfg(test)]
mod tests;

pub use devices::Link;
pub use handle::{Card, Disk, Way};
