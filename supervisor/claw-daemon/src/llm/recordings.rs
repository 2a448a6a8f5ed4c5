//! Calls that were answered, one line of JSON each in `llm/recordings/<agent>.jsonl` of the data
//! directory: without personal data, and with the agent's secrets masked.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use claw_core::redact::{self, Redactor};
use claw_gateway::llm::cassette::{Cassette, NotARecording, Recorder, Recording};

use crate::config::Loaded;

/// The ending of a file of recordings.
const ENDING: &str = "jsonl";

/// Calls on their way to the disk. More than that come only when it is too slow, and are not kept.
const WAITING: usize = 64;

/// An agent's recordings end at this size, in bytes; nobody plays more of them.
const MOST: u64 = 256 << 20;

/// Writes recordings down, on a thread of its own.
pub(super) struct Recordings {
    /// Nothing is the last that is sent.
    waiting: SyncSender<Option<Recording>>,
    redactors: Arc<RwLock<Secrets>>,
    writing: Mutex<Option<JoinHandle<()>>>,
}

/// What masks the secrets of agents, by their name in the fleet file, as recordings have it.
pub(super) type Secrets = BTreeMap<String, Redactor>;

impl std::fmt::Debug for Recordings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recordings(…)")
    }
}

/// Why recordings cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum CassetteError {
    /// They cannot be read.
    #[error("the recordings in {} cannot be read", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is none of recordings.
    #[error("{} is no file of recordings", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where, and why.
        #[source]
        source: NotARecording,
    },
    /// There are none.
    #[error(
        "there are no recordings in {}; make some by a run with `llm: {{record: true}}`",
        path.display()
    )]
    Nothing {
        /// The folder.
        path: PathBuf,
    },
}

/// Where the recordings of a fleet are, below the directory of what is kept of its models.
pub(super) fn folder(dir: &Path) -> PathBuf {
    dir.join("recordings")
}

/// All recordings of a folder, those of each agent in their order. Blocks.
pub(super) fn cassette(folder: &Path) -> Result<Cassette, CassetteError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| CassetteError::Io { path, source }
    };
    let mut cassette = Cassette::default();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>().map_err(at(folder))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(at(folder)(error)),
    };
    let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == ENDING));
    files.sort();
    for path in files {
        let bytes = fs::read(&path).map_err(at(&path))?;
        let (whole, last) = bytes.split_at(end_of_lines(&bytes));
        let whole = str::from_utf8(whole).map_err(|error| {
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            at(&path)(error)
        })?;
        let added = cassette.add(whole);
        added.map_err(|source| CassetteError::Content {
            path: path.clone(),
            source,
        })?;
        // A supervisor that dies may leave a part of a line, and nothing else without an end.
        if !str::from_utf8(last).is_ok_and(|last| cassette.add(last).is_ok()) {
            tracing::warn!(
                "the last recording in {} is not whole and is left out",
                path.display()
            );
        }
    }
    if cassette.is_empty() {
        let path = folder.to_owned();
        return Err(CassetteError::Nothing { path });
    }
    Ok(cassette)
}

/// Where the last line that was written to its end has it.
fn end_of_lines(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|byte| *byte == b'\n');
    last.map_or(0, |last| last + 1)
}

impl Recordings {
    /// Begins to write to this folder, which is made with the first recording.
    ///
    /// # Errors
    ///
    /// There is no thread to be had for it.
    pub(super) fn start(folder: PathBuf) -> io::Result<Arc<Self>> {
        let (waiting, calls) = sync_channel(WAITING);
        let redactors = Arc::default();
        let writing = Writing {
            folder,
            redactors: Arc::clone(&redactors),
            files: BTreeMap::new(),
        };
        let thread = std::thread::Builder::new().name("claw-recordings".to_owned());
        let writing = thread.spawn(move || writing.run(&calls))?;
        Ok(Arc::new(Self {
            waiting,
            redactors,
            writing: Mutex::new(Some(writing)),
        }))
    }

