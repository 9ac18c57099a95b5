//! Time: the processor's counter, and how fast it runs.
//!
//! The rate is asked for, not waited for, where somebody knows it: the processor
//! itself (CPUID 15h), the hypervisor (its timing leaf, or kvmclock). Otherwise
//! it is measured for a few milliseconds: against the local interrupt controller's
//! timer where its clock is known, else against the interval timer that every PC
//! has had since the first one.

use crate::arch::{self, Port, Timer};
use core::sync::atomic::{AtomicU64, Ordering, fence};
use io::Instant;
use metal::rate::Rate;
use spin::Once;

/// The interval timer's units a second.
const PIT_HZ: u64 = 1_193_182;
/// How long it is watched: 4 ms.
const PIT_UNITS: u64 = PIT_HZ / 250;
/// How often the timer is read at each end; the quickest reading counts.
const READINGS: usize = 6;
/// Ticks of the counter after which a timer that has not moved at all is not
/// there: milliseconds on any processor, thousands of units.
const NOT_THERE_TICKS: u64 = 20_000_000;
/// Ticks after which we stop waiting for one that moves strangely.
const GIVE_UP_TICKS: u64 = 2_000_000_000;
/// How long the counter is watched against the local timer: a millisecond of the
/// clock below, which counts at a sixteenth.
const LOCAL_UNITS: u32 = (LOCAL_HZ / 16 / 1000) as u32;
/// The clock of the local timer as QEMU and KVM emulate it.
const LOCAL_HZ: u64 = 1_000_000_000;
/// How long the local timer is compared with the counter when nothing else is
/// to be measured.
const COMPARE_US: u64 = 500;

/// How the rate became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The processor or the hypervisor said it.
    Told,
    /// It was measured.
    Measured,
    /// Nobody knew; a guess, so that the node serves.
    Guessed,
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: u64,
    rate: Rate,
    /// How it became known.
    pub source: Source,
}

impl io::Clock for Clock {
    fn now(&self) -> Instant {
        Instant(self.rate.us(arch::tsc().saturating_sub(self.start)))
    }
}

impl Clock {
    /// Finds the rates of the counter and of the local timer. Time starts at
    /// `start`, a value of the counter.
    #[cold]
    pub fn new(start: u64) -> (Self, Timer) {
        let told = processor_says().or_else(hypervisor_says).or_else(kvm_says);
        let (rate, source, count, ticks) = match told {
            Some(rate) => {
                let (count, ticks) = compare_timer(rate.ticks(COMPARE_US));
                (rate, Source::Told, count, ticks)
            }
            None => match measure_locally().or_else(measure) {
                Some((rate, count, ticks)) => (rate, Source::Measured, count, ticks),
                None => {
                    let rate = Rate::new(2_000_000_000).expect("a usual processor");
                    let (count, ticks) = compare_timer(rate.ticks(COMPARE_US));
                    (rate, Source::Guessed, count, ticks)
                }
            },
        };
        let clock = Self {
            start,
            rate,
            source,
        };
        (clock, Timer::new(count, ticks))
    }

    /// Ticks of the counter in `us` microseconds.
    pub fn ticks(&self, us: u64) -> u64 {
        self.rate.ticks(us)
    }

    /// Ticks of the counter in a second.
    pub fn hz(&self) -> u64 {
        self.rate.hz()
    }
}

/// CPUID 15h: the counter as a multiple of a crystal (Intel SDM 2A).
fn processor_says() -> Option<Rate> {
    let leaf = arch::cpuid(0x15);
    let (denominator, numerator, crystal_hz) = (leaf.eax, leaf.ebx, leaf.ecx);
    if denominator == 0 || numerator == 0 || crystal_hz == 0 {
        return None;
    }
    Rate::new(u64::from(crystal_hz) * u64::from(numerator) / u64::from(denominator))
}

/// The timing leaf that several hypervisors have: kHz.
fn hypervisor_says() -> Option<Rate> {
    if arch::cpuid(0x4000_0000).eax < 0x4000_0010 {
        return None;
    }
    Rate::new(u64::from(arch::cpuid(0x4000_0010).eax) * 1000)
}

/// What kvmclock fills in (Linux, virt/kvm/x86/msr.rst).
#[repr(C, align(64))]
struct KvmTime {
    version: u32,
    pad: u32,
    tsc: u64,
    system_ns: u64,
    multiplier: u32,
    shift: i8,
    flags: u8,
    pad_end: [u8; 2],
}

/// Asks KVM for one reading of its clock, for the scale in it.
fn kvm_says() -> Option<Rate> {
    const NEW_MSRS: u32 = 1 << 3;
    const SYSTEM_TIME: u32 = 0x4b56_4d01;
    let base = arch::hypervisor_leaves(b"KVMKVMKVM\0\0\0")?;
    if arch::cpuid(base + 1).eax & NEW_MSRS == 0 {
        return None;
    }
    let mut time = KvmTime {
        version: 0,
        pad: 0,
        tsc: 0,
        system_ns: 0,
        multiplier: 0,
        shift: 0,
        flags: 0,
        pad_end: [0; 2],
    };
    let place = &raw mut time;
    // SAFETY: KVM says that it has the register. It writes into `time`, which
    // lives until the register is set back below, and only before it runs us
    // again.
    unsafe { arch::write_msr(SYSTEM_TIME, place.expose_provenance() as u64 | 1) };
    // KVM writes on its way back into the guest, so it is there by now; the
    // fence keeps our reads behind the write above.
    fence(Ordering::SeqCst);
    // SAFETY: `time` is alive, and nobody writes while we run.
    let time = unsafe { place.read_volatile() };
    // SAFETY: stops what was started above.
    unsafe { arch::write_msr(SYSTEM_TIME, 0) };
    Rate::scaled(time.multiplier, time.shift)
}

