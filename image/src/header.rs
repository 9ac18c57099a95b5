//! The first page of the boot file: the Linux setup header.
//!
//! A loader reads this page from the file to learn what the kernel wants, fills
//! some of it in, and hands it over (Linux, x86/boot.rst, version 2.13). Bytes 0
//! to 0x1f0 are kept free for the headers of a DOS program and of a UEFI
//! application.
//!
//! A loader of the old kind also runs it: at 0x200 is a jump over the header, to
//! a longer jump into the setup code. And a firmware that loads the whole file
//! into low memory runs its first byte: "MZ", the mark of a DOS program, is
//! `dec bp; pop dx` there, and behind it is a jump as well.

use crate::layout;

/// Sectors of 512 bytes before the kernel, but for the first.
const SETUP_SECTORS: u8 = (layout::KERNEL / 512 - 1) as u8;
/// The first byte behind the header.
const END: usize = 0x268;
/// Where the version is, for `file` and for menus; a loader finds it by its
/// distance from 0x200.
const VERSION_TEXT: usize = 0xf00;
/// What Linux allows and the kernel keeps.
const COMMAND_LINE_MAX: u32 = 4095;

/// Where the fields are.
pub mod field {
    /// Sectors of setup code.
    pub const SETUP_SECTORS: usize = 0x1f1;
    /// The kernel in units of 16 bytes.
    pub const KERNEL_PARAGRAPHS: usize = 0x1f4;
    /// Video mode: as it is.
    pub const VIDEO_MODE: usize = 0x1fa;
    /// 0xaa55.
    pub const BOOT_FLAG: usize = 0x1fe;
    /// Entry of the setup code.
    pub const JUMP: usize = 0x200;
    /// "HdrS".
    pub const MARK: usize = 0x202;
    /// Version of the protocol.
    pub const VERSION: usize = 0x206;
    /// Where the version's text is, less 0x200.
    pub const VERSION_TEXT: usize = 0x20e;
    /// Flags.
    pub const LOAD_FLAGS: usize = 0x211;
    /// Where the 32-bit entry is.
    pub const CODE32_START: usize = 0x214;
    /// Largest address of an initial file system.
    pub const INITRD_MAX: usize = 0x22c;
    /// What the kernel wants to be aligned to.
    pub const ALIGNMENT: usize = 0x230;
    /// Whether it may lie elsewhere.
    pub const RELOCATABLE: usize = 0x234;
    /// What it can bear, as a power of two.
    pub const ALIGNMENT_MIN: usize = 0x235;
    /// More flags.
    pub const LOAD_FLAGS_64: usize = 0x236;
    /// Longest command line.
    pub const COMMAND_LINE_MAX: usize = 0x238;
    /// Where it likes to be.
    pub const PREFERRED_ADDRESS: usize = 0x258;
    /// How much memory it uses from its start on.
    pub const INIT_BYTES: usize = 0x260;
}

