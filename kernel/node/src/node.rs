//! A whole node: its parts, how they are put together, and when it may sleep.

use crate::banner::Banner;
use crate::capture::Capture;
use crate::claim::Claims;
use crate::closing::Closing;
use crate::config::{Config, MASKS_MAX};
use crate::events::Events;
use crate::histogram::Histogram;
use crate::keeper::{Keeper, Key};
use crate::limits;
use crate::mark::Mark;
use crate::measure::{self, Measuring};
use crate::mgmt::Mgmt;
use crate::newcomer::Newcomers;
use crate::plan::{self, Access, Candidate, Origin, Planned};
use crate::port::{self, Port};
use crate::shelf::Shelf;
use crate::state::{self, Loaded};
use crate::station::Station;
use crate::tally::{Clients, History, Traffic, Work};
use crate::volume::Volume;
use crate::waiting::{Place, Queue, Waiting};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use aoe::fence::Fence;
use aoe::{Address, Cache, Health, Mac, Medium, Policy, Target};
use io::{Disk, FRAMES_MAX, Frame, Instant, Nic, Text};

/// A disk and what it is to the machine.
pub struct Attached<D> {
    /// The disk.
    pub disk: D,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where the node keeps what hosts set, and what was there at its start.
pub struct StateArea {
    /// The disk, by its place in the list.
    pub disk: usize,
    /// First sector of the area.
    pub first: u64,
    /// What was read of it.
    pub loaded: Loaded,
    /// The sum of this start's `ublade.conf` ([`state::sum_of`]).
    pub conf_sum: u32,
}

impl StateArea {
    /// The settings that were saved and hold: lines of them.
    pub fn saved(&self) -> &[u8] {
        let saved = state::saved(&self.loaded.records);
        if self.is_overruled() {
            &[]
        } else {
            saved.lines
        }
    }

