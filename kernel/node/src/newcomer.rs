//! Disks that come while the node runs, behind an adapter that was there at its start.
//!
//! They become exports as at the start, by the settings of the start, and nobody else
//! moves. What is not asked is whether such a disk holds settings of the node: those are
//! read at the start only. All lists have room for as many as the adapters may bring.

use crate::Node;
use crate::banner::Bytes;
use crate::config::Config;
use crate::events::Event;
use crate::node::export;
use crate::plan::{self, Candidate, DISKS_MAX, Origin, Planned};
use crate::state;
use crate::station::Station;
use alloc::boxed::Box;
use io::{Disk, Instant, Nic};

/// What is needed to take one in.
pub(crate) struct Newcomers {
    /// How many there may be.
    pub room: usize,
    /// The settings of the start.
    config: Config,
    /// The window that exports advertise.
    buffers: u16,
    /// What serial numbers are made up from.
    first_mac: Option<[u8; 6]>,
}

impl Newcomers {
    /// With room for `room` disks.
    #[cold]
    pub fn new(
        room: usize,
        config: &Config,
        buffers: u16,
        first_mac: Option<[u8; 6]>,
    ) -> Box<Self> {
        Box::new(Self {
            room,
            config: config.clone(),
            buffers,
            first_mac,
        })
    }
}

impl<N: Nic, D: Disk> Node<N, D> {
    /// Takes in what has come behind the adapter of one disk.
    #[cold]
    #[inline(never)]
    pub(crate) fn look_for_newcomers(&mut self, now: Instant, index: usize) {
        if self.closing.is_some() {
            return;
        }
        let Some(newcomers) = self.newcomers.take() else {
            return;
        };
        // Ends: an adapter has seats for a few, and each comes once.
        while let Some(disk) = self.stations[index].disk.newcomer() {
            self.welcome(now, &newcomers, disk);
        }
        self.newcomers = Some(newcomers);
    }

    #[cold]
    fn welcome(&mut self, now: Instant, newcomers: &Newcomers, disk: D) {
        let serial = disk.identity().serial;
        let is_twin = |station: &Station<D>| station.disk.identity().serial == serial;
        let has_twin = !serial.is_empty() && self.stations.iter().any(is_twin);
        let index = self.stations.len();
        let has_room = |len: usize, capacity: usize| len < capacity && len + 1 < DISKS_MAX;
        if !has_room(index, self.stations.capacity())
            || !has_room(self.exports.len(), self.exports.capacity())
        {
            log::warn!(
                "{}: was plugged in, and there is no room for it",
                disk.name()
            );
            return;
        }
        self.stations.push(Station::new(disk));
        self.events
            .note(now, Event::DiskChanged.into(), index as u32);
        let station = &self.stations[index];
        let (name, geometry) = (station.disk.name(), station.disk.geometry());
        let candidate = Candidate {
            name,
            serial: serial.as_str(),
            wwn: station.disk.identity().wwn.as_str(),
            sectors: geometry.sectors,
            read_only: geometry.read_only,
            origin: Origin::Bus,
        };
        let key = plan::key(&candidate, has_twin);
        let away = || state::records(self.keeper.away()).filter(|kept| kept.first == 0);
        let kept = away().find(|kept| kept.key == key.as_str().as_bytes());
        let planned = plan::arrive(
            &newcomers.config,
            &candidate,
            index as u8,
            has_twin,
            self.exports.iter().map(|export| &export.planned),
            kept.map(|kept| kept.slot),
            |slot| away().any(|kept| kept.slot == slot),
        );
        let planned: Planned = match planned {
            Ok(planned) => planned,
            Err(why) => {
                log::warn!("{name}: was plugged in; {why}; not exported");
                return;
            }
        };
        let mut export = export(
            self.shelf.number(),
            &planned,
            station,
            &newcomers.config,
            newcomers.buffers,
            newcomers.first_mac,
        );
        export.online = false;
        export.planned.by_order &= !self.keeper.is_kept();
        self.keeper
            .welcome(key, planned.wanted.first, &mut export.target);
        let offline = if planned.online { "" } else { ", offline" };
        log::info!(
            "{} ({name}): was plugged in, {}, {}{offline}",
            export.target.address(),
            Bytes(planned.volume.sectors.saturating_mul(512)),
            planned.access
        );
        self.exports.push(export);
        let last = self.exports.len() - 1;
        if planned.online && !self.claim(last) {
            self.appear(last);
        }
    }
}
