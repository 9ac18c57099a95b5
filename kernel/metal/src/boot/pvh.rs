//! PVH: what `hvm_start_info` says (Xen's x86/HVM direct boot ABI).
//!
//! Version 0 has no memory map and so is of no use here. Every monitor that
//! boots this way today writes version 1.

use super::{Left, Text, Unusable, entries, peek};

const MARK: u32 = 0x336e_c578;
const VERSION: u64 = 4;
const COMMAND_LINE: u64 = 24;
const ACPI_ROOT: u64 = 32;
const MAP: u64 = 40;
const MAP_COUNT: u64 = 48;
/// Start, bytes, type, reserved.
const ENTRY_BYTES: u64 = 24;
/// The ABI sets no limit; ours is what is kept.
const COMMAND_LINE_MAX: usize = 4096;

/// # Safety
/// `left` is what the loader passed to the PVH entry, and no memory has been
/// given away yet.
pub(super) unsafe fn read(
    left: u64,
) -> Result<Left<impl Iterator<Item = (u64, u64, u32)> + Clone>, Unusable> {
    // SAFETY: the loader left its structure here (caller).
    if unsafe { peek::<u32>(left) } != MARK {
        return Err(Unusable::NoMark {
            what: "PVH start information",
            address: left,
        });
    }
    // SAFETY: the mark says that the structure is here.
    if unsafe { peek::<u32>(left + VERSION) } == 0 {
        return Err(Unusable::NoMemoryMap);
    }
    // SAFETY: as above.
    let address = unsafe { peek(left + COMMAND_LINE) };
    // SAFETY: as above; version 1 has the map.
    let map = unsafe { peek(left + MAP) };
    // SAFETY: as above.
    let count = unsafe { peek::<u32>(left + MAP_COUNT) };
    Ok(Left {
        command_line: Text {
            address,
            bytes_max: COMMAND_LINE_MAX,
        },
        // SAFETY: as above; every version has it.
        acpi_root: unsafe { peek(left + ACPI_ROOT) },
        smbios_root: 0,
        frame: None,
        // SAFETY: the structure says that the map is there.
        map: unsafe { entries(map, count as usize, ENTRY_BYTES) },
    })
}
