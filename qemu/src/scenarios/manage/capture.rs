//! What passes the node's ports, as a file that other people's tools open.
//!
//! curl fetches a capture while our own initiator asks for one thing after the other,
//! and tcpdump takes the file apart. What it reads out of it must be what was asked and
//! what was answered, field by field and without a gap; and nobody's data is in it.

use super::super::world::{self, CLIENT, NODE, blame, must};
use super::people::People;
use crate::client::{AtaRequest, Client, Export, Reply, ata, command};
use crate::neighbour::{self, Neighbour};
use crate::pattern::SECTOR_BYTES;
use crate::{Context, Disk, Failure, Machine, Nic, OrFail, Report, tools};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const SITE: &str = "10.9.0.1/24";
const ADDRESS: &str = "10.9.0.5";
/// How long frames are captured, and the pause after four of them. The node keeps
/// 512 frames for a reader who is late; these are fewer.
const SECONDS: u64 = 4;
const PAUSE: Duration = Duration::from_millis(40);
/// What hosts write. Nobody who looks at frames is to see it.
const SECRET: &[u8] = b"nobody's business ";
/// ATA frames that a capture must have at least: a busy machine is slow, not blind.
const FRAMES_MIN: usize = 10;

/// An ATA frame as tcpdump tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    is_response: bool,
    tag: u32,
    is_write: bool,
    count: u8,
    /// The opcode, or the status of an answer.
    register: u8,
    lba: u64,
}

pub(in super::super) fn capture(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let switch = context.switch("net")?;
    let _site = Neighbour::join(context, &switch, "tap0", &[SITE])?;
    let disk = context.disk("disk", MIB)?;
    let node = world::node(context, "node")
        .append(&format!("ublade.ip={ADDRESS}/24"))
        .disk(Disk::file(&disk).serial("watched"))
        .nic(Nic::on(&switch, NODE[0]).mtu(9000))
        .start(context.folder())?;
    let mut client = Client::new(&switch, CLIENT);
    let export = world::one_export(context, &node, &mut client)?;
    People::at(ADDRESS)?.wait(context, &node)?;

    let file = context.folder().join("frames.pcapng");
    let mut curl = tools::CURL
        .command(context.debs())?
        .args(["--disable", "--noproxy", "*", "--silent", "--show-error"])
        .args(["--fail", "--max-time", "60", "--output"])
        .arg(&file)
        .arg(format!("http://{ADDRESS}/debug/pcap?seconds={SECONDS}"))
        .stdin(Stdio::null())
        .spawn()
        .or_fail("curl does not start")?;
    let mut passed = Vec::new();
    let ended = loop {
        exchange(context, &node, &mut client, &export, &mut passed)?;
        if let Some(status) = curl.try_wait().or_fail("curl")? {
            break status;
        }
        thread::sleep(PAUSE);
    };
    must(ended.success(), &node, || format!("curl ends with {ended}"))?;

    let bytes = fs::read(&file).or_fail("there is a capture")?;
    let is_in = |words: &[u8]| bytes.windows(words.len()).any(|window| window == words);
    must(!is_in(SECRET), &node, || {
        "what was written to the disk is in the capture".to_owned()
    })?;
    let text = tcpdump(context, &file).map_err(blame(&node))?;
    must(!text.contains("proto TCP"), &node, || {
        "the capture captures itself".to_owned()
    })?;
    let told = told(&text).map_err(blame(&node))?;
    let first = told
        .first()
        .and_then(|first| passed.iter().position(|one| one == first));
    let first = first.or_fail("tcpdump finds no frame that we sent or got")?;
    let right = passed[first..].get(..told.len()).unwrap_or_default();
    must(told == right && told.len() >= FRAMES_MIN, &node, || {
        let differs = told.iter().zip(right).find(|(told, right)| told != right);
        format!("tcpdump tells {} frames; differs: {differs:?}", told.len())
    })?;
    report.note(format!(
        "tcpdump reads {} ATA frames of {} out of {} bytes, each as it was sent, none missing",
        told.len(),
        passed.len(),
        bytes.len()
    ));
    Ok(report)
}

