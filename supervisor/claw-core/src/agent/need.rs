//! What an agent needs of its fleet before it can go on.

use crate::spec::Condition;

/// What an agent waits for, or holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing.
    Nothing,
    /// Its dependencies.
    Dependencies,
    /// One of the places for starting agents.
    StartSlot,
    /// It has such a place.
    Starting,
}

/// What an agent has reached, for those who depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reached {
    /// Nothing.
    Nothing,
    /// Its process was started.
    Started,
    /// It is ready.
    Ready,
    /// It did its work.
    Completed,
}

impl Reached {
    /// Whether this is what a dependent waits for.
    pub(crate) fn satisfies(self, condition: Condition) -> bool {
        match condition {
            Condition::Started => self >= Self::Started,
            Condition::Ready => self >= Self::Ready,
            Condition::Completed => self >= Self::Completed,
        }
    }
}
