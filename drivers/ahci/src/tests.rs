//! The driver against the model: what is served, and what survives.

extern crate std;

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
        self.disks[disk].submit(request, frame);
        self.tickets
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
            request,
            outcome,
            mut frame,
        } = done;
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

// -- Start --------------------------------------------------------------------

#[test]
fn each_drive_is_found_in_order_of_its_port_and_empty_ports_give_nothing() {
    let mut slow = DriveModel::new("S1", 4096);
    slow.spin_up_us = 3_000_000;
    let drives = [
        (5, DriveModel::new("S5", 1024)),
        (1, slow),
        (3, DriveModel::new("S3", 2048)),
    ];
    let settings = Settings {
        ports: 6,
        clock_us: 200,
        ..Settings::default()
    };
    let bench = Bench::new(settings, drives);
    let found: Vec<_> = bench
        .disks
        .iter()
        .map(|disk| (disk.name().to_string(), disk.geometry().sectors))
        .collect();
    let expected = [
        ("00:1f.2 ahci port 1", 4096),
        ("00:1f.2 ahci port 3", 2048),
        ("00:1f.2 ahci port 5", 1024),
    ];
    assert_eq!(found, expected.map(|(name, size)| (name.to_string(), size)));
    assert!(bench.errors.is_empty());
    let identity = bench.disks[1].identity();
    assert_eq!(identity.serial.as_str(), "S3");
    assert_eq!(identity.model.as_str(), "Model of a drive");
}

#[test]
fn empty_ports_cost_milliseconds_all_together() {
    let settings = Settings {
        ports: 32,
        ..Settings::default()
    };
    let bench = Bench::new(settings, []);
    assert!(bench.disks.is_empty() && bench.errors.is_empty());
    assert!(bench.now_us() < 30_000, "{} us", bench.now_us());
}

#[test]
fn where_the_controller_staggers_no_two_drives_spin_up_at_once() {
    let drives = || (0..4).map(|port| (port, DriveModel::new("S", 1024)));
    let settings = Settings {
        ports: 6,
        staggered: true,
        ..Settings::default()
    };
    let bench = Bench::new(settings, drives());
    assert_eq!(bench.disks.len(), 4);
    assert_eq!(bench.model.most_spinning_up(), 1);
    let settings = Settings {
        staggered: false,
        ..settings
    };
    let bench = Bench::new(settings, drives());
    assert!(bench.model.most_spinning_up() > 1);
}

#[test]
fn the_firmware_is_asked_to_let_go_and_overruled_if_it_does_not() {
    for firmware_us in [0, 10_000, u64::MAX / 2] {
        let bench = Bench::one(Settings {
            firmware_us: Some(firmware_us),
            ..Settings::default()
        });
        assert_eq!(bench.disks.len(), 1);
    }
}

#[test]
fn what_is_no_disk_is_named_and_ignored() {
    let kinds = [
        (
            Signature::PACKET,
            "port 0: an optical drive, not a disk; ignored",
        ),
        (
            Signature::MULTIPLIER,
            "port 1: a port multiplier, which is not supported; ignored",
        ),
        (
            Signature::ENCLOSURE,
            "port 2: an enclosure, not a disk; ignored",
        ),
        (
            Signature(0x1234_5678),
            "port 3: not a disk (signature 0x12345678); ignored",
        ),
    ];
    let drives = (0..).zip(kinds).map(|(port, (kind, _))| {
        let mut drive = DriveModel::new("S", 1024);
        drive.kind = kind.0;
        (port, drive)
    });
    let settings = Settings {
        ports: 4,
        ..Settings::default()
    };
    let bench = Bench::new(settings, drives);
    assert!(bench.disks.is_empty());
    assert!(bench.errors.iter().all(Error::is_only_a_remark));
    let words: Vec<_> = bench.errors.iter().map(Error::to_string).collect();
    assert_eq!(words, kinds.map(|(_, word)| word.to_string()));
}

