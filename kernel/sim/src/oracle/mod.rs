//! The one who knows what is right.
//!
//! The oracle stands at the node's cards. It sees each request in the moment the
//! node takes it off a ring, works out by itself (from `wire`, never from the
//! `aoe` crate) what answers would be right, and checks every frame the node
//! sends against that, byte for byte. For each sector a [`History`] knows which
//! values it may hold.
//!
//! What a request may do, it may do while the node holds its frame and not one
//! moment longer: the frame is the request. So when the frame is posted or sent,
//! the request is over.
//!
//! **Strict writes.** The network may hold a copy of a write back until a newer
//! write was acknowledged; no target can tell such a copy from a new write, and
//! the oracle counts it as one. But where an initiator says that its network
//! holds nothing longer than its resend time, a write is over in the moment the
//! initiator *has its acknowledgement*, whatever copies the node still has in
//! its rings: if one of those takes effect later, that is the stale write this
//! node promises to prevent.

mod check;
mod crash;
mod expect;
mod views;

pub use views::View;
use views::{Request, Views};

use crate::content::{self, Value};
use crate::disk::Spindle;
use crate::history::{Acknowledged, History};
use crate::ledger::Ledger;
use crate::wire::{self, Address, Ata, Header, Mac, opcode};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::rc::Rc;

/// Requests that may be answered more than once, or from another frame, are
/// remembered this long.
const RECENT_US: u64 = 20_000_000;

/// An export, as the world set it up.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its address.
    pub address: Address,
    /// Which disk.
    pub disk: usize,
    /// First sector on the disk.
    pub first: u64,
    /// Sectors, if it is a slice.
    pub sectors: Option<u64>,
    /// Whether it may be written.
    pub writable: bool,
    /// Whether acknowledged means durable.
    pub how: Acknowledged,
    /// Who may talk to it, by the settings: nobody can take these away.
    pub masks: Vec<Mac>,
}

/// A write as its initiator sees it: one, however often it is sent.
#[derive(Debug, Default)]
pub struct Logical {
    strict: bool,
    over: Cell<bool>,
}

/// A port of the node.
struct PortView {
    mac: Mac,
    mtu: u16,
    /// The smallest and the largest since the node started.
    mtu_low: u16,
    mtu_high: u16,
}

struct Export {
    served: Served,
    /// Capacities that may be in force: the latest last.
    capacities: Vec<u64>,
    views: Views,
    histories: BTreeMap<u64, History>,
    /// Losses of the disk's cache that were taken into account, and when.
    losses: (u64, u64),
    /// Acknowledged, volatile: sector, value, under way since, acknowledged at.
    unflushed: Vec<(u64, Value, u64, u64)>,
}

impl Export {
    fn history(&mut self, lba: u64) -> &mut History {
        let served = &self.served;
        self.histories.entry(lba).or_insert_with(|| {
            History::new(content::value(&content::pristine(
                served.disk,
                served.first + lba,
            )))
        })
    }
}

/// A write or discard that the node holds.
#[derive(Debug)]
struct Change {
    export: usize,
    lba: u64,
    values: Vec<Value>,
    /// Since when the bytes may be under way, by sector.
    first: Vec<u64>,
    logical: Option<Rc<Logical>>,
    /// Counted as live in the histories.
    counted: bool,
}

