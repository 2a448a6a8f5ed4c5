//! Lifecycle announcements for everybody who listens, numbered and kept for a while.
//!
//! A listener that falls behind loses the oldest and is told how many; the
//! publisher never waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use claw_core::Announcement;
use tokio::sync::watch;

/// How many announcements are kept for listeners that come back or fall behind: a few minutes
/// of a busy fleet, some megabytes at most.
pub const KEPT: usize = 8192;

/// An announcement with its number. Numbers grow by one and go on growing across restarts of
/// the supervisor, because the first is the time of its start in microseconds.
#[derive(Debug)]
pub struct Numbered {
    /// The number.
    pub id: u64,
    /// What was announced.
    pub announcement: Announcement,
}

/// What a listener receives.
#[derive(Debug, Clone)]
pub enum Item {
    /// The next announcement.
    Event(Arc<Numbered>),
    /// So many announcements before the next one are no longer to be had.
    Lagged(u64),
}

/// Publishes announcements; clones share everything.
#[derive(Debug, Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<VecDeque<Arc<Numbered>>>,
    latest: watch::Sender<u64>,
}

/// One listener's place in the feed.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    latest: watch::Receiver<u64>,
    after: u64,
}

impl Feed {
    /// A feed whose first announcement gets the number after `start`.
    #[must_use]
    pub fn new(start: u64) -> Self {
        let ring = Mutex::new(VecDeque::with_capacity(64));
        Self {
            shared: Arc::new(Shared {
                ring,
                latest: watch::Sender::new(start),
            }),
        }
    }

    /// Hands an announcement to every listener.
    pub fn publish(&self, announcement: Announcement) {
        let mut ring = self
            .shared
            .ring
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let id = self.latest() + 1;
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(Arc::new(Numbered { id, announcement }));
        drop(ring);
        self.shared.latest.send_replace(id);
    }

    /// The number of the newest announcement.
    #[must_use]
    pub fn latest(&self) -> u64 {
        *self.shared.latest.borrow()
    }

    /// Listens to all after the number `after`, or to all from now on.
    #[must_use]
    pub fn subscribe(&self, after: Option<u64>) -> Subscription {
        let latest = self.shared.latest.subscribe();
        let newest = *latest.borrow();
        let after = after.map_or(newest, |asked| asked.min(newest));
        Subscription {
            shared: Arc::clone(&self.shared),
            latest,
            after,
        }
    }
}

impl Subscription {
    /// The number of the last announcement this listener has received, or lost.
    #[must_use]
    pub const fn place(&self) -> u64 {
        self.after
    }

    /// Waits for the next item; `None` when the supervisor is gone.
    pub async fn next(&mut self) -> Option<Item> {
        let after = self.after;
        self.latest.wait_for(|latest| *latest > after).await.ok()?;
        let ring = self
            .shared
            .ring
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let oldest = ring.front().map_or(u64::MAX, |first| first.id);
        if oldest > self.after + 1 {
            let lost = oldest - self.after - 1;
            self.after = oldest - 1;
            return Some(Item::Lagged(lost));
        }
        let place = usize::try_from(self.after + 1 - oldest).unwrap_or(usize::MAX);
        let event = Arc::clone(ring.get(place)?);
        self.after = event.id;
        Some(Item::Event(event))
    }
}

#[cfg(test)]
mod tests {
    use claw_core::action::Happened;

    use super::*;

    fn announcement(detail: usize) -> Announcement {
        Announcement {
            at: jiff::Timestamp::UNIX_EPOCH,
            agent: "monitor".parse().unwrap(),
            happened: Happened::StaleFact {
                detail: detail.to_string(),
            },
        }
    }

    #[tokio::test]
    async fn a_listener_gets_what_comes_after_its_number() {
        let feed = Feed::new(100);
        feed.publish(announcement(1));
        feed.publish(announcement(2));
        let mut resumed = feed.subscribe(Some(101));
        let Some(Item::Event(event)) = resumed.next().await else {
            panic!("no event")
        };
        assert_eq!((event.id, &event.announcement), (102, &announcement(2)));
    }

    #[tokio::test]
    async fn a_listener_that_fell_behind_is_told_how_much_it_lost() {
        let feed = Feed::new(0);
        let mut slow = feed.subscribe(None);
        for detail in 0..KEPT + 5 {
            feed.publish(announcement(detail));
        }
        assert!(matches!(slow.next().await, Some(Item::Lagged(5))));
        let Some(Item::Event(event)) = slow.next().await else {
            panic!("no event")
        };
        assert_eq!(event.id, 6);
    }
}
