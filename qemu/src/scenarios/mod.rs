//! Every scenario, in the order in which they are run.
//!
//! Cheap ones first, so that a node that does not start says so within seconds
//! and not after a quarter of an hour. A scenario begins with machines of its
//! own and leaves nothing behind but its folder: captures, consoles and disks.

pub mod boot;
mod boots;
mod cards;
mod console;
mod discover;
mod disks;
mod durability;
mod epitaph;
pub mod every_device;
mod faults;
mod hostile;
mod input;
mod ipxe;
mod linux;
mod machines;
mod manage;
mod memory;
mod nvme;
mod outage;
mod own_disk;
mod power;
mod powercut;
mod processors;
mod sata;
mod scsi;
mod signed;
mod world;

use crate::initiator::Linux;
use crate::packages::{Debs, newer_qemu};
use crate::{Emulator, Failure, Scenario, tools};
use std::time::Duration;

/// All scenarios.
pub const fn all() -> &'static [Scenario] {
    ALL
}

/// Those that take long or measure times, and are run when somebody wants to know.
pub const fn long() -> &'static [Scenario] {
    LONG
}

/// Scenarios with a device that the system's own QEMU may be too old for.
const NEWER_QEMU: [&str; 4] = ["every-device", "intel-cards", "linux-nvme", "machines"];

/// Fetches and builds what `wanted` scenarios' guests are made of, once, so that
/// no scenario's time goes into a download.
pub fn prepare(wanted: &[&Scenario], debs: &Debs) -> Result<(), Failure> {
    if wanted.iter().any(|scenario| scenario.linux) {
        Linux::prepare(debs)?;
    }
    let wants_igb = wanted.iter().any(|one| NEWER_QEMU.contains(&one.name));
    if wants_igb && !Emulator::default().has_device("igb")? {
        // Without it these scenarios say what they skip.
        let _ = newer_qemu::fetch(debs);
    }
    for tool in wanted.iter().filter_map(|one| one.neighbours).flatten() {
        tool.prepare(debs)?;
    }
    boot::prepare(wanted, debs)
}

/// The scenario called `name`, be it one of [`all`], of [`long`] or a row of the boot
/// matrix.
pub fn find(name: &str) -> Option<&'static Scenario> {
    let rows = boot::rows().map(|row| &row.scenario);
    let usual = all().iter().chain(long());
    usual.chain(rows).find(|one| one.name == name)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

