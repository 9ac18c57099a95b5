//! What a driver says of the devices that it knows: for people, and for tests.
//!
//! The kernel asks each driver whether a function is its, and never looks in here; what
//! nobody looks at is not in the boot file. That both say the same is a test of each
//! driver's.

use core::fmt;

/// One kind of device that a driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What people call it: `82574`.
    pub name: &'static str,
    /// How it is recognized.
    pub ids: Ids,
    /// How it was tried.
    pub tried: Tried,
}

/// How a device is recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// By who made it, and what its maker calls it.
    Devices(u16, &'static [u16]),
    /// By its class, subclass and interface, whoever made it.
    Class([u8; 3]),
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Devices(vendor, devices) => {
                write!(f, "{vendor:04x}:")?;
                for (index, device) in devices.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{device:04x}")?;
                }
                Ok(())
            }
            Self::Class([class, subclass, interface]) => {
                write!(f, "class {class:02x}:{subclass:02x}:{interface:02x}")
            }
        }
    }
}

/// How a device was tried, as far as this repository knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// A scenario runs it; QEMU plays it under this name.
    Emulated(&'static str),
    /// The driver's tests run it against a model of it.
    Modelled,
    /// Not at all: its registers are said to be those of this one.
    NotRun {
        /// What it is driven like.
        like: &'static str,
    },
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emulated(name) => write!(f, "emulated here ({name})"),
            Self::Modelled => f.write_str("modelled"),
            Self::NotRun { like } => write!(f, "not run; like {like}"),
        }
    }
}

impl Known {
    /// A device that QEMU plays as `qemu`.
    pub const fn emulated(name: &'static str, ids: Ids, qemu: &'static str) -> Self {
        Self {
            name,
            ids,
            tried: Tried::Emulated(qemu),
        }
    }

    /// A device that a model plays.
    pub const fn modelled(name: &'static str, ids: Ids) -> Self {
        Self {
            name,
            ids,
            tried: Tried::Modelled,
        }
    }

    /// A device that nobody plays.
    pub const fn not_run(name: &'static str, ids: Ids, like: &'static str) -> Self {
        Self {
            name,
            ids,
            tried: Tried::NotRun { like },
        }
    }
}

/// How many functions of `vendor` there are that either `knows` takes or `devices`
/// names, but not both: 0 if they say the same.
#[cfg(any(test, feature = "model"))]
pub fn disagreements(
    devices: &[Known],
    vendor: u16,
    knows: impl Fn(&crate::Function) -> bool,
) -> usize {
    let said = |device| {
        devices.iter().any(|known| {
            matches!(known.ids, Ids::Devices(maker, ids) if maker == vendor && ids.contains(&device))
        })
    };
    let function = |device| crate::Function {
        vendor,
        device,
        class: 2,
        ..crate::Function::NOBODY
    };
    (0..=u16::MAX)
        .filter(|&device| knows(&function(device)) != said(device))
        .count()
}
