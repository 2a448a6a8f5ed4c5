//! One probe of one instance: when it is next made, and how often it failed in a row.
//!
//! ```text
//!   Idle ──armed──► Next ──due: Check ordered──► Answer ──answer, or lost──► Next ...
//!                   Beat ──WATCHDOG=1──► Beat          (heartbeats: the agent comes to us)
//! ```

use std::time::Duration;

use crate::clock::Mono;
use crate::deadline::{Deadline, Why};
use crate::order::{ProbeKind, ProbeOutcome};
use crate::spec::Probe;

use super::health::is_heartbeat;

/// An answer that is later than this beyond the probe's own timeout is lost. The driver promises
/// one second; the rest is for a busy machine.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// One probe.
#[derive(Debug)]
pub(crate) struct Track {
    kind: ProbeKind,
    probe: Probe,
    state: State,
    consecutive: u32,
    passes: Verdict,
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Next(Mono),
    Answer {
        sequence: u64,
        lost_at: Mono,
        worth: Worth,
    },
    Beat(Mono),
}

/// Whether an answer under way may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    Counts,
    /// We were away while it was made, so a failure may be ours.
    Void,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    NotYet,
    Passes,
    Fails,
}

/// What an answer meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Passed,
    Failed(String),
    Unknown,
}

impl Track {
    pub(crate) const fn new(kind: ProbeKind, probe: Probe) -> Self {
        // Whose agent comes to us is believed until a check of its own says otherwise.
        let passes = if is_heartbeat(&probe.check) {
            Verdict::Passes
        } else {
            Verdict::NotYet
        };
        Self {
            kind,
            probe,
            state: State::Idle,
            consecutive: 0,
            passes,
            detail: String::new(),
        }
    }

    pub(crate) const fn kind(&self) -> ProbeKind {
        self.kind
    }

    pub(crate) const fn consecutive(&self) -> u32 {
        self.consecutive
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) const fn is_heartbeat(&self) -> bool {
        is_heartbeat(&self.probe.check)
    }

    pub(crate) fn passes(&self) -> bool {
        self.passes == Verdict::Passes
    }

    pub(crate) const fn is_beyond_threshold(&self) -> bool {
        self.consecutive >= self.probe.threshold
    }

    pub(crate) const fn presume_passed(&mut self) {
        self.passes = Verdict::Passes;
    }

    pub(crate) const fn disarm(&mut self) {
        self.state = State::Idle;
        self.consecutive = 0;
    }

    /// A startup probe: the first check after one interval, or `READY=1` within all of them.
    pub(crate) fn arm_start(&mut self, now: Mono) {
        self.state = if self.is_heartbeat() {
            State::Beat(now + self.patience())
        } else {
            State::Next(now + self.probe.interval)
        };
    }

    /// A liveness probe: it has just come up.
    pub(crate) fn arm_after_interval(&mut self, now: Mono) {
        self.arm_start(now);
    }

    /// A readiness probe: the sooner it is known, the sooner there is work. The agent's own
    /// `READY=1` has no deadline.
    pub(crate) const fn arm_at_once(&mut self, now: Mono) {
        self.state = if self.is_heartbeat() {
            State::Idle
        } else {
            State::Next(now)
        };
    }

    /// Takes over from the same probe as it was configured before. A check under way goes on, so
    /// that there are never two; a new one waits for its interval.
    pub(crate) fn succeed(&mut self, old: Option<Self>, now: Mono) {
        let was = old.as_ref().map_or(State::Idle, |old| old.state);
        if let Some(old) = old {
            self.consecutive = old.consecutive;
            if old.is_heartbeat() == self.is_heartbeat() {
                self.passes = old.passes;
            }
            self.detail = old.detail;
        }
        self.state = match (self.kind, self.is_heartbeat(), was) {
            (ProbeKind::Readiness, true, _) => State::Idle,
            (_, true, _) => State::Beat(now + self.patience()),
            (_, false, State::Answer { .. }) => was,
            (_, false, State::Idle | State::Next(_) | State::Beat(_)) => {
                State::Next(now + self.probe.interval)
            }
        };
    }

    /// A sign of life came.
    pub(crate) fn beat(&mut self, now: Mono) {
        if let State::Beat(_) = self.state {
            self.state = State::Beat(now + self.patience());
        }
    }

    /// The agent chose another period for its signs of life.
    pub(crate) fn set_beat(&mut self, period: Duration, now: Mono) {
        if self.is_heartbeat() && !period.is_zero() {
            self.probe.interval = period;
            self.beat(now);
        }
    }

