//! A thousand clients that begin a request and never end it.
//!
//! Each holds a connection as long as the node lets it, sends a byte of a header now
//! and then, and comes back when it was cut off. They are tried against what the node
//! promises: they wait for each other, not in front of an operator, and AoE does not
//! notice.

use super::super::world::{self, CLIENT, NODE, blame, must};
use super::people::{People, parse};
use crate::bench::{Access, Contents, Latencies, Load, Order, Outcome, Until, drive};
use crate::client::{Client, Export};
use crate::neighbour::Neighbour;
use crate::{Context, Disk, Failure, Machine, Nic, OrFail, Report};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const SITE: &str = "10.9.0.1/24";
const ADDRESS: &str = "10.9.0.5";
/// Clients.
const CROWD: usize = 1000;
/// Of these, looked after by one thread of ours.
const OF_A_THREAD: usize = 100;
/// How often each of them does something.
const PACE: Duration = Duration::from_secs(1);
/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_millis(300);
/// Connections that the node has room for.
const CONNECTIONS: usize = 8;
/// Requests of AoE while they are there.
const REQUESTS: u64 = 6000;
const LOAD: Load = Load {
    access: Access::Mixed,
    order: Order::Random,
    sectors: 2,
    depth: 8,
};
const WINDOW_SECTORS: u64 = 16 * MIB / 512;

/// What became of them.
#[derive(Default)]
struct Seen {
    /// Tries to connect.
    tries: AtomicU64,
    /// Those that succeeded.
    made: AtomicU64,
    /// Connections that the node ended.
    cut: AtomicU64,
    /// Bytes of unfinished requests.
    bytes: AtomicU64,
}

struct Crowd {
    seen: Arc<Seen>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<TcpStream>>>,
}

impl Crowd {
    /// Lets them all come.
    fn gather(address: SocketAddr) -> Self {
        let seen = Arc::new(Seen::default());
        let is_over = Arc::new(AtomicBool::new(false));
        let threads = (0..CROWD / OF_A_THREAD)
            .map(|_| {
                let (seen, is_over) = (Arc::clone(&seen), Arc::clone(&is_over));
                thread::spawn(move || dawdle(address, &seen, &is_over))
            })
            .collect();
        Self {
            seen,
            is_over,
            threads,
        }
    }

    /// Waits until each of them has tried to connect.
    fn wait(&self, context: &Context, node: &Machine) -> Result<(), Failure> {
        world::until(
            context.seconds(60),
            node,
            || "the slow clients do not get to their first try".to_owned(),
            || self.seen.tries.load(Ordering::Relaxed) >= CROWD as u64,
        )
    }

    /// Waits until one of them has seen that it was cut off: each looks once in [`PACE`].
    fn wait_for_cuts(&self, context: &Context, node: &Machine) -> Result<(), Failure> {
        world::until(
            context.seconds(60),
            node,
            || "no slow client sees that it was cut off".to_owned(),
            || self.seen.cut.load(Ordering::Relaxed) > 0,
        )
    }

    /// No more of them come; the connections that were made last are returned.
    fn stop(self) -> Vec<TcpStream> {
        self.is_over.store(true, Ordering::Relaxed);
        let last = self
            .threads
            .into_iter()
            .map(|thread| thread.join().expect("a slow client does not panic"));
        last.flatten().collect()
    }
}

/// One thread's clients, until it is over: what they hold then.
fn dawdle(address: SocketAddr, seen: &Seen, is_over: &AtomicBool) -> Vec<TcpStream> {
    let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
    let mut clients: Vec<Option<TcpStream>> = (0..OF_A_THREAD).map(|_| None).collect();
    while !is_over.load(Ordering::Relaxed) {
        let next = Instant::now() + PACE;
        for client in &mut clients {
            match client {
                None => {
                    *client = begin(address);
                    count(&seen.tries);
                    if client.is_some() {
                        count(&seen.made);
                    }
                }
                Some(stream) if goes_on(stream) => {
                    count(&seen.bytes);
                }
                Some(_) => {
                    *client = None;
                    count(&seen.cut);
                }
            }
            if is_over.load(Ordering::Relaxed) {
                break;
            }
        }
        while Instant::now() < next && !is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
    }
    clients.into_iter().flatten().collect()
}

/// A connection on which a request has begun.
fn begin(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_nonblocking(true).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").ok()?;
    Some(stream)
}

