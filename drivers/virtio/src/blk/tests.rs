//! The driver against the model of a disk.

extern crate std;

mod through;

use super::*;
use crate::model::{Device, Machine, Profile, Random, Registers};
use io::{DiscardLimits, WriteCache};
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

const SECTORS: u64 = 4096;

fn profile(features: u64) -> Profile {
    let mut config = vec![0; 60];
    config[..8].copy_from_slice(&SECTORS.to_le_bytes());
    config[20..24].copy_from_slice(&512u32.to_le_bytes());
    config[24] = 3;
    config[32] = 1;
    config[36..40].copy_from_slice(&1000u32.to_le_bytes());
    let mut profile = Profile::new(DeviceId::BLOCK, config);
    profile.features |= features;
    profile
}

fn start(profile: Profile, frames: usize) -> (Machine, Device, Blk<Registers>) {
    let mut machine = Machine::new(frames);
    let (device, registers) = machine.device(profile);
    let disk = Blk::new(registers, &mut machine, "00:04.0 virtio-blk").expect("it starts");
    (machine, device, disk)
}

fn refused(profile: Profile) -> Error {
    let mut machine = Machine::new(4);
    let (device, registers) = machine.device(profile);
    let error = Blk::new(registers, &mut machine, "x").err();
    assert!(
        !device
            .status()
            .contains(crate::transport::Status::DRIVER_OK)
    );
    error.expect("it does not start")
}

fn request(op: Op, lba: u64, sectors: u32, ticket: u32) -> Request {
    Request {
        op,
        lba,
        sectors,
        data: 36,
        ticket,
    }
}

/// What the disk was asked: kind, sector, and what comes with it.
fn asked(device: &Device, number: usize) -> (u32, u64, Vec<u8>) {
    let bytes = device.read(QUEUE, number);
    let kind = u32::from_le_bytes(bytes[..4].try_into().expect("four"));
    assert_eq!(bytes[4..8], [0; 4]);
    let sector = u64::from_le_bytes(bytes[8..16].try_into().expect("eight"));
    (kind, sector, bytes[16..].to_vec())
}

/// The disk answers request `number` as it should.
fn serve(device: &Device, number: usize, medium: &mut BTreeMap<u64, [u8; 512]>) {
    let (kind, sector, data) = asked(device, number);
    let mut written = 1;
    match kind {
        READ => {
            let room = device.room(QUEUE, number) - 1;
            assert_eq!(room % 512, 0);
            for (at, sector) in (0..room).step_by(512).zip(sector..) {
                let bytes = medium.get(&sector).copied().unwrap_or([0; 512]);
                device.write(QUEUE, number, at, &bytes);
            }
            written += room;
        }
        WRITE => {
            for (sector, bytes) in (sector..).zip(data.chunks(512)) {
                medium.insert(sector, bytes.try_into().expect("whole sectors"));
            }
        }
        DO_FLUSH => assert!(data.is_empty() && sector == 0),
        DO_DISCARD => {
            assert_eq!(data.len(), 16);
            let first = u64::from_le_bytes(data[..8].try_into().expect("eight"));
            let count = u32::from_le_bytes(data[8..12].try_into().expect("four"));
            assert_eq!(data[12..], [0; 4]);
            for sector in first..first + u64::from(count) {
                medium.remove(&sector);
            }
        }
        other => panic!("request of kind {other}"),
    }
    device.write(QUEUE, number, written - 1, &[OK]);
    device.complete(QUEUE, number, written as u32);
}

fn one(disk: &mut Blk<Registers>, device: &Device, request: Request, frame: Frame) {
    disk.submit(request, frame);
    disk.kick();
    device.check_kick(QUEUE);
    assert_eq!(device.fetch(QUEUE, usize::MAX), 1);
}

const ALL: u64 = READ_ONLY | BLK_SIZE | FLUSH | TOPOLOGY | CONFIG_WCE | DISCARD;

