//! What a request may do, and what answers to it would be right.
//!
//! Written from the protocol's reference, opcode by opcode, and plain: no table
//! is shared with the node.

use super::{Answer, Asked, Change, Expect, Logical, Oracle, Request, Served, View};
use crate::content::{self, Value};
use crate::ledger::Fault;
use crate::wire::{self, Ata, Header, Mac, opcode};
use std::rc::Rc;

/// So much of a request is remembered: all that may be looked at.
const ARGUMENT_MAX: usize = 2_100;

impl Oracle {
    pub(super) fn ask(&mut self, port: usize, frame: &[u8]) -> Option<Asked> {
        let mac = self.ports[port].mac;
        let header = Header::parse(frame)?;
        let from = header.from;
        let for_us = header.to == mac || header.to == wire::BROADCAST;
        if !for_us || header.response || from[0] & 1 != 0 || from == [0; 6] || from == mac {
            return None;
        }
        let argument = frame[header.argument_at()..].to_vec();
        let ata = Ata::parse(&header, frame);
        let mut answers = Vec::new();
        for index in 0..self.exports.len() {
            let export = &self.exports[index];
            if !header.address.covers(export.served.address) {
                continue;
            }
            let late = header.command != wire::ATA || header.address.is_wild();
            let expects = match header.command {
                wire::ATA => self.expect((index, port), &header, ata.as_ref(), &argument, self.now),
                _ => {
                    self.pend(index, port, &header, &argument);
                    Vec::new()
                }
            };
            if expects.is_empty() && !late {
                continue;
            }
            // A config read is answered twice: small, then as large as can be.
            let twice = header.command == wire::CONFIG
                && argument.get(5).is_some_and(|ccmd| ccmd & 15 == 0);
            answers.push(Answer {
                export: index,
                expects,
                late,
                left: 1 + u8::from(twice),
            });
        }
        if answers.is_empty() {
            return None;
        }
        Some(Asked {
            at: self.now,
            at_us: self.ledger.now_us(),
            port,
            recent: header.address.is_wild() || header.command != wire::ATA,
            header,
            ata,
            argument: argument[..argument.len().min(ARGUMENT_MAX)].to_vec(),
            answers,
        })
    }

    /// Remembers a request that may change what is set.
    fn pend(&mut self, index: usize, port: usize, header: &Header, argument: &[u8]) {
        let request = Request {
            header: *header,
            argument: argument[..argument.len().min(ARGUMENT_MAX)].to_vec(),
            mtu_low: self.ports[port].mtu_low,
        };
        if request.is_set() {
            self.ledger.count(match header.command {
                wire::CONFIG => Fault::ConfigSet,
                wire::MASK => Fault::Masked,
                _ => Fault::Reserved,
            });
            self.exports[index].views.pend(self.now, request);
        }
    }

    /// The right answers of one export to an ATA request that came in by `port` at
    /// `since`. None: silence.
    pub(super) fn expect(
        &mut self,
        (index, port): (usize, usize),
        header: &Header,
        ata: Option<&Ata>,
        argument: &[u8],
        since: u64,
    ) -> Vec<Expect> {
        let from = header.from;
        let export = &self.exports[index];
        // Whether somebody who is let in may find it open, and may find it reserved.
        let (mut open, mut reserved) = (false, false);
        let mut look = |view: &View| {
            if !view.shuts_out(from) {
                open |= view.is_reserved_for(from);
                reserved |= !view.is_reserved_for(from);
            }
        };
        if export.views.is_certain() && since == self.now {
            look(export.views.in_force());
        } else {
            let apply = |request: &Request, view: &View| made_of(request, &export.served, view);
            let possible = export.views.possible(since, apply);
            possible.iter().for_each(|view| look(view));
        }
        if !open && !reserved {
            return Vec::new();
        }
        if header.version != 1 {
            return expect_version(header);
        }
        let Some(ata) = ata else {
            return Vec::new();
        };
        let data = &argument[12..];
        if !reserved || ata.command == opcode::IDENTIFY {
            return self.expect_ata((index, port), header, ata, data, false);
        }
        let mut expects = self.expect_ata((index, port), header, ata, data, !open);
        if !open {
            expects.retain(|expect| matches!(expect, Expect::Refused { .. }));
        }
        expects.push(Expect::Aoe(&[6]));
        expects
    }

