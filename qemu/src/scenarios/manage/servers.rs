//! The node among the servers that a site has: Debian's own, not ours.
//!
//! dnsmasq lends the address and knows the names, chronyd the time, rsyslogd takes
//! the log; then come curl and ping as a person would use them. All of them are
//! neighbours on the node's switch. Two programs are asked about what one did:
//! what the node says of its lease is held against dnsmasq's log, and its lines
//! against rsyslogd's file.

use super::super::world::{self, NODE, blame, must};
use super::people::{People, parse};
use crate::neighbour::{self, Neighbour, Server};
use crate::{Context, Disk, Failure, Machine, Nic, OrFail, Report, tools};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const MIB: u64 = 1 << 20;
const INTERFACE: &str = "tap0";
/// DHCP, DNS and the log are at the first, the time is at the other: who finds it
/// has asked for its name.
const SERVERS: [&str; 2] = ["10.9.0.1", "10.9.0.2"];
const TIME_NAME: &str = "time.lab";
/// The address that the node is lent, and the one that it gets when it may not
/// keep that.
const LENT: [&str; 2] = ["10.9.0.50", "10.9.0.60"];
/// The name that comes with it.
const NAME: &str = "cellar";
/// When a lease is renewed. dnsmasq lends for two minutes at least, and a client
/// would renew after one; option 58 says sooner.
const RENEW_AFTER_SECONDS: u32 = 3;
/// What a clock that was set from the same machine may be off by. Without a server
/// it would be off by decades.
const OFF_MAX_SECONDS: f64 = 20.0;

pub(in super::super) fn servers(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let switch = context.switch("net")?;
    let addresses = SERVERS.map(|address| format!("{address}/24"));
    let _site = Neighbour::join(
        context,
        &switch,
        INTERFACE,
        &addresses.each_ref().map(String::as_str),
    )?;
    let mut dnsmasq = dnsmasq(context, "dnsmasq", LENT[0])?;
    let mut chronyd = chronyd(context)?;
    let mut log = LogServer::start(context)?;

    let disk = context.disk("disk", MIB)?;
    let before = unix_seconds()?;
    let node = world::node(context, "node")
        .append(&format!("ublade.ntp={TIME_NAME}"))
        .disk(Disk::file(&disk).serial("site"))
        .nic(Nic::on(&switch, NODE[0]).mtu(9000))
        .start(context.folder())?;
    let within = context.seconds(20);
    let ack = format!("DHCPACK({INTERFACE}) {}", LENT[0]);
    dnsmasq.wait("lease", within, |said| said.contains(&ack))?;
    let people = People::at(LENT[0])?;
    people.wait(context, &node)?;

    has_what_it_was_lent(&people, &node, LENT[0])?;
    knows_the_time(context, &people, &node, &mut dnsmasq, &mut chronyd, before)?;
    log.has_every_line(context, &people, &node)?;
    report.note(format!(
        "{NAME}: address and log server from dnsmasq's DHCP, {TIME_NAME} by its DNS, the time \
         from chronyd, {} lines to rsyslogd",
        log.lines().len()
    ));
    // A renewal must not make it forget who its neighbours are.
    let within = context.seconds(20);
    dnsmasq.wait("renewal", within, |said| said.matches(&ack).count() >= 2)?;
    report.note(ping(context, LENT[0]).map_err(blame(&node))?);
    report.note(curl(context, LENT[0]).map_err(blame(&node))?);
    // It has just been renewed, so no request meets a server that is not there.
    let acks = dnsmasq.said().matches(&ack).count();
    dnsmasq.wait("another renewal", within, |said| {
        said.matches(&ack).count() > acks
    })?;
    drop(dnsmasq);
    moves(context, &people, &node, log)?;
    report.note(format!(
        "the lease is renewed, and {} follows {} when the server wants it so",
        LENT[1], LENT[0]
    ));
    Ok(report)
}

