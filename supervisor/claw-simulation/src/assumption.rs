//! How agents are taken to behave: nobody can tell that from a fleet file.

use std::time::Duration;

use claw_core::ProviderName;
use claw_gateway::llm::money::Money;

/// How an agent behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assumption {
    /// From the start of its process until it is up.
    pub start: Duration,
    /// How long a run takes, from the start of its process or its delivery.
    pub run: Duration,
    /// How long a daemon or a worker lives before it ends by itself; `None`: as long as it may.
    pub life: Option<Duration>,
    /// With which exit code its process ends by itself; a worker's run fails with any but 0.
    pub exit: u8,
    /// Whether it ever becomes ready.
    pub readiness: Readiness,
    /// How often a daemon does its work, which is its calls.
    pub every: Option<Duration>,
    /// The calls to models of one run, or of one piece of a daemon's work; `None`: not known.
    pub calls: Option<Calls>,
}

/// Whether an agent becomes ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readiness {
    /// It does, when it is up.
    #[default]
    Comes,
    /// Its probes fail, and it never says so.
    Never,
}

/// Calls to models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    /// How many.
    pub number: u32,
    /// What one of them costs; so much is held for it, too.
    pub cost: Money,
    /// Who answers them.
    pub provider: ProviderName,
}

impl Default for Assumption {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(1),
            run: Duration::from_secs(10),
            life: None,
            exit: 0,
            readiness: Readiness::Comes,
            every: None,
            calls: None,
        }
    }
}
