//! The end of a piece of work: state, events and lease in one.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::delivery::{Completed, Done, LastReport, Outcome, Repeated, Seen, Settle, Settled};
use super::engine::GroupId;
use super::event::{Level, NewEvent, Publisher, Receipt, Seq, Stored};
use super::publish::{self, Publication, RETRY_AFTER};
use crate::state::{self, Found, PreparedCommit, Version};
use crate::store::limits::REMEMBERED_BYTES;
use crate::store::{Core, StoreError, Undo, UnixMs};

pub(super) fn transact(
    core: &mut Core,
    done: Done,
    commits: Vec<PreparedCommit>,
) -> Result<Completed, StoreError> {
    if let Some(work) = &done.work
        && let Some(before) = remembered(core, work, done.attempt)?
    {
        return Ok(before);
    }
    let held = match &done.settle {
        Some((held, _settle)) => Some(core.holds(&done.member, *held)?),
        None => None,
    };
    let found = match &done.look {
        Some(look) => Some(state::look(core, look)?),
        None => None,
    };
    let ids = done.events.iter().map(|event| event.id.clone()).collect();
    let mut versions = Vec::with_capacity(commits.len());
    for commit in commits {
        versions.push(state::commit(core, commit)?);
    }
    let events = match &held {
        Some((_group, seqs)) => follow(core, seqs, done.events)?,
        None => done.events,
    };
    let receipts = match publish::publish(core, events, Publisher::Outside)? {
        Publication::Stored(receipts) => receipts,
        Publication::Full { group, .. } => {
            return Err(StoreError::Backpressure {
                group,
                retry_after: RETRY_AFTER,
            });
        }
    };
    let settled = match held.zip(done.settle) {
        Some((held, (_named, settle))) => settle_with(core, &held, settle)?,
        None => None,
    };
    let seen = done.look.zip(found).map(|(look, keys)| Seen {
        version: state::version(core, &look.namespace),
        keys,
    });
    let completed = Completed {
        settled,
        versions,
        receipts,
        events: ids,
        seen,
        repeated: Repeated::First,
    };
    if let Some(work) = &done.work {
        remember(core, (work, done.attempt), &completed, done.outcome)?;
    }
    Ok(completed)
}

impl Done {
    /// How durable it must be: what only reads has nothing to lose.
    pub(super) fn level(&self) -> Level {
        let reads_only = self.work.is_none()
            && self.settle.is_none()
            && self.commits.is_empty()
            && self.events.is_empty();
        if reads_only { Level::Os } else { Level::Disk }
    }
}

/// What is emitted while an event is handled follows from it, unless it says otherwise. Of several,
/// the one with the longest chain counts, so that a loop is known for one also if it goes through batches.
fn follow(core: &Core, seqs: &[Seq], events: Vec<NewEvent>) -> Result<Vec<NewEvent>, StoreError> {
    if events.is_empty() {
        return Ok(events);
    }
    let mut handled = Vec::with_capacity(seqs.len());
    for seq in seqs {
        handled.extend(core.handled(*seq)?);
    }
    let longest = handled.iter().max_by_key(|event| event.attributes.hop);
    let cause = longest.map(|event| event.as_cause());
    let follow = |event: NewEvent| NewEvent {
        cause: event.cause.or_else(|| cause.clone()),
        ..event
    };
    Ok(events.into_iter().map(follow).collect())
}

fn settle_with(
    core: &mut Core,
    held: &(GroupId, Vec<Seq>),
    settle: Settle,
) -> Result<Option<Settled>, StoreError> {
    let (group, seqs) = held;
    for seq in seqs {
        if let Some(open) = core.bus.entry(*group)?.group.open.get(seq) {
            let before = Box::new(open.clone());
            core.undo.push(Undo::Settled(*group, *seq, before));
        }
    }
    core.settle_held(held, settle)
}

/// An answer as a column.
#[derive(Serialize, Deserialize)]
struct Answer {
    settled: Option<SettledAs>,
    versions: Vec<Version>,
    receipts: Vec<(Option<u64>, IsNew)>,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    seen: Option<(Version, Vec<Option<FoundAs>>)>,
    /// Answers that do not say it are older than reports of failures.
    #[serde(default)]
    outcome: Outcome,
}

/// The version of a key, and its value as text.
type FoundAs = (Version, Option<String>);

#[derive(Serialize, Deserialize)]
enum SettledAs {
    Done,
    Again(UnixMs),
    Dead,
}

