//! Live instances of agents that are no longer configured: they left the fleet file while no
//! supervisor ran. They are stopped; nothing is ever started for them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::agent::books::Books;
use crate::agent::context::{Context, Source};
use crate::agent::{Report, Rest};
use crate::clock::Mono;
use crate::deadline::{Deadline, Why, earlier};
use crate::death::{Cause, ExitReport};
use crate::id::{Generation, InstanceId};
use crate::name::AgentName;
use crate::order::Order;
use crate::record::{Record, RecordId};
use crate::run::{Run, RunOutcome, RunPhase};
use crate::spec::Shutdown;

use super::Fleet;
use super::turn::Turn;

/// The grace of an agent whose own is not known any more: the default of the fleet file.
const GRACE: Duration = Duration::from_secs(30);

/// SIGTERM.
const SIGTERM: i32 = 15;

/// A kill that is not answered is repeated after this long.
const KILL_AGAIN: Duration = Duration::from_secs(10);

/// Instances that belong to no agent.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// On their way down, with the time of the next kill.
    live: BTreeMap<InstanceId, Mono>,
    /// What is to be written down of those that are gone, and of agents that have left.
    books: Books,
}

impl Orphans {
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Whether anything of an agent is among them.
    pub(super) fn has_any_of(&self, agent: &AgentName) -> bool {
        let first = InstanceId {
            agent: agent.clone(),
            generation: Generation(0),
        };
        let next = self.live.range(first..).next();
        next.is_some_and(|(instance, _)| instance.agent == *agent)
    }

    /// Begins to stop one, which may be frozen.
    /// An agent that is still configured says how.
    pub(super) fn stop(
        &mut self,
        turn: &mut Turn,
        instance: InstanceId,
        shutdown: Option<&Shutdown>,
    ) {
        let signal = shutdown.map_or(SIGTERM, |shutdown| shutdown.signal);
        let grace = shutdown.map_or(GRACE, |shutdown| shutdown.timeout);
        turn.order(Order::Thaw {
            instance: instance.clone(),
        });
        turn.order(Order::Signal {
            instance: instance.clone(),
            signal,
        });
        self.live.insert(instance, turn.now.mono + grace);
    }

    /// Ends all at once.
    pub(super) fn kill_all(&mut self, turn: &mut Turn) {
        for (instance, at) in &mut self.live {
            *at = turn.now.mono + KILL_AGAIN;
            turn.order(Order::Kill {
                instance: instance.clone(),
            });
        }
    }

    pub(super) fn tick(&mut self, turn: &mut Turn, source: &mut Source) {
        let now = turn.now.mono;
        self.books.tick(&mut turn.context(source));
        for (instance, at) in self.live.iter_mut().filter(|(_, at)| **at <= now) {
            *at = now + KILL_AGAIN;
            turn.order(Order::Kill {
                instance: instance.clone(),
            });
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let kill = self.live.values().min().map(|at| (*at, Why::Grace));
        earlier(kill, self.books.deadline())
    }

    pub(super) fn shift(&mut self, gap: Duration) {
        for at in self.live.values_mut() {
            *at = *at + gap;
        }
    }

    /// Whether it is one of them.
    pub(super) fn owns(&self, instance: &InstanceId) -> bool {
        self.live.contains_key(instance)
    }

    /// A driver has reported of one of them. Returns its end, if it was that.
    pub(super) fn report(
        &mut self,
        instance: &InstanceId,
        report: &Report,
    ) -> Option<(Cause, Option<ExitReport>)> {
        let end = match report {
            Report::Gone(report) => (Cause::Reconfigured, Some(report.clone())),
            Report::Lost | Report::SpawnFailed(_) => (Cause::Lost, None),
            Report::Preparing(_)
            | Report::Unobserved(_)
            | Report::Observed
            | Report::NeedsRestart(_)
            | Report::Started { .. }
            | Report::MainExited(_)
            | Report::Probed(..)
            | Report::SelfChecked(_)
            | Report::Notified(_)
            | Report::Progressed
            | Report::BrokeProtocol
            | Report::RunTaken(_)
            | Report::RunProgressed(_)
            | Report::RunFinished(..)
            | Report::Resumed(_)
            | Report::ModelCall(_)
            | Report::HookDone(..) => return None,
        };
        self.live.remove(instance);
        Some(end)
    }

    /// An agent leaves; what it still owes the journal stays here.
    pub(super) fn take_over(&mut self, books: Books) {
        self.books.take_over(books);
    }

    /// The journal has answered. Says whether the record was one of these.
    pub(super) fn answered(
        &mut self,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) -> bool {
        let known = self.books.contain(id);
        self.books.answered(cx, id, result);
        known
    }
}

impl Fleet {
    /// Tells an agent whether something of it is still on its way down.
    pub(super) fn note_rest(&mut self, turn: &mut Turn, agent: &AgentName) {
        let rest = if self.orphans.has_any_of(agent) {
            Rest::Ending
        } else {
            Rest::Gone
        };
        if self
            .agents
            .get(agent)
            .is_some_and(|known| known.rest() != rest)
        {
            self.visit(turn, agent, |agent, cx| agent.rest_is(cx, rest));
        }
    }

    /// Begins to stop a live instance that belongs to no agent, or not to its agent as it is now.
    pub(super) fn stop_orphan(&mut self, turn: &mut Turn, instance: InstanceId) {
        let spec = self.spec.agents.get(&instance.agent);
        let shutdown = spec.map(|spec| &spec.shutdown);
        self.orphans.stop(turn, instance, shutdown);
    }

    /// Writes down the end of a run whose agent left the fleet, or takes no runs any more.
    pub(super) fn call_off(&mut self, turn: &mut Turn, run: &Run) {
        let cause = Cause::Reconfigured;
        let (started, outcome) = match run.phase {
            RunPhase::Running { since } => (Some(since), RunOutcome::Interrupted { cause }),
            RunPhase::Queued | RunPhase::Retrying { .. } => (None, RunOutcome::Cancelled { cause }),
            RunPhase::Finished { .. } => return,
        };
        let mut run = run.clone();
        run.phase = RunPhase::Finished {
            started,
            at: turn.now.wall,
            outcome,
        };
        let mut cx = turn.context(&mut self.source);
        self.orphans.books.run(&mut cx, &run);
    }

    /// Writes the outcome of an instance that belongs to no agent.
    pub(super) fn bury(
        &mut self,
        turn: &mut Turn,
        instance: &InstanceId,
        cause: Cause,
        report: Option<ExitReport>,
    ) {
        let record = Record::Outcome {
            instance: instance.clone(),
            cause,
            failed: false,
            report: report.map(Box::new),
            at: turn.now.wall,
        };
        let mut cx = turn.context(&mut self.source);
        self.orphans.books.outcome(&mut cx, instance, record);
    }
}
