//! The rival: Debian's cloud kernel, busybox and `vblade`, as small as they get.
//!
//! It is what a user would run instead of a node. It gets what its own README
//! advises (large socket buffers), a window as large as ours, and no mitigations;
//! its disk is the same virtio disk behind the same driver interface.

use crate::initiator::{Kernel, Parts};
use crate::packages::Debs;
use crate::{Failure, Recipe};

const TOOLS: [&str; 3] = ["busybox-static", "libc6", "vblade"];

const PARTS: Parts = Parts {
    init: include_str!("../../guest/rival"),
    words: "",
    programs: &["vblade"],
    aliases: &[],
    drivers: &["virtio_pci", "virtio_net", "virtio_blk"],
    drivers_aside: &["brd"],
};

/// A machine that serves its first disk on its first card with `vblade OPTIONS`.
/// What it needs is fetched and built if it is not there yet.
pub(super) fn recipe(name: &str, debs: &Debs, options: &str) -> Result<Recipe, Failure> {
    let kernel = Kernel::fetch(debs)?;
    let tools = debs.unpacked("rival-tools", &TOOLS)?;
    let root = kernel.root(debs, "rival-root", &tools, &PARTS)?;
    Ok(Recipe::new(name)
        .kernel(&kernel.image)
        .initrd(&root)
        .append("console=ttyS0 loglevel=2 panic=-1 mitigations=off net.ifnames=0 rdinit=/init")
        .append(&format!("OPTIONS={options}")))
}
