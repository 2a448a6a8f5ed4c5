//! The one place that reads clocks for the core.

use std::time::{Duration, Instant};

use claw_core::{Mono, Now};

/// The clocks of this machine; monotonic time counts from when this value was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts counting.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// Reads both clocks.
    #[must_use]
    pub(crate) fn now(&self) -> Now {
        Now {
            mono: Mono::new(self.origin.elapsed()),
            wall: jiff::Timestamp::now(),
        }
    }

    /// The instant at which the monotonic clock shows `at`.
    #[must_use]
    pub(crate) fn instant(&self, at: Mono) -> tokio::time::Instant {
        // A deadline beyond this is no deadline: `Instant` cannot hold every `Duration`.
        let ahead = at
            .since_origin()
            .min(Duration::from_secs(u64::from(u32::MAX)));
        tokio::time::Instant::from_std(self.origin + ahead)
    }
}
