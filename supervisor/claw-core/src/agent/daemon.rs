//! An agent that is one long-lived process.
//!
//! ```text
//!          goal up                dependencies met            a start slot
//!   Down ──────────► Waiting ────────────────────► Queued ────────────────► Live
//!    ▲                  ▲                                                     │ over
//!    │ goal down,       │ delay over, or `start`                              ▼
//!    │ latch            └─────────────── BackingOff ◄── verdict ──── PostStop (if any)
//!    └──────────────────────────────────────────────────┘
//! ```
//!
//! The goal, the hold and the latch live in memory and change at any time; [`Daemon::follow`]
//! brings the phase after them. Called by `Agent` only.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Gap, Mono, Wall};
use crate::deadline::{Deadline, Why, earlier};
use crate::death::Cause;
use crate::event::Freeze;
use crate::id::Generation;
use crate::order::Hook;
use crate::record::RecordId;
use crate::restart::Counters;
use crate::spec::AgentSpec;

use super::context::Context;
use super::dossier::Common;
use super::end::End;
use super::halting::Course;
use super::instance::{Instance, Life, Report, Standing};
use super::need::Need;
use super::verdict::{Then, after};

/// The machine of a daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(super) phase: Phase,
    /// When the instance has been healthy for so long that the counters start over.
    healthy_at: Option<Mono>,
    /// How its last life ended; for a worker, which has runs to bring to an end with it.
    pub(super) ended: Option<Box<End>>,
}

/// Where a daemon stands.
#[derive(Debug)]
pub(crate) enum Phase {
    Down,
    Waiting,
    Queued,
    Live(Box<Instance>),
    PostStop {
        generation: Generation,
        give_up: Mono,
        then: Then,
    },
    BackingOff {
        until: Mono,
        cause: Cause,
    },
}

impl Daemon {
    pub(crate) const fn new() -> Self {
        Self {
            phase: Phase::Down,
            healthy_at: None,
            ended: None,
        }
    }

    /// Goes on with a backoff that an earlier supervisor began, never earlier than it said; the
    /// wall clock may have been set back since, so never later than a whole delay either.
    pub(crate) fn resume_backoff(&mut self, common: &Common, cx: &Context<'_>, next: Wall) {
        let longest = cx.after(common.longest_delay());
        let until = cx.now.mono_at(next).min(longest);
        self.phase = Phase::BackingOff {
            until,
            cause: common.last_cause(),
        };
    }

    /// Goes on with an adopted instance.
    pub(crate) fn resume_live(&mut self, common: &Common, cx: &Context<'_>, instance: Instance) {
        let alive_for = instance.live().started_at.map_or(Duration::ZERO, |at| {
            Duration::try_from(cx.now.wall.duration_since(at)).unwrap_or_default()
        });
        self.phase = Phase::Live(Box::new(instance));
        self.watch_health(common, cx, alive_for);
    }

    pub(crate) const fn instance(&self) -> Option<&Instance> {
        match &self.phase {
            Phase::Live(instance) => Some(instance),
            Phase::Down
            | Phase::Waiting
            | Phase::Queued
            | Phase::PostStop { .. }
            | Phase::BackingOff { .. } => None,
        }
    }

    pub(super) const fn instance_mut(&mut self) -> Option<&mut Instance> {
        match &mut self.phase {
            Phase::Live(instance) => Some(instance),
            Phase::Down
            | Phase::Waiting
            | Phase::Queued
            | Phase::PostStop { .. }
            | Phase::BackingOff { .. } => None,
        }
    }

    /// Whether anything of it lives.
    pub(crate) const fn has_live(&self) -> bool {
        match &self.phase {
            Phase::Live(_) | Phase::PostStop { .. } => true,
            Phase::Down | Phase::Waiting | Phase::Queued | Phase::BackingOff { .. } => false,
        }
    }

    pub(crate) const fn is_at_rest(&self) -> bool {
        matches!(self.phase, Phase::Down)
    }

    pub(crate) fn need(&self) -> Need {
        match &self.phase {
            Phase::Waiting => Need::Dependencies,
            Phase::Queued => Need::StartSlot,
            Phase::Live(instance) if instance.is_starting() => Need::Starting,
            Phase::Down | Phase::Live(_) | Phase::PostStop { .. } | Phase::BackingOff { .. } => {
                Need::Nothing
            }
        }
    }

