//! How an agent that has stand-ins takes over another configuration: when it is its turn.

use std::sync::Arc;

use crate::death::Cause;
use crate::memory::{Goal, Hold, Latch};
use crate::spec::AgentSpec;

use super::Agent;
use super::context::Context;
use super::dossier::Place;
use super::instance::{Instance, Standing};
use super::need::Reached;

/// When what runs is replaced by an instance of another spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// At once.
    AtOnce,
    /// When those that stand in for it serve, unless it serves nobody itself.
    InTurn,
}

impl Agent {
    /// Takes over another spec; an instance that is ready goes on under the old one until its turn.
    pub(crate) fn change_in_turn(&mut self, cx: &mut Context<'_>, spec: Arc<AgentSpec>) {
        if self.common.spec.mode != spec.mode || !self.is_ready() {
            self.change_by_restart(cx, spec);
            return;
        }
        self.common.forgive();
        self.common.take_spec(spec);
        self.common.successor = None;
        self.common.save(cx);
        self.machine.replan(&mut self.common, cx);
        self.follow(cx);
    }

    /// Whether what runs was started with an earlier spec, and goes on until its turn.
    pub(crate) fn awaits_turn(&self) -> bool {
        let stands = |instance: &Instance| match instance.standing() {
            Standing::Up | Standing::StartingUp => true,
            Standing::Recording
            | Standing::PreStart
            | Standing::Spawning
            | Standing::Preparing(_)
            | Standing::Ending(_) => false,
        };
        self.common.place == Place::Member
            && !self.is_halted()
            && self.common.was_reconfigured()
            && self.machine.newest().is_some_and(stands)
    }

    /// What runs is replaced by an instance of the spec in force.
    pub(crate) fn take_turn(&mut self, cx: &mut Context<'_>) {
        self.machine
            .restart(&mut self.common, cx, Cause::Reconfigured);
        self.follow(cx);
    }

    /// Whether it should serve and does not.
    pub(crate) fn is_missed(&self) -> bool {
        let memory = &self.common.memory;
        let may_serve = match memory.latch {
            Some(Latch::Completed | Latch::NotRestarted { .. }) => false,
            None | Some(Latch::GaveUp { .. } | Latch::Refused { .. }) => true,
        };
        let wanted = memory.goal == Goal::Up && memory.hold == Hold::None && !self.is_halted();
        self.common.place == Place::Member && wanted && may_serve && !self.is_ready()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.reached() == Reached::Ready
    }
}
