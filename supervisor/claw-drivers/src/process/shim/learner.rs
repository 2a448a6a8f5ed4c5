//! Learns what an agent calls that the usual filter refuses.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::keeper;
use crate::sandbox::{self, Confinement, Filter, LearnedCall, Lessons, Listening};

/// What an agent's calls are learned with.
#[derive(Debug)]
pub(super) struct Learner {
    lessons: Lessons,
    place: Place,
}

/// Where questions come from.
#[derive(Debug)]
enum Place {
    /// The listener will come along here.
    Awaited(OwnedFd),
    Listener(OwnedFd),
    /// Nobody is listened to any more.
    Over,
}

impl Learner {
    /// A learner and what the agent's process hands its listener over by; `None` where nothing is
    /// to be learned, or the kernel cannot do it.
    pub(super) fn of(confinement: Option<&Confinement>) -> io::Result<Option<(Self, OwnedFd)>> {
        let filter = confinement.and_then(|confinement| confinement.filter.as_ref());
        if !filter.is_some_and(Filter::learns) || !sandbox::can_go_on() {
            return Ok(None);
        }
        let (ours, theirs) = keeper::socket()?;
        let learner = Self {
            lessons: Lessons::default(),
            place: Place::Awaited(ours),
        };
        Ok(Some((learner, theirs)))
    }

    /// What to poll, if something may come.
    pub(super) fn interest(&self) -> Option<BorrowedFd<'_>> {
        match &self.place {
            Place::Awaited(fd) | Place::Listener(fd) => Some(fd.as_fd()),
            Place::Over => None,
        }
    }

    /// Answers what is asked.
    pub(super) fn attend(&mut self) {
        match &self.place {
            Place::Awaited(socket) => match sandbox::take_over(socket.as_fd()) {
                Ok(Some(listener)) => self.place = Place::Listener(listener),
                Ok(None) => {}
                Err(_) => self.place = Place::Over,
            },
            Place::Listener(listener) => {
                if sandbox::answer(listener, &mut self.lessons) == Listening::Over {
                    self.place = Place::Over;
                }
            }
            Place::Over => {}
        }
    }

    /// What was learned.
    pub(super) fn calls(&self) -> Vec<LearnedCall> {
        self.lessons.calls()
    }
}
