//! The page in a real browser, as a person would look at it.
//!
//! Under load it is looked at light and dark, wide and as narrow as a telephone, and
//! in a terminal; pictures and text are left in the scenario's folder for a person to
//! judge. Then the load ends, and what stands in the tables must be what the API tells
//! and what our own initiator counted: figures at rest do not depend on when they are
//! read.

use super::super::world::{self, CLIENT, NODE, blame, must};
use super::people::People;
use super::{SECTORS, is_near, under_load};
use crate::browser::{Browser, Scheme};
use crate::client::Client;
use crate::neighbour::{self, Neighbour};
use crate::{Context, Disk, Failure, Machine, Nic, OrFail, Report, tools};
use serde_json::Value;
use std::fs;
use std::thread;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const SITE: &str = "10.9.0.1/24";
const ADDRESS: &str = "10.9.0.5";
const URL: &str = "http://10.9.0.5/";
/// The page may have so many bytes.
const PAGE_BYTES_MAX: usize = 40_000;
/// How long there is a load before the pictures: three points of a curve.
const LOAD: Duration = Duration::from_secs(9);
/// Widths at which nothing may stick out: ours, a tablet's, a telephone's.
const WIDTHS: [u32; 3] = [1240, 800, 380];

/// What somebody reads from top to bottom, with a space where words would run together.
const IN_ORDER: [&str; 25] = [
    "ublade cellar",
    "serving every port has a link, every disk is well",
    " requests in the last second",
    " of the time awake",
    "Requests per second",
    "reads, at most ",
    " writes, at most ",
    "5 min ago highest line ",
    "Worth a look",
    "eth1 has MTU 1500",
    "Exports 2",
    "e5.0 ",
    "read-write",
    "read-only (the disk's own flag)",
    "Latency",
    "p99.9",
    "Disks 2",
    "Ports 2",
    "Clients of the last minute 1",
    "modprobe aoe && aoe-discover && ls /dev/etherd/e5.0",
    "ublade.slot.0=serial:first",
    "curl http://10.9.0.5/api/v1/status",
    "curl -o frames.pcapng 'http://10.9.0.5/debug/pcap?seconds=10'",
    "Log",
    "/readyz",
];

/// What is read off the page: the tiles, and the tables by their headings.
const READ: &str = "({\
    title: document.title,\
    text: document.body.innerText,\
    scripts: document.scripts.length,\
    tiles: Object.fromEntries([...document.querySelectorAll('.tiles div')].map(\
        tile => [tile.children[1].innerText, tile.children[0].innerText])),\
    tables: Object.fromEntries([...document.querySelectorAll('section')].filter(\
        section => section.querySelector('table')).map(\
        section => [section.querySelector('h2').firstChild.textContent.trim(),\
            [...section.querySelectorAll('tr')].map(\
                row => [...row.children].map(cell => cell.innerText.trim()))])),\
})";
/// How far the page sticks out of its window.
const STICKS_OUT: &str =
    "document.documentElement.scrollWidth - document.documentElement.clientWidth";

