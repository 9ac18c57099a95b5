//! Where things are.

use qemu::{Failure, OrFail};
use std::fs;
use std::path::{Path, PathBuf};

/// The checkout.
pub struct House {
    root: PathBuf,
}

impl House {
    /// The checkout this program was built from.
    pub fn here() -> Self {
        // Cargo sets the variable when it runs us; the constant is for a
        // program that was started by hand.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .expect("xtask is a folder of the checkout");
        Self {
            root: root.to_path_buf(),
        }
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Packages and other things that are fetched once.
    pub fn cache(&self) -> PathBuf {
        self.root.join("target/cache")
    }

    /// The folder `target/NAME`, there and empty.
    pub fn fresh_folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.root.join("target").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .or_fail(format_args!("cannot clear {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).or_fail(format_args!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// `path` as a person in the checkout would type it.
    pub fn short<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}
