//! Which versions of its databases this program understands, for those who think of another one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::OpenFlags;

use crate::database::{self, Schema};
use crate::{journal, store};

/// A migration under way is waited for; it is one transaction a step.
const BUSY: Duration = Duration::from_secs(5);

/// The databases of a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// The journal of lifecycles.
    Journal,
    /// The store of state and events.
    Store,
}

/// The version of a database, beside the one that this program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaVersion {
    /// That of the file.
    pub found: i64,
    /// The newest that this program understands. It brings older files up to this one.
    pub known: i64,
}

/// Why the version of a database cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// It is something else.
    #[error("{} is a database of another program", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

impl Database {
    const fn schema(self) -> Schema {
        match self {
            Self::Journal => journal::SCHEMA,
            Self::Store => store::SCHEMA,
        }
    }

    /// Looks at the file at `path`, and changes nothing, also while a supervisor runs on it. `None`:
    /// there is none yet.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is a database of another program.
    pub fn version(self, path: &Path) -> Result<Option<SchemaVersion>, VersionError> {
        if !path.exists() {
            return Ok(None);
        }
        let failed = |source| VersionError::Read {
            path: path.to_owned(),
            source,
        };
        let conn =
            database::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, BUSY).map_err(failed)?;
        let application: i64 = conn
            .pragma_query_value(None, "application_id", |row| row.get(0))
            .map_err(failed)?;
        let schema = self.schema();
        if application != schema.application_id {
            return Err(VersionError::Foreign {
                path: path.to_owned(),
            });
        }
        Ok(Some(SchemaVersion {
            found: database::version_of(&conn).map_err(failed)?,
            known: schema.known(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, StoreOptions};

    #[test]
    fn the_version_of_a_database_in_use_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        assert_eq!(Database::Store.version(&path).unwrap(), None);
        let _store = Store::open(&path, StoreOptions::default()).unwrap();
        let known = store::SCHEMA.known();
        let version = SchemaVersion {
            found: known,
            known,
        };
        assert_eq!(Database::Store.version(&path).unwrap(), Some(version));
        assert!(matches!(
            Database::Journal.version(&path),
            Err(VersionError::Foreign { .. })
        ));
    }
}