    /// Brings the phase after goal, hold, latch and place.
    pub(crate) fn follow(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        match &mut self.phase {
            Phase::Down => {
                if common.may_start() {
                    self.enter_next(common, cx);
                }
            }
            Phase::Waiting | Phase::Queued => {
                if !common.may_start() {
                    self.phase = Phase::Down;
                }
            }
            Phase::BackingOff { .. } => {
                if !common.belongs_up() {
                    self.phase = Phase::Down;
                }
            }
            Phase::Live(instance) => {
                let life = common.steer(cx, instance);
                self.live_on(common, cx, life);
            }
            Phase::PostStop { then, .. } => {
                if !common.belongs_up() {
                    *then = Then::Rest;
                } else if *then == Then::Rest {
                    *then = Then::Start;
                }
            }
        }
    }

    /// `start`: whatever delays the next start is called off.
    pub(crate) fn start_now(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        match &mut self.phase {
            Phase::BackingOff { .. } => self.phase = Phase::Down,
            Phase::PostStop { then, .. } => *then = Then::Start,
            Phase::Down | Phase::Waiting | Phase::Queued | Phase::Live(_) => {}
        }
        self.follow(common, cx);
    }

    /// Ends what runs for `cause`; the end finds the goal up and starts again.
    pub(crate) fn restart(&mut self, common: &mut Common, cx: &mut Context<'_>, cause: Cause) {
        if let Phase::Live(instance) = &mut self.phase {
            let life = common.end(cx, instance, cause);
            self.live_on(common, cx, life);
        } else {
            self.start_now(common, cx);
        }
    }

    /// Kills at once what runs.
    pub(crate) fn kill(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        if let Phase::Live(instance) = &mut self.phase {
            let life = instance.kill(cx, Cause::Asked);
            self.live_on(common, cx, life);
        }
    }

    /// A running instance takes over another spec.
    pub(crate) fn retune(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        spec: &Arc<AgentSpec>,
    ) {
        self.healthy_at = None;
        if let Phase::Live(instance) = &mut self.phase {
            instance.retune(cx, Arc::clone(spec));
            // What is up has proved itself to a startup probe that is new, too.
            self.watch(common, cx);
        }
    }

    /// Every dependency is there.
    pub(crate) fn open(&mut self) {
        if let Phase::Waiting = self.phase {
            self.phase = Phase::Queued;
        }
    }

    /// It is this agent's turn to start.
    pub(crate) fn admit(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let Phase::Queued = self.phase else { return };
        common.memory.next_start = None;
        common.outage = None;
        let id = common.next_instance();
        let instance = Instance::begin(cx, id, common.plan(), None);
        self.phase = Phase::Live(Box::new(instance));
    }

    pub(crate) fn recorded(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) {
        if let Phase::Live(instance) = &mut self.phase {
            let life = instance.recorded(cx, id, result);
            self.live_on(common, cx, life);
        }
    }

    /// A driver has reported. `Err`: not of an instance that lives here.
    pub(crate) fn report(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        generation: Generation,
        report: Report,
    ) -> Result<(), ()> {
        match (&mut self.phase, &report) {
            (Phase::Live(instance), _) if instance.generation() == generation => {
                let life = instance.report(cx, report);
                self.live_on(common, cx, life);
                Ok(())
            }
            (
                Phase::PostStop {
                    generation: own, ..
                },
                Report::HookDone(Hook::PostStop, _),
            ) if *own == generation => {
                self.post_stop_over(common, cx);
                Ok(())
            }
            (_, _) => Err(()),
        }
    }