/// The counter against the local timer, under those whose local timer has a known
/// clock. Gives the rate, and how far both came.
fn measure_locally() -> Option<(Rate, u32, u64)> {
    let names = [b"TCGTCGTCGTCG", b"KVMKVMKVM\0\0\0"];
    names.into_iter().find_map(arch::hypervisor_leaves)?;
    arch::start_timer_count();
    let from = quickest_reading(read_local_timer);
    while arch::timer_count().wrapping_sub(from.count) < LOCAL_UNITS {
        if arch::tsc() - from.ticks > GIVE_UP_TICKS {
            return None;
        }
    }
    let to = quickest_reading(read_local_timer);
    let (count, ticks) = (to.count.wrapping_sub(from.count), to.ticks - from.ticks);
    let rate = Rate::measured(ticks, count.into(), LOCAL_HZ / 16)?;
    Some((rate, count, ticks))
}

/// The counter against the interval timer's second channel, which can be gated
/// and read without an interrupt; the local timer runs along. Gives the rate,
/// and how far the local timer and the counter came.
fn measure() -> Option<(Rate, u32, u64)> {
    const GATE: Port = Port(0x61);
    let before = GATE.read();
    GATE.write(before & !0x02 | 0x01); // gate open, loudspeaker off
    Port(0x43).write(0b1011_0000); // channel 2, both bytes, mode 0
    Port(0x42).write(0xff);
    Port(0x42).write(0xff);
    arch::start_timer_count();
    let measured = watch_interval_timer();
    GATE.write(before);
    measured
}

fn watch_interval_timer() -> Option<(Rate, u32, u64)> {
    let from = quickest_reading(read_interval_timer);
    // Read until the time is over, or the timer turns out not to move.
    loop {
        let now = read_interval_timer();
        let units = u64::from(from.units.wrapping_sub(now.units));
        if units >= PIT_UNITS {
            break;
        }
        let passed = now.ticks - from.ticks;
        if passed > GIVE_UP_TICKS || units == 0 && passed > NOT_THERE_TICKS {
            return None;
        }
    }
    let to = quickest_reading(read_interval_timer);
    let units = u64::from(from.units.wrapping_sub(to.units));
    let ticks = to.ticks - from.ticks;
    let rate = Rate::measured(ticks, units, PIT_HZ)?;
    Some((rate, to.count.wrapping_sub(from.count), ticks))
}

/// One look at the timers and the counter.
#[derive(Clone, Copy)]
struct Reading {
    /// The interval timer, counting down.
    units: u16,
    /// The local timer.
    count: u32,
    /// The counter, in the middle of the look.
    ticks: u64,
    /// How long the look took: how far `ticks` may be off.
    took: u64,
}

fn read_interval_timer() -> Reading {
    let before = arch::tsc();
    Port(0x43).write(0b1000_0000); // hold channel 2's count
    let units = u16::from_le_bytes([Port(0x42).read(), Port(0x42).read()]);
    let count = arch::timer_count();
    let took = arch::tsc() - before;
    Reading {
        units,
        count,
        ticks: before + took / 2,
        took,
    }
}

fn read_local_timer() -> Reading {
    let before = arch::tsc();
    let count = arch::timer_count();
    let took = arch::tsc() - before;
    Reading {
        units: 0,
        count,
        ticks: before + took / 2,
        took,
    }
}

/// A host may take the processor away in the middle of a look; of several, the
/// quickest was disturbed least.
fn quickest_reading(read: fn() -> Reading) -> Reading {
    let readings = [(); READINGS].map(|()| read());
    readings
        .into_iter()
        .min_by_key(|reading| reading.took)
        .expect("there are several")
}

/// How far the local timer comes in at least `ticks` of the counter, and how far
/// the counter came then.
fn compare_timer(ticks: u64) -> (u32, u64) {
    arch::start_timer_count();
    let from = arch::tsc();
    let from_count = arch::timer_count();
    loop {
        let passed = arch::tsc().saturating_sub(from);
        if passed >= ticks {
            return (arch::timer_count().wrapping_sub(from_count), passed);
        }
    }
}

/// The counter's rate for those who have no clock: the report of a panic.
static HZ: AtomicU64 = AtomicU64::new(2_000_000_000);

/// The clock, for those that cannot carry it with them.
static CLOCK: Once<Clock> = Once::new();

/// Notes the clock for [`now`] and [`wait_seconds`].
pub fn remember(clock: &Clock) {
    HZ.store(clock.hz(), Ordering::Relaxed);
    CLOCK.call_once(|| *clock);
}

/// The time, and the start of time until there is a clock.
pub fn now() -> Instant {
    CLOCK.get().map_or(Instant(0), io::Clock::now)
}

/// Waits, without an interrupt.
pub fn wait_seconds(seconds: u64) {
    let from = arch::tsc();
    let ticks = HZ.load(Ordering::Relaxed).saturating_mul(seconds);
    while arch::tsc().saturating_sub(from) < ticks {
        core::hint::spin_loop();
    }
}
