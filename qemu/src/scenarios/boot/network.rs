//! Machines that start from the network, off the server that users are shown.
//!
//! The configuration of dnsmasq and the scripts of iPXE are the files in
//! `image/`, as they are; where a route needs another line of them, it is one
//! that stands there as a comment. A node has started when an export of its
//! reads as its disk; a machine without a disk, when its own disk's boot sector
//! has spoken.

use super::super::ipxe;
use super::super::world::{self, CLIENT, NODE, SHELF, must};
use super::diskless::IPXE;
use super::ovmf::{self, Ovmf};
use super::{Row, answers, data};
use crate::client::Client;
use crate::initiator::netserver;
use crate::{Context, Disk, Failure, Mac, Machine, Nic, OrFail, Report};
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

const DNSMASQ: &str = include_str!("../../../../image/dnsmasq.conf");
const BOOT: &str = include_str!("../../../../image/boot.ipxe");
const ROOM: &str = include_str!("../../../../image/room.ipxe");

pub(super) const ROWS: &[Row] = &[
    Row {
        prepare: netserver::prepare,
        ..Row::new(
            "net-ipxe-tftp",
            "image/boot.ipxe over TFTP",
            "iPXE ROM",
            ipxe_tftp,
        )
    }
    .within(150)
    .sample(),
    Row {
        prepare: netserver::prepare,
        ..Row::new(
            "net-ipxe-http",
            "image/boot.ipxe over HTTP",
            "iPXE ROM",
            ipxe_http,
        )
    }
    .within(150),
    Row {
        debs: &[PXELINUX],
        prepare: netserver::prepare,
        ..Row::new(
            "net-pxelinux",
            "the boot file from pxelinux",
            "PXE ROM, pxelinux",
            pxelinux,
        )
    }
    .within(150),
    Row {
        prepare: netserver::prepare,
        ..Row::new(
            "net-rom",
            "the boot file as a network boot program",
            "PXE ROM",
            rom,
        )
    }
    .within(150),
    Row {
        debs: &[ovmf::DEBS],
        prepare: netserver::prepare,
        ..Row::new("net-uefi-pxe", "the boot file over TFTP", "OVMF", uefi_pxe)
    }
    .within(180),
    Row {
        debs: &[ovmf::DEBS],
        prepare: netserver::prepare,
        ..Row::new(
            "net-uefi-http",
            "the boot file over HTTP",
            "OVMF",
            uefi_http,
        )
    }
    .within(180),
    Row {
        debs: &[ovmf::DEBS, IPXE],
        prepare: netserver::prepare,
        ..Row::new(
            "net-uefi-ipxe-tftp",
            "image/boot.ipxe over TFTP",
            "OVMF, iPXE",
            ipxe_efi_tftp,
        )
    }
    .within(180),
    Row {
        debs: &[ovmf::DEBS, IPXE],
        prepare: netserver::prepare,
        ..Row::new(
            "net-uefi-ipxe-http",
            "image/boot.ipxe over HTTP",
            "OVMF, iPXE",
            ipxe_efi_http,
        )
    }
    .within(180),
    Row {
        prepare: netserver::prepare,
        ..Row::new(
            "net-room",
            "image/room.ipxe: two machines, two exports, and a stranger",
            "iPXE ROM",
            room,
        )
    }
    .within(150)
    .sample(),
];

/// pxelinux and its library.
const PXELINUX: (&str, &[&str]) = ("pxelinux", &["pxelinux", "syslinux-common"]);

/// The server's card.
const SERVER: Mac = Mac::local(0xd4c9);
/// The machines that `room.ipxe` has in its list, by card and by UUID, and one
/// that it has not.
const BY_CARD: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);
const BY_UUID: (Mac, &str) = (
    Mac([0x52, 0x54, 0, 0, 0, 2]),
    "6b1c1f3e-0a5d-4c0e-9f51-2d6f5a0c7e02",
);
const STRANGER: Mac = Mac([0x52, 0x54, 0, 0, 0, 3]);

/// How long after its script a machine would long have asked for its disk.
const A_MOMENT: Duration = Duration::from_secs(3);

/// How a node comes over the network.
struct Route {
    /// What the server's configuration has in the place of what.
    lines: &'static [(&'static str, &'static str)],
    /// Files beside the boot file and the scripts.
    files: Vec<(&'static str, Vec<u8>)>,
    /// What asks the server first.
    firmware: Firmware,
    /// Whether the node can be told its shelf on this route.
    told: bool,
}

/// What starts from the network.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Firmware {
    /// SeaBIOS, and the ROM of the card.
    Rom,
    /// OVMF over TFTP.
    UefiPxe,
    /// OVMF over HTTP.
    UefiHttp,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            lines: &[],
            files: Vec::new(),
            firmware: Firmware::Rom,
            told: true,
        }
    }
}

