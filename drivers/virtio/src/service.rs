//! Whether a device is still in service.
//!
//! A device that broke its ring, or says itself that it gave up, is told to
//! reset and stays out of service: what it got wrong once it may get wrong
//! again, and the next thing it writes could be somebody's data. Only when it
//! confirms the reset are its frames ours again; until then nobody waits for it
//! in a loop, every tick looks once.

use crate::ring::Broken;
use crate::transport::{Silent, Status, Transport, ask_reset, has_reset};
use core::fmt;

/// Whether a device is in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// It is.
    Running,
    /// It was told to reset, and may still touch its frames.
    Resetting,
    /// It holds nothing more.
    Stopped,
}

/// Why a device is taken out of service.
struct Reason(Option<Broken>);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(Broken::Index) => "returned more than it was given",
            Some(Broken::Id) => "returned something it was not given",
            None => "reports that it needs a reset",
        })
    }
}

impl Service {
    /// Whether the device takes and returns frames.
    pub fn is_running(self) -> bool {
        self == Self::Running
    }

    /// Looks after the device. The token comes once: when the device has let go
    /// of everything it was lent.
    pub fn watch(
        &mut self,
        transport: &mut impl Transport,
        broken: Option<Broken>,
        name: &str,
    ) -> Option<Silent> {
        match self {
            Self::Running => {
                if broken.is_some() || transport.status().contains(Status::NEEDS_RESET) {
                    let reason = Reason(broken);
                    log::error!("{name}: {reason}; out of service until the next start");
                    ask_reset(transport);
                    *self = Self::Resetting;
                }
                None
            }
            Self::Resetting => {
                let silent = has_reset(transport)?;
                *self = Self::Stopped;
                Some(silent)
            }
            Self::Stopped => None,
        }
    }
}
