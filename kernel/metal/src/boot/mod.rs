//! Doors: every way into the kernel, and what each loader tells us.
//!
//! Loaders of PVH and Hermit enter the ELF itself; all others enter the boot file,
//! whose own code (`door`) unpacks us and passes on what they left.
//!
//! Whatever the loader left lies in memory that we are about to give away, so
//! all of it is copied here first: the command line, and the memory map as ranges
//! (`metal::map`). What it says is checked for its mark and read within bounds;
//! that its pointers point to its own data we have to believe.

mod head;
mod hermit;
mod linux;
mod pvh;
mod uefi;

use crate::memory::Memory;
use core::cell::UnsafeCell;
use core::fmt;
use core::ptr;
use door::handover::{Door, Frame};
use metal::acpi;
use metal::map::{From, Map, Range};

/// Why what the loader left can not be used.
#[derive(Clone, Copy, Debug)]
pub enum Unusable {
    /// The structure does not have its mark.
    NoMark {
        /// What was expected.
        what: &'static str,
        /// Where it was expected.
        address: u64,
    },
    /// The loader did not say which memory there is.
    NoMemoryMap,
    /// The Hermit loader itself was started in a way that we can not read.
    HermitPlatform,
    /// The firmware did not leave its boot services.
    BootServices {
        /// What it said.
        status: u64,
    },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMark { what, address } => {
                write!(f, "there is no {what} at {address:#x}, where the boot loader says it is")
            }
            Self::NoMemoryMap => f.write_str("the boot loader gave no memory map"),
            Self::HermitPlatform => f.write_str(
                "the Hermit loader was not started by the Linux boot protocol, so there is no memory map",
            ),
            Self::BootServices { status } => write!(
                f,
                "the firmware does not leave its boot services (UEFI status {status:#x})"
            ),
        }
    }
}

/// What the loader told us.
pub struct Boot {
    /// The words the operator gave.
    pub command_line: &'static [u8],
    /// The memory that can be used: our own image, the first MiB and what the
    /// firmware keeps are cut out.
    pub memory: Memory,
    /// Where usable memory below 4 GiB ends: devices are further up.
    pub memory_end: u64,
    /// Where the loader says that the root of the ACPI tables is.
    pub acpi_root: Option<u64>,
    /// Where the loader says that the entry point of SMBIOS is.
    pub smbios_root: Option<u64>,
    /// The frame buffer that the loader says is on.
    pub frame: Option<Frame>,
    /// The segment of the extended BIOS data area; it stands in page 0, which is
    /// gone later.
    pub extended_data: u16,
}

/// Longest command line that is kept.
const COMMAND_LINE_BYTES: usize = 4096;
/// Most entries of a memory map that are read.
const MAP_ENTRIES_MAX: usize = 512;
/// E820: memory that can be used. Everything else can not.
const USABLE: u32 = 1;
/// Page 0, which is not mapped.
const PAGE_0: Range = Range {
    start: 0,
    end: 4096,
};
/// Where the page for another processor ends at the latest: above it a firmware may
/// keep data of its own without saying so.
const LOW_PAGES_END: u64 = 0x9_0000;
/// The first MiB: firmware data, and room for starting other processors.
const FIRST_MIB: Range = Range {
    start: 0,
    end: 1 << 20,
};

/// What the loader left, as every loader's reader gives it.
struct Left<M> {
    command_line: Text,
    /// Start, bytes and E820 type; may be walked twice.
    map: M,
    /// Where the root of the ACPI tables is; 0 if the loader does not say.
    acpi_root: u64,
    /// Where the entry point of SMBIOS is; 0 if the loader does not say.
    smbios_root: u64,
    /// The frame buffer that is on, with 32 bits a point.
    frame: Option<Frame>,
}

/// Where a text lies, and how long it can be. It ends at a zero before that.
struct Text {
    address: u64,
    bytes_max: usize,
}

/// Where the boot entry comes in, with interrupts closed, on our stack.
extern "C" fn enter(door: u32, left: u64) -> ! {
    let door = Door(door);
    let boot = match door {
        // SAFETY: `head` passes on what the loader gave to this very entry, and
        // nothing has been written yet outside of our image.
        Door::PVH => unsafe { pvh::read(left) }.and_then(gather),
        // SAFETY: as above.
        Door::HERMIT => unsafe { hermit::read(left) }.and_then(gather),
        // SAFETY: as above; `uefi` itself leads here.
        Door::UEFI => unsafe { uefi::read(left) }.and_then(gather),
        // SAFETY: as above; the two other entries are of this protocol.
        _ => unsafe { linux::read(left) }.and_then(gather),
    };
    crate::start(door, boot)
}

