//! Where the answers of models come from, as whoever starts the supervisor and the fleet file want
//! it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use claw_gateway::llm::cassette::Cassette;
use claw_gateway::llm::serve::{Settings, Source};
use tokio::sync::OnceCell;

use super::recordings::{self, Recordings};
use super::{ModelsError, SETTLING};
use crate::config::{LlmConfig, Loaded};

/// Where the answers of models come from; chosen once, for all agents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Answers {
    /// `real`: from providers.
    #[default]
    Real,
    /// `cassette` or `cassette=FOLDER`: from what was recorded, here or in another folder.
    Cassette(Option<PathBuf>),
    /// `fake`: from nobody, always the same.
    Fake,
}

/// A word is no place where answers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write `real`, `fake`, `cassette` or `cassette=FOLDER`")]
pub struct NotAnswers;

impl FromStr for Answers {
    type Err = NotAnswers;

    fn from_str(text: &str) -> Result<Self, NotAnswers> {
        match text.split_once('=') {
            None if text == "real" => Ok(Self::Real),
            None if text == "fake" => Ok(Self::Fake),
            None if text == "cassette" => Ok(Self::Cassette(None)),
            Some(("cassette", folder)) if !folder.is_empty() => {
                Ok(Self::Cassette(Some(folder.into())))
            }
            None | Some(_) => Err(NotAnswers),
        }
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Real => f.write_str("real"),
            Self::Cassette(None) => f.write_str("cassette"),
            Self::Cassette(Some(folder)) => write!(f, "cassette={}", folder.display()),
            Self::Fake => f.write_str("fake"),
        }
    }
}

/// Where answers come from and, if they are kept, where they go.
#[derive(Debug)]
pub(super) struct Sources {
    answers: Answers,
    /// Where the recordings of this fleet are.
    folder: PathBuf,
    recordings: OnceCell<Arc<Recordings>>,
    cassette: OnceCell<Arc<Cassette>>,
}

impl Sources {
    /// For a fleet that keeps what there is of its models in this directory.
    pub(super) fn new(answers: Answers, dir: &Path) -> Self {
        Self {
            answers,
            folder: recordings::folder(dir),
            recordings: OnceCell::new(),
            cassette: OnceCell::new(),
        }
    }

    /// The settings of a configuration, with the place where answers come from.
    ///
    /// # Errors
    ///
    /// There is no cassette, or no thread that records.
    pub(super) async fn complete(
        &self,
        llm: &LlmConfig,
        loaded: &Loaded,
    ) -> Result<Settings, ModelsError> {
        let source = match &self.answers {
            Answers::Real if llm.record => Source::Recorded(self.recorder(loaded).await?),
            Answers::Real => Source::Providers,
            Answers::Cassette(folder) => {
                let folder = folder.as_ref().unwrap_or(&self.folder);
                let read = || async {
                    let folder = folder.clone();
                    let reading =
                        tokio::task::spawn_blocking(move || recordings::cassette(&folder));
                    let cassette = reading.await.map_err(|_ending| ModelsError::Ending)??;
                    Ok::<_, ModelsError>(Arc::new(cassette))
                };
                Source::Cassette(Arc::clone(self.cassette.get_or_try_init(read).await?))
            }
            Answers::Fake => Source::MadeUp,
        };
        Ok(Settings {
            source,
            ..llm.settings.clone()
        })
    }

    /// Waits until all that was recorded is written.
    pub(super) async fn close(&self) {
        if let Some(recordings) = self.recordings.get().map(Arc::clone) {
            let closing = tokio::task::spawn_blocking(move || recordings.close());
            if tokio::time::timeout(SETTLING, closing).await.is_err() {
                tracing::warn!("not all calls of models are recorded: the disk is too slow");
            }
        }
    }

    async fn recorder(&self, loaded: &Loaded) -> Result<Arc<Recordings>, ModelsError> {
        let start = || async {
            let started = Recordings::start(self.folder.clone());
            started.map_err(|source| ModelsError::Recorder { source })
        };
        let recordings = self.recordings.get_or_try_init(start).await?;
        recordings.mask(recordings::secrets(loaded));
        Ok(Arc::clone(recordings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_answers_is_read_as_it_is_written() {
        for text in ["real", "fake", "cassette", "cassette=/tmp/a"] {
            let answers: Answers = text.parse().unwrap();
            assert_eq!(answers.to_string(), text);
        }
        for wrong in ["", "Real", "cassette=", "fake=/tmp", "tape"] {
            assert_eq!(wrong.parse::<Answers>(), Err(NotAnswers), "{wrong}");
        }
    }
}
