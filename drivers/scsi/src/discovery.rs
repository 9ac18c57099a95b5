//! Finding the disks behind an adapter: which units there are, and what each is.
//!
//! Questions go one after the other, with one frame of our own. A unit that was
//! just powered on answers the first ones with something it has to tell; it is
//! asked again. One that does not answer at all keeps the frame, and with it ends
//! the search: who knows what it still does.

use crate::adapter::{Adapter, Address, Answer, Data, End, Mark};
use crate::bus::Bus;
use crate::command::{Cdb, Opcode};
use crate::disk::Disk;
use crate::error::{Error, Skipped};
use crate::pages::{
    Caching, Capacity, Inquiry, name, serial, units, unmap_limit, vital, vital_page,
};
use crate::seat::Seat;
use crate::sense::{Key, Sense};
use crate::unit::{Unit, is_disk, is_usable};
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::hint::spin_loop;
use io::{DiscardLimits, Frame, SECTOR_BYTES, SLOT_BYTES, Text, WIRE, carve};
use pci::Resources;

/// How long a unit may take for one answer, getting ready included.
const ANSWER_MS: u64 = 5000;
/// How often a unit may have something to tell before it answers.
const ATTENTIONS_MAX: u32 = 16;
/// Bytes of a list of units: 63 of them and its head.
const UNITS_BYTES: usize = 512;
/// Bytes of any page.
const PAGE_BYTES: u16 = 255;
/// What the largest frame carries.
const TRANSFER_BYTES: u32 = (17 * SECTOR_BYTES) as u32;

/// Finds the disks behind `adapter`, at most `disks_max`, in the order of their
/// addresses. There is room for as many as make up `usual`, and for one more in any case,
/// that come later (see [`io::Disk::newcomer`]). A [`Skipped`] ends the sentence `00:04.0 virtio-scsi: ...`.
#[cold]
pub fn attach<A: Adapter>(
    mut adapter: A,
    resources: &mut impl Resources,
    disks_max: usize,
    usual: usize,
) -> Vec<Result<Disk<A>, Skipped>> {
    let first = Address { target: 0, unit: 0 };
    let skip = |address, error| vec![Err(Skipped { address, error })];
    if adapter.transfer_bytes_max() < TRANSFER_BYTES {
        let bytes = adapter.transfer_bytes_max();
        return skip(first, Error::TransferSize { bytes });
    }
    let mut asker = match frame(resources) {
        Ok(frame) => Asker {
            adapter: &mut adapter,
            resources,
            frame: Some(frame),
        },
        Err(error) => return skip(first, error),
    };
    let found = asker.search(disks_max);
    let (frames, now) = (resources.frames(), resources.now());
    let bus = Rc::new(RefCell::new(Bus::new(adapter, frames, now)));
    let found = found.into_iter().map(|(address, unit)| {
        let skipped = |error| Skipped { address, error };
        let unit = unit.map_err(skipped)?;
        let question = frame(resources).map_err(skipped)?;
        let (cache, serial) = (unit.geometry.write_cache, unit.identity.serial);
        let seat = Seat::new(address, serial, cache, frames, question);
        let seats = &mut bus.borrow_mut().seats;
        seats.push(seat);
        let index = seats.len() as u8 - 1;
        Ok((index, unit))
    });
    let found: Vec<_> = found.collect();
    let disks = bus.borrow().seats.len();
    for _ in 0..usual.saturating_sub(disks).max(1) {
        if let Ok(question) = frame(resources) {
            let seat = Seat::free(frames, question);
            bus.borrow_mut().seats.push(seat);
        }
    }
    let disk = |(index, unit)| Disk::new(bus.clone(), index, unit);
    found.into_iter().map(|found| found.map(disk)).collect()
}

/// A frame that is not one of the node's.
fn frame(resources: &mut impl Resources) -> Result<Frame, Error> {
    let bytes = SLOT_BYTES;
    let memory = resources.dma(bytes, 512);
    let frame = memory.and_then(|memory| carve(memory).next());
    frame.ok_or(Error::NoMemory { bytes })
}

/// Why a question has no answer.
#[derive(Clone, Copy)]
enum NoAnswer {
    /// There is nobody.
    Gone,
    /// The unit refuses.
    Refused(Sense),
    /// It, or the adapter, does not do what it should.
    Broken(Error),
}

impl NoAnswer {
    fn error(self, command: Opcode) -> Error {
        match self {
            Self::Gone => Error::NotCarried { command },
            Self::Refused(sense) => Error::Refused { command, sense },
            Self::Broken(error) => error,
        }
    }
}

/// What asking needs of an adapter. Called through a pointer: all of this runs once,
/// and need not be there once for every adapter.
trait Carrier {
    fn targets(&self) -> u16;
    fn send(&mut self, to: Address, cdb: &Cdb, data: Data, mark: Mark, frame: Frame);
    fn poll(&mut self) -> Option<Answer>;
}

