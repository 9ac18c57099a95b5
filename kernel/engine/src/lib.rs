//! The engine: the node and its drivers, put together as code.
//!
//! `node` is written for any card and any disk, so its machine code comes into
//! being where the types are named, with the options of *that* crate. This is that
//! crate, and it is the one that is compiled for speed. What runs now and then
//! (start-up, pages, settings, media) is compiled for size in the crates where it
//! stands or in `metal`, which calls it: so a door belongs here if, and only if, it
//! is passed on the way of a frame.
//!
//! For the same reason the small functions on that way are `#[inline]` in their own
//! crates: then they come into being here as well.

#![no_std]
#![forbid(unsafe_code)]

mod devices;

pub use devices::{AnyDisk, AnyNic, Time};

use io::Instant;

/// What two processors share: see [`remote`].
pub type Link = remote::Link<AnyNic, AnyDisk>;

/// The node's end of it: [`remote::Way`].
pub type Way = remote::Way<AnyNic, AnyDisk>;

/// The node, for these devices.
pub type Node = node::Node<AnyNic, AnyDisk>;

/// One turn of the loop: [`node::Node::step`].
pub fn step(node: &mut Node, now: Instant) -> bool {
    node.step(now)
}

/// One turn of the other processor's loop: [`remote::Link::turn`]. Not in line, or it
/// would be compiled where it is called, for size.
#[inline(never)]
pub fn move_frames(link: &Link, now: Instant) -> bool {
    link.turn(now)
}

/// When the next turn is due at the latest: [`node::Node::next_deadline`].
pub fn next_deadline(node: &Node) -> Instant {
    node.next_deadline()
}

/// Whether one more turn would be in vain: [`node::Node::is_quiet`].
pub fn is_quiet(node: &Node) -> bool {
    node.is_quiet()
}

/// Where a sleep follows a turn that moved something: [`node::Node::rest_from`].
pub fn rest_from(node: &mut Node, now: Instant) {
    node.rest_from(now);
}

/// Before a sleep: [`node::Node::arm`].
pub fn arm(node: &mut Node) -> bool {
    node.arm()
}

/// After it: [`node::Node::disarm`].
pub fn disarm(node: &mut Node, now: Instant) {
    node.disarm(now);
}
