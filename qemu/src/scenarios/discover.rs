//! `cargo xtask discover` on a segment with a node and a vblade.
//!
//! The command is this very program, started as a person would start it: on an
//! interface of the scenario's own network. It must tell of both targets what they
//! are known to be, and say a clear word where there is nothing to find.

use super::world::{self, CLIENT, NODE, blame, must};
use crate::client::Client;
use crate::neighbour::{Neighbour, Server};
use crate::{Context, Disk, Failure, Mac, Machine, Nic, OrFail, Report, Switch, tools};
use std::fs;
use std::process::{Command, Output};

const MIB: u64 = 1 << 20;
const CONFIG: &[u8] = b"the cellar";
const HOST: Mac = Mac::local(0x0777);
/// Where vblade's export is.
const OTHER: &str = "e7.1";

pub(super) fn discover(context: &mut Context) -> Result<Report, Failure> {
    let switch = context.switch("net")?;
    let _here = Neighbour::join(context, &switch, "tap0", &[])?;
    // A packet socket does not hear its own interface, so vblade has another.
    let _there = Neighbour::join(context, &switch, "tap1", &[])?;
    let nowhere = Switch::new();
    let _nobody = Neighbour::join(context, &nowhere, "tap2", &[])?;

    let disks = [context.disk("first", 3 * MIB)?, context.disk("other", MIB)?];
    let node = world::node(context, "node")
        .append("ublade.ip=off")
        .disk(Disk::file(&disks[0]).serial("first"))
        .disk(Disk::file(&disks[1]).serial("other"))
        .nic(Nic::on(&switch, NODE[0]).mtu(9000))
        .start(context.folder())?;
    let mut client = Client::new(&switch, CLIENT);
    let exports = world::exports(context, &node, &mut client, 2)?;
    let within = context.seconds(5);
    let told = client.config(exports[0].mac, exports[0].address, 4, CONFIG, within);
    let reserved = client.reserve(&exports[1], 1, &[HOST], within);
    must(told.is_some() && reserved.is_some(), &node, || {
        "config string or reservation are not answered".to_owned()
    })?;

    let file = context.disk("vblade", 2 * MIB)?;
    let mut vblade = tools::VBLADE.command(context.debs())?;
    vblade.args(["7", "1", "tap1"]).arg(&file);
    let mut vblade = Server::start(context, "vblade", &mut vblade)?;
    vblade.wait("start", context.seconds(10), |said| said.contains("e7.1"))?;

    let found = run(&["tap0"])?;
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    let shown = context.folder().join("discover.txt");
    fs::write(&shown, &said).or_fail(format_args!("cannot write {}", shown.display()))?;
    must(found.status.success(), &node, || {
        format!("discover fails: {}", String::from_utf8_lossy(&found.stderr))
    })?;
    let of = |address: &str| {
        let mut lines = said.lines().skip_while(|line| !line.starts_with(address));
        let first = lines.next().unwrap_or_default();
        let more = lines.take_while(|line| line.starts_with(' '));
        [first]
            .into_iter()
            .chain(more)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let mac = NODE[0].to_string();
    let host = HOST.to_string();
    let of_first = [
        "3 MiB, 6144 sectors",
        "serial \"first\"",
        "the cellar",
        "17 sectors a frame",
    ];
    let of_other = ["1 MiB, 2048 sectors", "serial \"other\"", "reserved for"];
    for (address, pieces) in [
        (
            "e5.0",
            [&of_first[..], &[&mac, "every host may see it"]].concat(),
        ),
        ("e5.1", [&of_other[..], &[&mac, &host]].concat()),
        (
            OTHER,
            vec!["2 MiB, 4096 sectors", "Coraid EtherDrive vblade"],
        ),
    ] {
        let text = of(address);
        for piece in pieces {
            must(text.contains(piece), &node, || {
                format!("{address}: no {piece:?} in {text:?}, of {said:?}")
            })?;
        }
    }
    must(!said.contains("only one can be right"), &node, || {
        format!("it sees a dispute: {said}")
    })?;

    refuses(&node, &["tap2", "--wait", "1"], "nobody answers on tap2")?;
    refuses(&node, &["tap9"], "there is no interface tap9")?;
    let mut report = Report::new();
    report.note(format!(
        "{}; an interface without targets and one that is not there are named",
        said.lines().last().unwrap_or_default()
    ));
    Ok(report)
}

/// It must fail with `sentence`.
fn refuses(node: &Machine, words: &[&str], sentence: &str) -> Result<(), Failure> {
    let output = run(words).map_err(blame(node))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    must(
        !output.status.success() && said.contains(sentence),
        node,
        || format!("discover {words:?}: {sentence:?} is right, and it says {said:?}"),
    )
}

/// Runs the verb in a process of its own.
fn run(words: &[&str]) -> Result<Output, Failure> {
    // Whoever looks, `self` is still this program before the new one begins.
    Command::new("/proc/self/exe")
        .arg("discover")
        .args(words)
        .output()
        .or_fail("cannot start this program again")
}
