//! What a seed makes of machine, disks, settings and weather.

use crate::disk::{DiskPlan, Spindle};
use crate::history::Acknowledged;
use crate::network::Weather;
use crate::oracle::Served;
use crate::random::Random;
use crate::wire::{Address, Mac};
use io::WriteCache;
use node::state;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

/// Most hosts of a run, and most cards of a host.
pub(super) const HOSTS_MAX: usize = 8;
pub(super) const CARDS_MAX: usize = 3;

/// What the node's machine looks like.
pub(super) struct Plan {
    pub(super) frames_per_port: usize,
    pub(super) served: Vec<Served>,
    pub(super) settings: String,
    pub(super) macs: Vec<Mac>,
    pub(super) mtus: Vec<u16>,
}

pub(super) fn mac(group: u8, number: usize) -> Mac {
    [0x02, group, 0, 0, (number >> 8) as u8, number as u8]
}

pub(super) fn weather(random: &mut Random, strict: bool) -> Weather {
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

pub(super) fn disk_plan(random: &mut Random, number: usize) -> DiskPlan {
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
        can_write_through: !grain.is_multiple_of(24),
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
pub(super) fn own_plan(random: &mut Random) -> (DiskPlan, u64) {
    let first = random.between(0, 64);
    let mut plan = disk_plan(random, usize::MAX);
    plan.sectors = first + state::AREA_SECTORS + random.between(0, 64);
    plan.read_only = false;
    (plan, first)
}

/// The addresses of every host that may come.
pub(super) fn guests() -> Vec<Mac> {
    (0..HOSTS_MAX)
        .flat_map(|host| (0..CARDS_MAX).map(move |card| mac(host as u8 + 1, card)))
        .collect()
}

pub(super) fn text_of(mac: &Mac) -> String {
    let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

/// Settings as an operator would write them, and what they mean.
pub(super) fn machine_plan(
    random: &mut Random,
    spindles: &[Rc<RefCell<Spindle>>],
    storm: bool,
) -> Plan {
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