    fn expect_ata(
        &mut self,
        (index, port): (usize, usize),
        header: &Header,
        ata: &Ata,
        data: &[u8],
        shut: bool,
    ) -> Vec<Expect> {
        let (low, high) = (self.ports[port].mtu_low, self.ports[port].mtu_high);
        let export = &self.exports[index];
        let changes = matches!(
            ata.command,
            opcode::WRITE | opcode::WRITE_EXT | opcode::DATA_SET | opcode::FEATURES
        );
        if changes && header.address.is_wild() {
            return Vec::new();
        }
        let abort = || {
            vec![Expect::Refused {
                abort: true,
                idnf: false,
            }]
        };
        let wide = matches!(
            ata.command,
            opcode::READ_EXT | opcode::WRITE_EXT | opcode::VERIFY_EXT
        );
        match ata.command {
            opcode::READ
            | opcode::READ_EXT
            | opcode::WRITE
            | opcode::WRITE_EXT
            | opcode::VERIFY
            | opcode::VERIFY_EXT => {
                let sectors = u64::from(ata.count);
                let is_write = matches!(ata.command, opcode::WRITE | opcode::WRITE_EXT);
                let mut refused = (false, false);
                let lba = if wide {
                    ata.lba48()
                } else {
                    refused.1 |= ata.flags & 0x40 != 0 && ata.lba48() >> 28 != 0;
                    ata.lba48() & 0x0fff_ffff
                };
                let most = |mtu| wire::sectors_max(mtu, header.vlan.is_some());
                refused.0 |= sectors == 0 || ata.count > most(high);
                refused.0 |=
                    is_write && (!export.served.writable || data.len() < sectors as usize * 512);
                let end = lba.saturating_add(sectors);
                refused.1 |= export.capacities.iter().all(|&capacity| end > capacity);
                if refused != (false, false) {
                    return vec![Expect::Refused {
                        abort: refused.0,
                        idnf: refused.1,
                    }];
                }
                let mut expects = Vec::new();
                // The size or the link is changing just now.
                let changing = export.capacities.iter().any(|&capacity| end > capacity);
                if changing || ata.count > most(low) {
                    expects.push(Expect::Refused {
                        abort: ata.count > most(low),
                        idnf: changing,
                    });
                }
                if shut {
                    return expects;
                }
                expects.push(match ata.command {
                    opcode::READ | opcode::READ_EXT => Expect::Read { lba, sectors },
                    opcode::VERIFY | opcode::VERIFY_EXT => Expect::Verify,
                    _ => {
                        let sectors = content::sectors(&data[..sectors as usize * 512]);
                        let values = sectors.iter().map(content::value).collect();
                        let key = (header.from, export.served.address, header.tag);
                        let logical = self.logicals.get(&key).cloned();
                        Expect::Write(self.open(index, lba, values, logical))
                    }
                });
                expects
            }
            opcode::FLUSH | opcode::FLUSH_EXT => vec![Expect::Flush],
            opcode::IDENTIFY if ata.count != 1 => abort(),
            opcode::IDENTIFY => vec![Expect::Identify],
            opcode::POWER => vec![Expect::Power],
            opcode::FEATURES => vec![Expect::Either],
            opcode::SMART => vec![Expect::Smart],
            opcode::DATA_SET => {
                let bytes = usize::from(ata.count) * 512;
                let can = self.disks[export.served.disk]
                    .borrow()
                    .plan()
                    .discard
                    .is_some();
                if !can || !export.served.writable || bytes == 0 || data.len() < bytes || shut {
                    return abort();
                }
                let mut ranges = Vec::new();
                for entry in data[..bytes].as_chunks::<8>().0 {
                    let entry = u64::from_le_bytes(*entry);
                    let (lba, sectors) = (entry & 0xffff_ffff_ffff, entry >> 48);
                    if sectors > 0 {
                        ranges.push((lba, sectors));
                    }
                }
                let capacity = self.capacity(index);
                let fits = ranges.iter().all(|(lba, n)| lba + n <= capacity);
                let mut changes = Vec::new();
                if fits && ata.feature & 1 != 0 {
                    let zero = content::value(&[0; 512]);
                    for (lba, sectors) in ranges {
                        let values = vec![zero; sectors as usize];
                        changes.push(self.open(index, lba, values, None));
                    }
                }
                vec![
                    Expect::Refused {
                        abort: true,
                        idnf: true,
                    },
                    Expect::Discard(changes),
                ]
            }
            0xe0..=0xe3 | 0xe6 => vec![Expect::Either],
            _ => abort(),
        }
    }

    /// A change begins to be possible.
    fn open(
        &mut self,
        index: usize,
        lba: u64,
        values: Vec<Value>,
        logical: Option<Rc<Logical>>,
    ) -> Change {
        let counted = logical.as_ref().is_none_or(|logical| !logical.over.get());
        self.tally.late_copies += u64::from(!counted);
        let now = self.now;
        let oldest = self.reads.first().copied().unwrap_or(now);
        let export = &mut self.exports[index];
        let mut first = Vec::with_capacity(values.len());
        for (i, &value) in values.iter().enumerate() {
            if counted {
                let history = export.history(lba + i as u64);
                history.forget(oldest);
                first.push(history.open(value, now));
            }
        }
        Change {
            export: index,
            lba,
            values,
            first,
            logical,
            counted,
        }
    }
}

