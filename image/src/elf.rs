//! As much of ELF as the kernel has: segments, notes, symbols, relocations.
//!
//! (System V ABI, chapters 4 and 5; its x86-64 supplement.) 64-bit and
//! little-endian only. Every offset is checked: what is read is what a linker
//! wrote, but a truncated file should be a sentence, too.

/// Relocation: base plus addend.
pub const RELATIVE: u32 = 8;
/// Note of "Xen": the 32-bit entry of PVH.
pub const NOTE_PVH: u32 = 18;
/// Note of "HERMIT": the version of its entry.
pub const NOTE_HERMIT: u32 = 0x5a00;

const SEGMENT_LOAD: u32 = 1;
const SEGMENT_NOTE: u32 = 4;
const SECTION_SYMBOLS: u32 = 2;
const SECTION_RELOCATIONS: u32 = 4;

/// An ELF file.
pub struct Elf<'a> {
    bytes: &'a [u8],
    segments: Vec<Segment>,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    kind: u32,
    align: u64,
    /// Where it is in the file.
    pub offset: u64,
    /// Where it is linked to be.
    pub address: u64,
    /// Where a loader puts it.
    pub load_address: u64,
    /// Bytes of it in the file.
    pub file_bytes: u64,
    /// Bytes of it in memory; what is not in the file is zero.
    pub memory_bytes: u64,
}

/// One section.
struct Section {
    name_at: u32,
    kind: u32,
    offset: u64,
    bytes: u64,
    link: u32,
}

impl<'a> Elf<'a> {
    /// Reads the headers.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        // Magic, 64-bit, little-endian, version 1.
        if bytes.get(..7) != Some(b"\x7fELF\x02\x01\x01") {
            return Err("not a 64-bit little-endian ELF file".to_owned());
        }
        let mut elf = Self {
            bytes,
            segments: Vec::new(),
        };
        let (at, size, count) = (elf.u64(32)?, elf.u16(54)?, elf.u16(56)?);
        for index in 0..u64::from(count) {
            let at = at.wrapping_add(index * u64::from(size));
            elf.segments.push(Segment {
                kind: elf.u32(at)?,
                offset: elf.u64(at + 8)?,
                address: elf.u64(at + 16)?,
                load_address: elf.u64(at + 24)?,
                file_bytes: elf.u64(at + 32)?,
                memory_bytes: elf.u64(at + 40)?,
                align: elf.u64(at + 48)?,
            });
        }
        if elf.loads().next().is_none() {
            return Err("the ELF file has nothing to load".to_owned());
        }
        for segment in &elf.segments {
            elf.range(segment.offset, segment.file_bytes)?;
        }
        Ok(elf)
    }

    /// The segments that are loaded.
    pub fn loads(&self) -> impl Iterator<Item = &Segment> {
        self.segments
            .iter()
            .filter(|segment| segment.kind == SEGMENT_LOAD)
    }

    /// The first address behind what is in the file.
    pub fn file_end(&self) -> u64 {
        let end = |segment: &Segment| segment.offset + segment.file_bytes;
        self.loads().map(end).max().unwrap_or(0)
    }

    /// The first address behind what is used in memory.
    pub fn memory_end(&self) -> u64 {
        let end = |segment: &Segment| segment.address + segment.memory_bytes;
        self.loads().map(end).max().unwrap_or(0)
    }

    /// The content of a note.
    pub fn note(&self, owner: &str, kind: u32) -> Result<Option<&'a [u8]>, String> {
        for segment in &self.segments {
            if segment.kind != SEGMENT_NOTE {
                continue;
            }
            let align = segment.align.max(1);
            let end = segment.offset + segment.file_bytes;
            let mut at = segment.offset;
            while at + 12 <= end {
                let name_bytes = u64::from(self.u32(at)?);
                let content_bytes = u64::from(self.u32(at + 4)?);
                let name = self.range(at + 12, name_bytes)?;
                let content_at = (at + 12 + name_bytes).next_multiple_of(align);
                let content = self.range(content_at, content_bytes)?;
                if self.u32(at + 8)? == kind && name.strip_suffix(b"\0") == Some(owner.as_bytes()) {
                    return Ok(Some(content));
                }
                at = (content_at + content_bytes).next_multiple_of(align);
            }
        }
        Ok(None)
    }

    /// The value of a symbol.
    pub fn symbol(&self, name: &str) -> Result<Option<u64>, String> {
        let sections = self.sections()?;
        for section in &sections {
            if section.kind != SECTION_SYMBOLS {
                continue;
            }
            let names = sections
                .get(section.link as usize)
                .ok_or("the symbols have no names")?;
            let names = self.range(names.offset, names.bytes)?;
            for at in (section.offset..section.offset + section.bytes).step_by(24) {
                if is_name(names, self.u32(at)?, name) {
                    return self.u64(at + 8).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// The content of a section.
    pub fn section(&self, name: &str) -> Result<Option<&'a [u8]>, String> {
        let sections = self.sections()?;
        let names = match sections.get(usize::from(self.u16(62)?)) {
            Some(names) => self.range(names.offset, names.bytes)?,
            None => return Ok(None),
        };
        sections
            .iter()
            .find(|section| is_name(names, section.name_at, name))
            .map(|section| self.range(section.offset, section.bytes))
            .transpose()
    }

    /// The address of the symbol `name`, which has to be there.
    pub fn place(&self, name: &str) -> Result<u64, String> {
        self.symbol(name)?
            .ok_or_else(|| format!("the program has no `{name}`"))
    }

    /// The bytes from `start` to `end` of the file.
    pub fn contents(&self, start: u64, end: u64) -> Result<&'a [u8], String> {
        let bytes = end
            .checked_sub(start)
            .ok_or_else(|| format!("the program ends at {end:#x}, before {start:#x}"))?;
        self.range(start, bytes)
    }

    /// The kinds of all relocations.
    pub fn relocations(&self) -> Result<impl Iterator<Item = u32> + use<>, String> {
        let mut kinds = Vec::new();
        for section in self.sections()? {
            if section.kind != SECTION_RELOCATIONS {
                continue;
            }
            for at in (section.offset..section.offset + section.bytes).step_by(24) {
                kinds.push(self.u32(at + 8)?);
            }
        }
        Ok(kinds.into_iter())
    }

    fn sections(&self) -> Result<Vec<Section>, String> {
        let (at, size, count) = (self.u64(40)?, self.u16(58)?, self.u16(60)?);
        (0..u64::from(count))
            .map(|index| {
                let at = at.wrapping_add(index * u64::from(size));
                Ok(Section {
                    name_at: self.u32(at)?,
                    kind: self.u32(at + 4)?,
                    offset: self.u64(at + 24)?,
                    bytes: self.u64(at + 32)?,
                    link: self.u32(at + 40)?,
                })
            })
            .collect()
    }

    fn range(&self, at: u64, bytes: u64) -> Result<&'a [u8], String> {
        usize::try_from(at)
            .ok()
            .zip(at.checked_add(bytes).and_then(|end| end.try_into().ok()))
            .and_then(|(at, end): (usize, usize)| self.bytes.get(at..end))
            .ok_or_else(|| format!("the ELF file ends before {at:#x} + {bytes:#x}"))
    }

    fn u16(&self, at: u64) -> Result<u16, String> {
        let bytes = self.range(at, 2)?;
        Ok(u16::from_le_bytes(bytes.try_into().expect("two bytes")))
    }

    fn u32(&self, at: u64) -> Result<u32, String> {
        let bytes = self.range(at, 4)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
    }

    fn u64(&self, at: u64) -> Result<u64, String> {
        let bytes = self.range(at, 8)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    }
}

