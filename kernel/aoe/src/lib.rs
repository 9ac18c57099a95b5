//! The AoE protocol (version 1, AoEr11) as a target speaks it.
//!
//! Bytes in, verdict out. A received frame is given to [`Target::admit`] in the
//! buffer it arrived in; it is dropped, turned into its answer where it lies, or
//! left as it is and described as an [`Io`]. When the disk has done that,
//! [`Target::complete`] turns the same bytes into the answer. Nothing is kept
//! between the two: the frame is the request.
//!
//! There is no clock in here, no device and no memory but what is passed in. If a
//! test of the protocol needs a thread or a sleep, the border has moved.
//!
//! The rules of the protocol are numbered in `RULES.md` and cited as `R-001`
//! where they are kept and where they are tested.
//!
//! | file | what is in it |
//! |---|---|
//! | `wire` | where things lie in a frame; tag, addresses, sizes |
//! | `target` | one export: who is heard, what is answered |
//! | `verdict` | what becomes of a frame, and every reason why |
//! | `ata`, `identify`, `smart` | command 0: the disk |
//! | `config` | command 1: discovery and the config string |
//! | `access` | commands 2 and 3: mask list and reservation |
//! | `fence` | the order of overlapping writes, and copies of them |
//! | `medium` | what the target must be told of disk and operator |
//! | `limits` | every limit, with its reason |
#![no_std]
#![forbid(unsafe_code)]

mod access;
mod ata;
mod config;
pub mod fence;
mod identify;
pub mod limits;
mod medium;
mod smart;
mod target;
mod verdict;
mod wire;

pub use ata::{Io, IoOp, Outcome, discard_ranges, io_of};
pub use medium::{Cache, Errors, Health, Medium, Policy};
pub use target::{Change, Target};
pub use verdict::{Drop, Refusal, Verdict};
pub use wire::{Address, Mac, Peek, Port, ask, echo, peek, tag_of};
