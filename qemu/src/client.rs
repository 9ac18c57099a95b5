//! Our own AoE initiator: raw frames through the switch, no kernel driver.
//!
//! It encodes and decodes frames by itself, from the offsets of the protocol,
//! and shares no code with the node: two readings of one specification that
//! must agree. It is stricter than any real initiator. A reply that is shorter
//! than 60 bytes, longer than it should be, padded with anything but zeros, or
//! sent from another address than the request went to, is a failure here.
//!
//! Resends are Linux's way: under a new tag, and an answer to an old tag is
//! counted and forgotten.

mod transfer;
mod wire;

pub use transfer::{Flow, Transfer};
pub use wire::{Address, AtaRequest, Export, Identity, Reply, ata, command, hex};

use crate::Failure;
use crate::interface::Interface;
use crate::network::{ETHERTYPE_AOE, Line, Mac, Switch, Tap};
use crate::pattern::SECTOR_BYTES;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use wire::{REQUEST, at, succeeded};

/// An initiator: on a switch, at a line, or on an interface of this machine.
pub struct Client {
    link: Link,
    mac: Mac,
    next_tag: u32,
    /// Responses that came while another was waited for, newest last.
    aside: VecDeque<Reply>,
}

/// Where its frames go.
enum Link {
    Port(Tap),
    Line(Line),
    Interface(Interface),
}

impl Link {
    fn send(&mut self, frame: &[u8]) {
        match self {
            Self::Port(tap) => tap.send(frame),
            Self::Line(line) => line.send(frame),
            Self::Interface(interface) => interface.send(frame),
        }
    }

    fn receive(&mut self, within: Duration) -> Option<Vec<u8>> {
        match self {
            Self::Port(tap) => tap.receive(within),
            Self::Line(line) => line.receive(within),
            Self::Interface(interface) => interface.receive(within),
        }
    }

    fn drain(&mut self) {
        match self {
            Self::Port(tap) => drop(tap.drain()),
            Self::Line(line) => while line.receive(Duration::ZERO).is_some() {},
            // Others may go on sending for ever.
            Self::Interface(interface) => {
                let mut all = 0..DRAINED_MAX;
                while all.next().is_some() && interface.receive(Duration::ZERO).is_some() {}
            }
        }
    }
}

/// Frames of an interface that are forgotten at most.
const DRAINED_MAX: usize = 4096;
/// Responses that are kept aside at most.
const ASIDE_MAX: usize = 256;

impl Client {
    /// An initiator with address `mac` on a new port of `switch`.
    pub fn new(switch: &Switch, mac: Mac) -> Self {
        Self::over(Link::Port(switch.tap(&format!("client/{mac}"))), mac)
    }

    /// An initiator with address `mac` at a line. What it sends leaves at the latest
    /// when it next waits for an answer.
    pub fn at(line: Line, mac: Mac) -> Self {
        Self::over(Link::Line(line), mac)
    }

    /// An initiator on `interface`, with its address.
    pub fn on(interface: Interface) -> Self {
        let mac = interface.mac();
        Self::over(Link::Interface(interface), mac)
    }

    fn over(link: Link, mac: Mac) -> Self {
        Self {
            link,
            mac,
            // Bit 31 belongs to user programs (Linux ignores such tags).
            next_tag: 0x8000_0001,
            aside: VecDeque::new(),
        }
    }

    /// Its address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// The next frame, whatever it is.
    pub fn frame(&mut self, within: Duration) -> Option<Vec<u8>> {
        self.link.receive(within)
    }

    /// A tag that was not used before.
    pub fn new_tag(&mut self) -> u32 {
        let tag = self.next_tag;
        self.next_tag = 0x8000_0000 | tag.wrapping_add(1);
        tag
    }

    /// A request frame, unpadded: header and `argument`.
    pub fn request(
        &self,
        to: Mac,
        address: Address,
        command: u8,
        tag: u32,
        argument: &[u8],
    ) -> Vec<u8> {
        let mut frame = Vec::with_capacity(at::ARGUMENT + argument.len());
        frame.extend(to.0);
        frame.extend(self.mac.0);
        frame.extend(ETHERTYPE_AOE.to_be_bytes());
        frame.extend([REQUEST, 0]);
        frame.extend(address.shelf.to_be_bytes());
        frame.extend([address.slot, command]);
        frame.extend(tag.to_be_bytes());
        frame.extend(argument);
        frame
    }

    /// Sends a frame exactly as it is.
    pub fn send(&mut self, frame: &[u8]) {
        self.link.send(frame);
    }

    /// The next AoE response to us or to everybody, whatever it answers.
    pub fn receive(&mut self, within: Duration) -> Option<Reply> {
        self.aside.pop_front().or_else(|| self.next_reply(within))
    }

