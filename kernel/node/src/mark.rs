//! The 32 bits that come back from a disk with a frame: whose it is and what for.
//!
//! ```text
//! 31        21 20        11 10    8 7       0
//! | range (11) | fence (10) | work  | export |
//! ```
//! With them nothing has to be looked up: the export answers, the fence lets the
//! next overlapping write go, and a discard knows which range is done. What the
//! request itself was is read from the frame.

use aoe::fence::Ticket;

/// What a disk is doing for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Sectors are read to be sent.
    Read = 0,
    /// Sectors are read to see whether they can be; part after part.
    Verify = 1,
    /// The frame's sectors are written.
    Write = 2,
    /// The frame's ranges are discarded, one after the other.
    Discard = 3,
    /// A host asked for a flush.
    Flush = 4,
    /// The frame is a finished write (or discard) and carries the flush that it
    /// and its batch wait for.
    Carry = 5,
    /// The last flush of a disk before the machine stops, or a read from before
    /// the node was made, or the node's own. No host waits for any of them.
    Farewell = 6,
}

/// See the module's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub u32);

/// Most ranges of one discard: 17 sectors of 64 entries.
const RANGES_MAX: u32 = 17 * 64;
const _: () = assert!(RANGES_MAX <= 1 << 11, "a range's number has 11 bits");
const _: () = assert!(io::FRAMES_MAX <= 1 << 10, "a fence ticket has 10 bits");

impl Mark {
    /// A read from before the node was made. Its frame is none of the ports'.
    pub const EARLY: Self = Self(1 | (Work::Farewell as u32) << 8);

    /// A part of the state area, or its flush.
    pub const STATE: Self = Self(2 | (Work::Farewell as u32) << 8);

    /// A read of a node that measures a disk.
    pub const MEASURE: Self = Self(3 | (Work::Farewell as u32) << 8);

    /// A mark without fence ticket.
    #[inline]
    pub fn new(export: u8, work: Work) -> Self {
        Self(u32::from(export) | (work as u32) << 8)
    }

    /// A mark of work that holds a place in the fence.
    #[inline]
    pub fn fenced(export: u8, work: Work, ticket: Ticket) -> Self {
        Self(Self::new(export, work).0 | u32::from(ticket.0) << 11)
    }

    /// The same, at another range of its discard.
    #[inline]
    pub fn at_range(self, range: usize) -> Self {
        Self(self.0 & 0x001f_ffff | (range as u32) << 21)
    }

    /// The same, now carrying a flush. A host's own flush stays what it is.
    #[inline]
    pub fn carrying(self) -> Self {
        match self.work() {
            Work::Flush => self,
            _ => Self(self.0 & !0x0700 | (Work::Carry as u32) << 8),
        }
    }

    /// The mark of a copy, which has no place in the fence.
    pub fn without_place(self) -> Self {
        Self::new(self.0 as u8, Work::Read)
    }

    /// Whose it is.
    #[inline]
    pub fn export(self) -> usize {
        usize::from(self.0 as u8)
    }

    /// Whether it is of a plain read.
    #[inline]
    pub fn is_read(self) -> bool {
        self.0 & 0x0700 == (Work::Read as u32) << 8
    }

    /// Whether it is of a plain write.
    #[inline]
    pub fn is_write(self) -> bool {
        self.0 & 0x0700 == (Work::Write as u32) << 8
    }

    /// What for.
    #[inline]
    pub fn work(self) -> Work {
        match self.0 >> 8 & 7 {
            0 => Work::Read,
            1 => Work::Verify,
            2 => Work::Write,
            3 => Work::Discard,
            4 => Work::Flush,
            5 => Work::Carry,
            _ => Work::Farewell,
        }
    }

    /// Its place in the fence, if it has one.
    #[inline]
    pub fn ticket(self) -> Option<Ticket> {
        // A bit for each work that has one, rather than a jump for each that has none.
        const FENCED: u32 =
            1 << Work::Write as u32 | 1 << Work::Discard as u32 | 1 << Work::Carry as u32;
        let fenced = FENCED >> (self.0 >> 8 & 7) & 1 != 0;
        fenced.then_some(Ticket((self.0 >> 11 & 0x3ff) as u16))
    }

    /// Which range of its discard.
    #[inline]
    pub fn range(self) -> usize {
        (self.0 >> 21) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back() {
        for export in [0, 1, 254] {
            for ticket in [0, 1, 1023] {
                for range in [0, 1, 1087] {
                    let mark = Mark::fenced(export, Work::Discard, Ticket(ticket));
                    let mark = mark.at_range(500).at_range(range);
                    assert_eq!(mark.export(), usize::from(export));
                    assert_eq!(mark.work(), Work::Discard);
                    assert_eq!(mark.ticket().map(|ticket| ticket.0), Some(ticket));
                    assert_eq!(mark.range(), range);
                    assert_eq!(mark.carrying().work(), Work::Carry);
                    assert_eq!(
                        mark.carrying().ticket().map(|ticket| ticket.0),
                        Some(ticket)
                    );
                }
            }
        }
    }

    #[test]
    fn only_what_changes_the_disk_has_a_place_in_the_fence() {
        for work in [Work::Read, Work::Verify, Work::Flush, Work::Farewell] {
            assert_eq!(Mark::new(3, work).work(), work);
            assert!(Mark::new(3, work).ticket().is_none());
        }
        assert_eq!(Mark::new(3, Work::Flush).carrying().work(), Work::Flush);
    }
}
