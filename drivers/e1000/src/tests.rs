//! The driver against the model: every kind of chip starts, receives, sends, sleeps,
//! and survives what goes wrong.

extern crate std;

use crate::card::{BUFFER_BYTES, Card};
use crate::error::Error;
use crate::family::{Chip, Kind};
use crate::model::{MAC, Model, Quirks, Window};
use crate::registers::{ADDRESS_VALID, CAUSES_OF_RINGS, Places, RINGS_RAISE_0};
use io::model::{self, Cable, wire};
use io::{Instant, Nic};
use pci::Function;

const KINDS: [Kind; 5] = [Kind::E1000, Kind::E1000e, Kind::Igb, Kind::Igc, Kind::Ixgbe];

const fn chip(kind: Kind) -> Chip {
    Chip { kind, jumbo: true }
}

fn start(kind: Kind, frames: usize) -> (Model, Card<Window>) {
    let model = Model::new(chip(kind), frames, Quirks::default());
    let card = model.start(true).expect("it starts");
    (model, card)
}

/// A card that has `frames` empty frames.
fn ready(kind: Kind, frames: usize) -> (Model, Card<Window>) {
    let (model, mut card) = start(kind, frames);
    model::lend(&model, &mut card, frames);
    (model, card)
}

fn refused(kind: Kind, quirks: Quirks) -> Error {
    let model = Model::new(chip(kind), 8, quirks);
    model.start(true).err().expect("it does not start")
}

fn function(vendor: u16, device: u16) -> Function {
    Function {
        vendor,
        device,
        ..Function::NOBODY
    }
}

#[test]
fn what_is_told_of_chips_is_what_is_driven() {
    let knows = |function: &Function| Chip::of(function).is_some();
    assert_eq!(pci::known::disagreements(crate::DEVICES, 0x8086, knows), 0);
}

#[test]
fn chips_are_known_by_vendor_and_device_and_others_are_left_alone() {
    let kind = |device| Chip::of(&function(0x8086, device)).map(|chip| chip.kind);
    assert_eq!(kind(0x100e), Some(Kind::E1000));
    assert_eq!(kind(0x10d3), Some(Kind::E1000e));
    assert_eq!(kind(0x10c9), Some(Kind::Igb));
    assert_eq!(kind(0x15f3), Some(Kind::Igc));
    assert_eq!(kind(0x10fb), Some(Kind::Ixgbe));
    assert_eq!(kind(0x10b6), None, "the first of ten gigabits, an 82598");
    assert_eq!(Chip::of(&function(0x8087, 0x100e)), None);
    let short = Chip::of(&function(0x8086, 0x108b)).expect("an 82573");
    assert!(!short.jumbo);
}

#[test]
fn a_card_that_was_left_running_is_reset_and_says_who_it_is() {
    for kind in KINDS {
        let (model, card) = start(kind, 64);
        assert_eq!(card.mac(), MAC);
        assert_eq!(card.mtu(), 8178);
        assert!(card.link_up());
        assert!(card.ring_frames() >= 64);
        let addresses = Places::of(kind).addresses;
        assert_ne!(model.word(addresses + 4) & ADDRESS_VALID, 0);
        assert_eq!(model.word(addresses + 12) & ADDRESS_VALID, 0);
        let raised = match kind {
            Kind::Igb | Kind::Igc => RINGS_RAISE_0,
            _ => 0,
        };
        assert_eq!(model.word(CAUSES_OF_RINGS), raised);
        assert_eq!(model.messages(), 0, "{kind} is silent");
    }
}

#[test]
fn a_chip_without_long_frames_offers_and_takes_none() {
    let short = Chip {
        kind: Kind::E1000e,
        jumbo: false,
    };
    let model = Model::new(short, 8, Quirks::default());
    let mut card = model.start(true).expect("it starts");
    assert_eq!(card.mtu(), 1500);
    model::lend(&model, &mut card, 8);
    assert!(model.receive(&wire(1, 1514)));
    assert!(!model.receive(&wire(1, 1515)));
}

