//! How memory is put back when a request or its transaction fails.

use super::core::Core;
use crate::bus::{GroupId, OpenEvent, Seq};
use crate::state::SpaceState;

/// One change of memory that goes with a change of the file.
pub(crate) enum Undo {
    /// A namespace had these figures.
    Space(i64, SpaceState),
    /// A namespace did not exist.
    NewSpace(String),
    /// Readers were to be told of this many changes.
    Changes(usize),
    /// A delivery was in flight.
    Settled(GroupId, Seq, Box<OpenEvent>),
    /// An event was staged, for groups that count it.
    Staged,
}

impl Core {
    /// Where memory stands, to come back to.
    pub(super) fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Puts memory back to where it stood.
    pub(super) fn undo_to(&mut self, mark: usize) {
        while self.undo.len() > mark {
            match self.undo.pop() {
                Some(Undo::Space(id, before)) => self.spaces.put_back(id, before),
                Some(Undo::NewSpace(name)) => self.spaces.forget(&name),
                Some(Undo::Changes(count)) => self.spaces.forget_changes(count),
                Some(Undo::Settled(group, seq, open)) => self.bus.restore(group, seq, *open),
                Some(Undo::Staged) => self.bus.unstage(),
                None => return,
            }
        }
    }
}
