//! Last words in 64-bit mode: on the first serial port, and on a screen of text.
//!
//! There are no settings yet, and no `panic=`: whoever is here halts, so that the
//! words stay.

use core::arch::asm;
use core::ptr;

/// The first serial port (PC16550D data sheet, 8): data, line, status.
const DATA: u16 = 0x3f8;
const LINE: u16 = DATA + 3;
const STATUS: u16 = DATA + 5;
const STATUS_EMPTY: u8 = 0x20;
/// A port that takes no byte in so many questions is not there.
const ASK_MAX: u32 = 1_000_000;
/// VGA: the graphics controller, and its register that says where the window is.
const GRAPHICS: u16 = 0x3ce;
const MISCELLANEOUS: u8 = 6;
/// The last two lines of the window for text, and how many letters they have.
const LAST_LINES: usize = 0xb8000 + 23 * 160;
const LETTERS: usize = 160;
const GREY: u16 = 0x0700;

/// Says `words` and halts for ever.
pub fn and_halt(words: &str) -> ! {
    on_screen(words);
    on_serial(words);
    on_serial(" Halted.\r\n");
    loop {
        // SAFETY: interrupts are closed; nothing runs any more.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

fn on_screen(words: &str) {
    write(GRAPHICS, MISCELLANEOUS);
    // Text, in the window at 0xb8000; where no adapter is, all bits are one.
    if read(GRAPHICS + 1) & 0x0d != 0x0c {
        return;
    }
    let letters = words.bytes().chain(" Halted.".bytes());
    let letters = letters.chain(core::iter::repeat(b' '));
    for (place, letter) in letters.take(LETTERS).enumerate() {
        let cell = ptr::with_exposed_provenance_mut::<u16>(LAST_LINES).wrapping_add(place);
        // SAFETY: a cell of the adapter's window.
        unsafe { cell.write_volatile(GREY | u16::from(letter)) };
    }
}

fn on_serial(words: &str) {
    // 115,200 baud, 8 bits, no parity.
    for (port, value) in [(LINE, 0x83), (DATA, 1), (DATA + 1, 0), (LINE, 3)] {
        write(port, value);
    }
    for byte in words.bytes() {
        if !(0..ASK_MAX).any(|_| read(STATUS) & STATUS_EMPTY != 0) {
            return;
        }
        write(DATA, byte);
    }
}

fn read(port: u16) -> u8 {
    let value;
    // SAFETY: reads a register of the serial port or of the adapter.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack)) };
    value
}

fn write(port: u16, value: u8) {
    // SAFETY: sets a register of the serial port or of the adapter, which nobody
    // else uses.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) };
}
