//! Packing the kernel into the boot file; `door::parcel` unpacks it.

use crate::elf::Elf;
use door::parcel::{FIRST, LABEL_BYTES, Label};
use door::{distances, relocations};
use std::num::NonZeroU64;
use zopfli::{Format, Options};

/// Rounds of the packer's search. It takes a second on the host; ten more rounds
/// save no hundred bytes.
const ROUNDS: NonZeroU64 = NonZeroU64::new(3).expect("3 is not 0");

/// Appends `kernel` to `file`, packed and with its label.
pub fn pack(kernel: &Elf<'_>, file: &mut Vec<u8>) -> Result<Label, String> {
    let contents = kernel.contents(FIRST as u64, kernel.file_end())?;
    let relocations = kernel.place("rela_start")?;
    let relocations_end = kernel.place("rela_end")?;
    let mut places = contents.to_vec();
    let [start, end] = [relocations, relocations_end].map(|place| place as usize - FIRST);
    relocations::to_distances(&mut places, start..end);
    distances::to_places(&mut places);
    let options = Options {
        iteration_count: ROUNDS,
        ..Options::default()
    };
    let mut packed = Vec::new();
    zopfli::compress(options, Format::Zlib, &places[..], &mut packed)
        .map_err(|error| format!("cannot pack the kernel: {error}"))?;
    let number = |number: u64| {
        u32::try_from(number).map_err(|_| format!("a kernel with {number:#x} fits no boot file"))
    };
    let label = Label {
        packed_bytes: number(packed.len() as u64)?,
        kernel_bytes: number(contents.len() as u64)?,
        memory_bytes: number(kernel.memory_end())?,
        entry: number(kernel.place("unpacked_entry")?)?,
        tables: number(kernel.place("bridge_tables")?)?,
        stack_top: number(kernel.place("stack_top")?)?,
        relocations: number(relocations)?,
        relocations_end: number(relocations_end)?,
    };
    file.reserve(LABEL_BYTES + packed.len());
    file.extend(label.to_bytes());
    file.extend(packed);
    Ok(label)
}
