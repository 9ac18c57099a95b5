//! `cargo xtask drivers`: which devices have a driver, and how each was tried.
//!
//! Each driver says itself what it knows, beside the match by which it recognizes a
//! function; this is the collection. The README has the short form of it, and a test
//! holds the two together.

use crate::house::House;
use pci::{Known, Tried};
use qemu::{Failure, OrFail};
use std::fmt::Write as _;
use std::fs;

/// What to do with the table.
#[derive(clap::Args)]
pub struct Options {
    /// Put the short form into the README
    #[arg(long)]
    write: bool,
}

/// A driver: its folder, and what it knows.
struct Driver {
    name: &'static str,
    devices: &'static [Known],
}

/// All drivers of devices on PCI, cards first.
const DRIVERS: &[Driver] = &[
    Driver {
        name: "virtio",
        devices: virtio::DEVICES,
    },
    Driver {
        name: "e1000",
        devices: e1000::DEVICES,
    },
    Driver {
        name: "realtek",
        devices: realtek::DEVICES,
    },
    Driver {
        name: "vmxnet3",
        devices: vmxnet3::DEVICES,
    },
    Driver {
        name: "ahci",
        devices: ahci::DEVICES,
    },
    Driver {
        name: "nvme",
        devices: nvme::DEVICES,
    },
    Driver {
        name: "pvscsi",
        devices: pvscsi::DEVICES,
    },
];

/// How the README's table starts.
const HEAD: &str = "| driver | emulated here | modelled | not run |\n|---|---|---|---|\n";

/// Prints the table, or puts it into the README.
pub fn verb(house: &House, options: &Options) -> Result<(), Failure> {
    if !options.write {
        print!("{}", long());
        return Ok(());
    }
    let path = house.root().join("README.md");
    let text = fs::read_to_string(&path).or_fail("cannot read the README")?;
    let text = with_table(&text).or_fail("the README has no table of devices")?;
    fs::write(&path, text).or_fail("cannot write the README")
}

/// Every device on a line of its own.
fn long() -> String {
    let mut text = String::new();
    for Driver { name, devices } in DRIVERS {
        for known in *devices {
            writeln!(
                text,
                "{name:8} {:12} {:32} {}",
                known.name,
                known.tried.to_string(),
                known.ids
            )
            .expect("a string takes everything");
        }
    }
    text
}

/// Every driver on a line of its own, as the README has it.
fn short() -> String {
    let mut text = HEAD.to_owned();
    for Driver { name, devices } in DRIVERS {
        let names = |wanted: fn(Tried) -> bool| -> String {
            let names: Vec<&str> = devices
                .iter()
                .filter(|known| wanted(known.tried))
                .map(|known| known.name)
                .collect();
            names.join(", ")
        };
        writeln!(
            text,
            "| `{name}` | {} | {} | {} |",
            names(|tried| matches!(tried, Tried::Emulated(_))),
            names(|tried| matches!(tried, Tried::Modelled)),
            names(|tried| matches!(tried, Tried::NotRun { .. })),
        )
        .expect("a string takes everything");
    }
    text
}

/// `text` with the table in the place of the one that it has.
fn with_table(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(HEAD)?;
    let rows: usize = rest
        .split_inclusive('\n')
        .take_while(|line| line.starts_with('|'))
        .map(str::len)
        .sum();
    Some(format!("{before}{}{}", short(), &rest[rows..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use qemu::scenarios::every_device;
    use std::collections::BTreeSet;

    /// Folders in `drivers/` that drive nothing on PCI themselves.
    const OTHERS: [&str; 5] = ["io", "pci", "ram", "remote", "scsi"];

    #[test]
    fn the_readme_has_the_table_that_the_drivers_give() {
        let readme = House::here().root().join("README.md");
        let text = fs::read_to_string(readme).expect("the README");
        let current = with_table(&text).expect("it has a table of devices");
        assert!(text == current, "type: cargo xtask drivers --write");
    }

    #[test]
    fn every_folder_of_a_driver_is_in_the_table() {
        let folders = fs::read_dir(House::here().root().join("drivers")).expect("drivers/");
        let folders: BTreeSet<String> = folders
            .map(|entry| entry.expect("readable").file_name())
            .map(|name| name.into_string().expect("a plain name"))
            .collect();
        let named = DRIVERS.iter().map(|driver| driver.name).chain(OTHERS);
        assert_eq!(folders, named.map(str::to_owned).collect());
    }

    #[test]
    fn what_is_said_to_be_emulated_is_in_the_machine_with_every_device_and_nothing_else_is() {
        let said: BTreeSet<&str> = DRIVERS
            .iter()
            .flat_map(|driver| driver.devices)
            .filter_map(|known| match known.tried {
                Tried::Emulated(name) => Some(name),
                _ => None,
            })
            .collect();
        assert_eq!(said, every_device::on_pci().collect());
    }

    #[test]
    fn what_a_device_is_driven_like_was_tried() {
        for driver in DRIVERS {
            let tried = |name| {
                let mut devices = driver.devices.iter();
                devices
                    .any(|known| known.name == name && !matches!(known.tried, Tried::NotRun { .. }))
            };
            for known in driver.devices {
                if let Tried::NotRun { like } = known.tried {
                    assert!(tried(like), "{} is driven like {like}", known.name);
                }
            }
        }
    }

    #[test]
    fn a_table_is_replaced_and_what_is_around_it_stays() {
        let text = format!("a\n\n{HEAD}| old | row |\n| old | row |\n\nb\n");
        let expected = format!("a\n\n{}\nb\n", short());
        assert_eq!(with_table(&text), Some(expected));
        assert_eq!(with_table("no table\n"), None);
    }
}
