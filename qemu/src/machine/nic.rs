//! The network cards of a machine.

use crate::network::{Mac, Switch};

/// One network card of a machine.
#[derive(Clone)]
pub struct Nic {
    pub(super) switch: Switch,
    pub(super) mac: Mac,
    pub(super) mtu: Option<u16>,
    pub(super) model: Option<&'static str>,
    pub(super) rom: bool,
    pub(super) tap: Option<String>,
    pub(super) properties: String,
}

impl Nic {
    /// A virtio card with address `mac` on `switch`.
    pub fn on(switch: &Switch, mac: Mac) -> Self {
        Self {
            switch: switch.clone(),
            mac,
            mtu: None,
            model: None,
            rom: false,
            tap: None,
            properties: String::new(),
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
