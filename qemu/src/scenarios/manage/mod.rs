//! The management plane, asked by a plain TCP client while hosts write and read.
//!
//! The node's second card is on QEMU's user network, which gives it an address by
//! DHCP and passes a port of our loopback on to its port 80. What it tells there
//! must be what our own initiator did on the first card.

mod capture;
mod cec;
mod claims;
mod crowd;
mod metrics;
mod page;
mod people;
mod prometheus;
mod servers;

pub(super) use capture::capture;
pub(super) use cec::cec;
pub(super) use claims::claims;
pub(super) use crowd::{crowd, crowd_times};
pub(super) use page::page;
pub(super) use prometheus::prometheus;
pub(super) use servers::{lease, servers};

use super::world::{self, CLIENT, NODE, blame, must};
use crate::client::{Client, Export, Flow};
use crate::{Context, Disk, Failure, Machine, Nic, OrFail, Recipe, Report, Switch};
use metrics::well_formed;
use people::{People, parse};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// What a round of the load writes, and then reads.
const SECTORS: usize = 4096;
const TOKEN: &str = "open-sesame";
/// Clients that begin a request and never end it.
const SLOW: usize = 50;

pub(super) fn manage(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    tells_the_truth(context, &mut report)?;
    obeys_the_token(context, &mut report)?;
    Ok(report)
}

/// A node with a card for hosts and a card whose port 80 is `port` here.
fn recipe(context: &Context, name: &str, switch: &Switch, port: u16) -> Result<Recipe, Failure> {
    let disk = context.disk(name, 16 * MIB)?;
    let network = format!("user,id=people,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:80");
    Ok(world::node(context, name)
        .append("ublade.net.mgmt=1")
        .disk(Disk::file(&disk).serial("manage"))
        .nic(Nic::on(switch, NODE[0]).mtu(9000))
        .arguments(&["-netdev", &network])
        .arguments(&["-device", "virtio-net-pci,netdev=people,romfile="]))
}

fn tells_the_truth(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let switch = context.switch("load")?;
    let port = free_port()?;
    let people = People::behind(port);
    let node = recipe(context, "load", &switch, port)?.start(context.folder())?;
    let mut client = Client::new(&switch, CLIENT);
    let export = world::one_export(context, &node, &mut client)?;
    people.wait(context, &node)?;

    let (work, metrics) = under_load(context, &node, &mut client, &export, |_| {
        let page = people.get("/")?.is("200")?;
        if !page.contains("</html>") || !page.contains(&export.address.to_string()) {
            return Err(Failure::new("the page does not end, or lacks the export"));
        }
        people.get("/healthz")?.is("200")?;
        people.get("/readyz")?.is("200")?;
        parse(&people.get("/api/v1/status")?.is("200")?)?;
        people.get("/metrics")?.is("200")
    })?;
    well_formed(&metrics).map_err(blame(&node))?;

    let metrics = people.get("/metrics").and_then(|answer| answer.is("200"));
    let families = well_formed(&metrics.map_err(blame(&node))?).map_err(blame(&node))?;
    let status = people.status().map_err(blame(&node))?;
    let bytes = work.rounds * (SECTORS * 512) as u64;
    // What was sent again may have been done twice.
    let again = [work.resends, work.resends * u64::from(u8::MAX) * 512];
    for (name, family, done, again) in [
        (
            "reads",
            "node_disk_reads_completed_total",
            work.reads,
            again[0],
        ),
        (
            "writes",
            "node_disk_writes_completed_total",
            work.writes,
            again[0],
        ),
        ("read_bytes", "node_disk_read_bytes_total", bytes, again[1]),
        (
            "written_bytes",
            "node_disk_written_bytes_total",
            bytes,
            again[1],
        ),
    ] {
        let told = status[name].as_u64().unwrap_or(0);
        let family = families.get(family).copied().unwrap_or(0.0);
        must(
            is_near(told as f64, done, again) && is_near(family, done, again),
            &node,
            || format!("{name}: {done} of ours, {told} in the API, {family} in the metrics"),
        )?;
    }
    report.note(format!(
        "{} reads and {} writes, counted alike by host, API and metrics",
        work.reads, work.writes
    ));

    let refused = people.post("/api/v1/reboot", None).map_err(blame(&node))?;
    refused.is("403").map_err(blame(&node))?;
    slow_clients(context, &node, &people, &mut client, &export, report)
}

