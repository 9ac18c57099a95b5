//! Somebody at the serial port of a node: what is typed is answered, what is saved
//! there is in force after a restart, and what was before can be had back.

use super::own_disk::boot_disk;
use super::world::NODE;
use crate::{Context, Disk, Failure, Nic, Report};
use std::time::Instant;

const MIB: u64 = 1 << 20;

pub(super) fn console(context: &mut Context) -> Result<Report, Failure> {
    let switch = context.switch("net")?;
    let boot = boot_disk(context.folder(), "shelf=77\nip=off\n")?;
    let data = context.disk("data", MIB)?;
    let node = context
        .node("console")
        .append("ublade.rw=none")
        .disk(Disk::file(&boot).serial("own"))
        .disk(Disk::file(&data).serial("data"))
        .nic(Nic::on(&switch, NODE[0]))
        .reboots()
        .start(context.folder())?;
    let within = context.seconds(10);
    node.wait_for("setting rw=none (command line)", within)?;
    let mut report = Report::new();
    let typed = Instant::now();
    for (keys, answer) in [
        ("\r", "ublade> "),
        ("hlep\x08\x08\x08elp\r", "set KEY=VALUE"),
        ("status\r", "ublade 0.1.0 shelf 77, up "),
        ("exports\r", "e77.0  1 MiB  "),
        ("set shelf=4095\r", "a shelf is a number"),
        (
            "set shelf=78\r",
            "shelf is set; from the next start on: shelf",
        ),
        ("set rw=all\r", "rw is set"),
        ("set\r", "shelf=78  (set, for the next start)"),
        ("offline 0\r", "e77.0 is offline"),
        ("save\r", "settings are saved"),
    ] {
        node.type_in(keys)?;
        node.wait_for(answer, within)?;
    }
    report.note(format!(
        "ten lines typed and answered in {} ms",
        typed.elapsed().as_millis()
    ));
    node.type_in("reboot\r")?;
    node.wait_for("restart: everything is answered and flushed", within)?;
    report.note(node.wait_for("setting shelf=78 (saved)", within)?);
    // What the machine itself says is stronger.
    node.wait_for("setting rw=none (command line)", within)?;
    node.type_in("exports\r")?;
    report.note(node.wait_for("e78.0  1 MiB  ", within)?);
    // Before that nothing was saved, and the file has the word again.
    node.type_in("restore\r")?;
    node.wait_for("settings are saved on the boot disk", within)?;
    node.type_in("reboot\r")?;
    node.wait_for("restart: everything is answered and flushed", within)?;
    report.note(node.wait_for("setting shelf=77 (ublade.conf)", within)?);
    node.quit()?;
    Ok(report)
}
