//! Real mode: what a loader of the old kind starts, or none at all.
//!
//! A Linux loader has put the first nine sectors of the boot file at some segment and
//! the rest at `code32_start`, and enters at offset 0x200, which is a jump to
//! `setup`. A firmware's network card or CD, and our own boot sector, know
//! nothing of that: they put the whole file into low memory in one piece (0x7c00
//! or 0x10000) and jump to its first byte, which leads to `whole`. Then it is on
//! us to bring the kernel to 1 MiB, once we are in protected mode.
//!
//! We stay in the first page's room: it becomes the `boot_params` that the 32-bit
//! entry wants, with the memory map that only the firmware knows.
//!
//! What is asked of the firmware: the memory map (INT 15h, E820h) and address
//! line 20. No screen mode, no disk, no keyboard. A network card that the
//! firmware has started goes on receiving until `probe::stop_dma`; its buffers
//! lie in low memory, which is never given out.

use core::arch::global_asm;

/// Where this code is in the boot file, and so in its segment.
const SETUP: u16 = 0x1000;
/// How far behind it a file comes in that was loaded as a whole.
const WHOLE: u16 = 0x20;
/// Where the kernel is in the boot file.
const KERNEL: u32 = 0x1200;

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
    movl $0x9000, %esp                  /* the room for stack and heap */
    jmp 1f

    .org {whole}
whole:
    cli
    cld
    /* Where are we? The offset is not known, as the segment may be 0. */
    xorw %ax, %ax
    movw %ax, %ss
    movl $0x7c00, %esp                  /* free from 0x500 on, in every case */
    call 0f
0:  popw %ax
    subw $(0b - setup + {setup}), %ax
    shrw $4, %ax
    movw %cs, %bx
    addw %bx, %ax
    movw %ax, %ds
    movw %ax, %es
    movb $1, (setup_is_whole - setup + {setup})
1:  pushw %ax
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
    /* Address line 20: ask the firmware, then the port that most machines
       have, then the keyboard controller; each only if it is still closed. */
    call line_20
    jnz 4f
    movw $0x2401, %ax
    int $0x15
    call line_20
    jnz 4f
    inb $0x92, %al
    orb $2, %al
    andb $0xfe, %al                     /* bit 0 would reset the machine */
    outb %al, $0x92
    call line_20
    jnz 4f
    call keyboard_waits
    movb $0xd1, %al                     /* write the output port */
    outb %al, $0x64
    call keyboard_waits
    movb $0xdf, %al                     /* line 20 open, no reset */
    outb %al, $0x60
    call keyboard_waits
    call line_20
    jnz 4f
    movw $(no_line_20 - setup + {setup}), %si
    jmp setup_fails
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
    cmpb $0, (setup_is_whole - setup + {setup})(%esi)
    je 6f
    pushl %esi
    movl 0x1f4(%esi), %ecx              /* the kernel, in units of 16 bytes */
    shll $2, %ecx
    movl 0x214(%esi), %edi              /* code32_start */
    addl ${kernel}, %esi
    rep movsl
    popl %esi
6:  xorl %edi, %edi
    jmpl *0x214(%esi)

    .code16
/* Not zero if address line 20 is open: then 1 MiB and up is not page 0. */
line_20:
    pushw %ds
    pushw %es
    xorw %ax, %ax
    movw %ax, %ds
    decw %ax
    movw %ax, %es                       /* ffff:0510 is 0000:0500, or not */
    movw $200, %cx
    movw (0x500), %bx
1:  incw (0x500)
    movw (0x500), %ax
    cmpw %es:(0x510), %ax
    loope 1b
    movw %bx, (0x500)                   /* changes no flag */
    popw %es
    popw %ds
    ret

/* Until the keyboard controller takes a byte; there may be none. */
keyboard_waits:
    xorw %cx, %cx
1:  inb $0x64, %al
    testb $2, %al
    loopnz 1b
    ret

/* si = what to say on the screen and on the first serial port */
setup_fails:
    lodsb
    testb %al, %al
    jz 2f
    pushw %si
    pushw %ax
    movw $7, %bx
    movb $0x0e, %ah
    int $0x10
    movw $0x3fd, %dx
    xorw %cx, %cx
1:  inb %dx, %al
    testb $0x20, %al
    loopz 1b
    popw %ax
    movw $0x3f8, %dx
    outb %al, %dx
    popw %si
    jmp setup_fails
2:  cli
    hlt
    jmp 2b
no_line_20:
    .asciz "ublade: address line 20 can not be opened. Halted.\r\n"
setup_is_whole:
    .byte 0

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
    .text
    .code64                             /* what the assembler goes on with */
"#,
    setup = const SETUP,
    whole = const WHOLE,
    kernel = const KERNEL,
    options(att_syntax),
);
