//! Drives that are pulled and put back.

use super::*;

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
