//! The controller's registers, and the one way to reach them.
//!
//! The two structs are never built: they are the map from which each offset is
//! taken, and the asserts below hold it against the specification. A register
//! is read and written as its own type through [`Registers`], behind which
//! stands the controller or, in tests, its model.

use bitflags::bitflags;
use core::marker::PhantomData;
use core::mem::offset_of;
use pci::DeviceMemory;

/// Where 32-bit registers are read and written.
pub trait Registers {
    /// Reads the register at byte `offset`.
    fn read(&self, offset: usize) -> u32;

    /// Writes the register at byte `offset`.
    fn write(&self, offset: usize, value: u32);

    /// How many bytes of registers there are.
    fn bytes(&self) -> usize;
}

impl Registers for DeviceMemory {
    fn read(&self, offset: usize) -> u32 {
        self.read(pci::Register::<u32>::at(offset))
    }

    fn write(&self, offset: usize, value: u32) {
        self.write(pci::Register::<u32>::at(offset), value);
    }

    fn bytes(&self) -> usize {
        self.len()
    }
}

/// Registers of the whole controller (AHCI 1.3.1, 3.1).
#[repr(C)]
struct HbaRegisters {
    capabilities: Capabilities,
    control: Control,
    interrupts: u32,
    ports: u32,
    version: u32,
    coalescing: [u32; 2],
    enclosure: [u32; 2],
    capabilities_more: CapabilitiesMore,
    handoff: Handoff,
    reserved: [u32; 53],
    first_port: PortRegisters,
}

/// Registers of one port (AHCI 1.3.1, 3.3).
#[repr(C)]
struct PortRegisters {
    command_list: [u32; 2],
    received_fis: [u32; 2],
    interrupts: Interrupts,
    interrupts_enabled: Interrupts,
    command: Command,
    reserved: u32,
    task_file: TaskFile,
    signature: Signature,
    link_status: LinkStatus,
    link_control: LinkControl,
    link_error: LinkError,
    queued: u32,
    issued: u32,
    reserved_end: [u32; 17],
}

const _: () = assert!(offset_of!(HbaRegisters, control) == 0x04);
const _: () = assert!(offset_of!(HbaRegisters, interrupts) == 0x08);
const _: () = assert!(offset_of!(HbaRegisters, ports) == 0x0c);
const _: () = assert!(offset_of!(HbaRegisters, capabilities_more) == 0x24);
const _: () = assert!(offset_of!(HbaRegisters, handoff) == 0x28);
const _: () = assert!(offset_of!(HbaRegisters, first_port) == 0x100);
const _: () = assert!(offset_of!(PortRegisters, received_fis) == 0x08);
const _: () = assert!(offset_of!(PortRegisters, interrupts) == 0x10);
const _: () = assert!(offset_of!(PortRegisters, interrupts_enabled) == 0x14);
const _: () = assert!(offset_of!(PortRegisters, command) == 0x18);
const _: () = assert!(offset_of!(PortRegisters, task_file) == 0x20);
const _: () = assert!(offset_of!(PortRegisters, signature) == 0x24);
const _: () = assert!(offset_of!(PortRegisters, link_status) == 0x28);
const _: () = assert!(offset_of!(PortRegisters, link_control) == 0x2c);
const _: () = assert!(offset_of!(PortRegisters, link_error) == 0x30);
const _: () = assert!(offset_of!(PortRegisters, queued) == 0x34);
const _: () = assert!(offset_of!(PortRegisters, issued) == 0x38);
const _: () = assert!(size_of::<PortRegisters>() == 0x80);

/// Where the registers of port 0 start.
pub const PORTS_AT: usize = offset_of!(HbaRegisters, first_port);
/// Bytes of one port's registers.
pub const PORT_BYTES: usize = size_of::<PortRegisters>();
/// Most ports a controller has.
pub const PORTS_MAX: usize = 32;
/// All registers a controller with every port has.
pub const BYTES_MAX: usize = PORTS_AT + PORTS_MAX * PORT_BYTES;

/// A register's offset and what it holds.
pub struct Register<T> {
    offset: usize,
    holds: PhantomData<T>,
}

impl<T> Register<T> {
    const fn at(offset: usize) -> Self {
        Self {
            offset,
            holds: PhantomData,
        }
    }

    /// Bytes from the start of its block, for the model.
    #[cfg(any(test, feature = "model"))]
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }
}

/// What a register holds.
pub trait Value: Copy {
    /// From the register's bits, of which some may be unknown to us.
    fn from_register(bits: u32) -> Self;

