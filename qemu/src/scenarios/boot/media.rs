//! The images as the disk, the stick or the CD-ROM that the firmware starts.
//!
//! The node must find its settings on a disk that it has a driver for, and must
//! never export the disk that it came from; the frame looks after the latter on
//! every row.

use super::{Row, row, started};
use crate::{Accel, Context, Disk, Failure, Recipe, Report};
use std::time::Duration;

const SEABIOS: &str = "SeaBIOS";
/// From power on to the first frame, from the raw disk under software emulation.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(1);
/// A busy host may spoil one start. None of these many in time is a slow node.
const STARTS: u32 = 4;

pub(super) const ROWS: &[Row] = &[
    Row {
        sample: true,
        ..Row::new(
            "disk-virtio",
            "ublade.img on virtio-blk, within a second",
            SEABIOS,
            within_a_second,
        )
    },
    Row::new("disk-sata", "ublade.img on SATA", SEABIOS, |context| {
        let disk = image(context, "ublade.img", "raw").model("ide-hd");
        with_settings(context, disk)
    }),
    Row::new("disk-nvme", "ublade.img on NVMe", SEABIOS, |context| {
        let disk = image(context, "ublade.img", "raw").model("nvme");
        with_settings(context, disk.serial("boot"))
    }),
    Row::new(
        "disk-usb",
        "ublade.img on a USB stick",
        SEABIOS,
        |context| {
            let disk = image(context, "ublade.img", "raw").model("usb-storage");
            let recipe = machine(context).controller("qemu-xhci");
            row(context, recipe.disk(disk), None)
        },
    ),
    Row {
        sample: true,
        ..Row::new("iso-bios", "ublade.iso as a CD-ROM", SEABIOS, |context| {
            let disc = image(context, "ublade.iso", "raw").model("ide-cd");
            row(context, machine(context).disk(disc), None)
        })
    },
    Row::new(
        "iso-stick",
        "ublade.iso on a USB stick",
        SEABIOS,
        |context| {
            let disk = image(context, "ublade.iso", "raw").model("usb-storage");
            let recipe = machine(context).controller("qemu-xhci");
            row(context, recipe.disk(disk), None)
        },
    ),
    Row::new("qcow2", "ublade.qcow2", SEABIOS, |context| {
        let disk = image(context, "ublade.qcow2", "qcow2");
        with_settings(context, disk)
    }),
    Row::new("vmdk", "ublade.vmdk", SEABIOS, |context| {
        let disk = image(context, "ublade.vmdk", "vmdk");
        with_settings(context, disk)
    }),
    Row::new("vhdx", "ublade.vhdx", SEABIOS, |context| {
        let disk = image(context, "ublade.vhdx", "vhdx");
        with_settings(context, disk)
    }),
    Row::new("vhd", "ublade.vhd", SEABIOS, |context| {
        let disk = image(context, "ublade.vhd", "vpc");
        with_settings(context, disk)
    }),
];

/// A machine that starts from what hangs on it.
fn machine(context: &Context) -> Recipe {
    context.guest("node").memory("64M")
}

/// The image `name` as the first thing to start from. What the node writes to it
/// is forgotten when the machine ends.
pub(super) fn image(context: &Context, name: &str, format: &str) -> Disk {
    let path = context.boot().images.join(name);
    let path = path.display().to_string().replace(',', ",,");
    Disk::backed_by(&format!("format={format},file={path},snapshot=on")).property("bootindex=0")
}

/// From a disk that the node can read: its settings are those of the image.
fn with_settings(context: &Context, disk: Disk) -> Result<Report, Failure> {
    settings_of(context, machine(context).disk(disk)).map(|(report, _)| report)
}

/// The same, of any machine; and the time to its first frame.
pub(super) fn settings_of(
    context: &Context,
    recipe: Recipe,
) -> Result<(Report, Duration), Failure> {
    started(context, recipe, None, |node| {
        let line = "setting rw=all (ublade.conf)";
        node.wait_for(line, context.seconds(5)).map(drop)
    })
}

fn within_a_second(context: &mut Context) -> Result<Report, Failure> {
    let mut best = Duration::MAX;
    for _ in 0..STARTS {
        let disk = image(context, "ublade.img", "raw");
        let recipe = machine(context).accel(Accel::Tcg).disk(disk);
        let (report, first_frame) = settings_of(context, recipe)?;
        best = best.min(first_frame);
        if best <= FIRST_FRAME_WITHIN {
            return Ok(report);
        }
    }
    Err(Failure::new(format!(
        "the first frame came after {:.3} s, the best of {STARTS} starts; {:.3} s is the limit",
        best.as_secs_f64(),
        FIRST_FRAME_WITHIN.as_secs_f64()
    )))
}
