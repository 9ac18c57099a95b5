//! The controller as a whole: taken over, reset, and its ports brought up.
//!
//! All ports come up side by side, so an empty port costs a few milliseconds
//! once and a drive that sleeps delays nobody but itself. Only where the
//! controller staggers spin-up do drives start one after another: someone built
//! a power supply for that. Between [`begin`] and [`Start::finish`] there is time for
//! the start of other devices.

use crate::Disk;
use crate::disk::Limits;
use crate::error::Error;
use crate::registers::{
    Capabilities, CapabilitiesMore, Control, Handoff, Hba, LinkStatus, PORTS_MAX, Port, Registers,
    hba, port,
};
use crate::revival::{NoDrive, Revival, Revived};
use crate::table::{self, Table};
use alloc::vec::Vec;
use core::hint::spin_loop;
use io::{Clock, Instant};

/// For the firmware to let go (AHCI 1.3.1, 10.6.3).
const HANDOFF_WAIT_US: u64 = 25_000;
/// For a firmware that says it is busy to let go.
const HANDOFF_BUSY_WAIT_US: u64 = 2_000_000;
/// For the controller to reset (AHCI 1.3.1, 10.4.3).
const RESET_WAIT_US: u64 = 1_000_000;

/// What a controller needs of its surroundings to come up.
pub trait Surroundings {
    /// How its registers are reached.
    type Registers: Registers;

    /// The registers once more; every port has its own way to them.
    fn registers(&mut self) -> Result<Self::Registers, Error>;

    /// Zeroed memory, for ever.
    fn dma(&mut self, bytes: usize, align: usize) -> Option<&'static mut [u8]>;

    /// How many frames a list must hold.
    fn frames(&self) -> usize;

    /// Where the controller sits.
    fn place(&self) -> pci::Address;

    /// Whether an interrupt reaches the node.
    fn has_interrupt(&self) -> bool;
}

/// What is there before and after the reset.
struct Found {
    capabilities: Capabilities,
    ports: u32,
    /// Ports that already had a link.
    linked: u32,
}

/// A port on its way up.
struct Rising<R> {
    port: Port<R>,
    table: Table,
    revival: Option<Revival>,
    ended: Option<Result<Revived, NoDrive>>,
    drive_seen: bool,
}

/// A controller whose ports are on their way up.
pub struct Start<R> {
    /// In order of the ports, whichever is ready first.
    rising: Vec<Result<Rising<R>, Error>>,
    staggered: bool,
    limits: Limits,
}

/// Brings up the controller and every drive it has.
pub fn bring_up<S: Surroundings, C: Clock + Clone>(
    surroundings: &mut S,
    clock: &C,
) -> Vec<Result<Disk<S::Registers, C>, Error>> {
    match begin(surroundings, clock) {
        Ok(start) => start.finish(clock),
        Err(error) => Vec::from([Err(error)]),
    }
}

fn take_over<S: Surroundings, C: Clock>(surroundings: &mut S, clock: &C) -> Result<Found, Error> {
    let hba = Hba(surroundings.registers()?);
    // Only this bit may be touched while it is off (AHCI 1.3.1, 3.1.2).
    if !hba.read(hba::CONTROL).contains(Control::AHCI) {
        hba.write(hba::CONTROL, Control::AHCI);
    }
    if hba.read(hba::CAPABILITIES).0 == u32::MAX {
        return Err(Error::NotAnswering);
    }
    hand_over(&hba, clock);

    // Both are set by the firmware, and some controllers forget them in a reset.
    let capabilities = hba.read(hba::CAPABILITIES);
    let ports = hba.read(hba::PORTS);
    let ports = (0..PORTS_MAX as u8)
        .filter(|&number| ports & 1 << number != 0 && hba.has_room_for(number))
        .fold(0, |ports, number| ports | 1 << number);
    let linked = linked_ports(surroundings, ports)?;

    hba.write(hba::CONTROL, Control::AHCI | Control::RESET);
    let until = clock.now() + RESET_WAIT_US;
    while hba.read(hba::CONTROL).contains(Control::RESET) {
        if clock.now() >= until {
            return Err(Error::NoReset {
                waited_ms: RESET_WAIT_US / 1000,
            });
        }
        spin_loop();
    }
    hba.write(hba::CONTROL, Control::AHCI);
    if hba.read(hba::PORTS) == 0 {
        hba.write(hba::PORTS, ports);
    }
    hba.write(hba::INTERRUPTS, u32::MAX);
    if surroundings.has_interrupt() {
        hba.write(hba::CONTROL, Control::AHCI | Control::INTERRUPTS);
    }
    Ok(Found {
        capabilities,
        ports,
        linked,
    })
}

