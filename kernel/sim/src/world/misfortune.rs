//! What goes wrong, and how it ends.

use super::plan::weather;
use super::{Event, World};
use crate::disk::Spindle;
use crate::ledger::Fault;
use node::Order;
use std::cell::RefCell;
use std::rc::Rc;

impl World {
    pub(super) fn misfortune(&mut self) {
        let now_us = self.ledger.now_us();
        let random = &mut self.random;
        let ports = self.plan.macs.len() as u64;
        let kind = match random.below(17) {
            // A storm is mostly a processor that is taken away.
            _ if self.storm => return self.stall(),
            kind => kind,
        };
        match kind {
            0 | 1 => {
                let plugs = self.network.borrow().plugs.len() as u64;
                let plug = random.below(plugs) as usize;
                let until_us = now_us + random.between(5_000, 800_000);
                self.network.borrow_mut().cut(plug, until_us);
                self.ledger.count(Fault::CableCut);
            }
            2 if !self.strict => {
                let until_us = now_us + random.between(500, 60_000);
                self.network.borrow_mut().pause(until_us);
                self.ledger.count(Fault::NetworkPaused);
            }
            3 => {
                let port = random.below(ports) as usize;
                let until_us = now_us + random.between(500, 80_000);
                self.network.borrow_mut().ports[port].stuck_until_us = until_us;
                self.ledger.count(Fault::TransmitStuck);
                self.trip_card(port);
            }
            4..=6 => {
                let longest_us = *random.pick(&[1_000, 20_000, 90_000, 400_000]);
                let pause_us = random.between(100, longest_us);
                self.pause_node(pause_us);
            }
            7 | 8 => {
                let power = random.one_in(2);
                let down_us = random.between(1_000, 500_000);
                self.die(power, down_us);
            }
            9 | 10 => {
                let disk = random.below(self.spindles.len() as u64) as usize;
                let longest_us = *random.pick(&[50_000, 500_000, 4_000_000]);
                let until_us = now_us + random.between(5_000, longest_us);
                self.spindles[disk].borrow_mut().hang(until_us);
                self.ledger.count(Fault::DiskHung);
                self.trip_disk(disk);
                self.wake_for_disks();
            }
            11 => {
                let served = self.spindles.len() - usize::from(self.own.is_some());
                let disk = random.below(served as u64) as usize;
                let sectors = self.spindles[disk].borrow().plan().sectors;
                if sectors < 1 << 20 && self.drivers.disks.sees_new_sizes() {
                    let more = random.between(1, 64);
                    self.spindles[disk].borrow_mut().resize(sectors + more);
                    self.oracle.borrow_mut().resized(disk);
                    self.ledger.count(Fault::Resized);
                }
            }
            12 if self.drivers.cards.sees_new_sizes() => {
                let port = random.below(ports) as usize;
                let mtu = match self.plan.mtus[port] {
                    4_133.. => 4_132,
                    // How long a list may be must not be in doubt.
                    mtu => mtu.min(1_500),
                };
                self.network.borrow_mut().ports[port].mtu = mtu;
                self.oracle.borrow_mut().set_mtu(port, mtu);
                self.ledger.count(Fault::MtuChanged);
                let after_us = random.between(50_000, 600_000);
                self.enter(after_us, Event::Restore(port));
            }
            13 => {
                let port = random.below(ports) as usize;
                self.network.borrow_mut().ports[port].link = false;
                self.ledger.count(Fault::CableCut);
                let after_us = random.between(50_000, 900_000);
                self.enter(after_us, Event::Restore(port));
            }
            14 => self.order_restart(),
            _ => {
                let strict = self.strict;
                self.network.borrow_mut().weather = weather(random, strict);
            }
        }
    }

    /// Now and then a disk's device breaks, where it has a driver to notice.
    fn trip_disk(&mut self, disk: usize) {
        if !self.down
            && let Some(trip) = self.drivers.disk_trip()
        {
            self.ledger
                .say(|| format!("the device of disk {disk} {trip:?}"));
            self.spindles[disk].borrow_mut().trip = Some(trip);
            self.ledger.count(Fault::DeviceTripped);
            self.has_tripped = true;
        }
    }

    /// The same of a card. Somebody starts the node anew some time later.
    fn trip_card(&mut self, port: usize) {
        if !self.down
            && let Some(trip) = self.drivers.card_trip()
        {
            self.ledger
                .say(|| format!("the card at port {port} {trip:?}"));
            self.network.borrow_mut().ports[port].trip = Some(trip);
            self.ledger.count(Fault::DeviceTripped);
            self.has_tripped = true;
            let after_us = self.random.between(10_000, 600_000);
            self.enter(after_us, Event::Strike(false));
        }
    }

