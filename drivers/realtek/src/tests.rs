//! The driver against the model: both kinds of chip start, receive, send, sleep, and
//! survive what goes wrong.

extern crate std;

use crate::card::{BUFFER_BYTES, Card};
use crate::error::Error;
use crate::family::{C_PLUS, Kind};
use crate::model::{MAC, Model, Quirks, Window};
use crate::registers::{RECEIVE, Receive};
use io::model::{self, Cable, filled, wire};
use io::{Instant, Nic};
use pci::Function;

const KINDS: [Kind; 2] = [Kind::R8139, Kind::R8168];
/// The longest frame that fits a buffer with its FCS.
const LONGEST: usize = BUFFER_BYTES - 4;

fn start(kind: Kind, frames: usize) -> (Model, Card<Window>) {
    let model = Model::new(kind, frames, Quirks::default());
    let card = model.start(kind == Kind::R8168).expect("it starts");
    (model, card)
}

/// A card that has `frames` empty frames.
fn ready(kind: Kind, frames: usize) -> (Model, Card<Window>) {
    let (model, mut card) = start(kind, frames);
    model::lend(&model, &mut card, frames);
    (model, card)
}

fn refused(kind: Kind, quirks: Quirks) -> Error {
    let model = Model::new(kind, 8, quirks);
    model.start(true).err().expect("it does not start")
}

fn function(vendor: u16, device: u16, revision: u8) -> Function {
    Function {
        vendor,
        device,
        revision,
        ..Function::NOBODY
    }
}

#[test]
fn chips_are_known_by_vendor_device_and_for_the_8139_revision() {
    let kind = |device, revision| Kind::of(&function(0x10ec, device, revision));
    assert_eq!(kind(0x8139, C_PLUS), Some(Kind::R8139));
    assert_eq!(kind(0x8139, C_PLUS - 1), None, "it has no ring");
    assert_eq!(kind(0x8168, 0), Some(Kind::R8168));
    assert_eq!(kind(0x8125, 0), None, "other registers");
    assert_eq!(Kind::of(&function(0x10ed, 0x8168, 0)), None);
    let knows = |one: &Function| Kind::of(&function(one.vendor, one.device, C_PLUS)).is_some();
    assert_eq!(pci::known::disagreements(crate::DEVICES, 0x10ec, knows), 0);
}

#[test]
fn a_card_that_was_left_running_is_reset_and_says_who_it_is() {
    for kind in KINDS {
        let (model, card) = start(kind, 40);
        assert_eq!(card.mac(), MAC);
        assert_eq!(card.mtu(), 1500);
        assert!(card.link_up());
        assert_eq!(card.ring_frames(), 40);
        let receive = Receive::from_bits_retain(model.word(RECEIVE));
        let heard = receive & Receive::HEARD;
        assert_eq!(heard, Receive::OURS | Receive::BROADCASTS);
        assert!(!receive.contains(Receive::STUCK), "it hears");
        assert_eq!(model.messages(), 0, "{kind} is silent");
    }
}

#[test]
fn frames_are_received_in_order_with_their_length_and_only_the_8168_has_them_moved() {
    for kind in KINDS {
        let (model, mut card) = ready(kind, 8);
        let lengths = [14, 60, 1060, 1514, 1518, LONGEST];
        model::receives_in_order(&model, &mut card, &lengths);
        assert_eq!(card.thrown_away(), 0);
        let all: usize = lengths.iter().sum();
        let moved = if kind == Kind::R8168 { all } else { 0 };
        assert_eq!(card.moved_bytes(), moved as u64);
    }
}

#[test]
fn a_frame_longer_than_a_buffer_stays_in_its_slots_and_never_reaches_the_node() {
    for kind in KINDS {
        let (model, mut card) = ready(kind, 8);
        for bytes in [LONGEST + 1, 3000, 7000] {
            assert!(model.receive(&wire(bytes, bytes)));
            assert!(card.poll_rx().is_none());
        }
        assert!(model.receive(&wire(1, 60)));
        assert_eq!(card.poll_rx().expect("the short one").wire(), wire(1, 60));
        assert_eq!(card.thrown_away(), 3);
        for _ in 0..7 {
            assert!(model.receive(&wire(2, 60)), "{kind} loses no slot");
        }
        assert!(!model.receive(&wire(2, 60)));
    }
}

#[test]
fn damaged_frames_and_frames_without_a_header_are_counted_and_their_slots_used_again() {
    for kind in KINDS {
        let (model, mut card) = ready(kind, 4);
        assert!(model.damage(&wire(1, 60)));
        assert!(model.receive(&wire(1, 13)));
        // Shorter than its check sequence.
        assert!(model.receive(&[]));
        assert!(model.receive(&wire(2, 60)));
        assert_eq!(card.poll_rx().expect("whole").wire(), wire(2, 60));
        assert!(card.poll_rx().is_none());
        assert_eq!(card.thrown_away(), 3, "{kind}");
        for _ in 0..3 {
            assert!(model.receive(&wire(1, 60)), "{kind} loses no slot");
        }
    }
}

