//! Looks at every disk before anything is served: settings, state, partitions.
//!
//! The one place that waits for a disk. Nothing else runs yet, and a disk that
//! hangs must not keep the node from serving the others, so patience is short:
//! a disk that does not answer in time is named, and a request that it may still
//! end some day is announced to the node. Its frame is not one of the pool's.

use crate::clock::Clock;
use crate::memory::Memory;
use alloc::vec;
use alloc::vec::Vec;
use core::hint;
use engine::AnyDisk;
use io::{
    Clock as _, DATA, Disk, Frame, Instant, Op, Outcome, Request, SECTOR_BYTES, SLOT_BYTES, WIRE,
};
use log::warn;
use node::media::{self, Blocks, CONF_BYTES_MAX, Conf, Own, Partitions, Sector, Survey, Unread};
use node::{Attached, EARLY, Origin, StateArea, state};

/// How long one disk may take altogether. A disk that has just brought the boot
/// file in is awake; one that has to spin up first is served, unread.
const DISK_MAX_US: u64 = 1_000_000;
/// How long all disks may take.
const ALL_MAX_US: u64 = 3_000_000;
/// How often a driver may look at its own time limits meanwhile.
const TICK_US: u64 = 100_000;

/// What was found.
#[derive(Default)]
pub struct Found {
    /// The text of `ublade.conf`; nothing if there is none.
    pub conf: Vec<u8>,
    /// Where it was, by the name of its disk.
    pub conf_disk: Option<usize>,
    /// Disks that still owe an answer.
    pub late: Vec<usize>,
    /// The partitions of every disk.
    pub partitions: Vec<(usize, Partitions)>,
    /// The state area: what is in it, and where.
    pub state: Option<StateArea>,
}

/// Looks at all disks, and notes which of them are the node's own.
#[cold]
pub fn look(disks: &mut [Attached<AnyDisk>], memory: &mut Memory, clock: Clock) -> Found {
    let mut found = Found::default();
    let mut best: Option<(Own, usize, Conf)> = None;
    let end = clock.now() + ALL_MAX_US;
    let mut frame = None;
    for (index, attached) in disks.iter_mut().enumerate() {
        if attached.origin != Origin::Bus {
            continue;
        }
        if frame.is_none() {
            frame = memory
                .take(SLOT_BYTES, 512)
                .and_then(|memory| io::carve(memory).next());
        }
        let mut reader = Reader::new(&mut attached.disk, clock, end, frame.take());
        let result = media::survey(&mut reader);
        frame = reader.frame.take();
        if frame.is_none() {
            found.late.push(index);
        }
        let Ok(Survey {
            own,
            conf,
            partitions,
            state,
        }) = result
        else {
            warn!(
                "disk {index} ({}): could not be searched for ublade.conf, it {}",
                attached.disk.name(),
                if frame.is_none() {
                    "does not answer"
                } else {
                    "fails to read"
                },
            );
            continue;
        };
        if !partitions.is_empty() {
            found.partitions.push((index, partitions));
        }
        let Some(own) = own else {
            continue;
        };
        attached.origin = Origin::Own(own);
        if let (Some((first, _)), None, Some(_)) = (state, &found.state, &frame) {
            let mut reader = Reader::new(&mut attached.disk, clock, end, frame.take());
            let loaded = state::load(&mut reader, first);
            frame = reader.frame.take();
            match loaded {
                Ok(loaded) => {
                    found.state = Some(StateArea {
                        disk: index,
                        first,
                        loaded,
                        conf_sum: state::sum_of(b""),
                    });
                }
                // To write without having read would be to forget.
                Err(Unread) => warn!(
                    "disk {index} ({}): the state area could not be read; what hosts set lasts until the next restart",
                    attached.disk.name()
                ),
            }
        }
        if let Some(conf) = conf {
            let is_better = best.as_ref().is_none_or(|(before, ..)| own < *before);
            if best.is_some() {
                warn!(
                    "disk {index} ({}): holds a second ublade.conf; only one is used",
                    attached.disk.name()
                );
            }
            if is_better {
                best = Some((own, index, conf));
            }
        }
    }
    if let (Some((_, index, conf)), Some(frame)) = (best, frame) {
        let disk = &mut disks[index].disk;
        let mut text = vec![0; conf.bytes().min(CONF_BYTES_MAX)];
        let mut reader = Reader::new(disk, clock, clock.now() + DISK_MAX_US, Some(frame));
        if let Some(area) = &mut found.state {
            // A file that can not be read was not edited.
            area.conf_sum = state::saved(&area.loaded.records).conf_sum;
        }
        match conf.read(&mut reader, &mut text) {
            Ok(_) => {
                if let Some(area) = &mut found.state {
                    area.conf_sum = state::sum_of(&text);
                }
                found.conf = text;
            }
            Err(trouble) => warn!(
                "disk {index}: ublade.conf could not be read ({trouble:?}); the defaults hold"
            ),
        }
        if conf.bytes() > CONF_BYTES_MAX {
            warn!(
                "disk {index}: ublade.conf is longer than {CONF_BYTES_MAX} bytes; the rest is not read"
            );
        }
        if reader.frame.is_none() {
            found.late.push(index);
        }
        found.conf_disk = Some(index);
    }
    found
}

/// Reads one sector after the other.
struct Reader<'a> {
    disk: &'a mut AnyDisk,
    clock: Clock,
    until: Instant,
    /// Away while the disk has it, for ever if it does not answer.
    frame: Option<Frame>,
}

impl<'a> Reader<'a> {
    fn new(disk: &'a mut AnyDisk, clock: Clock, end: Instant, frame: Option<Frame>) -> Self {
        let until = end.min(clock.now() + DISK_MAX_US);
        Self {
            disk,
            clock,
            until,
            frame,
        }
    }
}

impl Blocks for Reader<'_> {
    fn sectors(&self) -> u64 {
        self.disk.geometry().sectors
    }

    fn read(&mut self, lba: u64, sector: &mut Sector) -> Result<(), Unread> {
        if self.clock.now() >= self.until {
            return Err(Unread);
        }
        let frame = self.frame.take().ok_or(Unread)?;
        let request = Request {
            op: Op::Read,
            lba,
            sectors: 1,
            data: (DATA - WIRE) as u16,
            ticket: EARLY,
        };
        self.disk.submit(request, frame);
        self.disk.kick();
        let mut ticked = self.clock.now();
        loop {
            if let Some(mut done) = self.disk.poll_done() {
                let data = &done.frame.buffer_mut()[DATA - WIRE..][..SECTOR_BYTES];
                sector.copy_from_slice(data);
                self.frame = Some(done.frame);
                return match done.outcome {
                    Outcome::Done => Ok(()),
                    Outcome::Medium | Outcome::Fault | Outcome::Unsupported => Err(Unread),
                };
            }
            let now = self.clock.now();
            if now >= self.until {
                return Err(Unread);
            }
            if now - ticked >= TICK_US {
                ticked = now;
                self.disk.tick(now);
            }
            hint::spin_loop();
        }
    }
}
