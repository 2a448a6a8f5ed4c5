//! Applies the fleet file when it changes on disk.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use notify::{Event, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::config::Reload;
use crate::reload::{ConfigSource, Reloader};
use crate::signals::report;

/// Editors write in several steps; a change is looked at when the folder has been quiet this long.
const QUIET: Duration = Duration::from_millis(250);

/// Watches the folders of the fleet file and of all it includes, and applies what changes.
/// Folders are watched, not files, because editors replace files by renaming.
///
/// # Errors
///
/// The kernel gives no watch.
pub(crate) fn start(reloader: Reloader) -> notify::Result<()> {
    let (changed, mut changes) = mpsc::channel::<()>(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // A full channel already says that something changed.
            changed.try_send(()).ok();
        }
    })?;
    let mut watched = BTreeSet::new();
    follow(&mut watcher, &mut watched, &reloader)?;
    tokio::spawn(async move {
        let mut seen = fingerprint(&reloader).await;
        while changes.recv().await.is_some() {
            while tokio::time::timeout(QUIET, changes.recv())
                .await
                .is_ok_and(|more| more.is_some())
            {}
            let now = fingerprint(&reloader).await;
            if now != seen && reloader.current().supervisor.reload != Reload::Off {
                seen = now;
                report(reloader.apply(ConfigSource::File).await);
                if let Err(error) = follow(&mut watcher, &mut watched, &reloader) {
                    tracing::warn!(%error, "an included folder cannot be watched");
                }
            }
        }
    });
    Ok(())
}

/// Watches the folders that the configuration now in force reads from.
fn follow(
    watcher: &mut impl Watcher,
    watched: &mut BTreeSet<PathBuf>,
    reloader: &Reloader,
) -> notify::Result<()> {
    for folder in folders(reloader) {
        if watched.insert(folder.clone()) {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        }
    }
    Ok(())
}

fn folders(reloader: &Reloader) -> BTreeSet<PathBuf> {
    let current = reloader.current();
    current
        .files
        .iter()
        .filter_map(|file| file.parent())
        .map(PathBuf::from)
        .collect()
}

/// The contents of all files the configuration came from: an event that changes none of them
/// (a log beside the fleet file, a touched time stamp) is no change.
async fn fingerprint(reloader: &Reloader) -> Vec<Option<Vec<u8>>> {
    let files = reloader.current().files.clone();
    let read = move || files.iter().map(|file| std::fs::read(file).ok()).collect();
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}
