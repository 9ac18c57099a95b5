//! What every card must do, whatever its registers are: checks that a driver's tests
//! run with the model of its card.
//!
//! Each says what it shows by its name, and panics with the card's.

extern crate alloc;

use crate::{Frame, Instant, Nic};
use alloc::vec::Vec;

/// The model of a card, as the checks move it.
pub trait Cable {
    /// `count` frames of the machine that the card is in.
    fn frames(&self, count: usize) -> Vec<Frame>;

    /// A frame arrives. False if the card drops it: for want of an empty one or a link.
    fn receive(&self, wire: &[u8]) -> bool;

    /// Sends at most `count` frames of those it was told of, and returns them.
    fn send(&self, count: usize) -> Vec<Vec<u8>>;

    /// Pulls the cable or puts it back.
    fn set_link(&self, up: bool);

    /// The card is pulled out.
    fn vanish(&self);

    /// Messages to the processor so far.
    fn messages(&self) -> u64;
}

/// A frame of `bytes` bytes that is like no other.
pub fn wire(seed: usize, bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|index| ((seed.wrapping_mul(0x9e37) + index * 7) >> 2) as u8)
        .collect()
}

/// `frame` with these wire bytes.
pub fn filled(mut frame: Frame, bytes: &[u8]) -> Frame {
    frame.buffer_mut()[..bytes.len()].copy_from_slice(bytes);
    frame.set_len(bytes.len());
    frame
}

/// Lends the card `frames` empty frames.
pub fn lend(model: &impl Cable, card: &mut impl Nic, frames: usize) {
    for frame in model.frames(frames) {
        card.post(frame);
    }
    card.kick();
}

/// Frames of these lengths are received in order and whole. The card has empty ones.
#[track_caller]
pub fn receives_in_order(model: &impl Cable, card: &mut impl Nic, lengths: &[usize]) {
    for &bytes in lengths {
        assert!(
            model.receive(&wire(bytes, bytes)),
            "{} {bytes}",
            card.name()
        );
    }
    for &bytes in lengths {
        let frame = card.poll_rx().expect("received");
        assert!(
            frame.wire() == wire(bytes, bytes),
            "{} {bytes}",
            card.name()
        );
    }
    assert!(card.poll_rx().is_none());
}

/// Frames of these lengths, more than three, are sent in order and whole, and come back
/// as they are sent, with one of the `doorbells` for all.
#[track_caller]
pub fn sends_with_one_doorbell<N: Nic>(
    model: &impl Cable,
    card: &mut N,
    lengths: &[usize],
    doorbells: fn(&N) -> u64,
) {
    for (&bytes, frame) in lengths.iter().zip(model.frames(lengths.len())) {
        card.send(filled(frame, &wire(bytes, bytes)));
    }
    assert!(model.send(1).is_empty(), "nothing before the kick");
    card.kick();
    assert_eq!(doorbells(card), 1);
    assert!(card.poll_sent().is_none());
    let mut sent = model.send(3);
    assert_eq!(sent.len(), 3);
    for _ in 0..3 {
        assert!(card.poll_sent().is_some());
    }
    assert!(card.poll_sent().is_none(), "some are still on their way");
    sent.extend(model.send(usize::MAX));
    assert_eq!(sent.len(), lengths.len());
    for (sent, &bytes) in sent.iter().zip(lengths) {
        assert!(*sent == wire(bytes, bytes), "{} {bytes}", card.name());
    }
    for _ in 3..lengths.len() {
        assert!(card.poll_sent().is_some());
    }
    assert!(card.poll_sent().is_none());
    card.kick();
    assert_eq!(doorbells(card), 1, "no news, no doorbell");
}

