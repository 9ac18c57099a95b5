//! The functions that compiled code calls by name.
//!
//! The compiler turns copies, fills and comparisons into calls of these, and on
//! a machine without a C library they are ours. Long runs go by 64 bytes through
//! the vector registers: near the best on hardware, and, unlike string
//! instructions, also quick under software emulation, where each repetition
//! costs as much as a whole store. Short ones are two moves that may overlap.
//!
//! The long loops are assembly, because the compiler would recognise them as
//! what they are and call the function that they are in. None is inlined: the
//! compiler has put its own short forms in already where they pay.

use core::arch::asm;

/// Below this, two moves do it.
const SHORT: usize = 16;

/// Copies `bytes` bytes; the ranges do not overlap.
///
/// # Safety
/// As C's: both ranges are valid for `bytes` bytes and do not overlap.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    // SAFETY: the same contract; a forward copy is right without an overlap.
    unsafe { copy_forward(to, from, bytes) };
    to
}

/// Copies `bytes` bytes; the ranges may overlap.
///
/// # Safety
/// As C's: both ranges are valid for `bytes` bytes.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    // Forward is right unless the target starts inside the source.
    if to.addr().wrapping_sub(from.addr()) >= bytes {
        // SAFETY: the ranges are valid (caller), and no byte is written before
        // it is read.
        unsafe { copy_forward(to, from, bytes) };
    } else {
        // SAFETY: as above, from the other end.
        unsafe { copy_backward(to, from, bytes) };
    }
    to
}

/// Copies fewer than [`SHORT`] bytes, overlapping or not: all is read before
/// anything is written.
///
/// # Safety
/// Both ranges are valid for `bytes` bytes, which are fewer than [`SHORT`].
unsafe fn copy_short(to: *mut u8, from: *const u8, bytes: usize) {
    /// Copies the first and the last `T` of a range.
    ///
    /// # Safety
    /// Both ranges are valid for `bytes` bytes, at least one `T`, at most two.
    unsafe fn ends<T: Copy>(to: *mut u8, from: *const u8, bytes: usize) {
        let last = bytes - size_of::<T>();
        // SAFETY: there is at least one `T` (caller).
        let head = unsafe { from.cast::<T>().read_unaligned() };
        // SAFETY: as above.
        let tail = unsafe { from.wrapping_add(last).cast::<T>().read_unaligned() };
        // SAFETY: as above.
        unsafe { to.cast::<T>().write_unaligned(head) };
        // SAFETY: as above.
        unsafe { to.wrapping_add(last).cast::<T>().write_unaligned(tail) };
    }
    match bytes {
        0 => {}
        // SAFETY: in each case the ends of this width cover the range (caller).
        1 => unsafe { ends::<u8>(to, from, bytes) },
        // SAFETY: as above.
        2..4 => unsafe { ends::<u16>(to, from, bytes) },
        // SAFETY: as above.
        4..8 => unsafe { ends::<u32>(to, from, bytes) },
        // SAFETY: as above.
        _ => unsafe { ends::<u64>(to, from, bytes) },
    }
}

/// Copies from the first byte to the last.
///
/// # Safety
/// Both ranges are valid for `bytes` bytes, and `to` does not start inside the
/// source behind its first byte.
unsafe fn copy_forward(to: *mut u8, from: *const u8, bytes: usize) {
    if bytes < SHORT {
        // SAFETY: the ranges are valid (caller) and short.
        return unsafe { copy_short(to, from, bytes) };
    }
    // SAFETY: the ranges are valid (caller). The last 16 bytes are read first and
    // written last, as the writes before may reach them.
    unsafe {
        asm!(
            "movups xmm4, [{from} + {left} - 16]",
            "lea {end}, [{to} + {left} - 16]",
            "sub {left}, 64",
            "jb 3f",
            "2:",
            "movups xmm0, [{from}]",
            "movups xmm1, [{from} + 16]",
            "movups xmm2, [{from} + 32]",
            "movups xmm3, [{from} + 48]",
            "movups [{to}], xmm0",
            "movups [{to} + 16], xmm1",
            "movups [{to} + 32], xmm2",
            "movups [{to} + 48], xmm3",
            "add {from}, 64",
            "add {to}, 64",
            "sub {left}, 64",
            "jae 2b",
            "3:",
            "add {left}, 64 - 16",
            "jle 5f",
            "4:",
            "movups xmm0, [{from}]",
            "movups [{to}], xmm0",
            "add {from}, 16",
            "add {to}, 16",
            "sub {left}, 16",
            "jg 4b",
            "5:",
            "movups [{end}], xmm4",
            left = inout(reg) bytes => _,
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            end = out(reg) _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _,
            options(nostack),
        );
    }
}

