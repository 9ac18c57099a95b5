//! Two nodes that claim one address: the second finds out before it answers.
//!
//! The first serves e5.0. The second has e5.0, too, and e5.1; it keeps the one offline,
//! says whose it is wherever somebody may look, and serves the other. When the first is
//! gone the second takes over, and when the first comes back it is its turn to wait.
//!
//! An answer has a twentieth of a second. A machine that is busier than that is no
//! failure of the node: then the second was online before it yielded, or stays so and
//! says that both are, and starts once more.

use super::super::world::{self, CLIENT, NODE, SHELF, blame, must};
use super::metrics::well_formed;
use super::people::{People, parse};
use crate::client::{Client, Export, Flow};
use crate::neighbour::Neighbour;
use crate::network::{ETHERTYPE_AOE, Fate};
use crate::{Context, Disk, Failure, Mac, Machine, Nic, OrFail, Recipe, Report, Switch};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: u64 = 1 << 20;
const SITE: &str = "10.9.0.1/24";
/// What the first writes, and what the second does not have.
const SECTORS: usize = 256;
/// Starts of a node whose question was answered too late.
const STARTS: usize = 5;
/// What a node says that yields, that yields no more, and that heard of the other when
/// it was online for long.
const YIELDS: &str = "answers for it, too; it stays offline until nobody does";
const RETURNS: &str = "nobody else answers any more; it is online";
const TOO_LATE: &str = "two disks under one name destroy each other";

/// One of the two.
struct Side {
    name: &'static str,
    mac: Mac,
    address: &'static str,
    disks: &'static [&'static str],
}

/// The one with the lower address asks again sooner, so it is the one that waits.
const FIRST: Side = Side {
    name: "first",
    mac: NODE[1],
    address: "10.9.0.5",
    disks: &["first-0"],
};
const SECOND: Side = Side {
    name: "second",
    mac: NODE[0],
    address: "10.9.0.6",
    disks: &["second-0", "second-1"],
};

impl Side {
    fn recipe(&self, context: &Context, switch: &Switch, name: &str) -> Recipe {
        let recipe = world::node(context, name)
            .append(&format!("ublade.ip={}/24", self.address))
            .nic(Nic::on(switch, self.mac).mtu(9000));
        let path = |disk: &str| context.folder().join(format!("{disk}.img"));
        let disks = self.disks.iter().enumerate();
        disks.fold(recipe, |recipe, (slot, disk)| {
            recipe
                .append(&format!("ublade.slot.{slot}=serial:{disk}"))
                .disk(Disk::file(&path(disk)).serial(disk))
        })
    }

    fn people(&self) -> Result<People, Failure> {
        People::at(self.address)
    }
}

pub(in super::super) fn claims(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let switch = context.switch("net")?;
    let answers = Answers::watch(&switch);
    let _site = Neighbour::join(context, &switch, "tap0", &[SITE])?;
    for disk in FIRST.disks.iter().chain(SECOND.disks) {
        context.disk(disk, MIB)?;
    }
    let first = FIRST
        .recipe(context, &switch, FIRST.name)
        .start(context.folder())?;
    let mut client = Client::new(&switch, CLIENT);
    let export = world::one_export(context, &first, &mut client)?;
    FIRST.people()?.wait(context, &first)?;
    fill(context, &first, &mut client, &export, 1)?;

    let (second, starts) = waiting(
        context,
        &switch,
        &SECOND,
        (&FIRST, &first),
        &answers,
        |second| {
            let seen = client
                .wait_for_exports(2, context.seconds(10))
                .map_err(blame(second))?;
            let seen: Vec<_> = seen.iter().map(|one| (one.address, one.mac)).collect();
            let right = [
                (world::address(0), FIRST.mac),
                (world::address(1), SECOND.mac),
            ];
            must(seen == right, second, || {
                format!("hosts see {seen:?}, not {right:?}")
            })?;
            let status = FIRST.people()?.status().map_err(blame(&first))?;
            must(status["state"] == "serving", &first, || {
                format!("the first says of itself {}", status["reason"])
            })?;
            check(context, &first, &mut client, &export, 1)
        },
    )?;

    first.kill();
    second.wait_for(RETURNS, context.seconds(30))?;
    report.note("the second takes over when the first is gone");
    is_alone(context, &second, &SECOND)?;
    client.forget();
    let taken_over = only(context, &second, &mut client, SECOND.mac)?;
    let within = context.seconds(10);
    let serial = client
        .identify(&taken_over, within)
        .map_err(blame(&second))?;
    must(serial.serial() == SECOND.disks[0], &second, || {
        format!("e{SHELF}.0 is disk {} now", serial.serial())
    })?;
    fill(context, &second, &mut client, &taken_over, 2)?;

    let (again, again_starts) = waiting(
        context,
        &switch,
        &FIRST,
        (&SECOND, &second),
        &answers,
        |_| {
            let taken_over = only(context, &second, &mut client, SECOND.mac)?;
            check(context, &second, &mut client, &taken_over, 2)
        },
    )?;
    report.note(says_who_has_it(context, &again, &FIRST, &SECOND)?);
    report.note(format!(
        "the first waits when it comes back; {} starts had their answers in time",
        match starts + again_starts {
            2 => "both".to_owned(),
            more => format!("2 of {more}"),
        }
    ));
    Ok(report)
}

