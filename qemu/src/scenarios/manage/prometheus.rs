//! The node as Prometheus sees it: a target that is up, and figures that are true.
//!
//! Debian's Prometheus scrapes the node while our own initiator writes and reads. It
//! loads the rules that we give to operators, and is asked every question of the
//! dashboard that we give them: a figure that was renamed leaves a panel empty.

use super::super::world::{self, CLIENT, NODE, blame, must};
use super::metrics::{promtool, well_formed};
use super::people::{People, parse};
use super::{SECTORS, is_near, under_load};
use crate::client::Client;
use crate::neighbour::{Neighbour, Server};
use crate::{Context, Disk, Failure, Machine, Nic, OrFail, Report, tools};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;

const RULES: &str = include_str!("../../../../image/monitoring/ublade.rules.yml");
const DASHBOARD: &str = include_str!("../../../../image/monitoring/grafana.json");
const MIB: u64 = 1 << 20;
const SITE: &str = "10.9.0.1/24";
const ADDRESS: &str = "10.9.0.5";
/// Where Prometheus answers, in our own network.
const PORT: u16 = 9090;

pub(in super::super) fn prometheus(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let switch = context.switch("net")?;
    let _site = Neighbour::join(context, &switch, "tap0", &[SITE])?;
    let disk = context.disk("disk", 16 * MIB)?;
    let node = world::node(context, "node")
        .append(&format!("ublade.ip={ADDRESS}/24"))
        .disk(Disk::file(&disk).serial("watched"))
        .nic(Nic::on(&switch, NODE[0]).mtu(9000))
        .start(context.folder())?;
    let mut client = Client::new(&switch, CLIENT);
    let export = world::one_export(context, &node, &mut client)?;
    let people = People::at(ADDRESS)?;
    people.wait(context, &node)?;
    let server = start(context)?;
    let asked = Prometheus {
        people: People {
            address: (Ipv4Addr::LOCALHOST, PORT).into(),
        },
    };

    let (work, metrics) = under_load(context, &node, &mut client, &export, |node| {
        world::until(
            context.seconds(30),
            node,
            || "Prometheus has not scraped the node five times".to_owned(),
            || asked.one("sum_over_time(up{job=\"ublade\"}[1m])") >= Some(5.0),
        )?;
        people.get("/metrics")?.is("200")
    })
    .map_err(|failure| failure.with(server.failure("this is what it said").to_string()))?;
    well_formed(&metrics).map_err(blame(&node))?;
    promtool(context, &metrics).map_err(blame(&node))?;
    report.note("promtool finds nothing to say about the metrics");

    // On a busy machine a scrape may take longer than its half second.
    world::until(
        context.seconds(10),
        &node,
        || "the target is not up".to_owned(),
        || asked.one("up{job=\"ublade\"}") == Some(1.0),
    )?;
    let up = asked.one("avg_over_time(up{job=\"ublade\"}[1m])");
    let up = up.or_fail("Prometheus forgets its target")?;
    let bytes = work.rounds * (SECTORS * 512) as u64;
    let of_reads = "ublade_requests_total{op=\"read\"}";
    // What was sent again may have been done twice.
    let again = [work.resends, work.resends * u64::from(u8::MAX) * 512];
    for (query, done, again) in [
        ("sum(node_disk_reads_completed_total)", work.reads, again[0]),
        (of_reads, work.reads, again[0]),
        (
            "sum(node_disk_writes_completed_total)",
            work.writes,
            again[0],
        ),
        ("sum(node_disk_read_bytes_total)", bytes, again[1]),
        ("sum(node_disk_written_bytes_total)", bytes, again[1]),
    ] {
        // The last scrape under load was a moment too early.
        let told = || asked.one(query).unwrap_or(0.0);
        world::until(
            context.seconds(20),
            &node,
            || format!("{query}: {done} of ours, {} in Prometheus", told()),
            || is_near(told(), done, again),
        )?;
    }
    report.note(format!(
        "up at {:.0} % of the scrapes; {} reads, {} writes and {bytes} bytes each way are what it \
         has too",
        up * 100.0,
        work.reads,
        work.writes
    ));
    report.note(asked.knows_our_rules(context, &node)?);
    report.note(asked.can_draw_our_dashboard(context, &node)?);
    drop(server);
    // It sets room aside for weeks.
    let _ = fs::remove_dir_all(context.folder().join("prometheus"));
    Ok(report)
}

