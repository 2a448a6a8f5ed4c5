//! How fast an agent may ask, and how often it may be refused.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::{BURST, RATE, REFUSALS};

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

/// Counts refusals.
#[derive(Debug)]
pub(super) struct Refusals(Mutex<(Instant, u32)>);

/// Whether an agent has been refused too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Left,
    /// SelfReport once a minute.
    Over,
}

impl Default for Refusals {
    fn default() -> Self {
        Self(Mutex::new((Instant::now(), 0)))
    }
}

impl Refusals {
    pub(super) fn count(&self) -> Patience {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now.duration_since(counted.0) > MINUTE {
            *counted = (now, 0);
        }
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
                .filter(|_| refusals.count() == Patience::Over)
                .count()
        };
        assert_eq!(over(REFUSALS * 3), 1);
        tokio::time::advance(MINUTE * 2).await;
        assert_eq!(over(REFUSALS), 1);
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
