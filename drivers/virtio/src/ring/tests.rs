//! The driver's half of a ring against the device's.

extern crate std;
use super::*;
use crate::model::{Device, Machine, Profile, Random, Registers};
use crate::transport::feature as feature_bits;
use crate::transport::{Transport, has_reset, negotiate, ring, run};
use crate::{DeviceId, Resources};
use std::vec;
use std::vec::Vec;

struct Bench<const IN_TURN: bool = false> {
    machine: Machine,
    device: Device,
    registers: Registers,
    ring: Ring<usize, IN_TURN>,
}

/// A running device with one ring that the test drives itself.
fn bench(queue_max: u16, event_idx: bool, indirect: bool) -> Bench {
    bench_of(queue_max, 1, event_idx, indirect)
}

/// As [`bench`], with chains of up to `pieces` descriptors.
fn bench_of<const IN_TURN: bool>(
    queue_max: u16,
    pieces: u16,
    event_idx: bool,
    indirect: bool,
) -> Bench<IN_TURN> {
    let mut machine = Machine::new(io::FRAMES_MAX);
    let mut profile = Profile::new(DeviceId::BLOCK, vec![]);
    profile.queue_max = queue_max;
    profile.serial = None;
    if !event_idx {
        profile.features &= !feature_bits::EVENT_IDX;
    }
    if !indirect {
        profile.features &= !feature_bits::INDIRECT_DESC;
    }
    let (device, mut registers) = machine.device(profile);
    let features = negotiate(&mut registers, |offered| offered, &machine).expect("agrees");
    assert_eq!(features & feature_bits::EVENT_IDX != 0, event_idx);
    let ring = ring(&mut registers, 0, 1024, pieces, event_idx, &mut machine).expect("has one");
    run(&mut registers);
    Bench {
        machine,
        device,
        registers,
        ring,
    }
}

/// All behind the notes.
const WHOLE: [Piece; 1] = [Piece {
    at: NET_HEADER,
    bytes: SLOT_BYTES - NET_HEADER,
    device_writes: true,
}];

impl<const IN_TURN: bool> Bench<IN_TURN> {
    fn kick(&mut self) {
        if self.ring.publish() {
            self.registers.notify(0);
        }
        self.device.check_kick(0);
    }
}

#[test]
fn an_index_passes_exactly_the_events_it_went_over() {
    for before in [0u16, 1, 7, 0x7fff, 0x8000, 0xfffa, 0xffff] {
        for added in 0u16..=20 {
            let after = before.wrapping_add(added);
            let over: Vec<u16> = (0..added).map(|step| before.wrapping_add(step)).collect();
            for event in 0..=u16::MAX {
                assert_eq!(
                    passes(event, before, after),
                    over.contains(&event),
                    "event {event}, from {before} to {after}"
                );
            }
        }
    }
}

/// 160,000 frames in batches of four, so the index wraps twice; the device
/// falls asleep after every batch.
fn batches(event_idx: bool, indirect: bool) {
    let mut bench = bench(256, event_idx, indirect);
    let mut frames = bench.machine.carve(4);
    for batch in 0..40_000 {
        while let Some(frame) = frames.pop() {
            let number = frames.len();
            if indirect {
                bench.ring.push_indirect(frame, number, &WHOLE, 0);
            } else {
                bench.ring.push(frame, number, &WHOLE);
            }
        }
        bench.kick();
        assert_eq!(
            bench.device.doorbells(),
            batch + 1,
            "one for an idle device"
        );
        assert_eq!(bench.device.fetch(0, usize::MAX), 4);
        for _ in 0..4 {
            bench.device.complete(0, 0, batch as u32);
        }
        while let Some(returned) = bench.ring.pop() {
            assert_eq!(returned.written, batch as u32);
            frames.push(returned.frame);
        }
        assert_eq!(frames.len(), 4);
    }
    assert_eq!(bench.ring.broken(), None);
    assert_eq!(bench.ring.room(), 256);
    assert_eq!(bench.device.interrupts(0), if event_idx { 2 } else { 0 });
}

#[test]
fn batch_across_index_65535_still_rings() {
    batches(true, false);
}

#[test]
fn batch_across_index_65535_still_rings_without_event_index() {
    batches(false, false);
}

#[test]
fn batch_across_index_65535_still_rings_with_indirect_tables() {
    batches(true, true);
}

