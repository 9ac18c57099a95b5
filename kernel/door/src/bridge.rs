//! Page tables for where those of the firmware or of the loader will not do.
//!
//! They last until the kernel has made its own.

use core::arch::asm;
use core::ptr;
use door::steps::BRIDGE_TABLES;

const PAGE: usize = 4096;

/// Page tables that map, one to one, everything below 4 GiB and two GiB around
/// `here`, which may be further up. Returns the root.
///
/// # Safety
/// There is room for [`BRIDGE_TABLES`] tables at `tables`, which nobody uses.
pub unsafe fn build(tables: usize, here: usize) -> usize {
    const PRESENT_WRITABLE: u64 = 0x3;
    const LARGE: u64 = 0x80;
    const GIB: u64 = 1 << 30;
    let table = |index: usize| tables + index * PAGE;
    let set = |table: usize, index: u64, value: u64| {
        let entry =
            ptr::with_exposed_provenance_mut::<u64>(table).wrapping_add(index as usize % 512);
        // SAFETY: an entry of one of the tables, which are ours (caller).
        unsafe { entry.write(value) };
    };
    for index in 0..BRIDGE_TABLES {
        for entry in 0..512 {
            set(table(index), entry, 0);
        }
    }
    let [level_5, level_4, level_3, high_level_3] = [0, 1, 2, 3].map(table);
    let link = |table: usize| table as u64 | PRESENT_WRITABLE;
    let map_gib = |level_3: usize, level_2: usize, gib: u64| {
        set(level_3, gib, link(level_2));
        for page in 0..512 {
            set(
                level_2,
                page,
                (gib * GIB + (page << 21)) | PRESENT_WRITABLE | LARGE,
            );
        }
    };
    set(level_4, 0, link(level_3));
    for gib in 0..4 {
        map_gib(level_3, table(4 + gib as usize), gib);
    }
    let first = here as u64 / GIB;
    if first + 1 >= 4 {
        for (index, gib) in (first.max(4)..=first + 1).enumerate() {
            // An image that reaches from one 512 GiB into the next would need
            // one table more; firmware has no such memory.
            let upper = if gib < 512 { level_3 } else { high_level_3 };
            set(level_4, gib / 512, link(upper));
            map_gib(upper, table(8 + index), gib);
        }
    }
    let cr4: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags)) };
    // With five levels the root is one further up (Intel SDM 3, 4.5).
    if cr4 & 1 << 12 == 0 {
        return level_4;
    }
    set(level_5, 0, link(level_4));
    level_5
}
