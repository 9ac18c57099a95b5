//! Writes that are durable when they end, without a flush (virtio 1.2, 5.2.6.2).
//!
//! A driver that has agreed on `VIRTIO_BLK_F_CONFIG_WCE` may write the byte `writeback`:
//! what is submitted and ends while it is 0 is in stable storage. The byte is also how a
//! disk says that it needs no flushes at all, so a 0 of ours must not be read as one of
//! the disk's own: what the disk is worth stands in its geometry, as before.
//!
//! **A write that fails is not tried again.** Its failure may be that of the flush behind
//! it, which a host kernel reports once and which cost other writes their data as well;
//! a second try would end well and hide that. So it is reported, and the node suspects
//! the others.

use super::geometry::{CONFIG_WCE, FLUSH, config};
use super::{Blk, Transport};
use io::{Geometry, Instant, WriteCache};

/// Which requests may have been written through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Through {
    /// None, or those that were lent up to then.
    Off(Option<Instant>),
    /// All.
    On,
}

impl Through {
    pub(super) const NEVER: Self = Self::Off(None);

    pub(super) fn is_on(self) -> bool {
        self == Self::On
    }

    /// Whether a request that was lent `since` then may have been written through. Time
    /// stands between two ticks: some that were lent behind the switch are taken in.
    pub(super) fn covers(self, since: Instant) -> bool {
        match self {
            Self::On => true,
            Self::Off(until) => until.is_some_and(|until| since <= until),
        }
    }
}

impl<T: Transport> Blk<T> {
    /// Whether the mode is as wished; what cannot be said for sure is off.
    pub(super) fn switch_through(&mut self, on: bool) -> bool {
        const NEEDED: u64 = FLUSH | CONFIG_WCE;
        let has_choice = self.features & NEEDED == NEEDED
            && self.geometry.write_cache == WriteCache::Volatile
            && self.service.is_running();
        if on && has_choice {
            self.transport.set_config_u8(config::WRITEBACK, 0);
            if self.transport.config_u8(config::WRITEBACK) == Some(0) {
                self.through = Through::On;
                return true;
            }
        }
        if self.through.is_on() || on {
            self.through = Through::Off(Some(self.now));
            if has_choice {
                self.transport.set_config_u8(config::WRITEBACK, 1);
            }
        }
        false
    }

    /// The disk was asked what it is like. False if the mode that we chose is lost: the
    /// machine went on somewhere else, with the mode of its settings.
    pub(super) fn keep_through(&mut self, geometry: &mut Geometry) -> bool {
        if geometry.write_cache == WriteCache::None {
            // That is our 0.
            geometry.write_cache = WriteCache::Volatile;
            return true;
        }
        self.switch_through(false)
    }
}
