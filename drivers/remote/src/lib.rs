//! Cards and disks whose drivers run on another processor.
//!
//! AoE has no IP header, so no card spreads it over queues and no hash finds a second
//! queue for it; and what the node promises (the fence, one keeper, one management) is
//! simple because one processor keeps it. So the work is cut across, not along: one
//! processor has the node, the other the drivers with their rings, and frames cross
//! between them in batches. The node sees a [`Card`] and a [`Disk`] as always.
//!
//! ```text
//! node's processor                                       devices' processor
//! Card, Disk ─ out ─► to_devices ─ swapped in ─► Link::turn: submit, send, post
//!            ◄─ inn ─ to_node    ◄─ swapped in ─ poll_done, poll_rx, poll_sent; kick
//! ```
//! A side collects frames in a batch of its own and hands it over once a turn: the lock
//! of a [`mailbox`] is held for a swap of two pointers, and no frame costs a lock. Every
//! batch can hold every frame, so handing over never fails and allocates nothing.
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
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod devices;
mod handle;
mod mailbox;
mod parcel;
mod sleeper;
#[cfg(test)]
mod tests;

pub use devices::Link;
pub use handle::{Card, Disk, Way};
