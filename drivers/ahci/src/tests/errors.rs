//! Drives that refuse, hang, garble and lie: the one request fails, and no other.

use super::*;

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

#[test]
fn a_reset_stands_as_long_as_it_must_wherever_the_clock_is_when_it_begins() {
    for phase_us in 0..8 {
        let mut bench = Bench::one(Settings {
            clock_us: 1,
            ..Settings::default()
        });
        bench.drive(|drive| drive.garbled.insert(5, 1));
        bench.model.elapse(phase_us);
        bench.read(5, 1);
        let before = bench.drive(|drive| drive.resets);
        while bench.drive(|drive| drive.resets) == before {
            assert!(bench.turn(20).is_empty());
        }
        // The model objects to a shorter one. Who comes late does not notice, so from
        // here on nobody waits.
        let ended = (0..10_000).find_map(|_| bench.turn(0).pop());
        assert_eq!(ended.map(|ended| ended.outcome), Some(Outcome::Done));
    }
}
