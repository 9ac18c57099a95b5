//! What crosses with a frame: an operation, in the frame's scratch.
//!
//! The scratch is the holder's own, and whoever hands a frame over has no more use for
//! it. So a frame crosses as one pointer, whatever is to be done with it.

use io::{Frame, Op, Outcome, Request};

/// A disk's operation: to be done, or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    /// The disk's number.
    pub disk: u8,
    /// What is or was to be done.
    pub request: Request,
    /// How it ended; means nothing before.
    pub outcome: Outcome,
}

/// Bytes of it.
const BYTES: usize = 24;

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
        let outcome = match self.outcome {
            Outcome::Done => 0,
            Outcome::Medium => 1,
            Outcome::Fault => 2,
            Outcome::Unsupported => 3,
        };
        let low = u64::from(sectors) | u64::from(ticket) << 32;
        let [d0, d1] = data.to_le_bytes();
        let high = u64::from_le_bytes([d0, d1, op, outcome, self.disk, 0, 0, 0]);
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
        let [d0, d1, op, outcome, disk, ..] = high.to_le_bytes();
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
            outcome: match outcome {
                0 => Outcome::Done,
                1 => Outcome::Medium,
                2 => Outcome::Fault,
                _ => Outcome::Unsupported,
            },
        }
    }

    /// Whether this is the operation of `disk` with the mark `ticket`.
    pub fn is(frame: &Frame, disk: u8, ticket: u32) -> bool {
        let parcel = Self::of(frame);
        parcel.disk == disk && parcel.request.ticket == ticket
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::frames;

    #[test]
    fn every_operation_and_every_end_of_it_arrives_as_it_was_sent() {
        let mut frame = frames(1).pop().unwrap();
        for op in [Op::Read, Op::Write, Op::Flush, Op::Discard] {
            for outcome in [
                Outcome::Done,
                Outcome::Medium,
                Outcome::Fault,
                Outcome::Unsupported,
            ] {
                let parcel = Parcel {
                    disk: 0xa5,
                    request: Request {
                        op,
                        lba: 0x0123_4567_89ab_cdef,
                        sectors: 0xfedc_ba98,
                        data: 0x1357,
                        ticket: 0x2468_ace0,
                    },
                    outcome,
                };
                parcel.put(&mut frame);
                assert_eq!(Parcel::of(&frame), parcel);
                assert!(Parcel::is(&frame, 0xa5, 0x2468_ace0));
                assert!(!Parcel::is(&frame, 0xa4, 0x2468_ace0));
                assert!(!Parcel::is(&frame, 0xa5, 0x2468_ace1));
            }
        }
    }
}
