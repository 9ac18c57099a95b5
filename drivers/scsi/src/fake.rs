//! An adapter with a shelf of units, for tests: stricter than hardware.
//!
//! It answers only after a kick, in an order that the test may choose, checks every
//! command it understands to the last byte, and can be told to answer anything
//! else: any sense, busy, gone, silence, or to stop with everything it holds.

extern crate std;

use crate::adapter::{Adapter, Address, Answer, Data, End, Mark, Notice};
use crate::command::{Cdb, Opcode};
use crate::sense::{Key, Sense};
use io::{Frame, Instant, SECTOR_BYTES, SLOT_BYTES, WIRE, carve};
use pci::{DeviceMemory, Message, Resources};
use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

/// What a unit is.
#[derive(Clone, Debug)]
pub struct Unit {
    pub kind: u8,
    pub removable: bool,
    pub serial: &'static str,
    pub sectors: u64,
    pub block_bytes: u32,
    pub write_cache: bool,
    pub read_only: bool,
    pub unmaps: bool,
    /// Commands that it does not know.
    pub unknown: Vec<Opcode>,
    /// What it has to say before it does anything: one for each command.
    pub attentions: VecDeque<End>,
    pub medium: BTreeMap<u64, [u8; SECTOR_BYTES]>,
    pub flushes: u32,
    pub silent: bool,
}

impl Unit {
    pub fn new(serial: &'static str) -> Self {
        Self {
            kind: 0,
            removable: false,
            serial,
            sectors: 4096,
            block_bytes: 512,
            write_cache: true,
            read_only: false,
            unmaps: true,
            unknown: Vec::new(),
            attentions: VecDeque::new(),
            medium: BTreeMap::new(),
            flushes: 0,
            silent: false,
        }
    }
}

struct Sent {
    to: Address,
    cdb: Cdb,
    data: Data,
    mark: Mark,
    frame: Frame,
}

#[derive(Default)]
struct Inner {
    units: BTreeMap<Address, Unit>,
    sent: VecDeque<Sent>,
    seen: VecDeque<Sent>,
    notices: VecDeque<Notice>,
    stopped: bool,
    /// Answers the last one first.
    backwards: bool,
    /// Does not tell of units that come.
    keeps_quiet: bool,
    transfer_bytes_max: u32,
}

/// The shelf, as a test sees it.
#[derive(Clone, Default)]
pub struct Shelf(Rc<RefCell<Inner>>);

/// The shelf, as the driver sees it.
pub struct FakeAdapter(Rc<RefCell<Inner>>);

pub fn refuse(key: Key, code: u8, qualifier: u8) -> End {
    End::Check(Sense {
        key,
        code,
        qualifier,
    })
}

impl Shelf {
    pub fn new() -> Self {
        let shelf = Self::default();
        shelf.0.borrow_mut().transfer_bytes_max = 1 << 20;
        shelf
    }

    pub fn adapter(&self) -> FakeAdapter {
        FakeAdapter(self.0.clone())
    }

    pub fn put(&self, target: u8, unit: u16, what: Unit) {
        let address = Address { target, unit };
        self.0.borrow_mut().units.insert(address, what);
    }

    pub fn take_away(&self, target: u8, unit: u16) {
        let address = Address { target, unit };
        self.0.borrow_mut().units.remove(&address);
    }

    pub fn change<R>(&self, target: u8, unit: u16, change: impl FnOnce(&mut Unit) -> R) -> R {
        let mut inner = self.0.borrow_mut();
        let unit = inner.units.get_mut(&Address { target, unit });
        change(unit.expect("it was put there"))
    }

    pub fn notice(&self, notice: Notice) {
        self.0.borrow_mut().notices.push_back(notice);
    }

    pub fn stop(&self) {
        self.0.borrow_mut().stopped = true;
    }

    pub fn keep_quiet(&self) {
        self.0.borrow_mut().keeps_quiet = true;
    }

    pub fn answer_backwards(&self) {
        self.0.borrow_mut().backwards = true;
    }

    pub fn move_at_most(&self, bytes: u32) {
        self.0.borrow_mut().transfer_bytes_max = bytes;
    }
}

