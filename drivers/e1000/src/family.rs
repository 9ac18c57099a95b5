//! Which chip is which, by its PCI id.
//!
//! Of the gigabit chips copper only: fibre and backplane need their link brought up by
//! hand. A chip that is not here is left alone; an id that looks alike is no promise.

use core::fmt;
use pci::{Function, Ids, Known};

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
    /// 82599, X540, X550: the later descriptor, most registers elsewhere, 10 Gbit/s.
    Ixgbe,
}

impl Kind {
    /// Whether descriptors have the layout that came with the 82576, and rings are
    /// started one by one.
    pub const fn is_later(self) -> bool {
        matches!(self, Self::Igb | Self::Igc | Self::Ixgbe)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::E1000 => "e1000",
            Self::E1000e => "e1000e",
            Self::Igb => "igb",
            Self::Igc => "igc",
            Self::Ixgbe => "ixgbe",
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
    const fn new(kind: Kind) -> Self {
        Self { kind, jumbo: true }
    }

    /// What `function` is, if this driver knows it.
    pub fn of(function: &Function) -> Option<Self> {
        if function.vendor != VENDOR {
            return None;
        }
        let is_one = |ids: &&[u16]| ids.contains(&function.device);
        CHIPS
            .iter()
            .find(|(_, chips)| chips.iter().any(is_one))
            .map(|&(chip, _)| chip)
    }
}

/// All chips, by how they are driven.
const CHIPS: &[(Chip, &[&[u16]])] = &[
    (
        Chip::new(Kind::E1000),
        &[I82544, I82540, I82545, I82546, I82541, I82547],
    ),
    (
        Chip::new(Kind::E1000e),
        &[I82571, I82572, I82574, I82583, I217, I218, I219],
    ),
    (
        Chip {
            kind: Kind::E1000e,
            jumbo: false,
        },
        &[I82573],
    ),
    (Chip::new(Kind::Igb), &[I82576, I82580, I350, I210, I211]),
    (Chip::new(Kind::Igc), &[I225, I226]),
    (Chip::new(Kind::Ixgbe), &[I82599, X540, X550]),
];

const I82544: &[u16] = &[0x1008, 0x100c, 0x100d];
const I82540: &[u16] = &[0x100e, 0x1015, 0x1016, 0x1017, 0x101e];
const I82545: &[u16] = &[0x100f, 0x1026];
const I82546: &[u16] = &[0x1010, 0x101d, 0x1079];
const I82541: &[u16] = &[0x1013, 0x1018, 0x1076, 0x1077, 0x1078, 0x107c];
const I82547: &[u16] = &[0x1019, 0x101a, 0x1075];
const I82571: &[u16] = &[0x105e];
const I82572: &[u16] = &[0x107d, 0x10b9];
/// Ordinary frames only.
const I82573: &[u16] = &[0x108b, 0x108c, 0x109a];
const I82574: &[u16] = &[0x10d3, 0x10f6];
const I82583: &[u16] = &[0x150c];
const I217: &[u16] = &[0x153a, 0x153b];
const I218: &[u16] = &[0x155a, 0x1559, 0x15a0, 0x15a1, 0x15a2, 0x15a3];
const I219: &[u16] = &[
    0x156f, 0x1570, 0x15b7, 0x15b8, 0x15b9, 0x15d7, 0x15d8, 0x15e3, 0x15d6, // first
    0x15bb, 0x15bc, 0x15bd, 0x15be, 0x0d4e, 0x0d4f, 0x0d4c, 0x0d4d, // later
];
const I82576: &[u16] = &[0x10c9, 0x150a, 0x10e8, 0x1526];
const I82580: &[u16] = &[0x150e];
const I350: &[u16] = &[0x1521];
const I210: &[u16] = &[0x1533, 0x157b];
const I211: &[u16] = &[0x1539];
const I225: &[u16] = &[0x15f2, 0x15f3, 0x15f8, 0x3100, 0x3101, 0x0d9f];
const I226: &[u16] = &[0x125b, 0x125c, 0x125d];
/// With a module or a direct cable: what its EEPROM sets up is left as it is.
const I82599: &[u16] = &[0x10f9, 0x10fb, 0x151c, 0x154d, 0x1557];
const X540: &[u16] = &[0x1528, 0x1560];
const X550: &[u16] = &[0x1563, 0x15d1];

const fn intel(ids: &'static [u16]) -> Ids {
    Ids::Devices(VENDOR, ids)
}

/// Every chip by its name. VMware and VirtualBox play the 82540 and the 82545, VMware
/// the 82574 too.
pub const DEVICES: &[Known] = &[
    Known::emulated("82544", intel(I82544), "e1000-82544gc"),
    Known::emulated("82540", intel(I82540), "e1000"),
    Known::emulated("82545", intel(I82545), "e1000-82545em"),
    Known::not_run("82546", intel(I82546), "82545"),
    Known::not_run("82541", intel(I82541), "82540"),
    Known::not_run("82547", intel(I82547), "82540"),
    Known::not_run("82571", intel(I82571), "82574"),
    Known::not_run("82572", intel(I82572), "82574"),
    Known::modelled("82573", intel(I82573)),
    Known::emulated("82574", intel(I82574), "e1000e"),
    Known::not_run("82583", intel(I82583), "82574"),
    Known::not_run("I217", intel(I217), "82574"),
    Known::not_run("I218", intel(I218), "82574"),
    Known::not_run("I219", intel(I219), "82574"),
    Known::emulated("82576", intel(I82576), "igb"),
    Known::not_run("82580", intel(I82580), "I210"),
    Known::not_run("I350", intel(I350), "I210"),
    Known::modelled("I210", intel(I210)),
    Known::not_run("I211", intel(I211), "I210"),
    Known::modelled("I225", intel(I225)),
    Known::not_run("I226", intel(I226), "I225"),
    Known::modelled("82599", intel(I82599)),
    Known::not_run("X540", intel(X540), "82599"),
    Known::not_run("X550", intel(X550), "82599"),
];
