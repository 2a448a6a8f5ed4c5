//! The time, for windows of budgets and for waiting.

use std::time::{Duration, Instant};

use claw_gateway::llm::serve::Clock;
use jiff::Timestamp;

/// The clocks of this machine; monotonic time counts from when this value was made.
#[derive(Debug)]
pub(super) struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    pub(super) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}