#[test]
fn a_drive_that_can_not_serve_is_named_and_holds_up_no_other_for_ever() {
    let mut mute = DriveModel::new("S0", 1024);
    mute.mute = true;
    let mut asleep = DriveModel::new("S1", 1024);
    asleep.spin_up_us = u64::MAX / 2;
    let empty = DriveModel::new("S2", 0);
    let good = DriveModel::new("S3", 1024);
    let drives = [(0, mute), (1, asleep), (2, empty), (3, good)];
    let settings = Settings {
        ports: 4,
        clock_us: 200,
        ..Settings::default()
    };
    let bench = Bench::new(settings, drives);
    assert_eq!(bench.disks.len(), 1);
    let reasons = [
        NoDrive::IdentifySilent,
        NoDrive::NotReady,
        NoDrive::Unusable(Unusable::NoCapacity),
    ];
    let expected = (0..).zip(reasons);
    let expected = expected.map(|(port, reason)| Error::NoDrive { port, reason });
    assert_eq!(bench.errors, expected.collect::<Vec<_>>());
    assert!(bench.now_us() < 16_000_000, "{} us", bench.now_us());
}

// -- Service ------------------------------------------------------------------

/// Random reads, writes, flushes and discards against a map of what was written.
/// Ranges that are under way are left alone, as the node's fence does.
fn random_load(settings: Settings, drive: DriveModel, steps: u32) {
    let seed = settings.seed;
    let mut bench = Bench::new(settings, [(0, drive)]);
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut roll = |end: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % end
    };
    let mut written: BTreeMap<u64, u8> = BTreeMap::new();
    let mut under_way: BTreeMap<u64, (u32, u8)> = BTreeMap::new();
    let mut submitted = 0;
    let mut ended = 0;
    while ended < steps {
        for _ in 0..roll(12) {
            // 64 places of 17 sectors, each whole and always the same length.
            let place = roll(64);
            let (lba, sectors) = (place * 17, 1 + (place % 17) as u32);
            if submitted == steps || under_way.contains_key(&lba) || bench.frames.is_empty() {
                continue;
            }
            let fill = roll(256) as u8;
            let ticket = match roll(20) {
                0 => bench.flush(),
                1 => bench.submit(0, Op::Discard, lba, sectors, 0),
                2..11 => bench.write(lba, sectors, fill),
                _ => bench.read(lba, sectors),
            };
            submitted += 1;
            under_way.insert(lba, (ticket, fill));
        }
        for done in bench.turn(10) {
            ended += 1;
            assert_eq!(
                done.outcome,
                Outcome::Done,
                "seed {seed}: {:?}",
                done.request
            );
            let Request {
                op, lba, sectors, ..
            } = done.request;
            let key = under_way
                .iter()
                .find(|(_, (ticket, _))| *ticket == done.request.ticket)
                .map(|(&key, _)| key);
            let (_, fill) = under_way
                .remove(&key.expect("it was under way"))
                .expect("it was under way");
            match op {
                Op::Write => {
                    written.insert(lba, fill);
                }
                Op::Discard => {
                    written.remove(&lba);
                }
                Op::Read => {
                    let zeros = std::vec![0; sectors as usize * 512];
                    let expected = written
                        .get(&lba)
                        .map_or(zeros, |&fill| pattern(fill, sectors));
                    assert!(done.data == expected, "seed {seed}: sectors at {lba}");
                }
                Op::Flush => {}
            }
        }
    }
}

#[test]
fn what_was_written_is_read_whatever_the_order_and_the_noise() {
    for seed in 1..6 {
        let settings = Settings {
            seed,
            quirks: Quirks {
                noise: seed % 2 == 0,
                ..Quirks::default()
            },
            ..Settings::default()
        };
        random_load(settings, DriveModel::new("S1", SECTORS), 300);
    }
}

#[test]
fn drives_and_controllers_without_a_queue_serve_one_at_a_time() {
    let mut plain = DriveModel::new("S1", SECTORS);
    plain.queue_depth = 0;
    random_load(Settings::default(), plain, 300);
    let settings = Settings {
        ncq: false,
        ..quirky(Quirks {
            noise: true,
            ..Quirks::default()
        })
    };
    random_load(settings, DriveModel::new("S1", SECTORS), 300);
}

#[test]
fn a_short_queue_and_a_short_list_are_not_overrun() {
    let mut short = DriveModel::new("S1", SECTORS);
    short.queue_depth = 5;
    random_load(Settings::default(), short, 300);
    let settings = Settings {
        slots: 3,
        ..Settings::default()
    };
    random_load(settings, DriveModel::new("S1", SECTORS), 300);
}

