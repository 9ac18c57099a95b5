//! Nobody else may have our addresses: asked before an export answers.
//!
//! Two targets under one address are two disks under one name; a host that reads
//! here and writes there destroys both. So an export that is to go online first has
//! one question broadcast on every port, for all slots of the shelf, and goes online
//! when nobody has answered for it in time. The question is repeated twice within a
//! second, for an answer that was lost, a switch that had not learned of us yet and a
//! node that started at the same moment; who finds out while it is new goes offline
//! again.
//!
//! Whoever yields asks again later, the one with the lower MAC sooner, so that of
//! two that yielded to each other one comes back and the other stays away. An export
//! that has been online for longer stays: its hosts have it mounted. What it hears is
//! counted, said and shown, and asked about again until nobody answers. One that is
//! offline by order has no claim: the disk may have moved to whoever answers now.
//!
//! Only an answer to our own question counts against an export, by a tag that a
//! stranger does not know. What a stranger announces is a reason to speak, not to
//! yield: one that is new asks again, one that stays announces itself, so that a
//! stranger whose questions were lost hears of it.

use crate::Node;
use crate::events::Event;
use crate::limits;
use alloc::boxed::Box;
use aoe::{Address, Mac};
use io::{Disk, Frame, Instant, Nic};

/// How long an answer to our question may take. On a LAN it takes less than one; where
/// four busy loops shared two cores with both nodes, 2 of 22 were later than this, and 1
/// of 21 later than twice this. No wait ends that, so it need not be long: an answer that
/// comes while an export is new still takes it offline, that moment, and what was lost is
/// asked for again. What remains is a host that writes here between the two.
pub const ANSWER_US: u64 = 50_000;
/// A node that wakes this much later than it wanted to was stopped by its host, and
/// what others answered meanwhile is still on its way in: it waits a little longer, once.
const STOPPED_US: u64 = 20_000;
const LONGER_US: u64 = 50_000;
/// When the question is repeated: soon, as hosts write until somebody yields, and once
/// when whatever held up the first has had time to pass. Longest, how long an export
/// counts as new, so that an answer to the last one may be late, too.
const AGAIN_US: [u64; 2] = [200_000, 1_000_000];
const NEW_US: u64 = 1_200_000;
/// When who has yielded asks again: the lower MAC first.
const RECHECK_US: [u64; 2] = [5_000_000, 11_000_000];
/// When one that stays asks again, and when nobody is there any more.
const STILL_US: [u64; 2] = [5_000_000, 10_000_000];
/// How often a conflict that lasts is said.
const SAY_US: u64 = 60_000_000;

const NEVER: Instant = Instant(u64::MAX);

/// How an export stands to its address.
#[derive(Clone, Copy)]
enum Stand {
    /// It is offline by order, or has long been online.
    Settled,
    /// It is offline until nobody answers.
    Asking,
    /// It is online since then, and yields.
    New(Instant),
    /// Somebody else answers; it asks again then.
    Yielded(Instant),
}

#[derive(Clone, Copy)]
struct Claim {
    stand: Stand,
    other: Option<Other>,
}

/// Who else has been heard under an address.
#[derive(Clone, Copy)]
struct Other {
    mac: Mac,
    heard: Instant,
    /// When the operator was told; not yet of one that was only overheard.
    said: Option<Instant>,
}

/// See the module's header.
pub struct Claims {
    /// By export; empty as long as nobody wants addresses to be asked for.
    claims: Box<[Claim]>,
    /// Ports on which the question is still to be asked, a bit each.
    ports: u32,
    /// When it was asked last; never since an export began to wait for it.
    asked: Instant,
    /// When who has not answered it is not there, and whether that was put off.
    answered: Instant,
    longer: bool,
    tag: u32,
    /// When there is something to do.
    due: Instant,
}

impl Claims {
    /// Nobody asks.
    pub fn none() -> Self {
        Self {
            claims: Box::default(),
            ports: 0,
            asked: NEVER,
            answered: NEVER,
            longer: false,
            tag: 0,
            due: NEVER,
        }
    }