/// Copies from the last byte to the first.
///
/// # Safety
/// Both ranges are valid for `bytes` bytes, and `from` does not start inside the
/// target behind its first byte.
unsafe fn copy_backward(to: *mut u8, from: *const u8, bytes: usize) {
    if bytes < SHORT {
        // SAFETY: the ranges are valid (caller) and short.
        return unsafe { copy_short(to, from, bytes) };
    }
    // SAFETY: the ranges are valid (caller). The first 16 bytes are read first
    // and written last, as the writes before may reach them.
    unsafe {
        asm!(
            "movups xmm4, [{from}]",
            "sub {left}, 64",
            "jb 3f",
            "2:",
            "movups xmm0, [{from} + {left}]",
            "movups xmm1, [{from} + {left} + 16]",
            "movups xmm2, [{from} + {left} + 32]",
            "movups xmm3, [{from} + {left} + 48]",
            "movups [{to} + {left}], xmm0",
            "movups [{to} + {left} + 16], xmm1",
            "movups [{to} + {left} + 32], xmm2",
            "movups [{to} + {left} + 48], xmm3",
            "sub {left}, 64",
            "jae 2b",
            "3:",
            "add {left}, 64 - 16",
            "jle 5f",
            "4:",
            "movups xmm0, [{from} + {left}]",
            "movups [{to} + {left}], xmm0",
            "sub {left}, 16",
            "jg 4b",
            "5:",
            "movups [{to}], xmm4",
            left = inout(reg) bytes => _,
            from = in(reg) from,
            to = in(reg) to,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _,
            options(nostack),
        );
    }
}

/// Sets `bytes` bytes.
///
/// # Safety
/// As C's: the range is valid for `bytes` bytes.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, bytes: usize) -> *mut u8 {
    let pattern = u64::from(value as u8) * 0x0101_0101_0101_0101;
    if bytes < SHORT {
        let [low, high] = [pattern; 2].map(u64::to_ne_bytes);
        let source = [low, high];
        // SAFETY: the target is valid (caller), the source is longer than that.
        unsafe { copy_short(to, source.as_ptr().cast(), bytes) };
        return to;
    }
    // SAFETY: the range is valid (caller).
    unsafe {
        asm!(
            "movq xmm0, {pattern}",
            "punpcklqdq xmm0, xmm0",
            "movups [{at} + {left} - 16], xmm0",
            "sub {left}, 64",
            "jb 3f",
            "2:",
            "movups [{at}], xmm0",
            "movups [{at} + 16], xmm0",
            "movups [{at} + 32], xmm0",
            "movups [{at} + 48], xmm0",
            "add {at}, 64",
            "sub {left}, 64",
            "jae 2b",
            "3:",
            "add {left}, 64 - 16",
            "jle 5f",
            "4:",
            "movups [{at}], xmm0",
            "add {at}, 16",
            "sub {left}, 16",
            "jg 4b",
            "5:",
            pattern = in(reg) pattern,
            left = inout(reg) bytes => _,
            at = inout(reg) to => _,
            out("xmm0") _,
            options(nostack),
        );
    }
    to
}

/// Compares byte by byte, unsigned.
///
/// # Safety
/// As C's: both ranges are valid for `bytes` bytes.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, bytes: usize) -> i32 {
    const STEP: usize = size_of::<u64>();
    let mut at = 0;
    while bytes - at >= STEP {
        // SAFETY: there are at least eight more bytes (caller).
        let a = unsafe { left.wrapping_add(at).cast::<u64>().read_unaligned() };
        // SAFETY: as above.
        let b = unsafe { right.wrapping_add(at).cast::<u64>().read_unaligned() };
        if a != b {
            // The first byte is the lowest; as big-endian numbers they compare
            // as their bytes do.
            return if a.swap_bytes() < b.swap_bytes() {
                -1
            } else {
                1
            };
        }
        at += STEP;
    }
    while at < bytes {
        // SAFETY: there is at least one more byte (caller).
        let a = unsafe { *left.wrapping_add(at) };
        // SAFETY: as above.
        let b = unsafe { *right.wrapping_add(at) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
        at += 1;
    }
    0
}

/// Compares for equality.
///
/// # Safety
/// As [`memcmp`].
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, bytes: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(left, right, bytes) }
}

/// Bytes before the first zero.
///
/// # Safety
/// As C's: there is a zero, and all before it is valid.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let after: *const u8;
    // SAFETY: the text is valid up to its zero (caller), where this stops.
    unsafe {
        asm!(
            "repne scasb",
            inout("rcx") usize::MAX => _,
            inout("rdi") text => after,
            in("al") 0_u8,
            options(nostack, readonly),
        );
    }
    after.addr() - text.addr() - 1
}

/// Named by code compiled for unwinding; a panic here never unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As [`rust_eh_personality`].
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    panic!("nothing unwinds in this kernel")
}
