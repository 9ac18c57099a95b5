//! Page tables: everything one to one, and as little of it as is needed.
//!
//! A pointer is a bus address, which is what keeps the drivers simple. Below
//! 4 GiB all is mapped from the start, in large pages: memory cached, what is
//! above it uncached. What lies above 4 GiB is mapped when somebody asks.
//!
//! The first 2 MiB and those around the kernel are mapped in small pages: page 0
//! and the page under the stack are left out, so that a null pointer or a stack
//! that is too deep ends in a report and not in someone else's data; code can
//! not be written, data can not be run.

use super::cpu::{cpuid, read_msr, write_msr};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use pci::DeviceMemory;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const WRITE_THROUGH: u64 = 1 << 3;
const UNCACHED: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const PAGE: u64 = 4096;
const LARGE_PAGE: u64 = 2 << 20;
const HUGE_PAGE: u64 = 1 << 30;
const LOW_END: u64 = 4 << 30;

/// Tables that there are: 1 and 1 and 4 for the first 4 GiB, small pages for the
/// first 2 MiB and for the kernel, and some for device memory and for RAM disks
/// above 4 GiB, each of which maps 1 GiB or leads to 512 of them.
const TABLES: usize = 32;

#[repr(C, align(4096))]
struct Table([u64; 512]);

struct Pool {
    tables: UnsafeCell<[Table; TABLES]>,
    used: AtomicUsize,
}
// SAFETY: tables are given out once each (`used` only grows), and only the one
// processor that starts the machine changes them.
unsafe impl Sync for Pool {}

/// In `bss`, so zeroed by the boot entry: no entry is present.
static POOL: Pool = Pool {
    tables: UnsafeCell::new([const { Table([0; 512]) }; TABLES]),
    used: AtomicUsize::new(0),
};

/// Where memory below 4 GiB ends.
static MEMORY_END: AtomicU64 = AtomicU64::new(LOW_END);

unsafe extern "C" {
    static text_start: u8;
    static text_end: u8;
    static data_start: u8;
    static stack_guard: u8;
    static second_stack_guard: u8;
    static image_end: u8;
}

/// A table that nobody has yet.
fn new_table() -> Option<*mut Table> {
    let index = POOL.used.load(Ordering::Relaxed);
    if index == TABLES {
        return None;
    }
    POOL.used.store(index + 1, Ordering::Relaxed);
    let first = POOL.tables.get().cast::<Table>();
    // SAFETY: `index` is below the number of tables.
    Some(unsafe { first.add(index) })
}

/// The table that entry `index` of `table` leads to, made if there is none yet.
///
/// # Safety
/// `table` is one of the pool's, and the entry is empty or leads to another.
unsafe fn below(table: *mut Table, index: u64) -> Option<*mut Table> {
    // SAFETY: `table` is a table, and the index is below 512.
    let entry = unsafe { &raw mut (*table).0[(index % 512) as usize] };
    // SAFETY: the entry lies in a table of the pool.
    let value = unsafe { entry.read() };
    if value & PRESENT != 0 {
        return Some(ptr::with_exposed_provenance_mut((value & ADDRESS) as usize));
    }
    let new = new_table()?;
    let value = new.expose_provenance() as u64 | PRESENT | WRITABLE;
    // SAFETY: as above.
    unsafe { entry.write(value) };
    Some(new)
}

/// # Safety
/// `table` is one of the pool's, and changing the entry takes no memory away
/// that Rust knows of.
unsafe fn set(table: *mut Table, index: u64, value: u64) {
    // SAFETY: `table` is a table, and the index is below 512.
    unsafe { (*table).0[(index % 512) as usize] = value };
}

/// The root table: the first that was given out.
fn root() -> *mut Table {
    POOL.tables.get().cast()
}

