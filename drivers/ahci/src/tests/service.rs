//! Requests on drives that are well.

use super::*;

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
    bench.give(0, request, frame);
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
