//! Who is there, where, and what they want.

use super::plan::{HOSTS_MAX, guests, mac};
use super::{Event, World};
use crate::initiator::{
    Crowd, Desk, Initiator, Ipxe, Linux, Operator, Rogue, WinAoe, Window, Work,
};
use crate::random::Random;
use crate::wire::Address;

impl World {
    pub(super) fn at_desk(
        &mut self,
        host: usize,
        act: impl FnOnce(&mut dyn Initiator, &mut Desk<'_>),
    ) {
        let mut oracle = self.oracle.borrow_mut();
        let mut desk = Desk {
            now_us: self.ledger.now_us(),
            random: &mut self.host_random[host],
            oracle: &mut oracle,
            ledger: &self.ledger,
            out: Vec::new(),
        };
        act(self.hosts[host].as_mut(), &mut desk);
        let out = desk.out;
        drop(oracle);
        let mut network = self.network.borrow_mut();
        for (card, frame) in out {
            let plug = network
                .plugs
                .iter()
                .position(|plug| plug.host == host && plug.card == card)
                .expect("a host sends by its own cards");
            network.leave_host(plug, &frame);
        }
        drop(network);
        self.set_alarm(host);
    }

    pub(super) fn set_alarm(&mut self, host: usize) {
        let now_us = self.ledger.now_us();
        let deadline_us = self.hosts[host].deadline_us();
        if deadline_us < self.host_wakes[host] && deadline_us != u64::MAX {
            let at_us = deadline_us.max(now_us + 1);
            self.host_wakes[host] = at_us;
            self.agenda.borrow_mut().enter(at_us, Event::Wake(host));
        }
    }

    /// Who is there, where, and what they want.
    pub(super) fn invite(&mut self, segments: usize) {
        let exports = self.plan.served.len();
        let mut linux = self.random.between(1, 3) as usize;
        let mut ipxe = self.random.below(3) as usize / 2 + usize::from(self.random.one_in(3));
        let mut windows = usize::from(self.random.one_in(3));
        let mut rogue = usize::from(self.random.one_in(2));
        let mut operator = usize::from(self.random.one_in(2) || self.own.is_some());
        if self.storm {
            // One host with two paths, and a crowd on one of them.
            (linux, ipxe, windows, rogue, operator) = (1, 0, 0, 1, 0);
        }
        let workers = linux + ipxe + windows;
        let total = workers + rogue + operator;
        let everybody = guests();
        assert!(total <= HOSTS_MAX, "{total} hosts");
        let addresses: Vec<Address> = self.plan.served.iter().map(|s| s.address).collect();
        let shared = self.shared_window();
        for host in 0..total {
            let mut own = self.random.fork(1_000 + host as u64);
            // A VLAN is between the host and the node's port alone.
            let vlan = own.one_in(8).then(|| {
                [
                    0x81,
                    0x00,
                    own.below(8) as u8 * 32,
                    own.between(1, 200) as u8,
                ]
            });
            let cards = if host < linux && segments > 1 && (self.storm || own.one_in(2)) {
                own.between(2, segments.min(3) as u64) as usize
            } else {
                1
            };
            let first_segment = if self.storm {
                0
            } else {
                own.below(segments as u64) as usize
            };
            let mut card_list = Vec::new();
            for card in 0..cards {
                let segment = (first_segment + card) % segments;
                let address = mac(host as u8 + 1, card);
                let mut network = self.network.borrow_mut();
                network.add_plug(segment, host, card, address, vlan);
                let mtu = self.plan.mtus[segment.min(self.plan.mtus.len() - 1)];
                let own_mtu = if own.one_in(4) { 1500 } else { mtu };
                card_list.push((address, own_mtu.min(mtu)));
            }
            let export = own.below(exports.max(1) as u64) as usize;
            let initiator: Box<dyn Initiator> = if host < linux {
                let mut devices = Vec::new();
                for (index, address) in addresses.iter().enumerate() {
                    if index == export || own.one_in(3) {
                        let work = self.work(index, host, workers, &mut own);
                        devices.push((*address, work));
                    }
                }
                let mut depth = *own.pick(&[1, 2, 4, 8, 16]);
                let mut largest = *own.pick(&[1, 2, 8, 17, 64]);
                if self.storm {
                    (depth, largest) = (6, 1);
                }
                Box::new(Linux::new(
                    host,
                    card_list,
                    devices,
                    depth,
                    largest,
                    self.strict,
                ))
            } else if host < linux + ipxe {
                let work = self.work(export, host, workers, &mut own);
                let address = addresses.get(export).copied();
                let address = address.unwrap_or(Address { shelf: 9, slot: 9 });
                Box::new(Ipxe::new(host, card_list[0].0, address, work, self.strict))
            } else if host < workers {
                let work = self.work(export, host, workers, &mut own);
                let address = addresses.get(export).copied();
                let address = address.unwrap_or(Address { shelf: 9, slot: 9 });
                let depth = own.between(1, 24) as usize;
                Box::new(WinAoe::new(
                    host,
                    card_list[0],
                    address,
                    work,
                    depth,
                    self.strict,
                ))
            } else if self.storm {
                let from = card_list[0].0;
                Box::new(Crowd::new(host, from, self.plan.macs[0], addresses[0]))
            } else if host < workers + rogue {
                let gap_us = own.between(100, 5_000);
                let targets = self.plan.macs.clone();
                let known = addresses.clone();
                let from = card_list[0].0;
                Box::new(Rogue::new(host, from, targets, known, shared, gap_us))
            } else {
                let from = card_list[0].0;
                Box::new(Operator::new(
                    host,
                    from,
                    everybody.clone(),
                    addresses.clone(),
                ))
            };
            self.hosts.push(initiator);
            self.host_random.push(own);
            self.host_wakes.push(u64::MAX);
        }
    }

    /// Sectors that are everybody's, the same on every export.
    fn shared_window(&self) -> (u64, u64) {
        let smallest = (0..self.plan.served.len())
            .map(|index| self.oracle.borrow().capacity(index))
            .min()
            .unwrap_or(8);
        (0, (smallest / 4).clamp(1, 48))
    }

    fn work(&self, export: usize, host: usize, hosts: usize, random: &mut Random) -> Work {
        let Some(served) = self.plan.served.get(export) else {
            return Work::new(host as u64, Vec::new(), 0);
        };
        let capacity = self.oracle.borrow().capacity(export);
        let (_, shared) = self.shared_window();
        let mut windows = vec![Window {
            first: 0,
            sectors: shared,
            shared: true,
        }];
        let mut cut = |first: u64, end: u64| {
            // In a storm the host with two paths comes back to the same sectors soon.
            let most = if self.storm && host == 0 { 3 } else { 192 };
            let each = ((end - first) / hosts as u64).min(most);
            if each > 0 {
                windows.push(Window {
                    first: first + each * host as u64,
                    sectors: each,
                    shared: false,
                });
            }
        };
        // Small disks whole; of large ones the start, the border of 28 bits and
        // the end.
        if capacity < 1 << 20 {
            cut(shared, capacity);
        } else {
            cut(shared, 1 << 12);
            cut((1 << 28) - 64, (1 << 28) + 64);
            cut(capacity - 256, capacity);
        }
        if self.storm && host == 0 {
            // Back to the same few sectors at once, with what must not be undone.
            windows.retain(|window| !window.shared);
        }
        let writes = if self.storm {
            900_000
        } else if served.writable {
            *random.pick(&[100_000, 500_000, 900_000])
        } else {
            50_000
        };
        Work::new((export * 64 + host) as u64, windows, writes)
    }
}