    /// Whether settings were saved and `ublade.conf` was edited afterwards.
    pub fn is_overruled(&self) -> bool {
        let saved = state::saved(&self.loaded.records);
        !saved.lines.is_empty() && saved.conf_sum != self.conf_sum
    }
}

/// One export: the target that speaks for it and the sectors behind it.
pub struct Export {
    /// Its protocol side.
    pub target: Target,
    /// Its sectors now.
    pub volume: Volume,
    /// Whether it answers at all.
    pub online: bool,
    /// How long its requests took, from being taken over to being answered.
    pub latency: Histogram,
    /// What it was asked to do.
    pub work: Work,
    /// What the plan gave it; the disk may have changed since.
    pub(crate) planned: Planned,
    /// Its serial number in IDENTIFY.
    pub(crate) serial: Text<20>,
    pub(crate) cache: Cache,
}

/// The ticket of a read that is done before there is a node, should it end only
/// when there is one (see [`Node::expect_late`]).
pub const EARLY: u32 = Mark::EARLY.0;

/// Where the frame of a place in the fence is.
#[derive(Clone, Copy)]
pub(crate) enum At {
    /// It waits: for an older write, or for a flush.
    Waiting(Place),
    /// Its disk has it, under this mark.
    Disk(Mark),
}

/// What a node does now and then, as pointers. Everything else that a turn calls is
/// compiled with it, for speed, where the loop is; these are compiled where the node
/// is put together, for size, and they are most of a turn's code.
pub(crate) struct Rarely<N, D> {
    /// Looks at links, MTUs and sizes.
    pub tick: fn(&mut Node<N, D>, Instant),
    /// Asks for addresses, and lets exports go online that nobody else answers for.
    pub claim: fn(&mut Node<N, D>, Instant),
    /// Gives management its turn. True if it did anything.
    pub manage: fn(&mut Node<N, D>, Instant) -> bool,
}

/// A whole node. Everything it will ever need is allocated by [`Node::new`].
pub struct Node<N, D> {
    pub(crate) ports: Vec<Port<N>>,
    pub(crate) stations: Vec<Station<D>>,
    pub(crate) exports: Vec<Export>,
    pub(crate) shelf: Shelf,
    /// The order of overlapping writes, for all exports.
    pub(crate) fence: Box<Fence<FRAMES_MAX>>,
    /// By place in the fence: where the frame is.
    pub(crate) whereabouts: Box<[At]>,
    /// By place in the fence: frames whose bytes are the same.
    pub(crate) copies: Box<[Queue]>,
    pub(crate) waiting: Waiting,
    /// What hosts have set, on its way to the boot disk.
    pub(crate) keeper: Keeper,
    /// What is needed to take in disks that come, if any can.
    pub(crate) newcomers: Option<Box<Newcomers>>,
    pub(crate) events: Events,
    /// Which addresses are surely ours.
    pub(crate) claims: Claims,
    /// Frames for a person who looks.
    pub(crate) capture: Capture,
    pub(crate) clients: Clients,
    pub(crate) history: History,
    /// When it was put together, and how long it has slept since.
    pub(crate) began: Instant,
    pub(crate) slept_us: u64,
    /// Whether writes must be judged by age: more than one port carries them.
    pub(crate) aged: bool,
    /// Whether this turn is the first after a sleep.
    pub(crate) woken: bool,
    /// What is measured, if anything is: then nothing is served.
    pub(crate) measuring: Option<Measuring>,
    /// The order to stop, if there is one.
    pub(crate) closing: Option<Closing>,
    /// The time of the turn.
    pub(crate) now: Instant,
    pub(crate) last_tick: Instant,
    pub(crate) next_tick: Instant,
    pub(crate) hostname: Text<64>,
    /// The management plane, if it was opened.
    pub(crate) management: Option<Box<Mgmt>>,
    pub(crate) rarely: Rarely<N, D>,
    pub(crate) warnings: Vec<String>,
    notes: Vec<String>,
}

impl<N: Nic, D: Disk> Node<N, D> {
    /// Puts a node together. `disks` come in the order of their bus address, which
    /// is the order of their slots; `frames` are shared out evenly among the ports.
    /// Nothing allocates afterwards: the heap may be sealed.
    ///
    /// # Panics
    /// If a port would get fewer than [`limits::FRAMES_PER_PORT_MIN`] frames, or if
    /// there are more than [`limits::PORTS_MAX`] ports.
    #[cold]
    pub fn new(
        ports: Vec<N>,
        disks: Vec<Attached<D>>,
        frames: impl Iterator<Item = Frame>,
        config: &Config,
        now: Instant,
    ) -> Self {
        Self::with_state(ports, disks, frames, config, now, None)
    }

