//! The boot file's own code: what every loader but PVH's starts.
//!
//! A door for each kind of loader ([`head`], [`setup`], [`uefi`]), and one way on:
//! the kernel is unpacked and entered. What can not go on says so where a person
//! may look, on the first serial port and on the screen. The first sector of a disk
//! ([`sector`]) is here as well, as it is what brings the file to its door.
//!
//! There is no heap, no interrupt, and nothing that is zeroed at the start.

#![no_std]
#![no_main]

mod above;
mod bridge;
mod head;
#[path = "../../metal/src/memcpy.rs"]
mod memcpy;
mod say;
mod sector;
mod setup;
mod uefi;

use core::arch::asm;
use core::panic::PanicInfo;
use core::ptr;
use core::slice;
use door::parcel::{self, Damaged, FIRST, LABEL_BYTES, Label};

unsafe extern "C" {
    /// Behind all of this (`image/door.ld`).
    #[link_name = "parcel"]
    static LABEL: Label;
}

/// From the doors of [`head`], on the kernel's stack: unpacks it at `kernel` and
/// enters it.
extern "C" fn unpack_and_enter(door: u32, left: u64, label: &Label, kernel: usize) -> ! {
    let (mut kernel, mut left) = (kernel, left);
    if kernel + label.memory_bytes as usize > 1 << 32 {
        // SAFETY: only a loader of the 64-bit kind can have put us there. It keeps
        // the memory behind the file free, as much as the header asks for.
        match unsafe { above::come_down(left, label, kernel) } {
            Some(below) => (kernel, left) = below,
            None => say::and_halt("ublade: there is no room for the kernel below 4 GiB."),
        }
    }
    // SAFETY: the memory is free: behind the file it is kept so by the loader, as
    // much as the header asks for; elsewhere it was chosen for that. Stack and page
    // tables, which are in use, lie behind what is unpacked.
    if unsafe { unpack_to(label, kernel) }.is_err() {
        say::and_halt(
            "ublade: the kernel in the boot file is damaged; fetch or write the file anew.",
        );
    }
    // SAFETY: the kernel is there, interrupts are closed, and everything below
    // 4 GiB is mapped by us or by the loader. The entry takes door and what is left.
    unsafe {
        asm!(
            "jmp {entry}",
            entry = in(reg) kernel + label.entry as usize,
            in("edi") door,
            in("rsi") left,
            options(noreturn),
        )
    }
}

/// Unpacks the kernel so that its address 0 is at `kernel`.
///
/// # Safety
/// `label` is the one in the boot file. From `kernel` on there is memory for the
/// kernel, of which nobody uses what is unpacked.
unsafe fn unpack_to(label: &Label, kernel: usize) -> Result<(), Damaged> {
    let contents = ptr::from_ref(label).wrapping_byte_add(LABEL_BYTES).cast();
    // SAFETY: the contents follow their label, and the file is loaded as a whole.
    let contents = unsafe { slice::from_raw_parts(contents, label.packed_bytes as usize) };
    let room = ptr::with_exposed_provenance_mut(kernel + FIRST);
    // SAFETY: the memory is there and nobody else's (caller).
    let room = unsafe { slice::from_raw_parts_mut(room, label.kernel_bytes as usize) };
    parcel::unpack(contents, room, label.table())
}

/// A broken invariant of ours or of the unpacker's.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    say::and_halt("ublade: the boot file's own code is broken.")
}
