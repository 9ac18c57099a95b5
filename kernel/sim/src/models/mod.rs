//! Device-side models: what the node's memory and, one day, its registers and
//! rings look like from the other side.
//!
//! `dma` is the machine's memory. Models of virtio rings, AHCI, NVMe and network
//! cards will lie beside it, each stricter than the hardware it stands for.

pub(crate) mod dma;