/// Whether the node has not ended it yet.
fn is_open(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Sends one more byte of a header, if the node still listens.
fn goes_on(mut stream: &TcpStream) -> bool {
    is_open(stream) && stream.write_all(b"x").is_ok()
}

/// A node with a disk, our initiator, and people beside it.
struct Place {
    node: Machine,
    client: Client,
    export: Export,
    people: People,
    contents: Contents,
    seed: u64,
    _site: Neighbour,
}

impl Place {
    fn new(context: &Context) -> Result<Self, Failure> {
        // Not captured: a million frames are no evidence.
        let switch = crate::Switch::new();
        let site = Neighbour::join(context, &switch, "tap0", &[SITE])?;
        let disk = context.disk("disk", 16 * MIB)?;
        let node = world::node(context, "node")
            .append(&format!("ublade.ip={ADDRESS}/24"))
            .disk(Disk::file(&disk).serial("crowded"))
            .nic(Nic::on(&switch, NODE[0]).mtu(9000))
            .start(context.folder())?;
        let mut client = Client::new(&switch, CLIENT);
        let export = world::one_export(context, &node, &mut client)?;
        let people = People::at(ADDRESS)?;
        people.wait(context, &node)?;
        client.forget();
        Ok(Self {
            node,
            client,
            export,
            people,
            contents: Contents::kept(LOAD, WINDOW_SECTORS),
            seed: 1,
            _site: site,
        })
    }

    fn drive(&mut self, until: Until) -> Result<Outcome, Failure> {
        self.seed += 1;
        let outcome = drive(
            &mut self.client,
            &self.export,
            LOAD,
            WINDOW_SECTORS,
            &mut self.contents,
            self.seed,
            until,
        );
        let outcome = outcome.map_err(blame(&self.node))?;
        let trouble = outcome.trouble;
        // One that was sent again because this machine was busy was answered late.
        let is_well =
            trouble.corrupt == 0 && trouble.duplicate == 0 && trouble.lost == trouble.late;
        must(is_well, &self.node, || format!("AoE: {trouble:?}"))?;
        Ok(outcome)
    }

    /// Frames that each port owns, and those that are lent to disks and queues.
    fn frames(&self) -> Result<Vec<(u64, u64)>, Failure> {
        let ports = parse(&self.people.get("/api/v1/ports")?.is("200")?)?;
        let ports = ports.as_array().or_fail("the ports are no list")?;
        let number = |port: &serde_json::Value, name: &str| port[name].as_u64().unwrap_or(0);
        Ok(ports
            .iter()
            .map(|port| (number(port, "frames"), number(port, "lent")))
            .collect())
    }
}

pub(in super::super) fn crowd(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let mut place = Place::new(context)?;
    let frames = place.frames().map_err(blame(&place.node))?;
    let crowd = Crowd::gather(place.people.address);
    crowd.wait(context, &place.node)?;

    let outcome = place.drive(Until::Requests(REQUESTS))?;
    must(outcome.requests == REQUESTS, &place.node, || {
        format!("of {REQUESTS} requests {} were answered", outcome.requests)
    })?;
    // An operator whose connection is refused tries again.
    let mut asked = 0;
    world::until(
        context.seconds(30),
        &place.node,
        || "an operator gets no answer beside them".to_owned(),
        || {
            asked += 1;
            let page = place.people.get("/").and_then(|answer| answer.is("200"));
            page.is_ok_and(|page| page.contains("</html>"))
        },
    )?;
    // On a fast machine all this is over before any of them spoke a second time.
    crowd.wait_for_cuts(context, &place.node)?;
    let seen = Arc::clone(&crowd.seen);
    let last = crowd.stop();
    // Whom the last to come has pushed out may not know it yet.
    let held = || last.iter().filter(|stream| is_open(stream)).count();
    world::until(
        context.seconds(10),
        &place.node,
        || format!("{} of {CROWD} slow clients are connected at once", held()),
        || (1..=CONNECTIONS).contains(&held()),
    )?;
    let held = held();

    let status = place
        .people
        .insist(context, &place.node, "/api/v1/status")?;
    let status = parse(&status)?;
    let cut_off = status["management"]["cut_off"].as_u64().unwrap_or(0);
    let [tries, made, cut, bytes] = [&seen.tries, &seen.made, &seen.cut, &seen.bytes]
        .map(|count| count.load(Ordering::Relaxed));
    must(cut_off > 0 && cut > 0 && made > 0, &place.node, || {
        format!("of {made} connections {cut_off} were cut off, and {cut} saw it")
    })?;
    // What was sent again may still be at the disk.
    let after = || place.frames().unwrap_or_default();
    world::until(
        context.seconds(10),
        &place.node,
        || {
            let after = after();
            format!("the ports had {frames:?} frames (own, lent) and have {after:?}")
        },
        || after() == frames,
    )?;
    report.note(format!(
        "{CROWD} slow clients: {tries} tries, {made} connections, {cut_off} cut off, {bytes} bytes \
         of requests without an end; {held} connected at once"
    ));
    report.note(format!(
        "beside them {REQUESTS} AoE requests were answered and the page came at try {asked}"
    ));
    Ok(report)
}

/// How much the time that 99 of 100 answers keep within may change.
const CHANGE_MAX: f64 = 1.10;
/// How often AoE is measured without and with the crowd.
const ROUNDS: usize = 20;
/// How long a turn is.
const TURN: Duration = Duration::from_millis(1_500);

/// What the crowd does to the answer times of AoE, in turns in one run.
pub(in super::super) fn crowd_times(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let mut place = Place::new(context)?;
    place.drive(Until::Time(TURN))?;
    let mut times = [Latencies::default(), Latencies::default()];
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let mut p99 = [0.0; 2];
        // Who is first changes, so that what drifts is nobody's.
        for turn in [round % 2, 1 - round % 2] {
            let crowd = (turn == 1).then(|| Crowd::gather(place.people.address));
            if let Some(crowd) = &crowd {
                crowd.wait(context, &place.node)?;
            }
            let outcome = place.drive(Until::Time(TURN))?;
            drop(crowd.map(Crowd::stop));
            p99[turn] = outcome.latencies.percentiles().p99;
            times[turn].append(&outcome.latencies);
        }
        ratios.push(p99[1] / p99[0]);
    }
    ratios.sort_by(f64::total_cmp);
    for (who, times) in ["alone", "beside them"].iter().zip(&times) {
        let all = times.percentiles();
        report.note(format!(
            "{who}: {} requests, p50 {:.0}, p99 {:.0}, p99.9 {:.0} us",
            times.len(),
            all.p50,
            all.p99,
            all.p999
        ));
    }
    report.note(format!(
        "p99 beside {CROWD} slow clients is {:.3} of that without, median of {ROUNDS} rounds \
         ({:.3} to {:.3})",
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    ));
    must(ratios[ROUNDS / 2] < CHANGE_MAX, &place.node, || {
        report.lines().join("; ")
    })?;
    Ok(report)
}
