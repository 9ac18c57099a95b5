//! Why an adapter is not used. Each ends the sentence `00:04.0 pvscsi: ...`.

use core::fmt;

/// Why an adapter is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The adapter's PCI side.
    Pci(pci::Error),
    /// Its registers read as all ones.
    NotAnswering,
    /// It refuses the rings.
    RingsRefused {
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
        match *self {
            Self::Pci(error) => error.fmt(f),
            Self::NotAnswering => f.write_str("its registers do not answer"),
            Self::RingsRefused { status } => {
                write!(f, "refuses its rings (status {status:#x})")
            }
            Self::NoMemory { bytes } => write!(f, "no memory left for its rings ({bytes} bytes)"),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Pci(error) => Some(error),
            _ => None,
        }
    }
}

impl From<pci::Error> for Error {
    fn from(error: pci::Error) -> Self {
        Self::Pci(error)
    }
}