/// Makes one picture of what the loader left.
fn gather<M>(left: Left<M>) -> Result<Boot, Unusable>
where
    M: Iterator<Item = (u64, u64, u32)> + Clone,
{
    let command_line = keep_command_line(left.command_line);
    let acpi_root = Some(left.acpi_root).filter(|root| *root != 0);
    // SAFETY: page 0 is still mapped, and firmware data.
    let extended_data = unsafe { peek(acpi::EXTENDED_DATA_SEGMENT) };
    let mut map = Map::new();
    for (start, bytes, kind) in left.map.clone() {
        if kind == USABLE {
            map.add(Range::of(start, bytes));
        }
    }
    if map.ranges().is_empty() {
        return Err(Unusable::NoMemoryMap);
    }
    let memory_end = map.low_end();
    for (start, bytes, kind) in left.map {
        if kind != USABLE {
            map.cut(Range::of(start, bytes));
        }
    }
    map.cut(PAGE_0);
    let low_page = map.take(4096, 4096, LOW_PAGES_END, From::Top);
    map.cut(FIRST_MIB);
    map.cut(image());
    Ok(Boot {
        command_line,
        // SAFETY: the firmware says that this is memory, and we are the only one
        // who runs: our image is cut out, and what the loader left has been
        // copied. Devices that may still write to memory lose that right in
        // `probe::stop_dma`, before any of this is given away. Called once.
        memory: unsafe { Memory::new(map, low_page) },
        memory_end,
        acpi_root,
        frame: left.frame,
        smbios_root: Some(left.smbios_root).filter(|root| *root != 0),
        extended_data,
    })
}

/// Where we are, stacks and all.
pub fn image() -> Range {
    unsafe extern "C" {
        static __ehdr_start: u8;
        static image_end: u8;
    }
    Range {
        start: (&raw const __ehdr_start).addr() as u64,
        end: (&raw const image_end).addr() as u64,
    }
}

struct Kept(UnsafeCell<[u8; COMMAND_LINE_BYTES]>);
// SAFETY: written only by `keep_command_line`, which runs once, before anybody
// has a reference to it.
unsafe impl Sync for Kept {}

static KEPT: Kept = Kept(UnsafeCell::new([0; COMMAND_LINE_BYTES]));

fn keep_command_line(text: Text) -> &'static [u8] {
    let mut len = 0;
    let kept = KEPT.0.get().cast::<u8>();
    while text.address != 0 && len < text.bytes_max.min(COMMAND_LINE_BYTES) {
        // SAFETY: the loader says that its text is here, and it has not ended.
        let byte = unsafe { peek::<u8>(text.address + len as u64) };
        if byte == 0 {
            break;
        }
        // SAFETY: `len` is below the buffer's length, which nobody else uses.
        let place = unsafe { kept.add(len) };
        // SAFETY: as above.
        unsafe { place.write(byte) };
        len += 1;
    }
    // SAFETY: the first `len` bytes are set and, as this runs once, never change
    // again.
    unsafe { core::slice::from_raw_parts(kept, len) }
}

/// Reads a `T` from memory that the loader left.
///
/// # Safety
/// The loader says that there is one, and that memory has not been given away.
/// `T` is a plain number.
unsafe fn peek<T: Copy>(address: u64) -> T {
    let pointer = ptr::with_exposed_provenance::<T>(address as usize);
    // SAFETY: the caller vouches for the memory; no alignment is needed.
    unsafe { pointer.read_unaligned() }
}

/// The entries of a list of E820 entries, `step` bytes apart.
///
/// # Safety
/// The loader says that there are `count` entries at `address`.
unsafe fn entries(
    address: u64,
    count: usize,
    step: u64,
) -> impl Iterator<Item = (u64, u64, u32)> + Clone {
    (0..count.min(MAP_ENTRIES_MAX) as u64).map(move |index| {
        let entry = address + index * step;
        // SAFETY: the loader has left an entry here (caller): two addresses and
        // a kind.
        let start = unsafe { peek(entry) };
        // SAFETY: as above.
        let bytes = unsafe { peek(entry + 8) };
        // SAFETY: as above.
        let kind = unsafe { peek(entry + 16) };
        (start, bytes, kind)
    })
}
