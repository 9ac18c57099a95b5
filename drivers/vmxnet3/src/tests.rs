//! The driver against the model: it starts, receives, sends, sleeps, and survives what
//! goes wrong.

extern crate std;

use crate::card::Card;
use crate::error::Error;
use crate::is_vmxnet3;
use crate::model::{MAC, Model, Quirks, RECEIVES, SENDS, Window};
use io::model::{self, Cable, filled, wire};
use io::{Frame, Instant, Nic, WIRE_BYTES};
use pci::Function;

fn start(frames: usize) -> (Model, Card<Window>) {
    start_with(frames, Quirks::default())
}

fn start_with(frames: usize, quirks: Quirks) -> (Model, Card<Window>) {
    let model = Model::new(frames, quirks);
    let card = model.start(25).expect("it starts");
    (model, card)
}

/// A card that has `frames` empty frames.
fn ready(frames: usize) -> (Model, Card<Window>) {
    let (model, mut card) = start(frames);
    model::lend(&model, &mut card, frames);
    (model, card)
}

fn refused(quirks: Quirks) -> Error {
    let model = Model::new(8, quirks);
    model.start(2).err().expect("it does not start")
}

#[test]
fn the_card_is_known_by_vendor_and_device() {
    let function = |vendor, device| Function {
        vendor,
        device,
        ..Function::NOBODY
    };
    assert!(is_vmxnet3(&function(0x15ad, 0x07b0)));
    assert!(!is_vmxnet3(&function(0x15ad, 0x0720)), "the first vmxnet");
    assert!(!is_vmxnet3(&function(0x1af4, 0x07b0)));
    let said = crate::DEVICES;
    assert_eq!(pci::known::disagreements(said, 0x15ad, is_vmxnet3), 0);
}

#[test]
fn a_card_is_reset_started_and_says_who_it_is() {
    let (model, card) = start(64);
    assert_eq!(card.mac(), MAC);
    assert!(card.link_up());
    assert!(card.ring_frames() >= 64);
    assert_eq!(model.resets(), 1);
    assert_eq!(model.messages(), 0);
    assert_eq!(card.mtu(), 9000);
}

#[test]
fn frames_are_received_in_order_with_their_length_up_to_a_slot() {
    let (model, mut card) = ready(8);
    let lengths = [14, 60, 1514, 1515, WIRE_BYTES - 1, WIRE_BYTES];
    model::receives_in_order(&model, &mut card, &lengths);
    assert_eq!(card.thrown_away(), 0);
}

#[test]
fn what_is_cut_off_damaged_in_pieces_or_without_a_header_is_thrown_away_and_no_slot_is_lost() {
    let (model, mut card) = ready(5);
    // The model's memory ends with each slot, so a byte too many is a panic.
    assert!(model.receive(&wire(1, WIRE_BYTES + 1)));
    assert!(model.damage(&wire(1, 60)));
    assert!(model.receive(&wire(1, 13)));
    model.piece(&wire(1, 60));
    assert!(model.receive(&wire(2, 60)));
    assert_eq!(card.poll_rx().expect("whole").wire(), wire(2, 60));
    assert!(card.poll_rx().is_none());
    assert_eq!(card.thrown_away(), 4);
    card.kick();
    for _ in 0..4 {
        assert!(model.receive(&wire(1, 60)), "no slot is lost");
    }
    assert!(!model.receive(&wire(1, 60)));
}

#[test]
fn frames_that_the_card_passes_over_are_lent_again() {
    let (model, mut card) = ready(8);
    for _ in 0..3 {
        model.pass_over();
    }
    assert!(model.receive(&wire(1, 60)));
    assert_eq!(card.poll_rx().expect("whole").wire(), wire(1, 60));
    assert_eq!(card.thrown_away(), 0, "they were not frames");
    card.kick();
    for number in 0..7 {
        assert!(model.receive(&wire(number, 60)), "{number}");
    }
    assert!(!model.receive(&wire(8, 60)));
}

#[test]
fn frames_are_sent_from_where_they_lie_with_one_doorbell_a_batch() {
    let (model, mut card) = start(8);
    let lengths = [14, 60, 1514, 8192, WIRE_BYTES];
    model::sends_with_one_doorbell(&model, &mut card, &lengths, Card::doorbells);
}

#[test]
fn all_frames_of_a_machine_go_round_both_rings_many_times_and_none_is_lost() {
    for frames in [7, 31, 64, 255, 1024] {
        let (model, mut card) = ready(frames);
        let sent = model::go_round(&model, &mut card, frames);
        assert!(sent >= frames * 10, "{sent} of {frames} frames");
    }
}