    /// As [`new`](Self::new), with what hosts had set before and a place to keep it.
    ///
    /// # Panics
    /// As `new`.
    #[cold]
    pub fn with_state(
        ports: Vec<N>,
        disks: Vec<Attached<D>>,
        frames: impl Iterator<Item = Frame>,
        config: &Config,
        now: Instant,
        area: Option<StateArea>,
    ) -> Self {
        assert!(
            ports.len() <= limits::PORTS_MAX,
            "a node serves {} ports at most",
            limits::PORTS_MAX
        );
        let first_mac = ports.first().map(N::mac);
        let candidates: Vec<_> = disks.iter().map(candidate).collect();
        let keys: Vec<Key> = (0..candidates.len())
            .map(|index| plan::key_of(&candidates, index))
            .collect();
        let records = area.as_ref().map_or(&[][..], |area| &area.loaded.records);
        let kept: Vec<_> = state::records(records).collect();
        let mut plan = plan::plan(config, &candidates, first_mac, &keys, &kept);
        if area.as_ref().is_some_and(StateArea::is_overruled) {
            plan.warnings.push(
                "ublade.conf was edited after settings had been saved: the file holds, and they are kept as the previous ones".to_string(),
            );
        }
        if area.is_some() {
            // The state area keeps them where they are.
            plan.exports
                .iter_mut()
                .for_each(|export| export.by_order = false);
        } else {
            plan.notes.push(
                "no boot disk of ublade: what hosts set lasts until the next restart".to_string(),
            );
        }
        let mut ports = open_ports(ports, frames, config, now);
        let buffers = config.buffers.value.unwrap_or_else(|| {
            let serving = ports.iter().filter(|port| port.serves);
            let least = serving.map(|port| port.frames).min();
            limits::buffers_of(least.unwrap_or(0))
        });
        let mut shelf = Shelf::new(plan.shelf);
        let mut stations: Vec<_> = disks
            .into_iter()
            .take(plan::DISKS_MAX)
            .map(|attached| Station::new(attached.disk))
            .collect();
        let room = stations.iter().map(|station| station.disk.room()).sum();
        stations.reserve_exact(room);
        let mut exports = Vec::with_capacity(plan.exports.len() + room);
        for (index, planned) in plan.exports.iter().enumerate() {
            if planned.online {
                shelf.put(planned.slot, index as u8);
            }
            let disk = &stations[usize::from(planned.volume.disk)];
            exports.push(export(
                plan.shelf, planned, disk, config, buffers, first_mac,
            ));
        }
        let export_keys: Vec<Key> = exports
            .iter()
            .map(|export: &Export| keys[usize::from(export.volume.disk)])
            .collect();
        let mut away = Vec::new();
        for kept in &kept {
            let is_of = |(export, key): &(&mut Export, &Key)| {
                kept.key == key.as_str().as_bytes() && kept.first == export.planned.wanted.first
            };
            match exports.iter_mut().zip(&export_keys).find(is_of) {
                Some((export, _)) => {
                    export
                        .target
                        .restore(kept.config, kept.masks(), kept.members());
                }
                None => away.extend_from_slice(kept.raw),
            }
        }
        let keeper = match &area {
            Some(area) if stations[area.disk].disk.geometry().read_only => {
                plan.warnings.push(format!(
                    "disk {} ({}): is read-only; what hosts set lasts until the next restart",
                    area.disk,
                    stations[area.disk].disk.name()
                ));
                Keeper::none()
            }
            Some(area) => Keeper::new(area, export_keys, away),
            None => Keeper::none(),
        };
        let mut keeper = keeper;
        keeper.make_room(room);
        let newcomers = (room > 0).then(|| Newcomers::new(room, config, buffers, first_mac));
        for port in ports.iter_mut().filter(|port| port.speaks()) {
            port.announcer.begin(now);
        }
        let mut node = Self {
            aged: ports.iter().filter(|port| port.serves).count() > 1,
            ports,
            stations,
            exports,
            shelf,
            fence: Box::default(),
            whereabouts: (0..FRAMES_MAX).map(|_| At::Disk(Mark(0))).collect(),
            copies: (0..FRAMES_MAX).map(|_| Queue::EMPTY).collect(),
            waiting: Waiting::new(FRAMES_MAX),
            keeper,
            newcomers,
            events: Events::new(),
            claims: Claims::none(),
            capture: Capture::new(),
            clients: Clients::new(),
            history: History::new(now),
            began: now,
            slept_us: 0,
            woken: false,
            measuring: config.measure.value.map(Measuring::new),
            closing: None,
            now,
            last_tick: now,
            next_tick: now + limits::TICK_US,
            hostname: config.hostname.value,
            management: None,
            rarely: Rarely {
                claim: Self::look_after_claims,
                tick: Self::tick,
                manage: Self::run_management,
            },
            warnings: plan.warnings,
            notes: plan.notes,
        };
        node.warn_of(config);
        node
    }

    /// What a person should see once, as sentences: settings that could not be
    /// used, disks that are not exported, ports without a link.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.iter().map(String::as_str)
    }