/// Starts Prometheus with our rules and the node for a target.
fn start(context: &Context) -> Result<Server, Failure> {
    let folder = context.folder();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).or_fail(format_args!("cannot write {}", path.display()))?;
        Ok::<_, Failure>(path)
    };
    let rules = write("ublade.rules.yml", RULES)?;
    let conf = format!(
        "global:\n  scrape_interval: 500ms\n  scrape_timeout: 500ms\n  evaluation_interval: 1s\n\
         rule_files: [\"{}\"]\n\
         scrape_configs:\n  - job_name: ublade\n    static_configs:\n      - targets: [\"{ADDRESS}\"]\n",
        rules.display()
    );
    let conf = write("prometheus.yml", &conf)?;
    let mut command = tools::PROMETHEUS.command(context.debs())?;
    command
        .arg(format!("--config.file={}", conf.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("prometheus").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{PORT}"));
    let mut server = Server::start(context, "prometheus", &mut command)?;
    server.wait("start", context.seconds(30), |said| {
        said.contains("Server is ready")
    })?;
    Ok(server)
}

/// Prometheus' own API.
struct Prometheus {
    people: People,
}

impl Prometheus {
    fn get(&self, path: &str) -> Result<Value, Failure> {
        let answer = parse(&self.people.get(path)?.is("200")?)?;
        if answer["status"] == "success" {
            return Ok(answer["data"].clone());
        }
        Err(Failure::new(format!("{path}: {answer}")))
    }

    /// The values of `query`, one for each series.
    fn values(&self, query: &str) -> Result<Vec<f64>, Failure> {
        let mut path = "/api/v1/query?query=".to_owned();
        for byte in query.bytes() {
            write!(path, "%{byte:02x}").expect("a string takes everything");
        }
        let data = self.get(&path)?;
        let result = data["result"].as_array();
        let result = result.or_fail(format_args!("{query} has no result: {data}"))?;
        let value = |series: &Value| series["value"][1].as_str()?.parse().ok();
        Ok(result.iter().filter_map(value).collect())
    }

    /// The value of `query`, if it has exactly one.
    fn one(&self, query: &str) -> Option<f64> {
        match self.values(query).ok()?[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Every rule that we give to operators was evaluated and is well.
    fn knows_our_rules(&self, context: &Context, node: &Machine) -> Result<String, Failure> {
        let states = || {
            let data = self.get("/api/v1/rules").unwrap_or_default();
            let groups = data["groups"].as_array().cloned().unwrap_or_default();
            let rules = groups.iter().filter_map(|group| group["rules"].as_array());
            rules.flatten().cloned().collect::<Vec<Value>>()
        };
        world::until(
            context.seconds(10),
            node,
            || format!("Prometheus says of the rules: {:?}", states()),
            || {
                let states = states();
                !states.is_empty() && states.iter().all(|rule| rule["health"] == "ok")
            },
        )?;
        let states = states();
        let written = RULES
            .lines()
            .map(|line| line.trim_start().trim_start_matches("- "))
            .filter(|line| line.starts_with("alert:") || line.starts_with("record:"));
        must(states.len() == written.count(), node, || {
            format!("Prometheus has {} rules of ours", states.len())
        })?;
        let firing: Vec<&str> = states
            .iter()
            .filter(|rule| rule["state"] == "firing")
            .filter_map(|rule| rule["name"].as_str())
            .collect();
        must(firing.is_empty(), node, || {
            format!("of a node that is well it says {firing:?}")
        })?;
        Ok(format!(
            "all {} rules of ours are evaluated, none fires",
            states.len()
        ))
    }

    /// Every question of the dashboard has an answer.
    fn can_draw_our_dashboard(&self, context: &Context, node: &Machine) -> Result<String, Failure> {
        let dashboard = parse(DASHBOARD)?;
        let mut queries = Vec::new();
        expressions(&dashboard, &mut queries);
        if queries.is_empty() {
            return Err(Failure::new("the dashboard asks nothing"));
        }
        for query in &queries {
            // What Grafana fills in; and what never happened must be there as 0.
            let filled = query
                .trim_end_matches(" > 0")
                .replace("$instance", ".*")
                .replace("$__rate_interval", "10s");
            // A rate takes two scrapes of the last seconds, and one may have failed.
            world::until(
                context.seconds(10),
                node,
                || format!("a panel stays empty: {query}"),
                || self.values(&filled).is_ok_and(|values| !values.is_empty()),
            )?;
        }
        Ok(format!(
            "each of the dashboard's {} questions has an answer",
            queries.len()
        ))
    }
}

/// Every `expr` in `value`.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" => found.push(text.clone()),
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}