    /// To the register's bits.
    fn to_register(self) -> u32;
}

impl Value for u32 {
    fn from_register(bits: u32) -> Self {
        bits
    }

    fn to_register(self) -> u32 {
        self
    }
}

macro_rules! values {
    (flags: $($flags:ident),*; numbers: $($number:ident),*) => {
        $(impl Value for $flags {
            fn from_register(bits: u32) -> Self {
                Self::from_bits_retain(bits)
            }
            fn to_register(self) -> u32 {
                self.bits()
            }
        })*
        $(impl Value for $number {
            fn from_register(bits: u32) -> Self {
                Self(bits)
            }
            fn to_register(self) -> u32 {
                self.0
            }
        })*
    };
}
values! {
    flags: Control, CapabilitiesMore, Handoff, Interrupts, Command, TaskFile, LinkError;
    numbers: Capabilities, Signature, LinkStatus, LinkControl
}

/// The whole controller's registers, by their names in the specification.
pub mod hba {
    use super::*;

    /// CAP.
    pub const CAPABILITIES: Register<Capabilities> =
        Register::at(offset_of!(HbaRegisters, capabilities));
    /// GHC.
    pub const CONTROL: Register<Control> = Register::at(offset_of!(HbaRegisters, control));
    /// IS: one bit a port. Cleared by ones.
    pub const INTERRUPTS: Register<u32> = Register::at(offset_of!(HbaRegisters, interrupts));
    /// PI: which ports exist.
    pub const PORTS: Register<u32> = Register::at(offset_of!(HbaRegisters, ports));
    /// CAP2.
    pub const CAPABILITIES_MORE: Register<CapabilitiesMore> =
        Register::at(offset_of!(HbaRegisters, capabilities_more));
    /// BOHC.
    pub const HANDOFF: Register<Handoff> = Register::at(offset_of!(HbaRegisters, handoff));
}

/// One port's registers, by their names in the specification.
pub mod port {
    use super::*;

    /// PxCLB.
    pub const COMMAND_LIST: Register<u32> = Register::at(offset_of!(PortRegisters, command_list));
    /// PxCLBU.
    pub const COMMAND_LIST_HIGH: Register<u32> =
        Register::at(offset_of!(PortRegisters, command_list) + 4);
    /// PxFB.
    pub const RECEIVED_FIS: Register<u32> = Register::at(offset_of!(PortRegisters, received_fis));
    /// PxFBU.
    pub const RECEIVED_FIS_HIGH: Register<u32> =
        Register::at(offset_of!(PortRegisters, received_fis) + 4);
    /// PxIS. Cleared by ones.
    pub const INTERRUPTS: Register<Interrupts> =
        Register::at(offset_of!(PortRegisters, interrupts));
    /// PxIE.
    pub const INTERRUPTS_ENABLED: Register<Interrupts> =
        Register::at(offset_of!(PortRegisters, interrupts_enabled));
    /// PxCMD.
    pub const COMMAND: Register<Command> = Register::at(offset_of!(PortRegisters, command));
    /// PxTFD.
    pub const TASK_FILE: Register<TaskFile> = Register::at(offset_of!(PortRegisters, task_file));
    /// PxSIG.
    pub const SIGNATURE: Register<Signature> = Register::at(offset_of!(PortRegisters, signature));
    /// PxSSTS.
    pub const LINK_STATUS: Register<LinkStatus> =
        Register::at(offset_of!(PortRegisters, link_status));
    /// PxSCTL.
    pub const LINK_CONTROL: Register<LinkControl> =
        Register::at(offset_of!(PortRegisters, link_control));
    /// PxSERR. Cleared by ones.
    pub const LINK_ERROR: Register<LinkError> = Register::at(offset_of!(PortRegisters, link_error));
    /// PxSACT: queued commands the drive has not finished. We set bits, the
    /// drive clears them by Set Device Bits FISes.
    pub const QUEUED: Register<u32> = Register::at(offset_of!(PortRegisters, queued));
    /// PxCI: commands the controller has not finished, or, for a queued one,
    /// not handed over yet. We set bits, the controller clears them.
    pub const ISSUED: Register<u32> = Register::at(offset_of!(PortRegisters, issued));
}

/// CAP. Written by the firmware, read by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// SSS: drives wait with spinning up until their port is told to.
    pub const STAGGERED_SPIN_UP: u32 = 1 << 27;
    /// SNCQ: queued commands.
    pub const NCQ: u32 = 1 << 30;
    /// S64A: addresses above 4 GiB.
    pub const WIDE_ADDRESSES: u32 = 1 << 31;

    /// Whether it has this capability.
    pub const fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    /// NCS: commands a port's list holds, 1 to 32.
    pub const fn slots(self) -> u8 {
        (self.0 >> 8 & 0x1f) as u8 + 1
    }
}

