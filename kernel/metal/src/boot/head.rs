//! The first instructions, from every door to the same room.
//!
//! A loader leaves us in one of these states; each entry turns its own into the
//! common one (64-bit, everything below 4 GiB mapped one to one, a stack, `bss`
//! zeroed, relocations applied) and calls [`super::enter`] with the name of the
//! door and the address of what the loader left.
//!
//! | entry | state | given |
//! |---|---|---|
//! | `linux32_entry` | 32-bit, no paging | esi = `boot_params` |
//! | `pvh_entry` | 32-bit, no paging | ebx = `hvm_start_info` |
//! | `linux64_entry` | 64-bit, loader's tables | rsi = `boot_params` |
//! | `uefi_entry` (`uefi`) | 64-bit, firmware's tables | rcx = handle, rdx = system table |
//! | `hermit_entry` | 64-bit, loader's tables | rdi = boot information, rsi = processor |
//!
//! Nothing here may assume where it runs, that memory is zero, or that there is
//! a stack: the 32-bit entries borrow four bytes of what the loader left to find
//! out their own address. The page tables made here are only a bridge; the
//! lasting ones are `arch::paging`'s.

use super::{BRIDGE_TABLES, Door};
use core::arch::global_asm;

/// CPUID 1, edx: TSC, MSRs, PAE, APIC, FXSAVE, SSE and SSE2.
const NEEDED_FEATURES: u32 = 1 << 4 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 24 | 1 << 25 | 1 << 26;

