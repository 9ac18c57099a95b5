//! Which disk becomes which slot, and who may write it.
//!
//! Pure: settings and a list of disks in, a plan and sentences out. It decides
//! once, before anything is served, and is strict where a guess could show one
//! host another host's disk: two disks with the pinned serial number, two exports
//! on one slot, two exports of one sector are refused with a sentence, and a slot
//! that was promised to a disk that is not there stays empty.
//!
//! Slots never move by themselves. Disks without a pin take the free slots from 0
//! on in the order of their bus address; a disk that comes later in that order
//! moves nobody.

use crate::config::{Config, Pin, Selection, Selector};
use crate::keeper::Key;
use crate::media::Own;
use crate::state::Kept;
use crate::volume::{GRAIN_SECTORS, Volume};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Most disks: an index is a byte, and there are 255 slots for them.
pub const DISKS_MAX: usize = 255;

/// What a disk is to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A device that was found.
    Bus,
    /// The node's own, with its settings or its state: never exported.
    Own(Own),
    /// Made in memory for `ram.N=`.
    Ram {
        /// N.
        slot: u8,
    },
}

/// What the plan must know of a disk.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Where it sits, first word an address: `00:04.0 virtio-blk`.
    pub name: &'a str,
    /// Its serial number, or nothing.
    pub serial: &'a str,
    /// Its size.
    pub sectors: u64,
    /// It refuses writes.
    pub read_only: bool,
    /// What it is to the machine.
    pub origin: Origin,
}

/// Whether an export may be written, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may, `rw=` says so or it is a RAM disk.
    ReadWrite,
    /// Nobody said that it may.
    ReadOnlyByDefault,
    /// `slot.N=...,ro` says so.
    ReadOnlyByPin,
    /// The disk or the hypervisor refuses writes.
    ReadOnlyByDisk,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ReadWrite => "read-write",
            Self::ReadOnlyByDefault => "read-only (no rw= for it)",
            Self::ReadOnlyByPin => "read-only (slot setting)",
            Self::ReadOnlyByDisk => "read-only (the disk's own flag)",
        })
    }
}

/// One export to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its slot.
    pub slot: u8,
    /// Its sectors.
    pub volume: Volume,
    /// What was asked for; `volume` may become this again when the disk grows.
    pub wanted: Volume,
    /// Who may write.
    pub access: Access,
    /// A part of its disk, not the whole.
    pub slice: bool,
    /// It has its slot by the order of the bus alone.
    pub by_order: bool,
    /// It answers from the start; `export=none` leaves that to the operator.
    pub online: bool,
}

/// What becomes what.
#[derive(Debug)]
pub struct Plan {
    /// The shelf of all exports.
    pub shelf: u16,
    /// The exports, by slot.
    pub exports: Vec<Planned>,
    /// What a person should do something about, as sentences.
    pub warnings: Vec<String>,
    /// What is as it should be and worth saying.
    pub notes: Vec<String>,
}

/// A shelf from an Ethernet address, so that two nodes on a segment differ without
/// a word from anybody: 32-bit FNV-1a over the six bytes, both halves XORed. The
/// three values that an initiator refuses or that look like a mistake move on by
/// one: 0 to 1, 4095 to 4096, 65535 to 65534.
pub fn shelf_of(mac: [u8; 6]) -> u16 {
    let hash = mac.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    match (hash >> 16) as u16 ^ hash as u16 {
        0 => 1,
        0x0fff => 0x1000,
        0xffff => 0xfffe,
        shelf => shelf,
    }
}

