//! Removals of containers that are under way are waited for before the supervisor ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use claw_core::{Generation, InstanceId};
use claw_drivers::container::ContainerDriver;
use tokio::time::{Instant, sleep};

/// An engine that is slow or away is not waited for longer than this; what is left is removed by
/// the next supervisor.
const LIMIT: Duration = Duration::from_secs(5);

/// Between two looks.
const PACE: Duration = Duration::from_millis(20);

/// Waits until nothing is left of containers that were released. Those that are to run on are not
/// waited for.
pub(crate) async fn settle(data_dir: &Path, containers: &ContainerDriver) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let records = data_dir.join("containers");
        let looking = tokio::task::spawn_blocking(move || instances(&records));
        let left = looking.await.unwrap_or_default();
        let removing = left.iter().filter(|instance| !containers.owns(instance));
        let count = removing.count();
        if count == 0 {
            return;
        }
        if Instant::now() > deadline {
            tracing::warn!(
                count,
                "containers are not removed yet; the next supervisor does it"
            );
            return;
        }
        sleep(PACE).await;
    }
}

/// The instances that the driver has a record of; see `claw_drivers::container`. Blocks.
fn instances(records: &Path) -> Vec<InstanceId> {
    let agents = entries(records).into_iter();
    let files = agents.flat_map(|agent| entries(&agent));
    files.filter_map(|file| instance(&file)).collect()
}

fn instance(file: &Path) -> Option<InstanceId> {
    let is_record = file
        .extension()
        .is_some_and(|extension| extension == "json");
    let generation = file
        .file_stem()
        .filter(|_| is_record)?
        .to_str()?
        .parse()
        .ok()?;
    let agent = file.parent()?.file_name()?.to_str()?.parse().ok()?;
    Some(InstanceId {
        agent,
        generation: Generation(generation),
    })
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_its_instance() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("web")).unwrap();
        for name in ["7.json", "7.cursor", "8.json.new", "x.json"] {
            std::fs::write(dir.path().join("web").join(name), "").unwrap();
        }
        let found: Vec<String> = instances(dir.path())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["web#7"]);
        assert!(instances(&dir.path().join("none")).is_empty());
    }
}
