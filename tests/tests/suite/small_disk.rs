//! A disk that can be filled without harm to anybody else.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, umount};

use crate::fleet::until;

/// A small disk of its own.
pub(crate) struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, with a word, when this user may mount nothing.
    pub(crate) fn mounted(size: &str, test: &str) -> Option<Self> {
        let folder = tempfile::Builder::new()
            .prefix("claw-disk-")
            .tempdir()
            .unwrap();
        let options = format!("size={size},mode=755");
        let mounted = nix::mount::mount(
            Some("tmpfs"),
            folder.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            Some(options.as_str()),
        );
        match mounted {
            Ok(()) => Some(Self { folder }),
            Err(error) => {
                eprintln!("SKIP {test}: a small disk cannot be mounted: {error}");
                None
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes until nothing fits any more.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = until("the small disk is idle", || {
            match umount(self.folder.path()) {
                Err(nix::Error::EBUSY) => None,
                other => Some(other),
            }
        });
        unmounted.unwrap();
    }
}
