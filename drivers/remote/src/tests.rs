//! The link between two real threads, and its turns one by one.
//!
//! A card and a disk here keep every rule of the contract and check it: they panic where
//! a frame is lent twice, comes to the wrong device or out of order. A processor is a
//! thread; its halt is a wait for a bell that stays rung, as an interrupt stays pending.

use crate::{Card, Link, Way};
use io::{Disk, Done, Frame, Geometry, Identity, Instant, Nic, Op, Outcome, Request, WriteCache};
use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use std::vec::Vec;
use std::{thread, vec};

/// Frames of a machine.
pub(crate) fn frames(count: usize) -> Vec<Frame> {
    io::carve(vec![0; (count + 1) * io::SLOT_BYTES].leak())
        .take(count)
        .collect()
}

/// What a halt waits for.
struct Bell {
    is_rung: Mutex<bool>,
    condition: Condvar,
}

impl Bell {
    const fn new() -> Self {
        Self {
            is_rung: Mutex::new(false),
            condition: Condvar::new(),
        }
    }

    fn ring(&self) {
        *self.is_rung.lock().unwrap() = true;
        self.condition.notify_one();
    }

    /// Halts until it is rung. False if that takes so long that a ring was lost.
    fn halt(&self) -> bool {
        let is_rung = self.is_rung.lock().unwrap();
        let (mut is_rung, wait) = self
            .condition
            .wait_timeout_while(is_rung, Duration::from_secs(60), |is_rung| !*is_rung)
            .unwrap();
        *is_rung = false;
        !wait.timed_out()
    }
}

/// A card on which `left` frames arrive, numbered, as fast as it has empty ones, and
/// which looks at what is sent.
struct FakeCard {
    number: u64,
    /// It lets go of nothing that it sends.
    holds: bool,
    left: u64,
    arrived: u64,
    empty: VecDeque<Frame>,
    sent: VecDeque<Frame>,
    answered: Arc<Vec<AtomicU64>>,
    link: Arc<AtomicBool>,
}

const NUMBER_AT: usize = 40;

fn number_of(frame: &Frame) -> u64 {
    u64::from_le_bytes(*frame.wire()[NUMBER_AT..].first_chunk().unwrap())
}

fn set_number(frame: &mut Frame, number: u64) {
    frame.set_len(60);
    frame.buffer_mut()[NUMBER_AT..NUMBER_AT + 8].copy_from_slice(&number.to_le_bytes());
}

impl Nic for FakeCard {
    fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.number as u8]
    }
    fn mtu(&self) -> u16 {
        9000
    }
    fn link_up(&self) -> bool {
        self.link.load(Ordering::SeqCst)
    }
    fn ring_frames(&self) -> usize {
        1024
    }
    fn post(&mut self, frame: Frame) {
        assert_eq!(u64::from(frame.home()), self.number, "another card's");
        self.empty.push_back(frame);
    }
    fn poll_rx(&mut self) -> Option<Frame> {
        if self.arrived == self.left {
            return None;
        }
        let mut frame = self.empty.pop_front()?;
        set_number(&mut frame, self.arrived);
        self.arrived += 1;
        Some(frame)
    }
    fn send(&mut self, frame: Frame) {
        assert_eq!(u64::from(frame.home()), self.number, "another card's");
        self.answered[self.number as usize].fetch_add(1, Ordering::SeqCst);
        self.sent.push_back(frame);
    }
    fn poll_sent(&mut self) -> Option<Frame> {
        if self.holds {
            return None;
        }
        self.sent.pop_front()
    }
    fn kick(&mut self) {}
    fn tick(&mut self, _: Instant) -> bool {
        true
    }
    fn arm(&mut self) -> bool {
        self.arrived < self.left && !self.empty.is_empty() || !self.sent.is_empty()
    }
    fn disarm(&mut self) {}
    fn name(&self) -> &str {
        "fake card"
    }
}

/// A disk that ends what it was given from both ends of its queue, after a kick, and
/// flips the frame's number so that the node sees that it was there once.
struct FakeDisk {
    number: u64,
    unseen: VecDeque<(Request, Frame)>,
    seen: VecDeque<(Request, Frame)>,
    geometry: Geometry,
    keeps: bool,
}