impl Inner {
    fn answer(&mut self, mut sent: Sent) -> Option<Answer> {
        let end = self.end_of(&sent.to, &sent.cdb, sent.data, &mut sent.frame)?;
        Some(Answer {
            frame: sent.frame,
            mark: sent.mark,
            end,
        })
    }

    /// What the unit answers; `None` for silence.
    fn end_of(&mut self, to: &Address, cdb: &Cdb, data: Data, frame: &mut Frame) -> Option<End> {
        let good = |missing: usize| {
            Some(End::Good {
                missing: missing as u32,
            })
        };
        let is_report = cdb.opcode() == Opcode::REPORT_LUNS;
        let target_is_there = self.units.keys().any(|address| address.target == to.target);
        if !target_is_there {
            return Some(End::Gone);
        }
        if is_report {
            let list: Vec<u16> = self
                .units
                .keys()
                .filter(|address| address.target == to.target)
                .map(|address| address.unit)
                .collect();
            let mut answer = ((list.len() * 8) as u32).to_be_bytes().to_vec();
            answer.extend([0; 4]);
            for unit in list {
                answer.extend(unit.to_be_bytes());
                answer.extend([0; 6]);
            }
            return good(fill(frame, data, &answer));
        }
        let Some(unit) = self.units.get_mut(to) else {
            return Some(refuse(Key::ILLEGAL_REQUEST, 0x25, 0));
        };
        if unit.silent {
            return None;
        }
        let opcode = cdb.opcode();
        // INQUIRY is answered whatever there is to say (SPC-5, 5.8).
        if opcode != Opcode::INQUIRY
            && let Some(attention) = unit.attentions.pop_front()
        {
            return Some(attention);
        }
        if unit.unknown.contains(&opcode) {
            return Some(refuse(Key::ILLEGAL_REQUEST, 0x20, 0));
        }
        let command = cdb.bytes();
        match opcode {
            Opcode::TEST_UNIT_READY => {
                assert_eq!(data, Data::None);
                if unit.sectors == 0 {
                    return Some(refuse(Key::NOT_READY, 0x3a, 0));
                }
                good(0)
            }
            Opcode::INQUIRY => {
                let answer = match (command[1], command[2]) {
                    (0, 0) => inquiry(unit),
                    (1, page) => vital(unit, page),
                    other => panic!("inquiry {other:?}"),
                };
                good(fill(frame, data, &answer))
            }
            Opcode::READ_CAPACITY_16 => {
                assert_eq!((command.len(), command[1]), (16, 0x10));
                let mut answer = [0; 32];
                answer[..8].copy_from_slice(&unit.sectors.wrapping_sub(1).to_be_bytes());
                answer[8..12].copy_from_slice(&unit.block_bytes.to_be_bytes());
                answer[13] = 3;
                answer[14] = if unit.unmaps { 0x80 } else { 0 };
                good(fill(frame, data, &answer))
            }
            Opcode::READ_CAPACITY_10 => {
                let last = u32::try_from(unit.sectors - 1).unwrap_or(u32::MAX);
                let answer = [last.to_be_bytes(), unit.block_bytes.to_be_bytes()].concat();
                good(fill(frame, data, &answer))
            }
            Opcode::MODE_SENSE_10 => {
                assert_eq!((command[1], command[2]), (8, 8));
                let mut answer = vec![0; 28];
                answer[3] = if unit.read_only { 0x80 } else { 0 };
                answer[8] = 8;
                answer[9] = 18;
                answer[10] = if unit.write_cache { 4 } else { 0 };
                good(fill(frame, data, &answer))
            }
            Opcode::READ_10 | Opcode::READ_16 | Opcode::WRITE_10 | Opcode::WRITE_16 => {
                transfer(unit, cdb, data, frame)
            }
            Opcode::SYNCHRONIZE_CACHE_10 => {
                assert_eq!(command[1..], [0; 9], "all of it");
                unit.flushes += 1;
                good(0)
            }
            Opcode::UNMAP => {
                let Data::Out { at, bytes: 24 } = data else {
                    panic!("unmap with {data:?}");
                };
                let list = &frame.scratch()[at..at + 24];
                assert_eq!(list[..8], [0, 22, 0, 16, 0, 0, 0, 0]);
                let first = u64::from_be_bytes(list[8..16].try_into().expect("eight"));
                let count = u32::from_be_bytes(list[16..20].try_into().expect("four"));
                for sector in first..first + u64::from(count) {
                    unit.medium.remove(&sector);
                }
                good(0)
            }
            other => panic!("command {other:?}"),
        }
    }
}

