//! How agents that are processes are confined, and what was kept from them.

use claw_core::sandbox as core;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// The sandbox of an agent that is a process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ProcessSandbox {
    /// How far its live instance is confined; absent while none lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<SandboxLevel>,
    /// By what, in words, from the outside in.
    pub layers: Vec<String>,
    /// What it does without on this machine; empty unless the file lets it be degraded.
    pub losses: Vec<SandboxLoss>,
}

/// How far a process is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SandboxLevel {
    /// Not at all, but for its limits.
    None,
    /// By Landlock and a filter of system calls, among the processes of the host.
    Landlock,
    /// In namespaces of its own.
    Full,
}

/// Something that was wanted, and is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxLoss {
    /// What it means, in words.
    pub loss: String,
    /// What the machine answered.
    pub reason: String,
}

/// What an agent tried to reach and was not allowed to, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DenialList {
    /// The newest; older ones are forgotten, and all of them when the supervisor ends.
    pub denials: Vec<Denial>,
}

/// A connection that was denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Denial {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Which agent: one of several replicas, where the name stands for them.
    pub agent: String,
    /// The host that was asked for, as it was asked.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The address that the host has, where it was the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Why, in a sentence.
    pub reason: String,
    /// The line of the fleet file that denies it, such as `agents.coder.sandbox.blocked_network[0]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The line of the fleet file that would allow it; absent where none would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl SandboxLevel {
    /// The word, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Landlock => "landlock",
            Self::Full => "full",
        }
    }
}

impl std::fmt::Display for SandboxLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<core::Level> for SandboxLevel {
    fn from(level: core::Level) -> Self {
        match level {
            core::Level::None => Self::None,
            core::Level::Landlock => Self::Landlock,
            core::Level::Full => Self::Full,
        }
    }
}

impl From<&core::Plan> for ProcessSandbox {
    fn from(plan: &core::Plan) -> Self {
        let loss = |loss: &core::Loss| SandboxLoss {
            loss: loss.need.to_string(),
            reason: loss.lack.to_string(),
        };
        Self {
            level: Some(plan.level.into()),
            layers: plan.layers.iter().map(ToString::to_string).collect(),
            losses: plan.losses.iter().map(loss).collect(),
        }
    }
}
