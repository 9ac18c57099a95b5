extern crate std;

use super::*;
use crate::limits::WRITE_WAIT_MAX_US;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

const NOW: u64 = 1_000;

fn write(first: u64, sectors: u64) -> Write {
    Write {
        slot: 0,
        first,
        sectors,
    }
}

/// The whole export, as a discard has it.
const BARRIER: Write = Write {
    slot: 0,
    first: 0,
    sectors: u64::MAX,
};

fn arrive<const N: usize>(fence: &mut Fence<N>, write: Write) -> Passage {
    fence.arrive(NOW, write, |_| false)
}

fn go<const N: usize>(fence: &mut Fence<N>, write: Write) -> Ticket {
    match arrive(fence, write) {
        Passage::Go(ticket) => ticket,
        other => panic!("{write:?} should run at once: {other:?}"),
    }
}

fn wait<const N: usize>(fence: &mut Fence<N>, write: Write) -> Ticket {
    match arrive(fence, write) {
        Passage::Wait(ticket) => ticket,
        other => panic!("{write:?} should wait: {other:?}"),
    }
}

/// What the filter must be: the bits of what is live.
fn check_filter<const N: usize>(fence: &Fence<N>) {
    let mut filter: BTreeMap<usize, u64> = BTreeMap::new();
    for place in fence.live_places() {
        let entry = &fence.entries[usize::from(place)];
        for (word, mask) in Bits::of(entry.slot, entry.first, entry.end).halves() {
            *filter.entry(word).or_default() |= mask;
        }
    }
    for (word, &mask) in fence.filter.iter().enumerate() {
        assert_eq!(mask, filter.get(&word).copied().unwrap_or(0), "word {word}");
    }
}

/// An empty fence has no trace of what was in it.
fn check_empty<const N: usize>(fence: &Fence<N>) {
    assert!(fence.is_empty());
    assert_eq!(fence.live_places().count(), 0);
    assert_eq!(fence.wide, 0);
    assert!(fence.filter.iter().all(|&word| word == 0));
    assert!(fence.crowds.iter().all(|&crowd| crowd == 0));
    assert_eq!((fence.waiting.head, fence.ready.head), (NONE, NONE));
    let mut places = fence.places;
    places.sort_unstable();
    assert!(
        places
            .iter()
            .enumerate()
            .all(|(index, &place)| index == usize::from(place))
    );
    assert!(fence.entries.iter().all(|entry| entry.state == State::Free));
}

#[test]
fn writes_side_by_side_run_together() {
    let mut fence = Fence::<8>::new();
    let tickets = [(0, 17), (17, 17), (34, 17), (51, 17), (68, 2)].map(|(first, sectors)| {
        let ticket = go(&mut fence, write(first, sectors));
        check_filter(&fence);
        ticket
    });
    for ticket in tickets {
        fence.finish(ticket);
        check_filter(&fence);
    }
    check_empty(&fence);
}

#[test]
fn the_same_sectors_of_another_export_do_not_overlap() {
    let mut fence = Fence::<4>::new();
    let one = go(&mut fence, write(0, 8));
    let other = go(
        &mut fence,
        Write {
            slot: 1,
            ..write(0, 8)
        },
    );
    fence.finish(one);
    fence.finish(other);
    check_empty(&fence);
}

#[test]
fn a_write_that_overlaps_by_one_sector_waits_until_the_older_is_answered() {
    //
    for (first, sectors) in [(9, 2), (17, 1), (0, 11), (12, 1), (0, 4096)] {
        let mut fence = Fence::<4>::new();
        let older = go(&mut fence, write(10, 8));
        let younger = wait(&mut fence, write(first, sectors));
        assert_eq!(fence.next(NOW), None);
        fence.finish(older);
        assert_eq!(fence.next(NOW), Some(Next::Start(younger)));
        assert_eq!(fence.next(NOW), None, "said once");
        fence.finish(younger);
        check_empty(&fence);
    }
}

#[test]
fn a_write_that_ends_where_the_other_begins_does_not_wait() {
    //
    for (first, sectors) in [(9, 1), (18, 1), (0, 10), (18, 4096)] {
        let mut fence = Fence::<4>::new();
        go(&mut fence, write(10, 8));
        go(&mut fence, write(first, sectors));
    }
}