#[test]
fn a_batch_is_one_doorbell_and_an_idle_poll_reads_no_register() {
    let mut bench = Bench::one(Settings::default());
    for lba in 0..20 {
        bench.read(lba, 1);
    }
    bench.turn(0);
    assert_eq!(bench.disks[0].doorbells(), 1);
    let reads = bench.model.register_reads();
    for _ in 0..100 {
        assert!(bench.disks[0].poll_done().is_none());
        bench.disks[0].kick();
    }
    assert_eq!(bench.model.register_reads(), reads);
    bench.finish(20);
    let reads = bench.model.register_reads();
    for _ in 0..100 {
        assert!(bench.disks[0].poll_done().is_none());
        bench.disks[0].kick();
    }
    assert_eq!(bench.model.register_reads(), reads);
}

#[test]
fn as_many_requests_as_the_machine_has_frames_are_taken_and_given_back() {
    let mut bench = Bench::one(Settings::default());
    let more = bench.model.frames(io::FRAMES_MAX);
    bench.frames.extend(more);
    for lba in 0..io::FRAMES_MAX as u64 {
        bench.write(lba, 1, lba as u8);
    }
    let all = bench.finish(io::FRAMES_MAX);
    assert_eq!(outcomes(&all, Outcome::Done).len(), io::FRAMES_MAX);
}

#[test]
fn a_flush_waits_for_all_before_it_and_nothing_overtakes_it() {
    let mut bench = Bench::one(Settings::default());
    for lba in 0..40 {
        bench.write(lba, 1, 1);
    }
    let flush = bench.flush();
    for lba in 40..80 {
        if bench.frames.is_empty() {
            break;
        }
        bench.read(lba, 1);
    }
    let mut seen = Vec::new();
    for _ in 0..10_000 {
        seen.extend(bench.turn(5).into_iter().map(|done| done.request.ticket));
    }
    let at = seen.iter().position(|&ticket| ticket == flush);
    let at = at.expect("the flush ends");
    assert_eq!(at, 40);
    assert!(seen[..at].iter().all(|&ticket| ticket < flush));
    assert!(seen[at + 1..].iter().all(|&ticket| ticket > flush));
}

#[test]
fn what_was_flushed_survives_a_power_cut() {
    let mut bench = Bench::one(Settings::default());
    assert_eq!(bench.disks[0].geometry().write_cache, WriteCache::Volatile);
    bench.write(7, 2, 0x77);
    bench.finish(1);
    bench.flush();
    bench.finish(1);
    bench.write(9, 1, 0x99);
    bench.finish(1);
    bench.drive(DriveModel::lose_power);
    assert_eq!(bench.drive(|drive| drive.sector(8)), [0x76; 512]);
    assert_eq!(bench.drive(|drive| drive.sector(9)), [0; 512]);
}

#[test]
fn a_discard_of_the_largest_size_forgets_exactly_its_sectors() {
    let mut bench = Bench::new(Settings::default(), [(0, DriveModel::new("S1", 1 << 30))]);
    let most = bench.disks[0].geometry().discard.expect("it can");
    let most = u64::from(most.sectors_max);
    for lba in [99, 100, 65_634, 65_635, 99 + most, 100 + most] {
        bench.drive(|drive| drive.put(lba, [1; 512]));
    }
    bench.submit(0, Op::Discard, 100, most as u32, 0);
    let all = bench.finish(1);
    assert_eq!(outcomes(&all, Outcome::Done), [100]);
    let left = [99, 100, 65_634, 65_635, 99 + most, 100 + most];
    let left = left.map(|lba| bench.drive(|drive| drive.sector(lba)[0]));
    assert_eq!(left, [1, 0, 0, 0, 0, 1]);
}

#[test]
fn a_discard_that_the_drive_does_not_know_is_unsupported_and_never_sent() {
    let mut drive = DriveModel::new("S1", SECTORS);
    drive.trim = false;
    let mut bench = Bench::new(Settings::default(), [(0, drive)]);
    assert_eq!(bench.disks[0].geometry().discard, None);
    bench.submit(0, Op::Discard, 5, 1, 0);
    let all = bench.finish(1);
    assert_eq!(outcomes(&all, Outcome::Unsupported), [5]);
    assert_eq!(bench.drive(|drive| drive.times(0x06)), 0);
}