/// The name of a disk that holds for as long as the disk does: its serial number
/// if no other disk here has it, else where it sits.
#[cold]
pub fn key_of(disks: &[Candidate<'_>], index: usize) -> Key {
    let disk = &disks[index];
    let same = disks.iter().filter(|other| other.serial == disk.serial);
    if disk.serial.is_empty() || same.count() > 1 {
        Key::format(format_args!("at:{}", disk.name))
    } else {
        Key::format(format_args!("serial:{}", disk.serial))
    }
}

/// Makes the plan. `disks` in order of bus address.
///
/// `keys` are the disks' names in the state area, `kept` what it remembers: a disk
/// without a pin has the slot that it had.
#[cold]
pub fn plan(
    config: &Config,
    disks: &[Candidate<'_>],
    first_mac: Option<[u8; 6]>,
    keys: &[Key],
    kept: &[Kept<'_>],
) -> Plan {
    let shelf = config.shelf.value;
    let mut planner = Planner {
        config,
        disks: &disks[..disks.len().min(DISKS_MAX)],
        exports: Vec::new(),
        reserved: [false; 255],
        pinned: [false; DISKS_MAX],
        away: [false; 255],
        warnings: Vec::new(),
        notes: Vec::new(),
    };
    if disks.len() > DISKS_MAX {
        planner.warnings.push(format!(
            "{} disks are more than the {DISKS_MAX} that one shelf has slots for; the last ones are not exported",
            disks.len()
        ));
    }
    planner.leave_out();
    planner.place_ram();
    planner.place_pins();
    planner.place_kept(keys, kept);
    planner.place_rest();
    planner.select();
    planner.warn_of_unmatched("rw", config.rw.value);
    planner.warn_of_unmatched("export", config.export.value);
    sort(&mut planner.exports);
    Plan {
        // Without a port nobody asks; 1 is as good as any.
        shelf: shelf.unwrap_or_else(|| first_mac.map_or(1, shelf_of)),
        exports: planner.exports,
        warnings: planner.warnings,
        notes: planner.notes,
    }
}

/// First sector and length of what is pinned, counted in the disk.
fn slice(pin: &Pin) -> Result<(u64, Option<u64>), &'static str> {
    let Some(part) = pin.part else {
        return Ok((pin.offset, pin.length));
    };
    if part.sectors == 0 {
        return Err("two partitions match; neither is exported here");
    }
    let rest = part
        .sectors
        .checked_sub(pin.offset)
        .filter(|rest| *rest > 0);
    match (rest, pin.length) {
        (Some(rest), None) => Ok((part.first + pin.offset, Some(rest))),
        (Some(rest), Some(length)) if length <= rest => Ok((part.first + pin.offset, Some(length))),
        _ => Err("the slice does not lie within the partition; the slot stays empty"),
    }
}

/// By slot. They are few and nearly in order, and the general sort of the library
/// is three KiB of code.
fn sort(exports: &mut [Planned]) {
    for end in 1..exports.len() {
        let mut at = end;
        while at > 0 && exports[at - 1].slot > exports[at].slot {
            exports.swap(at - 1, at);
            at -= 1;
        }
    }
}

struct Planner<'a> {
    config: &'a Config,
    disks: &'a [Candidate<'a>],
    exports: Vec<Planned>,
    /// Slots that nobody else may take.
    reserved: [bool; 255],
    /// Disks that do not get a slot by order.
    pinned: [bool; DISKS_MAX],
    /// Slots of disks that are away.
    away: [bool; 255],
    warnings: Vec<String>,
    notes: Vec<String>,
}