impl Disk for FakeDisk {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }
    fn identity(&self) -> &Identity {
        const NOBODY: &Identity = &Identity {
            serial: io::Text::EMPTY,
            model: io::Text::EMPTY,
            firmware: io::Text::EMPTY,
            wwn: io::Text::EMPTY,
        };
        NOBODY
    }
    fn submit(&mut self, request: Request, frame: Frame) {
        assert_eq!(request.lba % 2, self.number, "another disk's");
        self.unseen.push_back((request, frame));
    }
    fn poll_done(&mut self) -> Option<Done> {
        if self.keeps {
            return None;
        }
        let (request, mut frame) = if self.seen.len().is_multiple_of(3) {
            self.seen.pop_back()?
        } else {
            self.seen.pop_front()?
        };
        let number = number_of(&frame);
        set_number(&mut frame, !number);
        Some(Done {
            ticket: request.ticket,
            outcome: Outcome::Done,
            frame,
        })
    }
    fn lent<R>(&self, ticket: u32, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let all = self.seen.iter().chain(&self.unseen);
        let mut all = all.filter(|(request, _)| request.ticket == ticket);
        all.next().map(|(_, frame)| look(frame))
    }
    fn kick(&mut self) {
        self.seen.append(&mut self.unseen);
    }
    fn tick(&mut self, _: Instant) -> bool {
        self.geometry.sectors += 1;
        true
    }
    fn arm(&mut self) -> bool {
        !self.seen.is_empty()
    }
    fn disarm(&mut self) {}
    fn name(&self) -> &str {
        "fake disk"
    }
}

type FakeLink = Link<FakeCard, FakeDisk>;
type FakeWay = Way<FakeCard, FakeDisk>;
type Cards = Vec<Card<FakeCard, FakeDisk>>;
type Disks = Vec<crate::Disk<FakeCard, FakeDisk>>;

const CARDS: u64 = 2;
const DISKS: u64 = 2;

fn disk(number: u64, keeps: bool) -> FakeDisk {
    FakeDisk {
        number,
        unseen: VecDeque::new(),
        seen: VecDeque::new(),
        keeps,
        geometry: Geometry {
            sectors: 1000,
            physical_exponent: 0,
            alignment_offset: 0,
            read_only: false,
            write_cache: WriteCache::None,
            discard: None,
        },
    }
}

