//! What is written down of an instance before anything of it exists.
//!
//! ```text
//!  <data_dir>/containers/<agent>/<generation>.json     whose the instance is, and where it stands
//!                               /<generation>.cursor   how far its output is in the log
//!                               /<generation>.notify/  its notification socket
//! ```
//!
//! The first version of the record is synced, directory included, before the engine is asked for
//! anything: a container that nobody knows of must not exist. Later versions only save work; they
//! are renamed into place and not synced.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use claw_core::{AgentName, ExitReport, Generation, Image, InstanceId, RunId, Wall};
use serde::{Deserialize, Serialize};

use crate::log::LogPolicy;
use crate::sandbox::{Ports, Taken};

/// The longest record accepted; ours have less than two thousand bytes.
const LIMIT: u64 = 64 * 1024;

/// The agent's directory, the one of all, and the data directory, which holds the name of that.
const NEW_DIRECTORIES: usize = 3;

/// An instance that is a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) instance: InstanceId,
    pub(super) run: Option<RunId>,
    pub(super) boot_id: String,
    /// When this was first written.
    pub(super) at: Wall,
    pub(super) stage: Stage,
    /// The container's, once there is one.
    pub(super) id: Option<String>,
    /// The image's own id, which no later build or pull changes.
    pub(super) image: Option<String>,
    /// What the image was called when it was started.
    #[serde(default)]
    pub(super) reference: Option<String>,
    pub(super) log: LogPolicy,
    /// Whether it has a way to hosts through the supervisor.
    #[serde(default)]
    pub(super) listens: bool,
    /// Which of its connections take that way.
    #[serde(default)]
    pub(super) taken: Taken,
    /// The port of its loopback at which it finds language models.
    #[serde(default)]
    pub(super) models: Option<u16>,
    /// Where its output begins in the log, once that is open.
    pub(super) output: Option<OutputPlace>,
    /// Progress is reported at most this often; `None`: never.
    pub(super) progress: Option<Duration>,
    /// The signal that asks it to end.
    pub(super) stop_signal: i32,
    /// Whether it is to stand still.
    pub(super) pace: Pace,
}

impl Record {
    /// What is listened for in its network.
    pub(super) fn ports(&self) -> Ports {
        Ports {
            hosts: self.listens.then_some(self.taken),
            models: self.models,
        }
    }

    /// What it is made of, once that is known.
    pub(super) fn made_of(&self) -> Option<Image> {
        let (reference, digest) = self.reference.clone().zip(self.image.clone())?;
        Some(Image { reference, digest })
    }
}

/// Where an instance stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// The engine may have been asked to create it.
    Intended,
    /// It was created, and may have been started.
    Created,
    /// It runs, as far as was seen.
    Started {
        pid: u32,
        at: Wall,
    },
    Ended(ExitReport),
}

/// Where output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OutputPlace {
    pub(super) lane: Option<u32>,
    pub(super) from: u64,
}

/// Whether a container is to run or to stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Pace {
    Running,
    Frozen,
}

/// The records of a data directory.
#[derive(Debug, Clone)]
pub(super) struct Records {
    dir: PathBuf,
}

impl Records {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self {
            dir: data_dir.join("containers"),
        }
    }

    fn file(&self, instance: &InstanceId, kind: &str) -> PathBuf {
        self.dir
            .join(instance.agent.as_str())
            .join(format!("{}.{kind}", instance.generation))
    }

    /// Where the cursor of its output lies.
    pub(super) fn cursor(&self, instance: &InstanceId) -> PathBuf {
        self.file(instance, "cursor")
    }

    /// Where its notification socket lies.
    pub(super) fn notify(&self, instance: &InstanceId) -> PathBuf {
        self.file(instance, "notify")
    }

    pub(super) fn has(&self, instance: &InstanceId) -> bool {
        self.file(instance, "json").exists()
    }

    /// Writes the first version of a record, so that it survives a power cut. Blocks.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when there is one: the generation has run already.
    pub(super) fn intend(&self, record: &Record) -> io::Result<()> {
        let path = self.file(&record.instance, "json");
        let dir = path.parent().unwrap_or(&self.dir);
        let known = dir.is_dir();
        fs::create_dir_all(dir)?;
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        let written = serde_json::to_vec(record)
            .map_err(io::Error::from)
            .and_then(|bytes| file.write_all(&bytes))
            .and_then(|()| file.sync_all())
            .and_then(|()| sync_directories(dir, if known { 1 } else { NEW_DIRECTORIES }));
        if written.is_err() {
            // Half a record would say that the generation has run.
            fs::remove_file(&path).ok();
        }
        written
    }

    /// Replaces a record, whole or not at all. Blocks.
    pub(super) fn update(&self, record: &Record) -> io::Result<()> {
        let path = self.file(&record.instance, "json");
        let new = self.file(&record.instance, "json.new");
        fs::write(&new, serde_json::to_vec(record)?)?;
        fs::rename(new, path)
    }

    /// Reads a record; `None` when there is none, or none that can be understood. Blocks.
    pub(super) fn read(&self, instance: &InstanceId) -> Option<Record> {
        let mut bytes = Vec::new();
        let file = File::open(self.file(instance, "json")).ok()?;
        file.take(LIMIT).read_to_end(&mut bytes).ok()?;
        let read = serde_json::from_slice(&bytes);
        read.inspect_err(|error| {
            tracing::error!(%instance, %error, "the record of a container cannot be read");
        })
        .ok()
    }

    /// Removes everything that is written of an instance. Blocks.
    pub(super) fn remove(&self, instance: &InstanceId) {
        fs::remove_dir_all(self.notify(instance)).ok();
        fs::remove_file(self.cursor(instance)).ok();
        fs::remove_file(self.file(instance, "json.new")).ok();
        // Last: without it nobody would look for the others.
        fs::remove_file(self.file(instance, "json")).ok();
        let agent = self.dir.join(instance.agent.as_str());
        // Fails as long as other generations have records.
        fs::remove_dir(agent)
            .and_then(|()| fs::remove_dir(&self.dir))
            .ok();
    }

    /// Every instance with a record. Blocks.
    pub(super) fn all(&self) -> Vec<InstanceId> {
        let agents = names(&self.dir).into_iter();
        let agents = agents.filter_map(|name| name.parse::<AgentName>().ok());
        let of_agent = |agent: AgentName| {
            let files = names(&self.dir.join(agent.as_str())).into_iter();
            files.filter_map(move |name| {
                let generation = name.strip_suffix(".json")?.parse().ok()?;
                Some(InstanceId {
                    agent: agent.clone(),
                    generation: Generation(generation),
                })
            })
        };
        agents.flat_map(of_agent).collect()
    }
}

/// Makes a new name in a directory, and the names of that many directories with it, survive a
/// power cut.
fn sync_directories(dir: &Path, count: usize) -> io::Result<()> {
    for path in dir.ancestors().take(count) {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
