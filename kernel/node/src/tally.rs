//! Who asked for how much: the figures behind the status page.
//!
//! They lie on the data path, so each costs a few additions and no search: an
//! export counts what it takes over, a port counts its frames, a client is found
//! by a hash of its address. What needs thinking (rates, shares, percentiles) is
//! left to whoever asks.

use alloc::boxed::Box;
use alloc::vec;
use aoe::IoOp;
use io::Instant;

/// Kinds of work, in the order of their counters.
pub const KINDS: [&str; 5] = ["read", "write", "verify", "flush", "discard"];

/// What one export has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Requests taken over, by kind.
    pub requests: [u64; KINDS.len()],
    /// Sectors of these reads.
    pub sectors_read: u64,
    /// Sectors of these writes.
    pub sectors_written: u64,
    /// Requests that were not done, by kind.
    pub failed: [u64; KINDS.len()],
}

/// The place of a kind of work in [`KINDS`].
#[inline]
const fn kind_of(op: IoOp) -> usize {
    match op {
        IoOp::Read => 0,
        IoOp::Write => 1,
        IoOp::Verify => 2,
        IoOp::Flush => 3,
        IoOp::Discard => 4,
    }
}

impl Work {
    /// Counts a request that is taken over.
    #[inline]
    pub(crate) fn note(&mut self, op: IoOp, sectors: u32) {
        match op {
            IoOp::Read => self.sectors_read += u64::from(sectors),
            IoOp::Write => self.sectors_written += u64::from(sectors),
            IoOp::Verify | IoOp::Flush | IoOp::Discard => {}
        }
        self.requests[kind_of(op)] += 1;
    }

    /// Counts a request that could not be done.
    #[cold]
    pub(crate) fn note_failure(&mut self, op: IoOp) {
        self.failed[kind_of(op)] += 1;
    }

    /// Takes over what another one has counted. Once a second for every export, so it
    /// is compiled for speed.
    #[inline]
    pub(crate) fn add(&mut self, other: &Self) {
        let counts = self.requests.iter_mut().chain(&mut self.failed);
        let more = other.requests.iter().chain(&other.failed);
        for (count, more) in counts.zip(more) {
            *count += more;
        }
        self.sectors_read += other.sectors_read;
        self.sectors_written += other.sectors_written;
    }

    /// Requests of all kinds.
    pub fn all(&self) -> u64 {
        self.requests.iter().sum()
    }

    /// Requests of all kinds that were not done.
    pub fn all_failed(&self) -> u64 {
        self.failed.iter().sum()
    }
}

/// What has passed through one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames received.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
}

/// Most clients that are remembered. A larger segment shows the latest ones.
pub const CLIENTS_MAX: usize = 256;
/// Places that an address may have: looked at one after the other.
const WAYS: usize = 4;
/// How many such groups there are.
const SETS: usize = CLIENTS_MAX / WAYS;
const _: () = assert!(SETS.is_power_of_two());

/// One who sent us requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address, in the upper 48 bits; 0 for nobody.
    key: u64,
    /// When it last asked.
    pub last: Instant,
    /// Requests so far.
    pub requests: u64,
    /// And when they were last looked at.
    looked: u64,
    /// The port it was last seen on.
    pub port: u8,
    /// The export it last asked.
    pub export: u8,
}

impl Client {
    const NOBODY: Self = Self {
        key: 0,
        last: Instant(0),
        requests: 0,
        looked: 0,
        port: 0,
        export: 0,
    };

    /// Requests since the last [`look`](Clients::look).
    pub fn asked(&self) -> u64 {
        self.requests - self.looked
    }

    /// Its Ethernet address.
    pub fn mac(&self) -> aoe::Mac {
        let [a, b, c, d, e, f, ..] = self.key.to_be_bytes();
        aoe::Mac([a, b, c, d, e, f])
    }
}

/// Everybody who asked lately.
pub struct Clients {
    table: Box<[[Client; WAYS]; SETS]>,
}

impl Clients {
    pub(crate) fn new() -> Self {
        Self {
            table: vec![[Client::NOBODY; WAYS]; SETS]
                .into_boxed_slice()
                .try_into()
                .expect("it has so many sets"),
        }
    }

    /// Counts one request. `wire` is the frame as it arrived.
    #[inline]
    pub(crate) fn note(&mut self, now: Instant, wire: &[u8], port: u8, export: u8) {
        let Some(source) = wire.get(6..14).and_then(|bytes| bytes.first_chunk()) else {
            return;
        };
        let key = u64::from_be_bytes(*source) & !0xffff;
        // The upper bits of a product depend on all bits of the address.
        let home = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SETS.ilog2());
        let set = &mut self.table[home as usize];
        let client = match set.iter_mut().position(|client| client.key == key) {
            Some(way) => &mut set[way],
            None => {
                // Whoever has been silent longest makes room.
                let oldest = set.iter_mut().min_by_key(|client| client.last);
                let client = oldest.expect("a set has ways");
                *client = Client {
                    key,
                    ..Client::NOBODY
                };
                client
            }
        };
        client.requests += 1;
        client.last = now;
        client.port = port;
        client.export = export;
    }

    /// Everybody, and places where nobody is.
    pub fn all(&self) -> impl Iterator<Item = &Client> {
        self.table.as_flattened().iter()
    }

    /// Begins to count anew what each has [asked](Client::asked).
    pub(crate) fn look(&mut self) {
        for client in self.table.as_flattened_mut() {
            client.looked = client.requests;
        }
    }

    /// Those who asked since `since`.
    pub fn since(&self, since: Instant) -> impl Iterator<Item = &Client> {
        self.table
            .as_flattened()
            .iter()
            .filter(move |client| client.key != 0 && client.last >= since)
    }

    /// The place `index`, if somebody has it: for those who go through the table
    /// a little at a time.
    pub fn at(&self, index: usize) -> Option<&Client> {
        self.table
            .as_flattened()
            .get(index)
            .filter(|client| client.key != 0)
    }
}

