//! The disk that AoE carries: opcodes, task file, and what they mean to us.
//!
//! One rule above all: the opcode decides. Which way data goes and how wide an
//! address is are told twice in a frame, by the opcode and by flags, and there
//! are initiators that get the flags wrong. Two of the old targets believe the
//! flags and read the wrong sector.
//!
//! An admitted frame is its own record: [`io_of`] finds the same operation in it
//! again, so nothing has to be kept beside it while the disk works.

use crate::limits::SECTOR_BYTES;
use crate::wire::{self, HEADER_BYTES, shift_of};

/// What a disk is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoOp {
    /// Sectors into the frame's data.
    Read,
    /// Read, and nobody wants the data.
    Verify,
    /// The frame's data into sectors.
    Write,
    /// Everything acknowledged so far becomes durable.
    Flush,
    /// The sectors named by [`discard_ranges`] are no longer wanted.
    Discard,
}

/// One operation, found in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// What to do.
    pub op: IoOp,
    /// First sector; 0 for a flush or discard.
    pub lba: u64,
    /// How many sectors; 0 for a flush. For a discard, sectors of *data*: the
    /// list of ranges ends there, whatever else is in the frame.
    pub sectors: u32,
    /// Where the data lies in the wire bytes: 36, or 40 behind a tag.
    pub data: u16,
}

impl Io {
    /// The data that this operation carries in its frame: none but for a write
    /// or discard. Bytes behind it in the frame mean nothing.
    pub fn carried<'a>(&self, wire: &'a [u8]) -> &'a [u8] {
        let bytes = match self.op {
            IoOp::Write | IoOp::Discard => self.sectors as usize * SECTOR_BYTES,
            IoOp::Read | IoOp::Verify | IoOp::Flush => 0,
        };
        let start = usize::from(self.data);
        wire.get(start..start + bytes).unwrap_or_default()
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Done,
    /// The medium could not be read or written there.
    Medium,
    /// The disk or the way to it is broken.
    Fault,
    /// The disk does not know this operation.
    Unsupported,
}

/// The operation in an admitted frame, again. `None` in a frame that was not.
#[inline]
pub fn io_of(buffer: &[u8], received: usize) -> Option<Io> {
    let bytes = buffer.get(..received)?;
    let shift = shift_of(bytes.first_chunk::<HEADER_BYTES>()?)?;
    let body = bytes.get(shift..)?.first_chunk()?;
    if body[wire::COMMAND] != COMMAND {
        return None;
    }
    TaskFile::read(body).io(shift)
}

/// The entries of a discard's data (ATA8-ACS, DATA SET MANAGEMENT): first sector
/// and how many. Entries that name none are skipped.
pub fn discard_ranges(data: &[u8]) -> impl Iterator<Item = (u64, u32)> {
    // 48 bits of LBA and 16 of count, least significant byte first.
    let entries = data.as_chunks::<8>().0.iter().map(|entry| {
        let entry = u64::from_le_bytes(*entry);
        (entry & LBA48_MAX, (entry >> 48) as u32)
    });
    entries.filter(|&(_, sectors)| sectors > 0)
}

/// AoE's command 0, issue ATA command.
pub(crate) const COMMAND: u8 = 0;

/// Most that 28 bits address.
pub(crate) const LBA28_MAX: u64 = (1 << 28) - 1;
/// Most that 48 bits address.
pub(crate) const LBA48_MAX: u64 = (1 << 48) - 1;

/// aflags: the command is an extended one.
pub(crate) const FLAG_EXTENDED: u8 = 0x40;
/// aflags that have a name: extended, device, asynchronous, write. They are echoed
/// and, the first apart, have no effect (R-040 R-057).
const FLAGS: u8 = FLAG_EXTENDED | 0x10 | 0x02 | 0x01;

/// Status: ready.
const READY: u8 = 0x40;
/// Status: fault.
const FAULT: u8 = 0x20;
/// Status: the error register counts.
const ERROR: u8 = 0x01;

/// Features that change what a command does.
pub(crate) mod feature {
    // Of SET FEATURES (ATA8-ACS 7.47).
    pub const WRITE_CACHE_ON: u8 = 0x02;
    pub const TRANSFER_MODE: u8 = 0x03;
    pub const LOOK_AHEAD_OFF: u8 = 0x55;
    pub const WRITE_CACHE_OFF: u8 = 0x82;
    pub const LOOK_AHEAD_ON: u8 = 0xaa;
    // Of DATA SET MANAGEMENT, its only one.
    pub const TRIM: u8 = 0x01;
    // Of SMART (ATA8-ACS 7.52).
    pub const SMART_READ_DATA: u8 = 0xd0;
    pub const SMART_ON: u8 = 0xd8;
    pub const SMART_OFF: u8 = 0xd9;
    pub const SMART_STATUS: u8 = 0xda;
}

/// Status and error register of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub status: u8,
    pub error: u8,
}

