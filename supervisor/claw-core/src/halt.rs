//! The kill switch: what somebody still lets an agent do.
//!
//! ```text
//!            halt runs      halt egress     halt freeze        halt kill
//!   ┌──────┬──────────────┬───────────────┬──────────────────┬──────────────┐
//!   │ free │ starts       │ nothing of it │ its processes    │ nothing of   │
//!   │      │ nothing new  │ gets out, too │ stand still, too │ it is left   │
//!   └──────┴──────────────┴───────────────┴──────────────────┴──────────────┘
//! ```
//!
//! A halt is neither a goal nor a pause: it lies above both and leaves them as they are, so that
//! lifting it brings back what was wanted before.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Wall;

/// How much a halt takes away; each level takes what the one before it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltLevel {
    /// No run, restart or delivery begins; what runs goes on to its end.
    Runs,
    /// Its calls, connections and events are refused, and those under way are cut.
    Egress,
    /// Its processes stand still.
    Freeze,
    /// Its processes are killed at once.
    Kill,
}

impl HaltLevel {
    /// All of them, from the mildest on.
    pub const ALL: [Self; 4] = [Self::Runs, Self::Egress, Self::Freeze, Self::Kill];

    /// The word, as in API, CLI and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Egress => "egress",
            Self::Freeze => "freeze",
            Self::Kill => "kill",
        }
    }
}

impl fmt::Display for HaltLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an agent does less than it was told to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// How much less.
    pub level: HaltLevel,
    /// Since when at this level.
    pub since: Wall,
    /// Who wanted it, as far as the supervisor knows.
    pub by: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl fmt::Display for Halt {
    /// As it is shown: `freeze since 2026-01-01T00:00:00Z by uid 1000: it spends too much`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            level,
            since,
            by,
            why,
        } = self;
        write!(f, "{level} since {since:.0} by {by}")?;
        why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

/// One change of the switch, for the history of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum HaltChange {
    /// It was halted, or halted at another level.
    Halted(Halt),
    /// Its halt was lifted.
    Lifted {
        /// When.
        at: Wall,
        /// By whom.
        by: String,
        /// What it was.
        halt: Halt,
    },
}

impl HaltChange {
    /// The halt there is now.
    #[must_use]
    pub const fn halt(&self) -> Option<&Halt> {
        match self {
            Self::Halted(halt) => Some(halt),
            Self::Lifted { .. } => None,
        }
    }

    /// When.
    #[must_use]
    pub const fn at(&self) -> Wall {
        match self {
            Self::Halted(halt) => halt.since,
            Self::Lifted { at, .. } => *at,
        }
    }
}

/// The most changes of the switch that are remembered of an agent; the journal writes them with
/// each memory, and older ones explain nothing that is still so.
const MAX_REMEMBERED: usize = 8;

/// What is remembered of the kill switch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KillSwitch {
    /// The halt, if there is one.
    pub halt: Option<Halt>,
    /// The last changes, oldest first.
    pub changes: Vec<HaltChange>,
}

impl KillSwitch {
    /// Whether it says nothing at all.
    #[must_use]
    pub const fn is_untouched(&self) -> bool {
        self.halt.is_none() && self.changes.is_empty()
    }

    /// Puts a halt in the place of the one there is.
    pub(crate) fn set(&mut self, halt: Halt) {
        self.note(HaltChange::Halted(halt.clone()));
        self.halt = Some(halt);
    }

    /// Takes the halt away.
    pub(crate) fn lift(&mut self, at: Wall, by: String) {
        if let Some(halt) = self.halt.take() {
            self.note(HaltChange::Lifted { at, by, halt });
        }
    }

    fn note(&mut self, change: HaltChange) {
        if self.changes.len() >= MAX_REMEMBERED {
            self.changes.remove(0);
        }
        self.changes.push(change);
    }
}
