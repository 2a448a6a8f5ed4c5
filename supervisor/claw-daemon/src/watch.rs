//! Applies the fleet file when it changes on disk.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;
use tokio::sync::mpsc;

use crate::config::Reload;
use crate::reload::{ConfigSource, Reloader};
use crate::signals::report;

/// Editors write in several steps; a change is looked at when the folder has been quiet this long.
const QUIET: Duration = Duration::from_millis(250);

/// A file is complete when it is closed or renamed. Writes themselves are left out: the journal
/// and the logs of agents may lie in the same folders, and each of their lines would wake us.
const CHANGES: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MOVE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ONLYDIR);

/// How many tidings may wait to be looked at; the kernel's queue holds more.
const WAITING: usize = 16;

/// Watches the folders of the fleet file and of all it includes, and applies what changes.
/// Folders are watched, not files, because editors replace files by renaming.
///
/// # Errors
///
/// The kernel gives no watch, or there is no thread for it.
pub(crate) fn start(reloader: Reloader) -> io::Result<()> {
    let mut folders = Folders::watch(&reloader)?;
    tokio::spawn(async move {
        let mut seen = fingerprint(&reloader).await;
        while folders.changed().await.is_some() {
            while let Ok(more) = tokio::time::timeout(QUIET, folders.changed()).await {
                if more.is_none() {
                    return;
                }
            }
            let now = fingerprint(&reloader).await;
            if now != seen && reloader.current().supervisor.reload != Reload::Off {
                seen = now;
                report(reloader.apply(ConfigSource::File).await);
                if let Err(error) = folders.follow(&reloader) {
                    tracing::warn!(%error, "an included folder cannot be watched");
                }
            }
        }
    });
    Ok(())
}

/// What the kernel had to tell.
#[derive(Debug)]
enum Told {
    /// Something happened to a file of this name.
    File(Vec<u8>),
    /// The kernel's queue was too short: nobody knows what happened.
    Overflow,
}

/// The watched folders, and the files in them that matter.
struct Folders {
    inotify: Arc<OwnedFd>,
    told: mpsc::Receiver<Told>,
    watched: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
}

impl Folders {
    fn watch(reloader: &Reloader) -> io::Result<Self> {
        let inotify = Arc::new(init(CreateFlags::CLOEXEC)?);
        let (teller, told) = mpsc::channel(WAITING);
        let source = Arc::clone(&inotify);
        std::thread::Builder::new()
            .name("fleet-watch".to_owned())
            .spawn(move || listen(&source, &teller))?;
        let mut folders = Self {
            inotify,
            told,
            watched: BTreeSet::new(),
            files: BTreeSet::new(),
        };
        folders.follow(reloader)?;
        Ok(folders)
    }

    /// Watches the folders that the configuration now in force reads from.
    fn follow(&mut self, reloader: &Reloader) -> io::Result<()> {
        self.files = reloader.current().files.iter().cloned().collect();
        for folder in self.files.iter().filter_map(|file| file.parent()) {
            if !self.watched.contains(folder) {
                add_watch(&*self.inotify, of(folder), CHANGES)?;
                self.watched.insert(folder.to_owned());
            }
        }
        Ok(())
    }

    /// Waits until something happens to a file of the configuration; `None` when nobody listens
    /// to the kernel any more.
    async fn changed(&mut self) -> Option<()> {
        loop {
            match self.told.recv().await? {
                Told::Overflow => return Some(()),
                Told::File(name) if self.concerns(&name) => return Some(()),
                Told::File(_) => {}
            }
        }
    }

    /// Kubernetes swaps a symlink named `..data` under files that stay.
    fn concerns(&self, name: &[u8]) -> bool {
        let same = |file: &PathBuf| file.file_name().is_some_and(|own| own.as_bytes() == name);
        name.starts_with(b"..") || self.files.iter().any(same)
    }
}

/// Passes on what the kernel tells until nobody wants it. The thread of its own is what a
/// descriptor of this kind costs without `unsafe`; it sleeps in the kernel.
fn listen(inotify: &OwnedFd, teller: &mpsc::Sender<Told>) {
    let mut buffer = [const { MaybeUninit::uninit() }; 4096];
    let mut reader = Reader::new(inotify, &mut buffer);
    loop {
        let told = match reader.next() {
            Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => Told::Overflow,
            Ok(event) => match event.file_name() {
                Some(name) => Told::File(name.to_bytes().to_owned()),
                // Of a watched folder itself: it is gone, and its files were told of.
                None => continue,
            },
            Err(Errno::INTR) => continue,
            Err(_unreadable) => return,
        };
        if teller.blocking_send(told).is_err() {
            return;
        }
    }
}

/// The parent of a bare file name is the empty path, which the kernel does not take.
fn of(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}

/// The contents of all files the configuration came from: an event that changes none of them
/// (a touched time stamp) is no change.
async fn fingerprint(reloader: &Reloader) -> Vec<Option<Vec<u8>>> {
    let files = reloader.current().files.clone();
    let read = move || files.iter().map(|file| std::fs::read(file).ok()).collect();
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}