/// A link with two cards, on each of which `arriving` frames arrive, and two disks.
fn link(
    bells: [fn(); 2],
    count: usize,
    arriving: u64,
    keeps: bool,
) -> (
    &'static FakeLink,
    Cards,
    Disks,
    Arc<Vec<AtomicU64>>,
    Arc<AtomicBool>,
) {
    let link: &FakeLink = Box::leak(Box::new(Link::new(count, bells[0], bells[1])));
    let way = FakeWay::new(link);
    let answered = Arc::new((0..CARDS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
    let is_up = Arc::new(AtomicBool::new(true));
    let cards = (0..CARDS).map(|number| {
        let card = FakeCard {
            number,
            holds: false,
            left: arriving,
            arrived: 0,
            empty: VecDeque::new(),
            sent: VecDeque::new(),
            answered: Arc::clone(&answered),
            link: Arc::clone(&is_up),
        };
        way.card(card, number + 1 == CARDS)
    });
    let mut cards: Cards = cards.collect();
    let disks = (0..DISKS)
        .map(|number| way.disk(disk(number, keeps), 0))
        .collect();
    for (index, mut frame) in frames(count).into_iter().enumerate() {
        let home = index % CARDS as usize;
        frame.set_home(home as u8);
        cards[home].post(frame);
    }
    for card in &mut cards {
        card.kick();
    }
    (link, cards, disks, answered, is_up)
}

/// A number that looks like chance, for pauses.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

static NODE: Bell = Bell::new();
static MOVER: Bell = Bell::new();

/// Half a million frames on each of two cards cross to a disk and back, with 64 frames
/// and pauses of both sides wherever they like; each side halts whenever it may.
#[test]
fn a_million_frames_cross_and_come_back_once_each_in_order_and_no_sleeper_misses_one() {
    const EACH: u64 = 500_000;
    let bells: [fn(); 2] = [|| NODE.ring(), || MOVER.ring()];
    let (link, mut cards, mut disks, answered, _) = link(bells, 64, EACH, false);
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let mover = thread::spawn(move || {
        let (mut seed, mut sleeps) = (1, 0_u64);
        let mut now = Instant(1);
        while !over.load(Ordering::SeqCst) {
            now = now + 1;
            if random(&mut seed).is_multiple_of(64) {
                thread::yield_now();
            }
            if link.turn(now) || link.arm() {
                continue;
            }
            sleeps += 1;
            assert!(MOVER.halt(), "the devices' side sleeps over a frame");
            link.disarm(now);
        }
        sleeps
    });
    let mut expected = [0; CARDS as usize];
    let mut ended = 0;
    let (mut wanted, mut came_back) = (0, 0);
    let (mut seed, mut sleeps) = (7, 0_u64);
    while ended < CARDS * EACH {
        let mut moved = false;
        for (index, disk) in disks.iter_mut().enumerate() {
            while let Some(done) = disk.poll_done() {
                let (number, frame) = (u64::from(done.ticket), done.frame);
                assert_eq!(!number_of(&frame), number, "once at its disk");
                assert_eq!(number % DISKS, index as u64);
                // One of three is wanted back.
                let card = &mut cards[usize::from(frame.home())];
                wanted += u64::from(card.send_off(frame, || ended % 3 == 0));
                ended += 1;
                moved = true;
            }
        }
        for index in 0..cards.len() {
            while let Some(frame) = cards[index].poll_rx() {
                let number = number_of(&frame);
                assert_eq!(number, expected[index], "in order of arrival");
                expected[index] += 1;
                let to = number % DISKS;
                let request = Request {
                    op: Op::Read,
                    lba: number * 2 + to,
                    sectors: 1,
                    data: 36,
                    ticket: number as u32,
                };
                disks[to as usize].submit(request, frame);
                moved = true;
            }
        }
        for card in &mut cards {
            while let Some(frame) = card.poll_sent() {
                card.post(frame);
                came_back += 1;
                moved = true;
            }
        }
        for card in &mut cards {
            card.kick();
        }
        if random(&mut seed).is_multiple_of(64) {
            thread::yield_now();
        }
        if moved {
            continue;
        }
        let mut is_there = false;
        for card in &mut cards {
            is_there |= card.arm();
        }
        if !is_there {
            sleeps += 1;
            assert!(NODE.halt(), "the node sleeps over a frame");
        }
        for card in &mut cards {
            card.disarm();
        }
    }
    // Everything that was sent has to get there as well.
    while answered
        .iter()
        .map(|one| one.load(Ordering::SeqCst))
        .sum::<u64>()
        < CARDS * EACH
    {
        thread::yield_now();
    }
    is_over.store(true, Ordering::SeqCst);
    MOVER.ring();
    let mover_sleeps = mover.join().unwrap();
    assert!(sleeps > 0 && mover_sleeps > 0, "both sides have slept");
    for answered in answered.iter() {
        assert_eq!(answered.load(Ordering::SeqCst), EACH);
    }
    // Every frame receives again, or is on the way there.
    link.turn(Instant(u64::MAX));
    cards[1].kick();
    for card in &mut cards {
        while let Some(frame) = card.poll_sent() {
            card.post(frame);
            came_back += 1;
        }
    }
    cards[1].kick();
    link.turn(Instant(u64::MAX));
    assert_eq!(
        came_back, wanted,
        "what is wanted comes back, and nothing else"
    );
    for (index, card) in cards.iter().enumerate() {
        assert_eq!(card.leaving(), 0);
        assert_eq!(link.with_nic(index as u8, |nic| nic.empty.len()), 32);
    }
}

fn nobody() {}

#[test]
fn a_frame_that_nobody_wants_back_is_posted_where_it_was_sent_and_counted_until_then() {
    let (link, mut cards, _disks, answered, _) = link([nobody, nobody], 4, 1, false);
    link.turn(Instant(1));
    cards[1].kick();
    let frame = cards[0].poll_rx().expect("it arrived");
    let empty = |link: &FakeLink| link.with_nic(0, |nic| nic.empty.len());
    assert_eq!(empty(link), 1);
    // A card that has stopped keeps what it was to send.
    link.with_nic(0, |nic| nic.holds = true);
    assert!(!cards[0].send_off(frame, || false));
    assert_eq!(cards[0].leaving(), 1, "collected");
    cards[1].kick();
    assert_eq!(cards[0].leaving(), 1, "in the devices' mailbox");
    link.turn(Instant(2));
    assert_eq!(answered[0].load(Ordering::SeqCst), 1);
    assert_eq!((cards[0].leaving(), empty(link)), (1, 1), "at the card");
    assert_eq!(cards[1].leaving(), 0, "it is the other card's");
    link.with_nic(0, |nic| nic.holds = false);
    assert!(!link.turn(Instant(3)), "nothing crosses");
    assert_eq!((cards[0].leaving(), empty(link)), (0, 2), "posted");
    cards[1].kick();
    assert!(cards[0].poll_sent().is_none());
    // It says when it was posted.
    let posted = link.with_nic(0, |nic| nic.empty.pop_back().map(|frame| frame.posted_at()));
    assert_eq!(posted, Some(Instant(3)));
}

#[test]
fn a_frame_that_is_wanted_back_comes_back_even_if_it_was_not_before() {
    let (link, mut cards, ..) = link([nobody, nobody], 2, 2, false);
    for round in 0..2 {
        // It is posted in the first, and receives in the second.
        link.turn(Instant(1));
        link.turn(Instant(1));
        cards[1].kick();
        let frame = cards[0].poll_rx().expect("it arrived");
        cards[1].poll_rx();
        assert_eq!(cards[0].send_off(frame, || round == 1), round == 1);
        cards[1].kick();
    }
    link.turn(Instant(2));
    cards[1].kick();
    assert!(cards[0].poll_sent().is_some());
    assert_eq!(cards[0].leaving(), 0);
}

/// The fence needs it: an old copy of a write lies in the ring of card 1 when the answer
/// to the write leaves by card 0, and what the host writes next comes in there. The node
/// asks card 0 first, and has not asked anybody in between.
#[test]
fn what_lay_in_the_rings_before_an_answer_left_is_taken_before_what_came_after_it() {
    let (link, mut cards, _disks, answered, _) = link([nobody, nobody], 6, 0, false);
    link.with_nic(0, |nic| nic.left = 1);
    link.turn(Instant(1));
    cards[1].kick();
    let answer = cards[0].poll_rx().expect("the request");
    cards[0].send(answer);
    cards[1].kick();
    link.with_nic(1, |nic| nic.left = 1);
    link.turn(Instant(2));
    assert_eq!(answered[0].load(Ordering::SeqCst), 1, "the answer has left");
    link.with_nic(0, |nic| nic.left = 2);
    link.turn(Instant(3));
    cards[1].kick();
    assert!(
        cards[0].poll_rx().is_none(),
        "an older one is not taken yet"
    );
    assert!(cards[1].poll_rx().is_some(), "the old copy");
    assert!(cards[0].poll_rx().is_some(), "what came after the answer");
}

#[test]
fn a_card_gets_nothing_out_of_the_line_while_another_cards_frame_is_first() {
    let (link, mut cards, _disks, ..) = link([nobody, nobody], 4, 1, false);
    link.turn(Instant(1));
    cards[1].kick();
    assert!(cards[1].poll_rx().is_none(), "card 0 received before");
    let first = cards[0].poll_rx().expect("it is first");
    let second = cards[1].poll_rx().expect("now it is");
    assert_eq!((first.home(), second.home()), (0, 1));
}

#[test]
fn a_frame_says_how_long_it_may_have_lain_in_the_ring_by_the_clock_of_who_saw_it_empty() {
    let (link, mut cards, _disks, ..) = link([nobody, nobody], 4, 0, false);
    link.turn(Instant(50));
    assert!(!link.arm());
    link.disarm(Instant(900));
    link.with_nic(0, |nic| nic.left = 1);
    link.turn(Instant(1000));
    cards[1].kick();
    let frame = cards[0].poll_rx().expect("it arrived");
    assert_eq!(frame.posted_at(), Instant(900));
    assert_eq!(cards[0].seen_empty(Instant(2000)), Instant(0));
}

#[test]
fn a_write_under_way_is_seen_at_every_place_that_it_passes() {
    let (link, mut cards, mut disks, ..) = link([nobody, nobody], 4, 1, true);
    link.turn(Instant(1));
    cards[1].kick();
    let frame = cards[0].poll_rx().expect("it arrived");
    let request = Request {
        op: Op::Write,
        lba: 1,
        sectors: 1,
        data: 36,
        ticket: 77,
    };
    disks[1].submit(request, frame);
    let sees = |disks: &Disks| {
        assert_eq!(disks[0].lent(77, |_| ()), None, "it is the other disk's");
        assert_eq!(disks[1].lent(76, |_| ()), None, "no such operation");
        disks[1].lent(77, |frame| frame.len()) == Some(60)
    };
    assert!(sees(&disks), "collected");
    cards[1].kick();
    assert!(sees(&disks), "in the devices' mailbox");
    link.turn(Instant(2));
    assert!(sees(&disks), "at the disk");
    link.with_disk(1, |disk| disk.keeps = false);
    link.turn(Instant(3));
    assert!(sees(&disks), "in the node's mailbox");
    cards[1].kick();
    assert!(sees(&disks), "taken in");
    assert_eq!(
        disks[1].poll_done().map(|done| done.ticket),
        Some(request.ticket)
    );
    assert!(!sees(&disks), "it has ended");
}

#[test]
fn a_look_at_a_device_asks_its_driver_and_what_has_changed_is_kept() {
    let (_, mut cards, mut disks, _, is_up) = link([nobody, nobody], 4, 0, false);
    assert!(cards[0].link_up());
    is_up.store(false, Ordering::SeqCst);
    assert!(cards[0].link_up(), "not looked at yet");
    assert!(cards[0].tick(Instant(1)));
    assert!(!cards[0].link_up());
    assert_eq!(disks[1].geometry().sectors, 1000);
    assert!(disks[1].tick(Instant(1)));
    assert_eq!(disks[1].geometry().sectors, 1001);
    assert_eq!(cards[1].mac(), [2, 0, 0, 0, 0, 1]);
    assert_eq!(
        (cards[1].name(), disks[0].name()),
        ("fake card", "fake disk")
    );
}

#[test]
fn what_keeps_a_side_from_sleeping_is_there_in_its_next_turn() {
    let (link, mut cards, _disks, answered, _) = link([nobody, nobody], 4, 1, false);
    assert!(link.arm(), "frames to receive into");
    assert!(link.turn(Instant(1)), "and they are given");
    assert!(cards[1].arm(), "two frames were received");
    for card in &mut cards {
        card.disarm();
    }
    assert!(cards[1].arm(), "and were not taken yet");
    for card in &mut cards {
        card.disarm();
    }
    let frame = cards[0].poll_rx().expect("the first");
    assert!(cards[1].poll_rx().is_some(), "the second");
    cards[0].send(frame);
    assert!(cards[1].arm(), "it has an answer that nobody was shown");
    cards[1].kick();
    assert!(link.arm(), "the answer");
    assert!(link.turn(Instant(2)));
    assert_eq!(answered[0].load(Ordering::SeqCst), 1);
}

static CALLED: AtomicU64 = AtomicU64::new(0);

#[test]
fn a_device_that_calls_without_a_frame_calls_the_node() {
    fn called() {
        CALLED.fetch_add(1, Ordering::SeqCst);
    }
    let (link, mut cards, ..) = link([called, nobody], 4, 0, false);
    link.turn(Instant(1));
    assert!(!link.arm());
    for card in &mut cards {
        assert!(!card.arm());
    }
    link.disarm(Instant(2));
    assert!(!link.turn(Instant(2)));
    assert_eq!(CALLED.load(Ordering::SeqCst), 1, "a link may have changed");
    assert!(!link.turn(Instant(3)));
    assert_eq!(CALLED.load(Ordering::SeqCst), 1, "once");
}

static CALLED_WITH: AtomicU64 = AtomicU64::new(0);

#[test]
fn a_device_that_calls_with_a_frame_calls_the_node_for_the_frame_and_not_again() {
    fn called() {
        CALLED_WITH.fetch_add(1, Ordering::SeqCst);
    }
    let (link, mut cards, ..) = link([called, nobody], 4, 0, false);
    link.turn(Instant(1));
    let mut sleep = || cards.iter_mut().for_each(|card| assert!(!card.arm()));
    assert!(!link.arm());
    sleep();
    link.with_nic(0, |nic| nic.left = 1);
    link.disarm(Instant(2));
    assert!(link.turn(Instant(2)));
    assert_eq!(CALLED_WITH.load(Ordering::SeqCst), 1, "a frame");
    cards[1].disarm();
    assert!(cards[0].poll_rx().is_some());
    cards.iter_mut().for_each(|card| assert!(!card.arm()));
    assert!(!link.turn(Instant(3)));
    assert_eq!(CALLED_WITH.load(Ordering::SeqCst), 1, "there is nothing");
}

#[test]
fn a_pulse_beats_with_every_turn_and_a_sleeper_has_none() {
    let (link, mut cards, ..) = link([nobody, nobody], 4, 0, false);
    let before = link.pulse();
    assert!(before.is_some());
    assert_eq!(link.pulse(), before, "who hangs has the same pulse");
    link.turn(Instant(1));
    assert_ne!(link.pulse(), before);
    assert!(!link.arm());
    assert_eq!(link.pulse(), None);
    cards[0].tick(Instant(2));
    assert!(link.pulse().is_some(), "who was called has to come");
}
