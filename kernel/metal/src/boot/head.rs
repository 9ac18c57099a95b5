//! The first instructions, from every door to the same room.
//!
//! | entry | state | given |
//! |---|---|---|
//! | `pvh_entry` | 32-bit, no paging | ebx = `hvm_start_info` |
//! | `hermit_entry` | 64-bit, loader's tables | rdi = boot information, rsi = processor |
//! | `unpacked_entry` | 64-bit, everything below 4 GiB mapped | edi = door, rsi = what it left |
//!
//! The last is for the boot file, which has doors of its own for Linux loaders and
//! UEFI and has unpacked us (`door`). Each entry turns its state into the common
//! one (64-bit, everything below 4 GiB mapped one to one, a stack, `bss` zeroed,
//! relocations applied) and calls [`super::enter`] with the name of the door and
//! the address of what the loader left.
//!
//! Nothing here may assume where it runs, that memory is zero, or that there is a
//! stack: PVH's borrows four bytes of what the loader left to find out its own
//! address. The page tables made here are only a bridge; the lasting ones are
//! `arch::paging`'s.

use core::arch::global_asm;
use door::handover::Door;
use door::steps;

global_asm!(
    r#"
    .section .noinit, "aw", @nobits
    .balign 4096
    .globl bridge_tables
bridge_tables:
    .skip 4096 * {bridge_tables}

    .section .head, "ax", @progbits
    .code32
head:
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
    leal (stack_top - head)(%ebp), %esp
    leal (bridge_tables - head)(%ebp), %ebx
"#,
    door::to_64_bit!(),
    r#"
    .code64
    .globl hermit_entry
hermit_entry:
    cli
    cld
    testl %esi, %esi                    /* other processors wait */
    jnz 6f
    movq %rdi, %rsi
    movl ${hermit}, %edi
    jmp from_64

    .globl unpacked_entry
unpacked_entry:
    cli
    cld
/* edi = which door, rsi = what the loader left */
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
"#,
    door::relocate!(),
    door::allow_sse!(),
    r#"
    movl %r12d, %edi
    movq %r13, %rsi
    call {enter}
6:  cli
    hlt
    jmp 6b
"#,
    door::why_not_64_bit!(),
    "    .text\n    .code64\n",            // what the assembler goes on with
    bridge_tables = const steps::BRIDGE_TABLES,
    needed = const steps::NEEDED_FEATURES,
    pvh = const Door::PVH.0,
    hermit = const Door::HERMIT.0,
    enter = sym super::enter,
    options(att_syntax),
);