/// Puts an answer where the command wants it. Returns what is missing.
fn fill(frame: &mut Frame, data: Data, answer: &[u8]) -> usize {
    let Data::In { at, bytes } = data else {
        panic!("an answer without room");
    };
    let moved = bytes.min(answer.len());
    let at = at.checked_sub(WIRE).expect("behind the scratch");
    frame.buffer_mut()[at..at + moved].copy_from_slice(&answer[..moved]);
    bytes - moved
}

fn inquiry(unit: &Unit) -> Vec<u8> {
    let mut page = vec![0; 36];
    page[0] = unit.kind;
    page[1] = if unit.removable { 0x80 } else { 0 };
    page[8..16].copy_from_slice(b"MODEL   ");
    page[16..32].copy_from_slice(b"DISK            ");
    page[32..].copy_from_slice(b"1.0 ");
    page
}

fn vital(unit: &Unit, page: u8) -> Vec<u8> {
    let body = match page {
        0x00 => vec![0x00, 0x80, 0x83, 0xb0, 0xb2],
        0x80 => unit.serial.as_bytes().to_vec(),
        // A text of the maker's, the port's name, and two of the unit's own.
        0x83 => [
            &[2, 1, 0, 4][..],
            b"text",
            &[1, 0x13, 0, 8, 0x50, 9, 9, 9, 9, 9, 9, 9],
            &[1, 2, 0, 8, 0x00, 0x25, 0x38, 1, 2, 3, 4, 5],
            &[1, 3, 0, 8, 0x50, 0x00, 0xc5, 1, 2, 3, 4, 5],
        ]
        .concat(),
        0xb0 => {
            let mut body = vec![0; 60];
            body[16..20].copy_from_slice(&2048_u32.to_be_bytes());
            body[20..24].copy_from_slice(&8_u32.to_be_bytes());
            body
        }
        0xb2 => vec![0, 0x80, 0, 0],
        other => panic!("page {other:x}"),
    };
    let mut answer = vec![unit.kind, page];
    answer.extend((body.len() as u16).to_be_bytes());
    answer.extend(body);
    answer
}

fn transfer(unit: &mut Unit, cdb: &Cdb, data: Data, frame: &mut Frame) -> Option<End> {
    let command = cdb.bytes();
    let (lba, count) = if command.len() == 10 {
        let lba = u32::from_be_bytes(command[2..6].try_into().expect("four"));
        let count = u16::from_be_bytes(command[7..9].try_into().expect("two"));
        (u64::from(lba), u32::from(count))
    } else {
        let lba = u64::from_be_bytes(command[2..10].try_into().expect("eight"));
        let count = u32::from_be_bytes(command[10..14].try_into().expect("four"));
        (lba, count)
    };
    let writes = matches!(cdb.opcode(), Opcode::WRITE_10 | Opcode::WRITE_16);
    let (at, bytes) = match data {
        Data::In { at, bytes } if !writes => (at, bytes),
        Data::Out { at, bytes } if writes => (at, bytes),
        other => panic!("{:?} with {other:?}", cdb.opcode()),
    };
    assert_eq!(bytes, count as usize * SECTOR_BYTES, "as long as it says");
    if lba + u64::from(count) > unit.sectors {
        return Some(refuse(Key::ILLEGAL_REQUEST, 0x21, 0));
    }
    let at = at - WIRE;
    for (place, sector) in (at..at + bytes).step_by(SECTOR_BYTES).zip(lba..) {
        let bytes = &mut frame.buffer_mut()[place..place + SECTOR_BYTES];
        if writes {
            let bytes = (&*bytes).try_into().expect("a sector");
            unit.medium.insert(sector, bytes);
        } else {
            let zero = [0; SECTOR_BYTES];
            bytes.copy_from_slice(unit.medium.get(&sector).unwrap_or(&zero));
        }
    }
    Some(End::Good { missing: 0 })
}

