//! The card's registers.
//!
//! The structs are never built: they are the maps from which each offset is taken,
//! and the asserts hold them against the manual.

use crate::family::Kind;
use bitflags::bitflags;
use core::mem::offset_of;
pub use pci::{GONE, Registers};

/// Bytes of the registers that we use: to the end of the later rings.
pub const BYTES: usize = 0x1_0000;

/// Registers of the whole card (8254x, 13.4), as far as we use them.
#[repr(C)]
struct CardRegisters {
    control: u32,
    control_copy: u32,
    status: u32,
    reserved_0c: [u32; 3],
    control_more: u32,
    reserved_1c: u32,
    phy: u32,
    reserved_24: [u32; 39],
    causes: u32,
    throttle: u32,
    causes_set: u32,
    reserved_cc: u32,
    mask_set: u32,
    reserved_d4: u32,
    mask_clear: u32,
    reserved_dc: [u32; 9],
    receive: u32,
    reserved_104: [u32; 191],
    transmit: u32,
    reserved_404: [u32; 3],
    gap: u32,
}

const _: () = assert!(offset_of!(CardRegisters, status) == 0x08);
const _: () = assert!(offset_of!(CardRegisters, control_more) == 0x18);
const _: () = assert!(offset_of!(CardRegisters, phy) == 0x20);
const _: () = assert!(offset_of!(CardRegisters, causes) == 0xc0);
const _: () = assert!(offset_of!(CardRegisters, mask_set) == 0xd0);
const _: () = assert!(offset_of!(CardRegisters, mask_clear) == 0xd8);
const _: () = assert!(offset_of!(CardRegisters, receive) == 0x100);
const _: () = assert!(offset_of!(CardRegisters, transmit) == 0x400);
const _: () = assert!(offset_of!(CardRegisters, gap) == 0x410);

/// CTRL.
pub const CONTROL: usize = offset_of!(CardRegisters, control);
/// STATUS.
pub const STATUS: usize = offset_of!(CardRegisters, status);
/// CTRL_EXT.
pub const CONTROL_MORE: usize = offset_of!(CardRegisters, control_more);
/// MDIC: the way to the PHY's registers (8254x, 13.4.8).
pub const PHY: usize = offset_of!(CardRegisters, phy);
/// ICR. Reading it clears it.
pub const CAUSES: usize = offset_of!(CardRegisters, causes);
/// IMS: ones let causes interrupt.
pub const MASK_SET: usize = offset_of!(CardRegisters, mask_set);
/// IMC: ones silence causes.
pub const MASK_CLEAR: usize = offset_of!(CardRegisters, mask_clear);
/// RCTL.
pub const RECEIVE: usize = offset_of!(CardRegisters, receive);
/// TCTL.
pub const TRANSMIT: usize = offset_of!(CardRegisters, transmit);
/// TIPG: time between frames.
pub const GAP: usize = offset_of!(CardRegisters, gap);
/// IVAR0 of the later ones: which cause a ring's descriptors raise (I210, 8.8.15).
pub const CAUSES_OF_RINGS: usize = 0x1700;
/// RLPML of the later ones: bytes of the longest frame, with its FCS (I210, 8.10.5).
pub const LONGEST: usize = 0x5004;
/// MTA: hashes of group addresses (8254x, 13.5.1).
pub const GROUPS: usize = 0x5200;
/// Words of it.
pub const GROUPS_WORDS: usize = 128;
/// RAL and RAH: the addresses that the card hears (8254x, 13.5.2).
pub const ADDRESSES: usize = 0x5400;
/// How many of them every chip has. The first is its own.
pub const ADDRESSES_COUNT: usize = 7;

/// RAH, AV: this address counts.
pub const ADDRESS_VALID: u32 = 1 << 31;

/// IVAR0: the first receive ring and the first transmit ring raise cause 0.
pub const RINGS_RAISE_0: u32 = 0x8080;

/// MDIC: write `value` to register 0 of PHY 1, which is the card's own.
pub const fn write_phy_control(value: u16) -> u32 {
    1 << 26 | 1 << 21 | value as u32
}
/// MDIC, R: the PHY has taken it.
pub const PHY_READY: u32 = 1 << 28;
/// The PHY's register 0 (IEEE 802.3, 22.2.4.1): powered, agree on a speed, now.
pub const PHY_AGREE: u16 = 1 << 12 | 1 << 9;

/// TIPG for copper (8254x, 13.4.34).
pub const GAP_COPPER: u32 = 8 | 8 << 10 | 6 << 20;