impl<A: Adapter> Carrier for A {
    fn targets(&self) -> u16 {
        Adapter::targets(self)
    }

    fn send(&mut self, to: Address, cdb: &Cdb, data: Data, mark: Mark, frame: Frame) {
        Adapter::send(self, to, cdb, data, mark, frame);
        self.kick();
    }

    fn poll(&mut self) -> Option<Answer> {
        Adapter::poll(self)
    }
}

/// What the pages of vital product data say.
struct Vital {
    serial: Text<20>,
    wwn: Text<32>,
    discard: Option<DiscardLimits>,
}

/// Asks, and waits for the answer.
struct Asker<'a, R> {
    adapter: &'a mut dyn Carrier,
    resources: &'a mut R,
    /// `None` after a unit did not answer.
    frame: Option<Frame>,
}

impl<R: Resources> Asker<'_, R> {
    /// Every unit that is there.
    fn search(&mut self, disks_max: usize) -> Vec<(Address, Result<Unit, Error>)> {
        let mut found = Vec::new();
        let mut disks = 0;
        for target in 0..=u8::MAX {
            if u16::from(target) >= self.adapter.targets() || self.frame.is_none() {
                break;
            }
            for address in self.units_of(target, &mut found) {
                let unit = match self.identify(address) {
                    Ok(Some(_)) if disks == disks_max => Err(Error::TooMany {
                        units_max: disks_max,
                    }),
                    Ok(Some(unit)) => {
                        disks += 1;
                        Ok(unit)
                    }
                    Ok(None) => continue,
                    Err(error) => Err(error),
                };
                found.push((address, unit));
            }
        }
        found
    }

    /// The units of a target: as it lists them, or the first one if it does not
    /// know how to.
    fn units_of(
        &mut self,
        target: u8,
        found: &mut Vec<(Address, Result<Unit, Error>)>,
    ) -> Vec<Address> {
        let first = Address { target, unit: 0 };
        match self.ask(first, Cdb::report_units(UNITS_BYTES as u32), UNITS_BYTES) {
            Ok(answer) => {
                // Put into order one by one: the library's sort has many times the
                // code of this crate.
                let mut list = Vec::new();
                for unit in units(answer, target) {
                    if let Err(place) = list.binary_search(&unit) {
                        list.insert(place, unit);
                    }
                }
                list
            }
            Err(NoAnswer::Gone) => Vec::new(),
            Err(NoAnswer::Refused(_)) => vec![first],
            Err(NoAnswer::Broken(error)) => {
                found.push((first, Err(error)));
                Vec::new()
            }
        }
    }

    /// What is at an address. `None` if nothing is.
    fn identify(&mut self, at: Address) -> Result<Option<Unit>, Error> {
        let inquiry = match self.ask(at, Cdb::inquiry(None, PAGE_BYTES), PAGE_BYTES.into()) {
            Ok(page) => Inquiry::parse(page),
            Err(NoAnswer::Gone) => return Ok(None),
            Err(other) => return Err(other.error(Opcode::INQUIRY)),
        };
        if !is_disk(&inquiry)? {
            return Ok(None);
        }
        match self.ask(at, Cdb::test_unit_ready(), 0) {
            Err(NoAnswer::Refused(sense)) if sense.says_no_medium() => {
                return Err(Error::NoCapacity);
            }
            Err(other) => return Err(other.error(Opcode::TEST_UNIT_READY)),
            Ok(_) => {}
        }
        let capacity = is_usable(self.capacity(at)?)?;
        let caching = self.caching(at)?;
        let Vital {
            serial,
            wwn,
            discard,
        } = self.vital(at, &capacity)?;
        let unit = Unit::new(inquiry, serial, wwn, capacity, caching, discard);
        Ok(Some(unit))
    }

    fn capacity(&mut self, at: Address) -> Result<Capacity, Error> {
        let bytes = Capacity::LONG_BYTES;
        match self.ask(at, Cdb::read_capacity_16(bytes as u32), bytes) {
            Ok(answer) => return Capacity::parse_long(answer).ok_or(Error::NoCapacity),
            // An old disk knows the short form only.
            Err(NoAnswer::Refused(sense)) if sense.key == Key::ILLEGAL_REQUEST => {}
            Err(other) => return Err(other.error(Opcode::READ_CAPACITY_16)),
        }
        match self.ask(at, Cdb::read_capacity_10(), Capacity::SHORT_BYTES) {
            Ok(answer) => Capacity::parse_short(answer).ok_or(Error::NoCapacity),
            Err(other) => Err(other.error(Opcode::READ_CAPACITY_10)),
        }
    }

    fn caching(&mut self, at: Address) -> Result<Caching, Error> {
        const BYTES: u16 = 64;
        let mut caching = match self.ask(at, Cdb::mode_sense(Caching::PAGE, BYTES), BYTES.into()) {
            Ok(answer) => Caching::parse(answer),
            Err(NoAnswer::Refused(_)) => Caching {
                volatile: true,
                read_only: false,
            },
            Err(other) => return Err(other.error(Opcode::MODE_SENSE_10)),
        };
        if caching.volatile {
            // A unit that can not flush has nothing that could be flushed.
            match self.ask(at, Cdb::synchronize_cache(), 0) {
                Err(NoAnswer::Refused(sense)) if sense.says_unknown_operation() => {
                    caching.volatile = false;
                }
                Ok(_) | Err(NoAnswer::Refused(_)) => {}
                Err(other) => return Err(other.error(Opcode::SYNCHRONIZE_CACHE_10)),
            }
        }
        Ok(caching)
    }

    /// Names, and what can be forgotten.
    fn vital(&mut self, at: Address, capacity: &Capacity) -> Result<Vital, Error> {
        let mut list = [0; PAGE_BYTES as usize];
        let listed = self.page(at, vital::LIST, &mut list)?;
        let has = |page: u8| list[..listed].contains(&page);
        let mut page = [0; PAGE_BYTES as usize];
        let mut found = Vital {
            serial: Text::EMPTY,
            wwn: Text::EMPTY,
            discard: None,
        };
        if has(vital::SERIAL) {
            let bytes = self.page(at, vital::SERIAL, &mut page)?;
            found.serial = serial(&page[..bytes]);
        }
        if has(vital::NAMES) {
            let bytes = self.page(at, vital::NAMES, &mut page)?;
            found.wwn = name(&page[..bytes]);
        }
        if !capacity.provisioned || !has(vital::LIMITS) || !has(vital::PROVISIONING) {
            return Ok(found);
        }
        let limits_bytes = self.page(at, vital::LIMITS, &mut page)?;
        let limits = page;
        let bytes = self.page(at, vital::PROVISIONING, &mut page)?;
        found.discard = unmap_limit(&limits[..limits_bytes], &page[..bytes]);
        Ok(found)
    }

    /// Reads the body of a vital page and says how long it is; empty if the unit
    /// does not have it.
    fn page(
        &mut self,
        at: Address,
        page: u8,
        body: &mut [u8; PAGE_BYTES as usize],
    ) -> Result<usize, Error> {
        match self.ask(at, Cdb::inquiry(Some(page), PAGE_BYTES), PAGE_BYTES.into()) {
            Ok(answer) => {
                let found = vital_page(answer, page).unwrap_or_default();
                body[..found.len()].copy_from_slice(found);
                Ok(found.len())
            }
            Err(NoAnswer::Refused(_)) => Ok(0),
            Err(other) => Err(other.error(Opcode::INQUIRY)),
        }
    }

    /// Asks until there is an answer that means something. `bytes` is how much of
    /// one is read.
    fn ask(&mut self, to: Address, cdb: Cdb, bytes: usize) -> Result<&[u8], NoAnswer> {
        let silent = NoAnswer::Broken(Error::Silent {
            command: cdb.opcode(),
            waited_ms: ANSWER_MS,
        });
        let deadline = self.resources.now() + ANSWER_MS * 1000;
        let mut attentions = 0;
        loop {
            let mut frame = self.frame.take().ok_or(silent)?;
            frame.buffer_mut()[..bytes].fill(0);
            let data = match bytes {
                0 => Data::None,
                bytes => Data::In { at: WIRE, bytes },
            };
            let since = self.resources.now();
            let mark = Mark {
                disk: u8::MAX,
                request: None,
                since,
                tries: 0,
            };
            self.adapter.send(to, &cdb, data, mark, frame);
            let answer = loop {
                if let Some(answer) = self.adapter.poll() {
                    break answer;
                }
                if self.resources.now() > deadline {
                    return Err(silent);
                }
                spin_loop();
            };
            self.frame = Some(answer.frame);
            let is_over = self.resources.now() > deadline;
            match answer.end {
                End::Good { missing } => {
                    let came = bytes.saturating_sub(missing as usize);
                    let frame = self.frame.as_mut().expect("it has just come back");
                    return Ok(&frame.buffer_mut()[..came]);
                }
                End::Check(sense)
                    if sense.key == Key::UNIT_ATTENTION && attentions < ATTENTIONS_MAX =>
                {
                    attentions += 1;
                }
                End::Check(sense) if sense.says_wait() && !is_over => {}
                End::Busy if !is_over => {}
                End::Check(sense) => return Err(NoAnswer::Refused(sense)),
                End::Gone => return Err(NoAnswer::Gone),
                End::Busy => return Err(silent),
                End::Failed => {
                    return Err(NoAnswer::Broken(Error::NotCarried {
                        command: cdb.opcode(),
                    }));
                }
            }
        }
    }
}
