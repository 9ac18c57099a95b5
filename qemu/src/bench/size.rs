//! How large a target is, and the smallest machine that it serves from.

use super::target::{self, NULL, Place, Target};
use crate::machine::Disk;
use crate::network::Switch;
use crate::{Client, Failure, Mac, OrFail};
use std::path::Path;
use std::time::Duration;

/// How long a machine may take to serve: longer than any that serves needs.
const SERVES_WITHIN: Duration = Duration::from_secs(40);
/// How long its first read may take.
const READS_WITHIN: Duration = Duration::from_secs(10);

/// What is looked for between: a machine of `least` MiB is not expected to serve, one of
/// `most` does; the answer is exact to `step`.
struct Search {
    least: u32,
    most: u32,
    step: u32,
}

/// The size of a target.
#[derive(Clone, Debug)]
pub struct Size {
    /// Who.
    pub target: Target,
    /// The files that it boots from.
    pub files: Vec<File>,
    /// MiB of the smallest machine that serves.
    pub memory_mib: u32,
}

/// A file that is booted.
#[derive(Clone, Debug)]
pub struct File {
    /// What it is.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: u64,
}

impl Size {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Weighs `target`; every try is told to `say`.
pub(super) fn size(
    place: &Place,
    target: Target,
    say: &mut dyn FnMut(&str),
) -> Result<Size, Failure> {
    let recipe = target::recipe(place, target, target.file_name(), "")?;
    let kernel = match target {
        Target::Ublade => "boot file",
        _ => "Debian's cloud kernel",
    };
    let files = [
        (kernel, recipe.kernel_path()),
        ("vblade, busybox, drivers", recipe.initrd_path()),
    ];
    let files = files
        .into_iter()
        .filter_map(|(name, path)| path.map(|path| (name, path)))
        .map(|(name, path)| {
            let bytes = bytes_of(path)?;
            Ok(File { name, bytes })
        })
        .collect::<Result<Vec<File>, Failure>>()?;
    let Search {
        mut least,
        mut most,
        step,
    } = match target {
        Target::Ublade => Search {
            least: 1,
            most: 17,
            step: 1,
        },
        _ => Search {
            least: 32,
            most: 160,
            step: 4,
        },
    };
    while most - least > step {
        let middle = least + (most - least) / step / 2 * step;
        say(&format!("{}: {middle} MiB", target.name()));
        if serves(place, target, middle)? {
            most = middle;
        } else {
            least = middle;
        }
    }
    if !serves(place, target, most)? {
        return Err(Failure::new(format!(
            "{} does not serve from {most} MiB",
            target.name()
        )));
    }
    Ok(Size {
        target,
        files,
        memory_mib: most,
    })
}

fn bytes_of(path: &Path) -> Result<u64, Failure> {
    let about = std::fs::metadata(path).or_fail(format_args!("no {}", path.display()))?;
    Ok(about.len())
}

/// Whether a machine of so many MiB answers and reads.
fn serves(place: &Place, target: Target, mib: u32) -> Result<bool, Failure> {
    let switch = Switch::new();
    let mut client = Client::new(&switch, Mac::local(1));
    let name = format!("{}-{mib}M", target.file_name());
    let mut machine = target::recipe(place, target, &name, "")?
        .memory(&format!("{mib}M"))
        .disk(Disk::backed_by(NULL).serial("null"))
        .nic(target::card(&switch))
        .start(&place.folder)?;
    if machine.wait_for_first_answer(SERVES_WITHIN).is_err() {
        return Ok(false);
    }
    let Ok(mut exports) = client.wait_for_exports(1, READS_WITHIN) else {
        return Ok(false);
    };
    Ok(client.identify(&exports.remove(0), READS_WITHIN).is_ok())
}
