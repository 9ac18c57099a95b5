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

mod arrive;

pub use arrive::arrive;

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
    /// Its world wide name, or nothing.
    pub wwn: &'a str,
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
    key(disk, same.count() > 1)
}

/// As [`key_of`], where it is known whether another disk has the same serial number.
#[cold]
pub fn key(disk: &Candidate<'_>, has_twin: bool) -> Key {
    if disk.serial.is_empty() || has_twin {
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

/// Where in the shelf a disk, or what of it, is to be.
struct Place {
    slot: u8,
    /// First sector, counted in the disk.
    offset: u64,
    /// Sectors; `None` is all that is left.
    length: Option<u64>,
    read_only: bool,
}

impl Place {
    /// Gives it to a disk: the export, and sectors at its end that are not served.
    #[cold]
    fn give(
        &self,
        config: &Config,
        disk: &Candidate<'_>,
        index: u8,
    ) -> Result<(Planned, u64), &'static str> {
        let &Self {
            slot,
            offset,
            length,
            read_only,
        } = self;
        let wanted = Volume {
            disk: index,
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
        } else if read_only {
            Access::ReadOnlyByPin
        } else if matches!(disk.origin, Origin::Ram { .. }) || selected(config.rw.value, slot, disk)
        {
            Access::ReadWrite
        } else {
            Access::ReadOnlyByDefault
        };
        let planned = Planned {
            slot,
            volume,
            wanted,
            access,
            slice: offset != 0 || length.is_some(),
            by_order: false,
            online: true,
        };
        Ok((planned, unused))
    }
}

/// Whether a setting means this disk, or the slot that it has.
#[cold]
fn selected(selection: Selection, slot: u8, disk: &Candidate<'_>) -> bool {
    match selection {
        Selection::All => true,
        Selection::None => false,
        Selection::Some(list) => list.iter().any(|selector| match selector {
            Selector::Slot(wanted) => *wanted == slot,
            other => is(disk, *other),
        }),
    }
}

/// Whether the disk is the one that `selector` names by what it is.
#[cold]
fn is(disk: &Candidate<'_>, selector: Selector) -> bool {
    match selector {
        Selector::Serial(serial) => !serial.is_empty() && serial.as_str() == disk.serial,
        Selector::Pci(address) => disk.name.split_whitespace().next() == Some(address.as_str()),
        Selector::Wwn(wwn) => !wwn.is_empty() && wwn.as_str() == disk.wwn,
        Selector::Slot(_) | Selector::Part(_) | Selector::Unreadable => false,
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
        let place = Place {
            slot,
            offset,
            length,
            read_only: pinned_read_only,
        };
        let (planned, unused) = place.give(self.config, disk, index as u8)?;
        // The order of writes is kept per export: a sector of two exports would
        // have two orders.
        let clash = self.exports.iter().any(|other| {
            other.volume.overlaps(&planned.volume)
                && (planned.access == Access::ReadWrite || other.access == Access::ReadWrite)
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
        self.exports.push(planned);
        Ok(())
    }

    fn selected(&self, selection: Selection, slot: u8, disk: u8) -> bool {
        selected(selection, slot, &self.disks[usize::from(disk)])
    }

    fn is(&self, index: usize, selector: Selector) -> bool {
        is(&self.disks[index], selector)
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
mod tests;
