//! Initiators that nobody here wrote: Linux with its own `aoe` driver, and iPXE.
//!
//! They run in machines of their own and reach the node through the same switch
//! as everything else. What they need comes from Debian's packages, unpacked
//! aside and never installed; what we add is the first process of the Linux
//! guest (`guest/init`) and a few words for scripts (`guest/words.sh`).

mod cpio;
pub mod dhcp;
mod elf;
pub(crate) mod kexec;
pub mod linux;
pub(crate) mod netserver;

pub use linux::{Guest, Linux};
pub(crate) use linux::{Kernel, Parts};
