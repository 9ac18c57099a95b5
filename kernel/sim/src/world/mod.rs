//! One run: a node, its disks, its hosts, and everything that goes wrong.
//!
//! A seed decides the machine (ports, disks, settings), the hosts, the weather
//! and the misfortunes. A run has three parts: trouble, during which all of that
//! happens; fair weather, in which every host must get everything answered that
//! it asked for; and the audit, which looks at every sector, fails the power once
//! more and looks again.
//!
//! Time is virtual. A turn of the node costs some microseconds, so that frames
//! arrive and disks finish in the middle of its work, and the processor can be
//! taken away between any two turns.

mod drivers;
mod end;
mod guests;
mod misfortune;
mod plan;
mod turns;

use self::drivers::Drivers;
use self::plan::{Plan, disk_plan, machine_plan, own_plan, weather};
use crate::agenda::Agenda;
use crate::disk::Spindle;
use crate::initiator::Initiator;
use crate::ledger::Ledger;
use crate::models::dma::Machine;
use crate::mutants::{BentCard, BentDrive};
use crate::network::Network;
use crate::oracle::Oracle;
use crate::random::Random;
use crate::{Options, Report};
use io::WriteCache;
use node::{Event as Counted, Node, Noted, state};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Something that will happen.
pub enum Event {
    /// A frame reaches a port of the node.
    ToPort {
        /// The port.
        port: usize,
        /// The frame.
        bytes: Vec<u8>,
    },
    /// A frame reaches a host.
    ToHost {
        /// The host.
        host: usize,
        /// Its card.
        card: usize,
        /// The frame.
        bytes: Vec<u8>,
    },
    /// A host's deadline.
    Wake(usize),
    /// The node takes a turn, unless it was told otherwise meanwhile.
    Turn(u64),
    /// The node had nothing to do and wants to sleep, unless likewise.
    Sleep(u64),
    /// Something goes wrong.
    Misfortune,
    /// The node dies, and the power fails or not.
    Strike(bool),
    /// The node starts again.
    Boot,
    /// A link comes back, or carries its old frames again.
    Restore(usize),
    /// The trouble is over.
    FairWeather,
    /// The hosts ask for nothing new.
    Stop,
    /// Who is still locked out is let in by the console.
    Console,
    /// Everything must be answered by now.
    Last,
}

/// Longest time from fair weather to the last answer. Linux may be at its first
/// estimate, which resends after 16.5 s, and lose that frame to a late duplicate.
const PATIENCE_US: u64 = 120_000_000;
/// How long a host may take in fair weather to its first answer. iPXE backs off to
/// eight seconds.
const UNSERVED_US: u64 = 30_000_000;
/// How long an operator may tidy up before somebody walks to the console.
const CONSOLE_US: u64 = 5_000_000;
/// Load goes on this long in fair weather.
const CALM_US: u64 = 1_000_000;
type Running = Node<BentCard, BentDrive>;

