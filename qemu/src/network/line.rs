//! A line: one guest's card and one program of ours, with nothing between them.
//!
//! A frame that goes through a [`Switch`](super::Switch) wakes two threads of ours more
//! on its way there and back. To a scenario that is nothing; to a load generator it is a
//! good part of what it is to measure. Here the program's own thread reads and writes the
//! socket: many frames a call when many are there, and a frame that is sent leaves when
//! the program next waits for one.

use super::{FRAME_BYTES_MAX, PREFIX};
use crate::{Failure, OrFail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that are read at once: what a window of 64 of the longest frames comes to. More
/// would be kept from the caches; less would be more calls.
const INBOX_BYTES: usize = 64 * 9216;
/// Bytes to be sent that wait for the next receive at most.
const OUTBOX_BYTES: usize = 32 * 1024;

/// The program's end. See the module's header.
pub struct Line {
    stream: UnixStream,
    /// What was read: from `start` to `end` not yet handed out.
    inbox: Vec<u8>,
    start: usize,
    end: usize,
    /// What is to be written.
    outbox: Vec<u8>,
}

/// The guest's end, which one card takes.
#[derive(Clone)]
pub struct LineEnd(Arc<Mutex<Option<OwnedFd>>>);

impl LineEnd {
    /// The descriptor for QEMU's `-netdev socket,fd=`, once.
    pub(crate) fn take(&self) -> Result<OwnedFd, Failure> {
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        end.take().or_fail("a line has one card at its end")
    }
}

impl Line {
    /// A line and its other end.
    pub fn new() -> Result<(Self, LineEnd), Failure> {
        let (stream, end) = UnixStream::pair().or_fail("no socket pair for a line")?;
        stream
            .set_nonblocking(true)
            .or_fail("a line's socket cannot be told not to wait")?;
        let line = Self {
            stream,
            inbox: vec![0; INBOX_BYTES],
            start: 0,
            end: 0,
            outbox: Vec::with_capacity(2 * OUTBOX_BYTES),
        };
        Ok((line, LineEnd(Arc::new(Mutex::new(Some(end.into()))))))
    }

    /// Sends a frame exactly as it is, at the latest with the next
    /// [`receive`](Self::receive).
    pub fn send(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).expect("a frame is shorter than 4 GiB");
        self.outbox.extend(length.to_be_bytes());
        self.outbox.extend(frame);
        if self.outbox.len() >= OUTBOX_BYTES {
            self.write();
        }
    }

    /// The next frame, or `None` when none came within `within` or the guest is gone.
    pub fn receive(&mut self, within: Duration) -> Option<Vec<u8>> {
        if let Some(frame) = self.next() {
            return Some(frame);
        }
        let deadline = Instant::now() + within;
        loop {
            self.write();
            if !self.read() {
                return None;
            }
            if let Some(frame) = self.next() {
                return Some(frame);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.wait(left);
        }
    }

    /// The first frame that was read and is whole.
    fn next(&mut self) -> Option<Vec<u8>> {
        let read = &self.inbox[self.start..self.end];
        let (prefix, rest) = read.split_first_chunk::<PREFIX>()?;
        let length = u32::from_be_bytes(*prefix) as usize;
        assert!(length <= FRAME_BYTES_MAX, "the line is out of step");
        let frame = rest.get(..length)?.to_vec();
        self.start += PREFIX + length;
        Some(frame)
    }

    /// Reads what is there. False once the guest is gone.
    fn read(&mut self) -> bool {
        // What is left is the beginning of a frame at most.
        self.inbox.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        match self.stream.read(&mut self.inbox[self.end..]) {
            Ok(0) => false,
            Ok(bytes) => {
                self.end += bytes;
                true
            }
            Err(error) => is_patience(error.kind()),
        }
    }

    /// Writes what the guest takes of what is to be written.
    fn write(&mut self) {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(bytes) => drop(self.outbox.drain(..bytes)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_patience(error.kind()) => break,
                // The guest is gone; the next read says so.
                Err(_) => self.outbox.clear(),
            }
        }
    }

    /// Waits until there is something to read, or room for what is to be written.
    fn wait(&self, within: Duration) {
        let mut events = PollFlags::POLLIN;
        if !self.outbox.is_empty() {
            events |= PollFlags::POLLOUT;
        }
        // Rounded up: no time at all would be a loop that never sleeps.
        let milliseconds = within.as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        // Whatever it says, the socket is asked next.
        let _ = poll(&mut [PollFd::new(self.stream.as_fd(), events)], timeout);
    }
}

/// Whether an error means no more than "not now".
fn is_patience(error: ErrorKind) -> bool {
    matches!(error, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const SOON: Duration = Duration::from_secs(5);

    fn line() -> (Line, UnixStream) {
        let (line, end) = Line::new().expect("a socket pair");
        (line, end.take().expect("the first one").into())
    }

    fn wire_of(frame: &[u8]) -> Vec<u8> {
        super::super::wire_of(frame).to_vec()
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let (mut line, mut guest) = line();
        let wire = [wire_of(&[1; 60]), wire_of(&[2; 9000])].concat();
        let (cut_short, rest) = wire.split_at(4000);
        let (cut_again, last) = rest.split_at(4000);
        assert_eq!(line.receive(Duration::ZERO), None);
        guest.write_all(cut_short).expect("there is room");
        assert_eq!(line.receive(SOON), Some(vec![1; 60]));
        assert_eq!(line.receive(Duration::ZERO), None);
        guest.write_all(cut_again).expect("there is room");
        assert_eq!(line.receive(Duration::ZERO), None);
        guest.write_all(last).expect("there is room");
        assert_eq!(line.receive(SOON), Some(vec![2; 9000]));
        assert_eq!(line.receive(Duration::ZERO), None);
    }

    #[test]
    fn neither_end_waits_for_the_other_to_read() {
        // More than any socket holds, both ways.
        const FRAMES: usize = 400;
        let (mut line, mut guest) = line();
        for _ in 0..FRAMES {
            line.send(&[3; 9000]);
        }
        let far = thread::spawn(move || {
            // A guest that writes before it reads.
            for _ in 0..FRAMES {
                guest.write_all(&wire_of(&[4; 9000])).expect("it is read");
            }
            let mut all = vec![0; FRAMES * (PREFIX + 9000)];
            guest.read_exact(&mut all).expect("it is written");
            all
        });
        for _ in 0..FRAMES {
            assert_eq!(line.receive(SOON), Some(vec![4; 9000]));
        }
        while !line.outbox.is_empty() {
            assert_eq!(line.receive(Duration::from_millis(1)), None);
        }
        assert_eq!(
            far.join().expect("it reads"),
            wire_of(&[3; 9000]).repeat(FRAMES)
        );
    }

    #[test]
    fn a_frame_leaves_with_the_next_receive_and_the_end_of_the_guest_ends_the_wait() {
        let (mut line, mut guest) = line();
        line.send(&[5; 60]);
        assert_eq!(line.receive(Duration::ZERO), None);
        let mut wire = [0; PREFIX + 60];
        guest.read_exact(&mut wire).expect("it has left");
        assert_eq!(wire[..], wire_of(&[5; 60]));
        drop(guest);
        let asked = Instant::now();
        assert_eq!(line.receive(SOON), None);
        assert!(asked.elapsed() < SOON, "it waited for a guest that is gone");
    }

    #[test]
    fn a_line_has_one_card() {
        let (_line, end) = Line::new().expect("a socket pair");
        assert!(end.take().is_ok());
        assert!(end.clone().take().is_err());
    }
}
