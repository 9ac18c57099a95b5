//! A disk in memory: what it acknowledges is gone after a power cut, and says so.
//!
//! For trying the node out, for tests and for measuring what is left when the
//! disk costs nothing. A copy happens in `submit`; a kick does nothing.
//!
//! It reports [`WriteCache::None`]: there is nothing a flush could make more
//! durable, and whoever makes such an export knows what memory is.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::VecDeque;
use io::{
    DiscardLimits, Disk, Done, Frame, Geometry, Identity, Instant, Op, Outcome, Request,
    SECTOR_BYTES, Text, WIRE_BYTES, WriteCache,
};

/// A disk in memory.
pub struct RamDisk {
    memory: &'static mut [u8],
    geometry: Geometry,
    identity: Identity,
    name: Text<40>,
    done: VecDeque<Done>,
    frames: usize,
}

impl RamDisk {
    /// A disk of the whole sectors of `memory`, with its content. `frames` is how
    /// many frames the machine has: the list of what is done holds as many.
    pub fn new(memory: &'static mut [u8], frames: usize, name: &str, serial: &str) -> Self {
        let sectors = (memory.len() / SECTOR_BYTES) as u64;
        Self {
            memory,
            geometry: Geometry {
                sectors,
                physical_exponent: 0,
                alignment_offset: 0,
                read_only: false,
                write_cache: WriteCache::None,
                discard: (sectors > 0).then_some(DiscardLimits {
                    sectors_max: sectors.min(u32::MAX.into()) as u32,
                }),
            },
            identity: Identity {
                serial: Text::new(serial),
                model: Text::new("RAM disk"),
                ..Identity::default()
            },
            name: Text::new(name),
            done: VecDeque::with_capacity(frames),
            frames,
        }
    }

    /// The bytes of the disk that `request` names, if it lies on the disk.
    fn place(&mut self, request: &Request) -> Option<&mut [u8]> {
        let from = usize::try_from(request.lba)
            .ok()?
            .checked_mul(SECTOR_BYTES)?;
        let bytes = (request.sectors as usize).checked_mul(SECTOR_BYTES)?;
        self.memory.get_mut(from..from.checked_add(bytes)?)
    }

    fn run(&mut self, request: &Request, frame: &mut Frame) -> Outcome {
        if request.op == Op::Flush {
            return Outcome::Done;
        }
        let Some(place) = self.place(request) else {
            return Outcome::Medium;
        };
        if request.op == Op::Discard {
            place.fill(0);
            return Outcome::Done;
        }
        let from = usize::from(request.data);
        let buffer = frame.buffer_mut();
        assert!(
            place.len() <= WIRE_BYTES && from <= WIRE_BYTES - place.len(),
            "{} sectors at byte {from} are more than a frame's data",
            request.sectors
        );
        let data = &mut buffer[from..from + place.len()];
        match request.op {
            Op::Read => data.copy_from_slice(place),
            Op::Write => place.copy_from_slice(data),
            Op::Flush | Op::Discard => {}
        }
        Outcome::Done
    }
}

impl Disk for RamDisk {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn submit(&mut self, request: Request, mut frame: Frame) {
        debug_assert!(self.done.len() < self.frames, "more frames than there are");
        let outcome = self.run(&request, &mut frame);
        self.done.push_back(Done {
            ticket: request.ticket,
            outcome,
            frame,
        });
    }

