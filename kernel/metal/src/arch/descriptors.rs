//! Segments, and the stacks for what must not use the current one.
//!
//! Code compiled for the host uses the bytes below its stack pointer, so no
//! exception may push onto the stack it came from: each takes its own from the
//! task state segment.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::size_of;

/// Selector of our code segment.
pub const CODE: u16 = 0x08;
/// Selector of our data segment.
const DATA: u16 = 0x10;
/// Selector of the task state segment, two entries wide.
const TASK: u16 = 0x18;

/// Stack of an exception.
pub const STACK_EXCEPTION: u8 = 1;
/// Stack of a double fault: the exception's own may be what is broken.
pub const STACK_DOUBLE_FAULT: u8 = 2;
/// Stack of an interrupt that can not be masked: it may come during a fault.
pub const STACK_NMI: u8 = 3;

const STACK_BYTES: usize = 8192;

/// What only [`load`] writes, and only the processor uses afterwards.
struct Once<T>(UnsafeCell<T>);
// SAFETY: written once by `load`, by the only processor that uses this one.
unsafe impl<T> Sync for Once<T> {}

#[repr(C, align(16))]
struct Stack(UnsafeCell<[u8; STACK_BYTES]>);
// SAFETY: only the processor writes here, on its way into a handler, and the
// handler that then runs on it.
unsafe impl Sync for Stack {}

/// The 64-bit task state segment (Intel SDM 3A, 8.7).
#[repr(C, packed(4))]
struct Task {
    reserved_0: u32,
    privilege_stacks: [u64; 3],
    reserved_1: u64,
    interrupt_stacks: [u64; 7],
    reserved_2: u64,
    reserved_3: u16,
    io_map: u16,
}
const _: () = assert!(size_of::<Task>() == 104);

#[unsafe(link_section = ".noinit.stacks")]
static STACKS: [[Stack; 3]; 2] =
    [const { [const { Stack(UnsafeCell::new([0; STACK_BYTES])) }; 3] }; 2];

/// What one processor has of its own: a task can not be shared, for loading it marks it.
struct Own {
    task: Task,
    table: [u64; 5],
}

static OWN: [Once<Own>; 2] = [const {
    Once(UnsafeCell::new(Own {
        task: Task {
            reserved_0: 0,
            privilege_stacks: [0; 3],
            reserved_1: 0,
            interrupt_stacks: [0; 7],
            reserved_2: 0,
            reserved_3: 0,
            // Past the end: no map.
            io_map: size_of::<Task>() as u16,
        },
        table: [
            0,
            0x00af_9a00_0000_ffff, // code, 64-bit, present
            0x00cf_9200_0000_ffff, // data, writable, present
            0,                     // task, low
            0,                     // task, high
        ],
    }))
}; 2];

/// What `lgdt` and `lidt` take.
#[repr(C, packed)]
pub struct TablePointer {
    limit: u16,
    base: u64,
}

impl TablePointer {
    /// A table of `bytes` bytes at `base`.
    pub fn new(base: *const (), bytes: usize) -> Self {
        Self {
            limit: bytes.saturating_sub(1) as u16,
            base: base.addr() as u64,
        }
    }
}

/// Loads our segments and stacks.
///
/// # Safety
/// Called once, before any interrupt can come.
pub unsafe fn load() {
    // SAFETY: the first processor's, once (caller).
    unsafe { load_own(0) };
}

/// The same on the second processor.
///
/// # Safety
/// Called once, by it, before any interrupt can come.
pub unsafe fn load_second() {
    // SAFETY: the second processor's, once (caller).
    unsafe { load_own(1) };
}

/// # Safety
/// Called once for each processor, by it, before any interrupt can come.
unsafe fn load_own(processor: usize) {
    let own = OWN[processor].0.get();
    // SAFETY: the place of a field of what is there.
    let task = unsafe { &raw mut (*own).task };
    let mut stacks = [0; 7];
    for (entry, stack) in stacks.iter_mut().zip(&STACKS[processor]) {
        *entry = (stack.0.get().addr() + STACK_BYTES) as u64;
    }
    // SAFETY: the only access besides the processor's, which starts below.
    unsafe { (*task).interrupt_stacks = stacks };

    let base = task.addr() as u64;
    let limit = size_of::<Task>() as u64 - 1;
    let low = limit
        | (base & 0xff_ffff) << 16
        | 0x89 << 40 // available 64-bit task, present
        | (base >> 24 & 0xff) << 56;
    // SAFETY: as for the task.
    let table = unsafe { &raw mut (*own).table };
    // SAFETY: as for the task.
    unsafe { (*table)[3] = low };
    // SAFETY: as for the task.
    unsafe { (*table)[4] = base >> 32 };

    let pointer = TablePointer::new(table.cast(), size_of::<[u64; 5]>());
    // SAFETY: the table is static and complete; all segments are the flat ones
    // that we run in already, under other numbers. The far return needs the
    // stack, so `nostack` is not given.
    unsafe {
        asm!(
            "lgdt [{pointer}]",
            "push {code}",
            "lea {next}, [rip + 2f]",
            "push {next}",
            "retfq",
            "2:",
            "mov ds, {data:x}",
            "mov es, {data:x}",
            "mov ss, {data:x}",
            "mov fs, {zero:x}",
            "mov gs, {zero:x}",
            "ltr {task:x}",
            pointer = in(reg) &raw const pointer,
            code = const CODE,
            next = out(reg) _,
            data = in(reg) DATA,
            zero = in(reg) 0_u16,
            task = in(reg) TASK,
        );
    }
}