/// Asks the firmware for the controller. One that never lets go is overruled:
/// the reset that follows is stronger.
fn hand_over<R: Registers>(hba: &Hba<R>, clock: &impl Clock) {
    if !hba
        .read(hba::CAPABILITIES_MORE)
        .contains(CapabilitiesMore::HANDOFF)
    {
        return;
    }
    hba.write(hba::HANDOFF, hba.read(hba::HANDOFF) | Handoff::WE_OWN);
    let start = clock.now();
    loop {
        let handoff = hba.read(hba::HANDOFF);
        let limit_us = if handoff.contains(Handoff::FIRMWARE_BUSY) {
            HANDOFF_BUSY_WAIT_US
        } else {
            HANDOFF_WAIT_US
        };
        if !handoff.contains(Handoff::FIRMWARE_OWNS) || clock.now().since_us(start) >= limit_us {
            return;
        }
        spin_loop();
    }
}

/// Which ports have a link now: their drives are worth a longer wait.
fn linked_ports<S: Surroundings>(surroundings: &mut S, ports: u32) -> Result<u32, Error> {
    let mut linked = 0;
    for number in numbers(ports) {
        let port = Port::new(surroundings.registers()?, number);
        if port.read(port::LINK_STATUS).detection() != LinkStatus::ABSENT {
            linked |= 1 << number;
        }
    }
    Ok(linked)
}

fn numbers(ports: u32) -> impl Iterator<Item = u8> {
    (0..PORTS_MAX as u8).filter(move |number| ports & 1 << number != 0)
}

/// Takes the controller over and lets its ports begin; waits for no drive.
pub fn begin<S: Surroundings>(
    surroundings: &mut S,
    clock: &impl Clock,
) -> Result<Start<S::Registers>, Error> {
    let found = take_over(surroundings, clock)?;
    let mut start = Start {
        rising: numbers(found.ports)
            .map(|number| prepare(surroundings, &found, number))
            .collect(),
        staggered: found.capabilities.has(Capabilities::STAGGERED_SPIN_UP),
        limits: Limits {
            slots: found.capabilities.slots(),
            ncq: found.capabilities.has(Capabilities::NCQ),
            wide_addresses: found.capabilities.has(Capabilities::WIDE_ADDRESSES),
            frames: surroundings.frames(),
            place: surroundings.place(),
            has_interrupt: surroundings.has_interrupt(),
        },
    };
    start.turn(clock.now());
    Ok(start)
}

impl<R: Registers> Start<R> {
    /// Waits until every port has come to an end, and returns what they hold.
    pub fn finish<C: Clock + Clone>(mut self, clock: &C) -> Vec<Result<Disk<R, C>, Error>> {
        // Ends, because every revival does.
        while self
            .rising
            .iter()
            .flatten()
            .any(|port| port.ended.is_none())
        {
            self.turn(clock.now());
            spin_loop();
        }
        let limits = &self.limits;
        let disk = |port: Result<Rising<R>, Error>| {
            port.map_or_else(
                |error| Some(Err(error)),
                |port| port.into_disk(clock, limits),
            )
        };
        self.rising.into_iter().filter_map(disk).collect()
    }

    /// Lets ports begin, all of them or the next one when none is on its way, and looks
    /// at those that have.
    fn turn(&mut self, now: Instant) {
        for port in self.rising.iter_mut().flatten() {
            port.advance(now);
            if self.staggered && port.ended.is_none() {
                break;
            }
        }
    }
}

fn prepare<S: Surroundings>(
    surroundings: &mut S,
    found: &Found,
    number: u8,
) -> Result<Rising<S::Registers>, Error> {
    let port = Port::new(surroundings.registers()?, number);
    let memory = surroundings
        .dma(table::BYTES, table::ALIGN)
        .ok_or(Error::NoMemory {
            port: number,
            bytes: table::BYTES,
        })?;
    let table = Table::new(memory);
    let end = table.list_address() + table::BYTES as u64;
    if end > 1 << 32 && !found.capabilities.has(Capabilities::WIDE_ADDRESSES) {
        return Err(Error::OutOfReach { port: number });
    }
    Ok(Rising {
        port,
        table,
        revival: None,
        ended: None,
        drive_seen: found.linked & 1 << number != 0,
    })
}

impl<R: Registers> Rising<R> {
    fn advance(&mut self, now: Instant) {
        let (port, table, seen) = (&self.port, &self.table, self.drive_seen);
        let revival = &mut self.revival;
        let revival = revival.get_or_insert_with(|| Revival::first(port, table, seen, now));
        if self.ended.is_none() {
            self.ended = revival.advance(port, table, now);
        }
    }

    /// What the port gives; nothing if it is empty.
    fn into_disk<C: Clock + Clone>(
        self,
        clock: &C,
        limits: &Limits,
    ) -> Option<Result<Disk<R, C>, Error>> {
        let port = self.port.number();
        match self.ended.expect("all have come to an end") {
            Ok(Revived::New(drive)) => Some(Ok(Disk::new(
                self.port,
                self.table,
                clock.clone(),
                drive,
                limits,
            ))),
            Ok(Revived::Same | Revived::Asked(_)) => {
                unreachable!("a first revival identifies the drive")
            }
            Err(NoDrive::Absent) => None,
            Err(reason) => Some(Err(Error::NoDrive { port, reason })),
        }
    }
}
