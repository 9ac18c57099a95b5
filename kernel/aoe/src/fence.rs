//! The stale-write fence: overlapping writes run in order of arrival.
//!
//! No initiator waits for us to forget. It resends a write that is slow, under a
//! new tag or through its other port, takes the first answer, and writes something
//! else to the same sectors. If the slow copy ran after that, it would silently
//! undo an acknowledged write. So all changes to all exports pass here, whatever
//! port they came in on:
//!
//! - one that overlaps an older unanswered one waits until that is *answered*;
//! - one that says the same as an unanswered one is a copy and shares its run;
//! - one that has waited too long never runs. Its host has resent it.
//!
//! A copy is known by its bytes, not by tag or sender: both change when it is
//! resent. Two hosts that write the same at the same time may share a run as well:
//! neither has been answered, so nobody can tell.
//!
//! Nearly every write overlaps nothing, and for it this must be as good as free.
//! A filter of one bit a sector, hashed by granules of 64, answers that with one
//! or two `and`s. While all writes that share a word of it are known to be
//! disjoint, one of them leaves by taking its bits out again; where overlaps (or
//! strangers that hash alike) meet, the word is made anew from the list of what is
//! live. Counters instead of bits would be simpler and would see an overlap in
//! every sequential stream, whose writes are neighbours.

use crate::limits::{FILTER_WORDS, GRANULE_SECTORS, WRITE_WAIT_MAX_US};

/// A place in the fence, one for each unanswered change that is not a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u16);

/// A change that wants to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which export.
    pub slot: u8,
    /// First sector.
    pub first: u64,
    /// How many. `u64::MAX` from 0 on is the whole export, a barrier.
    pub sectors: u64,
}

/// What a change is told on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Run it.
    Go(Ticket),
    /// Keep it until [`Fence::next`] names it.
    Wait(Ticket),
    /// Keep it until this one is answered, and answer it likewise.
    Copy(Ticket),
}

/// What has become of one that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Run it: everything older that it overlaps has been answered.
    Start(Ticket),
    /// Drop it and its copies: it has waited longer than
    /// [`WRITE_WAIT_MAX_US`]. Its place is free.
    Expired(Ticket),
}

/// See the module's header. `N` places, as many as there are frames.
#[derive(Clone, Debug)]
pub struct Fence<const N: usize> {
    entries: [Entry; N],
    /// Every place once: behind the first `live` are those that are free.
    places: [u16; N],
    /// How many are in use.
    live: u16,
    /// Which ones: a bit a place.
    in_use: [u64; LIVE_WORDS],
    /// How many of these are too wide for the filter: barriers, and then
    /// everybody looks at the list.
    wide: u16,
    /// One bit a sector, hashed.
    filter: [u64; FILTER_WORDS],
    /// By word of the filter: live entries that met foreign bits when they came.
    crowds: [u16; FILTER_WORDS],
    /// Entries that wait for others, in order of arrival.
    waiting: List,
    /// Entries that wait for nothing any more.
    ready: List,
    /// How many have ever come.
    arrivals: u64,
}

/// Where an entry is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Unused.
    Free,
    /// In the list of those that wait.
    Waiting,
    /// In the list of those that may start.
    Ready,
    /// Out of our hands until it is finished.
    Running,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    first: u64,
    /// The sector behind the last.
    end: u64,
    /// Its bits of the filter; none if it is too wide.
    bits: Bits,
    /// Its number: a smaller one is older.
    arrival: u64,
    /// When it came. This and what follows is told only of one that waits.
    arrived_us: u64,
    /// Older live entries that it overlaps.
    blockers: u16,
    /// Neighbours in the list that its state names.
    previous: u16,
    next: u16,
    slot: u8,
    /// It met no foreign bits in the filter when it came.
    clean: bool,
    /// A younger one has come that overlaps it.
    blocks: bool,
    state: State,
}

/// Ends of a list that is linked through the entries.
#[derive(Clone, Copy, Debug)]
struct List {
    head: u16,
    tail: u16,
}

/// Words that hold a bit for every place there can be.
const LIVE_WORDS: usize = 16;
/// Most places.
const PLACES_MAX: usize = LIVE_WORDS * u64::BITS as usize;

/// No place.
const NONE: u16 = u16::MAX;

impl List {
    const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
    };
}

impl Entry {
    const FREE: Self = Self {
        first: 0,
        end: 0,
        bits: Bits::NONE,
        arrival: 0,
        arrived_us: 0,
        blockers: 0,
        previous: NONE,
        next: NONE,
        slot: 0,
        clean: true,
        blocks: false,
        state: State::Free,
    };

