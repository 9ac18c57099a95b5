//! Clocks of a known rate that a machine may have, and the counter measured against one.
//!
//! Every PC has had the interval timer since the first one, but newer chipsets turn it
//! off to save power, and hypervisors leave it out. What they have instead the
//! firmware's tables name.

use super::Source;
use crate::arch::{self, Port};
use crate::memory::Memory;
use core::array;
use metal::acpi::Tables;
use metal::rate::{Rate, hz_of_period, passed};
use pci::{DeviceMemory, Registers};

/// The clock of the local timer as QEMU and KVM emulate it.
const LOCAL_HZ: u64 = 1_000_000_000;
/// The local timer counts at a sixteenth of it ([`arch::start_timer_count`]).
const LOCAL_UNITS_HZ: u64 = LOCAL_HZ / 16;
/// The interval timer's units a second.
const INTERVAL_HZ: u64 = 1_193_182;
/// The power management timer's units a second (ACPI 6.5, 4.8.3.3).
const POWER_HZ: u64 = 3_579_545;

/// How often a clock is read at each end; the quickest reading counts.
const READINGS: usize = 6;
/// Ticks of the counter after which a clock that has not moved at all is not
/// there: milliseconds on any processor, thousands of units.
const NOT_THERE_TICKS: u64 = 20_000_000;
/// Ticks after which we stop waiting for one that moves strangely.
const GIVE_UP_TICKS: u64 = 2_000_000_000;

/// The port with the gate of the interval timer's second channel.
const GATE: Port = Port(0x61);

/// Registers of the high precision timer (HPET 1.0a, 2.3.1).
mod precision {
    pub const BYTES: usize = 0x100;
    /// Femtoseconds of a unit: the upper half of GCAP_ID.
    pub const PERIOD: usize = 0x04;
    /// GEN_CONF.
    pub const CONFIG: usize = 0x10;
    /// ENABLE_CNF: it counts.
    pub const COUNTS: u32 = 1 << 0;
    /// The lower half of MAIN_CNT. Some have no other.
    pub const COUNT: usize = 0xf0;
}

/// One of them. It counts until it is dropped, and is then as it was before.
pub enum Reference {
    /// The local timer, under those whose local timer has a known clock.
    Local,
    /// The interval timer's second channel, which can be gated and read without an
    /// interrupt.
    Interval {
        /// What the gate's port had.
        before: u8,
    },
    /// The high precision timer.
    Precision {
        registers: DeviceMemory,
        hz: u64,
        /// What its configuration was.
        before: u32,
    },
    /// The power management timer, which counts always.
    Power(Port),
}

impl Reference {
    /// The local timer, if its clock is known.
    pub fn local() -> Option<Self> {
        let names = [b"TCGTCGTCGTCG", b"KVMKVMKVM\0\0\0"];
        names.into_iter().find_map(arch::hypervisor_leaves)?;
        Some(Self::Local)
    }

    /// The interval timer, whether or not there is one.
    pub fn interval() -> Self {
        let before = GATE.read();
        GATE.write(before & !0x02 | 0x01); // gate open, loudspeaker off
        Port(0x43).write(0b1011_0000); // channel 2, both bytes, mode 0
        Port(0x42).write(0xff);
        Port(0x42).write(0xff);
        Self::Interval { before }
    }

    /// The high precision timer, if `tables` name one.
    pub fn precision(tables: &Tables<'_, Memory>) -> Option<Self> {
        let registers = arch::map_device(tables.precision_timer()?, precision::BYTES)?;
        let read = |at| Registers::read(&registers, at);
        let hz = hz_of_period(read(precision::PERIOD))?;
        let before = read(precision::CONFIG);
        Registers::write(&registers, precision::CONFIG, before | precision::COUNTS);
        Some(Self::Precision {
            registers,
            hz,
            before,
        })
    }

    /// The power management timer, if `tables` name one.
    pub fn power(tables: &Tables<'_, Memory>) -> Option<Self> {
        Some(Self::Power(Port(tables.power()?.timer?)))
    }

    /// What the rate is known by, once it is.
    pub fn source(&self) -> Source {
        match self {
            Self::Local => Source::LocalTimer,
            Self::Interval { .. } => Source::IntervalTimer,
            Self::Precision { .. } => Source::PrecisionTimer,
            Self::Power(_) => Source::PowerTimer,
        }
    }

    fn hz(&self) -> u64 {
        match self {
            Self::Local => LOCAL_UNITS_HZ,
            Self::Interval { .. } => INTERVAL_HZ,
            Self::Precision { hz, .. } => *hz,
            Self::Power(_) => POWER_HZ,
        }
    }

    /// How long it is watched: the local timer, which is read in no time, for a
    /// millisecond, others for four.
    fn enough(&self) -> u64 {
        match self {
            Self::Local => self.hz() / 1000,
            _ => self.hz() / 250,
        }
    }

    /// After how many bits it begins again. The power management timer may have 32 and
    /// has 24 in any case.
    fn bits(&self) -> u32 {
        match self {
            Self::Local | Self::Precision { .. } => 32,
            Self::Interval { .. } => 16,
            Self::Power(_) => 24,
        }
    }

    /// Its count, upwards.
    fn read(&self, local: u32) -> u32 {
        match self {
            Self::Local => local,
            Self::Interval { .. } => {
                Port(0x43).write(0b1000_0000); // hold channel 2's count
                let down = [Port(0x42).read(), Port(0x42).read()];
                u32::from(!u16::from_le_bytes(down))
            }
            Self::Precision { registers, .. } => Registers::read(registers, precision::COUNT),
            Self::Power(port) => port.read_u32(),
        }
    }

    fn look(&self) -> Look {
        let before = arch::tsc();
        let count = arch::timer_count();
        let units = self.read(count);
        let took = arch::tsc() - before;
        Look {
            units,
            count,
            ticks: before + took / 2,
            took,
        }
    }

    /// A host may take the processor away in the middle of a look; of several, the
    /// quickest was disturbed least.
    fn quickest_look(&self) -> Look {
        let looks: [Look; READINGS] = array::from_fn(|_| self.look());
        looks
            .into_iter()
            .min_by_key(|look| look.took)
            .expect("there are several")
    }

    /// The counter against this clock; the local timer runs along. Gives the rate, and
    /// how far the local timer and the counter came. `None` if this clock does not run.
    pub fn measure(&self) -> Option<(Rate, u32, u64)> {
        arch::start_timer_count();
        let from = self.quickest_look();
        loop {
            let now = self.look();
            let units = passed(from.units, now.units, self.bits());
            if units >= self.enough() {
                break;
            }
            let ticks = now.ticks - from.ticks;
            if ticks > GIVE_UP_TICKS || units == 0 && ticks > NOT_THERE_TICKS {
                return None;
            }
        }
        let to = self.quickest_look();
        let ticks = to.ticks - from.ticks;
        let units = passed(from.units, to.units, self.bits());
        let rate = Rate::measured(ticks, units, self.hz())?;
        Some((rate, to.count.wrapping_sub(from.count), ticks))
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        match self {
            Self::Local | Self::Power(_) => {}
            Self::Interval { before } => GATE.write(*before),
            Self::Precision {
                registers, before, ..
            } => Registers::write(registers, precision::CONFIG, *before),
        }
    }
}

/// One look at the clocks and the counter.
#[derive(Clone, Copy)]
struct Look {
    /// The clock.
    units: u32,
    /// The local timer.
    count: u32,
    /// The counter, in the middle of the look.
    ticks: u64,
    /// How long the look took: how far `ticks` may be off.
    took: u64,
}