    fn die(&mut self, power: bool, down_us: u64) {
        self.ledger
            .say(|| format!("the node dies (power {power}) for {down_us} us"));
        self.crash(power);
        self.enter(down_us, Event::Boot);
    }

    /// A crash that was aimed at a moment, if there is still somebody to hit.
    pub(super) fn strike(&mut self, power: bool) {
        if self.ledger.now_us() < self.trouble_ends_us && !self.down {
            let down_us = self.random.between(1_000, 20_000);
            self.die(power, down_us);
        }
    }

    /// Now and then a crash is aimed at the time between a change of what is set
    /// and its answer, and at the node's first moments after another one.
    pub(super) fn aim(&mut self, at_start: bool) {
        let has_chance = if at_start {
            self.own.is_some() && self.boots > 1 && self.random.one_in(4)
        } else {
            self.own.is_some() && self.random.one_in(64)
        };
        if has_chance {
            let after_us = self.random.between(1, 3_000);
            let power = self.random.one_in(2);
            self.enter(after_us, Event::Strike(power));
        }
    }

    fn pause_node(&mut self, pause_us: u64) {
        self.paused_until_us = self.ledger.now_us() + pause_us;
        let until_us = self.paused_until_us;
        self.ledger
            .say(|| format!("the processor is taken away until {until_us} us"));
        self.ledger.count(Fault::NodePaused);
    }

    /// A storm's misfortune: the processor is taken away, the crowd rushes into one
    /// ring, and the host with two paths has time to send its writes again through
    /// the other. The node wakes up over both copies.
    fn stall(&mut self) {
        let pause_us = self.random.between(30_000, 95_000);
        self.pause_node(pause_us);
        let now_us = self.ledger.now_us();
        for host in 0..self.hosts.len() {
            self.hosts[host].rush(now_us);
            self.set_alarm(host);
        }
    }

    /// Somebody presses the button: the node is to stop in order and start again.
    fn order_restart(&mut self) {
        let Some(node) = self.machine.inside() else {
            return;
        };
        node.order(Order::Restart);
        self.ledger.say(|| "the node is told to start again".into());
        self.ledger.count(Fault::Ordered);
        let refused = self.flushes_refused();
        self.ordered = Some((self.ledger.now_us(), refused));
        self.schedule_turn(1);
    }

    fn flushes_refused(&self) -> u64 {
        let refused = |spindle: &Rc<RefCell<Spindle>>| spindle.borrow().flushes_refused;
        self.spindles.iter().map(refused).sum()
    }

    /// The node says that it has stopped in order. What it left in a volatile cache
    /// although every flush worked, the power switch would have taken.
    pub(super) fn closed(&mut self) {
        let now_us = self.ledger.now_us();
        let (ordered_us, refused) = self.ordered.take().unwrap_or((now_us, 0));
        // A disk that hangs does not keep the machine on.
        let in_time = now_us - ordered_us < node::limits::CLOSE_MAX_US;
        // A device that is out of service flushes nothing.
        if in_time && refused == self.flushes_refused() && !self.has_tripped {
            for (index, spindle) in self.spindles.iter().enumerate() {
                let left = spindle.borrow().in_cache();
                if left > 0 {
                    self.ledger.find(format!(
                        "the node stopped in order and left {left} sectors in the cache of disk {index}"
                    ));
                }
            }
        }
        self.crash(true);
        let down_us = self.random.between(1_000, 500_000);
        self.enter(down_us, Event::Boot);
    }

    /// A disk's times have changed while the node may be asleep over them.
    fn wake_for_disks(&mut self) {
        if self.asleep {
            self.schedule_turn(1);
        }
    }

    pub(super) fn restore(&mut self, port: usize) {
        let mtu = self.plan.mtus[port];
        let mut network = self.network.borrow_mut();
        network.ports[port].link = true;
        if network.ports[port].mtu != mtu {
            network.ports[port].mtu = mtu;
            self.oracle.borrow_mut().set_mtu(port, mtu);
        }
    }

    pub(super) fn fair_weather(&mut self) {
        self.ledger.say(|| "fair weather".into());
        self.network.borrow_mut().heal();
        for spindle in &self.spindles {
            spindle.borrow_mut().heal();
        }
        for port in 0..self.plan.macs.len() {
            self.restore(port);
        }
        self.paused_until_us = 0;
        // A device that is out of service is used again by the next start.
        if self.has_tripped {
            self.crash(false);
        }
        if self.down {
            self.boot();
        }
        self.schedule_turn(1);
        for host in 0..self.hosts.len() {
            self.at_desk(host, |host, desk| host.fair_weather(desk));
        }
    }
}
