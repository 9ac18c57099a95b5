//! Time: the processor's counter, and how fast it runs.
//!
//! The rate is asked for, not waited for, where somebody knows it: the processor
//! itself (CPUID 15h), the hypervisor (its timing leaf, or kvmclock). Otherwise
//! it is measured for a few milliseconds, against the first clock of a known rate that
//! runs ([`reference`]): the local interrupt controller's timer where its clock is
//! known, the interval timer, the high precision timer, the power management timer.

mod reference;

use crate::arch::{self, Timer};
use crate::memory::Memory;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use io::Instant;
use metal::acpi::Tables;
use metal::rate::Rate;
use reference::Reference;
use spin::Once;

/// How long the local timer is compared with the counter when nothing else is
/// to be measured.
const COMPARE_US: u64 = 500;

/// How the rate became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The processor or the hypervisor said it.
    Told,
    /// It was measured against the local interrupt controller's timer.
    LocalTimer,
    /// Against the interval timer.
    IntervalTimer,
    /// Against the high precision timer.
    PrecisionTimer,
    /// Against the power management timer.
    PowerTimer,
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
    /// Finds the rates of the counter and of the local timer, with what `tables` say
    /// of other clocks. Time starts at `start`, a value of the counter.
    #[cold]
    pub fn new(start: u64, tables: Option<&Tables<'_, Memory>>) -> (Self, Timer) {
        let told = processor_says().or_else(hypervisor_says).or_else(kvm_says);
        let (rate, source, count, ticks) = told
            .map(|rate| compared(rate, Source::Told))
            .or_else(|| measured(tables))
            .unwrap_or_else(|| {
                let usual = || Rate::new(2_000_000_000).expect("a usual processor");
                let about = processor_says_about().unwrap_or_else(usual);
                compared(about, Source::Guessed)
            });
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

/// CPUID 16h: the megahertz that the processor is sold with, which is near the
/// counter's rate.
fn processor_says_about() -> Option<Rate> {
    Rate::new(u64::from(arch::cpuid(0x16).eax & 0xffff) * 1_000_000)
}

/// A rate, how it became known, and how far the local timer and the counter came in the
/// same time.
type Found = (Rate, Source, u32, u64);

/// The rate by the first clock that runs.
fn measured(tables: Option<&Tables<'_, Memory>>) -> Option<Found> {
    // Each is looked for only if none before it runs.
    let clocks: [&dyn Fn() -> Option<Reference>; 4] = [
        &Reference::local,
        &|| Some(Reference::interval()),
        &|| Reference::precision(tables?),
        &|| Reference::power(tables?),
    ];
    clocks.into_iter().find_map(|find| {
        let clock = find()?;
        let (rate, count, ticks) = clock.measure()?;
        Some((rate, clock.source(), count, ticks))
    })
}

/// `rate` is known; the local timer is to be compared with the counter.
fn compared(rate: Rate, source: Source) -> Found {
    let (count, ticks) = compare_timer(rate.ticks(COMPARE_US));
    (rate, source, count, ticks)
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