#[test]
fn data_behind_a_vlan_tag_is_taken_from_where_it_lies() {
    let mut bench = Bench::one(Settings::default());
    let mut frame = bench.frames.pop().expect("frames are left");
    frame.buffer_mut()[40..40 + 512].fill(0x5a);
    let request = Request {
        op: Op::Write,
        lba: 3,
        sectors: 1,
        data: 40,
        ticket: 1,
    };
    bench.disks[0].submit(request, frame);
    bench.finish(1);
    assert_eq!(bench.drive(|drive| drive.sector(3)), [0x5a; 512]);
}

#[test]
fn a_frame_is_lent_from_its_submission_to_its_end() {
    let mut bench = Bench::one(Settings::default());
    let tickets: Vec<u32> = (0..40).map(|lba| bench.write(lba, 1, lba as u8)).collect();
    bench.turn(0);
    for (lba, &ticket) in tickets.iter().enumerate() {
        let address = bench.disks[0].lent(ticket, Frame::bus_address);
        assert_eq!(address.map(|at| at % 512), Some(0), "request {lba}");
    }
    bench.finish(40);
    assert!(
        tickets
            .iter()
            .all(|&ticket| bench.disks[0].lent(ticket, |_| ()).is_none())
    );
}

#[test]
#[should_panic(expected = "sectors at byte")]
fn a_request_that_leaves_its_slot_is_a_broken_invariant() {
    let mut bench = Bench::one(Settings::default());
    let frame = bench.frames.pop().expect("frames are left");
    let request = Request {
        op: Op::Read,
        lba: 0,
        sectors: 18,
        data: 36,
        ticket: 0,
    };
    bench.disks[0].submit(request, frame);
    bench.disks[0].kick();
}

// -- Sleep --------------------------------------------------------------------

#[test]
fn a_node_that_sleeps_is_woken_for_each_end() {
    for seed in 1..20 {
        let mut bench = Bench::one(Settings {
            seed,
            ..Settings::default()
        });
        let mut left = 40;
        for lba in 0..40 {
            bench.read(lba, 1);
        }
        let mut asleep_us = 0;
        while left > 0 {
            left -= bench.turn(0).len();
            let before = bench.model.messages();
            if !bench.disks[0].arm() {
                while bench.model.messages() == before && left > 0 {
                    bench.model.elapse(16);
                    asleep_us += 16;
                    assert!(asleep_us < 100_000, "seed {seed}: nobody woke the node");
                }
            }
            bench.disks[0].disarm();
        }
        assert!(!bench.disks[0].arm(), "nothing is left to wait for");
    }
}

#[test]
fn without_interrupts_the_node_is_told_not_to_sleep_while_something_runs() {
    let mut bench = Bench::one(Settings {
        has_interrupt: false,
        ..Settings::default()
    });
    assert!(!bench.disks[0].arm());
    bench.read(0, 1);
    bench.turn(0);
    assert!(bench.disks[0].arm());
    bench.finish(1);
    assert!(!bench.disks[0].arm());
    assert_eq!(bench.model.messages(), 0);
}

#[test]
fn a_failure_wakes_the_node_too() {
    let mut bench = Bench::one(Settings::default());
    bench.drive(|drive| drive.garbled.insert(5, 1));
    bench.read(5, 1);
    bench.turn(0);
    let before = bench.model.messages();
    assert!(!bench.disks[0].arm());
    bench.model.elapse(1000);
    assert_eq!(bench.model.messages(), before + 1);
    bench.disks[0].disarm();
    bench.turn(0);
    assert!(bench.disks[0].arm(), "the way back needs polls");
    let all = bench.finish(1);
    assert_eq!(outcomes(&all, Outcome::Done), [5]);
}

// -- Errors -------------------------------------------------------------------

#[test]
fn of_32_queued_requests_exactly_the_one_on_a_bad_sector_fails() {
    for seed in 1..10 {
        let mut bench = Bench::one(Settings {
            seed,
            ..Settings::default()
        });
        let bad = (13, Refusal::UNCORRECTABLE);
        bench.drive(|drive| drive.bad.extend([bad]));
        for lba in 0..40 {
            match lba % 3 {
                0 => bench.write(lba, 1, lba as u8),
                _ => bench.read(lba, 1),
            };
        }
        let began_us = bench.now_us();
        let all = bench.finish(40);
        assert_eq!(outcomes(&all, Outcome::Medium), [13], "seed {seed}");
        assert_eq!(outcomes(&all, Outcome::Done).len(), 39);
        let took_us = bench.now_us() - began_us;
        assert!(
            took_us < 100_000,
            "seed {seed}: {took_us} us, so a deadline"
        );
        for lba in (0..40).step_by(3) {
            let sector = bench.drive(|drive| drive.sector(lba));
            assert_eq!(sector, [lba as u8; 512]);
        }
    }
}