#[test]
fn a_write_waits_for_all_that_it_overlaps() {
    let mut fence = Fence::<4>::new();
    let left = go(&mut fence, write(0, 8));
    let right = go(&mut fence, write(8, 8));
    let across = wait(&mut fence, write(4, 8));
    fence.finish(right);
    assert_eq!(fence.next(NOW), None);
    fence.finish(left);
    assert_eq!(fence.next(NOW), Some(Next::Start(across)));
}

#[test]
fn of_a_chain_one_runs_at_a_time_in_order_of_arrival() {
    //
    let mut fence = Fence::<8>::new();
    let mut running = go(&mut fence, write(0, 1));
    let waiting: Vec<_> = (0..5).map(|_| wait(&mut fence, write(0, 1))).collect();
    for next in waiting {
        assert_eq!(fence.next(NOW), None);
        fence.finish(running);
        assert_eq!(fence.next(NOW), Some(Next::Start(next)));
        running = next;
    }
    fence.finish(running);
    check_empty(&fence);
}

#[test]
fn a_copy_of_a_running_or_waiting_write_shares_its_run() {
    //
    let mut fence = Fence::<4>::new();
    let running = go(&mut fence, write(0, 2));
    let waiting = wait(&mut fence, write(0, 2));
    let copy_of = |fence: &mut Fence<4>, original| {
        fence.arrive(NOW, write(0, 2), |ticket| ticket == original)
    };
    assert_eq!(copy_of(&mut fence, running), Passage::Copy(running));
    assert_eq!(copy_of(&mut fence, waiting), Passage::Copy(waiting));
    assert_eq!(fence.len(), 2, "a copy takes no place");
}

#[test]
fn only_an_overlapping_write_of_the_same_range_is_asked_for_its_bytes() {
    //
    let mut fence = Fence::<8>::new();
    go(&mut fence, write(0, 2));
    go(&mut fence, write(2, 2));
    for other in [write(0, 1), write(1, 2), write(0, 4)] {
        fence.arrive(NOW, other, |_| panic!("{other:?} has another range"));
    }
}

#[test]
fn a_barrier_waits_for_all_and_holds_up_all_of_its_export() {
    //
    let mut fence = Fence::<8>::new();
    let older = [
        go(&mut fence, write(0, 2)),
        go(&mut fence, write(1 << 40, 2)),
    ];
    let barrier = wait(&mut fence, BARRIER);
    let younger = wait(&mut fence, write(77, 1));
    let stranger = go(
        &mut fence,
        Write {
            slot: 3,
            ..write(77, 1)
        },
    );
    for ticket in older {
        fence.finish(ticket);
    }
    assert_eq!(fence.next(NOW), Some(Next::Start(barrier)));
    assert_eq!(fence.next(NOW), None);
    fence.finish(barrier);
    assert_eq!(fence.next(NOW), Some(Next::Start(younger)));
    fence.finish(younger);
    fence.finish(stranger);
    check_empty(&fence);
}

#[test]
fn a_write_that_has_waited_just_long_enough_runs_and_one_more_microsecond_is_too_long() {
    //
    for (waited, is_late) in [(WRITE_WAIT_MAX_US, false), (WRITE_WAIT_MAX_US + 1, true)] {
        let mut fence = Fence::<4>::new();
        let older = go(&mut fence, write(0, 1));
        let younger = wait(&mut fence, write(0, 1));
        fence.finish(older);
        let expected = if is_late {
            Next::Expired(younger)
        } else {
            Next::Start(younger)
        };
        assert_eq!(fence.next(NOW + waited), Some(expected));
        assert_eq!(fence.is_empty(), is_late, "what has expired has no place");
    }
}

