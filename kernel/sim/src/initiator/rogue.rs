//! The rogue: anything, as fast as it likes.
//!
//! Noise, valid frames with a few bytes changed, every command and length, tags
//! and no tags, wildcards, and now and then a request that is legal and rare.
//! It keeps off the sectors that strict hosts own (nobody could say what is
//! right there) and off masks and reservations, which the operator needs.

use super::{Desk, Initiator};
use crate::content;
use crate::ledger::Fault;
use crate::wire::{self, Address, Ata, Header, Mac, opcode};

/// See the module's header.
pub struct Rogue {
    host: usize,
    mac: Mac,
    targets: Vec<Mac>,
    exports: Vec<Address>,
    /// The sectors of each export that are everybody's.
    shared: (u64, u64),
    next_us: u64,
    gap_us: u64,
    names: u64,
    stopped: bool,
    heard: u64,
}

impl Rogue {
    /// A rogue that sends about every `gap_us`.
    pub fn new(
        host: usize,
        mac: Mac,
        targets: Vec<Mac>,
        exports: Vec<Address>,
        shared: (u64, u64),
        gap_us: u64,
    ) -> Self {
        Self {
            host,
            mac,
            targets,
            exports,
            shared,
            next_us: 3_000,
            gap_us,
            names: (host as u64 + 1) << 40 | 1 << 36,
            stopped: false,
            heard: 0,
        }
    }

    fn frame(&mut self, desk: &mut Desk<'_>) -> Vec<u8> {
        let random = &mut *desk.random;
        let mut to = *random.pick(&self.targets);
        if random.one_in(4) {
            to = wire::BROADCAST;
        }
        let mut address = if self.exports.is_empty() || random.one_in(8) {
            Address::EVERYONE
        } else {
            *random.pick(&self.exports)
        };
        match random.below(24) {
            0 => address.slot = 0xff,
            1 => address.shelf = 0xffff,
            2 => address.slot = random.below(256) as u8,
            _ => {}
        }
        let command = match random.below(16) {
            0 => random.below(256) as u8,
            1 | 2 => wire::CONFIG,
            3 => wire::RESERVE,
            4 => wire::MASK,
            _ => wire::ATA,
        };
        let mut header = Header::request(to, self.mac, address, command, random.next() as u32);
        if random.one_in(32) {
            header.version = random.below(16) as u8;
            header.failed = random.one_in(2);
            header.reserved_bits = random.below(4) as u8;
        }
        header.response = random.one_in(64);
        let (first, sectors) = self.shared;
        let mut frame = match command {
            wire::ATA => {
                let code = *random.pick(&[
                    opcode::READ,
                    opcode::READ_EXT,
                    opcode::READ_EXT,
                    opcode::WRITE,
                    opcode::WRITE_EXT,
                    opcode::WRITE_EXT,
                    opcode::VERIFY,
                    opcode::VERIFY_EXT,
                    opcode::FLUSH,
                    opcode::FLUSH_EXT,
                    opcode::IDENTIFY,
                    opcode::POWER,
                    opcode::SMART,
                    opcode::DATA_SET,
                    0xe0,
                    0xc8,
                    0x25,
                    0x00,
                ]);
                let count = random.between(1, 2).min(sectors);
                let lba = first + random.below(sectors - count + 1);
                if code == opcode::DATA_SET {
                    return self.discard(desk, header);
                }
                let mut ata = Ata::extended(code, lba, count as u8);
                if matches!(code, opcode::READ | opcode::WRITE | opcode::VERIFY) {
                    ata.flags &= 1;
                    ata.lba[3] |= 0xe0;
                }
                if code == opcode::IDENTIFY {
                    ata.count = 1;
                }
                if code == opcode::SMART {
                    ata.feature = *random.pick(&[0xd0, 0xd8, 0xd9, 0xda, 0xd4]);
                    ata.lba = [0, 0x4f, 0xc2, 0, 0, 0];
                }
                let mut data = Vec::new();
                if matches!(code, opcode::WRITE | opcode::WRITE_EXT) {
                    for _ in 0..count {
                        data.extend(content::pattern(self.names));
                        self.names += 1;
                    }
                }
                wire::ata(header, ata, &data)
            }
            wire::CONFIG => {
                let mut text = vec![0; random.below(40) as usize];
                random.fill(&mut text);
                // Sets are the operator's, and a wildcard's set is nobody's.
                let ccmd = *random.pick(&[0, 0, 1, 2, 5, 9]);
                wire::config(header, ccmd, &text)
            }
            wire::RESERVE => wire::reserve(header, random.below(6) as u8 & !1, &[]),
            wire::MASK => wire::mask(header, random.below(4) as u8 & !1, &[]),
            _ => {
                let mut frame = header.bytes();
                let at = frame.len();
                frame.resize(at + random.below(80) as usize, 0);
                random.fill(&mut frame[at..]);
                frame
            }
        };
        // Sources that no answer could go to.
        if random.one_in(40) && frame.len() >= 12 {
            let nobody = [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1], to];
            let from: &wire::Mac = random.pick(&nobody);
            frame[6..12].copy_from_slice(from);
        }
        // Damage.
        match random.below(8) {
            0 => {
                for _ in 0..random.between(1, 6) {
                    let at = random.below(frame.len() as u64) as usize;
                    // Never its own address: answers to somebody else's name
                    // would be nobody's.
                    if !(6..12).contains(&at) {
                        frame[at] = random.next() as u8;
                    }
                }
            }
            1 => frame.truncate(random.below(frame.len() as u64 + 1) as usize),
            2 => {
                let at = frame.len();
                frame.resize((at + random.below(1_400) as usize).min(1_514), 0);
                random.fill(&mut frame[at..]);
            }
            3 => {
                let tag = [
                    *random.pick(&[0x81, 0x88]),
                    0,
                    random.next() as u8,
                    random.next() as u8,
                ];
                let tag = [
                    tag[0],
                    if tag[0] == 0x88 { 0xa8 } else { 0 },
                    tag[2],
                    tag[3],
                ];
                if frame.len() >= 14 {
                    frame = wire::tagged(&frame, tag);
                }
            }
            4 if random.one_in(4) => {
                frame.resize(random.between(14, 1_514) as usize, 0);
                random.fill(&mut frame[14..]);
            }
            _ => {}
        }
        frame
    }

    /// A whole, legal discard of shared sectors. Whatever else looks like a
    /// discard is not sent: its ranges could be anywhere.
    fn discard(&mut self, desk: &mut Desk<'_>, header: Header) -> Vec<u8> {
        let (first, sectors) = self.shared;
        let mut data = vec![0; 512];
        for entry in 0..desk.random.between(1, 3) as usize {
            let n = desk.random.between(1, 16.min(sectors));
            let lba = first + desk.random.below(sectors - n + 1);
            data[entry * 8..entry * 8 + 8].copy_from_slice(&(lba | n << 48).to_le_bytes());
        }
        let mut ata = Ata::extended(opcode::DATA_SET, 0, 1);
        ata.feature = 1;
        wire::ata(header, ata, &data)
    }
}

