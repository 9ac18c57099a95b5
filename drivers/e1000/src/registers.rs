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
/// CTRL_EXT.
pub const CONTROL_MORE: usize = offset_of!(CardRegisters, control_more);
/// MDIC: the way to the PHY's registers (8254x, 13.4.8).
pub const PHY: usize = offset_of!(CardRegisters, phy);
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
/// How many addresses of them every chip has. The first is its own.
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
    buffers_ten: u32,
    tail: u32,
    reserved_1c: [u32; 3],
    control: u32,
}

const _: () = assert!(offset_of!(RingRegisters, bytes) == 0x08);
const _: () = assert!(offset_of!(RingRegisters, buffers) == 0x0c);
const _: () = assert!(offset_of!(RingRegisters, head) == 0x10);
const _: () = assert!(offset_of!(RingRegisters, tail) == 0x18);
const _: () = assert!(offset_of!(RingRegisters, control) == 0x28);

/// Registers that all chips have, and not all at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// ICR, EICR. Reading it clears it.
    pub causes: usize,
    /// IMS, EIMS: ones let causes interrupt.
    pub mask_set: usize,
    /// IMC, EIMC: ones silence causes.
    pub mask_clear: usize,
    /// RCTL, RXCTRL.
    pub receive: usize,
    /// TCTL, DMATXCTL.
    pub transmit: usize,
    /// RAL and RAH: the addresses that the card hears (8254x, 13.5.2).
    pub addresses: usize,
    /// STATUS, LINKS: where it is said that there is a link, and by which bit.
    pub link: (usize, u32),
    /// What interrupts: frames that were received, and the link.
    pub waking: u32,
}

impl Places {
    /// Those of the chips of `kind`.
    pub const fn of(kind: Kind) -> &'static Self {
        match kind {
            Kind::Ixgbe => &Self::TEN,
            _ => &Self::USUAL,
        }
    }

    /// 8254x, 13.4.
    const USUAL: Self = Self {
        causes: offset_of!(CardRegisters, causes),
        mask_set: offset_of!(CardRegisters, mask_set),
        mask_clear: offset_of!(CardRegisters, mask_clear),
        receive: offset_of!(CardRegisters, receive),
        transmit: offset_of!(CardRegisters, transmit),
        addresses: 0x5400,
        link: (offset_of!(CardRegisters, status), LINK_UP),
        waking: Causes::RECEIVED
            .union(Causes::FEW_EMPTY)
            .union(Causes::LINK)
            .bits(),
    };

    /// 82599, 8.2.3.
    const TEN: Self = Self {
        causes: 0x0800,
        mask_set: 0x0880,
        mask_clear: 0x0888,
        receive: 0x3000,
        transmit: 0x4a80,
        addresses: 0xa200,
        link: (ten::LINKS, ten::LINK_UP),
        waking: ten::RECEIVED | ten::LINK_CHANGED,
    };
}

/// STATUS, LU (8254x, 13.4.2).
const LINK_UP: u32 = 1 << 1;

/// What only the chips of ten gigabits have (82599, 8.2.3).
pub mod ten {
    /// IVAR0: which cause the first rings raise.
    pub const CAUSES_OF_RINGS: usize = 0x0900;
    /// The first receive ring raises cause 0; nothing else does.
    pub const RECEIVED_RAISES_0: u32 = 0x80;
    /// EICR: cause 0.
    pub const RECEIVED: u32 = 1 << 0;
    /// EICR, LSC: the link changed.
    pub const LINK_CHANGED: u32 = 1 << 20;

    /// FCTRL: who is heard besides our address.
    pub const HEARD: usize = 0x5080;
    /// FCTRL, BAM: broadcasts.
    pub const BROADCASTS: u32 = 1 << 10;

    /// RDRXCTL.
    pub const RECEIVE_DMA: usize = 0x2f00;
    /// RDRXCTL, CRCSTRIP: as in HLREG0, which the manual wants.
    pub const STRIP_FCS_TOO: u32 = 1 << 1;
    /// RDRXCTL, DMAIDONE: the card is ready after a reset. The card's.
    pub const READY: u32 = 1 << 3;
    /// RDRXCTL, RSCFRSTSIZE: 0, as nothing is merged.
    pub const MERGED: u32 = 0x1f << 17;
    /// RDRXCTL: two bits that software sets.
    pub const ONES: u32 = 1 << 25 | 1 << 26;

    /// HLREG0.
    pub const MAC: usize = 0x4240;
    /// HLREG0, TXCRCEN, RXCRCSTRP, JUMBOEN, TXPADEN: an FCS is added and stripped,
    /// long frames too, short ones are filled up.
    pub const MAC_FLAGS: u32 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 10;
    /// MAXFRS: bytes of the longest frame, with its FCS, in the upper half.
    pub const LONGEST: usize = 0x4268;

    /// LINKS.
    pub const LINKS: usize = 0x42a4;
    /// LINKS: there is a link.
    pub const LINK_UP: u32 = 1 << 30;

    /// RXCTRL, RXEN, and DMATXCTL, TE.
    pub const ENABLE: u32 = 1 << 0;
    /// DCA_RXCTRL: a bit that is set and must not be.
    pub const NOT_THIS: u32 = 1 << 12;
}

/// Where a ring's registers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingPlace(usize);

impl RingPlace {
    /// Those of the first receive ring.
    pub const fn receive(kind: Kind) -> Self {
        Self(match kind {
            Kind::E1000 | Kind::E1000e => 0x2800,
            Kind::Igb | Kind::Igc => 0xc000,
            Kind::Ixgbe => 0x1000,
        })
    }

    /// Those of the first transmit ring.
    pub const fn transmit(kind: Kind) -> Self {
        Self(match kind {
            Kind::E1000 | Kind::E1000e => 0x3800,
            Kind::Igb | Kind::Igc => 0xe000,
            Kind::Ixgbe => 0x6000,
        })
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
    pub const fn buffers(self, kind: Kind) -> usize {
        let at = match kind {
            Kind::Ixgbe => offset_of!(RingRegisters, buffers_ten),
            _ => offset_of!(RingRegisters, buffers),
        };
        self.0 + at
    }

    /// DCA_RXCTRL, of the chips of ten gigabits.
    pub const fn cache_hints(self) -> usize {
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