#[test]
fn frames_are_received_in_order_with_their_length_up_to_a_buffer() {
    for kind in KINDS {
        let (model, mut card) = ready(kind, 8);
        let lengths = [14, 60, 1514, 1515, BUFFER_BYTES - 1, BUFFER_BYTES];
        model::receives_in_order(&model, &mut card, &lengths);
        assert_eq!(card.thrown_away(), 0);
    }
}

#[test]
fn a_frame_longer_than_a_buffer_stays_in_its_slots_and_never_reaches_the_node() {
    for kind in [Kind::E1000, Kind::E1000e] {
        let (model, mut card) = ready(kind, 8);
        // The model's memory ends with each slot, so a byte too many is a panic.
        for bytes in [BUFFER_BYTES + 1, 9014, 16_380] {
            assert!(model.receive(&wire(bytes, bytes)));
        }
        assert!(model.receive(&wire(1, 60)));
        assert_eq!(card.poll_rx().expect("the short one").wire(), wire(1, 60));
        assert!(card.poll_rx().is_none());
        assert_eq!(card.thrown_away(), 3);
        card.kick();
        for _ in 0..7 {
            assert!(model.receive(&wire(2, 60)), "no slot is lost");
        }
        assert!(!model.receive(&wire(2, 60)));
    }
    for kind in [Kind::Igb, Kind::Igc, Kind::Ixgbe] {
        let (model, mut card) = ready(kind, 8);
        assert!(!model.receive(&wire(1, BUFFER_BYTES + 1)), "dropped before");
        assert!(card.poll_rx().is_none());
    }
}

#[test]
fn a_long_frame_that_ends_while_the_node_looks_away_is_thrown_away_whole() {
    let (model, mut card) = ready(Kind::E1000, 4);
    assert!(model.receive(&wire(3, 9000)));
    assert!(card.poll_rx().is_none());
    card.kick();
    assert!(model.receive(&wire(4, 9000)));
    assert!(model.receive(&wire(5, 100)));
    assert_eq!(card.poll_rx().expect("the short one").wire(), wire(5, 100));
    assert_eq!(card.thrown_away(), 2);
}

#[test]
fn damaged_frames_and_frames_without_a_header_are_counted_and_their_slots_used_again() {
    for kind in KINDS {
        let (model, mut card) = ready(kind, 4);
        let (wrong, checksum) = match kind {
            Kind::Ixgbe => ([0x01, 0x10], 0x80),
            _ => ([0x01, 0x80], 0x20),
        };
        for errors in wrong {
            assert!(model.damage(&wire(1, 60), errors));
        }
        assert!(model.receive(&wire(1, 13)));
        // A wrong checksum of what it took for TCP or IP is no damage.
        assert!(model.damage(&wire(2, 60), checksum));
        assert_eq!(card.poll_rx().expect("whole").wire(), wire(2, 60));
        assert!(card.poll_rx().is_none());
        assert_eq!(card.thrown_away(), 3, "{kind}");
        card.kick();
        for _ in 0..3 {
            assert!(model.receive(&wire(1, 60)), "{kind} loses no slot");
        }
    }
}

#[test]
fn frames_are_sent_from_where_they_lie_with_one_doorbell_a_batch() {
    for kind in KINDS {
        let (model, mut card) = start(kind, 8);
        let lengths = [14, 60, 1514, 8192, 8740];
        model::sends_with_one_doorbell(&model, &mut card, &lengths, Card::doorbells);
    }
}

#[test]
fn all_frames_of_a_machine_go_round_both_rings_many_times_and_none_is_lost() {
    for (kind, frames) in [
        (Kind::E1000, 7),
        (Kind::E1000e, 64),
        (Kind::Igb, 255),
        (Kind::Igc, 1024),
        (Kind::Ixgbe, 500),
    ] {
        let (model, mut card) = ready(kind, frames);
        let sent = model::go_round(&model, &mut card, frames);
        assert!(sent >= frames * 10, "{kind}: {sent} of {frames} frames");
    }
}

