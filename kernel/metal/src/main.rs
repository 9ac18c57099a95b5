//! The machine: from the first instruction to the loop that serves disks.
//!
//! [`start`] is the whole start-up, straight down, in an order that has reasons:
//! faults must be reportable before anything can go wrong; devices lose DMA before
//! memory is given away; settings are read before the console that they name;
//! everything that allocates comes before the heap is sealed. After it there is
//! one loop with interrupts closed, for ever; and with `cpus=2` one more, on another
//! processor, for the devices (`mover`).
//!
//! Everything that knows the processor is in this crate, and everything unsafe of
//! it in `arch`, `boot`, `memory`, `heap`, `memcpy`, `clock`, `epitaph` and `mover`. What
//! is plain arithmetic is in the library beside this (`metal`), with tests.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

#[allow(unsafe_code)]
mod arch;
#[allow(unsafe_code)]
mod boot;
mod channels;
#[allow(unsafe_code)]
mod clock;
mod console;
#[allow(unsafe_code)]
mod epitaph;
#[allow(unsafe_code)]
mod heap;
mod idle;
mod machine;
#[allow(unsafe_code)]
mod memcpy;
#[allow(unsafe_code)]
mod memory;
#[allow(unsafe_code)]
mod mover;
mod power;
mod probe;
mod screen;
mod survey;
mod testament;
mod typist;
mod watchdog;

use crate::boot::{Boot, Unusable};
use crate::channels::Channels;
use crate::clock::Clock;
use crate::idle::Idle;
use crate::machine::{Machine, PciConfig};
use crate::memory::Memory;
use crate::mover::Mover;
use crate::power::Power;
use crate::screen::Screen;
use crate::typist::Typist;
use crate::watchdog::Watchdog;
use door::handover::Door;
use engine::{AnyDisk, AnyNic, Node};
use io::{Clock as _, Disk as _, Nic, SLOT_BYTES, Text};
use log::{debug, info, warn};
use metal::acpi::Tables;
use metal::patience::Patience;
use metal::serial::Consoles;
use metal::share::{self, Shares};
use node::config::{Config, RAMS_MAX, Source};
use node::limits::PORTS_MAX;
use node::{Attached, Order, Origin, StateArea};
use ram::RamDisk;

/// How often the loop does what need not be done in every turn.
const ROUND_US: u64 = 250_000;
/// Most lines that are shown of what a node left.
const EPITAPH_LINES: usize = 24;