/// The header of a boot file that ends at `file_end`, with a kernel that, unpacked
/// behind it, uses memory up to `memory_end`.
pub fn boot_header(
    file_end: u64,
    memory_end: u64,
    version: &str,
) -> Result<[u8; layout::HEADER_BYTES], String> {
    const LOADED_HIGH: u8 = 1;
    const HAS_64_BIT_ENTRY: u16 = 1;
    const MAY_BE_ABOVE_4_GIB: u16 = 2;
    const PROTOCOL: u16 = 0x20d;
    const ALIGNMENT_EXPONENT: u8 = 12;
    let bytes = |end: u64| {
        end.checked_sub(layout::KERNEL)
            .and_then(|bytes| u32::try_from(bytes).ok())
            .ok_or_else(|| format!("a kernel that ends at {end:#x} fits no header"))
    };
    let kernel_paragraphs = bytes(file_end)?.div_ceil(16);
    let init_bytes = bytes(memory_end)?.next_multiple_of(4096);

    let mut page = [0; layout::HEADER_BYTES];
    let mut put = |at: usize, value: &[u8]| page[at..at + value.len()].copy_from_slice(value);
    put(field::SETUP_SECTORS, &[SETUP_SECTORS]);
    put(field::KERNEL_PARAGRAPHS, &kernel_paragraphs.to_le_bytes());
    put(field::VIDEO_MODE, &0xffff_u16.to_le_bytes());
    put(field::BOOT_FLAG, &0xaa55_u16.to_le_bytes());
    put(field::JUMP, &[0xeb, (END - field::MARK) as u8]);
    put(field::MARK, b"HdrS");
    put(field::VERSION, &PROTOCOL.to_le_bytes());
    let text_at = (VERSION_TEXT - field::JUMP) as u16;
    put(field::VERSION_TEXT, &text_at.to_le_bytes());
    put(field::LOAD_FLAGS, &[LOADED_HIGH]);
    put(
        field::CODE32_START,
        &(layout::CODE32_START as u32).to_le_bytes(),
    );
    put(field::INITRD_MAX, &0x7fff_ffff_u32.to_le_bytes());
    put(
        field::ALIGNMENT,
        &(1_u32 << ALIGNMENT_EXPONENT).to_le_bytes(),
    );
    put(field::RELOCATABLE, &[1]);
    put(field::ALIGNMENT_MIN, &[ALIGNMENT_EXPONENT]);
    let entry = HAS_64_BIT_ENTRY | MAY_BE_ABOVE_4_GIB;
    put(field::LOAD_FLAGS_64, &entry.to_le_bytes());
    put(field::COMMAND_LINE_MAX, &COMMAND_LINE_MAX.to_le_bytes());
    put(
        field::PREFERRED_ADDRESS,
        &layout::CODE32_START.to_le_bytes(),
    );
    put(field::INIT_BYTES, &init_bytes.to_le_bytes());
    put(0, b"MZ");
    // jmp near setup, where the whole file is in one place
    put(2, &[0xe9]);
    put(3, &((layout::SETUP_WHOLE - 5) as u16).to_le_bytes());
    // jmp near setup
    let distance = layout::SETUP as usize - (END + 3);
    put(END, &[0xe9]);
    put(END + 1, &(distance as u16).to_le_bytes());
    let text: Vec<u8> = format!("ublade {version}").into_bytes();
    let room = layout::HEADER_BYTES - VERSION_TEXT - 1;
    put(VERSION_TEXT, &text[..text.len().min(room)]);
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> [u8; layout::HEADER_BYTES] {
        boot_header(0x2_7000, 0x7_b000, "1.2.3").unwrap()
    }

    fn number(page: &[u8], at: usize, bytes: usize) -> u64 {
        let mut value = [0; 8];
        value[..bytes].copy_from_slice(&page[at..at + bytes]);
        u64::from_le_bytes(value)
    }

    #[test]
    fn the_kernel_starts_where_the_setup_sectors_end() {
        let sectors = number(&header(), field::SETUP_SECTORS, 1);
        assert_eq!((sectors + 1) * 512, layout::KERNEL);
    }

    #[test]
    fn the_marks_are_where_loaders_look() {
        let page = header();
        assert_eq!(&page[0x202..0x206], b"HdrS");
        assert_eq!(page[0x1fe..0x200], [0x55, 0xaa]);
        assert_eq!(number(&page, field::VERSION, 2), 0x20d);
    }

    #[test]
    fn the_kernel_is_loaded_high_and_anywhere() {
        let page = header();
        assert_eq!(page[field::LOAD_FLAGS] & 1, 1);
        assert_eq!(page[field::RELOCATABLE], 1);
        assert_eq!(number(&page, field::ALIGNMENT, 4), 4096);
        assert_eq!(page[field::LOAD_FLAGS_64], 3);
        assert_eq!(number(&page, field::CODE32_START, 4), 0x10_0000);
        assert_eq!(number(&page, field::PREFERRED_ADDRESS, 8), 0x10_0000);
    }

    #[test]
    fn memory_behind_the_file_is_asked_for() {
        let page = header();
        let init_bytes = number(&page, field::INIT_BYTES, 4);
        let wanted = (0x7_b000 - layout::KERNEL).next_multiple_of(4096);
        assert_eq!(init_bytes, wanted);
        let kernel = number(&page, field::KERNEL_PARAGRAPHS, 4) * 16;
        assert_eq!(kernel + layout::KERNEL, 0x2_7000);
    }

    #[test]
    fn two_jumps_lead_over_the_header_into_the_setup_code() {
        let page = header();
        assert_eq!(page[0x200], 0xeb);
        let first = 0x202 + usize::from(page[0x201]);
        assert!(first > field::INIT_BYTES + 4 && first <= 0x281);
        assert_eq!(page[first], 0xe9);
        let second = first as u64 + 3 + number(&page, first + 1, 2);
        assert_eq!(second, layout::SETUP);
        assert!(
            first + 3 <= 0x290,
            "the setup code clears the page from there"
        );
    }

    #[test]
    fn the_first_byte_is_code_that_leads_into_the_setup_code() {
        let page = header();
        assert_eq!(page[..3], *b"MZ\xe9");
        assert_eq!(5 + number(&page, 3, 2), layout::SETUP_WHOLE);
    }

    #[test]
    fn a_menu_finds_the_version() {
        let page = header();
        let at = 0x200 + number(&page, field::VERSION_TEXT, 2) as usize;
        assert!(page[at..].starts_with(b"ublade 1.2.3\0"));
        boot_header(0x3000, 0x3000, &"9".repeat(9999)).unwrap();
    }

    #[test]
    fn a_kernel_that_ends_before_it_starts_is_refused() {
        assert!(boot_header(layout::KERNEL - 1, 0x3000, "").is_err());
        assert!(boot_header(0x3000, u64::MAX, "").is_err());
    }
}