/// Builds the tables and turns them on.
///
/// # Safety
/// Called once, with everything below 4 GiB mapped one to one, and nothing in
/// use in page 0 or under the stack. `memory_end` is where memory below 4 GiB
/// ends.
pub unsafe fn load(memory_end: u64) {
    MEMORY_END.store(memory_end, Ordering::Relaxed);
    let no_execute = if cpuid(0x8000_0001).edx & 1 << 20 != 0 {
        const EFER: u32 = 0xc000_0080;
        const EFER_NO_EXECUTE: u64 = 1 << 11;
        // SAFETY: every 64-bit processor has it.
        let efer = unsafe { read_msr(EFER) };
        // SAFETY: the processor knows the flag, which only gives a meaning to a
        // bit that no table in use has set.
        unsafe { write_msr(EFER, efer | EFER_NO_EXECUTE) };
        NO_EXECUTE
    } else {
        0
    };
    let [image, text, data, guard, second_guard, end] = [
        (&raw const text_start).addr(),
        (&raw const text_end).addr(),
        (&raw const data_start).addr(),
        (&raw const stack_guard).addr(),
        (&raw const second_stack_guard).addr(),
        (&raw const image_end).addr(),
    ]
    .map(|address| address as u64);
    let is_fine = |large: u64| large == 0 || large < end && image < large + LARGE_PAGE;
    let small = |page: u64| match page {
        0 => 0,
        page if page == guard || page == second_guard => 0,
        page if (image..text).contains(&page) => page | PRESENT,
        page if (text..data).contains(&page) => page | PRESENT | no_execute,
        page => page | PRESENT | WRITABLE | no_execute,
    };

    let level_4 = new_table().expect("the first of many");
    for large in (0..LOW_END).step_by(LARGE_PAGE as usize) {
        // SAFETY: all entries of the upper levels are made here.
        let level_3 = unsafe { below(level_4, 0) }.expect("tables for 4 GiB");
        // SAFETY: as above.
        let level_2 = unsafe { below(level_3, large / HUGE_PAGE) }.expect("tables for 4 GiB");
        if is_fine(large) {
            // SAFETY: this entry is empty yet.
            let level_1 =
                unsafe { below(level_2, large / LARGE_PAGE) }.expect("tables for the kernel");
            for page in (large..large + LARGE_PAGE).step_by(PAGE as usize) {
                // SAFETY: the tables are not in use yet, and leave out only what
                // is not in use (caller).
                unsafe { set(level_1, page / PAGE, small(page)) };
            }
        } else {
            let cache = if large < memory_end {
                0
            } else {
                UNCACHED | WRITE_THROUGH
            };
            let entry = large | PRESENT | WRITABLE | LARGE | no_execute | cache;
            // SAFETY: the tables are not in use yet.
            unsafe { set(level_2, large / LARGE_PAGE, entry) };
        }
    }
    let cr4: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags)) };
    // A firmware may have turned on a fifth level, which can not be turned off
    // in 64-bit mode; all that we use is below its first entry (Intel SDM 3, 4.5).
    let top = if cr4 & 1 << 12 == 0 {
        level_4
    } else {
        let level_5 = new_table().expect("there are more than a few");
        let entry = level_4.expose_provenance() as u64 | PRESENT | WRITABLE;
        // SAFETY: the tables are not in use yet.
        unsafe { set(level_5, 0, entry) };
        level_5
    };
    // SAFETY: the tables map everything as it was mapped before, but for what
    // is not in use. No page is global, so nothing old survives.
    unsafe {
        asm!("mov cr3, {}", in(reg) top.expose_provenance(), options(nostack, preserves_flags));
    }
    // SAFETY: WP: what is mapped read-only is so for the kernel, too. It writes
    // none of it.
    unsafe {
        asm!("mov {0}, cr0", "or {0}, 0x10000", "mov cr0, {0}", out(reg) _, options(nostack));
    }
}

/// Lets code run in a page of the first 2 MiB, which are mapped in small pages. No
/// processor has run there before, so none remembers what held until now.
pub fn let_run(page: u64) {
    assert!(page < LARGE_PAGE, "the first 2 MiB have small pages");
    let mut table = root();
    for _ in 0..3 {
        // SAFETY: these tables were made by `load`, for the first 2 MiB.
        table = unsafe { below(table, 0) }.expect("made by `load`");
    }
    // SAFETY: as above; allows more than before.
    unsafe { set(table, page / PAGE, page | PRESENT | WRITABLE) };
}

