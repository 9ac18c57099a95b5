//! The controller's registers.
//!
//! The struct is never built: it is the map from which each offset is taken, and
//! the asserts below hold it against the specification. Registers of 64 bits are
//! read and written as two of 32, which every controller allows (NVMe 1.4, 3.1).

use bitflags::bitflags;
use core::mem::offset_of;
pub use pci::{GONE, Registers};

/// Registers of the controller (NVMe 1.4, 3.1), as far as we use them.
#[repr(C)]
struct ControllerRegisters {
    capabilities: [u32; 2],
    version: u32,
    interrupt_mask_set: u32,
    interrupt_mask_clear: u32,
    configuration: u32,
    reserved: u32,
    status: u32,
    subsystem_reset: u32,
    admin_sizes: u32,
    admin_submission: [u32; 2],
    admin_completion: [u32; 2],
}

const _: () = assert!(offset_of!(ControllerRegisters, version) == 0x08);
const _: () = assert!(offset_of!(ControllerRegisters, configuration) == 0x14);
const _: () = assert!(offset_of!(ControllerRegisters, status) == 0x1c);
const _: () = assert!(offset_of!(ControllerRegisters, admin_sizes) == 0x24);
const _: () = assert!(offset_of!(ControllerRegisters, admin_submission) == 0x28);
const _: () = assert!(offset_of!(ControllerRegisters, admin_completion) == 0x30);
const _: () = assert!(size_of::<ControllerRegisters>() == 0x38);

/// CAP.
pub const CAPABILITIES: usize = offset_of!(ControllerRegisters, capabilities);
/// VS.
pub const VERSION: usize = offset_of!(ControllerRegisters, version);
/// CC.
pub const CONFIGURATION: usize = offset_of!(ControllerRegisters, configuration);
/// CSTS.
pub const STATUS: usize = offset_of!(ControllerRegisters, status);
/// AQA.
pub const ADMIN_SIZES: usize = offset_of!(ControllerRegisters, admin_sizes);
/// ASQ.
pub const ADMIN_SUBMISSION: usize = offset_of!(ControllerRegisters, admin_submission);
/// ACQ.
pub const ADMIN_COMPLETION: usize = offset_of!(ControllerRegisters, admin_completion);
/// Bytes of the registers before the doorbells.
pub const FIXED_BYTES: usize = size_of::<ControllerRegisters>();
/// Where the doorbells start (NVMe 1.4, 3.1.24).
const DOORBELLS: usize = 0x1000;

/// CAP: what the controller can (NVMe 1.4, 3.1.1). All of it is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Reads them.
    pub fn read(registers: &impl Registers) -> Self {
        let [low, high] = [0, 4].map(|at| registers.read(CAPABILITIES + at));
        Self(u64::from(low) | u64::from(high) << 32)
    }

    /// MQES: entries of the longest I/O queue.
    pub const fn queue_entries(self) -> u32 {
        (self.0 & 0xffff) as u32 + 1
    }

    /// TO: how long it may take to start and to stop. A controller that claims to
    /// need no time gets the smallest unit.
    pub const fn ready_wait_us(self) -> u64 {
        let units = (self.0 >> 24) & 0xff;
        (if units == 0 { 1 } else { units }) * 500_000
    }

    /// DSTRD: bytes from one doorbell to the next.
    pub const fn doorbell_stride(self) -> usize {
        4 << ((self.0 >> 32) & 0xf)
    }

    /// CSS: it has the NVM command set.
    pub const fn reads_and_writes(self) -> bool {
        self.0 & 1 << 37 != 0
    }

    /// MPSMIN: its smallest page, as a power of two of bytes.
    pub const fn page_exponent_min(self) -> u8 {
        12 + ((self.0 >> 48) & 0xf) as u8
    }
}

bitflags! {
    /// CC: how the controller shall run (NVMe 1.4, 3.1.5). All of it is ours; all
    /// but ENABLE and the shutdown changes only while ENABLE is off. Zeros choose
    /// the NVM command set, pages of 4 KiB and queues served in turn.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Configuration: u32 {
        /// EN: runs. Falling, it resets the controller and all its queues.
        const ENABLE = 1 << 0;
        /// IOSQES: entries of submission queues have 2^6 bytes.
        const COMMANDS_OF_64 = 6 << 16;
        /// IOCQES: entries of completion queues have 2^4 bytes.
        const ANSWERS_OF_16 = 4 << 20;
        /// What we do not name is kept.
        const _ = !0;
    }

    /// CSTS: how the controller is (NVMe 1.4, 3.1.6). All of it is its own.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ControllerStatus: u32 {
        /// RDY: takes commands. When it has fallen, no queue and no memory that
        /// was lent is touched any more.
        const READY = 1 << 0;
        /// CFS: it can not go on.
        const FATAL = 1 << 1;
        /// What we do not name is kept.
        const _ = !0;
    }
}

impl ControllerStatus {
    /// Reads it; `None` from a controller that is not on the bus any more.
    pub fn read(registers: &impl Registers) -> Option<Self> {
        let bits = registers.read(STATUS);
        (bits != GONE).then(|| Self::from_bits_retain(bits))
    }
}

/// Tells the controller to stop and to reset.
pub fn stop(registers: &impl Registers) {
    let configuration = Configuration::from_bits_retain(registers.read(CONFIGURATION));
    let stopped = configuration - Configuration::ENABLE;
    registers.write(CONFIGURATION, stopped.bits());
}

/// The two doorbells of a queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doorbells {
    /// Where the tail of the submission queue is told.
    pub submission: usize,
    /// Where the head of the completion queue is told.
    pub completion: usize,
}

impl Doorbells {
    /// Those of queue pair `queue`, `stride` bytes apart.
    pub const fn of(queue: u16, stride: usize) -> Self {
        let submission = DOORBELLS + queue as usize * 2 * stride;
        Self {
            submission,
            completion: submission + stride,
        }
    }

    /// Bytes of all registers up to these, with them.
    pub const fn end(&self) -> usize {
        self.completion + 4
    }
}

const _: () = assert!(Doorbells::of(3, 4).submission == 0x1018);
const _: () = assert!(Doorbells::of(3, 8).completion == 0x1038);
