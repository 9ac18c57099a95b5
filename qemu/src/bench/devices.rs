//! What a read costs behind other disks and cards than virtio's.
//!
//! Each machine differs from the first in one device, so what its read costs more is that
//! driver's. Nothing is held against a snapshot: these are for whoever chooses a device.

use super::counter::{Counter, Watch};
use super::counts::{Effort, NO_SPINNING, cheapest};
use super::load::{Access, Load, Order};
use super::target::{Place, Serving};
use crate::Failure;
use crate::machine::{Disk, Recipe};

/// What a read costs a node with these devices.
#[derive(Clone, Copy, Debug)]
pub struct OnDevices {
    /// Disk and card.
    pub name: &'static str,
    /// Guest instructions a request.
    pub instructions: f64,
    /// Device-register accesses a request.
    pub accesses: f64,
}

/// A machine: its name, its disk by QEMU's model and place, its card by QEMU's model.
type Devices = (
    &'static str,
    Option<(&'static str, &'static str)>,
    &'static str,
);

const MACHINES: [Devices; 5] = [
    ("virtio-blk, virtio-net", None, VIRTIO_NET),
    (
        "AHCI, virtio-net",
        Some(("ide-hd", "bus=ide.0")),
        VIRTIO_NET,
    ),
    (
        "NVMe, virtio-net",
        Some(("nvme", "max_ioqpairs=8")),
        VIRTIO_NET,
    ),
    ("virtio-blk, e1000e", None, "e1000e"),
    ("virtio-blk, vmxnet3", None, "vmxnet3"),
];
const VIRTIO_NET: &str = "virtio-net-pci";

/// The request that every card can carry.
pub(super) const LOAD: Load = Load {
    access: Access::Read,
    order: Order::Sequential,
    sectors: 2,
    depth: 32,
};

/// Counts on all of them; `done` is called after each.
pub(super) fn devices(
    place: &Place,
    mut done: impl FnMut(&OnDevices),
) -> Result<Vec<OnDevices>, Failure> {
    let mut all = Vec::new();
    for (index, machine) in MACHINES.into_iter().enumerate() {
        let cost = |watch| {
            let mut serving = start(place, index, machine, watch)?;
            cheapest(&mut serving, LOAD, Effort::for_node(LOAD.depth))
        };
        let on = OnDevices {
            name: machine.0,
            instructions: cost(Watch::Instructions)?.instructions,
            accesses: cost(Watch::Registers)?.accesses,
        };
        done(&on);
        all.push(on);
    }
    Ok(all)
}

fn start(
    place: &Place,
    index: usize,
    (_, disk, card): Devices,
    watch: Watch,
) -> Result<Serving, Failure> {
    let name = format!("devices-{index}-{}", watch.name());
    let counter = Counter::new(
        &place.plugin,
        place.folder.join(format!("{name}.counts")),
        watch,
    );
    let mut null = Disk::backed_by(super::target::NULL).serial("null");
    if let Some((model, at)) = disk {
        null = null.model(model).property(at);
    }
    let recipe = Recipe::node(&name, &place.boot)
        .append("ublade.rw=all")
        .append(NO_SPINNING)
        .disk(null);
    Serving::start_with_card(place, recipe, card, counter)
}
