//! A QEMU plugin that counts what a guest does.
//!
//! Wall-clock figures depend on the mood of the machine; the number of guest
//! instructions a request takes does not. QEMU's software emulation lets a
//! plugin add to a counter as translated code runs, and this one keeps its
//! counters in a file that is mapped into memory, so that a benchmark reads
//! them while the guest runs: before a load, after it, subtract, divide.
//!
//! ```text
//! -plugin libcounter.so,counts=PATH[,io=on][,each=on]
//! PATH: u64 in host order: instructions, device reads, device writes, the bytes that
//!       were stored to memory; then the instructions of each of eight processors
//! ```
//! With `each=on` the instructions are counted for each processor apart, in whole blocks
//! of translated code, and not together: an addition in line can not tell them apart, and
//! would lose some where two processors add at once.
//!
//! Counting register accesses and stores slows every memory access of the guest down, so it
//! is asked for with `io=on` and the two kinds of figure are taken in two runs.
//!
//! The interface is QEMU's `qemu-plugin.h`, version 1 (QEMU 4.2 and later);
//! the declarations below are the part of it that we call.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// The version of the plugin interface that we were written for.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = 1;

/// What the file holds, one after the other.
#[repr(C)]
struct Counters {
    instructions: AtomicU64,
    device_reads: AtomicU64,
    device_writes: AtomicU64,
    bytes_stored: AtomicU64,
    each: [AtomicU64; PROCESSORS],
}

/// Processors that are counted apart.
const PROCESSORS: usize = 8;

/// The mapped file; set once by `qemu_plugin_install`, before any guest code runs.
static COUNTERS: AtomicPtr<Counters> = AtomicPtr::new(std::ptr::null_mut());

type PluginId = u64;

#[repr(C)]
struct TranslationBlock {
    _opaque: [u8; 0],
}
#[repr(C)]
struct Instruction {
    _opaque: [u8; 0],
}
#[repr(C)]
struct PhysicalAddress {
    _opaque: [u8; 0],
}

/// `QEMU_PLUGIN_INLINE_ADD_U64`
const INLINE_ADD_U64: c_int = 0;
/// `QEMU_PLUGIN_CB_NO_REGS`
const NO_REGISTERS: c_int = 0;
/// `QEMU_PLUGIN_MEM_RW`
const READS_AND_WRITES: c_int = 3;

type TranslationCallback = extern "C" fn(PluginId, *mut TranslationBlock);
type RunCallback = extern "C" fn(c_uint, *mut c_void);
type MemoryCallback = extern "C" fn(c_uint, u32, u64, *mut c_void);

// SAFETY: the signatures are those of qemu-plugin.h, version 1; QEMU exports
// the functions to the plugins it loads.
unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: PluginId, callback: TranslationCallback);
    fn qemu_plugin_tb_n_insns(block: *const TranslationBlock) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const TranslationBlock, index: usize) -> *mut Instruction;
    fn qemu_plugin_register_vcpu_insn_exec_inline(
        instruction: *mut Instruction,
        operation: c_int,
        counter: *mut c_void,
        amount: u64,
    );
    fn qemu_plugin_register_vcpu_tb_exec_cb(
        block: *mut TranslationBlock,
        callback: RunCallback,
        flags: c_int,
        user: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_mem_cb(
        instruction: *mut Instruction,
        callback: MemoryCallback,
        flags: c_int,
        kind: c_int,
        user: *mut c_void,
    );
    fn qemu_plugin_mem_size_shift(info: u32) -> c_uint;
    fn qemu_plugin_mem_is_store(info: u32) -> bool;
    fn qemu_plugin_get_hwaddr(info: u32, virtual_address: u64) -> *mut PhysicalAddress;
    fn qemu_plugin_hwaddr_is_io(address: *const PhysicalAddress) -> bool;
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: i64,
    ) -> *mut c_void;
}

/// `PROT_READ | PROT_WRITE` (Linux)
const READ_WRITE: c_int = 3;
/// `MAP_SHARED` (Linux)
const SHARED: c_int = 1;

/// Called by QEMU when the plugin is loaded. Anything but 0 ends QEMU.
///
/// # Safety
/// QEMU's contract: `arguments` points to `count` C strings that live as long
/// as this call; `info` is not looked at.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: PluginId,
    _info: *const c_void,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    let mut path = None;
    let (mut count_io, mut count_each) = (false, false);
    for index in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: `index` is below the count that QEMU gave with the pointer.
        let argument = unsafe { arguments.add(index) };
        // SAFETY: the pointer was just found inside the array.
        let argument = unsafe { *argument };
        // SAFETY: each entry is a C string that lives as long as this call.
        let argument = unsafe { CStr::from_ptr(argument) }.to_string_lossy();
        match argument.split_once('=') {
            Some(("counts", value)) => path = Some(value.to_owned()),
            Some(("io", value)) => count_io = value == "on",
            Some(("each", value)) => count_each = value == "on",
            _ => {
                eprintln!(
                    "counter: unknown argument {argument:?}; known: counts=PATH, io=on, each=on"
                );
                return 1;
            }
        }
    }
    let Some(path) = path else {
        eprintln!("counter: counts=PATH is missing");
        return 1;
    };
    let counters = match map(&path) {
        Ok(counters) => counters,
        Err(error) => {
            eprintln!("counter: {path}: {error}");
            return 1;
        }
    };
    COUNTERS.store(counters, Ordering::Release);
    let callback: TranslationCallback = match (count_each, count_io) {
        (true, _) => translated_for_each,
        (false, true) => translated_with_io,
        (false, false) => translated,
    };
    // SAFETY: `id` is the one QEMU gave us, the callback lives as long as the library.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, callback) };
    0
}

