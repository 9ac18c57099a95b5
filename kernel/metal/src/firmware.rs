//! What a UEFI firmware says, in the words of the rest of the kernel.

/// E820: memory that can be used.
const USABLE: u32 = 1;
/// E820: memory that can not.
const RESERVED: u32 = 2;

/// An entry's type in a UEFI memory map, as an E820 type (UEFI 2.10, table 7.6,
/// "memory type usage after `ExitBootServices`"): what loaders and boot services
/// had is free then, what the runtime services have is not.
pub const fn e820_kind(uefi: u32) -> u32 {
    const LOADER_CODE: u32 = 1;
    const BOOT_SERVICES_DATA: u32 = 4;
    const CONVENTIONAL: u32 = 7;
    match uefi {
        LOADER_CODE..=BOOT_SERVICES_DATA | CONVENTIONAL => USABLE,
        _ => RESERVED,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn what_the_runtime_services_and_acpi_keep_is_not_usable() {
        let usable: Vec<u32> = (0..20).filter(|&kind| e820_kind(kind) == USABLE).collect();
        assert_eq!(usable, [1, 2, 3, 4, 7]);
        assert_eq!(e820_kind(u32::MAX), RESERVED);
    }
}