static ALL: &[Scenario] = &[
    Scenario {
        name: "boots",
        sentence: "either boot file starts on q35, pc and microvm, with its settings, and is \
                   on the network within half a second",
        limit: seconds(90),
        linux: false,
        neighbours: None,
        run: boots::boots,
    },
    Scenario {
        name: "bad-settings",
        sentence: "a bad setting is named with its key, text and place, and the node serves",
        limit: seconds(30),
        linux: false,
        neighbours: None,
        run: input::bad_settings,
    },
    Scenario {
        name: "bad-devices",
        sentence: "no disk, no card, an empty disk, a dead link or an old processor is a sentence \
                   on the console, and what works is served",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: input::bad_devices,
    },
    Scenario {
        name: "dirty-memory",
        sentence: "the node does not rely on memory being zero, and 8 MiB of it are enough",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: memory::dirty_memory,
    },
    Scenario {
        name: "machines",
        sentence: "a machine without an interval timer, with 300 GiB of memory, with an x2APIC or \
                   without a port to say a word on serves, and knows how fast its clock runs",
        limit: seconds(120),
        linux: false,
        neighbours: None,
        run: machines::machines,
    },
    Scenario {
        name: "durable",
        sentence: "a write is answered after a flush that covers it, a batch shares one, and lone ones soon need none",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: durability::durable,
    },
    Scenario {
        name: "power-cut",
        sentence: "the power fails while hosts write: on virtio, AHCI and NVMe no cut loses what \
                   was answered before it, and the node serves on",
        limit: seconds(180),
        linux: false,
        neighbours: None,
        run: powercut::power_cut,
    },
    Scenario {
        name: "settings",
        sentence: "the command line is stronger than fw_cfg, SMBIOS and ublade.conf, each value \
                   says where it is from, and the disk with the file is never exported",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: own_disk::settings,
    },
    Scenario {
        name: "console",
        sentence: "whoever types on the serial port is answered, what is saved there holds after \
                   a restart, and what was before comes back",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: console::console,
    },
    Scenario {
        name: "state",
        sentence: "a node killed while it writes its state has the old or the new afterwards, and \
                   always what it has told",
        limit: seconds(120),
        linux: false,
        neighbours: None,
        run: own_disk::state,
    },
    Scenario {
        name: "signed",
        sentence: "a copy of the boot file signed for Secure Boot verifies, and not once a byte \
                   is changed",
        limit: seconds(120),
        linux: false,
        neighbours: None,
        run: signed::signed,
    },
    Scenario {
        name: "power-button",
        sentence: "the power button ends the node: all is answered, the disk flushed, the machine \
                   off",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: power::power_button,
    },
    Scenario {
        name: "processors",
        sentence: "a second processor runs the devices: two disks through two cards keep what \
                   is written, and a machine without one is told and serves",
        limit: seconds(120),
        linux: false,
        neighbours: None,
        run: processors::processors,
    },
    Scenario {
        name: "epitaph",
        sentence: "a node that fell, hung or was reset says after its start why and what it had \
                   done, and one that ended in order says nothing",
        limit: seconds(200),
        linux: false,
        neighbours: None,
        run: epitaph::epitaph,
    },
    Scenario {
        name: "nvme",
        sentence: "a namespace of an NVMe controller is an export, keeps what is written, and says \
                   in SMART what its controller warns of",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: nvme::nvme,
    },
    Scenario {
        name: "virtio-scsi",
        sentence: "units of one SCSI adapter are exports: they keep what is written, one that \
                   fails, grows or goes is no matter to the others",
        limit: seconds(90),
        linux: false,
        neighbours: None,
        run: scsi::virtio_scsi,
    },
    Scenario {
        name: "pvscsi",
        sentence: "the same behind VMware's SCSI adapter",
        limit: seconds(90),
        linux: false,
        neighbours: None,
        run: scsi::pvscsi,
    },
    Scenario {
        name: "sata",
        sentence: "a SATA drive is an export, keeps what is written, and a bad sector is one \
                   failed request",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: sata::sata,
    },
    Scenario {
        name: "intel-cards",
        sentence: "each of Intel's cards that QEMU plays serves frames of fifteen sectors, also to \
                   one that waits for each, and after its link was gone",
        limit: seconds(90),
        linux: false,
        neighbours: None,
        run: cards::intel,
    },
    Scenario {
        name: "every-device",
        sentence: "one machine with every disk controller and every card that QEMU plays and \
                   we drive: each card serves each disk",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: every_device::every_device,
    },
    Scenario {
        name: "failing-disks",
        sentence: "on every controller a read, a write or a flush that fails is told to its host \
                   and to no other, until it is repaired",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: faults::failing_disks,
    },
    Scenario {
        name: "hanging-disks",
        sentence: "on every controller a disk that hangs stops nobody else, and answers when it \
                   goes on",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: faults::hanging_disks,
    },
    Scenario {
        name: "unplugged-disks",
        sentence: "a disk that is taken away under load fails its requests and nobody else's, is \
                   served again when it comes back, and one that is new is announced and served",
        limit: seconds(120),
        linux: false,
        neighbours: None,
        run: faults::unplugged_disks,
    },
    Scenario {
        name: "realtek-card",
        sentence: "an RTL8139C+ does the same, two sectors a frame",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: cards::realtek,
    },
    Scenario {
        name: "vmware-card",
        sentence: "vmxnet3 does the same with seventeen sectors a frame, before a disk on PVSCSI",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: cards::vmware,
    },
    Scenario {
        name: "hostile-frames",
        sentence: "no frame, however made, stops the node, changes a sector it may not, or gets \
                   back a byte that was not written for it",
        limit: seconds(240),
        linux: false,
        neighbours: None,
        run: hostile::hostile_frames,
    },
    Scenario {
        name: "manage",
        sentence: "page, figures and API tell under load what hosts did, fifty slow clients stop \
                   nothing, and only the token restarts the node",
        limit: seconds(120),
        linux: false,
        neighbours: None,
        run: manage::manage,
    },
    Scenario {
        name: "manage-servers",
        sentence: "dnsmasq, chronyd, rsyslogd, curl and ping get on with the node, and it moves \
                   when its lease does",
        limit: seconds(120),
        linux: false,
        neighbours: Some(&[
            tools::DNSMASQ,
            tools::CHRONYD,
            tools::RSYSLOGD,
            tools::CURL,
            tools::PING,
        ]),
        run: manage::servers,
    },
    Scenario {
        name: "two-nodes",
        sentence: "of two nodes with one shelf the second keeps what the first serves offline, \
                   says whose it is, and takes over when the first is gone",
        limit: seconds(240),
        linux: false,
        neighbours: Some(&[]),
        run: manage::claims,
    },
    Scenario {
        name: "manage-prometheus",
        sentence: "what Prometheus has of a node is what hosts did, our rules hold, and no panel \
                   of our dashboard is empty",
        limit: seconds(120),
        linux: false,
        neighbours: Some(&[tools::PROMETHEUS, tools::PROMTOOL]),
        run: manage::prometheus,
    },
    Scenario {
        name: "manage-browser",
        sentence: "a browser shows a node under load, light and dark, wide and narrow, with the \
                   numbers that hosts counted and nothing in its console",
        limit: seconds(150),
        linux: false,
        neighbours: Some(&[tools::CHROMIUM, tools::FONTS, tools::W3M]),
        run: manage::page,
    },
    Scenario {
        name: "manage-capture",
        sentence: "tcpdump reads the node's own capture: every frame as it was sent and answered, \
                   none missing, and nobody's data",
        limit: seconds(90),
        linux: false,
        neighbours: Some(&[tools::CURL, tools::TCPDUMP]),
        run: manage::capture,
    },
    Scenario {
        name: "manage-cec",
        sentence: "without an address a console on the Ethernet finds the node, shows what it \
                   is asked, and changes nothing before it has the token",
        limit: seconds(60),
        linux: false,
        neighbours: None,
        run: manage::cec,
    },
    Scenario {
        name: "manage-crowd",
        sentence: "a thousand clients that never end a request wait for each other: hosts and an \
                   operator are served, and no frame is lost",
        limit: seconds(120),
        linux: false,
        neighbours: Some(&[]),
        run: manage::crowd,
    },
    Scenario {
        name: "discover",
        sentence: "`cargo xtask discover` tells of a node and of a vblade what they are, and says \
                   where there is nothing to find",
        limit: seconds(90),
        linux: false,
        neighbours: Some(&[tools::VBLADE]),
        run: discover::discover,
    },
    Scenario {
        name: "ipxe-sanboot",
        sentence: "iPXE boots from an export and its boot sector reads on",
        limit: seconds(90),
        linux: false,
        neighbours: None,
        run: ipxe::sanboot,
    },
    Scenario {
        name: "power-cut-linux",
        sentence: "the power fails while Linux writes: every write that Linux was told is done is \
                   there afterwards",
        limit: seconds(180),
        linux: true,
        neighbours: None,
        run: powercut::power_cut_linux,
    },
    Scenario {
        name: "linux-mtu1500",
        sentence: "Linux keeps a file system on an export, 1,024 bytes a frame, also over a \
                   restart of the node",
        limit: seconds(240),
        linux: true,
        neighbours: None,
        run: linux::mtu_1500,
    },
    Scenario {
        name: "linux-mtu9000",
        sentence: "with an MTU of 9000 the same goes at 8,704 bytes a frame, with no other \
                   setting on the host",
        limit: seconds(240),
        linux: true,
        neighbours: None,
        run: linux::mtu_9000,
    },
    Scenario {
        name: "linux-sata-e1000e",
        sentence: "the same on the devices that QEMU's q35 has by itself: AHCI and e1000e",
        limit: seconds(240),
        linux: true,
        neighbours: None,
        run: cards::linux_q35,
    },
    Scenario {
        name: "linux-sata-e1000",
        sentence: "the same on the devices that VirtualBox has by itself: AHCI and e1000",
        limit: seconds(240),
        linux: true,
        neighbours: None,
        run: cards::linux_virtualbox,
    },
    Scenario {
        name: "linux-pvscsi-vmxnet3",
        sentence: "the same on the devices that ESXi gives its guests: PVSCSI and vmxnet3",
        limit: seconds(240),
        linux: true,
        neighbours: None,
        run: cards::linux_vmware,
    },
    Scenario {
        name: "linux-proxmox",
        sentence: "the same on the devices that Proxmox has by itself: virtio-scsi and virtio-net",
        limit: seconds(240),
        linux: true,
        neighbours: None,
        run: cards::linux_proxmox,
    },
    Scenario {
        name: "linux-nvme",
        sentence: "the same on NVMe and, where QEMU has it, igb",
        limit: seconds(240),
        linux: true,
        neighbours: None,
        run: cards::linux_nvme,
    },
    Scenario {
        name: "linux-small-path",
        sentence: "where a switch drops long frames, a host with an MTU of 9000 gets 1,024-byte \
                   frames and never notices",
        limit: seconds(240),
        linux: true,
        neighbours: None,
        run: linux::small_path,
    },
    Scenario {
        name: "aoetools",
        sentence: "the tools that come with the driver show what they should",
        limit: seconds(240),
        linux: true,
        neighbours: None,
        run: linux::aoetools,
    },
    Scenario {
        name: "sixteen-exports",
        sentence: "sixteen disks of one node are sixteen exports, written at once and never mixed",
        limit: seconds(240),
        linux: true,
        neighbours: None,
        run: linux::sixteen_exports,
    },
    Scenario {
        name: "two-paths",
        sentence: "of two paths one is pulled during writes, and nothing is lost",
        limit: seconds(240),
        linux: true,
        neighbours: None,
        run: outage::two_paths,
    },
    Scenario {
        name: "linux-faults",
        sentence: "Linux gets EIO for what a disk has lost and only there, and a link that comes \
                   and goes is a pause",
        limit: seconds(240),
        linux: true,
        neighbours: None,
        run: outage::linux_faults,
    },
    Scenario {
        name: "node-killed",
        sentence: "a node that is killed during writes and comes back is a pause for Linux and \
                   no error",
        limit: seconds(240),
        linux: true,
        neighbours: None,
        run: outage::node_killed,
    },
];

static LONG: &[Scenario] = &[
    Scenario {
        name: "state-long",
        sentence: "as `state`, killed at two hundred moments",
        limit: seconds(1800),
        linux: false,
        neighbours: None,
        run: own_disk::state_long,
    },
    Scenario {
        name: "manage-crowd-times",
        sentence: "beside a thousand slow clients the p99 of AoE changes by less than 10 %, \
                   measured in turns",
        limit: seconds(600),
        linux: false,
        neighbours: Some(&[]),
        run: manage::crowd_times,
    },
    Scenario {
        name: "manage-lease",
        sentence: "an address whose lease runs out is given back, and taken again from a server \
                   that is back",
        limit: seconds(400),
        linux: false,
        neighbours: Some(&[tools::DNSMASQ]),
        run: manage::lease,
    },
];
