//! The boot file: what stands before the packed kernel, and what it passes on.
//!
//! The boot file is this crate's program with the kernel behind it, packed. The
//! program (`main.rs`) has a door for each loader that takes the file; it unpacks
//! the kernel and enters it. The ELF is the kernel alone, not packed: loaders of
//! PVH read it from a host's memory, where size costs nothing and each
//! millisecond counts.
//!
//! Here is what others must know, too: `image`, which packs ([`parcel`]); the
//! kernel, which is entered ([`handover`]) and has a door of its own for PVH
//! ([`steps`]). Nothing here reads an address.

#![no_std]
#![forbid(unsafe_code)]

pub mod distances;
pub mod handover;
pub mod options;
pub mod parcel;
pub mod place;
pub mod relocations;
pub mod steps;
