//! UEFI: the boot file as an application that takes the machine over.
//!
//! (UEFI 2.10, 4 and 7.) The firmware may have put us anywhere, above 4 GiB too,
//! in memory that can not be both written and run, and under page tables of its
//! own. The kernel wants none of that. So [`main`] takes room for it below 4 GiB,
//! unpacks it there, asks for what only the firmware knows (command line, ACPI
//! tables, screen, memory), leaves the boot services, and enters the kernel under
//! the bridge's page tables, as every door does.
//!
//! Until the boot services are left, a failure is a sentence on the firmware's
//! console and an error to its boot manager, which goes on with what it would
//! start next. After that there is no firmware any more: what failed is written
//! into [`Firmware`], and the kernel says it.
//!
//! The firmware's interrupts use our stack, and know nothing of the red zone: the
//! 128 bytes below the stack pointer that the compiler takes for safe. So what
//! calculates for itself does so [`undisturbed`].
//!
//! Of the firmware's memory, what belongs to its runtime services and to ACPI is
//! kept; we never call it again.

use super::bridge;
use super::{LABEL, unpack_to};
use core::arch::{asm, global_asm};
use core::ffi::c_void;
use core::fmt::{self, Write};
use core::mem::size_of;
use core::ptr;
use door::handover::{COMMAND_LINE_BYTES, Door, Firmware, Frame, MAP_BYTES, MARK};
use door::options;
use r_efi::efi;
use r_efi::protocols::{graphics_output, loaded_image};

/// The map may change between asking for it and leaving; not for ever.
const EXIT_TRIES: usize = 8;
const PAGE: usize = 4096;
/// In the processor's flags.
const INTERRUPTS_OPEN: u64 = 1 << 9;
/// How long a failure stands before the firmware's boot manager goes on.
const FAILURE_STANDS_US: usize = 5_000_000;

global_asm!(
    r#"
    .section .head, "ax", @progbits
    .code64
/* rcx = our handle, rdx = the system table; the firmware's stack */
    .globl uefi_entry
uefi_entry:
    cld
    subq $40, %rsp
"#,
    door::relocate!(),
    r#"
    call {main}
    addq $40, %rsp
    ret
    .text
"#,
    main = sym main,
    options(att_syntax),
);

unsafe extern "C" {
    static __ehdr_start: u8;
}

/// What went wrong while there still is a firmware to say it with.
struct Failed {
    stage: &'static str,
    status: efi::Status,
}

impl Failed {
    fn at(stage: &'static str) -> impl FnOnce(efi::Status) -> Self {
        move |status| Self { stage, status }
    }
}

/// Comes from `uefi_entry`; returns only if it failed.
extern "efiapi" fn main(handle: efi::Handle, table: *mut efi::SystemTable) -> efi::Status {
    // SAFETY: the firmware passes its table, which it keeps while we run.
    let table = unsafe { &*table };
    // SAFETY: the firmware called us, so its services are there.
    let Err(failed) = unsafe { take_over(handle, table) };
    let _ = write!(
        FirmwareConsole(table),
        "\r\nublade can not start: {} (UEFI status {:#x})\r\n",
        failed.stage,
        failed.status.as_usize()
    );
    // SAFETY: the boot services have not been left.
    let services = unsafe { &*table.boot_services };
    // SAFETY: as above.
    unsafe { (services.stall)(FAILURE_STANDS_US) };
    failed.status
}

