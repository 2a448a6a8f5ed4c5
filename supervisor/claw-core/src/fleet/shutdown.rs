//! The end of the supervisor.
//!
//! ```text
//!   Open ──Stop──► Stopping ──all at rest──► Ended (AllStopped)
//!     │               ▲ Hasten: every tree is killed
//!     └──Keep─────────┴────────────────────► Ended (AllStopped, nothing ordered)
//! ```
//!
//! Goals in memory stay as they are: the same agents run again after the next start.

use std::collections::BTreeSet;

use crate::action::Action;
use crate::agent::{Dismiss, Place};
use crate::event::ShutdownMode;
use crate::name::AgentName;

use super::Fleet;
use super::turn::Turn;

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    Stopping,
    Ended,
}

impl Fleet {
    pub(super) fn shut_down(&mut self, turn: &mut Turn, mode: ShutdownMode) {
        match (self.stage, mode) {
            (Stage::Ended, _) => {}
            (Stage::Open | Stage::Stopping, ShutdownMode::Keep) => self.keep(turn),
            (Stage::Open, ShutdownMode::Stop) => self.close(turn),
            (Stage::Stopping, ShutdownMode::Stop) => {}
            (Stage::Open | Stage::Stopping, ShutdownMode::Hasten) => {
                self.close(turn);
                self.kill_all(turn);
            }
        }
    }

    /// In reverse order: an agent is stopped when nobody who depends on it runs any more.
    pub(super) fn stop_next(&mut self, turn: &mut Turn, name: &AgentName) {
        let ready = self.agents.get(name).is_some_and(|agent| {
            agent.place() == Place::Closing && self.dependents.of(name).all(|d| self.is_down(d))
        });
        if ready {
            self.visit(turn, name, |agent, cx| agent.move_to(cx, Place::Halting));
        }
    }

    /// An agent came to rest: those it depends on may be next.
    pub(super) fn came_to_rest(&mut self, turn: &mut Turn, name: &AgentName) {
        if self.stage != Stage::Stopping {
            return;
        }
        let dependencies: Vec<AgentName> = self
            .agents
            .get(name)
            .map(|agent| agent.spec().depends_on.keys().cloned().collect())
            .unwrap_or_default();
        for dependency in dependencies {
            self.stop_next(turn, &dependency);
        }
    }

    /// Whether the supervisor may end now.
    pub(super) fn end_if_all_stopped(&mut self, turn: &mut Turn) {
        if self.stage == Stage::Stopping && self.busy.is_empty() && self.orphans.is_empty() {
            // Some may still wait for the journal, which nobody listens to any more.
            self.dismiss_all(turn, Dismiss::All);
            self.stage = Stage::Ended;
            turn.out.push(Action::AllStopped);
        }
    }

    fn keep(&mut self, turn: &mut Turn) {
        self.dismiss_all(turn, Dismiss::All);
        self.stage = Stage::Ended;
        turn.out.push(Action::AllStopped);
    }

    fn close(&mut self, turn: &mut Turn) {
        if self.stage == Stage::Open {
            self.stage = Stage::Stopping;
            self.dismiss_all(turn, Dismiss::AllButStop);
        }
        let names: Vec<AgentName> = self.agents.keys().cloned().collect();
        for name in &names {
            self.visit(turn, name, |agent, cx| {
                if agent.place() == Place::Member {
                    agent.move_to(cx, Place::Closing);
                }
            });
        }
        for name in &names {
            self.stop_next(turn, name);
        }
    }

    fn kill_all(&mut self, turn: &mut Turn) {
        let busy: BTreeSet<AgentName> = self.busy.clone();
        for name in &busy {
            self.visit(turn, name, |agent, cx| agent.kill(cx));
        }
        self.orphans.kill_all(turn);
    }

    fn dismiss_all(&mut self, turn: &mut Turn, whom: Dismiss) {
        let names: Vec<AgentName> = self.agents.keys().cloned().collect();
        for name in &names {
            self.visit(turn, name, |agent, cx| agent.dismiss(cx, whom));
        }
    }

    fn is_down(&self, name: &AgentName) -> bool {
        !self.busy.contains(name)
    }
}