    const fn overlaps(&self, slot: u8, first: u64, end: u64) -> bool {
        self.slot == slot && self.first < end && first < self.end
    }

    /// Whether it has waited too long to be run.
    const fn is_stale(&self, now_us: u64) -> bool {
        //
        now_us.saturating_sub(self.arrived_us) > WRITE_WAIT_MAX_US
    }
}

/// Bits of the filter, in one word of it or in two.
#[derive(Clone, Copy, Debug)]
struct Bits {
    low: u16,
    high: u16,
    low_mask: u64,
    high_mask: u64,
}

impl Bits {
    /// What a range has that is too wide.
    const NONE: Self = Self {
        low: 0,
        high: 0,
        low_mask: 0,
        high_mask: 0,
    };

    /// Those of a range.
    #[inline(always)]
    fn of(slot: u8, first: u64, end: u64) -> Self {
        if end - first > GRANULE_SECTORS {
            return Self::NONE;
        }
        let last = end - 1;
        let (low, high) = (first / GRANULE_SECTORS, last / GRANULE_SECTORS);
        let from_first = u64::MAX << (first % GRANULE_SECTORS);
        let to_last = u64::MAX >> (GRANULE_SECTORS - 1 - last % GRANULE_SECTORS);
        let word = word_of(slot, low);
        if low == high {
            // The second half is empty, and in a word that is touched anyway.
            Self {
                low: word,
                high: word,
                low_mask: from_first & to_last,
                high_mask: 0,
            }
        } else {
            Self {
                low: word,
                high: word_of(slot, high),
                low_mask: from_first,
                high_mask: to_last,
            }
        }
    }

    /// Whether the range was too wide: a narrow one has its first sector at least.
    #[inline(always)]
    const fn is_wide(&self) -> bool {
        self.low_mask == 0
    }

    /// Their words, as indices.
    #[inline(always)]
    const fn words(&self) -> [usize; 2] {
        // Both are below; the compiler cannot know it of what lay in memory.
        [
            self.low as usize % FILTER_WORDS,
            self.high as usize % FILTER_WORDS,
        ]
    }

    /// Each word, and which bits of it.
    #[inline(always)]
    const fn halves(&self) -> [(usize, u64); 2] {
        let [low, high] = self.words();
        [(low, self.low_mask), (high, self.high_mask)]
    }
}

/// Fibonacci hashing: neighbours end up far from each other, and what has a
/// regular distance does not pile up.
#[inline(always)]
fn word_of(slot: u8, granule: u64) -> u16 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    const SHIFT: u32 = u64::BITS - FILTER_WORDS.ilog2();
    let key = granule ^ u64::from(slot) << 50;
    (key.wrapping_mul(GOLDEN) >> SHIFT) as u16
}

const _: () = assert!(
    FILTER_WORDS.is_power_of_two() && FILTER_WORDS <= 1 << 16,
    "a word is the top of a hash, and its number is a u16"
);
const _: () = assert!(GRANULE_SECTORS == u64::BITS as u64, "one bit a sector");

impl<const N: usize> Default for Fence<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Fence<N> {
    /// Nothing is under way.
    // Not inlined, so that it is made where its owner wants it: it is 60 KiB, and
    // every copy on the way would be on a kernel's stack.
    #[inline(never)]
    pub fn new() -> Self {
        const {
            assert!(
                N <= PLACES_MAX,
                "a place has a bit, and its number is a u16"
            )
        };
        let mut fence = Self {
            entries: [const { Entry::FREE }; N],
            places: [0; N],
            live: 0,
            in_use: [0; LIVE_WORDS],
            wide: 0,
            filter: [0; FILTER_WORDS],
            crowds: [0; FILTER_WORDS],
            waiting: List::EMPTY,
            ready: List::EMPTY,
            arrivals: 0,
        };
        for place in 0..N {
            fence.places[place] = place as u16;
        }
        fence
    }

    /// Takes in a change that surely meets no other: nearly every write. `None` says
    /// nothing, and has changed nothing: [`arrive`](Self::arrive) knows.
    ///
    /// # Panics
    /// If all places are taken: there are as many as frames.
    #[inline(always)]
    pub fn pass(&mut self, write: Write) -> Option<Ticket> {
        let end = write.first.saturating_add(write.sectors.max(1));
        let bits = Bits::of(write.slot, write.first, end);
        let is_alone = !bits.is_wide() && self.wide == 0 && !self.is_met(&bits);
        is_alone.then(|| Ticket(self.enter(write.slot, write.first, end, bits, true)))
    }

