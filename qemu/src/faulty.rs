//! A disk with faults: sectors that fail, flushes that fail, or no answer at all.
//!
//! QEMU's `blkdebug` fails requests too, but can neither hang nor be repaired when
//! a scenario says so, and both are what happens to disks: a drive goes on after
//! its retries, an array after its failover.

use crate::Failure;
use crate::nbd::{Answer, Request, Server, Store};
use crate::pattern::SECTOR_BYTES;
use serde_json::Value;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What is wrong with a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// These sectors can not be read.
    Read(Range<u64>),
    /// These sectors can not be written, and keep what they hold.
    Write(Range<u64>),
    /// What was written can not be made durable.
    Flush,
    /// Nothing is answered. What was asked meanwhile is done after the repair.
    Hang,
}

/// The disk. Dropping it lets everything go that waits for it.
pub struct FaultyDisk {
    shared: Arc<Shared>,
    server: Server,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    content: Vec<u8>,
    fault: Option<Fault>,
    /// Requests that the fault has hit.
    hits: u64,
}

impl FaultyDisk {
    /// A disk of `bytes` zeros without a fault, at a socket in `folder`.
    pub fn serve(folder: &Path, name: &str, bytes: usize) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                content: vec![0; bytes],
                fault: None,
                hits: 0,
            }),
            changed: Condvar::new(),
        });
        let server = Server::start(folder, name, &shared)?;
        Ok(Self { shared, server })
    }

    /// What `-drive` calls it.
    pub fn backing(&self) -> String {
        self.server.backing()
    }

    /// What `blockdev-add` takes to have it under the name `node`.
    pub fn block_node(&self, node: &str) -> Value {
        self.server.block_node(node)
    }

    /// From now on this is wrong with it, and nothing else.
    pub fn break_with(&self, fault: Fault) {
        let mut state = self.shared.lock();
        state.fault = Some(fault);
        state.hits = 0;
        self.shared.changed.notify_all();
    }

    /// Nothing is wrong with it any more.
    pub fn repair(&self) {
        self.shared.lock().fault = None;
        self.shared.changed.notify_all();
    }

    /// How many requests the latest fault has hit.
    pub fn hits(&self) -> u64 {
        self.shared.lock().hits
    }
}

impl Drop for FaultyDisk {
    fn drop(&mut self) {
        self.repair();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Shared {
    fn bytes(&self) -> u64 {
        self.lock().content.len() as u64
    }

    fn run(self: &Arc<Self>, request: Request) -> Answer {
        let mut state = self.lock();
        if state.fault == Some(Fault::Hang) {
            state.hits += 1;
            let hangs = |state: &mut State| state.fault == Some(Fault::Hang);
            state = self
                .changed
                .wait_while(state, hangs)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_hit(&request) {
            state.hits += 1;
            return Answer::Failed;
        }
        match request {
            Request::Read { offset, bytes } => match state.bytes_at(offset, bytes as usize) {
                Some(there) => Answer::Done(there.to_vec()),
                None => Answer::Refused,
            },
            Request::Write { offset, data } => match state.bytes_at(offset, data.len()) {
                Some(there) => {
                    there.copy_from_slice(&data);
                    Answer::Done(Vec::new())
                }
                None => Answer::Refused,
            },
            Request::Flush => Answer::Done(Vec::new()),
        }
    }
}

impl State {
    /// Whether the fault concerns `request`.
    fn is_hit(&self, request: &Request) -> bool {
        let overlaps = |bad: &Range<u64>, offset: u64, bytes: u64| {
            let sector = SECTOR_BYTES as u64;
            let (first, end) = (offset / sector, (offset + bytes).div_ceil(sector));
            first < bad.end && bad.start < end
        };
        match (&self.fault, request) {
            (Some(Fault::Read(bad)), &Request::Read { offset, bytes }) => {
                overlaps(bad, offset, bytes.into())
            }
            (Some(Fault::Write(bad)), Request::Write { offset, data }) => {
                overlaps(bad, *offset, data.len() as u64)
            }
            (Some(Fault::Flush), Request::Flush) => true,
            _ => false,
        }
    }

    fn bytes_at(&mut self, offset: u64, bytes: usize) -> Option<&mut [u8]> {
        let from = usize::try_from(offset).ok()?;
        self.content.get_mut(from..from.checked_add(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(sectors: usize) -> Arc<Shared> {
        Arc::new(Shared {
            state: Mutex::new(State {
                content: vec![7; sectors * SECTOR_BYTES],
                fault: None,
                hits: 0,
            }),
            changed: Condvar::new(),
        })
    }

    fn read(disk: &Arc<Shared>, sector: u64, sectors: u32) -> bool {
        let request = Request::Read {
            offset: sector * SECTOR_BYTES as u64,
            bytes: sectors * SECTOR_BYTES as u32,
        };
        matches!(disk.run(request), Answer::Done(_))
    }

    #[test]
    fn a_bad_range_fails_what_touches_it_and_nothing_beside_it() {
        let disk = disk(64);
        disk.lock().fault = Some(Fault::Read(10..12));
        for (sector, sectors, is_well) in [
            (8, 2, true),
            (8, 3, false),
            (10, 1, false),
            (11, 1, false),
            (12, 1, true),
            (0, 64, false),
        ] {
            assert_eq!(
                read(&disk, sector, sectors),
                is_well,
                "{sectors} at {sector}"
            );
        }
        assert_eq!(disk.lock().hits, 4);
    }

    #[test]
    fn a_sector_that_can_not_be_written_keeps_what_it_holds() {
        let disk = disk(4);
        disk.lock().fault = Some(Fault::Write(1..2));
        let write = |sector: u64| {
            disk.run(Request::Write {
                offset: sector * SECTOR_BYTES as u64,
                data: vec![9; SECTOR_BYTES],
            })
        };
        assert!(matches!(write(1), Answer::Failed));
        assert!(matches!(write(2), Answer::Done(_)));
        let sectors: Vec<u8> = disk
            .lock()
            .content
            .chunks(SECTOR_BYTES)
            .map(|s| s[0])
            .collect();
        assert_eq!(sectors, [7, 7, 9, 7]);
    }

    #[test]
    fn what_is_asked_while_the_disk_hangs_is_done_after_the_repair() {
        let disk = disk(4);
        disk.lock().fault = Some(Fault::Hang);
        let asked = std::thread::spawn({
            let disk = Arc::clone(&disk);
            move || read(&disk, 0, 1)
        });
        while disk.lock().hits == 0 {
            std::thread::yield_now();
        }
        assert!(!asked.is_finished());
        disk.lock().fault = None;
        disk.changed.notify_all();
        assert!(asked.join().unwrap());
    }
}
