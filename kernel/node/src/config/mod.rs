//! Every setting of the node: what it may be, what it is, and who said so.
//!
//! All channels speak one grammar (`key=value`, see `grammar`) and go through one
//! parser. They are parsed in order of strength, so the last word wins, and every
//! value remembers its [`Source`].
//!
//! Nothing a person can write stops the node: what cannot be used becomes a
//! [`Problem`] that names key, text and place, and the value from before stays.
//! Two settings do not fall back to their default, because there the default says
//! more than the person did: a pin that cannot be read keeps its slot empty, and a
//! list of who may talk that cannot be read admits nobody new.
//!
//! A setting whose feature is not built yet is read, checked and kept, and
//! reported as such: silence would look like consent.

mod grammar;
mod list;
mod plain;
mod told;
mod value;

pub use list::List;
pub use plain::{LogLevel, Measure};
pub use told::{Complaint, HIDDEN, Problem, Said, Source};
pub use value::{Part, Pin, SELECTORS_MAX, Selection, Selector};

use crate::media::Partition;
use aoe::{Cache, Errors, Mac};
use grammar::{Form, entries};
use io::Text;

/// Most pinned slots: a few shelves of disks.
pub const PINS_MAX: usize = 64;
/// Most RAM disks.
pub const RAMS_MAX: usize = 16;
/// Most entries of all lists of who may talk.
pub const MASKS_MAX: usize = 128;
/// Most slots that have a setting of their own for cache or errors.
pub const PER_SLOT_MAX: usize = 64;
/// Most settings that are kept as they were written, to be shown. One beyond them
/// holds all the same.
pub const SAID_MAX: usize = 64;
/// Most problems that are kept; further ones are counted.
pub const PROBLEMS_MAX: usize = 16;

/// Who nobody is: an entry that lets a list be not empty and yet admit no one.
const NOBODY: Mac = Mac([0; 6]);

/// A value and who said it.
#[derive(Clone, Copy, Debug)]
pub struct Setting<T> {
    /// What holds.
    pub value: T,
    /// Who said so.
    pub source: Source,
}

impl<T> Setting<T> {
    const fn default(value: T) -> Self {
        Self {
            value,
            source: Source::Default,
        }
    }
}

/// Who may talk to a slot: one entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    /// The slot; `None` for every slot without a list of its own.
    pub slot: Option<u8>,
    /// Who.
    pub mac: Mac,
}

/// What holds where nobody says anything, as it would be written. Keys of a slot,
/// and those whose default is nothing at all, have no line here.
pub const DEFAULTS: [(&str, &str); 17] = [
    ("export", "auto"),
    ("rw", "none"),
    ("errors", "ata"),
    ("cache", "writethrough"),
    ("net.data", "all"),
    ("net.mgmt", "first"),
    ("mtu", "auto"),
    ("ip", "dhcp"),
    ("http", "80"),
    ("cec", "off"),
    ("log", "info"),
    ("panic", "10"),
    ("watchdog", "30"),
    ("cpus", "1"),
    ("poll", "adaptive"),
    ("measure", "off"),
    ("mask.all", ""),
];

/// The settings in lines of text: key and value, or what is wrong with the line.
#[cold]
pub fn lines(text: &[u8]) -> impl Iterator<Item = (&str, Result<&str, &'static str>)> {
    entries(Form::Lines, text).map(|entry| (entry.key, entry.value))
}

/// An Ethernet address, or what it should look like.
#[cold]
pub(crate) fn mac(text: &str) -> Result<Mac, &'static str> {
    value::mac(text).map_err(|complaint| match complaint {
        Complaint::Bad(what) => what,
        Complaint::UnknownKey | Complaint::NotFromHere => "not an address",
    })
}

