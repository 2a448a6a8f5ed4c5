//! `restart_policy:` — what happens when an agent ends.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

/// What happens when an agent ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restart {
    /// Whether it is started again at all.
    pub policy: RestartPolicy,
    /// Failures in a row that are answered by another start; one more and it is given up.
    /// `None`: never given up.
    pub max_retries: Option<u32>,
    /// How delays grow.
    pub backoff: Backoff,
    /// The first delay.
    pub initial_delay: Duration,
    /// The longest delay before jitter.
    pub max_delay: Duration,
    /// Healthy operation after which counters and delay start over.
    pub reset_after: Duration,
    /// Percent of the delay, 0 to 100, added at random after the cap, so that delays differ
    /// at the cap too and none is ever shorter than configured.
    pub jitter_percent: u8,
    /// What exit codes mean.
    pub exit_codes: ExitCodes,
}

/// Whether an ended agent is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// However it ended; also after a success, with the same growing delays.
    Always,
    /// After a failure only.
    OnFailure,
    /// Not at all.
    Never,
}

/// How the delay grows with restarts in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// No delay, ever.
    Immediate,
    /// `initial_delay` more each time.
    Linear,
    /// Twice as long each time.
    Exponential,
}

/// What exit codes mean. A code in none of the sets: 0 is a success, all else a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExitCodes {
    /// Counted as success.
    pub success: BTreeSet<u8>,
    /// A failure worth another try, also where the policy would not restart a oneshot.
    pub retry: BTreeSet<u8>,
    /// A failure that no restart can mend: given up at once.
    pub fatal: BTreeSet<u8>,
    /// Start again at once, not counted as a failure.
    pub again: BTreeSet<u8>,
}
