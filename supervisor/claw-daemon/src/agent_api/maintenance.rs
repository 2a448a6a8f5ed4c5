//! What is done from time to time: the store is pruned, and what departed agents left goes.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use super::api::AgentApi;

/// How often versions of state that need not be kept are removed.
const PRUNING: Duration = Duration::from_secs(3600);

/// How long the virtual environments of an agent are kept when no agent of its name has any. Those
/// that an agent itself uses no more are its own to remove.
const UNUSED: Duration = Duration::from_secs(7 * 24 * 3600);

impl AgentApi {
    /// Prunes now and every hour, until the sockets are closed.
    pub(crate) fn maintain(&self) {
        let (store, closing) = (self.shared.store.clone(), self.shared.closing.clone());
        let api = self.clone();
        self.shared.tasks.spawn(async move {
            let mut hours = interval(PRUNING);
            hours.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    () = closing.cancelled() => return,
                    _ = hours.tick() => {}
                }
                match store.prune().await {
                    Ok(pruned) => tracing::debug!(?pruned, "the store was pruned"),
                    Err(error) => tracing::warn!(%error, "the store was not pruned"),
                }
                api.sweep_environments().await;
            }
        });
    }

    async fn sweep_environments(&self) {
        let endpoints = self.endpoints();
        let wanting = endpoints.iter().filter(|endpoint| {
            let spec = endpoint.lock().spec.clone();
            spec.launch.program.own_packages().is_some()
        });
        let kept: BTreeSet<String> = wanting
            .flat_map(|endpoint| [endpoint.identity(), endpoint.agent.clone()])
            .map(|name| name.to_string())
            .collect();
        let agents = self.shared.data_dir.join("agents");
        let sweeping = move || sweep(&agents, &kept, SystemTime::now());
        match tokio::task::spawn_blocking(sweeping).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "a virtual environment of a departed agent was not removed");
            }
            Err(error) => tracing::error!(%error, "virtual environments were not looked at"),
        }
    }
}

/// Removes the environments of all agents but those `kept`, if they are old. Blocks.
fn sweep(agents: &Path, kept: &BTreeSet<String>, now: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(agents)? {
        let entry = entry?;
        if kept.contains(&*entry.file_name().to_string_lossy()) {
            continue;
        }
        let environments = entry.path().join("environments");
        let Some(used) = last_use(&environments)? else {
            continue;
        };
        if now.duration_since(used).is_ok_and(|age| age >= UNUSED) {
            fs::remove_dir_all(&environments)?;
        }
    }
    Ok(())
}

/// When an environment of this folder was made or entered last; `None` if there is no folder.
fn last_use(environments: &Path) -> io::Result<Option<SystemTime>> {
    let mut last = match fs::symlink_metadata(environments) {
        Ok(found) => found.modified()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for entry in fs::read_dir(environments)? {
        let complete = entry?.path().join("complete");
        if let Ok(found) = fs::symlink_metadata(complete) {
            last = last.max(found.modified()?);
        }
    }
    Ok(Some(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_go_a_week_after_their_agent_unless_it_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let environments = |name: &str| dir.path().join(name).join("environments");
        for name in ["here", "gone"] {
            fs::create_dir_all(environments(name).join("abc")).unwrap();
            fs::write(environments(name).join("abc/complete"), "").unwrap();
        }
        fs::create_dir(dir.path().join("without")).unwrap();
        let kept = BTreeSet::from(["here".to_owned()]);
        let now = SystemTime::now();
        sweep(dir.path(), &kept, now).unwrap();
        assert!(environments("gone").is_dir());
        sweep(dir.path(), &kept, now + UNUSED + Duration::from_secs(60)).unwrap();
        assert!(!environments("gone").exists());
        assert!(environments("here").is_dir());
        assert!(dir.path().join("without").is_dir());
    }
}
