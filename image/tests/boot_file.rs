//! The real thing: the kernel is built, and each loader's own rules are applied
//! to what came out.

use door::parcel::{FIRST, LABEL_BYTES, Label, unpack};
use hermit_entry::elf::KernelObject;
use image::elf::Elf;
use image::header::field;
use image::layout;
use std::fs;
use std::mem::{MaybeUninit, offset_of};
use std::ops::Range;
use std::sync::OnceLock;

/// What was built.
struct Files {
    boot_file: Vec<u8>,
    elf: Vec<u8>,
    door: Vec<u8>,
}

/// All of it, built once.
fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| {
        let artifacts = image::build(&image::Options::default()).unwrap();
        let read = |path| fs::read(path).unwrap();
        Files {
            boot_file: read(&artifacts.boot_file),
            elf: read(&artifacts.elf),
            door: read(&artifacts.door),
        }
    })
}

/// Where the packed kernel is, with its label.
fn parcel() -> usize {
    Elf::parse(&files().door).unwrap().place("parcel").unwrap() as usize
}

/// A number of the label.
fn label(at: usize) -> usize {
    let place = parcel() + at;
    let bytes = files().boot_file[place..place + 4].try_into().unwrap();
    u32::from_le_bytes(bytes) as usize
}

#[test]
fn the_boot_file_is_its_own_code_and_then_the_kernel() {
    let Files {
        boot_file,
        elf,
        door,
    } = files();
    assert!(boot_file.len() <= layout::BOOT_FILE_MAX);
    let own = layout::HEADER_BYTES..parcel();
    assert_eq!(boot_file[own.clone()], door[own]);

    let contents = parcel() + LABEL_BYTES;
    let contents = &boot_file[contents..][..label(offset_of!(Label, packed_bytes))];
    let mut kernel = vec![0; label(offset_of!(Label, kernel_bytes))];
    let [start, end] = [
        offset_of!(Label, relocations),
        offset_of!(Label, relocations_end),
    ]
    .map(|field| label(field) - FIRST);
    unpack(contents, &mut kernel, start..end).unwrap();
    let parsed = Elf::parse(elf).unwrap();
    assert_eq!(FIRST + kernel.len(), parsed.file_end() as usize);
    let mut linked = elf[FIRST..parsed.file_end() as usize].to_vec();
    assert!(end > start);
    assert!(kernel[start..end] == linked[start..end]);
    // What stands where addresses go is written over at the start.
    for code in [&mut kernel, &mut linked] {
        relocate(code, start..end);
    }
    assert!(kernel == linked);
}

/// Puts every address where it goes, for a kernel at address 0 (as `door::relocate`).
fn relocate(code: &mut [u8], table: Range<usize>) {
    for entry in table.step_by(24) {
        let number = |at: usize| u64::from_le_bytes(code[at..at + 8].try_into().unwrap());
        let place = number(entry) as usize - FIRST;
        let addend = number(entry + 16).to_le_bytes();
        code[place..place + 8].copy_from_slice(&addend);
    }
}

#[test]
fn every_entry_is_code_that_closes_interrupts() {
    let Files { boot_file, elf, .. } = files();
    assert_eq!(&boot_file[field::MARK..][..4], b"HdrS");
    // The setup code begins with cli, cld; so do the entries.
    for entry in [
        layout::SETUP,
        layout::SETUP_WHOLE,
        layout::LINUX_32_ENTRY,
        layout::LINUX_64_ENTRY,
    ] {
        assert_eq!(boot_file[entry as usize..][..2], [0xfa, 0xfc], "{entry:#x}");
    }
    let unpacked = label(offset_of!(Label, entry));
    let pvh = Elf::parse(elf).unwrap().place("pvh_entry").unwrap() as usize;
    for entry in [unpacked, pvh] {
        assert_eq!(elf[entry..][..2], [0xfa, 0xfc], "{entry:#x}");
    }
}

#[test]
fn the_header_asks_for_all_memory_that_file_and_kernel_use() {
    let Files { boot_file, elf, .. } = files();
    let bytes = boot_file[field::INIT_BYTES..][..4].try_into().unwrap();
    let memory = Elf::parse(elf).unwrap().memory_end() as usize;
    // The kernel lies on a page behind its parcel, which is loaded from a page on.
    let parcel_end = parcel() + LABEL_BYTES + label(offset_of!(Label, packed_bytes));
    let end = (parcel_end - layout::KERNEL as usize).next_multiple_of(4096) + memory;
    assert_eq!(u32::from_le_bytes(bytes) as usize, end);
}

#[test]
fn the_boot_sector_leaves_room_for_its_two_fields() {
    let mbr = image::mbr(&files().door).unwrap();
    // Code begins with cli; what is filled in later is zero.
    assert_eq!(mbr[0], 0xfa);
    assert_eq!(mbr[layout::MBR_START_LBA_AT..], [0; 8]);
    assert_eq!(layout::MBR_SECTORS_AT + 4, layout::MBR_BYTES);
}

#[test]
fn the_hermit_loader_takes_the_elf_and_relocates_it() {
    let elf = &files().elf;
    let kernel = KernelObject::parse(elf).unwrap();
    assert_eq!(kernel.start_addr(), None, "it may lie anywhere");
    let mut memory = vec![MaybeUninit::uninit(); kernel.mem_size()];
    let loaded = kernel.load_kernel(&mut memory, 0x40_0000);
    let entry = Elf::parse(elf).unwrap().symbol("hermit_entry").unwrap();
    assert_eq!(loaded.entry_point, 0x40_0000 + entry.unwrap());
    assert!(loaded.load_info.tls_info.is_none());
}

#[test]
fn a_kernel_whose_entry_moved_is_refused() {
    let elf = &files().elf;
    let mut broken = elf.clone();
    // The program header of the first segment: its address and its offset differ.
    let at = u64::from_le_bytes(elf[32..40].try_into().unwrap()) as usize;
    broken[at + 16] ^= 0x10;
    let error = image::boot_file(&files().door, &broken, "").unwrap_err();
    assert!(error.contains("link script"), "{error}");
}
