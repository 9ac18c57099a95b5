//! The processor: tables, registers, interrupts.
//!
//! The rest of the kernel runs with interrupts closed; they are open only inside
//! [`sleep`], at one instruction. So a handler has nothing to share with anyone:
//! it tells the interrupt controller that it ran, and returns.

mod apic;
mod cpu;
mod descriptors;
mod interrupts;
mod ioapic;
mod paging;
mod port;
mod second;

pub use apic::{Timer, id as processor, message, start_timer_count, timer_count};
pub use cpu::{cpuid, hypervisor_leaves, tsc, write_msr};
pub use interrupts::Exception;
pub use ioapic::{open_isa_line, open_line, second_controller};
pub use paging::{map_device, map_memory, vga_text};
pub use port::Port;
pub use second::{interrupt_the_other, is_second, start, wake_first, wake_second};

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

/// Brings the processor from the boot entry's makeshift into its lasting state:
/// our descriptor and page tables, handlers for everything, all interrupt lines
/// silent. `memory_end` is where memory below 4 GiB ends.
///
/// # Panics
/// If it is called twice.
pub fn init(memory_end: u64) {
    static DONE: AtomicBool = AtomicBool::new(false);
    assert!(
        !DONE.swap(true, Ordering::Relaxed),
        "the processor is set up once"
    );
    // SAFETY: the first time, and interrupts are closed since the boot entry.
    unsafe { descriptors::load() };
    // SAFETY: the code segment and the stacks are those of `descriptors`.
    unsafe { interrupts::load() };
    // SAFETY: the first time. The boot entry has everything below 4 GiB mapped
    // one to one; nothing was ever put into page 0 or under the stack.
    unsafe { paging::load(memory_end) };
    apic::init();
}

/// Sleeps until an interrupt comes. One that came while interrupts were closed
/// counts: `sti` opens them one instruction late, so none gets lost between.
pub fn sleep() {
    // SAFETY: handlers change no register and no memory of ours, and return
    // with interrupts closed. Without `nostack`, nothing lives below the stack
    // pointer here.
    unsafe { asm!("sti", "hlt", "cli") };
}

/// Halts for ever.
pub fn halt() -> ! {
    loop {
        // SAFETY: with interrupts closed nothing runs any more.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// Resets the machine, by one way or the other.
pub fn reset() -> ! {
    // The chipset's reset register, where there is one.
    Port(0xcf9).write(0x02);
    Port(0xcf9).write(0x06);
    pause_a_while();
    // The keyboard controller's line to the processor.
    Port(0x64).write(0xfe);
    pause_a_while();
    interrupts::triple_fault()
}

/// About ten milliseconds, for a machine to do what it was told.
pub fn pause_a_while() {
    for _ in 0..10_000 {
        // A read of an unused port takes about a microsecond.
        Port(0x80).read();
    }
}

/// The value of the stack pointer, about.
pub fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// What the local interrupt controller is called in the mode that the firmware chose.
pub fn controller_name() -> &'static str {
    if apic::is_x2() { "x2APIC" } else { "APIC" }
}