/// Writes two sectors and reads them back; what passed is added to `passed`.
fn exchange(
    context: &Context,
    node: &Machine,
    client: &mut Client,
    export: &Export,
    passed: &mut Vec<Told>,
) -> Result<(), Failure> {
    const SECTORS: u8 = 2;
    const EXTENDED: u8 = 0x40;
    const WRITE: u8 = 0x01;
    let data: Vec<u8> = SECRET
        .iter()
        .copied()
        .cycle()
        .take(usize::from(SECTORS) * SECTOR_BYTES)
        .collect();
    let lba = passed.len() as u64 % (MIB / SECTOR_BYTES as u64 - u64::from(SECTORS));
    for (flags, opcode, data) in [
        (EXTENDED | WRITE, ata::WRITE_EXT, &data[..]),
        (EXTENDED, ata::READ_EXT, &[]),
    ] {
        let request = AtaRequest {
            flags,
            count: SECTORS,
            opcode,
            lba,
            ..AtaRequest::default()
        };
        let mut argument = request.bytes().to_vec();
        argument.extend(data);
        let within = context.seconds(10);
        let reply = client.exchange(export.mac, export.address, command::ATA, &argument, within);
        let reply: Reply = reply.ok_or_else(|| node.failure("a request is not answered"))?;
        passed.push(Told {
            is_response: false,
            tag: reply.tag(),
            is_write: flags & WRITE != 0,
            count: SECTORS,
            register: opcode,
            lba,
        });
        passed.push(Told {
            is_response: true,
            tag: reply.tag(),
            is_write: reply.argument()[0] & WRITE != 0,
            count: reply.ata_count(),
            register: reply.ata_status(),
            lba: reply.ata_lba(),
        });
    }
    Ok(())
}

/// Everything that tcpdump says of a capture. Started by root it becomes somebody else
/// first, which only a real root may; who only looks like one here looks like nobody to
/// tcpdump.
fn tcpdump(context: &Context, file: &Path) -> Result<String, Failure> {
    let mut command = tools::TCPDUMP.command(context.debs())?;
    command.args(["-Z", "root", "-n", "-v", "-r"]).arg(file);
    neighbour::output(&mut command).or_else(|_| {
        let mut as_nobody = Command::new("unshare");
        as_nobody.args(["--user", "--"]).arg(command.get_program());
        as_nobody.args(command.get_args().skip(2));
        for (name, value) in command.get_envs() {
            as_nobody.env(name, value.unwrap_or_default());
        }
        neighbour::output(&mut as_nobody)
    })
}

/// The ATA frames in what tcpdump says. A frame is a line and, indented, its parts.
fn told(text: &str) -> Result<Vec<Told>, Failure> {
    let mut all = Vec::new();
    let mut frames: Vec<String> = Vec::new();
    for line in text.lines() {
        match (line.starts_with(char::is_whitespace), frames.last_mut()) {
            (true, Some(frame)) => {
                frame.push_str(", ");
                frame.push_str(line.trim());
            }
            _ => frames.push(line.to_owned()),
        }
    }
    let is_ata = |frame: &&String| frame.contains("Command: Issue ATA Command");
    for frame in frames.iter().filter(is_ata) {
        let bad = || Failure::new(format!("tcpdump says {frame:?}"));
        let field = |name: &str| {
            let (_, rest) = frame.split_once(&format!("{name}: "))?;
            rest.split(',').next()
        };
        let number = |name: &str| field(name)?.parse::<u8>().ok();
        let byte = |at: u64| number(&format!("lba{at}")).map(u64::from);
        let tag =
            field("Tag").and_then(|tag| u32::from_str_radix(tag.strip_prefix("0x")?, 16).ok());
        let lba: Option<u64> = (0..6).map(|at| Some(byte(at)? << (8 * at))).sum();
        all.push(Told {
            is_response: frame.contains("Flags: [Response]"),
            tag: tag.ok_or_else(bad)?,
            is_write: frame.contains("Write]"),
            count: number("Sector Count").ok_or_else(bad)?,
            register: number("Cmd/Status").ok_or_else(bad)?,
            lba: lba.ok_or_else(bad)?,
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::{Told, told};

    #[test]
    fn what_tcpdump_says_of_a_frame_is_its_fields() {
        let text = "03:30:09.109227 AoE length 22, Ver 1, Flags: [Response]\n\
                    \tMajor: 0x0005, Minor: 0x00, Command: Issue ATA Command, Tag: 0x80002cb8\n\
                    \tAFlags: [Ext48, Write], Err/Feature: 0, Sector Count: 17, Cmd/Status: 64\n\
                    \tlba0: 95, lba1: 7, lba2: 0, lba3: 0, lba4: 0, lba5: 1\n\
                    03:30:09.2 ARP, Request who-has 10.9.0.5\n";
        let right = Told {
            is_response: true,
            tag: 0x8000_2cb8,
            is_write: true,
            count: 17,
            register: 64,
            lba: 0x0100_0000_075f,
        };
        assert_eq!(told(text).expect("it can be read"), [right]);
        assert!(told(&text.replace("lba5: 1", "lba5: x")).is_err());
        assert!(told(&text.replace("Sector Count: 17, ", "")).is_err());
    }
}