#[test]
fn a_disk_says_what_it_is() {
    let (_, device, disk) = start(profile(ALL | 1 << 12), 8);
    let geometry = Geometry {
        sectors: SECTORS,
        physical_exponent: 3,
        alignment_offset: 0,
        read_only: true,
        write_cache: WriteCache::Volatile,
        discard: Some(DiscardLimits { sectors_max: 1000 }),
    };
    assert_eq!(disk.geometry(), &geometry);
    assert_eq!(disk.identity().serial.as_str(), "MODEL-SERIAL");
    assert_eq!(disk.name(), "00:04.0 virtio-blk");
    assert_eq!(device.accepted() & (1 << 12), 0, "one queue is enough");
    let (_, _, plain) = start(profile(0), 8);
    let geometry = Geometry {
        sectors: SECTORS,
        physical_exponent: 0,
        alignment_offset: 0,
        read_only: false,
        write_cache: WriteCache::None,
        discard: None,
    };
    assert_eq!(plain.geometry(), &geometry);
}

#[test]
fn a_cache_is_volatile_unless_the_disk_says_writethrough() {
    let cache = |features, writeback| {
        let mut profile = profile(features);
        profile.config[32] = writeback;
        start(profile, 4).2.geometry().write_cache
    };
    assert_eq!(cache(FLUSH, 0), WriteCache::Volatile);
    assert_eq!(cache(FLUSH | CONFIG_WCE, 1), WriteCache::Volatile);
    assert_eq!(cache(FLUSH | CONFIG_WCE, 0), WriteCache::None);
    assert_eq!(cache(0, 1), WriteCache::None);
}

#[test]
fn alignment_is_turned_into_atas_way_of_counting() {
    assert_eq!(geometry::topology(3, 0), (3, 0));
    assert_eq!(
        geometry::topology(3, 1),
        (3, 7),
        "sector 0 is the last of a block"
    );
    assert_eq!(geometry::topology(3, 7), (3, 1));
    assert_eq!(geometry::topology(3, 8), (3, 0), "advice without sense");
    assert_eq!(geometry::topology(0, 0), (0, 0));
    assert_eq!(geometry::topology(15, 1), (15, 32767));
    assert_eq!(geometry::topology(16, 1), (0, 0));
    assert_eq!(geometry::topology(255, 255), (0, 0));
}

#[test]
fn a_disk_that_does_not_say_who_it_is_is_served_without_a_serial_number() {
    let mut mute = profile(0);
    mute.serial = None;
    let (machine, device, mut disk) = start(mute, 8);
    assert!(disk.identity().serial.is_empty());
    // The question is still there and is answered late: nobody sees it.
    assert_eq!(device.fetch(QUEUE, usize::MAX), 1);
    device.write(QUEUE, 0, 20, &[OK]);
    device.complete(QUEUE, 0, 21);
    assert!(disk.poll_done().is_none());
    let frame = machine.carve(1).remove(0);
    one(&mut disk, &device, request(Op::Read, 0, 1, 1), frame);
}

