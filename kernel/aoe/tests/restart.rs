//! What initiators had set before a restart of the target, taken back.

mod common;

use aoe::limits::{CONFIG_BYTES_MAX, MASKS_MAX, MEMBERS_MAX};
use aoe::{Mac, Policy};
use common::{Bench, Frame, HOST, OTHER, medium};

fn mac(number: usize) -> Mac {
    Mac([2, 1, 0, 0, (number >> 8) as u8, number as u8])
}

fn macs(count: usize) -> impl Iterator<Item = Mac> {
    (0..count).map(mac)
}

#[test]
fn what_was_set_is_there_again_and_is_no_change() {
    let mut bench = Bench::new();
    let target = &mut bench.target;
    target.restore(b"a text", [HOST, OTHER].into_iter(), [HOST].into_iter());
    assert_eq!(target.config_string(), b"a text");
    assert_eq!(target.masks(), [HOST, OTHER]);
    assert_eq!(target.edited_masks(), [HOST, OTHER]);
    assert_eq!(target.reservation(), [HOST]);
    assert_eq!(bench.changes(), []);
    // And it works: who is in neither list is neither seen nor served.
    assert!(
        bench
            .send(&Frame::read(0, 1).from(HOST))
            .answer()
            .refusal
            .is_none()
    );
    assert!(
        bench
            .send(&Frame::read(0, 1).from(OTHER))
            .answer()
            .refusal
            .is_some()
    );
}

#[test]
fn a_string_as_long_as_can_be_is_taken_back_and_a_longer_one_is_none() {
    for (bytes, kept) in [
        (CONFIG_BYTES_MAX, CONFIG_BYTES_MAX),
        (CONFIG_BYTES_MAX + 1, 0),
    ] {
        let mut bench = Bench::new();
        let none = || [].into_iter();
        bench.target.restore(&vec![b'c'; bytes], none(), none());
        assert_eq!(bench.target.config_string().len(), kept);
    }
}

#[test]
fn lists_are_taken_back_as_far_as_there_is_room_and_nobody_twice() {
    let mut bench = Bench::new();
    let twice = macs(MASKS_MAX + 9).flat_map(|mac| [mac, mac]);
    bench.target.restore(b"", twice, macs(MEMBERS_MAX + 9));
    assert!(bench.target.masks().iter().copied().eq(macs(MASKS_MAX)));
    assert!(
        bench
            .target
            .reservation()
            .iter()
            .copied()
            .eq(macs(MEMBERS_MAX))
    );
    // Again, shorter: a reservation is the one that is told, not both.
    let none = [].into_iter();
    bench.target.restore(b"", none, macs(2));
    assert!(bench.target.reservation().iter().copied().eq(macs(2)));
}

#[test]
fn entries_of_the_operator_stay_in_front_of_those_taken_back() {
    let policy = Policy {
        masks: &[OTHER],
        ..Policy::default()
    };
    let mut bench = Bench::with(medium(), policy);
    let none = [].into_iter();
    bench.target.restore(b"", [OTHER, HOST].into_iter(), none);
    assert_eq!(bench.target.masks(), [OTHER, HOST]);
    assert_eq!(bench.target.edited_masks(), [HOST]);
}
