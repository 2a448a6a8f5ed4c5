//! From an agent's spec to what its proxy goes by.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use claw_core::spec::container::Network;
use claw_core::spec::sandbox::{Egress, HostRule, Reach, Sni};
use claw_core::{AgentName, AgentSpec, FleetSpec};
use claw_gateway::egress::policy::{EgressPolicy, EgressRules, Line, SniRule, Source};
use claw_gateway::egress::{Limits, Settings};

/// What each agent with a list may reach.
pub(super) fn of_fleet(fleet: &FleetSpec, own: &[SocketAddr]) -> BTreeMap<AgentName, Settings> {
    let agents = fleet.agents.iter();
    let listed = agents.filter_map(|(agent, spec)| Some((agent, listed(spec)?)));
    listed
        .map(|(agent, egress)| (agent.clone(), settings(agent, egress, own)))
        .collect()
}

/// What one agent may reach; nothing, if it has no list any more.
pub(super) fn of_agent(all: &BTreeMap<AgentName, Settings>, agent: &AgentName) -> Settings {
    let none = || settings(agent, &Egress::default(), &[]);
    all.get(agent).cloned().unwrap_or_else(none)
}

fn listed(spec: &AgentSpec) -> Option<&Egress> {
    if let Some(container) = &spec.launch.container {
        return match &container.network {
            Network::Listed(egress) => Some(egress),
            Network::None | Network::Bridge => None,
        };
    }
    match &spec.launch.sandbox.as_ref()?.network {
        Reach::Listed(egress) => Some(egress),
        Reach::Host => None,
    }
}

fn settings(agent: &AgentName, egress: &Egress, own: &[SocketAddr]) -> Settings {
    let Egress {
        allowed,
        blocked,
        private_networks,
        // The driver goes by it: what is not captured has no listener.
        capture: _,
        sni,
        max_tunnels,
        per_minute,
        max_bytes,
    } = egress;
    let rules = EgressRules {
        place: format!("agents.{agent}.sandbox"),
        allowed: lines(allowed),
        blocked: lines(blocked),
        private_networks: lines(private_networks),
        sni: match sni {
            Sni::Required => SniRule::Required,
            Sni::Optional => SniRule::Optional,
        },
        own_listeners: own.to_vec(),
    };
    Settings {
        policy: policy(agent, &rules),
        limits: Limits {
            max_tunnels: *max_tunnels,
            connects_per_minute: per_minute.and_then(NonZeroU32::new),
            max_bytes: *max_bytes,
            ..Limits::default()
        },
    }
}

/// The fleet file was checked with the same reader; what it cannot read allows nothing.
fn policy(agent: &AgentName, rules: &EgressRules) -> EgressPolicy {
    EgressPolicy::new(rules).unwrap_or_else(|errors| {
        for error in errors {
            tracing::error!(%agent, %error, "a rule cannot be read, so that the agent reaches no host");
        }
        let none = EgressRules {
            place: rules.place.clone(),
            ..EgressRules::default()
        };
        EgressPolicy::new(&none).expect("rules without lines have none that cannot be read")
    })
}

fn lines(rules: &[HostRule]) -> Vec<Line> {
    let line = |rule: &HostRule| Line {
        source: Source::new(&rule.key),
        text: rule.pattern.clone(),
    };
    rules.iter().map(line).collect()
}
