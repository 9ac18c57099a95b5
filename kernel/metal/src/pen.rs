//! Text on a screen of cells: where the next letter goes.
//!
//! A screen is not scrolled: moving a frame buffer takes milliseconds, and the
//! loop that serves disks would wait for it. Instead the text goes on at the top
//! when it has come to the bottom, over what is oldest, and each line is wiped
//! before it is written. So every step touches one cell, and whoever draws can
//! stop after any of them.

use door::handover::Frame;
use font8x8::legacy::BASIC_LEGACY;

/// Width of a cell in points.
pub const CELL_WIDTH: u32 = 8;
/// Height of a cell in points: each line of the font twice.
pub const CELL_HEIGHT: u32 = 16;

/// How large a frame buffer is; `None` for one that can not be: its numbers come
/// from outside.
pub fn frame_bytes(frame: &Frame) -> Option<usize> {
    const SIDE_MAX: u32 = 16_384;
    let fits = (CELL_WIDTH..=SIDE_MAX).contains(&frame.width)
        && (CELL_HEIGHT..=SIDE_MAX).contains(&frame.height)
        && (frame.width * 4..=SIDE_MAX * 8).contains(&frame.line_bytes)
        && frame.address != 0
        && frame.address.is_multiple_of(4)
        && frame.line_bytes.is_multiple_of(4);
    fits.then_some(frame.height as usize * frame.line_bytes as usize)
}

/// Where we write, on a screen of so many cells.
#[derive(Clone, Copy, Debug)]
pub struct Pen {
    columns: u32,
    rows: u32,
    column: u32,
    row: u32,
    /// Where the cells of this row end that are still to be wiped; they begin at
    /// the pen.
    wipe_end: u32,
}

impl Pen {
    /// At the top of a screen that is not wiped.
    pub const fn new(columns: u32, rows: u32) -> Self {
        Self {
            columns,
            rows,
            column: 0,
            row: 0,
            wipe_end: columns,
        }
    }

    /// Puts one letter into one cell: column, row, letter. Takes a byte from
    /// `next` only when the row is ready for it. `None` when there is no more, or
    /// when the byte only moved the pen.
    pub fn step(&mut self, next: impl FnOnce() -> Option<u8>) -> Option<(u32, u32, u8)> {
        if self.wipe_end > self.column {
            self.wipe_end -= 1;
            return Some((self.wipe_end, self.row, b' '));
        }
        let letter = match next()? {
            b'\n' => {
                self.new_row();
                return None;
            }
            b'\r' => return None,
            byte @ b' '..=b'~' => byte,
            b'\t' => b' ',
            _ => b'?',
        };
        if self.column == self.columns {
            // The rest of the new row is wiped before the next letter.
            self.new_row();
        }
        let cell = (self.column, self.row, letter);
        self.column += 1;
        Some(cell)
    }

    fn new_row(&mut self) {
        self.column = 0;
        self.row = (self.row + 1) % self.rows;
        self.wipe_end = self.columns;
    }
}

/// The points of one line of a letter, the leftmost in bit 0.
pub fn points(letter: u8, line: u32) -> u8 {
    let glyph = BASIC_LEGACY.get(usize::from(letter)).copied();
    glyph.unwrap_or_default()[(line / 2) as usize % 8]
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::String;
    use std::vec;
    use std::vec::Vec;

    /// What a screen full of old text shows after `text`.
    fn shown(columns: u32, rows: u32, text: &str) -> Vec<String> {
        let mut pen = Pen::new(columns, rows);
        let mut cells = vec![vec![b'#'; columns as usize]; rows as usize];
        let mut rest = text.bytes().peekable();
        while rest.peek().is_some() {
            if let Some((column, row, letter)) = pen.step(|| rest.next()) {
                cells[row as usize][column as usize] = letter;
            }
        }
        cells
            .into_iter()
            .map(|row| String::from_utf8(row).unwrap())
            .collect()
    }

    #[test]
    fn a_line_is_wiped_before_it_is_written() {
        assert_eq!(shown(4, 3, "ab"), ["ab  ", "####", "####"]);
        assert_eq!(shown(4, 3, "ab\r\nc"), ["ab  ", "c   ", "####"]);
    }

    #[test]
    fn text_goes_on_at_the_top_over_the_oldest() {
        assert_eq!(shown(4, 3, "1\n2\n3\n4"), ["4   ", "2   ", "3   "]);
        assert_eq!(shown(4, 3, "1\n2\n3\n\n5"), ["    ", "5   ", "3   "]);
    }

    #[test]
    fn a_long_line_loses_no_letter_and_an_exact_one_makes_no_empty_line() {
        assert_eq!(shown(4, 3, "abcd"), ["abcd", "####", "####"]);
        assert_eq!(shown(4, 3, "abcd\ne"), ["abcd", "e   ", "####"]);
        assert_eq!(shown(4, 3, "abcdef"), ["abcd", "ef  ", "####"]);
    }

    #[test]
    fn bytes_that_are_no_letters_are_seen_and_stay_in_their_cell() {
        assert_eq!(shown(4, 1, "\u{e9}\x1b\t"), ["??? "]);
    }

    #[test]
    fn a_frame_that_can_not_be_has_no_size() {
        let good = Frame {
            address: 0x8000_0000,
            width: 1280,
            height: 800,
            line_bytes: 5120,
        };
        assert_eq!(frame_bytes(&good), Some(5120 * 800));
        for bad in [
            Frame { address: 0, ..good },
            Frame { width: 0, ..good },
            Frame { height: 0, ..good },
            Frame {
                width: u32::MAX,
                ..good
            },
            Frame {
                height: u32::MAX,
                ..good
            },
            Frame {
                line_bytes: 5116,
                ..good
            },
            Frame {
                line_bytes: u32::MAX - 3,
                ..good
            },
            Frame {
                address: 0x8000_0001,
                ..good
            },
        ] {
            assert_eq!(frame_bytes(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn letters_have_points_and_a_space_has_none() {
        let drawn = |letter| (0..CELL_HEIGHT).any(|line| points(letter, line) != 0);
        assert!((b'!'..=b'~').all(drawn));
        assert!(!drawn(b' ') && !drawn(0xff));
    }
}