bitflags! {
    /// CTRL (8254x, 13.4.1). All of it is ours, but RESET falls by itself.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Control: u32 {
        /// LRST: the link part of the first ones is held in reset.
        const LINK_RESET = 1 << 3;
        /// ASDE: the 8254x takes over the speed that its PHY agreed on.
        const TAKE_SPEED = 1 << 5;
        /// SLU: the link shall come up.
        const LINK_UP = 1 << 6;
        /// ILOS: the PHY's sign for "no link" means the contrary.
        const INVERT_LOSS = 1 << 7;
        /// FRCSPD: speed as we say, not as the PHY says.
        const FORCE_SPEED = 1 << 11;
        /// FRCDPX: duplex as we say.
        const FORCE_DUPLEX = 1 << 12;
        /// RST: back to the start, all but the PHY.
        const RESET = 1 << 26;
        /// VME: tags of VLANs are taken out of frames.
        const VLAN_TAGS = 1 << 30;
        /// What we do not name is kept.
        const _ = !0;
    }

    /// CTRL_EXT (I210, 8.2.3).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ControlMore: u32 {
        /// DRV_LOAD: tells the card's firmware that a driver is there.
        const DRIVER_LOADED = 1 << 28;
        /// What we do not name is kept.
        const _ = !0;
    }

    /// STATUS (8254x, 13.4.2). All of it is the card's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status: u32 {
        /// LU: there is a link.
        const LINK_UP = 1 << 1;
        /// What we do not name is kept.
        const _ = !0;
    }

    /// ICR, IMS, IMC (8254x, 13.4.17; the later ones have the same bits).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Causes: u32 {
        /// LSC: the link changed.
        const LINK = 1 << 2;
        /// RXDMT0: few empty frames are left.
        const FEW_EMPTY = 1 << 4;
        /// RXT0, later RXDW: a frame was received.
        const RECEIVED = 1 << 7;
    }

    /// RCTL (8254x, 13.4.22). All of it is ours.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Receive: u32 {
        /// EN: receives.
        const ENABLE = 1 << 1;
        /// LPE: frames of more than 1,518 bytes too.
        const LONG = 1 << 5;
        /// BAM: frames to everybody too.
        const BROADCASTS = 1 << 15;
        /// BSIZE 10 with BSEX: a descriptor names 8,192 bytes.
        const BYTES_8192 = 0b10 << 16 | 1 << 25;
        /// SECRC: the FCS is not written to memory.
        const STRIP_FCS = 1 << 26;
    }

    /// TCTL (8254x, 13.4.33). All of it is ours.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Transmit: u32 {
        /// EN: sends.
        const ENABLE = 1 << 1;
        /// PSP: fills up frames that are too short for Ethernet.
        const PAD = 1 << 3;
        /// CT and COLD: what the standard says on collisions.
        const COLLISIONS = 0x0f << 4 | 0x40 << 12;
    }

    /// RXDCTL and TXDCTL (I210, 8.10.9 and 8.12.15). All of it is ours.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RingControl: u32 {
        /// PTHRESH: fetches ahead when fewer than 8 are there.
        const FETCH_BELOW_8 = 8;
        /// HTHRESH: as soon as there is one.
        const FETCH_ONE = 1 << 8;
        /// WTHRESH: says "done" for each.
        const DONE_EACH = 1 << 16;
        /// Must be set from the 82571 up to the I219, for sending.
        const COUNT = 1 << 22;
        /// GRAN: the above are descriptors, not cache lines.
        const IN_DESCRIPTORS = 1 << 24;
        /// ENABLE: the later rings run one by one.
        const ENABLE = 1 << 25;
    }
}

/// SRRCTL of the later ones (I210, 8.10.2): 8 KiB a descriptor, the later layout.
pub const BUFFERS_OF_8192: u32 = 8 | 1 << 25;

/// Registers of a ring; both directions and all chips have them in this order
/// (8254x, 13.4.25; I210, 8.10.4).
#[repr(C)]
struct RingRegisters {
    base: [u32; 2],
    bytes: u32,
    buffers: u32,
    head: u32,
    reserved_14: u32,
    tail: u32,
    reserved_1c: [u32; 3],
    control: u32,
}

const _: () = assert!(offset_of!(RingRegisters, bytes) == 0x08);
const _: () = assert!(offset_of!(RingRegisters, buffers) == 0x0c);
const _: () = assert!(offset_of!(RingRegisters, head) == 0x10);
const _: () = assert!(offset_of!(RingRegisters, tail) == 0x18);
const _: () = assert!(offset_of!(RingRegisters, control) == 0x28);

/// Where a ring's registers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingPlace(usize);

impl RingPlace {
    /// Those of the first receive ring.
    pub const fn receive(kind: Kind) -> Self {
        Self(if kind.is_later() { 0xc000 } else { 0x2800 })
    }

    /// Those of the first transmit ring.
    pub const fn transmit(kind: Kind) -> Self {
        Self(if kind.is_later() { 0xe000 } else { 0x3800 })
    }

    /// Where the ring lies, lower half and upper.
    pub const fn base(self) -> [usize; 2] {
        let low = self.0 + offset_of!(RingRegisters, base);
        [low, low + 4]
    }

    /// How large it is.
    pub const fn bytes(self) -> usize {
        self.0 + offset_of!(RingRegisters, bytes)
    }

    /// SRRCTL.
    pub const fn buffers(self) -> usize {
        self.0 + offset_of!(RingRegisters, buffers)
    }

    /// The next descriptor that the card takes.
    pub const fn head(self) -> usize {
        self.0 + offset_of!(RingRegisters, head)
    }

    /// The first descriptor that the card may not take: the doorbell.
    pub const fn tail(self) -> usize {
        self.0 + offset_of!(RingRegisters, tail)
    }

    /// RXDCTL or TXDCTL.
    pub const fn control(self) -> usize {
        self.0 + offset_of!(RingRegisters, control)
    }
}
