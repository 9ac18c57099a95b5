//! From a request to what the drive is told.
//!
//! One choice in one place: which command, which way the data goes, and where
//! it lies. The data is the frame's own bytes, in one region; only a discard's
//! ranges come from the port's page, because they do not fit the scratch.

use crate::command::{AtaCommand, Direction, Region, Registers};
use crate::identify::{Addressing, Drive};
use crate::table::PAGE_BYTES;
use io::{Frame, Op, Request, SECTOR_BYTES, SLOT_BYTES, WIRE};

/// What the drive is told, and where the data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The command.
    pub registers: Registers,
    /// Which way the data goes.
    pub direction: Direction,
    /// Where it lies, if there is any.
    pub region: Option<Region>,
}

/// Why there is nothing to tell the drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needless {
    /// What is asked for is so already.
    Already,
    /// The drive has no such command.
    Unknown,
}

/// Whether the request may run beside others on a drive that queues.
pub fn may_be_queued(request: &Request) -> bool {
    matches!(request.op, Op::Read | Op::Write)
}

impl Order {
    /// The order for `request`; with `tag` for the queue. `page` is where the
    /// ranges of a discard will lie.
    #[inline]
    pub fn new(
        drive: &Drive,
        request: &Request,
        frame: &Frame,
        tag: Option<u8>,
        page: u64,
    ) -> Result<Self, Needless> {
        match request.op {
            Op::Read => Ok(Self {
                registers: transfer(drive, request, tag, &READS),
                direction: Direction::In,
                region: Some(region(request, frame)),
            }),
            Op::Write => Ok(Self {
                registers: transfer(drive, request, tag, &WRITES),
                direction: Direction::Out,
                region: Some(region(request, frame)),
            }),
            // A drive without a cache need not have the command.
            Op::Flush if !drive.has_flush => Err(Needless::Already),
            Op::Flush => Ok(Self {
                registers: Registers::plain(match drive.addressing {
                    Addressing::Wide => AtaCommand::FLUSH_EXT,
                    Addressing::Narrow => AtaCommand::FLUSH,
                }),
                direction: Direction::In,
                region: None,
            }),
            Op::Discard => {
                let limits = drive.geometry.discard.ok_or(Needless::Unknown)?;
                assert!(
                    (1..=limits.sectors_max).contains(&request.sectors),
                    "a discard names 1 to {} sectors, not {}",
                    limits.sectors_max,
                    request.sectors
                );
                Ok(Self {
                    registers: Registers::discard(),
                    direction: Direction::Out,
                    region: Some(Region {
                        address: page,
                        bytes: PAGE_BYTES as u32,
                    }),
                })
            }
        }
    }
}

/// The three ways to say the same.
struct Transfer {
    queued: AtaCommand,
    wide: AtaCommand,
    narrow: AtaCommand,
}

const READS: Transfer = Transfer {
    queued: AtaCommand::READ_QUEUED,
    wide: AtaCommand::READ_DMA_EXT,
    narrow: AtaCommand::READ_DMA,
};
const WRITES: Transfer = Transfer {
    queued: AtaCommand::WRITE_QUEUED,
    wide: AtaCommand::WRITE_DMA_EXT,
    narrow: AtaCommand::WRITE_DMA,
};

#[inline]
fn transfer(drive: &Drive, request: &Request, tag: Option<u8>, way: &Transfer) -> Registers {
    // `region` checks that the sectors fit a slot, which is less than 16 bits.
    let (lba, sectors) = (request.lba, request.sectors as u16);
    match (tag, drive.addressing) {
        (Some(tag), _) => Registers::queued(way.queued, lba, sectors, tag),
        (None, Addressing::Wide) => Registers::wide(way.wide, lba, sectors),
        (None, Addressing::Narrow) => Registers::narrow(way.narrow, lba, sectors),
    }
}

/// The frame's data. The caller of [`io::Disk::submit`] has checked that it lies
/// in the slot; a drive that writes beside it would write into another frame,
/// so we do not take that on trust.
#[inline]
fn region(request: &Request, frame: &Frame) -> Region {
    let start = WIRE + usize::from(request.data);
    let bytes = request.sectors as usize * SECTOR_BYTES;
    assert!(
        bytes > 0 && start.is_multiple_of(2) && start + bytes <= SLOT_BYTES,
        "{} sectors at byte {start} of a slot",
        request.sectors
    );
    Region {
        address: frame.bus_address() + start as u64,
        bytes: bytes as u32,
    }
}
