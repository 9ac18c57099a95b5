//! The local interrupt controller: its timer, and messages from devices.
//!
//! The old pair of controllers is masked; nothing uses its lines. The local one
//! is used the way the firmware left it: by memory, or by MSRs (x2APIC), which
//! can not be turned back without a reset.

use super::cpu::{cpuid, read_msr, write_msr};
use super::interrupts::{SPURIOUS, WAKE, acknowledge_at};
use super::port::Port;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use pci::Message;

/// MSR: where the controller is, and whether it is on.
const BASE: u32 = 0x1b;
const BASE_ON: u64 = 1 << 11;
const BASE_X2: u64 = 1 << 10;
/// MSR: the counter value at which the timer interrupts.
const DEADLINE: u32 = 0x6e0;

/// Registers, as offsets of the memory form.
#[derive(Clone, Copy)]
enum Register {
    Id = 0x20,
    TaskPriority = 0x80,
    EndOfInterrupt = 0xb0,
    SpuriousVector = 0xf0,
    CommandLow = 0x300,
    CommandHigh = 0x310,
    Timer = 0x320,
    Thermal = 0x330,
    Performance = 0x340,
    Line0 = 0x350,
    Line1 = 0x360,
    Error = 0x370,
    InitialCount = 0x380,
    CurrentCount = 0x390,
    Divide = 0x3e0,
}

const MASKED: u32 = 1 << 16;
/// A line that delivers an interrupt which nothing masks.
const DELIVERS_NMI: u32 = 0b100 << 8;
const ENABLED: u32 = 1 << 8;
const TIMER_BY_DEADLINE: u32 = 0b10 << 17;
/// The timer counts at a sixteenth of its clock: a 32-bit count then lasts for
/// more than ten seconds at any clock there is.
const DIVIDE_BY_16: u32 = 0b0011;

/// Where the registers are mapped; 0 for MSRs.
static MAPPED: AtomicU64 = AtomicU64::new(0);

fn read(register: Register) -> u32 {
    match MAPPED.load(Ordering::Relaxed) {
        // SAFETY: the controller is in x2APIC mode (`init`), where the register
        // at offset o has the MSR 0x800 + o / 16.
        0 => unsafe { read_msr(0x800 + register as u32 / 16) as u32 },
        base => {
            let register = ptr::with_exposed_provenance::<u32>((base + register as u64) as usize);
            // SAFETY: `base` is where the processor says its controller is, and
            // addresses below 4 GiB are mapped one to one.
            unsafe { register.read_volatile() }
        }
    }
}

fn write(register: Register, value: u32) {
    match MAPPED.load(Ordering::Relaxed) {
        // SAFETY: as in `read`; no register of it touches memory.
        0 => unsafe { write_msr(0x800 + register as u32 / 16, value.into()) },
        base => {
            let register =
                ptr::with_exposed_provenance_mut::<u32>((base + register as u64) as usize);
            // SAFETY: as in `read`.
            unsafe { register.write_volatile(value) }
        }
    }
}

/// Masks every line but the one for faults, and turns the local controller on.
pub fn init() {
    // Lines of the old pair would come in at vectors of exceptions; all masked.
    Port(0x21).write(0xff);
    Port(0xa1).write(0xff);

    // SAFETY: the boot entry made sure that there is a controller, and so its MSR.
    let base = unsafe { read_msr(BASE) };
    if base & BASE_X2 == 0 {
        // SAFETY: turns the controller on where it is.
        unsafe { write_msr(BASE, base | BASE_ON) };
        let address = base & 0x000f_ffff_ffff_f000;
        MAPPED.store(address, Ordering::Relaxed);
        acknowledge_at(address + Register::EndOfInterrupt as u64);
    }
    mask_lines();
    // On every PC this is where a hardware fault comes in, and the button or command
    // of an operator who wants to know where a node hangs: the node falls with a
    // report.
    write(Register::Line1, DELIVERS_NMI);
    open();
}

/// The same for a second processor, in the mode that the first one's is in. Faults and
/// the operator's button come in at the first.
pub fn init_second() {
    // SAFETY: as in `init`.
    let base = unsafe { read_msr(BASE) };
    // Off, on and x2APIC follow each other in this order only (Intel SDM 3A, 11.12.5).
    // SAFETY: turns the controller on where it is.
    unsafe { write_msr(BASE, base | BASE_ON) };
    if MAPPED.load(Ordering::Relaxed) == 0 {
        // SAFETY: the first processor's is in this mode, so this one has it.
        unsafe { write_msr(BASE, base | BASE_ON | BASE_X2) };
    }
    mask_lines();
    write(Register::Line1, MASKED);
    open();
}

