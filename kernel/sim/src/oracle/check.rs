//! Whether an answer is right, byte for byte.

use super::expect::{expect_set, made_of};
use super::{Acknowledged, Asked, Change, Expect, Oracle, Request, View};
use crate::content::{self, Value};
use crate::wire::{self, Address, Ata, Header};
use std::collections::BTreeMap;

impl Oracle {
    pub(super) fn check(
        &mut self,
        port: usize,
        address: Option<u64>,
        frame: &[u8],
    ) -> Result<(), String> {
        let (mac, mtu) = (self.ports[port].mac, self.ports[port].mtu_high);
        let header = Header::parse(frame).ok_or("not an AoE frame")?;
        if frame.len() < wire::SHORTEST {
            return Err("shorter than 60 bytes".into());
        }
        if frame.len() - header.shift() > usize::from(mtu) + 14 {
            return Err(format!("longer than the link's {mtu} bytes"));
        }
        if header.from != mac {
            return Err("not from this port's address".into());
        }
        if header.version != 1 || !header.response || header.reserved_bits != 0 {
            return Err("the flags are not a response's".into());
        }
        let export = self
            .exports
            .iter()
            .position(|export| export.served.address == header.address)
            .ok_or("an address that is not served")?;
        let argument = &frame[header.argument_at()..];
        if header.to == wire::BROADCAST {
            self.tally.announcements += 1;
            if header.command != wire::CONFIG || header.tag != 0 || header.failed {
                return Err("a broadcast that is no announcement".into());
            }
            return self.check_config(export, argument, None, 0, mtu, header.vlan.is_some());
        }
        // Usually the answer lies in the request's own frame; to a request for
        // several exports, or to a config read, also in others.
        let own = address.and_then(|address| self.tokens.get(&address).copied());
        let matches = |asked: &Asked| {
            asked.header.from == header.to
                && asked.header.tag == header.tag
                && asked.header.command == header.command
                && asked.header.vlan == header.vlan
                && asked.port == port
                && asked
                    .answers
                    .iter()
                    .any(|answer| answer.export == export && answer.left > 0)
        };
        let mut verdict = Err(match own.and_then(|id| self.asked.get(&id)) {
            Some(asked) => format!("not the answer to {:?}", asked.header),
            None => "nobody asked for it".into(),
        });
        // Two requests may look alike; one of them must fit.
        let mut tried = None;
        loop {
            let fits = |id: &u64| self.asked.get(id).is_some_and(&matches);
            let next = match tried {
                None => own.filter(fits).map(|id| (id, 0)),
                Some(_) => None,
            };
            let from = tried.unwrap_or(0);
            let next = next.or_else(|| {
                let others = self.recent.iter().copied().enumerate().skip(from);
                others
                    .filter(|(_, id)| Some(*id) != own)
                    .find(|(_, id)| fits(id))
                    .map(|(at, id)| (id, at + 1))
            });
            let Some((id, from)) = next else {
                return verdict;
            };
            let right = self.check_against(id, export, &header, argument, mtu);
            if right.is_ok() {
                return right;
            }
            if tried.is_none() {
                verdict = right;
            }
            tried = Some(from);
        }
    }

    /// Whether a frame is a right answer of `export` to the request `id`.
    fn check_against(
        &mut self,
        id: u64,
        export: usize,
        header: &Header,
        argument: &[u8],
        mtu: u16,
    ) -> Result<(), String> {
        let mut asked = self.asked.remove(&id).expect("it was just looked at");
        let index = asked
            .answers
            .iter()
            .position(|answer| answer.export == export && answer.left > 0)
            .expect("it was just looked at");
        let late = asked.answers[index].late;
        let mut expects = std::mem::take(&mut asked.answers[index].expects);
        let mut verdict = self.check_any(export, &asked, header, argument, &mut expects, mtu);
        asked.answers[index].expects = expects;
        if late && header.command != wire::ATA {
            verdict = self.check_told(export, &asked, header, argument, mtu);
        } else if verdict.is_err() && late {
            let (ata, port) = (asked.ata, asked.port);
            let (question, at) = (asked.header, asked.at);
            let mut now = self.expect((export, port), &question, ata.as_ref(), &asked.argument, at);
            verdict = self.check_any(export, &asked, header, argument, &mut now, mtu);
        }
        if verdict.is_ok() {
            asked.answers[index].left -= 1;
            if asked.answers[index].left == 0 {
                self.exports[export].views.end(id);
            }
        }
        let verdict = verdict
            .map_err(|what| format!("{what}; the request was {:?} {:?}", asked.header, asked.ata));
        self.asked.insert(id, asked);
        verdict
    }

