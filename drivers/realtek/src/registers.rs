//! The card's registers: of three widths, each to be touched as wide as it is.
//!
//! The struct is never built: it is the map from which each offset is taken.

use bitflags::bitflags;
use core::mem::offset_of;
use pci::{DeviceMemory, Register};

/// Bytes of them.
pub const BYTES: usize = 0x100;
/// What the causes of a card that is gone read as.
pub const GONE: u16 = u16::MAX;

/// Where registers are read and written.
pub trait Registers {
    /// Reads the 8-bit register at byte `offset`.
    fn read8(&self, offset: usize) -> u8;
    /// Reads the 16-bit register at byte `offset`.
    fn read16(&self, offset: usize) -> u16;
    /// Reads the 32-bit register at byte `offset`.
    fn read32(&self, offset: usize) -> u32;
    /// Writes the 8-bit register at byte `offset`.
    fn write8(&self, offset: usize, value: u8);
    /// Writes the 16-bit register at byte `offset`.
    fn write16(&self, offset: usize, value: u16);
    /// Writes the 32-bit register at byte `offset`.
    fn write32(&self, offset: usize, value: u32);
}

impl Registers for DeviceMemory {
    fn read8(&self, offset: usize) -> u8 {
        self.read(Register::at(offset))
    }

    fn read16(&self, offset: usize) -> u16 {
        self.read(Register::at(offset))
    }

    fn read32(&self, offset: usize) -> u32 {
        self.read(Register::at(offset))
    }

    fn write8(&self, offset: usize, value: u8) {
        self.write(Register::at(offset), value);
    }

    fn write16(&self, offset: usize, value: u16) {
        self.write(Register::at(offset), value);
    }

    fn write32(&self, offset: usize, value: u32) {
        self.write(Register::at(offset), value);
    }
}

/// Registers (RTL8169, 6), as far as we use them.
#[repr(C)]
struct CardRegisters {
    address: [u32; 2],
    groups: [u32; 2],
    reserved_10: [u32; 4],
    transmit_ring: [u32; 2],
    reserved_28: [u32; 3],
    reserved_34: [u8; 3],
    command: u8,
    /// Of the 8168.
    doorbell: u8,
    reserved_39: [u8; 3],
    mask: u16,
    causes: u16,
    transmit: u32,
    receive: u32,
    reserved_48: [u32; 4],
    /// Of the 8139.
    media: u8,
    reserved_59: [u8; 7],
    /// Of the 8168.
    phy: u32,
    reserved_64: [u32; 2],
    /// Of the 8168.
    phy_status: u8,
    reserved_6d: [u8; 108],
    /// Of the 8139.
    doorbell_8139: u8,
    /// Of the 8168.
    longest: u16,
    reserved_dc: u32,
    plus: u16,
    reserved_e2: u16,
    receive_ring: [u32; 2],
}

const _: () = assert!(offset_of!(CardRegisters, transmit_ring) == 0x20);
const _: () = assert!(offset_of!(CardRegisters, command) == 0x37);
const _: () = assert!(offset_of!(CardRegisters, doorbell) == 0x38);
const _: () = assert!(offset_of!(CardRegisters, mask) == 0x3c);
const _: () = assert!(offset_of!(CardRegisters, receive) == 0x44);
const _: () = assert!(offset_of!(CardRegisters, media) == 0x58);
const _: () = assert!(offset_of!(CardRegisters, phy) == 0x60);
const _: () = assert!(offset_of!(CardRegisters, phy_status) == 0x6c);
const _: () = assert!(offset_of!(CardRegisters, doorbell_8139) == 0xd9);
const _: () = assert!(offset_of!(CardRegisters, longest) == 0xda);
const _: () = assert!(offset_of!(CardRegisters, plus) == 0xe0);
const _: () = assert!(offset_of!(CardRegisters, receive_ring) == 0xe4);