#[test]
fn a_write_behind_a_hung_one_expires_without_it_and_lets_its_own_go() {
    //
    let mut fence = Fence::<4>::new();
    let hung = go(&mut fence, write(0, 2));
    let middle = wait(&mut fence, write(1, 2));
    let Passage::Wait(last) = fence.arrive(NOW + 500, write(2, 2), |_| false) else {
        panic!("it overlaps the middle one");
    };
    let late = NOW + WRITE_WAIT_MAX_US + 1;
    assert_eq!(fence.deadline_us(), Some(late));
    assert_eq!(fence.next(late - 1), None);
    assert_eq!(fence.next(late), Some(Next::Expired(middle)));
    assert_eq!(fence.deadline_us(), Some(0), "the last one may start");
    assert_eq!(fence.next(late), Some(Next::Start(last)));
    assert_eq!(fence.deadline_us(), None);
    fence.finish(last);
    fence.finish(hung);
    check_empty(&fence);
}

#[test]
fn every_place_can_be_taken_and_is_free_again() {
    let mut fence = Fence::<64>::new();
    for _ in 0..3 {
        let tickets: Vec<_> = (0..64)
            .map(|lba| go(&mut fence, write(lba * 100, 17)))
            .collect();
        check_filter(&fence);
        for ticket in tickets.into_iter().rev() {
            fence.finish(ticket);
        }
        check_empty(&fence);
    }
}

#[test]
fn a_write_waits_for_the_one_that_it_overlaps_whatever_place_that_has() {
    const OTHERS: u64 = 199;
    let mut fence = Fence::<200>::new();
    let older: Vec<_> = (0..OTHERS)
        .map(|number| go(&mut fence, write(number * 100, 2)))
        .collect();
    for (number, ticket) in (0..).zip(older) {
        check_filter(&fence);
        let younger = wait(&mut fence, write(number * 100 + 1, 2));
        assert_eq!(fence.next(NOW), None);
        fence.finish(ticket);
        assert_eq!(fence.next(NOW), Some(Next::Start(younger)));
        fence.finish(younger);
    }
    check_empty(&fence);
}

#[test]
#[should_panic(expected = "was running")]
fn finishing_what_waits_is_a_broken_invariant() {
    let mut fence = Fence::<4>::new();
    go(&mut fence, write(0, 1));
    let waiting = wait(&mut fence, write(0, 1));
    fence.finish(waiting);
}

#[test]
fn strangers_whose_bits_collide_run_together_and_leave_the_filter_right() {
    let mut fence = Fence::<8>::new();
    let word = word_of(0, 0);
    let stranger = (1..)
        .find(|&granule| word_of(0, granule) == word)
        .expect("1,024 words");
    let first = go(&mut fence, write(0, 8));
    let second = go(&mut fence, write(stranger * GRANULE_SECTORS + 4, 8));
    assert_eq!(
        fence.crowds[usize::from(word)],
        2,
        "met foreign bits, in both halves"
    );
    let third = go(&mut fence, write(16, 4));
    fence.finish(first);
    check_filter(&fence);
    fence.finish(third);
    check_filter(&fence);
    fence.finish(second);
    check_empty(&fence);
}

/// What a run of the model has come to.
#[derive(Clone)]
struct World {
    fence: Fence<4>,
    disk: [u8; 4],
    /// How many of the plan have arrived.
    arrived: usize,
    /// By plan: where it is.
    fates: Vec<Fate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Coming,
    Running(Ticket),
    Waiting(Ticket),
    CopyOf(usize),
    /// It has run so many-th.
    Answered(usize),
}

/// One write of a plan: first sector, sectors, what it writes.
type Planned = (u64, u64, u8);

/// Whose ticket it is.
fn holder(fates: &[Fate], ticket: Ticket) -> usize {
    let holds = |fate: &Fate| matches!(fate, Fate::Running(t) | Fate::Waiting(t) if *t == ticket);
    fates
        .iter()
        .position(holds)
        .expect("somebody holds every live ticket")
}

impl World {
    fn new(plan: &[Planned]) -> Self {
        Self {
            fence: Fence::new(),
            disk: [0; 4],
            arrived: 0,
            fates: vec![Fate::Coming; plan.len()],
        }
    }

