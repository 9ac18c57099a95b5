//! The Linux boot protocol: what `boot_params` says (Linux, x86/boot.rst and
//! x86/zero-page.rst).

use super::{Left, Text, Unusable, entries, peek};
use door::handover::Frame;

/// The setup header's mark, "HdrS".
const MARK: u32 = 0x5372_6448;
const MARK_AT: u64 = 0x202;
const VERSION: u64 = 0x206;
const COMMAND_LINE: u64 = 0x228;
const COMMAND_LINE_SIZE: u64 = 0x238;
/// Upper half of the command line's address, for loaders above 4 GiB.
const COMMAND_LINE_HIGH: u64 = 0x0c8;
/// Since version 2.14; zero before, as the whole page was.
const ACPI_ROOT: u64 = 0x070;
const MAP_COUNT: u64 = 0x1e8;
const MAP: u64 = 0x2d0;
/// Start, bytes, type.
const ENTRY_BYTES: u64 = 20;
/// Most entries that the page has room for.
const ENTRIES_MAX: usize = 128;
/// What version 2.05 and earlier allow.
const OLD_COMMAND_LINE_MAX: u32 = 255;

/// # Safety
/// `left` is what the loader passed to an entry of this protocol, and no memory
/// has been given away yet.
pub(super) unsafe fn read(
    left: u64,
) -> Result<Left<impl Iterator<Item = (u64, u64, u32)> + Clone>, Unusable> {
    // SAFETY: the loader left a page here (caller).
    if unsafe { peek::<u32>(left + MARK_AT) } != MARK {
        return Err(Unusable::NoMark {
            what: "Linux setup header",
            address: left,
        });
    }
    // SAFETY: the mark says that the page is what it should be.
    let version = unsafe { peek::<u16>(left + VERSION) };
    // SAFETY: as above.
    let low = unsafe { peek::<u32>(left + COMMAND_LINE) };
    // SAFETY: as above.
    let high = unsafe { peek::<u32>(left + COMMAND_LINE_HIGH) };
    let bytes_max = if version < 0x206 {
        OLD_COMMAND_LINE_MAX
    } else {
        // SAFETY: as above; this version has the field.
        unsafe { peek::<u32>(left + COMMAND_LINE_SIZE) }
    };
    // SAFETY: as above.
    let count = unsafe { peek::<u8>(left + MAP_COUNT) };
    Ok(Left {
        command_line: Text {
            address: u64::from(high) << 32 | u64::from(low),
            bytes_max: bytes_max as usize,
        },
        // SAFETY: the page says so.
        acpi_root: unsafe { peek(left + ACPI_ROOT) },
        smbios_root: 0,
        // SAFETY: as above.
        frame: unsafe { frame(left) },
        // SAFETY: the page has room for that many.
        map: unsafe { entries(left + MAP, usize::from(count).min(ENTRIES_MAX), ENTRY_BYTES) },
    })
}

/// The screen that the loader left on, if it is a frame buffer we can use
/// (`screen_info`, at the start of the page).
///
/// # Safety
/// As for [`read`], and the mark is right.
unsafe fn frame(left: u64) -> Option<Frame> {
    const KIND: u64 = 0x0f;
    const KIND_VESA: u8 = 0x23;
    const KIND_EFI: u8 = 0x70;
    const CAPABILITIES: u64 = 0x36;
    /// The base has an upper half.
    const HAS_HIGH_BASE: u32 = 1 << 1;
    // SAFETY: the page has the field (caller).
    let kind = unsafe { peek::<u8>(left + KIND) };
    // SAFETY: as above.
    let depth = unsafe { peek::<u16>(left + 0x16) };
    if !matches!(kind, KIND_VESA | KIND_EFI) || depth != 32 {
        return None;
    }
    // SAFETY: as above.
    let capabilities = unsafe { peek::<u32>(left + CAPABILITIES) };
    // SAFETY: as above.
    let low = unsafe { peek::<u32>(left + 0x18) };
    // SAFETY: as above.
    let high = unsafe { peek::<u32>(left + 0x3a) };
    let high = if capabilities & HAS_HIGH_BASE != 0 {
        high
    } else {
        0
    };
    // SAFETY: as above.
    let width = unsafe { peek::<u16>(left + 0x12) };
    // SAFETY: as above.
    let height = unsafe { peek::<u16>(left + 0x14) };
    // SAFETY: as above.
    let line_bytes = unsafe { peek::<u16>(left + 0x24) };
    Some(Frame {
        address: u64::from(high) << 32 | u64::from(low),
        width: width.into(),
        height: height.into(),
        line_bytes: line_bytes.into(),
    })
}
