//! What is counted of one agent, from what the core announces.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use claw_core::action::{Happened, SlotFate};
use claw_core::spec::{AgentSpec, Mode};
use claw_core::{
    AgentName, AgentStatus, PublicState, Reason, Run, RunId, RunOutcome, RunPhase, Trigger, Wall,
};

use crate::clock_changes::{self, Watched};
use crate::machine::Clock;
use crate::report::{self, Runs, Seconds, Slots};

/// So many minutes in which an agent has started are remembered, to compare them with others'.
const MAX_MINUTES: usize = 50_000;

/// Who was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Away {
    Supervisor,
    Machine,
}

/// A stretch of time that goes on, and those of its kind before it.
#[derive(Debug, Default)]
struct Stretch {
    total: Duration,
    since: Option<Duration>,
}

impl Stretch {
    fn begin(&mut self, now: Duration) {
        self.since.get_or_insert(now);
    }

    fn end(&mut self, now: Duration) {
        if let Some(since) = self.since.take() {
            self.total += now.saturating_sub(since);
        }
    }

    fn until(&self, now: Duration) -> Duration {
        let open = self.since.map(|since| now.saturating_sub(since));
        self.total + open.unwrap_or_default()
    }
}

/// How an agent is shown.
struct Face<'a> {
    state: PublicState,
    ready: bool,
    reason: &'a Reason,
}

/// The counts of one agent.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) slots: Slots,
    pub(crate) runs: Runs,
    failed_runs: BTreeMap<&'static str, u64>,
    most_queued: u32,
    /// Runs of which a process was started, or was to be, and that have no end yet.
    begun: BTreeSet<RunId>,
    under_way: BTreeSet<RunId>,
    most_at_once: u32,
    pub(crate) starts: u64,
    pub(crate) restarts: BTreeMap<&'static str, u64>,
    last_end: Option<&'static str>,
    longest_backoff: Duration,
    not_ready: Stretch,
    waited: Stretch,
    given_up: Option<report::GivenUp>,
    changes: Vec<Watched>,
    /// The minutes since the beginning in which slots were started.
    pub(crate) minutes: BTreeSet<u64>,
}

impl Tally {
    pub(crate) fn new(spec: &AgentSpec, from: Wall, until: Wall) -> Self {
        let schedule = spec.schedule.as_ref();
        Self {
            changes: schedule.map_or_else(Vec::new, |schedule| {
                clock_changes::of(schedule, from, until)
            }),
            ..Self::default()
        }
    }

    /// The core has announced something.
    pub(crate) fn note(
        &mut self,
        happened: Happened,
        now: Clock,
        away: impl Fn(Wall) -> Option<Away>,
    ) {
        match happened {
            Happened::StateChanged {
                state,
                ready,
                reason,
            } => {
                let reason = &reason;
                self.face(
                    &Face {
                        state,
                        ready,
                        reason,
                    },
                    now,
                );
            }
            Happened::Started { .. } => {
                self.starts += 1;
                if let Some(cause) = self.last_end.take() {
                    *self.restarts.entry(cause).or_default() += 1;
                }
            }
            Happened::Ended { cause, .. } => self.last_end = Some(cause.code()),
            Happened::RunChanged { run } => self.run(&run, now),
            Happened::SlotSettled { slot, fate, .. } => self.slot(slot, fate, away(slot)),
            Happened::Adopted { .. }
            | Happened::ProbeFailed { .. }
            | Happened::SwitchTurned { .. }
            | Happened::StaleFact { .. } => {}
        }
    }

    /// The agent as it is shown, when a supervisor begins.
    pub(crate) fn shown(&mut self, status: &AgentStatus, now: Clock) {
        let face = Face {
            state: status.state,
            ready: status.ready,
            reason: &status.reason,
        };
        self.face(&face, now);
    }

    /// Nothing of it runs any more, and nobody has said so yet.
    pub(crate) fn machine_is_gone(&mut self, now: Clock) {
        self.not_ready.begin(now.time);
    }

    /// So many runs wait now.
    pub(crate) fn queued(&mut self, runs: u32) {
        self.most_queued = self.most_queued.max(runs);
    }

    fn face(&mut self, face: &Face<'_>, now: Clock) {
        let reason = face.reason;
        let is_done = face.state == PublicState::Stopped && matches!(reason, Reason::Completed);
        if face.ready || is_done {
            self.not_ready.end(now.time);
        } else {
            self.not_ready.begin(now.time);
        }
        if matches!(reason, Reason::WaitingFor { .. }) {
            self.waited.begin(now.time);
        } else {
            self.waited.end(now.time);
        }
        if let Reason::BackingOff { until, .. } = reason {
            self.backs_off(*until, now);
        }
        self.given_up = match reason {
            Reason::GaveUp { cause, .. } | Reason::NotRestarted { cause } => {
                Some((reason.code(), format!("it {cause}")))
            }
            Reason::Refused { reason: why } => Some((reason.code(), why.clone())),
            Reason::WaitingFor { .. }
            | Reason::Queued
            | Reason::ProviderDown { .. }
            | Reason::PreStart
            | Reason::Spawning
            | Reason::Preparing { .. }
            | Reason::Unobserved { .. }
            | Reason::NeedsRestart { .. }
            | Reason::StartingUp
            | Reason::Up
            | Reason::Waiting
            | Reason::Working { .. }
            | Reason::NotReady { .. }
            | Reason::Paused
            | Reason::Frozen
            | Reason::BackingOff { .. }
            | Reason::Ending { .. }
            | Reason::Asked
            | Reason::Halted(_)
            | Reason::Completed => None,
        }
        .map(|(reason, detail)| {
            let before = self.given_up.take().map(|before| before.at);
            let at = before.unwrap_or(now.wall);
            report::GivenUp { at, reason, detail }
        });
    }