#[test]
fn a_queued_failure_that_is_told_softly_still_fails_one_and_only_one() {
    for seed in 1..10 {
        let mut settings = quirky(Quirks {
            quiet_queue_errors: true,
            forgetful: true,
            ..Quirks::default()
        });
        settings.seed = seed;
        let mut bench = Bench::one(settings);
        bench.drive(|drive| drive.bad.extend([(13, Refusal::ABORTED)]));
        for lba in 0..40 {
            bench.read(lba, 1);
        }
        let began_us = bench.now_us();
        let all = bench.finish(40);
        assert_eq!(outcomes(&all, Outcome::Medium), [13], "seed {seed}");
        assert!(bench.now_us() - began_us < 5_000_000);
    }
}

#[test]
fn a_refusal_outside_of_the_queue_does_not_reset_the_drive() {
    let mut bench = Bench::one(Settings {
        ncq: false,
        ..Settings::default()
    });
    bench.drive(|drive| {
        drive
            .bad
            .extend([(1, Refusal::UNCORRECTABLE), (2, Refusal::BROKEN)])
    });
    for lba in 0..4 {
        bench.read(lba, 1);
    }
    let all = bench.finish(4);
    assert_eq!(outcomes(&all, Outcome::Done), [0, 3]);
    assert_eq!(outcomes(&all, Outcome::Medium), [1]);
    assert_eq!(outcomes(&all, Outcome::Fault), [2]);
    assert_eq!(bench.drive(|drive| drive.resets), 0);
}

#[test]
fn a_flush_that_the_drive_refuses_is_a_fault_and_the_next_one_runs() {
    let mut bench = Bench::one(Settings::default());
    bench.drive(|drive| drive.refused_flushes = 1);
    let (first, second) = (bench.flush(), bench.flush());
    let all = bench.finish(2);
    assert_eq!(all[&first].outcome, Outcome::Fault);
    assert_eq!(all[&second].outcome, Outcome::Done);
}

#[test]
fn a_request_that_is_answered_the_second_time_is_done() {
    let mut bench = Bench::one(Settings::default());
    bench.drive(|drive| drive.silent.insert(6, 1));
    for lba in 0..10 {
        bench.read(lba, 1);
    }
    let all = bench.finish(10);
    assert_eq!(outcomes(&all, Outcome::Done).len(), 10);
}

#[test]
fn a_request_that_is_never_answered_is_a_fault_in_time_and_the_only_one() {
    for ncq in [true, false] {
        let mut bench = Bench::one(Settings {
            ncq,
            ..Settings::default()
        });
        bench.drive(|drive| drive.silent.insert(6, u32::MAX));
        for lba in 0..10 {
            bench.write(lba, 1, 1);
        }
        let began_us = bench.now_us();
        let all = bench.finish(10);
        assert_eq!(outcomes(&all, Outcome::Fault), [6], "queue: {ncq}");
        let waited_us = bench.now_us() - began_us;
        assert!(waited_us < 2 * crate::disk::recovery::TRANSFER_WAIT_US + 2_000_000);
        bench.read(3, 1);
        assert_eq!(outcomes(&bench.finish(1), Outcome::Done), [3]);
    }
}

#[test]
fn data_that_the_link_garbles_is_sent_again_but_not_for_ever() {
    for ncq in [true, false] {
        let mut bench = Bench::one(Settings {
            ncq,
            ..Settings::default()
        });
        bench.drive(|drive| drive.garbled.extend([(2, 1), (6, u32::MAX)]));
        for lba in 0..10 {
            bench.read(lba, 1);
        }
        let all = bench.finish(10);
        assert_eq!(outcomes(&all, Outcome::Fault), [6], "queue: {ncq}");
        assert_eq!(outcomes(&all, Outcome::Done).len(), 9);
    }
}

#[test]
fn a_queue_that_keeps_failing_for_no_reason_is_not_used_any_more() {
    let mut bench = Bench::one(Settings::default());
    bench.drive(|drive| drive.queue_is_broken = true);
    for round in 0..5 {
        for lba in 0..10 {
            bench.read(round * 10 + lba, 1);
        }
        let all = bench.finish(10);
        assert_eq!(outcomes(&all, Outcome::Done).len(), 10);
    }
    assert_eq!(bench.disks[0].depth(), 1);
    assert_eq!(bench.drive(|drive| drive.resets), 3);
}

