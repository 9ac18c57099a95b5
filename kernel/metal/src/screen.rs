//! The screen: people look at it first.
//!
//! Either a frame buffer that the loader or the firmware told us of, or the text
//! mode that a BIOS leaves on, which is found by asking the adapter. We set no
//! mode. Where the letters go is `metal::pen`; here are the cells.

use crate::arch::{self, Port};
use door::handover::Frame;
use metal::pen::{CELL_HEIGHT, CELL_WIDTH, Pen, frame_bytes, points};
use pci::{DeviceMemory, Register};

/// Light grey on black, whichever way round the colours are.
const GREY: u32 = 0x00aa_aaaa;
/// The same in text mode, in the upper byte of a cell.
const GREY_TEXT: u16 = 0x0700;
/// Cells of the text mode.
const TEXT_COLUMNS: u32 = 80;
const TEXT_ROWS: u32 = 25;

enum Kind {
    /// Bytes from one line of points to the next.
    Frame {
        line_bytes: usize,
    },
    Text,
}

/// A screen that can show text.
pub struct Screen {
    memory: DeviceMemory,
    kind: Kind,
    pen: Pen,
}

impl Screen {
    /// The frame buffer that we were told of.
    pub fn on_frame(frame: &Frame) -> Option<Self> {
        let memory = arch::map_device(frame.address, frame_bytes(frame)?)?;
        Some(Self {
            memory,
            kind: Kind::Frame {
                line_bytes: frame.line_bytes as usize,
            },
            pen: Pen::new(frame.width / CELL_WIDTH, frame.height / CELL_HEIGHT),
        })
    }

    /// The text mode of a VGA adapter, if there is one and it is on.
    pub fn on_text() -> Option<Self> {
        // A register that keeps what is written (VGA: CRT controller, cursor
        // location) says that somebody is there. The cursor is not shown after.
        let (index, data) = (Port(0x3d4), Port(0x3d5));
        for pattern in [0x5a, 0xa5] {
            index.write(0x0f);
            data.write(pattern);
            if data.read() != pattern {
                return None;
            }
        }
        // Graphics controller, miscellaneous: text, in the window at 0xb8000.
        Port(0x3ce).write(0x06);
        if Port(0x3cf).read() & 0x0d != 0x0c {
            return None;
        }
        index.write(0x0a);
        data.write(0x20);
        Some(Self {
            memory: arch::vga_text()?,
            kind: Kind::Text,
            pen: Pen::new(TEXT_COLUMNS, TEXT_ROWS),
        })
    }

    /// Draws one cell, or moves the pen.
    pub fn step(&mut self, next: impl FnOnce() -> Option<u8>) {
        if let Some((column, row, letter)) = self.pen.step(next) {
            self.draw(column as usize, row as usize, letter);
        }
    }

    fn draw(&self, column: usize, row: usize, letter: u8) {
        let line_bytes = match self.kind {
            Kind::Frame { line_bytes } => line_bytes,
            Kind::Text => {
                let cell = row * TEXT_COLUMNS as usize + column;
                let value = GREY_TEXT | u16::from(letter);
                return self.memory.write(Register::<u16>::at(cell * 2), value);
            }
        };
        let first = row * CELL_HEIGHT as usize * line_bytes + column * CELL_WIDTH as usize * 4;
        for line in 0..CELL_HEIGHT {
            let lit = points(letter, line);
            for point in 0..CELL_WIDTH {
                let at = first + line as usize * line_bytes + point as usize * 4;
                let colour = if lit >> point & 1 == 1 { GREY } else { 0 };
                self.memory.write(Register::<u32>::at(at), colour);
            }
        }
    }
}