/// Whether `name`, all of it, is at `at` in a table of names.
fn is_name(names: &[u8], at: u32, name: &str) -> bool {
    names
        .get(at as usize..)
        .and_then(|names| names.strip_prefix(name.as_bytes()))
        .is_some_and(|rest| rest.first() == Some(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one loaded segment of the whole file, and nothing else.
    fn minimal() -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&1_u16.to_le_bytes());
        bytes[64..68].copy_from_slice(&SEGMENT_LOAD.to_le_bytes());
        bytes[64 + 32..64 + 40].copy_from_slice(&120_u64.to_le_bytes());
        bytes[64 + 40..64 + 48].copy_from_slice(&4096_u64.to_le_bytes());
        bytes
    }

    #[test]
    fn a_minimal_file_has_one_segment_and_no_notes() {
        let bytes = minimal();
        let elf = Elf::parse(&bytes).unwrap();
        assert_eq!((elf.file_end(), elf.memory_end()), (120, 4096));
        assert_eq!(elf.note("Xen", NOTE_PVH), Ok(None));
        assert_eq!(elf.symbol("start"), Ok(None));
        assert_eq!(elf.relocations().unwrap().count(), 0);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_with_a_sentence() {
        let bytes = minimal();
        for len in 0..bytes.len() {
            assert!(Elf::parse(&bytes[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn headers_that_point_past_the_end_are_refused() {
        for at in [32, 64 + 8, 64 + 32] {
            let mut bytes = minimal();
            bytes[at..at + 8].copy_from_slice(&(u64::MAX - 3).to_le_bytes());
            assert!(Elf::parse(&bytes).is_err(), "{at}");
        }
    }
}
