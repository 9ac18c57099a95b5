//! UEFI: what the boot file has found out while the firmware was there.

use super::{Left, Text, Unusable, peek};
use core::ptr;
use door::handover::{COMMAND_LINE_BYTES, Firmware, MAP_BYTES, MARK};

/// An entry of the memory map that is as short as any (UEFI 2.10, 7.2,
/// `EFI_MEMORY_DESCRIPTOR`).
const ENTRY_BYTES: u64 = 40;
const PAGE: u64 = 4096;

/// # Safety
/// `left` is what the boot file passed on, and no memory has been given away yet.
pub(super) unsafe fn read(
    left: u64,
) -> Result<Left<impl Iterator<Item = (u64, u64, u32)> + Clone>, Unusable> {
    let found = ptr::with_exposed_provenance::<Firmware>(left as usize);
    // SAFETY: the only caller of this door is the boot file, which left one here.
    let found = unsafe { &*found };
    if found.mark != MARK {
        return Err(Unusable::NoMark {
            what: "UEFI start information",
            address: left,
        });
    }
    if found.exit_status != 0 {
        return Err(Unusable::BootServices {
            status: found.exit_status,
        });
    }
    let map = found.map.as_ptr().addr() as u64;
    let entry_bytes = found.map_entry_bytes.max(ENTRY_BYTES);
    let count = found.map_bytes.min(MAP_BYTES as u64) / entry_bytes;
    Ok(Left {
        command_line: Text {
            address: found.command_line.as_ptr().addr() as u64,
            bytes_max: COMMAND_LINE_BYTES,
        },
        acpi_root: found.acpi_root,
        smbios_root: found.smbios_root,
        frame: Some(found.frame).filter(|frame| frame.address != 0),
        map: (0..count).map(move |index| {
            let at = map + index * entry_bytes;
            // SAFETY: the firmware wrote `count` entries here.
            let kind = unsafe { peek::<u32>(at) };
            // SAFETY: as above: the physical address.
            let start = unsafe { peek(at + 8) };
            // SAFETY: as above: the number of pages.
            let pages = unsafe { peek::<u64>(at + 24) };
            let kind = metal::firmware::e820_kind(kind);
            (start, pages.saturating_mul(PAGE), kind)
        }),
    })
}
