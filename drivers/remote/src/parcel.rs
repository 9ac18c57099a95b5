//! What crosses with a frame: an operation, in the frame's scratch.
//!
//! The scratch is the holder's own, and whoever hands a frame over has no more use for
//! it. So a frame crosses as one pointer, whatever is to be done with it.

use io::{Frame, Op, Outcome, Request};

/// A disk's operation that is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    /// The disk's number.
    pub disk: u8,
    /// What is to be done.
    pub request: Request,
}

/// A disk's operation that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The disk's number.
    pub disk: u8,
    /// The mark of the request.
    pub ticket: u32,
    /// How it ended.
    pub outcome: Outcome,
}

/// Bytes of a parcel: LBA; sectors, ticket; place of the data, operation, disk. Of these an
/// answer has the ticket, and how it ended in place of what was to be done.
const BYTES: usize = 24;
const TICKET: usize = 12;
const CODE: usize = 18;
const DISK: usize = 19;

impl Parcel {
    /// Writes it into the frame.
    #[inline(always)]
    pub fn put(self, frame: &mut Frame) {
        let Request {
            op,
            lba,
            sectors,
            data,
            ticket,
        } = self.request;
        let op = match op {
            Op::Read => 0,
            Op::Write => 1,
            Op::Flush => 2,
            Op::Discard => 3,
        };
        let low = u64::from(sectors) | u64::from(ticket) << 32;
        let [d0, d1] = data.to_le_bytes();
        let high = u64::from_le_bytes([d0, d1, op, self.disk, 0, 0, 0, 0]);
        let words = [lba, low, high].map(u64::to_le_bytes);
        frame.scratch_mut()[..BYTES].copy_from_slice(words.as_flattened());
    }

    /// Reads what [`put`](Self::put) wrote.
    #[inline(always)]
    pub fn of(frame: &Frame) -> Self {
        let scratch = frame.scratch();
        let word = |at: usize| {
            let bytes = scratch[at..at + 8].first_chunk().expect("eight bytes");
            u64::from_le_bytes(*bytes)
        };
        let (low, high) = (word(8), word(16));
        let [d0, d1, op, disk, ..] = high.to_le_bytes();
        Self {
            disk,
            request: Request {
                op: match op {
                    0 => Op::Read,
                    1 => Op::Write,
                    2 => Op::Flush,
                    _ => Op::Discard,
                },
                lba: word(0),
                sectors: low as u32,
                data: u16::from_le_bytes([d0, d1]),
                ticket: (low >> 32) as u32,
            },
        }
    }
}

impl Answer {
    /// Writes it into the frame.
    #[inline(always)]
    pub fn put(self, frame: &mut Frame) {
        let outcome = match self.outcome {
            Outcome::Done => 0,
            Outcome::Medium => 1,
            Outcome::Fault => 2,
            Outcome::Unsupported => 3,
        };
        let scratch = frame.scratch_mut();
        scratch[TICKET..TICKET + 4].copy_from_slice(&self.ticket.to_le_bytes());
        scratch[CODE] = outcome;
        scratch[DISK] = self.disk;
    }

    /// Reads what [`put`](Self::put) wrote.
    #[inline(always)]
    pub fn of(frame: &Frame) -> Self {
        let scratch = frame.scratch();
        let (disk, ticket) = whose(frame);
        Self {
            disk,
            ticket,
            outcome: match scratch[CODE] {
                0 => Outcome::Done,
                1 => Outcome::Medium,
                2 => Outcome::Fault,
                _ => Outcome::Unsupported,
            },
        }
    }
}

/// The disk's number and the mark, of a parcel or of an answer.
#[inline(always)]
fn whose(frame: &Frame) -> (u8, u32) {
    let scratch = frame.scratch();
    let ticket = scratch[TICKET..].first_chunk().expect("four bytes");
    (scratch[DISK], u32::from_le_bytes(*ticket))
}

/// Whether what is in `frame` is an operation of `disk` with the mark `ticket`, to be
/// done or done.
pub(crate) fn is(frame: &Frame, disk: u8, ticket: u32) -> bool {
    whose(frame) == (disk, ticket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::frames;

    const REQUEST: Request = Request {
        op: Op::Read,
        lba: 0x0123_4567_89ab_cdef,
        sectors: 0xfedc_ba98,
        data: 0x1357,
        ticket: 0x2468_ace0,
    };

    fn is_of_its_disk_alone(frame: &Frame) {
        assert!(is(frame, 0xa5, REQUEST.ticket));
        assert!(!is(frame, 0xa4, REQUEST.ticket));
        assert!(!is(frame, 0xa5, REQUEST.ticket + 1));
    }

    #[test]
    fn every_operation_and_every_end_of_it_arrives_as_it_was_sent() {
        let mut frame = frames(1).pop().unwrap();
        for op in [Op::Read, Op::Write, Op::Flush, Op::Discard] {
            let parcel = Parcel {
                disk: 0xa5,
                request: Request { op, ..REQUEST },
            };
            parcel.put(&mut frame);
            assert_eq!(Parcel::of(&frame), parcel);
            is_of_its_disk_alone(&frame);
        }
        for outcome in [
            Outcome::Done,
            Outcome::Medium,
            Outcome::Fault,
            Outcome::Unsupported,
        ] {
            frame.scratch_mut().fill(0xff);
            let answer = Answer {
                disk: 0xa5,
                ticket: REQUEST.ticket,
                outcome,
            };
            answer.put(&mut frame);
            assert_eq!(Answer::of(&frame), answer);
            is_of_its_disk_alone(&frame);
        }
    }
}
