//! The first sector of a disk: what a BIOS starts.
//!
//! 440 bytes at 0x7c00, of which `image` writes the last eight: where the boot
//! file is on the disk and how long it is. We read it to 0x10000 with the
//! extended calls (EDD 3.0: INT 13h, 41h and 42h), look for its mark, and jump to
//! its first byte, where a contiguous load into low memory comes in (`setup`).
//!
//! Chunks are 32 KiB, so that no chunk crosses a 64 KiB border of a DMA
//! controller; each is tried three times. What fails is said on the screen and
//! on the first serial port, with the firmware's code and the sector, for the
//! person who stands before a machine that does not start.
//!
//! Nothing here is in the kernel's image: the section is not loaded, and `image`
//! takes its bytes out of the ELF.

use core::arch::global_asm;

/// Where the firmware puts the sector.
const AT: u16 = 0x7c00;
/// Where the boot file goes, as a segment.
const FILE_SEGMENT: u16 = 0x1000;
/// Sectors of a chunk.
const CHUNK: u16 = 64;

global_asm!(
    r#"
    .section .mbr, "", @progbits
    .code16
mbr:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw ${at}, %sp
    sti
    cld
    ljmp $0, $(1f - mbr + {at})         /* some firmware starts at 07c0:0 */
1:  movb %dl, (mbr_drive - mbr + {at})

    movb $0x41, %ah                     /* are there extended calls? */
    movw $0x55aa, %bx
    int $0x13
    movw $(mbr_no_edd - mbr + {at}), %si
    jc 8f
    cmpw $0xaa55, %bx
    jne 8f
    testb $1, %cl
    jz 8f

    movl (mbr_start - mbr + {at}), %eax
    movl %eax, (mbr_lba - mbr + {at})
    movl (mbr_sectors - mbr + {at}), %ebp
2:  movb $3, (mbr_tries - mbr + {at})
3:  movl %ebp, %eax                     /* again: a failed call may change it */
    cmpl ${chunk}, %eax
    jbe 4f
    movl ${chunk}, %eax
4:  movw %ax, (mbr_count - mbr + {at})
    movw $(mbr_packet - mbr + {at}), %si
    movb $0x42, %ah
    movb (mbr_drive - mbr + {at}), %dl
    int $0x13
    jnc 5f
    movb %ah, (mbr_code - mbr + {at})
    movb $0, %ah                        /* reset, and again */
    movb (mbr_drive - mbr + {at}), %dl
    int $0x13
    decb (mbr_tries - mbr + {at})
    jnz 3b
    jmp 7f
5:  addl ${chunk}, (mbr_lba - mbr + {at})
    addw ${chunk_segments}, (mbr_segment - mbr + {at})
    subl ${chunk}, %ebp
    ja 2b

    movw ${segment}, %ax
    movw %ax, %es
    movw $(mbr_no_file - mbr + {at}), %si
    cmpl $0x53726448, %es:(0x202)       /* "HdrS" */
    jne 8f
    movb (mbr_drive - mbr + {at}), %dl
    ljmp ${segment}, $0

7:  movw $(mbr_read_error - mbr + {at}), %si
    call mbr_say
    movzbl (mbr_code - mbr + {at}), %eax
    movb $2, %cl
    call mbr_hex
    movw $(mbr_at_lba - mbr + {at}), %si
    call mbr_say
    movl (mbr_lba - mbr + {at}), %eax
    movb $8, %cl
    call mbr_hex
    movw $(mbr_end - mbr + {at}), %si
8:  call mbr_say
9:  cli
    hlt
    jmp 9b

/* eax in cl hexadecimal digits */
mbr_hex:
    movb $8, %ch
    subb %cl, %ch
    jz 2f
1:  shll $4, %eax
    decb %ch
    jnz 1b
2:  roll $4, %eax
    pushl %eax
    andb $15, %al
    cmpb $10, %al
    sbbb $0x69, %al
    das
    call mbr_put
    popl %eax
    decb %cl
    jnz 2b
    ret

/* the text at si, up to its zero */
mbr_say:
    lodsb
    testb %al, %al
    jz 1f
    call mbr_put
    jmp mbr_say
1:  ret

/* al, on the screen and on the first serial port as the firmware left it */
mbr_put:
    pushal
    pushw %ax
    movw $7, %bx
    movb $0x0e, %ah
    int $0x10
    popw %ax
    movb %al, %ah
    movw $0x3fd, %dx
    xorw %cx, %cx
1:  inb %dx, %al
    testb $0x20, %al
    loopz 1b
    movb $0xf8, %dl
    movb %ah, %al
    outb %al, %dx
    popal
    ret

mbr_no_edd:
    .asciz "ublade: firmware without EDD\r\n"
mbr_no_file:
    .asciz "ublade: no boot file\r\n"
mbr_read_error:
    .asciz "ublade: disk read error "
mbr_at_lba:
    .asciz " at LBA "
mbr_end:
    .asciz "\r\n"
mbr_drive:
    .byte 0
mbr_tries:
    .byte 0
mbr_code:
    .byte 0
    .balign 4
mbr_packet:
    .byte 16, 0
mbr_count:
    .word 0
    .word 0
mbr_segment:
    .word {segment}
mbr_lba:
    .quad 0
    .org 432
mbr_start:
    .long 0
mbr_sectors:
    .long 0
    .text
    .code64
"#,
    at = const AT,
    segment = const FILE_SEGMENT,
    chunk = const CHUNK,
    chunk_segments = const CHUNK * 512 / 16,
    options(att_syntax),
);
