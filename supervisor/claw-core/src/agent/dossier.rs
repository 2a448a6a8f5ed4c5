//! What daemons and oneshots have in common: who they are, what is wanted of them, and what is
//! remembered of them.

use std::sync::Arc;
use std::time::Duration;

use crate::action::Happened;
use crate::clock::Wall;
use crate::deadline::{Deadline, earlier};
use crate::death::Cause;
use crate::halt::HaltLevel;
use crate::id::{Generation, InstanceId};
use crate::memory::{AgentMemory, Goal, Hold, StartProof};
use crate::models::{GateStage, ProviderName};
use crate::name::AgentName;
use crate::order::{Hook, Order};
use crate::record::{Record, RecordId};
use crate::restart::{
    Class, Counters, Verdict, classify, decide, decide_excused, longest_wait_for_money,
};
use crate::spec::{AgentSpec, Mode};

use super::books::Books;
use super::context::Context;
use super::end::{End, EndKind};
use super::halting::Halting;
use super::instance::Instance;
use super::stopping::Stopping;

/// What both kinds of agent have.
#[derive(Debug)]
pub(crate) struct Common {
    pub name: AgentName,
    pub spec: Arc<AgentSpec>,
    pub spec_hash: String,
    /// A spec of the other mode, which takes over when what runs under this one is gone.
    pub successor: Option<Arc<AgentSpec>>,
    pub memory: AgentMemory,
    pub place: Place,
    /// Agents it waits for, as the fleet found last.
    pub missing: Vec<AgentName>,
    /// The outage that its last life died of, until the next one begins.
    pub outage: Option<Outage>,
    pub rest: Rest,
    /// How far the last change of the kill switch has come.
    pub halting: Halting,
    /// How far the last stop has come.
    pub stopping: Stopping,
    pub books: Books,
}

/// Whether a command changes what is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changes {
    Yes,
    No,
}

impl From<bool> for Changes {
    fn from(changes: bool) -> Self {
        if changes { Self::Yes } else { Self::No }
    }
}

/// What an earlier supervisor left of it that it could not take over, such as an instance of
/// another mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing, or nothing any more.
    Gone,
    /// The fleet ends it.
    Ending,
}

/// Whose failure an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The agent's own.
    Own,
    /// That of a provider of models that is out for everybody.
    Elsewhere,
}

/// An outage of a provider of models that ended a life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outage {
    pub provider: ProviderName,
    pub blame: Blame,
    /// Since when, and how its gate stands, once the agent stands there.
    pub gate: Option<(Wall, GateStage)>,
}

/// Its place in the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// An ordinary member.
    Member,
    /// The supervisor ends: nothing new is started, what runs goes on until its turn.
    Closing,
    /// The supervisor ends, and it is this agent's turn.
    Halting,
    /// It left the configuration.
    Leaving,
}

impl Common {
    pub(crate) fn new(name: AgentName, spec: Arc<AgentSpec>, mut memory: AgentMemory) -> Self {
        memory.mode = Some(spec.mode);
        Self {
            name,
            spec_hash: spec.hash(),
            spec,
            successor: None,
            memory,
            place: Place::Member,
            missing: Vec::new(),
            outage: None,
            rest: Rest::Gone,
            halting: Halting::default(),
            stopping: Stopping::default(),
            books: Books::default(),
        }
    }

    /// What the next instance is started with.
    pub(crate) fn plan(&self) -> (Arc<AgentSpec>, String) {
        (Arc::clone(&self.spec), self.spec_hash.clone())
    }

    /// Another spec is in force.
    pub(crate) fn take_spec(&mut self, spec: Arc<AgentSpec>) {
        self.spec_hash = spec.hash();
        self.memory.mode = Some(spec.mode);
        self.spec = spec;
    }

    /// Whether the last instance was started with a spec that only a restart turns into this one.
    pub(crate) fn was_reconfigured(&self) -> bool {
        let started_with = self.memory.started_with.as_ref();
        started_with.is_some_and(|hash| *hash != self.spec_hash)
    }

    /// The goal that what runs has to obey.
    pub(crate) const fn goal_in_force(&self) -> Goal {
        if self.stopping.is_settled() {
            self.memory.goal
        } else {
            Goal::Up
        }
    }

    /// Whether what runs must end.
    pub(crate) fn must_end(&self) -> bool {
        self.memory.goal == Goal::Down || matches!(self.place, Place::Halting | Place::Leaving)
    }

    /// Whether it belongs up: wanted, and nothing final speaks against it.
    pub(crate) fn belongs_up(&self) -> bool {
        self.memory.goal == Goal::Up && self.place == Place::Member && self.memory.latch.is_none()
    }

    /// Whether something new may be started now.
    pub(crate) fn may_start(&self) -> bool {
        self.belongs_up() && self.memory.hold == Hold::None && !self.is_halted()
    }

    /// A life that nobody had before.
    pub(crate) fn next_instance(&mut self) -> InstanceId {
        let generation = Generation(self.memory.last_generation.0.saturating_add(1));
        self.memory.last_generation = generation;
        self.memory.started_with = Some(self.spec_hash.clone());
        self.memory.start_proof = match self.spec.probes.startup {
            Some(_) => StartProof::Probed,
            None => StartProof::Unprobed,
        };
        self.instance(generation)
    }

    pub(crate) fn instance(&self, generation: Generation) -> InstanceId {
        InstanceId {
            agent: self.name.clone(),
            generation,
        }
    }

    /// Remembers, as far as our death.
    pub(crate) fn save(&mut self, cx: &mut Context<'_>) {
        self.books.memory(cx, &self.name, self.memory.clone());
    }

