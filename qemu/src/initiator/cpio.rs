//! A cpio archive in the "newc" form, which is what Linux unpacks at start.
//!
//! The kernel takes several archives one behind the other, so the large one is
//! built once and a scenario's script is a small one added to a copy of it.

use std::io::{self, Write};

/// What every header begins with.
const MAGIC: &str = "070701";
/// The name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";
/// Everything is padded to this.
const ALIGN: usize = 4;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An archive in the making.
pub(super) struct Cpio<W> {
    out: W,
    entries: u32,
}

impl<W: Write> Cpio<W> {
    /// An archive that is written to `out`.
    pub(super) fn new(out: W) -> Self {
        Self { out, entries: 0 }
    }

    /// Adds the folder `path`. A folder must come before what is in it.
    pub(super) fn folder(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, FOLDER, &[])
    }

    /// Adds a file that may be run.
    pub(super) fn program(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.entry(path, PROGRAM, bytes)
    }

    /// Adds a symbolic link at `path` to `target`.
    pub(super) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.entry(path, LINK, target.as_bytes())
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.entry(TRAILER, 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let length = |length: usize| {
            u32::try_from(length).map_err(|_| io::Error::other("longer than cpio can say"))
        };
        // Inode, mode, owner, group, links, time, size, four device numbers,
        // length of the name with its zero, and a checksum that newc leaves 0.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            length(bytes.len())?,
            0,
            0,
            0,
            0,
            length(path.len() + 1)?,
            0,
        ];
        let mut header = String::from(MAGIC);
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        header.push_str(path);
        header.push('\0');
        self.out.write_all(header.as_bytes())?;
        self.pad(header.len())?;
        self.out.write_all(bytes)?;
        self.pad(bytes.len())
    }

    fn pad(&mut self, written: usize) -> io::Result<()> {
        let zeros = [0; ALIGN];
        self.out
            .write_all(&zeros[..written.next_multiple_of(ALIGN) - written])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_and_every_body_begins_on_a_multiple_of_four() {
        for name_length in 1..=8 {
            for body_length in 0..=8 {
                let mut cpio = Cpio::new(Vec::new());
                let name = "n".repeat(name_length);
                cpio.program(&name, &vec![b'b'; body_length]).unwrap();
                let bytes = cpio.finish().unwrap();
                let body_at = (110 + name_length + 1).next_multiple_of(4);
                let trailer_at = (body_at + body_length).next_multiple_of(4);
                assert_eq!(&bytes[..6], b"070701");
                assert_eq!(&bytes[110..110 + name_length], name.as_bytes());
                assert!(
                    bytes[body_at..body_at + body_length]
                        .iter()
                        .all(|&b| b == b'b')
                );
                assert_eq!(&bytes[trailer_at..trailer_at + 6], b"070701");
                assert_eq!(&bytes[trailer_at + 110..trailer_at + 120], b"TRAILER!!!");
                assert_eq!(bytes.len() % 4, 0);
            }
        }
    }

    #[test]
    fn the_header_has_the_mode_and_the_lengths_in_hexadecimal() {
        let mut cpio = Cpio::new(Vec::new());
        cpio.program("init", &[0; 0x1234]).unwrap();
        let bytes = cpio.finish().unwrap();
        let field =
            |index: usize| std::str::from_utf8(&bytes[6 + index * 8..14 + index * 8]).unwrap();
        assert_eq!(field(1), "000081ed");
        assert_eq!(field(6), "00001234");
        assert_eq!(field(11), "00000005");
    }
}