impl Failure {
    /// ABRT: not a thing that this disk does.
    pub const ABORTED: Self = Self::new(READY | ERROR, 0x04);
    /// IDNF: no such sector.
    pub const NOT_FOUND: Self = Self::new(READY | ERROR, 0x10);
    /// UNC: the sector is there and cannot be read.
    pub const UNCORRECTABLE: Self = Self::new(READY | ERROR, 0x40);
    /// DF: the disk is broken.
    pub const BROKEN: Self = Self::new(READY | FAULT | ERROR, 0x04);

    const fn new(status: u8, error: u8) -> Self {
        Self { status, error }
    }
}

impl Outcome {
    /// how each ending is told.
    #[inline]
    pub(crate) const fn failure(self) -> Option<Failure> {
        match self {
            Self::Done => None,
            _ => Some(self.told()),
        }
    }

    #[cold]
    #[inline(never)]
    const fn told(self) -> Failure {
        match self {
            Self::Medium => Failure::UNCORRECTABLE,
            Self::Unsupported => Failure::ABORTED,
            Self::Done | Self::Fault => Failure::BROKEN,
        }
    }
}

/// How wide the address of a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Bits28,
    Bits48,
}

/// What an opcode means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Transfer(IoOp, Width),
    Flush,
    Identify,
    PowerMode,
    /// Succeeds and does nothing: we never spin down.
    Idle,
    SetFeatures,
    Smart,
    Discard,
    Unknown,
}

/// the opcode of a transfer decides direction and width.
#[inline]
pub(crate) const fn transfer(opcode: u8) -> Option<(IoOp, Width)> {
    use Width::{Bits28, Bits48};
    match opcode {
        0x20 => Some((IoOp::Read, Bits28)),
        0x24 => Some((IoOp::Read, Bits48)),
        0x30 => Some((IoOp::Write, Bits28)),
        0x34 => Some((IoOp::Write, Bits48)),
        0x40 => Some((IoOp::Verify, Bits28)),
        0x42 => Some((IoOp::Verify, Bits48)),
        _ => None,
    }
}

impl Action {
    /// what is not listed is aborted, the DMA forms too, since IDENTIFY does
    /// not claim DMA.
    const fn of(opcode: u8) -> Self {
        if let Some((op, width)) = transfer(opcode) {
            return Self::Transfer(op, width);
        }
        match opcode {
            0xe7 | 0xea => Self::Flush,
            0xec => Self::Identify,
            0xe5 => Self::PowerMode,
            // STANDBY IMMEDIATE, IDLE IMMEDIATE, STANDBY, IDLE. R-045. SLEEP (E6)
            // is not among them: we would have to stop answering to be truthful.
            0xe0..=0xe3 => Self::Idle,
            0xef => Self::SetFeatures,
            0xb0 => Self::Smart,
            0x06 => Self::Discard,
            _ => Self::Unknown,
        }
    }
}

/// The registers of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskFile {
    pub flags: u8,
    pub feature: u8,
    pub count: u8,
    pub opcode: u8,
    /// All six bytes, whatever of them counts.
    pub lba: u64,
}

impl TaskFile {
    /// Reads the registers from the ATA argument. `body` begins where the frame
    /// would without a tag.
    #[inline]
    pub fn read(body: &[u8; wire::ata::DATA]) -> Self {
        use wire::ata;
        let lba = body[ata::LBA..]
            .first_chunk()
            .expect("LBA and reserved bytes");
        Self {
            flags: body[ata::FLAGS],
            feature: body[ata::ERROR],
            count: body[ata::COUNT],
            opcode: body[ata::STATUS],
            // The two bytes behind the LBA are reserved and mean nothing.
            lba: u64::from_le_bytes(*lba) & LBA48_MAX,
        }
    }

    #[inline]
    pub const fn action(self) -> Action {
        Action::of(self.opcode)
    }

    /// Whether the command changes sectors or how the target behaves.
    #[inline]
    pub const fn changes_something(self) -> bool {
        match self.action() {
            Action::Transfer(op, _) => matches!(op, IoOp::Write),
            Action::Discard | Action::SetFeatures => true,
            Action::Smart => matches!(self.feature, feature::SMART_ON | feature::SMART_OFF),
            Action::Flush
            | Action::Identify
            | Action::PowerMode
            | Action::Idle
            | Action::Unknown => false,
        }
    }

    /// The first sector of a transfer.
    #[inline]
    pub const fn first(self, width: Width) -> u64 {
        match width {
            // the upper half of the fourth byte is the device register.
            Width::Bits28 => self.lba & LBA28_MAX,
            Width::Bits48 => self.lba,
        }
    }

    /// Whether a 28-bit opcode comes with an address that it cannot mean.
    #[inline]
    pub const fn is_too_wide(self, width: Width) -> bool {
        // never alias.
        matches!(width, Width::Bits28) && self.flags & FLAG_EXTENDED != 0 && self.lba > LBA28_MAX
    }