/// The server falls silent, the lease runs out, and the node gives its address back;
/// then the server is there again. dnsmasq lends for two minutes at least.
pub(in super::super) fn lease(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let switch = context.switch("net")?;
    let _site = Neighbour::join(context, &switch, INTERFACE, &["10.9.0.1/24"])?;
    let first = dnsmasq(context, "dnsmasq", LENT[0])?;
    let node = world::node(context, "node")
        .nic(Nic::on(&switch, NODE[0]).mtu(9000))
        .start(context.folder())?;
    let people = People::at(LENT[0])?;
    people.wait(context, &node)?;
    drop(first);
    let silent = Instant::now();
    // It has asked for a renewal, in vain, and goes on with what is lent.
    thread::sleep(context.seconds(10));
    must(people.get("/healthz").is_ok(), &node, || {
        "it gives its address up before the lease is over".to_owned()
    })?;
    node.wait_for("is no longer ours", context.seconds(180))?;
    let after = silent.elapsed().as_secs();
    must(people.get("/healthz").is_err(), &node, || {
        "it answers at an address that is not its own any more".to_owned()
    })?;
    let _second = dnsmasq(context, "dnsmasq-2", LENT[0])?;
    people.wait(context, &node)?;
    report.note(format!(
        "given back {after} s after the server fell silent, and lent again when it was back"
    ));
    Ok(report)
}

/// Starts dnsmasq, which has `address` for the node and for nobody else.
fn dnsmasq(context: &Context, name: &str, address: &str) -> Result<Server, Failure> {
    let folder = context.folder();
    let conf = format!(
        "keep-in-foreground\nuser=root\npid-file={pid}\nlog-facility=-\nlog-queries\n\
         interface={INTERFACE}\nbind-interfaces\nno-resolv\nno-hosts\n\
         host-record={TIME_NAME},{time}\n\
         dhcp-leasefile={leases}\ndhcp-authoritative\n\
         dhcp-range={address},{address},255.255.255.0,2m\n\
         dhcp-host={mac},{address},{NAME}\n\
         dhcp-option=7,{log}\ndhcp-option=58,{RENEW_AFTER_SECONDS}\n",
        pid = folder.join(format!("{name}.pid")).display(),
        leases = folder.join(format!("{name}.leases")).display(),
        time = SERVERS[1],
        log = SERVERS[0],
        mac = NODE[0],
    );
    let conf = written(folder, &format!("{name}.conf"), &conf)?;
    let mut command = tools::DNSMASQ.command(context.debs())?;
    command.arg(format!("--conf-file={}", conf.display()));
    let mut server = Server::start(context, name, &mut command)?;
    server.wait("start", context.seconds(15), |said| {
        said.contains("DHCP, IP range")
    })?;
    Ok(server)
}

/// Starts chronyd as a server that believes this machine's clock and leaves it be.
fn chronyd(context: &Context) -> Result<Server, Failure> {
    let folder = context.folder();
    let conf = format!(
        "local stratum 3\nallow 10.9.0.0/24\nbindaddress {}\ncmdport 0\nbindcmdaddress /\n\
         pidfile {}\n",
        SERVERS[1],
        folder.join("chronyd.pid").display()
    );
    let conf = written(folder, "chronyd.conf", &conf)?;
    let mut command = tools::CHRONYD.command(context.debs())?;
    command.args(["-d", "-x", "-u", "root", "-f"]).arg(conf);
    let mut server = Server::start(context, "chronyd", &mut command)?;
    server.wait("start", context.seconds(15), |said| {
        said.contains("chronyd version")
    })?;
    Ok(server)
}

/// The node's address is the one that dnsmasq lent, and its name the one it gave.
fn has_what_it_was_lent(people: &People, node: &Machine, address: &str) -> Result<(), Failure> {
    let status = people.status().map_err(blame(node))?;
    let management = &status["management"];
    must(
        management["address"] == format!("{address}/24")
            && management["dhcp"] == true
            && status["hostname"] == NAME,
        node,
        || format!("of {NAME}, {address}/24 by DHCP, the node tells {status}"),
    )
}

/// The time of the node's first line is the one at which it was started, and both
/// servers were asked for that.
fn knows_the_time(
    context: &Context,
    people: &People,
    node: &Machine,
    dnsmasq: &mut Server,
    chronyd: &mut Server,
    before: f64,
) -> Result<(), Failure> {
    node.wait_for("the time is", context.seconds(20))
        .map_err(|failure| failure.with(chronyd.said()))?;
    let asked = format!("query[A] {TIME_NAME} from {}", LENT[0]);
    dnsmasq.wait("question for a name", context.seconds(5), |said| {
        said.contains(&asked)
    })?;
    let log = parse(&people.get("/api/v1/log")?.is("200")?).map_err(blame(node))?;
    let first = log[0]["time"].as_str();
    let first = first.or_fail("the node's first line has no time")?;
    let told = neighbour::output(Command::new("date").args(["-u", "+%s", "-d", first]))?;
    let told: f64 = told
        .trim()
        .parse()
        .or_fail(format_args!("{first} is no time"))?;
    must((told - before).abs() < OFF_MAX_SECONDS, node, || {
        format!("its first line is of {first}, {told}; it was started at {before}")
    })
}