/// Starts `side` so that it leaves slot 0 to `other`, says so, and `holds` besides. A
/// start in which an answer came too late is one too many. Tells how many there were.
fn waiting(
    context: &Context,
    switch: &Switch,
    side: &Side,
    (other, holder): (&Side, &Machine),
    answers: &Answers,
    mut holds: impl FnMut(&Machine) -> Result<(), Failure>,
) -> Result<(Machine, usize), Failure> {
    let mut last = None;
    for start in 1..=STARTS {
        answers.forget();
        let alone = || {
            let status = other.people().and_then(|people| people.status());
            status.is_ok_and(|status| status["state"] == "serving")
        };
        world::until(
            context.seconds(30),
            holder,
            || format!("the {} does not say that it is alone", other.name),
            alone,
        )?;
        let name = format!("{}-{start}", side.name);
        let node = side
            .recipe(context, switch, &name)
            .start(context.folder())?;
        let has_said = |words: &str| node.console().has_said(words);
        world::until(
            context.seconds(30),
            &node,
            || format!("it does not say that somebody else has e{SHELF}.0"),
            || has_said(YIELDS) || has_said(TOO_LATE),
        )?;
        side.people()?.wait(context, &node)?;
        let so_far = says_who_has_it(context, &node, side, other).and_then(|_| holds(&node));
        let count = answers.of(side.mac);
        // The question is asked again after seconds: what is late once is late again.
        let was_late = count > 0 || has_said(TOO_LATE) || has_said(RETURNS);
        match so_far {
            Ok(()) if !was_late => return Ok((node, start)),
            Err(failure) if !was_late => return Err(failure),
            _ => node.quit()?,
        }
        last = Some(count);
    }
    Err(Failure::new(format!(
        "the {} went online at each of {STARTS} starts, although somebody else answered; in the last, {} answers for e{SHELF}.0 left it",
        side.name,
        last.unwrap_or_default()
    )))
}

/// Page, API, figures and console of `side` name `other`.
fn says_who_has_it(
    context: &Context,
    node: &Machine,
    side: &Side,
    other: &Side,
) -> Result<String, Failure> {
    let people = side.people()?;
    let holder = other.mac.to_string();
    let is_at = format!("offline as long as {holder} answers for it");
    let exports =
        || -> Option<Value> { parse(&people.get("/api/v1/exports").ok()?.is("200").ok()?).ok() };
    // Its other exports go online when nobody has answered for them.
    world::until(
        context.seconds(10),
        node,
        || format!("its exports are {:?}", exports()),
        || {
            exports().is_some_and(|exports| {
                exports.as_array().is_some_and(|exports| {
                    exports.iter().enumerate().all(|(slot, export)| {
                        export["slot"] == slot
                            && export["online"] == (slot > 0)
                            && (slot > 0 || export["claimed_by"] == holder.as_str())
                            && (slot > 0 || export["standing"] == is_at.as_str())
                    })
                })
            })
        },
    )?;
    let text = |path: &str| people.get(path)?.is("200");
    let page = text("/").map_err(blame(node))?;
    let words = format!("<li>e{SHELF}.0 is {is_at}.");
    must(page.contains(&words), node, || {
        format!("the page does not say {words}")
    })?;
    let status = people.status().map_err(blame(node))?;
    let reason = format!("{holder} answers for e{SHELF}.0, too");
    must(
        status["state"] == "degraded" && status["reason"] == reason.as_str(),
        node,
        || {
            format!(
                "its state is {} and the reason {}",
                status["state"], status["reason"]
            )
        },
    )?;
    let metrics = text("/metrics").map_err(blame(node))?;
    well_formed(&metrics).map_err(blame(node))?;
    for (slot, _) in side.disks.iter().enumerate() {
        for (name, value) in [("online", slot > 0), ("claimed", slot == 0)] {
            let row = format!(
                "ublade_export_{name}{{device=\"e{SHELF}.{slot}\"}} {}\n",
                u8::from(value)
            );
            must(metrics.contains(&row), node, || {
                format!("the metrics have no {row}")
            })?;
        }
    }
    node.type_in("exports\r")?;
    node.wait_for(&is_at, context.seconds(10))
        .map(|line| format!("{}: {line}", side.name))
}

