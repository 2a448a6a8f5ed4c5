//! The labels of metrics.

use claw_core::{AgentName, ProbeKind};
use prometheus_client::encoding::EncodeLabelSet;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Of {
    pub(super) agent: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfStatus {
    pub(super) agent: String,
    pub(super) status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfPhase {
    pub(super) agent: String,
    pub(super) phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfLevel {
    pub(super) agent: String,
    pub(super) level: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfProbe {
    pub(super) agent: String,
    pub(super) probe: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfPart {
    pub(super) part: &'static str,
}

pub(super) fn of(agent: &AgentName) -> Of {
    Of {
        agent: agent.to_string(),
    }
}

pub(super) fn of_probe(agent: &AgentName, probe: ProbeKind) -> OfProbe {
    OfProbe {
        agent: agent.to_string(),
        probe: probe.to_string(),
    }
}
