//! Which accelerator guests run on.
//!
//! That `/dev/kvm` can be opened says little: there are hosts where it starts
//! real-mode code and then dies on an ordinary kernel. So the question is put
//! the only way that counts, by starting the node's own kernel under KVM and
//! waiting for its first line. `UBLADE_ACCEL=tcg` or `kvm` answers instead.

use crate::machine::{BootFiles, Recipe};
use std::env;
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// How long a kernel may take to its first line under KVM. It takes a tenth of
/// a second; a KVM that needs longer would be no faster than emulation.
const FIRST_LINE_WITHIN: Duration = Duration::from_secs(2);

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// The processor.
    Kvm,
    /// QEMU's translator, one thread per processor of the guest.
    Tcg,
}

impl Accel {
    /// The accelerator that works here, asked once per process. `scratch` is a
    /// folder for the probe's console.
    pub fn choose(boot: &BootFiles, scratch: &Path) -> Self {
        static CHOSEN: OnceLock<Accel> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            match env::var("UBLADE_ACCEL").as_deref() {
                Ok("kvm") => return Self::Kvm,
                Ok("tcg") => return Self::Tcg,
                _ => {}
            }
            if kvm_runs(boot, scratch) {
                Self::Kvm
            } else {
                Self::Tcg
            }
        })
    }

    pub(crate) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "qemu64"],
        }
    }
}

impl std::fmt::Display for Accel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "software emulation",
        })
    }
}

fn kvm_runs(boot: &BootFiles, scratch: &Path) -> bool {
    let can_open = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok();
    can_open
        && Recipe::node("kvm-probe", boot)
            .accel(Accel::Kvm)
            .start(scratch)
            .and_then(|machine| machine.console().wait_for("\n", FIRST_LINE_WITHIN))
            .is_ok()
}