/// An answer that would be right.
#[derive(Debug)]
enum Expect {
    Read {
        lba: u64,
        sectors: u64,
    },
    /// Success without data, or a disk error.
    Verify,
    Write(Change),
    Discard(Vec<Change>),
    Flush,
    Identify,
    Power,
    /// Success without data, or ABRT: the protocol leaves it open.
    Either,
    Smart,
    Refused {
        abort: bool,
        idnf: bool,
    },
    Aoe(&'static [u8]),
    Config {
        string: Vec<u8>,
        ccmd: u8,
        error: Option<u8>,
    },
    Mask {
        error: u8,
        count: u8,
        list: Vec<Mac>,
    },
    Reserve {
        list: Vec<Mac>,
        error: Option<u8>,
    },
}

struct Answer {
    export: usize,
    /// What was right when the request was taken.
    expects: Vec<Expect>,
    /// Config, masks and reservations take effect when they are answered, and a
    /// request for several exports is judged when its turn comes: what is right
    /// is worked out then.
    late: bool,
    /// How many replies may still come.
    left: u8,
}

/// A request that the node took.
struct Asked {
    at: u64,
    at_us: u64,
    port: usize,
    header: Header,
    ata: Option<Ata>,
    /// The argument and what follows, for errors that echo it.
    argument: Vec<u8>,
    answers: Vec<Answer>,
    recent: bool,
}

impl Asked {
    /// For those who replay a seed.
    fn describe(&self) -> String {
        let Header {
            from,
            address,
            command,
            tag,
            ..
        } = self.header;
        let who = format!(
            "{:02x}.{:x} asks {}.{}",
            from[1], from[5], address.shelf, address.slot
        );
        match self.ata {
            Some(ata) if command == wire::ATA => format!(
                "{who} ATA {:02x}, {} sectors at {}, tag {tag:08x}",
                ata.command,
                ata.count,
                ata.lba48()
            ),
            _ => format!("{who} command {command}, tag {tag:08x}"),
        }
    }
}

/// What the oracle counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames the node took off its rings.
    pub requests: u64,
    /// Frames the node sent.
    pub replies: u64,
    /// Sectors that came back from reads and were checked.
    pub sectors_read: u64,
    /// Sectors of writes that were acknowledged.
    pub sectors_written: u64,
    /// Announcements.
    pub announcements: u64,
    /// Copies of strict writes that were taken after their host had its answer:
    /// each would be a stale write if the node let a newer one pass.
    pub late_copies: u64,
}

/// See the module's header.
pub struct Oracle {
    ledger: Rc<Ledger>,
    disks: Vec<Rc<RefCell<Spindle>>>,
    exports: Vec<Export>,
    ports: Vec<PortView>,
    /// The disk that is the node's own, and the sectors that are its state's.
    own: Option<(usize, Range<u64>)>,
    /// Whether the node keeps its state now.
    keeps: bool,
    /// The oracle's time: one more at every observation.
    now: u64,
    asked: BTreeMap<u64, Asked>,
    /// Which request lies in the frame at an address.
    tokens: BTreeMap<u64, u64>,
    recent: VecDeque<u64>,
    /// When the reads under way were taken.
    reads: BTreeSet<u64>,
    logicals: BTreeMap<(Mac, Address, u32), Rc<Logical>>,
    /// What was counted.
    pub tally: Tally,
}