#[test]
fn what_is_written_is_what_the_disk_gets_and_what_it_reads_is_what_we_get() {
    for indirect in [true, false] {
        let mut profile = profile(ALL & !READ_ONLY);
        if !indirect {
            profile.features &= !feature::INDIRECT_DESC;
        }
        let (machine, device, mut disk) = start(profile, 8);
        let mut medium = BTreeMap::new();
        for (data, sectors) in [(36, 1), (40, 2), (36, 17)] {
            let bytes = sectors as usize * 512;
            let pattern: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
            let write = Request {
                data,
                ..request(Op::Write, 100, sectors, 9)
            };
            let mut frame = machine.carve(1).remove(0);
            let data = usize::from(data);
            frame.buffer_mut()[data..data + bytes].copy_from_slice(&pattern);
            one(&mut disk, &device, write, frame);
            assert_eq!(asked(&device, 0), (WRITE, 100, pattern.clone()));
            let address = disk.lent(9, Frame::bus_address);
            assert_eq!(address.map(|address| address % 512), Some(0));
            serve(&device, 0, &mut medium);
            let mut done = disk.poll_done().expect("done");
            assert_eq!((done.ticket, done.outcome), (write.ticket, Outcome::Done));
            assert!(disk.lent(9, |_| ()).is_none());
            done.frame.buffer_mut().fill(0);
            let read = Request {
                op: Op::Read,
                ..write
            };
            one(&mut disk, &device, read, done.frame);
            serve(&device, 0, &mut medium);
            let mut done = disk.poll_done().expect("done");
            assert_eq!((done.ticket, done.outcome), (read.ticket, Outcome::Done));
            assert_eq!(done.frame.buffer_mut()[data..data + bytes], pattern);
            assert!(
                done.frame.buffer_mut()[..data]
                    .iter()
                    .all(|&byte| byte == 0)
            );
            assert!(
                done.frame.buffer_mut()[data + bytes..]
                    .iter()
                    .all(|&byte| byte == 0)
            );
        }
    }
}

#[test]
fn a_request_has_one_descriptor_with_tables_and_three_without() {
    let pieces = |features, op| {
        let mut profile = profile(FLUSH | DISCARD);
        profile.features &= !feature::INDIRECT_DESC;
        profile.features |= features;
        let (machine, device, mut disk) = start(profile, 8);
        let frame = machine.carve(1).remove(0);
        one(&mut disk, &device, request(op, 5, 1, 0), frame);
        (
            disk.ring.place().size / disk.ring.chains(),
            device.in_hand(QUEUE)[0].pieces.len(),
        )
    };
    assert_eq!(pieces(feature::INDIRECT_DESC, Op::Read), (1, 3));
    assert_eq!(pieces(0, Op::Read), (3, 3));
    assert_eq!(pieces(feature::INDIRECT_DESC, Op::Flush), (1, 2));
    assert_eq!(pieces(0, Op::Flush), (3, 2));
    assert_eq!(pieces(0, Op::Discard), (3, 3));
}

