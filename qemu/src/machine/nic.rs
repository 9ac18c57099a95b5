//! The network cards of a machine.

use crate::Failure;
use crate::network::{Cable, LineEnd, Mac, Switch};
use std::os::fd::OwnedFd;

/// One network card of a machine.
#[derive(Clone)]
pub struct Nic {
    way: Way,
    pub(super) mac: Mac,
    pub(super) mtu: Option<u16>,
    pub(super) model: Option<&'static str>,
    pub(super) rom: bool,
    pub(super) tap: Option<String>,
    pub(super) properties: String,
}

/// Where its cable ends.
#[derive(Clone)]
enum Way {
    Switch(Switch),
    Line(LineEnd),
}

impl Nic {
    /// A virtio card with address `mac` on `switch`.
    pub fn on(switch: &Switch, mac: Mac) -> Self {
        Self::with(Way::Switch(switch.clone()), mac)
    }

    /// A virtio card with address `mac` at the end of a line.
    pub fn at(end: &LineEnd, mac: Mac) -> Self {
        Self::with(Way::Line(end.clone()), mac)
    }

    fn with(way: Way, mac: Mac) -> Self {
        Self {
            way,
            mac,
            mtu: None,
            model: None,
            rom: false,
            tap: None,
            properties: String::new(),
        }
    }

    /// Puts its cable in: the cable that a hand can reach, if it has one, and QEMU's end.
    pub(super) fn plug(&self, name: &str) -> Result<(Option<Cable>, OwnedFd), Failure> {
        match &self.way {
            Way::Switch(switch) => {
                let (cable, end) = switch.plug(name)?;
                Ok((Some(cable), end))
            }
            Way::Line(end) => Ok((None, end.take()?)),
        }
    }

    /// The MTU that the host offers the guest.
    #[must_use]
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Another card than virtio: `e1000`. It has no MTU to offer.
    #[must_use]
    pub fn model(mut self, model: &'static str) -> Self {
        self.model = Some(model);
        self
    }

    /// Keeps the card's boot ROM, which is iPXE. Without it a guest's firmware
    /// does not spend seconds on network boot.
    #[must_use]
    pub fn boot_rom(mut self) -> Self {
        self.rom = true;
        self
    }

    /// Joins the host's tap interface `name` to the same cable.
    #[must_use]
    pub fn with_tap(mut self, name: &str) -> Self {
        self.tap = Some(name.to_owned());
        self
    }

    /// Any other property of the device: `rx_queue_size=1024`.
    #[must_use]
    pub fn property(mut self, property: &str) -> Self {
        self.properties.push(',');
        self.properties.push_str(property);
        self
    }
}
