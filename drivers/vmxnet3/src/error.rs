//! Why a card can not be used.
//!
//! Each ends the sentence `00:02.0 vmxnet3: ...`.

use core::fmt;

/// Why a card can not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The card's PCI side.
    Pci(pci::Error),
    /// Its registers read as all ones.
    NotAnswering,
    /// It has no revision that this driver has.
    OtherRevision {
        /// One bit each.
        revisions: u32,
    },
    /// It has no address of its own.
    NoAddress,
    /// It did not start with the rings that it was given.
    Refused {
        /// What it says.
        status: u32,
    },
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
            Self::OtherRevision { revisions } => {
                write!(f, "revision 1 is not among the card's ({revisions:#x})")
            }
            Self::NoAddress => f.write_str("the card has no Ethernet address"),
            Self::Refused { status } => {
                write!(f, "the card did not take its rings (status {status:#x})")
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
