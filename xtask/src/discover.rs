//! `cargo xtask discover eth0`: who serves what on a network.
//!
//! Every target is asked, whoever made it: our own initiator's broadcast finds them,
//! and each one is then asked for its disk, its list of hosts and its reservation.
//! What a target does not tell is left out. Nothing is changed anywhere.

use crate::run::human;
use qemu::client::{Address, Export, Identity, Reply, command};
use qemu::interface::Interface;
use qemu::pattern::SECTOR_BYTES;
use qemu::{Client, Failure, Mac};
use std::collections::BTreeSet;
use std::time::Duration;

/// Where a list begins in the argument of a mask reply and of a reserve reply, and
/// bytes of an entry.
const MASKS: (usize, usize) = (4, 8);
const HOSTS: (usize, usize) = (2, 6);

/// Where to look.
#[derive(clap::Args)]
pub struct Options {
    /// The interface that AoE is on: eth0
    interface: String,
    /// How long answers may take
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    wait: u64,
}

/// What a target says of itself.
struct Target {
    export: Export,
    identity: Option<Identity>,
    /// Hosts that may see it; none is all.
    masks: Option<Vec<Mac>>,
    /// Hosts that it is reserved for.
    reserved: Option<Vec<Mac>>,
}

/// Lists every target.
pub fn verb(options: &Options) -> Result<(), Failure> {
    let mut client = Client::on(Interface::open(&options.interface)?);
    let wait = Duration::from_secs(options.wait);
    let targets: Vec<Target> = client
        .discover(wait)
        .into_iter()
        .map(|export| Target::ask(&mut client, export, wait))
        .collect();
    if targets.is_empty() {
        return Err(Failure::new(format!(
            "nobody answers on {} within {} s",
            options.interface, options.wait
        ))
        .with("AoE is not routed: the target must be on the same segment, and this host's")
        .with(format!(
            "address {} in its list of hosts, if it has one",
            client.mac()
        )));
    }
    for target in &targets {
        print!("{target}");
    }
    for address in disputed(&targets) {
        println!("{address} is answered for by different disks: only one can be right");
    }
    let nodes: BTreeSet<Mac> = targets.iter().map(|target| target.export.mac).collect();
    println!("{} answers from {} addresses", targets.len(), nodes.len());
    Ok(())
}

impl Target {
    /// Asks the target behind `export` for the rest.
    fn ask(client: &mut Client, export: Export, wait: Duration) -> Self {
        let identity = client.identify(&export, wait).ok();
        let masks = client
            .mask(&export, 0, &[], wait)
            .and_then(|reply| list(&reply, command::MASK, 3, MASKS));
        let reserved = client
            .reserve(&export, 0, &[], wait)
            .and_then(|reply| list(&reply, command::RESERVE, 1, HOSTS));
        Self {
            export,
            identity,
            masks,
            reserved,
        }
    }
}

/// The hosts in a reply to `command`: their number is in byte `count` of the
/// argument, and an address at the end of each entry.
fn list(reply: &Reply, command: u8, count: usize, (at, entry): (usize, usize)) -> Option<Vec<Mac>> {
    if reply.command() != command || reply.aoe_error().is_some() {
        return None;
    }
    let count = usize::from(*reply.argument().get(count)?);
    let bytes = reply.argument().get(at..at + count * entry)?;
    let mac = |entry: &[u8]| entry.last_chunk().map(|mac| Mac(*mac));
    bytes.chunks_exact(entry).map(mac).collect()
}