/// Seconds that are remembered.
pub const HISTORY_SECONDS: usize = 300;

/// What was done in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Reads.
    pub reads: u32,
    /// Writes.
    pub writes: u32,
    /// Sectors read.
    pub sectors_read: u32,
    /// Sectors written.
    pub sectors_written: u32,
}

/// The last five minutes, second by second.
pub struct History {
    seconds: Box<[Second]>,
    /// The second that is still going on, and when it ends.
    current: u64,
    next: Instant,
    /// Totals when it began.
    base: Work,
}

impl History {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            seconds: vec![Second::default(); HISTORY_SECONDS].into_boxed_slice(),
            current: now.0 / 1_000_000,
            next: Instant((now.0 / 1_000_000 + 1).saturating_mul(1_000_000)),
            base: Work::default(),
        }
    }

    /// Whether a second has ended since the last look.
    #[inline]
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// Closes the seconds that have ended. What was done since the last look goes
    /// to the one that was current then; a node that slept had nothing to do.
    pub(crate) fn look(&mut self, now: Instant, total: Work) {
        let second = now.0 / 1_000_000;
        if second == self.current {
            return;
        }
        let less = |now: u64, before: u64| u32::try_from(now - before).unwrap_or(u32::MAX);
        self.seconds[self.current as usize % HISTORY_SECONDS] = Second {
            reads: less(total.requests[0], self.base.requests[0]),
            writes: less(total.requests[1], self.base.requests[1]),
            sectors_read: less(total.sectors_read, self.base.sectors_read),
            sectors_written: less(total.sectors_written, self.base.sectors_written),
        };
        let slept = (second - self.current - 1).min(HISTORY_SECONDS as u64);
        for back in 1..=slept {
            self.seconds[(second - back) as usize % HISTORY_SECONDS] = Second::default();
        }
        self.current = second;
        self.next = Instant((second + 1).saturating_mul(1_000_000));
        self.base = total;
    }

    /// The seconds that have ended, oldest first; fewer after a fresh start.
    pub fn seconds(&self) -> impl Iterator<Item = &Second> {
        let len = self.current.min(HISTORY_SECONDS as u64);
        (self.current - len..self.current)
            .map(|second| &self.seconds[second as usize % HISTORY_SECONDS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn frame(from: [u8; 6]) -> [u8; 20] {
        let mut bytes = [0xff; 20];
        bytes[6..12].copy_from_slice(&from);
        bytes
    }

    #[test]
    fn a_client_is_counted_under_its_address_and_forgotten_after_its_minute() {
        let mut clients = Clients::new();
        for at in 0..3 {
            clients.note(Instant(at), &frame([2, 0, 0, 0, 0, 1]), 1, 4);
        }
        clients.note(Instant(90), &frame([2, 0, 0, 0, 0, 2]), 0, 0);
        let seen: Vec<_> = clients.since(Instant(2)).collect();
        assert_eq!(seen.len(), 2);
        let first = seen
            .iter()
            .find(|client| client.mac() == aoe::Mac([2, 0, 0, 0, 0, 1]));
        assert_eq!(first.map(|client| client.requests), Some(3));
        assert_eq!(clients.since(Instant(3)).count(), 1);
    }

    #[test]
    fn a_flood_of_addresses_pushes_out_the_oldest_and_is_bounded() {
        let mut clients = Clients::new();
        for number in 0..10_000_u32 {
            let [a, b, c, d] = number.to_be_bytes();
            clients.note(Instant(number.into()), &frame([2, 0, a, b, c, d]), 0, 0);
        }
        assert!(clients.since(Instant(0)).count() <= CLIENTS_MAX);
        assert!(
            clients
                .since(Instant(9_999))
                .any(|client| client.mac() == aoe::Mac([2, 0, 0, 0, 0x27, 0x0f]))
        );
    }

    #[test]
    fn a_frame_too_short_for_a_source_is_nobody() {
        let mut clients = Clients::new();
        clients.note(Instant(1), &[0; 13], 0, 0);
        assert_eq!(clients.since(Instant(0)).count(), 0);
    }

    #[test]
    fn work_is_shown_in_the_second_it_was_done_in_and_sleep_is_zero() {
        let mut history = History::new(Instant(0));
        let mut work = Work::default();
        work.note(IoOp::Read, 8);
        history.look(Instant(1_000_000), work);
        work.note(IoOp::Write, 2);
        work.note(IoOp::Write, 2);
        history.look(Instant(4_500_000), work);
        let seconds: Vec<_> = history.seconds().copied().collect();
        assert_eq!(seconds.len(), 4);
        assert_eq!((seconds[0].reads, seconds[0].sectors_read), (1, 8));
        assert_eq!((seconds[1].writes, seconds[1].sectors_written), (2, 4));
        assert_eq!(seconds[2..], [Second::default(); 2]);
    }

    #[test]
    fn five_minutes_are_remembered_and_no_more() {
        let mut history = History::new(Instant(0));
        let mut work = Work::default();
        for second in 1..=1000_u64 {
            work.note(IoOp::Read, 1);
            history.look(Instant(second * 1_000_000), work);
        }
        assert_eq!(history.seconds().count(), HISTORY_SECONDS);
        assert!(history.seconds().all(|second| second.reads == 1));
        history.look(Instant(u64::MAX), work);
        assert!(history.seconds().all(|second| second.reads == 0));
    }
}
