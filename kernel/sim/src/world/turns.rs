//! The node: its starts, its turns, its sleep and its end.

use super::{Event, Running, World};
use crate::ledger::Fault;
use crate::mutants::{BentCard, BentDrive, Mutant};
use crate::oracle::View;
use crate::wire::{Address, Mac};
use io::Instant;
use node::config::{Config, Source};
use node::media::Own;
use node::{Attached, Node, Origin, StateArea, state};

/// Turns in a row that a node may need without a frame that comes or leaves: a
/// large discard is many operations and one request.
const IDLE_TURNS_MAX: u32 = 20_000;

impl World {
    pub(super) fn boot(&mut self) {
        if !self.down {
            return;
        }
        let (network, oracle, ledger) = (&self.network, &self.oracle, &self.ledger);
        let bend = self.options.mutant;
        let served = self.served_disks();
        let random = &mut self.random;
        let mut cards = Vec::new();
        for port in 0..self.plan.macs.len() {
            let card = self
                .drivers
                .card(port, network, oracle, &self.machine, random.fork(2));
            cards.push(BentCard::new(card, bend, random.fork(3), ledger.clone()));
        }
        let mut drives = Vec::new();
        for number in 0..self.spindles.len() {
            let mut spindle = number;
            if bend == Some(Mutant::ExportsSwapped) && number < 2 && served > 1 {
                spindle = 1 - number;
            }
            let spindle = &self.spindles[spindle];
            let drive = self.drivers.drive(number, spindle, &self.machine, ledger);
            let is_own = self.own.is_some_and(|(own, _)| own == number);
            drives.push(Attached {
                disk: BentDrive::new(drive, bend, is_own, random.fork(4), ledger.clone()),
                origin: if is_own {
                    Origin::Own(Own::Boot)
                } else {
                    Origin::Bus
                },
            });
        }
        let area = self.own.map(|(disk, first)| StateArea {
            disk,
            first,
            loaded: state::load(&mut self.spindles[disk].borrow().blocks(), first)
                .expect("it can be read"),
            conf_sum: state::sum_of(self.plan.settings.as_bytes()),
        });
        let mut config = Box::new(Config::new());
        config.parse(Source::CommandLine, self.plan.settings.as_bytes());
        if let Some(problem) = config.problems().first() {
            ledger.find(format!("a good setting was not understood: {problem}"));
        }
        let now = Instant(ledger.now_us());
        self.machine
            .boot(|frames| Node::with_state(cards, drives, frames.into_iter(), &config, now, area));
        if let Some(node) = self.machine.inside() {
            let keeps = node.keeps_state();
            oracle
                .borrow_mut()
                .started(keeps, |address| in_force(node, address));
        }
        self.down = false;
        self.has_tripped = false;
        self.boots += 1;
        self.idle_frames.fill(None);
        self.ledger.say(|| "the node starts".into());
        let latency_us = self.random.between(1, 1_000);
        self.schedule_turn(latency_us);
        self.aim(true);
    }

    pub(super) fn schedule_turn(&mut self, after_us: u64) {
        self.turn += 1;
        let turn = self.turn;
        self.enter(after_us, Event::Turn(turn));
    }

    pub(super) fn take_turn(&mut self) {
        let now_us = self.ledger.now_us();
        if now_us < self.paused_until_us {
            return self.schedule_turn(self.paused_until_us - now_us);
        }
        let now = Instant(now_us);
        let node = self.machine.inside().expect("it is not down");
        if std::mem::take(&mut self.asleep) {
            node.disarm(now);
        }
        let before = self.oracle.borrow().tally;
        let moved = node.step(now);
        let is_closed = node.closed().is_some();
        let keeps = node.keeps_state();
        self.oracle
            .borrow_mut()
            .stepped(keeps, |address| in_force(node, address));
        let after = self.oracle.borrow().tally;
        let frames = after.requests + after.replies - before.requests - before.replies;
        if self.ledger.is_broken() {
            return;
        }
        if is_closed {
            return self.closed();
        }
        if frames > 0 && self.oracle.borrow().is_being_changed() {
            self.aim(false);
        }
        self.check_spin(moved);
        // Now and then something else wants the processor for a moment.
        let cost_us = frames * self.frame_cost_us
            + match self.random.below(256) {
                0 => self.random.between(20, 300),
                _ => self.random.between(1, 5),
            };
        if moved {
            return self.schedule_turn(cost_us);
        }
        // Between the last look and the wish to be woken things happen.
        self.turn += 1;
        self.enter(cost_us, Event::Sleep(self.turn));
    }