#[test]
fn a_card_of_software_is_told_of_empty_frames_once_and_one_of_hardware_each_time() {
    for (wants_doorbell, doorbells) in [(false, 1), (true, 101)] {
        let quirks = Quirks {
            wants_doorbell,
            ..Quirks::default()
        };
        let (model, mut card) = start_with(8, quirks);
        model::lend(&model, &mut card, 8);
        for number in 0..100 {
            assert!(model.receive(&wire(number, 60)));
            let frame = card.poll_rx().expect("received");
            card.post(frame);
            card.kick();
        }
        assert_eq!(model.doorbells(), [0, doorbells]);
    }
}

#[test]
fn a_sleeping_node_is_woken_once_and_frames_that_were_sent_wake_nobody() {
    for leaves_masks_to_us in [false, true] {
        let quirks = Quirks {
            leaves_masks_to_us,
            ..Quirks::default()
        };
        let (model, mut card) = start_with(8, quirks);
        model::lend(&model, &mut card, 7);
        assert!(model.receive(&wire(1, 60)));
        assert_eq!(model.messages(), 0, "an awake node is not woken");
        assert!(card.arm(), "it would sleep over a frame");
        card.disarm();
        assert!(card.poll_rx().is_some());
        let before = model.messages();
        assert!(!card.arm());
        assert_eq!(model.messages(), before, "what was seen wakes nobody");
        let writes = model.mask_writes();
        card.disarm();
        let ours = u64::from(leaves_masks_to_us);
        assert_eq!(model.mask_writes() - writes, ours, "an exit for each");
        assert!(!card.arm());
        card.send(filled(model.frames(1).remove(0), &wire(1, 60)));
        card.kick();
        assert_eq!(model.send(1).len(), 1);
        assert_eq!(model.messages(), before, "what was sent wakes nobody");
        assert!(model.receive(&wire(2, 60)));
        assert_eq!(model.messages(), before + 1);
        card.disarm();
        assert!(model.receive(&wire(3, 60)));
        assert_eq!(model.messages(), before + 1, "one for both");
        while card.poll_rx().is_some() {}
        // What came while it was silenced is said once more.
        assert!(!card.arm());
        card.disarm();
        assert!(!card.arm());
        let before = model.messages();
        model.set_link(false);
        assert_eq!(model.messages(), before + 1, "the link wakes too");
    }
}

#[test]
fn a_card_with_one_message_is_woken_by_it_and_one_without_is_never_asked() {
    for messages in [0, 1] {
        let model = Model::new(8, Quirks::default());
        let mut card = model.start(messages).expect("it starts");
        assert_eq!(card.has_interrupt(), messages > 0);
        model::lend(&model, &mut card, 8);
        model::is_seen_before_sleep(&model, &mut card, messages.into());
    }
}

#[test]
fn a_link_that_goes_and_comes_is_noticed_once_each_and_its_event_taken_back() {
    let (model, mut card) = start(8);
    model::notices_the_link(&model, &mut card);
    assert_eq!(model.events(), 0);
}

#[test]
fn a_queue_that_stops_is_a_reset_and_every_frame_goes_on() {
    for way in [SENDS, RECEIVES] {
        let (model, mut card) = ready(40);
        // Rings that are somewhere in their second round.
        let mut sent = 0;
        for number in 0..50 {
            assert!(model.receive(&wire(number, 60)));
            let frame = card.poll_rx().expect("received");
            card.send(frame);
            card.kick();
            sent += model.send(1).len();
            take_back(&mut card);
        }
        assert_eq!(sent, 50);
        for number in 100..103 {
            assert!(model.receive(&wire(number, 60)));
            let frame = card.poll_rx().expect("received");
            card.send(frame);
        }
        card.kick();
        model.stop(way, 0x8000_0007);
        assert!(!card.tick(Instant(0)), "the link is as it was");
        assert_eq!(model.resets(), 2);
        assert!(model.is_active() && card.link_up());
        let again = model.send(9);
        assert_eq!(again.len(), 3, "what was on its way is sent again");
        for (number, frame) in (100..).zip(again) {
            assert_eq!(frame, wire(number, 60));
        }
        for _ in 0..3 {
            take_back(&mut card);
        }
        card.kick();
        for number in 0..40 {
            assert!(
                model.receive(&wire(number, 60)),
                "{number}: no slot is lost"
            );
            let frame = card.poll_rx().expect("received");
            assert_eq!(frame.wire(), wire(number, 60));
            card.send(frame);
        }
        // It has moved frames, so it may stop once more.
        model.stop(way, 0x8000_0007);
        card.tick(Instant(1));
        assert!(model.is_active());
    }
}