    /// Waits until all that came before is written; nothing is recorded any more. Blocks.
    pub(super) fn close(&self) {
        let writing = self.writing.lock();
        let writing = writing.unwrap_or_else(PoisonError::into_inner).take();
        let Some(writing) = writing else { return };
        // It has gone by itself only if it has panicked.
        if self.waiting.send(None).is_err() || writing.join().is_err() {
            tracing::error!("calls of models are no longer recorded: what wrote them has failed");
        }
    }

    /// Masks these secrets from here on.
    pub(super) fn mask(&self, secrets: Secrets) {
        let redactors = self.redactors.write();
        *redactors.unwrap_or_else(PoisonError::into_inner) = secrets;
    }
}

/// The secrets of a fleet's agents. Replicas share their recordings, so what one of them was
/// granted is masked in those of all.
pub(super) fn secrets(loaded: &Loaded) -> Secrets {
    let mut values = BTreeMap::<String, Vec<String>>::new();
    for (name, spec) in &loaded.fleet.agents {
        let agent = loaded.replicas.identity(name).to_string();
        let granted = redact::values(&spec.launch);
        values.entry(agent).or_default().extend(granted);
    }
    let masked = values.into_iter();
    masked
        .filter_map(|(agent, values)| Some((agent, Redactor::new(values)?)))
        .collect()
}

impl Recorder for Recordings {
    fn keep(&self, recording: Recording) {
        match self.waiting.try_send(Some(recording)) {
            Ok(()) => {}
            Err(TrySendError::Full(lost)) => {
                let agent = lost.map(|lost| lost.agent);
                tracing::warn!(agent, "a call was not recorded: the disk is too slow");
            }
            Err(TrySendError::Disconnected(lost)) => {
                let agent = lost.map(|lost| lost.agent);
                tracing::warn!(
                    agent,
                    "a call was not recorded: nothing is written any more"
                );
            }
        }
    }
}

struct Writing {
    folder: PathBuf,
    redactors: Arc<RwLock<Secrets>>,
    files: BTreeMap<String, Open>,
}

struct Open {
    file: File,
    size: u64,
}

impl Writing {
    fn run(mut self, calls: &Receiver<Option<Recording>>) {
        while let Ok(Some(recording)) = calls.recv() {
            let agent = recording.agent.clone();
            let Some(redacted) = recording.redacted().map(|whole| self.masked(whole)) else {
                tracing::warn!(%agent, "a call was not recorded: not all of it can be read, so personal data in it might be kept");
                continue;
            };
            if let Err(error) = self.write(&redacted) {
                self.files.remove(&agent);
                tracing::warn!(%agent, %error, "a call was not recorded");
            }
        }
    }

    fn masked(&self, recording: Recording) -> Recording {
        let redactors = self.redactors.read();
        let redactors = redactors.unwrap_or_else(PoisonError::into_inner);
        match redactors.get(&recording.agent) {
            Some(redactor) => Recording {
                request: redactor.text(recording.request),
                answer: redactor.text(recording.answer),
                ..recording
            },
            None => recording,
        }
    }

    fn write(&mut self, recording: &Recording) -> io::Result<()> {
        let mut line = serde_json::to_string(recording)?;
        line.push('\n');
        let size = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let open = match self.files.remove(&recording.agent) {
            Some(open) => open,
            None => open(&self.folder, &recording.agent)?,
        };
        let open = self.files.entry(recording.agent.clone()).or_insert(open);
        if open.size.saturating_add(size) > MOST {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("its recordings have {MOST} bytes; delete them, or set `record: false`"),
            ));
        }
        open.file.write_all(line.as_bytes())?;
        open.size += size;
        Ok(())
    }
}

