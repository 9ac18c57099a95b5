//! Which chip is which, by its PCI id.

use core::fmt;
use pci::{Function, Ids, Known};

/// Realtek.
const VENDOR: u16 = 0x10ec;

/// How a chip is driven. The names are the field's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 8139C+: 100 Mbit/s on PCI.
    R8139,
    /// 8169, 8168 and their relatives.
    R8168,
}

impl Kind {
    /// What `function` is, if this driver knows it.
    pub fn of(function: &Function) -> Option<Self> {
        if function.vendor != VENDOR {
            return None;
        }
        let is_one = |ids: &&[u16]| ids.contains(&function.device);
        if I8139.contains(&function.device) {
            // Before the C+ there was no ring of descriptors.
            (function.revision >= C_PLUS).then_some(Self::R8139)
        } else {
            [I8168, I8169, I8101]
                .iter()
                .any(is_one)
                .then_some(Self::R8168)
        }
    }

    /// Bytes from where a frame starts to where this chip can write it.
    pub const fn shift(self) -> usize {
        match self {
            Self::R8139 => 0,
            Self::R8168 => 4,
        }
    }

    /// Descriptors of the longest ring.
    pub const fn places_max(self) -> usize {
        match self {
            Self::R8139 => 64,
            Self::R8168 => 1024,
        }
    }
}

const _: () = assert!(
    (io::WIRE + Kind::R8168.shift()).is_multiple_of(8),
    "the 8168 writes to multiples of eight"
);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::R8139 => "rtl8139",
            Self::R8168 => "rtl8168",
        })
    }
}

/// The first revision of the 8139 that is a C+.
pub const C_PLUS: u8 = 0x20;

const I8139: &[u16] = &[0x8139];
const I8169: &[u16] = &[0x8169, 0x8167];
const I8168: &[u16] = &[0x8168];
/// 8101E to 8106E: the 8168 at 100 Mbit/s.
const I8101: &[u16] = &[0x8136];

const fn realtek(ids: &'static [u16]) -> Ids {
    Ids::Devices(VENDOR, ids)
}

/// Every chip by its name.
pub const DEVICES: &[Known] = &[
    Known::emulated("8139C+", realtek(I8139), "rtl8139"),
    Known::modelled("8168", realtek(I8168)),
    Known::not_run("8169", realtek(I8169), "8168"),
    Known::not_run("8101E", realtek(I8101), "8168"),
];