#[test]
fn a_list_that_does_not_stop_is_stopped_by_a_reset_of_the_drive() {
    let mut bench = Bench::one(quirky(Quirks {
        stuck: true,
        ..Quirks::default()
    }));
    bench.drive(|drive| drive.bad.extend([(4, Refusal::UNCORRECTABLE)]));
    for lba in 0..10 {
        bench.read(lba, 1);
    }
    let all = bench.finish(10);
    assert_eq!(outcomes(&all, Outcome::Medium), [4]);
    assert_eq!(outcomes(&all, Outcome::Done).len(), 9);
}

#[test]
fn other_ports_do_not_notice_a_drive_that_hangs() {
    let drives = (0..2).map(|port| (port, DriveModel::new("S", SECTORS)));
    let mut bench = Bench::new(Settings::default(), drives);
    bench.drive(|drive| drive.silent.insert(1, u32::MAX));
    bench.read(1, 1);
    bench.turn(1000);
    let mut worst_us = 0;
    let mut fault = false;
    while !fault {
        bench.submit(1, Op::Read, 7, 1, 0);
        let began_us = bench.now_us();
        loop {
            let ended = bench.turn(100);
            fault |= ended.iter().any(|ended| ended.outcome == Outcome::Fault);
            if ended.iter().any(|ended| ended.request.lba == 7) {
                break;
            }
        }
        worst_us = worst_us.max(bench.now_us() - began_us);
        bench.model.elapse(50_000);
    }
    assert!(worst_us < 2_000, "{worst_us} us");
}

#[test]
fn settings_that_a_reset_changed_are_told_before_anything_runs_again() {
    let mut drive = DriveModel::new("S1", SECTORS);
    drive.write_cache = false;
    let mut bench = Bench::new(Settings::default(), [(0, drive)]);
    assert_eq!(bench.disks[0].geometry().write_cache, WriteCache::None);
    bench.drive(|drive| {
        drive.write_cache = true;
        drive.garbled.insert(1, 1);
    });
    bench.write(1, 1, 1);
    let mut told = false;
    for _ in 0..2_000 {
        let wrote = bench.drive(|drive| drive.times(0x61) + drive.times(0x35));
        assert!(told || wrote == 0);
        let now = bench.model.now();
        while bench.disks[0].poll_done().is_some() {}
        bench.disks[0].kick();
        if now.0 >= bench.ticked_us + 100_000 {
            bench.ticked_us = now.0;
            told |= bench.disks[0].tick(now);
        }
        bench.model.elapse(1000);
    }
    assert!(told);
    assert_eq!(bench.disks[0].geometry().write_cache, WriteCache::Volatile);
    assert_eq!(bench.drive(|drive| drive.sector(1)), [1; 512]);
}

// -- Plugs --------------------------------------------------------------------

#[test]
fn a_drive_that_is_pulled_faults_what_runs_and_what_comes_until_it_is_back() {
    let drives = (0..2).map(|port| (port, DriveModel::new("S", SECTORS)));
    let mut bench = Bench::new(Settings::default(), drives);
    for lba in 0..40 {
        bench.read(lba, 1);
    }
    bench.turn(10);
    let pulled = bench.model.unplug(0);
    let all = bench.finish(40);
    assert!(outcomes(&all, Outcome::Fault).len() >= 38);
    bench.read(1, 1);
    bench.flush();
    assert_eq!(outcomes(&bench.finish(2), Outcome::Fault), [1, 0]);
    bench.submit(1, Op::Read, 5, 1, 0);
    assert_eq!(outcomes(&bench.finish(1), Outcome::Done), [5]);

    bench.wait(5_000_000);
    bench.model.plug(0, pulled);
    bench.wait(1_000_000);
    bench.read(2, 1);
    assert_eq!(outcomes(&bench.finish(1), Outcome::Done), [2]);
}

