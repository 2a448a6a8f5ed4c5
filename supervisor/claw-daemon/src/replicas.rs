//! Which of several replicas gets what any of them may do.

use claw_core::{AgentName, AgentStatus};

/// The replica that is freest: one that is ready, with the fewest runs; the first of equal ones.
pub(crate) fn freest(members: &[AgentName], statuses: &[AgentStatus]) -> Option<AgentName> {
    let status = |name: &AgentName| statuses.iter().find(|status| status.name == *name);
    let known = members.iter().filter_map(status);
    let freest = known.min_by_key(|status| {
        let runs = u64::from(status.runs.active) + u64::from(status.runs.queued);
        (!status.ready, runs)
    });
    freest.map(|status| status.name.clone())
}