    fn arrive(&mut self, plan: &[Planned]) {
        let index = self.arrived;
        self.arrived += 1;
        let (first, sectors, byte) = plan[index];
        let fates = &self.fates;
        let passage = self.fence.arrive(NOW, write(first, sectors), |ticket| {
            let other = plan[holder(fates, ticket)];
            assert_eq!((other.0, other.1), (first, sectors));
            other.2 == byte
        });
        self.fates[index] = match passage {
            Passage::Go(ticket) => Fate::Running(ticket),
            Passage::Wait(ticket) => Fate::Waiting(ticket),
            Passage::Copy(ticket) => {
                let original = holder(&self.fates, ticket);
                assert_eq!(plan[original], plan[index], "a copy is the same write");
                Fate::CopyOf(original)
            }
        };
        if let Fate::Running(_) = self.fates[index] {
            self.check_start(plan, index);
        }
    }

    /// nothing older that overlaps is unanswered.
    fn check_start(&self, plan: &[Planned], index: usize) {
        for older in 0..index {
            let (a, b) = (plan[older], plan[index]);
            let overlaps = a.0 < b.0 + b.1 && b.0 < a.0 + a.1;
            let is_answered = matches!(self.fates[older], Fate::Answered(_));
            let is_copy = matches!(self.fates[older], Fate::CopyOf(_));
            assert!(
                !overlaps || is_answered || is_copy,
                "{index} started before {older}"
            );
        }
    }

    fn finish(&mut self, plan: &[Planned], index: usize, count: usize) {
        let Fate::Running(ticket) = self.fates[index] else {
            unreachable!("chosen because it runs");
        };
        let (first, sectors, byte) = plan[index];
        self.disk[first as usize..(first + sectors) as usize].fill(byte);
        self.fence.finish(ticket);
        self.fates[index] = Fate::Answered(count);
        for fate in &mut self.fates {
            if *fate == Fate::CopyOf(index) {
                *fate = Fate::Answered(count);
            }
        }
        while let Some(next) = self.fence.next(NOW) {
            let Next::Start(ticket) = next else {
                panic!("no time passes: {next:?}");
            };
            let started = holder(&self.fates, ticket);
            self.fates[started] = Fate::Running(ticket);
            self.check_start(plan, started);
        }
    }

    /// The node may die here: every running write may have reached each of its
    /// sectors or not. Whatever is left must be the newest answered write of the
    /// sector or a newer one. Returns how many outcomes there are.
    fn check_crash(&self, plan: &[Planned]) -> usize {
        let mut outcomes = 1;
        for sector in 0..self.disk.len() as u64 {
            let covers = |index: &usize| {
                let (first, sectors, _) = plan[*index];
                (first..first + sectors).contains(&sector)
            };
            // A copy that was answered with its original stands where that stood.
            let mut runs: Vec<usize> = Vec::new();
            let mut newest = None;
            for index in (0..self.arrived).filter(covers) {
                if let Fate::Answered(run) = self.fates[index]
                    && !runs.contains(&run)
                {
                    runs.push(run);
                    newest = Some(index);
                }
            }
            let answered = newest.map_or(0, |index| plan[index].2);
            assert_eq!(self.disk[sector as usize], answered, "{plan:?}");
            let is_running = |index: &usize| matches!(self.fates[*index], Fate::Running(_));
            let running: Vec<usize> = (0..self.arrived)
                .filter(covers)
                .filter(is_running)
                .collect();
            for &index in &running {
                assert!(
                    newest.is_none_or(|newest| newest < index),
                    "a crash may bring {index} back: {plan:?} {:?}",
                    self.fates
                );
            }
            outcomes *= 1 + running.len();
        }
        outcomes
    }

    /// Everything that can happen from here on, all the way. Returns how many
    /// histories there are, and adds what crashes on the way may leave to `crashes`.
    fn explore(&self, plan: &[Planned], finished: usize, crashes: &mut usize) -> usize {
        *crashes += self.check_crash(plan);
        let mut histories = 0;
        if self.arrived < plan.len() {
            let mut world = self.clone();
            world.arrive(plan);
            histories += world.explore(plan, finished, crashes);
        }
        for index in 0..self.arrived {
            if matches!(self.fates[index], Fate::Running(_)) {
                let mut world = self.clone();
                world.finish(plan, index, finished + 1);
                histories += world.explore(plan, finished + 1, crashes);
            }
        }
        if histories == 0 {
            self.check_end(plan);
            return 1;
        }
        histories
    }

