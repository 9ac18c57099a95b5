//! What a drive says of its own health.

use super::*;

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
