//! Whether a disk is in service, and why its controller is not.

use core::fmt;

/// Whether a disk is in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// It is.
    Running,
    /// Its controller is being reset; what comes meanwhile waits.
    Waiting,
    /// It is not, and nobody touches its frames any more.
    Stopped,
}

/// What a controller did that it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It answered a command that it was not given, or answered twice.
    WrongAnswer,
}

/// Why a controller is reset or taken out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It broke a queue.
    Broken(Broken),
    /// It says that it can not go on.
    Fatal,
    /// It has stopped by itself.
    NotReady,
    /// It does not answer commands to itself.
    Deaf,
    /// It is off the bus.
    Gone,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken(Broken::WrongAnswer) => "answered a command that it was not given",
            Self::Fatal => "the controller reports a fatal error",
            Self::NotReady => "the controller has stopped",
            Self::Deaf => "the controller takes no commands any more",
            Self::Gone => "the controller does not answer any more",
        })
    }
}