    fn check_end(&self, plan: &[Planned]) {
        check_empty(&self.fence);
        // Naive: writes that ran, in order of arrival; a copy ran with its original.
        let mut seen: Vec<usize> = Vec::new();
        let mut disk = [0; 4];
        for (index, &(first, sectors, byte)) in plan.iter().enumerate() {
            let Fate::Answered(run) = self.fates[index] else {
                panic!("{index} was never answered");
            };
            if !seen.contains(&run) {
                seen.push(run);
                disk[first as usize..(first + sectors) as usize].fill(byte);
            }
        }
        assert_eq!(self.disk, disk, "{plan:?} {:?}", self.fates);
    }
}

/// Every order in which three writes and a copy of two of them can come. Two ports
/// keep an order each and none between them: what both of a host's paths make of the
/// writes is one of these.
fn arrivals(writes: [Planned; 3], copied: [usize; 2]) -> Vec<Vec<Planned>> {
    let mut all = Vec::new();
    for one in 0..4 {
        for two in 0..5 {
            let mut order = Vec::from([0, 1, 2]);
            order.insert(one, copied[0]);
            order.insert(two, copied[1]);
            let plan: Vec<Planned> = order.iter().map(|&write| writes[write]).collect();
            if !all.contains(&plan) {
                all.push(plan);
            }
        }
    }
    all
}

#[test]
fn every_interleaving_of_small_plans_ends_as_if_run_in_order_of_arrival() {
    // R-130 R-131: three writes and two copies on four sectors, all orders of
    // arrival and all orders of ending, and a crash at every step.
    let menu: [Planned; 4] = [(0, 2, 1), (0, 2, 2), (1, 2, 3), (3, 1, 4)];
    let (mut plans, mut histories, mut crashes) = (0, 0, 0);
    for a in menu {
        for b in menu {
            for c in menu {
                for copied in [[0, 1], [0, 2], [0, 0]] {
                    for plan in arrivals([a, b, c], copied) {
                        plans += 1;
                        histories += World::new(&plan).explore(&plan, 0, &mut crashes);
                    }
                }
            }
        }
    }
    std::println!("{plans} plans, {histories} histories, {crashes} outcomes of crashes");
    assert!(histories > 80_000, "{histories}");
    assert!(crashes > histories, "{crashes}");
}

#[test]
fn long_random_runs_leave_nothing_behind_and_never_let_overlaps_run_together() {
    // R-130 R-132: time passes here, so some expire.
    let mut fence = Fence::<32>::new();
    let mut live: BTreeMap<Ticket, (Write, u64, bool)> = BTreeMap::new();
    let mut seed = 0x9e37_79b9_u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut now = 0;
    let mut expired = 0;
    for order in 0..60_000_u64 {
        now += random(40_000);
        if random(2) == 0 && live.len() < 32 {
            let write = match random(40) {
                0 => BARRIER,
                _ => Write {
                    slot: random(2) as u8,
                    first: random(400),
                    sectors: 1 + random(100),
                },
            };
            match fence.arrive(now, write, |_| false) {
                Passage::Go(ticket) => {
                    check_alone(&live, write);
                    live.insert(ticket, (write, order, true));
                }
                Passage::Wait(ticket) => {
                    live.insert(ticket, (write, order, false));
                }
                Passage::Copy(_) => panic!("no bytes are the same"),
            }
        } else {
            let running = live
                .iter()
                .filter(|(_, entry)| entry.2)
                .map(|(&ticket, _)| ticket);
            let running: Vec<_> = running.collect();
            if !running.is_empty() {
                let ticket = running[random(running.len() as u64) as usize];
                live.remove(&ticket);
                fence.finish(ticket);
            }
        }
        while let Some(next) = fence.next(now) {
            match next {
                Next::Start(ticket) => {
                    let (write, order, _) = live.remove(&ticket).expect("it waited");
                    let older = live.iter().filter(|(_, entry)| entry.1 < order);
                    let older = older.map(|(&ticket, &entry)| (ticket, entry)).collect();
                    check_alone_of_all(&older, write);
                    live.insert(ticket, (write, order, true));
                }
                Next::Expired(ticket) => {
                    let (_, _, running) = live.remove(&ticket).expect("it waited");
                    assert!(!running);
                    expired += 1;
                }
            }
        }
        assert_eq!(fence.len(), live.len());
        if order % 64 == 0 {
            check_filter(&fence);
        }
    }
    assert!(expired > 100, "{expired}");
    for (&ticket, entry) in &live {
        if entry.2 {
            fence.finish(ticket);
        }
    }
    while let Some(next) = fence.next(now) {
        if let Next::Start(ticket) = next {
            fence.finish(ticket);
        }
    }
    check_empty(&fence);
}

