//! The journal is copied now and then, so that there is something to go back to.

use std::path::PathBuf;
use std::time::Duration;

use claw_core::Wall;
use claw_store::journal;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::data_dir::DataDir;

/// From one copy to the next.
const EVERY: Duration = Duration::from_secs(3600);

/// A start has other things to do, and a supervisor that dies early has nothing to add.
const AFTER_START: Duration = Duration::from_secs(60);

/// Where the journal lies, and where its copies go.
pub(crate) struct Backups {
    journal: PathBuf,
    directory: PathBuf,
}

impl Backups {
    pub(crate) fn of(data_dir: &DataDir) -> Self {
        Self {
            journal: data_dir.journal(),
            directory: data_dir.backups(),
        }
    }

    /// Copies the journal from time to time, as long as the runtime lives.
    pub(crate) fn start(self) {
        tokio::spawn(async move {
            let mut this = self;
            loop {
                sleep(this.due_in(Wall::now())).await;
                let copying = spawn_blocking(move || {
                    this.make(Wall::now());
                    this
                });
                match copying.await {
                    Ok(back) => this = back,
                    Err(error) => {
                        tracing::error!(%error, "the journal is not copied any more, by a bug");
                        return;
                    }
                }
                sleep(AFTER_START).await;
            }
        });
    }

    /// Copies the journal. Blocks.
    pub(crate) fn make(&self, now: Wall) {
        if let Err(error) = journal::back_up(&self.journal, &self.directory, now) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the journal was not copied"
            );
        }
    }

    fn due_in(&self, now: Wall) -> Duration {
        let last = journal::backups(&self.directory).into_iter().next();
        let since = last.and_then(|last| Duration::try_from(now.duration_since(last.at)).ok());
        since.map_or(AFTER_START, |since| {
            EVERY.saturating_sub(since).max(AFTER_START)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backups(directory: &std::path::Path) -> Backups {
        Backups {
            journal: directory.join("journal.db"),
            directory: directory.to_owned(),
        }
    }

    #[test]
    fn a_copy_is_due_an_hour_after_the_last_and_never_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let backups = backups(directory.path());
        let now: Wall = "2026-11-22T10:30:00Z".parse().unwrap();
        assert_eq!(backups.due_in(now), AFTER_START);
        let copied = |name: &str| std::fs::write(directory.path().join(name), "").unwrap();
        copied("journal-20261122T073000Z.db");
        assert_eq!(backups.due_in(now), AFTER_START);
        copied("journal-20261122T100000Z.db");
        assert_eq!(backups.due_in(now), Duration::from_secs(1800));
        // The clock was set back since.
        copied("journal-20261123T100000Z.db");
        assert_eq!(backups.due_in(now), AFTER_START);
    }
}