    /// When there is something to do.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Whether an export is offline only until it is known that nobody has its address.
    pub fn is_asking(&self, export: usize) -> bool {
        let claim = self.claims.get(export);
        claim.is_some_and(|claim| matches!(claim.stand, Stand::Asking))
    }

    /// Who else has been heard under an export's address.
    pub fn other(&self, export: usize) -> Option<Mac> {
        let other = self.claims.get(export)?.other;
        other.map(|other| other.mac)
    }
}

impl<N: Nic, D: Disk> Node<N, D> {
    /// From now on an export goes online only when nobody else answers for its
    /// address; those that are online are asked for before they answer at all.
    /// `seed` is what a stranger does not know. Allocates, and then never again.
    #[cold]
    pub fn ask_before_going_online(&mut self, seed: u64) {
        let settled = Claim {
            stand: Stand::Settled,
            other: None,
        };
        let room = self
            .newcomers
            .as_ref()
            .map_or(0, |newcomers| newcomers.room);
        let claims = self.exports.len() + room;
        self.claims.claims = (0..claims).map(|_| settled).collect();
        self.claims.tag = (seed ^ seed >> 32) as u32 | 1;
        for index in 0..self.exports.len() {
            if self.exports[index].online {
                self.claim(index);
            }
        }
    }

    /// Whether an export is online, or about to be.
    pub(crate) fn is_on_its_way(&self, index: usize) -> bool {
        self.exports[index].online || self.claims.is_asking(index)
    }

    /// Takes an export offline until it is known that nobody else has its address.
    /// False if nobody asks for addresses here.
    #[cold]
    pub(crate) fn claim(&mut self, index: usize) -> bool {
        let Some(claim) = self.claims.claims.get_mut(index) else {
            return false;
        };
        claim.stand = Stand::Asking;
        self.claims.asked = NEVER;
        self.silence(index);
        self.ask_on(u32::MAX);
        true
    }

    /// An export is offline by order: nothing is to be found out about it.
    #[cold]
    pub(crate) fn leave_alone(&mut self, index: usize) {
        if let Some(claim) = self.claims.claims.get_mut(index) {
            claim.stand = Stand::Settled;
            claim.other = None;
        }
    }

    /// Asks on some ports, as soon as there is a frame for it.
    pub(crate) fn ask_on(&mut self, ports: u32) {
        if !self.claims.claims.is_empty() {
            self.claims.ports |= ports;
            self.claims.due = self.now;
        }
    }

    /// Whether an address is one of our ports'.
    #[cold]
    pub(crate) fn is_own(&self, mac: Mac) -> bool {
        self.ports.iter().any(|port| port.wire.mac == mac)
    }

    pub(crate) fn silence(&mut self, index: usize) {
        let export = &mut self.exports[index];
        export.online = false;
        self.shelf.clear(export.planned.slot);
    }

    pub(crate) fn appear(&mut self, index: usize) {
        let export = &mut self.exports[index];
        export.online = true;
        self.shelf.put(export.planned.slot, index as u8);
        self.announce_everywhere(index);
    }

