//! What the simulated machine gives to drivers and their devices.

pub(crate) mod dma;