impl Planner<'_> {
    /// Disks that are never exported.
    #[cold]
    fn leave_out(&mut self) {
        for (index, disk) in self.disks.iter().enumerate() {
            match disk.origin {
                Origin::Own(own) => self
                    .notes
                    .push(format!("disk {index} ({}): {own}: not exported", disk.name)),
                _ if disk.sectors < GRAIN_SECTORS => self.warnings.push(format!(
                    "disk {index} ({}): capacity is {} sectors; skipped, its capacity is too small",
                    disk.name, disk.sectors
                )),
                _ => continue,
            }
            self.pinned[index] = true;
        }
    }

    #[cold]
    fn place_ram(&mut self) {
        for (index, disk) in self.disks.iter().enumerate() {
            let Origin::Ram { slot } = disk.origin else {
                continue;
            };
            if !self.pinned[index] && usize::from(slot) < self.reserved.len() {
                self.pinned[index] = true;
                self.reserved[usize::from(slot)] = true;
                let placed = self.push(slot, index, 0, None, false);
                debug_assert!(placed.is_ok(), "a RAM disk overlaps nothing and has a size");
            }
        }
    }

    #[cold]
    fn place_pins(&mut self) {
        for setting in self.config.pins.iter() {
            let pin = setting.value;
            let taken = &mut self.reserved[usize::from(pin.slot)];
            if *taken {
                self.warnings.push(format!(
                    "slot.{}={}: a RAM disk has this slot; not exported",
                    pin.slot, pin.disk
                ));
                continue;
            }
            *taken = true;
            let is_it = |index: &usize| match pin.part {
                Some(part) => *index == usize::from(part.disk),
                None => self.is(*index, pin.disk),
            };
            let mut matches = (0..self.disks.len()).filter(is_it);
            let (found, second) = (matches.next(), matches.next());
            let complaint = match (found, second) {
                (None, _) if matches!(pin.disk, Selector::Part(_)) => {
                    Some("no such partition; the slot stays empty")
                }
                (None, _) => Some("no such disk; the slot stays empty"),
                (Some(_), Some(_)) => Some("two disks match; neither is exported here"),
                (Some(index), None) => {
                    let disk = &self.disks[index];
                    match disk.origin {
                        Origin::Own(Own::Boot) => {
                            Some("this is the node's own boot disk and is never exported")
                        }
                        Origin::Own(_) => {
                            Some("this disk holds the node's settings and is never exported")
                        }
                        _ if disk.sectors < GRAIN_SECTORS => {
                            Some("this disk is not exported; the slot stays empty")
                        }
                        _ => None,
                    }
                }
            };
            let complaint = match (complaint, found) {
                (None, Some(index)) => {
                    self.pinned[index] = true;
                    match slice(&pin) {
                        Ok((offset, length)) => self
                            .push(pin.slot, index, offset, length, pin.read_only)
                            .err(),
                        Err(complaint) => Some(complaint),
                    }
                }
                (complaint, _) => {
                    // Two disks that cannot be told apart: whoever pinned one of
                    // them does not want either under another number.
                    for index in 0..self.disks.len() {
                        self.pinned[index] |= second.is_some() && self.is(index, pin.disk);
                    }
                    complaint
                }
            };
            if let Some(complaint) = complaint {
                self.warnings
                    .push(format!("slot.{}={}: {complaint}", pin.slot, pin.disk));
            }
        }
    }

    /// Gives disks the slots that they had, and keeps the slots of disks that are
    /// away for them.
    #[cold]
    fn place_kept(&mut self, keys: &[Key], kept: &[Kept<'_>]) {
        for kept in kept.iter().filter(|kept| kept.first == 0) {
            let Some(taken) = self.reserved.get_mut(usize::from(kept.slot)) else {
                continue;
            };
            if *taken {
                continue;
            }
            let is_it = |index: &usize| keys[*index].as_str().as_bytes() == kept.key;
            match (0..self.disks.len()).find(is_it) {
                Some(index) if self.pinned[index] => {}
                Some(index) => {
                    *taken = true;
                    self.pinned[index] = true;
                    let placed = self.push(kept.slot, index, 0, None, false);
                    debug_assert!(placed.is_ok(), "a whole disk overlaps nothing");
                }
                None => self.away[usize::from(kept.slot)] = true,
            }
        }
    }

    #[cold]
    fn place_rest(&mut self) {
        let mut slot = 0;
        for (index, disk) in self.disks.iter().enumerate() {
            if self.pinned[index] {
                continue;
            }
            while self.reserved.get(slot) == Some(&true) || self.away.get(slot) == Some(&true) {
                slot += 1;
            }
            if slot == self.reserved.len() && self.away != [false; 255] {
                // Better a disk on a slot of one that is away than on none.
                self.away = [false; 255];
                slot = self
                    .reserved
                    .iter()
                    .position(|taken| !taken)
                    .unwrap_or(slot);
            }
            match self.reserved.get_mut(slot) {
                Some(taken) => {
                    *taken = true;
                    let placed = self.push(slot as u8, index, 0, None, false);
                    debug_assert!(placed.is_ok(), "a whole disk overlaps nothing");
                    if let Some(export) = self.exports.last_mut() {
                        export.by_order = placed.is_ok();
                    }
                }
                None => self.warnings.push(format!(
                    "disk {index} ({}): no slot is free; not exported",
                    disk.name
                )),
            }
        }
    }

    /// Keeps what `export=` says. With `none` all are there and none is online.
    #[cold]
    fn select(&mut self) {
        let selection = self.config.export.value;
        let mut exports = core::mem::take(&mut self.exports);
        if matches!(selection, Selection::None) {
            exports.iter_mut().for_each(|export| export.online = false);
        } else {
            exports.retain(|export| self.selected(selection, export.slot, export.volume.disk));
        }
        self.exports = exports;
    }

    #[cold]
    fn push(
        &mut self,
        slot: u8,
        index: usize,
        offset: u64,
        length: Option<u64>,
        pinned_read_only: bool,
    ) -> Result<(), &'static str> {
        let disk = &self.disks[index];
        let wanted = Volume {
            disk: index as u8,
            first: offset,
            sectors: length.unwrap_or(u64::MAX),
        };
        let (volume, unused) = wanted.within(disk.sectors);
        let end = length.and_then(|length| offset.checked_add(length));
        if offset >= disk.sectors || length.is_some() && end.is_none_or(|end| end > disk.sectors) {
            return Err("the slice does not lie within the disk; the slot stays empty");
        }
        if volume.sectors == 0 {
            return Err("the slice is shorter than 4 KiB; the slot stays empty");
        }
        let access = if disk.read_only {
            Access::ReadOnlyByDisk
        } else if pinned_read_only {
            Access::ReadOnlyByPin
        } else if matches!(disk.origin, Origin::Ram { .. })
            || self.selected(self.config.rw.value, slot, index as u8)
        {
            Access::ReadWrite
        } else {
            Access::ReadOnlyByDefault
        };
        // The order of writes is kept per export: a sector of two exports would
        // have two orders.
        let clash = self.exports.iter().any(|other| {
            other.volume.overlaps(&volume)
                && (access == Access::ReadWrite || other.access == Access::ReadWrite)
        });
        if clash {
            return Err(
                "another slot has the same sectors, and one of the two is writable; the slot stays empty",
            );
        }
        if unused != 0 {
            self.warnings.push(format!(
                "slot {slot} ({}): the last {unused} sectors are not exported, a size is a multiple of {GRAIN_SECTORS} sectors",
                disk.name
            ));
        }
        self.exports.push(Planned {
            slot,
            volume,
            wanted,
            access,
            slice: offset != 0 || length.is_some(),
            by_order: false,
            online: true,
        });
        Ok(())
    }

    #[cold]
    fn selected(&self, selection: Selection, slot: u8, disk: u8) -> bool {
        match selection {
            Selection::All => true,
            Selection::None => false,
            Selection::Some(list) => list.iter().any(|selector| match selector {
                Selector::Slot(wanted) => *wanted == slot,
                other => self.is(disk.into(), *other),
            }),
        }
    }

    /// Whether the disk is the one that `selector` names by what it is.
    #[cold]
    fn is(&self, index: usize, selector: Selector) -> bool {
        let disk = &self.disks[index];
        match selector {
            Selector::Serial(serial) => !serial.is_empty() && serial.as_str() == disk.serial,
            Selector::Pci(address) => disk.name.split_whitespace().next() == Some(address.as_str()),
            Selector::Slot(_) | Selector::Wwn(_) | Selector::Part(_) | Selector::Unreadable => {
                false
            }
        }
    }

    /// A name in a list that means no export is a slip of the pen.
    #[cold]
    fn warn_of_unmatched(&mut self, key: &str, selection: Selection) {
        let Selection::Some(list) = selection else {
            return;
        };
        for selector in list.iter() {
            let found = match selector {
                Selector::Slot(slot) => self.exports.iter().any(|export| export.slot == *slot),
                other => (0..self.disks.len()).any(|index| self.is(index, *other)),
            };
            if !found {
                self.warnings
                    .push(format!("{key}={selector}: no such export or disk"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use alloc::boxed::Box;

    const DISK: Candidate<'static> = Candidate {
        name: "00:04.0 virtio-blk",
        serial: "",
        sectors: 1 << 16,
        read_only: false,
        origin: Origin::Bus,
    };

    fn disks() -> [Candidate<'static>; 3] {
        let disk = |name, serial| Candidate {
            name,
            serial,
            ..DISK
        };
        [
            disk("00:04.0 virtio-blk", "A"),
            disk("00:05.0 virtio-blk", "B"),
            disk("00:06.0 virtio-blk", "C"),
        ]
    }

    fn planned(settings: &str, disks: &[Candidate<'_>]) -> Plan {
        let mut config = Box::new(Config::new());
        config.parse(Source::File, settings.as_bytes());
        plan_with(&config, disks, &[])
    }

    fn plan_with(config: &Config, disks: &[Candidate<'_>], kept: &[Kept<'_>]) -> Plan {
        let keys: Vec<_> = (0..disks.len()).map(|index| key_of(disks, index)).collect();
        let mac = Some([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        plan(config, disks, mac, &keys, kept)
    }

    #[test]
    fn a_disk_keeps_its_slot_and_the_slot_of_one_that_is_away_stays_empty() {
        let mut copy = crate::state::Copy::new();
        for (slot, key) in [(1, "serial:A"), (0, "serial:X"), (7, "serial:C")] {
            let added = copy.add(&crate::state::Record {
                slot,
                first: 0,
                key: key.as_bytes(),
                config: &[],
                masks: &[],
                members: &[],
            });
            assert!(added);
        }
        copy.seal(1);
        let kept: Vec<_> = crate::state::records(&copy.sectors()[512..]).collect();
        let mut config = Box::new(Config::new());
        let plan = plan_with(&config, &disks(), &kept);
        assert_eq!(table(&plan), [(1, 0, false), (2, 1, false), (7, 2, false)]);
        // A pin is stronger, for the disk and for the slot.
        config.parse(Source::File, b"slot.1=serial:C");
        let plan = plan_with(&config, &disks(), &kept);
        assert_eq!(table(&plan), [(1, 2, false), (2, 0, false), (3, 1, false)]);
    }

    #[test]
    fn a_partition_is_pinned_by_name_by_identity_or_by_number() {
        use crate::media::{Kind, Partition};
        let id = "a2d3f4e5-1234-5678-9abc-def012345678";
        let part = |number, first, name: &str| Partition {
            number,
            first,
            sectors: 800,
            kind: Kind::Mbr(0x83),
            id: [
                0xe5,
                0xf4,
                0xd3,
                0xa2,
                0x34,
                0x12,
                0x78,
                0x56,
                0x9a,
                0xbc,
                0xde,
                0xf0,
                0x12,
                0x34,
                0x56,
                number as u8 | 0x78,
            ],
            name: io::Text::new(name),
        };
        let settings = alloc::format!(
            "slot.0=part:home\nslot.1=part:{id},ro\nslot.2=part:A/2,offset=8K,length=8K\nslot.3=part:none\nslot.4=part:twice\nslot.5=part:B/1,offset=400K\nslot.6=part:B/1,length=401K\nrw=all"
        );
        let mut config = Box::new(Config::new());
        config.parse(Source::File, settings.as_bytes());
        assert_eq!(config.problems().len(), 0);
        let mut first = [part(1, 2048, "home"), part(2, 4096, "twice")];
        first[1].id[15] = 0x70;
        let mut second = [part(1, 64, "twice"), part(8, 8192, "boot")];
        second[0].id[15] = 0x71;
        config.find_parts(0, "A", &first[..1]);
        config.find_parts(0, "A", &first[1..]);
        config.find_parts(1, "B", &second);
        let plan = plan_with(&config, &disks(), &[]);
        let places: Vec<_> = plan
            .exports
            .iter()
            .map(|export| {
                (
                    export.slot,
                    export.volume.disk,
                    export.volume.first,
                    export.volume.sectors,
                )
            })
            .collect();
        assert_eq!(
            places,
            [
                (0, 0, 2048, 800),
                (1, 1, 8192, 800),
                (2, 0, 4112, 16),
                (7, 2, 0, 1 << 16)
            ],
            "{:?}",
            plan.warnings
        );
        for (slot, why) in [
            (3, "no such partition"),
            (4, "two partitions match"),
            (5, "does not lie within the partition"),
            (6, "does not lie within the partition"),
        ] {
            let slot = alloc::format!("slot.{slot}=");
            let said = |line: &String| line.starts_with(&slot) && line.contains(why);
            assert!(plan.warnings.iter().any(said), "{slot} {:?}", plan.warnings);
        }
    }

    /// Slot, disk and whether it may be written.
    fn table(plan: &Plan) -> Vec<(u8, u8, bool)> {
        let row = |export: &Planned| {
            (
                export.slot,
                export.volume.disk,
                export.access == Access::ReadWrite,
            )
        };
        let online = plan.exports.iter().filter(|export| export.online);
        online.map(row).collect()
    }

    #[test]
    fn without_a_word_every_disk_is_visible_and_none_is_writable() {
        let plan = planned("", &disks());
        assert_eq!(table(&plan), [(0, 0, false), (1, 1, false), (2, 2, false)]);
        assert_eq!(plan.warnings, [""; 0]);
        assert_eq!(plan.exports[0].access, Access::ReadOnlyByDefault);
    }

    #[test]
    fn the_boot_disk_is_never_exported_whatever_is_asked() {
        let mut disks = disks();
        for own in [Own::Boot, Own::Ublade, Own::Cidata] {
            disks[0].origin = Origin::Own(own);
            let plan = planned("slot.5=serial:A\nrw=all\nexport=5,serial:A", &disks);
            assert_eq!(table(&plan), []);
            assert!(plan.notes[0].starts_with("disk 0 (00:04.0 virtio-blk): it "));
            assert!(plan.notes[0].ends_with(": not exported"));
            assert!(plan.warnings[0].starts_with("slot.5=serial:A: this"));
            assert!(plan.warnings[0].ends_with("never exported"));
        }
    }

    #[test]
    fn a_disk_without_sectors_is_skipped_by_name() {
        let mut disks = disks();
        disks[1].sectors = 0;
        let plan = planned("", &disks);
        assert_eq!(table(&plan), [(0, 0, false), (1, 2, false)]);
        assert_eq!(
            plan.warnings,
            [
                "disk 1 (00:05.0 virtio-blk): capacity is 0 sectors; skipped, its capacity is too small"
            ]
        );
    }

    #[test]
    fn pins_come_first_and_the_rest_fills_the_gaps() {
        let plan = planned("slot.1=serial:C\nslot.7=pci:00:04.0", &disks());
        assert_eq!(table(&plan), [(0, 1, false), (1, 2, false), (7, 0, false)]);
    }

    #[test]
    fn a_slot_promised_to_an_absent_disk_stays_empty() {
        let plan = planned("slot.0=serial:X", &disks());
        assert_eq!(table(&plan), [(1, 0, false), (2, 1, false), (3, 2, false)]);
        assert_eq!(
            plan.warnings,
            ["slot.0=serial:X: no such disk; the slot stays empty"]
        );
    }

    #[test]
    fn two_disks_with_the_pinned_serial_are_both_kept_back() {
        let mut disks = disks();
        disks[1].serial = "A";
        let plan = planned("slot.0=serial:A\nrw=all", &disks);
        assert_eq!(table(&plan), [(1, 2, true)]);
        assert!(plan.warnings[0].contains("two disks match"));
    }

    #[test]
    fn writing_needs_a_word_by_slot_by_serial_or_for_all() {
        assert_eq!(
            table(&planned("rw=1,serial:C", &disks())),
            [(0, 0, false), (1, 1, true), (2, 2, true)]
        );
        assert_eq!(
            table(&planned("rw=all", &disks())),
            [(0, 0, true), (1, 1, true), (2, 2, true)]
        );
        let plan = planned("rw=9,serial:Z", &disks());
        assert_eq!(plan.warnings.len(), 2);
    }

    #[test]
    fn a_read_only_flag_is_stronger_than_rw() {
        let mut disks = disks();
        disks[0].read_only = true;
        let plan = planned("rw=all\nslot.1=serial:B,ro", &disks);
        assert_eq!(plan.exports[0].access, Access::ReadOnlyByDisk);
        assert_eq!(plan.exports[1].access, Access::ReadOnlyByPin);
        assert_eq!(plan.exports[2].access, Access::ReadWrite);
    }

    #[test]
    fn only_what_export_names_is_visible_and_slots_do_not_move_for_it() {
        assert_eq!(table(&planned("export=2", &disks())), [(2, 2, false)]);
        assert_eq!(
            table(&planned("export=serial:B", &disks())),
            [(1, 1, false)]
        );
        assert_eq!(table(&planned("export=none", &disks())), []);
    }

    #[test]
    fn a_ram_disk_has_its_slot_and_is_writable() {
        let mut disks = disks();
        disks[2].origin = Origin::Ram { slot: 0 };
        let plan = planned("ram.0=32M\nslot.0=serial:A", &disks);
        assert_eq!(table(&plan), [(0, 2, true), (1, 0, false), (2, 1, false)]);
        assert!(plan.warnings[0].contains("a RAM disk has this slot"));
    }

    #[test]
    fn slices_share_a_disk_but_never_a_writable_sector() {
        let plan = planned(
            "rw=all\nslot.0=serial:A,length=1M\nslot.1=serial:A,offset=1M\nslot.2=serial:A,offset=1M",
            &disks(),
        );
        assert_eq!(
            table(&plan)[..2],
            [(0, 0, true), (1, 0, true)],
            "the third slice is refused"
        );
        assert_eq!(plan.exports[1].volume.first, 2048);
        assert_eq!(plan.exports[1].volume.sectors, (1 << 16) - 2048);
        assert!(plan.warnings[0].contains("slot.2=serial:A: another slot has the same sectors"));
        let plan = planned("slot.0=serial:A\nslot.1=serial:A", &disks());
        assert_eq!(plan.warnings, [""; 0], "readers do not disturb each other");
    }

    #[test]
    fn a_slice_ends_on_the_last_sector_at_most() {
        let exports = |settings| planned(settings, &disks()).exports.len();
        assert_eq!(exports("slot.0=serial:A,offset=31M,length=1M\nexport=0"), 1);
        assert_eq!(
            exports("slot.0=serial:A,offset=31M,length=1025K\nexport=0"),
            0
        );
        assert_eq!(exports("slot.0=serial:A,offset=32M\nexport=0"), 0);
        assert_eq!(
            exports("slot.0=serial:A,offset=16777215T,length=16777215T\nexport=0"),
            0
        );
    }

    #[test]
    fn sectors_behind_the_last_whole_block_are_named() {
        let mut disks = disks();
        disks[0].sectors = 1003;
        let plan = planned("", &disks);
        assert_eq!(plan.exports[0].volume.sectors, 1000);
        assert!(plan.warnings[0].contains("the last 3 sectors are not exported"));
    }

    #[test]
    fn more_disks_than_slots_is_a_sentence() {
        let disks = [DISK; 300];
        let plan = planned("slot.3=serial:X", &disks);
        assert_eq!(plan.exports.len(), 254);
        assert_eq!(plan.warnings.len(), 3);
    }

    #[test]
    fn the_shelf_is_the_one_given_or_comes_from_the_address() {
        assert_eq!(planned("shelf=7", &[]).shelf, 7);
        let derived = planned("", &[]).shelf;
        assert_eq!(derived, shelf_of([0x52, 0x54, 0, 0x12, 0x34, 0x56]));
        assert_ne!(derived, shelf_of([0x52, 0x54, 0, 0x12, 0x34, 0x57]));
    }

    #[test]
    fn no_address_gives_a_shelf_that_an_initiator_refuses() {
        for low in 0..=u16::MAX {
            let [high, low] = low.to_be_bytes();
            let shelf = shelf_of([0x52, 0x54, 0, 1, high, low]);
            assert!(!matches!(shelf, 0 | 0x0fff | 0xffff));
        }
    }

    #[test]
    fn a_slice_of_less_than_a_block_leaves_its_slot_empty() {
        for (length, count) in [("4K", 1), ("2K", 0)] {
            let plan = planned(
                &format!("export=none\nslot.5=serial:A,offset=1M,length={length}"),
                &disks()[..1],
            );
            assert_eq!(plan.exports.len(), count, "{length}");
            let is_told = |line: &String| line.contains("shorter than 4 KiB");
            assert_eq!(plan.warnings.iter().any(is_told), count == 0);
        }
    }

    #[test]
    fn a_pin_on_a_disk_without_a_block_leaves_its_slot_empty_and_says_so() {
        let empty = Candidate {
            serial: "A",
            sectors: GRAIN_SECTORS - 1,
            ..DISK
        };
        let plan = planned("slot.5=serial:A", &[empty]);
        assert_eq!(plan.exports.len(), 0);
        let is_told = |line: &String| line.contains("this disk is not exported");
        assert!(plan.warnings.iter().any(is_told), "{:?}", plan.warnings);
    }

    #[test]
    fn where_every_slot_is_kept_for_a_disk_that_is_away_a_new_one_takes_the_first_of_them() {
        let mut copy = crate::state::Copy::new();
        for slot in 0..255_u8 {
            let key = format!("serial:X{slot}");
            let added = copy.add(&crate::state::Record {
                slot,
                first: 0,
                key: key.as_bytes(),
                config: &[],
                masks: &[],
                members: &[],
            });
            assert!(added, "there is room");
        }
        let mut config = Box::new(Config::new());
        config.parse(Source::File, b"shelf=5");
        copy.seal(1);
        let kept: Vec<_> = crate::state::records(&copy.sectors()[512..]).collect();
        let plan = plan_with(&config, &disks()[..2], &kept);
        let slots: Vec<_> = plan.exports.iter().map(|export| export.slot).collect();
        assert_eq!(slots, [0, 1]);
    }

    #[test]
    fn no_address_makes_a_shelf_that_is_everyone_or_looks_like_a_mistake() {
        let shelves = (0..=u16::MAX).map(|end| {
            let [high, low] = end.to_be_bytes();
            shelf_of([2, 0, 0, 0, high, low])
        });
        let found: alloc::collections::BTreeSet<u16> = shelves.collect();
        assert!(found.len() > 30_000, "they differ");
        for shelf in [0, 0x0fff, 0xffff] {
            assert!(!found.contains(&shelf), "{shelf}");
        }
    }
}
