//! The header of a UEFI application, in the bytes that Linux's header leaves free.
//!
//! (Microsoft PE and COFF Specification, 3 and 5; UEFI 2.10, 2.1.1.) An address
//! in the image is the offset in the file, so the file needs no work to become
//! one. There are no base relocations: the code relocates itself.
//!
//! Strict firmware refuses sections that can be written and run, and sections
//! that do not start on a page; signing tools refuse bytes of the file that
//! belong to nothing. Header and sections cover the file from end to end.
//!
//! The last section, `.sbat`, is for the loader "shim" alone: it starts nothing
//! whose generation it can not read and compare with those that were revoked.

use crate::layout;

/// Where the PE header is; the DOS header before it says so.
const AT: usize = 0x40;
/// Bytes of the COFF header with its mark.
const COFF_BYTES: usize = 24;
/// Bytes of the optional header: six directories, of which the fifth is where
/// signatures go.
const OPTIONAL_BYTES: usize = 112 + 6 * 8;
/// Bytes of an entry in the section table.
const SECTION_BYTES: usize = 40;
const SECTIONS: usize = 4;
const CHECKSUM_AT: usize = AT + COFF_BYTES + 64;
/// What a section starts on in memory.
const SECTION_ALIGNMENT: u32 = 4096;
/// What a section starts on in the file.
pub const FILE_ALIGNMENT: u32 = 512;

/// The first byte behind everything that is written here.
const END: usize = AT + COFF_BYTES + OPTIONAL_BYTES + SECTIONS * SECTION_BYTES;
const _: () = assert!(END <= 0x1f0, "Linux's header starts there");

/// Where the sections of the boot file are.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// Where the firmware enters.
    pub entry: u64,
    /// Where code ends and data starts.
    pub data_start: u64,
    /// Where data ends, and constants start, of which the packed kernel is one.
    pub constants_start: u64,
    /// Where they end, and `.sbat` starts, which goes on to the file's end.
    pub constants_end: u64,
}

/// Who made this, and how often a hole in it had to be closed (shim, SBAT.md):
/// the generation is raised when older versions must not start any more.
pub fn sbat(version: &str) -> String {
    format!(
        "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n\
         ublade,1,ublade,ublade,{version},the project's own pages\n"
    )
}

/// Writes the header into the first page of a boot file that is complete but
/// for it: the checksum is over the whole.
pub fn write(file: &mut [u8], image: &Image) -> Result<(), String> {
    const CODE: u32 = 0x20;
    const INITIALIZED: u32 = 0x40;
    const EXECUTE: u32 = 0x2000_0000;
    const READ: u32 = 0x4000_0000;
    const WRITE: u32 = 0x8000_0000;
    let first = layout::HEADER_BYTES as u64;
    let borders = [
        first,
        image.data_start,
        image.constants_start,
        image.constants_end,
    ];
    let in_order = borders.windows(2).all(|pair| pair[0] < pair[1])
        && (first..image.data_start).contains(&image.entry)
        && image.constants_end < file.len() as u64;
    let aligned = [image.data_start, image.constants_start]
        .iter()
        .all(|border| border.is_multiple_of(SECTION_ALIGNMENT.into()))
        && image.constants_end.is_multiple_of(FILE_ALIGNMENT.into())
        && file.len().is_multiple_of(FILE_ALIGNMENT as usize);
    if !in_order || !aligned || u32::try_from(file.len()).is_err() {
        return Err(format!("no UEFI application can look like {image:x?}"));
    }
    let [first, data_start, constants_start, constants_end] = borders.map(|border| border as u32);
    let file_end = file.len() as u32;
    // The only section that is elsewhere in memory than in the file, where it
    // would have to start on a page.
    let sbat_at = constants_end.next_multiple_of(SECTION_ALIGNMENT);
    let memory_end = (sbat_at + (file_end - constants_end)).next_multiple_of(SECTION_ALIGNMENT);

    let mut writer = Writer { file, at: 0 };
    writer.at = 0x3c;
    writer.u32(AT as u32);
    writer.bytes(b"PE\0\0");
    writer.u16(0x8664); // x86-64
    writer.u16(SECTIONS as u16);
    writer.u32(0); // no time: the same source gives the same bytes
    writer.u32(0);
    writer.u32(0); // no symbols
    writer.u16(OPTIONAL_BYTES as u16);
    // Executable, may lie above 2 GiB, no debug information.
    writer.u16(0x0222);

    writer.u16(0x020b); // PE32+
    writer.u16(0); // linker's version
    writer.u32(data_start - first);
    writer.u32(file_end - data_start);
    writer.u32(0); // nothing that is not in the file
    writer.u32(image.entry as u32);
    writer.u32(first);
    writer.u64(0); // image base
    writer.u32(SECTION_ALIGNMENT);
    writer.u32(FILE_ALIGNMENT);
    writer.u64(0); // versions of an operating system and of the image
    writer.u64(0); // version of the subsystem, and one more
    writer.u32(memory_end);
    writer.u32(first); // bytes of headers
    writer.u32(0); // checksum: below
    writer.u16(10); // UEFI application
    writer.u16(0x0100); // NX_COMPAT
    for _ in 0..4 {
        writer.u64(0); // stack and heap are the firmware's
    }
    writer.u32(0);
    writer.u32(6);
    for _ in 0..6 {
        writer.u64(0); // the directories
    }
    let sections: [(&[u8], _, _, _); SECTIONS] = [
        (b".text", first..data_start, first, CODE | EXECUTE | READ),
        (
            b".data",
            data_start..constants_start,
            data_start,
            INITIALIZED | READ | WRITE,
        ),
        (
            b".rodata",
            constants_start..constants_end,
            constants_start,
            INITIALIZED | READ,
        ),
        (
            b".sbat",
            constants_end..file_end,
            sbat_at,
            INITIALIZED | READ,
        ),
    ];
    for (name, place, address, characteristics) in sections {
        writer.section(name, place, address, characteristics);
    }
    debug_assert_eq!(writer.at, END);
    let sum = checksum(file);
    file[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&sum.to_le_bytes());
    Ok(())
}

