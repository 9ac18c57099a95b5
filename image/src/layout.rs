//! The numbers of `link.ld`, for those who read what it made.

/// Where loaders of the ELF put address 0.
pub const LOAD_AT: u64 = 0x10_0000;
/// Bytes of the boot header, which is a page of the Linux boot protocol.
pub const HEADER_BYTES: usize = 0x1000;
/// Where the 16-bit setup code starts.
pub const SETUP: u64 = 0x1000;
/// Where the setup code comes in when the whole file lies in low memory.
pub const SETUP_WHOLE: u64 = SETUP + 0x20;
/// Where the kernel starts: what a Linux loader puts at 1 MiB.
pub const KERNEL: u64 = 0x2000;
/// 32-bit entry of the Linux boot protocol.
pub const LINUX_32_ENTRY: u64 = KERNEL;
/// Entry of PVH.
pub const PVH_ENTRY: u64 = KERNEL + 0x80;
/// 64-bit entry of the Linux boot protocol.
pub const LINUX_64_ENTRY: u64 = KERNEL + 0x200;

/// The entries by their names in the kernel.
pub const ENTRIES: [(&str, u64); 3] = [
    ("linux32_entry", LINUX_32_ENTRY),
    ("pvh_entry", PVH_ENTRY),
    ("linux64_entry", LINUX_64_ENTRY),
];

/// Largest boot file, management plane and all. It fits below 640 KiB with room to
/// spare, where a network boot program has to live.
pub const BOOT_FILE_MAX: usize = 512 << 10;

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