    /// Whether an answer tells of something that was in force since the question
    /// came. If so, nothing older may come back.
    fn check_told(
        &mut self,
        export: usize,
        asked: &Asked,
        header: &Header,
        argument: &[u8],
        mtu: u16,
    ) -> Result<(), String> {
        let request = Request::of(asked, self.ports[asked.port].mtu_low);
        let (served, views) = (&self.exports[export].served, &self.exports[export].views);
        let served = served.clone();
        let before = views.possible(asked.at, |request, view| made_of(request, &served, view));
        let mut verdict = Err("silence was due".to_string());
        let mut told: Option<(usize, View)> = None;
        for view in before {
            let mut after = (*view).clone();
            let mut expects = expect_set(&request, &served, &mut after);
            let right = self.check_any(export, asked, header, argument, &mut expects, mtu);
            if right.is_ok() {
                let rank = self.exports[export].views.rank(asked.at, &after);
                if told.as_ref().is_none_or(|(other, _)| rank <= *other) {
                    told = Some((rank, after));
                }
            } else if told.is_none() {
                verdict = right;
            }
        }
        let Some((_, view)) = told else {
            return verdict;
        };
        let (now, now_us) = (self.now, self.ledger.now_us());
        let views = &mut self.exports[export].views;
        views.told(asked.at, &view.into(), now, now_us);
        Ok(())
    }

    /// Whether one of the right answers is this one.
    fn check_any(
        &mut self,
        export: usize,
        asked: &Asked,
        header: &Header,
        argument: &[u8],
        expects: &mut [Expect],
        mtu: u16,
    ) -> Result<(), String> {
        let mut verdict = Err("silence was due".to_string());
        for expect in expects {
            verdict = self.check_one(export, asked, header, argument, expect, mtu);
            if verdict.is_ok() {
                break;
            }
        }
        verdict
    }

