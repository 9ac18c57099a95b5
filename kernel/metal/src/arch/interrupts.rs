//! Handlers: exceptions end the kernel with a report, interrupts wake it.
//!
//! All interrupts that we ask for (timer, devices) share one vector, because all
//! they have to say is "look". The handler acknowledges and returns with
//! interrupts *closed*, whatever they were before: a line that stays active could
//! otherwise interrupt again and again before the next instruction.

use super::descriptors::{CODE, STACK_DOUBLE_FAULT, STACK_EXCEPTION, STACK_NMI, TablePointer};
use crate::epitaph;
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::mem::size_of;
use core::sync::atomic::AtomicU64;

/// The vector of everything that wakes us.
pub const WAKE: u8 = 0x40;
/// The vector of interrupts that were gone when they were looked at; they are
/// not acknowledged.
pub const SPURIOUS: u8 = 0xff;

/// Where an interrupt is acknowledged: the local controller's register, mapped,
/// or 0 if it is reached by MSR.
#[unsafe(no_mangle)]
static END_OF_INTERRUPT: AtomicU64 = AtomicU64::new(0);

/// Says where the handler acknowledges. Before the first interrupt.
pub fn acknowledge_at(register: u64) {
    END_OF_INTERRUPT.store(register, core::sync::atomic::Ordering::Relaxed);
}

/// What the processor was doing when an exception came.
#[repr(C)]
#[derive(Debug)]
pub struct Exception {
    /// rax, rbx, rcx, rdx, rsi, rdi, rbp, r8 to r15.
    pub registers: [u64; 15],
    /// Which exception.
    pub vector: u64,
    /// What some of them add, else 0.
    pub error: u64,
    /// The instruction.
    pub rip: u64,
    /// Code segment.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack segment.
    pub ss: u64,
}

impl Exception {
    /// The names of [`Exception::registers`], in order.
    pub const REGISTERS: [&str; 15] = [
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13",
        "r14", "r15",
    ];

    /// Its name (Intel SDM 3A, 6.3.1).
    pub fn name(&self) -> &'static str {
        match self.vector {
            0 => "division error",
            1 => "debug exception",
            2 => "non-maskable interrupt (the machine reports a hardware fault)",
            3 => "breakpoint",
            4 => "overflow",
            5 => "bound exceeded",
            6 => "invalid instruction",
            7 => "no floating point unit",
            8 => "double fault",
            10 => "invalid task segment",
            11 => "segment not present",
            12 => "stack fault",
            13 => "general protection fault",
            14 => "page fault",
            16 => "floating point error",
            17 => "misaligned access",
            18 => "machine check (the processor reports a hardware fault)",
            19 => "SIMD error",
            20 => "virtualisation exception",
            21 => "control protection exception",
            _ => "unknown exception",
        }
    }

    /// The address that a page fault was about.
    pub fn fault_address(&self) -> Option<u64> {
        (self.vector == 14).then(|| {
            let address;
            // SAFETY: reads a register.
            unsafe {
                asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags));
            }
            address
        })
    }
}

global_asm!(
    r#"
    .section .text.handlers, "ax", @progbits
    .balign 16
/* 32 stubs of 16 bytes: push an error code where the processor pushes none
   (it does for 8, 10 to 14, 17, 21, 29, 30), push the vector. */
exception_stubs:
    .set vector, 0
    .rept 32
    .balign 16
    .if !((1 << vector) & 0x60227d00)
    push 0
    .endif
    push vector
    jmp exception_common
    .set vector, vector + 1
    .endr

exception_common:
    push r15
    push r14
    push r13
    push r12
    push r11
    push r10
    push r9
    push r8
    push rbp
    push rdi
    push rsi
    push rdx
    push rcx
    push rbx
    push rax
    cld
    mov rdi, rsp
    and rsp, -16
    call {exception}
    ud2

    .balign 16
wake:
    push rax
    mov rax, [rip + END_OF_INTERRUPT]
    test rax, rax
    jz 1f
    mov dword ptr [rax], 0
    pop rax
    and dword ptr [rsp + 16], ~0x200    /* return with interrupts closed */
    iretq
1:  push rcx
    push rdx
    mov ecx, 0x80b
    xor eax, eax
    xor edx, edx
    wrmsr
    pop rdx
    pop rcx
    pop rax
    and dword ptr [rsp + 16], ~0x200
    iretq

    .balign 16
spurious:
    and dword ptr [rsp + 16], ~0x200
    iretq
"#,
    exception = sym exception,
);

unsafe extern "C" {
    static exception_stubs: [[u8; 16]; 32];
    safe fn wake();
    safe fn spurious();
}

extern "C" fn exception(exception: &Exception) -> ! {
    epitaph::exception(exception)
}

/// One entry of the table (Intel SDM 3A, 6.14.1).
#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    low: u64,
    high: u64,
}

impl Gate {
    const NONE: Self = Self { low: 0, high: 0 };

    fn new(handler: usize, stack: u8) -> Self {
        let handler = handler as u64;
        Self {
            low: handler & 0xffff
                | u64::from(CODE) << 16
                | u64::from(stack) << 32
                | 0x8e << 40 // interrupt gate, present
                | (handler >> 16 & 0xffff) << 48,
            high: handler >> 32,
        }
    }
}

struct Table(UnsafeCell<[Gate; 256]>);
// SAFETY: written once by `load`, then only the processor reads it.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([Gate::NONE; 256]));

/// Loads the handlers.
///
/// # Safety
/// Called once, with the segments and stacks of `descriptors` loaded.
pub unsafe fn load() {
    let mut gates = [Gate::NONE; 256];
    let stubs = &raw const exception_stubs;
    for (vector, gate) in gates.iter_mut().enumerate() {
        *gate = match vector {
            0..32 => {
                let stack = match vector {
                    2 => STACK_NMI,
                    8 => STACK_DOUBLE_FAULT,
                    _ => STACK_EXCEPTION,
                };
                Gate::new(stubs.addr() + vector * size_of::<[u8; 16]>(), stack)
            }
            255 => Gate::new(spurious as *const () as usize, 0),
            _ => Gate::new(wake as *const () as usize, 0),
        };
    }
    const _: () = assert!(SPURIOUS == 255);
    // SAFETY: nobody else touches the table before `lidt` below.
    unsafe { *TABLE.0.get() = gates };
    // SAFETY: the table is complete.
    unsafe { load_again() };
}

/// Loads the handlers on one more processor.
///
/// # Safety
/// [`load`] has filled the table, and this processor has segments and stacks of
/// `descriptors`.
pub unsafe fn load_again() {
    let pointer = TablePointer::new(TABLE.0.get().cast(), size_of::<[Gate; 256]>());
    // SAFETY: the table is static and complete.
    unsafe {
        asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags));
    }
}

/// The last way to reset: an exception that no handler can take.
pub fn triple_fault() -> ! {
    let nothing = TablePointer::new(core::ptr::null(), 0);
    // SAFETY: the processor resets and nothing after this is run.
    unsafe {
        asm!("lidt [{}]", "ud2", in(reg) &raw const nothing, options(noreturn));
    }
}