bitflags! {
    /// GHC.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct Control: u32 {
        /// HR: reset everything. Set by us, cleared by the controller when done.
        const RESET = 1 << 0;
        /// IE: interrupts. Ours; what a port interrupts for is its own choice.
        const INTERRUPTS = 1 << 1;
        /// AE: the registers mean what this file says. Ours, before all else.
        const AHCI = 1 << 31;
        const _ = !0;
    }

    /// CAP2.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct CapabilitiesMore: u32 {
        /// BOH: the firmware may still own the controller.
        const HANDOFF = 1 << 0;
        const _ = !0;
    }

    /// BOHC (AHCI 1.3.1, 10.6).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct Handoff: u32 {
        /// BOS: the firmware owns it. The firmware's.
        const FIRMWARE_OWNS = 1 << 0;
        /// OOS: we want it. Ours.
        const WE_OWN = 1 << 1;
        /// OOC: ownership changed. Cleared by a one.
        const CHANGED = 1 << 3;
        /// BB: the firmware is still finishing commands. The firmware's.
        const FIRMWARE_BUSY = 1 << 4;
        const _ = !0;
    }

    /// PxIS and PxIE.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct Interrupts: u32 {
        /// DHRS: a register FIS with its interrupt bit came.
        const REGISTER_FIS = 1 << 0;
        /// PSS: a PIO setup FIS came.
        const PIO_SETUP_FIS = 1 << 1;
        /// SDBS: a Set Device Bits FIS came: queued commands ended.
        const DEVICE_BITS_FIS = 1 << 3;
        /// PCS: something was plugged in, or the drive started anew. Falls
        /// with [`LinkError::EXCHANGED`].
        const CONNECT_CHANGE = 1 << 6;
        /// PRCS: the link went down or came up. Falls with
        /// [`LinkError::PHY_CHANGE`].
        const PHY_CHANGE = 1 << 22;
        /// OFS: the drive sent more than the command had room for.
        const OVERFLOW = 1 << 24;
        /// IFS: the link garbled something, and the port stopped.
        const INTERFACE_FATAL = 1 << 27;
        /// HBDS: the controller could not reach memory.
        const HOST_DATA = 1 << 28;
        /// HBFS: the controller could not reach memory at all.
        const HOST_FATAL = 1 << 29;
        /// TFES: the drive ended a command with an error, and the port stopped.
        const TASK_FILE_ERROR = 1 << 30;
        const _ = !0;
    }

    /// PxCMD.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct Command: u32 {
        /// ST: may run the command list. Ours; only after `RECEIVE`, with a
        /// drive that is ready, and never while `LIST_RUNNING`.
        const START = 1 << 0;
        /// SUD: spin up. Ours where the controller staggers, else fixed to one.
        const SPIN_UP = 1 << 1;
        /// POD: power. Ours where the controller switches it, else fixed to one.
        const POWER = 1 << 2;
        /// FRE: may write received FISes. Ours; after their memory is named.
        const RECEIVE = 1 << 4;
        /// FR: writes received FISes. The controller's.
        const RECEIVE_RUNNING = 1 << 14;
        /// CR: list is running. The controller's; wait for it to fall before
        /// touching the list.
        const LIST_RUNNING = 1 << 15;
        /// ICC: interface active, told by a one in the lowest bit of four.
        const LINK_ACTIVE = 1 << 28;
        const _ = !0;
    }

    /// PxTFD: status in the low byte, error in the next. The drive's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct TaskFile: u32 {
        /// ERR: the last command failed; the error byte says how.
        const ERROR = 1 << 0;
        /// DRQ: wants to move data.
        const DATA_REQUEST = 1 << 3;
        /// DF: the drive is broken (ATA8-ACS 6.2.6).
        const DEVICE_FAULT = 1 << 5;
        /// BSY.
        const BUSY = 1 << 7;
        /// ABRT: did not run the command.
        const ABORTED = 1 << (8 + 2);
        /// IDNF: no such sector.
        const NOT_FOUND = 1 << (8 + 4);
        /// UNC: data could not be read.
        const UNCORRECTABLE = 1 << (8 + 6);
        /// ICRC: the link garbled the data.
        const LINK_CRC = 1 << (8 + 7);
        const _ = !0;
    }

    /// PxSERR. Set by the controller, cleared by ones.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct LinkError: u32 {
        /// DIAG.N: the link went down or came up.
        const PHY_CHANGE = 1 << 16;
        /// DIAG.X: something was plugged in. While it stands, the controller
        /// takes no signature.
        const EXCHANGED = 1 << 26;
        const _ = !0;
    }
}

