//! Building an image from a folder.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;

use bollard::models::BuildInfo;
use bollard::query_parameters::BuildImageOptionsBuilder;
use bytes::Bytes;
use claw_core::spec::container::Build;
use claw_core::{SpawnError, SpawnStage};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::engine::Client;
use super::fault::EngineError;
use super::ignore::{Ignore, RULES};
use super::image::{STALL, still_there};
use super::progress::Teller;

/// Pieces of the folder on their way to the engine.
const IN_FLIGHT: usize = 16;

/// Their size.
const PIECE: usize = 64 * 1024;

/// Lines of the build's own output that an error tells.
const LAST_LINES: usize = 5;

/// Sends the folder to the engine and waits for the image.
pub(super) async fn build(
    client: &Client,
    image: &str,
    wanted: &Build,
    teller: &mut Teller,
) -> Result<(), SpawnError> {
    teller.tell(format!("building image {image}")).await;
    let context = wanted.context.clone();
    let opened = tokio::task::spawn_blocking(move || Ignore::read(&context));
    let ignore = match opened.await {
        Ok(read) => read.map_err(|error| folder(wanted, &error))?,
        // The runtime is ending.
        Err(_ending) => return Err(folder(wanted, &io::ErrorKind::Interrupted.into())),
    };
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let context = wanted.context.clone();
    let dockerfile = wanted.dockerfile.clone();
    let packing = tokio::task::spawn_blocking(move || {
        if let Err(error) = pack(&context, &dockerfile, &ignore, sender.clone()) {
            sender.blocking_send(Err(error)).ok();
        }
    });
    let body = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let mut options = BuildImageOptionsBuilder::new()
        .dockerfile(&wanted.dockerfile.to_string_lossy())
        .t(image)
        .rm(true)
        .forcerm(true)
        .buildargs(&wanted.args.clone().into_iter().collect::<HashMap<_, _>>());
    if let Some(target) = &wanted.target {
        options = options.target(target);
    }
    let body = bollard::body_try_stream(body);
    let built = client.docker.build_image(options.build(), None, Some(body));
    let mut built = pin!(built);
    let mut lines = Vec::new();
    let outcome = loop {
        let waited = tokio::time::timeout(STALL, teller.beat_or(built.next())).await;
        let Ok(next) = waited else {
            match still_there(client, image).await {
                Ok(()) => continue,
                Err(error) => break Err(error),
            }
        };
        match next {
            None => break Ok(()),
            Some(Ok(news)) => note(image, &news, &mut lines, teller).await,
            Some(Err(error)) => break Err(refused(wanted, &client.fault(error), &lines)),
        }
    };
    // It ends with the request, whose body it writes.
    packing.await.ok();
    outcome
}

async fn note(image: &str, news: &BuildInfo, lines: &mut Vec<String>, teller: &mut Teller) {
    let said = news.stream.as_deref().or(news.status.as_deref());
    for line in said.unwrap_or_default().lines() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if lines.len() == LAST_LINES {
            lines.remove(0);
        }
        lines.push(line.to_owned());
        if line.starts_with("Step ") {
            teller.tell(format!("building image {image}: {line}")).await;
        }
    }
}

fn refused(wanted: &Build, error: &EngineError, lines: &[String]) -> SpawnError {
    let refused = matches!(error, EngineError::Refused { .. });
    SpawnError {
        stage: if refused {
            SpawnStage::Image
        } else {
            SpawnStage::Engine
        },
        errno: 0,
        detail: format!(
            "the image could not be built from {}: {error}; the last lines of the build: {}",
            wanted.context.join(&wanted.dockerfile).display(),
            lines.join(" | ")
        ),
    }
}

fn folder(wanted: &Build, error: &io::Error) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Image,
        errno: error.raw_os_error().unwrap_or(0),
        detail: format!(
            "the folder {} of `build` cannot be read: {error}",
            wanted.context.display()
        ),
    }
}

/// Writes the folder as an archive, piece by piece. Blocks.
fn pack(
    context: &Path,
    dockerfile: &Path,
    ignore: &Ignore,
    sender: mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let pieces = Pieces { sender };
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(PIECE, pieces));
    archive.follow_symlinks(false);
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(context.join(&folder))? {
            let entry = entry?;
            let name = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            // The engine needs both, and leaves them out itself where the list says so.
            let needed = name == dockerfile || name == Path::new(RULES);
            if ignore.excludes(&name) && !needed {
                if kind.is_dir() && ignore.has_exceptions() {
                    folders.push(name);
                }
                continue;
            }
            if kind.is_dir() {
                archive.append_dir(&name, entry.path())?;
                folders.push(name);
            } else if kind.is_file() || kind.is_symlink() {
                archive.append_path_with_name(entry.path(), &name)?;
            }
        }
    }
    archive.into_inner()?.flush()
}

struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        let sent = self.sender.blocking_send(Ok(piece));
        // Nobody reads the body any more: the build has failed, and says why.
        sent.map_err(|_closed| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
