//! The real thing: the kernel is built, and each loader's own rules are applied
//! to what came out.

use hermit_entry::elf::KernelObject;
use image::elf::Elf;
use image::header::field;
use image::layout;
use std::fs;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// Both files, built once.
fn files() -> &'static (Vec<u8>, Vec<u8>) {
    static FILES: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    FILES.get_or_init(|| {
        let artifacts = image::build(&image::Options::default()).unwrap();
        let read = |path| fs::read(path).unwrap();
        (read(&artifacts.boot_file), read(&artifacts.elf))
    })
}

#[test]
fn the_boot_file_is_the_elf_with_another_first_page() {
    let (boot_file, elf) = files();
    assert!(boot_file.len() <= layout::BOOT_FILE_MAX);
    assert_eq!(
        boot_file[layout::HEADER_BYTES..],
        elf[layout::HEADER_BYTES..boot_file.len()]
    );
    assert_eq!(&boot_file[field::MARK..][..4], b"HdrS");
    // The setup code begins with cli, cld; so do the entries.
    for entry in [
        layout::SETUP,
        layout::SETUP_WHOLE,
        layout::LINUX_32_ENTRY,
        layout::PVH_ENTRY,
        layout::LINUX_64_ENTRY,
    ] {
        assert_eq!(boot_file[entry as usize..][..2], [0xfa, 0xfc], "{entry:#x}");
    }
}

#[test]
fn the_header_asks_for_all_memory_that_the_kernel_uses() {
    let (boot_file, elf) = files();
    let bytes = boot_file[field::INIT_BYTES..][..4].try_into().unwrap();
    let memory_end = Elf::parse(elf).unwrap().memory_end();
    assert!(u64::from(u32::from_le_bytes(bytes)) >= memory_end - layout::KERNEL);
}

#[test]
fn the_boot_sector_leaves_room_for_its_two_fields() {
    let (_, elf) = files();
    let mbr = image::mbr(elf).unwrap();
    // Code begins with cli; what is filled in later is zero.
    assert_eq!(mbr[0], 0xfa);
    assert_eq!(mbr[layout::MBR_START_LBA_AT..], [0; 8]);
    assert_eq!(layout::MBR_SECTORS_AT + 4, layout::MBR_BYTES);
}

#[test]
fn the_hermit_loader_takes_the_elf_and_relocates_it() {
    let (_, elf) = files();
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
    let (_, elf) = files();
    let mut broken = elf.clone();
    // The program header of the first segment: its address and its offset differ.
    let at = u64::from_le_bytes(elf[32..40].try_into().unwrap()) as usize;
    broken[at + 16] ^= 0x10;
    let error = image::boot_file(&broken, "").unwrap_err();
    assert!(error.contains("link script"), "{error}");
}