/// Exchanges that make iPXE fetch its script over HTTP.
const OVER_HTTP: (&str, &str) = (
    "\ndhcp-boot=tag:ipxe,boot.ipxe\n#dhcp-boot=tag:ipxe,http:",
    "\ndhcp-boot=tag:ipxe,http:",
);
/// Exchanges that make UEFI load iPXE first.
const IPXE_FIRST: [(&str, &str); 2] = [
    (
        "\n#dhcp-boot=tag:!ipxe,tag:uefi,snponly",
        "\ndhcp-boot=tag:!ipxe,tag:uefi,snponly",
    ),
    ("\ndhcp-boot=tag:!ipxe,tag:uefi,ublade.efi", ""),
];
/// The ROM is iPXE here; on a route of other ROMs it must not be known as such.
const NOT_KNOWN: (&str, &str) = ("\ndhcp-match=set:ipxe,175", "");

/// iPXE in the card's ROM, script and boot file over TFTP.
fn ipxe_tftp(context: &mut Context) -> Result<Report, Failure> {
    node(context, &Route::default())
}

/// The same over HTTP.
fn ipxe_http(context: &mut Context) -> Result<Report, Failure> {
    let route = Route {
        lines: &[OVER_HTTP],
        ..Route::default()
    };
    node(context, &route)
}

/// A card's ROM that loads the boot file itself and jumps into it.
fn rom(context: &mut Context) -> Result<Report, Failure> {
    let route = Route {
        lines: &[NOT_KNOWN],
        told: false,
        ..Route::default()
    };
    node(context, &route)
}

/// UEFI that loads the boot file itself over TFTP.
fn uefi_pxe(context: &mut Context) -> Result<Report, Failure> {
    let route = Route {
        firmware: Firmware::UefiPxe,
        told: false,
        ..Route::default()
    };
    node(context, &route)
}

/// The same over HTTP.
fn uefi_http(context: &mut Context) -> Result<Report, Failure> {
    let route = Route {
        firmware: Firmware::UefiHttp,
        told: false,
        ..Route::default()
    };
    node(context, &route)
}

/// UEFI that loads iPXE, which fetches script and boot file over TFTP.
fn ipxe_efi_tftp(context: &mut Context) -> Result<Report, Failure> {
    ipxe_efi(context, &IPXE_FIRST)
}

/// The same, script and boot file over HTTP.
fn ipxe_efi_http(context: &mut Context) -> Result<Report, Failure> {
    ipxe_efi(context, &[IPXE_FIRST[0], IPXE_FIRST[1], OVER_HTTP])
}

fn ipxe_efi(
    context: &mut Context,
    lines: &'static [(&'static str, &'static str)],
) -> Result<Report, Failure> {
    let folder = context.debs().unpacked(IPXE.0, IPXE.1)?;
    let path = folder.join("usr/lib/ipxe/snponly.efi");
    let ipxe = fs::read(&path).or_fail(format_args!("cannot read {}", path.display()))?;
    let route = Route {
        lines,
        files: vec![("snponly.efi", ipxe)],
        firmware: Firmware::UefiPxe,
        ..Route::default()
    };
    node(context, &route)
}

/// A card's ROM that loads pxelinux, which loads the boot file.
fn pxelinux(context: &mut Context) -> Result<Report, Failure> {
    let debs = context.debs();
    let folder = debs.unpacked(PXELINUX.0, PXELINUX.1)?;
    let file = |path: &str| {
        let path: PathBuf = folder.join(path);
        fs::read(&path).or_fail(format_args!("cannot read {}", path.display()))
    };
    let menu =
        format!("DEFAULT ublade\nLABEL ublade\n  KERNEL ublade\n  APPEND ublade.shelf={SHELF}\n");
    let route = Route {
        lines: &[NOT_KNOWN, ("tag:bios,ublade\n", "tag:bios,pxelinux.0\n")],
        files: vec![
            ("pxelinux.0", file("usr/lib/PXELINUX/pxelinux.0")?),
            (
                "ldlinux.c32",
                file("usr/lib/syslinux/modules/bios/ldlinux.c32")?,
            ),
            ("pxelinux.cfg/default", menu.into_bytes()),
        ],
        ..Route::default()
    };
    node(context, &route)
}

