//! QEMU's debugger, for what no honest program does: breaking a guest's code.
//!
//! The remote protocol of GDB (its manual, appendix E): a packet is `$`, a text, `#`
//! and the sum of its letters in hex, and is answered by `+`. The machine stands still
//! until the debugger detaches.

use crate::{Failure, OrFail};
use std::fmt::Write as _;
use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Longest answer that is read.
const ANSWER_MAX: usize = 64 << 10;
/// Where the instruction pointer stands among the registers of an x86-64: behind sixteen
/// others, each of sixteen digits.
const INSTRUCTION_POINTER: usize = 16 * 16;
/// And the flags, of eight digits, behind it.
const FLAGS: usize = INSTRUCTION_POINTER + 16;

/// A stopped machine.
pub struct Debugger {
    link: BufReader<UnixStream>,
}

impl Debugger {
    /// Begins to speak to QEMU, which has stopped the machine.
    pub(crate) fn new(link: UnixStream) -> Result<Self, Failure> {
        link.set_read_timeout(Some(ANSWER_WITHIN))
            .or_fail("cannot limit the waits of the debugger")?;
        Ok(Self {
            link: BufReader::new(link),
        })
    }

    /// Speaks of processor `index` from now on; of the first one before.
    pub fn of_processor(&mut self, index: u32) -> Result<(), Failure> {
        // Threads are counted from 1: 0 is any of them.
        self.tell(&format!("Hg{:x}", index + 1))
    }

    /// Lets the processor go on at `address`.
    pub fn jump(&mut self, address: u64) -> Result<(), Failure> {
        let bytes = address.swap_bytes();
        self.set(INSTRUCTION_POINTER, &format!("{bytes:016x}"))
    }

    /// Nothing interrupts the processor any more, but what nothing masks.
    pub fn close_interrupts(&mut self) -> Result<(), Failure> {
        // Of the flags only the one that is always set is left.
        self.set(FLAGS, "02000000")
    }

    /// Where the processor is.
    pub fn instruction_pointer(&mut self) -> Result<u64, Failure> {
        let registers = self.ask("g")?;
        let digits = registers.get(INSTRUCTION_POINTER..FLAGS);
        let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let number = number.or_fail(format_args!("QEMU's registers are \"{registers}\""))?;
        // Bytes come in the order of memory.
        Ok(number.swap_bytes())
    }

    /// Puts `digits` in the place of those `at` among the registers.
    fn set(&mut self, at: usize, digits: &str) -> Result<(), Failure> {
        let mut registers = self.ask("g")?;
        let place = at..at + digits.len();
        if registers.get(place.clone()).is_none() {
            let sentence = format!("QEMU's registers are \"{registers}\"");
            return Err(Failure::new(sentence));
        }
        registers.replace_range(place, digits);
        self.tell(&format!("G{registers}"))
    }

    /// Writes over memory as the processor sees it, read-only or not.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Failure> {
        let mut packet = format!("M{address:x},{:x}:", bytes.len());
        for byte in bytes {
            write!(packet, "{byte:02x}").expect("a string takes everything");
        }
        self.tell(&packet)
    }

    /// Lets the machine go on, without us.
    pub fn detach(mut self) -> Result<(), Failure> {
        self.ask("D").map(drop)
    }

    fn tell(&mut self, packet: &str) -> Result<(), Failure> {
        match self.ask(packet)?.as_str() {
            "OK" => Ok(()),
            answer => Err(Failure::new(format!("QEMU answers {packet} by {answer}"))),
        }
    }

    fn ask(&mut self, packet: &str) -> Result<String, Failure> {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        self.link
            .get_mut()
            .write_all(format!("${packet}#{sum:02x}").as_bytes())
            .or_fail("cannot ask QEMU's debugger")?;
        while self.letter()? != b'$' {}
        let mut answer = String::new();
        loop {
            match self.letter()? {
                b'#' => break,
                letter => answer.push(letter.into()),
            }
            if answer.len() > ANSWER_MAX {
                return Err(Failure::new("QEMU's debugger answers without end"));
            }
        }
        for _ in 0..2 {
            self.letter()?;
        }
        self.link
            .get_mut()
            .write_all(b"+")
            .or_fail("cannot answer QEMU's debugger")?;
        Ok(answer)
    }

    fn letter(&mut self) -> Result<u8, Failure> {
        let mut letter = [0];
        self.link
            .read_exact(&mut letter)
            .or_fail("QEMU's debugger is silent")?;
        Ok(letter[0])
    }
}
