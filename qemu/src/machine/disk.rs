//! The disks of a machine.

use crate::{Failure, OrFail};
use std::fs::File;
use std::path::Path;

/// One disk of a machine.
#[derive(Clone, Debug)]
pub struct Disk {
    pub(super) backing: String,
    pub(super) cache: &'static str,
    pub(super) read_only: bool,
    pub(super) model: Option<&'static str>,
    pub(super) properties: String,
}

impl Disk {
    /// A raw disk in the file at `path`.
    pub fn file(path: &Path) -> Self {
        // A comma ends an option of QEMU's; two are one in a value.
        let path = path.display().to_string().replace(',', ",,");
        Self::backed_by(&format!("format=raw,file={path}"))
    }

    /// A disk with any backing that `-drive` knows: `driver=null-co,size=…`.
    pub fn backed_by(backing: &str) -> Self {
        Self {
            backing: backing.to_owned(),
            cache: "writeback",
            read_only: false,
            model: None,
            properties: String::new(),
        }
    }

    /// The serial number the guest sees.
    #[must_use]
    pub fn serial(self, serial: &str) -> Self {
        self.property(&format!("serial={serial}"))
    }

    /// QEMU's cache mode. The default, `writeback`, is a disk with a volatile
    /// cache that honours a flush; `writethrough` is one without.
    #[must_use]
    pub fn cache(mut self, mode: &'static str) -> Self {
        self.cache = mode;
        self
    }

    /// A disk that refuses writes and says so.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Another disk than virtio-blk: `nvme`.
    #[must_use]
    pub fn model(mut self, model: &'static str) -> Self {
        self.model = Some(model);
        self
    }

    /// Any other property of the disk's device: `num-queues=1`.
    #[must_use]
    pub fn property(mut self, property: &str) -> Self {
        self.properties.push(',');
        self.properties.push_str(property);
        self
    }
}

/// A new disk of `bytes` zero bytes at `path` that takes no room until written.
pub fn scratch_disk(path: &Path, bytes: u64) -> Result<(), Failure> {
    File::create(path)
        .and_then(|file| file.set_len(bytes))
        .or_fail(format_args!("cannot make the disk {}", path.display()))
}