    /// Whether a sign of life should have come; until `spoken_for` something else was one.
    pub(crate) fn beat_overdue(&self, now: Mono, spoken_for: Option<Mono>) -> bool {
        match self.state {
            State::Beat(by) => self.beat_due(by, spoken_for) <= now,
            State::Idle | State::Next(_) | State::Answer { .. } => false,
        }
    }

    /// Takes an answer; `None`: nobody asked for it.
    pub(crate) fn answered(
        &mut self,
        sequence: u64,
        outcome: ProbeOutcome,
        now: Mono,
    ) -> Option<Answered> {
        let State::Answer {
            sequence: asked,
            worth,
            ..
        } = self.state
        else {
            return None;
        };
        if asked != sequence {
            return None;
        }
        self.state = State::Next(now + self.probe.interval);
        Some(self.judge(outcome, worth))
    }

    /// Takes what a check of the agent's own has said, for which nobody here asked.
    pub(crate) fn heard(&mut self, outcome: ProbeOutcome) -> Answered {
        self.judge(outcome, Worth::Counts)
    }

    /// Nothing is believed before a check passes.
    pub(crate) fn demand_pass(&mut self) {
        self.passes = Verdict::NotYet;
        self.consecutive = 0;
        self.detail.clear();
    }

    fn judge(&mut self, outcome: ProbeOutcome, worth: Worth) -> Answered {
        match (outcome, worth) {
            (ProbeOutcome::Success, Worth::Counts | Worth::Void) => {
                self.consecutive = 0;
                self.passes = Verdict::Passes;
                self.detail.clear();
                Answered::Passed
            }
            (ProbeOutcome::Failure(detail), Worth::Counts) => {
                self.consecutive = self.consecutive.saturating_add(1);
                self.detail.clone_from(&detail);
                if self.is_beyond_threshold() {
                    self.passes = Verdict::Fails;
                }
                Answered::Failed(detail)
            }
            (ProbeOutcome::Failure(_), Worth::Void) | (ProbeOutcome::Unknown(_), _) => {
                Answered::Unknown
            }
        }
    }

    /// An answer that will not come any more counts as unknown.
    pub(crate) fn give_up_lost(&mut self, now: Mono) {
        if let State::Answer { lost_at, .. } = self.state
            && lost_at <= now
        {
            self.state = State::Next(now + self.probe.interval);
        }
    }

    /// Whether a check is to be made now; notes it as under way.
    pub(crate) fn take_due(&mut self, now: Mono, sequence: u64) -> bool {
        match self.state {
            State::Next(at) if at <= now => {
                self.state = State::Answer {
                    sequence,
                    lost_at: now + self.probe.timeout + LOST_AFTER,
                    worth: Worth::Counts,
                };
                true
            }
            State::Next(_) | State::Idle | State::Answer { .. } | State::Beat(_) => false,
        }
    }

    /// When something is due; `patience` holds back the missing `READY=1`, and what speaks for the
    /// agent until `spoken_for` its missing `WATCHDOG=1`.
    pub(crate) fn deadline(&self, patience: Mono, spoken_for: Option<Mono>) -> Option<Deadline> {
        match self.state {
            State::Idle => None,
            State::Next(at) => Some((at, Why::Probe)),
            State::Answer { lost_at, .. } => Some((lost_at, Why::ProbeAnswer)),
            State::Beat(by) if self.kind == ProbeKind::Startup => {
                Some((by.max(patience), Why::StartTimeout))
            }
            State::Beat(by) => Some((self.beat_due(by, spoken_for), Why::Watchdog)),
        }
    }

    /// Nothing of `gap` counts, and nothing is overdue before `floor`.
    pub(crate) fn shift(&mut self, gap: Duration, floor: Mono) {
        match &mut self.state {
            State::Idle | State::Next(_) => {}
            State::Answer { lost_at, worth, .. } => {
                *lost_at = *lost_at + gap;
                *worth = Worth::Void;
            }
            State::Beat(by) => *by = (*by + gap).max(floor),
        }
    }

    fn beat_due(&self, by: Mono, spoken_for: Option<Mono>) -> Mono {
        spoken_for.map_or(by, |until| by.max(until + self.patience()))
    }

    fn patience(&self) -> Duration {
        self.probe
            .interval
            .saturating_mul(self.probe.threshold.max(1))
    }
}