    /// Takes in a change. `same_bytes` is asked of unanswered ones with the same
    /// export and range whether they would write the same.
    ///
    /// # Panics
    /// If all places are taken: there are as many as frames.
    #[inline]
    pub fn arrive(
        &mut self,
        now_us: u64,
        write: Write,
        same_bytes: impl FnMut(Ticket) -> bool,
    ) -> Passage {
        let (slot, first) = (write.slot, write.first);
        let end = first.saturating_add(write.sectors.max(1));
        let bits = Bits::of(slot, first, end);
        let is_clean = !self.is_met(&bits);
        let mut blockers = 0;
        if !is_clean || bits.is_wide() || self.wide > 0 {
            match self.meet(slot, first, end, same_bytes) {
                Met::Copy(of) => return Passage::Copy(of),
                Met::Blockers(met) => blockers = met,
            }
        }
        let place = self.enter(slot, first, end, bits, is_clean);
        if bits.is_wide() {
            self.wide += 1;
        } else if !is_clean {
            for word in bits.words() {
                self.crowds[word] += 1;
            }
        }
        if blockers == 0 {
            return Passage::Go(Ticket(place));
        }
        let entry = &mut self.entries[usize::from(place)];
        entry.arrived_us = now_us;
        entry.blockers = blockers;
        self.append(place, State::Waiting);
        Passage::Wait(Ticket(place))
    }

    /// Whether some of these bits are somebody's.
    #[inline(always)]
    fn is_met(&self, bits: &Bits) -> bool {
        let [low, high] = bits.words();
        self.filter[low] & bits.low_mask != 0 || self.filter[high] & bits.high_mask != 0
    }

    /// Gives a place to one that runs.
    #[inline(always)]
    fn enter(&mut self, slot: u8, first: u64, end: u64, bits: Bits, clean: bool) -> u16 {
        let place = self.places[usize::from(self.live)];
        self.live += 1;
        self.in_use[usize::from(place >> 6) % LIVE_WORDS] |= 1 << (place & 63);
        self.arrivals += 1;
        let [low, high] = bits.words();
        self.filter[low] |= bits.low_mask;
        self.filter[high] |= bits.high_mask;
        let entry = &mut self.entries[usize::from(place)];
        entry.first = first;
        entry.end = end;
        entry.bits = bits;
        entry.arrival = self.arrivals;
        entry.slot = slot;
        entry.clean = clean;
        entry.blocks = false;
        entry.state = State::Running;
        place
    }

    /// One that was told to run has been answered.
    ///
    /// # Panics
    /// If it was not running.
    #[inline(always)]
    pub fn finish(&mut self, ticket: Ticket) {
        let state = self.entries[usize::from(ticket.0)].state;
        assert!(state == State::Running, "what is finished was running");
        self.leave(ticket.0);
    }

    /// What has become of one that waited, if anything has. Ask until there is
    /// nothing: every answer is given once.
    pub fn next(&mut self, now_us: u64) -> Option<Next> {
        let place = match (self.ready.head, self.waiting.head) {
            (NONE, NONE) => return None,
            // the head has waited longest. It expires behind a disk that
            // hangs too, or the frames of its hosts would fill the node.
            (NONE, oldest) if !self.entries[usize::from(oldest)].is_stale(now_us) => return None,
            (NONE, oldest) => oldest,
            (ready, _) => ready,
        };
        self.unlink(place);
        let entry = &mut self.entries[usize::from(place)];
        if entry.is_stale(now_us) {
            self.leave(place);
            Some(Next::Expired(Ticket(place)))
        } else {
            entry.state = State::Running;
            Some(Next::Start(Ticket(place)))
        }
    }

    /// The earliest time at which [`next`](Self::next) may have something to say
    /// although nothing was finished. `None` if nothing waits.
    pub fn deadline_us(&self) -> Option<u64> {
        let expiry = |place: u16| {
            let entry = &self.entries[usize::from(place)];
            entry.arrived_us.saturating_add(WRITE_WAIT_MAX_US + 1)
        };
        match (self.ready.head, self.waiting.head) {
            (NONE, NONE) => None,
            (NONE, oldest) => Some(expiry(oldest)),
            _ => Some(0),
        }
    }

