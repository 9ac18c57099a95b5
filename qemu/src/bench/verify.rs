//! Right answers: a mixed load on a disk that keeps what is written.

use super::load::{Access, Contents, Load, Order, Trouble, Until};
use super::target::{Place, Serving, Target, WINDOW_SECTORS};
use crate::Failure;
use crate::machine::{Disk, scratch_disk};
use std::time::Duration;

/// How long the disk is written and read.
const VERIFY: Duration = Duration::from_millis(2_500);

/// What a target made of it, every read verified.
#[derive(Clone, Copy, Debug)]
pub struct Verified {
    /// Who.
    pub target: Target,
    /// The load.
    pub load: Load,
    /// Requests answered.
    pub requests: u64,
    /// What went wrong with answers.
    pub trouble: Trouble,
}

/// A mixed load at random places of a file.
pub(super) fn verify(place: &Place, target: Target) -> Result<Verified, Failure> {
    let load = Load {
        access: Access::Mixed,
        order: Order::Random,
        sectors: 8,
        depth: 32,
    };
    let path = place.folder.join(format!("{}.img", target.file_name()));
    scratch_disk(&path, WINDOW_SECTORS * 512)?;
    let disk = Disk::file(&path).serial("file");
    let contents = Contents::kept(load, WINDOW_SECTORS);
    let mut serving = Serving::start_over(place, target, "", None, disk, contents)?;
    let outcome = serving.drive(load, Until::Time(VERIFY))?;
    Ok(Verified {
        target,
        load,
        requests: outcome.requests,
        trouble: outcome.trouble,
    })
}
