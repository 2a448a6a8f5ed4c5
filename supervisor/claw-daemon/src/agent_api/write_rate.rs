//! How fast an agent may change state: one that is too fast waits, and only one that would have to
//! wait long is told to come again. All replicas of an agent share its rate.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use claw_core::AgentName;
use tokio::time::Instant;

use super::admission::Context;
use super::fault::Fault;
use super::limits::WRITE_DELAY;

const MINUTE: Duration = Duration::from_secs(60);

/// What each agent may still write: a minute's worth at once, then evenly.
#[derive(Debug, Default)]
pub(super) struct WriteRates(Mutex<BTreeMap<AgentName, Bucket>>);

#[derive(Debug)]
struct Bucket {
    /// Below 0: writes that were let in and wait for their turn.
    left: f64,
    filled: Instant,
}

/// When a write is let in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Turn {
    /// It counts, and waits so long.
    After(Duration),
    /// It does not count; it may be tried again after so long.
    Refused(Duration),
}

impl WriteRates {
    fn turn(&self, agent: &AgentName, per_minute: u32) -> Turn {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, most) = (Instant::now(), f64::from(per_minute));
        let bucket = buckets.entry(agent.clone()).or_insert(Bucket {
            left: most,
            filled: now,
        });
        let gained = now.duration_since(bucket.filled).as_secs_f64() / MINUTE.as_secs_f64();
        bucket.left = (bucket.left + gained * most).min(most);
        bucket.filled = now;
        let missing = (1.0 - bucket.left).max(0.0);
        let wait = MINUTE.mul_f64(missing / most);
        if wait > WRITE_DELAY {
            return Turn::Refused(wait.saturating_sub(WRITE_DELAY));
        }
        bucket.left -= 1.0;
        Turn::After(wait)
    }
}

/// Waits until a change of state is the agent's turn.
///
/// # Errors
///
/// It would have to wait for more than [`WRITE_DELAY`]; then it says when to come again.
pub(super) async fn turn(context: &Context) -> Result<(), Fault> {
    let endpoint = &context.endpoint;
    let Some(per_minute) = endpoint.worker().state_writes_per_minute else {
        return Ok(());
    };
    let rates = &context.api.shared.write_rates;
    match rates.turn(&endpoint.identity(), per_minute.get()) {
        Turn::After(Duration::ZERO) => Ok(()),
        Turn::After(wait) => {
            tokio::time::sleep(wait).await;
            Ok(())
        }
        Turn::Refused(after) => {
            let message = format!(
                "the agent may change state {per_minute} times a minute; \
                 see `resources.state_writes_per_minute`"
            );
            Err(Fault::rate_limited(message, after))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minutes_worth_at_once_then_in_turn_then_later() {
        let rates = WriteRates::default();
        let agent: AgentName = "a".parse().unwrap();
        let turn = || rates.turn(&agent, 30);
        for _ in 0..30 {
            assert_eq!(turn(), Turn::After(Duration::ZERO));
        }
        let seconds = Duration::from_secs;
        assert_eq!(turn(), Turn::After(seconds(2)));
        assert_eq!(turn(), Turn::After(seconds(4)));
        assert_eq!(turn(), Turn::Refused(seconds(1)));
        assert_eq!(turn(), Turn::Refused(seconds(1)), "it took nothing");
        tokio::time::advance(seconds(1)).await;
        assert_eq!(turn(), Turn::After(seconds(5)));
        let other = rates.turn(&"b".parse().unwrap(), 30);
        assert_eq!(other, Turn::After(Duration::ZERO));
    }
}