impl Interrupts {
    /// What ends the normal course of a port.
    pub const FAILURES: Self = Self::PHY_CHANGE
        .union(Self::OVERFLOW)
        .union(Self::INTERFACE_FATAL)
        .union(Self::HOST_DATA)
        .union(Self::HOST_FATAL)
        .union(Self::TASK_FILE_ERROR);
    /// What the node is woken for.
    pub const WAKERS: Self = Self::FAILURES
        .union(Self::REGISTER_FIS)
        .union(Self::DEVICE_BITS_FIS);
}

/// PxSIG: the first FIS after a reset says what kind of device it is. Another
/// may be invented, so a newtype and not an enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Signature(pub u32);

impl Signature {
    /// A disk.
    pub const DISK: Self = Self(0x0000_0101);
    /// An optical or tape drive (ATAPI).
    pub const PACKET: Self = Self(0xeb14_0101);
    /// A port multiplier.
    pub const MULTIPLIER: Self = Self(0x9669_0101);
    /// An enclosure's management.
    pub const ENCLOSURE: Self = Self(0xc33c_0101);
}

/// PxSSTS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct LinkStatus(pub u32);

impl LinkStatus {
    /// DET: nobody there.
    pub const ABSENT: u32 = 0;
    /// DET: somebody there, and the link is up.
    pub const UP: u32 = 3;

    /// DET.
    pub const fn detection(self) -> u32 {
        self.0 & 0xf
    }
}

/// PxSCTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct LinkControl(pub u32);

impl LinkControl {
    /// IPM: the drive may not put the link to sleep. A link that sleeps and
    /// wakes looks like one that is lost.
    const NO_SLEEP: u32 = 3 << 8;
    /// Link free to come up.
    pub const NORMAL: Self = Self(Self::NO_SLEEP);
    /// COMRESET, as long as this stands.
    pub const RESET: Self = Self(Self::NO_SLEEP | 1);
}

/// The whole controller.
pub struct Hba<R>(pub R);

impl<R: Registers> Hba<R> {
    /// Reads a register.
    pub fn read<T: Value>(&self, register: Register<T>) -> T {
        T::from_register(self.0.read(register.offset))
    }

    /// Writes a register.
    pub fn write<T: Value>(&self, register: Register<T>, value: T) {
        self.0.write(register.offset, value.to_register());
    }

    /// Whether the registers of port `number` lie inside of the device's memory.
    pub fn has_room_for(&self, number: u8) -> bool {
        PORTS_AT + (usize::from(number) + 1) * PORT_BYTES <= self.0.bytes()
    }
}

/// One port of a controller.
pub struct Port<R> {
    registers: R,
    base: usize,
    number: u8,
}

impl<R: Registers> Port<R> {
    /// Port `number` of the controller whose registers these are.
    pub fn new(registers: R, number: u8) -> Self {
        Self {
            registers,
            base: PORTS_AT + usize::from(number) * PORT_BYTES,
            number,
        }
    }

    /// Which port, from 0 on.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Reads a register.
    pub fn read<T: Value>(&self, register: Register<T>) -> T {
        T::from_register(self.registers.read(self.base + register.offset))
    }

    /// Writes a register.
    pub fn write<T: Value>(&self, register: Register<T>, value: T) {
        self.registers
            .write(self.base + register.offset, value.to_register());
    }

    /// Changes PxCMD. The lowest bit of ICC is an order that reads back as
    /// zero when it was carried out, so keeping what we read repeats nothing.
    pub fn change_command(&self, change: impl FnOnce(Command) -> Command) {
        let before = self.read(port::COMMAND);
        self.write(port::COMMAND, change(before));
    }

    /// Clears what the link reported.
    pub fn clear_link_errors(&self) {
        self.write(port::LINK_ERROR, LinkError::all());
    }

    /// Clears this port's interrupts, its own first: the controller's bit rises
    /// again as long as one of them stands (AHCI 1.3.1, 10.7.2.1).
    pub fn clear_interrupts(&self, which: Interrupts) {
        self.write(port::INTERRUPTS, which);
        self.registers
            .write(hba::INTERRUPTS.offset, 1 << self.number);
    }
}