/// IDR: the Ethernet address, in two words.
pub const ADDRESS: usize = offset_of!(CardRegisters, address);
/// MAR: hashes of group addresses, in two words.
pub const GROUPS: usize = offset_of!(CardRegisters, groups);
/// TNPDS: where the ring of frames to send is, lower half and upper.
pub const TRANSMIT_RING: usize = offset_of!(CardRegisters, transmit_ring);
/// CR, 8 bits.
pub const COMMAND: usize = offset_of!(CardRegisters, command);
/// TPPoll, 8 bits: there is something to send. Of the 8168.
pub const DOORBELL: usize = offset_of!(CardRegisters, doorbell);
/// TPPoll of the 8139.
pub const DOORBELL_8139: usize = offset_of!(CardRegisters, doorbell_8139);
/// IMR, 16 bits: ones let causes interrupt.
pub const MASK: usize = offset_of!(CardRegisters, mask);
/// ISR, 16 bits. Ones that are written clear.
pub const CAUSES: usize = offset_of!(CardRegisters, causes);
/// TCR.
pub const TRANSMIT: usize = offset_of!(CardRegisters, transmit);
/// RCR.
pub const RECEIVE: usize = offset_of!(CardRegisters, receive);
/// MSR of the 8139, 8 bits.
pub const MEDIA: usize = offset_of!(CardRegisters, media);
/// PHYAR: the way to the PHY's registers. Of the 8168.
pub const PHY: usize = offset_of!(CardRegisters, phy);
/// PHYStatus, 8 bits. Of the 8168.
pub const PHY_STATUS: usize = offset_of!(CardRegisters, phy_status);
/// RMS, 16 bits: the longest frame. Of the 8168.
pub const LONGEST: usize = offset_of!(CardRegisters, longest);
/// C+CR, 16 bits.
pub const PLUS: usize = offset_of!(CardRegisters, plus);
/// RDSAR: where the ring of empty frames is, lower half and upper.
pub const RECEIVE_RING: usize = offset_of!(CardRegisters, receive_ring);

/// TPPoll, NPQ: look at the ring.
pub const LOOK: u8 = 1 << 6;
/// MSR, LINKB: there is no link.
pub const MEDIA_NO_LINK: u8 = 1 << 2;
/// PHYStatus, LinkSts: there is a link.
pub const PHY_LINK: u8 = 1 << 1;

/// PHYAR, Flag: write; falls when it is written.
pub const PHY_BUSY: u32 = 1 << 31;
/// The PHY's register 0 (IEEE 802.3, 22.2.4.1): powered, agree on a speed, now.
pub const PHY_AGREE: u32 = 1 << 12 | 1 << 9;

bitflags! {
    /// CR. RESET falls by itself, the others are ours.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Command: u8 {
        /// TE: sends.
        const SEND = 1 << 2;
        /// RE: receives.
        const RECEIVE = 1 << 3;
        /// RST: back to the start.
        const RESET = 1 << 4;
        /// What we do not name is kept.
        const _ = !0;
    }

    /// ISR and IMR.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Causes: u16 {
        /// ROK: a frame was received.
        const RECEIVED = 1 << 0;
        /// RER: one that is wrong was received.
        const RECEIVED_WRONG = 1 << 1;
        /// TOK: a frame was sent.
        const SENT = 1 << 2;
        /// TER: one was not.
        const NOT_SENT = 1 << 3;
        /// RDU: a frame found no empty one.
        const NO_EMPTY = 1 << 4;
        /// LinkChg.
        const LINK = 1 << 5;
        /// What we do not name is cleared too.
        const _ = !0;
    }

    /// TCR.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Transmit: u32 {
        /// MXDMA: bursts of any length.
        const BURSTS = 0b111 << 8;
        /// What we do not name is kept.
        const _ = !0;
    }

    /// RCR.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Receive: u32 {
        /// AAP, APM, AM, AB, AR, AER: what is heard.
        const HEARD = 0x3f;
        /// APM: our address.
        const OURS = 1 << 1;
        /// AB: broadcasts.
        const BROADCASTS = 1 << 3;
        /// RBLEN: of a ring that we do not use.
        const RING_BYTES = 0b11 << 11;
        /// MXDMA: bursts of any length.
        const BURSTS = 0b111 << 8;
        /// RXFTH: a frame is whole before it is written.
        const WHOLE = 0b111 << 13;
        /// Some chips are left with this bit, and receive nothing until it is gone.
        const STUCK = 1 << 24;
        /// What we do not name is kept.
        const _ = !0;
    }

    /// C+CR.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Plus: u16 {
        /// CPTX: sends from a ring of descriptors.
        const SEND = 1 << 0;
        /// CPRX: receives into one.
        const RECEIVE = 1 << 1;
        /// MulRW: PCI bursts.
        const BURSTS = 1 << 3;
        /// RxChkSum: looks at checksums.
        const CHECKSUMS = 1 << 5;
        /// RxVLAN: takes tags of VLANs out of frames.
        const VLAN_TAGS = 1 << 6;
        /// What we do not name is kept.
        const _ = !0;
    }
}
