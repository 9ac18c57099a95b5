//! The area that driver and card share: settings, queues, events.
//!
//! The structs are never built: they are the maps from which each offset is taken.
//! Fields shorter than a word are named by the word that they lie in.

use crate::registers::Events;
use crate::ring::Ring;
use core::mem::offset_of;
use pci::Shared;

/// Settings, which the card reads when it is told to, and its events.
#[repr(C)]
struct Settings {
    magic: u32,
    reserved_04: u32,
    driver: u32,
    guest: u32,
    revisions: u32,
    part_revisions: u32,
    features: [u32; 2],
    driver_data: [u32; 2],
    queues: [u32; 2],
    driver_data_bytes: u32,
    queues_bytes: u32,
    mtu: u32,
    /// Most pieces of a received frame (16 bits), transmit queues (8), receive queues.
    pieces_and_queues: u32,
    reserved_40: [u32; 4],
    /// Messages silence themselves (8 bits), how many there are (8), which one tells
    /// of events (8), then a byte of moderation for each of 25.
    messages: [u32; 7],
    messages_off: u32,
    reserved_70: [u32; 2],
    heard: u32,
    groups: [u32; 3],
    vlans: [u32; 128],
    more: [u32; 12],
    events: u32,
    reserved_2bc: u32,
    command_data: [u32; 4],
}

const _: () = assert!(offset_of!(Settings, queues) == 40);
const _: () = assert!(offset_of!(Settings, mtu) == 56);
const _: () = assert!(offset_of!(Settings, messages) == 80);
const _: () = assert!(offset_of!(Settings, messages_off) == 108);
const _: () = assert!(offset_of!(Settings, heard) == 120);
const _: () = assert!(offset_of!(Settings, vlans) == 136);
const _: () = assert!(offset_of!(Settings, events) == 696);

/// One queue, of either direction.
#[repr(C)]
struct Queue {
    /// Receive: the card wants its doorbell rung (8 bits).
    wants_doorbell: u32,
    reserved_04: [u32; 3],
    ring: [u32; 2],
    /// Receive: a second ring for pieces. Transmit: a ring for headers.
    other_ring: [u32; 2],
    answers: [u32; 2],
    driver_data: [u32; 2],
    reserved_30: [u32; 2],
    places: u32,
    other_places: u32,
    answer_places: u32,
    driver_data_bytes: u32,
    /// Which message it raises (8 bits).
    message: u32,
    reserved_4c: u32,
    /// It stopped (8 bits).
    stopped: u32,
    error: u32,
    counters: [u32; 20],
    reserved_a8: [u32; 22],
}

const _: () = assert!(offset_of!(Queue, ring) == 16);
const _: () = assert!(offset_of!(Queue, answers) == 32);
const _: () = assert!(offset_of!(Queue, places) == 56);
const _: () = assert!(offset_of!(Queue, message) == 72);
const _: () = assert!(offset_of!(Queue, stopped) == 80);
const _: () = assert!(size_of::<Queue>() == 256);

/// Bytes of the area, with the queues in it.
pub const BYTES: usize = 4096;
/// Where the queues lie: the one that sends, and behind it the one that receives.
const QUEUES: usize = 1024;
const _: () = assert!(size_of::<Settings>() <= QUEUES && QUEUES.is_multiple_of(128));
const TRANSMIT: usize = QUEUES;
const RECEIVE: usize = QUEUES + size_of::<Queue>();

/// What the area starts with.
pub const MAGIC: u32 = 0xbabe_fee1;
/// This driver's own version, which is only shown.
const DRIVER: u32 = 1;
/// Heard: frames to our address, and to everybody.
const HEARD: u32 = 1 << 0 | 1 << 2;
/// All messages are off.
const ALL_OFF: u32 = 1 << 0;

/// How the card may interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Messages {
    /// How many there are, 0 to 2.
    pub count: u8,
    /// One that was sent is silenced until we open it again.
    pub silence_themselves: bool,
}

/// See the module's header.
pub struct Area {
    memory: Shared,
}

impl Area {
    /// An area in `memory`.
    pub fn new(memory: Shared) -> Self {
        Self { memory }
    }

    /// Where it is.
    pub fn address(&self) -> u64 {
        self.memory.address()
    }

