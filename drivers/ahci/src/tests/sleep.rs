//! A node that sleeps between requests.

use super::*;

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

#[test]
fn a_node_does_not_sleep_over_an_answer_that_is_ahead_of_its_register() {
    let mut bench = Bench::one(Settings::default());
    bench.read(7, 1);
    bench.turn(0);
    bench.model.elapse(1000);
    // Its FIS lies in memory; the bit falls behind the next read of its register.
    assert!(
        bench.disks[0].arm(),
        "its interrupt is gone with the others"
    );
    let all = bench.finish(1);
    assert_eq!(outcomes(&all, Outcome::Done), [7]);
}
