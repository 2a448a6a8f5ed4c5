//! What is wrong with a data directory, and what can be done about it while no supervisor runs.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use claw_core::Wall;
use claw_store::journal::{self, Backup, JournalError};
use claw_store::store::{self, OpenError};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::data_dir::{BACKUPS, CALLS, JOURNAL, STORE};

/// What was found of a data directory.
#[derive(Debug)]
pub struct Examination {
    /// Whether there is a journal.
    pub journal: bool,
    /// The last copy of it.
    pub backup: Option<Backup>,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Something that is wrong with a data directory.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The journal cannot be opened.
    #[error("{error}")]
    Journal {
        /// Why.
        error: JournalError,
        /// What can be done.
        remedy: Option<Remedy>,
    },
    /// A store of state and events, or of calls to models, cannot be opened.
    #[error(transparent)]
    Store(OpenError),
    /// Others than the owner can look into it.
    #[error("{} can be read by other users of this machine (mode {mode:o})", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// Why something was not mended.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    /// A file of the journal cannot be moved, copied or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A mode cannot be set.
    #[error("cannot set the mode of {}", path.display())]
    Mode {
        /// Of what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What brings a journal back.
#[derive(Debug)]
pub enum Remedy {
    /// A copy that is whole takes its place.
    Restore(Backup),
    /// What stood in its log alone is given up.
    AcceptLoss,
}

/// Looks at a data directory and changes nothing; one that is not there has no faults.
/// Blocks, at most some seconds for each database.
#[must_use]
pub fn examine(path: &Path) -> Examination {
    let backups = journal::backups(&path.join(BACKUPS));
    let mut faults = Vec::new();
    let journal = match journal::verify(&path.join(JOURNAL)) {
        Ok(there) => there,
        Err(error) => {
            let remedy = remedy(&error, &backups);
            faults.push(Fault::Journal { error, remedy });
            true
        }
    };
    for name in [STORE, CALLS] {
        let verified = store::verify(&path.join(name));
        faults.extend(verified.err().map(Fault::Store));
    }
    if let Ok(found) = fs::metadata(path)
        && found.permissions().mode() & 0o066 != 0
    {
        let (path, mode) = (path.to_owned(), found.permissions().mode() & 0o777);
        faults.push(Fault::Open { path, mode });
    }
    Examination {
        journal,
        backup: backups.into_iter().next(),
        faults,
    }
}

fn remedy(error: &JournalError, backups: &[Backup]) -> Option<Remedy> {
    match error {
        JournalError::WalMissing { .. } => Some(Remedy::AcceptLoss),
        JournalError::Damaged { .. }
        | JournalError::NotAJournal { .. }
        | JournalError::DatabaseMissing { .. } => {
            let is_whole = |backup: &&Backup| matches!(journal::verify(&backup.path), Ok(true));
            let whole = backups.iter().find(is_whole);
            whole.cloned().map(Remedy::Restore)
        }
        JournalError::NotAFile { .. }
        | JournalError::NotWritable { .. }
        | JournalError::DiskFull { .. }
        | JournalError::TooNew { .. }
        | JournalError::Locked { .. }
        | JournalError::Io { .. }
        | JournalError::Sqlite { .. } => None,
    }
}

impl Fault {
    /// What [`Self::mend`] would do, in words; `None`: nothing.
    #[must_use]
    pub fn prospect(&self) -> Option<String> {
        match self {
            Self::Journal { remedy, .. } => match remedy.as_ref()? {
                Remedy::Restore(backup) => Some(format!(
                    "restores the copy of {}; what was recorded later is lost, and agents that were \
                     started later are ended and started anew",
                    backup.at
                )),
                Remedy::AcceptLoss => {
                    Some("goes on without what was recorded last, which is lost".to_owned())
                }
            },
            Self::Store(_) => None,
            Self::Open { .. } => Some("closes it to them".to_owned()),
        }
    }

    /// Whether it can be mended only while no supervisor runs: whoever does so owns the directory.
    #[must_use]
    pub const fn takes_ownership(&self) -> bool {
        match self {
            Self::Journal { .. } => true,
            Self::Store(_) | Self::Open { .. } => false,
        }
    }

    /// Mends it, and says what was done; `None` where nothing can be done. What is replaced is kept
    /// below the data directory.
    ///
    /// # Errors
    ///
    /// A file cannot be moved, copied or written.
    pub fn mend(&self, data_dir: &Path, now: Wall) -> Result<Option<String>, MendError> {
        let aside = || {
            let name = strtime::format("damaged-%Y%m%dT%H%M%SZ", &now.to_zoned(TimeZone::UTC));
            let name = name.expect("every part of the name is one of a time in UTC");
            data_dir.join(name)
        };
        let journal = data_dir.join(JOURNAL);
        match self {
            Self::Journal { remedy, .. } => match remedy {
                None => Ok(None),
                Some(Remedy::Restore(backup)) => {
                    let aside = aside();
                    journal::restore(&journal, backup, &aside)?;
                    Ok(Some(format!(
                        "the journal is that of {}; the damaged one is kept in {}",
                        backup.at,
                        aside.display()
                    )))
                }
                Some(Remedy::AcceptLoss) => {
                    let aside = aside();
                    journal::accept_lost_log(&journal, &aside)?;
                    Ok(Some(format!(
                        "the journal goes on without its log; as it was, it is kept in {}",
                        aside.display()
                    )))
                }
            },
            Self::Store(_) => Ok(None),
            Self::Open { path, .. } => {
                let root = rustix::process::geteuid().is_root();
                let mode = if root { 0o711 } else { 0o700 };
                fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|source| {
                    let path = path.clone();
                    MendError::Mode { path, source }
                })?;
                Ok(Some(format!("{} has mode {mode:o}", path.display())))
            }
        }
    }
}
