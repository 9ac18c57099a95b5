//! fio in a Linux that uses the kernel's own aoe driver: what a user would measure.
//!
//! One Linux sees a node and a `vblade -d` on one switch, and fio asks each of them in
//! turns. It is emulated too, and it works much more for a request than either target
//! does: what is left of the difference between them is what a user of such a client
//! would see.

use super::parts::Pace;
use super::spread::Spread;
use super::target::{NULL, Place, Target, UP_WITHIN, recipe};
use crate::initiator::Linux;
use crate::machine::{Disk, Machine, Nic};
use crate::network::{Mac, Switch};
use crate::{Accel, Client, Context, Failure, OrFail};
use serde_json::Value;
use std::time::Duration;

/// What fio calls its mixes; `randrw` has 70 % reads.
const MIXES: [&str; 5] = ["randread", "randwrite", "read", "write", "randrw"];
/// Requests on their way.
const DEPTHS: [u32; 2] = [1, 32];
/// The part of an export that is used, in MiB: as much as our own loads.
const MIB: u32 = 16;
/// The targets, who shelf and slot tell apart, and what the node is told for it.
const TARGETS: [Target; 2] = [Target::Ublade, Target::VbladeDirect];
const SCRIPT: &str = include_str!("../../guest/fio-bench.sh");
/// How long all of it may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(3600);
/// How long one run of fio may take beyond the time that it is told, and how long Linux
/// may take for what it does once.
const SLACK: Duration = Duration::from_secs(120);

/// One mix at one depth of one target.
#[derive(Clone, Debug)]
pub struct Fio {
    /// Who.
    pub target: Target,
    /// fio's name of the mix.
    pub mix: &'static str,
    /// Requests on their way.
    pub depth: u32,
    /// Requests a second, by round.
    pub per_second: Vec<f64>,
    /// How often the node's requests a second are this target's.
    pub ublade_is: Spread,
    /// Completion times in microseconds, medians of the rounds: p50, p99, p99.9.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
}

/// What fio found, and which fio and Linux these were.
#[derive(Clone, Debug)]
pub struct FioRun {
    /// Versions.
    pub initiator: String,
    /// All of it.
    pub rows: Vec<Fio>,
}

/// What one run of fio says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Said {
    per_second: f64,
    p50: f64,
    p99: f64,
    p999: f64,
}