/// See the module's header.
pub struct World {
    options: Options,
    ledger: Rc<Ledger>,
    agenda: Rc<RefCell<Agenda<Event>>>,
    network: Rc<RefCell<Network>>,
    oracle: Rc<RefCell<Oracle>>,
    /// The disks that are served, and behind them the node's own, if it has one.
    spindles: Vec<Rc<RefCell<Spindle>>>,
    /// The node's own disk, and where on it the state area begins.
    own: Option<(usize, u64)>,
    machine: Machine<Running>,
    drivers: Drivers,
    /// A device did what it must not since the node started.
    has_tripped: bool,
    plan: Plan,
    hosts: Vec<Box<dyn Initiator>>,
    host_random: Vec<Random>,
    host_wakes: Vec<u64>,
    random: Random,
    strict: bool,
    /// What a frame costs the node's processor: nothing, or an emulated one's.
    frame_cost_us: u64,
    /// Few sectors, fast disks, long stalls: where a stale write would show.
    storm: bool,
    trouble_ends_us: u64,
    turn: u64,
    asleep: bool,
    paused_until_us: u64,
    /// When the node was told to stop, and the flushes refused until then.
    ordered: Option<(u64, u64)>,
    down: bool,
    /// Frames at each card when the node first had nothing to do.
    idle_frames: Vec<Option<usize>>,
    /// Frames seen by the oracle, and turns that moved something since.
    spin: (u64, u32),
    events: BTreeMap<String, u64>,
    boots: u64,
    stopped: bool,
    ended: bool,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64, options: &Options) -> Self {
        let mut random = Random::new(seed);
        let ledger = Rc::new(Ledger::new(options.verbose));
        let agenda = Rc::new(RefCell::new(Agenda::default()));
        let storm = random.one_in(6);
        let costs: &[u64] = if storm { &[1, 5] } else { &[0, 0, 1, 5] };
        let frame_cost_us = *random.pick(costs);
        let strict = storm || random.one_in(2);
        let mut weather = weather(&mut random, strict);
        if storm {
            // One lost frame would keep the host with two paths from its work.
            (weather.loss_ppm, weather.flip_ppm) = (0, 0);
        }
        let drivers = Drivers::choose(seed, storm, options.mutant);
        let mut spindles = Vec::new();
        let disks = if random.one_in(10) {
            random.between(5, 16)
        } else {
            random.between(1, 4)
        };
        for number in 0..disks as usize {
            let mut plan = disk_plan(&mut random, number);
            if storm {
                plan.latency_us = (1, 20);
                plan.cache = WriteCache::None;
                plan.read_only = false;
            }
            drivers.disks.fit(&mut plan);
            let own = random.fork(100 + number as u64);
            spindles.push(Rc::new(RefCell::new(Spindle::new(
                number,
                plan,
                ledger.clone(),
                own,
            ))));
        }
        let mut plan = machine_plan(&mut random, &spindles, storm);
        drivers.fit_links(&mut plan.mtus);
        let own = (!storm && random.one_in(2)).then(|| {
            let number = spindles.len();
            let (mut plan, first) = own_plan(&mut random);
            drivers.disks.fit(&mut plan);
            let spindle = Spindle::new(number, plan, ledger.clone(), random.fork(99));
            spindles.push(Rc::new(RefCell::new(spindle)));
            (number, first)
        });
        let ports = plan.macs.len();
        let mut network = Network::new(ledger.clone(), agenda.clone(), random.fork(1), weather);
        network.pads = random.one_in(2);
        // Two ports on one switch now and then, else each on its own.
        let one_segment = ports > 1 && !storm && random.one_in(4);
        for (port, (&mac, &mtu)) in plan.macs.iter().zip(&plan.mtus).enumerate() {
            network.add_port(if one_segment { 0 } else { port }, mac, mtu);
        }
        let segments = if one_segment { 1 } else { ports };
        let views = plan.macs.iter().copied().zip(plan.mtus.iter().copied());
        let mut oracle = Oracle::new(
            ledger.clone(),
            spindles.clone(),
            plan.served.clone(),
            views.collect(),
        );
        if let Some((number, first)) = own {
            oracle.set_own(number, first..first + state::AREA_SECTORS);
        }
        let mut world = Self {
            options: options.clone(),
            ledger,
            agenda,
            network: Rc::new(RefCell::new(network)),
            oracle: Rc::new(RefCell::new(oracle)),
            spindles,
            own,
            machine: Machine::new(plan.frames_per_port * ports),
            drivers,
            has_tripped: false,
            idle_frames: vec![None; ports],
            plan,
            hosts: Vec::new(),
            host_random: Vec::new(),
            host_wakes: Vec::new(),
            random,
            strict,
            storm,
            frame_cost_us,
            trouble_ends_us: 0,
            turn: 0,
            asleep: false,
            paused_until_us: 0,
            ordered: None,
            down: true,
            spin: (0, 0),
            events: BTreeMap::new(),
            boots: 0,
            stopped: false,
            ended: false,
        };
        world.invite(segments);
        world
    }

    /// Runs it to its end.
    pub fn run(mut self, seed: u64) -> Report {
        let span_us = self.options.trouble_us;
        self.trouble_ends_us = self.random.between(span_us / 2, span_us * 3 / 2);
        self.ledger.say(|| {
            format!(
                "seed {seed}: {} ports, {} disks, {} hosts, strict {}, storm {}, {:?} and {:?}, settings `{}`",
                self.plan.macs.len(),
                self.spindles.len(),
                self.hosts.len(),
                self.strict,
                self.storm,
                self.drivers.disks,
                self.drivers.cards,
                self.plan.settings
            )
        });
        {
            let mut agenda = self.agenda.borrow_mut();
            agenda.enter(0, Event::Boot);
            agenda.enter(200_000, Event::Misfortune);
            agenda.enter(self.trouble_ends_us, Event::FairWeather);
            agenda.enter(self.trouble_ends_us + CALM_US, Event::Stop);
            let last_us = self.trouble_ends_us + CALM_US + PATIENCE_US;
            agenda.enter(last_us, Event::Last);
        }
        for host in 0..self.hosts.len() {
            self.set_alarm(host);
        }
        while !self.ended && !self.ledger.is_broken() {
            let next = self.agenda.borrow_mut().take();
            let Some((at_us, event)) = next else {
                break;
            };
            self.ledger.set_now_us(at_us.max(self.ledger.now_us()));
            self.happen(event);
        }
        self.report(seed)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToPort { port, bytes } => {
                let wakes = self.network.borrow_mut().arrive(port, bytes);
                if wakes && self.asleep {
                    let latency_us = self.random.between(2, 30);
                    self.schedule_turn(latency_us);
                }
            }
            Event::ToHost { host, card, bytes } => {
                self.ledger.note_bytes(3, &bytes);
                self.at_desk(host, |host, desk| host.receive(desk, card, &bytes));
            }
            Event::Wake(host) => {
                self.host_wakes[host] = u64::MAX;
                if self.hosts[host].deadline_us() <= self.ledger.now_us() {
                    self.at_desk(host, |host, desk| host.wake(desk));
                } else {
                    self.set_alarm(host);
                }
                self.look_for_the_end();
            }
            Event::Turn(turn) if turn == self.turn && !self.down => self.take_turn(),
            Event::Sleep(turn) if turn == self.turn && !self.down => self.fall_asleep(),
            Event::Turn(_) | Event::Sleep(_) => {}
            Event::Misfortune => {
                if self.ledger.now_us() < self.trouble_ends_us {
                    self.misfortune();
                    let shortest_us = if self.storm { 80_000 } else { 5_000 };
                    let longest_us = if self.storm { 160_000 } else { 400_000 };
                    let gap_us = self.random.between(shortest_us, longest_us);
                    self.enter(gap_us, Event::Misfortune);
                }
            }
            Event::Strike(power) => self.strike(power),
            Event::Boot => self.boot(),
            Event::Restore(port) => self.restore(port),
            Event::FairWeather => self.fair_weather(),
            Event::Stop => {
                // Some back off for seconds; nobody is sent home unserved.
                let unserved = |host: &dyn Initiator| host.must_progress() && host.completed() == 0;
                let is_early = self.ledger.now_us() < self.trouble_ends_us + UNSERVED_US;
                if is_early && self.hosts.iter().any(|host| unserved(host.as_ref())) {
                    return self.enter(CALM_US, Event::Stop);
                }
                self.stopped = true;
                for host in 0..self.hosts.len() {
                    self.hosts[host].stop();
                    self.set_alarm(host);
                }
                self.enter(CONSOLE_US, Event::Console);
            }
            Event::Console => {
                // An operator can lock himself out with a frame that was lost or
                // late, by the protocol's own rules; a restart forgets the lists,
                // with another boot disk where they are kept.
                if self.oracle.borrow().is_locked() && !self.ended {
                    self.crash(false);
                    if let Some((number, _)) = self.own {
                        self.spindles[number].borrow_mut().replace();
                        self.oracle.borrow_mut().forget_state();
                    }
                    self.enter(1_000, Event::Boot);
                }
            }
            Event::Last => self.last(),
        }
    }

    pub(super) fn enter(&self, after_us: u64, event: Event) {
        let at_us = self.ledger.now_us() + after_us;
        self.agenda.borrow_mut().enter(at_us, event);
    }
}

/// Everything the node counts, by name.
pub fn countable() -> Vec<(String, Noted)> {
    let drops = aoe::Drop::ALL.iter().copied().map(Noted::Dropped);
    let refusals = aoe::Refusal::ALL.iter().copied().map(Noted::Refused);
    Counted::ALL
        .into_iter()
        .map(Noted::Event)
        .chain(drops)
        .chain(refusals)
        .map(|what| (format!("{what:?}"), what))
        .collect()
}
