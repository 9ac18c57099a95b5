//! A second processor: from its first instruction to the work it is given.
//!
//! A processor is started as the Intel SDM says (3A, 9.4.4: INIT, then twice where to
//! begin) and begins in 16-bit code in a page below 1 MiB. Its way from there is short,
//! because the first one has gone it already: it takes over that one's control
//! registers, and with them 64-bit mode and the page tables, in one step.
//!
//! It says that it is there by taking [`STATE`] from `CALLED` to `HERE`; the one that
//! waits takes it from `CALLED` to `GIVEN_UP`. So both know the same, and one that
//! comes too late halts.

use super::apic;
use super::cpu::{read_msr, tsc};
use super::{descriptors, interrupts, paging, pause_a_while};
use core::arch::{asm, global_asm};
use core::fmt;
use core::mem::transmute;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Nobody was called, called and not here, here, not waited for any more.
const NOBODY: u32 = 0;
const CALLED: u32 = 1;
const HERE: u32 = 2;
const GIVEN_UP: u32 = 3;

static STATE: AtomicU32 = AtomicU32::new(NOBODY);
/// Its counter when it came, and what it is to do.
static CAME_AT: AtomicU64 = AtomicU64::new(0);
static WORK: AtomicUsize = AtomicUsize::new(0);
/// The numbers of both, for interrupts.
static FIRST: AtomicU32 = AtomicU32::new(u32::MAX);
static SECOND: AtomicU32 = AtomicU32::new(u32::MAX);

/// How long it may take, in turns of [`pause_a_while`] (ten milliseconds): a guest's
/// processor is a thread that a busy host may keep waiting.
const PATIENCE: u32 = 200;
/// How far its counter may be off: far less than any time that we compare.
const SKEW_MAX_US: u64 = 500;

/// Interrupt commands (Intel SDM 3A, 11.6.1).
const INIT: u32 = 0b101 << 8 | ASSERT;
const START: u32 = 0b110 << 8 | ASSERT;
const NMI: u32 = 0b100 << 8 | ASSERT;
const ASSERT: u32 = 1 << 14;

/// Control register 4: what has to be as on the first one (PAE, MCE, OSFXSR,
/// OSXMMEXCPT, LA57). The rest is off, and nothing of ours uses it.
const CONTROL_4: u64 = 1 << 5 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 12;
/// EFER: 64-bit mode enabled, and pages that can not be run.
const EXTENDED: u64 = 1 << 8 | 1 << 11;

global_asm!(
    r#"
    .section .rodata.second, "a", @progbits
    .balign 16
    .code16
second_code:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movl second_values - second_code, %eax
    movl %eax, %cr4
    movl second_values - second_code + 4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    movl second_values - second_code + 8, %eax
    xorl %edx, %edx
    wrmsr
    lgdtl second_table - second_code
    movl second_values - second_code + 12, %eax
    movl %eax, %cr0                     /* protected, paged and 64-bit at once */
    ljmpl *(second_far - second_code)
    .code64
second_64:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movq second_stack(%rip), %rsp
    xorl %ebp, %ebp
    movq second_entry(%rip), %rax
    call *%rax
    ud2
    .balign 8
second_stack:
    .quad 0
second_entry:
    .quad 0
second_values:                          /* cr4, cr3, EFER, cr0 */
    .long 0, 0, 0, 0
second_far:
    .long second_64 - second_code
    .word 8
    .balign 8
second_segments:                        /* code, 64-bit; data */
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
second_table:
    .word 23
    .long second_segments - second_code
    .balign 8
second_end:
    .text
"#,
    options(att_syntax),
);

unsafe extern "C" {
    static second_code: u8;
    static second_stack: u8;
    static second_entry: u8;
    static second_values: u8;
    static second_far: u8;
    static second_table: u8;
    static second_end: u8;
    static second_stack_top: u8;
}

/// Why there is no second processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotThere {
    /// It did not begin in time.
    Silent(u32),
    /// Its counter of time is not ours.
    OtherTime(u32),
}

impl fmt::Display for NotThere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(id) => write!(f, "processor {id} does not start"),
            Self::OtherTime(id) => write!(f, "processor {id} counts time from another start"),
        }
    }
}