pub(in super::super) fn page(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let switch = context.switch("net")?;
    let _site = Neighbour::join(context, &switch, "tap0", &[SITE])?;
    let disks = [
        context.disk("first", 16 * MIB)?,
        context.disk("other", MIB)?,
    ];
    let node = world::node(context, "node")
        .append(&format!("ublade.ip={ADDRESS}/24 ublade.hostname=cellar"))
        .disk(Disk::file(&disks[0]).serial("first"))
        .disk(Disk::file(&disks[1]).serial("other").read_only())
        .nic(Nic::on(&switch, NODE[0]).mtu(9000))
        // A port that something is to be said about.
        .nic(Nic::on(&switch, NODE[1]).mtu(1500))
        .start(context.folder())?;
    let mut client = Client::new(&switch, CLIENT);
    let all = client
        .wait_for_exports(2, context.seconds(10))
        .map_err(blame(&node))?;
    let is_it = |export: &&crate::client::Export| {
        export.address == world::address(0) && export.mac == NODE[0]
    };
    let export = all.iter().find(is_it).cloned();
    let export = export.or_fail("e5.0 does not answer on the first card")?;
    let people = People::at(ADDRESS)?;
    people.wait(context, &node)?;
    let mut browser = Browser::start(context)?;

    let (work, ()) = under_load(context, &node, &mut client, &export, |node| {
        thread::sleep(LOAD);
        look(context, node, &mut browser)?;
        let page = people.get("/")?.is("200")?;
        must(page.len() < PAGE_BYTES_MAX, node, || {
            format!("the page has {} bytes", page.len())
        })?;
        read_as_text(context, node, &page)
    })?;

    // What was sent again may be done after its answer; then nobody asks any more.
    let mut before = None;
    world::until(
        context.seconds(20),
        &node,
        || "nobody asks, and its counters go on".to_owned(),
        || {
            let status = people.status().ok();
            let now =
                status.map(|status| [&status["requests"], &status["inflight"]].map(Value::clone));
            let is_at_rest = now.is_some() && now == before;
            before = now;
            thread::sleep(Duration::from_millis(200));
            is_at_rest
        },
    )?;
    let loads = browser.loads();
    browser.go(URL)?;
    browser.wait_for_load(loads + 1)?;
    let page = browser.evaluate(READ)?;
    let status = people.status().map_err(blame(&node))?;
    let tell = |what: &str, shown: &Value, told: u64, done: u64, again: u64| {
        // At rest the page and the API tell the same to the digit.
        let is_right = *shown == *grouped(told) && is_near(told as f64, done, again);
        must(is_right, &node, || {
            format!("{what}: the page shows {shown}, the API tells {told}, hosts did {done}")
        })
    };
    let number = |name: &str| status[name].as_u64().unwrap_or(0);
    let row = &page["tables"]["Exports"][1];
    must(row[0] == export.address.to_string(), &node, || {
        format!("the first export of the page is {row}")
    })?;
    let again = work.resends;
    tell("reads", &row[5], number("reads"), work.reads, again)?;
    tell("writes", &row[6], number("writes"), work.writes, again)?;
    let failed = grouped(number("failed"));
    let tile = format!("requests since the start, {failed} failed");
    let all = work.reads + work.writes;
    tell(
        &tile,
        &page["tiles"][&tile],
        number("requests"),
        all,
        // An IDENTIFY or two.
        again + all / 100,
    )?;
    let bytes = work.rounds * (SECTORS * 512) as u64;
    for name in ["read_bytes", "written_bytes"] {
        let told = number(name);
        must(
            is_near(told as f64, bytes, again * 255 * 512),
            &node,
            || format!("{name}: {told} in the API, {bytes} of ours"),
        )?;
    }
    report.note(format!(
        "{} reads and {} writes on the page, in the API and in the initiator; read again by itself",
        work.reads, work.writes
    ));
    let shown: Vec<String> = browser.complaints();
    must(shown.is_empty(), &node, || {
        format!("the browser's console shows {shown:?}")
    })?;
    let others: Vec<String> = browser.requests();
    must(others.iter().all(|url| url == URL), &node, || {
        format!("the page loads {others:?}")
    })?;
    must(page["scripts"] == 0, &node, || {
        "there is a script on the page".to_owned()
    })?;
    report.note(format!(
        "nothing in the console in {} loads; pictures are page-light.png, page-dark.png and \
         page-narrow.png in {}",
        browser.loads(),
        context.folder().display()
    ));
    Ok(report)
}

/// Reads the page as a browser of a terminal shows it, which knows no styles, no
/// pictures and no scripts.
fn read_as_text(context: &Context, node: &Machine, page: &str) -> Result<(), Failure> {
    let file = context.folder().join("page.html");
    fs::write(&file, page).or_fail("the page can be kept")?;
    let mut command = tools::W3M.command(context.debs())?;
    command.args(["-dump", "-cols", "100", "-T", "text/html", "-I", "UTF-8"]);
    let text = neighbour::output(command.arg(&file))?;
    fs::write(context.folder().join("page.txt"), &text).or_fail("the text can be kept")?;
    let mut rest = text.as_str();
    for words in IN_ORDER {
        let found = rest.split_once(words);
        must(found.is_some(), node, || {
            format!("as text the page has no {words:?} after what comes before it:\n{text}")
        })?;
        rest = found.map_or("", |(_, rest)| rest);
    }
    Ok(())
}

/// A number as a person reads it: `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Looks at the page in every way, and takes pictures of it.
fn look(context: &Context, node: &Machine, browser: &mut Browser) -> Result<(), Failure> {
    let folder = context.folder();
    let mut backgrounds = Vec::new();
    for scheme in [Scheme::Light, Scheme::Dark] {
        browser.prefer(scheme)?;
        browser.go(URL)?;
        backgrounds.push(browser.evaluate("getComputedStyle(document.body).backgroundColor")?);
        browser.picture(&folder.join(format!("page-{}.png", scheme.word())))?;
    }
    must(backgrounds[0] != backgrounds[1], node, || {
        format!("light and dark are the same: {backgrounds:?}")
    })?;
    browser.prefer(Scheme::Light)?;
    for width in WIDTHS {
        browser.be_wide(width)?;
        browser.go(URL)?;
        let out = browser.evaluate(STICKS_OUT)?;
        must(out == 0, node, || {
            format!("in a window of {width} the page sticks out by {out}")
        })?;
    }
    browser.picture(&folder.join("page-narrow.png"))?;
    browser.be_wide(WIDTHS[0])
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (123_456, "123,456"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
