//! Both rings and the page that says where each side is in them.
//!
//! Indices run on for ever and are cut to a place when they are used. The request
//! ring has a place for every command under way, so it is never full; the answer
//! ring has as many, so the adapter never has to wait. What it writes is read once;
//! an index that says more than was given out breaks the rings for good.

use pci::Shared;

/// Bytes of a request, and of an answer.
pub const REQUEST_BYTES: usize = 128;
pub const ANSWER_BYTES: usize = 32;
pub const PAGE_BYTES: usize = 4096;
/// Most pages of a ring.
pub const PAGES_MAX: usize = 32;
/// Places of the longest request ring.
pub const PLACES_MAX: usize = PAGES_MAX * PAGE_BYTES / REQUEST_BYTES;
const _: () = assert!(PLACES_MAX >= io::FRAMES_MAX, "every frame has a place");

/// Where things lie in the page of states.
pub mod state {
    pub const REQUESTS_PUT: usize = 0;
    pub const ANSWERS_PUT: usize = 12;
    pub const ANSWERS_TAKEN: usize = 16;
}

/// Where things lie in a request.
pub mod request {
    pub const CONTEXT: usize = 0;
    pub const DATA: usize = 8;
    pub const DATA_BYTES: usize = 16;
    pub const SENSE: usize = 24;
    pub const SENSE_BYTES: usize = 32;
    pub const FLAGS: usize = 36;
    pub const COMMAND: usize = 40;
    /// Length of the command, then the unit's eight bytes, tag, bus, target.
    pub const COMMAND_BYTES: usize = 56;
    pub const UNIT: usize = 57;
    pub const TAG: usize = 65;
    pub const TARGET: usize = 67;

    /// Flags: where data goes.
    pub const NO_DATA: u32 = 1 << 2;
    pub const TO_HOST: u32 = 1 << 3;
    pub const TO_DEVICE: u32 = 1 << 4;
}

/// Where things lie in an answer.
pub mod answer {
    pub const CONTEXT: usize = 0;
    pub const DATA_BYTES: usize = 8;
    pub const SENSE_BYTES: usize = 16;
    pub const STATUS: usize = 20;
}

/// One request, as bytes.
pub type Request = [u8; REQUEST_BYTES];

/// What the adapter says about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Our number for the command, as the adapter says.
    pub context: u64,
    /// Bytes of data that were moved.
    pub data_bytes: u64,
    /// Bytes of sense data.
    pub sense_bytes: u32,
    /// How it went on its way.
    pub host_status: u16,
    /// How the unit answered.
    pub unit_status: u16,
}

/// See the module's header.
pub struct Rings {
    state: Shared,
    requests: Shared,
    answers: Shared,
    put: u32,
    told: u32,
    taken: u32,
    is_broken: bool,
}

impl Rings {
    /// Rings in zeroed memory, of the same number of places, a power of two.
    pub fn new(state: Shared, requests: Shared, answers: Shared) -> Self {
        let places = requests.bytes() / REQUEST_BYTES;
        assert!(places.is_power_of_two() && answers.bytes() / ANSWER_BYTES >= places);
        Self {
            state,
            requests,
            answers,
            put: 0,
            told: 0,
            taken: 0,
            is_broken: false,
        }
    }

    /// Commands that may be under way.
    pub fn places(&self) -> usize {
        self.requests.bytes() / REQUEST_BYTES
    }

    fn answer_places(&self) -> usize {
        self.answers.bytes() / ANSWER_BYTES
    }

    /// Whether the adapter said something that can not be.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// The words of the command that tells the adapter where all of it is: pages of
    /// both rings, then numbers of pages.
    pub fn set_up_words(&self) -> impl Iterator<Item = u32> + '_ {
        let page = |address: u64| address / PAGE_BYTES as u64;
        let pages = |ring: &Shared| ring.bytes() / PAGE_BYTES;
        let halves = |number: u64| [number as u32, (number >> 32) as u32];
        let list = move |ring: &Shared| {
            let (first, count) = (page(ring.address()), pages(ring));
            (0..PAGES_MAX).flat_map(move |index| match index < count {
                true => halves(first + index as u64),
                false => [0, 0],
            })
        };
        [pages(&self.requests) as u32, pages(&self.answers) as u32]
            .into_iter()
            .chain(halves(page(self.state.address())))
            .chain(list(&self.requests))
            .chain(list(&self.answers))
    }

    /// Puts a request into the ring; seen after [`tell`](Self::tell). Fewer than
    /// there are places are under way.
    pub fn push(&mut self, request: &Request) {
        let at = self.put as usize % self.places() * REQUEST_BYTES;
        for (index, word) in request.chunks_exact(4).enumerate() {
            let word = word.try_into().expect("four bytes");
            self.requests
                .write(at + index * 4, u32::from_le_bytes(word));
        }
        self.put = self.put.wrapping_add(1);
    }

    /// Shows the adapter what was put. True if there was something new.
    pub fn tell(&mut self) -> bool {
        if self.put == self.told {
            return false;
        }
        self.told = self.put;
        // The requests and what they name come before the index.
        self.state.write_release(state::REQUESTS_PUT, self.put);
        true
    }

    /// Whether there is an answer.
    pub fn has_answer(&self) -> bool {
        !self.is_broken && self.state.read_acquire(state::ANSWERS_PUT) != self.taken
    }

    /// The next answer, while `under_way` commands are.
    pub fn pop(&mut self, under_way: usize) -> Option<Answer> {
        if !self.has_answer() {
            return None;
        }
        let ready = self.state.read(state::ANSWERS_PUT).wrapping_sub(self.taken);
        if ready as usize > under_way {
            self.is_broken = true;
            return None;
        }
        let at = self.taken as usize % self.answer_places() * ANSWER_BYTES;
        let word = |offset: usize| self.answers.read(at + offset);
        let long = |offset: usize| u64::from(word(offset)) | u64::from(word(offset + 4)) << 32;
        let status = word(answer::STATUS);
        let answer = Answer {
            context: long(answer::CONTEXT),
            data_bytes: long(answer::DATA_BYTES),
            sense_bytes: word(answer::SENSE_BYTES),
            host_status: status as u16,
            unit_status: (status >> 16) as u16,
        };
        self.taken = self.taken.wrapping_add(1);
        // Our reads of the place come before it is the adapter's again.
        self.state.write_release(state::ANSWERS_TAKEN, self.taken);
        Some(answer)
    }

    /// The adapter returned what it does not have.
    pub fn break_off(&mut self) {
        self.is_broken = true;
    }
}
