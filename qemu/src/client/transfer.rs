//! Many sectors, many frames, one call: the window, the resends, the checks.

use super::Client;
use super::wire::{AtaRequest, Export, Reply, at, ata, command, succeeded};
use crate::pattern::{self, SECTOR_BYTES};
use crate::{Failure, OrFail};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How a transfer is driven.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Sectors in a frame; what the export offers if that is less.
    pub sectors_per_frame: u8,
    /// Frames on their way at once; what the export offers if that is less.
    pub outstanding: usize,
    /// How long an answer may take before the request is sent again.
    pub resend_after: Duration,
    /// How long the whole transfer may take.
    pub within: Duration,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            sectors_per_frame: u8::MAX,
            outstanding: 32,
            resend_after: Duration::from_millis(500),
            within: Duration::from_secs(60),
        }
    }
}

/// What a transfer took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfer {
    /// Requests answered.
    pub requests: u64,
    /// Requests sent again.
    pub resends: u64,
    /// Answers nobody waited for any more.
    pub unexpected: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Client {
    /// Reads whole sectors from `lba` on into `into`.
    pub fn read(
        &mut self,
        export: &Export,
        lba: u64,
        into: &mut [u8],
        flow: Flow,
    ) -> Result<Transfer, Failure> {
        self.transfer(export, lba, Bytes::Read(into), flow)
    }

    /// Writes `from`, whole sectors, from `lba` on.
    pub fn write(
        &mut self,
        export: &Export,
        lba: u64,
        from: &[u8],
        flow: Flow,
    ) -> Result<Transfer, Failure> {
        self.transfer(export, lba, Bytes::Write(from), flow)
    }

    /// Writes the pattern of `seed` to `sectors` sectors from `lba` on.
    pub fn write_pattern(
        &mut self,
        export: &Export,
        lba: u64,
        sectors: usize,
        seed: u64,
        flow: Flow,
    ) -> Result<Transfer, Failure> {
        let mut bytes = vec![0; sectors * SECTOR_BYTES];
        pattern::fill(&mut bytes, lba, seed);
        self.write(export, lba, &bytes, flow)
    }

    /// Reads `sectors` sectors from `lba` on; they must be the pattern of `seed`.
    pub fn check_pattern(
        &mut self,
        export: &Export,
        lba: u64,
        sectors: usize,
        seed: u64,
        flow: Flow,
    ) -> Result<Transfer, Failure> {
        // What the buffer held before must not pass for what was read.
        let mut bytes = vec![0xd5; sectors * SECTOR_BYTES];
        let transfer = self.read(export, lba, &mut bytes, flow)?;
        pattern::check(&bytes, lba, seed).or_fail(export.address)?;
        Ok(transfer)
    }

    fn transfer(
        &mut self,
        export: &Export,
        lba: u64,
        mut bytes: Bytes<'_>,
        flow: Flow,
    ) -> Result<Transfer, Failure> {
        let per_frame = usize::from(flow.sectors_per_frame.min(export.sectors_max).max(1));
        let window = flow.outstanding.min(usize::from(export.buffers)).max(1);
        let total = bytes.len() / SECTOR_BYTES;
        let started = Instant::now();
        let mut transfer = Transfer::default();
        // Chunks to send, each its first sector counted from `lba`; resends
        // come back to the front.
        let mut to_send: VecDeque<usize> = (0..total).step_by(per_frame).collect();
        let mut on_the_way: HashMap<u32, (usize, Instant)> = HashMap::new();
        while !(to_send.is_empty() && on_the_way.is_empty()) {
            if started.elapsed() > flow.within {
                return Err(Failure::new(format!(
                    "{}: {} requests of {} still without an answer after {:.1} s ({} resends)",
                    export.address,
                    to_send.len() + on_the_way.len(),
                    total.div_ceil(per_frame),
                    flow.within.as_secs_f64(),
                    transfer.resends
                )));
            }
            while on_the_way.len() < window
                && let Some(first) = to_send.pop_front()
            {
                let sectors = per_frame.min(total - first);
                let tag = self.new_tag();
                let argument = bytes.argument(lba, first, sectors);
                let frame = self.request(export.mac, export.address, command::ATA, tag, &argument);
                on_the_way.insert(tag, (first, Instant::now()));
                self.send(&frame);
            }
            if let Some(reply) = self.next_reply(Duration::from_millis(20)) {
                match on_the_way.remove(&reply.tag()) {
                    None => transfer.unexpected += 1,
                    Some((first, _)) => {
                        let sectors = per_frame.min(total - first);
                        bytes
                            .take_reply(&reply, export, first, sectors)
                            .map_err(|failure| {
                                failure.with(format!(
                                    "{sectors} sectors at {} of {}",
                                    lba + first as u64,
                                    export.address
                                ))
                            })?;
                        transfer.requests += 1;
                        continue;
                    }
                }
            }
            let now = Instant::now();
            on_the_way.retain(|_, (first, sent)| {
                let late = now.duration_since(*sent) > flow.resend_after;
                if late {
                    transfer.resends += 1;
                    to_send.push_front(*first);
                }
                !late
            });
        }
        transfer.elapsed = started.elapsed();
        Ok(transfer)
    }
}

/// The memory side of a transfer.
enum Bytes<'a> {
    Read(&'a mut [u8]),
    Write(&'a [u8]),
}

impl Bytes<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Read(bytes) => bytes.len(),
            Self::Write(bytes) => bytes.len(),
        }
    }

    fn argument(&self, lba: u64, first: usize, sectors: usize) -> Vec<u8> {
        let mut request = AtaRequest {
            flags: 0x40,
            count: u8::try_from(sectors).expect("a frame's sectors fit a byte"),
            opcode: ata::READ_EXT,
            lba: lba + first as u64,
            ..AtaRequest::default()
        };
        match self {
            Self::Read(_) => request.bytes().to_vec(),
            Self::Write(bytes) => {
                request.flags |= 0x01;
                request.opcode = ata::WRITE_EXT;
                let mut argument = request.bytes().to_vec();
                argument.extend(&bytes[first * SECTOR_BYTES..(first + sectors) * SECTOR_BYTES]);
                argument
            }
        }
    }

    fn take_reply(
        &mut self,
        reply: &Reply,
        export: &Export,
        first: usize,
        sectors: usize,
    ) -> Result<(), Failure> {
        if let Some(code) = reply.aoe_error() {
            return Err(Failure::new(format!("AoE error {code}: {reply:?}")));
        }
        if reply.address() != export.address || reply.source() != export.mac {
            return Err(Failure::new(format!(
                "the answer comes from {} at {}: {reply:?}",
                reply.address(),
                reply.source()
            )));
        }
        let data = match self {
            Self::Read(_) => sectors * SECTOR_BYTES,
            Self::Write(_) => 0,
        };
        reply.check_length(at::ATA_DATA + if reply.ata_failed() { 0 } else { data })?;
        succeeded(reply, "the transfer")?;
        if let Self::Read(bytes) = self {
            bytes[first * SECTOR_BYTES..][..data].copy_from_slice(reply.ata_data());
        }
        Ok(())
    }
}
