//! Commands: 64 bytes that name an operation and the memory that it moves.
//!
//! The controller reaches memory by pages. A frame is aligned to 512 bytes and
//! its data is at most 17 sectors, so it lies in at most three pages: two are
//! named in the command itself, or one and a list of the others. The list has its
//! place in the frame's scratch, at a slot's start, so it never crosses a page
//! (NVMe 1.4, 4.3).

use core::fmt;
use core::mem::offset_of;
use io::{DATA, Frame, Op, Request, SCRATCH_BYTES, SECTOR_BYTES, SLOT_BYTES, WIRE};

/// Bytes of a page, as CC.MPS = 0 chooses.
pub const PAGE_BYTES: usize = 4096;
/// Words of a command.
pub const WORDS: usize = 16;

/// Which command. Admin and I/O queues have numbers of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opcode(pub u8);

impl Opcode {
    /// I/O: make what was written durable.
    pub const FLUSH: Self = Self(0x00);
    /// I/O.
    pub const WRITE: Self = Self(0x01);
    /// I/O.
    pub const READ: Self = Self(0x02);
    /// I/O: DATASET MANAGEMENT, which forgets sectors.
    pub const DATASET: Self = Self(0x09);

    /// Admin.
    pub const GET_LOG_PAGE: Self = Self(0x02);
    /// Admin.
    pub const ABORT: Self = Self(0x08);
    /// Admin: a submission queue.
    pub const CREATE_SUBMISSION: Self = Self(0x01);
    /// Admin: a completion queue.
    pub const CREATE_COMPLETION: Self = Self(0x05);
    /// Admin.
    pub const IDENTIFY: Self = Self(0x06);
    /// Admin.
    pub const SET_FEATURES: Self = Self(0x09);
}

/// The admin commands' names: only those are named to people.
impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::CREATE_SUBMISSION => f.write_str("CREATE I/O SUBMISSION QUEUE"),
            Self::CREATE_COMPLETION => f.write_str("CREATE I/O COMPLETION QUEUE"),
            Self::IDENTIFY => f.write_str("IDENTIFY"),
            Self::SET_FEATURES => f.write_str("SET FEATURES"),
            Self(code) => write!(f, "command {code:#04x}"),
        }
    }
}

/// A command as it lies in a submission queue (NVMe 1.4, 4.2).
#[repr(C)]
struct Layout {
    opcode: u8,
    flags: u8,
    id: u16,
    namespace: u32,
    reserved: [u32; 2],
    metadata: [u32; 2],
    data: [[u32; 2]; 2],
    arguments: [u32; 6],
}

const _: () = assert!(offset_of!(Layout, namespace) == 4);
const _: () = assert!(offset_of!(Layout, data) == 24);
const _: () = assert!(offset_of!(Layout, arguments) == 40);
const _: () = assert!(size_of::<Layout>() == WORDS * 4);

/// What a command says. What is not here is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Which command.
    pub opcode: Opcode,
    /// Which namespace, 0 for none.
    pub namespace: u32,
    /// PRP 1 and PRP 2: where the data lies.
    pub data: [u64; 2],
    /// Words 10 and on.
    pub arguments: [u32; 6],
}

impl Command {
    /// A command without data.
    pub const fn plain(opcode: Opcode, namespace: u32) -> Self {
        Self {
            opcode,
            namespace,
            data: [0; 2],
            arguments: [0; 6],
        }
    }

    /// The words, under the number `id`.
    #[inline]
    pub fn words(&self, id: u16) -> [u32; WORDS] {
        let first = u32::from(self.opcode.0) | u32::from(id) << 16;
        let halves = |pointer: u64| [pointer as u32, (pointer >> 32) as u32];
        let [one, two] = self.data.map(halves);
        let [a, b, c, d, e, f] = self.arguments;
        // The order of `Layout`.
        [
            first,
            self.namespace,
            0,
            0,
            0,
            0,
            one[0],
            one[1],
            two[0],
            two[1],
            a,
            b,
            c,
            d,
            e,
            f,
        ]
    }