    /// Remembers beyond a power cut, and says whose answer tells that it is done.
    pub(crate) fn save_synced(&mut self, cx: &mut Context<'_>) -> RecordId {
        self.books
            .synced_memory(cx, &self.name, self.memory.clone())
    }

    /// The record to wait for before a goal or a hold may be promised: `None` when it is as
    /// before and the journal has it.
    pub(crate) fn promise(&mut self, cx: &mut Context<'_>, changes: Changes) -> Option<RecordId> {
        match changes {
            Changes::No if !self.books.owes_sync() => None,
            Changes::No | Changes::Yes => Some(self.save_synced(cx)),
        }
    }

    pub(crate) const fn counters(&self) -> Counters {
        Counters {
            failures: self.memory.failures,
            restarts_in_a_row: self.memory.restarts_in_a_row,
        }
    }

    pub(crate) const fn set_counters(&mut self, counters: Counters) {
        self.memory.failures = counters.failures;
        self.memory.restarts_in_a_row = counters.restarts_in_a_row;
    }

    /// The longest delay the restart policy can come to; a remembered start that lies further
    /// ahead was written down under another clock.
    pub(crate) fn longest_delay(&self) -> Duration {
        let restart = &self.spec.restart;
        let jitter = f64::from(restart.jitter_percent) / 100.0;
        let longest = restart.max_delay.max(restart.initial_delay);
        let last = self.memory.last_death.as_ref();
        let for_money = last.map_or(Duration::ZERO, |(cause, at)| {
            longest_wait_for_money(cause, *at)
        });
        longest
            .saturating_add(longest.mul_f64(jitter))
            .max(for_money)
    }

    /// A clean slate, as `start` and a changed spec give it.
    pub(crate) fn forgive(&mut self) {
        self.memory.latch = None;
        self.memory.next_start = None;
        self.outage = None;
        self.set_counters(Counters::default());
    }

    /// Notes whose outage the end of a life is laid to, if it is to one.
    pub(crate) fn lay_to_outage(&mut self, cx: &Context<'_>, instance: &Instance, end: &End) {
        let failed = end.kind == EndKind::Judged && self.is_failure(end);
        let provider = instance.outage(cx.mono()).filter(|_| failed);
        self.outage = provider.map(|provider| Outage {
            provider: provider.clone(),
            blame: if cx.source.gates.is_out(provider, cx.mono()) {
                Blame::Elsewhere
            } else {
                Blame::Own
            },
            gate: None,
        });
    }

    /// What follows from an end by the restart policy.
    pub(crate) fn decide(
        &self,
        mode: Mode,
        cause: &Cause,
        counters: Counters,
        random: u64,
    ) -> Verdict {
        let restart = &self.spec.restart;
        match self
            .outage
            .as_ref()
            .map_or(Blame::Own, |outage| outage.blame)
        {
            Blame::Own => decide(restart, mode, cause, counters, random),
            Blame::Elsewhere => decide_excused(restart, mode, cause, counters, random),
        }
    }

    /// Whether an end counts as a failure.
    pub(crate) fn is_failure(&self, end: &End) -> bool {
        match end.kind {
            EndKind::Clean | EndKind::NotBegun | EndKind::Unrecorded => false,
            EndKind::Unclean => true,
            EndKind::Judged => match classify(&self.spec.restart.exit_codes, &end.cause) {
                Class::Success | Class::Again | Class::Hindered | Class::Ordered => false,
                Class::Failure | Class::Retry | Class::Fatal | Class::Refused => true,
            },
        }
    }

    /// Notes the end in memory; to be saved with what else the end changes.
    pub(crate) fn note_death(&mut self, cx: &Context<'_>, generation: Generation, end: &End) {
        self.memory.last_death = Some((end.cause.clone(), cx.now.wall));
        self.memory.settled = self.memory.settled.max(generation);
    }

    /// Writes the one outcome of a life and tells the world.
    pub(crate) fn bury(&mut self, cx: &mut Context<'_>, generation: Generation, end: &End) {
        let failed = self.is_failure(end);
        let instance = self.instance(generation);
        let record = Record::Outcome {
            instance: instance.clone(),
            cause: end.cause.clone(),
            failed,
            report: end.report.clone().map(Box::new),
            at: cx.now.wall,
        };
        self.books.outcome(cx, &instance, record);
        let happened = Happened::Ended {
            instance,
            cause: end.cause.clone(),
            failed,
        };
        cx.announce(&self.name, happened);
    }

    /// Starts the `post_stop` hook of an ended life, if it has one and had begun. What stands still
    /// or is killed for a halt does not go on in its hook.
    pub(crate) fn run_post_stop(
        &mut self,
        cx: &mut Context<'_>,
        instance: &Instance,
    ) -> Option<crate::clock::Mono> {
        let hook = instance.spec().hooks.post_stop.as_ref()?;
        if !instance.has_started() || self.enforced() >= Some(HaltLevel::Freeze) {
            return None;
        }
        self.books.hook_begins(instance.id().clone());
        cx.order(Order::RunHook {
            instance: instance.id().clone(),
            hook: Hook::PostStop,
            spec: Arc::clone(instance.spec()),
        });
        Some(cx.after(hook.timeout + super::instance::HOOK_MARGIN))
    }

    /// The `post_stop` hook of a life is over.
    pub(crate) fn post_stop_over(&mut self, cx: &mut Context<'_>, generation: Generation) {
        let instance = self.instance(generation);
        self.books.hook_ends(cx, &instance);
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let switches = earlier(self.halting.deadline(), self.stopping.deadline());
        earlier(self.books.deadline(), switches)
    }

    /// Why nothing can be started, as an ending to show where no other is known.
    pub(crate) fn last_cause(&self) -> Cause {
        let last = self.memory.last_death.as_ref();
        last.map_or(Cause::Lost, |(cause, _)| cause.clone())
    }
}
