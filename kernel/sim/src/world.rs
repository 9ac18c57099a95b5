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

use crate::agenda::Agenda;
use crate::disk::{DiskPlan, Drive, Spindle};
use crate::history::Acknowledged;
use crate::initiator::{
    Crowd, Desk, Initiator, Ipxe, Linux, Operator, Rogue, WinAoe, Window, Work,
};
use crate::ledger::{Fault, Ledger};
use crate::models::dma::Machine;
use crate::mutants::{BentCard, BentDrive, Mutant};
use crate::network::{Card, Network, Weather};
use crate::oracle::{Oracle, Served, View};
use crate::random::Random;
use crate::wire::{Address, Mac};
use crate::{Options, Report};
use io::{Instant, WriteCache};
use node::config::{Config, Source};
use node::media::Own;
use node::state;
use node::{Attached, Node, Order, Origin, StateArea};
use node::{Event as Counted, Noted};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
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
/// Turns in a row that a node may need without a frame that comes or leaves: a
/// large discard is many operations and one request.
const IDLE_TURNS_MAX: u32 = 20_000;

/// Most hosts of a run, and most cards of a host.
const HOSTS_MAX: usize = 8;
const CARDS_MAX: usize = 3;

type Running = Node<BentCard, BentDrive>;

/// What the node's machine looks like.
struct Plan {
    frames_per_port: usize,
    served: Vec<Served>,
    settings: String,
    macs: Vec<Mac>,
    mtus: Vec<u16>,
}

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