/// Starts a server and a node by `route`, and reads the node's disk.
fn node(context: &Context, route: &Route) -> Result<Report, Failure> {
    let switch = context.switch("net")?;
    let boot_file = &context.boot().boot_file;
    let boot_file =
        fs::read(boot_file).or_fail(format_args!("cannot read {}", boot_file.display()))?;
    let settings = format!("#!ipxe\nset settings ublade.shelf={SHELF}\n");
    let its_script = format!("{}.ipxe", NODE[0].to_string().replace(':', "-"));
    let mut files: Vec<(&str, &[u8])> = vec![
        ("ublade", &boot_file),
        ("ublade.efi", &boot_file),
        ("boot.ipxe", BOOT.as_bytes()),
        (&its_script, settings.as_bytes()),
    ];
    files.extend(route.files.iter().map(|(name, bytes)| (*name, &bytes[..])));
    let server = Nic::on(&switch, SERVER);
    let server = netserver::start(context, server, &configuration(route.lines)?, &files)?;

    let mut client = Client::new(&switch, CLIENT);
    let mut recipe = context.guest("node").memory("256M").disk(data(context)?);
    let mut card = Nic::on(&switch, NODE[0]).property("bootindex=1");
    if route.firmware == Firmware::Rom {
        card = card.boot_rom();
    } else {
        recipe = Ovmf::prepare(context)?.firmware_of(recipe);
    }
    if route.firmware == Firmware::UefiHttp {
        // It would try TFTP first, for a minute each over IPv4 and IPv6.
        for protocol in ["IPv4", "IPv6"] {
            let never = format!("name=opt/org.tianocore/{protocol}PXESupport,string=no");
            recipe = recipe.arguments(&["-fw_cfg", &never]);
        }
    }
    let mut node = recipe.nic(card).start(context.folder())?;
    answers(context, &mut node, &mut client, route.told.then_some(SHELF))
        .map(|(report, _)| report)
        .map_err(|failure| failure.with(server.console().tail()))
}

/// The configuration that users are shown, with some of its lines exchanged.
fn configuration(lines: &[(&str, &str)]) -> Result<String, Failure> {
    let mut text = DNSMASQ.to_owned();
    for (from, to) in lines {
        if text.matches(from).count() != 1 {
            return Err(Failure::new(format!(
                "image/dnsmasq.conf does not have \"{}\" once",
                from.trim()
            )));
        }
        text = text.replace(from, to);
    }
    Ok(text)
}

/// Two machines start at once from one script, each from its own export; a third,
/// whom the script does not know, gets none.
fn room(context: &mut Context) -> Result<Report, Failure> {
    let switch = context.switch("net")?;
    let server = netserver::start(
        context,
        Nic::on(&switch, SERVER),
        &configuration(&[("tag:ipxe,boot.ipxe", "tag:ipxe,room.ipxe")])?,
        &[("room.ipxe", ROOM.as_bytes())],
    )?;
    let texts = [
        "this is the disk of the first",
        "this is the disk of the other",
    ];
    let mut recipe = world::node(context, "node").nic(Nic::on(&switch, NODE[0]).mtu(9000));
    for (slot, text) in texts.iter().enumerate() {
        let disk = context.folder().join(format!("disk{slot}.img"));
        fs::write(&disk, ipxe::boot_disk(text))
            .or_fail(format_args!("cannot fill {}", disk.display()))?;
        recipe = recipe.disk(Disk::file(&disk).serial(&format!("room{slot}")));
    }
    let mut node = recipe.start(context.folder())?;
    node.wait_for_first_aoe(context.seconds(10))?;

    let started = Instant::now();
    let machine = |name: &str, mac: Mac, more: &[&str]| {
        context
            .guest(name)
            .memory("64M")
            .nic(Nic::on(&switch, mac).boot_rom())
            .arguments(more)
            .start(context.folder())
    };
    let stranger = machine("stranger", STRANGER, &[])?;
    let by_card = machine("by-card", BY_CARD, &[])?;
    let by_uuid = machine("by-uuid", BY_UUID.0, &["-uuid", BY_UUID.1])?;
    for (client, text) in [(&by_card, texts[0]), (&by_uuid, texts[1])] {
        says(context, client, text).map_err(|failure| failure.with(server.console().tail()))?;
    }
    // The third has read the same script, and then asks nobody for a disk.
    let all_have_it = || {
        server
            .console()
            .text()
            .matches("room.ipxe to 10.0.0.")
            .count()
            >= 3
    };
    world::until(
        context.seconds(60),
        &server,
        || "not every machine has fetched the script".to_owned(),
        all_have_it,
    )?;
    thread::sleep(A_MOMENT);
    must(stranger.first_aoe_after().is_none(), &stranger, || {
        "a machine that is not in the list asks for a disk".to_owned()
    })?;
    let mut report = Report::new();
    report.note(format!(
        "both have their own disks {:.1} s after power on",
        started.elapsed().as_secs_f64()
    ));
    Ok(report)
}

/// Waits for the boot sector's text.
fn says(context: &Context, client: &Machine, text: &str) -> Result<(), Failure> {
    client.wait_for("this is the disk of", context.seconds(90))?;
    // The line may not be whole yet, but texts differ in their last word only.
    let last = text.rsplit(' ').next().unwrap_or(text);
    client.wait_for(last, context.seconds(10)).map(drop)
}
