//! WinAoE: finds disks by a broadcast IDENTIFY, never sends a config query, and
//! takes every answer for a success.
//!
//! It asks for ever larger reads until one is not answered in full, keeps up to
//! 64 commands out whatever the node's buffer count says, and repeats them under
//! the same tag, without limit.

use super::{Desk, Initiator, Job, JobKind, Work};
use crate::oracle::Logical;
use crate::wire::{self, Address, Ata, Header, Mac, opcode};
use std::rc::Rc;

const TIMEOUT_US: u64 = 250_000;
const DISCOVER_US: u64 = 10_000_000;
const OUT_MAX: usize = 64;

struct Sent {
    tag: u32,
    frame: Vec<u8>,
    at_us: u64,
    job: Job,
    logical: Rc<Logical>,
}

/// A Windows host.
pub struct WinAoe {
    host: usize,
    mac: Mac,
    mtu: u16,
    export: Address,
    target: Option<Mac>,
    /// Sectors that were answered in full, and whether more are worth a try.
    sectors: u64,
    probe: Option<(u32, u64, u64)>,
    probing: bool,
    work: Work,
    depth: usize,
    sent: Vec<Sent>,
    tag: u32,
    discover_us: u64,
    strict: bool,
    stopped: bool,
    completed: u64,
}

impl WinAoe {
    /// A host that works on `export`, `depth` commands at a time.
    pub fn new(
        host: usize,
        (mac, mtu): (Mac, u16),
        export: Address,
        work: Work,
        depth: usize,
        strict: bool,
    ) -> Self {
        Self {
            host,
            mac,
            mtu,
            export,
            target: None,
            sectors: 1,
            probe: None,
            probing: true,
            work,
            depth: depth.min(OUT_MAX),
            sent: Vec::new(),
            tag: 0,
            discover_us: 2_000,
            strict,
            stopped: false,
            completed: 0,
        }
    }

    /// A counter in little-endian order.
    fn next_tag(&mut self) -> u32 {
        self.tag = self.tag.wrapping_add(1);
        self.tag.swap_bytes()
    }

    fn send_probe(&mut self, desk: &mut Desk<'_>, sectors: u64) {
        let Some(target) = self.target else {
            return;
        };
        let tag = self.next_tag();
        let header = Header::request(target, self.mac, self.export, wire::ATA, tag);
        let read = Ata::extended(opcode::READ_EXT, 0, sectors as u8);
        desk.out.push((0, wire::ata(header, read, &[])));
        self.probe = Some((tag, sectors, desk.now_us));
    }

    fn fill(&mut self, desk: &mut Desk<'_>) {
        let Some(target) = self.target else {
            return;
        };
        if self.probing || self.stopped {
            return;
        }
        while self.sent.len() < self.depth {
            let Some(job) = self.work.next(desk.random, self.sectors) else {
                return;
            };
            let strict = self.strict && job.private;
            let logical = desk.oracle.new_write(strict);
            let tag = self.next_tag();
            let header = Header::request(target, self.mac, self.export, wire::ATA, tag);
            let code = match job.kind {
                JobKind::Read => opcode::READ_EXT,
                JobKind::Write { .. } => opcode::WRITE_EXT,
            };
            let ata = Ata::extended(code, job.lba, job.sectors as u8);
            let frame = wire::ata(header, ata, &job.data(0, job.sectors));
            desk.oracle.write_sent(self.mac, self.export, tag, &logical);
            desk.out.push((0, frame.clone()));
            self.sent.push(Sent {
                tag,
                frame,
                at_us: desk.now_us,
                job,
                logical,
            });
        }
    }
}

impl Initiator for WinAoe {
    fn name(&self) -> String {
        format!("WinAoE host {}", self.host)
    }

    fn receive(&mut self, desk: &mut Desk<'_>, _card: usize, frame: &[u8]) {
        let Some(header) = Header::parse(frame) else {
            return;
        };
        if !header.response || header.address != self.export || header.command != wire::ATA {
            return;
        }
        if let Some(index) = self.sent.iter().position(|sent| sent.tag == header.tag) {
            let sent = self.sent.swap_remove(index);
            // It does not look whether the write succeeded. The oracle does:
            // only a success is an acknowledgement.
            let ok = Ata::parse(&header, frame).is_some_and(|ata| ata.command & 0xa9 == 0);
            if ok && !header.failed {
                desk.oracle.write_received(&sent.logical);
            }
            self.work.done(&sent.job);
            self.completed += 1;
        } else if let Some((tag, sectors, _)) = self.probe
            && tag == header.tag
        {
            self.probe = None;
            let whole = frame.len() >= wire::ATA_HEADER + sectors as usize * 512;
            let more = wire::ATA_HEADER + (sectors as usize + 1) * 512 <= usize::from(self.mtu);
            if whole {
                self.sectors = sectors;
            }
            if whole && more {
                self.send_probe(desk, sectors + 1);
            } else {
                self.probing = false;
            }
        } else if self.target.is_none() && frame.len() >= wire::ATA_HEADER + 512 {
            self.target = Some(header.from);
            self.send_probe(desk, 1);
        }
        self.fill(desk);
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        if desk.now_us >= self.discover_us {
            self.discover_us = desk.now_us + DISCOVER_US;
            if self.target.is_none() {
                self.discover_us = desk.now_us + 500_000;
            }
            let tag = self.next_tag();
            let everyone = Address::EVERYONE;
            let header = Header::request(wire::BROADCAST, self.mac, everyone, wire::ATA, tag);
            let identify = Ata {
                flags: 0x40,
                ..Ata::extended(opcode::IDENTIFY, 0, 1)
            };
            desk.out.push((0, wire::ata(header, identify, &[])));
        }
        if let Some((_, sectors, at_us)) = self.probe
            && desk.now_us - at_us >= TIMEOUT_US
        {
            // Silence: it stays with what worked, or asks again if nothing did.
            self.probe = None;
            if sectors > 1 {
                self.probing = false;
            } else {
                self.send_probe(desk, 1);
            }
        }
        for sent in &mut self.sent {
            if desk.now_us - sent.at_us >= TIMEOUT_US {
                sent.at_us = desk.now_us;
                desk.out.push((0, sent.frame.clone()));
            }
        }
        self.fill(desk);
    }

    fn deadline_us(&self) -> u64 {
        let resend_us = self.sent.iter().map(|sent| sent.at_us + TIMEOUT_US).min();
        let probe_us = self.probe.map(|(.., at_us)| at_us + TIMEOUT_US);
        [Some(self.discover_us), resend_us, probe_us]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(u64::MAX)
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn is_idle(&self) -> bool {
        self.sent.is_empty()
    }

    fn completed(&self) -> u64 {
        self.completed
    }
}
