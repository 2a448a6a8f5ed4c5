//! Dead letters: events that a group has given up.

use std::sync::Arc;

use crate::bus::event::{Event, Seq};
use crate::store::UnixMs;

/// Names a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadId(pub i64);

/// An event that a group has given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its own name.
    pub id: DeadId,
    /// The group.
    pub group: String,
    /// When it was given up.
    pub at: UnixMs,
    /// Deliveries before that.
    pub attempts: u32,
    /// Why.
    pub reason: DeadReason,
    /// What the last attempt said.
    pub error: Option<String>,
    /// The whole event.
    pub event: Arc<Event>,
}

/// Why an event was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadReason {
    /// It failed as often as it may.
    MaxAttempts,
    /// Its process or lease ended as often as it may fail.
    Crashed,
    /// Its handler said that no attempt can help.
    Terminated,
    /// Its chain is longer than any sensible one: it is a loop.
    HopLimit,
}

impl DeadReason {
    /// A word for programs that never changes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxAttempts => "max_attempts",
            Self::Crashed => "crashed",
            Self::Terminated => "terminated",
            Self::HopLimit => "hop_limit",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [
            Self::MaxAttempts,
            Self::Crashed,
            Self::Terminated,
            Self::HopLimit,
        ]
        .into_iter()
        .find(|reason| reason.as_str() == text)
    }
}

/// Which dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// One.
    One(DeadId),
    /// All of the group.
    All,
}

/// A group's figures, exact at the moment they are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events that wait: neither settled nor in flight.
    pub pending: u64,
    /// Events in the hands of replicas.
    pub in_flight: u64,
    /// Deliveries with an attempt above 1, since the store was opened.
    pub redelivered: u64,
    /// Dead letters that are kept.
    pub dead: u64,
    /// Events that expired before anybody got them, since the group began.
    pub expired: u64,
    /// Events dropped because the group was full, since the group began.
    pub dropped: u64,
    /// Events whose place another one took within the quiet time, since the group began.
    pub superseded: u64,
    /// Events that retention removed by force, since the group began.
    pub lost: u64,
    /// When the oldest event that is not settled was recorded.
    pub oldest: Option<UnixMs>,
    /// Everything up to here is settled or not the group's concern.
    pub floor: Seq,
}
