//! `health_check:` — how an agent's health is judged.

use std::num::NonZeroU16;
use std::time::Duration;

use serde::Serialize;

/// The probes of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Probes {
    /// Holds back the others until it succeeded once; `threshold` failures end the start.
    pub startup: Option<Probe>,
    /// `threshold` failures in a row restart the agent.
    pub liveness: Option<Probe>,
    /// `threshold` failures in a row make it not ready.
    pub readiness: Option<Probe>,
    /// Silence longer than this restarts the agent.
    pub progress: Option<Progress>,
    /// Calls to models that fail again and again restart the agent.
    pub breaker: Breaker,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// What is checked.
    pub check: Check,
    /// From the end of one check to the start of the next.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// Failures in a row that make the verdict; at least 1.
    pub threshold: u32,
}

/// What a probe checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A command succeeds, run as the agent and in its cgroup.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
    },
    /// An HTTP GET answers as expected. Redirects are not followed.
    Http {
        /// The host; loopback unless said otherwise.
        host: String,
        /// The port.
        port: u16,
        /// The path with its query.
        path: String,
        /// The status it must have; `None`: any of 200 to 399.
        status: Option<u16>,
        /// A text that must stand in the first 4 KiB of the body.
        body: Option<String>,
    },
    /// A TCP connection is accepted.
    Tcp {
        /// The host; loopback unless said otherwise.
        host: String,
        /// The port.
        port: u16,
    },
    /// The agent sends by itself (`sd_notify(3)`): `READY=1` for startup and readiness, and
    /// `WATCHDOG=1` at least once in `interval` for liveness. No driver runs it; the core judges.
    Heartbeat,
}

/// `progress:` — evidence of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The longest silence.
    pub max_silence: Duration,
}

/// `breaker:` — no progress in spite of work.
///
/// A request that is refused once may be refused by chance; an agent that makes the very same one
/// again and again does not learn from the refusal, and only a start from the beginning helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Breaker {
    /// So many failures of the same request, in the same way and with no other request answered
    /// in between, restart the agent.
    pub calls: NonZeroU16,
    /// All of them within this time.
    pub within: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            calls: const { NonZeroU16::new(20).unwrap() },
            within: Duration::from_secs(600),
        }
    }
}