fn overlap(a: Write, b: Write) -> bool {
    let end = |write: Write| write.first.saturating_add(write.sectors);
    a.slot == b.slot && a.first < end(b) && b.first < end(a)
}

/// No running one overlaps `write`.
fn check_alone(live: &BTreeMap<Ticket, (Write, u64, bool)>, write: Write) {
    for (other, _, running) in live.values() {
        assert!(!running || !overlap(*other, write), "{other:?} {write:?}");
    }
}

/// None at all does, running or not.
fn check_alone_of_all(live: &BTreeMap<Ticket, (Write, u64, bool)>, write: Write) {
    for (other, _, _) in live.values() {
        assert!(!overlap(*other, write), "{other:?} {write:?}");
    }
}

/// The filter may only ever say too much, never too little; and what it says too
/// much costs a look at the list.
#[test]
fn a_range_has_the_bits_of_its_sectors_and_no_other() {
    for first in 0..=2 * GRANULE_SECTORS {
        for sectors in 1..=GRANULE_SECTORS {
            let mut expected = BTreeMap::<usize, u64>::new();
            for lba in first..first + sectors {
                let word = word_of(3, lba / GRANULE_SECTORS).into();
                *expected.entry(word).or_default() |= 1 << (lba % GRANULE_SECTORS);
            }
            let mut found = BTreeMap::<usize, u64>::new();
            let bits = Bits::of(3, first, first + sectors);
            assert!(!bits.is_wide(), "it is narrow enough");
            for (word, bits) in bits.halves() {
                *found.entry(word).or_default() |= bits;
            }
            assert_eq!(found, expected, "{sectors} sectors from {first} on");
        }
        assert!(Bits::of(3, first, first + GRANULE_SECTORS + 1).is_wide());
    }
}

#[test]
fn neighbours_and_the_same_places_of_other_exports_have_words_of_their_own() {
    let places = (0..8).flat_map(|slot| (0..32).map(move |granule| (slot, granule)));
    let words = places.map(|(slot, granule)| word_of(slot, granule));
    let words: std::collections::BTreeSet<_> = words.collect();
    assert_eq!(words.len(), 8 * 32);
}

#[test]
fn in_one_look_passes_who_meets_nobody_and_everybody_else_changes_nothing() {
    // R-130 R-133
    let mut fence = Fence::<8>::new();
    let older = fence.pass(write(60, 8)).expect("nobody else is there");
    for (first, sectors) in [(59, 2), (60, 8), (63, 1), (64, 1), (67, 1), (0, 61)] {
        assert_eq!(fence.pass(write(first, sectors)), None, "{first} {sectors}");
    }
    assert_eq!(fence.pass(BARRIER), None);
    assert_eq!(fence.len(), 1);
    check_filter(&fence);
    let before = fence
        .pass(write(59, 1))
        .expect("it ends where the other begins");
    let behind = fence
        .pass(write(68, 2))
        .expect("it begins where the other ends");
    let barrier = wait(&mut fence, BARRIER);
    assert_eq!(fence.pass(write(900, 1)), None, "behind a barrier");
    for ticket in [older, before, behind] {
        fence.finish(ticket);
    }
    assert_eq!(fence.next(NOW), Some(Next::Start(barrier)));
    assert_eq!(fence.pass(write(900, 1)), None, "beside a barrier");
    fence.finish(barrier);
    let last = fence.pass(write(900, 1)).expect("it is gone");
    fence.finish(last);
    check_empty(&fence);
}
