//! The first instructions that the boot file and the ELF have in common.
//!
//! Each is a text for `global_asm!` (AT&T syntax), because neither of the two
//! programs has a stack, or even the right mode, when they run. Operands that a
//! text names are given by whoever takes it in.

/// CPUID 1, edx: TSC, MSRs, PAE, APIC, FXSAVE, SSE and SSE2.
pub const NEEDED_FEATURES: u32 = 1 << 4 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 24 | 1 << 25 | 1 << 26;

/// Page tables that there is room for before `arch::paging` makes the lasting
/// ones. The 32-bit entries need one of each upper level and four of the last;
/// UEFI needs one for a fifth level, and three for where it comes from.
pub const BRIDGE_TABLES: usize = 10;

/// From 32-bit mode to 64-bit mode, with everything below 4 GiB mapped one to one.
///
/// Given: ebp = where the label `head` of this section is, esp = the top of a
/// stack, ebx = room for the page tables, edi and esi for whoever comes next. It
/// goes on at the label `from_64`, or says why not and halts. Operands:
/// `bridge_tables` and `needed`.
#[macro_export]
macro_rules! to_64_bit {
    () => {
        r#"
    .pushsection .data.boot, "aw", @progbits
    .balign 8
bridge_gdt:
    .quad 0
    .quad 0x00af9a000000ffff            /* 0x08: 64-bit code */
    .quad 0x00cf92000000ffff            /* 0x10: data */
bridge_gdt_end:
bridge_gdt_pointer:
    .word bridge_gdt_end - bridge_gdt - 1
    .long 0                             /* set below */
    .popsection

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
    pushl %ebx                          /* CPUID takes it */
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
    popl %ebx

    /* The memory is whatever it was before: zero first. */
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
"#
    };
}

/// What [`to_64_bit`] says when it can not go on. Stands in the same section.
#[macro_export]
macro_rules! why_not_64_bit {
    () => {
        r#"
    .code32
no_memory:
    leal (no_memory_text - head)(%ebp), %esi
    jmp say
not_64_bit:
    leal (not_64_bit_text - head)(%ebp), %esi
    jmp say
lacks_features:
    leal (lacks_features_text - head)(%ebp), %esi
/* esi = what to say before we halt: on the first serial port, and in the last
   two lines of the screen if an adapter shows text */
say:
    movw $0x3ce, %dx                    /* VGA: graphics, miscellaneous */
    movb $6, %al
    outb %al, %dx
    incw %dx
    inb %dx, %al
    andb $0x0d, %al
    cmpb $0x0c, %al                     /* text, in the window at 0xb8000 */
    jne 2f
    movl %esi, %ebx
    movl $(0xb8000 + 23 * 160), %edi
    movl $160, %ecx
1:  movb (%ebx), %al
    cmpb $0x20, %al                     /* behind the text, blanks */
    jb 3f
    incl %ebx
    jmp 4f
3:  movb $0x20, %al
4:  movb $0x07, %ah                     /* light grey on black */
    stosw
    loop 1b
2:  movw $0x3fb, %dx
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
"#
    };
}

/// Adds where we are to every address in the program's data. Every relocation is
/// of the relative kind; `image` refuses to build others. Takes rax and r8 to r11.
#[macro_export]
macro_rules! relocate {
    () => {
        r#"
    leaq __ehdr_start(%rip), %r8
    leaq rela_start(%rip), %r9
    leaq rela_end(%rip), %r10
1:  cmpq %r10, %r9
    jae 2f
    movq (%r9), %rax
    movq 16(%r9), %r11
    addq %r8, %r11
    movq %r11, (%r8,%rax)
    addq $24, %r9
    jmp 1b
2:
"#
    };
}

/// Turns SSE on, which compiled code uses. Takes rax.
#[macro_export]
macro_rules! allow_sse {
    () => {
        r#"
    movq %cr0, %rax
    andl $~0xc, %eax                    /* EM, TS off */
    orl $0x22, %eax                     /* MP, NE on */
    movq %rax, %cr0
    movq %cr4, %rax
    orl $0x600, %eax                    /* OSFXSR, OSXMMEXCPT */
    movq %rax, %cr4
"#
    };
}