#[test]
fn a_device_that_is_awake_is_not_rung() {
    for event_idx in [true, false] {
        let mut bench = bench(256, event_idx, false);
        let mut frames = bench.machine.carve(64);
        let mut frame = || frames.pop().expect("enough");
        bench.ring.push(frame(), 0, &WHOLE);
        bench.ring.push(frame(), 0, &WHOLE);
        bench.kick();
        assert_eq!(bench.device.fetch(0, 1), 1, "one is left, so it is awake");
        for _ in 0..10 {
            bench.ring.push(frame(), 0, &WHOLE);
            bench.kick();
        }
        assert_eq!(bench.device.doorbells(), 1, "event index: {event_idx}");
        assert_eq!(bench.device.fetch(0, usize::MAX), 12);
        bench.ring.push(frame(), 0, &WHOLE);
        bench.kick();
        assert_eq!(bench.device.doorbells(), 2, "it slept");
    }
}

/// The device on a processor of its own: it falls asleep again and again just
/// when the next frame is published.
#[test]
fn a_kick_is_not_lost_to_a_device_that_falls_asleep_meanwhile() {
    const FRAMES: u32 = 300_000;
    let patience = std::time::Duration::from_secs(20);
    let mut bench = bench(16, true, false);
    let mut frame = bench.machine.carve(1).remove(0);
    let ring = &mut bench.ring;
    let (available, heads) = (ring.available, ring.heads.shared());
    let event = ring.available_event;
    let (used, elements) = (ring.used, ring.used_elements.shared());
    let (doorbell, over) = (&AtomicU32::new(0), &AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut seen = 0u16;
            while over.load(Relaxed) == 0 {
                if doorbell.swap(0, Acquire) == 0 {
                    std::thread::yield_now();
                    continue;
                }
                loop {
                    // The device needs as long as the driver, now a little
                    // less, now a little more: so that they meet.
                    for step in 0..seen % 97 {
                        std::hint::black_box(step);
                    }
                    if available[INDEX].load(Acquire) == seen {
                        event.store(seen, Relaxed);
                        fence(SeqCst);
                        if available[INDEX].load(Acquire) == seen {
                            break;
                        }
                    }
                    let slot = usize::from(seen % 16);
                    let head = heads[slot].load(Relaxed);
                    elements[slot][0].store(head.into(), Relaxed);
                    seen = seen.wrapping_add(1);
                    used[INDEX].store(seen, Release);
                }
            }
        });
        let mut lost = 0;
        for _ in 0..FRAMES {
            ring.push(frame, 0, &WHOLE);
            if ring.publish() {
                doorbell.store(1, Release);
            }
            let since = std::time::Instant::now();
            frame = loop {
                if let Some(returned) = ring.pop() {
                    break returned.frame;
                }
                std::thread::yield_now();
                if since.elapsed() > patience {
                    // Ring for it, so that the test ends.
                    doorbell.store(1, Release);
                    lost = 1;
                }
            };
            if lost > 0 {
                break;
            }
        }
        over.store(1, Relaxed);
        assert_eq!(lost, 0, "a kick was lost");
    });
}

#[test]
fn nothing_new_never_rings() {
    let mut bench = bench(256, false, false);
    assert!(!bench.ring.publish());
    let frame = bench.machine.carve(1).remove(0);
    bench.ring.push(frame, 0, &WHOLE);
    assert!(bench.ring.publish());
    assert!(!bench.ring.publish());
}

#[test]
fn every_frame_comes_back_with_its_mark_in_whatever_order_the_device_likes() {
    in_whatever_order::<false>(1, 3, false);
    in_whatever_order::<false>(2, 1, true);
    in_whatever_order::<true>(3, 1, false);
    in_whatever_order::<true>(4, 2, false);
    in_whatever_order::<true>(5, 1, true);
}