/// Measures.
pub(super) fn fio(place: &Place, pace: Pace, say: &mut dyn FnMut(&str)) -> Result<FioRun, Failure> {
    say("Linux and its packages");
    let context = Context::new(&place.folder, &place.boot, &place.debs, Accel::Tcg, LIMIT);
    let linux = Linux::prepare(&place.debs)?;
    let switch = Switch::new();
    let machines = TARGETS
        .iter()
        .zip(2..)
        .map(|(&target, address)| serve(place, target, &switch, Mac::local(address)))
        .collect::<Result<Vec<Machine>, _>>()?;
    let mut client = Client::new(&switch, Mac::local(1));
    let exports = client.wait_for_exports(TARGETS.len(), UP_WITHIN)?;
    drop(client);
    let name_of = |target: Target| -> Result<String, Failure> {
        let index = TARGETS.iter().position(|&one| one == target);
        let mac = Mac::local(2 + u16::try_from(index.unwrap_or_default()).unwrap_or_default());
        let export = exports.iter().find(|export| export.mac == mac);
        let export = export.or_fail(format_args!("{} has no export", target.name()))?;
        Ok(export.address.to_string())
    };
    let names = TARGETS
        .iter()
        .map(|&target| name_of(target))
        .collect::<Result<Vec<String>, _>>()?;

    // fio needs most of a second to begin; a run that is not longer shows only that.
    let seconds = pace.fio_seconds;
    let script = format!(
        "EXPORTS=\"{}\" MIXES=\"{}\" DEPTHS=\"{}\" ROUNDS={} SECONDS_EACH={seconds} MIB={MIB}\n{SCRIPT}",
        names.join(" "),
        MIXES.join(" "),
        DEPTHS.map(|depth| depth.to_string()).join(" "),
        pace.fio_rounds,
    );
    let card = Nic::on(&switch, Mac::local(9)).mtu(9000);
    let guest = linux.start(&context, "fio-linux", [card], &script)?;
    let initiator = guest.ok("ready", SLACK)?;
    let mut heard: Vec<(Target, &'static str, u32, Vec<Said>)> = Vec::new();
    for mix in MIXES {
        for depth in DEPTHS {
            for target in TARGETS {
                heard.push((target, mix, depth, Vec::new()));
            }
        }
    }
    for round in 1..=pace.fio_rounds {
        for (target, mix, depth, said) in &mut heard {
            say(&format!(
                "round {round}: {mix}, depth {depth}, {}",
                target.name()
            ));
            let line = guest.ok("fio", Duration::from_secs(seconds) + SLACK)?;
            let head = format!("{round} {mix} {depth} {} ", name_of(*target)?);
            let report = line.strip_prefix(&head);
            let report = report.or_fail(format_args!("the guest is not at {head}"))?;
            said.push(said_in(report).or_fail(format_args!("no figures in: {report}"))?);
        }
    }
    guest.end(SLACK)?;
    drop(machines);
    Ok(FioRun {
        initiator,
        rows: rows(&heard),
    })
}

fn serve(place: &Place, target: Target, switch: &Switch, mac: Mac) -> Result<Machine, Failure> {
    let name = format!("fio-{}", target.file_name());
    let mut machine = recipe(place, target, &name, "")?
        .memory(super::target::MEMORY)
        .disk(Disk::backed_by(NULL).serial("null"))
        .nic(Nic::on(switch, mac).mtu(9000))
        .start(&place.folder)?;
    machine.wait_for_first_aoe(UP_WITHIN)?;
    Ok(machine)
}

fn rows(heard: &[(Target, &'static str, u32, Vec<Said>)]) -> Vec<Fio> {
    heard
        .iter()
        .map(|(target, mix, depth, said)| {
            let ours = heard.iter().find(|(who, other, window, _)| {
                (*who, other, window) == (Target::Ublade, mix, depth)
            });
            let ratios: Vec<f64> = ours
                .map_or(&[][..], |(.., ours)| ours)
                .iter()
                .zip(said)
                .map(|(ours, theirs)| ours.per_second / theirs.per_second)
                .collect();
            let median = |of: fn(&Said) -> f64| {
                Spread::of(&said.iter().map(of).collect::<Vec<f64>>()).median
            };
            Fio {
                target: *target,
                mix,
                depth: *depth,
                per_second: said.iter().map(|said| said.per_second).collect(),
                ublade_is: Spread::of(&ratios),
                p50: median(|said| said.p50),
                p99: median(|said| said.p99),
                p999: median(|said| said.p999),
            }
        })
        .collect()
}

/// The figures of fio's JSON, reads and writes added up; times are those of whichever of
/// the two is slower. Nothing if fio did nothing or saw an error.
fn said_in(report: &str) -> Option<Said> {
    // Notes may stand before it.
    let report: Value = serde_json::from_str(&report[report.find('{')?..]).ok()?;
    let job = &report["jobs"][0];
    if job["error"].as_u64()? != 0 {
        return None;
    }
    let number = |way: &str, path: &[&str]| {
        let found = path.iter().fold(&job[way], |value, key| &value[*key]);
        found.as_f64().unwrap_or_default()
    };
    let both = |path: &[&str]| ["read", "write"].map(|way| number(way, path));
    let per_second: f64 = both(&["iops"]).iter().sum();
    let slower = |percentile: &str| {
        let [read, write] = both(&["clat_ns", "percentile", percentile]);
        read.max(write) / 1000.0
    };
    (per_second > 0.0).then(|| Said {
        per_second,
        p50: slower("50.000000"),
        p99: slower("99.000000"),
        p999: slower("99.900000"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_are_added_and_the_slower_time_counts() {
        let report = r#"note: something{"jobs":[{"error":0,
            "read":{"iops":700.5,"clat_ns":{"percentile":{"50.000000":1000,"99.000000":9000,"99.900000":9500}}},
            "write":{"iops":300.5,"clat_ns":{"percentile":{"50.000000":3000,"99.000000":4000,"99.900000":5000}}}}]}"#;
        let expected = Said {
            per_second: 1001.0,
            p50: 3.0,
            p99: 9.0,
            p999: 9.5,
        };
        assert_eq!(said_in(report), Some(expected));
    }

    #[test]
    fn a_run_that_failed_or_did_nothing_has_no_figures() {
        assert_eq!(
            said_in(r#"{"jobs":[{"error":5,"read":{"iops":7.0}}]}"#),
            None
        );
        assert_eq!(
            said_in(r#"{"jobs":[{"error":0,"read":{"iops":0.0}}]}"#),
            None
        );
        assert_eq!(said_in("no json"), None);
    }
}
