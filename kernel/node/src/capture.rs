//! The last frames, for a person who looks: copied only while somebody does.
//!
//! Off, it costs the data path one look at a flag for each frame. On, the head of a
//! frame is copied into a ring that was set aside at the start; readers remember how
//! far they have come, and whoever is too slow misses the oldest. What is captured
//! never has anybody's data in it: of AoE the headers, of IP the headers, and no TCP
//! at all, for that would be the capture on its way out.

use alloc::boxed::Box;
use alloc::vec;
use io::Instant;

/// Frames that are kept.
pub const FRAMES_MAX: usize = 512;
/// Bytes of a frame that are kept at most: headers, and the beginning of a query.
pub const HEAD_BYTES: usize = 64;
/// Bytes of AoE in front of sectors, and of IPv4 in front of what a service says.
const AOE_BYTES: usize = 14 + 10 + 12;
const IP_BYTES: usize = 14 + 20 + 8;
/// A tag of IEEE 802.1Q moves all of it.
const TAG_BYTES: usize = 4;

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    In = 1,
    Out = 2,
}

/// One frame.
#[derive(Clone, Copy, Debug)]
pub struct Captured {
    /// When it was seen.
    pub at: Instant,
    pub way: Way,
    pub port: u8,
    /// Its whole length.
    pub len: u16,
    kept: u8,
    bytes: [u8; HEAD_BYTES],
}

impl Captured {
    /// Its beginning.
    pub fn head(&self) -> &[u8] {
        &self.bytes[..usize::from(self.kept)]
    }
}

/// See the module's header.
pub struct Capture {
    /// Whether frames are copied. What the data path looks at.
    pub is_on: bool,
    until: Instant,
    frames: Box<[Captured]>,
    /// The number of its first frame.
    begun: usize,
    /// Frames ever captured; the number of the next one.
    written: usize,
}

impl Capture {
    /// Nothing yet, and room for it.
    pub fn new() -> Self {
        let nothing = Captured {
            at: Instant(0),
            way: Way::In,
            port: 0,
            len: 0,
            kept: 0,
            bytes: [0; HEAD_BYTES],
        };
        Self {
            is_on: false,
            until: Instant(0),
            frames: vec![nothing; FRAMES_MAX].into_boxed_slice(),
            begun: 1,
            written: 1,
        }
    }

    /// Copies frames until then at least.
    pub fn begin(&mut self, until: Instant) {
        if !self.is_on {
            self.until = until;
            self.begun = self.written;
        }
        self.until = self.until.max(until);
        self.is_on = true;
    }

    /// Ends it when its time has come.
    pub fn look(&mut self, now: Instant) {
        self.is_on &= now < self.until;
    }

    /// Copies the head of a frame.
    #[cold]
    #[inline(never)]
    pub fn take(&mut self, at: Instant, way: Way, port: u8, frame: &[u8]) {
        let Some(kept) = kept_of(frame) else {
            return;
        };
        let place = &mut self.frames[self.written % FRAMES_MAX];
        place.bytes[..kept].copy_from_slice(&frame[..kept]);
        (place.at, place.way, place.port) = (at, way, port);
        (place.len, place.kept) = (frame.len() as u16, kept as u8);
        self.written += 1;
    }

    /// The number of the first frame of this capture. Never 0.
    pub fn begun(&self) -> usize {
        self.begun
    }

    /// The number of the next frame.
    pub fn written(&self) -> usize {
        self.written
    }

    /// The number of the oldest frame that is still there, from `from` on.
    pub fn first_from(&self, from: usize) -> usize {
        from.max(self.written.saturating_sub(FRAMES_MAX))
    }

    /// The frame with that number, if it is there.
    pub fn frame(&self, number: usize) -> Option<&Captured> {
        let kept = self.first_from(0)..self.written;
        kept.contains(&number)
            .then(|| &self.frames[number % FRAMES_MAX])
    }
}

/// How much of a frame may be kept; `None` for those that are left out.
fn kept_of(frame: &[u8]) -> Option<usize> {
    let tag = match frame.get(12..14)? {
        [0x81, 0x00] => TAG_BYTES,
        _ => 0,
    };
    let kept = match frame.get(12 + tag..14 + tag)? {
        // A command of ATA; the others carry lists and strings of the operator.
        [0x88, 0xa2] if frame.get(19 + tag) == Some(&0) => AOE_BYTES + tag,
        [0x08, 0x00] if frame.get(23 + tag) == Some(&6) => return None,
        [0x08, 0x00] => IP_BYTES + tag,
        _ => HEAD_BYTES,
    };
    Some(kept.min(frame.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(5);

    fn frame(ethertype: [u8; 2], at_19: u8, at_23: u8, len: usize) -> alloc::vec::Vec<u8> {
        let mut bytes = vec![0xaa; len];
        bytes[12..14].copy_from_slice(&ethertype);
        bytes[19] = at_19;
        bytes[23] = at_23;
        bytes
    }

    #[test]
    fn no_sector_no_page_and_no_token_is_ever_kept() {
        let mut capture = Capture::new();
        for (bytes, kept) in [
            (frame([0x88, 0xa2], 0, 0, 1060), 36),
            (frame([0x88, 0xa2], 1, 0, 1060), 64),
            (frame([0x08, 0x00], 0, 17, 300), 42),
            (frame([0x08, 0x06], 0, 0, 60), 60),
        ] {
            let number = capture.written();
            capture.take(NOW, Way::Out, 3, &bytes);
            let captured = capture.frame(number).expect("it was taken");
            assert_eq!(captured.head(), &bytes[..kept]);
            assert_eq!(usize::from(captured.len), bytes.len());
            assert_eq!((captured.port, captured.way), (3, Way::Out));
            let mut tagged = bytes.clone();
            tagged.splice(12..12, [0x81, 0, 0, 7]);
            capture.take(NOW, Way::In, 0, &tagged);
            let captured = capture.frame(number + 1).expect("it was taken");
            assert_eq!(captured.head(), &tagged[..(kept + 4).min(64)]);
        }
        let before = capture.written();
        capture.take(NOW, Way::In, 0, &frame([0x08, 0x00], 0, 6, 300));
        capture.take(NOW, Way::In, 0, &[0; 13]);
        assert_eq!(capture.written(), before);
    }

    #[test]
    fn it_ends_when_the_last_who_looks_has_had_his_time() {
        let mut capture = Capture::new();
        capture.begin(Instant(100));
        capture.begin(Instant(50));
        capture.look(Instant(99));
        assert!(capture.is_on);
        capture.look(Instant(100));
        assert!(!capture.is_on);
        capture.begin(Instant(90));
        capture.look(Instant(90));
        assert!(!capture.is_on);
    }

    #[test]
    fn the_oldest_frames_go_first() {
        let mut capture = Capture::new();
        for _ in 0..FRAMES_MAX + 2 {
            capture.take(NOW, Way::In, 0, &frame([0x88, 0xa2], 0, 0, 60));
        }
        let first = capture.begun() + 2;
        assert_eq!(capture.first_from(capture.begun()), first);
        assert!(capture.frame(first - 1).is_none() && capture.frame(first).is_some());
        assert!(capture.frame(first + FRAMES_MAX).is_none());
    }
}