impl Adapter for FakeAdapter {
    fn targets(&self) -> u16 {
        256
    }

    fn transfer_bytes_max(&self) -> u32 {
        self.0.borrow().transfer_bytes_max
    }

    fn is_running(&self) -> bool {
        !self.0.borrow().stopped
    }

    fn send(&mut self, to: Address, cdb: &Cdb, data: Data, mark: Mark, frame: Frame) {
        assert!(self.is_running(), "only while it runs");
        let sent = Sent {
            to,
            cdb: *cdb,
            data,
            mark,
            frame,
        };
        self.0.borrow_mut().sent.push_back(sent);
    }

    fn poll(&mut self) -> Option<Answer> {
        let mut inner = self.0.borrow_mut();
        if inner.stopped {
            let held = inner.seen.pop_front().or_else(|| inner.sent.pop_front())?;
            return Some(Answer {
                frame: held.frame,
                mark: held.mark,
                end: End::Failed,
            });
        }
        for _ in 0..inner.seen.len() {
            let backwards = inner.backwards;
            let next = if backwards {
                inner.seen.pop_back()
            } else {
                inner.seen.pop_front()
            }?;
            let is_silent = inner.units.get(&next.to).is_some_and(|unit| unit.silent);
            if is_silent {
                // It stays where it is.
                if backwards {
                    inner.seen.push_front(next);
                } else {
                    inner.seen.push_back(next);
                }
                continue;
            }
            return inner.answer(next);
        }
        None
    }

    fn lent<R>(&self, wanted: impl Fn(&Mark) -> bool, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let inner = self.0.borrow();
        let mut all = inner.sent.iter().chain(&inner.seen);
        all.find(|sent| wanted(&sent.mark))
            .map(|sent| look(&sent.frame))
    }

    fn kick(&mut self) {
        let mut inner = self.0.borrow_mut();
        let sent = core::mem::take(&mut inner.sent);
        inner.seen.extend(sent);
    }

    fn tick(&mut self, _: Instant) {}

    fn tells_of_units(&self) -> bool {
        !self.0.borrow().keeps_quiet
    }

    fn notice(&mut self) -> Option<Notice> {
        self.0.borrow_mut().notices.pop_front()
    }

    fn arm(&mut self) -> bool {
        false
    }

    fn disarm(&mut self) {}

    fn name(&self) -> &str {
        "00:05.0 fake-scsi"
    }
}

/// What the machine lends: memory for ever, and time that passes when it is asked
/// for.
pub struct Machine {
    now: Cell<u64>,
    pub frames: usize,
}

impl Machine {
    pub fn new(frames: usize) -> Self {
        Self {
            now: Cell::new(0),
            frames,
        }
    }
}

/// Zeroed memory for ever, aligned to a page.
fn lend(bytes: usize) -> &'static mut [u8] {
    let memory = Box::leak(vec![0_u8; bytes + 4096].into_boxed_slice());
    let skip = memory.as_ptr().align_offset(4096);
    &mut memory[skip..skip + bytes]
}

/// `count` frames.
pub fn frames(count: usize) -> Vec<Frame> {
    carve(lend(count * SLOT_BYTES)).collect()
}

impl Resources for Machine {
    /// Every look at the clock takes a millisecond, so every deadline comes.
    fn now(&self) -> Instant {
        self.now.set(self.now.get() + 1000);
        Instant(self.now.get())
    }

    fn frames(&self) -> usize {
        self.frames
    }

    fn dma(&mut self, bytes: usize, _: usize) -> Option<&'static mut [u8]> {
        Some(lend(bytes))
    }

    fn map(&mut self, _: u64, _: usize) -> Option<DeviceMemory> {
        None
    }

    fn message(&mut self) -> Option<Message> {
        None
    }

    fn bus_range(&mut self, _: u64) -> Option<u64> {
        None
    }
}
