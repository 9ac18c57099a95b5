//! Why a card can not be used.
//!
//! Each ends the sentence `00:02.0 rtl8139: ...`.

use core::fmt;

/// Why a card can not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The card's PCI side.
    Pci(pci::Error),
    /// Its registers read as all ones.
    NotAnswering,
    /// It was told to reset and did not, for this long.
    NoReset {
        /// Milliseconds waited.
        waited_ms: u64,
    },
    /// It has no address of its own.
    NoAddress,
    /// The machine has no more memory for rings.
    NoMemory {
        /// How much was asked for.
        bytes: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(error) => error.fmt(f),
            Self::NotAnswering => f.write_str("the card does not answer"),
            Self::NoReset { waited_ms } => {
                write!(f, "the card did not reset within {waited_ms} ms")
            }
            Self::NoAddress => {
                f.write_str("the card has no Ethernet address; its EEPROM may be empty")
            }
            Self::NoMemory { bytes } => {
                write!(f, "no memory left for its rings ({bytes} bytes)")
            }
        }
    }
}

impl core::error::Error for Error {}

impl From<pci::Error> for Error {
    fn from(error: pci::Error) -> Self {
        Self::Pci(error)
    }
}