    /// What is due: questions, and exports whose time has come.
    #[cold]
    #[inline(never)]
    pub(crate) fn look_after_claims(&mut self, now: Instant) {
        let mut next = NEVER;
        for claim in &mut self.claims.claims {
            match claim.stand {
                Stand::New(since) if now < since + NEW_US => {
                    next = next.min(since + NEW_US);
                    for again in AGAIN_US.map(|us| since + us) {
                        if now < again {
                            next = next.min(again);
                        } else if self.claims.asked < again {
                            self.claims.ports = u32::MAX;
                        }
                    }
                }
                Stand::Yielded(until) if now < until => next = next.min(until),
                Stand::Yielded(_) => {
                    claim.stand = Stand::Asking;
                    self.claims.ports = u32::MAX;
                    self.claims.asked = NEVER;
                }
                Stand::New(_) => claim.stand = Stand::Settled,
                Stand::Settled | Stand::Asking => {}
            }
            let Some(other) = claim.other else {
                continue;
            };
            if matches!(claim.stand, Stand::Settled | Stand::New(_)) {
                let [again, gone] = STILL_US.map(|us| other.heard + us);
                if now >= gone {
                    claim.other = None;
                    log::info!(
                        "{}: it does not answer for an export of ours any more",
                        other.mac
                    );
                } else if now < again {
                    next = next.min(again);
                } else {
                    if self.claims.asked < again {
                        self.claims.ports = u32::MAX;
                    }
                    next = next.min(gone);
                }
            }
        }
        if !self.ask(now) {
            next = next.min(now + limits::SOON_US);
        } else if self.claims.asked != NEVER {
            if now >= self.claims.answered + STOPPED_US && !self.claims.longer {
                self.claims.longer = true;
                self.claims.answered = now + LONGER_US;
            }
            let answered = self.claims.answered;
            for index in 0..self.claims.claims.len() {
                let claim = &mut self.claims.claims[index];
                if !matches!(claim.stand, Stand::Asking) {
                    continue;
                }
                if now < answered {
                    next = next.min(answered);
                    continue;
                }
                if claim.other.take().is_some() {
                    let address = self.exports[index].target.address();
                    log::info!("{address}: nobody else answers any more; it is online");
                }
                self.claims.claims[index].stand = Stand::New(now);
                next = next.min(now + AGAIN_US[0]);
                self.appear(index);
            }
        }
        self.claims.due = next;
    }

    /// Asks on every port that is to be asked on and has a link; one that has none
    /// is asked on when it gets one. False if a port has no frame to spare.
    fn ask(&mut self, now: Instant) -> bool {
        let shelf = self.shelf.number();
        for index in 0..self.ports.len() {
            if self.claims.ports & 1 << index == 0 {
                continue;
            }
            let port = &mut self.ports[index];
            if port.speaks() {
                let Some(mut frame) = port.spares.pop() else {
                    return false;
                };
                let len = aoe::ask(&port.wire, shelf, self.claims.tag, frame.buffer_mut());
                frame.set_len(len);
                self.claims.asked = now;
                self.claims.answered = now + ANSWER_US;
                self.claims.longer = false;
                self.send(frame);
            }
            self.claims.ports &= !(1 << index);
        }
        self.claims.ports = 0;
        true
    }