#[test]
fn frames_are_sent_from_where_they_lie_with_one_doorbell_a_batch() {
    for kind in KINDS {
        let (model, mut card) = start(kind, 8);
        let lengths = [14, 60, 1060, 1513, 1514];
        model::sends_with_one_doorbell(&model, &mut card, &lengths, Card::doorbells);
    }
}

#[test]
fn a_doorbell_that_was_lost_is_rung_again_when_a_frame_came_back() {
    for kind in KINDS {
        let (model, mut card) = start(kind, 8);
        let mut frames = model.frames(4).into_iter();
        let mut send = |card: &mut Card<Window>| {
            let frame = frames.next().expect("some are left");
            card.send(filled(frame, &wire(1, 60)));
            card.kick();
        };
        send(&mut card);
        model.lose_doorbells(true);
        send(&mut card);
        // The batch ends before the card sees the second.
        assert_eq!(model.send(1).len(), 1);
        model.lose_doorbells(false);
        let before = card.doorbells();
        card.kick();
        assert_eq!(card.doorbells(), before, "nothing came back");
        assert!(card.poll_sent().is_some());
        card.kick();
        assert_eq!(card.doorbells(), before + 1);
        assert_eq!(model.send(9).len(), 1);
        assert!(card.poll_sent().is_some() && card.poll_sent().is_none());
    }
}

#[test]
fn all_frames_of_a_machine_go_round_both_rings_many_times_and_none_is_lost() {
    for (kind, frames) in [
        (Kind::R8139, 7),
        (Kind::R8139, 64),
        (Kind::R8139, 300),
        (Kind::R8168, 255),
        (Kind::R8168, 1024),
    ] {
        let (model, mut card) = ready(kind, frames);
        assert_eq!(card.ring_frames(), frames.min(kind.places_max()));
        let sent = model::go_round(&model, &mut card, frames);
        assert!(
            sent >= frames.min(64) * 10,
            "{kind}: {sent} of {frames} frames"
        );
        // Whatever is still with the card comes back.
        for _ in 0..20 {
            card.kick();
            model.send(64);
            while let Some(frame) = card.poll_sent() {
                card.post(frame);
            }
        }
        let mut room = 0;
        while model.receive(&wire(room, 60)) {
            room += 1;
        }
        assert_eq!(room, frames.min(kind.places_max()), "{kind} lost none");
    }
}

#[test]
fn a_sleeping_node_is_woken_once_and_an_awake_one_never() {
    let (model, mut card) = ready(Kind::R8168, 8);
    model::wakes_a_sleeper_once(&model, &mut card);
}

#[test]
fn a_node_that_sleeps_over_frames_to_send_is_woken_when_they_are_sent_and_by_none_else() {
    let (model, mut card) = start(Kind::R8168, 8);
    for frame in model.frames(2) {
        card.send(filled(frame, &wire(1, 60)));
    }
    card.kick();
    assert!(!card.arm());
    assert_eq!(model.send(1).len(), 1);
    assert_eq!(model.messages(), 1);
    card.disarm();
    assert!(card.arm(), "one is back, and its place may be wanted");
    card.disarm();
    assert!(card.poll_sent().is_some());
    card.kick();
    assert_eq!(model.send(1).len(), 1);
    assert!(card.poll_sent().is_some());
    assert!(!card.arm());
    assert_eq!(model.messages(), 1, "nothing is on its way any more");
}

#[test]
fn a_card_without_messages_is_never_asked_for_one() {
    let (model, mut card) = ready(Kind::R8139, 8);
    assert!(!card.has_interrupt());
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
    let mut quirks = Quirks {
        sleeps: true,
        ..Quirks::default()
    };
    let model = Model::new(Kind::R8168, 8, quirks);
    let mut card = model.start(true).expect("it starts");
    assert!(card.tick(Instant(0)));
    assert!(card.link_up());
    quirks.has_dead_phy = true;
    let model = Model::new(Kind::R8168, 8, quirks);
    let card = model.start(true).expect("it starts");
    assert!(!card.link_up());
}

#[test]
fn a_card_that_is_pulled_out_gives_back_what_was_sent_and_is_left_alone() {
    for kind in KINDS {
        let (model, mut card) = start(kind, 100);
        // More than the ring of the 8139 has places.
        model::gives_back_when_pulled_out(&model, &mut card, 70);
    }
}

#[test]
fn a_card_that_can_not_be_used_is_refused_by_name_of_the_fault() {
    let plain = Quirks::default();
    for kind in KINDS {
        let mut hung = plain;
        hung.never_resets = true;
        assert_eq!(refused(kind, hung), Error::NoReset { waited_ms: 100 });
        let mut nameless = plain;
        nameless.has_no_address = true;
        assert_eq!(refused(kind, nameless), Error::NoAddress);
        let mut group = plain;
        group.has_group_address = true;
        assert_eq!(refused(kind, group), Error::NoAddress);
        let model = Model::new(kind, 8, plain);
        model.vanish();
        assert_eq!(model.start(true).err(), Some(Error::NotAnswering));
        let model = Model::new(kind, 8, plain);
        model.shorten_memory();
        let error = model.start(true).err();
        assert_eq!(error, Some(Error::NoMemory { bytes: 128 }));
    }
}
