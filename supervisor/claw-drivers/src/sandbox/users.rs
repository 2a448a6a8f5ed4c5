//! Users of the host that are agents', one each.
//!
//! They are in no user database: what belongs to one is no other's to read, and nothing more is
//! needed. A number once given stays its agent's, over restarts of supervisor and machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use claw_core::AgentName;

/// The name below the data directory.
const FILE: &str = "users.json";

/// The numbers that agents of a project have been given.
#[derive(Debug)]
pub(crate) struct AgentUsers {
    path: PathBuf,
    range: RangeInclusive<u32>,
    given: Mutex<Given>,
    /// Held while the file is written, so that those who wait share the next writing.
    writing: Mutex<u64>,
}

#[derive(Debug, Default)]
struct Given {
    numbers: BTreeMap<AgentName, u32>,
    /// How often one was given.
    version: u64,
    read: bool,
}

/// Why there is no number for an agent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoUser {
    #[error("cannot keep the users of agents in {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "all users of the range {from}-{to} belong to agents; widen `security.sandbox.uid_range`"
    )]
    Exhausted { from: u32, to: u32 },
}

impl AgentUsers {
    pub(crate) fn new(data_dir: &Path, range: RangeInclusive<u32>) -> Self {
        Self {
            path: data_dir.join(FILE),
            range,
            given: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    /// The number of an agent, written down before it is returned. Blocks.
    pub(crate) fn of(&self, agent: &AgentName, project: &str) -> Result<u32, NoUser> {
        let failed = |source| NoUser::File {
            path: self.path.clone(),
            source,
        };
        let (number, version) = {
            let mut given = lock(&self.given);
            if !given.read {
                given.numbers = read(&self.path).map_err(failed)?;
                given.read = true;
            }
            if let Some(number) = given.numbers.get(agent).copied() {
                (number, given.version)
            } else {
                let number = self.free(&given.numbers, agent, project)?;
                given.numbers.insert(agent.clone(), number);
                given.version += 1;
                (number, given.version)
            }
        };
        self.write_down(version).map_err(failed)?;
        Ok(number)
    }

    /// One that no agent has. Where the search begins depends on the project, so that two projects
    /// of one machine hardly meet.
    fn free(
        &self,
        given: &BTreeMap<AgentName, u32>,
        agent: &AgentName,
        project: &str,
    ) -> Result<u32, NoUser> {
        let (from, to) = (*self.range.start(), *self.range.end());
        let size = u64::from(to.saturating_sub(from)) + 1;
        let begin = crate::process::hash(format!("{project}/{agent}").as_bytes()) % size;
        (0..size)
            .filter_map(|step| u32::try_from((begin + step) % size).ok())
            .map(|offset| from + offset)
            .find(|number| !given.values().any(|taken| taken == number))
            .ok_or(NoUser::Exhausted { from, to })
    }

    fn write_down(&self, version: u64) -> io::Result<()> {
        let mut written = lock(&self.writing);
        if *written >= version {
            return Ok(());
        }
        let (text, version) = {
            let given = lock(&self.given);
            (serde_json::to_vec(&given.numbers)?, given.version)
        };
        let fresh = self.path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(&text)?;
        file.sync_data()?;
        std::fs::rename(&fresh, &self.path)?;
        if let Some(dir) = self.path.parent() {
            File::open(dir)?.sync_all()?;
        }
        *written = version;
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<AgentName, u32>> {
    match std::fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// What is under these locks is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> AgentName {
        text.parse().unwrap()
    }

    #[test]
    fn a_number_stays_with_its_agent_and_is_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let first = AgentUsers::new(dir.path(), 200_000..=200_002);
        let numbers = ["a", "b", "c"].map(|agent| first.of(&name(agent), "p").unwrap());
        let mut different = numbers.to_vec();
        different.sort_unstable();
        assert_eq!(different, [200_000, 200_001, 200_002]);
        let second = AgentUsers::new(dir.path(), 200_000..=200_002);
        for (agent, number) in ["c", "b", "a"].into_iter().zip(numbers.iter().rev()) {
            assert_eq!(second.of(&name(agent), "p").unwrap(), *number);
        }
        let refused = second.of(&name("d"), "p").unwrap_err();
        assert!(refused.to_string().contains("200000-200002"), "{refused}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_no_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        let users = AgentUsers::new(dir.path(), 200_000..=265_535);
        assert!(matches!(
            users.of(&name("a"), "p"),
            Err(NoUser::File { .. })
        ));
    }
}