/// The checksum of an image: its 16-bit words with the carries added back, but
/// for the checksum itself, and its length.
fn checksum(file: &[u8]) -> u32 {
    let mut sum = 0_u32;
    for (index, word) in file.chunks(2).enumerate() {
        if (CHECKSUM_AT..CHECKSUM_AT + 4).contains(&(index * 2)) {
            continue;
        }
        let high = word.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_le_bytes([word[0], high]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum + file.len() as u32
}

/// Writes one field behind the other.
struct Writer<'a> {
    file: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.file[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    /// A section that is `place` of the file, and at `address` in memory.
    fn section(
        &mut self,
        name: &[u8],
        place: std::ops::Range<u32>,
        address: u32,
        characteristics: u32,
    ) {
        let mut padded = [0; 8];
        padded[..name.len()].copy_from_slice(name);
        self.bytes(&padded);
        self.u32(place.end - place.start);
        self.u32(address);
        self.u32(place.end - place.start);
        self.u32(place.start);
        self.u64(0); // no relocations, no line numbers,
        self.u32(0); // and none of either
        self.u32(characteristics);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Image = Image {
        entry: 0x2345,
        data_start: 0x5000,
        constants_start: 0x7000,
        constants_end: 0x7800,
    };

    const FILE_BYTES: usize = 0x7a00;

    fn file() -> Vec<u8> {
        let mut file = vec![0x5a; FILE_BYTES];
        write(&mut file, &IMAGE).unwrap();
        file
    }

    fn u32_at(file: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(file[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn the_sections_cover_the_file_behind_the_header_without_a_gap() {
        let file = file();
        let mut at = u32_at(&file, AT + COFF_BYTES + 60);
        for index in 0..SECTIONS {
            let entry = AT + COFF_BYTES + OPTIONAL_BYTES + index * SECTION_BYTES;
            assert_eq!(u32_at(&file, entry + 20), at, "offset in the file");
            let address = u32_at(&file, entry + 12);
            assert_eq!(address % SECTION_ALIGNMENT, 0);
            assert!(address == at || index == SECTIONS - 1, "{index}");
            at += u32_at(&file, entry + 16);
        }
        assert_eq!(at as usize, file.len());
    }

    #[test]
    fn no_section_can_be_written_and_run() {
        let file = file();
        for index in 0..SECTIONS {
            let entry = AT + COFF_BYTES + OPTIONAL_BYTES + index * SECTION_BYTES;
            let flags = u32_at(&file, entry + 36);
            assert_ne!(flags & 0xa000_0000, 0xa000_0000, "section {index}");
        }
    }

    #[test]
    fn the_image_ends_on_the_page_on_which_its_last_section_ends() {
        assert_eq!(u32_at(&file(), AT + COFF_BYTES + 56), 0x9000, "SizeOfImage");
    }

    #[test]
    fn the_checksum_leaves_itself_out_and_changes_with_every_other_word() {
        let mut file = file();
        let sum = u32_at(&file, CHECKSUM_AT);
        assert_eq!(checksum(&file), sum);
        file[CHECKSUM_AT] ^= 1;
        assert_eq!(checksum(&file), sum);
        file[CHECKSUM_AT + 4] ^= 1;
        assert_ne!(checksum(&file), sum);
    }

    #[test]
    fn borders_off_a_page_or_out_of_order_are_refused() {
        let mut file = vec![0; FILE_BYTES];
        for wrong in [
            Image {
                data_start: 0x5200,
                ..IMAGE
            },
            Image {
                constants_start: 0x4000,
                ..IMAGE
            },
            Image {
                entry: 0x5000,
                ..IMAGE
            },
            Image {
                constants_end: 0x7a00,
                ..IMAGE
            },
            Image {
                constants_end: 0x7900,
                ..IMAGE
            },
        ] {
            assert!(write(&mut file, &wrong).is_err(), "{wrong:x?}");
        }
    }
}