/// Every setting, typed. About 30 KiB: keep it in a static or in a box.
pub struct Config {
    /// `shelf=`; `None` derives it from the first port's address.
    pub shelf: Setting<Option<u16>>,
    /// `export=`: which disks are visible.
    pub export: Setting<Selection>,
    /// `rw=`: which disks may be written.
    pub rw: Setting<Selection>,
    /// `slot.N=`, in order of writing.
    pub pins: List<Setting<Pin>, PINS_MAX>,
    /// `ram.N=`: slot and bytes.
    pub rams: List<Setting<(u8, u64)>, RAMS_MAX>,
    /// `mask.N=` and `mask.all=`.
    pub masks: List<Setting<Mask>, MASKS_MAX>,
    /// `cache=`: when a write is acknowledged.
    pub cache: Setting<Cache>,
    /// `cache.N=`.
    pub slot_cache: List<Setting<(u8, Cache)>, PER_SLOT_MAX>,
    /// `errors=`: how failures are answered.
    pub errors: Setting<Errors>,
    /// `errors.N=`.
    pub slot_errors: List<Setting<(u8, Errors)>, PER_SLOT_MAX>,
    /// `net.data=` as written: the ports that carry AoE; empty for all.
    pub net_data: Setting<Text<64>>,
    /// `net.mgmt=` as written; empty for the first with a link.
    pub net_mgmt: Setting<Text<64>>,
    /// `mtu=`: the most that is used of what a port can; `None` for all.
    pub mtu: Setting<Option<u16>>,
    /// `vlan=`: where management is; AoE is answered under every tag.
    pub vlan: Setting<Option<u16>>,
    /// `buffers=`: the window that is advertised; `None` sizes it from the frames.
    pub buffers: Setting<Option<u16>>,
    /// `ip=` as written; empty for DHCP.
    pub ip: Setting<Text<64>>,
    /// `hostname=`; empty if nobody said one.
    pub hostname: Setting<Text<64>>,
    /// `syslog=` as written: a name or address, perhaps with a port.
    pub syslog: Setting<Text<64>>,
    /// `ntp=` as written: a name or address, perhaps with a port.
    pub ntp: Setting<Text<64>>,
    /// `http=`: the port; `None` is off.
    pub http: Setting<Option<u16>>,
    /// `token=`: who says it may change things; empty for nobody.
    pub token: Setting<Text<64>>,
    /// `cec=`: whether there is a console on the Ethernet.
    pub cec: Setting<bool>,
    /// `log=`.
    pub log: Setting<LogLevel>,
    /// `console=`: device and speed as written.
    pub console: Setting<Text<32>>,
    /// `panic=`: seconds from a panic to the restart; `None` halts.
    pub panic: Setting<Option<u32>>,
    /// `watchdog=`: seconds that a turn of the loop may take; `None` is any number.
    pub watchdog: Setting<Option<u32>>,
    /// `cpus=`: processors used, of which two are of use; `None` for all.
    pub cpus: Setting<Option<u16>>,
    /// `poll=`: microseconds to spin before sleeping; `None` is adaptive.
    pub poll: Setting<Option<u32>>,
    /// `measure=`: what is measured; `None` is to serve.
    pub measure: Setting<Option<Measure>>,
    /// An address found no room: no list counts as empty any more.
    masks_full: bool,
    said: List<Said, SAID_MAX>,
    problems: List<Problem, PROBLEMS_MAX>,
    problems_more: u32,
}