    pub(crate) fn tick(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let now = cx.mono();
        if self.healthy_at.is_some_and(|at| at <= now) {
            self.count_afresh(common, cx);
        }
        match &mut self.phase {
            Phase::Live(instance) => {
                let life = instance.tick(cx);
                self.live_on(common, cx, life);
            }
            Phase::PostStop { give_up, .. } if *give_up <= now => self.post_stop_over(common, cx),
            Phase::BackingOff { until, .. } if *until <= now => {
                self.phase = Phase::Down;
                common.memory.next_start = None;
                self.follow(common, cx);
            }
            Phase::Down
            | Phase::Waiting
            | Phase::Queued
            | Phase::PostStop { .. }
            | Phase::BackingOff { .. } => {}
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let own = match &self.phase {
            Phase::Down | Phase::Waiting | Phase::Queued => None,
            Phase::Live(instance) => instance.deadline(),
            Phase::PostStop { give_up, .. } => Some((*give_up, Why::Hook)),
            Phase::BackingOff { until, .. } => Some((*until, Why::Backoff)),
        };
        earlier(own, self.healthy_at.map(|at| (at, Why::Healthy)))
    }

    pub(crate) fn shift(&mut self, gap: Gap, now: Mono) {
        match &mut self.phase {
            Phase::Live(instance) => instance.shift(gap, now),
            Phase::PostStop { give_up, .. } => *give_up = *give_up + gap.late,
            Phase::Down | Phase::Waiting | Phase::Queued | Phase::BackingOff { .. } => {}
        }
    }

    /// After each change of a life: over, or come up, or healthy.
    fn live_on(&mut self, common: &mut Common, cx: &mut Context<'_>, life: Life) {
        match life {
            Life::GoesOn => self.watch(common, cx),
            Life::Over(end) => self.over(common, cx, &end),
        }
    }

    fn watch(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let Phase::Live(instance) = &mut self.phase else {
            return;
        };
        if common.course() == Course::Frozen {
            instance.freeze(cx, Freeze::Yes);
        }
        let generation = instance.generation();
        if instance.has_proved_itself() && common.memory.came_up != generation {
            common.memory.came_up = generation;
            common.save(cx);
        }
        self.watch_health(common, cx, Duration::ZERO);
    }

    /// Begins or ends the time of healthy operation.
    fn watch_health(&mut self, common: &Common, cx: &Context<'_>, already: Duration) {
        let ready = self.instance().is_some_and(Instance::is_ready);
        let counted = common.counters() != Counters::default();
        if !ready || !counted {
            self.healthy_at = None;
        } else if self.healthy_at.is_none() {
            let rest = common.spec.restart.reset_after.saturating_sub(already);
            self.healthy_at = Some(cx.after(rest));
        }
    }

    fn count_afresh(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.healthy_at = None;
        common.set_counters(Counters::default());
        common.save(cx);
    }

    /// A life is over: decides what comes next, writes it down, and goes there.
    fn over(&mut self, common: &mut Common, cx: &mut Context<'_>, end: &End) {
        let Phase::Live(instance) = std::mem::replace(&mut self.phase, Phase::Down) else {
            return;
        };
        if self.healthy_at.take().is_some_and(|at| at <= cx.mono()) {
            common.set_counters(Counters::default());
        }
        common.lay_to_outage(cx, &instance, end);
        let then = after(common, cx, end);
        common.note_death(cx, instance.generation(), end);
        common.save(cx);
        common.bury(cx, instance.generation(), end);
        match common.run_post_stop(cx, &instance) {
            Some(give_up) => {
                self.phase = Phase::PostStop {
                    generation: instance.generation(),
                    give_up,
                    then,
                };
            }
            None => self.enter(common, cx, then),
        }
        self.ended = Some(Box::new(end.clone()));
    }

    fn post_stop_over(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let phase = std::mem::replace(&mut self.phase, Phase::Down);
        if let Phase::PostStop {
            generation, then, ..
        } = phase
        {
            common.post_stop_over(cx, generation);
            self.enter(common, cx, then);
        }
    }

    fn enter(&mut self, common: &mut Common, cx: &mut Context<'_>, then: Then) {
        match then {
            Then::BackOff { until, cause } if common.belongs_up() => {
                self.phase = Phase::BackingOff { until, cause };
            }
            Then::Rest | Then::Start | Then::BackOff { .. } => {
                self.phase = Phase::Down;
                self.follow(common, cx);
            }
        }
    }

    fn enter_next(&mut self, common: &Common, cx: &Context<'_>) {
        match common.memory.next_start {
            Some(next) if cx.now.mono_at(next) > cx.mono() => self.resume_backoff(common, cx, next),
            Some(_) | None => self.phase = Phase::Waiting,
        }
    }
}

/// Whether a waiting `restart` may be answered: the successor runs, or is not coming soon because
/// it backs off or waits for others.
pub(super) fn successor_settled(daemon: &Daemon, common: &Common, after: Generation) -> bool {
    match &daemon.phase {
        Phase::Down | Phase::BackingOff { .. } => true,
        Phase::Waiting => !common.missing.is_empty(),
        Phase::Live(instance) => {
            let newer = instance.generation() > after;
            newer && (instance.has_started() || matches!(instance.standing(), Standing::Ending(_)))
        }
        Phase::Queued | Phase::PostStop { .. } => false,
    }
}
