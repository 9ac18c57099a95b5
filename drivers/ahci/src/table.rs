//! The memory that a port and we share: command list, received FISes, a page.
//!
//! ```text
//! 0         1024       1280                1536                     2048
//! | 32 com- | received | command table for | page: IDENTIFY data in,  |
//! | mand    | FISes    | our own commands, | ranges to discard out    |
//! | headers |          | else zeros        |                          |
//! ```
//! The command table of a request lies in its frame's scratch, so that nothing
//! here grows with the number of commands.
//!
//! Both sides may touch all of this at any time, so it is [`Shared`]. Nothing that the
//! controller writes here is believed: a received FIS is a hint that it is worth to read
//! a register, which costs a thousand times more than to look here and find nothing.

use crate::command::{Header, TABLE_BYTES};
use pci::Shared;

/// Bytes of a port's shared memory.
pub const BYTES: usize = 2048;
/// Its alignment: the command list asks for most (AHCI 1.3.1, 3.3.1).
pub const ALIGN: usize = 1024;
/// Bytes of the page.
pub const PAGE_BYTES: usize = 512;

/// The command list.
const LIST: usize = 0;
/// Bytes of a command header (AHCI 1.3.1, 4.2.2).
const HEADER_BYTES: usize = 32;
/// The received FISes (AHCI 1.3.1, 4.2.1).
const RECEIVED: usize = 1024;
/// The last register FIS.
const REGISTER_FIS: usize = RECEIVED + 0x40;
/// The last Set Device Bits FIS.
const DEVICE_BITS_FIS: usize = RECEIVED + 0x58;
/// The command table for commands of our own.
const OWN_TABLE: usize = 1280;
/// The page.
const PAGE: usize = 1536;

const _: () = assert!(RECEIVED.is_multiple_of(256), "AHCI 1.3.1, 3.3.3");
const _: () = assert!(OWN_TABLE.is_multiple_of(128), "AHCI 1.3.1, 4.2.2");
const _: () = assert!(OWN_TABLE + TABLE_BYTES <= PAGE && PAGE + PAGE_BYTES <= BYTES);

/// Status bits of a FIS that tell of an error: ERR and DF.
const STATUS_BAD: u8 = 1 << 0 | 1 << 5;

/// What the received FISes hint at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Nothing came.
    Nothing,
    /// Something ended.
    Ended,
    /// Something failed.
    Failed,
}

/// A port's shared memory.
pub struct Table {
    memory: Shared,
}

impl Table {
    /// Takes the memory for ever.
    ///
    /// # Panics
    /// If it is too small or not aligned: the machine gave what was not asked for.
    pub fn new(memory: &'static mut [u8]) -> Self {
        assert!(memory.len() >= BYTES, "a port shares {BYTES} bytes");
        Self {
            memory: Shared::aligned_to(ALIGN, memory),
        }
    }

    /// Where the controller finds the command list.
    pub fn list_address(&self) -> u64 {
        self.address(LIST)
    }

    /// Where the controller puts received FISes.
    pub fn received_address(&self) -> u64 {
        self.address(RECEIVED)
    }

    /// Where the command table for our own commands lies.
    pub fn own_table_address(&self) -> u64 {
        self.address(OWN_TABLE)
    }

    /// Where the page lies.
    pub fn page_address(&self) -> u64 {
        self.address(PAGE)
    }

    /// Writes the header of `slot`, whose command the controller does not have.
    #[inline]
    pub fn set_header(&self, slot: u8, header: Header) {
        assert!(slot < 32, "a command list has 32 slots");
        let at = LIST + usize::from(slot) * HEADER_BYTES;
        self.memory.write_words(at, header.words());
    }

    /// Makes every header name a command table of zeros. A controller that
    /// forgot to forget a command finds no FIS to send there.
    pub fn blank_list(&self) {
        self.set_own_table(&[0; TABLE_BYTES]);
        for slot in 0..32 {
            self.set_header(slot, Header::blank(self.own_table_address()));
        }
    }

    /// Writes the command table for our own commands.
    pub fn set_own_table(&self, table: &[u8; TABLE_BYTES]) {
        self.write_bytes(OWN_TABLE, table);
    }

    /// Writes the page.
    pub fn set_page(&self, page: &[u8; PAGE_BYTES]) {
        self.write_bytes(PAGE, page);
    }

    /// Reads the page.
    pub fn page(&self) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        for (word, bytes) in page.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *bytes = self.memory.read(PAGE + word * 4).to_le_bytes();
        }
        page
    }

    /// What came since the last [`Table::forget_received`]. A register FIS
    /// without error only says that a queued command was accepted, so it counts
    /// where `register_fis_ends` a command.
    #[inline]
    pub fn hint(&self, register_fis_ends: bool) -> Hint {
        let [kind, _, status, _] = self.memory.read(DEVICE_BITS_FIS).to_le_bytes();
        let [register_kind, _, register_status, _] = self.memory.read(REGISTER_FIS).to_le_bytes();
        let bad = |kind: u8, status: u8| kind != 0 && status & STATUS_BAD != 0;
        if bad(kind, status) || bad(register_kind, register_status) {
            Hint::Failed
        } else if kind != 0 || register_fis_ends && register_kind != 0 {
            Hint::Ended
        } else {
            Hint::Nothing
        }
    }

    /// The tags that the last Set Device Bits FIS said have ended.
    #[inline]
    pub fn ended_tags(&self) -> u32 {
        self.memory.read(DEVICE_BITS_FIS + 4)
    }

    /// The second and third byte of the address in the last register FIS.
    pub fn answered_address(&self) -> [u8; 2] {
        let [_, middle, high, _] = self.memory.read(REGISTER_FIS + 4).to_le_bytes();
        [middle, high]
    }

    /// Makes room to notice the next FIS.
    #[inline]
    pub fn forget_received(&self) {
        self.memory.write_words(DEVICE_BITS_FIS, [0; 2]);
        self.memory.write_words(REGISTER_FIS, [0; 2]);
    }

    fn address(&self, offset: usize) -> u64 {
        self.memory.address() + offset as u64
    }

    fn write_bytes(&self, at: usize, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<4>();
        assert!(rest.is_empty(), "tables are made of words");
        for (word, bytes) in words.iter().enumerate() {
            self.memory.write(at + word * 4, u32::from_le_bytes(*bytes));
        }
    }
}