/// rsyslogd, and the file in which it writes what it understood.
struct LogServer {
    server: Server,
    file: std::path::PathBuf,
}

/// What rsyslogd took apart. Only a line in the form of RFC 5424 has version 1.
const PARTS: &str = "%protocol-version%|%pri%|%hostname%|%app-name%|\
                     %timereported:::date-unixtimestamp%|%timegenerated:::date-unixtimestamp%|\
                     %msg%\\n";

impl LogServer {
    fn start(context: &Context) -> Result<Self, Failure> {
        let folder = context.folder();
        let file = folder.join("received.log");
        let conf = format!(
            "global(processInternalMessages=\"on\")\n\
             module(load=\"imudp\")\n\
             input(type=\"imudp\" address=\"{}\" port=\"514\")\n\
             template(name=\"parts\" type=\"string\" string=\"{PARTS}\")\n\
             action(type=\"omfile\" file=\"{}\" template=\"parts\")\n",
            SERVERS[0],
            file.display()
        );
        let conf = written(folder, "rsyslogd.conf", &conf)?;
        let modules = tools::RSYSLOGD.root(context.debs())?;
        let modules = modules.join("usr/lib/x86_64-linux-gnu/rsyslog");
        let mut command = tools::RSYSLOGD.command(context.debs())?;
        command.args(["-n", "-C", "-i", "NONE", "-M"]).arg(modules);
        command.arg("-f").arg(conf);
        let mut server = Server::start(context, "rsyslogd", &mut command)?;
        // It says so in the file that it keeps.
        let started = || fs::read_to_string(&file).is_ok_and(|text| text.contains("start"));
        server.wait("start", context.seconds(15), |_| started())?;
        Ok(Self { server, file })
    }

    /// The node's lines, in parts.
    fn lines(&self) -> Vec<Vec<String>> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        text.lines()
            .map(|line| line.splitn(7, '|').map(str::to_owned).collect())
            .filter(|parts: &Vec<String>| parts.len() == 7 && parts[3] == "ublade")
            .collect()
    }

    /// Every line of the node's own log is here, well formed, with the node's name
    /// and the right time.
    fn has_every_line(
        &mut self,
        context: &Context,
        people: &People,
        node: &Machine,
    ) -> Result<(), Failure> {
        let log = parse(&people.get("/api/v1/log")?.is("200")?).map_err(blame(node))?;
        let log = log.as_array().or_fail("the log is no list")?;
        let severity = |name: &str| match name {
            "error" => 3,
            "warning" => 4,
            "info" => 6,
            _ => 7,
        };
        for line in log {
            let text = line["text"].as_str().unwrap_or_default();
            // Of the daemons (RFC 5424, 6.2.1).
            let priority = 3 * 8 + severity(line["severity"].as_str().unwrap_or_default());
            let priority = priority.to_string();
            let is_it = |parts: &Vec<String>| {
                parts[0] == "1" && parts[1] == priority && parts[2] == NAME && parts[6] == text
            };
            let is_here = || self.lines().iter().any(is_it);
            world::until(
                context.seconds(10),
                node,
                || format!("rsyslogd has no {text:?} of priority {priority} from {NAME}"),
                is_here,
            )
            .map_err(|failure| failure.with(self.server.said()))?;
        }
        for parts in self.lines() {
            let times = [&parts[4], &parts[5]].map(|time| time.parse().unwrap_or(f64::NAN));
            must((times[0] - times[1]).abs() < OFF_MAX_SECONDS, node, || {
                format!("a line of {} reached rsyslogd at {}", parts[4], parts[5])
            })?;
        }
        Ok(())
    }
}

/// The server restarts with another address for the node: the node is refused its
/// old one, says so, and goes on at the new one.
fn moves(
    context: &Context,
    people: &People,
    node: &Machine,
    mut log: LogServer,
) -> Result<(), Failure> {
    let mut other = dnsmasq(context, "dnsmasq-2", LENT[1])?;
    let ack = format!("DHCPACK({INTERFACE}) {}", LENT[1]);
    // On a busy machine one may, and the next follows a minute later (RFC 2131, 4.4.5).
    other.wait("lease of the new address", context.seconds(120), |said| {
        said.contains(&ack)
    })?;
    must(other.said().contains("DHCPNAK"), node, || {
        "the node never asked to keep its old address".to_owned()
    })?;
    node.wait_for("is no longer ours", context.seconds(5))?;
    let moved = People::at(LENT[1])?;
    moved.wait(context, node)?;
    has_what_it_was_lent(&moved, node, LENT[1])?;
    log.has_every_line(context, &moved, node)?;
    must(people.get("/healthz").is_err(), node, || {
        format!("it still answers at {}", LENT[0])
    })
}