    /// What is as it should be and worth a line: disks that are the node's own.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().map(String::as_str)
    }

    /// Says that a read which was begun before the node was made is still under
    /// way at a disk, with a mark of [`EARLY`]. Its frame is nobody's when it
    /// comes back.
    pub fn expect_late(&mut self, disk: usize) {
        if let Some(station) = self.stations.get_mut(disk) {
            station.under_way += 1;
        }
    }

    /// The console's first lines, under ten.
    pub fn banner<'a>(&'a self, boot: &'a crate::Boot<'a>) -> Banner<'a, N, D> {
        Banner::new(self, boot)
    }

    /// What has been counted, and the last things of note.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The exports, by slot.
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// Takes an export online, which announces it, or offline: then it hears
    /// nothing more, and what it has taken over is still answered. False if no
    /// export has this slot.
    pub fn set_online(&mut self, slot: u8, online: bool) -> bool {
        let is_it = |export: &Export| export.planned.slot == slot;
        let Some(index) = self.exports.iter().position(is_it) else {
            return false;
        };
        match (self.exports[index].online, online) {
            (false, true) if self.claim(index) => {}
            (false, true) => self.appear(index),
            (_, false) => {
                self.leave_alone(index);
                self.silence(index);
            }
            (true, true) => {}
        }
        true
    }

    /// When [`step`](Self::step) must be called although no device asked for it.
    pub fn next_deadline(&self) -> Instant {
        let mut deadline = self.last_tick + limits::TICK_IDLE_US;
        if let Some(us) = self.fence.deadline_us() {
            deadline = deadline.min(Instant(us));
        }
        if self.closing.is_some() {
            deadline = deadline.min(self.now + limits::SOON_US);
        }
        if let Some(at) = self.keeper.deadline(self.now + limits::SOON_US) {
            deadline = deadline.min(at);
        }
        deadline = deadline.min(self.claims.due());
        if let Some(management) = &self.management {
            deadline = deadline.min(management.due());
        }
        for port in &self.ports {
            if port.is_short() {
                deadline = deadline.min(self.now + limits::SOON_US);
            }
            if let Some(round) = port.announcer.next_round() {
                deadline = deadline.min(round);
            }
        }
        deadline
    }

    /// Whether a turn right after one that moved something is known to be in vain: no
    /// device has more, and nothing goes on by itself before
    /// [`next_deadline`](Self::next_deadline). Who does not spin may sleep at once.
    pub fn is_quiet(&self) -> bool {
        self.closing.is_none()
            && self.measuring.is_none()
            && self
                .ports
                .iter()
                .all(|port| port.nic.is_quiet() && !port.is_short())
            && self.stations.iter().all(|station| {
                station.disk.is_quiet() && !station.crowd.is_busy() && !station.wants_flush()
            })
    }

    /// Asks every device to wake us. True if something is there already: then do
    /// not sleep, the wish has been taken back.
    pub fn arm(&mut self) -> bool {
        // All of them, whatever the first says: it is one wish.
        let mut is_there = false;
        for port in &mut self.ports {
            is_there |= port.nic.arm();
        }
        for station in &mut self.stations {
            is_there |= station.disk.arm();
        }
        if is_there {
            self.take_wish_back();
        }
        is_there
    }

    /// Notes that the last turn has ended at `now`, where it had moved something: what
    /// follows is sleep.
    pub fn rest_from(&mut self, now: Instant) {
        self.now = now;
    }

    /// Ends a sleep that [`arm`](Self::arm) allowed; it ended at `now`.
    pub fn disarm(&mut self, now: Instant) {
        self.take_wish_back();
        self.slept_us += now - self.now;
        // Every ring was empty when we fell asleep, and the first frame woke us.
        // If the processor itself was stopped meanwhile, the next turn takes in
        // everything before an answer leaves (see `step/admit`).
        for port in &mut self.ports {
            port.seen_empty = port.nic.seen_empty(now);
        }
        self.woken = true;
    }

    fn take_wish_back(&mut self) {
        for port in &mut self.ports {
            port.nic.disarm();
        }
        for station in &mut self.stations {
            station.disk.disarm();
        }
    }

    /// Measures an export anew after its disk has changed: sectors before and now.
    pub(crate) fn remeasure(&mut self, index: usize) -> (u64, u64) {
        let export = &mut self.exports[index];
        let station = &self.stations[usize::from(export.volume.disk)];
        let disk = &station.disk;
        let before = export.volume.sectors;
        export.volume = export.planned.wanted.within(disk.geometry().sectors).0;
        let medium = medium(
            &export.planned,
            &export.volume,
            station,
            export.serial,
            export.cache,
        );
        export.target.set_medium(medium);
        (before, export.volume.sectors)
    }

    fn warn_of(&mut self, config: &Config) {
        if let Some(measuring) = &self.measuring {
            self.warnings.push(measuring.warning().to_string());
        }
        let problems = config.problems().iter().map(ToString::to_string);
        self.warnings.splice(0..0, problems);
        if config.problems_more() > 0 {
            self.warnings.push(format!(
                "{} more settings could not be used",
                config.problems_more()
            ));
        }
        if self.ports.is_empty() {
            self.warnings
                .push("no network card was found; nothing can be served".to_string());
        }
        let names = config.net_data.value;
        for name in data_names(&names) {
            if port::named(name, self.ports.iter().map(|port| &port.nic)).is_none() {
                self.warnings.push(format!(
                    "net.data={names}: {name} is no port; AoE is spoken on the others of the list, and nowhere else"
                ));
            }
        }
        for (index, port) in self.ports.iter().enumerate() {
            if !port.link {
                self.warnings.push(format!(
                    "port {index} ({}): no link; it is served as soon as there is one",
                    port.nic.name()
                ));
            }
        }
        if self.stations.is_empty() {
            self.warnings
                .push("no disk was found; ram.0=64M makes one in memory".to_string());
        }
    }
}

