//! What the supervisor says on a control stream, and what of it is in force.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

/// Ids of an earlier supervisor must not come again: a client ignores what it has carried out.
static BOOT: LazyLock<String> = LazyLock::new(|| super::token::correlation("", 4));
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// One thing to tell an agent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    /// Answer a probe.
    Probe {
        /// `liveness` or `readiness`.
        probe: &'static str,
        /// Until when.
        until: Instant,
    },
    /// Ask for no more.
    Pause,
    /// Ask again.
    Resume,
    /// Finish, and ask for no more.
    Drain {
        /// Until when.
        until: Instant,
    },
    /// Finish, tear down, and end.
    Stop {
        /// Until when.
        until: Instant,
    },
    /// Drop a piece of work.
    Cancel {
        /// Which.
        work: String,
        /// Which attempt.
        attempt: u32,
    },
}

/// Messages that are in force, or were not answered.
#[derive(Debug, Default)]
pub(super) struct Messages(BTreeMap<u64, Message>);

impl Messages {
    /// Puts a line into force; those that it overrides are not any more.
    pub(super) fn put(&mut self, line: Message) -> String {
        match &line {
            Message::Pause | Message::Resume => {
                self.0
                    .retain(|_, other| !matches!(other, Message::Pause | Message::Resume));
            }
            Message::Drain { .. } | Message::Stop { .. } => self
                .0
                .retain(|_, other| !matches!(other, Message::Drain { .. } | Message::Stop { .. })),
            Message::Probe { .. } | Message::Cancel { .. } => {}
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.0.insert(number, line);
        id(number)
    }

    /// The line as it is sent now.
    pub(super) fn text(&self, of: &str) -> Option<Bytes> {
        let (number, line) = self.0.iter().find(|(number, _)| id(**number) == of)?;
        let mut text = line.json(&id(*number)).to_string();
        text.push('\n');
        Some(text.into())
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.0.keys().map(|number| id(*number)).collect()
    }

    /// The agent has answered. A pause, a drain or a stop stays in force.
    pub(super) fn answered(&mut self, of: &str) {
        self.0.retain(|number, line| {
            let stays = matches!(
                line,
                Message::Pause | Message::Drain { .. } | Message::Stop { .. }
            );
            stays || id(*number) != of
        });
    }

    /// The work is done, so nobody need drop it.
    pub(super) fn drop_cancel(&mut self, done: &str) {
        self.0
            .retain(|_, line| !matches!(line, Message::Cancel { work, .. } if work == done));
    }
}

impl Message {
    fn json(&self, id: &str) -> Json {
        match self {
            Self::Probe { probe, until } => {
                json!({"kind": "probe", "id": id, "probe": probe, "timeout_ms": left(*until)})
            }
            Self::Pause => json!({"kind": "pause", "id": id}),
            Self::Resume => json!({"kind": "resume", "id": id}),
            Self::Drain { until } => json!({
                "kind": "drain", "id": id, "timeout_ms": left(*until), "deadline": wall(*until),
            }),
            Self::Stop { until } => json!({
                "kind": "stop", "id": id, "timeout_ms": left(*until), "deadline": wall(*until),
            }),
            Self::Cancel { work, attempt } => json!({
                "kind": "cancel", "id": id, "work": work, "attempt": attempt,
                "reason": "the supervisor called it off",
            }),
        }
    }
}

fn id(number: u64) -> String {
    format!("c_{}_{number}", *BOOT)
}

/// Milliseconds from now on.
fn left(until: Instant) -> u64 {
    let left = until.saturating_duration_since(Instant::now());
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

fn wall(until: Instant) -> String {
    let left = until.saturating_duration_since(Instant::now());
    super::wire::time(jiff::Timestamp::now() + left.min(Duration::from_secs(366 * 24 * 3600)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_is_said_again_and_what_was_overridden_is_not() {
        let mut lines = Messages::default();
        let until = Instant::now() + Duration::from_secs(5);
        lines.put(Message::Pause);
        let resume = lines.put(Message::Resume);
        let drain = lines.put(Message::Drain { until });
        let cancel = lines.put(Message::Cancel {
            work: "w".to_owned(),
            attempt: 1,
        });
        assert_eq!(lines.ids(), [resume.clone(), drain.clone(), cancel]);
        lines.answered(&resume);
        lines.answered(&drain);
        lines.drop_cancel("w");
        assert_eq!(lines.ids(), [drain], "a drain stays in force");
        let stop = lines.put(Message::Stop { until });
        lines.answered(&stop);
        assert_eq!(lines.ids(), [stop], "and a stop takes its place");
    }
}