#[test]
fn a_discard_names_its_range_and_needs_no_data() {
    let (machine, device, mut disk) = start(profile(DISCARD), 8);
    let frame = machine.carve(1).remove(0);
    let discard = request(Op::Discard, 1 << 40, 999, 3);
    one(&mut disk, &device, discard, frame);
    let (kind, sector, range) = asked(&device, 0);
    assert_eq!((kind, sector), (DO_DISCARD, 0));
    assert_eq!(range[..8], (1u64 << 40).to_le_bytes());
    assert_eq!(range[8..], [0xe7, 3, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_flush_ends_at_once_where_nothing_is_volatile_and_a_discard_where_it_is_unknown() {
    let (machine, device, mut disk) = start(profile(0), 8);
    for (op, outcome) in [
        (Op::Flush, Outcome::Done),
        (Op::Discard, Outcome::Unsupported),
    ] {
        disk.submit(request(op, 0, 1, 4), machine.carve(1).remove(0));
        assert!(disk.lent(4, |_| ()).is_some());
        assert!(disk.arm(), "it waits to be polled");
        assert_eq!(disk.poll_done().map(|done| done.outcome), Some(outcome));
    }
    disk.kick();
    assert_eq!(device.fetch(QUEUE, usize::MAX), 0);
}

#[test]
fn every_status_has_its_outcome() {
    let (machine, device, mut disk) = start(profile(FLUSH | DISCARD), 8);
    let mut outcome = |op, status: u8| {
        let frame = machine.carve(1).remove(0);
        one(&mut disk, &device, request(op, 0, 1, 0), frame);
        loop {
            let room = device.room(QUEUE, 0);
            device.write(QUEUE, 0, room - 1, &[status]);
            device.complete(QUEUE, 0, room as u32);
            if let Some(done) = disk.poll_done() {
                return done.outcome;
            }
            // It is tried once more.
            disk.kick();
            assert_eq!(device.fetch(QUEUE, usize::MAX), 1);
        }
    };
    for op in [Op::Read, Op::Write, Op::Flush, Op::Discard] {
        assert_eq!(outcome(op, 0), Outcome::Done);
        assert_eq!(outcome(op, 2), Outcome::Unsupported);
        for status in 3..=255 {
            assert_eq!(outcome(op, status), Outcome::Fault, "{op:?} {status}");
        }
    }
    assert_eq!(outcome(Op::Read, 1), Outcome::Medium);
    assert_eq!(outcome(Op::Write, 1), Outcome::Medium);
    assert_eq!(outcome(Op::Flush, 1), Outcome::Fault);
    assert_eq!(outcome(Op::Discard, 1), Outcome::Fault);
}

/// Every request that the disk has goes wrong if `is_bad` says so of its sector,
/// and with it all others that the disk has at the time.
fn serve_merged(device: &Device, is_bad: impl Fn(u64) -> bool) -> usize {
    let count = device.fetch(QUEUE, usize::MAX);
    let bad = (0..count).any(|number| is_bad(asked(device, number).1));
    for _ in 0..count {
        let room = device.room(QUEUE, 0);
        let status = if bad { IO_ERROR } else { OK };
        device.write(QUEUE, 0, room - 1, &[status]);
        device.complete(QUEUE, 0, room as u32);
    }
    count
}

/// 40 writes, and the disk makes one of all that it finds. Returns the sectors
/// whose writes failed, and how many requests the disk has seen.
fn merged(is_bad: impl Fn(u64) -> bool) -> (Vec<u64>, usize) {
    const COUNT: usize = 40;
    let (machine, device, mut disk) = start(profile(0), 64);
    let capacity = disk.backlog.capacity();
    for (number, frame) in (0..).zip(machine.carve(COUNT)) {
        disk.submit(request(Op::Write, number, 1, number as u32), frame);
    }
    let (mut seen, mut back, mut failed) = (0, 0, vec![]);
    while back < COUNT {
        disk.kick();
        device.check_kick(QUEUE);
        let count = serve_merged(&device, &is_bad);
        assert!(count > 0, "somebody waits, and the disk has nothing");
        seen += count;
        while let Some(done) = disk.poll_done() {
            back += 1;
            if done.outcome == Outcome::Medium {
                failed.push(done.ticket.into());
            }
        }
    }
    assert_eq!(disk.backlog.capacity(), capacity, "lists never grow");
    assert_eq!((disk.suspects, disk.alone, disk.ring.lent()), (0, false, 0));
    failed.sort_unstable();
    (failed, seen)
}

#[test]
fn of_requests_that_a_hypervisor_made_one_only_the_bad_one_fails() {
    for bad in [0, 17, 39] {
        assert_eq!(merged(|sector| sector == bad), (vec![bad], 80));
    }
    assert_eq!(merged(|_| false), (vec![], 40));
}

#[test]
fn a_disk_on_which_everything_fails_is_not_asked_for_each_request_again() {
    let (failed, seen) = merged(|_| true);
    assert_eq!(failed.len(), 40);
    assert_eq!(seen, 40 + usize::from(GUILTY_MAX));
}

#[test]
fn requests_that_come_while_a_suspect_is_alone_wait_for_it() {
    let (machine, device, mut disk) = start(profile(0), 8);
    let mut frames = machine.carve(3);
    one(
        &mut disk,
        &device,
        request(Op::Write, 5, 1, 0),
        frames.remove(0),
    );
    device.write(QUEUE, 0, 0, &[IO_ERROR]);
    device.complete(QUEUE, 0, 1);
    assert!(disk.poll_done().is_none());
    disk.submit(request(Op::Write, 6, 1, 1), frames.remove(0));
    disk.kick();
    disk.submit(request(Op::Write, 7, 1, 2), frames.remove(0));
    disk.kick();
    assert_eq!(device.fetch(QUEUE, usize::MAX), 1);
    assert_eq!(asked(&device, 0).1, 5);
    serve(&device, 0, &mut BTreeMap::new());
    let done = disk.poll_done().map(|done| (done.ticket, done.outcome));
    assert_eq!(done, Some((0, Outcome::Done)));
    disk.kick();
    assert_eq!(device.fetch(QUEUE, usize::MAX), 2);
}

#[test]
fn a_suspect_that_ends_behind_a_reset_does_not_open_the_disk_again() {
    let (machine, device, mut disk) = start(profile(0), 8);
    let mut frames = machine.carve(2);
    let first = request(Op::Write, 5, 1, 0);
    one(&mut disk, &device, first, frames.remove(0));
    device.write(QUEUE, 0, 0, &[IO_ERROR]);
    device.complete(QUEUE, 0, 1);
    assert!(disk.poll_done().is_none());
    disk.kick();
    assert_eq!(device.fetch(QUEUE, usize::MAX), 1);
    serve(&device, 0, &mut BTreeMap::new());
    device.set_never_resets(true);
    device.need_reset();
    disk.tick(Instant(1));
    let done = disk.poll_done().map(|done| (done.ticket, done.outcome));
    assert_eq!(done, Some((0, Outcome::Done)));
    disk.submit(request(Op::Write, 6, 1, 1), frames.remove(0));
    let done = disk.poll_done().map(|done| (done.ticket, done.outcome));
    assert_eq!(done, Some((1, Outcome::Fault)), "it is out of service");
}

#[test]
fn a_disk_that_gives_up_lets_go_of_suspects() {
    let (machine, device, mut disk) = start(profile(0), 8);
    for (ticket, frame) in (0..3).zip(machine.carve(3)) {
        disk.submit(request(Op::Write, ticket.into(), 1, ticket), frame);
    }
    disk.kick();
    serve_merged(&device, |_| true);
    assert!(disk.poll_done().is_none());
    disk.kick();
    device.need_reset();
    disk.tick(Instant(1));
    disk.tick(Instant(2));
    for _ in 0..3 {
        assert_eq!(
            disk.poll_done().map(|done| done.outcome),
            Some(Outcome::Fault)
        );
    }
    assert!(disk.poll_done().is_none());
}

#[test]
fn a_request_that_comes_back_without_an_answer_is_a_fault() {
    let (machine, device, mut disk) = start(profile(0), 8);
    for op in [Op::Read, Op::Write] {
        let mut frame = machine.carve(1).remove(0);
        frame.scratch_mut().fill(0);
        one(&mut disk, &device, request(op, 0, 1, 0), frame);
        device.complete(QUEUE, 0, 513);
        let done = disk.poll_done().expect("done");
        assert_eq!(done.outcome, Outcome::Fault);
    }
}

#[test]
fn a_read_that_wrote_too_little_is_a_fault_unless_the_disk_is_too_old_to_say() {
    for (legacy, written, outcome) in [
        (false, 513, Outcome::Done),
        (false, 512, Outcome::Fault),
        (false, 0, Outcome::Fault),
        (true, 0, Outcome::Done),
    ] {
        let mut profile = profile(0);
        profile.legacy = legacy;
        if legacy {
            profile.features &= 0xffff_ffff;
        }
        let (machine, device, mut disk) = start(profile, 8);
        let frame = machine.carve(1).remove(0);
        one(&mut disk, &device, request(Op::Read, 0, 1, 0), frame);
        device.write(QUEUE, 0, 512, &[OK]);
        device.complete(QUEUE, 0, written);
        let done = disk.poll_done().expect("done");
        assert_eq!(done.outcome, outcome, "{written} bytes, legacy {legacy}");
    }
}

#[test]
fn a_thousand_requests_wait_for_a_ring_of_4_and_reach_the_disk_in_order() {
    for (indirect, event_idx, seed) in [
        (true, true, 1),
        (true, false, 2),
        (false, true, 3),
        (false, false, 4),
    ] {
        let mut small = profile(FLUSH | DISCARD);
        small.queue_max = 4;
        if !indirect {
            small.features &= !feature::INDIRECT_DESC;
        }
        if !event_idx {
            small.features &= !feature::EVENT_IDX;
        }
        let mut random = Random(seed);
        let (machine, device, mut disk) = start(small, 1024);
        let (backlog, ended) = (disk.backlog.capacity(), disk.ended.capacity());
        let mut medium = BTreeMap::new();
        let mut ours = machine.carve(1024);
        let (mut next, mut reached, mut back) = (0u32, 0, 0);
        while back < 3000 {
            for _ in 0..random.below(2000) {
                let Some(mut frame) = ours.pop() else { break };
                frame.buffer_mut()[36..548].fill(next as u8);
                let lba = u64::from(next % SECTORS as u32);
                disk.submit(request(Op::Write, lba, 1, next), frame);
                next += 1;
            }
            disk.kick();
            device.check_kick(QUEUE);
            let before = device.in_hand(QUEUE).len();
            let in_hand = device.fetch(QUEUE, random.below(5));
            for number in before..in_hand {
                assert_eq!(asked(&device, number).1, reached % SECTORS, "in order");
                reached += 1;
            }
            for left in (1..=in_hand).rev().take(random.below(5)) {
                serve(&device, random.below(left), &mut medium);
            }
            while let Some(done) = disk.poll_done() {
                assert_eq!(done.outcome, Outcome::Done);
                let lba = u64::from(done.ticket % SECTORS as u32);
                assert_eq!(medium[&lba], [done.ticket as u8; 512]);
                ours.push(done.frame);
                back += 1;
            }
        }
        assert_eq!(disk.backlog.capacity(), backlog, "lists never grow");
        assert_eq!(disk.ended.capacity(), ended, "lists never grow");
    }
}

#[test]
fn a_frame_can_be_looked_at_while_it_waits_and_while_it_is_written() {
    let mut small = profile(0);
    small.queue_max = 4;
    let (machine, device, mut disk) = start(small, 8);
    for (ticket, mut frame) in (0..).zip(machine.carve(6)) {
        frame.buffer_mut()[36] = ticket as u8;
        frame.set_len(548);
        disk.submit(request(Op::Write, 0, 1, ticket), frame);
    }
    disk.kick();
    device.fetch(QUEUE, usize::MAX);
    assert_eq!(device.in_hand(QUEUE).len(), 4);
    for ticket in 0..6 {
        let byte = disk.lent(ticket, |frame| frame.wire()[36]);
        assert_eq!(byte, Some(ticket as u8));
    }
    assert!(disk.lent(6, |_| ()).is_none());
}

#[test]
fn a_sleeping_node_is_woken_by_the_end_of_a_request() {
    let (machine, device, mut disk) = start(profile(0), 8);
    let frame = machine.carve(1).remove(0);
    one(&mut disk, &device, request(Op::Write, 0, 1, 0), frame);
    assert!(!disk.arm());
    assert_eq!(device.quieted(), 1);
    serve(&device, 0, &mut BTreeMap::new());
    assert_eq!(device.interrupts(QUEUE), 1);
    assert!(disk.arm());
    disk.disarm();
}

#[test]
fn a_disk_without_interrupts_keeps_the_node_awake_only_while_it_works() {
    let mut polled = profile(0);
    polled.interrupts = false;
    let (machine, device, mut disk) = start(polled, 8);
    assert!(!disk.arm());
    let frame = machine.carve(1).remove(0);
    one(&mut disk, &device, request(Op::Write, 0, 1, 0), frame);
    assert!(disk.arm());
}

#[test]
fn growth_is_noticed_and_shrinking_to_nothing_is_not_believed() {
    let (_, device, mut disk) = start(profile(FLUSH | CONFIG_WCE), 8);
    assert!(!disk.tick(Instant(0)));
    device.set_config(0, &(1u64 << 33).to_le_bytes());
    assert!(disk.tick(Instant(1)));
    assert_eq!(disk.geometry().sectors, 1 << 33);
    assert!(!disk.tick(Instant(2)));
    device.set_config(32, &[0]);
    assert!(disk.tick(Instant(3)));
    assert_eq!(disk.geometry().write_cache, WriteCache::None);
    device.set_config(0, &[0; 8]);
    assert!(!disk.tick(Instant(4)));
    assert_eq!(disk.geometry().sectors, 1 << 33);
}

#[test]
fn silence_is_noticed_after_30_seconds_and_its_end_too() {
    let (machine, device, mut disk) = start(profile(0), 8);
    disk.tick(Instant(10_000_000));
    let frame = machine.carve(1).remove(0);
    one(&mut disk, &device, request(Op::Write, 0, 1, 0), frame);
    disk.tick(Instant(39_999_999));
    assert!(!disk.silent);
    disk.tick(Instant(41_000_000));
    assert!(disk.silent);
    serve(&device, 0, &mut BTreeMap::new());
    assert!(disk.poll_done().is_some());
    disk.tick(Instant(42_000_000));
    assert!(!disk.silent);
}

#[test]
fn a_disk_that_gives_up_returns_everything_as_a_fault_and_takes_nothing_more() {
    let mut small = profile(0);
    small.queue_max = 4;
    let (machine, device, mut disk) = start(small, 8);
    let mut frames = machine.carve(8);
    for ticket in 0..6 {
        disk.submit(request(Op::Write, 0, 1, ticket), frames.remove(0));
    }
    disk.kick();
    device.fetch(QUEUE, usize::MAX);
    device.need_reset();
    disk.tick(Instant(1));
    assert!(disk.poll_done().is_none(), "it may still read its frames");
    disk.submit(request(Op::Read, 0, 1, 6), frames.remove(0));
    disk.tick(Instant(2));
    disk.submit(request(Op::Read, 0, 1, 7), frames.remove(0));
    disk.kick();
    let mut tickets = vec![];
    while let Some(done) = disk.poll_done() {
        assert_eq!(done.outcome, Outcome::Fault);
        tickets.push(done.ticket);
    }
    tickets.sort_unstable();
    assert_eq!(tickets, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(!disk.arm());
    assert!(!disk.tick(Instant(3)));
}

#[test]
fn a_disk_that_can_not_be_used_is_refused_by_name_of_the_fault() {
    let mut other = profile(0);
    other.device = DeviceId::NET;
    assert_eq!(refused(other), Error::OtherKind);
    let mut empty = profile(0);
    empty.config[..8].fill(0);
    assert_eq!(refused(empty), Error::NoCapacity);
    let mut coarse = profile(BLK_SIZE);
    coarse.config[20..24].copy_from_slice(&4096u32.to_le_bytes());
    assert_eq!(refused(coarse), Error::BlockSize { bytes: 4096 });
    let mut narrow = profile(SIZE_MAX);
    narrow.config[8..12].copy_from_slice(&8703u32.to_le_bytes());
    assert_eq!(refused(narrow), Error::SegmentSize { bytes: 8703 });
    let mut tiny = profile(0);
    tiny.queue_max = 2;
    assert_eq!(refused(tiny), Error::NoQueue { queue: QUEUE });
}

#[test]
#[should_panic(expected = "do not lie in a slot")]
fn more_sectors_than_a_frame_holds_are_a_broken_invariant() {
    let (machine, _, mut disk) = start(profile(0), 8);
    disk.submit(request(Op::Read, 0, 18, 0), machine.carve(1).remove(0));
}
