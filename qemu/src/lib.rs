//! Real guests against the real image: machines, networks, initiators, scenarios.
//!
//! A scenario starts [`Machine`]s from a [`Recipe`], joins them with a
//! [`Switch`] that lives in this process, and looks on: every frame passes
//! through us, so it can be captured, lost, doubled or held back, and our own
//! [`Client`] is one more port. Nothing here touches a host's interface or leaves
//! the process; where programs of this machine join in ([`neighbour`]), the process
//! has a network of its own.
//!
//! Two rules hold everywhere. Every wait has a deadline, and a [`Failure`] says
//! what was expected and where the evidence lies.

#![forbid(unsafe_code)]

pub mod accel;
pub mod bench;
pub mod browser;
pub mod client;
mod console;
mod failure;
pub mod faulty;
pub mod gdb;
pub mod initiator;
pub mod interface;
pub mod journal;
pub mod machine;
pub mod nbd;
pub mod neighbour;
pub mod network;
pub mod packages;
pub mod pattern;
pub mod pcap;
mod qmp;
pub mod scenario;
pub mod scenarios;
pub mod tools;
pub mod volatile;

pub use accel::Accel;
pub use client::Client;
pub use console::Console;
pub use failure::{Failure, OrFail};
pub use machine::{Board, BootFiles, Disk, Emulator, Machine, Nic, Recipe};
pub use network::{Cable, Mac, Switch, Tap};
pub use qmp::Qmp;
pub use scenario::{Context, Report, Scenario};
