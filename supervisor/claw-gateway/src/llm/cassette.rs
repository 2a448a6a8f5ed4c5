//! Calls that were recorded, and answers from them: an agent's run again without any provider.
//!
//! A recording is one line of JSON. Its request and answer have no personal data any more, so they
//! can be kept and shown; the request is known again by a hash of what passed to the provider: of
//! what the agent sent, or of what a filter of prompts left of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::validate::pii::{self, Action, Checked, Kind, PiiFilter, PiiFrames};
use super::wire::{Api, Frames};

/// A call that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// When the answer had come.
    pub at: Timestamp,
    /// Whose call it was.
    pub agent: String,
    /// The unit of work in which it was made, if that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The path of its interface.
    pub path: String,
    /// SHA-256 of the request's body as it passed the filter of prompts, in hexadecimal digits.
    pub request_hash: String,
    /// The request's body.
    pub request: String,
    /// The status of the answer.
    pub status: u16,
    /// The type of its body.
    pub content_type: String,
    /// Its body, a stream with all of its events.
    pub answer: String,
}

impl Recording {
    /// The same without personal data; nothing, if a part of it cannot be read, so that what is in
    /// it is not known.
    #[must_use]
    pub fn redacted(self) -> Option<Self> {
        let api = Api::of_path(&self.path)?;
        let filter = PiiFilter {
            kinds: Kind::ALL.into(),
            action: Action::Redact,
        };
        let request = passed(pii::kept_request(&filter, api, &self.request), self.request)?;
        let answer = if self.content_type.starts_with("text/event-stream") {
            stream(filter, api, &self.answer)?
        } else {
            passed(pii::kept_answer(&filter, api, &self.answer), self.answer)?
        };
        Some(Self {
            request,
            answer,
            ..self
        })
    }
}

fn passed(checked: Checked, text: String) -> Option<String> {
    match checked {
        Checked::Clean | Checked::Warned(_) => Some(text),
        Checked::Redacted { text, .. } => Some(text),
        Checked::Blocked(_) | Checked::Unreadable => None,
    }
}

fn stream(filter: PiiFilter, api: Api, text: &str) -> Option<String> {
    let (mut frames, mut filter) = (Frames::default(), PiiFrames::kept(filter, api));
    frames.push(text.as_bytes());
    let mut out = Vec::with_capacity(text.len());
    while let Some(frame) = frames.next_frame().ok()? {
        for passed in filter.frame(&frame).ok()? {
            out.extend_from_slice(passed.bytes());
        }
    }
    let (rest, _found) = filter.finish().ok()?;
    for passed in rest {
        out.extend_from_slice(passed.bytes());
    }
    String::from_utf8(out).ok()
}

/// Keeps recordings. It is told by whoever has served the call, so it must not wait.
pub trait Recorder: fmt::Debug + Send + Sync {
    /// Keeps a call, which has its personal data still: see [`Recording::redacted`].
    fn keep(&self, recording: Recording);
}

/// Why a text is no cassette.
#[derive(Debug, thiserror::Error)]
#[error("line {line} is no recording of a call: {why}")]
pub struct NotARecording {
    /// Which line, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub why: serde_json::Error,
}

/// Recordings to answer from. The same request gets its answers in the order in which they were
/// recorded, and the last one again and again.
#[derive(Debug, Default)]
pub struct Cassette {
    /// By agent and hash of the request.
    shelves: BTreeMap<(String, String), Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    recordings: Vec<Arc<Recording>>,
    played: AtomicUsize,
}

impl Cassette {
    /// Adds the recordings of a file, one a line, after those that are there.
    ///
    /// # Errors
    /// With the first line that is none; those before it are added.
    pub fn add(&mut self, text: &str) -> Result<(), NotARecording> {
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let recording: Recording = serde_json::from_str(line).map_err(|why| NotARecording {
                line: number + 1,
                why,
            })?;
            let key = (recording.agent.clone(), recording.request_hash.clone());
            let shelf = self.shelves.entry(key).or_default();
            shelf.recordings.push(Arc::new(recording));
        }
        Ok(())
    }

    /// How many recordings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shelves
            .values()
            .map(|shelf| shelf.recordings.len())
            .sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shelves.is_empty()
    }

    /// The next answer to a request of an agent; nothing, if it was never recorded.
    #[must_use]
    pub fn play(&self, agent: &str, request_hash: &str) -> Option<Arc<Recording>> {
        let key = (agent.to_owned(), request_hash.to_owned());
        let shelf = self.shelves.get(&key)?;
        let last = shelf.recordings.len().checked_sub(1)?;
        let next = shelf.played.fetch_add(1, Ordering::Relaxed);
        shelf.recordings.get(next.min(last)).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(request: &str, content_type: &str, answer: &str) -> Recording {
        Recording {
            at: Timestamp::UNIX_EPOCH,
            agent: "coder".to_owned(),
            run: None,
            path: Api::ChatCompletions.path().to_owned(),
            request_hash: "00ff".to_owned(),
            request: request.to_owned(),
            status: 200,
            content_type: content_type.to_owned(),
            answer: answer.to_owned(),
        }
    }

    fn asking(text: &str) -> String {
        serde_json::json!({"model": "m", "messages": [{"role": "user", "content": text}]})
            .to_string()
    }

    #[test]
    fn no_personal_data_is_kept_also_where_a_stream_cuts_it() {
        let chunk = |text: &str| {
            let delta = serde_json::json!({"choices": [{"index": 0, "delta": {"content": text}}]});
            format!("data: {delta}\n\n")
        };
        let answer = chunk("Write to ann@exa") + &chunk("mple.com today") + "data: [DONE]\n\n";
        let kept = recording(
            &asking("I am bob@example.com"),
            "text/event-stream",
            &answer,
        );
        let kept = kept.redacted().expect("it can be read");
        assert!(kept.request.contains("I am [EMAIL]"), "{}", kept.request);
        let text = serde_json::to_string(&kept).expect("JSON");
        assert!(
            text.contains("[EMAIL]") && !text.contains("example.com"),
            "{text}"
        );
        assert!(kept.answer.ends_with("data: [DONE]\n\n"), "{}", kept.answer);
    }

    #[test]
    fn answers_come_in_their_order_and_the_last_one_stays() {
        let mut cassette = Cassette::default();
        let lines: String = ["one", "two"]
            .map(|answer| {
                let line = recording("{}", "application/json", answer);
                serde_json::to_string(&line).expect("JSON") + "\n"
            })
            .concat();
        cassette.add(&lines).expect("recordings");
        assert_eq!(cassette.len(), 2);
        let played = || cassette.play("coder", "00ff").map(|it| it.answer.clone());
        for expected in ["one", "two", "two"] {
            assert_eq!(played().as_deref(), Some(expected));
        }
        assert!(cassette.play("coder", "00fe").is_none());
        assert!(cassette.play("other", "00ff").is_none());
    }

    #[test]
    fn a_line_that_is_no_recording_is_named() {
        let good = serde_json::to_string(&recording("{}", "a", "b")).expect("JSON");
        let told = Cassette::default()
            .add(&format!("{good}\n\n{{\"at\": 1}}\n"))
            .expect_err("a fault")
            .to_string();
        assert!(
            told.starts_with("line 3 is no recording of a call: "),
            "{told}"
        );
    }
}
