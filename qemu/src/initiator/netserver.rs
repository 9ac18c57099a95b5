//! A network's boot server: Debian's dnsmasq, and busybox's HTTP, in a machine.
//!
//! It is a guest like the others and not a process of the host, so that nobody
//! needs to be root, no port of the host is taken, and what machines load goes
//! over the same switch as everything else, into the same capture.

use super::cpio::Cpio;
use super::linux::{Kernel, Parts};
use crate::packages::Debs;
use crate::{Context, Failure, Machine, Nic, OrFail};
use std::fs::{self, File};
use std::io::BufWriter;

const TOOLS: [&str; 2] = ["busybox-static", "dnsmasq-base"];

const PARTS: Parts = Parts {
    init: include_str!("../../guest/netserver"),
    words: "",
    programs: &["dnsmasq"],
    aliases: &[],
    drivers: &["virtio_pci", "virtio_net"],
    drivers_aside: &[],
};

/// What dnsmasq looks its user up in.
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\n";

/// Fetches and builds what is not there yet.
pub(crate) fn prepare(debs: &Debs) -> Result<(), Failure> {
    root(debs).map(drop)
}

fn root(debs: &Debs) -> Result<(Kernel, std::path::PathBuf), Failure> {
    let kernel = Kernel::fetch(debs)?;
    let tools = debs.unpacked("netserver-tools", &debs.with_libraries(&TOOLS)?)?;
    let root = kernel.root(debs, "netserver-root", &tools, &PARTS)?;
    Ok((kernel, root))
}

/// Starts a server on the card `nic`: `conf` is dnsmasq's configuration, `files`
/// are what TFTP and HTTP serve, by name (`folder/name` at most). It is
/// 10.0.0.1, and answers when this returns.
pub(crate) fn start(
    context: &Context,
    nic: Nic,
    conf: &str,
    files: &[(&str, &[u8])],
) -> Result<Machine, Failure> {
    let (kernel, root) = root(context.debs())?;
    let archive = context.folder().join("netserver.cpio");
    let add = || -> std::io::Result<()> {
        fs::copy(&root, &archive)?;
        let mut cpio = Cpio::new(BufWriter::new(File::options().append(true).open(&archive)?));
        for folder in ["etc", "srv", "srv/tftp", "var", "var/run"] {
            cpio.folder(folder)?;
        }
        cpio.program("etc/passwd", PASSWD.as_bytes())?;
        cpio.program("etc/group", GROUP.as_bytes())?;
        cpio.program("etc/dnsmasq.conf", conf.as_bytes())?;
        for (name, bytes) in files {
            if let Some((folder, _)) = name.split_once('/') {
                cpio.folder(&format!("srv/tftp/{folder}"))?;
            }
            cpio.program(&format!("srv/tftp/{name}"), bytes)?;
        }
        cpio.finish().map(drop)
    };
    add().or_fail(format_args!("cannot build {}", archive.display()))?;
    let server = context
        .guest("netserver")
        .memory("192M")
        .kernel(&kernel.image)
        .initrd(&archive)
        .append("console=ttyS0 loglevel=2 panic=-1 mitigations=off net.ifnames=0 rdinit=/init")
        .nic(nic)
        .start(context.folder())?;
    // The last line of dnsmasq's own about its start.
    server.wait_for("TFTP root is", context.seconds(60))?;
    let _ = fs::remove_file(&archive);
    Ok(server)
}
