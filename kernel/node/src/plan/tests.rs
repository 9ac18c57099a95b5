//! One test a rule, and random plans against what must hold for all.

use super::*;
use crate::config::Source;
use alloc::boxed::Box;

const DISK: Candidate<'static> = Candidate {
    name: "00:04.0 virtio-blk",
    serial: "",
    wwn: "",
    sectors: 1 << 16,
    read_only: false,
    origin: Origin::Bus,
};

fn disks() -> [Candidate<'static>; 3] {
    let disk = |name, serial| Candidate {
        name,
        serial,
        ..DISK
    };
    [
        disk("00:04.0 virtio-blk", "A"),
        disk("00:05.0 virtio-blk", "B"),
        disk("00:06.0 virtio-blk", "C"),
    ]
}

fn planned(settings: &str, disks: &[Candidate<'_>]) -> Plan {
    let mut config = Box::new(Config::new());
    config.parse(Source::File, settings.as_bytes());
    plan_with(&config, disks, &[])
}

fn plan_with(config: &Config, disks: &[Candidate<'_>], kept: &[Kept<'_>]) -> Plan {
    let keys: Vec<_> = (0..disks.len()).map(|index| key_of(disks, index)).collect();
    let mac = Some([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    plan(config, disks, mac, &keys, kept)
}

#[test]
fn a_disk_keeps_its_slot_and_the_slot_of_one_that_is_away_stays_empty() {
    let mut copy = crate::state::Copy::new();
    for (slot, key) in [(1, "serial:A"), (0, "serial:X"), (7, "serial:C")] {
        let added = copy.add(&crate::state::Record {
            slot,
            first: 0,
            key: key.as_bytes(),
            config: &[],
            masks: &[],
            members: &[],
        });
        assert!(added);
    }
    copy.seal(1);
    let kept: Vec<_> = crate::state::records(&copy.sectors()[512..]).collect();
    let mut config = Box::new(Config::new());
    let plan = plan_with(&config, &disks(), &kept);
    assert_eq!(table(&plan), [(1, 0, false), (2, 1, false), (7, 2, false)]);
    // A pin is stronger, for the disk and for the slot.
    config.parse(Source::File, b"slot.1=serial:C");
    let plan = plan_with(&config, &disks(), &kept);
    assert_eq!(table(&plan), [(1, 2, false), (2, 0, false), (3, 1, false)]);
}

#[test]
fn a_partition_is_pinned_by_name_by_identity_or_by_number() {
    use crate::media::{Kind, Partition};
    let id = "a2d3f4e5-1234-5678-9abc-def012345678";
    let part = |number, first, name: &str| Partition {
        number,
        first,
        sectors: 800,
        kind: Kind::Mbr(0x83),
        id: [
            0xe5,
            0xf4,
            0xd3,
            0xa2,
            0x34,
            0x12,
            0x78,
            0x56,
            0x9a,
            0xbc,
            0xde,
            0xf0,
            0x12,
            0x34,
            0x56,
            number as u8 | 0x78,
        ],
        name: io::Text::new(name),
    };
    let settings = alloc::format!(
        "slot.0=part:home\nslot.1=part:{id},ro\nslot.2=part:A/2,offset=8K,length=8K\nslot.3=part:none\nslot.4=part:twice\nslot.5=part:B/1,offset=400K\nslot.6=part:B/1,length=401K\nrw=all"
    );
    let mut config = Box::new(Config::new());
    config.parse(Source::File, settings.as_bytes());
    assert_eq!(config.problems().len(), 0);
    let mut first = [part(1, 2048, "home"), part(2, 4096, "twice")];
    first[1].id[15] = 0x70;
    let mut second = [part(1, 64, "twice"), part(8, 8192, "boot")];
    second[0].id[15] = 0x71;
    config.find_parts(0, "A", &first[..1]);
    config.find_parts(0, "A", &first[1..]);
    config.find_parts(1, "B", &second);
    let plan = plan_with(&config, &disks(), &[]);
    let places: Vec<_> = plan
        .exports
        .iter()
        .map(|export| {
            (
                export.slot,
                export.volume.disk,
                export.volume.first,
                export.volume.sectors,
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            (0, 0, 2048, 800),
            (1, 1, 8192, 800),
            (2, 0, 4112, 16),
            (7, 2, 0, 1 << 16)
        ],
        "{:?}",
        plan.warnings
    );
    for (slot, why) in [
        (3, "no such partition"),
        (4, "two partitions match"),
        (5, "does not lie within the partition"),
        (6, "does not lie within the partition"),
    ] {
        let slot = alloc::format!("slot.{slot}=");
        let said = |line: &String| line.starts_with(&slot) && line.contains(why);
        assert!(plan.warnings.iter().any(said), "{slot} {:?}", plan.warnings);
    }
}

/// Slot, disk and whether it may be written.
fn table(plan: &Plan) -> Vec<(u8, u8, bool)> {
    let row = |export: &Planned| {
        (
            export.slot,
            export.volume.disk,
            export.access == Access::ReadWrite,
        )
    };
    let online = plan.exports.iter().filter(|export| export.online);
    online.map(row).collect()
}

#[test]
fn without_a_word_every_disk_is_visible_and_none_is_writable() {
    let plan = planned("", &disks());
    assert_eq!(table(&plan), [(0, 0, false), (1, 1, false), (2, 2, false)]);
    assert_eq!(plan.warnings, [""; 0]);
    assert_eq!(plan.exports[0].access, Access::ReadOnlyByDefault);
}

#[test]
fn the_boot_disk_is_never_exported_whatever_is_asked() {
    let mut disks = disks();
    for own in [Own::Boot, Own::Ublade, Own::Cidata] {
        disks[0].origin = Origin::Own(own);
        let plan = planned("slot.5=serial:A\nrw=all\nexport=5,serial:A", &disks);
        assert_eq!(table(&plan), []);
        assert!(plan.notes[0].starts_with("disk 0 (00:04.0 virtio-blk): it "));
        assert!(plan.notes[0].ends_with(": not exported"));
        assert!(plan.warnings[0].starts_with("slot.5=serial:A: this"));
        assert!(plan.warnings[0].ends_with("never exported"));
    }
}

#[test]
fn a_disk_without_sectors_is_skipped_by_name() {
    let mut disks = disks();
    disks[1].sectors = 0;
    let plan = planned("", &disks);
    assert_eq!(table(&plan), [(0, 0, false), (1, 2, false)]);
    assert_eq!(
        plan.warnings,
        ["disk 1 (00:05.0 virtio-blk): capacity is 0 sectors; skipped, its capacity is too small"]
    );
}

#[test]
fn pins_come_first_and_the_rest_fills_the_gaps() {
    let plan = planned("slot.1=serial:C\nslot.7=pci:00:04.0", &disks());
    assert_eq!(table(&plan), [(0, 1, false), (1, 2, false), (7, 0, false)]);
}

#[test]
fn a_slot_promised_to_an_absent_disk_stays_empty() {
    let plan = planned("slot.0=serial:X", &disks());
    assert_eq!(table(&plan), [(1, 0, false), (2, 1, false), (3, 2, false)]);
    assert_eq!(
        plan.warnings,
        ["slot.0=serial:X: no such disk; the slot stays empty"]
    );
}

#[test]
fn a_pin_by_world_wide_name_finds_its_disk_and_none_finds_a_disk_without_one() {
    let mut disks = disks();
    disks[2].wwn = "5000c500a1b2c3d4";
    let plan = planned("slot.7=wwn:0x5000C500A1B2C3D4\nrw=7", &disks);
    let slots = plan.exports.iter().map(|one| (one.slot, one.volume.disk));
    assert_eq!(slots.collect::<Vec<_>>(), [(0, 0), (1, 1), (7, 2)]);
    assert_eq!(plan.exports[2].access, Access::ReadWrite);
    let plan = planned("slot.7=wwn:0000000000000000", &disks);
    assert!(plan.exports.iter().all(|one| one.slot != 7));
}

#[test]
fn two_disks_with_the_pinned_serial_are_both_kept_back() {
    let mut disks = disks();
    disks[1].serial = "A";
    let plan = planned("slot.0=serial:A\nrw=all", &disks);
    assert_eq!(table(&plan), [(1, 2, true)]);
    assert!(plan.warnings[0].contains("two disks match"));
}

#[test]
fn writing_needs_a_word_by_slot_by_serial_or_for_all() {
    assert_eq!(
        table(&planned("rw=1,serial:C", &disks())),
        [(0, 0, false), (1, 1, true), (2, 2, true)]
    );
    assert_eq!(
        table(&planned("rw=all", &disks())),
        [(0, 0, true), (1, 1, true), (2, 2, true)]
    );
    let plan = planned("rw=9,serial:Z", &disks());
    assert_eq!(plan.warnings.len(), 2);
}

#[test]
fn a_read_only_flag_is_stronger_than_rw() {
    let mut disks = disks();
    disks[0].read_only = true;
    let plan = planned("rw=all\nslot.1=serial:B,ro", &disks);
    assert_eq!(plan.exports[0].access, Access::ReadOnlyByDisk);
    assert_eq!(plan.exports[1].access, Access::ReadOnlyByPin);
    assert_eq!(plan.exports[2].access, Access::ReadWrite);
}

#[test]
fn only_what_export_names_is_visible_and_slots_do_not_move_for_it() {
    assert_eq!(table(&planned("export=2", &disks())), [(2, 2, false)]);
    assert_eq!(
        table(&planned("export=serial:B", &disks())),
        [(1, 1, false)]
    );
    assert_eq!(table(&planned("export=none", &disks())), []);
}

#[test]
fn a_ram_disk_has_its_slot_and_is_writable() {
    let mut disks = disks();
    disks[2].origin = Origin::Ram { slot: 0 };
    let plan = planned("ram.0=32M\nslot.0=serial:A", &disks);
    assert_eq!(table(&plan), [(0, 2, true), (1, 0, false), (2, 1, false)]);
    assert!(plan.warnings[0].contains("a RAM disk has this slot"));
}

#[test]
fn slices_share_a_disk_but_never_a_writable_sector() {
    let plan = planned(
        "rw=all\nslot.0=serial:A,length=1M\nslot.1=serial:A,offset=1M\nslot.2=serial:A,offset=1M",
        &disks(),
    );
    assert_eq!(
        table(&plan)[..2],
        [(0, 0, true), (1, 0, true)],
        "the third slice is refused"
    );
    assert_eq!(plan.exports[1].volume.first, 2048);
    assert_eq!(plan.exports[1].volume.sectors, (1 << 16) - 2048);
    assert!(plan.warnings[0].contains("slot.2=serial:A: another slot has the same sectors"));
    let plan = planned("slot.0=serial:A\nslot.1=serial:A", &disks());
    assert_eq!(plan.warnings, [""; 0], "readers do not disturb each other");
}

#[test]
fn a_slice_ends_on_the_last_sector_at_most() {
    let exports = |settings| planned(settings, &disks()).exports.len();
    assert_eq!(exports("slot.0=serial:A,offset=31M,length=1M\nexport=0"), 1);
    assert_eq!(
        exports("slot.0=serial:A,offset=31M,length=1025K\nexport=0"),
        0
    );
    assert_eq!(exports("slot.0=serial:A,offset=32M\nexport=0"), 0);
    assert_eq!(
        exports("slot.0=serial:A,offset=16777215T,length=16777215T\nexport=0"),
        0
    );
}

#[test]
fn sectors_behind_the_last_whole_block_are_named() {
    let mut disks = disks();
    disks[0].sectors = 1003;
    let plan = planned("", &disks);
    assert_eq!(plan.exports[0].volume.sectors, 1000);
    assert!(plan.warnings[0].contains("the last 3 sectors are not exported"));
}

#[test]
fn more_disks_than_slots_is_a_sentence() {
    let disks = [DISK; 300];
    let plan = planned("slot.3=serial:X", &disks);
    assert_eq!(plan.exports.len(), 254);
    assert_eq!(plan.warnings.len(), 3);
}

#[test]
fn the_shelf_is_the_one_given_or_comes_from_the_address() {
    assert_eq!(planned("shelf=7", &[]).shelf, 7);
    let derived = planned("", &[]).shelf;
    assert_eq!(derived, shelf_of([0x52, 0x54, 0, 0x12, 0x34, 0x56]));
    assert_ne!(derived, shelf_of([0x52, 0x54, 0, 0x12, 0x34, 0x57]));
}

#[test]
fn no_address_gives_a_shelf_that_an_initiator_refuses() {
    for low in 0..=u16::MAX {
        let [high, low] = low.to_be_bytes();
        let shelf = shelf_of([0x52, 0x54, 0, 1, high, low]);
        assert!(!matches!(shelf, 0 | 0x0fff | 0xffff));
    }
}

#[test]
fn a_slice_of_less_than_a_block_leaves_its_slot_empty() {
    for (length, count) in [("4K", 1), ("2K", 0)] {
        let plan = planned(
            &format!("export=none\nslot.5=serial:A,offset=1M,length={length}"),
            &disks()[..1],
        );
        assert_eq!(plan.exports.len(), count, "{length}");
        let is_told = |line: &String| line.contains("shorter than 4 KiB");
        assert_eq!(plan.warnings.iter().any(is_told), count == 0);
    }
}

#[test]
fn a_pin_on_a_disk_without_a_block_leaves_its_slot_empty_and_says_so() {
    let empty = Candidate {
        serial: "A",
        sectors: GRAIN_SECTORS - 1,
        ..DISK
    };
    let plan = planned("slot.5=serial:A", &[empty]);
    assert_eq!(plan.exports.len(), 0);
    let is_told = |line: &String| line.contains("this disk is not exported");
    assert!(plan.warnings.iter().any(is_told), "{:?}", plan.warnings);
}

#[test]
fn where_every_slot_is_kept_for_a_disk_that_is_away_a_new_one_takes_the_first_of_them() {
    let mut copy = crate::state::Copy::new();
    for slot in 0..255_u8 {
        let key = format!("serial:X{slot}");
        let added = copy.add(&crate::state::Record {
            slot,
            first: 0,
            key: key.as_bytes(),
            config: &[],
            masks: &[],
            members: &[],
        });
        assert!(added, "there is room");
    }
    let mut config = Box::new(Config::new());
    config.parse(Source::File, b"shelf=5");
    copy.seal(1);
    let kept: Vec<_> = crate::state::records(&copy.sectors()[512..]).collect();
    let plan = plan_with(&config, &disks()[..2], &kept);
    let slots: Vec<_> = plan.exports.iter().map(|export| export.slot).collect();
    assert_eq!(slots, [0, 1]);
}

#[test]
fn no_address_makes_a_shelf_that_is_everyone_or_looks_like_a_mistake() {
    let shelves = (0..=u16::MAX).map(|end| {
        let [high, low] = end.to_be_bytes();
        shelf_of([2, 0, 0, 0, high, low])
    });
    let found: alloc::collections::BTreeSet<u16> = shelves.collect();
    assert!(found.len() > 30_000, "they differ");
    for shelf in [0, 0x0fff, 0xffff] {
        assert!(!found.contains(&shelf), "{shelf}");
    }
}