impl Clone for Config {
    /// All of it is plain values, so this is one move of memory: derived, it would be
    /// three KiB of code.
    #[cold]
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// What holds when nobody says anything.
    #[cold]
    #[inline(never)]
    pub const fn new() -> Self {
        const PIN: Pin = Pin {
            slot: 0,
            disk: Selector::Unreadable,
            part: None,
            read_only: true,
            offset: 0,
            length: None,
        };
        const MASK: Mask = Mask {
            slot: None,
            mac: NOBODY,
        };
        const PROBLEM: Problem = Problem {
            key: Text::EMPTY,
            text: Text::EMPTY,
            source: Source::Default,
            at: 0,
            complaint: Complaint::UnknownKey,
        };
        Self {
            shelf: Setting::default(None),
            export: Setting::default(Selection::All),
            rw: Setting::default(Selection::None),
            pins: List::new(Setting::default(PIN)),
            rams: List::new(Setting::default((0, 0))),
            masks: List::new(Setting::default(MASK)),
            cache: Setting::default(Cache::WriteThrough),
            slot_cache: List::new(Setting::default((0, Cache::WriteThrough))),
            errors: Setting::default(Errors::Ata),
            slot_errors: List::new(Setting::default((0, Errors::Ata))),
            net_data: Setting::default(Text::EMPTY),
            net_mgmt: Setting::default(Text::EMPTY),
            mtu: Setting::default(None),
            vlan: Setting::default(None),
            buffers: Setting::default(None),
            ip: Setting::default(Text::EMPTY),
            hostname: Setting::default(Text::EMPTY),
            syslog: Setting::default(Text::EMPTY),
            ntp: Setting::default(Text::EMPTY),
            http: Setting::default(Some(80)),
            token: Setting::default(Text::EMPTY),
            cec: Setting::default(false),
            log: Setting::default(LogLevel::Info),
            console: Setting::default(Text::EMPTY),
            panic: Setting::default(Some(10)),
            watchdog: Setting::default(Some(30)),
            cpus: Setting::default(Some(1)),
            poll: Setting::default(None),
            measure: Setting::default(None),
            masks_full: false,
            said: List::new(Said {
                key: Text::EMPTY,
                text: Text::EMPTY,
                source: Source::Default,
            }),
            problems: List::new(PROBLEM),
            problems_more: 0,
        }
    }

    /// Forgets everything.
    #[cold]
    #[inline(never)]
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Reads all settings of one channel. The command line is words with a prefix,
    /// every other channel is lines.
    #[cold]
    pub fn parse(&mut self, source: Source, text: &[u8]) {
        for entry in entries(source.form(), text) {
            let set = match entry.value {
                Ok(value) => self.set(source, entry.key, value),
                Err(what) => Err(Complaint::Bad(what)),
            };
            let text = match (entry.key, entry.value) {
                ("token", _) => Text::new(HIDDEN),
                (_, value) => Text::new(value.unwrap_or("")),
            };
            if set.is_ok() {
                let key = Text::new(entry.key);
                self.said.retain(|said| said.key != key);
                let _ = self.said.push(Said { key, text, source });
            }
            if let Err(complaint) = set {
                let problem = Problem {
                    key: Text::new(entry.key),
                    text,
                    source,
                    at: entry.at,
                    complaint,
                };
                if !self.problems.push(problem) {
                    self.problems_more = self.problems_more.saturating_add(1);
                }
            }
        }
    }

    /// Finds the partitions that pins name among those of one disk. A name that
    /// two partitions have means neither: its part then has no sectors.
    #[cold]
    pub fn find_parts(&mut self, disk: u8, serial: &str, partitions: &[Partition]) {
        for setting in self.pins.iter_mut() {
            let Selector::Part(name) = setting.value.disk else {
                continue;
            };
            for partition in partitions {
                if !is_meant(name.as_str(), serial, partition) {
                    continue;
                }
                let part = Part {
                    disk,
                    first: partition.first,
                    sectors: partition.sectors,
                };
                setting.value.part = match setting.value.part {
                    None => Some(part),
                    Some(_) => Some(Part { sectors: 0, ..part }),
                };
            }
        }
    }

    /// What holds because somebody said it, and who that was; all else is default.
    pub fn said(&self) -> &[Said] {
        &self.said
    }

    /// What could not be used as written, in order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Problems beyond the [`PROBLEMS_MAX`] that are kept.
    pub fn problems_more(&self) -> u32 {
        self.problems_more
    }

    /// RAM disks to make: slot and bytes, a multiple of 4,096.
    pub fn rams(&self) -> impl Iterator<Item = (u8, u64)> {
        self.rams.iter().map(|ram| ram.value)
    }