impl Oracle {
    /// An oracle for a node with these disks and exports.
    pub fn new(
        ledger: Rc<Ledger>,
        disks: Vec<Rc<RefCell<Spindle>>>,
        served: Vec<Served>,
        ports: Vec<(Mac, u16)>,
    ) -> Self {
        let exports = served
            .into_iter()
            .map(|served| {
                let disk = disks[served.disk].borrow().plan().sectors;
                let sectors = served.sectors.unwrap_or(disk - served.first) / 8 * 8;
                Export {
                    views: Views::new(View::of(&served)),
                    served,
                    capacities: vec![sectors],
                    histories: BTreeMap::new(),
                    losses: (0, 0),
                    unflushed: Vec::new(),
                }
            })
            .collect();
        Self {
            ledger,
            disks,
            exports,
            ports: ports
                .into_iter()
                .map(|(mac, mtu)| PortView {
                    mac,
                    mtu,
                    mtu_low: mtu,
                    mtu_high: mtu,
                })
                .collect(),
            own: None,
            keeps: false,
            now: 0,
            asked: BTreeMap::new(),
            tokens: BTreeMap::new(),
            recent: VecDeque::new(),
            reads: BTreeSet::new(),
            logicals: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// The node keeps what hosts set in these sectors of a disk of its own.
    pub fn set_own(&mut self, disk: usize, sectors: Range<u64>) {
        self.own = Some((disk, sectors));
    }

    /// The capacity of an export.
    pub fn capacity(&self, export: usize) -> u64 {
        *self.exports[export]
            .capacities
            .last()
            .expect("there is always one")
    }

    /// The addresses that are served.
    pub fn addresses(&self) -> Vec<Address> {
        self.exports
            .iter()
            .map(|export| export.served.address)
            .collect()
    }

    /// Whether the node has taken a request that changes what is set, and has not
    /// answered it.
    pub fn is_being_changed(&self) -> bool {
        self.exports.iter().any(|export| export.views.is_pending())
    }

    /// A port's link carries other frames from now on. Until the node starts
    /// anew, what suits the old size is right too: nobody knows when it looked.
    pub fn set_mtu(&mut self, port: usize, mtu: u16) {
        let port = &mut self.ports[port];
        port.mtu = mtu;
        port.mtu_low = port.mtu_low.min(mtu);
        port.mtu_high = port.mtu_high.max(mtu);
    }

    /// A disk has another size.
    pub fn resized(&mut self, disk: usize) {
        let sectors = self.disks[disk].borrow().plan().sectors;
        for export in &mut self.exports {
            if export.served.disk == disk && export.served.sectors.is_none() {
                export
                    .capacities
                    .push((sectors - export.served.first) / 8 * 8);
            }
        }
    }

    /// Somebody is locked out of an export, or an export is reserved.
    pub fn is_locked(&self) -> bool {
        self.exports.iter().any(|export| {
            let view = export.views.in_force();
            view.masks.len() > export.served.masks.len() || !view.reserved.is_empty()
        })
    }

    /// Whether a frame would change a sector outside `allowed`: for the rogue,
    /// who must not spoil what strict initiators own.
    pub fn would_change_outside(&self, frame: &[u8], allowed: impl Fn(usize, u64) -> bool) -> bool {
        let bytes = wire::untagged(frame);
        let Some(header) = Header::parse(&bytes) else {
            return false;
        };
        if header.response {
            return false;
        }
        match header.command {
            wire::MASK | wire::RESERVE => return true,
            wire::ATA => {}
            _ => return false,
        }
        let Some(ata) = Ata::parse(&header, &bytes) else {
            return false;
        };
        match ata.command {
            opcode::WRITE | opcode::WRITE_EXT => {
                let lba = if ata.command == opcode::WRITE {
                    ata.lba48() & 0x0fff_ffff
                } else {
                    ata.lba48()
                };
                self.exports.iter().enumerate().any(|(index, export)| {
                    header.address.covers(export.served.address)
                        && (lba..lba.saturating_add(ata.count.into()))
                            .any(|lba| !allowed(index, lba))
                })
            }
            opcode::DATA_SET | opcode::FEATURES => true,
            _ => false,
        }
    }

    // ---- What initiators say -------------------------------------------------

    /// A new write of an initiator. Strict: see the module's header.
    pub fn new_write(&self, strict: bool) -> Rc<Logical> {
        Rc::new(Logical {
            strict,
            over: Cell::new(false),
        })
    }

    /// The write goes out (again) under this tag.
    pub fn write_sent(&mut self, from: Mac, to: Address, tag: u32, logical: &Rc<Logical>) {
        let key = (from, to, tag);
        if logical.strict {
            self.logicals.insert(key, logical.clone());
        } else {
            // After 65,536 requests to one device Linux' tags begin anew.
            self.logicals.remove(&key);
        }
    }

    /// The initiator has its acknowledgement.
    pub fn write_received(&mut self, logical: &Rc<Logical>) {
        logical.over.set(true);
        if !logical.strict {
            return;
        }
        let now = self.now;
        for id in self.tokens.values() {
            let Some(asked) = self.asked.get_mut(id) else {
                continue;
            };
            for expect in asked.answers.iter_mut().flat_map(|a| &mut a.expects) {
                if let Expect::Write(change) = expect
                    && change.counted
                    && change
                        .logical
                        .as_ref()
                        .is_some_and(|other| Rc::ptr_eq(other, logical))
                {
                    close(&mut self.exports, change, now);
                }
            }
        }
    }

    // ---- What the node does --------------------------------------------------

    /// The node took a frame off the ring of `port`.
    pub fn polled(&mut self, port: usize, address: u64, frame: &[u8]) {
        self.now += 1;
        self.tally.requests += 1;
        if let Some(id) = self.tokens.remove(&address) {
            self.end(id);
        }
        let Some(asked) = self.ask(port, frame) else {
            return;
        };
        let id = self.now;
        self.ledger
            .say(|| format!("#{id} port {port} takes {}", asked.describe()));
        if asked
            .answers
            .iter()
            .flat_map(|answer| &answer.expects)
            .any(|expect| matches!(expect, Expect::Read { .. }))
        {
            self.reads.insert(id);
        }
        if asked.recent {
            self.recent.push_back(id);
        }
        self.asked.insert(id, asked);
        self.tokens.insert(address, id);
        let now_us = self.ledger.now_us();
        while let Some(&oldest) = self.recent.front() {
            let is_old = self
                .asked
                .get(&oldest)
                .is_none_or(|asked| asked.at_us + RECENT_US < now_us);
            if !is_old {
                break;
            }
            self.recent.pop_front();
            if !self.tokens.values().any(|&id| id == oldest) {
                self.asked.remove(&oldest);
                self.reads.remove(&oldest);
            }
        }
    }

    /// The node gave the frame at `address` back to a ring.
    pub fn returned(&mut self, address: u64) {
        self.now += 1;
        if let Some(id) = self.tokens.remove(&address) {
            self.ledger.say(|| format!("#{} drops {id}", self.now));
            self.end(id);
        }
    }

    /// The frame of a request went back: what it asked for can not happen later.
    fn end(&mut self, id: u64) {
        let Some(asked) = self.asked.get_mut(&id) else {
            return;
        };
        for expect in asked.answers.iter_mut().flat_map(|a| &mut a.expects) {
            match expect {
                Expect::Write(change) => close(&mut self.exports, change, self.now),
                Expect::Discard(changes) => {
                    for change in changes {
                        close(&mut self.exports, change, self.now);
                    }
                }
                _ => {}
            }
        }
        for answer in asked.answers.iter().filter(|answer| answer.left > 0) {
            self.exports[answer.export].views.end(id);
        }
        if !asked.recent {
            self.asked.remove(&id);
            self.reads.remove(&id);
        }
    }

    /// The node sent a frame; `address` is where it lies.
    pub fn sent(&mut self, port: usize, address: Option<u64>, frame: &[u8]) {
        self.now += 1;
        self.tally.replies += 1;
        self.ledger.say(|| {
            let id = address.and_then(|address| self.tokens.get(&address));
            let header = Header::parse(frame);
            let ata = header.and_then(|header| Ata::parse(&header, frame));
            let status = ata.map_or(0, |ata| ata.command);
            format!(
                "#{} port {port} answers {id:?}, status {status:02x}",
                self.now
            )
        });
        if let Err(what) = self.check(port, address, frame) {
            let head = &frame[..frame.len().min(64)];
            self.ledger.find(format!(
                "port {port} sent a frame of {} bytes: {what}; it starts {head:02x?}",
                frame.len()
            ));
        }
        if let Some(id) = address.and_then(|address| self.tokens.remove(&address)) {
            self.end(id);
        }
    }
}

fn close(exports: &mut [Export], change: &mut Change, now: u64) {
    if std::mem::take(&mut change.counted) {
        for (i, &value) in change.values.iter().enumerate() {
            exports[change.export]
                .history(change.lba + i as u64)
                .close(value, now);
        }
    }
}
