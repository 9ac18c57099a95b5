//! A crowd: many small reads at once, through one port, and no memory of them.
//!
//! It fills the ring of one port while that of another stays short. Then two
//! copies of one write, sent through both, are far apart although they arrived
//! one after the other.

use super::{Desk, Initiator};
use crate::wire::{self, Address, Ata, Header, Mac, opcode};

/// See the module's header.
pub struct Crowd {
    host: usize,
    mac: Mac,
    target: Mac,
    export: Address,
    next_us: u64,
    tag: u32,
    stopped: bool,
    heard: u64,
}

impl Crowd {
    /// A crowd that reads from `export` through the port `target`.
    pub fn new(host: usize, mac: Mac, target: Mac, export: Address) -> Self {
        Self {
            host,
            mac,
            target,
            export,
            next_us: 5_000,
            tag: 0,
            stopped: false,
            heard: 0,
        }
    }
}

impl Initiator for Crowd {
    fn name(&self) -> String {
        format!("crowd, host {}", self.host)
    }

    fn receive(&mut self, _desk: &mut Desk<'_>, _card: usize, _frame: &[u8]) {
        self.heard += 1;
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        if self.stopped {
            self.next_us = u64::MAX;
            return;
        }
        self.next_us = desk.now_us + desk.random.between(20_000, 60_000);
        for _ in 0..desk.random.between(100, 250) {
            self.tag = self.tag.wrapping_add(1);
            let (to, from) = (self.target, self.mac);
            let header = Header::request(to, from, self.export, wire::ATA, self.tag);
            let read = Ata::extended(opcode::READ_EXT, desk.random.below(8), 1);
            desk.out.push((0, wire::ata(header, read, &[])));
        }
    }

    fn deadline_us(&self) -> u64 {
        self.next_us
    }

    fn rush(&mut self, now_us: u64) {
        self.next_us = now_us;
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn is_idle(&self) -> bool {
        true
    }

    fn completed(&self) -> u64 {
        self.heard
    }

    fn must_progress(&self) -> bool {
        false
    }
}