/// Makes the file as long as the counters, zeroes it and maps it for ever.
fn map(path: &str) -> std::io::Result<*mut Counters> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    let bytes = size_of::<Counters>();
    file.set_len(bytes as u64)?;
    // SAFETY: a new shared mapping at an address of the kernel's choice touches
    // nothing that exists; it outlives the file handle and is never unmapped.
    let address = unsafe {
        mmap(
            std::ptr::null_mut(),
            bytes,
            READ_WRITE,
            SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if address.addr() == usize::MAX {
        return Err(std::io::Error::last_os_error());
    }
    Ok(address.cast())
}

/// A block of guest code was translated: count its instructions as they run.
extern "C" fn translated(_id: PluginId, block: *mut TranslationBlock) {
    each_instruction(block, |instruction| {
        let counter = &raw const counters().instructions;
        // SAFETY: the instruction is QEMU's for the time of this callback, and
        // the counter is mapped for ever. With several processors an addition
        // may be lost; figures are taken with one.
        unsafe {
            qemu_plugin_register_vcpu_insn_exec_inline(
                instruction,
                INLINE_ADD_U64,
                counter.cast_mut().cast(),
                1,
            );
        }
    });
}

/// As [`translated`], for each processor apart.
extern "C" fn translated_for_each(_id: PluginId, block: *mut TranslationBlock) {
    // SAFETY: `block` is QEMU's for the time of the translation callback.
    let count = unsafe { qemu_plugin_tb_n_insns(block) };
    // SAFETY: as above; `ran` lives as long as the library, and gets a number, not a place.
    unsafe {
        qemu_plugin_register_vcpu_tb_exec_cb(
            block,
            ran,
            NO_REGISTERS,
            std::ptr::without_provenance_mut(count),
        );
    }
}

/// A block runs, of so many instructions.
extern "C" fn ran(processor: c_uint, instructions: *mut c_void) {
    if let Some(counter) = counters().each.get(processor as usize) {
        counter.fetch_add(instructions.addr() as u64, Ordering::Relaxed);
    }
}

/// As [`translated`], and look at every access to memory as well.
extern "C" fn translated_with_io(id: PluginId, block: *mut TranslationBlock) {
    translated(id, block);
    each_instruction(block, |instruction| {
        // SAFETY: as in `translated`; `accessed` lives as long as the library.
        unsafe {
            qemu_plugin_register_vcpu_mem_cb(
                instruction,
                accessed,
                NO_REGISTERS,
                READS_AND_WRITES,
                std::ptr::null_mut(),
            );
        }
    });
}

fn each_instruction(block: *mut TranslationBlock, mut visit: impl FnMut(*mut Instruction)) {
    // SAFETY: `block` is QEMU's for the time of the translation callback.
    let count = unsafe { qemu_plugin_tb_n_insns(block) };
    for index in 0..count {
        // SAFETY: as above, and `index` is below the count.
        visit(unsafe { qemu_plugin_tb_get_insn(block, index) });
    }
}

/// The guest touched memory: a device's, or its own, of which stores count.
extern "C" fn accessed(_cpu: c_uint, info: u32, address: u64, _user: *mut c_void) {
    // SAFETY: `info` and `address` are those of the access that QEMU reports.
    let physical = unsafe { qemu_plugin_get_hwaddr(info, address) };
    if physical.is_null() {
        return;
    }
    // SAFETY: not null, and valid until this callback ends.
    let is_device = unsafe { qemu_plugin_hwaddr_is_io(physical) };
    // SAFETY: `info` is that of the access.
    let is_store = unsafe { qemu_plugin_mem_is_store(info) };
    let (counter, amount) = match (is_device, is_store) {
        (true, true) => (&counters().device_writes, 1),
        (true, false) => (&counters().device_reads, 1),
        (false, true) => {
            // SAFETY: as above.
            let shift = unsafe { qemu_plugin_mem_size_shift(info) };
            (&counters().bytes_stored, 1 << shift)
        }
        (false, false) => return,
    };
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn counters() -> &'static Counters {
    let counters = COUNTERS.load(Ordering::Acquire);
    assert!(!counters.is_null(), "QEMU calls back only after installing");
    // SAFETY: not null, so it is the mapping of `map`, which is never unmapped;
    // all access is atomic.
    unsafe { &*counters }
}