fn mac(group: u8, number: usize) -> Mac {
    [0x02, group, 0, 0, (number >> 8) as u8, number as u8]
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
            let own = random.fork(100 + number as u64);
            spindles.push(Rc::new(RefCell::new(Spindle::new(
                number,
                plan,
                ledger.clone(),
                own,
            ))));
        }
        let plan = machine_plan(&mut random, &spindles, storm);
        let own = (!storm && random.one_in(2)).then(|| {
            let number = spindles.len();
            let (plan, first) = own_plan(&mut random);
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
                "seed {seed}: {} ports, {} disks, {} hosts, strict {}, storm {}, settings `{}`",
                self.plan.macs.len(),
                self.spindles.len(),
                self.hosts.len(),
                self.strict,
                self.storm,
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

    fn enter(&self, after_us: u64, event: Event) {
        let at_us = self.ledger.now_us() + after_us;
        self.agenda.borrow_mut().enter(at_us, event);
    }

    // ---- The hosts -----------------------------------------------------------

    fn at_desk(&mut self, host: usize, act: impl FnOnce(&mut dyn Initiator, &mut Desk<'_>)) {
        let mut oracle = self.oracle.borrow_mut();
        let mut desk = Desk {
            now_us: self.ledger.now_us(),
            random: &mut self.host_random[host],
            oracle: &mut oracle,
            ledger: &self.ledger,
            out: Vec::new(),
        };
        act(self.hosts[host].as_mut(), &mut desk);
        let out = desk.out;
        drop(oracle);
        let mut network = self.network.borrow_mut();
        for (card, frame) in out {
            let plug = network
                .plugs
                .iter()
                .position(|plug| plug.host == host && plug.card == card)
                .expect("a host sends by its own cards");
            network.leave_host(plug, &frame);
        }
        drop(network);
        self.set_alarm(host);
    }

    fn set_alarm(&mut self, host: usize) {
        let now_us = self.ledger.now_us();
        let deadline_us = self.hosts[host].deadline_us();
        if deadline_us < self.host_wakes[host] && deadline_us != u64::MAX {
            let at_us = deadline_us.max(now_us + 1);
            self.host_wakes[host] = at_us;
            self.agenda.borrow_mut().enter(at_us, Event::Wake(host));
        }
    }

    /// Who is there, where, and what they want.
    fn invite(&mut self, segments: usize) {
        let exports = self.plan.served.len();
        let mut linux = self.random.between(1, 3) as usize;
        let mut ipxe = self.random.below(3) as usize / 2 + usize::from(self.random.one_in(3));
        let mut windows = usize::from(self.random.one_in(3));
        let mut rogue = usize::from(self.random.one_in(2));
        let mut operator = usize::from(self.random.one_in(2) || self.own.is_some());
        if self.storm {
            // One host with two paths, and a crowd on one of them.
            (linux, ipxe, windows, rogue, operator) = (1, 0, 0, 1, 0);
        }
        let workers = linux + ipxe + windows;
        let total = workers + rogue + operator;
        let everybody = guests();
        assert!(total <= HOSTS_MAX, "{total} hosts");
        let addresses: Vec<Address> = self.plan.served.iter().map(|s| s.address).collect();
        let shared = self.shared_window();
        for host in 0..total {
            let mut own = self.random.fork(1_000 + host as u64);
            // A VLAN is between the host and the node's port alone.
            let vlan = own.one_in(8).then(|| {
                [
                    0x81,
                    0x00,
                    own.below(8) as u8 * 32,
                    own.between(1, 200) as u8,
                ]
            });
            let cards = if host < linux && segments > 1 && (self.storm || own.one_in(2)) {
                own.between(2, segments.min(3) as u64) as usize
            } else {
                1
            };
            let first_segment = if self.storm {
                0
            } else {
                own.below(segments as u64) as usize
            };
            let mut card_list = Vec::new();
            for card in 0..cards {
                let segment = (first_segment + card) % segments;
                let address = mac(host as u8 + 1, card);
                let mut network = self.network.borrow_mut();
                network.add_plug(segment, host, card, address, vlan);
                let mtu = self.plan.mtus[segment.min(self.plan.mtus.len() - 1)];
                let own_mtu = if own.one_in(4) { 1500 } else { mtu };
                card_list.push((address, own_mtu.min(mtu)));
            }
            let export = own.below(exports.max(1) as u64) as usize;
            let initiator: Box<dyn Initiator> = if host < linux {
                let mut devices = Vec::new();
                for (index, address) in addresses.iter().enumerate() {
                    if index == export || own.one_in(3) {
                        let work = self.work(index, host, workers, &mut own);
                        devices.push((*address, work));
                    }
                }
                let mut depth = *own.pick(&[1, 2, 4, 8, 16]);
                let mut largest = *own.pick(&[1, 2, 8, 17, 64]);
                if self.storm {
                    (depth, largest) = (6, 1);
                }
                Box::new(Linux::new(
                    host,
                    card_list,
                    devices,
                    depth,
                    largest,
                    self.strict,
                ))
            } else if host < linux + ipxe {
                let work = self.work(export, host, workers, &mut own);
                let address = addresses.get(export).copied();
                let address = address.unwrap_or(Address { shelf: 9, slot: 9 });
                Box::new(Ipxe::new(host, card_list[0].0, address, work, self.strict))
            } else if host < workers {
                let work = self.work(export, host, workers, &mut own);
                let address = addresses.get(export).copied();
                let address = address.unwrap_or(Address { shelf: 9, slot: 9 });
                let depth = own.between(1, 24) as usize;
                Box::new(WinAoe::new(
                    host,
                    card_list[0],
                    address,
                    work,
                    depth,
                    self.strict,
                ))
            } else if self.storm {
                let from = card_list[0].0;
                Box::new(Crowd::new(host, from, self.plan.macs[0], addresses[0]))
            } else if host < workers + rogue {
                let gap_us = own.between(100, 5_000);
                let targets = self.plan.macs.clone();
                let known = addresses.clone();
                let from = card_list[0].0;
                Box::new(Rogue::new(host, from, targets, known, shared, gap_us))
            } else {
                let from = card_list[0].0;
                Box::new(Operator::new(
                    host,
                    from,
                    everybody.clone(),
                    addresses.clone(),
                ))
            };
            self.hosts.push(initiator);
            self.host_random.push(own);
            self.host_wakes.push(u64::MAX);
        }
    }

    /// Sectors that are everybody's, the same on every export.
    fn shared_window(&self) -> (u64, u64) {
        let smallest = (0..self.plan.served.len())
            .map(|index| self.oracle.borrow().capacity(index))
            .min()
            .unwrap_or(8);
        (0, (smallest / 4).clamp(1, 48))
    }

    fn work(&self, export: usize, host: usize, hosts: usize, random: &mut Random) -> Work {
        let Some(served) = self.plan.served.get(export) else {
            return Work::new(host as u64, Vec::new(), 0);
        };
        let capacity = self.oracle.borrow().capacity(export);
        let (_, shared) = self.shared_window();
        let mut windows = vec![Window {
            first: 0,
            sectors: shared,
            shared: true,
        }];
        let mut cut = |first: u64, end: u64| {
            // In a storm the host with two paths comes back to the same sectors soon.
            let most = if self.storm && host == 0 { 3 } else { 192 };
            let each = ((end - first) / hosts as u64).min(most);
            if each > 0 {
                windows.push(Window {
                    first: first + each * host as u64,
                    sectors: each,
                    shared: false,
                });
            }
        };
        // Small disks whole; of large ones the start, the border of 28 bits and
        // the end.
        if capacity < 1 << 20 {
            cut(shared, capacity);
        } else {
            cut(shared, 1 << 12);
            cut((1 << 28) - 64, (1 << 28) + 64);
            cut(capacity - 256, capacity);
        }
        if self.storm && host == 0 {
            // Back to the same few sectors at once, with what must not be undone.
            windows.retain(|window| !window.shared);
        }
        let writes = if self.storm {
            900_000
        } else if served.writable {
            *random.pick(&[100_000, 500_000, 900_000])
        } else {
            50_000
        };
        Work::new((export * 64 + host) as u64, windows, writes)
    }

    // ---- The node ------------------------------------------------------------

    fn boot(&mut self) {
        if !self.down {
            return;
        }
        let (network, oracle, ledger) = (&self.network, &self.oracle, &self.ledger);
        let bend = self.options.mutant;
        let served = self.served_disks();
        let random = &mut self.random;
        let mut cards = Vec::new();
        for port in 0..self.plan.macs.len() {
            let card = Card::new(port, network, oracle, random.fork(2));
            cards.push(BentCard::new(card, bend, random.fork(3), ledger.clone()));
        }
        let mut drives = Vec::new();
        for number in 0..self.spindles.len() {
            let mut spindle = number;
            if bend == Some(Mutant::ExportsSwapped) && number < 2 && served > 1 {
                spindle = 1 - number;
            }
            let drive = Drive::new(number, &self.spindles[spindle]);
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
        self.boots += 1;
        self.idle_frames.fill(None);
        self.ledger.say(|| "the node starts".into());
        let latency_us = self.random.between(1, 1_000);
        self.schedule_turn(latency_us);
        self.aim(true);
    }

    fn schedule_turn(&mut self, after_us: u64) {
        self.turn += 1;
        let turn = self.turn;
        self.enter(after_us, Event::Turn(turn));
    }

    fn take_turn(&mut self) {
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

    fn fall_asleep(&mut self) {
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
        let wake_us = deadline_us.min(ends_us).max(now_us + 1);
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
                None => self.idle_frames[index] = Some(port.lent()),
                Some(frames) if frames != port.lent() => self.ledger.find(format!(
                    "port {index} has {} frames in its ring with nothing to do, it had {frames}",
                    port.lent()
                )),
                Some(_) => {}
            }
        }
    }

    fn crash(&mut self, power: bool) {
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

    // ---- Misfortune ----------------------------------------------------------

    fn misfortune(&mut self) {
        let now_us = self.ledger.now_us();
        let random = &mut self.random;
        let ports = self.plan.macs.len() as u64;
        let kind = match random.below(17) {
            // A storm is mostly a processor that is taken away.
            _ if self.storm => return self.stall(),
            kind => kind,
        };
        match kind {
            0 | 1 => {
                let plugs = self.network.borrow().plugs.len() as u64;
                let plug = random.below(plugs) as usize;
                let until_us = now_us + random.between(5_000, 800_000);
                self.network.borrow_mut().cut(plug, until_us);
                self.ledger.count(Fault::CableCut);
            }
            2 if !self.strict => {
                let until_us = now_us + random.between(500, 60_000);
                self.network.borrow_mut().pause(until_us);
                self.ledger.count(Fault::NetworkPaused);
            }
            3 => {
                let port = random.below(ports) as usize;
                let until_us = now_us + random.between(500, 80_000);
                self.network.borrow_mut().ports[port].stuck_until_us = until_us;
                self.ledger.count(Fault::TransmitStuck);
            }
            4..=6 => {
                let longest_us = *random.pick(&[1_000, 20_000, 90_000, 400_000]);
                let pause_us = random.between(100, longest_us);
                self.pause_node(pause_us);
            }
            7 | 8 => {
                let power = random.one_in(2);
                let down_us = random.between(1_000, 500_000);
                self.die(power, down_us);
            }
            9 | 10 => {
                let disk = random.below(self.spindles.len() as u64) as usize;
                let longest_us = *random.pick(&[50_000, 500_000, 4_000_000]);
                let until_us = now_us + random.between(5_000, longest_us);
                self.spindles[disk].borrow_mut().hang(until_us);
                self.ledger.count(Fault::DiskHung);
                self.wake_for_disks();
            }
            11 => {
                let served = self.spindles.len() - usize::from(self.own.is_some());
                let disk = random.below(served as u64) as usize;
                let sectors = self.spindles[disk].borrow().plan().sectors;
                if sectors < 1 << 20 {
                    let more = random.between(1, 64);
                    self.spindles[disk].borrow_mut().resize(sectors + more);
                    self.oracle.borrow_mut().resized(disk);
                    self.ledger.count(Fault::Resized);
                }
            }
            12 => {
                let port = random.below(ports) as usize;
                let mtu = match self.plan.mtus[port] {
                    4_133.. => 4_132,
                    // How long a list may be must not be in doubt.
                    mtu => mtu.min(1_500),
                };
                self.network.borrow_mut().ports[port].mtu = mtu;
                self.oracle.borrow_mut().set_mtu(port, mtu);
                self.ledger.count(Fault::MtuChanged);
                let after_us = random.between(50_000, 600_000);
                self.enter(after_us, Event::Restore(port));
            }
            13 => {
                let port = random.below(ports) as usize;
                self.network.borrow_mut().ports[port].link = false;
                self.ledger.count(Fault::CableCut);
                let after_us = random.between(50_000, 900_000);
                self.enter(after_us, Event::Restore(port));
            }
            14 => self.order_restart(),
            _ => {
                let strict = self.strict;
                self.network.borrow_mut().weather = weather(random, strict);
            }
        }
    }

    fn die(&mut self, power: bool, down_us: u64) {
        self.ledger
            .say(|| format!("the node dies (power {power}) for {down_us} us"));
        self.crash(power);
        self.enter(down_us, Event::Boot);
    }

    /// A crash that was aimed at a moment, if there is still somebody to hit.
    fn strike(&mut self, power: bool) {
        if self.ledger.now_us() < self.trouble_ends_us && !self.down {
            let down_us = self.random.between(1_000, 20_000);
            self.die(power, down_us);
        }
    }

    /// Now and then a crash is aimed at the time between a change of what is set
    /// and its answer, and at the node's first moments after another one.
    fn aim(&mut self, at_start: bool) {
        let has_chance = if at_start {
            self.own.is_some() && self.boots > 1 && self.random.one_in(4)
        } else {
            self.own.is_some() && self.random.one_in(64)
        };
        if has_chance {
            let after_us = self.random.between(1, 3_000);
            let power = self.random.one_in(2);
            self.enter(after_us, Event::Strike(power));
        }
    }

    fn pause_node(&mut self, pause_us: u64) {
        self.paused_until_us = self.ledger.now_us() + pause_us;
        let until_us = self.paused_until_us;
        self.ledger
            .say(|| format!("the processor is taken away until {until_us} us"));
        self.ledger.count(Fault::NodePaused);
    }

    /// A storm's misfortune: the processor is taken away, the crowd rushes into one
    /// ring, and the host with two paths has time to send its writes again through
    /// the other. The node wakes up over both copies.
    fn stall(&mut self) {
        let pause_us = self.random.between(30_000, 95_000);
        self.pause_node(pause_us);
        let now_us = self.ledger.now_us();
        for host in 0..self.hosts.len() {
            self.hosts[host].rush(now_us);
            self.set_alarm(host);
        }
    }

    /// Somebody presses the button: the node is to stop in order and start again.
    fn order_restart(&mut self) {
        let Some(node) = self.machine.inside() else {
            return;
        };
        node.order(Order::Restart);
        self.ledger.say(|| "the node is told to start again".into());
        self.ledger.count(Fault::Ordered);
        let refused = self.flushes_refused();
        self.ordered = Some((self.ledger.now_us(), refused));
        self.schedule_turn(1);
    }

    fn flushes_refused(&self) -> u64 {
        let refused = |spindle: &Rc<RefCell<Spindle>>| spindle.borrow().flushes_refused;
        self.spindles.iter().map(refused).sum()
    }

    /// The node says that it has stopped in order. What it left in a volatile cache
    /// although every flush worked, the power switch would have taken.
    fn closed(&mut self) {
        let now_us = self.ledger.now_us();
        let (ordered_us, refused) = self.ordered.take().unwrap_or((now_us, 0));
        // A disk that hangs does not keep the machine on.
        let in_time = now_us - ordered_us < node::limits::CLOSE_MAX_US;
        if in_time && refused == self.flushes_refused() {
            for (index, spindle) in self.spindles.iter().enumerate() {
                let left = spindle.borrow().in_cache();
                if left > 0 {
                    self.ledger.find(format!(
                        "the node stopped in order and left {left} sectors in the cache of disk {index}"
                    ));
                }
            }
        }
        self.crash(true);
        let down_us = self.random.between(1_000, 500_000);
        self.enter(down_us, Event::Boot);
    }

    /// A disk's times have changed while the node may be asleep over them.
    fn wake_for_disks(&mut self) {
        if self.asleep {
            self.schedule_turn(1);
        }
    }

    fn restore(&mut self, port: usize) {
        let mtu = self.plan.mtus[port];
        let mut network = self.network.borrow_mut();
        network.ports[port].link = true;
        if network.ports[port].mtu != mtu {
            network.ports[port].mtu = mtu;
            self.oracle.borrow_mut().set_mtu(port, mtu);
        }
    }

    fn fair_weather(&mut self) {
        self.ledger.say(|| "fair weather".into());
        self.network.borrow_mut().heal();
        for spindle in &self.spindles {
            spindle.borrow_mut().heal();
        }
        for port in 0..self.plan.macs.len() {
            self.restore(port);
        }
        self.paused_until_us = 0;
        if self.down {
            self.boot();
        }
        self.schedule_turn(1);
        for host in 0..self.hosts.len() {
            self.at_desk(host, |host, desk| host.fair_weather(desk));
        }
    }

    // ---- The end -------------------------------------------------------------

    fn look_for_the_end(&mut self) {
        if self.stopped && self.hosts.iter().all(|host| host.is_idle()) {
            self.audit();
        }
    }

    fn last(&mut self) {
        for host in &self.hosts {
            if !host.is_idle() {
                self.ledger.find(format!(
                    "{} waits and waits, {} s after the last fault",
                    host.name(),
                    (CALM_US + PATIENCE_US) / 1_000_000
                ));
            }
        }
        self.audit();
    }

    fn audit(&mut self) {
        self.ended = true;
        if self.ledger.is_broken() {
            return;
        }
        if !self.plan.served.is_empty() {
            for host in &self.hosts {
                if host.must_progress() && host.completed() == 0 {
                    self.ledger
                        .find(format!("{} never got an answer", host.name()));
                }
            }
        }
        self.oracle.borrow_mut().audit("at the end");
        self.crash(true);
        self.oracle.borrow_mut().audit("after the last power cut");
        if self.own.is_some() {
            // What was set is told by the next start.
            self.boot();
        }
    }

    fn count_events(&mut self) {
        let Some(node) = self.machine.inside() else {
            return;
        };
        for (name, what) in countable() {
            let count = node.events().count_of(what);
            *self.events.entry(name).or_default() += count;
        }
    }

    fn report(mut self, seed: u64) -> Report {
        self.count_events();
        let tally = self.oracle.borrow().tally;
        let spindles = self.spindles.iter().map(|spindle| spindle.borrow());
        let (mut flushes, mut writes) = (0, 0);
        for spindle in spindles {
            flushes += spindle.flushes;
            writes += spindle.writes;
        }
        Report {
            seed,
            finding: self.ledger.finding(),
            trace_hash: self.ledger.trace(),
            virtual_us: self.ledger.now_us(),
            boots: self.boots,
            requests: tally.requests,
            replies: tally.replies,
            sectors_read: tally.sectors_read,
            sectors_written: tally.sectors_written,
            flushes,
            writes,
            completed: self.hosts.iter().map(|host| host.completed()).sum(),
            late_copies: tally.late_copies,
            faults: self.ledger.faults(),
            events: std::mem::take(&mut self.events),
        }
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

fn weather(random: &mut Random, strict: bool) -> Weather {
    let latency_us = random.between(5, 100);
    let mut weather = Weather {
        latency_us,
        // A resend comes after twice the mean round trip at the earliest, which
        // is four times the latency: a strict network is done with a frame then.
        jitter_us: random.between(0, latency_us),
        loss_ppm: *random.pick(&[0, 0, 1_000, 10_000, 30_000]),
        flip_ppm: *random.pick(&[0, 0, 1_000, 5_000]),
        ..Weather::CALM
    };
    if !strict {
        weather.jitter_us = *random.pick(&[5, 100, 2_000, 20_000]);
        weather.double_ppm = *random.pick(&[0, 1_000, 20_000]);
        weather.swap_ppm = *random.pick(&[0, 5_000, 50_000]);
        weather.late_us = *random.pick(&[100, 5_000, 300_000]);
        weather.unseen_flip_ppm = *random.pick(&[0, 0, 300]);
    }
    weather
}

fn disk_plan(random: &mut Random, number: usize) -> DiskPlan {
    let grain = random.between(16, 512) * 8;
    let sectors = match random.below(8) {
        0 => grain + random.between(1, 7),
        1 => (1 << 28) + 4_096 + grain,
        2 if number == 0 => 1 << 40,
        _ => grain,
    };
    let fast = random.one_in(4);
    DiskPlan {
        sectors,
        physical_exponent: if random.one_in(2) { 3 } else { 0 },
        read_only: random.one_in(16),
        cache: if random.one_in(4) {
            WriteCache::None
        } else {
            WriteCache::Volatile
        },
        discard: (!random.one_in(3)).then(|| *random.pick(&[2_048, 65_536])),
        latency_us: if fast {
            (1, 20)
        } else {
            let shortest = random.between(5, 200);
            (shortest, shortest * random.between(2, 10))
        },
        fault_ppm: *random.pick(&[0, 0, 500, 5_000]),
        medium_ppm: *random.pick(&[0, 0, 500, 5_000]),
        flush_fails_ppm: *random.pick(&[0, 0, 2_000, 50_000]),
        failed_flush_drops: random.one_in(2),
        tears: random.one_in(2),
    }
}

/// The node's own disk: as bad as the others, and where its state area begins.
fn own_plan(random: &mut Random) -> (DiskPlan, u64) {
    let first = random.between(0, 64);
    let mut plan = disk_plan(random, usize::MAX);
    plan.sectors = first + state::AREA_SECTORS + random.between(0, 64);
    plan.read_only = false;
    (plan, first)
}

/// The addresses of every host that may come.
fn guests() -> Vec<Mac> {
    (0..HOSTS_MAX)
        .flat_map(|host| (0..CARDS_MAX).map(move |card| mac(host as u8 + 1, card)))
        .collect()
}

fn text_of(mac: &Mac) -> String {
    let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

/// Settings as an operator would write them, and what they mean.
fn machine_plan(random: &mut Random, spindles: &[Rc<RefCell<Spindle>>], storm: bool) -> Plan {
    let shelf = *random.pick(&[1, 5, 254, 4_094, 65_534]);
    let mut ports = *random.pick(&[1, 1, 2, 2, 2, 3]) as usize;
    let mut frames_per_port = *random.pick(&[16, 24, 48, 96, 160]);
    if storm {
        ports = 2;
        frames_per_port = 400;
    }
    let write_back = random.one_in(4);
    let mut settings = format!("ublade.shelf={shelf} ublade.rw=all");
    if write_back {
        // There an acknowledged write may be in the cache only, and no failed
        // flush of somebody else may take it away.
        for spindle in spindles {
            spindle.borrow_mut().keep_all();
        }
        settings.push_str(" ublade.cache=writeback");
    }
    // Some exports know by their settings who may talk to them.
    let masked = random
        .one_in(8)
        .then(|| random.below(spindles.len() as u64) as usize);
    // Silence instead of errors: only where nobody asks for what is never given.
    let read_only = spindles
        .iter()
        .any(|spindle| spindle.borrow().plan().read_only);
    if random.one_in(12) && !read_only {
        settings.push_str(" ublade.errors=silent");
    }
    let mut served = Vec::new();
    for (number, spindle) in spindles.iter().enumerate() {
        let spindle = spindle.borrow();
        let plan = spindle.plan();
        let how = if write_back {
            Acknowledged::Volatile
        } else {
            Acknowledged::Durable
        };
        let masks = if masked == Some(number) {
            guests()
        } else {
            Vec::new()
        };
        let export = |slot: u8, first: u64, sectors: Option<u64>| Served {
            masks: masks.clone(),
            address: Address { shelf, slot },
            disk: number,
            first,
            sectors,
            writable: !plan.read_only,
            how,
        };
        // One disk in four is cut in two, with slots far from its own.
        if plan.sectors < 1 << 20 && random.one_in(4) {
            let half = plan.sectors / 16 * 8;
            let slots = [100 + 2 * number as u8, 101 + 2 * number as u8];
            for (part, slot) in slots.into_iter().enumerate() {
                let offset = part as u64 * half;
                write!(
                    settings,
                    " ublade.slot.{slot}=serial:SIM{number:04},offset={offset_bytes},length={bytes}",
                    offset_bytes = offset * 512,
                    bytes = half * 512
                )
                .expect("a string takes everything");
                served.push(export(slot, offset, Some(half)));
            }
        } else {
            write!(settings, " ublade.slot.{number}=serial:SIM{number:04}")
                .expect("a string takes everything");
            served.push(export(number as u8, 0, None));
        }
    }
    served.sort_by_key(|served: &Served| served.address);
    for served in served.iter().filter(|served| !served.masks.is_empty()) {
        let texts: Vec<String> = served.masks.iter().map(text_of).collect();
        write!(
            settings,
            " ublade.mask.{}={}",
            served.address.slot,
            texts.join(",")
        )
        .expect("a string takes everything");
    }
    Plan {
        frames_per_port,
        served,
        settings,
        macs: (0..ports).map(|port| mac(0xfe, port)).collect(),
        // A tunnel takes its part of the link now and then.
        mtus: (0..ports)
            .map(|_| *random.pick(&[1_200, 1_500, 1_500, 1_500, 4_132, 9_000, 9_000, 9_000]))
            .collect(),
    }
}
