//! One agent: the machine of its kind, what is remembered of it, and who waits for it.
//!
//! ```text
//!   Agent ── Common      name, spec, memory (goal, hold, latch, counters), place in the fleet
//!         ├─ Machine     Daemon | Oneshot | Worker; all drive Instances
//!         ├─ waiters     tickets of commands that are not answered yet
//!         └─ face        the public state as it was announced last
//! ```
//!
//! Called by the fleet only. After each call the fleet asks again for `need`, `reached`,
//! `deadline` and `is_at_rest` and brings its indexes after them.

pub(crate) mod books;
mod calls;
mod commands;
pub(crate) mod context;
mod daemon;
mod dossier;
mod end;
mod face;
mod halting;

mod health;
mod instance;
mod machine;
pub(crate) mod need;
mod oneshot;
mod restore;
mod runs;
mod stopping;
mod track;
mod turns;
mod verdict;
mod waiters;
mod worker;

use std::sync::Arc;

use crate::clock::{Gap, Mono, Wall};
use crate::deadline::{Deadline, earlier};
use crate::id::Generation;
use crate::memory::AgentMemory;
use crate::models::{GateStage, ProviderName};
use crate::name::AgentName;
use crate::record::RecordId;
use crate::spec::{AgentSpec, Mode};

use books::Books;
use context::Context;
use daemon::Daemon;
use dossier::Common;
pub(crate) use dossier::{Place, Rest};
use face::Face;
use instance::Instance;
pub(crate) use instance::Report;
use machine::Machine;
use need::{Need, Reached};
use oneshot::Oneshot;
pub(crate) use restore::{Legacy, observed};
pub(crate) use turns::Takeover;
pub(crate) use waiters::Dismiss;
use waiters::Waiters;
use worker::Worker;

/// One agent.
#[derive(Debug)]
pub(crate) struct Agent {
    common: Common,
    machine: Machine,
    waiters: Waiters,
    face: Face,
}

impl Agent {
    pub(crate) fn new(
        name: AgentName,
        spec: Arc<AgentSpec>,
        memory: AgentMemory,
        since: Wall,
    ) -> Self {
        Self {
            machine: Self::machine(&spec),
            common: Common::new(name, spec, memory),
            waiters: Waiters::default(),
            face: Face::new(since),
        }
    }

    fn machine(spec: &AgentSpec) -> Machine {
        match spec.mode {
            Mode::Daemon => Machine::Daemon(Daemon::new()),
            Mode::Oneshot => Machine::Oneshot(Oneshot::new()),
            Mode::Worker => Machine::Worker(Box::new(Worker::new())),
        }
    }

    pub(crate) const fn spec(&self) -> &Arc<AgentSpec> {
        &self.common.spec
    }

    pub(crate) const fn place(&self) -> Place {
        self.common.place
    }

    /// It joins a fleet that may have had one of its name before, and the journal may not have
    /// heard that that one left.
    pub(crate) const fn begin_anew(&mut self) {
        self.common.books.begin_anew();
    }

    pub(crate) const fn last_generation(&self) -> Generation {
        self.common.memory.last_generation
    }

    /// The place in the fleet has changed.
    pub(crate) fn move_to(&mut self, cx: &mut Context<'_>, place: Place) {
        self.common.place = place;
        self.follow(cx);
    }

    /// Kills at once what runs, and starts nothing.
    pub(crate) fn kill(&mut self, cx: &mut Context<'_>) {
        self.common.place = match self.common.place {
            Place::Member | Place::Closing | Place::Halting => Place::Halting,
            Place::Leaving => Place::Leaving,
        };
        self.machine.kill(&mut self.common, cx);
        self.follow(cx);
    }

    /// The journal has answered.
    pub(crate) fn recorded(
        &mut self,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) {
        self.common.books.answered(cx, id, result);
        self.halting_recorded(cx, id, result);
        self.stopping_recorded(cx, id);
        if self.waiters.knows(id) {
            self.waiter_recorded(cx, id, result);
        } else {
            self.machine.recorded(&mut self.common, cx, id, result);
        }
        self.finish(cx);
    }

