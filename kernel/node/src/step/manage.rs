//! What changes rarely: links, MTUs, sizes.

use crate::Node;
use crate::events::Event;
use crate::limits;
use crate::station::Station;
use crate::tally;
use io::{Disk, Instant, Nic};

impl<N: Nic, D: Disk> Node<N, D> {
    /// What changes rarely, and what is announced.
    pub(super) fn manage(&mut self, now: Instant) -> bool {
        if now >= self.next_tick || self.woken && now - self.last_tick >= limits::TICK_WOKEN_US {
            self.last_tick = now;
            self.next_tick = now + limits::TICK_US;
            (self.rarely.tick)(self, now);
        }
        if self.history.is_due(now) {
            let total = self.total_work();
            self.history.look(now, total);
        }
        if now >= self.claims.due() {
            (self.rarely.claim)(self, now);
        }
        let mut moved = match &self.management {
            Some(management) if management.is_due(now) => (self.rarely.manage)(self, now),
            _ => false,
        };
        for index in 0..self.ports.len() {
            self.ports[index].announcer.look(now, self.exports.len());
            for _ in 0..limits::ANNOUNCE_PER_TURN {
                if !self.announce_once(index) {
                    break;
                }
                moved = true;
            }
        }
        moved
    }

    /// What all exports have done together.
    pub(crate) fn total_work(&self) -> tally::Work {
        let mut total = tally::Work::default();
        for export in &self.exports {
            total.add(&export.work);
        }
        total
    }

    /// Looks at links, MTUs and sizes.
    #[cold]
    #[inline(never)]
    pub(crate) fn tick(&mut self, now: Instant) {
        for index in 0..self.ports.len() {
            if self.ports[index].nic.tick(now) {
                self.port_changed(now, index);
            }
        }
        for index in 0..self.stations.len() {
            if self.stations[index].disk.tick(now) {
                self.disk_changed(now, index);
            }
            self.look_for_newcomers(now, index);
        }
        self.look_for_crowds();
    }

    /// Looks for disks where a host works with a small window beside one with a large
    /// one. Two that ask for much do not need it, nor does one that asks now and then.
    fn look_for_crowds(&mut self) {
        let rests = |station: &Station<D>| station.under_way == 0 && !station.crowd.is_gathered();
        if self.stations.iter().all(rests) {
            return;
        }
        for (index, station) in self.stations.iter_mut().enumerate() {
            let asks = |client: &&tally::Client| {
                let export = self.exports.get(usize::from(client.export));
                export.is_some_and(|export| usize::from(export.volume.disk) == index)
            };
            let asked = || self.clients.all().filter(asks).map(tally::Client::asked);
            let most = asked().max().unwrap_or(0);
            let modest = limits::STEADY_MIN..most / limits::MODEST_PART;
            let crowded = asked().any(|asked| modest.contains(&asked));
            station.crowd.gather(crowded);
        }
        self.clients.look();
    }

    #[cold]
    #[inline(never)]
    fn port_changed(&mut self, now: Instant, index: usize) {
        let exports = self.exports.len();
        let port = &mut self.ports[index];
        let (link, mtu) = (port.link, port.wire.mtu);
        port.refresh();
        match (link, port.link) {
            (false, true) => {
                log::info!(
                    "port {index} ({}): link is up, MTU {}",
                    port.nic.name(),
                    port.wire.mtu
                );
                self.events.note(now, Event::LinkUp.into(), index as u32);
                if port.serves {
                    port.announcer.begin(now);
                    self.ask_on(1 << index);
                }
            }
            (true, false) => {
                log::warn!("port {index} ({}): link is down", port.nic.name());
                self.events.note(now, Event::LinkDown.into(), index as u32);
                port.announcer.stop();
            }
            (true, true) if mtu != port.wire.mtu => {
                log::info!(
                    "port {index} ({}): MTU is {} now",
                    port.nic.name(),
                    port.wire.mtu
                );
                self.events
                    .note(now, Event::MtuChanged.into(), index as u32);
                if port.serves {
                    port.announcer.add_all(exports);
                }
            }
            _ => {}
        }
    }

    #[cold]
    #[inline(never)]
    fn disk_changed(&mut self, now: Instant, index: usize) {
        // It may have lost the mode, or need it no more.
        if self.stations[index].through.is_on() {
            self.write_back(now, index);
        }
        self.stations[index].refresh();
        self.events
            .note(now, Event::DiskChanged.into(), index as u32);
        for export in 0..self.exports.len() {
            if usize::from(self.exports[export].volume.disk) != index {
                continue;
            }
            let (before, after) = self.remeasure(export);
            if before != after {
                let address = self.exports[export].target.address();
                log::info!(
                    "{address} ({}): {before} sectors before, {after} now",
                    self.stations[index].disk.name()
                );
                self.announce_everywhere(export);
            }
        }
    }
}