/// # Safety
/// The boot services are there, and we are the application `handle`.
unsafe fn take_over(
    handle: efi::Handle,
    table: &efi::SystemTable,
) -> Result<core::convert::Infallible, Failed> {
    // SAFETY: boot services are there (caller).
    let services = unsafe { &*table.boot_services };
    // SAFETY: it is in the file, which the firmware has loaded and relocated.
    let label = unsafe { &LABEL };
    let kernel_bytes = label.memory_bytes as usize;
    let pages = (kernel_bytes + size_of::<Firmware>()).div_ceil(PAGE);

    let mut new: efi::PhysicalAddress = (1 << 32) - 1;
    // SAFETY: a service, called as the specification has it.
    check(unsafe {
        (services.allocate_pages)(
            efi::ALLOCATE_MAX_ADDRESS,
            efi::LOADER_DATA,
            pages,
            &raw mut new,
        )
    })
    .map_err(Failed::at("there is no room below 4 GiB"))?;
    let new = new as usize;
    let found = ptr::with_exposed_provenance_mut::<Firmware>(new + kernel_bytes);
    // SAFETY: the room is ours, large enough, and pages are aligned.
    unsafe { found.write_bytes(0, 1) };
    // SAFETY: all of it is zero, which is a `Firmware`.
    let found = unsafe { &mut *found };
    found.mark = MARK;
    // SAFETY: the boot services are there.
    unsafe { read_command_line(services, handle, &mut found.command_line) }?;
    let acpi = [efi::ACPI_20_TABLE_GUID, efi::ACPI_10_TABLE_GUID];
    // SAFETY: the firmware's table is there.
    found.acpi_root = undisturbed(|| unsafe { address_of(table, acpi) });
    let smbios = [efi::SMBIOS3_TABLE_GUID, efi::SMBIOS_TABLE_GUID];
    // SAFETY: as above.
    found.smbios_root = undisturbed(|| unsafe { address_of(table, smbios) });

    // SAFETY: the boot services are there.
    if let Some(frame) = unsafe { frame(services) } {
        found.frame = frame;
    }

    // SAFETY: the firmware's output is there as long as its services are.
    if let Some(out) = unsafe { table.con_out.as_mut() } {
        // What cannot be cleared stays.
        // SAFETY: as above.
        let _ = unsafe { (out.clear_screen)(out) };
    }

    // SAFETY: the room is ours, and large enough for the kernel.
    undisturbed(|| unsafe { unpack_to(label, new) })
        .map_err(|_| efi::Status::CRC_ERROR)
        .map_err(Failed::at("the kernel in the boot file is damaged"))?;
    let here = (&raw const __ehdr_start).addr();
    // SAFETY: the kernel's room for tables, which nobody uses yet.
    let root = undisturbed(|| unsafe { bridge::build(new + label.tables as usize, here) });

    // From the first attempt on only these two services may be called.
    // SAFETY: the boot services are there.
    unsafe { leave(services, handle, found) }?;
    // SAFETY: nothing but us runs any more. The tables map everything below
    // 4 GiB and the code that loads them, one to one. The kernel is entered as
    // every door does it, and sets up the stack by itself.
    unsafe {
        asm!(
            "cli",
            // Code that was entered without a mark is a fault under this flag.
            "mov rax, cr4",
            "btr rax, 23",
            "mov cr4, rax",
            "mov cr3, rcx",
            "jmp rdx",
            in("rcx") root,
            in("rdx") new + label.entry as usize,
            in("edi") Door::UEFI.0,
            in("rsi") new + kernel_bytes,
            options(noreturn),
        )
    }
}

/// Does something that calls no service with interrupts closed, for the sake of the
/// red zone of whatever it calls (System V ABI, 3.2.2), which the libraries that come
/// with the compiler use as well.
fn undisturbed<R>(work: impl FnOnce() -> R) -> R {
    let flags: u64;
    // SAFETY: it changes the flags alone, and they come back below. It pushes, so
    // the compiler keeps nothing below the stack pointer here.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
    let result = work();
    if flags & INTERRUPTS_OPEN != 0 {
        // SAFETY: they were open before.
        unsafe { asm!("sti") };
    }
    result
}

/// Takes the memory map and leaves the boot services; the map has to be the
/// newest, so again if it is not.
///
/// # Safety
/// The boot services are there.
unsafe fn leave(
    services: &efi::BootServices,
    handle: efi::Handle,
    found: &mut Firmware,
) -> Result<(), Failed> {
    for attempt in 0..EXIT_TRIES {
        let (mut bytes, mut key, mut entry_bytes, mut version) = (MAP_BYTES, 0, 0, 0);
        // SAFETY: a service, called as the specification has it; allowed even
        // after a failed attempt to leave.
        let status = check(unsafe {
            (services.get_memory_map)(
                &raw mut bytes,
                found.map.as_mut_ptr().cast(),
                &raw mut key,
                &raw mut entry_bytes,
                &raw mut version,
            )
        });
        match status {
            Ok(()) => {}
            Err(status) if attempt == 0 => {
                return Err(Failed::at("the firmware gives no memory map")(status));
            }
            Err(status) => {
                found.exit_status = status.as_usize() as u64;
                return Ok(());
            }
        }
        found.map_bytes = bytes as u64;
        found.map_entry_bytes = entry_bytes as u64;
        // SAFETY: as above; when it succeeds, there are no boot services.
        let status = unsafe { (services.exit_boot_services)(handle, key) };
        found.exit_status = status.as_usize() as u64;
        if !status.is_error() {
            break;
        }
    }
    Ok(())
}

