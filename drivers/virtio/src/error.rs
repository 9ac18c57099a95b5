//! Why a device is not used. Each ends the sentence `00:04.0 virtio-blk: ...`.

use core::fmt;

/// Why a device is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// There is no device in this place (an empty MMIO window).
    Empty,
    /// These are not the registers of a virtio device.
    NotVirtio,
    /// Another kind of device than the driver's.
    OtherKind,
    /// A PCI device that offers only the interface before virtio 1.0.
    LegacyOnly,
    /// The device's PCI side.
    Pci(pci::Error),
    /// A register block that every device has is missing.
    MissingRegisters,
    /// The device was told to reset and did not, for this long.
    NoReset {
        /// Milliseconds waited.
        waited_ms: u64,
    },
    /// The device does not accept the features we ask for.
    FeaturesRefused,
    /// A queue that every device of its kind has is missing.
    NoQueue {
        /// Which one.
        queue: u16,
    },
    /// The machine has no more memory for rings.
    NoMemory {
        /// How much was asked for.
        bytes: usize,
    },
    /// A network card without an Ethernet address.
    NoAddress,
    /// A disk without sectors.
    NoCapacity,
    /// A disk that takes only whole blocks larger than a sector.
    BlockSize {
        /// Bytes of a block.
        bytes: u32,
    },
    /// A disk that takes only pieces shorter than a frame's data.
    SegmentSize {
        /// Most bytes of a piece.
        bytes: u32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("no device in this place"),
            Self::NotVirtio => f.write_str("these are not the registers of a virtio device"),
            Self::OtherKind => f.write_str("another kind of device than this driver's"),
            Self::LegacyOnly => f.write_str(
                "offers only the interface before virtio 1.0; start it with disable-modern=off",
            ),
            Self::Pci(error) => error.fmt(f),
            Self::MissingRegisters => {
                f.write_str("a register block every virtio device has is missing")
            }
            Self::NoReset { waited_ms } => {
                write!(f, "did not reset within {waited_ms} ms")
            }
            Self::FeaturesRefused => f.write_str("refuses the features this driver needs"),
            Self::NoQueue { queue } => write!(f, "has no queue {queue}"),
            Self::NoMemory { bytes } => {
                write!(f, "no memory left for its rings ({bytes} bytes)")
            }
            Self::NoAddress => f.write_str("has no Ethernet address"),
            Self::NoCapacity => f.write_str("capacity is 0 sectors"),
            Self::BlockSize { bytes } => write!(
                f,
                "takes only whole blocks of {bytes} bytes, AoE has sectors of 512; give it logical_block_size=512"
            ),
            Self::SegmentSize { bytes } => write!(
                f,
                "takes pieces of at most {bytes} bytes, a frame carries 8704"
            ),
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