#[derive(Serialize, Deserialize)]
enum IsNew {
    New,
    Duplicate,
}

fn remember(
    core: &Core,
    (work, attempt): (&str, u32),
    completed: &Completed,
    outcome: Outcome,
) -> Result<(), StoreError> {
    let receipts = completed.receipts.iter().map(|receipt| {
        let new = match receipt.stored {
            Stored::New => IsNew::New,
            Stored::Duplicate => IsNew::Duplicate,
        };
        (receipt.seq, new)
    });
    let seen = completed.seen.as_ref();
    let answer = Answer {
        events: completed.events.clone(),
        seen: seen.map(seen_as).transpose()?,
        settled: completed.settled.map(|settled| match settled {
            Settled::Done => SettledAs::Done,
            Settled::Again { due } => SettledAs::Again(due),
            Settled::Dead => SettledAs::Dead,
        }),
        versions: completed.versions.clone(),
        receipts: receipts.collect(),
        outcome,
    };
    let answer =
        serde_json::to_string(&answer).map_err(|error| StoreError::Invalid(error.to_string()))?;
    let sql = "INSERT INTO done (work, attempt, at, answer) VALUES (?1, ?2, ?3, ?4)";
    core.conn
        .prepare_cached(sql)?
        .execute(params![work, attempt, core.now.0, answer])?;
    Ok(())
}

fn seen_as(seen: &Seen) -> Result<(Version, Vec<Option<FoundAs>>), StoreError> {
    let values = seen
        .keys
        .iter()
        .flatten()
        .filter_map(|found| found.value.as_ref());
    let size = values.map(|value| value.len()).sum();
    if size > REMEMBERED_BYTES {
        return Err(StoreError::TooLarge {
            what: "what a request with an idempotency key reads",
            size,
            limit: REMEMBERED_BYTES,
        });
    }
    let text = |value: &Arc<[u8]>| String::from_utf8_lossy(value).into_owned();
    let keys = seen.keys.iter().map(|found| {
        let found = found.as_ref()?;
        Some((found.version, found.value.as_ref().map(text)))
    });
    Ok((seen.version, keys.collect()))
}

fn seen_again((version, keys): (Version, Vec<Option<FoundAs>>)) -> Seen {
    let found = |(version, value): FoundAs| Found {
        version,
        value: value.map(|text| text.into_bytes().into()),
    };
    Seen {
        version,
        keys: keys.into_iter().map(|key| key.map(found)).collect(),
    }
}

pub(super) fn last_report(
    conn: &Connection,
    work: &str,
    attempt: u32,
) -> Result<Option<LastReport>, StoreError> {
    let sql = "SELECT attempt, answer FROM done WHERE work = ?1 AND attempt <= ?2
        ORDER BY attempt DESC LIMIT 1";
    let last: Option<(u32, String)> = conn
        .prepare_cached(sql)?
        .query_row(params![work, attempt], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((attempt, answer)) = last else {
        return Ok(None);
    };
    let outcome = read(&answer)?.outcome;
    Ok(Some(LastReport { attempt, outcome }))
}

fn read(answer: &str) -> Result<Answer, StoreError> {
    serde_json::from_str(answer)
        .map_err(|error| StoreError::Unavailable(format!("an answer is damaged: {error}")))
}

fn remembered(core: &Core, work: &str, attempt: u32) -> Result<Option<Completed>, StoreError> {
    let sql = "SELECT answer FROM done WHERE work = ?1 AND attempt = ?2";
    let answer: Option<String> = core
        .conn
        .prepare_cached(sql)?
        .query_row(params![work, attempt], |row| row.get(0))
        .optional()?;
    let Some(answer) = answer else {
        return Ok(None);
    };
    let answer = read(&answer)?;
    let receipt = |(seq, new)| Receipt {
        seq,
        stored: match new {
            IsNew::New => Stored::New,
            IsNew::Duplicate => Stored::Duplicate,
        },
    };
    Ok(Some(Completed {
        settled: answer.settled.map(|settled| match settled {
            SettledAs::Done => Settled::Done,
            SettledAs::Again(due) => Settled::Again { due },
            SettledAs::Dead => Settled::Dead,
        }),
        versions: answer.versions,
        receipts: answer.receipts.into_iter().map(receipt).collect(),
        events: answer.events,
        seen: answer.seen.map(seen_again),
        repeated: Repeated::Again,
    }))
}
