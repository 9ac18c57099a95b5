//! The Hermit loader: what its boot information says.
//!
//! The loader passes on where it found its own; the Linux boot protocol is the
//! one we can read.

use super::{Left, Unusable, linux};
use core::ptr;
use hermit_entry::boot_info::{BootInfo, PlatformInfo, RawBootInfo};

hermit_entry::define_entry_version!();

/// # Safety
/// `left` is what the loader passed to the Hermit entry, and no memory has been
/// given away yet.
pub(super) unsafe fn read(
    left: u64,
) -> Result<Left<impl Iterator<Item = (u64, u64, u32)> + Clone>, Unusable> {
    let raw = ptr::with_exposed_provenance::<RawBootInfo>(left as usize);
    if raw.is_null() || !raw.is_aligned() {
        return Err(Unusable::NoMark {
            what: "Hermit boot information",
            address: left,
        });
    }
    // SAFETY: the loader left its structure here (caller).
    let raw = unsafe { raw.read() };
    match BootInfo::from(raw).platform_info {
        PlatformInfo::LinuxBootParams {
            boot_params_addr, ..
        } => {
            // SAFETY: the loader got this page by that protocol and kept it.
            unsafe { linux::read(boot_params_addr.get()) }
        }
        _ => Err(Unusable::HermitPlatform),
    }
}