/// Maps device memory, uncached. `None` where memory is: a device that claims to
/// be there would make its registers of it.
pub fn map_device(address: u64, bytes: usize) -> Option<DeviceMemory> {
    if address < MEMORY_END.load(Ordering::Relaxed)
        || !map(address, bytes as u64, UNCACHED | WRITE_THROUGH)
    {
        return None;
    }
    let base = NonNull::new(ptr::with_exposed_provenance_mut(address as usize))?;
    // SAFETY: it is mapped, for ever. Below 4 GiB it lies behind all memory, and
    // above, `map` keeps memory and devices apart; so no reference points there.
    Some(unsafe { DeviceMemory::new(base, bytes) })
}

/// The window of VGA's text mode, whether or not an adapter is there.
pub fn vga_text() -> Option<DeviceMemory> {
    const WINDOW: usize = 0xb_8000;
    const WINDOW_BYTES: usize = 0x8000;
    let base = NonNull::new(ptr::with_exposed_provenance_mut(WINDOW))?;
    // SAFETY: the first 2 MiB are mapped for ever but for page 0; the first MiB
    // is never given out as memory, so no reference points there.
    Some(unsafe { DeviceMemory::new(base, WINDOW_BYTES) })
}

/// Maps memory; true if `bytes` bytes at `address` can be reached then.
pub fn map_memory(address: u64, bytes: u64) -> bool {
    map(address, bytes, 0)
}

/// What lies above 4 GiB, in large pages; none of them has memory and devices in
/// it: what is mapped as the one is refused as the other.
fn map(address: u64, bytes: u64, cache: u64) -> bool {
    const CACHE: u64 = UNCACHED | WRITE_THROUGH;
    let address_bits = (cpuid(0x8000_0008).eax & 0xff).clamp(36, 47);
    let Some(end) = address.checked_add(bytes) else {
        return false;
    };
    if end > 1 << address_bits {
        return false;
    }
    let huge_pages = cpuid(0x8000_0001).edx & 1 << 26 != 0;
    // SAFETY: reads a register.
    let no_execute = if unsafe { read_msr(0xc000_0080) } & 1 << 11 != 0 {
        NO_EXECUTE
    } else {
        0
    };
    let flags = PRESENT | WRITABLE | LARGE | no_execute | cache;
    let mut at = address.max(LOW_END) / LARGE_PAGE * LARGE_PAGE;
    while at < end {
        // SAFETY: `root` and what is below it are tables of the pool; entries of
        // this level never are pages.
        let Some(level_3) = (unsafe { below(root(), at / (512 * HUGE_PAGE)) }) else {
            return false;
        };
        // SAFETY: a table of the pool, and an index below 512.
        let entry = unsafe { (*level_3).0[(at / HUGE_PAGE % 512) as usize] };
        if entry & LARGE != 0 {
            if entry & CACHE != cache {
                return false;
            }
            at = (at / HUGE_PAGE + 1) * HUGE_PAGE;
            continue;
        }
        if huge_pages && entry == 0 && at.is_multiple_of(HUGE_PAGE) && end - at >= HUGE_PAGE {
            // SAFETY: adds a mapping where there was none.
            unsafe { set(level_3, at / HUGE_PAGE, at | flags) };
            at += HUGE_PAGE;
            continue;
        }
        // SAFETY: the entry is empty or leads to a table.
        let Some(level_2) = (unsafe { below(level_3, at / HUGE_PAGE) }) else {
            return false;
        };
        // SAFETY: a table of the pool, and an index below 512.
        let entry = unsafe { (*level_2).0[(at / LARGE_PAGE % 512) as usize] };
        if entry & PRESENT == 0 {
            // SAFETY: adds a mapping where there was none. The processor keeps
            // no note of what was not present, so there is nothing to flush.
            unsafe { set(level_2, at / LARGE_PAGE, at | flags) };
        } else if entry & CACHE != cache {
            return false;
        }
        at += LARGE_PAGE;
    }
    true
}