fn in_whatever_order<const IN_TURN: bool>(seed: u64, most: u16, indirect: bool) {
    let mut random = Random(seed);
    let mut bench: Bench<IN_TURN> = bench_of(64, most, true, indirect);
    assert_eq!(bench.ring.chains(), 64 / most);
    let mut ours: Vec<Frame> = bench.machine.carve(80);
    let mut expected = vec![None; 80];
    let mut number = 0;
    for _ in 0..5_000 {
        for _ in 0..random.below(8) {
            let pieces = 1 + random.below(if indirect { 3 } else { most.into() });
            if !bench.ring.has_room() || ours.is_empty() {
                break;
            }
            let frame = ours.swap_remove(random.below(ours.len()));
            let slot = expected.iter().position(Option::is_none).expect("80");
            expected[slot] = Some((frame.bus_address(), number));
            let pieces: Vec<Piece> = (0..pieces)
                .map(|piece| Piece {
                    at: 512 + piece * 512,
                    bytes: 1 + random.below(512),
                    device_writes: piece > 0,
                })
                .collect();
            if indirect {
                bench.ring.push_indirect(frame, slot, &pieces, 16);
            } else {
                bench.ring.push(frame, slot, &pieces);
            }
            number += 1;
        }
        bench.kick();
        let in_hand = bench.device.fetch(0, random.below(10));
        for left in (0..in_hand).rev().take(random.below(10)) {
            bench.device.complete(0, random.below(left + 1), 7);
        }
        for _ in 0..random.below(10) {
            let Some(returned) = bench.ring.pop() else {
                break;
            };
            let mark = *bench.ring.mark(&returned);
            let (address, _) = expected[mark].take().expect("was lent");
            assert_eq!(returned.frame.bus_address(), address);
            ours.push(returned.frame);
        }
        assert_eq!(ours.len() + usize::from(bench.ring.lent()), 80);
    }
    assert!(number > 10_000, "{number} frames moved");
    assert_eq!(bench.ring.broken(), None);
}

#[test]
fn a_wish_brings_exactly_one_interrupt_and_no_wish_brings_none() {
    for event_idx in [true, false] {
        let mut bench = bench(256, event_idx, false);
        let mut frames = bench.machine.carve(2);
        let mut expected = 0;
        for round in 0..70_000 {
            while let Some(frame) = frames.pop() {
                bench.ring.push(frame, 0, &WHOLE);
            }
            bench.kick();
            bench.device.fetch(0, usize::MAX);
            let wish = round % 3 != 0;
            if wish {
                assert!(!bench.ring.arm(), "nothing is there");
                expected += 1;
            }
            bench.device.complete(0, 0, 0);
            assert_eq!(bench.device.interrupts(0), expected, "round {round}");
            if wish {
                assert!(bench.ring.arm(), "something is there");
                bench.ring.disarm();
            } else if event_idx && bench.device.interrupts(0) > expected {
                unreachable!("an index passed long ago wraps after 65,535 only");
            }
            bench.device.complete(0, 0, 0);
            assert_eq!(bench.device.interrupts(0), expected, "round {round}");
            while let Some(returned) = bench.ring.pop() {
                frames.push(returned.frame);
            }
            assert_eq!(frames.len(), 2);
        }
    }
}

#[test]
fn what_was_popped_only_in_part_keeps_the_node_awake() {
    let mut bench = bench(16, true, false);
    for frame in bench.machine.carve(2) {
        bench.ring.push(frame, 0, &WHOLE);
    }
    bench.kick();
    bench.device.fetch(0, usize::MAX);
    bench.device.complete(0, 0, 0);
    bench.device.complete(0, 0, 0);
    assert!(bench.ring.pop().is_some());
    assert!(bench.ring.arm());
    assert!(bench.ring.pop().is_some());
    assert!(!bench.ring.arm());
}

/// Two frames lent and published, one pushed only; the device commits the
/// fault; then all frames come back by a reset, and not earlier.
fn broken_by(fault: impl Fn(&Device), how: Broken) {
    let mut bench = bench(16, true, false);
    for frame in bench.machine.carve(2) {
        bench.ring.push(frame, 1, &WHOLE);
    }
    bench.kick();
    bench.device.fetch(0, usize::MAX);
    let unpublished = bench.machine.carve(1).remove(0);
    bench.ring.push(unpublished, 2, &WHOLE);
    fault(&bench.device);
    let mut back = 0;
    while bench.ring.pop().is_some() {
        back += 1;
    }
    assert_eq!(bench.ring.broken(), Some(how));
    bench.device.put_used(0, 1, 0);
    assert!(bench.ring.pop().is_none(), "nothing more from this ring");
    assert!(!bench.ring.publish(), "nothing more into this ring");
    assert!(!bench.ring.arm());
    bench
        .registers
        .set_status(crate::transport::Status::empty());
    let silent = has_reset(&bench.registers).expect("it was reset");
    while bench.ring.reclaim(&silent).is_some() {
        back += 1;
    }
    assert_eq!(back, 3, "no frame is lost");
    assert_eq!(bench.ring.lent(), 0);
}