    fn backs_off(&mut self, until: Wall, now: Clock) {
        let wait = Duration::try_from(until.duration_since(now.wall)).unwrap_or_default();
        self.longest_backoff = self.longest_backoff.max(wait);
    }

    fn run(&mut self, run: &Run, now: Clock) {
        match &run.phase {
            RunPhase::Queued => {}
            RunPhase::Running { .. } => {
                if !self.under_way.insert(run.id) {
                    return;
                }
                let at_once = u32::try_from(self.under_way.len()).unwrap_or(u32::MAX);
                self.most_at_once = self.most_at_once.max(at_once);
                if !self.begins(run.id) {
                    return;
                }
                let planned = matches!(run.trigger, Trigger::Schedule { .. });
                if planned && self.minutes.len() < MAX_MINUTES {
                    self.minutes.insert(now.time.as_secs() / 60);
                }
            }
            RunPhase::Retrying { next, cause } => {
                self.begins(run.id);
                self.under_way.remove(&run.id);
                *self.restarts.entry(cause.code()).or_default() += 1;
                // The next process of a oneshot is that attempt.
                self.last_end = None;
                self.backs_off(*next, now);
            }
            RunPhase::Finished { outcome, .. } => {
                self.under_way.remove(&run.id);
                self.last_end = None;
                match outcome {
                    RunOutcome::Succeeded => self.runs.succeeded += 1,
                    RunOutcome::Failed { cause } => {
                        // Its process could not be started, and it was never said to run.
                        self.begins(run.id);
                        self.runs.failed += 1;
                        *self.failed_runs.entry(cause.code()).or_default() += 1;
                    }
                    RunOutcome::Cancelled { .. } => self.runs.cancelled += 1,
                    RunOutcome::Interrupted { .. } => self.runs.interrupted += 1,
                }
                self.begun.remove(&run.id);
            }
        }
    }

    /// Counts a run when it is tried for the first time; says whether it was.
    fn begins(&mut self, run: RunId) -> bool {
        let is_first = self.begun.insert(run);
        self.runs.started += u64::from(is_first);
        is_first
    }

    fn slot(&mut self, slot: Wall, fate: SlotFate, away: Option<Away>) {
        let slots = &mut self.slots;
        slots.due += 1;
        *match (fate, away) {
            (SlotFate::Ran, _) => &mut slots.ran,
            (SlotFate::CaughtUp, _) => &mut slots.caught_up,
            (SlotFate::SkippedOverlap, _) => &mut slots.skipped_overlap,
            (SlotFate::Missed, Some(Away::Supervisor)) => &mut slots.missed_supervisor_away,
            (SlotFate::Missed, Some(Away::Machine)) => &mut slots.missed_machine_away,
            (SlotFate::Missed, None) => &mut slots.missed_late,
            (SlotFate::Held, _) => &mut slots.held,
            (SlotFate::Interrupted, _) => &mut slots.interrupted,
        } += 1;
        for change in &mut self.changes {
            change.note(slot, fate);
        }
    }

    /// What an agent came to; `status` is how it is shown at the end.
    pub(crate) fn report(
        &self,
        (name, mode): (&AgentName, Mode),
        status: &AgentStatus,
        now: Clock,
    ) -> report::Agent {
        let waits_for = if let Reason::WaitingFor { agents } = &status.reason {
            agents.clone()
        } else {
            Vec::new()
        };
        report::Agent {
            name: name.clone(),
            mode,
            assumed: report::Assumed::Default,
            slots: self.slots,
            runs: Runs {
                unfinished: u64::from(status.runs.active) + u64::from(status.runs.queued),
                ..self.runs
            },
            failed_runs: self.failed_runs.clone(),
            most_queued: self.most_queued,
            most_at_once: self.most_at_once,
            starts: self.starts,
            restarts: self.restarts.clone(),
            longest_backoff_seconds: Seconds(self.longest_backoff),
            not_ready_seconds: Seconds(self.not_ready.until(now.time)),
            waited_seconds: Seconds(self.waited.until(now.time)),
            waits_for,
            given_up: self.given_up.clone(),
            state: status.state,
            reason: status.reason.code(),
            clock_changes: self.changes.iter().map(Watched::report).collect(),
            spend: report::Spend::NoModels,
            next_slot: status.runs.next,
        }
    }
}