#[test]
fn a_plug_that_is_back_within_a_second_costs_no_request() {
    for us in [0, 1_000, 300_000] {
        let mut bench = Bench::one(Settings::default());
        for lba in 0..40 {
            bench.read(lba, 1);
        }
        let mut all = bench.turn(10).len();
        let pulled = bench.model.unplug(0);
        let until = bench.model.now() + us;
        while bench.model.now() < until {
            all += bench.turn(us / 10).len();
        }
        bench.model.plug(0, pulled);
        let done = outcomes(&bench.finish(40 - all), Outcome::Done);
        assert_eq!(done.len(), 40 - all, "after {us} us");
    }
}

#[test]
fn a_flush_does_not_vouch_for_writes_that_may_have_lost_their_power() {
    let mut bench = Bench::one(Settings::default());
    bench.write(1, 1, 1);
    bench.finish(1);
    let mut pulled = bench.model.unplug(0);
    pulled.lose_power();
    bench.model.plug(0, pulled);
    bench.wait(1_000_000);
    let (first, second) = (bench.flush(), bench.flush());
    let all = bench.finish(2);
    assert_eq!(all[&first].outcome, Outcome::Fault);
    assert_eq!(all[&second].outcome, Outcome::Done);

    // With nothing in the cache there is nothing to doubt.
    let pulled = bench.model.unplug(0);
    bench.model.plug(0, pulled);
    bench.wait(1_000_000);
    let flush = bench.flush();
    assert_eq!(bench.finish(1)[&flush].outcome, Outcome::Done);
}

#[test]
fn another_drive_in_the_same_place_gets_no_request() {
    let mut bench = Bench::one(Settings::default());
    let own = bench.model.unplug(0);
    bench.wait(2_000_000);
    bench.model.plug(0, DriveModel::new("S2", SECTORS));
    bench.wait(2_000_000);
    bench.write(1, 1, 1);
    assert_eq!(outcomes(&bench.finish(1), Outcome::Fault), [1]);
    assert_eq!(bench.drive(|drive| drive.times(0x61)), 0);
    assert_eq!(bench.disks[0].identity().serial.as_str(), "S1");

    bench.model.unplug(0);
    bench.wait(2_000_000);
    bench.model.plug(0, own);
    bench.wait(2_000_000);
    bench.read(1, 1);
    assert_eq!(outcomes(&bench.finish(1), Outcome::Done), [1]);
}

#[test]
fn a_drive_that_stays_busy_is_given_up_and_tried_again_later() {
    let mut bench = Bench::one(Settings::default());
    bench.drive(|drive| {
        drive.spin_up_us = u64::MAX / 2;
        drive.silent.insert(1, u32::MAX);
    });
    bench.read(1, 1);
    bench.read(2, 1);
    assert_eq!(outcomes(&bench.finish(2), Outcome::Fault).len(), 1);
    bench.read(3, 1);
    assert_eq!(outcomes(&bench.finish(1), Outcome::Fault), [3]);
    bench.drive(|drive| {
        drive.spin_up_us = 500;
        drive.silent.clear();
    });
    bench.wait(40_000_000);
    bench.read(1, 1);
    assert_eq!(outcomes(&bench.finish(1), Outcome::Done), [1]);
}

#[test]
fn whatever_happens_each_request_ends_once_and_a_read_that_is_done_is_right() {
    for seed in 1..40 {
        let mut settings = quirky(Quirks {
            noise: seed % 2 == 0,
            stuck: seed % 5 == 0,
            forgetful: seed % 3 == 0,
            quiet_queue_errors: seed % 3 == 0,
        });
        settings.seed = seed;
        let mut bench = Bench::one(settings);
        bench.drive(|drive| {
            for lba in 0..200 {
                drive.put(lba, [lba as u8; 512]);
            }
            drive.bad.extend([
                (seed * 7 % 60, Refusal::UNCORRECTABLE),
                (seed * 11 % 60, Refusal::ABORTED),
            ]);
            drive.garbled.extend([(seed * 13 % 60, 2)]);
            drive.silent.extend([(seed * 17 % 60, 1)]);
        });
        for lba in 0..60 {
            bench.read(lba, 1);
        }
        let mut all = bench.turn(seed * 20).len();
        if seed % 4 == 0 {
            let pulled = bench.model.unplug(0);
            bench.model.plug(0, pulled);
        }
        all += bench.turn(0).len();
        let all = bench.finish(60 - all);
        for ended in all.values() {
            let lba = ended.request.lba;
            match ended.outcome {
                Outcome::Done => assert!(ended.data == [lba as u8; 512], "seed {seed}: {lba}"),
                _ => assert!(
                    [7, 11, 13, 17].iter().any(|prime| seed * prime % 60 == lba),
                    "seed {seed}: {lba} failed"
                ),
            }
        }
    }
}

