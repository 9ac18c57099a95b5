//! A boot file that was put above 4 GiB, and the way down.
//!
//! Loaders of the 64-bit kind may do so (Linux, x86/boot.rst, `xloadflags`), and
//! kexec does on every machine with the memory. The kernel works below. But the
//! loader's page tables, and what it left, may lie in the very memory that we would
//! unpack to. So the room behind the file, which is ours, takes a copy of what was
//! left and tables of our own, and only then a place is looked for.

use super::bridge;
use core::arch::asm;
use core::ptr;
use door::handover::COMMAND_LINE_BYTES;
use door::parcel::{FIRST, Label};
use door::place;

const PAGE: usize = 4096;
/// Fields of `boot_params` (Linux, x86/boot.rst and x86/zero-page.rst).
const COMMAND_LINE_HIGH: usize = 0x0c8;
const MAP_COUNT: usize = 0x1e8;
const COMMAND_LINE: usize = 0x228;
const MAP: usize = 0x2d0;
const MAP_ENTRIES_MAX: usize = 128;
const MAP_ENTRY_BYTES: usize = 20;

unsafe extern "C" {
    static __ehdr_start: u8;
}

/// Where the kernel goes, and where there is a copy of what was left. `None` if
/// there is no room for it below 4 GiB.
///
/// # Safety
/// `left` is the `boot_params` of a loader that has mapped it, the command line and
/// everything of ours. From `room` on there is memory as the label says, of which
/// only the stack is in use.
pub unsafe fn come_down(left: u64, label: &Label, room: usize) -> Option<(usize, u64)> {
    let page = room + FIRST;
    let line = page + PAGE;
    // SAFETY: the loader left a page (caller), and the room is ours.
    unsafe { copy(left as usize, page, PAGE) };
    let half = |at| {
        let field = ptr::with_exposed_provenance_mut::<u32>(page + at);
        // SAFETY: a field of our copy, at a multiple of four.
        unsafe { &mut *field }
    };
    let (low, high) = (half(COMMAND_LINE), half(COMMAND_LINE_HIGH));
    let told = (u64::from(*high) << 32 | u64::from(*low)) as usize;
    if told != 0 {
        for at in 0..COMMAND_LINE_BYTES {
            // SAFETY: the loader left a text there, which has not ended yet.
            unsafe { copy(told + at, line + at, 1) };
            let copied = ptr::with_exposed_provenance::<u8>(line + at);
            // SAFETY: the byte is there since a moment.
            if unsafe { copied.read() } == 0 {
                break;
            }
        }
        *low = line as u32;
        *high = (line as u64 >> 32) as u32;
    }
    let here = (&raw const __ehdr_start).addr();
    // SAFETY: the room's tables, which nobody uses yet.
    let root = unsafe { bridge::build(room + label.tables as usize, here) };
    // SAFETY: they map all of ours, the copies included, as it was mapped before.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };

    let count = ptr::with_exposed_provenance::<u8>(page + MAP_COUNT);
    // SAFETY: a field of our copy.
    let count = usize::from(unsafe { count.read() });
    let entries = (0..count.min(MAP_ENTRIES_MAX)).map(|index| {
        let entry = page + MAP + index * MAP_ENTRY_BYTES;
        let entry = ptr::with_exposed_provenance::<[u8; MAP_ENTRY_BYTES]>(entry);
        // SAFETY: our copy has room for so many.
        place::Entry::from_bytes(unsafe { &*entry })
    });
    let kernel = place::below_4_gib(entries, label.memory_bytes.into())?;
    Some((kernel as usize, page as u64))
}

/// # Safety
/// Both are mapped and do not overlap, and nobody uses what is at `to`.
unsafe fn copy(from: usize, to: usize, bytes: usize) {
    let from = ptr::with_exposed_provenance::<u8>(from);
    // SAFETY: as the caller says.
    unsafe { ptr::copy_nonoverlapping(from, ptr::with_exposed_provenance_mut(to), bytes) };
}
