//! What the processor says about itself: CPUID, model-specific registers, time.

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, _rdtsc, CpuidResult};

/// Asks CPUID. All zeros if the processor does not know that leaf.
pub fn cpuid(leaf: u32) -> CpuidResult {
    const NOTHING: CpuidResult = CpuidResult {
        eax: 0,
        ebx: 0,
        ecx: 0,
        edx: 0,
    };
    // Leaf ranges start at 0 (basic), 0x40000000 (hypervisor), 0x80000000.
    let first = leaf & 0xf000_0000;
    if first == 0x4000_0000 && __cpuid_count(1, 0).ecx & 1 << 31 == 0 {
        return NOTHING;
    }
    if leaf > __cpuid_count(first, 0).eax {
        return NOTHING;
    }
    __cpuid_count(leaf, 0)
}

/// Base of the hypervisor's leaves whose twelve-byte name is `name`. There may be
/// several hypervisors' leaves beside each other, 0x100 apart.
pub fn hypervisor_leaves(name: &[u8; 12]) -> Option<u32> {
    (0x4000_0000..0x4001_0000)
        .step_by(0x100)
        .take(4)
        .find(|&base| {
            let answer = cpuid(base);
            let words = [answer.ebx, answer.ecx, answer.edx];
            words
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .eq(name.iter().copied())
        })
}

/// The time stamp counter. The processor may read it a few instructions early
/// or late.
pub fn tsc() -> u64 {
    // SAFETY: reads a register; the boot entry made sure that there is one.
    unsafe { _rdtsc() }
}

/// Reads a model-specific register.
///
/// # Safety
/// The processor has the register.
pub unsafe fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the register exists (caller), and reading one has no effect.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The processor has the register, and `value` is legal and leaves memory, as
/// Rust sees it, as it is.
pub unsafe fn write_msr(register: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the caller vouches for the register and its value.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") low, in("edx") high, options(nostack, preserves_flags));
    }
}
