//! Which chip is which, by its PCI id.
//!
//! Copper only: fibre and backplane chips need their link brought up by hand. A
//! chip that is not here is left alone; an id that looks alike is no promise.

use core::fmt;
use pci::Function;

/// Intel.
const VENDOR: u16 = 0x8086;

/// How a chip is driven. The names are the field's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 8254x: PCI and PCI-X, interrupts by a line only.
    E1000,
    /// 8257x, 82583 and what sits in chipsets: the same rings behind PCI Express.
    E1000e,
    /// 82576, 82580, I350, I210, I211: rings elsewhere, the later descriptor.
    Igb,
    /// I225, I226: as those before, at 2.5 Gbit/s.
    Igc,
}

impl Kind {
    /// Whether rings lie where they moved to with the 82576, in the later layout.
    pub const fn is_later(self) -> bool {
        matches!(self, Self::Igb | Self::Igc)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::E1000 => "e1000",
            Self::E1000e => "e1000e",
            Self::Igb => "igb",
            Self::Igc => "igc",
        })
    }
}

/// A chip that this driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chip {
    /// How it is driven.
    pub kind: Kind,
    /// Whether it takes frames longer than 1,518 bytes.
    pub jumbo: bool,
}

impl Chip {
    /// What `function` is, if this driver knows it.
    pub fn of(function: &Function) -> Option<Self> {
        if function.vendor != VENDOR {
            return None;
        }
        let knows = |ids: &[u16]| ids.contains(&function.device);
        let chip = |kind, jumbo| Some(Self { kind, jumbo });
        if knows(E1000) {
            chip(Kind::E1000, true)
        } else if knows(E1000E) {
            chip(Kind::E1000e, true)
        } else if knows(E1000E_SHORT) {
            chip(Kind::E1000e, false)
        } else if knows(IGB) {
            chip(Kind::Igb, true)
        } else if knows(IGC) {
            chip(Kind::Igc, true)
        } else {
            None
        }
    }
}

/// 82544, 82540, 82545, 82546, 82541, 82547. VMware and VirtualBox play the 82540
/// and the 82545, QEMU all three of 82540, 82544 and 82545.
const E1000: &[u16] = &[
    0x1008, 0x100c, 0x100d, // 82544
    0x100e, 0x1015, 0x1016, 0x1017, 0x101e, // 82540
    0x100f, 0x1026, // 82545
    0x1010, 0x101d, 0x1079, // 82546
    0x1013, 0x1018, 0x1076, 0x1077, 0x1078, 0x107c, // 82541
    0x1019, 0x101a, 0x1075, // 82547
];

/// PCI Express, long frames too.
const E1000E: &[u16] = &[
    0x105e, // 82571
    0x107d, 0x10b9, // 82572
    0x10d3, 0x10f6, // 82574; QEMU and VMware play it
    0x150c, // 82583
    0x153a, 0x153b, // I217
    0x155a, 0x1559, 0x15a0, 0x15a1, 0x15a2, 0x15a3, // I218
    0x156f, 0x1570, 0x15b7, 0x15b8, 0x15b9, 0x15d7, 0x15d8, 0x15e3, 0x15d6, // I219
    0x15bb, 0x15bc, 0x15bd, 0x15be, 0x0d4e, 0x0d4f, 0x0d4c, 0x0d4d, // I219, later
];

/// PCI Express, ordinary frames only.
const E1000E_SHORT: &[u16] = &[0x108b, 0x108c, 0x109a]; // 82573

/// 82576, 82580, I350, I210, I211.
const IGB: &[u16] = &[
    0x10c9, 0x150a, 0x10e8, 0x1526, // 82576; QEMU plays it
    0x150e, // 82580
    0x1521, // I350
    0x1533, 0x157b, // I210
    0x1539, // I211
];

/// I225, I226.
const IGC: &[u16] = &[
    0x15f2, 0x15f3, 0x15f8, 0x3100, 0x3101, 0x0d9f, // I225
    0x125b, 0x125c, 0x125d, // I226
];
