//! The three kinds of agent behind one set of calls.

use std::sync::Arc;

use crate::clock::{Gap, Mono};
use crate::deadline::Deadline;
use crate::death::Cause;
use crate::id::Generation;
use crate::memory::Latch;
use crate::record::RecordId;
use crate::spec::AgentSpec;

use super::context::Context;
use super::daemon::Daemon;
use super::dossier::Common;
use super::instance::{Instance, Report};
use super::need::{Need, Reached};
use super::oneshot::Oneshot;
use super::waiters::Dismiss;
use super::worker::Worker;

/// The machine of an agent.
#[derive(Debug)]
pub(crate) enum Machine {
    Daemon(Daemon),
    Oneshot(Oneshot),
    Worker(Box<Worker>),
}

impl Machine {
    pub(crate) fn follow(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        match self {
            Self::Daemon(daemon) => daemon.follow(common, cx),
            Self::Oneshot(oneshot) => oneshot.follow(common, cx),
            Self::Worker(worker) => worker.follow(common, cx),
        }
    }

    pub(crate) fn start_now(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        match self {
            Self::Daemon(daemon) => daemon.start_now(common, cx),
            Self::Oneshot(oneshot) => oneshot.start_now(common, cx),
            Self::Worker(worker) => worker.start_now(common, cx),
        }
    }

    pub(crate) fn restart(&mut self, common: &mut Common, cx: &mut Context<'_>, cause: Cause) {
        match self {
            Self::Daemon(daemon) => daemon.restart(common, cx, cause),
            Self::Oneshot(oneshot) => oneshot.restart(common, cx, &cause),
            Self::Worker(worker) => worker.restart(common, cx, cause),
        }
    }

    /// Another spec is in force, and what runs goes on under the old one.
    pub(crate) fn replan(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        match self {
            Self::Daemon(_) => {}
            Self::Oneshot(oneshot) => oneshot.runs.retune(common, cx),
            Self::Worker(worker) => worker.replan(common, cx),
        }
    }

    /// Slots that fell due while none were planned get their fate.
    pub(crate) fn replan_slots(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        match self {
            Self::Daemon(_) => {}
            Self::Oneshot(oneshot) => oneshot.runs.replan(common, cx),
            Self::Worker(worker) => worker.runs.replan(common, cx),
        }
    }

    pub(crate) fn kill(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        match self {
            Self::Daemon(daemon) => daemon.kill(common, cx),
            Self::Oneshot(oneshot) => oneshot.kill(common, cx),
            Self::Worker(worker) => worker.kill(common, cx),
        }
    }

    pub(crate) fn retune(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        spec: &Arc<AgentSpec>,
    ) {
        match self {
            Self::Daemon(daemon) => daemon.retune(common, cx, spec),
            Self::Oneshot(oneshot) => oneshot.runs.retune(common, cx),
            Self::Worker(worker) => worker.retune(common, cx, spec),
        }
    }

    pub(crate) fn open(&mut self, common: &Common) {
        match self {
            Self::Daemon(daemon) => daemon.open(),
            Self::Oneshot(oneshot) => oneshot.open(common),
            Self::Worker(worker) => worker.life.open(),
        }
    }

    pub(crate) fn admit(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        match self {
            Self::Daemon(daemon) => daemon.admit(common, cx),
            Self::Oneshot(oneshot) => oneshot.admit(common, cx),
            Self::Worker(worker) => worker.life.admit(common, cx),
        }
    }

    pub(crate) fn recorded(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) {
        match self {
            Self::Daemon(daemon) => daemon.recorded(common, cx, id, result),
            Self::Oneshot(oneshot) => oneshot.recorded(common, cx, id, result),
            Self::Worker(worker) => worker.recorded(common, cx, id, result),
        }
    }

    pub(crate) fn report(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        generation: Generation,
        report: Report,
    ) -> Result<(), ()> {
        match self {
            Self::Daemon(daemon) => daemon.report(common, cx, generation, report),
            Self::Oneshot(oneshot) => oneshot.report(common, cx, generation, report),
            Self::Worker(worker) => worker.report(common, cx, generation, report),
        }
    }

    pub(crate) fn tick(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        match self {
            Self::Daemon(daemon) => daemon.tick(common, cx),
            Self::Oneshot(oneshot) => oneshot.tick(common, cx),
            Self::Worker(worker) => worker.tick(common, cx),
        }
    }

    /// Tells all who wait for a run that the supervisor ends.
    pub(crate) fn dismiss(&mut self, cx: &mut Context<'_>, whom: Dismiss) {
        match self {
            Self::Daemon(_) => {}
            Self::Oneshot(oneshot) => oneshot.runs.dismiss(cx, whom),
            Self::Worker(worker) => worker.runs.dismiss(cx, whom),
        }
    }

    /// Gives up what is left of it, because a machine of another kind takes over.
    pub(crate) fn dissolve(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        match self {
            Self::Daemon(_) => {}
            Self::Oneshot(oneshot) => oneshot.runs.dissolve(common, cx),
            Self::Worker(worker) => worker.runs.dissolve(common, cx),
        }
    }

    pub(crate) fn clocks_changed(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        match self {
            Self::Daemon(_) => {}
            Self::Oneshot(oneshot) => oneshot.runs.clocks_changed(common, cx),
            Self::Worker(worker) => worker.runs.clocks_changed(common, cx),
        }
    }

    pub(crate) fn shift(&mut self, gap: Gap, now: Mono) {
        match self {
            Self::Daemon(daemon) => daemon.shift(gap, now),
            Self::Oneshot(oneshot) => oneshot.shift(gap, now),
            Self::Worker(worker) => worker.shift(gap, now),
        }
    }

    pub(crate) fn need(&self, common: &Common) -> Need {
        match self {
            Self::Daemon(daemon) => daemon.need(),
            Self::Oneshot(oneshot) => oneshot.need(common),
            Self::Worker(worker) => worker.life.need(),
        }
    }

    pub(crate) fn reached(&self, common: &Common) -> Reached {
        let reached = |instance: &Instance| {
            if instance.is_ready() {
                Reached::Ready
            } else if instance.has_started() {
                Reached::Started
            } else {
                Reached::Nothing
            }
        };
        match self {
            Self::Daemon(daemon) => daemon.instance().map_or(Reached::Nothing, reached),
            Self::Worker(worker) => worker.life.instance().map_or(Reached::Nothing, reached),
            Self::Oneshot(_)
                if common.memory.latch == Some(Latch::Completed) || common.memory.runs.0 > 0 =>
            {
                Reached::Completed
            }
            Self::Oneshot(oneshot) => oneshot
                .instances()
                .map(reached)
                .max()
                .unwrap_or(Reached::Nothing),
        }
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        match self {
            Self::Daemon(daemon) => daemon.is_at_rest(),
            Self::Oneshot(oneshot) => oneshot.is_at_rest(),
            Self::Worker(worker) => worker.is_at_rest(),
        }
    }

    pub(crate) fn follows_wall_clock(&self) -> bool {
        match self {
            Self::Daemon(_) => false,
            Self::Oneshot(oneshot) => oneshot.runs.follows_wall_clock(),
            Self::Worker(worker) => worker.runs.follows_wall_clock(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Daemon(daemon) => daemon.deadline(),
            Self::Oneshot(oneshot) => oneshot.deadline(),
            Self::Worker(worker) => worker.deadline(),
        }
    }
}