#[test]
fn an_answer_about_the_last_frame_of_several_is_about_all_and_a_reset_between_sends_the_rest() {
    let (model, mut card) = start(8);
    for (number, frame) in (0..4).zip(model.frames(4)) {
        card.send(filled(frame, &wire(number, 60)));
    }
    card.kick();
    model.answer(SENDS, 2);
    assert_eq!(card_sent(&mut card).wire(), wire(0, 60));
    model.stop(SENDS, 1);
    card.tick(Instant(0));
    assert!(
        card.poll_sent().is_none(),
        "what was said before the reset is void"
    );
    assert_eq!(model.send(9).len(), 3);
    for number in 1..4 {
        assert_eq!(card_sent(&mut card).wire(), wire(number, 60));
    }
    assert!(card.poll_sent().is_none());
}

fn card_sent(card: &mut Card<Window>) -> Frame {
    card.poll_sent().expect("sent")
}

/// A frame that was sent is one to receive into again.
fn take_back(card: &mut Card<Window>) {
    let frame = card_sent(card);
    card.post(frame);
}

#[test]
fn a_card_that_stops_again_without_moving_a_frame_is_out_of_service() {
    let (model, mut card) = ready(8);
    model.stop(RECEIVES, 1);
    card.tick(Instant(0));
    assert!(model.is_active());
    model.stop(RECEIVES, 1);
    assert!(card.tick(Instant(1)), "its link is gone");
    assert!(!model.is_active() && !card.link_up());
    assert!(!card.arm());
    assert!(!card.tick(Instant(2)));
}

#[test]
fn an_answer_about_what_was_not_lent_ends_the_cards_service_and_gives_back_what_was_sent() {
    // The free place, one behind the last, places that no ring has.
    for (way, index) in [
        (RECEIVES, 8),
        (RECEIVES, 31),
        (RECEIVES, 32),
        (RECEIVES, 0xfff),
    ]
    .into_iter()
    .chain([(SENDS, 2), (SENDS, 31), (SENDS, 0xfff)])
    {
        let (model, mut card) = ready(8);
        for frame in model.frames(2) {
            card.send(filled(frame, &wire(1, 60)));
        }
        card.kick();
        model.answer(way, index);
        assert!(card.poll_rx().is_none() && card.poll_sent().is_none());
        assert!(!card.arm(), "nothing to wait for");
        assert!(card.tick(Instant(0)), "its link is gone");
        assert_eq!(model.resets(), 2);
        assert!(!model.is_active());
        card.send(filled(model.frames(1).remove(0), &wire(1, 60)));
        card.kick();
        let mut back = 0;
        while card.poll_sent().is_some() {
            back += 1;
        }
        assert_eq!(back, 3);
        assert!(card.poll_rx().is_none());
    }
}

#[test]
fn the_same_answer_twice_is_an_answer_about_what_was_not_lent() {
    let (model, mut card) = ready(8);
    assert!(model.receive(&wire(1, 60)));
    model.answer(RECEIVES, 0);
    assert!(card.poll_rx().is_some());
    assert!(card.poll_rx().is_none());
    assert!(card.tick(Instant(0)));
    assert!(!model.is_active());
}

#[test]
fn a_card_that_is_pulled_out_gives_back_what_was_sent_and_is_left_alone() {
    let (model, mut card) = start(8);
    model::gives_back_when_pulled_out(&model, &mut card, 2);
}

#[test]
fn a_card_that_can_not_be_used_is_refused_by_name_of_the_fault() {
    let plain = Quirks::default();
    let mut quirks = plain;
    quirks.is_too_new = true;
    let error = Error::OtherRevision { revisions: 0b110 };
    assert_eq!(refused(quirks), error);
    for (has_no_address, has_group_address) in [(true, false), (false, true)] {
        quirks = plain;
        quirks.has_no_address = has_no_address;
        quirks.has_group_address = has_group_address;
        assert_eq!(refused(quirks), Error::NoAddress);
    }
    quirks = plain;
    quirks.refuses = 1;
    assert_eq!(refused(quirks), Error::Refused { status: 1 });
    let model = Model::new(8, plain);
    model.vanish();
    assert_eq!(model.start(2).err(), Some(Error::NotAnswering));
    let model = Model::new(8, plain);
    model.shorten_memory();
    let error = model.start(2).err();
    assert_eq!(error, Some(Error::NoMemory { bytes: 4096 }));
}