#[test]
fn an_id_outside_of_the_ring_breaks_it() {
    broken_by(|device| device.put_used(0, 16, 0), Broken::Id);
    broken_by(|device| device.put_used(0, u32::MAX, 0), Broken::Id);
    broken_by(|device| device.put_used(0, 0x1_0000, 0), Broken::Id);
}

#[test]
fn an_id_that_is_not_lent_breaks_it() {
    broken_by(|device| device.put_used(0, 9, 0), Broken::Id);
}

#[test]
fn an_id_that_is_not_published_breaks_it() {
    broken_by(|device| device.put_used(0, 2, 0), Broken::Id);
}

#[test]
fn an_id_that_is_returned_twice_breaks_it() {
    let twice = |device: &Device| {
        device.put_used(0, 0, 0);
        device.put_used(0, 0, 0);
    };
    broken_by(twice, Broken::Id);
}

#[test]
fn an_index_beyond_what_was_published_breaks_it() {
    broken_by(|device| device.set_used_index(0, 3), Broken::Index);
    broken_by(|device| device.set_used_index(0, 0x8000), Broken::Index);
    broken_by(|device| device.set_used_index(0, 0xffff), Broken::Index);
}

#[test]
fn parts_of_a_ring_lie_where_the_interface_before_1_0_wants_them() {
    // virtio 1.2, 2.7.2, worked out by hand for 256 and for 4 entries.
    assert_eq!(
        Layout::of(256),
        Layout {
            size: 256,
            available: 4096,
            available_end: 4096 + 518,
            used: 8192,
            bytes: 8192 + 2054,
        }
    );
    assert_eq!(
        Layout::of(4),
        Layout {
            size: 4,
            available: 64,
            available_end: 78,
            used: 4096,
            bytes: 4096 + 38,
        }
    );
}

#[test]
#[should_panic(expected = "do not lie in a slot")]
fn a_piece_that_ends_behind_the_slot_is_a_broken_invariant() {
    let mut bench = bench(16, true, false);
    let frame = bench.machine.carve(1).remove(0);
    let piece = Piece {
        at: SLOT_BYTES - 7,
        bytes: 8,
        device_writes: true,
    };
    bench.ring.push(frame, 0, &[piece]);
}

#[test]
#[should_panic(expected = "clear of its notes")]
fn a_piece_that_reaches_into_the_notes_is_a_broken_invariant() {
    let mut bench = bench(16, true, false);
    let frame = bench.machine.carve(1).remove(0);
    let piece = Piece {
        at: SCRATCH_BYTES - 7,
        bytes: 8,
        device_writes: true,
    };
    bench.ring.push(frame, 0, &[piece]);
}

#[test]
#[should_panic(expected = "2 pieces, where a chain has 1")]
fn a_chain_longer_than_any_is_a_broken_invariant() {
    let mut bench = bench(1, true, false);
    let frame = bench.machine.carve(1).remove(0);
    bench.ring.push(frame, 0, &[WHOLE[0], WHOLE[0]]);
}

#[test]
#[should_panic(expected = "a ring without room")]
fn a_frame_more_than_the_room_is_a_broken_invariant() {
    let mut bench = bench(2, true, false);
    for frame in bench.machine.carve(3) {
        bench.ring.push(frame, 0, &WHOLE);
    }
}

#[test]
#[should_panic(expected = "too small or not aligned")]
fn memory_smaller_than_the_ring_is_a_broken_invariant() {
    let mut machine = Machine::new(1);
    let bytes = Layout::of(16).bytes;
    let memory = machine.dma(bytes - 1, ALIGN).expect("lent");
    Ring::<(), false>::new(memory, 16, 1, true);
}

#[test]
fn a_ring_of_one_entry_works() {
    let mut bench = bench(1, true, false);
    let mut frame = bench.machine.carve(1).remove(0);
    for _ in 0..3 {
        bench.ring.push(frame, 0, &WHOLE);
        assert_eq!(bench.ring.room(), 0);
        bench.kick();
        assert_eq!(bench.device.fetch(0, 5), 1);
        bench.device.complete(0, 0, 0);
        frame = bench.ring.pop().expect("returned").frame;
    }
}