    /// When writes to `slot` are acknowledged.
    pub fn cache_of(&self, slot: u8) -> Cache {
        of_slot(&self.slot_cache, slot).unwrap_or(self.cache.value)
    }

    /// How failures on `slot` are answered.
    pub fn errors_of(&self, slot: u8) -> Errors {
        of_slot(&self.slot_errors, slot).unwrap_or(self.errors.value)
    }

    /// Who may talk to `slot`: its own list if it has one, else the one for all.
    /// No entry is everyone.
    pub fn masks_of(&self, slot: u8) -> impl Iterator<Item = Mac> {
        let nobody = self.masks_full.then_some(NOBODY);
        let own = self.masks.iter().any(|mask| mask.value.slot == Some(slot));
        let wanted = own.then_some(slot);
        self.masks
            .iter()
            .filter(move |mask| mask.value.slot == wanted)
            .map(|mask| mask.value.mac)
            .chain(nobody)
    }

    #[cold]
    #[inline(never)]
    fn set(&mut self, source: Source, key: &str, value: &str) -> Result<(), Complaint> {
        // A server that anybody on the segment may play sets nothing that decides
        // who reads or writes which disk.
        if source == Source::Dhcp && !matches!(key, "hostname" | "syslog" | "ntp") {
            return Err(Complaint::NotFromHere);
        }
        match key {
            "shelf" => put(&mut self.shelf, source, value::shelf(value).map(Some)),
            "export" => put(&mut self.export, source, value::selection(value, "auto")),
            "rw" => put(&mut self.rw, source, value::selection(value, "all")),
            "cache" => put(&mut self.cache, source, plain::cache(value)),
            "errors" => put(&mut self.errors, source, plain::errors(value)),
            "mask.all" => self.set_masks(source, None, value),
            "net.data" => put(&mut self.net_data, source, any_unless(value, "all")),
            "net.mgmt" => put(&mut self.net_mgmt, source, any_unless(value, "first")),
            "mtu" => put(&mut self.mtu, source, plain::mtu(value)),
            "vlan" => {
                const WHAT: &str = "a VLAN is a number from 1 to 4094";
                let vlan = value::number(value, 4094, WHAT)?;
                let vlan = if vlan == 0 {
                    Err(Complaint::Bad(WHAT))
                } else {
                    Ok(Some(vlan as u16))
                };
                put(&mut self.vlan, source, vlan)
            }
            "buffers" => put(&mut self.buffers, source, plain::buffers(value)),
            "ip" => put(&mut self.ip, source, plain::ip(value)),
            "hostname" => put(&mut self.hostname, source, value::text(value)),
            "syslog" => put(&mut self.syslog, source, value::text(value)),
            "ntp" => put(&mut self.ntp, source, value::text(value)),
            "http" => put(&mut self.http, source, plain::http(value)),
            "token" => put(&mut self.token, source, value::text(value)),
            "cec" => put(&mut self.cec, source, plain::on_or_off(value)),
            "log" => put(&mut self.log, source, plain::log_level(value)),
            "console" => {
                // Several in one place are several consoles, as Linux has it.
                let all = if self.console.source == source {
                    Text::<80>::format(format_args!("{} {value}", self.console.value))
                } else {
                    Text::<80>::format(format_args!("{value}"))
                };
                put(&mut self.console, source, value::text(all.as_str()))
            }
            "panic" => put(&mut self.panic, source, plain::panic(value)),
            "watchdog" => put(&mut self.watchdog, source, plain::watchdog(value)),
            "cpus" => put(&mut self.cpus, source, plain::cpus(value)),
            "poll" => put(&mut self.poll, source, plain::poll(value)),
            "measure" => put(&mut self.measure, source, plain::measure(value)),
            _ => self.set_of_slot(source, key, value),
        }
    }

