//! Who is found when the controller comes up, and who is named and left alone.

use super::*;

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
fn ports_come_up_while_others_start() {
    for (others_us, staggered) in [
        (0, false),
        (20_000, false),
        (1_200_000, false),
        (1_200_000, true),
    ] {
        let model = Model::new(Settings {
            ports: 6,
            staggered,
            ..Settings::default()
        });
        let mut slow = DriveModel::new("S1", 4096);
        slow.spin_up_us = 300_000;
        model.plug(1, slow);
        model.plug(4, DriveModel::new("S4", 1024));
        let start = crate::hba::begin(&mut model.clone(), &model).expect("it is well");
        model.elapse(others_us);
        let disks = start.finish(&model).into_iter();
        let names = disks.map(|disk| disk.expect("a good drive").name().to_string());
        let expected = ["00:1f.2 ahci port 1", "00:1f.2 ahci port 4"];
        assert_eq!(names.collect::<Vec<_>>(), expected);
    }
    let model = Model::new(Settings {
        ports: 6,
        ..Settings::default()
    });
    let start = crate::hba::begin(&mut model.clone(), &model).expect("it is well");
    model.elapse(20_000);
    let then = model.now();
    assert!(start.finish(&model).is_empty());
    assert!(model.now() - then < 1_000, "empty ports had their time");
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
