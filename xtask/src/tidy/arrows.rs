//! Who may know whom: the crate arrows, and each crate's outside crates.
//!
//! aoe never sees a device, node never sees a register, drivers never see AoE,
//! only metal sees the processor.

use super::Violation;
use serde_json::Value;

/// One crate of the house.
struct Room {
    name: &'static str,
    /// Crates of ours that it may depend on.
    ours: &'static [&'static str],
    /// Crates of others that it may depend on.
    others: &'static [&'static str],
    /// Crates, ours or others, that its tests may use besides.
    tests: &'static [&'static str],
}

/// The whole house. A crate that is not here may not exist.
const HOUSE: &[Room] = &[
    Room {
        name: "aoe",
        ours: &[],
        others: &[],
        // The protocol's long test vectors are given by their SHA-256.
        tests: &["bolero", "divan", "proptest", "sha2"],
    },
    Room {
        name: "io",
        ours: &[],
        others: &[],
        tests: TEST_TOOLS,
    },
    Room {
        name: "pci",
        ours: &["io"],
        others: &["bitflags", "log", "pci_types"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "scsi",
        ours: &["io", "pci"],
        others: &["log"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "pvscsi",
        ours: &["io", "pci", "scsi"],
        others: &["bitflags", "log"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "virtio",
        ours: &["io", "pci", "scsi"],
        others: &["bitflags", "log", "safe-mmio", "virtio-drivers", "zerocopy"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "ahci",
        ours: &["io", "pci"],
        others: &["bitflags", "log", "safe-mmio"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "nvme",
        ours: &["io", "pci"],
        others: &["bitflags", "log"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "e1000",
        ours: &["io", "pci"],
        others: &["bitflags", "log"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "realtek",
        ours: &["io", "pci"],
        others: &["bitflags", "log"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "vmxnet3",
        ours: &["io", "pci"],
        others: &["bitflags", "log"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "ram",
        ours: &["io", "pci"],
        others: &["log"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "remote",
        ours: &["io"],
        others: &["spin"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "node",
        ours: &["aoe", "io"],
        others: &["heapless", "httparse", "log", "smoltcp"],
        // Other people's volumes and tables, for our readers of them.
        tests: &["bolero", "divan", "fatfs", "gpt", "proptest"],
    },
    Room {
        name: "engine",
        ours: &[
            "ahci", "e1000", "io", "node", "nvme", "pci", "pvscsi", "ram", "realtek", "remote",
            "scsi", "virtio", "vmxnet3",
        ],
        others: &[],
        tests: TEST_TOOLS,
    },
    Room {
        name: "door",
        ours: &[],
        others: &["miniz_oxide", "r-efi"],
        tests: &[],
    },
    Room {
        name: "ublade",
        ours: &[
            "ahci", "aoe", "door", "e1000", "engine", "io", "node", "nvme", "pci", "pvscsi", "ram",
            "realtek", "scsi", "virtio", "vmxnet3",
        ],
        others: &[
            "bitflags",
            "font8x8",
            "hermit-entry",
            "hermit-sync",
            "linked_list_allocator",
            "log",
            "pci_types",
            "spin",
            "virtio-drivers",
        ],
        tests: &[],
    },
    Room {
        name: "sim",
        ours: &[
            "ahci", "aoe", "e1000", "io", "node", "nvme", "pci", "pvscsi", "ram", "scsi", "virtio",
        ],
        others: &["log"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "fuzz",
        // The metal that it sees is arithmetic on outside numbers: ACPI tables.
        ours: &["aoe", "io", "node", "pci", "sim", "ublade", "virtio"],
        others: &["libfuzzer-sys", "serde_json"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "image",
        // The node's own parser reads the settings that go into an image.
        ours: &["door", "node"],
        others: &["miniz_oxide", "sha2", "zopfli"],
        tests: &["fatfs", "hermit-entry"],
    },
    Room {
        name: "counter",
        ours: &[],
        others: &[],
        tests: &[],
    },
    Room {
        name: "qemu",
        ours: &["aoe"],
        others: &["command-fds", "fatfs", "nix", "serde_json"],
        tests: TEST_TOOLS,
    },
    Room {
        name: "xtask",
        // Of the drivers, what they say that they know.
        ours: &[
            "ahci", "e1000", "image", "nvme", "pci", "pvscsi", "qemu", "realtek", "sim", "virtio",
            "vmxnet3",
        ],
        others: &["clap", "ctrlc", "indicatif", "nix", "serde_json"],
        tests: TEST_TOOLS,
    },
];

/// What any crate's tests may use.
const TEST_TOOLS: &[&str] = &["bolero", "divan", "proptest"];

/// Every arrow that is not in the table, from what `cargo metadata` prints.
pub fn check(metadata: &Value) -> Vec<Violation> {
    let packages = metadata["packages"].as_array();
    packages
        .into_iter()
        .flatten()
        .flat_map(|package| {
            let name = package["name"].as_str().unwrap_or_default();
            match HOUSE.iter().find(|room| room.name == name) {
                Some(room) => check_room(room, package),
                None => vec![Violation::new(
                    &manifest(package, metadata),
                    0,
                    format!("crate {name} has no room in the house (xtask/src/tidy/arrows.rs)"),
                )],
            }
        })
        .collect()
}

fn check_room(room: &Room, package: &Value) -> Vec<Violation> {
    let dependencies = package["dependencies"].as_array();
    dependencies
        .into_iter()
        .flatten()
        .filter_map(|dependency| {
            let name = dependency["name"].as_str().unwrap_or_default();
            let is_ours = HOUSE.iter().any(|room| room.name == name);
            let for_tests = dependency["kind"] == "dev";
            let allowed = room.ours.contains(&name)
                || room.others.contains(&name)
                || for_tests && room.tests.contains(&name);
            let what = if is_ours {
                format!("{} <- {name} is no arrow of the house", room.name)
            } else {
                format!("{} may not use the outside crate {name}", room.name)
            };
            (!allowed).then(|| Violation::new(room.name, 0, what))
        })
        .collect()
}

fn manifest(package: &Value, metadata: &Value) -> String {
    let path = package["manifest_path"].as_str().unwrap_or_default();
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let path = path.strip_prefix(root).unwrap_or(path);
    path.trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn complaints(name: &str, dependency: &str, kind: Option<&str>) -> Vec<String> {
        let metadata = json!({
            "workspace_root": "/x",
            "packages": [{
                "name": name,
                "manifest_path": format!("/x/{name}/Cargo.toml"),
                "dependencies": [{"name": dependency, "kind": kind}],
            }],
        });
        check(&metadata).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrows_of_the_house_are_fine() {
        assert!(complaints("node", "aoe", None).is_empty());
        assert!(complaints("ublade", "virtio", None).is_empty());
        assert!(complaints("aoe", "proptest", Some("dev")).is_empty());
    }

    #[test]
    fn every_other_arrow_is_found() {
        let wrong = [
            ("aoe", "io"),
            ("io", "aoe"),
            ("node", "virtio"),
            ("node", "pci"),
            ("virtio", "aoe"),
            ("ram", "node"),
            ("image", "qemu"),
            ("qemu", "node"),
        ];
        for (from, to) in wrong {
            let expected = [format!("{from}: {from} <- {to} is no arrow of the house")];
            assert_eq!(complaints(from, to, None), expected);
        }
    }

    #[test]
    fn no_driver_and_no_core_may_know_the_protocol_in_its_tests_either() {
        assert_eq!(complaints("virtio", "aoe", Some("dev")).len(), 1);
        assert_eq!(complaints("aoe", "node", Some("dev")).len(), 1);
    }

    #[test]
    fn an_outside_crate_needs_a_line_in_the_table() {
        assert_eq!(complaints("aoe", "log", None).len(), 1);
        assert_eq!(complaints("node", "proptest", None).len(), 1);
        assert_eq!(complaints("node", "tokio", Some("build")).len(), 1);
    }

    #[test]
    fn a_crate_without_a_room_is_found() {
        let found = complaints("cellar", "io", None);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("cellar/Cargo.toml: crate cellar has no room"));
    }
}
