//! The console: a serial port, the screen, and what was said on them.
//!
//! Everything that is written goes into a ring first; the ring is what is left to
//! read when there is no port, or nobody at it. While the machine starts, each
//! line is sent at once, so that the last line before a fault is seen. Once the
//! node serves, a line costs a copy: the port takes sixteen bytes whenever the
//! loop comes by, the screen one letter, and a slow line never holds up a frame.
//!
//! A port that does not take a byte in time is taken for absent, for good.

use crate::arch::{self, Port};
use crate::screen::Screen;
use crate::testament;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use hermit_sync::{InterruptTicketMutex, InterruptTicketMutexGuard};
use log::{Level, Metadata, Record};
use metal::serial::Serial;
use node::config::LogLevel;

/// Bytes that are kept.
const KEPT_BYTES: usize = 8192;
/// Bytes that the port takes at once when it is empty.
pub const FIFO_BYTES: usize = 16;
/// How often we ask whether the port is empty. A byte at the slowest speed takes
/// milliseconds, a question about one microsecond.
const ASK_MAX: u32 = 100_000;

/// A 16550 (PC16550D data sheet, 8).
#[derive(Clone, Copy)]
struct Uart(u16);

impl Uart {
    const DATA: u16 = 0;
    const INTERRUPTS: u16 = 1;
    const FIFO: u16 = 2;
    const LINE: u16 = 3;
    const MODEM: u16 = 4;
    const STATUS: u16 = 5;
    const SCRATCH: u16 = 7;
    /// Line: the first two registers are the divisor.
    const LINE_DIVISOR: u8 = 0x80;
    /// Line: 8 bits, no parity, one stop bit.
    const LINE_8N1: u8 = 0x03;
    /// Interrupts: when something has arrived.
    const INTERRUPTS_DATA: u8 = 0x01;
    /// Modem: ready, request to send, and interrupts reach the line (a PC's wiring).
    const MODEM_READY: u8 = 0x03;
    const MODEM_INTERRUPTS: u8 = 0x08;
    /// Status: all that was given has been taken.
    const STATUS_EMPTY: u8 = 0x20;
    /// Status: something has arrived.
    const STATUS_DATA: u8 = 0x01;

    fn register(self, offset: u16) -> Port {
        Port(self.0 + offset)
    }

    /// Sets the port up; `None` if there is none. Where nothing is, reads give
    /// ones and nothing is kept.
    fn open(serial: Serial) -> Option<Self> {
        let uart = Self(serial.port);
        for pattern in [0x5a, 0xa5] {
            uart.register(Self::SCRATCH).write(pattern);
            if uart.register(Self::SCRATCH).read() != pattern {
                return None;
            }
        }
        let [low, high] = serial.divisor.to_le_bytes();
        uart.register(Self::INTERRUPTS).write(0);
        uart.register(Self::LINE).write(Self::LINE_DIVISOR);
        uart.register(Self::DATA).write(low);
        uart.register(Self::INTERRUPTS).write(high);
        uart.register(Self::LINE).write(Self::LINE_8N1);
        uart.register(Self::FIFO).write(0x07); // on, and cleared
        uart.register(Self::MODEM).write(Self::MODEM_READY);
        Some(uart)
    }

    fn is_empty(self) -> bool {
        self.register(Self::STATUS).read() & Self::STATUS_EMPTY != 0
    }

    /// Waits until the port takes bytes; false if it never does.
    fn wait(self) -> bool {
        (0..ASK_MAX).any(|_| self.is_empty())
    }

    /// The line of its interrupt: COM1 and COM3 share one, COM2 and COM4 another.
    fn line(self) -> u32 {
        if self.0 & 0x100 != 0 { 4 } else { 3 }
    }

    /// Wakes us when something arrives, if the machine can.
    fn open_interrupt(self) {
        if arch::open_isa_line(self.line()) {
            self.register(Self::MODEM)
                .write(Self::MODEM_READY | Self::MODEM_INTERRUPTS);
            self.register(Self::INTERRUPTS).write(Self::INTERRUPTS_DATA);
        }
    }