/// Whether the frame is a discard as [`Rogue::discard`] makes it, whole.
fn is_whole_discard(frame: &[u8], shared: (u64, u64)) -> bool {
    let Some(header) = Header::parse(frame) else {
        return false;
    };
    let Some(ata) = Ata::parse(&header, frame) else {
        return false;
    };
    if header.command != wire::ATA || header.response || ata.command != opcode::DATA_SET {
        return false;
    }
    let Some(data) = frame.get(header.argument_at() + 12..header.argument_at() + 524) else {
        return false;
    };
    ata.count == 1
        && data.as_chunks::<8>().0.iter().all(|entry| {
            let entry = u64::from_le_bytes(*entry);
            let (lba, n) = (entry & 0xffff_ffff_ffff, entry >> 48);
            n == 0 || (lba >= shared.0 && lba + n <= shared.0 + shared.1)
        })
}

impl Initiator for Rogue {
    fn name(&self) -> String {
        format!("rogue, host {}", self.host)
    }

    fn receive(&mut self, _desk: &mut Desk<'_>, _card: usize, _frame: &[u8]) {
        self.heard += 1;
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        if self.stopped {
            self.next_us = u64::MAX;
            return;
        }
        self.next_us = desk.now_us + desk.random.between(1, 2 * self.gap_us);
        let burst = if desk.random.one_in(32) { 64 } else { 1 };
        for _ in 0..burst {
            let frame = self.frame(desk);
            let (first, sectors) = self.shared;
            let allowed = |_: usize, lba: u64| (first..first + sectors).contains(&lba);
            let spoils = desk.oracle.would_change_outside(&frame, allowed);
            let reads = Header::parse(&frame).is_some_and(|header| {
                matches!(header.command, wire::MASK | wire::RESERVE)
                    && frame
                        .get(header.argument_at() + 1)
                        .is_some_and(|mcmd| *mcmd != 1)
                    && frame
                        .get(header.argument_at())
                        .is_some_and(|rcmd| !matches!(*rcmd, 1 | 2))
            });
            if !spoils || reads || is_whole_discard(&frame, self.shared) {
                desk.ledger.count(Fault::RogueFrame);
                desk.out.push((0, frame));
            }
        }
    }

    fn deadline_us(&self) -> u64 {
        self.next_us
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
