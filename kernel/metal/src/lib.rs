//! What the machine decides, apart from the machine.
//!
//! Everything here is arithmetic on numbers that the processor, the firmware or
//! the operator gave: no register, no address is followed, nothing unsafe. The
//! kernel itself (`main.rs`) has the doors and the registers, and can not run in
//! a host test; this can.

#![no_std]
#![forbid(unsafe_code)]

pub mod acpi;
pub mod firmware;
pub mod map;
pub mod memorial;
pub mod mmio;
pub mod patience;
pub mod pen;
pub mod rate;
pub mod serial;
pub mod share;
pub mod smbios;
pub mod tco;