fn candidate<D: Disk>(attached: &Attached<D>) -> Candidate<'_> {
    let (geometry, identity) = (attached.disk.geometry(), attached.disk.identity());
    Candidate {
        name: attached.disk.name(),
        serial: identity.serial.as_str(),
        wwn: identity.wwn.as_str(),
        sectors: geometry.sectors,
        read_only: geometry.read_only,
        origin: attached.origin,
    }
}

/// Gives every port its frames: the first ones are kept back, the rest receive.
#[cold]
fn open_ports<N: Nic>(
    nics: Vec<N>,
    frames: impl Iterator<Item = Frame>,
    config: &Config,
    now: Instant,
) -> Vec<Port<N>> {
    let count = nics.len();
    let serves = serving(&nics, config);
    let serves_any = serves.contains(&true);
    let mut shares: Vec<Vec<Frame>> = (0..count).map(|_| Vec::new()).collect();
    let most = |serves: bool| match serves || !serves_any {
        true => FRAMES_MAX,
        false => limits::QUIET_FRAMES,
    };
    let mut turns = (0..count).cycle();
    for mut frame in frames.take(FRAMES_MAX) {
        let wants = |index: &usize| shares[*index].len() < most(serves[*index]);
        let Some(index) = turns.by_ref().take(count).find(wants) else {
            break;
        };
        frame.set_home(index as u8);
        shares[index].push(frame);
    }
    let open = |((nic, frames), serves): ((N, Vec<Frame>), bool)| {
        assert!(
            frames.len() >= limits::FRAMES_PER_PORT_MIN,
            "port {} gets {} frames and needs {}",
            nic.name(),
            frames.len(),
            limits::FRAMES_PER_PORT_MIN
        );
        let spares_wanted =
            limits::spares_of(frames.len()) + measure::frames_of(config, frames.len());
        let mut port = Port {
            wire: aoe::Port {
                mac: Mac(nic.mac()),
                mtu: 0,
            },
            nic,
            mtu_max: config.mtu.value.unwrap_or(u16::MAX),
            serves,
            link: false,
            frames: frames.len(),
            lent: 0,
            sending: 0,
            spares: Vec::with_capacity(frames.len()),
            spares_wanted,
            queries: Queue::EMPTY,
            queries_len: 0,
            seen_empty: now,
            announcer: crate::announce::Announcer::new(),
            traffic: Traffic::default(),
        };
        port.refresh();
        for frame in frames {
            port.release_aside(now, frame);
        }
        port.nic.kick();
        port
    };
    nics.into_iter().zip(shares).zip(serves).map(open).collect()
}

/// Which cards carry AoE. A name that is nobody's is not made up for by another port:
/// it may be the one that strangers are on.
#[cold]
fn serving<N: Nic>(nics: &[N], config: &Config) -> Vec<bool> {
    let names = config.net_data.value;
    let mut serves: Vec<bool> = nics.iter().map(|_| names.is_empty()).collect();
    for name in data_names(&names) {
        if let Some(index) = port::named(name, nics) {
            serves[index] = true;
        }
    }
    serves
}