/// All `frames` frames of a machine, which the card was lent, go round: received,
/// answered, sent, lent again, many times and with the card slower than the node. They
/// keep their order, and those that were answered are counted.
#[track_caller]
pub fn go_round(model: &impl Cable, card: &mut impl Nic, frames: usize) -> usize {
    let (mut arrived, mut answered, mut sent) = (0, 0, 0);
    for round in 0..40 {
        card.kick();
        while model.receive(&wire(arrived, 60 + arrived % 100)) {
            arrived += 1;
        }
        while let Some(frame) = card.poll_rx() {
            assert!(frame.wire() == wire(answered, 60 + answered % 100));
            answered += 1;
            card.send(frame);
        }
        card.kick();
        for frame in model.send(1 + frames * (round % 3) / 2) {
            assert!(frame == wire(sent, 60 + sent % 100), "in order");
            sent += 1;
        }
        while let Some(frame) = card.poll_sent() {
            card.post(frame);
        }
    }
    assert_eq!(arrived, answered, "{}", card.name());
    sent
}

/// A frame wakes a node that sleeps, once, and one that is awake never; the link wakes
/// it too. The card has some empty frames.
#[track_caller]
pub fn wakes_a_sleeper_once(model: &impl Cable, card: &mut impl Nic) {
    assert!(model.receive(&wire(1, 60)));
    assert_eq!(model.messages(), 0);
    assert!(card.arm(), "it would sleep over a frame");
    card.disarm();
    assert!(card.poll_rx().is_some());
    let before = model.messages();
    assert!(!card.arm());
    assert_eq!(model.messages(), before, "what was seen wakes nobody");
    assert!(model.receive(&wire(2, 60)));
    assert_eq!(model.messages(), before + 1);
    assert!(model.receive(&wire(3, 60)));
    assert_eq!(model.messages(), before + 1, "one for both");
    card.disarm();
    assert!(model.receive(&wire(4, 60)));
    assert_eq!(model.messages(), before + 1);
    while card.poll_rx().is_some() {}
    assert!(!card.arm());
    model.set_link(false);
    assert_eq!(model.messages(), before + 2, "the link wakes too");
}

/// A node that is about to sleep sees a frame that is there, and is sent `messages`
/// messages of it. The card has some empty frames.
#[track_caller]
pub fn is_seen_before_sleep(model: &impl Cable, card: &mut impl Nic, messages: u64) {
    assert!(!card.arm());
    assert!(model.receive(&wire(1, 60)));
    assert_eq!(model.messages(), messages);
    assert!(card.arm(), "a frame that is there is seen");
}

/// A link that goes and one that comes is news once.
#[track_caller]
pub fn notices_the_link(model: &impl Cable, card: &mut impl Nic) {
    assert!(!card.tick(Instant(0)));
    model.set_link(false);
    assert!(card.tick(Instant(1)));
    assert!(!card.link_up());
    assert!(!card.tick(Instant(2)));
    model.set_link(true);
    assert!(card.tick(Instant(3)));
    assert!(card.link_up());
}

/// A card that is pulled out gives back what it was to send, which are `count` frames
/// and one of which it was not told, says so once, and is left alone.
#[track_caller]
pub fn gives_back_when_pulled_out(model: &impl Cable, card: &mut impl Nic, count: usize) {
    lend(model, card, 3);
    let mut frames = model.frames(count + 2).into_iter();
    let mut send = |card: &mut dyn Nic, count| {
        for frame in frames.by_ref().take(count) {
            card.send(filled(frame, &wire(1, 60)));
        }
    };
    send(card, count);
    card.kick();
    send(card, 1);
    model.vanish();
    assert!(card.poll_sent().is_none());
    assert!(card.tick(Instant(0)), "the link is gone");
    assert!(!card.link_up());
    send(card, 1);
    let mut back = 0;
    while let Some(frame) = card.poll_sent() {
        card.post(frame);
        back += 1;
    }
    assert_eq!(back, count + 2, "{}", card.name());
    card.kick();
    assert!(card.poll_rx().is_none());
    assert!(!card.arm(), "nothing to wait for");
    assert!(!card.tick(Instant(1)));
}