    /// A driver has reported of one of its instances.
    pub(crate) fn report(&mut self, cx: &mut Context<'_>, generation: Generation, report: Report) {
        let (detail, may_be_late) = (report.name(), report.may_be_late());
        let known = self
            .machine
            .report(&mut self.common, cx, generation, report);
        if known.is_err() && !may_be_late {
            let instance = self.common.instance(generation);
            cx.stale(
                &self.common.name,
                format!("{detail} of {instance}, which is not alive"),
            );
        }
        self.finish(cx);
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        self.common.books.tick(cx);
        self.tick_halting(cx);
        self.tick_stopping(cx);
        self.tick_waiters(cx);
        self.machine.tick(&mut self.common, cx);
        self.finish(cx);
    }

    /// All its dependencies are there, or these are missing.
    pub(crate) fn dependencies(&mut self, cx: &mut Context<'_>, missing: Vec<AgentName>) {
        if missing.is_empty() {
            self.machine.open(&self.common);
        }
        self.common.missing = missing;
        self.finish(cx);
    }

    pub(crate) const fn rest(&self) -> Rest {
        self.common.rest
    }

    /// Something is left of it from an earlier supervisor, or nothing any more.
    pub(crate) fn rest_is(&mut self, cx: &mut Context<'_>, rest: Rest) {
        self.common.rest = rest;
        self.finish(cx);
    }

    /// It has a place for starting agents.
    pub(crate) fn admit(&mut self, cx: &mut Context<'_>) {
        self.machine.admit(&mut self.common, cx);
        self.finish(cx);
    }

    /// The provider of models whose outage ended its last life, as long as that delays the next.
    pub(crate) fn outage(&self) -> Option<&ProviderName> {
        self.common.outage.as_ref().map(|outage| &outage.provider)
    }

    /// It stands at the gate of that provider, which looks like this.
    pub(crate) fn stands_at_gate(&mut self, cx: &mut Context<'_>, since: Wall, stage: GateStage) {
        if let Some(outage) = &mut self.common.outage {
            outage.gate = Some((since, stage));
        }
        self.finish(cx);
    }

    /// It may start whatever is heard of that provider.
    pub(crate) fn pass_gate(&mut self, cx: &mut Context<'_>) {
        self.common.outage = None;
        self.finish(cx);
    }

    /// Whether anything of it lives.
    pub(crate) fn has_live(&self) -> bool {
        self.machine.has_live()
    }

    /// The newest life of it that is not over.
    pub(crate) fn live_generation(&self) -> Option<Generation> {
        self.machine.newest().map(Instance::generation)
    }

    /// The wall clock jumped: slots must be planned anew.
    pub(crate) fn clocks_changed(&mut self, cx: &mut Context<'_>) {
        self.machine.clocks_changed(&mut self.common, cx);
        self.finish(cx);
    }

    /// The supervisor was away for `gap`.
    pub(crate) fn shift(&mut self, gap: Gap, now: Mono) {
        self.machine.shift(gap, now);
        self.waiters.shift(gap.late);
        self.common.halting.shift(gap.late);
        self.common.stopping.shift(gap.late);
    }

    pub(crate) fn need(&self) -> Need {
        self.machine.need(&self.common)
    }

    pub(crate) fn reached(&self) -> Reached {
        self.machine.reached(&self.common)
    }

    /// Whether nothing of it runs and nothing will by itself.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.machine.is_at_rest()
    }

    /// Whether its slots are planned on the wall clock.
    pub(crate) fn follows_wall_clock(&self) -> bool {
        self.machine.follows_wall_clock()
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let own = earlier(self.machine.deadline(), self.common.deadline());
        earlier(own, self.waiters.deadline())
    }

    /// What it still owes the journal when it has left.
    pub(crate) fn into_books(self) -> Books {
        self.common.books
    }

    /// It leaves for good: whoever still waits is told.
    pub(crate) fn bid_farewell(&mut self, cx: &mut Context<'_>) {
        self.machine.dissolve(&mut self.common, cx);
        self.dismiss(cx, Dismiss::All);
    }

    fn follow(&mut self, cx: &mut Context<'_>) {
        self.machine.follow(&mut self.common, cx);
        self.finish(cx);
    }

    /// After each change: a spec may take over, waiters may be answered, the world may be told.
    fn finish(&mut self, cx: &mut Context<'_>) {
        self.succeed(cx);
        self.answer_waiters(cx);
        self.show_face(cx);
    }
}
