//! Packing the kernel into the boot file; `door::parcel` unpacks it.

use crate::elf::Elf;
use door::parcel::{FIRST, LABEL_BYTES, Label};
use miniz_oxide::deflate::compress_to_vec_zlib;

/// The most that the packer can do; it takes a moment on the host.
const LEVEL: u8 = 10;

/// Appends `kernel` to `file`, packed and with its label.
pub fn pack(kernel: &Elf<'_>, file: &mut Vec<u8>) -> Result<Label, String> {
    let contents = kernel.contents(FIRST as u64, kernel.file_end())?;
    let packed = compress_to_vec_zlib(contents, LEVEL);
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
    };
    file.reserve(LABEL_BYTES + packed.len());
    file.extend(label.to_bytes());
    file.extend(packed);
    Ok(label)
}
