//! What whoever started us hands to the kernel: by which door, and what was found.

/// Which entry the loader used. A number, as it passes through a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door(pub u32);

impl Door {
    /// Linux boot protocol, 32-bit entry.
    pub const LINUX_32: Self = Self(1);
    /// Linux boot protocol, 64-bit entry.
    pub const LINUX_64: Self = Self(2);
    /// PVH: the x86/HVM direct boot ABI.
    pub const PVH: Self = Self(3);
    /// The Hermit loader.
    pub const HERMIT: Self = Self(4);
    /// UEFI, as an application.
    pub const UEFI: Self = Self(5);

    /// For a person to read.
    pub fn name(self) -> &'static str {
        match self {
            Self::LINUX_32 => "Linux protocol",
            Self::LINUX_64 => "Linux protocol, 64-bit",
            Self::PVH => "PVH",
            Self::HERMIT => "Hermit loader",
            Self::UEFI => "UEFI",
            _ => "an unknown door",
        }
    }
}

/// A frame buffer with 32 bits for each point, as a loader or a firmware tells it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it starts.
    pub address: u64,
    /// Points in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Bytes from one line to the next.
    pub line_bytes: u32,
}

/// Says that a [`Firmware`] is what it should be.
pub const MARK: u64 = u64::from_le_bytes(*b"ubladeFW");
/// Most bytes of the command line, as ASCII.
pub const COMMAND_LINE_BYTES: usize = 4096;
/// Room for the memory map. A big machine's has some hundred entries of 48 bytes.
pub const MAP_BYTES: usize = 128 << 10;

/// What was asked of a UEFI firmware while it was there.
#[repr(C)]
pub struct Firmware {
    /// [`MARK`].
    pub mark: u64,
    /// How the leaving of the boot services ended; 0 is well.
    pub exit_status: u64,
    /// Where the root of the ACPI tables is; 0 for nowhere.
    pub acpi_root: u64,
    /// Where the entry point of SMBIOS is; 0 for nowhere.
    pub smbios_root: u64,
    /// All zero for none.
    pub frame: Frame,
    /// Bytes of the memory map, and of an entry of it.
    pub map_bytes: u64,
    /// As the firmware has it; more than we know of, perhaps.
    pub map_entry_bytes: u64,
    /// Ends with a zero.
    pub command_line: [u8; COMMAND_LINE_BYTES],
    /// The firmware's own entries.
    pub map: [u8; MAP_BYTES],
}