    /// How many changes are unanswered, copies not counted.
    pub fn len(&self) -> usize {
        self.live.into()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The places in use.
    fn live_places(&self) -> impl Iterator<Item = u16> + use<N> {
        places_in(self.in_use)
    }

    /// What a newcomer meets: one that says the same, or so many in its way.
    #[cold]
    fn meet(
        &mut self,
        slot: u8,
        first: u64,
        end: u64,
        mut same_bytes: impl FnMut(Ticket) -> bool,
    ) -> Met {
        let met = |entry: &Entry| entry.overlaps(slot, first, end);
        let mut blockers = 0;
        for place in self.live_places() {
            let entry = &self.entries[usize::from(place)];
            if met(entry) {
                blockers += 1;
                //
                let is_same_range = (entry.first, entry.end) == (first, end);
                if is_same_range && same_bytes(Ticket(place)) {
                    return Met::Copy(Ticket(place));
                }
            }
        }
        if blockers > 0 {
            for place in self.live_places() {
                let entry = &mut self.entries[usize::from(place)];
                entry.blocks |= met(entry);
            }
        }
        Met::Blockers(blockers)
    }

    /// Takes one out of the places in use and out of the filter, and lets those go
    /// that waited for it alone.
    #[inline(always)]
    fn leave(&mut self, place: u16) {
        let entry = &mut self.entries[usize::from(place)];
        entry.state = State::Free;
        let (bits, clean, blocks) = (entry.bits, entry.clean, entry.blocks);
        self.live -= 1;
        self.places[usize::from(self.live)] = place;
        self.in_use[usize::from(place >> 6) % LIVE_WORDS] &= !(1 << (place & 63));
        let [low, high] = bits.words();
        if self.crowds[low] | self.crowds[high] == 0 {
            // If it was too wide, these are no bits.
            self.filter[low] &= !bits.low_mask;
            self.filter[high] &= !bits.high_mask;
        } else if !bits.is_wide() {
            self.leave_crowd(bits, clean);
        }
        if bits.is_wide() {
            self.wide -= 1;
        }
        if blocks {
            self.release(place);
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_crowd(&mut self, bits: Bits, clean: bool) {
        for word in bits.words() {
            self.crowds[word] -= u16::from(!clean);
            self.refill(word);
        }
    }

    /// Makes a word of the filter anew from what is live.
    #[cold]
    fn refill(&mut self, word: usize) {
        let mut mask = 0;
        for place in self.live_places() {
            for (own, bits) in self.entries[usize::from(place)].bits.halves() {
                if own == word {
                    mask |= bits;
                }
            }
        }
        self.filter[word] = mask;
    }

    /// the younger ones that waited for the one that has left `place` wait
    /// for one less.
    #[cold]
    #[inline(never)]
    fn release(&mut self, place: u16) {
        let gone = self.entries[usize::from(place)];
        for place in self.live_places() {
            let entry = &mut self.entries[usize::from(place)];
            let waited =
                entry.arrival > gone.arrival && entry.overlaps(gone.slot, gone.first, gone.end);
            if waited {
                entry.blockers -= 1;
                if entry.blockers == 0 {
                    self.unlink(place);
                    self.append(place, State::Ready);
                }
            }
        }
    }

    fn append(&mut self, place: u16, state: State) {
        let list = match state {
            State::Ready => &mut self.ready,
            _ => &mut self.waiting,
        };
        let previous = core::mem::replace(&mut list.tail, place);
        match previous {
            NONE => list.head = place,
            _ => self.entries[usize::from(previous)].next = place,
        }
        let entry = &mut self.entries[usize::from(place)];
        (entry.previous, entry.next) = (previous, NONE);
        entry.state = state;
    }

    /// Takes one out of the list that its state names.
    fn unlink(&mut self, place: u16) {
        let Entry {
            previous,
            next,
            state,
            ..
        } = self.entries[usize::from(place)];
        let list = match state {
            State::Ready => &mut self.ready,
            _ => &mut self.waiting,
        };
        match previous {
            NONE => list.head = next,
            _ => self.entries[usize::from(previous)].next = next,
        }
        match next {
            NONE => list.tail = previous,
            _ => self.entries[usize::from(next)].previous = previous,
        }
    }
}

/// The places whose bits are set.
fn places_in(words: [u64; LIVE_WORDS]) -> impl Iterator<Item = u16> {
    (0_u16..).zip(words).flat_map(|(word, mut bits)| {
        core::iter::from_fn(move || {
            let bit = bits.trailing_zeros() as u16;
            // The lowest bit that is set; of none, none.
            bits &= bits.wrapping_sub(1);
            (bit < 64).then_some(word * 64 + bit)
        })
    })
}

/// See [`Fence::meet`].
enum Met {
    Copy(Ticket),
    Blockers(u16),
}

#[cfg(test)]
mod tests;
