//! The boot file: one link output, in two forms.
//!
//! The kernel is linked so that an address is an offset in the file
//! (`link.ld`). The ELF boots by PVH as it is. The boot file is the same bytes
//! with the first page, which held the ELF's headers, replaced by the headers
//! that other loaders look for ([`header`]). Nothing is moved, so whatever holds
//! for the one holds for the other.
//!
//! [`build`] makes both and refuses what would not boot: a relocation that the
//! entry does not know, an entry that is not where its loader jumps to, a file
//! that has grown too large.

#![forbid(unsafe_code)]

mod build;
pub mod conf;
pub mod container;
pub mod disk;
pub mod elf;
pub mod fat;
pub mod header;
pub mod images;
pub mod iso;
pub mod layout;
pub mod ova;
pub mod pe;

pub use build::{Artifacts, Options, build};

use elf::Elf;

/// Makes the boot file out of the kernel's ELF.
pub fn boot_file(elf_bytes: &[u8], version: &str) -> Result<Vec<u8>, String> {
    let elf = Elf::parse(elf_bytes)?;
    check(&elf)?;
    let (file_end, memory_end) = (elf.file_end(), elf.memory_end());
    let mut file = elf_bytes[..file_end as usize].to_vec();
    let header = header::boot_header(file_end, memory_end, version)?;
    file[..header.len()].copy_from_slice(&header);
    let place = |name: &str| {
        elf.symbol(name)?
            .ok_or_else(|| format!("the kernel has no `{name}`"))
    };
    let image = pe::Image {
        entry: place("uefi_entry")?,
        text_end: place("text_end")?,
        data_start: place("data_start")?,
        file_end,
        memory_end,
    };
    pe::write(&mut file, &image)?;
    if file.len() > layout::BOOT_FILE_MAX {
        return Err(format!(
            "the boot file has {} KiB, more than the {} KiB that it may have",
            file.len().div_ceil(1024),
            layout::BOOT_FILE_MAX / 1024
        ));
    }
    Ok(file)
}

/// The boot sector's code, with its two fields still zero (`layout`).
pub fn mbr(elf_bytes: &[u8]) -> Result<[u8; layout::MBR_BYTES], String> {
    let code = Elf::parse(elf_bytes)?.section(".mbr")?;
    let code = code.ok_or("the boot sector's code is missing")?;
    code.try_into().map_err(|_| {
        format!(
            "the boot sector's code has {} bytes, not {}",
            code.len(),
            layout::MBR_BYTES
        )
    })
}

/// What has to hold for the file to boot.
fn check(elf: &Elf<'_>) -> Result<(), String> {
    for segment in elf.loads() {
        if segment.offset != segment.address {
            return Err(format!(
                "the segment at {:#x} lies at {:#x} in the file; the link script makes them equal",
                segment.address, segment.offset
            ));
        }
        if segment.load_address != segment.address + layout::LOAD_AT {
            return Err(format!(
                "the segment at {:#x} is loaded at {:#x}, not {:#x} further up",
                segment.address,
                segment.load_address,
                layout::LOAD_AT
            ));
        }
    }
    for (name, place) in layout::ENTRIES {
        let found = elf.symbol(name)?;
        if found != Some(place) {
            return Err(format!("the entry {name} is at {found:x?}, not {place:#x}"));
        }
    }
    if let Some(kind) = elf.relocations()?.find(|&kind| kind != elf::RELATIVE) {
        return Err(format!(
            "a relocation is of kind {kind}; the boot entry knows kind {} only",
            elf::RELATIVE
        ));
    }
    let pvh = elf.note("Xen", elf::NOTE_PVH)?;
    let entry = layout::LOAD_AT + layout::PVH_ENTRY;
    if pvh != Some(&entry.to_le_bytes()) {
        return Err(format!("the PVH note says {pvh:x?}, not {entry:#x}"));
    }
    match elf.note("HERMIT", elf::NOTE_HERMIT)? {
        Some(_) => Ok(()),
        None => Err("the note of the Hermit entry is missing".to_owned()),
    }
}