    /// The command for `request`, whose frame is lent with it: lists that it needs
    /// are written into the frame's scratch.
    ///
    /// # Panics
    /// If the data does not lie in the slot: the caller of [`io::Disk::submit`]
    /// has checked that, and a controller that writes beside it would write into
    /// another frame.
    #[inline]
    pub fn of(request: &Request, frame: &mut Frame, namespace: u32) -> Self {
        match request.op {
            Op::Flush => Self::plain(Opcode::FLUSH, namespace),
            Op::Read => Self::transfer(Opcode::READ, request, frame, namespace),
            Op::Write => Self::transfer(Opcode::WRITE, request, frame, namespace),
            Op::Discard => {
                write_range(frame, request);
                let mut command = Self::plain(Opcode::DATASET, namespace);
                command.data[0] = frame.bus_address() + RANGE as u64;
                // One range, counted from 0, to be deallocated (NVMe 1.4, 6.7).
                command.arguments[1] = DEALLOCATE;
                command
            }
        }
    }

    #[inline]
    fn transfer(opcode: Opcode, request: &Request, frame: &mut Frame, namespace: u32) -> Self {
        let start = WIRE + usize::from(request.data);
        let bytes = (request.sectors as usize).saturating_mul(SECTOR_BYTES);
        assert!(
            bytes > 0
                && start.is_multiple_of(4)
                && (DATA..=SLOT_BYTES).contains(&start)
                && bytes <= SLOT_BYTES - start,
            "{} sectors at byte {start} do not lie in a slot",
            request.sectors
        );
        let mut command = Self::plain(opcode, namespace);
        command.data = pages(frame, start, bytes);
        command.arguments[0] = request.lba as u32;
        command.arguments[1] = (request.lba >> 32) as u32;
        // Counted from 0.
        command.arguments[2] = request.sectors - 1;
        command
    }
}

/// DATASET MANAGEMENT, word 11: deallocate.
pub const DEALLOCATE: u32 = 1 << 2;

/// Where the list of pages lies in the scratch.
const LIST: usize = 0;
/// Pages of the longest data behind the first one.
const LIST_ENTRIES: usize = 2;
/// Where the range of a discard lies.
const RANGE: usize = LIST + LIST_ENTRIES * 8;
/// Bytes of it: attributes, sectors, first sector (NVMe 1.4, 6.7.1).
const RANGE_BYTES: usize = 16;
const _: () = assert!(RANGE + RANGE_BYTES <= SCRATCH_BYTES);
/// A slot's first 512 bytes are in one page, and aligned for a list.
const _: () = assert!(LIST.is_multiple_of(8) && RANGE.is_multiple_of(8) && SCRATCH_BYTES <= 512);
/// Wherever a slot starts, its data ends in the third page at the latest.
const _: () = assert!(PAGE_BYTES - 512 + SLOT_BYTES - DATA <= (1 + LIST_ENTRIES) * PAGE_BYTES);

/// PRP 1 and PRP 2 for `bytes` bytes from byte `start` of the slot on.
#[inline]
fn pages(frame: &mut Frame, start: usize, bytes: usize) -> [u64; 2] {
    const PAGE: u64 = PAGE_BYTES as u64;
    let first = frame.bus_address() + start as u64;
    let end = first + bytes as u64;
    let second = (first / PAGE + 1) * PAGE;
    if end <= second {
        return [first, 0];
    }
    if end <= second + PAGE {
        return [first, second];
    }
    let list = frame.bus_address() + LIST as u64;
    let entries = frame.scratch_mut()[LIST..].as_chunks_mut::<8>().0;
    for (entry, page) in entries[..LIST_ENTRIES]
        .iter_mut()
        .zip((second..).step_by(PAGE_BYTES))
    {
        *entry = page.to_le_bytes();
    }
    [first, list]
}

fn write_range(frame: &mut Frame, request: &Request) {
    let range = &mut frame.scratch_mut()[RANGE..RANGE + RANGE_BYTES];
    range[..4].fill(0);
    range[4..8].copy_from_slice(&request.sectors.to_le_bytes());
    range[8..].copy_from_slice(&request.lba.to_le_bytes());
}
