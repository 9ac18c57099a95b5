//! A node whose disks are SATA drives on an AHCI controller.

use super::disks::{self, LONG, flow};
use super::world::{self, CLIENT, blame};
use crate::client::Client;
use crate::{Context, Disk, Failure, Recipe, Report};

const MIB: u64 = 1 << 20;
const SECTORS: usize = 2048;

/// A drive that is well, beside a CD-ROM that is none of ours; then one with a bad
/// sector, and a second drive on the same controller that does not notice.
pub(super) fn sata(context: &mut Context) -> Result<Report, Failure> {
    let mut report = Report::new();
    let with_cd = |recipe: Recipe| recipe.arguments(&["-device", "ide-cd,bus=ide.1"]);
    let sentence = "ahci: port";
    disks::keeps_what_is_written(context, &mut report, "ide-hd", with_cd, sentence)?;

    let switch = context.switch("errors")?;
    let mut client = Client::new(&switch, CLIENT);
    let well = context.disk("well", MIB)?;
    let node = disks::with_a_bad_sector(context, &switch, "ide-hd")?
        .disk(
            Disk::file(&well)
                .model("ide-hd")
                .serial("well")
                .property("bus=ide.1"),
        )
        .start(context.folder())?;
    // QEMU hangs a drive that names no port on the last one.
    let exports = world::exports(context, &node, &mut client, 2)?;
    let [well, bad] = [&exports[0], &exports[1]];
    let long = flow(context, u8::MAX);
    client
        .write_pattern(well, 0, SECTORS, LONG, long)
        .map_err(blame(&node))?;
    disks::only_the_bad_sector_fails(context, &node, &mut client, bad)?;
    client
        .check_pattern(well, 0, SECTORS, LONG, long)
        .map_err(blame(&node))?;
    Ok(report)
}