/// Starts processor `id` on `work`, by code in `page`, which is memory below 1 MiB that
/// nobody uses. `ticks` gives those of the counter in so many microseconds. From
/// then on devices interrupt that processor.
///
/// # Panics
/// If one was called already.
pub fn start(
    id: u32,
    page: &'static mut [u8],
    work: fn() -> !,
    ticks: impl Fn(u64) -> u64,
) -> Result<(), NotThere> {
    let called = STATE.compare_exchange(NOBODY, CALLED, Ordering::AcqRel, Ordering::Acquire);
    assert!(called.is_ok(), "one second processor is started, once");
    WORK.store(work as usize, Ordering::Release);
    FIRST.store(apic::id(), Ordering::Relaxed);
    SECOND.store(id, Ordering::Relaxed);
    let address = page.as_ptr().addr();
    prepare(page);
    paging::let_run(address as u64);

    let before = tsc();
    apic::command(id, INIT);
    pause_a_while();
    for _ in 0..2 {
        apic::command(id, START | (address >> 12) as u32);
        // 200 us are asked for between the two; one that has begun ignores the second.
        let from = tsc();
        while tsc().saturating_sub(from) < ticks(200) {
            core::hint::spin_loop();
        }
    }
    for _ in 0..PATIENCE {
        if STATE.load(Ordering::Acquire) == HERE {
            break;
        }
        pause_a_while();
    }
    let gave_up = STATE.compare_exchange(CALLED, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
    let slack = ticks(SKEW_MAX_US);
    let time = before.saturating_sub(slack)..tsc().saturating_add(slack);
    let error = if gave_up.is_ok() {
        // The page stays as it is: whoever comes late finds its way to a halt.
        NotThere::Silent(id)
    } else if !time.contains(&CAME_AT.load(Ordering::Acquire)) {
        NotThere::OtherTime(id)
    } else {
        apic::aim_devices_at(id);
        return Ok(());
    };
    apic::command(id, INIT);
    SECOND.store(u32::MAX, Ordering::Relaxed);
    Err(error)
}

/// Writes the code into `page`, with what the first processor's registers hold.
fn prepare(page: &'static mut [u8]) {
    let code = &raw const second_code;
    let at = |place: *const u8| place.addr() - code.addr();
    let bytes = at(&raw const second_end);
    // SAFETY: what lies between the two names is constant.
    let template = unsafe { core::slice::from_raw_parts(code, bytes) };
    page[..bytes].copy_from_slice(template);
    let [cr0, cr3, cr4] = control_registers();
    // SAFETY: every 64-bit processor has EFER.
    let extended = unsafe { read_msr(0xc000_0080) };
    let base = page.as_ptr().addr();
    let mut put = |place: *const u8, offset: usize, bytes: &[u8]| {
        let from = at(place) + offset;
        page[from..from + bytes.len()].copy_from_slice(bytes);
    };
    let values = [cr4 & CONTROL_4, cr3, extended & EXTENDED, cr0];
    for (index, value) in values.into_iter().enumerate() {
        // The tables lie below 4 GiB, where our image is.
        put(
            &raw const second_values,
            index * 4,
            &(value as u32).to_le_bytes(),
        );
    }
    let stack = (&raw const second_stack_top).addr() as u64;
    put(&raw const second_stack, 0, &stack.to_le_bytes());
    let entry = enter as *const () as u64;
    put(&raw const second_entry, 0, &entry.to_le_bytes());
    // Two addresses in the code are counted from where it lies.
    for (place, offset) in [(&raw const second_far, 0), (&raw const second_table, 2)] {
        let from = at(place) + offset;
        let word: &mut [u8; 4] = (&mut page[from..from + 4]).try_into().expect("four");
        *word = (u32::from_le_bytes(*word) + base as u32).to_le_bytes();
    }
}

/// Control registers 0, 3 and 4.
fn control_registers() -> [u64; 3] {
    let (cr0, cr3, cr4);
    // SAFETY: reads registers.
    unsafe {
        asm!("mov {}, cr0", "mov {}, cr3", "mov {}, cr4", out(reg) cr0, out(reg) cr3, out(reg) cr4, options(nomem, nostack, preserves_flags));
    }
    [cr0, cr3, cr4]
}

/// Where it comes in: 64-bit, on its stack, with interrupts closed.
extern "C" fn enter() -> ! {
    CAME_AT.store(tsc(), Ordering::Release);
    let came = STATE.compare_exchange(CALLED, HERE, Ordering::AcqRel, Ordering::Acquire);
    if came.is_err() {
        super::halt();
    }
    // SAFETY: once on this processor, with interrupts closed.
    unsafe { descriptors::load_second() };
    // SAFETY: its segments and stacks are loaded, and the first one has filled the table.
    unsafe { interrupts::load_again() };
    apic::init_second();
    let work = ptr::with_exposed_provenance::<()>(WORK.load(Ordering::Acquire));
    // SAFETY: `start` stored the address of such a function before it called us.
    let work: fn() -> ! = unsafe { transmute::<*const (), fn() -> !>(work) };
    work()
}

/// Interrupts the processor that has the devices.
pub fn wake_second() {
    apic::wake(SECOND.load(Ordering::Relaxed));
}

/// Interrupts the processor that came first.
pub fn wake_first() {
    apic::wake(FIRST.load(Ordering::Relaxed));
}

/// Whether this is the second processor.
pub fn is_second() -> bool {
    SECOND.load(Ordering::Relaxed) == apic::id()
}

/// Takes the other processor out of what it does, by an interrupt that nothing masks.
/// Nothing where there is one.
pub fn interrupt_the_other() {
    let second = SECOND.load(Ordering::Relaxed);
    if second == u32::MAX {
        return;
    }
    let other = if is_second() {
        FIRST.load(Ordering::Relaxed)
    } else {
        second
    };
    apic::command(other, NMI);
}
