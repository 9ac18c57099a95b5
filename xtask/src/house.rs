//! Where things are.

use qemu::{Failure, OrFail};
use std::fs::{self, File, TryLockError};
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

    /// Keeps `target/NAME` for whoever holds what this returns: two runs in it would
    /// clear each other's files away. The lock goes with its process, however it ends.
    ///
    /// # Errors
    /// If somebody else holds it.
    pub fn alone_in(&self, name: &str) -> Result<Alone, Failure> {
        let path = self.root.join("target").join(format!("{name}.lock"));
        let place = path.display();
        let lock = File::create(&path).or_fail(format_args!("cannot make {place}"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Alone { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Failure::new(format!(
                "another run is at work in target/{name} of this checkout: wait for its end, or \
                 work in a clone of its own"
            ))),
            Err(TryLockError::Error(error)) => {
                Err(Failure::new(format!("cannot lock {place}: {error}")))
            }
        }
    }

    /// `path` as a person in the checkout would type it.
    pub fn short<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

/// A folder of `target/` kept for one run. See [`House::alone_in`].
pub struct Alone {
    _lock: File,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_kept_for_one_run_and_free_after_it() {
        let root = std::env::temp_dir().join(format!("ublade-house-{}", std::process::id()));
        fs::create_dir_all(root.join("target")).unwrap();
        let house = House { root: root.clone() };
        let first = house.alone_in("test").unwrap();
        let refused = house.alone_in("test").err().unwrap();
        assert!(refused.sentence().contains("target/test"));
        assert!(house.alone_in("run").is_ok());
        drop(first);
        assert!(house.alone_in("test").is_ok());
        fs::remove_dir_all(root).unwrap();
    }
}