/// What a request makes of what is set.
pub(super) fn made_of(request: &Request, served: &Served, view: &View) -> View {
    let mut view = view.clone();
    expect_set(request, served, &mut view);
    view
}

fn expect_version(header: &Header) -> Vec<Expect> {
    if header.to == wire::BROADCAST {
        Vec::new()
    } else {
        vec![Expect::Aoe(&[5])]
    }
}

/// The right answers to a request that is not ATA where `view` is set, and what it
/// makes of that. None: silence.
pub(super) fn expect_set(request: &Request, served: &Served, view: &mut View) -> Vec<Expect> {
    let Request {
        header, argument, ..
    } = request;
    if view.shuts_out(header.from) {
        return Vec::new();
    }
    if header.version != 1 {
        return expect_version(header);
    }
    match header.command {
        wire::CONFIG => expect_config(argument, view),
        wire::MASK => expect_mask(request, served, view),
        wire::RESERVE => expect_reserve(header, argument, view),
        _ => vec![Expect::Aoe(&[1])],
    }
}

fn expect_config(argument: &[u8], view: &mut View) -> Vec<Expect> {
    let Some(fixed) = argument.first_chunk::<8>() else {
        return Vec::new();
    };
    let ccmd = fixed[5] & 15;
    let length = usize::from(u16::from_be_bytes([fixed[6], fixed[7]]));
    let text = argument[8..].get(..length).filter(|_| length <= 1024);
    let current = |view: &View, error| {
        vec![Expect::Config {
            string: view.string.clone(),
            ccmd,
            error,
        }]
    };
    match (ccmd, text) {
        (0, _) => current(view, None),
        (1, Some(text)) if text == view.string => current(view, None),
        (2, Some(text)) if view.string.starts_with(text) => current(view, None),
        (1 | 2, _) => Vec::new(),
        (3, Some(text)) if !view.string.is_empty() && text != view.string => current(view, Some(4)),
        (3 | 4, Some(text)) => {
            view.string = text.to_vec();
            vec![Expect::Config {
                string: view.string.clone(),
                ccmd,
                error: None,
            }]
        }
        _ => vec![Expect::Aoe(&[2])],
    }
}

fn expect_mask(request: &Request, served: &Served, view: &mut View) -> Vec<Expect> {
    let Request {
        header,
        argument,
        mtu_low,
    } = request;
    // A list that its port cannot show whole is not made longer and not shown.
    // Ports of less than 1500 bytes never change: there the room is known.
    let link = usize::from(*mtu_low) + 14;
    let room = ((link - header.shift() - 28) / 8).min(185);
    let Some(&[_, mcmd, _, count]) = argument.first_chunk::<4>() else {
        return Vec::new();
    };
    match mcmd {
        0 => {}
        1 if header.address.is_wild() => return Vec::new(),
        1 => {
            let directives = argument[4..].as_chunks::<8>().0;
            let Some(directives) = directives.get(..count.into()) else {
                return vec![Expect::Aoe(&[2])];
            };
            for (done, directive) in directives.iter().enumerate() {
                let mac: Mac = *directive[2..].first_chunk().expect("six of eight");
                let error = match directive[1] {
                    0 => 0,
                    1 if view.masks.contains(&mac) => 0,
                    1 if view.masks.len() >= room => 3,
                    1 => {
                        view.masks.push(mac);
                        view.masks.sort_unstable();
                        0
                    }
                    2 if served.masks.contains(&mac) => 1,
                    2 => {
                        view.masks.retain(|other| *other != mac);
                        0
                    }
                    _ => 2,
                };
                if error != 0 {
                    return vec![Expect::Mask {
                        error,
                        count: done as u8,
                        list: Vec::new(),
                    }];
                }
            }
        }
        _ => return vec![Expect::Aoe(&[2])],
    }
    if view.masks.len() > room {
        return Vec::new();
    }
    vec![Expect::Mask {
        error: 0,
        count: view.masks.len() as u8,
        list: view.masks.clone(),
    }]
}

fn expect_reserve(header: &Header, argument: &[u8], view: &mut View) -> Vec<Expect> {
    let Some(&[rcmd, count]) = argument.first_chunk::<2>() else {
        return Vec::new();
    };
    let sets = matches!(rcmd, 1 | 2);
    if sets && header.address.is_wild() {
        return Vec::new();
    }
    let mut error = None;
    if rcmd > 2 {
        return vec![Expect::Aoe(&[2])];
    }
    if sets {
        let Some(macs) = argument[2..].as_chunks::<6>().0.get(..count.into()) else {
            return vec![Expect::Aoe(&[2, 6])];
        };
        if rcmd == 2 || view.is_reserved_for(header.from) {
            view.reserved = macs.to_vec();
        } else {
            error = Some(6);
        }
    }
    vec![Expect::Reserve {
        list: view.reserved.clone(),
        error,
    }]
}