    fn check_one(
        &mut self,
        export: usize,
        asked: &Asked,
        header: &Header,
        argument: &[u8],
        expect: &mut Expect,
        mtu: u16,
    ) -> Result<(), String> {
        let vlan = header.vlan.is_some();
        let shortest = wire::SHORTEST - wire::HEADER;
        let ends_after = |bytes: usize| {
            if argument.len() < bytes {
                Err(format!("too short, {bytes} bytes of argument are due"))
            } else if argument.len() > bytes.max(shortest) {
                Err("too long".to_string())
            } else if argument[bytes..].iter().any(|&byte| byte != 0) {
                Err("the padding is not zero".to_string())
            } else {
                Ok(())
            }
        };
        if let Expect::Aoe(codes) = expect {
            if !header.failed || !codes.contains(&header.error) {
                return Err(format!("an AoE error of {codes:?} is due"));
            }
            let echo = asked
                .argument
                .iter()
                .zip(argument)
                .take_while(|(a, b)| a == b)
                .count();
            let zero_or_echo = argument[echo..].iter().all(|&byte| byte == 0)
                || argument.iter().all(|&byte| byte == 0);
            let as_config = || check_config_body(argument, mtu, vlan).is_ok();
            return if zero_or_echo || (header.command == wire::CONFIG && as_config()) {
                Ok(())
            } else {
                Err("bytes behind an AoE error".into())
            };
        }
        if let Expect::Config {
            string,
            ccmd,
            error,
        } = expect
        {
            if (header.failed, header.error) != (error.is_some(), error.unwrap_or(0)) {
                return Err(format!("AoE error {error:?} is due"));
            }
            return self.check_config(export, argument, Some(string), *ccmd, mtu, vlan);
        }
        if let Expect::Reserve { list, error } = expect {
            if (header.failed, header.error) != (error.is_some(), error.unwrap_or(0)) {
                return Err(format!("AoE error {error:?} is due"));
            }
            ends_after(2 + 6 * list.len())?;
            let rcmd = asked.argument[0];
            let macs = argument[2..].as_chunks::<6>().0.get(..list.len());
            let right = argument[0] == rcmd
                && usize::from(argument[1]) == list.len()
                && macs == Some(list.as_slice());
            return if right {
                Ok(())
            } else {
                Err(format!("the reservation is {list:02x?}"))
            };
        }
        if header.failed || header.error != 0 {
            return Err("an AoE error is not due".into());
        }
        if let Expect::Mask { error, count, list } = expect {
            ends_after(4 + 8 * list.len())?;
            let mut shown: Vec<[u8; 8]> = argument[4..]
                .as_chunks::<8>()
                .0
                .get(..list.len())
                .ok_or("short")?
                .to_vec();
            shown.sort_unstable();
            let mut right: Vec<[u8; 8]> = list
                .iter()
                .map(|mac| {
                    let mut entry = [0; 8];
                    entry[2..].copy_from_slice(mac);
                    entry
                })
                .collect();
            right.sort_unstable();
            let head = [0, asked.argument[1], *error, *count];
            return if shown == right && argument[..4] == head {
                Ok(())
            } else {
                Err(format!("the mask list is {list:02x?}, head {head:02x?}"))
            };
        }
        let request = asked.ata.ok_or("not an ATA request")?;
        let reply = Ata::parse(header, &frame_of(header, argument)).ok_or("no ATA argument")?;
        if argument[10..12] != [0, 0] {
            return Err("the reserved bytes are not zero".into());
        }
        if reply.flags & !request.flags != 0 {
            return Err("flags that nobody set".into());
        }
        let smart = matches!(expect, Expect::Smart);
        if reply.lba != request.lba && !smart {
            return Err("another LBA than asked for".into());
        }
        let status = (reply.command, reply.feature);
        if let Expect::Refused { abort, idnf } = *expect {
            let right = (abort && status == (0x41, 0x04)) || (idnf && status == (0x41, 0x10));
            return if right {
                ends_after(12)
            } else {
                Err(format!("a refusal is due (ABRT {abort}, IDNF {idnf})"))
            };
        }
        let disk = self.exports[export].served.disk;
        let may_fail = matches!(
            expect,
            Expect::Read { .. }
                | Expect::Verify
                | Expect::Write(_)
                | Expect::Discard(_)
                | Expect::Flush
        );
        let failed = matches!(status, (0x41, 0x40) | (0x61, 0x04));
        if may_fail && failed {
            if !self.disks[disk].borrow().had_errors {
                return Err("an error, and the disk had none".into());
            }
            return ends_after(12);
        }
        if matches!(expect, Expect::Either | Expect::Smart) && status == (0x41, 0x04) {
            return ends_after(12);
        }
        if status != (0x40, 0) {
            return Err(format!("status and error are {status:02x?}"));
        }
        match expect {
            Expect::Read { lba, sectors } => {
                let bytes = 12 + *sectors as usize * 512;
                if argument.len() != bytes {
                    return Err(format!("{bytes} bytes of argument and data are due"));
                }
                for (i, sector) in content::sectors(&argument[12..]).iter().enumerate() {
                    self.check_sector(export, *lba + i as u64, sector, asked.at)?;
                }
                Ok(())
            }
            Expect::Write(change) => {
                ends_after(12)?;
                self.acknowledge(change);
                Ok(())
            }
            Expect::Flush => {
                ends_after(12)?;
                self.flushed(export, asked.at);
                Ok(())
            }
            Expect::Identify => {
                if argument.len() != 12 + 512 {
                    return Err("IDENTIFY is 512 bytes".into());
                }
                self.check_identify(export, &argument[12..])
            }
            Expect::Power if reply.count != 0xff => Err("CHECK POWER MODE says 0xff".into()),
            Expect::Smart if argument.len() == 12 + 512 => {
                let sum: u8 = argument[12..].iter().fold(0, |sum, b| sum.wrapping_add(*b));
                if sum == 0 {
                    Ok(())
                } else {
                    Err("the check sum of the SMART data is wrong".into())
                }
            }
            _ => ends_after(12),
        }
    }

    fn check_sector(
        &mut self,
        export: usize,
        lba: u64,
        sector: &content::Sector,
        since: u64,
    ) -> Result<(), String> {
        self.tally.sectors_read += 1;
        self.look_for_losses(export);
        let value = content::value(sector);
        let now = self.now;
        let lost_at = self.exports[export].losses.1;
        let history = self.exports[export].history(lba);
        // What was read before a loss says nothing about what is there since.
        let right = if since > lost_at {
            history.read(value, since, now)
        } else {
            history.could_read(value, since)
        };
        if right {
            return Ok(());
        }
        Err(format!(
            "sector {lba} is {value:x?} (it starts {:02x?}), possible {:x?}",
            &sector[..8],
            history.possible()
        ))
    }

    fn acknowledge(&mut self, change: &mut Change) {
        self.tally.sectors_written += change.values.len() as u64;
        if !change.counted {
            return;
        }
        let now = self.now;
        let export = &mut self.exports[change.export];
        let how = export.served.how;
        for (i, (&value, &first)) in change.values.iter().zip(&change.first).enumerate() {
            let lba = change.lba + i as u64;
            export.history(lba).acknowledge(value, first, how, now);
            if how == Acknowledged::Volatile {
                export.unflushed.push((lba, value, first, now));
            }
        }
    }

