//! The controllers of interrupt lines, for devices that have no messages.
//!
//! There is one at a fixed place on every PC, and on QEMU's microvm a second.
//! Lines are counted over both.

use super::apic;
use super::interrupts::WAKE;
use core::ptr;

const FIRST: usize = 0xfec0_0000;
const SECOND: usize = 0xfec1_0000;
/// Lines of the first, and of the second.
const LINES: u32 = 24;

/// Register: version, and the number of the last line.
const VERSION: u32 = 1;
/// Registers: two words for each line.
const LINE: u32 = 0x10;
/// Word of a line: level instead of edge.
const LEVEL: u32 = 1 << 15;

/// A controller has two words of memory: which register, and its value.
#[derive(Clone, Copy)]
struct Controller(usize);

impl Controller {
    fn read(self, register: u32) -> u32 {
        self.select(register);
        let window = ptr::with_exposed_provenance::<u32>(self.0 + 0x10);
        // SAFETY: device memory below 4 GiB is mapped one to one; where there is
        // no controller, reads give ones and writes go nowhere.
        unsafe { window.read_volatile() }
    }

    fn write(self, register: u32, value: u32) {
        self.select(register);
        let window = ptr::with_exposed_provenance_mut::<u32>(self.0 + 0x10);
        // SAFETY: as in `read`; a controller only interrupts.
        unsafe { window.write_volatile(value) }
    }

    fn select(self, register: u32) {
        let select = ptr::with_exposed_provenance_mut::<u32>(self.0);
        // SAFETY: as in `read`.
        unsafe { select.write_volatile(register) }
    }

    /// Its number of lines, if it is there.
    fn lines(self) -> Option<u32> {
        let version = self.read(VERSION);
        let lines = (version >> 16 & 0xff) + 1;
        (version & 0xff >= 0x10 && version != u32::MAX && lines <= 240).then_some(lines)
    }
}

/// Whether there is a second controller where QEMU's microvm has it.
pub fn second_controller() -> bool {
    Controller(FIRST).lines().is_some() && Controller(SECOND).lines().is_some()
}

/// Lets a line wake us. False if there is no such line.
///
/// As a level: a device that was not acknowledged wakes us again at once instead
/// of never.
pub fn open_line(line: u32) -> bool {
    open(line, LEVEL, apic::devices_at())
}

/// Lets a line of the ISA bus wake us. False if there is no such line.
///
/// As an edge, which these lines are: one that is stuck wakes us once.
pub fn open_isa_line(line: u32) -> bool {
    open(line, 0, apic::id())
}

fn open(line: u32, trigger: u32, processor: u32) -> bool {
    let (controller, pin) = if line < LINES {
        (Controller(FIRST), line)
    } else {
        (Controller(SECOND), line - LINES)
    };
    if controller.lines().is_none_or(|lines| pin >= lines) {
        return false;
    }
    controller.write(LINE + 2 * pin + 1, processor << 24);
    controller.write(LINE + 2 * pin, trigger | u32::from(WAKE));
    true
}
