//! Every limit of the protocol, each with its reason.

/// Most bytes of a frame that a slot holds: 36 of headers and 17 sectors, which
/// is what a 9,000-byte MTU carries.
pub const WIRE_BYTES: usize = 36 + 17 * SECTOR_BYTES;

/// One sector. AoE knows no other size.
pub const SECTOR_BYTES: usize = 512;

/// Shortest frame that is sent. Real cards pad to it, virtual ones do not, and
/// aoetools throw away what is shorter.
pub const FRAME_BYTES_MIN: usize = 60;

/// What every path carries: 2 sectors fit the MTU of 1,500. An answer
/// that says more must have come through as a frame of that length.
pub const SECTORS_SURE: u8 = 2;

/// Fewest buffers that are ever advertised: below 2 the Linux driver makes the
/// device and then never sends to it.
pub const BUFFERS_MIN: u16 = 2;

/// Longest config string.
pub const CONFIG_BYTES_MAX: usize = 1024;

/// Most entries of a mask list: what a reply at the MTU of 1,500 carries, on
/// all ports, so that a list made through one can be read through another.
pub const MASKS_MAX: usize = (1500 + 14 - 28) / 8;
const _: () = assert!(MASKS_MAX == 185);

/// Most members of a reservation, for the same reason.
pub const MEMBERS_MAX: usize = (1500 + 14 - 26) / 6;
const _: () = assert!(MEMBERS_MAX == 248);

/// A write that has waited this long for older ones is dropped, never run. Its
/// host has resent it many times by then (Linux begins after 100 ms), and what it
/// writes next to those sectors must not be undone. Still 180 times shorter than
/// what the host bears before it gives up the device.
pub const WRITE_WAIT_MAX_US: u64 = 1_000_000;

/// Sectors that one 64-bit word of the fence's filter stands for.
pub const GRANULE_SECTORS: u64 = 64;

/// Words of the fence's filter. With 128 random writes of 4 KiB in flight one in
/// sixty meets a stranger's bits and looks at the list; 8 KiB is what that costs.
pub const FILTER_WORDS: usize = 1024;
