//! The history: runs, transitions and kept answers, from the journal.

use claw_core::AgentName;
use claw_store::journal::{
    CallError, IdempotencyKey, InstanceRow, Journal, ReadError, Reader, Remembered, SlotRow,
};

use crate::api::{Time, Transition, TransitionKind};
use crate::http::Stored;
use crate::http::ports::{JournalFailure, JournalPorts, Port, RunsQuestion};

/// Keys count for the whole API: a client makes them unique.
const ANSWERED: &str = "api";

/// What was seen, whatever became of it.
const SEEN: &str = "api/seen";

pub(super) fn ports(journal: &Journal) -> JournalPorts {
    let [runs, run, transitions, recall] = [(); 4].map(|()| journal.reader());
    let [seer, keeper] = [(); 2].map(|()| journal.clone());
    JournalPorts {
        runs: Port::new(move |question: RunsQuestion| {
            let reader = runs.clone();
            async move {
                let RunsQuestion {
                    agent,
                    limit,
                    before,
                } = question;
                reader.runs(agent, limit, before).await.map_err(unreadable)
            }
        }),
        run: Port::new(move |id| {
            let reader = run.clone();
            async move { reader.run(id).await.map_err(unreadable) }
        }),
        transitions: Port::new(move |(agent, limit)| {
            let reader = transitions.clone();
            async move { newest(&reader, agent, limit).await.map_err(unreadable) }
        }),
        first_seen: Port::new(move |(key, now): (String, Time)| {
            let journal = seer.clone();
            async move { first_seen(&journal, key, now).await }
        }),
        recall: Port::new(move |key: String| {
            let reader = recall.clone();
            async move {
                let found = reader
                    .remembered(scoped(ANSWERED, key))
                    .await
                    .map_err(unreadable)?;
                Ok(found.and_then(|kept| serde_json::from_str(&kept.response).ok()))
            }
        }),
        remember: Port::new(move |(key, stored): (String, Stored)| {
            let journal = keeper.clone();
            async move { keep(&journal, key, &stored).await }
        }),
    }
}

async fn first_seen(journal: &Journal, key: String, now: Time) -> Result<Time, JournalFailure> {
    let seen = Remembered {
        key: scoped(SEEN, key),
        request_hash: String::new(),
        response: String::new(),
        at: now,
    };
    let earlier = journal.remember(seen).await.map_err(unwritable)?;
    Ok(earlier.map_or(now, |seen| seen.at))
}

async fn keep(journal: &Journal, key: String, stored: &Stored) -> Result<(), JournalFailure> {
    let response = serde_json::to_string(stored)
        .map_err(|error| JournalFailure(format!("cannot keep the answer: {error}")))?;
    let request_hash = stored.fingerprint.clone();
    let kept = Remembered {
        key: scoped(ANSWERED, key),
        request_hash,
        response,
        at: stored.at,
    };
    let earlier = journal.remember(kept).await.map_err(unwritable)?;
    debug_assert!(
        earlier.is_none(),
        "a key under way is claimed, so nobody else keeps an answer"
    );
    Ok(())
}

/// Ends and slots together, newest first.
async fn newest(
    reader: &Reader,
    agent: AgentName,
    limit: u32,
) -> Result<Vec<Transition>, ReadError> {
    let mut found: Vec<Transition> = reader
        .outcomes(agent.clone(), limit)
        .await?
        .iter()
        .filter_map(ended)
        .collect();
    found.extend(reader.slots(agent, limit).await?.iter().map(settled));
    found.sort_by_key(|transition| std::cmp::Reverse(transition.at));
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

fn ended(row: &InstanceRow) -> Option<Transition> {
    let ended = row.ended.as_ref()?;
    let generation = row.instance.generation.0;
    Some(Transition {
        at: ended.at,
        text: format!("{} {}", row.instance, ended.cause),
        what: TransitionKind::Ended {
            generation,
            cause: (&ended.cause).into(),
            failed: ended.failed,
            exit: ended.report.as_ref().map(Into::into),
            image: row.image.as_ref().map(Into::into),
        },
    })
}

fn settled(row: &SlotRow) -> Transition {
    let fate: crate::api::SlotFate = row.fate.into();
    Transition {
        at: row.planned,
        text: format!("the slot of {} {}", row.planned, fate.sentence()),
        what: TransitionKind::Slot {
            slot: row.planned,
            fate,
            run_id: row.run.map(|id| id.to_string()),
        },
    }
}

fn scoped(scope: &str, key: String) -> IdempotencyKey {
    IdempotencyKey {
        scope: scope.to_owned(),
        key,
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands where map_err wants a function"
)]
fn unreadable(error: ReadError) -> JournalFailure {
    JournalFailure(error.to_string())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands where map_err wants a function"
)]
fn unwritable(error: CallError) -> JournalFailure {
    JournalFailure(error.to_string())
}