    /// What the disk is asked for in a transfer.
    #[inline]
    pub const fn transfer(self, op: IoOp, width: Width, shift: usize) -> Io {
        Io {
            op,
            lba: self.first(width),
            sectors: self.count as u32,
            data: (wire::ata::DATA + shift) as u16,
        }
    }

    /// What the disk is asked for, if it is asked at all.
    pub fn io(self, shift: usize) -> Option<Io> {
        let of = |op, sectors: u8| Io {
            op,
            lba: 0,
            sectors: sectors.into(),
            data: (wire::ata::DATA + shift) as u16,
        };
        match self.action() {
            Action::Transfer(op, width) => Some(self.transfer(op, width, shift)),
            Action::Flush => Some(of(IoOp::Flush, 0)),
            // What was acknowledged under the write-back that ends here.
            Action::SetFeatures if self.feature == feature::WRITE_CACHE_OFF => {
                Some(of(IoOp::Flush, 0))
            }
            Action::Discard => Some(of(IoOp::Discard, self.count)),
            Action::SetFeatures
            | Action::Identify
            | Action::PowerMode
            | Action::Idle
            | Action::Smart
            | Action::Unknown => None,
        }
    }
}

/// Writes the registers of an answer over those of its request. The LBA bytes
/// stay, they are echoed.
#[inline]
pub(crate) fn answer(body: &mut [u8; wire::ata::DATA], failure: Option<Failure>) {
    use wire::ata;
    // a success leaves 0 sectors untransferred; a failure echoes the count.
    let registers = match failure {
        None => {
            body[ata::COUNT] = 0;
            Failure::new(READY, 0)
        }
        Some(failure) => failure,
    };
    body[ata::FLAGS] &= FLAGS;
    body[ata::ERROR] = registers.error;
    body[ata::STATUS] = registers.status;
    body[ata::DATA - 2] = 0;
    body[ata::DATA - 1] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, flags: u8, count: u8, lba: u64) -> [u8; 36] {
        let mut frame = [0; 36];
        frame[12..14].copy_from_slice(&[0x88, 0xa2]);
        frame[24] = flags;
        frame[26] = count;
        frame[27] = opcode;
        frame[28..34].copy_from_slice(&lba.to_le_bytes()[..6]);
        frame
    }

    #[test]
    fn an_admitted_frame_tells_its_operation_again() {
        // R-040 R-042
        let io = io_of(&frame(0x24, 0x40, 2, 0x1234_5678_9abc), 36);
        let expected = Io {
            op: IoOp::Read,
            lba: 0x1234_5678_9abc,
            sectors: 2,
            data: 36,
        };
        assert_eq!(io, Some(expected));
        let io = io_of(&frame(0x30, 0, 1, 0xe000_0000 | 77), 36).map(|io| (io.op, io.lba));
        assert_eq!(io, Some((IoOp::Write, 77)));
    }

    #[test]
    fn a_frame_that_asks_the_disk_for_nothing_has_no_operation() {
        for opcode in [0x00, 0xec, 0xe5, 0xe0, 0xb0, 0xc8] {
            assert_eq!(
                io_of(&frame(opcode, 0, 1, 0), 36),
                None,
                "opcode {opcode:02x}"
            );
        }
        assert_eq!(io_of(&frame(0x24, 0, 1, 0), 35), None);
        assert_eq!(
            io_of(&frame(0x24, 0, 1, 0), 37),
            None,
            "longer than its buffer"
        );
        let mut config = frame(0x24, 0, 1, 0);
        config[wire::COMMAND] = 1;
        assert_eq!(io_of(&config, 36), None);
    }

    #[test]
    fn a_discard_list_is_little_endian_and_skips_entries_of_no_sectors() {
        //
        let mut data = [0; 32];
        data[..8].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        data[16..24].copy_from_slice(&[9, 0, 0, 0, 0, 0, 0xff, 0xff]);
        let mut ranges = discard_ranges(&data);
        assert_eq!(ranges.next(), Some((0x0605_0403_0201, 0x0807)));
        assert_eq!(ranges.next(), Some((9, 0xffff)));
        assert_eq!(ranges.next(), None);
    }

    #[test]
    fn bytes_behind_the_data_are_not_carried() {
        //
        let wire = [7; 36 + 512 + 9];
        let io = |op, sectors| Io {
            op,
            lba: 0,
            sectors,
            data: 36,
        };
        assert_eq!(io(IoOp::Write, 1).carried(&wire).len(), 512);
        assert_eq!(io(IoOp::Discard, 1).carried(&wire).len(), 512);
        assert_eq!(
            io(IoOp::Write, 2).carried(&wire).len(),
            0,
            "it is not all there"
        );
        assert_eq!(io(IoOp::Read, 1).carried(&wire).len(), 0);
    }
}