/// Called by the boot entry, once, with what the loader told us.
fn start(door: Door, boot: Result<Boot, Unusable>) -> ! {
    let began = arch::tsc();
    let memory_end = boot.as_ref().map_or(0, |boot| boot.memory_end);
    arch::init(memory_end);
    let frame = boot.as_ref().ok().and_then(|boot| boot.frame);
    let screen = frame.as_ref().and_then(Screen::on_frame);
    // A UEFI machine may have no VGA at all, and then ports mean something else.
    let is_bios = door != Door::UEFI;
    console::found(screen.or_else(|| is_bios.then(Screen::on_text).flatten()));
    let boot = match boot {
        Ok(boot) => boot,
        Err(error) => panic!("{error}"),
    };
    let tables = Tables::of(&boot.memory, boot.acpi_root, boot.extended_data);
    let pci = PciConfig::find(tables.as_ref());
    probe::stop_dma(pci.as_ref());

    let mut config = Config::new();
    let channels = Channels::find(&boot.memory, boot.smbios_root, boot.command_line);
    channels.read(&mut config, b"", b"");
    open_console(&config);
    let (clock, timer) = Clock::new(began, tables.as_ref());
    clock::remember(&clock);
    if clock.source == clock::Source::Guessed {
        warn!(
            "the speed of this processor's counter is unknown; {} MHz is assumed",
            clock.hz() / 1_000_000
        );
    }

    let power = Power::find(tables.as_ref());
    let other_processor = mover::find(tables.as_ref());
    let mut memory = boot.memory;
    let page = memory.take_low_page();
    let mut mover = Mover::start(&config, other_processor, page, clock);
    // What is on its way between two processors takes as much as two more devices.
    let devices = probe::count(pci.as_ref(), boot.command_line)
        + config.rams.len()
        + 2 * usize::from(mover.is_some());
    let rams = take_rams(&config, &mut memory, share::reserve(devices));
    let watchdog = Watchdog::find();
    let has_bitten = watchdog.as_ref().is_some_and(|dog| dog.has_bitten);
    let epitaph = testament::open(&mut memory, boot.memory_end, has_bitten);
    let Some(Shares { heap, frames }) = Shares::of(memory.free_low(), devices) else {
        panic!(
            "{} KiB of memory are free, too little for {devices} devices; ublade needs a machine of 8 MiB and 1 MiB more for every ten devices",
            memory.free_low() >> 10
        );
    };
    heap::open(memory.take(heap, 4096).expect("a share of what is free"));
    let mut machine = Machine::new(pci.as_ref(), memory, clock, frames, boot.memory_end);
    let mut found = probe::devices(&mut machine, boot.command_line);
    for nic in found.nics.drain(PORTS_MAX.min(found.nics.len())..) {
        warn!(
            "{}: ublade serves {PORTS_MAX} network cards; skipped",
            nic.name()
        );
    }
    let survey = survey::look(&mut found.disks, &mut machine.memory, clock);
    let saved = survey.state.as_ref().map_or(&[][..], StateArea::saved);
    if survey.conf_disk.is_some() || !saved.is_empty() {
        config = Config::new();
        channels.read(&mut config, &survey.conf, saved);
        open_console(&config);
        debug!(
            "ublade.conf has {} bytes, and {} were saved over it",
            survey.conf.len(),
            saved.len()
        );
        mover::mind(&config, mover.as_ref());
    }

    for (disk, partitions) in &survey.partitions {
        let serial = found.disks[*disk].disk.identity().serial;
        config.find_parts(*disk as u8, serial.as_str(), partitions);
    }

    let total = machine.memory.total();
    // Memory may have holes, and a driver may have taken more than its share:
    // then there are fewer frames than the lists have room for.
    let pool = machine.memory.take_most(frames * SLOT_BYTES);
    let pool = pool.unwrap_or_default();
    let more = take_more_rams(&config, &rams, &mut machine.memory, frames);
    for (slot, memory) in rams.into_iter().chain(more).flatten() {
        let name = Text::<32>::format(format_args!("ram.{slot} RAM disk"));
        let serial = Text::<20>::format(format_args!("ram{slot}"));
        found.disks.push(Attached {
            disk: AnyDisk::Ram(RamDisk::new(memory, frames, name.as_str(), serial.as_str())),
            origin: Origin::Ram { slot },
        });
    }
    let frames = pool.len() / SLOT_BYTES;
    let woken_by_cards = found.nics.iter().all(AnyNic::has_interrupt);
    let late = &survey.late;
    if let Some(mover) = &mover {
        found = mover.give(found, late, frames, config.poll.value);
    }
    let mut node = Node::with_state(
        found.nics,
        found.disks,
        io::carve(pool),
        &config,
        clock.now(),
        survey.state,
    );
    for disk in survey.late {
        node.expect_late(disk);
    }
    let told = node::Boot {
        route: door.name(),
        memory_bytes: total,
        boot_us: clock.now().0,
    };
    // As random as a machine without a source can be: what a stranger on the
    // segment cannot know is how long the firmware took.
    node.ask_before_going_online(arch::tsc() ^ began.rotate_left(32));
    // The first turn asks; people can wait for theirs while an answer is on its way.
    engine::step(&mut node, clock.now());
    node.open_management(&config, &told, began ^ arch::tsc().rotate_left(32));
    for warning in node.warnings() {
        warn!("{warning}");
    }
    if let Some(epitaph) = epitaph {
        let lines = epitaph.as_str().split('\n');
        for line in lines.filter(|line| !line.is_empty()).take(EPITAPH_LINES) {
            warn!("before this start: {line}");
        }
        node.remember(epitaph);
    }
    let (used, heap_bytes) = heap::usage();
    debug!(
        "{frames} frames, heap {} of {} KiB, {}, counter {} kHz ({:?}), {} KiB left",
        used >> 10,
        heap_bytes >> 10,
        arch::controller_name(),
        clock.hz() / 1000,
        clock.source,
        machine.memory.free_low() >> 10,
    );
    heap::seal();

    console::go_to_background();
    for line in node.banner(&told).lines() {
        info!("{line}");
    }
    for note in node.notes() {
        info!("{note}");
    }
    for said in config.said() {
        info!("setting {said}");
    }

    let patience = Patience::new(config.poll.value);
    let mut idle = Idle::new(clock, timer, patience, woken_by_cards);
    let mut typist = Typist::new();
    let mut said = [0; 256];
    let mut round = clock.now();
    watchdog::start(watchdog.as_ref(), config.watchdog);
    loop {
        let now = clock.now();
        let len = console::hear(&mut said);
        if len > 0 {
            node.hear(&said[..len]);
        }
        typist.turn(&mut node, now);
        let moved = engine::step(&mut node, now);
        if moved {
            idle.busy();
        }
        if !moved {
            idle.rest(&mut node, now, typist.deadline(now));
        } else if idle.is_hasty() && engine::is_quiet(&node) {
            let now = clock.now();
            engine::rest_from(&mut node, now);
            idle.rest(&mut node, now, typist.deadline(now));
        }
        if now.since_us(round) >= ROUND_US {
            round = now;
            if mover.as_mut().is_none_or(Mover::is_alive) {
                watchdog::turn();
            }
            testament::note(&node, now);
            if power.is_pressed() {
                info!("power button: finishing what is under way");
                node.order(Order::PowerOff);
            }
        }
        if let Some(order) = node.closed() {
            info!("{order}: everything is answered and flushed");
            log::logger().flush();
            watchdog::stop();
            testament::close();
            power.obey(order);
        }
    }
}