/// What ping sends and how much of it comes back.
fn ping(context: &Context, address: &str) -> Result<String, Failure> {
    let run = |words: &[&str]| {
        let mut command = tools::PING.command(context.debs())?;
        command.args(words).arg(address);
        let said = neighbour::output(&mut command)?;
        let all = |line: &&str| line.contains(" 0% packet loss");
        let line = said.lines().find(all);
        line.map(str::to_owned)
            .or_fail(format_args!("ping loses some: {said}"))
    };
    let small = run(&["-n", "-c", "10", "-i", "0.05", "-W", "5"])?;
    // The largest that fits into a frame of 1,500 bytes.
    run(&["-n", "-c", "3", "-i", "0.05", "-W", "5", "-s", "1472"])?;
    let count = small.split(',').next().unwrap_or(&small);
    Ok(format!("ping: {count}, as many answered"))
}

/// What curl is told for each kind of question, right and wrong.
fn curl(context: &Context, address: &str) -> Result<String, Failure> {
    let large = format!("X-Large: {}", "x".repeat(8000));
    let many: Vec<String> = (0..50)
        .flat_map(|count| ["--header".to_owned(), format!("X-{count}: 1")])
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let body = "x".repeat(8000);
    // What it is asked, where, and the statuses that are right.
    let cases: &[(&[&str], &str, &str)] = &[
        (&[], "/", "200"),
        (&[], "/metrics", "200"),
        (&["--http1.0"], "/healthz", "200"),
        (&["--head"], "/api/v1/status", "200"),
        (&["--compressed"], "/api/v1/exports", "200"),
        (&[], "/no-such-page", "404"),
        (&["--request", "DELETE"], "/", "405"),
        (&["--request", "BREW"], "/", "405"),
        (&[], "/api/v1/reboot", "405"),
        (&["--request", "POST"], "/api/v1/reboot", "403"),
        (&["--header", &large], "/", "431"),
        (&many, "/", "431"),
        // The body alone is too long, or all of it.
        (&["--data", &body], "/api/v1/reboot", "413 431"),
        (
            &["--header", "Transfer-Encoding: chunked", "--data", "x"],
            "/api/v1/reboot",
            "400",
        ),
    ];
    let mut wrong = Vec::new();
    for (words, path, right) in cases {
        let status = ask(context, words, &[&format!("http://{address}{path}")])?;
        if !right.split(' ').any(|right| right == status) {
            let words: String = words.join(" ").chars().take(40).collect();
            wrong.push(format!("{words} {path}: {status}, not {right}"));
        }
    }
    // A connection kept alive is let go of in order, so a second request finds
    // another.
    let page = format!("http://{address}/healthz");
    let both = ask(context, &[], &[&page, &page])?;
    if both != "200200" {
        wrong.push(format!("two pages in one call: {both}"));
    }
    if wrong.is_empty() {
        return Ok(format!(
            "curl: {} answers as they should be",
            cases.len() + 2
        ));
    }
    Err(Failure::new("curl is told something else").with(wrong.join("\n")))
}

/// The status of each of `addresses`, as curl understands it.
fn ask(context: &Context, words: &[&str], addresses: &[&str]) -> Result<String, Failure> {
    let mut command = tools::CURL.command(context.debs())?;
    // Nobody's settings, nobody's proxy.
    command.args(["--disable", "--noproxy", "*", "--silent", "--show-error"]);
    command.args(["--max-time", "10", "--write-out", "%{http_code}"]);
    command.args(words);
    for address in addresses {
        command.args(["--output", "/dev/null", address]);
    }
    neighbour::output(&mut command)
}

fn written(folder: &Path, name: &str, text: &str) -> Result<std::path::PathBuf, Failure> {
    let path = folder.join(name);
    fs::write(&path, text).or_fail(format_args!("cannot write {}", path.display()))?;
    Ok(path)
}

fn unix_seconds() -> Result<f64, Failure> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(since
        .or_fail("this machine's clock is before 1970")?
        .as_secs_f64())
}