    /// What has arrived, if anything has.
    fn get(self) -> Option<u8> {
        let has_data = self.register(Self::STATUS).read() & Self::STATUS_DATA != 0;
        has_data.then(|| self.register(Self::DATA).read())
    }

    fn put(self, byte: u8) {
        self.register(Self::DATA).write(byte);
    }
}

struct Console {
    uart: Option<Uart>,
    kept: [u8; KEPT_BYTES],
    /// Bytes ever written; bytes of them that were sent, and that the node heard.
    written: usize,
    sent: usize,
    heard: usize,
    /// Whether the screen shows it, and how many bytes it has taken.
    on_screen: bool,
    drawn: usize,
}

/// The screen, if there is one. Locked after the console by those who need both;
/// the last words need only this.
static SCREEN: InterruptTicketMutex<Option<Screen>> = InterruptTicketMutex::new(None);

static CONSOLE: InterruptTicketMutex<Console> = InterruptTicketMutex::new(Console {
    uart: None,
    kept: [0; KEPT_BYTES],
    written: 0,
    sent: 0,
    heard: 0,
    on_screen: false,
    drawn: 0,
});

/// Whether there is something that [`hear`] has not given out.
static IS_NEWS: AtomicBool = AtomicBool::new(false);
/// Whether lines wait for [`pump`] instead of being sent at once.
static BACKGROUND: AtomicBool = AtomicBool::new(false);
/// The port in use, for those who can not wait for the lock; 0 for none.
static PORT: AtomicU16 = AtomicU16::new(0);

impl Console {
    fn push(&mut self, byte: u8) {
        self.kept[self.written % KEPT_BYTES] = byte;
        self.written += 1;
        // What was overwritten before it was sent is lost.
        let first = self.written.saturating_sub(KEPT_BYTES);
        self.sent = self.sent.max(first);
        self.drawn = self.drawn.max(first);
    }

    /// Sends up to a FIFO of bytes, if the port is empty.
    fn send_some(&mut self) {
        let Some(uart) = self.uart else {
            self.sent = self.written;
            return;
        };
        for _ in 0..FIFO_BYTES {
            if self.sent == self.written {
                return;
            }
            uart.put(self.kept[self.sent % KEPT_BYTES]);
            self.sent += 1;
        }
    }

    /// Draws one letter, or wipes its place.
    fn draw_some(&mut self) {
        match &mut *SCREEN.lock() {
            Some(screen) if self.on_screen => screen.step(|| {
                let byte = self.kept[self.drawn % KEPT_BYTES];
                self.drawn += 1;
                Some(byte)
            }),
            _ => self.drawn = self.written,
        }
    }

    /// Sends and draws everything.
    fn flush(&mut self) {
        while self.sent < self.written {
            if self.uart.is_some_and(|uart| !uart.wait()) {
                self.uart = None;
                PORT.store(0, Ordering::Relaxed);
            }
            self.send_some();
        }
        while self.drawn < self.written {
            self.draw_some();
        }
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.push(b'\r');
            }
            self.push(byte);
        }
        Ok(())
    }
}

/// Says that there is a screen. The last words are shown on it in any case.
pub fn found(screen: Option<Screen>) {
    *SCREEN.lock() = screen;
}

/// Opens the console on a port, on the screen, or both. What was said before is
/// sent now.
pub fn open(serial: Option<Serial>, on_screen: bool) {
    let mut console = CONSOLE.lock();
    console.on_screen = on_screen;
    console.uart = serial.and_then(Uart::open);
    PORT.store(console.uart.map_or(0, |uart| uart.0), Ordering::Relaxed);
    console.flush();
}

/// Takes what the crates say with `log` from now on.
pub fn listen(level: LogLevel) {
    // The only other caller would be another `start`.
    let _ = log::set_logger(&Log);
    log::set_max_level(level.into());
}

/// From now on lines are sent by [`pump`], and somebody may type.
pub fn go_to_background() {
    BACKGROUND.store(true, Ordering::Relaxed);
    if let Some(uart) = CONSOLE.lock().uart {
        uart.open_interrupt();
    }
}

