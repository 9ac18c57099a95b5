//! The operator: config strings, reservations, mask lists, and tidying up.
//!
//! It locks others out for a while and lets them in again, as a cluster manager
//! would. While an export is reserved a Linux host hangs on it and must go on
//! unharmed afterwards.

use super::{Desk, Initiator};
use crate::wire::{self, Address, Header, Mac};

/// Addresses of nobody, enough to fill a mask list.
const STRANGERS: u64 = 186;

fn stranger(number: u64) -> Mac {
    [0x02, 0xdd, 0, 0, (number >> 8) as u8, number as u8]
}

/// A person with aoetools.
pub struct Operator {
    host: usize,
    mac: Mac,
    /// Everybody's addresses, its own among them.
    everybody: Vec<Mac>,
    exports: Vec<Address>,
    next_us: u64,
    tag: u32,
    stopped: bool,
    tidied: usize,
    done: bool,
    completed: u64,
}

impl Operator {
    /// An operator of `exports` who knows everybody's addresses.
    pub fn new(host: usize, mac: Mac, everybody: Vec<Mac>, exports: Vec<Address>) -> Self {
        Self {
            host,
            mac,
            everybody,
            exports,
            next_us: 300_000,
            tag: 0,
            stopped: false,
            tidied: 0,
            done: false,
            completed: 0,
        }
    }

    fn header(&mut self, address: Address, command: u8) -> Header {
        self.tag += 1;
        // Bit 31: the tag of a program, not of the kernel.
        let tag = 0x8000_0000 | self.tag;
        Header::request(wire::BROADCAST, self.mac, address, command, tag)
    }

    fn release(&mut self, desk: &mut Desk<'_>, address: Address) {
        let header = self.header(address, wire::RESERVE);
        desk.out.push((0, wire::reserve(header, 2, &[])));
        // Its own entry last: without it the rest would be refused.
        let strangers: Vec<Mac> = (0..STRANGERS).map(stranger).collect();
        let others = self.everybody.iter().filter(|mac| **mac != self.mac);
        let everybody: Vec<Mac> = others.chain([&self.mac]).copied().collect();
        for macs in [&strangers[..100], &strangers[100..], &everybody] {
            let directives: Vec<(u8, Mac)> = macs.iter().map(|mac| (2, *mac)).collect();
            let header = self.header(address, wire::MASK);
            desk.out.push((0, wire::mask(header, 1, &directives)));
        }
    }
}

impl Initiator for Operator {
    fn name(&self) -> String {
        format!("operator, host {}", self.host)
    }

    fn receive(&mut self, _desk: &mut Desk<'_>, _card: usize, frame: &[u8]) {
        if Header::parse(frame).is_some_and(|header| header.response && header.from != self.mac) {
            self.completed += 1;
        }
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        if self.exports.is_empty() {
            self.next_us = u64::MAX;
            return;
        }
        if self.stopped {
            // One export after the other: a burst for all of them would overrun
            // a small ring, and always lose the same ones. Whether it is done it
            // learns from the oracle; a person would look at the lists.
            self.done = !desk.oracle.is_locked();
            if self.done {
                self.next_us = u64::MAX;
                return;
            }
            self.next_us = desk.now_us + 5_000;
            let address = self.exports[self.tidied % self.exports.len()];
            self.tidied += 1;
            self.release(desk, address);
            return;
        }
        self.next_us = desk.now_us + desk.random.between(2_000, 250_000);
        let address = *desk.random.pick(&self.exports);
        match desk.random.below(20) {
            0..=2 => {
                let header = self.header(address, wire::CONFIG);
                let longest = *desk.random.pick(&[8, 64, 1_024]);
                let mut text = vec![b'x'; desk.random.below(longest + 1) as usize];
                desk.random.fill(&mut text);
                let ccmd = desk.random.between(3, 4) as u8;
                desk.out.push((0, wire::config(header, ccmd, &text)));
            }
            3..=5 => {
                let header = self.header(address, wire::CONFIG);
                let ccmd = desk.random.below(3) as u8;
                desk.out.push((0, wire::config(header, ccmd, &[])));
            }
            6 => {
                let header = self.header(Address::EVERYONE, wire::CONFIG);
                desk.out.push((0, wire::config(header, 0, &[])));
            }
            7 => {
                let member = *desk.random.pick(&self.everybody);
                let rcmd = desk.random.between(1, 2) as u8;
                let header = self.header(address, wire::RESERVE);
                let members = [member, self.mac];
                desk.out.push((0, wire::reserve(header, rcmd, &members)));
            }
            8 => {
                let header = self.header(Address::EVERYONE, wire::RESERVE);
                desk.out.push((0, wire::reserve(header, 0, &[])));
            }
            9 => {
                // Everybody but one may come in.
                let out = desk.random.below(self.everybody.len() as u64) as usize;
                let directives: Vec<(u8, Mac)> = self
                    .everybody
                    .iter()
                    .enumerate()
                    .filter(|(i, mac)| *i != out || **mac == self.mac)
                    .map(|(_, mac)| (1, *mac))
                    .collect();
                let header = self.header(address, wire::MASK);
                desk.out.push((0, wire::mask(header, 1, &directives)));
            }
            10 => {
                let header = self.header(address, wire::MASK);
                desk.out.push((0, wire::mask(header, 0, &[])));
            }
            11 => {
                // A directive that does not exist, behind one that does.
                let header = self.header(address, wire::MASK);
                let directives = [(0, self.mac), (9, self.mac)];
                desk.out.push((0, wire::mask(header, 1, &directives)));
            }
            12 => {
                // More than a list holds, after everybody: nobody is locked out.
                let everybody = self.everybody.iter().copied();
                let strangers = (0..STRANGERS).map(stranger);
                let macs: Vec<(u8, Mac)> = everybody.chain(strangers).map(|mac| (1, mac)).collect();
                for directives in macs.chunks(100) {
                    let header = self.header(address, wire::MASK);
                    desk.out.push((0, wire::mask(header, 1, directives)));
                }
            }
            13 => {
                // Lists and texts that claim to be longer than they are.
                let header = self.header(address, wire::MASK);
                let mut frame = wire::mask(header, 1, &[(1, self.mac)]);
                frame[27] = 200;
                desk.out.push((0, frame));
                let header = self.header(address, wire::RESERVE);
                let mut frame = wire::reserve(header, 2, &[self.mac]);
                frame[25] = 200;
                desk.out.push((0, frame));
                let header = self.header(address, wire::CONFIG);
                let mut frame = wire::config(header, 4, b"text");
                frame[30..32].copy_from_slice(&1_025u16.to_be_bytes());
                desk.out.push((0, frame));
            }
            _ => self.release(desk, address),
        }
    }

    fn deadline_us(&self) -> u64 {
        self.next_us
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.next_us = 0;
    }

    fn is_idle(&self) -> bool {
        self.done || self.exports.is_empty()
    }

    fn completed(&self) -> u64 {
        self.completed
    }

    fn must_progress(&self) -> bool {
        false
    }
}
