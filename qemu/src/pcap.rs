//! A packet capture that any tool can open, of bounded size.
//!
//! The classic pcap format (magic a1b2c3d4, microseconds, Ethernet). Two files
//! take turns: when `NAME.pcap` is full it becomes `NAME.old.pcap` and a new
//! one begins, so the newest frames before a failure are always kept and a long
//! run cannot fill the disk.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes after which a file is put aside. Two of them are kept.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// LINKTYPE_ETHERNET.
const LINK_TYPE_ETHERNET: u32 = 1;
/// Longest frame a reader must expect.
const SNAP_BYTES: u32 = 65_536;

/// An open capture.
pub struct Capture {
    path: PathBuf,
    file: BufWriter<File>,
    written: u64,
    bytes_max: u64,
}

impl Capture {
    /// Starts a capture at `path`, replacing what is there.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, FILE_BYTES_MAX)
    }

    fn with_limit(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let mut capture = Self {
            path: path.to_path_buf(),
            file: BufWriter::new(File::create(path)?),
            written: 0,
            bytes_max,
        };
        capture.header()?;
        Ok(capture)
    }

    /// Where the newest frames are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one frame down. A full disk ends a capture, never a test: the
    /// caller drops the capture on an error.
    pub fn record(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.written >= self.bytes_max {
            self.turn_over()?;
        }
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        // Seconds are 32 bits wide in this format, until 2106.
        let seconds = u32::try_from(since.as_secs()).unwrap_or(u32::MAX);
        for word in [seconds, since.subsec_micros(), length, length] {
            self.file.write_all(&word.to_le_bytes())?;
        }
        self.file.write_all(frame)?;
        self.written += 16 + u64::from(length);
        Ok(())
    }

    /// Makes everything recorded visible to a reader of the file.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn turn_over(&mut self) -> io::Result<()> {
        self.file.flush()?;
        std::fs::rename(&self.path, self.path.with_extension("old.pcap"))?;
        self.file = BufWriter::new(File::create(&self.path)?);
        self.written = 0;
        self.header()
    }

    fn header(&mut self) -> io::Result<()> {
        self.file.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        // Version 2.4, then time zone and accuracy, which nobody fills in.
        self.file.write_all(&2_u16.to_le_bytes())?;
        self.file.write_all(&4_u16.to_le_bytes())?;
        self.file.write_all(&[0; 8])?;
        self.file.write_all(&SNAP_BYTES.to_le_bytes())?;
        self.file.write_all(&LINK_TYPE_ETHERNET.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("ublade-pcap-{}-{name}", std::process::id()))
    }

    #[test]
    fn a_capture_is_a_header_and_then_each_frame_behind_its_length() {
        let path = scratch("plain.pcap");
        let mut capture = Capture::create(&path).unwrap();
        capture.record(&[0xab; 60]).unwrap();
        capture.flush().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bytes.len(), 24 + 16 + 60);
        assert_eq!(bytes[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
        assert_eq!(bytes[32..40], [60, 0, 0, 0, 60, 0, 0, 0]);
        assert!(bytes[40..].iter().all(|&byte| byte == 0xab));
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_newest_frames_are_in_the_new_one() {
        let path = scratch("ring.pcap");
        let mut capture = Capture::with_limit(&path, 200).unwrap();
        for byte in 0..4 {
            capture.record(&[byte; 100]).unwrap();
        }
        capture.flush().unwrap();
        let old = path.with_extension("old.pcap");
        let (newest, older) = (std::fs::read(&path).unwrap(), std::fs::read(&old).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&old).unwrap();
        assert_eq!(older.len(), 24 + 2 * 116);
        assert_eq!(newest.len(), 24 + 2 * 116);
        assert_eq!(newest.last(), Some(&3));
    }
}
