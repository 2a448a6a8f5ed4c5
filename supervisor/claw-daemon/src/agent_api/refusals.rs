//! How fast an agent may ask, and how often it may be refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claw_core::Generation;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::limits::{BODIES, BODY, BURST, RATE, REFUSALS, REQUEST_TIME};

/// The step in which the room of bodies is counted, in bytes.
const ROOM_UNIT: usize = 1024;

const MINUTE: Duration = Duration::from_secs(60);

/// Makes an agent that asks too often wait.
#[derive(Debug)]
pub(super) struct Pace(Mutex<(Instant, f64)>);

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new((Instant::now(), f64::from(BURST))))
    }
}

impl Pace {
    /// How long the request that has just come must wait.
    pub(super) fn delay(&self) -> Option<Duration> {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, tokens) = *bucket;
        let now = Instant::now();
        let gained = now.duration_since(since).as_secs_f64() * f64::from(RATE);
        let tokens = (tokens + gained).min(f64::from(BURST)) - 1.0;
        *bucket = (now, tokens);
        (tokens < 0.0).then(|| Duration::from_secs_f64(-tokens / f64::from(RATE)))
    }
}

/// Makes bodies wait when an agent sends more at a time than is kept of it.
#[derive(Debug)]
pub(super) struct BodyRoom(Arc<Semaphore>);

impl Default for BodyRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BODIES / ROOM_UNIT)))
    }
}

impl BodyRoom {
    /// Waits until there is room for a body of so many bytes; until the answer is dropped, it is
    /// taken. `None` if there is none in the time that a request may take.
    pub(super) async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        // What is larger than a body may be is refused before it is read.
        let units = bytes.min(BODY).div_ceil(ROOM_UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let taking = Arc::clone(&self.0).acquire_many_owned(units);
        tokio::time::timeout(REQUEST_TIME, taking).await.ok()?.ok()
    }
}

/// Counts the refusals that each generation has caused, by requests that were its own.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<Generation, (Instant, u32)>>);

/// Whether an agent has been refused too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Left,
    /// Said once a minute.
    Over,
}

impl Refusals {
    pub(super) fn count(&self, generation: Generation) -> Patience {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        all.retain(|_, (since, _)| now.duration_since(*since) <= MINUTE);
        let counted = all.entry(generation).or_insert((now, 0));
        counted.1 += 1;
        if counted.1 == REFUSALS {
            Patience::Over
        } else {
            Patience::Left
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_is_over_once_a_minute_and_comes_back() {
        let refusals = Refusals::default();
        let over = |count: u32| {
            (0..count)
                .filter(|_| refusals.count(Generation(1)) == Patience::Over)
                .count()
        };
        assert_eq!(over(REFUSALS * 3), 1);
        assert_eq!(refusals.count(Generation(2)), Patience::Left);
        tokio::time::advance(MINUTE * 2).await;
        assert_eq!(over(REFUSALS), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_third_body_of_the_largest_size_waits_for_the_first() {
        let room = BodyRoom::default();
        let first = room.take(BODY).await.unwrap();
        let _second = room.take(usize::MAX).await.unwrap();
        assert!(room.take(1).await.is_none(), "there is room for two");
        assert!(room.take(0).await.is_some(), "no body needs no room");
        drop(first);
        assert!(room.take(BODY).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_what_comes_after_it_waits() {
        let pace = Pace::default();
        let delayed = (0..BURST + 500).filter(|_| pace.delay().is_some()).count();
        assert_eq!(delayed, 500);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(pace.delay(), None);
    }
}
