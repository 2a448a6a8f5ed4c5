//! What was learned of the system calls of an agent, as it travels.

use claw_core::spec::sandbox::SystemCalls;
use claw_drivers::sandbox::{LearnedCall as Learned, Verdict};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// What an agent has called that the usual filter refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LearnedCallList {
    /// Whether its calls are being learned: `seccomp: learn`.
    pub learning: bool,
    /// By name.
    pub calls: Vec<LearnedCall>,
    /// The line of its `sandbox` that allows those that can be allowed; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
}

/// A system call off the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LearnedCall {
    /// Its name; `#` and its number where it has no name here.
    pub name: String,
    /// How often it was made, or tried.
    pub count: u64,
    /// When for the first time.
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: Time,
    /// Whether it was refused while learning, too: it could lead out of the sandbox.
    pub denied: bool,
}

impl LearnedCallList {
    /// All of an agent whose replicas have these filters.
    pub(crate) fn new(filters: &[SystemCalls], calls: &[Learned]) -> Self {
        let allowed = |call: &&Learned| call.verdict == Verdict::Allowed;
        let names: Vec<&str> = calls
            .iter()
            .filter(allowed)
            .map(|call| call.name.as_str())
            .collect();
        Self {
            learning: filters.contains(&SystemCalls::Learn),
            calls: calls.iter().map(Into::into).collect(),
            line: (!names.is_empty()).then(|| format!("seccomp: {{also: [{}]}}", names.join(", "))),
        }
    }
}

impl From<&Learned> for LearnedCall {
    fn from(call: &Learned) -> Self {
        Self {
            name: call.name.clone(),
            count: call.count,
            first_seen: call.first,
            denied: call.verdict == Verdict::Denied,
        }
    }
}
