//! What machines start from: the boot file, and everything that is made of it.
//!
//! The boot file is the program `door` with the kernel behind it, packed, and with
//! the headers that loaders look for in its first page ([`header`], [`pe`]). The
//! ELF is the kernel as it was linked; it boots by PVH.
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
pub mod pack;
pub mod pe;

pub use build::{Artifacts, Options, build};

use elf::Elf;

/// Makes the boot file out of its own code's ELF and the kernel's.
pub fn boot_file(door_elf: &[u8], kernel_elf: &[u8], version: &str) -> Result<Vec<u8>, String> {
    let door = Elf::parse(door_elf)?;
    check_door(&door)?;
    let kernel = Elf::parse(kernel_elf)?;
    check_kernel(&kernel)?;
    let parcel = door.place("parcel")?;
    if parcel != door.file_end() {
        return Err(format!(
            "the boot file's own code ends at {:#x}, not at {parcel:#x} where the packed kernel starts",
            door.file_end()
        ));
    }
    let mut file = door_elf[..parcel as usize].to_vec();
    let label = pack::pack(&kernel, &mut file)?;
    pad(&mut file);
    let constants_end = file.len() as u64;
    file.extend(pe::sbat(version).bytes());
    pad(&mut file);
    let file_end = file.len() as u64;
    // Loaders put what they take for the kernel on a page, wherever it is in the file.
    let unpacked = label.kernel_at(parcel - layout::KERNEL) + layout::KERNEL;
    let memory_end = unpacked + u64::from(label.memory_bytes);
    let header = header::boot_header(file_end, memory_end, version)?;
    file[..header.len()].copy_from_slice(&header);
    let image = pe::Image {
        entry: door.place("uefi_entry")?,
        data_start: door.place("data_start")?,
        constants_start: door.place("constants_start")?,
        constants_end,
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

/// Fills up to what a section of the file starts on.
fn pad(file: &mut Vec<u8>) {
    file.resize(file.len().next_multiple_of(pe::FILE_ALIGNMENT as usize), 0);
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

/// What has to hold for the boot file's own code to run.
fn check_door(elf: &Elf<'_>) -> Result<(), String> {
    check_segments(elf, 0)?;
    for (name, place) in layout::ENTRIES {
        let found = elf.symbol(name)?;
        if found != Some(place) {
            return Err(format!("the entry {name} is at {found:x?}, not {place:#x}"));
        }
    }
    if elf.memory_end() != elf.file_end() {
        return Err("the boot file's own code wants memory that is not in the file".to_owned());
    }
    Ok(())
}

/// What has to hold for the kernel to boot, unpacked or as it is.
fn check_kernel(elf: &Elf<'_>) -> Result<(), String> {
    check_segments(elf, layout::LOAD_AT)?;
    let pvh = elf.note("Xen", elf::NOTE_PVH)?;
    let entry = layout::LOAD_AT + elf.place("pvh_entry")?;
    if pvh != Some(&entry.to_le_bytes()) {
        return Err(format!("the PVH note says {pvh:x?}, not {entry:#x}"));
    }
    match elf.note("HERMIT", elf::NOTE_HERMIT)? {
        Some(_) => Ok(()),
        None => Err("the note of the Hermit entry is missing".to_owned()),
    }
}

/// Addresses are offsets in the file, loaded `load_at` further up, and the start
/// code knows all relocations.
fn check_segments(elf: &Elf<'_>, load_at: u64) -> Result<(), String> {
    for segment in elf.loads() {
        if segment.offset != segment.address {
            return Err(format!(
                "the segment at {:#x} lies at {:#x} in the file; the link script makes them equal",
                segment.address, segment.offset
            ));
        }
        if segment.load_address != segment.address + load_at {
            return Err(format!(
                "the segment at {:#x} is loaded at {:#x}, not {load_at:#x} further up",
                segment.address, segment.load_address
            ));
        }
    }
    match elf.relocations()?.find(|&kind| kind != elf::RELATIVE) {
        Some(kind) => Err(format!(
            "a relocation is of kind {kind}; the boot entry knows kind {} only",
            elf::RELATIVE
        )),
        None => Ok(()),
    }
}