    fn poll_done(&mut self) -> Option<Done> {
        self.done.pop_front()
    }

    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        self.done
            .iter()
            .find(|done| done.ticket == ticket)
            .map(|done| look(&done.frame))
    }

    fn kick(&mut self) {}

    fn tick(&mut self, _now: Instant) -> bool {
        false
    }

    fn arm(&mut self) -> bool {
        !self.done.is_empty()
    }

    fn disarm(&mut self) {}

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use io::{SLOT_BYTES, carve};
    use std::vec;

    const SECTORS: u64 = 32;

    fn disk() -> RamDisk {
        let memory = vec![0xee; SECTORS as usize * SECTOR_BYTES + 511].leak();
        RamDisk::new(memory, 4, "ram.0 RAM disk", "ram0")
    }

    fn frame() -> Frame {
        carve(vec![0; 2 * SLOT_BYTES].leak())
            .next()
            .expect("two slots hold one frame")
    }

    fn run(disk: &mut RamDisk, op: Op, lba: u64, sectors: u32, data: u16, frame: Frame) -> Done {
        let request = Request {
            op,
            lba,
            sectors,
            data,
            ticket: 7,
        };
        disk.submit(request, frame);
        assert!(disk.arm(), "what is done keeps the node awake");
        assert!(disk.lent(7, |_| ()).is_some());
        let done = disk.poll_done().expect("done at once");
        assert!(disk.lent(7, |_| ()).is_none());
        assert!(!disk.arm());
        assert_eq!(done.ticket, request.ticket);
        done
    }

    #[test]
    fn what_was_written_is_read_and_its_neighbours_stay() {
        for data in [36, 40] {
            let mut disk = disk();
            let mut frame = frame();
            frame.buffer_mut()[data..data + 1024].fill(0x5a);
            let done = run(&mut disk, Op::Write, 3, 2, data as u16, frame);
            assert_eq!(done.outcome, Outcome::Done);
            let mut done = run(&mut disk, Op::Read, 2, 4, data as u16, done.frame);
            let read = &done.frame.buffer_mut()[data..data + 4 * 512];
            assert!(read[..512].iter().all(|&byte| byte == 0xee));
            assert!(read[512..1536].iter().all(|&byte| byte == 0x5a));
            assert!(read[1536..].iter().all(|&byte| byte == 0xee));
        }
    }

    #[test]
    fn the_last_sector_is_served_and_the_one_behind_it_is_not() {
        let mut disk = disk();
        assert_eq!(disk.geometry().sectors, SECTORS);
        for op in [Op::Read, Op::Write, Op::Discard] {
            let good = run(&mut disk, op, SECTORS - 1, 1, 36, frame());
            assert_eq!(good.outcome, Outcome::Done, "{op:?}");
            let bad = run(&mut disk, op, SECTORS, 1, 36, frame());
            assert_eq!(bad.outcome, Outcome::Medium, "{op:?}");
            let bad = run(&mut disk, op, u64::MAX, 1, 36, frame());
            assert_eq!(bad.outcome, Outcome::Medium, "{op:?}");
        }
    }

    #[test]
    fn discarded_sectors_read_as_zeros() {
        let mut disk = disk();
        run(&mut disk, Op::Discard, 1, 2, 36, frame());
        let mut done = run(&mut disk, Op::Read, 0, 4, 36, frame());
        let read = &done.frame.buffer_mut()[36..36 + 4 * 512];
        assert!(read[..512].iter().all(|&byte| byte == 0xee));
        assert!(read[512..1536].iter().all(|&byte| byte == 0));
        assert!(read[1536..].iter().all(|&byte| byte == 0xee));
    }

    #[test]
    fn a_flush_is_done_without_sectors() {
        let done = run(&mut disk(), Op::Flush, 0, 0, 0, frame());
        assert_eq!(done.outcome, Outcome::Done);
    }

    #[test]
    fn seventeen_sectors_fill_a_frame() {
        let mut disk = disk();
        let done = run(&mut disk, Op::Read, 0, 17, 36, frame());
        assert_eq!(done.outcome, Outcome::Done);
    }

    #[test]
    #[should_panic(expected = "more than a frame's data")]
    fn eighteen_sectors_are_a_broken_invariant() {
        run(&mut disk(), Op::Read, 0, 18, 36, frame());
    }

    #[test]
    fn memory_without_a_whole_sector_is_a_disk_of_size_0() {
        let disk = RamDisk::new(vec![0; 511].leak(), 4, "ram.0", "");
        assert_eq!(disk.geometry().sectors, 0);
        assert_eq!(disk.geometry().discard, None);
    }
}