    /// The next response that `wanted` accepts; others are kept for `receive`.
    pub fn expect(
        &mut self,
        within: Duration,
        mut wanted: impl FnMut(&Reply) -> bool,
    ) -> Option<Reply> {
        if let Some(found) = self.aside.iter().position(&mut wanted) {
            return self.aside.remove(found);
        }
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let reply = self.next_reply(left)?;
            if wanted(&reply) {
                return Some(reply);
            }
            if self.aside.len() == ASIDE_MAX {
                self.aside.pop_front();
            }
            self.aside.push_back(reply);
        }
    }

    /// Forgets every response that has come so far.
    pub fn forget(&mut self) {
        self.aside.clear();
        self.link.drain();
    }

    /// Sends one request and waits for the answer with its tag. `None` is
    /// silence, which for some requests is the right answer.
    pub fn exchange(
        &mut self,
        to: Mac,
        address: Address,
        command: u8,
        argument: &[u8],
        within: Duration,
    ) -> Option<Reply> {
        let tag = self.new_tag();
        self.send(&self.request(to, address, command, tag, argument));
        self.expect(within, |reply| reply.tag() == tag)
    }

    /// As [`exchange`](Self::exchange), sent again until `within` is over: for
    /// requests that must be answered, on a network that may lose them.
    pub fn insist(
        &mut self,
        export: &Export,
        command: u8,
        argument: &[u8],
        within: Duration,
    ) -> Result<Reply, Failure> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = left.min(Flow::default().resend_after);
            let reply = self.exchange(export.mac, export.address, command, argument, wait);
            match reply {
                Some(reply) if reply.address() != export.address => {
                    return Err(Failure::new(format!(
                        "{} answers for {}",
                        reply.address(),
                        export.address
                    )));
                }
                Some(reply) if reply.source() != export.mac => {
                    return Err(Failure::new(format!(
                        "{} is answered by {} and not by {}",
                        export.address,
                        reply.source(),
                        export.mac
                    )));
                }
                Some(reply) => return Ok(reply),
                None if Instant::now() >= deadline => {
                    return Err(Failure::new(format!(
                        "{} at {} does not answer command {command} within {:.1} s",
                        export.address,
                        export.mac,
                        within.as_secs_f64()
                    )));
                }
                None => {}
            }
        }
    }

    /// Asks everybody, and collects answers for `within`. An export that
    /// answers twice, small and then jumbo, is one entry with the larger size.
    pub fn discover(&mut self, within: Duration) -> Vec<Export> {
        let tag = self.new_tag();
        let query = self.request(
            Mac::BROADCAST,
            Address::EVERYONE,
            command::CONFIG,
            tag,
            &[0; 8],
        );
        self.send(&query);
        let deadline = Instant::now() + within;
        let mut exports: BTreeMap<(Address, Mac), Export> = BTreeMap::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(reply) = self.expect(left, |reply| reply.tag() == tag) else {
                return exports.into_values().collect();
            };
            let Some(export) = reply.export() else {
                continue;
            };
            exports
                .entry((export.address, export.mac))
                .and_modify(|known| {
                    known.sectors_max = known.sectors_max.max(export.sectors_max);
                })
                .or_insert(export);
        }
    }

    /// Asks again and again until anybody answers.
    pub fn wait_for_one(&mut self, within: Duration) -> Result<Export, Failure> {
        let deadline = Instant::now() + within;
        let mut wait = Duration::from_millis(20);
        while Instant::now() < deadline {
            let answer = self.config(Mac::BROADCAST, Address::EVERYONE, 0, b"", wait);
            if let Some(export) = answer.and_then(|reply| reply.export()) {
                return Ok(export);
            }
            wait = (wait * 2).min(Duration::from_millis(500));
        }
        Err(Failure::new(format!(
            "nobody answers a broadcast query within {:.1} s",
            within.as_secs_f64()
        )))
    }

    /// Discovers until `count` exports (or more) have answered, and then gives
    /// jumbo answers a moment to arrive.
    pub fn wait_for_exports(
        &mut self,
        count: usize,
        within: Duration,
    ) -> Result<Vec<Export>, Failure> {
        let deadline = Instant::now() + within;
        let mut pause = Duration::from_millis(20);
        loop {
            let exports = self.discover(pause);
            if exports.len() >= count {
                // Some answers may just have missed the end of the pause; and on a busy
                // machine this time others may.
                let mut all = self.discover(Duration::from_millis(200).max(pause));
                for export in exports {
                    let is_it =
                        |one: &&mut Export| (one.address, one.mac) == (export.address, export.mac);
                    match all.iter_mut().find(is_it) {
                        Some(known) => {
                            known.sectors_max = known.sectors_max.max(export.sectors_max);
                        }
                        None => all.push(export),
                    }
                }
                all.sort_by_key(|export| (export.address, export.mac));
                return Ok(all);
            }
            if Instant::now() >= deadline {
                return Err(Failure::new(format!(
                    "{} of {count} exports answered within {:.1} s",
                    exports.len(),
                    within.as_secs_f64()
                )));
            }
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// One ATA command with data to the export, its reply checked for length:
    /// header alone, or with `expected` bytes behind it when it succeeds.
    pub fn ata(
        &mut self,
        export: &Export,
        request: AtaRequest,
        data: &[u8],
        expected: usize,
        within: Duration,
    ) -> Result<Reply, Failure> {
        let mut argument = request.bytes().to_vec();
        argument.extend(data);
        let reply = self.insist(export, command::ATA, &argument, within)?;
        if let Some(code) = reply.aoe_error() {
            return Err(Failure::new(format!(
                "AoE error {code} to ATA opcode {:#04x}: {reply:?}",
                request.opcode
            )));
        }
        reply.check_length(at::ATA_DATA + if reply.ata_failed() { 0 } else { expected })?;
        Ok(reply)
    }

    /// IDENTIFY DEVICE, as Linux asks it, its checksum verified.
    pub fn identify(&mut self, export: &Export, within: Duration) -> Result<Identity, Failure> {
        let request = AtaRequest {
            count: 1,
            opcode: ata::IDENTIFY,
            lba: 0xa000_0000,
            ..AtaRequest::default()
        };
        let reply = self.ata(export, request, &[], SECTOR_BYTES, within)?;
        succeeded(&reply, "IDENTIFY DEVICE")?;
        let block = reply.ata_data();
        let sum = block.iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte));
        if block[510] == 0xa5 && sum != 0 {
            return Err(Failure::new(format!(
                "{}: the bytes of IDENTIFY add up to {sum:#04x}, not to 0",
                export.address
            )));
        }
        let mut words = [0; 256];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(2)) {
            *word = u16::from_le_bytes([bytes[0], bytes[1]]);
        }
        Ok(Identity { words })
    }

    /// FLUSH CACHE EXT.
    pub fn flush(&mut self, export: &Export, within: Duration) -> Result<(), Failure> {
        let request = AtaRequest {
            flags: 0x40,
            opcode: ata::FLUSH_EXT,
            ..AtaRequest::default()
        };
        let reply = self.ata(export, request, &[], 0, within)?;
        succeeded(&reply, "FLUSH CACHE EXT")
    }

    /// A config command (0 read, 1 test, 2 test prefix, 3 set if empty, 4 force).
    pub fn config(
        &mut self,
        to: Mac,
        address: Address,
        ccmd: u8,
        string: &[u8],
        within: Duration,
    ) -> Option<Reply> {
        let length = u16::try_from(string.len()).unwrap_or(u16::MAX);
        let [high, low] = length.to_be_bytes();
        let mut argument = vec![0, 0, 0, 0, 0, ccmd, high, low];
        argument.extend(string);
        self.exchange(to, address, command::CONFIG, &argument, within)
    }

    /// A mask command (0 read, 1 edit) with directives (1 add, 2 delete).
    pub fn mask(
        &mut self,
        export: &Export,
        mcmd: u8,
        directives: &[(u8, Mac)],
        within: Duration,
    ) -> Option<Reply> {
        let count = u8::try_from(directives.len()).unwrap_or(u8::MAX);
        let mut argument = vec![0, mcmd, 0, count];
        for (directive, mac) in directives {
            argument.extend([0, *directive]);
            argument.extend(mac.0);
        }
        self.exchange(export.mac, export.address, command::MASK, &argument, within)
    }

    /// A reserve command (0 read, 1 set, 2 force) with the list to set.
    pub fn reserve(
        &mut self,
        export: &Export,
        rcmd: u8,
        macs: &[Mac],
        within: Duration,
    ) -> Option<Reply> {
        let count = u8::try_from(macs.len()).unwrap_or(u8::MAX);
        let mut argument = vec![rcmd, count];
        for mac in macs {
            argument.extend(mac.0);
        }
        self.exchange(
            export.mac,
            export.address,
            command::RESERVE,
            &argument,
            within,
        )
    }

    /// The next AoE response on the wire that is meant for us.
    fn next_reply(&mut self, within: Duration) -> Option<Reply> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let frame = self.link.receive(left)?;
            let reply = Reply::parse(frame);
            if let Some(reply) = reply
                && (reply.destination() == self.mac || reply.destination().is_group())
            {
                return Some(reply);
            }
        }
    }
}

#[cfg(test)]
mod tests;
