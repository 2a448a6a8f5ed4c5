//! What a replica gets, and what it says about it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bus::event::{Event, NewEvent, Receipt, Seq};
use crate::state::{Commit, Found, Look, Version};
use crate::store::UnixMs;

/// Names one delivery for ever: another attempt has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ev-{:x}", self.0)
    }
}

/// Names deliveries that were made together to one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ba-{:x}", self.0)
    }
}

impl FromStr for BatchId {
    type Err = NoLease;

    fn from_str(text: &str) -> Result<Self, NoLease> {
        numbered(text, "ba-").map(Self)
    }
}

/// What a replica holds and settles at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Held {
    /// One delivery.
    One(LeaseId),
    /// Those of a batch that it has not settled one by one.
    Batch(BatchId),
}

/// A text that names no lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no lease")]
pub struct NoLease(String);

impl FromStr for LeaseId {
    type Err = NoLease;

    fn from_str(text: &str) -> Result<Self, NoLease> {
        numbered(text, "ev-").map(Self)
    }
}

fn numbered(text: &str, prefix: &str) -> Result<u64, NoLease> {
    let number = text.strip_prefix(prefix);
    let number = number.and_then(|number| u64::from_str_radix(number, 16).ok());
    number.ok_or_else(|| NoLease(text.to_owned()))
}

/// A replica of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The group: the name of the agent.
    pub group: String,
    /// The stable index of the replica.
    pub replica: u32,
}

impl Member {
    /// Replica `replica` of `group`.
    #[must_use]
    pub fn new(group: impl Into<String>, replica: u32) -> Self {
        Self {
            group: group.into(),
            replica,
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.replica)
    }
}

/// An event in the hands of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// To be named when it is settled; also the id of the work.
    pub lease: LeaseId,
    /// Counts every delivery of the event to the group, from 1.
    pub attempt: u32,
    /// When the lease ends unless it is renewed.
    pub until: UnixMs,
    /// The batch that it is part of, if the group collects events.
    pub batch: Option<BatchId>,
    /// The event.
    pub event: Arc<Event>,
}

/// What a pull gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulled {
    /// As many as asked for, wanted and there.
    pub deliveries: Vec<Delivery>,
    /// Events that retention removed by force before the group had settled them; told once.
    pub gap: Option<Gap>,
}

/// Events that were removed unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first.
    pub from: Seq,
    /// The last.
    pub to: Seq,
    /// How many the group would have got.
    pub lost: u64,
}

/// Whether a replica may get new deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It may.
    Ready,
    /// It may not; what it has stays with it.
    Unready,
}

/// What a replica says about a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settle {
    /// It is done.
    Ack,
    /// It failed and is to be tried again.
    Nak {
        /// After this time; by the policy of the group without.
        delay: Option<Duration>,
        /// Why, for people.
        error: String,
    },
    /// It failed and no further attempt can help.
    Terminate {
        /// Why, for people.
        error: String,
    },
    /// It was not begun, as at a drain; somebody else gets it at once and it does not count.
    Return,
}

/// What became of a delivery that was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is done.
    Done,
    /// It comes again.
    Again {
        /// Not before.
        due: UnixMs,
    },
    /// It is in the dead letters.
    Dead,
}

/// The end of a piece of work: all of it is done, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Whose work.
    pub member: Member,
    /// The id of the work: the lease of an event, the id of a run, or the key under which a
    /// repeat is known. Without one the answer is not remembered.
    pub work: Option<String>,
    /// Which attempt.
    pub attempt: u32,
    /// How what it held is settled; a run has nothing.
    pub settle: Option<(Held, Settle)>,
    /// What it reads before anything is changed.
    pub look: Option<Look>,
    /// What it changes in the state, one version for each namespace.
    pub commits: Vec<Commit>,
    /// What it publishes. It follows from the event that was handled, of a batch from the one
    /// with the longest chain.
    pub events: Vec<NewEvent>,
    /// How the attempt ended, for [`Store::last_report`](crate::store::Store::last_report).
    pub outcome: Outcome,
}

/// How an attempt of a piece of work ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It did its work.
    #[default]
    Succeeded,
    /// It did not.
    Failed {
        /// Why, for people.
        error: String,
        /// Whether another attempt may help.
        retryable: bool,
    },
}

/// The last attempt of a piece of work that was reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReport {
    /// Which attempt.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
}

/// The answer to [`Done`]; a repeat gets the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completed {
    /// What became of the delivery; of a batch, of the event that fared best.
    pub settled: Option<Settled>,
    /// The versions that the commits made.
    pub versions: Vec<Version>,
    /// For each event.
    pub receipts: Vec<Receipt>,
    /// The ids of the events.
    pub events: Vec<String>,
    /// What it has read.
    pub seen: Option<Seen>,
    /// Whether this was a repeat.
    pub repeated: Repeated,
}

/// What was read in a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The version of the namespace after the transaction.
    pub version: Version,
    /// The keys as they were before it, in the order in which they were asked for.
    pub keys: Vec<Option<Found>>,
}

/// Whether work was reported before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    /// This is the first report.
    First,
    /// It was, and nothing was done again.
    Again,
}

/// What became of work that a replica says it still does, after the supervisor was away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resumed {
    /// It goes on, under its lease.
    pub kept: Vec<Delivery>,
    /// It is somebody else's now, or was settled; the replica is to drop it.
    pub abandoned: Vec<LeaseId>,
}