    #[cold]
    fn set_of_slot(&mut self, source: Source, key: &str, value: &str) -> Result<(), Complaint> {
        let (base, slot) = key.split_once('.').ok_or(Complaint::UnknownKey)?;
        if !matches!(base, "slot" | "ram" | "mask" | "cache" | "errors") {
            return Err(Complaint::UnknownKey);
        }
        let slot = value::slot(slot)?;
        match base {
            "slot" => self.set_pin(source, slot, value),
            "ram" => {
                let ram = (slot, value::ram_bytes(value)?);
                self.rams.retain(|ram| ram.value.0 != slot);
                add(
                    &mut self.rams,
                    source,
                    ram,
                    "there are 16 RAM disks already",
                )
            }
            "mask" => self.set_masks(source, Some(slot), value),
            "cache" => {
                let cache = (slot, plain::cache(value)?);
                self.slot_cache.retain(|cache| cache.value.0 != slot);
                add(&mut self.slot_cache, source, cache, FULL)
            }
            _ => {
                let errors = (slot, plain::errors(value)?);
                self.slot_errors.retain(|errors| errors.value.0 != slot);
                add(&mut self.slot_errors, source, errors, FULL)
            }
        }
    }

    #[cold]
    fn set_pin(&mut self, source: Source, slot: u8, value: &str) -> Result<(), Complaint> {
        let read = value::pin(slot, value);
        let pin = read.unwrap_or(Pin {
            slot,
            disk: Selector::Unreadable,
            part: None,
            read_only: true,
            offset: 0,
            length: None,
        });
        self.pins.retain(|other| other.value.slot != slot);
        add(&mut self.pins, source, pin, FULL)?;
        read.map(drop)
    }

    /// Replaces the list of `slot`. An empty value is everyone; a list with an
    /// entry that is no address still admits the others, and never everyone.
    #[cold]
    fn set_masks(
        &mut self,
        source: Source,
        slot: Option<u8>,
        value: &str,
    ) -> Result<(), Complaint> {
        self.masks.retain(|mask| mask.value.slot != slot);
        let mut first_wrong = Ok(());
        for part in value.split(',').filter(|_| !value.is_empty()) {
            let mac = value::mac(part.trim());
            let mask = Mask {
                slot,
                mac: mac.unwrap_or(NOBODY),
            };
            let added = add(
                &mut self.masks,
                source,
                mask,
                "there are 128 addresses already",
            );
            self.masks_full |= added.is_err();
            first_wrong = first_wrong.and(mac.map(|_| ())).and(added);
        }
        first_wrong
    }
}

/// Whether `name` is the partition's own, or its disk's serial number and its
/// number on it.
fn is_meant(name: &str, serial: &str, partition: &Partition) -> bool {
    let by_number = name.rsplit_once('/').is_some_and(|(disk, number)| {
        !serial.is_empty() && disk == serial && number.parse() == Ok(partition.number)
    });
    by_number || partition.is_called(name)
}

const FULL: &str = "64 slots have settings of their own already";

fn put<T>(
    setting: &mut Setting<T>,
    source: Source,
    value: Result<T, Complaint>,
) -> Result<(), Complaint> {
    *setting = Setting {
        value: value?,
        source,
    };
    Ok(())
}

fn add<T: Copy, const N: usize>(
    list: &mut List<Setting<T>, N>,
    source: Source,
    value: T,
    full: &'static str,
) -> Result<(), Complaint> {
    if list.push(Setting { value, source }) {
        Ok(())
    } else {
        Err(Complaint::Bad(full))
    }
}

fn of_slot<T: Copy, const N: usize>(list: &List<Setting<(u8, T)>, N>, slot: u8) -> Option<T> {
    let found = list.iter().find(|setting| setting.value.0 == slot);
    found.map(|setting| setting.value.1)
}

fn any_unless<const N: usize>(value: &str, default: &str) -> Result<Text<N>, Complaint> {
    if value == default {
        Ok(Text::EMPTY)
    } else {
        value::text(value)
    }
}

#[cfg(test)]
mod tests;
