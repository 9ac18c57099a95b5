//! Real mode: what a loader of the old kind starts.
//!
//! The loader has put the first 8 KiB of the boot file at some segment and the
//! rest at `code32_start`, and enters at offset 0x200, which is a jump to here.
//! We stay in the first page's room: it becomes the `boot_params` that the 32-bit
//! entry wants, with the memory map that only the firmware knows.
//!
//! What is asked of the firmware: the memory map (INT 15h, E820h) and address
//! line 20. No screen mode, no disk, no keyboard.

use core::arch::global_asm;

/// Where this code is in the boot file, and so in its segment.
const SETUP: u16 = 0x1000;

global_asm!(
    r#"
    .section .setup, "ax", @progbits
    .code16
setup:
    cli
    cld
    movw %ds, %ax                       /* one segment for everything */
    movw %ax, %es
    movw %ax, %ss
    movl $0x9000, %esp
    pushw %ax
    pushw $(1f - setup + {setup})
    lretw
1:  sti

    /* The header stays; what is around it was for other loaders. */
    xorl %eax, %eax
    xorw %di, %di
    movw $0x1f1, %cx
    rep stosb
    movw $0x290, %di
    movw $(0x1000 - 0x290), %cx
    rep stosb

    /* Memory map: entries of 20 bytes at 0x2d0, at most 128, count at 0x1e8. */
    movw $0x2d0, %di
    xorl %ebx, %ebx
2:  movl $0xe820, %eax
    movl $0x534d4150, %edx
    movl $20, %ecx
    int $0x15
    jc 3f
    cmpl $0x534d4150, %eax
    jne 3f
    addw $20, %di
    incb (0x1e8)
    cmpb $128, (0x1e8)
    je 3f
    testl %ebx, %ebx
    jnz 2b
3:
    /* Address line 20: ask, then set the port that most machines have. */
    movw $0x2401, %ax
    int $0x15
    inb $0x92, %al
    testb $2, %al
    jnz 4f
    orb $2, %al
    andb $0xfe, %al                     /* bit 0 would reset the machine */
    outb %al, $0x92
4:
    cli
    xorl %esi, %esi                     /* esi = boot_params, linear */
    movw %ds, %si
    shll $4, %esi
    leal (setup_gdt - setup + {setup})(%esi), %eax
    movl %eax, (setup_gdt_pointer + 2 - setup + {setup})
    lidtw (setup_no_idt - setup + {setup})
    lgdtw (setup_gdt_pointer - setup + {setup})
    leal (5f - setup + {setup})(%esi), %eax
    pushl $0x10
    pushl %eax
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    lretl
    .code32
5:  movl $0x18, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    xorl %ebx, %ebx
    xorl %ebp, %ebp
    xorl %edi, %edi
    jmpl *0x214(%esi)                   /* code32_start */

    .balign 8
setup_gdt:
    .quad 0
    .quad 0
    .quad 0x00cf9a000000ffff            /* 0x10: code */
    .quad 0x00cf92000000ffff            /* 0x18: data */
setup_gdt_end:
setup_gdt_pointer:
    .word setup_gdt_end - setup_gdt - 1
    .long 0                             /* set above */
setup_no_idt:
    .word 0
    .long 0
    .code64                             /* what the assembler goes on with */
"#,
    setup = const SETUP,
    options(att_syntax),
);