#[test]
fn a_card_is_never_left_without_an_empty_frame_while_the_node_has_some() {
    let (model, mut card) = start(Kind::E1000e, 64);
    let mut ours = model.frames(64);
    card.post(ours.remove(0));
    card.kick();
    assert!(model.receive(&wire(1, 60)), "the only one is told at once");
    for frame in ours {
        card.post(frame);
    }
    card.kick();
    let doorbells = card.doorbells();
    for number in 0..1000 {
        assert!(model.receive(&wire(number, 60)), "{number}");
        let frame = card.poll_rx().expect("received");
        card.post(frame);
        card.kick();
    }
    let rung = card.doorbells() - doorbells;
    assert!(rung <= 1000 / 8, "{rung} doorbells for a thousand frames");
}

#[test]
fn a_sleeping_node_is_woken_once_and_an_awake_one_never() {
    for kind in [Kind::E1000e, Kind::Igb, Kind::Igc, Kind::Ixgbe] {
        let (model, mut card) = ready(kind, 8);
        model::wakes_a_sleeper_once(&model, &mut card);
    }
}

#[test]
fn a_card_without_messages_is_never_asked_for_one() {
    let model = Model::new(chip(Kind::E1000), 8, Quirks::default());
    let mut card = model.start(false).expect("it starts");
    assert!(!card.has_interrupt());
    model::lend(&model, &mut card, 8);
    model::is_seen_before_sleep(&model, &mut card, 0);
}

#[test]
fn a_link_that_goes_and_comes_is_noticed_once_each() {
    for kind in KINDS {
        let (model, mut card) = start(kind, 8);
        model::notices_the_link(&model, &mut card);
    }
}

#[test]
fn a_phy_that_sleeps_is_woken_and_a_dead_one_is_a_card_without_link() {
    for kind in [Kind::E1000, Kind::Igb] {
        let mut quirks = Quirks {
            sleeps: true,
            ..Quirks::default()
        };
        let model = Model::new(chip(kind), 8, quirks);
        let mut card = model.start(true).expect("it starts");
        assert!(card.tick(Instant(0)));
        assert!(card.link_up());
        quirks.has_dead_phy = true;
        let model = Model::new(chip(kind), 8, quirks);
        let card = model.start(true).expect("it starts");
        assert!(!card.link_up());
    }
}

#[test]
fn a_card_that_is_pulled_out_gives_back_what_was_sent_and_is_left_alone() {
    for kind in KINDS {
        let (model, mut card) = start(kind, 8);
        model::gives_back_when_pulled_out(&model, &mut card, 2);
    }
}

#[test]
fn a_card_that_can_not_be_used_is_refused_by_name_of_the_fault() {
    let plain = Quirks::default();
    for kind in KINDS {
        let mut hung = plain;
        hung.never_resets = true;
        assert_eq!(refused(kind, hung), Error::NoReset { waited_ms: 200 });
        let mut nameless = plain;
        nameless.has_no_address = true;
        assert_eq!(refused(kind, nameless), Error::NoAddress);
        let mut group = plain;
        group.has_group_address = true;
        assert_eq!(refused(kind, group), Error::NoAddress);
        let model = Model::new(chip(kind), 8, plain);
        model.vanish();
        assert_eq!(model.start(true).err(), Some(Error::NotAnswering));
        let model = Model::new(chip(kind), 8, plain);
        model.shorten_memory();
        let error = model.start(true).err();
        assert_eq!(error, Some(Error::NoMemory { bytes: 256 }));
    }
    let mut stuck = plain;
    stuck.never_runs = true;
    for kind in [Kind::Igb, Kind::Igc, Kind::Ixgbe] {
        assert_eq!(refused(kind, stuck), Error::NoRing { waited_ms: 20 });
    }
}

#[test]
fn an_address_that_only_the_firmware_knew_is_kept_over_the_reset() {
    for kind in KINDS {
        let quirks = Quirks {
            forgets_its_address: true,
            ..Quirks::default()
        };
        let model = Model::new(chip(kind), 8, quirks);
        assert_eq!(model.start(true).expect("it starts").mac(), MAC);
    }
}

#[test]
fn rings_are_as_long_as_every_chip_takes() {
    for frames in [1, 7, 8, 255, 1024] {
        let (_, card) = start(Kind::E1000, frames);
        assert!((frames..frames + 8).contains(&card.ring_frames()));
    }
    assert_eq!(crate::ring::places(1024), 1032);
}
