//! iPXE: one command at a time, two sectors at most, the same tag again.
//!
//! A command is repeated after 0.25 s and then ever later until 10 s are over;
//! then the block layer above tries the whole operation again, about ten times.

use super::{Desk, Initiator, Job, JobKind, Work};
use crate::oracle::Logical;
use crate::wire::{self, Address, Ata, Header, Mac, opcode};
use std::rc::Rc;

const FIRST_TIMEOUT_US: u64 = 250_000;
const COMMAND_US: u64 = 10_000_000;

enum Stage {
    Off,
    Asking,
    Identifying,
    Booting,
}

/// A machine that boots from the node and reads on.
pub struct Ipxe {
    host: usize,
    mac: Mac,
    export: Address,
    work: Work,
    stage: Stage,
    target: Mac,
    tag: u16,
    /// What is out: the frame, to send again as it is.
    frame: Option<Vec<u8>>,
    job: Option<(Job, Rc<Logical>)>,
    began_us: u64,
    timeout_us: u64,
    resend_us: u64,
    strict: bool,
    stopped: bool,
    completed: u64,
}

impl Ipxe {
    /// A machine that boots from `export`.
    pub fn new(host: usize, mac: Mac, export: Address, work: Work, strict: bool) -> Self {
        Self {
            host,
            mac,
            export,
            work,
            stage: Stage::Off,
            target: wire::BROADCAST,
            tag: 0,
            frame: None,
            job: None,
            began_us: 0,
            timeout_us: FIRST_TIMEOUT_US,
            resend_us: 1_000,
            strict,
            stopped: false,
            completed: 0,
        }
    }

    fn header(&mut self, command: u8) -> Header {
        self.tag = self.tag.wrapping_add(1);
        let tag = 0x18ae_0000 | u32::from(self.tag);
        Header::request(self.target, self.mac, self.export, command, tag)
    }

    fn issue(&mut self, desk: &mut Desk<'_>, frame: Vec<u8>) {
        self.began_us = desk.now_us;
        self.timeout_us = FIRST_TIMEOUT_US;
        self.resend_us = desk.now_us + self.timeout_us;
        desk.out.push((0, frame.clone()));
        self.frame = Some(frame);
    }

    fn next(&mut self, desk: &mut Desk<'_>) {
        self.frame = None;
        match self.stage {
            Stage::Off | Stage::Asking => {
                self.stage = Stage::Asking;
                self.target = wire::BROADCAST;
                let header = self.header(wire::CONFIG);
                self.issue(desk, wire::config(header, 0, &[]));
            }
            Stage::Identifying => {
                let header = self.header(wire::ATA);
                let mut ata = Ata::extended(opcode::IDENTIFY, 0, 1);
                ata.flags = 0;
                ata.lba[3] = 0xe0;
                self.issue(desk, wire::ata(header, ata, &[]));
            }
            Stage::Booting => {
                let job = match self.job.take() {
                    // The block layer tries the same operation again.
                    Some(job) => Some(job),
                    None if self.stopped => None,
                    None => self.work.next(desk.random, 2).map(|job| {
                        let strict = self.strict && job.private;
                        (job, desk.oracle.new_write(strict))
                    }),
                };
                let Some((job, logical)) = job else {
                    self.resend_us = desk.now_us + 10_000;
                    return;
                };
                let header = self.header(wire::ATA);
                let code = match job.kind {
                    JobKind::Read => opcode::READ_EXT,
                    JobKind::Write { .. } => opcode::WRITE_EXT,
                };
                let ata = Ata::extended(code, job.lba, job.sectors as u8);
                let frame = wire::ata(header, ata, &job.data(0, job.sectors));
                desk.oracle
                    .write_sent(self.mac, self.export, header.tag, &logical);
                self.job = Some((job, logical));
                self.issue(desk, frame);
            }
        }
    }
}

impl Initiator for Ipxe {
    fn name(&self) -> String {
        format!("iPXE host {}", self.host)
    }

    fn receive(&mut self, desk: &mut Desk<'_>, _card: usize, frame: &[u8]) {
        let Some(header) = Header::parse(frame) else {
            return;
        };
        let expected = 0x18ae_0000 | u32::from(self.tag);
        if !header.response
            || header.version != 1
            || header.tag != expected
            || header.address != self.export
            || self.frame.is_none()
        {
            return;
        }
        let ata = Ata::parse(&header, frame);
        let failed = header.failed || ata.is_some_and(|ata| ata.command & 1 != 0);
        match (&self.stage, header.command) {
            (Stage::Asking, wire::CONFIG) => {
                self.target = header.from;
                self.stage = Stage::Identifying;
            }
            (Stage::Identifying, wire::ATA) if !failed => self.stage = Stage::Booting,
            (Stage::Booting, wire::ATA) => {
                let (job, logical) = self.job.take().expect("a command is out");
                if failed {
                    // An error: the operation is tried again under a new tag a
                    // few times. Ours gives it up at once, which asks less of
                    // the node's patience and more of its order.
                    self.work.done(&job);
                } else {
                    desk.oracle.write_received(&logical);
                    self.work.done(&job);
                    self.completed += 1;
                }
            }
            (Stage::Identifying, wire::ATA) => {}
            _ => return,
        }
        self.next(desk);
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        let Some(frame) = &self.frame else {
            return self.next(desk);
        };
        if desk.now_us - self.began_us > COMMAND_US {
            return self.next(desk);
        }
        desk.out.push((0, frame.clone()));
        self.timeout_us *= 2;
        self.resend_us = desk.now_us + self.timeout_us;
    }

    fn deadline_us(&self) -> u64 {
        self.resend_us
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn is_idle(&self) -> bool {
        self.job.is_none()
    }

    fn completed(&self) -> u64 {
        self.completed
    }
}
