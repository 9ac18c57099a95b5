//! Whether a disk is still in service.
//!
//! A controller that broke its queue, or says itself that it can not go on, is
//! told to reset and stays out of service: what it got wrong once it may get
//! wrong again, and the next thing it writes could be somebody's data. All its
//! namespaces go with it; each disk notices for itself. Only when the controller
//! has stopped are the frames ours again; until then nobody waits for it in a
//! loop, every tick looks once.

use crate::registers::{ControllerStatus, Registers, stop};
use core::fmt;

/// Whether a disk is in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// It is.
    Running,
    /// Its controller was told to reset, and may still touch its frames.
    Resetting,
    /// Nobody touches its frames any more.
    Stopped,
}

/// What a controller did that it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It answered a command that it was not given, or answered twice.
    WrongAnswer,
}

/// Why a disk is taken out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Broken(Broken),
    Fatal,
    NotReady,
    Gone,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken(Broken::WrongAnswer) => "answered a command that it was not given",
            Self::Fatal => "the controller reports a fatal error",
            Self::NotReady => "the controller has stopped",
            Self::Gone => "the controller does not answer any more",
        })
    }
}

impl Service {
    /// Looks after the controller. True once: when it has let go of everything
    /// that it was lent.
    pub fn watch(
        &mut self,
        registers: &impl Registers,
        broken: Option<Broken>,
        name: &str,
    ) -> bool {
        let status = match self {
            Self::Stopped => return false,
            Self::Running | Self::Resetting => ControllerStatus::read(registers),
        };
        // What reads as all ones is off the bus or comes back from a reset, and
        // has lost the right to access memory with it.
        let has_let_go = status.is_none_or(|status| !status.contains(ControllerStatus::READY));
        if *self == Self::Running {
            let reason = match (status, broken) {
                (None, _) => Reason::Gone,
                (Some(_), Some(broken)) => Reason::Broken(broken),
                (Some(status), None) if status.contains(ControllerStatus::FATAL) => Reason::Fatal,
                (Some(_), None) if has_let_go => Reason::NotReady,
                (Some(_), None) => return false,
            };
            log::error!("{name}: {reason}; out of service until the next start");
            *self = Self::Resetting;
            if status.is_some() {
                stop(registers);
                // Fallen by itself is not yet stopped: the next look tells.
                return false;
            }
        }
        if has_let_go {
            *self = Self::Stopped;
        }
        has_let_go
    }
}