/// The options that we were started with, from 16-bit letters to bytes.
///
/// # Safety
/// The boot services are there.
unsafe fn read_command_line(
    services: &efi::BootServices,
    handle: efi::Handle,
    line: &mut [u8; COMMAND_LINE_BYTES],
) -> Result<(), Failed> {
    let mut guid = loaded_image::PROTOCOL_GUID;
    let mut image: *mut c_void = ptr::null_mut();
    // SAFETY: a service, called as the specification has it.
    check(unsafe { (services.handle_protocol)(handle, &raw mut guid, &raw mut image) })
        .map_err(Failed::at("the firmware does not say how it started us"))?;
    // SAFETY: the firmware says that this protocol is there.
    let image = unsafe { &*image.cast::<loaded_image::Protocol>() };
    let letters = image.load_options_size as usize / 2;
    if image.load_options.is_null() {
        return Ok(());
    }
    let options = image.load_options.cast::<u16>();
    let letters = (0..letters).map(|index| {
        // SAFETY: the firmware says that there are so many bytes of options; they
        // need not be aligned.
        unsafe { options.wrapping_add(index).read_unaligned() }
    });
    undisturbed(|| options::to_bytes(letters, line));
    Ok(())
}

/// The screen as the firmware has set it, if it is memory that we can draw in.
///
/// # Safety
/// The boot services are there.
unsafe fn frame(services: &efi::BootServices) -> Option<Frame> {
    let mut guid = graphics_output::PROTOCOL_GUID;
    let mut output: *mut c_void = ptr::null_mut();
    // SAFETY: a service, called as the specification has it.
    let status =
        unsafe { (services.locate_protocol)(&raw mut guid, ptr::null_mut(), &raw mut output) };
    if status.is_error() {
        return None;
    }
    // SAFETY: the firmware says that this protocol is there.
    let mode = unsafe { (*output.cast::<graphics_output::Protocol>()).mode };
    // SAFETY: the protocol has a mode as long as it is there.
    let mode = unsafe { mode.as_ref() }?;
    // SAFETY: and the mode its description.
    let info = unsafe { mode.info.as_ref() }?;
    let is_32_bit = matches!(
        info.pixel_format,
        graphics_output::PIXEL_RED_GREEN_BLUE_RESERVED_8_BIT_PER_COLOR
            | graphics_output::PIXEL_BLUE_GREEN_RED_RESERVED_8_BIT_PER_COLOR
    );
    is_32_bit.then_some(Frame {
        address: mode.frame_buffer_base,
        width: info.horizontal_resolution,
        height: info.vertical_resolution,
        line_bytes: info.pixels_per_scan_line.saturating_mul(4),
    })
}

/// Where the firmware has one of two kinds of a table, the newer kind first; 0
/// for nowhere.
///
/// # Safety
/// The firmware's table is whole.
unsafe fn address_of(table: &efi::SystemTable, kinds: [efi::Guid; 2]) -> u64 {
    let entry = |index| {
        // SAFETY: the table says that there are so many.
        unsafe { &*table.configuration_table.wrapping_add(index) }
    };
    let find = |guid| {
        (0..table.number_of_table_entries)
            .map(entry)
            .find(|entry| entry.vendor_guid == guid)
            .map(|entry| entry.vendor_table.addr() as u64)
    };
    kinds.into_iter().find_map(find).unwrap_or(0)
}

fn check(status: efi::Status) -> Result<(), efi::Status> {
    if status.is_error() {
        Err(status)
    } else {
        Ok(())
    }
}

/// The console that the firmware has, while it is there.
struct FirmwareConsole<'a>(&'a efi::SystemTable);

impl Write for FirmwareConsole<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let out = self.0.con_out;
        if out.is_null() {
            return Ok(());
        }
        // SAFETY: the firmware's output is there as long as its services are.
        let output = unsafe { (*out).output_string };
        for byte in text.bytes() {
            let mut letter = [u16::from(byte), 0];
            // SAFETY: it takes a text that ends with a zero.
            unsafe { output(out, letter.as_mut_ptr()) };
        }
        Ok(())
    }
}