/// Nothing is left of the conflict.
fn is_alone(context: &Context, node: &Machine, side: &Side) -> Result<(), Failure> {
    let people = side.people()?;
    let state = || people.status().ok().map(|status| status["state"].clone());
    world::until(
        context.seconds(30),
        node,
        || format!("its state is {:?}", state()),
        || state().is_some_and(|state| state == "serving"),
    )?;
    let metrics = people.get("/metrics").and_then(|answer| answer.is("200"));
    let sums = well_formed(&metrics.map_err(blame(node))?).map_err(blame(node))?;
    let sum = |name: &str| sums.get(name).copied().unwrap_or(-1.0);
    must(
        sum("ublade_export_claimed") == 0.0
            && sum("ublade_export_online") == side.disks.len() as f64,
        node,
        || format!("claimed: {}", sum("ublade_export_claimed")),
    )
}

/// The one export in slot 0, which must be `mac`'s.
fn only(
    context: &Context,
    node: &Machine,
    client: &mut Client,
    mac: Mac,
) -> Result<Export, Failure> {
    let mut all = client
        .wait_for_exports(SECOND.disks.len(), context.seconds(10))
        .map_err(blame(node))?;
    all.retain(|export| export.address == world::address(0));
    must(all.len() == 1 && all[0].mac == mac, node, || {
        format!("{all:?} answer for e{SHELF}.0")
    })?;
    all.pop().or_fail("there is one")
}

fn flow(context: &Context) -> Flow {
    Flow {
        within: context.seconds(20),
        ..Flow::default()
    }
}

fn fill(
    context: &Context,
    node: &Machine,
    client: &mut Client,
    export: &Export,
    seed: u64,
) -> Result<(), Failure> {
    let written = client.write_pattern(export, 0, SECTORS, seed, flow(context));
    written.map(drop).map_err(blame(node))
}

fn check(
    context: &Context,
    node: &Machine,
    client: &mut Client,
    export: &Export,
    seed: u64,
) -> Result<(), Failure> {
    let read = client.check_pattern(export, 0, SECTORS, seed, flow(context));
    read.map(drop).map_err(blame(node))
}

/// Counts what each of the two sends as an answer for slot 0.
struct Answers([Arc<AtomicU64>; 2]);

impl Answers {
    fn watch(switch: &Switch) -> Self {
        const FLAGS: usize = 14;
        const SLOT: usize = 18;
        const RESPONSE: u8 = 0x08;
        let counts: [Arc<AtomicU64>; 2] = Default::default();
        let seen = counts.clone();
        switch.set_fault(move |passing| {
            let frame = passing.frame;
            let is_answer = frame.len() > SLOT
                && frame[12..14] == ETHERTYPE_AOE.to_be_bytes()
                && frame[FLAGS] & RESPONSE != 0
                && frame[SLOT] == 0;
            if let (true, Some(at)) = (is_answer, NODE.iter().position(|mac| frame[6..12] == mac.0))
            {
                seen[at].fetch_add(1, Ordering::Relaxed);
            }
            Fate::Pass
        });
        Self(counts)
    }

    fn forget(&self) {
        for count in &self.0 {
            count.store(0, Ordering::Relaxed);
        }
    }

    fn of(&self, mac: Mac) -> u64 {
        let at = NODE.iter().position(|one| *one == mac);
        at.map_or(0, |at| self.0[at].load(Ordering::Relaxed))
    }
}