    /// Does a node that says that something moved move anything?
    fn check_spin(&mut self, moved: bool) {
        let tally = self.oracle.borrow().tally;
        let seen = tally.requests + tally.replies;
        if !moved || seen != self.spin.0 {
            self.spin = (seen, 0);
            return;
        }
        self.spin.1 += 1;
        if self.spin.1 > IDLE_TURNS_MAX {
            self.ledger.find(format!(
                "the node spins: {IDLE_TURNS_MAX} turns moved something, and no frame came or left"
            ));
        }
    }

    pub(super) fn fall_asleep(&mut self) {
        let now_us = self.ledger.now_us();
        if now_us < self.paused_until_us {
            return self.enter(self.paused_until_us - now_us, Event::Sleep(self.turn));
        }
        let node = self.machine.inside().expect("it is not down");
        if node.arm() {
            return self.schedule_turn(0);
        }
        self.asleep = true;
        let deadline_us = node.next_deadline().0;
        self.check_sleep();
        let ends_us = self
            .spindles
            .iter()
            .filter(|spindle| spindle.borrow().armed)
            .map(|spindle| spindle.borrow().next_end_at())
            .min()
            .unwrap_or(u64::MAX);
        let sent_us = self.network.borrow().wakes_at_us();
        let wake_us = deadline_us.min(ends_us).min(sent_us).max(now_us + 1);
        let latency_us = self.random.between(0, 20);
        self.schedule_turn(wake_us - now_us + latency_us);
    }

    /// The node says that it has nothing to do. Has it?
    fn check_sleep(&mut self) {
        let network = self.network.borrow();
        for (index, port) in network.ports.iter().enumerate() {
            if port.unpublished > 0 {
                self.ledger.find(format!(
                    "the node sleeps and {} frames of port {index} were never kicked",
                    port.unpublished
                ));
            }
            if port.waiting() > 0 {
                self.ledger
                    .find(format!("the node sleeps over a frame at port {index}"));
            }
        }
        for (index, spindle) in self.spindles.iter().enumerate() {
            let spindle = spindle.borrow();
            if !spindle.is_fetched() {
                self.ledger
                    .find(format!("the node sleeps over an operation of disk {index}"));
            }
            if spindle.unpublished > 0 {
                self.ledger.find(format!(
                    "the node sleeps and {} operations of disk {index} were never kicked",
                    spindle.unpublished
                ));
            }
        }
        // With nothing under way anywhere, every frame that is not kept back lies
        // in a ring: always as many as the first time.
        let busy = self.spindles.iter().any(|s| s.borrow().busy() > 0)
            || network.ports.iter().any(|port| port.in_transmit > 0);
        if busy {
            return;
        }
        let deadline_us = self
            .machine
            .inside()
            .map_or(0, |node| node.next_deadline().0);
        // A held write or a query that waits for a spare shows as a near deadline.
        if deadline_us < self.ledger.now_us() + 20_000 {
            return;
        }
        for (index, port) in network.ports.iter().enumerate() {
            match self.idle_frames[index] {
                None => self.idle_frames[index] = Some(port.held()),
                Some(frames) if frames != port.held() => self.ledger.find(format!(
                    "port {index} has {} frames in its ring with nothing to do, it had {frames}",
                    port.held()
                )),
                Some(_) => {}
            }
        }
    }

    pub(super) fn crash(&mut self, power: bool) {
        if self.down {
            return;
        }
        self.count_events();
        self.ordered = None;
        self.down = true;
        self.asleep = false;
        self.turn += 1;
        self.machine.crash();
        self.network.borrow_mut().reset_ports();
        let mut torn = Vec::new();
        for (index, spindle) in self.spindles.iter().enumerate() {
            let mut spindle = spindle.borrow_mut();
            if power {
                let sectors = spindle.lose_the_power();
                torn.extend(sectors.into_iter().map(|(lba, value)| (index, lba, value)));
            } else {
                spindle.lose_the_node();
            }
        }
        let mut oracle = self.oracle.borrow_mut();
        if power {
            self.ledger.count(Fault::PowerCut);
            oracle.lose_the_power(&torn);
        } else {
            self.ledger.count(Fault::NodeKilled);
            oracle.lose_the_node();
        }
        oracle.audit("after a crash");
    }

    /// Disks that are not the node's own: they come first.
    fn served_disks(&self) -> usize {
        self.spindles.len() - usize::from(self.own.is_some())
    }
}

/// What hosts have set of an export, as the node has it in force.
fn in_force(node: &Running, address: Address) -> View {
    let is_it = |export: &&node::Export| export.target.address().slot == address.slot;
    let export = node.exports().iter().find(is_it);
    let target = &export.expect("what is served is exported").target;
    let mut masks: Vec<Mac> = target.masks().iter().map(|mac| mac.0).collect();
    masks.sort_unstable();
    View {
        string: target.config_string().to_vec(),
        masks,
        reserved: target.reservation().iter().map(|mac| mac.0).collect(),
    }
}
