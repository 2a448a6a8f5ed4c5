//! Of agents that stand in for one another, none that serves is ended for another configuration
//! while another one that should serve does not.

use std::collections::BTreeMap;

use claw_core::action::Happened;
use claw_core::memory::{AgentMemory, Goal, Hold, Latch};
use claw_core::{Action, AgentName, Announcement, Cause, Reason};

use super::{Instances, Seen, Verdict, must};

#[derive(Default)]
pub(crate) struct Rolls {
    /// Whether each agent was said to be ready last.
    ready: BTreeMap<AgentName, bool>,
}

impl Rolls {
    pub(crate) fn check(
        &mut self,
        seen: &Seen<'_>,
        action: &Action,
        (instances, memories): (&Instances, &BTreeMap<AgentName, AgentMemory>),
    ) -> Verdict {
        let Action::Announce(Announcement {
            agent, happened, ..
        }) = action
        else {
            return Ok(());
        };
        let Happened::StateChanged { ready, reason, .. } = happened else {
            return Ok(());
        };
        let served = self.ready.insert(agent.clone(), *ready) == Some(true);
        let cause = Cause::Reconfigured;
        let in_turn = served && *reason == Reason::Ending { cause };
        if !in_turn || is_of_another_mode(seen, agent, instances) {
            return Ok(());
        }
        let mut groups = seen.spec.groups.iter();
        let group = groups.find(|group| group.contains(agent));
        let mut others = group.into_iter().flatten().filter(|other| *other != agent);
        let missed = others.find(|other| {
            let wanted = memories.get(*other).is_some_and(should_serve);
            let member = seen.spec.agents.contains_key(*other);
            wanted && member && self.ready.get(*other) == Some(&false)
        });
        must(missed.is_none(), "roll", || {
            format!("{agent} takes its turn while {missed:?} does not serve")
        })
    }

    pub(crate) fn supervisor_died(&mut self) {
        self.ready.clear();
    }
}

fn should_serve(memory: &AgentMemory) -> bool {
    let may_serve = match memory.latch {
        Some(Latch::Completed | Latch::NotRestarted { .. }) => false,
        None | Some(Latch::GaveUp { .. } | Latch::Refused { .. }) => true,
    };
    memory.goal == Goal::Up
        && memory.hold == Hold::None
        && memory.switch.halt.is_none()
        && may_serve
}

/// What is of another mode is ended at once.
fn is_of_another_mode(seen: &Seen<'_>, agent: &AgentName, instances: &Instances) -> bool {
    let spec = seen.spec.agents.get(agent);
    let newest = instances.live.iter().rfind(|id| id.agent == *agent);
    let mode = newest.and_then(|id| instances.mode_of(id));
    spec.is_none() || mode != spec.map(|spec| spec.mode)
}
