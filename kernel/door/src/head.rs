//! The doors for Linux loaders: to 64-bit mode, and to the unpacker.
//!
//! | entry | state | given |
//! |---|---|---|
//! | `linux32_entry` | 32-bit, no paging | esi = `boot_params` |
//! | `linux64_entry` | 64-bit, loader's tables | rsi = `boot_params` |
//!
//! Both go on in [`super::unpack_and_enter`] with the name of the door, what the
//! loader left, and where the parcel is and the kernel goes. The stack and the page
//! tables are the kernel's own, which lie behind what is unpacked.
//!
//! Nothing here may assume where it runs, that memory is zero, or that there is a
//! stack: the 32-bit entry borrows four bytes of what the loader left to find out
//! its own address.

use core::arch::global_asm;
use core::mem::offset_of;
use door::handover::Door;
use door::parcel::{LABEL_BYTES, Label};
use door::steps;

global_asm!(
    r#"
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
    leal (parcel - head)(%ebp), %eax
    movl {packed_bytes}(%eax), %ebx     /* ebx = where the kernel goes */
    leal ({label_bytes} + 4095)(%eax,%ebx), %ebx
    andl $-4096, %ebx
    movl {stack_top}(%eax), %esp
    addl %ebx, %esp
    addl {tables}(%eax), %ebx
"#,
    door::to_64_bit!(),
    r#"
    .org 0x200
    .code64
    .globl linux64_entry
linux64_entry:
    cli
    cld
    movl ${linux64}, %edi
/* edi = which door, rsi = what the loader left */
from_64:
    leaq parcel(%rip), %rdx
    movl {packed_bytes}(%rdx), %eax     /* rcx = where the kernel goes */
    leaq ({label_bytes} + 4095)(%rdx,%rax), %rcx
    andq $-4096, %rcx
    movl {stack_top}(%rdx), %eax
    leaq (%rcx,%rax), %rsp
    xorl %ebp, %ebp
"#,
    door::relocate!(),
    door::allow_sse!(),
    r#"
    call {unpack_and_enter}
"#,
    door::why_not_64_bit!(),
    "    .text\n    .code64\n",            // what the assembler goes on with
    bridge_tables = const steps::BRIDGE_TABLES,
    needed = const steps::NEEDED_FEATURES,
    label_bytes = const LABEL_BYTES,
    packed_bytes = const offset_of!(Label, packed_bytes),
    stack_top = const offset_of!(Label, stack_top),
    tables = const offset_of!(Label, tables),
    linux32 = const Door::LINUX_32.0,
    linux64 = const Door::LINUX_64.0,
    unpack_and_enter = sym super::unpack_and_enter,
    options(att_syntax),
);