/// A drive with SMART that says this of itself.
fn smart(fails: bool) -> DriveModel {
    let mut drive = DriveModel::new("S1", SECTORS);
    drive.smart = Some(fails);
    drive
}

const SMART: u8 = 0xb0;

#[test]
fn a_drive_that_says_that_it_will_fail_is_heard_within_a_minute_and_the_node_is_told_once() {
    let mut bench = Bench::new(Settings::default(), [(0, smart(false))]);
    bench.wait(2_000_000);
    assert_eq!(bench.drive(|drive| drive.times(SMART)), 1);
    assert!(!bench.disks[0].fails_soon());
    bench.drive(|drive| drive.smart = Some(true));
    bench.wait(58_000_000);
    let mut told = 0;
    for _ in 0..40 {
        bench.model.elapse(100_000);
        while bench.disks[0].poll_done().is_some() {}
        let now = bench.model.now();
        told += u32::from(bench.disks[0].tick(now));
    }
    assert_eq!(told, 1);
    assert!(bench.disks[0].fails_soon());
    assert_eq!(bench.drive(|drive| drive.times(SMART)), 2);
    bench.write(0, 1, 7);
    assert_eq!(bench.finish(1).len(), 1, "it serves on");
}

#[test]
fn a_drive_that_never_rests_is_asked_too_and_no_request_is_hurt() {
    for noise in [false, true] {
        let settings = quirky(Quirks {
            noise,
            ..Quirks::default()
        });
        let mut bench = Bench::new(settings, [(0, smart(true))]);
        let (mut ended, mut asked) = (0_u32, 0_u32);
        // 40 requests are under way all the time.
        while bench.now_us() < 70_000_000 {
            while asked - ended < 40 {
                bench.read(u64::from(asked) % SECTORS, 1);
                asked += 1;
            }
            for end in bench.turn(20_000) {
                assert_eq!(end.outcome, Outcome::Done);
                ended += 1;
            }
        }
        assert!(bench.disks[0].fails_soon());
        let times = bench.drive(|drive| drive.times(SMART));
        assert!((2..=3).contains(&times), "asked {times} times");
        assert_eq!(bench.drive(|drive| drive.resets), 0);
        bench.finish((asked - ended) as usize);
    }
}

#[test]
fn a_drive_without_smart_or_that_refuses_it_or_is_silent_is_not_asked_again() {
    let (mut refuses, mut silent) = (smart(true), smart(true));
    refuses.smart_is_refused = true;
    silent.smart_is_silent = true;
    let drives = [
        (DriveModel::new("S1", SECTORS), 0, 0),
        (refuses, 1, 0),
        (silent, 0, 1),
    ];
    for (drive, answered, resets) in drives {
        let mut bench = Bench::new(Settings::default(), [(0, drive)]);
        bench.wait(10_000_000);
        bench.write(5, 2, 9);
        assert!(
            bench
                .finish(1)
                .values()
                .all(|end| end.outcome == Outcome::Done)
        );
        bench.wait(150_000_000);
        assert_eq!(bench.drive(|drive| drive.times(SMART)), answered);
        assert_eq!(bench.drive(|drive| drive.resets), resets);
        assert!(!bench.disks[0].fails_soon());
    }
}

#[test]
fn a_drive_that_is_pulled_while_it_is_asked_is_missed_and_its_cache_doubted() {
    let mut bench = Bench::new(Settings::default(), [(0, smart(false))]);
    bench.wait(1_000_000);
    bench.write(1, 1, 3);
    bench.finish(1);
    bench.drive(|drive| drive.smart_is_silent = true);
    bench.wait(60_500_000);
    let mut drive = bench.model.unplug(0);
    bench.wait(3_000_000);
    bench.read(0, 1);
    let ends = bench.finish(1);
    assert_eq!(outcomes(&ends, Outcome::Fault), [0]);
    drive.smart_is_silent = false;
    bench.model.plug(0, drive);
    bench.wait(15_000_000);
    bench.flush();
    let ends = bench.finish(1);
    assert!(ends.values().all(|end| end.outcome == Outcome::Fault));
    bench.flush();
    let ends = bench.finish(1);
    assert!(ends.values().all(|end| end.outcome == Outcome::Done));
}