/// Addresses for which disks with different serial numbers answer.
fn disputed(targets: &[Target]) -> BTreeSet<Address> {
    let differ = |one: &Target, other: &Target| {
        one.export.address == other.export.address
            && match (&one.identity, &other.identity) {
                (Some(one), Some(other)) => {
                    (one.serial(), one.sectors()) != (other.serial(), other.sectors())
                }
                _ => false,
            }
    };
    let disputed = targets
        .iter()
        .filter(|one| targets.iter().any(|other| differ(one, other)));
    disputed.map(|target| target.export.address).collect()
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let export = &self.export;
        write!(f, "{:<8} {}", export.address.to_string(), export.mac)?;
        match &self.identity {
            None => writeln!(f, "  does not say what disk it is")?,
            Some(identity) => {
                let sectors = identity.sectors();
                writeln!(
                    f,
                    "  {}, {sectors} sectors, \"{}\", serial \"{}\", firmware \"{}\"",
                    human(sectors.saturating_mul(SECTOR_BYTES as u64)),
                    identity.model(),
                    identity.serial(),
                    identity.firmware()
                )?;
            }
        }
        writeln!(
            f,
            "         {} sectors a frame, {} requests at once, AoE firmware {:#06x}, config string {:?}",
            export.sectors_max,
            export.buffers,
            export.firmware,
            String::from_utf8_lossy(&export.config)
        )?;
        let hosts = |macs: &[Mac]| {
            let macs: Vec<String> = macs.iter().map(Mac::to_string).collect();
            macs.join(", ")
        };
        match self.masks.as_deref() {
            Some([]) => writeln!(f, "         every host may see it")?,
            Some(macs) => writeln!(f, "         seen by {} only", hosts(macs))?,
            None => {}
        }
        match self.reserved.as_deref() {
            Some([]) | None => Ok(()),
            Some(macs) => writeln!(f, "         reserved for {}", hosts(macs)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(serial: u16, mac: u16) -> Target {
        let mut words = [0; 256];
        words[10..20].fill(0x2020);
        words[10] = serial;
        words[100] = 2048;
        Target {
            export: Export {
                address: Address { shelf: 5, slot: 0 },
                mac: Mac::local(mac),
                buffers: 16,
                firmware: 0x4019,
                sectors_max: 2,
                config: b"boot".to_vec(),
            },
            identity: Some(Identity { words }),
            masks: Some(vec![Mac::local(7)]),
            reserved: Some(Vec::new()),
        }
    }

    #[test]
    fn everything_that_is_told_is_shown() {
        let text = target(0x4142, 1).to_string();
        for piece in [
            "e5.0",
            "02:00:00:00:00:01",
            "1 MiB, 2048 sectors",
            "serial \"AB\"",
            "2 sectors a frame, 16 requests at once, AoE firmware 0x4019",
            "config string \"boot\"",
            "seen by 02:00:00:00:00:07 only",
        ] {
            assert!(text.contains(piece), "{piece}: {text}");
        }
        assert!(!text.contains("reserved"), "{text}");
    }

    #[test]
    fn two_paths_to_a_disk_are_no_dispute_and_two_disks_are() {
        let paths = [target(0x4142, 1), target(0x4142, 2)];
        assert!(disputed(&paths).is_empty());
        let disks = [target(0x4142, 1), target(0x4143, 2)];
        assert_eq!(disputed(&disks).len(), 1);
    }

    #[test]
    fn a_list_that_ends_before_its_end_is_none() {
        let mut frame = vec![0; 24];
        frame[12..14].copy_from_slice(&0x88a2_u16.to_be_bytes());
        frame[14] = 0x18;
        frame[19] = command::RESERVE;
        frame.extend([0, 2]);
        frame.extend(Mac::local(1).0);
        let reply = |frame: &[u8]| Reply::parse(frame.to_vec()).unwrap();
        assert_eq!(list(&reply(&frame), command::RESERVE, 1, HOSTS), None);
        frame.extend(Mac::local(2).0);
        assert_eq!(
            list(&reply(&frame), command::RESERVE, 1, HOSTS),
            Some(vec![Mac::local(1), Mac::local(2)])
        );
        frame[14] |= 0x04;
        assert_eq!(list(&reply(&frame), command::RESERVE, 1, HOSTS), None);
    }
}