/// The console as the settings want it, and what `log` and a panic do.
#[cold]
fn open_console(config: &Config) {
    let setting = config.console.value;
    let consoles = Consoles::parse(setting.as_str());
    console::open(consoles.serial, consoles.screen);
    console::listen(config.log.value);
    epitaph::set_seconds(config.panic.value);
    if consoles.has_unknown {
        warn!(
            "console={setting}: not all of it is a serial port of a PC (ttyS0 to ttyS3) or the screen (tty0); all that there is is used"
        );
    }
}

/// The memory of RAM disks that settings off a disk ask for. Those were read after
/// memory had been shared out, so they get what is left, if the heap has room for
/// their lists as well.
#[cold]
fn take_more_rams(
    config: &Config,
    rams: &[Option<(u8, &'static mut [u8])>],
    memory: &mut Memory,
    frames: usize,
) -> [Option<(u8, &'static mut [u8])>; RAMS_MAX] {
    let mut more = [const { None }; RAMS_MAX];
    let (used, bytes) = heap::usage();
    let mut room = share::devices_in((bytes - used) as u64, frames);
    let is_late = |source| matches!(source, Source::File | Source::Saved);
    let settings = config.rams.iter().filter(|ram| is_late(ram.source));
    for (ram, setting) in more.iter_mut().zip(settings) {
        let (slot, bytes) = setting.value;
        if rams.iter().flatten().any(|(other, _)| *other == slot) {
            continue;
        }
        *ram = memory
            .take_large(bytes, 0)
            .filter(|_| room > 0)
            .map(|memory| (slot, memory));
        room = room.saturating_sub(1);
        if ram.is_none() {
            warn!(
                "ram.{slot}: {} KiB of memory are not free; skipped",
                bytes >> 10
            );
        }
    }
    more
}

/// The memory of the RAM disks that the operator asked for, as far as there is
/// any beyond `reserve`. There is no heap yet.
#[cold]
fn take_rams(
    config: &Config,
    memory: &mut Memory,
    reserve: u64,
) -> [Option<(u8, &'static mut [u8])>; RAMS_MAX] {
    let mut rams = [const { None }; RAMS_MAX];
    for (ram, setting) in rams.iter_mut().zip(config.rams.iter()) {
        let (slot, bytes) = setting.value;
        *ram = memory
            .take_large(bytes, reserve)
            .map(|memory| (slot, memory));
        if ram.is_none() {
            warn!(
                "ram.{slot}: {} KiB of memory are not free; skipped",
                bytes >> 10
            );
        }
    }
    rams
}
