//! The last words: what happened, where, and then a restart.
//!
//! A broken invariant ends the node; it does not go on with a guess. The report
//! is a sentence with its place, the registers if the processor raised it, and
//! the addresses on the stack that point into code, as offsets in `ublade.elf`
//! (`addr2line -e ublade.elf 0x...`). Initiators only see a pause if the node is
//! back soon, so after `panic=` seconds the machine is reset. The report is left to
//! the next start as well (`testament`).

use crate::arch::{self, Exception};
use crate::boot;
use crate::clock;
use crate::console::LastWords;
use crate::power;
use crate::testament;
use crate::watchdog;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Most addresses of the stack that are shown.
const TRACE_MAX: usize = 12;

/// Seconds until the reset; `u32::MAX` for never.
static SECONDS: AtomicU32 = AtomicU32::new(10);
/// Somebody is speaking already, and whether the second processor does: what comes now
/// from the same one is a fault in the report.
static SPEAKING: AtomicBool = AtomicBool::new(false);
static SECOND_SPEAKS: AtomicBool = AtomicBool::new(false);

/// Sets how long a report stands before the machine is reset; `None` halts.
pub fn set_seconds(seconds: Option<u32>) {
    SECONDS.store(seconds.unwrap_or(u32::MAX), Ordering::Relaxed);
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut words = speak();
    let _ = write!(words, "\nublade stopped: {}", info.message());
    if let Some(place) = info.location() {
        let _ = write!(words, " ({}:{})", place.file(), place.line());
    }
    let _ = writeln!(words);
    trace(&mut words, arch::stack_pointer());
    end(&mut words)
}

/// Ends the node after the processor raised an exception.
pub fn exception(exception: &Exception) -> ! {
    let mut words = speak();
    let base = boot::image().start;
    let _ = write!(words, "\nublade stopped: {}", exception.name());
    if let Some(address) = exception.fault_address() {
        let _ = write!(words, " at {address:#x}");
    }
    let _ = writeln!(
        words,
        " (instruction {:#x}, error {:#x})",
        exception.rip.wrapping_sub(base),
        exception.error
    );
    let named = Exception::REGISTERS.iter().zip(exception.registers);
    for (index, (name, value)) in named.enumerate() {
        let end = if index % 5 == 4 { "\n" } else { " " };
        let _ = write!(words, "{name:>3}={value:016x}{end}");
    }
    let _ = writeln!(
        words,
        "rsp={:016x} rflags={:x}",
        exception.rsp, exception.rflags
    );
    trace(&mut words, exception.rsp as usize);
    end(&mut words)
}

/// The first to come speaks, and stops the other processor; a fault while speaking ends
/// at once.
fn speak() -> LastWords {
    let is_second = arch::is_second();
    if SPEAKING.swap(true, Ordering::AcqRel) {
        if is_second != SECOND_SPEAKS.load(Ordering::Relaxed) {
            arch::halt();
        }
        restart_or_halt(SECONDS.load(Ordering::Relaxed));
    }
    SECOND_SPEAKS.store(is_second, Ordering::Relaxed);
    arch::interrupt_the_other();
    LastWords::begin()
}

/// Numbers on the stack that lie in our code: return addresses, and some that
/// once were. Nothing keeps a chain of frames in this build.
fn trace(words: &mut LastWords, stack_pointer: usize) {
    unsafe extern "C" {
        static text_start: u8;
        static text_end: u8;
        static stack_bottom: u8;
        static stack_top: u8;
        static second_stack_bottom: u8;
        static second_stack_top: u8;
    }
    let stack = if arch::is_second() {
        (&raw const second_stack_bottom).addr()..(&raw const second_stack_top).addr()
    } else {
        (&raw const stack_bottom).addr()..(&raw const stack_top).addr()
    };
    let code = (&raw const text_start).addr()..(&raw const text_end).addr();
    if !stack.contains(&stack_pointer) {
        let _ = writeln!(words, "stack: {stack_pointer:#x} is outside of the stack");
        return;
    }
    let _ = write!(words, "code addresses on the stack:");
    let mut shown = 0;
    let first = stack_pointer.next_multiple_of(8);
    for address in (first..stack.end).step_by(8) {
        // SAFETY: the stack is mapped as a whole and is ours.
        let word = unsafe { ptr::with_exposed_provenance::<usize>(address).read_volatile() };
        if code.contains(&word) && shown < TRACE_MAX {
            let _ = write!(words, " {:#x}", word - boot::image().start as usize);
            shown += 1;
        }
    }
    let _ = writeln!(words);
}

fn end(words: &mut LastWords) -> ! {
    let seconds = SECONDS.load(Ordering::Relaxed);
    let _ = match seconds {
        u32::MAX => writeln!(words, "halted"),
        seconds => writeln!(words, "restart in {seconds} s"),
    };
    restart_or_halt(seconds)
}

fn restart_or_halt(seconds: u32) -> ! {
    testament::seal();
    watchdog::stop();
    if seconds == u32::MAX {
        arch::halt();
    }
    clock::wait_seconds(seconds.into());
    power::restart()
}