    fn flushed(&mut self, export: usize, since: u64) {
        let now = self.now;
        let export = &mut self.exports[export];
        let (hard, soft): (Vec<_>, Vec<_>) = std::mem::take(&mut export.unflushed)
            .into_iter()
            .partition(|(.., acknowledged)| *acknowledged < since);
        export.unflushed = soft;
        // The last one of a sector makes the others before it moot.
        let last: BTreeMap<u64, (Value, u64)> = hard
            .into_iter()
            .map(|(lba, value, first, _)| (lba, (value, first)))
            .collect();
        for (lba, (value, first)) in last {
            export.history(lba).harden(value, first, now);
        }
    }

    fn check_identify(&self, export: usize, data: &[u8]) -> Result<(), String> {
        let word = |n: usize| u16::from_le_bytes([data[2 * n], data[2 * n + 1]]);
        let wide = |n: usize| u64::from(word(n)) | u64::from(word(n + 1)) << 16;
        let sectors = wide(100) | wide(102) << 32;
        let export = &self.exports[export];
        if !export.capacities.contains(&sectors) {
            return Err(format!(
                "IDENTIFY says {sectors} sectors, it has {:?}",
                export.capacities
            ));
        }
        if wide(60) != sectors.min(0x0fff_ffff) {
            return Err("IDENTIFY words 60 and 61 are wrong".into());
        }
        if word(49) & 0x200 == 0 || word(83) & 0x400 == 0 || word(86) & 0x400 == 0 {
            return Err("IDENTIFY does not claim LBA48".into());
        }
        if data.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0 {
            return Err("the check sum of IDENTIFY is wrong".into());
        }
        let texts = [20..40, 46..54, 54..94];
        let printable = |range: std::ops::Range<usize>| {
            data[range].iter().all(|byte| (0x20..0x7f).contains(byte))
        };
        if !texts.into_iter().all(printable) {
            return Err("a text of IDENTIFY is not printable".into());
        }
        let can = self.disks[export.served.disk]
            .borrow()
            .plan()
            .discard
            .is_some();
        if word(169) & 1 != 0 && !can {
            return Err("IDENTIFY claims a TRIM that the disk has not".into());
        }
        Ok(())
    }

    /// Whether the node holds a request to set this string.
    fn is_being_set(&self, address: Address, string: &[u8]) -> bool {
        self.asked.values().any(|asked| {
            asked.header.command == wire::CONFIG
                && asked.header.address.covers(address)
                && asked.argument.len() >= 8
                && matches!(asked.argument[5] & 15, 3 | 4)
                && asked.argument[8..].starts_with(string)
        })
    }

    fn check_config(
        &self,
        export: usize,
        argument: &[u8],
        string: Option<&Vec<u8>>,
        ccmd: u8,
        mtu: u16,
        vlan: bool,
    ) -> Result<(), String> {
        let shown = check_config_body(argument, mtu, vlan)?;
        if argument[5] != 0x10 | ccmd {
            return Err("the version or sub-command of the config answer is wrong".into());
        }
        let export = &self.exports[export];
        let right = match string {
            Some(string) => string == shown,
            None => {
                // It may leave by one card before the answer to the set leaves by
                // another.
                let mut announced = export.views.announced(self.ledger.now_us());
                announced.any(|string| string == shown)
                    || self.is_being_set(export.served.address, shown)
            }
        };
        if right {
            Ok(())
        } else {
            let now = &export.views.in_force().string;
            Err(format!(
                "the config string is {string:02x?} (last set {now:02x?}), not {shown:02x?}"
            ))
        }
    }
}

/// The shape of a config answer; returns the string it shows.
fn check_config_body(argument: &[u8], mtu: u16, vlan: bool) -> Result<&[u8], String> {
    let fixed = argument.first_chunk::<8>().ok_or("no config argument")?;
    if u16::from_be_bytes([fixed[0], fixed[1]]) < 2 {
        return Err("fewer than two buffers: Linux would never send".into());
    }
    let most = wire::sectors_max(mtu, vlan);
    if fixed[4] == 0 || fixed[4] > most {
        return Err(format!("{} sectors, the link carries {most}", fixed[4]));
    }
    let length = usize::from(u16::from_be_bytes([fixed[6], fixed[7]]));
    let string = argument[8..].get(..length).ok_or("the string is cut off")?;
    if argument[8 + length..].iter().any(|&byte| byte != 0) {
        return Err("the padding of a config answer is not zero".into());
    }
    let jumbo = 12 + 512 * usize::from(fixed[4]);
    let small = (8 + length).max(wire::SHORTEST - wire::HEADER);
    if argument.len() > small.max(jumbo) {
        return Err("a config answer longer than it says".into());
    }
    Ok(string)
}

/// The header's bytes and the argument again, for the parser.
fn frame_of(header: &Header, argument: &[u8]) -> Vec<u8> {
    let mut bytes = header.bytes();
    bytes.extend(&argument[..argument.len().min(12)]);
    bytes
}
