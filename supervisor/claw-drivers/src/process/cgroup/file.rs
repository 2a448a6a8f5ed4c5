//! Reading and writing the files of a cgroup.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why a cgroup could not be made, limited, entered or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    /// `mkdir` failed.
    #[error("cannot make the cgroup {path}")]
    Make {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A control file did not take a value.
    #[error("cannot write `{value}` to {path}")]
    Write {
        path: PathBuf,
        value: String,
        #[source]
        source: io::Error,
    },
    /// A control file could not be opened or read.
    #[error("cannot open {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl CgroupError {
    /// The error number of the system call.
    pub(crate) fn errno(&self) -> i32 {
        self.io().raw_os_error().unwrap_or(0)
    }

    /// The error of the system call.
    pub(crate) const fn io(&self) -> &io::Error {
        match self {
            Self::Make { source, .. } | Self::Write { source, .. } | Self::Open { source, .. } => {
                source
            }
        }
    }
}

/// How often a group is tried to be made. Another supervisor that ends removes the directory above
/// ours when it is empty, perhaps between our making it and our using it.
const MAKE_ATTEMPTS: u32 = 16;

/// Makes a group and the directories above it; one that is there already is taken as it is.
pub(crate) fn make(path: &Path) -> Result<(), CgroupError> {
    let mut made = fs::create_dir(path);
    for _ in 1..MAKE_ATTEMPTS {
        match &made {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                made = fs::create_dir_all(path);
            }
            Ok(()) | Err(_) => break,
        }
    }
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(CgroupError::Make {
            path: path.to_owned(),
            source: error,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a value to a control file, in one `write`, as cgroupfs demands.
pub(crate) fn write(group: &Path, file: &str, value: &str) -> Result<(), CgroupError> {
    let path = group.join(file);
    let written = File::options()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|source| CgroupError::Write {
        path,
        value: value.to_owned(),
        source,
    })
}

/// Opens a control file for writing.
pub(crate) fn open(group: &Path, file: &str) -> Result<File, CgroupError> {
    let path = group.join(file);
    File::options()
        .write(true)
        .open(&path)
        .map_err(|source| CgroupError::Open { path, source })
}

/// The text of a short control file, in as few system calls as there can be: each restart reads
/// some. What does not fit into a page is cut off.
fn short_text(group: &Path, file: &str) -> Option<String> {
    let mut text = vec![0; 4096];
    let count = File::open(group.join(file)).ok()?.read(&mut text).ok()?;
    text.truncate(count);
    String::from_utf8(text).ok()
}

/// The number a control file holds; `None` when it is missing or says `max`.
pub(crate) fn number(group: &Path, file: &str) -> Option<u64> {
    short_text(group, file)?.trim().parse().ok()
}

/// The number behind `key` in a control file of `key value` lines.
pub(crate) fn keyed(group: &Path, file: &str, key: &str) -> Option<u64> {
    let text = short_text(group, file)?;
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
}

/// The processes of one group, without those of the groups below it.
pub(crate) fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The group and all groups below it, deepest first: agents may make groups of their own.
pub(crate) fn subtree(group: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(group, &mut found);
    found
}

fn collect(group: &Path, found: &mut Vec<PathBuf>) {
    // A directory has a link from its parent, from itself, and from each directory in it.
    if fs::metadata(group).is_ok_and(|directory| directory.nlink() == 2) {
        found.push(group.to_owned());
        return;
    }
    let Ok(entries) = fs::read_dir(group) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
    found.push(group.to_owned());
}

/// The processes of the group and of all groups below it.
pub(crate) fn all_members(group: &Path) -> Vec<i32> {
    subtree(group)
        .iter()
        .flat_map(|group| members(group))
        .collect()
}

/// Removes the group and all groups below it; a missing one is no error.
pub(crate) fn remove(group: &Path) -> io::Result<()> {
    match fs::remove_dir(group) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    for group in subtree(group) {
        match fs::remove_dir(&group) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