    /// Writes all settings.
    #[cold]
    pub fn fill(&self, mtu: u16, messages: Messages, transmit: &Ring, receive: &Ring) {
        let put = |at: usize, value: u32| self.memory.write(at, value);
        let put_long = |at: usize, value: u64| {
            put(at, value as u32);
            put(at + 4, (value >> 32) as u32);
        };
        put(offset_of!(Settings, magic), MAGIC);
        put(offset_of!(Settings, driver), DRIVER);
        put(offset_of!(Settings, revisions), 1);
        put(offset_of!(Settings, part_revisions), 1);
        let queues = self.address() + QUEUES as u64;
        put_long(offset_of!(Settings, queues), queues);
        let bytes = 2 * size_of::<Queue>() as u32;
        put(offset_of!(Settings, queues_bytes), bytes);
        put(offset_of!(Settings, mtu), mtu.into());
        // One piece a frame, one queue a direction.
        let one_each = u32::from_le_bytes([1, 0, 1, 1]);
        put(offset_of!(Settings, pieces_and_queues), one_each);
        let themselves = messages.silence_themselves.into();
        let count = messages.count.max(1);
        let of_events = u32::from_le_bytes([themselves, count, 0, 0]);
        put(offset_of!(Settings, messages), of_events);
        let off = if messages.count == 0 { ALL_OFF } else { 0 };
        put(offset_of!(Settings, messages_off), off);
        put(offset_of!(Settings, heard), HEARD);
        put(offset_of!(Settings, events), 0);
        // What is sent wakes nobody: where there are two messages, the second is its,
        // and it stays silent.
        let of_sent = u32::from(messages.count == 2);
        for (queue, ring, message) in [(TRANSMIT, transmit, of_sent), (RECEIVE, receive, 0)] {
            put_long(queue + offset_of!(Queue, ring), ring.address());
            put_long(queue + offset_of!(Queue, answers), ring.answers_address());
            let places = ring.places() as u32;
            put(queue + offset_of!(Queue, places), places);
            put(queue + offset_of!(Queue, answer_places), places);
            put(queue + offset_of!(Queue, message), message);
            put(queue + offset_of!(Queue, stopped), 0);
        }
    }

    /// What happened, as the card says.
    pub fn events(&self) -> Events {
        Events::from_bits_retain(self.memory.read(offset_of!(Settings, events)))
    }

    /// Whether the card wants to be told of each batch of empty frames.
    pub fn wants_doorbell(&self) -> bool {
        self.memory
            .read(RECEIVE + offset_of!(Queue, wants_doorbell))
            & 0xff
            != 0
    }

    /// Why queues stopped, by the card's own numbers: the one that sends, and the one
    /// that receives. 0 for one that did not.
    pub fn errors(&self) -> [u32; 2] {
        [TRANSMIT, RECEIVE].map(|queue| {
            let stopped = self.memory.read(queue + offset_of!(Queue, stopped)) & 0xff != 0;
            let error = self.memory.read(queue + offset_of!(Queue, error));
            if stopped { error } else { 0 }
        })
    }
}

/// Where things lie, for the model.
#[cfg(test)]
pub mod place {
    use super::{Queue, RECEIVE, Settings, TRANSMIT};
    use core::mem::offset_of;

    pub const QUEUES: usize = offset_of!(Settings, queues);
    pub const MTU: usize = offset_of!(Settings, mtu);
    pub const PIECES_AND_QUEUES: usize = offset_of!(Settings, pieces_and_queues);
    pub const MESSAGES: usize = offset_of!(Settings, messages);
    pub const MESSAGES_OFF: usize = offset_of!(Settings, messages_off);
    pub const HEARD: usize = offset_of!(Settings, heard);
    pub const EVENTS: usize = offset_of!(Settings, events);
    pub const IN_QUEUE: [usize; 5] = [
        offset_of!(Queue, ring),
        offset_of!(Queue, places),
        offset_of!(Queue, answers),
        offset_of!(Queue, answer_places),
        offset_of!(Queue, message),
    ];
    pub const STOPPED: [usize; 2] = [
        TRANSMIT + offset_of!(Queue, stopped),
        RECEIVE + offset_of!(Queue, stopped),
    ];
    pub const WANTS_DOORBELL: usize = RECEIVE + offset_of!(Queue, wants_doorbell);
}
