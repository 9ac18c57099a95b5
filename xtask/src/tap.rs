//! A network namespace with a bridge and a tap, for the tools of Linux.
//!
//! The node's card hangs on the tap, so `aoeping` and `tcpdump` see it as they
//! would see a machine on a wire. The namespace is ours alone: nothing reaches
//! the host's interfaces, and deleting it deletes everything in it.

use crate::{command, interrupt};
use qemu::Failure;
use std::process::Command;

/// The namespace, and the name in every command we print.
pub const NAMESPACE: &str = "ublade";
/// The node's end.
pub const TAP: &str = "tap0";
/// The bridge that a tool is pointed at.
pub const BRIDGE: &str = "br0";

/// Makes the namespace, and sees to it that it goes when we do.
pub fn set_up(mtu: u16) -> Result<(), Failure> {
    clear_away()?;
    let mtu = mtu.to_string();
    let inside = ["-n", NAMESPACE];
    ip(&["netns", "add", NAMESPACE])?;
    interrupt::undo_at_end(|| {
        // At the end there is nobody left to tell.
        let _ = ip(&["netns", "delete", NAMESPACE]);
    });
    let steps: [&[&str]; 6] = [
        &["link", "set", "lo", "up"],
        &["link", "add", BRIDGE, "type", "bridge"],
        &["tuntap", "add", "dev", TAP, "mode", "tap"],
        &["link", "set", TAP, "master", BRIDGE],
        &["link", "set", TAP, "mtu", &mtu, "up"],
        &["link", "set", BRIDGE, "mtu", &mtu, "up"],
    ];
    for step in steps {
        let words: Vec<&str> = inside.iter().chain(step).copied().collect();
        ip(&words)?;
    }
    Ok(())
}

/// Removes what a run that was killed left behind, but never one in use.
fn clear_away() -> Result<(), Failure> {
    let list = ip(&["netns", "list"])?;
    let exists = list
        .lines()
        .any(|line| line.split_whitespace().next() == Some(NAMESPACE));
    if !exists {
        return Ok(());
    }
    let users = ip(&["netns", "pids", NAMESPACE])?;
    if !users.trim().is_empty() {
        return Err(Failure::new(format!(
            "network namespace {NAMESPACE} is in use by process {}: end that run first",
            users.split_whitespace().collect::<Vec<_>>().join(", ")
        )));
    }
    ip(&["netns", "delete", NAMESPACE]).map(drop)
}

fn ip(words: &[&str]) -> Result<String, Failure> {
    command::output(Command::new("ip").args(words))
}