/// The names in `net.data=`.
fn data_names(names: &Text<64>) -> impl Iterator<Item = &str> {
    let names = names.as_str().split(',').map(str::trim);
    names.filter(|name| !name.is_empty())
}

#[cold]
pub(crate) fn export<D: Disk>(
    shelf: u16,
    planned: &Planned,
    station: &Station<D>,
    config: &Config,
    buffers: u16,
    first_mac: Option<[u8; 6]>,
) -> Export {
    let address = Address {
        shelf,
        slot: planned.slot,
    };
    let own = station.disk.identity().serial;
    let serial = if own.is_empty() || planned.slice {
        made_up_serial(address, first_mac.unwrap_or_default())
    } else {
        own
    };
    let cache = config.cache_of(planned.slot);
    let medium = medium(planned, &planned.volume, station, serial, cache);
    // And nobody, where the list ran over.
    let mut masks = [Mac([0; 6]); MASKS_MAX + 1];
    let mut count = 0;
    for (place, mac) in masks.iter_mut().zip(config.masks_of(planned.slot)) {
        *place = mac;
        count += 1;
    }
    let policy = Policy {
        errors: config.errors_of(planned.slot),
        masks: &masks[..count],
    };
    Export {
        target: Target::new(address, medium, buffers, policy),
        volume: planned.volume,
        online: planned.online,
        latency: Histogram::default(),
        work: Work::default(),
        planned: *planned,
        serial,
        cache,
    }
}

/// A serial number for what has none of its own: the address and as much of the
/// first port's MAC, from its end, as there is room for.
fn made_up_serial(address: Address, mac: [u8; 6]) -> Text<20> {
    let [a, b, c, d, e, f] = mac;
    let head = Text::<20>::format(format_args!("{address}:"));
    let tail = Text::<12>::format(format_args!("{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}"));
    let room = 20 - head.as_str().len();
    let tail = &tail.as_str()[12_usize.saturating_sub(room)..];
    Text::format(format_args!("{head}{tail}"))
}

/// What IDENTIFY says. All of it is true: a discard that would be refused is not
/// offered, a cache is the one that counts here.
fn medium<D: Disk>(
    planned: &Planned,
    volume: &Volume,
    station: &Station<D>,
    serial: Text<20>,
    cache: Cache,
) -> Medium {
    let geometry = station.disk.geometry();
    let identity = station.disk.identity();
    let read_only = planned.access != Access::ReadWrite || geometry.read_only;
    let block = 1_u64 << geometry.physical_exponent.min(15);
    let or = |own: &str, other: &'static str| -> Text<40> {
        Text::new(if own.is_empty() { other } else { own })
    };
    Medium {
        sectors: volume.sectors,
        physical_exponent: geometry.physical_exponent,
        alignment_offset: ((u64::from(geometry.alignment_offset) + volume.first) % block) as u16,
        read_only,
        cache,
        discard: !read_only
            && geometry
                .discard
                .is_some_and(|limits| limits.sectors_max >= limits::DISCARD_SECTORS_MIN),
        // What we have seen of it ourselves, and what it says where a driver asks.
        health: Some(Health {
            failing: station.failing,
        }),
        serial: padded(serial.as_str()),
        model: padded(or(identity.model.as_str(), "ublade AoE target").as_str()),
        firmware: padded(or(identity.firmware.as_str(), env!("CARGO_PKG_VERSION")).as_str()),
    }
}

/// As ATA strings are: ASCII, padded with spaces.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [b' '; N];
    for (byte, own) in bytes.iter_mut().zip(text.bytes()) {
        *byte = own;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_serial_has_the_address_and_the_end_of_the_mac() {
        let mac = [2, 0, 0, 0xab, 0, 2];
        let serial = |shelf, slot| made_up_serial(Address { shelf, slot }, mac);
        assert_eq!(serial(5, 7).as_str(), "e5.7:020000ab0002");
        assert_eq!(serial(65534, 254).as_str(), "e65534.254:000ab0002");
        assert_eq!(serial(65534, 254).as_str().len(), 20);
    }
}
