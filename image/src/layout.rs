//! The numbers of `door.ld` and `kernel.ld`, for those who read what they made.
//!
//! | in the boot file | |
//! |---|---|
//! | 0 | headers: a DOS program, a UEFI application, a Linux kernel |
//! | [`SETUP`] | 16-bit setup code |
//! | [`KERNEL`] | what a Linux loader takes for the kernel: its entries, UEFI's, the unpacker |
//! | the symbol `parcel` | the packed kernel, behind a label (`door::parcel`) |

/// Where loaders of the ELF put address 0.
pub const LOAD_AT: u64 = 0x10_0000;
/// Where Linux loaders like to put [`KERNEL`].
pub const CODE32_START: u64 = 0x10_0000;
/// Bytes of the boot header, which is a page of the Linux boot protocol.
pub const HEADER_BYTES: usize = 0x1000;
/// Where the 16-bit setup code starts.
pub const SETUP: u64 = 0x1000;
/// Where the setup code comes in when the whole file lies in low memory.
pub const SETUP_WHOLE: u64 = SETUP + 0x20;
/// What a Linux loader puts at 1 MiB starts here: the sector behind the setup code, as
/// nothing of it needs a page of its own.
pub const KERNEL: u64 = 0x1200;
/// 32-bit entry of the Linux boot protocol.
pub const LINUX_32_ENTRY: u64 = KERNEL;
/// 64-bit entry of the Linux boot protocol.
pub const LINUX_64_ENTRY: u64 = KERNEL + 0x200;

/// The entries of the boot file by their names in `door`.
pub const ENTRIES: [(&str, u64); 2] = [
    ("linux32_entry", LINUX_32_ENTRY),
    ("linux64_entry", LINUX_64_ENTRY),
];

/// Largest boot file, management plane and all. It fits below 640 KiB with room to
/// spare, where a network boot program has to live.
pub const BOOT_FILE_MAX: usize = 320 << 10;

/// Bytes of the boot sector's code. Behind them are the disk's signature and
/// the partition table, which belong to the disk.
pub const MBR_BYTES: usize = 440;
/// In the boot sector: where the boot file starts on the disk, in sectors of
/// 512 bytes (32 bits). Whoever writes the disk fills it in.
pub const MBR_START_LBA_AT: usize = 432;
/// In the boot sector: how many sectors the boot file has (32 bits). As above.
pub const MBR_SECTORS_AT: usize = 436;
/// Where the boot file starts on a disk of ours: behind the place that a CD-ROM
/// has for its descriptors, so that disk and ISO are laid out alike.
pub const BOOT_FILE_LBA: u32 = 128;