fn open(folder: &Path, agent: &str) -> io::Result<Open> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)?;
    let path = folder.join(agent).with_added_extension(ENDING);
    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)?;
    let size = end_of_lines(&fs::read(&path)?);
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    // What follows a part of a line would be lost with it.
    if size < file.metadata()?.len() {
        file.set_len(size)?;
    }
    Ok(Open { file, size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load_str};

    fn recording(agent: &str, prompt: &str) -> Recording {
        Recording {
            at: jiff::Timestamp::UNIX_EPOCH,
            agent: agent.to_owned(),
            run: None,
            path: "/v1/chat/completions".to_owned(),
            request_hash: "00ff".to_owned(),
            request: serde_json::json!({
                "model": "m", "messages": [{"role": "user", "content": prompt}],
            })
            .to_string(),
            status: 200,
            content_type: "application/json".to_owned(),
            answer: "{}".to_owned(),
        }
    }

    #[test]
    fn what_is_kept_has_neither_secrets_nor_personal_data_and_can_be_played() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        let recordings = Recordings::start(folder.clone()).unwrap();
        let redactor = Redactor::new(vec!["correct horse".to_owned()]).unwrap();
        recordings.mask([("coder".to_owned(), redactor)].into());
        let prompt = "mail ann@example.com: correct horse";
        recordings.keep(recording("coder", prompt));
        recordings.keep(recording("other", "hello"));
        recordings.close();
        let cassette = cassette(&folder).unwrap();
        assert_eq!(cassette.len(), 2);
        let kept = cassette.play("coder", "00ff").unwrap();
        assert!(
            kept.request.contains("mail [EMAIL]: *************"),
            "{}",
            kept.request
        );
        assert!(cassette.play("other", "00ff").is_some());
    }

    #[test]
    fn secrets_of_replicas_are_masked_in_what_they_record_together() {
        let file = "project: t\nversion: '1.0'\nagents:\n  coder: {command: [x], replicas: 2, secrets: [PHRASE], llm: {models: [m]}}\n\
            llm: {record: true, providers: {ollama: {models: [m]}}}\n";
        let environment = Environment::with([("PHRASE", "correct horse")]);
        let loaded = load_str(file, Path::new("openclaw.yaml"), &environment).unwrap();
        assert_eq!(loaded.fleet.agents.len(), 2);
        assert!(loaded.llm.as_ref().is_some_and(|llm| llm.record));
        let dir = tempfile::tempdir().unwrap();
        let recordings = Recordings::start(folder(dir.path())).unwrap();
        recordings.mask(secrets(&loaded));
        recordings.keep(recording("coder", "say correct horse"));
        recordings.close();
        let cassette = cassette(&folder(dir.path())).unwrap();
        let kept = cassette.play("coder", "00ff").unwrap();
        assert!(
            kept.request.contains("say *************"),
            "{}",
            kept.request
        );
    }

    #[test]
    fn a_recording_that_was_not_written_to_its_end_is_left_out_and_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        let record = |prompts: [&str; 2]| {
            let recordings = Recordings::start(folder.clone()).unwrap();
            for prompt in prompts {
                recordings.keep(recording("coder", prompt));
            }
            recordings.close();
        };
        record(["one", "two"]);
        let path = folder.join("coder.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        // The file ends within the two bytes of a letter.
        let mut broken = text.as_bytes()[..text.len() - 3].to_vec();
        broken.push(0xc3);
        fs::write(&path, broken).unwrap();
        assert_eq!(cassette(&folder).unwrap().len(), 1);
        record(["three", "four"]);
        let cassette = cassette(&folder).unwrap();
        let asked = || cassette.play("coder", "00ff").unwrap().request.clone();
        for prompt in ["one", "three", "four"] {
            assert!(asked().contains(prompt), "{prompt}");
        }
    }

    #[test]
    fn a_folder_without_recordings_says_how_to_make_some() {
        let dir = tempfile::tempdir().unwrap();
        let told = cassette(&dir.path().join("none")).unwrap_err().to_string();
        assert!(told.contains("record: true"), "{told}");
        fs::write(dir.path().join("a.jsonl"), "hello\n").unwrap();
        let error = cassette(dir.path()).unwrap_err();
        assert!(matches!(error, CassetteError::Content { .. }), "{error}");
    }
}