/// What has been typed on the port since the last call; how many bytes.
pub fn typed(bytes: &mut [u8; FIFO_BYTES]) -> usize {
    let Some(uart) = CONSOLE.lock().uart else {
        return 0;
    };
    let mut len = 0;
    while len < FIFO_BYTES
        && let Some(byte) = uart.get()
    {
        // Where nothing is any more, reads give ones for ever: that ends here.
        bytes[len] = byte;
        len += 1;
    }
    len
}

/// Sends what `next` gives to whoever types, if the port is free and every line has
/// been sent.
pub fn answer(next: impl FnOnce(&mut [u8]) -> usize) {
    let console = CONSOLE.lock();
    let is_quiet = console.sent == console.written;
    if let Some(uart) = console.uart.filter(|uart| is_quiet && uart.is_empty()) {
        let mut bytes = [0; FIFO_BYTES];
        let len = next(&mut bytes);
        bytes[..len].iter().for_each(|byte| uart.put(*byte));
    }
}

/// Sends a little, if the port is free, and draws a letter. True if there is more to send.
pub fn pump() -> bool {
    let mut console = CONSOLE.lock();
    if console.sent < console.written && console.uart.is_none_or(Uart::is_empty) {
        console.send_some();
    }
    if console.drawn < console.written {
        console.draw_some();
    }
    console.sent < console.written || console.drawn < console.written
}

/// The next bytes that were said since the last call, as many as `bytes` holds: for
/// the node, which shows them and sends them on. Costs one load if there are none.
pub fn hear(bytes: &mut [u8]) -> usize {
    if !IS_NEWS.load(Ordering::Relaxed) {
        return 0;
    }
    let mut console = CONSOLE.lock();
    // What was overwritten before it was heard is lost.
    let from = console
        .heard
        .max(console.written.saturating_sub(KEPT_BYTES));
    let len = bytes.len().min(console.written - from);
    for (at, byte) in bytes[..len].iter_mut().enumerate() {
        *byte = console.kept[(from + at) % KEPT_BYTES];
    }
    console.heard = from + len;
    IS_NEWS.store(console.heard < console.written, Ordering::Relaxed);
    len
}

struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut console = CONSOLE.lock();
        let mark = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info => "",
            Level::Debug => "debug: ",
            Level::Trace => "trace: ",
        };
        // `Console` takes everything.
        let _ = writeln!(console, "{mark}{}", record.args());
        IS_NEWS.store(true, Ordering::Relaxed);
        if !BACKGROUND.load(Ordering::Relaxed) {
            console.flush();
        }
    }

    fn flush(&self) {
        CONSOLE.lock().flush();
    }
}

/// Port and screen themselves, for the last words: no ring, and no waiting for
/// a lock that whoever fell may hold.
pub struct LastWords {
    uart: Option<Uart>,
    screen: Option<InterruptTicketMutexGuard<'static, Option<Screen>>>,
}

impl LastWords {
    /// Sends what was said before, if nobody is in the middle of saying it, and
    /// then everything at once.
    pub fn begin() -> Self {
        if let Some(mut console) = CONSOLE.try_lock() {
            console.flush();
        }
        // Before the console is open, the first port is the best guess.
        let port = match PORT.load(Ordering::Relaxed) {
            0 if !BACKGROUND.load(Ordering::Relaxed) => Uart::open(Serial::DEFAULT),
            0 => None,
            port => Some(Uart(port)),
        };
        Self {
            uart: port,
            screen: SCREEN.try_lock(),
        }
    }
}

impl Write for LastWords {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        testament::speak(text);
        for byte in text.bytes() {
            if let Some(Some(screen)) = self.screen.as_deref_mut() {
                let mut next = Some(byte);
                while next.is_some() {
                    screen.step(|| next.take());
                }
            }
            let carriage = (byte == b'\n').then_some(b'\r');
            for byte in carriage.into_iter().chain([byte]) {
                match self.uart {
                    Some(uart) if uart.wait() => uart.put(byte),
                    _ => self.uart = None,
                }
            }
        }
        Ok(())
    }
}
