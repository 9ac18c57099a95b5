//! The images, and GRUB, on a machine with UEFI: OVMF of Debian.
//!
//! OVMF keeps the loader's memory in use until it is left, puts the registers of
//! devices above 4 GiB when it may, and hands over a graphics screen.

use super::loaders;
use super::{Row, media, row, started};
use crate::packages::Need;
use crate::{Context, Disk, Failure, Machine, OrFail, Recipe};
use serde_json::{Value, json};
use std::fs;

const OVMF: &str = "OVMF";
/// The firmware, and the variables that a new machine has.
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
const FIRMWARE: Need = Need {
    program: CODE,
    package: "ovmf",
};

pub(super) const ROWS: &[Row] = &[
    Row {
        sample: true,
        needs: &[FIRMWARE],
        ..Row::new("uefi-disk", "ublade.img on virtio-blk", OVMF, |context| {
            let disk = media::image(context, "ublade.img", "raw");
            let recipe = machine(context, "256M")?.disk(disk);
            media::settings_of(context, recipe).map(|(report, _)| report)
        })
    },
    Row {
        needs: &[FIRMWARE],
        ..Row::new("uefi-usb", "ublade.img on a USB stick", OVMF, |context| {
            let disk = media::image(context, "ublade.img", "raw").model("usb-storage");
            let recipe = machine(context, "256M")?.controller("qemu-xhci");
            row(context, recipe.disk(disk), None)
        })
    },
    Row {
        sample: true,
        needs: &[FIRMWARE],
        ..Row::new("uefi-iso", "ublade.iso as a CD-ROM", OVMF, |context| {
            let disc = media::image(context, "ublade.iso", "raw").model("ide-cd");
            row(context, machine(context, "256M")?.disk(disc), None)
        })
    },
    Row {
        needs: &[FIRMWARE],
        ..Row::new(
            "uefi-6g",
            "ublade.img, 6 GiB, BARs above 4 GiB",
            OVMF,
            |context| {
                let disk = media::image(context, "ublade.img", "raw");
                let recipe = machine(context, "6G")?.disk(disk);
                started(context, recipe, None, registers_are_high).map(|(report, _)| report)
            },
        )
    },
    Row {
        needs: &[
            FIRMWARE,
            loaders::XORRISO,
            loaders::MKRESCUE,
            loaders::MFORMAT,
            Need {
                program: "/usr/lib/grub/x86_64-efi/linux.mod",
                package: "grub-efi-amd64-bin",
            },
        ],
        ..Row::new(
            "grub-efi",
            "GRUB's linux command",
            "OVMF, GRUB",
            |context| {
                let disc = loaders::grub(context, "/usr/lib/grub/x86_64-efi")?;
                let disc = Disk::file(&disc).model("ide-cd").property("bootindex=0");
                let recipe = machine(context, "256M")?.disk(disc);
                row(context, recipe, Some(loaders::SHELF))
            },
        )
    },
];

/// The card and the disk that is read have registers above 4 GiB; otherwise this
/// row would have tried nothing.
fn registers_are_high(node: &mut Machine) -> Result<(), Failure> {
    const FOUR_GIB: u64 = 4 << 30;
    let buses = node.qmp().run("query-pci", json!({}))?;
    for name in ["card0", "disk1"] {
        let is_high = list(&buses)
            .flat_map(|bus| list(&bus["devices"]))
            .filter(|device| device["qdev_id"] == name)
            .flat_map(|device| list(&device["regions"]))
            .filter_map(|region| region["address"].as_u64())
            .any(|address| address >= FOUR_GIB && address != u64::MAX);
        if !is_high {
            let sentence = format!("{name} has no registers above 4 GiB");
            return Err(node.failure(sentence).with(buses.to_string()));
        }
    }
    Ok(())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A machine with OVMF, and variables of its own.
fn machine(context: &Context, memory: &str) -> Result<Recipe, Failure> {
    let own = context.folder().join("variables.fd");
    fs::copy(VARIABLES, &own).or_fail(format_args!("cannot copy {VARIABLES}"))?;
    let flash = |unit: u32, file: &str, more: &str| {
        format!("if=pflash,unit={unit},format=raw,file={file}{more}")
    };
    let code = flash(0, CODE, ",readonly=on");
    let own = flash(1, &own.display().to_string().replace(',', ",,"), "");
    Ok(context
        .guest("node")
        .memory(memory)
        .arguments(&["-drive", &code, "-drive", &own]))
}
