//! Why a controller or one of its ports gives no disk.
//!
//! Each ends the sentence `00:1f.2 ahci: ...`. An empty port is no error and
//! gives nothing.

use crate::revival::NoDrive;
use core::fmt;

/// Why a controller or one of its ports gives no disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The controller's PCI side.
    Pci(pci::Error),
    /// Its registers read as all ones.
    NotAnswering,
    /// It was told to reset and did not, for this long.
    NoReset {
        /// Milliseconds waited.
        waited_ms: u64,
    },
    /// The machine has no more memory to share with a port.
    NoMemory {
        /// Which port.
        port: u8,
        /// How much was asked for.
        bytes: usize,
    },
    /// The machine's memory lies above 4 GiB and the controller reaches below.
    OutOfReach {
        /// Which port.
        port: u8,
    },
    /// A port without a drive that we can use.
    NoDrive {
        /// Which port.
        port: u8,
        /// Why.
        reason: NoDrive,
    },
}

impl Error {
    /// Whether nothing is wrong: something sits there that is not for us.
    pub fn is_only_a_remark(&self) -> bool {
        matches!(
            self,
            Self::NoDrive {
                reason: NoDrive::Kind(_),
                ..
            }
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(error) => error.fmt(f),
            Self::NotAnswering => f.write_str("the controller does not answer"),
            Self::NoReset { waited_ms } => {
                write!(f, "the controller did not reset within {waited_ms} ms")
            }
            Self::NoMemory { port, bytes } => {
                write!(f, "port {port}: no memory left for it ({bytes} bytes)")
            }
            Self::OutOfReach { port } => write!(
                f,
                "port {port}: the controller reaches only the first 4 GiB of memory and was given some above"
            ),
            Self::NoDrive { port, reason } => write!(f, "port {port}: {reason}"),
        }
    }
}

impl core::error::Error for Error {}

impl From<pci::Error> for Error {
    fn from(error: pci::Error) -> Self {
        Self::Pci(error)
    }
}