global_asm!(
    r#"
    .section .noinit, "aw", @nobits
    .balign 4096
    .globl bridge_tables
bridge_tables:
    .skip 4096 * {bridge_tables}

    .section .data.boot, "aw", @progbits
    .balign 8
bridge_gdt:
    .quad 0
    .quad 0x00af9a000000ffff            /* 0x08: 64-bit code */
    .quad 0x00cf92000000ffff            /* 0x10: data */
bridge_gdt_end:
bridge_gdt_pointer:
    .word bridge_gdt_end - bridge_gdt - 1
    .long 0                             /* set below */

    .section .head, "ax", @progbits
    .code32
head:
    .globl linux32_entry
linux32_entry:
    cli
    cld
    leal 0x1e8(%esi), %esp              /* boot_params.scratch */
    call 1f
1:  popl %ebp
    subl $(1b - head), %ebp
    movl ${linux32}, %edi
    jmp from_32

    .org 0x80
    .globl pvh_entry
pvh_entry:
    cli
    cld
    leal 4(%ebx), %esp                  /* hvm_start_info.magic */
    call 1f
1:  popl %ebp
    subl $(1b - head), %ebp
    movl $0x336ec578, (%ebx)            /* and whole again */
    movl %ebx, %esi
    movl ${pvh}, %edi

/* ebp = where `head` is, edi = which door, esi = what the loader left */
from_32:
    leal (stack_top - head)(%ebp), %esp
    pushl %esi
    pushl %edi
    /* Where no memory is, nothing is kept. */
    cmpl %edi, (%esp)
    jne no_memory
    cmpl %esi, 4(%esp)
    jne no_memory

    /* A processor without CPUID can not change flag 21. */
    pushfl
    popl %eax
    movl %eax, %ecx
    xorl $0x200000, %eax
    pushl %eax
    popfl
    pushfl
    popl %eax
    xorl %ecx, %eax
    jz not_64_bit
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb not_64_bit
    movl $0x80000001, %eax
    cpuid
    btl $29, %edx
    jnc not_64_bit
    movl $1, %eax
    cpuid
    andl ${needed}, %edx
    cmpl ${needed}, %edx
    jne lacks_features

    /* The memory is whatever it was before: zero first. */
    leal (bridge_tables - head)(%ebp), %ebx
    movl %ebx, %edi
    xorl %eax, %eax
    movl $(4096 * {bridge_tables} / 4), %ecx
    rep stosl
    leal 0x1003(%ebx), %eax             /* level 4 -> level 3 */
    movl %eax, (%ebx)
    xorl %ecx, %ecx                     /* level 3 -> four level 2 */
1:  addl $0x1000, %eax
    movl %eax, 0x1000(%ebx,%ecx,8)
    incl %ecx
    cmpl $4, %ecx
    jb 1b
    xorl %ecx, %ecx                     /* 2,048 pages of 2 MiB */
    movl $0x83, %eax
1:  movl %eax, 0x2000(%ebx,%ecx,8)
    addl $0x200000, %eax
    incl %ecx
    cmpl $2048, %ecx
    jb 1b

    movl %cr4, %eax
    orl $0x20, %eax                     /* PAE */
    movl %eax, %cr4
    movl %ebx, %cr3
    movl $0xc0000080, %ecx              /* EFER */
    rdmsr
    orl $0x100, %eax                    /* LME */
    wrmsr
    popl %edi
    popl %esi
    leal (bridge_gdt - head)(%ebp), %eax
    movl %eax, (bridge_gdt_pointer + 2 - head)(%ebp)
    lgdt (bridge_gdt_pointer - head)(%ebp)
    leal (from_64 - head)(%ebp), %eax
    pushl $0x08
    pushl %eax
    movl %cr0, %eax
    orl $0x80000001, %eax               /* PG, PE */
    movl %eax, %cr0
    lretl

    .org 0x200
    .code64
    .globl linux64_entry
linux64_entry:
    cli
    cld
    movl ${linux64}, %edi
    jmp from_64

    .globl hermit_entry
hermit_entry:
    cli
    cld
    testl %esi, %esi                    /* other processors wait */
    jnz 6f
    movq %rdi, %rsi
    movl ${hermit}, %edi

/* edi = which door, rsi = what the loader left */
    .globl from_64
from_64:
    movl %edi, %r12d
    movq %rsi, %r13
    leaq stack_top(%rip), %rsp
    xorl %ebp, %ebp
    xorl %eax, %eax
    leaq bss_start(%rip), %rdi
    leaq bss_end(%rip), %rcx
    subq %rdi, %rcx
    shrq $3, %rcx
    rep stosq

    /* Every entry is of the relative kind; `image` refuses to build others. */
    leaq __ehdr_start(%rip), %rdx
    leaq rela_start(%rip), %rsi
    leaq rela_end(%rip), %rdi
1:  cmpq %rdi, %rsi
    jae 2f
    movq (%rsi), %rax
    movq 16(%rsi), %rcx
    addq %rdx, %rcx
    movq %rcx, (%rdx,%rax)
    addq $24, %rsi
    jmp 1b

2:  movq %cr0, %rax
    andl $~0xc, %eax                    /* EM, TS off */
    orl $0x22, %eax                     /* MP, NE on */
    movq %rax, %cr0
    movq %cr4, %rax
    orl $0x600, %eax                    /* OSFXSR, OSXMMEXCPT */
    movq %rax, %cr4

    movl %r12d, %edi
    movq %r13, %rsi
    call {enter}
6:  cli
    hlt
    jmp 6b

    .code32
no_memory:
    leal (no_memory_text - head)(%ebp), %esi
    jmp say
not_64_bit:
    leal (not_64_bit_text - head)(%ebp), %esi
    jmp say
lacks_features:
    leal (lacks_features_text - head)(%ebp), %esi
/* esi = what to say on the first serial port before we halt */
say:
    movw $0x3fb, %dx
    movb $0x83, %al
    outb %al, %dx                       /* divisor on */
    movw $0x3f8, %dx
    movb $1, %al
    outb %al, %dx                       /* 115,200 baud */
    incw %dx
    movb $0, %al
    outb %al, %dx
    movw $0x3fb, %dx
    movb $3, %al
    outb %al, %dx                       /* 8 bits, no parity */
2:  movl $1000000, %ecx                 /* no port: no endless wait */
    movw $0x3fd, %dx
3:  inb %dx, %al
    testb $0x20, %al
    jnz 4f
    loop 3b
4:  lodsb
    testb %al, %al
    jz 5f
    movw $0x3f8, %dx
    outb %al, %dx
    jmp 2b
5:  cli
    hlt
    jmp 5b
no_memory_text:
    .asciz "ublade: this machine has too little memory; ublade needs 8 MiB. Halted.\r\n"
not_64_bit_text:
    .asciz "ublade: this processor can not run 64-bit code; ublade needs x86-64. Halted.\r\n"
lacks_features_text:
    .asciz "ublade: this processor lacks one of TSC, MSR, PAE, APIC, FXSR, SSE2; ublade needs them. Halted.\r\n"
    .text
    .code64                             /* what the assembler goes on with */
"#,
    bridge_tables = const BRIDGE_TABLES,
    needed = const NEEDED_FEATURES,
    linux32 = const Door::LINUX_32.0,
    linux64 = const Door::LINUX_64.0,
    pvh = const Door::PVH.0,
    hermit = const Door::HERMIT.0,
    enter = sym super::enter,
    options(att_syntax),
);
