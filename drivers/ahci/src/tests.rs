//! The driver against the model: what is served, and what survives.

extern crate std;

mod errors;
mod health;
mod plugs;
mod service;
mod sleep;
mod start;

use crate::model::{DriveModel, Model, Quirks, Refusal, Settings};
use crate::{Disk, Error, NoDrive, Signature, Unusable, bring_up};
use io::{Clock, Disk as _, Done, Frame, Op, Outcome, Request, WriteCache};
use std::collections::BTreeMap;
use std::string::ToString;
use std::vec::Vec;

type ModelDisk = Disk<Model, Model>;

/// Sectors of a test's drive.
const SECTORS: u64 = 1 << 20;

/// A controller, its disks, and frames for them.
struct Bench {
    model: Model,
    disks: Vec<ModelDisk>,
    errors: Vec<Error>,
    frames: Vec<Frame>,
    tickets: u32,
    /// What was asked, by ticket.
    asked: Vec<Request>,
    ticked_us: u64,
}

impl Bench {
    fn new(settings: Settings, drives: impl IntoIterator<Item = (u8, DriveModel)>) -> Self {
        let model = Model::new(settings);
        for (port, drive) in drives {
            model.plug(port, drive);
        }
        let mut bench = Self {
            frames: model.frames(80),
            disks: Vec::new(),
            errors: Vec::new(),
            tickets: 0,
            asked: Vec::new(),
            ticked_us: 0,
            model,
        };
        for result in bring_up(&mut bench.model.clone(), &bench.model) {
            match result {
                Ok(disk) => bench.disks.push(disk),
                Err(error) => bench.errors.push(error),
            }
        }
        bench
    }

    fn one(settings: Settings) -> Self {
        Self::new(settings, [(0, DriveModel::new("S1", SECTORS))])
    }

    fn drive<T>(&self, look: impl FnOnce(&mut DriveModel) -> T) -> T {
        self.model.drive(0, look)
    }

    fn submit(&mut self, disk: usize, op: Op, lba: u64, sectors: u32, fill: u8) -> u32 {
        self.tickets += 1;
        let mut frame = self.frames.pop().expect("frames are left");
        let bytes = if op == Op::Discard {
            0
        } else {
            sectors as usize * 512
        };
        for (at, byte) in frame.buffer_mut()[36..][..bytes].iter_mut().enumerate() {
            *byte = fill ^ (at / 512) as u8;
        }
        let request = Request {
            op,
            lba,
            sectors,
            data: 36,
            ticket: self.tickets,
        };
        self.give(disk, request, frame);
        self.tickets
    }

    /// Gives a disk a request; tickets are counted from 1.
    fn give(&mut self, disk: usize, request: Request, frame: Frame) {
        self.asked.push(request);
        self.disks[disk].submit(request, frame);
    }

    fn read(&mut self, lba: u64, sectors: u32) -> u32 {
        self.submit(0, Op::Read, lba, sectors, 0xee)
    }

    fn write(&mut self, lba: u64, sectors: u32, fill: u8) -> u32 {
        self.submit(0, Op::Write, lba, sectors, fill)
    }

    fn flush(&mut self) -> u32 {
        self.submit(0, Op::Flush, 0, 0, 0)
    }

    /// One turn of a node's loop, then `us` pass.
    fn turn(&mut self, us: u64) -> Vec<Ended> {
        let mut ended = Vec::new();
        let now = self.model.now();
        for disk in &mut self.disks {
            while let Some(done) = disk.poll_done() {
                ended.push(done);
            }
            disk.kick();
            if now.0 >= self.ticked_us + 100_000 {
                disk.tick(now);
            }
        }
        if now.0 >= self.ticked_us + 100_000 {
            self.ticked_us = now.0;
        }
        self.model.elapse(us);
        ended.into_iter().map(|done| self.take_back(done)).collect()
    }

    fn take_back(&mut self, done: Done) -> Ended {
        let Done {
            ticket,
            outcome,
            mut frame,
        } = done;
        let request = self.asked[ticket as usize - 1];
        let bytes = match request.op {
            Op::Discard => 0,
            _ => request.sectors as usize * 512,
        };
        let start = usize::from(request.data);
        let data = frame.buffer_mut()[start..][..bytes].to_vec();
        self.frames.push(frame);
        Ended {
            request,
            outcome,
            data,
        }
    }

    /// Turns until `count` requests ended. Time runs faster when nothing does.
    fn finish(&mut self, count: usize) -> BTreeMap<u32, Ended> {
        let mut all = BTreeMap::new();
        let mut idle = 0;
        while all.len() < count {
            let ended = self.turn(if idle < 300 { 20 } else { 20_000 });
            idle = if ended.is_empty() { idle + 1 } else { 0 };
            assert!(idle < 20_000, "{} of {count} ended", all.len());
            for ended in ended {
                let twice = all.insert(ended.request.ticket, ended);
                assert!(twice.is_none(), "a request ended twice");
            }
        }
        all
    }

    /// Turns for `us`, with nothing ending.
    fn wait(&mut self, us: u64) {
        let until = self.model.now() + us;
        while self.model.now() < until {
            assert_eq!(self.turn(us.div_ceil(200)).len(), 0);
        }
    }

    fn now_us(&self) -> u64 {
        self.model.now().0
    }
}

struct Ended {
    request: Request,
    outcome: Outcome,
    data: Vec<u8>,
}

fn outcomes(all: &BTreeMap<u32, Ended>, of: Outcome) -> Vec<u64> {
    let with = all.values().filter(|ended| ended.outcome == of);
    with.map(|ended| ended.request.lba).collect()
}

fn pattern(fill: u8, sectors: u32) -> Vec<u8> {
    let byte = |at: usize| fill ^ (at / 512) as u8;
    (0..sectors as usize * 512).map(byte).collect()
}

fn quirky(quirks: Quirks) -> Settings {
    Settings {
        quirks,
        ..Settings::default()
    }
}
