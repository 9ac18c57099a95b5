//! A disk whose cache a power cut empties.
//!
//! A real host's page cache survives the death of QEMU, so killing it loses
//! nothing. This disk keeps what is written in a cache of its own until a flush
//! that began later has ended; a flush takes some milliseconds, so that an answer
//! that does not wait for it is seen. Everything goes into a [`Journal`], in one
//! order with what the scenario sees on the wire.

use crate::Failure;
use crate::journal::{Entry, digests};
use crate::nbd::{Answer, Request, Server, Store};
use crate::pattern::SECTOR_BYTES;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A flush takes this long, and its number's share more.
const FLUSH_TAKES: Duration = Duration::from_millis(3);
const FLUSH_VARIES_MS: u64 = 9;

/// What happened, in order, shared between disk and wire.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Entry>>>);

impl Journal {
    /// Adds an entry.
    pub fn add(&self, entry: Entry) {
        lock(&self.0).push(entry);
    }

    /// Everything so far.
    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.0).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sectors in the cache, each version with its number.
type Versions = BTreeMap<u64, Vec<(u64, Vec<u8>)>>;

struct State {
    durable: Vec<u8>,
    cached: Versions,
    /// Counts writes and flushes.
    clock: u64,
    /// The power is off: nothing is heard or answered.
    is_off: bool,
}

struct Shared {
    state: Mutex<State>,
    journal: Journal,
}

/// The disk.
pub struct VolatileDisk {
    shared: Arc<Shared>,
    server: Server,
}

impl VolatileDisk {
    /// A disk that holds `content`, at a socket in `folder`.
    pub fn serve(
        folder: &Path,
        name: &str,
        content: Vec<u8>,
        journal: &Journal,
    ) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                durable: content,
                cached: Versions::new(),
                clock: 0,
                is_off: false,
            }),
            journal: journal.clone(),
        });
        let server = Server::start(folder, name, &shared)?;
        Ok(Self { shared, server })
    }

    /// What `-drive` calls it.
    pub fn backing(&self) -> String {
        self.server.backing()
    }

    /// A handle that cuts the power.
    pub fn switch(&self) -> PowerSwitch {
        PowerSwitch(Arc::clone(&self.shared))
    }

    /// What is left after the cut: of each sector what is durable, or any version
    /// in the cache, as `choose` (a number below its argument) says.
    pub fn left(&self, mut choose: impl FnMut(usize) -> usize) -> Vec<u8> {
        let state = lock(&self.shared.state);
        let mut content = state.durable.clone();
        for (lba, versions) in &state.cached {
            if let Some(index) = choose(versions.len() + 1).checked_sub(1) {
                let at = *lba as usize * SECTOR_BYTES;
                content[at..at + SECTOR_BYTES].copy_from_slice(&versions[index].1);
            }
        }
        content
    }
}

/// Cuts the power of a disk.
#[derive(Clone)]
pub struct PowerSwitch(Arc<Shared>);

impl PowerSwitch {
    /// Nothing is heard or answered from now on.
    pub fn cut(&self) {
        lock(&self.0.state).is_off = true;
    }
}

impl Store for Shared {
    fn bytes(&self) -> u64 {
        lock(&self.state).durable.len() as u64
    }

    fn run(self: &Arc<Self>, request: Request) -> Answer {
        let done = match request {
            Request::Read { offset, bytes } => self.read(offset, bytes),
            Request::Write { offset, data } => self.write(offset, &data),
            Request::Flush => {
                let flush = self.begin_flush();
                let shared = Arc::clone(self);
                return Answer::Later(Box::new(move || {
                    let more = Duration::from_millis(flush % FLUSH_VARIES_MS);
                    thread::sleep(FLUSH_TAKES + more);
                    shared.end_flush(flush);
                    Answer::Done(Vec::new())
                }));
            }
        };
        done.map_or(Answer::Refused, Answer::Done)
    }

    fn may_answer(&self) -> bool {
        !lock(&self.state).is_off
    }
}

impl Shared {
    fn read(&self, offset: u64, bytes: u32) -> Option<Vec<u8>> {
        let state = lock(&self.state);
        let from = usize::try_from(offset).ok()?;
        let to = from.checked_add(bytes as usize)?;
        let mut data = state.durable.get(from..to)?.to_vec();
        let first = offset / SECTOR_BYTES as u64;
        let end = to.div_ceil(SECTOR_BYTES) as u64;
        for (lba, versions) in state.cached.range(first..end) {
            let (_, newest) = versions.last().expect("an entry has a version");
            let at = *lba as usize * SECTOR_BYTES;
            // A read need not begin or end with a sector.
            for (index, byte) in newest.iter().enumerate() {
                if let Some(place) = (at + index).checked_sub(from).and_then(|i| data.get_mut(i)) {
                    *place = *byte;
                }
            }
        }
        Some(data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Option<Vec<u8>> {
        let mut state = lock(&self.state);
        let sector = SECTOR_BYTES as u64;
        let end = offset.checked_add(data.len() as u64)?;
        let is_whole = offset.is_multiple_of(sector) && data.len().is_multiple_of(SECTOR_BYTES);
        if !is_whole || end > state.durable.len() as u64 || state.is_off {
            return None;
        }
        let lba = offset / sector;
        for (lba, bytes) in (lba..).zip(data.chunks(SECTOR_BYTES)) {
            state.clock += 1;
            let version = (state.clock, bytes.to_vec());
            state.cached.entry(lba).or_default().push(version);
        }
        self.journal.add(Entry::Stored {
            lba,
            sectors: digests(data),
        });
        Some(Vec::new())
    }

    fn begin_flush(&self) -> u64 {
        let mut state = lock(&self.state);
        state.clock += 1;
        self.journal.add(Entry::FlushBegun(state.clock));
        state.clock
    }

    fn end_flush(&self, flush: u64) {
        let mut state = lock(&self.state);
        if state.is_off {
            return;
        }
        let State {
            durable, cached, ..
        } = &mut *state;
        cached.retain(|&lba, versions| {
            let covered = versions.iter().take_while(|(at, _)| *at < flush).count();
            if let Some((_, bytes)) = versions.drain(..covered).next_back() {
                let at = lba as usize * SECTOR_BYTES;
                durable[at..at + SECTOR_BYTES].copy_from_slice(&bytes);
            }
            !versions.is_empty()
        });
        self.journal.add(Entry::FlushDone(flush));
    }
}

impl Drop for VolatileDisk {
    fn drop(&mut self) {
        self.switch().cut();
    }
}