fn mask_lines() {
    for line in [
        Register::Timer,
        Register::Thermal,
        Register::Performance,
        Register::Line0,
        Register::Error,
    ] {
        // Some of them may be missing; a write to a missing one is an error that
        // is noted and has no effect, except for MSRs, where all of these exist
        // on every processor with that mode.
        write(line, MASKED);
    }
}

fn open() {
    write(Register::TaskPriority, 0);
    write(Register::SpuriousVector, ENABLED | u32::from(SPURIOUS));
}

/// The processor that devices interrupt; all ones for the one that runs.
static DEVICES_AT: AtomicU32 = AtomicU32::new(u32::MAX);

/// From now on devices are told to interrupt processor `id`.
pub fn aim_devices_at(id: u32) {
    DEVICES_AT.store(id, Ordering::Relaxed);
}

/// The number of the processor that devices interrupt.
pub fn devices_at() -> u32 {
    match DEVICES_AT.load(Ordering::Relaxed) {
        u32::MAX => id(),
        id => id,
    }
}

/// Sends an interrupt command to processor `to` (Intel SDM 3A, 11.6.1).
pub fn command(to: u32, command: u32) {
    if MAPPED.load(Ordering::Relaxed) == 0 {
        let register = 0x800 + Register::CommandLow as u32 / 16;
        let value = u64::from(to) << 32 | u64::from(command);
        // A write to this register waits for no store of ours before it (3A, 11.12.3).
        core::sync::atomic::fence(Ordering::SeqCst);
        // SAFETY: the mode's command register; what it may send touches no memory.
        unsafe { write_msr(register, value) };
    } else {
        write(Register::CommandHigh, to << 24);
        write(Register::CommandLow, command);
    }
}

/// Wakes processor `to`.
pub fn wake(to: u32) {
    command(to, 1 << 14 | u32::from(WAKE));
}

/// What a device writes to wake its processor.
pub fn message() -> Message {
    Message {
        address: 0xfee0_0000 | u64::from(devices_at() & 0xff) << 12,
        data: WAKE.into(),
    }
}

/// This processor's number, for interrupt controllers.
pub fn id() -> u32 {
    let id = read(Register::Id);
    if MAPPED.load(Ordering::Relaxed) == 0 {
        id
    } else {
        id >> 24
    }
}

/// Whether it is reached by MSRs.
pub fn is_x2() -> bool {
    MAPPED.load(Ordering::Relaxed) == 0
}

/// Starts counting down from the largest count, silently.
pub fn start_timer_count() {
    write(Register::Divide, DIVIDE_BY_16);
    write(Register::Timer, MASKED | u32::from(WAKE));
    write(Register::InitialCount, u32::MAX);
}

/// How far the count has come since [`start_timer_count`].
pub fn timer_count() -> u32 {
    u32::MAX - read(Register::CurrentCount)
}

/// The timer, set to one point in time.
#[derive(Clone, Copy, Debug)]
pub enum Timer {
    /// Compares with the time stamp counter.
    Deadline,
    /// Counts down. Its ticks in 2^20 ticks of the time stamp counter.
    Count {
        /// The ratio.
        per_mebi_tick: u64,
    },
}

impl Timer {
    /// The timer of this processor, given how far it and the time stamp counter
    /// came in the same time.
    pub fn new(count: u32, ticks: u64) -> Self {
        if cpuid(1).ecx & 1 << 24 != 0 {
            write(Register::Timer, TIMER_BY_DEADLINE | u32::from(WAKE));
            // The mode must be seen before the first deadline (SDM 3A, 10.5.4.1).
            core::sync::atomic::fence(Ordering::SeqCst);
            return Self::Deadline;
        }
        write(Register::InitialCount, 0);
        write(Register::Timer, u32::from(WAKE));
        Self::Count {
            per_mebi_tick: ((u64::from(count)) << 20) / ticks.max(1),
        }
    }

    /// Interrupts once, `ticks` of the time stamp counter after `now`.
    pub fn set(self, now: u64, ticks: u64) {
        match self {
            // SAFETY: the processor has the register (`new`); it only makes the
            // timer interrupt.
            Self::Deadline => unsafe { write_msr(DEADLINE, now.saturating_add(ticks).max(1)) },
            Self::Count { per_mebi_tick } => {
                let count = (u128::from(ticks) * u128::from(per_mebi_tick)) >> 20;
                // A longer wait is cut into several.
                write(
                    Register::InitialCount,
                    u32::try_from(count).unwrap_or(u32::MAX).max(1),
                );
            }
        }
    }
}
