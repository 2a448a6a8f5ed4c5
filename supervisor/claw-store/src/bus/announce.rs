//! Every dead letter is announced by an event, `openclaw.dlq.<group>`, stored with it.

use serde::Serialize;

use super::event::{Attributes, Event, Seq};
use super::group::Effect;
use super::publish::{append, identity};
use super::row;
use super::topic::check_topic;
use crate::store::{Core, StoreError, UnixMs};

/// What announcements begin with.
const TOPIC: &str = "openclaw.dlq.";

/// Who announces.
const SOURCE: &str = "openclaw";

/// The data of an announcement.
#[derive(Serialize)]
struct Announcement {
    group: String,
    sequence: Seq,
    id: String,
    source: String,
    #[serde(rename = "type")]
    topic: String,
    attempts: u32,
    reason: &'static str,
    error: Option<String>,
    died: UnixMs,
}

impl Core {
    /// Appends the announcements of what groups have given up in the transaction under way; one
    /// that was written already is not written again.
    pub(super) fn announce_dead(&mut self) -> Result<(), StoreError> {
        let mut dead = Vec::new();
        for id in &self.bus.dirty {
            let Some(entry) = self.bus.groups.get(id) else {
                continue;
            };
            for (seq, effect) in &entry.group.unsaved {
                match effect {
                    Effect::Dead { .. } => dead.push((entry.name.clone(), *seq, effect.clone())),
                    Effect::Wait { .. } | Effect::Clear => {}
                }
            }
        }
        for (group, seq, effect) in dead {
            self.announce(&group, seq, effect)?;
        }
        Ok(())
    }

    fn announce(&mut self, group: &str, seq: Seq, effect: Effect) -> Result<(), StoreError> {
        let Effect::Dead {
            at,
            attempts,
            reason,
            error,
        } = effect
        else {
            return Ok(());
        };
        let id = format!("{group}-{seq}-{}", at.0);
        let hash = identity(SOURCE, &id);
        let known = self.bus.dedup.find(&self.conn, hash, self.now)?;
        let (None, Some(event)) = (known, row::one(&self.conn, seq)?) else {
            return Ok(());
        };
        let topic = topic_of(group);
        // Who fails to handle announcements would be announced for ever.
        if event.topic.starts_with(TOPIC) || check_topic(&topic).is_err() {
            return Ok(());
        }
        let announcement = Announcement {
            group: group.to_owned(),
            sequence: seq,
            id: event.id.clone(),
            source: event.source.clone(),
            topic: event.topic.clone(),
            attempts,
            reason: reason.as_str(),
            error: error.map(String::from),
            died: at,
        };
        let data = serde_json::to_vec(&announcement)
            .map_err(|error| StoreError::Invalid(error.to_string()))?;
        let cause = event.as_cause();
        let announcement = Event {
            seq: self.bus.next_seq(),
            id,
            source: SOURCE.to_owned(),
            topic,
            key: event.key.clone(),
            at: self.now,
            expires: None,
            data,
            attributes: Attributes {
                causation_id: Some(cause.causation_id),
                correlation_id: Some(cause.correlation_id),
                // The end of a chain does not make its announcement one.
                hop: 0,
                ..Attributes::default()
            },
        };
        append(self, announcement, hash)
    }
}

/// A name is one token: what a topic cannot hold becomes `_`.
fn topic_of(group: &str) -> String {
    let token = |letter: char| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => letter,
        _other => '_',
    };
    let name: String = group.chars().map(token).collect();
    format!("{TOPIC}{name}")
}
