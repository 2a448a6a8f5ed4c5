//! Whoever listens to announcements knows what `status` says.

use std::collections::BTreeMap;

use claw_core::action::Happened;
use claw_core::{Action, AgentName, Now, PublicState};

use super::{Seen, Verdict, must};
use crate::sut::Sut;

#[derive(Default)]
pub(crate) struct Faces {
    announced: BTreeMap<AgentName, (PublicState, bool, &'static str)>,
}

impl Faces {
    pub(crate) fn learn(&mut self, seen: &Seen<'_>) {
        for action in seen.actions {
            let Action::Announce(announcement) = action else {
                continue;
            };
            if let Happened::StateChanged {
                state,
                ready,
                reason,
            } = &announcement.happened
            {
                let face = (*state, *ready, reason.code());
                self.announced.insert(announcement.agent.clone(), face);
            }
        }
    }

    pub(crate) fn check(&self, sut: &Sut, agent: &AgentName, now: Now) -> Verdict {
        let Some(status) = sut.status(agent, now) else {
            return Ok(());
        };
        let shown = (status.state, status.ready, status.reason.code());
        let announced = self.announced.get(agent);
        must(announced == Some(&shown), "face", || {
            format!("{agent} shows {shown:?}, announced was {announced:?}")
        })
    }

    pub(crate) fn supervisor_died(&mut self) {
        self.announced.clear();
    }
}