    /// Somebody answers; perhaps under an address of ours.
    #[cold]
    #[inline(never)]
    pub(crate) fn heard_answer(&mut self, now: Instant, frame: &Frame, source: Mac, of: Address) {
        let is_other = of.shelf != self.shelf.number() || self.is_own(source);
        if self.claims.claims.is_empty() || is_other {
            return;
        }
        let is_it = |export: &crate::Export| export.planned.slot == of.slot;
        let Some(index) = self.exports.iter().position(is_it) else {
            return;
        };
        let claim = &mut self.claims.claims[index];
        let is_online = self.exports[index].online;
        if matches!(claim.stand, Stand::Settled) && !is_online {
            return;
        }
        self.events.count(Event::Conflict.into());
        let is_asked_for = aoe::tag_of(frame.wire()) == Some(self.claims.tag);
        let own = self.ports[usize::from(frame.home())].wire.mac;
        let said = claim.other.and_then(|other| other.said);
        let said = said.filter(|said| now - *said < SAY_US);
        let other = claim.other.insert(Other {
            mac: source,
            heard: now,
            said,
        });
        self.claims.due = self.claims.due.min(now + STILL_US[0]);
        match claim.stand {
            Stand::Asking | Stand::New(_) if is_asked_for => {
                let again = now + RECHECK_US[usize::from(own.0 > source.0)];
                claim.stand = Stand::Yielded(again);
                other.said = other.said.or(Some(now));
                self.claims.due = self.claims.due.min(again);
                self.silence(index);
                self.events.note(now, Event::Yielded.into(), index as u32);
                if said.is_none() {
                    log::warn!(
                        "{of}: {source} answers for it, too; it stays offline until nobody does"
                    );
                }
            }
            Stand::Settled if said.is_none() => {
                other.said = Some(now);
                log::warn!(
                    "{of}: {source} answers for it, too; two disks under one name destroy each other, take one of them offline"
                );
                self.announce_everywhere(index);
            }
            Stand::New(_) if now >= self.claims.asked + ANSWER_US => self.ask_on(u32::MAX),
            Stand::Settled | Stand::New(_) | Stand::Asking | Stand::Yielded(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::World;
    use alloc::vec::Vec;

    const OTHER: [u8; 6] = [2, 0, 0, 0, 9, 9];
    /// A MAC below the node's own.
    const LOWER: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn asking() -> World {
        let mut world = World::build("shelf=5").disks(3).start();
        world.left(0);
        world.node.ask_before_going_online(7);
        world
    }

    fn online(world: &World) -> Vec<bool> {
        world
            .node
            .exports
            .iter()
            .map(|export| export.online)
            .collect()
    }

    /// The answer of somebody else to `question`, for one slot of shelf 5.
    fn answer(question: &[u8], from: [u8; 6], slot: u8) -> Vec<u8> {
        let mut answer = question.to_vec();
        answer.copy_within(6..12, 0);
        answer[6..12].copy_from_slice(&from);
        answer[14] |= 0x08;
        answer[18] = slot;
        answer
    }

    /// The questions that are on their way out.
    fn questions(world: &mut World) -> Vec<Vec<u8>> {
        let mut frames = world.left(0);
        frames.retain(|frame| frame[12..14] == [0x88, 0xa2] && frame[14] & 0x08 == 0);
        frames
    }

    #[test]
    fn exports_are_silent_until_nobody_has_answered() {
        let mut world = asking();
        world.turn();
        let asked = questions(&mut world);
        assert_eq!(asked.len(), 1, "one question for the whole shelf");
        let boot = crate::Boot {
            route: "PVH",
            memory_bytes: 1 << 20,
            boot_us: 1,
        };
        let banner = alloc::format!("{}", world.node.banner(&boot));
        assert!(!banner.contains("offline"), "{banner}");
        assert_eq!(asked[0][..6], [0xff; 6]);
        assert_eq!(asked[0][16..20], [0, 5, 255, 1]);
        world.pass(ANSWER_US - 1_000);
        assert_eq!(online(&world), [false; 3]);
        world.pass(2_000);
        assert_eq!(online(&world), [true; 3]);
        let announced = world.left(0);
        let is_small = |frame: &&Vec<u8>| frame[14] & 0x08 != 0 && frame.len() == 60;
        assert_eq!(announced.iter().filter(is_small).count(), 3);
        for us in [AGAIN_US[0], AGAIN_US[1] - AGAIN_US[0]] {
            world.pass(us + 1_000);
            assert_eq!(questions(&mut world).len(), 1, "and once more");
        }
        world.pass(60_000_000);
        assert_eq!(questions(&mut world).len(), 0);
        assert_eq!(online(&world), [true; 3]);
        world.assert_all_frames_are_there();
    }

    #[test]
    fn an_address_that_somebody_has_is_left_to_him_until_he_is_gone() {
        let mut world = asking();
        world.turn();
        let asked = questions(&mut world);
        world.nic(0).deliver(&answer(&asked[0], OTHER, 1));
        world.nic(0).deliver(&answer(&asked[0], OTHER, 9));
        world.pass(ANSWER_US + 1_000);
        assert_eq!(online(&world), [true, false, true]);
        assert_eq!(world.node.claims.other(1), Some(Mac(OTHER)));
        assert_eq!(world.node.events().count_of(Event::Yielded.into()), 1);
        // He is still there at the next question, and gone at the one after.
        world.pass(RECHECK_US[0]);
        let asked = questions(&mut world);
        world
            .nic(0)
            .deliver(&answer(asked.last().expect("asked again"), OTHER, 1));
        world.pass(ANSWER_US + 1_000);
        assert_eq!(online(&world), [true, false, true]);
        world.pass(RECHECK_US[0] + ANSWER_US + 1_000);
        assert_eq!(online(&world), [true; 3]);
        assert_eq!(world.node.claims.other(1), None);
        world.assert_all_frames_are_there();
    }

    #[test]
    fn an_operator_is_told_of_who_was_overheard_before_he_answered() {
        let mut world = asking();
        world.turn();
        let asked = questions(&mut world);
        world.pass(ANSWER_US + 1_000);
        let mut announced = answer(&asked[0], OTHER, 0);
        announced[20..24].fill(0);
        world.nic(0).deliver(&announced);
        world.turn();
        assert_eq!(online(&world), [true; 3]);
        let said = |world: &World| {
            world.node.claims.claims[0]
                .other
                .and_then(|other| other.said)
        };
        assert_eq!(said(&world), None, "nothing was said yet");
        let asked = questions(&mut world);
        assert_eq!(asked.len(), 1, "but he is asked at once");
        world.nic(0).deliver(&answer(&asked[0], OTHER, 0));
        world.turn();
        assert_eq!(online(&world), [false, true, true]);
        assert!(said(&world).is_some());
    }

    #[test]
    fn a_node_that_its_host_stopped_listens_longer_but_only_once() {
        let mut world = asking();
        world.turn();
        let asked = questions(&mut world);
        world.now = world.now + 3 * ANSWER_US;
        world.turn();
        assert_eq!(
            online(&world),
            [false; 3],
            "what was answered is still to come"
        );
        world.nic(0).deliver(&answer(&asked[0], OTHER, 1));
        world.turn();
        assert_eq!(online(&world), [false; 3]);
        world.now = world.now + 3 * ANSWER_US;
        world.turn();
        assert_eq!(online(&world), [true, false, true]);
    }

    #[test]
    fn an_answer_that_is_late_or_was_lost_takes_a_new_export_offline() {
        let mut world = asking();
        world.turn();
        let asked = questions(&mut world);
        world.pass(ANSWER_US + 10_000);
        assert_eq!(online(&world), [true; 3]);
        world.nic(0).deliver(&answer(&asked[0], OTHER, 0));
        world.turn();
        assert_eq!(online(&world), [false, true, true]);
        for (us, export) in [(AGAIN_US[0], 1), (AGAIN_US[1] - AGAIN_US[0], 2)] {
            world.pass(us);
            let asked = questions(&mut world);
            assert_eq!(asked.len(), 1);
            world.nic(0).deliver(&answer(&asked[0], OTHER, export));
            world.turn();
            assert!(!online(&world)[usize::from(export)]);
        }
    }

    #[test]
    fn of_two_that_yield_to_each_other_the_lower_address_comes_back_first() {
        for (other, first) in [(OTHER, true), (LOWER, false)] {
            let mut world = asking();
            world.pass(ANSWER_US + 2_000);
            questions(&mut world);
            world.pass(AGAIN_US[0] + 10_000);
            let asked = questions(&mut world);
            world.nic(0).deliver(&answer(&asked[0], other, 0));
            world.turn();
            assert_eq!(online(&world), [false, true, true]);
            world.pass(RECHECK_US[0] + ANSWER_US + 2_000);
            assert_eq!(online(&world)[0], first);
            world.pass(RECHECK_US[1]);
            assert!(online(&world)[0]);
        }
    }

    #[test]
    fn what_was_not_asked_for_and_who_comes_late_change_nothing() {
        let mut world = asking();
        world.turn();
        let asked = questions(&mut world);
        let mut forged = answer(&asked[0], OTHER, 0);
        forged[23] ^= 1;
        world.nic(0).deliver(&forged);
        let own = world.node.ports[0].wire.mac.0;
        world.nic(0).deliver(&answer(&asked[0], own, 1));
        world.pass(ANSWER_US + 1_000);
        assert_eq!(online(&world), [true; 3]);
        world.pass(NEW_US + 1_000);
        world.left(0);
        world.nic(0).deliver(&answer(&asked[0], OTHER, 2));
        world.turn();
        assert_eq!(online(&world), [true; 3], "its hosts have it mounted");
        let announced = world.left(0);
        let slots = announced.iter().filter(|frame| frame[14] & 0x08 != 0);
        assert!(slots.map(|frame| frame[18]).all(|slot| slot == 2));
        assert!(!announced.is_empty(), "it tells him so");
        assert_eq!(world.node.claims.other(2), Some(Mac(OTHER)));
        assert_eq!(world.node.events().count_of(Event::Conflict.into()), 2);
    }

    #[test]
    fn one_that_stays_says_that_it_is_alone_when_nobody_else_answers_any_more() {
        let mut world = asking();
        world.turn();
        let asked = questions(&mut world);
        world.pass(ANSWER_US + NEW_US + 10_000);
        assert_eq!(online(&world), [true; 3]);
        questions(&mut world);
        world.nic(0).deliver(&answer(&asked[0], OTHER, 2));
        for _ in 0..3 {
            world.pass(STILL_US[0] + 10_000);
            assert_eq!(world.node.claims.other(2), Some(Mac(OTHER)));
            let asked = questions(&mut world);
            assert_eq!(asked.len(), 1, "it asks whether he is still there");
            world.nic(0).deliver(&answer(&asked[0], OTHER, 2));
        }
        world.pass(STILL_US[1] + 10_000);
        assert_eq!(world.node.claims.other(2), None);
        assert_eq!(online(&world), [true; 3]);
        questions(&mut world);
        world.pass(60_000_000);
        assert_eq!(questions(&mut world).len(), 0, "and then no more");
        world.assert_all_frames_are_there();
    }

    #[test]
    fn what_is_offline_by_order_may_be_elsewhere() {
        let mut world = asking();
        world.turn();
        let asked = questions(&mut world);
        world.nic(0).deliver(&answer(&asked[0], OTHER, 1));
        world.turn();
        assert_eq!(world.node.claims.other(1), Some(Mac(OTHER)));
        world.node.set_online(1, false);
        world.nic(0).deliver(&answer(&asked[0], OTHER, 1));
        world.pass(60_000_000);
        assert_eq!(world.node.claims.other(1), None);
        assert_eq!(online(&world), [true, false, true]);
        assert_eq!(world.node.events().count_of(Event::Conflict.into()), 1);
    }

    #[test]
    fn a_question_of_our_own_that_comes_back_over_another_port_is_not_a_client() {
        let mut world = World::build("shelf=5").ports(2).start();
        for port in 0..2 {
            world.left(port);
        }
        world.node.ask_before_going_online(7);
        world.pass(2 * ANSWER_US);
        assert_eq!(online(&world), [true]);
        let asked = questions(&mut world);
        assert_eq!(asked.len(), 1);
        world.left(1);
        world.nic(1).deliver(&asked[0]);
        world.turn();
        assert_eq!(world.node.clients.since(Instant(0)).count(), 0);
        assert_eq!(world.left(1), [[0_u8; 0]; 0], "nor answered");
        // The same question of somebody else is.
        let mut other = asked[0].clone();
        other[6..12].copy_from_slice(&OTHER);
        world.nic(1).deliver(&other);
        world.turn();
        assert_eq!(world.node.clients.since(Instant(0)).count(), 1);
        assert_eq!(world.left(1).len(), 1);
        world.assert_all_frames_are_there();
    }

    #[test]
    fn without_a_link_nobody_is_asked_and_nothing_goes_online() {
        let mut world = World::build("shelf=5")
            .each_nic(|nic| nic.link = false)
            .start();
        world.node.ask_before_going_online(7);
        world.pass(3_000_000);
        assert_eq!(online(&world), [false]);
        world.nic(0).link = true;
        world.nic(0).changed = true;
        world.pass(2_000_000);
        assert_eq!(online(&world), [true]);
        world.node.set_online(0, false);
        world.pass(20_000_000);
        assert_eq!(online(&world), [false]);
        world.node.set_online(0, true);
        assert_eq!(online(&world), [false], "it asks first");
        world.pass(ANSWER_US + 10_000);
        assert_eq!(online(&world), [true]);
    }
}