/// Fifty clients hold a connection each; an operator and hosts do not notice.
fn slow_clients(
    context: &Context,
    node: &Machine,
    people: &People,
    client: &mut Client,
    export: &Export,
    report: &mut Report,
) -> Result<(), Failure> {
    let (work, (mut slow, took)) = under_load(context, node, client, export, |node| {
        let mut slow = Vec::new();
        for _ in 0..SLOW {
            slow.push(begin_slowly(people)?);
            // Each is there before the next: a flood is not what is tried here.
            thread::sleep(Duration::from_millis(30));
        }
        let asked = Instant::now();
        people.insist(context, node, "/")?;
        Ok((slow, asked.elapsed()))
    })?;
    // Of several that a busy machine brings at once the node may have refused some:
    // they were not cut off, and others come in their place.
    let cut_off = || {
        let status = people.status().ok()?;
        status["management"]["cut_off"].as_u64()
    };
    world::until(
        context.seconds(30),
        node,
        || format!("of {SLOW} slow clients {:?} were cut off", cut_off()),
        || {
            let is_enough = cut_off() >= Some(SLOW as u64 / 2);
            if !is_enough {
                slow.extend(begin_slowly(people));
            }
            is_enough
        },
    )?;
    must(is_gone(context, &mut slow[0])?, node, || {
        "the oldest of fifty slow clients is still connected".to_owned()
    })?;
    report.note(format!(
        "beside {SLOW} slow clients the page took {} ms, and {} requests were answered",
        took.as_millis(),
        work.reads + work.writes
    ));
    Ok(())
}

/// A connection on which a request has begun that never ends. One that was refused
/// takes no bytes.
fn begin_slowly(people: &People) -> Result<TcpStream, Failure> {
    let mut stream = people.connect()?;
    let _ = stream.write_all(b"GET / HT");
    Ok(stream)
}

/// Who has the token restarts the node, and nobody else does.
fn obeys_the_token(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let switch = context.switch("token")?;
    let port = free_port()?;
    let people = People::behind(port);
    let node = recipe(context, "token", &switch, port)?
        .append(&format!("ublade.token={TOKEN}"))
        .reboots()
        .start(context.folder())?;
    people.wait(context, &node)?;
    for wrong in [None, Some("open-barley")] {
        let refused = people.post("/api/v1/reboot", wrong).map_err(blame(&node))?;
        refused.is("401").map_err(blame(&node))?;
    }
    // A node that did not restart is older than the order to.
    let told = Instant::now();
    let accepted = people.post("/api/v1/reboot", Some(TOKEN));
    accepted
        .and_then(|answer| answer.is("202"))
        .map_err(blame(&node))?;
    world::until(
        context.seconds(20),
        &node,
        || "it was told to restart, and did not".to_owned(),
        || {
            let status = people.status().ok();
            let age = status.and_then(|status| status["uptime_seconds"].as_f64());
            age.is_some_and(|age| age < told.elapsed().as_secs_f64())
        },
    )?;
    report.note("the token restarts the node, and nothing else does");
    Ok(())
}

/// What our initiator did.
#[derive(Default)]
struct Work {
    rounds: u64,
    reads: u64,
    writes: u64,
    resends: u64,
}

/// Does `task` while `client` writes and reads without a pause, at least once.
fn under_load<T>(
    context: &Context,
    node: &Machine,
    client: &mut Client,
    export: &Export,
    task: impl FnOnce(&Machine) -> Result<T, Failure>,
) -> Result<(Work, T), Failure> {
    let is_over = AtomicBool::new(false);
    let flow = Flow {
        within: context.seconds(20),
        ..Flow::default()
    };
    let (work, done) = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut work = Work::default();
            while work.rounds == 0 || !is_over.load(Ordering::Relaxed) {
                let seed = work.rounds + 1;
                let written = client.write_pattern(export, 0, SECTORS, seed, flow)?;
                let read = client.check_pattern(export, 0, SECTORS, seed, flow)?;
                work.rounds += 1;
                work.writes += written.requests;
                work.reads += read.requests;
                work.resends += written.resends + read.resends;
            }
            Ok::<_, Failure>(work)
        });
        let done = task(node);
        is_over.store(true, Ordering::Relaxed);
        (load.join().expect("the load does not panic"), done)
    });
    Ok((work.map_err(blame(node))?, done.map_err(blame(node))?))
}

/// Within one per cent, and `again` more at most.
fn is_near(told: f64, done: u64, again: u64) -> bool {
    let (done, again) = (done as f64, again as f64);
    done > 0.0 && told >= done * 0.99 && told <= done * 1.01 + again
}

/// A port of the loopback that nobody uses.
fn free_port() -> Result<u16, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .or_fail("no free port on the loopback")
}

/// Whether the other end has let go of `stream`.
fn is_gone(context: &Context, stream: &mut TcpStream) -> Result<bool, Failure> {
    stream
        .set_read_timeout(Some(context.seconds(20)))
        .or_fail("a slow client")?;
    Ok(match stream.read(&mut [0; 64]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    })
}
