//! Why a controller or one of its namespaces gives no disk.
//!
//! Each ends the sentence `00:04.0 nvme: ...`.

use crate::command::Opcode;
use crate::identify::Unusable;
use crate::status::Status;
use core::fmt;

/// Why a controller or one of its namespaces gives no disk.
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
    /// It was told to start and did not, for this long.
    NoStart {
        /// Milliseconds waited.
        waited_ms: u64,
    },
    /// It says itself that it failed.
    Fatal,
    /// It takes no read and write commands.
    NotForDisks,
    /// Its smallest page is larger than the one we use.
    PageBytes {
        /// Bytes of it, as a power of two.
        exponent: u8,
    },
    /// It moves less in one command than a frame carries.
    TransferBytes {
        /// Most bytes of a command.
        bytes: u32,
    },
    /// It did not answer a command of the start, for this long.
    Silent {
        /// The command.
        command: Opcode,
        /// Milliseconds waited.
        waited_ms: u64,
    },
    /// It answered a command that it was not given.
    WrongAnswer {
        /// The command that it was given.
        command: Opcode,
    },
    /// It refuses a command of the start.
    Refused {
        /// The command.
        command: Opcode,
        /// What it says.
        status: Status,
    },
    /// The machine has no more memory for queues.
    NoMemory {
        /// How much was asked for.
        bytes: usize,
    },
    /// It has no namespace that is active.
    NoNamespace,
    /// It has more than we serve.
    TooManyNamespaces {
        /// How many we serve.
        served: usize,
    },
    /// A namespace for which it has no queue.
    NoQueue {
        /// Which namespace.
        namespace: u32,
    },
    /// A namespace that we can not use.
    Namespace {
        /// Which one.
        namespace: u32,
        /// Why.
        reason: Unusable,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(error) => error.fmt(f),
            Self::NotAnswering => f.write_str("the controller does not answer"),
            Self::NoReset { waited_ms } => {
                write!(f, "the controller did not reset within {waited_ms} ms")
            }
            Self::NoStart { waited_ms } => {
                write!(f, "the controller did not start within {waited_ms} ms")
            }
            Self::Fatal => {
                f.write_str("the controller reports a fatal error; a power cycle may help")
            }
            Self::NotForDisks => f.write_str("the controller has no commands to read and write"),
            Self::PageBytes { exponent } => write!(
                f,
                "the controller takes memory in pages of 2^{exponent} bytes only, this driver has 4096"
            ),
            Self::TransferBytes { bytes } => write!(
                f,
                "the controller moves at most {bytes} bytes in a command, a frame carries 8704"
            ),
            Self::Silent { command, waited_ms } => {
                write!(f, "no answer to {command} within {waited_ms} ms")
            }
            Self::WrongAnswer { command } => {
                write!(
                    f,
                    "waiting for {command}, it answered what it was not asked"
                )
            }
            Self::Refused { command, status } => write!(f, "it refuses {command}: {status}"),
            Self::NoMemory { bytes } => {
                write!(f, "no memory left for its queues ({bytes} bytes)")
            }
            Self::NoNamespace => f.write_str(
                "it has no active namespace; create and attach one with its maker's tool",
            ),
            Self::TooManyNamespaces { served } => write!(
                f,
                "it has more namespaces than are served of one controller; the first {served} are"
            ),
            Self::NoQueue { namespace } => write!(
                f,
                "namespace {namespace}: the controller has no queue left for it"
            ),
            Self::Namespace { namespace, reason } => write!(f, "namespace {namespace}: {reason}"),
        }
    }
}

impl core::error::Error for Error {}

impl From<pci::Error> for Error {
    fn from(error: pci::Error) -> Self {
        Self::Pci(error)
    }
}
