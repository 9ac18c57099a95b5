//! The mover: a second processor, which runs the drivers and moves frames.
//!
//! It is started before the devices, because they are told at their start whom to
//! interrupt; it sleeps until it is given them ([`give`]), and then turns as the node's
//! loop does: while frames move, a little longer, then asleep until a device or the
//! node calls. If it is given nothing, it calls the first processor whenever a device
//! called it.
//!
//! It has no timer and no console. What takes time (links, limits) the node asks for in
//! its own rounds, under the lock of a turn; and it looks there whether the mover still
//! turns, because the watchdog knows only the node.

use crate::arch;
use crate::clock::{self, Clock};
use crate::memory::Memory;
use crate::probe::Found;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use engine::{AnyDisk, AnyNic, Link, Way};
use io::Instant;
use log::{debug, warn};
use metal::acpi::Tables;
use metal::patience::Patience;
use node::Attached;
use node::config::{Config, Source};
use spin::Once;

/// Highest number of a processor that a device's message can name.
const ID_MAX: u32 = 0xfe;

/// The link, which both processors use.
struct Shared(Link);
// SAFETY: drivers of one controller share it with each other by means that are made for
// one processor (`Rc`, `RefCell`). All of them are in the link's one list, behind its
// lock, and nothing outside of it has a part in them: so they are used by one processor
// at a time, and the lock makes the next one see what the last one did.
unsafe impl Sync for Shared {}
// SAFETY: as above; the link moves once, into its lasting place.
unsafe impl Send for Shared {}

static LINK: Once<Shared> = Once::new();
/// It has been given everything, or nothing.
static READY: AtomicBool = AtomicBool::new(false);
static IDLE: AtomicBool = AtomicBool::new(false);
/// How long it spins: `poll=`, all ones for what it learns.
static SPIN_US: AtomicU32 = AtomicU32::new(u32::MAX);

/// A second processor that has started.
pub struct Mover {
    /// What its pulse was when it was last looked at.
    last: Option<u64>,
}

impl Mover {
    /// Starts one, if the settings want it. One that can not be started is named, and
    /// the first does all.
    #[cold]
    pub fn start(
        config: &Config,
        id: Option<u32>,
        page: Option<&'static mut [u8]>,
        clock: Clock,
    ) -> Option<Self> {
        if !is_wanted(config) {
            return None;
        }
        let why: &dyn core::fmt::Display = match (id, page) {
            (None, _) => &"the firmware names no other processor",
            (_, None) => &"no memory below 1 MiB is free to start one in",
            (Some(id), Some(page)) => match arch::start(id, page, work, |us| clock.ticks(us)) {
                Ok(()) => {
                    debug!("processor {id} runs the devices");
                    return Some(Self { last: None });
                }
                Err(error) => &{ error },
            },
        };
        warn!("cpus={}: {why}; one serves", Wish(config.cpus.value));
        None
    }

    /// Gives it the devices, and puts something in place of each that the node can use.
    /// Those in `late` have one operation under way.
    #[cold]
    pub fn give(&self, found: Found, late: &[usize], frames: usize, spin_us: Option<u32>) -> Found {
        let Found { nics, disks } = found;
        if nics.is_empty() || !nics.iter().all(AnyNic::has_interrupt) {
            warn!("cpus: a card that can not interrupt needs the first processor; one serves");
            IDLE.store(true, Ordering::Release);
            arch::wake_second();
            return Found { nics, disks };
        }
        SPIN_US.store(spin_us.unwrap_or(u32::MAX), Ordering::Relaxed);
        let frames = frames + late.len();
        let new = || Shared(Link::new(frames, arch::wake_first, arch::wake_second));
        let way = Way::new(&LINK.call_once(new).0);
        let last = nics.len() - 1;
        let nics = nics.into_iter().enumerate();
        let disks = disks.into_iter().enumerate();
        let found = Found {
            nics: nics
                .map(|(index, nic)| AnyNic::Remote(way.card(nic, index == last)))
                .collect(),
            disks: disks
                .map(|(index, Attached { disk, origin })| Attached {
                    disk: AnyDisk::Remote(way.disk(disk, usize::from(late.contains(&index)))),
                    origin,
                })
                .collect(),
        };
        READY.store(true, Ordering::Release);
        arch::wake_second();
        found
    }

    /// Whether it has turned, or slept, since it was last asked.
    pub fn is_alive(&mut self) -> bool {
        let Some(link) = LINK.get() else {
            return true;
        };
        let pulse = link.0.pulse();
        let is_alive = pulse.is_none() || pulse != self.last;
        self.last = pulse;
        is_alive
    }
}

/// Says it if a setting that was read off a disk came too late.
#[cold]
pub fn mind(config: &Config, mover: Option<&Mover>) {
    if mover.is_none() && is_wanted(config) && is_late(config) {
        let wish = Wish(config.cpus.value);
        warn!(
            "cpus={wish}: processors are started before disks are read; it has an effect on the command line only"
        );
    }
}

fn is_wanted(config: &Config) -> bool {
    config.cpus.value != Some(1)
}

fn is_late(config: &Config) -> bool {
    matches!(config.cpus.source, Source::File | Source::Saved)
}

/// A second processor's number, by the firmware's tables.
#[cold]
pub fn find(tables: Option<&Tables<'_, Memory>>) -> Option<u32> {
    let own = arch::processor();
    let processors = tables.and_then(Tables::processors)?;
    let mut ids = processors.ids().iter().copied();
    ids.find(|id| *id != own && *id <= ID_MAX)
}

/// `cpus=`, as it is written.
struct Wish(Option<u16>);

impl core::fmt::Display for Wish {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(cpus) => write!(f, "{cpus}"),
            None => f.write_str("all"),
        }
    }
}

/// What the second processor does, for ever.
fn work() -> ! {
    let link = loop {
        if READY.load(Ordering::Acquire)
            && let Some(link) = LINK.get()
        {
            break &link.0;
        }
        // Whoever gives us something calls afterwards, and interrupts are closed here.
        arch::sleep();
        if IDLE.load(Ordering::Acquire) {
            arch::wake_first();
        }
    };
    let spin_us = match SPIN_US.load(Ordering::Relaxed) {
        u32::MAX => None,
        us => Some(us),
    };
    let mut patience = Patience::new(spin_us);
    let mut since: Option<(Instant, Instant)> = None;
    let mut woken = None;
    loop {
        // The end of a sleep is the begin of a turn.
        let now = woken.take().unwrap_or_else(clock::now);
        let moved = engine::move_frames(link, now);
        if moved {
            since = None;
        }
        // Who does not spin has no turn in vain before it sleeps: to ask the devices to
        // wake it is to look for more.
        let spin_us = patience.spin_us();
        if spin_us > 0 {
            if moved {
                continue;
            }
            let (first, last) = *since.get_or_insert((now, now));
            since = Some((first, now));
            patience.spun(now.since_us(last));
            if now.since_us(first) < spin_us {
                core::hint::spin_loop();
                continue;
            }
        }
        if link.arm() {
            continue;
        }
        arch::sleep();
        let up = clock::now();
        link.disarm(up);
        // And the turn before it, which may have moved something and took microseconds.
        patience.slept(up.since_us(now));
        woken = Some(up);
        since = None;
    }
}
